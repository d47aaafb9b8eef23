// Three samples in the plane of the columns that sum to 0: x_hat on its circle, and what is left of a gradient.
import { decimals, linspace } from "./kit.js";

// Two columns of length 1 that sum to 0 and stand at a right angle: the axes of that plane, as in experiments.day26.
const PLANE = [
  [-1, -1, 2].map((value) => value / Math.sqrt(6)),
  [1, -1, 0].map((value) => value / Math.sqrt(2)),
];
const dot = (a, b) => a.reduce((sum, value, axis) => sum + value * b[axis], 0);
const place = (column) => PLANE.map((axis) => dot(axis, column));
const column = ([a, b]) => PLANE[0].map((value, sample) => a * value + b * PLANE[1][sample]);

function compute({ third, degrees }, { pair }) {
  const x = [...pair, third];
  const mean = dot(x, [1, 1, 1]) / 3;
  const centred = place(x.map((value) => value - mean));
  const std = Math.hypot(...centred) / Math.sqrt(3);
  const x_hat = centred.map((value) => value / std);
  const angle = (degrees * Math.PI) / 180;
  const dy = [Math.cos(angle), Math.sin(angle)];
  const along = dot(dy, x_hat) / 3;
  const dx = dy.map((value, axis) => (value - along * x_hat[axis]) / std);
  const passed = (Math.hypot(...dx) * std) / Math.hypot(...dy);
  const scaled = dx.map((value) => value * std);
  return { centred, x_hat, dy, scaled, passed, columns: [x, column(x_hat)], reached: passed < 0.02 };
}

function describe({ passed }) {
  return `Of this dy, ${decimals(passed, 3)} of its length passes`;
}

const RADIUS = Math.sqrt(3);
const REACH = 1.25; // how long a dy of length 1 is drawn
const HEAD = 0.15; // of an arrow
const AROUND = linspace(0, 2 * Math.PI, 181);

/** An arrow as lines: its shaft and its head. */
function arrow([x0, y0], [x1, y1]) {
  const length = Math.hypot(x1 - x0, y1 - y0);
  const part = Math.min(HEAD, length / 2) / (length || 1);
  const [dx, dy] = [part * (x1 - x0), part * (y1 - y0)];
  return [
    [[x0, x1], [y0, y1]],
    [[x1 - dx - 0.6 * dy, x1, x1 - dx + 0.6 * dy], [y1 - dy + 0.6 * dx, y1, y1 - dy - 0.6 * dx]],
  ];
}

function draw(stage, { pair }) {
  const samples = stage.plot({
    x: { domain: [-5.4, 5.4], label: "value" },
    y: { domain: [1.6, -0.6], ticks: [] },
    height: 126,
  });
  samples.lines({ color: "faint", width: 1 }).set([0, 1].map((row) => [[-5.4, 5.4], [row, row]]));
  ["x", "x_hat"].forEach((name, row) => samples.text({ dy: -8, dx: 2, color: "grey" }).set(-5.4, row, name));
  const trails = samples.lines({ color: "sky", width: 1.2 });
  const firsts = samples.dots({ color: "blue", size: 4, edge: "paper", width: 0.6, label: "x[0] and x[1]" });
  const third = samples.dots({ color: "ink", size: 6, shape: "diamond", edge: "paper", label: "x[2]: drag it" });
  samples.drag((x) => stage.choose({ third: x }), "x");

  stage.row();
  const plane = stage.plot({
    x: { domain: [-5.2, 5.2] },
    y: { domain: [-3.05, 1.95] }, // x[0] < x[1] keeps x_hat in the lower half
    height: 400,
    equal: true,
    frame: false,
    heading: "the plane of the columns that sum to 0",
  });
  plane
    .line({ color: "grey", width: 1 })
    .set(AROUND.map((angle) => RADIUS * Math.cos(angle)), AROUND.map((angle) => RADIUS * Math.sin(angle)));
  plane.dots({ color: "grey", shape: "plus", size: 4, width: 1 }).set([0], [0]);
  const ray = plane.line({ color: "grey", width: 1, dash: "2,3" });
  const centred = plane.dots({ color: "grey", size: 5, label: "centred x" });
  const dy = plane.lines({ color: "orange", width: 3, label: "dy, from x_hat: turn it" });
  const dx = plane.lines({ color: "blue", width: 3, label: "dx · std, from x_hat" });
  const lost = plane.line({ color: "green", width: 1.6, dash: "5,4", label: "what the variance takes away" });
  const x_hat = plane.dots({ color: "ink", size: 5.5, label: "x_hat, on the circle" });

  // What is nearer when the pointer is pressed is dragged: the centred column along its line, or dy around x_hat.
  let shown = null;
  let sliding = false;
  plane.drag((x, y, pressed) => {
    const away = (move) => Math.hypot(x - move[0], y - move[1]);
    if (pressed) sliding = away(shown.centred) < away(shown.tip);
    if (sliding) {
      stage.choose({ third: (x - place([...pair, 0])[0]) / PLANE[0][2] });
    } else {
      const degrees = (Math.atan2(y - shown.x_hat[1], x - shown.x_hat[0]) * 180) / Math.PI;
      stage.choose({ degrees: (degrees + 360) % 360 });
    }
  });

  return (state) => {
    const [x, normalized] = state.columns;
    trails.set(x.map((value, sample) => [[value, normalized[sample]], [0, 1]]));
    firsts.set([x[0], x[1], normalized[0], normalized[1]], [0, 0, 1, 1]);
    third.set([x[2], normalized[2]], [0, 1]);

    const from = state.x_hat;
    const [tip, left] = [state.dy, state.scaled].map((move) => from.map((value, axis) => value + REACH * move[axis]));
    shown = { centred: state.centred, x_hat: from, tip };
    ray.set([0, state.centred[0]], [0, state.centred[1]]);
    centred.set([state.centred[0]], [state.centred[1]]);
    dy.set(arrow(from, tip));
    dx.set(arrow(from, left));
    lost.set([left[0], tip[0]], [left[1], tip[1]]);
    x_hat.set([from[0]], [from[1]]);
  };
}

export { compute, describe, draw };
