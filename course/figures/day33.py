"""Day 33: damping, and training with momentum and without, under noise."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy

from course.experiments.day33 import Path, Sweep
from course.figures.shared import BLACK, BLUE, GREY, ORANGE, STYLE, Picture, new_figure


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
