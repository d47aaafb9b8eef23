"""What is handed in is taken in the same way by `graders autograde`, nbgrader's command and the button."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbgrader.nbgraderformat import MetadataValidator

from graders.batch import submission
from graders.batch.intake import take_in
from graders.batch.submission import OWN
from tests import warm
from tests.cheats import plain
from tests.courses import cell_of, nbgrader, nbgrader_command, notebook_of, recorded, release
from tests.test_cheats import _can_jail, grade

DAY = plain.PLAIN_DAY
SECRET = "secret-of-the-course"


def _notebook(folder: Path) -> Path:
    return folder / f"{DAY}.ipynb"


def _changed(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Changes the notebook that was handed in."""

    def place(folder: Path) -> None:
        data = json.loads(_notebook(folder).read_text())
        for cell in data["cells"]:
            cell["source"] = "".join(cell["source"])
        change(data)
        _notebook(folder).write_text(json.dumps(data))

    return place


def _schema(version: int) -> Callable[[Path], object]:
    def change(data: dict[str, Any]) -> None:
        for cell in data["cells"]:
            if "nbgrader" in cell["metadata"]:
                cell["metadata"]["nbgrader"]["schema_version"] = version

    return _changed(change)


def _metadata(**metadata: Any) -> Callable[[Path], object]:
    """An added cell of each kind with this metadata."""

    def change(data: dict[str, Any]) -> None:
        for kind, more in (("code", {"outputs": [], "execution_count": None}), ("markdown", {}), ("raw", {})):
            data["cells"].append({"cell_type": kind, "metadata": metadata, "source": "1", **more})

    return _changed(change)


def _solution(folder: Path) -> Path:
    return folder.parents[2] / "solutions" / DAY / f"{DAY}.ipynb"


def _instead(make: Callable[[Path, Path], object]) -> Callable[[Path], object]:
    """Has something else stand in the place of the notebook."""

    def place(folder: Path) -> None:
        _notebook(folder).unlink()
        make(_notebook(folder), folder)

    return place


