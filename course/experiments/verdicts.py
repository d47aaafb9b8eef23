"""What a verdict rests on: sentences that each seed bears out or not, and numbers with their spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Finding:
    """One sentence of a verdict, and the seeds that bear it out.

    Args:
        says: the sentence, no wider than what was measured.
        held: (S,) bool, whether it held, seed by seed.
        at_least: in how many of the S seeds it has to hold for the lecture to print it; None: in all.
    """

    says: str
    held: Tensor
    at_least: int | None = None

    @property
    def needed(self) -> int:
        """How many seeds have to bear it out."""
        return len(self.held) if self.at_least is None else self.at_least

    @property
    def stands(self) -> bool:
        """Whether enough seeds bear it out."""
        return int(self.held.sum()) >= self.needed

    def __str__(self) -> str:
        return f"{int(self.held.sum())} of {len(self.held)} seeds: {self.says}"


@dataclass(frozen=True)
class Claim:
    """A claim of a lecture, and how it is put to the test.

    Args:
        says: the claim, as the lecture states it.
        measure: seeds -> what the experiment and its controls yield.
        judge: that -> the sentences of the verdict.
    """

    says: str
    measure: Callable[[Sequence[int]], Any]
    judge: Callable[[Any], list[Finding]]


def show(findings: Sequence[Finding]) -> None:
    """Print the findings, one a line."""
    print(*findings, sep="\n")


def spread(values: Tensor, digits: str = ".3g") -> str:
    """The median of one number a seed, (S,), with the lowest and the highest: "95 (65 to 105)".

    Infinity, for what never came, is "never".
    """
    ordered = torch.as_tensor(values).double().flatten().sort().values
    low, middle, high = (
        "never" if value == torch.inf else format(value, digits)
        for value in (ordered[0].item(), ordered[(len(ordered) - 1) // 2].item(), ordered[-1].item())
    )
    return f"{middle} ({low} to {high})"
