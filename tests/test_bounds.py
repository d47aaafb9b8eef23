"""What is read of a submission has bounds, and who meets one is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from graders.batch import bounds, submission
from graders.batch.notebook import execute
from graders.batch.submission import Unreadable


def written(folder: Path, text: str) -> Path:
    path = folder / "day26.ipynb"
    path.write_text(text, encoding="utf-8")
    return path


def notebook(*sources: str, **metadata: Any) -> str:
    cells = [{"cell_type": "code", "source": source, "metadata": {}, "outputs": []} for source in sources]
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" + "[]," * 4_000_000 + "[]]", "more lists and objects"),
        (notebook("1", x=[{"a": number} for number in range(600_000)]), "more lists and objects"),
        (notebook(*["1"] * (bounds.CELLS_LIMIT + 1)), "cells; up to"),
        (notebook("x" * (bounds.CONTENT_LIMIT + 1)), "MB without its outputs"),
        (" " * (bounds.NOTEBOOK_LIMIT + 1), "MB are read"),
    ],
    ids=["lists", "mappings", "cells", "content", "bytes"],
)
def test_too_large_notebooks_are_refused_with_a_sentence(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(Unreadable, match=says) as refused:
        submission.read(written(tmp_path, text))
    assert str(refused.value).startswith("day26.ipynb") and str(refused.value).endswith(".")


def test_large_honest_notebooks_are_read(tmp_path: Path) -> None:
    """A picture is one string, and brackets and commas in text are text."""
    data = json.loads(notebook("x = [1, 2]\n" * 20_000))
    printed = {"output_type": "stream", "name": "stdout", "text": "[0.1, {2: 3}], " * 1_000_000}
    drawn = {"output_type": "display_data", "data": {"image/png": "A" * 8_000_000}, "metadata": {}}
    data["cells"][0]["outputs"] = [printed, drawn]
    restored = submission.read(written(tmp_path, json.dumps(data)))
    assert len(restored.notebook["cells"]) == 1 and not restored.notes


def test_files_beyond_the_bounds_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "COUNT_LIMIT", 20)
    monkeypatch.setattr(bounds, "FILES_LIMIT", 1000)
    for number in range(40):
        (tmp_path / f"{number:02d}.txt").write_text("1")
    (tmp_path / "00-large.bin").write_bytes(bytes(1001))
    notes: list[str] = []
    found = submission.data_files(tmp_path, notes)
    assert len(found) == 20 and "00-large.bin" not in found
    assert len(notes) == bounds.NOTES_LIMIT + 1 and "more files" in notes[-1]


def test_folders_that_lie_too_deep_are_left_out_and_named(tmp_path: Path) -> None:
    """Not every version of Python walks so deep, or makes such folders."""
    place = tmp_path
    for _ in range(300):
        place = place / "d"
        place.mkdir()
    for folder in (place, tmp_path / "d" / "d"):
        (folder / "data.txt").write_text("1")
    notes: list[str] = []
    assert list(submission.data_files(tmp_path, notes)) == ["d/d/data.txt"]
    assert notes == ["The folder d lies in too many others; it was left out."]


class Chatty:
    """A session in whose cells much is printed, and whose graded cells give a point."""

    noticed: frozenset[str] = frozenset()

    def run(self, source: str, *, locked: bool = False) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        return [{"output_type": "stream", "name": "stdout", "text": "x\n" * 500_000}], {"status": "ok"}

    def run_graded(self, source: str, body: str, last: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        return self.run(source)[0], {"status": "ok", "number": "1"}


def test_outputs_of_a_notebook_have_an_end_and_points_are_kept() -> None:
    data = json.loads(notebook(*["print()"] * 30))
    for position in (0, 29):
        form = {"grade": True, "solution": False, "grade_id": str(position), "points": 1}
        data["cells"][position]["metadata"] = {"nbgrader": form}
    execute(data, Chatty())  # type: ignore[arg-type]
    assert len(json.dumps(data)) < bounds.OUTPUTS_LIMIT
    assert "was cut" in json.dumps(data["cells"][15]["outputs"])
    for position in (0, 29):
        results = [
            one for one in data["cells"][position]["outputs"] if one["output_type"] == "execute_result"
        ]
        assert results[0]["data"]["text/plain"] == "1"


def test_a_cell_that_is_too_large_is_not_run() -> None:
    data = json.loads(notebook("x" * (bounds.SOURCE_LIMIT + 1), "print()"))
    execute(data, Chatty())  # type: ignore[arg-type]
    first, second = (cell["outputs"][0] for cell in data["cells"])
    assert first["ename"] == "TooLarge" and second["output_type"] == "stream"
