"""What stands still: the dialogue, and the summary at three levels."""

from __future__ import annotations

import html
from pathlib import Path
from string import Template

from course.study.texts import StudyError, Summary, load, to_html, to_inline_html, to_plain

HERE = Path(__file__).parent
LEVELS = (("sentence", "In a sentence"), ("paragraph", "In a paragraph"), ("page", "On a page"))


class Page:
    """HTML that can be read where nothing runs, and the same as plain text."""

    def __init__(self, source: str, plain: str) -> None:
        self.source = source
        self.plain = plain

    def __repr__(self) -> str:
        return self.plain

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": self.source, "text/plain": self.plain}


def asset(name: str) -> str:
    """A script or a style sheet of this folder."""
    return (HERE / name).read_text(encoding="utf-8")


def page(
    kind: str, static: str, plain: str, *, live: str = "", script: str = "", style: str = "", name: str = ""
) -> Page:
    """A page of one kind: what is read where no script runs and, if there is a script, what takes
    its place where one does. name: which of several pages of its kind in a notebook it is."""
    style = f"<style>\n{asset('study.css')}{style}</style>"
    live = f'<div class="study-live" data-lm-suppress-shortcuts="true" hidden>{live}</div>' if script else ""
    if script:
        body = Template(asset("start.js")).safe_substitute(kind=kind, name=name, script=script)
        script = "<script>\n" + body.replace("</script", "<\\/script") + "</script>"
    return Page(
        f'<div class="study study-{kind}" data-name="{name}">\n{style}\n'
        f'<div class="study-static">\n{static}\n</div>\n{live}{script}</div>',
        plain,
    )


def dialogue(day: str) -> Page:
    """The conversation of a day, such as "day26", as text.

    Raises:
        StudyError: the day has no study texts, or they are not as they should be.
    """
    turns = load(day).dialogue
    speakers = list(dict.fromkeys(turn.who for turn in turns))
    rows = "\n".join(
        f'<div class="study-turn study-speaker-{speakers.index(turn.who) % 2}">'
        f"<p><strong>{html.escape(turn.who)}.</strong> {to_inline_html(turn.says)}</p></div>"
        for turn in turns
    )
    plain = "\n".join(f"{turn.who}: {to_plain(turn.says)}" for turn in turns)
    return page("dialogue", rows, plain)


def summary(day: str | None = None, *, sentence: str = "", paragraph: str = "", page: str = "") -> Page:
    """The summary at three levels, as tabs; where no script runs, one below the other.

    Args:
        day: such as "day26"; or give the three texts yourself, in Markdown.
        sentence, paragraph, page: the three levels.

    Raises:
        StudyError: the day has no study texts, or one of the three levels is missing.
    """
    levels = load(day).summary if day else Summary(sentence, paragraph, page)
    texts = [(name, label, getattr(levels, name)) for name, label in LEVELS]
    for name, _, text in texts:
        if not text.strip():
            raise StudyError(f"The summary has no {name}.")
    static = "\n".join(
        f'<div class="study-level" data-label="{label}">'
        f'<p class="study-label"><strong>{label}</strong></p>\n{to_html(text)}</div>'
        for _, label, text in texts
    )
    plain = "\n\n".join(f"{label}: {to_plain(text)}" for _, label, text in texts)
    return _page("summary", static, plain, script=asset("tabs.js"))


_page = page  # `summary` has an argument of this name
