"""Puts the submissions in a zip of a learning management system where nbgrader wants them.

What is in a submission is looked at when it is graded; here it only has to be known whose it is and when it
was handed in. Whatever cannot be given to exactly one student is given to nobody, and said.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import json
import logging
import os
import secrets
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path, PurePosixPath

from nbgrader.apps.baseapp import NbGrader
from nbgrader.coursedir import CourseDirectory

from graders.batch import bounds
from graders.batch.intake import timestamp_in
from graders.batch.private import Unconfigured, load_whole
from graders.batch.submission import TIMESTAMP, shown
from graders.lms import archive, forms, tables
from graders.lms.archive import Archive, Damaged, Entry
from graders.lms.forms import Form, Reading
from graders.lms.roster import Nobody, Person, Roster, from_gradebook, is_folder_name, read_rosters, squeezed

#: Where zips are kept that nbgrader's own `zip_collect` takes apart; what was replaced is set aside there.
DOWNLOADED, REPLACED, MEMORY = "downloaded", "replaced", "collected.json"
_TIME = "%Y-%m-%d %H:%M:%S.%f UTC"


class CannotCollect(Exception):
    """Nothing was collected; the text is a sentence that says why."""


@dataclass
class Collected:
    """What became of a zip. Students by what was done; problems: what nobody got, with the reason."""

    system: str
    called_by: str
    new: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    newer: list[str] = field(default_factory=list)
    aside: Path | None = None
    problems: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class _Attempt:
    """What one student handed in at once: the files by their paths, as they will lie in the submission."""

    person: Person
    readings: list[tuple[Entry, Reading]] = field(default_factory=list)


@dataclass(frozen=True)
class Folders:
    """Where a course has what is handed in, and what is kept of its collection, for one assignment."""

    directory: CourseDirectory
    assignment: str

    def submitted(self, student: str) -> Path:
        return self._path(self.directory.submitted_directory, student)

    def feedback(self, student: str) -> Path:
        return self._path(self.directory.feedback_directory, student)

    @property
    def downloaded(self) -> Path:
        return Path(self.directory.root) / DOWNLOADED / self.assignment

    @property
    def memory(self) -> Path:
        return self.downloaded / MEMORY

    @property
    def exists(self) -> bool:
        steps = (self.directory.release_directory, self.directory.source_directory)
        return any(self._path(step, ".").is_dir() for step in steps)

    def _path(self, step: str, student: str) -> Path:
        return Path(self.directory.format_path(step, student, self.assignment))


def folders(root: Path, assignment: str) -> Folders:
    """The folders of a course by its configuration. Raises CannotCollect where it has no such assignment."""
    app = NbGrader()
    app.log_level = logging.ERROR
    try:
        with contextlib.chdir(root):
            load_whole(app, app.load_config_file)
    except Unconfigured as problem:
        raise CannotCollect(str(problem)) from None
    app.config.CourseDirectory.setdefault("root", str(root))
    found = Folders(CourseDirectory(parent=app), assignment)
    if not is_folder_name(assignment) or not found.exists:
        raise CannotCollect(
            f"There is no assignment {assignment} in this course; its folder is given by its name."
        )
    return found


def roster_of(course: CourseDirectory, paths: Sequence[Path]) -> Roster:
    """The students in these tables, or without any, those that the gradebook of the course knows."""
    if paths:
        return read_rosters(paths)
    from nbgrader.api import Gradebook

    with Gradebook(course.db_url, course.course_id) as book:
        roster = from_gradebook(student.to_dict() for student in book.students)
    if not roster.people:
        raise CannotCollect(
            "The gradebook has no students yet; name a table that says who is who with --roster."
        )
    return roster


def collect(
    where: Folders, zip_file: Path, roster: Roster, system: str | None = None, zone: tzinfo | None = None
) -> Collected:
    """Put what is in the zip into `submitted/`. Raises CannotCollect and archive.NoArchive.

    system: which system's zip it is, where that is not to be told from its form. zone: that of the times in
    it; this machine's without one. What lies in `submitted/` already is set aside, and never written over.
    """
    opened = Archive(zip_file)
    with contextlib.closing(opened):
        entries = opened.entries
        system = system or forms.recognized([entry.path for entry in entries if entry.path != "index.html"])
        if system is None:
            raise CannotCollect(
                f"The names in {zip_file.name} are not as Moodle, Canvas, Blackboard or Brightspace write "
                "them, or its students are anonymous. If it is from one of these, say so with --from."
            )
        done = Collected(system, roster.called_by, notes=list(roster.problems))
        attempts = _attempts(opened, forms.FORMS[system], roster, done)
        _require_room(attempts, where)
        _place_all(opened, attempts, where, zone, done)
    return done


# Whose is it?


def _attempts(opened: Archive, form: Form, roster: Roster, done: Collected) -> list[_Attempt]:
    """The last attempt of each student who can be told; the rest is added to the problems."""
    read = {entry.path: list(form.readings(entry.path)) for entry in opened.entries}
    if form.kind == "username":
        read = _with_user_names(opened, read)
    anonymous = forms.common_name(one for readings in read.values() for one in readings)
    owned: dict[str, dict[str, list[tuple[Entry, Reading, Person]]]] = defaultdict(lambda: defaultdict(list))
    for entry in opened.entries:
        if not read[entry.path]:
            if entry.path != "index.html":
                done.problems.append(
                    (entry.path, f"it is not named as {form.system} names what was handed in")
                )
            continue
        try:
            reading, person = _owner(read[entry.path], form, roster, anonymous)
        except Nobody as problem:
            done.problems.append((entry.path, str(problem)))
            continue
        owned[person.student][reading.id.casefold()].append((entry, reading, person))
    found = []
    for student, claims in sorted(owned.items()):
        if len(claims) > 1:
            why = f"{len(claims)} different submitters ({', '.join(sorted(claims))}) would be {student}"
            done.problems += [(entry.path, why) for claim in claims.values() for entry, _, _ in claim]
        else:
            (claim,) = claims.values()
            found += _last(claim, done)
    return found


def _with_user_names(opened: Archive, read: dict[str, list[Reading]]) -> dict[str, list[Reading]]:
    """The same with Blackboard's user names, by its receipts."""
    receipts = {}
    for entry in opened.entries:
        for one in read[entry.path]:
            if not one.rest and (said := forms.receipt_in(opened.head(entry, 1 << 16))):
                receipts[one.mark] = said
    return {
        path: [found for one in readings if (found := forms.with_user_name(one, receipts.get(one.mark)))]
        for path, readings in read.items()
    }


