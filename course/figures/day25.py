"""Day 25: gradients layer by layer, the bowl of two features, and what the claim's experiment found."""

from __future__ import annotations

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from course.experiments.day25 import Bowl, Drift, GainSweep, InnerConditions, Training, WithAndWithout
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
    new_figure,
)

LOW, HIGH = 1e-3, 1e3  # what the exercises of the day call vanishing and exploding


def power(number: float) -> str:
    """A positive number with one digit, as 0.05, 3 or 4 · 10¹²."""
    if number == 0 or 0.01 <= number < 1000:
        return f"{number:.2g}" if number < 10 else f"{number:.0f}"
    digit, exponent = f"{number:.0e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{digit} · 10{raised}"


class LayersDrawing:
    """Gradient norms on the left, activations on the right; plain and normalized in each."""

    MOST = 30
    GRADIENTS, ACTIVATIONS = (1e-16, 1e10), (1e-10, 1e10)

    def __init__(self) -> None:
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(340)
            left, right = self.figure.subplots(1, 2)
            self.figure.subplots_adjust(left=0.085, right=0.985, top=0.8, bottom=0.14, wspace=0.2)
            self.title = self.figure.text(0.012, 0.925, "", fontsize=11, fontweight="bold")
            self.lines = []
            for ax, title, limits in (
                (left, "norm of the gradient of each layer's weights", self.GRADIENTS),
                (right, "standard deviation of each layer's output", self.ACTIVATIONS),
            ):
                ax.set_yscale("log")
                ax.set_ylim(*limits)
                ax.set_xlim(0, self.MOST + 1)
                ax.set_xlabel("layer (1 is next to the input)")
                ax.set_title(title)
                ax.axhspan(LOW, HIGH, color="#EEEEEE", zorder=0)
                self.lines.append(
                    [
                        ax.plot(
                            [], [], color=colour, marker=marker, markersize=4, linewidth=1.3, label=label
                        )[0]
                        for colour, marker, label in (
                            (VERMILLION, "o", "plain"),
                            (BLUE, "s", "with batch normalization"),
                        )
                    ]
                )
            left.legend(loc="lower right")

    def update(self, state: WithAndWithout) -> None:
        layers = range(1, state.depth + 1)
        for lines, name, limits in zip(
            self.lines, ("gradients", "activations"), (self.GRADIENTS, self.ACTIVATIONS), strict=True
        ):
            for line, report in zip(lines, (state.plain, state.normalized), strict=True):
                # What is off the scale is shown at its edge.
                line.set_data(layers, getattr(report, name)[0].clamp(*limits))
        plain, normalized = (r.gradients[0, 0].item() for r in (state.plain, state.normalized))
        self.title.set_text(
            f"Gradient that reaches layer 1: {power(plain)} plain{word(plain)}, "
            f"{power(normalized)} normalized{word(normalized)}"
        )


def word(norm: float) -> str:
    """A word for a norm outside of the grey band."""
    return " (vanished)" if norm < LOW else " (exploded)" if norm > HIGH else ""


