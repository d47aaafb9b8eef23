"""Day 34: four paths on two surfaces, the rules of a step, and what digits say of each lever."""

from __future__ import annotations

import math

import matplotlib
import numpy
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from torch import Tensor

from course.experiments.day34 import (
    LONGEST,
    MAP_STEPS,
    ORDERS,
    RULES,
    RUNS,
    WHEN_STEPS,
    Panel,
    RulePaths,
    TwoByTwo,
    When,
)
from course.figures.shared import (
    BLUE,
    GREEN,
    GREY,
    PURPLE,
    SKY,
    STYLE,
    VERMILLION,
    Picture,
    dots,
    new_figure,
)

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


class RulePathsDrawing:
    """Above the surface with two paths of one rule, below their losses."""

    WIDE = 3.1  # half the width of the surface's panel, in halves of its height

    def __init__(self) -> None:
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(450)
            self.title = self.figure.text(0.012, 0.95, "", fontsize=11, fontweight="bold")
            ax = self.figure.add_axes((0.012, 0.47, 0.976, 0.455))
            ax.set(xlim=(-self.WIDE, self.WIDE), ylim=(-1, 1), xticks=[], yticks=[])
            for spine in ax.spines.values():
                spine.set(visible=True, color="#CCCCCC")
            self.levels = LineCollection([], colors="#BBBBBB", linewidths=0.9, zorder=1)
            ax.add_collection(self.levels, autolim=False)
            ax.plot([0], [0], "+", color="black", markersize=10, markeredgewidth=1.5, zorder=4)
            below = self.figure.add_axes((0.085, 0.11, 0.9, 0.32))
            below.set(xlim=(0, 60), ylim=(1e-8, 1e2), xlabel="step", ylabel="loss / first loss")
            below.set_yscale("log")
            below.minorticks_off()
            below.axhline(1e-3, color="#DDDDDD", linewidth=1, zorder=0)
            self.paths, self.losses = [], []
            for colour, marker, label in ((GREY, "o", "no momentum"), (VERMILLION, "^", "beta 0.9")):
                style = {"color": colour, "marker": marker, "markersize": 3.6, "linewidth": 1.2}
                self.paths += ax.plot([], [], zorder=3, **style)
                self.losses += below.plot([], [], label=label, **style)
            below.legend(loc="lower left", ncols=2)
        angle = numpy.linspace(0, 2 * math.pi, 91)
        self.circle = torch.from_numpy(numpy.stack([numpy.cos(angle), numpy.sin(angle)], axis=-1))

    def update(self, state: RulePaths) -> None:
        values, vectors = torch.linalg.eigh(state.hessian)
        start = state.paths[0][0]
        ellipse = self.circle * (start @ state.hessian @ start / values).sqrt() @ vectors.T
        half = ellipse.abs().amax(dim=0)
        zoom = 0.9 * min(self.WIDE / half[0].item(), 1 / half[1].item())
        self.levels.set_segments([(zoom * part * ellipse).numpy() for part in (1, 0.75, 0.5, 0.25)])
        for line, path in zip(self.paths, state.paths, strict=True):
            line.set_data(*(zoom * path).clamp(-1e3, 1e3).T.numpy())
        for line, loss in zip(self.losses, state.losses, strict=True):
            line.set_data(range(len(loss)), loss.clamp(1e-12, 1e6).numpy())
        without, momentum = (f"{min(loss[-1].item(), 1e6):.1e}" for loss in state.losses)
        self.title.set_text(
            f"{RULES[state.rule]} steps, condition {(values[1] / values[0]).item():.3g}: after 60 steps "
            f"{without} without and {momentum} with momentum"
        )


