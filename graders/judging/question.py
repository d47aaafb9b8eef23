"""What a check asks: the cases of an exercise in every setting, and what the judge knows about each.

None of it depends on the candidate, so a whole class can be asked the same questions, and what was worked
out for one serves for the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

from graders.judging import tolerance
from graders.judging.answer import Answer
from graders.judging.compare import Expected, Finding, compare
from graders.probing.exercise import Case, Draw, Exercise
from graders.probing.observe import ARGUMENTS, Probing, Sight, observe, tensors, widened

#: A value that is further out than so many times what one sample of the noise allows is no close call; a
#: number that stands alone is none by the square of this, as a sample may happen to leave it where it is.
GROSS = 100.0
#: A divisor in a mistake can be smaller than the definition's, so that a guard changes more there.
GUARD_IN_A_MISTAKE = 10.0


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


class Paper:
    """The questions of one check: the cases from one seed, in each of these settings.

    What the known mistakes do is worked out where it is asked for, and kept for the next candidate. only:
    which cases to ask.
    """

    def __init__(
        self,
        exercise: Exercise,
        answer: Answer,
        asked: Sequence[Setting],
        seed: int,
        *,
        only: Callable[[Case], bool] = lambda case: True,
    ) -> None:
        self.exercise, self.answer, self.seed = exercise, answer, seed
        chosen = [[case for case in cases(exercise, seed, setting) if only(case)] for setting in asked]
        self.questions: list[Question] = []
        for setting, of_setting in zip(asked, chosen, strict=True):
            firsts = self.questions[: len(of_setting)] or [None] * len(of_setting)
            self.questions += [
                Question(exercise, answer, case, setting, first)
                for case, first in zip(of_setting, firsts, strict=True)
            ]


@dataclass
class Question:
    """One case in one setting, what the reference does there, and what the known mistakes do.

    first: the same case in the first setting, which measures the noise for all; None where this is that.
    """

    exercise: Exercise
    answer: Answer
    case: Case
    setting: Setting
    first: Question | None = None
    _after: dict[int, dict[str, Expected]] = field(default_factory=dict, init=False, repr=False)
    _kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def wide(self) -> Case:
        """The same case on the CPU in float64."""
        return Case(self.case.name, widened(self.case.inputs))

    @cached_property
    def _reference(self) -> Sight:
        return observe(self.exercise, self.answer.reference, self.wide)

    @cached_property
    def exact(self) -> dict[str, Any]:
        """The observations of the reference in float64."""
        return dict(self.answer.read(self._reference, self.wide).values)

    @cached_property
    def noise(self) -> tolerance.Noise:
        """What rounding does to the definition in this case."""
        if self.first:
            return self.first.noise
        return tolerance.Noise(
            self.exercise, self.answer.definition, self.wide, lambda: self._reference.values
        )

    @cached_property
    def _has_tensors(self) -> bool:
        return any(True for _ in tensors(self.case.inputs))

    @cached_property
    def _size(self) -> int:
        return tolerance.size_of(self.case)

    def expected_after(self, samples: int) -> dict[str, Expected]:
        """What each observation should be and how far off it may be, by so many samples of the noise."""
        if samples not in self._after:
            noise = self.noise.after(samples)
            self._after[samples] = {
                name: self._expected(value, noise.get(name)) for name, value in self.exact.items()
            }
            if samples and self.answer.guarded:
                self._after[samples] = {
                    name: self._with_guard(name, one) for name, one in self._after[samples].items()
                }
        return self._after[samples]

    def _with_guard(self, name: str, expected: Expected) -> Expected:
        """The same, with what a guard in a divisor changes allowed besides."""
        if expected.tolerance is None:
            return expected
        return replace(expected, tolerance=tolerance.as_tensor(expected.tolerance) + self._changes[name])

    @cached_property
    def _changes(self) -> dict[str, torch.Tensor]:
        """What a guard in a divisor of the definition changes in each observation."""
        largest = {}
        for name, one in self.exact.items():
            if not tolerance.is_real(one):
                continue
            exact = tolerance.as_tensor(one)
            changes = [torch.zeros_like(exact)]
            for values in self._guarded:
                if tolerance.is_real(values.get(name)):
                    value = tolerance.as_tensor(values[name])
                    changes += [(value - exact).abs()] if value.shape == exact.shape else []
            largest[name] = torch.stack(changes).nan_to_num(nan=0.0, posinf=0.0).amax(0)
        return largest

    def _guard_in_a_mistake(self, name: str) -> float:
        """What a guard may change in a mistake's value, relative to the largest value."""
        changed = self._changes.get(name) if self.answer.guarded else None
        if changed is None or not changed.numel():
            return 0.0
        size = tolerance.as_tensor(self.exact[name]).abs().max().clamp_min(1e-300)
        return GUARD_IN_A_MISTAKE * float(changed.max() / size)

    @cached_property
    def _guarded(self) -> list[dict[str, Any]]:
        """The observations of the definition with a guard in each of its divisors."""
        sights = [observe(self.exercise, one, self.wide) for one in self.answer.guarded]
        return [dict(self.answer.read(sight, self.wide).values) for sight in sights]

    def _expected(self, value: Any, moved: torch.Tensor | None) -> Expected:
        within = None
        if tolerance.is_real(value):
            wide = tolerance.as_tensor(value)
            if moved is not None and moved.shape != wide.shape:
                moved = moved.max() if moved.numel() else None
            # A number that is made of tensors has their digits, one made of plain numbers a float's.
            of_tensors = isinstance(value, torch.Tensor) or self._has_tensors
            dtype = self.setting.dtype if of_tensors else torch.float64
            within = tolerance.allowed(dtype, self._size, wide, moved, self.exercise.arithmetic)
        return Expected(value, within, self.setting.dtype, torch.device(self.setting.device))

    def sight_of(self, variant: Any, rounding: bool, until: str | None = None) -> Sight:
        """What a mistake's variant does here, at least up to the observation `until`."""
        key = "sight", id(variant)
        sight = self._kept.get(key)
        if sight is None or not (sight.raised or {until, ARGUMENTS} & sight.values.keys()):
            if sight is None:
                self._kept["variant", id(variant)] = variant  # so that no other gets its id
                case = self.case if rounding else self.wide
                self._kept["probing", id(variant)] = Probing(self.exercise, variant, case)
            probing = self._kept["probing", id(variant)]
            seen = probing.until(until)
            sight = self._kept[key] = self.answer.read(seen, probing.case)
        return sight

    def worked_out_by(self, variant: Any, samples: int, until: str) -> dict[str, Expected]:
        """What a variant does here as the expected, by so many samples of what rounding does to itself.

        At least up to the observation `until`.
        """
        sight = self.sight_of(variant, False, until)
        noise = self.noise.of(variant, until).after(samples)
        return {name: self._expected(value, noise.get(name)) for name, value in sight.values.items()}

    def is_wrong_itself(self, name: str, variant: Any, sight: Sight, rounding: bool, samples: int) -> bool:
        """Whether a mistake's variant is wrong here, the noise measured as far as that makes a difference."""
        key = "wrong", id(variant), name
        if key in self._kept:
            return self._kept[key]
        value = sight.values.get(name, sight.raised)
        wrong = samples > 0 and self._is_far_from_right(name, value, samples)
        for taken in () if wrong else range(samples, tolerance.SAMPLES + 1):
            expected = self.expected_after(taken)[name]
            its = compare(value, expected if rounding else _in_float64(expected))
            wrong = not its.equal
            if not wrong or is_gross(its, taken):
                break
        self._kept[key] = wrong
        return wrong

    def _is_far_from_right(self, name: str, value: Any, samples: int) -> bool:
        """Whether a value is grossly wrong, as far as that can be told by the largest difference."""
        exact = self.exact[name]
        if not _are_of_one_shape(value, exact):
            return False
        key = "widest", name, samples
        if key not in self._kept:
            within = self.expected_after(samples)[name].tolerance
            self._kept[key] = 0.0 if within is None or not within.numel() else float(within.max())
        return self._kept[key] > 0 and _difference(value, exact) > GROSS * self._kept[key]

    def is_far_from(self, name: str, value: Any, seen: Any, samples: int) -> bool:
        """Whether `seen` is not a variant's `value`, as far as that can be told by the largest difference.

        Most are told apart like that, and what is allowed for each element need not be worked out.
        """
        if not _are_of_one_shape(value, seen):
            return False
        key = "moved", name, samples
        if key not in self._kept:
            moved = self.noise.after(samples).get(name)
            exact = self.exact[name]
            self._kept[key] = (
                0.0 if moved is None or not moved.numel() else float(moved.max()),
                float(tolerance.as_tensor(exact).abs().max()) if _are_of_one_shape(exact, exact) else 0.0,
            )
        moved, size = self._kept[key]
        own = float(value.abs().max())
        widest = tolerance.allowed(self.setting.dtype, self._size, own, moved, self.exercise.arithmetic)
        widest *= max(1.0, own / max(size, 1e-300))
        return _difference(value, seen) > widest + self._guard_in_a_mistake(name) * own

    def distance(self, name: str, value: Any) -> float | None:
        """How far a value is from the exact one at most, relative to that; None where that is no number."""
        exact = self.exact[name]
        if isinstance(value, float | int) and isinstance(exact, float):
            value, exact = torch.tensor(float(value)), torch.tensor(exact)
        if not _are_of_one_shape(value, exact):
            return None
        distance = _difference(value, exact) / max(float(exact.abs().max()), 1e-300)
        return distance if math.isfinite(distance) else None

    def as_expected(self, name: str, variant: Any, value: Any, samples: int) -> Expected:
        """A variant's `value` as the expected one, the noise scaled up where the mistake blows values up."""
        key = "as expected", id(variant), name, samples
        if key in self._kept:
            return self._kept[key]
        one = self._expected(value, self.noise.after(samples).get(name))
        # Narrower than what it was given.
        if isinstance(value, torch.Tensor) and value.dtype != torch.float64:
            one = replace(one, dtype=value.dtype)
        exact = self.exact[name]
        if one.tolerance is not None and tolerance.is_real(exact):
            size, own = _largest(exact), _largest(value)
            if not math.isfinite(own):
                own = _largest(tolerance.as_tensor(value).nan_to_num(posinf=0, neginf=0))
            within = one.tolerance * max(1.0, own / max(size, 1e-300)) + self._guard_in_a_mistake(name) * own
            one = replace(one, tolerance=within)
        self._kept[key] = one
        return one


