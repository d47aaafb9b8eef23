"""A verdict as a student reads it: HTML in a notebook, text in a terminal."""

from __future__ import annotations

import os
import textwrap
from dataclasses import dataclass, fields
from html import escape
from pathlib import Path
from typing import Any

from graders.judging.aside import offer
from graders.judging.passages import Passage, Section, passage
from graders.judging.rubric import course_folder
from graders.judging.verdict import MIME, Evidence, Remark, Verdict, number

_STYLE = """
.graders-verdict { --good: #0072b2; --bad: #d55e00; max-width: 46rem; line-height: 1.45;
  font-family: var(--jp-ui-font-family, system-ui, sans-serif); font-size: 14px;
  color: var(--jp-ui-font-color1, #212121); border: 1px solid var(--jp-border-color2, #c8c8c8);
  border-left: 5px solid var(--bad); border-radius: 3px; padding: 0.7rem 1rem; }
[data-jp-theme-light="false"] .graders-verdict { --good: #56b4e9; --bad: #f0793a; }
.graders-verdict.passed { border-left-color: var(--good); }
.graders-verdict h4 { margin: 0; font-size: 15px; font-weight: 600; }
.graders-verdict h4 span { float: right; font-weight: 400; }
.graders-verdict p { margin: 0.5rem 0; }
.graders-verdict .diagnosis { font-size: 15px; }
.graders-verdict table { border-collapse: collapse; margin: 0.4rem 0; font-size: 13px; }
.graders-verdict.graders-verdict tr:nth-child(n) { background: none; }
.graders-verdict.graders-verdict :is(th, td) { text-align: left; padding: 2px 14px 2px 0; border: 0;
  background: none; font-weight: 400; }
.graders-verdict th { color: var(--jp-ui-font-color2, #616161);
  border-bottom: 1px solid var(--jp-border-color2, #c8c8c8); }
.graders-verdict .good { color: var(--good); }
.graders-verdict.graders-verdict td.bad { color: var(--bad); font-weight: 600; }
.graders-verdict .grids { display: flex; flex-wrap: wrap; gap: 0.4rem 1.6rem; overflow-x: auto; }
.graders-verdict.graders-verdict .grid td { text-align: right; padding: 1px 7px;
  font-family: var(--jp-code-font-family, monospace); font-size: 12px; }
.graders-verdict.graders-verdict .grid td.off { background: rgba(213, 94, 0, 0.22); }
.graders-verdict .small { font-size: 12px; color: var(--jp-ui-font-color2, #616161); }
.graders-verdict .remark { border-left: 3px solid var(--good); padding-left: 0.7rem; white-space: pre-line; }
.graders-verdict details { margin: 0.4rem 0; } .graders-verdict summary { cursor: pointer; }
.graders-verdict pre { white-space: pre-wrap; font-size: 12px; margin: 0.3rem 0; }
.graders-verdict.graders-verdict a { display: inline-block; padding: 1px 9px; border-radius: 3px;
  border: 1px solid currentColor; color: var(--good); text-decoration: none; }
.graders-verdict.graders-verdict a:is(:hover, :focus-visible) { text-decoration: underline; }
/* In a notebook that was closed meanwhile JupyterLab has an error in place of the button. */
.jp-OutputArea:has(.graders-verdict) .jp-OutputArea-output.jupyter-widgets:not(:has(*)) { display: none; }
"""

