"""The commands `graders regrade` and `graders comment`."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from graders.batch.gradebook import Course
    from graders.batch.worker import Options
    from graders.classroom.comments import Comments

Name = Annotated[str, typer.Argument(help="The assignment, such as day26.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and write nothing.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes at most; as many as there are cores.")]
CellTimeout = Annotated[float, typer.Option(min=0.01, help="Seconds of wall time for a cell.")]
NotebookTimeout = Annotated[float, typer.Option(min=0.01, help="Seconds of wall time for a notebook.")]
Memory = Annotated[int, typer.Option(min=1, help="Megabytes of memory for a submission.")]


def regrade(
    assignment: Name,
    dry_run: DryRun = False,
    student: Annotated[list[str] | None, typer.Option(help="This student only; may be repeated.")] = None,
    workers: Workers = None,
    sandbox: Annotated[
        str, typer.Option(metavar="[auto|bwrap|none]", help="none: without a wall, for code you trust.")
    ] = "auto",
    device: Annotated[
        str, typer.Option(metavar="[cpu|cuda]", help="Where checks that are run again run.")
    ] = "cpu",
    cell_timeout: CellTimeout = 60.0,
    notebook_timeout: NotebookTimeout = 600.0,
    memory: Memory = 2048,
) -> None:
    """Judge again what was graded, after an exercise, a mistake, the rubric or a comment has changed.

    By what is stored of each submission where that is enough, else in the sandbox. Prints whose points
    change and why, then writes it down, unless --dry-run is given. What people gave or wrote by hand stays.
    Exit status: 0 all is judged, 1 something could not be, 2 it could not start, 130 it was interrupted.
    """
    from graders.batch.run import cores
    from graders.classroom import comments
    from graders.classroom.regrade import judges
    from graders.judging.rubric import text_in
    from graders.sandbox import jail

    kinds = {"auto": "bwrap", "bwrap": "bwrap", "none": "none"}
    if sandbox not in kinds or device not in ("cpu", "cuda"):
        _refuse("--sandbox is auto, bwrap or none, and --device is cpu or cuda.")
    limits = jail.Limits(memory=memory << 20, cell=cell_timeout, notebook=notebook_timeout)

    def options() -> Options:
        return _options(text_in(Path.cwd(), comments.FILE), assignment, kinds[sandbox], device, limits)

    def act() -> bool:
        count = workers or cores()
        with judges(count) as executor:
            return _regrade(assignment, options(), student or [], (executor, count), dry_run=dry_run)

    _in_words(act)


def comment(
    assignment: Name,
    exercise: Annotated[
        str | None, typer.Argument(help="Such as batch_norm_forward.", show_default=False)
    ] = None,
    mistake: Annotated[
        str | None, typer.Argument(help="Its key, such as eps_outside_root.", show_default=False)
    ] = None,
    text: Annotated[
        str | None, typer.Argument(help="What to say to all who made it.", show_default=False)
    ] = None,
    points: Annotated[float, typer.Option(help="Points to add, or with a minus to take away.")] = 0.0,
    remove: Annotated[bool, typer.Option("--remove", help="Take the comment out again.")] = False,
    dry_run: DryRun = False,
    workers: Workers = None,
) -> None:
    """Say something to everybody who made a mistake, and add to their points or take away from them.

    It is kept in comments.toml, stands in the report of all who made the mistake, now and whenever something
    is graded, and leaves alone what was written to one student. Without an exercise, lists what is said.
    Exit status as of `graders regrade`, which follows by itself.
    """
    from graders.batch.run import cores
    from graders.classroom import comments
    from graders.classroom.regrade import judges, submitted
    from graders.judging.rubric import text_in
    from graders.sandbox import jail

    path = Path.cwd() / comments.FILE
    count = workers or cores()

    def changed(executor: Executor) -> tuple[str, str]:
        before = text_in(Path.cwd(), comments.FILE)
        remark = None if remove else comments.remark_of(text or "", points, f"{exercise} {mistake}:")
        # By a process that has PyTorch, and so the names of exercises and mistakes.
        after = submitted(executor, comments.changed, before, exercise, mistake, remark).result()
        if remove and after == before:
            _refuse(f"Nothing is said of {mistake} in {exercise}: see `graders comment {assignment}`.")
        return before, after

    def act() -> bool:
        if exercise is None:
            _list(assignment, comments.comments_of(text_in(Path.cwd(), comments.FILE)))
            return True
        if mistake is None or not (remove or text or points):
            _refuse(
                "Name the exercise and the mistake, then what to say, such as "
                f'`graders comment {assignment} batch_norm_forward eps_outside_root "Nearly."`.'
            )
        with judges(count) as executor:
            before, after = changed(executor)
            options = _options(after, assignment, "bwrap", "cpu", jail.Limits())

            def keep() -> None:
                if after != before:
                    _put(path, after)

            given = executor, count
            return _regrade(assignment, options, [], given, dry_run=dry_run, asked=exercise, first=keep)

    _in_words(act)


def _put(path: Path, text: str) -> None:
    """Write a file in one step. Raises OSError."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


