"""Day 26: a batch through the five steps, one sample that is dragged, and what passes backwards."""

from __future__ import annotations

import torch

from course.experiments import day26 as experiments
from course.explorers.shared import Explorer, Goal, choice_slider, float_slider, log_slider
from course.figures import day26 as figures


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

    def compute(step: int, gamma: float, beta: float, eps: float) -> figures.StepFrame:
        batch = experiments.five_steps(x, x.new_tensor([gamma, 1]), x.new_tensor([beta, 0]), eps)
        return figures.StepFrame(step, batch)

    def undone(frame: figures.StepFrame) -> bool:
        return frame.step == 5 and (frame.batch.y - frame.batch.x)[:, 0].abs().max().item() < 0.1

    return Explorer(
        title="A batch through the five steps of the algorithm",
        look_for="Walk forward with the step slider. Which steps look at all samples at once?",
        goal=Goal(
            "with gamma[0] and beta[0], bring every y of feature 0 back to its x, within 0.1.",
            undone,
        ),
        controls={
            "step": choice_slider(
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
            "gamma": float_slider("gamma[0]", 1.5, 0, 4, 0.05),
            "beta": float_slider("beta[0]", 2, -2, 7, 0.05),
            "eps": log_slider("eps", 1e-5, -8, 1),
        },
        compute=compute,
        drawing=figures.FiveStepsDrawing(),
    )


def moved_sample_explorer() -> Explorer:
    """Day 26: drag one sample and watch the mean, the variance and every other output move."""
    generator = torch.Generator().manual_seed(26)
    x = torch.randn(32, 1, generator=generator, dtype=torch.float64)
    x[0] = 0.5

    def compute(value: float, num_samples: int) -> experiments.MovedSample:
        return experiments.move_sample(x[:num_samples], 0, value)

    return Explorer(
        title="Drag one sample and watch every other output move",
        look_for=(
            "Only x[0], the black diamond, is dragged. The mean and the variance follow it, so the "
            "outputs of all samples move."
        ),
        goal=Goal(
            "bring the output of the dragged sample to 3. If you cannot: what is in the way?",
            lambda state: abs(state.output) >= 3,
        ),
        controls={
            "value": float_slider("x[0]", 6, -10, 20, 0.1),
            "num_samples": choice_slider("batch size N", 8, [4, 8, 16, 32]),
        },
        compute=compute,
        drawing=figures.MovedSampleDrawing(),
    )


def circle_explorer() -> Explorer:
    """Day 26: three samples, their place on the circle, and the part of a gradient that passes."""

    def compute(third: float, degrees: float) -> experiments.OnCircle:
        return experiments.on_circle(torch.tensor([-1.0, 1.0, third], dtype=torch.float64), degrees)

    return Explorer(
        title="Three samples, seen along the direction in which all move together",
        look_for="Move the third sample: where does x_hat go? Turn dy: which part of it is left in dx?",
        goal=Goal(
            "turn dy until less than 0.02 of it passes. Where does it point then?",
            lambda state: state.passed < 0.02,
        ),
        controls={
            "third": float_slider("x[2]", 2, -5, 5, 0.1),
            "degrees": float_slider("direction of dy", 20, 0, 360, 1),
        },
        compute=compute,
        drawing=figures.CircleDrawing(),
    )
