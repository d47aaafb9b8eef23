"""Day 29: a block whose cells are chosen with the mouse, and two photographs that swap statistics."""

from __future__ import annotations

import itertools
from pathlib import Path

import anywidget
import ipywidgets as widgets
import torch
import traitlets

from course.experiments import day29 as experiments
from course.explorers.shared import Explorer, Goal, choice_slider, float_slider
from course.figures import day29 as figures

SHAPE = (4, 6, 2, 3)  # no two products of its sizes that matter here are alike


class CellPicker(anywidget.AnyWidget):
    """Four number fields for a cell, and the same by pointing at it in the explorer's picture.

    value: (n, c, h, w). outlines: for each cell in order its polygon, in CSS pixels from the upper left of
    the picture.
    """

    _esm = Path(__file__).parent / "day29_cell_picker.js"

    value = traitlets.Tuple().tag(sync=True)
    shape = traitlets.List().tag(sync=True)
    outlines = traitlets.List().tag(sync=True)
    description = traitlets.Unicode("cell").tag(sync=True)


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

    def compute(kind: str, num_groups: int, cell: tuple[int, ...]) -> experiments.SharedStatistics:
        return experiments.shared_statistics(x, kind, num_groups, cell)

    outlines = [
        [[x, figures.BLOCK_HEIGHT - y] for x, y in figures.cell_outline(cell).tolist()]
        for cell in itertools.product(*map(range, SHAPE))
    ]
    kind = widgets.ToggleButtons(
        options=list(experiments.KINDS),
        value="group",
        description="norm",
        style={"description_width": "100px", "button_width": "90px"},
        layout={"width": "760px"},
    )
    return Explorer(
        title="One block, four ways to cut it",
        look_for=(
            "Four samples are four towers, six channels are their floors, a map of 2 × 3 places lies on "
            "each floor. Move the mouse over the cells: orange is what shares a mean with the cell under "
            "it. A click keeps the cell, another click lets go."
        ),
        goal=Goal(
            "find the one setting in which each mean runs over exactly 12 cells.",
            lambda state: state.set_size == 12,
        ),
        controls={
            "kind": kind,
            "num_groups": choice_slider("groups", 2, [1, 2, 3, 6]),
            "cell": CellPicker(
                value=(1, 4, 1, 1), shape=list(SHAPE), outlines=outlines, layout={"width": "560px"}
            ),
        },
        compute=compute,
        drawing=figures.BlockDrawing(SHAPE),
    )


def swap_explorer() -> Explorer:
    """Day 29: two photographs swap means and standard deviations, by colour or as a whole."""
    images = experiments.photographs()

    def compute(strength: float, what: str, axes: tuple[int, ...]) -> experiments.Swap:
        return experiments.swap_statistics(images, strength, what, axes)

    return Explorer(
        title="Two photographs swap their statistics",
        look_for=(
            "No pixel moves to another place; each colour is only scaled and shifted. Look at what still "
            "tells you the time of day."
        ),
        controls={
            "strength": float_slider("strength", 1, 0, 1, 0.05),
            "what": choice_slider(
                "swapped", "both", [("mean", "mean"), ("std", "std"), ("mean and std", "both")]
            ),
            "axes": choice_slider("mean over", (2, 3), [("H, W", (2, 3)), ("C, H, W", (1, 2, 3))]),
        },
        compute=compute,
        drawing=figures.SwapDrawing(*images.shape[-2:]),
    )
