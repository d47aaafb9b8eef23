"""Day 28: one channel, the sweep of learning rates, folding, new statistics for new data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import torch
from matplotlib.axes import Axes
from torch import Tensor

from course.experiments.day28 import (
    FILTERS,
    ChannelView,
    EarlyStatistics,
    Folding,
    NewData,
    Places,
    Speed,
    Sweep,
)
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

#: How each kind of network is named and drawn.
KINDS = {
    "none": ("no batch norm", VERMILLION, "s"),
    "before": ("batch norm", BLUE, "o"),
}


class ChannelDrawing:
    """The maps of one channel, and how their values are spread before and after."""

    MAPS = 8
    BINS = 40
    RANGES = ((-4.5, 4.5), (-4.5, 4.5))

    def __init__(self) -> None:
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(390)
            self.title = self.figure.text(0.012, 0.945, "", fontsize=11, fontweight="bold")
            grid = self.figure.add_gridspec(
                2, 2, width_ratios=(0.72, 1.3), left=0.015, right=0.985, top=0.84, bottom=0.12
            )
            grid.update(hspace=0.5, wspace=0.12)
            self.mosaics, self.histograms, self.marks = [], [], []
            labels = ("what the convolution gives", "the same, normalized")
            for row, label in enumerate(labels):
                ax = self.figure.add_subplot(grid[row, 0])
                ax.set(xticks=[], yticks=[])
                ax.spines[:].set_visible(False)
                ax.set_title(label, color=GREY, fontsize=9.5)
                ax.set_anchor("W")
                shown = torch.zeros(17, 35).numpy()
                self.mosaics.append(ax.imshow(shown, cmap="PuOr", vmin=-3, vmax=3))
                ax = self.figure.add_subplot(grid[row, 1])
                ax.set_xlim(*self.RANGES[row])
                ax.set_ylim(0, 1.08)
                ax.set_yticks([])
                ax.spines["left"].set_visible(False)
                edges = torch.linspace(*self.RANGES[row], self.BINS + 1).tolist()
                self.histograms.append(ax.stairs([0] * self.BINS, edges, fill=True, color=SKY))
                (mark,) = ax.plot([], [], "|", color=VERMILLION, markersize=20, markeredgewidth=2)
                self.marks.append(mark)
            self.figure.axes[1].set_xlabel("value (red: every mean)")
            self.figure.axes[3].set_xlabel("normalized value")

    def update(self, state: ChannelView) -> None:
        means = state.mean.numel()
        number = "one mean" if means == 1 else f"{means} means"
        each = "" if means == 1 else f", {state.values_per_mean} to each"
        self.title.set_text(
            f'Channel {state.channel}, "{list(FILTERS)[state.channel]}": {number} for '
            f"{state.x.numel()} values{each}"
        )
        for maps, mosaic, histogram in zip(
            (state.x, state.x_hat), self.mosaics, self.histograms, strict=True
        ):
            mosaic.set_data(self._arrange(maps).numpy())
            low, high = histogram.get_data().edges[[0, -1]]
            # What lies beyond an edge is counted in the last bin.
            counts = maps.clamp(low, high).histc(self.BINS, low, high)
            histogram.set_data((counts / counts.max()).numpy())
        self.marks[0].set_data(state.mean.flatten().numpy(), [0.06] * means)
        self.marks[1].set_data([0], [0.06])

    @classmethod
    def _arrange(cls, maps: Tensor) -> Tensor:
        """Up to eight maps (N, 8, 8) in two rows of four, with nan (white) between them."""
        sheet = torch.full((17, 35), float("nan"), dtype=maps.dtype)
        for number, one in enumerate(maps[: cls.MAPS]):
            top, left = 9 * (number // 4), 9 * (number % 4)
            sheet[top : top + 8, left : left + 8] = one
        return sheet


@dataclass(frozen=True, eq=False)
class SweepFrame:
    """What `SweepDrawing` shows: the sweeps of all kinds, and which learning rate is looked at."""

    sweeps: tuple[Sweep, ...]
    index: int
    shown: tuple[str, ...]


class SweepDrawing:
    """Left the final loss against the learning rate, right the training at one of them."""

    def __init__(self, sweeps: tuple[Sweep, ...]) -> None:
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(370)
            left, right = self.figure.subplots(1, 2)
            self.figure.subplots_adjust(left=0.075, right=0.985, top=0.82, bottom=0.14, wspace=0.2)
            self.title = self.figure.text(0.012, 0.94, "", fontsize=11, fontweight="bold")
            self.lines = draw_final_losses(left, sweeps, tuple(KINDS[sweep.kind] for sweep in sweeps))
            left.set_title("after 50 steps")
            self.cursor = left.axvline(1, color=BLACK, linewidth=1, linestyle=":")
            right.set_title("on the way, at the chosen rate")
            right.set_xlim(0, sweeps[0].losses.shape[-1])
            right.set_ylim(0.02, 20)
            right.set_yscale("log")
            right.set_yticks((0.1, 1, 10), ("0.1", "1", "10"))
            right.set_xlabel("step")
            right.set_ylabel("training loss")
            self.curves = {
                sweep.kind: [
                    right.plot([], [], color=KINDS[sweep.kind][1], linewidth=0.9, alpha=0.8)[0]
                    for _ in range(sweep.losses.shape[1])
                ]
                for sweep in sweeps
            }
            right.text(0.98, 0.96, "a line for each seed", transform=right.transAxes, ha="right", va="top")

    def update(self, state: SweepFrame) -> None:
        rate = state.sweeps[0].lrs[state.index].item()
        parts = []
        for sweep in state.sweeps:
            visible = sweep.kind in state.shown
            for artist in self.lines[sweep.kind]:
                artist.set_visible(visible)
            losses = sweep.losses[state.index].nan_to_num(nan=torch.inf, posinf=torch.inf).clamp(max=1e3)
            for curve, loss in zip(self.curves[sweep.kind], losses, strict=True):
                curve.set_visible(visible)
                curve.set_data(range(1, len(loss) + 1), loss.numpy())
            if visible:
                count = int((sweep.final[state.index] < 1).sum())
                name = "without" if sweep.kind == "none" else "with"
                parts.append(f"{name} {count}/{len(losses)}")
        self.cursor.set_xdata([rate, rate])
        self.title.set_text(f"Learning rate {rate:g}, seeds whose loss ends below 1: " + ", ".join(parts))


def draw_final_losses(
    ax: Axes, sweeps: tuple[Sweep, ...], looks: tuple[tuple[str, str, str], ...]
) -> dict[str, list]:
    """Final training loss against the learning rate, mean and range over seeds; artists by kind.

    `looks` holds label, colour and marker of each sweep.
    """
    artists = {}
    for sweep, (label, colour, marker) in zip(sweeps, looks, strict=True):
        rates, final = sweep.lrs.numpy(), sweep.final.clamp(max=30).numpy()
        band = ax.fill_between(rates, final.min(1), final.max(1), color=colour, alpha=0.25, linewidth=0)
        (line,) = ax.plot(
            rates, final.mean(1), color=colour, marker=marker, markersize=4.5, linewidth=1.4, label=label
        )
        artists[sweep.kind] = [band, line]
    ax.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="final training loss")
    ax.set_ylim(0.02, 20)
    ax.set_yticks((0.1, 1, 10), ("0.1", "1", "10"))
    ax.set_xticks(sweeps[0].lrs.tolist(), [f"{rate:g}" for rate in sweeps[0].lrs.tolist()])
    ax.minorticks_off()
    ax.legend(loc="upper left")
    return artists


#: How the arms of the claim on speed are drawn.
ARMS = {
    "none": ("no batch norm, raw pixels", VERMILLION, "s"),
    "standardized": ("inputs standardized", ORANGE, "D"),
    "scaled once": ("and layers scaled once", PURPLE, "v"),
    "batch norm": ("batch norm", BLUE, "o"),
}


def draw_controls(speed: Speed) -> Picture:
    """Left final losses against the rate for ever better plain nets; right what limits the rate."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(370)
        figure.text(
            0.012, 0.94, "Five seeds: lines are means, bands and dots all seeds", fontsize=11, weight="bold"
        )
        left = figure.add_axes((0.075, 0.14, 0.50, 0.70))
        draw_final_losses(left, tuple(speed.sweeps[name] for name in ARMS), tuple(ARMS.values()))
        left.legend(loc="upper left", fontsize=8)
        left.set_title("each net without batch norm better prepared than the last", fontsize=9.5)
        right = figure.add_axes((0.66, 0.14, 0.33, 0.70))
        arms = {
            "no norm,\nclipped,\nrate 1": speed.at("clipped", 1.0),
            "norm,\nrate 3": speed.at("batch norm", 3.0),
            "norm, last\nheld,\nrate 3": speed.at("BN, last held", 3.0),
            "norm, last\nheld,\nrate 10": speed.at("BN, last held", 10.0),
        }
        colours = dict(zip(arms, (ORANGE, BLUE, SKY, SKY), strict=True))
        dots(right, {name: loss.clamp(max=10) for name, loss in arms.items()}, colours)
        right.set(yscale="log", ylim=(0.05, 10))
        right.set_yticks((0.1, 1, 10), ("0.1", "1", "10"))
        right.tick_params(axis="x", labelsize=7.5)
        right.minorticks_off()
        right.axhline(math.log(10), color=GREY, linewidth=1, linestyle=":")
        right.text(-0.5, 2.6, "guessing", color=GREY, fontsize=8)
        right.set_title("what limits the rate", fontsize=9.5)
    return Picture(
        figure,
        "final training loss against the learning rate for four nets, and at large rates with clipped "
        "gradients or with the last layer held at a small rate.",
    )


