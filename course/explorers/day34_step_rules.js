// One rule for the step on one surface, without momentum and with it.
import { linspace, significant } from "./kit.js";
import { eigen, levelLines } from "./quadratic.js";

const sign = (number) => Number(number > 0) - Number(number < 0);
const GONE = 1e6; // farther away a path has left the picture for good

/** Positions and losses of one descent. The twin of the descent in experiments.day34.rule_paths. */
function descend([a, b, , c], start, { rule, lr, decay }, beta, steps) {
  const angle = 0.5 * Math.atan2(2 * b, a - c); // of the surface's first axis
  const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
  const rules = {
    gradient: (m) => m,
    normalized: (m) => {
      const length = Math.sqrt(m[0] * m[0] + m[1] * m[1]) || 1; // rounded as Python rounds it
      return m.map((part) => part / length);
    },
    sign: (m) => m.map(sign),
    adam: (m, squares, step) =>
      m.map((part, axis) => part / (1 - beta ** step) / (Math.sqrt(squares[axis] / (1 - 0.99 ** step)) + 1e-12)),
    orthogonalized: (m) => {
      const [one, two] = [sign(cosine * m[0] + sine * m[1]), sign(cosine * m[1] - sine * m[0])];
      return [cosine * one - sine * two, sine * one + cosine * two];
    },
  };
  let [x, y] = start;
  let [m, squares] = [[0, 0], [0, 0]];
  const path = [];
  const loss = [];
  for (let step = 1; step <= steps + 1; step += 1) {
    const g = [a * x + b * y, b * x + c * y];
    path.push([x, y]);
    loss.push(0.5 * (g[0] * x + g[1] * y));
    if (Math.max(Math.abs(x), Math.abs(y)) > GONE) {
      while (path.length <= steps) path.push(path.at(-1));
      while (loss.length <= steps) loss.push(loss.at(-1));
      break;
    }
    m = m.map((old, axis) => beta * old + (1 - beta) * g[axis]);
    if (rule === "adam") squares = squares.map((old, axis) => 0.99 * old + 0.01 * (g[axis] * g[axis]));
    const d = rules[rule](m, squares, step);
    const now = decay ? lr * (1 - (step - 1) / steps) : lr;
    [x, y] = [x - now * d[0], y - now * d[1]];
  }
  const moves = path.slice(1).map(([x, y], step) => Math.hypot(x - path[step][0], y - path[step][1]));
  return {
    path: [0, 1].map((axis) => path.map((point) => point[axis])),
    loss: loss.map((each) => each / loss[0]),
    moves,
  };
}

function compute(settings, { scale, betas, steps, goal }) {
  const raw = settings.surface === "raw";
  const stretch = raw ? scale : 1;
  const mixed = settings.correlation * stretch;
  const hessian = [1, mixed, mixed, stretch ** 2];
  const { values } = eigen(hessian);
  const runs = betas.map((beta) => descend(hessian, [-2, 1.5 / stretch], settings, beta, steps));
  const arrived = runs.every(({ loss }) => loss.at(-1) < goal);
  return { hessian, condition: values[1] / values[0], runs, reached: settings.rule === "sign" && raw && arrived };
}

const NAMES = {
  gradient: "Gradient",
  normalized: "Normalized",
  sign: "Sign",
  adam: "Adam",
  orthogonalized: "Orthogonalized",
};

function describe({ condition, runs }, { rule }) {
  const [plain, ball] = runs.map(({ loss }) => (loss.at(-1) > 1e6 ? "over 10⁶" : significant(loss.at(-1))));
  return (
    `${NAMES[rule]} steps, condition ${significant(condition, 3)}: ` +
    `the loss ends at ${plain} times the first, with momentum at ${ball}`
  );
}

const WIDE = 3.1; // half the width of the surface's panel, in halves of its height
const LOOKS = [
  { color: "grey", shape: "circle", size: 2.6, label: "no momentum" },
  { color: "vermillion", shape: "triangle", size: 3, label: "beta 0.9" },
];

function draw(stage, { steps, goal }) {
  const above = stage.plot({
    x: { domain: [-WIDE, WIDE] },
    y: { domain: [-1, 1] },
    height: 262,
    equal: true,
    frame: false,
  });
  above.line({ color: "faint", width: 1 }).set([-WIDE, WIDE, WIDE, -WIDE, -WIDE], [-1, -1, 1, 1, -1]);
  const levels = above.lines({ color: "faint", width: 1 });
  const paths = LOOKS.map((look) => marks(above, look));
  above.dots({ color: "ink", shape: "plus", size: 6, width: 1.8 }).set([0], [0]);

  stage.row();
  const panel = { height: 220, least: 320 };
  const left = stage.plot({
    x: { domain: [0, steps], label: "step" },
    y: { domain: [1e-8, 1e2], log: true },
    heading: "loss / first loss",
    ...panel,
  });
  left.rule({ color: "green", width: 1, dash: "5,4" }).set({ y: goal });
  const losses = LOOKS.map((look) => marks(left, { ...look, label: null }));
  const right = stage.plot({
    x: { domain: [0, steps], label: "step" },
    y: { domain: [1e-4, 10], log: true },
    heading: "length of the step",
    ...panel,
  });
  const moves = LOOKS.map((look) => marks(right, { ...look, label: null }));
  const places = linspace(0, steps, steps + 1);

  return ({ hessian, runs }) => {
    const { zoom, lines } = levelLines(hessian, runs[0].path.map((column) => column[0]), WIDE);
    levels.set(lines);
    runs.forEach((run, place) => {
      paths[place](...run.path.map((column) => column.map((each) => zoom * each)));
      losses[place](places, run.loss);
      moves[place](places.slice(1), run.moves);
    });
  };
}

/** A line with a mark at each point. */
function marks(plot, { color, shape, size, label }) {
  const line = plot.line({ color, width: 1.2 });
  const dots = plot.dots({ color, shape, size, label });
  return (xs, ys) => {
    line.set(xs, ys);
    dots.set(xs, ys);
  };
}

export { compute, describe, draw };
