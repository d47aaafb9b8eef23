"""Takes in what a student handed in: the released notebooks, by whatever name and wherever they lie in it.

A notebook of the released name counts. Where there is none, or where it was not worked on, what else lies
there is looked at: notebooks of other names, in other folders, in an archive, saved as text. What is
likeliest is graded; where another one might have been meant, a person is asked.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import itertools
import os
import re
import shutil
import stat
import unicodedata
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from nbgrader import utils

from graders.batch import bounds, submission
from graders.batch.elsewhere import Elsewhere
from graders.batch.recognition import Match, Release, defined_in, fenced, plain, restore, told_apart
from graders.batch.submission import (
    TIMESTAMP,
    Submitted,
    Unreadable,
    is_ignored,
    is_notebook,
    is_own_file,
    shown,
)
from graders.probing.process.protocol import DEEPEST

#: What the Formgrader's pages print of a student's name as it is, and would take for markup or for code.
_MARKUP = frozenset('<>"&\\`')
#: As much as is read of a timestamp, in bytes.
TIMESTAMP_LIMIT = 256
#: The share of the released cells from which on a notebook of any name is the released one beyond doubt.
ENOUGH = 0.5
#: What a file begins with, whatever it is called, that may be a notebook, and what is in all of them.
_BRACE = re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\s\0]*\{")
_MARKS = tuple('"nbformat"'.encode(one) for one in ("utf-8", "utf-16-le", "utf-16-be"))
#: What stands around a solution in a notebook of the instructor's, in nbgrader's own configuration.
_SOLVED = "BEGIN SOLUTION"
#: Where Jupyter keeps what was last saved by hand.
SAVED = ".ipynb_checkpoints"
#: Files that stand for one that was not handed in, by how their names end, and what they are.
_STANDS_FOR = {
    (".lnk", ".url", ".webloc", ".desktop"): "a shortcut to a file on the student's own computer",
    (".icloud", ".gcolab", ".gdoc", ".gsheet", ".cloud"): "a link to a file in the student's cloud",
    (".crdownload", ".part", ".partial", ".opdownload"): "a download that had not ended",
}
#: What marks the last part of an archive; what stands before it, if it may be a large one, and its length.
_END, _LARGE, _LARGE_LENGTH = b"PK\x05\x06", b"PK\x06\x06", 76
#: Other archives, which are not opened.
_OTHER_ARCHIVES = (".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz")
#: What may be a notebook in a form that is not run: text, which the names in it tell, and what is not read.
_SCRIPTS = (".py", ".md", ".rmd", ".qmd", ".txt")
_EXPORTED = (".html", ".htm", ".tex", *_SCRIPTS)
_PAPERS = (".pdf", ".docx", ".doc", ".odt", ".rtf", ".pages", ".ppt", ".pptx", ".odp")
_CLOSED = (*_PAPERS, *_OTHER_ARCHIVES)
#: What else may hold an answer to read: photos of paper, unless there are so many that they are data, and
#: texts that are not a tool's.
_PHOTOS, _DATA = (".jpg", ".jpeg", ".png", ".heic", ".heif", ".webp", ".tif", ".tiff"), 30
_TEXTS = (".txt", ".md", ".tex")
_OF_TOOLS = re.compile(r"(?:readme|requirements|license|changelog)\b.*", re.IGNORECASE)


@dataclass
class Submission:
    """One student's submission, read and restored.

    notes: what was odd about it, for the instructor. doubtful: by notebook, cells whose points a person
    should look at, since it is not sure what was meant to be handed in. asked: by notebook, names of Python's
    own that the instructor has students define. elsewhere: by notebook, how it ran before it was handed in.
    missing: notebooks that were not handed in beside others that were. root: the folder in which its notebook
    lay.
    """

    student: str
    notebooks: dict[str, dict[str, Any]]
    files: dict[str, bytes]
    notes: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    doubtful: dict[str, set[str]] = field(default_factory=dict)
    asked: dict[str, list[str]] = field(default_factory=dict)
    elsewhere: dict[str, Elsewhere] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    root: str = ""

    @property
    def kept(self) -> dict[str, bytes]:
        """The files that stay beside what was graded: every notebook there is taken for a graded one."""
        return {name: content for name, content in self.files.items() if not is_notebook(name)}


@dataclass(frozen=True)
class _Other:
    """A notebook that does not have the released name, or not in its place.

    place: its path in the submission, or in an archive of it. size: its bytes. archive: the archive's path.
    content: what gives its bytes, where it lies in the folder.
    """

    place: PurePosixPath
    size: int
    read: Callable[[], Submitted]
    archive: str | None = None
    content: Callable[[], bytes] | None = None

    def __str__(self) -> str:
        return shown(f"{self.archive}/{self.place}" if self.archive else str(self.place))


@dataclass(frozen=True)
class _Likeness:
    """How like the released notebook another one is, and what of it was worked on.

    known: the share of the released cells that is in it; places: where those stand that are of this notebook
    alone. fits: how many locked cells are as they were released, in it alone. sure: whether it can hardly be
    anything else.
    digest: of the work. instructors: whether it is what the instructor wrote, with its solutions, as it lies
    in a copy of a whole course.
    """

    other: _Other
    known: float
    fits: int
    sure: bool
    answers: frozenset[str]
    places: frozenset[int]
    digest: bytes
    instructors: bool = False


def take_in(
    student: str,
    folder: Path,
    released: Mapping[str, Release],
    ignored: Sequence[str],
    beside: Mapping[str, Path] = MappingProxyType({}),
) -> Submission:
    """What a student handed in, read without following a link, with everything put back that was released.

    released: the notebooks of the assignment by name. ignored: nbgrader's patterns of names that are no part
    of a submission. beside: the files that were released beside the notebooks, by their paths.
    """
    found = Submission(student, {}, {})
    released = told_apart(released)
    if shown(student) != student or _MARKUP & set(student):
        found.unreadable.append(
            "The name of the student's folder has characters that pages cannot show; rename it."
        )
        return found
    if folder.is_symlink() or folder.parent.is_symlink():
        found.unreadable.append("The submission is a symbolic link; links are not followed.")
        return found
    try:
        timestamp_in(folder)
    except (ValueError, OverflowError):
        found.notes.append(f"{TIMESTAMP} holds no time; the submission counts as handed in without one.")
    found.files = submission.data_files(folder, found.notes, ignored)
    named: dict[str, Match] = {}
    problems: dict[str, str] = {}
    in_place: dict[str, _Other] = {}
    unknown: dict[str, Match] = {}  # graded where there is nothing better
    for name, release in released.items():
        path = folder / f"{name}.ipynb"
        if os.path.lexists(path):
            try:
                match = _restored(submission.read(path), release)
                in_place[name] = _other_at(path, folder)
                if rather := _rather(in_place[name], match, name, released):
                    problems[name] = (
                        f"{name}.ipynb is another notebook: its locked cells are those of {rather}."
                    )
                elif match.telling:
                    named[name] = match
                else:
                    problems[name] = (
                        f"{name}.ipynb is another notebook: it has none of the cells of this one."
                    )
                    if not match.strangers:
                        unknown[name] = match
            except Unreadable as problem:
                problems[name] = str(problem)
                if (content := submission.archive_at(path)) is not None:
                    found.files[path.name] = content
                    problems[name] = f"{path.name} is an archive in which there is no such notebook."
    others = list(_notebooks_in(folder, released, ignored))
    wanting = {
        name: release
        for name, release in released.items()
        if name not in named or release.to_answer - named[name].answers
    }
    mentioned: set[_Other] = set()
    closed: list[str] = []  # archives that nobody can look into
    if wanting:
        others += _hidden_in(found, ignored, closed)
        others.sort(key=lambda other: not _called(other, wanting))  # of many, those are looked at first
        taken = {in_place[name]: set(match.places) for name, match in named.items()}
        among = [*_modest(others), *in_place.values()]
        mentioned = _look_further(found, named, problems, wanting, among, ignored, taken)
        untouched = {
            name: release for name, release in wanting.items() if not (name in named and named[name].answers)
        }
        if untouched and SAVED in ignored:
            saved = list(_modest(_notebooks_in(folder, {}, [one for one in ignored if one != SAVED])))
            saved = [other for other in saved if SAVED in other.place.parts]
            _look_further(found, named, problems, untouched, saved, ignored, {})
    for name in [name for name in unknown if name not in named]:
        more = (release for other, release in released.items() if other != name)
        if not any(_restored(in_place[name].read(), release).telling for release in more):
            named[name] = unknown[name]
    for name in released:
        found.files.pop(f"{name}.ipynb", None)  # an archive of this name
        if name in named:
            which = f"{name}.ipynb: " if len(released) > 1 else ""
            found.notes += [f"{which}{note}" for note in named[name].notes]
            found.notebooks[name] = named[name].notebook
            found.asked[name] = sorted(released[name].asked)
            found.elsewhere[name] = Elsewhere(named[name].claimed, named[name].python)
            forms = [] if named[name].answers else _other_forms(name, found, released, beside, closed)
            if forms:
                named[name].doubtful |= released[name].with_points
                found.notes.append(
                    f"{name}.ipynb holds no work, and {', '.join(forms[:3])} may; that is not run, and a "
                    "person should look."
                )
            else:
                named[name].doubtful |= _written_elsewhere(name, found, released[name], named[name], beside)
            if named[name].doubtful:
                found.doubtful[name] = named[name].doubtful
        elif name in problems:
            found.unreadable.append(problems[name])
        elif exported := _exported(found.files, released[name], name if named else ""):
            found.unreadable.append(
                f"There is no {name}.ipynb, but {', '.join(exported[:3])}, which may be the work in a form "
                "that is not run; it is not graded."
            )
        elif not named:
            found.unreadable.append(f"There is no {name}.ipynb, nor a notebook like it; it is not graded.")
            found.unreadable += _stand_ins(found.files)
        else:
            found.missing.append(name)
            found.notes.append(f"There is no {name}.ipynb; it counts as 0.")
    left_out = [other for other in others if other not in mentioned]
    found.notes += [
        f"{other} was not released; it is not graded." for other in left_out[: bounds.NOTES_LIMIT]
    ]
    _keep_beside(found, left_out)
    own = {f"{name}.ipynb": b"" for name in found.notebooks}
    fit = submission.apart(found.files | own, own.keys())
    for name in [name for name in found.files if name not in fit]:
        why = "is a file here and a folder there; the file"
        if not own.keys().isdisjoint(map(str, PurePosixPath(name).parents)):
            why = "lies in a folder by the name of a notebook; it"
        found.notes.append(f"{shown(name)} {why} was left out.")
    found.files = {name: content for name, content in fit.items() if name not in own}
    return found


# Notebooks of other names


def _notebooks_in(folder: Path, released: Mapping[str, Release], ignored: Sequence[str]) -> Iterator[_Other]:
    """Notebooks in the folder and those in it, but for the released names in their place; near ones first."""
    found = []
    for path in submission.files_in(folder, ignored, []):
        place = PurePosixPath(path.relative_to(folder).as_posix())
        if submission.is_foreign(place):
            continue
        if is_notebook(path.name) and not (place.parent.name == "" and place.stem in released):
            found.append(_other_at(path, folder))
    yield from sorted(found, key=lambda other: (len(other.place.parts), other.place))


def _other_at(path: Path, folder: Path) -> _Other:
    return _Other(
        PurePosixPath(path.relative_to(folder).as_posix()),
        path.lstat().st_size,
        functools.partial(submission.read, path),
        content=functools.partial(submission.content_of, path),
    )


def _hidden_in(found: Submission, ignored: Sequence[str], closed: list[str]) -> Iterator[_Other]:
    """Notebooks among the data files: under names that are none of a notebook, or in an archive.

    closed: the archives that cannot be opened are added to it.
    """
    for name, content in list(found.files.items()):
        place = PurePosixPath(name)
        is_packed = content.startswith(submission.GZIP) and ".ipynb" in name.lower()
        if is_packed or _is_like_a_notebook(content):
            yield _Other(place, len(content), functools.partial(submission.read_from, content, place.name))
        elif content.startswith(submission.ARCHIVE):
            said = len(found.notes)
            members = list(_members(name, content, ignored, found.notes))
            if len(found.notes) > said and name.lower().endswith(".zip"):
                closed.append(name)
            for member in members:
                inner = member.path
                if inner.name.lower().endswith((".zip", *_OTHER_ARCHIVES)):
                    closed.append(f"{name}/{inner}")
                    found.notes.append(
                        f"{shown(f'{name}/{inner}')} is an archive in an archive, and not opened."
                    )
                if ".ipynb" in inner.name.lower():
                    read = functools.partial(_notebook_of, member)
                    yield _Other(inner, member.size, read, archive=name)
        elif name.lower().endswith(_OTHER_ARCHIVES):
            found.notes.append(f"{shown(name)} is an archive that is not opened; of archives, .zip is.")


def _is_like_a_notebook(content: bytes) -> bool:
    """Whether a file of any name may be a notebook."""
    return bool(_BRACE.match(content)) and any(mark in content for mark in _MARKS)


def _exported(files: Mapping[str, bytes], release: Release, called: str = "") -> list[str]:
    """Files that may be a notebook in another form: they have names that it asks for, or cannot be read.

    called: what is in their own names, where they may be of other notebooks that were handed in.
    """
    asked = sorted(release.to_define)
    names = re.compile(rb"\b(?:%s)\b" % b"|".join(re.escape(name.encode()) for name in asked))
    return [
        shown(name)
        for name, content in files.items()
        if called.casefold() in PurePosixPath(name).name.casefold()
        if name.lower().endswith(_CLOSED)
        or (asked and name.lower().endswith(_EXPORTED) and names.search(content))
    ]


def _other_forms(
    name: str,
    found: Submission,
    released: Mapping[str, Release],
    beside: Mapping[str, Path],
    closed: Sequence[str],
) -> list[str]:
    """Files that may be the work on a notebook in which there is none, in a form that is not run.

    Those that the released notebook names, or that lie beside it, are the course's own. closed: archives that
    cannot be opened.
    """
    release = released[name]
    given = " ".join([*release.text, *release.unmarked, *(one.source for one in release.cells.values())])
    files = {
        path: content
        for path, content in found.files.items()
        if PurePosixPath(path).name not in given and not _is_the_same(content, beside.get(path))
    }
    called = name if len(released) > 1 else ""
    stand_ins = [path for path in files if path.lower().endswith(tuple(itertools.chain(*_STANDS_FOR)))]
    exported = _exported({path: one for path, one in files.items() if not _is_script(path)}, release, called)
    others = [one for one in (*stand_ins, *closed) if called.casefold() in one.casefold()]
    return [*_scripts(files, release), *exported, *map(shown, others)]


def _is_script(path: str) -> bool:
    return path.lower().endswith(_SCRIPTS)


def _scripts(files: Mapping[str, bytes], release: Release) -> list[str]:
    """Scripts that define what a notebook asks for, in other words than it has itself: pairs and exports."""
    given = {name: plain(one.source) for one in release.cells.values() for name in one.defines}
    found = []
    for path, content in files.items():
        if _is_script(path) and len(content) <= bounds.PARSED_LIMIT:
            source = plain(content.decode("utf-8", "replace"))
            source = fenced(source) if "```" in source else source
            names = defined_in(source) & release.to_define
            if any(name not in given or given[name] not in source for name in names):
                found.append(shown(path))
    return found


def _written_elsewhere(
    name: str, found: Submission, release: Release, match: Match, beside: Mapping[str, Path]
) -> set[str]:
    """Answers for a person that are as they were released, where a document may hold them; with a note.

    Documents that the released notebook names, or that lie beside it, are the course's own, and those that
    have its name are printed from it.
    """
    printed = re.compile(rf"{re.escape(name)}(\.ipynb)?( ?[-–(].*)?\.pdf", re.IGNORECASE)
    left = {cell for cell, one in release.cells.items() if one.by_hand and cell not in match.answers}
    if not left:
        return set()
    given = " ".join([*release.text, *release.unmarked, *(one.source for one in release.cells.values())])
    empty = {text for cell in left for text in release.cells[cell].texts if text}
    own = " ".join(cell["source"] for cell in match.notebook["cells"])
    papers = [path for path in found.files if path.lower().endswith(_PAPERS)]
    photos = [path for path in found.files if path.lower().endswith(_PHOTOS) and _is_by_hand(path, own)]
    papers += photos if len(photos) < _DATA else []
    for path in found.files:
        if path.lower().endswith(_TEXTS) and _is_by_hand(path, own):
            written = plain(found.files[path].decode("utf-8", "replace"))
            is_export = _is_like_a_notebook(found.files[path]) or any(text in written for text in empty)
            papers += [] if is_export else [path]
    for path in list(papers):
        called = PurePosixPath(path).name
        if called in given or printed.fullmatch(called) or _is_the_same(found.files[path], beside.get(path)):
            papers.remove(path)
    if not papers:
        return set()
    found.notes.append(
        f"{', '.join(sorted(left)[:5])} {'is' if len(left) == 1 else 'are'} as released, and "
        f"{', '.join(map(shown, papers[:3]))} may hold the answer; a person should look."
    )
    return left


def _is_by_hand(path: str, own: str) -> bool:
    """Whether a file is neither a tool's nor one that the notebook makes or reads. own: its text."""
    place = PurePosixPath(path)
    return place.name not in own and not _is_hidden(place) and not _OF_TOOLS.match(place.name)


