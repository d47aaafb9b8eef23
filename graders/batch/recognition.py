"""Tells which cell of a submitted notebook is which cell of the released one, and puts back what is missing.

Students' editors rename, strip, copy and delete. A released cell is known by nbgrader's mark, then by its
id, then by what it holds: its locked text, the names that it defines, its neighbours. What is likeliest is
graded; where that is a guess, a person is asked.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import re
import textwrap
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from graders.batch import bounds
from graders.batch.submission import Submitted, fields_of, shown

#: The schema of nbgrader's cell metadata that is written.
SCHEMA = 3
_NOTHING = object()
#: Blanks that a page puts in the place of others, and marks that nobody sees.
_BLANKS = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u200b": "", "\u2060": "", "\ufeff": ""})
#: Where code begins or ends in a text.
_FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})\s*([\w{}.+-]*)\s*$")
#: Lines of IPython's: a magic, a command, a question; and one that keeps what a command says.
_OF_IPYTHON = re.compile(r"^([ \t]*)(?:[%!?].*|[\w.]+\?{1,2}[ \t]*)$", re.MULTILINE)
_SAID_TO_IT = re.compile(r"^([ \t]*+\w[\w, ]*+=[ \t]*+)[!%].*$", re.MULTILINE)
#: Functions by which a cell shows a text.
_SHOWS = frozenset({"print", "display", "Markdown", "HTML", "Latex", "Math"})
#: What makes lines comments.
_COMMENTED = re.compile(r"^[ \t]*+#+ ?", re.MULTILINE)
#: Where a function or a class begins.
_DEFINES = re.compile(r"^[ \t]*+(?:async +)?(?:def|class) ", re.MULTILINE)
#: A name in a text's code: `map`, `map(f, values)`, `def map(f, values)`.
_CODE = re.compile(r"`(?:def\s+)?(\w+)\s*[(`]")


@dataclass(frozen=True)
class ReleasedCell:
    """A cell as the gradebook knows it from the release. points: None where it carries none.

    id, given: the cell's id, and its text as students got it, without hidden tests, where the released
    notebook still lies in the course.
    """

    name: str
    kind: str
    locked: bool
    source: str
    checksum: str
    grade: bool
    solution: bool
    task: bool
    points: float | None
    id: str | None = None
    given: str | None = None

    @cached_property
    def defines(self) -> frozenset[str]:
        """The names that its text defines, for the student to fill in; none where it is locked."""
        return frozenset() if self.locked or self.kind != "code" else defined_in(self.source)

    @cached_property
    def texts(self) -> frozenset[str]:
        """Its texts as they are compared, without what editors change."""
        return frozenset({plain(self.source), plain(self.source if self.given is None else self.given)})

    @property
    def by_hand(self) -> bool:
        """Whether it is an answer that a person grades."""
        return self.grade and self.solution


@dataclass(frozen=True)
class Release:
    """A notebook as it was released: its cells by name, in their order, and its kernel.

    text: the Markdown that the instructor wrote in it. unmarked: the texts, as they are compared, of its
    cells without a mark. asked: built-in names that students are to define. shared: texts of its cells that
    are in other notebooks of the assignment as well.
    """

    cells: Mapping[str, ReleasedCell]
    kernel: dict[str, Any] | None = None
    text: frozenset[str] = frozenset()
    unmarked: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()

    @cached_property
    def repeated(self) -> frozenset[str]:
        """The texts of places for a person to read that are those of others, too: where it stands tells."""
        given = Counter(text for one in self.cells.values() if one.by_hand for text in one.texts)
        return frozenset(text for text, count in given.items() if count > 1)

    @property
    def with_points(self) -> frozenset[str]:
        """The names of the cells that carry points."""
        return frozenset(name for name, one in self.cells.items() if one.points is not None)

    @cached_property
    def to_define(self) -> frozenset[str]:
        """The names that its tests use and that only a student can define."""
        used: set[str] = set()
        known = set(dir(builtins))
        for one in self.cells.values():
            if one.locked and one.kind == "code":
                used |= _used_in(one)
                known |= _bound_in(one)
        return frozenset(used - known).union(*(one.defines for one in self.cells.values()))

    @property
    def to_answer(self) -> frozenset[str]:
        """The names of the cells that are for the student to fill in."""
        return frozenset(name for name, one in self.cells.items() if one.solution and not one.locked)


def asked_for(cells: Mapping[str, ReleasedCell], lying: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Names of Python's own that students are to define: in a text to fill in, or before an empty one.

    lying: all cells of the released notebook, in their order.
    """
    asked = set().union(*(one.defines for one in cells.values()))
    said = ""
    for cell in lying:
        one = _marked(cell, cells)
        if one and one.solution and one.kind == "code" and not one.defines:
            asked |= set(_CODE.findall(said))
        said = cell["source"] if cell["cell_type"] == "markdown" else said
    if any("__eq__" in cell["source"] for cell in lying):
        asked.add("__eq__")
    return frozenset(asked & {*dir(builtins), "__eq__"})


