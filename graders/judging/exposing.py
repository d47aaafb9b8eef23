"""`expose`: an input that shows a mistake which `check` has named.

In a notebook::

    from graders import expose
    expose()                                 # what check has named, here and in the saved notebooks
    wrong = expose("eps_outside_root")       # an implementation with that mistake, to be called
    expose("eps_outside_root", x, gamma, beta)

The implementation is the judge's variant, the definition with one knob turned: it can be called, and there
is nothing in it to read. Whether an input shows the mistake is decided as in a check, by the same tolerance.
Only mistakes in functions of tensors and numbers have such an input.
"""

from __future__ import annotations

import ast
import difflib
import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from graders.judging import catalogue, wording
from graders.judging.answer import Mistake
from graders.judging.compare import compare
from graders.judging.question import Question, Setting
from graders.judging.rubric import course_folder
from graders.judging.trial import Trial
from graders.judging.verdict import MIME, Verdict
from graders.probing.exercise import Candidate, Case, Inputs
from graders.probing.observe import ARGUMENTS, Foreign, Raised, observe, tensors, widened

#: Exercises on models, layers, functions or optimizers, or of several candidates together, with the questions
#: among them: what their mistakes are wrong on is no plain input.
WITHOUT_INPUT = frozenset(
    {
        *("activation_statistics", "gradient_norms", "critical_gain", "numerical_gradient"),
        *("batch_norm_backward", "BatchNormFunction", "BatchNorm1d", "averaging_momenta"),
        *("count_parameters", "freeze_batch_norm", "diagnose_batch_norm", "conv_bn_relu"),
        *("fold_batch_norm", "recalibrate", "fold_forward", "stale_statistics", "diagnose_norm"),
        *("parameter_groups", "kind_of_decay", "loss_along_gradient", "gradient_predictiveness"),
        *("top_eigenvalue", "sync_batch_norm_backward", "find_leak", "gradient_descent", "SGD"),
        *("momentum_roots", "steps_on_digits", "train", "compare"),
    }
)
#: What `check` has named in this process: exercise and key, the last one last.
_named: dict[tuple[str, str], None] = {}
WIDTH = 88
#: What is off by less than this share of the largest value does not strike the eye.
VISIBLE = 0.01


@dataclass(frozen=True, repr=False)
class Exposed:
    """Whether an input shows a mistake, in sentences. shows: None where the input could not be judged."""

    shows: bool | None
    text: str

    def __repr__(self) -> str:
        return textwrap.fill(self.text, WIDTH, break_on_hyphens=False)


@dataclass(frozen=True, repr=False)
class Suspect:
    """An implementation with a known mistake. Called as the exercise's function is."""

    exercise: str
    mistake: Mistake

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self.mistake.variants[0](*given, **named)

    def __repr__(self) -> str:
        signature = catalogue.find(self.exercise).signature
        line = f'expose("{self.mistake.key}", {", ".join(_required(signature))})'
        text = f"{signature} with the mistake {self.mistake.key}. {self.mistake.message}"
        ask = f"Find an input on which it shows: {line} says whether it does."
        return "\n".join(textwrap.fill(one, WIDTH, break_on_hyphens=False) for one in (text, ask))


@dataclass(frozen=True, repr=False)
class Listed:
    """What `check` has named, for the student to choose from."""

    found: tuple[tuple[str, Mistake], ...]

    def __repr__(self) -> str:
        if not self.found:
            return textwrap.fill(
                "check has named no mistake here, nor in the saved exercise notebooks, that an input could "
                "show. Any other is shown by its key and the exercise, such as "
                'expose("eps_outside_root", exercise="batch_norm_forward").',
                WIDTH,
            )
        lines = ["check has named these. Choose one and find an input on which it shows."]
        for name, one in self.found:
            lines.append(f'\nexpose("{one.key}", exercise="{name}")')
            lines.append(textwrap.indent(textwrap.fill(one.in_short, WIDTH - 2), "  "))
        return "\n".join(lines)


def remember(verdict: Verdict) -> None:
    """Keep what a check has named for `expose`."""
    for key in verdict.mistakes:
        _named.pop((verdict.exercise, key), None)
        _named[verdict.exercise, key] = None


def expose(key: str | None = None, *inputs: Any, exercise: str | None = None) -> Listed | Suspect | Exposed:
    """Find the input that shows a mistake which `check` has named.

    Without arguments: the mistakes that were named, those of this notebook first. With a key: an
    implementation with that mistake, which can be called. With inputs behind it, in the order of the
    function's arguments: whether these show it. exercise: where a key is known in several exercises, and not
    named in one of them by check. Never raises for what is given; show the result, or print it.
    """
    if key is None:
        return Listed(tuple(_choices()))
    found = _meant(key, exercise)
    if isinstance(found, str):
        return Exposed(None, found)
    return judged(*found, inputs) if inputs else Suspect(*found)


