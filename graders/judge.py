"""Compares what a candidate did with what the reference does, and finds the mistake behind a difference.

The judge sees sights (what probes saw), never the candidate itself, so the candidate may have run
anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from graders import tolerance, wording
from graders.answer import Answer, Mistake
from graders.compare import Expected, Finding, compare
from graders.exercise import Case, Draw, Exercise
from graders.observe import ARGUMENTS, FORM, Raised, Sight, Survey, observe, tensors, widened
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
#: A value that is further out than so many times what one sample of the noise allows is no close call.
GROSS = 100.0


@dataclass(frozen=True)
class Setting:
    """Where a case is run: the dtype of its tensors and the device they are on."""

    dtype: torch.dtype
    device: str = "cpu"

    @property
    def column(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        return name if self.device == "cpu" else f"{name} on {self.device}"


def settings(device: str) -> tuple[Setting, ...]:
    """The settings to judge in on a device: float64 where the device has it, and float32."""
    if torch.device(device).type == "mps":
        return (Setting(torch.float32, device),)
    return Setting(torch.float64, device), Setting(torch.float32, device)


def cases(exercise: Exercise, seed: int, setting: Setting) -> list[Case]:
    """The exercise's cases from this seed; the same numbers, up to rounding, in every setting."""
    return list(exercise.cases(Draw(seed, setting.dtype, setting.device)))


@dataclass
class Trial:
    """One case in one setting, and what the candidate did in it."""

    exercise: Exercise
    answer: Answer
    case: Case
    setting: Setting
    sight: Sight
    noise: tolerance.Noise
    #: How many samples of the noise it took to settle what is right.
    samples: int = field(default=0, init=False)
    _after: dict[int, dict[str, Expected]] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def wide(self) -> Case:
        """The same case on the CPU in float64."""
        return Case(self.case.name, widened(self.case.inputs))

    @cached_property
    def exact(self) -> dict[str, Any]:
        """The observations of the reference in float64."""
        return dict(observe(self.exercise, self.answer.reference, self.wide).values)

    @property
    def expected(self) -> dict[str, Expected]:
        """What each observation should be, and how far off it may be."""
        return self._settled[0]

    def expected_after(self, samples: int) -> dict[str, Expected]:
        """The same, with the noise measured over so many samples."""
        if samples not in self._after:
            self._after[samples] = self._expected(self.exact, self.noise.after(samples))
        return self._after[samples]

    def _expected(self, exact: dict[str, Any], noise: dict[str, torch.Tensor]) -> dict[str, Expected]:
        size = tolerance.size_of(self.case)
        device = torch.device(self.setting.device)
        expected = {}
        for name, value in exact.items():
            within = None
            if tolerance.is_real(value):
                moved = noise.get(name)
                wide = tolerance.as_tensor(value)
                if moved is not None and moved.shape != wide.shape:
                    moved = moved.max() if moved.numel() else None
                # A number that is made of tensors has their digits, one made of plain numbers a float's.
                tensors_in = isinstance(value, torch.Tensor) or any(tensors(self.case.inputs))
                dtype = self.setting.dtype if tensors_in else torch.float64
                within = tolerance.allowed(dtype, size, wide, moved, self.exercise.arithmetic)
            expected[name] = Expected(value, within, self.setting.dtype, device)
        return expected

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
            expected = self.expected_after(samples)
            found = {name: compare(self.seen(name), one) for name, one in expected.items()}
            if all(one.equal or (samples and _gross(one)) for one in found.values()):
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
        return ((name, finding) for name, finding in self.wrong() if name not in self.exercise.context)

    def resembles(self, variant: Any, rounding: bool) -> bool:
        """Whether a mistake's variant does as the candidate does in what the candidate first has wrong."""
        name = next(name for name, _ in self.decided())
        sight = observe(self.exercise, variant, self.case if rounding else self.wide, until=name)
        value = sight.values.get(name, sight.raised)
        if rounding:
            return not compare(value, self.expected[name]).equal
        return self._like(name, value)

    def alike(self, variant: Any, rounding: bool, names: set[str]) -> dict[str, tuple[bool, bool]]:
        """For each observation of a mistake's variant: is it wrong itself, and is the candidate like it?

        Likeness is looked at for `names` only.
        """
        sight = observe(self.exercise, variant, self.case if rounding else self.wide)
        result = {}
        for name in self.exact:
            value = sight.values.get(name, sight.raised)
            its = self._wrong_itself(name, value, rounding)
            if name not in names:
                like = False
            elif rounding:
                like = its is not self.findings[name].equal
            else:
                like = self._like(name, value)
            result[name] = (its, like)
        return result

    def _wrong_itself(self, name: str, value: Any, rounding: bool) -> bool:
        """Whether a mistake's variant is wrong here, the noise measured as far as that makes a difference."""
        for samples in range(self.samples, tolerance.SAMPLES + 1):
            expected = self.expected_after(samples)[name]
            its = compare(value, expected if rounding else _in_float64(expected))
            if its.equal or (samples and _gross(its)):
                break
        return not its.equal

    def _like(self, name: str, value: Any) -> bool:
        """Whether the candidate's observation is `value`."""
        if isinstance(value, Raised):
            return value == self.seen(name)
        return compare(self.seen(name), self._scaled(name, value)).equal

    def _scaled(self, name: str, value: Any) -> Expected:
        """`value` as the expected one, with the noise scaled up where the mistake blows values up."""
        one = self._expected({name: value}, self.noise.after(self.samples))[name]
        exact = self.expected[name].value
        if one.tolerance is None or not tolerance.is_real(exact):
            return one
        size = tolerance.as_tensor(exact).abs().max().clamp_min(1e-300) if _count(exact) else 1.0
        own = tolerance.as_tensor(value).nan_to_num(posinf=0, neginf=0).abs().max() if _count(value) else 1.0
        return Expected(one.value, one.tolerance * max(1.0, float(own / size)), one.dtype, one.device)


