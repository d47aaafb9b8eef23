"""The steps to the hard exercises, and the lines of their solutions, which are to be put in order."""

from __future__ import annotations

import json
from typing import Any

import pytest

import graders
from course.study import parsons
from graders.batch import notebook as batch
from graders.judging import catalogue, steps
from graders.judging.verdict import Verdict
from graders.notebooks import read
from tests.judged import judged
from tests.solutions import ROOT, namespace

PATHS = steps.paths()
OWN = steps.own_steps()
MISTAKES = [(name, one) for name, step in OWN.items() for one in step.answer.mistakes]


def answered(exercise: str, folder: str = "solutions") -> dict[str, Any]:
    """What the notebook defines in which an exercise stands."""
    day = catalogue.day_of(exercise)
    return namespace(ROOT / folder / day / f"{day}.ipynb")


def check_steps_of(exercise: str, folder: str) -> Any:
    found = answered(exercise, folder)
    return graders.check_steps(*(found[one.exercise.name] for one in PATHS[exercise] if one.answer))


# ---------------------------------------------------------------------------- the paths


@pytest.mark.parametrize("exercise", PATHS)
def test_a_path_ends_with_the_exercise_and_holds_each_of_its_mistakes_once(exercise: str) -> None:
    path = PATHS[exercise]
    assert path[-1].exercise is catalogue.find(exercise)
    assert len({step.title for step in path}) == len(path)
    mapped = sorted(key for step in path for key in step.mistakes)
    assert mapped == sorted(one.key for one in catalogue.answer_of(exercise).mistakes)


def test_steps_have_names_of_their_own_and_no_points() -> None:
    assert not OWN.keys() & catalogue.exercises().keys()
    assert len(OWN) == sum(bool(step.answer) for path in PATHS.values() for step in path)
    assert {step.exercise.points for step in OWN.values()} == {0}


@pytest.mark.parametrize("name", OWN)
def test_the_definition_of_a_step_is_right(name: str) -> None:
    for seed in range(3):
        assert judged(name, OWN[name].answer.definition, seed=seed).passed


@pytest.mark.parametrize("name,mistake", MISTAKES, ids=[f"{name}-{one.key}" for name, one in MISTAKES])
def test_every_mistake_in_a_step_is_named(name: str, mistake: Any) -> None:
    for variant in mistake.variants:
        for seed in range(2):
            verdict = judged(name, variant, seed=seed)
            assert (verdict.mistake, verdict.points) == (mistake.key, 0), str(verdict)


# ---------------------------------------------------------------------------- what a student sees


@pytest.mark.parametrize("exercise", PATHS)
def test_check_steps_says_how_far_one_is(exercise: str) -> None:
    path = PATHS[exercise]
    for folder, state in (("solutions", "right"), ("exercises", "not written yet")):
        walk = check_steps_of(exercise, folder)
        assert [row[2] for row in walk.rows()] == [
            state if step.answer else step.exercise.call for step in path
        ]
        assert walk.first_wrong is None
        for title in (step.title for step in path):
            assert title in str(walk) and title.replace("'", "&#x27;") in walk._repr_html_()


def test_check_steps_shows_the_report_on_the_first_that_is_wrong() -> None:
    def through_mean(dcentred):
        return dcentred

    def through_scale(dy, gamma):
        return dy * 1

    walk = graders.check_steps(through_mean, through_scale)
    states = ["not checked", "not right yet", "not checked", "not right yet"]
    assert [row[2] for row in walk.rows()][:4] == states
    assert walk.first_wrong.mistake == "gamma_missing"
    assert "through_scale: not right yet" in str(walk) and "points" not in str(walk)
    assert "not right yet</span>" in walk._repr_html_()


def test_check_steps_says_what_it_takes() -> None:
    def through_mean(dcentred):
        return dcentred

    def corrected(average, beta, step):
        return average

    for given in ((), (print,), (1,), (through_mean, corrected)):
        assert str(graders.check_steps(*given)).startswith("check_steps takes the functions of one section")


@pytest.mark.parametrize("exercise", PATHS)
def test_the_report_names_the_step_in_which_a_mistake_is_made(exercise: str) -> None:
    known = {one.key: one for one in catalogue.answer_of(exercise).mistakes}
    for number, step in enumerate(PATHS[exercise], 1):
        key = min(step.mistakes, default=None)
        if key is None:
            continue
        verdict = judged(exercise, known[key].variants[0], seed=1)
        named = [note for note in verdict.notes if "belongs to step" in note]
        assert named == steps.hint(exercise, [known[key]])
        if step.exercise.name == exercise:
            assert not named  # it is the check that has just run
        else:
            own = "the section Step by step has" if step.answer else f"the exercise {step.exercise.name} has"
            assert f"step {number}, «{step.title}»: {own} a check" in named[0]


def test_an_exercise_without_steps_gets_no_hint() -> None:
    name = "batch_norm_forward"
    mistake = catalogue.answer_of(name).mistakes[0]
    verdict = judged(name, mistake.variants[0], seed=1)
    assert verdict.mistake == mistake.key and not [one for one in verdict.notes if "step" in one]


# ---------------------------------------------------------------------------- the notebooks


