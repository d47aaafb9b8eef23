// Reads the lines of one part aloud, sentence by sentence, so that a pause loses one sentence at most
// and no browser's limit on the length of an utterance is met.
const NO_SPEECH = "This browser has no speech, so nothing can be read aloud here. The text is on this page.";
const NO_VOICE = "This browser has no English voice, so nothing can be read aloud here. The text is on this page.";
const FAILED = "The browser's voice has stopped with an error. The text is on this page.";

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// Some browsers fill their list of voices only after it was asked for.
async function englishVoices(speech) {
  const find = () => speech.getVoices().filter((voice) => /^en\b/i.test(voice.lang));
  for (let waited = 0; waited < 1500 && find().length === 0; waited += 100) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return find().sort((a, b) => Number(b.localService) - Number(a.localService));
}

function render({ model, el }) {
  const parts = model.get("parts");
  const speech = window.speechSynthesis;
  let at = 0; // the line that is read, or where reading goes on
  let run = 0; // changes at every start and stop, so that what an old run still reports is ignored
  let state = "stopped";

  const what = make("select", {}, ...parts.map((part, index) => new Option(part.label, index)));
  const speed = make("select", {}, ...[["slow", 0.8], ["normal", 1], ["fast", 1.25]].map((s) => new Option(...s)));
  speed.value = "1";
  // Else the options would be part of the names.
  what.setAttribute("aria-label", "What is read aloud");
  speed.setAttribute("aria-label", "Speed of reading");
  const play = make("button", { type: "button", textContent: "Listen" });
  const pause = make("button", { type: "button", textContent: "Pause" });
  const stop = make("button", { type: "button", textContent: "Stop" });
  const caption = make("p", { className: "study-caption" });
  const message = make("p", { className: "study-message" });
  message.setAttribute("role", "status");
  const bar = make("div", { className: "study-controls" },
    make("label", {}, "Read aloud ", what), make("label", {}, "speed ", speed), play, pause, stop);
  bar.setAttribute("role", "group");
  bar.setAttribute("aria-label", "Read aloud");
  const root = make("div", { className: "study study-listen" }, bar, caption, message);
  root.setAttribute("data-lm-suppress-shortcuts", "true");
  el.append(root);

  const lines = () => parts[Number(what.value)].lines;

  function show(next) {
    state = next;
    root.dataset.state = state;
    play.textContent = state === "paused" ? "Go on" : "Listen";
    play.disabled = state === "reading";
    pause.disabled = state !== "reading";
    stop.disabled = state === "stopped";
    caption.hidden = state === "stopped";
    const line = lines()[at];
    caption.replaceChildren();
    if (line) {
      if (line.who) caption.append(make("strong", { textContent: `${line.who}. ` }));
      caption.append(line.text);
    }
  }

  async function start() {
    message.textContent = "";
    if (!speech || !window.SpeechSynthesisUtterance) {
      message.textContent = NO_SPEECH;
      return;
    }
    const mine = ++run;
    const voices = await englishVoices(speech);
    if (mine !== run) return;
    if (voices.length === 0) {
      message.textContent = NO_VOICE;
      show("stopped");
      return;
    }
    speech.cancel();
    read(mine, voices);
  }

  function read(mine, voices) {
    if (mine !== run) return;
    if (at >= lines().length) return end();
    show("reading");
    const line = lines()[at];
    const second = [...new Set(lines().map((l) => l.who))].indexOf(line.who) % 2 === 1;
    const utterance = new SpeechSynthesisUtterance(line.spoken);
    utterance.voice = second && voices.length > 1 ? voices[1] : voices[0];
    utterance.lang = utterance.voice.lang;
    utterance.rate = Number(speed.value);
    utterance.pitch = second ? 0.85 : 1.1;
    utterance.onend = () => {
      if (mine !== run) return;
      at += 1;
      read(mine, voices);
    };
    utterance.onerror = (event) => {
      if (mine !== run) return;
      run += 1;
      // Another widget has begun to read, or the voice is gone.
      if (!["canceled", "interrupted"].includes(event.error)) message.textContent = FAILED;
      show("paused");
    };
    speech.speak(utterance);
  }

  function quiet(next) {
    const focused = document.activeElement;
    run += 1;
    speech?.cancel();
    show(next);
    // A button that is switched off would lose the focus to the page.
    if (focused?.disabled) play.focus();
  }

  function end() {
    at = 0;
    quiet("stopped");
  }

  play.addEventListener("click", start);
  pause.addEventListener("click", () => quiet("paused"));
  stop.addEventListener("click", end);
  what.addEventListener("change", end);
  show("stopped");
  return () => quiet("stopped");
}

export default { render };