def _is_the_same(content: bytes, released: Path | None) -> bool:
    """Whether a file is as it was released."""
    with contextlib.suppress(OSError):
        return released is not None and released.read_bytes() == content
    return False


def _stand_ins(files: Mapping[str, bytes]) -> Iterator[str]:
    """Sentences on files that are not what their student took them for."""
    for name in itertools.islice(files, bounds.COUNT_LIMIT):
        for ends, what in _STANDS_FOR.items():
            if name.lower().endswith(ends):
                yield f"{shown(name)} is {what}."


def _look_further(
    found: Submission,
    named: dict[str, Match],
    problems: dict[str, str],
    wanting: Mapping[str, Release],
    others: Sequence[_Other],
    ignored: Sequence[str],
    taken: dict[_Other, set[int]],
) -> set[_Other]:
    """Find notebooks that are not there under their names, and work that is not in those that are.

    named: the notebooks by name; what is found is added. problems: why those that are there cannot be read;
    that one is an archive is none any more once what is in it was found. taken: the places in notebooks whose
    cells are those of another one already; a notebook into which two were put stands for both.
    Returns the notebooks of other names that were taken or are named in a note.
    """
    unread: dict[_Other, str] = {}
    alone = len(wanting) == 1
    alike = {
        name: list(_alike(name, release, others, len(wanting), unread)) for name, release in wanting.items()
    }
    for name, several in list(alike.items()):
        alike[name] = [one for one in several if not _is_rather_another(name, one, alike)]
    mentioned: set[_Other] = set()
    # Those are settled first for which most speaks, so that no notebook stands for two.
    most = {name: max((len(one.answers) for one in several), default=-1) for name, several in alike.items()}
    for name, release in sorted(wanting.items(), key=lambda item: -most[item[0]]):
        free = [one for one in alike[name] if _is_free(one, mentioned, taken)]
        solved = [one.other for one in free if one.instructors]
        if solved and (name in named or len(solved) < len(free)):
            free = [one for one in free if not one.instructors]
            mentioned.update(solved)
            found.notes += [
                f"{one} is the instructor's, with its solutions; it is not graded." for one in solved
            ]
        else:
            solved = []
        if name in named:
            have, sure = named[name].answers, True
            broken = [] if have else [one for one in unread if one.size and (alone or _called(one, [name]))]
            more = [one for one in free if one.answers - have]
            for one in more:
                found.notes.append(
                    f"{one.other} holds work that {name}.ipynb lacks. {name}.ipynb was graded; a person "
                    "should look which one was meant."
                )
        elif free:
            best = max(free, key=lambda one: _rank(name, one))
            named[name] = _restored(best.other.read(), release)
            found.notes.append(f"{best.other} was graded as {name}.ipynb: it holds that notebook's cells.")
            if best.other.archive == f"{name}.ipynb":
                problems.pop(name)  # it could be opened
            if name in problems:
                found.notes.append(problems[name])
            broken = [one for one in unread if one.size and _called(one, [name])]
            _move_files(found, best.other, ignored)
            more = [one for one in free if one.answers and one.digest != best.digest]
            for one in more:
                found.notes.append(
                    f"{one.other} is like {name}.ipynb too; a person should look which one was meant."
                )
            mentioned.add(best.other)
            taken.setdefault(best.other, set()).update(best.places)
            sure = best.sure
        else:
            continue
        found.notes += [f"{unread[one]} A person should look whether it was meant." for one in broken]
        mentioned.update(broken, (one.other for one in more))
        if more or broken or name in problems or not sure or (solved and not named[name].answers):
            named[name].doubtful |= release.with_points
    if unread and not named and not problems:
        first = next(iter(wanting))
        why = " ".join(itertools.islice(unread.values(), 3))
        problems[first] = f"There is no {first}.ipynb in its place, and what may be it cannot be read: {why}"
    return mentioned