def _folder_is_a_link(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to(folder.parents[2] / "solutions" / DAY)


def _student_is_a_link(folder: Path) -> None:
    shutil.rmtree(folder.parent)
    folder.parent.symlink_to(folder.parents[1] / "zz-honest")


def _data_that_is_none(folder: Path) -> None:
    (folder / "book.txt").symlink_to(folder.parents[2] / "secret.txt")
    (folder / "everything").symlink_to(folder.parents[2])
    os.link(folder.parents[2] / "secret.txt", folder / "again.txt")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as one:
        here = os.getcwd()
        os.chdir(folder)
        try:
            one.bind("socket")
        finally:
            os.chdir(here)


#: Sets the name in which the test counts its points, so that they come out as more than there are.
_DOUBTFUL = "def add(a, b):\n    globals()['points'] = 4\n    return a + b"


def _doubtful(data: dict[str, Any]) -> None:
    for cell in data["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade_id") == "add":
            cell["source"] = _DOUBTFUL


def _odd_names(folder: Path) -> None:
    for name in (b"\xff\xfe.txt", b"a\nzz-honest  100 of 100", b"\x1b[2J.txt", "\u202etxt.exe".encode()):
        Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_text("1")
    shutil.copy(_notebook(folder), os.fsdecode(os.path.join(os.fsencode(folder), b"\xff.ipynb")))


def _named(*names: str) -> Callable[[Path], object]:
    """The notebook under these names instead of its own, by their paths in the folder."""

    def place(folder: Path) -> None:
        content = _notebook(folder).read_bytes()
        _notebook(folder).unlink()
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

    return place


def _zipped(*names: str, beside: bool = False, **more: Any) -> Callable[[Path], object]:
    """An archive that holds the notebook under these names. beside: the notebook stays, untouched."""

    def place(folder: Path) -> None:
        with zipfile.ZipFile(folder / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                archive.writestr(name, _notebook(folder).read_bytes())
            archive.writestr("__MACOSX/._plain.ipynb", b"\0\5\x16\7")
            archive.writestr("../../escaped.txt", b"1")
        shutil.copy(_released(folder), _notebook(folder)) if beside else _notebook(folder).unlink()

    return place


def _released(folder: Path) -> Path:
    return folder.parents[2] / "exercises" / DAY / f"{DAY}.ipynb"


def _bomb(folder: Path) -> None:
    """An archive whose notebook would be a gigabyte, and one whose list of files is cut off."""
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("plain.ipynb", bytes(1 << 26))
    (folder / "cut.zip").write_bytes((folder / "bomb.zip").read_bytes()[:5000])


def _copy_with_the_work(folder: Path) -> None:
    shutil.copy(_notebook(folder), folder / "plain-Copy1.ipynb")
    shutil.copy(_released(folder), _notebook(folder))


def _backup(folder: Path) -> None:
    """A copy from before all was done."""
    shutil.copy(_released(folder), folder / "plain-Copy1.ipynb")


def _two_of_a_kind(folder: Path) -> None:
    """Two copies of other work, and none of the released name."""
    _named("plain (1).ipynb", "plain (2).ipynb")(folder)
    text = (folder / "plain (2).ipynb").read_text()
    (folder / "plain (2).ipynb").write_text(text.replace("return a + b", "return b + a"))


def _left_by_macos(folder: Path) -> None:
    for name in ("._plain.ipynb", "__MACOSX/plain/._plain.ipynb", ".DS_Store"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0\5\x16\7")


def _archive_by_the_name_of_a_notebook(folder: Path) -> None:
    _zipped("plain.ipynb")(folder)
    (folder / "all.zip").rename(_notebook(folder))


def _exported(suffix: str) -> Callable[[Path], object]:
    """The text of the notebook, in a form that is none."""

    def place(folder: Path) -> None:
        sources = ("".join(cell["source"]) for cell in json.loads(_notebook(folder).read_text())["cells"])
        _notebook(folder).with_suffix(suffix).write_text("\n\n".join(sources))
        _notebook(folder).unlink()

    return place


def _defined_later(data: dict[str, Any]) -> None:
    """The answer in a cell of its own behind the first test of it, and nothing where it belongs."""
    place, answer = next((place, cell) for place, cell in enumerate(data["cells"]) if _name_of(cell) == "add")
    own = {**answer, "id": "own", "metadata": {}}
    answer["source"] = "# YOUR CODE HERE\nraise NotImplementedError()"
    data["cells"].insert(place + 2, own)


def _stripped(*, ids: bool, names: bool = True) -> Callable[[Path], object]:
    """Without metadata. ids: cells keep theirs. names: locked texts are as they were."""

    def change(data: dict[str, Any]) -> None:
        data["metadata"] = {}
        for number, cell in enumerate(data["cells"]):
            cell["metadata"] = {}
            if not ids:
                cell["id"] = f"new-{number}"
            if not names:
                cell["source"] = cell["source"].replace("\n", "  \r\n") + "\n\n"

    return _changed(change)


def _without(*names: str, emptied: bool = False) -> Callable[[Path], object]:
    def change(data: dict[str, Any]) -> None:
        gone = [cell for cell in data["cells"] if _name_of(cell) in names]
        for cell in gone:
            cell["source"] = ""
        if not emptied:
            data["cells"] = [cell for cell in data["cells"] if cell not in gone]

    return _changed(change)


def _name_of(cell: dict[str, Any]) -> str:
    return cell["metadata"].get("nbgrader", {}).get("grade_id", "")


def _all_in_one(data: dict[str, Any]) -> None:
    """A notebook of one's own, with all functions in its last cell."""
    code = "\n".join(plain.RIGHT.values())
    data["cells"] = [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# My work"},
        {
            "cell_type": "code",
            "id": "b",
            "metadata": {},
            "source": code,
            "outputs": [],
            "execution_count": None,
        },
    ]


def _writes_over_its_files(folder: Path) -> None:
    (folder / "data.csv").write_text("1\n")
    (folder / "more").mkdir()
    (folder / "more" / "data.csv").write_text("1\n")
    code = """
def add(a, b):
    with open("data.csv", "a") as file:
        file.write("2\\n")
    with open("more/data.csv", "w") as file:
        file.write("3\\n")
    return a + b if open("data.csv").read().startswith("1\\n2\\n") else 0
"""
    _changed(lambda data: _set(data, "add", code))(folder)


def made_by(course: Path, student: str) -> dict[str, str]:
    """The files beside what was graded, but for the grader's own."""
    folder = course / "autograded" / student / DAY
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != f"{DAY}.ipynb" and OWN not in path.parts
    }


def _makes_files(folder: Path) -> None:
    """Files of every kind, and what must not be taken for something else."""
    code = """
import os

def add(a, b):
    return a + b

os.makedirs("results/.hidden", exist_ok=True)
for name in ("results/table.csv", "plain.ipynb", "warm_up.ipynb", "timestamp.txt", "results/.hidden/x", ".x"):
    with open(name, "w") as file:
        file.write("made")
os.symlink("/etc/passwd", "link")
with open("large.bin", "wb") as file:
    file.write(bytes(9 << 20))
"""
    (folder / "timestamp.txt").write_text("2026-02-28 10:00:00 UTC")
    _changed(lambda data: _set(data, "add", code))(folder)


def _set(data: dict[str, Any], name: str, source: str) -> None:
    next(cell for cell in data["cells"] if _name_of(cell) == name)["source"] = source


def _windows(cell: dict[str, Any]) -> None:
    cell["source"] = cell["source"].replace("\n", " \r\n") + "\r\n"


def _lines(folder: Path) -> str:
    """The notebook's file as Jupyter writes it, line by line."""
    return json.dumps(json.loads(_notebook(folder).read_text()), indent=1)


def _in_conflict(mine: str, theirs: str) -> Callable[[Path], object]:
    """A merge that git could not make: before each line with the first text, the same with the second."""
    before, after = (json.dumps(text)[1:-1] if "\n" in text else text for text in (mine, theirs))

    def place(folder: Path) -> None:
        lines = []
        for line in _lines(folder).split("\n"):
            sides = [line, line.replace(before, after)]
            lines += (
                ["<<<<<<< HEAD", sides[1], "=======", line, ">>>>>>> main"]
                if sides[0] != sides[1]
                else [line]
            )
        _notebook(folder).write_text("\n".join(lines))

    return place


def _comma_too_many(folder: Path) -> None:
    _notebook(folder).write_text(_lines(folder).replace("\n ],", ",\n ],"))


def _end_of_an_older_file(folder: Path) -> None:
    _notebook(folder).write_text(_lines(folder) + "\n" + _lines(folder)[-200:] + "\0" * 100)


def _large(data: dict[str, Any]) -> None:
    """A picture of 33 MB, and a table of more numbers than are read."""
    picture = {"output_type": "display_data", "data": {"image/png": "A" * (33 << 20)}, "metadata": {}}
    table = {**picture, "data": {"application/json": {"z": [[1] * 2000] * 1300}}}
    data["cells"][1]["outputs"] = [table, picture]


def _of_another_day(data: dict[str, Any]) -> None:
    for cell in data["cells"]:
        if _name_of(cell) not in ("", "setup"):
            cell["metadata"]["nbgrader"]["grade_id"] = f"other_{_name_of(cell)}"
            cell["id"] = f"other-{cell['id']}"
            cell["source"] = "# something else"


def _in_checkpoints(*, beside: bool = False) -> Callable[[Path], object]:
    """What Jupyter has saved last. beside: the notebook is there too, untouched."""

    def place(folder: Path) -> None:
        _named(".ipynb_checkpoints/plain-checkpoint.ipynb")(folder)
        if beside:
            shutil.copy(_released(folder), _notebook(folder))

    return place


def _setup_last(data: dict[str, Any]) -> None:
    data["cells"].append(data["cells"].pop(0))


def _in_a_fence(data: dict[str, Any]) -> None:
    for cell in data["cells"]:
        if _name_of(cell) == "mean":
            cell["cell_type"] = "markdown"
            cell["source"] = f"My answer:\n\n```python\n{cell['source'].strip()}\n```\n"


def _raw(data: dict[str, Any]) -> None:
    for cell in data["cells"]:
        if _name_of(cell) == "add":
            cell["cell_type"] = "raw"


def _words_in_code(data: dict[str, Any]) -> None:
    """New cells are cells of code, whoever writes words into them."""
    own = {"cell_type": "code", "id": "own", "metadata": {}, "outputs": [], "execution_count": None}
    data["cells"].append({**own, "source": "Because a mean is a sum."})


def _page_of_the_work(folder: Path) -> None:
    """The notebook as a page, and itself as it was released."""
    (folder / "plain.html").write_text(f"<pre>{plain.RIGHT['add']}</pre>")
    shutil.copy(_released(folder), _notebook(folder))


def _folder_for_the_page(folder: Path) -> None:
    """A folder that is called as the page of feedback will be."""
    (folder / "plain.html").mkdir()
    (folder / "plain.html" / "saved.js").write_text("")


def _without_line_ends(data: dict[str, Any]) -> None:
    for cell in data["cells"]:
        cell["source"] = cell["source"].split("\n")


def _runs_another(folder: Path) -> None:
    helper = {"cell_type": "code", "id": "h", "metadata": {}, "source": "def plus(a, b):\n    return a + b"}
    _notebook(folder).with_name("helper.ipynb").write_text(
        json.dumps({**json.loads(_notebook(folder).read_text()), "cells": [{**helper, "outputs": []}]})
    )
    _changed(lambda data: _set(data, "add", "%run helper.ipynb\nadd = plus"))(folder)


def _before(text: str, *, shown: bool = False, python: str = "") -> Callable[[Path], object]:
    """With this before the first answer. shown, python: what the notebook says of how it ran elsewhere."""

    def change(data: dict[str, Any]) -> None:
        _set(data, "add", f"{text}\n{plain.RIGHT['add']}")
        data["metadata"]["language_info"] = {"name": "python", "version": python}
        for cell in data["cells"] if shown else ():
            if cell["cell_type"] == "code":
                cell["execution_count"] = 1

    return _changed(change)


#: Students by name: what their folder is changed to, and their points. None: refused by both.
ROWS: dict[str, tuple[Callable[[Path], object], float | None]] = {
    "link": (_instead(lambda path, folder: path.symlink_to(_solution(folder))), None),
    "hard-link": (_instead(lambda path, folder: os.link(_solution(folder), path)), None),
    "pipe": (_instead(lambda path, folder: os.mkfifo(path)), None),
    "folder-link": (_folder_is_a_link, None),
    "student-link": (_student_is_a_link, None),
    "no-json": (_instead(lambda path, folder: path.write_text("{")), None),
    "data": (_data_that_is_none, plain.FULL),
    "pipe-for-timestamp": (lambda folder: os.mkfifo(folder / "timestamp.txt"), plain.FULL),
    "link-for-timestamp": (lambda folder: (folder / "timestamp.txt").symlink_to("/etc/passwd"), plain.FULL),
    "no-timestamp": (lambda folder: (folder / "timestamp.txt").write_text("yesterday"), plain.FULL),
    "names": (_odd_names, plain.FULL),
    "schema-old": (_schema(0), plain.FULL),
    "schema-new": (_schema(99), plain.FULL),
    "tags": (_metadata(tags=5), plain.FULL),
    "tags-twice": (_metadata(tags=["a", "a"]), plain.FULL),
    "form": (_metadata(nbgrader=[]), plain.FULL),
    "flags": (_metadata(collapsed="x", jupyter=3, format={}, name=[], slideshow=1, transient=2), plain.FULL),
    "language": (_changed(lambda data: data["metadata"].update(language_info="python")), plain.FULL),
    "kernel": (_changed(lambda data: data["metadata"].update(kernelspec=[], widgets=4, title=3)), plain.FULL),
    "attachments": (
        _changed(
            lambda data: data["cells"].append(
                {
                    "cell_type": "markdown",
                    "metadata": {},
                    "source": "![a](attachment:a) ![b](attachment:b)",
                    "attachments": {"a": {}, "b": {"image/png": 5}, "c": []},
                }
            )
        ),
        plain.FULL,
    ),
    "doubtful": (_changed(_doubtful), plain.FULL - 4),
    "browser": (_named("plain (1).ipynb"), plain.FULL),
    "lms": (_named("smith_john_482913_plain.ipynb"), plain.FULL),
    "copy": (_named("plain-Copy1.ipynb"), plain.FULL),
    "capitals": (_named("PLAIN.IPYNB"), plain.FULL),
    "own-name": (_named("homework.ipynb"), plain.FULL),
    "as-text": (_named("plain.ipynb.txt"), plain.FULL),
    "no-suffix": (_named("plain"), plain.FULL),
    "as-download": (_named("plain.ipynb.download"), plain.FULL),
    "utf-16": (
        lambda folder: _notebook(folder).write_bytes(_notebook(folder).read_text().encode("utf-16-le")),
        plain.FULL,
    ),
    "exported": (_exported(".html"), None),
    "scanned": (_instead(lambda path, folder: (folder / "work.pdf").write_bytes(b"%PDF-1.7")), None),
    "macos": (_left_by_macos, plain.FULL),
    "defined-later": (_changed(_defined_later), plain.FULL - 2),
    "deeper": (_named("plain/plain.ipynb"), plain.FULL),
    "much-deeper": (_named("a/b/Homework 3/plain.ipynb"), plain.FULL),
    "same-twice": (_named("plain (1).ipynb", "old/plain.ipynb"), plain.FULL),
    "zip": (_zipped("plain.ipynb"), plain.FULL),
    "zip-deeper": (_zipped("hand in/plain.ipynb"), plain.FULL),
    "zip-beside-untouched": (_zipped("plain.ipynb", beside=True), 0),
    "zip-as-notebook": (_archive_by_the_name_of_a_notebook, plain.FULL),
    "zip-bomb": (_bomb, plain.FULL),
    "copy-with-the-work": (_copy_with_the_work, 0),
    "backup": (_backup, plain.FULL),
    "two-of-a-kind": (_two_of_a_kind, plain.FULL),
    "broken-beside-a-copy": (
        lambda folder: (_named("plain-Copy1.ipynb")(folder), _notebook(folder).write_text("{")),
        plain.FULL,
    ),
    "stripped": (_stripped(ids=True), plain.FULL),
    "stripped-of-ids": (_stripped(ids=False), plain.FULL),
    "stripped-of-all": (_stripped(ids=False, names=False), plain.FULL),
    "line-ends": (_changed(lambda data: [_windows(cell) for cell in data["cells"]]), plain.FULL),
    "tests-deleted": (_without("test_add", "test_parts", "setup"), plain.FULL),
    "tests-emptied": (_without("test_add", "test_parts", emptied=True), plain.FULL),
    "answer-elsewhere": (_changed(_all_in_one), plain.FULL),
    "writes-over": (_writes_over_its_files, plain.FULL),
    "makes-files": (_makes_files, plain.FULL),
    "conflict": (_in_conflict("return a + b", "return 0"), plain.FULL - 4),
    "conflict-with-the-stub": (
        _in_conflict(plain.RIGHT["add"].strip(), "# YOUR CODE HERE\nraise NotImplementedError()"),
        plain.FULL,
    ),
    "conflict-of-counts": (_in_conflict('"execution_count": null', '"execution_count": 7'), plain.FULL),
    "comma": (_comma_too_many, plain.FULL),
    "behind-its-end": (_end_of_an_older_file, plain.FULL),
    "large": (_changed(_large), plain.FULL),
    "another-day": (_changed(_of_another_day), None),
    "another-file": (lambda folder: (_changed(_of_another_day)(folder), _named("other.ipynb")(folder)), None),
    "checkpoint": (_in_checkpoints(), plain.FULL),
    "checkpoint-with-the-work": (_in_checkpoints(beside=True), 0),
    "shortcut": (_instead(lambda path, folder: (folder / "plain.ipynb.lnk").write_bytes(b"L")), None),
    "setup-last": (_changed(_setup_last), plain.FULL),
    "in-a-fence": (_changed(_in_a_fence), plain.FULL),
    "raw": (_changed(_raw), plain.FULL),
    "in-comments": (
        _changed(lambda data: _set(data, "add", textwrap.indent(plain.RIGHT["add"].strip(), "# "))),
        plain.FULL - 6,
    ),
    "words-in-code": (_changed(_words_in_code), plain.FULL),
    "photo": (lambda folder: (folder / "IMG_2034.jpg").write_bytes(b"\xff\xd8"), plain.FULL),
    "page-of-the-work": (_page_of_the_work, 0),
    "folder-for-the-page": (_folder_for_the_page, plain.FULL),
    "restarts": (_before("import os\nos._exit(0)"), 0),
    "no-line-ends": (_changed(_without_line_ends), plain.FULL),
    "runs-another": (_runs_another, plain.FULL),
    "missing-module": (_before("import no_such_module"), plain.FULL - 6),
    "asks": (_before("n = int(input())"), plain.FULL - 6),
    "newer-python": (_before("T = int ?? None", python="3.99.0"), plain.FULL - 6),
    "no-python": (_before("type T = = int"), plain.FULL - 6),
    "helper-that-is-gone": (_before("helper()", shown=True), plain.FULL - 6),
    "helper-that-never-was": (_before("helper()"), plain.FULL - 6),
    "other-numbers": (_before("torch.set_default_dtype(torch.float64)"), plain.FULL),
    "other-print": (_before("import builtins\nbuiltins.print = lambda *a: None"), plain.FULL),
    "other-window": (_before("import matplotlib\nmatplotlib.use('TkAgg')\n%matplotlib widget"), plain.FULL),
    "other-device": (_before("torch.set_default_device('cuda')"), plain.FULL),
    "zz-honest": (lambda folder: None, plain.FULL),
}


@pytest.fixture(scope="module")
def courses(graded: tuple[dict[str, Path], list[dict[str, Any]]]) -> dict[str, Path]:
    """The same submissions, graded by either command."""
    return graded[0]


@pytest.fixture(scope="module")
def notes(graded: tuple[dict[str, Path], list[dict[str, Any]]]) -> dict[str, list[str]]:
    """What `graders autograde` noted about each student's."""
    return {one["student"]: one["notes"] for one in graded[1]}


@pytest.fixture(scope="module")
def flags(graded: tuple[dict[str, Path], list[dict[str, Any]]]) -> dict[str, list[str]]:
    """What it found in each student's."""
    return {one["student"]: one["flags"] for one in graded[1]}


@pytest.fixture(scope="module")
def reasons(graded: tuple[dict[str, Path], list[dict[str, Any]]]) -> dict[str, str]:
    """Why it did not grade some."""
    return {one["student"]: one["reason"] for one in graded[1]}


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], list[dict[str, Any]]]:
    if why := _can_jail():
        pytest.skip(why)
    made = {}
    for kind in ("graders", "nbgrader"):
        folder = made[kind] = tmp_path_factory.mktemp(kind)
        _hand_in(folder)
    results, _, _ = grade(made["graders"], DAY, python=warm.python())
    _stock(made["nbgrader"])
    return made, results[DAY]


