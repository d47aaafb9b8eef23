"""Compares what a candidate did with what the reference does, and finds the mistake behind a difference.

The judge sees sights (what probes saw), never the candidate itself, so the candidate may have run
anywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

from graders import tolerance, wording
from graders.answer import Answer, Mistake
from graders.compare import Expected, Finding, compare
from graders.exercise import Case, Exercise
from graders.observe import ARGUMENTS, FORM, Foreign, Raised, Sight, Survey
from graders.question import Paper, Question, Setting, is_gross
from graders.verdict import Row, Score, Verdict

#: Observations about the form of what was done; the values can be right without them.
FORM_OBSERVATIONS = (ARGUMENTS, FORM)
#: The share of a part's points where its values are right and only the form is not.
FORM_SHARE = 0.75
#: A mistake explains a candidate where both differ from the reference in the same way in at least this
#: share of the cases in which either does. Below 1, because a slip can be written in several ways that
#: part company in a corner (x.var() of one row is NaN, a loop that divides by max(N - 1, 1) is not).
LIKENESS = 0.7
#: A mistake that is unlike the candidate in so many cases is not looked at further, if they have shown
#: every observation that is wrong.
FIRST_LOOKS = 2


@dataclass
class Trial:
    """A question, and what the candidate did with it."""

    question: Question
    sight: Sight
    #: How many samples of the noise it took to settle what is right.
    samples: int = field(default=0, init=False)

    @property
    def case(self) -> Case:
        return self.question.case

    @property
    def setting(self) -> Setting:
        return self.question.setting

    @property
    def expected(self) -> dict[str, Expected]:
        """What each observation should be, and how far off it may be."""
        return self._settled[0]

    @property
    def findings(self) -> dict[str, Finding]:
        """Every expected observation compared with what the candidate did."""
        return self._settled[1]

    @cached_property
    def _settled(self) -> tuple[dict[str, Expected], dict[str, Finding]]:
        """What is expected and what was found.

        The noise is measured only where a value is out without it, and thoroughly only where that makes a
        difference.
        """
        for samples in (0, 1, tolerance.SAMPLES):
            expected = self.question.expected_after(samples)
            found = {name: compare(self.seen(name), one) for name, one in expected.items()}
            if all(
                one.equal or _is_no_value(one.got) or (samples and is_gross(one)) for one in found.values()
            ):
                break
        self.samples = samples
        return expected, found

    def seen(self, name: str) -> Any:
        """The candidate's observation, or the exception that kept it from being made."""
        return self.sight.values.get(name, self.sight.raised)

    def wrong(self) -> Iterator[tuple[str, Finding]]:
        return ((name, finding) for name, finding in self.findings.items() if not finding.equal)

    @cached_property
    def failing(self) -> tuple[str, ...]:
        """The observations that are wrong and count."""
        return tuple(name for name, _ in self.decided())

    def decided(self) -> Iterator[tuple[str, Finding]]:
        """Wrong observations that count, leaving out those that only give context."""
        context = self.question.exercise.context
        return ((name, finding) for name, finding in self.wrong() if name not in context)

    def resembles(self, variant: Any, rounding: bool) -> bool:
        """Whether a mistake's variant does as the candidate does in all that the candidate has wrong.

        Most are told from it by the first of that, and need not go on.
        """
        parts = self.failing[:1], self.failing[1:]
        return all(all(self.likes(variant, rounding, names)) for names in parts if names)

    def likes(self, variant: Any, rounding: bool, names: Sequence[str]) -> Iterator[bool]:
        """For each of these observations, which the candidate has wrong: is the variant's like it?"""
        sight = self.question.sight_of(variant, rounding, until=names[-1])
        for name in names:
            if rounding:
                yield not compare(sight.values.get(name, sight.raised), self.expected[name]).equal
            else:
                yield self._like(name, variant, sight)

    def alike(self, variant: Any, rounding: bool, names: set[str]) -> dict[str, tuple[bool, bool]]:
        """For each observation of a mistake's variant: is it wrong itself, and is the candidate like it?

        Likeness is looked at for `names` only.
        """
        sight = self.question.sight_of(variant, rounding)
        result = {}
        for name in self.question.exact:
            its = self.question.is_wrong_itself(name, variant, sight, rounding, self.samples)
            if name not in names:
                like = False
            elif rounding:
                like = its is not self.findings[name].equal
            else:
                like = self._like(name, variant, sight)
            result[name] = (its, like)
        return result

    def _like(self, name: str, variant: Any, sight: Sight) -> bool:
        """Whether the candidate's observation is the variant's."""
        value, seen = sight.values.get(name, sight.raised), self.seen(name)
        if _is_no_value(value) or _is_no_value(seen):
            return value == seen
        return compare(seen, self.question.as_expected(name, variant, value, self.samples)).equal


