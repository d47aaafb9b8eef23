"""Day 31: the loss along its gradient, descents at every learning rate, and the shift in training."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib
import torch
from matplotlib.axes import Axes
from torch import Tensor

from course.experiments.day31 import Along, Descents, Shift
from course.figures.shared import (
    BLUE,
    GREEN,
    GREY,
    STYLE,
    VERMILLION,
    Picture,
    new_figure,
)

LOOKS = {
    "plain": (VERMILLION, "o", "plain"),
    "batch norm": (BLUE, "s", "batch norm"),
    "noisy batch norm": (GREEN, "^", "noisy batch norm"),
}


def short(number: float) -> str:
    """Two digits, no more."""
    return f"{number:.2g}" if number < 100 else f"{number:.0f}"


@dataclass(frozen=True, eq=False)
class TwoAlongs:
    """What `AlongDrawing` shows."""

    plain: Along
    normalized: Along


class AlongDrawing:
    """The loss on the left, the change of the gradient on the right, against the size of the step."""

    LOSSES, CHANGES = (0.05, 20.0), (0.01, 100.0)

    def __init__(self) -> None:
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(330)
            left, right = self.figure.subplots(1, 2)
            self.figure.subplots_adjust(left=0.075, right=0.985, top=0.79, bottom=0.15, wspace=0.2)
            self.title = self.figure.text(0.012, 0.925, "", fontsize=11, fontweight="bold")
            self.lines, self.starts = [], []
            for ax, title, limits in (
                (left, "loss after one step along the gradient", self.LOSSES),
                (right, "change of the gradient, as a part of it", self.CHANGES),
            ):
                ax.set(xscale="log", yscale="log", xlim=(8e-4, 40), ylim=limits)
                ax.minorticks_off()
                ax.set_title(title)
                ax.set_xlabel("size s of the step (learning rate)")
                self.lines.append([_line(ax, kind) for kind in ("plain", "batch norm")])
            self.starts = [
                left.axhline(1, color=LOOKS[kind][0], linewidth=0.9, linestyle=":")
                for kind in ("plain", "batch norm")
            ]
            right.axhline(0.5, color=GREY, linewidth=0.9, linestyle=":")
            right.text(35, 0.42, "half of it", color=GREY, fontsize=9, ha="right", va="top")
            left.legend(loc="lower left")

    def update(self, state: TwoAlongs) -> None:
        both = (state.plain, state.normalized)
        for along, start, loss, change in zip(both, self.starts, *self.lines, strict=True):
            start.set_ydata([along.loss, along.loss])
            losses = along.losses.nan_to_num(torch.inf)
            loss.set_data(along.sizes, losses.clamp(*self.LOSSES))
            change.set_data(along.sizes, along.changes.nan_to_num(torch.inf).clamp(*self.CHANGES))
        plain, normalized = (short(along.trusted) for along in both)
        self.title.set_text(
            f"The gradient holds, within half of itself, up to a step of {plain} plain, "
            f"{normalized} with batch norm"
        )


def _line(ax: Axes, kind: str):
    colour, marker, label = LOOKS[kind]
    (line,) = ax.plot([], [], color=colour, marker=marker, markersize=4, linewidth=1.3, label=label)
    return line


@dataclass(frozen=True, eq=False)
class OneRate:
    """What `RatesDrawing` shows: both descents, and which of the rates is chosen."""

    chosen: int
    plain: Descents
    normalized: Descents

    @property
    def finals(self) -> tuple[float, float]:
        """The last losses at the chosen rate."""
        return tuple(d.final[self.chosen, 0].item() for d in (self.plain, self.normalized))


class RatesDrawing:
    """The descents at one learning rate on the left, where they end for all rates on the right."""

    LIMITS = (2e-4, 20.0)

    def __init__(self) -> None:
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(340)
            left, right = self.figure.subplots(1, 2, sharey=True)
            self.figure.subplots_adjust(left=0.075, right=0.985, top=0.8, bottom=0.145, wspace=0.06)
            self.title = self.figure.text(0.012, 0.925, "", fontsize=11, fontweight="bold")
            left.set(yscale="log", ylim=self.LIMITS, xlim=(-1, 41), xlabel="step", ylabel="training loss")
            left.set_title("the descent at this learning rate")
            right.set(xscale="log", xlim=(8e-3, 125), xlabel="learning rate")
            right.set_title("where it ends, at every learning rate")
            left.minorticks_off()
            right.minorticks_off()
            self.curves, self.ends, self.limits, self.marks = (
                [_line(left, kind) for kind in ("plain", "batch norm")],
                [_line(right, kind) for kind in ("plain", "batch norm")],
                [],
                [],
            )
            for kind, text in (("plain", "plain: 2 / λ"), ("batch norm", "batch norm: 2 / λ")):
                colour = LOOKS[kind][0]
                self.limits.append(
                    right.axvline(1, color=colour, linestyle="--", linewidth=1.2, label=text, zorder=1)
                )
                self.marks.append(
                    right.plot(
                        [], [], color=colour, marker="o", markersize=11, fillstyle="none", linestyle=""
                    )[0]
                )
            left.legend(loc="lower left")
            right.legend(handles=self.limits, loc="lower right")

    def update(self, state: OneRate) -> None:
        both = (state.plain, state.normalized)
        for descent, curve, ends, limit, mark in zip(
            both, self.curves, self.ends, self.limits, self.marks, strict=True
        ):
            losses = descent.losses[:, state.chosen, 0].nan_to_num(torch.inf).clamp(*self.LIMITS)
            curve.set_data(range(len(losses)), losses)
            final = descent.final[:, 0].clamp(*self.LIMITS)
            ends.set_data(descent.rates, final)
            mark.set_data(descent.rates[[state.chosen]], final[[state.chosen]])
            place = 2 / descent.sharpness[0].item()
            limit.set_xdata([place, place])
        rate = short(state.plain.rates[state.chosen].item())
        plain, normalized = (
            f"at {short(loss)}" if loss < self.LIMITS[1] else "out of bounds" for loss in state.finals
        )
        self.title.set_text(
            f"Learning rate {rate}: the loss ends {plain} plain, {normalized} with batch norm"
        )


def _band(ax: Axes, x: Tensor, values: Tensor, kind: str) -> None:
    """Median and range over the seeds, the last axis of `values` (points, S)."""
    colour, marker, label = LOOKS[kind]
    ax.fill_between(x, values.amin(1), values.amax(1), color=colour, alpha=0.25, linewidth=0)
    every = max(1, len(x) // 12)
    ax.plot(
        x,
        values.median(1).values,
        color=colour,
        marker=marker,
        markersize=4,
        markevery=every,
        linewidth=1.3,
        label=label,
    )


def draw_shift(shifts: dict[str, Shift], fast: dict[str, Shift], lr: float, fast_lr: float) -> Picture:
    """How far the inputs of the layers and their gradients move, and the losses at a larger learning rate."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(350)
        axes = figure.subplots(1, 3)
        figure.subplots_adjust(left=0.06, right=0.985, top=0.77, bottom=0.24, wspace=0.25)
        figure.text(
            0.012,
            0.935,
            "With batch norm the means stand still, the gradients shift more, and training does not mind",
            fontsize=11,
            fontweight="bold",
        )
        titles = (
            f"shift of the means, lr {lr:g}",
            f"shift of the gradients, lr {lr:g}",
            f"training loss, lr {fast_lr:g}",
        )
        for ax, title in zip(axes, titles, strict=True):
            ax.set_title(title)
            ax.set_xlabel("training step")
        for kind, shift in shifts.items():
            _band(axes[0], shift.at, shift.moved.mean(1), kind)
            _band(axes[1], shift.at, shift.l2.mean(1), kind)
        for kind, shift in fast.items():
            finite = torch.where(shift.losses.isfinite(), shift.losses, torch.inf).clamp_max(100.0)
            _band(axes[2], torch.arange(len(finite)), finite, kind)
        axes[0].set_ylim(bottom=-0.01)
        axes[1].set_ylim(bottom=0)
        axes[2].set(yscale="log", ylim=(5e-3, 10))
        axes[2].minorticks_off()
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower left", ncols=3, bbox_to_anchor=(0.04, 0))
        seeds = next(iter(shifts.values())).losses.shape[1]
        figure.text(0.985, 0.035, f"line: median, band: range of {seeds} seeds", ha="right", fontsize=9)
    return Picture(
        figure,
        "three panels over training steps: means move in the plain network and not with batch norm; "
        "gradients shift more with batch norm and most with noise; at a large learning rate both kinds of "
        "batch norm train and the plain network does not.",
    )


