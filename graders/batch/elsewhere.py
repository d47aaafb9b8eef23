"""What became of a notebook here, beside how it ran where it was written.

Honest work may fail here and nowhere else: for a module that is missing, for a newer Python, for a name
that only the student's kernel still knew, for time. What was handed in tells: in its outputs, and in what it
says of the Python that ran it. None of it gives points; where it says more than was given, a person is asked.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

#: What ends a cell for a reason that lies in the place where it runs, and which of it is that it took long.
_TOO_LATE = "CellTimeoutError"
_BY_PLACE = frozenset(
    name for name, one in vars(builtins).items() if isinstance(one, type) and issubclass(one, OSError)
) | {
    *("ModuleNotFoundError", "ImportError", "EOFError", "URLError", "HTTPError", "gaierror", "SSLError"),
    *("ConnectTimeout", _TOO_LATE),
}
#: The same by what an error says that a library makes of it.
_SAYS_PLACE = re.compile(
    r"(?i)read-only file system|operation not permitted|permission denied|no such file or directory|"
    r"directory \S+ does not exist|name resolution|network is unreachable|can't start new thread|"
    r"not compiled with \w+ enabled|no nvidia driver|no cuda gpus|cannot get cuda generator|support for mps|"
    r"from the '(?:cuda|mps|xpu)' backend|torch\.cuda\.is_available\(\) is false"
)
#: How much of an error's text is looked at, in characters.
_LOOKED_AT = 2_000
_UNDEFINED = re.compile(r"name '(\w+)' is not defined")
#: What a cell defines that cannot be parsed here.
_DEFINED = re.compile(r"^(?:async[ ]+)?(?:def|class)[ ]+(\w+)|^(\w+)[ ]*=(?!=)", re.MULTILINE)
_VERSION = re.compile(r"(\d+)\.(\d+)")


@dataclass(frozen=True)
class Elsewhere:
    """How a notebook ran before it was handed in.

    claimed: the names of its tests that show all of their points. python: the version of Python, or nothing.
    """

    claimed: frozenset[str] = field(default_factory=frozenset)
    python: str = ""


def compared(
    notebook: Mapping[str, Any], before: Elsewhere, known: Collection[str] = ()
) -> tuple[list[str], set[str]]:
    """Notes on points that the place may have cost, and the cells that a person should look at.

    notebook: as it was executed here. known: the cells that a person is asked about anyway.
    """
    notes: list[str] = []
    doubtful: set[str] = set()
    lacking: dict[str, str] = {}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    own = [() if _is_locked(cell) else tuple(_names_in(cell["source"])) for cell in cells]
    last = {name: place for place, names in enumerate(own) for name in names}
    for place, cell in enumerate(cells):
        form = cell["metadata"].get("nbgrader", {})
        if not _is_locked(cell):
            if why := _why_it_cannot_run(cell, before.python, last, place) or _lacked(cell, lacking):
                lacking |= dict.fromkeys(own[place], why)
            continue
        name = form.get("grade_id")
        lost = form.get("grade") and not form.get("solution") and _earned(cell) < form.get("points", 0)
        if not lost or name in known:
            continue
        if why := _lacked(cell, lacking):
            notes.append(f"{name}: {why}")
        elif (missing := _missing_in(cell)) and last.get(missing, -1) > place:
            notes.append(f"{name}: it needs {missing}, which a cell behind it defines.")
        elif why := by_place(name, _ends_of_test(cell)):
            notes.append(why)
        elif name in before.claimed:
            notes.append(
                f"{name}: what was handed in shows all of its points, and here it does not earn them; it may "
                "have run in another order, or been changed since."
            )
        else:
            continue
        doubtful.add(name)
    return notes, doubtful


def _lacked(cell: Mapping[str, Any], lacking: Mapping[str, str]) -> str:
    """Why a name is missing for want of which a cell failed, or that it calls; empty if none is."""
    if not lacking:
        return ""
    calls = [node for node in _nodes(cell["source"]) if isinstance(node, ast.Call)]
    parts = [call.func for call in calls]
    if _is_locked(cell):
        parts += [one for call in calls for one in call.args]
    names = {one.id for one in parts if isinstance(one, ast.Name)} | {_missing_in(cell)}
    return next((lacking[name] for name in sorted(names & lacking.keys())), "")


def _why_it_cannot_run(cell: Mapping[str, Any], python: str, last: Mapping[str, int], place: int) -> str:
    """Why a student's cell that failed here may run elsewhere, as a sentence; empty if it did not fail so.

    last: where each name is defined last. place: where this cell stands.
    """
    for output in _errors(cell):
        kind, text = output["ename"], output["evalue"][:100]
        if _ended_by_place(kind, output["evalue"]):
            return f"the cell of its answer ended for a reason that lies in this place ({kind}: {text})."
        if kind == "SyntaxError" and _is_newer(python):
            here = f"{sys.version_info.major}.{sys.version_info.minor}"
            return f"the cell of its answer was run by Python {python[:20]}, and cannot be read by {here}."
        if (missing := _missing_in(cell)) and last.get(missing, -1) > place:
            return f"the cell of its answer needs {missing}, which a cell behind it defines."
    return ""


def _ended_by_place(kind: str, text: str) -> bool:
    """Whether an exception, by its name and text, has a reason that lies in the place where it was raised."""
    return kind in _BY_PLACE or _SAYS_PLACE.search(text[:_LOOKED_AT]) is not None


def by_place(name: str, ends: Iterable[tuple[str, str]]) -> str:
    """A note that a test lost points by something that lies in the place; empty if there is no such thing.

    ends: name and text of the exceptions in which it, or what it calls, ended.
    """
    for kind, text in ends:
        if _ended_by_place(kind, text):
            why = f"{kind[:60]}: {text[:100]}".rstrip(". ")
            return f"{name}: what it calls ended for a reason that lies in this place ({why})."
    return ""


def _ends_of_test(cell: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and text of what a test ended with; it has time enough."""
    return [(one["ename"], one["evalue"]) for one in _errors(cell) if one["ename"] != _TOO_LATE]


def _missing_in(cell: Mapping[str, Any]) -> str:
    """The name for want of which a cell ended; empty if it did not."""
    found = (_UNDEFINED.search(one["evalue"]) for one in _errors(cell) if one["ename"] == "NameError")
    return next((one[1] for one in found if one), "")


def _errors(cell: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (output for output in cell["outputs"] if output["output_type"] == "error")


def _is_locked(cell: Mapping[str, Any]) -> bool:
    return bool(cell["metadata"].get("nbgrader", {}).get("locked"))


def _is_newer(python: str) -> bool:
    version = _VERSION.match(python)
    return bool(version) and (int(version[1]), int(version[2])) > sys.version_info[:2]


def _names_in(source: str) -> Iterator[str]:
    for found in _DEFINED.finditer(source):
        yield found[1] or found[2]


def _nodes(source: str) -> Iterator[ast.AST]:
    try:
        yield from ast.walk(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return


def _earned(cell: Mapping[str, Any]) -> float:
    """The points of an executed test, by nbgrader's rules."""
    points = float(cell["metadata"]["nbgrader"].get("points", 0))
    if any(_errors(cell)):
        return 0.0
    for output in cell["outputs"]:
        if output["output_type"] == "execute_result":
            try:
                points = float(output["data"].get("text/plain", ""))
            except ValueError:
                continue
    return points
