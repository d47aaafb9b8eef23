"""Which folders a course's configuration names: nobody's code may see them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_core.application import JupyterApp
from traitlets.config import Application

_CONFIG = "nbgrader_config"
#: Parts of nbgrader whose settings say where people's work lies.
_PARTS = ("CourseDirectory", "Exchange")


def folders(root: Path) -> tuple[str, ...]:
    """The course, the exchange and every other folder that nbgrader's configuration for a course names.

    root: the course's folder. nbgrader itself is not imported, so that workers need not wait for it.
    """
    return named(configuration(root), root)


def configuration(root: Path) -> Any:
    """What nbgrader's configuration says for the course in this folder, as far as it can be read."""
    app = JupyterApp(config_file_name=_CONFIG, log_level="CRITICAL")
    # A configuration that cannot be read is for nbgrader to speak of, which reads it next.
    with contextlib.suppress(Exception):
        app.load_config_file()
        Application.load_config_file(app, _CONFIG, str(root))
    return app.config


def named(config: Any, root: Path) -> tuple[str, ...]:
    """The same, of a configuration that was read."""
    return tuple(sorted({str(root), *_paths(config)}))


def _paths(config: Any) -> Iterator[str]:
    for part, settings in config.items():
        if part.startswith(_PARTS):
            yield from (one for one in settings.values() if isinstance(one, str) and os.path.isabs(one))
