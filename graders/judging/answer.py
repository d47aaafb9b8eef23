"""What the judge knows of an exercise: the reference, the definition and the mistakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from graders.judging.rubric import AND
from graders.judging.verdict import first_sentence
from graders.probing.exercise import Candidate, Case, Inputs
from graders.probing.observe import Sight

#: What the exception in a mistake says where each student has words of their own for it.
ANY_TEXT = "in any words"


@dataclass(frozen=True)
class Mistake:
    """A known wrong implementation: the definition with one knob turned.

    key: its name in a verdict. message: names the misconception, says what the numbers show, and
    points at the idea rather than at the code. variants: candidates that make this mistake.
    rounding: the formula is right on paper and loses digits, so that it runs in the inputs' own dtype
    and is recognized by where it fails, not by the digits that are left.
    of: where it is several at once, those; they are named in its place.
    """

    key: str
    message: str
    variants: tuple[Candidate, ...]
    rounding: bool = False
    of: tuple[Mistake, ...] = ()

    @property
    def in_short(self) -> str:
        """The first sentence of its message."""
        return first_sentence(self.message)


@dataclass(frozen=True)
class Basis:
    """Observations that others follow from, their derivatives or later values, so that a mistake goes on.

    observations: those. derivatives: what follows from them, as patterns of names. whose: what the student
    calls the function. mistakes: the known mistakes in it that go on; a variant is a whole candidate, in
    which the others follow from its own mistaken observations. followers: what follows in the student's
    words, where it is no gradients.
    """

    observations: tuple[str, ...]
    derivatives: tuple[str, ...]
    whose: str
    mistakes: tuple[Mistake, ...]
    followers: str = ""

    def goes_on_to(self, observation: str) -> bool:
        return any(fnmatchcase(observation, pattern) for pattern in self.derivatives)


@dataclass(frozen=True)
class Answer:
    """The right answer of an exercise.

    reference: PyTorch's own operator where there is one; judged in float64.
    definition: the same written out in elementary operations: the mistakes are derived from it and
    rounding is measured on it. A test holds that the two agree.
    derived: what the judge makes of a sight's values and the case's inputs before it compares them, where a
    question is answered by several of them together, and nobody's word is taken for it.
    pairs: two mistakes at once in one observation, which neither of them explains; made when they are needed.
    consequences: observations that are wrong whenever others are, in one way, and so name no mistake where
    others do.
    guarded: the definition with a `GUARD` added to its divisors, where it has no eps of its own; what that
    changes is no error.
    bases: where a mistake can go on from one observation to others, which are judged by what it makes right.
    """

    reference: Candidate
    definition: Candidate
    mistakes: tuple[Mistake, ...]
    derived: Callable[[dict[str, Any], Inputs], dict[str, Any]] | None = None
    bases: tuple[Basis, ...] = ()
    pairs: Callable[[], tuple[Mistake, ...]] = tuple
    consequences: frozenset[str] = frozenset()
    guarded: tuple[Candidate, ...] = ()

    def read(self, sight: Sight, case: Case) -> Sight:
        """What was seen of a case, as it is compared."""
        if self.derived is None:
            return sight
        return replace(sight, values=self.derived(dict(sight.values), case.inputs))


def both(first: Mistake, second: Mistake, *variants: Candidate) -> Mistake:
    """Two mistakes at once."""
    return Mistake(
        f"{first.key}{AND}{second.key}", f"{first.message} {second.message}", variants, of=(first, second)
    )


def mistake(key: str, message: str, *variants: Candidate, rounding: bool = False) -> Mistake:
    """A `Mistake` with its message in one line, however it was broken in the source."""
    return Mistake(key, " ".join(message.split()), variants, rounding)
