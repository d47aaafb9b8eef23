"""How far a student is: the points in the exercise notebooks as saved. Imports no PyTorch.

A check stores its verdict as data in the output of its cell. Nothing else is read, and nothing is
written: what a saved notebook shows is what counts here.
"""

from __future__ import annotations

import html
import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course.days import DAYS, Day, cells, find_root
from course.study.pages import Page, page
from course.study.predict import made

#: The MIME type under which a check stores its verdict; `graders.judging.verdict.MIME`, without its import.
MIME = "application/vnd.graders.verdict+json"


@dataclass(frozen=True)
class Progress:
    """One day's exercises.

    points: reached, of max_points. passed, tried: how many exercises are all right, and how many
    have a verdict, of `exercises`. left: the names of those that are not all right, in order. problem: why
    nothing can be said, in a sentence, or empty.
    """

    day: Day
    points: float = 0.0
    max_points: float = 0.0
    passed: int = 0
    tried: int = 0
    exercises: int = 0
    left: tuple[str, ...] = ()
    problem: str = ""


def read_progress(day: Day, root: Path) -> Progress:
    """What the saved exercise notebook of a day says; the last verdict in a check's output counts.

    A notebook that is missing or broken gives no points and a sentence; a verdict that is broken
    counts as none.
    """
    path = day.exercises(root)
    if path is None:
        return Progress(day, problem="There is no exercise notebook.")
    checks = [found for cell in cells(path) if (found := _check(cell))]
    if not checks:
        return Progress(day, problem=_why_nothing(path))
    given = [points for _, _, points in checks if points is not None]
    left = tuple(name for name, most, points in checks if points is None or points < most)
    return Progress(
        day,
        points=sum(given),
        max_points=sum(most for _, most, _ in checks),
        passed=len(checks) - len(left),
        tried=len(given),
        exercises=len(checks),
        left=left,
    )


def _check(cell: dict[str, Any]) -> tuple[str, float, float | None] | None:
    """The exercise of a check cell, its possible and its reached points; None for another cell. Reached is
    None where no verdict is stored."""
    metadata = cell.get("metadata")
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    if not isinstance(nbgrader, dict) or nbgrader.get("grade") is not True:
        return None
    most = _number(nbgrader.get("points"))
    if not most or most < 0:
        return None
    name = str(nbgrader.get("grade_id", "")).removeprefix("check_")
    for verdict in verdicts(cell):
        points = _number(verdict.get("points"))
        if points is not None:
            return name, most, min(max(points, 0.0), most)
    return name, most, None


def verdicts(cell: dict[str, Any]) -> list[dict[str, Any]]:
    """The data of the verdicts that a cell's outputs hold, the last first."""
    outputs = cell.get("outputs")
    outputs = outputs if isinstance(outputs, list) else []
    given = [output.get("data") for output in outputs if isinstance(output, dict)]
    found = [data.get(MIME) for data in given if isinstance(data, dict)]
    return [verdict for verdict in reversed(found) if isinstance(verdict, dict)]


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _why_nothing(path: Path) -> str:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return "The exercise notebook cannot be opened."
    except ValueError:
        return "The exercise notebook is damaged: it is not valid JSON."
    return "The exercise notebook holds no checks."


def progress(root: Path | None = None) -> Page:
    """The points of all days as a table with bars, as the saved notebooks say."""
    root = root or find_root()
    found = [read_progress(day, root) for day in DAYS]
    predicted = Counter(name.partition(":")[0] for name in made(root / "course"))
    points, most = sum(one.points for one in found), sum(one.max_points for one in found)
    rows = "\n".join(_row(one, predicted[one.day.name]) for one in found)
    total = (
        f'<tr class="study-total"><td></td><td>all days</td><td>{bar(points, most)}</td>'
        f"<td>{points:g} of {most:g}</td>"
        f"<td>{sum(one.passed for one in found)} of {sum(one.exercises for one in found)}</td>"
        f"<td>{predicted.total()}</td></tr>"
    )
    head = (
        "<tr><th>day</th><th>subject</th><th></th><th>points</th><th>exercises all right</th>"
        "<th>predictions</th></tr>"
    )
    table = f"<table>\n<thead>{head}</thead>\n<tbody>\n{rows}\n{total}\n</tbody>\n</table>"
    plain = "\n".join(
        [
            *(
                f"Day {one.day.number}: {one.problem or f'{one.points:g} of {one.max_points:g} points'}"
                for one in found
            ),
            f"All days: {points:g} of {most:g} points",
        ]
    )
    return page("table", table, plain)


def _row(one: Progress, predicted: int) -> str:
    start = f"<tr><td>{one.day.number}</td><td>{html.escape(one.day.title)}</td>"
    if one.problem:
        return f'{start}<td colspan="3">{html.escape(one.problem)}</td><td>{predicted}</td></tr>'
    begun = f"{one.passed} of {one.exercises}" if one.tried else "not begun"
    return (
        f"{start}<td>{bar(one.points, one.max_points)}</td>"
        f"<td>{one.points:g} of {one.max_points:g}</td><td>{begun}</td><td>{predicted}</td></tr>"
    )


def bar(points: float, most: float) -> str:
    """A bar; the numbers beside it say the same, so it is hidden from a screen reader."""
    share = 100 * points / most if most else 0
    return f'<div class="study-track" aria-hidden="true"><div style="width: {share:.0f}%"></div></div>'
