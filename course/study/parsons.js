// A Parsons problem: the lines of a solution, to be put in order. Nothing is executed here.
//
// A puzzle is {steps, lines, pool}. steps: the titles of the sub-goals. A line is {id, code, indent, inside, goal, parent, after,
// wrong, why}: goal counts from 1 and is 0 where the line is given, inside is how far what follows can be indented, parent
// is the line that opens its block, after are the lines that it needs before it, wrong is a twin that is not right, and
// why says so. The pool is [[id, wrong first], …].
// An arrangement is a list of {id, indent, twin}: the given lines in their places, and those that were put between them.
import { make } from "./element.js";

const STEP = 2; // characters of an indent on the screen

// ---------------------------------------------------------------------------- what is right

/** How far the line below a row can be indented. */
function deepest({ lines }, row) {
  const { indent, inside } = lines.find(({ id }) => id === row.id);
  return row.indent + inside - indent;
}

/** The same rows, none of them indented further than it can be. */
function settled(puzzle, rows) {
  const found = [];
  for (const row of rows) {
    const given = !puzzle.lines.find(({ id }) => id === row.id).goal;
    const most = found.length && !given ? deepest(puzzle, found.at(-1)) : row.indent;
    found.push({ ...row, indent: given ? row.indent : Math.max(1, Math.min(most, row.indent)) });
  }
  return found;
}

/** The line that opens the block in which the row at this place stands, or null. */
function opener(rows, place) {
  for (let above = place - 1; above >= 0; above--) {
    if (rows[above].indent < rows[place].indent) return rows[above].id;
  }
  return null;
}

/** What is not right of the first sub-goal that is not: {goal, kind, id}; null where all is right. */
function problem({ lines }, rows) {
  const places = new Map(rows.map(({ id }, place) => [id, place]));
  const moved = lines.filter(({ goal }) => goal).sort((one, other) => one.goal - other.goal || one.id - other.id);
  for (const { id, indent, goal, parent, after } of moved) {
    const place = places.get(id);
    const found = (kind) => ({ goal, kind, id });
    if (place === undefined) return found("missing");
    if (rows[place].twin) return found("twin");
    if (!places.has(parent)) return found("no block");
    if (rows[place].indent !== indent || opener(rows, place) !== parent) return found("block");
    if (!after.every((needed) => places.has(needed))) return found("needs");
    if (after.some((needed) => places.get(needed) > place)) return found("order");
  }
  return null;
}

/** The same as a sentence. */
function describe(puzzle, found) {
  if (!found) return "All steps are right: this is a solution. Now close this and write it yourself, from memory; that is what stays.";
  const line = puzzle.lines.find(({ id }) => id === found.id);
  const what = {
    missing: "A line of it is missing.",
    twin: `One of its lines has a twin that is right. ${line.why}`,
    "no block": "One of its lines belongs into a block, and the line that opens the block is not there yet.",
    block: "One of its lines stands in another block than it should. Look at its place and how far it is indented.",
    needs: "One of its lines needs a line before it that is not there yet.",
    order: "One of its lines comes before a line that it needs.",
  }[found.kind];
  const before = found.goal > 1 ? `Up to step ${found.goal - 1} all is right. ` : "";
  return `${before}Step ${found.goal}, “${puzzle.steps[found.goal - 1]}”, is not right yet. ${what}`;
}

/**
 * What is there, in the order of the solution that the puzzle was made from. A line more is there, with what it needs, or
 * a twin was put right.
 */
function helped(puzzle, rows) {
  const found = problem(puzzle, rows);
  const there = new Map(rows.map((row) => [row.id, row]));
  const needed = found ? [found.id] : [];
  for (const one of needed) {
    const { parent, after } = puzzle.lines.find(({ id }) => id === one);
    needed.push(...[parent, ...after].filter((id) => id !== null && !there.has(id)));
    if (one === found.id || !there.has(one)) there.set(one, { id: one, twin: false });
  }
  return puzzle.lines
    .filter(({ id }) => there.has(id))
    .map(({ id, indent }) => ({ id, indent, twin: there.get(id).twin }));
}

/** The arrangement to begin with: the lines that are given. */
function begin({ lines }) {
  return lines.filter(({ goal }) => !goal).map(({ id, indent }) => ({ id, indent, twin: false }));
}

// ---------------------------------------------------------------------------- the page

