"""Day 33: a ball in a valley, the plane of rates, running averages, and a ball under noise."""

from __future__ import annotations

from typing import Any

import torch

from course.experiments import day33 as experiments
from course.explorers.explorer import Explorer, choice, slider

METHODS = [("heavy ball", False), ("Nesterov", True)]
CONDITION_NUMBERS = [1, 5, 25, 100, 400]
STARRED = 25  # the best pair is shown up to this condition number
ROUNDING = 1e-12  # a rate so close to 1 is 1


def valley_explorer() -> Explorer:
    """Day 33: a path of a hundred steps over a bowl whose steep direction has eigenvalue 1."""
    start = torch.tensor([-9.0, 2.0], dtype=torch.float64)

    def compute(lr: float, beta: float, condition: int, nesterov: bool) -> dict[str, Any]:
        eigenvalues = torch.tensor([1 / condition, 1.0], dtype=torch.float64)
        path = experiments.descend(eigenvalues, start, lr, beta, experiments.STEPS, nesterov)
        best, _ = experiments.best_gradient_descent(1 / condition, 1)
        reference = experiments.descend(eigenvalues, start, best, 0, experiments.STEPS)
        return {
            "flat": path.w[:, 0],
            "steep": path.w[:, 1],
            "loss": path.loss,
            "reference": reference.loss,
            "needed": path.steps_needed,
            "reached": condition > 99 and path.steps_needed is not None,
        }

    return Explorer(
        "day33_valley",
        title="A ball in a valley",
        look_for=(
            "Each dot is a step; with beta = 0 the path is gradient descent. Change one slider at a time and "
            "watch the steep and the flat direction separately."
        ),
        goal="with a condition number of 100 or more, bring the loss under 1e-6 within 100 steps.",
        controls={
            "lr": slider("lr", 1.0, 0.05, 4, 0.05),
            "beta": slider("beta", 0.3, 0, 0.99, 0.01),
            "condition": choice("condition", 25, CONDITION_NUMBERS),
            "nesterov": choice("method", False, METHODS, "buttons"),
        },
        compute=compute,
        data={"start": start, "steps": experiments.STEPS, "tolerance": experiments.TOLERANCE},
    )


def rate_plane_explorer() -> Explorer:
    """Day 33: the rate for every (lr, beta), and the roots behind it at one of them."""
    lrs = 4 * (torch.arange(240, dtype=torch.float64) + 0.5) / 240
    betas = (torch.arange(150, dtype=torch.float64) + 0.5) / 150

    def compute(lr: float, beta: float, condition: int, nesterov: bool) -> dict[str, Any]:
        ends = torch.tensor([1 / condition, 1.0], dtype=torch.float64)
        flat, steep = torch.view_as_real(experiments.roots(ends, lr, beta, nesterov))
        rate = experiments.rate(ends, lr, beta, nesterov)
        best = list(experiments.best_heavy_ball(1 / condition, 1)[:2])
        return {
            "plane": experiments.rate_plane(1 / condition, lrs, betas, nesterov),
            "flat": flat,
            "steep": steep,
            "rate": rate,
            "steps": None if rate > 1 - ROUNDING else experiments.steps_per_digit(rate),
            "best": None if nesterov or condition > STARRED else best,
            "reached": condition > 99 and rate < 0.83,
        }

    return Explorer(
        "day33_rate_plane",
        title="The rate for every lr and beta",
        look_for=(
            "Bright is fast. Steer the red cursor and watch the factors per step: the one farthest from 0 "
            "sets the rate (dashed circle). Up to condition number 25 a star marks the best heavy ball."
        ),
        goal="with a condition number of 100 or more, find a rate below 0.83.",
        controls={
            "lr": slider("lr", 1.9, 0.02, 4, 0.02),
            "beta": slider("beta", 0.3, 0, 0.99, 0.01),
            "condition": choice("condition", 25, CONDITION_NUMBERS),
            "nesterov": choice("method", False, METHODS, "buttons"),
        },
        compute=compute,
        data={"lrs": lrs, "betas": betas},
    )


def averages_explorer() -> Explorer:
    """Day 33: the exponential moving average of noisy values, with and without bias correction."""
    level = experiments.noisy_level(beta=0, noise=1, jump=0)

    def compute(beta: float, noise: float, jump: float) -> dict[str, Any]:
        state = experiments.noisy_level(beta, noise, jump)
        away = (state.corrected - state.truth)[-20:].abs().max().item()
        return {
            "values": state.values,
            "truth": state.truth,
            "plain": state.plain,
            "corrected": state.corrected,
            "weights": beta ** torch.arange(51, dtype=torch.float64),
            "sum": 1 / (1 - beta),
            "early": 1 - beta**5,
            "reached": noise > 0.99 and away < 0.2,
        }

    return Explorer(
        "day33_averages",
        title="A running average, its start and its memory",
        look_for=(
            "Compare the two averages in the first steps, and again at step 50, where the values jump."
        ),
        goal="with noise 1, bring the corrected average within 0.2 of the truth at all of the last 20 steps.",
        controls={
            "beta": slider("beta", 0.9, 0, 0.99, 0.01),
            "noise": slider("noise", 0.5, 0, 1, 0.05),
            "jump": slider("jump", 1, -1, 2, 0.1),
        },
        compute=compute,
        data={"draws": level.values - level.truth},
    )


def noise_explorer() -> Explorer:
    """Day 33: one weight on a bowl whose gradients are noisy."""

    def compute(length: float, beta: float, batch_size: int) -> dict[str, Any]:
        state = experiments.noisy_ball(length, beta, batch_size)
        return {
            "lr": length * (1 - beta),
            "plain": state.plain,
            "ball": state.ball,
            "plain_spread": state.plain_spread,
            "spread": state.spread,
            "reached": length > 1.49 and batch_size <= 4 and state.spread < 0.45,
        }

    return Explorer(
        "day33_noise",
        title="A ball under noise",
        look_for=(
            "Curvature 1, start at 3, noise of spread 1 for each image. Both paths have the same "
            "lr / (1 − beta) and the same noise. Compare them at a small and at a large value."
        ),
        goal="with lr / (1 − beta) = 1.5 and batches of 4, bring the spread of w below 0.45.",
        controls={
            "length": choice("lr / (1 − beta)", 0.5, [0.05, 0.2, 0.5, 1.0, 1.5, 1.9]),
            "beta": slider("beta", 0.5, 0, 0.99, 0.01),
            "batch_size": choice("batch size", 16, [1, 4, 16, 64, 256]),
        },
        compute=compute,
        data={
            "draws": experiments.noisy_ball(1, 0, batch_size=1).noise,
            "start": experiments.BALL_START,
        },
    )
