"""Steps for nbgrader's own `autograde`, so that it and the Formgrader run code behind the same wall.

In `nbgrader_config.py`::

    c.Autograde.sanitize_preprocessors.insert(0, "graders.batch.seam.OneOfEach")
    c.Autograde.autograde_preprocessors = ["graders.batch.seam.Sandboxed", ..., "graders.batch.seam.Harmless"]
    c.GenerateFeedback.preprocessors.insert(0, "graders.batch.seam.Harmless")
    c.HTMLExporter.preprocessors = ["graders.batch.seam.Harmless"]
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Enum, Float, Int

#: Seconds after which a box that nobody has used is closed; the Formgrader's server runs for days.
IDLE = 120.0
_closing: threading.Timer | None = None


class OneOfEach(NbGraderPreprocessor):
    """Takes the claim to be a released cell from all copies but the last.

    nbgrader's own step leaves an empty claim, which its next steps stumble over.
    """

    part_of_graders = True

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        seen = set()
        for cell in reversed(nb.cells):
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            if name is None or name in seen:
                cell.metadata.pop("nbgrader", None)
            seen.add(name)
        return nb, resources


class Sandboxed(NbGraderPreprocessor):
    """Takes the place of nbgrader's `Execute`: cells run in the sandbox, checks are judged outside of it."""

    part_of_graders = True
    sandbox = Enum(
        ["auto", "bwrap", "none"], "auto", help="auto: bubblewrap. none: no wall, for code you trust."
    ).tag(config=True)
    device = Enum(["cpu", "cuda"], "cpu", help="Where checks run.").tag(config=True)
    cell_timeout = Float(60.0, help="Seconds of wall time for a cell.").tag(config=True)
    notebook_timeout = Float(600.0, help="Seconds of wall time for a notebook.").tag(config=True)
    memory = Int(2048, help="Megabytes of memory for a submission.").tag(config=True)

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        from graders.batch import submission, worker
        from graders.batch.gradebook import completed
        from graders.sandbox.box import Unusable
        from graders.sandbox.jail import Limits, NoSandbox

        limits = Limits(memory=self.memory << 20, cell=self.cell_timeout, notebook=self.notebook_timeout)
        sandbox = "bwrap" if self.sandbox == "auto" else self.sandbox
        options = worker.Options(sandbox, self.device, limits)
        notes: list[str] = []
        files = submission.data_files(Path(resources["metadata"]["path"]), notes)
        name = resources["nbgrader"]["notebook"]
        _keep_open()
        try:
            job = worker.pack_job({name: nb}, files, options)
            answer = worker.graded_here(job)["notebooks"][name]
        except (NoSandbox, Unusable) as problem:
            # An ordinary exception would be shown with a traceback; this ends in its sentence.
            raise SystemExit(str(problem)) from None
        finally:
            _close_when_idle()
        for text in (*notes, *answer["flags"], *filter(None, [answer["stopped"]])):
            self.log.warning("%s: %s", resources["nbgrader"]["student"], text)
        return completed(answer["notebook"]), resources


class Harmless(NbGraderPreprocessor):
    """Cleans what a notebook shows: the last step of grading, and the first of every page made of it."""

    part_of_graders = True

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        from graders.batch.display import make_harmless

        make_harmless(nb)
        return nb, resources


def _keep_open() -> None:
    if _closing:
        _closing.cancel()


def _close_when_idle() -> None:
    global _closing
    from graders.batch import worker

    _closing = threading.Timer(IDLE, worker.close_boxes)
    _closing.daemon = True
    _closing.start()