def draw_longest(plain: Descents, normalized: Descents) -> Picture:
    """The last loss against the learning rate, both networks, all seeds."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(310)
        ax = figure.subplots()
        figure.subplots_adjust(left=0.085, right=0.985, top=0.84, bottom=0.165)
        figure.text(
            0.012,
            0.925,
            "Batch norm trains far beyond 2 / λ of its start; the plain network stops at a few times it",
            fontsize=11,
            fontweight="bold",
        )
        ax.set(xscale="log", yscale="log", ylim=(1e-3, 12))
        ax.minorticks_off()
        ax.set_xlabel("learning rate")
        ax.set_ylabel(f"training loss after {len(plain.losses) - 1} steps")
        for kind, descent in (("plain", plain), ("batch norm", normalized)):
            limits = 2 / descent.sharpness
            colour = LOOKS[kind][0]
            ax.axvspan(limits.min().item(), limits.max().item(), color=colour, alpha=0.13, linewidth=0)
            ax.text(
                limits.log().mean().exp().item(),
                8,
                "2 / λ",
                color=colour,
                ha="center",
                va="center",
                fontsize=9,
            )
            _band(ax, descent.rates, descent.final.clamp_max(10.0), kind)
        ax.legend(loc="lower left")
        seeds = plain.losses.shape[2]
        ax.text(
            0.99,
            0.03,
            f"line: median, band: range of {seeds} seeds",
            transform=ax.transAxes,
            ha="right",
            fontsize=9,
        )
    return Picture(
        figure,
        "last training loss against the learning rate: the plain network fails from about 1 on, the one with "
        "batch norm trains at rates tens of times larger.",
    )