def judge(paper: Paper, sights: Sequence[Sight], surveyed: Survey) -> Verdict:
    """The verdict on what was seen of a candidate.

    sights: one for each question of the paper, in order. surveyed: the operators and devices that the
    candidate used.
    """
    exercise, answer, seed = paper.exercise, paper.answer, paper.seed
    if all(sight.raised and sight.raised.unattempted for sight in sights):
        return _verdict(exercise, seed, "unattempted", wording.unattempted(exercise))
    tried = [Trial(question, sight) for question, sight in zip(paper.questions, sights, strict=True)]
    rows, scores = _rows(tried), _scores(exercise, tried)
    printed = next((sight.printed for sight in sights if sight.printed), "")
    common: dict[str, Any] = {"rows": rows, "printed": printed}

    barred = sorted(surveyed.operators & exercise.barred)
    if barred:
        return _verdict(exercise, seed, "library", wording.library(exercise, barred), **common)
    wrong = [(trial, name, finding) for trial in tried for name, finding in trial.decided()]
    if not wrong:
        if surveyed.wrong_device:
            message = wording.wrong_device(surveyed.wrong_device)
            scores = tuple(
                Score(one.label, _rounded(one.max_points * FORM_SHARE), one.max_points) for one in scores
            )
            return _verdict(exercise, seed, "device", message, scores=scores, **common)
        return _verdict(exercise, seed, "passed", wording.passed(tried), scores=scores, **common)

    common |= {"scores": scores, "evidence": wording.evidence(wrong)}
    diagnosis = diagnose(exercise, answer, tried)
    if diagnosis.mistakes:
        first = diagnosis.mistakes[0]
        notes = [one.message for one in diagnosis.mistakes[1:]]
        left = [one for one in wrong if one[1] in diagnosis.unexplained]
        if left:
            notes.append(wording.difference(exercise, tried, left)[1])
        notes += wording.context(exercise, tried)
        return _verdict(
            exercise,
            seed,
            "mistake",
            first.message,
            mistake=first.key,
            notes=tuple(notes),
            **common,
        )
    outcome, message = wording.difference(exercise, tried, wrong)
    return _verdict(exercise, seed, outcome, message, notes=tuple(wording.context(exercise, tried)), **common)


@dataclass(frozen=True)
class Diagnosis:
    """The known mistakes that a candidate is like, in the order of what they explain; empty if none.

    unexplained: the wrong observations that none of them explains.
    """

    mistakes: tuple[Mistake, ...]
    unexplained: frozenset[str] = frozenset()


def diagnose(exercise: Exercise, answer: Answer, tried: Sequence[Trial]) -> Diagnosis:
    """Look for the known mistakes that do what the candidate does.

    A single mistake that explains every wrong observation is preferred, of several the one that makes
    fewest other observations wrong, and then the one that is like the candidate in most cases. Where none
    explains all, as many are named as it takes to explain what can be explained, in the same order.
    """
    failing = {name for trial in tried for name in trial.failing}
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
            if not at_once and not _promising(looked_at, variant, one.rounding, failing):
                continue
            likeness = _likeness(looked_at, variant, one.rounding, failing)
            if failing <= likeness.explained:
                rank = (-likeness.strays, sum(likeness.shares.values()))
                if rank == (0, len(failing)):  # nothing can be more like it
                    return Diagnosis((one,))
                if best is None or rank > best[0]:
                    best = (rank, one)
            elif likeness.explained and likeness.against <= len(likeness.explained):
                partial.append((one, likeness))
        if best:
            return Diagnosis((best[1],))
        looking = left
    return _several(tried, failing, partial)


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
    tried: Sequence[Trial], failing: set[str], partial: Sequence[tuple[Mistake, Likeness]]
) -> Diagnosis:
    """Of mistakes that explain a part each, those that it takes to explain all that they can."""
    left, named = set(failing), []

    def rank(pair: tuple[Mistake, Likeness]) -> tuple[int, int, float]:
        new = pair[1].explained & left
        return -pair[1].strays, len(new), sum(pair[1].shares[name] for name in new)

    while useful := [pair for pair in partial if pair[1].explained & left]:
        one, likeness = max(useful, key=rank)
        named.append((one, likeness.explained & left))
        left -= likeness.explained
    places = {name: place for place, name in enumerate(dict.fromkeys(chain(*(one.failing for one in tried))))}
    named.sort(key=lambda pair: min(places[name] for name in pair[1]))
    return Diagnosis(tuple({one.key: one for one, _ in named}.values()), frozenset(left))


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


