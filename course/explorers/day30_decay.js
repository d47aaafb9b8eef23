// The length of a weight that a normalization follows, and the angle by which each step turns it.
import { decimals, linspace, significant } from "./kit.js";

const degrees = (radians) => (radians * 180) / Math.PI;

/** Where the length and the angle settle. */
function rest(lr, weight_decay) {
  return [(lr / (2 * weight_decay)) ** 0.25, degrees(Math.sqrt(2 * lr * weight_decay))];
}

function compute({ lr, weight_decay, start, drop }, { steps, drop_at }) {
  const [norm, angle] = [[start], []];
  for (let step = 0; step < steps; step += 1) {
    const rate = step < drop_at ? lr : lr * drop;
    const [along, across] = [(1 - rate * weight_decay) * norm[step], rate / norm[step]];
    angle.push(degrees(Math.atan2(across, along)));
    norm.push(Math.hypot(along, across));
  }
  const [before, after] = [rest(lr, weight_decay), rest(lr * drop, weight_decay)];
  const share = norm.at(-1) / after[0];
  return {
    norm,
    angle,
    norm_rest: [before[0], after[0]],
    angle_rest: [before[1], after[1]],
    share,
    reached: Math.abs(share - 1) < 0.05 && Math.abs(angle.at(-1) - 1) < 0.1,
  };
}

function describe({ norm, angle, share }) {
  const end = Math.abs(share - 1) < 0.05 ? "at rest" : `${significant(share)} times its resting length`;
  const turn = `a step turns it by ${significant(angle.at(-1))}°`;
  return `After ${angle.length} steps ‖w‖ is ${decimals(norm.at(-1))}, ${end}; ${turn}`;
}

/** Whole decades that hold all these positive numbers, and at least those from 10^low to 10^high. */
function decades(numbers, low, high) {
  let [least, most] = [10 ** low, 10 ** high];
  for (const number of numbers) [least, most] = [Math.min(least, number), Math.max(most, number)];
  return [10 ** Math.floor(Math.log10(least) + 1e-9) / 1.3, 10 ** Math.ceil(Math.log10(most) - 1e-9) * 1.3];
}

function draw(stage, { steps, drop_at }) {
  // To the right of the last step there is room for a number.
  const x = { domain: [-0.015 * steps, 1.16 * steps], label: "step", ticks: [0, 500, 1000, 1500] };
  const all = linspace(0, steps, steps + 1);
  const track = (color, label, resting, [low, high]) => {
    const plot = stage.plot({ x, y: { domain: decades([], low, high), label, log: true }, height: 300 });
    const drop = plot.rule({ color: "faint", width: 1.4 });
    const line = plot.line({ color, width: 2.4 });
    const settled = plot.line({ color: "ink", width: 1.2, dash: "5,4", step: true, label: resting });
    const number = plot.text({ dx: 5, dy: 4 });
    let shown = plot.y.domain();
    const set = (numbers, rests, text, from, dropped) => {
      const domain = decades([...numbers, ...rests], low, high);
      if (domain.some((end, place) => end !== shown[place])) plot.axes({ y: { domain } });
      shown = domain;
      drop.set(dropped ? { x: drop_at } : {});
      settled.set([0, drop_at, steps], [rests[0], rests[1], rests[1]]);
      line.set(all.slice(from), numbers);
      number.set(steps, numbers.at(-1), text);
    };
    return { plot, set };
  };
  const length = track("blue", "length ‖w‖", "⁴√(lr / 2 wd)", [-1, 1]);
  const start = length.plot.dots({ color: "ink", size: 5, shape: "diamond", edge: "paper", label: "drag it" });
  length.plot.drag((_, y) => stage.choose({ start: y }), "y");
  const turn = track("orange", "angle of a step, degrees", "√(2 lr · wd), in degrees", [-1, 2]);

  return ({ norm, angle, norm_rest, angle_rest }, { drop }) => {
    length.set(norm, norm_rest, decimals(norm.at(-1)), 0, drop !== 1);
    turn.set(angle, angle_rest, `${significant(angle.at(-1))}°`, 1, drop !== 1);
    start.set([0], [norm[0]]);
  };
}

export { compute, describe, draw };