def _rather(other: _Other, match: Match, name: str, released: Mapping[str, Release]) -> str:
    """The notebook of the assignment that one of this name is, where it has nothing but names from its own.

    Many courses call the cells of each notebook by the same names.
    """
    if match.fits or not match.telling:
        return ""
    fits = {one: _restored(other.read(), released[one]).fits for one in released if one != name}
    best = max(fits, key=fits.__getitem__, default="")
    return f"{best}.ipynb" if best and fits[best] else ""


def _is_rather_another(name: str, one: _Likeness, alike: Mapping[str, Sequence[_Likeness]]) -> bool:
    """Whether what makes a notebook like the one of this name makes it more like another one."""
    here = _nearness(name, one)
    return any(
        two.other == one.other and not two.places.isdisjoint(one.places) and _nearness(another, two) > here
        for another, several in alike.items()
        for two in several
    )


def _nearness(name: str, one: _Likeness) -> tuple[int, bool, bool]:
    return one.fits, one.other.place.stem.casefold() == name.casefold(), _called(one.other, [name])


def _is_free(one: _Likeness, mentioned: Collection[_Other], taken: Mapping[_Other, set[int]]) -> bool:
    """Whether a notebook stands for no other one, or has this one's cells beside those of the other."""
    if one.other in taken:
        return one.places.isdisjoint(taken[one.other])
    return one.other not in mentioned


