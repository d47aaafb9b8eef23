// Two features of unlike scale, the bowl of their loss, and a descent into it.
import { decimals, linspace } from "./kit.js";
import { eigen } from "./quadratic.js";

const STEPS = 40;
const POINTS = 120; // of a level line

const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;

/** (1 − part) x + part x_hat for one feature. */
function partlyStandardized(x, part) {
  const middle = mean(x);
  const std = Math.sqrt(mean(x.map((number) => (number - middle) ** 2)));
  return x.map((number) => (1 - part) * number + (part * (number - middle)) / std);
}

/** Eigenvalues of [[a, b], [b, d]], smallest first, and their directions, chosen as Python chooses them. */
function mainDirections(a, b, d) {
  const { values, vectors } = eigen([a, b, b, d]);
  const [low, high] = values;
  // In a round bowl every direction is a main one. An eigenvector has no sign of its own.
  const directions = high - low < 1e-9 * high ? [[1, 0], [0, 1]] : vectors;
  return { values, vectors: directions.map(([x, y]) => (x + 0.6 * y < 0 ? [-x, -y] : [x, y])) };
}

/** The twin of experiments.day25.bowl: level, path and losses in units of the level line's long half axis. */
function bowl(x1, x2) {
  const hessian = [mean(x1.map((x) => x * x)), mean(x1.map((x, i) => x * x2[i])), mean(x2.map((x) => x * x))];
  const { values, vectors } = mainDirections(...hessian);
  const lengths = values.map((value) => Math.sqrt(values[0] / value));
  const place = (along) => [0, 1].map((axis) => along[0] * vectors[0][axis] + along[1] * vectors[1][axis]);
  const angles = linspace(0, 2 * Math.PI, POINTS);
  const level = angles.map((a) => place([Math.cos(a) * lengths[0], Math.sin(a) * lengths[1]]));
  const factors = values.map((value) => 1 - (2 / (values[0] + values[1])) * value);
  const starts = lengths.map((length) => length * Math.sqrt(0.5)); // both directions hold half of the loss
  const along = linspace(0, STEPS, STEPS + 1).map((step) => starts.map((start, k) => start * factors[k] ** step));
  const losses = along.map((c) => c[0] ** 2 * values[0] + c[1] ** 2 * values[1]);
  return { values, level, path: along.map(place), losses: losses.map((loss) => loss / losses[0]) };
}

/** Steps until the loss is 0.1% of the first; it may be more than the path has. */
function stepsTo(condition) {
  const factor = ((condition - 1) / (condition + 1)) ** 2;
  return factor <= 0.001 ? 1 : Math.ceil(Math.log(0.001) / Math.log(factor));
}

function compute({ scale, offset, correlation, part }, { white }) {
  const [first, second] = white.map((column) => Array.from(column));
  const rest = Math.sqrt(1 - correlation ** 2);
  const raw = [first, second.map((number, i) => scale * (correlation * first[i] + rest * number) + offset)];
  const x = raw.map((feature) => partlyStandardized(feature, part));
  const { values, level, path, losses } = bowl(...x);
  const condition = values[1] / values[0];
  const columns = (points) => [0, 1].map((axis) => points.map((point) => point[axis]));
  return {
    x,
    condition_number: condition,
    level: columns(level),
    path: columns(path),
    losses,
    steps_to: stepsTo(condition),
    reached: Math.abs(correlation) > 0.79 && condition < 10,
  };
}

function describe({ condition_number: condition, steps_to: steps }) {
  const number = condition < 10 ? decimals(condition) : condition.toFixed(0);
  return `Condition number ${number}: the loss is down to 0.1% after ${steps} step${steps > 1 ? "s" : ""}`;
}

const LEVELS = [1, 0.75, 0.5, 0.25];
const TOLERANCE = 1e-3;

function draw(stage) {
  const data = stage.plot({
    x: { domain: [-6, 6], label: "feature x1", ticks: [-5, 0, 5] },
    y: { domain: [-12, 18], label: "feature x2", ticks: [-10, -5, 0, 5, 10, 15] },
    heading: "the data",
    height: 320,
    share: 0,
    least: 190,
    equal: true,
  });
  data.rule({ color: "grey", width: 1, dash: "2,3" }).set({ x: 0 });
  data.rule({ color: "grey", width: 1, dash: "2,3" }).set({ y: 0 });
  const dots = data.dots({ color: "blue", size: 2.2, opacity: 0.8 });
  const middle = data.dots({ color: "ink", shape: "plus", size: 6 });

  const above = stage.plot({
    x: { domain: [-1.1, 1.1], label: "weight 1 (0: minimum)", ticks: [-1, 0, 1] },
    y: { domain: [-1.1, 1.1], label: "weight 2 (0: minimum)", ticks: [-1, 0, 1] },
    heading: "the loss from above",
    height: 320,
    least: 280,
    equal: true,
  });
  const levels = above.lines({ color: "sky", width: 1.3 });
  const path = above.line({ color: "vermillion", width: 1.2, dots: 2.8 });
  above.dots({ color: "ink", shape: "plus", size: 6 }).set([0], [0]);

  const below = stage.plot({
    x: { domain: [-0.5, STEPS + 0.5], label: "step", ticks: [0, 10, 20, 30, 40] },
    y: { domain: [3e-4, 2], log: true, ticks: [1, 0.1, 0.01, 0.001], format: ["100%", "10%", "1%", "0.1%"] },
    heading: "loss, as a part of the first",
    height: 320,
    least: 240,
  });
  below.rule({ color: "grey", width: 1, dash: "2,3" }).set({ y: TOLERANCE });
  const arrival = below.dots({ color: "ink", hollow: true, size: 6, width: 1.6 });
  const losses = below.line({ color: "vermillion", width: 1.2, dots: 2.4 });
  const steps = linspace(0, STEPS, STEPS + 1);

  // Rounded, so that what is equal but for its last digit looks equal.
  const rounded = (numbers) => numbers.map((number) => Math.round(number * 1e6) / 1e6);
  let part = 0;
  data.drag((_, y) => {
    if (part < 1) stage.choose({ offset: y / (1 - part) });
  }, "y");

  return (state, settings) => {
    part = settings.part;
    const x = state.x.map(rounded);
    dots.set(...x);
    middle.set(...x.map((feature) => rounded([mean(feature)])));
    levels.set(LEVELS.map((size) => state.level.map((axis) => rounded(axis.map((number) => size * number)))));
    path.set(...state.path.map(rounded));
    // A loss of 0 has no place on a logarithmic axis; it leaves the panel downwards.
    const shown = rounded(state.losses).map((loss) => Math.max(loss, 1e-9));
    losses.set(steps, shown);
    // Not in the path where it has fewer steps.
    arrival.set([state.steps_to], [shown[state.steps_to]]);
  };
}

export { compute, describe, draw };