@pytest.mark.parametrize("exercise", PATHS)
def test_the_section_is_folded_and_names_every_step(exercise: str) -> None:
    day = catalogue.day_of(exercise)
    slug = exercise.replace("_", "-").lower()
    cells = {cell.id: cell for cell in read(ROOT / "exercises" / day / f"{day}.ipynb").cells}
    order = [name for name in cells if name.startswith(slug)]
    section = [f"{slug}-{part}" for part in ("steps", "steps-list", "steps-answer", "steps-check", "parsons")]
    assert order == [
        slug,
        f"{slug}-hints",
        *section,
        f"{slug}-all-together",
        f"{slug}-answer",
        f"{slug}-check",
    ]
    text = cells[section[0]]
    assert text.metadata["jp-MarkdownHeadingCollapsed"] is True
    assert text.source.startswith(f"### Step by step: `{exercise}`\n")
    for number, step in enumerate(PATHS[exercise], 1):
        assert f"{number}. **{step.title.removesuffix('?')}" in cells[section[1]].source
        if step.answer:
            assert f"`{step.exercise.signature}`" in cells[section[1]].source
            assert f"def {step.exercise.signature}:" in cells[section[2]].source
    assert cells[f"{slug}-all-together"].source.startswith("### ")  # ends what is folded
    for name in section[3:]:
        assert cells[name].metadata.tags == [batch.SKIPPED]
    assert cells[section[4]].source.endswith(f'parsons("{exercise}")')


class Recorded:
    """A session that remembers what it was asked to run."""

    noticed = frozenset()

    def __init__(self) -> None:
        self.ran: list[str] = []

    def run(self, source: str, *, locked: bool = False) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        self.ran.append(source)
        return [], {}

    def run_graded(self, source: str, *_: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        return self.run(source)


def test_a_cell_that_is_to_be_skipped_is_not_run_where_it_carries_no_points() -> None:
    form = {"grade": True, "grade_id": "test", "locked": True, "points": 1, "solution": False}
    cells = [
        {"cell_type": "code", "metadata": {"tags": tags} | more, "source": source, "outputs": []}
        for source, tags, more in (
            ("a = 1", [], {}),
            ("b = 2", [batch.SKIPPED], {}),
            ("assert a", [batch.SKIPPED], {"nbgrader": form}),
        )
    ]
    session = Recorded()
    batch.execute({"cells": cells}, session)
    assert session.ran == ["a = 1", "assert a"]


# ---------------------------------------------------------------------------- lines to put in order


def assembled(puzzle: parsons.Puzzle, wrong: int | None = None) -> str:
    """The code of the solution that the puzzle was made from; wrong: a line whose twin is taken."""
    return "\n".join(
        " " * parsons.INDENT * line.indent * bool(line.goal) + (line.wrong if line.id == wrong else line.code)
        for line in puzzle.lines
    )


def verdict_on(exercise: str, code: str) -> Verdict:
    found = {**answered(exercise)}
    exec(code, found)
    parts = tuple(found[name] for name in catalogue.find(exercise).candidates)
    return judged(exercise, parts if len(parts) > 1 else parts[0], seed=1)


def test_every_path_has_its_puzzle() -> None:
    assert parsons.puzzles() == sorted(PATHS)
    for exercise, path in PATHS.items():
        puzzle = parsons.load(exercise)
        assert list(puzzle.steps) == [step.title for step in path]
        assert {line.goal for line in puzzle.lines} <= set(range(len(path) + 1))
        own = {number for number, step in enumerate(path, 1) if step.answer}
        assert own <= {line.goal for line in puzzle.lines}
        json.dumps(puzzle.as_data())


@pytest.mark.parametrize("exercise", PATHS)
def test_the_lines_in_order_are_a_solution(exercise: str) -> None:
    puzzle = parsons.load(exercise)
    assert verdict_on(exercise, assembled(puzzle)).passed
    moved = [line.id for line in puzzle.lines if line.goal]
    pool = [id for id, _ in puzzle.as_data()["pool"]]
    assert sorted(pool) == moved != pool
    assert puzzle.as_data() == puzzle.as_data()


@pytest.mark.parametrize(
    "exercise,line",
    [(exercise, line.id) for exercise in PATHS for line in parsons.load(exercise).lines if line.wrong],
)
def test_a_twin_is_a_mistake_that_check_knows(exercise: str, line: int) -> None:
    puzzle = parsons.load(exercise)
    verdict = verdict_on(exercise, assembled(puzzle, line))
    assert verdict.mistake == puzzle.lines[line].mistake, str(verdict)
    assert puzzle.lines[line].why.endswith(("?", "."))


def test_an_exercise_without_a_puzzle_is_told_which_have_one() -> None:
    with pytest.raises(LookupError, match=r"no puzzle for whiten\. There is one for: BatchNorm1d, "):
        parsons.parsons("whiten")


def test_where_nothing_runs_a_sentence_says_what_to_do() -> None:
    data, _ = parsons.parsons("SGD")._repr_mimebundle_()
    assert data["text/plain"] == data["text/html"][3:-4]
    assert "Run this cell" in data["text/plain"]
