// A trained network that meets another camera: it runs here, with its stored statistics and with new ones.
const SIZE = 8; // of an image and of the maps of the first convolution
const HALF = 4; // of the maps of the second, whose stride is 2
const CELLS = SIZE * SIZE;
const SHOWN = 8; // test images

/** The first convolution of images (N, 8, 8) with zeros around them: (N, channels, 8, 8). */
function firstMaps(images, weight) {
  const channels = weight.shape[0];
  const maps = new Float64Array(images.length * channels);
  const wide = SIZE + 2;
  const framed = new Float64Array(wide * wide);
  let place = 0;
  for (let start = 0; start < images.length; start += CELLS) {
    for (let row = 0; row < SIZE; row += 1) {
      framed.set(images.subarray(start + SIZE * row, start + SIZE * (row + 1)), wide * (row + 1) + 1);
    }
    for (let k = 0; k < channels; k += 1) {
      for (let cell = 0; cell < CELLS; cell += 1) {
        const corner = wide * Math.floor(cell / SIZE) + (cell % SIZE);
        let sum = 0;
        for (let tap = 0; tap < 9; tap += 1) {
          sum += weight[9 * k + tap] * framed[corner + wide * Math.floor(tap / 3) + (tap % 3)];
        }
        maps[place] = sum;
        place += 1;
      }
    }
  }
  return maps;
}

/** For each cell of a map: places of the second convolution that see it, and the number of the weight, in turn. */
const SEEN = Array.from({ length: CELLS }, (_, cell) => {
  const pairs = [];
  for (let tap = 0; tap < 9; tap += 1) {
    const [row, column] = [Math.floor(cell / SIZE) + 1 - Math.floor(tap / 3), (cell % SIZE) + 1 - (tap % 3)];
    const inside = [row, column].every((at) => at % 2 === 0 && at >= 0 && at < SIZE);
    if (inside) pairs.push((row / 2) * HALF + column / 2, tap);
  }
  return Int32Array.from(pairs);
});

const made = new WeakMap();

/** What does not depend on the camera; made once for these data. */
function prepare(data) {
  if (!made.has(data)) {
    const pixels = (sixteenths) => Float64Array.from(sixteenths, (value) => value / 16);
    const { second, last } = data;
    const [filters, inputs] = [second.shape[0], 9 * second.shape[1]];
    const [classes, values] = last.weight.shape;
    made.set(data, {
      train: firstMaps(pixels(data.train), data.first),
      test: firstMaps(pixels(data.test), data.first),
      ones: firstMaps(new Float64Array(CELLS).fill(1), data.first),
      moments: new Map(),
      stored: null, // what is read with the stored statistics, of the last camera
      // (channels, 9, filters), and (4 · 4, filters, classes)
      second: Float64Array.from(second, (_, i) => second[(i % filters) * inputs + Math.floor(i / filters)]),
      last: Float64Array.from(last.weight, (_, i) => {
        const [digit, value] = [i % classes, Math.floor(i / classes)];
        const [place, filter] = [Math.floor(value / filters), value % filters];
        return last.weight[digit * values + filter * HALF * HALF + place];
      }),
    });
  }
  return made.get(data);
}

/**
 * Of each channel over the first images: mean and biased variance of the maps, the same of those of an image of
 * ones, and the covariance of both. What any camera makes of them follows.
 */
function momentsOf({ train, ones, moments }, channels, count) {
  if (!moments.has(count)) {
    const all = Array.from({ length: channels }, (_, k) => {
      const one = ones.subarray(k * CELLS, (k + 1) * CELLS);
      const oneMean = one.reduce((sum, value) => sum + value, 0) / CELLS;
      let mean = 0;
      for (let n = 0; n < count; n += 1) {
        const start = (n * channels + k) * CELLS;
        for (let cell = 0; cell < CELLS; cell += 1) mean += train[start + cell];
      }
      mean /= count * CELLS;
      let [squares, products] = [0, 0];
      for (let n = 0; n < count; n += 1) {
        const start = (n * channels + k) * CELLS;
        for (let cell = 0; cell < CELLS; cell += 1) {
          const away = train[start + cell] - mean;
          squares += away ** 2;
          products += away * (one[cell] - oneMean);
        }
      }
      const oneVar = one.reduce((sum, value) => sum + (value - oneMean) ** 2, 0) / CELLS;
      return { mean, oneMean, variance: squares / (count * CELLS), oneVar, covariance: products / (count * CELLS) };
    });
    moments.set(count, all);
  }
  return moments.get(count);
}

/** gamma (x − mean) / sqrt(var + eps) + beta as a scale and a shift of each channel. */
function scaleAndShift(mean, variance, { weight, bias, eps }) {
  const scale = variance.map((each, k) => weight[k] / Math.sqrt(each + eps));
  return { scale, shift: scale.map((each, k) => bias[k] - mean[k] * each) };
}