def _promising(order: Sequence[Trial], variant: Any, rounding: bool, failing: set[str]) -> bool:
    """Whether a variant is like the candidate in any of the first cases of `order`, the most telling ones.

    As many as it takes to show everything that is wrong, and FIRST_LOOKS at least. An exception that the
    candidate raises in several of them, or a value of a wrong type, is compared in the first.
    """
    left = set(failing)
    compared: set[Raised | Foreign] = set()
    for looks, trial in enumerate(order, 1):
        seen = {name: trial.seen(name) for name in trial.failing}
        telling = [name for name, one in seen.items() if not (_is_no_value(one) and one in compared)]
        if telling and any(trial.likes(variant, rounding, telling)):
            return True
        compared |= {one for one in seen.values() if _is_no_value(one)}
        left.difference_update(trial.failing)
        if looks >= FIRST_LOOKS and not left:
            break
    return False


def _is_no_value(seen: Any) -> bool:
    """Whether it is an exception or of a wrong type, which no noise makes right."""
    return isinstance(seen, Raised | Foreign)


def _likeness(order: Sequence[Trial], variant: Any, rounding: bool, failing: set[str]) -> Likeness:
    """Compare a variant with the candidate in all cases.

    Cases matter where the candidate is wrong or the variant is. A variant that can no longer reach LIKENESS
    anywhere is given up.
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
                if wrong_itself and name not in trial.question.exercise.context:
                    strays.add(name)
                continue
            wrong = name in trial.failing
            if wrong and wrong_itself:
                both.add(name)
            if wrong and like and wrong_itself:
                hits[name] += 1
            elif wrong or wrong_itself:
                misses[name] += 1
        if all((hits[name] + ahead[name]) * (1 - LIKENESS) < LIKENESS * misses[name] for name in failing):
            break
    shares = {name: hits[name] / (hits[name] + misses[name]) if hits[name] else 0.0 for name in failing}
    return Likeness(shares, len(strays), sum(not hits[name] for name in both))


def _rows(tried: Sequence[Trial]) -> tuple[Row, ...]:
    marks: dict[str, dict[str, bool]] = {}
    for trial in tried:
        marks.setdefault(trial.case.name, {})[trial.setting.column] = not trial.failing
    return tuple(Row(case, columns) for case, columns in marks.items())


def _scores(exercise: Exercise, tried: Sequence[Trial]) -> tuple[Score, ...]:
    """The points of every part: all, three quarters where only the form is wrong, or none."""
    form_broken = any(
        name in FORM_OBSERVATIONS and finding.kind != "raised"  # stopped early: its own part says so
        for trial in tried
        for name, finding in trial.decided()
    )
    scores = []
    for part in exercise.parts:
        findings = [
            finding
            for trial in tried
            for name, finding in trial.findings.items()
            if part.covers(name) and name not in FORM_OBSERVATIONS and name not in exercise.context
        ]
        if not all(finding.right for finding in findings):
            points = 0.0
        elif form_broken or not all(finding.equal for finding in findings):
            points = _rounded(part.points * FORM_SHARE)
        else:
            points = float(part.points)
        scores.append(Score(part.label, points, part.points))
    return tuple(scores)


def _rounded(points: float) -> float:
    """Down to a quarter of a point."""
    return int(points * 4) / 4


def _verdict(exercise: Exercise, seed: int, outcome: str, message: str, **details: Any) -> Verdict:
    scores: tuple[Score, ...] = details.pop("scores", ())
    if not scores:
        scores = tuple(Score(part.label, 0.0, part.points) for part in exercise.parts)
    return Verdict(
        exercise=exercise.name,
        points=sum(score.points for score in scores),
        max_points=exercise.points,
        outcome=outcome,
        message=message,
        scores=scores,
        seed=seed,
        **details,
    )
