"""Day 26: a batch through the five steps, one sample that is dragged, and what passes backwards."""

from __future__ import annotations

from typing import Any

import torch

from course.experiments import day26 as experiments
from course.explorers.explorer import Explorer, choice, log_slider, slider

EPS = 1e-5


def five_steps_explorer() -> Explorer:
    """Day 26: a batch of eight samples with two features through the five steps."""
    x = torch.tensor(
        [
            [3.0, -3.4],
            [4.1, -2.7],
            [4.8, -3.1],
            [5.6, -2.2],
            [6.2, -3.0],
            [7.1, -3.7],
            [8.0, -2.6],
            [9.6, -3.2],
        ],
        dtype=torch.float64,
    )

    def compute(step: int, gamma: float, beta: float, eps: float) -> dict[str, Any]:
        batch = experiments.five_steps(x, x.new_tensor([gamma, 1]), x.new_tensor([beta, 0]), eps)
        undone = (batch.y - batch.x)[:, 0].abs().max().item() < 0.1
        return {
            "x": batch.x.T,
            "mean": batch.mean,
            "centred": batch.centred.T,
            "var": batch.var,
            "std": batch.var.sqrt(),
            "x_hat": batch.x_hat.T,
            "x_hat_std": batch.x_hat_std,
            "y": batch.y.T,
            "y_mean": batch.y_mean,
            "y_std": batch.y_std,
            "reached": step == 5 and undone,
        }

    return Explorer(
        "day26_five_steps",
        title="A batch through the five steps of the algorithm",
        look_for="Walk forward with the step slider. Which steps look at all samples at once?",
        goal="with gamma[0] and beta[0], bring every y of feature 0 back to its x, within 0.1.",
        controls={
            "step": choice(
                "step",
                0,
                [
                    ("0  input", 0),
                    ("1  mean", 1),
                    ("2  centre", 2),
                    ("3  variance", 3),
                    ("4  normalize", 4),
                    ("5  scale, shift", 5),
                ],
            ),
            "gamma": slider("gamma[0]", 1.5, 0, 4, 0.05),
            "beta": slider("beta[0]", 2, -2, 7, 0.05),
            "eps": log_slider("eps", EPS, -8, 1),
        },
        compute=compute,
        data={"x": x},
    )


def moved_sample_explorer() -> Explorer:
    """Day 26: drag one sample and watch the mean, the variance and every other output move."""
    generator = torch.Generator().manual_seed(26)
    x = torch.randn(32, 1, generator=generator, dtype=torch.float64)
    x[0] = 0.5

    def compute(value: float, num_samples: int) -> dict[str, Any]:
        moved = experiments.move_sample(x[:num_samples], 0, value, EPS)
        return {
            "x": moved.after.x,
            "mean": moved.after.mean.item(),
            "var": moved.after.var.item(),
            "std": moved.after.var.sqrt().item(),
            "before": moved.before.y,
            "y": moved.after.y,
            "output": moved.output,
            "largest_move_of_others": moved.largest_move_of_others,
            "reached": abs(moved.output) >= 3,
        }

    return Explorer(
        "day26_moved_sample",
        title="Drag one sample and watch every other output move",
        look_for=(
            "Only x[0], the diamond, is dragged, in the picture or with the slider. The mean and the "
            "variance follow it, so the outputs of all samples move."
        ),
        goal="bring the output of the dragged sample to 3. If you cannot: what is in the way?",
        controls={
            "value": slider("x[0]", 6, -10, 20, 0.1),
            "num_samples": choice("batch size N", 8, [4, 8, 16, 32]),
        },
        compute=compute,
        data={"x": x[:, 0], "eps": EPS},
    )


def circle_explorer() -> Explorer:
    """Day 26: three samples, their place on the circle, and the part of a gradient that passes."""
    pair = [-1.0, 1.0]  # the first two samples

    def compute(third: float, degrees: int) -> dict[str, Any]:
        x = torch.tensor([*pair, third], dtype=torch.float64)
        state = experiments.on_circle(x, degrees)
        scaled = state.dx * x.std(correction=0)
        return {
            "centred": state.centred,
            "x_hat": state.x_hat,
            "dy": state.dy,
            "scaled": scaled,
            "passed": state.passed,
            "columns": [x, state.x_hat @ experiments.PLANE],
            "reached": state.passed < 0.02,
        }

    return Explorer(
        "day26_circle",
        title="Three samples, seen along the direction in which all move together",
        look_for=(
            "Move the third sample: where does x_hat go? Turn dy: which part of it is left in dx? "
            "Both can be dragged in the picture."
        ),
        goal="turn dy until less than 0.02 of it passes. Where does it point then?",
        controls={
            "third": slider("x[2]", 2, -5, 5, 0.1),
            "degrees": choice("direction of dy", 20, [(f"{angle}°", angle) for angle in range(360)]),
        },
        compute=compute,
        data={"pair": pair},
    )