/** Call use(map, n) for each image with its second maps, (4 · 4, filters), behind the first norm and its ReLU. */
function secondMaps(maps, count, { contrast, brightness }, { scale, shift }, { ones, second }, filters, use) {
  const channels = scale.length;
  const factors = scale.map((each) => each * contrast);
  const offsets = ones.map((one, i) => {
    const k = Math.floor(i / CELLS);
    return scale[k] * brightness * one + shift[k];
  });
  const map = new Float64Array(HALF * HALF * filters);
  let place = 0;
  for (let n = 0; n < count; n += 1) {
    map.fill(0);
    for (let k = 0; k < channels; k += 1) {
      for (let cell = 0; cell < CELLS; cell += 1) {
        const value = factors[k] * maps[place] + offsets[k * CELLS + cell];
        place += 1;
        if (value <= 0) continue;
        const seen = SEEN[cell];
        for (let s = 0; s < seen.length; s += 2) {
          const to = seen[s] * filters;
          const from = (k * 9 + seen[s + 1]) * filters;
          for (let o = 0; o < filters; o += 4) {
            // Nearly all the time of a frame goes by here; four at a time take three quarters of it.
            map[to + o] += value * second[from + o];
            map[to + o + 1] += value * second[from + o + 1];
            map[to + o + 2] += value * second[from + o + 2];
            map[to + o + 3] += value * second[from + o + 3];
          }
        }
      }
    }
    use(map, n);
  }
}

/** Takes maps, (4 · 4, filters), and gives mean and unbiased variance of each filter over all of them so far. */
function statistics(filters) {
  const [mean, squares] = [new Float64Array(filters), new Float64Array(filters)];
  let count = 0;
  return {
    // Each number moves the mean by its part of the way, and the squares by both distances (Welford 1962).
    add(map) {
      for (let start = 0; start < map.length; start += filters) {
        count += 1;
        for (let o = 0; o < filters; o += 1) {
          const away = map[start + o] - mean[o];
          mean[o] += away / count;
          squares[o] += away * (map[start + o] - mean[o]);
        }
      }
    },
    result: () => ({ mean, variance: squares.map((each) => each / (count - 1)) }),
  };
}

/** The digit that the last layer answers behind the second norm and its ReLU. */
function answer(map, { scale, shift }, { last }, scores) {
  const filters = scale.length;
  for (let i = 0; i < map.length; i += 1) {
    const value = scale[i % filters] * map[i] + shift[i % filters];
    if (value <= 0) continue;
    const from = i * scores.length;
    for (let digit = 0; digit < scores.length; digit += 1) scores[digit] += value * last[from + digit];
  }
  return scores.indexOf(Math.max(...scores));
}

function compute({ contrast, brightness, num_images }, data) {
  const { norm1, norm2, digits } = data;
  const ready = prepare(data);
  const camera = { contrast, brightness };
  const filters = norm2.weight.length; // four divide them
  const readAll = (first, second) => {
    const read = new Uint8Array(digits.length);
    const scores = new Float64Array(data.last.bias.length);
    secondMaps(ready.test, digits.length, camera, first, ready, filters, (map, n) => {
      scores.set(data.last.bias);
      read[n] = answer(map, second, ready, scores);
    });
    return read;
  };
  const accuracy = (read) => (100 * read.filter((answer, n) => answer === digits[n]).length) / digits.length;

  const key = `${contrast} ${brightness}`; // the number of new images changes nothing here
  if (ready.stored?.key !== key) {
    const [first, second] = [norm1, norm2].map((norm) => {
      return scaleAndShift(Float64Array.from(norm.running_mean), Float64Array.from(norm.running_var), norm);
    });
    ready.stored = { key, read: readAll(first, second) };
  }
  const stored = ready.stored.read;

  // In training mode a batch is normalized with its biased variance; stored is the unbiased one.
  const moments = momentsOf(ready, norm1.weight.length, num_images);
  const [a, b] = [contrast, brightness];
  const mean = moments.map((m) => a * m.mean + b * m.oneMean);
  const biased = moments.map((m) => a ** 2 * m.variance + 2 * a * b * m.covariance + b ** 2 * m.oneVar);
  const size = num_images * CELLS;
  const unbiased = biased.map((each) => (each * size) / (size - 1));
  const seen = statistics(filters);
  secondMaps(ready.train, num_images, camera, scaleAndShift(mean, biased, norm1), ready, filters, seen.add);
  const behind = seen.result();
  const renewed = readAll(scaleAndShift(mean, unbiased, norm1), scaleAndShift(behind.mean, behind.variance, norm2));

  const state = {
    images: Float64Array.from(data.test.subarray(0, SHOWN * CELLS), (value) => (contrast * value) / 16 + brightness),
    stored_mean: norm1.running_mean,
    stored_std: Float64Array.from(norm1.running_var, Math.sqrt),
    new_mean: mean,
    new_std: unbiased.map(Math.sqrt),
    answers_stored: stored.subarray(0, SHOWN),
    answers_new: renewed.subarray(0, SHOWN),
    accuracy_stored: accuracy(stored),
    accuracy_new: accuracy(renewed),
  };
  return { ...state, reached: state.accuracy_stored < 50 && state.accuracy_new >= 95 && num_images <= 8 };
}