def told_apart(released: Mapping[str, Release]) -> Mapping[str, Release]:
    """The notebooks of an assignment, which know now what they have in common."""
    if len(released) < 2:
        return released
    texts = Counter(
        text
        for release in released.values()
        for text in frozenset().union(*(one.texts for one in release.cells.values()))
    )
    shared = frozenset(text for text, count in texts.items() if count > 1)
    return {name: replace(release, shared=shared) for name, release in released.items()}


@dataclass
class Match:
    """A submitted notebook beside the released one.

    known: how many released cells were found in it. telling: whether one of them is of this notebook alone,
    as answers and tests are, and cells that set up are not; places: where those stand. fits: how many locked
    cells have a text that they have in this notebook alone. strangers: the names of cells of another one.
    answers: those that were worked on. claimed: tests that show all of their points in what was handed in.
    python: the version that it was run by there. doubtful: cells whose points a person should look at.
    """

    notebook: dict[str, Any]
    notes: list[str]
    known: int = 0
    telling: bool = False
    places: frozenset[int] = frozenset()
    fits: int = 0
    strangers: list[str] = field(default_factory=list)
    claimed: frozenset[str] = frozenset()
    python: str = ""
    answers: frozenset[str] = frozenset()
    doubtful: set[str] = field(default_factory=set)


def restore(submitted: Submitted, release: Release) -> Match:
    """Make the released cells what the gradebook says they are: their points, their kind, locked text.

    A cell that is there several times counts once, the last time. Cells that claim to be released and are
    not lose the claim. Cells without a mark are recognized; those that are missing and that carry points or
    are locked are put back. What is changed is noted where it was not in order.
    """
    match = Match(submitted.notebook, submitted.notes, python=submitted.python)
    cells, definitions = match.notebook["cells"], _Definitions()
    there = _claimed(cells, release, match)
    guessed, by_text = _recognize(cells, release, there, match, definitions)
    match.doubtful |= guessed
    known = there.keys() - guessed
    match.known = len(known)
    common = {name for name in by_text if _is_common(there[name][0], release.cells[name], release)}
    of_its_own = {id(there[name][0]) for name in known & (release.with_points | release.to_answer) - common}
    match.places = frozenset(place for place, cell in enumerate(cells) if id(cell) in of_its_own)
    match.telling = bool(of_its_own)
    match.fits = sum(_has_its_own_text(there[name][0], release.cells[name], release) for name in known)
    match.claimed = frozenset(
        name for name, (cell, _) in there.items() if _is_claimed(cell, submitted, release.cells[name])
    )
    match.answers = frozenset(
        name
        for name, (cell, _) in there.items()
        if not release.cells[name].locked and _is_worked_on(cell, release.cells[name])
    )
    for name, (cell, form) in there.items():
        one = release.cells[name]
        written = cell["source"]
        _put_back(cell, form, one, match.notes)
        if one.locked and _is_work(written, one):
            _set_beside(cells, cell, written, match.notes)
        if not one.locked:
            match.doubtful |= _out_of_fences(cell, one, release, match.notes)
    _add_missing(cells, release, {name: cell for name, (cell, _) in there.items()}, match, definitions)
    _set_up_first(cells, release, match.notes)
    match.doubtful |= _answered_elsewhere(cells, release, match)
    match.doubtful |= _defined_elsewhere(cells, release, match, definitions)
    if release.kernel:
        match.notebook["metadata"]["kernelspec"] = release.kernel
    return match


