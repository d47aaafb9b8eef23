"""The ten days: what each is about, what it needs, where its notebooks are. Imports no PyTorch."""

from __future__ import annotations

import html
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course.study.pages import Page, page

#: Words of a lecture that are read in a minute; a code cell or an explorer takes a minute of its own.
READING = 150


def find_root() -> Path:
    """The folder of the course: the one around the notebook that runs, else that of this file."""
    here = Path.cwd()
    if here.name == "course" and (here.parent / "exercises").is_dir():
        return here.parent
    return Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Day:
    """A day of the course. needs: what to know before it, in words."""

    number: int
    title: str
    needs: str

    @property
    def name(self) -> str:
        """As in the names of files, such as "day26"."""
        return f"day{self.number}"

    def lecture(self, root: Path) -> Path | None:
        """The lecture's notebook, if it is there."""
        return next(iter(sorted((root / "course").glob(f"{self.name}_*.ipynb"))), None)

    def exercises(self, root: Path) -> Path | None:
        """The exercises' notebook, if it is there."""
        path = root / "exercises" / self.name / f"{self.name}.ipynb"
        return path if path.is_file() else None


DAYS = (
    Day(25, "the problem of unstable gradients", "linear layers, gradients"),
    Day(26, "batch normalization, the algorithm", "mean and variance, the chain rule, broadcasting"),
    Day(27, "trainable and non-trainable parameters", "day 26, `nn.Module`"),
    Day(28, "batch normalization in convolutional networks", "day 27, convolutions"),
    Day(29, "the N×C×H×W axes", "day 28"),
    Day(30, "normalization and regularization", "day 26"),
    Day(31, "what batch normalization changes", "day 26, gradients of functions"),
    Day(32, "small batches, and the norms that came after", "day 29"),
    Day(33, "momentum", "gradient descent"),
    Day(34, "momentum versus normalization", "days 26, 30, 32 and 33"),
)


def cells(path: Path | None) -> list[dict[str, Any]]:
    """The cells of a notebook as saved; none where the file is missing or broken."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["cells"] if path else []
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [cell for cell in found if isinstance(cell, dict)] if isinstance(found, list) else []


def source(cell: dict[str, Any]) -> str:
    """The text of a cell, which may be stored as one string or line by line."""
    text = cell.get("source", "")
    return "".join(map(str, text)) if isinstance(text, list) else str(text)


def exercise_minutes(path: Path | None) -> int:
    """How long the exercises take, as their headers say; 0 where they do not say."""
    headers = [source(cell) for cell in cells(path) if cell.get("cell_type") == "markdown"]
    return sum(
        int(found[1])
        for text in headers
        if text.startswith("## ") and (found := re.search(r"about\s+(\d+)\s+minutes", text))
    )


def lecture_minutes(path: Path | None) -> int:
    """How long a lecture takes by its words and cells, to the next five minutes; 0 where there is none."""
    held = [cell for cell in cells(path) if cell.get("id") not in ("open-anywhere", "references")]
    words = sum(len(source(cell).split()) for cell in held if cell.get("cell_type") == "markdown")
    runs = sum(cell.get("cell_type") == "code" for cell in held)
    return 5 * math.ceil((words / READING + runs) / 5)


def course_map(root: Path | None = None) -> Page:
    """The days as a table: subject, notebooks that are there, how long they take, what they need."""
    root = root or find_root()
    rows, plain = [], []
    for day in DAYS:
        lecture, exercises = day.lecture(root), day.exercises(root)
        minutes = exercise_minutes(exercises)
        lecture_cell = _link(lecture and lecture.name, "Lecture", lecture_minutes(lecture))
        exercise_cell = _link(exercises and f"../exercises/{day.name}/{day.name}.ipynb", "Exercises", minutes)
        needs = re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(day.needs))
        rows.append(
            f"<tr><td>{day.number}</td><td>{html.escape(day.title)}</td>"
            f"<td>{lecture_cell}</td><td>{exercise_cell}</td><td>{needs}</td></tr>"
        )
        plain.append(f"Day {day.number}: {day.title}. Needs: {day.needs}.")
    head = "<tr><th>day</th><th>subject</th><th>lecture</th><th>exercises</th><th>needs</th></tr>"
    table = f"<table>\n<thead>{head}</thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody>\n</table>"
    return page("table", table, "\n".join(plain))


def _link(address: str | None, text: str, minutes: int) -> str:
    if not address:
        return ""
    return f'<a href="{html.escape(address)}">{text}</a>' + (f", {minutes} min" if minutes else "")
