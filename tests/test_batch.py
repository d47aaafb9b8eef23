"""Grading a class: equal to nbgrader's own command, and nothing lost whatever happens on the way."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from html import unescape
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbgrader import utils
from nbgrader.api import Gradebook

from graders.batch.run import Report
from graders.judging import catalogue
from tests.courses import (
    ROOT,
    answered,
    make_course,
    nbgrader,
    nbgrader_command,
    recorded,
    solution_code,
)
from tests.test_nbgrader import MISTAKEN

pytestmark = pytest.mark.skipif(not shutil.which("bwrap"), reason="no bubblewrap")

DAY = "day26"
STUDENTS = ("data", "late", "missing", "partial", "raising", "right", "untouched", "wrong")
#: Whom stock nbgrader grades as well, at some seconds each: all that it treats in a way of its own.
COMPARED = ("late", "missing")
LATE = """

from nbgrader.plugins import LateSubmissionPlugin


class TenthOff(LateSubmissionPlugin):
    def late_submission_penalty(self, student_id, score, total_seconds_late):
        return score / 10


c.AssignLatePenalties.plugin_class = TenthOff
"""
#: A second notebook of the assignment: what nbgrader grades without a check, and what a person grades.
WARM_UP = (
    (
        "code",
        "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION",
        "double",
        {"solution": True},
    ),
    (
        "code",
        "assert double(2) == 4\n### BEGIN HIDDEN TESTS\nassert double(3) == 6\n### END HIDDEN TESTS",
        "double_of_2",
        {"grade": True, "points": 2, "locked": True},
    ),
    (
        "code",
        "points = 0.5\nif double(1) == 2:\n    points = 1.5\npoints",
        "partial_points",
        {"grade": True, "points": 2, "locked": True},
    ),
    ("markdown", "Your words.", "essay", {"solution": True, "grade": True, "points": 3}),
)


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course in which day 26 was handed in by all students, and nothing is graded yet."""
    folder = make_course(tmp_path_factory.mktemp("batch") / "course", [])
    shutil.copytree(ROOT / "solutions" / DAY, folder / "solutions" / DAY)
    (folder / "solutions" / DAY / "warm_up.ipynb").write_text(json.dumps(_warm_up()))
    (folder / "solutions" / DAY / "numbers.csv").write_text("1,2\n")
    with (folder / "nbgrader_config.py").open("a") as file:
        file.write(LATE)
    nbgrader(folder, "generate_assignment", DAY)
    with Gradebook(f"sqlite:///{folder}/gradebook.db") as book:
        book.update_or_create_assignment(DAY, duedate=datetime(2026, 3, 1))
    right = solution_code(DAY)
    partial = dict(list(right.items())[::2])
    wrong = {name: code for name, (code, _, _) in MISTAKEN.items()}
    raising = {name: f"{code}\n\nraise ValueError('a slip')" for name, code in right.items()}
    hand_in(folder, "right", right, "def double(x):\n    return 2 * x")
    hand_in(folder, "wrong", wrong, "def double(x):\n    return 3 * x")
    hand_in(folder, "partial", partial)
    hand_in(folder, "untouched", {})
    hand_in(folder, "raising", raising, "1 / 0")
    hand_in(
        folder, "late", right, "import sys\n\n\ndef double(x):\n    return x + x", "2026-03-02 10:00:00 UTC"
    )
    hand_in(folder, "missing", partial | {"batch_norm_forward": "raise ValueError('a slip')"})
    (folder / "submitted" / "missing" / DAY / "warm_up.ipynb").unlink()
    hand_in(folder, "data", wrong, "def double(x):\n    return len(open('mine/two.txt').read()) * x")
    for student in ("data", "late"):
        mine = folder / "submitted" / student / DAY
        (mine / "mine").mkdir()
        (mine / "mine" / "two.txt").write_text("ab")
        (mine / "numbers.csv").write_text("changed\n")
    return folder