def _alike(
    name: str, release: Release, others: Sequence[_Other], sought: int, unread: dict[_Other, str]
) -> Iterator[_Likeness]:
    """Of the other notebooks those that may be the released one. unread: why others cannot be read."""
    for other in others:
        try:
            submitted = other.read()
            match = _restored(submitted, release)
        except Unreadable as problem:
            called = shown(other.place.name)  # with which the sentence begins
            unread[other] = f"{other}{str(problem).removeprefix(called)}"
            continue
        known = match.known / max(len(release.cells), 1)
        if match.telling:
            sure = known >= ENOUGH or _called(other, [name]) or len(others) == sought == 1
            work = {
                cell["metadata"]["nbgrader"]["grade_id"]: cell["source"]
                for cell in match.notebook["cells"]
                if "nbgrader" in cell["metadata"]
            }
            text = "\0".join(work[answer] for answer in sorted(match.answers))
            digest = hashlib.sha256(text.encode()).digest()
            solved = _is_solved(submitted, release)
            yield _Likeness(other, known, match.fits, sure, match.answers, match.places, digest, solved)


def _is_solved(submitted: Submitted, release: Release) -> bool:
    """Whether a notebook has the mark around solutions, which nbgrader takes out of what it releases."""
    given = (text for one in release.cells.values() for text in (one.source, one.given or ""))
    cells = submitted.notebook["cells"]
    return any(_SOLVED in cell["source"] for cell in cells) and not any(_SOLVED in text for text in given)


