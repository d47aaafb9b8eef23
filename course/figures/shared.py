"""What the figures of all days share: colours, style, sizes, and how one is shown."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
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


def new_figure(height: int, width: int = WIDTH) -> Figure:
    """An empty figure of `width` x `height` CSS pixels."""
    size = (width / CSS_DPI, height / CSS_DPI)
    figure = Figure(figsize=size, dpi=CSS_DPI * PIXEL_RATIO)
    FigureCanvasAgg(figure)
    return figure


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
        png = io.BytesIO()
        self.figure.savefig(png, format="png", dpi="figure", metadata={"Software": None})
        width, height = self.figure.get_size_inches() * CSS_DPI
        size = {"width": round(width), "height": round(height)}
        data = {"image/png": base64.b64encode(png.getvalue()).decode("ascii"), "text/plain": repr(self)}
        return data, {"image/png": size}


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
