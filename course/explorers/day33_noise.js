// One weight on the bowl ½ w² whose gradients are noisy, with momentum and without.
import { decimals, linspace, significant } from "./kit.js";

/** w after each step of the heavy ball. The twin of experiments.day33.noisy_descent. */
function noisyDescent(lr, beta, noise, start) {
  let w = start;
  let v = 0;
  return Array.from(noise, (draw) => {
    v = beta * v + w + draw;
    w -= lr * v;
    return w;
  });
}

/** The standard deviation of w in the long run, for noise of spread `level` on the gradients. */
function longRun(lr, beta, level) {
  return Math.sqrt((lr * (1 + beta) * level ** 2) / ((1 - beta) * (2 * (1 + beta) - lr)));
}

function compute({ length, beta, batch_size }, { draws, start }) {
  const level = batch_size ** -0.5;
  const noise = draws.map((draw) => level * draw);
  const lr = length * (1 - beta);
  const spread = longRun(lr, beta, level);
  return {
    lr,
    plain: noisyDescent(length, 0, noise, start),
    ball: noisyDescent(lr, beta, noise, start),
    plain_spread: longRun(length, 0, level),
    spread,
    reached: length > 1.49 && batch_size <= 4 && spread < 0.45,
  };
}

function describe({ lr, spread, plain_spread }, { beta, batch_size }) {
  const images = batch_size > 1 ? `batches of ${batch_size}` : "single images";
  const [yours, without] = [spread, plain_spread].map((each) => significant(each));
  return `lr ${significant(lr, 3)}, beta ${decimals(beta)}, ${images}: spread ${yours}; with beta 0 it is ${without}`;
}

const LAST = 100; // steps that are shown a second time, magnified
const REACH = 4; // how many spreads of the path without momentum that panel holds, up and down

function draw(stage, { draws }) {
  const steps = linspace(1, draws.length, draws.length);
  const whole = stage.plot({
    x: { domain: [0, draws.length], label: "step" },
    y: { domain: [-6, 6], label: "w" },
    height: 230,
    share: 3,
  });
  whole.rule({ color: "grey", width: 1 }).set({ y: 0 });
  const right = stage.plot({
    x: { domain: [-0.6, 1.6], ticks: [0, 1], format: ["beta 0", "yours"] },
    y: { domain: [0.005, 10], log: true, label: "spread in the long run" },
    height: 230,
    least: 200,
  });
  const dots = { plain: right.dots({ color: "orange", size: 6 }), ball: right.dots({ color: "blue", size: 6 }) };
  stage.row();
  const near = stage.plot({
    x: { domain: [draws.length - LAST, draws.length], label: "step" },
    y: { domain: [-1, 1], label: "w" },
    heading: `the last ${LAST} steps magnified; dashed: up and down by the spread`,
    height: 210,
  });
  near.rule({ color: "grey", width: 1 }).set({ y: 0 });
  const spreads = {
    plain: near.lines({ color: "orange", width: 1, dash: "6,4" }),
    ball: near.lines({ color: "blue", width: 1, dash: "6,4" }),
  };
  const paths = [whole, near].map((plot) => ({
    plain: plot.line({ color: "orange", width: 1.2, label: plot === whole && "beta 0, same lr / (1 − beta)" }),
    ball: plot.line({ color: "blue", width: 2, label: plot === whole && "your beta" }),
  }));
  let shown = null;

  return (state) => {
    if (shown !== state.plain_spread) {
      shown = state.plain_spread;
      near.axes({ y: { domain: [-REACH * shown, REACH * shown] } });
    }
    [["plain", state.plain_spread], ["ball", state.spread]].forEach(([name, spread], place) => {
      for (const path of paths) path[name].set(steps, state[name]);
      spreads[name].set([spread, -spread].map((w) => [[0, draws.length], [w, w]]));
      dots[name].set([place], [spread]);
    });
  };
}

export { compute, describe, draw };
