"""What the figures of all days share: colours, style, sizes, and the way to a PNG."""

from __future__ import annotations

import base64
import io
from typing import Any, Protocol

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

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


def render_png(figure: Figure) -> bytes:
    """The figure as PNG, compressed quickly rather than well: a slider waits for it."""
    figure.canvas.draw()
    buffer = io.BytesIO()
    pixels = Image.frombuffer("RGBA", figure.canvas.get_width_height(), figure.canvas.buffer_rgba())
    # A figure's background is opaque, and three channels are encoded faster than four.
    pixels.convert("RGB").save(buffer, format="png", compress_level=1)
    return buffer.getvalue()


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
        return mime_bundle(self.figure, render_png(self.figure), repr(self))


def decimals(number: float) -> str:
    """Two decimals, a true minus sign, and none before a zero."""
    return f"{round(number, 2) + 0.0:.2f}".replace("-", "−")