class BowlDrawing:
    """The data, the bowl with a descent into it, and the loss of that descent."""

    LEVELS = (1.0, 0.75, 0.5, 0.25)

    def __init__(self) -> None:
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(310)
            data, bowl, loss = self.figure.subplots(1, 3, width_ratios=(1, 1, 0.95))
            self.figure.subplots_adjust(left=0.065, right=0.985, top=0.8, bottom=0.155, wspace=0.34)
            self.title = self.figure.text(0.012, 0.92, "", fontsize=11, fontweight="bold")

            data.set(xlim=(-9, 15), ylim=(-9, 15), xlabel="feature x1", ylabel="feature x2")
            data.set_title("the data")
            for draw in (data.axhline, data.axvline):
                draw(0, color=GREY, linewidth=0.8, linestyle=":")
            self.dots = data.scatter([], [], s=9, color=BLUE, linewidths=0)

            bowl.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1))
            bowl.set(xlabel="weight 1 (0: minimum)", ylabel="weight 2 (0: minimum)")
            bowl.set_title("the loss from above")
            self.levels = [bowl.plot([], [], color=SKY, linewidth=1.2)[0] for _ in self.LEVELS]
            (self.path,) = bowl.plot(
                [], [], color=VERMILLION, marker="o", markersize=3.5, linewidth=1, zorder=3
            )
            bowl.plot(0, 0, marker="+", color=BLACK, markersize=9, zorder=4)

            loss.set_yscale("log")
            loss.set(xlim=(-0.5, 40.5), ylim=(3e-4, 2), xlabel="step")
            loss.set_title("loss, as a part of the first")
            loss.axhline(1e-3, color=GREY, linewidth=0.8, linestyle=":")
            (self.losses,) = loss.plot([], [], color=VERMILLION, marker="o", markersize=3, linewidth=1)

    def update(self, state: Bowl) -> None:
        kappa, steps = state.condition_number, state.steps_to
        number = f"{kappa:.2f}" if kappa < 10 else f"{kappa:.0f}"
        self.title.set_text(
            f"Condition number {number}: the loss is down to 0.1% after {steps} step{'s' * (steps > 1)}"
        )
        # Rounded, so that what is equal but for its last digit looks equal to the last pixel.
        self.dots.set_offsets(state.x.round(decimals=6).numpy())
        for line, size in zip(self.levels, self.LEVELS, strict=True):
            line.set_data(*(size * state.level).round(decimals=6).T.numpy())
        self.path.set_data(*state.path.round(decimals=6).T.numpy())
        # A loss of 0 has no place on a logarithmic axis; it leaves the panel downwards.
        self.losses.set_data(range(len(state.losses)), state.losses.clamp_min(1e-9).round(decimals=9).numpy())


def band(ax: Axes, x: Tensor, values: Tensor, colour: str, marker: str, label: str) -> None:
    """Median and range over the seeds, which run along the last axis of `values` (points, S)."""
    ax.fill_between(x, values.amin(1), values.amax(1), color=colour, alpha=0.3, linewidth=0)
    ax.plot(x, values.median(1).values, color=colour, marker=marker, markersize=4, linewidth=1.3, label=label)


