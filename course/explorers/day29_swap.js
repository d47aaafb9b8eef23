// Two photographs that swap means and standard deviations: a scale and a shift for each colour of each.
const EPS = 1e-5; // added to both variances

/** How often each of the 256 levels occurs. */
function count(pixels) {
  const counts = new Int32Array(256);
  for (const level of pixels) counts[level] += 1;
  return counts;
}

/** Mean and variance of values in [0, 1], from how often each level occurs. */
function moments(counts) {
  const size = counts.reduce((sum, times) => sum + times, 0);
  const mean = counts.reduce((sum, times, level) => sum + (times * level) / 255, 0) / size;
  return { mean, variance: counts.reduce((sum, times, level) => sum + times * (level / 255 - mean) ** 2, 0) / size };
}

const counted = new WeakMap();

/** The counts of all colours, and the moments over each set that shares a mean; made once for these pixels. */
function statistics(pixels) {
  if (!counted.has(pixels)) {
    const [images, channels, height, width] = pixels.shape;
    const size = height * width;
    const parts = (number, length) =>
      Array.from({ length: number }, (_, i) => count(pixels.subarray(i * length, (i + 1) * length)));
    const colours = parts(images * channels, size);
    const whole = parts(images, channels * size).map(moments);
    const each = colours.map(moments);
    counted.set(pixels, { colours, each, whole: colours.map((_, i) => whole[Math.floor(i / channels)]) });
  }
  return counted.get(pixels);
}

function compute({ strength, what, axes }, { pixels }) {
  const { colours, each, whole } = statistics(pixels);
  const channels = pixels.shape[1];
  const own = axes.length > 2 ? whole : each;
  const full = own.map(({ mean, variance }, i) => {
    const style = own[(i + channels) % own.length]; // of the other image
    const scale = what === "mean" ? 1 : Math.sqrt(style.variance + EPS) / Math.sqrt(variance + EPS);
    return { scale, shift: (what === "std" ? mean : style.mean) - scale * mean };
  });
  const scale = full.map((line) => 1 + strength * (line.scale - 1));
  const shift = full.map((line) => strength * line.shift);
  const becomes = (level, i) => (scale[i] * level) / 255 + shift[i];
  const cut = Array(colours.length / channels).fill(0);
  colours.forEach((counts, i) => {
    counts.forEach((times, level) => {
      const value = becomes(level, i);
      if (value < 0 || value > 1) cut[Math.floor(i / channels)] += times;
    });
  });
  const [mean, std] = [each.map((set) => set.mean), each.map((set) => Math.sqrt(set.variance))];
  return {
    scale,
    shift,
    mean,
    std,
    moved_mean: mean.map((value, i) => scale[i] * value + shift[i]),
    moved_std: std.map((value, i) => scale[i] * value),
    full_mean: mean.map((value, i) => full[i].scale * value + full[i].shift),
    full_std: std.map((value, i) => full[i].scale * value),
    levels: Uint8ClampedArray.from(colours.flatMap((counts, i) => Array.from(counts, (_, l) => 255 * becomes(l, i)))),
    cut: cut.map((times) => (100 * times * colours.length) / channels / pixels.length),
  };
}

const NAMES = { mean: "mean", std: "standard deviation", both: "mean and standard deviation" };

function describe(_, { strength, what, axes }) {
  const whose = axes.length > 2 ? "the image as a whole" : "every colour";
  return `Swapped to ${(100 * strength).toFixed(0)}%: ${NAMES[what]} of ${whose}`;
}

const COLOURS = { R: "vermillion", G: "green", B: "blue" };

/** How far along a way, [[x0, y0], [x1, y1]], the place nearest to a point lies, from 0 to 1. */
function along([[x0, y0], [x1, y1]], [x, y]) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  return Math.min(Math.max(((x - x0) * dx + (y - y0) * dy) / (dx ** 2 + dy ** 2), 0), 1);
}

