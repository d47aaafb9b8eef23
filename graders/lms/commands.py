"""The commands `graders collect` and `graders return`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from graders.lms.collect import Collected

#: How many of the files and students that share a reason are named.
NAMED = 5


class System(StrEnum):
    moodle = "moodle"
    canvas = "canvas"
    blackboard = "blackboard"
    brightspace = "brightspace"


def collect(
    assignment: Annotated[str, typer.Argument(help="The assignment, such as day26.", show_default=False)],
    zip_file: Annotated[
        Path, typer.Argument(metavar="ZIP", help="The zip of all submissions that the system gave.")
    ],
    roster: Annotated[
        list[Path] | None,
        typer.Option(help="A table that says which student is who in the system; may be repeated."),
    ] = None,
    system: Annotated[
        System | None, typer.Option("--from", help="Whose zip it is, where it is not recognized.")
    ] = None,
    timezone: Annotated[
        str, typer.Option(help="Of the times in the zip, such as Europe/Berlin; this machine's without.")
    ] = "",
) -> None:
    """Put the submissions of a zip from Moodle, Canvas, Blackboard or Brightspace into submitted/.

    Without --roster, the students are those of the gradebook. What lies in submitted/ already is set aside.
    Exit status: 0 everything was given to somebody, 1 something could not be, 2 nothing was collected.
    """
    from zoneinfo import ZoneInfo

    from graders.lms import archive, tables
    from graders.lms import collect as collecting
    from graders.lms.roster import Unusable

    try:
        zone = ZoneInfo(timezone) if timezone else None
    except (ValueError, OSError, KeyError):
        _refuse(f"There is no time zone {timezone}; name one such as Europe/Berlin.")
    try:
        where = collecting.folders(Path.cwd(), assignment)
        known = collecting.roster_of(where.directory, roster or [])
        done = collecting.collect(where, zip_file, known, system.value if system else None, zone)
    except (collecting.CannotCollect, archive.NoArchive, tables.NoTable, Unusable) as problem:
        _refuse(str(problem))
    except KeyboardInterrupt:
        typer.echo("Interrupted. Run the same command again; what was collected is left alone.", err=True)
        raise typer.Exit(130) from None
    for line in _summary(assignment, done):
        typer.echo(line)
    raise typer.Exit(int(bool(done.problems)))


def give_back(
    assignment: Annotated[str, typer.Argument(help="The assignment, such as day26.", show_default=False)],
    zip_file: Annotated[Path, typer.Argument(metavar="ZIP", help="The zip to write.")],
    system: Annotated[
        System | None, typer.Option("--for", help="The system; by default, from which it was collected.")
    ] = None,
) -> None:
    """Pack the feedback on an assignment into a zip that Moodle or Canvas takes.

    Exit status: 0 it was packed, 2 it was not.
    """
    from graders.lms import collect as collecting
    from graders.lms.returning import pack

    try:
        where = collecting.folders(Path.cwd(), assignment)
        done = pack(where, zip_file, system.value if system else None)
    except collecting.CannotCollect as problem:
        _refuse(str(problem))
    except OSError as error:
        _refuse(f"{zip_file} cannot be written: {error.strerror}.")
    typer.echo(f"{assignment}: feedback for {len(done.students)} students in {zip_file}.")
    if done.without:
        typer.echo(f"No feedback yet: {_some(done.without)}.")
    if done.unknown:
        typer.echo(f"Not from the collected zip, and not packed: {_some(done.unknown)}.")


def _refuse(sentence: str) -> None:
    typer.echo(sentence, err=True)
    raise typer.Exit(2) from None


def _summary(assignment: str, done: Collected) -> Iterator[str]:
    """What became of the zip: what nobody got first, by reason."""
    from graders.batch.submission import shown
    from graders.lms.forms import FORMS

    reasons: dict[str, list[str]] = {}
    for path, why in done.problems:
        reasons.setdefault(why, []).append(path)
    for why, paths in reasons.items():
        yield f"Given to nobody: {shown(_some(paths))}: {shown(why)}."
    yield from (shown(note) for note in done.notes)
    if done.newer:
        yield f"What lies there was handed in later, and stays: {_some(done.newer)}."
    if done.aside:
        yield f"What these had handed in before is set aside in {done.aside}: {_some(done.replaced)}."
    counts = [f"{len(done.new)} new"]
    counts += [f"{len(done.replaced)} replaced"] if done.replaced else []
    counts += [f"{len(done.unchanged)} unchanged"] if done.unchanged else []
    counts += [f"{len(done.problems)} files given to nobody"] if done.problems else []
    yield (
        f"{assignment}, from {FORMS[done.system].system}: {', '.join(counts)}. "
        f"Students are called by {done.called_by}."
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