def _restored(submitted: Submitted, release: Release) -> Match:
    """The notebook with everything put back; of several that a file may hold, the one with most work."""
    notes = list(submitted.notes)
    best = restore(submitted, release)
    texts = {_text_of(best)}
    for other in submitted.others:
        match = restore(Submitted(other.notebook, [*notes, *other.notes]), release)
        texts.add(_text_of(match))
        if len(match.answers) > len(best.answers):
            best = match
    if len(texts) > 1:
        best.doubtful |= release.with_points
        best.notes.append("The file holds two versions; a person should look which one was meant.")
    return best


def _text_of(match: Match) -> str:
    return "\0".join(plain(cell["source"]) for cell in match.notebook["cells"])


def _modest(others: Iterable[_Other]) -> Iterator[_Other]:
    """The first of them, as long as they are not too many or too large together to be looked at."""
    left = bounds.FILE_LIMIT
    for other in itertools.islice(others, bounds.CANDIDATES_LIMIT):
        left -= other.size
        if left >= 0:
            yield other


def _called(other: _Other, names: Iterable[str]) -> bool:
    """Whether the name of a notebook holds one of these."""
    called = other.place.name.casefold().replace(".ipynb", "")
    return any(name.casefold() in called for name in names)


def _rank(name: str, one: _Likeness) -> tuple[Any, ...]:
    return (
        len(one.answers),
        one.known,
        _called(one.other, [name]),
        -len(one.other.place.parts),
        str(one.other),
    )