def hand_in(
    course: Path, student: str, code: dict, double: str = "", when: str = "2026-02-28 10:00:00 UTC"
) -> None:
    path = answered(course, student, DAY, code)
    notebook = json.loads((course / "exercises" / DAY / "warm_up.ipynb").read_text())
    if double:
        notebook["cells"][0]["source"] = double
        notebook["cells"][3]["source"] = f"The words of {student}."
    (path.parent / "warm_up.ipynb").write_text(json.dumps(notebook))
    (path.parent / "numbers.csv").write_text("1,2\n")
    (path.parent / "timestamp.txt").write_text(when)


def _warm_up() -> dict:
    cells = []
    for kind, source, name, form in WARM_UP:
        given = {"grade": False, "solution": False, "locked": False, "task": False, **form}
        cell: dict[str, Any] = {"cell_type": kind, "id": name.replace("_", "-"), "source": source}
        cell["metadata"] = {"nbgrader": {"grade_id": name, "schema_version": 3, **given}}
        if kind == "code":
            cell |= {"outputs": [], "execution_count": None}
        cells.append(cell)
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture(scope="module")
def graded(handed_in: Path) -> Path:
    """The same course after one undisturbed run."""
    course = copied(handed_in, handed_in.parent / "graded")
    autograde(course)
    return course


@pytest.fixture
def course(handed_in: Path, tmp_path: Path) -> Path:
    """A copy of the course that is not graded yet."""
    return copied(handed_in, tmp_path / "course")


def copied(course: Path, target: Path, students: tuple[str, ...] = STUDENTS) -> Path:
    shutil.copytree(course, target)
    for folder in (*target.glob("submitted/*"), *target.glob("autograded/*")):
        if folder.name not in students:
            shutil.rmtree(folder)
    return target


# Running it


def started(course: Path, *arguments: str, program: tuple[str, ...] = ("-m", "graders")) -> subprocess.Popen:
    """The command in the course folder, in a process group of its own as a terminal gives it."""
    (course / "tmp").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, *program, "autograde", *arguments],
        cwd=course,
        env={**os.environ, "TMPDIR": str(course / "tmp"), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen, status: int = 0) -> tuple[str, str]:
    """What the command said, once it has ended with this status and without a traceback."""
    said, complained = process.communicate(timeout=120)
    assert process.returncode == status, said + complained
    assert "Traceback" not in said + complained, said + complained
    return said, complained


def autograde(course: Path, *arguments: str, status: int = 0) -> tuple[str, str]:
    return ended(started(course, *(arguments or (DAY,))), status)


