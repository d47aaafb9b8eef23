"""Day 28: what limits the learning rate, the order of layers, folding, statistics of early training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
import torch
from matplotlib.axes import Axes

from course.experiments.day28 import (
    EarlyStatistics,
    Folding,
    Places,
    Speed,
    Sweep,
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


def draw_final_losses(ax: Axes, sweeps: tuple[Sweep, ...], looks: tuple[tuple[str, str, str], ...]) -> None:
    """Final training loss against the learning rate, mean and range over seeds.

    `looks` holds label, colour and marker of each sweep.
    """
    for sweep, (label, colour, marker) in zip(sweeps, looks, strict=True):
        rates, final = sweep.lrs.numpy(), sweep.final.clamp(max=30).numpy()
        ax.fill_between(rates, final.min(1), final.max(1), color=colour, alpha=0.25, linewidth=0)
        ax.plot(rates, final.mean(1), color=colour, marker=marker, markersize=4.5, linewidth=1.4, label=label)
    ax.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="final training loss")
    ax.set_ylim(0.02, 20)
    ax.set_yticks((0.1, 1, 10), ("0.1", "1", "10"))
    ax.set_xticks(sweeps[0].lrs.tolist(), [f"{rate:g}" for rate in sweeps[0].lrs.tolist()])
    ax.minorticks_off()
    ax.legend(loc="upper left")


#: How the arms of the claim on speed are drawn.
ARMS = {
    "none": ("no batch norm, raw pixels", VERMILLION, "s"),
    "standardized": ("inputs standardized", ORANGE, "D"),
    "scaled once": ("and layers scaled once", PURPLE, "v"),
    "batch norm": ("batch norm", BLUE, "o"),
}


def draw_controls(speed: Speed) -> Picture:
    """Left final losses against the rate for ever better plain nets; right what limits the rate."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(370)
        figure.text(
            0.012, 0.94, "Five seeds: lines are means, bands and dots all seeds", fontsize=11, weight="bold"
        )
        left = figure.add_axes((0.075, 0.14, 0.43, 0.70))
        draw_final_losses(left, tuple(speed.sweeps[name] for name in ARMS), tuple(ARMS.values()))
        left.legend(loc="upper left", fontsize=8)
        left.set_title("each net without batch norm better prepared than the last", fontsize=9.5)
        right = figure.add_axes((0.57, 0.14, 0.42, 0.70))
        arms = {
            "no norm,\nclip 1,\nrate 1": speed.at("clipped", 1.0),
            "no norm,\nclip 0.1,\nrate 10": speed.at("clipped at 0.1", 10.0),
            "norm,\nrate 3": speed.at("batch norm", 3.0),
            "norm,\nlast held,\nrate 3": speed.at("BN, last held", 3.0),
            "norm,\nlast held,\nrate 10": speed.at("BN, last held", 10.0),
            "norm,\nothers held,\nrate 3": speed.at("BN, others held", 3.0),
        }
        colours = dict(zip(arms, (ORANGE, ORANGE, BLUE, SKY, SKY, GREEN), strict=True))
        dots(right, {name: loss.clamp(max=10) for name, loss in arms.items()}, colours)
        right.set(yscale="log", ylim=(0.05, 10))
        right.set_yticks((0.1, 1, 10), ("0.1", "1", "10"))
        right.tick_params(axis="x", labelsize=7)
        right.minorticks_off()
        right.axhline(math.log(10), color=GREY, linewidth=1, linestyle=":")
        right.text(-0.5, 2.6, "guessing", color=GREY, fontsize=8)
        right.set_title("what limits the rate", fontsize=9.5)
    return Picture(
        figure,
        "final training loss against the learning rate for four nets, and at large rates with clipped "
        "gradients, or with the last layer or all others held at a small rate.",
    )


def draw_steps(speed: Speed, ratio: float) -> Picture:
    """Steps to a loss of 0.5 at one shared rate, at each arm's own best, and the latter in time.

    `ratio` is how many times as long a step with batch norm takes.
    """
    with matplotlib.rc_context(STYLE):
        figure = new_figure(330)
        figure.text(
            0.012, 0.93, "How long until a training loss of 0.5? A dot a seed", fontsize=11, weight="bold"
        )
        names = {
            "none": "none",
            "standardized": "inputs\nstand.",
            "scaled once": "scaled\nonce",
            "batch norm": "batch\nnorm",
        }
        panels = (
            ("all at rate 0.1, in steps", {name: speed.steps(name, 0.1) for name in names}),
            ("each at its best rate, in steps", {name: speed.steps(name) for name in names}),
            (
                "the same, in time of a plain step",
                {name: speed.steps(name) * (ratio if name == "batch norm" else 1) for name in names},
            ),
        )
        colours = {label: ARMS[name][1] for name, label in names.items()}
        for place, (title, arms) in enumerate(panels):
            ax = figure.add_axes((0.06 + 0.325 * place, 0.16, 0.275, 0.66))
            dots(ax, {names[name]: steps for name, steps in arms.items()}, colours, never=58)
            ax.set(ylim=(0, 61))
            ax.set_title(title, fontsize=9.5)
            ax.tick_params(axis="x", labelsize=8)
        figure.text(0.99, 0.935, "hollow: not within 50 steps", ha="right", fontsize=8, color=GREY)
    return Picture(
        figure,
        "steps to a training loss of 0.5 for four nets: at one shared rate, at each one's best rate, and "
        "the same in seconds.",
    )