def draw_steps(speed: Speed, ratio: float) -> Picture:
    """Steps to a loss of 0.5 at one shared rate, at each arm's own best, and the latter in time.

    `ratio` is how many times as long a step with batch norm takes.
    """
    with matplotlib.rc_context(STYLE):
        figure = new_figure(330)
        figure.text(
            0.012, 0.93, "How long until a training loss of 0.5? A dot a seed", fontsize=11, weight="bold"
        )
        names = {
            "none": "none",
            "standardized": "inputs\nstand.",
            "scaled once": "scaled\nonce",
            "batch norm": "batch\nnorm",
        }
        panels = (
            ("all at rate 0.1, in steps", {name: speed.steps(name, 0.1) for name in names}),
            ("each at its best rate, in steps", {name: speed.steps(name) for name in names}),
            (
                "the same, in time of a plain step",
                {name: speed.steps(name) * (ratio if name == "batch norm" else 1) for name in names},
            ),
        )
        colours = {label: ARMS[name][1] for name, label in names.items()}
        for place, (title, arms) in enumerate(panels):
            ax = figure.add_axes((0.06 + 0.325 * place, 0.16, 0.275, 0.66))
            dots(ax, {names[name]: steps for name, steps in arms.items()}, colours, never=58)
            ax.set(ylim=(0, 61))
            ax.set_title(title, fontsize=9.5)
            ax.tick_params(axis="x", labelsize=8)
        figure.text(0.99, 0.935, "hollow: not within 50 steps", ha="right", fontsize=8, color=GREY)
    return Picture(
        figure,
        "steps to a training loss of 0.5 for four nets: at one shared rate, at each one's best rate, and "
        "the same in seconds.",
    )


