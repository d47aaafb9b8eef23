"""Day 33: paths in a valley, their rates, the forms of momentum, averages, and what noise asks of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from course.experiments.curvature import sharpness
from course.experiments.digits import cross_entropy, split_digits
from course.experiments.verdicts import Claim, Finding

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


def largest_stable_lr(curvature: float, beta: float, nesterov: bool = False) -> float:
    """The learning rate beyond which no path along this curvature comes to rest, by bisection."""
    low, high = 0.0, 8 / curvature
    one = torch.tensor([curvature], dtype=torch.float64)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if rate(one, middle, beta, nesterov) < 1 else (low, middle)
    return low


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


def critical_beta(lr_curvature: float) -> float:
    """The beta at which the two roots of a direction meet; `lr_curvature` is lr · λ, between 0 and 1.

    Below it the direction is over-damped, above it under-damped. Source: Goh 2017.
    """
    return (1 - math.sqrt(lr_curvature)) ** 2


def steps_to(eigenvalues: Tensor, lr: float, beta: float, part: float = 1e-6, most: int = 3000) -> int:
    """The step from which on every |w_i| stays under `part` of its start, from rest; at most `most`."""
    path = descend(eigenvalues, torch.ones_like(eigenvalues), lr, beta, most)
    above = (path.w.abs().amax(dim=1) > part).nonzero()
    return above[-1].item() + 1


def lessard_path(start: float, steps: int) -> Tensor:
    """(steps + 1,): the best heavy ball for curvatures 1 to 25 on a convex function that is no quadratic.

    Its slope is 25 w up to 1, w + 24 up to 2, and 25 w − 24 beyond; lr is 1/9 and beta 4/9.

    Source: Lessard, Recht & Packard 2016.
    """
    lr, beta, _ = best_heavy_ball(1, 25)
    w, before, path = start, start, [start]
    for _ in range(steps):
        slope = 25 * w if w < 1 else w + 24 if w < 2 else 25 * w - 24
        w, before = w - lr * slope + beta * (w - before), w
        path.append(w)
    return torch.tensor(path, dtype=torch.float64)


# The forms of momentum, each as a function from one state to the next


def run_form(
    form: str,
    grad: Callable[[Tensor], Tensor],
    w: Tensor,
    lrs: Sequence[float],
    beta: float | Sequence[float],
) -> Tensor:
    """(steps + 1, …): the weights under one way of writing momentum down, with an lr per step.

    `beta` is one number, or one for each step.

    'pytorch': v ← beta v + g, w ← w − lr v. 'textbook': v ← beta v − lr g, w ← w + v (Sutskever et
    al. 2013). 'average': m ← beta m + (1 − beta) g, w ← w − lr m. 'polyak': w ← w − lr g +
    beta (w − w_before). 'nesterov pytorch' and 'nesterov textbook' (gradient at w + beta v; the
    points w + beta v are returned, which is what PyTorch calls w).

    Raises:
        ValueError: another form.
    """
    v, before, path = torch.zeros_like(w), w, [w]
    betas = beta if isinstance(beta, Sequence) else [beta] * len(lrs)
    for lr, beta in zip(lrs, betas, strict=True):
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


def corrected_betas(lrs: Sequence[float], beta: float) -> list[float]:
    """One beta a step, with which the textbook form walks PyTorch's path under the schedule `lrs`.

    beta_t = beta · lr_t / lr_(t−1). Source: Goyal et al. 2017, section 3, momentum correction.
    """
    return [beta] + [beta * lr / before for before, lr in itertools.pairwise(lrs)]


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


def values_until(missing: float, beta: float) -> int:
    """After how many values an average that starts at 0 lacks less than this part of its weights, beta^t."""
    return math.floor(math.log(missing) / math.log(beta)) + 1


def noisy_level(beta: float, noise: float, jump: float, length: int = 100, seed: int = 4) -> Averages:
    """Values around 1 that jump by `jump` halfway, with their averages."""
    draws = torch.randn(length, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    truth = torch.ones(length, dtype=torch.float64)
    truth[length // 2 :] += jump
    values = truth + noise * draws
    return Averages(beta, values, *moving_average(values, beta), truth)


# Noise

BALL_START = 3.0  # of a weight under noise


@dataclass(frozen=True, eq=False)
class NoiseFloor:
    """Descent in one noisy direction, for every beta.

    `betas` is (B,). `step_spread` (B, S) is the standard deviation of (1 − beta) v, and `floor` (B, S) is
    the mean of w² long after the start, both at lr / (1 − beta) = `effective_lr`.
    """

    betas: Tensor
    effective_lr: float
    step_spread: Tensor
    floor: Tensor


def stationary_variance(lr: float, beta: float, curvature: float = 1.0, noise: float = 1.0) -> float:
    """The variance of w in the long run, for gradients curvature · w + noise · N(0, 1)."""
    lr_c = lr * curvature
    return lr_c * (1 + beta) * noise**2 / ((1 - beta) * (2 * (1 + beta) - lr_c)) / curvature**2


def floor_with_momentum(effective_lr: float, beta: float) -> float:
    """The mean of w² in the long run in percent of that without momentum, at equal lr / (1 − beta)."""
    with_it = stationary_variance(effective_lr * (1 - beta), beta)
    return 100 * with_it / stationary_variance(effective_lr, 0.0)


def noisy_descent(lr: float, beta: float, noise: Tensor, start: float = BALL_START) -> tuple[Tensor, Tensor]:
    """w and v of the heavy ball on ½ w² with `noise` on its gradients; all three are (steps, …)."""
    w = torch.full(noise.shape[1:], start, dtype=noise.dtype)
    v = torch.zeros_like(w)
    all_w, all_v = [], []
    for draw in noise:
        v = beta * v + w + draw
        w = w - lr * v
        all_w.append(w)
        all_v.append(v)
    return torch.stack(all_w), torch.stack(all_v)


def noise_floor(
    betas: Sequence[float], effective_lr: float, seeds: Sequence[int], steps: int = 2000, width: int = 100
) -> NoiseFloor:
    """How much of the gradients' noise N(0, 1) reaches the step, and how much the weights.

    The second half of the run is measured; `width` independent directions are averaged.
    """
    noise = torch.stack(
        [
            torch.randn(steps, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            for seed in seeds
        ],
        dim=1,
    )
    spreads, floors = [], []
    for beta in betas:
        w, v = noisy_descent(effective_lr * (1 - beta), beta, noise)
        spreads.append(((1 - beta) * v[steps // 2 :]).std(dim=(0, 2)))
        floors.append((w[steps // 2 :] ** 2).mean(dim=(0, 2)))
    stacked = torch.stack(spreads), torch.stack(floors)
    return NoiseFloor(torch.tensor(betas, dtype=torch.float64), effective_lr, *stacked)


@dataclass(frozen=True, eq=False)
class NoisyBall:
    """One weight under noise: paths with momentum and without, (T,) each, and how far they stray.

    `noise` (T,) is what is added to the gradients of both.
    """

    effective_lr: float
    beta: float
    batch_size: int
    noise: Tensor
    plain: Tensor
    ball: Tensor
    plain_spread: float
    spread: float


def noisy_ball(effective_lr: float, beta: float, batch_size: int, steps: int = 200) -> NoisyBall:
    """½ w² from w = `BALL_START`, gradients averaged over `batch_size` images whose noise is N(0, 1) each."""
    generator = torch.Generator().manual_seed(5)
    level = batch_size**-0.5
    noise = level * torch.randn(steps, generator=generator, dtype=torch.float64)
    paths, spreads = [], []
    for each in (0.0, beta):
        lr = effective_lr * (1 - each)
        paths.append(noisy_descent(lr, each, noise)[0])
        spreads.append(math.sqrt(stationary_variance(lr, each, noise=level)))
    return NoisyBall(effective_lr, beta, batch_size, noise, *paths, *spreads)


# The claim: noise and curvature

SMALL = (0.1, 0.3, 0.42, 0.6, 0.85, 1.0, 1.2, 1.7, 2.4)  # lr / (1 − beta)
LARGE = (0.6, 0.85, 1.2, 1.7, 3.4, 6.8, 9.6)
MIDDLE = (0.42, 0.6, 0.85, 1.0, 1.2, 1.7)
# batch size (None: all images), lr / (1 − beta), steps, whether lr falls to 0
ARMS = {
    "batches of 16": (16, SMALL, 600, False),
    "batches of 64": (64, LARGE, 600, False),
    "batches of 128": (128, LARGE, 600, False),
    "all images": (None, (1.0,), 600, False),
    "batches of 16, 1800 steps": (16, MIDDLE, 1800, False),
    "batches of 16, rate falls to 0": (16, (*MIDDLE, 2.4), 600, True),
}
BETAS = (0.0, 0.9)
#: lr / (1 − beta) at which plain descent with batches of 64 is steady for every seed; from 1.2 on some jump.
STEADY = 0.6
#: How plain descent with batches of 64 may begin slowly: name -> the part of lr taken at a step, from 1.
SLOW_STARTS: dict[str, Callable[[int], float]] = {
    "with the ramp 1 − 0.9^t": lambda step: 1 - 0.9**step,
    "with 100 steps of warm-up": lambda step: min(1.0, step / 100),
}
#: Thresholds of plain descent with batches of 64 and clipped gradients, and its lr / (1 − beta).
CLIPS = (0.1, 0.3, 1.0)
CLIPPED = (1.2, 1.7, 3.4, 6.8, 10.0, 14.0)


@dataclass(frozen=True, eq=False)
class Sweep:
    """Training without momentum and with it, at equal lr / (1 − beta).

    `rates` are R values of lr / (1 − beta); `loss` (2, R, S, checks) is on all training images at `steps`,
    first for beta = 0, then for 0.9.
    """

    rates: tuple[float, ...]
    steps: Tensor
    loss: Tensor

    @property
    def last(self) -> Tensor:
        """(2, R, S), the mean of the last three checks."""
        return self.loss[..., -3:].mean(dim=-1)

    def at(self, rate: float) -> tuple[Tensor, Tensor]:
        """(S,) each: the last loss without and with momentum at one lr / (1 − beta)."""
        plain, ball = self.last[:, self.rates.index(rate)]
        return plain, ball

    @property
    def best_rates(self) -> tuple[float, float]:
        """For each beta the lr / (1 − beta) with the least median over the seeds."""
        plain, ball = map(best_row, self.last)
        return self.rates[plain], self.rates[ball]

    @property
    def best(self) -> tuple[Tensor, Tensor]:
        """(S,) each: the last loss without and with momentum, each at its own best rate."""
        plain, ball = map(at_one_rate, self.last)
        return plain, ball

    @property
    def least(self) -> tuple[Tensor, Tensor]:
        """(S,) each: the last loss without and with momentum, each seed at the rate that is best for it."""
        plain, ball = self.last.nan_to_num(math.inf).amin(dim=1)
        return plain, ball


@dataclass(frozen=True)
class NoiseResult:
    """What the claim rests on: bowls with noise at small and at large steps, and `ARMS` on the digits.

    `starts` holds (R, S) by name: the last loss of plain descent with batches of 64, at the full rate and
    with each of `SLOW_STARTS`. `clipped` is (R, S) by threshold: the same at `CLIPPED`, with clipped
    gradients. `lent` is what plain descent at a = 1 does with the noise of momentum's batches. `calm` is
    (S,): a λ / 2 of a batch of 16 at momentum's weights halfway, at a = `STEADY`.
    """

    small: NoiseFloor
    large: NoiseFloor
    digits: dict[str, Sweep]
    starts: dict[str, Tensor]
    clipped: dict[float, Tensor]
    lent: Lent
    calm: Tensor


def measure_noise(seeds: Sequence[int], each: Callable[[Iterable], Iterable] = iter) -> NoiseResult:
    """The bowl at lr / (1 − beta) = 0.05 and 1.5, and all of `ARMS`; `each` may show how far it is."""
    seeds = list(seeds)
    small, large = (noise_floor([0.0, 0.5, 0.9], a, seeds) for a in (0.05, 1.5))
    digits = {}
    for name in each(ARMS):
        batch_size, rates, steps, falls = ARMS[name]
        losses = [train_digits(seeds, rates, beta, batch_size, steps, steps // 12, falls) for beta in BETAS]
        digits[name] = Sweep(rates, losses[0][0], torch.stack([loss for _, loss in losses]))
    starts = {"at the full rate": digits["batches of 64"].last[0]} | slow_starts(seeds)
    clipped = {clip: train_digits(seeds, CLIPPED, 0.0, 64, clip=clip)[1][..., -3:].mean(-1) for clip in CLIPS}
    _, calm = halfway(seeds, STEADY)
    return NoiseResult(small, large, digits, starts, clipped, lend_noise(seeds), calm)


def slow_starts(seeds: Sequence[int]) -> dict[str, Tensor]:
    """Plain descent as in "batches of 64", but begun slowly, as momentum begins from rest: (R, S) by name."""
    found = {}
    for name, start in SLOW_STARTS.items():
        _, loss = train_digits(seeds, LARGE[:5], 0.0, 64, start=start)
        found[name] = loss[..., -3:].mean(dim=-1)
    return found


def best_row(last: Tensor) -> int:
    """Which rate of (R, S) last losses has the least median over the seeds."""
    return int(last.nan_to_num(math.inf).median(dim=-1).values.argmin())


def at_one_rate(last: Tensor) -> Tensor:
    """(S,): of (R, S) last losses those at the rate that is best over the seeds."""
    return last[best_row(last)]


# The network on digits: 64 pixels, 32 hidden units, 10 digits; R side by side, each with weights of its own


def _begin(seeds: Sequence[int]) -> tuple[Tensor, Tensor, list[torch.Generator], list[Tensor]]:
    """Training images (S, N, 64), labels (S, N), and for each seed a generator that has drawn its weights."""
    data = [split_digits(seed) for seed in seeds]
    images, labels = (torch.stack([getattr(d, n) for d in data]) for n in ("train_x", "train_y"))
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    shapes = ((64, 32), 64), ((1, 32), 64), ((32, 10), 32), ((1, 10), 32)  # (shape, fan in)
    weights = [
        torch.stack(
            [(2 * torch.rand(shape, generator=g, dtype=torch.float32) - 1) / fan_in**0.5 for g in generators]
        )
        for shape, fan_in in shapes
    ]
    return images, labels, generators, weights


def _batch(
    images: Tensor, labels: Tensor, batch_size: int, generators: Sequence[torch.Generator]
) -> tuple[Tensor, Tensor]:
    """(S, n, 64) and (S, n): a batch for each seed, drawn with replacement."""
    rows = [torch.randint(images.shape[1], (batch_size,), generator=g) for g in generators]
    batch = torch.arange(len(images))[:, None], torch.stack(rows)
    return images[batch], labels[batch]


def _losses(weights: Sequence[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """(R,) for x (R, n, 64) and y (R, n)."""
    first, first_bias, second, second_bias = weights
    return cross_entropy(torch.relu(x @ first + first_bias) @ second + second_bias, y)


def _gradients(weights: Sequence[Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    """The gradients of each network's loss."""
    weights = [w.detach().requires_grad_() for w in weights]
    return torch.autograd.grad(_losses(weights, x, y).sum(), weights)


