"""Day 27: running statistics, the table of a layer, one image in company, a forgotten eval()."""

from __future__ import annotations

import matplotlib
import torch
from matplotlib.axes import Axes
from torch import Tensor

from course.experiments.day27 import (
    MOVED_BY,
    Company,
    ForgottenEval,
    LayerTable,
    Row,
    RunningStatistics,
)
from course.figures.shared import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    SKY,
    STYLE,
    VERMILLION,
    WIDTH,
    Picture,
    decimals,
    layers,
    new_figure,
)


class RunningStatisticsDrawing:
    """Batch means and variances as dots, the running ones as a line, the truth behind them."""

    MEAN_LIMITS = (-4.5, 8.5)
    VAR_LIMITS = (-0.5, 13)

    def __init__(self) -> None:
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(390)
            axes = self.figure.subplots(2, 1, sharex=True)
            self.figure.subplots_adjust(left=0.08, right=0.985, top=0.86, bottom=0.12, hspace=0.14)
            self.title = self.figure.text(0.012, 0.945, "", fontsize=11, fontweight="bold")
            self.mean = _Track(axes[0], "mean", self.MEAN_LIMITS, VERMILLION)
            self.var = _Track(axes[1], "variance", self.VAR_LIMITS, ORANGE)
            axes[1].set_xlabel("batches seen")
            self.band = axes[0].fill_between([0, 1], [0, 0], [0, 0], color=SKY, alpha=0.6, linewidth=0)
            self.band_text = axes[0].text(0.995, 0.04, "", transform=axes[0].transAxes, ha="right")
            self.band_text.set(color=BLUE, fontsize=9)

    def update(self, state: RunningStatistics) -> None:
        self.title.set_text(self._takeaway(state))
        self.mean.update(state.batch_mean, state.true_mean, state.running_mean)
        self.var.update(state.batch_var, state.true_var, state.running_var)
        # The band stands where the running mean has followed, if that is before the end.
        first, last = state.shift_at + state.memory, len(state.batch_mean)
        centre, half = state.true_mean[-1].item(), 2 * state.scatter
        shown = first < last
        left, right, low, high = first, last, centre - half, centre + half
        self.band.set_verts([[(left, low), (right, low), (right, high), (left, high)]])
        self.band.set_visible(shown)
        self.band_text.set_text(f"blue band: ± 2 × {state.scatter:.2f}" if shown else "")

    @staticmethod
    def _takeaway(state: RunningStatistics) -> str:
        if state.momentum is None:
            return (
                f"Plain average: every batch counts the same; a change needs {state.memory} batches "
                "to arrive by 95 %"
            )
        noun = "batch" if state.memory == 1 else "batches"
        return (
            f"momentum {state.momentum:g}: after a change, {state.memory} {noun} until 95 % of it is "
            f"in; then ± {state.scatter:.2f} of noise"
        )


class _Track:
    """One panel of `RunningStatisticsDrawing`."""

    def __init__(self, ax: Axes, name: str, limits: tuple[float, float], colour: str) -> None:
        ax.set_xlim(-2, 202)
        ax.set_ylim(*limits)
        ax.set_ylabel(name)
        (self.truth,) = ax.plot([], [], color=BLACK, linewidth=1, linestyle="--", label="of the data")
        self.truth.set_drawstyle("steps-mid")
        (self.dots,) = ax.plot([], [], ".", color=GREY, markersize=3.5, label="of each batch")
        (self.running,) = ax.plot([], [], color=colour, linewidth=2.2, label=f"running {name}")
        ax.legend(loc="upper left", ncols=3, borderaxespad=0.1)

    def update(self, batch: Tensor, truth: Tensor, running: Tensor) -> None:
        count = torch.arange(len(running))
        self.truth.set_data(count[1:].numpy(), truth.numpy())
        self.dots.set_data(count[1:].numpy(), batch.numpy())
        self.running.set_data(count.numpy(), running.numpy())


