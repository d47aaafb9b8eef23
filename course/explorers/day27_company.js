// One test image, alone by eval() and in forty batches by train(): what a trained net says of it.
import { linspace } from "./kit.js";

function softmax(logits) {
  const most = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

const argmax = (numbers) => numbers.indexOf(Math.max(...numbers));

/** Mean and biased variance of every feature of the hidden images in these rows. */
function statistics(hidden, rows) {
  const features = hidden.shape[1];
  const [mean, variance] = [new Float64Array(features), new Float64Array(features)];
  for (const row of rows) for (let k = 0; k < features; k += 1) mean[k] += hidden[row * features + k] / rows.length;
  for (const row of rows) {
    for (let k = 0; k < features; k += 1) variance[k] += (hidden[row * features + k] - mean[k]) ** 2 / rows.length;
  }
  return { mean, var: variance };
}

/** The probabilities of the digits for a hidden image: batch norm with these statistics, ReLU, the last layer. */
function probabilities(image, { mean, var: variance }, { gamma, beta, eps }, { weight, bias }) {
  const active = Array.from(image, (value, k) =>
    Math.max(0, (gamma[k] * (value - mean[k])) / Math.sqrt(variance[k] + eps) + beta[k]),
  );
  const row = (digit) => weight.subarray(digit * active.length, (digit + 1) * active.length);
  const logit = (start, digit) => row(digit).reduce((sum, factor, k) => sum + factor * active[k], start);
  return softmax(Array.from(bias, logit));
}

function compute({ index, batch_size, kind, shown }, { labels, hidden, draws, norm, last }) {
  const label = labels[index];
  const wanted = { own: label, other: (label + 1) % 10 }[kind];
  const may = (row) => row !== index && (kind === "random" || labels[row] === wanted);
  const pool = Array.from(labels.keys()).filter(may);
  const [companies, most] = draws.shape;
  const batches = Array.from({ length: companies }, (_, company) => {
    const drawn = draws.subarray(company * most, company * most + batch_size - 1);
    return [index, ...Array.from(drawn, (share) => pool[Math.floor(share * pool.length)])];
  });
  const features = hidden.shape[1];
  const image = hidden.subarray(index * features, (index + 1) * features);
  const alone = probabilities(image, norm, norm, last);
  const in_company = batches.map((rows) => probabilities(image, statistics(hidden, rows), norm, last));
  const answers = in_company.map(argmax);
  const wrong = answers.filter((answer) => answer !== label).length;
  return {
    label,
    alone,
    in_company: in_company.flat(),
    answer: argmax(alone),
    answers,
    wrong,
    rows: batches[shown - 1],
    reached: wrong === companies && argmax(alone) === label && batch_size <= 8,
  };
}

function describe({ answer, answers, wrong }) {
  return `eval() says ${answer}, alone or not; train() is wrong in ${wrong} of ${answers.length} batches`;
}

const DIGITS = linspace(0, 9, 10);
const REACH = 0.36; // of the forty dots, to both sides of their digit
const PAPER = 240; // the tone of a pixel without ink

function paint(rgba, at, sixteenths) {
  const tone = (PAPER * (16 - sixteenths)) / 16;
  rgba.set([tone, tone, tone, 255], 4 * at);
}

function draw(stage, { sixteenths, draws }) {
  const companies = draws.shape[0];
  const [, height, width] = sixteenths.shape;
  const cells = height * width;
  const batch = stage.plot({
    x: { domain: [0, 1] },
    y: { domain: [1, 0] },
    heading: "the image and its batch",
    height: 270,
    least: 240,
    frame: false,
    equal: true,
  });
  const tiles = batch.image();
  const own = batch.lines({ color: "orange", width: 2.4 });

  const plot = stage.plot({
    x: { domain: [-0.6, 9.6], label: "digit", ticks: DIGITS },
    y: { domain: [-0.03, 1.03], label: "probability", ticks: [0, 0.25, 0.5, 0.75, 1] },
    height: 270,
    least: 330,
    share: 2.3,
  });
  const truth = plot.bars({ color: "faint", opacity: 0.45, label: "the true digit" });
  const dots = plot.dots({ color: "vermillion", size: 2.4, opacity: 0.6, label: "train(), in each batch" });
  const profile = plot.line({ color: "orange", width: 1.4, dots: 4, label: "train(), in the batch shown" });
  const alone = plot.lines({ color: "ink", width: 3, label: "eval()" });
  const aside = linspace(-REACH, REACH, companies); // the dots of a digit lie side by side, in the order of the batches
  const places = aside.flatMap((by) => DIGITS.map((digit) => digit + by));
  plot.drag((x) => {
    const by = x - Math.min(Math.max(Math.round(x), 0), 9);
    stage.choose({ shown: 1 + Math.round(((by + REACH) / (2 * REACH)) * (companies - 1)) });
  }, "x");

  return (state, { shown }) => {
    showBatch(state.rows);
    batch.heading(`the image, a ${state.label}, in batch ${shown}:\ntrain() says ${state.answers[shown - 1]}`);
    truth.set([state.label - 0.5], [state.label + 0.5], [1.03]);
    dots.set(places, state.in_company);
    const chosen = state.in_company.slice(10 * (shown - 1), 10 * shown);
    profile.set(DIGITS.map((digit) => digit + aside[shown - 1]), chosen);
    alone.set(DIGITS.map((digit) => [[digit - 0.42, digit + 0.42], [state.alone[digit], state.alone[digit]]]));
  };

  /** All images of the batch in a square, the larger the fewer they are; a gap of one pixel between them. */
  function showBatch(rows) {
    const across = Math.ceil(Math.sqrt(rows.length));
    const down = Math.ceil(rows.length / across);
    const columns = across * (width + 1);
    const rgba = new Uint8ClampedArray(4 * columns * down * (height + 1));
    rows.forEach((row, tile) => {
      const corner = Math.floor(tile / across) * (height + 1) * columns + (tile % across) * (width + 1);
      for (let cell = 0; cell < cells; cell += 1) {
        paint(rgba, corner + Math.floor(cell / width) * columns + (cell % width), sixteenths[row * cells + cell]);
      }
    });
    tiles.set(columns, down * (height + 1), rgba, [0, 1, down / across, 0]);
    const edge = width / columns;
    own.set([[[0, edge, edge, 0, 0], [0, 0, edge, edge, 0]]]);
  }
}

export { compute, describe, draw };