def _owner(
    readings: Sequence[Reading], form: Form, roster: Roster, anonymous: str | None
) -> tuple[Reading, Person]:
    """Whose a file is. Of several readings, exactly one must be of a student with that id and that name."""
    found = []
    problem = Nobody("its name can be read in several ways, and none is that of one student")
    for one in readings:
        name = "" if squeezed(one.name) == anonymous else one.name
        try:
            person = roster.person(form.kind, one.id, name)
        except Nobody as why:
            problem = why if len(readings) == 1 else problem
            continue
        if len(readings) == 1 or person.is_called(one.name):
            found.append((one, person))
    if len(found) != 1:
        raise problem
    return found[0]


def _last(claim: Sequence[tuple[Entry, Reading, Person]], done: Collected) -> Iterator[_Attempt]:
    """The last attempt in which there are files."""
    attempts: dict[str, list[tuple[Entry, Reading]]] = defaultdict(list)
    person = claim[0][2]
    for entry, reading, _ in claim:
        attempts[reading.attempt].append((entry, reading))
    with_files = [name for name, found in attempts.items() if any(one.rest for _, one in found)]
    if not with_files:
        done.problems.append((claim[0][0].path, f"{person.student} handed in a text, and no file"))
        return
    last = max(with_files)
    if last != max(attempts):
        done.notes.append(f"{person.student}: the last attempt has no file; the one before it was taken.")
    if any(one.late for _, one in attempts[last]):
        done.notes.append(f"{person.student}: late, says the system, which does not say when.")
    yield _Attempt(person, [(entry, one) for entry, one in attempts[last] if one.rest])


# Into the course


def _require_room(attempts: Sequence[_Attempt], where: Folders) -> None:
    """Raises CannotCollect where the disk has no room for all of it."""
    needed = sum(min(_size(one), archive.SUBMISSION_LIMIT) for one in attempts)
    free = shutil.disk_usage(where.directory.root).free
    if needed > free:
        raise CannotCollect(
            f"Unpacked it takes {needed >> 20} MB, and the disk has {free >> 20} MB; nothing was unpacked."
        )


def _size(attempt: _Attempt) -> int:
    return sum(entry.size for entry, _ in attempt.readings)


def _place_all(
    opened: Archive, attempts: Sequence[_Attempt], where: Folders, zone: tzinfo | None, done: Collected
) -> None:
    where.downloaded.mkdir(parents=True, exist_ok=True)
    incoming = Path(tempfile.mkdtemp(prefix=".incoming-", dir=where.downloaded))
    kept = remembered(where)
    students = kept["students"] if kept.get("system") == done.system else {}
    aside = where.downloaded / REPLACED / datetime.now(UTC).strftime("%Y-%m-%dT%H.%M.%S.%f")
    try:
        for number, attempt in enumerate(attempts):
            folder = incoming / str(number)
            folder.mkdir()
            marks = _unpack(opened, attempt, folder, zone, done)
            if marks:
                _place(folder, attempt.person.student, where, aside, done)
                students[attempt.person.student] = marks
    except OSError as error:
        raise CannotCollect(
            f"It could not be written ({error.strerror or error}). What was there is still there, or in "
            f"{aside}; the same command goes on."
        ) from None
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
        with contextlib.suppress(OSError):
            text = json.dumps({"system": done.system, "students": students}, indent=1, ensure_ascii=False)
            tables.put(where.memory, [text.encode()])
    done.aside = aside if aside.exists() else None


