"""Day 26: the graph backwards, the scale of the weights, and how far they grow."""

from __future__ import annotations

import math

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from course.experiments.day26 import (
    BackwardGraph,
    Growth,
    Node,
    ScaleInvariance,
    ScaleOfWeights,
)
from course.figures.shared import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    STYLE,
    VERMILLION,
    WIDTH,
    Picture,
    decimals,
    new_figure,
    seed_lines,
)


def draw_backward_graph(graph: BackwardGraph, feature: int = 0) -> Picture:
    """The computational graph of one feature: values forward, gradients back.

    Args:
        graph: values and gradients of every node, of a small batch (N about 4).
        feature: which of the D features is drawn.
    """
    with matplotlib.rc_context(STYLE):
        figure = new_figure(400)
        ax = figure.add_axes((0, 0, 1, 1))
        # The axes are measured in CSS pixels, with the origin at the lower left.
        ax.set(xlim=(0, WIDTH), ylim=(0, 400))
        ax.axis("off")
        ax.text(
            10,
            382,
            "Every x reaches every y through mean and var, so every dy reaches every dx",
            fontsize=11,
            fontweight="bold",
            va="center",
        )
        ax.text(10, 358, "values, computed left to right", color=BLUE, va="center")
        ax.text(230, 358, "gradients of the loss, computed right to left", color=VERMILLION, va="center")

        top, middle, low = 280, 140, 42
        columns = (72, 282, 492, 702)
        for name, at in zip(("x", "centred", "x_hat", "y"), columns, strict=True):
            _draw_node(ax, name, getattr(graph, name), feature, (at, top))
        for name, at in (
            ("mean", (120, middle)),
            ("var", (282, middle)),
            ("inv_std", (387, low)),
            ("gamma", (545, middle)),
            ("beta", (648, low)),
        ):
            _draw_node(ax, name, getattr(graph, name), feature, at)
        minus, times, scale, shift = (177, top), (387, top), (575, top), (617, top)
        for at, sign in ((minus, "−"), (times, "×"), (scale, "×"), (shift, "+")):
            ax.plot(*at, marker="o", markersize=17, color="white", markeredgecolor=BLACK, zorder=3)
            ax.text(*at, sign, ha="center", va="center_baseline", fontsize=12, zorder=4)
        for start, end in (
            ((129, top), (164, top)),  # x to minus
            ((190, top), (225, top)),  # minus to centred
            ((339, top), (374, top)),  # centred to times
            ((400, top), (435, top)),  # times to x_hat
            ((549, top), (562, top)),  # x_hat to scale
            ((588, top), (604, top)),  # scale to shift
            ((630, top), (645, top)),  # shift to y
            ((120, 227), (120, 167)),  # x to mean
            ((152, 167), (171, 266)),  # mean to minus
            ((282, 227), (282, 167)),  # centred to var
            ((282, 114), (332, 56)),  # var to inv_std
            ((387, 69), (387, 266)),  # inv_std to times
            ((575, 167), (575, 266)),  # gamma to scale
            ((640, 69), (619, 266)),  # beta to shift
        ):
            _draw_edge(ax, start, end)
        for at, formula in (
            ((52, 197), "average"),
            ((296, 197), "average of\nsquares"),
            ((180, 78), "1 / sqrt(var + eps)"),
        ):
            ax.text(*at, formula, color=GREY, fontsize=9, va="center")
    return Picture(
        figure,
        "the computational graph of batch normalization, with the value and the gradient of every "
        "node; gradients flow from y to x directly and through var and mean.",
    )


def _draw_node(ax: Axes, name: str, node: Node, feature: int, centre: tuple[float, float]) -> None:
    """A box with a name, a column of values and a column of gradients."""
    values, grads = (
        [decimals(number) for number in tensor[..., feature].reshape(-1).tolist()]
        for tensor in (node.value, node.grad)
    )
    x, y = centre
    width, height = (112 if len(values) > 1 else 106), 26 + 24 + 18 * (len(values) - 1)
    ax.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=6",
            facecolor="white",
            edgecolor=GREY,
            zorder=2,
        )
    )
    ax.text(x, y + height / 2 - 14, name, ha="center", va="center", fontweight="bold", zorder=3)
    for row, (value, grad) in enumerate(zip(values, grads, strict=True)):
        line = y + height / 2 - 36 - 18 * row
        ax.text(x - 4, line, value, ha="right", va="center", color=BLUE, zorder=3)
        ax.text(x + width / 2 - 6, line, grad, ha="right", va="center", color=VERMILLION, zorder=3)