def _gross(finding: Finding) -> bool:
    """Whether a finding stays what it is, however thoroughly the noise is measured."""
    if finding.kind == "values" and finding.excess is not None:
        return bool(finding.excess.amax() > GROSS)
    return finding.kind in ("raised", "dtype", "nan") or not isinstance(finding.want, float | torch.Tensor)


def _count(value: Any) -> int:
    return value.numel() if isinstance(value, torch.Tensor) else 1


def _in_float64(expected: Expected) -> Expected:
    return Expected(expected.value, expected.tolerance, torch.float64, torch.device("cpu"))


def trials(
    exercise: Exercise,
    answer: Answer,
    seen: Sequence[tuple[Setting, Case, Sight]],
    wide_cases: Sequence[Case],
) -> list[Trial]:
    """Bind what was seen to the judge's side. `wide_cases`: the cases of one setting, in float64."""

    noises = [tolerance.Noise(exercise, answer.definition, case) for case in wide_cases]
    return [
        Trial(exercise, answer, case, setting, sight, noises[position % len(noises)])
        for position, (setting, case, sight) in enumerate(seen)
    ]


def judge(
    exercise: Exercise,
    answer: Answer,
    seen: Sequence[tuple[Setting, Case, Sight]],
    surveyed: Survey,
    seed: int,
) -> Verdict:
    """The verdict on what was seen of a candidate.

    seen: for each setting, each case in the order in which `cases` yields them, and the sight of it.
    surveyed: the operators and devices that the candidate used.
    """
    wide_cases = [Case(case.name, widened(case.inputs)) for setting, case, _ in seen if setting == seen[0][0]]
    if all(sight.raised and sight.raised.unattempted for _, _, sight in seen):
        return _verdict(exercise, seed, "unattempted", wording.unattempted(exercise))
    tried = trials(exercise, answer, seen, wide_cases)
    rows, scores = _rows(tried), _scores(exercise, tried)
    printed = next((sight.printed for _, _, sight in seen if sight.printed), "")
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
                if wrong_itself and name not in trial.exercise.context:
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
