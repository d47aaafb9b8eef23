"""The verdict: what the comparison and the diagnosis come to, in points and sentences.

The judge sees sights (what probes saw), never the candidate itself, so the candidate may have run
anywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from graders.judging import wording
from graders.judging.answer import Answer, Mistake
from graders.judging.behaviour import behaviour
from graders.judging.carried import carried
from graders.judging.diagnosis import Diagnosis, diagnose
from graders.judging.question import Paper
from graders.judging.rubric import SHIPPED, Rubric
from graders.judging.steps import hint
from graders.judging.trial import Trial
from graders.judging.verdict import Row, Score, Verdict
from graders.probing.exercise import Exercise
from graders.probing.observe import ARGUMENTS, CLOSED, FORM, Sight, Survey, trusted

#: Observations about the form of what was done; the values can be right without them.
FORM_OBSERVATIONS = (ARGUMENTS, FORM)
#: The share of a part's points where its values are right and only the form is not.
FORM_SHARE = 0.75


@trusted()
def judge(paper: Paper, sights: Sequence[Sight], surveyed: Survey, rubric: Rubric = SHIPPED) -> Verdict:
    """The verdict on what was seen of a candidate.

    sights: one for each question of the paper, in order. surveyed: the operators and devices that the
    candidate used. rubric: what known mistakes leave of a part's points.
    """
    exercise, answer, seed = paper.exercise, paper.answer, paper.seed
    if all(sight.raised and sight.raised.unattempted for sight in sights):
        return _verdict(exercise, seed, "unattempted", wording.unattempted(exercise))
    tried = [
        Trial(question, answer.read(sight, question.case))
        for question, sight in zip(paper.questions, sights, strict=True)
    ]
    printed = next((sight.printed for sight in sights if sight.printed), "")
    barred = _barred(exercise, surveyed)
    if barred or any(sight.raised and CLOSED in sight.raised.text for sight in sights):
        shown = {"rows": _rows(tried), "printed": printed}
        return _verdict(exercise, seed, "library", wording.library(exercise, barred), **shown)

    diagnosis, misformed = _diagnosed(exercise, answer, tried)
    excused = carried(exercise, answer, tried, diagnosis)
    if excused:
        tried = [
            trial.excusing(frozenset().union(*(one.excused_in(trial) for one in excused))) for trial in tried
        ]
        diagnosis, misformed = _diagnosed(exercise, answer, tried)
    notes = wording.carried(exercise, excused)
    common: dict[str, Any] = {
        "rows": _rows(tried),
        "printed": printed,
        "mistakes": tuple(one.key for one in diagnosis.mistakes),
        "carried": tuple(dict.fromkeys(one.mistake.key for one in excused)),
    }
    wrong = [(trial, name, finding) for trial in tried for name, finding in trial.decided()]
    if not wrong:
        if surveyed.wrong_device:
            message = wording.wrong_device(surveyed.wrong_device)
            scores = tuple(
                Score(part.label, _rounded(part.points * FORM_SHARE), part.points) for part in exercise.parts
            )
            return _verdict(exercise, seed, "device", message, notes=notes, scores=scores, **common)
        scores = tuple(Score(part.label, float(part.points), part.points) for part in exercise.parts)
        notes += wording.context(exercise, tried)
        return _verdict(exercise, seed, "passed", wording.passed(tried), notes=notes, scores=scores, **common)

    scores = _scores(exercise, tried, diagnosis, misformed, rubric)
    unexplained = {name for _, name, _ in wrong} - diagnosis.explained.keys()
    left = [one for one in wrong if one[1] in unexplained | misformed]
    common |= {
        "scores": scores,
        "evidence": wording.evidence(wrong),
        "behaviour": behaviour(tried, unexplained),
    }
    if diagnosis.mistakes:
        first = diagnosis.mistakes[0]
        rest = [wording.difference(exercise, tried, left, beside=True)[1]] if left else []
        others = [one.message for one in diagnosis.mistakes[1:]]
        notes[:0] = [*others, *rest, *hint(exercise.name, diagnosis.mistakes)]
        notes += wording.context(exercise, tried)
        return _verdict(
            exercise,
            seed,
            "mistake",
            first.message,
            mistake=first.key,
            notes=notes,
            **common,
        )
    outcome, message = wording.difference(exercise, tried, wrong)
    notes += wording.context(exercise, tried)
    return _verdict(exercise, seed, outcome, message, notes=notes, **common)


def _diagnosed(
    exercise: Exercise, answer: Answer, tried: Sequence[Trial]
) -> tuple[Diagnosis, frozenset[str]]:
    """The known mistakes, and the observations that have one of them in a form that is wrong as well.

    Those are looked for where the form as it is tells nothing: a variance with an axis too many may have the
    wrong count besides.
    """
    found = diagnose(exercise, answer, tried)
    names = {
        name
        for trial in tried
        for name, finding in trial.decided()
        if finding.kind in ("type", "shape") and not finding.right and name not in found.explained
    }
    formed = [trial.in_form(names) for trial in tried]
    if all(one is trial for one, trial in zip(formed, tried, strict=True)):
        return found, frozenset()
    other = diagnose(exercise, answer, formed)
    if found.explained.keys() < other.explained.keys():
        return other, frozenset(names & other.explained.keys())
    return found, frozenset()


def _barred(exercise: Exercise, surveyed: Survey) -> list[str]:
    """The answers of the library that were used: operators that are barred, and all that carry their name.

    There are many by one name: `native_batch_norm_legit_functional`, `native_batch_norm_helper`.
    """
    return sorted(name for name in surveyed.operators if any(bar in name for bar in exercise.barred))


def _rows(tried: Sequence[Trial]) -> tuple[Row, ...]:
    marks: dict[str, dict[str, bool]] = {}
    for trial in tried:
        marks.setdefault(trial.case.name, {})[trial.setting.column] = not trial.failing
    return tuple(Row(case, columns) for case, columns in marks.items())


def _scores(
    exercise: Exercise,
    tried: Sequence[Trial],
    diagnosis: Diagnosis,
    misformed: Collection[str],
    rubric: Rubric,
) -> tuple[Score, ...]:
    """The points of every part: all, three quarters where only the form is wrong, or what the rubric leaves.

    That is for parts in which known mistakes explain all that is wrong: of several, the gravest counts, and
    of that three quarters where the form is wrong as well.
    """
    form_broken = any(
        name in FORM_OBSERVATIONS and finding.kind != "raised"  # stopped early: its own part says so
        for trial in tried
        for name, finding in trial.decided()
    )
    scores = []
    for part in exercise.parts:
        unequal = [
            (name, finding)
            for trial in tried
            for name, finding in trial.decided()
            if part.covers(name) and name not in FORM_OBSERVATIONS
        ]
        wrong = dict.fromkeys(name for name, finding in unequal if not finding.right)
        explained = [diagnosis.explained.get(name) for name in wrong]
        share, why = rubric.least(exercise.name, [one and _of_a_part(one, tried, wrong) for one in explained])
        if form_broken or (unequal and not wrong) or not wrong.keys().isdisjoint(misformed):
            share *= FORM_SHARE
        points = _rounded(part.points * share)
        scores.append(Score(part.label, points, part.points, why if points else ""))
    return tuple(scores)


def _of_a_part(one: Mistake, tried: Sequence[Trial], wrong: Collection[str]) -> Mistake:
    """Of several mistakes at once those that spoil any of these observations alone; all, where none does."""
    spoiling = tuple(
        each
        for each in one.of
        if any(
            is_wrong
            for trial in tried
            for variant in each.variants
            for is_wrong, _ in trial.alike(variant, each.rounding, wrong, strays=False).values()
        )
    )
    return replace(one, of=spoiling or one.of)


def _rounded(points: float) -> float:
    """Down to a quarter of a point."""
    return int(points * 4) / 4


def _verdict(exercise: Exercise, seed: int, outcome: str, message: str, **details: Any) -> Verdict:
    scores: tuple[Score, ...] = details.pop("scores", ())
    notes: Sequence[str] = details.pop("notes", ())
    if not scores:
        scores = tuple(Score(part.label, 0.0, part.points) for part in exercise.parts)
    return Verdict(
        exercise=exercise.name,
        points=sum(score.points for score in scores),
        max_points=exercise.points,
        outcome=outcome,
        message=message,
        notes=tuple(notes),
        scores=scores,
        seed=seed,
        **details,
    )
