"""Day 30: the noise of batch means, the length of a decayed weight, regularizers on digits."""

from __future__ import annotations

import math

import matplotlib
import numpy
from matplotlib.axes import Axes

from course.experiments.day30 import Decay, MeanNoise, Regularized
from course.figures.shared import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    SKY,
    STYLE,
    VERMILLION,
    Picture,
    new_figure,
)


class MeanNoiseDrawing:
    """Left the distribution of the batch means, right its width against the batch size."""

    EDGES = numpy.linspace(-2.6, 2.6, 66)

    def __init__(self) -> None:
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(360)
            self.title = self.figure.text(0.012, 0.935, "", fontsize=11, fontweight="bold")
            left = self.figure.add_axes((0.03, 0.15, 0.45, 0.70))
            left.set(xlim=(-2.6, 2.6), ylim=(0, 1.25), yticks=[], xlabel="(batch mean − mean of all) / σ")
            left.spines["left"].set_visible(False)
            self.bars = left.stairs(numpy.zeros(65), self.EDGES, fill=True, color=SKY, label="measured")
            (self.bell,) = left.plot([], [], color=VERMILLION, linewidth=2, label="normal, width σ/√N")
            left.legend(loc="upper left", borderaxespad=0.1)
            right = self.figure.add_axes((0.585, 0.15, 0.40, 0.70))
            right.set_xscale("log", base=2)
            right.set_yscale("log")
            right.set(
                xlim=(1.7, 300), ylim=(0.03, 1.6), xlabel="batch size N", ylabel="spread of the mean / σ"
            )
            right.set_xticks([2, 4, 8, 16, 32, 64, 128, 256], ["2", "4", "8", "16", "32", "64", "128", "256"])
            right.set_yticks([0.05, 0.1, 0.2, 0.5, 1], ["0.05", "0.1", "0.2", "0.5", "1"])
            right.minorticks_off()
            sizes = numpy.array([2, 256])
            right.plot(sizes, sizes**-0.5, color=VERMILLION, linewidth=2, label="1/√N")
            (self.measured,) = right.plot(
                [], [], "o-", color=BLUE, markersize=5, linewidth=1, label="measured"
            )
            (self.cursor,) = right.plot(
                [], [], "o", color="none", markeredgecolor=BLACK, markersize=13, markeredgewidth=1.8
            )
            right.legend(loc="lower left", borderaxespad=0.1)
            self._x = numpy.linspace(-2.6, 2.6, 261)

    def update(self, state: MeanNoise) -> None:
        scaled = ((state.means - state.centre) / state.sigma).numpy()
        counts, _ = numpy.histogram(scaled, self.EDGES)
        # Area 1, then in units of the bell's height, so that both keep one scale.
        width = 1 / math.sqrt(state.size)
        height = counts / (len(scaled) * (self.EDGES[1] - self.EDGES[0])) * width * math.sqrt(2 * math.pi)
        self.bars.set_data(height.clip(max=1.25), self.EDGES, 0)
        self.bell.set_data(self._x, numpy.exp(-0.5 * (self._x / width) ** 2))
        self.measured.set_data(state.sizes, state.measured / state.sigma)
        self.cursor.set_data([state.size], [state.spread / state.sigma])
        self.title.set_text(
            f"N = {state.size}: the batch mean is off by {state.spread / state.sigma:.2f} σ, "
            f"which is {state.ratio:.2f} times σ/√N"
        )


