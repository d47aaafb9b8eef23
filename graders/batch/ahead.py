"""What a command that grades begins with, before its own imports: the process that workers are forked from.

That process imports what every worker needs, while this one reads the command line and opens the course.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext

#: Characters that the folder for temporary files may have for a socket of the workers to lie in it.
SOCKET_FOLDER = 60
#: What follows the first word of an import, and the names in it.
_IMPORT = re.compile(r"^[ \t]*(?:import|from)[ \t]+(.+)", re.MULTILINE)
_WORD = re.compile(r"\w+")


def begin(arguments: list[str]) -> None:
    """Start that process, if this is a command line that will need it; what it says is read later, and well.

    A line that turns out to be wrong ends this process, and that one follows it.
    """
    options = {one.partition("=")[0] for one in arguments}
    words = [one for one in arguments[1:] if not one.startswith("-")]
    if arguments[:1] != ["autograde"] or {"--help", "--scheduler"} & options:
        return
    if words or "--all" in options:
        with contextlib.suppress(OSError):  # whoever needs it meets it again
            fork_server(imported(Path.cwd(), words or folders(Path.cwd())))


def fork_server(libraries: Iterable[str]) -> ForkServerContext:
    """The context of processes that are forked from one which has begun to import what they need.

    libraries: what the released notebooks import; with checks of ours, that is the judge and PyTorch.
    """
    import multiprocessing
    import tempfile
    from multiprocessing import forkserver, resource_tracker

    from graders.batch import interrupt

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # a worker for each core; and a process with threads cannot be forked
    if len(tempfile.gettempdir()) > SOCKET_FOLDER:
        tempfile.tempdir = "/tmp"
    context = multiprocessing.get_context("forkserver")
    judge = ["graders.batch.judge_ahead"] if "graders" in libraries else []
    context.set_forkserver_preload(["graders.batch.preload", *judge])  # which is imported once
    # Its start opens the signal mask, so it must not fall between our closing it and another start.
    resource_tracker.ensure_running()
    with interrupt.kept_from_children():
        forkserver.ensure_running()
    return context


def folders(root: Path) -> list[str]:
    """Names of folders in a course that hold notebooks of an assignment, released or not."""
    names = {path.parent.name for path in root.glob("*/*/*.ipynb")}
    return sorted(name for name in names if not name.startswith("."))


def imported(root: Path, assignments: Iterable[str]) -> tuple[str, ...]:
    """Names in the imports of the notebooks that a course's folder holds of these assignments.

    Submissions are not looked at: what they import beside that, they bring with them. Where there is nothing
    that can be read, such as in a course with folders of its own, it is what checks need.
    """
    found: set[str] = set()
    read = False
    for place in (folder / name for folder in root.iterdir() for name in assignments if folder.is_dir()):
        for path in (*place.glob("*.ipynb"), *place.glob("*.py")):
            # What cannot be read is for others to complain of.
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                for line in _IMPORT.findall(_code_in(path)):
                    found.update(_WORD.findall(line))
                read = True
    return tuple(sorted(found if read else {"graders", "torch"}))


def _code_in(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return text
    return "\n".join(
        "".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"
    )


def expected(root: Path, assignments: Iterable[str], students: Iterable[str], *, force: bool) -> int:
    """How many submissions look as if they were due, by their folders; the gradebook says later which are.

    Where a course has folders of its own names, many.
    """
    if not (root / "submitted").is_dir():
        return sys.maxsize
    names, only = set(assignments), set(students)
    return sum(
        path.name in names
        and (not only or path.parent.name in only)
        and (force or not (root / "autograded" / path.parent.name / path.name).exists())
        for path in root.glob("submitted/*/*")
    )
