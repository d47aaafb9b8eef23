"""Probes that several exercises share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from graders.exercise import Candidate, Inputs, Probe
from graders.observe import FORM, describe, unpacked


def call(*results: str) -> Probe:
    """Call the candidate with the inputs in order, and observe what it returns under these names.

    An input whose name is "eps" and whose value is None is left out, so that the default is used.
    """

    def probe(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
        result = candidate(*arguments(inputs))
        if len(results) == 1:
            yield results[0], result
        else:
            yield from zip(results, unpacked(result, results), strict=True)

    return probe


def arguments(inputs: Inputs) -> list[Any]:
    """The values to call with: trailing inputs that are None are left to their defaults."""
    values = list(inputs.values())
    while values and values[-1] is None:
        values.pop()
    return values


def first_of_pair(result: Any, names: tuple[str, str]) -> Iterator[tuple[str, Any]]:
    """Observe the first of a returned pair, and the form; a lone tensor is looked into all the same."""
    if isinstance(result, torch.Tensor):
        yield names[0], result
        yield FORM, f"{describe(result)} alone instead of the pair ({', '.join(names)})"
    else:
        yield names[0], unpacked(result, names)[0]
        yield FORM, None
