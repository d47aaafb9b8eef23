"""How soon does an explorer answer, how soon is a page there? Prints what is reached and what is asked for.

    python benchmarks/explorers.py [--presses 40] [--only day26]

Each explorer is measured three times in one run: on its page of the site, opened from the disk; in a real
JupyterLab; and, in the same JupyterLab, as people usually write it: `interact` around the explorer's Python
twin, two arrays of its state drawn by matplotlib, `plt.show()`. A key is pressed on the first slider; the
time runs from the key event to the end of the frame that shows the new state. While a slider is dragged, the
longest time between two frames is taken, and what the page sends to the kernel is counted.

Then the start page in JupyterLab and beside it a notebook with one number, a day's page of the site on one
core (until its predictions are passed and its first explorer is moved), and how many bytes of JavaScript a
page needs.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import inspect
import json
import os
import re
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "browser")]

from lab import Lab, Notebook  # noqa: E402
from playwright.sync_api import Browser, Locator, Page, Playwright, sync_playwright  # noqa: E402
from tqdm import tqdm  # noqa: E402

from course import explorers  # noqa: E402
from course.explorers.pictures import FLAGS, find_chromium  # noqa: E402
from course.site.build import build  # noqa: E402
from tests.gates import open_gates  # noqa: E402

# After the callbacks of a frame have run and it has been handed on, a message arrives.
WATCH = """root => {
    const painted = (then) => requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = then;
        channel.port2.postMessage(0);
    });
    window.measured = [];
    root.addEventListener('keydown', (event) => {
        painted(() => window.measured.push(performance.now() - event.timeStamp));
    }, true);
    window.frames_ = (milliseconds) => new Promise((done) => {
        const gaps = [], begin = performance.now();
        let last = begin;
        requestAnimationFrame(function next(now) {
            gaps.push(now - last);
            last = now;
            if (now - begin < milliseconds) requestAnimationFrame(next);
            else done(Math.max(...gaps.slice(2)));
        });
    });
}"""
# Its picture comes from the kernel: it is there when it has been decoded.
WATCH_PICTURE = """root => {
    const pictures = () => [...root.querySelectorAll('img')].map(one => one.src).join();
    window.measured = [];
    let started, before, waiting = false;
    root.addEventListener('keydown', (event) => {
        started = event.timeStamp; before = pictures(); waiting = true;
    }, true);
    new MutationObserver(async () => {
        const now = pictures();
        if (!waiting || !now || now === before) return;
        waiting = false;
        const from = started;
        await Promise.all([...root.querySelectorAll('img')].map(one => one.decode().catch(() => 0)));
        window.measured.push(performance.now() - from);
    }).observe(root, {subtree: true, childList: true, attributes: true, attributeFilter: ['src']});
}"""
BY_INTERACT = """\
import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
from {module} import {name}

explorer = {name}()


def draw(**places):
    settings = {{name: explorer.controls[name].values[place] for name, place in places.items()}}
    state = explorer.compute(**settings).values()
    arrays = [np.ravel(value) for value in state if hasattr(value, "shape")]
    arrays = [array for array in arrays if array.size > 1 and array.dtype.kind in "fiub"]
    figure, panels = plt.subplots(1, 2, figsize=(8, 4))
    for axes, array in zip(panels, arrays):
        axes.plot(array)
    figure.suptitle(", ".join(f"{{name}} {{value}}" for name, value in settings.items()))
    plt.show()


