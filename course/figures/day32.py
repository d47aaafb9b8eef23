"""Day 32: one entry in many batches, one batch on many devices, error against batch size."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.ticker import NullLocator

from course.experiments.day32 import BATCH_SIZES, Company, Devices, ErrorBySize
from course.figures.shared import (
    BLACK,
    BLUE,
    ORANGE,
    PURPLE,
    SKY,
    STYLE,
    VERMILLION,
    Picture,
    decimals,
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


def draw_error_by_size(results: Sequence[ErrorBySize]) -> Picture:
    """Test error against the number of images that share statistics, a panel per network."""
    titles = {
        "dense": "linear layers: n values in a mean",
        "conv": "convolutions: 16 n and 4 n values in a mean",
    }
    with matplotlib.rc_context(STYLE):
        figure = new_figure(340)
        axes = figure.subplots(1, len(results), sharey=True)
        figure.subplots_adjust(left=0.075, right=0.985, top=0.79, bottom=0.15, wspace=0.06)
        figure.text(
            0.012,
            0.93,
            "Two images are far too few for linear layers, and nearly enough for convolutions",
            fontsize=11,
            fontweight="bold",
        )
        for ax, result in zip(axes, results, strict=True):
            ax.set_xscale("log", base=2)
            ax.set_yscale("log")
            ax.set_xticks(result.sizes, [str(size) for size in result.sizes])
            ax.xaxis.set_minor_locator(NullLocator())
            ax.set_title(titles[result.layers])
            ax.set_xlabel("images n that share batch statistics")
            batch, group = 100 * result.batch.numpy(), 100 * result.group.numpy()
            ax.axhspan(group.min(), group.max(), color=PURPLE, alpha=0.18, linewidth=0)
            ax.axhline(group.mean(), color=PURPLE, linestyle="--", label="group norm (needs no batch)")
            ax.fill_between(result.sizes, batch.min(0), batch.max(0), color=BLUE, alpha=0.2, linewidth=0)
            ax.plot(result.sizes, batch.mean(0), color=BLUE, marker="o", markersize=5, label="batch norm")
        axes[0].set(ylim=(0.8, 60), ylabel="test error (%)")
        axes[0].set_yticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
        axes[0].yaxis.set_minor_locator(NullLocator())
        axes[0].legend(loc="upper right")
        seeds = len(results[0].group)
        axes[1].text(
            0.98,
            0.95,
            f"{seeds} seeds: line = mean, band = min to max",
            transform=axes[1].transAxes,
            ha="right",
            va="top",
            fontsize=9,
            color="#444444",
        )
    return Picture(
        figure,
        "test error against the images that share batch statistics: a steep rise below four for linear "
        "layers, a slight one for convolutions, beside the constant error of group norm.",
    )