def _hand_in(folder: Path) -> None:
    shutil.copy(Path(__file__).parent.parent / "nbgrader_config.py", folder)
    (folder / "solutions" / DAY).mkdir(parents=True)
    (folder / "solutions" / DAY / f"{DAY}.ipynb").write_text(json.dumps(plain.source()))
    (folder / "secret.txt").write_text(SECRET)
    release(folder, DAY)
    released = (folder / "exercises" / DAY / f"{DAY}.ipynb").read_text()
    for student in sorted(ROWS, reverse=True):
        target = folder / "submitted" / student / DAY
        target.mkdir(parents=True)
        data = json.loads(released)
        for cell in data["cells"]:
            name = cell["metadata"].get("nbgrader", {}).get("grade_id")
            if name in plain.RIGHT:
                cell["source"] = plain.RIGHT[name].strip()
        (target / f"{DAY}.ipynb").write_text(json.dumps(data))
        ROWS[student][0](target)


def _stock(course: Path, assignment: str = DAY) -> tuple[int, str]:
    """nbgrader's command; its exit status and what it said."""
    path = f"{Path(nbgrader_command()[0]).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        nbgrader_command("autograde", assignment),
        cwd=course,
        env=os.environ | {"PATH": path},
        capture_output=True,
        timeout=300,
    )
    return done.returncode, (done.stdout + done.stderr).decode(errors="surrogateescape")


