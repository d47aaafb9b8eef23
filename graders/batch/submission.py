"""Reads what a student handed in, whatever it is, and puts back what nbgrader's release says it must be.

Nothing is assumed of a submission. What can be read is graded, with a note of what was odd; what cannot be
read ends in one sentence, `Unreadable`.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graders.batch import bounds

#: How deep lists and objects may stand in each other in a notebook and in an output.
DEPTH = 64
#: The schema of nbgrader's cell metadata that is written.
SCHEMA = 3
_CELL_KINDS = ("code", "markdown", "raw")
_NOTHING = object()


class Unreadable(Exception):
    """A notebook that cannot be read; the text is a sentence that says why."""


@dataclass(frozen=True)
class ReleasedCell:
    """A cell as the gradebook knows it from the release. points: None where it carries none."""

    name: str
    kind: str
    locked: bool
    source: str
    checksum: str
    grade: bool
    solution: bool
    task: bool
    points: float | None


@dataclass(frozen=True)
class Release:
    """A notebook as it was released: its cells by name, and its kernel."""

    cells: Mapping[str, ReleasedCell]
    kernel: dict[str, Any] | None = None


@dataclass
class Restored:
    """A submitted notebook, ready to be run, and notes on what was odd about it."""

    notebook: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def read(path: Path) -> Restored:
    """The notebook in a file as nbformat 4 data. Raises Unreadable."""
    notes: list[str] = []
    text = _text_of(path, notes)
    try:
        bounds.require_modest_json(text, path.name)
        data = json.loads(text)
    except bounds.TooLarge as problem:
        raise Unreadable(str(problem)) from None
    except RecursionError:
        raise Unreadable(f"{path.name} is nested too deeply to be a notebook.") from None
    except ValueError as error:
        what = "is empty" if not text.strip() else f"is no valid JSON ({error})"
        raise Unreadable(f"{path.name} {what}; it may have been cut off or edited by hand.") from None
    if not is_shallow(data):
        raise Unreadable(f"{path.name} is nested too deeply to be a notebook.")
    if not isinstance(data, dict):
        raise Unreadable(f"{path.name} is JSON, but no notebook.")
    if "cells" not in data and "worksheets" in data:
        data = _upgraded(data, path, notes)
    cells = data.get("cells")
    if not isinstance(cells, list):
        raise Unreadable(f"{path.name} is no notebook: it has no list of cells.")
    odd: set[str] = set()
    kept = [cell for cell in (_whole(cell, odd) for cell in cells) if cell is not None]
    if len(kept) < len(cells):
        notes.append(f"{len(cells) - len(kept)} cells that are no cells were left out.")
    metadata = _metadata_of(data, _NOTEBOOK_METADATA, odd)
    metadata.pop("language_info", None)
    notebook = {
        "cells": kept,
        "metadata": metadata,
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    if odd:
        notes.append(f"Metadata of another form than notebooks have was left out: {', '.join(sorted(odd))}.")
    try:
        bounds.require_modest_content(kept, path.name)
    except bounds.TooLarge as problem:
        raise Unreadable(str(problem)) from None
    _number(notebook["cells"])
    return Restored(notebook, notes)


def shown(text: str) -> str:
    """A name or sentence as one line that can be printed: what is not printable stands there as an escape."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def is_own_file(status: os.stat_result) -> bool:
    """Whether this is a file, and under no other name anybody else's."""
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def is_shallow(data: Any, depth: int = DEPTH) -> bool:
    """Whether JSON data can be walked through without a thought for the stack."""
    level = [data]
    for _ in range(depth):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return True
    return False


def _text_of(path: Path, notes: list[str]) -> str:
    try:
        # Neither a link nor a pipe is followed or waited for.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if path.is_symlink():
            raise Unreadable(f"{path.name} is a symbolic link; links are not followed.") from None
        raise Unreadable(f"{path.name} cannot be read: {error.strerror}.") from None
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise Unreadable(f"{path.name} is no regular file.")
    if not is_own_file(status):
        os.close(handle)
        raise Unreadable(f"{path.name} is a hard link, a second name of some file; hand in a copy of it.")
    with os.fdopen(handle, "rb") as file:
        if status.st_size > bounds.NOTEBOOK_LIMIT:
            size, limit = status.st_size >> 20, bounds.NOTEBOOK_LIMIT >> 20
            raise Unreadable(f"{path.name} has {size} MB; up to {limit} MB are read.")
        data = file.read(bounds.NOTEBOOK_LIMIT + 1)
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            notes.append(f"The file is in {encoding.upper()} with a byte order mark.")
            break
    else:
        encoding = "utf-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        notes.append("The file is not in UTF-8; it was read as Latin-1.")
        return data.decode("latin-1")


