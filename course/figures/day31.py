"""Day 31: the shift in training, and descents at every learning rate."""

from __future__ import annotations

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course.experiments.day31 import HE, Descents, LongSteps, ShiftVerdict
from course.figures.shared import (
    BLACK,
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

LOOKS = {
    "plain": (VERMILLION, "o", "plain"),
    "batch norm": (BLUE, "s", "batch norm"),
}


def _titled(height: int, title: str, panels: int, **places: float) -> tuple[Figure, list[Axes]]:
    """A figure with a title and panels side by side."""
    figure = new_figure(height)
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    figure.subplots_adjust(**({"left": 0.075, "right": 0.985, "top": 0.8, "bottom": 0.15} | places))
    figure.text(0.012, 0.93, title, fontsize=11, fontweight="bold")
    return figure, axes


COLOURS = {"plain": VERMILLION, "batch norm": BLUE, "noisy": GREEN}


def draw_shift(verdict: ShiftVerdict) -> Picture:
    """What moves in one step at He's gain and one learning rate, in three networks."""
    row = verdict.settings.index((HE, 0.1))
    three = {
        "plain": (verdict.shifts["plain"], row),
        "batch norm": (verdict.shifts["batch norm"], row),
        "noisy": (verdict.noise["drawn anew"], 0),
    }
    with matplotlib.rc_context(STYLE):
        figure, axes = _titled(280, "What moves in one step, gain 1.41, learning rate 0.1", 2, wspace=0.2)
        dots(axes[0], {k: s.moved[:, :, c].mean((0, 1)).tolist() for k, (s, c) in three.items()}, COLOURS)
        dots(axes[1], {k: s.average[c].tolist() for k, (s, c) in three.items()}, COLOURS)
        axes[0].set_title("means, in standard deviations")
        axes[1].set_title("gradients, relative to their length")
        for ax in axes:
            ax.set_ylim(bottom=-0.02)
    return Picture(
        figure,
        "dots, one a seed: the means move not at all with batch norm and most with noise; the gradients move "
        "more with batch norm than in the plain network, and most with noise.",
    )


def draw_shift_controls(verdict: ShiftVerdict) -> Picture:
    """The shift at three gains, at own rates, with frozen noise, and the losses after tuning."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _titled(
            330,
            "The shift of the gradients, with four things changed",
            4,
            wspace=0.42,
            left=0.05,
            bottom=0.24,
        )
        axes[0].set_title("the gain, lr 0.1")
        for kind, side in (("plain", -0.15), ("batch norm", 0.15)):
            colour, marker, label = LOOKS[kind]
            for place, values in enumerate(verdict.shifts[kind].average):
                axes[0].plot(
                    [place + side] * len(values),
                    values,
                    marker,
                    color=colour,
                    markersize=4.5,
                    label=label if place == 0 else None,
                )
        axes[0].set_xticks(range(3), ["1", "1.41", "2"])
        axes[0].set_xlabel("gain")
        axes[0].legend(
            loc="upper center", bbox_to_anchor=(0.45, -0.17), ncols=2, columnspacing=0.8, handletextpad=0.1
        )
        axes[1].set_title("own best rate")
        dots(
            axes[1],
            {
                f"{short_name}\n{when}": values[0].tolist()
                for kind, short_name in (("plain", "plain"), ("batch norm", "norm"))
                for when, values in (("first", verdict.own[kind].first), ("mean", verdict.own[kind].average))
            },
            {"plain\nfirst": VERMILLION, "plain\nmean": VERMILLION},
        )
        axes[2].set_title("the noise")
        noise = verdict.noise
        dots(
            axes[2],
            {
                "anew": noise["drawn anew"].average[0].tolist(),
                "frozen": noise["frozen"].average[0].tolist(),
                "not\nmoved": noise["no layer moved"].first[0].tolist(),
            },
            dict.fromkeys(("anew", "frozen", "not\nmoved"), GREEN),
        )
        axes[3].set_title("last loss, tuned")
        ends = {
            name.split()[0]: verdict.tuned[kind].best[1].tolist()
            for name, kind in zip(("plain", "norm", "noisy"), verdict.tuned, strict=True)
        }
        noisy = verdict.tuned["noisy batch norm"]
        ends["noise\noff"] = noisy.noise_off[noisy.at(noisy.best[0])].tolist()
        dots(axes[3], ends, {"plain": VERMILLION, "noisy": GREEN, "noise\noff": GREEN})
        axes[3].set_yscale("log")
        axes[3].minorticks_off()
        axes[3].set_yticks([0.003, 0.01, 0.03], ["0.003", "0.01", "0.03"])
        for ax in axes[:3]:
            ax.set_ylim(0, None)
        for ax in axes[1:]:
            ax.tick_params(axis="x", labelsize=8)
    return Picture(
        figure,
        "four panels of dots, one a seed: shift by gain, falling with batch norm, rising without; at own "
        "best rates at the first step and on average; shift of the noisy network with noise drawn anew, "
        "frozen, and with no layer moved; last losses at own best rates, of the noisy one with the noise off "
        "as well.",
    )


def _ends(ax: Axes, descent: Descents, colour: str, marker: str, label: str, linestyle: str = "-") -> None:
    """Where the seeds end at each rate: dots, and a line through the medians."""
    final = descent.final.clamp(1e-4, 10.0)
    for seed in range(final.shape[1]):
        ax.plot(descent.rates, final[:, seed], marker, color=colour, markersize=3, alpha=0.5, linewidth=0)
    ax.plot(
        descent.rates,
        final.median(1).values,
        linestyle,
        color=colour,
        linewidth=1.4,
        marker=marker,
        markersize=4,
        label=label,
    )


def draw_longest(found: LongSteps) -> Picture:
    """The last loss against the learning rate, plain and with batch norm, all seeds."""
    with matplotlib.rc_context(STYLE):
        figure, (ax,) = _titled(
            310, "Where 60 steps end, at nine learning rates", 1, left=0.085, bottom=0.165
        )
        ax.set(
            xscale="log", yscale="log", ylim=(1e-4, 14), xlabel="learning rate", ylabel="last training loss"
        )
        ax.minorticks_off()
        for kind, watched in (("plain", "plain"), ("batch norm", "batch norm")):
            colour, marker, label = LOOKS[kind]
            limits = 2 / found.watched[watched].sharpness[0, 0]
            ax.axvspan(limits.min().item(), limits.max().item(), color=colour, alpha=0.13, linewidth=0)
            ax.text(limits.log().mean().exp().item(), 2e-4, "2 / λ", color=colour, ha="center", fontsize=9)
            _ends(ax, found.arms[kind], colour, marker, label)
        ax.legend(loc="lower right")
    return Picture(
        figure,
        "last training loss against the learning rate, dots are seeds: the plain network fails from about 1 "
        "on, the one with batch norm trains up to 18.",
    )


def draw_rates_controls(found: LongSteps) -> Picture:
    """Held norms and clipped gradients at every rate."""
    looks = {
        "batch norm": (BLUE, "s", "-"),
        "batch norm, norms held": (PURPLE, "D", "--"),
        "plain": (VERMILLION, "o", "-"),
        "plain, norms held": (ORANGE, "v", "--"),
        "plain, clipped": (GREEN, "^", "--"),
    }
    with matplotlib.rc_context(STYLE):
        figure, axes = _titled(320, "The same, with norms held or gradients clipped", 2, wspace=0.08)
        for ax, kind in zip(axes, ("batch norm", "plain"), strict=True):
            for name, descent in found.arms.items():
                if name.startswith(kind):
                    colour, marker, line = looks[name]
                    _ends(ax, descent, colour, marker, name, line)
            ax.set(xscale="log", yscale="log", ylim=(1e-4, 3000), xlabel="learning rate")
            ax.minorticks_off()
            ax.legend(loc="upper left")
        axes[1].set_yticklabels([])
        axes[0].set_ylabel("last training loss")
    return Picture(
        figure,
        "last loss against the learning rate: with held norms batch norm trains to 3.2, not at 10; the "
        "plain network with held norms fails like the free one, and with clipped gradients trains up to 3.2.",
    )


def draw_edge(found: LongSteps) -> Picture:
    """Learning rate times λ over 2 along training."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _titled(310, "Learning rate times λ over 2, along training", 3, wspace=0.08)
        for ax, (name, descent) in zip(axes, found.watched.items(), strict=True):
            ax.set_title(name)
            for row, (colour, marker) in enumerate(((SKY, "o"), (BLACK, "s"))):
                values = descent.instability[:, row].clamp(0.02, 150)
                ax.plot(descent.watched, values, color=colour, linewidth=0.7, alpha=0.5)
                ax.plot(
                    descent.watched,
                    values.median(1).values,
                    color=colour,
                    marker=marker,
                    markersize=4,
                    linewidth=1.5,
                    label=f"lr {descent.rates[row]:.2g}",
                )
            ax.axhline(1, color=GREY, linestyle=":", linewidth=1.2)
            ax.set(yscale="log", ylim=(0.02, 150), xlabel="step")
            ax.set_xscale("symlog", linthresh=2)
            ax.set_xticks([0, 1, 2, 7, 20, 60], ["0", "1", "2", "7", "20", "60"])
            ax.set_xlim(-0.2, 75)
            ax.minorticks_off()
            ax.legend(loc="lower left")
            if ax is not axes[0]:
                ax.set_yticklabels([])
    return Picture(
        figure,
        "learning rate times the largest curvature over 2, along training: in the plain network it climbs to "
        "about 1; with batch norm it starts far above 1 and falls below it; with held norms it falls at "
        "learning rate 3.2 and stays above 1 at 10.",
    )
