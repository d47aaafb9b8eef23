// A batch of eight samples with two features, step by step through batch normalization.
import { decimals } from "./kit.js";

const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
const deviation = (numbers) => {
  const middle = mean(numbers);
  return Math.sqrt(mean(numbers.map((number) => (number - middle) ** 2)));
};

/** One feature of a batch, in training mode. The twin of experiments.day26.five_steps for a column of x. */
function normalize(x, gamma, beta, eps) {
  const average = mean(x);
  const centred = x.map((value) => value - average);
  const variance = mean(centred.map((value) => value ** 2));
  const x_hat = centred.map((value) => value / Math.sqrt(variance + eps));
  return { x, mean: average, centred, var: variance, x_hat, y: x_hat.map((value) => gamma * value + beta) };
}

function compute({ step, gamma, beta, eps }, { x }) {
  const [samples, count] = x.shape;
  const features = Array.from({ length: count }, (_, feature) => {
    const column = Array.from({ length: samples }, (_, sample) => x[sample * count + feature]);
    return feature === 0 ? normalize(column, gamma, beta, eps) : normalize(column, 1, 0, eps);
  });
  const all = (name) => features.map((feature) => feature[name]);
  const [first] = features;
  const apart = Math.max(...first.y.map((value, sample) => Math.abs(value - first.x[sample])));
  return {
    x: all("x"),
    mean: all("mean"),
    centred: all("centred"),
    var: all("var"),
    std: all("var").map(Math.sqrt),
    x_hat: all("x_hat"),
    x_hat_std: all("x_hat").map(deviation),
    y: all("y"),
    y_mean: all("y").map(mean),
    y_std: all("y").map(deviation),
    reached: step === 5 && apart < 0.1,
  };
}

function describe(state, { step }) {
  const both = (pair) => pair.map((number) => decimals(number)).join(" and ");
  return [
    () => `Input: a batch of N = ${state.x[0].length} samples, D = ${state.x.length} features`,
    () => `Step 1: the mean of each feature over the batch: ${both(state.mean)}`,
    () => "Step 2: subtract the mean; both features now have mean 0",
    () => `Step 3: the variance, the mean of the squares: ${both(state.var)}`,
    () => `Step 4: divide by sqrt(var + eps); x_hat has standard deviation ${both(state.x_hat_std)}`,
    () => `Step 5: scale and shift; y has mean ${both(state.y_mean)}, standard deviation ${both(state.y_std)}`,
  ][step]();
}

const ROWS = ["x", "centred", "x_hat", "y"];
const NAMES = ["x", "x − mean", "x_hat", "y"];
// The row that a step has come to; the mean and the variance are marks on a row that is there.
const LAST_ROW = [0, 0, 1, 1, 2, 3];
const [LOW, HIGH] = [-8.5, 14.5];

function drawFeature(stage, feature) {
  const plot = stage.plot({
    x: { domain: [LOW, HIGH], label: "value", ticks: [-5, 0, 5, 10] },
    y: { domain: [ROWS.length - 0.65, -0.5], ticks: [] },
    heading: `feature ${feature}`,
    height: 300,
  });
  plot.lines({ color: "faint", width: 1 }).set(ROWS.map((_, row) => [[LOW, HIGH], [row, row]]));
  plot.rule({ color: "grey", width: 1, dash: "1,3" }).set({ x: 0 });
  NAMES.forEach((name, row) => plot.text({ dy: -9, dx: 2, color: "grey" }).set(LOW, row, name));
  const spread = plot.line({ color: "orange", width: 15, opacity: 0.6 });
  const trailsBefore = plot.lines({ color: "sky", width: 1, opacity: 0.5 });
  const trails = plot.lines({ color: "sky", width: 1.5 });
  const mean = plot.line({ color: "vermillion", width: 3 });
  const dotsBefore = plot.dots({ color: "blue", size: 3.5, opacity: 0.35 });
  const input = plot.dots({ color: "grey", size: 5.5, hollow: true, label: "x again, beside y" });
  const dots = plot.dots({ color: "blue", size: 4, edge: "paper", width: 0.6 });
  // What is measured in a row stands above its line; under the last one, where no trail runs.
  const notes = ["vermillion", "ink", "ink", "ink"].map((color, row) => plot.text({ dy: row < 3 ? -9 : 18, dx: -2, anchor: "end", color }));

  return (state, step) => {
    const last = LAST_ROW[step];
    const row = (number) => [state[ROWS[number]][feature], Array(state.x[feature].length).fill(number)];
    const across = (from) => state.x[feature].map((_, sample) => [[from, from + 1].map((number) => row(number)[0][sample]), [from, from + 1]]);
    const before = Array.from({ length: last }, (_, number) => row(number));
    dotsBefore.set(before.flatMap(([values]) => values), before.flatMap(([, rows]) => rows));
    dots.set(...row(last));
    trailsBefore.set(Array.from({ length: Math.max(0, last - 1) }, (_, number) => across(number)).flat());
    trails.set(last ? across(last - 1) : []);
    input.set(step === 5 ? state.x[feature] : [], row(3)[1]);

    const [at, std] = [state.mean[feature], state.std[feature]];
    mean.set(step >= 1 ? [at, at] : [], [-0.2, 0.2]);
    spread.set(step >= 3 ? [-std, std] : [], [1, 1]);
    [
      step >= 1 && `mean ${decimals(at)}`,
      step >= 3 && `± sqrt(var) = ± ${decimals(std)}`,
      step >= 4 && `std ${decimals(state.x_hat_std[feature])}`,
      step >= 5 && `mean ${decimals(state.y_mean[feature])}, std ${decimals(state.y_std[feature])}`,
    ].forEach((note, number) => notes[number].set(HIGH, number, note || ""));
  };
}

function draw(stage) {
  const features = [0, 1].map((feature) => drawFeature(stage, feature));
  return (state, { step }) => features.forEach((update) => update(state, step));
}

export { compute, describe, draw, normalize };
