"""What becomes of one student's folder, without a course around it."""

from __future__ import annotations

import gzip
import io
import json
import unicodedata
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from graders.batch import bounds, submission
from graders.batch.intake import Submission, lay, take_in, timestamp_in
from graders.batch.recognition import Release, ReleasedCell
from graders.batch.submission import TIMESTAMP, apart
from tests.courses import cell_of, notebook_of

GIVEN, RIGHT = "def double(x):\n    ...", "def double(x):\n    return 2 * x"
SOLVED = f"### BEGIN SOLUTION\n{RIGHT}\n### END SOLUTION"
TEST = "assert double(2) == 4"


def _release() -> Release:
    def cell(name: str, source: str, *, test: bool) -> ReleasedCell:
        form = {
            "grade": test,
            "locked": test,
            "solution": not test,
            "task": False,
            "points": 2.0 if test else None,
        }
        return ReleasedCell(name, "code", source=source, checksum="", id=name, given=source, **form)

    return Release({"double": cell("double", GIVEN, test=False), "test": cell("test", TEST, test=True)})


def _notebook(answer: str) -> bytes:
    cells = [
        cell_of("double", answer, solution=True),
        cell_of("test", TEST, grade=True, locked=True, points=2),
    ]
    return json.dumps(notebook_of(cells)).encode()


def _taken_in(folder: Path, *names: str) -> Submission:
    return take_in("ann", folder, {name: _release() for name in names or ("day",)}, [])


def _answer(found: Submission) -> str:
    return found.notebooks["day"]["cells"][0]["source"]


