"""Prediction gates: what a student commits to before a result appears, and the result drawn over it.

A gate stands where a result is known and not yet shown. In the page it hides the cells below it, up to the
next heading, until the student has committed to something or asked to be shown; where no script runs it is
a question with an answer that unfolds. What was predicted is kept by the browser and, in Jupyter, in `FILE`.

Sources: Kim, Reinecke & Hullman, "Explaining the Gap", CHI 2017; Naps et al., "Exploring the role of
visualization and engagement in computer science education", 2002.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import numpy as np

from course.study.pages import Page, asset, page
from course.study.texts import Prediction, StudyError, load, to_html, to_inline_html, to_plain

#: Where predictions are kept in Jupyter, in the folder of the lectures; its server hands out no hidden files.
FILE = "predictions.json"
VERSION = 1
DIGITS = 3  # significant ones, of what was measured


def predict(day: str, name: str, measured: Any) -> Page:
    """A gate of a day, such as `predict("day26", "small-variance", 0.5)`; its words are in the day's texts.

    Args:
        day: such as "day26".
        name: the name of the prediction in the day's file.
        measured: what came out. "choose": the key of an item. "order": the keys, in order. "cells": pairs
            (row, column) of names. "value": a number. "curve": x and y, arrays of shape (points,), or several
            by name, of which the first was asked for.

    Raises:
        StudyError: the day has no such prediction, or `measured` does not fit it.
    """
    asked = load(day).prediction(name)
    try:
        result = _RESULTS[asked.kind](asked, measured)
    except (TypeError, ValueError) as error:
        raise StudyError(
            f"What was measured does not fit the prediction {name!r} of {day}: {error}"
        ) from None
    answer = _answer(asked, result)
    static = (
        f"<p><strong>Predict.</strong> {to_inline_html(asked.ask)}</p>\n"
        f"<details><summary>Show me</summary><p>{html.escape(answer)}</p></details>"
    )
    gate = json.dumps(_gate(day, asked, result), ensure_ascii=False).replace("</", "<\\/")
    plain = f"Predict: {to_plain(asked.ask)}\nMeasured: {answer}"
    live = '<div class="predict-card"></div>'
    live += f'<script class="predict-gate" type="application/json">{gate}</script>'
    script, style = asset("predict.js"), asset("predict.css")
    return page("predict", static, plain, live=live, script=script, style=style, name=name)


def made(folder: Path) -> dict[str, dict[str, Any]]:
    """The predictions in the file of a folder of lectures: "day26:small-variance" -> {answer, at}.

    What cannot be read counts as none.
    """
    try:
        data = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    gates = data.get("gates") if isinstance(data, dict) and data.get("version") == VERSION else None
    return {k: v for k, v in gates.items() if isinstance(v, dict)} if isinstance(gates, dict) else {}


# ---------------------------------------------------------------------------- what was measured


def _key(asked: Prediction, measured: Any) -> str:
    keys = [item.key for item in asked.items]
    if measured not in keys:
        raise ValueError(f"{measured!r} is none of {', '.join(keys)}")
    return measured


def _order(asked: Prediction, measured: Any) -> list[str]:
    keys = [item.key for item in asked.items]
    if sorted(measured) != sorted(keys):
        raise ValueError(f"{list(measured)} is no order of {', '.join(keys)}")
    return list(measured)


def _cells(asked: Prediction, measured: Any) -> list[list[int]]:
    for name, names in zip(("row", "column"), (asked.rows, asked.columns), strict=True):
        for cell in measured:
            if cell[name == "column"] not in names:
                raise ValueError(f"{cell} has a {name} that is none of {', '.join(names)}")
    return sorted([asked.rows.index(row), asked.columns.index(column)] for row, column in measured)


def _value(asked: Prediction, measured: Any) -> float:
    value = _rounded(float(measured))
    if not asked.low <= value <= asked.high:
        raise ValueError(f"{value} is not between {asked.low:g} and {asked.high:g}")
    return value


def _curves(asked: Prediction, measured: Any) -> list[dict[str, Any]]:
    named = measured if isinstance(measured, Mapping) else {"measured": measured}
    curves = []
    for name, (x, y) in named.items():
        x, y = (np.asarray(values, dtype=float) for values in (x, y))
        if x.ndim != 1 or x.shape != y.shape:
            raise ValueError(f"{name!r} has x of shape {x.shape} and y of shape {y.shape}")
        there = np.isfinite(x) & np.isfinite(y)
        points = [[_rounded(a), _rounded(b)] for a, b in zip(x[there], y[there], strict=True)]
        if len(points) < 2:
            raise ValueError(f"{name!r} has fewer than two points")
        curves.append({"name": str(name), "points": points})
    return curves


_RESULTS = {"choose": _key, "order": _order, "cells": _cells, "value": _value, "curve": _curves}


def _rounded(number: float) -> float:
    return float(f"{number:.{DIGITS - 1}e}")


# ---------------------------------------------------------------------------- what the page is given


def _gate(day: str, asked: Prediction, result: Any) -> dict[str, Any]:
    """The prediction as the script takes it: texts as HTML."""
    gate = {name: value for name, value in asdict(asked).items() if name != "name"}
    gate["ask"] = to_html(asked.ask)
    gate["says"] = {outcome: to_inline_html(text) for outcome, text in asked.says.items()}
    gate["items"] = [
        {"key": item.key, "text": to_inline_html(item.text), "says": to_inline_html(item.says)}
        for item in asked.items
    ]
    gate["unit"] = html.escape(asked.unit)
    return {"id": f"{day}:{asked.name}", **gate, "measured": result}


def _answer(asked: Prediction, result: Any) -> str:
    """What was measured, in words, for whoever sees no script."""
    texts = {item.key: to_plain(item.text) for item in asked.items}
    if asked.kind == "choose":
        says = next(item.says for item in asked.items if item.key == result)
        return f"{texts[result].rstrip('.')}. {to_plain(says)}"
    if asked.kind == "order":
        return f"{', '.join(texts[key] for key in result)}. {to_plain(asked.says['right'])}"
    if asked.kind == "cells":
        cells = ", ".join(f"{asked.rows[i]}, {asked.columns[j]}" for i, j in result) or "none"
        return f"{cells}. {to_plain(asked.says['right'])}"
    if asked.kind == "value":
        return f"{result:g}{asked.unit}."
    return "; ".join(_told(curve["points"], curve["name"], asked) for curve in result) + "."


def _told(points: Sequence[Sequence[float]], name: str, asked: Prediction) -> str:
    xs, ys = np.array(points).T
    where = [int(np.abs(xs - x).argmin()) for x in asked.x]
    return f"{name}: " + ", ".join(f"{ys[i]:g}{asked.unit} at {xs[i]:g}" for i in dict.fromkeys(where))


# ---------------------------------------------------------------------------- the gap between two curves


@dataclass(frozen=True)
class Place:
    """A place of a drawn curve. gap: how far above the measured one it lies, in heights of the drawing."""

    x: float
    drawn: float
    measured: float
    gap: float


@dataclass(frozen=True)
class Comparison:
    """A drawn curve against the measured one; the page computes the same.

    outcome: which of the texts is read. along: the places, in the order of x. furthest: where the two are
    furthest apart. first: where they part, None if nowhere. largest, mean: vertical distances on the scale of
    the drawing: differences, or logarithms of factors. drawn, measured: the rises and falls of the two.
    """

    outcome: str
    along: tuple[Place, ...]
    furthest: Place
    first: Place | None
    largest: float
    mean: float
    drawn: tuple[str, ...]
    measured: tuple[str, ...]


def compare(asked: Prediction, points: Sequence[Sequence[float]], guess: Sequence[float]) -> Comparison:
    """How a drawn curve compares with the measured one, all along it; the twin of `compare` in predict.js.

    Args:
        asked: a prediction of the kind "curve".
        points: of the measured curve, pairs (x, y).
        guess: the drawn values, one for each of `asked.x`.
    """
    scale = math.log if asked.log else float
    span = scale(asked.high) - scale(asked.low)
    near = scale(asked.close) / span * (1 + 1e-9)

    def height(y: float) -> float:
        if asked.log and y <= 0:
            return 0.0
        return min(1.0, max(0.0, (scale(y) - scale(asked.low)) / span))

    along = []
    for x, drawn in sorted(zip(asked.x, guess, strict=True)):
        measured = _measured_at(asked, points, x)
        along.append(Place(x, drawn, measured, height(drawn) - height(measured)))
    sizes = [abs(place.gap) for place in along]
    mean, largest = sum(sizes) / len(sizes), max(sizes)
    furthest = next(place for place in along if abs(place.gap) >= largest - 1e-9)
    yours, its = (
        _moves([height(y) for y in values], near)
        for values in ([place.drawn for place in along], [place.measured for place in along])
    )
    close = mean <= near and largest <= 2 * near
    return Comparison(
        "close" if close else "level" if yours == its else "shape",
        tuple(along),
        furthest,
        next((place for place in along if abs(place.gap) > near), None),
        abs(furthest.gap) * span,
        mean * span,
        yours,
        its,
    )


def gap_in_words(asked: Prediction, compared: Comparison) -> str:
    """The sentences about the gap between two curves: how far apart, where, and in what shape."""

    def written(value: float) -> str:
        return f"{_number(value)}{asked.unit}"

    def distance(gap: float) -> str:
        return f"{_number(gap)} points" if asked.unit.strip() == "%" else written(gap)

    largest, mean = compared.largest, compared.mean
    size = f"{_number(math.exp(largest))} times" if asked.log else distance(largest)
    average = f"a factor of {_number(math.exp(mean))}" if asked.log else distance(mean)
    at, first = compared.furthest, compared.first
    if compared.outcome == "close":
        none = "1 times" if asked.log else distance(0)
        return (
            "Close all along."
            if size == none
            else f"Close all along: at most {size} off, at {_number(at.x)}."
        )
    drawn, measured, way = written(at.drawn), written(at.measured), "low" if at.gap < 0 else "high"
    said = f"Furthest off at {_number(at.x)}: you drew {drawn}, it is {measured}, {size} too {way}. "
    if first in (at, None):
        said += f"On average the curves are {average} apart. "
    else:
        where = "from the start" if first == compared.along[0] else f"at {_number(first.x)}"
        said += f"The curves part {where}, by {average} on average. "
    if compared.drawn == compared.measured:
        return f"{said}Both {_shape(compared.drawn, many=True)}."
    return f"{said}Yours {_shape(compared.drawn)}; the measured one {_shape(compared.measured)}."


def _measured_at(asked: Prediction, points: Sequence[Sequence[float]], x: float) -> float:
    """The measured value at a place, between its neighbours as the line is drawn."""
    there = sorted((a, b) for a, b in points if not asked.log_x or a > 0)
    after = next((i for i, (a, _) in enumerate(there) if a >= x), None)
    if after is None:
        return there[-1][1]
    if after == 0:
        return there[0][1]
    (x0, y0), (x1, y1) = there[after - 1], there[after]
    across = math.log if asked.log_x else float
    part = (across(x) - across(x0)) / (across(x1) - across(x0))
    if part == 1 or y0 == y1:
        return y1
    if not asked.log:
        return y0 + part * (y1 - y0)
    return y0 if min(y0, y1) <= 0 else math.exp(math.log(y0) + part * (math.log(y1) - math.log(y0)))


def _moves(heights: Sequence[float], near: float) -> tuple[str, ...]:
    """The rises and falls of a curve, each larger than what counts as near."""
    found: list[str] = []
    low = high = heights[0]  # since the last turn
    for at in heights:
        low, high = min(low, at), max(high, at)
        move = "up" if at - low > near else "down" if high - at > near else None
        if move is None or found[-1:] == [move]:
            continue
        found.append(move)
        low = high = at
    return tuple(found)


_MOVES = {"up": ("rises", "rise"), "down": ("falls", "fall")}


def _shape(moves: Sequence[str], many: bool = False) -> str:
    """ "rises", "falls, then rises" and so on; of many curves "rise", "fall, then rise"."""
    words = [_MOVES[move][many] for move in moves]
    if not words:
        return "hardly change" if many else "hardly changes"
    if len(words) > 3:
        return f"{'turn' if many else 'turns'} {len(words) - 1} times"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])}, then {words[-1]}"


def _number(value: float) -> str:
    """Two or three significant digits, as the page writes them."""
    size = abs(value)
    if value == 0:
        return "0"
    if size < 1e-4 or size >= 1e6:
        rounded = _digits(value, 2)
        exponent = rounded.adjusted()
        text = f"{rounded.scaleb(-exponent).normalize():f}e{exponent}"
        return text.replace("-", "\N{MINUS SIGN}")
    rounded = _digits(value, 3 if 10 <= size < 1000 else 2)
    return f"{rounded.normalize():f}".replace("-", "\N{MINUS SIGN}")


def _digits(value: float, digits: int) -> Decimal:
    """A number to so many significant digits; halves away from zero, as in a browser."""
    exact = Decimal(value)
    return exact.quantize(Decimal(1).scaleb(exact.adjusted() - digits + 1), ROUND_HALF_UP)
