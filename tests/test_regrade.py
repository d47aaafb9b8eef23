"""Judging again what was graded: when it is done, by what, and what becomes of what people wrote."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import sqlalchemy
from nbgrader.api import Gradebook

from graders.batch import gradebook, worker
from graders.batch.intake import take_in
from graders.batch.submission import OWN
from graders.classroom import observations, regrade
from graders.judging.rubric import FILE as RUBRIC
from graders.judging.rubric import MalformedRubric
from graders.probing.process import protocol
from tests.courses import ROOT, recorded, run_graders
from tests.regraded import (
    CHECKED,
    HW,
    MISTAKE,
    OTHER,
    STUDENTS,
    grade,
    looked,
    make,
    regraded,
    report_of,
    told,
)

HALF = f"[batch_norm_forward]\n{MISTAKE} = 0.5\n"


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    course = make(tmp_path_factory.mktemp("graded") / "course")
    grade(course)
    yield course
    worker.close_boxes()


@pytest.fixture
def course(graded: Path, tmp_path: Path) -> Path:
    """A graded course of the test's own."""
    return shutil.copytree(graded, tmp_path / "course")


def points_of(course: Path, cell: str = CHECKED) -> dict[str, float]:
    return {
        student: held["notebooks"][HW]["grades"][cell][0] for student, held in recorded(course, HW).items()
    }


def state(course: Path) -> tuple[dict, dict]:
    """The gradebook, and every file that was graded."""
    kept = {path: path.read_bytes() for path in (course / "autograded").rglob("*") if path.is_file()}
    return recorded(course, HW), kept


def test_what_is_graded_shows_where_points_are_lost(graded: Path) -> None:
    assert points_of(graded) == {"right": 4, "wrong": 3, "twin": 3, "nothing": 0}
    assert points_of(graded, OTHER) == {"right": 2, "wrong": 1, "twin": 2, "nothing": 0}


