"""Judges implementations of the course's exercises and names the misconception behind a wrong one.

In a notebook::

    from graders import check
    check(batch_norm_forward)

In a program::

    import graders
    verdict = graders.evaluate("batch_norm_forward", batch_norm_forward, seed=0)

Judging needs torch, numpy and safetensors only; no Jupyter package is imported from here. These names are
looked up when they are first used, so that what needs no torch (the command line) does not import it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graders.judging.checking import check, evaluate
    from graders.judging.exposing import expose
    from graders.judging.verdict import Verdict
    from graders.judging.walk import check_steps
    from graders.probing.exercise import UnknownExercise

__all__ = ["UnknownExercise", "Verdict", "check", "check_steps", "evaluate", "expose"]

_HOMES = {
    "check": "judging.checking",
    "check_steps": "judging.walk",
    "evaluate": "judging.checking",
    "expose": "judging.exposing",
    "UnknownExercise": "probing.exercise",
    "Verdict": "judging.verdict",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