def _draw_edge(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """A blue arrow forward and, beside it, a vermillion arrow back."""
    (x0, y0), (x1, y1) = start, end
    length = math.hypot(x1 - x0, y1 - y0)
    aside_x, aside_y = -3.5 * (y1 - y0) / length, 3.5 * (x1 - x0) / length
    for tail, head, colour in (
        ((x0 + aside_x, y0 + aside_y), (x1 + aside_x, y1 + aside_y), BLUE),
        ((x1 - aside_x, y1 - aside_y), (x0 - aside_x, y0 - aside_y), VERMILLION),
    ):
        ax.add_patch(
            FancyArrowPatch(
                tail,
                head,
                arrowstyle="-|>",
                mutation_scale=8,
                color=colour,
                linewidth=1.1,
                shrinkA=0,
                shrinkB=0,
                zorder=1,
            )
        )


def draw_scale_invariance(with_eps: ScaleInvariance, without_eps: ScaleInvariance, eps: float) -> Picture:
    """Sizes of the output and of both gradients against the scale of the weights."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(300)
        axes = figure.subplots(1, 3, sharey=True)
        figure.subplots_adjust(left=0.075, right=0.985, top=0.85, bottom=0.17, wspace=0.08)
        panels = (
            ("output_ratio", "the output"),
            ("gradient_ratio", "a · the gradient in the weights"),
            ("input_ratio", "the gradient in the input"),
        )
        for ax, (name, title) in zip(axes, panels, strict=True):
            ax.set(xscale="log", title=title, xlabel="scale a of the weights")
            ax.axhline(1, color=GREY, linewidth=1, linestyle=":")
            for result, colour, marker, label in (
                (without_eps, ORANGE, "s", "eps = 0"),
                (with_eps, BLUE, "o", f"eps = {eps:g}"),
            ):
                seed_lines(ax, result.scales, getattr(result, name), colour, label, marker)
        axes[0].set_ylim(-0.05, 1.3)
        axes[0].set_ylabel("size over that at a = 1")
        axes[2].legend(loc="lower right")
    return Picture(
        figure,
        "the ratios of outputs and of both gradients against the scale of the weights: 1 at every scale "
        "without eps, falling to 0 at small scales with eps.",
    )


def draw_room(measured: ScaleOfWeights) -> Picture:
    """The gradient's ratio against a, and against a² var / eps, for pixels of two brightnesses."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(300, 620)
        left, right = figure.subplots(1, 2, sharey=True)
        figure.subplots_adjust(left=0.1, right=0.985, top=0.85, bottom=0.17, wspace=0.08)
        for result, colour, marker, label in (
            (measured.with_eps, BLUE, "o", "pixels up to 1"),
            (measured.brighter, VERMILLION, "s", "pixels up to 16"),
        ):
            ratios = result.gradient_ratio
            seed_lines(left, result.scales, ratios, colour, label, marker)
            seed_lines(right, result.room, ratios, colour, label, marker)
        left.set(xscale="log", title="against the scale", xlabel="scale a of the weights")
        left.set_ylabel("a · gradient, over that at a = 1")
        right.set(xscale="log", title="against the room that eps has", xlabel="a² · var / eps")
        right.legend(loc="lower right")
    return Picture(
        figure,
        "against a, where the gradient falls away depends on how bright the pixels are; against a² var / eps "
        "the two curves are one.",
    )


def draw_growth(runs: dict[str, Growth]) -> Picture:
    """Growth of the hidden weights and last loss of each net against its learning rate, seeds as dots."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(360)
        left, right = figure.subplots(1, 2)
        figure.subplots_adjust(left=0.085, right=0.985, top=0.76, bottom=0.15, wspace=0.22)
        styles = (
            (ORANGE, "o", "-"),
            (BLUE, "o", "-"),
            (ORANGE, "s", "--"),
            (BLUE, "s", "--"),
            (GREEN, "s", "--"),
        )
        for (name, run), (colour, marker, line) in zip(runs.items(), styles, strict=True):
            for ax, values in ((left, run.growth), (right, run.loss)):
                values = torch.where(values.isfinite(), values, torch.nan)
                seed_lines(ax, run.rates, values.T, colour, name, marker, line)
        left.set(xscale="log", yscale="log", ylim=(0.8, 2e5), title="growth of the hidden weights")
        left.set(xlabel="learning rate", ylabel="‖W‖ after / before")
        right.set(xscale="log", yscale="log", title="training loss at the end", xlabel="learning rate")
        right.set(ylabel="cross entropy", ylim=(1e-3, 5))
        figure.legend(*left.get_legend_handles_labels(), loc="upper center", ncols=3)
    return Picture(
        figure,
        "growth of the hidden weights in training, and the last loss, against the learning rate, of plain "
        "nets and batch norm from a = 1 and a = 0.01, and for batch norm with the rate times a².",
    )
