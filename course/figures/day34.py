"""Day 34: four paths on two surfaces, steps against the condition number, four runs on digits."""

from __future__ import annotations

import math

import matplotlib
import numpy
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from course.experiments.day34 import LONGEST, RUNS, Curves, GridRun, Panel, TwoByTwo
from course.figures.shared import BLUE, GREEN, GREY, STYLE, VERMILLION, Picture, new_figure

COLOURS = {"plain": GREY, "normalization": BLUE, "momentum": VERMILLION, "both": GREEN}
MARKERS = {"plain": "o", "normalization": "s", "momentum": "^", "both": "D"}
LABELS = {
    "plain": "neither",
    "normalization": "normalization alone",
    "momentum": "momentum alone",
    "both": "both",
}


class TwoByTwoDrawing:
    """Left the raw surface, right the normalized one; above without momentum, below with it."""

    WIDE = 2.55  # half the width of a panel, in halves of its height

    def __init__(self) -> None:
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(400)
            self.title = self.figure.text(0.012, 0.945, "", fontsize=11, fontweight="bold")
            self.panels = {}
            for place, name in enumerate(RUNS):
                row, column = divmod(place, 2)
                ax = self.figure.add_axes((0.04 + 0.482 * column, 0.505 - 0.455 * row, 0.472, 0.36))
                self.panels[name] = _SurfacePanel(ax, name, self.WIDE)
            self.figure.text(0.012, 0.685, "no momentum", rotation=90, va="center", fontsize=10)
            self.figure.text(0.012, 0.23, "momentum", rotation=90, va="center", fontsize=10)

    def update(self, state: TwoByTwo) -> None:
        for name, panel in self.panels.items():
            panel.update(state.panels[name])
        counts = ", ".join(
            f"{LABELS[name].removesuffix(' alone')} {_count(state.panels[name].steps)}" for name in RUNS
        )
        self.title.set_text(f"Steps to a millionth of the loss: {counts}")


def _count(steps: int | None) -> str:
    return f"over {LONGEST}" if steps is None else str(steps)


class _SurfacePanel:
    """One of the four; every panel has its own zoom, the same in both directions."""

    def __init__(self, ax: Axes, name: str, wide: float) -> None:
        self.wide = wide
        self.kind = "normalized" if RUNS[name][1] else "raw"
        ax.set(xlim=(-wide, wide), ylim=(-1, 1), xticks=[], yticks=[])
        for spine in ax.spines.values():
            spine.set(visible=True, color="#CCCCCC")
        self.levels = LineCollection([], colors="#BBBBBB", linewidths=0.9, zorder=1)
        ax.add_collection(self.levels, autolim=False)
        ax.plot([0], [0], "+", color="black", markersize=10, markeredgewidth=1.5, zorder=4)
        (self.path,) = ax.plot(
            [], [], color=COLOURS[name], linewidth=1.3, marker=MARKERS[name], markersize=3.6, zorder=3
        )
        self.text = ax.set_title("", pad=4, fontsize=9.5)
        angle = numpy.linspace(0, 2 * math.pi, 91)
        self.circle = torch.from_numpy(numpy.stack([numpy.cos(angle), numpy.sin(angle)], axis=-1))

    def update(self, panel: Panel) -> None:
        values, vectors = torch.linalg.eigh(panel.hessian)
        first = 0.5 * panel.path[0] @ panel.hessian @ panel.path[0]
        ellipse = self.circle * (2 * first / values).sqrt() @ vectors.T
        half = ellipse.abs().amax(dim=0)
        zoom = 0.95 * min(self.wide / half[0].item(), 1 / half[1].item())
        self.levels.set_segments([(zoom * part * ellipse).numpy() for part in (1, 0.75, 0.5, 0.25)])
        self.path.set_data(*(zoom * panel.path).T.numpy())
        self.text.set_text(
            f"{self.kind}: condition {panel.condition:.3g}, lr {panel.lr:.2g}, beta {panel.beta:.2f}, "
            f"steps: {_count(panel.steps)}"
        )


