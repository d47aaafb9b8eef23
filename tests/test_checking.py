"""`check` from one call to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor

from graders import check
from graders.judging import checking
from tests.alternatives import wrong


def right(x: Tensor, eps: float) -> Tensor:
    return (x - x.mean(0)) / (x.var(0, unbiased=False) + eps).sqrt()


def test_what_was_wrong_is_asked_again_and_nothing_passes_but_on_fresh_inputs() -> None:
    known: dict[tuple[bytes, float], Tensor] = {}

    def digest(x: Tensor, eps: float) -> tuple[bytes, float]:
        return x.numpy().tobytes(), eps

    def learn(x: Tensor, eps: float) -> Tensor:
        known[digest(x, eps)] = right(x, eps)
        return x + 1

    def recall(x: Tensor, eps: float) -> Tensor:
        return known.get(digest(x, eps), x)

    def standardize(x: Tensor, eps: float = 1e-5) -> Tensor:
        return answer(x, eps)

    answer = learn
    first = check(standardize)
    assert not first.passed
    asked = len(known)
    assert check(standardize) == first
    assert len(known) == asked

    answer = recall  # all that it has met it has right, and that is not enough
    other = check(standardize)
    assert not other.passed
    assert other.seed != first.seed
    assert check(standardize).seed == other.seed

    answer = right
    passed = check(standardize)
    assert passed.passed
    assert passed.seed != other.seed
    answer = learn
    assert check(standardize).seed not in {first.seed, other.seed, passed.seed}


def test_another_answer_gets_the_verdict_that_it_gets_on_its_own() -> None:
    """What was worked out for one wrong answer serves for the next, and changes nothing for it."""

    def called_so(one: Callable) -> Callable:
        def batch_norm_forward(*given: Any, **named: Any) -> Any:
            return one(*given, **named)

        return batch_norm_forward

    found = [called_so(one) for name, one in wrong() if name == "batch_norm_forward"]
    asked = [check(one) for one in found]
    assert len({one.seed for one in asked}) == 1
    for one, verdict in zip(found, asked, strict=True):
        alone = checking.evaluate("batch_norm_forward", one, seed=verdict.seed)
        assert alone == verdict


def test_who_interrupts_a_check_is_asked_something_new() -> None:
    """What it had begun cannot be gone on with."""

    def standardize(x: Tensor, eps: float = 1e-5) -> Tensor:
        if interrupted:
            raise KeyboardInterrupt
        return x

    interrupted = False
    seed = check(standardize).seed
    interrupted = True
    with pytest.raises(KeyboardInterrupt):
        check(standardize)
    interrupted = False
    assert check(standardize).seed != seed
