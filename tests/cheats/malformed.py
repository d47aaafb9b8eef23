"""Malformed and edited files, each read as far as it can be, or refused in one sentence."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

from tests.cheats.table import SOME, Cheat, Notebook, cell_named, code_cell, form, some


def _cheat(name: str, **more: Any) -> Cheat:
    """Right work in an odd file."""
    return Cheat(name, "malformed files", **{"answers": some(), "points": SOME, **more})


def _refused(name: str, says: str, **more: Any) -> Cheat:
    return _cheat(name, points=None, says=says, **more)


def _old_format(content: bytes) -> bytes:
    data = json.loads(content)
    cells = []
    for cell in data["cells"]:
        code = cell["cell_type"] == "code"
        one = {
            "cell_type": cell["cell_type"],
            "metadata": cell["metadata"],
            "input" if code else "source": cell["source"],
        }
        cells.append(one | ({"language": "python", "outputs": [], "collapsed": False} if code else {}))
    return json.dumps(
        {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": cells}]}
    ).encode()


def _bonus(notebook: Notebook) -> None:
    claim = {"grade": True, "solution": False, "locked": True, "task": False, "schema_version": 3}
    notebook["cells"].append(code_cell("100", nbgrader={**claim, "grade_id": "bonus", "points": 100}))


def _points_edited(notebook: Notebook) -> None:
    for cell in notebook["cells"]:
        if form(cell).get("grade"):
            form(cell)["points"] = 1000


def _ids_swapped(notebook: Notebook) -> None:
    """The check of the hardest exercise is to be that of an easy one."""
    hard, easy = (
        cell_named(notebook, f"check_{name}") for name in ("batch_norm_backward", "identity_parameters")
    )
    hard["metadata"], easy["metadata"] = easy["metadata"], hard["metadata"]


def _check_cells_edited(notebook: Notebook) -> None:
    for cell in notebook["cells"]:
        if form(cell).get("grade"):
            cell["source"] = "100"


def _locked_made_answers(notebook: Notebook) -> None:
    for cell in notebook["cells"]:
        if form(cell).get("grade"):
            form(cell).update(solution=True, locked=False)
            cell["source"] = f"{form(cell)['points']}"


def _kinds_changed(notebook: Notebook) -> None:
    for cell in notebook["cells"]:
        if form(cell).get("grade"):
            cell["cell_type"] = "markdown"
            del cell["outputs"], cell["execution_count"]


def _answers_made_raw(notebook: Notebook) -> None:
    cell_named(notebook, "batch_norm_forward")["cell_type"] = "raw"


def _checks_deleted(notebook: Notebook) -> None:
    notebook["cells"] = [cell for cell in notebook["cells"] if not form(cell).get("grade")]


def _ids_doubled(notebook: Notebook) -> None:
    for cell in notebook["cells"]:
        cell["id"] = "same"


def _odd_cells(notebook: Notebook) -> None:
    notebook["cells"][2:2] = [
        None,
        7,
        "cell",
        [],
        {},
        {"cell_type": "heading"},
        {"cell_type": "code", "source": 5},
    ]


def _odd_metadata(notebook: Notebook) -> None:
    names: list[Any] = [[], {}, 3, None, "\ud800", "a" * 10_000]
    for name in names:
        notebook["cells"].append(code_cell("1", nbgrader={"grade_id": name, "grade": True, "points": "many"}))
    notebook["cells"].append({**code_cell("1"), "metadata": {"nbgrader": "text"}})
    notebook["cells"].append({**code_cell("1"), "metadata": None})
    notebook["metadata"] = {"kernelspec": [], "language_info": 5}


def _other_kernel(notebook: Notebook) -> None:
    notebook["metadata"]["kernelspec"] = {"name": "bash", "display_name": "Bash", "language": "bash"}


def _forged_outputs(notebook: Notebook) -> None:
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            result = {
                "output_type": "execute_result",
                "data": {"text/plain": "100"},
                "metadata": {},
                "execution_count": 1,
            }
            cell["outputs"] = [result]


def _copied_over(notebook: Notebook) -> None:
    """The check of the easy exercise, copied five times with other names."""
    cell = cell_named(notebook, "check_identity_parameters")
    for number in range(5):
        again = copy.deepcopy(cell)
        form(again)["grade_id"] += str(number)
        again["id"] = f"again-{number}"
        notebook["cells"].append(again)


def _replace(path: Path, make: Any) -> None:
    path.unlink()
    make(path)


def _notebook(folder: Path) -> Path:
    return folder / "day26.ipynb"


def _link_to_a_secret(folder: Path) -> None:
    _replace(
        _notebook(folder),
        lambda path: path.symlink_to(folder.parents[2] / "solutions" / "day26" / "day26.ipynb"),
    )


def _data_links(folder: Path) -> None:
    (folder / "book.db").symlink_to(folder.parents[2] / "gradebook.db")
    (folder / "everything").symlink_to(folder.parents[2])
    os.mkfifo(folder / "pipe")


_READ_ALL = """
import glob
for path in glob.glob('**', recursive=True):
    try:
        print(path, open(path, 'rb').read())
    except OSError as error:
        print(error)
