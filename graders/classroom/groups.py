"""Groups wrong work by how it behaves, not by how it reads.

Two behaviours (`graders.judging.behaviour`) are compared in every case and observation in which either is
wrong. Where only one of them is, or both in ways of different kinds, that counts as MISMATCH. Where numbers
are out, each of their measures is taken for how likely such a difference is between two draws of the inputs,
beside between two mistakes: both as Cauchy distributions, of the scales SAME and OTHER. The mean is the
distance. Who was graded in one run was asked on the same inputs, and is compared more narrowly. Weights, scales
and thresholds were chosen on the known mistakes of day 26; `benchmarks/classes.py` measures them on others.

Groups are those of Taylor and Butina (D. Butina, J. Chem. Inf. Comput. Sci. 39, 1999): the one with most others
near it is the centre of the first, these are taken out, and so on. So no member is further from its centre
than a threshold, nobody has to say how many groups there are, and the centre is a member that can be shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

#: As `graders.judging.behaviour` has it: by case and observation, the kind of a difference and more of it.
Behaviour = Mapping[str, Sequence[Any]]

#: Behaviours that are further apart are not put together: on the same inputs, and on others.
NARROW, WIDE = 0.3, 0.8
#: What it counts where one is wrong and the other is not, or in another way.
MISMATCH = 1.5
#: For each measure of numbers: its weight, and how far it differs within a mistake and between mistakes.
WEIGHTS = np.array([1.0, 0.25, 0.75])
SAME = np.array([0.08, 0.08, 0.05])
OTHER = np.array([2.0, 0.6, 0.3])


def distances(behaviours: Sequence[Behaviour]) -> np.ndarray:
    """(n, n): how unlike each two of n behaviours are; 0 where they are the same."""
    places = {name: at for at, name in enumerate(dict.fromkeys(name for one in behaviours for name in one))}
    count, width = len(behaviours), len(WEIGHTS)
    kinds = np.zeros((count, len(places)), dtype=int)
    numbers = np.zeros((count, len(places), width))
    known: dict[Any, int] = {}
    for row, one in enumerate(behaviours):
        for name, (kind, _, *more) in one.items():
            is_numbers = len(more) == width and all(isinstance(value, int | float) for value in more)
            told = (kind,) if is_numbers else (kind, *map(str, more))
            kinds[row, places[name]] = known.setdefault(told, len(known) + 1)
            if is_numbers:
                numbers[row, places[name]] = more
    return np.array([_from(row, kinds, numbers) for row in range(count)]).reshape(count, count)


def _from(row: int, kinds: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """(n,): how unlike one behaviour is to all."""
    either = (kinds > 0) | (kinds[row] > 0)
    apart = unlikeness(np.abs(numbers - numbers[row])) @ WEIGHTS
    apart = np.where(kinds == kinds[row], apart, MISMATCH)
    return np.where(either, apart, 0.0).sum(1) / np.maximum(either.sum(1), 1)


def unlikeness(off: np.ndarray) -> np.ndarray:
    """From 0 to 1: how far a difference speaks for two mistakes and against one, as a logarithm of odds."""
    most = np.log(OTHER / SAME)
    odds = np.log1p((off / SAME) ** 2) - np.log1p((off / OTHER) ** 2)
    return odds / (2 * most)


def grouped(behaviours: Sequence[Behaviour], seeds: Sequence[int | None]) -> list[list[int]]:
    """Places of those that behave alike, each list with its centre first; the largest group first.

    seeds: of the inputs of each; None where it is not known.
    """
    drawn = np.array([-1 if seed is None else seed for seed in seeds])
    same_inputs = (drawn[:, None] == drawn) & (drawn >= 0)
    near = distances(behaviours) <= np.where(same_inputs, NARROW, WIDE)
    left = np.ones(len(behaviours), dtype=bool)
    found = []
    while left.any():
        centre = int(np.argmax(np.where(left, (near & left).sum(1), -1)))
        members = np.flatnonzero(near[centre] & left)
        found.append([centre, *(int(one) for one in members if one != centre)])
        left[members] = False
    return sorted(found, key=lambda group: -len(group))
