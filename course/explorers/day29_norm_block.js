// The block of N×C×H×W cells, cut by a norm: which cells share a mean with the one that is chosen.
import { assign, decimals, flat, html, svg, unflat } from "./kit.js";

const NAMES = { batch: "Batch norm", layer: "Layer norm", instance: "Instance norm", group: "Group norm" };
const AXES = { batch: [0, 2, 3], layer: [1, 2, 3], instance: [2, 3], group: [2, 3, 4] };

const tuple = (numbers) => `(${numbers.join(", ")})`;

function compute({ kind, num_groups, cell }, { x, eps }) {
  const [samples, channels, height, width] = x.shape;
  const grouped = kind === "group";
  const split = grouped ? [samples, num_groups, channels / num_groups, height, width] : [...x.shape];
  const kept = split.map((size, axis) => (AXES[kind].includes(axis) ? 1 : size));
  const numbers = Array.from(x, (_, place) => flat(unflat(place, split).map((at, axis) => (kept[axis] === 1 ? 0 : at)), kept));
  const sums = Array(flat(kept.map((size) => size - 1), kept) + 1).fill(0);
  numbers.forEach((number, place) => {
    sums[number] += x[place];
  });
  const size = x.length / sums.length;
  const means = sums.map((sum) => sum / size);
  const place = flat(cell, x.shape);
  const number = numbers[place];
  let squares = 0;
  numbers.forEach((other, at) => {
    if (other === number) squares += (x[at] - means[number]) ** 2;
  });
  const variance = squares / size;
  return {
    numbers,
    means,
    number,
    set_size: size,
    value: x[place],
    var: variance,
    x_hat: (x[place] - means[number]) / Math.sqrt(variance + eps),
    code: `x${grouped ? `.view${tuple(split)}` : ""}.mean(${tuple(AXES[kind])})`,
    reached: size === 12,
  };
}

function describe({ means, set_size }, { kind, num_groups }) {
  const groups = kind === "group" ? `, ${num_groups} group${num_groups > 1 ? "s" : ""}` : "";
  const count = means.length > 1 ? `each of the ${means.length} means runs` : "the one mean runs";
  return `${NAMES[kind]}${groups}: ${count} over ${set_size} cells`;
}

// Pixels: the far corner of the first cell, the steps to the next sample, channel, row and column, and a floor's depth.
const ORIGIN = [90, 300];
const STEPS = [
  [118, 0],
  [0, -57],
  [-22, 9],
  [22, 9],
];
const DEPTH = 8;
const SHADES = [0, 16, 32]; // percent of black: top, left side, right side: lit from the left above
const TONES = ["panel", "orange", "ink"]; // another set, the same set, the chosen cell

function corners(cell) {
  const far = ORIGIN.map((start, axis) => cell.reduce((at, index, step) => at + index * STEPS[step][axis], start));
  const move = ([x, y], [dx, dy]) => [x + dx, y + dy];
  const [row, column] = [STEPS[2], STEPS[3]];
  return [far, move(far, column), move(move(far, row), column), move(far, row)];
}

function faces(cell) {
  const [far, right, near, left] = corners(cell);
  const below = ([x, y]) => [x, y + DEPTH];
  return [
    [far, right, near, left],
    [left, near, below(near), below(left)],
    [near, right, below(right), below(near)],
  ];
}

/** An arrow beside an edge of the floor, and the name of the axis. */
function arrow(root, from, to, name, aside) {
  const [x0, y0, x1, y1] = [from[0] + aside, from[1] + DEPTH + 6, to[0] + 2 * aside, to[1] + DEPTH + 4];
  const [dx, dy] = [(x1 - x0) / 8, (y1 - y0) / 8];
  const head = `M${x1 - dx - dy},${y1 - dy + dx}L${x1},${y1}L${x1 - dx + dy},${y1 - dy - dx}`;
  svg("path", { d: `M${x0},${y0}L${x1},${y1}${head}`, fill: "none", stroke: "grey" }, root);
  svg("text", { x: (x0 + x1) / 2 + 1.5 * aside, y: (y0 + y1) / 2 + 9, "text-anchor": "middle", text: name }, root);
}

function drawBlock(stage, shape) {
  const [samples, channels, height, width] = shape;
  const root = stage.svg({ width: 540, height: 386, least: 300, share: 2, label: "the block of N×C×H×W cells, seen from above" });
  root.style.maxWidth = "540px";
  const cells = Array.from({ length: samples * channels * height * width }, (_, place) => unflat(place, shape));
  const painted = Array(cells.length).fill(-1);
  const order = cells.map((_, place) => place).sort((a, b) => cells[a][2] + cells[a][3] - cells[b][2] - cells[b][3]);
  const groups = [];
  for (const place of order) {
    const group = svg("g", { stroke: "grey", "stroke-width": 0.5, "data-place": place }, root);
    for (const face of faces(cells[place])) svg("polygon", { points: face.map((at) => at.join()).join(" ") }, group);
    groups[place] = group;
  }
  for (let c = 0; c < channels; c += 1) {
    const [x, y] = corners([0, c, height - 1, 0])[3];
    svg("text", { x: x - 8, y: y + 6, "text-anchor": "end", text: `c=${c}` }, root);
  }
  for (let n = 0; n < samples; n += 1) {
    const [x] = corners([n, 0, height - 1, width - 1])[2];
    svg("text", { x, y: 380, "text-anchor": "middle", text: `n=${n}` }, root);
  }
  // h and w run along the near edges of the first tower's ground floor.
  const left = corners([0, 0, height - 1, 0])[3];
  const near = corners([0, 0, height - 1, width - 1])[2];
  const right = corners([0, 0, 0, width - 1])[1];
  arrow(root, left, near, "w", -6);
  arrow(root, right, near, "h", 6);
  return { root, groups, painted, cells };
}

