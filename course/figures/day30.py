"""Day 30: regularizers on digits, and decay as a growing rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib

from course.experiments.day30 import Needless, Split, Twins
from course.figures.shared import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SKY,
    STYLE,
    Picture,
    dots,
    new_figure,
)


def draw_wrong_labels(run: Needless) -> Picture:
    """Test and training errors' course with a fifth of the labels at random, without and with batch norm."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(330)
        figure.text(
            0.012, 0.93, "A fifth of the labels at random: five seeds", fontsize=11, fontweight="bold"
        )
        left, right = (figure.add_axes((at, 0.16, 0.39, 0.68)) for at in (0.085, 0.595))
        for name, colour in (("none", GREY), ("BN", BLUE)):
            runs, place = run.runs(1, name)
            for ax, values in (
                (left, 100 * runs.test_error[place]),
                (right, runs.train_loss[place]),
            ):
                for seed, line in enumerate(values):
                    label = name if seed == 0 else None
                    ax.plot(runs.steps, line, "o-", color=colour, markersize=3, alpha=0.7, label=label)
        for ax, label in ((left, "test error, %"), (right, "training loss")):
            ax.set_xscale("log")
            ax.set_xticks([25, 50, 100, 200, 400], ["25", "50", "100", "200", "400"])
            ax.minorticks_off()
            ax.set(xlabel="step", ylabel=label)
        left.legend()
    return Picture(
        figure,
        "test error and training loss against steps, with wrong labels: with batch norm the loss falls "
        "sooner, and the test error has its lowest point sooner and rises sooner.",
    )


def draw_controls(run: Needless) -> Picture:
    """Test errors with wrong labels: at equal training loss, and after long training; and the noise off."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(330)
        figure.text(0.012, 0.93, "Wrong labels: three controls, a dot a seed", fontsize=11, fontweight="bold")
        panels = (
            (
                "where the training loss is 0.9 (hollow: never)",
                {
                    "none": run.at_loss(1, "none"),
                    "BN": run.at_loss(1, "BN"),
                    "BN,\nnoise off": run.at_loss(1, "BN, no noise"),
                    "BN +\ndropout": run.at_loss(1, "BN + dropout 0.5"),
                },
            ),
            (
                "after 400 and 1200 steps",
                {
                    "none": run.long[0, :, 0],
                    "BN": run.long[1, :, 0],
                    "none,\n1200": run.long[0, :, 1],
                    "BN,\n1200": run.long[1, :, 1],
                },
            ),
        )
        colours = {"BN +\ndropout": ORANGE, "BN,\nnoise off": SKY, "none": GREY, "none,\n1200": GREY}
        for at, width, (title, arms) in zip((0.075, 0.555), (0.435, 0.435), panels, strict=True):
            ax = figure.add_axes((at, 0.17, width, 0.65))
            dots(ax, {name: 100 * errors for name, errors in arms.items()}, colours, never=31)
            ax.set(ylim=(0, 33), title=title)
            if at < 0.1:
                ax.set_ylabel("test error, %")
            else:
                ax.set_yticklabels([])
    return Picture(
        figure,
        "test errors with wrong labels: at equal training loss close together without batch norm and with "
        "it, dropout lower; after 1200 steps closer than after 400; without the noise of the batch near "
        "those with it.",
    )


def draw_best(run: Needless, families: Mapping[str, object]) -> Picture:
    """Test errors of every family at the strength, rate and step that the validation images choose."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(350)
        figure.text(
            0.012,
            0.94,
            "Each at the rate, the strength and the step that validation chooses",
            fontsize=11,
            fontweight="bold",
        )
        names = [name.replace(" + ", " +\n").replace(", ", ",\n") for name in families]
        colours = dict(zip(names, (GREY, GREY, GREY, BLUE, ORANGE, ORANGE), strict=True))
        for at, labels, title in ((0.075, 0, "right labels"), (0.565, 1, "a fifth of the labels at random")):
            ax = figure.add_axes((at, 0.24, 0.42, 0.60))
            errors = [100 * run.best(labels, family) for family in families]
            dots(ax, dict(zip(names, errors, strict=True)), colours)
            ax.tick_params(axis="x", labelsize=8)
            ax.set(ylim=(0, 20), title=title)
            if labels == 0:
                ax.set_ylabel("test error, %")
    return Picture(
        figure,
        "test errors of six families at their best: with right labels batch norm with and without dropout "
        "alike; with wrong labels lowest with both.",
    )


def draw_twins(twins: Twins) -> Picture:
    """Rates, losses and lengths of a decayed run and of one with a growing rate."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(300)
        figure.text(0.012, 0.92, "Two runs from one start", fontsize=11, fontweight="bold")
        panels = (("learning rate", twins.rates, True), ("training loss", twins.losses, False))
        panels += (("length of the first weight", twins.lengths, True),)
        for at, (label, values, logarithmic) in zip((0.07, 0.395, 0.735), panels, strict=True):
            ax = figure.add_axes((at, 0.18, 0.25, 0.62))
            ax.plot(values[0], color=SKY, linewidth=4, label="constant rate, decay")
            ax.plot(values[1], color=BLACK, linewidth=1, linestyle="--", label="growing rate, none")
            ax.set(xlabel="step", title=label)
            if logarithmic:
                ax.set_yscale("log")
                ax.tick_params(axis="y", which="minor", labelleft=False)
            if at < 0.1:
                ax.legend(loc="upper left")
    return Picture(
        figure,
        "two runs: a constant rate with decay, a growing rate without; the losses lie on one line.",
    )


def draw_split(split: Split, kinds: Sequence[tuple[str, str]], what: str) -> Picture:
    """Late training loss or test error, `what`, of the arms of the split: one panel a kind.

    Args:
        split: the runs.
        kinds: what is added to the names of arms, and the panel's title.
        what: "train_loss" or "test_error".
    """
    with matplotlib.rc_context(STYLE):
        figure = new_figure(300)
        figure.text(
            0.012,
            0.92,
            "Weight decay of 0.01, by where it acts; a dot a seed",
            fontsize=11,
            fontweight="bold",
        )
        width = 0.9 / len(kinds)
        colours = {"none": GREY, "hidden": BLUE, "last": ORANGE, "both": GREEN}
        there = [arm.name for arm in split.runs.arms]
        for place, (kind, title) in enumerate(kinds):
            ax = figure.add_axes((0.09 + place * width, 0.14, width - 0.06, 0.65))
            arms = {name: split.late(name + kind, what) for name in colours if name + kind in there}
            dots(ax, arms, colours)
            ax.set_yscale("log")
            ax.set(title=title)
            if what == "train_loss":
                ax.set_ylim(0.002, 0.1)
            if place == 0:
                ax.set_ylabel("late training loss" if what == "train_loss" else "test error")
    return Picture(
        figure, "late losses with weight decay on hidden weights, on the last, on both or on none."
    )
