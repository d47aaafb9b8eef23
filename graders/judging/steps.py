"""The way to a hard exercise in labelled sub-goals, each of which has a check and carries no points.

What the steps are stands in `graders.judging.references.steps`; here they are found. A known mistake of the
exercise belongs to the step in which it is made, so that a report can name it.

Source: Margulieux, Morrison & Decker (2020), Reducing withdrawal and failure rates in introductory
programming with subgoal labeled worked examples, https://doi.org/10.1186/s40594-020-00222-7.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass

from graders.judging.answer import Answer, Mistake
from graders.probing.exercise import Exercise


@dataclass(frozen=True)
class Step:
    """A sub-goal of an exercise.

    title: its heading. exercise: what is written for it alone, or for a step that is an exercise of its own,
    that one. answer: the judge's side of it; None where the table has the exercise. mistakes: keys of the
    known mistakes of the whole that are made in this step.
    """

    title: str
    exercise: Exercise
    answer: Answer | None = None
    mistakes: frozenset[str] = frozenset()


def paths() -> dict[str, tuple[Step, ...]]:
    """The steps to each exercise that has some, by its name; the last step is the exercise itself."""
    return importlib.import_module("graders.judging.references.steps").PATHS


def own_steps() -> dict[str, Step]:
    """The steps that are no exercise of the table, by the name of what is written for them."""
    return {step.exercise.name: step for path in paths().values() for step in path if step.answer}


def whole_of(name: str) -> str:
    """The exercise that a step leads to, by the names of both; of an exercise, its own name."""
    own = own_steps()
    return next(whole for whole, path in paths().items() if own[name] in path) if name in own else name


def hint(exercise: str, mistakes: Sequence[Mistake]) -> list[str]:
    """The sentence that names the first step to an exercise in which one of its known mistakes is made.

    None for the last step, which is the exercise itself: it has no check beside the one that has just run.
    """
    keys = {one.key for one in mistakes}
    for number, step in enumerate(paths().get(exercise, ()), 1):
        if keys & step.mistakes:
            name = step.exercise.name
            if name == exercise:
                return []
            where = "the section Step by step" if step.answer else f"the exercise {name}"
            return [f"This belongs to step {number}, «{step.title}»: {where} has a check for it alone."]
    return []
