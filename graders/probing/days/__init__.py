"""The exercises on the student's side of the wall. A day is a module; what stands in it is in the table."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from graders.probing.exercise import Exercise


@cache
def days() -> dict[str, tuple[Exercise, ...]]:
    """The exercises of every day, by the day's name ("day26"), in the order of the days."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").EXERCISES for name in names}


@cache
def exercises() -> dict[str, Exercise]:
    """All exercises by name."""
    return {exercise.name: exercise for day in days().values() for exercise in day}


@cache
def bars() -> frozenset[frozenset[str]]:
    """What exercises bar: each set of names that one of them closes."""
    return frozenset(exercise.barred for exercise in exercises().values())
