"""Every lecture in a browser: it shows, every explorer moves, nothing is asked of the network.

The set-up and the explorers are run; all else is seen as it is stored. nbval runs all cells of every lecture,
tests/browser/test_lab.py all cells of one in a browser, and tests/browser/test_study.py its study aids.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import ARTEFACTS, EXPLORER, FAILED, Notebook, screenshot
from playwright.sync_api import Page, expect

ROOT = Path(__file__).resolve().parent.parent.parent
LECTURES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("course/day*.ipynb"))


@pytest.fixture(scope="module")
def start(lab, desk) -> Page:
    """JupyterLab, in which one lecture is opened after the other from the start page."""
    desk.goto(lab.first_page)
    return desk


@pytest.fixture(params=LECTURES, ids=lambda path: Path(path).stem.split("_")[0])
def opened(request, lab, start) -> Iterator[tuple[Notebook, list[str], list]]:
    """A lecture, opened from the start page, and what is asked meanwhile of the network and of the kernel."""
    asked, sent = [], []
    listeners = {
        "request": lambda request: asked.append(request.url),
        "websocket": lambda socket: socket.on("framesent", lambda frame: sent.append(frame)),
    }
    for event, listener in listeners.items():
        start.on(event, listener)
    index = Notebook(start, lab.folder / "course/index.ipynb", ARTEFACTS)
    index.panel.locator(f'a[href*="{Path(request.param).name}"]').first.click()
    lecture = Notebook(start, lab.folder / request.param, ARTEFACTS)
    yield lecture, asked, sent
    if FAILED in request.node.stash:
        screenshot(start, ARTEFACTS, request.node.name)
    lecture.close()
    for event, listener in listeners.items():
        start.remove_listener(event, listener)


def test_lecture_shows_and_its_explorers_move(lab, opened):
    lecture, asked, sent = opened
    lecture.run_live(EXPLORER)
    assert lecture.errors() == []

    explorers = lecture.within(".explorer")
    expect(explorers).not_to_have_count(0)
    before = len(sent)
    for explorer in explorers.all():
        slider = explorer.get_by_role("slider").first
        stood = slider.get_attribute("aria-valuetext")
        said = explorer.locator(".takeaway").inner_text()
        slider.focus()
        # One of the two ends is where it may stand already.
        slider.press("ArrowRight")
        if slider.get_attribute("aria-valuetext") == stood:
            slider.press("ArrowLeft")
        expect(slider).not_to_have_attribute("aria-valuetext", stood)
        explorer.get_by_role("button", name="Reset").click()
        expect(slider).to_have_attribute("aria-valuetext", stood)
        expect(explorer.locator(".takeaway")).to_have_text(said)
    assert len(sent) == before  # nothing was asked of the kernel
    assert lecture.errors() == []
    assert [url for url in asked if not url.startswith((lab.url, "data:", "blob:"))] == []
