"""Lines to put in order: every order that the page accepts is right when it is executed, and no other is."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from lab import ARTEFACTS, Notebook
from playwright.sync_api import Browser, Page, expect

from course.explorers import modules
from course.study import parsons
from graders.judging import catalogue
from graders.probing.exercise import Draw, Exercise
from tests.solutions import ROOT, namespace

DAY, EXERCISE = "exercises/day26/day26.ipynb", "batch_norm_backward"
#: How many arrangements of each kind are executed.
SAMPLES = 60

Rows = list[dict[str, Any]]


# ---------------------------------------------------------------------------- arrangements


def accepted(puzzle: parsons.Puzzle, chance: random.Random) -> Rows:
    """An order in which every line has what it needs before it, block by block."""

    def block(parent: int | None) -> Iterator[parsons.Line]:
        left = [line for line in puzzle.lines if line.parent == parent]
        done: set[int] = set()
        while left:
            ready = [
                line
                for line in left
                if done.issuperset(line.after)
                and (line.goal or line.id == min(one.id for one in left if not one.goal))
            ]
            line = chance.choice(ready)
            left.remove(line)
            done.add(line.id)
            yield line
            yield from block(line.id)

    return [{"id": line.id, "indent": line.indent, "twin": False} for line in block(None)]


def shuffled(puzzle: parsons.Puzzle, chance: random.Random) -> Rows:
    """An accepted order with one thing changed, most often, or with all lines anywhere."""
    rows = accepted(puzzle, chance)
    moved = [row for row in rows if puzzle.lines[row["id"]].goal]
    match chance.randrange(4):
        case 0:
            places = [place for place, row in enumerate(rows) if row in moved]
            chance.shuffle(moved)
            for place, row in zip(places, moved, strict=True):
                rows[place] = row
        case 1:
            row = chance.choice(moved)
            rows.remove(row)
            rows.insert(chance.randrange(1, len(rows) + 1), row)
        case 2:
            chance.choice(moved)["indent"] += chance.choice((-1, 1))
        case 3:
            rows.remove(chance.choice(moved))
    return rows


def code_of(puzzle: parsons.Puzzle, rows: Rows) -> str:
    lines = [(puzzle.lines[row["id"]], row["indent"]) for row in rows]
    return "\n".join(" " * parsons.INDENT * indent * bool(line.goal) + line.code for line, indent in lines)


def values(exercise: Exercise, candidate: Any) -> Iterator[dict[str, Any]]:
    """What a probe sees of a candidate in float64, case by case."""
    return (dict(exercise.probe(candidate, case.inputs)) for case in exercise.cases(Draw(seed=3)))


def solves(exercise: Exercise, code: str, want: list[dict[str, Any]]) -> bool:
    """Whether the code, executed, does all that the reference does."""
    day = catalogue.day_of(exercise.name)
    found = {**namespace(ROOT / "solutions" / day / f"{day}.ipynb")}
    try:
        exec(code, found)
        parts = tuple(found[name] for name in exercise.candidates)
        return all(map(same, values(exercise, parts if len(parts) > 1 else parts[0]), want))
    except Exception:
        return False


def same(got: dict[str, Any], want: dict[str, Any]) -> bool:
    return got.keys() == want.keys() and all(
        torch.allclose(torch.as_tensor(got[name]).double(), torch.as_tensor(value).double(), 1e-6, 1e-8)
        if isinstance(value, torch.Tensor | float)
        else got[name] == value
        for name, value in want.items()
    )


@pytest.fixture(scope="module")
def blank(browser: Browser) -> Iterator[Page]:
    """A page for all tests of the module alone, each of which writes it anew."""
    page = browser.new_page()
    yield page
    page.close()


@pytest.fixture
def module(blank: Page) -> Page:
    """A page with the module, and nothing else."""
    blank.set_content("<!doctype html><html lang=en><title>Lines</title><main></main>")
    blank.evaluate(
        f"window.ordering = {modules.alone_classic(parsons.MODULE, 'it').removeprefix('const it = ')}"
    )
    return blank


def settled(page: Page, puzzle: parsons.Puzzle, rows: Rows) -> Rows:
    """The rows as the page has them, none indented further than it can be."""
    return page.evaluate("([puzzle, rows]) => ordering.settled(puzzle, rows)", [puzzle.as_data(), rows])


def found(page: Page, puzzle: parsons.Puzzle, rows: Rows) -> dict[str, Any] | None:
    """What the page says is not right."""
    return page.evaluate("([puzzle, rows]) => ordering.problem(puzzle, rows)", [puzzle.as_data(), rows])


@pytest.mark.parametrize("name", parsons.puzzles())
def test_an_order_is_accepted_where_it_is_right_when_it_is_executed(module: Page, name: str) -> None:
    puzzle, exercise, chance = parsons.load(name), catalogue.find(name), random.Random(name)
    want = list(values(exercise, catalogue.answer_of(name).definition))
    for draw in (accepted, shuffled):
        drawn = [settled(module, puzzle, draw(puzzle, chance)) for _ in range(SAMPLES)]
        seen = {code_of(puzzle, rows): rows for rows in drawn}
        verdicts = {code: found(module, puzzle, rows) for code, rows in seen.items()}
        if draw is accepted:
            assert not any(verdicts.values()) and len(seen) >= 3
        else:
            assert sum(map(bool, verdicts.values())) > len(seen) / 2
        for code, wrong in verdicts.items():
            assert solves(exercise, code, want) == (wrong is None), code


@pytest.mark.parametrize("name", parsons.puzzles())
def test_help_leads_from_nothing_to_a_solution(module: Page, name: str) -> None:
    puzzle = parsons.load(name)
    counts = module.evaluate(
        """(puzzle) => {
          let rows = ordering.begin(puzzle), counts = [];
          while (ordering.problem(puzzle, rows) && counts.length < 99) {
            rows = ordering.helped(puzzle, rows);
            counts.push(rows.length);
          }
          return counts;
        }""",
        puzzle.as_data(),
    )
    assert counts[-1] == len(puzzle.lines)
    assert all(before < after for before, after in pairwise(counts))


@pytest.mark.parametrize(
    "change,says",
    [
        (
            lambda rows: rows[2].update(twin=True),
            "Step 1, “The scale and the shift”, is not right yet. One of its",
        ),
        (
            lambda rows: rows.pop(3),
            "Up to step 1 all is right. Step 2, “Back through the scale”, is not right yet.",
        ),
        (
            lambda rows: rows.insert(4, rows.pop(5)),
            "Up to step 2 all is right. Step 3, “Through the variance”",
        ),
        (lambda rows: None, "All steps are right"),
    ],
)
def test_the_first_step_that_is_not_right_is_named(module: Page, change: Any, says: str) -> None:
    puzzle = parsons.load(EXERCISE)
    rows = [{"id": line.id, "indent": line.indent, "twin": False} for line in puzzle.lines]
    change(rows)
    said = module.evaluate(
        "([puzzle, rows]) => ordering.describe(puzzle, ordering.problem(puzzle, rows))",
        [puzzle.as_data(), rows],
    )
    assert said.startswith(says)


@pytest.mark.parametrize("name", ["group_norm", "BatchNorm1d"])
def test_a_line_below_return_or_raise_starts_outside_of_its_block(module: Page, name: str) -> None:
    """So a solution that is put together from top to bottom needs no line to be indented by hand."""
    puzzle = parsons.load(name)
    module.evaluate("puzzle => ordering.mount(document.querySelector('main'), puzzle)", puzzle.as_data())
    module.locator("summary").click()
    for place, line in enumerate(puzzle.lines):
        if line.goal:
            module.locator(f'.line[data-id="{puzzle.lines[place - 1].id}"]').click()
            module.locator(f'.take[data-id="{line.id}"][data-twin="false"]').click()
            started = module.locator(f'.line[data-id="{line.id}"]')
            assert f"indented {line.indent} times" in started.text_content(), line.code


# ---------------------------------------------------------------------------- in JupyterLab


@pytest.fixture(scope="module")
def notebook(lab, desk: Page) -> Notebook:
    """The exercise notebook, run as it is given."""
    desk.goto(lab.address(DAY))
    notebook = Notebook(desk, lab.folder / DAY, ARTEFACTS)
    notebook.run_all()
    return notebook


@pytest.mark.usefixtures("last_view")
def test_lines_are_put_in_order_with_keys_alone(notebook, desk: Page) -> None:
    panel = notebook.panel
    # The section is folded: whoever does without it sees a heading.
    expect(panel.get_by_role("heading", name="Step by step")).to_be_visible()
    shown = panel.locator(".parsons")
    expect(shown).to_be_hidden()
    notebook.screenshot("step-by-step-folded")
    panel.locator(".jp-showHiddenCellsButton").click()
    expect(shown).to_be_visible()
    shown.locator("summary").focus()
    desk.keyboard.press("Enter")
    cells = notebook.cells.count()

    puzzle = parsons.load(EXERCISE)
    for line in (line for line in puzzle.lines if line.goal):
        shown.locator(f'.take[data-id="{line.id}"][data-twin="false"]').focus()
        desk.keyboard.press("Enter")
    check = shown.get_by_role("button", name="Check")
    last, before = puzzle.lines[-1].id, puzzle.lines[-2].id
    shown.locator(f'.line[data-id="{last}"]').focus()
    desk.keyboard.press("Shift+ArrowUp")
    check.press("Enter")
    expect(shown.locator(".result")).to_contain_text("Step 5, “All together”, is not right yet.")
    shown.locator(f'.line[data-id="{before}"]').focus()
    desk.keyboard.press("Shift+ArrowUp")
    check.press("Enter")
    expect(shown.locator(".result")).to_contain_text("All steps are right")
    shown.scroll_into_view_if_needed()
    notebook.screenshot("parsons-in-lab")
    # In JupyterLab's command mode these keys would go to another cell.
    assert notebook.cells.count() == cells
    assert notebook.errors() == []


@pytest.mark.usefixtures("last_view")
def test_check_steps_in_the_notebook_says_how_far_one_is(notebook) -> None:
    folded = notebook.panel.locator(".jp-showHiddenCellsButton")
    if folded.is_visible():  # the test before has unfolded it
        folded.click()
    table = notebook.panel.locator(".jp-OutputArea table", has_text="Through the variance")
    expect(table).to_contain_text("not written yet")
    expect(table).to_contain_text("check(batch_norm_forward, batch_norm_backward)")
