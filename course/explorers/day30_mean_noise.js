// Means of mini-batches of one feature, and the bell that σ/√N promises.
import { decimals, linspace } from "./kit.js";

function compute({ size, kind, order }, { sizes, samples, reach, counts, spreads }) {
  const place = sizes.indexOf(size);
  const inside = counts[kind][order][place];
  const batches = samples / size;
  const promised = 1 / Math.sqrt(size);
  const spread = spreads[kind][order][place];
  // Area 1, then in units of the bell's height, so that both keep one scale.
  const whole = batches * ((2 * reach) / inside.length);
  return {
    heights: Array.from(inside, (count) => (count / whole) * promised * Math.sqrt(2 * Math.PI)),
    batches,
    outside: batches - inside.reduce((sum, count) => sum + count, 0),
    measured: spreads[kind][order],
    spread,
    promised,
    ratio: spread / promised,
    reached: spread / promised >= 5,
  };
}

function describe({ spread, ratio }, { size }) {
  return `N = ${size}: the batch mean is off by ${decimals(spread)} σ, which is ${decimals(ratio)} times σ/√N`;
}

const [TOP, BELOW] = [1.25, -0.22]; // the ends of the axis of heights; a higher hill stretches them
const [PROMISED, MEASURED] = [-0.07, -0.16]; // where the two spreads lie, under the hill

function draw(stage, { sizes, reach }) {
  const hill = stage.plot({
    x: { domain: [-reach, reach], label: "(batch mean − mean of all) / σ" },
    y: { domain: [BELOW * TOP, TOP], ticks: [] },
    height: 320,
    share: 1.15,
  });
  const bars = hill.bars({ color: "sky", label: "measured" });
  const bell = hill.line({ color: "vermillion", width: 2, label: "normal, width σ/√N" });
  hill.lines({ color: "grey", width: 1 }).set([[[-reach, reach], [0, 0]]]);
  const width = (color) => hill.line({ color, width: 5 });
  const [promised, measured] = [width("vermillion"), width("blue")];
  const label = (color) => hill.text({ color, dx: 8, dy: 4 });
  const [promise, measure] = [label("vermillion"), label("blue")];
  const outside = hill.text({ color: "grey", anchor: "end" });
  const xs = linspace(-reach, reach, 261);
  let top = TOP;

  const heights = [0.05, 0.1, 0.2, 0.5, 1];
  const against = stage.plot({
    x: { domain: [1.7, 300], log: true, label: "batch size N: drag it", ticks: sizes, format: sizes.map(String) },
    y: { domain: [0.03, 1.6], log: true, label: "spread of the mean / σ", ticks: heights, format: String },
    height: 320,
  });
  const root = against.line({ color: "vermillion", width: 2, label: "1/√N" });
  root.set(sizes, sizes.map((size) => 1 / Math.sqrt(size)));
  const spreads = against.line({ color: "blue", width: 1.2, dots: 4, label: "measured" });
  const gap = against.line({ color: "ink", width: 1.2, dash: "3,3" });
  const cursor = against.dots({ color: "ink", size: 7, hollow: true, width: 2 });
  against.drag((x) => stage.choose({ size: 2 ** Math.round(Math.log2(x)) }), "x");

  return (state, { size }) => {
    const highest = Math.max(TOP, 1.04 * Math.max(...state.heights));
    if (highest !== top) hill.axes({ y: { domain: [BELOW * highest, highest] } });
    top = highest;
    const edges = linspace(-reach, reach, state.heights.length + 1);
    bars.set(edges.slice(0, -1), edges.slice(1), state.heights, 0);
    bell.set(xs, xs.map((x) => Math.exp(-0.5 * (x / state.promised) ** 2)));
    promised.set([-state.promised, state.promised], [PROMISED * top, PROMISED * top]);
    measured.set([-state.spread, state.spread], [MEASURED * top, MEASURED * top]);
    promise.set(state.promised, PROMISED * top, `± ${decimals(state.promised)}`);
    measure.set(state.spread, MEASURED * top, `± ${decimals(state.spread)}`);
    outside.show(state.outside > 0);
    outside.set(reach, 0.6 * top, `${state.outside} of ${state.batches.toLocaleString("en")} lie farther out`);
    spreads.set(sizes, state.measured);
    gap.set([size, size], [state.promised, state.spread]);
    cursor.set([size], [state.spread]);
  };
}

export { compute, describe, draw };
