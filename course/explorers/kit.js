// What all explorers share: sliders, a goal, the words under them, and panels that only change what changed.
//
// An explorer is a module with three functions:
//   compute(settings, data)    pure; the state for these settings, a plain object with `reached` where there is a goal; it is
//                              kept, so nothing may write to it later
//   describe(state, settings)  the state in one sentence: the heading, and what a screen reader says
//   draw(stage, data)          makes the panels once and returns update(state, settings), which sets their data
import * as d3 from "./vendor/d3.js";

// ---------------------------------------------------------------------------- numbers and words

/** Two decimals, or as many as asked for, with a true minus sign and none before a zero. */
function decimals(number, places = 2) {
  const text = number.toFixed(places);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

/** A number to so many significant digits, as a person would write it: 0.00032, 1.5e−7, 12000. */
function significant(number, digits = 2) {
  if (number === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(number)));
  if (size < -4 || size > 5) {
    const [mantissa, exponent] = number.toExponential(digits - 1).split("e");
    return `${mantissa}e${Number(exponent)}`.replaceAll("-", "−");
  }
  return Number(number.toPrecision(digits)).toString().replace("-", "−");
}

/** A power of ten as it is printed at an axis. */
function power(number) {
  const exponent = Math.round(Math.log10(number));
  if (exponent >= -1 && exponent <= 3) return `${Number((10 ** exponent).toPrecision(1))}`;
  const raised = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
  return `10${[...String(exponent)].map((sign) => raised[sign]).join("")}`;
}

/** count numbers from low to high. */
function linspace(low, high, count) {
  return Array.from({ length: count }, (_, i) => (i === count - 1 ? high : low + ((high - low) * i) / (count - 1)));
}

/** What Python sends as {dtype, shape, base64} becomes a typed array with a `shape`; the rest stays. */
function decode(data) {
  if (Array.isArray(data)) return data.map(decode);
  if (data === null || typeof data !== "object") return data;
  if (typeof data.base64 !== "string") {
    return Object.fromEntries(Object.entries(data).map(([name, value]) => [name, decode(value)]));
  }
  const bytes = Uint8Array.from(atob(data.base64), (character) => character.charCodeAt(0));
  const types = { float64: Float64Array, float32: Float32Array, int32: Int32Array, uint8: Uint8Array };
  const array = new types[data.dtype](bytes.buffer);
  array.shape = data.shape;
  return array;
}

// ---------------------------------------------------------------------------- elements

const SVG = "http://www.w3.org/2000/svg";
const COLOURS = new Set(
  ["ink", "paper", "grey", "faint", "panel", "orange", "sky", "green", "blue", "vermillion", "purple"],
);

// A notebook's page holds a copy of this file for each of its explorers; none may have an id or a group of another.
const copy = Math.random().toString(36).slice(2);
let made = 0;

/** An id, or a name of a group, that no other element of the page has. */
function unique(what) {
  made += 1;
  return `explorer-${what}-${copy}-${made}`;
}

/** The explorers' own colours by name, so that they follow the theme; any other CSS colour as it is. */
function paint(name) {
  return COLOURS.has(name) ? `var(--${name})` : name;
}

function html(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Set attributes that differ; `fill` and `stroke` by the names of the explorers' colours. */
function assign(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "fill" || name === "stroke") {
      const colour = paint(value);
      if (element.style.getPropertyValue(name) !== colour) element.style.setProperty(name, colour);
    } else if (name === "text") {
      if (element.textContent !== value) element.textContent = value;
    } else if (element.getAttribute(name) !== String(value)) {
      element.setAttribute(name, value);
    }
  }
  return element;
}

function svg(tag, attributes = {}, parent = null) {
  const element = assign(document.createElementNS(SVG, tag), attributes);
  parent?.append(element);
  return element;
}

/** A path from a place beside a point, the rest of it being the same at every point. */
const from = (dx, dy, rest) => (x, y) => `M${x + dx},${y + dy}${rest}`;

