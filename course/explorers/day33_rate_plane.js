// The rate for every (lr, beta) as a map, and the roots behind it at one point of it.
import { decimals, linspace } from "./kit.js";

/** The sum and the product of the two roots along an eigenvector. The twin of experiments.day33.roots. */
function equation(curvature, lr, beta, nesterov) {
  const kept = 1 - lr * curvature;
  return nesterov ? [(1 + beta) * kept, beta * kept] : [kept + beta, beta];
}

/** The two roots of z² − total z + product as [real, imaginary]. */
function roots([total, product]) {
  const inner = total * total - 4 * product;
  const root = Math.sqrt(Math.abs(inner));
  return [1, -1].map((sign) => (inner < 0 ? [total / 2, (sign * root) / 2] : [(total + sign * root) / 2, 0]));
}

/** The size of the larger root. */
function size([total, product]) {
  const inner = total * total - 4 * product;
  return inner < 0 ? Math.sqrt(product) : (Math.abs(total) + Math.sqrt(inner)) / 2;
}

const planes = new Map(); // by condition and method; the cursor moves far more often than the plane changes

/** The rates, a row for each beta. The twin of experiments.day33.rate_plane. */
function ratePlane(condition, nesterov, { lrs, betas }) {
  const name = `${condition} ${nesterov}`;
  if (!planes.has(name)) {
    const rates = new Float64Array(betas.length * lrs.length);
    betas.forEach((beta, row) =>
      lrs.forEach((lr, column) => {
        const ends = [1 / condition, 1].map((curvature) => size(equation(curvature, lr, beta, nesterov)));
        rates[row * lrs.length + column] = Math.max(...ends);
      }),
    );
    planes.set(name, rates);
  }
  return planes.get(name);
}

const STARRED = 25; // the best pair is shown up to this condition number
const ROUNDING = 1e-12; // a rate so close to 1 is 1

/** [lr, beta] of the fastest heavy ball for curvatures from 1 / condition to 1. */
function best(condition) {
  const low = Math.sqrt(1 / condition);
  return [(2 / (low + 1)) ** 2, ((1 - low) / (1 + low)) ** 2];
}

function compute({ lr, beta, condition, nesterov }, data) {
  const [flat, steep] = [1 / condition, 1].map((curvature) => roots(equation(curvature, lr, beta, nesterov)));
  const rate = Math.max(...[...flat, ...steep].map((root) => Math.hypot(...root)));
  return {
    plane: ratePlane(condition, nesterov, data),
    flat,
    steep,
    rate,
    steps: rate > 1 - ROUNDING ? null : rate > 0 ? -1 / Math.log10(rate) : 0,
    best: nesterov || condition > STARRED ? null : best(condition),
    reached: condition > 99 && rate < 0.83,
  };
}

function describe({ rate, steps }, { condition, nesterov }) {
  const end = steps === null ? "it does not converge" : `${decimals(steps, 1)} steps for each decimal digit`;
  return `${nesterov ? "Nesterov" : "Heavy ball"}, condition number ${condition}: rate ${decimals(rate, 3)}, ${end}`;
}

// Steps that shrink the distance tenfold, where one colour ends and the next begins, and the colours:
// matplotlib's cividis from its bright end. They stay in a dark theme.
const DIGITS = [2, 5, 10, 20, 50, 100, 200];
const COLOURS = ["#fee838", "#d9c55c", "#b1a570", "#8e8978", "#6c6e72", "#4c556c", "#213b6e", "#00224e"];
const NAMES = DIGITS.map((steps, place) => (place ? `${DIGITS[place - 1]}–${steps}` : `under ${steps}`));

/** The plane as pixels, the largest beta above; where nothing converges they are clear. */
function pixelsOf(plane, columns, rows) {
  const limits = [...DIGITS.map((steps) => 10 ** (-1 / steps)), 1];
  const shades = COLOURS.map((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));
  const rgba = new Uint8ClampedArray(4 * columns * rows);
  plane.forEach((rate, cell) => {
    const shade = shades[limits.findIndex((limit) => rate < limit)];
    const row = rows - 1 - Math.floor(cell / columns);
    if (shade) rgba.set([...shade, 255], 4 * (row * columns + (cell % columns)));
  });
  return rgba;
}

const REACH = 1.3; // of the roots' panel, to all sides
const CIRCLE = linspace(0, 2 * Math.PI, 181).map((angle) => [Math.cos(angle), Math.sin(angle)]);
const circle = (radius) => [0, 1].map((axis) => CIRCLE.map((point) => radius * point[axis]));

function draw(stage, { lrs, betas }) {
  const left = stage.plot({
    x: { domain: [0, 4], label: "lr · largest eigenvalue", ticks: [0, 1, 2, 3, 4] },
    y: { domain: [0, 1], label: "beta" },
    heading: "steps in which the distance shrinks tenfold (drag the cursor)",
    height: 330,
    share: 1.35,
    least: 330,
  });
  const image = left.image();
  image.element.style.imageRendering = "auto";
  [...NAMES, `over ${DIGITS.at(-1)}`].forEach((label, place) => left.bars({ color: COLOURS[place], label }));
  left.text({ color: "grey", anchor: "end", dx: -6, dy: -8 }).set(4, 0, "does not converge");
  const star = left.dots({ color: "#ffffff", edge: "#1a1a1a", shape: "star", size: 8, width: 1.2, clip: false });
  const cross = [left.rule({ color: "vermillion", width: 1 }), left.rule({ color: "vermillion", width: 1 })];
  const cursor = left.dots({ color: "vermillion", edge: "#ffffff", size: 6, clip: false });
  left.drag((lr, beta) => stage.choose({ lr, beta }));

  const right = stage.plot({
    x: { domain: [-REACH, REACH], label: "real part", ticks: [-1, 0, 1] },
    y: { domain: [-REACH, REACH], label: "imaginary part", ticks: [-1, 0, 1] },
    heading: "factors per step at the cursor",
    height: 330,
    least: 280,
    equal: true,
  });
  right.rule({ color: "faint", width: 1 }).set({ x: 0 });
  right.rule({ color: "faint", width: 1 }).set({ y: 0 });
  right.line({ color: "ink", width: 1.2 }).set(...circle(1));
  const slowest = right.line({ color: "vermillion", width: 1.4, dash: "5,4", label: "the rate" });
  const flat = right.dots({ color: "orange", size: 5.5, label: "flattest direction" });
  const steep = right.dots({ color: "blue", shape: "square", size: 4.5, label: "steepest direction" });
  const outside = right.text({ color: "vermillion", dx: 5, dy: -7 }); // roots leave to the left only
  let drawn = null;

  return (state, { lr, beta }) => {
    if (drawn !== state.plane) {
      drawn = state.plane;
      image.set(lrs.length, betas.length, pixelsOf(state.plane, lrs.length, betas.length));
    }
    star.set(...(state.best ?? [[], []]).map((each) => [each].flat()));
    cross[0].set({ x: lr });
    cross[1].set({ y: beta });
    cursor.set([lr], [beta]);
    slowest.set(...circle(state.rate));
    flat.set(...[0, 1].map((part) => state.flat.map((root) => root[part])));
    steep.set(...[0, 1].map((part) => state.steep.map((root) => root[part])));
    const least = Math.min(...[...state.flat, ...state.steep].map(([real]) => real));
    outside.set(-REACH, -REACH, least < -REACH ? `← one at ${decimals(least)}` : "");
  };
}

export { compute, describe, draw };
