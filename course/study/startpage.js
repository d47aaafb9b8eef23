// The start page on the site: what to do next and what is due, by what this browser keeps.
import { counted, plan, readKept } from "./review.js";

const PREDICTIONS = "predictions";
const PLACE = "normalization-and-momentum.place";
const CARDS_A_MINUTE = 3;
const DAMAGED = "What this browser keeps of your reviews is damaged. Open the review: it sets that aside, and you begin anew.";

/** What the browser keeps under a name; null where there is nothing, or nothing that can be read. */
function stored(storage, name) {
  try {
    return JSON.parse(storage().getItem(name));
  } catch {
    return null;
  }
}

/** How many predictions are kept. */
function predicted(storage) {
  const data = stored(storage, PREDICTIONS);
  return data?.version === 1 && data.gates && typeof data.gates === "object" ? Object.keys(data.gates).length : 0;
}

/**
 * What is to be said, as {next: [text, …, {text, address}], facts: [[name, value, words], …]}, at the time `now`.
 * kept: of the reviews. predictions: how many. place: the lecture that was read last, and its section.
 */
function state({ cards, days }, kept, predictions, place, now) {
  const { queue, learned, next } = plan(cards, kept, now);
  const due = queue.length - learned;
  const known = Object.keys(kept.cards).length;
  const day = days.find(({ number }) => number === place?.lecture);
  const lecture = day
    ? { text: `day ${day.number}${place.section ? `, ${place.section}` : ""}`, address: `${day.address}${place.anchor ?? ""}` }
    : { text: `day ${days[0].number}`, address: days[0].address };
  const go = day ? ["go on with ", lecture] : ["read ", lecture];
  const minutes = Math.max(1, Math.round(due / CARDS_A_MINUTE));
  const review = { text: `${counted(due, "card", "cards")} due today`, address: "review.html" };
  return {
    next: due
      ? ["Review the ", review, `, about ${counted(minutes, "minute", "minutes")}, then `, ...go, "."]
      : [day ? "Go on with " : "Begin with ", lecture, "."],
    facts: [
      ["Cards due", due, due ? "to repeat" : known ? (next ? "the next on another day" : "none to come") : "none learned yet"],
      ["Cards learned", known, `of ${cards.length}`],
      ["Predictions", predictions, "made before a result was shown"],
    ],
  };
}

function make(tag, text, properties = {}) {
  return Object.assign(document.createElement(tag), { textContent: text, ...properties });
}

/** Show it in `host`, and again whenever another tab keeps something. */
function onPage(host, data) {
  const storage = () => localStorage;
  const show = () => {
    const [kept, broken] = readKept(storage);
    const { next, facts } = state(data, kept, predicted(storage), stored(storage, PLACE), new Date());
    const sentence = make("p", "", { className: "start-next" });
    sentence.append(make("strong", "Next"), " ");
    for (const part of next) sentence.append(part.address ? make("a", part.text, { href: part.address }) : part);
    const list = make("dl", "", { className: "start-facts" });
    for (const [name, value, words] of facts) {
      const shown = make("dd", "");
      shown.append(make("b", value), make("small", words));
      const fact = make("div", "");
      fact.append(make("dt", name), shown);
      list.append(fact);
    }
    const problem = broken ? [make("p", DAMAGED, { className: "start-problem" })] : [];
    host.replaceChildren(sentence, list, ...problem);
  };
  addEventListener("storage", show);
  show();
}

export { onPage, state };
