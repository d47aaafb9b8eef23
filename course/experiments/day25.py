"""Day 25: gradients through deep networks, and the bowl that features of unlike scale make.

All networks here are stacks of square layers without biases, `h = activation(h @ weight)`, optionally
with batch normalization (gamma 1, beta 0) before the activation, and a linear map to ten classes.
K of them run side by side: weights are (K, inputs, outputs), activations (K, N, width).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from course.experiments.digits import Digits, split_digits

WIDTH = 32
CLASSES = 10

#: What a layer does with its sums; "linear" leaves them as they are.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda z: z,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "ReLU": torch.relu,
}


def standardize(x: Tensor, eps: float = 1e-5, dim: int = 0) -> Tensor:
    """Every feature at mean 0 and (biased) variance 1 over the samples, which run along `dim`."""
    centred = x - x.mean(dim, keepdim=True)
    return centred * (centred.square().mean(dim, keepdim=True) + eps).rsqrt()


# -- deep networks


@cache
def digits_for(seed: int) -> Digits:
    """Digits in float64 with pixels standardized by the training part; a pixel that is nearly always
    blank stays small, because its standard deviation is not taken below 0.1."""
    digits = split_digits(seed, dtype=torch.float64)
    mean, std = digits.train_x.mean(0), digits.train_x.std(0, correction=0).clamp_min(0.1)
    return Digits((digits.train_x - mean) / std, digits.train_y, (digits.test_x - mean) / std, digits.test_y)


def deep_weights(depth: int, gains: Sequence[float], seeds: Sequence[int]) -> list[Tensor]:
    """Weights of len(gains) networks of `depth` layers, and of the linear map behind them.

    The entries of layer l have mean 0 and standard deviation gain / sqrt(inputs). The map behind has
    gain 1 in every network. Networks with the same seed differ in nothing but the gain.

    Returns:
        depth + 1 tensors, (K, 64, width), then (K, width, width), last (K, width, 10).
    """
    sizes = [64, *[WIDTH] * depth, CLASSES]
    networks = []
    for gain, seed in zip(gains, seeds, strict=True):
        generator = torch.Generator().manual_seed(seed)
        readout = torch.randn(WIDTH, CLASSES, generator=generator, dtype=torch.float64)
        layers = [
            gain / math.sqrt(rows) * torch.randn(rows, columns, generator=generator, dtype=torch.float64)
            for rows, columns in itertools.pairwise(sizes[:-1])
        ]
        networks.append([*layers, readout / math.sqrt(WIDTH)])
    return [torch.stack(layer) for layer in zip(*networks, strict=True)]


def run(weights: list[Tensor], x: Tensor, activation: str, normalized: bool) -> tuple[Tensor, list[Tensor]]:
    """Logits (K, N, 10) and the output of each layer (K, N, width) for `x` (K, N, 64)."""
    function, outputs = ACTIVATIONS[activation], []
    for weight in weights[:-1]:
        z = x @ weight
        x = function(standardize(z, dim=1) if normalized else z)
        outputs.append(x)
    return x @ weights[-1], outputs


def cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """(K,): the mean cross-entropy of each network, for logits (K, N, 10) and labels (K, N)."""
    return F.cross_entropy(logits.movedim(-1, 1), labels, reduction="none").mean(1)


@dataclass(frozen=True, eq=False)
class LayerReport:
    """What K networks look like before any training, layer by layer.

    gradients: (K, depth), Euclidean norm of d loss / d weight. activations: (K, depth), standard
    deviation of all numbers in the output of a layer.
    """

    gradients: Tensor
    activations: Tensor

    @property
    def ratio(self) -> Tensor:
        """(K,): the gradient of the first layer over that of the last."""
        return self.gradients[:, 0] / self.gradients[:, -1]


def layer_report(
    depth: int,
    activation: str,
    gains: Sequence[float],
    seeds: Sequence[int],
    normalized: bool,
    batch_size: int = 64,
) -> LayerReport:
    """One batch of digits forward and back through len(gains) networks.

    Raises:
        KeyError: no such activation.
    """
    weights = [weight.requires_grad_() for weight in deep_weights(depth, gains, seeds)]
    x = torch.stack([digits_for(seed).train_x[:batch_size] for seed in seeds])
    labels = torch.stack([digits_for(seed).train_y[:batch_size] for seed in seeds])
    logits, outputs = run(weights, x, activation, normalized)
    grads = torch.autograd.grad(cross_entropies(logits, labels).sum(), weights[:-1])
    return LayerReport(
        torch.stack([grad.flatten(1).norm(dim=1) for grad in grads], dim=1),
        torch.stack([output.detach().flatten(1).std(1, correction=0) for output in outputs], dim=1),
    )


@dataclass(frozen=True, eq=False)
class WithAndWithout:
    """The same network plain and with batch normalization."""

    depth: int
    activation: str
    gain: float
    plain: LayerReport
    normalized: LayerReport


def with_and_without(depth: int, activation: str, gain: float, seed: int = 0) -> WithAndWithout:
    """Both reports of one network (K = 1)."""
    plain, normalized = (layer_report(depth, activation, [gain], [seed], norm) for norm in (False, True))
    return WithAndWithout(depth, activation, gain, plain, normalized)


@dataclass(frozen=True, eq=False)
class GainSweep:
    """What the scale of the weights does to the gradients, before any training.

    plain, normalized: for each activation the norm of the first layer's gradient, (A, S), a row per
    gain and a column per seed. plain_ratio, normalized_ratio: `LayerReport.ratio`, alike.
    """

    depth: int
    gains: Tensor
    plain: dict[str, Tensor]
    normalized: dict[str, Tensor]
    plain_ratio: dict[str, Tensor]
    normalized_ratio: dict[str, Tensor]


def gain_sweep(
    gains: Tensor, seeds: Sequence[int], depth: int = 30, activations: Sequence[str] = ("tanh", "ReLU")
) -> GainSweep:
    """`layer_report` for every gain and seed, plain and normalized."""
    pairs = [(gain, seed) for gain in gains.tolist() for seed in seeds]
    all_gains, all_seeds = zip(*pairs, strict=True)
    norms, ratios = [], []
    for normalized in (False, True):
        reports = {name: layer_report(depth, name, all_gains, all_seeds, normalized) for name in activations}
        norms.append({name: r.gradients[:, 0].view(-1, len(seeds)) for name, r in reports.items()})
        ratios.append({name: r.ratio.view(-1, len(seeds)) for name, r in reports.items()})
    return GainSweep(depth, gains, *norms, *ratios)


@dataclass(frozen=True, eq=False)
class Training:
    """Test accuracy after training, (A, S): a row per gain, a column per seed."""

    depth: int
    steps: int
    gains: Tensor
    plain: Tensor
    normalized: Tensor


def train_deep(
    gains: Tensor,
    seeds: Sequence[int],
    *,
    depth: int = 20,
    activation: str = "ReLU",
    lr: float = 0.1,
    steps: int = 80,
    batch_size: int = 64,
    each: Callable[[Iterator[int]], Iterator[int]] = iter,
) -> Training:
    """Plain gradient descent on digits, all gains and seeds side by side.

    The test batch is normalized by its own statistics; stored ones are the subject of day 27. A network
    whose weights are no longer finite counts as a guess, an accuracy of 0.1.

    Args:
        gains: (A,).
        seeds: S of them; each draws the split, the weights and the batches.
        each: wraps the loop, for a progress bar.
    """
    pairs = [(gain, seed) for gain in gains.tolist() for seed in seeds]
    all_gains, all_seeds = zip(*pairs, strict=True)
    data = [digits_for(seed) for seed in all_seeds]
    test_x, test_y = (torch.stack([getattr(d, name) for d in data]) for name in ("test_x", "test_y"))
    settings = [(normalized, step) for normalized in (False, True) for step in range(steps)]
    weights, accuracies = [], []
    for normalized, step in each(settings):
        if step == 0:
            weights = deep_weights(depth, all_gains, all_seeds)
            orders = [torch.Generator().manual_seed(seed) for seed in all_seeds]
        picks = [
            torch.randint(len(d.train_x), (batch_size,), generator=order)
            for d, order in zip(data, orders, strict=True)
        ]
        x = torch.stack([d.train_x[pick] for d, pick in zip(data, picks, strict=True)])
        labels = torch.stack([d.train_y[pick] for d, pick in zip(data, picks, strict=True)])
        weights = [weight.detach().requires_grad_() for weight in weights]
        logits, _ = run(weights, x, activation, normalized)
        grads = torch.autograd.grad(cross_entropies(logits, labels).sum(), weights)
        weights = [weight.detach() - lr * grad for weight, grad in zip(weights, grads, strict=True)]
        if step == steps - 1:
            logits, _ = run(weights, test_x, activation, normalized)
            right = (logits.argmax(-1) == test_y).double().mean(1)
            right = torch.where(logits.isfinite().all(-1).all(-1), right, 1 / CLASSES)
            accuracies.append(right.view(-1, len(seeds)))
    return Training(depth, steps, gains, *accuracies)


# -- inner layers


@dataclass(frozen=True, eq=False)
class InnerConditions:
    """Condition number of hᵀh / N for the features h that each layer is given, (S, depth + 1); column 0
    are the inputs of the network."""

    plain: Tensor
    standardized: Tensor


def inner_conditions(
    seeds: Sequence[int], depth: int = 4, width: int = 16, num_samples: int = 2000
) -> InnerConditions:
    """How round the bowl of a layer's weights is, layer by layer, in a random ReLU network.

    Inputs are independent standard normal numbers: as round as inputs can be. The weights are He's, of
    standard deviation sqrt(2 / width). `plain`: the features are left as they come. `standardized`: the
    output of each layer is standardized before the next one is given it.
    """
    rows: tuple[list, list] = ([], [])
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        inputs = torch.randn(num_samples, width, generator=generator, dtype=torch.float64)
        weights = torch.randn(depth, width, width, generator=generator, dtype=torch.float64)
        weights = weights * math.sqrt(2 / width)
        for row, prepare in zip(rows, (lambda h: h, standardize), strict=True):
            h = standardize(inputs)
            conditions = [condition_number(h)]
            for weight in weights:
                h = prepare(torch.relu(h @ weight))
                conditions.append(condition_number(h))
            row.append(conditions)
    return InnerConditions(*(torch.tensor(row, dtype=torch.float64) for row in rows))


@dataclass(frozen=True, eq=False)
class Drift:
    """Standard deviation of each layer's output in training, (S, steps + 1, depth)."""

    stds: Tensor

    @property
    def change(self) -> Tensor:
        """(S, depth): the last over the first."""
        return self.stds[:, -1] / self.stds[:, 0]