// By its radius, what writes the path of a shape at a point.
const SHAPES = {
  circle: (r) => from(-r, 0, `a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`),
  square: (r) => from(-r, -r, `h${2 * r}v${2 * r}h${-2 * r}z`),
  diamond: (r) => from(0, -1.3 * r, `l${1.3 * r},${1.3 * r}l${-1.3 * r},${1.3 * r}l${-1.3 * r},${-1.3 * r}z`),
  triangle: (r) => from(0, -1.2 * r, `l${1.2 * r},${2.1 * r}h${-2.4 * r}z`),
  plus: (r) => (x, y) => `M${x - r},${y}h${2 * r}M${x},${y - r}v${2 * r}`,
  cross: (r) => (x, y) => `M${x - r},${y - r}l${2 * r},${2 * r}M${x - r},${y + r}l${2 * r},${-2 * r}`,
  star: (r) => (x, y) => {
    const points = Array.from({ length: 10 }, (_, i) => {
      const reach = (i % 2 ? 0.55 : 1.3) * r;
      return `${x + reach * Math.sin((i * Math.PI) / 5)},${y - reach * Math.cos((i * Math.PI) / 5)}`;
    });
    return `M${points.join("L")}z`;
  },
};
const STROKED = new Set(["plus", "cross"]); // shapes without an inside

// ---------------------------------------------------------------------------- a panel with axes

const DRAWN = [-4000, 8000]; // pixels; far enough outside, and a path stays a path

/**
 * Axes and what lies between them. Marks are made once; each has set(…), which draws it if it changed.
 *
 * options: x and y as {domain: [low, high], log, label, ticks, format}, `ticks` being values or a number of them and
 * `format` a function or a list of labels; heading; height in CSS pixels; share and least, how a row is divided and
 * from which width on; equal, one unit as long on both axes (height is then the greatest); frame, false for none.
 */
class Plot {
  constructor(row, options) {
    this.options = { height: 260, share: 1, least: 280, frame: true, ...options };
    this.marks = [];
    this.x = scale(options.x);
    this.y = scale(options.y);
    this.panel = html("div", { className: "explorer-panel" });
    this.panel.style.flex = `${this.options.share} 1 ${this.options.least}px`;
    this.headingLine = html("p", { className: "heading", textContent: options.heading ?? "" });
    this.headingLine.hidden = !options.heading;
    this.legend = html("div", { className: "explorer-legend" });
    this.box = html("div", { className: "explorer-plot" });
    this.root = svg("svg", { role: "img", "aria-label": spokenName(options) });
    this.box.append(this.root);
    this.panel.append(this.headingLine, this.legend, this.box);
    row.append(this.panel);

    const clip = unique("clip");
    this.window = svg("rect", {}, svg("clipPath", { id: clip }, this.root));
    this.axisX = svg("g", { class: "axis" }, this.root);
    this.axisY = svg("g", { class: "axis" }, this.root);
    this.labelX = svg("text", { "text-anchor": "middle" }, this.root);
    this.labelY = svg("text", { "text-anchor": "middle" }, this.root);
    this.inside = svg("g", { "clip-path": `url(#${clip})` }, this.root);
    this.over = svg("g", {}, this.root);
    this.resize(this.options.least);
  }

  /** Change what an axis shows, as {x: {domain, …}, y: …}, and draw everything again. */
  axes(changes) {
    for (const axis of ["x", "y"]) {
      if (!changes[axis]) continue;
      this.options[axis] = { ...this.options[axis], ...changes[axis] };
      this[axis] = scale(this.options[axis]);
    }
    this.resize(this.width);
  }

  /** The line above the panel. */
  heading(text) {
    this.headingLine.hidden = !text;
    assign(this.headingLine, { text });
  }

  resize(width) {
    this.width = width;
    const { x, y, height, equal, frame } = this.options;
    const bare = y.ticks?.length === 0; // an axis that has no ticks has no line either
    this.axisY.style.display = bare ? "none" : "";
    const margin = {
      left: frame ? (y.label ? 24 : 8) + (bare ? 0 : 30) : 2,
      right: 16,
      top: 6,
      bottom: frame ? (x.label ? 40 : 22) : 2,
    };
    let across = Math.max(60, width - margin.left - margin.right);
    let down = height - margin.top - margin.bottom;
    if (equal) {
      const [[x0, x1], [y0, y1]] = [x.domain, y.domain];
      const unit = Math.min(across / Math.abs(x1 - x0), down / Math.abs(y1 - y0));
      [across, down] = [unit * Math.abs(x1 - x0), unit * Math.abs(y1 - y0)];
    }
    this.area = { left: margin.left, top: margin.top, across, down };
    this.x.range([margin.left, margin.left + across]);
    this.y.range([margin.top + down, margin.top]);
    const whole = { width: Math.ceil(margin.left + across + margin.right), height: Math.ceil(down + margin.top + margin.bottom) };
    assign(this.root, whole);
    this.box.style.width = `${whole.width}px`;
    assign(this.window, { x: margin.left, y: margin.top, width: across, height: down });
    if (frame) {
      assign(this.axisX, { transform: `translate(0,${margin.top + down})` });
      assign(this.axisY, { transform: `translate(${margin.left},0)` });
      d3.select(this.axisX).call(ticks(d3.axisBottom(this.x), this.x, x, across / 64));
      d3.select(this.axisY).call(ticks(d3.axisLeft(this.y), this.y, y, down / 34));
      assign(this.labelX, { x: margin.left + across / 2, y: margin.top + down + 34, text: x.label ?? "" });
      const middle = margin.top + down / 2;
      assign(this.labelY, { transform: `translate(12,${middle})rotate(-90)`, text: y.label ?? "" });
    }
    for (const mark of this.marks) mark.redraw();
  }

