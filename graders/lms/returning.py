"""Packs the feedback that nbgrader made, named so that the system gives it to whom the work came from."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from graders.lms import tables
from graders.lms.collect import CannotCollect, Folders, remembered
from graders.lms.forms import FORMS

#: As much of a packed zip as is held in memory.
_HELD = 64 << 20


@dataclass
class Returned:
    """What was packed. without: students who have no feedback yet; unknown: those who were not collected."""

    system: str
    students: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def _for_moodle(marks: Sequence[Sequence[str]], name: str) -> str:
    """`Jane Doe_1234_assignsubmission_file_/day26.html`.

    As mod/assign/feedback/file/importziplib.php reads it: the number between the first two underscores is the
    participant's, and what stands below the folder is the feedback file.
    """
    return f"{marks[0][0]}/{name}"


def _for_canvas(marks: Sequence[Sequence[str]], name: str) -> str:
    """`doejane_1234_56789_day26.html`.

    As Canvas reads it, the first two numbers between underscores are the user's and that of a file that the
    user handed in. The file whose name is most like the feedback's is taken.
    """
    stem = name.rpartition(".")[0].casefold()
    return max(marks, key=lambda mark: mark[1].casefold().startswith(stem))[0] + name


_NAMED: Mapping[str, Callable[[Sequence[Sequence[str]], str], str]] = {
    "moodle": _for_moodle,
    "canvas": _for_canvas,
}


def pack(where: Folders, out: Path, system: str | None = None) -> Returned:
    """Write the feedback on an assignment into a zip for the system it was collected from.

    Raises CannotCollect where nothing was collected, there is no feedback, or the system takes none in a zip.
    """
    kept = remembered(where)
    if not kept.get("students"):
        raise CannotCollect(
            f"Nothing of {where.assignment} was collected with `graders collect`, so that nobody knows by "
            "which names the system would recognize its students."
        )
    system = system or str(kept.get("system"))
    if system != kept.get("system"):
        raise CannotCollect(f"{where.assignment} was collected from {kept.get('system')}, not from {system}.")
    if system not in _NAMED:
        raise CannotCollect(
            f"{FORMS[system].system if system in FORMS else system} takes no zip of feedback files that is "
            "documented; Moodle and Canvas do."
        )
    done = Returned(system)
    with tempfile.SpooledTemporaryFile(_HELD) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            for student, marks in sorted(kept["students"].items()):
                pages = sorted(where.feedback(student).glob("*.html"))
                for page in pages:
                    packed.write(page, _NAMED[system](marks, page.name))
                (done.students if pages else done.without).append(student)
        if not done.students:
            raise CannotCollect(
                f"There is no feedback on {where.assignment} yet; `nbgrader generate_feedback "
                f"{where.assignment}` makes it."
            )
        file.seek(0)
        tables.put(out, iter(lambda: file.read(io.DEFAULT_BUFFER_SIZE), b""))
    done.unknown = sorted(set(_with_feedback(where)) - kept["students"].keys())
    return done


def _with_feedback(where: Folders) -> Iterator[str]:
    """The students for whom there is feedback, whoever they are."""
    step = where.feedback("*")
    yield from (page.parent.parent.name for page in step.parent.parent.glob(f"*/{where.assignment}/*.html"))
