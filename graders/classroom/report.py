"""What a class has understood of an assignment: figures, and no page yet.

Terms are those of classical test theory (L. Crocker and J. Algina, Introduction to Classical and Modern Test
Theory, 1986, chapter 14): the *facility* of an item is the mean share of its points, its "p-value"; the
*discrimination* is the corrected item-total correlation, Pearson's correlation of the points of the item with
those of everything else, which is the point-biserial one where an item is right or wrong.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from graders.classroom.groups import grouped
from graders.classroom.records import STOPPED, Check
from graders.classroom.report_data import Classroom, Student, read_class
from graders.classroom.similar import Similar, similar
from graders.judging.verdict import first_sentence

#: A discrimination is said from so many students on; of fewer it is chance.
ENOUGH = 10
#: Two mistakes go together where so many students make both, and chance alone would do that so seldom, all
#: pairs of mistakes taken together (Fisher's exact test, one-sided, with Bonferroni's correction).
TOGETHER, CHANCE = 3, 0.05
#: Outcomes without an attempt at an answer.
NOT_BEGUN = ("unattempted",)


@dataclass(frozen=True)
class Item:
    """A part of an exercise, or a cell that is graded without a check.

    facility: the mean share of its points. discrimination: None where it cannot be said.
    """

    label: str
    most: float
    facility: float
    discrimination: float | None


@dataclass
class Seen:
    """A mistake in an exercise, and who made it. shown: the code of one of them."""

    key: str
    message: str
    students: list[Student]
    shown: str = ""

    @property
    def in_short(self) -> str:
        """The first sentence of its message."""
        return first_sentence(self.message)

    @property
    def idea(self) -> str:
        """The rest of its message, or all of it where there is no more."""
        return self.message[len(self.in_short) :].strip() or self.message


@dataclass
class Alike:
    """Students whose work is wrong in one way that no known mistake explains. message: the centre's."""

    number: int
    message: str
    students: list[Student]
    shown: str = ""


@dataclass
class Exercise:
    """What became of one exercise.

    done, partly, not_done: students by the points that they got; not_begun: of the last, who wrote nothing.
    library: who used the library's own answer. stopped: whose cells ended with an error, so that there was
    nothing to check, by what it said. alike: the wrong work without a name, the largest group first.
    """

    name: str
    items: list[Item] = field(default_factory=list)
    done: list[Student] = field(default_factory=list)
    partly: list[Student] = field(default_factory=list)
    not_done: list[Student] = field(default_factory=list)
    not_begun: list[Student] = field(default_factory=list)
    library: list[Student] = field(default_factory=list)
    waiting: list[Student] = field(default_factory=list)
    stopped: dict[str, list[Student]] = field(default_factory=dict)
    mistakes: list[Seen] = field(default_factory=list)
    alike: list[Alike] = field(default_factory=list)

    @property
    def handed_in(self) -> int:
        return len(self.done) + len(self.partly) + len(self.not_done) + len(self.waiting)


@dataclass(frozen=True)
class Pair:
    """Two mistakes that go together. both, first, second: how many made them; of: all students."""

    one: tuple[str, Seen]
    other: tuple[str, Seen]
    both: int
    of: int

    @property
    def lift(self) -> float:
        """How many times as often as if they had nothing to do with each other."""
        return self.both * self.of / (len(self.one[1].students) * len(self.other[1].students))


@dataclass(frozen=True)
class Change:
    """What became of a mistake since the hand-in before: who no longer makes it, who still does, who anew."""

    exercise: str
    key: str
    gone: int
    still: int
    new: int


@dataclass(frozen=True)
class Lesson:
    """What to teach next: the mistake that most students make, in which exercise."""

    exercise: Exercise
    mistake: Seen


