"""Reads a notebook and the files that a student handed in, whatever they are.

Nothing is assumed of a submission. What can be read is graded, with a note of what was odd; what cannot be
read ends in one sentence, `Unreadable`.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import math
import os
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, TypeVar

from graders.batch import bounds, repair
from graders.probing.process.protocol import is_deepest

#: How deep lists and objects may stand in each other in a notebook and in an output.
DEPTH = 64
#: The file that says when a submission was handed in.
TIMESTAMP = "timestamp.txt"
#: The folder of the grader's own beside a graded notebook; one that was handed in, or that a submission's
#: code has made, is no part of the submission.
OWN = ".graders"
#: How a file begins that is an archive, and one that gzip has compressed.
ARCHIVE, GZIP = b"PK\x03\x04", b"\x1f\x8b"
#: Folders of installed packages, as in a virtual environment.
INSTALLED = frozenset({"node_modules", "site-packages"})
#: Folders of files under the names of others: macOS's, and the language server's of JupyterLab.
_OF_TOOLS = frozenset({"__MACOSX", ".virtual_documents"})
_CELL_KINDS = ("code", "markdown", "raw")
#: What a cell of code begins with, in notebooks of Databricks, that is a text.
_TEXT = re.compile(r"\s*%md(?:-sandbox)?(?:[ \t]*\r?\n|[ \t]+|$)")
#: What says in a zip that a name is in UTF-8.
_UTF8 = 0x800


_Content = TypeVar("_Content")


class Unreadable(Exception):
    """A notebook that cannot be read; the text is a sentence that says why."""


@dataclass
class Submitted:
    """A notebook as it was handed in, of the form that notebooks have, and notes on what was odd about it.

    others: what else the file may have been meant to hold, where a merge or a copy has left two in it.
    shown: by the id of a cell, the points that its outputs show; infinity for all. python: the version that
    ran it.
    """

    notebook: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    others: list[Submitted] = field(default_factory=list)
    shown: dict[str, float] = field(default_factory=dict)
    python: str = ""


def read(path: Path) -> Submitted:
    """The notebook in a file as nbformat 4 data. Raises Unreadable."""
    return read_from(content_of(path), path.name)


def archive_at(path: Path) -> bytes | None:
    """The content of a file that has a notebook's name and is an archive."""
    try:
        content = content_of(path)
    except Unreadable:
        return None
    return content if content.startswith(ARCHIVE) else None


def read_from(content: bytes, name: str) -> Submitted:
    """The same of a file's content. name: of the file, for what is said about it. Raises Unreadable."""
    notes: list[str] = []
    if content.startswith(GZIP):
        content = _unpacked(content, name)
        notes.append("The file was compressed, as servers send files.")
    if len(content) > bounds.NOTEBOOK_LIMIT:
        content = repair.without_outputs(content)
    if len(content) > bounds.NOTEBOOK_LIMIT:
        raise Unreadable(too_large(name, len(content), bounds.NOTEBOOK_LIMIT))
    text = _text_in(content, notes)
    try:
        try:
            bounds.require_modest_json(text, name)
        except bounds.TooLarge:
            text = repair.without_outputs(text.encode("utf-8", "replace")).decode()
            bounds.require_modest_json(text, name)
        found = [_submitted(data, name) for data in repair.readings(text, notes)]
    except bounds.TooLarge as problem:
        raise Unreadable(str(problem)) from None
    except RecursionError:
        raise Unreadable(f"{name} is nested too deeply to be a notebook.") from None
    except ValueError as error:
        raise Unreadable(f"{name} {_what_is(text, error)}.") from None
    first, *others = found
    first.notes[:0] = notes
    first.others = [one for one in others if one.notebook != first.notebook]
    return first


def _unpacked(content: bytes, name: str) -> bytes:
    """The content of what gzip has compressed. Raises Unreadable."""
    try:
        unpacked = zlib.decompressobj(wbits=31).decompress(content, bounds.FILE_LIMIT + 1)
    except zlib.error:
        raise Unreadable(f"{name} is compressed, and damaged.") from None
    if len(unpacked) > bounds.FILE_LIMIT:
        raise Unreadable(too_large(name, len(unpacked)))
    return unpacked


def _what_is(text: str, error: ValueError) -> str:
    """What a file is that is no JSON, as the end of a sentence."""
    start = text.lstrip()[:40].lower()
    if start.startswith(("<!doctype html", "<html")):
        return "is a page of HTML; the page was saved, or that of a sign-in, and not the notebook"
    if start.startswith("version https://git-lfs"):
        return "is a pointer of Git LFS; the notebook itself was not handed in"
    what = f"is no valid JSON ({error})" if start else "is empty"
    return f"{what}; it may have been cut off or edited by hand"


