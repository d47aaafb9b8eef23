"""What a worker does: grade one submission, given as bytes, in a box of its own, and answer in bytes.

It runs in any `concurrent.futures.Executor`: a pool of processes on this machine, or Dask's elsewhere. A
process keeps its boxes from one submission to the next; threads of one process have a box each.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import multiprocessing.connection
import multiprocessing.util
import os
import queue
import shutil
import signal
import struct
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from graders.batch.submission import OWN, TIMESTAMP
from graders.classroom.observations import observations_path
from graders.sandbox.jail import Limits, NoSandbox

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    # it imports torch, which the process that hands out the work can do without
    from graders.sandbox.box import Box

#: How often a submission is tried again when the box it was in failed.
RETRIES = 1
_LENGTH = struct.Struct("!Q")


@dataclass(frozen=True)
class Options:
    """How submissions are run.

    sandbox: "bwrap" or "none". device: "cpu" or "cuda". hidden: folders that must not be seen in the sandbox,
    wherever they lie. rubric, comments: the texts of the course's own, if it has them. libraries: what the
    released notebooks import, for the warm processes to have at once. seed: of the inputs of checks, the same
    for a whole run, so that wrong work can be compared; each process draws its own if None.
    """

    sandbox: str = "bwrap"
    device: str = "cpu"
    limits: Limits = field(default_factory=Limits)
    hidden: tuple[str, ...] = ()
    rubric: str = ""
    libraries: tuple[str, ...] = ()
    comments: str = field(default="", compare=False)
    seed: int | None = field(default=None, compare=False)

    @property
    def devices(self) -> tuple[str, ...]:
        return ("cpu",) if self.device == "cpu" else ("cpu", self.device)


_free: queue.LifoQueue[tuple[Options, Box]] = queue.LifoQueue()
_used: set[Box] = set()
_lock = threading.Lock()
_ending = threading.Lock()


@contextmanager
def a_box(options: Options) -> Iterator[Box]:
    """A box of this process that nobody else uses now; it is kept for the next submission."""
    box = None
    with _lock, contextlib.suppress(queue.Empty):
        kept, box = _free.get_nowait()
        if kept != options:
            box.close()
            box = None
    box = box or _opened(options)
    _used.add(box)
    try:
        yield box
    finally:
        _used.discard(box)
        _free.put((options, box))


def _opened(options: Options) -> Box:
    from graders.sandbox.box import Box

    return Box(
        options.sandbox,
        gpu=options.device != "cpu",
        limits=options.limits,
        hidden=options.hidden,
        libraries=options.libraries,
        bars=_bars,
    )


def _bars() -> frozenset[frozenset[str]]:
    from graders.probing.days import bars  # which imports PyTorch; only a box that has it asks

    return bars()


def close_boxes() -> None:
    """End all boxes of this process that are not in use."""
    with contextlib.suppress(queue.Empty):
        while True:
            _free.get_nowait()[1].close()


def start(options: Options, over: Connection, *, watch_parent: bool = True) -> None:
    """Warm up a box. Called once in each process of a pool.

    over: closed at the other end when there is nothing left to do.
    """
    # Ctrl+C reaches all processes of a terminal; it is for the one that handed out the work to end this one.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    signal.signal(signal.SIGTERM, lambda number, frame: _end())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    multiprocessing.util.Finalize(None, close_boxes, exitpriority=100)
    if watch_parent and (parent := multiprocessing.parent_process()):
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    from graders.sandbox.box import Unusable

    # The first submission meets a missing sandbox again, and can say so. As long as the box is not warm this
    # process takes none: another one may grade it meanwhile.
    with contextlib.suppress(NoSandbox, Unusable), a_box(options) as box:
        box.start()
        box.warm(over)


def ready() -> None:
    """Nothing; who is told that it is done knows that a process is ready for submissions."""


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, however that ended."""
    multiprocessing.connection.wait([parent])
    # The folder of the fork server's socket; a parent that was killed could not remove it.
    shutil.rmtree(multiprocessing.util.get_temp_dir(), ignore_errors=True)
    _end()


def _end() -> None:
    """End this process and all its boxes, now; told again meanwhile, it goes on with that."""
    if not _ending.acquire(blocking=False):
        return
    for box in list(_used):
        box.failed = True  # it does not listen, so there is no use in waiting
        box.close()
    close_boxes()
    os._exit(1)


def look_through_rubric(options: Options) -> None:
    """Raises MalformedRubric where the course's own, or its comments, cannot be used."""
    from graders.classroom.comments import comments_of
    from graders.judging.rubric import rubric_of

    rubric_of(options.rubric)
    comments_of(options.comments)


