// The state dict of a linear layer and a batch norm, while batches pass: which entries move, and what moves them.
import { assign, decimals, html, svg } from "./kit.js";

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

/**
 * What a batch x of pairs does to output j: its mean and unbiased variance, and the gradients of (gamma, beta) and of
 * the weights. The loss is the mean of (y − t)² over both outputs, where t is 2 x + 1 of the other input.
 */
function feature(x, j, layer, training, eps) {
  const [weight, [gamma, beta], size] = [layer.weight[j], layer.norm[j], x.length];
  const h = x.map((pair) => pair[0] * weight[0] + pair[1] * weight[1]);
  const mean = sum(h) / size;
  const squares = sum(h.map((value) => (value - mean) ** 2));
  const [centre, variance] = training ? [mean, squares / size] : layer.running[j];
  const std = Math.sqrt(variance + eps);
  const x_hat = h.map((value) => (value - centre) / std);
  const dy = x.map((pair, n) => (gamma * x_hat[n] + beta - 2 * pair[1 - j] - 1) / size);
  const products = dy.map((each, n) => each * x_hat[n]);
  const [along, across] = training ? [sum(products) / size, sum(dy) / size] : [0, 0];
  const dh = dy.map((each, n) => (gamma * (each - across - x_hat[n] * along)) / std);
  return {
    statistics: [mean, squares / (size - 1)],
    norm: [sum(products), sum(dy)],
    weight: [0, 1].map((k) => sum(dh.map((each, n) => each * x[n][k]))),
  };
}

function compute({ batches, training, requires_grad, momentum, learning }, { weight, inputs, moved_by, lr, eps }) {
  const [, size] = inputs.shape;
  const [both, move] = [[0, 1], (value, slope) => value - lr * slope];
  const layer = {
    weight: both.map((j) => Array.from(weight.subarray(2 * j, 2 * j + 2))),
    norm: both.map(() => [1, 0]),
    running: both.map(() => [0, 1]),
    count: 0,
  };
  const snapshot = () => [
    layer.weight.flat(),
    ...both.map((k) => both.map((j) => layer.norm[j][k])),
    ...both.map((k) => both.map((j) => layer.running[j][k])),
    [layer.count],
  ];
  const paths = [snapshot()];
  for (let batch = 0; batch < batches; batch += 1) {
    const pair = (_, n) => inputs.subarray(2 * (batch * size + n), 2 * (batch * size + n + 1));
    const x = Array.from({ length: size }, pair);
    both.forEach((j) => {
      const slopes = feature(x, j, layer, training, eps);
      if (training) {
        layer.running[j] = layer.running[j].map((old, k) => (1 - momentum) * old + momentum * slopes.statistics[k]);
      }
      if (learning) layer.weight[j] = layer.weight[j].map((value, k) => move(value, slopes.weight[k]));
      if (learning && requires_grad) layer.norm[j] = layer.norm[j].map((value, k) => move(value, slopes.norm[k]));
    });
    if (training) layer.count += 1;
    paths.push(snapshot());
  }
  const rows = moved_by.map(([name], row) => {
    const [parameter, elements] = [row < 3, row < 5 ? paths[0][row].length : 0];
    const trainable = parameter && (row === 0 || requires_grad) ? elements : 0;
    return {
      name,
      kind: parameter ? "parameter" : "buffer",
      trainable,
      non_trainable: elements - trainable,
      path: paths.flatMap((each) => each[row]),
      moved: paths[0][row].some((value, k) => value !== paths.at(-1)[row][k]),
    };
  });
  return {
    rows,
    trainable: sum(rows.map((row) => row.trainable)),
    non_trainable: sum(rows.map((row) => row.non_trainable)),
    reached: batches > 0 && !training && rows.every((row) => row.moved === (row.name === "0.weight")),
  };
}

function describe({ rows }, { batches }) {
  const moved = Object.fromEntries(rows.map((row) => [row.name, row.moved]));
  const [learns, follows] = [moved["1.weight"] || moved["1.bias"], moved["1.running_mean"]];
  let what = "nothing in the batch norm has moved";
  if (learns || follows) {
    what = `gamma and beta ${learns ? "follow the gradient" : "stay"}, the statistics `;
    what += follows ? "follow the data" : "stay";
  } else if (moved["1.num_batches_tracked"]) {
    what = "in the batch norm, only the counter has moved";
  }
  return `After ${batches} ${batches === 1 ? "batch" : "batches"}: ${what}`;
}

const ALSO = ["of the linear layer", "gamma", "beta"]; // what the parameters are
const TRACE = { width: 120, height: 36 };

