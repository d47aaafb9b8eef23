"""What the figures of all days share: colours, style, sizes, and the way to a PNG."""

from __future__ import annotations

import base64
import struct
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.spines import Spine
from matplotlib.text import Text
from numpy.typing import ArrayLike

# Okabe & Ito's colours, safe for colour blindness (https://jfly.uni-koeln.de/color/).
BLACK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#767676"  # not theirs; for what stands behind

STYLE = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "figure.facecolor": "white",
}

CSS_DPI = 96  # CSS pixels in an inch
PIXEL_RATIO = 2  # device pixels in a CSS pixel; 2 is sharp on every screen
WIDTH = 780  # CSS pixels; fits JupyterLab's column at a window of 1280


class Drawing(Protocol):
    """A figure that lives and is updated."""

    figure: Figure

    def update(self, state: Any) -> None:
        """Set the data of the artists; make none."""


def new_figure(height: int, width: int = WIDTH) -> Figure:
    """An empty figure of `width` x `height` CSS pixels."""
    size = (width / CSS_DPI, height / CSS_DPI)
    figure = Figure(figsize=size, dpi=CSS_DPI * PIXEL_RATIO)
    FigureCanvasAgg(figure)
    return figure


def css_size(figure: Figure) -> tuple[int, int]:
    """Width and height of a figure in CSS pixels."""
    width, height = figure.get_size_inches() * CSS_DPI
    return round(width), round(height)


def layers(figure: Figure) -> tuple[Axes, Axes]:
    """Two axes over a whole figure, in CSS pixels with the origin at the lower left.

    What stands still goes into the first, so that a film need not draw it again over what changes in the
    second.
    """
    width, height = css_size(figure)
    still, changing = (figure.add_axes((0, 0, 1, 1), label=name) for name in ("still", "changing"))
    for axes in (still, changing):
        axes.set(xlim=(0, width), ylim=(0, height))
        axes.axis("off")
    return still, changing


def encode_png(figure: Figure) -> bytes:
    """What is drawn of a figure as PNG, compressed quickly rather than well: a slider waits for it.

    Trying out filters, as image libraries do, takes longer than all the rest, and pictures with large
    plain areas gain nothing from it (PNG specification, third edition, sections 5 and 7).
    """
    pixels = np.asarray(figure.canvas.buffer_rgba())
    height, width, channels = pixels.shape
    rows = np.zeros((height, 1 + channels * width), np.uint8)  # each begins with its filter: 0, none
    rows[:, 1:] = pixels.reshape(height, -1)
    eight_bits_rgba = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = (b"IHDR", eight_bits_rgba), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


class Film:
    """The frames of a figure of which only some data change; what stands still is drawn once.

    An artist moves if it was stale before one of the last frames. Whatever lies over moving artists is
    drawn after them again, so that a frame has the pixels that drawing all of it would give. Where an axis
    changes, all is drawn.
    """

    MEMORY = 8

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self._changes: deque[set[Artist]] = deque(maxlen=self.MEMORY)
        self._moving: set[Artist] = set()
        self._again: list[Artist] = []
        self._begun = False
        self._still: Any = None  # the pixels of the rest; None where all was drawn last

    def frame(self) -> bytes:
        """The figure as it is now, as PNG."""
        canvas = self.figure.canvas
        changed = self._stale() if self._begun else None
        if changed is None:
            self._draw()
            self._begun, self._still = True, None
            return encode_png(self.figure)
        self._changes.append(changed)
        if self._still is None or not changed <= self._moving:
            self._moving = set().union(*self._changes)
            self._draw_what_is_still()
        canvas.restore_region(self._still)
        for artist in self._again:
            artist.draw(canvas.renderer)
        return encode_png(self.figure)

    def _draw(self) -> None:
        self.figure.canvas.draw()
        for axes in self.figure.axes:
            for axis in (axes.xaxis, axes.yaxis):
                axis.label.stale = False  # an empty one is not drawn, and would stay stale

    def _stale(self) -> set[Artist] | None:
        """What has changed since it was drawn; None where that may move what stands beside it."""
        found = {artist for artist in _beside_axes(self.figure) if artist.stale}
        for axes in self.figure.axes:
            if axes.patch.stale and axes.axison and axes.get_frame_on():
                return None
            for artist in _drawn(axes):
                if artist.stale and isinstance(artist, Axis | Spine):
                    return None
                if artist.stale or (isinstance(artist, Axis) and artist.label.stale):
                    found.add(artist)
        return found

    def _draw_what_is_still(self) -> None:
        self._again, self._still = [], None
        for axes in sorted(self.figure.axes, key=_zorder):
            under = False
            for artist in sorted(_drawn(axes), key=_zorder):
                moves = artist in self._moving
                if moves or (under and _reaches(artist, axes)):
                    self._again.append(artist)
                under = under or moves
        self._again += sorted(filter(self._moving.__contains__, _beside_axes(self.figure)), key=_zorder)
        for artist in self._again:
            artist.set_animated(True)
        try:
            self._draw()
        finally:
            for artist in self._again:
                artist.set_animated(False)
        self._still = self.figure.canvas.copy_from_bbox(self.figure.bbox)


