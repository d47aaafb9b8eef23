"""Exporters for `nbgrader export` that write grades into the table that a system itself exported.

Each system advises to begin with the file that it exports, since it says who is who and which column is
which. That file is kept as it is, its encoding and order too, and the grades are written where they belong.
Nothing else is changed, and whoever cannot be told apart gets no grade from here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from nbgrader.api import Assignment, Gradebook, MissingEntry
from nbgrader.plugins import ExportPlugin
from traitlets import Bool, Dict, List, Unicode

from graders.batch.submission import shown
from graders.lms import tables
from graders.lms.roster import (
    Nobody,
    Person,
    Roster,
    Unusable,
    from_gradebook,
    id_columns,
    id_of,
    read_rosters,
    squeezed,
)
from graders.lms.tables import NoTable, Table


class CannotExport(Exception):
    """Nothing was exported; the text is a sentence that says why."""


@dataclass(frozen=True)
class _Column:
    """Where an assignment's grades go. most: the points that the system says one can get, if it does."""

    place: int
    assignment: Assignment
    most: float | None


class Exporter(ExportPlugin):
    """What the four have in common."""

    system: ClassVar[str]
    #: The id by which a line of the table is somebody's, in the order in which they are tried.
    kinds: ClassVar[Sequence[str]]

    table = Unicode("", help="The table that the system exported, into which the grades go.").tag(config=True)
    roster = List(
        Unicode(),
        help="Tables that say which student of nbgrader's is who; without them, the gradebook's students.",
    ).tag(config=True)
    columns = Dict(help="The heading of an assignment's column, where it is not called alike.").tag(
        config=True
    )
    scale = Bool(False, help="Scale points where the system has another maximum than nbgrader.").tag(
        config=True
    )
    missing_as_zero = Bool(False, help="Write 0 for students who handed in nothing.").tag(config=True)
    unfinished = Bool(
        False, help="Write points also where some are still to be given by hand, as far as they are there."
    ).tag(config=True)

    def export(self, gradebook: Gradebook) -> None:
        """Write the grades. Ends the program with a sentence where that is not possible."""
        try:
            self._export(gradebook)
        except (CannotExport, NoTable, Unusable) as problem:
            self.log.error(shown(str(problem)))
            raise SystemExit(1) from None
        except OSError as error:
            self.log.error(f"{error.filename} cannot be written: {error.strerror}.")
            raise SystemExit(1) from None

    def _export(self, gradebook: Gradebook) -> None:
        to = Path(self.to or f"grades-{self.system.lower()}.csv")
        source = Path(self.table) if self.table else None
        if source and source.resolve() == to.resolve():
            raise CannotExport(f"{to} is what {self.system} exported; write to another file with --to.")
        roster = self._people(gradebook)
        table = tables.read(source) if source else self.fresh(roster, self._asked(gradebook))
        found = self._columns(table, gradebook)
        grades = {column.place: self._grades(gradebook, column) for column in found}
        seen = set()
        for row in table.rows:
            try:
                person = self._owner(table, row, roster)
            except Nobody as problem:
                self.log.warning(f"No grade for {self._shown(table, row)}: {problem}.")
                continue
            if person is None or (self.student and person.student not in self.student):
                continue
            seen.add(person.student)
            for place, points in grades.items():
                if person.student in points:
                    row[place] = points[person.student]
        tables.write(to, table)
        for column in found:
            count = len(seen & grades[column.place].keys())
            self.log.info(
                f"{column.assignment.name}: {count} grades under {shown(table.header[column.place])} in {to}"
            )
            for student in sorted(grades[column.place].keys() - seen if not self.student else ()):
                self.log.warning(
                    f"{student} has a grade for {column.assignment.name}, and no line in the table."
                )

    # Who

    def _people(self, gradebook: Gradebook) -> Roster:
        if self.roster:
            return read_rosters([*map(Path, self.roster)])
        return from_gradebook(student.to_dict() for student in gradebook.students)

    def _owner(self, table: Table, row: Sequence[str], roster: Roster) -> Person | None:
        """Whose line this is; None where it is of none."""
        columns = id_columns(table)
        ids = {kind: id_of(row[place]) for kind, place in columns.items()}
        if "participant" in ids:
            ids["participant"] = "".join(one for one in ids["participant"] if one.isdigit())
        ids = {kind: value for kind, value in ids.items() if value}
        if not ids:
            return None
        found = {id(one): one for kind, value in ids.items() for one in roster.with_id(kind, value)}
        # Where the roster does not say somebody's user name or number, nbgrader's own name may be it.
        found |= {
            id(one): one
            for one in roster.people
            for kind in self.kinds
            if kind not in one.ids and ids.get(kind) == one.student
        }
        if len(found) != 1:
            raise Nobody(
                "the roster has nobody with these ids" if not found else "the roster has several of them"
            )
        (person,) = found.values()
        return roster.only(person)

    def _shown(self, table: Table, row: Sequence[str]) -> str:
        ids = (row[place] for place in id_columns(table).values() if row[place])
        return shown(", ".join(ids)) or "a line"

    # What

    def _asked(self, gradebook: Gradebook) -> list[Assignment]:
        known = {one.name: one for one in gradebook.assignments}
        if unknown := [name for name in map(str, self.assignment) if name not in known]:
            raise CannotExport(f"There is no assignment {unknown[0]} in the gradebook.")
        return [known[str(name)] for name in self.assignment] if self.assignment else list(known.values())

    def _columns(self, table: Table, gradebook: Gradebook) -> list[_Column]:
        """The columns of the assignments; all that are asked for must have one."""
        found = []
        for assignment in self._asked(gradebook):
            heading = self.columns.get(assignment.name)
            places = [
                place
                for place, one in enumerate(table.header)
                if (one == heading if heading else self.is_column(one, assignment))
            ]
            if len(places) > 1:
                raise CannotExport(
                    f"There are {len(places)} columns for {assignment.name}; say which with columns."
                )
            if places:
                most = self.most(table, places[0])
                self._require_same(assignment, most)
                found.append(_Column(places[0], assignment, most))
            elif self.assignment:
                raise CannotExport(
                    f"The table has no column for {assignment.name}; name one with "
                    f"--{type(self).__name__}.columns={assignment.name}=HEADING. Its columns: "
                    f"{', '.join(table.header)}."
                )
        if not found:
            raise CannotExport("The table has no column that is called as an assignment of this course is.")
        return found

    def _require_same(self, assignment: Assignment, most: float | None) -> None:
        if most is not None and abs(most - assignment.max_score) > 0.005 and not self.scale:
            raise CannotExport(
                f"{assignment.name} has {assignment.max_score:g} points here and {most:g} in {self.system}. "
                f"Set the same there, or let points be scaled with --{type(self).__name__}.scale=True."
            )

    def _grades(self, gradebook: Gradebook, column: _Column) -> Mapping[str, str]:
        """What is written for whom: points with late penalties, scaled if that was asked for."""
        assignment = column.assignment
        factor = (
            column.most / assignment.max_score if column.most and self.scale and assignment.max_score else 1.0
        )
        grades = {}
        for student in gradebook.students:
            try:
                submission = gradebook.find_submission(assignment.name, student.id)
            except MissingEntry:
                if self._lies_there(student.id, assignment.name):
                    self.log.warning(
                        f"{student.id}: what was handed in for {assignment.name} is not graded; no grade is "
                        "written."
                    )
                elif self.missing_as_zero:
                    grades[student.id] = "0"
                continue
            if submission.needs_manual_grade and not self.unfinished:
                self.log.warning(
                    f"{student.id}: {assignment.name} is still to be graded by hand; no grade is written."
                )
                continue
            points = max(0.0, submission.score - submission.late_submission_penalty) * factor
            grades[student.id] = f"{points:.2f}".rstrip("0").rstrip(".")
        return grades

    def _lies_there(self, student: str, assignment: str) -> bool:
        """Whether something was handed in, though the gradebook knows nothing of it."""
        course = getattr(self.parent, "coursedir", None)
        return (
            course is not None
            and Path(course.format_path(course.submitted_directory, student, assignment)).is_dir()
        )

    # What each system has in a way of its own

    def is_column(self, heading: str, assignment: Assignment) -> bool:
        """Whether a column is this assignment's, by its heading."""
        raise NotImplementedError

    def most(self, table: Table, place: int) -> float | None:
        """The points that one can get in a column, where the table says it."""
        raise NotImplementedError

    def fresh(self, roster: Roster, assignments: Sequence[Assignment]) -> Table:
        """A table of what the system needs, where there is none that it exported."""
        raise CannotExport(
            f"{self.system} needs the table that it exported itself; name it with "
            f"--{type(self).__name__}.table=FILE."
        )

    def _lines(self, roster: Roster, kinds: Sequence[str], columns: int) -> list[list[str]]:
        """A line for each student who has one of these ids."""
        ids = {person.student: [person.ids.get(kind, "") for kind in kinds] for person in roster.people}
        rows = [known + [""] * columns for known in ids.values() if any(known)]
        if not rows:
            raise CannotExport(
                f"There is no {' or '.join(kinds)} in the roster, by which {self.system} knows its students."
            )
        for student in (student for student, known in ids.items() if not any(known)):
            self.log.warning(f"{student} has no {' or '.join(kinds)} in the roster, and gets no line.")
        return rows


