"""Day 34: momentum and normalization, of activations, of weights and of steps, on a bowl and on a network."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from course.experiments.day33 import best_gradient_descent, best_heavy_ball, descend
from course.experiments.digits import arm_by_arm, cross_entropy, split_digits
from course.experiments.verdicts import Claim, Finding

# The four runs: name -> (momentum, normalization).
RUNS = {
    "plain": (False, False),
    "normalization": (False, True),
    "momentum": (True, False),
    "both": (True, True),
}
BETA = 0.9
TOLERANCE = 1e-6
SLACK = 1e-9  # a loss this close above the tolerance, in parts of it, is rounding
LONGEST = 400


# Theory


def best_rate(condition: float, momentum: bool) -> float:
    """The rate of the best gradient descent or heavy ball. Source: Polyak 1964; Goh 2017."""
    return best_heavy_ball(1 / condition, 1)[2] if momentum else best_gradient_descent(1 / condition, 1)[1]


def power_steps(rate: float, tolerance: float) -> int:
    """The least k with rate^k <= tolerance, for a rate below 1 and a tolerance in (0, 1)."""
    return 1 if rate <= tolerance else math.ceil(math.log(tolerance) / math.log(rate))


def exact_steps(condition: float, momentum: bool, tolerance: float) -> int:
    """Steps until the distance is `tolerance` of the first for good, from the worst start, from rest.

    Without momentum both ends of the spectrum shrink by ρ a step. At the best lr and beta of the heavy
    ball each end has a double root, −ρ at the steepest axis and ρ at the flattest, and the largest error
    is that of the steepest, (1 + (1 + ρ) t) ρ^t.
    """
    rate = best_rate(condition, momentum)
    steps = power_steps(rate, tolerance)
    if not momentum or rate == 0:
        return steps
    while (1 + (1 + rate) * steps) * rate**steps > tolerance:
        steps += 1
    return steps


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
        above = (path.loss > (1 + SLACK) * TOLERANCE * path.loss[0]).nonzero()[-1].item() + 1
        panels[name] = Panel(
            hessian, path.w @ vectors.T, high / low, lr, beta, above if above <= LONGEST else None
        )
    return TwoByTwo(panels)


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


def cured(found: Iterable[Trouble]) -> list[tuple[str, str]]:
    """The troubles whose condition number becomes 1: name of the trouble, and what cures it."""
    cures = ("standardized", "whitened")
    return [(each.name, cure) for each in found for cure in cures if abs(getattr(each, cure) - 1) < 1e-6]


def diagonal_scalings(width: int, seeds: Iterable[int], steps: int = 120) -> Tensor:
    """(S, 3): condition numbers of random covariances: raw, standardized, best diagonal scaling found.

    A covariance is A Aᵀ with A (width, width) of normal numbers, its rows stretched by 1 to 10. The last is
    searched by descent on the logarithms of the scales, from those of standardizing. By van der Sluis 1969
    the second is at most `width` times what the best scaling reaches.
    """
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    a = torch.stack([torch.randn(width, width, generator=g, dtype=torch.float64) for g in draws])
    a = a * torch.logspace(0, 1, width, dtype=torch.float64)[:, None]
    hessian = a @ a.mT
    logs = (-0.5 * hessian.diagonal(dim1=1, dim2=2).log()).requires_grad_()
    optimizer = torch.optim.Adam([logs], lr=0.03)

    def condition(matrix: Tensor) -> Tensor:
        values = torch.linalg.eigvalsh(matrix)
        return values[:, -1] / values[:, 0]

    heights = []
    for _ in range(steps):
        scales = logs.exp()
        heights.append(condition(scales[:, :, None] * hessian * scales[:, None, :]))
        optimizer.zero_grad()
        heights[-1].log().sum().backward()
        optimizer.step()
    met = torch.stack(heights).detach()
    return torch.stack([condition(hessian), met[0], met.amin(dim=0)], dim=1)


# Rules for a step


RULES = {
    "gradient": "gradient",
    "normalized": "normalized",
    "sign": "sign",
    "adam": "Adam",
    "orthogonalized": "orthogonalized",
}


@dataclass(frozen=True, eq=False)
class RulePaths:
    """One rule on one surface, without momentum and with beta 0.9.

    `hessian` is (2, 2), `paths` a pair of (steps + 1, 2), `losses` a pair of (steps + 1,), over the first
    loss.
    """

    hessian: Tensor
    paths: tuple[Tensor, Tensor]
    losses: tuple[Tensor, Tensor]


def rule_paths(
    rule: str, surface: str, correlation: float, lr: float, decay: bool, steps: int = 60
) -> RulePaths:
    """Two descents on least squares of two features with standard deviations 1 and 5.

    The momentum is an average, m ← beta m + (1 − beta) g, of which the rule makes a step, so that one lr
    suits both. rule: "gradient" m; "normalized" m / ‖m‖; "sign" sign(m); "adam" m over the root of the
    average of g² (beta2 0.99), both with bias correction; "orthogonalized": the two parameters are the
    singular values, with signs, of a matrix whose singular vectors are the axes of the surface, and the
    step is that of the matrix U Vᵀ: length 1 along either axis of the surface.

    surface: "raw" or "standardized"; the start is the same function. decay: lr falls to 0 in a line.

    Raises:
        ValueError: another rule or surface.
    """
    if rule not in RULES:
        raise ValueError(f"unknown rule {rule!r}")
    if surface not in ("raw", "standardized"):
        raise ValueError(f"unknown surface {surface!r}")
    scale = 5.0 if surface == "raw" else 1.0
    hessian = covariance(scale, correlation)
    start = (-2.0, 1.5 / scale)
    (a, b), (_, c) = hessian.tolist()
    # The axes of the surface, as (cos, sin) of the angle of the first.
    angle = 0.5 * math.atan2(2 * b, a - c)
    cosine, sine = math.cos(angle), math.sin(angle)

    def descent(beta: float) -> tuple[list[tuple[float, float]], list[float]]:
        (x, y), m, squares = start, (0.0, 0.0), (0.0, 0.0)
        path, losses = [], []
        for step in range(1, steps + 2):
            g = a * x + b * y, b * x + c * y
            path.append((x, y))
            losses.append(0.5 * (g[0] * x + g[1] * y))
            if max(abs(x), abs(y)) > 1e6:  # it has left the picture for good
                path += [path[-1]] * (steps + 1 - len(path))
                losses += [losses[-1]] * (steps + 1 - len(losses))
                break
            m = tuple(beta * old + (1 - beta) * new for old, new in zip(m, g, strict=True))
            if rule == "gradient":
                d = m
            elif rule == "normalized":
                # No hypot: the square root alone is rounded alike everywhere, and these paths are chaotic.
                length = math.sqrt(m[0] * m[0] + m[1] * m[1]) or 1.0
                d = m[0] / length, m[1] / length
            elif rule == "sign":
                d = _sign(m[0]), _sign(m[1])
            elif rule == "adam":
                squares = tuple(0.99 * old + 0.01 * new**2 for old, new in zip(squares, g, strict=True))
                d = tuple(
                    part / (1 - beta**step) / (math.sqrt(square / (1 - 0.99**step)) + 1e-12)
                    for part, square in zip(m, squares, strict=True)
                )
            else:
                one, two = _sign(cosine * m[0] + sine * m[1]), _sign(cosine * m[1] - sine * m[0])
                d = cosine * one - sine * two, sine * one + cosine * two
            now = lr * (1 - (step - 1) / steps) if decay else lr
            x, y = x - now * d[0], y - now * d[1]
        return path, losses

    runs = [descent(0.0), descent(BETA)]
    paths = tuple(torch.tensor(path, dtype=torch.float64) for path, _ in runs)
    losses = tuple(torch.tensor(loss, dtype=torch.float64) / loss[0] for _, loss in runs)
    return RulePaths(hessian, paths, losses)


def comes_to_rest(lrs: Sequence[float], far: float = 1e-3) -> list[str]:
    """The rules that end below this part of the first loss at every one of these constant learning rates.

    60 steps without momentum, on the standardized surface.
    """

    def ends(rule: str) -> list[float]:
        runs = (rule_paths(rule, "standardized", 0.5, lr, False) for lr in lrs)
        return [run.losses[0][-1].item() for run in runs]

    return [rule for rule in RULES if max(ends(rule)) < far]


def _sign(number: float) -> float:
    return float((number > 0) - (number < 0))


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


@dataclass(frozen=True)
class Arm:
    """A way to train, and the learning rates from which it takes its own.

    normalize: "" nothing; "batch" and "layer" the activations before each ReLU; "weights" the columns of
    each hidden matrix. rule: see `direction`. beta: of the momentum. lrs: learning rates.
    momentum_first: average, then make a step of it; else make a step of each gradient, then average.
    decay: lr falls to 0 in a line.
    ramp: lr times 1 − 0.9^t at step t, as a velocity with beta 0.9 rises from rest under one gradient.
    nesterov: the rule gets gradient + beta · velocity in place of the velocity, as in `torch.optim.SGD`.
    """

    lrs: tuple[float, ...]
    normalize: str = ""
    rule: str = "gradient"
    beta: float = 0.0
    momentum_first: bool = True
    decay: bool = False
    ramp: bool = False
    nesterov: bool = False


def network(weights: Sequence[Tensor], x: Tensor, normalize: str, eps: float = 1e-5) -> Tensor:
    """(..., n, 10): ReLU layers, normalized before each ReLU or not.

    `weights` holds a matrix, a scale and a shift for each hidden layer, then the last matrix and its
    bias. x: (..., n, 64). normalize: "", "batch", "layer" or "weights", as in `Arm`; weights are
    standardized as by Qiao et al. 2019, to the variance 2 / fan_in of He et al. 2015.
    """
    for layer in range(0, len(weights) - 2, 3):
        matrix, gamma, shift = weights[layer : layer + 3]
        if normalize == "weights":
            matrix = _standardized(matrix, -2, eps) * (2 / matrix.shape[-2]) ** 0.5
        x = x @ matrix
        if normalize in ("batch", "layer"):
            x = _standardized(x, -2 if normalize == "batch" else -1, eps)
        x = torch.relu((gamma * x if normalize else x) + shift)
    return x @ weights[-2] + weights[-1]


def _standardized(x: Tensor, dim: int, eps: float) -> Tensor:
    centred = x - x.mean(dim=dim, keepdim=True)
    return centred * torch.rsqrt((centred**2).mean(dim=dim, keepdim=True) + eps)


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


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """About U Vᵀ of the singular value decomposition of matrix (..., rows, columns).

    Newton–Schulz with the coefficients of Jordan et al. 2024 (Muon): singular values end near 1, not at it.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / (matrix.norm(dim=(-2, -1), keepdim=True) + 1e-12)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