# JupyterLab opens a lecture and looks for the section before its cells are there: one that was closed would
# show its top. So the link is followed again until its heading has been in sight for 5 s. Whatever the reader
# does meanwhile ends that.
FOLLOW = """<script>{
for (const report of document.querySelectorAll(".graders-verdict:not([data-followed])")) {
  report.dataset.followed = "";
  report.addEventListener("click", (event) => {
    const link = event.target.closest("a[href*='#']");
    if (!link || !event.isTrusted) return;
    const id = decodeURIComponent(link.hash.slice(1));
    const headings = () => [...document.querySelectorAll(`[data-jupyter-id="${CSS.escape(id)}"]`)];
    const before = new Set(headings());
    const until = performance.now() + 60_000;
    let last, seen = 0;
    const timer = setInterval(() => {
      const heading = headings().find((one) => !before.has(one) && one.getClientRects().length);
      const box = heading?.getBoundingClientRect();
      const still = heading && box.top === last;
      const shown = still && box.top >= 0 && box.bottom <= innerHeight;
      last = box?.top;
      seen = shown ? seen + 1 : 0;
      if (seen === 25 || performance.now() > until) stop();
      else if (still && !shown) link.click();
    }, 200);
    const acts = ["pointerdown", "keydown", "wheel"];
    const stop = () => {
      clearInterval(timer);
      for (const act of acts) removeEventListener(act, stop, true);
    };
    for (const act of acts) addEventListener(act, stop, true);
  });
}
}</script>"""

#: Outcomes about an idea, which the lecture explains; the others are about how something is written.
_EXPLAINED = ("mistake", "values", "nan", "shape")


