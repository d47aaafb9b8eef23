"""Where a figure of several panels can be cut, so that a narrow page shows them below one another.

The stored picture says it itself: the axes of our figures have a black spine on the left and one at the
bottom that meet in a corner, and between two panels there are columns without ink.
"""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
from matplotlib.image import imread
from numpy.typing import NDArray

Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels of the picture
Run = tuple[int, int]
Pixels = NDArray[np.bool_]

DARK, INK = 0.45, 0.97  # a pixel below the first may belong to a spine; below the second there is something
TALL, WIDE = 150, 190  # pixels, two to a CSS pixel: the shortest left and bottom spines of a panel
GAP = 4  # pixels without ink that part two panels
APART = 30  # and two parts of a line above them, such as the entries of a key
TICK = 14  # pixels that marks take up beside a spine
MARGIN = 6
BROAD = 1120  # what is broader would be too small on a narrow page


def panels(png: bytes) -> list[list[Box]]:
    """What a narrow page shows one after the other: what stands above all panels, then each of them.

    Each is one box, or two side by side: a panel without numbers at its left spine takes those of the first
    in its row. Empty for a picture of one panel, and for one that is not clearly of several.
    """
    grey = _grey(png)
    height, width = grey.shape
    corners = _corners(grey < DARK)
    if not 2 <= len(corners) <= 6:
        return []
    ink = grey < INK
    rows = _rows(corners)
    edges = [0]
    for above, below in pairwise(rows):
        empty = _runs(~ink.any(1), above[0][3], _top(below))
        if not empty:
            return []
        edges.append(_middle(max(empty, key=lambda run: run[1] - run[0])))
    edges.append(height)
    shown: list[list[Box]] = []
    for row, (upper, lower) in zip(rows, pairwise(edges), strict=True):
        axes, first = _top(row), row[0][0]
        blank = ~ink[axes:lower].any(0)
        between = [_runs(blank, end, start) for (_, _, end, _), (start, *_) in pairwise(row)]
        if not all(between):
            return []
        gaps = [runs[0] for runs in between]
        lines = _lines_for_all(ink[upper:axes], gaps, first - TICK)
        shown += [[piece] for line in lines for piece in _pieces(ink, upper + line[0], upper + line[1])]
        head = upper + max((end for _, end in lines), default=0)
        cuts = [0, *map(_middle, gaps), width]
        for (left, right), (spine, *_) in zip(pairwise(cuts), row, strict=True):
            spans = [(left, right)]
            if left and blank[left : spine - TICK].all():  # no numbers of its own
                spans = [(0, first - TICK), (max(left, spine - TICK), right)]
            seen = head + np.flatnonzero(np.any([ink[head:lower, a:b].any(1) for a, b in spans], axis=0))
            top, bottom = max(head, int(seen[0]) - MARGIN), min(lower, int(seen[-1]) + 1 + MARGIN)
            shown.append([(a, top, b, bottom) for a, b in spans])
    return shown if all(sum(box[2] - box[0] for box in boxes) <= BROAD for boxes in shown) else []


def _grey(png: bytes) -> NDArray[np.float64]:
    pixels = imread(io.BytesIO(png), format="png")
    if pixels.ndim == 2:
        return pixels
    grey = pixels[..., :3].mean(-1)
    return grey if pixels.shape[-1] < 4 else 1 - pixels[..., 3] * (1 - grey)


def _corners(dark: Pixels) -> list[Box]:
    """Panels by their spines: (x of the left one, its upper end, end of the lower one, its y)."""
    found: list[Box] = []
    for x in np.flatnonzero(dark.sum(0) >= TALL).tolist():
        for top, end in _runs(dark[:, x], 0, len(dark), TALL):
            for base in range(end - 1, end - 1 - TICK, -1):  # a mark may go on where the spine ends
                across = _runs(dark[base], x, dark.shape[1], 1)
                if across and across[0][0] == x and across[0][1] - x >= WIDE:
                    if not any(abs(x - other) < 8 and abs(base - low) < 8 for other, _, _, low in found):
                        found.append((x, top, across[0][1], base))
                    break
    return found


def _rows(corners: list[Box]) -> list[list[Box]]:
    """Panels that stand side by side, from left to right; the rows from top to bottom."""
    rows: list[list[Box]] = []
    for corner in sorted(corners, key=lambda corner: corner[3]):
        if rows and abs(rows[-1][0][3] - corner[3]) < 8:
            rows[-1].append(corner)
        else:
            rows.append([corner])
    return [sorted(row) for row in rows]


def _top(row: list[Box]) -> int:
    return min(top for _, top, _, _ in row)


def _middle(run: Run) -> int:
    return (run[0] + run[1]) // 2


def _lines_for_all(ink: Pixels, gaps: list[Run], margin: int) -> list[Run]:
    """The lines above the axes, up to the last that is of all panels: one over a gap or over the margin."""
    lines = _runs(ink.any(1), 0, len(ink), 1)
    apart = [
        line for line in lines if line[1] < len(ink) - 2 * MARGIN
    ]  # a number at the end of an axis is not
    shared = [
        line
        for line in lines
        if any(ink[slice(*line), a:b].any() for a, b in gaps)
        or (line in apart and ink[slice(*line), :margin].any())
    ]
    return lines[: lines.index(shared[-1]) + 1] if shared else []


def _pieces(ink: Pixels, top: int, bottom: int) -> list[Box]:
    """The parts of a line, such as a title, or the entries of a key."""
    width = ink.shape[1]
    used = ink[top:bottom].any(0)
    edges = [0, *map(_middle, _runs(~used, 0, width, APART)), width]
    parts = [(a, b) for a, b in pairwise(edges) if used[a:b].any()]
    found = []
    for a, b in parts:
        seen = a + np.flatnonzero(used[a:b])
        left, right = max(0, int(seen[0]) - MARGIN), min(width, int(seen[-1]) + 1 + MARGIN)
        found.append((left, max(0, top - MARGIN), right, min(len(ink), bottom + MARGIN)))
    return found


def _runs(yes: Pixels, start: int, stop: int, least: int = GAP) -> list[Run]:
    """Stretches of `least` or more between two places that are all yes."""
    edges = np.flatnonzero(np.diff(np.r_[False, yes[start:stop], False].astype(int)))
    return [(start + a, start + b) for a, b in edges.reshape(-1, 2).tolist() if b - a >= least]