def _upgraded(data: dict[str, Any], path: Path, notes: list[str]) -> dict[str, Any]:
    """A notebook of the old format, in the new one."""
    import nbformat

    try:
        notes.append("The notebook is in an old format and was converted.")
        return nbformat.convert(nbformat.from_dict(data), 4)
    except Exception as error:  # a converter of malformed data fails in any way
        raise Unreadable(
            f"{path.name} is in an old notebook format and cannot be converted ({type(error).__name__})."
        ) from None


def _metadata_of(one: Mapping[str, Any], known: Mapping[str, Any], odd: set[str]) -> dict[str, Any]:
    """The metadata of a notebook or a cell that is known and in order; what is not in order is added to odd.

    The rest belongs to editors. nbconvert's templates read some of it, and fail where its form is another.
    """
    metadata = one.get("metadata", {})
    if not isinstance(metadata, Mapping):
        odd.add("metadata")
        return {}
    kept = {}
    for name, fits in known.items():
        if name in metadata and fits(metadata[name]):
            kept[name] = metadata[name]
        elif name in metadata:
            odd.add(name)
    return kept


def _is_text(value: Any) -> bool:
    """Whether this is a string that can be written."""
    return isinstance(value, str) and value.isprintable()


def _is_kernel(value: Any) -> bool:
    names = {"name", "display_name"}
    return isinstance(value, Mapping) and names <= value.keys() and all(map(_is_text, value.values()))


def _are_tags(value: Any) -> bool:
    fine = isinstance(value, list) and all(_is_text(tag) and tag and "," not in tag for tag in value)
    return fine and len(set(value)) == len(value)


def _is_hiding(value: Any) -> bool:
    names = {"source_hidden", "outputs_hidden"}
    return isinstance(value, Mapping) and value.keys() <= names and all(map(_is_flag, value.values()))


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


#: The metadata that is kept, and what it must be. The language is the grader's, whoever names another.
_NOTEBOOK_METADATA: Mapping[str, Any] = {
    "kernelspec": _is_kernel,
    "language_info": lambda value: isinstance(value, Mapping),
}
_CELL_METADATA: Mapping[str, Any] = {
    "nbgrader": lambda value: isinstance(value, Mapping),
    "tags": _are_tags,
    "collapsed": _is_flag,
    "deletable": _is_flag,
    "editable": _is_flag,
    "jupyter": _is_hiding,
    "format": _is_text,
    "raw_mimetype": _is_text,
}


def _attachments_of(cell: Mapping[str, Any], odd: set[str]) -> dict[str, dict[str, str]]:
    """The files in a Markdown cell by name, each as text by its MIME type."""
    given = cell.get("attachments", {})
    files = given if isinstance(given, Mapping) else {}
    kept = {}
    for name, bundle in files.items():
        data = {
            kind: "".join(value) if _are_lines(value) else value
            for kind, value in (bundle.items() if isinstance(bundle, Mapping) else ())
            if isinstance(value, str) or _are_lines(value)
        }
        if data and all(map(_is_text, (name, *data))):
            kept[name] = {kind: value.encode("utf-8", "replace").decode() for kind, value in data.items()}
    if files is not given or len(kept) < len(files):
        odd.add("attachments")
    return kept


def _are_lines(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(line, str) for line in value)


def _whole(cell: Any, odd: set[str]) -> dict[str, Any] | None:
    """A cell with the fields that it must have and no others; None where it is none.

    odd: names of metadata that is not what it must be are added to it.
    """
    if not isinstance(cell, Mapping) or cell.get("cell_type") not in _CELL_KINDS:
        return None
    source = cell.get("source", "")
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    if not isinstance(source, str):
        return None
    source = source.encode("utf-8", "replace").decode("utf-8")  # lone surrogates cannot be written
    kept: dict[str, Any] = {
        "cell_type": cell["cell_type"],
        "metadata": _metadata_of(cell, _CELL_METADATA, odd),
        "source": source,
    }
    if isinstance(cell.get("id"), str):
        kept["id"] = cell["id"]
    if kept["cell_type"] == "code":
        kept |= {"outputs": [], "execution_count": None}
    elif attachments := _attachments_of(cell, odd):
        kept["attachments"] = attachments
    return kept


