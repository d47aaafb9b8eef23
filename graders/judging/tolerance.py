"""How far a correct implementation may be from the exact value: the one rule, for every exercise.

A result in floating point is accepted where

    |result - exact|  <=  SAFETY * sqrt(n) * eps(dtype) * (noise + |exact|)

`noise` is measured, not guessed: the written-out definition runs in float64 while the result of every
operation in it is changed by a tiny relative amount, random in sign and size (Monte Carlo arithmetic, Parker
1997), and the change at the end is divided by that amount. So it is large where the case is badly
conditioned (a feature at an offset of 1e4) and small where it is not. n is the number of elements of
the largest input; rounding errors of different sign grow with sqrt(n), not with n (Higham and Mary,
"A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41, 2019).

Where a definition has no eps of its own, what a `GUARD` added to a divisor changes is allowed besides.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import torch

from graders.probing.exercise import Candidate, Case, Exercise
from graders.probing.observe import Probing, Sight, tensors
from graders.probing.recorder import DispatchMode

Real = TypeVar("Real", torch.Tensor, float)

SAFETY = 8.0
#: The relative size of the perturbations: far above float64's rounding, far below where results bend.
PERTURBATION = 2.0**-26
SAMPLES = 3
#: The most that may be added to a divisor so that it isn't 0.
GUARD = 1e-12


class _Perturbed(DispatchMode):
    """Changes every newly computed floating-point value by about PERTURBATION, up or down at random."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.factors, self.used = _factors(seed, 1 << 16), 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        made = _made_by(func)
        if len(made) == 1:
            return self._perturb(result, made[0])
        if isinstance(result, tuple):
            return tuple(map(self._perturb, result, made))
        return result

    def _perturb(self, value: Any, made: str) -> Any:
        if made == "view" or not isinstance(value, torch.Tensor):  # a view: it was perturbed when made
            return value
        if not value.is_floating_point() or value.is_meta:
            return value
        count = value.numel()
        if self.used + count > self.factors.numel():
            self.factors, self.used = _factors(self.used + count, max(count, 1 << 16)), 0
        if value.is_contiguous():  # in one operation instead of two
            factor = self.factors.as_strided(value.shape, value.stride(), self.used)
        else:
            factor = self.factors[self.used : self.used + count].view(value.shape)
        self.used += count
        return value * factor if made == "new" else value.mul_(factor)


@functools.cache
def _made_by(func: Any) -> tuple[str, ...]:
    """What each result of an operator is: "new", a "view" of what there was, or that "changed"."""
    aliases = [returned.alias_info for returned in func._schema.returns]
    return tuple("new" if alias is None else "changed" if alias.is_write else "view" for alias in aliases)


@functools.lru_cache(maxsize=8)
def _factors(seed: int, count: int) -> torch.Tensor:
    """Numbers next to 1, above or below it at random: drawn once, and used from one operation to the next.

    By PERTURBATION on average, and by half of it to one and a half: were it always the same, the changes of
    two operations would cancel each other in every other sample.
    """
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (count,), generator=generator, dtype=torch.float64) * 2 - 1
    return 1 + PERTURBATION * signs * (0.5 + torch.rand(count, generator=generator, dtype=torch.float64))


class Noise:
    """How much each floating-point observation of a case moves for each unit of relative rounding.

    case: its inputs in float64. Samples are taken as they are asked for: one tells a gross error from
    rounding, a close call needs SAMPLES. exact: gives the observations that they are compared with, where
    somebody has them; what tells those of the reference from the definition's own is some 1e-8 of a
    perturbation. until: the last observation that is asked for; None: all are.
    """

    def __init__(
        self,
        exercise: Exercise,
        definition: Candidate,
        case: Case,
        exact: Callable[[], Mapping[str, Any]] | None = None,
        until: str | None = None,
    ) -> None:
        self.exercise, self.definition, self.case, self.until = exercise, definition, case, until
        self._exact = exact or (lambda: self._look().values)
        self._largest: dict[int, dict[str, torch.Tensor]] = {0: {}}
        self._of: dict[tuple[int, str], Noise] = {}

    def of(self, variant: Candidate, until: str) -> Noise:
        """The same for another candidate, which is as right in its own way: a mistake's variant."""
        key = id(variant), until
        return self._of.setdefault(key, Noise(self.exercise, variant, self.case, until=until))

    def after(self, samples: int) -> dict[str, torch.Tensor]:
        """The largest movement of each observation over so many samples.

        Also the largest along the first axis, so that one lucky draw does not make an element strict.
        """
        if samples not in self._largest:
            moves = self._sampled(samples - 1)
            before = self.after(samples - 1)
            self._largest[samples] = before | {
                name: torch.maximum(before[name], move) if name in before else move
                for name, move in moves.items()
            }
        return self._largest[samples]

    @cached_property
    def _undisturbed(self) -> dict[str, Any]:
        return dict(self._exact())

    def _look(self) -> Sight:
        return Probing(self.exercise, self.definition, self.case, watched=False).until(self.until)

    def _sampled(self, seed: int) -> dict[str, torch.Tensor]:
        with _Perturbed(seed):
            seen = self._look().values
        moves = {}
        for name, value in self._undisturbed.items():
            other = seen.get(name)
            if not is_real(value) or not is_real(other):
                continue
            value, other = as_tensor(value), as_tensor(other)
            if value.shape != other.shape:
                continue
            move = (other - value).abs() / PERTURBATION
            if move.dim() > 1:
                move = move.amax(0, keepdim=True).expand_as(value)
            moves[name] = move
        return moves


def allowed(
    dtype: torch.dtype,
    size: int,
    exact: Real,
    moved: Real | None,
    arithmetic: torch.dtype | None,
) -> Real:
    """The largest accepted |result - exact|, elementwise, in float64; of plain numbers, a number.

    dtype: of the result. size: elements of the largest input. arithmetic: where the exercise fixes the
    dtype of the computation, rounding happens in that one and only the result is rounded to `dtype`.
    """
    scale = abs(exact) + (0 if moved is None else moved)
    growth = SAFETY * math.sqrt(max(size, 1))
    if arithmetic is None:
        return growth * torch.finfo(dtype).eps * scale
    return growth * torch.finfo(arithmetic).eps * scale + torch.finfo(dtype).eps * abs(exact)


def size_of(case: Case) -> int:
    """Elements of the largest tensor among the inputs; 1 where there is none."""
    return max((tensor.numel() for _, tensor in tensors(case.inputs)), default=1)


def is_real(value: Any) -> bool:
    """Whether a value is compared within a tolerance: a float or a floating-point tensor."""
    if isinstance(value, torch.Tensor):
        return value.is_floating_point()
    return isinstance(value, float)


def as_tensor(value: Any) -> torch.Tensor:
    """A floating-point value as a float64 tensor on the CPU."""
    if isinstance(value, torch.Tensor):
        if value.dtype == torch.float64 and value.is_cpu and not value.requires_grad:
            return value  # as most are: it takes longer to ask for what it is already
        return value.detach().to("cpu", torch.float64)
    return torch.tensor(value, dtype=torch.float64)  # not by way of float32, the default dtype
