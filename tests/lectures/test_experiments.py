"""What the experiments of several days share: the data that they train on, and one thread."""

import os
import subprocess
import sys

import pytest
import torch

from course.experiments.digits import split_digits
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
