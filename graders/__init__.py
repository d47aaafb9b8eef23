"""Judges implementations of the course's exercises and names the misconception behind a wrong one.

In a notebook::

    from graders import check
    check(batch_norm_forward)

In a program::

    import graders
    verdict = graders.evaluate("batch_norm_forward", batch_norm_forward, seed=0)

Judging needs torch, numpy and safetensors only; no Jupyter package is imported from here.
"""

from graders.checking import check, evaluate
from graders.exercise import UnknownExercise
from graders.verdict import Verdict

__all__ = ["UnknownExercise", "Verdict", "check", "evaluate"]
