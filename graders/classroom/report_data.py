"""What a report is made of: the records in `autograded/`, and the gradebook.

The gradebook is asked by plain SQL and the configuration read without nbgrader, whose import alone would take
longer than all the rest.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy

from graders.batch.private import Unconfigured, configuration
from graders.classroom.records import Check, Record, records_in

#: nbgrader's own structure of a course's folder.
STRUCTURE = os.path.join("{nbgrader_step}", "{student_id}", "{assignment_id}")


class NoReport(Exception):
    """There is nothing to report on; the text says why, and what to do."""


@dataclass(frozen=True)
class Mark:
    """The points of a cell that is graded without a check. waiting: for a person to give them."""

    cell: str
    points: float
    most: float
    waiting: bool


@dataclass
class Student:
    """One student: what was handed in, if anything was. pages: the Formgrader's ids of it, by notebook."""

    id: str
    name: str
    records: list[Record] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    pages: dict[str, str] = field(default_factory=dict)

    @property
    def handed_in(self) -> bool:
        return bool(self.records)

    @cached_property
    def checks(self) -> dict[str, Check]:
        """By exercise, once all records are there."""
        return {check.exercise: check for record in self.records for check in record.checks}


@dataclass(frozen=True)
class Classroom:
    """A class and one assignment. released: the code that all were given, by notebook."""

    root: Path
    assignment: str
    students: list[Student]
    released: dict[str, str] = field(default_factory=dict)

    @property
    def present(self) -> list[Student]:
        """Those whose work is graded."""
        return [one for one in self.students if one.handed_in]


def read_class(root: Path, assignment: str) -> Classroom:
    """The class of a course in whose folder this is, for one assignment. Raises NoReport."""
    places = _Places(root)
    students = {id: Student(id, name) for id, name in _asked(places, assignment)}
    for id, folder in places.graded(assignment):
        student = students.setdefault(id, Student(id, ""))
        student.records = list(records_in(folder))
    if not any(one.handed_in for one in students.values()):
        raise NoReport(
            f"There is no graded work of {assignment} in this folder: run `graders autograde {assignment}` "
            "in the folder of the course first."
        )
    checked = {
        (one.id, record.notebook, check.cell)
        for one in students.values()
        for record in one.records
        for check in record.checks
    }
    rows = _marks(places, assignment)
    # A name is one cell's in its notebook; where several notebooks have it, it says in which.
    held: dict[str | None, set[str]] = {}
    for row in rows:
        held.setdefault(row.cell, set()).add(row.notebook)
    for row in rows:
        student = students.get(row.student)
        if student is None:
            continue
        student.pages[row.notebook] = row.page
        if row.cell is not None and (row.student, row.notebook, row.cell) not in checked:
            name = row.cell if len(held[row.cell]) == 1 else f"{row.notebook}: {row.cell}"
            waiting = bool(row.waiting) or (row.score is None)
            student.marks.append(Mark(name, float(row.score or 0.0), float(row.most), waiting))
    found = sorted(students.values(), key=lambda one: one.id)
    return Classroom(root, assignment, found, places.released(assignment))


def graded_assignments(root: Path) -> list[tuple[str, int]]:
    """The assignments of which there is graded work, and of how many students. Raises NoReport."""
    places = _Places(root)
    counts = [(name, sum(1 for _ in places.graded(name))) for name in _assignments(places)]
    return [(name, count) for name, count in counts if count]


class _Places:
    """Where a course keeps its things, by its configuration."""

    def __init__(self, root: Path) -> None:
        try:
            course = configuration(root).get("CourseDirectory", {})
        except Unconfigured as problem:
            raise NoReport(str(problem)) from None
        self.root = root / str(course.get("root", ""))
        self.structure = str(course.get("directory_structure") or STRUCTURE)
        self._steps = {step: str(course.get(f"{step}_directory", step)) for step in ("autograded", "release")}
        self.database = str(course.get("db_url") or f"sqlite:///{self.root / 'gradebook.db'}")

    def _path(self, step: str, student: str, assignment: str) -> str:
        path = self.structure.format(
            nbgrader_step=self._steps[step], student_id=student, assignment_id=assignment
        )
        return os.path.join(self.root, path)

    def graded(self, assignment: str) -> Iterator[tuple[str, Path]]:
        """The students whose work is graded, each with its folder."""
        before, after = self._path("autograded", "*", assignment).split("*", 1)
        for folder in sorted(glob.glob(f"{glob.escape(before)}*{glob.escape(after)}")):
            yield folder[len(before) : len(folder) - len(after)], Path(folder)

    def released(self, assignment: str) -> dict[str, str]:
        """The code of what was released, by notebook."""
        folder = Path(self._path("release", ".", assignment))
        return {path.stem: _code_in(path) for path in folder.glob("*.ipynb")}


def _code_in(path: Path) -> str:
    """The code of a notebook as one text; none where it cannot be read."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        cells = json.loads(path.read_bytes())["cells"]
        return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return ""


def _assignments(places: _Places, asked: str = "ASSIGNMENT") -> list[str]:
    """All assignments that the gradebook knows. Raises NoReport."""
    try:
        url = sqlalchemy.engine.make_url(places.database)
    except sqlalchemy.exc.ArgumentError as problem:
        raise NoReport(f"The gradebook's address in nbgrader_config.py is none ({problem}).") from None
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        raise NoReport(
            f"There is no gradebook at {url.render_as_string()}: run this in the folder of the course, after "
            f"`graders autograde {asked}`."
        )
    return [row.name for row in _rows(places, "SELECT name FROM assignment ORDER BY name")]


def _asked(places: _Places, assignment: str) -> list[tuple[str, str]]:
    """All students that the gradebook knows, with their names. Raises NoReport."""
    if assignment not in _assignments(places, assignment):
        raise NoReport(f"The gradebook knows no assignment {assignment!r}; check its name.")
    rows = _rows(places, "SELECT id, first_name, last_name FROM student")
    return [(row.id, " ".join(filter(None, (row.first_name, row.last_name)))) for row in rows]


def _marks(places: _Places, assignment: str) -> list[Any]:
    """For every graded cell of every student its points; without a cell where a notebook has none."""
    return _rows(
        places,
        """
        SELECT sa.student_id AS student, nb.name AS notebook, sn.id AS page, bc.name AS cell,
               COALESCE(g.manual_score, g.auto_score) AS score, g.needs_manual_grade AS waiting,
               COALESCE(gc.max_score, tc.max_score, 0) AS most
        FROM assignment a
        JOIN submitted_assignment sa ON sa.assignment_id = a.id
        JOIN submitted_notebook sn ON sn.assignment_id = sa.id
        JOIN notebook nb ON nb.id = sn.notebook_id
        LEFT JOIN grade g ON g.notebook_id = sn.id
        LEFT JOIN base_cell bc ON bc.id = g.cell_id
        LEFT JOIN grade_cells gc ON gc.id = bc.id
        LEFT JOIN task_cells tc ON tc.id = bc.id
        WHERE a.name = :name ORDER BY nb.name, bc.name
        """,
        name=assignment,
    )


def _rows(places: _Places, query: str, **values: Any) -> list[Any]:
    try:
        engine = sqlalchemy.create_engine(places.database, poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            return list(connection.execute(sqlalchemy.text(query), values))
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as problem:
        text = " ".join(str(getattr(problem, "orig", None) or problem).split())[:200]
        raise NoReport(f"The gradebook cannot be read ({text}).") from None
