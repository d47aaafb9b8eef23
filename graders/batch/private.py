"""A course's configuration, and which folders it names: nobody's code may see them."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jupyter_core.application import JupyterApp
from traitlets.config import Application

_CONFIG, _FILE, _ENDS = "nbgrader_config", "nbgrader_config.py", "_config.py"
#: Parts of nbgrader whose settings say where people's work lies.
_PARTS = ("CourseDirectory", "Exchange")


class Unconfigured(Exception):
    """A configuration that cannot be used; the text is a sentence that says why."""


def folders(root: Path) -> tuple[str, ...]:
    """The course, the exchange and every other folder that nbgrader's configuration for a course names.

    root: the course's folder. nbgrader itself is not imported, so that workers need not wait for it.
    """
    with contextlib.suppress(Unconfigured):  # whoever opens the course says it
        return named(configuration(root), root)
    return (str(root),)


def configuration(root: Path) -> Any:
    """What nbgrader's configuration says for the course in this folder. Raises Unconfigured."""
    app = JupyterApp(config_file_name=_CONFIG, log_level="CRITICAL")

    def load() -> None:
        app.load_config_file()
        Application.load_config_file(app, _CONFIG, str(root))

    load_whole(app, load)
    return app.config


def load_whole(app: Application, load: Callable[[], object]) -> None:
    """Have an application load its configuration, all of it or none. Raises Unconfigured.

    nbgrader goes on without a file that has a mistake in it: with other folders, and without late penalties.
    """
    app.raise_config_file_errors = True
    try:
        load()
    except Exception as error:  # it is a program
        places = [(one.filename, one.lineno) for one in traceback.extract_tb(error.__traceback__)]
        text = str(error)
        if isinstance(error, SyntaxError):
            places, text = [*places, (str(error.filename), error.lineno)], error.msg
        where = [f"{os.path.basename(file)}, line {line}," for file, line in places if file.endswith(_ENDS)]
        found = f"{where[-1] if where else _FILE} has a mistake ({type(error).__name__}: {text})"
        raise Unconfigured(f"{found}; nothing was done.") from None


def named(config: Any, root: Path) -> tuple[str, ...]:
    """The same, of a configuration that was read."""
    return tuple(sorted({str(root), *_paths(config)}))


def _paths(config: Any) -> Iterator[str]:
    for part, settings in config.items():
        if part.startswith(_PARTS):
            yield from (one for one in settings.values() if isinstance(one, str) and os.path.isabs(one))
