// Spaced review of the flashcards. FSRS says when a card comes again; this module shows cards and keeps what was said.
//
// A card is {id, day, front, back, mistake}, front and back being HTML. Kept of it is an entry: what FSRS knows of it,
// dates as ISO strings, and `first`, when it was learned. Kept of a reader is {version, cards: {id: entry}, left_out:
// {days, at}}. A store has load(), save(news), problem(), a sentence or "", and watch(changed).
import { make } from "./element.js";
import { Rating, State, createEmptyCard, fsrs } from "./vendor/fsrs.js";

const NEW_A_DAY = 10;
const DAWN = 4; // the hour at which a day begins: who learns past midnight learns on the day before
const GRADES = ["Again", "Hard", "Good", "Easy"]; // in the order of the keys 1 to 4
const WORDS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
const [MINUTE, HOUR, DAY] = [60e3, 3600e3, 86400e3];
const scheduler = fsrs({ enable_fuzz: false }); // a button does what it says
const NOTHING = { version: 1, cards: {}, left_out: { days: [], at: "" } };

// ---------------------------------------------------------------------------- what is due

/** The number of the day that a time belongs to, by the reader's clock. */
function day(time) {
  const moved = new Date(new Date(time).getTime() - DAWN * HOUR);
  return Date.UTC(moved.getFullYear(), moved.getMonth(), moved.getDate()) / DAY;
}

/** A length of time in words, to one unit: "10 min", "3 days", "2.5 months". */
function span(milliseconds) {
  const minutes = Math.max(1, Math.round(milliseconds / MINUTE));
  const days = Math.round(milliseconds / DAY);
  const rounded = (number) => Number(number.toFixed(1));
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 24 * 60) return `${Math.round(minutes / 60)} h`;
  if (days < 31) return days === 1 ? "1 day" : `${days} days`;
  return days < 365 ? `${rounded(days / 30.44)} months` : `${rounded(days / 365.25)} years`;
}

function counted(number, one, many) {
  return `${number} ${number === 1 ? one : many}`;
}

/**
 * What a reader has before them at the time `now`: the queue of cards, how many of them come from mistakes and how many
 * are new, how many are done today, how many new ones may yet be learned, when the next card is due after today, and, where
 * fewer new cards than a day's were learned when last any were, when that was and how many (`left`).
 * New cards are in the queue once the reader has asked for them, or has begun with them today.
 */
function plan(cards, kept, now, asked = false) {
  const chosen = cards.filter((card) => !kept.left_out.days.includes(card.day));
  const [mistakes, ripe, steps, reviews, unseen, later] = [[], [], [], [], [], []];
  for (const card of chosen) {
    const entry = kept.cards[card.id];
    if (!entry) (card.mistake ? mistakes : unseen).push(card);
    else if (entry.state !== State.Review) (new Date(entry.due) <= now ? ripe : steps).push(card);
    else if (day(entry.due) <= day(now)) (card.mistake ? mistakes : reviews).push(card);
    else later.push(entry.due);
  }
  for (const list of [ripe, steps, reviews]) {
    list.sort((a, b) => kept.cards[a.id].due.localeCompare(kept.cards[b.id].due));
  }
  const begun = cards.filter((card) => !card.mistake && kept.cards[card.id] && day(kept.cards[card.id].first) === day(now));
  const room = Math.max(0, NEW_A_DAY - begun.length);
  const learned = asked || begun.length > 0 ? unseen.slice(0, room) : [];
  const last = before(cards, kept, now);
  const left = !asked && !begun.length && unseen.length && last.learned && last.learned < NEW_A_DAY ? last : null;
  const queue = [...mistakes, ...ripe, ...reviews, ...learned, ...steps];
  const open = new Set(queue);
  const done = chosen.filter((card) => !open.has(card) && kept.cards[card.id] && day(kept.cards[card.id].last_review) === day(now));
  return {
    queue,
    mistakes: mistakes.length,
    learned: learned.length,
    done: done.length,
    fresh: Math.min(room, unseen.length),
    unseen: unseen.length,
    chosen: chosen.length,
    next: later.sort()[0] ?? null,
    left,
  };
}

/** When new cards were last learned before today, and how many of them on that day. */
function before(cards, kept, now) {
  const times = cards
    .filter((card) => !card.mistake && kept.cards[card.id] && day(kept.cards[card.id].first) < day(now))
    .map((card) => kept.cards[card.id].first)
    .sort();
  const at = times.at(-1);
  return { at, learned: times.filter((time) => day(time) === day(at)).length };
}

/** The date of the day that a time belongs to, in words: "Saturday 5 December". */
function dated(time) {
  return new Date(new Date(time).getTime() - DAWN * HOUR).toLocaleDateString("en-GB", { weekday: "long", day: "numeric", month: "long" });
}

