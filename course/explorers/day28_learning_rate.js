// Seven learning rates, five seeds each: where training ends, and how it gets there at one of them.
import { significant } from "./kit.js";

/** An array as `count` views of equal length. */
function split(array, count) {
  const size = array.length / count;
  return Array.from({ length: count }, (_, i) => array.subarray(i * size, (i + 1) * size));
}

/** The mean of the last ten losses; Infinity where the run diverged. */
function end(losses) {
  const mean = losses.slice(-10).reduce((sum, loss) => sum + loss, 0) / 10;
  return Number.isNaN(mean) ? Infinity : mean;
}

function compute({ index, shown }, { rates, losses }) {
  const [final, below, curves] = [{}, {}, {}];
  for (const [kind, all] of Object.entries(losses)) {
    const runs = split(all, rates.length).map((each) => split(each, all.shape[1]));
    final[kind] = runs.map((seeds) => seeds.map(end));
    below[kind] = final[kind][index].filter((loss) => loss < 1).length;
    curves[kind] = runs[index];
  }
  return {
    kinds: shown === "both" ? Object.keys(LOOKS) : [shown],
    rate: rates[index],
    final,
    below,
    curves,
    reached: final.none[index].every((loss) => loss > 2) && final.before[index].every((loss) => loss < 1),
  };
}

const WORDS = { none: "without", before: "with" };
const LOOKS = {
  none: { color: "vermillion", shape: "square", label: "no batch norm" },
  before: { color: "blue", shape: "circle", label: "batch norm" },
};

function describe({ kinds, rate, below, final }) {
  const parts = kinds.map((kind) => `${WORDS[kind]} ${below[kind]}/${final[kind][0].length}`);
  return `Learning rate ${significant(rate)}, seeds whose loss ends below 1: ${parts.join(", ")}`;
}

const LOSS = { domain: [0.015, 20], log: true, ticks: [0.1, 1, 10] };
const HIGHEST = 18; // what lies above is drawn here, at the upper edge

function draw(stage, { rates, losses }) {
  const [, , steps] = losses.none.shape;
  const left = stage.plot({
    x: {
      domain: [rates[0] / 1.3, rates.at(-1) * 1.3],
      log: true,
      label: "learning rate",
      ticks: rates,
      format: rates.map((rate) => significant(rate)),
    },
    y: { ...LOSS, label: "final training loss" },
    heading: `after ${steps} steps: each seed, and their mean`,
    height: 270,
    least: 310,
  });
  const cursor = left.rule({ color: "ink", width: 1.4, dash: "3,3" });
  const ends = Object.entries(LOOKS).map(([kind, { color, shape, label }]) => ({
    kind,
    mean: left.line({ color, width: 1.4 }),
    dots: left.dots({ color, shape, size: 3.4, opacity: 0.8, label }),
  }));
  left.drag((x) => {
    const gap = (number) => Math.abs(Math.log(x / rates[number]));
    stage.choose({ index: rates.reduce((best, _, number) => (gap(number) < gap(best) ? number : best), 0) });
  }, "x");

  const right = stage.plot({
    x: { domain: [0, steps], label: "step" },
    y: { ...LOSS, label: "training loss" },
    height: 270,
    least: 310,
  });
  right.rule({ color: "grey", width: 1, dash: "2,3" }).set({ y: Math.log(10) });
  right.text({ color: "grey", anchor: "end", dx: -4, dy: -6 }).set(steps, Math.log(10), "guessing");
  const ways = Object.entries(LOOKS).map(([kind, { color, label }]) => ({
    kind,
    lines: right.lines({ color, width: 1.1, opacity: 0.85, label }),
  }));
  const all = Array.from({ length: steps }, (_, i) => i + 1);

  return ({ kinds, rate, final, curves }) => {
    cursor.set({ x: rate });
    right.heading(`on the way at rate ${significant(rate)}: a line for each seed`);
    for (const { kind, mean, dots } of ends) {
      const visible = kinds.includes(kind);
      mean.show(visible);
      dots.show(visible);
      const seeds = final[kind];
      const cut = (loss) => Math.min(loss, HIGHEST);
      mean.set(rates, seeds.map((each) => cut(each.reduce((sum, loss) => sum + loss, 0) / each.length)));
      dots.set(seeds.flatMap((each, number) => each.map(() => rates[number])), seeds.flat().map(cut));
    }
    for (const { kind, lines } of ways) {
      lines.show(kinds.includes(kind));
      lines.set(curves[kind].map((losses) => [all, losses]));
    }
  };
}

export { compute, describe, draw };
