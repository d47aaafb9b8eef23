"""Finds exercises and answers by name.

A day is one room: whatever stands in `graders/probing/days/dayNN.py` as `EXERCISES` is in the table, and
`graders/judging/references/dayNN.py` holds the answers by name in `ANSWERS`.
"""

from __future__ import annotations

import difflib
import importlib

from graders.judging.answer import Answer
from graders.judging.steps import own_steps, whole_of
from graders.probing.days import days, exercises
from graders.probing.exercise import Exercise, UnknownExercise

__all__ = ["answer_of", "day_of", "days", "exercises", "find"]


def find(name: str) -> Exercise:
    """The exercise, or the step to one, of that name.

    Raises UnknownExercise with a sentence that suggests the nearest one.
    """
    if name in exercises():
        return exercises()[name]
    if name in own_steps():
        return own_steps()[name].exercise
    near = difflib.get_close_matches(name, exercises(), n=1)
    hint = f" Did you mean {near[0]}?" if near else " The exercise notebook has the names."
    raise UnknownExercise(f"There is no exercise called {name}.{hint}")


def day_of(name: str) -> str:
    """The day ("day26") that an exercise, or a step to one, belongs to."""
    name = whole_of(name)
    return next(day for day, found in days().items() if any(one.name == name for one in found))


def answer_of(name: str) -> Answer:
    """The judge's side of an exercise, or of a step to one. Only the judge calls this."""
    if name in own_steps():
        return own_steps()[name].answer
    module = importlib.import_module(f"graders.judging.references.{day_of(name)}")
    return module.ANSWERS[name]
