"""`check_steps` for notebooks: how far a student is on the way to an exercise, step by step."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from graders.judging import catalogue
from graders.judging.checking import checked, name_of
from graders.judging.report import as_html, as_text
from graders.judging.steps import Step, own_steps, paths, whole_of
from graders.judging.verdict import Verdict

#: What a step is, in a word, by its verdict's outcome; whatever else it is, is wrong.
STATES = {"passed": "right", "unattempted": "not written yet"}


@dataclass(frozen=True, repr=False)
class Walk:
    """The steps to an exercise, with the verdicts on those that were checked, by name.

    problem: why nothing was checked, in a sentence, or empty.
    """

    path: Sequence[Step] = ()
    verdicts: Mapping[str, Verdict] = ()
    problem: str = ""

    @property
    def first_wrong(self) -> Verdict | None:
        """The verdict on the first step that is written and not right."""
        return next((one for one in self.verdicts.values() if one.outcome not in STATES), None)

    def rows(self) -> list[tuple[int, str, str]]:
        """Number, title and state of each step; one that is an exercise of its own has that one's check."""
        rows = []
        for number, step in enumerate(self.path, 1):
            if step.answer is None:
                state = step.exercise.call
            elif step.exercise.name in self.verdicts:
                state = STATES.get(self.verdicts[step.exercise.name].outcome, "not right yet")
            else:
                state = "not checked"
            rows.append((number, step.title, state))
        return rows

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        if self.problem:
            return self.problem
        width = max(len(step.title) for step in self.path)
        lines = [f"  {number}  {title:<{width}}  {state}" for number, title, state in self.rows()]
        if self.first_wrong:
            lines += ["", as_text(self.first_wrong)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        if self.problem:
            return f"<p>{escape(self.problem)}</p>"
        rows = "".join(
            f'<tr><td>{number}</td><td style="text-align: left">{escape(title)}</td>'
            f'<td style="text-align: left">{_state_html(step, state)}</td></tr>'
            for step, (number, title, state) in zip(self.path, self.rows(), strict=True)
        )
        head = '<tr><th>step</th><th style="text-align: left"></th><th></th></tr>'
        report = as_html(self.first_wrong) if self.first_wrong else ""
        return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>{report}"


def _state_html(step: Step, state: str) -> str:
    return f"<code>{escape(state)}</code>" if step.answer is None else escape(state)


def check_steps(*functions: Callable[..., Any]) -> Walk:
    """Check the steps to an exercise: `check_steps(through_scale, through_variance)`.

    Takes as many of them as are there. Says of each whether it is right, and shows the report on the first
    that is not. Steps carry no points. Never raises for a wrong answer.
    """
    caller = sys._getframe(1)
    names = [name_of(one, caller) for one in functions]
    strange = [name for name in names if name not in own_steps()]
    wholes = {whole_of(name) for name in names}
    if strange or len(wholes) != 1:
        return Walk(
            problem="check_steps takes the functions of one section Step by step, as its cell has them."
        )
    written = dict(zip(names, functions, strict=True))
    path = paths()[wholes.pop()]
    order = [step.exercise.name for step in path if step.exercise.name in written]
    return Walk(path, {name: checked(catalogue.find(name), written[name]) for name in order})