def draw_places(places: Places, names: Sequence[str]) -> Picture:
    """Final losses over those of all before, for some orders, a panel for each rate."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(320)
        figure.text(
            0.012, 0.93, 'Final training loss over that of "before", a dot a seed', fontsize=11, weight="bold"
        )
        colours = dict(zip(names, (GREEN, SKY, PURPLE, ORANGE, VERMILLION), strict=False))
        for panel, rate in enumerate(places.sweeps["before"].lrs.tolist()):
            ax = figure.add_axes((0.07 + 0.49 * panel, 0.24, 0.42, 0.58))
            arms = {name.replace(", ", ",\n"): places.ratio(name)[panel] for name in names}
            dots(ax, arms, {name.replace(", ", ",\n"): colour for name, colour in colours.items()})
            ax.axhline(1, color=GREY, linewidth=1, linestyle="--")
            ax.set(ylim=(0.3, 1.3))
            ax.set_title(f"rate {rate:g}", fontsize=9.5)
            ax.tick_params(axis="x", labelsize=8)
    return Picture(
        figure, "final losses of networks with other orders of norm and ReLU over those of all before."
    )


def draw_folding(result: Folding) -> Picture:
    """How many times as fast the folded network is: a dot for each round, a bar for the median."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(250)
        ax = figure.subplots()
        figure.subplots_adjust(left=0.2, right=0.975, top=0.8, bottom=0.2)
        medians = result.speedup.median(dim=1).values
        span = f"{medians.min():.2f} to {medians.max():.2f}"
        figure.text(
            0.012,
            0.91,
            f"Folded, {span} times as fast on this machine",
            fontsize=11,
            fontweight="bold",
        )
        for place, (ratios, median) in enumerate(zip(result.speedup, medians, strict=True)):
            heights = place + torch.linspace(-0.22, 0.22, len(ratios))
            ax.plot(ratios.clamp(0.8, 2.5), heights, ".", color=SKY, markersize=7)
            ax.plot([median, median], [place - 0.33, place + 0.33], color=BLUE, linewidth=2.5)
        ax.axvline(1, color=GREY, linewidth=1, linestyle="--")
        ax.set_xlim(0.75, 2.55)
        sizes = result.batch_sizes.tolist()
        ax.set_yticks(range(len(sizes)), [f"{n} image{'s' * (n > 1)} at once" for n in sizes])
        ax.set_ylim(len(sizes) - 0.5, -0.5)
        ax.set_xlabel("time of the network / time of the folded one (dots: rounds, bar: median)")
    return Picture(
        figure,
        f"the ratio of times of a network and its folded copy, medians {span}, for several batch sizes.",
    )


