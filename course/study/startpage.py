"""Where a student is: what to do next, what is due, what was misunderstood most. Imports no PyTorch.

All of it is read from what other pages keep: the saved exercise notebooks, the reviews, the predictions.
Nothing is written, and what is damaged costs a sentence. On the site a browser says the same of what it
keeps (`startpage.js`).
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from course.days import DAYS, Day, find_root
from course.progress import Progress, bar, read_progress
from course.study import review
from course.study.pages import Page, asset, page
from course.study.predict import made

#: The page's side, as `course.explorers.modules` names it.
MODULE = "../study/startpage"
#: The hour at which a day of review begins, as in `review.js`.
DAWN = timedelta(hours=4)
REVIEWING = 2  # FSRS's state of a card that has been learned
SHOWN = 3  # mistakes
CARDS_A_MINUTE = 3


# ---------------------------------------------------------------------------- what is known


@dataclass(frozen=True)
class Due:
    """The cards before a student: from check, and to repeat; and the days until the next, where none is.

    learned: how many have been learned at all.
    """

    mistakes: int = 0
    repeated: int = 0
    days: int | None = None
    learned: int = 0

    @property
    def cards(self) -> int:
        return self.mistakes + self.repeated


def due(cards: Iterable[review.Card], kept: dict[str, Any], now: datetime) -> Due:
    """What is due at a time, as `plan` in `review.js` has it, but for cards that are new.

    kept: what `course.study.review.sound` gives.
    """
    mistakes = repeated = 0
    later = []
    for card in cards:
        entry = kept["cards"].get(card.id)
        if card.day in kept["left_out"]["days"]:
            continue
        if entry is None:
            mistakes += card.mistake
        elif entry["state"] == REVIEWING and _day(entry["due"]) > _day(now):
            later.append(_day(entry["due"]))
        elif entry["state"] == REVIEWING and card.mistake:
            mistakes += 1
        else:
            repeated += 1
    days = (min(later) - _day(now)).days if later else None
    return Due(mistakes, repeated, days, len(kept["cards"]))


def _day(time: str | datetime) -> date:
    """The day that a time belongs to, by the student's clock."""
    time = datetime.fromisoformat(time) if isinstance(time, str) else time
    return (time.astimezone() - DAWN).date()


@dataclass(frozen=True)
class Misunderstood:
    """A mistake that `check` has named, and where. left: the exercises of `where` in which it still is."""

    idea: str
    where: tuple[str, ...]
    days: tuple[int, ...]
    left: int


def misunderstood(now: Sequence[review.Mistake], before: Iterable[review.Mistake]) -> list[Misunderstood]:
    """What was misunderstood most: in most exercises first, and what is not put right yet before the rest.

    now: what the saved notebooks say. before: what has been reviewed.
    """
    open_ones = {one.id for one in now}
    named: dict[str, dict[str, review.Mistake]] = {}
    for one in (*now, *before):
        named.setdefault(one.key, {}).setdefault(one.id, one)
    found = [
        Misunderstood(
            next(iter(ones.values())).in_short,
            tuple(dict.fromkeys(one.exercise for one in ones.values())),
            tuple(sorted({one.day for one in ones.values()})),
            sum(identity in open_ones for identity in ones),
        )
        for ones in named.values()
    ]
    return sorted(found, key=lambda one: (-len(one.where), -one.left, one.days))


@dataclass(frozen=True)
class State:
    """All that is known of a student.

    predicted: the number of the day of the latest of `predictions`. problems: what could not be read, in
    sentences.
    """

    progress: tuple[Progress, ...]
    due: Due
    misunderstood: tuple[Misunderstood, ...]
    predictions: int
    predicted: int | None
    problems: tuple[str, ...]

    @property
    def is_new(self) -> bool:
        """Whether nothing has been done yet."""
        begun = any(one.tried for one in self.progress)
        return not (begun or self.due.learned or self.due.cards or self.predictions or self.problems)


def read_state(root: Path, now: datetime) -> State:
    """What the files of a course's folder say."""
    kept, problem = _reviews(root / review.FILE)
    named = review.mistakes(root)
    known = [review.Mistake(**one) for one in kept["mistakes"].values()]
    progress = tuple(read_progress(day, root) for day in DAYS)
    damaged = [
        f"Day {one.day.number}: {one.problem} Put back a copy of it, and its points count again."
        for one in progress
        if "damaged" in one.problem
    ]
    gates = made(root / "course")
    return State(
        progress,
        due(review.all_cards(root, kept), kept, now),
        tuple(misunderstood(named, known)),
        len(gates),
        _latest(gates),
        (*damaged, *([problem] if problem else [])),
    )


def _latest(gates: dict[str, dict[str, Any]]) -> int | None:
    """The number of the day to which the latest prediction belongs."""
    days = {day.name: day.number for day in DAYS}
    latest = max(gates, key=lambda name: str(gates[name].get("at")), default="")
    return days.get(latest.partition(":")[0])


