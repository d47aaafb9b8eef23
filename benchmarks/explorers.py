"""How soon do the start page open and an explorer answer? Prints what is reached against what is asked for.

    python benchmarks/explorers.py [--presses 40] [--only day26]

In a real JupyterLab in a headless Chromium, a slider's handle has the focus and an arrow key is pressed; the
time runs from the key event until the new picture is decoded. Beside each explorer, in the same page and the
same run, stands the same figure by `interact` and `plt.show()`, which draws it anew each time.

The start page is open when the last thing on it, the table of progress, is shown as it was saved.
"""

from __future__ import annotations

import argparse
import inspect
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "browser")]

from lab import Lab, Notebook  # noqa: E402
from playwright.sync_api import Browser, Locator, Page, sync_playwright  # noqa: E402
from tqdm import tqdm  # noqa: E402

from course import explorers  # noqa: E402
from course.explorers.pictures import find_chromium  # noqa: E402

WATCH = """root => {
    const pictures = () => [...root.querySelectorAll('img, canvas')].map(one => one.src || '').join();
    window.measured = [];
    let started, before, waiting = false;
    document.addEventListener('keydown', () => {
        started = performance.now(); before = pictures(); waiting = true;
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
import inspect

import ipywidgets as widgets
import {figures} as figures
from {module} import {name}


def remembering(make):
    def __init__(self, *given):
        self.given = given
        make(self, *given)

    return __init__


for drawing in vars(figures).values():
    if inspect.isclass(drawing) and drawing.__name__.endswith("Drawing") and "__init__" in vars(drawing):
        drawing.__init__ = remembering(drawing.__init__)
explorer = {name}()
for control in explorer.controls.values():
    control.unobserve_all("value")


def draw(**settings):
    drawing = type(explorer.drawing)(*explorer.drawing.given)
    drawing.update(explorer._compute(**settings))
    display(drawing.figure)  # what plt.show() does in a notebook


controls = {{
    name: control if isinstance(control, widgets.ValueWidget) else widgets.fixed(control.value)
    for name, control in explorer.controls.items()
}}
_ = widgets.interact(draw, **controls)
"""


def found(only: str) -> list[tuple[str, str]]:
    """(module, function) of every explorer of the days whose name holds `only`."""
    pairs = []
    for path in sorted(Path(explorers.__file__).parent.glob("day*.py")):
        module = f"course.explorers.{path.stem}"
        if only in path.stem:
            functions = inspect.getmembers(__import__(module, fromlist=["_"]), inspect.isfunction)
            pairs += [
                (module, name)
                for name, one in functions
                if name.endswith("_explorer") and one.__module__ == module
            ]
    return pairs


def measured(page: Page, notebook: Notebook, cell: Locator, presses: int) -> list[float]:
    """Milliseconds from each key press to the new picture, at the first slider of a cell.

    The slider goes up to its end and down again.
    """
    area = cell.locator(".jp-Cell-outputWrapper")
    area.evaluate(WATCH)
    notebook.press_slider(cell.locator(".widget-slider").first, "Home")
    page.wait_for_timeout(500)
    page.evaluate("window.measured = []")
    handle = cell.locator(".noUi-handle").first
    key = "ArrowRight"
    for _ in range(presses):
        for end, back in (("max", "ArrowLeft"), ("min", "ArrowRight")):
            if handle.get_attribute("aria-valuenow") == handle.get_attribute(f"aria-value{end}"):
                key = back
        before = page.evaluate("window.measured.length")
        handle.press(key)
        page.wait_for_function(f"window.measured.length > {before}", timeout=10_000)
        page.wait_for_timeout(60)
    return page.evaluate("window.measured")


def opening_times(browser: Browser, lab: Lab, times: int = 3) -> list[float]:
    """Seconds from the address of the start page until all of it, as it was saved, is shown."""
    taken = []
    for _ in range(times):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        started = time.perf_counter()
        page.goto(lab.address("course/index.ipynb"))
        page.locator(".jp-Notebook-cell .jp-OutputArea-output").last.wait_for(timeout=60_000)
        taken.append(time.perf_counter() - started)
        page.close()
    return taken


def cell_of(source: str) -> dict:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": f"cell-{abs(hash(source))}",
        "metadata": {},
        "outputs": [],
        "source": source,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presses", type=int, default=40)
    parser.add_argument("--only", default="", help="days whose name holds this")
    options = parser.parse_args()
    chromium = find_chromium()
    if not chromium:
        raise SystemExit("This benchmark needs a Chromium, on PATH or named by CHROMIUM.")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab = Lab(ROOT, Path(folder))
        try:
            browser = playwright.chromium.launch(
                executable_path=chromium,
                args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
            )
            taken = opening_times(browser, lab)
            print(f"start page opened in {statistics.median(taken):.1f} s, at most {max(taken):.1f} s (3 s)")
            print(f"{'milliseconds, key to picture':<40} {'explorer':>17} {'interact':>17}  faster")
            print(f"{'':<40} {'median':>8} {'95 %':>8} {'median':>8} {'95 %':>8}  (95 % under 80, 2 x)")
            for module, name in tqdm(found(options.only)):
                sources = (
                    f"from {module} import {name}\n{name}()",
                    BY_INTERACT.format(
                        module=module, name=name, figures=module.replace("explorers", "figures")
                    ),
                )
                path = Path(folder, "course", f"{name}.ipynb")
                notebook = json.loads(Path(folder, "course", "index.ipynb").read_text(encoding="utf-8"))
                path.write_text(json.dumps({**notebook, "cells": [cell_of(source) for source in sources]}))
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                page.goto(lab.address(f"course/{name}.ipynb"))
                opened = Notebook(page, path, Path(folder))
                opened.run_all()
                both = [measured(page, opened, opened.cell(place), options.presses) for place in (0, 1)]
                (median, late), (their_median, their_late) = map(summary, both)
                tqdm.write(
                    f"{module.split('.')[-1] + ' ' + name:<40} {median:8.0f} {late:8.0f} {their_median:8.0f}"
                    f" {their_late:8.0f}  {their_median / median:.1f} x",
                    file=sys.stdout,
                )
                page.close()
            browser.close()
        finally:
            lab.stop()
    return 0


def summary(times: list[float]) -> tuple[float, float]:
    """(median, 95th percentile)."""
    return statistics.median(times), statistics.quantiles(times, n=20)[-1]


if __name__ == "__main__":
    raise SystemExit(main())
