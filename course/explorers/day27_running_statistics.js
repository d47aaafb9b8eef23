// What a batch-norm layer stores while batches pass whose mean changes once.
import { linspace } from "./kit.js";

const ARRIVED = 0.95; // the share of a change that counts as all of it

/** The start, and the average after each value; with momentum null value number k has the weight 1 / k. */
function exponentialAverage(values, start, momentum) {
  const averages = [start];
  values.forEach((value, place) => {
    const weight = momentum ?? 1 / (place + 1);
    averages.push((1 - weight) * averages[place] + weight * value);
  });
  return averages;
}

/** Batches until a change has arrived in the running mean. */
function batchesToFollow(momentum, before) {
  if (momentum === null) return Math.ceil(Number(((before * ARRIVED) / (1 - ARRIVED)).toFixed(6)));
  return momentum >= 1 ? 1 : Math.ceil(Math.log(1 - ARRIVED) / Math.log(1 - momentum));
}

function compute({ momentum, batch_size, mean_after }, { sizes, noise_mean, noise_var, shift_at, mean_before, std }) {
  const batches = noise_mean.shape[1];
  const first = sizes.indexOf(batch_size) * batches;
  const of = (numbers, value) => Array.from(numbers.subarray(first, first + batches), value);
  const batch_mean = of(noise_mean, (noise, batch) => (batch < shift_at ? mean_before : mean_after) + std * noise);
  const batch_var = of(noise_var, (noise) => std ** 2 * noise);
  const share = momentum === null ? 1 / batches : momentum / (2 - momentum);
  const scatter = (std / Math.sqrt(batch_size)) * Math.sqrt(share);
  const memory = batchesToFollow(momentum, shift_at);
  return {
    batch_mean,
    batch_var,
    running_mean: exponentialAverage(batch_mean, 0, momentum),
    running_var: exponentialAverage(batch_var, 1, momentum),
    true_mean: [mean_before, mean_after],
    true_var: std ** 2,
    weights: batch_mean.map((_, batch) =>
      momentum === null ? 1 / batches : momentum * (1 - momentum) ** (batches - 1 - batch),
    ),
    scatter,
    memory,
    reached: memory <= 40 && scatter <= 0.1,
  };
}

function describe({ memory, scatter }, { momentum }) {
  if (momentum === null) {
    return `Plain average: every batch counts the same; a change needs ${memory} batches to arrive by 95%`;
  }
  const batches = memory === 1 ? "1 batch" : `${memory} batches`;
  const noise = `± ${scatter.toFixed(2)} of noise`;
  return `Momentum ${momentum}: after a change, ${batches} until 95% of it is in; then ${noise}`;
}

const HIGHEST = 12.5; // variance that still lies in the panel

function draw(stage, { noise_mean, shift_at }) {
  const batches = noise_mean.shape[1];
  const seen = linspace(1, batches, batches);
  const stored = [0, ...seen];
  const x = { domain: [-2, batches + 3], ticks: [0, 50, 100, 150, 200] };
  const change = [0, shift_at + 0.5, batches];

  function track(name, color, y, height, label) {
    stage.row();
    const plot = stage.plot({ x, y: { ...y, label: name }, height });
    const band = label && plot.band({ color: "sky", opacity: 0.5, label });
    const dots = plot.dots({ color: "grey", size: 1.8, label: "of each batch" });
    const truth = plot.line({ color: "ink", width: 1.2, dash: "5,4", step: true, label: "of the data" });
    const running = plot.line({ color, width: 2.4, label: `running ${name}` });
    return { plot, band, dots, truth, running };
  }

  const scale = { domain: [-6.5, 10.5], ticks: [-4, 0, 4, 8] };
  const mean = track("mean", "vermillion", scale, 190, "95% is in: ± 2 × the noise");
  const arrival = mean.plot.rule({ color: "blue", width: 1, dash: "2,3" });
  const handle = mean.plot.dots({ color: "ink", size: 5, shape: "diamond", edge: "paper", label: "drag it" });
  mean.plot.drag((_, y) => stage.choose({ mean_after: y }), "y");

  const variance = track("variance", "orange", { domain: [-0.5, HIGHEST + 0.5], ticks: [0, 4, 8, 12] }, 150);
  const outside = variance.plot.dots({ color: "grey", size: 3, shape: "triangle", label: `a batch above ${HIGHEST}` });

  stage.row();
  const memory = stage.plot({
    x: { ...x, label: "batches seen" },
    y: { domain: [0, 1.05], ticks: [0, 1], label: "weight" },
    heading: "How much each batch counts in the last value of the thick lines; the newest is 1",
    height: 110,
  });
  const weights = memory.bars({ color: "blue" });

  return (state) => {
    mean.dots.set(seen, state.batch_mean);
    mean.truth.set(change, [...state.true_mean, state.true_mean[1]]);
    mean.running.set(stored, state.running_mean);
    handle.set([batches], [state.true_mean[1]]);
    // The band stands where the running mean has followed, if that is before the end.
    const [first, centre, half] = [shift_at + state.memory, state.true_mean[1], 2 * state.scatter];
    const followed = first < batches;
    mean.band.show(followed);
    arrival.show(followed);
    mean.band.set([first, batches], [centre - half, centre - half], [centre + half, centre + half]);
    arrival.set({ x: first });

    variance.dots.set(seen, state.batch_var);
    variance.truth.set([0, batches], [state.true_var, state.true_var]);
    variance.running.set(stored, state.running_var);
    const high = seen.filter((_, batch) => state.batch_var[batch] > HIGHEST);
    outside.set(high, Array(high.length).fill(HIGHEST));
    const newest = state.weights.at(-1);
    weights.set(
      seen.map((batch) => batch - 0.5),
      seen.map((batch) => batch + 0.5),
      state.weights.map((weight) => weight / newest),
    );
  };
}

export { compute, describe, draw };
