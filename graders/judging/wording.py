"""The sentences that a student reads, and the evidence beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from graders.judging.carried import Carried
from graders.judging.compare import Finding
from graders.judging.trial import Trial
from graders.judging.verdict import Evidence
from graders.probing.exercise import Exercise
from graders.probing.observe import ARGUMENTS, FORM, Raised, describe

#: How many rows and columns of an array are shown.
GRID = 6
_ONCE = ", so that what is wrong there costs once."


def unattempted(exercise: Exercise) -> str:
    return (
        f"{exercise.name} is not written yet, or its cell has not been run since. Replace the line that "
        "raises NotImplementedError, run that cell, then this one."
    )


def passed(tried: Sequence[Trial]) -> str:
    columns = list(dict.fromkeys(trial.setting.column for trial in tried))
    count = len({trial.case.name for trial in tried})
    return f"All {count} cases are right, in {_and(columns)}, on fresh random inputs."


def library(exercise: Exercise, barred: Sequence[str]) -> str:
    if not barred:
        return (
            "This reaches an answer of the library's own, and while a check runs those are closed. Write "
            f"{exercise.name} with elementwise operations, reductions, reshapes and matrix products."
        )
    if set(barred) <= {"autograd.grad", "autograd.backward"}:
        return (
            "The gradients are computed by autograd here; this exercise asks for them by the chain rule, "
            "in your own formulas. Autograd is a good way to test them in a cell of your own."
        )
    return (
        f"This uses the library's own {_and([f'`{name}`' for name in barred])}, which is the answer itself. "
        f"Write {exercise.name} with elementwise operations, reductions, reshapes and matrix products."
    )


def wrong_device(found: str) -> str:
    return (
        "The values are right on the CPU, but this would fail on a GPU: "
        f"{found}. Make new tensors on the device of the input, and leave results there."
    )


def context(exercise: Exercise, tried: Sequence[Trial]) -> list[str]:
    """A note where something the candidate builds on is wrong itself."""
    wrong = {name for trial in tried for name, _ in trial.wrong() if name in exercise.context}
    if not wrong:
        return []
    before = ", ".join(exercise.candidates[:-1])
    return [f"The {_and(sorted(wrong))} that {before} gives is not right yet; mend that first."]


def carried(exercise: Exercise, excused: Sequence[Carried]) -> list[str]:
    """Notes where derivatives are right for a function that is not: whose fault it is."""
    notes: list[str] = []
    own = []

    def judged_by_own(what: str) -> None:
        told = any(note.endswith(_ONCE) for note in notes)
        notes.append(f"{what}." if told else f"{what}{_ONCE}")

    for one in excused:
        if exercise.context.issuperset(one.basis.observations):
            whose = one.basis.whose
            notes.append(
                f"The gradients are judged against the derivative of your own {whose}. What is wrong is in "
                f"{whose}, and costs nothing here: {one.mistake.in_short}"
            )
        elif one.basis.followers:
            judged_by_own(f"The {one.basis.followers} are judged by your own {one.basis.whose}")
        else:
            own.append(one.basis.whose)
    if own:
        judged_by_own(f"The gradients are judged against the derivative of your own {_and(own)}")
    return notes


def difference(
    exercise: Exercise,
    tried: Sequence[Trial],
    wrong: Sequence[tuple[Trial, str, Finding]],
    *,
    beside: bool = False,
) -> tuple[str, str]:
    """The outcome and the sentence for a difference that is none of the known mistakes.

    beside: whether it stands beside some, so that nothing is said of what is right.
    """
    raised = [trial for trial in tried if trial.sight.raised]
    if raised:
        return _raised(exercise, raised, everywhere=len(raised) == len(tried))
    forms = [(name, finding) for _, name, finding in wrong if name in (FORM, ARGUMENTS)]
    values = [one for one in wrong if one[1] not in (FORM, ARGUMENTS)]
    if not values:
        name, finding = forms[0]
        if name == ARGUMENTS:
            first = "The function" if beside else "The results are right, but the function"
            return "changed", (
                f"{first} changes in place what it is given: {finding.got}. The caller still needs that; "
                "compute into new tensors."
            )
        return "type", f"{'It' if beside else 'The values are right, but it'} returns {finding.got}."
    trial, name, finding = _telling(values)
    only_case = len({trial.case.name for trial in tried if trial.failing}) == 1
    dtypes = {one.setting.dtype for one in tried}
    return finding.kind, _sentence(trial, name, finding, values, only_case, dtypes)


def _telling(values: Sequence[tuple[Trial, str, Finding]]) -> tuple[Trial, str, Finding]:
    """The difference to speak of: wrong forms before wrong values, and NaN last, whatever came first."""
    order = {"type": 0, "shape": 1, "dtype": 2, "device": 2, "values": 3, "nan": 4}
    return min(values, key=lambda one: order.get(one[2].kind, 5))


def _raised(exercise: Exercise, raised: Sequence[Trial], everywhere: bool) -> tuple[str, str]:
    trial = raised[0]
    error: Raised = trial.sight.raised  # type: ignore[assignment]
    if error.contract:
        return "contract", error.text
    if error.unattempted:
        return "unattempted", (
            f"{exercise.name} still reaches a line that raises NotImplementedError, in the case "
            f"«{trial.case.name}»."
        )
    if error.type == "TypeError" and "argument" in error.text and error.code is None:
        return (
            "raised",
            f"It is called as {exercise.signature}, and that fails: {_trimmed(error.text)}",
        )
    where = f" Line {error.line}: `{error.code}`" if error.line and error.code else ""
    case = "in every case" if everywhere else f"in the case «{trial.case.name}» ({trial.setting.column})"
    text = f": {_trimmed(error.text)}" if error.text.strip() else "."
    return "raised", f"Your code stops {case} with {error.type}{text}{where}"


def _trimmed(text: str, limit: int = 300) -> str:
    text = " ".join(text.split())
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return text if text.endswith((".", "!", "?", "…")) else text + "."


def _sentence(
    trial: Trial,
    name: str,
    finding: Finding,
    values: Sequence[tuple[Trial, str, Finding]],
    only_case: bool,
    dtypes: set[torch.dtype],
) -> str:
    got, want, case = finding.got, finding.want, trial.case.name
    if isinstance(got, Raised):
        return f"{name} is missing where it should be {describe(want)}: {_trimmed(got.text)}"
    if finding.kind == "type":
        if got is None:
            return f"{name} should be {describe(want)}, but it is None. Is a return missing?"
        one = not isinstance(want, torch.Tensor) or want.numel() == 1
        all_right = all(one.right for _, other, one in values if other == name)
        right = f" The value{' is' if one else 's are'} right." if all_right else ""
        return f"{name} should be {describe(want)}, but it is {describe(got)}.{right}"
    if finding.kind == "shape":
        shapes = f"{tuple(got.shape)} where it should be {tuple(want.shape)}"
        if all(one.right for _, other, one in values if other == name):
            return f"{name} holds the right values in another shape: {shapes}."
        return f"In the case «{case}», {name} has the shape {shapes}."
    if finding.kind == "dtype":
        return (
            f"{name} has dtype {_dtype(got)} for inputs of {_dtype_name(trial.setting.dtype)}; "
            "a result keeps the dtype of the input."
        )
    if finding.kind == "device":
        return f"{name} is on {got.device} while the inputs are on {trial.setting.device}."
    got_text, want_text = _pair(_pick(got, finding.index), _pick(want, finding.index))
    place = f"In the case «{case}», {_at(name, finding.index)} is {got_text} and should be {want_text}."
    if finding.kind == "nan":
        return place
    wrong_in = {one[0].setting.dtype for one in values}
    if torch.float64 not in wrong_in:
        return f"Right in float64, but in float32 digits are lost. {place}"
    if wrong_in < dtypes:
        return (
            "Near enough for float32, but not for float64: is a part of it computed in float32, or something "
            f"small added? {place}"
        )
    only = " It is the only case that differs." if only_case else ""
    return f"{place}{only}{_pattern(trial, name, finding)}"


def _pattern(trial: Trial, name: str, finding: Finding) -> str:
    """A sentence where all values of an array are off in one way: by one factor, or by one amount."""
    got, want, allowed = finding.got, finding.want, trial.expected[name].tolerance
    if (
        not isinstance(want, torch.Tensor)
        or not isinstance(got, torch.Tensor)
        or want.numel() < 2
        or allowed is None
    ):
        return ""
    got, want = got.cpu().double(), want.cpu().double()
    factor = float((got * want).sum() / (want * want).sum())
    if bool(((got - factor * want).abs() <= allowed * max(1.0, abs(factor))).all()):
        return f" All of {name} is {_pair(factor, 1.0)[0]} times what it should be there."
    amount = float((got - want).mean())
    if bool(((got - want - amount).abs() <= allowed).all()):
        return f" All of {name} is off by {amount:.4g} there."
    return ""


def evidence(wrong: Sequence[tuple[Trial, str, Finding]]) -> Evidence | None:
    """The place where a value differs most tellingly, with both arrays as far as they fit."""
    shown = [
        one for one in wrong if one[2].kind in ("values", "nan", "shape") and one[1] not in (FORM, ARGUMENTS)
    ]
    if not shown:
        return None
    # Two arrays side by side show more than a word: an exception, a flag.
    arrays = [one for one in shown if _is_array(one[2].got) and _is_array(one[2].want)]
    shown = arrays or shown
    trial, name, finding = _far_out(shown)
    got, want = finding.got, finding.want
    if not arrays:
        return Evidence(name, trial.case.name, trial.setting.column, name, *_pair(got, want))
    if finding.kind == "shape":
        got_text, want_text = f"shape {tuple(got.shape)}", f"shape {tuple(want.shape)}"
        where = name
    else:
        got_text, want_text = _pair(_pick(got, finding.index), _pick(want, finding.index))
        where = _at(name, finding.index)
    allowed = trial.expected[name].tolerance
    wrong_cells: list[list[bool]] = []
    window = _window(finding.index, want)
    if finding.kind != "shape" and allowed is not None:
        off = ~((got.cpu().double() - want.double()).abs() <= allowed)
        wrong_cells = [[bool(cell) for cell in row] for row in _grid(off, window)]
    got_grid = [[_text(cell) for cell in row] for row in _grid(got, _window(finding.index, got))]
    want_grid = [[_text(cell) for cell in row] for row in _grid(want, window)]
    return Evidence(
        name,
        trial.case.name,
        trial.setting.column,
        where,
        got_text,
        want_text,
        got_grid,
        want_grid,
        _visibly(wrong_cells, got_grid, want_grid),
        want.numel() > GRID * GRID or (want.dim() and max(want.shape) > GRID),
    )


def _far_out(shown: Sequence[tuple[Trial, str, Finding]]) -> tuple[Trial, str, Finding]:
    """The first finding that is not much nearer to what it should be than the one that is furthest out."""
    sizes: list[float] = []
    for _, _, finding in shown:
        sizes.append(_distance(finding))
        if sizes[-1] == 1.0:  # none is further out
            break
    return shown[next(place for place, size in enumerate(sizes) if size >= 0.3 * max(sizes))]


def _is_array(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _visibly(wrong: list[list[bool]], got: list[list[str]], want: list[list[str]]) -> list[list[bool]]:
    """Of the wrong cells those whose shown digits differ; all of them where no digit shown does."""
    seen = [
        [is_wrong and got[i][j] != want[i][j] for j, is_wrong in enumerate(row)]
        for i, row in enumerate(wrong)
    ]
    return seen if any(map(any, seen)) else wrong


def _distance(finding: Finding) -> float:
    """How far a value is from what it should be, as a share of the expected array's size; at most 1."""
    got, want = finding.got, finding.want
    if finding.index is None or not isinstance(want, torch.Tensor):
        return 1.0
    off = abs(_pick(got, finding.index) - _pick(want, finding.index))
    size = float(want.double().abs().max())
    return min(1.0, off / size) if size and off == off else 1.0


