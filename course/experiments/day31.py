"""Day 31: covariate shift, the loss along its gradient, and the longest step, with and without
batch normalization.

The networks are those of day 25: ReLU layers of 32 units without biases on digits, and a linear map to ten
classes; K of them side by side, weights (K, inputs, outputs). `gamma` and `beta` stay at 1 and 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from course.experiments.day25 import cross_entropies, deep_weights, digits_for, standardize

HE = 2**0.5  # He's gain, the best one for plain ReLU layers

#: What stands between a product and its ReLU.
KINDS = ("plain", "batch norm", "noisy batch norm")


# -- networks


@dataclass(frozen=True, eq=False)
class Noise:
    """A shift and a scale for each layer, network, sample and unit: two lists of (K, N, width)."""

    shifts: list[Tensor]
    scales: list[Tensor]


def draw_noise(
    depth: int,
    shape: tuple[int, int, int],
    generator: torch.Generator,
    shift: float = 0.5,
    scale: float = 1.25,
) -> Noise:
    """Noise after Santurkar et al. (2018, section 2.1): each unit of each layer gets a mean in ±`shift`
    and a scale from 1 to `scale`, and every sample its own value around them. Drawn anew at each step,
    it gives the layer behind a distribution that never rests."""

    def uniform(low: float, high: float, *size: int) -> Tensor:
        return low + (high - low) * torch.rand(*size, generator=generator, dtype=torch.float64)

    networks, _, width = shape
    shifts, scales = [], []
    for _ in range(depth):
        shifts.append(uniform(-shift, shift, networks, 1, width) + uniform(-shift, shift, *shape))
        scales.append(uniform(1, scale, networks, 1, width) + uniform(-0.1, 0.1, *shape))
    return Noise(shifts, scales)


def run(weights: Sequence[Tensor], x: Tensor, kind: str, noise: Noise | None = None) -> tuple[Tensor, list]:
    """Logits (K, N, 10), and what goes into each ReLU, (K, N, width), for `x` (K, N, 64)."""
    sums = []
    for layer, weight in enumerate(weights[:-1]):
        z = x @ weight
        if kind != "plain":
            z = standardize(z, dim=1)
        if noise is not None:
            z = noise.scales[layer] * z + noise.shifts[layer]
        sums.append(z)
        x = torch.relu(z)
    return x @ weights[-1], sums


@dataclass(frozen=True, eq=False)
class Problem:
    """A fixed batch for each of K networks: x (K, N, 64) and labels (K, N)."""

    x: Tensor
    labels: Tensor

    def losses(self, weights: Sequence[Tensor], kind: str, noise: Noise | None = None) -> Tensor:
        """(K,)."""
        return cross_entropies(run(weights, self.x, kind, noise)[0], self.labels)

    def gradients(
        self, weights: Sequence[Tensor], kind: str, noise: Noise | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Losses (K,) and their gradients, one tensor for each weight."""
        weights = [weight.detach().requires_grad_() for weight in weights]
        losses = self.losses(weights, kind, noise)
        return losses.detach(), list(torch.autograd.grad(losses.sum(), weights))

    def repeat(self, times: int) -> Problem:
        """The same batch for `times` networks; the problem has one."""
        return Problem(self.x.expand(times, -1, -1), self.labels.expand(times, -1))


def problem_for(seeds: Sequence[int], num_samples: int = 128) -> Problem:
    """The first digits of each seed's split."""
    data = [digits_for(seed) for seed in seeds]
    return Problem(
        torch.stack([d.train_x[:num_samples] for d in data]),
        torch.stack([d.train_y[:num_samples] for d in data]),
    )


def norms(tensors: Iterable[Tensor]) -> Tensor:
    """(K,): the norm of each network's tensors, taken as one long vector."""
    return sum(t.flatten(1).square().sum(1) for t in tensors).sqrt()


def step(weights: Sequence[Tensor], grads: Sequence[Tensor], lr: float | Tensor) -> list[Tensor]:
    """Gradient descent; `lr` is a number or (K,)."""
    lr = torch.as_tensor(lr, dtype=weights[0].dtype).reshape(-1, 1, 1)
    return [weight.detach() - lr * grad for weight, grad in zip(weights, grads, strict=True)]