def _reviews(path: Path) -> tuple[dict[str, Any], str]:
    """What is kept of the reviews, and what is wrong with it. The file stays as it is."""
    try:
        kept, whole = review.sound(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return review.empty(), ""
    except OSError as error:
        return review.empty(), f"{path.name} cannot be read ({error.strerror})."
    except ValueError:
        kept, whole = review.empty(), False
    problem = f"{path.name} is damaged. Open the review: it sets the file aside and keeps what can be read."
    return kept, "" if whole else problem


# ---------------------------------------------------------------------------- what it comes to


def next_step(state: State) -> str:
    """What to do next, in one sentence of HTML."""
    current = _current(state)
    if state.due.cards:
        cards = _counted(state.due.cards, "card")
        minutes = _counted(max(1, round(state.due.cards / CARDS_A_MINUTE)), "minute")
        then = f", then go on with {_exercise(current)} of day {current.day.number}" if current else ""
        return f'Review the <a href="review.ipynb">{cards} due today</a>, about {minutes}{then}.'
    if current is None:
        return 'All exercises are right; the <a href="review.ipynb">review</a> keeps what you have learned.'
    if current.tried:
        return f"Go on with {_exercise(current)} of day {current.day.number}."
    if current.day.number == state.predicted:
        read = "Go on with"
    else:
        read = "Read" if any(one.tried for one in state.progress) else "Begin with"
    return f"{read} the {_lecture(current.day)}, then write {_exercise(current)}."


def _current(state: State) -> Progress | None:
    """The day to go on with: the latest that is begun and not all right, else the first that is not.

    A day is begun where an exercise is, or where the latest prediction was made.
    """
    left = [one for one in state.progress if one.left]
    begun = [one for one in left if one.tried or one.day.number == state.predicted]
    return (begun[-1:] or left[:1] or [None])[0]


def _exercise(current: Progress) -> str:
    """The first exercise of a day that is not all right, as a link to its notebook."""
    return f'<a href="{_exercises(current.day.number)}"><code>{html.escape(current.left[0])}</code></a>'


def _lecture(day: Day) -> str:
    path = day.lecture(find_root())
    words = f"lecture of day {day.number}"
    return f'<a href="{html.escape(path.name)}">{words}</a>' if path else words


def _exercises(number: int) -> str:
    return f"../exercises/day{number}/day{number}.ipynb"


# ---------------------------------------------------------------------------- the page


def start(root: Path | None = None) -> Page:
    """Where the student is whose course this is, from the saved files."""
    state = read_state(root or find_root(), datetime.now().astimezone())
    body = "\n".join(filter(None, (_next(state), _facts(state), _most(state), _problems(state))))
    if not state.is_new:
        now = datetime.now()
        body += f'\n<p class="start-as-of">As saved at {now:%H:%M} on {now.day} {now:%B}.</p>'
    return page("start", body, _plain(state), script=asset("again.js"), style=asset("startpage.css"))


def _next(state: State) -> str:
    return f'<p class="start-next"><strong>Next</strong> {next_step(state)}</p>'


def _facts(state: State) -> str:
    """Points, cards and predictions, side by side."""
    points, most = sum(one.points for one in state.progress), sum(one.max_points for one in state.progress)
    right = sum(bool(one.exercises) and one.passed == one.exercises for one in state.progress)
    facts = [
        ("Points", f"{points:g} of {most:g}", bar(points, most), f"{right} of {len(DAYS)} days all right"),
        ("Cards due", f"{state.due.cards}", "", _when(state.due)),
        ("Predictions", f"{state.predictions}", "", "made before a result was shown"),
    ]
    rows = "\n".join(
        f"<div><dt>{name}</dt><dd><b>{value}</b>{track}<small>{words}</small></dd></div>"
        for name, value, track, words in facts
    )
    return f'<dl class="start-facts">\n{rows}\n</dl>'


def _when(due: Due) -> str:
    """The cards in words."""
    if due.cards:
        parts = [f"{due.mistakes} from check" if due.mistakes else "", f"{due.repeated} to repeat"]
        return ", ".join(filter(None, parts if due.repeated else parts[:1]))
    if due.days is None:
        return "none learned yet" if not due.learned else "none to come"
    return "the next tomorrow" if due.days == 1 else f"the next in {due.days} days"


def _most(state: State) -> str:
    if not state.misunderstood:
        return ""
    rows = "\n".join(
        f"<li>{review.marked(one.idea)} <small>{_places(one)}</small></li>"
        for one in state.misunderstood[:SHOWN]
    )
    return f"<p><strong>What you misunderstood most</strong></p>\n<ol>\n{rows}\n</ol>"


def _places(one: Misunderstood) -> str:
    """Where it was, and whether it still is there."""
    where = ", ".join(f"<code>{html.escape(name)}</code>" for name in one.where[:SHOWN])
    more = f" and {len(one.where) - SHOWN} more" if len(one.where) > SHOWN else ""
    days = ", ".join(f'<a href="{_exercises(day)}">day {day}</a>' for day in one.days)
    state = "put right" if not one.left else "still there" if len(one.where) == 1 else f"still in {one.left}"
    return f"{where}{more}, {days}: {state}"


def _problems(state: State) -> str:
    return "\n".join(f'<p class="start-problem">{html.escape(one)}</p>' for one in state.problems)


def _plain(state: State) -> str:
    """The same as text, a line each."""
    points, most = sum(one.points for one in state.progress), sum(one.max_points for one in state.progress)
    return "\n".join(
        [
            f"Next: {_words(next_step(state))}",
            f"Points: {points:g} of {most:g}",
            f"Cards due: {state.due.cards}, {_when(state.due)}",
            f"Predictions: {state.predictions}",
            *(f"Misunderstood: {one.idea} {_words(_places(one))}" for one in state.misunderstood[:SHOWN]),
            *state.problems,
        ]
    )


def _words(text: str) -> str:
    """HTML of this page as words."""
    return html.unescape(re.sub(r"<[^>]+>", "", text))


def _counted(number: int, one: str) -> str:
    return f"{number} {one}" if number == 1 else f"{number} {one}s"


def on_site(cards: Sequence[review.Card]) -> dict[str, Any]:
    """What the site's page is given."""
    return {
        "cards": [{"id": card.id, "day": card.day} for card in cards],
        "days": [{"number": day.number, "title": day.title, "address": f"{day.name}.html"} for day in DAYS],
    }
