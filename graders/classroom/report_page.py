"""A report as one page that needs no network, no server and no script.

JupyterLab shows such a page with scripts turned off, so the switch for names is a box to tick and a rule of
the style sheet. Whatever a student wrote passes `escape`; nothing else reaches the page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from urllib.parse import quote

from graders.classroom.report import Alike, Exercise, Item, Pair, Report, Seen
from graders.classroom.report_data import Student
from graders.classroom.report_names import Names
from graders.classroom.report_text import count, section_of, sorted_by_name, to_whom

_STYLE = Path(__file__).with_name("report.css")
#: Students that stand there at once; of more, the rest opens.
SHOWN = 12
#: From a discrimination of so much on an item tells students apart well, or somewhat (R. L. Ebel, Measuring
#: Educational Achievement, 1965).
WELL, SOMEWHAT = 0.3, 0.2


@dataclass(frozen=True)
class Links:
    """Where the page's links lead; "" or None: nowhere. lectures: the folder of the course's lectures.

    submission: the address of the Formgrader's page of a submitted notebook, by its id. reports: of the list
    of all reports.
    """

    lectures: str = ""
    submission: Callable[[str], str] | None = None
    reports: str = ""


def in_formgrader(server: str) -> Callable[[str], str]:
    """The address of a submitted notebook's page in the Formgrader of a Jupyter server, by its id."""
    return lambda id: f"{server}/formgrader/submissions/{quote(id, safe='')}/?index=0"


def as_page(report: Report, names: Names, links: Links) -> str:
    """The page as HTML."""
    return _Page(report, names, links).whole()


