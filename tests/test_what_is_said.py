"""What is said of a program is true of it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from graders.judging import catalogue
from graders.judging.judge import FORM_SHARE
from tests.judged import judged


def whole_as_numpy(value: float) -> Any:
    return np.int64(value) if value % 1 == 0 else value


def of_definition(name: str, change: Any) -> Any:
    """The definition with what it returns changed; a tuple's parts one by one."""
    right = catalogue.answer_of(name).definition

    def candidate(*given: Any, **options: Any) -> Any:
        returned = right(*given, **options)
        return tuple(map(change, returned)) if isinstance(returned, tuple) else change(returned)

    return candidate


@pytest.mark.parametrize("number", [np.float32, np.float64, whole_as_numpy])
@pytest.mark.parametrize("name", ["decay_equivalent", "equilibrium_norm"])
@pytest.mark.parametrize("seed", range(3))
def test_a_number_of_numpy_is_a_number(name: str, number: Any, seed: int) -> None:
    assert judged(name, of_definition(name, number), seed=seed).passed


@pytest.mark.parametrize("name", ["count_parameters", "statistics_count", "steps_to_tolerance"])
def test_a_count_by_numpy_is_a_count(name: str) -> None:
    """As np.prod of a shape gives it."""
    assert judged(name, of_definition(name, np.int64), seed=0).passed


@pytest.mark.parametrize(
    "form,key",
    [
        (float, "no_int_returned"),
        (torch.tensor, "no_int_returned"),
        (np.array, None),  # said in the words that every exercise has
        (lambda taken: None, "no_number_returned"),
        (lambda taken: [taken], "no_number_returned"),
    ],
)
def test_how_a_count_comes_back_is_told(form: Any, key: str) -> None:
    assert judged("steps_on_digits", of_definition("steps_on_digits", form), seed=0).mistake == key


@pytest.mark.parametrize("name", ["decay_equivalent", "equilibrium_norm"])
def test_a_fraction_costs_the_form_alone(name: str) -> None:
    verdict = judged(name, of_definition(name, Fraction), seed=0)
    assert verdict.points == pytest.approx(FORM_SHARE * verdict.max_points, abs=0.25)
    assert "Fraction instead of a float" in verdict.message


@pytest.mark.parametrize("change", [torch.Tensor.numpy, torch.Tensor.tolist, list])
@pytest.mark.parametrize("name", ["standardize", "batch_norm_inference", "layer_norm", "dropout"])
def test_the_right_numbers_in_an_array_or_a_list_cost_the_form_alone(name: str, change: Any) -> None:
    verdict = judged(name, of_definition(name, change), seed=0)
    assert verdict.points == FORM_SHARE * verdict.max_points, verdict.message
    assert verdict.message.endswith("The values are right.")


@pytest.mark.parametrize("change", [torch.Tensor.numpy, torch.Tensor.tolist])
def test_an_input_that_exposes_a_mistake_may_come_in_another_form(change: Any) -> None:
    name = "expose_eps_outside"
    verdict = judged(name, of_definition(name, change), seed=0)
    assert verdict.points == FORM_SHARE * verdict.max_points
    assert verdict.message.endswith("instead of a tensor.")
    useless = judged(name, of_definition(name, lambda x: change(0 * x)), seed=0)
    assert useless.points == 0


def test_a_step_that_returns_arrays_goes_on() -> None:
    """It is given tensors again, so that what stops it is not its own array."""
    verdict = judged("adam_step", of_definition("adam_step", torch.Tensor.numpy), seed=0)
    assert verdict.points == FORM_SHARE * verdict.max_points, verdict.message


@pytest.mark.parametrize("change", [torch.Tensor.numpy, torch.Tensor.tolist])
def test_wrong_numbers_in_an_array_or_a_list_earn_nothing(change: Any) -> None:
    verdict = judged("standardize", of_definition("standardize", lambda x: change(2 * x)), seed=0)
    assert verdict.points == 0
    assert "right" not in verdict.message


def nested(depth: int) -> list:
    return [nested(depth - 1)] * 100 if depth else [0.0]


ITSELF: list = []
ITSELF.append(ITSELF)


@pytest.mark.parametrize("value", [[[1.0], [1.0, 2.0]], [], [None], ["1"], ITSELF, nested(3)])
def test_lists_that_hold_no_answer(value: list) -> None:
    verdict = judged("standardize", of_definition("standardize", lambda x: value), seed=0)
    assert verdict.message.endswith("but it is a list.")
    assert verdict.points == 0


def test_a_number_of_another_type_can_be_wrong() -> None:
    definition = catalogue.answer_of("equilibrium_norm").definition
    verdict = judged("equilibrium_norm", lambda *given: np.float32(2 * definition(*given)), seed=0)
    assert verdict.outcome == "values"


def test_one_group_of_two_is_told_by_their_number() -> None:
    def parameter_groups(model: Any, weight_decay: float) -> list[dict]:
        decayed = [w for w in model.parameters() if w.requires_grad and w.dim() >= 2]
        return [{"params": decayed, "weight_decay": weight_decay}]

    verdict = judged("parameter_groups", parameter_groups, seed=0)
    assert verdict.points == 0
    assert "number of groups is 1 and should be 2" in verdict.message


@pytest.mark.parametrize("axes,count", [((1,), "C − 1"), ((2, 3), "H·W − 1"), ((0, 2, 3), "N·H·W − 1")])
def test_an_unbiased_variance_over_other_axes_has_their_count(axes: tuple[int, ...], count: str) -> None:
    def layer_norm(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
        var, mean = torch.var_mean(x, axes, keepdim=True)
        return gamma * (x - mean) / (var + eps).sqrt() + beta

    verdict = judged("layer_norm", layer_norm, seed=0)
    assert verdict.mistakes[1] == "unbiased_variance"
    assert f"The variance is divided by {count}." in verdict.notes[0]


def test_only_what_is_off_in_the_decay_is_said_of_it() -> None:
    verdict = judged("decay_equivalent", lambda lr, decay, scale: (2 * lr * scale**2, decay / scale), seed=0)
    assert verdict.mistakes == ("decay_scaled_once",)
    assert "right" not in verdict.message


def test_older_dropout_is_said_of_nothing_that_scales_in_training() -> None:
    def dropout(x: Any, keep: Any, p: float, training: bool = True) -> Any:
        if not training:
            return x * (1 - p)
        return x * keep * 2 if p < 1 else torch.zeros_like(x)

    verdict = judged("dropout", dropout, seed=0)
    assert verdict.mistakes == ("evaluation_scaled_too",)
    assert "Training is right" not in verdict.message
