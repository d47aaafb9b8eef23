"""Zips and tables of made-up classes, named as the four learning management systems name them.

The rules are the vendors' own, as far as they are public: see the docstrings of `graders.lms.forms`.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.courses import ROOT

SYSTEMS = ("moodle", "canvas", "blackboard", "brightspace")
DAY = "day26"
NOON = datetime(2026, 5, 4, 12, 30)


@dataclass(frozen=True)
class Student:
    """Somebody in a system: nbgrader's name is the number, unless said otherwise."""

    number: str
    first: str
    last: str
    username: str
    lms_id: int
    participant: int
    email: str = ""

    @property
    def full(self) -> str:
        return f"{self.first} {self.last}".strip()


@dataclass(frozen=True)
class HandedIn:
    student: Student
    files: Mapping[str, bytes]
    when: datetime = NOON
    late: bool = False
    text: bool = False


def course(folder: Path) -> Path:
    """A course folder that has an assignment, with nothing handed in."""
    (folder / "exercises" / DAY).mkdir(parents=True)
    config = (ROOT / "nbgrader_config.py").read_text(encoding="utf-8")
    (folder / "nbgrader_config.py").write_text(config, encoding="utf-8")
    return folder


def zipped(path: Path, system: str, handed_in: Iterable[HandedIn]) -> Path:
    """The zip that a system gives for these."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        if system == "brightspace":
            out.writestr("index.html", "<p>All submissions</p>")
        for number, one in enumerate(handed_in):
            for name, content in _NAMES[system](one, number):
                out.writestr(name, content)
    return path


def _moodle(one: HandedIn, _: int) -> Iterable[tuple[str, bytes]]:
    name = re.sub(r'[\x00-\x1f&<>"`|\':\\/]', "", one.student.full.replace("_", " "))
    mark = f"{name}_{one.student.participant}_assignsubmission"
    for file, content in one.files.items():
        yield f"{mark}_file/{file}", content
    if one.text:
        yield f"{mark}_onlinetext/onlinetext.html", b"<p>as above</p>"


def _canvas(one: HandedIn, number: int) -> Iterable[tuple[str, bytes]]:
    sortable = f"{one.student.last}, {one.student.first}".strip(", ").lower()
    sortable = re.sub(r"_(\d+)_", r"\1", sortable)
    head = "_".join([sortable, *(["LATE"] if one.late else []), str(one.student.lms_id)])
    head = "".join(one for one in head if one == "_" or unicodedata.category(one)[0] in "LMN")
    for place, (file, content) in enumerate(one.files.items()):
        yield f"{head}_{9000 + 10 * number + place}_{re.sub('[/:]', '_', file)}", content
    if one.text:
        yield f"{head}_text.html", b"<p>as above</p>"


def _blackboard(one: HandedIn, _: int, assignment: str = "Day_26") -> Iterable[tuple[str, bytes]]:
    mark = f"{assignment}_{one.student.username}_attempt_{one.when:%Y-%m-%d-%H-%M-%S}"
    receipt = f"Name: {one.student.full} ({one.student.username})\nAssignment: Day 26\n\nName: Eve (eve)\n"
    yield f"{mark}.txt", receipt.encode()
    for file, content in one.files.items():
        yield f"{mark}_{file.replace('/', '_')}", content


def _brightspace(one: HandedIn, _: int) -> Iterable[tuple[str, bytes]]:
    hour = f"{one.when:%I}".lstrip("0")
    when = f"{one.when:%b} {one.when.day}, {one.when.year} {hour}{one.when:%M %p}"
    for file, content in one.files.items():
        yield f"{one.student.lms_id}-777 - {one.student.full.replace('/', '')} - {when}/{file}", content


_NAMES = {
    "moodle": _moodle,
    "canvas": _canvas,
    "blackboard": _blackboard,
    "brightspace": _brightspace,
}


# Tables, as each system exports them


def worksheet(students: Sequence[Student], most: str = "21.00", handed_in: str = "-") -> str:
    """Moodle's grading worksheet."""
    head = ["Identifier", "Full name", "ID number", "Email address", "Status", "Grade", "Maximum grade"]
    head += [
        "Grade can be changed",
        "Last modified (submission)",
        "Last modified (grade)",
        "Feedback comments",
    ]
    rows = [
        [
            *(f"Participant {one.participant}", one.full, one.number, one.email, "Submitted for grading"),
            *("", most, "Yes", handed_in, "-", ""),
        ]
        for one in students
    ]
    return _csv([head, *rows])


def canvas_gradebook(students: Sequence[Student], most: str = "21.00") -> str:
    """Canvas's gradebook: the assignment, another one, and totals that are read only."""
    head = [
        "Student",
        "ID",
        "SIS User ID",
        "SIS Login ID",
        "Section",
        "Essay (71)",
        "Day 26 (72)",
        "Final Score",
    ]
    rows = [["    Points Possible", "", "", "", "", "10.00", most, "(read only)"]]
    rows += [
        [f"{one.last}, {one.first}", str(one.lms_id), one.number, one.username, "A", "7.5", "", "75.0"]
        for one in students
    ]
    return _csv([head, *rows, ["Student, Test", "4040", "", "", "A", "", "", ""]])


def blackboard_grades(students: Sequence[Student], most: str = "21") -> str:
    """Blackboard's grade center."""
    head = ["Last Name", "First Name", "Username", "Student ID", "Last Access", "Availability"]
    head += [f"Day 26 [Total Pts: {most} Score] |98765", "Total [Total Pts: 31 Score] |98766"]
    rows = [
        [one.last, one.first, one.username, one.number, "2026-05-01 10:00:00", "Yes", "", ""]
        for one in students
    ]
    return "\ufeff" + _csv([head, *rows], quoting=csv.QUOTE_ALL)


def brightspace_grades(students: Sequence[Student], most: str = "21") -> str:
    """Brightspace's export of grades, with both keys."""
    grade = f"Day 26 Points Grade <Numeric MaxPoints:{most} Weight:10>"
    head = ["OrgDefinedId", "Username", "Last Name", "First Name", grade, "End-of-Line Indicator"]
    rows = [[f"#{one.number}", f"#{one.username}", one.last, one.first, "", "#"] for one in students]
    return _csv([head, *rows])


TABLES = {
    "moodle": worksheet,
    "canvas": canvas_gradebook,
    "blackboard": blackboard_grades,
    "brightspace": brightspace_grades,
}


def own_roster(students: Sequence[Student], *, ids: bool = True) -> str:
    """A roster of one's own making. ids: with those by which the systems name students."""
    head = ["student_id", "first_name", "last_name", "email"]
    more = ["username", "lms_id", "participant_id"] if ids else []
    rows = [
        [one.number, one.first, one.last, one.email]
        + ([one.username, str(one.lms_id), str(one.participant)] if ids else [])
        for one in students
    ]
    return _csv([[*head, *more], *rows])


def _csv(rows: Iterable[Sequence[str]], **how: int) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n", **how).writerows(rows)
    return text.getvalue()
