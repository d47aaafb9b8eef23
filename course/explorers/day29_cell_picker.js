// Four number fields, and the same cell by pointing at it in the picture of the explorer around them.
// Pointing follows the mouse until a click keeps a cell; a click on that cell lets go again.
const AXES = ["n", "c", "h", "w"];
const FOLLOWS = "or point at a cell; a click keeps it";
const KEPT = "kept; a click on it lets go";

function inside([x, y], polygon) {
  let within = false;
  polygon.forEach(([x1, y1], index) => {
    const [x0, y0] = polygon.at(index - 1);
    if (y0 > y !== y1 > y && x < x0 + ((x1 - x0) * (y - y0)) / (y1 - y0)) within = !within;
  });
  return within;
}

function cellOf(index, shape) {
  const cell = [];
  for (const size of [...shape].reverse()) {
    cell.unshift(index % size);
    index = Math.floor(index / size);
  }
  return cell;
}

function render({ model, el }) {
  const shape = model.get("shape");
  const outlines = model.get("outlines");
  let kept = false;

  const line = document.createElement("div");
  line.style.cssText = "display: flex; gap: 6px; align-items: center; height: 32px; color: var(--jp-ui-font-color1);";
  const label = document.createElement("span");
  label.textContent = model.get("description");
  label.style.cssText = "width: 92px; text-align: right; flex: none;";
  const fields = AXES.map((axis, place) => {
    const field = Object.assign(document.createElement("input"), {
      type: "number",
      min: 0,
      max: shape[place] - 1,
      title: axis,
    });
    field.setAttribute("aria-label", `${model.get("description")} ${axis}`);
    field.style.cssText =
      "width: 40px; font: inherit; color: inherit; background: var(--jp-layout-color1); " +
      "border: 1px solid var(--jp-border-color1);";
    field.addEventListener("input", () => {
      const number = Number(field.value);
      if (field.value === "" || !Number.isInteger(number) || number < 0 || number >= shape[place]) return;
      const cell = [...model.get("value")];
      cell[place] = number;
      choose(cell);
    });
    field.addEventListener("change", show);
    return field;
  });
  const hint = document.createElement("span");
  hint.style.cssText = "opacity: 0.8; white-space: nowrap; font-size: 12px;";
  line.append(label);
  AXES.forEach((axis, place) => line.append(axis, fields[place]));
  line.append(hint);
  el.append(line);

  function show() {
    model.get("value").forEach((number, place) => {
      fields[place].value = number;
    });
    hint.textContent = kept ? KEPT : FOLLOWS;
  }

  function same(cell) {
    return model.get("value").every((number, place) => number === cell[place]);
  }

  function choose(cell) {
    if (same(cell)) return;
    model.set("value", cell);
    model.save_changes();
  }

  let image = null;
  function pointedAt(event) {
    const box = image.getBoundingClientRect();
    const scale = image.width / box.width;
    const at = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    const index = outlines.findLastIndex((outline) => inside(at, outline));
    return index < 0 ? null : cellOf(index, shape);
  }
  function move(event) {
    const cell = pointedAt(event);
    image.style.cursor = cell ? "pointer" : "";
    if (cell && !kept) choose(cell);
  }
  function click(event) {
    const cell = pointedAt(event);
    if (!cell) return;
    kept = !(kept && same(cell));
    choose(cell);
    show();
  }

  // The picture comes into the page after this control.
  let waiting = 0;
  function listen() {
    image = el.closest(".widget-vbox")?.querySelector("img") ?? null;
    if (image) {
      image.addEventListener("pointermove", move);
      image.addEventListener("click", click);
    } else {
      waiting = requestAnimationFrame(listen);
    }
  }
  listen();
  model.on("change:value", show);
  show();
  return () => {
    cancelAnimationFrame(waiting);
    model.off("change:value", show);
    image?.removeEventListener("pointermove", move);
    image?.removeEventListener("click", click);
  };
}

export default { render };