@pytest.mark.parametrize("kind", ["graders", "nbgrader"])
def test_everybody_gets_what_they_earn(courses: dict[str, Path], kind: str) -> None:
    held = recorded(courses[kind], DAY)
    there = {path.parent.name for path in (courses[kind] / "autograded").glob(f"*/{DAY}")}
    assert {student: held[student]["score"] for student in there} == {
        student: points for student, (_, points) in ROWS.items() if points is not None
    }


def test_same_by_both(courses: dict[str, Path]) -> None:
    ours, stock = (recorded(course, DAY) for course in courses.values())
    graded = [student for student, (_, points) in ROWS.items() if points is not None]
    assert {one: ours[one] for one in graded} == {one: stock[one] for one in graded}


def test_doubtful_points_are_looked_at(courses: dict[str, Path]) -> None:
    """Whatever the command, a person is asked: about these, and about nobody else."""
    asked = {
        *("doubtful", "zip-beside-untouched", "copy-with-the-work", "two-of-a-kind", "broken-beside-a-copy"),
        *("defined-later", "conflict", "conflict-with-the-stub", "checkpoint-with-the-work", "in-a-fence"),
        *("missing-module", "asks", "newer-python", "helper-that-is-gone"),
        *("in-comments", "page-of-the-work", "restarts"),
    }
    for course in courses.values():
        held = recorded(course, DAY)
        needed = {
            student
            for student in held
            for one in held[student]["notebooks"].values()
            for name, (*_, needs) in one["grades"].items()
            if needs and name != "essay"
        }
        assert needed == asked


