// A deep network, plain and with batch normalization: one batch of digits, forward and back, layer by layer.
import { linspace, significant } from "./kit.js";

// Each with a loop of its own, which the browser compiles for it: h from z, and a gradient times the slope at h, in place.
const ACTIVATIONS = {
  linear: [(z, h) => h.set(z), () => {}],
  sigmoid: [
    (z, h) => {
      for (let i = 0; i < z.length; i += 1) h[i] = 1 / (1 + Math.exp(-z[i]));
    },
    (h, grad) => {
      for (let i = 0; i < h.length; i += 1) grad[i] *= h[i] * (1 - h[i]);
    },
  ],
  tanh: [
    (z, h) => {
      for (let i = 0; i < z.length; i += 1) h[i] = Math.tanh(z[i]);
    },
    (h, grad) => {
      for (let i = 0; i < h.length; i += 1) grad[i] *= 1 - h[i] * h[i];
    },
  ],
  ReLU: [
    (z, h) => {
      for (let i = 0; i < z.length; i += 1) h[i] = Math.max(z[i], 0);
    },
    (h, grad) => {
      for (let i = 0; i < h.length; i += 1) if (!(h[i] > 0)) grad[i] = 0;
    },
  ],
};

// Matrices are {rows, columns, entries}, row after row. What flows through the network has a row for each unit and a
// column for each sample: so the products below read their memory in order, and a unit's statistics are a row's.

function matrix(rows, columns, entries = new Float64Array(rows * columns)) {
  return { rows, columns, entries };
}

/**
 * Write factor · aᵀ @ b into `made`, in blocks of 2 × 4 entries, several times as fast as one by one; sizes are multiples of
 * these. Nothing is made here: room for a matrix takes as long as its product.
 */
function product(factor, { rows: inner, columns: rows, entries: a }, { columns, entries: b }, made) {
  const out = made.entries;
  for (let i = 0; i < rows; i += 2) {
    for (let j = 0; j < columns; j += 4) {
      let s0 = 0, s1 = 0, s2 = 0, s3 = 0, t0 = 0, t1 = 0, t2 = 0, t3 = 0;
      for (let k = 0, p = i, q = j; k < inner; k += 1, p += rows, q += columns) {
        const a0 = a[p], a1 = a[p + 1], b0 = b[q], b1 = b[q + 1], b2 = b[q + 2], b3 = b[q + 3];
        s0 += a0 * b0;
        s1 += a0 * b1;
        s2 += a0 * b2;
        s3 += a0 * b3;
        t0 += a1 * b0;
        t1 += a1 * b1;
        t2 += a1 * b2;
        t3 += a1 * b3;
      }
      const at = i * columns + j;
      out[at] = factor * s0;
      out[at + 1] = factor * s1;
      out[at + 2] = factor * s2;
      out[at + 3] = factor * s3;
      out[at + columns] = factor * t0;
      out[at + columns + 1] = factor * t1;
      out[at + columns + 2] = factor * t2;
      out[at + columns + 3] = factor * t3;
    }
  }
  return made;
}

/** The norm of a @ bᵀ, of which no entry is kept; blocks as above. */
function normOfProduct({ rows, columns, entries: a }, { rows: others, entries: b }) {
  let sum = 0;
  for (let i = 0; i < rows; i += 2) {
    for (let j = 0; j < others; j += 4) {
      let s0 = 0, s1 = 0, s2 = 0, s3 = 0, t0 = 0, t1 = 0, t2 = 0, t3 = 0;
      for (let k = 0, p = i * columns, q = j * columns; k < columns; k += 1, p += 1, q += 1) {
        const a0 = a[p], a1 = a[p + columns];
        const b0 = b[q], b1 = b[q + columns], b2 = b[q + 2 * columns], b3 = b[q + 3 * columns];
        s0 += a0 * b0;
        s1 += a0 * b1;
        s2 += a0 * b2;
        s3 += a0 * b3;
        t0 += a1 * b0;
        t1 += a1 * b1;
        t2 += a1 * b2;
        t3 += a1 * b3;
      }
      sum += s0 * s0 + s1 * s1 + s2 * s2 + s3 * s3 + t0 * t0 + t1 * t1 + t2 * t2 + t3 * t3;
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

const made = new WeakMap();

/** The matrices in double precision and room for all that a network computes; made once for these data. */
function prepare(data) {
  if (!made.has(data)) {
    const { x, first, inner, readout } = data;
    const entered = (array, [rows, columns]) => matrix(rows, columns, Float64Array.from(array));
    const [others, ...shape] = inner.shape;
    const size = shape[0] * shape[1];
    const deeper = Array.from({ length: others }, (_, i) => entered(inner.subarray(i * size, (i + 1) * size), shape));
    const weights = [entered(first, first.shape), ...deeper];
    const [batch, out] = [transposed(entered(x, x.shape)), entered(readout, readout.shape)];
    const room = ({ columns }) => matrix(columns, batch.columns);
    made.set(data, {
      batch,
      weights,
      turned: weights.map(transposed),
      readout: out,
      readoutTurned: transposed(out),
      sums: weights.map(room),
      outputs: weights.map(room),
      logits: room(out),
      grads: [room(weights[0]), room(weights[0])],
    });
  }
  return made.get(data);
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
function networkReport(ready, labels, { depth, activation, gain }, normalized, eps) {
  const { batch, weights, turned, readout, readoutTurned, sums, outputs, logits } = ready;
  const [forward, back] = ACTIVATIONS[activation];
  const factors = [];
  for (let layer = 0; layer < depth; layer += 1) {
    product(gain, weights[layer], outputs[layer - 1] ?? batch, sums[layer]);
    if (normalized) factors.push(standardize(sums[layer], eps));
    forward(sums[layer].entries, outputs[layer].entries);
  }
  product(1, readout, outputs[depth - 1], logits);
  crossEntropyBack(logits, labels);
  let [grad, next] = ready.grads;
  product(1, readoutTurned, logits, grad);
  const [gradients, arriving] = [[], []];
  for (let layer = depth - 1; layer >= 0; layer -= 1) {
    arriving[layer] = norm(grad);
    back(outputs[layer].entries, grad.entries);
    if (normalized) standardizeBack(grad, sums[layer], factors[layer]);
    gradients[layer] = normOfProduct(outputs[layer - 1] ?? batch, grad);
    if (layer) {
      product(gain, turned[layer], grad, next);
      [grad, next] = [next, grad];
    }
  }
  return { gradients, arriving, activations: outputs.slice(0, depth).map(std) };
}

/** A word for a norm by the band that it should lie in. */
function fate(size, [low, high]) {
  return size < low ? "vanished" : size > high ? "exploded" : "in bounds";
}

function compute(settings, data) {
  const { labels, inner, eps, band, wanted } = data;
  const [plain, normalized] = [false, true].map((on) => networkReport(prepare(data), labels, settings, on, eps));
  const within = plain.gradients.every((each) => each >= wanted[0] && each <= wanted[1]);
  return {
    plain,
    normalized,
    fates: [plain, normalized].map(({ gradients }) => fate(gradients[0], band)),
    reached: settings.depth === inner.shape[0] + 1 && settings.activation === "ReLU" && within,
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