def draw_floor(steps: dict[str, Tensor]) -> Picture:
    """Steps (S,) to the target for each of the four runs, seed by seed."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(300)
        ax = figure.add_axes((0.085, 0.11, 0.9, 0.77))
        dots(ax, {LABELS[name]: found.tolist() for name, found in steps.items()}, _by_label(), never=110)
        ax.axhline(110, color="#DDDDDD", linewidth=1, zorder=0)
        ax.set(ylim=(0, 118), ylabel="steps to a loss of 0.3")
        ax.set_yticks([0, 25, 50, 75, 110], ["0", "25", "50", "75", "never"])
        ax.set_title("batches of 64; one dot a seed, the bar is their median")
    return Picture(
        figure,
        "steps to a training loss of 0.3 at batch 64 for neither, normalization, momentum and both; "
        "each at its best learning rate.",
    )


def _by_label() -> dict[str, str]:
    return {LABELS[name]: colour for name, colour in COLOURS.items()}


def draw_when(run: When) -> Picture:
    """The loss of a normalized run without momentum over that with it, by batch size, early and late."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(330)
        for place, step in enumerate((15, WHEN_STEPS)):
            ax = figure.add_axes((0.085 + 0.475 * place, 0.2, 0.425, 0.7))
            arms = {str(size): run.gain(run.loss[size], step).tolist() for size in run.loss}
            arms["1024,\nin 64s"] = run.gain(run.grouped, step).tolist()
            if place:
                arms["1024,\nlr falls"] = run.gain(run.falling, step).tolist()
            dots(ax, arms, {"1024,\nin 64s": PURPLE, "1024,\nlr falls": GREEN})
            ax.axhline(1, color="#999999", linewidth=1, zorder=0)
            ax.set_yscale("log")
            ax.set(ylim=(0.1, 100), xlabel="batch size")
            ax.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
            ax.minorticks_off()
            ax.set_title(f"after {step} steps")
            if not place:
                ax.set_ylabel("loss without momentum / with")
    return Picture(
        figure,
        "the loss of a batch-normalized network without momentum over the loss with it, at four batch "
        "sizes and at 1024 with statistics over groups of 64 and with a falling lr, after 15 and 50 steps.",
    )


def draw_normalized(found: dict[str, dict[str, Tensor]]) -> Picture:
    """The losses at the end of normalized steps, by setting and by order."""
    short = dict(zip(ORDERS, ("none", "average,\nnormalize", "normalize,\naverage"), strict=True))
    colours = dict(zip(short.values(), (GREY, VERMILLION, SKY), strict=True))
    with matplotlib.rc_context(STYLE):
        figure = new_figure(320)
        for place, (setting, loss) in enumerate(found.items()):
            ax = figure.add_axes((0.085 + 0.31 * place, 0.15, 0.275, 0.73))
            dots(ax, {short[order]: values.tolist() for order, values in loss.items()}, colours)
            ax.set_yscale("log")
            ax.set(ylim=(0.008, 1.2))
            ax.set_yticks([0.01, 0.1, 1], ["0.01", "0.1", "1"] if not place else ["", "", ""])
            ax.minorticks_off()
            ax.set_title(setting)
            if not place:
                ax.set_ylabel("training loss at the end")
    return Picture(
        figure,
        "the training loss after normalized steps without momentum, averaged before and averaged after "
        "the normalization, for two batch sizes and two lengths of training.",
    )


def draw_map(found: dict[int, dict[str, tuple[Tensor, Tensor]]]) -> Picture:
    """Each lever without and with momentum, at each batch size, seed by seed."""
    names = {
        "nothing": "nothing",
        "batch": "batch\nnorm",
        "layer": "layer\nnorm",
        "weights": "weight\nstand.",
        "normalized": "norm.\nsteps",
        "sign": "sign",
    }
    with matplotlib.rc_context(STYLE):
        figure = new_figure(560)
        for place, (size, losses) in enumerate(found.items()):
            ax = figure.add_axes((0.085, 0.575 - 0.485 * place, 0.9, 0.365))
            for position, pair in enumerate(losses.values()):
                for side, (loss, colour, marker, label) in enumerate(
                    zip(pair, (GREY, VERMILLION), "o^", ("no momentum", "beta 0.9"), strict=True)
                ):
                    x = position - 0.18 + 0.36 * side
                    spread = x + numpy.linspace(-0.09, 0.09, len(loss))
                    label = label if not position else None
                    ax.plot(spread, loss, marker, color=colour, markersize=4.5, label=label)
                    ax.plot([x - 0.13, x + 0.13], [loss.median()] * 2, color=colour, linewidth=1.5)
            for line in (0.5, 3.5):
                ax.axvline(line, color="#CCCCCC", linewidth=1, zorder=0)
            ax.set_xticks(range(len(losses)), [names.get(name, name) for name in losses])
            ax.set_yscale("log")
            ax.set(xlim=(-0.6, len(losses) - 0.4), ylim=(0.004, 2), ylabel=f"loss after {MAP_STEPS} steps")
            ax.set_yticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
            ax.set_title(f"batches of {size}")
            ax.minorticks_off()
            if not place:
                ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0)
    return Picture(
        figure,
        "the training loss after 50 steps with nothing normalized, with activations, weights or steps "
        "normalized, each without and with momentum, at batches of 16 and of 256.",
    )
