"""What a program returns in a form of its own: the values are right, and so is what is said of them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

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
