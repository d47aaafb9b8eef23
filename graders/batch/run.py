"""The batch: hands submissions to workers, takes what they found, and has it recorded, one by one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import errno
import multiprocessing
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graders.batch import interrupt, worker
from graders.batch.ahead import fork_server
from graders.batch.elsewhere import Elsewhere, compared
from graders.batch.submission import shown
from graders.batch.worker import Options
from graders.sandbox.jail import NoSandbox, sweep_groups

if TYPE_CHECKING:
    from graders.batch.gradebook import Course
    from graders.batch.intake import Submission

#: How often a submission is handed out again when its worker was lost; from the first time on, alone.
RETRIES = 2
#: Seconds that workers have to end in when they are told to.
ENDING = 10.0
#: Submissions that are out at once, for each worker; and bytes of all that are out, but for the last one.
AHEAD = 2
BYTES_AHEAD = 32 << 20
#: How many times as long as the start of another process the work must take for that to pay off; and how many
#: submissions one process grades, about, in the time of such a start: of day 26 as of a course of NumPy.
PAYS_OFF = 2
IN_A_START = 5


@dataclass
class Result:
    """What became of one submission.

    outcome: "graded", "skipped" or "failed". points, most: None where it was not graded. flags: what a
    person should look at. notes: what was odd and is in order now. reason: why it could not be graded, or
    some of its notebooks could not.
    """

    student: str
    outcome: str
    points: float | None = None
    most: float | None = None
    flags: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reason: str | None = None

    def __post_init__(self) -> None:
        """A name or a sentence that holds a student's own characters stays one line that can be printed."""
        self.student = shown(self.student)
        self.flags, self.notes = list(map(shown, self.flags)), list(map(shown, self.notes))
        self.reason = self.reason and shown(self.reason)


@dataclass
class Report:
    """A whole run.

    limits: the control groups that were in force. stopped: why it ended early, if it did. seconds: wall time.
    """

    assignment: str
    results: list[Result] = field(default_factory=list)
    limits: set[str] = field(default_factory=set)
    stopped: str | None = None
    seconds: float = 0.0

    def count(self, outcome: str) -> int:
        return sum(result.outcome == outcome for result in self.results)

    @property
    def in_part(self) -> int:
        """How many were graded of which a notebook could not be."""
        return sum(result.outcome == "graded" and result.reason is not None for result in self.results)

    @property
    def is_complete(self) -> bool:
        """Whether everything that was due is graded."""
        return not (self.count("failed") or self.in_part or self.stopped)


@dataclass
class _Out:
    """A submission that is with a worker. size: bytes of the job."""

    found: Submission
    tries: int
    size: int


class _Processes(ProcessPoolExecutor):
    """An executor that starts as many processes as are wanted, when it is given something to do.

    By itself it would start one wherever none is idle, which does not always pay off.
    """

    wanted = 1

    def _adjust_process_count(self) -> None:
        while len(self._processes) < self.wanted:
            self._spawn_process()