def draw_places(places: Places, names: Sequence[str]) -> Picture:
    """Final losses over those of all before, for some orders, a panel for each rate."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(320)
        figure.text(
            0.012, 0.93, 'Final training loss over that of "before", a dot a seed', fontsize=11, weight="bold"
        )
        colours = dict(zip(names, (GREEN, SKY, PURPLE, ORANGE, VERMILLION), strict=False))
        for panel, rate in enumerate(places.sweeps["before"].lrs.tolist()):
            ax = figure.add_axes((0.07 + 0.49 * panel, 0.24, 0.42, 0.58))
            arms = {name.replace(", ", ",\n"): places.ratio(name)[panel] for name in names}
            dots(ax, arms, {name.replace(", ", ",\n"): colour for name, colour in colours.items()})
            ax.axhline(1, color=GREY, linewidth=1, linestyle="--")
            ax.set(ylim=(0.3, 1.3))
            ax.set_title(f"rate {rate:g}", fontsize=9.5)
            ax.tick_params(axis="x", labelsize=8)
    return Picture(
        figure, "final losses of networks with other orders of norm and ReLU over those of all before."
    )


def draw_folding(result: Folding) -> Picture:
    """How many times as fast the folded network is: a dot for each round, a bar for the median."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(250)
        ax = figure.subplots()
        figure.subplots_adjust(left=0.2, right=0.975, top=0.8, bottom=0.2)
        medians = result.speedup.median(dim=1).values
        span = f"{medians.min():.2f} to {medians.max():.2f}"
        figure.text(
            0.012,
            0.91,
            f"Folded, {span} times as fast on this machine",
            fontsize=11,
            fontweight="bold",
        )
        for place, (ratios, median) in enumerate(zip(result.speedup, medians, strict=True)):
            heights = place + torch.linspace(-0.22, 0.22, len(ratios))
            ax.plot(ratios.clamp(0.8, 2.5), heights, ".", color=SKY, markersize=7)
            ax.plot([median, median], [place - 0.33, place + 0.33], color=BLUE, linewidth=2.5)
        ax.axvline(1, color=GREY, linewidth=1, linestyle="--")
        ax.set_xlim(0.75, 2.55)
        sizes = result.batch_sizes.tolist()
        ax.set_yticks(range(len(sizes)), [f"{n} image{'s' * (n > 1)} at once" for n in sizes])
        ax.set_ylim(len(sizes) - 0.5, -0.5)
        ax.set_xlabel("time of the network / time of the folded one (dots: rounds, bar: median)")
    return Picture(
        figure,
        f"the ratio of times of a network and its folded copy, medians {span}, for several batch sizes.",
    )


def draw_early_statistics(result: EarlyStatistics) -> Picture:
    """Test accuracy during training, by stored and by re-estimated statistics."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(290)
        ax = figure.subplots()
        figure.subplots_adjust(left=0.075, right=0.975, top=0.84, bottom=0.17)
        figure.text(
            0.012,
            0.925,
            "The same weights, judged with stored statistics and with new ones",
            fontsize=11,
            fontweight="bold",
        )
        for values, colour, marker, label in (
            (result.renewed, ORANGE, "o", "estimated anew"),
            (result.stored, GREY, "s", "stored, momentum 0.01"),
        ):
            low, high = values.amin(1), values.amax(1)
            ax.fill_between(result.steps, low, high, color=colour, alpha=0.3, linewidth=0)
            ax.plot(result.steps, values.mean(1), color=colour, marker=marker, markersize=5, label=label)
        ax.set(xscale="log", xlabel="steps of training", ylabel="test accuracy in percent", ylim=(0, 102))
        ax.set_xticks(result.steps.tolist(), [str(step) for step in result.steps.tolist()])
        ax.minorticks_off()
        ax.legend(loc="lower right", title=f"{result.stored.shape[1]} seeds: mean, min to max")
    return Picture(
        figure,
        "test accuracy against steps of training: with statistics estimated anew it rises early, with "
        "the stored ones it stays low until they have followed.",
    )