class NewDataDrawing:
    """Images as they come in, the statistics of the first layer, and the accuracy."""

    def __init__(self) -> None:
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(350)
            self.title = self.figure.text(0.012, 0.935, "", fontsize=11, fontweight="bold")
            grid = self.figure.add_gridspec(
                1, 3, width_ratios=(1.25, 1.7, 1), left=0.015, right=0.985, top=0.8, bottom=0.15
            )
            grid.update(wspace=0.24)
            images, channels, bars = (self.figure.add_subplot(cell) for cell in grid)
            images.set(xticks=[], yticks=[])
            images.spines[:].set_visible(False)
            images.set_title("test images as they come", fontsize=9.5)
            self.images = images.imshow(torch.zeros(35, 17).numpy(), cmap="gray_r", vmin=-0.5, vmax=2)

            channels.set_title("mean ± std in front of the first norm", fontsize=9.5)
            channels.set_xlim(-0.6, 7.6)
            channels.set_ylim(-1.6, 1.6)
            channels.set_xticks(range(8))
            channels.set_xlabel("channel")
            self.stored = self._intervals(channels, BLACK, "stored", -0.14)
            self.new = self._intervals(channels, ORANGE, "estimated anew", 0.14)
            channels.legend(loc="upper center", ncols=2, borderaxespad=0)

            bars.set_title("test accuracy, %", fontsize=9.5)
            bars.set_xlim(-0.6, 1.6)
            bars.set_ylim(0, 112)
            bars.set_xticks((0, 1), ("stored", "anew"))
            self.bars = bars.bar((0, 1), (1, 1), color=(GREY, ORANGE), width=0.7)
            self.labels = [bars.text(x, 0, "", ha="center", va="bottom") for x in (0, 1)]

    @staticmethod
    def _intervals(ax: Axes, colour: str, label: str, aside: float):
        (centres,) = ax.plot([], [], "o", color=colour, markersize=4.5, label=label)
        lines = ax.vlines(torch.arange(8) + aside, [0] * 8, [1] * 8, color=colour, linewidth=2)
        return centres, lines, aside

    def update(self, state: NewData) -> None:
        self.title.set_text(
            f"{state.accuracy_stored:.0f} % with the stored statistics, {state.accuracy_new:.0f} % with "
            f"those of {state.num_images} new images without labels"
        )
        sheet = torch.full((35, 17), float("nan"))
        for number, image in enumerate(state.images):
            top, left = 9 * (number // 2), 9 * (number % 2)
            sheet[top : top + 8, left : left + 8] = image
        self.images.set_data(sheet.numpy())
        for (centres, lines, aside), mean, std in (
            (self.stored, state.stored_mean, state.stored_std),
            (self.new, state.new_mean, state.new_std),
        ):
            places = torch.arange(8) + aside
            centres.set_data(places.numpy(), mean.numpy())
            ends = torch.stack([mean - std, mean + std], dim=1)
            points = torch.stack([places[:, None].expand(8, 2), ends], dim=-1)
            lines.set_segments(points.numpy())
        values = (state.accuracy_stored, state.accuracy_new)
        for bar, label, value in zip(self.bars, self.labels, values, strict=True):
            bar.set_height(value)
            label.set_y(value + 1)
            label.set_text(f"{value:.1f}")


def draw_early_statistics(result: EarlyStatistics) -> Picture:
    """Test accuracy during training, by stored and by re-estimated statistics."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(290)
        ax = figure.subplots()
        figure.subplots_adjust(left=0.075, right=0.975, top=0.84, bottom=0.17)
        figure.text(
            0.012,
            0.925,
            "The same weights, judged with stored statistics and with new ones",
            fontsize=11,
            fontweight="bold",
        )
        for values, colour, marker, label in (
            (result.renewed, ORANGE, "o", "estimated anew"),
            (result.stored, GREY, "s", "stored, momentum 0.01"),
        ):
            low, high = values.amin(1), values.amax(1)
            ax.fill_between(result.steps, low, high, color=colour, alpha=0.3, linewidth=0)
            ax.plot(result.steps, values.mean(1), color=colour, marker=marker, markersize=5, label=label)
        ax.set(xscale="log", xlabel="steps of training", ylabel="test accuracy in percent", ylim=(0, 102))
        ax.set_xticks(result.steps.tolist(), [str(step) for step in result.steps.tolist()])
        ax.minorticks_off()
        ax.legend(loc="lower right", title=f"{result.stored.shape[1]} seeds: mean, min to max")
    return Picture(
        figure,
        "test accuracy against steps of training: with statistics estimated anew it rises early, with "
        "the stored ones it stays low until they have followed.",
    )