#: Students by name: what they are told by a note, as a pattern. None: that there is none.
NOTES: dict[str, str | None] = {
    "browser": r"plain \(1\)\.ipynb was graded as plain\.ipynb",
    "deeper": r"plain/plain\.ipynb was graded as plain\.ipynb",
    "zip": r"all\.zip/plain\.ipynb was graded as plain\.ipynb",
    "copy-with-the-work": r"plain-Copy1\.ipynb holds work that plain\.ipynb lacks",
    "two-of-a-kind": r"plain \(\d\)\.ipynb is like plain\.ipynb too",
    "broken-beside-a-copy": r"plain\.ipynb is no valid JSON",
    "stripped": "8 of the 8 released cells had lost nbgrader's mark",
    "line-ends": None,
    "macos": None,
    "utf-16": "The file is in UTF-16-LE",
    "zip-as-notebook": "plain.ipynb/plain.ipynb was graded as plain.ipynb",
    "defined-later": "add: a cell defines this, but not in an order in which test_add meets it",
    "tests-deleted": r"missing and were put back: setup, test_add, test_parts\.",
    "tests-emptied": "locked cell test_add had been changed; it was put back",
    "writes-over": None,
    "makes-files": "2 of the files that the notebook's code made are not kept",
    "zz-honest": None,
    "conflict": "The file holds two versions; a person should look which one was meant",
    "conflict-of-counts": "could be read all the same: a merge that git has left unfinished",
    "comma": "could be read all the same: a comma too many",
    "behind-its-end": "could be read all the same: something behind its end",
    "large": None,
    "another-day": None,
    "checkpoint": r"\.ipynb_checkpoints/plain-checkpoint\.ipynb was graded as plain\.ipynb",
    "checkpoint-with-the-work": r"plain-checkpoint\.ipynb holds work that plain\.ipynb lacks",
    "setup-last": "The locked cell setup stood behind cells that come after it; it was run before them",
    "in-a-fence": "The code of mean stood in a text; it was taken out of it, and run",
    "in-comments": "add: a text or a comment has code for this, but no cell before test_add",
    "words-in-code": "essay is as it was released, but what stands by it may be the answer",
    "photo": r"essay is as released, and IMG_2034\.jpg may hold the answer",
    "page-of-the-work": r"plain\.ipynb holds no work, and plain\.html may",
    "restarts": "the notebook ended before these had run, and nothing is known of what they test",
    "no-line-ends": "The lines of 7 cells had lost their ends, which were put back",
    "runs-another": r"helper\.ipynb was not released; it is not graded",
    "missing-module": "test_add: .*ModuleNotFoundError",
    "asks": "test_add: .*EOFError",
    "newer-python": r"test_add: the cell of its answer was run by Python 3\.99\.0",
    "helper-that-is-gone": "test_add: what was handed in shows all of its points",
    **dict.fromkeys(("no-python", "helper-that-never-was", "other-numbers", "other-print"), None),
}
#: Why some are refused, as a pattern.
REASONS = {
    "another-day": r"plain\.ipynb is another notebook",
    "another-file": r"There is no plain\.ipynb, nor a notebook like it",
    "shortcut": r"plain\.ipynb\.lnk is a shortcut to a file on the student's own computer",
    "no-json": "no valid JSON",
}


