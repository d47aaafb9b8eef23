"""`python -m course.study.gates LECTURE …`: stored gates anew, as today's texts, script and style make them.

What was measured is taken from the gate that is stored, so nothing has to run again. A lecture in which
something else is measured has to: `make lectures`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from course.study.predict import predict
from course.study.texts import load

_GATE = re.compile(r'<script class="predict-gate" type="application/json">(.*?)</script>', re.DOTALL)


def stored(notebook: NotebookNode) -> Iterator[tuple[NotebookNode, dict[str, Any]]]:
    """Each output that is a gate, and what the gate knows."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if found := _GATE.search(output.get("data", {}).get("text/html", "")):
                yield output, json.loads(found[1])


def again(notebook: NotebookNode) -> Iterator[tuple[NotebookNode, dict[str, str]]]:
    """Each stored output that is a gate, and the data that it would have if its cell ran today."""
    for output, gate in stored(notebook):
        day, name = gate["id"].split(":")
        yield output, predict(day, name, _measured(day, name, gate["measured"]))._repr_mimebundle_()


def _measured(day: str, name: str, stored: Any) -> Any:
    """What a gate holds, as `predict` takes it."""
    asked = load(day).prediction(name)
    if asked.kind == "cells":
        return [(asked.rows[i], asked.columns[j]) for i, j in stored]
    if asked.kind == "curve":
        return {curve["name"]: tuple(zip(*curve["points"], strict=True)) for curve in stored}
    return stored


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        lecture = nbformat.read(path, as_version=4)
        for output, data in again(lecture):
            output.data = NotebookNode(data)
        nbformat.write(lecture, path)
