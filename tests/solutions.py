"""Runs the code of a solution or exercise notebook without Jupyter, for tests and benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from graders.judging import catalogue

ROOT = Path(__file__).resolve().parent.parent


def namespace(path: Path) -> dict[str, Any]:
    """What the notebook's code cells define, its graded check cells left out."""
    found: dict[str, Any] = {"__name__": path.stem}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code" and not cell["metadata"].get("nbgrader", {}).get("grade"):
            exec(compile("".join(cell["source"]), f"<{cell['id']}>", "exec"), found)
    return found


def candidates(folder: str) -> list[tuple[str, Any]]:
    """(exercise, candidate) for every exercise of every day, from `solutions` or `exercises`."""
    handed_in = []
    for day, exercises in catalogue.days().items():
        found = namespace(ROOT / folder / day / f"{day}.ipynb")
        for exercise in exercises:
            parts = tuple(found[name] for name in exercise.candidates)
            handed_in.append((exercise.name, parts if len(parts) > 1 else parts[0]))
    return handed_in