function draw(stage, { x }) {
  const [samples, channels] = x.shape;
  const block = drawBlock(stage, x.shape);

  // The mouse chooses until a click keeps a cell; a click on that cell lets go again.
  let kept = false;
  const pointed = (event) => event.target.closest("[data-place]")?.dataset.place;
  block.root.style.cursor = "pointer";
  block.root.addEventListener("pointermove", (event) => {
    const place = pointed(event);
    if (place && !kept && event.pointerType === "mouse") stage.choose({ cell: block.cells[place] });
  });
  let chosen = null;
  block.root.addEventListener("click", (event) => {
    const place = pointed(event);
    if (!place) return;
    kept = !(kept && Number(place) === chosen);
    stage.choose({ cell: block.cells[place] });
  });

  const side = stage.html({ least: 220, share: 1 });
  const code = html("pre");
  code.style.minHeight = "4.35em"; // three lines
  const words = html("p");
  words.style.cssText = "margin-top: 8px; white-space: pre-line";
  side.append(html("p", { className: "heading", textContent: "All the means, in code" }), code);
  const [left, top, across, down] = [36, 18, 34, 24];
  const size = { width: left + across * channels + 2, height: top + down * samples + 2 };
  const tiles = svg("svg", { viewBox: `0 0 ${size.width} ${size.height}`, role: "img", "aria-label": "the means, a row a sample and a column a channel" }, side);
  tiles.style.cssText = `width: 100%; max-width: ${size.width}px; margin-top: 10px`;
  for (let c = 0; c < channels; c += 1) svg("text", { x: left + across * (c + 0.5), y: top - 5, "text-anchor": "middle", text: `c=${c}` }, tiles);
  for (let n = 0; n < samples; n += 1) svg("text", { x: left - 5, y: top + down * (n + 0.5) + 4, "text-anchor": "end", text: `n=${n}` }, tiles);
  const boxes = Array.from({ length: samples * channels }, () => [
    svg("rect", { stroke: "ink", "stroke-width": 1.2 }, tiles),
    svg("text", { "text-anchor": "middle" }, tiles),
  ]);
  side.append(words);

  return (state, { cell }) => {
    chosen = flat(cell, x.shape);
    state.numbers.forEach((number, place) => {
      const tone = place === chosen ? 2 : Number(number === state.number);
      if (block.painted[place] === tone) return;
      block.painted[place] = tone;
      [...block.groups[place].children].forEach((face, turned) => {
        face.style.fill = `color-mix(in srgb, var(--${TONES[tone]}), black ${SHADES[turned]}%)`;
      });
    });
    showTiles(state);
    assign(code, { text: `${state.code.replace(").mean", ")\n .mean")}\n# ${state.means.length} numbers` });
    const others = state.set_size - 1;
    assign(words, {
      text:
        `chosen: x[${cell.join(", ")}] = ${decimals(state.value)}\n` +
        `orange: the ${others} other cells that share its mean ${decimals(state.means[state.number])} and its variance ${decimals(state.var)}\n` +
        `normalized, it is ${decimals(state.x_hat)}\n` +
        `${state.means.length} means × ${state.set_size} cells = ${x.length} cells`,
    });
  };

  function showTiles({ numbers, means, number }) {
    const place = (n, c) => numbers[flat([n, c, 0, 0], x.shape)];
    boxes.forEach(([box, text], index) => {
      const visible = index < means.length;
      box.style.display = text.style.display = visible ? "" : "none";
      if (!visible) return;
      let [n0, n1, c0, c1] = [samples, -1, channels, -1];
      for (let n = 0; n < samples; n += 1) {
        for (let c = 0; c < channels; c += 1) {
          if (place(n, c) !== index) continue;
          [n0, n1, c0, c1] = [Math.min(n0, n), Math.max(n1, n), Math.min(c0, c), Math.max(c1, c)];
        }
      }
      const corner = { x: left + across * c0, y: top + down * n0 };
      const extent = { width: across * (c1 - c0 + 1), height: down * (n1 - n0 + 1) };
      assign(box, { ...corner, ...extent, fill: index === number ? "orange" : "paper" });
      assign(text, { x: corner.x + extent.width / 2, y: corner.y + extent.height / 2 + 4, text: decimals(means[index]) });
      text.style.fill = index === number ? "#000" : "";
    });
  }
}

export { compute, describe, draw };
