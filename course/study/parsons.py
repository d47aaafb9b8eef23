"""Parsons problems: the lines of a solution in disorder, for whoever is stuck in front of an empty cell.

The page (`parsons.js`) says which sub-goal is not right yet, and executes nothing. Which orders are right
follows from what each line needs before it; a test executes them. Some lines have a twin with a mistake that
`check` knows.

Sources: Ericson, Margulieux & Rick (2017), Solving Parsons problems versus fixing and writing code,
https://doi.org/10.1145/3141880.3141895; Denny, Luxton-Reilly & Simon (2008), Evaluating a new exam question:
Parsons problems, https://doi.org/10.1145/1404520.1404532, for twins.
"""

from __future__ import annotations

import random
import tomllib
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import anywidget
import traitlets

from course.explorers import modules
from course.study.pages import HERE, asset

#: The page's side, as `course.explorers.modules` names it.
MODULE = "../study/parsons"
FOLDER = HERE / "puzzles"
INDENT = 4  # characters


@dataclass(frozen=True)
class Line:
    """A line of a solution, or several that stay together.

    id: its place in the solution that is written down. code: without its indentation, which `indent` counts;
    of what is given, as it stands. inside: how far what follows can be indented. goal: the number of its
    sub-goal, from 1, or 0 where it is given. parent: the line that opens its block. after: the lines that it
    needs before it. wrong: its twin, or empty. why: what is wrong with that. mistake: the key under which
    `check` knows it.
    """

    id: int
    code: str
    indent: int
    inside: int
    goal: int
    parent: int | None
    after: tuple[int, ...]
    wrong: str = ""
    why: str = ""
    mistake: str = ""


@dataclass(frozen=True)
class Puzzle:
    """The steps to an exercise, by their titles, and the lines of a solution in an order that is right."""

    exercise: str
    steps: tuple[str, ...]
    lines: tuple[Line, ...]

    def as_data(self) -> dict[str, Any]:
        """The puzzle as the page takes it; always in the same disorder."""
        order = random.Random(self.exercise)
        pool = [[line.id, order.random() < 0.5] for line in self.lines if line.goal]
        order.shuffle(pool)
        return {"steps": list(self.steps), "lines": [asdict(line) for line in self.lines], "pool": pool}


def puzzles() -> list[str]:
    """The exercises that have one."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


@cache
def load(exercise: str) -> Puzzle:
    """The puzzle of an exercise. Raises LookupError with a sentence where there is none."""
    path = FOLDER / f"{exercise}.toml"
    if exercise not in puzzles():
        raise LookupError(f"There is no puzzle for {exercise}. There is one for: {', '.join(puzzles())}.")
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    names = {line["name"]: number for number, line in enumerate(data["lines"]) if "name" in line}
    lines: list[Line] = []
    for number, line in enumerate(data["lines"]):
        rows = line["code"].strip("\n").split("\n")
        indent = _indent(rows[0])
        opens = [_indent(row) + 1 for row in rows if row.endswith(":")]
        above = (one.id for one in reversed(lines) if one.indent < indent) if "goal" in line else iter(())
        lines.append(
            Line(
                number,
                line["code"].strip() if "goal" in line else line["code"].strip("\n"),
                indent,
                opens[-1] if opens else indent,
                line.get("goal", 0),
                next(above, None),
                tuple(names[name] for name in line.get("after", ())),
                line.get("wrong", ""),
                line.get("why", ""),
                line.get("mistake", ""),
            )
        )
    return Puzzle(exercise, tuple(data["steps"]), tuple(lines))


def _indent(row: str) -> int:
    return (len(row) - len(row.lstrip())) // INDENT


class Parsons(anywidget.AnyWidget):
    """A Parsons problem as a widget."""

    _esm = modules.alone(MODULE)
    _css = asset("panel.css") + asset("parsons.css")
    puzzle = traitlets.Dict().tag(sync=True)

    def __init__(self, puzzle: Puzzle) -> None:
        super().__init__(puzzle=puzzle.as_data())
        self._exercise = puzzle.exercise

    def __repr__(self) -> str:
        return f"The lines of a solution of {self._exercise}, to put in order. Run this cell to see them."

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        live, metadata = super()._repr_mimebundle_(**options)
        return {**live, "text/html": f"<p>{self!r}</p>", "text/plain": repr(self)}, metadata


def parsons(exercise: str) -> Parsons:
    """The lines of a solution of an exercise, to put in order: `parsons("batch_norm_backward")`.

    Raises LookupError where the exercise has none.
    """
    return Parsons(load(exercise))
