// The loss and the gradient after one step along the gradient, at moments of training, with batch norm and without.
import { significant } from "./kit.js";

/** Of measured[at][depth][gain][…] the part at one setting. */
function part(measured, places) {
  const [, depths, gains, sizes] = [...measured.shape, 1];
  const at = (places[0] * depths + places[1]) * gains + places[2];
  return measured.subarray(at * sizes, (at + 1) * sizes);
}

/** How many of the changes come before the first that is half of the gradient or more. */
function within(changes) {
  const first = changes.findIndex((change) => !(change < 0.5));
  return first < 0 ? changes.length : first;
}

function compute({ at, depth, gain }, { moments, depths, gains, sizes, measured }) {
  const places = [moments.indexOf(at), depths.indexOf(depth), gains.indexOf(gain)];
  const kinds = {};
  for (const [kind, { starts, losses, changes }] of Object.entries(measured)) {
    const change = part(changes, places);
    const good = within(change);
    kinds[kind] = {
      start: part(starts, places)[0],
      losses: part(losses, places),
      changes: change,
      trusted: good ? sizes[good - 1] : 0,
    };
  }
  return { ...kinds, reached: kinds.plain.trusted === kinds.normalized.trusted };
}

function describe({ plain, normalized }) {
  const [one, other] = [plain, normalized].map(({ trusted }) => (trusted ? significant(trusted) : "under 0.001"));
  return `The gradient holds, within half of itself, up to a step of ${one} without batch norm, ${other} with it`;
}

const LOOKS = {
  plain: { color: "vermillion", shape: "circle", size: 3, label: "plain" },
  normalized: { color: "blue", shape: "square", size: 2.8, label: "batch norm" },
};

function draw(stage, { sizes }) {
  const label = "size s of the step (learning rate)";
  const x = { domain: [8e-4, 40], log: true, label, ticks: [0.001, 0.01, 0.1, 1, 10] };
  const panel = { height: 300, least: 310 };
  const left = stage.plot({
    x,
    y: { domain: [0.05, 20], log: true, ticks: [0.1, 1, 10] },
    heading: "loss after one step along the gradient\n(dotted: before it)",
    ...panel,
  });
  const right = stage.plot({
    x,
    y: { domain: [0.01, 100], log: true, ticks: [0.01, 0.1, 1, 10, 100] },
    heading: "change of the gradient, relative to its length\n(ring: the last step below half of it)",
    ...panel,
  });
  right.rule({ color: "grey", width: 1.2, dash: "2,3" }).set({ y: 0.5 });
  right.text({ color: "grey", anchor: "end", dx: -4, dy: 14 }).set(40, 0.5, "half of it");
  const kinds = Object.entries(LOOKS).map(([kind, look]) => ({
    kind,
    start: left.rule({ color: look.color, width: 1.2, dash: "2,3" }),
    losses: curve(left, look),
    ring: right.dots({ color: look.color, hollow: true, size: 7, width: 1.8 }),
    changes: curve(right, look),
  }));

  return (state) => {
    for (const { kind, start, losses, changes, ring } of kinds) {
      const shown = state[kind];
      start.set({ y: shown.start });
      losses.set(sizes, shown.losses);
      changes.set(sizes, shown.changes);
      const last = sizes.indexOf(shown.trusted);
      ring.set(last < 0 ? [] : [shown.trusted], last < 0 ? [] : [shown.changes[last]]);
    }
  };
}

/** A line with a mark at each point. */
function curve(plot, { color, shape, size, label }) {
  const line = plot.line({ color, width: 1.4 });
  const dots = plot.dots({ color, shape, size, label });
  return {
    set(xs, ys) {
      line.set(xs, ys);
      dots.set(xs, ys);
    },
  };
}

export { compute, describe, draw };
