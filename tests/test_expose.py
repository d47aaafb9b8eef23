"""Exercises that ask for an input: the code that is shown is the one that is judged; chance does not pass."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import graders
from graders.judging import catalogue, exposing
from graders.judging.question import Setting, cases
from graders.judging.references import day31
from graders.judging.report import as_bundle, as_text
from graders.judging.verdict import Verdict
from tests.batches import autograde
from tests.courses import answered, make_course, recorded, release, solution_code
from tests.judged import judged
from tests.solutions import ROOT, namespace

NAMES = [name for name in catalogue.exercises() if name.startswith(("expose_", "hide_"))]


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


#: What the code of each exercise is called with, so that two copies of it can be compared.
CALLS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "expose_cancellation": lambda: (normal(5, 3).float() + 30,),
    "expose_diagonal": lambda: (normal(5, 3),),
    "expose_eps_outside": lambda: (normal(5, 3), 0.3),
    "expose_unbiased": lambda: (normal(5, 3),),
    "hide_constant_statistics": lambda: (normal(5, 3), normal(5, 3)),
    "hide_momentum_reversed": lambda: (normal(3), normal(3).exp(), normal(5, 3)),
    "expose_batch_statistics": lambda: (normal(5, 3), normal(3), normal(3).exp()),
    "expose_averaged_variances": lambda: (normal(4, 3, 2, 5),),
    "hide_per_sample": lambda: (normal(4, 3, 2, 5),),
    "expose_interleaved_groups": lambda: (normal(3, 6, 4, 4) * torch.arange(1, 7).view(6, 1, 1), 3),
    "hide_rows_normalized": lambda: (normal(4, 4),),
    "expose_textbook_noise": lambda: (normal(12, 2), 4),
    "hide_share_of_mask": lambda: (normal(9), (torch.arange(9) < 4).double(), 0.3),
    "expose_lost_sign": lambda: (normal(3, 3).matmul, normal(3), 4),
    "expose_layer_by_layer": lambda: ([normal(3, 2), normal(4)], [normal(3, 2), normal(4)]),
    "hide_plain_mean": lambda: ([2, 5, 9], normal(3)),
    "expose_deviation_for_rms": lambda: (normal(4, 5),),
    "expose_lr_in_velocity": lambda: (normal(6).exp(), 0.8),
    "hide_nesterov": lambda: (normal(4), normal(4), normal(4), 0.3, 0.8),
    "hide_missing_correction": lambda: (normal(3), 0.3, 0.8, 0.95),
    "expose_sign_of_gradient": lambda: (normal(4), normal(4), normal(4), 0.3, 0.8),
}


def test_there_are_two_a_day_or_more() -> None:
    found = {day: [one.name for one in exercises] for day, exercises in catalogue.days().items()}
    assert all(sum(name in NAMES for name in names) >= 2 for names in found.values()), found
    assert len(NAMES) >= 20


@pytest.mark.parametrize("name", NAMES)
def test_the_code_in_the_notebook_does_what_the_judges_copy_does(name: str) -> None:
    day = catalogue.day_of(name)
    shown = namespace(ROOT / "solutions" / day / f"{day}.ipynb")[f"suspect_{name.partition('_')[2]}"]
    torch.manual_seed(0)
    for _ in range(5):
        given = CALLS[name]()
        copy = catalogue.answer_of(name).derived.suspect(*given)
        torch.testing.assert_close(shown(*given), copy)


@pytest.mark.parametrize("make", [torch.randn, torch.rand, torch.zeros, torch.ones])
@pytest.mark.parametrize("name", NAMES)
def test_what_takes_no_thought_fails_and_is_told_why(name: str, make: Callable[..., torch.Tensor]) -> None:
    asked = catalogue.answer_of(name).derived.asked
    names = catalogue.find(name).signature.partition("(")[2].rstrip(")").split(", ")

    def candidate(*given: Any) -> Any:
        inputs = dict(zip(names, given, strict=True))
        found = []
        for one in asked:
            sizes = one._sizes(inputs)
            found.append(make([6 if size is None else size for size in sizes]))
        return tuple(found) if len(found) > 1 else found[0]

    for seed in range(3):
        verdict = judged(name, candidate, seed=seed)
        assert verdict.points == 0, str(verdict)
        assert verdict.mistake, str(verdict)


@pytest.mark.parametrize("ratio,why", [(1.09, "largest_of_either_sign"), (1.101, "")])
def test_larger_by_a_tenth_means_a_tenth(ratio: float, why: str) -> None:
    """Two eigenvalues are 6, the third is −6 · ratio."""
    matrix = 6 * torch.eye(3, dtype=torch.float64) - 2 * (1 + ratio)
    assert day31.why_sign_is_kept(matrix, low=1.0) == why


RANDOM = {
    "expose_textbook_noise": "def expose_textbook_noise(n, batch_size):\n    return torch.randn(n, 1)",
    # More than is looked at, and what only says that it is a tensor.
    "hide_share_of_mask": """
class Mask(torch.Tensor):
    def __eq__(self, other):
        return torch.ones(len(self), dtype=torch.bool)
def hide_share_of_mask(n, p):
    return torch.full((n,), 0.5).as_subclass(Mask)