_ = widgets.interact(
    draw,
    **{{
        name: widgets.IntSlider(control.start, 0, len(control.values) - 1, description=control.label)
        for name, control in explorer.controls.items()
    }},
)
"""


@dataclass
class Times:
    """Milliseconds of one place: a median and a 95th percentile, and the longest frame while dragging."""

    median: float
    late: float
    longest: float = float("nan")

    @classmethod
    def of(cls, times: list[float], longest: float = float("nan")) -> Times:
        return cls(statistics.median(times), statistics.quantiles(times, n=20)[-1], longest)


def found(only: str) -> list[tuple[str, str]]:
    """(module, function) of every explorer of the days whose name holds `only`."""
    pairs = []
    for path in sorted(Path(explorers.__file__).parent.glob("day*.py")):
        module = importlib.import_module(f"course.explorers.{path.stem}")
        if only in path.stem:
            functions = inspect.getmembers(module, inspect.isfunction)
            pairs += [(module.__name__, name) for name, one in functions if name.endswith("_explorer")]
    return pairs


def press(page: Page, handle: Locator, presses: int, value: str, ends: tuple[str, str]) -> list[float]:
    """Press an arrow key on a slider again and again, up to its end and down; milliseconds of each."""
    handle.focus()
    page.wait_for_timeout(30)  # as before each key: the frame that shows the focus is none of a key's
    key = "ArrowRight"
    for _ in range(presses):
        now = handle.evaluate(value)
        key = {str(handle.evaluate(ends[1])): "ArrowLeft", str(handle.evaluate(ends[0])): "ArrowRight"}.get(
            str(now), key
        )
        before = page.evaluate("window.measured.length")
        handle.press(key)
        page.wait_for_function(f"window.measured.length > {before}", timeout=10_000)
        page.wait_for_timeout(30)
    return page.evaluate("window.measured")


def explored(page: Page, explorer: Locator, presses: int) -> Times:
    """An explorer of ours, by keys and by dragging its first slider."""
    explorer.evaluate(WATCH)
    slider = explorer.get_by_role("slider").first
    times = press(page, slider, presses, "e => e.value", ("e => e.min", "e => e.max"))
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 8, middle)
    page.mouse.down()
    page.evaluate("() => { window.longest = frames_(1500); }")
    started = time.perf_counter()
    step = 0
    while time.perf_counter() - started < 1.5:
        step += 1
        page.mouse.move(box["x"] + 8 + (box["width"] - 16) * abs(step % 80 - 40) / 40, middle)
    longest = page.evaluate("() => window.longest")
    page.mouse.up()
    return Times.of(times, longest)


def by_interact(page: Page, cell: Locator, presses: int) -> Times:
    """The usual way, by keys."""
    cell.locator(".jp-Cell-outputWrapper").evaluate(WATCH_PICTURE)
    handle = cell.locator(".noUi-handle").first
    now, low, high = (f"e => e.getAttribute('aria-value{which}')" for which in ("now", "min", "max"))
    return Times.of(press(page, handle, presses, now, (low, high)))


def cell_of(source: str, number: int) -> dict:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": f"cell-{number}",
        "metadata": {},
        "outputs": [],
        "source": source,
    }


def in_lab(browser: Browser, lab: Lab, folder: Path, module: str, name: str, presses: int):
    """(ours, by interact, messages to the kernel while ours was moved)."""
    sources = (f"from {module} import {name}\n{name}()", BY_INTERACT.format(module=module, name=name))
    path = folder / "course" / f"{name}.ipynb"
    notebook = json.loads((folder / "course" / "index.ipynb").read_text(encoding="utf-8"))
    cells = [cell_of(source, number) for number, source in enumerate(sources)]
    path.write_text(json.dumps({**notebook, "cells": cells}))
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    sent: list[str] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append("")))
    page.goto(lab.address(f"course/{name}.ipynb"))
    opened = Notebook(page, path, folder)
    opened.run_all()
    page.wait_for_timeout(1000)
    before = len(sent)
    ours = explored(page, opened.cell(0).locator(".explorer"), presses)
    messages = len(sent) - before
    theirs = by_interact(page, opened.cell(1), presses)
    page.close()
    return ours, theirs, messages


def on_site(browser: Browser, site: Path, presses: int, only: str) -> dict[str, Times]:
    """By the name of its module, each explorer that the site shows."""
    times = {}
    for path in sorted(path for path in site.glob("day*.html") if only in path.stem):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(path.as_uri())
        open_gates(page)
        for place in page.locator(".explorer-place").all():
            place.scroll_into_view_if_needed()
            explorer = place.locator(".explorer")
            explorer.wait_for()
            page.wait_for_timeout(500)
            stored = (site / "explorers" / f"{place.get_attribute('data-explorer')}.js").read_text()
            module = re.search(r'"module":"(\w+)"', stored)[1]
            times[module] = explored(page, explorer, presses)
        page.close()
    return times


def start_pages(browser: Browser, lab: Lab, folder: Path, times: int = 5) -> tuple[list[float], list[float]]:
    """Seconds from the address of `make lab` until all is shown as saved: (the start page, a bare one).

    The bare one has one cell and one number in the start page's place: what JupyterLab itself takes. Each
    time the browser's cache is empty and JupyterLab's workspace is the first one.
    """
    page_file = folder / "course" / "index.ipynb"
    (workspace,) = lab.workspaces.iterdir()
    first = workspace.read_bytes()
    index = page_file.read_text(encoding="utf-8")
    one = {"output_type": "execute_result", "execution_count": 1, "data": {"text/plain": "1"}, "metadata": {}}
    bare = json.dumps({**json.loads(index), "cells": [{**cell_of("1", 0), "outputs": [one]}]})
    taken: dict[str, list[float]] = {index: [], bare: []}
    for _ in range(times):
        for text, seconds in taken.items():
            page_file.write_text(text, encoding="utf-8")
            workspace.write_bytes(first)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            started = time.perf_counter()
            page.goto(lab.first_page)
            page.locator(".jp-Notebook-cell .jp-OutputArea-output").last.wait_for(timeout=60_000)
            seconds.append(time.perf_counter() - started)
            page.close()
    page_file.write_text(index, encoding="utf-8")
    return taken[index], taken[bare]


def interactive(playwright: Playwright, chromium: str, site: Path) -> list[float]:
    """Seconds until the first explorer of each day's page has been moved, in a browser that has one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        taken = []
        for path in sorted(site.glob("day*.html")):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            started = time.perf_counter()
            page.goto(path.as_uri())
            place = page.locator(".explorer-place").first
            open_gates(page)
            place.scroll_into_view_if_needed()
            place.locator(".explorer").wait_for()
            place.get_by_role("slider").first.press("ArrowRight")
            taken.append(time.perf_counter() - started)
            page.close()
        browser.close()
    finally:
        os.sched_setaffinity(0, cores)
    return taken


