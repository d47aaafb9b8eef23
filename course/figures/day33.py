"""Day 33: a path in a valley, the plane of rates, running averages, damping, and noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
import numpy
import torch
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap

from course.experiments.day33 import (
    STEPS,
    TOLERANCE,
    Path,
    RateCursor,
    Sweep,
    best_gradient_descent,
    best_heavy_ball,
    steps_per_digit,
)
from course.figures.shared import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    STYLE,
    VERMILLION,
    Picture,
    new_figure,
)

FAR = 1e3  # a path is drawn as far as this
STARRED = 26  # the best pair is shown up to this condition number


class ValleyDrawing:
    """Above the path on the lines of equal loss, below the loss at every step."""

    def __init__(self) -> None:
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(400)
            self.title = self.figure.text(0.012, 0.945, "", fontsize=11, fontweight="bold")
            top = self.figure.add_axes((0.085, 0.475, 0.9, 0.435))
            top.set(
                xlim=(-10.5, 10.5), ylim=(-2.7, 2.7), xlabel="w[0], the flat direction", ylabel="w[1], steep"
            )
            top.set_aspect("equal")
            top.set_xticks(range(-10, 11, 5))
            top.set_yticks([-2, 0, 2])
            self.levels = LineCollection([], colors="#BBBBBB", linewidths=0.9, zorder=1)
            top.add_collection(self.levels, autolim=False)
            (self.path,) = top.plot([], [], color=BLUE, linewidth=1.1, marker="o", markersize=3.4, zorder=3)
            (self.start,) = top.plot(
                [], [], color=BLACK, marker="D", markersize=7, linestyle="none", zorder=4
            )
            top.plot([0], [0], color=VERMILLION, marker="+", markersize=13, markeredgewidth=2, zorder=5)

            low = self.figure.add_axes((0.085, 0.12, 0.9, 0.24))
            low.set(xlim=(0, STEPS), ylim=(1e-10, 1e4), xlabel="step", ylabel="loss")
            low.set_yscale("log")
            low.set_yticks([1e-9, 1e-6, 1e-3, 1, 1e3])
            low.axhline(TOLERANCE, color=GREEN, linewidth=1, linestyle="--")
            low.text(1, 4e-7, "the goal, 1e-6", color=GREEN, ha="left", va="top", fontsize=9)
            (self.reference,) = low.plot(
                [], [], color=GREY, linewidth=1.2, linestyle=":", label="best gradient descent for this bowl"
            )
            (self.loss,) = low.plot([], [], color=BLUE, linewidth=1.8, label="this path")
            (self.arrival,) = low.plot([], [], color=GREEN, marker="o", markersize=8, linestyle="none")
            low.legend(loc="upper right", ncols=2, borderaxespad=0, handlelength=1.6)
            self._angle = numpy.linspace(0, 2 * math.pi, 121)
            self._shape: tuple[float, ...] = ()

    def update(self, state: Path) -> None:
        flat, steep = state.eigenvalues.tolist()
        start = state.w[0].tolist()
        if self._shape != (flat, steep):
            self._shape = (flat, steep)
            unit = numpy.stack(
                [numpy.cos(self._angle) / flat**0.5, numpy.sin(self._angle) / steep**0.5], axis=-1
            )
            first = state.loss[0].item()
            self.levels.set_segments([unit * (2 * first * part) ** 0.5 for part in (1, 0.6, 0.3, 0.1, 0.01)])
            best, _ = best_gradient_descent(flat, steep)
            steps = numpy.arange(STEPS + 1)
            curves = [
                0.5 * c * (w * (1 - best * c) ** steps) ** 2
                for c, w in zip((flat, steep), start, strict=True)
            ]
            self.reference.set_data(steps, numpy.maximum(sum(curves), 1e-40))
        w = state.w.numpy()
        gone = numpy.abs(w).max(axis=1) > FAR
        inside = int(gone.argmax()) if gone.any() else len(w)
        self.path.set_data(w[: inside + 1, 0].clip(-FAR, FAR), w[: inside + 1, 1].clip(-FAR, FAR))
        self.start.set_data([start[0]], [start[1]])
        self.loss.set_data(range(len(w)), state.loss.numpy().clip(1e-40, 1e40))
        needed = state.steps_needed
        self.arrival.set_data(*([], []) if needed is None else ([needed], [TOLERANCE]))
        self.title.set_text(self._takeaway(state))

    @staticmethod
    def _takeaway(path: Path) -> str:
        kind = "gradient descent" if path.beta == 0 else "Nesterov" if path.nesterov else "heavy ball"
        if path.steps_needed is not None:
            end = f"under 1e-6 from step {path.steps_needed} on"
        elif path.loss[-1] > path.loss[0]:
            end = "climbs out of the valley"
        else:
            end = f"after {STEPS} steps the loss is still {path.loss[-1].item():.1e}"
        return f"{kind[0].upper()}{kind[1:]}, condition number {path.condition_number:.0f}: {end}"


# Steps that shrink the distance tenfold: where one colour ends and the next begins.
DIGITS = (2, 5, 10, 20, 50, 100, 200)
_LIMITS = [10 ** (-1 / steps) for steps in DIGITS] + [1.0]


class RatePlaneDrawing:
    """Left the rate over the (lr, beta) plane with a cursor, right the roots at the cursor."""

    def __init__(self) -> None:
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(390)
            self.title = self.figure.text(0.012, 0.94, "", fontsize=11, fontweight="bold")
            left = self.figure.add_axes((0.075, 0.135, 0.45, 0.70))
            colours = [
                *matplotlib.colormaps["cividis_r"](numpy.linspace(0, 1, len(DIGITS) + 1)),
                (1, 1, 1, 1),
            ]
            self.image = left.imshow(
                numpy.zeros((2, 2)),
                origin="lower",
                extent=(0, 4, 0, 1),
                aspect="auto",
                cmap=ListedColormap(colours),
                vmin=-0.5,
                vmax=len(colours) - 0.5,
                interpolation="nearest",
            )
            left.set(xlim=(0, 4), ylim=(0, 1), xlabel="learning rate lr · largest eigenvalue", ylabel="beta")
            left.set_xticks(range(5))
            left.set_title("steps in which the distance shrinks tenfold", pad=5)
            left.text(3.93, 0.05, "white: diverges", ha="right", color=BLACK, fontsize=9)
            self.cross = [
                left.axvline(0, color=VERMILLION, linewidth=1),
                left.axhline(0, color=VERMILLION, linewidth=1),
            ]
            (self.cursor,) = left.plot(
                [], [], "o", color=VERMILLION, markersize=10, markeredgecolor="white", zorder=5
            )
            (self.best,) = left.plot(
                [],
                [],
                "*",
                color="white",
                markersize=15,
                markeredgecolor=BLACK,
                zorder=4,
                label="best heavy ball",
            )
            bar = self.figure.colorbar(self.image, cax=self.figure.add_axes((0.535, 0.135, 0.014, 0.70)))
            bar.set_ticks([i + 0.5 for i in range(len(DIGITS))], labels=[str(d) for d in DIGITS])
            bar.ax.set_ylim(-0.5, len(DIGITS) + 0.5)

            right = self.figure.add_axes((0.665, 0.135, 0.33, 0.70))
            right.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), xlabel="real part", ylabel="imaginary part")
            right.set_aspect("equal")
            right.set_xticks([-1, 0, 1])
            right.set_yticks([-1, 0, 1])
            right.set_title("factors per step at the cursor", pad=5)
            angle = numpy.linspace(0, 2 * math.pi, 181)
            right.plot(numpy.cos(angle), numpy.sin(angle), color=BLACK, linewidth=1)
            right.axhline(0, color="#CCCCCC", linewidth=0.8, zorder=0)
            right.axvline(0, color="#CCCCCC", linewidth=0.8, zorder=0)
            (self.circle,) = right.plot([], [], color=VERMILLION, linewidth=1.2, linestyle="--")
            (self.flat,) = right.plot([], [], "o", color=ORANGE, markersize=9, label="flattest")
            (self.steep,) = right.plot([], [], "s", color=BLUE, markersize=7, label="steepest direction")
            right.legend(loc="lower center", ncols=2, borderaxespad=0.1, handletextpad=0.1, columnspacing=0.8)
            self._unit = numpy.cos(angle), numpy.sin(angle)
            self._plane: torch.Tensor | None = None

    def update(self, state: RateCursor) -> None:
        if state.plane is not self._plane:
            self._plane = state.plane
            self.image.set_data(numpy.digitize(state.plane.numpy(), _LIMITS))
        for line, at in zip(self.cross, (state.lr, state.beta), strict=True):
            (line.set_xdata if line is self.cross[0] else line.set_ydata)([at, at])
        self.cursor.set_data([state.lr], [state.beta])
        lr, beta, _ = best_heavy_ball(state.smallest, 1)
        hidden = state.nesterov or state.condition_number > STARRED
        self.best.set_data(*([], []) if hidden else ([lr], [beta]))
        flat, steep = state.roots
        self.flat.set_data(flat.real, flat.imag)
        self.steep.set_data(steep.real, steep.imag)
        rate = state.rate
        self.circle.set_data(rate * self._unit[0], rate * self._unit[1])
        kind = "Nesterov" if state.nesterov else "Heavy ball"
        end = "diverges" if rate >= 1 else f"{steps_per_digit(rate):.1f} steps for each decimal digit"
        self.title.set_text(f"{kind}, condition number {state.condition_number:.0f}: rate {rate:.3f}, {end}")


def draw_damping(curvature: float, paths: Sequence[tuple[str, Path]]) -> Picture:
    """One direction of curvature `curvature` from w = 1: a curve for each (name, path)."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(280)
        figure.text(
            0.012, 0.92, f"One direction, lr · λ = {curvature:g}, three betas", fontsize=11, fontweight="bold"
        )
        axes = figure.add_axes((0.085, 0.17, 0.9, 0.68))
        axes.axhline(0, color=GREY, linewidth=0.8)
        for (name, path), colour in zip(paths, (ORANGE, BLACK, BLUE), strict=True):
            axes.plot(path.w[:, 0], color=colour, linewidth=1.8, label=name)
        axes.set(xlim=(0, len(paths[0][1].w) - 1), xlabel="step", ylabel="w")
        axes.legend(loc="upper right")
    return Picture(figure, "the weight against the step for a beta below, at and above the critical one.")