@pytest.mark.parametrize("student", NOTES)
def test_what_was_odd_is_noted(notes: dict[str, list[str]], student: str) -> None:
    expected = NOTES[student]
    if expected is None:
        assert not notes[student]
    else:
        assert any(re.search(expected, note) for note in notes[student]), notes[student]


def test_honest_cells_are_not_flagged(flags: dict[str, list[str]]) -> None:
    assert not {student: found for student, found in flags.items() if found and student != "doubtful"}


@pytest.mark.parametrize("student", REASONS)
def test_who_is_refused_is_told_why(reasons: dict[str, str], student: str) -> None:
    assert re.search(REASONS[student], reasons[student]), reasons[student]


@pytest.mark.parametrize("kind", ["graders", "nbgrader"])
def test_other_notebooks_are_not_kept(courses: dict[str, Path], kind: str) -> None:
    """nbgrader takes every notebook there for one that was graded."""
    assert [path.name for path in (courses[kind] / "autograded/runs-another").rglob("*.ipynb")] == [
        "plain.ipynb"
    ]


@pytest.mark.parametrize("kind", ["graders", "nbgrader"])
def test_files_that_a_notebook_makes_are_kept(courses: dict[str, Path], kind: str) -> None:
    assert made_by(courses[kind], "writes-over") == {"data.csv": "1\n2\n2\n2\n", "more/data.csv": "3\n"}
    assert made_by(courses[kind], "makes-files") == {
        "results/table.csv": "made",
        "timestamp.txt": "2026-02-28 10:00:00 UTC",
    }


