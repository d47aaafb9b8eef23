"""A course over its year: what is released later, lost or configured in its own way costs nobody anything."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy.exc
from nbgrader.api import Gradebook

from graders import cli
from graders.batch import gradebook
from graders.batch.gradebook import CannotRecord, CannotStart, Course, NotRecorded
from graders.batch.run import Report, Result
from tests.courses import (
    ROOT,
    answered,
    cell_of,
    nbgrader,
    notebook_of,
    recorded,
    release,
    run_graders,
    write_source,
)

HW = "hw"
EXERCISES = {"double": ("def double(x):\n    return 2 * x", "assert double(2) == 4")}
DOUBLE = EXERCISES["double"][0]
IN_TIME = "2026-02-28 10:00:00 UTC"


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course in which an assignment is released that nobody has handed in."""
    course = tmp_path_factory.mktemp("courses") / "course"
    course.mkdir()
    shutil.copy(ROOT / "nbgrader_config.py", course)
    write_source(course, HW, EXERCISES)
    release(course, HW)
    return course


@pytest.fixture
def course(released: Path, tmp_path: Path) -> Path:
    return shutil.copytree(released, tmp_path / "course")


def hand_in(course: Path, student: str, answer: str = DOUBLE, when: str | None = IN_TIME) -> Path:
    path = answered(course, student, HW, {"double": answer})
    if when:
        (path.parent / "timestamp.txt").write_text(when)
    return path.parent


def configure(course: Path, lines: str) -> None:
    with (course / "nbgrader_config.py").open("a") as file:
        file.write(f"\n{lines}\n")


def points(course: Path) -> dict[str, float]:
    return {student: held["score"] for student, held in recorded(course, HW).items()}


def first_cell(course: Path, student: str) -> str:
    graded = json.loads((course / "autograded" / student / HW / f"{HW}.ipynb").read_text())
    return "".join(graded["cells"][0]["source"])


def listed(course: Path) -> dict[str, str]:
    """What becomes of each student's submission in a run."""
    opened = Course(course, HW)
    try:
        return dict(opened.students([]))
    finally:
        opened.close()


@pytest.mark.parametrize("command", [run_graders, nbgrader])
def test_a_notebook_that_was_released_after_a_submission_is_graded(course: Path, command: Any) -> None:
    hand_in(course, "ann")
    command(course, "autograde", HW)
    text = (course / "solutions" / HW / f"{HW}.ipynb").read_text()
    (course / "solutions" / HW / "bonus.ipynb").write_text(text)
    nbgrader(course, "generate_assignment", HW, "--notebook=bonus")  # all of it at once is refused by now
    for student in ("ann", "bob"):
        folder = hand_in(course, student, when="2026-03-01 10:00:00 UTC")
        shutil.copy(folder / f"{HW}.ipynb", folder / "bonus.ipynb")
    command(course, "autograde", HW)
    assert points(course) == {"ann": 4, "bob": 4}
    held = recorded(course, HW)
    assert held["ann"]["notebooks"] == held["bob"]["notebooks"]
    assert (course / "autograded" / "ann" / HW / "bonus.ipynb").exists()
    assert listed(course) == {"ann": "skip", "bob": "skip"}


@pytest.fixture
def graded(course: Path) -> Path:
    for student in ("ann", "bob"):
        hand_in(course, student)
    run_graders(course, "autograde", HW)
    return course


def book_of(course: Path) -> Gradebook:
    return Gradebook(f"sqlite:///{course}/gradebook.db")


def test_what_the_gradebook_has_lost_is_graded_again(graded: Path) -> None:
    with book_of(graded) as book:
        book.remove_student("ann")
        book.add_student("ann")
    assert listed(graded) == {"ann": "lost", "bob": "skip"}
    said = run_graders(graded, "regrade", HW)
    assert "Left out: 1 submission not graded yet; `graders autograde hw` grades them." in said
    said = run_graders(graded, "autograde", HW)
    assert "hw: 1 graded, 1 graded before and not handed in anew" in said
    assert points(graded) == {"ann": 2, "bob": 2}


