"""How a candidate behaves where no known mistake explains it, in numbers that do not depend on the inputs.

Two students who make the same mistake write different code, and are asked on different random inputs; what
they share is in which cases they are wrong, and in what way. So for each case and observation this notes the
kind of the difference and, for numbers, what has no scale of its own: how large the error is beside the
value, whether it goes along with it, how far its largest stands out. What is compared is what the judge has
compared already; nothing is run again. `graders.classroom.groups` tells who is alike.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import torch

from graders.judging import tolerance
from graders.judging.compare import Finding
from graders.judging.trial import Trial
from graders.probing.observe import Foreign, Raised

#: For each case by its place, and observation (its numbers left out: "3 w after step #"), a list: the kind of
#: the difference, the share of such observations that differ, and what tells it from others of the kind.
#: Words answer questions that come in no order: which one was taken for which ("kind: batch as layer").
Behaviour = dict[str, list[Any]]

#: What is out by less, or by more, is no longer told apart: powers of ten.
SMALLEST, LARGEST = -12.0, 6.0
#: Characters of a word that are kept.
WORD = 40


def behaviour(tried: Sequence[Trial], names: Collection[str]) -> Behaviour:
    """What a candidate does in these observations, where they are wrong and count.

    In the first setting in which any of them is wrong: the others hold the same numbers, rounded.
    """
    wrong = [[one for one in trial.decided() if one[0] in names] for trial in tried]
    setting = next((trial.setting for trial, found in zip(tried, wrong, strict=True) if found), None)
    asked = [(one, found) for one, found in zip(tried, wrong, strict=True) if one.setting == setting]
    noted: Behaviour = {}
    for place, (trial, found) in enumerate(asked):
        counts = Counter(map(_plain, trial.expected))
        alike: dict[str, list[Finding]] = {}
        for name, finding in found:
            alike.setdefault(_plain(name), []).append(finding)
        for name, several in alike.items():
            first = several[0]
            if first.kind == "values" and not _are_numbers(first):
                noted[f"{name}: {_word(first.want)} as {_word(first.got)}"] = [first.kind, 1.0]
            else:
                share = round(len(several) / counts[name], 3)
                noted[f"{place} {name}"] = [first.kind, share, *_telling(first)]
    return noted


def _plain(name: str) -> str:
    """The name of an observation without what differs from one draw of the inputs to the next."""
    return re.sub(r"\d+", "#", name)


def _telling(finding: Finding) -> list[Any]:
    """What tells this difference from others of its kind."""
    got, want = finding.got, finding.want
    if isinstance(got, Raised):
        return [got.type]
    if finding.kind == "shape":
        return [_shape(tuple(got.shape), tuple(want.shape))]
    if finding.kind in ("type", "dtype", "device"):
        return [_kind_of(got), finding.right]
    if _are_numbers(finding):
        return _numbers(tolerance.as_tensor(got), tolerance.as_tensor(want))
    return []


def _are_numbers(finding: Finding) -> bool:
    """Whether the difference is one of numbers, or of tensors of one shape."""
    shapes = []
    for value in (finding.got, finding.want):
        if isinstance(value, torch.Tensor) and not value.is_complex() and not value.is_meta:
            shapes.append(tuple(value.shape))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            shapes.append(())
    return len(shapes) == 2 and shapes[0] == shapes[1]


def _kind_of(value: Any) -> str:
    if isinstance(value, Foreign):
        return value.type
    return str(value.dtype) if isinstance(value, torch.Tensor) else type(value).__name__


def _word(value: Any) -> str:
    """A word, number or flag as short text; of a tensor its shape alone, whatever it holds."""
    return (str(tuple(value.shape)) if isinstance(value, torch.Tensor) else str(value))[:WORD]


def _shape(got: Sequence[int], want: Sequence[int]) -> str:
    """A shape in letters of the one that it should be: (N, D) for (D,) is "?0", (1, D) is "10"."""
    return "".join("1" if size == 1 else str(want.index(size)) if size in want else "?" for size in got)


def _numbers(got: torch.Tensor, want: torch.Tensor) -> list[float]:
    """What numbers that are out have in common whatever the inputs are.

    The size of the error beside the value's, as a power of ten; the cosine of the two; how far the largest
    error stands out, as a power of ten.
    """
    finite = got.isfinite() & want.isfinite()
    off = torch.where(finite, got - want, 0.0)
    want = torch.where(finite, want, 0.0)
    out, size = float(off.norm()), float(want.norm())
    numbers = [
        _power(out, size),
        float((off * want).sum()) / max(out * size, 1e-300),
        _power(float(off.abs().max()) * off.numel() ** 0.5, out),
    ]
    return [round(number, 3) + 0.0 for number in numbers]


def _power(of: float, beside: float) -> float:
    """The ratio of two sizes as a power of ten, within limits."""
    if not of or not math.isfinite(of):
        return SMALLEST if not of else LARGEST
    if not beside or not math.isfinite(beside):
        return LARGEST
    return min(max(math.log10(of) - math.log10(beside), SMALLEST), LARGEST)