@dataclass(frozen=True, repr=False)
class Report(Verdict):
    """A verdict that shows itself: in a notebook as HTML, printed as text; its `repr` is still the points."""

    def __str__(self) -> str:
        return as_text(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        if (found := _passage(self)) and found.view:
            offer(found.view)
        return as_bundle(self, lectures_from(Path.cwd()))


def reported(verdict: Verdict) -> Report:
    """The same verdict, as one that shows itself."""
    return Report(**{field.name: getattr(verdict, field.name) for field in fields(verdict)})


def as_bundle(verdict: Verdict, lectures: str = "") -> dict[str, Any]:
    """What a notebook stores of a verdict: points as text, the report as HTML, the verdict as data."""
    return {"text/plain": repr(verdict), "text/html": as_html(verdict, lectures), MIME: verdict.as_dict()}


def lectures_from(folder: Path) -> str:
    """The way from a notebook's folder to that of the lectures, as links have it; "" where there are none."""
    root = course_folder(folder)
    if root is None or not (root / "course" / "index.ipynb").is_file():
        return ""
    return Path(os.path.relpath(root / "course", folder)).as_posix()


def as_html(verdict: Verdict, lectures: str = "") -> str:
    """The report as one HTML element that stands by itself; also without scripts and styles of a page.

    lectures: the way to the folder of the lectures, where the page that shows this can follow a link there.
    """
    body = [f"<h4>{escape(verdict.exercise)}<span>{_points(verdict)}</span></h4>"]
    body.append(f'<p class="diagnosis">{_marked(verdict.message)}</p>')
    body += [f"<p>{_marked(note)}</p>" for note in verdict.notes]
    if found := _passage(verdict):
        body += _passage_html(found, lectures)
    body += [f'<p class="remark">{_marked(_said(one))}</p>' for one in verdict.remarks]
    if verdict.evidence:
        if not _is_told(verdict):
            body.append(f"<p>{_marked(_evidence_sentence(verdict))}</p>")
        body.append(_evidence_html(verdict.evidence))
    if _shows_parts(verdict):
        rows = "".join(
            f"<tr><td>{escape(one.label)}</td><td>{_marked(one.text)}</td></tr>" for one in verdict.scores
        )
        body.append(f"<table><tr><th>part</th><th>points</th></tr>{rows}</table>")
    if verdict.rows:
        marks = {mark for row in verdict.rows for mark in row.marks.values()}
        opened = " open" if len(marks) > 1 else ""
        body.append(f"<details{opened}><summary>The cases</summary>{_cases_html(verdict)}</details>")
    if verdict.printed and not verdict.passed:
        body.append(
            "<details><summary>What your code printed</summary>"
            f"<pre>{escape(verdict.printed)}</pre></details>"
        )
    classes = "graders-verdict passed" if verdict.passed else "graders-verdict"
    data = {
        "exercise": verdict.exercise,
        "points": number(verdict.points),
        "max-points": str(verdict.max_points),
        "outcome": verdict.outcome,
        "mistake": verdict.mistake or "",
    }
    attributes = " ".join(f'data-{key}="{escape(value)}"' for key, value in data.items())
    return f'<div class="{classes}" {attributes}><style>{_STYLE}</style>{"".join(body)}</div>'


def _passage(verdict: Verdict) -> Passage | None:
    """Where the course explains what is wrong."""
    if verdict.outcome not in _EXPLAINED:
        return None
    return passage(verdict.exercise, verdict.mistake)


def _passage_html(found: Passage, lectures: str) -> list[str]:
    """What to read, and what to look at: links where there is a way to the lectures, and a line to run."""

    def link(section: Section) -> str:
        words = escape(section.words)
        return f'<a href="{escape(lectures)}/{escape(section.address)}">{words}</a>' if lectures else words

    lines = [f"<p>Read: {link(found.section)}</p>"]
    if view := found.view:
        lines.append(
            f"<details><summary>See in an explorer: {_marked(view.shows)}</summary>"
            f"<p>To open it at this case, run this in a cell:</p><pre>{escape(view.code)}</pre>"
            f"<p>It stands in {link(view.section)}</p></details>"
        )
    if lectures:
        lines.append(FOLLOW)
    return lines


def _passage_text(found: Passage) -> list[str]:
    lines = ["", f"Read: {found.section.words}."]
    if view := found.view:
        lines += textwrap.wrap(f"See in an explorer: {view.shows}. To open it at this case, run:", 88)
        lines += textwrap.indent(view.code, "  ").splitlines()
    return lines


def _points(verdict: Verdict) -> str:
    """The points in words; a step to an exercise carries none."""
    if verdict.max_points or verdict.outcome == "unknown":
        return f"{number(verdict.points)} of {verdict.max_points} points"
    return "right" if verdict.passed else "not right yet"


def _shows_parts(verdict: Verdict) -> bool:
    """Whether the points of the parts say more than their sum."""
    return not verdict.passed and (len(verdict.scores) > 1 or any(one.why for one in verdict.scores))


def _said(remark: Remark) -> str:
    """A remark as students read it, with what it does to the points."""
    points = f"{number(abs(remark.points))} {'points' if abs(remark.points) != 1 else 'point'}"
    change = f"({points} {'more' if remark.points > 0 else 'less'})" if remark.points else ""
    return " ".join(filter(None, ("From your instructors:", remark.text, change)))


def _marked(text: str) -> str:
    """Text as HTML, with `code` between backquotes set as code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if i % 2 else piece for i, piece in enumerate(pieces))


def _cases_html(verdict: Verdict) -> str:
    columns = list(dict.fromkeys(column for row in verdict.rows for column in row.marks))
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    rows = ""
    for row in verdict.rows:
        cells = "".join(_mark_html(row.marks.get(column)) for column in columns)
        rows += f"<tr><td>{escape(row.case)}</td>{cells}</tr>"
    return f"<table><tr><th>case</th>{head}</tr>{rows}</table>"


def _mark_html(right: bool | None) -> str:
    if right is None:
        return "<td></td>"
    return '<td class="good">right</td>' if right else '<td class="bad">wrong</td>'


def _evidence_html(evidence: Evidence) -> str:
    if not evidence.want_grid:
        return ""
    cut = '<span class="small"> (a part of it)</span>' if evidence.cut else ""
    yours = _grid_html(evidence.got_grid, evidence.wrong)
    right = _grid_html(evidence.want_grid, [])
    return (
        f'<div class="grids"><div><span class="small">yours</span>{yours}</div>'
        f'<div><span class="small">expected</span>{cut}{right}</div></div>'
    )


def _grid_html(grid: list[list[str]], wrong: list[list[bool]]) -> str:
    rows = ""
    for i, row in enumerate(grid):
        cells = ""
        for j, cell in enumerate(row):
            off = i < len(wrong) and j < len(wrong[i]) and wrong[i][j]
            cells += f"<td{' class=off' if off else ''}>{escape(cell)}</td>"
        rows += f"<tr>{cells}</tr>"
    return f'<table class="grid">{rows}</table>'


def _is_told(verdict: Verdict) -> bool:
    """Whether the diagnosis or a note already says what the evidence shows."""
    shown = verdict.evidence
    if shown is None:
        return False
    pieces = (
        f"«{shown.case}»",
        shown.where,
        shown.got.removeprefix("shape "),
        shown.want.removeprefix("shape "),
    )
    return any(all(piece in text for piece in pieces) for text in (verdict.message, *verdict.notes))


def _evidence_sentence(verdict: Verdict) -> str:
    evidence = verdict.evidence
    assert evidence is not None
    if verdict.exercise.startswith(("expose_", "hide_")) and not evidence.want_grid:
        # An input that was asked for, and the diagnosis has said what is wrong with it.
        return f"In {evidence.column}, your input for {evidence.case} is not what was asked for."
    said = f"{evidence.where} is {evidence.got}; expected: {evidence.want}."
    if evidence.case in evidence.where:  # which names its case itself
        return f"In {evidence.column}, {said}"
    return f"In the case «{evidence.case}» ({evidence.column}), {said}"


def as_text(verdict: Verdict) -> str:
    """The report as plain text, 88 columns wide."""
    lines = [f"{verdict.exercise}: {_points(verdict)}"]
    paragraphs = [verdict.message, *verdict.notes, *map(_said, verdict.remarks)]
    if verdict.evidence and not _is_told(verdict):
        paragraphs.append(_evidence_sentence(verdict))
    for paragraph in paragraphs:
        lines += ["", *textwrap.wrap(paragraph, 88)]
    if found := _passage(verdict):
        lines += _passage_text(found)
    if verdict.evidence and verdict.evidence.want_grid:
        lines += ["", *_grid_text(verdict.evidence)]
    if _shows_parts(verdict):
        width = max(len(one.label) for one in verdict.scores)
        lines.append("")
        for one in verdict.scores:
            indent = " " * (width + 4)
            lines += textwrap.wrap(f"  {one.label:<{width}}  {one.text}", 88, subsequent_indent=indent)
    if verdict.rows:
        lines += ["", *_cases_text(verdict)]
    if verdict.printed and not verdict.passed:
        lines += ["", "What your code printed:", textwrap.indent(verdict.printed.rstrip(), "  ")]
    return "\n".join(lines)


def _cases_text(verdict: Verdict) -> list[str]:
    columns = list(dict.fromkeys(column for row in verdict.rows for column in row.marks))
    width = max(len(row.case) for row in verdict.rows)
    lines = [f"  {'case':<{width}}  " + "  ".join(columns)]
    for row in verdict.rows:
        words = {True: "right", False: "wrong", None: ""}
        marks = "  ".join(f"{words[row.marks.get(column)]:<{len(column)}}" for column in columns)
        lines.append(f"  {row.case:<{width}}  {marks}".rstrip())
    return lines


def _grid_text(evidence: Evidence) -> list[str]:
    """Both arrays below one another; a star marks a value that is out."""

    def block(title: str, grid: list[list[str]], wrong: list[list[bool]]) -> list[str]:
        width = max((len(cell) for row in grid for cell in row), default=0)
        lines = [f"  {title}:"]
        for i, row in enumerate(grid):
            marks = wrong[i] if i < len(wrong) else [False] * len(row)
            cells = (f"{cell:>{width}}{'*' if mark else ' '}" for cell, mark in zip(row, marks, strict=False))
            lines.append("    " + " ".join(cells).rstrip())
        return lines

    return block("yours", evidence.got_grid, evidence.wrong) + block("expected", evidence.want_grid, [])