#: Submitted cells by the names of the released ones, with nbgrader's mark on them, if there was one.
_There = dict[str, tuple[dict[str, Any], Mapping[str, Any] | None]]


def _claimed(cells: Sequence[dict[str, Any]], release: Release, match: Match) -> _There:
    """The cells that have nbgrader's mark, which is taken off all of them."""
    there: _There = {}
    notes = match.notes
    for cell in reversed(cells):
        form = cell["metadata"].pop("nbgrader", _NOTHING)
        if form is _NOTHING:
            continue
        name = form.get("grade_id") if isinstance(form, Mapping) else None
        if not isinstance(name, str) or name not in release.cells:
            if isinstance(form, Mapping) and (
                form.get("grade") or form.get("solution") or form.get("locked")
            ):
                match.strangers.insert(0, shown(str(name)[:60]))
            continue
        if name in there:
            one, which = release.cells[name], "last one"
            if one.by_hand and not _is_worked_on(there[name][0], one) and _is_worked_on(cell, one):
                there[name], which = (cell, form), "last one in which something was written"
            notes.append(f"The cell {name} is there more than once; the {which} counts.")
            continue
        there[name] = cell, form
    if match.strangers:
        first = ", ".join(match.strangers[:5])
        more = f" and {len(match.strangers) - 5} more" if len(match.strangers) > 5 else ""
        notes.append(f"Cells have names that none of this notebook has: {first}{more}.")
    return there


def _recognize(
    cells: Sequence[dict[str, Any]], release: Release, there: _There, match: Match, definitions: _Definitions
) -> tuple[set[str], set[str]]:
    """Find the released cells that have lost their mark; they are added to `there`.

    Returns those guessed, and those of which only their text tells.
    """
    left = {name: one for name, one in release.cells.items() if name not in there}
    taken = {id(cell) for cell, _ in there.values()}
    found: list[str] = []
    guessed: set[str] = set()
    by_text: set[str] = set()

    def look(is_it: Callable[[ReleasedCell, dict[str, Any]], bool], *, of_any_kind: bool = False) -> None:
        """Of several cells that could be it, the last one is, as where marks are there more than once."""
        for name, one in reversed(left.items()):
            for cell in reversed(cells):
                fits = of_any_kind or cell["cell_type"] == one.kind
                if fits and id(cell) not in taken and is_it(one, cell):
                    there[name] = cell, None
                    taken.add(id(cell))
                    found.append(name)
                    break
        for name in found:
            left.pop(name, None)

    if left:
        look(lambda one, cell: one.id is not None and cell["id"] == one.id, of_any_kind=True)
    if left:
        texts = {id(cell): plain(cell["source"]) for cell in cells if id(cell) not in taken}
        before = len(found)
        look(lambda one, cell: bool(texts[id(cell)]) and texts[id(cell)] in one.texts - release.repeated)
        by_text = set(found[before:])
        look(lambda one, cell: bool(one.defines) and one.defines <= definitions.of(cell))
        look(lambda one, cell: bool(one.defines) and bool(one.defines & definitions.of(cell)))
        own = {id(cell) for cell in cells if _is_own(cell, release)}
        look(lambda one, cell: id(cell) in own and bool(one.defines & definitions.of(cell)), of_any_kind=True)
        placed = _by_neighbours(cells, release, left, there, taken)
        untouched = {name for name in placed if plain(there[name][0]["source"]) in left[name].texts}
        by_text |= untouched
        guessed = placed - untouched
        found += placed
    if found:
        match.notes.append(
            f"{len(found)} of the {len(release.cells)} released cells had lost nbgrader's mark, and were "
            "recognized by what they hold."
        )
    return guessed, by_text