class LayerTableDrawing:
    """A row for every entry of the state dict; what moved is coloured by what moves it."""

    COLUMNS = (
        ("entry of state_dict()", 12, "left"),
        ("kind", 176, "left"),
        ("trainable", 302, "right"),
        ("non-trainable", 392, "right"),
        ("at the start", 406, "left"),
        ("now", 560, "left"),
        ("moved by", 768, "right"),
    )
    NAMES = (
        "0.weight  (linear)",
        "1.weight  (gamma)",
        "1.bias  (beta)",
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
    )
    TOP, ROW = 232, 32

    def __init__(self) -> None:
        with matplotlib.rc_context(STYLE):
            height = 330
            self.figure = new_figure(height)
            still, changing = layers(self.figure)
            self.title = changing.text(10, height - 22, "", fontsize=11, fontweight="bold", va="center")
            for label, x, side in self.COLUMNS:
                still.text(x, self.TOP + 34, label, ha=side, va="center", color=GREY, fontsize=9)
            self.cells, self.marks = [], []
            for number, (name, moved_by) in enumerate(zip(self.NAMES, MOVED_BY.values(), strict=True)):
                y = self.TOP - self.ROW * number
                still.axhline(y + self.ROW / 2, color="#DDDDDD", linewidth=0.8)
                colour = BLUE if moved_by == "gradient" else VERMILLION
                (mark,) = changing.plot(
                    [552, WIDTH - 6], [y, y], color=colour, linewidth=21, alpha=0.22, zorder=0
                )
                mark.set_solid_capstyle("butt")
                self.marks.append(mark)
                row = [
                    (changing if x >= 552 else still).text(x, y, "", ha=side, va="center", fontsize=9)
                    for _, x, side in self.COLUMNS
                ]
                row[0].set_text(name)
                self.cells.append(row)
            bold = {"va": "center", "fontweight": "bold"}
            self.counts = [changing.text(x, 40, "", ha="right", **bold) for x in (302, 392)]
            still.text(12, 40, "sum, as libraries count", **bold)
            still.axhline(56, color=GREY, linewidth=1)
            self.used = changing.text(12, 14, "", va="center")

    def update(self, state: LayerTable) -> None:
        self.title.set_text(self._takeaway(state))
        for row, cells, mark in zip(state.rows, self.cells, self.marks, strict=True):
            self._update_row(row, cells, mark)
        for text, count in zip(self.counts, state.counts, strict=True):
            text.set_text(str(count))
        if state.training:
            self.used.set_text("train(): every batch is normalized by its own mean and variance.")
        else:
            self.used.set_text("eval(): every batch is normalized by running_mean and running_var.")
        self.used.set_color(VERMILLION if state.training else BLUE)

    @staticmethod
    def _update_row(row: Row, cells: list, mark) -> None:
        by_gradient = MOVED_BY[row.name] == "gradient"
        colour = BLUE if by_gradient else VERMILLION
        mark.set_visible(row.moved)
        for cell, text in zip(
            cells[1:4], (row.kind, str(row.trainable), str(row.non_trainable)), strict=True
        ):
            cell.set_text(text)
        if row.name.endswith("num_batches_tracked"):
            cells[2].set_text("–")
            cells[3].set_text("–")
        cells[4].set_text(_numbers(row.start))
        cells[5].set_text(_numbers(row.now))
        cells[6].set_text(("gradient" if by_gradient else "the data") if row.moved else "–")
        cells[6].set_color(colour if row.moved else GREY)

    @staticmethod
    def _takeaway(state: LayerTable) -> str:
        noun = "batch" if state.batches == 1 else "batches"
        norm = [name for name in state.moved if name.startswith("1.")]
        by_gradient = any(MOVED_BY[name] == "gradient" for name in norm)
        counted = "1.num_batches_tracked" in norm
        by_data = "1.running_mean" in norm
        what = {
            (True, True): "gamma and beta follow the gradient, the statistics follow the data",
            (True, False): "gamma and beta follow the gradient, the statistics stay",
            (False, True): "gamma and beta stay, the statistics follow the data",
            (False, False): "in the batch norm, only the counter has moved"
            if counted
            else "nothing in the batch norm has moved",
        }[by_gradient, by_data]
        return f"After {state.batches} {noun}: {what}"


def _numbers(tensor: Tensor) -> str:
    """The elements of a small tensor, two decimals each; whole numbers as they are."""
    if not tensor.is_floating_point():
        return str(tensor.item())
    return " ".join(decimals(number) for number in tensor.flatten().tolist())


