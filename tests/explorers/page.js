// What the tests ask of a page in which one explorer stands.
const page = {
  /** Mount an explorer from its bundle and from what a notebook stores of it. */
  async mount(text, stored) {
    const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    const { kit, module } = await import(address);
    const { spec, data } = JSON.parse(stored);
    Object.assign(page, { kit, module, spec, data: kit.decode(data) });
    page.explorer = kit.mount(document.body, module, spec, page.data);
  },

  /** Mount it again with a module that calls `first(settings)` before it computes and `then(state)` afterwards. */
  around(first, then = () => {}) {
    const compute = (settings, data) => {
      first(settings);
      const state = page.module.compute(settings, data);
      then(state);
      return state;
    };
    page.explorer.remove();
    page.explorer = page.kit.mount(document.body, { ...page.module, compute }, page.spec, page.data);
  },

  /** How many states are not what they were any more, after all of the settings were computed and drawn. */
  overwritten(all) {
    const states = [];
    page.around(() => {}, (state) => states.push([state, JSON.stringify(page.plain(state))]));
    page.move(all);
    return states.filter(([state, was]) => JSON.stringify(page.plain(state)) !== was).length;
  },

  /** A state as Python reads it: arrays of numbers as the bytes of float64, for there may be many. */
  plain(value) {
    if (value === null || typeof value !== "object") return value;
    const list = ArrayBuffer.isView(value) || Array.isArray(value);
    if (!list) return Object.fromEntries(Object.entries(value).map(([name, inside]) => [name, page.plain(inside)]));
    if (!value.length || !value.every((each) => typeof each === "number")) return Array.from(value, page.plain);
    const bytes = new Uint8Array(Float64Array.from(value).buffer);
    let text = "";
    for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
    return { float64: btoa(text) };
  },

  /** What the module computes for each of the settings. */
  states(all) {
    return all.map((settings) => page.plain(page.module.compute(settings, page.data)));
  },

  /** A short name for what is shown now; alike where all that is shown is alike. */
  shown() {
    const canvases = [...document.querySelectorAll(".picture canvas")].map((canvas) => canvas.toDataURL());
    const words = document.querySelector(".takeaway").textContent;
    const seen = document.querySelector(".picture").cloneNode(true);
    for (const hidden of seen.querySelectorAll('[hidden], [style*="display: none"]')) hidden.remove();
    for (const styled of seen.querySelectorAll("[style]")) {
      styled.setAttribute("style", styled.style.cssText.split(/;\s*/).filter(Boolean).sort().join("; "));
    }
    const text = [words, seen.innerHTML.replaceAll(' style=""', ""), ...canvases].join();
    let number = 0;
    for (let i = 0; i < text.length; i += 1) number = (Math.imul(number, 31) + text.charCodeAt(i)) | 0;
    return `${text.length}:${number}`;
  },

  /** Draw each of the settings, one after the other. */
  move(all) {
    for (const settings of all) {
      page.explorer.set(settings);
      page.explorer.flush();
    }
  },

  /** A short name for what is shown at each of the settings. */
  pictures(all) {
    return all.map((settings) => {
      page.move([settings]);
      return page.shown();
    });
  },

  /** The elements of the picture, but for those of axes. */
  elements() {
    return [...document.querySelectorAll(".picture *:not(.axis *)")];
  },

  /** Pictures without a name for those who cannot see them. */
  nameless() {
    return [...document.querySelectorAll("[role=img]")].filter((each) => !each.getAttribute("aria-label")).length;
  },
};
