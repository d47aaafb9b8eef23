"""A button under a report, where a kernel runs: it opens the explorer at a case that shows a mistake."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from graders.judging.passages import View

LABEL = "Open the explorer at this case"
VIEW = "application/vnd.jupyter.widget-view+json"


def offer(view: View) -> None:
    """Show the button once the cell that runs has shown its report; nothing where no notebook can show it.

    What the button does is what the report says to run: it imports the explorer and opens it.
    """
    shell = _shell()
    if shell is None or not _is_there("ipywidgets") or not _is_there(view.module):
        return

    def below(_result: Any) -> None:
        shell.events.unregister("post_run_cell", below)
        _show(view)

    shell.events.register("post_run_cell", below)


def _shell() -> Any:
    """IPython's shell where a kernel runs it; else None."""
    if "ipykernel" not in sys.modules:
        return None
    shell = import_module("IPython").get_ipython()
    return shell if hasattr(shell, "kernel") else None


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:
        return False


def _show(view: View) -> None:
    widgets, display = import_module("ipywidgets"), import_module("IPython.display").display
    button = widgets.Button(description=LABEL, layout={"width": "max-content"})
    opened = widgets.Output()

    def open_it(_button: Any) -> None:
        opened.clear_output(wait=True)
        with opened:
            display(getattr(import_module(view.module), view.function)().at(**dict(view.settings)))

    button.on_click(open_it)
    box = widgets.VBox([button, opened])
    # A saved notebook that is opened again has no button: its words stand there then. That ipywidgets itself
    # tells how the box is shown is only since its version 8.
    view_of = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
    shown = {VIEW: view_of, "text/plain": f"{LABEL}: run the check again for the button."}
    display(shown, raw=True)
