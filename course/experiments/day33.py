"""Day 33: paths in a valley, their rates, the forms of momentum, averages, and noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from course.experiments.digits import Digits, split_digits

TOLERANCE = 1e-6
STEPS = 100


@dataclass(frozen=True, eq=False)
class Path:
    """A way down the bowl f(w) = ½ Σ λ w².

    `eigenvalues` is (D,), `w` is (steps + 1, D), the start included, `loss` is (steps + 1,).
    """

    eigenvalues: Tensor
    lr: float
    beta: float
    nesterov: bool
    w: Tensor
    loss: Tensor

    @property
    def condition_number(self) -> float:
        """Largest over smallest eigenvalue."""
        return (self.eigenvalues.max() / self.eigenvalues.min()).item()

    @property
    def steps_needed(self) -> int | None:
        """The step from which on the loss stays under `TOLERANCE`; None where it does not."""
        above = (~(self.loss < TOLERANCE)).nonzero()
        if not len(above):
            return 0
        last = above[-1].item() + 1
        return last if last < len(self.loss) else None


def descend(
    eigenvalues: Tensor, start: Tensor, lr: float, beta: float, steps: int, nesterov: bool = False
) -> Path:
    """Gradient descent with momentum in PyTorch's form: v ← beta v + g, then w ← w − lr v.

    Args:
        eigenvalues: (D,), of the Hessian; the axes are its eigenvectors.
        start: (D,), from rest.
        lr: the learning rate.
        beta: weight of the old velocity; 0 is gradient descent.
        steps: how many.
        nesterov: w ← w − lr (g + beta v) with the new velocity.

    Source: `torch.optim.SGD`; Polyak 1964; Sutskever et al. 2013.
    """
    # Plain numbers: a hundred steps of small tensors would take longer than a frame may.
    columns = []
    for curvature, w in zip(eigenvalues.tolist(), start.tolist(), strict=True):
        v, column = 0.0, [w]
        for _ in range(steps):
            g = curvature * w
            v = beta * v + g
            w = w - lr * (g + beta * v if nesterov else v)
            column.append(w)
        columns.append(column)
    path = torch.tensor(columns, dtype=eigenvalues.dtype).T
    return Path(eigenvalues, lr, beta, nesterov, path, 0.5 * (eigenvalues * path**2).sum(dim=1))


def roots(eigenvalues: Tensor, lr: float, beta: float, nesterov: bool = False) -> Tensor:
    """(..., 2) complex: the two factors that a step of momentum applies along each eigenvector.

    Heavy ball: z² − (1 + beta − lr λ) z + beta = 0. Nesterov: z² − (1 + beta)(1 − lr λ) z
    + beta (1 − lr λ) = 0. Where the two are complex they are conjugate, and w oscillates.

    Source: Goh 2017 for the heavy ball; Nesterov's follows in the same way.
    """
    kept = 1 - lr * eigenvalues
    total = (1 + beta) * kept if nesterov else kept + beta
    product = beta * kept if nesterov else torch.full_like(kept, beta)
    root = torch.sqrt((total**2 - 4 * product).to(torch.complex128))
    return torch.stack([(total + root) / 2, (total - root) / 2], dim=-1)


def rate(eigenvalues: Tensor, lr: float, beta: float, nesterov: bool = False) -> float:
    """The spectral radius: the largest absolute value among all roots."""
    return roots(eigenvalues, lr, beta, nesterov).abs().max().item()


def steps_per_digit(rate: float) -> float:
    """Steps in which the distance shrinks tenfold; infinite where it does not shrink."""
    if rate >= 1:
        return math.inf
    return -1 / math.log10(rate) if rate > 0 else 0.0


def rate_plane(smallest: float, lrs: Tensor, betas: Tensor, nesterov: bool = False) -> Tensor:
    """(B, L): the rate for eigenvalues between `smallest` and 1, for every beta (B,) and lr (L,).

    Only the two ends are looked at: between them no eigenvalue is slower.
    """
    kept = 1 - lrs * torch.tensor([[[smallest]], [[1.0]]], dtype=lrs.dtype)  # (2, 1, L)
    beta = betas[:, None]
    total = (1 + beta) * kept if nesterov else kept + beta
    product = beta * kept if nesterov else beta.expand(total.shape)
    inner = total**2 - 4 * product
    real = (total.abs() + inner.clamp(min=0).sqrt()) / 2
    return torch.where(inner < 0, product.clamp(min=0).sqrt(), real).amax(dim=0)


def best_gradient_descent(smallest: float, largest: float) -> tuple[float, float]:
    """(lr, rate) of the fastest gradient descent."""
    return 2 / (smallest + largest), (largest - smallest) / (largest + smallest)


def best_heavy_ball(smallest: float, largest: float) -> tuple[float, float, float]:
    """(lr, beta, rate) of the fastest heavy ball. Source: Polyak 1964; Goh 2017."""
    low, high = math.sqrt(smallest), math.sqrt(largest)
    slow = (high - low) / (high + low)
    return (2 / (low + high)) ** 2, slow**2, slow


@dataclass(frozen=True, eq=False)
class RateCursor:
    """The plane of rates (B, L) over `betas` (B,) and `lrs` (L,), and one point in it."""

    lrs: Tensor
    betas: Tensor
    plane: Tensor
    smallest: float
    lr: float
    beta: float
    nesterov: bool

    @property
    def condition_number(self) -> float:
        """Of eigenvalues between `smallest` and 1."""
        return 1 / self.smallest

    @property
    def roots(self) -> Tensor:
        """(2, 2) complex: of the smallest eigenvalue, then of the largest."""
        ends = torch.tensor([self.smallest, 1.0], dtype=torch.float64)
        return roots(ends, self.lr, self.beta, self.nesterov)

    @property
    def rate(self) -> float:
        """At the cursor."""
        return self.roots.abs().max().item()


# The forms of momentum, each as a function from one state to the next


def run_form(
    form: str, grad: Callable[[Tensor], Tensor], w: Tensor, lrs: Sequence[float], beta: float
) -> Tensor:
    """(steps + 1, …): the weights under one way of writing momentum down, with an lr per step.

    'pytorch': v ← beta v + g, w ← w − lr v. 'textbook': v ← beta v − lr g, w ← w + v (Sutskever et
    al. 2013). 'average': m ← beta m + (1 − beta) g, w ← w − lr m. 'polyak': w ← w − lr g +
    beta (w − w_before). 'nesterov pytorch' and 'nesterov textbook' (gradient at w + beta v; the
    points w + beta v are returned, which is what PyTorch calls w).

    Raises:
        ValueError: another form.
    """
    v, before, path = torch.zeros_like(w), w, [w]
    for lr in lrs:
        if form in ("pytorch", "nesterov pytorch"):
            g = grad(w)
            v = beta * v + g
            w = w - lr * (g + beta * v if form.startswith("nesterov") else v)
        elif form == "textbook":
            v = beta * v - lr * grad(w)
            w = w + v
        elif form == "average":
            v = beta * v + (1 - beta) * grad(w)
            w = w - lr * v
        elif form == "polyak":
            w, before = w - lr * grad(w) + beta * (w - before), w
        elif form == "nesterov textbook":
            # `w` is the point ahead, w_book + beta v.
            book = w - beta * v
            v = beta * v - lr * grad(w)
            w = book + v + beta * v
        else:
            raise ValueError(f"unknown form {form!r}")
        path.append(w)
    return torch.stack(path)


# Averages


@dataclass(frozen=True, eq=False)
class Averages:
    """Values (T,), their running average from 0, and the same with bias correction."""

    beta: float
    values: Tensor
    plain: Tensor
    corrected: Tensor
    truth: Tensor


def moving_average(values: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Exponential moving averages of `values` (T,) from 0: plain, and divided by 1 − beta^t.

    Source: the correction is Kingma & Ba 2015, section 3.
    """
    average, plain = 0.0, []
    for value in values.tolist():
        average = beta * average + (1 - beta) * value
        plain.append(average)
    result = values.new_tensor(plain)
    times = torch.arange(1, len(values) + 1, dtype=values.dtype)
    return result, result / (1 - beta**times)


