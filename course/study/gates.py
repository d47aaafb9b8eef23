"""`python -m course.study.gates LECTURE …`: stored gates and study aids anew, as today's texts make them.

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

from course import study
from course.study.predict import predict
from course.study.texts import load

_GATE = re.compile(r'<script class="predict-gate" type="application/json">(.*?)</script>', re.DOTALL)
_AID = re.compile(r'(dialogue|flashcards|listen|quiz|summary)\("(day\d\d)"\)')


def stored(notebook: NotebookNode) -> Iterator[tuple[NotebookNode, dict[str, Any]]]:
    """Each output that is a gate, and what the gate knows."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if found := _GATE.search(output.get("data", {}).get("text/html", "")):
                yield output, json.loads(found[1])


def again(notebook: NotebookNode) -> Iterator[tuple[NotebookNode, dict[str, str]]]:
    """Each stored output that is a gate or a study aid, and what today's texts would make of it."""
    for output, gate in stored(notebook):
        day, name = gate["id"].split(":")
        yield output, predict(day, name, _measured(day, name, gate["measured"]))._repr_mimebundle_()
    for cell in notebook.cells:
        if aid := _AID.fullmatch(cell.source):
            (output,) = cell.outputs
            made = getattr(study, aid[1])(aid[2])._repr_mimebundle_()
            bundle = made[0] if isinstance(made, tuple) else made  # a widget's has its metadata beside it
            yield output, {kind: bundle[kind] for kind in output.data}


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
