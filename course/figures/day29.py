"""Day 29: the N×C×H×W block, what a norm forgets, two photographs, digits in another light."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import torch.nn.functional as F
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyArrowPatch, Rectangle
from torch import Tensor

from course.experiments.day29 import (
    BRIGHTNESSES,
    CONTRASTS,
    Forgotten,
    Light,
    Net,
    SharedStatistics,
    Swap,
    mean_std,
)
from course.figures.shared import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PIXEL_RATIO,
    PURPLE,
    STYLE,
    VERMILLION,
    WIDTH,
    Picture,
    decimals,
    dots,
    layers,
    new_figure,
)

NAMES = {"batch": "Batch norm", "layer": "Layer norm", "instance": "Instance norm", "group": "Group norm"}

# The block, in CSS pixels with the origin at the lower left: where the far corner of the first sample's
# ground floor lies, the steps to the next sample, channel, row and column, and how thick a floor is.
BLOCK_HEIGHT = 400
ORIGIN = np.array([96.0, 78.0])
STEPS = np.array([[118.0, 0.0], [0.0, 57.0], [-22.0, -9.0], [22.0, -9.0]])
THICKNESS = 8.0


def cell_corners(cell: tuple[int, int, int, int]) -> np.ndarray:
    """(4, 2): the far, right, near and left corner of the top of the cell (n, c, h, w)."""
    far = ORIGIN + np.array(cell, dtype=float) @ STEPS
    row, column = STEPS[2], STEPS[3]
    return np.array([far, far + column, far + row + column, far + row])


def cell_outline(cell: tuple[int, int, int, int]) -> np.ndarray:
    """(6, 2): the outline of a cell, top and sides."""
    far, right, near, left = cell_corners(cell)
    down = np.array([0, -THICKNESS])
    return np.array([far, right, right + down, near + down, left + down, left])


def _faces(cell: tuple[int, int, int, int]) -> list[np.ndarray]:
    """The top and the two near sides of a cell."""
    far, right, near, left = cell_corners(cell)
    down = np.array([0, -THICKNESS])
    return [
        np.array([far, right, near, left]),
        np.array([left, near, near + down, left + down]),
        np.array([near, right, right + down, near + down]),
    ]


class BlockDrawing:
    """Every sample is a tower, every channel a floor of it, every place of the map a cell of the floor.

    Beside it the block from above, a row per sample and a column per channel, with all its means.
    """

    TILE = (34, 24)  # CSS pixels
    CORNER = (566, 262)  # of the tiles, upper left

    def __init__(self, shape: tuple[int, int, int, int]) -> None:
        self.shape = shape
        # Far cells first, so that near ones cover them; floors do not meet.
        self.cells = sorted(itertools.product(*map(range, shape)), key=lambda cell: cell[2] + cell[3])
        self.index = tuple(np.array(self.cells).T)
        # A cell's colours, lit from the left above: its top, its left side, its right side.
        light = np.array([1, 0.85, 0.7])[:, None]
        self.shades = np.array([light * to_rgb(colour) for colour in ("#F4F4F4", ORANGE, "#303030")])
        with matplotlib.rc_context(STYLE):
            self.figure = new_figure(BLOCK_HEIGHT)
            still, ax = layers(self.figure)
            self.title = ax.text(10, 386, "", fontsize=11, fontweight="bold", va="center")
            self.faces = PolyCollection(
                [face for cell in self.cells for face in _faces(cell)], edgecolors="#8C8C8C", linewidths=0.5
            )
            ax.add_collection(self.faces, autolim=False)
            self._label_block(still)

            left, top = self.CORNER
            still.text(left - 30, 356, "All the means, in code", fontweight="bold", va="center")
            self.code = ax.text(
                left - 30, 341, "", va="top", linespacing=1.5, family="monospace", fontsize=9.5
            )
            for channel in range(shape[1]):
                at = left + self.TILE[0] * (channel + 0.5)
                still.text(at, top + 9, f"c={channel}", ha="center", va="center", fontsize=9)
            for sample in range(shape[0]):
                at = top - self.TILE[1] * (sample + 0.5)
                still.text(left - 4, at, f"n={sample}", ha="right", va="center", fontsize=9)
            self.tiles = PolyCollection([], edgecolors=BLACK, linewidths=1.2)
            ax.add_collection(self.tiles, autolim=False)
            self.tile_texts = [
                ax.text(0, 0, "", ha="center", va="center", fontsize=9) for _ in range(shape[0] * shape[1])
            ]
            self.words = ax.text(left - 30, 150, "", va="top", linespacing=1.6)

    def _label_block(self, ax: Axes) -> None:
        num_samples, channels, height, width = self.shape
        for channel in range(channels):
            _, y = cell_corners((0, channel, height - 1, 0))[3]
            ax.text(44, y - 2, f"c={channel}", ha="right", va="center", fontsize=9)
        for sample in range(num_samples):
            x = ORIGIN[0] + sample * STEPS[0, 0] + 8
            ax.text(x, 11, f"n={sample}", ha="center", va="center", fontsize=9)
        # h and w run along the near edges of the first tower's ground floor.
        left, near = (cell_corners((0, 0, height - 1, w))[corner] for w, corner in ((0, 3), (width - 1, 2)))
        right = cell_corners((0, 0, 0, width - 1))[1]
        for start, stop, name, aside in ((left, near, "w", -9), (right, near, "h", 9)):
            below = np.array([aside / 2, -THICKNESS - 5])
            arrow = FancyArrowPatch(
                start + below,
                stop + below,
                arrowstyle="-|>",
                mutation_scale=8,
                color=GREY,
                shrinkA=0,
                shrinkB=6,
            )
            ax.add_patch(arrow)
            middle = (start + stop) / 2 + below + np.array([aside, -6])
            ax.text(*middle, name, ha="center", va="center", color="#555555")

    def update(self, state: SharedStatistics) -> None:
        count, size = len(state.means), state.set_size
        name = NAMES[state.kind]
        if state.kind == "group":
            name += f", {state.num_groups} group" + "s" * (state.num_groups > 1)
        self.title.set_text(f"{name}: each of the {count} means runs over {size} cells")
        # Before the colours are looked up: 0 for other cells, 1 for those of the set, 2 for the chosen one.
        level = state.mask.numpy().astype(int)
        level[state.cell] = 2
        self.faces.set_facecolors(self.shades[level[self.index]].reshape(-1, 3))
        self.code.set_text(state.code.replace(").mean", ")\n .mean") + f"\n# {count} numbers")
        self._update_tiles(state)
        cell = ", ".join(map(str, state.cell))
        self.words.set_text(
            f"black: x[{cell}] = {decimals(state.x[state.cell].item())}\n"
            f"orange: the {size - 1} cells that share its\n"
            f"mean {decimals(state.means[state.number].item())} and its variance {decimals(state.var)}\n"
            f"normalized, it is {decimals(state.x_hat)}\n"
            f"{count} means × {size} cells = {count * size} cells"
        )

    def _update_tiles(self, state: SharedStatistics) -> None:
        (left, top), (width, height) = self.CORNER, self.TILE
        numbers = state.numbers[:, :, 0, 0].numpy()
        outlines = []
        for index, text in enumerate(self.tile_texts):
            if index >= len(state.means):
                text.set_text("")
                continue
            rows, columns = np.nonzero(numbers == index)
            x0, x1 = left + width * columns.min(), left + width * (columns.max() + 1)
            y0, y1 = top - height * rows.min(), top - height * (rows.max() + 1)
            outlines.append([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
            text.set_position(((x0 + x1) / 2, (y0 + y1) / 2))
            text.set_text(decimals(state.means[index].item()))
        self.tiles.set_verts(outlines)
        self.tiles.set_facecolors([ORANGE if i == state.number else "white" for i in range(len(outlines))])


class Pixels(Artist):
    """A picture of the figure, copied pixel by pixel; matplotlib's own is resampled whenever it is drawn.

    x, y: device pixels of the lower left corner.
    """

    def __init__(self, x: int, y: int) -> None:
        super().__init__()
        self.x, self.y = x, y
        self.rows = np.zeros((1, 1, 4), dtype=np.uint8)

    def set_rows(self, rows: np.ndarray) -> None:
        """rows: (height, width, 4) in uint8, from above."""
        self.rows, self.stale = np.ascontiguousarray(rows[::-1]), True

    def draw(self, renderer: Any) -> None:
        renderer.draw_image(renderer.new_gc(), self.x, self.y, self.rows)
        self.stale = False


class SwapDrawing:
    """Two photographs above, the same with swapped statistics below, and the statistics beside them."""

    LETTERS = (("R", VERMILLION), ("G", GREEN), ("B", BLUE))
    PLACES = ((10, 196), (253, 196), (10, 12), (253, 12))  # CSS pixels, lower left corners
    ZOOM = 2  # device pixels of a photograph's pixel

    def __init__(self, height: int, width: int) -> None:
        with matplotlib.rc_context(STYLE):
            height_of_all = 400
            self.figure = new_figure(height_of_all)
            self.title = self.figure.text(0.012, 0.957, "", fontsize=11, fontweight="bold")
            self.pictures = []
            self.shown: Any = None  # the photographs that are there
            names = ("image A", "image B", "A with statistics of B", "B with statistics of A")
            for name, (x, y) in zip(names, self.PLACES, strict=True):
                picture = Pixels(PIXEL_RATIO * x, PIXEL_RATIO * y)
                self.pictures.append(self.figure.add_artist(picture))
                above = y + self.ZOOM * height / PIXEL_RATIO + 4
                self.figure.text(x / WIDTH, above / height_of_all, name)

            ax = self.figure.add_axes((0.71, 0.13, 0.275, 0.735))
            ax.set(xlim=(0, 0.9), ylim=(0, 0.5), xlabel="mean of a colour", ylabel="standard deviation")
            ax.set_title("colours of each image", pad=3)
            self.trails = LineCollection([], colors=GREY, linewidths=1)
            ax.add_collection(self.trails, autolim=False)
            self.before = ax.scatter([], [], s=26, facecolors="white", zorder=2)
            self.after = ax.scatter([], [], s=200, facecolors="white", zorder=3, linewidths=1.6)
            self.letters = [
                ax.text(0, 0, letter, color=colour, ha="center", va="center_baseline", fontsize=9, zorder=4)
                for _ in range(2)
                for letter, colour in self.LETTERS
            ]
            self.after.set_linestyles(["-"] * 3 + [":"] * 3)
            for collection in (self.before, self.after):
                collection.set_edgecolors([colour for _, colour in self.LETTERS] * 2)
            ax.text(
                0.98, 0.02, "solid: A, dotted: B", transform=ax.transAxes, ha="right", va="bottom", fontsize=9
            )

    def update(self, state: Swap) -> None:
        what = {"mean": "mean", "std": "standard deviation", "both": "mean and standard deviation"}[
            state.what
        ]
        whose = "every colour" if state.axes == (2, 3) else "the image as a whole"
        self.title.set_text(f"Swapped to {state.strength:.0%}: {what} of {whose}")
        images = [*state.images, *state.swapped]
        for place, (picture, image) in enumerate(zip(self.pictures, images, strict=True)):
            if place < len(state.images) and self.shown is state.images:
                continue  # the photographs themselves are there already
            channels = F.pad((image.clamp(0, 1) * 255).byte(), (0, 0, 0, 0, 0, 1), value=255)
            pixels = channels.permute(1, 2, 0).numpy()
            picture.set_rows(pixels.repeat(self.ZOOM, axis=0).repeat(self.ZOOM, axis=1))
        self.shown = state.images
        before, after = (
            np.stack([each.flatten().numpy() for each in mean_std(x)], axis=1)
            for x in (state.images, state.swapped)
        )
        self.before.set_offsets(before)
        self.after.set_offsets(after)
        self.trails.set_segments(np.stack([before, after], axis=1))
        for text, at in zip(self.letters, after, strict=True):
            text.set_position(at)


def draw_forgotten(result: Forgotten) -> Picture:
    """Which changes of the input leave the output of which norm as it was."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(270)
        ax = figure.add_axes((0.37, 0.02, 0.62, 0.76))
        figure.text(
            0.012,
            0.92,
            "Six changes of a block, and what each norm still sees",
            fontsize=11,
            fontweight="bold",
        )
        rows, columns = result.moves.shape
        ax.set(xlim=(0, columns), ylim=(rows, 0))
        ax.set_xticks(np.arange(columns) + 0.5, [NAMES[kind] for kind in result.kinds])
        ax.set_yticks(np.arange(rows) + 0.5, result.changes, fontsize=10)
        ax.xaxis.tick_top()
        ax.tick_params(length=0, labelsize=10)
        ax.spines[:].set_visible(False)
        for row, column in itertools.product(range(rows), range(columns)):
            gone = bool(result.moves[row, column] < 1e-10)
            ax.add_patch(
                Rectangle((column + 0.02, row + 0.04), 0.96, 0.92, facecolor=ORANGE if gone else "#F4F4F4")
            )
            text = "forgotten" if gone else "seen"
            ax.text(
                column + 0.5, row + 0.5, text, ha="center", va="center", color=BLACK if gone else "#555555"
            )
    return Picture(
        figure,
        "a table of six changes and four norms: instance norm forgets all six, layer and group norm those "
        "of a whole sample, batch norm those of a whole channel.",
    )