class _Page:
    def __init__(self, report: Report, names: Names, links: Links) -> None:
        self.report, self.names, self.links = report, names, links

    def whole(self) -> str:
        title = f"{self.report.classroom.assignment}: what the class has understood"
        handed_in = f"{len(self.report.present)} of {count(len(self.report.classroom.students))} handed in"
        made = f"{datetime.now():%d %B %Y, %H:%M}".lstrip("0")
        switch = (
            ""
            if self.names.hidden
            else '<input type="checkbox" id="names" checked> <label for="names">Show names</label>'
        )
        back = ""
        if self.links.reports:
            back = f'<p class="screen small"><a href="{escape(self.links.reports)}">All class reports</a></p>'
        body = "".join(
            (
                self._teach(),
                self._at_a_glance(),
                *map(self._exercise, self.report.exercises),
                self._pairs(),
                self._again(),
                self._similar(),
                self._student_by_student(),
                _ABOUT,
            )
        )
        return (
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src '
            "'unsafe-inline'\">"
            f"<style>{_STYLE.read_text(encoding='utf-8')}</style></head><body>"
            f'<main>{back}<h1>{escape(title)}</h1><p class="soft">{handed_in}. Made on {made}.</p>'
            f"{switch}{body}</main></body></html>\n"
        )

    # Students

    def _who(self, student: Student, exercise: str | None = None) -> str:
        number = escape(self.names.number(student))
        if self.names.hidden:
            return number
        name = escape(self.names.name(student))
        shown = f'<span class="name-of">{name}</span><span class="number-of">{number}</span>'
        page = self._page_of(student, exercise)
        if not page or not self.links.submission:
            return shown
        return f'<a href="{escape(self.links.submission(page))}">{shown}</a>'

    def _page_of(self, student: Student, exercise: str | None) -> str | None:
        """The Formgrader's id of the notebook in which an exercise is, or of the first."""
        for record in student.records:
            if exercise is None or any(check.exercise == exercise for check in record.checks):
                return student.pages.get(record.notebook)
        return next(iter(student.pages.values()), None)

    def _list(self, students: Sequence[Student], exercise: str | None = None) -> str:
        listed = [
            f"<li>{self._who(one, exercise)}</li>" for one in sorted_by_name(list(students), self.names)
        ]
        if len(listed) <= SHOWN + 1:
            return f'<ul class="who">{"".join(listed)}</ul>'
        return (
            f'<ul class="who">{"".join(listed[:SHOWN])}</ul><details><summary>and {len(listed) - SHOWN} '
            f'more</summary><ul class="who">{"".join(listed[SHOWN:])}</ul></details>'
        )

    # What comes first

    def _teach(self) -> str:
        lesson = self.report.lesson
        if lesson is None:
            return (
                '<section class="teach" aria-label="What to teach next"><p>No known mistake was made. '
                "Look below at what is not done yet.</p></section>"
            )
        students, exercise = lesson.mistake.students, lesson.exercise.name
        share = f"{len(students)} of {len(self.report.present)}"
        section = self._section(exercise, lesson.mistake.key)
        whom = escape(to_whom(students, self.report, self.names))
        if not self.names.hidden:
            numbers = escape(to_whom(students, self.report, self.names.as_numbers()))
            whom = f'<span class="name-of">{whom}</span><span class="number-of">{numbers}</span>'
        return (
            '<section class="teach" aria-label="What to teach next">'
            f"<p><strong>Teach next:</strong> {_marked(self.names.text(lesson.mistake.in_short))} "
            f"<strong>{share}</strong> who handed in get this wrong in <code>{escape(exercise)}</code>.</p>"
            f"<p><strong>To whom:</strong> {whom}.</p>"
            f"{f'<p><strong>With:</strong> {section}.</p>' if section else ''}</section>"
        )

    def _section(self, exercise: str, mistake: str | None) -> str:
        section = section_of(exercise, mistake)
        if section is None:
            return ""
        if not self.links.lectures:
            return escape(section.words)
        return (
            f'<a href="{escape(self.links.lectures)}/{escape(section.address)}">{escape(section.words)}</a>'
        )

    def _at_a_glance(self) -> str:
        rows = ""
        for one in self.report.exercises:
            first = one.mistakes[0] if one.mistakes else None
            often = f"{len(first.students)}: {_marked(self.names.text(first.in_short))}" if first else ""
            rows += (
                f'<tr><th scope="row"><a href="#{_anchor(one)}"><code>{escape(one.name)}</code></a></th>'
                f"<td>{_bar(one)}</td>"
                + "".join(
                    f'<td class="figure">{len(several)}</td>'
                    for several in (one.done, one.partly, one.not_done)
                )
                + f'<td class="often">{often}</td></tr>'
            )
        return (
            '<h2 id="glance">The exercises</h2><div class="wide" tabindex="0" role="region" '
            'aria-labelledby="glance"><table><caption><span class="key done"></span> done '
            '<span class="key partly"></span> partly <span class="key"></span> not done</caption>'
            '<thead><tr><th scope="col">exercise</th><th scope="col">share of the class</th>'
            '<th scope="col" class="figure">done</th><th scope="col" class="figure">partly</th>'
            '<th scope="col" class="figure">not done</th>'
            '<th scope="col" class="often">most frequent mistake</th></tr>'
            f"</thead><tbody>{rows}</tbody></table></div>"
        )

    # One exercise

    def _exercise(self, one: Exercise) -> str:
        said = [f"{len(one.done)} done", f"{len(one.partly)} partly", f"{len(one.not_done)} not done"]
        if one.not_begun:
            said[-1] += f" ({len(one.not_begun)} wrote nothing)"
        if one.waiting:
            said.append(f"{len(one.waiting)} wait for points by hand")
        pieces = [
            f'<h2 id="{_anchor(one)}"><code>{escape(one.name)}</code></h2><p>{", ".join(said)}.</p>',
            self._items(one),
        ]
        if one.mistakes:
            pieces.append("<h3>What is misunderstood</h3>")
            pieces += [self._mistake(one, seen) for seen in one.mistakes if len(seen.students) > 1]
            pieces.append(self._lone(one, [seen for seen in one.mistakes if len(seen.students) == 1]))
        if one.alike:
            pieces.append("<h3>Wrong, and no known mistake explains it</h3>")
            pieces.append(
                "<p>Put together are those whose code does the same wrong thing, however it is written.</p>"
            )
            pieces += [self._alike(one, group) for group in one.alike if len(group.students) > 1]
            pieces.append(self._alone(one, [group for group in one.alike if len(group.students) == 1]))
        if one.library:
            pieces.append(
                f"<h3>The library's own answer</h3><p>{count(len(one.library))} called what is to be "
                f"written.</p>{self._list(one.library, one.name)}"
            )
        if one.stopped:
            pieces.append(self._stopped(one))
        if one.not_begun:
            pieces.append(f"<h3>Not written</h3>{self._list(one.not_begun, one.name)}")
        return f"<section>{''.join(pieces)}</section>"

    def _items(self, one: Exercise) -> str:
        if not one.items:
            return ""
        rows = "".join(
            f'<tr><th scope="row">{escape(item.label)}</th><td class="figure">{item.most:g}</td>'
            f'<td class="figure">{item.facility:.0%}</td>{_discrimination(item)}</tr>'
            for item in one.items
        )
        return (
            f'<div class="wide" tabindex="0" role="region" aria-label="Parts of {escape(one.name)}"><table>'
            '<thead><tr><th scope="col">part</th><th scope="col" class="figure">points</th>'
            '<th scope="col" class="figure">facility</th>'
            '<th scope="col" colspan="2">discrimination</th></tr></thead>'
            f"<tbody>{rows}</tbody></table></div>"
        )

    def _mistake(self, one: Exercise, seen: Seen) -> str:
        section = self._section(one.name, seen.key)
        read = f'<p class="small">Explained in {section}.</p>' if section else ""
        idea = f"<p>{_marked(self.names.text(seen.idea))}</p>{read}"
        return (
            f'<div class="card"><h4><span class="number">{count(len(seen.students))}</span>: '
            f"{_marked(self.names.text(seen.in_short))}</h4>{self._beside(seen.shown, 'The idea', idea)}"
            f"{self._list(seen.students, one.name)}</div>"
        )

    def _lone(self, one: Exercise, mistakes: Sequence[Seen]) -> str:
        """Mistakes that one student alone has made."""
        shown = "".join(
            f"<li>{self._who(seen.students[0], one.name)}: {_marked(self.names.text(seen.in_short))}</li>"
            for seen in mistakes
        )
        return f"<p>One student alone:</p><ul>{shown}</ul>" if shown else ""

    def _beside(self, code: str, title: str, said: str) -> str:
        shown = escape(self.names.code(code)) or "No code was kept."
        return (
            f'<div class="beside"><div><h5>One of them wrote</h5><pre tabindex="0">{shown}</pre></div>'
            f"<div><h5>{title}</h5>{said}</div></div>"
        )

    def _alike(self, one: Exercise, group: Alike) -> str:
        skeleton = escape(self._skeleton(one, group))
        said = f"<p>{_marked(self.names.text(group.message))}</p>{self._named_too(one, group)}"
        return (
            f'<div class="card"><h4><span class="number">{count(len(group.students))}</span>: wrong in one '
            f"way</h4>{self._beside(group.shown, 'What the check said', said)}"
            f"{self._list(group.students, one.name)}"
            '<details class="skeleton"><summary>Write a mistake for this</summary><p>With it, the grader '
            f'names the mistake to everybody who makes it.</p><pre tabindex="0">{skeleton}</pre>'
            "</details></div>"
        )

    def _skeleton(self, one: Exercise, group: Alike) -> str:
        """With the other functions that are checked together with it, as the same student wrote them."""
        together = checked_together(one.name, self.report.classroom.released.values())
        whose = next(student for student in group.students if student.checks[one.name].code == group.shown)
        codes = [check.code for name in together[:-1] if (check := whose.checks.get(name)) and check.code]
        return skeleton_of(one.name, "\n\n\n".join(map(self.names.code, (*codes, group.shown))), together)

    def _named_too(self, one: Exercise, group: Alike) -> str:
        """The mistakes above that everybody in a group makes: the group may be more of the same."""
        members = {student.id for student in group.students}
        named = [seen for seen in one.mistakes if members <= {student.id for student in seen.students}]
        words = " and ".join(f"«{_marked(self.names.text(seen.in_short.rstrip('.')))}»" for seen in named)
        return f"<p>All of them also make a mistake that has a name: {words}.</p>" if named else ""

    def _stopped(self, one: Exercise) -> str:
        rows = "".join(
            f"<li><code>{escape(self.names.text(error))}</code>{self._list(students, one.name)}</li>"
            for error, students in sorted(one.stopped.items(), key=lambda entry: -len(entry[1]))
        )
        return f"<h3>Does not run, so there was nothing to check</h3><ul>{rows}</ul>"

    def _alone(self, one: Exercise, groups: Sequence[Alike]) -> str:
        if not groups:
            return ""
        shown = "".join(
            f"<li>{self._who(group.students[0], one.name)}: {_marked(self.names.text(group.message))}</li>"
            for group in groups
        )
        return (
            f"<details><summary>{count(len(groups))} wrong in a way of their own</summary>"
            f"<ul>{shown}</ul></details>"
        )

    # The class

    def _pairs(self) -> str:
        if not self.report.pairs:
            return ""
        rows = "".join(map(self._pair, self.report.pairs))
        return (
            f'<h2 id="together">Mistakes that come together</h2><ul>{rows}</ul>'
            '<p class="soft small">Only pairs that are more than chance, all pairs counted '
            "(Fisher's exact test, corrected by Bonferroni, 5%).</p>"
        )

    def _pair(self, pair: Pair) -> str:
        (first, one), (second, other) = pair.one, pair.other
        names = [_marked(self.names.text(seen.in_short.rstrip("."))) for seen in (one, other)]
        return (
            f"<li>{pair.both} of the {len(one.students)} with «{names[0]}» "
            f"in <code>{escape(first)}</code> also have «{names[1]}» in "
            f"<code>{escape(second)}</code>; in the whole class {len(other.students)} of {pair.of} have it."
            "</li>"
        )

    def _again(self) -> str:
        again = self.report.again
        if not again:
            return ""
        rows = "".join(
            f'<tr><th scope="row"><code>{escape(one.exercise)}</code></th><td>{escape(_words(one.key))}</td>'
            f'<td class="figure">{one.gone}</td><td class="figure">{one.still}</td>'
            f'<td class="figure">{one.new}</td></tr>'
            for one in self.report.changes
        )
        table = (
            '<div class="wide" tabindex="0" role="region" aria-labelledby="again"><table><thead><tr>'
            '<th scope="col">exercise</th><th scope="col">mistake</th><th scope="col" class="figure">gone'
            '</th><th scope="col" class="figure">still there</th><th scope="col" class="figure">new</th>'
            f"</tr></thead><tbody>{rows}</tbody></table></div>"
        )
        return (
            f'<h2 id="again">Since the last hand-in</h2><p>{count(len(again))} handed in again; more '
            f"points now: {len(self.report.better)}.</p>{table if rows else ''}"
        )

    def _similar(self) -> str:
        if self.report.similar is None:
            return ""
        students = {one.id: one for one in self.report.present}
        rows = "".join(
            f"<li>{self._who(students[pair.one])} and {self._who(students[pair.other])}: {pair.share:.0%} of "
            "what is not common in the class</li>"
            for pair in self.report.similar
        )
        return (
            '<h2 id="similar">Unusually alike</h2><p>This is similarity, and no accusation: two who worked '
            "together, or read the same page, write alike. Read both before you ask.</p>"
            f"{f'<ul>{rows}</ul>' if rows else '<p>No pair stands out from the class.</p>'}"
        )

    def _student_by_student(self) -> str:
        exercises = self.report.exercises
        state = {
            (student.id, one.name): place
            for one in exercises
            for place, several in (
                ("done", one.done),
                ("partly", one.partly),
                ("not", one.not_done),
                ("waiting", one.waiting),
            )
            for student in several
        }
        head = "".join(f'<th scope="col"><code>{escape(one.name)}</code></th>' for one in exercises)
        rows = ""
        for student in sorted_by_name(self.report.present, self.names):
            cells = "".join(_state(state.get((student.id, one.name), "")) for one in exercises)
            rows += f'<tr><th scope="row">{self._who(student)}</th>{cells}</tr>'
        absent = ""
        if self.report.absent:
            absent = f"<h3>Nothing handed in</h3>{self._list(self.report.absent)}"
        return (
            '<h2 id="students">Student by student</h2><details><summary>Show the table</summary>'
            '<div class="wide grid" tabindex="0" role="region" aria-labelledby="students"><table><thead>'
            f'<tr><th scope="col">student</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
            f"</details>{absent}"
        )


