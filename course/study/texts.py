"""The texts of a day: read from its file, looked over, and turned into HTML or into speech."""

from __future__ import annotations

import html
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import mistune

FOLDER = Path(__file__).parent / "days"


class StudyError(ValueError):
    """A day's texts are missing or not as they should be; the message says which and where."""


@dataclass(frozen=True)
class Summary:
    """The lecture at three levels, in Markdown."""

    sentence: str
    paragraph: str
    page: str


@dataclass(frozen=True)
class Turn:
    """What one speaker says. spoken: how it is read aloud, where that differs."""

    who: str
    says: str
    spoken: str = ""


@dataclass(frozen=True)
class Card:
    """A flashcard."""

    front: str
    back: str


@dataclass(frozen=True)
class Choice:
    """One of the answers that a question offers."""

    text: str
    feedback: str
    right: bool = False


@dataclass(frozen=True)
class Question:
    """A question with answers to choose from. many: more than one of them is right."""

    question: str
    answers: tuple[Choice, ...]
    many: bool = False


@dataclass(frozen=True)
class Item:
    """Something to choose or to put into an order. says: what the gap says to whoever chose it."""

    key: str
    text: str
    says: str = ""


@dataclass(frozen=True)
class Prediction:
    """What a student commits to before the result appears; `course.study.predict` asks it.

    name: its name within the day. kind: "choose", "order", "cells", "value" or "curve". ask: the question.
    says: a sentence about the gap for each outcome of the kind (see `OUTCOMES`). items: what is chosen or
    ordered. rows, columns: the names of a table's cells. low, high: where values may lie, on a logarithmic
    scale if `log`. close: how near counts as near, a factor if `log`, else a difference; a curve is close if
    it is so near on average, and nowhere twice as far. unit: what is written behind a value. whole: it is a
    count, and only whole numbers can be chosen. x: where a curve is drawn; log_x: on a logarithmic scale.
    x_label, y_label: its axes. A curve's `says` holds reasons, since the page says the gap itself: "shape" is
    read where the drawn curve rises or falls otherwise than the measured one, "level" where it only lies
    elsewhere.
    """

    name: str
    kind: str
    ask: str
    says: dict[str, str]
    items: tuple[Item, ...] = ()
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    close: float = 0.0
    unit: str = ""
    whole: bool = False
    x: tuple[float, ...] = ()
    log_x: bool = False
    x_label: str = ""
    y_label: str = ""


#: The outcomes of each kind of prediction, which `says` has a sentence for; a choice has its own.
OUTCOMES = {
    "choose": (),
    "order": ("right", "wrong"),
    "cells": ("right", "missed", "extra"),
    "value": ("low", "close", "high"),
    "curve": ("close", "shape", "level"),
}


@dataclass(frozen=True)
class Study:
    """All study texts of one day."""

    day: str
    summary: Summary
    dialogue: tuple[Turn, ...]
    cards: tuple[Card, ...]
    quiz: tuple[Question, ...]
    predictions: tuple[Prediction, ...] = ()

    def prediction(self, name: str) -> Prediction:
        """The prediction of this name.

        Raises:
            StudyError: the day has none.
        """
        found = {one.name: one for one in self.predictions}
        if name not in found:
            raise StudyError(f"{self.day} has no prediction {name!r}; it has: {', '.join(found) or 'none'}.")
        return found[name]


def days() -> list[str]:
    """The days that have texts, such as "day26", in order."""
    return sorted(path.stem for path in FOLDER.glob("day*.toml"))


def load(day: str, folder: Path = FOLDER) -> Study:
    """The texts of a day, such as "day26".

    Raises:
        StudyError: there is no such file, or it lacks something, or has something nobody reads.
    """
    path = folder / f"{day}.toml"
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        there = ", ".join(sorted(other.stem for other in folder.glob("day*.toml"))) or "none"
        raise StudyError(f"There are no study texts for {day!r}; the days that have some: {there}.") from None
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"{path.name} is not valid TOML: {error}.") from None
    return _Reader(path.name).study(day, data)