/** That new cards which were begun and left on an earlier day are not lost; they are not due either. */
function goOn({ at, learned }) {
  return `You learned ${counted(learned, "new card", "new cards")} on ${dated(at)}; you can go on with the next ones`;
}

/** The plan in a sentence, where there is something to do. */
function describe({ queue, mistakes, learned, done, left }) {
  const repeated = queue.length - mistakes - learned;
  const parts = [
    mistakes && `${mistakes} from check`,
    repeated && `${repeated} to repeat`,
    learned && `${learned} new`,
  ].filter(Boolean);
  const due = `${counted(queue.length, "card", "cards")} due today: ${parts.join(", ")}. ${done} done.`;
  return left ? `${due} ${goOn(left)} after these.` : due;
}

/** The plan in a sentence, where there is nothing to do. */
function rest({ next, fresh, unseen, chosen, done, left }, now) {
  if (!chosen) return "All days are left out. Tick a day to review its cards.";
  const sentences = [done ? `Nothing more is due today, ${done} done.` : "Nothing is due today."];
  if (next) {
    const days = day(next) - day(now);
    sentences.push(`The next card is due ${days === 1 ? "tomorrow" : `in ${days} days, on ${dated(next)}`}.`);
  }
  if (left) sentences.push(`${goOn(left)}.`);
  if (unseen && !fresh) sentences.push(`${NEW_A_DAY} new cards a day are enough; more can be learned tomorrow.`);
  return sentences.join(" ");
}

// ---------------------------------------------------------------------------- a review

/** A clock that was put back must not bring a review before the one that it follows. */
function after(entry, now) {
  return new Date(Math.max(now, new Date(entry?.last_review ?? 0)));
}

/** How long until a card comes again, by grade: {Again: "1 min", …}. */
function waits(entry, now) {
  const at = after(entry, now);
  const record = scheduler.repeat(entry ?? createEmptyCard(at), at);
  return Object.fromEntries(GRADES.map((grade) => [grade, span(record[Rating[grade]].card.due - at)]));
}

/** The entry of a card after a review with a grade, such as "Good"; `entry` is undefined where it is new. */
function reviewed(entry, grade, now) {
  const at = after(entry, now);
  const { card } = scheduler.next(entry ?? createEmptyCard(at), at, Rating[grade]);
  return JSON.parse(JSON.stringify({ ...card, first: entry?.first ?? at }));
}

/** What two tabs have kept, as one: of each card the later review, of the days left out the later choice. */
function merge(one, other) {
  const cards = { ...one.cards };
  for (const [id, entry] of Object.entries(other.cards)) {
    const known = cards[id];
    const later = !known || entry.last_review > known.last_review;
    if (later || (entry.last_review === known.last_review && entry.reps > known.reps)) cards[id] = entry;
  }
  return { version: 1, cards, left_out: other.left_out.at >= one.left_out.at ? other.left_out : one.left_out };
}

// ---------------------------------------------------------------------------- where it is kept

const KEY = "normalization-and-momentum.review";
const TIMES = ["due", "last_review", "first"];
const NUMBERS = ["stability", "difficulty", "reps", "state"];

function isKept(kept) {
  const isEntry = (entry) =>
    TIMES.every((name) => !Number.isNaN(Date.parse(entry?.[name]))) && NUMBERS.every((name) => Number.isFinite(entry[name]));
  return kept?.version === 1 && Object.values(kept.cards ?? { none: null }).every(isEntry) && Array.isArray(kept.left_out?.days);
}

/** What the browser keeps, and whether it is damaged; a page that only looks leaves it there. */
function readKept(storage) {
  try {
    const kept = JSON.parse(storage().getItem(KEY)) ?? NOTHING;
    return isKept(kept) ? [kept, false] : [NOTHING, true];
  } catch (error) {
    return [NOTHING, error instanceof SyntaxError];
  }
}

/** In the browser; what another tab has written is read before anything is written. */
function browserStore(storage) {
  let kept = NOTHING; // all there is where the browser keeps nothing
  let problem = "";

  function load() {
    let text = null;
    try {
      text = storage().getItem(KEY);
    } catch {
      return kept; // it keeps nothing: save says so
    }
    if (text !== null) {
      try {
        const read = JSON.parse(text);
        if (!isKept(read)) throw new SyntaxError("not the shape of reviews");
        kept = merge(kept, read);
      } catch {
        setAside(text);
      }
    }
    return kept;
  }

  function setAside(text) {
    const aside = `${KEY}.broken-${Date.now()}`;
    storage().setItem(aside, text);
    storage().removeItem(KEY);
    problem = `What this browser had kept of your reviews is damaged. It was set aside as “${aside}”, and you begin anew.`;
  }

  return {
    load,
    problem: () => problem,
    save(news) {
      kept = merge(load(), news);
      try {
        storage().setItem(KEY, JSON.stringify(kept));
      } catch {
        problem = "This browser keeps nothing for this page: what you review now is forgotten when you leave it.";
      }
    },
    watch(changed) {
      const other = (event) => event.key === KEY && changed();
      addEventListener("storage", other);
      return () => removeEventListener("storage", other);
    },
  };
}

