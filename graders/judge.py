"""Compares what a candidate did with what the reference does, and finds the mistake behind a difference.

The judge sees sights (what probes saw), never the candidate itself, so the candidate may have run
anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from graders import tolerance, wording
from graders.answer import Answer, Mistake
from graders.compare import Expected, Finding, compare
from graders.exercise import Case, Exercise
from graders.observe import ARGUMENTS, FORM, Raised, Sight, Survey
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
#: After so many cases without any likeness a mistake is not looked at further, if they have shown every
#: observation that is wrong.
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

        The noise is measured only where something is out without it, and thoroughly only where that
        makes a difference.
        """
        for samples in (0, 1, tolerance.SAMPLES):
            expected = self.question.expected_after(samples)
            found = {name: compare(self.seen(name), one) for name, one in expected.items()}
            if all(one.equal or (samples and is_gross(one)) for one in found.values()):
                break
        self.samples = samples
        return expected, found

    def seen(self, name: str) -> Any:
        """The candidate's observation, or the exception that kept it from being made."""
        return self.sight.values.get(name, self.sight.raised)

    def wrong(self) -> Iterator[tuple[str, Finding]]:
        return ((name, finding) for name, finding in self.findings.items() if not finding.equal)

    @cached_property
    def is_wrong(self) -> bool:
        """Whether anything that counts is wrong."""
        return any(True for _ in self.decided())

    def decided(self) -> Iterator[tuple[str, Finding]]:
        """Wrong observations that count, leaving out those that only give context."""
        context = self.question.exercise.context
        return ((name, finding) for name, finding in self.wrong() if name not in context)

    def resembles(self, variant: Any, rounding: bool) -> bool:
        """Whether a mistake's variant does as the candidate does in what the candidate first has wrong."""
        name = next(name for name, _ in self.decided())
        sight = self.question.sight_of(variant, rounding, until=name)
        if rounding:
            return not compare(sight.values.get(name, sight.raised), self.expected[name]).equal
        return self._like(name, variant, sight)

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
        value = sight.values.get(name, sight.raised)
        if isinstance(value, Raised):
            return value == self.seen(name)
        return compare(self.seen(name), self.question.as_expected(name, variant, value, self.samples)).equal


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

    A single mistake that explains every wrong observation is preferred; else the ones that explain
    some of them are all named. Of several, the one that makes fewest other observations wrong counts most,
    and then the one that is like the candidate in most cases.
    """
    failing = {name for trial in tried for name, _ in trial.decided()}
    order = _most_telling_first(tried)
    partial: dict[str, tuple[tuple[int, float], Mistake]] = {}
    looking = [(one, variant) for one in answer.mistakes for variant in one.variants]
    for at_once in (True, False):  # first those that look like it at once; the others if none explains all
        best: tuple[tuple[int, float], Mistake] | None = None
        left = []
        for one, variant in looking:
            if at_once and not order[0].resembles(variant, one.rounding):
                left.append((one, variant))
                continue
            looked_at = list(tried) if one.rounding else order
            likeness, strays = _likeness(looked_at, variant, one.rounding, failing)
            explained = {name for name, share in likeness.items() if share >= LIKENESS}
            if failing <= explained:
                rank = (-strays, sum(likeness[name] for name in failing))
                if rank == (0, len(failing)):  # nothing can be more like it
                    return Diagnosis((one,))
                if best is None or rank > best[0]:
                    best = (rank, one)
            else:
                for name in explained & failing:
                    rank = (-strays, likeness[name])
                    if name not in partial or rank > partial[name][0]:
                        partial[name] = (rank, one)
        if best:
            return Diagnosis((best[1],))
        looking = left
    found: dict[str, Mistake] = {}
    for trial in tried:
        for name, _ in trial.decided():
            if name in partial:
                found.setdefault(partial[name][1].key, partial[name][1])
    return Diagnosis(tuple(found.values()), frozenset(failing - partial.keys()))


def _most_telling_first(tried: Sequence[Trial]) -> list[Trial]:
    """The trials in the order in which a mistake is compared with them.

    First those that show a wrong observation which none before them shows, then the others where
    something is wrong, then the rest. Those of one setting, where they show all that is wrong.
    """
    of_first = [trial for trial in tried if trial.setting == tried[0].setting]
    failing = {name for trial in tried for name, _ in trial.decided()}
    if failing <= {name for trial in of_first for name, _ in trial.decided()}:
        tried = of_first
    wrong = [{name for name, _ in trial.decided()} for trial in tried]
    shown: set[str] = set()
    first = []
    for position in sorted(range(len(tried)), key=lambda position: -len(wrong[position])):
        if not wrong[position] <= shown:
            first.append(position)
            shown |= wrong[position]
    rest = [position for position in range(len(tried)) if position not in first]
    return [tried[position] for position in first + sorted(rest, key=lambda position: not wrong[position])]


def _likeness(
    order: Sequence[Trial], variant: Any, rounding: bool, failing: set[str]
) -> tuple[dict[str, float], int]:
    """For each observation: in which share of the cases that matter the candidate is like the variant.

    And the number of observations that the variant has wrong and the candidate right throughout.

    Cases matter where the candidate is wrong or the variant is. A variant that is unlike the candidate
    in the first cases of `order`, the most telling ones, is given up, as is one that can no longer reach
    LIKENESS.
    """
    hits = dict.fromkeys(failing, 0)
    misses = dict.fromkeys(failing, 0)
    strays: set[str] = set()
    for looks, trial in enumerate(order, 1):
        for name, (wrong_itself, like) in trial.alike(variant, rounding, failing).items():
            if name not in failing:
                if wrong_itself and name not in trial.question.exercise.context:
                    strays.add(name)
                continue
            wrong = not trial.findings[name].equal
            if wrong and like and wrong_itself:
                hits[name] += 1
            elif wrong or wrong_itself:
                misses[name] += 1
        if looks >= FIRST_LOOKS and not any(hits.values()) and all(misses.values()):
            break
        left = len(order) - looks
        if all(hits[name] + left < LIKENESS * (hits[name] + left + misses[name]) for name in failing):
            break
    shares = {name: hits[name] / (hits[name] + misses[name]) if hits[name] else 0.0 for name in failing}
    return shares, len(strays)


def _rows(tried: Sequence[Trial]) -> tuple[Row, ...]:
    marks: dict[str, dict[str, bool]] = {}
    for trial in tried:
        marks.setdefault(trial.case.name, {})[trial.setting.column] = not trial.is_wrong
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