def cores() -> int:
    """How many cores there are for this process, where the system can say it; else how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Pool:
    """Processes of this machine, made anew when one of them is lost."""

    def __init__(self, workers: int, options: Options) -> None:
        self.workers, self.options = workers, options
        self._started = 0
        self._begun = self._warm = 0.0  # when the first process was there, and when it was ready, if it is
        self.lost = False  # whether a worker has ended, or may have, before it could close its box
        self._context = fork_server(options.libraries)
        self._over, self._working = self._context.Pipe(duplex=False)  # the second is closed at the end
        self.executor = self._made()

    def _made(self) -> _Processes:
        executor = _Processes(
            self.workers,
            mp_context=self._context,
            initializer=worker.start,
            initargs=(self.options, self._over),
        )
        executor.wanted = max(self._started, 1)
        return executor

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future:
        with interrupt.kept_from_children():  # they are to end when they are told to, and closed properly
            return self.executor.submit(function, *arguments)

    def warm_up(self, due: int) -> None:
        """Begin to start processes for what is due; returns at once, so that the course is read meanwhile.

        due: submissions that are expected. Each process imports what these need anew, so another one pays off
        where there is a core for it, beside the one that this process has, or where there is enough to do.
        """
        self._start(min(self.workers, due, max(cores() - 1, due // (IN_A_START * PAYS_OFF) + 1)))

    def grow(self, left: int, done: int, since: float) -> None:
        """Start the other processes, where what is left takes those that are there longer than a start.

        left: submissions that are not graded. done: how many are, since a time on the monotonic clock.
        """
        if self._warm:
            each = (time.monotonic() - max(self._warm, since)) / (done + 1)  # one is under way
            if left * each > PAYS_OFF * (self._warm - self._begun):
                self._start(min(self.workers, left))

    def _start(self, count: int) -> None:
        """Begin to start processes until there are so many."""
        if count <= self._started:
            return
        self._started = self.executor.wanted = count

        def submit() -> None:
            with contextlib.suppress(RuntimeError):  # the run is over before it has begun
                told = self.submit(worker.ready)
                self._begun = self._begun or time.monotonic()
                told.add_done_callback(self._one_is_warm)

        threading.Thread(target=submit, daemon=True).start()

    def _one_is_warm(self, told: Future) -> None:
        if not told.cancelled() and not told.exception():
            self._warm = self._warm or time.monotonic()

    def cancel(self, futures: Iterable[Future]) -> None:
        """Nothing: `kill` ends them; of one that was cancelled, Python would print a traceback then."""

    def renew(self) -> None:
        self.lost = True
        self.executor.shutdown(wait=False, cancel_futures=True)
        self.executor = self._made()

    def close(self) -> None:
        """Wait for the end of the processes, which have nothing left to do; of lost ones nothing stays."""
        self._working.close()
        processes = self._processes()
        self.executor.shutdown(wait=True, cancel_futures=True)
        if self.lost or any(process.exitcode for process in processes):
            sweep_groups()

    def kill(self) -> None:
        """End the processes in the middle of what they do; their boxes end with them."""
        self.lost = True
        processes = self._processes()
        for process in processes:
            process.terminate()
        end = time.monotonic() + ENDING
        for process in processes:
            process.join(max(end - time.monotonic(), 0.0))
            process.kill()
        self.close()

    def _processes(self) -> list[multiprocessing.process.BaseProcess]:
        return list((getattr(self.executor, "_processes", None) or {}).values())


class Given:
    """An executor that somebody else made, such as Dask's; it looks after its workers itself.

    close: what ends the connection to it.
    """

    def __init__(self, executor: Executor, workers: int, close: Callable[[], Any] = lambda: None) -> None:
        self.executor, self.workers, self.close = executor, workers, close

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future:
        try:
            return self.executor.submit(function, *arguments)
        except Exception as error:
            raise _Lost(_LOST) from error

    def renew(self) -> None:
        raise _Lost(_LOST)

    def warm_up(self, due: int) -> None:
        """They are somebody else's, and are there."""

    def grow(self, left: int, done: int, since: float) -> None:
        """There are as many as there are."""

    def cancel(self, futures: Iterable[Future]) -> None:
        """Take back what was handed out."""
        with contextlib.suppress(Exception):
            for future in futures:
                future.cancel()

    def kill(self) -> None:
        self.close()


class _Lost(Exception):
    """The workers cannot be reached any more."""


_UNKNOWN = (
    "It lies in the folder of graded submissions, but the gradebook does not know the student; "
    "--force grades it and enters both."
)
_LOST = "The workers cannot be reached any more. Run the same command again; it goes on where it stopped."
#: How an executor says that it will not do what it was given.
_GONE = (BrokenExecutor, concurrent.futures.CancelledError, asyncio.CancelledError)


def _was_on_its_way(error: Exception) -> bool:
    """Whether a submission was lost with the pipe to a worker.

    A pool that breaks closes its pipe while a thread of its own may still write a job into it; that job ends
    with the thread's error, not with BrokenExecutor (`concurrent.futures.process`, `_SafeQueue`).
    """
    if not isinstance(error, OSError):
        return False
    return error.errno in (errno.EBADF, errno.EPIPE) or str(error) == "handle is closed"


def _was_forgotten(error: Exception) -> bool:
    """Whether Dask had the answer and forgot it, since the worker that holds it ended at that moment.

    Its executor then takes the answer for the three parts of an error, and fails (`distributed.cfexecutor`).
    """
    frames = traceback.walk_tb(error.__traceback__)
    return isinstance(error, ValueError | TypeError) and any(
        frame.f_globals.get("__name__") == "distributed.cfexecutor" for frame, _ in frames
    )


