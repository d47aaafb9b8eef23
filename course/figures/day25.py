"""Day 25: what the experiments on inner layers and on the scale of the weights found."""

from __future__ import annotations

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from course.experiments.day25 import BATCHES, DEPTHS, Drift, GainSweep, Scale
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


def band(ax: Axes, x: Tensor, values: Tensor, colour: str, marker: str, label: str) -> None:
    """Median and range over the seeds, which run along the last axis of `values` (points, S)."""
    ax.fill_between(x, values.amin(1), values.amax(1), color=colour, alpha=0.3, linewidth=0)
    ax.plot(x, values.median(1).values, color=colour, marker=marker, markersize=4, linewidth=1.3, label=label)


def _titled(height: int, title: str, panels: int, **places: float) -> tuple[Figure, list[Axes]]:
    """A figure with a title and panels side by side."""
    figure = new_figure(height)
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    figure.subplots_adjust(**({"left": 0.085, "right": 0.985, "top": 0.8, "bottom": 0.15} | places))
    figure.text(0.012, 0.93, title, fontsize=11, fontweight="bold")
    return figure, axes


#: Colour and marker by name of `LAYERS` in the experiments.
LAYER_LOOKS = {
    "ReLU": (VERMILLION, "o"),
    "no ReLU": (BLACK, "x"),
    "ReLU, centred": (GREEN, "^"),
    "ReLU, then standardized": (PURPLE, "D"),
    "batch norm, then ReLU": (BLUE, "s"),
}


def draw_conditions(panels: dict[str, dict[str, Tensor]], title: str) -> Picture:
    """Condition numbers by layer: a panel for each kind of weights, a line for each kind of layer.

    Args:
        panels: title of a panel -> name of `LAYER_LOOKS` -> (S, layers).
        title: of the whole.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _titled(330, title, len(panels), wspace=0.08)
        for ax, (name, lines) in zip(axes, panels.items(), strict=True):
            for label, values in lines.items():
                colour, marker = LAYER_LOOKS[label]
                layers = torch.arange(1, values.shape[1] + 1)
                for row in values:
                    ax.plot(layers, row, marker, color=colour, markersize=3, alpha=0.4, linewidth=0)
                ax.plot(
                    layers, values.median(0).values, color=colour, marker=marker, markersize=5, label=label
                )
            ax.set(yscale="log", ylim=(0.8, 1e10), xlabel="layer (1 gets the inputs)", title=name)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            if ax is not axes[0]:
                ax.set_yticklabels([])
        axes[0].set_ylabel("condition number")
        axes[-1].legend(loc="upper left")
    return Picture(
        figure,
        "condition number of a layer's bowl against the layer, dots are seeds: "
        + "; ".join(f"{name}: {', '.join(lines)}" for name, lines in panels.items())
        + ".",
    )


def draw_drift(drift: Drift) -> Picture:
    """Standard deviations of the layers' sums by training step."""
    with matplotlib.rc_context(STYLE):
        figure, (ax,) = _titled(270, "Standard deviation of each layer's sums, set to 1 once", 1, bottom=0.17)
        steps = torch.arange(drift.stds.shape[1])
        styles = zip((BLACK, ORANGE, GREEN, PURPLE), ("-", "--", "-.", ":"), strict=True)
        for layer, (colour, line) in enumerate(styles):
            values = drift.stds[:, :, layer]
            ax.fill_between(steps, values.amin(0), values.amax(0), color=colour, alpha=0.2, linewidth=0)
            ax.plot(steps, values.median(0).values, color=colour, linestyle=line, label=f"layer {layer + 1}")
        ax.axhline(1, color=GREY, linewidth=0.8, linestyle=":")
        ax.set_ylim(bottom=0.94)
        ax.set_xlabel("training step")
        ax.legend(loc="upper left", ncols=2)
        ax.text(
            0.98,
            0.03,
            f"line: median, band: range of {len(drift.stds)} seeds",
            transform=ax.transAxes,
            ha="right",
            fontsize=9,
        )
    return Picture(figure, "standard deviations of the sums of four layers leave 1 during training.")