/** Show a puzzle in `host`, folded. Returns a function that takes it away. */
function mount(host, puzzle) {
  const lines = new Map(puzzle.lines.map((line) => [line.id, line]));
  const indents = new Set(puzzle.lines.filter(({ goal }) => goal).map(({ indent }) => indent)).size > 1;
  let rows = begin(puzzle);
  let selected = rows[0].id; // new lines go below it
  let dragged = null; // {id, twin}

  const pool = make("ul", { className: "pool" });
  const solution = make("ol", { className: "solution" });
  const result = make("p", { className: "result", role: "status" });
  const heard = make("p", { className: "heard", "aria-live": "polite" });
  const action = (words, does) => {
    const button = make("button", { type: "button", textContent: words });
    button.addEventListener("click", does);
    return button;
  };
  const keys = `Keys, on a line of your solution: ↑ ↓ go through it, Shift with ↑ ↓ moves the line${indents ? ", Shift with ← → indents it" : ""}, Delete takes it out.`;
  const element = make(
    "details",
    { className: "parsons" },
    make("summary", { textContent: "Show me the lines of a solution, to put in order" }),
    make("p", {
      textContent:
        "Being stuck is no shame, and ordering lines teaches about as much as writing them. All lines of a solution are here. " +
        "Some come as a pair: one of the two is a mistake that many make. Choose a line, and it goes below the marked one.",
    }),
    make(
      "div",
      { className: "columns" },
      make("section", { "aria-label": "Lines to choose from" }, make("p", { className: "label", textContent: "Lines" }), pool),
      make("section", { "aria-label": "Your solution" }, make("p", { className: "label", textContent: "Your solution" }), solution),
    ),
    result,
    make("div", { className: "actions" }, action("Check", check), action("Help me on", help), action("Start over", restart)),
    make("p", { className: "hint", textContent: keys }),
    heard,
  );
  element.dataset.lmSuppressShortcuts = "true"; // else JupyterLab takes the keys for its own
  element.addEventListener("keydown", press);
  host.append(element);
  draw();

  function code({ id, twin }) {
    return twin ? lines.get(id).wrong : lines.get(id).code;
  }

  function draw(off = null) {
    pool.replaceChildren(...puzzle.pool.map(([id, wrongFirst]) => choice(id, wrongFirst)).filter(Boolean));
    if (!pool.children.length) pool.append(make("li", { className: "empty", textContent: "All lines are in your solution." }));
    solution.replaceChildren(...rows.map((row, place) => line(row, place, row.id === off)));
  }

  /** A line or a pair in the pool; of a pair, one of which is in the solution, the other to take its place. */
  function choice(id, wrongFirst) {
    const placed = rows.find((row) => row.id === id);
    const pair = lines.get(id).wrong ? [wrongFirst, !wrongFirst] : [false];
    const left = placed ? pair.filter((twin) => twin !== placed.twin) : pair;
    if (!left.length) return null;
    const item = make("li", { className: left.length > 1 ? "pair" : "" });
    const words = left.length > 1 ? "one of these two:" : placed ? "in place of its twin:" : "";
    if (words) item.append(make("span", { className: "words", textContent: words }));
    for (const twin of left) {
      const button = make("button", { type: "button", className: "take", draggable: true }, make("code", { textContent: code({ id, twin }) }));
      button.dataset.id = id;
      button.dataset.twin = twin;
      button.addEventListener("click", () => take({ id, twin }));
      button.addEventListener("dragstart", (event) => drag(event, { id, twin }));
      item.append(button);
    }
    return item;
  }

  function line(row, place, off) {
    const { id } = row;
    const given = !lines.get(id).goal;
    const text = make("code", { textContent: code(row) });
    if (!given) text.style.setProperty("--indent", `${row.indent * 2 * STEP}ch`);
    const button = make("button", { type: "button", className: "line", draggable: !given }, text);
    button.dataset.id = id;
    button.setAttribute("aria-pressed", id === selected);
    const where = `Line ${place + 1} of ${rows.length}${given ? ", given" : indents ? `, indented ${row.indent} times` : ""}${off ? ", look here" : ""}: `;
    button.prepend(make("span", { className: "heard", textContent: where }));
    button.addEventListener("click", () => select(id));
    button.addEventListener("dragstart", (event) => drag(event, row));
    const item = make("li", { className: `${given ? "given" : "moved"}${id === selected ? " selected" : ""}${off ? " off" : ""}` }, button);
    if (!given && id === selected) item.append(tools(id));
    item.addEventListener("dragover", (event) => {
      if (!dragged) return;
      event.preventDefault();
      item.classList.add("over");
    });
    item.addEventListener("dragleave", () => item.classList.remove("over"));
    item.addEventListener("drop", (event) => drop(event, id));
    return item;
  }

  function tools(id) {
    const tool = (sign, words, does) => {
      const button = make("button", { type: "button", className: "tool", textContent: sign, title: words, "aria-label": words });
      button.addEventListener("click", () => {
        does();
        [...solution.querySelectorAll(".tool")].find((one) => one.title === words)?.focus();
      });
      return button;
    };
    const group = make("span", { className: "tools", role: "group", "aria-label": "Move the marked line" });
    group.append(tool("↑", "Move up", () => move(id, -1)), tool("↓", "Move down", () => move(id, 1)));
    if (indents) group.append(tool("←", "Indent less", () => indent(id, -1)), tool("→", "Indent more", () => indent(id, 1)));
    group.append(tool("✕", "Take out", () => remove(id)));
    return group;
  }

  function changed(words, focused = null) {
    result.textContent = "";
    result.className = "result";
    rows = settled(puzzle, rows);
    draw();
    heard.textContent = words;
    if (focused !== null) solution.querySelector(`.line[data-id="${focused}"]`)?.focus();
  }

  function select(id) {
    selected = id;
    draw();
    solution.querySelector(`.line[data-id="${id}"]`).focus();
  }

  function take(row) {
    const twin = rows.find(({ id }) => id === row.id);
    const next = pool.querySelectorAll(".take");
    const at = [...next].findIndex((button) => button.dataset.id === String(row.id));
    if (twin) {
      twin.twin = row.twin;
      selected = row.id;
      changed("It takes the place of its twin.", row.id);
      return;
    }
    put(row, selected);
    const left = pool.querySelectorAll(".take");
    (left[Math.min(at, left.length - 1)] ?? solution.querySelector(`.line[data-id="${row.id}"]`)).focus();
  }

  function put({ id, twin }, under) {
    rows = rows.filter((row) => row.id !== id);
    const place = rows.findIndex((row) => row.id === under);
    rows.splice(place + 1, 0, { id, twin, indent: indents ? below(rows[place]) : lines.get(id).indent });
    selected = id;
    changed(`Line ${place + 2} of ${rows.length}.`);
  }

  /** Where a new line below this row starts: a block is over with `return` or `raise`. */
  function below(row) {
    return deepest(puzzle, row) - /^(return|raise)\b/.test(code(row));
  }

  function move(id, by) {
    const place = rows.findIndex((row) => row.id === id);
    const to = place + by;
    if (to < 1 || to >= rows.length) return; // the first line is given
    [rows[place], rows[to]] = [rows[to], rows[place]];
    changed(`Line ${to + 1} of ${rows.length}.`, id);
  }

  function indent(id, by) {
    const row = rows.find((one) => one.id === id);
    row.indent += by;
    changed("", id);
    heard.textContent = `Indented ${rows.find((one) => one.id === id).indent} times.`;
  }

  function remove(id) {
    const place = rows.findIndex((row) => row.id === id);
    rows.splice(place, 1);
    selected = rows[place - 1].id;
    changed("Taken out.", selected);
  }

  function drag(event, row) {
    dragged = { id: row.id, twin: row.twin };
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", code(row));
  }

  function drop(event, under) {
    event.preventDefault();
    if (dragged && dragged.id !== under) put(dragged, under);
    else draw();
    dragged = null;
  }

  function press(event) {
    const id = Number(event.target.closest?.(".line")?.dataset.id ?? NaN);
    if (Number.isNaN(id) || event.ctrlKey || event.metaKey || event.altKey) return;
    const given = !lines.get(id).goal;
    const place = rows.findIndex((row) => row.id === id);
    const by = { ArrowUp: -1, ArrowDown: 1, ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const sideways = event.key === "ArrowLeft" || event.key === "ArrowRight";
    if (by && !event.shiftKey && !sideways) select(rows[Math.min(rows.length - 1, Math.max(0, place + by))].id);
    else if (by && event.shiftKey && !given && !sideways) move(id, by);
    else if (by && event.shiftKey && !given && indents) indent(id, by);
    else if ((event.key === "Delete" || event.key === "Backspace") && !given) remove(id);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function check() {
    const found = problem(puzzle, rows);
    draw(found?.id);
    result.className = `result ${found ? "wrong" : "right"}`;
    result.textContent = describe(puzzle, found);
  }

  function help() {
    rows = helped(puzzle, rows);
    if (!rows.some(({ id }) => id === selected)) selected = rows.at(-1).id;
    changed("");
    const found = problem(puzzle, rows);
    result.textContent = found
      ? "What you have is in order, and a line was added or put right. Go on from here."
      : describe(puzzle, found);
    result.className = `result ${found ? "" : "right"}`;
  }

  function restart() {
    rows = begin(puzzle);
    selected = rows[0].id;
    changed("All lines are to choose from again.");
  }

  return () => element.remove();
}

/** As anywidget wants it. */
function render({ model, el }) {
  return mount(el, model.get("puzzle"));
}

export { begin, describe, helped, mount, problem, render, settled };
