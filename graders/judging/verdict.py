"""The outcome of judging one candidate, as plain data that can be stored and sent."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any

#: The MIME type under which a notebook stores a verdict's data.
MIME = "application/vnd.graders.verdict+json"


def first_sentence(text: str) -> str:
    """Of a message, what tells it from others; all of it where it is one sentence."""
    return re.split(r"(?<=[.?]) ", text)[0]


@dataclass(frozen=True)
class Row:
    """One case in the report. marks: for each column ("float32", "float64 on cuda"): is all of it right?"""

    case: str
    marks: dict[str, bool]


@dataclass(frozen=True)
class Score:
    """The points of one part of the exercise. why: what it is that leaves a wrong part some of them."""

    label: str
    points: float
    max_points: int
    why: str = ""

    @property
    def text(self) -> str:
        """The points in words: "3 of 4: eps is added to the standard deviation, outside the root."."""
        return f"{number(self.points)} of {self.max_points}{f': {self.why}' if self.why else ''}"


@dataclass(frozen=True)
class Evidence:
    """The place where values differ first.

    got, want: at the worst index, as text. got_grid, want_grid: the two arrays as text, at most a few
    rows and columns, wrong marking the cells that are out; empty where there is no grid to show.
    """

    observation: str
    case: str
    column: str
    where: str
    got: str
    want: str
    got_grid: list[list[str]] = field(default_factory=list)
    want_grid: list[list[str]] = field(default_factory=list)
    wrong: list[list[bool]] = field(default_factory=list)
    cut: bool = False


@dataclass(frozen=True)
class Remark:
    """What the instructors say to all who made a mistake. points: what it adds; on the report's scale."""

    text: str
    points: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """What the judge says of a candidate.

    outcome: "passed", "unattempted", "raised", "contract", "library", "mistake", "type", "shape",
    "dtype", "device", "nan", "changed", "values" or "unknown".
    mistake: the key of the known mistake that it looks like, or None. message: the diagnosis in
    sentences. notes: what else was seen. seed: judging again with it gives the same inputs. mistakes: all
    known mistakes that were found, by their keys, in order. carried: those that the candidate is not charged
    with, since they were made before. remarks: of the instructors, in a course; their points are counted in.

    It is plain data: its `repr` is the bare number of points, which is what nbgrader reads as partial credit.
    What `check` and `evaluate` return also shows itself, as a `graders.judging.report.Report`.
    """

    exercise: str
    points: float
    max_points: int
    outcome: str
    message: str
    mistake: str | None = None
    notes: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    scores: tuple[Score, ...] = ()
    evidence: Evidence | None = None
    printed: str = ""
    seed: int | None = None
    mistakes: tuple[str, ...] = ()
    carried: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()
    behaviour: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether everything is right, in every case."""
        return self.outcome == "passed"

    def __repr__(self) -> str:
        return number(self.points)

    def as_dict(self) -> dict[str, Any]:
        """The verdict as JSON-ready data."""
        return {**asdict(self), "passed": self.passed}


def number(points: float) -> str:
    """Points without a needless ".0"."""
    return f"{points:g}"
