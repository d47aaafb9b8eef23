"""Verdicts for many candidates of an exercise: what the judge works out for its questions is worked out once.

`graders.evaluate` asks new questions at every call, and most of its time goes into the reference, the noise
and the mistakes. A batch keeps them for all submissions, and so does this.
"""

from __future__ import annotations

from functools import lru_cache

from graders.judging import catalogue
from graders.judging.judge import judge
from graders.judging.question import Paper, settings
from graders.judging.verdict import Verdict
from graders.probing.exercise import Candidate
from graders.probing.observe import look


def judged(name: str, candidate: Candidate, *, seed: int, device: str = "cpu") -> Verdict:
    """What `graders.evaluate` says in a course without a rubric of its own."""
    return verdict_on(_kept(name, seed, device), candidate)


def verdict_on(paper: Paper, candidate: Candidate) -> Verdict:
    """The same on these questions."""
    return judge(paper, *look(paper.exercise, candidate, [question.case for question in paper.questions]))


def paper_of(name: str, seed: int, device: str = "cpu") -> Paper:
    """The questions of a check, of which nothing is worked out yet."""
    return Paper(catalogue.find(name), catalogue.answer_of(name), settings(device), seed)


_kept = lru_cache(maxsize=6)(paper_of)
