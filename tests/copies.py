"""Classes of independent right answers, and copies of them in disguise, to measure similarity on."""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from typing import Any


def independent(day: str) -> dict[str, str]:
    """Code of students who have nothing from each other: of each exercise, everybody has an answer alone."""
    found: dict[str, list[str]] = {}
    for candidates in importlib.import_module(f"tests.alternatives.{day}").RIGHT.values():
        for number, candidate in enumerate(candidates):
            found.setdefault(f"student{number}", []).extend(_sources(candidate))
    return {student: "\n\n".join(pieces) for student, pieces in found.items()}


def _sources(candidate: Any) -> list[str]:
    parts = candidate if isinstance(candidate, tuple) else (candidate,)
    return [textwrap.dedent(inspect.getsource(part)) for part in parts if _has_source(part)]


def _has_source(part: Any) -> bool:
    return (inspect.isfunction(part) or inspect.isclass(part)) and part.__name__ != "<lambda>"


def disguised(code: str) -> str:
    """The same code with other names, without comments, and laid out anew."""
    tree = ast.parse(code)
    own = {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)} - {"self"}
    new = {name: f"v{number}" for number, name in enumerate(sorted(own))}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = new.get(node.id, node.id)
        elif isinstance(node, ast.arg):
            node.arg = new.get(node.arg, node.arg)
    return ast.unparse(tree)