class _Reader:
    """Builds the dataclasses from a file's data, and says where something is wrong."""

    def __init__(self, name: str) -> None:
        self.name = name

    def study(self, day: str, data: dict[str, Any]) -> Study:
        required = ("summary", "dialogue", "cards", "quiz")
        parts = self.keys(data, "the file", required, optional=("predictions",))
        summary = self.keys(parts["summary"], "summary", required=("sentence", "paragraph", "page"))
        return Study(
            day,
            Summary(**{level: self.text(summary, level, "summary") for level in summary}),
            tuple(self.turn(*entry) for entry in self.entries(parts, "dialogue")),
            tuple(self.card(*entry) for entry in self.entries(parts, "cards")),
            tuple(self.question(*entry) for entry in self.entries(parts, "quiz")),
            self.predictions(parts) if "predictions" in parts else (),
        )

    def turn(self, data: Any, where: str) -> Turn:
        data = self.keys(data, where, required=("who", "says"), optional=("spoken",))
        return Turn(**{name: self.text(data, name, where) for name in data})

    def card(self, data: Any, where: str) -> Card:
        data = self.keys(data, where, required=("front", "back"))
        return Card(**{name: self.text(data, name, where) for name in data})

    def question(self, data: Any, where: str) -> Question:
        data = self.keys(data, where, required=("question", "answers"), optional=("many",))
        choices = tuple(self.choice(*entry) for entry in self.entries(data, "answers", where))
        many = self.flag(data, "many", where)
        right = sum(choice.right for choice in choices)
        if many and right < 2:
            raise self.error(f"{where} is marked many and has {right} right answers instead of two or more")
        if not many and right != 1:
            raise self.error(f"{where} has {right} right answers instead of one, and is not marked many")
        return Question(self.text(data, "question", where), choices, many)

    def choice(self, data: Any, where: str) -> Choice:
        data = self.keys(data, where, required=("text", "feedback"), optional=("right",))
        texts = {name: self.text(data, name, where) for name in ("text", "feedback")}
        return Choice(**texts, right=self.flag(data, "right", where))

    def predictions(self, parts: dict[str, Any]) -> tuple[Prediction, ...]:
        found = tuple(self.prediction(*entry) for entry in self.entries(parts, "predictions"))
        if len({one.name for one in found}) < len(found):
            raise self.error("two predictions have the same name")
        return found

    def prediction(self, data: Any, where: str) -> Prediction:
        kind = data.get("kind") if isinstance(data, dict) else None
        if kind not in OUTCOMES:
            raise self.error(f"{where} is of no kind that there is: {', '.join(OUTCOMES)}")
        scale = ("low", "high", "close")
        required, optional = {
            "choose": (("items",), ()),
            "order": (("items",), ()),
            "cells": (("rows", "columns"), ()),
            "value": (scale, ("log", "unit", "whole")),
            "curve": ((*scale, "x", "x_label", "y_label"), ("log", "log_x", "unit")),
        }[kind]
        common = ("name", "kind", "ask", *(("says",) if OUTCOMES[kind] else ()))
        data = self.keys(data, where, (*common, *required), optional)
        says = self.keys(data["says"], f"{where}, says", OUTCOMES[kind]) if OUTCOMES[kind] else {}
        built: dict[str, Any] = {name: self.text(data, name, where) for name in ("name", "kind", "ask")}
        built["says"] = {name: self.text(says, name, where) for name in says}
        if "items" in data:
            built["items"] = tuple(self.item(*entry, kind) for entry in self.entries(data, "items", where))
        for name in ("rows", "columns"):
            if name in data:
                built[name] = tuple(str(entry) for entry, _ in self.entries(data, name, where))
        for name in ("x_label", "y_label"):
            if name in data:
                built[name] = self.text(data, name, where)
        built |= {name: self.number(data[name], name, where) for name in scale if name in data}
        built |= {name: self.flag(data, name, where) for name in ("log", "log_x", "whole") if name in data}
        if "x" in data:
            built["x"] = tuple(self.number(x, "x", where) for x, _ in self.entries(data, "x", where))
        if "unit" in data:
            built["unit"] = str(data["unit"])
        low, high = built.get("low", 1.0), built.get("high", 2.0)
        if low >= high or (built.get("log") and low <= 0):
            raise self.error(f"{where} has no scale from its low to its high")
        return Prediction(**built)

    def item(self, data: Any, where: str, kind: str) -> Item:
        told = ("says",) if kind == "choose" else ()
        data = self.keys(data, where, required=("key", "text", *told))
        return Item(**{name: self.text(data, name, where) for name in data})

    def number(self, value: Any, name: str, where: str) -> float:
        if type(value) not in (int, float):
            raise self.error(f"{name!r} of {where} is not a number")
        return float(value)

    def keys(
        self, data: Any, where: str, required: tuple[str, ...], optional: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise self.error(f"{where} is not a table")
        for name in required:
            if name not in data:
                raise self.error(f"{where} has no {name!r}")
        for name in data:
            if name not in required + optional:
                raise self.error(f"{where} has {name!r}, which nothing reads")
        return data

    def entries(self, data: dict[str, Any], name: str, where: str = "") -> list[tuple[Any, str]]:
        entries = data[name]
        place = f"{where}, {name}" if where else name
        if not isinstance(entries, list) or not entries:
            raise self.error(f"{place} is not a list with something in it")
        return [(entry, f"{place} {number}") for number, entry in enumerate(entries, start=1)]

    def text(self, data: dict[str, Any], name: str, where: str) -> str:
        value = data[name]
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"{name!r} of {where} is not a text")
        if "$" in value:
            raise self.error(f"{name!r} of {where} holds TeX, which cards and speech cannot show")
        return value.strip()

    def flag(self, data: dict[str, Any], name: str, where: str) -> bool:
        value = data.get(name, False)
        if not isinstance(value, bool):
            raise self.error(f"{name!r} of {where} is not true or false")
        return value

    def error(self, problem: str) -> StudyError:
        return StudyError(f"{self.name}: {problem}.")


