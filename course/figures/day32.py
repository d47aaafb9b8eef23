"""Day 32: two claims by rate and by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from course.experiments.day32 import Arm, Placed
from course.figures.shared import (
    BLUE,
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


def draw_asked(arms: Arms) -> Picture:
    """Nets on their own training images: asked in pairs, and with the statistics of all of them."""
    names = {
        "n = 2": ("dense", "batch", 2),
        "n = 2,\nfrozen": ("dense", "frozen", 2),
        "n = 64": ("dense", "batch", 64),
        "n = 64,\nfrozen": ("dense", "frozen", 64),
    }
    panels = {"asked in pairs": "pairs_train", "asked with the statistics of all": "renewed_train"}
    with matplotlib.rc_context(STYLE):
        figure = new_figure(310)
        axes = figure.subplots(1, 2, sharey=True)
        figure.subplots_adjust(left=0.075, right=0.985, top=0.79, bottom=0.15, wspace=0.06)
        _headline(figure, "Linear layers on their own training images, by how they were trained")
        for ax, (title, what) in zip(axes, panels.items(), strict=True):
            ax.set_title(title)
            dots(ax, {name: arms[key].at_best(what) for name, key in names.items()})
        axes[0].set(ylim=(-2, 72), ylabel="error (%)")
    return Picture(
        figure,
        "errors on training images: in pairs about one half for every net; with the statistics of all images "
        "high for n = 2, frozen or not, low for n = 64, and a little higher if frozen.",
    )


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
    colours = (VERMILLION, ORANGE, BLUE, SKY, PURPLE)
    with matplotlib.rc_context(STYLE):
        figure = new_figure(320)
        ax = figure.subplots()
        figure.subplots_adjust(left=0.075, right=0.76, top=0.87, bottom=0.15)
        _headline(figure, headline)
        for k, (name, colour) in enumerate(zip(names, colours[: len(names)], strict=True)):
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
