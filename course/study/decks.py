"""Flashcards and quiz: the pages of jupytercards and jupyterquiz, with the texts of a day.

Only the scripts and style sheets of the two packages are used. Their Python side makes up new names
at every run, which would change a stored notebook each time, and leaves an empty box where no script
runs.

Sources: https://github.com/jmshea/jupytercards, https://github.com/jmshea/jupyterquiz.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from course.study.pages import Page, asset, page
from course.study.texts import Question, load, to_inline_html, to_plain


def flashcards(day: str) -> Page:
    """The flashcards of a day, such as "day26"; where no script runs, a list that opens.

    Raises:
        StudyError: the day has no study texts, or they are not as they should be.
    """
    cards = load(day).cards
    package = files("jupytercards")
    script = package.joinpath("flashcards.js").read_text(encoding="utf-8") + asset("cards.js").replace(
        "CARDS", json.dumps([_card(number, card) for number, card in enumerate(cards)], ensure_ascii=False)
    )
    # Their names (.front, .back, .next) are common ones: kept inside of this page.
    style = "".join(
        (
            ".study-cards {\n",
            package.joinpath("styles.css").read_text(encoding="utf-8"),
            "}\n",
            asset("cards.css"),
        )
    )
    static = "\n".join(
        f"<details><summary>{to_inline_html(card.front)}</summary><p>{to_inline_html(card.back)}</p></details>"
        for card in cards
    )
    plain = "\n".join(f"{to_plain(card.front)} — {to_plain(card.back)}" for card in cards)
    live = (
        '<div class="flip-container" tabindex="0"></div>\n'
        '<p class="study-bar"><button type="button" class="next">Next ></button>'
        '<span class="study-count"></span>'
        '<span class="study-hint">Click the card to turn it over.</span></p>\n'
        '<span class="study-hidden" aria-live="polite"></span>'
    )
    return page("cards", static, plain, live=live, script=script, style=style)


def _card(number: int, card: Any) -> dict[str, Any]:
    return {"front": to_inline_html(card.front), "back": to_inline_html(card.back), "seqNum": number}


def quiz(day: str) -> Page:
    """The quiz of a day, such as "day26"; where no script runs, questions with answers that open.

    Raises:
        StudyError: the day has no study texts, or they are not as they should be.
    """
    questions = load(day).quiz
    package = files("jupyterquiz")
    scripts = sorted(
        (file for file in package.joinpath("js").iterdir() if file.name.endswith(".js")), key=str
    )
    script = "".join(file.read_text(encoding="utf-8") for file in scripts) + asset("quiz.js").replace(
        "QUESTIONS", json.dumps([_question(question) for question in questions], ensure_ascii=False)
    )
    style = package.joinpath("styles.css").read_text(encoding="utf-8") + asset("quiz.css")
    static = "\n".join(
        f"<p><strong>{number}.</strong> {_asked(question)}</p>\n"
        + "".join(
            f"<details><summary>{to_inline_html(choice.text)}</summary>"
            f"<p><strong>{'Right.' if choice.right else 'Not right.'}</strong> "
            f"{to_inline_html(choice.feedback)}</p></details>\n"
            for choice in question.answers
        )
        for number, question in enumerate(questions, start=1)
    )
    plain = "\n".join(
        f"{number}. {to_plain(question.question)}\n"
        + "\n".join(f"   - {to_plain(choice.text)}" for choice in question.answers)
        for number, question in enumerate(questions, start=1)
    )
    return page("quiz", static, plain, live='<div class="study-questions"></div>', script=script, style=style)


def _question(question: Question) -> dict[str, Any]:
    """A question as jupyterquiz takes it."""
    return {
        "question": _asked(question),
        "type": "many_choice" if question.many else "multiple_choice",
        "answers": [
            {
                "answer": to_inline_html(choice.text),
                "correct": choice.right,
                "feedback": to_inline_html(choice.feedback),
            }
            for choice in question.answers
        ],
    }


def _asked(question: Question) -> str:
    more = " <em>More than one answer is right.</em>" if question.many else ""
    return to_inline_html(question.question) + more
