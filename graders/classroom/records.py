"""What a report needs of one graded notebook, in a small file beside it.

A graded notebook has some hundred kilobytes, most of it pictures and text for its reader; a class has a
thousand. So whoever grades also leaves `.graders/NAME.record.json` in the submission's folder in
`autograded/`: what the judge said of each check, and the code that it is about. Where there is none, the
same is read from the notebook's stored outputs. Nothing here imports PyTorch or nbgrader.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from graders.judging.verdict import MIME

#: The folder of the grader's own in a graded submission, and what a record in it is called.
FOLDER, SUFFIX = ".graders", ".record.json"
VERSION = 1
#: The seed of the inputs on which wrong work that nothing explains is looked at once more, by everybody's.
SAME_FOR_ALL = 0
#: A record has at most so many bytes, a notebook too; what is larger is not read.
RECORD_LIMIT, NOTEBOOK_LIMIT = 1 << 20, 64 << 20
#: As much as is kept of the code of an exercise, and of a sentence, in characters.
CODE_LIMIT, TEXT_LIMIT = 6_000, 2_000
#: What a check comes to that has no verdict: its cell ended with an error.
STOPPED = "stopped"


@dataclass(frozen=True)
class Part:
    """The points of one part of an exercise."""

    label: str
    points: float
    most: float


@dataclass(frozen=True)
class Check:
    """What the judge said of one exercise of one student.

    cell: nbgrader's name of the one that checks. outcome: as in a verdict, or STOPPED. message: what was said
    of what no known mistake explains, else what was said first. mistakes: the known ones by key, each with
    its message. behaviour: how it is wrong beyond these, and seed: on inputs from which seed. code: of the
    answer cells before the check.
    """

    cell: str
    exercise: str
    outcome: str
    points: float
    most: float
    message: str = ""
    mistakes: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    behaviour: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    code: str = ""
    seed: int | None = None

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"

    @property
    def unexplained(self) -> bool:
        """Whether it is wrong in a way, or partly in a way, that no known mistake explains."""
        return bool(self.behaviour)


@dataclass(frozen=True)
class Before:
    """What an earlier hand-in came to: by exercise, its points and its mistakes. when: it was handed in."""

    when: str = ""
    points: Mapping[str, float] = field(default_factory=dict)
    mistakes: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """What came of one notebook of one student.

    when: it was handed in, as its timestamp says. work: a digest of its answers. before: the hand-in before
    this one, where there was one with other answers.
    """

    notebook: str
    when: str = ""
    work: str = ""
    checks: tuple[Check, ...] = ()
    before: Before | None = None

    def summary(self) -> Before:
        return Before(
            self.when,
            {one.exercise: one.points for one in self.checks},
            {one.exercise: sorted(one.mistakes) for one in self.checks},
        )


# Making them


def record_of(
    name: str,
    notebook: Mapping[str, Any],
    when: str = "",
    last: Record | None = None,
    behaviours: Mapping[str, Mapping[str, Any]] | None = None,
) -> Record:
    """The record of an executed notebook, nbformat's JSON.

    last: the record that there was until now. behaviours: by cell, on the inputs that are the same for all.
    """
    checks: list[Check] = []
    answers: list[str] = []
    errors: list[str] = []
    work = hashlib.sha256()
    for cell in notebook["cells"]:
        form = cell.get("metadata", {}).get("nbgrader") or {}
        source = _text(cell.get("source", ""))
        if form.get("solution"):
            work.update(source.encode("utf-8", "replace") + b"\0")
            if cell["cell_type"] == "code":
                answers.append(source)
                errors += _errors_in(cell)
        elif cell["cell_type"] == "code" and form.get("grade"):
            found = _check_in(cell, str(form.get("grade_id")), form.get("points"), source, errors)
            if found:
                checks.append(_with_code(found, answers))
            answers, errors = [], []
    digest = work.hexdigest()[:16]
    is_new = last is None or last.work != digest
    known = {} if is_new or behaviours is not None else {check.cell: check for check in last.checks}
    again = behaviours or {}
    checks = [_on_same_inputs(check, again.get(check.cell), known.get(check.cell)) for check in checks]
    before = None if last is None else last.summary() if is_new else last.before
    return Record(name, when, digest, tuple(checks), before)


def _on_same_inputs(check: Check, again: Mapping[str, Any] | None, known: Check | None) -> Check:
    """A check with its behaviour on the inputs that are the same for all, where that was looked at.

    known: the same check before; judged again, with the same mistakes, it behaves as it did.
    """
    if not check.unexplained:
        return check
    if again is None and known and known.seed == SAME_FOR_ALL and known.mistakes == check.mistakes:
        again = known.behaviour
    return replace(check, behaviour=again, seed=SAME_FOR_ALL) if again else check


def _check_in(
    cell: Mapping[str, Any], name: str, worth: Any, source: str, errors: Sequence[str]
) -> Check | None:
    """What the outputs of a graded cell say of a check; None where it holds none.

    errors: with which the answers before it ended.
    """
    for output in cell.get("outputs", ()):
        verdict = output.get("data", {}).get(MIME) if isinstance(output.get("data"), Mapping) else None
        if isinstance(verdict, Mapping):
            return check_of(name, verdict)
    if not source.startswith("check(") or not source.rstrip().endswith(")"):
        return None
    exercise = source.strip()[len("check(") : -1].split(",")[-1].strip()
    said = [*errors, *_errors_in(cell), "It was not run."]
    return Check(name, exercise, STOPPED, 0.0, float(worth or 0), said[0][:TEXT_LIMIT])


def _errors_in(cell: Mapping[str, Any]) -> list[str]:
    errors = [one for one in cell.get("outputs", ()) if one.get("output_type") == "error"]
    return [f"{one.get('ename')}: {one.get('evalue')}" for one in errors]


def check_of(cell: str, verdict: Mapping[str, Any]) -> Check:
    """The part of a stored verdict that a report needs."""
    keys = list(verdict.get("mistakes") or filter(None, [verdict.get("mistake")]))
    behaviour = dict(verdict.get("behaviour") or {})
    messages = [verdict["message"], *verdict.get("notes", ())]
    telling = len(keys) if behaviour and len(messages) > len(keys) else 0
    return Check(
        cell,
        str(verdict["exercise"]),
        str(verdict["outcome"]),
        float(verdict["points"]),
        float(verdict["max_points"]),
        str(messages[telling])[:TEXT_LIMIT],
        {str(key): str(text)[:TEXT_LIMIT] for key, text in zip(keys, messages, strict=False)},
        tuple(
            Part(str(one["label"]), float(one["points"]), float(one["max_points"]))
            for one in verdict.get("scores", ())
        ),
        behaviour,
        seed=verdict.get("seed"),
    )


def _with_code(check: Check, answers: Sequence[str]) -> Check:
    """The check with its code: the cell that defines the candidate first, and no step that was left empty."""
    defines = re.compile(rf"^(?:def|class)\s+{re.escape(check.exercise)}\b", re.MULTILINE)
    own = [one for one in answers if defines.search(one)]
    others = [one for one in answers if one not in own and not (own and "NotImplementedError" in one)]
    code = "\n\n".join(filter(None, (one.strip() for one in (*own, *others))))
    return replace(check, code=code[:CODE_LIMIT])


def _text(source: Any) -> str:
    return source if isinstance(source, str) else "".join(source)


# Writing and reading them


def kept_in(folder: Path) -> Iterator[Record]:
    """The records in a graded submission's folder; those that cannot be read are left out."""
    for name in _notebooks_in(folder):
        record = _read(folder / FOLDER / f"{name}{SUFFIX}")
        if record and record.notebook == name:
            yield record


