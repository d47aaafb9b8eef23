"""Inputs that are asked for, so that a known mistake shows on them or hides: what the judge makes of one.

A candidate returns tensors. Here both the right function and the mistaken one run on them, and what is left
to compare is what they show: the mistake, nothing, or why not what was asked for. Each case has an
observation of its own, so that inputs which fail for different reasons are told all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from graders.judging.answer import Answer, Mistake, mistake
from graders.probing.exercise import Candidate, Inputs
from graders.probing.exposing import described
from graders.probing.observe import FORM, describe, holds_numbers

#: What is seen in an input that is right.
MISTAKE, NO_MISTAKE = "the mistake", "no mistake"
#: Two results that differ by no more than this share of the larger one are alike, in float32 too.
ALIKE = 1e-4


@dataclass(frozen=True)
class Asked:
    """A tensor that is asked for; without axes, a number.

    shape: its axes, each the name of an input, a number, or any other letter for a size that is free.
    largest: what no number in it exceeds in size, as a number or the name of an input; None: no limit.
    """

    name: str
    shape: str
    largest: float | str | None = 10.0

    @property
    def words(self) -> str:
        """As a student reads it."""
        axes = self.shape.split(", ")
        kind = f"a tensor of shape ({', '.join(axes)}{',' * (len(axes) == 1)})" if self.shape else "a number"
        if self.largest is None:
            return f"{self.name}, {kind}"
        limit = f"{self.largest:g}" if isinstance(self.largest, float) else self.largest
        numbers = "with numbers " if self.shape else ""
        return f"{self.name}, {kind} {numbers}from −{limit} to {limit}"

    def problem(self, value: Any, inputs: Inputs) -> str:
        """The key of what is wrong with the form of a value, or nothing."""
        if not self.shape and isinstance(value, int | float):
            value = torch.tensor(float(value))
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
            return "not_a_tensor"
        if value.is_complex() or value.dim() != len(self._sizes(inputs)):
            return "another_shape"
        if any(want not in (None, size) for want, size in zip(self._sizes(inputs), value.shape, strict=True)):
            return "another_shape"
        if not value.numel() or not value.isfinite().all():
            return "not_finite"
        if self.largest is None:
            return ""
        limit = inputs[self.largest] if isinstance(self.largest, str) else self.largest
        return "too_large" if value.double().abs().max() > limit * (1 + 1e-6) else ""

    def _sizes(self, inputs: Inputs) -> list[int | None]:
        axes = self.shape.split(", ") if self.shape else []
        return [inputs.get(axis, int(axis) if axis.isdigit() else None) for axis in axes]


@dataclass(frozen=True)
class Exposing:
    """What the judge makes of what is returned; an `Answer`'s `derived`.

    suspect: the judge's own copy of the code that the notebook shows, called as that is. why: called with the
    returned tensors in float64 and the case's inputs by name; the key of why they are not what was asked for,
    or nothing. right: what the observation says then.
    """

    asked: tuple[Asked, ...]
    suspect: Callable
    why: Callable[..., str]
    right: str

    def __call__(self, values: dict[str, Any], inputs: Inputs) -> dict[str, Any]:
        if any(one.name not in values for one in self.asked):
            return values
        given = [values.pop(one.name) for one in self.asked]
        form = next((f"{describe(one)} instead of a tensor" for one in given if holds_numbers(one)), None)
        given = [one.numbers if holds_numbers(one) else one for one in given]
        pairs = zip(self.asked, given, strict=True)
        key = next(filter(None, (one.problem(value, inputs) for one, value in pairs)), "")
        if not key:
            key = self.why(*(torch.as_tensor(one).detach().cpu().double() for one in given), **inputs)
        shown = key.replace("_", " ") or self.right
        return {f"what your input for {described(inputs)} shows": shown, FORM: form, **values}


def exposing(
    asked: Asked | tuple[Asked, ...],
    suspect: Callable,
    why: Callable[..., str],
    reasons: Sequence[Mistake],
    found: tuple[Candidate, Candidate],
    right: str = MISTAKE,
) -> Answer:
    """The answer of an exercise that asks for inputs.

    reasons: by the keys of `why`, with candidates whose inputs fail for that. found: two candidates whose
    inputs are right.
    """
    asked = asked if isinstance(asked, tuple) else (asked,)
    derived = Exposing(asked, suspect, why, right)
    return Answer(*found, (*reasons, *_form_reasons(asked, found[0])), derived)


def hiding(*given: Any) -> Answer:
    """The same where the mistake is to stay unseen."""
    return exposing(*given, right=NO_MISTAKE)


def _form_reasons(asked: tuple[Asked, ...], found: Candidate) -> tuple[Mistake, ...]:
    """What every exercise of the kind may be refused for. found: a candidate that is right."""

    def changed(change: Callable[[Tensor], Any]) -> Candidate:
        def candidate(*given: Any) -> Any:
            result = found(*given)
            if isinstance(result, tuple):
                return tuple(map(change, result))
            return change(torch.as_tensor(result))

        return candidate

    wanted = f"We want {'; and '.join(one.words for one in asked)}."
    too_large = mistake(
        "too_large",
        f"Something in it is larger than it may be. {wanted} Within that there is an answer.",
        changed(lambda one: one * 1e7),
    )
    return (
        mistake(
            "not_a_tensor",
            f"What comes back is of another kind than what is asked for. {wanted}",
            changed(lambda one: str(one.tolist())),
        ),
        mistake(
            "another_shape",
            f"The shape is wrong. {wanted} Sizes are arguments and change from case to case.",
            changed(lambda one: one.unsqueeze(0)),
        ),
        mistake(
            "not_finite",
            f"There is nothing in it, or something that is no number: NaN or infinite. {wanted} A mistake "
            "that shows only there need not be found.",
            changed(lambda one: one * math.nan),
        ),
        *([too_large] if any(one.largest is not None for one in asked) else []),
    )


def variant(mistakes: Sequence[Mistake], key: str, number: int = 0) -> Candidate:
    """An implementation that makes a known mistake."""
    return next(one for one in mistakes if one.key == key).variants[number]


def apart(right: Tensor, wrong: Tensor) -> float:
    """The largest difference as a share of the largest right value; where one is not finite, infinite."""
    difference = float((wrong - right).abs().max())
    size = float(right.abs().max())
    if not math.isfinite(difference):
        return math.inf
    return difference / size if size else (math.inf if difference else 0.0)