@dataclass
class Report:
    """All figures of a class and an assignment. again: who handed in once more, better: with more points now.

    similar: pairs whose code is unusually alike; None where that was not asked.
    """

    classroom: Classroom
    exercises: list[Exercise]
    pairs: list[Pair]
    again: list[Student]
    better: list[Student]
    changes: list[Change]
    similar: list[Similar] | None = None

    @property
    def present(self) -> list[Student]:
        return self.classroom.present

    @property
    def absent(self) -> list[Student]:
        return [one for one in self.classroom.students if not one.handed_in]

    @property
    def lesson(self) -> Lesson | None:
        """The mistake with most students, and of several that in the exercise where fewest are done."""
        found = [
            (len(seen.students), -len(one.done), Lesson(one, seen))
            for one in self.exercises
            for seen in one.mistakes
        ]
        return max(found, key=lambda entry: entry[:2], default=(0, 0, None))[2]


def report(root: Path, assignment: str, *, with_similar: bool = False) -> Report:
    """The report of the course in whose folder this is. Raises NoReport."""
    found = figures(read_class(root, assignment))
    if with_similar:
        found.similar = _similar(found.classroom)
    return found


def _similar(classroom: Classroom) -> list[Similar]:
    codes = {one.id: "\n\n".join(check.code for check in one.checks.values()) for one in classroom.present}
    return similar(codes, classroom.released.values())


def figures(classroom: Classroom) -> Report:
    present = classroom.present
    exercises = [_exercise(name, present) for name in _names(present)]
    exercises += _without_checks(present)
    totals = {student.id: _total(student) for student in present}
    for one in exercises:
        one.items = _items(one.name, present, totals)
    made = [(one.name, seen) for one in exercises for seen in one.mistakes]
    again = [one for one in present if any(record.before for record in one.records)]
    return Report(
        classroom,
        exercises,
        _pairs(made, len(present)),
        again,
        [one for one in again if _gained(one) > 0],
        _changes(again),
    )


def _names(present: Iterable[Student]) -> list[str]:
    """The exercises in the order of the notebook."""
    return list(dict.fromkeys(name for student in present for name in student.checks))


def _exercise(name: str, present: Sequence[Student]) -> Exercise:
    one = Exercise(name)
    of_mistake: dict[str, Seen] = {}
    unexplained: list[tuple[Student, Check]] = []
    for student in present:
        check = student.checks.get(name)
        if check is None:
            one.not_done.append(student)
            one.not_begun.append(student)
            continue
        place = one.done if check.passed else one.partly if check.points > 0 else one.not_done
        place.append(student)
        if check.outcome in NOT_BEGUN:
            one.not_begun.append(student)
        if check.outcome == "library":
            one.library.append(student)
        for key, message in check.mistakes.items():
            of_mistake.setdefault(key, Seen(key, message, [])).students.append(student)
        if check.outcome == STOPPED:
            one.stopped.setdefault(_without_place(check.message), []).append(student)
        if check.unexplained:
            unexplained.append((student, check))
    for seen in of_mistake.values():
        seen.shown = _typical([student.checks[name] for student in seen.students])
    one.mistakes = sorted(of_mistake.values(), key=lambda seen: (-len(seen.students), seen.key))
    one.alike = _alike(unexplained)
    return one


def _typical(checks: Sequence[Check]) -> str:
    """The shortest code of those whose only mistake it is, where there are any: it shows little else."""
    fewest = min(len(check.mistakes) + bool(check.behaviour) for check in checks)
    codes = [one.code for one in checks if len(one.mistakes) + bool(one.behaviour) == fewest and one.code]
    return min(codes, key=lambda code: (len(code), code), default="")


def _alike(unexplained: Sequence[tuple[Student, Check]]) -> list[Alike]:
    """Groups by behaviour, each with what was said to its centre."""
    places = grouped([one.behaviour for _, one in unexplained], [one.seed for _, one in unexplained])
    groups = [[unexplained[place] for place in group] for group in places]
    return [
        Alike(
            number,
            group[0][1].message,
            [student for student, _ in group],
            _typical([check for _, check in group]),
        )
        for number, group in enumerate(groups, 1)
    ]


