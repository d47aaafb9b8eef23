"""Spaced review: the flashcards of all days, and what `check` has named, at growing intervals.

The page does the reviewing and FSRS the spacing (`review.js`); here are the cards, the file in which a
student's reviews are kept, and the cards as a file for Anki. Imports no PyTorch, and nothing of the judge.

Sources: https://github.com/open-spaced-repetition/ts-fsrs,
https://docs.ankiweb.net/importing/text-files.html.
"""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
import math
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from course.days import DAYS, cells, find_root
from course.explorers import modules
from course.progress import verdicts
from course.study.pages import asset
from course.study.texts import days, load, to_inline_html

#: The page's side, as `course.explorers.modules` names it.
MODULE = "../study/review"
#: Where a student's reviews are kept, in the folder that also holds course/ and exercises/.
FILE = ".review.json"
VERSION = 1
#: What `check` says of the form of an input that was asked for: no idea is misunderstood, so it has no card.
FORM = {"not_a_tensor", "another_shape", "not_finite", "too_large"}
#: As JavaScript writes times: of two such, the later is the greater text.
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


# ---------------------------------------------------------------------------- the cards


@dataclass(frozen=True)
class Card:
    """What is asked and answered. front, back: HTML. mistake: it comes from `check`."""

    id: str
    day: int
    front: str
    back: str
    mistake: bool = False


@dataclass(frozen=True)
class Mistake:
    """What `check` has named in a student's answer: the verdict's exercise, key and message, and the day."""

    day: int
    exercise: str
    key: str
    message: str

    @property
    def id(self) -> str:
        """The same at every check, and for every student."""
        return f"check-{self.exercise}-{self.key}"

    @property
    def in_short(self) -> str:
        """The first sentence of its message, or what comes before a colon where there is only one."""
        first = re.split(r"(?<=[.?]) ", self.message)[0]
        return first if first != self.message else re.sub(r"(?<=[\w)])[:;] .*", ".", first)

    def card(self) -> Card:
        """A card that asks for the idea behind the message."""
        named = marked(self.in_short)
        front = f"In <code>{html.escape(self.exercise)}</code>, check named: {named} What is the idea?"
        return Card(self.id, self.day, front, marked(self.message), mistake=True)


def marked(text: str) -> str:
    """Text as HTML, with `code` between backquotes set as code."""
    pieces = html.escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if i % 2 else piece for i, piece in enumerate(pieces))


def flashcards() -> list[Card]:
    """The flashcards of all days, in the order of the course. A new front makes a new card."""
    return [
        Card(
            f"{day}-{hashlib.sha256(card.front.encode()).hexdigest()[:8]}",
            int(day.removeprefix("day")),
            to_inline_html(card.front),
            to_inline_html(card.back),
        )
        for day in days()
        for card in load(day).cards
    ]


def mistakes(root: Path) -> list[Mistake]:
    """What `check` has named in the exercise notebooks as saved; the last verdict on an exercise counts."""
    found = []
    for day in DAYS:
        last = {}
        for cell in cells(day.exercises(root)):
            for verdict in verdicts(cell)[:1]:
                last[verdict.get("exercise")] = verdict
        for verdict in last.values():
            exercise = verdict.get("exercise")
            for told in ((exercise, *named) for named in _named(verdict)):
                if all(isinstance(text, str) and text.strip() for text in told):
                    found.append(Mistake(day.number, *(" ".join(text.split()) for text in told)))
    return found