def drift_of_scales(
    seeds: Sequence[int], *, depth: int = 5, lr: float = 0.1, steps: int = 150, batch_size: int = 64
) -> Drift:
    """Scale a tanh network's layers once so that every sum has standard deviation 1, then train it.

    The standard deviation is that of all sums of a layer (before tanh) on 256 training images that
    stay the same.
    """
    weights = deep_weights(depth, [1.0] * len(seeds), seeds)
    data = [digits_for(seed) for seed in seeds]
    probe = torch.stack([d.train_x[:256] for d in data])

    def scales() -> list[Tensor]:
        h, stds = probe, []
        for weight in weights[:-1]:
            z = h @ weight
            stds.append(z.flatten(1).std(1, correction=0))
            h = torch.tanh(z)
        return stds

    for layer in range(depth):
        weights[layer] = weights[layer] / scales()[layer][:, None, None]
    orders = [torch.Generator().manual_seed(seed) for seed in seeds]
    rows = [torch.stack(scales(), dim=1)]
    for _ in range(steps):
        picks = [
            torch.randint(len(d.train_x), (batch_size,), generator=o)
            for d, o in zip(data, orders, strict=True)
        ]
        x = torch.stack([d.train_x[pick] for d, pick in zip(data, picks, strict=True)])
        labels = torch.stack([d.train_y[pick] for d, pick in zip(data, picks, strict=True)])
        weights = [weight.detach().requires_grad_() for weight in weights]
        logits, _ = run(weights, x, "tanh", normalized=False)
        grads = torch.autograd.grad(cross_entropies(logits, labels).sum(), weights)
        weights = [weight.detach() - lr * grad for weight, grad in zip(weights, grads, strict=True)]
        rows.append(torch.stack(scales(), dim=1))
    return Drift(torch.stack(rows, dim=1))