def run(
    course: Course,
    pool: Pool | Given,
    options: Options,
    students: list[str],
    *,
    begun: Callable[[int], Any] = lambda count: None,
    progress: Callable[[Result], Any] = lambda result: None,
) -> Report:
    """Grade what is due of an assignment; every submission ends in a result, and none stops the others.

    students: only these; all if there are none. begun: told how many results there will be. progress: told of
    each.
    """
    from graders.batch.gradebook import CannotRecord

    started = time.monotonic()
    report = Report(course.assignment)
    course.clean_up()

    def done(result: Result) -> None:
        report.results.append(result)
        progress(result)

    waiting = deque[tuple[str, int]]()
    listed = dict(course.students(students))
    lost = {student: why for student, why in course.misplaced(students).items() if student not in listed}
    unknown = dict.fromkeys(one for one in students if one not in listed and one not in lost)
    begun(len(listed) + len(lost) + len(unknown))
    for student, what in listed.items():
        if what in ("skip", "unknown"):
            done(Result(student, "skipped", notes=[_UNKNOWN] if what == "unknown" else []))
        else:
            waiting.append((student, 0))
    for student, why in lost.items():
        done(Result(student, "failed", reason=why))
    for student in unknown:
        done(Result(student, "failed", reason="There is no submission of this student."))

    before = len(report.results)
    pool.warm_up(len(waiting))
    out: dict[Future, _Out] = {}
    try:
        while waiting or out:
            interrupt.act()
            pool.grow(len(waiting) + len(out), len(report.results) - before, started)
            while _may_go(waiting, out, AHEAD * pool.workers):
                student, tries = waiting.popleft()
                try:
                    found = course.read(student)
                    job = worker.pack_job(found.notebooks, found.files, options, found.asked)
                except Exception as error:
                    done(Result(student, "failed", reason=f"It cannot be read: {_sentence(error)}"))
                    continue
                if not found.notebooks and found.unreadable:
                    done(Result(student, "failed", notes=found.notes, reason=" ".join(found.unreadable)))
                    continue
                # What it needs of this later is in the job, or comes back with the answer.
                found.notebooks, found.files = {}, worker.opened(job)[1]
                try:
                    out[pool.submit(worker.grade, job)] = _Out(found, tries, len(job))
                except BrokenExecutor as error:
                    out[_failed(error)] = _Out(found, tries, len(job))
                    break
                del job
            lost = []
            for future in done_of(out):
                one = out.pop(future)
                found = one.found
                try:
                    answer, made = worker.opened(future.result())
                    found.files |= made
                except _GONE:
                    lost.append(one)
                except NoSandbox:
                    raise
                except Exception as error:
                    if _was_on_its_way(error):
                        lost.append(one)
                        continue
                    if _was_forgotten(error) and one.tries < RETRIES:
                        waiting.append((found.student, one.tries + 1))
                        continue
                    done(Result(found.student, "failed", notes=found.notes, reason=_sentence(error)))
                else:
                    done(_recorded(course, found, answer, report))
            if lost:
                pool.renew()
                for one in (*lost, *out.values()):
                    if one.tries < RETRIES:
                        waiting.append((one.found.student, one.tries + 1))
                    else:
                        reason = "The worker that graded it ended, again and again."
                        done(Result(one.found.student, "failed", notes=one.found.notes, reason=reason))
                out.clear()
    except (CannotRecord, _Lost) as problem:
        report.stopped = str(problem)
        pool.cancel(out)
    report.seconds = time.monotonic() - started
    return report


def _may_go(waiting: deque[tuple[str, int]], out: dict[Future, _Out], most: int) -> bool:
    """Whether the next submission may be handed out.

    One that was out when a worker was lost goes alone, so that the one that ends workers costs no other.
    """
    if not waiting or not out:
        return bool(waiting)
    if waiting[0][1] or any(one.tries for one in out.values()):
        return False
    return len(out) < most and sum(one.size for one in out.values()) < BYTES_AHEAD


def done_of(out: Iterable[Future]) -> set[Future]:
    """Those that are done; waits for one, but not so long that Ctrl+C would go unseen."""
    return concurrent.futures.wait(out, interrupt.POLL, FIRST_COMPLETED).done


def _failed(error: Exception) -> Future:
    future: Future = Future()
    future.set_exception(error)
    return future


def _recorded(course: Course, found: Submission, answer: dict[str, Any], report: Report) -> Result:
    from graders.batch.gradebook import NotRecorded

    notebooks = answer["notebooks"]
    flags = [flag for one in notebooks.values() for flag in one["flags"]]
    notes = list(found.notes)
    for name, one in notebooks.items():
        report.limits.update(one["cgroup"])
        told, doubtful = compared(
            one["notebook"], found.elsewhere.get(name, Elsewhere()), found.doubtful.get(name, ())
        )
        notes += one["words"] + told
        one["suspects"] = sorted(doubtful.union(one["suspects"]))
        if one["stopped"]:
            notes.append(f"{name}: {one['stopped']}")
    try:
        points, most = course.record(found, notebooks)
    except NotRecorded as problem:
        return Result(found.student, "failed", None, None, flags, notes, str(problem))
    return Result(found.student, "graded", points, most, flags, notes, " ".join(found.unreadable) or None)


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())[:300] or type(error).__name__
    return text if text.endswith(".") else f"{text}."


def in_force(report: Report, options: Options) -> Iterator[str]:
    """Which limits held, in sentences for the summary."""
    limits = options.limits
    yield f"{limits.cell:g} s a cell, {limits.notebook:g} s a notebook"
    yield f"{limits.output >> 20} MB of output a cell"
    yield f"{limits.files >> 20} MB of files, {limits.memory >> 20} MB of memory by address space"
    if options.sandbox == "none":
        yield "no sandbox: neither files nor network nor processes were kept from the submissions"
        return
    if not report.count("graded"):
        return  # nothing was run, so that nobody has seen what this account may do
    held = {"memory": "memory", "pids": "threads"}
    yes = [held[one] for one in sorted(report.limits & held.keys())]
    no = [text for one, text in held.items() if one not in report.limits]
    if "programs" in report.limits:
        yield "what a submission writes cannot be run as a program"
    else:
        yield "what a submission writes could be run as a program (this account may not mount folders)"
    if yes:
        yield f"{' and '.join(yes)} also by a control group"
    if no:
        yield f"no control group for {' and '.join(no)} (this account may not make one)"