/** The elements of an entry at one moment: a line for each row of a matrix. */
function written(values, integer) {
  const numbers = Array.from(values, (value) => (integer ? String(value) : decimals(value).padStart(5, "\u2007")));
  return numbers.length === 4 ? `${numbers.slice(0, 2).join(" ")}\n${numbers.slice(2).join(" ")}` : numbers.join(" ");
}

/** Lowest and highest value of each entry over all switches, so that its traces have one scale. */
function extents(batches, data) {
  const switches = [true, false];
  const ends = switches.flatMap((training) =>
    switches.flatMap((requires_grad) =>
      [0, 0.1].map((momentum) => compute({ batches, training, requires_grad, momentum, learning: true }, data).rows),
    ),
  );
  return ends[0].map((_, row) => {
    const values = ends.flatMap((rows) => rows[row].path);
    return [Math.min(...values), Math.max(...values)];
  });
}

function draw(stage, data) {
  const most = data.inputs.shape[0];
  const scales = extents(most, data);
  const body = html("tbody");
  const rows = data.moved_by.map(([name, by], row) => {
    const code = html("code", {}, name.replace("tracked", ""));
    if (name.endsWith("tracked")) code.append(html("wbr"), "tracked"); // a long name may go on in the next line
    const also = html("small");
    also.style.cssText = "display: block; opacity: 0.75";
    const head = html("th", { scope: "row" }, code, also);
    head.style.fontWeight = "normal";
    const path = svg("path", { fill: "none", "stroke-width": 1.5, "stroke-linecap": "round" });
    const picture = svg("svg", { ...TRACE, "aria-hidden": "true" });
    picture.append(path);
    const [counted, start, now, moved] = ["", "", "", ""].map(() => html("td"));
    start.style.whiteSpace = now.style.whiteSpace = "pre-line";
    const line = html("tr", {}, head, counted, start, now, html("td", { className: "roomy" }, picture), moved);
    body.append(line);
    return { line, also, counted, start, now, path, moved, gradient: by === "gradient" };
  });
  const headings = ["entry", "counted as", "at the start", "now", "batch by batch", "moved by"];
  const heads = headings.map((textContent, column) =>
    html("th", { scope: "col", textContent, className: column === 4 ? "roomy" : "" }),
  );
  const total = html("td", { colSpan: 5 });
  const foot = html("tr", {}, html("th", { scope: "row", textContent: "sum, as libraries count" }), total);
  const table = html("table", {}, html("thead", {}, html("tr", {}, ...heads)), body, html("tfoot", {}, foot));
  table.style.width = "100%";
  const used = html("p");
  used.style.cssText = "margin-top: 8px; font-weight: 600";
  stage.html({ least: 300 }).append(table, used);

  /** A line for each element of an entry, over all batches that there may be. */
  function trace(path, count, [low, high]) {
    const inner = { width: TRACE.width - 6, height: TRACE.height - 6 };
    let d = "";
    path.forEach((_, place) => {
      const [k, batch] = [Math.floor(place / (path.length / count)), place % (path.length / count)];
      const x = 3 + (inner.width * batch) / most;
      const y = 3 + (inner.height * (high - path[batch * count + k])) / (high - low);
      d += `${batch ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}${batch ? "" : "h0"}`;
    });
    return d;
  }

  return (state, { batches, training }) => {
    state.rows.forEach((entry, place) => {
      const row = rows[place];
      const colour = row.gradient ? "blue" : "vermillion";
      const count = entry.path.length / (batches + 1);
      const counter = entry.trainable + entry.non_trainable === 0;
      row.line.style.background = entry.moved ? `color-mix(in srgb, var(--${colour}) 20%, transparent)` : "";
      assign(row.also, { text: ALSO[place] ? `${entry.kind}, ${ALSO[place]}` : entry.kind });
      const counted = entry.trainable ? `${entry.trainable} trainable` : `${entry.non_trainable} non-trainable`;
      assign(row.counted, { text: counter ? "neither" : counted });
      assign(row.start, { text: written(entry.path.slice(0, count), counter) });
      assign(row.now, { text: written(entry.path.slice(-count), counter) });
      assign(row.path, { d: trace(entry.path, count, scales[place]), stroke: entry.moved ? colour : "grey" });
      assign(row.moved, { text: !entry.moved ? "–" : row.gradient ? "gradient" : "the data" });
    });
    assign(total, { text: `${state.trainable} trainable, ${state.non_trainable} non-trainable` });
    const source = training ? "its own mean and variance" : "running_mean and running_var";
    assign(used, { text: `${training ? "train()" : "eval()"}: every batch is normalized by ${source}.` });
    used.style.color = `var(--${training ? "vermillion" : "blue"})`;
  };
}

export { compute, describe, draw };