# -- the bowl of least squares


def hessian(x: Tensor) -> Tensor:
    """xᵀx / N, the Hessian of 1/(2N) Σ (x·w − t)² in w, for x (N, D); shape (D, D)."""
    return x.T @ x / len(x)


def condition_number(x: Tensor) -> float:
    """Largest over smallest eigenvalue of the Hessian of least squares on `x` (N, D)."""
    values = torch.linalg.svdvals(x)  # their squares are N times the eigenvalues
    return (values[0] / values[-1]).square().item()


def cloud(num_samples: int, correlation: float, seed: int = 25) -> Tensor:
    """(N, 2): two features of mean 0 and variance 1 with exactly this correlation, in the sample."""
    generator = torch.Generator().manual_seed(seed)
    raw = standardize(torch.randn(num_samples, 2, generator=generator, dtype=torch.float64), eps=0.0)
    white = torch.linalg.solve_triangular(
        torch.linalg.cholesky(hessian(raw)), raw.T.contiguous(), upper=False
    ).T
    first, second = white.unbind(1)
    return torch.stack([first, correlation * first + math.sqrt(1 - correlation**2) * second], dim=1)


@dataclass(frozen=True, eq=False)
class Bowl:
    """Two features, the level lines of their loss, and a descent into it.

    x: (N, 2). eigenvalues: (2,), smallest first. level: (P, 2), a level line round the minimum; its long
    half axis is 1. path: (steps + 1, 2), distances from the minimum in the same unit. losses:
    (steps + 1,), as a part of the first.
    """

    x: Tensor
    eigenvalues: Tensor
    level: Tensor
    path: Tensor
    losses: Tensor

    @property
    def condition_number(self) -> float:
        return (self.eigenvalues[1] / self.eigenvalues[0]).item()

    @property
    def steps_to(self) -> int:
        """Steps until the loss is 0.1% of the first; it may be more than the path has."""
        factor = ((self.condition_number - 1) / (self.condition_number + 1)) ** 2
        return 1 if factor <= 0.001 else math.ceil(math.log(0.001) / math.log(factor))


