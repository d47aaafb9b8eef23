"""The command line: `graders autograde ASSIGNMENT ...`."""

from __future__ import annotations

import json
import logging
import secrets
import sys
from collections.abc import Iterator
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graders.classroom import regrade_commands, report_command
from graders.classroom.regrade_commands import CellTimeout, Memory, NotebookTimeout, Workers
from graders.lms import commands as lms

if TYPE_CHECKING:
    from graders.batch.gradebook import Course

app = typer.Typer(
    add_completion=True, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None
)


class Sandbox(StrEnum):
    auto = "auto"
    bwrap = "bwrap"
    none = "none"


class Device(StrEnum):
    cpu = "cpu"
    cuda = "cuda"


@app.callback()
def main() -> None:
    """Grade submissions of a course that uses nbgrader, each in a sandbox, many at a time."""


@app.command()
def autograde(
    assignment: Annotated[
        list[str] | None, typer.Argument(help="The assignments, such as day26.", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All assignments that are released.")] = False,
    student: Annotated[
        list[str] | None, typer.Option(help="Grade this student only; may be repeated.")
    ] = None,
    workers: Workers = None,
    sandbox: Annotated[
        Sandbox, typer.Option(help="none: without a wall, for code you trust.")
    ] = Sandbox.auto,
    device: Annotated[Device, typer.Option(help="cuda: checks run on the GPU as well.")] = Device.cpu,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler to use its workers.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Grade again what was graded.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    cell_timeout: CellTimeout = 60.0,
    notebook_timeout: NotebookTimeout = 600.0,
    memory: Memory = 2048,
) -> None:
    """Grade the submissions of one or more assignments, in the folder of the course.

    Reads submitted/, writes autograded/ and the gradebook as `nbgrader autograde` does. Killed at any
    moment, the same command goes on where it stopped. Exit status: 0 everything is graded, 1 something
    could not be, 2 the run could not start, 130 it was interrupted.
    """
    from graders.batch import ahead, interrupt
    from graders.batch import run as batch
    from graders.batch.importing import much_is_imported
    from graders.batch.private import folders
    from graders.batch.worker import Options, look_through_rubric
    from graders.classroom import comments
    from graders.judging.rubric import MalformedRubric, text_in
    from graders.sandbox import jail

    interrupt.notice()
    limits = jail.Limits(memory=memory << 20, cell=cell_timeout, notebook=notebook_timeout)
    kind = "none" if sandbox is Sandbox.none else "bwrap"
    pool: batch.Pool | batch.Given | None = None
    course = None
    reports: list[batch.Report] = []
    told: set[str] = set()
    ended = False
    try:
        if bool(assignment) == every:
            raise _Refused("Name the assignments to grade, such as day26, or use --all for all of them.")
        names = list(dict.fromkeys(assignment)) if assignment else ahead.folders(Path.cwd())
        if not names:
            raise _Refused("There are no notebooks of an assignment in this folder.")
        libraries = ahead.imported(Path.cwd(), names)
        own = text_in(Path.cwd()), libraries, text_in(Path.cwd(), comments.FILE)
        seed = secrets.randbits(32)
        options = Options(kind, device.value, limits, folders(Path.cwd()), *own, seed)
        if kind == "none":
            typer.echo(
                "Warning: without a sandbox, submissions can read and change whatever you can.", err=True
            )
        elif not scheduler:
            with interrupt.kept_from_children():
                jail.bubblewrap()
        interrupt.act()
        if scheduler:
            pool = _connected(scheduler)
        else:
            pool = batch.Pool(workers or batch.cores(), options)
            pool.warm_up(ahead.expected(Path.cwd(), names, student or [], force=force))
        with much_is_imported():
            course, names = _opened(names, every=every, force=force)
            if options.rubric or options.comments:  # by a worker, which has PyTorch and the names of mistakes
                pool.submit(look_through_rubric, options).result()
            interrupt.act()
        for name in names:
            if name != course.assignment:
                course.close()
                course = None  # it is closed, should the next one not be there to be opened
                course = _course(name, force=force)
            for sentence in _not_served(course, cell_timeout):
                if sentence not in told:
                    typer.echo(sentence, err=True)
                told.add(sentence)
            reports.append(_with_bar(course, pool, options, student or [], quiet=as_json))
            if not as_json:
                _print_summary(reports[-1], list(batch.in_force(reports[-1], options)))
            if reports[-1].stopped:
                break
        else:
            ended = True
    except (jail.NoSandbox, MalformedRubric, _Refused) as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        interrupt.ignore()
        typer.echo("Interrupted. Run the same command again; it goes on where it stopped.", err=True)
        raise typer.Exit(130) from None
    finally:
        interrupt.ignore()
        if course:
            course.close()
        if pool and ended:
            pool.close()
        elif pool:
            pool.kill()
    if as_json:
        shown = [{**asdict(one), "limits": list(batch.in_force(one, options))} for one in reports]
        several = every or len(names) > 1
        typer.echo(json.dumps(shown if several else shown[0], indent=1, ensure_ascii=False))
    if reports[-1].stopped:
        typer.echo(reports[-1].stopped, err=True)
    raise typer.Exit(int(not ended or not all(one.is_complete for one in reports)))


app.command()(regrade_commands.regrade)
app.command()(regrade_commands.comment)
app.command()(report_command.report)
app.command()(lms.collect)
app.command("return")(lms.give_back)


class _Refused(Exception):
    """The run cannot start; the text says why."""


def _course(name: str, *, force: bool) -> Course:
    """The course, opened for this assignment. Raises _Refused."""
    from graders.batch.importing import import_nbgrader

    import_nbgrader()
    from graders.batch.gradebook import CannotStart, Course

    try:
        return Course(Path.cwd(), name, force=force)
    except CannotStart as problem:
        raise _Refused(str(problem)) from None


def _not_served(course: Course, cell_timeout: float) -> Iterator[str]:
    """What the configuration asks for and does not get, in sentences."""
    yield from course.not_served
    configured = course.cell_timeout
    if configured is None or configured < 0:
        yield f"Cells have no limit by nbgrader_config.py; here it is {cell_timeout:g} s (--cell-timeout)."
    elif configured > cell_timeout:
        yield (
            f"Cells have {configured:g} s by nbgrader_config.py; here they have {cell_timeout:g} s: "
            f"--cell-timeout {configured:g} gives them as much."
        )


def _opened(names: list[str], *, every: bool, force: bool) -> tuple[Course, list[str]]:
    """The course, opened for the first of these assignments, and the names of all that are to be graded.

    every: names are those of folders; the gradebook knows what is released. Raises _Refused, before anything
    is graded, where one of several names is that of no assignment.
    """
    for position, name in enumerate(names):
        try:
            course = _course(name, force=force)
            break
        except _Refused:
            if not every or position == len(names) - 1:
                raise
    if not every and len(names) == 1:
        return course, names
    released = sorted(one.name for one in course.gradebook.assignments if one.notebooks)
    course.session.rollback()
    if every:
        return course, [course.assignment, *(one for one in released if one != course.assignment)]
    if unknown := [name for name in names if name not in released]:
        course.close()
        course = _course(unknown[0], force=force)  # which says what to do
    return course, names


def _connected(address: str) -> object:
    """Dask's workers as an executor."""
    from graders.batch.run import Given

    try:
        from distributed import Client
    except ImportError:
        raise _Refused("--scheduler needs Dask: pip install 'normalization-and-momentum[cluster]'.") from None
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong is said in one sentence
    try:
        client = Client(address, timeout=5, set_as_default=False)
    except (OSError, ValueError):
        raise _Refused(f"There is no Dask scheduler at {address}.") from None
    threads = sum(client.nthreads().values())
    if not threads:
        client.close()
        raise _Refused(
            f"The scheduler at {address} has no workers yet; start some with `dask worker {address}`."
        )
    return Given(client.get_executor(pure=False, retries=2), threads, client.close)


def _with_bar(course, pool, options, students, *, quiet):
    from tqdm import tqdm

    from graders.batch import run as batch

    with tqdm(total=0, desc=course.assignment, unit="submission", disable=quiet, file=sys.stderr) as bar:
        return batch.run(
            course, pool, options, students, begun=bar.reset, progress=lambda result: bar.update()
        )


def _print_summary(report, limits) -> None:
    """One line for each submission that was looked at, then what it came to."""
    rows = sorted(report.results, key=lambda result: result.student)
    graded = [result for result in rows if result.outcome == "graded"]
    width = max((len(result.student) for result in rows), default=7)
    if graded:
        typer.echo(f"{'student':<{width}}  {'points':>12}  flags")
    for result in graded:
        points = f"{result.points:g} of {result.most:g}"
        typer.echo(f"{result.student:<{width}}  {points:>12}  {len(result.flags) or ''}".rstrip())
        for text in result.flags:
            typer.echo(f"{'':<{width}}  flag: {text}")
        for text in result.notes:
            typer.echo(f"{'':<{width}}  note: {text}")
        if result.reason:
            typer.echo(f"{'':<{width}}  not graded: {result.reason}")
    for result in rows:
        if result.outcome == "skipped":
            for text in result.notes:
                typer.echo(f"{result.student:<{width}}  note: {text}")
        if result.outcome == "failed":
            typer.echo(f"{result.student:<{width}}  not graded: {result.reason}")
    counts = [f"{report.count('graded')} graded"]
    if report.in_part:
        counts.append(f"{report.in_part} of them only in part")
    left_alone = sum(result.outcome == "skipped" and bool(result.notes) for result in rows)
    if before := report.count("skipped") - left_alone:
        counts.append(f"{before} graded before and not handed in anew (--force grades them)")
    if left_alone:
        counts.append(f"{left_alone} left alone")
    if report.count("failed"):
        counts.append(f"{report.count('failed')} could not be graded")
    typer.echo(f"{report.assignment}: {', '.join(counts)}; {report.seconds:.1f} s.")
    typer.echo("Limits in force: " + "; ".join(limits) + ".")
    if not rows and not report.stopped:
        typer.echo(f"There are no submissions of {report.assignment} in this course.")
