"""How long does it take to judge a class again? Prints a table against the aims.

    python benchmarks/regrading.py [--count 1000] [--graded 36] [--workers 2]

So many submissions of day 26 are graded by `graders autograde`: right ones, ones with a known mistake, with
several, unfinished and broken ones. They are copied, with their entries in the gradebook, until there are as
many as asked for. Then, one after the other, a message, the rubric and a mistake are changed in a copy of the
package or in the course, a comment is added, and `graders regrade` writes down what comes of it. CPU time is
that of the whole process tree; with nothing else at work, wall time is about that divided by the workers.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.courses import answered, make_course, solution_code  # noqa: E402
from tests.test_nbgrader import MISTAKEN  # noqa: E402

DAY, EXERCISE, MISTAKE = "day26", "batch_norm_forward", "eps_outside_root"
REFERENCES = "judging/references/normalizing.py"
MESSAGE = "eps is added to the standard deviation, outside the root. It belongs"
KNOB = "deviation=lambda var, eps: var.sqrt() + eps"


@dataclass
class Run:
    """What one command cost, and what it said."""

    wall: float
    cpu: float
    said: str


def kinds() -> list[dict[str, str]]:
    """Answer cells of students of each kind."""
    right = solution_code(DAY)
    mistaken = {name: code for name, (code, _, _) in MISTAKEN.items()}
    raising = {name: f"{code}\n\nraise ValueError('a slip')" for name, code in right.items()}
    listed = {
        name: f"{code}\n\n{name} = (lambda f: lambda *given: [f(*given)])({name})\n{name}.__name__ = {name!r}"
        for name, code in right.items()
    }
    single = [{**right, name: code} for name, code in mistaken.items()]
    return [
        right,
        right,
        right,
        *single,
        right | mistaken,
        dict(list(right.items())[::2]),
        {},
        raising,
        listed,
    ]


def command(course: Path, package: Path, *arguments: str) -> Run:
    """Run a command of `graders`, with all that it starts."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: what it leaves behind is counted too
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "graders", *arguments],
        cwd=course,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
    )
    wall = time.perf_counter() - started
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall, cpu, done.stdout)


def multiplied(course: Path, count: int) -> None:
    """Copy graded submissions, and what the gradebook holds of them, until there are so many."""
    names = sorted(folder.name for folder in (course / "autograded").iterdir())
    with contextlib.closing(sqlite3.connect(course / "gradebook.db")) as book:
        for number in range(len(names), count):
            like, student = names[number % len(names)], f"student{number:05}"
            for folder in ("submitted", "autograded"):
                shutil.copytree(course / folder / like, course / folder / student)
            copied(book, "student", ("id", like), id=student)
            for handed_in, new in copied(
                book, "submitted_assignment", ("student_id", like), student_id=student
            ):
                for notebook, its in copied(
                    book, "submitted_notebook", ("assignment_id", handed_in), assignment_id=new
                ):
                    for table in ("grade", "comment"):
                        copied(book, table, ("notebook_id", notebook), notebook_id=its)
        book.commit()


def copied(book: sqlite3.Connection, table: str, whose: tuple[str, str], **new: str) -> list[tuple[str, str]]:
    """Copy rows of a table, with some columns anew; returns their ids, before and after."""
    rows = book.execute(f"SELECT * FROM {table} WHERE {whose[0]} = ?", whose[1:])
    columns = [one[0] for one in rows.description]
    made = []
    for row in rows.fetchall():
        old = dict(zip(columns, row, strict=True))
        one = {**old, "id": uuid.uuid4().hex, **new}
        places = ", ".join("?" * len(columns))
        book.execute(f"INSERT INTO {table} VALUES ({places})", [one[name] for name in columns])
        made.append((old["id"], one["id"]))
    return made


def changed(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    if old not in text:
        raise SystemExit(f"{path.name} no longer holds {old!r}.")
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--graded", type=int, default=36)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        package = Path(name) / "package"
        shutil.copytree(ROOT / "graders", package / "graders")
        course = make_course(Path(name) / "course", [DAY])
        for number in range(options.graded):
            answered(course, f"student{number:05}", DAY, kinds()[number % len(kinds())])
        workers = ("--workers", str(options.workers))
        graded = command(course, package, "autograde", DAY, *workers)
        multiplied(course, options.count)
        kept = list(course.glob(f"autograded/*/{DAY}/.graders/*.observations"))
        stored = sum(path.stat().st_size for path in kept) / options.count
        references, rubric = package / "graders" / REFERENCES, course / "rubric.toml"
        regrade = ("regrade", DAY, *workers)
        comment = ("comment", DAY, EXERCISE, MISTAKE, "Compare the two roots.", "--points", "0.25", *workers)
        steps: list[tuple[str, Callable[[], object], tuple[str, ...], str]] = [
            ("nothing", lambda: None, regrade, ""),
            ("a message", lambda: changed(references, MESSAGE, "eps is outside. It"), regrade, "<= 10 s"),
            ("the rubric", lambda: rubric.write_text(f"[{EXERCISE}]\n{MISTAKE} = 0.5\n"), regrade, "<= 10 s"),
            ("a comment", lambda: None, comment, "<= 10 s"),
            ("a mistake", lambda: changed(references, KNOB, f"{KNOB} * 3"), regrade, "<= 60 s"),
        ]
        print(f"{os.cpu_count()} cores, {options.workers} workers, {options.count} submissions of {DAY}")
        cost = f"{graded.wall:6.1f} s wall  {graded.cpu:6.1f} s CPU"
        print(f"{'graded at first':<20}  {cost}  {options.graded} of them")
        print(f"{'stored':<20}  {stored / 1024:6.0f} KB a submission")
        late = False
        for what, change, arguments, aim in steps:
            change()
            run = command(course, package, *arguments)
            summary = next(line for line in run.said.splitlines() if line.startswith(f"{DAY}: "))
            if "sandbox" in run.said:
                raise SystemExit(f"Some were run again:\n{run.said[-2000:]}")
            late |= bool(aim) and run.wall > float(re.findall(r"\d+", aim)[0])
            print(f"{what:<20}  {run.wall:6.1f} s wall  {run.cpu:6.1f} s CPU  {aim:<8}  {summary}".rstrip())
    return int(late)


if __name__ == "__main__":
    raise SystemExit(main())