function draw(stage, { pixels }) {
  const [, channels, height, width] = pixels.shape;
  const size = height * width;
  const rgba = new Uint8ClampedArray(4 * size).fill(255);
  const photograph = (heading) =>
    stage.canvas({ columns: width, rows: height, zoom: 1, label: heading.split("\n")[0], heading });

  /** Write image n; levels[256 i + l] is what level l of colour i becomes. */
  function paint(canvas, n, levels) {
    for (let c = 0; c < channels; c += 1) {
      const i = channels * n + c;
      for (let p = 0; p < size; p += 1) rgba[4 * p + c] = levels[256 * i + pixels[size * i + p]];
    }
    canvas.set(rgba, width, height);
  }

  const same = Uint8Array.from({ length: 256 * 2 * channels }, (_, i) => i % 256);
  ["image A", "image B"].forEach((name, n) => paint(photograph(name), n, same));
  const spread = stage.plot({
    x: { domain: [0, 0.85], label: "mean", ticks: [0, 0.2, 0.4, 0.6, 0.8] },
    y: { domain: [0, 0.53], label: "standard deviation", ticks: [0, 0.2, 0.4] },
    heading: "the colours, before (small) and now",
    height: 180,
    least: 250,
  });
  const trails = spread.lines({ color: "grey", width: 1 });
  const colours = Object.entries(COLOURS).flatMap(([letter, color], c) =>
    [0, 1].map((n) => ({ letter, color, number: channels * n + c, hollow: n === 1 })),
  );
  const before = colours.map(({ color, hollow }) => spread.dots({ color, hollow, size: 3 }));
  const now = colours.map(({ color, hollow }) => ({
    dot: spread.dots({ color, hollow, size: 8 }),
    letter: spread.text({ color: hollow ? color : "paper", anchor: "middle", dy: 4, size: 11, bold: true }),
  }));
  spread.dots({ color: "grey", size: 4.5, label: "A" });
  spread.dots({ color: "grey", size: 4.5, hollow: true, label: "B" });
  let [ways, places] = [[], []];
  let dragged = 0; // the colour whose letter was nearest when the pointer was pressed
  spread.drag((x, y, pressed) => {
    if (pressed) {
      const away = places.map((place) => Math.hypot(x - place[0], y - place[1]));
      dragged = away.indexOf(Math.min(...away));
    }
    stage.choose({ strength: along(ways[dragged], [x, y]) });
  });

  stage.row();
  const results = ["A with statistics of B\n", "B with statistics of A\n"].map((heading) => {
    return { heading, canvas: photograph(heading) };
  });
  const values = stage.plot({
    x: { domain: [0, 1], label: "value before", ticks: [0, 0.5, 1] },
    y: { domain: [-0.5, 2], label: "value now", ticks: [0, 1, 2] },
    heading: "what becomes of a value (dashed: in B)",
    height: 180,
    least: 250,
  });
  for (const y of [0, 1]) values.rule({ color: "grey", dash: "3,3", width: 1 }).set({ y });
  values.text({ color: "grey", dx: 4, dy: -5 }).set(0, 1, "cut off");
  // Where lines lie on one another, as they do if the three colours share a mean, the wider ones show beside.
  const lines = colours.map(({ color, hollow, number }) =>
    values.line({ color, width: 5 - 1.7 * (number % channels), dash: hollow ? "7,4" : undefined }),
  );

  return (state) => {
    results.forEach(({ heading, canvas }, n) => {
      paint(canvas, n, state.levels);
      canvas.heading(`${heading}${state.cut[n].toFixed(0)}% of its values cut off`);
    });
    colours.forEach(({ letter, number }, i) => {
      before[i].set([state.mean[number]], [state.std[number]]);
      now[i].dot.set([state.moved_mean[number]], [state.moved_std[number]]);
      now[i].letter.set(state.moved_mean[number], state.moved_std[number], letter);
      lines[i].set([0, 1], [state.shift[number], state.scale[number] + state.shift[number]]);
    });
    places = colours.map(({ number: i }) => [state.moved_mean[i], state.moved_std[i]]);
    ways = colours.map(({ number: i }) => [
      [state.mean[i], state.std[i]],
      [state.full_mean[i], state.full_std[i]],
    ]);
    trails.set(ways.map(([[x0, y0], [x1, y1]]) => [[x0, x1], [y0, y1]]));
  };
}

export { compute, describe, draw };