def test_a_grading_that_was_killed_is_done_again(course: Path) -> None:
    """As nbgrader's own command leaves it: a folder, and a submission that has entries without points."""
    folder = hand_in(course, "ann")
    shutil.copytree(folder, course / "autograded" / "ann" / HW)
    with book_of(course) as book:
        book.add_student("ann")
        book.add_submission(HW, "ann")
    assert listed(course) == {"ann": "lost"}


@pytest.mark.parametrize("by_hand,asked", [(1.0, True), (None, False)])
def test_what_a_person_has_done_is_a_grading(graded: Path, by_hand: float | None, asked: bool) -> None:
    with book_of(graded) as book:
        grade = book.find_grade("test_double", HW, HW, "ann")
        grade.auto_score, grade.manual_score, grade.needs_manual_grade = None, by_hand, asked
        book.db.commit()
    assert listed(graded) == {"ann": "skip", "bob": "skip"}


def test_essays_that_wait_for_a_person_were_graded(course: Path) -> None:
    essay = {"solution": True, "grade": True, "points": 3}
    notebook = notebook_of([cell_of("essay", "Your words.", kind="markdown", **essay)])
    (course / "solutions" / HW / f"{HW}.ipynb").write_text(json.dumps(notebook))
    release(course, HW)
    path = hand_in(course, "ann") / f"{HW}.ipynb"
    path.write_text(path.read_text().replace("YOUR ANSWER HERE", "These are mine."))
    run_graders(course, "autograde", HW)
    assert recorded(course, HW)["ann"]["notebooks"][HW]["grades"] == {"essay": (None, None, None, True)}
    assert listed(course) == {"ann": "skip"}


def test_who_was_removed_stays_removed_and_is_named(graded: Path) -> None:
    with book_of(graded) as book:
        book.remove_student("ann")
    said = run_graders(graded, "autograde", HW)
    assert "ann  note: It lies in the folder of graded submissions, but the gradebook does not know" in said
    assert "hw: 0 graded, 1 graded before and not handed in anew (--force grades them), 1 left alone;" in said
    assert points(graded) == {"bob": 2}
    run_graders(graded, "autograde", HW, "--student", "ann", "--force")
    assert points(graded) == {"ann": 2, "bob": 2}


def test_a_time_after_none_is_a_later_one(course: Path) -> None:
    hand_in(course, "ann", "def double(x):\n    return x", when=None)
    run_graders(course, "autograde", HW)
    assert listed(course) == {"ann": "skip"}
    hand_in(course, "ann")
    run_graders(course, "autograde", HW)
    assert points(course) == {"ann": 2}
    assert listed(course) == {"ann": "skip"}


def test_a_time_that_is_ignored_as_a_file_is_compared_with_that_of_the_gradebook(course: Path) -> None:
    configure(course, "c.CourseDirectory.ignore.append('timestamp.txt')")
    hand_in(course, "ann")
    run_graders(course, "autograde", HW)
    (course / "autograded" / "ann" / HW / "timestamp.txt").unlink(missing_ok=True)
    assert listed(course) == {"ann": "skip"}
    hand_in(course, "ann", when="2026-03-01 10:00:00 UTC")
    assert listed(course) == {"ann": "grade"}


def test_a_course_with_signs_of_patterns_in_its_name(graded: Path) -> None:
    moved = graded.rename(graded.with_name("Kurs [2026] 'ü'"))
    (moved / "autograded" / "ann" / ".graders-half").mkdir()
    opened = Course(moved, HW)
    try:
        assert dict(opened.students([])) == {"ann": "skip", "bob": "skip"}
        assert [student for student, _ in opened.graded([])] == ["ann", "bob"]
        opened.clean_up()
    finally:
        opened.close()
    assert not (moved / "autograded" / "ann" / ".graders-half").exists()


