"""Pairs of students whose code is unusually alike: similarity, and no accusation.

Winnowing, as MOSS does it (S. Schleimer, D. S. Wilkerson and A. Aiken, Winnowing: Local Algorithms for
Document Fingerprinting, SIGMOD 2003). Code is read as Python's tokens, without comments and texts; names that
the code itself gives are one and the same token, so that giving others changes nothing. RUN tokens in a row
are hashed, and of WINDOW hashes in a row the smallest is kept: whatever two have in common that has
RUN + WINDOW - 1 tokens is found. What was released and what many have is left out, since right answers to a
small question are alike; two are compared by the share of what is left of the shorter one.

An exercise of five lines cannot tell who copied. So all exercises of an assignment count together, a pair
needs ENOUGH in common, and it has to stand out from all pairs of its class, by Tukey's outer fence.
"""

from __future__ import annotations

import ast
import builtins
import io
import keyword
import math
import statistics
import tokenize
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

#: Tokens in a row that are hashed, and hashes in a row of which one is kept.
RUN, WINDOW = 10, 5
#: Fingerprints in common from which on a pair is looked at.
ENOUGH = 6
#: What so many students have, or this share of them, is common: it comes from the subject.
MANY, SHARE = 4, 0.05
#: Tukey's outer fence: so many times the spread of the middle half above it.
FENCE = 3.0
#: No less than this share, however little alike the others are.
LEAST = 0.5
_SKIPPED = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
    tokenize.INDENT,
    tokenize.DEDENT,
}


@dataclass(frozen=True)
class Similar:
    """Two students. common: fingerprints that both have; share: of those of the one who has fewer."""

    one: str
    other: str
    share: float
    common: int


def similar(codes: Mapping[str, str], released: Iterable[str] = ()) -> list[Similar]:
    """Pairs that are unusually alike, most alike first. codes: by student; released: what all were given."""
    given = set().union(*(fingerprints(code) for code in released))
    prints = {student: fingerprints(code) - given for student, code in codes.items()}
    holders: dict[int, list[str]] = {}
    for student in sorted(prints):
        for one in prints[student]:
            holders.setdefault(one, []).append(student)
    many = max(MANY, SHARE * len(codes))
    rare = [students for students in holders.values() if len(students) < many]
    sizes = Counter(student for students in rare for student in students)
    both = Counter(pair for students in rare for pair in combinations(students, 2))
    shares = {(one, other): count / min(sizes[one], sizes[other]) for (one, other), count in both.items()}
    limit = _fence(list(shares.values()), math.comb(len(sizes), 2))
    found = [
        Similar(*pair, share, both[pair])
        for pair, share in shares.items()
        if share >= limit and both[pair] >= ENOUGH
    ]
    return sorted(found, key=lambda pair: (-pair.share, -pair.common, pair.one, pair.other))


def _fence(shares: list[float], count: int) -> float:
    """The share from which on a pair stands out of so many; those that are not listed share nothing."""
    if count < 2:
        return LEAST
    low, _, high = statistics.quantiles([*shares, *[0.0] * (count - len(shares))], n=4)
    return max(LEAST, min(high + FENCE * (high - low), 1.0))


def fingerprints(code: str) -> set[int]:
    """The hashes that stand for a text of Python."""
    tokens = list(_tokens(code))
    hashes = [zlib.crc32("\0".join(tokens[at : at + RUN]).encode()) for at in range(len(tokens) - RUN + 1)]
    if len(hashes) <= WINDOW:
        return set(hashes[:1])
    return {min(hashes[at : at + WINDOW]) for at in range(len(hashes) - WINDOW + 1)}


def _tokens(code: str) -> Iterator[str]:
    """Tokens without comments and texts; a name that the code gives itself is "name"."""
    own = _own_names(code)
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            if token.type in _SKIPPED:
                continue
            if token.type == tokenize.STRING:
                yield "text"
            elif token.type == tokenize.NAME and token.string in own:
                yield "name"
            else:
                yield token.string
    except (tokenize.TokenError, SyntaxError):  # what came before counts
        return


def _own_names(code: str) -> set[str]:
    """The names that a text assigns or defines: arguments, variables, functions."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
    return found - set(dir(builtins)) - set(keyword.kwlist)