def is_gross(finding: Finding, samples: int) -> bool:
    """Whether a finding stays what it is, however thoroughly the noise is measured: so far, in `samples`."""
    if finding.kind == "values" and tolerance.is_real(finding.want):
        if not samples or finding.excess is None:
            return False
        return float(finding.excess.amax()) > (GROSS if finding.excess.numel() > 1 else GROSS**2)
    if finding.kind in ("shape", "type") and finding.right:
        return True  # and right it stays where more is allowed
    return finding.kind in ("raised", "dtype", "nan") or not isinstance(finding.want, float | torch.Tensor)


def _are_of_one_shape(value: Any, other: Any) -> bool:
    """Whether both are tensors of floating-point numbers, not empty, of one shape, and hold numbers."""
    return all(
        isinstance(one, torch.Tensor)
        and one.is_floating_point()
        and one.layout == torch.strided
        and not one.is_meta
        and one.shape == value.shape
        and one.numel() > 0
        for one in (value, other)
    )


def _difference(value: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference of any two elements; NaN where there is one."""
    return float((tolerance.as_tensor(value) - tolerance.as_tensor(other)).abs().max())


def _largest(value: torch.Tensor | float) -> float:
    """The largest of the absolute values; NaN where there is one, and 1 where there is none."""
    if not isinstance(value, torch.Tensor):
        return abs(value)
    return float(tolerance.as_tensor(value).abs().max()) if value.numel() else 1.0


def _in_float64(expected: Expected) -> Expected:
    return Expected(expected.value, expected.tolerance, torch.float64, torch.device("cpu"))
