"""Day 30: noise of batch statistics, weights without a scale, and five regularizers on digits."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course.experiments.digits import Digits, split_digits

SIZES = (2, 4, 8, 16, 32, 64, 128, 256)


# The noise of batch statistics


@dataclass(frozen=True, eq=False)
class MeanNoise:
    """Means of mini-batches of one feature.

    `means` (B,) are those of batches of `size`; `sizes` (S,) and `measured` (S,) the standard
    deviation of the means for several sizes; `sigma` that of the values themselves.
    """

    size: int
    sigma: float
    centre: float
    means: Tensor
    sizes: Tensor
    measured: Tensor

    @property
    def theory(self) -> Tensor:
        """(S,): σ/√N, for independent samples."""
        return self.sigma / self.sizes.sqrt()

    @property
    def spread(self) -> float:
        """The measured standard deviation at `size`."""
        return self.means.std(correction=0).item()

    @property
    def ratio(self) -> float:
        """Measured over σ/√N at `size`."""
        return self.spread / (self.sigma / math.sqrt(self.size))


def batch_means(values: Tensor, size: int) -> Tensor:
    """Means of consecutive batches of `values` (M,), an incomplete last one dropped."""
    count = len(values) // size
    return values[: count * size].view(count, size).mean(dim=1)


@cache
def feature(kind: str, order: str) -> Tensor:
    """(65536,) values of one feature: 'normal', 'skewed' (log-normal) or 'pixel' (of the digits).

    In the order 'sorted' the samples come in ten classes, one after the other, as from a file that
    nobody shuffled; the class shifts the value. 'shuffled' is the same set in random order.
    """
    generator = torch.Generator().manual_seed(30)
    count = 65536
    if kind == "pixel":
        data = split_digits(30)
        rows = torch.randint(len(data.train_x), (count,), generator=generator)
        labels, values = data.train_y[rows], data.train_x[rows, 28].double()
    else:
        labels = torch.arange(count) % 10
        values = torch.randn(count, generator=generator, dtype=torch.float64)
        values = values + 0.25 * (labels - 4.5)
        if kind == "skewed":
            values = values.exp()
    if order == "sorted":
        return values[labels.argsort(stable=True)]
    return values[torch.randperm(count, generator=generator)]


@cache
def spreads(kind: str, order: str) -> tuple[Tensor, Tensor]:
    """`SIZES`, and the standard deviation of the batch means for each of them."""
    values = feature(kind, order)
    measured = [batch_means(values, size).std(correction=0) for size in SIZES]
    return torch.tensor(SIZES, dtype=torch.float64), torch.stack(measured)


def mean_noise(size: int, kind: str, order: str) -> MeanNoise:
    """Batch means of one of the features; see `feature`."""
    values = feature(kind, order)
    sigma, centre = values.std(correction=0).item(), values.mean().item()
    return MeanNoise(size, sigma, centre, batch_means(values, size), *spreads(kind, order))


def output_noise(value: float, size: int, draws: int = 4000, seed: int = 0) -> float:
    """The standard deviation of x_hat of a sample at `value`, over batches with others from N(0, 1)."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(draws, size, generator=generator, dtype=torch.float64)
    x[:, 0] = value
    centred = x - x.mean(dim=1, keepdim=True)
    return (centred[:, 0] / (centred**2).mean(dim=1).sqrt()).std().item()


def output_noise_theory(value: float, size: int) -> float:
    """For large batches: √((1 + value² / 2) / N); the mean gives the 1, the variance the rest."""
    return math.sqrt((1 + value**2 / 2) / size)


# Weights without a scale


@dataclass(frozen=True, eq=False)
class Decay:
    """‖w‖ and the angle of each step, in degrees, for a weight before a normalization.

    `norm` is (steps + 1,), `angle` (steps,). `norm_end` and `angle_end` are where theory says that
    they settle; infinite and 0 without weight decay.
    """

    lr: float
    weight_decay: float
    norm: Tensor
    angle: Tensor
    norm_end: float
    angle_end: float


def scale_free_steps(
    lr: float, weight_decay: float, start: float, steps: int = 1000, force: float = 1.0
) -> Decay:
    """SGD on a scale-invariant weight whose gradient has length `force` / ‖w‖.

    The gradient is orthogonal to w, so that ‖w‖² ← (1 − lr · wd)² ‖w‖² + lr² ‖g‖² exactly. In
    equilibrium both parts cancel: ‖w‖⁴ = lr · force² / (2 wd), and a step turns w by √(2 lr · wd).

    Source: van Laarhoven 2017, section 3; Wan et al. 2021 for the angle.
    """
    kept = 1 - lr * weight_decay
    norms, angles = [start], []
    for _ in range(steps):
        along, across = kept * norms[-1], lr * force / norms[-1]
        angles.append(math.degrees(math.atan2(across, along)))
        norms.append(math.hypot(along, across))
    rate = lr * weight_decay
    return Decay(
        lr,
        weight_decay,
        torch.tensor(norms, dtype=torch.float64),
        torch.tensor(angles, dtype=torch.float64),
        (lr * force**2 / (2 * weight_decay)) ** 0.25 if rate else math.inf,
        math.degrees(math.sqrt(2 * rate)),
    )


