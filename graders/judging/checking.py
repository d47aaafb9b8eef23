"""`check` for notebooks and `evaluate` for programs: both run the candidate here and have it judged."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from graders.judging import catalogue
from graders.judging.exposing import remember
from graders.judging.judge import judge
from graders.judging.question import Paper, settings
from graders.judging.report import reported
from graders.judging.rubric import MalformedRubric, Rubric, course_folder, rubric_of, text_in
from graders.judging.steps import own_steps
from graders.judging.verdict import Verdict
from graders.probing.exercise import Candidate, Exercise, UnknownExercise
from graders.probing.observe import describe, look, undisturbed

#: By exercise and devices, what was asked when it was last wrong.
_wrong_on: dict[tuple[str, tuple[str, ...]], Paper] = {}


def evaluate(name: str, candidate: Candidate, *, device: str = "cpu", seed: int | None = None) -> Verdict:
    """Judge a candidate for the exercise `name` on one device.

    candidate: a function or class; a tuple of them where the exercise takes several
    (`evaluate("batch_norm_backward", (forward, backward))`). seed: the inputs are drawn from it; fresh
    ones if None. Raises UnknownExercise where there is no such exercise, and TypeError where the
    candidate is not callable or their number is wrong. The rubric is that of the course in whose folder
    this runs; raises MalformedRubric where it cannot be used.
    """
    exercise = catalogue.find(name)
    with _ready(exercise, candidate) as rubric:
        return _judged(_paper(exercise, (device,), seed), candidate, rubric)


def check(*candidates: Any) -> Verdict:
    """Check what you wrote: `check(batch_norm_forward)`.

    The exercise is found by the candidate's name, its own or that of a variable where this is called. It runs
    on every device present, in float32 and float64, on random inputs. Those that an answer was wrong on are
    asked again at the next call, so that one sees what a change has changed, and most of the work is done
    already; nothing passes but on fresh ones. Never raises for a wrong answer; show the verdict as the last
    line of a cell, or print it.
    """
    try:
        exercise = _meant(candidates, sys._getframe(1))
    except UnknownExercise as problem:
        return reported(Verdict("unknown", 0, 0, "unknown", str(problem)))
    return checked(exercise, *candidates)


def checked(exercise: Exercise, *candidates: Any) -> Verdict:
    """The same where it is known which exercise, or step to one, is meant."""
    candidate = candidates[0] if len(candidates) == 1 else tuple(candidates)
    try:
        with _ready(exercise, candidate) as rubric:
            verdict = _asked_again(exercise, candidate, devices(), rubric)
    except TypeError as problem:
        return reported(Verdict(exercise.name, 0, exercise.points, "type", str(problem)))
    except MalformedRubric as problem:
        return reported(Verdict(exercise.name, 0, exercise.points, "unknown", str(problem)))
    remember(verdict)
    return verdict


def devices() -> tuple[str, ...]:
    """The devices of this machine that candidates are run on; the CPU is always one."""
    found = ["cpu"]
    if torch.cuda.is_available():
        found.append("cuda")
    if torch.backends.mps.is_available():
        found.append("mps")
    return tuple(found)


def _meant(candidates: tuple[Any, ...], caller: FrameType) -> Exercise:
    """The exercise that a call of `check` is about. Raises UnknownExercise with a sentence."""
    if not candidates:
        raise UnknownExercise(
            "check needs the function or class to check, such as check(batch_norm_forward)."
        )
    if not callable(candidates[-1]):
        raise UnknownExercise(
            f"check takes the function or class itself, and this is {describe(candidates[-1])}. "
            "Write its name without calling it, such as check(batch_norm_forward)."
        )
    name = name_of(candidates[-1], caller)
    if name == "<lambda>":
        raise UnknownExercise(
            "A lambda has no name to find the exercise by; write it with def, or give it the exercise's name."
        )
    if name is None:
        raise UnknownExercise(
            f"This is {describe(candidates[-1])}, which has no name to find the exercise by. "
            "Give it the exercise's name."
        )
    return catalogue.find(name)


def name_of(candidate: Any, caller: FrameType) -> str | None:
    """The name of the exercise, or step to one, that a candidate is; else its own name, if it has one.

    What a decorator has made, a partial or an object that can be called has another's name or none. So the
    variables count that hold it where a check is called, as they do where the cell of a check is graded.
    """
    own = getattr(candidate, "__name__", None)
    variables = {**caller.f_globals, **caller.f_locals}
    names = [own, *(name for name, held in variables.items() if held is candidate)]
    known = [name for name in names if name in catalogue.exercises() or name in own_steps()]
    return known[0] if known else own


@contextmanager
def _ready(exercise: Exercise, candidate: Candidate) -> Iterator[Rubric]:
    """What judging needs: candidates that can be called, a rubric, PyTorch as it starts and in one thread."""
    _require_callables(exercise, candidate)
    rubric = rubric_of(text_in(course_folder(Path.cwd())))
    with _one_thread(), undisturbed():
        yield rubric


@contextmanager
def _one_thread() -> Iterator[None]:
    """The inputs are small: sharing them out among threads costs more than it gains."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _asked_again(exercise: Exercise, candidate: Candidate, on: tuple[str, ...], rubric: Rubric) -> Verdict:
    """The verdict on what the exercise was last wrong on, if it is wrong there again, or on fresh inputs."""
    asked = exercise.name, on
    paper = _wrong_on.pop(asked, None)  # and back when all went well: an interrupt leaves it half done
    if paper is None or (verdict := _judged(paper, candidate, rubric)).passed:
        paper = _paper(exercise, on, None)
        verdict = _judged(paper, candidate, rubric)
    if not verdict.passed:
        _wrong_on[asked] = paper
    return verdict


def _paper(exercise: Exercise, on: tuple[str, ...], seed: int | None) -> Paper:
    asked = [setting for device in on for setting in settings(device)]
    seed = secrets.randbits(32) if seed is None else seed
    return Paper(exercise, catalogue.answer_of(exercise.name), asked, seed)


def _judged(paper: Paper, candidate: Candidate, rubric: Rubric) -> Verdict:
    sights, surveyed = look(paper.exercise, candidate, [question.case for question in paper.questions])
    return reported(judge(paper, sights, surveyed, rubric))


def _require_callables(exercise: Exercise, candidate: Candidate) -> None:
    parts = candidate if isinstance(candidate, tuple) else (candidate,)
    if len(parts) != len(exercise.candidates):
        raise TypeError(f"{exercise.name} is checked with {exercise.call}.")
    for part in parts:
        if not callable(part):
            raise TypeError(f"{exercise.name} takes functions or classes, and this is {describe(part)}.")
