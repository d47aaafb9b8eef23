"""Every lecture in a browser: it shows, every explorer moves, nothing is asked of the network.

The set-up and the explorers are run; all else is seen as it is stored. nbval runs all cells of every lecture,
tests/browser/test_lab.py all cells of one in a browser, and tests/browser/test_study.py its study aids.
"""

from pathlib import Path

import pytest
from lab import EXPLORER
from playwright.sync_api import expect

ROOT = Path(__file__).resolve().parent.parent.parent
LECTURES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("course/day*.ipynb"))


@pytest.mark.parametrize("path", LECTURES, ids=lambda path: Path(path).stem.split("_")[0])
def test_lecture_shows_and_its_explorers_move(lab, page, open_notebook, path):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    lecture = open_notebook(path)
    lecture.run_live(EXPLORER)
    assert lecture.errors() == []

    explorers = lecture.panel.locator(".jp-OutputArea-output")
    explorers = explorers.filter(has=page.locator("img.widget-image")).filter(
        has=page.locator(".widget-slider")
    )
    assert explorers.count() >= 1
    for explorer in explorers.all():
        picture = explorer.locator("img.widget-image").first
        before = picture.get_attribute("src")
        slider = explorer.locator(".widget-slider").first
        # One of the two ends is where the slider may stand already.
        for key in ("ArrowLeft", "ArrowRight"):
            lecture.press_slider(slider, key)
            page.wait_for_timeout(300)
            if picture.get_attribute("src") != before:
                break
        expect(picture).not_to_have_attribute("src", before)
        explorer.get_by_role("button", name="Reset").click()
    assert lecture.errors() == []
    assert [url for url in asked if not url.startswith((lab.url, "data:", "blob:"))] == []
