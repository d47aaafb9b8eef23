"""What was seen of every candidate, kept beside the graded notebook, so that it can be judged again.

A verdict follows from questions, from what a candidate did with them, and from what the judge knows. The
second is slow to come by and never changes, so it is kept as it came out of the sandbox. For each notebook
there are two files in a folder of the grader's own: the observations, a frame for each check, and an index,
which says on what each verdict depends. Where the questions are others now, observations are no answer to
them, and the notebook is run again; where only what the judge knows has changed, they are judged again.

What is kept was made by students' code. It is read under the bounds and checks under which it came.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graders.batch.submission import OWN, is_own_file
from graders.probing.process import protocol

if TYPE_CHECKING:
    from graders.batch.recognition import Release, ReleasedCell
    from graders.classroom.comments import Comments
    from graders.judging.rubric import Rubric

#: Bytes of the observations of one notebook; a check that does not fit in is run again instead. Seven right
#: answers have some hundred kilobytes.
LIMIT = 16 << 20
#: Bytes that are read of an index.
INDEX_LIMIT = 4 << 20
#: What the answer to a check says, beside the values.
_ANSWERS = ("sights", "missing", "not_callable", "changed", "error")
_ROOT = Path(__file__).parents[2]
#: A cell that is a check, and nothing else.
_IS_CHECK = re.compile(r"\s*check\(([\w\s,]+)\)\s*")


@dataclass(frozen=True)
class Check:
    """One verdict, and what it depends on.

    cell: the name of the cell. day, exercise: what was checked. seed, devices: of the questions. named: keys
    of the mistakes that the verdict speaks of. standing: a digest of what stands for these (see `standing`).
    worth: the points of the cell; points: those that it got; added: what instructors' comments add to them.
    outcome, mistake: of the verdict; told: a digest of all that it says. seen: are there observations?
    """

    cell: str
    day: str
    exercise: str
    seed: int
    devices: tuple[str, ...]
    named: tuple[str, ...] = ()
    standing: str = ""
    worth: float = 0.0
    points: float = 0.0
    added: float = 0.0
    outcome: str = ""
    mistake: str | None = None
    told: str = ""
    seen: bool = False


@dataclass(frozen=True)
class Index:
    """What is known of a graded notebook.

    released: a digest of what was released. questions, judge: by day, digests of the questions and of the
    judge's knowledge at the time. suspects: cells whose points are in doubt.
    """

    released: str
    questions: Mapping[str, str]
    judge: Mapping[str, str]
    suspects: tuple[str, ...] = ()
    checks: tuple[Check, ...] = field(default=())

    @property
    def content(self) -> bytes:
        return json.dumps(asdict(self), indent=1).encode()


def index_path(notebook: str) -> str:
    """Where the index of a notebook lies, in the folder of the graded submission."""
    return f"{OWN}/{notebook}.checks.json"


def observations_path(notebook: str) -> str:
    """The same of the observations."""
    return f"{OWN}/{notebook}.observations"


def indexed(released: str, checks: Sequence[Mapping[str, Any]], suspects: Iterable[str]) -> Index:
    """The index of a notebook that was graded just now. checks: as a worker says them."""
    made = tuple(check_of(one) for one in checks)
    days = sorted({one.day for one in made})
    return Index(
        released,
        {day: questions(day) for day in days},
        {day: judge(day) for day in days},
        tuple(sorted(suspects)),
        made,
    )


def index_in(folder: Path, notebook: str) -> Index | None:
    """The index of a graded notebook; None where there is none that can be used."""
    try:
        held = json.loads(_content_of(folder / index_path(notebook), INDEX_LIMIT))
        checks = tuple(check_of(one) for one in held["checks"])
        texts = [{str(day): str(one) for day, one in held[name].items()} for name in ("questions", "judge")]
        return Index(str(held["released"]), *texts, tuple(map(str, held["suspects"])), checks)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def check_of(said: Mapping[str, Any]) -> Check:
    """A check of data, as a worker says it or an index holds it."""
    return Check(**{**said, "devices": tuple(said["devices"]), "named": tuple(said["named"])})


# The observations


def frame_of(cell: str, cases: str, answer: Mapping[str, Any], payload: bytes) -> bytes:
    """What came back of a check, to be kept. cases: a digest of what was asked."""
    kept = {name: answer[name] for name in _ANSWERS if name in answer}
    return protocol.frame({"cell": cell, "cases": cases, "answer": kept}, payload)


def frames_in(folder: Path, notebook: str) -> Iterator[tuple[dict[str, Any], bytes]]:
    """All that is kept of a notebook's checks: header and bytes. Raises OSError, and Broken."""
    stream = io.BytesIO(_content_of(folder / observations_path(notebook), LIMIT))
    while stream.tell() < stream.getbuffer().nbytes:
        yield protocol.read_frame(stream)


