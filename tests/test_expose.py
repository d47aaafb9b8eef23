"""Exercises that ask for an input: the code that is shown is the one that is judged, and chance does not pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from graders.judging import catalogue
from tests.judged import judged
from tests.solutions import ROOT, namespace

NAMES = [name for name in catalogue.exercises() if name.startswith(("expose_", "hide_"))]


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


#: What the code of each exercise is called with, so that two copies of it can be compared.
CALLS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "expose_eps_outside": lambda: (normal(5, 3), 0.3),
    "expose_unbiased": lambda: (normal(5, 3),),
    "hide_constant_statistics": lambda: (normal(5, 3), normal(5, 3)),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_code_in_the_notebook_does_what_the_judges_copy_does(name: str) -> None:
    day = catalogue.day_of(name)
    shown = namespace(ROOT / "solutions" / day / f"{day}.ipynb")[f"suspect_{name.partition('_')[2]}"]
    torch.manual_seed(0)
    for _ in range(5):
        given = CALLS[name]()
        copy = catalogue.answer_of(name).derived.suspect(*given)
        torch.testing.assert_close(shown(*given), copy)


@pytest.mark.parametrize("make", [torch.randn, torch.rand, torch.zeros, torch.ones])
@pytest.mark.parametrize("name", NAMES)
def test_what_takes_no_thought_fails_and_is_told_why(name: str, make: Callable[..., torch.Tensor]) -> None:
    asked = catalogue.answer_of(name).derived.asked
    names = catalogue.find(name).signature.partition("(")[2].rstrip(")").split(", ")

    def candidate(*given: Any) -> Any:
        inputs = dict(zip(names, given, strict=True))
        found = []
        for one in asked:
            sizes = one._sizes(inputs)
            found.append(make([6 if size is None else size for size in sizes]))
        return tuple(found) if len(found) > 1 else found[0]

    for seed in range(3):
        verdict = judged(name, candidate, seed=seed)
        assert verdict.points == 0, str(verdict)
        assert verdict.mistake, str(verdict)