def records_in(folder: Path) -> Iterator[Record]:
    """A record of each notebook in a graded submission's folder, kept or made of the notebook's outputs."""
    kept = {record.notebook: record for record in kept_in(folder)}
    for name in _notebooks_in(folder):
        record = kept.get(name) or _made_of(folder / f"{name}.ipynb")
        if record:
            yield record


def _notebooks_in(folder: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return sorted(name.removesuffix(".ipynb") for name in os.listdir(folder) if name.endswith(".ipynb"))
    return []


def last_of(folder: Path, notebook: str) -> Record | None:
    """The record of a notebook that lies in a submission's folder, to be followed by the next one."""
    return next((one for one in records_in(folder) if one.notebook == notebook), None)


def following(
    last: Record | None,
    name: str,
    notebook: Mapping[str, Any],
    when: str,
    behaviours: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[str, bytes]:
    """The path in a submission's folder, and the content, of the record of a notebook that was graded now.

    behaviours: as in `record_of`; None where it was judged again from what was seen.
    """
    record = record_of(name, notebook, when, last, behaviours)
    text = json.dumps({"version": VERSION, **asdict(record)}, ensure_ascii=False, separators=(",", ":"))
    return f"{FOLDER}/{name}{SUFFIX}", text.encode("utf-8", "replace")


def _read(path: Path) -> Record | None:
    try:
        if path.stat().st_size > RECORD_LIMIT:
            return None
        data = json.loads(path.read_bytes())
        return _record(data) if data["version"] == VERSION else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _made_of(path: Path) -> Record | None:
    try:
        if path.stat().st_size > NOTEBOOK_LIMIT:
            return None
        return record_of(path.stem, json.loads(path.read_bytes()), when_in(path.parent))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def when_in(folder: Path) -> str:
    """What the timestamp of a submission says, "" where it has none."""
    try:
        return (folder / "timestamp.txt").read_text(encoding="utf-8")[:64].strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _record(data: Mapping[str, Any]) -> Record:
    before = data.get("before")
    return Record(
        data["notebook"],
        data["when"],
        data["work"],
        tuple(
            Check(**{**one, "parts": tuple(Part(**part) for part in one["parts"])}) for one in data["checks"]
        ),
        Before(**before) if before else None,
    )
