// Least squares on two features: four descents, with momentum, with normalization, with neither and with both.
import { decimals, linspace, significant } from "./kit.js";
import { eigen, levelLines } from "./quadratic.js";

/** The square root of [[a, b], [b, d]]. */
function root([a, b, , d]) {
  const determinant = Math.sqrt(a * d - b * b);
  const trace = Math.sqrt(a + d + 2 * determinant);
  return [a + determinant, b, b, d + determinant].map((entry) => entry / trace);
}

function inverse([a, b, c, d]) {
  const determinant = a * d - b * c;
  return [d, -b, -c, a].map((entry) => entry / determinant);
}

function product([a, b, c, d], [e, f, g, h]) {
  return [a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h];
}

const times = ([a, b, c, d], [x, y]) => [a * x + b * y, c * x + d * y];

/** lr and beta that suit curvatures from low to high best. */
function bestSetting(low, high, momentum) {
  if (!momentum) return [2 / (low + high), 0];
  const [slow, fast] = [Math.sqrt(low), Math.sqrt(high)];
  return [(2 / (slow + fast)) ** 2, ((fast - slow) / (fast + slow)) ** 2];
}

/** One of the four runs. The twin of a panel of experiments.day34.two_by_two. */
function descend(hessian, start, momentum, { longest, tolerance, slack }) {
  const { values, vectors } = eigen(hessian);
  const [lr, beta] = bestSetting(...values, momentum);
  const along = vectors.map((vector, axis) => {
    const column = [vector[0] * start[0] + vector[1] * start[1]];
    let v = 0;
    for (let step = 0; step < longest; step += 1) {
      v = beta * v + values[axis] * column[step];
      column.push(column[step] - lr * v);
    }
    return column;
  });
  const loss = along[0].map((_, step) => 0.5 * (values[0] * along[0][step] ** 2 + values[1] * along[1][step] ** 2));
  const steps = loss.findLastIndex((each) => each > (1 + slack) * tolerance * loss[0]) + 1;
  return {
    hessian,
    path: [0, 1].map((axis) => along[0].map((w, step) => w * vectors[0][axis] + along[1][step] * vectors[1][axis])),
    loss: loss.map((each) => each / loss[0]),
    condition: values[1] / values[0],
    lr,
    beta,
    steps: steps <= longest ? steps : null,
  };
}

function compute({ scale, correlation, whiten }, data) {
  const raw = [1, correlation * scale, correlation * scale, scale ** 2];
  const start = [-2, 1.2 / scale];
  const change = whiten ? root(raw) : [1, 0, 0, scale]; // from the raw weights to the normalized ones
  const back = inverse(change);
  const normalized = product(product(back, raw), back);
  const panels = {};
  for (const name of Object.keys(LOOKS)) {
    const [momentum, isNormalized] = data.runs[name];
    const [hessian, first] = isNormalized ? [normalized, times(change, start)] : [raw, start];
    panels[name] = descend(hessian, first, momentum, data);
  }
  const [ball, alone] = [panels.momentum.steps, panels.normalization.steps];
  return { panels, reached: !whiten && ball !== null && (alone === null || 2 * ball < alone) };
}

const LOOKS = {
  plain: { color: "grey", shape: "circle", size: 2.4, name: "neither" },
  normalization: { color: "blue", shape: "square", size: 2.2, name: "normalization" },
  momentum: { color: "vermillion", shape: "triangle", size: 2.8, name: "momentum" },
  both: { color: "green", shape: "diamond", size: 2.4, name: "both" },
};

function describe({ panels }) {
  const counts = Object.entries(panels).map(([name, { steps, loss }]) => `${LOOKS[name].name} ${count(steps, loss)}`);
  return `Steps to a millionth of the loss: ${counts.join(", ")}`;
}

function count(steps, loss) {
  return steps === null ? `over ${loss.length - 1}` : String(steps);
}

const WIDE = 2.3; // half the width of a panel, in halves of its height
const LOWEST = 1e-8; // loss that is shown, over the first
const TICKS = [1, 2, 5, 10, 20, 50, 100, 200, 400]; // steps
const EDGE = [[-WIDE, WIDE, WIDE, -WIDE, -WIDE], [-1, -1, 1, 1, -1]];

function draw(stage, { runs, longest, tolerance }) {
  const panels = Object.entries(LOOKS).map(([name, { color, shape, size }], place) => {
    if (place === 2) stage.row();
    const [momentum, normalized] = runs[name];
    const plot = stage.plot({
      x: { domain: [-WIDE, WIDE] },
      y: { domain: [-1, 1] },
      heading: " ",
      height: 176,
      least: 320,
      equal: true,
      frame: false,
    });
    plot.line({ color: "faint", width: 1 }).set(...EDGE);
    const levels = plot.lines({ color: "faint", width: 1 });
    const line = plot.line({ color, width: 1.3 });
    const dots = plot.dots({ color, shape, size });
    plot.dots({ color: "ink", shape: "plus", size: 5, width: 1.6 }).set([0], [0]);
    const words = `${normalized ? "normalized" : "raw"} surface, ${momentum ? "" : "no "}momentum`;
    return { name, plot, levels, line, dots, words };
  });

  stage.row();
  const below = stage.plot({
    x: { domain: [0.85, longest], log: true, label: "step", ticks: TICKS, format: String },
    y: { domain: [LOWEST, 1e3], log: true, label: "loss / first loss" },
    height: 190,
  });
  below.rule({ color: "ink", width: 1, dash: "5,4" }).set({ y: tolerance });
  const all = linspace(0, longest, longest + 1);
  // Equal runs lie on each other: the first is the widest.
  const curves = Object.entries(LOOKS).map(([name, { color, shape, name: label }], place) => ({
    name,
    line: below.line({ color, width: 4.4 - place, label }),
    arrival: below.dots({ color, shape, size: 4.6 - 0.4 * place }),
  }));

  return (state) => {
    for (const { name, plot, levels, line, dots, words } of panels) {
      const panel = state.panels[name];
      const { zoom, lines } = levelLines(panel.hessian, panel.path.map((column) => column[0]), WIDE);
      levels.set(lines);
      const shown = (panel.steps ?? longest) + 1; // from there on a point lies on the minimum
      const path = panel.path.map((column) => column.slice(0, shown).map((each) => zoom * each));
      line.set(...path);
      dots.set(...path);
      const { condition, lr, beta, steps, loss } = panel;
      const numbers = `condition ${significant(condition, 3)}, lr ${significant(lr)}, beta ${decimals(beta)}`;
      plot.heading(`${words}: ${count(steps, loss)} step${steps === 1 ? "" : "s"}\n${numbers}`);
    }
    for (const { name, line, arrival } of curves) {
      const { loss, steps } = state.panels[name];
      // A loss of 0 has no place on a logarithmic axis; it leaves the panel downwards.
      const shown = loss.slice(0, loss.findLastIndex((each) => each > LOWEST) + 2);
      line.set(all.slice(0, shown.length), shown.map((each) => Math.max(each, 1e-30)));
      arrival.set(steps === null ? [] : [steps], [tolerance]);
    }
  };
}

export { compute, describe, draw };