def _is_common(cell: Mapping[str, Any], one: ReleasedCell, release: Release) -> bool:
    """Whether the text of a cell may stand in any notebook, as a place to fill in does, or a lone comment."""
    text = plain(cell["source"])
    tree = parsed(text) if one.kind == "code" else None
    is_empty = tree is not None and not tree.body
    return text in release.shared or is_empty or not (one.locked or one.defines)


def _has_its_own_text(cell: Mapping[str, Any], one: ReleasedCell, release: Release) -> bool:
    """Whether a locked cell has its text as it was released, and no other notebook has the same."""
    return one.locked and plain(cell["source"]) in one.texts - release.shared


def _by_neighbours(
    cells: Sequence[dict[str, Any]],
    release: Release,
    left: Mapping[str, ReleasedCell],
    there: _There,
    taken: set[int],
) -> set[str]:
    """Answers that a person grades, by the cells that stand before and after them; added to `there`."""
    places = {id(cell): place for place, cell in enumerate(cells)}
    guessed: set[str] = set()
    order = list(release.cells)
    for position, name in enumerate(order):
        one = release.cells[name]
        if name not in left or one.locked or one.points is None:
            continue
        before = [places[id(there[other][0])] for other in order[:position] if other in there]
        after = [places[id(there[other][0])] for other in order[position + 1 :] if other in there]
        between = cells[max(before, default=-1) + 1 : min(after, default=len(cells))]
        free = [cell for cell in between if id(cell) not in taken and cell["cell_type"] == one.kind]
        free = [cell for cell in free if _is_own(cell, release)]
        if free:
            there[name] = free[0], None
            taken.add(id(free[0]))
            guessed.add(name)
    return guessed


def _put_back(
    cell: dict[str, Any], form: Mapping[str, Any] | None, one: ReleasedCell, notes: list[str]
) -> None:
    if cell["cell_type"] != one.kind:
        notes.append(f"The cell {one.name} had been made a {cell['cell_type']} cell.")
        cell["cell_type"] = one.kind
        for name in ("outputs", "execution_count", "attachments"):
            cell.pop(name, None)
        cell |= fields_of(one.kind)
    if form is not None and one.points is not None and form.get("points") != one.points:
        notes.append(f"The points of the cell {one.name} had been changed.")
    if one.locked and cell["source"] != one.source:
        if plain(cell["source"]) not in one.texts:
            notes.append(f"The text of the locked cell {one.name} had been changed; it was put back.")
        cell["source"] = one.source
    cell["metadata"]["nbgrader"] = _mark_of(one)


def _out_of_fences(cell: dict[str, Any], one: ReleasedCell, release: Release, notes: list[str]) -> set[str]:
    """Have code run that was written as in a text, between lines of backticks or moved in.

    Returns the tests that depend on it: it has not run like this before.
    """
    if one.kind != "code" or parsed(cell["source"]):
        return set()
    code = code_in(cell["source"])
    if not code or not parsed(code):
        return set()
    cell["source"] = code
    notes.append(f"The code of {one.name} stood in a text; it was taken out of it, and run.")
    names = defined_in(code)
    tests = (test for test in release.cells.values() if test.grade and test.locked)
    return {test.name for test in tests if names & _used_in(test)}