class StepCurvesDrawing:
    """Steps against the condition number, with the four runs on the two curves."""

    def __init__(self) -> None:
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(380)
            self.title = self.figure.text(0.012, 0.94, "", fontsize=11, fontweight="bold")
            ax = self.figure.add_axes((0.085, 0.14, 0.9, 0.755))
            ax.set(
                xlim=(0.8, 1.4e4), ylim=(0.8, 3e5), xlabel="condition number", ylabel="steps to the tolerance"
            )
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.minorticks_off()
            (self.plain,) = ax.plot([], [], color=GREY, linewidth=1.8, label="gradient descent")
            (self.ball,) = ax.plot([], [], color=GREY, linewidth=1.8, linestyle="--", label="heavy ball")
            self.arrows = [ax.plot([], [], color="#BBBBBB", linewidth=1.2, zorder=1)[0] for _ in range(2)]
            self.dots = {
                name: ax.plot(
                    [], [], MARKERS[name], color=COLOURS[name], markersize=10, label=LABELS[name], zorder=4
                )[0]
                for name in RUNS
            }
            ax.legend(loc="upper left", ncols=2)

    def update(self, state: Curves) -> None:
        self.plain.set_data(state.condition, state.plain)
        self.ball.set_data(state.condition, state.momentum)
        places = {
            name: (state.after if normalized else state.before, state.steps[name])
            for name, (_, normalized) in RUNS.items()
        }
        for name, (x, y) in places.items():
            self.dots[name].set_data([x], [y])
        self.arrows[0].set_data(*zip(places["plain"], places["momentum"], places["both"], strict=True))
        self.arrows[1].set_data(*zip(places["plain"], places["normalization"], places["both"], strict=True))
        saved = {name: f"{state.steps['plain'] / steps:.3g}" for name, steps in state.steps.items()}
        self.title.set_text(
            f"κ {state.before:.3g} → {state.after:.3g}: momentum saves a factor of {saved['momentum']}, "
            f"normalization {saved['normalization']}, both {saved['both']}"
        )


def draw_digits(run: GridRun, tolerance: float) -> Picture:
    """Left the steps to `tolerance` against lr, right the loss at the best lr of each of the four."""
    last = run.steps[-1].item()
    with matplotlib.rc_context(STYLE):
        figure = new_figure(390)
        figure.text(
            0.012,
            0.935,
            "With normalization, momentum has little left to do; the other way around it is not so",
            fontsize=11,
            fontweight="bold",
        )
        left = figure.add_axes((0.085, 0.14, 0.395, 0.70))
        right = figure.add_axes((0.575, 0.14, 0.40, 0.70))
        for shift, name in zip((-0.06, -0.02, 0.02, 0.06), RUNS, strict=True):
            steps = run.steps_to(name, tolerance).clamp(max=1.15 * last)
            places = 10 ** (run.lrs.log10() + shift)
            low, middle, high = steps.amin(1), steps.median(1).values, steps.amax(1)
            style = {"color": COLOURS[name], "marker": MARKERS[name], "label": LABELS[name]}
            left.errorbar(
                places,
                middle,
                yerr=torch.stack([middle - low, high - middle]).numpy(),
                linewidth=1.3,
                markersize=5,
                capsize=2.5,
                **style,
            )
            curve = run.loss[name][run.best(name, tolerance)].clamp(max=1e3)
            right.fill_between(
                run.steps, curve.amin(0), curve.amax(0), color=COLOURS[name], alpha=0.22, linewidth=0
            )
            lr = run.lrs[run.best(name, tolerance)].item()
            right.plot(
                run.steps,
                curve.median(0).values,
                color=COLOURS[name],
                linewidth=1.8,
                label=f"{LABELS[name]}, lr {lr:g}",
            )
        left.axhline(1.15 * last, color="#DDDDDD", zorder=0)
        left.set_xscale("log")
        left.set(ylim=(0, 1.25 * last), xlabel="learning rate", ylabel=f"steps to a loss of {tolerance:g}")
        ticks = list(range(0, last + 1, 40))
        left.set_yticks([*ticks, 1.15 * last], [*map(str, ticks), "never"])
        left.set_title(f"{curve.shape[0]} seeds: median, least and greatest")
        right.axhline(tolerance, color="#DDDDDD", zorder=0)
        right.set_yscale("log")
        right.set(xlim=(0, last), ylim=(0.008, 6), xlabel="step", ylabel="training loss")
        right.set_title("each with the lr that arrives first")
        right.legend(loc="upper right", borderaxespad=0.1)
    return Picture(
        figure,
        "steps to a training loss against the learning rate for the four combinations of momentum and "
        "normalization, and their loss curves at the best learning rate of each.",
    )