class MoodleExporter(Exporter):
    """Moodle's grading worksheet of one assignment.

    Its columns are Identifier, Full name, Email address, Status, Grade, Maximum grade, Last modified (grade)
    and others; Moodle reads the first, Grade and the last again
    (mod/assign/feedback/offline/importgradeslib.php).
    """

    system = "Moodle"
    kinds = ("number", "username", "email")

    def _asked(self, gradebook: Gradebook) -> list[Assignment]:
        if len(self.assignment) != 1:
            raise CannotExport("Moodle's worksheet is of one assignment; name it with --assignment day26.")
        return super()._asked(gradebook)

    def is_column(self, heading: str, assignment: Assignment) -> bool:
        return heading == "Grade"

    def most(self, table: Table, place: int) -> float | None:
        column = table.column("Maximum grade")
        said = {number_in(row[column]) for row in table.rows} if column is not None else set()
        return said.pop() if len(said) == 1 else None


class CanvasExporter(Exporter):
    """Canvas's gradebook, with a column for each assignment called `Day 26 (12345)`.

    Its first columns are Student, ID, SIS User ID, SIS Login ID and Section, and a line before the students
    has the possible points (lib/gradebook_importer.rb). All columns stay, so that those of other assignments
    change nothing.
    """

    system = "Canvas"
    kinds = ("username", "number", "lms_id")

    def is_column(self, heading: str, assignment: Assignment) -> bool:
        title = re.fullmatch(r"(.*?)\s*(?:\(\d+\))?", heading)
        return bool(title) and squeezed(title[1]) == squeezed(assignment.name)

    def most(self, table: Table, place: int) -> float | None:
        for row in table.rows:
            if any(cell.strip().startswith("Points Possible") for cell in row[:2]):
                return number_in(row[place])
        return None