def draw_two_lengths(sweep: Sweep) -> Picture:
    """Training curves with momentum and without, a line a seed, at two values of lr / (1 − beta)."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(330)
        figure.text(0.012, 0.93, "Digits, batches of 16, a line a seed", fontsize=11, fontweight="bold")
        for place, rate in enumerate((0.1, 1.0)):
            axes = figure.add_axes((0.085 + 0.475 * place, 0.155, 0.42, 0.66))
            losses = sweep.loss[:, sweep.rates.index(rate)]
            for arm, name, colour in zip(losses, ("beta 0", "beta 0.9"), (ORANGE, BLUE), strict=True):
                for curve in arm:
                    axes.plot(sweep.steps, curve, color=colour, linewidth=1.2, alpha=0.8, label=name)
                    name = None
            axes.set_yscale("log")
            axes.set(xlim=(0, sweep.steps[-1].item()), ylim=(0.03, 8), xlabel="step")
            axes.set_title(f"lr / (1 − beta) = {rate:g}")
            axes.legend(loc="upper right", ncols=2)
            if not place:
                axes.set_ylabel("training loss")
    return Picture(figure, "losses on batches of 16, at two values of lr / (1 - beta), seed by seed.")


def draw_sweeps(digits: dict[str, Sweep]) -> Picture:
    """The loss at the end against lr / (1 − beta), a panel for each arm that was swept; dots are seeds."""
    swept = {name: sweep for name, sweep in digits.items() if len(sweep.rates) > 1}
    with matplotlib.rc_context(STYLE):
        figure = new_figure(480)
        figure.text(0.012, 0.955, "The loss at the end; a dot is a seed", fontsize=11, fontweight="bold")
        for place, (name, sweep) in enumerate(swept.items()):
            row, column = divmod(place, 3)
            axes = figure.add_axes((0.085 + 0.31 * column, 0.57 - 0.455 * row, 0.28, 0.31))
            for losses, label, colour, shift in zip(
                sweep.last, ("beta 0", "beta 0.9"), (ORANGE, BLUE), (0.97, 1.03), strict=True
            ):
                rates = numpy.array(sweep.rates)
                axes.plot(rates, losses.median(dim=-1).values, color=colour, linewidth=1.6, label=label)
                for seed in losses.T:
                    axes.plot(rates * shift, seed, ".", color=colour, markersize=4, alpha=0.7)
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set(xlim=(0.08, 18), ylim=(7e-5, 6))
            axes.set_title(name)
            if row or place + 3 >= len(swept):
                axes.set_xlabel("lr / (1 − beta)")
            if column:
                axes.set_yticklabels([])
            else:
                axes.set_ylabel("training loss")
        figure.legend(*axes.get_legend_handles_labels(), loc=(0.75, 0.24))
    return Picture(
        figure,
        "the last loss against lr / (1 - beta) with and without momentum: three batch sizes, then batches "
        "of 16 for longer and with a rate that falls to 0.",
    )