const PATIENCE = 5000; // milliseconds
const NO_ANSWER =
  "The kernel does not answer, so what you review now is not saved yet. Stay on this page. If this does not go away, restart the kernel and run all cells: then it is saved.";
const UNTOLD = Symbol.for("normalization-and-momentum.untold"); // on the page, for the widget that comes after this one

/** In a notebook: Python writes the file, and says what is in it. Reviews that it has not heard of are told again. */
function kernelStore(model) {
  let untold = globalThis[UNTOLD] ?? NOTHING;
  let number = 0;
  let waiting = 0;
  let silence = "";
  let changed = () => {};

  function heard(message) {
    if (message.saved !== number) return;
    clearTimeout(waiting);
    untold = NOTHING;
    delete globalThis[UNTOLD];
    silence = "";
    changed();
  }

  function silent() {
    silence = NO_ANSWER;
    changed();
  }

  function save(news) {
    untold = globalThis[UNTOLD] = merge(untold, news);
    number += 1;
    clearTimeout(waiting);
    waiting = setTimeout(silent, PATIENCE);
    try {
      model.send({ number, kept: untold });
    } catch {
      silent(); // the kernel was restarted, and knows nothing of this widget
    }
  }

  return {
    load: () => merge(model.get("kept"), untold),
    problem: () => silence || model.get("problem"),
    save,
    watch(told) {
      changed = told;
      const events = { "change:kept": told, "change:problem": told, "msg:custom": heard };
      for (const [name, hears] of Object.entries(events)) model.on(name, hears);
      if (untold !== NOTHING) save(NOTHING);
      return () => {
        clearTimeout(waiting);
        for (const [name, hears] of Object.entries(events)) model.off(name, hears);
      };
    },
  };
}

// ---------------------------------------------------------------------------- the page

/**
 * Show the review in `host`. data: {cards, days: [{number, title, address}], anki, place}, `anki` being the cards as a
 * file for Anki and `place` a sentence that says where reviews are kept. keys: whose keys are listened to, the page's or,
 * without one, those of the review alone. Returns a function that takes it away.
 */