def pack_job(
    notebooks: Mapping[str, Any],
    files: Mapping[str, bytes],
    options: Options,
    asked: Mapping[str, Collection[str]] | None = None,
) -> bytes:
    """A submission as bytes: its notebooks by name, how it is to be run, then its data files by path.

    asked: by notebook, names of Python's own that students are to define.
    """
    return packed({"notebooks": notebooks, "options": asdict(options), "asked": asked or {}}, files)


def packed(head: Mapping[str, Any], files: Mapping[str, bytes]) -> bytes:
    """JSON data and files by path as bytes, for `opened`."""
    sizes = [[name, len(content)] for name, content in files.items()]
    text = json.dumps({**head, "files": sizes}).encode()
    return b"".join([_LENGTH.pack(len(text)), text, *files.values()])


def opened(content: bytes) -> tuple[dict[str, Any], dict[str, memoryview]]:
    """What was packed: a job, or an answer to one, and its files by path; they are not copied."""
    start = _LENGTH.size
    data = memoryview(content)
    (size,) = _LENGTH.unpack(data[:start])
    head = json.loads(bytes(data[start : start + size]))
    files, start = {}, start + size
    for name, size in head["files"]:
        files[name] = data[start : start + size]
        start += size
    return head, files


def grade(job: bytes) -> bytes:
    """Grade a submission.

    Returns, packed, for each notebook by name what `graders.batch.notebook.Graded` holds, and the files that
    its code has made; among them, in the grader's own folder, what was seen.

    Raises Unusable where the sandbox failed repeatedly, and NoSandbox where there is none.
    """
    return packed(*graded_here(job))


def graded_here(job: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The same, as data. The notebooks of a submission are run one after the other in the same files."""
    data, files = opened(job)
    given = data["options"]
    given |= {name: tuple(given[name]) for name in ("hidden", "libraries")}
    options = Options(**{**given, "limits": Limits(**given["limits"])})
    made: dict[str, bytes] = {}
    own: dict[str, bytes] = {}
    notebooks = {}
    for name, notebook in data["notebooks"].items():
        notebooks[name] = _graded(notebook, {**files, **made}, options, data["asked"].get(name, ()))
        found = notebooks[name].pop("made")
        made |= {path: one for path, one in found.items() if OWN not in PurePosixPath(path).parts}
        if seen := notebooks[name].pop("seen"):
            own[observations_path(name)] = seen
    made.pop(TIMESTAMP, None)  # when it was handed in, its code cannot say
    return {"notebooks": notebooks}, made | own


def _graded(
    notebook: dict[str, Any],
    files: Mapping[str, Any],
    options: Options,
    asked: Collection[str],
    named: frozenset[str] | None = None,
) -> dict[str, Any]:
    """What came of one notebook. named: the libraries that it is known to use, if it was run before."""
    from graders.batch.notebook import bound_exercise, execute, libraries
    from graders.classroom.comments import comments_of
    from graders.judging.rubric import rubric_of
    from graders.sandbox.box import Unforeseen, Unusable

    rubric, comments = rubric_of(options.rubric), comments_of(options.comments)
    named = frozenset(libraries(notebook, files)) if named is None else named
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    checks = any(map(bound_exercise, code))
    if checks:
        import torch  # the judge brings it

        torch.set_num_threads(1)  # the inputs are small, and the other workers have the other cores
        named |= {"torch"}
    for left in reversed(range(RETRIES + 1)):
        with a_box(options) as box:
            try:
                with box.session(files, named, checks=checks) as session:
                    done = execute(notebook, session, options.devices, rubric, asked, comments, options.seed)
            except Unforeseen as found:
                named |= found.libraries
                break
            except Unusable:
                if not left:
                    raise
                continue
            if box.failed and done.stopped and left:
                continue  # the warm process went first, and took the submission with it
            holds = box.holds
            if session.left_out:
                text = (
                    f"{session.left_out} of the files that the notebook's code made are not kept: too large"
                )
                done.words.append(f"{text}, too many, or no plain files.")
        return {
            "notebook": notebook,
            "flags": done.flags,
            "words": done.words,
            "suspects": sorted(done.suspects),
            "checks": done.checks,
            "seen": done.seen,
            "behaviours": done.behaviours,
            "stopped": done.stopped,
            "cgroup": holds,
            "made": session.made,
        }
    return _graded(notebook, files, options, asked, named)
