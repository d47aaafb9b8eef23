"""Day 25: the gradient of a deep network layer by layer, and a bowl that becomes round."""

from __future__ import annotations

from typing import Any

import torch

from course.experiments import day25 as experiments
from course.explorers.explorer import Explorer, choice, slider

DEEPEST = 30
LOW, HIGH = 1e-3, 1e3  # of a norm; the exercises of the day set a ratio the same limits
FEW, MANY = 0.1, 10  # the goal


def layers_explorer() -> Explorer:
    """Day 25: depth, activation and initialization against the gradient of every layer.

    The page runs the network itself; its weights and its images are rounded to single precision, here too.
    """
    digits = experiments.digits_for(0)
    x, labels = digits.train_x[:64].float(), digits.train_y[:64]
    first, *inner, readout = [w[0].float() for w in experiments.deep_weights(DEEPEST, [1.0], [0])]

    def compute(depth: int, activation: str, gain: float) -> dict[str, Any]:
        weights = [gain * weight.double() for weight in [first, *inner][:depth]] + [readout.double()]
        state: dict[str, Any] = {}
        for name, normalized in (("plain", False), ("normalized", True)):
            report = experiments.network_report(
                [weight[None] for weight in weights], x[None].double(), labels[None], activation, normalized
            )
            state[name] = {
                "gradients": report.gradients[0],
                "arriving": report.arriving[0],
                "activations": report.activations[0],
            }
        norms = state["plain"]["gradients"]
        state["fates"] = [_fate(state[name]["gradients"][0].item()) for name in ("plain", "normalized")]
        held = norms.min().item() >= FEW and norms.max().item() <= MANY
        return state | {"reached": depth == DEEPEST and activation == "ReLU" and held}

    return Explorer(
        "day25_layers",
        title="One batch of digits, forward and back, before any training",
        look_for=(
            "Move the gain from end to end, with each activation, and compare the panels. Pulling sideways "
            "in one of them adds layers or takes them away. The grey band reaches from 0.001 to 1000."
        ),
        goal=f"{DEEPEST} layers of ReLU, plain, and yet every layer's gradient between {FEW} and {MANY}.",
        controls={
            "depth": choice("layers", 20, range(2, DEEPEST + 1)),
            "activation": choice("activation", "tanh", list(experiments.ACTIVATIONS), "buttons"),
            "gain": slider("gain", 0.5, 0.3, 3, 0.05),
        },
        compute=compute,
        data={
            "x": x,
            "labels": labels,
            "first": first,
            "inner": torch.stack(inner),
            "readout": readout,
            "eps": 1e-5,
            "band": [LOW, HIGH],
            "wanted": [FEW, MANY],
        },
    )


def _fate(norm: float) -> str:
    return "vanished" if norm < LOW else "exploded" if norm > HIGH else "in bounds"


def bowl_explorer() -> Explorer:
    """Day 25: two features of unlike scale, and the bowl of their loss while they are standardized."""

    def compute(scale: float, offset: float, correlation: float, part: float) -> dict[str, Any]:
        x = experiments.cloud(80, correlation)
        x = torch.stack([x[:, 0], scale * x[:, 1] + offset], dim=1)
        bowl = experiments.bowl(experiments.partly_standardized(x, part))
        return {
            "x": list(bowl.x.T),
            "condition_number": bowl.condition_number,
            "level": list(bowl.level.T),
            "path": list(bowl.path.T),
            "losses": bowl.losses,
            "steps_to": bowl.steps_to,
            # Neither standardizing nor a scale changes a correlation.
            "reached": abs(correlation) > 0.79 and bowl.condition_number < 10,
        }

    return Explorer(
        "day25_bowl",
        title="An elongated bowl becomes round",
        look_for=(
            "Take 'standardized' from 0 to 1 and watch all three panels. Then do it again with a "
            "correlation. The cloud can also be pulled up and down."
        ),
        goal="at correlation 0.80, a condition number below 10. How low can it go?",
        controls={
            "scale": slider("std of x2", 4, 0.2, 5, 0.1),
            "offset": slider("mean of x2", 2, 0, 6, 0.1),
            "correlation": slider("correlation", 0, -0.9, 0.9, 0.1),
            "part": slider("standardized", 0, 0, 1, 0.02),
        },
        compute=compute,
        data={"white": list(experiments.cloud(80, 0.0).T)},
    )
