"""The notebooks' side of every exercise: the solution is right, the stub is unattempted, the points agree."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

import graders
from graders.judging import catalogue
from tests.judged import judged
from tests.solutions import ROOT, candidate, namespace


def cells(day: str, folder: str = "solutions") -> list[dict[str, Any]]:
    notebook = json.loads((ROOT / folder / day / f"{day}.ipynb").read_text(encoding="utf-8"))
    return [{**cell, "source": "".join(cell["source"])} for cell in notebook["cells"]]


DAYS = list(catalogue.days())
EXERCISES = [(day, one.name) for day, exercises in catalogue.days().items() for one in exercises]


@pytest.mark.parametrize("day,name", EXERCISES)
def test_solution_gets_full_points(day: str, name: str) -> None:
    for seed in range(5):
        verdict = judged(name, candidate("solutions", day, name), seed=seed)
        assert verdict.passed, str(verdict)


def test_a_tolerance_of_0_is_reached_where_the_rate_is_0() -> None:
    """What no case asks, since it is an exact tie: the least k with 0 ** k <= 0 is 1."""
    answer = catalogue.answer_of("steps_to_tolerance")
    shown = candidate("solutions", "day34", "steps_to_tolerance")
    for steps in (answer.reference, answer.definition, shown):
        assert steps(0.0, 0.0) == 1
        with pytest.raises(ValueError):
            steps(0.0, -0.5)


@pytest.mark.gpu
@pytest.mark.parametrize("day,name", EXERCISES)
def test_solution_gets_full_points_on_a_gpu(day: str, name: str) -> None:
    for seed in range(5):
        verdict = judged(name, candidate("solutions", day, name), seed=seed, device="cuda")
        assert verdict.passed, str(verdict)


@pytest.mark.parametrize("day", DAYS)
def test_untouched_exercises_are_unattempted(day: str, capfd: pytest.CaptureFixture[str]) -> None:
    found = namespace(ROOT / "exercises" / day / f"{day}.ipynb")
    for exercise in catalogue.days()[day]:
        verdict = graders.check(*(found[name] for name in exercise.candidates))
        assert (verdict.outcome, verdict.points) == ("unattempted", 0), str(verdict)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("day", DAYS)
def test_check_cells_match_the_table(day: str) -> None:
    """Every exercise has its answer cell and its check cell, in that order, worth what the judge gives."""
    graded = [cell for cell in cells(day) if cell["metadata"].get("nbgrader", {}).get("grade")]
    exercises = catalogue.days()[day]
    assert [cell["source"] for cell in graded] == [exercise.call for exercise in exercises]
    for cell, exercise in zip(graded, exercises, strict=True):
        form = cell["metadata"]["nbgrader"]
        assert form["grade_id"] == f"check_{exercise.name}"
        assert form["points"] == exercise.points
        assert form["locked"] and not form["solution"]
    answers = [
        cell["metadata"]["nbgrader"]["grade_id"]
        for cell in cells(day)
        if cell["metadata"].get("nbgrader", {}).get("solution")
        and not cell["metadata"]["nbgrader"]["grade_id"].startswith("path_")
    ]
    assert answers == [exercise.name for exercise in exercises]


@pytest.mark.parametrize("day", DAYS)
def test_every_exercise_has_its_header_and_hints(day: str) -> None:
    """Purpose, difficulty, minutes and points in the header, a number to try, three hints."""
    text = {cell["id"]: cell["source"] for cell in cells(day) if cell["cell_type"] == "markdown"}
    for exercise in catalogue.days()[day]:
        slug = exercise.name.replace("_", "-").lower()
        header = " ".join(text[slug].split())
        assert f"`{exercise.name}`" in header
        assert re.search(
            r"\*What it is for: .+ Difficulty [1-5] of 5, about \d+ minutes, (\d) points", header
        )
        assert f", {exercise.points} points" in header
        assert "**A number to try.**" in header
        assert text[f"{slug}-hints"].count("<details>") == 3


@pytest.mark.parametrize("day", DAYS)
def test_released_notebook_holds_no_solution(day: str) -> None:
    released = cells(day, "exercises")
    for cell in released:
        assert "BEGIN SOLUTION" not in cell["source"]
    stubs = [cell for cell in released if cell["metadata"].get("nbgrader", {}).get("solution")]
    assert all("raise NotImplementedError()" in cell["source"] for cell in stubs)


@pytest.mark.parametrize("day", DAYS)
def test_released_code_fits_the_page(day: str) -> None:
    """Where a line is wider, JupyterLab in a window of 1280 pixels cuts it off."""
    code = [cell["source"] for cell in cells(day, "exercises") if cell["cell_type"] == "code"]
    assert [line for source in code for line in source.split("\n") if len(line) > 100] == []
