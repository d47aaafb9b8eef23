"""The start page in a browser: it shows what saved files say, brings itself up to date, and leads on."""

from datetime import UTC, datetime

import pytest
from lab import ARTEFACTS, Notebook, copy_into
from playwright.sync_api import Locator, expect

from tests.students import damaged, half_way

INDEX = "course/index.ipynb"
LEFT = (".review.json", "course/predictions.json")


@pytest.fixture
def folder(lab, root):
    """The folder of the course; what a test saves there is taken back."""
    yield lab.folder
    for name in LEFT:
        (lab.folder / name).unlink(missing_ok=True)
    for path in (lab.folder / "exercises").glob("day*/*.ipynb"):
        copy_into(root / path.relative_to(lab.folder), path)


@pytest.fixture(scope="module")
def opened(lab, desk) -> Notebook:
    """The start page, opened once for the tests that leave it as it is."""
    desk.goto(lab.address(INDEX))
    return Notebook(desk, lab.folder / INDEX, ARTEFACTS)


@pytest.fixture
def index(opened, last_view) -> Notebook:
    """The start page in front, whatever a test has opened from it."""
    opened.tab.click()
    return opened


def in_front(index: Notebook) -> Locator:
    """The tab of the page that is in front."""
    return index.page.locator("#jp-main-dock-panel .lm-TabBar-tab.lm-mod-current")


def test_a_new_student_is_told_where_to_begin_and_sees_no_code(index):
    start = index.panel.locator(".study-start")
    expect(start).to_contain_text("Begin with the lecture of day 25, then write standardize.")
    expect(index.panel.locator(".cm-content").filter(visible=True)).to_have_count(0)
    start.get_by_role("link", name="lecture of day 25").click()
    expect(in_front(index)).to_contain_text("day25_")


def test_one_button_brings_it_up_to_date(folder, open_notebook):
    index = open_notebook(INDEX)
    start = index.panel.locator(".study-start")
    again = start.get_by_role("button", name="Bring up to date")
    expect(again).to_be_visible()

    half_way(folder, datetime.now(UTC))
    again.click()
    expect(start.locator(".start-next")).to_contain_text("Review the 15 cards due today", timeout=60_000)
    expect(start).to_contain_text("3 from check, 12 to repeat")
    expect(start.locator("li").first).to_contain_text("eps is added to the standard deviation")
    row = index.panel.locator(".study-table").last.locator("tr").filter(has_text="unstable gradients")
    expect(row).to_contain_text("6 of ")
    expect(row.locator(".study-track > div")).not_to_have_attribute("style", "width: 0%")

    damaged(folder)
    again.click()
    expect(start.locator(".start-problem")).to_have_count(2, timeout=60_000)
    expect(start).to_contain_text("Day 27: The exercise notebook is damaged")
    expect(start.locator(".start-next")).to_contain_text("Review the 3 cards due today")
    assert index.errors() == []


def test_map_leads_to_exercises_and_glossary(index):
    index.panel.locator('a[href*="day27.ipynb"]').first.click()
    expect(in_front(index)).to_contain_text("day27.ipynb")