def test_where_nothing_has_changed_nothing_is_judged_or_written(
    course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(course)
    monkeypatch.setattr(regrade, "judged_again", lambda *given: pytest.fail("it judges what stands"))
    outcome = regraded(course)
    assert not outcome.changes and not outcome.reworded and outcome.stored == set(STUDENTS)
    assert state(course) == before


def test_a_changed_rubric_reaches_those_whom_it_concerns(
    course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (course / RUBRIC).write_text(HALF)
    before = state(course)
    judged: list[tuple[str, list[str]]] = []
    judge = regrade.judged_again

    def watched(jobs: Any, *given: str) -> Any:
        judged.extend((Path(folder).parent.name, [one["cell"] for one, _ in due]) for folder, _, due in jobs)
        return judge(jobs, *given)

    monkeypatch.setattr(regrade, "judged_again", watched)
    with looked(course) as regrading:
        (said, *_) = [text for text in regrade.in_words(regrading.outcome) if "twin" in text]
        assert said.split() == ["twin", CHECKED, "3", "→", "2", f"{MISTAKE}:", "leaves", "another", "share"]
    assert state(course) == before
    assert sorted(judged) == [("twin", [CHECKED]), ("wrong", [CHECKED])]
    outcome = regraded(course)
    assert {(one.student, one.cell, one.before, one.after) for one in outcome.changes} == {
        (student, CHECKED, 3, 2) for student in ("wrong", "twin")
    }
    assert points_of(course) == {"right": 4, "wrong": 2, "twin": 2, "nothing": 0}
    assert "2 of 4 points" in report_of(course, "twin")
    assert not regraded(course).changes


def test_it_comes_to_what_grading_again_comes_to(course: Path, tmp_path: Path) -> None:
    other = shutil.copytree(course, tmp_path / "other")
    for folder in (course, other):
        (folder / RUBRIC).write_text(f"{HALF}[identity_parameters]\neps_missing = 0\n")
    regraded(course)
    grade(other)
    assert recorded(course, HW) == recorded(other, HW)
    indices = [
        {
            student: [
                (one.cell, one.points, one.outcome, one.named, one.standing, one.worth)
                for one in observations.index_in(folder / "autograded" / student / HW, HW).checks
            ]
            for student in STUDENTS
        }
        for folder in (course, other)
    ]
    assert indices[0] == indices[1]


def test_points_of_a_check_that_were_changed(course: Path) -> None:
    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        book.find_grade_cell(CHECKED, HW, HW).max_score = 8
        book.db.commit()
    outcome = regraded(course)
    assert {(one.student, one.before, one.after) for one in outcome.changes} == {
        ("right", 4, 8), ("wrong", 3, 6), ("twin", 3, 6)
    }  # fmt: skip
    assert "the cell is worth 8 instead of 4" in outcome.changes[0].why


@pytest.mark.parametrize("what", ["released", "questions", "nothing stored", "too much"])
def test_what_needs_the_sandbox(course: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    folder = course / "autograded" / "twin" / HW
    if what == "released":
        (course / "solutions" / HW / "data.csv").write_text("1\n")
    elif what == "questions":
        monkeypatch.setattr(observations, "questions", lambda day: "others")
    elif what == "nothing stored":
        (folder / observations.index_path(HW)).unlink()
    else:
        path = folder / observations.index_path(HW)
        held = json.loads(path.read_text())
        held["checks"][0]["seen"] = False
        path.unlink()
        path.write_text(json.dumps(held))
    with looked(course) as regrading:
        expected = set(STUDENTS) if what in ("released", "questions") else {"twin"}
        assert regrading.outcome.sandbox.keys() == expected
        assert regrading.outcome.stored == set(STUDENTS) - expected


#: What may stand where observations should.
SPOILED = {
    "no frame": b"no frame",
    "cut off": None,
    "too large a frame": b"\xff" * 8,
    "no JSON": b"\0\0\0\4\0\0\0\0{{{{",
    "no sights": protocol.frame({"cell": CHECKED, "cases": "", "answer": {"sights": [1, 2]}}),
    "no header of ours": protocol.frame({"cell": [CHECKED]}),
    "pickle": b"\x80\x04\x95.",
}


@pytest.mark.parametrize("kind", [*SPOILED, "a link", "gone"])
def test_spoiled_observations_are_no_observations(course: Path, kind: str) -> None:
    (course / RUBRIC).write_text(HALF)
    path = course / "autograded" / "twin" / HW / observations.observations_path(HW)
    content = path.read_bytes()
    path.unlink()
    if kind == "a link":
        elsewhere = course / "elsewhere"
        elsewhere.write_bytes(content)
        path.symlink_to(elsewhere)
    elif kind != "gone":
        path.write_bytes(SPOILED[kind] or content[:-1])
    with looked(course) as regrading:
        assert regrading.outcome.sandbox.keys() == {"twin"}
        assert {one.student for one in regrading.outcome.changes} == {"wrong"}


@pytest.mark.parametrize("cut", [b"", b"{", b"[]", b'{"checks": 3}', b"[" * 100_000])
def test_a_spoiled_index_is_none(course: Path, cut: bytes) -> None:
    path = course / "autograded" / "twin" / HW / observations.index_path(HW)
    path.unlink()
    path.write_bytes(cut)
    with looked(course) as regrading:
        assert regrading.outcome.sandbox == {"twin": "nothing is stored of it"}


def test_values_from_other_questions_are_not_judged(course: Path) -> None:
    """A seed that gives other inputs than those that were asked: what was seen is no answer to them."""
    (course / RUBRIC).write_text(HALF)
    path = course / "autograded" / "twin" / HW / observations.index_path(HW)
    held = json.loads(path.read_text())
    held["checks"][0]["seed"] += 1
    path.unlink()
    path.write_text(json.dumps(held))
    with looked(course) as regrading:
        assert regrading.outcome.sandbox == {"twin": "the questions have changed"}


def test_a_submission_brings_no_observations(course: Path) -> None:
    """Neither by a folder that it hands in, nor by one that its code makes."""
    handed_in = course / "submitted" / "twin" / HW
    for folder in (handed_in / OWN, handed_in / "data" / OWN):
        folder.mkdir(parents=True)
        (folder / f"{HW}.checks.json").write_text("{}")
        (folder / f"{HW}.observations").write_bytes(b"forged")
    (handed_in / "data" / "mine.csv").write_text("1")
    opened = gradebook.Course(course, HW, force=True)
    try:
        found = take_in("twin", handed_in, opened.release, opened.directory.ignore)
    finally:
        opened.close()
    assert list(found.files) == ["data/mine.csv"]

    notebook = json.loads((handed_in / f"{HW}.ipynb").read_text())
    code = f"""
import os
for folder in ("{OWN}", "data/{OWN}"):
    os.makedirs(folder)
    open(folder + "/{HW}.checks.json", "w").write("forged")
open("made.txt", "w").write("1")
"""
    answer = next(cell for cell in notebook["cells"] if cell["id"] == "double")
    answer["source"] = f"{code}\n{answer['source']}"
    (handed_in / f"{HW}.ipynb").write_text(json.dumps(notebook))
    grade(course, "twin")
    kept = course / "autograded" / "twin" / HW
    assert (kept / "made.txt").read_text() == "1"
    assert not (kept / "data" / OWN).exists()
    assert b"forged" not in b"".join(path.read_bytes() for path in (kept / OWN).iterdir())


def test_one_handed_in_anew_is_left_to_autograde(course: Path) -> None:
    (course / RUBRIC).write_text(HALF)
    for folder, when in (("autograded", "2026-02-01"), ("submitted", "2026-02-02")):
        (course / folder / "twin" / HW / "timestamp.txt").write_text(f"{when} 10:00:00 UTC")
    shutil.rmtree(course / "autograded" / "nothing" / HW)
    outcome = regraded(course)
    assert (outcome.anew, outcome.ungraded) == (["twin"], ["nothing"])
    assert points_of(course)["twin"] == 3
    said = " ".join(regrade.in_words(outcome))
    assert "1 submission handed in anew since" in said and "1 submission not graded yet" in said


def test_killed_before_files_are_in_place_the_next_run_puts_them_there(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (course / RUBRIC).write_text(HALF)
    whole = shutil.copytree(course, tmp_path / "whole")
    regraded(whole)
    replace = os.replace

    class Killed(BaseException):
        pass

    for left in range(6):  # two students with three files each
        killed = shutil.copytree(course, tmp_path / str(left))
        calls = iter(range(left))

        def failing(*given: Any, calls: Iterator[int] = calls) -> None:
            if next(calls, None) is None:
                raise Killed
            replace(*given)

        monkeypatch.setattr(gradebook.os, "replace", failing)
        with pytest.raises(Killed):
            regraded(killed)
        monkeypatch.setattr(gradebook.os, "replace", replace)
        for path in (killed / "autograded").rglob("*.ipynb"):
            json.loads(path.read_text())
        regraded(killed)
        assert recorded(killed, HW) == recorded(whole, HW)
        for student in ("wrong", "twin"):
            assert report_of(killed, student) == report_of(whole, student)
        assert not list((killed / "autograded").rglob(".graders-*"))
        assert not regraded(killed).reworded


def test_a_disk_that_refuses_leaves_everything_as_it_was(
    course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (course / RUBRIC).write_text(HALF)
    before = state(course)

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with looked(course) as regrading:
        regrading.write()
        assert regrading.outcome.stopped and "disk is full" in regrading.outcome.stopped
    monkeypatch.undo()
    assert state(course) == before


def test_what_people_gave_stays(course: Path) -> None:
    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        given = book.find_grade(CHECKED, HW, HW, "twin")
        given.manual_score, given.extra_credit, given.needs_manual_grade = 4, 1, False
        book.find_comment("batch_norm_forward", HW, HW, "twin").manual_comment = "Well explained."
        book.db.commit()
    before = recorded(course, HW)["twin"]["notebooks"][HW]["comments"]
    (course / RUBRIC).write_text(HALF)
    outcome = regraded(course)
    held = recorded(course, HW)["twin"]["notebooks"][HW]
    assert held["grades"][CHECKED] == (2, 4, 1, True)  # as nbgrader has it: a person looks again
    assert held["comments"] == before
    assert any("(4 by hand stay)" in text for text in regrade.in_words(outcome))


def test_malformed_files_are_told_in_a_sentence(course: Path) -> None:
    (course / RUBRIC).write_text("[batch_norm]\neps_missing = 0.5\n")
    with pytest.raises(MalformedRubric, match="is no exercise"), looked(course):
        pass


# The digests


def test_digests_notice_what_counts_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a copy of the package: comments, docstrings, messages; mistakes, points of parts, cases, probes."""
    package = shutil.copytree(
        ROOT / "graders", tmp_path / "graders", ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(observations, "_ROOT", tmp_path)

    def digests() -> tuple[str, str]:
        return observations.questions.__wrapped__("day26"), observations.judge.__wrapped__("day26")

    def change(name: str, old: str, new: str) -> tuple[bool, bool]:
        path = package / name
        text = path.read_text()
        assert old in text, old
        path.write_text(text.replace(old, new, 1))
        now = digests()
        path.write_text(text)
        return now[0] != before[0], now[1] != before[1]

    before = digests()
    assert change("probing/days/day26.py", "def forward_cases", "# new\ndef forward_cases") == (False, False)
    assert change("judging/compare.py", '"""', '"""New. ') == (False, False)
    message = "eps is added to the standard deviation, outside the root. It belongs"
    assert change("judging/references/normalizing.py", message, "eps is outside. It") == (False, False)
    knob = "deviation=lambda var, eps: var.sqrt() + eps"
    assert change("judging/references/normalizing.py", knob, f"{knob} * 2") == (False, True)
    assert change("judging/tolerance.py", "SAMPLES = ", "SAMPLES = 1 + ") == (False, True)
    assert change("probing/days/day26.py", '"the output y", 4', '"the output y", 5') == (False, True)
    assert change("probing/cases.py", "std=0.15", "std=0.16") == (True, True)
    probe = "yield from first_of_pair(candidate(*arguments(inputs))"
    assert change("probing/days/day26.py", probe, f"torch.manual_seed(1)\n    {probe}") == (True, True)
    assert change("probing/process/values.py", "DEPTH = 8", "DEPTH = 7")[0]


# The command


def test_the_command_after_a_mistake_and_the_questions_have_changed(course: Path, tmp_path: Path) -> None:
    package = tmp_path / "package" / "graders"
    shutil.copytree(ROOT / "graders", package, ignore=shutil.ignore_patterns("__pycache__"))
    references = package / "judging" / "references" / "normalizing.py"
    knob = "deviation=lambda var, eps: var.sqrt() + eps"
    references.write_text(references.read_text().replace(knob, f"{knob} * 3", 1))
    said = run_graders(course, "regrade", HW, "--student", "twin", package=package.parent)
    assert f"twin     {CHECKED}  3 → 0   {MISTAKE} → values" in said, said
    assert "Judged by what is stored: 1 submission." in said and "generate_feedback hw --force" in said
    assert points_of(course) == {"right": 4, "wrong": 3, "twin": 0, "nothing": 0}

    cases = package / "probing" / "cases.py"
    cases.write_text(cases.read_text().replace("std=0.15", "std=0.16"))
    said = run_graders(course, "regrade", HW, "--student", "wrong", "--workers", "1", package=package.parent)
    assert "Run again in the sandbox: 1 submission; the questions have changed." in said
    assert f"wrong    {CHECKED}  3 → 0" in said
    assert points_of(course) == {"right": 4, "wrong": 0, "twin": 0, "nothing": 0}


def test_the_command_in_words(course: Path) -> None:
    assert "no points change" in told(course, "regrade", HW)
    (course / RUBRIC).write_text(HALF)
    before = state(course)
    said = told(course, "regrade", HW, "--dry-run")
    assert "points of 2 students change" in said and "Nothing was written (--dry-run)." in said
    assert state(course) == before
    assert "There is no submission of this student." in told(
        course, "regrade", HW, "--student", "nobody", status=1
    )
    assert "knows no assignment" in told(course, "regrade", "hw2", status=2)
    (course / RUBRIC).write_text("x")
    assert "is no TOML" in told(course, "regrade", HW, status=2)
    (course / RUBRIC).unlink()
    (course / RUBRIC).mkdir()
    assert "cannot be read" in told(course, "regrade", HW, status=2)


def test_random_order_of_frames_makes_no_difference(course: Path) -> None:
    (course / RUBRIC).write_text(HALF)
    path = course / "autograded" / "wrong" / HW / observations.observations_path(HW)
    frames = list(observations.frames_in(path.parent.parent, HW))
    random.Random(0).shuffle(frames)
    path.unlink()
    path.write_bytes(b"".join(protocol.frame(*one) for one in reversed(frames)))
    regraded(course)
    assert points_of(course)["wrong"] == 2


# What it costs


def test_processes_that_judge_need_no_nbgrader() -> None:
    """It takes them as long to import as PyTorch does."""
    code = "import sys, graders.classroom.judge_ahead; print(sys.modules.keys() & {'nbgrader', 'nbformat'})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_submission_is_read_at_once_and_not_grade_by_grade(course: Path) -> None:
    (course / RUBRIC).write_text(HALF)
    said: list[str] = []
    with looked(course) as regrading:
        engine = regrading.course.gradebook.engine
        sqlalchemy.event.listen(engine, "before_cursor_execute", lambda *given: said.append(given[2]))
        regrading.write()
    asked = [text for text in said if text.startswith("SELECT")]
    assert len(asked) == 3 * len({one.student for one in regrading.outcome.changes}), asked


def test_a_notebook_is_written_as_nbformat_writes_it(course: Path) -> None:
    (course / RUBRIC).write_text(HALF)
    path = course / "autograded" / "twin" / HW / f"{HW}.ipynb"
    before = path.read_bytes()
    regraded(course)
    text = path.read_text(encoding="utf-8")
    assert text.encode() != before
    assert text == nbformat.writes(nbformat.reads(text, as_version=4)) + "\n"