_ABOUT = (
    '<h2 id="figures">What the figures mean</h2>'
    "<p><strong>Facility</strong> is the share of the points of a part that the class got on average: the "
    "higher, the easier. <strong>Discrimination</strong> is the correlation of these points with all other "
    "points of the assignment: high where those who do well elsewhere do well here. Near 0 or below, look at "
    "the question rather than at the class. It is left out below 10 students.</p>"
    "<p>Who is <strong>done</strong> has everything right, <strong>partly</strong> has some points, "
    "<strong>not done</strong> has none. A student can make several mistakes in one exercise.</p>"
)


def checked_together(exercise: str, released: Iterable[str]) -> tuple[str, ...]:
    """What `check` takes for an exercise in the released notebooks; the exercise's own name is last."""
    calls = re.findall(r"^check\(([\w, ]+)\)", "\n".join(released), re.MULTILINE)
    asked = (tuple(name.strip() for name in call.split(",")) for call in calls)
    return next((names for names in asked if names[-1] == exercise), (exercise,))


def skeleton_of(exercise: str, code: str, together: Sequence[str]) -> str:
    """What is written to give a mistake a name. together: the functions that are checked at once."""
    variant = exercise if len(together) == 1 else f"({', '.join(together)})"
    return (
        f"# In graders/judging/references, above the mistakes of {exercise}; CONTRIBUTING.md says how.\n"
        f"# Code that makes the mistake, and nothing else wrong:\n{code}\n\n\n"
        f"# Among the mistakes of {exercise}:\n"
        "mistake(\n"
        '    "a_key_for_it",\n'
        '    """Say in a sentence what is misunderstood. Say what the numbers show, and point at the idea,\n'
        '    not at the code to type.""",\n'
        f"    {variant},\n"
        "),\n"
    )