function describe({ accuracy_stored, accuracy_new }, { num_images }) {
  const [stored, anew] = [accuracy_stored, accuracy_new].map((each) => each.toFixed(0));
  const images = `${num_images} new images without labels`;
  return `${stored}% right with the stored statistics, ${anew}% with those of ${images}`;
}

const BLACKEST = 2; // pixels from −0.5, white, to this
const WHITEST = -0.5;
const COLUMNS = 4; // of images
const DOWN = SIZE + 4; // from one row of images to the next, with room for the answers

function draw(stage, { digits, norm1 }) {
  const camera = stage.plot({
    x: { domain: [-0.06, 1.06], label: "pixel in training", ticks: [0, 0.5, 1] },
    y: { domain: [-0.6, 3.1], label: "pixel now", ticks: [0, 1, 2, 3] },
    heading: "the camera: contrast · pixel + brightness",
    height: 210,
    least: 250,
  });
  camera.line({ color: "grey", width: 1.2, dash: "4,3", label: "that of training" }).set([0, 1], [0, 1]);
  const line = camera.line({ color: "blue", width: 2, dots: 5, label: "this one" });
  let brightness = 0;
  let left = true; // the end that is dragged
  camera.drag((x, y, pressed) => {
    if (pressed) left = x < 0.5;
    stage.choose(left ? { brightness: y } : { contrast: y - brightness });
  }, "y");

  const columns = COLUMNS * (SIZE + 1) - 1;
  const rows = (SHOWN / COLUMNS) * DOWN;
  const pictures = stage.plot({
    x: { domain: [0, columns] },
    y: { domain: [rows, 0] },
    heading: "test images as they come, and what they are taken for",
    height: 232,
    least: 300,
    share: 1.3,
    frame: false,
    equal: true,
  });
  const image = pictures.image();
  const rgba = new Uint8ClampedArray(4 * columns * rows);
  const read = Array.from({ length: SHOWN }, () => ({
    stored: pictures.text({ color: "ink", anchor: "middle", size: 13 }),
    anew: pictures.text({ color: "orange", anchor: "middle", size: 13, bold: true }),
  }));

  stage.row();
  const channels = norm1.weight.length;
  const spread = stage.plot({
    x: { domain: [-0.6, channels - 0.4], label: "channel", ticks: Array.from({ length: channels }, (_, k) => k) },
    y: { domain: [-2.7, 2.1] },
    heading: "mean ± standard deviation in front of the first norm",
    height: 220,
    least: 300,
    share: 1.7,
  });
  const intervals = (color, aside, label) => {
    const lines = spread.lines({ color, width: 2 });
    const dots = spread.dots({ color, size: 3.4, label });
    const places = Array.from({ length: channels }, (_, k) => k + aside);
    return (mean, std) => {
      dots.set(places, mean);
      lines.set(places.map((x, k) => [[x, x], [mean[k] - std[k], mean[k] + std[k]]]));
    };
  };
  const stored = intervals("ink", -0.14, "stored");
  const anew = intervals("orange", 0.14, "estimated anew");

  const shares = stage.plot({
    x: { domain: [-0.6, 1.6], ticks: [0, 1], format: ["stored", "anew"] },
    y: { domain: [0, 112], label: "%", ticks: [0, 50, 100] },
    heading: `right, of ${digits.length} test images`,
    height: 220,
    least: 200,
  });
  const bars = ["ink", "orange"].map((color, x) => ({
    bar: shares.bars({ color, opacity: color === "ink" ? 0.75 : 1 }),
    text: shares.text({ anchor: "middle", dy: -5, size: 13 }),
    x,
  }));

  return (state, settings) => {
    brightness = settings.brightness;
    line.set([0, 1], [brightness, settings.contrast + brightness]);
    rgba.fill(0);
    read.forEach((texts, n) => {
      const [across, down] = [(n % COLUMNS) * (SIZE + 1), Math.floor(n / COLUMNS) * DOWN];
      for (let cell = 0; cell < CELLS; cell += 1) {
        const tone = (255 * (BLACKEST - state.images[n * CELLS + cell])) / (BLACKEST - WHITEST);
        rgba.set([tone, tone, tone, 255], 4 * ((down + Math.floor(cell / SIZE)) * columns + across + (cell % SIZE)));
      }
      const mark = (answer) => `${answer} ${answer === digits[n] ? "✓" : "✗"}`;
      texts.stored.set(across + SIZE / 4, down + SIZE + 2.4, mark(state.answers_stored[n]));
      texts.anew.set(across + (3 * SIZE) / 4, down + SIZE + 2.4, mark(state.answers_new[n]));
    });
    image.set(columns, rows, rgba);
    stored(state.stored_mean, state.stored_std);
    anew(state.new_mean, state.new_std);
    for (const { bar, text, x } of bars) {
      const share = x ? state.accuracy_new : state.accuracy_stored;
      bar.set([x - 0.35], [x + 0.35], [share]);
      text.set(x, share, share.toFixed(1));
    }
  };
}

export { compute, describe, draw };