def _as_zip(folder: Path, files: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def _as_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("lay", [_as_zip, _as_folder])
@pytest.mark.parametrize("answer", [GIVEN, "def double(x):\n    return x + x", "def double(x): return 1"])
def test_solutions_in_a_copy_of_the_course_are_not_graded(
    tmp_path: Path, lay: Callable[[Path, Mapping[str, bytes]], None], answer: str
) -> None:
    """Whoever hands in all that was cloned gets points for the exercises in it, done or not."""
    files = {
        "course/solutions/day/day.ipynb": _notebook(SOLVED),
        "course/exercises/day/day.ipynb": _notebook(answer),
    }
    lay(tmp_path, files)
    found = _taken_in(tmp_path)
    assert _answer(found) == answer
    assert any("solutions/day/day.ipynb is the instructor's" in note for note in found.notes)
    assert found.doubtful == ({"day": {"test"}} if answer == GIVEN else {})


def test_solutions_beside_a_notebook_are_no_work_that_it_lacks(tmp_path: Path) -> None:
    _as_folder(tmp_path, {"day.ipynb": _notebook(GIVEN), "copy/day.ipynb": _notebook(SOLVED)})
    found = _taken_in(tmp_path)
    assert (_answer(found), found.doubtful) == (GIVEN, {"day": {"test"}})
    assert not any("holds work" in note for note in found.notes)


def test_a_notebook_with_the_marks_of_solutions_is_graded_where_there_is_no_other(tmp_path: Path) -> None:
    _as_zip(tmp_path, {"day.ipynb": _notebook(SOLVED)})
    assert _answer(_taken_in(tmp_path)) == SOLVED


PARTS = {"a": "def area(r):\n    return 3 * r * r", "b": "def total(v):\n    return sum(v)"}


#: What notebooks have in common, by what it is called in each: its text, and what it is.
COMMON: Mapping[str, tuple[str, dict[str, Any]]] = {
    "essay": ("YOUR ANSWER HERE", {"kind": "markdown", "grade": True, "solution": True}),
    "hidden": ("# Hidden tests", {"kind": "code", "grade": True, "locked": True}),
    "task": ("Draw a picture.", {"kind": "markdown", "task": True, "locked": True}),
    "write": ("# YOUR CODE HERE\nraise NotImplementedError()", {"kind": "code", "solution": True}),
}


def _part(name: str, *, common: bool = False) -> Release:
    head = PARTS[name].split("\n")[0]
    stub = replace(_release().cells["double"], name=name, source=f"{head}\n    ...", given=None, id=name)
    asked = replace(_release().cells["test"], name=f"test_{name}", source=f"assert {head[4:8]}", given=None)
    cells = {name: stub, asked.name: replace(asked, id=asked.name)}
    for what, (text, form) in COMMON.items() if common else ():
        form = {**dict.fromkeys(("grade", "locked", "solution", "task"), False), **form}
        points = 1.0 if form["grade"] or form["task"] else None
        one = ReleasedCell(f"{what}_{name}", source=text, checksum="", points=points, **form)
        cells[one.name] = replace(one, id=f"{what}-{name}")
    return Release(cells)


def _cells_of(
    name: str, *, marked: bool = True, worked: bool = True, common: bool = False
) -> list[dict[str, Any]]:
    cells = [
        cell_of(name, PARTS[name] if worked else _part(name).cells[name].source, solution=True),
        cell_of(f"test_{name}", _part(name).cells[f"test_{name}"].source, grade=True, locked=True, points=2),
    ]
    for what, (text, form) in COMMON.items() if common else ():
        cells.append(cell_of(f"{what}_{name}", text, **form, points=1))
    return cells if marked else [{**cell, "metadata": {}, "id": f"x-{cell['id']}"} for cell in cells]


@pytest.mark.parametrize("common", [False, True])
@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize(
    ("files", "graded", "asked"),
    [
        ({"b": "a", "a": "b"}, "ab", "ab"),
        ({"a": "b"}, "b", ""),
        ({"a": "b", "a (1)": "a"}, "ab", "a"),
        ({"a": "b", "sub/b": "a"}, "ab", "a"),
        ({"a": "ab"}, "ab", ""),
        ({"b": "ba"}, "ab", ""),
        ({"all": "ab"}, "ab", ""),
        ({"a": "a", "b": "a"}, "a", ""),
        ({"a": "ab", "b": "-"}, "ab", "b"),
        ({"a": "", "b": "b", "c": "a"}, "ab", "a"),
        ({"sub/a": "a", "sub/b": "b"}, "ab", ""),
    ],
    ids=[
        *(
            "swapped",
            "under the other's name",
            "and a copy",
            "and deeper",
            "both in one",
            "both in the other",
        ),
        *("both in one's own", "one twice", "both, beside an untouched", "emptied", "both deeper"),
    ],
)
def test_several_notebooks_are_known_by_what_they_hold(
    tmp_path: Path, files: dict[str, str], graded: str, asked: str, marked: bool, common: bool
) -> None:
    """files: by their names, whose cells are in them; -: those of b, untouched. asked: where a person is.

    common: whether both have cells whose texts are the same, left as they were.
    """
    for file, parts in files.items():
        own = [part for part in parts if part != "-"]
        cells = [cell for part in own for cell in _cells_of(part, marked=marked, common=common)]
        cells += _cells_of("b", worked=False, common=common) if parts == "-" else []
        _as_folder(tmp_path, {f"{file}.ipynb": json.dumps(notebook_of(cells)).encode()})
    found = take_in("ann", tmp_path, {name: _part(name, common=common) for name in PARTS}, [])
    assert "".join(sorted(found.notebooks)) == graded
    for name in found.notebooks:
        there = {
            cell["metadata"]["nbgrader"]["grade_id"]: cell["source"]
            for cell in found.notebooks[name]["cells"]
            if "nbgrader" in cell["metadata"]
        }
        untouched = files.get(name) == "-"
        assert there[name] == (_part(name).cells[name].source if untouched else PARTS[name])
    looked_at = {name: cells & {f"test_{name}"} for name, cells in found.doubtful.items()}
    assert {name: cells for name, cells in looked_at.items() if cells} == {
        name: {f"test_{name}"} for name in asked
    }
    assert not any("was not released" in note for note in found.notes)


def test_of_several_notebooks_it_is_said_which_one_was_odd(tmp_path: Path) -> None:
    _as_folder(
        tmp_path, {f"{part}.ipynb": json.dumps(notebook_of(_cells_of(part))).encode() for part in "ab"}
    )
    _as_folder(tmp_path, {"b.ipynb": json.dumps(notebook_of(_cells_of("b")[:1])).encode()})
    found = take_in("ann", tmp_path, {part: _part(part) for part in PARTS}, [])
    assert found.notes == ["b.ipynb: Released cells were missing and were put back: test_b."]
    found = take_in("ann", tmp_path, {"b": _part("b")}, [])
    assert found.notes[0] == "Released cells were missing and were put back: test_b."


def test_the_same_names_in_two_notebooks_are_no_other_work(tmp_path: Path) -> None:
    """Many courses call the cells of each notebook by the same names; one of them was left half done."""
    _as_folder(tmp_path, {"day.ipynb": _notebook(GIVEN), "more.ipynb": _notebook(RIGHT)})
    found = _taken_in(tmp_path, "day", "more")
    assert (_answer(found), found.doubtful, found.notes) == (GIVEN, {}, [])


@pytest.mark.parametrize("marked", [True, False])
def test_what_any_notebook_may_hold_is_no_part_of_this_one(tmp_path: Path, marked: bool) -> None:
    """Another notebook under its name, in which as much is left to fill in."""
    cells = [*_cells_of("b")[:1], *_cells_of("b", marked=marked, common=True)[1:]]
    cells = [cell for cell in cells if not cell["id"].endswith("task-b")]  # nothing tells that from its own
    _as_folder(tmp_path, {"a.ipynb": json.dumps(notebook_of(cells)).encode()})
    found = take_in("ann", tmp_path, {"a": _part("a", common=True)}, [])
    assert not found.notebooks
    assert found.unreadable == ["a.ipynb is another notebook: it has none of the cells of this one."]


def test_a_copy_that_cannot_be_read_may_be_what_was_meant(tmp_path: Path) -> None:
    files = {"day (1).ipynb": _notebook(RIGHT), "day (2).ipynb": _notebook(RIGHT)[:99], "x.ipynb": b"{"}
    _as_folder(tmp_path, {**files, "empty/day.ipynb": b""})
    found = _taken_in(tmp_path)
    assert (_answer(found), found.doubtful) == (RIGHT, {"day": {"test"}})
    assert [note for note in found.notes if "a person should look" in note.lower()] == [
        note for note in found.notes if note.startswith("day (2).ipynb is no valid JSON")
    ]
    assert not any("day (2).ipynb was not released" in note for note in found.notes)
    _as_folder(tmp_path, {"day.ipynb": _notebook(RIGHT)})
    assert not _taken_in(tmp_path).doubtful


def _with_names_of_all(part: str) -> Release:
    """A notebook whose cells are called as in the other."""
    cells = _part(part).cells
    stub, test = (
        replace(cells[part], name="f", id="f"),
        replace(cells[f"test_{part}"], name="test", id="test"),
    )
    write = replace(stub, name="more", id="more", source="# YOUR CODE HERE")
    return Release({"f": stub, "more": write, "test": test})


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize("as_far", ["ab", "a", "b"])
@pytest.mark.parametrize("lay", [_as_zip, _as_folder])
@pytest.mark.parametrize("names", ["ab", "ba", "sub/a,sub/b", "my a,my b", "x,y"])
def test_notebooks_whose_cells_have_the_same_names_are_told_by_their_texts(
    tmp_path: Path, names: str, lay: Callable[..., None], as_far: str, changed: bool
) -> None:
    """as_far: those in which more was done. changed: whether somebody has written into the tests."""
    files = {}
    for part, name in zip("ab", names.split(",") if "," in names else names, strict=True):
        release = _with_names_of_all(part)
        more = "x = 1" if part in as_far else release.cells["more"].source
        test = release.cells["test"].source + "  # mine" * changed
        cells = [cell_of("f", PARTS[part], solution=True), cell_of("more", more, solution=True)]
        cells.append(cell_of("test", test, grade=True, locked=True, points=2))
        files[f"{name}.ipynb"] = json.dumps(notebook_of(cells)).encode()
    lay(tmp_path, files)
    found = take_in("ann", tmp_path, {part: _with_names_of_all(part) for part in PARTS}, [])
    if changed and names in ("ba", "x,y"):  # nothing tells which is which
        return
    sources = {part: one["cells"][0]["source"] for part, one in found.notebooks.items()}
    assert sources == PARTS
    assert bool(found.doubtful) == (names == "ba" and lay is _as_folder)


@pytest.mark.parametrize("name", ["b.py", "b.qmd", "b.tex", "my b.html", "b.pdf", "work.py", "a.html"])
def test_one_notebook_of_several_in_another_form_is_no_zero(tmp_path: Path, name: str) -> None:
    content = json.dumps(notebook_of(_cells_of("a"))).encode()
    _as_folder(tmp_path, {"a.ipynb": content, name: f"{PARTS['a']}\n{PARTS['b']}".encode()})
    found = take_in("ann", tmp_path, {one: _part(one) for one in PARTS}, [])
    assert found.notebooks.keys() == {"a"}
    called = "b" in name.split(".")[0]
    assert bool(found.unreadable) == called and bool(found.missing) != called


def test_an_archive_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its list of files is read from its beginning to its end each time, which takes long if it is long."""
    pictures = {f"work/{number}.png": b"picture" for number in range(200)}
    _as_zip(tmp_path, {"work/day.ipynb": _notebook(RIGHT), **pictures})
    opened = []

    class Counted(zipfile.ZipFile):
        def __init__(self, *given: object) -> None:
            opened.append(given)
            super().__init__(*given)

    monkeypatch.setattr(zipfile, "ZipFile", Counted)
    found = _taken_in(tmp_path)
    assert _answer(found) == RIGHT
    assert sum(name.endswith(".png") for name in found.files) == len(pictures)
    assert len(opened) < 5


class _FromAMac(zipfile.ZipInfo):
    """A name in UTF-8, in pieces, of which nothing says that it is in UTF-8."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return unicodedata.normalize("NFD", self.filename).encode(), 0


def test_names_in_an_archive_from_a_mac_are_what_the_code_calls_them(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr(_FromAMac("day.ipynb"), _notebook(RIGHT))
        archive.writestr(_FromAMac("Größe.csv"), b"1,2")
    assert "Größe.csv" in _taken_in(tmp_path).files


def test_names_in_a_folder_from_a_mac_are_what_the_code_calls_them(tmp_path: Path) -> None:
    """macOS takes accents apart; where both forms are there, both stay."""
    apart = unicodedata.normalize("NFD", "Daten/Größe.csv")
    helper = notebook_of([cell_of("x", "x = 1")])
    files = {apart: b"1,2", unicodedata.normalize("NFD", "Größe.ipynb"): json.dumps(helper).encode()}
    _as_folder(tmp_path, {"day.ipynb": _notebook(RIGHT), **files})
    assert _taken_in(tmp_path).files.keys() == {"Daten/Größe.csv", "Größe.ipynb"}
    _as_folder(tmp_path, {"Daten/Größe.csv": b"3"})
    assert _taken_in(tmp_path).files.keys() == {"Daten/Größe.csv", apart, "Größe.ipynb"}


def test_what_an_editor_keeps_of_notebooks_is_none_that_was_handed_in(tmp_path: Path) -> None:
    """JupyterLab's language server keeps their code in files of their names."""
    _as_folder(
        tmp_path, {"my day.ipynb": _notebook(RIGHT), ".virtual_documents/my day.ipynb": RIGHT.encode()}
    )
    found = _taken_in(tmp_path)
    assert (_answer(found), found.doubtful) == (RIGHT, {})
    assert found.notes == ["my day.ipynb was graded as day.ipynb: it holds that notebook's cells."]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("name", ["day.ipynb.txt", "day.txt", "day"])
def test_a_notebook_saved_as_text_in_any_encoding_is_one(tmp_path: Path, name: str, encoding: str) -> None:
    _as_folder(tmp_path, {name: _notebook(RIGHT).decode().encode(encoding)})
    found = _taken_in(tmp_path)
    assert (_answer(found), found.doubtful, found.unreadable) == (RIGHT, {}, [])


@pytest.mark.parametrize("name", ["day.ipynb", "day.ipynb.gz", "work/my day.ipynb.gz"])
def test_what_a_server_has_compressed_is_read(tmp_path: Path, name: str) -> None:
    _as_folder(tmp_path, {name: gzip.compress(_notebook(RIGHT))})
    found = _taken_in(tmp_path)
    assert (_answer(found), found.doubtful, found.unreadable) == (RIGHT, {}, [])
    assert "The file was compressed, as servers send files." in found.notes


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (gzip.compress(bytes(bounds.FILE_LIMIT + 1)), "day.ipynb has 64 MB; up to 64 MB are read."),
        (gzip.compress(b"x" * 99)[:10] + b"\xff" * 99, "day.ipynb is compressed, and damaged."),
        (gzip.compress(b'{"cells": [], "nbformat": 4}' * 9)[:30], "day.ipynb is no valid JSON"),
    ],
    ids=["a bomb", "damaged", "cut off"],
)
def test_what_is_compressed_and_cannot_be_read_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    _as_folder(tmp_path, {"day.ipynb": content})
    assert _taken_in(tmp_path).unreadable[0].startswith(says)


