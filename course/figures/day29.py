"""Day 29: what a norm forgets, digits in another light, light as the label."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.patches import Rectangle
from torch import Tensor

from course.experiments.day29 import (
    BRIGHTNESSES,
    CONTRASTS,
    LIGHT,
    Forgotten,
    Light,
    Net,
)
from course.figures.shared import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    STYLE,
    VERMILLION,
    Picture,
    dots,
    new_figure,
)

#: One colour a norm and one line a border, in all figures on light.
COLOURS = {
    "none": BLACK,
    "batch": BLUE,
    "layer": VERMILLION,
    "group": PURPLE,
    "instance": GREEN,
    "mean": ORANGE,
    "std": SKY,
}
LINES = {"": "-", "zeros": "--", "replicate": ":"}

NAMES = {"batch": "Batch norm", "layer": "Layer norm", "instance": "Instance norm", "group": "Group norm"}


def draw_forgotten(result: Forgotten) -> Picture:
    """Which changes of the input leave the output of which norm as it was."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(270)
        ax = figure.add_axes((0.37, 0.02, 0.62, 0.76))
        figure.text(
            0.012,
            0.92,
            "Six changes of a block, and what each norm still sees",
            fontsize=11,
            fontweight="bold",
        )
        rows, columns = result.moves.shape
        ax.set(xlim=(0, columns), ylim=(rows, 0))
        ax.set_xticks(np.arange(columns) + 0.5, [NAMES[kind] for kind in result.kinds])
        ax.set_yticks(np.arange(rows) + 0.5, result.changes, fontsize=10)
        ax.xaxis.tick_top()
        ax.tick_params(length=0, labelsize=10)
        ax.spines[:].set_visible(False)
        for row, column in itertools.product(range(rows), range(columns)):
            gone = bool(result.moves[row, column] < 1e-10)
            ax.add_patch(
                Rectangle((column + 0.02, row + 0.04), 0.96, 0.92, facecolor=ORANGE if gone else "#F4F4F4")
            )
            text = "forgotten" if gone else "seen"
            ax.text(
                column + 0.5, row + 0.5, text, ha="center", va="center", color=BLACK if gone else "#555555"
            )
    return Picture(
        figure,
        "a table of six changes and four norms: instance norm forgets all six, layer and group norm those "
        "of a whole sample, batch norm those of a whole channel.",
    )


def draw_light(
    arms: Mapping[str, Light], names: Sequence[str], headline: str, contrast: bool = True
) -> Picture:
    """Test accuracy against contrast, or against brightness; a dot a seed, lines through the medians."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(320)
        ax = figure.subplots()
        figure.subplots_adjust(left=0.075, right=0.72, top=0.87, bottom=0.15)
        figure.text(0.012, 0.93, headline, fontsize=11, fontweight="bold")
        for k, name in enumerate(names):
            colour, line = COLOURS[LIGHT[name].norm], LINES[LIGHT[name].padding]
            accuracy = arms[name].contrast if contrast else arms[name].brightness
            places = np.arange(accuracy.shape[1]) + 0.1 * (k - (len(names) - 1) / 2)
            ax.plot(
                np.tile(places, len(accuracy)),
                accuracy.flatten().numpy(),
                "o",
                color=colour,
                markersize=4,
                alpha=0.75,
            )
            ax.plot(places, accuracy.median(0).values.numpy(), line, color=colour, label=name)
        light = CONTRASTS if contrast else BRIGHTNESSES
        ax.set_xticks(range(len(light)), [f"{value:g}" for value in light])
        ax.set_xlabel("contrast a: a · x" if contrast else "brightness b: x + b (1 = from black to white)")
        ax.set(ylim=(0 if contrast else 70, 103 if contrast else 101), ylabel="test accuracy (%)")
        if contrast:
            ax.axhline(10, color=GREY, linewidth=1, linestyle=":")
            ax.text(-0.25, 11.5, "guessing", color="#555555", fontsize=9)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 0.85))
    what = "contrast" if contrast else "brightness"
    return Picture(figure, f"test accuracy against {what}, of {', '.join(names)}.")


def draw_each(arms: Mapping[str, Light]) -> Picture:
    """Every image with a contrast of its own, all nets padded: accuracy, a dot a seed."""
    columns = {
        "no norm": arms["none, padded"].each,
        "batch,\nstored": arms["batch, padded"].each,
        "batch, of the\ntest images": arms["batch, padded"].renewed_each,
        "layer": arms["layer, padded"].each,
        "instance": arms["instance, padded"].each,
        "group": arms["group, padded"].each,
        "standardized,\nbatch": arms["standardized, batch"].each,
        "standardized,\nno norm": arms["standardized, none"].each,
    }
    with matplotlib.rc_context(STYLE):
        figure = new_figure(300)
        ax = figure.subplots()
        figure.subplots_adjust(left=0.075, right=0.985, top=0.87, bottom=0.16)
        figure.text(
            0.012, 0.93, "A contrast for each image, with padding and bias", fontsize=11, fontweight="bold"
        )
        dots(ax, columns)
        ax.tick_params(axis="x", labelsize=8.5)
        ax.set(ylim=(50, 101), ylabel="test accuracy (%)")
    return Picture(figure, "test accuracy where every image has a contrast of its own, by norm.")


def draw_price(arms: Mapping[tuple[str, Net], Tensor], what: str, paddings: Sequence[str]) -> Picture:
    """Accuracy where the light is the label, a panel for each padding, a dot a seed."""
    titles = {"": "no padding, no bias", "zeros": "zeros around, and bias", "replicate": "border replicated"}
    with matplotlib.rc_context(STYLE):
        figure = new_figure(280)
        counts = [sum(net.padding == padding and w == what for w, net in arms) for padding in paddings]
        panels = figure.subplots(
            1, len(paddings), sharey=True, squeeze=False, width_ratios=[max(c, 2) for c in counts]
        )[0]
        figure.subplots_adjust(left=0.075, right=0.985, top=0.78, bottom=0.1, wspace=0.06)
        figure.text(0.012, 0.92, f"The {what} is the label", fontsize=11, fontweight="bold")
        for ax, padding in zip(panels, paddings, strict=True):
            ax.set_title(titles[padding])
            columns = {
                {"none": "no norm"}.get(net.norm, net.norm): values
                for (light, net), values in arms.items()
                if light == what and net.padding == padding
            }
            dots(ax, columns)
            ax.axhline(50, color=GREY, linewidth=1, linestyle=":")
        panels[0].set(ylim=(35, 104), ylabel="test accuracy (%)")
        panels[0].text(-0.55, 57, "guessing", color="#555555", fontsize=9)
    return Picture(figure, f"test accuracy where the {what} is the label, by norm and padding.")