def wait_until(true: Callable[[], Any], seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return value


def graded_now(course: Path) -> list[str]:
    return sorted(path.parent.name for path in course.glob(f"autograded/[!.]*/{DAY}"))


def family(pid: int) -> list[int]:
    """All processes that descend from this one."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents.setdefault(int(path.read_text().rsplit(")", 1)[1].split()[1]), []).append(
                int(path.parent.name)
            )
    found = list(parents.get(pid, []))
    for one in found:
        found += parents.get(one, [])
    return found


def processes_with(text: str, among: list[int]) -> list[int]:
    found = []
    for pid in among:
        with contextlib.suppress(OSError):
            if text in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "):
                found.append(pid)
    return found


def workers_of(pid: int) -> list[int]:
    """The workers of the command: what its fork server has forked."""
    servers = processes_with("forkserver", family(pid))
    return [one for server in servers for one in processes_with("forkserver", family(server))]


def zygotes_of(pid: int) -> list[int]:
    """The warm processes in the jails: the last of each line of descent."""
    return [one for one in processes_with("graders.probing.process.zygote", family(pid)) if not is_bwrap(one)]


def is_bwrap(pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/exe").endswith("bwrap")
    except OSError:
        return True


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def assert_nothing_left(course: Path, pids: list[int]) -> None:
    """Of these processes and of what they made, nothing is there any more."""
    wait_until(lambda: not any(map(alive, pids)), 15)
    groups = [
        path for path in Path("/sys/fs/cgroup").rglob("graders-*") if int(path.name.split("-")[1]) in pids
    ]
    assert groups == []
    assert list(course.glob("autograded/*/.graders-*")) == []
    assert list((course / "tmp").iterdir()) == []


# Looking at what came of it


def dump(url: str | Path, students: tuple[str, ...] = STUDENTS) -> dict[str, dict]:
    """All that a gradebook holds of these students' submissions."""
    return {student: held for student, held in recorded(url, DAY).items() if student in students}


def files(course: Path, students: tuple[str, ...] = STUDENTS) -> dict:
    """What lies in autograded/: modes and contents; of a notebook its cells with their points."""
    found: dict[str, Any] = {}
    for student in students:
        for path in sorted((course / "autograded" / student).rglob("*")):
            name, mode = path.relative_to(course).as_posix(), stat.S_IMODE(path.stat().st_mode)
            content: Any = None
            if path.suffix == ".ipynb":
                notebook = nbformat.read(path, as_version=4)
                nbformat.validate(notebook)
                content = [notebook.metadata.kernelspec, notebook.nbformat_minor]
                for cell in notebook.cells:
                    points = utils.determine_grade(cell) if utils.is_grade(cell) else None
                    cell.metadata.pop("execution", None)  # when it was run
                    content.append((cell.id, cell.cell_type, cell.source, cell.metadata, points))
            elif path.is_file():
                content = path.read_bytes()
            found[name] = (oct(mode), content)
    return found


# Equal to nbgrader


def test_same_as_stock(graded: Path, handed_in: Path, tmp_path: Path) -> None:
    stock = copied(handed_in, tmp_path / "course", COMPARED)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = nbgrader_command("autograde", DAY, stock=True)
    subprocess.run(command, cwd=stock, env=environment, check=True, capture_output=True, timeout=300)
    assert dump(graded, COMPARED) == dump(stock, COMPARED)
    assert files(graded, COMPARED) == files(stock, COMPARED)


def test_same_as_the_seam(graded: Path, course: Path) -> None:
    nbgrader(course, "autograde", DAY)
    assert dump(graded) == dump(course)
    assert files(graded) == files(course)


def test_same_without_a_sandbox(course: Path, graded: Path) -> None:
    process = started(course, DAY, "--sandbox", "none")
    said, complained = ended(process)
    assert complained.startswith(
        "Warning: without a sandbox, submissions can read and change whatever you can."
    )
    assert "no sandbox: neither files nor network nor processes were kept from the submissions" in said
    assert dump(course) == dump(graded)
    assert files(course) == files(graded)
    assert_nothing_left(course, [process.pid])


def test_scores(graded: Path) -> None:
    held = dump(graded)
    total = sum(grade[0] for grade in held["right"]["notebooks"][DAY]["grades"].values())
    assert held["right"]["score"] == total + 3.5
    assert held["right"]["notebooks"]["warm_up"]["grades"]["essay"] == (None, None, None, True)
    penalties = [one["penalty"] for one in held["late"]["notebooks"].values()]
    assert sorted(penalties) == pytest.approx([0.35, total / 10])
    assert held["missing"]["notebooks"]["warm_up"]["grades"]["essay"] == (0, None, None, False)
    assert held["untouched"]["notebooks"]["warm_up"]["comments"]["essay"] == ("No response.", None)
    assert (graded / "autograded" / "data" / DAY / "numbers.csv").read_text() == "1,2\n"
    assert (graded / "autograded" / "data" / DAY / "mine" / "two.txt").read_text() == "ab"


def test_feedback_and_export(graded: Path, tmp_path: Path) -> None:
    course = copied(graded, tmp_path / "course", ("wrong", "late"))
    nbgrader(course, "generate_feedback", DAY)
    nbgrader(course, "export")
    assert "late" in (course / "grades.csv").read_text()
    for student in ("wrong", "late"):
        page = unescape((course / "feedback" / student / DAY / f"{DAY}.html").read_text())
        for name, (_, key, _) in MISTAKEN.items():
            assert f'data-exercise="{name}"' in page
            answer = catalogue.answer_of(name)
            message = next(one.message for one in answer.mistakes if one.key == key)
            assert (message.split("`")[0][:60] in page) == (student == "wrong"), name
    page = unescape((course / "feedback" / "wrong" / DAY / f"{DAY}.html").read_text())
    for hidden in ("graders/judging/references", "/grader/", "HIDDEN TESTS", "BEGIN SOLUTION", str(ROOT)):
        assert hidden not in page


# Nothing is lost

#: The command, with something done at the moment when a submission is recorded.
_DRIVEN = """
import errno, os, signal
from graders.batch.gradebook import Course
from graders.cli import app

record, calls = Course.record, []

def recorded(self, *given):
    calls.append(given)
    moment(self, len(calls))
    return record(self, *given)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

{moment}
Course.record = recorded
app()
"""
BEFORE_THE_FIRST = "def moment(course, count):\n    die()"
AFTER_TWO = "def moment(course, count):\n    if count == 3: die()"
BETWEEN_COMMIT_AND_RENAME = """
def moment(course, count):
    if count == 2:
        course.session.commit = lambda commit=course.session.commit: (commit(), die())
"""
BETWEEN_OLD_AND_COMMIT = """
def moment(course, count):
    if count == 2:
        course.session.commit = die
"""


def driven(course: Path, moment: str, *arguments: str) -> subprocess.Popen:
    return started(course, *(arguments or (DAY,)), program=("-c", _DRIVEN.format(moment=moment)))


def test_killed_at_several_moments(course: Path, graded: Path) -> None:
    seen: list[int] = []
    process = started(course, DAY)
    wait_until(lambda: zygotes_of(process.pid))  # while it is getting ready
    seen += [process.pid, *family(process.pid)]
    process.kill()
    process.communicate()
    assert graded_now(course) == []
    for moment, count in (
        (BEFORE_THE_FIRST, 0),
        (AFTER_TWO, 2),
        (BETWEEN_COMMIT_AND_RENAME, 3),
    ):
        process = driven(course, moment)
        while process.poll() is None:
            seen = list({*seen, process.pid, *family(process.pid)})
            time.sleep(0.2)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert len(graded_now(course)) == count
    said, _ = autograde(course)
    assert f"{len(STUDENTS) - 3} graded, 3 graded before" in said
    assert dump(course) == dump(graded)
    assert files(course) == files(graded)
    assert_nothing_left(course, seen)


def test_killed_while_an_old_folder_gives_way(graded: Path, tmp_path: Path) -> None:
    """Between the old folder and the new one the submission counts as not graded, whatever comes."""
    course = copied(graded, tmp_path / "course", ("right", "wrong"))
    process = driven(course, BETWEEN_OLD_AND_COMMIT, DAY, "--force")
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(graded_now(course)) == 1
    said, _ = autograde(course)
    assert "1 graded, 1 graded before" in said
    assert dump(course) == dump(graded)
    assert_nothing_left(course, [process.pid])


def test_a_worker_and_a_warm_process_are_killed(course: Path, graded: Path) -> None:
    process = started(course, DAY, "--workers", "1")
    seen = []
    for number, find in enumerate((workers_of, zygotes_of, workers_of), 1):
        wait_until(lambda number=number: len(graded_now(course)) >= number)
        seen += family(process.pid)
        os.kill(wait_until(lambda find=find: find(process.pid))[0], signal.SIGKILL)
    said, _ = ended(process)
    assert f"{len(STUDENTS)} graded" in said
    assert dump(course) == dump(graded)
    autograde(course)
    assert_nothing_left(course, seen)


def test_a_submission_that_ends_workers_costs_no_other(course: Path, graded: Path) -> None:
    """Here the worker is made to die of one submission; a jail would have to be left for that."""
    moment = """
from graders.batch import run, worker

def moment(course, count):
    pass

grade = worker.grade
worker.grade = fatal
"""
    (course / "fatal.py").write_text(
        "import os\nfrom graders.batch.worker import grade as real\n\n\n"
        "def grade(job):\n    if b'The words of right' in job:\n        os._exit(1)\n    return real(job)\n"
    )
    process = driven(course, "from fatal import grade as fatal\n" + moment)
    said, _ = ended(process, 1)
    assert "right" in said and "not graded: The worker that graded it ended, again and again." in said
    others = tuple(student for student in STUDENTS if student != "right")
    assert dump(course, others) == dump(graded, others)


def test_locked_gradebook(course: Path, graded: Path) -> None:
    with (course / "nbgrader_config.py").open("a") as file:
        file.write(f"c.CourseDirectory.db_url = 'sqlite:///{course}/gradebook.db?timeout=0.3'\n")
    other = sqlite3.connect(course / "gradebook.db", isolation_level=None, timeout=10)
    other.execute("BEGIN EXCLUSIVE")
    _, complained = autograde(course, status=2)
    assert complained == f"{LOCKED}\n"
    other.execute("ROLLBACK")
    process = started(course, DAY)
    wait_until(lambda: graded_now(course))
    other.execute("BEGIN EXCLUSIVE")
    _, complained = ended(process, 1)
    other.execute("ROLLBACK")
    other.close()
    assert complained.splitlines()[-1] == LOCKED
    done = tuple(graded_now(course))
    assert 0 < len(done) < len(STUDENTS)
    assert dump(course) == dump(graded, done)
    autograde(course)
    assert dump(course) == dump(graded)
    assert files(course) == files(graded)


LOCKED = "The gradebook is locked by another program. Close it and run the same command again."
FULL = "The disk is full. Make room and run the same command again; it goes on where it stopped."


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", place], capture_output=True
    ).returncode:
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_full_disk(handed_in: Path, graded: Path, small_disk: Path) -> None:
    course = copied(handed_in, small_disk / "course")
    (course / "tmp").mkdir()
    free = os.statvfs(course)
    (course / "filling").write_bytes(bytes(free.f_bavail * free.f_frsize - (300 << 10)))
    _, complained = autograde(course, status=1)
    assert complained.splitlines()[-1] == FULL
    done = tuple(graded_now(course))
    assert 0 < len(done) < len(STUDENTS)
    (course / "filling").unlink()
    assert dump(course) == dump(graded, done)
    autograde(course)
    assert dump(course) == dump(graded)
    assert files(course) == files(graded)


