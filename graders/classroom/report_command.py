"""The command `graders report`."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from jupyter_core.paths import jupyter_runtime_dir

if TYPE_CHECKING:
    from graders.classroom.report_page import Links

#: Where a page is written that has no other place, in the folder of the course.
FOLDER = "reports"


def report(
    assignment: Annotated[str, typer.Argument(help="The assignment, such as day26.")],
    html: Annotated[
        Path | None, typer.Option(help="Write the page there; reports/ASSIGNMENT.html if not given.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write a table for spreadsheets there.")] = None,
    names: Annotated[
        bool, typer.Option("--names/--no-names", help="Without: numbers, and no name in any file.")
    ] = True,
    formgrader: Annotated[
        str,
        typer.Option(
            help="Address of the Jupyter server that the page links to; one that runs here if not given."
        ),
    ] = "",
    similar: Annotated[
        bool, typer.Option("--similar", help="List pairs whose code is unusually alike.")
    ] = False,
) -> None:
    """Say what a class has understood of an assignment, and what to teach next.

    Reads autograded/ and the gradebook in the folder of the course; changes neither.
    """
    from graders.classroom import report as figures
    from graders.classroom.report_data import NoReport
    from graders.classroom.report_names import Names
    from graders.classroom.report_page import as_page
    from graders.classroom.report_text import as_csv, as_text

    root = Path.cwd()
    try:
        found = figures.report(root, assignment, with_similar=similar)
    except NoReport as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(2) from None
    called = Names(found.classroom, hidden=not names)
    place = html or root / FOLDER / f"{assignment}.html"
    written = {place: as_page(found, called, links_of(root, place, formgrader))}
    if csv:
        written[csv] = as_csv(found, called)
    for path, text in written.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as problem:
            why = problem.strerror or problem
            typer.echo(f"{path} cannot be written ({why}); name another place.", err=True)
            raise typer.Exit(2) from None
    typer.echo(as_text(found, called))
    typer.echo(f"Written: {', '.join(map(str, written))}.")


def links_of(root: Path, page: Path, formgrader: str) -> Links:
    """Where the links of a page lead that lies there.

    formgrader: the address of a Jupyter server; if none is given, of one that serves this course now.
    """
    from graders.classroom.report_page import Links, in_formgrader

    server = (formgrader or server_of(root)).rstrip("/").removesuffix("/formgrader")
    lectures = root / "course"
    if not (lectures / "index.ipynb").is_file():
        away = ""
    elif server:
        away = f"{server}/lab/tree/course"
    else:
        away = Path(os.path.relpath(lectures, page.resolve().parent)).as_posix()
    return Links(away, in_formgrader(server) if server else None)


def server_of(root: Path) -> str:
    """The address of a Jupyter server that was started in this folder, "" where none runs."""
    for folder in (root / ".jupyter" / "runtime", Path(jupyter_runtime_dir())):
        for path in sorted(folder.glob("jpserver-*.json")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                about = json.loads(path.read_bytes())
                os.kill(about["pid"], 0)  # raises where it has ended
                if Path(about["root_dir"]).resolve() == root.resolve():
                    return str(about["url"])
    return ""