def _set_up_first(cells: list[dict[str, Any]], release: Release, notes: list[str]) -> None:
    """Locked code without points, such as imports, runs before what it was released before."""
    order = {name: place for place, name in enumerate(release.cells)}
    for name, one in release.cells.items():
        if not one.locked or one.kind != "code" or one.points is not None:
            continue
        places = {
            known.name: place for place, cell in enumerate(cells) if (known := _marked(cell, release.cells))
        }
        later = [
            place
            for other, place in places.items()
            if order[other] > order[name] and place < places[name] and release.cells[other].kind == "code"
        ]
        if later:
            cells.insert(min(later), cells.pop(places[name]))
            notes.append(
                f"The locked cell {name} stood behind cells that come after it; it was run before them."
            )


def _made(kind: str, name: str, metadata: dict[str, Any], source: str) -> dict[str, Any]:
    """A cell that was not handed in. name: its id."""
    return {"cell_type": kind, "id": name, "metadata": metadata, "source": source, **fields_of(kind)}


def _is_worked_on(cell: Mapping[str, Any], one: ReleasedCell) -> bool:
    """Whether the text of a cell is another one than it was released with."""
    return plain(cell["source"]) not in one.texts


def _is_own(cell: Mapping[str, Any], release: Release) -> bool:
    """Whether a cell without a mark is the student's, and holds something."""
    text = plain(cell["source"])
    return "nbgrader" not in cell["metadata"] and bool(text) and text not in release.unmarked


def _is_claimed(cell: Mapping[str, Any], submitted: Submitted, one: ReleasedCell) -> bool:
    """Whether a test, with all that it tests in it, shows all of its points in what was handed in."""
    if not one.locked or not one.points or one.given is None or plain(one.given) != plain(one.source):
        return False
    return plain(cell["source"]) in one.texts and submitted.shown.get(cell["id"], 0) >= one.points


def _is_work(written: str, one: ReleasedCell) -> bool:
    """Whether what stood in a locked cell may be for an answer: it defines or imports something, or has words
    of its own.
    """
    if plain(written) in one.texts:
        return False
    if one.kind == "code":
        there = defined_in(one.source) | _imported_in(one.source)
        return not there.issuperset(defined_in(written) | _imported_in(written))
    lines = set(plain(one.source).split("\n"))
    return any(re.search(r"\w", line) for line in plain(written).split("\n") if line not in lines)


def _set_beside(cells: list[dict[str, Any]], cell: dict[str, Any], written: str, notes: list[str]) -> None:
    """Keep what was written into a locked cell: code before it, which may be for it, and text behind it."""
    is_code = cell["cell_type"] == "code"
    ids = {one["id"] for one in cells}
    own = _made(cell["cell_type"], _free("own", ids), {}, written)
    cells.insert(_place_of(cell, cells) + (not is_code), own)
    where = f"{'before' if is_code else 'behind'} {cell['metadata']['nbgrader']['grade_id']}"
    notes.append(f"What was written into a locked cell stands in a cell of its own {where}.")


def _answered_elsewhere(cells: Sequence[dict[str, Any]], release: Release, match: Match) -> set[str]:
    """Answers for a person that are as they were released, while a cell of the student's own stands by.

    It stands behind them, or before them: behind the question, or the question itself. Nobody can tell where
    the released notebook no longer lies in the course.
    """
    if all(one.id is None for one in release.cells.values()):
        return set()
    marked = [(place, one) for place, cell in enumerate(cells) if (one := _marked(cell, release.cells))]
    ends = [(-1, None), *marked, (len(cells), None)]
    found: set[str] = set()
    for (start, question), (place, one), (end, _) in zip(ends, marked, ends[2:], strict=False):
        if not one.by_hand or one.name in match.answers:
            continue
        before = cells[start + 1 : place]
        if not (question and question.locked and question.kind == "markdown"):
            asked = (number for number, cell in enumerate(before) if _is_question(cell, release))
            before = before[next(asked, len(before)) :]
        beside = [*before, *cells[place + 1 : end]]
        if any(_is_own(cell, release) and _may_answer(cell, one) for cell in beside):
            found.add(one.name)
            match.notes.append(f"{one.name} is as it was released, but what stands by it may be the answer.")
    return found