def digest_of(packed: tuple[Any, bytes]) -> str:
    """A digest of cases that are ready to be sent."""
    tree, payload = packed
    return hashlib.sha256(json.dumps(tree).encode() + payload).hexdigest()


def _content_of(path: Path, limit: int) -> bytes:
    """A file of ours as far as it is one, and not larger than it may be. Raises OSError."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        if not is_own_file(os.fstat(file.fileno())):
            raise OSError("it is no file")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError("it is too large")
    return content


# What a verdict depends on


def released(release: Release, sources: Iterable[tuple[Path, str]]) -> str:
    """A digest of a released notebook, but for the points of its checks, and of the files beside it."""
    digest = hashlib.sha256()
    for cell in release.cells.values():
        text = (cell.name, cell.kind, cell.locked, cell.source, cell.grade, cell.solution, cell.task)
        digest.update(repr((*text, None if checked_in(cell) else cell.points)).encode())
    for path, name in sorted(sources, key=lambda one: one[1]):
        digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def checked_in(cell: ReleasedCell) -> list[str]:
    """The names that a released cell checks; none where it is no check."""
    found = _IS_CHECK.fullmatch(cell.source or "")
    return [name.strip() for name in found[1].split(",")] if found else []


@cache
def questions(day: str) -> str:
    """A digest of what the exercises of a day ask, and of how a candidate is looked at: the text of both.

    Comments and docstrings are left out, and what the parts of an exercise are worth.
    """
    starts = (f"graders.probing.days.{day}", "graders.probing.observe", "graders.probing.process.values")
    data = sorted((_ROOT / "graders" / "probing" / "days").glob("*.safetensors"))
    return _digest(starts, _without_worth, *(path.read_bytes() for path in data))


@cache
def judge(day: str) -> str:
    """A digest of what the judge knows of the exercises of a day and of how it compares: the text of both.

    Comments and docstrings are left out, and the messages of mistakes.
    """
    starts = (f"graders.judging.references.{day}", f"graders.probing.days.{day}", "graders.judging.judge")
    return _digest(starts, _without_message, metadata.version("torch").encode())


def standing(exercise: str, named: Sequence[str], rubric: Rubric, comments: Comments) -> str:
    """A digest of all that is said of these mistakes in an exercise: messages, shares, comments."""
    from graders.judging import catalogue

    answer = catalogue.answer_of(exercise)
    known = (*answer.mistakes, *(one for basis in answer.bases for one in basis.mistakes))
    messages = [(one.key, one.message) for one in known if one.key in named]
    shares = rubric.said(exercise, named)
    remarks = [(one.text, one.points) for one in comments.on(exercise, named)]
    return hashlib.sha256(repr((messages, shares, remarks)).encode()).hexdigest()


def _digest(starts: Iterable[str], forget: Callable[[ast.Call], None], *more: bytes) -> str:
    """Of these modules and all of ours that they import. forget: takes out of a call what does not count."""
    digest = hashlib.sha256()
    for path, tree in sorted(_with_imports(starts).items()):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                forget(node)
        digest.update(path.name.encode() + ast.dump(tree).encode())
    for content in more:
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def _without_worth(call: ast.Call) -> None:
    if isinstance(call.func, ast.Name) and call.func.id == "Part":
        call.args, call.keywords = [], []


def _without_message(call: ast.Call) -> None:
    """Each verdict says by itself which messages it depends on: see `standing`."""
    if isinstance(call.func, ast.Name) and call.func.id in ("mistake", "Mistake"):
        del call.args[1:2]
        call.keywords = [one for one in call.keywords if one.arg != "message"]


def _with_imports(starts: Iterable[str]) -> dict[Path, ast.Module]:
    left, found = list(starts), dict[Path, ast.Module]()
    while left:
        path = _path_of(left.pop())
        if path is None or path in found:
            continue
        found[path] = tree = _without_docstrings(ast.parse(path.read_text(encoding="utf-8")))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("graders"):
                left += [str(node.module), *(f"{node.module}.{one.name}" for one in node.names)]
            elif isinstance(node, ast.Import):
                left += [one.name for one in node.names if one.name.startswith("graders")]
            elif isinstance(node, ast.Constant) and str(node.value).startswith("graders."):
                left.append(str(node.value))  # it is imported by its name
    return found


def _path_of(module: str) -> Path | None:
    path = _ROOT.joinpath(*module.split("."))
    places = (path.with_suffix(".py"), path / "__init__.py")
    return next((one for one in places if one.is_file()), None)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, False):
            node.body = node.body[1:]
    return tree