# ---------------------------------------------------------------------------- as HTML


@cache
def _markdown() -> mistune.Markdown:
    # Raw HTML is shown as it is written: these are texts.
    return mistune.create_markdown(escape=True)


def to_html(markdown: str) -> str:
    """Markdown as HTML, with its paragraphs and lists."""
    return _markdown()(markdown).strip()


def to_inline_html(markdown: str) -> str:
    """One paragraph of Markdown as HTML, without the paragraph around it."""
    text = to_html(markdown)
    return text.removeprefix("<p>").removesuffix("</p>") if text.count("<p>") == 1 else text


def to_plain(markdown: str) -> str:
    """Markdown as the text that a reader would see."""
    return html.unescape(re.sub(r"<[^>]+>", "", to_html(markdown))).strip()


# ---------------------------------------------------------------------------- as speech

# What voices leave out or spell; the first that fits is taken. Words stay words.
_SPOKEN = (
    (r"√\(([^()]*)\)", r" the square root of \1 "),
    (r"√", " the square root of "),
    (r"‖([^‖]*)‖", r" the norm of \1 "),
    (r"\|([^|]*)\|", r" the absolute value of \1 "),
    (r"x̂", " x hat "),
    (r"σ", " sigma "),
    (r"μ", " mu "),
    (r"γ", " gamma "),
    (r"β", " beta "),
    (r"ε", " epsilon "),
    (r"λ", " lambda "),
    (r"η", " eta "),
    (r"κ", " kappa "),
    (r"ρ", " rho "),
    (r"∂", " d "),
    (r"∑|Σ", " the sum of "),
    (r"≈", " is about "),
    (r"≤", " is at most "),
    (r"≥", " is at least "),
    (r"≠", " is not "),
    (r"==|=", " equals "),
    (r"(?<=\s)<(?=\s)", " is less than "),
    (r"(?<=\s)>(?=\s)", " is greater than "),
    (r"→|->", " to "),
    (r"×", " times "),
    (r"\s\*\s", " times "),
    (r"·", " times "),
    (r"∞", " infinity "),
    (r"²|\*\*2|\^2", " squared "),
    (r"\s[−-]\s", " minus "),
    (r"[−](?=\w)|(?<!\w)-(?=\d)", " minus "),
    (r"\s/\s|(?<=[\w)])/(?=[\w(√])", " over "),
    (r"\s\+\s", " plus "),
    (r"\bd(x|y|var|mean|beta|gamma|inv_std)(?=\b|_hat)", r"d \1"),
    (r"\bd var\b", "d variance"),
    (r"\bvar\b", "the variance"),
    (r"\bstd\b", "the standard deviation"),
    (r"\bnn\.", "n n dot "),
    (r"\bF\.", "F dot "),
    (r"\(\)", " "),
    (r"(?<=\w)_(?=\w)", " "),
    (r"(?<=\w)\.(?=[A-Za-z_])", " dot "),
    (r"(?<=\w)\[(\w+)\]", r" \1 "),
)


def to_speech(markdown: str) -> str:
    """Markdown as words that a voice can read: no marks, symbols by their names."""
    text = to_plain(markdown)
    for pattern, words in _SPOKEN:
        text = re.sub(pattern, words, text)
    text = re.sub(r"\s+", " ", text)
    return re.sub(r"\s+([.,;:?])", r"\1", text).strip()


def sentences(text: str) -> list[str]:
    """A text cut after its sentences, so that a voice can be stopped between two of them."""
    pieces = re.split(r"(?<=[.?!])\s+(?=[^\sa-z0-9])|\n\s*\n|\n(?=\s*[-*\d])", text)
    return [piece.strip() for piece in pieces if piece.strip()]
