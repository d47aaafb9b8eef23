"""Day 31: a step along the gradient, and the learning rate, with and without batch normalization."""

from __future__ import annotations

from functools import cache

import torch

from course.experiments import day31 as experiments
from course.explorers.shared import Explorer, Goal, choice_slider, log_slider
from course.figures import day31 as figures

GAINS = [("1", 1.0), ("1.41 (He)", experiments.HE), ("2", 2.0)]


def along_explorer() -> Explorer:
    """Day 31: loss and gradient along the gradient, at several moments of training."""
    moments, seed = (0, 5, 10, 20, 40), 0
    sizes = torch.logspace(-3, 1.5, 16, dtype=torch.float64)
    gains = tuple(gain for _, gain in GAINS)
    problem = experiments.problem_for((seed,))

    def view(kind: str, at: int, depth: int, gain: float) -> experiments.Along:
        networks = experiments.checkpoints(kind, depth, gains, (seed,) * len(gains), moments)[at]
        chosen = gains.index(gain)
        return experiments.along_gradient([w[[chosen]] for w in networks], problem, kind, sizes)

    def compute(at: int, depth: int, gain: float) -> figures.TwoAlongs:
        return figures.TwoAlongs(view("plain", at, depth, gain), view("batch norm", at, depth, gain))

    depths = [2, 5, 8]
    for depth in depths:  # so that no slider has to wait for a training
        compute(0, depth, gains[0])

    return Explorer(
        title="One step along the gradient: how far can it be trusted?",
        look_for=(
            "Compare the two curves on the right at each gain, before any training: whose gradient is good "
            "for longer steps?"
        ),
        goal=Goal(
            "a setting in which both gradients hold equally far.",
            lambda state: state.plain.trusted == state.normalized.trusted,
        ),
        controls={
            "at": choice_slider("after step", 0, list(moments)),
            "depth": choice_slider("layers", 5, depths),
            "gain": choice_slider("gain", 2.0, GAINS),
        },
        compute=compute,
        drawing=figures.AlongDrawing(),
    )


@cache
def _descents(kind: str, gain: float) -> experiments.Descents:
    """One network at the rates that the slider has."""
    rates = torch.logspace(-2, 2, 17, dtype=torch.float64)
    return experiments.descend(kind, rates, [0], gain=gain, steps=40, watch=(0,))


def rates_explorer() -> Explorer:
    """Day 31: the same start at seventeen learning rates."""
    for kind in ("plain", "batch norm"):  # so that no slider has to wait for a training
        for _, gain in GAINS:
            _descents(kind, gain)

    def compute(rate: float, gain: float) -> figures.OneRate:
        plain, normalized = _descents("plain", gain), _descents("batch norm", gain)
        return figures.OneRate((plain.rates / rate).log().abs().argmin().item(), plain, normalized)

    return Explorer(
        title="Forty steps of gradient descent at a learning rate of your choice",
        look_for=(
            "The dashed lines are 2 / λ, the longest stable step by the curvature at the start. Does each "
            "network stop training where its line is?"
        ),
        goal=Goal(
            "a learning rate at which one network ends below 0.01 and the other leaves the picture.",
            lambda state: min(state.finals) < 0.01 and not max(state.finals) < figures.RatesDrawing.LIMITS[1],
        ),
        controls={
            "rate": log_slider("learning rate", 0.1, -2, 2),
            "gain": choice_slider("gain", experiments.HE, GAINS),
        },
        compute=compute,
        drawing=figures.RatesDrawing(),
    )
