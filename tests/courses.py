"""Course folders for tests and benchmarks: released by nbgrader, with submissions of made-up students."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from tests import warm

ROOT = Path(__file__).resolve().parent.parent


def nbgrader_command(*arguments: str, stock: bool = False, cold: bool = False) -> list[str]:
    """A command of nbgrader.

    stock: in its own configuration, without the sandbox. cold: in a process that has imported nothing.
    """
    if not stock:
        return [*([sys.executable] if cold else warm.python()), "-m", "nbgrader", *arguments]
    return [sys.executable, "-c", _STOCK, *arguments]


_STOCK = """
import sys
from nbgrader.apps import nbgraderapp
from nbgrader.converters import Autograde

for name in ("exporter_class", "sanitize_preprocessors", "autograde_preprocessors"):
    getattr(Autograde, name).tag(config=False)  # the course's configuration does not reach them
nbgraderapp.main()
"""


def own_programs() -> dict[str, str]:
    """PATH with the programs of this environment first; nbgrader starts alembic by its name."""
    return {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def nbgrader(course: Path, *arguments: str, cold: bool = False) -> str:
    """Run a command of nbgrader in the course folder as an instructor would; returns what it says."""
    environment = {
        **os.environ,
        **own_programs(),
        **{f"JUPYTER_{kind}_DIR": str(course / ".jupyter" / kind) for kind in ("CONFIG", "DATA", "RUNTIME")},
        **({} if cold else warm.kernels(course / ".jupyter" / "warm")),
    }
    result = subprocess.run(
        nbgrader_command(*arguments, cold=cold),
        cwd=course,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def run_graders(course: Path, *arguments: str, package: Path = ROOT, status: int = 0) -> str:
    """A command of `graders` as the checkout, or another `package`, has it; returns all that it writes."""
    done = subprocess.run(
        [*(warm.python() if package == ROOT else [sys.executable]), "-m", "graders", *arguments],
        cwd=course,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.stdout + done.stderr


def release(course: Path, *assignments: str) -> None:
    """What `nbgrader generate_assignment --force` does in the course folder, in this process."""
    from nbgrader.converters import GenerateAssignment
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import PyFileConfigLoader

    config = PyFileConfigLoader("nbgrader_config.py", path=str(course)).load_config()
    config.CourseDirectory.root = str(course)
    config.GenerateAssignment.force = True
    for name in assignments:
        config.CourseDirectory.assignment_id = name
        with mock.patch.dict(os.environ, own_programs()):
            version = _tables_version()
            with mock.patch("nbgrader.api.get_alembic_version", return_value=version):
                GenerateAssignment(coursedir=CourseDirectory(config=config), config=config).start()


@cache
def _tables_version() -> str:
    """The version of a new gradebook's tables; nbgrader asks a program of a second for it each time."""
    from nbgrader.api import get_alembic_version

    return get_alembic_version()


def make_course(folder: Path, days: Iterable[str]) -> Path:
    """A course folder in which these days are released, and nothing is handed in yet."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    for day in days:
        shutil.copytree(ROOT / "solutions" / day, folder / "solutions" / day)
    release(folder, *days)
    return folder


def notebook_of(cells: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """A notebook as nbformat's JSON."""
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return {
        "cells": list(cells),
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def cell_of(name: str, source: str, *, kind: str = "code", **form: Any) -> dict[str, Any]:
    """A cell of an instructor's. form: what nbgrader's metadata says beside what it says by default."""
    given = {"grade": False, "locked": False, "solution": False, "task": False, **form}
    cell = {"cell_type": kind, "id": name.replace("_", "-"), "source": source}
    cell["metadata"] = {"nbgrader": {"grade_id": name, "schema_version": 3, **given}}
    return cell | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def write_source(
    course: Path, assignment: str, exercises: Mapping[str, tuple[str, str]], setup: str = ""
) -> None:
    """The source of an assignment. exercises: the right text of each answer, by its name, and its test."""
    cells = [cell_of("setup", setup, locked=True)] if setup else []
    for name, (right, test) in exercises.items():
        hidden = f"### BEGIN SOLUTION\n{right}\n### END SOLUTION"
        cells += [
            cell_of(name, hidden, solution=True),
            cell_of(f"test_{name}", test, grade=True, locked=True, points=2),
        ]
    folder = course / "solutions" / assignment
    folder.mkdir(parents=True)
    (folder / f"{assignment}.ipynb").write_text(json.dumps(notebook_of(cells)), encoding="utf-8")


def release_of(course: Path, day: str) -> dict[str, Any]:
    """The notebook that students get."""
    return json.loads((course / "exercises" / day / f"{day}.ipynb").read_text(encoding="utf-8"))


@cache
def solution_code(day: str) -> dict[str, str]:
    """The text of every answer cell of the reference solution, by its name."""
    notebook = json.loads((ROOT / "solutions" / day / f"{day}.ipynb").read_text(encoding="utf-8"))
    return {
        cell["metadata"]["nbgrader"]["grade_id"]: "".join(cell["source"])
        for cell in notebook["cells"]
        if cell["metadata"].get("nbgrader", {}).get("solution")
    }


def answered(course: Path, student: str, day: str, code: Mapping[str, str]) -> Path:
    """Hand in the released notebook with these answer cells; returns its path."""
    notebook = release_of(course, day)
    for cell in notebook["cells"]:
        form = cell["metadata"].get("nbgrader", {})
        if form.get("solution") and form["grade_id"] in code:
            cell["source"] = code[form["grade_id"]].strip()
    path = course / "submitted" / student / day / f"{day}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def recorded(gradebook: str | Path, assignment: str) -> dict[str, dict[str, Any]]:
    """All that a gradebook (an address, or a course with its own) holds of an assignment, by student."""
    from nbgrader.api import Gradebook

    address = f"sqlite:///{gradebook}/gradebook.db" if isinstance(gradebook, Path) else gradebook
    with Gradebook(address) as book:
        return {
            one.student.id: {
                "timestamp": one.timestamp,
                "late": one.total_seconds_late,
                "score": one.score,
                "notebooks": {
                    notebook.name: {
                        "penalty": notebook.late_submission_penalty,
                        "grades": {
                            grade.cell.name: (
                                grade.auto_score,
                                grade.manual_score,
                                grade.extra_credit,
                                grade.needs_manual_grade,
                            )
                            for grade in notebook.grades
                        },
                        "comments": {
                            comment.cell.name: (comment.auto_comment, comment.manual_comment)
                            for comment in notebook.comments
                        },
                    }
                    for notebook in one.notebooks
                },
            }
            for one in book.find_assignment(assignment).submissions
        }