""",
}


@pytest.mark.skipif(not shutil.which("bwrap"), reason="no bubblewrap")
def test_in_a_batch_inputs_earn_what_they_earn_in_a_notebook(tmp_path: Path) -> None:
    """What the student's process returns is looked at where it cannot be touched."""
    course = make_course(tmp_path / "course", [])
    shutil.copytree(ROOT / "solutions" / "day30", course / "solutions" / "day30")
    release(course, "day30")
    answered(course, "right", "day30", solution_code("day30"))
    answered(course, "random", "day30", solution_code("day30") | RANDOM)
    autograde(course, "day30", "--workers", "1")
    graded = recorded(course, "day30")
    most = sum(one.points for one in catalogue.days()["day30"])
    assert graded["right"]["score"] == most
    assert graded["random"]["score"] == most - 4


# -- expose: any mistake that check has named --------------------------------------------------------


@pytest.fixture
def nothing_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A course of its own, in which check has named nothing."""
    monkeypatch.setattr(exposing, "_named", {})
    (tmp_path / "nbgrader_config.py").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def batch_norm_forward(x, gamma, beta, eps=1e-5):
    return gamma * (x - x.mean(0)) / (x.var(0, correction=0).sqrt() + eps) + beta, None


def batch(scale: float) -> tuple[torch.Tensor, ...]:
    return torch.linspace(-scale, scale, 5).unsqueeze(1).repeat(1, 3), torch.ones(3), torch.zeros(3)


def test_what_check_has_named_is_listed_and_can_be_called(nothing_named: Path) -> None:
    assert "named no mistake here" in repr(graders.expose())
    graders.check(batch_norm_forward)
    assert 'expose("eps_outside_root", exercise="batch_norm_forward")' in repr(graders.expose())
    wrong = graders.expose("eps_outside_root")
    torch.testing.assert_close(wrong(*batch(1e-3))[0], batch_norm_forward(*batch(1e-3))[0])
    assert 'expose("eps_outside_root", x, gamma, beta)' in repr(wrong)


def test_what_saved_notebooks_name_is_listed_and_broken_ones_are_not(nothing_named: Path) -> None:
    def save(day: str, text: str) -> None:
        path = nothing_named / "exercises" / day / f"{day}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")

    verdict = Verdict("rms_norm", 0, 3, "mistake", "…", "mean_subtracted", mistakes=("mean_subtracted",))
    data = as_bundle(verdict)
    output = {"output_type": "display_data", "data": data, "metadata": {}}
    save("day32", json.dumps({"cells": [{"cell_type": "code", "outputs": [output]}]}))
    save("day26", "{")
    save("day27", json.dumps({"cells": [{"outputs": [{"data": {exposing.MIME: {"mistake": 3}}}]}]}))
    assert repr(graders.expose()).count("\nexpose(") == 1
    assert 'expose("mean_subtracted", exercise="rms_norm")' in repr(graders.expose())


@pytest.mark.parametrize(
    "scale,shows,text", [(1e-4, True, "It shows: "), (0.1, True, "hardly"), (0.0, False, "does not show")]
)
def test_an_input_shows_a_mistake_or_does_not(scale: float, shows: bool, text: str) -> None:
    found = graders.expose("eps_outside_root", *batch(scale), exercise="batch_norm_forward")
    assert found.shows is shows
    assert text in found.text


def test_digits_are_lost_in_the_dtype_of_the_input() -> None:
    far = batch(1.0)[0] + 10_000
    for dtype, shows in ((torch.float32, True), (torch.float64, False)):
        found = graders.expose("variance_by_cancellation", far.to(dtype), exercise="standardize")
        assert found.shows is shows, found


@pytest.mark.parametrize(
    "given,text",
    [
        (("eps_outside_rot",), "Did you mean eps_outside_root?"),
        (("rows_normalized",), "known in several exercises: standardize, batch_norm_forward"),
        (("parameters_only",), "no plain input shows it"),
        ((torch.ones(3),), "takes the key of a mistake first"),
        (("borrowed_formula", torch.ones(3, 2)), "Hand over what the function takes"),
        (("borrowed_formula", torch.ones(3, 2), torch.ones(3, 4), torch.ones(2)), "This is no input for"),
    ],
)
def test_what_cannot_be_judged_is_told_why(nothing_named: Path, given: tuple, text: str) -> None:
    found = graders.expose(*given)
    assert found.shows is None and text in found.text


def test_what_the_right_function_refuses_shows_who_takes_it() -> None:
    x, ones = torch.rand(2, 6, 2, 2), torch.ones(6)
    found = graders.expose("indivisible_groups", x, 4, ones, ones, exercise="group_norm")
    assert found.shows and "refuses this with ValueError" in found.text


def test_exercises_without_an_input_are_in_the_table() -> None:
    assert set(catalogue.exercises()) >= exposing.WITHOUT_INPUT


@pytest.mark.parametrize("name", ["batch_norm_forward", "instance_norm", "rms_norm", "convert_momentum"])
def test_every_mistake_has_an_input_that_shows_it(name: str) -> None:
    exercise = catalogue.find(name)
    asked = []
    for case in (*cases(exercise, 0, Setting(torch.float32)), *cases(exercise, 0, Setting(torch.float64))):
        given = [case.inputs[one] for one in exposing._parameters(exercise.signature)]
        asked.append(tuple(given[:-1] if given[-1] is None else given))
    for one in catalogue.answer_of(name).mistakes:
        assert any(exposing.judged(name, one, given).shows for given in asked), one.key


def test_a_report_names_the_case_once() -> None:
    verdict = judged("expose_textbook_noise", lambda n, batch_size: torch.rand(n, 1).round(), seed=0)
    said = as_text(verdict).split("\n\n")[2]
    assert said.startswith("In float64, your input for n = ") and said.count("n = ") == 1
    assert said.endswith("is not what was asked for.")
