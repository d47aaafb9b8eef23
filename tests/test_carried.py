"""Errors that are carried on: one mistake costs once, and consistency alone earns nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import graders
from graders.judging import catalogue
from graders.judging.carried import carried
from graders.judging.diagnosis import diagnose
from graders.judging.judge import judge
from graders.judging.question import Paper, Setting, settings
from graders.judging.trial import Trial
from graders.judging.verdict import Verdict
from graders.probing.observe import Survey, look, observe
from tests.judged import judged

SEEDS = (0, 1, 2)


def eps_outside(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> tuple[Tensor, tuple]:
    std = x.std(0, correction=0)
    x_hat = (x - x.mean(0)) / (std + eps)
    return gamma * x_hat + beta, (x_hat, gamma, std, std + eps)


def exact(dy: Tensor, cache: tuple) -> tuple[Tensor, ...]:
    """The derivative of `eps_outside`, by the chain rule."""
    x_hat, gamma, std, divisor = cache
    g = dy * gamma
    dx = (g - g.mean(0) - x_hat * (g * x_hat).mean(0) * divisor / std) / divisor
    return dx, (dy * x_hat).sum(0), dy.sum(0)


def of_the_right_one(dy: Tensor, cache: tuple) -> tuple[Tensor, ...]:
    """The formula of the right forward pass, fed with another one's numbers: nobody's derivative."""
    x_hat, gamma, _, divisor = cache
    g = dy * gamma
    return (g - g.mean(0) - x_hat * (g * x_hat).mean(0)) / divisor, (dy * x_hat).sum(0), dy.sum(0)


def pair(forward: Callable, backward: Callable, seed: int = 0) -> Verdict:
    return graders.evaluate("batch_norm_backward", (forward, backward), seed=seed)


def points(verdict: Verdict) -> list[float]:
    return [score.points for score in verdict.scores]


def notes_on(verdict: Verdict) -> list[str]:
    return [note for note in verdict.notes if "judged against the derivative of your own" in note]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_exact_derivative_of_a_named_mistake_is_right(seed: int) -> None:
    verdict = pair(eps_outside, exact, seed)
    assert points(verdict) == [3, 1, 1], str(verdict)
    (note,) = notes_on(verdict)
    assert "your own batch_norm_forward" in note and "outside the root" in note
    assert all(all(row.marks.values()) for row in verdict.rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_in_each_dtype(dtype: torch.dtype) -> None:
    exercise, answer = catalogue.find("batch_norm_backward"), catalogue.answer_of("batch_norm_backward")
    paper = Paper(exercise, answer, [Setting(dtype)], seed=4)
    candidate = eps_outside, exact
    tried = [Trial(question, observe(exercise, candidate, question.case)) for question in paper.questions]
    (one,) = carried(exercise, answer, tried, diagnose(exercise, answer, tried))
    assert (one.mistake.key, "dx" in one.names) == ("eps_outside_root", True)
    sights, surveyed = look(exercise, candidate, [question.case for question in paper.questions])
    assert judge(paper, sights, surveyed).points == 5


def test_a_case_in_which_the_forward_pass_stops_is_no_wrong_derivative() -> None:
    """1/(N − 1) is 1/0 for a single row, on which there is nothing to go back through."""

    def forward(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> tuple[Tensor, tuple]:
        distance = x - x.mean(0)
        inverse = (1 / (len(x) - 1) * distance.square().sum(0) + eps) ** -0.5
        return gamma * distance * inverse + beta, (distance * inverse, inverse, gamma)

    def backward(dy: Tensor, cache: tuple) -> tuple[Tensor, ...]:
        x_hat, inverse, gamma = cache
        n, dgamma, dbeta = len(dy), (dy * x_hat).sum(0), dy.sum(0)
        return gamma * inverse / n * (n * dy - dbeta - n / (n - 1) * x_hat * dgamma), dgamma, dbeta

    verdict = pair(forward, backward)
    assert points(verdict) == [3, 1, 1] and verdict.passed, str(verdict)
    assert len(notes_on(verdict)) == 1
    verdict = pair(forward, lambda dy, cache: (2 * backward(dy, cache)[0], *backward(dy, cache)[1:]))
    assert points(verdict)[0] < 3, str(verdict)


def test_what_is_not_the_derivative_stays_wrong() -> None:
    verdict = pair(eps_outside, of_the_right_one)
    assert points(verdict) == [1.5, 1, 1], str(verdict)
    assert verdict.mistake == "backward_of_the_right_forward" and not verdict.passed


def test_the_right_derivative_stays_right_whatever_the_forward_pass_is() -> None:
    def forward(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> tuple[Tensor, tuple]:
        std = (x.var(0, correction=0) + eps).sqrt()
        x_hat = (x - x.mean(0)) / std
        return eps_outside(x, gamma, beta, eps)[0], (x_hat, gamma, std, std)

    verdict = pair(forward, of_the_right_one)
    assert points(verdict) == [3, 1, 1] and not notes_on(verdict), str(verdict)


def test_lost_digits_cost_where_they_are_lost() -> None:
    """The forward pass cancels at an offset; where it does not, the derivative is what it should be."""

    def forward(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> tuple[Tensor, tuple]:
        variance = (x.square().mean(0) - x.mean(0).square()).clamp_min(0)
        std = (variance + eps).sqrt()
        x_hat = (x - x.mean(0)) / std
        return gamma * x_hat + beta, (x_hat, gamma, std, std)

    verdict = pair(forward, of_the_right_one)
    assert points(verdict) == [3, 1, 1] and notes_on(verdict), str(verdict)
    constant = pair(forward, lambda dy, cache: (dy * cache[1] / cache[2], dy.sum(0), dy.sum(0)))
    assert points(constant)[:2] == [0, 0], str(constant)


def the_identity(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> tuple[Tensor, Any]:
    return x, gamma


def a_constant(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> tuple[Tensor, Any]:
    return torch.zeros_like(x), gamma


def only_centred(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> tuple[Tensor, Any]:
    return x - x.mean(0), gamma


CONSISTENT = {
    "the identity": (the_identity, lambda dy, gamma: (dy, 0 * gamma, 0 * gamma)),
    "a constant": (a_constant, lambda dy, gamma: (0 * dy, 0 * gamma, 0 * gamma)),
    "a mistake without a name": (only_centred, lambda dy, gamma: (dy - dy.mean(0), 0 * gamma, 0 * gamma)),
}


@pytest.mark.parametrize("forward,backward", CONSISTENT.values(), ids=CONSISTENT)
def test_consistency_alone_earns_nothing(forward: Callable, backward: Callable) -> None:
    verdict = pair(forward, backward)
    assert verdict.points == 0 and not notes_on(verdict), str(verdict)


def test_a_gradient_of_zero_that_takes_no_work_earns_nothing() -> None:
    """Without gamma and beta their gradients are 0, and that is no answer."""

    def forward(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> tuple[Tensor, tuple]:
        std = (x.var(0, correction=0) + eps).sqrt()
        x_hat = (x - x.mean(0)) / std
        return x_hat, (x_hat, torch.ones_like(gamma), std, std)

    def backward(dy: Tensor, cache: tuple) -> tuple[Tensor, ...]:
        dx, dgamma, dbeta = of_the_right_one(dy, cache)
        return dx, 0 * dgamma, 0 * dbeta

    assert points(pair(forward, backward)) == [3, 0, 0]


@pytest.mark.parametrize(
    "one", catalogue.answer_of("batch_norm_backward").bases[0].mistakes, ids=lambda one: one.key
)
def test_every_mistake_of_the_forward_pass_is_followed(one: Any) -> None:
    """By autograd, which the exercise bars; what matters here is what is seen."""
    exercise, answer = catalogue.find("batch_norm_backward"), catalogue.answer_of("batch_norm_backward")
    paper = Paper(exercise, answer, settings("cpu"), seed=0)
    sights = [observe(exercise, one.variants[0], question.case) for question in paper.questions]
    verdict = judge(paper, sights, Survey(frozenset(), None))
    assert verdict.scores[0].points == 3, str(verdict)


class WithItsGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
        y, cache = eps_outside(x, gamma, beta, eps)
        ctx.save_for_backward(*cache)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple:
        return (*exact(dy, ctx.saved_tensors), None)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_function_is_judged_by_its_own_forward_pass(seed: int) -> None:
    verdict = graders.evaluate("BatchNormFunction", WithItsGradient, seed=seed)
    assert verdict.mistake == "eps_outside_root", str(verdict)
    assert points(verdict)[1:] == [1, 1, 1] and points(verdict)[0] < 1
    assert len(notes_on(verdict)) == 1


def variant(exercise: str, key: str) -> Any:
    return next(one.variants[0] for one in catalogue.answer_of(exercise).mistakes if one.key == key)


@pytest.mark.parametrize("key", ["eps_outside_root", "batch_statistics_in_eval", "unbiased_variance"])
def test_the_gradients_of_a_layer_follow_its_outputs(key: str) -> None:
    verdict = graders.evaluate("BatchNorm1d", variant("BatchNorm1d", key), seed=0)
    assert verdict.mistake == key
    assert verdict.scores[-1].label == "gradients" and verdict.scores[-1].points == 1, str(verdict)
    assert len(notes_on(verdict)) == 1


def test_a_gradient_that_is_cut_off_follows_from_nothing() -> None:
    class Cut(variant("BatchNorm1d", "eps_outside_root")):
        def affine(self, x_hat: Tensor) -> Tensor:
            return super().affine(x_hat.detach())

    verdict = graders.evaluate("BatchNorm1d", Cut, seed=0)
    assert verdict.scores[-1].points == 0, str(verdict)


#: Mistakes that go on to later parts of the same exercise, and the one part that they cost something in.
GOING_ON = [
    *(
        ("BatchNorm1d", key, "train mode: y")
        for key in ("eps_outside_root", "eps_missing", "divided_by_variance", "shift_before_scale")
    ),
    *(
        ("SGD", key, "momentum")
        for key in ("gradient_damped", "first_gradient_damped", "missing_gradient_as_zero")
    ),
    *(("SGD", key, "Nesterov") for key in ("nesterov_ignored", "look_ahead_stored")),
    *(
        (name, key, "the new velocity")
        for name in ("momentum_step", "nesterov_step")
        for key in ("gradient_damped", "beta_on_gradient", "never_fades", "velocity_not_stored")
    ),
]


@pytest.mark.parametrize("name,key,part", GOING_ON)
def test_a_mistake_that_goes_on_to_later_parts_costs_once(name: str, key: str, part: str) -> None:
    (one,) = (one for one in catalogue.answer_of(name).mistakes if one.key == key)
    for seed in SEEDS:
        verdict = judged(name, one.variants[0], seed=seed)
        assert verdict.mistake == key, str(verdict)
        assert [score.label for score in verdict.scores if score.points < score.max_points] == [part]
        assert any("costs once" in note for note in verdict.notes), verdict.notes


@pytest.mark.parametrize("key", ["momentum_ignored", "velocity_not_kept", "parameters_replaced"])
def test_what_leaves_momentum_out_earns_nothing_by_leaving_it_out_everywhere(key: str) -> None:
    (one,) = (one for one in catalogue.answer_of("SGD").mistakes if one.key == key)
    assert judged("SGD", one.variants[0], seed=0).points <= 1
