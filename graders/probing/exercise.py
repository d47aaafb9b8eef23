"""What an exercise is, on the student's side of the wall: its cases, its probe and its points.

Nothing here knows an answer. The references and the mistakes live in `graders.judging.references`, which the
code that runs a student's work never imports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from graders.probing.recorder import LAYER, OPTIMIZER

#: A candidate is what a student hands in: a function, a class, or a tuple of them.
Candidate = Any
#: Inputs of one case by argument name: tensors, numbers, strings, None, or lists of these: what can travel.
Inputs = Mapping[str, Any]
#: A probe looks at a candidate and yields what it sees, one named observation after the other.
Probe = Callable[[Candidate, Inputs], Iterator[tuple[str, Any]]]

#: The library operators that are the answer to a from-scratch exercise, as the recorder names them.
LIBRARY_ANSWERS = frozenset(
    {
        *("batch_norm", "native_batch_norm", "native_batch_norm_legit", "native_batch_norm_backward"),
        *("batch_norm_with_update", "batch_norm_no_update", "batch_norm_update_stats"),
        *("batch_norm_stats", "batch_norm_elemt", "batch_norm_backward_reduce", "cudnn_batch_norm"),
        *("miopen_batch_norm", "instance_norm", "layer_norm", "native_layer_norm"),
        *("native_layer_norm_backward", "group_norm", "native_group_norm", "native_group_norm_backward"),
        *("rms_norm", "fused_rms_norm", "weight_norm", "weight_norm_interface"),
        *("dropout", "native_dropout", "alpha_dropout", "feature_dropout", "fused_sgd"),
        *(LAYER, OPTIMIZER),
    }
)
#: Differentiation by the library, barred where a row says "without autograd".
AUTOGRAD = frozenset({"autograd.grad", "autograd.backward"})


class UnknownExercise(LookupError):
    """The name is not in the table of exercises; the text says what to do."""


class BrokenContract(Exception):
    """Raised by a probe where a candidate returns something the probe cannot look into.

    The text is a whole sentence for the student.
    """


@dataclass(frozen=True)
class Case:
    """One situation a candidate is put into. `name` is what the student reads: "a constant feature"."""

    name: str
    inputs: Inputs


@dataclass(frozen=True)
class Part:
    """A share of an exercise's points: full where every one of `observations` is right in every case.

    `observations` are the names that the probe yields; "dx" also covers "dx of batch 2" and the like
    if the name ends in ``*``.
    """

    label: str
    points: int
    observations: tuple[str, ...] = ("*",)

    def covers(self, observation: str) -> bool:
        return any(
            observation == pattern or (pattern.endswith("*") and observation.startswith(pattern[:-1]))
            for pattern in self.observations
        )


@dataclass(frozen=True)
class Exercise:
    """An exercise as the student's side knows it.

    name: the name in the table, which is the candidate's own name.
    signature: as the table writes it; shown where a candidate takes other arguments.
    cases: called with a `Draw`, yields the cases, different at every seed.
    probe: see `Probe`; the same one looks at the candidate, the reference and every known mistake.
    parts: how the points are split.
    together: names of the candidates that `check` takes, in order; the exercise's own name is the last.
    barred: operators that may not run while the candidate works.
    context: observations that help the diagnosis but carry no points and do not decide.
    arithmetic: the dtype in which the row asks for the computation, where that is not the inputs' own.
    """

    name: str
    signature: str
    cases: Callable[[Draw], Iterator[Case]]
    probe: Probe
    parts: tuple[Part, ...]
    together: tuple[str, ...] = ()
    barred: frozenset[str] = LIBRARY_ANSWERS
    context: frozenset[str] = frozenset()
    arithmetic: torch.dtype | None = None

    @property
    def points(self) -> int:
        return sum(part.points for part in self.parts)

    @property
    def candidates(self) -> tuple[str, ...]:
        return self.together or (self.name,)

    @property
    def call(self) -> str:
        """The line that a student writes to have it checked."""
        return f"check({', '.join(self.candidates)})"


@dataclass
class Draw:
    """Random inputs from a seed: drawn in float64 on the CPU, then rounded to `dtype` and moved to `device`.

    Two draws with one seed and two dtypes therefore hold the same numbers up to rounding.
    """

    seed: int
    dtype: torch.dtype = torch.float64
    device: str = "cpu"
    generator: torch.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)

    def tensor(self, values: torch.Tensor) -> torch.Tensor:
        """`values` in this draw's dtype, on its device, strides kept."""
        return values.to(dtype=self.dtype, device=self.device)

    def normal(self, *shape: int, mean: float = 0.0, std: float = 1.0) -> torch.Tensor:
        """Independent normal numbers of this shape."""
        values = torch.randn(shape, generator=self.generator, dtype=torch.float64)
        return self.tensor(values * std + mean)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """Independent uniform numbers of this shape, between `low` and `high`."""
        values = torch.rand(shape, generator=self.generator, dtype=torch.float64)
        return self.tensor(values * (high - low) + low)

    def scale(self, *shape: int) -> torch.Tensor:
        """Values for a gamma: of either sign, never near 0, never 1, no two the same."""
        magnitude = torch.rand(shape, generator=self.generator, dtype=torch.float64) + 1.2
        sign = torch.randint(0, 2, shape, generator=self.generator) * 2.0 - 1.0
        return self.tensor(magnitude * sign)

    def batch(self, n: int, d: int) -> torch.Tensor:
        """(n, d): a batch whose features have means and standard deviations of their own."""
        mean = self.uniform(d, low=-2.0, high=2.0).cpu().double()
        std = self.uniform(d, low=0.5, high=2.0).cpu().double()
        values = torch.randn((n, d), generator=self.generator, dtype=torch.float64)
        return self.tensor(values * std + mean)

    def integer(self, low: int, high: int) -> int:
        """One whole number, both ends included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def many(self) -> int:
        """A size far beyond what one computes by hand: code that holds only for small ones is found out."""
        return self.integer(40, 120)

    def number(self, low: float, high: float) -> float:
        """One Python float between `low` and `high`."""
        return low + (high - low) * float(torch.rand((), generator=self.generator, dtype=torch.float64))

    def sizes(self, *ranges: tuple[int, int]) -> tuple[int, ...]:
        """One size from each (low, high) range, no two the same, so that a wrong count shows.

        Raises ValueError where the ranges leave no such choice.
        """
        for _ in range(1000):
            drawn = tuple(self.integer(*limits) for limits in ranges)
            if len(set(drawn)) == len(drawn):
                return drawn
        raise ValueError(f"the ranges {ranges} hold no sizes that all differ")