def _move_files(found: Submission, other: _Other, ignored: Sequence[str]) -> None:
    """Let the files that lie beside a notebook lie where it is run."""
    folder = other.place.parent
    beside: dict[str, bytes] = {}
    if other.archive:
        room = bounds.FILES_LIMIT - sum(map(len, found.files.values()))
        members = list(_members(other.archive, found.files[other.archive], ignored, []))
        left_out = []
        for member in sorted(members, key=lambda one: _is_hidden(one.path)):
            path = member.path
            if not path.is_relative_to(folder) or is_notebook(path.name):
                continue
            if member.size > room or len(found.files) + len(beside) >= bounds.COUNT_LIMIT:
                left_out.append(f"{shown(str(path))} of {shown(other.archive)} was left out: it is too much.")
                continue
            try:
                beside[str(path.relative_to(folder))] = member.content()
            except Unreadable as problem:
                left_out.append(str(problem))
            room -= member.size
        found.notes += left_out[: bounds.NOTES_LIMIT]
        if more := left_out[bounds.NOTES_LIMIT :]:
            found.notes.append(f"{len(more)} more files of {shown(other.archive)} were left out.")
    elif folder.parts:
        found.root = str(folder)
        for path in [path for path in found.files if PurePosixPath(path).is_relative_to(folder)]:
            beside[str(PurePosixPath(path).relative_to(folder))] = found.files.pop(path)
    beside.pop(TIMESTAMP, None)
    found.files = beside | found.files


