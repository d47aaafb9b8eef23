"""Day 34: what digits say of momentum and of each way to normalize."""

from __future__ import annotations

import matplotlib
import numpy
from torch import Tensor

from course.experiments.day34 import (
    MAP_STEPS,
    ORDERS,
    WHEN_STEPS,
    When,
)
from course.figures.shared import (
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

COLOURS = {"plain": GREY, "normalization": BLUE, "momentum": VERMILLION, "both": GREEN}
LABELS = {
    "plain": "neither",
    "normalization": "normalization alone",
    "momentum": "momentum alone",
    "both": "both",
}


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
    """The loss of a normalized run without momentum over that with it, by batch size, early and late.

    Late with every control: statistics and gradients of other batches, a falling lr, and a ramp.
    """
    ramp = {falls: {"normalization": run.ramped[falls]} for falls in (False, True)}
    controls = {
        "1024,\nin 64s": (run.grouped, PURPLE),
        "64,\nstat. of\n1024": (run.company, PURPLE),
        "1024,\nlr falls": (run.falling, GREEN),
        "1024,\nramp": (run.loss[1024] | ramp[False], ORANGE),
        "ramp,\nlr falls": (run.falling | ramp[True], ORANGE),
    }
    with matplotlib.rc_context(STYLE):
        figure = new_figure(330)
        for step, left, width in ((15, 0.08, 0.255), (WHEN_STEPS, 0.38, 0.61)):
            ax = figure.add_axes((left, 0.22, width, 0.68))
            arms = {str(size): run.gain(run.loss[size], step).tolist() for size in run.loss}
            colours = {}
            if step == WHEN_STEPS:
                arms |= {name: run.gain(loss).tolist() for name, (loss, _) in controls.items()}
                colours = {name: colour for name, (_, colour) in controls.items()}
                ax.axvline(3.5, color="#CCCCCC", linewidth=1, zorder=0)
            dots(ax, arms, colours)
            ax.axhline(1, color="#999999", linewidth=1, zorder=0)
            ax.set_yscale("log")
            ax.set(ylim=(0.1, 100), xlabel="batch size")
            ax.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"] if step < WHEN_STEPS else [""] * 4)
            ax.tick_params(axis="x", labelsize=8)
            ax.minorticks_off()
            ax.set_title(f"after {step} steps")
            if step < WHEN_STEPS:
                ax.set_ylabel("loss without momentum / with")
    return Picture(
        figure,
        "the loss of a batch-normalized network without momentum over the loss with it, after 15 and 50 "
        "steps at four batch sizes, and after 50 with other statistics, with a falling lr and with a ramp.",
    )


def draw_normalized(found: dict[str, dict[str, Tensor]], larger: dict[str, Tensor] | None = None) -> Picture:
    """The losses at the end of normalized steps, by setting and by order.

    larger: the last order's losses where its list of rates goes further, as in `Orders`.
    """
    short = dict(zip(ORDERS, ("none", "average,\nnormalize", "normalize,\naverage"), strict=True))
    colours = dict(zip(short.values(), (GREY, VERMILLION, SKY), strict=True)) | {"to lr\n12.8": BLUE}
    with matplotlib.rc_context(STYLE):
        figure = new_figure(320)
        for place, (setting, loss) in enumerate(found.items()):
            ax = figure.add_axes((0.085 + 0.31 * place, 0.15, 0.275, 0.73))
            arms = {short[order]: values.tolist() for order, values in loss.items()}
            if larger is not None:
                arms["to lr\n12.8"] = larger[setting].tolist()
                ax.tick_params(axis="x", labelsize=7)
            dots(ax, arms, colours)
            ax.set_yscale("log")
            ax.set(ylim=(0.004, 1.2))
            ax.set_yticks([0.01, 0.1, 1], ["0.01", "0.1", "1"] if not place else ["", "", ""])
            ax.minorticks_off()
            ax.set_title(setting)
            if not place:
                ax.set_ylabel("training loss at the end")
    return Picture(
        figure,
        "the training loss after normalized steps without momentum, averaged before and averaged after "
        "the normalization, for two batch sizes and two lengths of training"
        + ("." if larger is None else "; and averaged after with rates up to 12.8."),
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
