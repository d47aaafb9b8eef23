"""Students whose folders of the course hold something: what they have saved, reviewed and predicted."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course.days import DAYS
from course.progress import MIME
from course.study import review
from course.study.predict import FILE as PREDICTIONS

if TYPE_CHECKING:
    from playwright.sync_api import Page

OUTSIDE = "eps is added to the standard deviation, outside the root. It belongs to the variance, inside."
SHIFT = "beta is left out: the output has the right spread, but it is centred at 0."
#: By exercise: the share of the points, and the key and the message of the mistake that was named.
HALF_WAY = {
    "standardize": (0.75, "eps_outside_root", OUTSIDE),
    "hessian_condition_number": (1, None, ""),
    "activation_statistics": (1, None, ""),
    "gradient_norms": (1, None, ""),
    "gradient_verdict": (1, None, ""),
    "critical_gain": (1, None, ""),
    "gradient_profile": (1, None, ""),
    "batch_norm_forward": (0.75, "eps_outside_root", OUTSIDE),
    "numerical_gradient": (1, None, ""),
    "batch_norm_backward": (0.5, "beta_missing", SHIFT),
}


def save_verdicts(root: Path, verdicts: dict[str, tuple[float, str | None, str]]) -> None:
    """Put verdicts into the check cells of the exercise notebooks of a folder."""
    for day in DAYS:
        path = day.exercises(root)
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            form = cell["metadata"].get("nbgrader", {})
            name = form.get("grade_id", "").removeprefix("check_")
            if form.get("grade") and name in verdicts:
                share, mistake, message = verdicts[name]
                verdict = {
                    "exercise": name,
                    "points": share * form["points"],
                    "max_points": form["points"],
                    "mistake": mistake,
                    "message": message,
                }
                cell["outputs"] = [
                    {
                        "output_type": "execute_result",
                        "execution_count": 1,
                        "data": {"text/plain": f"{verdict['points']:g}", MIME: verdict},
                        "metadata": {},
                    }
                ]
        path.write_text(json.dumps(notebook), encoding="utf-8")


def entry(due: datetime, state: int = 2) -> dict[str, Any]:
    """What is kept of a card that is due at a time; its state is FSRS's."""
    texts = {
        name: time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for name, time in (
            ("due", due),
            ("last_review", due - timedelta(days=2)),
            ("first", due - timedelta(days=9)),
        )
    }
    return {**texts, "stability": 2.0, "difficulty": 5.0, "reps": 3, "state": state}


def half_way(root: Path, now: datetime) -> None:
    """Two days of exercises, thirty cards of which twelve are due, and five predictions. now: in UTC."""
    save_verdicts(root, HALF_WAY)
    cards = review.flashcards()[:30]
    kept = review.empty()
    kept["cards"] = {
        card.id: entry(now + timedelta(days=place - 11 if place >= 12 else -1))
        for place, card in enumerate(cards)
    }
    (root / review.FILE).write_text(json.dumps(kept), encoding="utf-8")
    gates = {
        f"day{day}:gate-{place}": {"answer": 1, "at": now.isoformat()}
        for place, day in enumerate((25, 25, 25, 26, 26))
    }
    (root / "course" / PREDICTIONS).write_text(json.dumps({"version": 1, "gates": gates}), encoding="utf-8")


def damaged(root: Path) -> None:
    """Files that are there and cannot be read."""
    (root / review.FILE).write_text('{"version": 1, "cards": {', encoding="utf-8")
    (root / "course" / PREDICTIONS).write_text("[]", encoding="utf-8")
    DAYS[2].exercises(root).write_text("{", encoding="utf-8")


def keep_in(page: Page, key: str, text: str) -> None:
    """Put a text into what the browser keeps, in each page that is opened from now on, before its code runs.

    What a page of a disk puts there itself may reach its next one late.
    """
    page.add_init_script(f"localStorage.setItem({json.dumps(key)}, {json.dumps(text)})")
