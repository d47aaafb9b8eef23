"""How each learning management system names what is in its zip of submissions: whose it is, and since when.

A form reads the path of a file. What a student may choose (the name of a file; in some systems their own) can
look like what the system writes, so that a path may have several readings; all of them are given, and who can
be only one is found out with the roster.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from graders.lms.roster import squeezed

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS_SAID = "|".join(_MONTHS)
_DAY = rf"(?P<month>{_MONTHS_SAID})[a-z]* (?P<day>\d{{1,2}}), (?P<year>\d{{4}})"
_CLOCK = r"(?P<hour>\d{1,2})[:_.]?(?P<minute>\d\d)(?: ?(?P<half>[ap])m)?"
_WHEN = re.compile(rf"{_DAY},? {_CLOCK}", re.IGNORECASE)


@dataclass(frozen=True)
class Reading:
    """What a path says if it is read in this way.

    mark: what the system put before what is the student's, by which a file finds its way back. rest: the path
    in the submission; empty where the file is the system's own, such as a text that was typed in. when: in
    the system's local time. attempt: what tells the attempts of a student apart, in order.
    """

    mark: str
    id: str
    name: str
    rest: str
    when: datetime | None = None
    attempt: str = ""
    late: bool = False


@dataclass(frozen=True)
class Form:
    """A system's way to name files. kind: of the ids in it, as the roster calls them."""

    system: str
    kind: str
    readings: Callable[[str], Iterator[Reading]]


def when_in(text: str) -> datetime | None:
    """The time in words such as `Sep 24, 2024 926 PM` or `Wednesday, 23 September 2020, 9:00 PM`."""
    found = _WHEN.search(re.sub(r"(\d{1,2}) ([A-Za-z]+) (\d{4})", r"\2 \1, \3", text))
    if not found:
        return None
    hour, half = int(found["hour"]), (found["half"] or "").lower()
    hour = hour % 12 + (12 if half == "p" else 0) if half else hour
    month = _MONTHS.index(found["month"].lower()) + 1
    try:
        return datetime(int(found["year"]), month, int(found["day"]), hour, int(found["minute"]))
    except ValueError:
        return None


_MOODLE_FOLDER = re.compile(r"(?P<name>[^_]*)_(?P<id>\d+)_assignsubmission_(?P<plugin>[a-z]+)_?")
_MOODLE_FILE = re.compile(
    r"(?P<mark>(?P<name>[^_]*)_(?P<id>\d+)_assignsubmission_(?P<plugin>[a-z]+)_)(?P<rest>.+)"
)


def _moodle(path: str) -> Iterator[Reading]:
    """`Jane Doe_1234_assignsubmission_file/day26.ipynb`, or without folders `…_file_day26.ipynb`.

    The number is that of the participant in this assignment, which the grading worksheet calls `Participant
    1234`; underscores in a name have become blanks. Written in Moodle's mod/assign/classes/downloader.php
    (4.1 and later; before, in locallib.php, with an underscore behind `file`), read in
    feedback/file/importziplib.php.
    """
    top, slash, rest = path.partition("/")
    found = _MOODLE_FOLDER.fullmatch(top) if slash else _MOODLE_FILE.fullmatch(top)
    if found:
        mark, rest = (top, rest) if slash else (found["mark"], found["rest"])
        name = "" if found["name"] == "Participant" else found["name"]
        yield Reading(mark, found["id"], name, rest if found["plugin"] == "file" else "")


_CANVAS_IDS = re.compile(r"(?=_(?P<id>\d+)_(?P<file>\d+)_(?P<rest>.+))")
_CANVAS_TEXT = re.compile(r"(?P<name>.+?)(?P<late>_LATE)?_(?P<id>\d+)_(?:text|link)\.html")


def _canvas(path: str) -> Iterator[Reading]:
    """`doejane_1234_56789_day26.ipynb`, with `_LATE` before the numbers of the user and of the file.

    The name is the sortable one, small, with letters, digits and underscores alone. Written in Canvas's
    lib/content_zipper.rb; read, when it comes back, by the first two numbers between underscores.
    """
    if "/" in path:
        return
    if text := _CANVAS_TEXT.fullmatch(path):
        yield Reading(path, text["id"], text["name"], "", late=bool(text["late"]))
        return
    for found in _CANVAS_IDS.finditer(path):
        head = path[: found.start()]
        name = head.removesuffix("_LATE")
        if name and all(one == "_" or unicodedata.category(one)[0] in "LMN" for one in name):
            mark = f"{head}_{found['id']}_{found['file']}_"
            yield Reading(mark, found["id"], name, found["rest"], late=name != head)