def bowl(x: Tensor, steps: int = 40, points: int = 120) -> Bowl:
    """The bowl of least squares on `x` (N, 2), and gradient descent with the best constant learning
    rate, 2 / (λ_max + λ_min). It starts on `level`, where both main directions hold half of the loss.
    """
    values, vectors = torch.linalg.eigh(hessian(x))
    if values[1] - values[0] < 1e-9 * values[1]:
        vectors = torch.eye(2, dtype=x.dtype)  # in a round bowl, every direction is a main one
    # An eigenvector has no sign of its own.
    vectors = vectors * torch.where(vectors[0] + 0.6 * vectors[1] < 0, -1.0, 1.0)
    lengths = (values[0] / values).sqrt()  # half axes of the level line
    angles = torch.linspace(0, 2 * math.pi, points, dtype=x.dtype)
    level = torch.stack([angles.cos(), angles.sin()], dim=1) * lengths @ vectors.T
    factors = 1 - 2 / values.sum() * values
    powers = factors ** torch.arange(steps + 1, dtype=x.dtype)[:, None]
    coordinates = lengths * math.sqrt(0.5) * powers
    losses = (coordinates.square() * values).sum(1)
    return Bowl(x, values, level, coordinates @ vectors.T, losses / losses[0])


def partly_standardized(x: Tensor, part: float) -> Tensor:
    """(1 − part) x + part x_hat: part 0 is x, part 1 is x standardized."""
    return (1 - part) * x + part * standardize(x, eps=0.0)