def _named(verdict: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """The ideas that a verdict names, by key, with their messages: those after the first lie in its notes."""
    if not verdict.get("mistake"):
        return []
    also, notes = verdict.get("mistakes"), verdict.get("notes")
    also, notes = ([*one] if isinstance(one, list | tuple) else [] for one in (also, notes))
    keys = [verdict["mistake"], *also[1:]]
    told = zip(keys, [verdict.get("message"), *notes], strict=False)
    return [(key, message) for key, message in told if key not in FORM]


def lectures(addresses: Mapping[int, str]) -> list[dict[str, Any]]:
    """The days as the page takes them. addresses: number of a day -> where its lecture is."""
    return [
        {"number": day.number, "title": day.title, "address": addresses.get(day.number, "")} for day in DAYS
    ]


# ---------------------------------------------------------------------------- Anki


def anki_text(cards: Iterable[Card]) -> str:
    """The cards as a text that Anki's File > Import takes: front, back, and the day as a tag."""
    text = io.StringIO()
    text.write("#separator:tab\n#html:true\n#columns:Front\tBack\tTags\n#tags column:3\n")
    rows = csv.writer(text, delimiter="\t", lineterminator="\n")
    for card in cards:
        rows.writerow([card.front, card.back, f"day{card.day} check" if card.mistake else f"day{card.day}"])
    return text.getvalue()


def export_anki(path: str | Path) -> int:
    """Write all cards, and those that come from `check`, to a file for Anki; returns how many.

    Raises:
        OSError: the file cannot be written.
    """
    cards = all_cards(find_root(), Store(find_root() / FILE).kept)
    Path(path).write_text(anki_text(cards), encoding="utf-8", newline="\n")
    return len(cards)


# ---------------------------------------------------------------------------- what is kept


def empty() -> dict[str, Any]:
    """What is kept of a student before the first review; `review.js` says what its parts are."""
    return {"version": VERSION, "cards": {}, "left_out": {"days": [], "at": ""}, "mistakes": {}}


def merge(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What two places have kept, as one: of each card the later review, of the days the later choice."""
    kept = {**empty(), **one}
    kept["cards"] = dict(kept["cards"])
    for name, entry in other["cards"].items():
        known = kept["cards"].get(name)
        if known is None or _order(entry) > _order(known):
            kept["cards"][name] = entry
    if other["left_out"]["at"] >= kept["left_out"]["at"]:
        kept["left_out"] = other["left_out"]
    kept["mistakes"] = {**kept["mistakes"], **other.get("mistakes", {})}
    return kept


def _order(entry: Mapping[str, Any]) -> tuple[str, int]:
    return entry["last_review"], entry["reps"]


def sound(data: Any) -> tuple[dict[str, Any], bool]:
    """What of `data` can be used, and whether that is all of it."""
    if not isinstance(data, dict) or data.get("version") != VERSION:
        return empty(), False
    kept = empty()
    whole = True
    for name, fits in (("cards", _is_entry), ("mistakes", _is_mistake)):
        given = data.get(name, {})
        if not isinstance(given, dict):
            given, whole = {}, False
        kept[name] = {key: value for key, value in given.items() if fits(value)}
        whole = whole and len(kept[name]) == len(given)
    left_out = data.get("left_out", kept["left_out"])
    if _is_choice(left_out):
        kept["left_out"] = left_out
    else:
        whole = False
    return kept, whole


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and all(_is_time(entry.get(name)) for name in ("due", "last_review", "first"))
        and all(_is_number(entry.get(name)) for name in ("stability", "difficulty"))
        and type(entry.get("reps")) is int
        and entry.get("state") in (1, 2, 3)
    )


def _is_time(value: Any) -> bool:
    return isinstance(value, str) and TIME.fullmatch(value) is not None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_choice(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("days"), list):
        return False
    at = value.get("at")
    return all(type(day) is int for day in value["days"]) and (at == "" or _is_time(at))


def _is_mistake(value: Any) -> bool:
    if not isinstance(value, dict) or type(value.get("day")) is not int:
        return False
    return value.keys() == {"day", "exercise", "key", "message"} and all(
        isinstance(value[name], str) for name in ("exercise", "key", "message")
    )


class Store:
    """A student's file of reviews. It is read before it is written, and written as a whole or not at all.

    kept: what is in it. problem: what has gone wrong, in a sentence, or empty.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.problem = path, ""
        self._writes = True  # not over what could not be read
        self.kept = self._read()

    def add(self, news: Mapping[str, Any]) -> None:
        """Put reviews to those of the file, whoever has written it since."""
        self.kept = merge(merge(self._read(), self.kept), news)
        self._write(self.kept)

    def _read(self) -> dict[str, Any]:
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return empty()
        except OSError as error:
            return self._stop(f"{self.path} cannot be read ({error.strerror}), so that no review is saved.")
        try:
            kept, whole = sound(json.loads(text))
        except ValueError:  # also what is no UTF-8
            kept, whole = empty(), False
        if whole:
            return kept
        aside = self.path.with_name(f"{self.path.stem}.broken-{datetime.now():%Y%m%d-%H%M%S-%f}.json")
        try:
            self.path.rename(aside)
        except OSError as error:
            return self._stop(f"{self.path} is damaged and cannot be set aside ({error.strerror}).")
        self.problem = (
            f"{self.path.name} was damaged. It was set aside as {aside.name}; "
            f"what could be read of it counts: the reviews of {len(kept['cards'])} cards."
        )
        self._write(kept)
        return kept

    def _stop(self, problem: str) -> dict[str, Any]:
        self.problem, self._writes = problem, False
        return empty()

    def _write(self, kept: Mapping[str, Any]) -> None:
        if not self._writes:
            return
        text = json.dumps(kept, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        try:
            with tempfile.NamedTemporaryFile(
                "w", dir=self.path.parent, prefix=FILE, delete=False, encoding="utf-8", newline="\n"
            ) as new:
                new.write(text)
                new.flush()
                os.fsync(new.fileno())
            try:
                os.replace(new.name, self.path)
            except OSError:
                os.unlink(new.name)
                raise
        except OSError as error:
            self.problem = f"{self.path} cannot be written ({error.strerror}), so that no review is saved."


# ---------------------------------------------------------------------------- in a notebook


def all_cards(root: Path, kept: Mapping[str, Any]) -> list[Card]:
    """The flashcards, and what `check` has named: now, or when it was reviewed."""
    known = {one.id: one for one in (Mistake(**each) for each in kept["mistakes"].values())}
    known |= {one.id: one for one in mistakes(root)}
    return [*flashcards(), *(one.card() for one in known.values())]


class Review(anywidget.AnyWidget):
    """The review as a widget; `store` is where it is kept."""

    _esm = modules.alone(MODULE)
    _css = asset("panel.css") + asset("review.css")
    cards = traitlets.List().tag(sync=True)
    days = traitlets.List().tag(sync=True)
    anki = traitlets.Unicode().tag(sync=True)
    place = traitlets.Unicode().tag(sync=True)
    kept = traitlets.Dict().tag(sync=True)
    problem = traitlets.Unicode().tag(sync=True)

    def __init__(self, root: Path) -> None:
        self.store = Store(root / FILE)
        self._mistakes = {one.id: one for one in mistakes(root)}
        cards = all_cards(root, self.store.kept)
        found = {day.number: lecture.name for day in DAYS if (lecture := day.lecture(root))}
        super().__init__(
            cards=[asdict(card) for card in cards],
            days=lectures(found),
            anki=anki_text(cards),
            place=f"Your reviews are kept in {FILE}, in the folder of the course.",
            kept=self.store.kept,
            problem=self.store.problem,
        )
        self.on_msg(self._hear)

    def _hear(self, _widget: object, message: Any, _buffers: object) -> None:
        """Reviews, as the page reports them; a mistake that was reviewed is kept with its words."""
        news, _ = sound(message.get("kept"))
        named = {name: self._mistakes[name] for name in news["cards"] if name in self._mistakes}
        news["mistakes"] = {name: asdict(mistake) for name, mistake in named.items()}
        self.store.add(news)
        self.kept, self.problem = self.store.kept, self.store.problem
        self.send({"saved": message.get("number")})

    def __repr__(self) -> str:
        return "Review of the flashcards. To begin, run all cells."

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        live, metadata = super()._repr_mimebundle_(**options)
        return {**live, "text/html": f"<p>{self!r}</p>", "text/plain": repr(self)}, metadata


def review() -> Review:
    """The cards that are due: the flashcards of all days, and what `check` has named.

    Reviews are kept in `.review.json` in the folder of the course.
    """
    return Review(find_root())
