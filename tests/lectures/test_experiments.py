"""What the experiments of several days share: the data that they train on, and one thread."""

import os
import subprocess
import sys
import time

import pytest
import torch

from course.experiments.digits import arm_by_arm, split_digits
from tests.courses import ROOT


def test_experiments_run_in_one_thread():
    code = "import course.experiments, torch; print(torch.get_num_threads())"
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.stdout == "1\n", run.stderr


def test_split_is_drawn_from_its_seed_and_loses_nothing():
    first, again, other = split_digits(0), split_digits(0), split_digits(1)
    assert torch.equal(first.train_x, again.train_x)
    assert not torch.equal(first.train_x, other.train_x)
    assert first.train_x.shape == (1297, 64) and first.test_x.shape == (500, 64)
    assert first.train_y.dtype == torch.int64
    assert first.train_x.min() == 0 and first.train_x.max() == 1
    for split in (first, other):
        counts = torch.cat([split.train_y, split.test_y]).bincount()
        assert counts.sum() == 1797 and counts.min() > 170


@pytest.mark.parametrize("num_train", (0, 1797))
def test_both_parts_hold_something(num_train):
    with pytest.raises(ValueError, match="num_train"):
        split_digits(0, num_train)


def test_arms_that_train_at_once_end_where_they_end_alone():
    def train(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        w = torch.zeros(50)
        for _ in range(200):
            w = w.requires_grad_()
            (gradient,) = torch.autograd.grad((w - torch.randn(50, generator=generator)).square().sum(), w)
            w = w.detach() - 0.1 * gradient
        return w

    seen = []
    found = arm_by_arm(train, range(8), lambda names: (seen.append(name) or name for name in names))
    assert list(found) == seen == list(range(8))
    assert all(torch.equal(w, train(seed)) for seed, w in found.items())


def test_an_arm_that_fails_says_so_and_stops_the_others():
    begun = []

    def train(number: int) -> None:
        begun.append(number)
        time.sleep(0.02)
        raise ValueError("it diverged")

    with pytest.raises(ValueError, match="it diverged"):
        arm_by_arm(train, range(1000))
    assert len(begun) < 900
