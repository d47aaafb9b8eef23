"""In and out of a learning management system: what Moodle, Canvas, Blackboard and Brightspace give and take.

`collect` puts a downloaded zip of submissions where nbgrader wants them, the exporters write the grades into
the table that the system itself exported, `returning` packs the feedback. Which day it is makes no difference
here, and what is in a submission neither: that is recognized when it is graded.
"""

from __future__ import annotations

from typing import Any

__all__ = ["BlackboardExporter", "BrightspaceExporter", "CanvasExporter", "MoodleExporter"]


def __getattr__(name: str) -> Any:
    """The exporters, for `nbgrader export --exporter=graders.lms.MoodleExporter`; they import nbgrader."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from graders.lms import exporters

    return getattr(exporters, name)