  // -- marks

  /**
   * Make a mark: `draw(element)` is called with what set(…) was given last if that is new, and again when the panel
   * changes size. Nothing may write to it meanwhile.
   */
  mark(tag, style, draw) {
    const element = svg(tag, {}, style.clip === false ? this.over : this.inside);
    let given = null;
    const redraw = () => {
      if (given) draw(element, ...given);
    };
    const mark = {
      element,
      redraw,
      set(...values) {
        if (given && alike(values, given)) return;
        given = values;
        redraw();
      },
      show(visible) {
        element.style.display = visible ? "" : "none";
      },
    };
    this.marks.push(mark);
    if (style.label) this.legend.append(html("span", {}, sample(style), style.label));
    return mark;
  }

  /** A line through points that are numbers; style: color, width, dash, opacity, step, dots (their radius), label. */
  line(style) {
    const stairs = style.step ? d3.line().defined(([x, y]) => Number.isFinite(x) && Number.isFinite(y)).curve(d3.curveStepAfter).digits(2) : null;
    const drawn = (xs, ys) => (stairs ? (stairs(Array.from(xs, (x, i) => this.at(x, ys[i]))) ?? "") : this.through(xs, ys));
    const radius = style.dots ?? 0;
    const dots = radius ? this.dots({ color: style.color, size: radius, opacity: style.opacity }) : null;
    const mark = this.mark("path", style, (element, xs, ys) => {
      assign(element, { d: drawn(xs, ys) });
    });
    stroke(mark.element, style);
    if (dots) {
      const set = mark.set;
      mark.set = (xs, ys) => {
        set(xs, ys);
        dots.set(xs, ys);
      };
    }
    return mark;
  }

  /** A dot for each point; style: color, size (radius), shape (see SHAPES), hollow, opacity, label. */
  dots(style) {
    const { size = 3.5, shape = "circle", hollow = false } = style;
    const outline = SHAPES[shape](size);
    const mark = this.mark("path", { ...style, kind: "dots" }, (element, xs, ys) => {
      let d = "";
      for (let i = 0; i < xs.length; i += 1) {
        const [x, y] = this.at(xs[i], ys[i]);
        if (Number.isFinite(x) && Number.isFinite(y)) d += outline(hundredths(x), hundredths(y));
      }
      assign(element, { d });
    });
    const lined = hollow || STROKED.has(shape);
    assign(mark.element, {
      fill: lined ? (hollow ? "paper" : "none") : (style.color ?? "ink"),
      stroke: lined ? (style.color ?? "ink") : (style.edge ?? "none"),
      "stroke-width": style.width ?? (STROKED.has(shape) ? 2.4 : 1.4),
      opacity: style.opacity ?? 1,
    });
    return mark;
  }

  /** Many lines as one mark: set([[xs, ys], …]). */
  lines(style) {
    const mark = this.mark("path", style, (element, all) => {
      assign(element, { d: all.map(([xs, ys]) => this.through(xs, ys)).join("") });
    });
    stroke(mark.element, style);
    return mark;
  }

  /** A band between two curves: set(xs, lows, highs). */
  band(style) {
    const drawn = d3.area().x((d) => d[0]).y0((d) => d[1]).y1((d) => d[2]).digits(2);
    const mark = this.mark("path", { ...style, kind: "band" }, (element, xs, lows, highs) => {
      const points = Array.from(xs, (x, i) => [...this.at(x, lows[i]), this.at(x, highs[i])[1]]);
      assign(element, { d: drawn(points) ?? "" });
    });
    assign(mark.element, { fill: style.color ?? "faint", opacity: style.opacity ?? 0.4 });
    return mark;
  }

