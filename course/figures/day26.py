"""Day 26: the five steps, a moved sample, the graph backwards, the circle, the scale of the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import MultipleLocator

from course.experiments.day26 import (
    BackwardGraph,
    FiveSteps,
    Growth,
    MovedSample,
    Node,
    OnCircle,
    ScaleInvariance,
    ScaleOfWeights,
)
from course.figures.shared import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SKY,
    STYLE,
    VERMILLION,
    WIDTH,
    Picture,
    decimals,
    new_figure,
    seed_lines,
)


@dataclass(frozen=True, eq=False)
class StepFrame:
    """What `FiveStepsDrawing` shows: a batch, as far as step 0 (input) to 5 (scale and shift)."""

    step: int
    batch: FiveSteps


class FiveStepsDrawing:
    """Two features side by side; a row each for x, centred, x_hat and y; a line per sample."""

    ROWS = ("x", "x − mean", "x_hat", "y")
    # The row that a step adds; the mean and the variance are marks on a row that is there.
    LAST_ROW = (0, 0, 1, 1, 2, 3)
    LIMITS = (-6.5, 13)

    def __init__(self) -> None:
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(370)
            axes = self.figure.subplots(1, 2, sharey=True)
            self.figure.subplots_adjust(left=0.1, right=0.985, top=0.83, bottom=0.135, wspace=0.05)
            self.title = self.figure.text(0.012, 0.935, "", fontsize=11, fontweight="bold")
            self.features = [
                _FeatureRows(ax, number, self.ROWS, self.LIMITS) for number, ax in enumerate(axes)
            ]

    def update(self, state: StepFrame) -> None:
        self.title.set_text(self._takeaway(state))
        for number, feature in enumerate(self.features):
            feature.update(state, number, self.LAST_ROW[state.step])

    @staticmethod
    def _takeaway(frame: StepFrame) -> str:
        batch = frame.batch
        mean, var, x_hat_std, y_mean, y_std = (
            " and ".join(map(decimals, pair.tolist()))
            for pair in (batch.mean, batch.var, batch.x_hat_std, batch.y_mean, batch.y_std)
        )
        num_samples, num_features = batch.x.shape
        return (
            f"Input: a batch of N = {num_samples} samples, D = {num_features} features",
            f"Step 1: the mean of each feature over the batch: {mean}",
            "Step 2: subtract the mean; both features now have mean 0",
            f"Step 3: the variance, the mean of the squares: {var}",
            f"Step 4: divide by sqrt(var + eps); x_hat has standard deviation {x_hat_std}",
            f"Step 5: scale and shift; y has mean {y_mean}, standard deviation {y_std}",
        )[frame.step]


class _FeatureRows:
    """One panel of `FiveStepsDrawing`."""

    def __init__(self, ax: Axes, number: int, rows: tuple[str, ...], limits: tuple[float, float]) -> None:
        ax.set_xlim(*limits)
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_yticks(range(len(rows)), rows)
        ax.xaxis.set_major_locator(MultipleLocator(5))
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
        for row in range(len(rows)):
            ax.axhline(row, color="#DDDDDD", linewidth=1, zorder=0)
        ax.set_xlabel("value")
        ax.set_title(f"feature {number}", pad=4)
        self.trails = LineCollection([], colors=SKY, linewidths=0.9, alpha=0.7, zorder=1)
        ax.add_collection(self.trails, autolim=False)
        self.dots = ax.scatter([], [], s=34, color=BLUE, edgecolors="white", linewidths=0.6)
        self.dots.set_zorder(4)
        (self.mean,) = ax.plot([], [], color=VERMILLION, linewidth=2.5, zorder=3)
        (self.spread,) = ax.plot(
            [], [], color=ORANGE, linewidth=15, alpha=0.6, solid_capstyle="butt", zorder=2
        )
        self.mean_text = ax.text(0, -0.32, "", color=VERMILLION, ha="center", va="center")
        self.spread_text = ax.text(6, 0.8, "", color="#8A5A00", va="center", ha="left")

    def update(self, frame: StepFrame, number: int, last_row: int) -> None:
        batch = frame.batch
        columns = [t[:, number] for t in (batch.x, batch.centred, batch.x_hat, batch.y)]
        shown = torch.stack(columns[: last_row + 1])  # (rows, N)
        heights = torch.arange(last_row + 1, dtype=shown.dtype)[:, None].expand_as(shown)
        points = torch.stack([shown, heights], dim=-1)  # (rows, N, 2)
        self.dots.set_offsets(points.reshape(-1, 2).numpy())
        self.trails.set_segments(points.transpose(0, 1).numpy())

        mean, std = batch.mean[number].item(), batch.var[number].sqrt().item()
        has_mean, has_var = frame.step >= 1, frame.step >= 3
        self.mean.set_data([mean, mean] if has_mean else [], [-0.2, 0.2] if has_mean else [])
        self.mean_text.set_text("mean" if has_mean else "")
        self.mean_text.set_x(mean)
        self.spread.set_data([-std, std] if has_var else [], [1, 1] if has_var else [])
        self.spread_text.set_text("± sqrt(var)" if has_var else "")


class MovedSampleDrawing:
    """The inputs above, the outputs below, and a line from where every output was before."""

    def __init__(self) -> None:
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(370)
            top, bottom = self.figure.subplots(2, 1)
            self.figure.subplots_adjust(left=0.02, right=0.98, top=0.86, bottom=0.13, hspace=0.75)
            self.title = self.figure.text(0.012, 0.94, "", fontsize=11, fontweight="bold")

            top.set_xlim(-11, 21)
            top.set_xlabel("input x")
            bottom.set_xlim(-6, 6)
            bottom.set_xlabel("output y = x_hat (gamma = 1, beta = 0)")
            top.axhline(0, color="#DDDDDD", linewidth=1, zorder=0)
            for ax in (top, bottom):
                ax.set_ylim(-1, 1)
                ax.set_yticks([])
                ax.spines["left"].set_visible(False)

            (self.spread,) = top.plot(
                [], [], color=ORANGE, linewidth=12, alpha=0.6, solid_capstyle="butt", zorder=1
            )
            (self.mean,) = top.plot([], [], color=VERMILLION, linewidth=2.5, zorder=2)
            self.statistics = top.text(
                1, 0.98, "", transform=top.transAxes, ha="right", va="top", color=VERMILLION
            )
            self.inputs = top.scatter([], [], s=34, color=BLUE, edgecolors="white", zorder=3)
            self.dragged_input = top.scatter([], [], s=90, marker="D", color=BLACK, zorder=4)
            self.trails = LineCollection([], colors=SKY, linewidths=1.5, zorder=1)
            bottom.add_collection(self.trails, autolim=False)
            self.starts = bottom.scatter([], [], s=34, facecolors="white", edgecolors=GREY, zorder=2)
            self.outputs = bottom.scatter([], [], s=34, color=BLUE, edgecolors="white", zorder=3)
            self.dragged_output = bottom.scatter([], [], s=90, marker="D", color=BLACK, zorder=4)
            self.dragged_text = bottom.text(0, 0.5, "", ha="center", va="center")
            bottom.text(
                1,
                0.98,
                "hollow: the outputs before the drag",
                transform=bottom.transAxes,
                ha="right",
                va="top",
                color=GREY,
                fontsize=9,
            )

    def update(self, state: MovedSample) -> None:
        after, before, index = state.after, state.before, state.index
        others = [row for row in range(len(after.x)) if row != index]
        self.title.set_text(
            f"Outputs of samples that were not dragged have moved by up to {state.largest_move_of_others:.2f}"
        )
        mean, std = after.mean.item(), after.var.sqrt().item()
        self.mean.set_data([mean, mean], [-0.5, 0.5])
        self.spread.set_data([mean - std, mean + std], [0, 0])
        self.statistics.set_text(f"mean {decimals(mean)}, variance {decimals(after.var.item())}")
        self.inputs.set_offsets(_on_line(after.x[others]))
        self.dragged_input.set_offsets(_on_line(after.x[[index]]))

        # The two rows lie a little apart, so that a start and an end are both seen.
        starts, ends = _on_line(before.y, 0.3), _on_line(after.y, -0.3)
        self.trails.set_segments(list(zip(starts, ends, strict=True)))
        self.starts.set_offsets(starts)
        self.outputs.set_offsets(ends[others])
        self.dragged_output.set_offsets(ends[[index]])
        self.dragged_text.set_position((state.output, -0.8))
        self.dragged_text.set_text(decimals(state.output))


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


class CircleDrawing:
    """Three samples in the plane of columns that sum to 0: x_hat on its circle, dy and dx as arrows."""

    REACH = 2.6

    def __init__(self) -> None:
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(380)
            ax = self.figure.add_axes((0.01, 0.02, 0.98, 0.88))
            self.title = self.figure.text(0.012, 0.94, "", fontsize=11, fontweight="bold")
            ax.set_xlim(-self.REACH, 3.6 * self.REACH)
            ax.set_ylim(-self.REACH, self.REACH)
            ax.set_aspect("equal")
            ax.axis("off")
            around = torch.linspace(0, 2 * math.pi, 200)
            ax.plot(math.sqrt(3) * around.cos(), math.sqrt(3) * around.sin(), color=GREY, linewidth=1)
            ax.plot([0], [0], "+", color=GREY)
            (self.ray,) = ax.plot([], [], ":", color=GREY, linewidth=1)
            (self.centred,) = ax.plot([], [], "o", color=GREY, markersize=7, label="centred x")
            (self.x_hat,) = ax.plot([], [], "o", color=BLACK, markersize=8, label="x_hat, on the circle")
            (self.dy,) = ax.plot([], [], color=ORANGE, linewidth=3, label="dy, drawn from x_hat")
            (self.dx,) = ax.plot([], [], color=BLUE, linewidth=3, label="dx · std, drawn from x_hat")
            (self.lost,) = ax.plot(
                [], [], "--", color=GREEN, linewidth=1.5, label="what the variance takes away"
            )
            ax.legend(loc="center right")

    def update(self, state: OnCircle) -> None:
        self.title.set_text(f"Of this dy, {state.passed:.2f} of its length passes")
        start = state.x_hat
        std = state.centred.norm() / math.sqrt(3)
        dy, dx = start + 1.5 * state.dy, start + 1.5 * std * state.dx
        self.ray.set_data(*_ends(torch.zeros(2, dtype=start.dtype), state.centred))
        self.centred.set_data(state.centred[:1], state.centred[1:])
        self.x_hat.set_data(start[:1], start[1:])
        self.dy.set_data(*_ends(start, dy))
        self.dx.set_data(*_ends(start, dx))
        self.lost.set_data(*_ends(dx, dy))


def _ends(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Two places (2,) as the coordinates (2, 2) of a line between them."""
    return torch.stack([first, second], dim=1)


def _on_line(values: torch.Tensor, height: float = 0.0):
    """(N, 1) values as (N, 2) points at one height."""
    return torch.cat([values, torch.full_like(values, height)], dim=1).numpy()