def test_full_disk_as_the_system_says_it(course: Path, graded: Path) -> None:
    moment = """
def moment(course, count):
    if count == 3:
        raise_it()

from graders.batch import gradebook
def raise_it():
    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")
    gradebook.lay = full
"""
    _, complained = ended(driven(course, moment), 1)
    assert complained.splitlines()[-1] == FULL
    assert len(graded_now(course)) == 2
    assert dump(course) == dump(graded, tuple(graded_now(course)))
    assert list(course.glob("autograded/*/.graders-*")) == []


def test_interrupted(course: Path, graded: Path) -> None:
    process = started(course, DAY)
    wait_until(lambda: zygotes_of(process.pid))  # later it may be over before the signal comes
    seen = family(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    _, complained = ended(process, 130)
    assert complained.splitlines()[-1].endswith(
        "Interrupted. Run the same command again; it goes on where it stopped."
    )
    assert_nothing_left(course, seen)
    autograde(course)
    assert dump(course) == dump(graded)
    assert files(course) == files(graded)


def test_one_run_at_a_time(course: Path) -> None:
    handle = os.open(course, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    _, complained = autograde(course, status=2)
    os.close(handle)
    assert complained == "Another `graders autograde` is at work in this course; wait until it has ended.\n"


# What people did stays


def test_grades_given_by_hand_survive(graded: Path, tmp_path: Path) -> None:
    course = copied(graded, tmp_path / "course", ("late", "right", "wrong"))
    for student, points, extra in (("right", 2.5, 1.0), ("late", 0.0, None)):
        with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
            grade = book.find_grade("essay", "warm_up", DAY, student)
            grade.manual_score, grade.extra_credit = points, extra
            grade.needs_manual_grade = False
            book.find_grade("double_of_2", "warm_up", DAY, student).manual_score = 1.0
            book.find_comment("essay", "warm_up", DAY, student).manual_comment = "Well put."
            book.db.commit()
    (course / "submitted" / "wrong" / DAY / "timestamp.txt").write_text("2026-02-28 11:00:00 UTC")
    answered(course, "wrong", DAY, solution_code(DAY))
    said, _ = autograde(course)
    assert "1 graded, 2 graded before" in said
    assert "wrong  " in said
    held = dump(course)
    assert held["wrong"]["timestamp"] == datetime(2026, 2, 28, 11)
    assert held["wrong"]["notebooks"][DAY] == dump(graded)["right"]["notebooks"][DAY]
    said, _ = autograde(course, DAY, "--force", "--student", "right", "--student", "late")
    assert "2 graded;" in said
    held = dump(course)
    for student, points, extra in (("right", 2.5, 1.0), ("late", 0.0, None)):
        one = held[student]["notebooks"]["warm_up"]
        assert one["grades"]["essay"] == (None, points, extra, True)
        assert one["grades"]["double_of_2"] == (2, 1.0, None, True)
        assert one["comments"]["essay"] == (None, "Well put.")


def test_json(handed_in: Path, graded: Path, tmp_path: Path) -> None:
    course = copied(handed_in, tmp_path / "course", ("right", "wrong"))
    (course / "submitted" / "wrong" / DAY / f"{DAY}.ipynb").write_text("{")
    (course / "submitted" / "wrong" / DAY / "warm_up.ipynb").unlink()
    said, complained = autograde(
        course, DAY, "--json", "--student", "right", "--student", "wrong", "--student", "who", status=1
    )
    assert complained == ""
    report = json.loads(said)
    assert report.keys() == {field.name for field in dataclasses.fields(Report)}
    assert report["assignment"] == DAY and report["stopped"] is None and report["seconds"] > 0
    assert all(isinstance(text, str) for text in report["limits"])
    results = {one.pop("student"): one for one in report["results"]}
    points = sum(
        grade[0] or 0
        for one in dump(graded)["right"]["notebooks"].values()
        for grade in one["grades"].values()
    )
    assert results["right"].pop("most") > points
    assert results["right"] == {
        "outcome": "graded",
        "points": points,
        "flags": [],
        "notes": [],
        "reason": None,
    }
    assert results["wrong"]["outcome"] == results["who"]["outcome"] == "failed"
    assert "no valid JSON" in results["wrong"]["reason"]
    assert results["who"]["reason"] == "There is no submission of this student."


def test_refusals(handed_in: Path, tmp_path: Path) -> None:
    """Each is one sentence, with exit status 2, and changes nothing."""
    empty = tmp_path / "empty"
    empty.mkdir()
    dull = tmp_path / "bin"
    dull.mkdir()
    (dull / "bwrap").write_text("#!/bin/sh\necho No permissions to create a new namespace >&2\nexit 1\n")
    (dull / "bwrap").chmod(0o755)
    before = (handed_in / "gradebook.db").read_bytes()
    for folder, arguments, path, says in (
        (handed_in, ("day99",), None, "The gradebook knows no assignment 'day99': run `nbgrader"),
        (empty, (DAY,), None, "There is no gradebook at sqlite:///"),
        (handed_in, (DAY,), str(empty), "Grading needs bubblewrap, which is not installed: on Debian"),
        (handed_in, (DAY,), str(dull), "bubblewrap cannot make a sandbox here (No permissions"),
        (handed_in, (DAY, "--scheduler", "tcp://127.0.0.1:9"), None, "There is no Dask scheduler at tcp"),
    ):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)} | ({"PATH": path} if path else {})
        result = subprocess.run(
            [sys.executable, "-m", "graders", "autograde", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert result.returncode == 2, result
        assert result.stdout == ""
        assert result.stderr.splitlines()[-1].startswith(says), result.stderr
        assert "Traceback" not in result.stderr
    assert list(empty.iterdir()) == []
    assert (handed_in / "gradebook.db").read_bytes() == before


# Another gradebook, other machines


@pytest.fixture
def postgresql() -> Iterator[str]:
    """A PostgreSQL server of our own; yields the address of an empty database."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr/pgsql").glob("*/bin")]
    programs = shutil.which("initdb") or next(
        (str(path / "initdb") for path in found if (path / "initdb").exists()), None
    )
    if not programs:
        pytest.skip("no PostgreSQL server")
    pytest.importorskip("psycopg")
    bin = Path(programs).resolve().parent
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    account = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
    if account:
        os.chown(folder, 65534, 65534)
    run = {"cwd": folder, "check": True, "capture_output": True, **account}
    subprocess.run([bin / "initdb", "-D", folder / "data", "-U", "course", "-A", "trust", "--no-sync"], **run)
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    control = [bin / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log"]
    subprocess.run([*control, "-o", options, "start"], **run)
    try:
        yield f"postgresql+psycopg://course@/postgres?host={folder}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **run)
        shutil.rmtree(folder)


def test_postgresql(handed_in: Path, graded: Path, postgresql: str, tmp_path: Path) -> None:
    students = ("late", "missing", "wrong")
    course = copied(handed_in, tmp_path / "course", students)
    (course / "gradebook.db").unlink()
    with (course / "nbgrader_config.py").open("a") as file:
        file.write(f"c.CourseDirectory.db_url = {postgresql!r}\n")
    _, complained = autograde(course, status=2)
    assert complained.startswith("There is no gradebook at postgresql+psycopg://")
    nbgrader(course, "generate_assignment", DAY, "--force")
    with Gradebook(postgresql) as book:
        book.update_or_create_assignment(DAY, duedate=datetime(2026, 3, 1))
    autograde(course)
    assert dump(postgresql) == dump(graded, students)
    assert files(course, students) == files(graded, students)
    assert not (course / "gradebook.db").exists()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen], subprocess.Popen]]:
    """A Dask scheduler and two workers, as separate processes on this machine."""
    pytest.importorskip("distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    log = (tmp_path / "dask.log").open("w")

    def dask(*arguments: str) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard"]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)

    scheduler = dask("scheduler", "--host", "127.0.0.1", "--port", address.rsplit(":", 1)[1])
    workers = [
        dask(
            "worker",
            address,
            "--nthreads",
            "1",
            "--no-nanny",
            "--local-directory",
            str(tmp_path / f"w{number}"),
        )
        for number in range(2)
    ]
    try:
        from distributed import Client

        with Client(address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield address, workers, scheduler
    finally:
        for process in (*workers, scheduler):
            process.terminate()
        for process in (*workers, scheduler):
            process.wait(30)
        log.close()


def test_dask(course: Path, graded: Path, cluster: tuple) -> None:
    address, workers, scheduler = cluster
    said, _ = autograde(
        course, DAY, "--scheduler", address, "--student", "right", "--student", "late", "--student", "wrong"
    )
    assert "3 graded" in said
    warm = {worker.pid: zygotes_of(worker.pid) for worker in workers}
    assert any(warm.values())
    process = started(course, DAY, "--scheduler", address)
    wait_until(lambda: len(graded_now(course)) >= 4)
    lost = family(workers[0].pid)
    workers[0].kill()
    said, _ = ended(process)
    assert f"{len(STUDENTS) - 3} graded, 3 graded before" in said
    assert dump(course) == dump(graded)
    assert files(course) == files(graded)
    kept = zygotes_of(workers[1].pid)
    assert len(kept) == 1 and (not warm[workers[1].pid] or kept == warm[workers[1].pid])
    moment = (
        f"def moment(course, count):\n    if count == 2:\n        os.kill({scheduler.pid}, signal.SIGKILL)"
    )
    process = driven(course, moment, DAY, "--force", "--scheduler", address)
    _, complained = ended(process, 1)
    assert complained.splitlines()[-1].startswith("The workers cannot be reached any more.")
    workers[1].terminate()
    wait_until(lambda: not any(map(alive, [*lost, *kept])), 20)