def _without_ends(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "cells": [{**one, "source": one["source"].split("\n")} for one in data["cells"]]}


def _by_a_server(data: dict[str, Any]) -> dict[str, Any]:
    return {"name": "day.ipynb", "type": "notebook", "format": "json", "content": data}


def _of_databricks(data: dict[str, Any]) -> dict[str, Any]:
    cells = [{**data["cells"][0], "cell_type": "markdown", "source": "# Day"}, *data["cells"]]
    marks = {"markdown": "%md \r\n", "code": ""}
    return {
        "cells": [
            {"cell_type": "code", "metadata": {}, "source": f"{marks[one['cell_type']]}{one['source']}"}
            for one in cells
        ],
        "metadata": {"application/vnd.databricks.v1+notebook": {"language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 0,
    }


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (_without_ends, "The lines of 1 cells had lost their ends, which were put back."),
        (_by_a_server, "The notebook stood in what a Jupyter server says of it; it was taken out of that."),
        (_of_databricks, "1 texts stood in cells of code behind %md, as Databricks writes them."),
    ],
)
def test_notebooks_as_other_programs_write_them_are_read(
    tmp_path: Path, write: Callable[[dict[str, Any]], dict[str, Any]], says: str
) -> None:
    written = json.dumps(write(json.loads(_notebook(RIGHT)))).encode()
    _as_folder(tmp_path, {"day.ipynb": written})
    found = _taken_in(tmp_path)
    kinds = {one["source"]: one["cell_type"] for one in found.notebooks["day"]["cells"]}
    assert kinds | {"# Day": "markdown"} == {"# Day": "markdown", RIGHT: "code", TEST: "code"}
    assert says in found.notes and not found.doubtful