#: What the Formgrader's button calls.
_BUTTON = """
import sys
import time
from nbgrader.apps.api import NbGraderAPI
from nbgrader.apps.baseapp import NbGrader
from nbgrader.coursedir import CourseDirectory

app = NbGrader()
app.load_config_file()
api = NbGraderAPI(CourseDirectory(parent=app), parent=app)
for student in sys.argv[2:]:
    print(student, api.autograde(sys.argv[1], student)["success"])
"""


def test_button(courses: dict[str, Path]) -> None:
    students = ("link", "schema-new", "pipe", "zz-honest", "zip", "deeper", "browser")
    done = subprocess.run(
        [sys.executable, "-c", _BUTTON, DAY, *students],
        cwd=courses["nbgrader"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    expected = {student: str(ROWS[student][1] is not None) for student in students}
    assert dict(line.split() for line in done.stdout.splitlines()) == expected, done.stderr
    assert not (courses["nbgrader"] / "autograded" / "link").exists()


@pytest.mark.parametrize("kind", ["graders", "nbgrader"])
def test_no_target_of_a_link_is_copied(courses: dict[str, Path], kind: str) -> None:
    for path in (courses[kind] / "autograded").rglob("*"):
        assert not path.is_symlink() and (path.is_file() or path.is_dir()), path
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes()


@pytest.mark.parametrize("kind", ["graders", "nbgrader"])
def test_what_was_graded_can_be_shown(courses: dict[str, Path], kind: str) -> None:
    """It is valid for nbformat and nbgrader, and feedback is made of it."""
    for path in (courses[kind] / "autograded").rglob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        MetadataValidator().validate_nb(notebook)
    nbgrader(courses[kind], "generate_feedback", DAY)
    page = (courses[kind] / "feedback" / "page-of-the-work" / DAY / "plain.html").read_text()
    assert "(Score: " in page


def test_again_names_only_what_was_refused(courses: dict[str, Path]) -> None:
    status, said = _stock(courses["nbgrader"])
    assert status == 1
    assert "Traceback" not in said
    assert not any(line.strip().startswith("zz-honest  100") for line in said.splitlines())
    for student, (_, points) in ROWS.items():
        assert (points is None) == (f"submitted/{student}/{DAY}: " in said), student
    results, _, _ = grade(courses["graders"], DAY, python=warm.python())
    assert {one["student"] for one in results[DAY] if one["outcome"] == "failed"} == {
        student for student, (_, points) in ROWS.items() if points is None
    }


def test_a_task_is_for_a_person_wherever_it_lies_by_both(tmp_path: Path) -> None:
    """nbgrader gives 0 for a notebook that isn't under its name, and takes that back for tests alone."""
    if why := _can_jail():
        pytest.skip(why)
    held = {}
    for kind in ("graders", "nbgrader"):
        course = tmp_path / kind
        (course / "solutions/hw").mkdir(parents=True)
        shutil.copy(Path(__file__).parent.parent / "nbgrader_config.py", course)
        for number in (1, 2, 3):
            cells = [
                cell_of(f"two_{number}", "### BEGIN SOLUTION\ntwo = 2\n### END SOLUTION", solution=True),
                cell_of(f"test_{number}", "assert two == 2", grade=True, locked=True, points=2),
                cell_of(f"task_{number}", "Draw.", kind="markdown", task=True, locked=True, points=3),
            ]
            (course / f"solutions/hw/part{number}.ipynb").write_text(json.dumps(notebook_of(cells)))
        release(course, "hw")
        folder = course / "submitted/ann/hw"
        (folder / "deeper").mkdir(parents=True)
        done = json.loads((course / "exercises/hw/part1.ipynb").read_text())
        done["cells"][0]["source"] = "two = 2"
        (folder / "deeper/part1.ipynb").write_text(json.dumps(done))
        (folder / "part2.py").write_text("two = 2")
        if kind == "graders":
            grade(course, "hw", python=warm.python())
        else:
            _stock(course, "hw")
        held[kind] = recorded(course, "hw")["ann"]["notebooks"]
        given = {name: one["grades"][f"task_{name[-1]}"] for name, one in held[kind].items()}
        assert given["part1"] == given["part2"] == (None, None, None, True)
        assert given["part3"][0] == 0 and not given["part3"][3]
    assert held["graders"] == held["nbgrader"]


def test_work_that_lies_where_nobody_looks_for_it_is_named_by_both(tmp_path: Path) -> None:
    """A folder in other capitals, as some disks take it, or none; that of another assignment is not meant."""
    for name in ("hw", "HW"):
        cells = [cell_of("t", "assert True", grade=True, locked=True, points=2)]
        (tmp_path / "solutions" / name).mkdir(parents=True)
        (tmp_path / f"solutions/{name}/part.ipynb").write_text(json.dumps(notebook_of(cells)))
    shutil.copy(Path(__file__).parent.parent / "nbgrader_config.py", tmp_path)
    release(tmp_path, "hw", "HW")
    work = (tmp_path / "exercises/hw/part.ipynb").read_text()
    for place in (
        "ann/hw/part.ipynb",
        "bob/Hw/part.ipynb",
        "cy/part.ipynb",
        "dee/HW/part.ipynb",
        "eve/hw2/x",
    ):
        (tmp_path / "submitted" / place).parent.mkdir(parents=True)
        (tmp_path / "submitted" / place).write_text(work)
    expected = {
        "bob": "The folder Hw is to be called hw; rename it.",
        "cy": "part.ipynb lies where the folder hw belongs; move it into one.",
    }
    _, said = _stock(tmp_path, "hw")
    assert dict(re.findall(r"(\w+): not graded: (.*)", said)) == expected
    results, _, status = grade(tmp_path, "hw", "--force", python=warm.python())
    assert {one["student"]: one["reason"] for one in results["hw"] if one["outcome"] == "failed"} == expected
    assert status == 1
    results, _, _ = grade(tmp_path, "hw", "--student", "ann", "--student", "dee", python=warm.python())
    reasons = {one["student"]: one["reason"] for one in results["hw"]}
    assert reasons == {"ann": None, "dee": "There is no submission of this student."}


def test_names_are_shown_on_one_line() -> None:
    assert submission.shown("é 漢 a\nb\x1b[0m\u202e\udcff\u2028") == (
        "é 漢 a\\nb\\x1b[0m\\u202e\\udcff\\u2028"
    )


@pytest.mark.parametrize(
    "text",
    [
        *("[" * 50_000, "![" * 40_000, "[a] " * 20_000, "<b>[" * 20_000, "[" * 900 + "\n\n" + "a[" * 20_000),
        *("\\\\[" * 50_000, "\\\\(" * 50_000, "\\begin{a}" * 50_000, "$$ " * 30_000, "![a](attachment:b)"),
    ],
    ids=lambda text: f"{text[:8]} of {len(text)}",
)
def test_markdown_is_rendered_in_time(text: str) -> None:
    """What nbconvert would look at for minutes is shown as text, by every page that is made of it."""
    from nbconvert.exporters import HTMLExporter
    from nbformat.v4 import new_markdown_cell, new_notebook

    from graders.batch.display import make_harmless

    node = new_notebook(cells=[new_markdown_cell(text)])
    started = time.process_time()
    make_harmless(node)
    HTMLExporter().from_notebook_node(node)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("name", ["<img src=x onerror=alert()>", 'a"; alert(); "', "a&lt;b", "a`b", "a\nb"])
def test_a_students_name_is_no_markup(tmp_path: Path, name: str) -> None:
    assert take_in(name, tmp_path, {}, []).unreadable == [
        "The name of the student's folder has characters that pages cannot show; rename it."
    ]


@pytest.mark.parametrize("name", ["o'brien", "Åsa Öberg", "x-1_2.3@uni.example", "学生"])
def test_students_have_names_of_every_kind(tmp_path: Path, name: str) -> None:
    assert not take_in(name, tmp_path, {}, []).unreadable