def draw_light(
    arms: Mapping[str, Light], names: Sequence[str], headline: str, contrast: bool = True
) -> Picture:
    """Test accuracy against contrast, or against brightness; a dot a seed, lines through the medians."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(320)
        ax = figure.subplots()
        figure.subplots_adjust(left=0.075, right=0.72, top=0.87, bottom=0.15)
        figure.text(0.012, 0.93, headline, fontsize=11, fontweight="bold")
        colours = (BLACK, BLUE, VERMILLION, GREEN, PURPLE)
        for k, (name, colour) in enumerate(zip(names, colours, strict=False)):
            accuracy = arms[name].contrast if contrast else arms[name].brightness
            places = np.arange(accuracy.shape[1]) + 0.1 * (k - (len(names) - 1) / 2)
            ax.plot(
                np.tile(places, len(accuracy)),
                accuracy.flatten().numpy(),
                "o",
                color=colour,
                markersize=4,
                alpha=0.75,
            )
            ax.plot(places, accuracy.median(0).values.numpy(), color=colour, label=name)
        light = CONTRASTS if contrast else BRIGHTNESSES
        ax.set_xticks(range(len(light)), [f"{value:g}" for value in light])
        ax.set_xlabel("contrast a: a · x" if contrast else "brightness b: x + b (1 = from black to white)")
        ax.set(ylim=(0 if contrast else 70, 103 if contrast else 101), ylabel="test accuracy (%)")
        if contrast:
            ax.axhline(10, color=GREY, linewidth=1, linestyle=":")
            ax.text(-0.25, 11.5, "guessing", color="#555555", fontsize=9)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 0.85))
    what = "contrast" if contrast else "brightness"
    return Picture(figure, f"test accuracy against {what}, of {', '.join(names)}.")


def draw_each(arms: Mapping[str, Light]) -> Picture:
    """Every image with a contrast of its own, all nets padded: accuracy, a dot a seed."""
    columns = {
        "no norm": arms["none, padded"].each,
        "batch,\nstored": arms["batch, padded"].each,
        "batch, of the\ntest images": arms["batch, padded"].renewed_each,
        "layer": arms["layer, padded"].each,
        "instance": arms["instance, padded"].each,
        "group": arms["group, padded"].each,
        "standardized,\nbatch": arms["standardized, batch"].each,
        "standardized,\nno norm": arms["standardized, none"].each,
    }
    with matplotlib.rc_context(STYLE):
        figure = new_figure(300)
        ax = figure.subplots()
        figure.subplots_adjust(left=0.075, right=0.985, top=0.87, bottom=0.16)
        figure.text(
            0.012, 0.93, "A contrast for each image, with padding and bias", fontsize=11, fontweight="bold"
        )
        dots(ax, columns)
        ax.tick_params(axis="x", labelsize=8.5)
        ax.set(ylim=(50, 101), ylabel="test accuracy (%)")
    return Picture(figure, "test accuracy where every image has a contrast of its own, by norm.")


def draw_price(arms: Mapping[tuple[str, Net], Tensor], what: str, paddings: Sequence[str]) -> Picture:
    """Accuracy where the light is the label, a panel for each padding, a dot a seed."""
    titles = {"": "no padding, no bias", "zeros": "zeros around, and bias", "replicate": "border replicated"}
    with matplotlib.rc_context(STYLE):
        figure = new_figure(280)
        counts = [sum(net.padding == padding and w == what for w, net in arms) for padding in paddings]
        panels = figure.subplots(
            1, len(paddings), sharey=True, squeeze=False, width_ratios=[max(c, 2) for c in counts]
        )[0]
        figure.subplots_adjust(left=0.075, right=0.985, top=0.78, bottom=0.1, wspace=0.06)
        figure.text(0.012, 0.92, f"The {what} is the label", fontsize=11, fontweight="bold")
        for ax, padding in zip(panels, paddings, strict=True):
            ax.set_title(titles[padding])
            columns = {
                {"none": "no norm"}.get(net.norm, net.norm): values
                for (light, net), values in arms.items()
                if light == what and net.padding == padding
            }
            dots(ax, columns)
            ax.axhline(50, color=GREY, linewidth=1, linestyle=":")
        panels[0].set(ylim=(35, 104), ylabel="test accuracy (%)")
        panels[0].text(-0.55, 57, "guessing", color="#555555", fontsize=9)
    return Picture(figure, f"test accuracy where the {what} is the label, by norm and padding.")
