"""Exercises that ask for an input: the code that is shown is the one that is judged; chance does not pass."""

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
    "expose_cancellation": lambda: (normal(5, 3).float() + 30,),
    "expose_diagonal": lambda: (normal(5, 3),),
    "expose_eps_outside": lambda: (normal(5, 3), 0.3),
    "expose_unbiased": lambda: (normal(5, 3),),
    "hide_constant_statistics": lambda: (normal(5, 3), normal(5, 3)),
    "hide_momentum_reversed": lambda: (normal(3), normal(3).exp(), normal(5, 3)),
    "expose_batch_statistics": lambda: (normal(5, 3), normal(3), normal(3).exp()),
    "expose_averaged_variances": lambda: (normal(4, 3, 2, 5),),
    "hide_per_sample": lambda: (normal(4, 3, 2, 5),),
    "expose_interleaved_groups": lambda: (normal(3, 6, 4, 4) * torch.arange(1, 7).view(6, 1, 1), 3),
    "hide_rows_normalized": lambda: (normal(4, 4),),
    "expose_textbook_noise": lambda: (normal(12, 2), 4),
    "hide_share_of_mask": lambda: (normal(9), (torch.arange(9) < 4).double(), 0.3),
    "expose_lost_sign": lambda: (normal(3, 3).matmul, normal(3), 4),
    "expose_layer_by_layer": lambda: ([normal(3, 2), normal(4)], [normal(3, 2), normal(4)]),
    "hide_plain_mean": lambda: ([2, 5, 9], normal(3)),
    "expose_deviation_for_rms": lambda: (normal(4, 5),),
    "expose_lr_in_velocity": lambda: (normal(6).exp(), 0.8),
    "hide_nesterov": lambda: (normal(4), normal(4), normal(4), 0.3, 0.8),
    "hide_missing_correction": lambda: (normal(3), 0.3, 0.8, 0.95),
    "expose_sign_of_gradient": lambda: (normal(4), normal(4), normal(4), 0.3, 0.8),
}


def test_there_are_two_a_day_or_more() -> None:
    found = {day: [one.name for one in exercises] for day, exercises in catalogue.days().items()}
    assert all(sum(name in NAMES for name in names) >= 2 for names in found.values()), found
    assert len(NAMES) >= 20


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
