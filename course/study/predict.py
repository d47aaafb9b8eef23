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
from collections.abc import Mapping, Sequence
from dataclasses import asdict
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
    found = [one for one in load(day).predictions if one.name == name]
    if not found:
        there = ", ".join(one.name for one in load(day).predictions) or "none"
        raise StudyError(f"{day} has no prediction {name!r}; it has: {there}.")
    asked = found[0]
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
