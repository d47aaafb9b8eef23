// Noisy values around a level that jumps, their running averages, and the weights of the past in a velocity.
import { decimals, linspace } from "./kit.js";

/** The average from 0, and divided by 1 − beta^t. The twin of experiments.day33.moving_average. */
function movingAverage(values, beta) {
  let average = 0;
  const plain = values.map((value) => {
    average = beta * average + (1 - beta) * value;
    return average;
  });
  return { plain, corrected: plain.map((each, place) => each / (1 - beta ** (place + 1))) };
}

const OLDEST = 50; // steps ago; the weights are shown as far as this

function compute({ beta, noise, jump }, { draws }) {
  const truth = Array.from(draws, (_, place) => (place < draws.length / 2 ? 1 : 1 + jump));
  const values = truth.map((level, place) => level + noise * draws[place]);
  const { plain, corrected } = movingAverage(values, beta);
  const near = corrected.slice(-20).every((average, place) => Math.abs(average - truth.at(place - 20)) < 0.2);
  return {
    values,
    truth,
    plain,
    corrected,
    weights: linspace(0, OLDEST, OLDEST + 1).map((age) => beta ** age),
    sum: 1 / (1 - beta),
    early: 1 - beta ** 5,
    reached: noise > 0.99 && near,
  };
}

function describe({ early }) {
  const sum = decimals(early);
  return `After 5 values the weights of the average from 0 sum to ${sum}${sum === "1.00" ? "" : " only"}`;
}

function draw(stage, { draws }) {
  const steps = linspace(1, draws.length, draws.length);
  const left = stage.plot({
    x: { domain: [0, draws.length + 1], label: "step t" },
    y: { domain: [-2.2, 5.2], label: "value" },
    height: 280,
    share: 2,
  });
  left.rule({ color: "faint", width: 1 }).set({ y: 0 });
  const values = left.dots({ color: "grey", size: 2.2, opacity: 0.7, label: "values" });
  const truth = left.line({ color: "ink", width: 1.2, dash: "2,3", step: true, label: "what they scatter around: drag its end" });
  const plain = left.line({ color: "orange", width: 2.2, label: "average from 0" });
  const corrected = left.line({ color: "blue", width: 2.2, label: "with bias correction" });
  left.drag((_, y) => stage.choose({ jump: y - 1 }), "y");

  const right = stage.plot({
    x: { domain: [-1, OLDEST + 1], label: "k, steps ago", ticks: [0, 10, 20, 30, 40, 50] },
    y: { domain: [0, 1.05], label: "weight beta^k in v" },
    heading: " ",
    height: 280,
    least: 240,
  });
  const weights = right.bars({ color: "purple" });
  const ages = linspace(0, OLDEST, OLDEST + 1);

  return (state) => {
    values.set(steps, state.values);
    truth.set(steps, state.truth);
    plain.set(steps, state.plain);
    corrected.set(steps, state.corrected);
    weights.set(ages.map((age) => age - 0.35), ages.map((age) => age + 0.35), state.weights);
    right.heading(`sum of all weights: 1 / (1 − beta) = ${decimals(state.sum, 1)}`);
  };
}

export { compute, describe, draw };
