"""Lines to put in order on the site: without a kernel, on a phone, in light and dark, with buttons alone."""

import pytest
from playwright.sync_api import expect

from course.study import parsons
from graders.judging import catalogue
from tests.accessible import violations


def address(exercise: str) -> str:
    return f"exercises/{catalogue.day_of(exercise)}.html"


def unfolded(page):
    """The puzzle, once the section has been unfolded in which it stands."""
    page.get_by_role("heading", name="Step by step").click()
    return page.locator(".parsons")


@pytest.mark.parametrize("name", parsons.puzzles())
def test_a_puzzle_is_on_the_page_of_its_exercise_and_folded(read, name):
    page = read(address(name))
    shown = unfolded(page)
    expect(shown.locator("summary")).to_be_visible()
    expect(shown.locator(".take").first).to_be_hidden()
    shown.locator("summary").click()
    puzzle = parsons.load(name)
    choices = sum(1 + bool(line.wrong) for line in puzzle.lines if line.goal)
    expect(shown.locator(".take")).to_have_count(choices)
    assert shown.locator(".given").count() == sum(not line.goal for line in puzzle.lines)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_is_solved_with_buttons_alone(read, width, theme):
    page = read(address("SGD"), width=width, theme=theme)
    shown = unfolded(page)
    shown.locator("summary").click()
    given = shown.locator(".given .line")
    assert given.evaluate_all("lines => lines.every((line) => line.scrollWidth <= line.clientWidth)")
    shown.get_by_role("button", name="self.params = params").click()
    shown.get_by_role("button", name="p = p - self.lr * direction").click()
    # The rest of the page is looked at with the puzzle solved.
    assert violations(page, within=".parsons") == ""
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # The twin takes the place, and the marked line can be moved, indented and taken out.
    shown.get_by_role("button", name="p -= self.lr * direction").click()
    expect(shown.locator(".selected")).to_contain_text("p -= self.lr * direction")
    lines = shown.locator(".solution li")
    expect(lines.nth(2)).to_have_class("moved selected")
    shown.get_by_role("button", name="Move down").click()
    expect(lines.nth(3)).to_have_class("moved selected")
    expect(lines.nth(3).locator(".line .heard")).to_have_text("Line 4 of 5, indented 2 times: ")
    shown.get_by_role("button", name="Indent less").click()
    expect(lines.nth(3).locator(".line .heard")).to_have_text("Line 4 of 5, indented 1 times: ")
    shown.get_by_role("button", name="Take out").click()
    expect(lines).to_have_count(4)

    helped = 0
    while "All steps are right" not in shown.locator(".result").inner_text():
        shown.get_by_role("button", name="Help me on").click()
        helped += 1
        assert helped < 15
    expect(shown.locator(".pool .take[data-twin=false]")).to_have_count(0)
    assert violations(page) == ""
    shown.get_by_role("button", name="Start over").click()
    expect(lines).to_have_count(3)


def test_a_line_is_dragged_to_its_place(read):
    page = read(address("adam_step"))
    page.set_viewport_size({"width": 1280, "height": 1800})
    shown = unfolded(page)
    shown.locator("summary").click()
    shown.locator(".hint").scroll_into_view_if_needed()
    shown.locator('.take[data-id="6"]').drag_to(shown.locator(".given"))
    shown.locator('.take[data-id="5"][data-twin="false"]').drag_to(shown.locator(".given"))
    expect(shown.locator(".moved .line code")).to_have_text(
        ["direction = m_hat / (v_hat.sqrt() + eps)", "w = w - lr * direction"]
    )
    shown.locator('.line[data-id="5"]').drag_to(shown.locator('.line[data-id="6"]'))
    expect(shown.locator(".moved .line code").last).to_have_text("direction = m_hat / (v_hat.sqrt() + eps)")