def noisy_level(beta: float, noise: float, jump: float, length: int = 100, seed: int = 4) -> Averages:
    """Values around 1 that jump by `jump` halfway, with their averages."""
    draws = torch.randn(length, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    truth = torch.ones(length, dtype=torch.float64)
    truth[length // 2 :] += jump
    values = truth + noise * draws
    return Averages(beta, values, *moving_average(values, beta), truth)


# The claim: noise


@dataclass(frozen=True, eq=False)
class NoiseFloor:
    """Descent in one noisy direction, for every beta.

    `betas` is (B,). `step_spread` (B, seeds) is the standard deviation of (1 − beta) v, and `floor`
    (B, seeds) is the mean of w² long after the start, both at the same lr / (1 − beta);
    `unmatched` (B, seeds) is that mean at the same lr. `curve` (B, T) is the mean of w² in time.
    """

    betas: Tensor
    effective_lr: float
    step_spread: Tensor
    floor: Tensor
    unmatched: Tensor
    curve: Tensor


def stationary_variance(lr: float, beta: float, curvature: float = 1.0, noise: float = 1.0) -> float:
    """The variance of w in the long run, for gradients curvature · w + noise · N(0, 1)."""
    lr_c = lr * curvature
    return lr_c * (1 + beta) * noise**2 / ((1 - beta) * (2 * (1 + beta) - lr_c)) / curvature**2


def noisy_descent(
    lr: float, beta: float, steps: int, seeds: int, width: int, start: float = 3.0
) -> tuple[Tensor, Tensor]:
    """(steps, seeds, width) each: w and v of the heavy ball on ½ w² with noise N(0, 1) on the gradient."""
    generator = torch.Generator().manual_seed(0)
    w = torch.full((seeds, width), start, dtype=torch.float64)
    v = torch.zeros_like(w)
    all_w, all_v = w.new_empty(steps, seeds, width), w.new_empty(steps, seeds, width)
    for step in range(steps):
        g = w + torch.randn(w.shape, generator=generator, dtype=w.dtype)
        v = beta * v + g
        w = w - lr * v
        all_w[step], all_v[step] = w, v
    return all_w, all_v


def noise_floor(
    betas: Sequence[float], effective_lr: float = 0.05, steps: int = 2000, seeds: int = 10, width: int = 20
) -> NoiseFloor:
    """How much of the gradients' noise reaches the step, and how much the weights.

    The second half of the run is measured; `width` independent directions are averaged.
    """
    spreads, floors, unmatched, curves = [], [], [], []
    for beta in betas:
        w, v = noisy_descent(effective_lr * (1 - beta), beta, steps, seeds, width)
        late = slice(steps // 2, None)
        spreads.append(((1 - beta) * v[late]).std(dim=(0, 2)))
        floors.append((w[late] ** 2).mean(dim=(0, 2)))
        curves.append((w**2).mean(dim=(1, 2)))
        w, _ = noisy_descent(effective_lr, beta, steps, seeds, width)
        unmatched.append((w[late] ** 2).mean(dim=(0, 2)))
    stacked = (torch.stack(part) for part in (spreads, floors, unmatched, curves))
    return NoiseFloor(torch.tensor(betas, dtype=torch.float64), effective_lr, *stacked)


@dataclass(frozen=True, eq=False)
class DigitRun:
    """`names` of the settings; `loss` (settings, seeds, checks) on all training images at `steps`."""

    names: tuple[str, ...]
    steps: Tensor
    loss: Tensor

    @property
    def last(self) -> Tensor:
        """(settings, seeds), the mean of the last three checks."""
        return self.loss[:, :, -3:].mean(dim=-1)


def digits_with_momentum(
    settings: Iterable[tuple[str, float, float]],
    seeds: Iterable[int],
    steps: int = 600,
    batch_size: int = 16,
    every: int = 25,
) -> DigitRun:
    """Train a network of 64 pixels, 32 hidden units and 10 digits with SGD and momentum.

    The seeds of a setting are trained side by side; no run knows of another.

    Args:
        settings: (name, lr, beta) of each optimizer, in PyTorch's form.
        seeds: each draws the split, the weights and the batches, the same for all settings.
    """
    seeds = list(seeds)
    data = [split_digits(seed) for seed in seeds]
    names, runs = [], []
    for name, lr, beta in settings:
        names.append(name)
        runs.append(_train(data, seeds, lr, beta, steps, batch_size, every))
    return DigitRun(tuple(names), torch.arange(0, steps + 1, every), torch.stack(runs))


def _train(
    data: list[Digits], seeds: list[int], lr: float, beta: float, steps: int, batch_size: int, every: int
) -> Tensor:
    """(seeds, checks): the runs of one setting, side by side as batches of matrices."""
    train_x, train_y = (torch.stack([getattr(d, n) for d in data]) for n in ("train_x", "train_y"))
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    shapes = ((64, 32), 64), ((1, 32), 64), ((32, 10), 32), ((1, 10), 32)  # (shape, fan in)
    weights = [
        torch.stack(
            [(2 * torch.rand(shape, generator=g, dtype=torch.float32) - 1) / fan_in**0.5 for g in generators]
        )
        for shape, fan_in in shapes
    ]
    velocities = [torch.zeros_like(w) for w in weights]

    def losses(x: Tensor, y: Tensor) -> Tensor:
        """(seeds,) for x (seeds, n, 64) and y (seeds, n)."""
        first, first_bias, second, second_bias = weights
        out = torch.relu(x @ first + first_bias) @ second + second_bias
        return -out.log_softmax(dim=-1).gather(-1, y[..., None]).mean(dim=(-1, -2))

    curve = []
    for step in range(steps + 1):
        if step % every == 0:
            curve.append(losses(train_x, train_y).detach().double())
        rows = torch.stack([torch.randint(train_x.shape[1], (batch_size,), generator=g) for g in generators])
        batch = torch.arange(len(seeds))[:, None], rows
        weights = [w.detach().requires_grad_() for w in weights]
        gradients = torch.autograd.grad(losses(train_x[batch], train_y[batch]).sum(), weights)
        velocities = [beta * v + g for v, g in zip(velocities, gradients, strict=True)]
        weights = [w.detach() - lr * v for w, v in zip(weights, velocities, strict=True)]
    return torch.stack(curve, dim=-1)