class CompanyDrawing:
    """An image, and the probability of every digit: alone by eval(), in company by train()."""

    def __init__(self) -> None:
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(340)
            grid = self.figure.add_gridspec(1, 2, width_ratios=(1, 3.1))
            self.figure.subplots_adjust(left=0.02, right=0.985, top=0.8, bottom=0.15, wspace=0.2)
            self.title = self.figure.text(0.012, 0.935, "", fontsize=11, fontweight="bold")
            image, bars = (self.figure.add_subplot(cell) for cell in grid)
            image.set(xticks=[], yticks=[])
            image.spines[:].set_visible(False)
            self.image = image.imshow(torch.zeros(8, 8).numpy(), cmap="gray_r", vmin=0, vmax=1)
            self.caption = image.set_xlabel("")
            bars.set_xlim(-0.6, 9.6)
            bars.set_ylim(-0.03, 1.03)
            bars.set_yticks((0, 0.25, 0.5, 0.75, 1))
            bars.set_xticks(range(10))
            bars.set_xlabel("digit")
            bars.set_ylabel("probability")
            self.truth = bars.axvspan(-0.5, 0.5, color="#EEEEEE", zorder=0)
            self.dots = bars.scatter([], [], s=16, color=VERMILLION, alpha=0.55, linewidths=0)
            self.dots.set_label("train(), one dot for each batch")
            (self.alone,) = bars.plot([], [], "_", color=BLACK, markersize=26, markeredgewidth=2.6)
            self.alone.set_label("eval(), the same in every batch")
            bars.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, borderaxespad=0.2)

    def update(self, state: Company) -> None:
        count = len(state.in_company)
        self.title.set_text(
            f"eval() says {int(state.alone.argmax())}, alone or not; train() is wrong in "
            f"{state.wrong} of {count} batches"
        )
        self.image.set_data(state.image.numpy())
        self.caption.set_text(f"the image: a {state.label}")
        self.truth.set_x(state.label - 0.5)
        # The dots of a digit lie side by side, in the order of the batches.
        places = torch.arange(10) + torch.linspace(-0.36, 0.36, count)[:, None]
        self.dots.set_offsets(torch.stack([places, state.in_company], dim=-1).reshape(-1, 2).numpy())
        self.alone.set_data(range(10), state.alone.numpy())


def draw_forgotten_eval(result: ForgottenEval) -> Picture:
    """Test loss against the size of the test batches: eval(), train() shuffled, train() by digit."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(350)
        axes = figure.subplots(1, 2, sharey=True)
        figure.subplots_adjust(left=0.08, right=0.985, top=0.79, bottom=0.15, wspace=0.06)
        figure.text(
            0.012,
            0.935,
            "Without eval() the loss depends on who sits in the batch, and the layer does not forget it",
            fontsize=11,
            fontweight="bold",
        )
        sizes, (left, right) = result.batch_sizes, axes
        left.set_title("during the evaluation in train()")
        _draw_band(left, sizes, result.by_digit, VERMILLION, "s", "train(), sorted by digit")
        _draw_band(left, sizes, result.shuffled, ORANGE, "o", "train(), shuffled")
        right.set_title("afterwards, in eval() again")
        _draw_band(right, sizes, result.after, VERMILLION, "s", "eval(), after the sorted pass")
        for ax in axes:
            constant = result.with_eval[:, None].expand(-1, len(sizes))
            _draw_band(ax, sizes, constant, BLUE, "", "eval() from the start")
            ax.set(xscale="log", yscale="log", xlabel="test images in a batch")
            ax.set_xticks(sizes.tolist(), [str(size) for size in sizes.tolist()])
            ax.minorticks_off()
            ax.legend(loc="upper right")
        left.set_ylim(0.045, 100)
        left.set_yticks((0.1, 1, 10), ("0.1", "1", "10"))
        left.set_ylabel("cross entropy on the test images")
        right.text(
            0.98,
            0.6,
            f"{len(result.with_eval)} seeds: line = mean, band = min to max",
            transform=right.transAxes,
            ha="right",
            fontsize=9,
        )
    return Picture(
        figure,
        "test loss against batch size: low in eval mode; in train mode it falls towards that with "
        "large shuffled batches and is many times as high where a batch holds one digit only.",
    )


def _draw_band(ax: Axes, x: Tensor, values: Tensor, colour: str, marker: str, label: str) -> None:
    """Mean over the first axis as a line, least to greatest as a band."""
    ax.fill_between(x, values.amin(0), values.amax(0), color=colour, alpha=0.3, linewidth=0)
    ax.plot(x, values.mean(0), color=colour, marker=marker, markersize=4, linewidth=1.4, label=label)
