"""Dialogue and summary, read aloud by the browser's own speech.

The browser's Web Speech API does the reading; nothing leaves it but for a voice that the browser
itself fetches, and voices that live on the machine come first. Where there is no voice, the widget
says so in a sentence.

Source: Web Speech API, https://webaudio.github.io/web-speech-api/.
"""

from __future__ import annotations

import html
from functools import partial
from typing import Any

import anywidget
import traitlets

from course.study.pages import HERE, LEVELS, asset
from course.study.texts import Study, load, sentences, to_html, to_inline_html, to_plain, to_speech


class Listen(anywidget.AnyWidget):
    """Play, pause and stop, with the sentence that is being read below them.

    parts: what can be chosen, each {"label": str, "lines": [{"who", "text", "spoken"}, …]}, a line
    being one sentence.
    """

    _esm = HERE / "listen.js"
    _css = HERE / "study.css"

    parts = traitlets.List().tag(sync=True)

    def __init__(self, parts: list[dict[str, Any]], fallback: str, plain: str) -> None:
        super().__init__(parts=parts)
        self._fallback = fallback
        self._plain = plain

    def __repr__(self) -> str:
        return self._plain

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        live = super()._repr_mimebundle_(**options) or {}
        data, metadata = live if isinstance(live, tuple) else (live, {})
        return {**data, "text/html": self._fallback, "text/plain": self._plain}, metadata


def listen(day: str) -> Listen:
    """A widget that reads the dialogue or the summary of a day, such as "day26", aloud.

    Raises:
        StudyError: the day has no study texts, or they are not as they should be.
    """
    study = load(day)
    fallback = (
        f'<div class="study study-listen"><style>\n{asset("study.css")}</style>'
        "<p>To have this read aloud, run the cell. It is the text above:</p>"
        f"<details><summary>Conversation</summary>{_dialogue_html(study)}</details>"
        + "".join(
            f"<details><summary>Summary: {_lower(label)}</summary>"
            f"{to_html(getattr(study.summary, name))}</details>"
            for name, label in LEVELS
        )
        + "</div>"
    )
    return Listen(
        parts(study), fallback, f"Read aloud: the conversation and the summary of {day}. Run this cell."
    )


def parts(study: Study) -> list[dict[str, Any]]:
    """What can be chosen, cut into sentences, each with its words for a voice."""
    conversation = [
        line
        for turn in study.dialogue
        # What is written for the voice is read in one go, under the text of the whole turn.
        for line in (
            [_line(turn.who, to_plain(turn.says), turn.spoken)]
            if turn.spoken
            else map(partial(_line, turn.who), _sentences(turn.says))
        )
    ]
    summaries = [
        {
            "label": f"Summary: {_lower(label)}",
            "lines": [_line("", text) for text in _sentences(getattr(study.summary, name))],
        }
        for name, label in LEVELS
    ]
    return [{"label": "Conversation", "lines": conversation}, *summaries]


def _sentences(markdown: str) -> list[str]:
    return sentences(to_plain(markdown))


def _line(who: str, text: str, spoken: str = "") -> dict[str, str]:
    return {"who": who, "text": text, "spoken": spoken or to_speech_of_plain(text)}


def to_speech_of_plain(text: str) -> str:
    """Plain text as words that a voice can read."""
    return to_speech(text.replace("_", r"\_").replace("*", r"\*"))


def _dialogue_html(study: Study) -> str:
    return "".join(
        f"<p><strong>{html.escape(turn.who)}.</strong> {to_inline_html(turn.says)}</p>"
        for turn in study.dialogue
    )


def _lower(label: str) -> str:
    return label[0].lower() + label[1:]
