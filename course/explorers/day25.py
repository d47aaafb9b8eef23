"""Day 25: the gradient of a deep network layer by layer, and a bowl that becomes round."""

from __future__ import annotations

import torch

from course.experiments import day25 as experiments
from course.explorers.shared import Explorer, Goal, choice_slider, float_slider
from course.figures import day25 as figures


def layers_explorer() -> Explorer:
    """Day 25: depth, activation and initialization against the gradient of every layer."""

    def reached(state: experiments.WithAndWithout) -> bool:
        norms = state.plain.gradients[0]
        deepest = state.depth == 30 and state.activation == "ReLU"
        return deepest and norms.min().item() >= 0.1 and norms.max().item() <= 10

    return Explorer(
        title="One batch of digits, forward and back, before any training",
        look_for=(
            "Move the gain from end to end, with each activation, and compare the panels. The grey band "
            "reaches from 0.001 to 1000."
        ),
        goal=Goal(
            "30 layers of ReLU, plain, and yet every layer's gradient between 0.1 and 10.",
            reached,
        ),
        controls={
            "depth": choice_slider("layers", 20, [2, 5, 10, 20, 30]),
            "activation": choice_slider("activation", "tanh", list(experiments.ACTIVATIONS)),
            "gain": float_slider("gain", 0.5, 0.3, 3, 0.05),
        },
        compute=experiments.with_and_without,
        drawing=figures.LayersDrawing(),
    )


def bowl_explorer() -> Explorer:
    """Day 25: two features of unlike scale, and the bowl of their loss while they are standardized."""

    def compute(scale: float, offset: float, correlation: float, part: float) -> experiments.Bowl:
        x = experiments.cloud(80, correlation)
        x = torch.stack([x[:, 0], scale * x[:, 1] + offset], dim=1)
        return experiments.bowl(experiments.partly_standardized(x, part))

    return Explorer(
        title="An elongated bowl becomes round",
        look_for=(
            "Take 'standardized' from 0 to 1 and watch all three panels. Then do it again with a correlation."
        ),
        goal=Goal(
            "at correlation 0.80, a condition number below 10. How low can it go?",
            lambda state: abs(_correlation(state.x)) > 0.79 and state.condition_number < 10,
        ),
        controls={
            "scale": float_slider("std of x2", 4, 0.2, 5, 0.1),
            "offset": float_slider("mean of x2", 2, 0, 6, 0.1),
            "correlation": float_slider("correlation", 0, -0.9, 0.9, 0.1),
            "part": float_slider("standardized", 0, 0, 1, 0.02),
        },
        compute=compute,
        drawing=figures.BowlDrawing(),
    )


def _correlation(x: torch.Tensor) -> float:
    return torch.corrcoef(x.T)[0, 1].item()
