"""docs/exercises.md: the table that whoever writes or tests an exercise relies on."""

from __future__ import annotations

import re

import pytest

from course.days import cells, source
from graders.judging import catalogue
from graders.judging.question import cases, settings
from tests.solutions import ROOT

TEXT = (ROOT / "docs" / "exercises.md").read_text(encoding="utf-8")
#: What stands in the first column of a table's row: a signature in backquotes.
ROW = re.compile(r"^\| `([^`]+\))` \| (.+) \|$", re.MULTILINE)


def section(day: str) -> str:
    """What stands below the heading of a day."""
    found = re.search(rf"^## Day {day.removeprefix('day')}: .+?(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    return found.group(0) if found else ""


@pytest.mark.parametrize("day", list(catalogue.days()))
def test_every_exercise_has_a_row_with_its_signature_and_no_row_is_without_one(day: str) -> None:
    rows = [signature for signature, _ in ROW.findall(section(day))]
    assert sorted(rows) == sorted(one.signature for one in catalogue.days()[day])


def test_every_row_belongs_to_a_day_and_says_what_is_returned() -> None:
    rows = ROW.findall(TEXT)
    assert len(rows) == len(catalogue.exercises())
    assert len([line for line in TEXT.split("\n") if line.startswith("| `")]) == len(rows)
    assert all(len(returns) >= 10 for _, returns in rows)


@pytest.mark.parametrize("day", list(catalogue.days()))
def test_an_offset_that_costs_digits_is_promised(day: str) -> None:
    """Where inputs lie far from 0, the notebook says so: E[x²] − E[x]² is right on paper, and fails there."""
    names = [case.name for one in catalogue.days()[day] for case in cases(one, 0, settings("cpu")[0])]
    conventions = source(cells(ROOT / "exercises" / day / f"{day}.ipynb")[0])
    assert any("offset of 10,000" in name for name in names) == ("10,000" in conventions)