@pytest.mark.parametrize("lines", [["a = 1\n", "b"], ["a = '\x0c", "'"], ["a"], ["a\nb", "c"], []])
def test_lines_that_have_their_ends_are_joined_as_they_are(lines: list[str]) -> None:
    cells = [{"cell_type": "code", "metadata": {}, "source": lines, "outputs": []}]
    (cell,) = submission.read_from(json.dumps(notebook_of(cells)).encode(), "day.ipynb").notebook["cells"]
    assert cell["source"] == "".join(lines)


def test_a_file_of_an_archive_without_a_name_is_none(tmp_path: Path) -> None:
    _as_zip(tmp_path, {"day.ipynb": _notebook(RIGHT), ".": b"nothing", "./": b""})
    found = _taken_in(tmp_path)
    assert _answer(found) == RIGHT
    assert found.files.keys() == {"all.zip"}


def test_what_cannot_be_read_says_nothing_of_a_notebook_with_a_name_like_its_end(tmp_path: Path) -> None:
    _as_folder(tmp_path, {"11.ipynb": b"{ broken", "2.ipynb": _notebook(RIGHT)})
    found = _taken_in(tmp_path, "1", "11", "2")
    assert found.missing == ["1"]


def test_a_file_that_is_a_folder_elsewhere_is_left_out(tmp_path: Path) -> None:
    """No disk can hold both, and workers ended of it."""
    _as_zip(
        tmp_path, {"work/day.ipynb": _notebook(RIGHT), "work/img/1.png": b"1", "work/a": b"", "work/a/b": b""}
    )
    (tmp_path / "img").write_bytes(b"2")
    found = _taken_in(tmp_path)
    assert _answer(found) == RIGHT
    assert found.files.keys() == {"all.zip", "img/1.png", "a/b"}
    assert sum("a file here and a folder there" in note for note in found.notes) == 2