function mount(host, data, store, keys = null) {
  let asked = false; // for new cards
  let shown = null; // the card
  let open = false; // its back

  const problem = make("p", { className: "problem", role: "alert", hidden: true });
  const count = make("p", { className: "count" });
  const bar = make("progress", { "aria-label": "Done today" });
  const from = make("p", { className: "from" });
  const front = make("div", { className: "front" });
  const back = make("div", { className: "back" });
  const link = make("a", { target: "_blank", rel: "noopener" });
  const answer = make("div", { className: "answer" }, back, make("p", {}, link));
  const card = make("div", { className: "card", tabIndex: -1, role: "group", "aria-label": "Card" }, from, front, answer);
  const show = make("button", { type: "button", className: "show", textContent: "Show answer", "aria-keyshortcuts": "Space Enter" });
  const buttons = GRADES.map((grade, place) => {
    const wait = make("small");
    const button = make("button", { type: "button", "aria-keyshortcuts": place + 1 }, make("b", { textContent: grade }), wait);
    button.addEventListener("click", () => rate(grade));
    return { grade, wait, button };
  });
  const grades = make("div", { className: "grades", role: "group", "aria-label": "How well did you know it?" }, ...buttons.map(({ button }) => button));
  const idle = make("p", { className: "idle", tabIndex: -1 });
  const learn = make("button", { type: "button", className: "learn" });
  const heard = make("p", { className: "heard", "aria-live": "polite" });
  const boxes = data.days.map(({ number, title }) => {
    const box = make("input", { type: "checkbox", value: number });
    box.addEventListener("change", choose);
    return { number, box, label: make("label", { title }, box, ` ${number}`) };
  });
  const days = make("fieldset", {}, make("legend", { textContent: "Days to review" }), ...boxes.map(({ label }) => label));
  const save = make("button", { type: "button", textContent: "Save all cards for Anki" });
  const hint = make("p", { className: "hint", textContent: "Keys: Space shows the answer, 1 to 4 grade it." });
  const element = make("section", { className: "review", "aria-label": "Review of the flashcards" });
  element.append(problem, count, bar, card, show, grades, idle, learn, heard, hint, days, make("p", { className: "place" }, `${data.place} `, save));
  element.dataset.lmSuppressShortcuts = "true"; // else JupyterLab takes the keys for its own
  host.append(element);

  const listened = keys ?? element;
  listened.addEventListener("keydown", press);
  show.addEventListener("click", turn);
  learn.addEventListener("click", begin);
  save.addEventListener("click", download);
  const leave = store.watch(refresh);
  refresh();
  const timer = setInterval(() => !shown && refresh(), MINUTE); // a day may have begun

  function tell(sentence) {
    problem.hidden = !sentence;
    if (problem.textContent !== sentence) problem.textContent = sentence;
  }

  /** Show what is first in the queue; a card that is open stays, unless it was reviewed elsewhere. */
  function refresh() {
    const [kept, now] = [store.load(), new Date()];
    tell(store.problem());
    const found = plan(data.cards, kept, now, asked);
    if (!(open && found.queue.includes(shown))) {
      shown = found.queue[0] ?? null;
      open = false;
    }
    count.textContent = shown ? describe(found) : "";
    bar.max = Math.max(1, found.done + found.queue.length);
    bar.value = found.done;
    idle.textContent = shown ? "" : rest(found, now);
    learn.textContent = `Learn ${WORDS[found.fresh]} new ${found.fresh === 1 ? "card" : "cards"}`;
    for (const { number, box } of boxes) box.checked = !kept.left_out.days.includes(number);
    for (const each of [count, bar, card, hint]) each.hidden = !shown;
    idle.hidden = Boolean(shown);
    learn.hidden = Boolean(shown) || !found.fresh;
    show.hidden = !shown || open;
    answer.hidden = grades.hidden = !open;
    if (shown && !open) draw(kept, now);
    return found;
  }

  function draw(kept, now) {
    const { title, address } = data.days.find(({ number }) => number === shown.day);
    from.textContent = shown.mistake ? `Day ${shown.day}, from check` : `Day ${shown.day}`;
    front.innerHTML = shown.front;
    back.innerHTML = shown.back;
    link.textContent = `Day ${shown.day}: ${title}`;
    link.href = address;
    link.hidden = !address;
    inLab(link, address);
    const wait = waits(kept.cards[shown.id], now);
    for (const each of buttons) each.wait.textContent = wait[each.grade];
  }

  function turn() {
    open = true;
    refresh();
    card.focus();
  }

  function rate(grade) {
    const [kept, now] = [store.load(), new Date()];
    const entry = reviewed(kept.cards[shown.id], grade, now);
    open = false;
    store.save({ ...NOTHING, cards: { [shown.id]: entry } });
    const { queue } = refresh();
    heard.textContent = `${grade}: again in ${span(new Date(entry.due) - new Date(entry.last_review))}. ${counted(queue.length, "card", "cards")} left today.`;
    (shown ? card : idle).focus();
  }

  function begin() {
    asked = true;
    refresh();
    card.focus();
  }

  function choose() {
    const left = boxes.filter(({ box }) => !box.checked).map(({ number }) => number);
    open = false;
    store.save({ ...NOTHING, left_out: { days: left, at: new Date().toISOString() } });
    refresh();
  }

  function download() {
    const address = URL.createObjectURL(new Blob([data.anki], { type: "text/plain" }));
    make("a", { href: address, download: "normalization-and-momentum.txt" }).click();
    setTimeout(() => URL.revokeObjectURL(address), MINUTE);
  }

  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !shown) return;
    const typed = event.target.closest?.("input:not([type=checkbox]), textarea, select");
    const pressed = event.target.closest?.("a, button, input, summary"); // has Space and Enter itself
    const grade = GRADES[Number(event.key) - 1];
    if (grade && open && !typed) rate(grade);
    else if ((event.key === " " || event.key === "Enter") && !open && !typed && !pressed) turn();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  return () => {
    clearInterval(timer);
    leave();
    listened.removeEventListener("keydown", press);
    element.remove();
  };
}

/** In JupyterLab, a link to a notebook beside this one opens it in the same window. */
function inLab(link, address) {
  const found = location.pathname.match(/\/lab\b.*?\/tree\/(.*\/)?[^/]*\.ipynb$/);
  if (!found) return;
  link.dataset.commandlinkerCommand = "docmanager:open";
  link.dataset.commandlinkerArgs = JSON.stringify({ path: decodeURIComponent(found[1] ?? "") + address });
}

/** As anywidget wants it. */
function render({ model, el }) {
  const data = Object.fromEntries(["cards", "days", "anki", "place"].map((name) => [name, model.get(name)]));
  return mount(el, data, kernelStore(model));
}

/** As a page of the site wants it. */
function onPage(host, data) {
  return mount(host, data, browserStore(() => localStorage), document);
}

export { counted, describe, merge, mount, onPage, plan, readKept, render, rest, reviewed, span, waits };
