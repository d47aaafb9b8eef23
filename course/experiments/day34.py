"""Day 34: momentum and normalization, alone and together, on a bowl and on a network."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from course.experiments.day33 import best_gradient_descent, best_heavy_ball, descend
from course.experiments.digits import Digits, split_digits

# The four runs: name -> (momentum, normalization).
RUNS = {
    "plain": (False, False),
    "normalization": (False, True),
    "momentum": (True, False),
    "both": (True, True),
}
TOLERANCE = 1e-6
LONGEST = 400


# Theory


def best_rate(condition: float, momentum: bool) -> float:
    """The rate of the best gradient descent or heavy ball. Source: Polyak 1964; Goh 2017."""
    return best_heavy_ball(1 / condition, 1)[2] if momentum else best_gradient_descent(1 / condition, 1)[1]


def steps_to_tolerance(rate: float, tolerance: float) -> int:
    """The least k with rate^k <= tolerance, for a rate below 1 and a tolerance in (0, 1)."""
    return 1 if rate <= tolerance else math.ceil(math.log(tolerance) / math.log(rate))


@dataclass(frozen=True, eq=False)
class Curves:
    """Steps that bring the distance down to `tolerance`, against the condition number.

    `condition` is (K,), `plain` and `momentum` are (K,); `before` is the condition number of the
    raw problem and `after` what normalization leaves of it; `steps` holds the four runs.
    """

    tolerance: float
    condition: Tensor
    plain: Tensor
    momentum: Tensor
    before: float
    after: float
    steps: dict[str, int]


def step_curves(before: float, power: float, tolerance: float) -> Curves:
    """The curves, and the four runs where normalization turns `before` into `before` ** `power`."""
    condition = 1 + torch.logspace(-4, 4, 121, dtype=torch.float64)
    root = condition.sqrt()
    plain, ball = ((k - 1) / (k + 1) for k in (condition, root))
    counts = [(math.log(tolerance) / rate.clamp(min=tolerance).log()) for rate in (plain, ball)]
    after = before**power
    steps = {
        name: steps_to_tolerance(best_rate(after if normalized else before, momentum), tolerance)
        for name, (momentum, normalized) in RUNS.items()
    }
    return Curves(tolerance, condition, *counts, before, after, steps)


# One bowl


@dataclass(frozen=True, eq=False)
class Panel:
    """One of the four runs: the Hessian (2, 2) that it sees and its path (steps + 1, 2).

    `steps` is the first step whose loss is `TOLERANCE` of the first loss for good, or None.
    """

    hessian: Tensor
    path: Tensor
    condition: float
    lr: float
    beta: float
    steps: int | None


@dataclass(frozen=True, eq=False)
class TwoByTwo:
    """The four runs by name."""

    panels: dict[str, Panel]
    whitened: bool


def covariance(scale: float, correlation: float) -> Tensor:
    """(2, 2): of two features with standard deviations 1 and `scale`."""
    mixed = correlation * scale
    return torch.tensor([[1.0, mixed], [mixed, scale**2]], dtype=torch.float64)


def root_of(matrix: Tensor, power: float = 0.5) -> Tensor:
    """A power of a symmetric positive definite matrix, by its eigenvectors."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values**power @ vectors.T


def two_by_two(scale: float, correlation: float, whiten: bool) -> TwoByTwo:
    """Least squares on two features, by four methods, each with the lr and beta that suit it best.

    The Hessian of least squares on centred features is their covariance. Standardizing divides the
    features by their standard deviations, whitening multiplies them by the inverse root of the
    covariance. All four start from the same function, so from the same loss.
    """
    raw = covariance(scale, correlation)
    start = torch.tensor([-2.0, 1.2 / scale], dtype=torch.float64)
    change = root_of(raw) if whiten else raw.diagonal().sqrt().diag()  # raw w -> normalized w
    back = torch.linalg.inv(change)
    panels = {}
    for name, (momentum, normalized) in RUNS.items():
        hessian = back @ raw @ back if normalized else raw
        values, vectors = torch.linalg.eigh(hessian)
        low, high = values.tolist()
        lr, beta = best_heavy_ball(low, high)[:2] if momentum else (best_gradient_descent(low, high)[0], 0.0)
        first = change @ start if normalized else start
        path = descend(values, vectors.T @ first, lr, beta, LONGEST)
        above = (path.loss > TOLERANCE * path.loss[0]).nonzero()[-1].item() + 1
        panels[name] = Panel(
            hessian, path.w @ vectors.T, high / low, lr, beta, above if above <= LONGEST else None
        )
    return TwoByTwo(panels, whiten)