class BlackboardExporter(Exporter):
    """Blackboard's grade center: Last Name, First Name, Username, and `Day 26 [Total Pts: 30 Score] |987`.

    A line is the student's whose Username it has, a column is known by the number behind the bar; as
    Blackboard's help has it (Upload grades). Without a table: Username and a column called as the assignment.
    """

    system = "Blackboard"
    kinds = ("username", "number")

    def is_column(self, heading: str, assignment: Assignment) -> bool:
        return squeezed(re.split(r"\s*[\[|]", heading)[0]) == squeezed(assignment.name)

    def most(self, table: Table, place: int) -> float | None:
        found = re.search(r"\[Total Pts:([^\]]*)\]", table.header[place])
        return number_in(found[1]) if found else None

    def fresh(self, roster: Roster, assignments: Sequence[Assignment]) -> Table:
        names = [one.name for one in assignments]
        return Table(
            ["Username", *names], self._lines(roster, ("username",), len(names)), "utf-8-sig", quoted=True
        )


class BrightspaceExporter(Exporter):
    """Brightspace's grades: OrgDefinedId, Username, and `Day 26 Points Grade <Numeric MaxPoints:30>`.

    As D2L's help has it (Import grades); the last column, End-of-Line Indicator, holds # in every line.
    Without a table: these columns.
    """

    system = "Brightspace"
    kinds = ("username", "number")

    def is_column(self, heading: str, assignment: Assignment) -> bool:
        title, found, _ = heading.partition(" Points Grade")
        return bool(found) and squeezed(title) == squeezed(assignment.name)

    def most(self, table: Table, place: int) -> float | None:
        found = re.search(r"MaxPoints:\s*([\d.,]+)", table.header[place])
        return number_in(found[1]) if found else None

    def fresh(self, roster: Roster, assignments: Sequence[Assignment]) -> Table:
        columns = [f"{one.name} Points Grade" for one in assignments]
        rows = self._lines(roster, ("number", "username"), len(columns))
        rows = [[number and f"#{number}", user and f"#{user}", *rest, "#"] for number, user, *rest in rows]
        return Table(["OrgDefinedId", "Username", *columns, "End-of-Line Indicator"], rows)


def number_in(text: str) -> float | None:
    """The first number in a text, whichever mark divides it; of several marks the last one does."""
    found = re.search(r"\d+(?:[.,]\d+)*", text)
    if not found:
        return None
    *whole, part = re.split("[.,]", found[0])
    return float(f"{''.join(whole)}.{part}") if whole else float(part)