# -- internal covariate shift


@dataclass(frozen=True, eq=False)
class Shift:
    """What happens to K networks in training.

    losses: (steps, K), before each step. moved: (measured, depth, K), how far the distribution of what goes
    into a ReLU moves in one step: the change of each unit's mean in units of its standard deviation, the root
    mean square over the units. l2, cosine: (measured, depth - 1, K), the gradient of layers 2 and on
    against the same gradient after the layers below were updated; l2 is divided by the norm of the first.
    """

    losses: Tensor
    at: Tensor
    moved: Tensor
    l2: Tensor
    cosine: Tensor


def measure_shift(
    kind: str,
    seeds: Sequence[int],
    *,
    depth: int = 5,
    gain: float = HE,
    lr: float = 0.1,
    steps: int = 60,
    every: int = 5,
    num_samples: int = 128,
    each: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Shift:
    """Gradient descent on one batch for each seed, with the shift measured at every `every`-th step.

    `l2` and `cosine` follow definition 2.1 of Santurkar et al. (2018): G is the gradient of a layer's
    weights, G' the same with all layers before it already updated and it and all behind it not.
    """
    problem = problem_for(seeds, num_samples)
    weights = deep_weights(depth, [gain] * len(seeds), seeds)
    generator = torch.Generator().manual_seed(31)
    shape = (len(seeds), num_samples, weights[0].shape[2])
    losses, at, moved, l2, cosine = [], [], [], [], []
    for number in each(range(steps)):
        noise, later = (
            draw_noise(depth, shape, generator) if kind == "noisy batch norm" else None for _ in range(2)
        )
        loss, grads = problem.gradients(weights, kind, noise)
        after = step(weights, grads, lr)
        losses.append(loss)
        if number % every == 0:
            at.append(number)
            with torch.no_grad():
                old, new = (run(w, problem.x, kind, n)[1] for w, n in ((weights, noise), (after, later)))
            moved.append(
                torch.stack(
                    [
                        ((b.mean(1) - a.mean(1)) / a.std(1).clamp_min(1e-6)).square().mean(1).sqrt()
                        for a, b in zip(old, new, strict=True)
                    ]
                )
            )
            rows = []
            for layer in range(1, depth):
                mixed = [*after[:layer], *weights[layer:]]
                changed = problem.gradients(mixed, kind, later)[1][layer].flatten(1)
                g = grads[layer].flatten(1)
                rows.append(
                    (
                        (g - changed).norm(dim=1) / g.norm(dim=1),
                        torch.cosine_similarity(g, changed, dim=1),
                    )
                )
            l2.append(torch.stack([row[0] for row in rows]))
            cosine.append(torch.stack([row[1] for row in rows]))
        weights = after
    return Shift(
        torch.stack(losses), torch.tensor(at), torch.stack(moved), torch.stack(l2), torch.stack(cosine)
    )


# -- along the gradient


@dataclass(frozen=True, eq=False)
class Along:
    """One network seen from where it is, along its gradient.

    sizes: (S,), step sizes. losses: (S,). changes: (S,), the change of the gradient, divided by its norm.
    """

    sizes: Tensor
    loss: float
    norm: float
    losses: Tensor
    changes: Tensor

    @property
    def trusted(self) -> float:
        """The largest step size of the list up to which the gradient changes by less than half of itself."""
        good = (self.changes < 0.5).long().cumprod(0)
        return (good * self.sizes).max().item()

    @property
    def best(self) -> float:
        """The step size of the list with the lowest loss."""
        return self.sizes[self.losses.nan_to_num(torch.inf).argmin()].item()


def along_gradient(weights: Sequence[Tensor], problem: Problem, kind: str, sizes: Tensor) -> Along:
    """Loss and gradient at w − s g, for one network (K = 1) and every s in `sizes` (S,)."""
    loss, grads = problem.gradients(weights, kind)
    moved = [
        weight.detach() - sizes[:, None, None] * grad for weight, grad in zip(weights, grads, strict=True)
    ]
    losses, there = problem.repeat(len(sizes)).gradients(moved, kind)
    norm = norms(grads)
    changes = norms(there_ - grad for there_, grad in zip(there, grads, strict=True)) / norm
    return Along(sizes, loss.item(), norm.item(), losses, changes)


@cache
def checkpoints(
    kind: str,
    depth: int,
    gains: tuple[float, ...],
    seeds: tuple[int, ...],
    at: tuple[int, ...],
    lr: float = 0.1,
) -> dict[int, list[Tensor]]:
    """Weights of len(gains) networks at the training steps `at`, by gradient descent on one batch each."""
    weights, problem, kept = deep_weights(depth, gains, seeds), problem_for(seeds), {}
    for number in range(max(at) + 1):
        if number in at:
            kept[number] = [weight.detach() for weight in weights]
        weights = step(weights, problem.gradients(weights, kind)[1], lr)
    return kept


# -- the longest step


def sharpness(weights: Sequence[Tensor], problem: Problem, kind: str, iterations: int = 60) -> Tensor:
    """(K,): the largest eigenvalue of the Hessian of each network's loss.

    Power iteration finds the eigenvalue that is largest in size, which may be a negative one. So it runs
    twice: on H, which gives a bound c of all sizes, and on H + c, whose eigenvalues are not negative.
    """
    weights = [weight.detach().requires_grad_() for weight in weights]
    grads = torch.autograd.grad(problem.losses(weights, kind).sum(), weights, create_graph=True)

    def top(shift: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        v = [torch.randn(w.shape[1:], generator=generator, dtype=w.dtype).expand_as(w) for w in weights]
        quotient = shift
        for _ in range(iterations):
            length = norms(v)[:, None, None]
            v = [part / length for part in v]
            hv = torch.autograd.grad(grads, weights, grad_outputs=v, retain_graph=True)
            quotient = sum((a * b).flatten(1).sum(1) for a, b in zip(v, hv, strict=True))
            v = [product + shift[:, None, None] * part for product, part in zip(hv, v, strict=True)]
        return quotient

    none = torch.zeros(len(problem.x), dtype=problem.x.dtype)
    return top(top(none).abs())


@dataclass(frozen=True, eq=False)
class Descents:
    """Losses of gradient descent, (steps + 1, R, S): R learning rates and S seeds; `sharpness` is (S,), at
    the start."""

    rates: Tensor
    losses: Tensor
    sharpness: Tensor

    @property
    def final(self) -> Tensor:
        """(R, S): the last loss; infinite where the descent has left the numbers."""
        return torch.where(self.losses[-1].isfinite(), self.losses[-1], torch.inf)

    @property
    def longest(self) -> Tensor:
        """(S,): the greatest rate of the list with which the loss ends below a tenth of its start."""
        good = self.final < 0.1 * self.losses[0]
        return (good * self.rates[:, None]).amax(0)


def descend(
    kind: str,
    rates: Tensor,
    seeds: Sequence[int],
    *,
    gain: float = HE,
    depth: int = 5,
    steps: int = 60,
    num_samples: int = 128,
) -> Descents:
    """The same start for every learning rate: gradient descent on one batch for each seed."""
    all_seeds = [seed for _ in rates for seed in seeds]
    all_rates = rates.repeat_interleave(len(seeds))
    problem = problem_for(all_seeds, num_samples)
    weights = deep_weights(depth, [gain] * len(all_seeds), all_seeds)
    first = [weight[: len(seeds)] for weight in weights]
    sharp = sharpness(first, problem_for(seeds, num_samples), kind)
    losses = []
    for _ in range(steps + 1):
        loss, grads = problem.gradients(weights, kind)
        losses.append(loss)
        weights = step(weights, grads, all_rates)
    return Descents(rates, torch.stack(losses).view(steps + 1, len(rates), len(seeds)), sharp)


def weight_growth(kind: str, rate: float, seeds: Sequence[int], steps: int = 50, depth: int = 5) -> Tensor:
    """(S,): the norm of the hidden weights after gradient descent over that before."""
    problem, weights = problem_for(seeds), deep_weights(depth, [HE] * len(seeds), seeds)
    before = norms(weights[:-1])
    for _ in range(steps):
        weights = step(weights, problem.gradients(weights, kind)[1], rate)
    return norms(weights[:-1]) / before