def _is_hidden(path: PurePosixPath) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _keep_beside(found: Submission, others: Iterable[_Other]) -> None:
    """Have notebooks that are not graded lie among the files, for `%run helpers.ipynb`."""
    room = bounds.FILES_LIMIT - sum(map(len, found.files.values()))
    for other in _modest(other for other in others if other.content is not None):
        with contextlib.suppress(Unreadable):
            content = other.content() if other.size <= room else b""
            place = other.place.relative_to(found.root) if other.place.is_relative_to(found.root) else None
            if content and place and len(found.files) < bounds.COUNT_LIMIT:
                found.files.setdefault(unicodedata.normalize("NFC", str(place)), content)
                room -= len(content)


# Archives


@dataclass(frozen=True)
class _Member:
    """A file in an archive that is opened once for all of its files. path: in it."""

    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    path: PurePosixPath

    @property
    def size(self) -> int:
        return self.info.file_size

    def content(self) -> bytes:
        """As far as the archive says that it is long. Raises Unreadable."""
        name = shown(self.path.name)
        if self.info.flag_bits & 1:
            raise Unreadable(f"{name} is encrypted; hand it in without a password.")
        if self.info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Unreadable(f"{name} is compressed in a way that is not read; use an ordinary .zip.")
        try:
            with self.archive.open(self.info) as file:
                return file.read(self.size)
        except Exception as error:  # a reader of malformed data fails in any way
            raise Unreadable(f"{name} cannot be unpacked ({type(error).__name__}).") from None


