"""A course whose configuration has a mistake is not graded by another one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from traitlets import TraitError
from typer.testing import CliRunner

from graders.batch.gradebook import CannotStart, Course
from graders.batch.private import folders
from graders.batch.seam import Sandboxed
from graders.classroom.report_data import NoReport, read_class
from graders.cli import app
from graders.lms.collect import CannotCollect
from graders.lms.collect import folders as lms_folders
from tests.courses import ROOT

OPENED: dict[str, tuple[Callable[[Path, str], object], type[Exception]]] = {
    "autograde": (Course, CannotStart),
    "report": (read_class, NoReport),
    "collect": (lms_folders, CannotCollect),
}


@pytest.fixture
def course(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "nbgrader_config.py", tmp_path)
    (tmp_path / "exercises" / "hw").mkdir(parents=True)
    return tmp_path


def configured(course: Path, line: str) -> None:
    with (course / "nbgrader_config.py").open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")


@pytest.mark.parametrize("opened", OPENED)
@pytest.mark.parametrize(
    "line, says",
    [
        ("c.CourseDirectory.source_directory = = 'x'", "SyntaxError: invalid syntax"),
        ("c.CourseDirectory.source_directory = undefined", "NameError: name 'undefined' is not defined"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_nothing_is_done(
    course: Path, opened: str, line: str, says: str
) -> None:
    """nbgrader goes on with what it would do without the file: in other folders, with no late penalties."""
    configured(course, line)
    number = (course / "nbgrader_config.py").read_text(encoding="utf-8").split("\n").index(line) + 1
    how, refusal = OPENED[opened]
    with pytest.raises(refusal) as told:
        how(course, "hw")
    assert str(told.value) == f"nbgrader_config.py, line {number}, has a mistake ({says}); nothing was done."
    assert folders(course) == (str(course),)


@pytest.mark.parametrize(
    "line, says",
    [
        (
            "c.CourseDirectory.root = '/no/such/folder'",
            "The folder of the course, /no/such/folder, cannot be",
        ),
        ("c.Autograde.permissions = 'all'", "nbgrader_config.py cannot be used: The 'permissions' trait"),
        (
            "c.Autograde.autograde_preprocessors.append('graders.batch.seam.Nothing')",
            "No module named Nothing",
        ),
        ("c.CourseDirectory.db_url = 'book'", "The gradebook cannot be used (Could not parse"),
    ],
)
def test_a_setting_that_cannot_be_is_told_in_a_sentence(course: Path, line: str, says: str) -> None:
    configured(course, line)
    with pytest.raises(CannotStart) as told:
        Course(course, "hw")
    assert says in str(told.value) and str(told.value).endswith(".") and "\n" not in str(told.value)


def test_a_report_on_a_gradebook_without_an_address(course: Path) -> None:
    (course / "autograded" / "ann" / "hw").mkdir(parents=True)
    (course / "autograded" / "ann" / "hw" / "hw.ipynb").write_text('{"cells": []}')
    configured(course, "c.CourseDirectory.db_url = 'book'")
    with pytest.raises(NoReport, match=r"address in nbgrader_config\.py is none"):
        read_class(course, "hw")


@pytest.mark.parametrize("command", ["autograde", "regrade"])
@pytest.mark.parametrize("option", ["--cell-timeout", "--notebook-timeout", "--memory"])
@pytest.mark.parametrize("value", ["-1", "0"])
def test_no_time_at_all_is_refused(
    course: Path, monkeypatch: pytest.MonkeyPatch, command: str, option: str, value: str
) -> None:
    """Elsewhere -1 stands for no limit; here everybody got 0 points."""
    monkeypatch.chdir(course)
    result = CliRunner().invoke(app, [command, "hw", option, value])
    assert result.exit_code == 2 and f"Invalid value for '{option}'" in result.stderr


@pytest.mark.parametrize("name", ["cell_timeout", "notebook_timeout", "memory"])
def test_nor_can_it_be_configured(name: str) -> None:
    with pytest.raises(TraitError):
        Sandboxed(**{name: -1})