def _sharpness(weights: Sequence[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """(R,): the largest curvature of each network's loss."""
    return sharpness(lambda w: _losses(w, x, y), weights)


@dataclass(frozen=True)
class Lent:
    """Plain descent on all images with the noise of batches, taken where momentum is; (S,) each.

    `loss`: where it ends. `whole`, `batches`: a λ / 2 at momentum's weights halfway, of all images and of a
    batch, the median of 15.
    """

    loss: Tensor
    whole: Tensor
    batches: Tensor


def _steepness(
    weights: Sequence[Tensor], images: Tensor, labels: Tensor, a: float, batch_size: int, seeds: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """(S,) each: a λ / 2 of all images and of a batch, the median of 15."""
    others = [torch.Generator().manual_seed(seed + 10_000) for seed in seeds]
    drawn = [_batch(images, labels, batch_size, others) for _ in range(15)]
    batches = torch.stack([_sharpness(weights, *one) for one in drawn]).median(0).values
    return a / 2 * _sharpness(weights, images, labels), a / 2 * batches


def halfway(
    seeds: Sequence[int], a: float, beta: float = 0.9, batch_size: int = 16, steps: int = 300
) -> tuple[Tensor, Tensor]:
    """(S,) each: a λ / 2 of all images and of a batch, where momentum is after so many steps."""
    images, labels, generators, weights = _begin(seeds)
    velocities = [torch.zeros_like(w) for w in weights]
    for _ in range(steps):
        slopes = _gradients(weights, *_batch(images, labels, batch_size, generators))
        velocities = [beta * v + slope for v, slope in zip(velocities, slopes, strict=True)]
        weights = [w - a * (1 - beta) * v for w, v in zip(weights, velocities, strict=True)]
    return _steepness(weights, images, labels, a, batch_size, seeds)


def lend_noise(
    seeds: Sequence[int], a: float = 1.0, beta: float = 0.9, batch_size: int = 16, steps: int = 600
) -> Lent:
    """Momentum trains on batches, plain descent on all images with the noise that momentum has met.

    The noise of a step is the batch's gradient less that of all images, both at momentum's weights. So it has
    the batches' size and does not answer to the jumps of plain descent.

    Args:
        seeds: S; the same splits, weights and batches as `train_digits`.
        a: lr / (1 − beta) of both.
        beta: of the lender.
        batch_size, steps: as in `train_digits`.
    """
    images, labels, generators, weights = _begin(seeds)
    lender, velocities = weights, [torch.zeros_like(w) for w in weights]
    last = []
    for step in range(steps + 1):
        if step >= steps - 100 and step % 50 == 0:
            with torch.no_grad():
                last.append(_losses(weights, images, labels).double())
        if step == steps // 2:
            whole, batches = _steepness(lender, images, labels, a, batch_size, seeds)
        slopes = _gradients(lender, *_batch(images, labels, batch_size, generators))
        true = _gradients(lender, images, labels)
        own = _gradients(weights, images, labels)
        weights = [
            w - a * (g + slope - level) for w, g, slope, level in zip(weights, own, slopes, true, strict=True)
        ]
        velocities = [beta * v + slope for v, slope in zip(velocities, slopes, strict=True)]
        lender = [w - a * (1 - beta) * v for w, v in zip(lender, velocities, strict=True)]
    return Lent(torch.stack(last).mean(0), whole, batches)


def train_digits(
    seeds: Sequence[int],
    rates: Sequence[float],
    beta: float,
    batch_size: int | None,
    steps: int = 600,
    every: int = 50,
    falls: bool = False,
    start: Callable[[int], float] = lambda step: 1.0,
    clip: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Train a network of 64 pixels, 32 hidden units and 10 digits; all runs side by side.

    Args:
        seeds: S; each draws the split, the weights and the batches, the same for all settings.
        rates: R values of lr / (1 − beta).
        beta: in PyTorch's form.
        batch_size: images a step, drawn with replacement; None: all training images.
        steps: how many.
        every: steps between two checks of the loss.
        falls: whether lr falls in a straight line to 0.
        start: the part of lr taken at each step, counted from 1.
        clip: gradients of a network that are longer than this are shortened to it.

    Returns:
        The steps of the checks, (checks,), and the loss on all training images, (R, S, checks).
    """
    runs = len(rates), len(seeds)
    images, labels, generators, start_weights = _begin(seeds)
    all_images, all_labels = images.repeat(runs[0], 1, 1), labels.repeat(runs[0], 1)
    weights = [w.repeat(runs[0], 1, 1) for w in start_weights]
    velocities = [torch.zeros_like(w) for w in weights]
    lrs = (1 - beta) * torch.tensor(rates, dtype=torch.float32).repeat_interleave(runs[1])[:, None, None]

    checks, curve = range(0, steps + 1, every), []
    for step in range(steps + 1):
        if step in checks:
            with torch.no_grad():
                curve.append(_losses(weights, all_images, all_labels).double().view(runs))
        if batch_size is None:
            x, y = all_images, all_labels
        else:
            x, y = (
                part.repeat(runs[0], *[1] * (part.dim() - 1))
                for part in _batch(images, labels, batch_size, generators)
            )
        gradients = _gradients(weights, x, y)
        if clip is not None:
            length = torch.stack([g.flatten(1).square().sum(dim=1) for g in gradients]).sum(dim=0).sqrt()
            gradients = [(clip / length).clamp(max=1)[:, None, None] * g for g in gradients]
        velocities = [beta * v + g for v, g in zip(velocities, gradients, strict=True)]
        part = start(step + 1) * (1 - step / (steps + 1) if falls else 1.0)
        weights = [w.detach() - part * lrs * v for w, v in zip(weights, velocities, strict=True)]
    return torch.tensor(checks), torch.stack(curve, dim=-1)


def judge_noise(result: NoiseResult) -> list[Finding]:
    """The sentences of the verdict."""
    sixteen, whole = result.digits["batches of 16"], result.digits["all images"]
    falling = result.digits["batches of 16, rate falls to 0"]
    sixty_four = result.digits["batches of 64"]
    held, held_ball = sixty_four.at(STEADY)
    plain, ball = sixteen.at(0.1)
    wild, _ = sixteen.at(1.0)
    quiet, quiet_ball = whole.at(1.0)
    best, best_ball = sixteen.best
    own, own_ball = sixty_four.least
    slow = torch.cat([result.starts[name] for name in SLOW_STARTS]).nan_to_num(math.inf).amin(dim=0)
    clipped = torch.cat(list(result.clipped.values())).nan_to_num(math.inf).amin(dim=0)
    large, large_ball = result.digits["batches of 128"].best
    return [
        Finding(
            "bowl, a = 0.05: mean of w² at beta 0.9 within 15 % of that at 0",
            (result.small.floor[2] / result.small.floor[0] - 1).abs() < 0.15,
        ),
        Finding(
            "bowl, a = 1.5: mean of w² at beta 0.9 less than a third of that at 0",
            result.large.floor[2] < result.large.floor[0] / 3,
        ),
        Finding(
            "batches of 16, a = 0.1: losses with and without momentum within 15 % of each other",
            (ball / plain - 1).abs() < 0.15,
        ),
        Finding("plain, a = 1: with all images less than half of the loss with 16", quiet < wild / 2),
        Finding("all images, a = 1: below 0.03 with and without", (quiet < 0.03) & (quiet_ball < 0.03)),
        Finding(
            "plain, a = 1: with the noise lent by momentum, a lower loss than with its own",
            result.lent.loss < wild,
            at_least=3,
        ),
        Finding(
            "momentum halfway, a = 1: a λ / 2 of a batch of 16 above 1, and 1.3 times that of all images",
            (result.lent.batches > 1) & (result.lent.batches > 1.3 * result.lent.whole),
            at_least=4,
        ),
        Finding(
            "batches of 16, each at its best: neither has less than a third of the other's loss",
            (best_ball > best / 3) & (best > best_ball / 3),
            at_least=4,
        ),
        Finding(
            "batches of 64, each seed at its own best: momentum's loss is less than half",
            own_ball < own / 2,
            at_least=3,
        ),
        Finding(
            "the same, plain after a ramp or a warm-up: still above momentum's loss",
            slow > own_ball,
            at_least=4,
        ),
        Finding(
            "the same, plain with clipped gradients: less than half of its loss without",
            clipped < own / 2,
            at_least=3,
        ),
        Finding(
            f"batches of 64, both at a = {STEADY}: losses within 30 % of each other",
            (held_ball / held - 1).abs() < 0.3,
            at_least=3,
        ),
        Finding(
            f"batches of 64, momentum at a = {STEADY}: more than twice the loss of each seed's best",
            held_ball > 2 * own_ball,
            at_least=4,
        ),
        Finding(
            "batches of 128, each at its best: momentum's loss is less than a fifth",
            large_ball < large / 5,
            at_least=4,
        ),
        Finding(
            "batches of 16, rate falling to 0, each at its best: momentum's loss is lower",
            falling.best[1] < falling.best[0],
            at_least=4,
        ),
    ]


CLAIMS = {
    "noise": Claim(
        "Momentum is a remedy for the noise of stochastic gradients.",
        measure_noise,
        judge_noise,
    )
}
