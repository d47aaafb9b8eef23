"""Twenty mistakes that the grader does not know, each written in five ways.

A mistake is a formula over a few steps, a mean or a largest value, and a hand writes these steps in its own
way: by reductions, in loops, by products of matrices, by sorting, in float64 with a variance that loses
digits at a large offset. So the five programs of a mistake round differently and part in corners.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Reductions:
    """Steps along the first axis; the hands below write them in other ways."""

    def given(self, x: Tensor) -> Tensor:
        return x

    def mean(self, x: Tensor) -> Tensor:
        return x.mean(0)

    def largest(self, x: Tensor) -> Tensor:
        return x.amax(0)

    def median(self, x: Tensor) -> Tensor:
        return x.median(0).values

    def variance(self, x: Tensor) -> Tensor:
        return x.var(0, correction=0)

    def along(self, a: float, x: Tensor, y: Tensor) -> Tensor:
        """a·x + y."""
        return a * x + y


class Loops(Reductions):
    def mean(self, x: Tensor) -> Tensor:
        total = torch.zeros_like(x[0])
        for row in x:
            total = total + row
        return total / len(x)

    def largest(self, x: Tensor) -> Tensor:
        most = x[0].clone()
        for row in x[1:]:
            most = torch.where(row > most, row, most)
        return most

    def median(self, x: Tensor) -> Tensor:
        return torch.stack([sorted(column)[(len(x) - 1) // 2] for column in x.T])

    def variance(self, x: Tensor) -> Tensor:
        mean, total = self.mean(x), torch.zeros_like(x[0])
        for row in x:
            total = total + (row - mean) * (row - mean)
        return total / len(x)

    def along(self, a: float, x: Tensor, y: Tensor) -> Tensor:
        flat = [a * one + other for one, other in zip(x.flatten(), y.flatten(), strict=True)]
        return torch.stack(flat).reshape(y.shape)


class Products(Reductions):
    def mean(self, x: Tensor) -> Tensor:
        return torch.full((len(x),), 1 / len(x), dtype=x.dtype, device=x.device) @ x

    def largest(self, x: Tensor) -> Tensor:
        return x.topk(1, 0).values[0]

    def median(self, x: Tensor) -> Tensor:
        return x.kthvalue((len(x) + 1) // 2, 0).values

    def variance(self, x: Tensor) -> Tensor:
        centred = x - self.mean(x)
        return torch.einsum("nd,nd->d", centred, centred) / len(x)

    def along(self, a: float, x: Tensor, y: Tensor) -> Tensor:
        return torch.add(y, x, alpha=a)


class Sorting(Reductions):
    def mean(self, x: Tensor) -> Tensor:
        return x.sort(0).values.sum(0) / x.shape[0]

    def largest(self, x: Tensor) -> Tensor:
        return x.sort(0).values[-1]

    def median(self, x: Tensor) -> Tensor:
        return x.sort(0).values[(len(x) - 1) // 2]

    def variance(self, x: Tensor) -> Tensor:
        return torch.linalg.vector_norm(x - self.mean(x), dim=0) ** 2 / len(x)

    def along(self, a: float, x: Tensor, y: Tensor) -> Tensor:
        return torch.stack([a * x, y]).sum(0)


class Wide(Reductions):
    """In float64, the variance as the mean of squares less the square of the mean."""

    def given(self, x: Tensor) -> Tensor:
        return x.double()

    def variance(self, x: Tensor) -> Tensor:
        return ((x * x).mean(0) - x.mean(0) ** 2).clamp(min=0)


HANDS = (Reductions(), Loops(), Products(), Sorting(), Wide())
Hand = Reductions


# -- normalized values, from a batch (N, D) and eps ---------------------------------------------------


def mean_deviation(hand: Hand, x: Tensor, eps: float) -> Tensor:
    centred = x - hand.mean(x)
    return centred / (hand.mean(centred.abs()) + eps)


def by_range(hand: Hand, x: Tensor, eps: float) -> Tensor:
    return (x - hand.mean(x)) / (hand.largest(x) + hand.largest(-x) + eps)


def around_median(hand: Hand, x: Tensor, eps: float) -> Tensor:
    return (x - hand.median(x)) / torch.sqrt(hand.variance(x) + eps)


def clipped(hand: Hand, x: Tensor, eps: float) -> Tensor:
    return ((x - hand.mean(x)) / torch.sqrt(hand.variance(x) + eps)).clamp(-1, 1)


def by_largest(hand: Hand, x: Tensor, eps: float) -> Tensor:
    centred = x - hand.mean(x)
    return centred / (hand.largest(centred.abs()) + eps)


def cubed(hand: Hand, x: Tensor, eps: float) -> Tensor:
    return ((x - hand.mean(x)) / torch.sqrt(hand.variance(x) + eps)) ** 3


def from_0_to_1(hand: Hand, x: Tensor, eps: float) -> Tensor:
    return (x + hand.largest(-x)) / (hand.largest(x) + hand.largest(-x) + eps)


def fourth_root(hand: Hand, x: Tensor, eps: float) -> Tensor:
    return (x - hand.mean(x)) / (hand.variance(x) + eps) ** 0.25


def squashed(hand: Hand, x: Tensor, eps: float) -> Tensor:
    return torch.tanh((x - hand.mean(x)) / torch.sqrt(hand.variance(x) + eps))


def by_norm(hand: Hand, x: Tensor, eps: float) -> Tensor:
    return (x - hand.mean(x)) / torch.sqrt(len(x) * hand.variance(x) + eps)


Normalize = Callable[[Hand, Tensor, float], Tensor]


def forward(normalize: Normalize, hand: Hand) -> Callable:
    def batch_norm_forward(x, gamma, beta, eps=1e-5):
        return (gamma * normalize(hand, hand.given(x), eps) + beta).to(x.dtype), None

    return batch_norm_forward


def instance(normalize: Normalize, hand: Hand) -> Callable:
    def instance_norm(x, gamma, beta, eps=1e-5):
        n, c, h, w = x.shape
        columns = hand.given(x).reshape(n * c, h * w).T
        y = normalize(hand, columns, eps).T.reshape(n, c, h, w)
        return (gamma.reshape(1, c, 1, 1) * y + beta.reshape(1, c, 1, 1)).to(x.dtype)

    return instance_norm


# -- running statistics, from the old ones and a batch ------------------------------------------------


def of_median(hand: Hand, x: Tensor) -> tuple[Tensor, Tensor]:
    return hand.median(x), hand.variance(x) * len(x) / max(len(x) - 1, 1)


def of_deviation(hand: Hand, x: Tensor) -> tuple[Tensor, Tensor]:
    return hand.mean(x), hand.mean((x - hand.mean(x)).abs())


def of_range(hand: Hand, x: Tensor) -> tuple[Tensor, Tensor]:
    return hand.mean(x), hand.largest(x) + hand.largest(-x)


def of_largest(hand: Hand, x: Tensor) -> tuple[Tensor, Tensor]:
    return hand.largest(x), hand.variance(x) * len(x) / max(len(x) - 1, 1)


def running(statistics: Callable[[Hand, Tensor], tuple[Tensor, Tensor]], hand: Hand) -> Callable:
    def update_running_stats(running_mean, running_var, x, momentum=0.1):
        mean, var = statistics(hand, hand.given(x))
        return (
            hand.along(1 - momentum, running_mean, momentum * mean.to(x.dtype)),
            hand.along(1 - momentum, running_var, momentum * var.to(x.dtype)),
        )

    return update_running_stats


# -- steps: what the velocity and the step are ---------------------------------------------------------


def shortened(hand: Hand, g: Tensor, velocity: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    new = hand.along(beta, velocity, g)
    return new, new / (1 + beta)


def flattened(hand: Hand, g: Tensor, velocity: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    new = hand.along(beta, velocity, g)
    return new, new / (1 + new.abs())


def beta_squared(hand: Hand, g: Tensor, velocity: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    new = hand.along(beta**2, velocity, g)
    return new, new


def of_squares(hand: Hand, g: Tensor, velocity: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    new = hand.along(beta, velocity, g * g)
    return new, new


def by_change(hand: Hand, g: Tensor, velocity: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    new = hand.along(beta, velocity, g)
    return new, new - velocity


def stepping(rule: Callable[..., tuple[Tensor, Tensor]], hand: Hand) -> Callable:
    def momentum_step(w, g, velocity, lr, beta):
        new, step = rule(hand, g, velocity, beta)
        return hand.along(-lr, step, w), new

    return momentum_step


UNKNOWN: dict[str, tuple[Callable[[Any, Hand], Callable], tuple[Callable, ...]]] = {
    "batch_norm_forward": (
        forward,
        (mean_deviation, by_range, around_median, clipped, by_largest, cubed),
    ),
    "instance_norm": (instance, (mean_deviation, from_0_to_1, fourth_root, squashed, by_norm)),
    "update_running_stats": (running, (of_median, of_deviation, of_range, of_largest)),
    "momentum_step": (stepping, (shortened, flattened, beta_squared, of_squares, by_change)),
}
