"""What `graders autograde` grades, nbgrader's own command grades alike: checks, tests, essays, files."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import partial
from html import unescape
from pathlib import Path

import pytest

from graders.batch.submission import OWN
from graders.judging import catalogue
from tests import batches, warm
from tests.batches import NUMBERS, assert_nothing_left, autograde, copied, ended, files, make_class, started
from tests.courses import ROOT, make_course, nbgrader, nbgrader_command, own_programs, solution_code
from tests.test_nbgrader import MISTAKEN

pytestmark = pytest.mark.skipif(not shutil.which("bwrap"), reason="no bubblewrap")

DAY = "day26"
#: Whom stock nbgrader grades as well, at some seconds each: all that it treats in a way of its own.
COMPARED = ("late", "missing")

dump = partial(batches.dump, DAY)


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course in which day 26 was handed in by all students, and nothing is graded yet."""
    folder = make_course(tmp_path_factory.mktemp("same") / "course", [])
    shutil.copytree(ROOT / "solutions" / DAY, folder / "solutions" / DAY)
    wrong = {name: code for name, (code, _, _) in MISTAKEN.items()}
    make_class(folder, DAY, solution_code(DAY), wrong, "batch_norm_forward")
    return folder


@pytest.fixture(scope="module")
def graded(handed_in: Path) -> Path:
    """The same course after one undisturbed run."""
    course = copied(handed_in, handed_in.parent / "graded")
    autograde(course, DAY, cold=True)
    return course


@pytest.fixture
def course(handed_in: Path, tmp_path: Path) -> Path:
    """A copy of the course that is not graded yet."""
    return copied(handed_in, tmp_path / "course")


def test_same_as_stock(graded: Path, handed_in: Path, tmp_path: Path) -> None:
    stock = copied(handed_in, tmp_path / "course", COMPARED)
    environment = os.environ | own_programs() | warm.kernels(tmp_path / "warm")
    subprocess.run(
        nbgrader_command("autograde", DAY, stock=True),
        cwd=stock,
        env=environment,
        check=True,
        capture_output=True,
        timeout=300,
    )
    assert dump(graded, COMPARED) == dump(stock, COMPARED)
    ours = files(graded, COMPARED).items()
    # Stock nbgrader keeps nothing by which it could judge again.
    assert {name: one for name, one in ours if OWN not in Path(name).parts} == files(stock, COMPARED)


def test_same_as_the_seam(graded: Path, course: Path) -> None:
    nbgrader(course, "autograde", DAY, cold=True)
    assert dump(graded) == dump(course)
    assert files(graded) == files(course)


def test_same_without_a_sandbox(course: Path, graded: Path) -> None:
    process = started(course, DAY, "--sandbox", "none", "--workers", "1")
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
    assert (graded / "autograded" / "data" / DAY / "numbers.csv").read_text() == NUMBERS
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
