"""The batch: hands submissions to workers, takes what they found, and has it recorded, one after the other."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graders.batch import worker
from graders.batch.worker import Options

if TYPE_CHECKING:
    from graders.batch.gradebook import Course, Submission

#: How often a submission is handed out again when its worker was lost.
RETRIES = 2
#: Submissions that are out at once, for each worker.
AHEAD = 2


@dataclass
class Result:
    """What became of one submission.

    outcome: "graded", "skipped" or "failed". points, most: None where it was not graded. flags: what a
    person should look at. notes: what was odd and is in order now. reason: why it could not be graded.
    """

    student: str
    outcome: str
    points: float | None = None
    most: float | None = None
    flags: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reason: str | None = None


@dataclass
class Report:
    """A whole run. limits: sentences on which limits were in force. stopped: why it ended early, if so."""

    assignment: str
    results: list[Result] = field(default_factory=list)
    limits: set[str] = field(default_factory=set)
    stopped: str | None = None
    seconds: float = 0.0

    def count(self, outcome: str) -> int:
        return sum(result.outcome == outcome for result in self.results)


class Pool:
    """Processes of this machine, made anew when one of them is lost."""

    def __init__(self, workers: int, options: Options) -> None:
        self.workers, self.options = workers, options
        self.executor: Executor = self._made()

    def _made(self) -> Executor:
        return ProcessPoolExecutor(
            self.workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=worker.start,
            initargs=(self.options,),
        )

    def warm_up(self) -> None:
        """Start every process now; they get ready while the course is read."""
        for _ in range(self.workers):
            self.executor.submit(time.sleep, 0.2)

    def renew(self) -> None:
        self.executor.shutdown(wait=False, cancel_futures=True)
        self.executor = self._made()

    def close(self) -> None:
        self.executor.shutdown(wait=True, cancel_futures=True)


class Given:
    """An executor that somebody else made, such as Dask's; it looks after its workers itself."""

    def __init__(self, executor: Executor, workers: int) -> None:
        self.executor, self.workers = executor, workers

    def renew(self) -> None:
        """There is nothing to make anew."""


def run(
    course: Course,
    pool: Pool | Given,
    options: Options,
    students: list[str],
    *,
    progress: Callable[[Result], Any] = lambda result: None,
) -> Report:
    """Grade what is due of an assignment; every submission ends in a result, and none stops the others."""
    from graders.batch.gradebook import CannotRecord

    started = time.monotonic()
    report = Report(course.assignment)
    course.clean_up()

    def done(result: Result) -> None:
        report.results.append(result)
        progress(result)

    waiting = deque[tuple[str, int]]()
    for student, what in course.students(students):
        if what == "skip":
            done(Result(student, "skipped"))
        else:
            waiting.append((student, 0))
    known = {result.student for result in report.results} | {student for student, _ in waiting}
    for student in students:
        if student not in known:
            done(Result(student, "failed", reason="There is no submission of this student."))

    out: dict[Future, tuple[Submission, int]] = {}
    try:
        while waiting or out:
            while waiting and len(out) < AHEAD * pool.workers:
                student, tries = waiting.popleft()
                try:
                    found = course.read(student)
                except Exception as error:  # nothing that was handed in stops the others
                    done(Result(student, "failed", reason=_not_understood(error)))
                    continue
                if not found.notebooks and found.unreadable:
                    done(Result(student, "failed", notes=found.notes, reason=" ".join(found.unreadable)))
                    continue
                job = worker.pack_job(found.notebooks, found.files, options)
                try:
                    out[pool.executor.submit(worker.grade, job)] = found, tries
                except BrokenExecutor:
                    waiting.appendleft((student, tries))
                    pool.renew()
            for future in wait(out, return_when=FIRST_COMPLETED).done if out else ():
                found, tries = out.pop(future)
                try:
                    answer = json.loads(future.result())
                except BrokenExecutor:
                    pool.renew()
                    again = [(found, tries), *out.values()]
                    out.clear()
                    for one, before in again:
                        if before < RETRIES:
                            waiting.append((one.student, before + 1))
                        else:
                            reason = "The worker that graded it ended, again and again."
                            done(Result(one.student, "failed", notes=one.notes, reason=reason))
                    break
                except Exception as error:
                    done(Result(found.student, "failed", notes=found.notes, reason=_sentence(error)))
                    continue
                try:
                    done(_recorded(course, found, answer, report))
                except CannotRecord:
                    raise
                except Exception as error:
                    done(Result(found.student, "failed", notes=found.notes, reason=_not_understood(error)))
    except CannotRecord as problem:
        report.stopped = str(problem)
        for future in out:
            future.cancel()
    report.seconds = time.monotonic() - started
    return report


def _recorded(course: Course, found: Submission, answer: dict[str, Any], report: Report) -> Result:
    notebooks = answer["notebooks"]
    points, most = course.record(found, notebooks)
    flags = [flag for one in notebooks.values() for flag in one["flags"]]
    notes = list(found.notes) + found.unreadable
    for name, one in notebooks.items():
        report.limits.update(one["cgroup"])
        if one["stopped"]:
            notes.append(f"{name}: {one['stopped']}")
    return Result(found.student, "graded", points, most, flags, notes)


def _not_understood(error: Exception) -> str:
    what = f"{type(error).__name__}: {_sentence(error)}"
    return f"The submission is of a kind that the grader does not know ({what})."


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())[:300] or type(error).__name__
    return text if text.endswith(".") else f"{text}."


def in_force(report: Report, options: Options) -> Iterator[str]:
    """Which limits held, in sentences for the summary."""
    limits = options.limits
    yield f"{limits.cell:g} s a cell, {limits.notebook:g} s a notebook, {limits.output >> 20} MB of output a cell"
    yield f"{limits.files >> 20} MB of files, {limits.memory >> 20} MB of memory by address space"
    if options.sandbox == "none":
        yield "no sandbox: neither files nor network nor processes were kept from the submissions"
        return
    held = {"memory": "memory", "pids": "threads"}
    yes = [held[one] for one in sorted(report.limits)]
    no = [text for one, text in held.items() if one not in report.limits]
    if yes:
        yield f"{' and '.join(yes)} also by a control group"
    if no:
        yield f"no control group for {' and '.join(no)} (this account may not make one)"
