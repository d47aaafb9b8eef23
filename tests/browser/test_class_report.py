"""The report on a class in a browser: without scripts, on any screen, with names or without."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from graders.classroom import report
from graders.classroom.records import SAME_FOR_ALL, Before, Check, Part, Record
from graders.classroom.report_data import Classroom, Student
from graders.classroom.report_names import Names
from graders.classroom.report_page import Links, as_page
from graders.classroom.similar import Similar
from tests.accessible import violations

CODE = "def batch_norm_forward(x, gamma, beta, eps=1e-5):\n    return (x - x.mean(0)) / x.std(0), None  # <b>"
MESSAGE = "eps is added to the standard deviation, outside the root. It belongs to the variance."


def made_up(count: int = 30) -> report.Report:
    """A class with all that a page can show."""
    students = []
    for number in range(count):
        kind = number % 5
        mistakes = {"eps_outside_root": MESSAGE} if kind in (1, 2) else {}
        behaviour = {"0 y": ["values", 1.0, -0.5, 0.2, 0.4]} if kind == 3 else {}
        outcome = ("passed", "mistake", "mistake", "values", "unattempted")[kind]
        points = (4.0, 3.0, 3.0, 0.0, 0.0)[kind]
        checks = tuple(
            Check(
                f"check_{name}", name, outcome, points, 4.0, "y[0, 1] is 1 and should be 2.", mistakes,
                (Part("the output y", points, 4.0),), behaviour, CODE, SAME_FOR_ALL,
            )
            for name in ("batch_norm_forward", "batch_norm_backward")
        )  # fmt: skip
        before = Before("", {}, {"batch_norm_forward": ["eps_missing"]}) if kind == 1 else None
        record = Record("day26", "", f"{number}", checks, before)
        students.append(Student(f"s{number}", f"Ada Number{number}", [record], [], {"day26": f"id{number}"}))
    found = report.figures(Classroom(Path("/nowhere"), "day26", [*students, Student("late", "Late Comer")]))
    found.similar = [Similar("s1", "s6", 0.9, 20)]
    return found


@pytest.fixture
def opened(browser, tmp_path):
    """The page from the disk: `opened(width, theme)`; nothing is asked of any network."""
    found, contexts, asked = made_up(), [], []
    path = tmp_path / "day26.html"
    path.write_text(as_page(found, Names(found.classroom), Links("../course", "http://hub/{}".format)))

    def opened(width: int = 1200, theme: str = "light", **context):
        contexts.append(
            browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, **context)
        )
        page = contexts[-1].new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [one for one in asked if not one.startswith("file:")] == []


@pytest.mark.parametrize("theme", ("light", "dark"))
@pytest.mark.parametrize("width", (360, 1200))
def test_everybody_can_read_it(opened, width, theme):
    page = opened(width, theme)
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true })")
    assert violations(page, every_rule=True) == ""
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_names_go_with_one_switch_also_without_scripts(opened):
    page = opened(java_script_enabled=False)
    listed = page.locator(".card ul.who").first
    expect(listed).to_contain_text("Ada Number1")
    switch = page.get_by_label("Show names")
    switch.focus()
    page.keyboard.press("Space")
    expect(switch).not_to_be_checked()
    assert "Ada" not in page.locator("main").inner_text()
    assert "S" in listed.inner_text()


def test_a_name_leads_to_the_formgrader(opened):
    link = opened().get_by_role("link", name="Ada Number1", exact=True).first
    assert link.get_attribute("href") == "http://hub/id1"


def test_it_begins_with_what_to_teach(opened):
    teach = opened().get_by_label("What to teach next")
    expect(teach).to_contain_text("eps is added to the standard deviation, outside the root.")
    expect(teach).to_contain_text("12 of 30")
    assert (teach.get_by_role("link").get_attribute("href") or "").startswith("../course/day26_")


def test_on_paper_the_key_has_its_colours_and_nothing_waits_for_a_click(opened):
    page = opened()
    skeletons = page.get_by_text("Write a mistake for this")
    assert skeletons.count() > 0
    page.emulate_media(media="print")
    expect(page.get_by_label("Show names")).to_be_hidden()
    expect(skeletons.first).to_be_hidden()
    colour = "one => getComputedStyle(one).printColorAdjust"
    for piece in (".key.done", ".key.partly", ".bar .done"):
        assert page.locator(piece).first.evaluate(colour) == "exact", piece
