// The maps of one channel before and after normalization: one mean for all values, or one for each place.

/** A filter over each image, with zeros around it; images are (N, H, W), in sixteenths. */
function convolve(sixteenths, filter, [height, width], count) {
  const x = new Float64Array(count * height * width);
  for (let n = 0; n < count; n += 1) {
    for (let h = 0; h < height; h += 1) {
      for (let w = 0; w < width; w += 1) {
        let sum = 0;
        for (let i = Math.max(0, h - 1); i <= Math.min(height - 1, h + 1); i += 1) {
          for (let j = Math.max(0, w - 1); j <= Math.min(width - 1, w + 1); j += 1) {
            sum += (filter[3 * (i - h + 1) + j - w + 1] * sixteenths[(n * height + i) * width + j]) / 16;
          }
        }
        x[(n * height + h) * width + w] = sum;
      }
    }
  }
  return x;
}

/** Means, and what they are of, normalized: value i belongs to mean i % number. */
function normalize(x, number, eps) {
  const size = x.length / number;
  const means = new Float64Array(number);
  x.forEach((value, i) => {
    means[i % number] += value / size;
  });
  const vars = new Float64Array(number);
  x.forEach((value, i) => {
    vars[i % number] += (value - means[i % number]) ** 2 / size;
  });
  return { means, x_hat: x.map((value, i) => (value - means[i % number]) / Math.sqrt(vars[i % number] + eps)) };
}

function histogram(values, bin, bins) {
  const counts = new Int32Array(bins);
  for (const value of values) {
    counts[Math.min(Math.max(Math.floor(value / bin + 0.5) + (bins - 1) / 2, 0), bins - 1)] += 1;
  }
  return counts;
}

function compute({ channel, num_images, axes, place }, { sixteenths, names, filters, eps, bin, bins }) {
  const [, height, width] = sixteenths.shape;
  const x = convolve(sixteenths, filters.subarray(9 * channel, 9 * channel + 9), [height, width], num_images);
  const { means, x_hat } = normalize(x, axes.length === 1 ? height * width : 1, eps);
  const values_per_mean = x.length / means.length;
  return {
    name: names[channel],
    x,
    x_hat,
    means,
    values_per_mean,
    mean: means[(place[0] * width + place[1]) % means.length],
    before: histogram(x, bin, bins),
    after: histogram(x_hat, bin, bins),
    reached: values_per_mean === 2,
  };
}

function describe({ name, x, means, values_per_mean }, { channel }) {
  const number = means.length === 1 ? "one mean" : `${means.length} means`;
  const each = means.length === 1 ? "" : `, ${values_per_mean} to each`;
  return `Channel ${channel}, “${name}”: ${number} for ${x.length} values${each}`;
}

const SHOWN = 8; // maps, in two rows of four
const BELOW = [123, 82, 196]; // purple
const ABOVE = [224, 110, 0]; // orange
const STRONGEST = 2.5; // the value that has the full colour

/** How far down the sheet the first row of maps begins: a single row lies in the middle. */
function above(count, height) {
  return count > 4 ? 0 : Math.floor((height + 1) / 2);
}

/** Where a place of one of `count` maps lies on their sheet: its left upper corner. */
function corner(map, count, [height, width], row = 0, column = 0) {
  return [(map % 4) * (width + 1) + column, above(count, height) + Math.floor(map / 4) * (height + 1) + row];
}

function outline([x, y], across, down = across) {
  return [
    [x, x + across, x + across, x, x],
    [y, y, y + down, y + down, y],
  ];
}

function draw(stage, { sixteenths, bin, bins }) {
  const [, height, width] = sixteenths.shape;
  const sheet = [4 * (width + 1) - 1, 2 * (height + 1) - 1];
  const reach = (bin * bins) / 2;
  const lefts = Array.from({ length: bins }, (_, i) => bin * i - reach);
  const rights = lefts.map((left) => left + bin);

  function row(heading, label, legend) {
    stage.row();
    const maps = stage.plot({
      x: { domain: [0, sheet[0]] },
      y: { domain: [sheet[1], 0] },
      heading,
      height: 176,
      least: 300,
      frame: false,
      equal: true,
    });
    const image = maps.image();
    let count = SHOWN;
    const frames = maps.lines({ color: "faint", width: 1 });
    const shared = maps.lines({ color: "ink", width: 1.2 });
    const chosen = maps.lines({ color: "ink", width: 2.6 });
    maps.drag((x, y) => {
      const inside = (at, size) => Math.min(Math.max(Math.floor(at) % (size + 1), 0), size - 1);
      stage.choose({ place: [inside(y - above(count, height), height), inside(x, width)] });
    });
    const spread = stage.plot({
      x: { domain: [-reach, reach], label },
      y: { domain: [0, 1.26], ticks: [] },
      height: 176,
      least: 300,
      share: 1.25,
    });
    const bars = spread.bars({ color: "sky" });
    const means = spread.lines({ color: "vermillion", width: 1.4, label: legend && "every mean" });
    const mean = spread.lines({ color: "vermillion", width: 3 });
    const values = spread.lines({ color: "ink", width: 1.2, label: legend && "the place, in each image" });
    const rgba = new Uint8ClampedArray(4 * sheet[0] * sheet[1]);
    const upright = (low, high) => (value) => [
      [value, value],
      [low, high],
    ];

    return (numbers, counts, centres, centre, { num_images, place, axes }) => {
      count = Math.min(num_images, SHOWN);
      const all = Array.from({ length: count }, (_, map) => map);
      rgba.fill(0);
      for (const map of all) {
        const [left, top] = corner(map, count, [height, width]);
        for (let h = 0; h < height; h += 1) {
          for (let w = 0; w < width; w += 1) {
            const value = numbers[(map * height + h) * width + w];
            const at = 4 * ((top + h) * sheet[0] + left + w);
            rgba.set(value < 0 ? BELOW : ABOVE, at);
            rgba[at + 3] = (255 * Math.abs(value)) / STRONGEST;
          }
        }
      }
      image.set(sheet[0], sheet[1], rgba);
      const whole = all.map((map) => outline(corner(map, count, [height, width]), width, height));
      frames.set(whole);
      shared.set(axes.length > 1 ? whole : all.map((map) => outline(corner(map, count, [height, width], ...place), 1)));
      chosen.set([outline(corner(0, count, [height, width], ...place), 1)]);
      const most = Math.max(...counts);
      bars.set(lefts, rights, Array.from(counts, (each) => each / most));
      means.set(Array.from(centres, upright(0, 0.13)));
      mean.set([upright(0, 0.22)(centre)]);
      const here = Array.from({ length: num_images }, (_, n) => numbers[(n * height + place[0]) * width + place[1]]);
      values.set(here.map(upright(1.06, 1.2)));
    };
  }

  const upper = row("what the convolution gives", "value", true);
  const lower = row("the same, normalized", "normalized value", false);
  const zeros = [0];
  return (state, settings) => {
    upper(state.x, state.before, state.means, state.mean, settings);
    lower(state.x_hat, state.after, zeros, 0, settings);
  };
}

export { compute, describe, draw };
