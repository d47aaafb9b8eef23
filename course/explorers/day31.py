"""Day 31: a step along the gradient, and the learning rate, with and without batch normalization."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import torch
from torch import Tensor

from course.experiments import day31 as experiments
from course.explorers.explorer import Explorer, choice, log_slider

MOMENTS, DEPTHS = [0, 5, 10, 20, 40], [2, 5, 8]
GAINS = [("1", 1.0), ("1.41 (He)", experiments.HE), ("2", 2.0)]
KINDS = {"plain": "plain", "normalized": "batch norm"}
SEED = 0
HIGHEST = 20.0  # a loss above it has left the picture


@cache
def _alongs() -> dict[str, dict[tuple[int, int, float], experiments.Along]]:
    """For each of `KINDS` what is measured at every setting, in the numbers that float32 has."""
    sizes = torch.logspace(-3, 1.5, 16, dtype=torch.float64)
    gains = tuple(gain for _, gain in GAINS)
    problem = experiments.problem_for((SEED,))
    found: dict[str, dict] = {name: {} for name in KINDS}
    for (name, kind), depth in itertools.product(KINDS.items(), DEPTHS):
        moments = experiments.checkpoints(kind, depth, gains, (SEED,) * len(gains), tuple(MOMENTS))
        for (at, networks), place in itertools.product(moments.items(), range(len(gains))):
            along = experiments.along_gradient([w[[place]] for w in networks], problem, kind, sizes)
            loss, losses, changes = map(_rounded, (torch.tensor(along.loss), along.losses, along.changes))
            rounded = experiments.Along(sizes, loss.item(), along.norm, losses, changes)
            found[name][at, depth, gains[place]] = rounded
    return found


def _rounded(numbers: Tensor) -> Tensor:
    return numbers.float().double()


def along_explorer() -> Explorer:
    """Day 31: loss and gradient along the gradient, at several moments of training."""
    alongs = _alongs()
    settings = list(itertools.product(MOMENTS, DEPTHS, (gain for _, gain in GAINS)))

    def compute(at: int, depth: int, gain: float) -> dict[str, Any]:
        plain, normalized = (alongs[name][at, depth, gain] for name in KINDS)
        return {
            "plain": told(plain),
            "normalized": told(normalized),
            "reached": plain.trusted == normalized.trusted,
        }

    def told(along: experiments.Along) -> dict[str, Any]:
        return {
            "start": along.loss,
            "losses": along.losses,
            "changes": along.changes,
            "trusted": along.trusted,
        }

    def stacked(name: str, what: str) -> Tensor:
        """(moments, depths, gains, …) in float32."""
        numbers = [torch.as_tensor(getattr(alongs[name][setting], what)) for setting in settings]
        return torch.stack(numbers).float().unflatten(0, (len(MOMENTS), len(DEPTHS), len(GAINS)))

    return Explorer(
        "day31_along",
        title="One step along the gradient: how far can it be trusted?",
        look_for=(
            "Compare how the two gradients change, at each gain, before any training: whose gradient is good "
            "for longer steps?"
        ),
        goal="a setting in which both gradients hold equally far.",
        controls={
            "at": choice("after step", 0, MOMENTS),
            "depth": choice("layers", 5, DEPTHS, "buttons"),
            "gain": choice("gain", 2.0, GAINS, "buttons"),
        },
        compute=compute,
        data={
            "moments": MOMENTS,
            "depths": DEPTHS,
            "gains": [gain for _, gain in GAINS],
            "sizes": next(iter(alongs["plain"].values())).sizes,
            "measured": {
                name: {
                    key: stacked(name, what)
                    for key, what in {"starts": "loss", "losses": "losses", "changes": "changes"}.items()
                }
                for name in KINDS
            },
        },
    )


@cache
def _descents(kind: str, gain: float, rates: tuple[float, ...]) -> experiments.Descents:
    """One network at every rate."""
    every = torch.tensor(rates, dtype=torch.float64)
    return experiments.descend(kind, every, [SEED], gain=gain, steps=40, watch=(0,))


def rates_explorer() -> Explorer:
    """Day 31: the same start at seventeen learning rates."""
    control = log_slider("learning rate", 0.1, -2, 2)
    rates, gains = tuple(control.values), [gain for _, gain in GAINS]
    measured = {}
    for name, kind in KINDS.items():
        found = [_descents(kind, gain, rates) for gain in gains]
        losses = torch.stack([each.losses[:, :, 0].T for each in found])  # (gains, rates, steps + 1)
        measured[name] = {
            "losses": losses.nan_to_num(torch.inf, torch.inf),
            "limits": [2 / each.sharpness[0, 0, 0].item() for each in found],
        }

    def compute(rate: float, gain: float) -> dict[str, Any]:
        row, place = rates.index(rate), gains.index(gain)
        state: dict[str, Any] = {}
        for name, found in measured.items():
            losses = found["losses"][place]
            state[name] = {"curve": losses[row], "finals": losses[:, -1], "limit": found["limits"][place]}
        ends = [state[name]["finals"][row].item() for name in measured]
        out = [loss >= HIGHEST for loss in ends]
        return state | {"ends": ends, "out": out, "reached": min(ends) < 0.01 and any(out)}

    return Explorer(
        "day31_rates",
        title="Forty steps of gradient descent at a learning rate of your choice",
        look_for=(
            "The dashed lines are 2 / λ, the longest stable step by the curvature at the start. Does each "
            "network stop training where its line is?"
        ),
        goal="a learning rate at which one network ends below 0.01 and the other leaves the picture.",
        controls={"rate": control, "gain": choice("gain", experiments.HE, GAINS, "buttons")},
        compute=compute,
        data={"rates": list(rates), "gains": gains, "measured": measured, "highest": HIGHEST},
    )
