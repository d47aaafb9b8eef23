"""A report as text for a terminal, and as a table for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from graders.classroom.report import Exercise, Report
from graders.classroom.report_data import Student
from graders.classroom.report_names import Names
from graders.judging.passages import Section, passage

#: Students named in one sentence; of more, the rest is a number.
NAMED = 12
#: With these a cell of a spreadsheet would be a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def count(number: int, word: str = "student") -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def section_of(exercise: str, mistake: str | None) -> Section | None:
    """Where the course explains a mistake; None of an exercise that is not the course's."""
    found = passage(exercise, mistake)
    return found.section if found else None


def sorted_by_name(students: Sequence[Student], names: Names) -> list[Student]:
    return sorted(students, key=names.key)


def to_whom(students: Sequence[Student], report: Report, names: Names) -> str:
    """The students that a lesson is for, as the end of a sentence."""
    if len(students) == len(report.present):
        return "everybody who handed in"
    listed = [names.name(one) for one in sorted_by_name(students, names)]
    more = len(listed) - NAMED
    if more > 1:
        return f"{', '.join(listed[:NAMED])} and {more} more"
    return " and ".join(filter(None, (", ".join(listed[:-1]), listed[-1])))


def as_text(report: Report, names: Names) -> str:
    """Three sentences, then a line for each exercise and its mistakes."""
    lines = [*_sentences(report, names), ""]
    width = max((len(one.name) for one in report.exercises), default=0)
    lines.append(f"{'exercise':<{width}}  done  partly  not done")
    for one in report.exercises:
        lines.append(
            f"{one.name:<{width}}  {len(one.done):>4}  {len(one.partly):>6}  {len(one.not_done):>8}"
            + (f"  ({len(one.waiting)} wait for points by hand)" if one.waiting else "")
        )
        lines += [f"  {len(seen.students):>4}  {names.text(seen.in_short)}" for seen in one.mistakes]
        lines += [
            f"  {len(group.students):>4}  wrong in one way that no known mistake explains"
            for group in one.alike
            if len(group.students) > 1
        ]
        if one.stopped:
            lines.append(f"  {sum(map(len, one.stopped.values())):>4}  do not run")
    if report.similar is not None:
        students = {one.id: names.name(one) for one in report.present}
        lines.append(f"{count(len(report.similar), 'pair')} unusually alike, which is no accusation")
        lines += [
            f"  {pair.share:>4.0%}  {students[pair.one]} and {students[pair.other]}"
            for pair in report.similar
        ]
    return "\n".join(lines)


def _sentences(report: Report, names: Names) -> Iterator[str]:
    handed_in = f"{len(report.present)} of {count(len(report.classroom.students))} handed in."
    lesson = report.lesson
    if lesson is None:
        yield f"{handed_in} No known mistake was made."
        return
    yield f"{handed_in} Teach: {lesson.mistake.in_short} ({lesson.exercise.name})"
    yield f"To {count(len(lesson.mistake.students))}: {to_whom(lesson.mistake.students, report, names)}."
    section = section_of(lesson.exercise.name, lesson.mistake.key)
    if section:
        yield f"With: {section.words}."


def as_csv(report: Report, names: Names) -> str:
    """A row for each student and exercise."""
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(("student", "exercise", "points", "of", "state", "mistakes", "group"))
    rows = [
        (names.number(student) if names.hidden else student.id, *row)
        for one in report.exercises
        for student, *row in _rows(one)
    ]
    for row in sorted(rows):
        table.writerow([_plain(value) for value in row])
    return file.getvalue()


def _rows(one: Exercise) -> Iterator[tuple[Student, str, float, float, str, str, str]]:
    states = {"done": one.done, "partly": one.partly, "not done": one.not_done, "waiting": one.waiting}
    groups = {student.id: group.number for group in one.alike for student in group.students}
    for state, students in states.items():
        for student in students:
            check = student.checks.get(one.name)
            mark = next((mark for mark in student.marks if mark.cell == one.name), None)
            given = check or mark
            yield (
                student,
                one.name,
                given.points if given else 0.0,
                given.most if given else 0.0,
                state,
                " ".join(check.mistakes) if check else "",
                str(groups.get(student.id, "")),
            )


def _plain(value: str | float) -> str:
    """What a cell holds, which no spreadsheet takes for a formula."""
    text = value if isinstance(value, str) else f"{value:g}"
    return f"'{text}" if text.startswith(_FORMULA) else text
