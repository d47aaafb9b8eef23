"""Correct implementations written in other ways than ours, and wrong ones beyond the known mistakes.

One module a day, with `RIGHT` and `WRONG`: candidates by the exercise's name. Used by the tests over a
few seeds and by `benchmarks/judging.py` over many.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any


def right() -> list[tuple[str, Any]]:
    """Every (exercise, correct candidate) of every day."""
    return _all("RIGHT")


def wrong() -> list[tuple[str, Any]]:
    """Every (exercise, wrong candidate) of every day."""
    return _all("WRONG")


def _all(table: str) -> list[tuple[str, Any]]:
    found = []
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        candidates = getattr(importlib.import_module(f"{__name__}.{module.name}"), table)
        found += [(name, one) for name, several in candidates.items() for one in several]
    return found


def label(value: Any) -> str:
    """A readable id for a candidate in a parametrized test."""
    if isinstance(value, tuple):
        return "+".join(label(part) for part in value)
    if isinstance(value, set):  # in one order, or processes that share the tests would name them differently
        return "+".join(sorted(map(label, value)))
    return value if isinstance(value, str) else getattr(value, "__qualname__", repr(value))
