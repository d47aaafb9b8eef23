"""Day 29: a block whose cells are chosen with the mouse, and two photographs that swap statistics."""

from __future__ import annotations

from typing import Any

import torch

from course.experiments import day29 as experiments
from course.explorers.explorer import Explorer, choice, index, slider

SHAPE = (4, 6, 2, 3)  # no two products of its sizes that matter here are alike


def example_block() -> torch.Tensor:
    """A block of `SHAPE` in float64, one decimal: samples and channels have offsets of their own."""
    generator = torch.Generator().manual_seed(29)
    num_samples, channels, *_ = SHAPE

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return (draw(*SHAPE) + draw(num_samples, 1, 1, 1) + 1.5 * draw(1, channels, 1, 1) + 2).round(decimals=1)


def norm_block_explorer() -> Explorer:
    """Day 29: pick a norm and a cell, and see every cell that shares its statistics."""
    x = example_block()

    def compute(kind: str, num_groups: int, cell: tuple[int, ...]) -> dict[str, Any]:
        shared = experiments.shared_statistics(x, kind, num_groups, tuple(cell))
        return {
            "numbers": shared.numbers.flatten(),
            "means": shared.means,
            "number": shared.number,
            "set_size": shared.set_size,
            "value": x[shared.cell].item(),
            "var": shared.var,
            "x_hat": shared.x_hat,
            "code": shared.code,
            "reached": shared.set_size == 12,
        }

    return Explorer(
        "day29_norm_block",
        title="One block, four ways to cut it",
        look_for=(
            "Four samples are four towers, six channels are their floors, and a map of 2 × 3 places lies "
            "on each floor. Orange cells share a mean with the black one. Point at a cell or tap it; a "
            "click keeps it, another lets go."
        ),
        goal="find the one setting in which each mean runs over exactly 12 cells.",
        controls={
            "kind": choice("norm", "group", experiments.KINDS, "buttons"),
            "num_groups": choice("groups", 2, [1, 2, 3, 6]),
            "cell": index("cell", (1, 4, 1, 1), SHAPE, "nchw", "or choose it in the picture"),
        },
        compute=compute,
        data={"x": x, "eps": 1e-5},
    )


def swap_explorer() -> Explorer:
    """Day 29: two photographs swap means and standard deviations, by colour or as a whole."""
    images = experiments.photographs()

    def compute(strength: float, what: str, axes: tuple[int, ...]) -> dict[str, Any]:
        swap = experiments.swap_statistics(images, strength, what, axes)
        full = experiments.swap_statistics(images, 1, what, axes)
        state = {"scale": swap.scale, "shift": swap.shift}
        for name, x in {"": swap.images, "moved_": swap.swapped, "full_": full.swapped}.items():
            state[f"{name}mean"], state[f"{name}std"] = experiments.mean_std(x)
        levels = swap.scale * torch.arange(256, dtype=torch.float64).view(1, 1, 1, 256) / 255 + swap.shift
        return state | {
            "levels": (255 * levels).round().clamp(0, 255),
            "cut": 100 * ((swap.swapped < 0) | (swap.swapped > 1)).double().mean((1, 2, 3)),
        }

    return Explorer(
        "day29_swap",
        title="Two photographs swap their statistics",
        look_for=(
            "No pixel moves to another place; each colour is only scaled and shifted. Look at what still "
            "tells you the time of day. A letter in the upper plot can be dragged along its line."
        ),
        controls={
            "strength": slider("strength", 1, 0, 1, 0.05),
            "what": choice(
                "swapped", "both", [("mean", "mean"), ("std", "std"), ("mean and std", "both")], "buttons"
            ),
            "axes": choice("mean over", (2, 3), [("H, W", (2, 3)), ("C, H, W", (1, 2, 3))], "buttons"),
        },
        compute=compute,
        data={"pixels": images},
    )
