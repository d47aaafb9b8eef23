// A deep network, plain and with batch normalization: one batch of digits, forward and back, layer by layer.
import { linspace, significant } from "./kit.js";

// The function, and its slope from its value.
const ACTIVATIONS = {
  linear: [(z) => z, () => 1],
  sigmoid: [(z) => 1 / (1 + Math.exp(-z)), (h) => h * (1 - h)],
  tanh: [Math.tanh, (h) => 1 - h * h],
  ReLU: [(z) => Math.max(z, 0), (h) => (h > 0 ? 1 : 0)],
};

// Matrices are {rows, columns, entries}, row after row. What flows through the network has a row for each unit and a
// column for each sample: so the products below read their memory in order, and a unit's statistics are a row's.

function matrix(rows, columns, entries = new Float64Array(rows * columns)) {
  return { rows, columns, entries };
}

/** aᵀ @ b, in blocks of 2 × 4 entries, several times as fast as one by one; sizes are multiples of these. */
function product({ rows: inner, columns: rows, entries: a }, { columns, entries: b }) {
  const made = matrix(rows, columns);
  const out = made.entries;
  for (let i = 0; i < rows; i += 2) {
    for (let j = 0; j < columns; j += 4) {
      let [s0, s1, s2, s3, t0, t1, t2, t3] = [0, 0, 0, 0, 0, 0, 0, 0];
      for (let k = 0, p = i, q = j; k < inner; k += 1, p += rows, q += columns) {
        s0 += a[p] * b[q];
        s1 += a[p] * b[q + 1];
        s2 += a[p] * b[q + 2];
        s3 += a[p] * b[q + 3];
        t0 += a[p + 1] * b[q];
        t1 += a[p + 1] * b[q + 1];
        t2 += a[p + 1] * b[q + 2];
        t3 += a[p + 1] * b[q + 3];
      }
      const at = i * columns + j;
      out[at] = s0;
      out[at + 1] = s1;
      out[at + 2] = s2;
      out[at + 3] = s3;
      out[at + columns] = t0;
      out[at + columns + 1] = t1;
      out[at + columns + 2] = t2;
      out[at + columns + 3] = t3;
    }
  }
  return made;
}

/** The norm of a @ bᵀ, of which no entry is kept; blocks as above. */
function normOfProduct({ rows, columns, entries: a }, { rows: others, entries: b }) {
  let sum = 0;
  for (let i = 0; i < rows; i += 2) {
    for (let j = 0; j < others; j += 4) {
      const [p0, p1] = [i * columns, (i + 1) * columns];
      const [q0, q1, q2, q3] = [j * columns, (j + 1) * columns, (j + 2) * columns, (j + 3) * columns];
      let [s0, s1, s2, s3, t0, t1, t2, t3] = [0, 0, 0, 0, 0, 0, 0, 0];
      for (let k = 0; k < columns; k += 1) {
        s0 += a[p0 + k] * b[q0 + k];
        s1 += a[p0 + k] * b[q1 + k];
        s2 += a[p0 + k] * b[q2 + k];
        s3 += a[p0 + k] * b[q3 + k];
        t0 += a[p1 + k] * b[q0 + k];
        t1 += a[p1 + k] * b[q1 + k];
        t2 += a[p1 + k] * b[q2 + k];
        t3 += a[p1 + k] * b[q3 + k];
      }
      sum += s0 ** 2 + s1 ** 2 + s2 ** 2 + s3 ** 2 + t0 ** 2 + t1 ** 2 + t2 ** 2 + t3 ** 2;
    }
  }
  return Math.sqrt(sum);
}

function transposed({ rows, columns, entries }) {
  const turned = matrix(columns, rows);
  for (let i = 0; i < rows; i += 1) {
    for (let j = 0; j < columns; j += 1) turned.entries[j * rows + i] = entries[i * columns + j];
  }
  return turned;
}

/** An array of Python, factor times as large. */
function scaled(array, [rows, columns], factor) {
  const made = matrix(rows, columns);
  for (let i = 0; i < array.length; i += 1) made.entries[i] = factor * array[i];
  return made;
}

function norm({ entries }) {
  let sum = 0;
  for (let i = 0; i < entries.length; i += 1) sum += entries[i] ** 2;
  return Math.sqrt(sum);
}

/** The standard deviation of all entries. */
function std({ entries }) {
  let sum = 0;
  let squares = 0;
  for (let i = 0; i < entries.length; i += 1) sum += entries[i];
  const mean = sum / entries.length;
  for (let i = 0; i < entries.length; i += 1) squares += (entries[i] - mean) ** 2;
  return Math.sqrt(squares / entries.length);
}

/** Every row at mean 0 and variance 1, in place; returns what each was multiplied by. */
function standardize({ rows, columns, entries }, eps) {
  const factors = new Float64Array(rows);
  for (let row = 0; row < rows; row += 1) {
    const [start, end] = [row * columns, (row + 1) * columns];
    let sum = 0;
    let squares = 0;
    for (let i = start; i < end; i += 1) sum += entries[i];
    const mean = sum / columns;
    for (let i = start; i < end; i += 1) squares += (entries[i] - mean) ** 2;
    factors[row] = 1 / Math.sqrt(squares / columns + eps);
    for (let i = start; i < end; i += 1) entries[i] = (entries[i] - mean) * factors[row];
  }
  return factors;
}

