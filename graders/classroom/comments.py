"""What the instructors say to everybody who made a known mistake, and what it adds to the points.

It stands in `comments.toml`, in the folder of a course, beside `rubric.toml`: a table for each exercise, in
it one for each mistake::

    [batch_norm_forward.eps_outside_root]
    comment = "Nearly. Compare the two roots on page 3."
    points = 0.5

The judge's report carries it, below the diagnosis, and the points are those of the report. So it is there
wherever the report is, whoever grades and by whatever command, and once only; and what a person writes to one
student, a comment, points by hand or extra credit, stands in the gradebook's own fields, which nothing here
writes to. PyTorch is imported only where a course's own comments are looked through.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from graders.judging.rubric import MalformedRubric
from graders.judging.verdict import Remark, Verdict

FILE = "comments.toml"
#: Characters of a comment, and points that one may add or take away.
LENGTH, POINTS = 2_000, 100
_FIELDS = ("comment", "points")
_FORM = '[batch_norm_forward.eps_outside_root], and below it comment = "…" or points = 0.5'


@dataclass(frozen=True)
class Comments:
    """Remarks by exercise, and in that by the key of a mistake."""

    remarks: Mapping[str, Mapping[str, Remark]] = field(default_factory=dict)

    def on(self, exercise: str, mistakes: Sequence[str]) -> list[Remark]:
        """What is said of these mistakes in an exercise, in their order."""
        given = self.remarks.get(exercise, {})
        return [given[key] for key in dict.fromkeys(mistakes) if key in given]

    def added_to(self, verdict: Verdict) -> Verdict:
        """The verdict with what is said of its mistakes; its points stay between 0 and all of them."""
        remarks = self.on(verdict.exercise, verdict.mistakes)
        if not remarks:
            return verdict
        points = verdict.points + sum(one.points for one in remarks)
        return replace(
            verdict, remarks=tuple(remarks), points=min(max(points, 0.0), float(verdict.max_points))
        )

    def __iter__(self) -> Iterator[tuple[str, str, Remark]]:
        """Exercise, mistake and what is said of it."""
        return ((name, key, one) for name, given in self.remarks.items() for key, one in given.items())


NONE = Comments()


@lru_cache(maxsize=8)
def comments_of(text: str) -> Comments:
    """The comments of a course that has this text in its file. Raises MalformedRubric."""
    if not text.strip():
        return NONE
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise MalformedRubric(f"{FILE} is no TOML: {problem}; write tables such as {_FORM}.") from None
    return Comments({name: dict(_remarks_in(name, table)) for name, table in tables.items()})


def _remarks_in(exercise: str, table: Any) -> Iterator[tuple[str, Remark]]:
    """Raises MalformedRubric where a table is of no exercise or no mistake, or says what cannot be said."""
    if not isinstance(table, Mapping):
        raise MalformedRubric(f"{FILE}: {exercise} stands outside of a table; write {_FORM}.")
    require_exercise(exercise)
    for key, given in table.items():
        where = f"{FILE}: [{exercise}.{key}]"
        if not isinstance(given, Mapping):
            raise MalformedRubric(f"{FILE}: [{exercise}] {key} stands outside of a table; write {_FORM}.")
        require_mistake(exercise, key)
        if unknown := sorted(given.keys() - set(_FIELDS)):
            raise MalformedRubric(f"{where} {unknown[0]} is unknown; {_instead(unknown[0], _FIELDS)}.")
        yield key, remark_of(given.get("comment", ""), given.get("points", 0), where)


def remark_of(text: Any, points: Any, where: str) -> Remark:
    """A remark of these. Raises MalformedRubric, whose text begins with `where`, if there is none in them."""
    if isinstance(points, bool) or not isinstance(points, int | float) or not math.isfinite(points):
        raise MalformedRubric(f"{where} points = {points!r} is no number; write one such as 0.5 or -1.")
    if abs(points) > POINTS:
        raise MalformedRubric(f"{where} points = {points:g} is too much; write at most {POINTS}.")
    if not isinstance(text, str) or not all(one.isprintable() or one in "\n\t" for one in text):
        raise MalformedRubric(f"{where} the comment is no text that can be shown; write plain text.")
    if len(text) > LENGTH:
        raise MalformedRubric(f"{where} the comment has {len(text)} characters; write at most {LENGTH}.")
    if not text.strip() and not points:
        raise MalformedRubric(f"{where} says nothing; write a comment or points, or take it out.")
    return Remark(text.strip(), float(points))


def require_exercise(name: str) -> None:
    """Raises MalformedRubric where there is no exercise of that name."""
    from graders.judging import catalogue

    if name not in (known := catalogue.exercises()):
        raise MalformedRubric(f"{FILE}: {name} is no exercise; {_instead(name, known)}.")


def require_mistake(exercise: str, key: str) -> None:
    """Raises MalformedRubric where the exercise has no mistake of that key."""
    from graders.judging import catalogue

    if key not in (known := {one.key for one in catalogue.answer_of(exercise).mistakes}):
        raise MalformedRubric(f"{FILE}: {key} is no mistake of {exercise}; {_instead(key, known)}.")


def _instead(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"write {near[0]}, or take it out" if near else "take it out"


# Changing it


def changed(text: str, exercise: str, key: str, remark: Remark | None) -> str:
    """A course's file with another remark on a mistake, or with none; all else in it stays as it stands.

    Raises MalformedRubric where the file cannot be used, and where there is no such exercise or mistake.
    """
    import tomlkit

    comments_of(text)
    require_exercise(exercise)
    require_mistake(exercise, key)
    if remark is None and not comments_of(text).on(exercise, [key]):
        return text
    held = tomlkit.parse(text)
    table = held.get(exercise)
    if remark is None:
        if table is not None and key in table:
            del table[key]
            if not table:
                del held[exercise]
    else:
        if table is None:
            table = held[exercise] = tomlkit.table(is_super_table=True)
        given = table.get(key)
        if given is None:
            given = table[key] = tomlkit.table()
        for name, value in (("comment", remark.text), ("points", remark.points)):
            if value:
                given[name] = tomlkit.string(value, multiline="\n" in value) if name == "comment" else value
            else:
                given.pop(name, None)
    written = tomlkit.dumps(held)
    comments_of(written)
    return written
