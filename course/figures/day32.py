"""Day 32: one entry in many batches, one batch on many devices, two claims by rate and by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from course.experiments.day32 import BATCH_SIZES, Arm, Company, Devices, Placed
from course.figures.shared import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    STYLE,
    VERMILLION,
    Picture,
    decimals,
    dots,
    new_figure,
)


class CompanyDrawing:
    """Left, what one entry becomes in many batches; right, how far apart, against the batch size."""

    def __init__(self, draws: int) -> None:
        self.heights = 1 + np.random.default_rng(0).uniform(-0.32, 0.32, draws)
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(330)
            left, right = self.figure.subplots(1, 2, width_ratios=(3, 2))
            self.figure.subplots_adjust(left=0.1, right=0.985, top=0.82, bottom=0.15, wspace=0.22)
            self.title = self.figure.text(0.012, 0.93, "", fontsize=11, fontweight="bold")

            left.set(xlim=(-4.2, 4.2), ylim=(-0.6, 1.6), xlabel="normalized entry of this sample")
            left.set_yticks([1, 0], ["batch\nnorm", "group\nnorm"])
            left.tick_params(axis="y", length=0)
            left.set_title(f"in {draws} batches with other company")
            left.axhline(0.5, color="#DDDDDD", linewidth=1)
            self.population = left.axvline(0, color=VERMILLION, linewidth=1.6, linestyle="--")
            self.population_text = left.text(
                0, -0.54, "", color=VERMILLION, fontsize=9, va="bottom", ha="left"
            )
            self.outputs = left.scatter([], [], s=14, color=BLUE, alpha=0.45, linewidths=0)
            self.group = left.scatter([], [], s=70, marker="D", color=PURPLE, zorder=3)

            right.set_xscale("log", base=2)
            right.set_xticks(BATCH_SIZES, [str(size) for size in BATCH_SIZES])
            right.xaxis.set_minor_locator(NullLocator())
            right.set(ylim=(-0.06, 1.5), xlabel="batch size N", ylabel="standard deviation")
            right.set_title("spread of the dots")
            (self.curve,) = right.plot(
                BATCH_SIZES, [0] * len(BATCH_SIZES), color=BLUE, marker="o", markersize=4
            )
            right.plot(BATCH_SIZES, [0] * len(BATCH_SIZES), color=PURPLE, marker="D", markersize=4)
            right.text(BATCH_SIZES[0], 0.05, "group norm: 0", color=PURPLE, ha="left", fontsize=9)
            (self.cursor,) = right.plot([], [], marker="o", markersize=13, color=BLACK, fillstyle="none")
            self.cursor_text = right.text(0, 0, "", ha="left", va="bottom")

    def update(self, state: Company) -> None:
        outputs = state.outputs.numpy()
        low, high = decimals(outputs.min()), decimals(outputs.max())
        self.title.set_text(
            f"In batches of {state.batch_size}, the same entry becomes anything from {low} to {high}"
        )
        self.outputs.set_offsets(np.column_stack([outputs, self.heights]))
        self.group.set_offsets([[state.group, 0]])
        self.population.set_xdata([state.population] * 2)
        self.population_text.set_position((state.population + 0.1, -0.54))
        self.population_text.set_text(f"with the statistics of all: {decimals(state.population)}")
        self.curve.set_ydata(state.spreads.numpy())
        self.cursor.set_data([state.batch_size], [state.spread])
        self.cursor_text.set_position((state.batch_size * 1.15, state.spread + 0.07))
        right_side = state.batch_size > 64
        self.cursor_text.set_ha("right" if right_side else "left")
        self.cursor_text.set_text(decimals(state.spread))


class DevicesDrawing:
    """A row per device, then the true statistics and the plain averages; right, the variances as bars."""

    MOST = 4

    def __init__(self) -> None:
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(360)
            left, right = self.figure.subplots(1, 2, width_ratios=(3, 1.25))
            self.figure.subplots_adjust(left=0.12, right=0.985, top=0.84, bottom=0.14, wspace=0.16)
            self.title = self.figure.text(0.012, 0.935, "", fontsize=11, fontweight="bold")

            names = [f"device {k}" for k in range(self.MOST)] + ["merged", "averaged"]
            left.set(xlim=(-8.5, 8.5), ylim=(len(names) - 0.4, -0.6), xlabel="value of the feature")
            left.set_yticks(range(len(names)), names)
            left.tick_params(axis="y", length=0)
            left.axhline(self.MOST - 0.5, color="#DDDDDD", linewidth=1)
            left.set_title("mean ± standard deviation", pad=4)
            self.bands = LineCollection(
                [], colors=[SKY] * self.MOST + [ORANGE, PURPLE], linewidths=15, alpha=0.6, capstyle="butt"
            )
            left.add_collection(self.bands, autolim=False)
            self.means = LineCollection([], colors=BLACK, linewidths=2)
            left.add_collection(self.means, autolim=False)
            self.dots = left.scatter([], [], s=16, color=BLUE, zorder=3, linewidths=0)

            right.set(xlim=(-0.6, 1.6), ylim=(0, 16), ylabel="variance")
            right.set_xticks([0, 1], ["merged", "averaged"])
            right.tick_params(axis="x", length=0)
            within, averaged = right.bar([0, 1], [0, 0], width=0.7, color=[ORANGE, PURPLE])
            (between,) = right.bar([0], [0], width=0.7, color=VERMILLION, hatch="//", edgecolor="white")
            self.within, self.between, self.averaged = within, between, averaged
            self.merged_text = right.text(0, 0, "", ha="center", va="bottom")
            self.averaged_text = right.text(1, 0, "", ha="center", va="bottom")
            right.set_title("solid: within, hatched: between", pad=4, fontsize=9, loc="right")

    def update(self, state: Devices) -> None:
        share = state.averaged_variance / state.variance
        self.title.set_text(f"Averaged, the variance is {share:.0%} of that of the whole batch")
        rows = [*range(len(state.shards)), self.MOST, self.MOST + 1]
        means = [*state.means.tolist(), state.mean, state.averaged_mean]
        stds = [*state.variances.sqrt().tolist(), state.variance**0.5, state.averaged_variance**0.5]
        colours = [SKY] * len(state.shards) + [ORANGE, PURPLE]
        self.bands.set_segments(
            [[(mean - std, row), (mean + std, row)] for row, mean, std in zip(rows, means, stds, strict=True)]
        )
        self.bands.set_colors(colours)
        self.means.set_segments(
            [[(mean, row - 0.3), (mean, row + 0.3)] for row, mean in zip(rows, means, strict=True)]
        )
        points = [(value, row) for row, shard in enumerate(state.shards) for value in shard.tolist()]
        self.dots.set_offsets(points)
        self.within.set_height(state.within)
        self.between.set_y(state.within)
        self.between.set_height(state.between)
        self.averaged.set_height(state.averaged_variance)
        self.merged_text.set_y(state.variance + 0.2)
        self.merged_text.set_text(decimals(state.variance))
        self.averaged_text.set_y(state.averaged_variance + 0.2)
        self.averaged_text.set_text(decimals(state.averaged_variance))


Arms = Mapping[tuple[str, str, int], Arm]


def draw_small_batches(arms: Arms) -> Picture:
    """The weaker experiment: test error by the images that share statistics, a dot a seed."""
    panels = {
        "linear layers": {
            "n = 2": ("dense", "batch", 2),
            "n = 4": ("dense", "batch", 4),
            "n = 64": ("dense", "batch", 64),
            "group norm": ("dense", "group", 64),
        },
        "convolutions": {
            "n = 2": ("conv", "batch", 2),
            "n = 64": ("conv", "batch", 64),
            "group norm": ("conv", "group", 64),
        },
    }
    with matplotlib.rc_context(STYLE):
        figure = new_figure(310)
        axes = figure.subplots(1, 2, sharey=True, width_ratios=(4, 3))
        figure.subplots_adjust(left=0.075, right=0.985, top=0.79, bottom=0.11, wspace=0.06)
        _headline(figure, "Test error by the images n that share statistics, a dot a seed")
        for ax, (title, names) in zip(axes, panels.items(), strict=True):
            ax.set_title(title)
            dots(
                ax,
                {name: arms[key].at_best() for name, key in names.items()},
                {"group norm": PURPLE},
            )
        _error_axis(axes[0])
    return Picture(figure, "test error of linear layers and of convolutions, for n = 2, 64 and group norm.")


def draw_three_errors(arms: Arms) -> Picture:
    """Three errors of one network, for n = 2 and 64: which of two explanations holds."""
    names = {
        "train mode,\ntrain images": "company_train",
        "train mode,\ntest images": "company_test",
        "eval mode,\ntest images": "test",
        "eval mode,\nrenewed": "renewed",
    }
    with matplotlib.rc_context(STYLE):
        figure = new_figure(310)
        axes = figure.subplots(1, 2, sharey=True)
        figure.subplots_adjust(left=0.075, right=0.985, top=0.79, bottom=0.16, wspace=0.06)
        _headline(figure, "One network, four ways to ask it: linear layers")
        for ax, size in zip(axes, (2, 64), strict=True):
            arm = arms["dense", "batch", size]
            ax.set_title(f"trained with n = {size}")
            dots(ax, {name: arm.at_best(what) for name, what in names.items()})
            ax.tick_params(axis="x", labelsize=8.5)
        axes[0].set(ylim=(-2, 72), ylabel="error (%)")
    return Picture(figure, "errors in training mode, on training and test images, and in evaluation mode.")


def draw_mechanism(arms: Arms) -> Picture:
    """One change at a time at n = 2: which values a mean is made of, and what corrects it."""
    panels = {
        "convolutions: a mean over": {
            "n = 2,\nthe map": ("conv", "batch", 2),
            "n = 2,\neach place": ("conv", "place", 2),
            "n = 64,\nthe map": ("conv", "batch", 64),
            "n = 64,\neach place": ("conv", "place", 64),
        },
        "linear layers": {
            "n = 2": ("dense", "batch", 2),
            "n = 2,\nrenormalized": ("dense", "renorm", 2),
            "n = 64": ("dense", "batch", 64),
        },
    }
    with matplotlib.rc_context(STYLE):
        figure = new_figure(310)
        axes = figure.subplots(1, 2, sharey=True, width_ratios=(4, 3))
        figure.subplots_adjust(left=0.075, right=0.985, top=0.79, bottom=0.15, wspace=0.06)
        _headline(figure, "One thing changed at a time, a dot a seed")
        for ax, (title, names) in zip(axes, panels.items(), strict=True):
            ax.set_title(title)
            dots(ax, {name: arms[key].at_best() for name, key in names.items()})
        _error_axis(axes[0])
    return Picture(figure, "test error over a map or a place, and with batch renormalization.")


def draw_placed_norms(arms: Mapping[str, Placed], names: Sequence[str], headline: str) -> Picture:
    """Test error against the rate, a dot a seed, a line through the medians."""
    colours = (VERMILLION, ORANGE, BLUE, SKY)
    with matplotlib.rc_context(STYLE):
        figure = new_figure(320)
        ax = figure.subplots()
        figure.subplots_adjust(left=0.075, right=0.76, top=0.87, bottom=0.15)
        _headline(figure, headline)
        for k, (name, colour) in enumerate(zip(names, colours, strict=False)):
            arm = arms[name]
            aside = 1.06 ** (k - (len(names) - 1) / 2)
            places = np.array(arm.rates) * aside
            ax.plot(
                np.repeat(places, arm.error.shape[1]),
                arm.error.flatten().numpy(),
                "o",
                color=colour,
                markersize=4.5,
                alpha=0.8,
            )
            ax.plot(places, arm.error.median(1).values.numpy(), color=colour, label=name)
        ax.set_xscale("log")
        rates = sorted({rate for name in names for rate in arms[name].rates})
        ax.set_xticks(rates, [str(rate) for rate in rates])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set(ylim=(0, 96), xlabel="rate of Adam", ylabel="test error (%)")
        ax.axhline(90, color=GREY, linewidth=1, linestyle=":")
        ax.text(1.01, 90, "guessing", transform=ax.get_yaxis_transform(), color="#555555", va="center")
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 0.85))
    return Picture(figure, f"test error against the rate, of {', '.join(names)}.")


def _headline(figure: Figure, text: str) -> None:
    figure.text(0.012, 0.93, text, fontsize=11, fontweight="bold")


def _error_axis(ax: Axes) -> None:
    ax.set_yscale("log")
    ax.set(ylim=(0.9, 60), ylabel="test error (%)")
    ax.set_yticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    ax.yaxis.set_minor_locator(NullLocator())
