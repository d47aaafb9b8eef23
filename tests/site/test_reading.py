"""What a reader meets on the way through a lecture, most of all on a phone."""

import re
from itertools import pairwise

import pytest

from course.days import DAYS
from tests.gates import open_gates
from tests.site.conftest import reading

PHONE = 390
LECTURES = [f"{day.name}.html" for day in DAYS]
#: Boxes that may scroll sideways: their kind, how much of them is hidden, and what says so.
BOXES = """() => [...document.querySelectorAll(".sideways")].filter((each) => each.checkVisibility())
.map((frame) => {
  const box = frame.firstElementChild;
  return {
    of: frame.closest("[id^=cell]")?.id,
    more: box.scrollWidth - box.clientWidth,
    before: getComputedStyle(frame, "::before").content,
    after: getComputedStyle(frame, "::after").content,
    isLink: box.matches("a"),
    focusable: box.tabIndex === 0,
    label: box.getAttribute("aria-label") ?? "",
  };
})"""


UNFRAMED = """() => [...document.querySelectorAll("main *")].filter((box) =>
  !box.closest(".explorer, .study, .sideways, .unseen, math")
  && box.scrollWidth > box.clientWidth + 1
  && ["auto", "scroll"].includes(getComputedStyle(box).overflowX)
).map((box) => box.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module", params=LECTURES)
def lecture(request, site, browser):
    """A lecture on a phone with all gates open, for tests that look and touch nothing."""
    with reading(site, browser) as read:
        page = read(request.param, width=PHONE)
        open_gates(page)
        yield page


def test_what_is_wider_than_a_phone_shows_that_it_scrolls_and_keys_reach_it(lecture):
    boxes = lecture.evaluate(BOXES)
    wide = [box for box in boxes if box["more"] > 1]
    assert wide and len(wide) < len(boxes)
    for box in boxes:
        scrolls = box["more"] > 1
        assert ("›" in box["after"]) == scrolls, box
        assert "‹" not in box["before"], box
        if not box["isLink"]:
            assert box["focusable"] == scrolls == ("scrolls sideways" in box["label"]), box
    # Nothing scrolls sideways without a frame that says so.
    assert lecture.evaluate(UNFRAMED) == []


@pytest.mark.parametrize("day", [day.name for day in DAYS])
def test_the_formulas_of_an_exercise_fit_a_phone(read, day):
    formulas = read(f"exercises/{day}.html", width=PHONE).locator(".formula")
    cut = "all => all.filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.textContent)"
    assert formulas.count() and formulas.evaluate_all(cut) == []


def test_at_the_end_of_a_wide_table_the_arrow_points_back(read):
    page = read("day34.html", width=PHONE)
    frame = page.locator("#cell-map .sideways")
    frame.locator("> *").focus()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("frame => !frame.classList.contains('more-after')", arg=frame.element_handle())
    assert "more-before" in frame.get_attribute("class")


def test_on_a_desk_a_table_that_fits_is_no_stop_for_keys(read):
    page = read("day34.html", width=1280)
    table = page.locator("#cell-map .wide")
    page.wait_for_function("box => !box.hasAttribute('tabindex')", arg=table.element_handle())
    assert table.get_attribute("role") is None


def test_a_phone_shows_verdicts_figures_and_gaps_as_they_are_to_be_read(lecture):
    verdicts = lecture.locator(".printed.sentences")
    assert verdicts.count() > 0
    for verdict in verdicts.all():  # they wrap
        assert re.search(r"\d of 5 seeds: ", verdict.text_content())
        assert verdict.evaluate("box => box.scrollWidth <= box.clientWidth")
    widths = lecture.locator(".figure:not(.parted) img").evaluate_all("all => all.map((each) => each.width)")
    assert min(widths, default=480) >= 480
    texts = lecture.locator(".words").evaluate_all(
        """all => all.map((each) => {
          const copy = each.cloneNode(true);
          copy.querySelectorAll("code, pre").forEach((code) => code.remove());
          return copy.textContent;
        })"""
    )
    assert [found for text in texts for found in re.findall(r".{20}\d %", text)] == []
    for says in lecture.locator(".predict-says").all_text_contents():  # nothing twice
        sentences = re.split(r"(?<=[.?!])\s+", says)
        assert len(set(sentences)) == len(sentences), says
        first, second = [re.findall(r"\d[\d.]*", each) for each in [*sentences, ""][:2]]
        assert not first or first != second[: len(first)], says


@pytest.mark.parametrize("address", ("day31.html", "day33.html"))
def test_a_phone_shows_panels_one_after_the_other(read, address):
    page = read(address, width=PHONE)
    open_gates(page)
    parted = page.locator(".figure.parted")
    assert parted.count() > 1
    for figure in parted.all():
        assert figure.evaluate("box => box.scrollWidth <= box.clientWidth")
        places = [panel.bounding_box() for panel in figure.locator(".panel").all()]
        assert len(places) > 1 and min(place["height"] for place in places) > 10
        assert all(place["x"] >= 0 and place["x"] + place["width"] <= PHONE for place in places)
        assert all(a["y"] + a["height"] <= b["y"] + 1 or a["x"] < b["x"] for a, b in pairwise(places))
        assert figure.get_by_role("img").count() == 1  # heard once


def test_on_a_desk_a_picture_of_panels_is_whole(read):
    page = read("day31.html", width=1280)
    open_gates(page)
    figure = page.locator(".figure.parted").first
    assert figure.locator(".panel:visible").count() == 0
    assert figure.get_by_role("img").bounding_box()["width"] > 700
