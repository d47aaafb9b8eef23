"""What a row of the table is, and the work that the rows start from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graders.probing.days import days
from tests.courses import solution_code
from tests.test_nbgrader import MISTAKEN

DAY = "day26"
#: A name that cheats give to what they leave behind, so that it can be looked for afterwards.
MARK = "PWNED"

#: The notebook as data, to be changed in place.
Notebook = dict[str, Any]


@dataclass(frozen=True)
class Cheat:
    """One submission and what must come of it.

    name, family: what it is. code: a cell of the student's own that runs before the exercises; `later`: one
    that runs after the last. answers: code for answer cells by their name. edit: changes the notebook.
    raw: makes the bytes of the file. place: changes the folder that was handed in.
    points: exactly what it is worth. None: it is not graded, and `says` is in the reason.
    says: stands in the flags, notes or reason. prints, never: stand in the outputs, or must not.
    slow: must run into a time limit. flagged: why the points that it gains cannot be kept from it; a person
    must be told.
    """

    name: str
    family: str
    code: str = ""
    later: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)
    edit: Callable[[Notebook], object] | None = None
    raw: Callable[[bytes], bytes] | None = None
    place: Callable[[Path], object] | None = None
    points: float | None = 0
    says: str = ""
    prints: str = ""
    never: tuple[str, ...] = ()
    slow: bool = False
    flagged: str = ""


def right() -> Mapping[str, str]:
    """The answers of the solution, by cell."""
    return solution_code(DAY)


#: Right answers that are quickly judged, for most rows; and what they are worth.
_QUICK = ("batch_norm_forward", "numerical_gradient", "identity_parameters")
SOME = 9


def some() -> Mapping[str, str]:
    return {name: right()[name] for name in _QUICK}


#: The exercises that cheats are about, all points of these, and what is left with a mistake in each.
EXERCISES = (*_QUICK, "batch_norm_backward")
FULL = sum(exercise.points for exercise in days()[DAY] if exercise.name in EXERCISES)
PARTIAL = sum(MISTAKEN[name][2] for name in EXERCISES)


def mistaken() -> Mapping[str, str]:
    """Answers with one known mistake each."""
    return {name: code for name, (code, _, _) in MISTAKEN.items()}


#: A batch_norm_forward that is worth nothing.
NOTHING = {"batch_norm_forward": "def batch_norm_forward(x, gamma, beta, eps=1e-5):\n    return x * 0, None"}


def forward(body: str, before: str = "") -> dict[str, str]:
    """An answer for batch_norm_forward with this body, and code in front of it."""
    lines = body.strip().replace("\n", "\n    ")
    signature = "def batch_norm_forward(x, gamma, beta, eps=1e-5):"
    return {"batch_norm_forward": f"{before.strip()}\n{signature}\n    {lines}"}


def code_cell(source: str, **metadata: Any) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": metadata,
        "outputs": [],
        "source": source.strip(),
    }


def form(cell: Mapping[str, Any]) -> dict[str, Any]:
    """nbgrader's metadata of a cell."""
    return cell["metadata"].get("nbgrader", {})


def cell_named(notebook: Notebook, name: str) -> dict[str, Any]:
    return next(cell for cell in notebook["cells"] if form(cell).get("grade_id") == name)


def handed_in(cheat: Cheat, released: str, first: str) -> bytes:
    """The notebook file of a cheat. first: the name of the released cell after which its own code stands."""
    notebook = json.loads(released)
    for cell in notebook["cells"]:
        if form(cell).get("solution") and form(cell)["grade_id"] in cheat.answers:
            cell["source"] = cheat.answers[form(cell)["grade_id"]].strip()
    if cheat.code:
        place = notebook["cells"].index(cell_named(notebook, first)) + 1
        notebook["cells"].insert(place, code_cell(cheat.code))
    if cheat.later:
        notebook["cells"].append(code_cell(cheat.later))
    if cheat.edit:
        cheat.edit(notebook)
    content = json.dumps(notebook).encode()
    return cheat.raw(content) if cheat.raw else content
