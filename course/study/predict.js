    const gate = JSON.parse(root.querySelector(".predict-gate").textContent);
    const KEY = "predictions", FILE = "predictions.json", VERSION = 1;
    const SVG = "http://www.w3.org/2000/svg";

    // ---- elements and numbers

    function make(tag, properties = {}, ...children) {
      const element = document.createElement(tag);
      for (const [name, value] of Object.entries(properties)) {
        if (name in element) element[name] = value;
        else element.setAttribute(name, value);
      }
      element.append(...children);
      return element;
    }

    function draw(tag, attributes, ...children) {
      const element = document.createElementNS(SVG, tag);
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      element.append(...children);
      return element;
    }

    /** Two significant digits, as a person writes them. */
    function number(value) {
      const size = Math.abs(value);
      if (value === 0) return "0";
      if (size < 1e-4 || size >= 1e6) {
        const [mantissa, exponent] = value.toExponential(1).split("e");
        return `${Number(mantissa)}e${Number(exponent)}`.replaceAll("-", "−");
      }
      const rounded = Number(value.toPrecision(size >= 10 && size < 1000 ? 3 : 2));
      return String(rounded).replace("-", "−");
    }

    const written = (value) => `${number(value)}${gate.unit}`;
    const distance = (gap) => (gate.unit.trim() === "%" ? `${number(gap)} points` : written(gap));
    const forward = (value) => (gate.log ? Math.log(value) : value);
    const backward = (value) => (gate.log ? Math.exp(value) : value);
    const [lowest, highest] = [forward(gate.low), forward(gate.high)];
    const share = (value) => (forward(value) - lowest) / (highest - lowest);
    const valueAt = (part) => backward(lowest + part * (highest - lowest));
    const clamp = (part) => Math.min(1, Math.max(0, part));

    /** "low", "close" or "high": a guess against what was measured. */
    function against(guess, measured) {
      const gap = forward(guess) - forward(measured);
      const near = gate.log ? Math.log(gate.close) : gate.close;
      return Math.abs(gap) <= near * (1 + 1e-9) ? "close" : gap < 0 ? "low" : "high";
    }

    // ---- what is kept: in the browser, and in Jupyter in a file beside the lecture too

    function kept() {
      try {
        const data = JSON.parse(localStorage.getItem(KEY));
        if (data?.version === VERSION && typeof data.gates === "object") return data.gates;
      } catch {
        // damaged, or the browser keeps nothing
      }
      return window.coursePredictionsKept ?? {};
    }

    function keep(gates) {
      window.coursePredictionsKept = gates; // all there is where the browser keeps nothing
      try {
        localStorage.setItem(KEY, JSON.stringify({ version: VERSION, gates }));
      } catch {
        // the page works without
      }
    }

    /** Of each gate the later answer. */
    function merged(one, other) {
      const both = { ...one };
      for (const [name, entry] of Object.entries(other ?? {})) {
        if (!(both[name]?.at >= entry?.at)) both[name] = entry;
      }
      return both;
    }

    /** The address of the file in Jupyter's contents, where the lecture is what the window shows. */
    function fileAddress() {
      const config = document.getElementById("jupyter-config-data");
      const shown = location.pathname.match(/\/(?:lab(?:\/workspaces\/[^/]+)?\/tree|notebooks)\/(.*\/)?([^/]+)\.ipynb$/);
      if (!config || !shown?.[2].startsWith(gate.id.split(":")[0])) return null;
      return `${JSON.parse(config.textContent).baseUrl}api/contents/${shown[1] ?? ""}${FILE}`;
    }

    async function request(address, body) {
      const token = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/)?.[1] ?? "";
      const answer = await fetch(address, {
        method: body ? "PUT" : "GET",
        headers: { "X-XSRFToken": token, "Content-Type": "application/json" },
        ...(body && { body: JSON.stringify(body) }),
      });
      return answer.ok ? answer.json() : null;
    }

    /** Read the file, put to it what the browser knows, and write it where that is more. One at a time. */
    function shareWithFile() {
      const address = fileAddress();
      if (!address) return Promise.resolve();
      const before = window.coursePredictions ?? Promise.resolve();
      window.coursePredictions = before.then(async () => {
        try {
          // A folder's list says whether the file is there; asking for what is not there is logged as an error.
          const folder = await request(`${address.slice(0, -FILE.length - 1)}?type=directory`);
          const there = folder?.content?.some((entry) => entry.name === FILE);
          let old = {};
          if (there) {
            const stored = await request(`${address}?type=file&format=text`);
            const data = JSON.parse(stored.content);
            if (data?.version !== VERSION || typeof data.gates !== "object") return; // not ours to write over
            old = data.gates;
          }
          const all = merged(old, kept());
          keep(all);
          const content = JSON.stringify({ version: VERSION, gates: all }, null, 1);
          if (Object.keys(all).some((name) => old[name]?.at !== all[name].at)) {
            await request(address, { type: "file", format: "text", content });
          }
        } catch {
          // a server that does not answer, or a damaged file: the browser has kept it
        }
      });
      return window.coursePredictions;
    }

    /** The same once for all gates of a page as it opens. */
    function readFile() {
      const address = fileAddress();
      const read = (window.coursePredictionsRead ??= {});
      return address ? (read[address] ??= shareWithFile()) : Promise.resolve();
    }

    // ---- what stands behind the gate

    const place = root.closest(".jp-Cell, main > *") ?? root;
    const notebook = place.parentElement;

    /** Hide what stands below closed gates, each up to the next heading. */
    function arrange() {
      let closed = false;
      for (const cell of notebook.children) {
        if (cell.querySelector(":scope .jp-RenderedMarkdown > :is(h1, h2, h3):first-child") || cell.matches(".words:has(> :is(h1, h2, h3):first-child)")) closed = false;
        cell.classList.toggle("predict-behind", closed);
        if (cell.querySelector(".study-predict[data-closed]")) closed = true;
      }
    }

    function setClosed(closed) {
      root.toggleAttribute("data-closed", closed);
      if (place !== root) arrange();
    }

    /** An address that leads behind the gate opens it for this visit. */
    function followAddress() {
      if (!location.hash) return;
      arrange();
      const target = document.getElementById(decodeURIComponent(location.hash.slice(1)))?.closest("main > *");
      if (target?.classList.contains("predict-behind") && place.compareDocumentPosition(target) & Node.DOCUMENT_POSITION_FOLLOWING) {
        setClosed(false);
        target.scrollIntoView();
      }
    }

    // ---- the kinds: each makes its fields, and shows a guess beside what was measured

    const names = Object.fromEntries(gate.items.map((item) => [item.key, item.text]));
    const withText = (element, text) => Object.assign(element, { innerHTML: text });
    const group = "predict" + Math.random().toString(36).slice(2);

    function choose(touched) {
      const box = make("div", { className: "predict-choices", role: "radiogroup", "aria-label": "Your prediction" });
      for (const item of gate.items) {
        const input = make("input", { type: "radio", name: group, value: item.key });
        input.addEventListener("change", touched);
        box.append(make("label", { "data-key": item.key }, input, withText(make("span"), item.text), make("small")));
      }
      const inputs = [...box.querySelectorAll("input")];
      return {
        box,
        guess: () => inputs.find((input) => input.checked)?.value ?? null,
        show(guess) {
          for (const input of inputs) {
            const [yours, right] = [input.value === guess, input.value === gate.measured];
            input.checked = yours;
            input.disabled = true;
            input.parentElement.classList.toggle("right", right);
            input.parentElement.classList.toggle("off", yours && !right);
            input.parentElement.querySelector("small").textContent = right && yours ? "you said so" : right ? "this is what comes out" : yours ? "your prediction" : "";
          }
          return gate.items.find((item) => item.key === (guess ?? gate.measured)).says;
        },
      };
    }

    function order(touched) {
      let now = gate.items.map((item) => item.key);
      if (String(now) === String(gate.measured)) now.push(now.shift());
      const box = make("ol", { className: "predict-order", "aria-label": "Your order, first to last" });
      let done = false;
      function move(key, by) {
        const at = now.indexOf(key);
        if (at + by < 0 || at + by >= now.length) return;
        now.splice(at, 1);
        now.splice(at + by, 0, key);
        render();
        const button = box.children[at + by].querySelector(by < 0 ? ".up" : ".down");
        (button.disabled ? box.children[at + by].querySelector("button:enabled") : button).focus();
        touched();
      }
      function render() {
        box.replaceChildren(...now.map((key, at) => {
          const row = make("li", {}, withText(make("span"), names[key]));
          if (done) return row;
          const plain = row.textContent;
          for (const [name, by, sign] of [["up", -1, "↑"], ["down", 1, "↓"]]) {
            const button = make("button", { type: "button", className: name, disabled: at + by < 0 || at + by >= now.length, "aria-label": `Move ${plain} ${name}` }, sign);
            button.addEventListener("click", () => move(key, by));
            row.append(button);
          }
          return row;
        }));
      }
      render();
      return {
        box,
        guess: () => [...now],
        show(guess) {
          done = true;
          now = [...gate.measured];
          render();
          if (!guess) return gate.says.right;
          [...box.children].forEach((row, at) => {
            const yours = guess.indexOf(now[at]);
            row.className = yours === at ? "right" : "off";
            row.append(make("small", {}, yours === at ? "you said so" : `you: place ${yours + 1}`));
          });
          return String(guess) === String(gate.measured) ? gate.says.right : gate.says.wrong;
        },
      };
    }

    function cells(touched) {
      const chosen = new Set();
      const right = new Set(gate.measured.map(String));
      const head = make("tr", {}, make("td"), ...gate.columns.map((name) => make("th", { scope: "col" }, name)));
      const table = make("table", { className: "predict-cells" }, head);
      const buttons = new Map();
      gate.rows.forEach((row, i) => {
        const line = make("tr", {}, make("th", { scope: "row" }, row));
        gate.columns.forEach((column, j) => {
          const key = String([i, j]);
          const button = make("button", { type: "button", "aria-pressed": "false", "aria-label": `${row}, ${column}` });
          button.addEventListener("click", () => {
            chosen[chosen.has(key) ? "delete" : "add"](key);
            button.setAttribute("aria-pressed", String(chosen.has(key)));
            touched();
          });
          buttons.set(key, button);
          line.append(make("td", {}, button));
        });
        table.append(line);
      });
      return {
        box: make("div", { className: "predict-wide" }, table),
        guess: () => [...chosen].sort().map((key) => key.split(",").map(Number)),
        show(guess) {
          const yours = new Set((guess ?? gate.measured).map(String));
          for (const [key, button] of buttons) {
            const [is, said] = [right.has(key), yours.has(key)];
            button.disabled = true;
            button.setAttribute("aria-pressed", String(said));
            button.className = is && said ? "right" : is ? "missed" : said ? "off" : "";
            button.textContent = is && said ? "✓" : is ? "○" : said ? "✗" : "";
            const word = is && said ? "right" : is ? "missed" : said ? "not so" : "rightly left out";
            button.setAttribute("aria-label", `${button.getAttribute("aria-label")}: ${word}`);
          }
          const missed = [...right].some((key) => !yours.has(key));
          const extra = [...yours].some((key) => !right.has(key));
          return missed ? gate.says.missed : extra ? gate.says.extra : gate.says.right;
        },
      };
    }

    function value(touched) {
      const STEPS = 200;
      const field = make("input", { type: "range", min: 0, max: STEPS, value: STEPS / 2, "aria-label": "Your prediction" });
      const output = make("output", {}, "?");
      const box = make("div", { className: "predict-value" }, field, make("small", {}, written(gate.low)), output, make("small", {}, written(gate.high)));
      const now = () => (gate.whole ? Math.round : Number)(valueAt(field.value / STEPS));
      let moved = false;
      field.addEventListener("input", () => {
        moved = true;
        output.textContent = written(now());
        field.setAttribute("aria-valuetext", written(now()));
        touched();
      });
      function track(label, at, kind) {
        const dot = make("i", { className: kind });
        dot.style.left = `${100 * clamp(share(at))}%`;
        return make("div", { className: "predict-track" }, make("span", {}, label), make("b", {}, dot), make("span", {}, written(at)));
      }
      return {
        box,
        guess: () => (moved ? now() : null),
        show(guess) {
          box.className = "predict-tracks";
          box.replaceChildren(...(guess === null ? [] : [track("you", guess, "yours")]), track("measured", gate.measured, "measured"));
          if (guess !== null) return told(guess, gate.measured);
          const why = reason();
          const isSaid = why.split(/(?<=[.?!])\s+/)[0].includes(written(gate.measured));
          return isSaid ? why : `It is ${written(gate.measured)}. ${why}`.trim();
        },
      };
    }

    /** The reason behind what was measured, without what is said to whoever has guessed it. */
    function reason() {
      const said = gate.says.close.split(/(?<=[.?!])\s+/).filter((one) => !/^(Right|Close|Yes|So |It ends)|\byou\b|\{g/i.test(one));
      return filled(said.join(" "), { measured: gate.measured }, "");
    }

    /** The sentence about the gap. */
    function told(guess, measured) {
      const gap = gate.log ? Math.max(guess / measured, measured / guess) : Math.abs(guess - measured);
      return filled(gate.says[against(guess, measured)], { guess, measured }, gate.log ? `${number(gap)} times` : distance(gap));
    }

    /** A sentence with its {guess}, {measured} and {gap}. */
    function filled(text, values, gap) {
      return text.replaceAll("{gap}", gap).replace(/\{(guess|measured)\}/g, (_, name) => written(values[name]));
    }

    // A drawn curve against the measured one, all along it; the twin of course.study.predict.compare.

    const MOVES = { up: ["rises", "rise"], down: ["falls", "fall"] };
    const xOf = (x) => (gate.log_x ? Math.log(x) : x);
    const height = (y) => (gate.log && !(y > 0) ? 0 : clamp(share(y))); // in the drawing: 0 below, 1 above

    /** The measured value at a place, between its neighbours as the line is drawn. */
    function measuredAt(x) {
      const points = gate.measured[0].points.filter(([at]) => !gate.log_x || at > 0).sort((one, other) => one[0] - other[0]);
      const after = points.findIndex(([at]) => at >= x);
      if (after < 1) return after ? points.at(-1)[1] : points[0][1];
      const [[x0, y0], [x1, y1]] = [points[after - 1], points[after]];
      const part = (xOf(x) - xOf(x0)) / (xOf(x1) - xOf(x0));
      if (part === 1 || y0 === y1) return y1;
      return gate.log && !(y0 > 0 && y1 > 0) ? y0 : backward(forward(y0) + part * (forward(y1) - forward(y0)));
    }

    /** The rises and falls of a curve, each larger than what counts as near. */
    function moves(heights, near) {
      const found = [];
      let [low, high] = [heights[0], heights[0]]; // since the last turn
      for (const at of heights) {
        [low, high] = [Math.min(low, at), Math.max(high, at)];
        const move = at - low > near ? "up" : high - at > near ? "down" : null;
        if (!move || move === found.at(-1)) continue;
        found.push(move);
        [low, high] = [at, at];
      }
      return found;
    }

    /** "rises", "falls, then rises" … */
    function shape(found, many = 0) {
      const words = found.map((move) => MOVES[move][many]);
      if (!words.length) return many ? "hardly change" : "hardly changes";
      if (words.length > 3) return `${many ? "turn" : "turns"} ${words.length - 1} times`;
      return words.length === 1 ? words[0] : `${words.slice(0, -1).join(", ")}, then ${words.at(-1)}`;
    }

    function compare(guess) {
      const range = gate.log ? Math.log(gate.high / gate.low) : gate.high - gate.low;
      const near = ((gate.log ? Math.log(gate.close) : gate.close) / range) * (1 + 1e-9);
      const along = gate.x.map((x, at) => ({ x, drawn: guess[at], is: measuredAt(x) })).sort((one, other) => one.x - other.x);
      for (const place of along) place.gap = height(place.drawn) - height(place.is);
      const sizes = along.map(({ gap }) => Math.abs(gap));
      const mean = sizes.reduce((sum, size) => sum + size, 0) / sizes.length;
      const furthest = along[sizes.findIndex((size) => size >= Math.max(...sizes) - 1e-9)];
      const first = along.find(({ gap }) => Math.abs(gap) > near);
      const [yours, its] = [moves(along.map(({ drawn }) => height(drawn)), near), moves(along.map(({ is }) => height(is)), near)];
      const isClose = mean <= near && Math.abs(furthest.gap) <= 2 * near;
      const outcome = isClose ? "close" : String(yours) === String(its) ? "level" : "shape";
      return { outcome, along, mean: mean * range, furthest, largest: Math.abs(furthest.gap) * range, first, yours, its };
    }

    /** The sentences about the gap between two curves: how far apart, where, and in what shape. */
    function gapOf({ outcome, along, mean, furthest, largest, first, yours, its }) {
      const size = gate.log ? `${number(Math.exp(largest))} times` : distance(largest);
      const average = gate.log ? `a factor of ${number(Math.exp(mean))}` : distance(mean);
      if (outcome === "close") return size === (gate.log ? "1 times" : distance(0)) ? "Close all along." : `Close all along: at most ${size} off, at ${number(furthest.x)}.`;
      const sentences = [`Furthest off at ${number(furthest.x)}: you drew ${written(furthest.drawn)}, it is ${written(furthest.is)}, ${size} too ${furthest.gap < 0 ? "low" : "high"}.`];
      if (first === furthest || !first) sentences.push(`On average the curves are ${average} apart.`);
      else sentences.push(`The curves part ${first === along[0] ? "from the start" : `at ${number(first.x)}`}, by ${average} on average.`);
      sentences.push(String(yours) === String(its) ? `Both ${shape(its, 1)}.` : `Yours ${shape(yours)}; the measured one ${shape(its)}.`);
      return sentences.join(" ");
    }

    /** The measured curve in words, for whoever drew none. */
    function curveInWords() {
      const { along, its } = compare(gate.x.map(measuredAt));
      const [from, to] = [along[0], along.at(-1)];
      return `It ${shape(its)}: ${written(from.is)} at ${number(from.x)}, ${written(to.is)} at ${number(to.x)}.`;
    }

    function curve(touched) {
      const [LEFT, RIGHT, TOP, BOTTOM] = [70, 14, 12, 44];
      const STEPS = 40;
      const count = gate.x.length;
      const parts = Array(count).fill(0.5);
      let result = null; // {guess: values or null}, once shown
      let [width, tall] = [560, 270];
      const every = [...gate.x, ...(gate.measured.flatMap(({ points }) => points.map(([x]) => x)))].filter((x) => !gate.log_x || x > 0);
      const [first, last] = [Math.min(...every.map(xOf)), Math.max(...every.map(xOf))];
      const ends = Math.max(...every);
      const across = (x) => LEFT + ((xOf(x) - first) / (last - first)) * (width - LEFT - RIGHT);
      const down = (part) => TOP + (1 - part) * (tall - TOP - BOTTOM);
      const box = make("div", { className: "predict-curve" });
      const svg = draw("svg", { role: "group", "aria-label": `${gate.y_label} against ${gate.x_label}; draw your curve`, "data-lm-suppress-shortcuts": "true" });
      box.append(svg);

      function ticks() {
        if (!gate.log) return [0, 0.25, 0.5, 0.75, 1].map((part) => gate.low + part * (gate.high - gate.low));
        const [from, to] = [Math.ceil(Math.log10(gate.low) - 1e-9), Math.floor(Math.log10(gate.high) + 1e-9)];
        const every = Math.ceil((to - from) / 6) || 1;
        const found = [];
        for (let exponent = from - 1; exponent <= to; exponent += every) {
          found.push(10 ** exponent);
          if (to - from < 3) found.push(3 * 10 ** exponent); // few decades
        }
        return found.filter((tick) => tick >= gate.low * (1 - 1e-9) && tick <= gate.high * (1 + 1e-9));
      }

      function line(points, attributes) {
        const steps = points.filter(([x]) => !gate.log_x || x > 0).map(([x, y], at) => {
          const part = gate.log && y <= 0 ? -1 : share(y);
          return `${at ? "L" : "M"}${across(x).toFixed(1)},${down(Math.min(3, Math.max(-2, part))).toFixed(1)}`;
        });
        return draw("path", { d: steps.join(""), fill: "none", "clip-path": `url(#${group})`, ...attributes });
      }

      function set(at, part) {
        parts[at] = clamp(part);
        render();
        touched();
      }

      function render() {
        const focused = svg.contains(document.activeElement) ? document.activeElement.dataset.at : null;
        svg.setAttribute("viewBox", `0 0 ${width} ${tall}`);
        const clip = draw("clipPath", { id: group }, draw("rect", { x: LEFT, y: TOP - 3, width: width - LEFT - RIGHT, height: tall - TOP - BOTTOM + 6 }));
        const drawn = [draw("defs", {}, clip)];
        for (const tick of ticks()) {
          const y = down(share(tick));
          drawn.push(draw("line", { x1: LEFT, x2: width - RIGHT, y1: y, y2: y, class: "grid" }), draw("text", { x: LEFT - 12, y: y + 4, "text-anchor": "end" }, written(tick)));
        }
        // Where something is drawn, and where the measured curves end; what has no room is left out.
        const taken = [];
        for (const x of [...gate.x, ends]) {
          if (taken.some((other) => Math.abs(across(other) - across(x)) < 34)) continue;
          taken.push(x);
          drawn.push(draw("text", { x: across(x), y: tall - BOTTOM + 17, "text-anchor": "middle" }, number(x)));
        }
        drawn.push(draw("text", { x: (LEFT + width - RIGHT) / 2, y: tall - 6, "text-anchor": "middle", class: "axis" }, gate.x_label));
        drawn.push(draw("text", { x: 12, y: (TOP + tall - BOTTOM) / 2, "text-anchor": "middle", class: "axis", transform: `rotate(-90 12 ${(TOP + tall - BOTTOM) / 2})` }, gate.y_label));
        const guess = result ? result.guess : parts.map(valueAt);
        if (guess) drawn.push(line(gate.x.map((x, at) => [x, guess[at]]), { class: "yours" }));
        if (result) gate.measured.forEach(({ points }, at) => drawn.push(line(points, { class: `measured other${at}` })));
        else {
          gate.x.forEach((x, at) => {
            const handle = draw("circle", { cx: across(x), cy: down(parts[at]), r: 7, class: "handle", tabindex: 0, role: "slider", "data-at": at,
              "aria-label": `${gate.y_label} at ${number(x)}`, "aria-valuemin": gate.low, "aria-valuemax": gate.high, "aria-valuenow": valueAt(parts[at]), "aria-valuetext": written(valueAt(parts[at])) });
            handle.addEventListener("keydown", (event) => {
              const by = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5 }[event.key];
              if (!by) return;
              event.preventDefault();
              set(at, parts[at] + by / STEPS);
            });
            drawn.push(draw("circle", { cx: across(x), cy: down(parts[at]), r: 18, class: "grip" }), handle);
          });
        }
        svg.replaceChildren(...drawn);
        if (focused !== null) svg.querySelector(`[data-at="${focused}"]`)?.focus();
      }

      function place({ clientX, clientY }) {
        const frame = svg.getBoundingClientRect();
        return [((clientX - frame.left) * width) / frame.width, ((clientY - frame.top) * tall) / frame.height];
      }

      function sweep(event) {
        if (result) return;
        const [x, y] = place(event);
        const near = gate.x.map((at) => Math.abs(across(at) - x));
        set(near.indexOf(Math.min(...near)), 1 - (y - TOP) / (tall - TOP - BOTTOM));
      }
      // A finger that goes up or down scrolls the page; one that goes across draws, and so does a tap, and whatever starts
      // on a handle, or over one of the ends: there a curve is begun, and a steep one goes up or down at once.
      function keepThePage(event) {
        if (result) return;
        const [x] = place(event.touches[0]);
        const atAnEnd = [gate.x[0], gate.x.at(-1)].some((end) => Math.abs(across(end) - x) < 20);
        if (atAnEnd || event.target.matches(".grip, .handle")) event.preventDefault();
      }
      svg.addEventListener("touchstart", keepThePage, { passive: false });
      svg.addEventListener("pointerdown", (event) => {
        if (event.pointerType === "touch") return;
        event.preventDefault();
        sweep(event);
      });
      svg.addEventListener("pointermove", (event) => event.buttons && sweep(event));
      svg.addEventListener("pointerup", sweep);
      new ResizeObserver(([{ contentRect }]) => {
        const wide = Math.min(640, Math.round(contentRect.width));
        if (wide < 100 || wide === width) return;
        [width, tall] = [wide, Math.max(220, Math.min(290, Math.round(0.5 * wide)))];
        render();
      }).observe(box);
      render();
      return {
        box,
        guess: () => parts.map(valueAt),
        show(guess) {
          result = { guess };
          svg.setAttribute("role", "img");
          render();
          const key = make("p", { className: "predict-key" });
          if (guess) key.append(make("span", { className: "yours" }, "your curve"));
          gate.measured.forEach(({ name }, at) => key.append(make("span", { className: `measured other${at}` }, name)));
          box.append(key);
          const values = gate.x.map((x, at) => `At ${number(x)}: measured ${written(measuredAt(x))}${guess ? `, your curve ${written(guess[at])}` : ""}.`);
          svg.setAttribute("aria-label", values.join(" "));
          if (!guess) return `${curveInWords()} ${gate.says.shape}`;
          const compared = compare(guess);
          return `${gapOf(compared)} ${gate.says[compared.outcome]}`;
        },
      };
    }

    // ---- the card

    const card = live.querySelector(".predict-card");
    let opened = null; // the answer that is shown

    function ask() {
      opened = null;
      const commit = make("button", { type: "button", className: "predict-commit", disabled: true }, "This is my prediction");
      const pass = make("button", { type: "button", className: "predict-pass" }, "Show me");
      const fields = { choose, order, cells, value, curve }[gate.kind](() => (commit.disabled = false));
      if (gate.kind === "order") commit.disabled = false;
      commit.addEventListener("click", () => answer(fields, { guess: fields.guess() }));
      pass.addEventListener("click", () => answer(fields, { guess: null }));
      card.replaceChildren(
        make("p", { className: "predict-head" }, "Predict"),
        withText(make("div", { className: "predict-ask" }), gate.ask),
        fields.box,
        make("p", { className: "predict-buttons" }, commit, pass, make("small", {}, "The rest of this section appears then.")),
      );
      card.setAttribute("role", "group");
      card.setAttribute("aria-label", "Prediction");
      setClosed(true);
      return fields;
    }

    function show(fields, guess) {
      opened = JSON.stringify(guess);
      const says = fields.show(guess);
      const again = make("button", { type: "button", className: "predict-again" }, "Predict again");
      again.addEventListener("click", () => {
        const fields = ask();
        card.querySelector(".predict-ask").scrollIntoView({ block: "nearest" });
        fields.box.querySelector("input, button, [tabindex]")?.focus();
      });
      const sentence = withText(make("p", { className: "predict-says", tabIndex: -1 }), says);
      card.querySelector(".predict-buttons").replaceWith(sentence, make("p", { className: "predict-buttons" }, again));
      setClosed(false);
      return sentence;
    }

    function answer(fields, { guess }) {
      keep(merged(kept(), { [gate.id]: { answer: guess, at: new Date().toISOString() } }));
      show(fields, guess).focus({ preventScroll: true });
      shareWithFile();
    }

    /** Show what was answered before, here or in another window; an answer that no longer fits is asked anew. */
    function recall() {
      const entry = kept()[gate.id];
      if (!entry || JSON.stringify(entry.answer) === opened) return;
      try {
        show(ask(), entry.answer);
      } catch {
        ask();
      }
    }

    ask();
    recall();
    readFile().then(() => opened === null && recall());
    // JupyterLab attaches cells and renders their headings one after the other; each notebook is watched by one gate.
    if (place !== root && !notebook.gatesAreWatched) {
      notebook.gatesAreWatched = true;
      let waiting = 0;
      new MutationObserver(() => {
        clearTimeout(waiting);
        waiting = setTimeout(arrange, 150);
      }).observe(notebook, { childList: true, subtree: true });
    }
    if (place.matches("main > *")) {
      addEventListener("hashchange", followAddress);
      addEventListener("DOMContentLoaded", followAddress); // the target may stand below
      followAddress();
    }