def _submitted(data: Any, name: str) -> Submitted:
    """A notebook by its JSON data. Raises Unreadable, TooLarge and RecursionError."""
    notes: list[str] = []
    if not is_shallow(data):
        raise RecursionError
    if not isinstance(data, dict):
        raise Unreadable(f"{name} is JSON, but no notebook.")
    if "cells" not in data and isinstance(data.get("content"), dict):
        data = data["content"]
        notes.append("The notebook stood in what a Jupyter server says of it; it was taken out of that.")
    if "cells" not in data and "worksheets" in data:
        data = _upgraded(data, name, notes)
    cells = data.get("cells")
    if not isinstance(cells, list):
        raise Unreadable(f"{name} is no notebook: it has no list of cells.")
    odd: set[str] = set()
    kept = [(cell, whole) for cell in cells if (whole := _whole(cell, odd)) is not None]
    if joined := sum(isinstance(cell, Mapping) and _lacks_ends(cell.get("source")) for cell in cells):
        notes.append(f"The lines of {joined} cells had lost their ends, which were put back.")
    if texts := sum(whole["cell_type"] != cell["cell_type"] for cell, whole in kept):
        notes.append(f"{texts} texts stood in cells of code behind %md, as Databricks writes them.")
    if len(kept) < len(cells):
        notes.append(f"{len(cells) - len(kept)} cells that are no cells were left out.")
    metadata = _metadata_of(data, _NOTEBOOK_METADATA, odd)
    language = metadata.pop("language_info", {})
    if odd:
        notes.append(f"Metadata of another form than notebooks have was left out: {', '.join(sorted(odd))}.")
    wholes = [whole for _, whole in kept]
    bounds.require_modest_content(wholes, name)
    _number(wholes)
    shows = {whole["id"]: points for cell, whole in kept if (points := _shown_by(cell)) is not None}
    python = str(language.get("version", "")) if language.get("name") == "python" else ""
    notebook = {"cells": wholes, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return Submitted(notebook, notes, shown=shows, python=python)


def _shown_by(cell: Mapping[str, Any]) -> float | None:
    """The points that the stored outputs of a cell show; infinity for all of them, None for no points."""
    outputs = cell.get("outputs")
    if not isinstance(cell.get("execution_count"), int) or not isinstance(outputs, list):
        return None
    points = math.inf
    for output in outputs:
        kind = output.get("output_type") if isinstance(output, Mapping) else None
        if kind == "error":
            return None
        data = output.get("data") if kind == "execute_result" else None
        text = data.get("text/plain") if isinstance(data, Mapping) else None
        text = "".join(text) if _are_lines(text) else text
        if isinstance(text, str):
            with contextlib.suppress(ValueError):
                points = float(text)
    return points


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


def content_of(path: Path) -> bytes:
    """The bytes of a notebook's file. Raises Unreadable."""
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
        if status.st_size > bounds.FILE_LIMIT:
            raise Unreadable(too_large(path.name, status.st_size))
        return file.read(bounds.FILE_LIMIT + 1)


def too_large(name: str, size: int, limit: int = bounds.FILE_LIMIT) -> str:
    """Why a notebook of so many bytes is not read."""
    return (
        f"{name} has {size >> 20} MB; up to {limit >> 20} MB are read. Hand it in again without its outputs."
    )


def _text_in(data: bytes, notes: list[str]) -> str:
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            notes.append(f"The file is in {encoding.upper()} with a byte order mark.")
            break
    else:
        encoding = json.detect_encoding(data)
        if encoding != "utf-8":
            notes.append(f"The file is in {encoding.upper()}.")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        notes.append("The file is not in UTF-8; it was read as Latin-1.")
        return data.decode("latin-1")


def _upgraded(data: dict[str, Any], name: str, notes: list[str]) -> dict[str, Any]:
    """A notebook of the old format, in the new one."""
    import nbformat

    try:
        notes.append("The notebook is in an old format and was converted.")
        return nbformat.convert(nbformat.from_dict(data), 4)
    except Exception as error:  # a converter of malformed data fails in any way
        raise Unreadable(
            f"{name} is in an old notebook format and cannot be converted ({type(error).__name__})."
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
    "jp-MarkdownHeadingCollapsed": _is_flag,
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


def _lacks_ends(source: Any) -> bool:
    """Whether a text is several lines of which none has an end, as programs write it that make notebooks."""
    if not _are_lines(source) or len(source) < 2:
        return False
    return all(len(f"{line}.".splitlines()) == 1 for line in source)


def fields_of(kind: str) -> dict[str, Any]:
    """What a cell of this kind has beside its text, before it is run."""
    return {"outputs": [], "execution_count": None} if kind == "code" else {}


def _whole(cell: Any, odd: set[str]) -> dict[str, Any] | None:
    """A cell with the fields that it must have and no others; None where it is none.

    odd: names of metadata that is not what it must be are added to it.
    """
    if not isinstance(cell, Mapping) or cell.get("cell_type") not in _CELL_KINDS:
        return None
    source = cell.get("source", "")
    if isinstance(source, list):
        ends = "\n" if _lacks_ends(source) else ""
        source = ends.join(line for line in source if isinstance(line, str))
    if not isinstance(source, str):
        return None
    source = source.encode("utf-8", "replace").decode("utf-8")  # lone surrogates cannot be written
    kind = cell["cell_type"]
    if kind == "code" and (mark := _TEXT.match(source)):
        kind, source = "markdown", source[mark.end() :]
    kept: dict[str, Any] = {
        "cell_type": kind,
        "metadata": _metadata_of(cell, _CELL_METADATA, odd),
        "source": source,
    }
    if isinstance(cell.get("id"), str):
        kept["id"] = cell["id"]
    if kept["cell_type"] == "code":
        kept |= fields_of("code")
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


def data_files(folder: Path, notes: list[str], ignored: Sequence[str] = ()) -> dict[str, bytes]:
    """The files beside the notebooks by relative path; links and what is too large are left out and noted.

    ignored: nbgrader's patterns of names that are no part of a submission.
    """
    found: dict[str, bytes] = {}
    left_out: list[str] = []
    total = 0
    for path in files_in(folder, ignored, left_out):
        if is_notebook(path.name):
            continue
        status = path.lstat()
        if why := _why_not(path.name, status, len(found), total):
            left_out.append(f"{shown(path.name)} {why}")
            continue
        total += status.st_size
        found[composed(path.relative_to(folder).as_posix(), folder)] = path.read_bytes()
    notes += left_out[: bounds.NOTES_LIMIT]
    if more := left_out[bounds.NOTES_LIMIT :]:
        notes.append(f"{len(more)} more files and folders were left out.")
    return found


def composed(path: str, folder: Path) -> str:
    """A path in a folder with its accents as keyboards write them, by which code opens a file.

    macOS takes them apart. Where both forms are there, each stays as it is.
    """
    usual = unicodedata.normalize("NFC", path)
    return path if usual != path and os.path.lexists(folder / usual) else usual


def apart(files: Mapping[str, _Content], released: Collection[str] = ()) -> dict[str, _Content]:
    """Files by path that can lie beside each other: what is a file and a folder is a folder.

    released: paths that are files in any case.
    """
    folders = {str(one) for name in files for one in PurePosixPath(name).parents}
    if not (both := folders & files.keys()):
        return dict(files)
    stay = both & set(released)
    return {
        name: content
        for name, content in files.items()
        if (name not in both or name in stay) and stay.isdisjoint(map(str, PurePosixPath(name).parents))
    }


def files_in(folder: Path, ignored: Sequence[str], left_out: list[str]) -> Iterator[Path]:
    """All that is no folder, in this folder and those in it; links to folders are not followed.

    What is hidden comes last, so that it takes no room from what a notebook reads. Installed packages are
    left out: there are thousands of them, and they are of use on the student's computer alone.
    """
    for place, folders, names in os.walk(folder, followlinks=False):
        if folders and is_deepest(place, str(folder)):
            left_out.append(f"The folder {shown(folders[0])} lies in too many others; it was left out.")
            folders.clear()
        for name in sorted(folders):
            if name == OWN or is_ignored(name, ignored):
                folders.remove(name)
            elif Path(place, name).is_symlink():
                left_out.append(f"The folder {shown(name)} is a symbolic link; it was left out.")
                folders.remove(name)
            elif name in INSTALLED:
                left_out.append(f"The folder {shown(name)} holds installed packages; it was left out.")
                folders.remove(name)
        folders.sort(key=lambda name: (name.startswith("."), name))
        yield from (Path(place, name) for name in sorted(names) if not is_ignored(name, ignored))


def path_in_archive(info: zipfile.ZipInfo) -> str:
    """The path of a file in a zip, with / between its parts. Some systems write UTF-8 and do not say so."""
    name = info.orig_filename.split("\0")[0]
    if not info.flag_bits & _UTF8:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def is_foreign(path: PurePath) -> bool:
    """Whether a file is one that a system or an editor sets beside others, under their names, for itself."""
    return not _OF_TOOLS.isdisjoint(path.parts) or path.name.startswith("._")


def is_notebook(name: str) -> bool:
    """Whether this is the name of a notebook, however it is capitalized."""
    return name.lower().endswith(".ipynb")


def is_ignored(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name is one of these, as a shell would expand them."""
    return any(
        fnmatch.fnmatchcase(name, one) and (one.startswith(".") or not name.startswith("."))
        for one in patterns
    )


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