  /** Upright bars: set(lefts, rights, heights, base = the lower end of the axis). */
  bars(style) {
    const mark = this.mark("path", { ...style, kind: "band" }, (element, lefts, rights, heights, base) => {
      let d = "";
      const low = base ?? Math.min(...this.y.domain());
      for (let i = 0; i < heights.length; i += 1) {
        const [x0, y0] = this.at(lefts[i], low);
        const [x1, y1] = this.at(rights[i], heights[i]);
        if (Number.isFinite(y1)) d += `M${x0.toFixed(2)},${y0.toFixed(2)}V${y1.toFixed(2)}H${x1.toFixed(2)}V${y0.toFixed(2)}z`;
      }
      assign(element, { d });
    });
    assign(mark.element, { fill: style.color ?? "blue", opacity: style.opacity ?? 1, stroke: style.edge ?? "none" });
    return mark;
  }

  /** A line across the whole panel: set({x}) or set({y}); set({}) hides it. */
  rule(style) {
    const mark = this.mark("path", style, (element, { x = null, y = null }) => {
      const { left, top, across, down } = this.area;
      const [px, py] = this.at(x ?? this.x.domain()[0], y ?? this.y.domain()[0]);
      assign(element, { d: x !== null ? `M${px},${top}v${down}` : y !== null ? `M${left},${py}h${across}` : "" });
    });
    stroke(mark.element, style);
    return mark;
  }

  /** Words at a point: set(x, y, text); style: color, anchor (start, middle, end), dx, dy, size, bold. */
  text(style = {}) {
    const mark = this.mark("text", { clip: false, ...style }, (element, x, y, text) => {
      const [px, py] = this.at(x, y);
      assign(element, { x: (px + (style.dx ?? 0)).toFixed(1), y: (py + (style.dy ?? 0)).toFixed(1), text });
    });
    assign(mark.element, { fill: style.color ?? "ink", "text-anchor": style.anchor ?? "start" });
    mark.element.style.fontSize = `${style.size ?? 12}px`;
    if (style.bold) mark.element.style.fontWeight = "600";
    return mark;
  }

  /** Pixels behind the marks: set(columns, rows, rgba, [x0, x1, y0, y1]), row 0 above; the extent may be left out. */
  image() {
    const canvas = html("canvas");
    this.box.prepend(canvas);
    let given = null;
    const place = () => {
      if (!given) return;
      const [x0, x1, y0, y1] = given[3] ?? [...this.x.domain(), ...this.y.domain()];
      const [left, right, bottom, top] = [this.x(x0), this.x(x1), this.y(y0), this.y(y1)];
      Object.assign(canvas.style, { left: `${left}px`, top: `${top}px`, width: `${right - left}px`, height: `${bottom - top}px` });
    };
    const mark = {
      element: canvas,
      redraw: place,
      set(...values) {
        given = values;
        const [columns, rows, rgba] = values;
        pixels(canvas, columns, rows, rgba);
        place();
      },
    };
    this.marks.push(mark);
    return mark;
  }

  /**
   * Let the pointer choose: `move(x, y, pressed)`, in the units of the axes, from pressing until letting go. Where one
   * axis counts, name it: a finger that goes along the other scrolls the page and chooses nothing.
   */
  drag(move, axis = null) {
    this.root.classList.add("draggable");
    if (axis) this.root.style.touchAction = axis === "x" ? "pan-y" : "pan-x";
    let waiting = null; // where a finger was put down that may be about to scroll
    const at = (event) => {
      const box = this.root.getBoundingClientRect();
      const pressed = event.type === "pointerdown"; // and not moved since
      move(this.x.invert(event.clientX - box.left), this.y.invert(event.clientY - box.top), pressed);
    };
    this.root.addEventListener("pointerdown", (event) => {
      this.root.setPointerCapture(event.pointerId);
      if (axis && event.pointerType === "touch") waiting = event;
      else at(event);
      event.preventDefault();
    });
    this.root.addEventListener("pointermove", (event) => {
      if (!this.root.hasPointerCapture(event.pointerId)) return;
      if (waiting) {
        const [dx, dy] = [Math.abs(event.clientX - waiting.clientX), Math.abs(event.clientY - waiting.clientY)];
        if (axis === "x" ? dx < dy : dy < dx) return;
      }
      begin();
      at(event);
    });
    this.root.addEventListener("pointerup", begin);
    this.root.addEventListener("pointercancel", () => {
      waiting = null; // the page scrolls
    });
    function begin() {
      if (waiting) at(waiting);
      waiting = null;
    }
  }

  /** The path through points, broken where one is not a number: d3.line's text, in less time. */
  through(xs, ys) {
    let d = "";
    let joined = 0; // points since the last break; one alone is closed, so that it is drawn
    for (let i = 0; i < xs.length; i += 1) {
      const [x, y] = this.at(xs[i], ys[i]);
      if (Number.isFinite(x) && Number.isFinite(y)) {
        d += `${joined ? "L" : "M"}${hundredths(x)},${hundredths(y)}`;
        joined += 1;
      } else {
        if (joined === 1) d += "Z";
        joined = 0;
      }
    }
    return joined === 1 ? `${d}Z` : d;
  }

