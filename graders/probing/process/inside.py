"""What `graders` is in the jail: `from graders import check` works there, and there is no judge to ask."""

from __future__ import annotations

from typing import Any

__all__ = ["check", "check_steps"]


class Deferred:
    """What `check` returns outside the cells that carry points, while a notebook is graded."""

    points = 0
    max_points = 0
    passed = False
    mistake = None
    message = "While a notebook is graded, check answers in the cells that carry points only."

    def __repr__(self) -> str:
        return "0"

    def __str__(self) -> str:
        return self.message

    def _repr_html_(self) -> str:
        return f"<p>{self.message}</p>"


def check(*candidates: Any) -> Deferred:
    """The judge stands outside; it looks at the candidates itself when their cell is graded."""
    return Deferred()


def check_steps(*functions: Any) -> Deferred:
    """The steps to an exercise carry no points, and nothing is asked while a notebook is graded."""
    return Deferred()
