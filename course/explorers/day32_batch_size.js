// One entry of one image, normalized in many batches of N, and what group norm makes of it.
import { decimals } from "./kit.js";

/** Batch norm of `value` in a batch whose other N − 1 have this mean and this variance. */
function amongOthers(value, mean, variance, size, eps) {
  const apart = value - mean;
  const merged = ((size - 1) / size) * (variance + apart ** 2 / size);
  return (apart - apart / size) / Math.sqrt(merged + eps);
}

/** Mean and biased variance. */
function moments(numbers) {
  const mean = numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
  return { mean, var: numbers.reduce((sum, number) => sum + (number - mean) ** 2, 0) / numbers.length };
}

function compute({ batch_size, sample }, { sizes, others, all, groups, eps, limit }) {
  const width = groups.shape[1];
  const group = groups.subarray(sample * width, (sample + 1) * width);
  const value = group[0];
  const normalized = (statistics) => (value - statistics.mean) / Math.sqrt(statistics.var + eps);
  const outputs = sizes.map((size, k) => {
    const { mean, var: variance } = others[k];
    return Array.from(mean, (each, draw) => amongOthers(value, each, variance[draw], size, eps));
  });
  const spreads = outputs.map((each) => Math.sqrt(moments(each).var));
  const chosen = sizes.indexOf(batch_size);
  return {
    outputs: outputs[chosen],
    lowest: Math.min(...outputs[chosen]),
    highest: Math.max(...outputs[chosen]),
    spreads,
    spread: spreads[chosen],
    population: normalized(all),
    group: normalized(moments(group)),
    reached: chosen === spreads.findIndex((spread) => spread < limit),
  };
}

function describe({ lowest, highest }, { batch_size }) {
  const [low, high] = [lowest, highest].map((output) => decimals(output));
  return `In batches of ${batch_size}, the same entry becomes anything from ${low} to ${high}`;
}

const GOLDEN = (Math.sqrt(5) - 1) / 2; // its multiples, modulo 1, lie evenly

function draw(stage, { sizes, others, images, labels, limit }) {
  const side = Math.sqrt(images.shape[1]);
  const picture = stage.canvas({ columns: side, rows: side, zoom: 12, label: "the image", heading: " " });
  const draws = others[0].mean.length;
  const left = stage.plot({
    x: { domain: [-4.2, 4.2], label: "normalized entry of this image" },
    y: { domain: [-0.6, 1.75], ticks: [] },
    heading: `in ${draws} batches with other company`,
    height: 270,
    share: 3,
    least: 300,
  });
  left.rule({ color: "faint" }).set({ y: 0.45 });
  left.text({ size: 12 }).set(-4.1, 1.58, "batch norm");
  left.text({ size: 12 }).set(-4.1, 0.24, "group norm");
  const label = "with the statistics of all images";
  const population = left.rule({ color: "vermillion", width: 1.6, dash: "6,4", label });
  const dots = left.dots({ color: "blue", size: 2.4, opacity: 0.7 });
  const group = left.dots({ color: "purple", shape: "diamond", size: 5 });
  const heights = Array.from({ length: draws }, (_, i) => 0.62 + 0.8 * ((i * GOLDEN) % 1));

  const right = stage.plot({
    x: { domain: [1.7, 300], log: true, label: "batch size N", ticks: sizes, format: sizes.map(String) },
    y: { domain: [-0.06, 1.5], label: "standard deviation", ticks: [0, 0.5, 1, 1.5] },
    heading: "spread of the dots",
    height: 270,
    share: 2,
    least: 260,
  });
  right.rule({ color: "green", width: 1.2, dash: "5,4" }).set({ y: limit });
  right.text({ color: "green", dy: -5 }).set(sizes[0], limit, `the goal, ${limit}`);
  const cursor = right.dots({ color: "ink", hollow: true, size: 7, width: 1.6 });
  const curve = right.line({ color: "blue", dots: 3, label: "batch norm" });
  right.line({ color: "purple", dots: 3, label: "group norm" }).set(sizes, sizes.map(() => 0));
  const number = right.text({ bold: true, anchor: "middle", dy: -14 });
  right.drag((x) => stage.choose({ batch_size: 2 ** Math.round(Math.log2(x)) }), "x");

  return (state, { batch_size, sample }) => {
    const pixels = images.subarray(sample * side ** 2, (sample + 1) * side ** 2);
    picture.set(Array.from(pixels).flatMap((ink) => [255 - 15 * ink, 255 - 15 * ink, 255 - 15 * ink, 255]));
    picture.heading(`image ${sample}, digit ${labels[sample]}`);
    population.set({ x: state.population });
    dots.set(state.outputs, heights);
    group.set([state.group], [-0.1]);
    curve.set(sizes, state.spreads);
    cursor.set([batch_size], [state.spread]);
    number.set(batch_size, state.spread, decimals(state.spread));
  };
}

export { compute, describe, draw };
