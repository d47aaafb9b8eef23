// Forty steps of gradient descent from one start, at seventeen learning rates, with batch norm and without.
import { linspace, significant } from "./kit.js";

function compute({ rate, gain }, { rates, gains, measured, highest }) {
  const [row, place] = [rates.indexOf(rate), gains.indexOf(gain)];
  const kinds = {};
  for (const kind of Object.keys(LOOKS)) {
    const { losses, limits } = measured[kind];
    const length = losses.shape[2];
    const curves = rates.map((_, number) => {
      const at = place * rates.length + number;
      return losses.subarray(at * length, (at + 1) * length);
    });
    kinds[kind] = { curve: curves[row], finals: curves.map((losses) => losses.at(-1)), limit: limits[place] };
  }
  const ends = Object.values(kinds).map(({ finals }) => finals[row]);
  const out = ends.map((loss) => loss >= highest);
  return { ...kinds, ends, out, reached: Math.min(...ends) < 0.01 && out.includes(true) };
}

function describe({ ends, out }, { rate }) {
  const [plain, normalized] = ends.map((loss, place) => (out[place] ? "out of bounds" : `at ${significant(loss)}`));
  return `Learning rate ${significant(rate)}: the loss ends ${plain} without batch norm, ${normalized} with it`;
}

const LOOKS = {
  plain: { color: "vermillion", shape: "circle", size: 3, label: "plain", failed: 14 },
  normalized: { color: "blue", shape: "square", size: 2.8, label: "batch norm", failed: 9 },
};

function draw(stage, { rates, measured, highest }) {
  const steps = linspace(0, measured.plain.losses.shape[2] - 1, measured.plain.losses.shape[2]);
  const y = { domain: [2e-4, highest], log: true, label: "training loss" };
  const panel = { height: 310, least: 310 };
  const left = stage.plot({
    x: { domain: [-1, steps.length], label: "step" },
    y,
    heading: "the descent at this learning rate",
    ...panel,
  });
  const right = stage.plot({
    x: { domain: [8e-3, 125], log: true, label: "learning rate", ticks: [0.01, 0.1, 1, 10, 100] },
    y,
    heading: "where it ends at each rate: drag (×: out of bounds)",
    ...panel,
  });
  const cursor = right.rule({ color: "ink", width: 1.2, dash: "2,3" });
  const kinds = Object.entries(LOOKS).map(([kind, { color, shape, size, label, failed }]) => ({
    kind,
    failed,
    curve: left.line({ color, width: 1.5 }),
    dots: left.dots({ color, shape, size, label }),
    limit: right.rule({ color, width: 1.6, dash: "6,4", label: `${label}: 2 / λ` }),
    ends: right.line({ color, width: 1.4 }),
    ring: right.dots({ color, hollow: true, size: 7, width: 1.8 }),
    marks: right.dots({ color, shape, size }),
    crosses: right.dots({ color, shape: "cross", size: 3.4, width: 1.8 }),
  }));
  right.drag((x) => {
    const gap = (rate) => Math.abs(Math.log(x / rate));
    stage.choose({ rate: rates.reduce((best, rate) => (gap(rate) < gap(best) ? rate : best)) });
  }, "x");

  return (state, { rate }) => {
    cursor.set({ x: rate });
    for (const { kind, failed, curve, dots, limit, ends, ring, marks, crosses } of kinds) {
      const { curve: losses, finals, limit: longest } = state[kind];
      // What is no number any more leaves upwards.
      curve.set(steps, losses.map((loss) => Math.min(loss, 1e30)));
      dots.set(steps, losses);
      limit.set({ x: longest });
      ends.set(rates, finals.map((loss) => (loss < highest ? loss : NaN)));
      const inside = rates.filter((_, number) => finals[number] < highest);
      marks.set(inside, finals.filter((loss) => loss < highest));
      const outside = rates.filter((each) => !inside.includes(each));
      crosses.set(outside, outside.map(() => failed));
      const final = finals[rates.indexOf(rate)];
      ring.set([rate], [final < highest ? final : failed]);
    }
  };
}

export { compute, describe, draw };