@pytest.mark.parametrize("lay", [_as_zip, _as_folder])
def test_what_tools_have_left_takes_no_room_from_data(
    tmp_path: Path, lay: Callable[[Path, Mapping[str, bytes]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole project is handed in, with its history and its packages."""
    monkeypatch.setattr(bounds, "COUNT_LIMIT", 12)
    work = {"day.ipynb": _notebook(RIGHT), "data/x.csv": b"1"}
    tools = {f".git/objects/{number}": b"x" for number in range(20)}
    packages = {f"env/Lib/site-packages/x/{number}.py": b"x" for number in range(20)}
    packages |= {f"web/node_modules/{number}": b"x" for number in range(20)}
    lay(tmp_path, {**tools, **packages, **work})
    found = _taken_in(tmp_path)
    assert _answer(found) == RIGHT
    assert "data/x.csv" in found.files and len(found.files) == 12
    assert all(name in ("all.zip", "data/x.csv") or name.startswith(".git/") for name in found.files)


def test_a_large_file_of_an_archive_is_no_reason_to_leave_out_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = {f"work/a/{number}.pt": bytes(9_000) for number in range(15)}
    _as_zip(tmp_path, {**models, "work/day.ipynb": _notebook(RIGHT), "work/x.csv": b"1"})
    monkeypatch.setattr(bounds, "FILES_LIMIT", (tmp_path / "all.zip").stat().st_size + 8_999)
    found = _taken_in(tmp_path)
    assert found.files.keys() == {"all.zip", "x.csv"}
    assert "work/a/0.pt of all.zip was left out: it is too much." in found.notes
    assert "5 more files of all.zip were left out." in found.notes


@pytest.mark.parametrize(
    ("name", "content", "looked_at"),
    [
        ("day.py", f"# %%\n{RIGHT}\n\n# %%\n{TEST}\n", True),
        ("work/my own.py", "def double(x, y=2):\n    return y * x", True),
        ("day.md", f"# Day\n\n```python\n{RIGHT}\n```\n", True),
        ("day.Rmd", f"# Day\n\n```{{python}}\n{RIGHT}\n```\n", True),
        ("day.py", f"# %%\n{GIVEN}\n\n# %%\n{TEST}\n", False),
        ("helpers.py", "def triple(x):\n    return 3 * x", False),
        ("notes.md", "`double(x)` is to return 2 * x.", False),
    ],
    ids=["a pair", "a script", "Markdown", "R Markdown", "a pair untouched", "helpers", "notes"],
)
@pytest.mark.parametrize("answer", [GIVEN, "def double(x):\n    return 3"])
def test_a_script_beside_a_notebook_without_work_is_looked_at(
    tmp_path: Path, answer: str, name: str, content: str, looked_at: bool
) -> None:
    """Who works in an editor of scripts hands in both, and may not have saved the notebook from it."""
    _as_folder(tmp_path, {"day.ipynb": _notebook(answer), name: content.encode()})
    found = _taken_in(tmp_path)
    asked = looked_at and answer == GIVEN
    assert _answer(found) == answer
    assert found.doubtful == ({"day": {"test"}} if asked else {})
    assert any(f"and {name} may" in note for note in found.notes) == asked


def _locked_zip(name: str) -> bytes:
    """An archive of one file, marked as encrypted in both places."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(name, _notebook(RIGHT))
    data = bytearray(content.getvalue())
    for sign, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(sign) + at] |= 1
    return bytes(data)


@pytest.mark.parametrize("answer", [GIVEN, "def double(x):\n    return 3"])
@pytest.mark.parametrize(
    ("path", "content", "says"),
    [
        ("day.html", f"<pre>{RIGHT}</pre>".encode(), "day.ipynb holds no work, and day.html may;"),
        ("day.pdf", b"%PDF", "day.ipynb holds no work, and day.pdf may;"),
        ("work/mine.rar", b"Rar!", "day.ipynb holds no work, and work/mine.rar may;"),
        ("day.ipynb.crdownload", b"{", "day.ipynb holds no work, and day.ipynb.crdownload may;"),
        (".day.ipynb.icloud", b"bplist", "day.ipynb holds no work, and .day.ipynb.icloud may;"),
        ("all.zip", _locked_zip("inner.zip"), "day.ipynb holds no work, and all.zip/inner.zip may;"),
        (
            "all.zip",
            _locked_zip("day.ipynb"),
            "all.zip/day.ipynb is encrypted; hand it in without a password.",
        ),
        ("all.zip", _locked_zip("day.ipynb")[:-40], "day.ipynb holds no work, and all.zip may;"),
        ("old/day.ipynb", _notebook(RIGHT)[:99], "old/day.ipynb is no valid JSON"),
        ("Untitled.ipynb", b"<!DOCTYPE html>", "Untitled.ipynb is a page of HTML;"),
        ("Untitled.ipynb", b"", None),
        ("sheet.pdf", b"%PDF", None),
        ("given.pdf", b"%PDF", None),
        ("page.html", b"<p>Hello</p>", None),
    ],
    ids=[
        *(
            "printed",
            "a PDF",
            "an archive",
            "a download",
            "a cloud",
            "a zip in a zip",
            "encrypted",
            "cut off",
        ),
        *("a copy", "a page", "empty", "named", "released", "another page"),
    ],
)
def test_what_may_be_the_work_beside_a_notebook_without_any_is_looked_at(
    tmp_path: Path, path: str, content: bytes, says: str | None, answer: str
) -> None:
    release = replace(_release(), text=frozenset({"Read `sheet.pdf` first."}))
    _as_folder(tmp_path / "ann", {"day.ipynb": _notebook(answer), path: content})
    _as_folder(tmp_path, {"given.pdf": b"%PDF"})
    found = take_in("ann", tmp_path / "ann", {"day": release}, [], {"given.pdf": tmp_path / "given.pdf"})
    asked = says is not None and answer == GIVEN
    assert _answer(found) == answer
    assert found.doubtful == ({"day": {"test"}} if asked else {})
    assert any(note.startswith(says) for note in found.notes if says) or not asked
    assert any("person should look" in note for note in found.notes) == asked


def test_of_several_notebooks_a_file_tells_by_its_name_which_one_it_may_be(tmp_path: Path) -> None:
    for name in "ab":
        given = json.dumps(notebook_of(_cells_of(name, worked=False))).encode()
        _as_folder(tmp_path, {f"{name}.ipynb": given})
    _as_folder(tmp_path, {"mine (b).pdf": b"%PDF"})
    found = take_in("ann", tmp_path, {name: _part(name) for name in PARTS}, [])
    assert found.doubtful == {"b": {"test_b"}}


@pytest.mark.parametrize(
    ("path", "essay", "asked"),
    [
        ("essay.docx", "YOUR ANSWER HERE", True),
        ("my work/Essay.PDF", "YOUR ANSWER HERE", True),
        ("essay.docx", "Because.", False),
        ("a answers.pdf", "YOUR ANSWER HERE", True),
        ("sheet.pdf", "YOUR ANSWER HERE", False),
        ("A.pdf", "YOUR ANSWER HERE", False),
        ("a.ipynb - Colab.pdf", "YOUR ANSWER HERE", False),
        ("data.csv", "YOUR ANSWER HERE", False),
        ("IMG_2034.jpg", "YOUR ANSWER HERE", True),
        ("scans/page 1.HEIC", "YOUR ANSWER HERE", True),
        ("plot.png", "YOUR ANSWER HERE", False),
        ("answers.txt", "YOUR ANSWER HERE", True),
        ("requirements.txt", "YOUR ANSWER HERE", False),
        (".git/description.txt", "YOUR ANSWER HERE", False),
        ("a.md", "YOUR ANSWER HERE", False),
        ("template.docx", "YOUR ANSWER HERE", False),
        ("filled.docx", "YOUR ANSWER HERE", True),
    ],
    ids=[
        *(
            "a document",
            "a scan",
            "both",
            "with its name",
            "the course's",
            "printed",
            "printed there",
            "data",
        ),
        *("a photo", "a photo of a phone", "a plot", "a text", "a tool's", "hidden", "a pair"),
        *("the course's own", "the course's, filled in"),
    ],
)
def test_an_answer_in_a_document_beside_the_notebook_is_looked_at(
    tmp_path: Path, path: str, essay: str, asked: bool
) -> None:
    release = replace(_part("a", common=True), text=frozenset({"Read `sheet.pdf` first."}))
    cells = _cells_of("a", common=True)
    next(cell for cell in cells if cell["id"] == "essay-a")["source"] = essay
    cells.append(cell_of("own", "plt.savefig('plot.png')"))
    content = b"Draw.\n\nYOUR ANSWER HERE" if path == "a.md" else b"%PDF"
    beside = {name: tmp_path / "released" / name for name in ("template.docx", "filled.docx")}
    _as_folder(tmp_path, {"released/template.docx": b"%PDF", "released/filled.docx": b"empty"})
    _as_folder(tmp_path / "ann", {"a.ipynb": json.dumps(notebook_of(cells)).encode(), path: content})
    found = take_in("ann", tmp_path / "ann", {"a": release}, [], beside)
    assert found.doubtful == ({"a": {"essay_a"}} if asked else {})
    says = f"essay_a is as released, and {path} may hold the answer; a person should look."
    assert found.notes == ([says] if asked else [])


def test_many_pictures_are_data(tmp_path: Path) -> None:
    cells = json.dumps(notebook_of(_cells_of("a", common=True))).encode()
    _as_folder(tmp_path, {"a.ipynb": cells, **{f"digits/{number}.png": b"\x89PNG" for number in range(40)}})
    assert not take_in("ann", tmp_path, {"a": _part("a", common=True)}, []).doubtful


def test_a_folder_by_the_name_of_a_notebook_gives_way(tmp_path: Path) -> None:
    """No disk holds it and the notebook that is graded, which nbgrader could not write."""
    _as_folder(
        tmp_path,
        {"day.ipynb/sub/day.ipynb": _notebook(RIGHT), "day.ipynb/x.csv": b"1", "day.ipynb/sub/y": b"2"},
    )
    found = _taken_in(tmp_path)
    assert _answer(found) == RIGHT
    assert found.files == {"y": b"2"}
    assert "day.ipynb/x.csv lies in a folder by the name of a notebook; it was left out." in found.notes


def test_what_was_released_as_a_file_is_one() -> None:
    mine = {"rows.csv/x": 1, "rows.csv/y/z": 2, "img": 3, "img/1.png": 4, "own": 5}
    assert apart({**mine, "rows.csv": 6}, {"rows.csv"}) == {"img/1.png": 4, "own": 5, "rows.csv": 6}


def test_files_are_laid_in_the_place_of_folders_and_folders_in_that_of_files(tmp_path: Path) -> None:
    folder, away = tmp_path / "here", tmp_path / "away"
    for one in (folder / "rows.csv", away):
        one.mkdir(parents=True)
        (one / "x").write_bytes(b"x")
    (folder / "img").write_bytes(b"a file")
    (folder / "link").symlink_to(away)
    lay(folder, {"rows.csv": b"1", "img/a/1.png": b"2", "link/x": b"3"})
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {"rows.csv", "img/a/1.png", "link/x"}
    assert (away / "x").read_bytes() == b"x"


def test_a_time_with_a_byte_order_mark_is_a_time(tmp_path: Path) -> None:
    (tmp_path / TIMESTAMP).write_text("\ufeff2026-03-02 10:00:00 UTC\n", encoding="utf-8")
    assert timestamp_in(tmp_path) == datetime(2026, 3, 2, 10)