@dataclass(frozen=True)
class Trouble:
    """What ails a surface of two parameters, and what is left of it."""

    name: str
    raw: float
    standardized: float
    whitened: float


def condition_number(hessian: Tensor) -> float:
    """Largest over smallest eigenvalue of a symmetric matrix."""
    values = torch.linalg.eigvalsh(hessian)
    return (values[-1] / values[0]).item()


def troubles(scale: float = 10.0, offset: float = 10.0, correlation: float = 0.95) -> list[Trouble]:
    """Condition numbers of least squares under three troubles, before and after normalization.

    With an offset the two parameters are a weight and a bias, and the Hessian is the mean of
    (x, 1)ᵀ(x, 1) with mean(x) = `offset`, var(x) = 1; centring makes it the identity.
    """
    shifted = torch.tensor([[offset**2 + 1, offset], [offset, 1.0]], dtype=torch.float64)
    one = torch.eye(2, dtype=torch.float64)
    cases = (
        (f"scale {scale:g}", covariance(scale, 0.0), one),
        (f"offset {offset:g}", shifted, one),
        (f"correlation {correlation:g}", covariance(1.0, correlation), covariance(1.0, correlation)),
    )
    return [Trouble(name, condition_number(raw), condition_number(after), 1.0) for name, raw, after in cases]


# What momentum does to weights without a scale


@dataclass(frozen=True, eq=False)
class Radial:
    """Descent on a loss that sees the direction of w only, seeds (S,).

    `gradient` and `velocity` (T, S) are the cosines between w and the gradient, or the velocity,
    before each step; `growth` (S,) is ‖w‖² at the end over ‖w‖² at the start.
    """

    gradient: Tensor
    velocity: Tensor
    growth: Tensor


def radial_parts(
    lr: float, beta: float, steps: int = 100, seeds: Iterable[int] = range(5), width: int = 20
) -> Radial:
    """Fit normalized outputs x_hat(w) of 64 samples to those of another w, by full batches.

    The loss is the mean of (x_hat − target)² with x_hat = (x·w − mean) / std, so that
    f(a w) = f(w) for a > 0 and the gradient is orthogonal to w. Source of the question: Heo et al. 2021.
    """
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    x = torch.stack([torch.randn(64, width, generator=g, dtype=torch.float64) for g in draws])
    w, other = (
        torch.stack([torch.randn(width, 1, generator=g, dtype=torch.float64) for g in draws])
        for _ in range(2)
    )
    w = w / w.norm(dim=1, keepdim=True)

    def normalized(w: Tensor) -> Tensor:
        out = x @ w
        return (out - out.mean(dim=1, keepdim=True)) / out.std(dim=1, keepdim=True, correction=0)

    target = normalized(other)
    velocity = torch.zeros_like(w)
    cosines: list[list[Tensor]] = [[], []]
    first = (w**2).sum(dim=(1, 2))
    for _ in range(steps):
        w.requires_grad_()
        (gradient,) = torch.autograd.grad(((normalized(w) - target) ** 2).mean(dim=(1, 2)).sum(), w)
        w = w.detach()
        velocity = beta * velocity + gradient
        for kept, vector in zip(cosines, (gradient, velocity), strict=True):
            kept.append(torch.cosine_similarity(w, vector, dim=1)[:, 0])
        w = w - lr * velocity
    return Radial(torch.stack(cosines[0]), torch.stack(cosines[1]), (w**2).sum(dim=(1, 2)) / first)


# A network


@dataclass(frozen=True, eq=False)
class GridRun:
    """The four runs on the digits, each over a grid of learning rates.

    `lrs` is (L,), `steps` (T,); `loss` maps a name to (L, seeds, T), on all training images, with
    infinity where it is no number.
    """

    lrs: Tensor
    steps: Tensor
    loss: dict[str, Tensor]

    def steps_to(self, name: str, tolerance: float) -> Tensor:
        """(L, seeds): the first step with a loss of at most `tolerance`, infinity where none."""
        reached = self.loss[name] <= tolerance
        first = self.steps[reached.int().argmax(dim=-1)].double()
        return torch.where(reached.any(dim=-1), first, math.inf)

    def best(self, name: str, tolerance: float) -> int:
        """The place of the learning rate whose median over the seeds arrives first."""
        return self.steps_to(name, tolerance).median(dim=1).values.argmin().item()

    def best_steps(self, name: str, tolerance: float) -> Tensor:
        """(seeds,) at that learning rate."""
        return self.steps_to(name, tolerance)[self.best(name, tolerance)]


