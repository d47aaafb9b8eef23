"""Judges again what was graded, after an exercise, a mistake, the rubric or a comment has changed.

By the index of a graded notebook it is known on what each of its verdicts depends. Where nothing of that has
changed, the verdict stands. Where what the judge knows has changed, it judges what is kept of the candidate.
Where the questions have changed, the released notebook or the files beside it, or where nothing is kept, the
submission is run again in the sandbox. Nothing is written before it is known what would change, and why.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graders.batch import interrupt, worker
from graders.batch import run as batch
from graders.batch.submission import shown
from graders.classroom import observations
from graders.classroom.observations import Check, Index

if TYPE_CHECKING:  # nbgrader takes long to import, and the processes that judge can do without
    from graders.batch.gradebook import Course
    from graders.batch.intake import Submission
    from graders.judging.question import Paper

#: What a worker is asked at once: so many verdicts keep it busy longer than asking takes.
AT_ONCE = 8
#: A notebook, and the name of a cell in it.
_Cell = tuple[str, str]
Progress = Callable[[int, int], Any]


@dataclass(frozen=True)
class Change:
    """The points of one cell, before and after, and why they change.

    by_hand: the points that a person has given, which stay whatever becomes of the others.
    """

    student: str
    cell: str
    before: float | None
    after: float | None
    why: str
    by_hand: float | None = None


@dataclass
class Outcome:
    """What has come of it, or would.

    changes: points that change. reworded: students whose report says something else, for the same points.
    stored, sandbox: students who were judged by what is kept of them, and in the sandbox, with the reason.
    anew, ungraded: students whose later submission, or whose first one, is still to be graded. in_part: those
    of whom a notebook is. failed: students who could not be judged, with the reason. flags: what a person
    should look at, of those who were run again. stopped: why it ended early, if it did.
    """

    assignment: str
    changes: list[Change] = field(default_factory=list)
    reworded: set[str] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)
    sandbox: dict[str, str] = field(default_factory=dict)
    anew: list[str] = field(default_factory=list)
    ungraded: list[str] = field(default_factory=list)
    in_part: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    flags: dict[str, list[str]] = field(default_factory=dict)
    stopped: str | None = None


@dataclass
class _Notebook:
    """A graded notebook of which something is to be judged again.

    before: its index. due: the checks. outputs: by cell, where they are others now. now: the checks as they
    are now, by cell.
    """

    student: str
    folder: Path
    name: str
    before: Index
    due: list[Check]
    outputs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    now: dict[str, Check] = field(default_factory=dict)

    def take(self, answer: Mapping[str, tuple[list[dict[str, Any]], dict[str, Any]]]) -> None:
        """Take what a worker says of the checks."""
        for check in self.due:
            outputs, about = answer[check.cell]
            self.now[check.cell] = now = observations.check_of({**about, "seen": True})
            if (now.told, now.points, now.worth) != (check.told, check.points, check.worth):
                self.outputs[check.cell] = outputs

    @property
    def after(self) -> Index:
        """The index as it is to be now."""
        return replace(
            self.before,
            judge={day: observations.judge(day) for day in self.before.judge},
            checks=tuple(self.now.get(one.cell, one) for one in self.before.checks),
        )


class Regrading:
    """One regrading of an assignment: first `look`, then `write` what was found."""

    def __init__(self, course: Course, options: worker.Options, executor: Executor, workers: int) -> None:
        self.course, self.options, self.workers = course, options, workers
        self._executor = executor
        self.outcome = Outcome(course.assignment)
        self._scores = course.scores()
        self._kept: list[_Notebook] = []
        self._again: _Again | None = None
        self._spool = tempfile.TemporaryDirectory(prefix="graders-")

    def close(self) -> None:
        self._spool.cleanup()

    def look(self, students: Sequence[str], progress: Progress = lambda done, of: None) -> None:
        """Judge again what has to be, and find out what would change. Raises NoSandbox.

        students: only these; all if there are none. progress: told how many notebooks are judged so far, and
        of how many.
        """
        graded = dict(self.course.graded(students))
        listed = dict(self.course.students(list(students)))
        for student in dict.fromkeys(students):
            if student not in graded and student not in listed:
                self.outcome.failed[student] = "There is no submission of this student."
        self.outcome.ungraded += [
            student for student, what in listed.items() if student not in graded or what == "lost"
        ]
        self.outcome.anew += [student for student in graded if listed.get(student) == "grade"]
        self.outcome.in_part += [student for student in graded if listed.get(student) == "rest"]
        found = [
            one
            for student, folder in graded.items()
            if listed.get(student) not in ("grade", "lost")
            for one in self._notebooks(student, folder)
        ]
        self._drop_what_stands(found)
        self._judge(found, progress)
        lost = [student for student in self.outcome.sandbox if student not in listed]
        for student in lost:
            reason = self.outcome.sandbox.pop(student)
            self.outcome.failed[student] = (
                f"It has to be run again ({reason}), and is no longer in its place."
            )
        self.outcome.stored -= self.outcome.sandbox.keys() | self.outcome.failed.keys()
        self._kept = [one for one in found if one.student in self.outcome.stored and one.now]
        self._note_kept()
        if self.outcome.sandbox:
            self._run()

    def _notebooks(self, student: str, folder: Path) -> Iterator[_Notebook]:
        """The graded notebooks of a student; nothing where they have to be run again."""
        self.outcome.stored.add(student)
        found = []
        for name in self.course.release:
            if not (folder / f"{name}.ipynb").exists():
                continue
            index = observations.index_in(folder, name)
            if why := self._why_not(index, name):
                self.outcome.sandbox[student] = why
                return
            assert index
            found.append(_Notebook(student, folder, name, index, list(index.checks)))
        yield from found

    def _why_not(self, index: Index | None, name: str) -> str:
        """Why a notebook cannot be judged by what is kept of it; empty if it can."""
        if index is None:
            return "nothing is stored of it"
        if index.released != self.course.digests[name]:
            return "the released notebook or a file beside it has changed"
        if any(observations.questions(day) != one for day, one in index.questions.items()):
            return "the questions have changed"
        if any(one.outcome and not one.seen for one in index.checks):
            return "what was seen of it was too much to be stored"
        return ""

    def _worth(self, one: _Notebook, check: Check) -> float:
        return float(self.course.release[one.name].cells[check.cell].points or 0.0)

    def _drop_what_stands(self, found: list[_Notebook]) -> None:
        """Leave of the checks those that are to be judged again."""
        said = {(check.exercise, check.named) for one in found for check in one.due}
        given = self.options.rubric, self.options.comments
        standing = submitted(self._executor, standings, sorted(said), *given).result()
        for one in found:
            one.due = [
                check
                for check in one.due
                if check.seen
                and (
                    one.before.judge.get(check.day) != observations.judge(check.day)
                    or check.standing != standing[check.exercise, check.named]
                    or check.worth != self._worth(one, check)
                )
            ]

    def _judge(self, found: list[_Notebook], progress: Progress) -> None:
        due = sorted((one for one in found if one.due), key=lambda one: [check.seed for check in one.due])
        given = self.options.rubric, self.options.comments
        jobs = [due[start : start + AT_ONCE] for start in range(0, len(due), AT_ONCE)]
        waiting = [
            submitted(
                self._executor,
                judged_again,
                [
                    (str(one.folder), one.name, [(asdict(two), self._worth(one, two)) for two in one.due])
                    for one in job
                ],
                *given,
            )
            for job in jobs
        ]
        done = 0
        for job, future in zip(jobs, waiting, strict=True):
            while not batch.done_of([future]):
                interrupt.act()
            try:
                answers = future.result()
            except BrokenExecutor:
                for one in job:
                    self.outcome.failed[one.student] = "The process that judged it ended; try it again."
                continue
            for one, answer in zip(job, answers, strict=True):
                done += 1
                progress(done, len(due))
                if isinstance(answer, str):
                    self.outcome.sandbox[one.student] = answer
                else:
                    one.take(answer)

    def _note_kept(self) -> None:
        for one in self._kept:
            for check in one.due:
                if check.cell in one.outputs:
                    self._note(one.student, one.name, check.cell, one.now[check.cell].points, check, one.now)

    def _note(
        self,
        student: str,
        notebook: str,
        cell: str,
        after: float | None,
        was: Check | None,
        now: Mapping[str, Check],
    ) -> None:
        before, by_hand = self._scores.get((student, notebook, cell), (None, None))
        if before == after:
            self.outcome.reworded.add(student)
        else:
            why = _why(was, now.get(cell))
            self.outcome.changes.append(Change(student, cell, before, after, why, by_hand))

    # In the sandbox

    def _run(self) -> None:
        pool = batch.Pool(min(self.workers, len(self.outcome.sandbox)), self.options)
        ended = False
        self._again = _Again(self.course, list(self.outcome.sandbox), Path(self._spool.name))
        try:
            report = batch.run(self._again, pool, self.options, [])
            ended = True
        finally:
            if ended:
                pool.close()
            else:
                pool.kill()
        self.outcome.stopped = report.stopped
        for result in report.results:
            if result.outcome == "failed" or result.reason:
                self.outcome.failed[result.student] = result.reason or ""
            if result.flags:
                self.outcome.flags[result.student] = result.flags
        folders = dict(self.course.graded(list(self._again.found)))
        for student, (scores, checks) in self._again.found.items():
            folder, was = folders[student], {}
            for name in self.course.release:
                if index := observations.index_in(folder, name):
                    was |= {(name, one.cell): one for one in index.checks}
            for (notebook, cell), after in scores.items():
                before, now = was.get((notebook, cell)), checks.get((notebook, cell))
                known = self._scores.get((student, notebook, cell), (None, None))[0]
                if known != after or (before and now and before.told != now.told):
                    self._note(student, notebook, cell, after, before, {cell: now} if now else {})

    # Writing it down

    def write(self, progress: Progress = lambda done, of: None) -> None:
        """Write down what was found, a submission a transaction."""
        from graders.batch.gradebook import CannotRecord, NotRecorded

        kept: dict[str, list[_Notebook]] = {}
        for one in self._kept:
            kept.setdefault(one.student, []).append(one)
        again = list(self._again.found) if self._again else []
        for done, student in enumerate((*kept, *again), 1):
            interrupt.act()
            try:
                if student in kept:
                    self._rewrite(student, kept[student])
                elif self._again:
                    self.course.record(*self._again.taken(student))
            except NotRecorded as problem:
                self.outcome.failed[student] = str(problem)
            except CannotRecord as problem:
                self.outcome.stopped = str(problem)
                return
            progress(done, len(kept) + len(again))

    def _rewrite(self, student: str, notebooks: Sequence[_Notebook]) -> None:
        outputs = {one.name: one.outputs for one in notebooks if one.outputs}
        self.course.rewrite(student, outputs, {one.name: one.after for one in notebooks})


class _Again:
    """A course in which some submissions are due, and what is to be recorded is only put by.

    found: by student, the points of each cell, and the checks.
    """

    def __init__(self, course: Course, due: Sequence[str], spool: Path) -> None:
        self._course, self._due, self._spool = course, due, spool
        self.assignment, self.clean_up, self.read = course.assignment, course.clean_up, course.read
        self.found: dict[str, tuple[dict[_Cell, float | None], dict[_Cell, Check]]] = {}

    def students(self, wanted: Sequence[str]) -> Iterator[tuple[str, str]]:
        return ((student, "grade") for student in self._due)

    def misplaced(self, wanted: Sequence[str]) -> dict[str, str]:
        """Nobody: all were found before."""
        return {}

    def record(self, found: Submission, answers: Mapping[str, Mapping[str, Any]]) -> tuple[float, float]:
        scores, checks = {}, {}
        for name, answer in answers.items():
            scores |= {(name, cell): points for cell, points in self._course.scores_in(answer["notebook"])}
            checks |= {(name, one["cell"]): observations.check_of(one) for one in answer["checks"]}
        for name in found.missing:
            cells = self._course.release[name].cells.values()
            scores |= {(name, cell.name): 0.0 for cell in cells if cell.grade}
        head = {
            "notebooks": answers,
            "notes": found.notes,
            "unreadable": found.unreadable,
            "doubtful": {name: sorted(cells) for name, cells in found.doubtful.items()},
        }
        self._place(found.student).write_bytes(worker.packed(head, found.files))
        self.found[found.student] = scores, checks
        return sum(points or 0.0 for points in scores.values()), 0.0

    def taken(self, student: str) -> tuple[Submission, dict[str, Any]]:
        """What was put by of a student, as `Course.record` wants it."""
        from graders.batch.intake import Submission

        head, files = worker.opened(self._place(student).read_bytes())
        doubtful = {name: set(cells) for name, cells in head["doubtful"].items()}
        found = Submission(student, {}, files, head["notes"], head["unreadable"], doubtful)
        return found, head["notebooks"]

    def _place(self, student: str) -> Path:
        return self._spool / str(self._due.index(student))


def _why(was: Check | None, now: Check | None) -> str:
    """Why the points of a cell change, in a few words."""
    if now is None:
        return "its tests" if was is None else "it could not be judged"
    if was is None:
        return _called(now)
    if _called(was) != _called(now):
        return f"{_called(was)} → {_called(now)}"
    if was.added != now.added:
        return f"{_called(now)}: the comment's points, {was.added:+g} → {now.added:+g}"
    if was.worth != now.worth:
        return f"{_called(now)}: the cell is worth {now.worth:g} instead of {was.worth:g}"
    return f"{_called(now)}: leaves another share"


def _called(check: Check) -> str:
    return check.mistake or check.outcome or "not reached"


# In a worker


@contextlib.contextmanager
def judges(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that have the judge, and no box; ended in the middle of what they do if this is."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["graders.classroom.judge_ahead"])  # which is imported once
    # Its start opens the signal mask, so it must not fall between our closing it and a worker's start.
    resource_tracker.ensure_running()
    executor = ProcessPoolExecutor(workers, mp_context=context)

    def begin() -> None:
        with contextlib.suppress(RuntimeError):  # the run is over before it has begun
            submitted(executor, abs, 0)

    threading.Thread(target=begin, daemon=True).start()  # they import PyTorch while the course is opened
    try:
        yield executor
    except BaseException:
        for process in list((executor._processes or {}).values()):
            process.terminate()
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def submitted(executor: Executor, function: Callable[..., Any], *arguments: Any) -> Future:
    with interrupt.kept_from_children():
        return executor.submit(function, *arguments)


def standings(
    said: Sequence[tuple[str, tuple[str, ...]]], rubric: str, comments: str
) -> dict[tuple[str, tuple[str, ...]], str]:
    """What stands for these mistakes of an exercise now, as a digest. Raises MalformedRubric."""
    from graders.classroom.comments import comments_of
    from graders.judging import catalogue
    from graders.judging.rubric import rubric_of

    known = rubric_of(rubric), comments_of(comments)
    exercises = catalogue.exercises()
    return {
        (name, named): observations.standing(name, named, *known) if name in exercises else "gone"
        for name, named in said
    }


def judged_again(
    jobs: Sequence[tuple[str, str, Sequence[tuple[Mapping[str, Any], float]]]], rubric: str, comments: str
) -> list[dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] | str]:
    """Judge what is kept of some notebooks; each is a folder, a name, and checks with their points.

    For each notebook by cell the outputs and what the verdict depends on, or why it has to be run again.
    """
    from graders.classroom.comments import comments_of
    from graders.judging.rubric import rubric_of

    known = rubric_of(rubric), comments_of(comments)
    answers: list[Any] = []
    for folder, name, due in jobs:
        try:
            wanted = {check["cell"]: (observations.check_of(check), worth) for check, worth in due}
            answers.append(dict(_judged(Path(folder), name, wanted, known)))
        except _NotKept as problem:
            answers.append(str(problem))
    return answers


class _NotKept(Exception):
    """What is kept of a candidate is no answer to the questions; the text says why."""


def _judged(
    folder: Path, name: str, wanted: Mapping[str, tuple[Check, float]], known: tuple[Any, Any]
) -> Iterator[tuple[str, tuple[list[dict[str, Any]], dict[str, Any]]]]:
    import torch

    from graders.batch.notebook import about_check, judged, writable
    from graders.judging import catalogue
    from graders.probing.process import protocol, values

    torch.set_num_threads(1)
    left = dict(wanted)
    try:
        for header, payload in observations.frames_in(folder, name):
            if header["cell"] not in left:
                continue
            check, worth = left.pop(header["cell"])
            if any(not _is_there(device) for device in check.devices):
                raise _NotKept("it was checked on a device that is not here")
            paper, cases = _asked(check.exercise, check.devices, check.seed)
            if header["cases"] != cases:
                raise _NotKept("the questions have changed")
            answer, sights, surveyed = header["answer"], [], None
            if "sights" in answer:
                devices = [question.setting.device for question in paper.questions]
                sights, surveyed = values.unpack_sights(answer["sights"], payload, devices)
            about = about_check(catalogue.find(check.exercise), check.cell, check.seed, check.devices)
            outputs = judged(paper, answer, sights, surveyed, known, 0, {"points": worth}, about)
            yield check.cell, (writable(outputs), about)
    except (OSError, KeyError, TypeError, protocol.Broken):
        raise _NotKept("what is stored of it cannot be read") from None
    if left:
        raise _NotKept("nothing is stored of one of its checks")


@lru_cache(maxsize=64)
def _asked(exercise: str, devices: tuple[str, ...], seed: int) -> tuple[Paper, str]:
    """The questions of an exercise from a seed, and a digest of their cases."""
    from graders.batch.notebook import paper_of

    paper, packed = paper_of(exercise, devices, seed)
    return paper, observations.digest_of(packed)


def _is_there(device: str) -> bool:
    import torch

    return device == "cpu" or (device == "cuda" and torch.cuda.is_available())


# In words


def in_words(outcome: Outcome) -> Iterator[str]:
    """What points change and why, a line each, and what it comes to."""
    rows = [
        (
            shown(one.student),
            one.cell,
            f"{_number(one.before)} → {_number(one.after)}",
            one.why + (f" ({one.by_hand:g} by hand stay)" if one.by_hand is not None else ""),
        )
        for one in sorted(outcome.changes, key=lambda one: (one.student, one.cell))
    ]
    if rows:
        rows.insert(0, ("student", "cell", "points", "why"))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        for row in rows:
            yield "  ".join((*(f"{text:<{width}}" for text, width in zip(row, widths, strict=False)), row[3]))
    for student, flags in sorted(outcome.flags.items()):
        yield from (f"{student}  flag: {text}" for text in flags)
    for student, reason in sorted(outcome.failed.items()):
        yield f"{shown(student)}  not judged: {shown(reason)}"
    changed = {one.student for one in outcome.changes}
    points = f"points of {_count(len(changed), 'student')} change" if changed else "no points change"
    reworded = len(outcome.reworded - changed)
    others = f"; {_count(reworded, 'other report')} will read differently" if reworded else ""
    yield f"{outcome.assignment}: {points}{others}."
    yield f"Judged by what is stored: {_count(len(outcome.stored), 'submission')}."
    for why in sorted(set(outcome.sandbox.values())):
        count = sum(one == why for one in outcome.sandbox.values())
        yield f"Run again in the sandbox: {_count(count, 'submission')}; {why}."
    for students_left, text in (
        (outcome.anew, "handed in anew since"),
        (outcome.ungraded, "not graded yet"),
    ):
        if students_left:
            count = _count(len(students_left), "submission")
            yield f"Left out: {count} {text}; `graders autograde {outcome.assignment}` grades them."
    if outcome.in_part:
        count = _count(len(outcome.in_part), "submission")
        yield f"Graded only in part: {count}; `graders autograde {outcome.assignment}` says why."


def _number(points: float | None) -> str:
    return "–" if points is None else f"{points:g}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"
