"""Exercises that ask for an input: one on which a known mistake shows, or one on which it hides.

The mistake stands in the notebook for all to read. A candidate is given sizes and numbers, and returns
tensors; whether the mistake shows on them is for the judge to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from graders.probing.exercise import Case, Draw, Exercise, Inputs, Part
from graders.probing.probes import call

#: How many inputs are asked for.
CASES = 4


def exposing(
    signature: str, returns: str, drawn: Callable[[Draw], dict[str, Any]], points: int = 2
) -> Exercise:
    """The exercise of this signature. returns: the names of what it returns. drawn: the inputs of one case.

    Anything may be used to find the input, the library and autograd too.
    """

    def cases(draw: Draw) -> Iterator[Case]:
        seen: set[str] = set()
        while len(seen) < CASES:
            inputs = drawn(draw)
            name = described(inputs)
            if name not in seen:
                seen.add(name)
                yield Case(name, inputs)

    name = signature.partition("(")[0]
    label = "an input on which the mistake " + ("hides" if name.startswith("hide_") else "shows")
    parts = (Part(label, points),)
    return Exercise(name, signature, cases, call(*returns.split(", ")), parts, barred=frozenset())


def described(inputs: Inputs) -> str:
    """The inputs of a case in words: "n = 6, eps = 0.002"."""
    return ", ".join(
        f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"
        for name, value in inputs.items()
    )


def log_uniform(draw: Draw, low: float, high: float) -> float:
    """A number between two positive ones, all sizes being equally likely."""
    return low * (high / low) ** draw.number(0.0, 1.0)
