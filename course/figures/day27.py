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
    Trace,
    WhoseStatistics,
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
    dots,
    layers,
    new_figure,
    seed_lines,
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
        figure = new_figure(330, 560)
        ax = figure.subplots()
        figure.subplots_adjust(left=0.12, right=0.985, top=0.84, bottom=0.15)
        seeds = len(result.with_eval)
        ax.set_title(
            f"How test loss depends on the test batch\n{seeds} seeds as dots, line at the median", pad=10
        )
        sizes = result.batch_sizes
        for values, colour, label in (
            (result.by_digit, VERMILLION, "train(), sorted by digit"),
            (result.shuffled, ORANGE, "train(), shuffled"),
            (result.with_eval[:, None].expand(-1, len(sizes)), BLUE, "eval()"),
        ):
            seed_lines(ax, sizes, values, colour, label)
        ax.set(xscale="log", yscale="log", xlabel="test images in a batch, N")
        ax.set_xticks(sizes.tolist(), [str(size) for size in sizes.tolist()])
        ax.minorticks_off()
        ax.set_ylim(0.04, 60)
        ax.set_yticks((0.1, 1, 10), ("0.1", "1", "10"))
        ax.set_ylabel("cross entropy on the test images")
        ax.legend(loc="upper right", ncols=2)
    return Picture(
        figure,
        "test loss against batch size: low in eval mode; in train mode it falls towards that with "
        "large shuffled batches and is many times as high where a batch holds one digit only.",
    )


def draw_controls(measured: WhoseStatistics) -> Picture:
    """Accuracy by which statistic comes from the batch, by training batch size, and in other light."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(330)
        left, middle, right = figure.subplots(1, 3, sharey=True, width_ratios=(1.15, 1, 1.2))
        figure.subplots_adjust(left=0.075, right=0.985, top=0.8, bottom=0.2, wspace=0.08)
        dots(left, {name.replace("the ", ""): values for name, values in measured.sources.items()})
        left.set_title("taken from the batch\n(sorted, N = 4)")
        left.set_ylabel("accuracy on the test images, %")
        trained, colours = {}, {}
        for size, run in measured.trainings.items():
            trained |= {
                f"{size}, shuffled": run.accuracy_shuffled[:, 0],
                f"{size}, sorted": run.accuracy_by_digit[:, 0],
            }
            colours |= {f"{size}, shuffled": ORANGE, f"{size}, sorted": VERMILLION}
        dots(middle, trained, colours)
        middle.set_xticks([0.5 + 2 * place for place in range(len(measured.trainings))], measured.trainings)
        middle.set_title("trained in batches of …\n(N = 4)")
        middle.text(0.03, 0.62, "shuffled", color=ORANGE, transform=middle.transAxes)
        middle.text(0.03, 0.2, "sorted", color=VERMILLION, transform=middle.transAxes)
        light = measured.light
        for values, colour, style, label in (
            (light.stored, BLUE, "-", "stored"),
            (light.batch, ORANGE, "-", "of the batch"),
            (light.stored_mixed, BLUE, "--", "stored, each image its own"),
            (light.mixed, ORANGE, "--", "batch, each image its own"),
        ):
            seed_lines(right, light.brighter, values, colour, label, style=style)
        right.set_title("test images brighter\n(shuffled, N = 100)")
        right.set_xlabel("added to every pixel")
        right.legend(loc="lower left", title="statistics")
        right.set_ylim(0, 103)
    return Picture(
        figure,
        "accuracy in three controls: from a sorted batch the mean alone does harm; nets trained in batches "
        "of 8, 64, 256 suffer alike; on brighter images the batch's statistics do better than the stored.",
    )


def draw_trace(trace: Trace) -> Picture:
    """The loss after a pass in training mode over that before, against N / m."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(330)
        axes = figure.subplots(1, 2, sharey=True)
        figure.subplots_adjust(left=0.08, right=0.985, top=0.84, bottom=0.16, wspace=0.06)
        colours = (SKY, GREEN, ORANGE, VERMILLION)
        for ax, values, title in (
            (axes[0], trace.by_digit, "after a pass sorted by digit"),
            (axes[1], trace.shuffled, "after a shuffled pass"),
        ):
            ax.axhline(1, color=GREY, linewidth=1)
            for place, (momentum, colour) in enumerate(zip(trace.momenta.tolist(), colours, strict=True)):
                x, y = trace.remembered[:, place], values[:, :, place]
                seed_lines(ax, x, y, colour, f"m = {momentum:g}")
            ax.set(xscale="log", yscale="log", title=title, xlabel="N / m, images")
        axes[0].set_ylabel("eval() loss after / before the pass")
        axes[0].set_yticks((1, 2, 5, 10, 20), ("1", "2", "5", "10", "20"))
        axes[0].minorticks_off()
        axes[1].legend(loc="upper right", title="momentum of the pass")
    return Picture(
        figure,
        "how much a pass over the test images in training mode raises the loss with eval(), against N / m: "
        "the curves of four momenta fall onto one, from sixteen times to none.",
    )
