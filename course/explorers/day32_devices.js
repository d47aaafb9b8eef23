// One feature of a batch on several devices: the devices' statistics, merged and averaged.
import { decimals } from "./kit.js";

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
const average = (numbers) => sum(numbers) / numbers.length;

/** The twin of experiments.day32.devices and merge_statistics. */
function compute({ num_devices, shift, unequal }, { noise, few }) {
  const shards = Array.from({ length: num_devices }, (_, device) => {
    const drawn = unequal && device === num_devices - 1 ? noise[device] : noise[device].subarray(0, few);
    return Array.from(drawn, (each) => each + shift * (device - (num_devices - 1) / 2));
  });
  const means = shards.map(average);
  const variances = shards.map((shard, k) => average(shard.map((value) => (value - means[k]) ** 2)));
  const total = sum(shards.map((shard) => shard.length));
  const weighted = (numbers) => sum(numbers.map((number, k) => (shards[k].length / total) * number));
  const mean = weighted(means);
  const within = weighted(variances);
  const between = weighted(means.map((each) => (each - mean) ** 2));
  const averaged_variance = average(variances);
  return {
    shards,
    means,
    variances,
    mean,
    variance: within + between,
    within,
    between,
    averaged_mean: average(means),
    averaged_variance,
    reached: averaged_variance < (within + between) / 4,
  };
}

function describe({ variance, averaged_variance }) {
  return `Averaged, the variance is ${Math.round((100 * averaged_variance) / variance)}% of that of the whole batch`;
}

function draw(stage, { noise }) {
  const most = noise.length;
  const names = [...noise.map((_, device) => `device ${device}`), "merged", "averaged"];
  const left = stage.plot({
    x: { domain: [-11, 8.5], label: "value of the feature", ticks: [-8, -4, 0, 4, 8] },
    y: { domain: [names.length - 0.4, -0.6], ticks: [] },
    heading: "mean ± standard deviation",
    height: 320,
    share: 3,
    least: 300,
  });
  const labels = names.map((name, row) => {
    const label = left.text({ dy: 4 });
    label.set(-10.9, row, name);
    return label;
  });
  left.rule({ color: "faint" }).set({ y: most - 0.5 });
  const bands = ["sky", "orange", "purple"].map((color) => left.lines({ color, width: 15, opacity: 0.6 }));
  const dots = left.dots({ color: "blue", size: 2.6 });
  const middles = left.lines({ color: "ink", width: 2 });
  let devices = most;
  // The pointer holds the outermost devices, whose true means lie (K − 1) / 2 shifts from the middle.
  left.drag((x) => {
    if (devices > 1) stage.choose({ shift: (2 * Math.abs(x)) / (devices - 1) });
  }, "x");

  const right = stage.plot({
    x: { domain: [-0.6, 1.6], ticks: [0, 1], format: ["merged", "averaged"] },
    y: { domain: [0, 16], label: "variance", ticks: [0, 5, 10, 15] },
    heading: "two variances for the whole batch",
    height: 320,
    share: 1,
    least: 220,
  });
  const within = right.bars({ color: "orange", label: "within" });
  const between = right.bars({ color: "vermillion", label: "between" });
  const averaged = right.bars({ color: "purple", label: "averaged" });
  const tops = [0, 1].map(() => right.text({ anchor: "middle", dy: -5, bold: true }));

  return (state, { num_devices }) => {
    devices = num_devices;
    labels.slice(0, most).forEach((label, device) => label.show(device < devices));
    const rows = [...state.shards.map((_, device) => device), most, most + 1];
    const means = [...state.means, state.mean, state.averaged_mean];
    const stds = [...state.variances, state.variance, state.averaged_variance].map(Math.sqrt);
    const segments = rows.map((row, k) => [[means[k] - stds[k], means[k] + stds[k]], [row, row]]);
    bands[0].set(segments.slice(0, -2));
    bands[1].set(segments.slice(-2, -1));
    bands[2].set(segments.slice(-1));
    middles.set(rows.map((row, k) => [[means[k], means[k]], [row - 0.3, row + 0.3]]));
    dots.set(state.shards.flat(), state.shards.flatMap((shard, row) => shard.map(() => row)));
    within.set([-0.35], [0.35], [state.within], 0);
    between.set([-0.35], [0.35], [state.variance], state.within);
    averaged.set([0.65], [1.35], [state.averaged_variance], 0);
    [state.variance, state.averaged_variance].forEach((top, k) => tops[k].set(k, top, decimals(top)));
  };
}

export { compute, describe, draw };