def _is_question(cell: Mapping[str, Any], release: Release) -> bool:
    """Whether a text without a mark is the instructor's, as it was or with something written into it."""
    lines = set(plain(cell["source"]).split("\n"))
    given = (text.split("\n") for text in release.unmarked if text)
    return cell["cell_type"] == "markdown" and any(lines.issuperset(text) for text in given)


def _may_answer(cell: Mapping[str, Any], one: ReleasedCell) -> bool:
    """Whether a cell may hold an answer for a person, by what kind it is of, and what is written in it."""
    if cell["cell_type"] in (one.kind, "raw"):
        return True
    if cell["cell_type"] == "markdown":
        return bool(code_in(cell["source"]))
    return _is_prose(cell["source"])


def _is_prose(source: str) -> bool:
    """Whether words were written where code belongs: as they are, as comments, or only to be printed."""
    tree = parsed(source)
    if tree and not tree.body:
        said = _COMMENTED.sub("", source)
        return len(said.split()) > 1 and not parsed(textwrap.dedent(said))
    statements = [node for node in tree.body if not isinstance(node, ast.ImportFrom)] if tree else []
    return not tree or (bool(statements) and all(map(_only_says, statements)))


def _only_says(node: ast.stmt) -> bool:
    """Whether a statement is a text, shows texts, or keeps one under a name."""
    return isinstance(node, ast.Expr | ast.Assign) and node.value is not None and _is_said(node.value)


def _is_said(node: ast.expr) -> bool:
    """Whether an expression is a text, or a call by which texts are shown."""
    if isinstance(node, ast.Call):
        shows = isinstance(node.func, ast.Name) and node.func.id in _SHOWS
        return shows and bool(node.args) and all(map(_is_said, node.args))
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value.split()) > 2


def _defined_elsewhere(
    cells: Sequence[dict[str, Any]], release: Release, match: Match, definitions: _Definitions
) -> set[str]:
    """Tests of what is not there yet when they run, or is as it was released, while some cell defines it.

    That cell stands behind the test, or before the one that was left empty; it was run in another order.
    """
    given = frozenset(release.unmarked).union(*(one.texts for one in release.cells.values()))
    is_work = [plain(cell["source"]) not in given for cell in cells]
    brought: dict[str, list[int]] = defaultdict(list)
    for place, cell in enumerate(cells):
        for name in definitions.brought_by(cell):
            brought[name].append(place)
    late: dict[str, set[str]] = {}
    told: dict[str, set[str]] = {}
    for end, cell in enumerate(cells):
        test = _marked(cell, release.cells)
        if not (test and test.grade and test.locked and test.kind == "code"):
            continue
        waiting = sorted(_used_in(test) & release.to_define)
        for name in waiting:  # and names that are met on the way
            places = brought[name]
            run = [place for place in places if place < end and not definitions.is_only_said(cells[place])]
            in_force = max(run, default=None)
            if (in_force is None or not is_work[in_force]) and any(is_work[place] for place in places):
                is_text = all(definitions.is_only_said(cells[place]) for place in places if is_work[place])
                (told if is_text else late).setdefault(test.name, set()).add(name)
            elif in_force is not None:
                needed = definitions.used_by(cells[in_force]) & release.to_define
                waiting += sorted(needed.difference(waiting))
    for test, names in told.items():
        match.notes.append(
            f"{', '.join(sorted(names))}: a text or a comment has code for this, but no cell before {test}."
        )
    for test, names in late.items():
        match.notes.append(
            f"{', '.join(sorted(names))}: a cell defines this, but not in an order in which {test} meets it."
        )
    return late.keys() | told.keys()