"""

CHEATS = (
    _refused("empty file", "is empty", raw=lambda content: b""),
    _refused("no JSON", "no valid JSON", raw=lambda content: b"hello"),
    _refused("cut off", "no valid JSON", raw=lambda content: content[: len(content) // 2]),
    _refused("null bytes", "no valid JSON", raw=lambda content: bytes(5000)),
    _refused(
        "null bytes inside",
        "no valid JSON",
        raw=lambda content: content.replace(b"import torch", b"import\x00torch"),
    ),
    _refused("random bytes", "no valid JSON", raw=lambda content: bytes(range(256)) * 50),
    _refused("a list", "no notebook", raw=lambda content: b"[]"),
    _refused("no cells", "no list of cells", raw=lambda content: b"{}"),
    _refused("cells no list", "no list of cells", raw=lambda content: b'{"cells": {"a": 1}}'),
    _refused("nested without end", "day26.ipynb", raw=lambda content: b"[" * 200_000 + b"]" * 200_000),
    _refused(
        "nested in metadata",
        "day26.ipynb",
        raw=lambda content: b'{"metadata": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b', "cells": []}',
    ),
    _refused("symbolic link", "symbolic link", place=_link_to_a_secret),
    _refused(
        "link to nowhere",
        "symbolic link",
        place=lambda folder: _replace(_notebook(folder), lambda path: path.symlink_to("nowhere")),
    ),
    _refused("a folder", "no regular file", place=lambda folder: _replace(_notebook(folder), Path.mkdir)),
    _refused("a pipe", "no regular file", place=lambda folder: _replace(_notebook(folder), os.mkfifo)),
    _refused("old format, broken", "old notebook format", raw=lambda content: b'{"worksheets": [5]}'),
    _cheat(
        "no notebook at all",
        points=None,
        says="nor a notebook like it",
        place=lambda folder: _notebook(folder).rename(folder / "mine.png").write_bytes(b"\x89PNG"),
    ),
    _cheat(
        "a document",
        points=None,
        says="in a form that is not run",
        place=lambda folder: _notebook(folder).rename(folder / "mine.pdf").write_bytes(b"%PDF-1.7"),
    ),
    _cheat(
        "a notebook by the name of a document",
        says="mine.pdf was graded as day26.ipynb",
        place=lambda folder: _notebook(folder).rename(folder / "mine.pdf"),
    ),
    _cheat(
        "another name",
        says="mine.ipynb was graded as day26.ipynb",
        place=lambda folder: _notebook(folder).rename(folder / "mine.ipynb"),
    ),
    _cheat(
        "UTF-8 with a byte order mark", raw=lambda content: b"\xef\xbb\xbf" + content, says="byte order mark"
    ),
    _cheat("UTF-16", raw=lambda content: content.decode().encode("utf-16"), says="UTF-16"),
    _cheat(
        "Latin-1",
        raw=lambda content: content.replace(b"import torch", b"import torch  # caf\xe9", 1),
        says="Latin-1",
    ),
    _cheat(
        "lone surrogates", raw=lambda content: content.replace(b"import torch", b"import torch  # \\ud800", 1)
    ),
    _cheat("old format 3", raw=_old_format, says="old format"),
    _cheat("20 MB of text", edit=lambda notebook: notebook["cells"].append(code_cell("#" * (20 << 20)))),
    _cheat(
        "20 MB of outputs",
        edit=lambda notebook: notebook["cells"].append(
            {
                **code_cell("1"),
                "outputs": [{"output_type": "stream", "name": "stdout", "text": "x" * (20 << 20)}],
            }
        ),
    ),
    _cheat(
        "NaN in the JSON",
        raw=lambda content: content.replace(b'"nbformat_minor"', b'"x": NaN, "y": 1e999, "nbformat_minor"'),
    ),
    _cheat(
        "a number of 5,000 digits",
        raw=lambda content: content.replace(b'"nbformat_minor": 5', b'"nbformat_minor": ' + b"9" * 5000),
        points=None,
        says="day26.ipynb",
    ),
    _cheat("points edited", edit=_points_edited, says="points"),
    _cheat("bonus cell", edit=_bonus, answers={}, points=0, says="bonus"),
    _cheat("ids of checks swapped", edit=_ids_swapped, points=SOME - 2, says="put back"),
    _cheat("check cells edited", edit=_check_cells_edited, answers={}, points=0, says="put back"),
    _cheat("check cells made answers", edit=_locked_made_answers, answers={}, points=0),
    _cheat("check cells made text", edit=_kinds_changed, says="markdown"),
    _cheat("an answer made raw", edit=_answers_made_raw, says="raw"),
    _cheat("checks deleted", edit=_checks_deleted, says="put back"),
    _cheat("one id for all cells", edit=_ids_doubled),
    _cheat("cells that are no cells", edit=_odd_cells, says="no cells"),
    _cheat("metadata that is none", edit=_odd_metadata),
    _cheat("another kernel", edit=_other_kernel),
    _cheat("outputs forged in the file", edit=_forged_outputs, answers={}, points=0),
    _cheat("checks copied under other names", edit=_copied_over),
    _cheat("links and a pipe beside it", place=_data_links, later=_READ_ALL, says="symbolic link"),
    _cheat(
        "a module that shadows torch",
        place=lambda folder: (folder / "torch.py").write_text("1 / 0"),
        points=SOME,
    ),
    _cheat(
        "modules that shadow the grader",
        answers={},
        points=0,
        place=lambda folder: [
            (folder / f"{name}.py").write_text("print('SHADOWED')\ncheck = lambda *a: 4")
            for name in ("graders", "json", "safetensors", "sitecustomize")
        ],
    ),
    _cheat(
        "timestamp that is none",
        place=lambda folder: (folder / "timestamp.txt").write_text("yesterday"),
        says="timestamp",
    ),
    _cheat(
        "timestamp of the year 0",
        place=lambda folder: (folder / "timestamp.txt").write_bytes(b"0000-99-99 \xff\x00"),
        says="timestamp",
    ),
)
