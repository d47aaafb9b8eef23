"""Finds the known mistake, or mistakes, behind what a candidate has wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from graders.judging.answer import Answer, Mistake
from graders.judging.compare import Finding
from graders.judging.trial import Trial, is_no_value
from graders.probing.exercise import Exercise
from graders.probing.observe import ARGUMENTS, FORM, Foreign, Raised
from graders.probing.probes import NO_ERROR

#: A mistake explains a candidate where both differ from the reference in the same way in at least this
#: share of the cases in which either does. Below 1, because a slip can be written in several ways that
#: part company in a corner (x.var() of one row is NaN, a loop that divides by max(N - 1, 1) is not).
LIKENESS = 0.7
#: A mistake that is unlike the candidate in so many cases is not looked at further, if they have shown
#: every observation that is wrong.
FIRST_LOOKS = 2
#: Unlike in so many observations of one case, it is not compared in them again in a second.
ENOUGH = 8


#: A mistake that makes so many times more observations wrong than it explains is another one.
STRAYS = 2


@dataclass(frozen=True)
class Diagnosis:
    """The known mistakes that a candidate is like.

    explained: the wrong observations that one of them explains, each with its mistake, in their order.
    unexplained: those that none explains.
    """

    explained: Mapping[str, Mistake]
    unexplained: frozenset[str] = frozenset()

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """In the order of what they explain; empty if none."""
        named = chain(*(one.of or (one,) for one in self.explained.values()))
        return tuple({one.key: one for one in named}.values())


def diagnose(exercise: Exercise, answer: Answer, tried: Sequence[Trial]) -> Diagnosis:
    """Look for the known mistakes that do what the candidate does.

    A single mistake that explains every wrong observation is preferred, of several the one that makes
    fewest other observations wrong, and then the one that is like the candidate in most cases. Where none
    explains all, as many are named as it takes to explain what can be explained, in the same order.
    """
    failing = {name for trial in tried for name in trial.failing}
    if not failing:
        return Diagnosis({})
    naming = failing - answer.consequences - _not_made(tried, failing) or failing
    order = _most_telling_first(tried, failing)
    partial: list[tuple[Mistake, Likeness]] = []
    looking = [(one, variant) for one in answer.mistakes for variant in one.variants]
    for at_once in (True, False):  # first those that look like it at once; the others if none explains all
        best: tuple[tuple[int, float], Mistake] | None = None
        left = []
        for one, variant in looking:
            looked_at = list(tried) if one.rounding else order
            if at_once and not order[0].resembles(variant, one.rounding):
                left.append((one, variant))
                continue
            if not at_once and not _promising(looked_at, variant, one.rounding, naming):
                continue
            likeness = _likeness(looked_at, variant, one.rounding, failing, naming)
            if likeness.strays > STRAYS * len(likeness.explained):
                continue
            if likeness.strays and failing <= {FORM, ARGUMENTS}:
                continue  # whose values are right has not made a mistake that spoils them
            if failing <= likeness.explained:
                rank = (-likeness.strays, sum(likeness.shares.values()))
                if rank == (0, len(failing)):  # nothing can be more like it
                    return Diagnosis(dict.fromkeys(failing, one))
                if best is None or rank > best[0]:
                    best = (rank, one)
            elif likeness.explained & naming and likeness.against <= len(likeness.explained):
                partial.append((one, likeness))
        if best:
            return Diagnosis(dict.fromkeys(failing, best[1]))
        looking = left
    found = _several(tried, failing, naming, partial)
    if not found.unexplained:
        return found
    pairs = _pairs(answer, order, failing, naming)
    return _without_missed_errors(tried, _several(tried, failing, naming, partial + pairs))


def _without_missed_errors(tried: Sequence[Trial], found: Diagnosis) -> Diagnosis:
    """The same; who never returns a value of the kind that is asked for has not forgotten an exception.

    Whoever begins with `return None` meets no case in which one is due any better than the others.
    """
    findings = {
        name: [trial.findings[name] for trial in tried if name in trial.findings]
        for name in (*found.unexplained, *found.explained)
    }
    if not any(all(map(_is_of_no_form, findings[name])) for name in found.unexplained):
        return found
    missed = {name for name in found.explained if all(one.got == NO_ERROR for one in findings[name])}
    explained = {name: one for name, one in found.explained.items() if name not in missed}
    return Diagnosis(explained, found.unexplained | missed)


def _is_of_no_form(finding: Finding) -> bool:
    """Whether there is nothing that could be right or wrong: no value of the kind that is asked for."""
    if isinstance(finding.got, Raised):
        return finding.got.contract
    return finding.kind == "type" and not finding.right


def _not_made(tried: Sequence[Trial], failing: set[str]) -> set[str]:
    """The observation of the arguments, where it is wrong only since the code stopped before it was made."""
    made = any(ARGUMENTS in trial.failing and not is_no_value(trial.seen(ARGUMENTS)) for trial in tried)
    return set() if made else {ARGUMENTS} & failing


def _pairs(
    answer: Answer, order: Sequence[Trial], failing: set[str], naming: set[str]
) -> list[tuple[Mistake, Likeness]]:
    """Pairs of mistakes that explain something, of those that look like the candidate at once.

    That is in the first case in which the candidate gives values, since many things stop in one way.
    """
    found = []
    first = [trial for trial in order if any(not is_no_value(trial.seen(name)) for name in trial.failing)]
    for one in answer.pairs():
        for variant in one.variants:
            if _promising((first or order)[:1], variant, one.rounding, naming):
                likeness = _likeness(order, variant, one.rounding, failing, naming)
                if likeness.explained & naming:
                    found.append((one, likeness))
    return found


@dataclass(frozen=True)
class Likeness:
    """How far a mistake's variant does as the candidate does.

    shares: for each wrong observation of the candidate, in which share of the cases that matter they are
    alike. strays: observations that the variant has wrong and the candidate right throughout. against:
    observations that both have wrong, and never in the same way.
    """

    shares: dict[str, float]
    strays: int
    against: int

    @property
    def explained(self) -> set[str]:
        return {name for name, share in self.shares.items() if share >= LIKENESS}


def _several(
    tried: Sequence[Trial],
    failing: set[str],
    naming: set[str],
    partial: Sequence[tuple[Mistake, Likeness]],
) -> Diagnosis:
    """Of mistakes that explain a part each, those that it takes to explain all that they can."""
    left, named = set(failing), []

    def rank(pair: tuple[Mistake, Likeness]) -> tuple[int, int, float]:
        new = pair[1].explained & left
        return -pair[1].strays, len(new), sum(pair[1].shares[name] for name in new)

    while useful := [pair for pair in partial if pair[1].explained & left & naming]:
        one, likeness = max(useful, key=rank)
        named.append((one, likeness.explained & left))
        left -= likeness.explained
    places = {name: place for place, name in enumerate(dict.fromkeys(chain(*(one.failing for one in tried))))}
    named.sort(key=lambda pair: min(places[name] for name in pair[1]))
    return Diagnosis({name: one for one, names in named for name in names}, frozenset(left))


def _most_telling_first(tried: Sequence[Trial], failing: set[str]) -> list[Trial]:
    """The trials in the order in which a mistake is compared with them.

    First those that show a wrong observation which none before them shows, then the others where
    something is wrong, then the rest. Those of one setting, where they show all that is wrong.
    """
    of_first = [trial for trial in tried if trial.setting == tried[0].setting]
    if failing <= {name for trial in of_first for name in trial.failing}:
        tried = of_first
    wrong = [set(trial.failing) for trial in tried]
    shown: set[str] = set()
    first = []
    for position in sorted(range(len(tried)), key=lambda position: -len(wrong[position])):
        if not wrong[position] <= shown:
            first.append(position)
            shown |= wrong[position]
    rest = [position for position in range(len(tried)) if position not in first]
    return [tried[position] for position in first + sorted(rest, key=lambda position: not wrong[position])]


def _promising(order: Sequence[Trial], variant: Any, rounding: bool, naming: set[str]) -> bool:
    """Whether a variant is like the candidate in any of the first cases of `order`, the most telling ones.

    As many as it takes to show all of `naming`, and FIRST_LOOKS at least; each observation is compared
    FIRST_LOOKS times at most, and once where it is unlike together with ENOUGH others. One that is wrong in
    few cases is not compared again where it is unlike in so many that it cannot be explained any more. An
    exception that keeps several observations from being made, or a value of a wrong type in several, is
    compared in the first.
    """
    left = set(naming)
    ahead = Counter(name for trial in order for name in trial.failing)
    looks: Counter[str] = Counter()
    compared: set[Raised | Foreign] = set()
    for number, trial in enumerate(order, 1):
        seen = {
            name: trial.seen(name)
            for name in trial.failing
            if name in naming
            and looks[name] < FIRST_LOOKS
            and _may_be_explained(ahead[name] - looks[name], looks[name])
        }
        telling = []
        for name, one in seen.items():
            if not (is_no_value(one) and one in compared):
                telling.append(name)
                compared |= {one} if is_no_value(one) else set()
        if telling and any(trial.likes(variant, rounding, telling)):
            return True
        looks.update(telling if len(telling) < ENOUGH else telling * FIRST_LOOKS)
        left.difference_update(trial.failing)
        if number >= FIRST_LOOKS and not left:
            break
    return False


def _may_be_explained(hits: int, misses: int) -> bool:
    """Whether so many cases in which it is alike are enough beside those in which it is not."""
    return hits * (1 - LIKENESS) >= LIKENESS * misses


def _likeness(
    order: Sequence[Trial], variant: Any, rounding: bool, failing: set[str], naming: set[str]
) -> Likeness:
    """Compare a variant with the candidate in all cases.

    Cases matter where the candidate is wrong or the variant is. A variant that can no longer reach LIKENESS
    in anything that names a mistake is given up.
    """
    hits = dict.fromkeys(failing, 0)
    misses = dict.fromkeys(failing, 0)
    strays: set[str] = set()
    both: set[str] = set()
    ahead = Counter(name for trial in order for name in trial.failing)
    for trial in order:
        ahead.subtract(trial.failing)
        for name, (wrong_itself, like) in trial.alike(variant, rounding, failing).items():
            if name not in failing:
                if wrong_itself and trial.counts(name):
                    strays.add(name)
                continue
            wrong = name in trial.failing
            if wrong and wrong_itself:
                both.add(name)
            if wrong and like and wrong_itself:
                hits[name] += 1
            elif wrong or wrong_itself:
                misses[name] += 1
        if not any(_may_be_explained(hits[name] + ahead[name], misses[name]) for name in naming):
            break
    shares = {name: hits[name] / (hits[name] + misses[name]) if hits[name] else 0.0 for name in failing}
    return Likeness(shares, len(strays), sum(not hits[name] for name in both))
