"""One question and what a candidate did with it, compared: which observations are right."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

from graders.judging import tolerance
from graders.judging.answer import ANY_TEXT
from graders.judging.compare import Expected, Finding, compare, in_form
from graders.judging.question import Question, Setting, is_gross
from graders.probing.exercise import Case
from graders.probing.observe import Foreign, Raised, Sight, holds_numbers

#: Two computations that lose digits in one way are off by amounts that differ by less than this factor.
LUCK = 100.0
#: Relative to the values: where more is lost than this, what is left is as good as chance.
HARDLY_ANY_LEFT = 0.01
#: Where more is lost than this, something was divided by what is 0 but for rounding.
BLOWN_UP = 1e6


@dataclass
class Trial:
    """A question, and what the candidate did with it."""

    question: Question
    sight: Sight
    #: How many samples of the noise it took to settle what is right.
    samples: int = field(default=0, init=False)
    #: Wrong observations that are not held against the candidate: see `graders.judging.carried`.
    excused: frozenset[str] = field(default=frozenset(), init=False)
    #: The observations that are not as they were seen, but in the form that is asked for.
    _formed: frozenset[str] = field(default=frozenset(), init=False)
    #: Whether the candidate is like a mistake's variant in an observation, where that was looked at.
    _likeness: dict[tuple[int, str, bool, int], bool] = field(default_factory=dict, init=False, repr=False)

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
        found: dict[str, Finding] = {}
        for samples in (0, 1, tolerance.SAMPLES):
            expected = self.question.expected_after(samples)
            found |= {
                name: compare(self.seen(name), one)
                for name, one in expected.items()
                if name not in found or not found[name].equal
            }
            if all(one.equal or _is_settled(one) or is_gross(one, samples) for one in found.values()):
                break
        self.samples = samples
        return expected, found

    def excusing(self, names: frozenset[str]) -> Trial:
        """The same, with these observations not held against the candidate."""
        other = Trial(self.question, self.sight)
        other.excused, other._formed = names, self._formed
        other._settled, other.samples, other._likeness = self._settled, self.samples, self._likeness
        return other

    def in_form(self, names: Collection[str]) -> Trial:
        """The same, with these observations in the form that is asked for: see `compare.in_form`."""
        formed = {
            name: in_form(value, self.expected[name])
            for name, value in self.sight.values.items()
            if name in names and name in self.expected
        }
        if all(value is self.sight.values[name] for name, value in formed.items()):
            return self
        other = Trial(self.question, replace(self.sight, values={**self.sight.values, **formed}))
        other.excused, other._likeness = self.excused, self._likeness
        other._formed = frozenset(formed)
        return other

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
        """Wrong observations that count."""
        return ((name, finding) for name, finding in self.wrong() if self.counts(name))

    def counts(self, name: str) -> bool:
        """Whether an observation decides: it does not only give context, and is not excused."""
        return name not in self.question.exercise.context and name not in self.excused

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
                value = sight.values.get(name, sight.raised)
                yield not compare(value, self.expected[name]).equal and self._loses_as_much(name, value)
            else:
                yield self._is_like(name, variant, sight)

    def alike(
        self, variant: Any, rounding: bool, names: Collection[str], strays: bool = True
    ) -> dict[str, tuple[bool, bool]]:
        """For each observation of a mistake's variant: is it wrong itself, and is the candidate like it?

        Likeness is looked at for `names` only, and without `strays` nothing else is looked at.
        """
        asked = [name for name in self.question.exact if strays or name in names]
        if not asked:
            return {}
        sight = self.question.sight_of(variant, rounding, until=None if strays else asked[-1])
        result = {}
        for name in asked:
            its = self.question.is_wrong_itself(name, variant, sight, rounding, self.samples)
            if name not in names:
                like = False
            elif rounding:
                like = its is not self.findings[name].equal
                like = like and (not its or self._loses_as_much(name, sight.values.get(name, sight.raised)))
            else:
                like = self._is_like(name, variant, sight)
            result[name] = (its, like)
        return result

    def _loses_as_much(self, name: str, value: Any) -> bool:
        """Whether the candidate is off by about as much as a variant that loses digits, and has `value`.

        Which digits are left is chance, how many is not. Where hardly any are left, that says nothing; where
        some are, the candidate has some as well.
        """
        if self.findings[name].kind in ("type", "shape"):
            return False  # its form is wrong, whatever its digits are
        seen = self.seen(name)
        exact = self.question.exact[name]
        if tolerance.is_real(exact) and not (tolerance.is_real(seen) and _count(seen) == _count(exact)):
            return False  # there are no digits to lose
        lost, off = self.question.distance(name, value), self.question.distance(name, seen)
        if lost is None or HARDLY_ANY_LEFT < lost <= BLOWN_UP:
            return True
        if lost > BLOWN_UP:
            return off is None or off > BLOWN_UP**0.5
        return off is not None and lost / LUCK <= off <= min(lost * LUCK, HARDLY_ANY_LEFT)

    def _is_like(self, name: str, variant: Any, sight: Sight) -> bool:
        """Whether the candidate's observation is the variant's."""
        key = id(variant), name, name in self._formed, self.samples
        if key not in self._likeness:
            self._likeness[key] = self._compared(name, variant, sight)
        return self._likeness[key]

    def _compared(self, name: str, variant: Any, sight: Sight) -> bool:
        value, seen = sight.values.get(name, sight.raised), self.seen(name)
        if is_no_value(value) or is_no_value(seen):
            return _is_of_one_kind(value, seen)
        if isinstance(value, torch.Tensor) and (
            not isinstance(seen, torch.Tensor) or seen.shape != value.shape
        ):
            return False
        if self.question.is_far_from(name, value, seen, self.samples):
            return False
        return compare(seen, self.question.as_expected(name, variant, value, self.samples)).equal


def _is_of_one_kind(value: Any, seen: Any) -> bool:
    """Whether a mistake ends as the candidate does, or has a value of the same wrong type."""
    if type(value) is not type(seen):
        return False
    in_other_words = isinstance(value, Raised) and value.text == ANY_TEXT and not seen.contract
    return value.type == seen.type if in_other_words else value == seen


def _is_settled(finding: Finding) -> bool:
    """Whether no noise makes a difference: there are no numbers in it, or they are right as it is."""
    return is_no_value(finding.got) and (finding.right or not holds_numbers(finding.got))


def is_no_value(seen: Any) -> bool:
    """Whether it is an exception or of a wrong type, which no noise makes right."""
    return isinstance(seen, Raised | Foreign)


def _count(value: Any) -> int:
    return value.numel() if isinstance(value, torch.Tensor) else 1