_BLACKBOARD = re.compile(
    r"(?P<head>.+?)_attempt_(?P<when>\d{4}(?:-\d\d){5})(?:_(?P<rest>.+)|(?P<receipt>\.txt))", re.DOTALL
)


def _blackboard(path: str) -> Iterator[Reading]:
    """`Day 26_jdoe_attempt_2026-05-03-14-05-59_day26.ipynb`, and a receipt without the last part, as .txt.

    The assignment and the user name stay together here: `with_user_name` parts them. As Blackboard's help has
    it (Download assignments), and public scripts that take it apart, such as kwurst/bb-file-cleanup.
    """
    found = _BLACKBOARD.fullmatch(path.rpartition("/")[2])
    if found:
        try:
            when = datetime.strptime(found["when"], "%Y-%m-%d-%H-%M-%S")
        except ValueError:
            return
        mark = f"{found['head']}_attempt_{found['when']}"
        yield Reading(mark, found["head"], "", found["rest"] or "", when, found["when"])


_BRIGHTSPACE = re.compile(r"(?P<id>\d+)(?:-\d+)* - ")
_BRIGHTSPACE_TIME = re.compile(rf" - (?P<when>{_DAY},? {_CLOCK})(?: - |$)", re.IGNORECASE)


def _brightspace(path: str) -> Iterator[Reading]:
    """`397063-25573 - Jane Doe - Sep 24, 2024 926 PM/day26.ipynb`, or without folders `… PM - day26.ipynb`.

    The first number is taken for the user's. D2L documents that the zip is made, not how its folders are
    called; the form is that of public scripts that take it apart, such as cgmb/d2lmf.
    """
    top, slash, inner = path.partition("/")
    start = _BRIGHTSPACE.match(top)
    for found in _BRIGHTSPACE_TIME.finditer(top) if start else ():
        name, rest = top[start.end() : found.start()], inner if slash else top[found.end() :]
        if name and rest and not (slash and found.end() < len(top)):
            when = when_in(found["when"])
            attempt = when.isoformat() if when else ""
            yield Reading(top[: found.end("when")], start["id"], name, rest, when, attempt)


#: The strictest first.
FORMS: Mapping[str, Form] = {
    "moodle": Form("Moodle", "participant", _moodle),
    "blackboard": Form("Blackboard", "username", _blackboard),
    "brightspace": Form("Brightspace", "lms_id", _brightspace),
    "canvas": Form("Canvas", "lms_id", _canvas),
}
#: The share of a zip's files that must have a form for it to be that system's.
ENOUGH = 0.9


def recognized(paths: Sequence[str]) -> str | None:
    """The system whose form these paths have."""
    for name, form in FORMS.items():
        if sum(any(True for _ in form.readings(path)) for path in paths) >= max(1, ENOUGH * len(paths)):
            return name
    return None


def common_name(readings: Iterable[Reading]) -> str | None:
    """The name that all have, where there are several: students who were made anonymous."""
    people = {(one.id, squeezed(one.name)) for one in readings}
    names = {name for _, name in people}
    return names.pop() if len(names) == 1 < len(people) else None


def with_user_name(reading: Reading, receipt: tuple[str, str] | None) -> Reading | None:
    """What Blackboard's path says with the user name in its place; None where that cannot be told.

    The path has the assignment, an underscore and the user name, and both may have underscores. The receipt,
    which Blackboard puts beside what was handed in, says the name and the user name.
    """
    if receipt:
        name, user = receipt
        return replace(reading, id=user, name=name) if reading.id.endswith(f"_{user}") else None
    assignment, _, user = reading.id.rpartition("_")
    return replace(reading, id=user) if assignment and user and "_" not in assignment else None


_RECEIPT = re.compile(r"\ufeff?Name:\s*(?P<name>.*?)\s*\((?P<user>[^()\r\n]+)\)\s*$", re.MULTILINE)


def receipt_in(content: bytes) -> tuple[str, str] | None:
    """The name and the user name in Blackboard's receipt, of which they are the first line."""
    found = _RECEIPT.match(content.decode("utf-8", "replace"))
    return (found["name"], found["user"]) if found else None
