"""The rubric: what a known mistake leaves of the points of the part that it spoils.

A share from 0 to 1 for each mistake, by its key, or for two at once, by both ("one+other", in any order); in
a table by the name of an exercise, or in `[default]` for all of them. Where nothing stands for two, the
graver of them counts. A course has its own in `rubric.toml`, in the folder of its `nbgrader_config.py`; what
that one does not say stands in the one beside this file, and what neither says leaves nothing. PyTorch is
imported only where a course's own rubric is looked through: the process that hands out work does without.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graders.judging.answer import Mistake

FILE = "rubric.toml"
#: What lies in the folder of a course.
BESIDE = "nbgrader_config.py"
#: The table that holds for all exercises.
DEFAULT = "default"

#: What joins the keys of two mistakes that are made at once.
AND = "+"

#: Shares by the keys of mistakes, in tables by the names of exercises.
Tables = Mapping[str, Mapping[str, float]]


class MalformedRubric(ValueError):
    """A course's rubric cannot be used; the text says where in it, and what to do."""


@dataclass(frozen=True)
class Rubric:
    """Shares of points; what the first of `layers` does not say, the next one may."""

    layers: tuple[Tables, ...]

    def share(self, exercise: str, key: str) -> float:
        """What this mistake leaves of a part, from 0 to 1."""
        given = self._given(exercise, key)
        return 0.0 if given is None else given

    def _given(self, exercise: str, *keys: str) -> float | None:
        """What stands under the first of these keys that stands anywhere; None where none does."""
        for tables in self.layers:
            for name in (exercise, DEFAULT):
                for key in keys:
                    if key in tables.get(name, {}):
                        return float(tables[name][key])
        return None

    def said(self, exercise: str, keys: Sequence[str]) -> list[float | None]:
        """All that stands for these mistakes, for each and then for each pair: what points depend on."""
        together = [[AND.join(both) for both in permutations(pair)] for pair in combinations(keys, 2)]
        return [self._given(exercise, *names) for names in (*([key] for key in keys), *together)]

    def least(self, exercise: str, mistakes: Sequence[Mistake | None]) -> tuple[float, str]:
        """What is left of a part by the gravest of these, and its message in short; None: a mistake unknown.

        Two mistakes leave what stands for the pair, where that stands anywhere, and not what each of them
        does. All is left where there are none.
        """
        if None in mistakes:
            return 0.0, ""
        alone = {of.key: of for one in mistakes for of in one.of or (one,)}
        left: list[tuple[float, str]] = []
        together: set[str] = set()
        for first, second in combinations(alone.values(), 2):
            share = self._given(exercise, *(AND.join(keys) for keys in permutations((first.key, second.key))))
            if share is not None:
                left.append((share, f"{first.in_short} {second.in_short}"))
                together |= {first.key, second.key}
        left += [
            (self.share(exercise, key), one.in_short) for key, one in alone.items() if key not in together
        ]
        return min(left, default=(1.0, ""))


SHIPPED = Rubric((tomllib.loads(Path(__file__).with_name(FILE).read_text(encoding="utf-8")),))


def course_folder(start: Path) -> Path | None:
    """The folder of the course in which `start` lies; None where it lies in none."""
    return next((folder for folder in (start, *start.parents) if (folder / BESIDE).is_file()), None)


def text_in(folder: Path | None, name: str = FILE) -> str:
    """A course's own rubric as it stands there, "" where it has none. Raises MalformedRubric.

    name: of the file, where it is another one that belongs to the rubric.
    """
    if folder is None or not (folder / name).exists():
        return ""
    try:
        return (folder / name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise MalformedRubric(f"{folder / name} cannot be read: {problem}; save it as UTF-8 text.") from None


@lru_cache(maxsize=8)
def rubric_of(text: str) -> Rubric:
    """The rubric of a course that has this text in its file. Raises MalformedRubric."""
    if not text.strip():
        return SHIPPED
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise MalformedRubric(
            f"{FILE} is no TOML: {problem}; write tables such as [batch_norm_forward], and in them lines "
            "such as eps_outside_root = 0.75."
        ) from None
    for name, shares in tables.items():
        _require_table(name, shares)
    return Rubric((tables, *SHIPPED.layers))


def _require_table(name: str, shares: Any) -> None:
    """Raises MalformedRubric where a table is of no exercise, a key of no mistake, or a share no share."""
    from graders.judging import catalogue

    exercises = catalogue.exercises()
    if not isinstance(shares, Mapping):
        raise MalformedRubric(
            f"{FILE}: {name} stands outside of a table; put it below a line with the name of an exercise, "
            f"such as [batch_norm_forward], or below [{DEFAULT}]."
        )
    if name != DEFAULT and name not in exercises:
        known = (DEFAULT, *exercises)
        raise MalformedRubric(f"{FILE}: [{name}] is no exercise; {_instead(name, known)}.")
    of = exercises if name == DEFAULT else (name,)
    keys = {one.key for exercise in of for one in catalogue.answer_of(exercise).mistakes}
    whose = "any exercise" if name == DEFAULT else name
    for key, share in shares.items():
        several = key.split(AND)
        for one in several:
            if one not in keys:
                raise MalformedRubric(
                    f"{FILE}: [{name}] {one} is no mistake of {whose}; {_instead(one, keys)}."
                )
        if len(several) > 2 or len(set(several)) < len(several):
            raise MalformedRubric(
                f"{FILE}: [{name}] {key} is no pair; write two different mistakes, such as "
                '"eps_outside_root+beta_missing".'
            )
        if len(several) == 2 and AND.join(reversed(several)) in shares:
            raise MalformedRubric(
                f"{FILE}: [{name}] {key} stands there in both orders; take one of them out."
            )
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise MalformedRubric(
                f"{FILE}: [{name}] {key} = {share!r} is no share; write a number from 0 to 1, such as 0.75 "
                "for three quarters of the points."
            )


def _instead(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"write {near[0]}, or take it out" if near else "take it out"