def _list(assignment: str, said: Comments) -> None:
    """What is said of the exercises of an assignment."""
    from graders.classroom.comments import FILE

    course = _course(assignment)
    try:
        checked = _checked(course)
    finally:
        course.close()
    lines = [
        f"{exercise} {key}{f' ({one.points:+g})' if one.points else ''}: {one.text or 'points alone'}"
        for exercise, key, one in said
        if exercise in checked
    ]
    typer.echo("\n".join(lines) or f"Nothing is said of mistakes in {assignment} yet; it would be in {FILE}.")


def _checked(course: Course) -> set[str]:
    """Names that the checks of an assignment are called with; the exercises are among them."""
    from graders.classroom.observations import checked_in

    return {
        name for one in course.release.values() for cell in one.cells.values() for name in checked_in(cell)
    }


def _options(comments: str, assignment: str, sandbox: str, device: str, limits: object) -> Options:
    from graders.batch.ahead import imported
    from graders.batch.private import folders
    from graders.batch.worker import Options
    from graders.judging.rubric import text_in

    here = Path.cwd()
    return Options(
        sandbox,
        device,
        limits,  # type: ignore[arg-type]
        folders(here),
        text_in(here),
        imported(here, [assignment]),
        comments,
        secrets.randbits(32),
    )


def _course(assignment: str) -> Course:
    from graders.batch.importing import much_is_imported

    with much_is_imported():
        from graders.batch.gradebook import CannotStart, Course

        try:
            return Course(Path.cwd(), assignment)
        except CannotStart as problem:
            _refuse(str(problem))


def _regrade(
    assignment: str,
    options: Options,
    students: list[str],
    judges: tuple[Executor, int],
    *,
    dry_run: bool,
    asked: str | None = None,
    first: Callable[[], None] = lambda: None,
) -> bool:
    """Look, print, and write; returns whether everything was judged.

    judges: the processes that judge, and how many. asked: an exercise that the assignment must have. first:
    done before anything is written.
    """
    from tqdm import tqdm

    from graders.classroom.regrade import Regrading, in_words

    course = _course(assignment)
    try:
        if asked and asked not in _checked(course):
            _refuse(f"{assignment} has no check of {asked}; name the assignment that has one.")
        regrading = Regrading(course, options, *judges)
        try:
            with tqdm(total=0, desc=assignment, unit="notebook", file=sys.stderr, leave=False) as bar:

                def progress(done: int, of: int) -> None:
                    bar.total, bar.n = of, done
                    bar.refresh()

                regrading.look(students, progress)
            outcome = regrading.outcome
            typer.echo("\n".join(in_words(outcome)))
            if dry_run:
                typer.echo("Nothing was written (--dry-run).")
            elif not outcome.stopped:
                first()
                regrading.write()
                _say_written(assignment, regrading)
        finally:
            regrading.close()
    finally:
        course.close()
    if outcome.stopped:
        typer.echo(outcome.stopped, err=True)
    return not outcome.failed and not outcome.stopped


def _say_written(assignment: str, regrading: object) -> None:
    outcome = regrading.outcome  # type: ignore[attr-defined]
    if outcome.changes or outcome.reworded:
        typer.echo(
            f"Written. The feedback that was made before says otherwise: make it anew with "
            f"`nbgrader generate_feedback {assignment} --force`."
        )


def _in_words(act: Callable[[], bool]) -> None:
    """Do it; what a person can cause ends in one sentence."""
    from graders.batch import interrupt
    from graders.judging.rubric import MalformedRubric
    from graders.sandbox.jail import NoSandbox

    interrupt.notice()
    try:
        complete = act()
    except (MalformedRubric, NoSandbox) as problem:
        _refuse(str(problem))
    except OSError as problem:
        _refuse(f"{problem.filename or 'A file'} cannot be read or written: {problem.strerror or problem}.")
    except KeyboardInterrupt:
        interrupt.ignore()
        typer.echo("Interrupted. Run the same command again; it goes on where it stopped.", err=True)
        raise typer.Exit(130) from None
    raise typer.Exit(int(not complete))


def _refuse(text: str) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(2)
