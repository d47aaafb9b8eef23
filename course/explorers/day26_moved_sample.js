// One sample of a batch is dragged; the mean and the variance follow it, and so do all outputs.
import { decimals } from "./kit.js";
import { normalize } from "./day26_five_steps.js";

function compute({ value, num_samples }, { x, eps }) {
  const batch = Array.from(x.subarray(0, num_samples));
  const before = normalize(batch, 1, 0, eps);
  const after = normalize(batch.with(0, value), 1, 0, eps);
  const moves = after.y.map((output, sample) => Math.abs(output - before.y[sample]));
  return {
    x: after.x,
    mean: after.mean,
    var: after.var,
    std: Math.sqrt(after.var),
    before: before.y,
    y: after.y,
    output: after.y[0],
    largest_move_of_others: Math.max(...moves.slice(1)),
    reached: Math.abs(after.y[0]) >= 3,
  };
}

function describe({ largest_move_of_others }) {
  return `Outputs of samples that were not dragged have moved by up to ${decimals(largest_move_of_others)}`;
}

const [START, END] = [0.7, -0.4]; // heights of the outputs before and after, a little apart so that both are seen

function draw(stage) {
  const inputs = stage.plot({
    x: { domain: [-11, 21], label: "input x" },
    y: { domain: [-1, 1], ticks: [] },
    height: 118,
  });
  inputs.lines({ color: "faint", width: 1 }).set([[[-11, 21], [0, 0]]]);
  const spread = inputs.line({ color: "orange", width: 14, opacity: 0.6, label: "mean ± sqrt(var)" });
  const mean = inputs.line({ color: "vermillion", width: 3, label: "mean" });
  const others = inputs.dots({ color: "blue", size: 4, edge: "paper", width: 0.6, label: "the other samples" });
  const dragged = inputs.dots({ color: "ink", size: 6, shape: "diamond", edge: "paper", label: "x[0]: drag it" });
  const statistics = inputs.text({ color: "vermillion", anchor: "end", dy: 14 });
  inputs.drag((x) => stage.choose({ value: x }), "x");

  stage.row();
  const outputs = stage.plot({
    x: { domain: [-6, 6], label: "output y = x_hat (gamma = 1, beta = 0)" },
    y: { domain: [-1, 1], ticks: [] },
    height: 160,
  });
  const trails = outputs.lines({ color: "sky", width: 1.5 });
  const starts = outputs.dots({ color: "grey", size: 4, hollow: true, label: "the outputs before the drag" });
  const ends = outputs.dots({ color: "blue", size: 4, edge: "paper", width: 0.6, label: "and now" });
  const output = outputs.dots({ color: "ink", size: 6, shape: "diamond", edge: "paper" });
  const number = outputs.text({ anchor: "middle", dy: 24 });

  return (state) => {
    const at = (height) => Array(state.x.length).fill(height);
    mean.set([state.mean, state.mean], [-0.5, 0.5]);
    spread.set([state.mean - state.std, state.mean + state.std], [0, 0]);
    statistics.set(21, 1, `mean ${decimals(state.mean)}, variance ${decimals(state.var)}`);
    others.set(state.x.slice(1), at(0));
    dragged.set([state.x[0]], [0]);
    trails.set(state.y.map((end, sample) => [[state.before[sample], end], [START, END]]));
    starts.set(state.before, at(START));
    ends.set(state.y.slice(1), at(END));
    output.set([state.output], [END]);
    number.set(state.output, END, decimals(state.output));
  };
}

export { compute, describe, draw };