  /** Pixels of a point; not a number where the axis has none. */
  at(x, y) {
    const px = this.options.x.log && !(x > 0) ? NaN : this.x(x);
    const py = this.options.y.log && !(y > 0) ? NaN : this.y(y);
    return [bounded(px), bounded(py)];
  }
}

/** Whether two values are the same; lists, if what they hold is. */
function alike(one, other) {
  if (Object.is(one, other)) return true;
  if (typeof one?.length !== "number" || typeof one === "string" || one.length !== other?.length) return false;
  // From the end: curves often share their beginning.
  for (let i = one.length - 1; i >= 0; i -= 1) if (one[i] !== other[i] && !alike(one[i], other[i])) return false;
  return true;
}

function hundredths(pixel) {
  return Math.round(pixel * 100) / 100;
}

function bounded(pixel) {
  return Math.min(Math.max(pixel, DRAWN[0]), DRAWN[1]);
}

function scale(axis) {
  return (axis.log ? d3.scaleLog() : d3.scaleLinear()).domain(axis.domain);
}

function ticks(axis, scaled, { log, ticks: wanted, format }, room) {
  const labels = Array.isArray(format) ? (_, i) => format[i] : format;
  if (Array.isArray(wanted)) axis.tickValues(wanted).tickFormat(labels ?? (log ? power : plain));
  else if (log) {
    const [low, high] = scaled.domain().map(Math.log10);
    const every = Math.max(1, Math.ceil((high - low) / Math.max(2, wanted ?? room)));
    const exponents = [];
    for (let e = Math.ceil(low - 1e-9); e <= high + 1e-9; e += 1) if (e % every === 0) exponents.push(10 ** e);
    axis.tickValues(exponents).tickFormat(labels ?? power);
  } else {
    axis.ticks(wanted ?? Math.max(2, Math.min(8, room)));
    if (labels) axis.tickFormat(labels);
  }
  return axis.tickSizeOuter(0).tickSize(4).tickPadding(4);
}

function plain(number) {
  return String(Number(number.toPrecision(6))).replace("-", "−");
}

function stroke(element, { color = "ink", width = 1.6, dash, opacity = 1 }) {
  assign(element, { fill: "none", stroke: color, "stroke-width": width, opacity, "stroke-linejoin": "round" });
  if (dash) assign(element, { "stroke-dasharray": dash });
}

/** What the legend shows of a mark. */
function sample({ kind = "line", color = "ink", shape = "circle", hollow = false, size = 3.5, width = 1.6, dash, opacity, dots }) {
  const root = svg("svg", { width: kind === "dots" ? 12 : 22, height: 12, "aria-hidden": "true" });
  if (kind === "band") {
    assign(svg("rect", { x: 1, y: 1, width: 20, height: 10 }, root), { fill: color, opacity: opacity ?? 1 });
  } else if (kind === "dots") {
    const lined = hollow || STROKED.has(shape);
    const drawn = { d: SHAPES[shape](Math.min(size, 4.5))(6, 6), fill: lined ? "none" : color, stroke: lined ? color : "none" };
    svg("path", { ...drawn, "stroke-width": 1.8 }, root);
  } else {
    const line = svg("path", { d: "M0,6h22" }, root);
    stroke(line, { color, width, dash });
    if (dots) svg("path", { d: SHAPES.circle(Math.min(dots, 4))(11, 6), fill: color }, root);
  }
  return root;
}

function spokenName({ heading, x, y }) {
  const axes = [y.label, x.label].filter(Boolean).join(" against ");
  return [heading, axes].filter(Boolean).join(": ") || "plot";
}

/** Write rgba (4 bytes a pixel, from above) into a canvas. */
function pixels(canvas, columns, rows, rgba) {
  if (canvas.width !== columns) canvas.width = columns;
  if (canvas.height !== rows) canvas.height = rows;
  const bytes = rgba instanceof Uint8ClampedArray ? rgba : Uint8ClampedArray.from(rgba);
  canvas.getContext("2d").putImageData(new ImageData(bytes, columns, rows), 0, 0);
}

// ---------------------------------------------------------------------------- what an explorer draws on

class Stage {
  constructor(picture, choose) {
    this.picture = picture;
    this.choose = choose; // choose({name: value}): move sliders from within the picture
    this.watched = new Map();
    this.observer = new ResizeObserver((entries) => {
      for (const entry of entries) {
        const width = Math.floor(entry.contentRect.width);
        const plot = this.watched.get(entry.target);
        if (width > 0 && plot.width !== width) plot.resize(width);
      }
    });
    this.row();
  }

