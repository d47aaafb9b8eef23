// What the pages of the site do: light or dark, search, explorers and voices when the reader comes near them.
const explorerData = {};
let searchIndex = null;
const up = document.body.dataset.up;

/** Have the browser keep a text; the page works as well where it keeps nothing. */
function keep(name, text) {
  try {
    localStorage.setItem(name, text);
  } catch {}
}

document.querySelector("button.theme").addEventListener("click", () => {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  keep("theme", theme);
});

/** Load a script of the site once; pages that were opened from a disk may not fetch, but they may do this. */
function load(address) {
  return new Promise((loaded, failed) => {
    const script = document.createElement("script");
    Object.assign(script, { src: up + address, onload: loaded, onerror: failed });
    document.head.append(script);
  });
}

// ---------------------------------------------------------------------------- search

const field = document.getElementById("search");
const found = document.getElementById("found");
let loaded = null; // the index, once it is asked for

async function search() {
  loaded ??= load("assets/search.js");
  await loaded;
  // Only now: while the index was on its way, more may have been typed.
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) {
    found.hidden = true;
    return;
  }
  const hits = searchIndex
    .map((entry) => ({ entry, score: score(entry, words) }))
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score)
    .slice(0, 12);
  found.replaceChildren(...(hits.length ? hits.map(({ entry }) => hit(entry, words)) : ["Nothing has all of these words."]));
  found.hidden = false;
}

/** 0 where a word is missing; a word in a heading counts for more, and more so if the heading is that word. */
function score({ heading, text }, words) {
  const [head, body] = [heading.toLowerCase(), text.toLowerCase()];
  let sum = 0;
  for (const word of words) {
    const [above, below] = [head.includes(word), body.split(word).length - 1];
    if (!above && !below) return 0;
    sum += (above ? 10 : 0) + Math.min(below, 5);
  }
  return head === words.join(" ") ? sum + 100 : sum;
}

function hit({ address, page, anchor, heading, text }, words) {
  const link = document.createElement("a");
  link.href = `${up}${address}#${encodeURIComponent(anchor)}`;
  const near = Math.max(0, text.toLowerCase().indexOf(words[0]) - 40);
  const at = near && text.indexOf(" ", near) + 1; // whole words
  const bold = Object.assign(document.createElement("b"), { textContent: heading });
  const where = Object.assign(document.createElement("small"), { textContent: page });
  const cut = Object.assign(document.createElement("span"), { textContent: `${at ? "… " : ""}${text.slice(at, at + 110).replace(/\S*$/, "")}…` });
  link.append(bold, where, cut);
  return link;
}

field.addEventListener("input", search);
field.addEventListener("keydown", (event) => {
  if (event.key === "Escape") found.hidden = true;
});
field.form.addEventListener("submit", (event) => {
  event.preventDefault();
  found.querySelector("a")?.click();
});
document.addEventListener("click", (event) => {
  if (!event.target.closest(".search")) found.hidden = true;
  const days = document.querySelector("details.days");
  if (!event.target.closest("details.days")) days.open = false;
});
addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.closest("input, textarea, select")) {
    event.preventDefault();
    field.focus();
  }
});

// ---------------------------------------------------------------------------- what is wider than the page

// What may be, and what a screen reader calls it; a figure is a link and has a name.
const WIDE = { ".wide": "Table", ".formula": "Formula", ".code pre, .words pre": "Code", "pre.printed": "Output", ".figure": "" };

/** Let a box that scrolls sideways show so at its edges, and be reached with the keyboard, while there is more of it. */
function sideways(box, name) {
  const frame = document.createElement("div");
  frame.className = "sideways";
  box.replaceWith(frame);
  frame.append(box);
  function look() {
    const more = box.scrollWidth - box.clientWidth;
    const scrolls = more > 1;
    box.classList.toggle("scrolls", scrolls);
    frame.classList.toggle("more-before", scrolls && box.scrollLeft > 1);
    frame.classList.toggle("more-after", scrolls && box.scrollLeft < more - 1);
    if (!name) return;
    const states = { tabindex: "0", role: "group", "aria-label": `${name}, scrolls sideways` };
    for (const [state, value] of Object.entries(states)) {
      if (scrolls) box.setAttribute(state, value);
      else box.removeAttribute(state);
    }
  }
  box.addEventListener("scroll", look, { passive: true });
  const sizes = new ResizeObserver(look);
  for (const element of [box, ...box.children]) sizes.observe(element);
}

for (const [kind, name] of Object.entries(WIDE)) {
  for (const box of document.querySelectorAll(kind)) sideways(box, name);
}

// ---------------------------------------------------------------------------- where the reader is

const lecture = Number(document.body.dataset.lecture);
const PLACE = "normalization-and-momentum.place";

/** Keep which section of the lecture is read, for the start page; called when scrolling rests. */
function keepPlace() {
  const link = [...document.querySelectorAll(".contents a")].findLast(({ hash }) => {
    const heading = document.getElementById(decodeURIComponent(hash.slice(1)));
    return heading.getClientRects().length && heading.getBoundingClientRect().top < innerHeight / 2;
  });
  keep(PLACE, JSON.stringify({ lecture, anchor: link?.hash ?? "", section: link?.textContent ?? "" }));
}

/** Whether this lecture was the last to be read: opened again, it stands at its top, and its place is kept. */
function wasRead() {
  try {
    return JSON.parse(localStorage.getItem(PLACE)).lecture === lecture;
  } catch {
    return false;
  }
}

if (lecture) {
  let rest;
  if (!wasRead()) keepPlace();
  addEventListener("scroll", () => {
    clearTimeout(rest);
    rest = setTimeout(keepPlace, 200);
  }, { passive: true });
}

// ---------------------------------------------------------------------------- explorers, voices, the review

async function wake(place) {
  const name = place.dataset.explorer;
  await load(`explorers/${name}.js`);
  const { module, spec, data } = explorerData[name];
  const kit = explorers.kit;
  const host = document.createElement("div");
  place.append(host);
  kit.mount(host, explorers.modules[module], spec, kit.decode(data));
  place.querySelector("img").remove();
}

addEventListener("DOMContentLoaded", () => {
  const near = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        near.unobserve(target);
        wake(target);
      }
    },
    { rootMargin: "800px" },
  );
  for (const root of document.querySelectorAll(".study-predict")) {
    const live = root.querySelector(".study-live");
    gate(root, live);
    live.hidden = false;
    root.querySelector(".study-static").hidden = true;
  }
  document.querySelectorAll(".explorer-place").forEach((place) => near.observe(place));
  for (const host of document.querySelectorAll(".listen")) {
    const parts = JSON.parse(host.querySelector("script").textContent);
    listening.render({ model: { get: () => parts }, el: host });
  }
  for (const host of document.querySelectorAll(".start-place")) {
    starting.onPage(host, JSON.parse(host.querySelector("script").textContent));
  }
  for (const host of document.querySelectorAll(".review-place")) {
    reviewing.onPage(host, JSON.parse(host.querySelector("script").textContent));
  }
  for (const host of document.querySelectorAll(".parsons-place")) {
    ordering.mount(host, JSON.parse(host.querySelector("script").textContent));
  }
});