def _window(index: tuple[int, ...] | None, tensor: torch.Tensor) -> tuple[slice | int, ...]:
    """Slices that cut a piece of at most GRID x GRID out of a tensor, holding `index` if it can."""
    index = index if index is not None and len(index) == tensor.dim() else (0,) * tensor.dim()
    window: list[slice | int] = []
    for axis, (position, size) in enumerate(zip(index, tensor.shape, strict=True)):
        if axis < tensor.dim() - 2:
            window.append(position)
        else:
            start = max(0, min(position - GRID // 2, size - GRID))
            window.append(slice(start, start + GRID))
    return tuple(window)


def _grid(tensor: torch.Tensor, window: tuple[slice | int, ...]) -> list[list[Any]]:
    """A window of a tensor as rows; a vector is one row, a scalar one cell."""
    if any(size == 0 for size in tensor.shape) or tensor.device.type == "meta":
        return []
    piece = tensor.detach().cpu()[window] if tensor.dim() else tensor.detach().cpu()
    return piece.reshape(-1, piece.shape[-1] if piece.dim() else 1).tolist()


def _pick(value: Any, index: tuple[int, ...] | None) -> Any:
    return value[index].item() if isinstance(value, torch.Tensor) and index is not None else value


def _at(name: str, index: tuple[int, ...] | None) -> str:
    """A name and a place in it, as code where the name is code."""
    if not index:
        return name
    place = f"[{', '.join(map(str, index))}]"
    return f"{name}{place}" if name.isidentifier() else f"{name} at {place}"


def _pair(got: Any, want: Any) -> tuple[str, str]:
    """Both values with as many digits as it takes to see that they differ."""
    if isinstance(got, float) and isinstance(want, float):
        for digits in (5, 8, 12):
            texts = f"{got:.{digits}g}", f"{want:.{digits}g}"
            if texts[0] != texts[1]:
                return texts
        return repr(got), repr(want)
    return _text(got), _text(want)


def _text(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return _text(value.item()) if value.numel() == 1 else describe(value)
    if isinstance(value, Raised):
        return value.type
    # A dropped negative number is -0.0, which reads like a slip: adding 0 takes the sign away.
    return f"{value + 0.0:.5g}" if isinstance(value, float) else repr(value)


def _dtype(value: Any) -> str:
    return _dtype_name(value.dtype) if isinstance(value, torch.Tensor) else type(value).__name__


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
