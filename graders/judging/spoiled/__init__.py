"""What each known mistake spoils, measured beforehand: where it is right anyway it need not be run.

A candidate that is wrong in something is not like a mistake that is right there. So of more than a hundred
variants of a layer only those are run, and only as far, as may have spoiled what the candidate has wrong.
`python -m graders.judging.spoiled.measure` writes a day's table, `graders.judging.spoiled.dayNN`. What is in
none, a day that was not measured, a pair of mistakes or a mistake that has just been added, is run always.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from graders.judging.answer import Answer
from graders.probing.days import days

#: A case and an observation, the numbers in their names left out.
Place = tuple[str, str]
#: For each exercise its places, and for each mistake by its key, of each of its variants in order, those that
#: it spoils, as bits; None where that is not always the same.
Table = Mapping[str, tuple[tuple[Place, ...], Mapping[str, tuple[int | None, ...]]]]


@dataclass(frozen=True)
class Spoiled:
    """What the variants of an exercise's mistakes spoil.

    places: the bit of each (case, observation). variants: the bits of each variant, by its id.
    """

    places: Mapping[Place, int]
    variants: Mapping[int, int]

    def bit(self, case: str, observation: str) -> int:
        """The bit of a place; 0 where the table does not know it."""
        return self.places.get((plain(case), plain(observation)), 0)


NOTHING_KNOWN = Spoiled({}, {})


def spoiled(exercise: str, answer: Answer) -> Spoiled:
    """What is known of the mistakes of an exercise; nothing of those of a step that is none itself."""
    day = next((day for day, several in days().items() if exercise in {one.name for one in several}), "")
    if exercise not in _table(day):
        return NOTHING_KNOWN
    places, by_key = _table(day)[exercise]
    return Spoiled(
        {place: 1 << position for position, place in enumerate(places)},
        {
            id(variant): bits
            for one in answer.mistakes
            if len(by_key.get(one.key, ())) == len(one.variants)
            for variant, bits in zip(one.variants, by_key[one.key], strict=True)
            if bits is not None
        },
    )


@cache
def _table(day: str) -> Table:
    name = f"{__name__}.{day}"
    return importlib.import_module(name).SPOILED if day and importlib.util.find_spec(name) else {}


def plain(name: str) -> str:
    """The name of a case or an observation without what differs from one draw of the inputs to the next."""
    return re.sub(r"\d+", "#", name)