def judged(name: str, one: Mistake, given: tuple[Any, ...]) -> Exposed:
    """Whether the first variant of a mistake is wrong on these arguments of the exercise's function."""
    signature = catalogue.find(name).signature
    names, required = _parameters(signature), _required(signature)
    if not len(required) <= len(given) <= len(names):
        return Exposed(None, f'Hand over what the function takes: expose("{one.key}", {", ".join(names)}).')
    exercise = replace(catalogue.find(name), probe=_call, arithmetic=None)
    answer = replace(catalogue.answer_of(name), derived=None)
    case = Case("your input", dict(zip(names, given, strict=False)))
    wide = Case(case.name, widened(case.inputs))
    raised = observe(exercise, answer.reference, wide).raised
    if raised and raised.type == "ValueError":
        return _refused(raised, observe(exercise, one.variants[0], wide).raised)
    if raised:
        said = f": {raised.text}" if raised.text else "."
        return Exposed(
            None, f"This is no input for {name}. The right function stops with {raised.type}{said}"
        )
    first = next((each for _, each in tensors(case.inputs) if each.is_floating_point()), None)
    setting = Setting(torch.float64) if first is None else Setting(first.dtype, first.device.type)
    return _compared(Question(exercise, answer, case, setting), one)


def _call(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    """A probe: call the function once, and look at each value that it returns."""
    result = candidate(*inputs.values())
    if isinstance(result, tuple | list):
        yield from ((f"result {place}", value) for place, value in enumerate(result))
    else:
        yield "the result", result


def _refused(right: Raised, wrong: Raised | None) -> Exposed:
    """The right function refuses an input; so should the other."""
    if wrong and wrong.type == right.type:
        return Exposed(
            False, f"It does not show: both functions refuse this, with {right.type}: {right.text}"
        )
    does = f"stops with {wrong.type}" if wrong else "takes it"
    return Exposed(
        True, f"It shows: the right function refuses this with {right.type}, and the other {does}."
    )


def _compared(question: Question, one: Mistake) -> Exposed:
    variant = one.variants[0]
    sight = question.sight_of(variant, one.rounding)
    looked_at = [name for name, value in question.exact.items() if not isinstance(value, Foreign | None)]
    wrong = [
        name
        for name in looked_at
        if name != ARGUMENTS and question.is_wrong_itself(name, variant, sight, one.rounding, samples=0)
    ]
    if not wrong:
        return Exposed(
            False,
            "It does not show: on this input the mistaken function is right, as far as rounding can tell. "
            f"When would it make a difference? {one.message}",
        )
    trial = Trial(question, sight)
    findings = [
        (trial, name, compare(sight.values.get(name, sight.raised), trial.expected[name])) for name in wrong
    ]
    evidence = wording.evidence(findings)
    if evidence is None:
        return Exposed(True, "It shows: the mistaken function stops, or returns something of another kind.")
    said = f"{evidence.where} is {evidence.got} and should be {evidence.want}."
    off = max((question.distance(name, sight.values.get(name)) or 1.0 for name in wrong), default=1.0)
    if off >= VISIBLE:
        return Exposed(True, f"It shows: {said}")
    return Exposed(
        True,
        f"It shows, but hardly: {said} A test that allows one percent would miss it. Find a clearer one.",
    )


def _choices() -> Iterator[tuple[str, Mistake]]:
    """The mistakes that were named and have an input, here and in saved notebooks, the last first."""
    saved = _saved(course_folder(Path.cwd()))
    for name, key in dict.fromkeys([*reversed(_named), *reversed(list(saved))]):
        if isinstance(found := _meant(key, name), tuple):
            yield found


def _saved(root: Path | None) -> Iterator[tuple[str, str]]:
    """Exercise and key of what verdicts in saved exercise notebooks name; what is broken is left out."""
    for path in sorted((root / "exercises").glob("day*/day*.ipynb")) if root else ():
        try:
            outputs = [
                output["data"][MIME]
                for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
                for output in cell.get("outputs", ())
                if MIME in output.get("data", ())
            ]
            found = [(one["exercise"], key) for one in outputs for key in (one["mistake"],) if key]
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            continue
        yield from (pair for pair in found if all(isinstance(text, str) for text in pair))


def _meant(key: str, exercise: str | None) -> tuple[str, Mistake] | str:
    """The exercise and the mistake of a key, or a sentence on why there is none."""
    if not isinstance(key, str):
        return 'expose takes the key of a mistake first, such as expose("eps_outside_root", x, gamma, beta).'
    known = {
        name: one
        for name in catalogue.exercises()
        if name not in WITHOUT_INPUT and not name.startswith(("expose_", "hide_"))
        for one in catalogue.answer_of(name).mistakes
        if one.key == key
    }
    if exercise is not None:
        if exercise in known:
            return exercise, known[exercise]
        return (
            f"There is no mistake {key} in {exercise} that an input could show. expose() lists what there is."
        )
    named = [name for name, told in reversed(_named) if told == key and name in known]
    if named or len(known) == 1:
        name = named[0] if named else next(iter(known))
        return name, known[name]
    if known:
        return (
            f"The mistake {key} is known in several exercises: {', '.join(known)}. Say in which, such as "
            f'expose("{key}", exercise="{next(iter(known))}").'
        )
    keys = {one.key for name in catalogue.exercises() for one in catalogue.answer_of(name).mistakes}
    if key in keys:
        return f"The mistake {key} is in the use of models or other functions; no plain input shows it."
    near = difflib.get_close_matches(key, keys, n=1)
    return f"There is no mistake called {key}." + (f" Did you mean {near[0]}?" if near else "")


def _parameters(signature: str) -> list[str]:
    return [one.arg for one in _arguments(signature).args]


def _required(signature: str) -> list[str]:
    given = _arguments(signature)
    return [one.arg for one in given.args[: len(given.args) - len(given.defaults)]]


def _arguments(signature: str) -> ast.arguments:
    """What stands in the parentheses of a signature."""
    return ast.parse(f"def {signature}: pass").body[0].args
