"""steps_on_digits: its controls. No rate of plain descent is enough; a good rule has passes to spare."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits

import graders
from graders.judging import catalogue
from graders.judging.question import Setting, cases
from graders.judging.references import day33 as answers
from graders.probing.days import day33
from graders.probing.exercise import Case
from graders.probing.observe import Sight, observe
from tests.alternatives import day33 as hands

NAME = "steps_on_digits"
EXERCISE, ANSWER = catalogue.find(NAME), catalogue.answer_of(NAME)
#: Eight to a power of ten.
RATES = [10 ** (power / 8) for power in range(-24, 13)]
#: What a good rule leaves of its budget, at least: it takes no more than the budget divided by this.
MARGIN = 1.5
GOOD = {
    "normalized steps with momentum": ANSWER.definition,
    "Adam at 0.03": hands.digits_by_adam,
    "layers on their own": hands.digits_layer_by_layer,
    "orthogonal steps": hands.digits_by_orthogonal_steps,
}


def nets(seed: int) -> list[Case]:
    """The cases that ask for training, those that stop most rates first."""
    every = cases(EXERCISE, seed, Setting(torch.float64))
    return [case for case in every if case.inputs["asks"] == day33.TRAINING][::-1]


def passes(candidate: Callable[..., Any], case: Case) -> int | None:
    """The backward passes that it took to the target; None where it did not get there."""
    sight = observe(EXERCISE, candidate, case)
    met = ANSWER.read(sight, case).values["loss"] == "at most the target"
    return sight.values["passes"] if met else None


def at(rate: float) -> Callable[..., Any]:
    return partial(answers.steps_on_digits, rule=answers.plain_descent(rate))


@pytest.mark.parametrize("seed", range(6))
def test_no_one_rate_of_plain_descent_is_enough_for_all_nets_and_each_has_a_rate(seed: int) -> None:
    reached = [[passes(at(rate), case) is not None for case in nets(seed)] for rate in RATES]
    assert not any(map(all, reached))
    assert all(map(any, zip(*reached, strict=True)))


@pytest.mark.parametrize("rule", GOOD.values(), ids=GOOD)
def test_a_good_rule_has_passes_to_spare(rule: Callable[..., Any]) -> None:
    for seed in range(50):
        for case in nets(seed):
            taken = passes(rule, case)
            assert taken is not None, (seed, case.name)
            assert taken * MARGIN <= case.inputs["budget"], (seed, case.name)


def test_the_loss_is_worked_out_from_the_weights_and_nobody_is_asked_for_it() -> None:
    """The judge's words follow the weights, whatever else a student's process says."""
    case = nets(0)[0]
    seen = observe(EXERCISE, ANSWER.definition, case)
    start = torch.cat([one.flatten() for one in day33.starting_weights(case.inputs)])
    said = {**seen.values, "loss": "at most the target", "weights": 0.5 * start}
    assert ANSWER.read(Sight(seen.values), case).values["loss"] == "at most the target"
    assert ANSWER.read(Sight(said), case).values["loss"] != "at most the target"


@pytest.mark.parametrize(
    "weights",
    [
        None,
        "weights",
        torch.zeros(3),
        torch.zeros(3, 3),
        torch.zeros(3, dtype=torch.int64),
        torch.zeros(3, dtype=torch.complex64),
        torch.zeros(3, device="meta"),
        torch.eye(3).to_sparse(),
        torch.full((5,), torch.nan),
    ],
    ids=str,
)
def test_whatever_comes_in_place_of_the_weights_is_no_success(weights: Any) -> None:
    case = nets(0)[0]
    said = {"passes": 5, "late passes": 0, "old gradients": False, "returned": 5, "weights": weights}
    assert ANSWER.read(Sight(said), case).values.get("loss") != "at most the target"


def test_passes_are_counted_however_they_are_started() -> None:
    def peeking(model: Any, x: Any, y: Any, target: float, budget: int) -> int:
        """One pass through a copy, and one through the layers by themselves."""
        copy.deepcopy(model)(x).sum().backward()
        h = x
        for layer in model:
            h = layer(h)
        torch.autograd.grad(h.sum(), list(model.parameters()))
        return 0

    case = nets(0)[0]
    assert observe(EXERCISE, peeking, case).values["passes"] == 2


def test_an_endless_training_is_ended_at_its_budget() -> None:
    def endless(model: Any, x: Any, y: Any, target: float, budget: int) -> None:
        while True:
            model(x).sum().backward()

    verdict = graders.evaluate(NAME, endless, seed=0)
    assert not verdict.passed and verdict.points < 3, str(verdict)


def test_the_images_are_the_first_of_scikit_learn() -> None:
    digits, whole = day33.digits(), load_digits()
    count = len(digits["labels"])
    assert count == 200
    assert torch.equal(digits["images"].double(), torch.from_numpy(whole.data[:count]))
    assert torch.equal(digits["labels"].long(), torch.from_numpy(whole.target[:count]).long())