def _anchor(one: Exercise) -> str:
    return f"exercise-{quote(one.name, safe='')}"


def _words(key: str) -> str:
    """A mistake's key as words."""
    return key.replace("_", " ")


def _marked(text: str) -> str:
    """Text as HTML, with `code` between backquotes set as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


def _bar(one: Exercise) -> str:
    whole = max(one.handed_in, 1)
    said = f"{len(one.done)} done, {len(one.partly)} partly, {len(one.not_done)} not done"
    pieces = "".join(
        f'<span class="{name}" style="width:{100 * len(several) / whole:.1f}%"></span>'
        for name, several in (("done", one.done), ("partly", one.partly))
    )
    return f'<div class="bar" role="img" aria-label="{said}">{pieces}</div>'


def _discrimination(item: Item) -> str:
    value = item.discrimination
    if value is None:
        return '<td class="figure soft">–</td><td></td>'
    words = (
        "tells students apart well"
        if value >= WELL
        else "tells students apart somewhat"
        if value >= SOMEWHAT
        else "hardly tells students apart"
        if value >= 0
        else "the better students do worse here: look at the question"
    )
    return f'<td class="figure">{value:.2f}</td><td class="soft">{words}</td>'.replace(">-", ">−")


def _state(state: str) -> str:
    words = {"done": "● done", "partly": "◐ partly", "not": "○ not done", "waiting": "by hand"}
    return f'<td class="state-{state}">{words[state]}</td>' if state else "<td></td>"
