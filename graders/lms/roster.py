"""Who is who: which student of nbgrader's has which names and ids in a learning management system.

A roster is any table that has a student a line: one of one's own, or what a system exports as it is (Moodle's
grading worksheet, Canvas's gradebook, Blackboard's grade center, Brightspace's classlist or grades). Several
are joined by what they share. Whoever cannot be told apart from somebody else is nobody: a person has to
decide.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from graders.lms.tables import Table, read

#: What tells people apart, and the headings under which it stands. `participant` is Moodle's number of a
#: student in one assignment; `lms_id` the number that a system has for a user; `number` the institution's.
IDS: Mapping[str, tuple[str, ...]] = {
    "participant": ("Identifier", "participant_id"),
    "lms_id": ("lms_id", "lms_user_id"),
    "username": ("Username", "SIS Login ID"),
    "number": ("ID number", "SIS User ID", "OrgDefinedId", "Org Defined ID", "Student ID"),
    "email": ("Email address", "Email"),
}
_FULL = ("Full name", "Student", "Name")
_FIRST, _LAST = ("First name", "FirstName", "first_name"), ("Last name", "LastName", "last_name", "Surname")
#: What stands for nbgrader's own name of a student where no column says it.
_STAND_INS = ("username", "number", "email")
#: Moodle's column with the time at which something was handed in.
_HANDED_IN = ("Last modified (submission)",)
_NO_NAME = 'has characters that cannot be in the name of a folder (/ \\ < > " & ` or unprintable ones)'


class Unusable(Exception):
    """A roster that cannot be used; the text is a sentence that says why."""


class Nobody(Exception):
    """It cannot be told whose something is; the text says why, as the end of a sentence."""


@dataclass
class Person:
    """A student by nbgrader's name, what else they are called, and by which ids they are known."""

    student: str
    names: set[str] = field(default_factory=set)
    ids: dict[str, str] = field(default_factory=dict)
    handed_in: str = ""

    def is_called(self, name: str) -> bool:
        return squeezed(name) in self.names


@dataclass
class Roster:
    """The students of a course. called_by: the heading of the column that gave them nbgrader's names."""

    people: list[Person]
    called_by: str = "student_id"
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._by_id: dict[tuple[str, str], list[Person]] = defaultdict(list)
        self._by_name: dict[str, list[Person]] = defaultdict(list)
        self._by_folder: dict[str, list[Person]] = defaultdict(list)
        for person in self.people:
            for kind, value in person.ids.items():
                self._by_id[kind, value.casefold()].append(person)
            for name in person.names:
                self._by_name[name].append(person)
            self._by_folder[folded(person.student)].append(person)

    def with_id(self, kind: str, value: str) -> list[Person]:
        return self._by_id.get((kind, value.casefold()), [])

    def has(self, kind: str) -> bool:
        """Whether anybody has an id of this kind."""
        return any(kind in person.ids for person in self.people)

    def person(self, kind: str, value: str, name: str) -> Person:
        """Whoever has this id, and is called so; by the name alone, if nobody has the id. Raises Nobody.

        name: empty where the system says none. An id and a name that contradict each other are nobody's.
        """
        known = self.with_id(kind, value)
        if len(known) > 1:
            raise Nobody(f"{len(known)} students of the roster have the {_said(kind)} {value}")
        if known:
            (person,) = known
            if name and person.names and not any(map(person.is_called, _with_groups(name))):
                raise Nobody(f"the roster has another name for the {_said(kind)} {value} than {name!r}")
            return self.only(person)
        called = self._by_name.get(squeezed(name), []) if squeezed(name) else []
        if not called:
            who = f"{name!r} and no {_said(kind)} {value}" if name else f"no {_said(kind)} {value}"
            raise Nobody(f"the roster has no {who}" if name else f"the roster has {who}")
        if len(called) > 1:
            raise Nobody(
                f"{len(called)} students of the roster are called {name!r}, "
                f"and none has the {_said(kind)} {value}"
            )
        (person,) = called
        if kind in person.ids:
            raise Nobody(f"{name!r} has another {_said(kind)} in the roster than {value}")
        return self.only(person)

    def only(self, person: Person) -> Person:
        """This person, if nobody else would get the same folder. Raises Nobody."""
        same = self._by_folder[folded(person.student)]
        if len(same) > 1:
            raise Nobody(f"{len(same)} students of the roster would get the folder {person.student}")
        if not is_folder_name(person.student):
            raise Nobody(f"{person.student!r} {_NO_NAME}")
        return person


def _with_groups(name: str) -> Iterator[str]:
    """A name, and what it is if a group's stands before it: Moodle writes `Team 7-Jane Doe`."""
    yield name
    while "-" in name:
        name = name.partition("-")[2]
        yield name


def _said(kind: str) -> str:
    return {"participant": "participant number", "lms_id": "id"}.get(kind, kind)


def folded(student: str) -> str:
    """What two names of folders have in common that some file systems take for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", student).casefold())


def squeezed(name: str) -> str:
    """A name's letters and digits alone: systems drop blanks and marks, and accents come in two forms."""
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(one for one in text if unicodedata.category(one)[0] in "LMN")


def is_folder_name(student: str) -> bool:
    """Whether a student's folder may have this name, wherever the course lies and whatever page shows it."""
    fine = student.isprintable() and not set(student) & set('/\\<>"&`:*?|') and student == student.strip()
    return (
        fine
        and 0 < len(student.encode()) <= 200
        and not student.startswith(".")
        and not student.endswith(".")
    )


