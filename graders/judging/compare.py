"""Compares one observation with what it should be, and says in which way it differs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from graders.judging.tolerance import as_tensor, is_real
from graders.probing.observe import Foreign, Raised, holds_numbers

#: The ways in which an observation can differ, from the inside out.
KINDS = ("equal", "raised", "type", "shape", "dtype", "device", "nan", "values")


@dataclass(frozen=True)
class Finding:
    """What a comparison found.

    kind: one of KINDS. right: the values are the expected ones, whatever the form.
    measure: what works out `excess`, where there is one; most are never asked for theirs.
    """

    kind: str
    right: bool
    got: Any
    want: Any
    measure: Callable[[], torch.Tensor] | None = field(default=None, compare=False, repr=False)

    @cached_property
    def excess(self) -> torch.Tensor | None:
        """How far each value is out in units of what is allowed, where shapes are right."""
        return self.measure() if self.measure else None

    @cached_property
    def index(self) -> tuple[int, ...] | None:
        """Where the value that is furthest out stands; None where there is no such place."""
        if self.excess is None or not self.excess.numel():
            return None
        return tuple(map(int, np.unravel_index(int(self.excess.argmax()), self.excess.shape)))

    @property
    def equal(self) -> bool:
        return self.kind == "equal"


@dataclass(frozen=True)
class Expected:
    """What an observation should be: the exact value, how far off is accepted, and in which form."""

    value: Any
    tolerance: torch.Tensor | None
    dtype: torch.dtype
    device: torch.device


def compare(got: Any, expected: Expected) -> Finding:
    """Compare an observed value with the expected one, form and values."""
    want = expected.value
    if isinstance(got, Raised):
        return Finding("equal" if got == want else "raised", got == want, got, want)
    if holds_numbers(got):
        return Finding("type", compare(got.numbers, expected).right, got, want)
    if isinstance(got, torch.Tensor) and got.layout != torch.strided:
        return Finding("type", False, Foreign("sparse tensor"), want)
    if isinstance(want, torch.Tensor):
        return _compare_tensor(got, expected)
    if isinstance(got, torch.Tensor) and got.is_meta:
        return Finding("type", False, got, want)  # there is no number in it
    if isinstance(want, float) and not isinstance(want, bool):
        return _compare_number(got, expected)
    if type(got) is type(want) and got == want:
        return Finding("equal", True, got, want)
    if isinstance(want, int) and isinstance(got, torch.Tensor | float) and _numel(got) == 1:
        return Finding("type", bool(as_tensor(got) == want), got, want)
    kind = "values" if type(got) is type(want) else "type"
    return Finding(kind, False, got, want)


def _compare_number(got: Any, expected: Expected) -> Finding:
    want = expected.value
    if isinstance(got, bool) or not isinstance(got, int | float | torch.Tensor) or _numel(got) != 1:
        return Finding("type", False, got, want)
    value, tolerance = float(as_tensor(got) if isinstance(got, torch.Tensor) else got), expected.tolerance
    if math.isfinite(value) != math.isfinite(want):
        return Finding("nan", False, got, want)
    right = value == want or (tolerance is not None and _is_number_within(value, want, float(tolerance)))
    if isinstance(got, torch.Tensor):
        return Finding("type", right, got, want)
    if right:
        return Finding("equal", True, got, want)
    return Finding("values", False, got, want, lambda: _excess(as_tensor(got), as_tensor(want), tolerance))


def _is_number_within(value: float, exact: float, tolerance: float) -> bool:
    return abs(value - exact) <= tolerance or (math.isnan(value) and math.isnan(exact))


def _compare_tensor(got: Any, expected: Expected) -> Finding:
    want: torch.Tensor = expected.value
    if not isinstance(got, torch.Tensor):
        is_number = isinstance(got, int | float) and not isinstance(got, bool) and want.dim() == 0
        right = is_number and _within(as_tensor(float(got)), as_tensor(want), expected.tolerance)
        return Finding("type", right, got, want)
    if got.shape != want.shape:
        return Finding("shape", _right_in_another_shape(got, expected), got, want)
    if got.device.type == "meta":
        return Finding("device", False, got, want)
    if not is_real(want):
        right = bool((got.cpu().to(want.dtype) == want.cpu()).all())
        if got.dtype != want.dtype:
            return Finding("dtype", right, got, want)
        return Finding("equal" if right else "values", right, got, want)
    if got.is_complex():
        return Finding("dtype", False, got, want)
    value, exact = as_tensor(got), as_tensor(want)
    tolerance = expected.tolerance
    if not _within(value, exact, tolerance):
        if not math.isfinite(float(value.sum())):  # which it hardly is where each of them is
            lost = exact.isfinite() & ~value.isfinite()
            if lost.any():
                return Finding("nan", False, got, want, lost.double)
        coarser = _coarser(expected, got.dtype)
        if coarser is not tolerance and _within(value, exact, coarser):
            return Finding("dtype", True, got, want)
        return Finding("values", False, got, want, lambda: _excess(value, exact, tolerance))
    if got.dtype != expected.dtype:
        return Finding("dtype", True, got, want)
    if got.device.type != expected.device.type:
        return Finding("device", True, got, want)
    return Finding("equal", True, got, want)


def _within(value: torch.Tensor, exact: torch.Tensor, tolerance: torch.Tensor | None) -> bool:
    if tolerance is None:
        return torch.equal(value, exact)
    difference = (value - exact).abs()
    near = difference <= tolerance
    if near.all():
        return True
    if (difference > tolerance).any():
        return False  # a number that is out, and neither NaN nor infinite as it should be
    return bool((near | (value == exact) | (value.isnan() & exact.isnan())).all())


def _coarser(expected: Expected, dtype: torch.dtype) -> torch.Tensor | None:
    """The tolerance, widened where the result is float32 instead of float64.

    A table filled from Python numbers is float32 whatever it was computed in: its values are right, as
    far as its dtype can tell.
    """
    if expected.tolerance is None or (dtype, expected.dtype) != (torch.float32, torch.float64):
        return expected.tolerance
    return expected.tolerance * (torch.finfo(dtype).eps / torch.finfo(expected.dtype).eps)


def _right_in_another_shape(got: torch.Tensor, expected: Expected) -> bool:
    """Whether the values are the expected ones with axes of length 1 added, transposed or repeated."""
    want = as_tensor(expected.value)
    if got.device.type == "meta" or got.is_complex():
        return False
    value, tolerance = as_tensor(got), _coarser(expected, got.dtype)
    if value.numel() == want.numel():
        candidates = [value.reshape(want.shape)]
        if value.dim() == 2 and value.T.shape == want.shape:
            candidates = [value.T]
        return any(_within(candidate, want, tolerance) for candidate in candidates)
    try:
        repeated = torch.broadcast_shapes(value.shape, want.shape) == value.shape
    except RuntimeError:
        return False
    return (
        repeated and value.numel() > 0 and _within(value, want.expand_as(value), _expanded(tolerance, value))
    )


def in_form(got: Any, expected: Expected) -> Any:
    """What was observed in the form that is asked for, where its values can be brought to it; else as it is.

    Numbers come out of an array or a list, a number becomes a tensor or a tensor a number, and axes of length
    1 come and go.
    """
    want, value = expected.value, got.numbers if holds_numbers(got) else got
    if isinstance(value, float | int) and not isinstance(value, bool):
        value = torch.tensor(float(value), dtype=torch.float64)
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_meta:
        return got
    if isinstance(want, float) and value.numel() == 1 and not value.is_complex():
        return float(value)
    if not isinstance(want, torch.Tensor) or not is_real(want) or value.is_complex():
        return got
    if _long_axes(value) != _long_axes(want):
        return got
    return value.reshape(want.shape).to(expected.dtype)


def _long_axes(tensor: torch.Tensor) -> list[int]:
    return [size for size in tensor.shape if size != 1]


def _expanded(tolerance: torch.Tensor | None, value: torch.Tensor) -> torch.Tensor | None:
    return None if tolerance is None else tolerance.expand_as(value)


def _numel(value: Any) -> int:
    return value.numel() if isinstance(value, torch.Tensor) else 1


def _excess(value: torch.Tensor, exact: torch.Tensor, tolerance: torch.Tensor | None) -> torch.Tensor:
    excess = (value - exact).abs()
    if tolerance is not None:
        excess = excess / tolerance.clamp_min(torch.finfo(torch.float64).tiny)
    return excess.nan_to_num(nan=-1.0, posinf=torch.finfo(torch.float64).max)