def train_scaled(
    scale: float, lr: float, weight_decay: float = 0.0, steps: int = 30
) -> tuple[Tensor, Tensor]:
    """(losses (steps,), the last weight) of a linear layer with normalized outputs, started at scale · W.

    No eps, so that the layer does not know the scale at all.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 10, generator=generator, dtype=torch.float64)
    target = torch.randn(64, 3, generator=generator, dtype=torch.float64)
    w = scale * torch.randn(10, 3, generator=generator, dtype=torch.float64)
    losses = []
    for _ in range(steps):
        w.requires_grad_()
        out = x @ w
        out = (out - out.mean(dim=0)) / out.std(dim=0, correction=0)
        loss = ((out - target) ** 2).mean()
        (gradient,) = torch.autograd.grad(loss, w)
        losses.append(loss.detach())
        w = w.detach()
        w = w - lr * (gradient + weight_decay * w)
    return torch.stack(losses), w


# Dropout and the variance


def variance_after_dropout(mean: float, var: float, p: float) -> float:
    """Of inverted dropout on a value with this mean and variance: (var + mean²) / (1 − p) − mean²."""
    return (var + mean**2) / (1 - p) - mean**2


# Regularizers on the digits


@dataclass(frozen=True)
class Method:
    """What is on in a run."""

    name: str
    weight_decay: float = 0.0
    dropout: float = 0.0
    normalized: bool = False


METHODS = (
    Method("none"),
    Method("L2", weight_decay=0.01),
    Method("dropout", dropout=0.5),
    Method("BN", normalized=True),
    Method("BN + L2", weight_decay=0.01, normalized=True),
    Method("BN + dropout", dropout=0.5, normalized=True),
)


@dataclass(frozen=True, eq=False)
class Regularized:
    """For every method (M) and seed (S): losses and errors, in evaluation mode, after training."""

    methods: tuple[Method, ...]
    train_loss: Tensor
    test_loss: Tensor
    test_error: Tensor

    def row(self, name: str) -> int:
        """The place of a method."""
        return [method.name for method in self.methods].index(name)


def spoil(data: Digits, share: float, seed: int) -> Digits:
    """The same digits with this share of the training labels drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    count = len(data.train_y)
    drawn = torch.randint(10, (count,), generator=generator)
    spoilt = torch.rand(count, generator=generator, dtype=torch.float32) < share
    return replace(data, train_y=torch.where(spoilt, drawn, data.train_y))


def build(method: Method, width: int, seed: int) -> nn.Sequential:
    """64 pixels, two hidden ReLU layers, 10 digits; batch norm before a ReLU, dropout after it."""
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for fan_in in (64, width):
            layers.append(nn.Linear(fan_in, width, dtype=torch.float32))
            if method.normalized:
                layers.append(nn.BatchNorm1d(width, dtype=torch.float32))
            layers.append(nn.ReLU())
            if method.dropout:
                layers.append(nn.Dropout(method.dropout))
        return nn.Sequential(*layers, nn.Linear(width, 10, dtype=torch.float32))


def regularizers(
    seeds: Iterable[int],
    methods: Iterable[Method] = METHODS,
    num_train: int = 400,
    wrong_labels: float = 0.2,
    lr: float = 0.02,
    steps: int = 400,
    batch_size: int = 20,
    width: int = 64,
) -> Regularized:
    """Train each method on few digits, SGD with momentum 0.9, and judge it on the other digits.

    A seed draws the split, the weights, the batches and the masks, the same for all methods.
    Weight decay acts on the weights with two dimensions only.
    """
    methods = tuple(methods)
    rows = []
    for seed in seeds:
        data = spoil(split_digits(seed, num_train), wrong_labels, seed)
        rows.append([_judge(method, data, seed, lr, steps, batch_size, width) for method in methods])
    results = torch.tensor(rows, dtype=torch.float64).permute(2, 1, 0)
    return Regularized(methods, *results)


def _judge(
    method: Method, data: Digits, seed: int, lr: float, steps: int, batch_size: int, width: int
) -> tuple[float, float, float]:
    """Train loss, test loss and test error of one run."""
    model = build(method, width, seed)
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": method.weight_decay},
        {"params": [p for p in model.parameters() if p.dim() <= 1]},
    ]
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(steps):
            batch = torch.randint(len(data.train_x), (batch_size,))
            optimizer.zero_grad()
            F.cross_entropy(model(data.train_x[batch]), data.train_y[batch]).backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        out = model(data.test_x)
        return (
            F.cross_entropy(model(data.train_x), data.train_y).item(),
            F.cross_entropy(out, data.test_y).item(),
            (out.argmax(1) != data.test_y).float().mean().item(),
        )
