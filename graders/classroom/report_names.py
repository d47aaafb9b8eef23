"""Who is meant, with names or without: a report can be shown to a class.

Without names a file holds none: a student is a number, drawn anew for each file and so not to be worked out
from it, the same all through it. What students wrote is shown without comments and texts, and words that are
a name of somebody in the class are taken out of it.
"""

from __future__ import annotations

import ast
import copy
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import cached_property

from graders.classroom.report_data import Classroom, Student

#: What stands in the place of a name, and of text in code.
HIDDEN = "someone"
#: A word that so many students use in their code is one of the subject, also where somebody is called that.
COMMON = 3
#: Shorter names are no words by themselves.
SHORT = 3
_WORD = re.compile(r"[^\W\d_]+")


class Names:
    """How students are called in one file. hidden: without their names."""

    def __init__(self, classroom: Classroom, *, hidden: bool = False) -> None:
        self.hidden = hidden
        students = list(classroom.students)
        random.SystemRandom().shuffle(students)
        width = len(str(len(students)))
        self._numbers = {one.id: f"S{count:0{width}}" for count, one in enumerate(students, 1)}
        self._students = students

    @cached_property
    def _used(self) -> Counter[str]:
        """In how many students' code a word is."""
        return Counter(
            word
            for one in self._students
            for word in set(_words(" ".join(check.code for check in one.checks.values())))
        )

    @cached_property
    def _names(self) -> set[str]:
        """Words that are somebody's name, or a part of it, and none of the subject."""
        called = (word for one in self._students for word in _words(f"{one.id} {one.name}"))
        return {word for word in called if len(word) >= SHORT and self._used[word] < COMMON}

    @cached_property
    def _ids(self) -> re.Pattern[str]:
        """Names that are more than a word: s1234567."""
        called = (unicodedata.normalize("NFC", one.id) for one in self._students)
        ids = sorted((one for one in called if not _WORD.fullmatch(one)), key=len, reverse=True)
        any_id = "|".join(map(re.escape, ids)) or "(?!)"
        return re.compile(rf"(?<![^\W_])(?:{any_id})(?![^\W_])", re.IGNORECASE)

    def as_numbers(self) -> Names:
        """The same numbers, and no names."""
        other = copy.copy(self)
        other.hidden = True
        return other

    def number(self, student: Student) -> str:
        return self._numbers[student.id]

    def name(self, student: Student) -> str:
        """What a student is called; the number alone where names are hidden."""
        return self.number(student) if self.hidden else student.name or student.id

    def key(self, student: Student) -> str:
        """What lists of students are in the order of."""
        return self.number(student) if self.hidden else self.name(student).casefold()

    def code(self, text: str) -> str:
        """A student's code, as it may be shown."""
        if not self.hidden:
            return text
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return "# This cannot be shown without names: it is no Python that can be read."
        return self.text(ast.unparse(_Wordless(self._is_of_the_subject).visit(tree)))

    def text(self, text: str) -> str:
        """What is said of a student's work, which may quote it."""
        if not self.hidden:
            return text
        text = self._ids.sub(HIDDEN, unicodedata.normalize("NFC", text))
        return _WORD.sub(lambda match: HIDDEN if match[0].casefold() in self._names else match[0], text)

    def _is_of_the_subject(self, text: str) -> bool:
        """Whether a text is one that several students have: "batch", and no remark of one of them."""
        return all(self._used[word] >= COMMON for word in _words(text))


class _Wordless(ast.NodeTransformer):
    """Takes texts out of code, but for those that are of the subject."""

    def __init__(self, of_the_subject: Callable[[str], bool]) -> None:
        self._of_the_subject = of_the_subject

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if not isinstance(node.value, str | bytes):
            return node
        kept = isinstance(node.value, str) and self._of_the_subject(node.value)
        return node if kept else ast.copy_location(ast.Constant("…"), node)

    def visit(self, node: ast.AST) -> ast.AST:
        body = getattr(node, "body", None)
        if isinstance(body, list) and body:
            node.body = [one for one in body if not _is_text(one)] or [ast.Pass()]  # type: ignore[attr-defined]
        return super().visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.Constant:
        return ast.copy_location(ast.Constant("…"), node)


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is nothing but a text, such as a docstring."""
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Constant):
        return False
    return isinstance(statement.value.value, str)


def _words(text: str) -> list[str]:
    """Accents come in two forms, and only in one of them they are part of a word."""
    return [word.casefold() for word in _WORD.findall(unicodedata.normalize("NFC", text))]