def read_rosters(paths: Sequence[Path]) -> Roster:
    """The students in these tables. Raises Unusable and NoTable.

    Nbgrader's name of a student is in the column `student_id` (or `id`); without it, the user name, the
    institution's number or the e-mail address is taken, whatever a table has first.
    """
    tables = [(path, read(path)) for path in paths]
    tables.sort(key=lambda item: _own_column(item[1]) is None)  # the names are said before they are used
    problems: list[str] = []
    people: list[Person] = []
    called_by = ""
    for position, (path, table) in enumerate(tables):
        column, heading = _name_column(table)
        if position == 0:
            if column is None:
                raise Unusable(
                    f"{path.name} has no column for nbgrader's names of the students: student_id, or a user "
                    "name, a number or an e-mail address."
                )
            called_by = heading
        names_them = position == 0 or heading == called_by or _own_column(table) is not None
        found = [_person_of(table, row, column if names_them else None) for row in table.rows]
        lines = _merged([person for person in found if person])
        if position:
            _join(people, lines, path.name, problems)
            continue
        people = [person for person in lines if person.student]
        problems += [
            f"{path.name}: {_shown(person)} has nothing under {heading} and is left out."
            for person in lines
            if not person.student
        ]
    return Roster(people, called_by, problems)


def from_gradebook(students: Iterable[Mapping[str, object]]) -> Roster:
    """The students that nbgrader's gradebook knows, each as its columns."""
    people = []
    for row in students:
        first, last = str(row.get("first_name") or ""), str(row.get("last_name") or "")
        person = Person(str(row["id"]), _names("", first, last))
        for kind, column in (("email", "email"), ("lms_id", "lms_user_id")):
            if row.get(column):
                person.ids[kind] = str(row[column]).strip()
        people.append(person)
    return Roster(people, "id")


def _own_column(table: Table) -> int | None:
    """The column that nbgrader's own files have: `id`, which is not Canvas's `ID`."""
    if "id" in table.header:
        return table.header.index("id")
    return table.header.index("student_id") if "student_id" in table.header else None


def _name_column(table: Table) -> tuple[int | None, str]:
    column = _own_column(table)
    for kind in _STAND_INS if column is None else ():
        column = table.column(*IDS[kind])
        if column is not None and any(row[column].strip() for row in table.rows):
            break
        column = None
    return column, "" if column is None else table.header[column]


def id_columns(table: Table) -> dict[str, int]:
    """Where a table has which kind of id."""
    columns = {kind: column for kind, names in IDS.items() if (column := table.column(*names)) is not None}
    if "lms_id" not in columns and "ID" in table.header:
        columns["lms_id"] = table.header.index("ID")
    return columns


def _person_of(table: Table, row: Sequence[str], column: int | None) -> Person | None:
    """The student of a line; None where it is of none, as the line of points that Canvas puts first."""

    def cell(names: tuple[str, ...]) -> str:
        place = table.column(*names)
        return "" if place is None else row[place].strip()

    person = Person(id_of(row[column]) if column is not None else "")
    for kind, place in id_columns(table).items():
        value = id_of(row[place])
        if kind == "participant":
            value = "".join(one for one in value if one.isdigit())  # Participant 123
        if value:
            person.ids[kind] = value
    person.names = _names(cell(_FULL), cell(_FIRST), cell(_LAST))
    person.handed_in = cell(_HANDED_IN)
    return person if person.student or person.ids else None


def id_of(cell: str) -> str:
    """An id as it is meant: Brightspace writes # before it, so that no spreadsheet takes it for a number."""
    return cell.strip().removeprefix("#").strip()


def _names(full: str, first: str, last: str) -> set[str]:
    """All orders in which a system may write a name: what stands first may be any of its parts."""
    found = set()
    for said in (full, f"{first} {last}"):
        parts = said.split()
        found |= {squeezed("".join(parts[at:] + parts[:at])) for at in range(len(parts))}
    return found - {""}


def _join(people: list[Person], new: Sequence[Person], table: str, problems: list[str]) -> None:
    """Add what the lines of another table say to the students whom they are about."""
    known: dict[tuple[str, str], list[Person]] = defaultdict(list)
    for one in people:
        for key in _keys(one):
            known[key].append(one)
    for line in new:
        same = list({id(one): one for key in _keys(line) for one in known.get(key, [])}.values())
        if len(same) != 1:
            how = "no student" if not same else f"{len(same)} students"
            problems.append(f"{table}: {_shown(line)} is {how} of the roster by any id and is left out.")
            continue
        (person,) = same
        odd = [kind for kind, value in line.ids.items() if person.ids.setdefault(kind, value) != value]
        if odd:
            problems.append(f"{table}: {person.student} has another {_said(odd[0])} elsewhere in the roster.")
        person.names |= line.names
        person.handed_in = person.handed_in or line.handed_in


def _keys(person: Person) -> set[tuple[str, str]]:
    named = {("", person.student)} if person.student else set()
    return named | {(kind, value.casefold()) for kind, value in person.ids.items()}


def _merged(people: Sequence[Person]) -> list[Person]:
    """The same people, each once: a system lists whoever is in two sections twice."""
    kept: dict[tuple[str, frozenset[str], frozenset[tuple[str, str]]], Person] = {}
    for one in people:
        kept.setdefault((one.student, frozenset(one.names), frozenset(one.ids.items())), one)
    return list(kept.values())


def _shown(person: Person) -> str:
    return person.student or next(iter(person.ids.values()), "a line")