def draw_inner(conditions: InnerConditions, drift: Drift) -> Picture:
    """Condition numbers by layer, and standard deviations by training step."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(330)
        left, right = figure.subplots(1, 2)
        figure.subplots_adjust(left=0.085, right=0.985, top=0.78, bottom=0.15, wspace=0.22)
        figure.text(
            0.012,
            0.93,
            "Standardized inputs do not stay standardized: not in depth, and not in time",
            fontsize=11,
            fontweight="bold",
        )
        layers = torch.arange(1, conditions.plain.shape[1] + 1)
        band(left, layers, conditions.plain.T, VERMILLION, "o", "features as they come")
        band(left, layers, conditions.standardized.T, BLUE, "s", "standardized before each layer")
        left.set_yscale("log")
        left.set_ylim(0.8, 1e6)
        left.xaxis.set_major_locator(MaxNLocator(integer=True))
        left.set_xlabel("layer (1 gets the inputs)")
        left.set_title("condition number of a layer's bowl")
        left.legend(loc="upper left")

        steps = torch.arange(drift.stds.shape[1])
        styles = zip((BLACK, ORANGE, GREEN, PURPLE), ("-", "--", "-.", ":"), strict=True)
        for layer, (colour, line) in enumerate(styles):
            values = drift.stds[:, :, layer]
            right.fill_between(steps, values.amin(0), values.amax(0), color=colour, alpha=0.2, linewidth=0)
            right.plot(
                steps, values.median(0).values, color=colour, linestyle=line, label=f"layer {layer + 1}"
            )
        right.axhline(1, color=GREY, linewidth=0.8, linestyle=":")
        right.set_ylim(bottom=0.94)
        right.set_xlabel("training step")
        right.set_title("standard deviation of a layer's sums")
        right.legend(loc="upper left")
        seeds = len(drift.stds)
        right.text(
            0.98,
            0.03,
            f"line: median, band: range of {seeds} seeds",
            transform=right.transAxes,
            ha="right",
            fontsize=9,
        )
    return Picture(
        figure,
        "left, condition numbers grow from layer to layer, less so where every layer's features are "
        "standardized; right, standard deviations leave 1 during training.",
    )


def draw_gain_sweep(sweep: GainSweep) -> Picture:
    """The first layer's gradient against the gain, a panel per activation."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(330)
        axes = figure.subplots(1, len(sweep.plain), sharey=True, squeeze=False)[0]
        figure.subplots_adjust(left=0.085, right=0.985, top=0.78, bottom=0.15, wspace=0.08)
        figure.text(
            0.012,
            0.93,
            "Plain, the gradient follows the gain over many decades; normalized, it falls as 1 / gain",
            fontsize=11,
            fontweight="bold",
        )
        for ax, name in zip(axes, sweep.plain, strict=True):
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.set_title(f"{name}, {sweep.depth} layers")
            ax.set_xlabel("gain of the weights")
            ax.set_xticks([0.3, 0.5, 1, 2, 3], ["0.3", "0.5", "1", "2", "3"])
            ax.minorticks_off()
            band(ax, sweep.gains, sweep.plain[name], VERMILLION, "o", "plain")
            band(ax, sweep.gains, sweep.normalized[name], BLUE, "s", "with batch normalization")
        axes[0].set_ylabel("gradient norm of layer 1")
        axes[-1].legend(loc="lower right")
        seeds = next(iter(sweep.plain.values())).shape[1]
        axes[0].text(
            0.98,
            0.03,
            f"line: median, band: range of {seeds} seeds",
            transform=axes[0].transAxes,
            ha="right",
            fontsize=9,
        )
    return Picture(
        figure,
        "gradient norms of the first layer against the gain of the weights: steep without normalization, "
        "falling gently with it.",
    )


def draw_training(training: Training) -> Picture:
    """Test accuracy against the gain; a dot per seed, a line through the medians."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(300)
        ax = figure.subplots()
        figure.subplots_adjust(left=0.085, right=0.985, top=0.84, bottom=0.165)
        figure.text(
            0.012,
            0.925,
            f"After {training.steps} steps, {training.depth} layers: "
            "normalized networks learn at every gain, faster at small ones",
            fontsize=11,
            fontweight="bold",
        )
        ax.set_xscale("log")
        ax.set_xticks(training.gains.tolist(), [f"{gain:.2g}" for gain in training.gains])
        ax.minorticks_off()
        ax.set(ylim=(0, 1.03), xlabel="gain of the weights", ylabel="test accuracy")
        ax.axhline(0.1, color=GREY, linewidth=0.8, linestyle=":")
        for values, colour, marker, label, shift in (
            (training.plain, VERMILLION, "o", "plain", 0.985),
            (training.normalized, BLUE, "s", "with batch normalization", 1.015),
        ):
            at = shift * training.gains
            ax.plot(at, values.median(1).values, color=colour, linewidth=1.3)
            ax.plot(
                at[:, None].expand_as(values).flatten(),
                values.flatten(),
                color=colour,
                marker=marker,
                markersize=4,
                linestyle="",
                alpha=0.75,
                label=label,
            )
        ax.legend(loc="center left", bbox_to_anchor=(0, 0.55))
        ax.text(training.gains[0], 0.02, "guessing", color=GREY, va="bottom", fontsize=9)
    return Picture(
        figure,
        "test accuracy against the gain: without normalization near guessing but for one gain, with it "
        "above guessing everywhere and best at small gains.",
    )