def _marked(cell: Mapping[str, Any], released: Mapping[str, ReleasedCell]) -> ReleasedCell | None:
    """The released cell that a cell's mark names, if it has one."""
    return released.get(cell["metadata"].get("nbgrader", {}).get("grade_id", ""))


def _mark_of(one: ReleasedCell) -> dict[str, Any]:
    """nbgrader's metadata of a released cell."""
    mark: dict[str, Any] = {
        "cell_type": one.kind,
        "checksum": one.checksum,
        "grade": one.grade,
        "grade_id": one.name,
        "locked": one.locked,
        "schema_version": SCHEMA,
        "solution": one.solution,
        "task": one.task,
    }
    return mark if one.points is None else {**mark, "points": one.points}


def _add_missing(
    cells: list[dict[str, Any]],
    release: Release,
    there: dict[str, dict[str, Any]],
    match: Match,
    definitions: _Definitions,
) -> None:
    """Put back the cells that carry points or are locked and that are not there.

    Each follows the released cell before it, or what defines the names that it asks for, if that comes later.
    """
    ids = {cell["id"] for cell in cells}
    added: list[str] = []
    place = -1
    for name, one in release.cells.items():
        if name in there:
            place = _place_of(there[name], cells)
            continue
        if one.points is None and not one.locked:
            continue
        place = _defined_at(cells, place, _used_in(one) - defined_in(one.source), definitions)
        cell = _made(one.kind, _free(one.id or name, ids), {"nbgrader": _mark_of(one)}, one.source)
        place += 1
        cells.insert(place, cell)
        there[name] = cell
        added.append(name)
    if added:
        more = f" and {len(added) - 10} more" if len(added) > 10 else ""
        match.notes.append(f"Released cells were missing and were put back: {', '.join(added[:10])}{more}.")


def _place_of(cell: dict[str, Any], cells: Sequence[dict[str, Any]]) -> int:
    return next(place for place, one in enumerate(cells) if one is cell)


def _defined_at(
    cells: Sequence[dict[str, Any]], place: int, names: Iterable[str], definitions: _Definitions
) -> int:
    """The first place, from this one on, by which all of these names are defined that are so anywhere."""
    missing = set(names)
    for position, cell in enumerate(cells if missing else ()):
        if defined := missing & definitions.of(cell):
            missing -= defined
            place = max(place, position)
    return place


def _used_in(one: ReleasedCell) -> frozenset[str]:
    return _used_by(parsed(one.source)) if one.kind == "code" else frozenset()


def _bound_in(one: ReleasedCell) -> frozenset[str]:
    """All names that a cell's code gives a value to, anywhere in it."""
    tree = parsed(one.source)
    found: set[str] = set()
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).partition(".")[0])
    return frozenset(found)


def _free(wanted: str, ids: set[str]) -> str:
    """An id like this one that no cell has; it is taken from now on."""
    name = re.sub(r"[^A-Za-z0-9_-]", "-", wanted)[:50] or "cell"
    free = next(
        one for one in (name, *(f"{name}-{number}" for number in range(len(ids) + 1))) if one not in ids
    )
    ids.add(free)
    return free


def plain(source: str) -> str:
    """A text without what editors change on their own: ends of lines, blank lines around, kinds of blanks."""
    return "\n".join(line.rstrip() for line in source.translate(_BLANKS).splitlines()).strip("\n")


def code_in(text: str) -> str:
    """The code in a text: between lines of backticks, else what is moved in, else all, where that defines."""
    if (code := fenced(text)) or not _DEFINES.search(text):
        return code
    lines = text.expandtabs(4).splitlines()
    moved_in = [line for line in lines if line.startswith("    ") or not line.strip()]
    for code in (textwrap.dedent("\n".join(moved_in)), text):
        if _DEFINES.search(code) and parsed(code):
            return code
    return ""


