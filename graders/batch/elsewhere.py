"""What became of a notebook here, beside how it ran where it was written.

Honest work may fail here and nowhere else: for a module that is missing, for a newer Python, for a name
that only the student's kernel still knew, for another program, for memory, for time. What was handed in
tells: in its outputs, and in what it says of the Python that ran it. None of it gives points; where it says
more than was given, a person is asked.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from graders.batch import bounds
from graders.batch.recognition import parsed

#: What ends a cell for a reason that lies in the place where it runs, and which of it is that it took long.
_TOO_LATE = "CellTimeoutError"
_BY_PLACE = frozenset(
    name for name, one in vars(builtins).items() if isinstance(one, type) and issubclass(one, OSError)
) | {
    *("ModuleNotFoundError", "ImportError", "EOFError", "URLError", "HTTPError", "gaierror", "SSLError"),
    *("ConnectTimeout", "TclError", "BdbQuit", _TOO_LATE),
}
#: The same for want of memory, and what libraries say then.
_NO_ROOM = frozenset({"MemoryError", "_ArrayMemoryError", "OutOfMemoryError"})
_SAYS_NO_ROOM = re.compile(r"(?i)\bout of memory\b|(?:can't|cannot|unable to) allocate|\bbad_alloc\b")
#: What is shown where a cell has asked for another program, which may have said nothing of it.
NO_PROGRAM = "This asked for another program; none is started where notebooks are graded.\n"
#: The same by what an error says that a library makes of it.
_SAYS_PLACE = re.compile(
    r"(?i)read-only file system|operation not permitted|permission denied|no such file or directory|"
    r"directory \S+ does not exist|file \S+ cannot be opened|name resolution|network is unreachable|"
    r"can't start new thread|"
    r"not compiled with \w+ enabled|no nvidia driver|no cuda gpus|cannot get cuda generator|support for mps|"
    r"file `.*` not found|no running event loop|cannot trace its code|unsupported locale setting|"
    r"dataset not found|was not found in history, as a file|use the nltk downloader|"
    r"no available video device|"
    r"from the '(?:cuda|mps|xpu)' backend|torch\.cuda\.is_available\(\) is false"
)
#: The same by where a key is missing: a variable of the environment.
_IN_ENVIRONMENT = re.compile(r"<frozen os>|[/\\]os\.py")
#: How much of an error's text is looked at, in characters.
_LOOKED_AT = 2_000
#: What a cell shows in which a notebook ended, and those behind it; and what it says where time was up.
_ENDED, _TIME_IS_UP = "Stopped", "The notebook took longer"
_NO_MODULE = re.compile(r"No module named '(\w+)")
_UNDEFINED = re.compile(r"name '(\w+)' is not defined")
#: What is shown where a magic is not there, which ends the cell.
_NO_MAGIC = re.compile(r"UsageError: (?:Line magic function|Cell magic) `(%{1,2}\w+)` not found")
#: The tag of a cell that is not run, as nbclient has it; one that is graded is run all the same.
SKIPPED = "skip-execution"
#: Where two versions of a cell stand that nobody has merged.
_MERGED = tuple(re.compile(rf"^{mark}{{7}}", re.MULTILINE) for mark in "<=>")
#: Magics by which a cell is not run in the notebook, or with names of its own.
_APART = re.compile(r"\s*%%(timeit|writefile|file|html|latex|markdown|javascript|js|svg)\b")
#: What runs another file in the notebook, and what stands for the names that come of it.
_RUN, _ANY = re.compile(r"^[ \t]*%run\b", re.MULTILINE), "*"
#: What a cell defines that cannot be parsed here.
_DEFINED = re.compile(r"^(?:async[ ]+)?(?:def|class)[ ]+(\w+)|^(\w+)[ ]*=(?!=)", re.MULTILINE)
_VERSION = re.compile(r"(\d+)\.(\d+)")
#: Where a comment or a string begins, with what stands before it and its quote; and how deep f-strings may
#: stand in each other.
_BEGINS, _NESTED = re.compile(r"#|([bfrtu]{0,2})(\"\"\"|\'\'\'|\"|\')", re.IGNORECASE), 5
#: Statements that newer versions of Python know, and what stands for them in an older one.
_NEWER = tuple(
    (re.compile(pattern, re.MULTILINE), older)
    for pattern, older in (
        (r"^([ \t]*)type[ \t]+(\w+)[ \t]*(?:\[.*\])?[ \t]*=(?!=)", r"\1\2 ="),
        (r"^([ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+\w+)[ \t]*\[.*?\](?=[ \t]*[(:])", r"\1"),
        (r"^([ \t]*except)[ \t]+([\w.]+(?:[ \t]*,[ \t]*[\w.]*\b[A-Z]\w*)+)[ \t]*:", r"\1 (\2):"),
    )
)


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
    names_of = [tuple(_names_in(cell["source"])) for cell in cells]
    last = {
        name: place for place, names in enumerate(names_of) if not _is_locked(cells[place]) for name in names
    }
    unreached: list[str] = []
    ended = ""
    for place, cell in enumerate(cells):
        form = cell["metadata"].get("nbgrader", {})
        name, locked = form.get("grade_id"), _is_locked(cell)
        before_it, ended = ended, ended or _ended_in(cell)
        if not form.get("grade") or not locked:
            why = _why_it_cannot_run(cell, before.python, last, place)
            which = f"the locked cell {name}" if locked else "the cell of its answer"
            if why := f"{which} {why}" if why else _lacked(cell, lacking):
                lacking |= dict.fromkeys(set(names_of[place]) - _imported_before(cell), why)
            elif not any(_errors(cell)):
                for one in set(names_of[place]) - {_ANY}:
                    lacking.pop(one, None)
            continue
        lost = not form.get("solution") and _earned(cell) < form.get("points", 0)
        if not lost or name in known:
            continue
        if before_it or ended.startswith(_TIME_IS_UP):
            unreached.append(name)
            doubtful.add(name)
            continue
        if why := _lacked(cell, lacking):
            notes.append(f"{name}: {why}")
        elif (missing := _missing_in(cell)) and last.get(missing, -1) > place:
            notes.append(f"{name}: it needs {missing}, which a cell behind it defines.")
        elif why := by_place(name, _ends_of_test(cell), programs=_asked_for_a_program(cell)):
            notes.append(why)
        elif name in before.claimed:
            notes.append(
                f"{name}: what was handed in shows all of its points, and here it does not earn them; it may "
                "have run in another order, or been changed since."
            )
        else:
            continue
        doubtful.add(name)
    if unreached:
        more = f" and {len(unreached) - 5} more" if len(unreached) > 5 else ""
        which = f"{', '.join(unreached[:5])}{more}"
        notes.append(
            f"{which}: the notebook ended before these had run, and nothing is known of what they test."
        )
    return notes, doubtful


def _ended_in(cell: Mapping[str, Any]) -> str:
    """Why the notebook ended in a cell; empty if it did not."""
    ends = ((one["ename"], one["evalue"]) for one in _errors(cell))
    return next((text for kind, text in ends if kind == _ENDED or text.startswith(_TIME_IS_UP)), "")


def _lacked(cell: Mapping[str, Any], lacking: Mapping[str, str]) -> str:
    """Why a name is missing for want of which a cell failed, or that it calls; empty if none is.

    A test may use it in any way.
    """
    if not lacking:
        return ""
    nodes = list(_nodes(cell["source"]))
    used = nodes if _is_locked(cell) else [node.func for node in nodes if isinstance(node, ast.Call)]
    missing = _missing_in(cell)
    names = {one.id for one in used if isinstance(one, ast.Name)} | {missing}
    known = next((lacking[name] for name in sorted(names & lacking.keys())), "")
    if not known and missing and _ANY in lacking:
        return f"{missing} may come of a file, and {lacking[_ANY]}"
    return known


def _why_it_cannot_run(cell: Mapping[str, Any], python: str, last: Mapping[str, int], place: int) -> str:
    """Why a student's cell may have defined elsewhere what it does not here, as the end of a sentence.

    Empty if nothing says so. last: where each name is defined last. place: where this cell stands.
    """
    for output in _errors(cell):
        kind = output["ename"]
        if reason := _reason_of_place(*_end_of(output)):
            return f"ended {reason}"
        if kind == "SyntaxError" and all(mark.search(cell["source"]) for mark in _MERGED):
            return "holds a merge that was left unfinished."
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        if kind == "SyntaxError" and _is_newer(python):
            return f"was run by Python {python[:20]}, and cannot be read by {here}."
        if kind == "SyntaxError" and _read_by_a_newer_python(cell["source"]):
            return f"is written for a newer Python than {here}, which cannot read it."
        if (missing := _missing_in(cell)) and last.get(missing, -1) > place:
            return f"needs {missing}, which a cell behind it defines."
    if not _is_locked(cell) and SKIPPED in cell["metadata"].get("tags", ()):
        return f"has the tag {SKIPPED}, by which it is not run."
    for text in _streams(cell):
        if unknown := _NO_MAGIC.search(text):
            return f"ended at {unknown[1][:40]}, which is of an extension that is not there."
    if _asked_for_a_program(cell):
        return "asks for another program, and none is started here."
    if magic := _APART.match(cell["source"]):
        return f"begins with %%{magic[1]}, so that nothing it defines is there afterwards."
    return ""


def _end_of(error: Mapping[str, Any]) -> tuple[str, str, str]:
    """Name, text and traceback of an error that a cell shows."""
    return error["ename"], error["evalue"], "\n".join(error["traceback"])


def _reason_of_place(kind: str, text: str, trace: str = "") -> str:
    """What lies in the place where an exception was raised, as the end of a sentence; empty if nothing does.

    kind, text, trace: the exception's name, what it says, and its traceback.
    """
    said = " ".join(f"{kind[:60]}: {text[:100]}".split()).rstrip(".: ")
    looked_at = text[:_LOOKED_AT]
    if kind in _NO_ROOM or _SAYS_NO_ROOM.search(looked_at):
        return f"for want of memory ({said}); with more of it, by --memory, it may run."
    lacks_variable = kind == "KeyError" and _IN_ENVIRONMENT.search(trace)
    if kind in _BY_PLACE or _SAYS_PLACE.search(looked_at) or lacks_variable:
        return f"for a reason that lies in this place ({said})."
    return ""


def _asked_for_a_program(cell: Mapping[str, Any]) -> bool:
    return any(NO_PROGRAM in text for text in _streams(cell))


def by_place(name: str, ends: Iterable[tuple[str, ...]], *, programs: bool = False) -> str:
    """A note that a test lost points by something that lies in the place; empty if there is no such thing.

    ends: name and text of the exceptions in which it, or what it calls, ended, and their tracebacks if they
    are known. programs: whether it has asked for another program.
    """
    for end in ends:
        if reason := _reason_of_place(*end):
            return f"{name}: what it calls ended {reason}"
    return f"{name}: what it calls asks for another program, and none is started here." if programs else ""


def _ends_of_test(cell: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """What a test ended with; it has time enough."""
    return [_end_of(one) for one in _errors(cell) if one["ename"] != _TOO_LATE]


def _missing_in(cell: Mapping[str, Any]) -> str:
    """The name for want of which a cell ended; empty if it did not."""
    found = (_UNDEFINED.search(one["evalue"]) for one in _errors(cell) if one["ename"] == "NameError")
    return next((one[1] for one in found if one), "")


def _errors(cell: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (output for output in cell["outputs"] if output["output_type"] == "error")


def _streams(cell: Mapping[str, Any]) -> Iterator[str]:
    return (output["text"] for output in cell["outputs"] if output["output_type"] == "stream")


def _is_locked(cell: Mapping[str, Any]) -> bool:
    return bool(cell["metadata"].get("nbgrader", {}).get("locked"))


def _is_newer(python: str) -> bool:
    version = _VERSION.match(python)
    return bool(version) and (int(version[1]), int(version[2])) > sys.version_info[:2]


def _read_by_a_newer_python(source: str) -> ast.Module | None:
    """The tree of what cannot be parsed here, and can be where newer statements and f-strings are known.

    Of its f-strings, and of what it says of types, nothing is in it.
    """
    if len(source) > bounds.KEPT_LIMIT or parsed(source):
        return None
    try:
        source = _without_fields(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for newer, older in _NEWER:
        source = newer.sub(older, source)
    return parsed(source)


def _without_fields(source: str, depth: int = 0) -> str:
    """Code with empty strings in the place of f-strings, whose fields may hold any expression since 3.12.

    Raises ValueError or SyntaxError where a string does not end, or a field holds none.
    """
    if depth > _NESTED:
        raise ValueError
    kept, start = [], 0
    while found := _BEGINS.search(source, start):
        end = _end_of_part(source, found, depth)
        kept += [source[start : found.start()], "''" if _has_fields(found) else source[found.start() : end]]
        start = end
    return "".join([*kept, source[start:]])


def _has_fields(begin: re.Match[str]) -> bool:
    return not {"f", "t"}.isdisjoint((begin[1] or "").lower())


def _end_of_part(source: str, begin: re.Match[str], depth: int) -> int:
    """Where a comment or a string ends."""
    if begin[0] == "#":
        return len(source) if (end := source.find("\n", begin.end())) < 0 else end
    quote, formatted, place = begin[2], _has_fields(begin), begin.end()
    while not source.startswith(quote, place):
        one = source[place : place + 1]
        if not one or (one == "\n" and len(quote) == 1):
            raise ValueError
        if one == "\\" or (formatted and source.startswith(("{{", "}}"), place)):
            place += 2
        else:
            place = _end_of_field(source, place + 1, depth) if formatted and one == "{" else place + 1
    return place + len(quote)


def _end_of_field(source: str, start: int, depth: int) -> int:
    """Where a field of an f-string ends, from behind its brace on."""
    place, level = start, 0
    while level or source[place : place + 1] not in ("}", ":", "!") or source.startswith("!=", place):
        one = source[place : place + 1]
        if not one:
            raise ValueError
        level += (one in "([{") - (one in ")]}")
        part = _BEGINS.match(source, place)
        place = _end_of_part(source, part, depth) if part else place + 1
    expression = source[start:place].strip().rstrip("=")
    if not expression:
        raise ValueError
    ast.parse(f"(\n{_without_fields(expression, depth + 1)}\n)")
    while not source.startswith("}", place):
        if place >= len(source):
            raise ValueError
        place = _end_of_field(source, place + 1, depth) if source[place] == "{" else place + 1
    return place + 1


def _names_in(source: str) -> Iterator[str]:
    """The names that a cell gives a meaning outside of its functions and classes; `_ANY` for unknown ones."""
    if _RUN.search(source):
        yield _ANY
    tree = parsed(source) or _read_by_a_newer_python(source)
    if tree is None:
        for found in _DEFINED.finditer(source):
            yield found[1] or found[2]
    waiting: list[ast.AST] = list(tree.body) if tree else []
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.alias):
            yield _ANY if node.name == "*" else (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif not isinstance(node, ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def _imported_before(cell: Mapping[str, Any]) -> set[str]:
    """What a cell had imported before it met a module that is not there."""
    found = (_NO_MODULE.search(one["evalue"]) for one in _errors(cell))
    module = next((one[1] for one in found if one), "")
    there: set[str] = set()
    nodes = [one for one in _nodes(cell["source"]) if isinstance(one, ast.Import | ast.ImportFrom)]
    for node in sorted(nodes, key=lambda one: one.lineno):
        named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        if module and any(one.partition(".")[0] == module for one in named):
            return there
        there |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return set()


def _nodes(source: str) -> Iterator[ast.AST]:
    tree = parsed(source)
    if tree:
        yield from ast.walk(tree)


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
