"""Errors that are carried on: derivatives that are right for a function which is itself a known mistake.

A backward pass is the derivative of a forward pass, so where the student's own forward has eps outside the
root, the exact derivative of *that* is right, and the mistake costs once, where it was made. So it is with
eval mode, which has the formula of train mode, and with steps along a velocity. Only a known mistake is
followed: whoever returns x from the forward and dy from the backward is consistent as well, and has shown
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from graders.judging import tolerance
from graders.judging.answer import Answer, Basis, Mistake
from graders.judging.compare import Expected, Finding, compare
from graders.judging.diagnosis import FIRST_LOOKS, LIKENESS, Diagnosis
from graders.judging.question import is_gross
from graders.judging.trial import Trial, is_no_value
from graders.probing.exercise import Exercise
from graders.probing.observe import ARGUMENTS, FORM, Raised


@dataclass(frozen=True)
class Carried:
    """A known mistake in a basis, and the wrong derivatives that follow from it."""

    basis: Basis
    mistake: Mistake
    names: frozenset[str]

    def excused_in(self, trial: Trial) -> frozenset[str]:
        """Those names, and where the basis stops the code, what is looked at in the end."""
        stops = any(isinstance(trial.seen(name), Raised) for name in self.basis.observations)
        return self.names | {ARGUMENTS, FORM} if stops else self.names


def carried(
    exercise: Exercise, answer: Answer, tried: Sequence[Trial], diagnosis: Diagnosis
) -> tuple[Carried, ...]:
    """What is wrong only because something before it is: to be excused, as the mistake is counted there.

    Where the basis is a part of the exercise itself, the diagnosis has found its mistakes already.
    """
    found = []
    for basis in answer.bases:
        elsewhere = exercise.context.issuperset(basis.observations)
        going_on = {one.key for one in basis.mistakes}
        mistakes = basis.mistakes if elsewhere else [one for one in diagnosis.mistakes if one.key in going_on]
        one = _carried(basis, mistakes, tried)
        found += [one] if one else []
    return tuple(found)


def _carried(basis: Basis, mistakes: Sequence[Mistake], tried: Sequence[Trial]) -> Carried | None:
    """The mistake in a basis from which most of the wrong derivatives follow; None if from none of these."""
    wrong = {name for trial in tried for name, _ in trial.wrong()}
    first = wrong & set(basis.observations)
    derivatives = {name for name in wrong if basis.goes_on_to(name)}
    if not first or not derivatives:
        return None
    best = None
    for one, variant in _like(mistakes, first, tried):
        names = _following(variant, one.rounding, first, derivatives, tried)
        if len(names) > (len(best.names) if best else 0):
            best = Carried(basis, one, names)
    return best


def _like(
    mistakes: Sequence[Mistake], names: set[str], tried: Sequence[Trial]
) -> Iterator[tuple[Mistake, Any]]:
    """The mistakes, with their variants, that explain these observations, which the candidate has wrong."""
    showing = [trial for trial in tried if names & {name for name, _ in trial.wrong()}]
    for one in mistakes:
        for variant in one.variants:
            looks = (_is_like(trial, variant, one.rounding, names) for trial in showing[:FIRST_LOOKS])
            if any(looks) and _explains(tried, variant, one.rounding, names):
                yield one, variant


def _is_like(trial: Trial, variant: Any, rounding: bool, names: set[str]) -> bool:
    there = [name for name, _ in trial.wrong() if name in names]
    return all(trial.likes(variant, rounding, there))


def _explains(tried: Sequence[Trial], variant: Any, rounding: bool, names: set[str]) -> bool:
    """Whether a variant is like the candidate in enough of the cases in which either is wrong."""
    hits, misses = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for trial in tried:
        for name, (wrong_itself, like) in trial.alike(variant, rounding, names, strays=False).items():
            wrong = not trial.findings[name].equal
            if wrong and wrong_itself and like:
                hits[name] += 1
            elif wrong or wrong_itself:
                misses[name] += 1
    return all(hits[name] and hits[name] * (1 - LIKENESS) >= LIKENESS * misses[name] for name in names)


def _following(
    variant: Any, rounding: bool, first: set[str], derivatives: set[str], tried: Sequence[Trial]
) -> frozenset[str]:
    """The derivatives that are those of the variant in every case.

    Not those that the variant makes 0 everywhere, which it takes no work to get right.
    """
    if rounding:
        return frozenset(_right_but_for(first, derivatives, tried))
    following, telling = set(derivatives), set()
    for trial in tried:
        names = [name for name in trial.findings if name in following]
        if not names or any(is_no_value(trial.seen(name)) for name in first):
            continue  # what stops before there is anything to derive has no wrong derivative
        worked_out, unlike = _unlike(trial, variant, names)
        following -= unlike
        telling |= {name for name in names if name in worked_out and _is_something(worked_out[name].value)}
        if not following:
            break
    return frozenset(following & telling)


def _unlike(trial: Trial, variant: Any, names: Sequence[str]) -> tuple[dict[str, Expected], set[str]]:
    """What the variant works out here, and which of these derivatives the candidate has otherwise.

    As in a `Trial`, the noise is measured only where a value is out without it, and thoroughly only where
    that makes a difference.
    """
    unsettled, unlike = list(names), set()
    for samples in (0, 1, tolerance.SAMPLES):
        worked_out = trial.question.worked_out_by(variant, samples, names[-1])
        unlike |= {name for name in unsettled if name not in worked_out}
        found = {
            name: _compared(trial.seen(name), worked_out[name]) for name in unsettled if name in worked_out
        }
        unlike |= {name for name, one in found.items() if is_gross(one, samples) and not one.equal}
        unsettled = [name for name, one in found.items() if not one.equal and name not in unlike]
        if not unsettled:
            break
    return worked_out, unlike | set(unsettled)


def _right_but_for(first: set[str], derivatives: set[str], tried: Sequence[Trial]) -> set[str]:
    """The derivatives that are right wherever the observations they derive from are.

    Lost digits are a mistake that has no derivative: the formula is right, and so is that of the derivatives.
    """
    lost: set[str] = set()
    for trial in tried:
        if all(trial.findings[name].equal for name in first & trial.findings.keys()):
            lost |= {name for name, _ in trial.wrong()}
    return derivatives - lost


def _compared(seen: Any, expected: Expected) -> Finding:
    """A derivative compared with the expected one, wherever that is a number: a root has none at 0."""
    value = expected.value
    tensors = isinstance(value, torch.Tensor) and isinstance(seen, torch.Tensor)
    if tensors and seen.shape == value.shape and seen.device.type != "meta":
        seen = torch.where(value.isfinite().to(seen.device), seen, value.to(seen))
    return compare(seen, expected)


def _is_something(value: Any) -> bool:
    """Whether it is a number other than 0, or a tensor that holds one."""
    if not isinstance(value, torch.Tensor | float):
        return False
    value = torch.as_tensor(value)
    return bool((value.isfinite() & (value != 0)).any())