def _drawn(axes: Axes) -> list[Artist]:
    """What drawing these axes draws, but for their background."""
    framed = axes.axison and axes.get_frame_on()
    return [
        artist
        for artist in axes.get_children()
        if artist is not axes.patch
        and (framed or not isinstance(artist, Spine))
        and (axes.axison or not isinstance(artist, Axis))
    ]


def _beside_axes(figure: Figure) -> list[Artist]:
    """The artists of the figure itself."""
    return [
        artist
        for artist in figure.get_children()
        if artist is not figure.patch and not isinstance(artist, Axes)
    ]


def _reaches(artist: Artist, axes: Axes) -> bool:
    """Whether something that stands still may lie over what moves within the axes."""
    if isinstance(artist, Axis):  # its ticks and labels are outside
        return any(tick.gridline.get_visible() for tick in artist.get_major_ticks())
    if not artist.get_visible() or (isinstance(artist, Text) and not artist.get_text()):
        return False
    extent = artist.get_window_extent()
    return extent.overlaps(axes.bbox) if extent.width or extent.height else True


def _zorder(artist: Artist) -> float:
    return artist.get_zorder()


def mime_bundle(figure: Figure, png: bytes, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Data and metadata with which Jupyter shows `png` at the figure's CSS size; `text` is what
    stands in for it where there are no pictures."""
    width, height = css_size(figure)
    metadata = {"image/png": {"width": width, "height": height}}
    return {"image/png": base64.b64encode(png).decode("ascii"), "text/plain": text}, metadata


class Picture:
    """A figure that stands still, shown once at its CSS size.

    Args:
        figure: made by `new_figure`.
        text: what the picture shows, in words.
    """

    def __init__(self, figure: Figure, text: str) -> None:
        self.figure = figure
        self.text = text

    def __repr__(self) -> str:
        return f"Picture: {self.text}"

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        self.figure.canvas.draw()
        return mime_bundle(self.figure, encode_png(self.figure), repr(self))


def decimals(number: float) -> str:
    """Two decimals, a true minus sign, and none before a zero."""
    return f"{round(number, 2) + 0.0:.2f}".replace("-", "−")


def dots(
    axes: Axes,
    arms: Mapping[str, Sequence[float]],
    colours: Mapping[str, str] | None = None,
    never: float = np.nan,
) -> None:
    """A column of dots for each arm, one dot a seed, and a bar at their median.

    Args:
        axes: where to draw; the arms stand along x, what was measured along y.
        arms: name -> one number a seed.
        colours: name -> colour; blue where an arm has none.
        never: the height for what is infinite, drawn as a hollow dot.
    """
    for place, (name, values) in enumerate(arms.items()):
        colour = (colours or {}).get(name, BLUE)
        heights = np.asarray(values, dtype=float)
        aside = place + np.linspace(-0.18, 0.18, len(heights)) if len(heights) > 1 else np.array([place])
        finite = np.isfinite(heights)
        axes.plot(aside[finite], heights[finite], "o", color=colour, markersize=5, alpha=0.85)
        axes.plot(
            aside[~finite], np.full((~finite).sum(), never), "o", color=colour, markersize=5, fillstyle="none"
        )
        middle = np.sort(heights)[(len(heights) - 1) // 2]
        if np.isfinite(middle):
            axes.plot([place - 0.3, place + 0.3], [middle, middle], color=colour, linewidth=1.5)
    axes.set_xticks(range(len(arms)), list(arms))
    axes.set_xlim(-0.6, len(arms) - 0.4)


def seed_lines(
    axes: Axes, x: ArrayLike, y: ArrayLike, colour: str, label: str, marker: str = "o", style: str = "-"
) -> None:
    """A dot for each seed and place, and a line through the medians of the seeds.

    Args:
        axes: where to draw.
        x: (A,), or (S, A) where each seed has places of its own.
        y: (S, A), one row a seed.
        colour: of dots and line. label: of the line. marker: of the dots. style: of the line.
    """
    y = np.asarray(y)
    x = np.broadcast_to(np.asarray(x), y.shape)
    axes.plot(x.T, y.T, marker, color=colour, markersize=3, alpha=0.5)
    axes.plot(np.median(x, axis=0), np.median(y, axis=0), style, color=colour, linewidth=1.3, label=label)
