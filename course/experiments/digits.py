"""What several days train on, scikit-learn's digits, and the loss of networks side by side."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Digits:
    """Images as rows of 64 pixels in [0, 1], and the digits that they show.

    `train_x` is (N, 64) and `train_y` (N,), int64; `test_x` and `test_y` alike. For a convolution,
    `train_x.view(-1, 1, 8, 8)`.
    """

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


_read = functools.cache(load_digits)  # it reads a file anew at each call


def split_digits(seed: int, num_train: int = 1297, dtype: torch.dtype = torch.float32) -> Digits:
    """The 1797 digits, shuffled by `seed`; the first `num_train` are for training.

    Raises:
        ValueError: nothing would be left for one of the two parts.

    Source: scikit-learn's `load_digits`, 8 x 8 images of handwritten digits.
    """
    data = _read()  # what follows copies
    images = torch.from_numpy(data.data).to(dtype) / 16
    labels = torch.from_numpy(data.target).long()
    if not 0 < num_train < len(images):
        raise ValueError(f"num_train must be between 1 and {len(images) - 1}, not {num_train}")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    images, labels = images[order], labels[order]
    return Digits(images[:num_train], labels[:num_train], images[num_train:], labels[num_train:])


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """The mean over the n samples of logits (..., n, 10) and labels y, which broadcast to (..., n)."""
    picked = y.expand(logits.shape[:-1])[..., None]
    return -logits.log_softmax(dim=-1).gather(-1, picked).mean(dim=(-1, -2))


def arm_by_arm(
    train: Callable[[Hashable], Any], names: Iterable[Hashable], each: Callable[[Iterable], Iterable] = iter
) -> dict[Any, Any]:
    """What `train` gives for each of the names, as many at a time as there are cores.

    Each must draw from generators of its own: then the results are those of one after the other.

    Args:
        train: trains one arm; PyTorch lets another thread run meanwhile.
        names: the arms.
        each: may show how far it is.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {name: pool.submit(train, name) for name in names}
        try:
            return {name: running[name].result() for name in each(running)}
        except BaseException:  # an interrupt, too: what has not begun does not
            pool.shutdown(wait=False, cancel_futures=True)
            raise
