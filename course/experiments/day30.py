"""Day 30: noise of batch statistics, weights without a scale, and regularizers on digits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from course.experiments.digits import Digits, arm_by_arm, split_digits
from course.experiments.verdicts import Claim, Finding

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

    @property
    def curves(self) -> dict[str, tuple[Tensor, Tensor]]:
        """By batch size, in units of σ: the spread of the means, and what independent samples have."""
        return {
            "measured": (self.sizes, self.measured / self.sigma),
            "σ/√N": (self.sizes, self.theory / self.sigma),
        }

    def counts(self, reach: float, bins: int) -> Tensor:
        """(bins,): how many means lie in each part of ± `reach` σ around the mean of all."""
        scaled = (self.means - self.centre) / self.sigma
        return torch.histogram(scaled, bins, range=(-reach, reach)).hist


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

    `norm` is (steps + 1,), `angle` (steps,). `lr` is that of the last steps. `norm_end` and `angle_end`
    are where theory says that they settle; infinite and 0 without weight decay.
    """

    lr: float
    weight_decay: float
    norm: Tensor
    angle: Tensor
    norm_end: float
    angle_end: float

    def angles_from(self, first: int, every: int = 10) -> tuple[Tensor, Tensor]:
        """Steps, from this one on, and their angles."""
        return torch.arange(first, len(self.angle), every), self.angle[first::every]


def rest(lr: float, weight_decay: float) -> tuple[float, float]:
    """Where ‖w‖ and the angle of a step, in degrees, settle; infinite and 0 without decay.

    See `scale_free_steps`.
    """
    rate = lr * weight_decay
    norm = (lr / (2 * weight_decay)) ** 0.25 if rate else math.inf
    return norm, math.degrees(math.sqrt(2 * rate))