class DecayDrawing:
    """Left the length of the weight, right the angle by which each step turns it."""

    def __init__(self) -> None:
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(350)
            self.title = self.figure.text(0.012, 0.935, "", fontsize=11, fontweight="bold")
            left, right = (self.figure.add_axes((at, 0.155, 0.39, 0.69)) for at in (0.075, 0.585))
            for ax, label, limits in (
                (left, "length ‖w‖", (0.05, 50)),
                (right, "angle of a step, degrees", (0.005, 100)),
            ):
                ax.set_yscale("log")
                ax.set(xlim=(0, 1500), ylim=limits, xlabel="step", ylabel=label)
                ax.set_xticks([0, 500, 1000, 1500])
            left.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
            right.set_yticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
            (self.norm,) = left.plot([], [], color=BLUE, linewidth=2)
            (self.angle,) = right.plot([], [], color=ORANGE, linewidth=2)
            self.rests = [
                ax.plot([], [], color=BLACK, linewidth=1.2, linestyle="--", label=label)[0]
                for ax, label in ((left, "(lr / 2 wd)^(1/4)"), (right, "√(2 lr · wd), in degrees"))
            ]
            for ax in (left, right):
                ax.legend(loc="upper right", borderaxespad=0.1)

    def update(self, state: Decay) -> None:
        self.norm.set_data(range(len(state.norm)), state.norm)
        self.angle.set_data(range(1, len(state.angle) + 1), state.angle)
        for line, height in zip(self.rests, (state.norm_end, state.angle_end), strict=True):
            line.set_data([0, len(state.angle)], [height, height])
        share = state.norm[-1].item() / state.norm_end
        end = "at rest" if abs(share - 1) < 0.05 else f"{share:.2g} times its resting length"
        self.title.set_text(
            f"After {len(state.angle)} steps ‖w‖ is {state.norm[-1].item():.2f}, {end}; "
            f"a step turns it by {state.angle[-1].item():.2g}°"
        )


def draw_regularizers(clean: Regularized, spoilt: Regularized, share: float) -> Picture:
    """Train and test loss of every method, on clean and on partly wrong training labels."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(400)
        figure.text(
            0.012,
            0.94,
            "Batch norm makes dropout needless where labels are right, not where some are wrong",
            fontsize=11,
            fontweight="bold",
        )
        left, right = (figure.add_axes((at, 0.135, 0.34, 0.69)) for at in (0.135, 0.575))
        _draw_losses(left, clean, "training labels all right")
        _draw_losses(right, spoilt, f"{100 * share:.0f} % of the training labels at random")
        right.set_yticklabels([])
        left.legend(loc="upper left", borderaxespad=0.1, handletextpad=0.1)
    return Picture(
        figure,
        "training and test loss of six methods over seeds, once with right labels and once with some "
        "wrong ones, with the mean test error of each.",
    )


def _draw_losses(ax: Axes, run: Regularized, title: str) -> None:
    """A row for each method: seeds as dots, the mean as a bar, the error in words."""
    for row in range(len(run.methods)):
        for losses, colour, marker, up, label in (
            (run.train_loss[row], GREY, "o", -0.17, "training loss"),
            (run.test_loss[row], BLUE, "D", 0.17, "test loss"),
        ):
            heights = numpy.full(len(losses), row + up)
            ax.plot(
                losses,
                heights,
                marker,
                color=colour,
                markersize=4.5,
                alpha=0.75,
                linestyle="none",
                label=label if row == 0 else None,
            )
            mean = losses.mean().item()
            ax.plot([mean, mean], [row + up - 0.15, row + up + 0.15], color=BLACK, linewidth=1.8)
        error = 100 * run.test_error[row].mean().item()
        ax.text(1.01, row, f"{error:.1f} %", transform=ax.get_yaxis_transform(), va="center", fontsize=9)
    ax.text(1.01, -0.62, "error", transform=ax.get_yaxis_transform(), va="center", fontsize=9, color=GREY)
    ax.set_yticks(range(len(run.methods)), [method.name for method in run.methods])
    ax.set_xscale("log")
    ax.set(ylim=(len(run.methods) - 0.5, -0.5), xlim=(0.001, 1.6))
    ax.set_xticks([0.001, 0.01, 0.1, 1], ["0.001", "0.01", "0.1", "1"])
    ax.set_xlabel("loss (bar: mean of the seeds)")
    ax.set_title(title)