def closed(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Have nobody open a folder, as the system lets root do; everything else may be opened."""
    access = os.access
    monkeypatch.setattr(os, "access", lambda one, mode: Path(one) != path and access(one, mode))


def test_a_folder_that_may_not_be_opened_is_told(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = hand_in(course, "ann")
    opened = Course(course, HW)
    try:
        closed(monkeypatch, folder)
        with pytest.raises(PermissionError, match="this account may not open its folder"):
            opened.read("ann")
        monkeypatch.undo()
        closed(monkeypatch, folder.parent)
        shutil.rmtree(folder)  # nobody sees that it is not there
        assert list(opened._closed("submitted")) == [("ann", folder)]
        monkeypatch.undo()
        assert list(opened._closed("submitted")) == []
    finally:
        opened.close()


def test_a_folder_that_may_not_be_written_stops_nobody_else(
    graded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that another account's `nbgrader autograde` has made."""
    place = graded / "autograded" / "ann"
    make = Path.mkdir

    def refused(self: Path, *given: Any, **named: Any) -> None:
        if place in self.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        make(self, *given, **named)

    monkeypatch.setattr(Path, "mkdir", refused)
    opened = Course(graded, HW, force=True)
    try:
        with pytest.raises(NotRecorded, match=rf"^{place} cannot be written \(Permission denied\)"):
            opened.record(opened.read("ann"), {})
        shutil.rmtree(place)
        place = place.parent
        with pytest.raises(CannotRecord):
            opened.record(opened.read("ann"), {})
    finally:
        opened.close()


# Configurations

SUBCLASS = """
from nbgrader.preprocessors import {kind}


class Own({kind}):
    pass


c.Autograde.autograde_preprocessors = [Own, "nbgrader.preprocessors.SaveAutoGrades"]
"""
STEP = """
import os

from nbgrader.preprocessors import NbGraderPreprocessor


class Own(NbGraderPreprocessor):
    def preprocess(self, nb, resources):
        {body}
        return nb, resources


c.Autograde.{where}_preprocessors = ["nbgrader.preprocessors.{first}", Own]
"""


@pytest.fixture
def opened(course: Path) -> Iterator[Any]:
    """Opens the course with more lines in its configuration; closed in the end."""
    courses: list[Course] = []

    def open_with(lines: str) -> Course:
        configure(course, lines)
        courses.append(Course(course, HW))
        return courses[-1]

    yield open_with
    for one in courses:
        one.close()


def test_another_execute_never_runs_code_beside_the_sandbox(opened: Any) -> None:
    one = opened(SUBCLASS.format(kind="Execute"))
    assert one._steps[1] == []
    assert one.not_served == ["Own of nbgrader_config.py is not used: code runs in the sandbox instead."]


@pytest.mark.parametrize("kind", ["SaveAutoGrades", "AssignLatePenalties"])
def test_what_writes_into_the_gradebook_by_itself_is_refused(opened: Any, kind: str) -> None:
    with pytest.raises(CannotStart, match=r"Own in nbgrader_config\.py writes into the gradebook in its"):
        opened(SUBCLASS.format(kind=kind))


@pytest.mark.parametrize("name", ["pre_convert_hook", "post_convert_hook"])
def test_a_hook_that_is_not_called_is_named(course: Path, name: str) -> None:
    configure(course, f"c.Autograde.{name} = print")
    said = run_graders(course, "autograde", HW)
    assert said.count(f"{name} of nbgrader_config.py is not called: only `nbgrader autograde` does.") == 1


@pytest.mark.parametrize(
    "seconds,says",
    [
        ("300", ["Cells have 300 s by nbgrader_config.py; here they have 60 s: --cell-timeout 300 gives"]),
        ("-1", ["Cells have no limit by nbgrader_config.py; here it is 60 s"]),
        ("60", []),
    ],
)
def test_a_longer_timeout_of_a_course_that_grades_by_execute_is_named(
    opened: Any, seconds: str, says: list[str]
) -> None:
    one = opened(
        f"c.Execute.timeout = {seconds}\n"
        "c.Autograde.autograde_preprocessors = ['nbgrader.preprocessors.Execute']"
    )
    said = list(cli._not_served(one, 60.0))
    assert len(said) == len(says)
    assert all(text.startswith(start) for text, start in zip(said, says, strict=True))


def test_the_timeout_of_nbgraders_validate_is_not_meant(opened: Any) -> None:
    assert list(cli._not_served(opened("c.Execute.timeout = 300"), 60.0)) == []


def test_preprocessors_of_a_course_find_the_folders_that_nbgrader_gives_them(course: Path) -> None:
    body = "nb.cells[0].source += '\\n# ' + str(sorted(os.listdir(resources['metadata']['path'])))"
    for where, first in (("sanitize", "ClearOutput"), ("autograde", "Execute")):
        configure(course, STEP.format(body=body, where=where, first=first))
    (hand_in(course, "ann") / "data.csv").write_text("1")
    run_graders(course, "autograde", HW)
    *_, handed_in, graded = first_cell(course, "ann").splitlines()
    assert handed_in == f"# ['data.csv', '{HW}.ipynb', 'timestamp.txt']"
    assert graded == "# ['data.csv', 'timestamp.txt']"


@pytest.mark.parametrize("where,first", [("sanitize", "ClearOutput"), ("autograde", "Execute")])
def test_a_preprocessor_that_fails_is_named(course: Path, where: str, first: str) -> None:
    configure(course, STEP.format(body="raise KeyError('x')", where=where, first=first))
    hand_in(course, "ann")
    said = run_graders(course, "autograde", HW, status=1)
    assert "The preprocessor Own of nbgrader_config.py failed (KeyError: 'x')." in said
    assert points(course) == {}


def test_a_function_is_a_preprocessor_too(course: Path) -> None:
    configure(
        course,
        "def own(nb, resources):\n    nb.cells[0].source += '  # mine'\n    return nb, resources\n\n\n"
        "c.Autograde.autograde_preprocessors.append(own)",
    )
    hand_in(course, "ann")
    run_graders(course, "autograde", HW)
    assert first_cell(course, "ann").endswith("  # mine")


PENALTY = """
from nbgrader.plugins import LateSubmissionPlugin


class Half(LateSubmissionPlugin):
    def late_submission_penalty(self, student_id, score, total_seconds_late):
        return {value}


c.AssignLatePenalties.plugin_class = Half
"""


@pytest.mark.parametrize("listed", [True, False])
def test_penalties_are_taken_where_the_step_that_takes_them_is_listed(course: Path, listed: bool) -> None:
    configure(course, PENALTY.format(value="score / 2"))
    if not listed:
        configure(
            course, "c.Autograde.autograde_preprocessors.remove('nbgrader.preprocessors.AssignLatePenalties')"
        )
    with book_of(course) as book:
        book.update_or_create_assignment(HW, duedate="2026-02-01 10:00:00 UTC")
    hand_in(course, "ann")
    run_graders(course, "autograde", HW)
    assert recorded(course, HW)["ann"]["notebooks"][HW]["penalty"] == (1 if listed else None)


def test_a_plugin_that_fails_is_named(course: Path) -> None:
    configure(course, PENALTY.format(value="'half'"))
    with book_of(course) as book:
        book.update_or_create_assignment(HW, duedate="2026-02-01 10:00:00 UTC")
    hand_in(course, "ann")
    said = run_graders(course, "autograde", HW, status=1)
    assert "The plugin for late penalties of nbgrader_config.py failed (TypeError: " in said


# Sentences


def test_a_run_that_stopped_says_nothing_of_what_is_handed_in(capsys: pytest.CaptureFixture) -> None:
    cli._print_summary(Report(HW, stopped="The disk is full."), [])
    assert "no submissions" not in capsys.readouterr().out
    cli._print_summary(Report(HW), [])
    assert "There are no submissions of hw in this course." in capsys.readouterr().out


def test_who_is_left_alone_is_not_said_to_be_graded(capsys: pytest.CaptureFixture) -> None:
    cli._print_summary(Report(HW, [Result("ann", "skipped", notes=["Why."])]), [])
    said = capsys.readouterr().out
    assert "ann" in said and "note: Why." in said
    assert "0 graded, 1 left alone;" in said


def test_a_gradebook_that_may_not_be_written() -> None:
    refused = sqlalchemy.exc.OperationalError("", {}, Exception("attempt to write a readonly database"))
    assert gradebook._about(refused).startswith(
        "The gradebook cannot be opened or written (attempt to write a readonly database). Allow this account"
    )
