"""A page that holds an explorer."""

import base64
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from course.explorers import modules
from course.explorers.explorer import Explorer

CSS = (modules.FOLDER / "kit.css").read_text(encoding="utf-8")
HELP = Path(__file__).with_name("page.js")


def pytest_collection_modifyitems(items):
    """Whatever asks for a page needs a Chromium."""
    for item in items:
        if Path(__file__).parent in item.path.parents and "show" in item.fixturenames:
            item.add_marker(pytest.mark.browser)


def _decoded(state):
    """What `page.plain` has made of a state, with its arrays."""
    if isinstance(state, dict):
        if state.keys() == {"float64"}:
            return np.frombuffer(base64.b64decode(state["float64"]))
        return {name: _decoded(value) for name, value in state.items()}
    return [_decoded(value) for value in state] if isinstance(state, list) else state


class Shown:
    """A page in which one explorer stands, of the width of JupyterLab's column."""

    def __init__(self, page: Page, explorer: Explorer):
        self.page, self.explorer, self.errors = page, explorer, []
        page.on("pageerror", self._failed)
        page.set_content(f"<!doctype html><html><head><style>{CSS}</style></head><body></body></html>")
        page.add_script_tag(path=HELP)
        self.add(explorer)

    def _failed(self, error: Exception) -> None:
        self.errors.append(str(error))

    def leave(self) -> None:
        """Leave the page blank, as it came."""
        self.page.remove_listener("pageerror", self._failed)
        self.page.mouse.move(0, 0)
        self.page.goto("about:blank")

    def add(self, explorer: Explorer) -> None:
        """Put an explorer below what the page shows; the page then speaks of this one."""
        # Names in the order in which a notebook stores them, which is not that of Python's dictionaries.
        stored = json.dumps({"spec": explorer.spec, "data": explorer.data}, sort_keys=True)
        self.page.evaluate(
            "([text, stored]) => page.mount(text, stored)", [modules.bundle(explorer.module), stored]
        )

    def states(self, settings: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What the module computes for each of the settings."""
        return _decoded(self.page.evaluate("(all) => page.states(all)", settings))

    def pictures(self, settings: list[dict[str, Any]]) -> list[str]:
        """A short name for what is shown at each of the settings, one after the other."""
        return self.page.evaluate("(all) => page.pictures(all)", settings)

    def reset(self) -> str:
        """Press Reset; a short name for what is then shown."""
        self.page.get_by_role("button", name="Reset").click()
        return self.page.evaluate("() => { page.explorer.flush(); return page.shown(); }")


@pytest.fixture(scope="session")
def blank(browser) -> Iterator[dict[tuple[int, bool], list[Page]]]:
    """Blank pages by width and touch: a document in one of them is as new, and needs no new process."""
    pages: dict[tuple[int, bool], list[Page]] = {}
    yield pages
    for page in itertools.chain.from_iterable(pages.values()):
        page.context.close()


@pytest.fixture
def show(browser, blank) -> Iterator:
    """Put an explorer into a page: `show(explorer, width=820, touch=False) -> Shown`."""
    used = []

    def show(explorer: Explorer, width: int = 820, touch: bool = False) -> Shown:
        waiting = blank.setdefault((width, touch), [])
        if not waiting:
            context = browser.new_context(viewport={"width": width, "height": 900}, has_touch=touch)
            waiting.append(context.new_page())
        shown = Shown(waiting.pop(), explorer)
        used.append((waiting, shown))
        return shown

    yield show
    for waiting, shown in used:
        shown.leave()
        waiting.append(shown.page)