def fenced(source: str) -> str:
    """The code in a text that stands between lines of three backticks, or tildes, or more."""
    code: list[str] = []
    fence = ""
    for line in source.splitlines():
        mark = _FENCE.match(line)
        if not fence and mark:
            fence = mark[1]
        elif fence and mark and not mark[2] and mark[1].startswith(fence):
            fence = ""
        elif fence:
            code.append(line)
    return "\n".join(code)


@dataclass(frozen=True)
class _Names:
    """What code does with names. said: whether it stands in a text or in comments, and is not run."""

    defined: frozenset[str]
    imported: frozenset[str]
    used: frozenset[str]
    said: bool


class _Definitions:
    """What cells define and use, looked up once; of cells past so much text, nothing is known.

    Their trees are not kept: those of all cells take some hundred megabytes.
    """

    def __init__(self) -> None:
        self._known: dict[int, _Names] = {}
        self._left = bounds.SEARCHED_LIMIT

    def of(self, cell: dict[str, Any]) -> frozenset[str]:
        """The names that a cell defines, or that its text or its comments have code for."""
        return self._names_in(cell).defined

    def brought_by(self, cell: dict[str, Any]) -> frozenset[str]:
        """The same, and the names that it imports."""
        names = self._names_in(cell)
        return names.defined | names.imported

    def used_by(self, cell: dict[str, Any]) -> frozenset[str]:
        """The names that a cell's code uses."""
        return self._names_in(cell).used

    def is_only_said(self, cell: dict[str, Any]) -> bool:
        """Whether nothing of a cell is run: a text, or comments alone."""
        return self._names_in(cell).said

    def _names_in(self, cell: dict[str, Any]) -> _Names:
        if id(cell) not in self._known:
            source, said = cell["source"], cell["cell_type"] == "markdown"
            self._left -= len(source)
            tree = None
            if said:
                code = code_in(source) if self._left >= 0 else ""
                tree = parsed(code) if code else None
            elif self._left >= 0 and (tree := parsed(source)) and not tree.body:
                said = True
                code = textwrap.dedent(_COMMENTED.sub("", source))
                tree = parsed(code) if _DEFINES.search(code) else None
            self._known[id(cell)] = _Names(_defined_by(tree), _imported_by(tree), _used_by(tree), said)
        return self._known[id(cell)]


def defined_in(source: str) -> frozenset[str]:
    """The functions, classes and names that a cell's text defines outside of any function."""
    return _defined_by(parsed(source))


def _defined_by(tree: ast.Module | None) -> frozenset[str]:
    found: set[str] = set()
    waiting: list[ast.AST] = list(tree.body) if tree else []
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}
        elif isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            waiting += ast.iter_child_nodes(node)
    return frozenset(found)


def _imported_in(source: str) -> frozenset[str]:
    """The names that a cell's text imports outside of any function; `*` where it is all of a module."""
    return _imported_by(parsed(source))


def _imported_by(tree: ast.Module | None) -> frozenset[str]:
    nodes = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)] if tree else []
    return frozenset((alias.asname or alias.name).partition(".")[0] for node in nodes for alias in node.names)


def _used_by(tree: ast.Module | None) -> frozenset[str]:
    return (
        frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)) if tree else frozenset()
    )


def parsed(source: str) -> ast.Module | None:
    """The tree of a cell's Python, its lines for IPython left out."""
    if len(source) > bounds.PARSED_LIMIT:
        return None
    for text in _readings(source):
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            return ast.parse(text)
    return None


def _readings(source: str) -> Iterator[str]:
    """A cell's text as Python, in the ways in which IPython would read it."""
    yield source
    yield "\n".join(line for line in source.splitlines() if line.lstrip()[:1] not in "%!?")
    kept = _SAID_TO_IT.sub(r"\1None", _OF_IPYTHON.sub(r"\1pass", source))
    if (other := textwrap.dedent(kept)) != source:
        yield other
