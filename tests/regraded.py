"""A small course whose submissions are graded and judged again in this process, as tests watch it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from graders.batch import interrupt, worker
from graders.batch.gradebook import Course
from graders.classroom import comments, regrade
from graders.cli import app
from graders.judging.rubric import text_in
from tests.courses import answered, cell_of, make_course, notebook_of, release, solution_code
from tests.test_nbgrader import MISTAKEN

HW = "hw"
CHECKED, OTHER = "check_batch_norm_forward", "check_identity_parameters"
RIGHT = {
    **{name: solution_code("day26")[name] for name in ("batch_norm_forward", "identity_parameters")},
    "double": "def double(x):\n    return 2 * x",
    "essay": "My words.",
}
#: eps outside of the root, one of four points lost; and eps missing beside it in the other exercise.
MISTAKE = "eps_outside_root"
WRONG = {**RIGHT, **{name: MISTAKEN[name][0] for name in ("batch_norm_forward", "identity_parameters")}}
STUDENTS: dict[str, Mapping[str, str]] = {
    "right": RIGHT,
    "wrong": WRONG,
    "twin": {**RIGHT, "batch_norm_forward": WRONG["batch_norm_forward"]},
    "nothing": {},
}


def make(folder: Path, students: Mapping[str, Mapping[str, str]] = STUDENTS) -> Path:
    """A course in which a homework was released and handed in."""
    course = make_course(folder, [])
    given: dict[str, Any] = {"solution": True}
    cells = [cell_of("setup", "import torch\nfrom graders import check", locked=True)]
    for name, points in (("batch_norm_forward", 4), ("identity_parameters", 2)):
        code = RIGHT[name]  # with its marks
        checked = {"grade": True, "locked": True, "points": points}
        cells += [cell_of(name, code, **given), cell_of(f"check_{name}", f"check({name})", **checked)]
    code = f"### BEGIN SOLUTION\n{RIGHT['double']}\n### END SOLUTION"
    cells += [
        cell_of("double", code, **given),
        cell_of("test_double", "assert double(2) == 4", grade=True, locked=True, points=2),
        cell_of("essay", "Your words.", kind="markdown", grade=True, points=3, **given),
    ]
    source = course / "solutions" / HW / f"{HW}.ipynb"
    source.parent.mkdir(parents=True)
    source.write_text(json.dumps(notebook_of(cells)), encoding="utf-8")
    release(course, HW)
    for student, code in students.items():
        answered(course, student, HW, code)
    return course


def options_of(course: Path) -> worker.Options:
    return worker.Options(rubric=text_in(course), comments=text_in(course, comments.FILE))


def grade(course: Path, *students: str) -> None:
    """What `graders autograde --force` does with submissions, in this process."""
    opened = Course(course, HW, force=True)
    try:
        for student, _ in list(opened.students(list(students))):
            found = opened.read(student)
            job = worker.pack_job(found.notebooks, found.files, options_of(course), found.asked)
            answers, made = worker.graded_here(job)
            found.files = {**found.files, **made}
            opened.record(found, answers["notebooks"])
    finally:
        opened.close()


class Here(Executor):
    """An executor that does its work at once."""

    def submit(self, function: Any, *arguments: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


@contextlib.contextmanager
def _here(workers: int) -> Iterator[Here]:
    yield Here()


@contextlib.contextmanager
def looked(course: Path, *students: str) -> Iterator[regrade.Regrading]:
    """A regrading that has looked, in this process; what is to run in the sandbox is only named."""
    opened = Course(course, HW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regrade.Regrading, "_run", lambda self: None)
        regrading = regrade.Regrading(opened, options_of(course), Here(), 1)
        try:
            regrading.look(students)
            yield regrading
        finally:
            regrading.close()
            opened.close()


def regraded(course: Path, *students: str) -> regrade.Outcome:
    """What `graders regrade` does, where what is stored is enough."""
    with looked(course, *students) as regrading:
        assert not regrading.outcome.sandbox, regrading.outcome.sandbox
        regrading.write()
        assert not regrading.outcome.failed and not regrading.outcome.stopped, regrading.outcome
        return regrading.outcome


def told(course: Path, *arguments: str, status: int = 0) -> str:
    """What a command of `graders` says in this process."""
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(course):
        patch.setattr(regrade, "judges", _here)
        patch.setattr(interrupt, "notice", lambda: None)
        done = CliRunner().invoke(app, arguments)
    assert done.exit_code == status, (done.output, done.exception)
    return done.output


def report_of(course: Path, student: str, cell: str = CHECKED) -> str:
    """The report in a graded notebook."""
    path = course / "autograded" / student / HW / f"{HW}.ipynb"
    for one in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if one["metadata"].get("nbgrader", {}).get("grade_id") == cell:
            (output,) = one["outputs"]
            return "".join(output["data"]["text/html"])
    raise AssertionError(cell)
