"""A class that hands in an assignment, and runs of `graders autograde` that grade it, as tests watch them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
from nbgrader import utils
from nbgrader.api import Gradebook

from graders.batch.submission import OWN
from tests import warm
from tests.courses import ROOT, answered, cell_of, notebook_of, recorded, release

STUDENTS = ("data", "late", "missing", "partial", "raising", "right", "untouched", "wrong")
LATE = """

from nbgrader.plugins import LateSubmissionPlugin


class TenthOff(LateSubmissionPlugin):
    def late_submission_penalty(self, student_id, score, total_seconds_late):
        return score / 10


c.AssignLatePenalties.plugin_class = TenthOff
"""
#: A file that comes with the assignment; large enough for a class of copies to fill a small disk.
NUMBERS = "1,2\n" * 10_000
#: The second notebook of each assignment: what nbgrader grades without a check, and what a person grades.
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
IN_TIME, TOO_LATE = "2026-02-28 10:00:00 UTC", "2026-03-02 10:00:00 UTC"


def make_class(folder: Path, day: str, right: Mapping[str, str], wrong: Mapping[str, str], slip: str) -> None:
    """An assignment handed in by all students, in a course in which it is not yet released.

    right, wrong: the answers of two of them, by cell. slip: the cell in which two raise an exception.
    """
    (folder / "solutions" / day / "warm_up.ipynb").write_text(json.dumps(_warm_up()))
    (folder / "solutions" / day / "numbers.csv").write_text(NUMBERS)
    with (folder / "nbgrader_config.py").open("a") as file:
        file.write(LATE)
    release(folder, day)
    with Gradebook(f"sqlite:///{folder}/gradebook.db") as book:
        book.update_or_create_assignment(day, duedate=datetime(2026, 3, 1))
    partial = dict(list(right.items())[::2])
    raising = {name: f"{code}\n\nraise ValueError('a slip')" for name, code in right.items()}
    _hand_in(folder, day, "right", right, "def double(x):\n    return 2 * x")
    _hand_in(folder, day, "wrong", wrong, "def double(x):\n    return 3 * x")
    _hand_in(folder, day, "partial", partial)
    _hand_in(folder, day, "untouched", {})
    _hand_in(folder, day, "raising", raising, "1 / 0")
    _hand_in(folder, day, "late", right, "import sys\n\n\ndef double(x):\n    return x + x", TOO_LATE)
    _hand_in(folder, day, "missing", partial | {slip: "raise ValueError('a slip')"})
    (folder / "submitted" / "missing" / day / "warm_up.ipynb").unlink()
    _hand_in(folder, day, "data", wrong, "def double(x):\n    return len(open('mine/two.txt').read()) * x")
    for student in ("data", "late"):
        mine = folder / "submitted" / student / day
        (mine / "mine").mkdir()
        (mine / "mine" / "two.txt").write_text("ab")
        (mine / "numbers.csv").write_text("changed\n")


def _hand_in(
    course: Path, day: str, student: str, code: Mapping[str, str], double: str = "", when: str = IN_TIME
) -> None:
    path = answered(course, student, day, code)
    notebook = json.loads((course / "exercises" / day / "warm_up.ipynb").read_text())
    if double:
        notebook["cells"][0]["source"] = double
        notebook["cells"][3]["source"] = f"The words of {student}."
    (path.parent / "warm_up.ipynb").write_text(json.dumps(notebook))
    (path.parent / "numbers.csv").write_text(NUMBERS)
    (path.parent / "timestamp.txt").write_text(when)


def _warm_up() -> dict[str, Any]:
    return notebook_of(cell_of(name, source, kind=kind, **form) for kind, source, name, form in WARM_UP)


def copied(course: Path, target: Path, students: tuple[str, ...] = STUDENTS) -> Path:
    shutil.copytree(course, target)
    for folder in (*target.glob("submitted/*"), *target.glob("autograded/*")):
        if folder.name not in students:
            shutil.rmtree(folder)
    return target


# Running it


def started(
    course: Path,
    *arguments: str,
    program: tuple[str, ...] = ("-m", "graders"),
    python: tuple[str, ...] = (sys.executable,),
) -> subprocess.Popen:
    """The command in the course folder, in a process group of its own as a terminal gives it."""
    (course / "tmp").mkdir(exist_ok=True)
    return subprocess.Popen(
        [*python, *program, "autograde", *arguments],
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


def autograde(course: Path, *arguments: str, status: int = 0, cold: bool = False) -> tuple[str, str]:
    """A whole run. cold: in a process that has imported nothing."""
    python = (sys.executable,) if cold else tuple(warm.python())
    return ended(started(course, *arguments, python=python), status)


def wait_until(true: Callable[[], Any], seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return value


def graded_now(course: Path) -> list[str]:
    return sorted(path.parent.name for path in course.glob("autograded/[!.]*/[!.]*"))


def family(pid: int) -> list[int]:
    """All processes that descend from this one."""
    found = [pid]
    for one in found:
        for thread in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, thread.read_text().split())
    return found[1:]


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
        path for path in Path("/sys/fs/cgroup").rglob("graders-*-*-*") if int(path.name.split("-")[2]) in pids
    ]
    assert groups == []
    assert list(course.glob("autograded/*/.graders-*")) == []
    assert list((course / "tmp").iterdir()) == []


# Looking at what came of it


def dump(day: str, url: str | Path, students: tuple[str, ...] = STUDENTS) -> dict[str, dict]:
    """All that a gradebook (an address, or a course's own) holds of these students' submissions."""
    return {student: held for student, held in recorded(url, day).items() if student in students}


def files(course: Path, students: tuple[str, ...] = STUDENTS) -> dict:
    """What lies in autograded/: modes and contents; of a notebook its cells with their points.

    Of what the grader keeps for itself only the names, since seeds are drawn anew in every run.
    """
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
            elif path.is_file() and OWN not in path.parts:
                content = path.read_bytes()
            found[name] = (oct(mode), content)
    return found