def scale_free_steps(
    lr: float,
    weight_decay: float,
    start: float,
    steps: int = 1000,
    drop_at: int | None = None,
    drop_to: float = 1.0,
) -> Decay:
    """SGD on a scale-invariant weight whose gradient has length 1 / ‖w‖.

    The gradient is orthogonal to w, so that ‖w‖² ← (1 − lr · wd)² ‖w‖² + lr² ‖g‖² exactly. In
    equilibrium both parts cancel: ‖w‖⁴ = lr / (2 wd), and a step turns w by √(2 lr · wd).

    Args:
        lr, weight_decay: as in `torch.optim.SGD`.
        start: ‖w‖ at the start.
        steps: how many.
        drop_at: the step, counted from 0, from which on the rate is `drop_to` times lr; None for never.
        drop_to: that factor.

    Source: van Laarhoven 2017, section 3; Wan et al. 2021 for the angle.
    """
    norms, angles = [start], []
    for step in range(steps):
        if step == drop_at:
            lr *= drop_to
        along, across = (1 - lr * weight_decay) * norms[-1], lr / norms[-1]
        angles.append(math.degrees(math.atan2(across, along)))
        norms.append(math.hypot(along, across))
    return Decay(
        lr,
        weight_decay,
        torch.tensor(norms, dtype=torch.float64),
        torch.tensor(angles, dtype=torch.float64),
        *rest(lr, weight_decay),
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


def exponential_rates(lr: float, weight_decay: float, steps: int) -> Tensor:
    """(steps,): lr · (1 − lr · wd)^(−2t − 1), the rates that do without decay what lr does with it.

    Let v be w / (1 − lr · wd)^t. It points where w points, and a step of SGD with decay on w is one of
    SGD without decay on v, at this rate. Source: Li & Arora 2020, for layers without a scale.
    """
    kept = 1 - lr * weight_decay
    return lr * kept ** (-2 * torch.arange(steps, dtype=torch.float64) - 1)


@dataclass(frozen=True, eq=False)
class Twins:
    """Two runs: constant rate with decay, growing rate without. `rates`, `losses`, `lengths` are (2, T).

    The length is that of the first weight.
    """

    rates: Tensor
    losses: Tensor
    lengths: Tensor


def exponential_twins(
    lr: float = 0.1, weight_decay: float = 0.1, steps: int = 300, width: int = 32, seed: int = 0
) -> Twins:
    """Two hidden layers before batch norm, on the digits: decayed at `lr`, and not at `exponential_rates`.

    The last layer, gamma and beta have the constant rate and no decay in both. Plain SGD on batches of
    20, float64, no eps.
    """
    data = split_digits(seed, 400, torch.float64)
    constant = torch.full((steps,), lr, dtype=torch.float64)
    rates = torch.stack([constant, exponential_rates(lr, weight_decay, steps)])
    losses, lengths = torch.zeros(2, 2, steps, dtype=torch.float64)
    for run, decay in enumerate((weight_decay, 0.0)):
        weights = [w.double() for w in start(seed, width)]
        flat = torch.zeros(width, dtype=torch.float64)
        others = [flat + 1, flat + 1, flat.clone(), flat.clone(), torch.zeros(10).double()]
        generator = torch.Generator().manual_seed(seed)
        for step in range(steps):
            rows = torch.randint(400, (20,), generator=generator)
            for tensor in (*weights, *others):
                tensor.requires_grad_()
            x = data.train_x[rows]
            for layer in range(2):
                x = x @ weights[layer]
                var, mean = torch.var_mean(x, dim=0, correction=0)
                x = ((x - mean) / var.sqrt() * others[layer] + others[2 + layer]).relu()
            loss = F.cross_entropy(x @ weights[2] + others[4], data.train_y[rows])
            gradients = torch.autograd.grad(loss, (*weights, *others))
            losses[run, step] = loss.detach()
            lengths[run, step] = weights[0].detach().norm()
            with torch.no_grad():
                for w, gradient in zip(weights[:2], gradients[:2], strict=True):
                    w.sub_(rates[run, step] * (gradient + decay * w))
                for tensor, gradient in zip((weights[2], *others), gradients[2:], strict=True):
                    tensor.sub_(lr * gradient)
            weights, others = ([t.detach() for t in group] for group in (weights, others))
    return Twins(rates, losses, lengths)


# Dropout and the variance


def variance_after_dropout(mean: float, var: float, p: float) -> float:
    """Of inverted dropout on a value with this mean and variance: (var + mean²) / (1 − p) − mean²."""
    return (var + mean**2) / (1 - p) - mean**2


# Regularizers on the digits


@dataclass(frozen=True)
class Arm:
    """What is on in a run.

    normalized: batch norm before both ReLUs. dropout: p behind the first and behind the second ReLU.
    decay: wd of the two hidden weights and of the last one. held: the weights of each hidden feature are
    brought back to their length at the start after each step. whole: batch norm takes its statistics from
    all training images, while the loss is still that of the batch.
    """

    name: str
    normalized: bool = False
    lr: float = 0.02
    momentum: float = 0.9
    dropout: tuple[float, float] = (0.0, 0.0)
    decay: tuple[float, float] = (0.0, 0.0)
    held: bool = False
    whole: bool = False


@dataclass(frozen=True, eq=False)
class Runs:
    """(A, S, T) for each arm, seed and checkpoint, in evaluation mode; `steps` (T,).

    `renewed_loss` and `renewed_error` are the training loss and the test error where the statistics of
    evaluation were collected anew on the training images, without dropout; equal to `train_loss` and
    `test_error` without batch norm. `norm` is the length of the first weight.
    """

    arms: tuple[Arm, ...]
    steps: Tensor
    train_loss: Tensor
    valid_error: Tensor
    test_loss: Tensor
    test_error: Tensor
    renewed_loss: Tensor
    renewed_error: Tensor
    norm: Tensor


def spoil(data: Digits, share: float, seed: int) -> Digits:
    """The same digits with this share of the training labels drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    count = len(data.train_y)
    drawn = torch.randint(10, (count,), generator=generator)
    spoilt = torch.rand(count, generator=generator, dtype=torch.float32) < share
    return replace(data, train_y=torch.where(spoilt, drawn, data.train_y))


def start(seed: int, width: int) -> list[Tensor]:
    """Weights (in, out) of three linear layers, drawn as `nn.Linear` draws them; float32."""
    generator = torch.Generator().manual_seed(seed)
    return [
        (2 * torch.rand(a, b, generator=generator, dtype=torch.float32) - 1) / math.sqrt(a)
        for a, b in ((64, width), (width, width), (width, 10))
    ]


class Bundle:
    """Many networks 64 -> width -> width -> 10 at once, R = arms x seeds of them.

    A hidden layer is linear, batch norm where the arms are `normalized`, ReLU, dropout.
    """

    EPS = 1e-5

    def __init__(self, arms: Sequence[Arm], seeds: Sequence[int], width: int) -> None:
        drawn = [start(seed, width) for seed in seeds]
        self.normalized = arms[0].normalized
        self.weights = [
            torch.stack([each[layer] for each in drawn]).repeat(len(arms), 1, 1) for layer in range(3)
        ]
        count = len(arms) * len(seeds)
        flat = torch.zeros(count, 1, width, dtype=torch.float32)
        self.shifts = [flat.clone(), flat.clone(), torch.zeros(count, 1, 10, dtype=torch.float32)]
        self.scales = [flat + 1, flat + 1] if self.normalized else []
        self.running = [(flat.clone(), flat + 1), (flat.clone(), flat + 1)]

    @property
    def parameters(self) -> list[Tensor]:
        """All that is learned; the weights come first."""
        return [*self.weights, *self.shifts, *self.scales]

    def __call__(
        self, x: Tensor, drops: Sequence[Tensor] | None = None, statistics: str = "running"
    ) -> Tensor:
        """(R, N, 10) from (R, N, 64).

        Args:
            x: the images.
            drops: what the outputs of both ReLUs are multiplied by; None for evaluation.
            statistics: "batch" takes those of `x`, "update" also counts them into the running ones.
        """
        for layer in range(2):
            x = x @ self.weights[layer]
            if self.normalized:
                mean, var = self.running[layer]
                if statistics != "running":
                    var, mean = torch.var_mean(x, dim=1, correction=0, keepdim=True)
                if statistics == "update":
                    size = x.shape[1]
                    for old, new in zip(self.running[layer], (mean, var * (size / (size - 1))), strict=True):
                        old.lerp_(new.detach(), 0.1)
                x = (x - mean) * (self.scales[layer] * (var + self.EPS).rsqrt())
            x = (x + self.shifts[layer]).relu()
            if drops is not None:
                x = x * drops[layer]
        return x @ self.weights[2] + self.shifts[2]


def train(
    arms: Sequence[Arm],
    seeds: Sequence[int],
    wrong_labels: float,
    steps: Sequence[int],
    each: Callable[[Iterable[int]], Iterable[int]] = iter,
    num_train: int = 400,
    batch_size: int = 20,
    width: int = 64,
) -> Runs:
    """Train every arm from every seed by SGD, and judge it at these steps, in evaluation mode.

    A seed draws the split, the wrong labels and the weights, the first of them also the batches and the
    masks; all are the same for all arms, in every call. 400 of the other images are for validation, the
    rest are the test. `each` may show a bar.

    Raises:
        ValueError: arms with and without batch norm, or with statistics of the batch and of all images.
    """
    if len({(arm.normalized, arm.whole) for arm in arms}) > 1:
        raise ValueError("arms of one call have to agree in `normalized` and in `whole`")
    seeds, count = list(seeds), len(arms)
    data = [spoil(split_digits(seed, num_train), wrong_labels, seed) for seed in seeds]
    train_x, train_y = (torch.stack([getattr(d, k) for d in data]) for k in ("train_x", "train_y"))
    other_x, other_y = (torch.stack([getattr(d, k) for d in data]) for k in ("test_x", "test_y"))
    labels = other_y.repeat(count, 1)
    net = Bundle(arms, seeds, width)

    def by_run(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32).repeat_interleave(len(seeds)).view(-1, 1, 1)

    lr, beta = by_run([arm.lr for arm in arms]), by_run([arm.momentum for arm in arms])
    hidden, last = (by_run([arm.decay[k] for arm in arms]) for k in range(2))
    decays = (hidden, hidden, last)
    decaying = any(any(arm.decay) for arm in arms)
    p = [by_run([arm.dropout[k] for arm in arms]) for k in range(2)]
    dropping = any(any(arm.dropout) for arm in arms)
    held = by_run([arm.held for arm in arms]) > 0
    lengths = [w.norm(dim=1, keepdim=True) for w in net.weights[:2]]
    velocity = [torch.zeros_like(parameter) for parameter in net.parameters]
    first = 1_000_003 * seeds[0] + 30
    generator, masks = (torch.Generator().manual_seed(first + k) for k in range(2))
    rows_of = torch.arange(len(seeds))[:, None]
    results = []
    for step in each(range(1, max(steps) + 1)):
        rows = torch.randint(num_train, (len(seeds), batch_size), generator=generator)
        y = train_y[rows_of, rows].repeat(count, 1)
        x = (train_x if arms[0].whole else train_x[rows_of, rows]).repeat(count, 1, 1)
        drops = None
        if dropping:
            drawn = torch.rand(2, len(seeds), x.shape[1], width, generator=masks, dtype=torch.float32)
            drops = [(drawn[k].repeat(count, 1, 1) >= p[k]) / (1 - p[k]) for k in range(2)]
        parameters = net.parameters
        for parameter in parameters:
            parameter.requires_grad_()
        out = net(x, drops, "update")
        if arms[0].whole:
            out = out.take_along_dim(rows.repeat(count, 1)[..., None], dim=1)
        loss = F.cross_entropy(out.flatten(0, 1), y.flatten(), reduction="sum") / batch_size
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for k, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
                parameter.requires_grad_(False)
                if k < 3 and decaying:
                    gradient = gradient + decays[k] * parameter
                velocity[k].mul_(beta).add_(gradient)
                parameter.sub_(lr * velocity[k])
                if k < 2 and held.any():
                    length = parameter.norm(dim=1, keepdim=True)
                    parameter.mul_(torch.where(held, lengths[k] / length, 1.0))
            if step in steps:
                all_train = train_x.repeat(count, 1, 1)
                learned, outs = [net(all_train)], [net(other_x.repeat(count, 1, 1))]
                if net.normalized:
                    kept = [(mean.clone(), var.clone()) for mean, var in net.running]
                    net.running = _collected(net, all_train)
                    learned.append(net(all_train))
                    outs.append(net(other_x.repeat(count, 1, 1)))
                    net.running = kept
                wrong = [(o.argmax(2) != labels).double() for o in outs]
                results.append(
                    torch.stack(
                        [
                            _cross_entropy(learned[0], train_y.repeat(count, 1)),
                            wrong[0][:, :400].mean(1),
                            _cross_entropy(outs[0][:, 400:], labels[:, 400:]),
                            wrong[0][:, 400:].mean(1),
                            _cross_entropy(learned[-1], train_y.repeat(count, 1)),
                            wrong[-1][:, 400:].mean(1),
                            net.weights[0].square().sum((1, 2)).sqrt().double(),
                        ]
                    )
                )
    values = torch.stack(results, dim=-1).view(7, count, len(seeds), -1)
    return Runs(tuple(arms), torch.tensor(sorted(steps)), *values)


def _collected(net: Bundle, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Mean and variance in front of both norms over all of `x`, each norm with those of `x`."""
    found = []
    for layer in range(2):
        x = x @ net.weights[layer]
        var, mean = torch.var_mean(x, dim=1, correction=0, keepdim=True)
        found.append((mean, var))
        x = (x - mean) * (net.scales[layer] * (var + net.EPS).rsqrt()) + net.shifts[layer]
        x = x.relu()
    return found


def _cross_entropy(out: Tensor, y: Tensor) -> Tensor:
    """(R,): the mean over the images of (R, N, 10), for labels (R, N)."""
    return F.cross_entropy(out.transpose(1, 2), y, reduction="none").mean(1).double()


# The claims


def error_at(loss: float, runs: Runs, arm: int) -> Tensor:
    """(S,): the test error of an arm where its training loss first falls to `loss`; infinite if never.

    Between two checkpoints the error is drawn as a line over the logarithm of the loss.
    """
    found = []
    for losses, errors in zip(runs.train_loss[arm].log(), runs.test_error[arm], strict=True):
        below = (losses <= math.log(loss)).nonzero()
        at = int(below[0]) if len(below) else None
        if at is None:
            found.append(math.inf)
        elif at == 0:
            found.append(errors[0].item())
        else:
            share = (losses[at - 1] - math.log(loss)) / (losses[at - 1] - losses[at])
            found.append((errors[at - 1] + share * (errors[at] - errors[at - 1])).item())
    return torch.tensor(found, dtype=torch.float64)


def at_best(runs: Runs, names: Sequence[str]) -> Tensor:
    """(S,): test errors where the validation error is lowest, over these arms and all checkpoints."""
    rows = [i for i, arm in enumerate(runs.arms) if arm.name in names]
    valid, test = (value[rows].transpose(0, 1).flatten(1) for value in (runs.valid_error, runs.test_error))
    return test.gather(1, valid.argmin(dim=1, keepdim=True))[:, 0]


SLOW, RATE, FAST = 0.005, 0.02, 0.08
PLAIN = (
    Arm("none"),
    Arm("none, fast", lr=FAST),
    Arm("L2, 0.003", decay=(0.003, 0.003)),
    Arm("L2, 0.01", decay=(0.01, 0.01)),
    Arm("L2, 0.003, fast", lr=FAST, decay=(0.003, 0.003)),
    Arm("dropout 0.2", dropout=(0.2, 0.2)),
    Arm("dropout 0.2, fast", lr=FAST, dropout=(0.2, 0.2)),
    Arm("dropout 0.5", dropout=(0.5, 0.5)),
)
NORMALIZED = (
    Arm("BN", True),
    Arm("BN + dropout 0.2", True, dropout=(0.2, 0.2)),
    Arm("BN + dropout 0.5", True, dropout=(0.5, 0.5)),
    Arm("BN + last 0.5", True, dropout=(0.0, 0.5)),
    Arm("BN + last 0.8", True, dropout=(0.0, 0.8)),
    Arm("BN, slow", True, lr=SLOW),
    Arm("BN + dropout 0.2, slow", True, lr=SLOW, dropout=(0.2, 0.2)),
    Arm("BN + dropout 0.5, slow", True, lr=SLOW, dropout=(0.5, 0.5)),
    Arm("BN + last 0.5, slow", True, lr=SLOW, dropout=(0.0, 0.5)),
    Arm("BN + last 0.8, slow", True, lr=SLOW, dropout=(0.0, 0.8)),
)
WHOLE = (Arm("BN, no noise", True, whole=True),)
#: What is compared, each at its own best rate, strength and step: name -> arms.
FAMILIES = {
    "none": ("none", "none, fast"),
    "L2": ("L2, 0.003", "L2, 0.003, fast", "L2, 0.01"),
    "dropout": ("dropout 0.2", "dropout 0.2, fast", "dropout 0.5"),
    "BN": ("BN", "BN, slow"),
    "BN + dropout": (
        "BN + dropout 0.2",
        "BN + dropout 0.2, slow",
        "BN + dropout 0.5",
        "BN + dropout 0.5, slow",
    ),
    "BN + dropout, last only": (
        "BN + last 0.5",
        "BN + last 0.5, slow",
        "BN + last 0.8",
        "BN + last 0.8, slow",
    ),
}
STEPS = (25, 50, 75, 100, 150, 200, 300, 400)
LONG = (400, 1200)
LOSS = 0.9
RIGHT, WRONG = 0, 1  # places of the labels


@dataclass(frozen=True, eq=False)
class Needless:
    """Runs with right labels and with a fifth drawn at random, in this order.

    `whole` goes on for 150 steps, `plain` and `normalized` for 400. `long` is
    (2, S, 2): the test errors of "none" and "BN" after 400 and 1200 steps on the wrong labels.
    """

    plain: tuple[Runs, Runs]
    normalized: tuple[Runs, Runs]
    whole: tuple[Runs, Runs]
    long: Tensor

    def runs(self, labels: int, name: str) -> tuple[Runs, int]:
        """The runs in which an arm is, and its place there.

        Raises:
            KeyError: no arm has this name.
        """
        for runs in (self.plain[labels], self.normalized[labels], self.whole[labels]):
            for place, arm in enumerate(runs.arms):
                if arm.name == name:
                    return runs, place
        raise KeyError(name)

    def after(self, labels: int, name: str, steps: int, what: str = "test_error") -> Tensor:
        """(S,): the test error of an arm after so many steps, or another field of `Runs`."""
        runs, place = self.runs(labels, name)
        return getattr(runs, what)[place, :, runs.steps.tolist().index(steps)]

    def worse(self, labels: int, steps: int) -> str:
        """Which has the larger test error after so many steps in every seed, "none" or "BN"; or "neither"."""
        plain, normalized = (self.after(labels, name, steps) for name in ("none", "BN"))
        if (plain > normalized).all():
            return "none"
        return "BN" if (normalized > plain).all() else "neither"

    def at_loss(self, labels: int, name: str, loss: float = LOSS) -> Tensor:
        """(S,): the test error of an arm where its training loss falls to `loss`."""
        return error_at(loss, *self.runs(labels, name))

    def best(self, labels: int, family: str) -> Tensor:
        """(S,): the test error of a family where its validation error is lowest."""
        return at_best(self.runs(labels, FAMILIES[family][-1])[0], FAMILIES[family])


def measure_dropout(seeds: Sequence[int], each: Callable[[Iterable], Iterable] = iter) -> Needless:
    """All arms, with right labels and with wrong ones; `each` may show how many of the runs are done."""
    groups = ((PLAIN, STEPS), (NORMALIZED, STEPS), (WHOLE, STEPS[:5]))
    settings = {(place, share): group for place, group in enumerate(groups) for share in (0.0, 0.2)}
    settings |= {(arms[0].name, 0.2): (arms[:1], LONG) for arms in (PLAIN, NORMALIZED)}
    runs = _side_by_side(settings, seeds, each)
    pairs = (tuple(runs[place, share] for share in (0.0, 0.2)) for place in range(len(groups)))
    ends = [runs[arms[0].name, 0.2].test_error[0] for arms in (PLAIN, NORMALIZED)]
    return Needless(*pairs, torch.stack(ends))


def _side_by_side(
    settings: dict[tuple, tuple[Sequence[Arm], Sequence[int]]],
    seeds: Sequence[int],
    each: Callable[[Iterable], Iterable],
) -> dict[tuple, Runs]:
    """`train` for each of the settings, name and share of wrong labels -> arms and steps."""

    def run(name: tuple) -> Runs:
        arms, steps = settings[name]
        return train(arms, seeds, name[1], steps)

    return arm_by_arm(run, settings, each)


def judge_dropout(run: Needless) -> list[Finding]:
    """What batch norm does for the test error, and what dropout on top of it does."""
    rise = run.long[0, :, 1] - run.long[0, :, 0]
    noisy, quiet = (run.after(WRONG, name, 150, "train_loss") for name in ("BN", "BN, no noise"))
    return [
        Finding(
            "wrong labels, 400 steps, one rate: BN alone has a larger test error than nothing",
            run.after(WRONG, "BN", 400) > run.after(WRONG, "none", 400),
            at_least=3,
        ),
        Finding(
            "wrong labels, from step 400 to 1200: the error without BN rises",
            rise > 0,
            at_least=3,
        ),
        Finding(
            "wrong labels, 150 steps: without the noise of the batch BN has the lower training loss",
            quiet < noisy,
            at_least=4,
        ),
        Finding(
            "wrong labels, 400 steps: dropout 0.5 takes more than 3 points off the error of BN",
            run.after(WRONG, "BN + dropout 0.5", 400) < run.after(WRONG, "BN", 400) - 0.03,
            at_least=4,
        ),
        Finding(
            "wrong labels, equal training loss: dropout 0.5 adds at most 1.5 points to the error of BN, "
            "if any",
            run.at_loss(WRONG, "BN + dropout 0.5") < run.at_loss(WRONG, "BN") + 0.015,
            at_least=3,
        ),
        Finding(
            "wrong labels, each at its best: BN with dropout is at most 1.5 points worse than BN alone",
            run.best(WRONG, "BN + dropout") < run.best(WRONG, "BN") + 0.015,
            at_least=4,
        ),
        Finding(
            "right labels, each at its best: BN has a lower test error than nothing",
            run.best(RIGHT, "BN") < run.best(RIGHT, "none"),
            at_least=3,
        ),
        Finding(
            "right labels, each at its best: dropout takes less than 1 point off the error of BN",
            run.best(RIGHT, "BN + dropout") > run.best(RIGHT, "BN") - 0.01,
            at_least=4,
        ),
    ]


SPLIT = {"none": (0.0, 0.0), "hidden": (0.01, 0.0), "last": (0.0, 0.01), "both": (0.01, 0.01)}
#: Controls of the experiment on decay -> the kind in `Split.ratio`.
CONTROLS = {
    "lengths held": ", held",
    "a quarter of the rate": ", slow",
    "and four times the steps": ", slow and long",
}
SPLIT_STEPS = (100, 200, 300, 325, 350, 375, 400)


def split_arms() -> list[Arm]:
    """Decay on hidden weights, on the last, on both or none; the first three also held, two also slow."""
    arms = [Arm(name, True, decay=decay) for name, decay in SPLIT.items()]
    arms += [Arm(f"{name}, held", True, decay=SPLIT[name], held=True) for name in ("none", "hidden", "last")]
    return arms + [Arm(f"{name}, slow", True, lr=RATE / 4, decay=SPLIT[name]) for name in ("none", "hidden")]


def long_arms() -> list[Arm]:
    """The slow arms again, for four times as many steps."""
    return [replace(arm, name=f"{arm.name} and long") for arm in split_arms() if arm.name.endswith("slow")]


OWN_RATES, OWN_DECAYS = (RATE / 2, RATE, 2 * RATE), (0.003, 0.01, 0.03)
OWN_STEPS = (100, 150, 200, 250, 300, 350, 400)
#: The same on labels of which a fifth is wrong; there a slow start and an early stop are best.
WRONG_RATES, WRONG_DECAYS = (SLOW, RATE / 2, RATE), (0.01, 0.03)


def own_arms(rates: Sequence[float] = OWN_RATES, strengths: Sequence[float] = OWN_DECAYS) -> list[Arm]:
    """No decay, and decay on the hidden weights of these strengths, at each of the rates."""
    decays = [("none", 0.0), *(("hidden", decay) for decay in strengths)]
    return [Arm(name, True, lr=lr, decay=(decay, 0.0)) for name, decay in decays for lr in rates]


@dataclass(frozen=True, eq=False)
class Split:
    """The runs, and (S,) how far the losses of the exponential twins are apart at most.

    `runs` are those of `split_arms` and of `long_arms`, whose steps are four times `runs.steps`. `own` (S,):
    the test error with decay on the hidden weights over that without, as a difference, where the validation
    images choose rate, strength and step; `own_wrong` (S,) is the same on labels of which a fifth is wrong.
    """

    runs: Runs
    apart: Tensor
    own: Tensor
    own_wrong: Tensor

    def late(self, name: str, what: str) -> Tensor:
        """(S,): `what` of the runs, its mean over five checkpoints in the last quarter of training."""
        place = [arm.name for arm in self.runs.arms].index(name)
        return getattr(self.runs, what)[place, :, 2:].mean(1)

    def ratio(self, kind: str = "", what: str = "train_loss", where: str = "hidden") -> Tensor:
        """(S,): with decay there over without, of one kind: "", ", held", ", slow", ", slow and long"."""
        return self.late(where + kind, what) / self.late("none" + kind, what)

    def cured(self, factor: float) -> list[tuple[str, str]]:
        """Which of `CONTROLS` bring the median of `ratio` below this factor, each with "below 1.2 times"."""
        column = f"below {factor:g} times"
        return [(name, column) for name, kind in CONTROLS.items() if self.ratio(kind).median() < factor]


def measure_decay(seeds: Sequence[int], each: Callable[[Iterable], Iterable] = iter) -> Split:
    """All of `split_arms`, `long_arms` and `own_arms`, and the exponential twins; `each` as there."""
    twins = [exponential_twins(seed=seed, steps=100) for seed in seeds]
    apart = torch.stack([(twin.losses[0] - twin.losses[1]).abs().max() for twin in twins])
    settings = {
        ("split", 0.0): (split_arms(), SPLIT_STEPS),
        ("long", 0.0): (long_arms(), [4 * step for step in SPLIT_STEPS]),
        ("own", 0.0): (own_arms(), OWN_STEPS),
        ("own", 0.2): (own_arms(WRONG_RATES, WRONG_DECAYS), STEPS),
    }
    runs, long, right, wrong = _side_by_side(settings, seeds, each).values()
    values = {
        field.name: torch.cat([getattr(runs, field.name), getattr(long, field.name)])
        for field in fields(Runs)
        if field.name not in ("arms", "steps")
    }
    own = (at_best(tuned, ["hidden"]) - at_best(tuned, ["none"]) for tuned in (right, wrong))
    return Split(Runs(runs.arms + long.arms, runs.steps, **values), apart, *own)


def judge_decay(run: Split) -> list[Finding]:
    """Where decay acts, and whether it still does where the length is held."""
    free, held, slow, long = (run.ratio(kind) for kind in ("", ", held", ", slow", ", slow and long"))
    return [
        Finding(
            "decay on the hidden weights: more than twice the training loss, and a larger test error",
            (free > 2) & (run.late("hidden", "test_error") > run.late("none", "test_error")),
            at_least=4,
        ),
        Finding(
            "their length held: the same decay changes it by a factor below 2",
            held.log().abs() < math.log(2),
            at_least=4,
        ),
        Finding("a quarter of the rate: by a factor below 1.2", slow.log().abs() < math.log(1.2)),
        Finding(
            "a quarter of the rate, four times the steps: again a larger training loss",
            long > 1,
            at_least=4,
        ),
        Finding(
            "decay on the last layer: more than 1.2 times the training loss, error at most 1 point larger",
            (run.ratio(where="last") > 1.2)
            & (run.late("last", "test_error") < run.late("none", "test_error") + 0.01),
            at_least=4,
        ),
        Finding(
            "each at its best rate, strength and step: hidden decay changes the test error by < 2.5 points",
            run.own.abs() < 0.025,
            at_least=4,
        ),
        Finding("the same on wrong labels", run.own_wrong.abs() < 0.025, at_least=4),
        Finding(
            "SGD without momentum, no decay and a growing rate: the losses are equal to 1e-9",
            run.apart < 1e-9,
        ),
    ]


CLAIMS = {
    "dropout": Claim("Batch normalization makes dropout needless.", measure_dropout, judge_dropout),
    "decay": Claim(
        "Weight decay regularizes a network with batch norm, because it keeps its weights small.",
        measure_decay,
        judge_decay,
    ),
}
