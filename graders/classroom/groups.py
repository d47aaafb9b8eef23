"""Groups wrong work by how it behaves, not by how it reads.

Two behaviours (`graders.judging.behaviour`) are compared in every case and observation in which either is
wrong. A batch looks at everybody's on the same inputs in every run; there two are alike in a place where the
difference is of one kind and its measures are the same but for ROUNDING, and alike on the whole where few
places are UNLIKE: programs that do the same thing part in corners.

Where the inputs are others (read from a notebook that was graded before there were records), a difference of
measures is taken for how likely it is between two draws of the inputs, beside between two mistakes: both as
Cauchy distributions, of the scales SAME and OTHER. What is wrong in one alone, or in another way, counts as
MISMATCH. That is much coarser. All these figures were chosen on the known mistakes of day 26;
`benchmarks/classes.py` measures what comes of them elsewhere.

Groups are those of Taylor and Butina (D. Butina, J. Chem. Inf. Comput. Sci. 39, 1999): the one with most
others near it is the centre of the first, these are taken out, and so on. So no member is further from its
centre than the limit, nobody has to say how many groups there are, and the centre is a member to be shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

#: As `graders.judging.behaviour` has it: by case and observation, the kind of a difference and more of it.
Behaviour = Mapping[str, Sequence[Any]]

#: On the same inputs: by how much measures differ by rounding, and the share of places that may be unlike.
ROUNDING, UNLIKE = 0.01, 0.3
#: On others: the limit of the distance, and what a place counts that is wrong in one alone or in another way.
LIMIT, MISMATCH = 0.7, 1.5
#: For each measure of numbers: its weight, and how far it differs within a mistake and between mistakes.
WEIGHTS = np.array([1.0, 0.25, 0.75])
SAME = np.array([0.08, 0.08, 0.05])
OTHER = np.array([2.0, 0.6, 0.3])


def grouped(behaviours: Sequence[Behaviour], seeds: Sequence[int | None]) -> list[list[int]]:
    """Places of those that behave alike, each list with its centre first; the largest group first.

    seeds: of the inputs of each; None where it is not known.
    """
    equal: dict[str, list[int]] = {}  # most of a group are the same to the last digit
    for place, one in enumerate(zip(seeds, behaviours, strict=True)):
        equal.setdefault(repr(one), []).append(place)
    bunches = list(equal.values())
    near = alike([behaviours[bunch[0]] for bunch in bunches], [seeds[bunch[0]] for bunch in bunches])
    left = np.array([len(bunch) for bunch in bunches])
    found = []
    while left.any():
        centre = int(np.argmax(np.where(left > 0, near @ left, -1)))
        members = [centre, *(int(one) for one in np.flatnonzero(near[centre] & (left > 0)) if one != centre)]
        found.append([place for one in members for place in bunches[one]])
        left[members] = 0
    return sorted(found, key=lambda group: -len(group))


def alike(behaviours: Sequence[Behaviour], seeds: Sequence[int | None]) -> np.ndarray:
    """(n, n): whether each two of n behaviours are one."""
    kinds, measures = _table(behaviours)
    drawn = np.array([-1 if seed is None else seed for seed in seeds])
    near = np.zeros((len(behaviours), len(behaviours)), dtype=bool)
    for row in range(len(behaviours)):
        either = (kinds > 0) | (kinds[row] > 0)
        off = np.abs(measures - measures[row])
        same_kind = kinds == kinds[row]
        unlike = ~same_kind | (off > ROUNDING).any(2)
        places = np.maximum(either.sum(1), 1)
        near[row] = (unlike & either).sum(1) <= UNLIKE * places
        others = (drawn != drawn[row]) | (drawn < 0)
        if others.any():
            apart = np.where(same_kind, unlikeness(off) @ WEIGHTS, MISMATCH)
            close = np.where(either, apart, 0.0).sum(1) <= LIMIT * places
            near[row] = np.where(others, close, near[row])
    return near


def unlikeness(off: np.ndarray) -> np.ndarray:
    """From 0 to 1: how far a difference speaks for two mistakes and against one, as a logarithm of odds."""
    odds = np.log1p((off / SAME) ** 2) - np.log1p((off / OTHER) ** 2)
    return odds / (2 * np.log(OTHER / SAME))


def _table(behaviours: Sequence[Behaviour]) -> tuple[np.ndarray, np.ndarray]:
    """(n, places): the kinds of the differences as numbers, 0 for none; (n, places, 3): their measures."""
    places = {name: at for at, name in enumerate(dict.fromkeys(name for one in behaviours for name in one))}
    kinds = np.zeros((len(behaviours), len(places)), dtype=int)
    measures = np.zeros((len(behaviours), len(places), len(WEIGHTS)))
    known: dict[tuple[str, ...], int] = {}
    for row, one in enumerate(behaviours):
        for name, (kind, _, *more) in one.items():
            is_numbers = len(more) == len(WEIGHTS) and all(isinstance(value, int | float) for value in more)
            told = (kind,) if is_numbers else (kind, *map(str, more))
            kinds[row, places[name]] = known.setdefault(told, len(known) + 1)
            if is_numbers:
                measures[row, places[name]] = more
    return kinds, measures
