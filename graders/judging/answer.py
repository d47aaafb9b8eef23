"""What the judge knows of an exercise: the reference, the definition and the mistakes."""

from __future__ import annotations

from dataclasses import dataclass

from graders.probing.exercise import Candidate


@dataclass(frozen=True)
class Mistake:
    """A known wrong implementation: the definition with one knob turned.

    key: its name in a verdict. message: names the misconception, says what the numbers show, and
    points at the idea rather than at the code. variants: candidates that make this mistake.
    rounding: the formula is right on paper and loses digits, so that it runs in the inputs' own dtype
    and is recognized by where it fails, not by the digits that are left.
    """

    key: str
    message: str
    variants: tuple[Candidate, ...]
    rounding: bool = False


@dataclass(frozen=True)
class Answer:
    """The right answer of an exercise.

    reference: PyTorch's own operator where there is one; judged in float64.
    definition: the same written out in elementary operations: the mistakes are derived from it and
    rounding is measured on it. A test holds that the two agree.
    """

    reference: Candidate
    definition: Candidate
    mistakes: tuple[Mistake, ...]


def mistake(key: str, message: str, *variants: Candidate, rounding: bool = False) -> Mistake:
    """A `Mistake` with its message in one line, however it was broken in the source."""
    return Mistake(key, " ".join(message.split()), variants, rounding)