def network(weights: Sequence[Tensor], x: Tensor, normalized: bool, eps: float = 1e-5) -> Tensor:
    """(seeds, n, 10): ReLU layers, with batch normalization before each ReLU or without.

    `weights` holds a matrix, a scale and a shift for each hidden layer, then the last matrix and its
    bias. Without normalization the scale is not used and the shift is the bias.
    """
    for layer in range(0, len(weights) - 2, 3):
        matrix, gamma, shift = weights[layer : layer + 3]
        x = x @ matrix
        if normalized:
            centred = x - x.mean(dim=-2, keepdim=True)
            x = gamma * centred / torch.sqrt((centred**2).mean(dim=-2, keepdim=True) + eps)
        x = torch.relu(x + shift)
    return x @ weights[-2] + weights[-1]


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """(seeds,): the mean over the n samples of logits (seeds, n, 10) and labels (seeds, n)."""
    return -logits.log_softmax(dim=-1).gather(-1, y[..., None]).mean(dim=(-1, -2))


def initial_weights(generators: list[torch.Generator], width: int, depth: int) -> list[Tensor]:
    """Matrices by He et al. 2015, scales 1, shifts 0; the first axis is the seed."""
    sizes = [64] + [width] * depth + [10]
    weights: list[Tensor] = []
    for place, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        draws = [torch.randn(fan_in, fan_out, generator=g, dtype=torch.float32) for g in generators]
        weights.append(torch.stack(draws) * (2 / fan_in) ** 0.5)
        if place < depth:
            weights.append(torch.ones(len(draws), 1, fan_out, dtype=torch.float32))
        weights.append(torch.zeros(len(draws), 1, fan_out, dtype=torch.float32))
    return weights


def digits_two_by_two(
    lrs: Sequence[float],
    seeds: Iterable[int],
    beta: float = 0.9,
    steps: int = 120,
    batch_size: int = 64,
    every: int = 5,
    width: int = 32,
    depth: int = 3,
    names: Iterable[str] = tuple(RUNS),
) -> GridRun:
    """Train the network with and without momentum, with and without batch normalization.

    The seeds of a setting are trained side by side; no run knows of another. A seed draws the
    split, the weights and the batches, the same for all settings. The loss is that of all training
    images, normalized by their own statistics.
    """
    seeds = list(seeds)
    data = [split_digits(seed) for seed in seeds]
    loss = {}
    for name in names:
        momentum, normalized = RUNS[name]
        shape = (steps, batch_size, every, width, depth)
        curves = [_train(data, seeds, lr, beta * momentum, normalized, *shape) for lr in lrs]
        loss[name] = torch.stack(curves).nan_to_num(nan=math.inf)
    return GridRun(torch.tensor(lrs, dtype=torch.float64), torch.arange(0, steps + 1, every), loss)


def _train(
    data: list[Digits],
    seeds: list[int],
    lr: float,
    beta: float,
    normalized: bool,
    steps: int,
    batch_size: int,
    every: int,
    width: int,
    depth: int,
) -> Tensor:
    """(seeds, checks): the losses of one setting."""
    train_x, train_y = (torch.stack([getattr(d, n) for d in data]) for n in ("train_x", "train_y"))
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    weights = initial_weights(generators, width, depth)
    velocities = [torch.zeros_like(w) for w in weights]
    curve = []
    for step in range(steps + 1):
        if step % every == 0:
            with torch.no_grad():
                curve.append(cross_entropy(network(weights, train_x, normalized), train_y).double())
        rows = torch.stack([torch.randint(train_x.shape[1], (batch_size,), generator=g) for g in generators])
        batch = torch.arange(len(seeds))[:, None], rows
        weights = [w.detach().requires_grad_() for w in weights]
        losses = cross_entropy(network(weights, train_x[batch], normalized), train_y[batch])
        # Without normalization the scales are not used.
        gradients = torch.autograd.grad(losses.sum(), weights, allow_unused=True, materialize_grads=True)
        velocities = [beta * v + g for v, g in zip(velocities, gradients, strict=True)]
        weights = [w.detach() - lr * v for w, v in zip(weights, velocities, strict=True)]
    return torch.stack(curve, dim=-1)