def _without_checks(present: Sequence[Student]) -> list[Exercise]:
    """Cells that are graded by nbgrader's rules or by hand."""
    found: dict[str, Exercise] = {}
    for student in present:
        for mark in student.marks:
            one = found.setdefault(mark.cell, Exercise(mark.cell))
            if mark.waiting:
                one.waiting.append(student)
            elif mark.points >= mark.most:
                one.done.append(student)
            else:
                (one.partly if mark.points > 0 else one.not_done).append(student)
    return list(found.values())


# Figures of items


def _total(student: Student) -> float:
    return sum(check.points for check in student.checks.values()) + sum(mark.points for mark in student.marks)


def _items(name: str, present: Sequence[Student], totals: dict[str, float]) -> list[Item]:
    points: dict[str, list[tuple[float, float]]] = {}
    most: dict[str, float] = {}
    for student in present:
        check = student.checks.get(name)
        given = [(part.label, part.points, part.most) for part in check.parts] if check else []
        given += [(mark.cell, mark.points, mark.most) for mark in student.marks if mark.cell == name]
        for label, got, worth in given:
            most[label] = worth
            points.setdefault(label, []).append((got, totals[student.id] - got))
    return [
        Item(
            label,
            most[label],
            statistics.fmean(got for got, _ in several) / most[label] if most[label] else 0.0,
            discrimination([got for got, _ in several], [rest for _, rest in several]),
        )
        for label, several in points.items()
    ]


def discrimination(item: Sequence[float], rest: Sequence[float]) -> float | None:
    """The correlation of an item's points with all others'; None where that says nothing."""
    if len(item) < ENOUGH or len(set(item)) < 2 or len(set(rest)) < 2:
        return None
    return statistics.correlation(item, rest)


# Mistakes that go together


def _pairs(made: Sequence[tuple[str, Seen]], count: int) -> list[Pair]:
    looked_at = [one for one in made if len(one[1].students) >= TOGETHER]
    ids = {id(seen): {student.id for student in seen.students} for _, seen in looked_at}
    tries = math.comb(len(looked_at), 2)
    found = []
    for one, other in combinations(looked_at, 2):
        both = len(ids[id(one[1])] & ids[id(other[1])])
        if both < TOGETHER:
            continue
        pair = Pair(one, other, both, count)
        if by_chance(both, len(one[1].students), len(other[1].students), count) * tries <= CHANCE:
            found.append(pair)
    return sorted(found, key=lambda pair: (-pair.both, -pair.lift))


def by_chance(both: int, one: int, other: int, of: int) -> float:
    """How likely at least so many make both mistakes, were they made independently (hypergeometric)."""
    ways = math.comb(of, other)
    return sum(
        math.comb(one, k) * math.comb(of - one, other - k) / ways for k in range(both, min(one, other) + 1)
    )


# What changed


def _gained(student: Student) -> float:
    now = sum(check.points for check in student.checks.values())
    before = sum(
        sum((record.before.points if record.before else record.summary().points).values())
        for record in student.records
    )
    return now - before


def _changes(again: Sequence[Student]) -> list[Change]:
    counts: dict[tuple[str, str], list[int]] = {}
    for student in again:
        for record in student.records:
            if record.before is None:
                continue
            for check in record.checks:
                before, now = set(record.before.mistakes.get(check.exercise, ())), set(check.mistakes)
                for keys, place in ((before - now, 0), (before & now, 1), (now - before, 2)):
                    for key in keys:
                        counts.setdefault((check.exercise, key), [0, 0, 0])[place] += 1
    found = [Change(exercise, key, *several) for (exercise, key), several in counts.items()]
    return sorted(found, key=lambda one: (-one.still, -one.gone, one.key))


def _without_place(error: str) -> str:
    """An error without Python's name of the cell, which differs where all else is the same."""
    return re.sub(r"\(<ipython-input-[^>]*>, (line \d+)\)", r"(\1)", error)