  /** Begin a new row of panels. */
  row() {
    if (this.current && !this.current.childElementCount) return;
    this.current = html("div", { className: "explorer-row" });
    this.picture.append(this.current);
  }

  /** A panel with axes, see Plot. */
  plot(options) {
    const plot = new Plot(this.current, options);
    this.watched.set(plot.panel, plot);
    this.observer.observe(plot.panel);
    return plot;
  }

  /** A drawing of its own in units of CSS pixels, made smaller where the page is narrow. Returns its svg element. */
  svg({ width, height, share = 0, least = width, label }) {
    const root = svg("svg", { class: "scaled", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
    Object.assign(root.style, { width: "100%", maxWidth: `${share ? 2 * width : width}px`, height: "auto" });
    const panel = html("div", { className: "explorer-panel" }, root);
    panel.style.flex = `${share} 1 ${least}px`;
    this.current.append(panel);
    return root;
  }

  /** Pixels, `zoom` CSS pixels each; set(rgba, columns, rows) fills them. */
  canvas({ columns, rows, zoom, label, heading }) {
    const canvas = html("canvas", { role: "img", "aria-label": label, width: columns, height: rows });
    Object.assign(canvas.style, { display: "block", width: `${zoom * columns}px`, maxWidth: "100%", imageRendering: "pixelated" });
    const line = html("p", { className: "heading", textContent: heading ?? "" });
    line.hidden = !heading;
    const panel = html("div", { className: "explorer-panel" }, line, canvas);
    this.current.append(panel);
    return {
      element: canvas,
      heading(text) {
        line.hidden = !text;
        assign(line, { text });
      },
      set(rgba, newColumns = columns, newRows = rows) {
        pixels(canvas, newColumns, newRows, rgba);
      },
    };
  }

  /** An empty element for tables and words. */
  html({ share = 1, least = 240 } = {}) {
    const panel = html("div", { className: "explorer-panel" });
    panel.style.flex = `${share} 1 ${least}px`;
    this.current.append(panel);
    return panel;
  }
}

// ---------------------------------------------------------------------------- controls

function control(spec, changed) {
  const make = { range: rangeControl, buttons: buttonsControl, index: indexControl }[spec.kind];
  return make(spec, changed);
}

/** A slider over the list of a control's values. */
function rangeControl({ name, label, labels }, changed) {
  const id = unique("control");
  const input = html("input", { type: "range", id, min: 0, max: labels.length - 1, step: 1, name });
  const shown = html("output", { htmlFor: id });
  input.addEventListener("input", () => changed(input.valueAsNumber));
  return {
    element: html("div", { className: "explorer-control" }, html("label", { className: "explorer-label", htmlFor: id, textContent: label }), input, shown),
    show(place) {
      input.valueAsNumber = place;
      input.setAttribute("aria-valuetext", labels[place]);
      assign(shown, { text: labels[place] });
    },
  };
}

/** A button for each value of a control. */
function buttonsControl({ label, labels }, changed) {
  const group = unique("control");
  const inputs = labels.map((_, place) => {
    const input = html("input", { type: "radio", name: group });
    input.addEventListener("change", () => changed(place));
    return input;
  });
  const choices = inputs.map((input, place) => html("label", {}, input, html("span", { textContent: labels[place] })));
  const wide = labels.join("").length > 24 ? " wide" : "";
  const element = html("div", { className: `explorer-control${wide}`, role: "radiogroup", "aria-label": label });
  element.append(html("span", { className: "explorer-label", textContent: label }), html("div", { className: "choices" }, ...choices));
  return {
    element,
    show(place) {
      inputs[place].checked = true;
    },
  };
}

/** A number field for each axis of a shape; a place is the index into the flattened shape. */
function indexControl({ label, axes, shape, hint }, changed) {
  const fields = axes.map((axis, place) => html("input", { type: "number", min: 0, max: shape[place] - 1, "aria-label": `${label} ${axis}` }));
  const read = () => {
    const index = fields.map((field) => field.valueAsNumber);
    if (index.every((number, i) => Number.isInteger(number) && number >= 0 && number < shape[i])) changed(flat(index, shape));
  };
  for (const field of fields) field.addEventListener("input", read);
  const labelled = fields.map((field, i) => html("label", {}, axes[i], field));
  const element = html("div", { className: "explorer-control wide", role: "group", "aria-label": label });
  element.append(
    html("span", { className: "explorer-label", textContent: label }),
    html("div", { className: "index" }, ...labelled, html("small", { textContent: hint ?? "" })),
  );
  return {
    element,
    show(place) {
      unflat(place, shape).forEach((number, i) => {
        if (fields[i].valueAsNumber !== number) fields[i].valueAsNumber = number;
      });
    },
  };
}

function flat(index, shape) {
  return index.reduce((place, number, axis) => place * shape[axis] + number, 0);
}

function unflat(place, shape) {
  const index = [];
  for (const size of [...shape].reverse()) {
    index.unshift(place % size);
    place = Math.floor(place / size);
  }
  return index;
}

// ---------------------------------------------------------------------------- the explorer

const QUIET = 500; // milliseconds after which a screen reader hears the new state
const [HEAVY, TOO_HEAVY] = [2, 40]; // milliseconds between which a state is computed before it is asked for
const KEPT = 6; // states computed ahead
const whenIdle = globalThis.requestIdleCallback ?? ((then) => setTimeout(then, 200));

/**
 * Show an explorer in `host`: `module` as above, `spec` and `data` as Python's Explorer hands them over (data decoded).
 * Returns {settings, state, set(settings), reset(), flush(), remove()}; flush draws at once what waits for a frame.
 */
function mount(host, module, spec, data) {
  const identifier = unique("name");
  const controls = spec.controls;
  const values = controls.map((each) => each.values ?? Array.from({ length: each.shape.reduce((a, b) => a * b) }, (_, i) => unflat(i, each.shape)));
  let places = controls.map((each) => each.start);
  let waiting = 0; // for a frame
  let again = false; // something moved since what that frame will show
  let quiet = 0;
  let still = true; // nobody has moved anything yet
  let moved = null; // the control that was moved last, if by one step, and in which direction
  let takes = 0; // milliseconds of the last computation
  let soon = 0;
  const ahead = new Map(); // states by their places

  const element = html("section", { className: "explorer", "aria-labelledby": identifier });
  const goalState = html("b");
  const goal = html("p", { className: "goal", hidden: !spec.goal }, "Goal (", goalState, `): ${spec.goal ?? ""}`);
  const takeaway = html("p", { className: "takeaway" });
  const heard = html("p", { className: "unseen", "aria-live": "polite" });
  const picture = html("div", { className: "picture" });
  const problem = html("p", { className: "problem", role: "alert", hidden: true });
  const reset = html("button", { type: "button", textContent: "Reset", title: "Put every slider back to where it started" });
  const inputs = controls.map((each, number) => control(each, (place) => move(number, place)));
  element.append(
    html("p", { className: "name", id: identifier, textContent: spec.title }),
    html("p", { textContent: spec.look_for }),
    goal,
    html("div", { className: "explorer-controls" }, ...inputs.map((input) => input.element), reset),
    takeaway,
    heard,
    picture,
    problem,
  );
  host.append(element);

  const steady = keepHeight(takeaway);
  const stage = new Stage(picture, set);
  const update = module.draw(stage, data);
  const explorer = { element, set, reset: putBack, flush, remove };
  reset.addEventListener("click", putBack);
  // Else JupyterLab takes the arrow keys of whatever has the focus for itself.
  for (const one of element.querySelectorAll("input, button, [tabindex]")) one.dataset.lmSuppressShortcuts = "true";
  showPlaces();
  refresh();
  warmUp(neighbours());

  function showPlaces() {
    inputs.forEach((input, number) => input.show(places[number]));
  }

  function settingsAt(somewhere) {
    return Object.fromEntries(controls.map(({ name }, number) => [name, values[number][somewhere[number]]]));
  }

  function stateAt(somewhere) {
    const key = somewhere.join();
    if (ahead.has(key)) return ahead.get(key);
    const began = performance.now();
    const state = module.compute(settingsAt(somewhere), data);
    takes = performance.now() - began;
    if (isWorthwhile()) {
      if (ahead.size >= KEPT) ahead.delete(ahead.keys().next().value); // the oldest
      ahead.set(key, state);
    }
    return state;
  }

  function isWorthwhile() {
    return takes >= HEAVY && takes <= TOO_HEAVY;
  }

  /**
   * Once a frame is shown that took a good part of its time: compute what comes next if the control that was moved by one
   * step goes on. A key then finds its state there. (Browsers are not idle, by their own count, for a while after a key.)
   */
  function lookAhead() {
    if (!moved) return; // by a leap meanwhile
    const next = stepped(moved.number, moved.by);
    if (next) compute(next);
  }

  /** The places after one step of one control, or null where it ends. */
  function stepped(number, by) {
    const place = places[number] + by;
    if (place < 0 || place >= values[number].length) return null;
    return places.map((stands, other) => (other === number ? place : stands));
  }

  function compute(somewhere) {
    try {
      stateAt(somewhere);
    } catch {
      // Whoever comes there is told.
    }
  }

  /** Where the first step may lead. */
  function neighbours() {
    const sliders = controls.flatMap(({ kind }, number) => (kind === "range" ? [number] : []));
    return sliders.flatMap((number) => [stepped(number, 1), stepped(number, -1)]).filter(Boolean).slice(0, KEPT);
  }

  /** Compute there, one at a time, until something moves: what runs for the first time is slow, and the first key would wait. */
  function warmUp([next, ...others]) {
    if (!next) return;
    whenIdle(() => {
      if (!still || !element.isConnected) return;
      compute(next);
      if (takes <= TOO_HEAVY) warmUp(others); // the very first one is no measure
    });
  }

  function refresh() {
    again = false;
    try {
      explorer.settings = settingsAt(places);
      explorer.state = stateAt(places);
      update(explorer.state, explorer.settings);
      assign(takeaway, { text: module.describe(explorer.state, explorer.settings) });
      if (spec.goal) {
        goal.classList.toggle("reached", explorer.state.reached);
        assign(goalState, { text: explorer.state.reached ? "reached" : "not yet" });
      }
      if (!problem.hidden) problem.hidden = true;
    } catch (error) {
      assign(problem, { text: `This explorer cannot show these settings (${error}). Press Reset, or reload the page.` });
      problem.hidden = false;
      throw error;
    }
  }

  /** Draw at once, while the screen is waited for; what moves before its frame comes is drawn in it, however much that is. */
  function draw() {
    still = false;
    clearTimeout(quiet);
    quiet = setTimeout(() => assign(heard, { text: takeaway.textContent + (spec.goal && explorer.state.reached ? " Goal reached." : "") }), QUIET);
    again = Boolean(waiting);
    if (again) return;
    waiting = requestAnimationFrame(shown);
    try {
      refresh();
    } catch (error) {
      reportError(error); // it is not the fault of whoever moved
    }
  }

  function shown() {
    waiting = 0;
    flush();
    clearTimeout(soon);
    if (isWorthwhile()) soon = setTimeout(lookAhead); // behind the frame
  }

  function move(number, place) {
    if (put(number, place)) draw();
  }

  /** Whether the control moves. */
  function put(number, place) {
    const by = place - places[number];
    if (by === 0) return false;
    moved = Math.abs(by) === 1 ? { number, by } : null; // a leap says nothing of the next one
    places[number] = place;
    inputs[number].show(place);
    return true;
  }

  /** Move controls to the values that lie nearest to those given, by name. */
  function set(chosen) {
    let any = false;
    for (const [name, value] of Object.entries(chosen)) {
      const number = controls.findIndex((each) => each.name === name);
      if (number >= 0 && put(number, nearest(values[number], value))) any = true;
    }
    if (any) draw();
  }

  function putBack() {
    places = controls.map((each) => each.start);
    showPlaces();
    draw();
  }

  function flush() {
    if (again) refresh();
  }

  function remove() {
    cancelAnimationFrame(waiting);
    clearTimeout(soon);
    clearTimeout(quiet);
    stage.observer.disconnect();
    steady.disconnect();
    element.remove();
  }

  return explorer;
}

/** Let a line of words keep the most room that it has needed at its width: what stands below it does not jump. */
function keepHeight(words) {
  let width = 0;
  const observer = new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width !== width) words.style.minHeight = "";
    width = contentRect.width;
    words.style.minHeight = `${words.offsetHeight}px`;
  });
  observer.observe(words);
  return observer;
}

/** The place of a value in a list; where it is not there, of the number that is nearest. */
function nearest(values, value) {
  const wanted = JSON.stringify(value);
  const place = values.findIndex((each) => JSON.stringify(each) === wanted);
  if (place >= 0) return place;
  let best = 0;
  values.forEach((each, number) => {
    if (Math.abs(each - value) < Math.abs(values[best] - value)) best = number;
  });
  return best;
}

/** The module as anywidget wants it. */
function widget(module) {
  return {
    render({ model, el }) {
      const explorer = mount(el, module, model.get("spec"), decode(model.get("data")));
      const follow = () => explorer.set(model.get("settings"));
      follow();
      explorer.flush();
      model.on("change:settings", follow);
      return () => {
        model.off("change:settings", follow);
        explorer.remove();
      };
    },
  };
}

export { assign, decimals, decode, flat, html, linspace, mount, paint, pixels, power, significant, svg, unflat, widget };
