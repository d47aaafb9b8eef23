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


@pytest.mark.parametrize("number", [np.float32, Fraction, whole_as_numpy])
@pytest.mark.parametrize("seed", range(3))
def test_a_number_of_another_type_costs_the_form_alone(number: Any, seed: int) -> None:
    def decay_equivalent(lr: float, weight_decay: float, scale: float) -> tuple[Any, Any]:
        return number(lr * scale**2), number(weight_decay / scale**2)

    verdict = judged("decay_equivalent", decay_equivalent, seed=seed)
    assert verdict.points == FORM_SHARE * verdict.max_points
    assert "instead of a float" in verdict.message


def test_a_norm_at_rest_of_another_type_costs_the_form_alone() -> None:
    definition = catalogue.answer_of("equilibrium_norm").definition
    verdict = judged("equilibrium_norm", lambda *given: np.float32(definition(*given)), seed=0)
    assert verdict.points == FORM_SHARE * verdict.max_points
    assert "float32 instead of a float" in verdict.message


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