/** The way back through `standardize`, in place: z is what came out of it, `grad` the gradient there. */
function standardizeBack({ rows, columns, entries: grad }, { entries: z }, factors) {
  for (let row = 0; row < rows; row += 1) {
    const [start, end] = [row * columns, (row + 1) * columns];
    let sum = 0;
    let along = 0;
    for (let i = start; i < end; i += 1) {
      sum += grad[i];
      along += grad[i] * z[i];
    }
    for (let i = start; i < end; i += 1) grad[i] = factors[row] * (grad[i] - sum / columns - (z[i] * along) / columns);
  }
}

/** The gradient of the mean cross-entropy with respect to the logits, in their place. */
function crossEntropyBack({ rows: classes, columns: samples, entries }, labels) {
  for (let n = 0; n < samples; n += 1) {
    const most = Math.max(...Array.from({ length: classes }, (_, c) => entries[c * samples + n]));
    let sum = 0;
    for (let at = n; at < entries.length; at += samples) sum += entries[at] = Math.exp(entries[at] - most);
    for (let at = n; at < entries.length; at += samples) entries[at] /= sum * samples;
    entries[labels[n] * samples + n] -= 1 / samples;
  }
}

/** Norms of dL/dW and dL/dh and the standard deviation of h, by layer. The twin of experiments.day25.network_report. */
function networkReport(weights, readout, x, labels, activation, normalized, eps) {
  const [value, slope] = ACTIVATIONS[activation];
  const [sums, outputs, factors] = [[], [], []];
  for (const weight of weights) {
    const z = product(weight, outputs.at(-1) ?? x);
    if (normalized) factors.push(standardize(z, eps));
    const h = matrix(z.rows, z.columns);
    for (let i = 0; i < h.entries.length; i += 1) h.entries[i] = value(z.entries[i]);
    sums.push(z);
    outputs.push(h);
  }
  const logits = product(readout, outputs.at(-1));
  crossEntropyBack(logits, labels);
  let grad = product(transposed(readout), logits);
  const [gradients, arriving] = [[], []];
  for (let layer = weights.length - 1; layer >= 0; layer -= 1) {
    arriving[layer] = norm(grad);
    const h = outputs[layer].entries;
    for (let i = 0; i < h.length; i += 1) grad.entries[i] *= slope(h[i]);
    if (normalized) standardizeBack(grad, sums[layer], factors[layer]);
    gradients[layer] = normOfProduct(outputs[layer - 1] ?? x, grad);
    if (layer) grad = product(transposed(weights[layer]), grad);
  }
  return { gradients, arriving, activations: outputs.map(std) };
}

/** A word for a norm by the band that it should lie in. */
function fate(size, [low, high]) {
  return size < low ? "vanished" : size > high ? "exploded" : "in bounds";
}

function compute({ depth, activation, gain }, { x, labels, first, inner, readout, eps, band, wanted }) {
  const [others, ...shape] = inner.shape;
  const size = shape[0] * shape[1];
  const weights = [scaled(first, first.shape, gain)];
  for (let place = 0; place < depth - 1; place += 1) {
    weights.push(scaled(inner.subarray(place * size, (place + 1) * size), shape, gain));
  }
  const behind = scaled(readout, readout.shape, 1);
  const batch = transposed(scaled(x, x.shape, 1));
  const [plain, normalized] = [false, true].map((on) => {
    return networkReport(weights, behind, batch, labels, activation, on, eps);
  });
  const within = plain.gradients.every((each) => each >= wanted[0] && each <= wanted[1]);
  return {
    plain,
    normalized,
    fates: [plain, normalized].map(({ gradients }) => fate(gradients[0], band)),
    reached: depth === others + 1 && activation === "ReLU" && within,
  };
}

function describe({ plain, normalized, fates }) {
  const [before, after] = [plain, normalized].map(({ gradients }) => significant(gradients[0]));
  const [plainly, thereby] = fates.map((word) => (word === "in bounds" ? "" : ` (${word})`));
  return `Gradient of layer 1’s weights: ${before} plain${plainly}, ${after} with batch normalization${thereby}`;
}

const PANELS = {
  gradients: "norm of ∂L/∂W, the weights’",
  arriving: "norm of ∂L/∂h, on its way back",
  activations: "standard deviation of h, the outputs",
};

function draw(stage, { inner, band }) {
  const deepest = inner.shape[0] + 1;
  const drawn = Object.entries(PANELS).map(([name, heading]) => {
    const plot = stage.plot({
      x: { domain: [0, deepest + 1], label: "layer (1: next to the input)", ticks: [1, 10, 20, 30] },
      y: { domain: [1e-22, 1e16], log: true },
      heading,
      height: 330,
      least: 240,
    });
    const [low, high] = band.map((edge) => [edge, edge]);
    plot.band({ color: "faint", opacity: 0.45 }).set([0, deepest + 1], low, high);
    plot.drag((x) => stage.choose({ depth: Math.round(x) }), "x");
    const curve = (color, shape, label) => {
      return [plot.line({ color, width: 1.2 }), plot.dots({ color, shape, label, size: 2.6 })];
    };
    const plain = curve("vermillion", "circle", "plain");
    return { name, plain, normalized: curve("blue", "square", "with batch norm") };
  });

  return (state, { depth }) => {
    const layers = linspace(1, depth, depth);
    for (const { name, plain, normalized } of drawn) {
      for (const mark of plain) mark.set(layers, state.plain[name]);
      for (const mark of normalized) mark.set(layers, state.normalized[name]);
    }
  };
}

export { compute, describe, draw };