def _unpack(
    opened: Archive, attempt: _Attempt, folder: Path, zone: tzinfo | None, done: Collected
) -> list[tuple[str, str]]:
    """Write an attempt's files into an empty folder; returns the marks of what was written, with its name."""
    marks = []
    left = archive.SUBMISSION_LIMIT
    taken: set[str] = set()
    for entry, reading in attempt.readings:
        try:
            path = _free(archive.inside(reading.rest), taken)
            if archive.is_timestamp(path):
                raise Damaged("would say when it was handed in, which only the system can")
            if archive.is_link(entry):
                raise Damaged("is a link or a device")
            if entry.size > left or len(marks) >= bounds.COUNT_LIMIT:
                raise Damaged(
                    f"is past the {archive.SUBMISSION_LIMIT >> 20} MB that are read of a submission"
                )
            _write(folder / path, opened, entry)
        except Damaged as problem:
            done.problems.append((entry.path, f"it {problem} ({attempt.person.student})"))
            continue
        left -= entry.size
        marks.append((reading.mark, path.name))
    when = next((one.when for _, one in attempt.readings if one.when), None)
    when = when or forms.when_in(attempt.person.handed_in)
    if when and marks:
        text = when.replace(tzinfo=zone).astimezone(UTC).strftime(_TIME)
        (folder / TIMESTAMP).write_text(text, encoding="utf-8")
    elif marks and attempt.person.handed_in.strip("- "):
        done.notes.append(
            f"{attempt.person.student}: {shown(attempt.person.handed_in)} is not read as a time; take the "
            "worksheet from Moodle in English."
        )
    return marks


def _free(path: PurePosixPath, taken: set[str]) -> PurePosixPath:
    """This path, or one like it, that neither is taken nor leads through a file; it is taken from now on."""
    number = 1
    free = path
    while any(str(one).casefold() in taken for one in (free, *free.parents[:-1])) or (
        f"{free}/".casefold() in taken
    ):
        number += 1
        top = PurePosixPath(path.parts[0])
        free = PurePosixPath(top.with_name(f"{top.stem} ({number}){top.suffix}"), *path.parts[1:])
    taken.add(str(free).casefold())
    taken.update(f"{one}/".casefold() for one in free.parents[:-1])
    return free


def _write(path: Path, opened: Archive, entry: Entry) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            file.writelines(opened.pieces(entry))
    except Damaged:
        path.unlink()
        raise


def _place(folder: Path, student: str, where: Folders, aside: Path, done: Collected) -> None:
    """Move a submission to its place; what is there is set aside, unless it is the same or newer."""
    place = where.submitted(student)
    if os.path.islink(place) or os.path.islink(place.parent):
        done.problems.append((str(place), "what lies there is a link, which is not followed"))
        return
    if place.exists():
        if _same(place, folder):
            done.unchanged.append(student)
            return
        old, new = _time_in(place), _time_in(folder)
        if old and new and old > new:
            done.newer.append(student)
            return
        (aside / student).parent.mkdir(parents=True, exist_ok=True)
        _move(place, aside / student)
    place.parent.mkdir(parents=True, exist_ok=True)
    _move(folder, place)
    (done.replaced if (aside / student).exists() else done.new).append(student)


def _move(folder: Path, place: Path) -> None:
    """Move a folder in one step; where its new place is on another disk, it is copied beside that first."""
    try:
        os.rename(folder, place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = place.with_name(f".incoming-{secrets.token_hex(4)}")
        try:
            shutil.copytree(folder, beside, symlinks=True)
            os.rename(beside, place)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(folder)


def _time_in(folder: Path) -> datetime | None:
    try:
        return timestamp_in(folder)
    except (ValueError, OverflowError):
        return None


def _same(left: Path, right: Path) -> bool:
    """Whether two folders hold the same; a time is compared if both have one."""
    ignored = [] if all((one / TIMESTAMP).exists() for one in (left, right)) else [TIMESTAMP]
    compared = filecmp.dircmp(left, right, ignore=ignored, hide=[os.curdir, os.pardir])
    if compared.left_only or compared.right_only or compared.common_funny:
        return False
    _, mismatched, failed = filecmp.cmpfiles(left, right, compared.common_files, shallow=False)
    return (
        not mismatched and not failed and all(_same(left / one, right / one) for one in compared.common_dirs)
    )


def remembered(where: Folders) -> dict[str, dict]:
    """What was kept of earlier collections: the system, and by student the marks of their files."""
    try:
        kept = json.loads(where.memory.read_text(encoding="utf-8"))
        return kept if isinstance(kept.get("students"), dict) else {}
    except (OSError, ValueError, AttributeError):
        return {}
