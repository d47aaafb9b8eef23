// A path of a hundred steps over a bowl whose steep direction has eigenvalue 1.
import { linspace } from "./kit.js";

/** v ← beta v + g, then w ← w − lr v; with Nesterov w ← w − lr (g + beta v). The twin of experiments.day33.descend. */
function descend(eigenvalues, start, lr, beta, steps, nesterov) {
  const w = eigenvalues.map((curvature, axis) => {
    const column = [start[axis]];
    let v = 0;
    for (let step = 0; step < steps; step += 1) {
      const g = curvature * column[step];
      v = beta * v + g;
      column.push(column[step] - lr * (nesterov ? g + beta * v : v));
    }
    return column;
  });
  const loss = w[0].map((_, step) => 0.5 * w.reduce((sum, column, axis) => sum + eigenvalues[axis] * column[step] ** 2, 0));
  return { w, loss };
}

/** The step from which on the loss stays under the tolerance; null where it does not. */
function stepsNeeded(loss, tolerance) {
  const last = loss.findLastIndex((each) => !(each < tolerance)) + 1;
  return last < loss.length ? last : null;
}

function compute({ lr, beta, condition, nesterov }, { start, steps, tolerance }) {
  const { w, loss } = descend([1 / condition, 1], start, lr, beta, steps, nesterov);
  const needed = stepsNeeded(loss, tolerance);
  const best = 2 / (1 / condition + 1);
  const reference = descend([1 / condition, 1], start, best, 0, steps, false).loss;
  return { flat: w[0], steep: w[1], loss, reference, needed, reached: condition > 99 && needed !== null };
}

function describe({ loss, needed }, { beta, condition, nesterov }) {
  const kind = beta === 0 ? "Gradient descent" : nesterov ? "Nesterov" : "Heavy ball";
  let end = `after ${loss.length - 1} steps the loss is still ${loss.at(-1).toExponential(1).replace("-", "−")}`;
  if (needed !== null) end = `under 1e−6 from step ${needed} on`;
  else if (loss.at(-1) > loss[0]) end = "climbs out of the valley";
  return `${kind}, condition number ${condition}: ${end}`;
}

const LEVELS = [1, 0.6, 0.3, 0.1, 0.01]; // of the first loss
const ANGLES = linspace(0, 2 * Math.PI, 121);

function draw(stage, { start, steps, tolerance }) {
  const above = stage.plot({
    x: { domain: [-10.5, 10.5], label: "w[0], the flat direction", ticks: [-10, -5, 0, 5, 10] },
    y: { domain: [-2.7, 2.7], label: "w[1], steep", ticks: [-2, 0, 2] },
    height: 240,
    equal: true,
  });
  const levels = above.lines({ color: "faint", width: 1 });
  const path = above.line({ color: "blue", width: 1.2, dots: 2.4 });
  above.dots({ color: "ink", shape: "diamond", size: 4 }).set([start[0]], [start[1]]);
  above.dots({ color: "vermillion", shape: "plus", size: 7 }).set([0], [0]);

  stage.row();
  const below = stage.plot({
    x: { domain: [0, steps], label: "step" },
    y: { domain: [1e-10, 1e4], log: true, label: "loss" },
    height: 190,
  });
  below.rule({ color: "green", width: 1.2, dash: "5,4" }).set({ y: tolerance });
  below.text({ color: "green", dx: 6, dy: 15 }).set(0, tolerance, "the goal, 1e−6");
  const reference = below.line({ color: "grey", width: 1.4, dash: "2,3", label: "best gradient descent for this bowl" });
  const loss = below.line({ color: "blue", width: 2, label: "this path" });
  const arrival = below.dots({ color: "green", size: 5 });
  const all = linspace(0, steps, steps + 1);
  let drawn = null;

  return (state, { condition }) => {
    if (drawn !== condition) {
      drawn = condition;
      levels.set(
        LEVELS.map((part) => {
          const reach = (2 * state.loss[0] * part) ** 0.5;
          return [ANGLES.map((a) => reach * Math.cos(a) * condition ** 0.5), ANGLES.map((a) => reach * Math.sin(a))];
        }),
      );
      reference.set(all, state.reference);
    }
    path.set(state.flat, state.steep);
    loss.set(all, state.loss);
    arrival.set(state.needed === null ? [] : [state.needed], [tolerance]);
  };
}

export { compute, describe, draw };