def script_sizes(site: Path) -> list[int]:
    """Compressed bytes of the JavaScript files that each day's page loads."""
    sizes = []
    for path in sorted(site.glob("day*.html")):
        files = re.findall(r'<script[^>]* src="([^"]+)"', path.read_text(encoding="utf-8"))
        sizes.append(sum(len(gzip.compress((site / file).read_bytes())) for file in files))
    return sizes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presses", type=int, default=40)
    parser.add_argument("--only", default="", help="days whose name holds this")
    options = parser.parse_args()
    chromium = find_chromium()
    if not chromium:
        raise SystemExit("This benchmark needs a Chromium, on PATH or named by CHROMIUM.")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site, course = Path(folder, "site"), Path(folder, "lab")
        build(site)
        lab = Lab(ROOT, course)
        try:
            browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
            opened, bare = start_pages(browser, lab, course)
            pages = on_site(browser, site, options.presses, options.only)
            print(
                "milliseconds from a key to its frame, longest frame while dragging, messages to the kernel"
            )
            print(
                f"{'':<30} {'site':^21} {'JupyterLab':^26} {'interact':^14}\n"
                f"{'':<30} {'median':>7}{'95 %':>7}{'drag':>7} {'median':>7}{'95 %':>7}{'drag':>7}{'sent':>5}"
                f" {'median':>7}{'95 %':>7}  faster\n"
                f"{'asked':<30} {'':>7}{17:>7}{33:>7} {'':>7}{20:>7}{33:>7}{0:>5} {'':>14}      10"
            )
            for module, name in tqdm(found(options.only)):
                explorer = getattr(importlib.import_module(module), name)().module
                ours, theirs, sent = in_lab(browser, lab, course, module, name, options.presses)
                here = pages.get(explorer, Times(*[float("nan")] * 3))
                tqdm.write(
                    f"{explorer:<30} {here.median:7.1f}{here.late:7.1f}{here.longest:7.0f} "
                    f"{ours.median:7.1f}{ours.late:7.1f}{ours.longest:7.0f}{sent:5d} "
                    f"{theirs.median:7.0f}{theirs.late:7.0f}  {theirs.median / ours.median:.0f}",
                    file=sys.stdout,
                )
            browser.close()
            print(
                f"start page in JupyterLab: {statistics.median(opened):.1f} s (2.5 s); "
                f"a notebook with one number: {statistics.median(bare):.1f} s"
            )
            alone = interactive(playwright, chromium, site)
            print(
                f"a day's page, one core: {statistics.median(alone):.1f} s, at most {max(alone):.1f} s (2 s)"
            )
            print(
                f"JavaScript of a page, compressed: at most {max(script_sizes(site)) / 1000:.0f} kB (150 kB)"
            )
        finally:
            lab.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