def direction(rule: str, parts: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
    """What a rule makes of a gradient, or of an average of gradients, before it is multiplied by lr.

    parts, weights: one tensor (..., rows, columns) a parameter; a vector has one row. rule: "gradient" as it
    is; "normalized" over the norm of all parts together; "sign"; "lars" each part over its norm, times the
    norm of its weights (You et al. 2017), vectors over their norm alone; "orthogonalized" matrices by
    `orthogonalize` with the scale √max(1, fan_out / fan_in) of Muon, vectors over their root mean square.

    Raises:
        ValueError: another rule.
    """
    tiny = 1e-12
    if rule == "gradient":
        return list(parts)
    if rule == "normalized":
        norm = sum((part**2).sum(dim=(-2, -1), keepdim=True) for part in parts).sqrt() + tiny
        return [part / norm for part in parts]
    if rule == "sign":
        return [part.sign() for part in parts]
    norms = [part.norm(dim=(-2, -1), keepdim=True) + tiny for part in parts]
    if rule == "lars":
        return [
            part / norm * (weight.norm(dim=(-2, -1), keepdim=True) if weight.shape[-2] > 1 else 1)
            for part, norm, weight in zip(parts, norms, weights, strict=True)
        ]
    if rule == "orthogonalized":
        return [
            orthogonalize(part) * max(1, part.shape[-1] / part.shape[-2]) ** 0.5
            if part.shape[-2] > 1
            else part * part.shape[-1] ** 0.5 / norm
            for part, norm in zip(parts, norms, strict=True)
        ]
    raise ValueError(f"unknown rule {rule!r}")


@functools.cache
def _digits(seeds: tuple[int, ...], standardized: bool = False) -> tuple[Tensor, Tensor]:
    """(S, N, 64) and (S, N): the training images and labels of each seed's split.

    standardized: each pixel less its mean over these images, over its standard deviation and 0.01 more, since
    some pixels are never lit.
    """
    data = [split_digits(seed) for seed in seeds]
    x = torch.stack([d.train_x for d in data])
    if standardized:
        std, mean = torch.std_mean(x, dim=1, correction=0, keepdim=True)
        x = (x - mean) / (std + 0.01)
    return x, torch.stack([d.train_y for d in data])


def train(
    arm: Arm,
    seeds: Iterable[int],
    batch_size: int,
    steps: int,
    every: int,
    group: int | None = None,
    company: int | None = None,
    width: int = 32,
    depth: int = 3,
    looked_at: int = 400,
    standardized: bool = False,
) -> Tensor:
    """(L, S, T): the training loss after every `every` steps, for each learning rate and seed.

    All settings are trained side by side; none knows of another. A seed draws the split, the weights and
    the batches, the same for every arm. The loss is that of the first `looked_at` training images, normalized
    by their own statistics; infinity where it is no number. group: batch normalization over groups of so many
    images, each by its own statistics (ghost batch normalization, Hoffer et al. 2017); None: over the batch.
    company: so many images are drawn and normalized together, and the loss is that of the first `batch_size`.
    "adam" has beta2 0.999 and bias correction, with `arm.beta` as beta1. standardized: each pixel is, first.
    """
    seeds = tuple(seeds)
    x, y = _digits(seeds, standardized)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    start = initial_weights(generators, width, depth)
    weights = [w.expand(len(arm.lrs), *w.shape) for w in start]
    lrs = torch.tensor(arm.lrs, dtype=torch.float32)[:, None, None, None]
    velocities = [torch.zeros_like(w) for w in weights]
    squares = [torch.zeros_like(w) for w in weights]
    drawn = company or batch_size
    kept = (len(seeds), -1, group or drawn)
    judged = slice(batch_size if company else None)
    curve = []
    for step in range(1, steps + 1):
        rows = torch.stack([torch.randint(x.shape[1], (drawn,), generator=g) for g in generators])
        batch = torch.arange(len(seeds))[:, None], rows
        weights = [w.detach().requires_grad_() for w in weights]
        logits = network([w[:, :, None] for w in weights], x[batch].view(*kept, 64), arm.normalize)
        labels = y[batch].view(kept)
        total = cross_entropy(logits[..., judged, :], labels[..., judged]).mean(dim=-1).sum()
        # Without normalization the scales are not used.
        gradients = torch.autograd.grad(total, weights, allow_unused=True, materialize_grads=True)
        with torch.no_grad():
            if arm.rule == "adam":
                squares = [0.999 * s + 0.001 * g**2 for s, g in zip(squares, gradients, strict=True)]
                velocities = [
                    arm.beta * v + (1 - arm.beta) * g for v, g in zip(velocities, gradients, strict=True)
                ]
                first, second = 1 - arm.beta**step, 1 - 0.999**step
                moves = [
                    v / first / ((s / second).sqrt() + 1e-8) for v, s in zip(velocities, squares, strict=True)
                ]
            elif arm.momentum_first:
                velocities = [arm.beta * v + g for v, g in zip(velocities, gradients, strict=True)]
                ahead = [g + arm.beta * v for v, g in zip(velocities, gradients, strict=True)]
                moves = direction(arm.rule, ahead if arm.nesterov else velocities, weights)
            else:
                gradients = direction(arm.rule, gradients, weights)
                velocities = moves = [
                    arm.beta * v + (1 - arm.beta) * g for v, g in zip(velocities, gradients, strict=True)
                ]
            now = lrs * (1 - (step - 1) / steps) if arm.decay else lrs
            now = now * (1 - BETA**step) if arm.ramp else now
            weights = [w - now * move for w, move in zip(weights, moves, strict=True)]
            if step % every == 0:
                curve.append(
                    cross_entropy(network(weights, x[:, :looked_at], arm.normalize), y[:, :looked_at])
                )
    return torch.stack(curve, dim=-1).double().nan_to_num(nan=math.inf)


def best_lr(loss: Tensor, lrs: Sequence[float]) -> float:
    """The learning rate with the least median over the seeds at the end, of loss (L, S, T)."""
    return lrs[loss[..., -1].median(dim=1).values.argmin().item()]


def own_best(loss: Tensor) -> Tensor:
    """(S, T): the loss (L, S, T) at the learning rate whose median over the seeds is least at that step."""
    best = loss.median(dim=1).values.argmin(dim=0)  # (T,)
    return loss[best, :, torch.arange(loss.shape[-1])].T


# When does momentum help a normalized network?

FLOOR = {
    "plain": Arm((0.03, 0.1, 0.3, 1.0)),
    "normalization": Arm((0.1, 0.3, 1.0, 3.0), "batch"),
    "momentum": Arm((0.01, 0.03, 0.1, 0.3), beta=BETA),
    "both": Arm((0.03, 0.1, 0.3, 1.0), "batch", beta=BETA),
}
# The rates lie around the best, which a wider search had found; larger batches bear larger rates.
WHEN = {
    size: {"normalization": Arm(plain, "batch"), "both": Arm(ball, "batch", beta=BETA)}
    for size, plain, ball in (
        (16, (0.2, 0.5, 1.2), (0.05, 0.1, 0.25)),
        (64, (0.5, 1.0, 2.0), (0.1, 0.2, 0.4)),
        (256, (1.5, 3.0, 6.0), (0.25, 0.5, 1.0)),
        (1024, (1.5, 3.0, 6.0), (0.5, 1.0, 2.0)),
    )
}
LARGEST, GROUP = 1024, 64
FALLING = {
    "normalization": Arm((1.5, 3.0, 6.0), "batch", decay=True),
    "both": Arm((1.0, 2.0, 4.0), "batch", beta=BETA, decay=True),
}
# A velocity rises from rest: the same slow start without momentum, at a constant lr and at one that falls.
RAMPED = {
    False: Arm((1.5, 3.0, 6.0, 12.0), "batch", ramp=True),
    True: Arm((1.5, 3.0, 6.0, 12.0), "batch", decay=True, ramp=True),
}
WHEN_STEPS, WHEN_EVERY = 50, 5


def floor_steps(seeds: Iterable[int], names: Iterable[str] = tuple(FLOOR)) -> dict[str, Tensor]:
    """name -> (S,): the first multiple of 5 steps, at batch 64, with a loss of 0.3; each at its best lr."""
    found = {}
    for name in names:
        loss = train(FLOOR[name], seeds, 64, 100, WHEN_EVERY)
        reached = loss <= 0.3
        first = torch.where(
            reached.any(dim=-1), WHEN_EVERY * (1.0 + reached.int().argmax(dim=-1)), math.inf
        )  # (L, S)
        found[name] = first[first.median(dim=1).values.argmin()]
    return found


@dataclass(frozen=True, eq=False)
class When:
    """Losses on digits with batch normalization, without and with momentum.

    `steps` is (T,). `loss`: batch size -> name -> (S, T), each at the best lr for that step; `grouped` the
    same for batches of 1024 with statistics over groups of 64, `falling` for 1024 with lr falling to 0.
    `company`: gradients of 64 images, normalized with the statistics of 1024. `ramped`: for 1024 without
    momentum and with `RAMPED`, whether lr falls -> (S, T).
    `lrs`: batch size -> name -> the lr that was best at the end. `floor`: as from `floor_steps`.
    """

    steps: Tensor
    loss: dict[int, dict[str, Tensor]]
    grouped: dict[str, Tensor]
    falling: dict[str, Tensor]
    company: dict[str, Tensor]
    ramped: dict[bool, Tensor]
    lrs: dict[int, dict[str, float]]
    floor: dict[str, Tensor]

    def gain(self, loss: dict[str, Tensor], step: int = WHEN_STEPS) -> Tensor:
        """(S,): the loss without momentum over that with it, after so many steps."""
        place = step // WHEN_EVERY - 1
        return loss["normalization"][:, place] / loss["both"][:, place]


def when_it_helps(
    seeds: Sequence[int],
    floor: dict[str, Tensor] | None = None,
    each: Callable[[Iterable], Iterable] = iter,
) -> When:
    """Train over batch sizes, and with what else `When` holds. floor: what `floor_steps` gave."""
    floor = floor or floor_steps(seeds)
    changes = ("grouped", "falling", "company")
    runs = [(size, "", name) for size in WHEN for name in WHEN[size]]
    runs += [
        (GROUP if change == "company" else LARGEST, change, name) for change in changes for name in FALLING
    ]
    runs += [(LARGEST, "ramped", falls) for falls in RAMPED]

    def arm(size: int, change: str, name: str | bool) -> Arm:
        return {"falling": FALLING, "ramped": RAMPED}.get(change, WHEN[size])[name]

    def curves(run: tuple) -> Tensor:
        size, change, _ = run
        group = GROUP if change == "grouped" else None
        company = LARGEST if change == "company" else None
        return train(arm(*run), seeds, size, WHEN_STEPS, WHEN_EVERY, group, company)

    found = arm_by_arm(curves, runs, each)
    best = {run: own_best(found[run]) for run in runs}
    return When(
        torch.arange(WHEN_EVERY, WHEN_STEPS + 1, WHEN_EVERY),
        {size: {name: best[size, "", name] for name in WHEN[size]} for size in WHEN},
        **{
            change: {name: best[run] for run in runs for name in [run[2]] if run[1] == change}
            for change in (*changes, "ramped")
        },
        lrs={
            size: {name: best_lr(found[size, "", name], arm(size, "", name).lrs) for name in WHEN[size]}
            for size in WHEN
        },
        floor=floor,
    )


def helps_most(run: When) -> str:
    """The batch size at which momentum lowers a normalized run's loss most, by the median of the seeds."""
    return str(max(run.loss, key=lambda size: run.gain(run.loss[size]).median().item()))


def judge_when(run: When) -> list[Finding]:
    """The sentences of the verdict."""
    floor = run.floor
    small, large = run.gain(run.loss[64]), run.gain(run.loss[1024])
    return [
        Finding(
            "batch 64, steps to a loss of 0.3: momentum moves a normalized run by at most 10",
            (floor["both"] - floor["normalization"]).abs() <= 10,
            at_least=4,
        ),
        Finding(
            "batch 64, steps to a loss of 0.3: normalization alone takes less than half of momentum alone",
            2 * floor["normalization"] < floor["momentum"],
            at_least=4,
        ),
        Finding(
            "batch 64, 50 steps: momentum changes the loss of a normalized run by less than a factor of 2.5",
            (small < 2.5) & (small > 0.4),
            at_least=4,
        ),
        Finding("batch 1024, 50 steps: momentum divides it by more than 1.5", large > 1.5, at_least=3),
        Finding(
            "batch 1024, 50 steps, lr falling to 0: momentum divides it by more than 1.5",
            run.gain(run.falling) > 1.5,
            at_least=4,
        ),
        Finding(
            "the same two, with a ramp in place of momentum: momentum still lowers the loss",
            torch.stack(
                [
                    run.gain({**loss, "normalization": run.ramped[falls]}) > 1
                    for falls, loss in ((False, run.loss[1024]), (True, run.falling))
                ]
            ).all(dim=0),
            at_least=3,
        ),
        Finding(
            "batch 1024, 15 steps: momentum divides it by less than 2",
            run.gain(run.loss[1024], 15) < 2,
            at_least=3,
        ),
        Finding(
            "gradients of 64 images, statistics of 1024: momentum divides it by less than 1.5",
            run.gain(run.company) < 1.5,
            at_least=3,
        ),
        Finding(
            "gradients of 1024 images, statistics of 64: it divides it by more than the other way around",
            run.gain(run.grouped) > run.gain(run.company),
            at_least=3,
        ),
    ]


# What momentum does for normalized steps

_NORMALIZED = (0.1, 0.2, 0.4, 0.8, 1.6)
# An average of directions is shorter than 1, so that order may want a larger lr than the others.
_LARGER = (3.2, 6.4, 12.8)
ORDERS = {
    "no momentum": {},
    "average, then normalize": {"beta": BETA},
    "normalize, then average": {"beta": BETA, "momentum_first": False},
}
NONE, FIRST, LAST = ORDERS
SHORT, LONG = 100, 500
SETTINGS = {
    "batch 256, 100 steps": (256, SHORT),
    "batch 16, 100 steps": (16, SHORT),
    "batch 2, 500 steps": (2, LONG),
}


def _ends(
    order: str,
    lrs: Sequence[float],
    seeds: Sequence[int],
    setting: str,
    decay: bool,
    standardized: bool = False,
) -> Tensor:
    """(L, S, 1): the loss at the end of normalized steps."""
    size, steps = SETTINGS[setting]
    arm = Arm(tuple(lrs), rule="normalized", decay=decay, **ORDERS[order])
    return train(arm, seeds, size, steps, steps, standardized=standardized)


def normalized_steps(
    seeds: Sequence[int], settings: Iterable[str], decay: bool, orders: Sequence[str]
) -> dict[str, dict[str, Tensor]]:
    """setting -> order -> (S,): the loss at the end of training by normalized steps, at the best of five lr.

    No activation is normalized. Source of the question: Cutkosky & Mehta 2020.
    """
    return {
        setting: {
            order: own_best(_ends(order, _NORMALIZED, seeds, setting, decay))[:, -1] for order in orders
        }
        for setting in settings
    }


@dataclass(frozen=True, eq=False)
class Orders:
    """Losses (S,) at the end of normalized steps whose lr falls to 0.

    `losses`: setting -> order -> at the best of five lr, and `lrs` the lr itself. `larger` and `larger_lrs`:
    setting -> the same for "normalize, then average" at the best of eight, up to 12.8.
    """

    losses: dict[str, dict[str, Tensor]]
    lrs: dict[str, dict[str, float]]
    larger: dict[str, Tensor]
    larger_lrs: dict[str, float]


def both_orders(seeds: Sequence[int], each: Callable[[Iterable], Iterable] = iter) -> Orders:
    """Normalized steps in every setting and order."""
    lists = {order: _NORMALIZED + (_LARGER if order == LAST else ()) for order in ORDERS}
    ends = arm_by_arm(
        lambda run: _ends(run[1], lists[run[1]], seeds, run[0], True),
        list(itertools.product(SETTINGS, ORDERS)),
        each,
    )
    few = {run: end[: len(_NORMALIZED)] for run, end in ends.items()}

    def table(get: Callable[[Tensor], object]) -> dict:
        return {setting: {order: get(few[setting, order]) for order in ORDERS} for setting in SETTINGS}

    return Orders(
        table(lambda end: own_best(end)[:, -1]),
        table(lambda end: best_lr(end, _NORMALIZED)),
        {setting: own_best(ends[setting, LAST])[:, -1] for setting in SETTINGS},
        {setting: best_lr(ends[setting, LAST], lists[LAST]) for setting in SETTINGS},
    )


def judge_normalized(run: Orders) -> list[Finding]:
    """The sentences of the verdict."""
    large, small, least = (run.losses[setting] for setting in SETTINGS)
    large_after, _, least_after = run.larger.values()
    ratio = small[NONE] / small[FIRST]
    return [
        Finding(
            "batch 256, 100 steps: averaging before the normalization lowers the loss",
            large[FIRST] < large[NONE],
        ),
        Finding(
            "batch 256, 100 steps, five rates: averaging after the normalization ends above averaging before",
            large[LAST] > large[FIRST],
            at_least=3,
        ),
        Finding(
            "batch 256, 100 steps, eight rates: averaging after ends below twice the loss of the other order",
            large_after < 2 * large[FIRST],
            at_least=4,
        ),
        Finding(
            "batch 256, 100 steps, eight rates: averaging after divides the loss by more than 1.5",
            large[NONE] / large_after > 1.5,
            at_least=4,
        ),
        Finding(
            "batch 16, 100 steps: averaging first changes the loss by less than a factor of 1.5",
            (ratio < 1.5) & (ratio > 1 / 1.5),
            at_least=3,
        ),
        Finding(
            "batch 2, 500 steps: averaging first divides the loss by less than 2",
            2 * least[FIRST] > least[NONE],
            at_least=4,
        ),
        Finding(
            "batch 2, 500 steps, eight rates: averaging after ends above averaging before",
            least_after > least[FIRST],
            at_least=3,
        ),
        Finding(
            "batch 2, 500 steps, eight rates: averaging after divides the loss by less than 1.25",
            least[NONE] / least_after < 1.25,
            at_least=3,
        ),
    ]


def on_standardized_pixels(
    seeds: Sequence[int], each: Callable[[Iterable], Iterable] = iter
) -> dict[str, dict[str, Tensor]]:
    """setting -> order -> (S,): as `both_orders` at the best of five lr, with each pixel standardized first.

    Without the order that averages directions.
    """
    ends = arm_by_arm(
        lambda run: _ends(run[1], _NORMALIZED, seeds, run[0], True, standardized=True),
        list(itertools.product(SETTINGS, (NONE, FIRST))),
        each,
    )
    return {
        setting: {order: own_best(ends[setting, order])[:, -1] for order in (NONE, FIRST)}
        for setting in SETTINGS
    }


def judge_pixels(found: dict[str, dict[str, Tensor]]) -> list[Finding]:
    """What becomes of the first verdict on normalized steps where each pixel is standardized."""
    *quieter, least = SETTINGS
    return [
        Finding(
            f"pixels standardized, {setting}: averaging first raises the loss",
            found[setting][FIRST] > found[setting][NONE],
            at_least=4,
        )
        for setting in quieter
    ] + [
        Finding(
            f"pixels standardized, {least}: averaging first divides the loss by more than 1.25",
            found[least][NONE] / found[least][FIRST] > 1.25,
            at_least=4,
        )
    ]


# The map


def _pair(plain: Sequence[float], momentum: Sequence[float], **setting: str) -> tuple[Arm, Arm]:
    return (
        Arm(tuple(plain), decay=True, **setting),
        Arm(tuple(momentum), decay=True, beta=BETA, **setting),
    )


# The rates lie around the best of both batch sizes, which a wider search had found.
LEVERS = {
    "nothing": _pair((0.2, 0.4, 0.8), (0.07, 0.14, 0.28)),
    "batch": _pair((0.6, 1.8, 5.0), (0.2, 0.5, 1.2), normalize="batch"),
    "layer": _pair((0.15, 0.3, 0.6), (0.1, 0.2, 0.4), normalize="layer"),
    "weights": _pair((0.3, 0.6, 1.2), (0.1, 0.2, 0.4), normalize="weights"),
    "normalized": _pair((0.6, 1.1, 2.0), (0.3, 0.6, 1.1), rule="normalized"),
    "sign": _pair((0.015, 0.03, 0.06), (0.01, 0.02, 0.04), rule="sign"),
    "Adam": _pair((0.012, 0.025, 0.05), (0.012, 0.025, 0.05), rule="adam"),
    "LARS": _pair((0.05, 0.1, 0.17), (0.02, 0.04, 0.08), rule="lars"),
    "Muon": _pair((0.1, 0.2, 0.4), (0.05, 0.1, 0.2), rule="orthogonalized"),
}
STEP_RULES = ("normalized", "sign", "Adam", "LARS", "Muon")
MAP_BATCHES = (16, 256)
MAP_STEPS = 50


def measured_map(
    seeds: Sequence[int],
    names: Iterable[str] = tuple(LEVERS),
    batches: Sequence[int] = MAP_BATCHES,
    each: Callable[[Iterable], Iterable] = iter,
    standardized: bool = False,
) -> dict[int, dict[str, tuple[Tensor, Tensor]]]:
    """batch size -> lever -> losses (S,) after 50 steps without and with momentum, each at its best lr.

    standardized: as in `train`.
    """
    names = tuple(names)
    ends = arm_by_arm(
        lambda run: train(
            LEVERS[run[1]][run[2]], seeds, run[0], MAP_STEPS, MAP_STEPS, standardized=standardized
        ),
        list(itertools.product(batches, names, (0, 1))),
        each,
    )
    return {
        size: {name: tuple(own_best(ends[size, name, side])[:, -1] for side in (0, 1)) for name in names}
        for size in batches
    }


def loses_most(found: dict[int, dict[str, tuple[Tensor, Tensor]]], size: int) -> str:
    """The lever whose loss momentum raises by the largest factor at this batch size, by the medians."""

    def factor(name: str) -> float:
        plain, ball = (losses.median().item() for losses in found[size][name])
        return ball / plain

    return max(found[size], key=factor)


def judge_map(found: dict[int, dict[str, tuple[Tensor, Tensor]]]) -> list[Finding]:
    """What of the map held in nearly every seed."""
    small, large = (found[size] for size in MAP_BATCHES)
    ratio = {name: plain / ball for name, (plain, ball) in large.items()}
    moved = {name: plain / ball for name, (plain, ball) in small.items()}

    def together(held: Iterable[Tensor]) -> Tensor:
        return torch.stack(list(held)).all(dim=0)

    return [
        Finding(
            "batch 256: momentum lowers the loss without normalization, with layer normalization and "
            "with standardized weights",
            together(ratio[name] > 1 for name in ("nothing", "layer", "weights")),
            at_least=3,
        ),
        Finding(
            "batch 256: momentum lowers the loss of at least three of normalized, sign, Adam and LARS steps",
            torch.stack([ratio[name] > 1 for name in STEP_RULES[:-1]]).sum(dim=0) >= 3,
            at_least=4,
        ),
        Finding("batch 256: momentum raises the loss of Muon's steps", ratio["Muon"] < 1, at_least=4),
        Finding(
            "batch 256, no momentum: each normalized step ends below the gradient's",
            together(large[name][0] < large["nothing"][0] for name in STEP_RULES),
            at_least=4,
        ),
        Finding(
            "batch 16: momentum changes the loss by less than a factor of 2, for each step rule",
            together((moved[name] < 2) & (moved[name] > 0.5) for name in STEP_RULES),
            at_least=3,
        ),
    ]


_MUON, _MUON_BALL = (0.1, 0.2, 0.4), (0.03, 0.06, 0.12, 0.24)
#: Kinds of momentum for Muon's steps; Jordan et al. 2024 take the last.
MUON = {
    "none": Arm(_MUON, rule="orthogonalized", decay=True),
    "beta 0.9": Arm(_MUON_BALL, rule="orthogonalized", decay=True, beta=BETA),
    "beta 0.9, Nesterov": Arm(_MUON_BALL, rule="orthogonalized", decay=True, beta=BETA, nesterov=True),
}
MUON_SETTINGS = tuple(itertools.product((64, 256), (MAP_STEPS, 4 * MAP_STEPS)))


def muon_apart(
    seeds: Sequence[int], each: Callable[[Iterable], Iterable] = iter
) -> dict[tuple[int, int], dict[str, Tensor]]:
    """(batch size, steps) -> kind of momentum -> losses (S,) at the end of Muon's steps, at the best lr."""
    runs = list(itertools.product(MUON_SETTINGS, MUON))
    ends = arm_by_arm(lambda run: train(MUON[run[1]], seeds, *run[0], run[0][1]), runs, each)
    return {
        # A loss of -0, as rounding makes it, is 0.
        setting: {name: own_best(ends[setting, name])[:, -1] + 0.0 for name in MUON}
        for setting in MUON_SETTINGS
    }


def judge_muon(found: dict[tuple[int, int], dict[str, Tensor]]) -> list[Finding]:
    """Whether the exception of the map is one of the rule, of the time, of the batch or of the momentum."""
    none, ball, ahead = MUON
    (small, short), (_, long), (large, _), _ = MUON_SETTINGS
    return [
        Finding(
            f"Muon, batch {small}, {short} steps: momentum raises the loss",
            found[small, short][ball] > found[small, short][none],
            at_least=3,
        ),
        Finding(
            f"Muon, batch {large}, {short} steps: momentum raises the loss",
            found[large, short][ball] > found[large, short][none],
            at_least=4,
        ),
        Finding(
            f"Muon, batch {large}, {long} steps: it raises the loss more than tenfold; at {small}, less",
            (found[large, long][ball] > 10 * found[large, long][none])
            & (found[small, long][ball] < 10 * found[small, long][none]),
            at_least=4,
        ),
        Finding(
            f"Muon, batch {large}, {short} steps: Nesterov's momentum ends below the usual kind",
            found[large, short][ahead] < found[large, short][ball],
            at_least=4,
        ),
        Finding(
            f"Muon, batch {large}, {long} steps: Nesterov's momentum too ends above none",
            found[large, long][ahead] > found[large, long][none],
            at_least=4,
        ),
    ]


CLAIMS = {
    "same-problem": Claim(
        "Momentum and normalization solve the same problem, so that one leaves nothing for the other.",
        when_it_helps,
        judge_when,
    ),
    "normalized-steps": Claim(
        "Momentum improves normalized steps, and removes the need for large batches.",
        both_orders,
        judge_normalized,
    ),
    "pixels": Claim(
        "Momentum improves normalized steps with large batches, once each pixel is standardized too.",
        on_standardized_pixels,
        judge_pixels,
    ),
    "levers": Claim("A step that is normalized has no need of momentum.", measured_map, judge_map),
    "muon": Claim("Muon's steps are best without momentum.", muon_apart, judge_muon),
}