def draw_gain_sweep(sweep: GainSweep) -> Picture:
    """The first layer's gradient against the gain, a panel per activation."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _titled(
            330, "The gradient of layer 1 over a tenfold range of gains", len(sweep.plain), wspace=0.08
        )
        for ax, name in zip(axes, sweep.plain, strict=True):
            ax.set(xscale="log", yscale="log", ylim=(1e-22, 1e14))
            ax.set_title(f"{name}, {sweep.depth} layers")
            ax.set_xlabel("gain of the weights")
            ax.set_xticks([0.3, 0.5, 1, 2, 3], ["0.3", "0.5", "1", "2", "3"])
            ax.minorticks_off()
            band(ax, sweep.gains, sweep.plain[name], VERMILLION, "o", "plain")
            band(ax, sweep.gains, sweep.normalized[name], BLUE, "s", "with batch normalization")
        axes[0].set_ylabel("gradient norm of layer 1")
        axes[1 if len(axes) > 1 else 0].set_yticklabels([])
        axes[-1].legend(loc="lower right")
    return Picture(
        figure,
        "gradient norms of the first layer against the gain of the weights: steep without normalization, "
        "falling gently with it.",
    )


ARM_LOOKS = {
    "plain": (VERMILLION, "o"),
    "plain, Adam": (ORANGE, "v"),
    "plain, residual": (PURPLE, "D"),
    "batch norm": (BLUE, "s"),
    "batch norm, rate ∝ gain²": (SKY, "^"),
}


def _accuracies(ax: Axes, gains: Tensor, values: Tensor, name: str, shift: float = 1.0) -> None:
    """A dot for each seed and a line through the medians, for values (G, S)."""
    colour, marker = ARM_LOOKS[name]
    for row, gain in zip(values, shift * gains, strict=True):
        ax.plot([gain] * len(row), row, marker, color=colour, markersize=3.5, alpha=0.6)
    ax.plot(shift * gains, values.median(1).values, color=colour, marker=marker, markersize=4, label=name)


def _gain_axis(ax: Axes, gains: Tensor) -> None:
    ax.set_xscale("log")
    ax.set_xticks(gains.tolist(), [f"{gain:.2g}" for gain in gains])
    ax.minorticks_off()
    ax.set(ylim=(0, 1.03), xlabel="gain of the weights")
    ax.axhline(0.1, color=GREY, linewidth=0.8, linestyle=":")


def draw_training(found: Scale) -> Picture:
    """Test accuracy against the gain, one learning rate for all."""
    with matplotlib.rc_context(STYLE):
        figure, (ax,) = _titled(
            280, "Test accuracy after 60 steps at a learning rate of 0.1", 1, bottom=0.175
        )
        gains = found.trained["plain"].gains
        for name in ("plain", "batch norm"):
            _accuracies(ax, gains, found.trained[name].at(0.1), name)
        _gain_axis(ax, gains)
        ax.set_ylabel("test accuracy")
        ax.legend(loc="upper right")
        ax.text(gains[0], 0.02, "guessing", color=GREY, va="bottom", fontsize=9)
    return Picture(
        figure,
        "test accuracy against the gain: without normalization near guessing but for one gain, with it "
        "above guessing everywhere and best at small gains.",
    )


def draw_own_rates(found: Scale) -> Picture:
    """Test accuracy against the gain, each network and gain at a learning rate of its own."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _titled(
            330, "Test accuracy after 60 steps, each gain at its own learning rate", 2, wspace=0.08
        )
        gains = found.trained["plain"].gains
        for ax, names in zip(
            axes,
            (("batch norm", "batch norm, rate ∝ gain²"), ("plain", "plain, Adam", "plain, residual")),
            strict=True,
        ):
            for number, name in enumerate(names):
                _accuracies(ax, gains, found.trained[name].own(), name, 0.98 + 0.02 * number)
            _gain_axis(ax, gains)
            ax.set_ylim(0, 1.4)
            ax.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
            ax.legend(loc="upper right")
        axes[0].set_ylabel("test accuracy")
        axes[1].set_yticklabels([])
    return Picture(
        figure,
        "test accuracy against the gain: with batch norm about 0.9 at every gain; plain networks depend on "
        "the gain with gradient descent, with Adam and with residual connections.",
    )


def draw_first_over_last(found: Scale) -> Picture:
    """First over last gradient with batch norm, against the batch size and against the depth."""
    looks = {"linear": (BLACK, "x"), "tanh": (GREEN, "^"), "ReLU": (BLUE, "s")}
    with matplotlib.rc_context(STYLE):
        figure, axes = _titled(
            300, "First over last gradient with batch norm, before training", 2, wspace=0.08, bottom=0.165
        )
        for name, (colour, marker) in looks.items():
            for ax, x, values in (
                (axes[0], BATCHES, found.batches[name, True]),
                (axes[1], DEPTHS, found.depths[name]),
            ):
                for place, row in zip(x, values, strict=True):
                    ax.plot([place] * len(row), row, marker, color=colour, markersize=3.5, alpha=0.5)
                ax.plot(x, values.median(1).values, color=colour, marker=marker, label=name)
                ax.set(yscale="log", ylim=(0.5, 2e4))
        axes[0].set(xscale="log", xlabel="batch size, 30 layers")
        axes[0].set_xticks(BATCHES, [str(batch) for batch in BATCHES])
        axes[0].minorticks_off()
        axes[1].set(xlabel="layers, batches of 64", xticks=DEPTHS)
        axes[1].set_yticklabels([])
        axes[1].legend(loc="upper left")
    return Picture(
        figure,
        "first over last gradient: about 1 in linear layers, tens with tanh, hundreds to thousands in ReLU "
        "layers, less with larger batches, growing with depth.",
    )