def _number(cells: list[dict[str, Any]]) -> None:
    """Give every cell an id of its own; ids that are fine stay."""
    seen: set[str] = set()
    for position, cell in enumerate(cells):
        name = cell.get("id", "")
        fine = 1 <= len(name) <= 64 and name.replace("-", "").replace("_", "").isalnum() and name.isascii()
        if not fine or name in seen:
            name = f"cell-{position}"
            while name in seen:
                name += "x"
        seen.add(name)
        cell["id"] = name


def restore(submitted: Restored, release: Release) -> Restored:
    """Make the released cells what the gradebook says they are: their points, their kind, locked text.

    A cell that is there several times counts once, the last time. Cells that claim to be released and are
    not lose the claim. What is changed is noted where it was not in order.
    """
    notebook, notes = submitted.notebook, submitted.notes
    seen: set[str] = set()
    for cell in reversed(notebook["cells"]):
        form = cell["metadata"].pop("nbgrader", _NOTHING)
        if form is _NOTHING:
            continue
        name = form.get("grade_id") if isinstance(form, Mapping) else None
        if not isinstance(name, str) or name not in release.cells:
            if isinstance(form, Mapping) and (
                form.get("grade") or form.get("solution") or form.get("locked")
            ):
                notes.append(f"A cell calls itself {str(name)[:60]!r}, which was not released.")
            continue
        if name in seen:
            notes.append(f"The cell {name} is there more than once; the last one counts.")
            continue
        seen.add(name)
        one = release.cells[name]
        _put_back(cell, form, one, notes)
    missing = [name for name, one in release.cells.items() if one.points is not None and name not in seen]
    if missing:
        notes.append(f"Cells that carry points are missing: {', '.join(missing[:10])}.")
    if release.kernel:
        notebook["metadata"]["kernelspec"] = release.kernel
    return submitted


def _put_back(cell: dict[str, Any], form: Mapping[str, Any], one: ReleasedCell, notes: list[str]) -> None:
    if cell["cell_type"] != one.kind:
        notes.append(f"The cell {one.name} had been made a {cell['cell_type']} cell.")
        cell["cell_type"] = one.kind
        for name in ("outputs", "execution_count", "attachments"):
            cell.pop(name, None)
        if one.kind == "code":
            cell |= {"outputs": [], "execution_count": None}
    if one.points is not None and form.get("points") != one.points:
        notes.append(f"The points of the cell {one.name} had been changed.")
    if one.locked and cell["source"] != one.source:
        notes.append(f"The text of the locked cell {one.name} had been changed; it was put back.")
        cell["source"] = one.source
    restored: dict[str, Any] = {
        "cell_type": one.kind,
        "checksum": one.checksum,
        "grade": one.grade,
        "grade_id": one.name,
        "locked": one.locked,
        "schema_version": SCHEMA,
        "solution": one.solution,
        "task": one.task,
    }
    if one.points is not None:
        restored["points"] = one.points
    cell["metadata"]["nbgrader"] = restored


def data_files(folder: Path, notes: list[str], ignored: Any = lambda path: False) -> dict[str, bytes]:
    """The files beside the notebooks by relative path; links and what is too large are left out and noted."""
    found: dict[str, bytes] = {}
    left_out: list[str] = []
    total = 0
    for place, folders, names in os.walk(folder, followlinks=False):
        for name in list(folders):
            if Path(place, name).is_symlink():
                left_out.append(f"The folder {shown(name)} is a symbolic link; it was left out.")
                folders.remove(name)
        for name in sorted(names):
            path = Path(place, name)
            if ignored(str(path)) or name.endswith(".ipynb"):
                continue
            status = path.lstat()
            if why := _why_not(name, status, len(found), total):
                left_out.append(f"{shown(name)} {why}")
                continue
            total += status.st_size
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    notes += left_out[: bounds.NOTES_LIMIT]
    if more := left_out[bounds.NOTES_LIMIT :]:
        notes.append(f"{len(more)} more files and folders were left out.")
    return found


def _why_not(name: str, status: os.stat_result, count: int, total: int) -> str:
    """Why a file beside the notebooks is left out, as the end of a sentence; empty if it is not."""
    if shown(name) != name:
        return "was left out: its name has characters that cannot be shown."
    if not stat.S_ISREG(status.st_mode):
        return "is no regular file; it was left out."
    if not is_own_file(status):
        return "is a hard link, a second name of some file; it was left out."
    if total + status.st_size > bounds.FILES_LIMIT:
        return f"was left out: its files may have {bounds.FILES_LIMIT >> 20} MB in all."
    if count >= bounds.COUNT_LIMIT:
        return f"was left out: there may be {bounds.COUNT_LIMIT} files."
    return ""