def _members(name: str, content: bytes, ignored: Sequence[str], notes: list[str]) -> Iterator[_Member]:
    """The files in an archive that could be a student's; nothing is unpacked yet."""
    tail = content[-(1 << 16) - 22 - _LARGE_LENGTH :]
    ends = [found.start() for found in re.finditer(_END, tail)]
    sizes = [int.from_bytes(tail[at + 12 : at + 16], "little") for at in ends]
    larger = [found.start() for found in re.finditer(_LARGE, tail)]
    if larger:  # where a size does not fit, or whoever made it has not waited to know, it stands there
        sizes = [size for size in sizes if size != 0xFFFFFFFF]
        sizes += [int.from_bytes(tail[at + 40 : at + 48], "little") for at in larger]
    if not ends or max(sizes) > bounds.CONTENTS_LIMIT:
        notes.append(f"{shown(name)} is an archive that cannot be opened, or of too many files.")
        return
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except Exception as error:  # a reader of malformed data fails in any way
        notes.append(f"{shown(name)} is an archive that cannot be opened ({type(error).__name__}).")
        return
    for info in archive.infolist():
        path = PurePosixPath(unicodedata.normalize("NFC", submission.path_in_archive(info)))
        path = PurePosixPath(*(part for part in path.parts if part not in ("/", "//", "..")))
        strange = not path.name or shown(str(path)) != str(path) or len(path.parts) > DEEPEST
        foreign = submission.is_foreign(path) or not submission.INSTALLED.isdisjoint(path.parts)
        if info.is_dir() or strange or foreign or any(is_ignored(part, ignored) for part in path.parts):
            continue
        if not stat.S_ISLNK(info.external_attr >> 16):
            yield _Member(archive, info, path)


def _notebook_of(member: _Member) -> Submitted:
    if member.size > bounds.FILE_LIMIT:
        raise Unreadable(submission.too_large(member.path.name, member.size))
    return submission.read_from(member.content(), member.path.name)


def lay(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files by their relative paths into a folder, in the place of what is there, file or folder."""
    for name, content in files.items():
        path = folder / name
        inside = [folder / one for one in PurePosixPath(name).parents if one.parts]
        for one in (*inside, path):
            if one.is_symlink() or one.is_file():
                one.unlink()
        if path.is_dir():
            shutil.rmtree(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def timestamp_in(folder: Path) -> datetime | None:
    """When a submission was handed in, by its `timestamp.txt`.

    Neither links nor pipes are followed. Raises ValueError or OverflowError where the file holds no time.
    """
    try:
        handle = os.open(folder / TIMESTAMP, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        if not is_own_file(os.fstat(handle)):
            return None
        text = file.read(TIMESTAMP_LIMIT).decode("utf-8-sig", "replace").strip()
    return utils.parse_utc(text) if text else None
