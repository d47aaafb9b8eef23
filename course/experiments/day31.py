"""Day 31: covariate shift, the loss along its gradient, and the longest step, with and without
batch normalization.

The networks are those of day 25: ReLU layers of 32 units without biases on digits, and a linear map to ten
classes; K of them side by side, weights (K, inputs, outputs). `gamma` and `beta` stay at 1 and 0. Where a
result has axes (C, S) or (R, S), these are settings or learning rates, and seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from course.experiments import curvature
from course.experiments.day25 import cross_entropies, deep_weights, digits_for, standardize
from course.experiments.verdicts import Claim, Finding

HE = 2**0.5  # He's gain, the best one for plain ReLU layers

#: What stands between a product and its ReLU.
KINDS = ("plain", "batch norm", "noisy batch norm")
#: The halves of batch norm, each alone: less the mean, or over the root mean square; the latter also with one
#: number for a whole layer, and with one for each image, as RMS norm has it.
HALVES = ("only subtracting", "only dividing", "only dividing, by layer", "only dividing, by image")
#: The axes of (K, N, width) over which a square is averaged.
SQUARES = {"only dividing": 1, "only dividing, by layer": (1, 2), "only dividing, by image": 2}


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
    dtype: torch.dtype = torch.float64,
) -> Noise:
    """Noise after Santurkar et al. (2018, section 2.1): each unit of each layer gets a mean in ±`shift`
    and a scale from 1 to `scale`, and every sample its own value around them. Drawn anew at each step,
    it gives the layer behind a distribution that never rests."""

    def uniform(low: float, high: float, *size: int) -> Tensor:
        return low + (high - low) * torch.rand(*size, generator=generator, dtype=dtype)

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
        if kind == "only subtracting":
            z = z - z.mean(1, keepdim=True)
        elif kind in SQUARES:
            z = z * (z.square().mean(SQUARES[kind], keepdim=True) + 1e-5).rsqrt()
        elif kind != "plain":
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


def problem_for(seeds: Sequence[int], num_samples: int = 128, dtype: torch.dtype = torch.float64) -> Problem:
    """The first digits of each seed's split."""
    data = [digits_for(seed) for seed in seeds]
    return Problem(
        torch.stack([d.train_x[:num_samples] for d in data]).to(dtype),
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
    """What happens to networks of C settings and S seeds in training.

    losses: (steps, C, S), before each step. moved: (measured, depth, C, S), how far the distribution of
    what goes into a ReLU moves in one step: the change of each unit's mean in units of its standard
    deviation, the root mean square over the units. l2: (measured, depth - 1, C, S), the distance between
    the gradient of layers 2 and on and the same gradient after the layers below were updated, divided by
    the norm of the first. undivided: the same, not divided.
    """

    losses: Tensor
    at: Tensor
    moved: Tensor
    l2: Tensor
    undivided: Tensor

    @property
    def first(self) -> Tensor:
        """(C, S): `l2` at the first step, the mean over the layers."""
        return self.l2[0].mean(0)

    @property
    def average(self) -> Tensor:
        """(C, S): `l2` over all measured steps and layers."""
        return self.l2.mean((0, 1))


def measure_shift(
    kind: str,
    seeds: Sequence[int],
    settings: Sequence[tuple[float, float]] = ((HE, 0.1),),
    *,
    depth: int = 5,
    steps: int = 60,
    every: int = 15,
    num_samples: int = 128,
    redraw: bool = True,
) -> Shift:
    """Gradient descent on one batch for each seed, with the shift measured at every `every`-th step.

    `l2` follows definition 2.1 of Santurkar et al. (2018): G is the gradient of a layer's weights, G' the
    same with all layers before it already updated and it and all behind it not.

    Args:
        kind: one of `KINDS`.
        seeds: S of them.
        settings: C pairs of gain and learning rate. A rate of 0 moves no layer.
        redraw: of "noisy batch norm": True draws the noise anew before each gradient, False once.
    """
    many = [(gain, lr, seed) for gain, lr in settings for seed in seeds]
    gains, rates, all_seeds = zip(*many, strict=True)
    problem, weights = problem_for(all_seeds, num_samples), deep_weights(depth, gains, all_seeds)
    lr = torch.tensor(rates, dtype=torch.float64)
    generator = torch.Generator().manual_seed(31)
    shape = (len(many), num_samples, weights[0].shape[2])

    def fresh() -> Noise | None:
        return draw_noise(depth, shape, generator) if kind == "noisy batch norm" else None

    losses, at, moved, l2, undivided = [], [], [], [], []
    noise = fresh()
    for number in range(steps):
        later = fresh() if redraw else noise
        loss, grads = problem.gradients(weights, kind, noise)
        after = step(weights, grads, lr)
        losses.append(loss)
        if number % every == 0:
            at.append(number)
            with torch.no_grad():
                old, new = (run(w, problem.x, kind, n)[1] for w, n in ((weights, noise), (after, later)))
            changes = [
                ((b.mean(1) - a.mean(1)) / a.std(1).clamp_min(1e-6)).square().mean(1).sqrt()
                for a, b in zip(old, new, strict=True)
            ]
            moved.append(torch.stack(changes))
            distances, lengths = [], []
            for layer in range(1, depth):
                mixed = [*after[:layer], *weights[layer:]]
                changed = problem.gradients(mixed, kind, later)[1][layer].flatten(1)
                g = grads[layer].flatten(1)
                distances.append((g - changed).norm(dim=1))
                lengths.append(g.norm(dim=1))
            undivided.append(torch.stack(distances))
            l2.append(undivided[-1] / torch.stack(lengths))
        weights, noise = after, later
    losses, moved, l2, undivided = (
        torch.stack(values).unflatten(-1, (len(settings), -1)) for values in (losses, moved, l2, undivided)
    )
    return Shift(losses, torch.tensor(at), moved, l2, undivided)


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


def sharpness(weights: Sequence[Tensor], problem: Problem, kind: str, iterations: int = 12) -> Tensor:
    """(K,): the largest eigenvalue of the Hessian of each network's loss; see `curvature.sharpness`."""
    return curvature.sharpness(lambda w: problem.losses(w, kind), weights, iterations)


@dataclass(frozen=True, eq=False)
class Descents:
    """Losses of gradient descent, (steps + 1, R, S): R learning rates and S seeds.

    watched: the steps W at which the largest eigenvalue of the Hessian was taken; sharpness: (W, R, S).
    noise_off: (R, S), of the noisy network: the last loss, taken without its noise.
    """

    rates: Tensor
    losses: Tensor
    watched: tuple[int, ...]
    sharpness: Tensor
    noise_off: Tensor | None = None

    @property
    def final(self) -> Tensor:
        """(R, S): the last loss; infinite where the descent has left the numbers."""
        return self.after(len(self.losses) - 1)

    def after(self, steps: int) -> Tensor:
        """(R, S): the loss after so many steps; infinite where the descent has left the numbers."""
        return torch.where(self.losses[steps].isfinite(), self.losses[steps], torch.inf)

    @property
    def trained(self) -> Tensor:
        """(R, S): whether the loss ends below a tenth of its start."""
        return self.final < 0.1 * self.losses[0]

    @property
    def longest(self) -> Tensor:
        """(S,): the greatest rate of the list that trained; 0 where none did."""
        return (self.trained * self.rates[:, None]).amax(0)

    @property
    def best(self) -> tuple[float, Tensor]:
        """The rate at which the worst seed ends lowest, and the last losses there, (S,)."""
        return self.best_after(len(self.losses) - 1)

    def best_after(self, steps: int) -> tuple[float, Tensor]:
        """The rate at which the worst seed is lowest after so many steps, and the losses there, (S,)."""
        losses = self.after(steps)
        row = losses.amax(1).argmin()
        return self.rates[row].item(), losses[row]

    @property
    def instability(self) -> Tensor:
        """(W, R, S): learning rate times λ over 2. On a quadratic, descent diverges where it exceeds 1."""
        return self.rates[:, None] * self.sharpness / 2

    def at(self, rate: float) -> int:
        """The row of the rate that is nearest."""
        return int((self.rates / rate).log().abs().argmin())


def descend(
    kind: str,
    rates: Tensor,
    seeds: Sequence[int],
    *,
    gain: float = HE,
    depth: int = 5,
    steps: int = 60,
    num_samples: int = 128,
    held: bool = False,
    clip: float = float("inf"),
    readout: float = float("inf"),
    below: float = float("inf"),
    watch: Sequence[int] = (),
) -> Descents:
    """The same start for every learning rate: gradient descent on one batch for each seed, in float32.

    Args:
        kind: one of `KINDS` or `HALVES`; noise is drawn anew at each step, the same for every rate.
        rates: (R,).
        seeds: S of them.
        held: after each step, every column of the hidden weights gets the norm back that it began with.
        clip: a gradient, all weights as one vector, that is longer is shortened to this norm.
        readout: the greatest learning rate of the last layer, which has no norm behind it.
        below: the greatest learning rate of all other layers.
        watch: steps before which the sharpness is taken; `steps` is allowed.
    """
    rates = rates.float()
    networks, size = len(rates) * len(seeds), (len(rates), len(seeds))
    all_seeds = [seed for _ in rates for seed in seeds]
    lr = rates.repeat_interleave(len(seeds))
    problem = problem_for(all_seeds, num_samples, torch.float32)
    weights = [weight.float() for weight in deep_weights(depth, [gain] * networks, all_seeds)]
    lengths = [weight.norm(dim=1, keepdim=True) for weight in weights[:-1]]
    generator = torch.Generator().manual_seed(31)
    shape, noise = (len(seeds), num_samples, weights[0].shape[2]), None
    losses, sharp = [], []
    for number in range(steps + 1):
        if number in watch:
            if number == 0:  # all rates start from the same weights
                first = [weight[: len(seeds)] for weight in weights]
                start = sharpness(first, problem_for(seeds, num_samples, torch.float32), kind)
                sharp.append(start.expand(size))
            else:
                sharp.append(sharpness(weights, problem, kind).view(size))
        if kind == "noisy batch norm":
            one = draw_noise(depth, shape, generator, dtype=torch.float32)
            noise = Noise(
                *([t.repeat(len(rates), 1, 1) for t in tensors] for tensors in (one.shifts, one.scales))
            )
        loss, grads = problem.gradients(weights, kind, noise)
        losses.append(loss.view(size))
        if number == steps:
            break
        if clip < float("inf"):
            shorter = (clip / norms(grads)).clamp_max(1)[:, None, None]
            grads = [shorter * grad for grad in grads]
        last = step(weights[-1:], grads[-1:], lr.clamp_max(readout))
        weights = [*step(weights[:-1], grads[:-1], lr.clamp_max(below)), *last]
        if held:
            hidden = zip(weights[:-1], lengths, strict=True)
            weights = [*(w * n / w.norm(dim=1, keepdim=True) for w, n in hidden), weights[-1]]
    sharp = torch.stack(sharp) if sharp else torch.empty(0, *size)
    off = None if noise is None else problem.losses(weights, "batch norm").detach().view(size)
    return Descents(rates, torch.stack(losses), tuple(watch), sharp, off)


def fate(kind: str, rate: float, seed: int = 0) -> str:
    """What forty steps do: the network "trains", "stalls" above a tenth of its first loss, or "diverges"."""
    descent = descend(kind, torch.tensor([rate]), [seed], steps=40)
    if descent.trained.item():
        return "trains"
    return "stalls" if descent.final.item() <= 2 * descent.losses[0].item() else "diverges"


def weight_growth(kind: str, rate: float, seeds: Sequence[int], steps: int = 50, depth: int = 5) -> Tensor:
    """(S,): the norm of the hidden weights after gradient descent over that before."""
    problem, weights = problem_for(seeds), deep_weights(depth, [HE] * len(seeds), seeds)
    before = norms(weights[:-1])
    for _ in range(steps):
        weights = step(weights, problem.gradients(weights, kind)[1], rate)
    return norms(weights[:-1]) / before


# -- the claims


@dataclass(frozen=True, eq=False)
class ShiftVerdict:
    """The shift at C settings of gain and learning rate, and each network at its own best rate.

    shifts: plain and batch norm at `settings`. own: kind -> the shift at He's gain and the kind's own best
    rate, measured at every step. tuned: kind -> descents over the rates. noise: "drawn anew", "frozen", and
    "no layer moved" -> the shift of the noisy network.
    """

    settings: tuple[tuple[float, float], ...]
    shifts: dict[str, Shift]
    tuned: dict[str, Descents]
    own: dict[str, Shift]
    noise: dict[str, Shift]

    @property
    def by_gradients(self) -> list[str]:
        """The networks at a rate of 0.1 and He's gain, the one whose gradients shift least first."""
        found = {kind: shift.average[GAINS.index(HE)] for kind, shift in self.shifts.items()}
        found["noisy batch norm"] = self.noise["drawn anew"].average[0]
        return sorted(found, key=lambda kind: found[kind].median().item())

    @property
    def without_a_step(self) -> float:
        """The share of the noisy network's shift, in percent, that is there though no layer has moved."""
        drawn, none = (self.noise[name].average.median() for name in ("drawn anew", "no layer moved"))
        return (100 * none / drawn).item()


GAINS = (1.0, HE, 2.0)
RATES = torch.logspace(-0.75, 1.25, 9, dtype=torch.float64)  # 0.18 to 17.8, four in a decade
TUNING = RATES[1:7]  # 0.32 to 5.6


def covariate_shift(
    seeds: Sequence[int], names: Callable[[Iterable[str]], Iterable[str]] = iter
) -> ShiftVerdict:
    """The shift at three gains with one rate for both networks, at own rates, and what the noise makes of it.

    Args:
        names: wraps the loop over the kinds of networks, for a progress bar.
    """
    settings = tuple((gain, 0.1) for gain in GAINS)
    shifts, tuned, own, noise = {}, {}, {}, {}
    for kind in names(KINDS):
        tuned[kind] = descend(kind, TUNING, seeds)
        if kind == "noisy batch norm":
            noise["drawn anew"] = measure_shift(kind, seeds)
            noise["frozen"] = measure_shift(kind, seeds, redraw=False)
            noise["no layer moved"] = measure_shift(kind, seeds, [(HE, 0.0)], steps=1)
            continue
        shifts[kind] = measure_shift(kind, seeds, settings)
        own[kind] = measure_shift(kind, seeds, [(HE, tuned[kind].best[0])], every=1)
    return ShiftVerdict(settings, shifts, tuned, own, noise)


def judge_shift(verdict: ShiftVerdict) -> list[Finding]:
    """What of the claim on covariate shift stands."""
    plain, normalized = (verdict.shifts[kind].average for kind in KINDS[:2])
    moved = verdict.shifts["batch norm"].moved
    own, noise = verdict.own, verdict.noise
    ends = {kind: descents.best[1] for kind, descents in verdict.tuned.items()}
    noisy = verdict.tuned["noisy batch norm"]
    shared = noisy.at(verdict.tuned["batch norm"].best[0])
    low = verdict.shifts["batch norm"].first[GAINS.index(HE)]
    return [
        Finding("with batch norm, no mean moves by 1e-12 of a deviation", moved.amax((0, 1, 2)) < 1e-12),
        Finding("lr 0.1, gain 1: gradients shift more with batch norm", normalized[0] > plain[0]),
        Finding("lr 0.1, gain 1.41: gradients shift more with batch norm", normalized[1] > plain[1]),
        Finding("lr 0.1, gain 2: gradients shift less with batch norm", normalized[2] < plain[2]),
        Finding(
            "each at its own best rate, first step: gradients shift more with batch norm",
            own["batch norm"].first[0] > own["plain"].first[0],
        ),
        Finding(
            "the same not divided by the gradient, over all steps: they shift less with batch norm",
            own["batch norm"].undivided.mean((0, 1, 2)) < own["plain"].undivided.mean((0, 1, 2)),
        ),
        Finding(
            "batch norm: at its best rate more than twice the first shift of lr 0.1",
            own["batch norm"].first[0] > 2 * low,
        ),
        Finding(
            "noisy batch norm: at least 0.8 of its shift is there though no layer moved",
            noise["no layer moved"].first[0] > 0.8 * noise["drawn anew"].average[0],
        ),
        Finding(
            "noisy batch norm: with the noise frozen, less than two thirds of its shift is left",
            3 * noise["frozen"].average[0] < 2 * noise["drawn anew"].average[0],
        ),
        Finding(
            "each at its own best rate: with noise the loss ends higher",
            ends["noisy batch norm"] > ends["batch norm"],
        ),
        Finding(
            "noisy batch norm, batch norm's best rate: with the noise off less than half of the loss is left",
            2 * noisy.noise_off[shared] < noisy.final[shared],
            at_least=3,
        ),
    ]


@dataclass(frozen=True, eq=False)
class Smoothness:
    """How far a gradient can be trusted at the start, (G, S) for G gains and each kind of network.

    trusted: kind -> `Along.trusted`, a step size. relative: kind -> the length of that step over the length
    of the weights.
    """

    gains: tuple[float, ...]
    trusted: dict[str, Tensor]
    relative: dict[str, Tensor]

    def farther(self, gain: float) -> str:
        """The network whose gradient can be trusted for the longer step, by the median of the seeds."""
        row = self.gains.index(gain)
        return max(self.trusted, key=lambda kind: self.trusted[kind][row].median().item())


def smoothness(seeds: Sequence[int], gains: tuple[float, ...] = GAINS) -> Smoothness:
    """`along_gradient` of five layers before training, in step sizes and as a part of the weights' length."""
    sizes = torch.logspace(-3.5, 1, 19, dtype=torch.float32)
    trusted, relative = {}, {}
    for kind in KINDS[:2]:
        rows = []
        for gain in gains:
            row = []
            for seed in seeds:
                start = [weight.float() for weight in deep_weights(5, [gain], [seed])]
                along = along_gradient(start, problem_for([seed], dtype=torch.float32), kind, sizes)
                row.append((along.trusted, along.trusted * along.norm / norms(start).item()))
            rows.append(row)
        trusted[kind], relative[kind] = torch.tensor(rows, dtype=torch.float64).unbind(2)
    return Smoothness(gains, trusted, relative)


def judge_smoothness(found: Smoothness) -> list[Finding]:
    """What of the claim on smoothness stands."""
    plain, normalized = (found.trusted[kind] for kind in KINDS[:2])
    factor = (found.relative["batch norm"] / found.relative["plain"]).log().abs().amax(0).exp()
    return [
        Finding(
            "gain 2: with batch norm the gradient holds five times as far, or more",
            normalized[2] >= 5 * plain[2],
        ),
        Finding("gain 1: with batch norm it holds half as far, or less", normalized[0] <= 0.5 * plain[0]),
        Finding("as a share of the weights' length, neither holds ten times as far at any gain", factor < 10),
    ]


#: Name -> kind of network, and what is turned in `descend`.
ARMS = {
    "plain": ("plain", {}),
    "batch norm": ("batch norm", {}),
    "batch norm, norms held": ("batch norm", {"held": True}),
    "plain, norms held": ("plain", {"held": True}),
    "plain, clipped": ("plain", {"clip": 0.3}),
}
#: What the first controls left unequal: the last layer, which no norm brakes, and clipping for one of two.
SECOND_LOOK = {
    "batch norm, norms held, last layer slow": ("batch norm", {"held": True, "readout": 0.3}),
    "batch norm, norms held, other layers slow": ("batch norm", {"held": True, "below": 0.3}),
    "batch norm, last layer slow": ("batch norm", {"readout": 0.3}),
    "plain, last layer slow": ("plain", {"readout": 0.3}),
    "batch norm, clipped": ("batch norm", {"clip": 0.3}),
    **{half: (half, {}) for half in HALVES},
}
#: Thresholds of clipping besides 0.3, and how long a step can be with them: learning rate times threshold.
CLIPS = (0.01, 0.1)
LENGTHS = torch.logspace(-1, 1, 5, dtype=torch.float64)
#: Where the hidden weights begin, and at which rates it is asked whether they have to grow.
BEGINNINGS = (0.3, 2.0)
BEGINNING_RATES = (10**-0.5, 10**0.5, 10**1.25)
#: Name -> kind, learning rates and whether norms are held, for the descents whose sharpness is watched.
WATCHED = {
    "plain": ("plain", (0.1, 10**-0.5), False),
    "batch norm": ("batch norm", (10**0.5, 10.0), False),
    "batch norm, norms held": ("batch norm", (10**0.5, 10.0), True),
}
WATCH = (0, 1, 2, 4, 7, 12, 20, 35, 60)
#: What the plain network's rate of 0.1 is held against: half of it, for twice as many steps.
SLOWER = 0.05
SLOWER_WATCH = tuple(2 * number for number in WATCH)
#: Steps after which the two are compared besides 60.
SHORT, LONG = 20, 200


@dataclass(frozen=True, eq=False)
class LongSteps:
    """Descents at every learning rate, and what a sceptic would change.

    arms: name of `ARMS` -> descents at He's gain and `RATES`; second_look: the same for `SECOND_LOOK`.
    gains: kind, gain -> descents at three rates.
    long: kind -> descents of `LONG` steps at the rates `TUNING`.
    clips: kind, threshold of `CLIPS` -> descents at the rates with which a step can be as long as `LENGTHS`.
    beginnings: gain of `BEGINNINGS`, whether norms are held -> descents of batch norm at `BEGINNING_RATES`,
    with the last layer at 0.3.
    watched: name of `WATCHED` -> descents with the sharpness before the steps `WATCH`.
    slower: the plain network at the rate `SLOWER`, with the sharpness before the steps `SLOWER_WATCH`.
    """

    arms: dict[str, Descents]
    second_look: dict[str, Descents]
    gains: dict[tuple[str, float], Descents]
    long: dict[str, Descents]
    clips: dict[tuple[str, float], Descents]
    beginnings: dict[tuple[float, bool], Descents]
    watched: dict[str, Descents]
    slower: Descents

    @property
    def last_loss_at_own_rates(self) -> float:
        """Batch norm's last loss over the plain network's, each at its own best rate, by the medians."""
        plain, normalized = (self.arms[kind].best[1].median() for kind in KINDS[:2])
        return (normalized / plain).item()

    def best_clipped(self, kind: str) -> tuple[float, float, Tensor]:
        """The threshold and the rate at which the worst seed ends lowest, and the last losses there, (S,)."""
        every = {clip: self.clips[kind, clip] for clip in CLIPS}
        every[0.3] = (self.arms | self.second_look)[f"{kind}, clipped"]
        clip, (rate, ends) = min(
            ((clip, arm.best) for clip, arm in every.items()), key=lambda found: found[1][1].amax().item()
        )
        return clip, rate, ends

    def own_clipped(self, kind: str) -> Tensor:
        """(S,): the lowest last loss of each seed, over all thresholds and rates."""
        every = [self.clips[kind, clip] for clip in CLIPS]
        every.append((self.arms | self.second_look)[f"{kind}, clipped"])
        return torch.stack([arm.final.amin(0) for arm in every]).amin(0)

    @property
    def longest_held(self) -> float:
        """The greatest rate at which batch norm trains with every seed though the norms are held."""
        return self.arms["batch norm, norms held"].longest.min().item()

    @property
    def edge(self) -> tuple[tuple[int, ...], Tensor]:
        """The watched steps W, and lr λ / 2 of the plain network at a rate of 0.1, (W,), the median."""
        plain = self.watched["plain"]
        return plain.watched, plain.instability[:, plain.at(0.1)].median(1).values


def long_steps(seeds: Sequence[int], names: Callable[[Iterable[str]], Iterable[str]] = iter) -> LongSteps:
    """Plain and normalized at every rate; with the norms held, with clipped gradients, at other gains.

    Args:
        names: wraps the loop over `ARMS` and `SECOND_LOOK`, for a progress bar.
    """
    every, both = ARMS | SECOND_LOOK, {}
    for name in names(every):
        kind, turned = every[name]
        both[name] = descend(kind, RATES, seeds, **turned)
    arms, second_look = ({name: both[name] for name in some} for some in (ARMS, SECOND_LOOK))
    some = torch.tensor([10**-0.5, 1.0, 10.0])
    gains = {(kind, gain): descend(kind, some, seeds, gain=gain) for kind in KINDS[:2] for gain in (1.0, 2.0)}
    long = {kind: descend(kind, TUNING, seeds, steps=LONG) for kind in KINDS[:2]}
    clips = {
        (kind, clip): descend(kind, LENGTHS / clip, seeds, clip=clip) for kind in KINDS[:2] for clip in CLIPS
    }
    beginnings = {
        (gain, held): descend(
            "batch norm", torch.tensor(BEGINNING_RATES), seeds, gain=gain, held=held, readout=0.3
        )
        for gain in BEGINNINGS
        for held in (False, True)
    }
    watched = {
        name: descend(kind, torch.tensor(rates), seeds, held=held, watch=WATCH)
        for name, (kind, rates, held) in WATCHED.items()
    }
    slower = descend("plain", torch.tensor([SLOWER]), seeds, steps=SLOWER_WATCH[-1], watch=SLOWER_WATCH)
    return LongSteps(arms, second_look, gains, long, clips, beginnings, watched, slower)


def judge_rates(found: LongSteps) -> list[Finding]:
    """What of the claim on learning rates, and of its explanation by growing weights, stands."""
    return [finding for findings in rates_by_question(found).values() for finding in findings]


def rates_by_question(found: LongSteps) -> dict[str, list[Finding]]:
    """The sentences of that verdict, by the question that they answer."""
    arms, gains, clips = found.arms, found.gains, found.clips
    plain, free, held, plain_held, clipped = (arms[name] for name in ARMS)
    held_slow, held_below, _, plain_slow, _, subtracting, *dividing = (
        found.second_look[name] for name in SECOND_LOOK
    )
    (small, small_held), (_, large_held) = (
        [found.beginnings[gain, held].trained for held in (False, True)] for gain in BEGINNINGS
    )
    lead = free.best[1] / clipped.best[1]
    ends = {kind: found.best_clipped(kind)[2] for kind in KINDS[:2]}
    later = {kind: descents.best[1] for kind, descents in found.long.items()}
    middle, high, highest = free.at(1.78), free.at(10), free.at(17.8)
    three = free.at(3.16)
    slow, edge = found.watched["plain"], found.watched["batch norm, norms held"].instability[:, 0]
    late = slow.sharpness[WATCH.index(2) :, 0]
    thrown = found.watched["batch norm"].losses[:, 1]
    climbed = found.slower.sharpness[SLOWER_WATCH.index(4) :, 0].amax(0) / late.amax(0)
    return {
        "Larger rates, and faster?": [
            Finding(
                "batch norm trains at ten times the plain network's longest rate, or more",
                free.longest >= 10 * plain.longest,
            ),
            Finding(
                "gains 1 and 2: at lr 10 batch norm trains, at lr 1 plain does not",
                torch.stack(
                    [gains["batch norm", g].trained[2] & ~gains["plain", g].trained[1] for g in (1.0, 2.0)]
                ).all(0),
                at_least=3,
            ),
            Finding(
                "each seed at its own best rate: batch norm does not end ten times lower than plain",
                plain.final.amin(0) < 10 * free.final.amin(0),
                at_least=4,
            ),
            Finding(
                "after 20 steps, each at its own best rate: batch norm is at least five times lower "
                "than plain",
                5 * free.best_after(SHORT)[1] <= plain.best_after(SHORT)[1],
                at_least=4,
            ),
            Finding(
                "after 200 steps, each at its own best rate: neither ends three times lower",
                (later["plain"] < 3 * later["batch norm"]) & (later["batch norm"] < 3 * later["plain"]),
                at_least=4,
            ),
        ],
        "Because the weights grow?": [
            Finding(
                "norms held: batch norm trains at 1.8 and 3.2 all the same",
                held.trained[middle : three + 1].all(0),
            ),
            Finding(
                "norms held, lr 3.2: lr λ / 2 is above 2 at the start, below 1 at the end",
                (edge[0] > 2) & (edge[-1] < 1),
            ),
            Finding(
                "lr 10: batch norm trains with norms free, and not with norms held",
                free.trained[high] & ~held.trained[high],
                at_least=4,
            ),
            Finding(
                "norms held, last layer at 0.3: it trains at 10 after all, and not at 18",
                held_slow.trained[high] & ~held_slow.trained[highest],
                at_least=4,
            ),
            Finding(
                "norms held, the other layers at 0.3 and the last one not: it trains at 10 and at 18",
                held_below.trained[high] & held_below.trained[highest],
            ),
            Finding(
                "from a gain of 0.3, last layer at 0.3, lr 3.2: it trains, but not with norms held",
                small[1] & ~small_held[1],
            ),
            Finding("from a gain of 2, last layer at 0.3, norms held: it trains at 18", large_held[2]),
        ],
        "Could something else do it?": [
            Finding(
                "plain does not train at 1.8, neither with norms held nor with the last layer at 0.3",
                ~plain_held.trained[middle] & ~plain_slow.trained[middle],
                at_least=4,
            ),
            Finding(
                "plain, each unit's sums over their root mean square: it trains at 1.8 and 3.2",
                dividing[0].trained[middle : three + 1].all(0),
                at_least=4,
            ),
            Finding(
                "plain, over one such number for a whole layer, or for each image: it does not train at 3.2",
                ~dividing[1].trained[three] & ~dividing[2].trained[three],
                at_least=3,
            ),
            Finding("plain, each sum less its mean: it does not train at 1.8", ~subtracting.trained[middle]),
            Finding(
                "plain, clipped at 0.3: it trains at 1.8 and 3.2, and not at 10",
                clipped.trained[middle : three + 1].all(0) & ~clipped.trained[high],
                at_least=4,
            ),
            Finding(
                "plain, clipped at 0.01: it trains at 10 and at 32",
                clips["plain", 0.01].trained[:2].all(0),
                at_least=4,
            ),
            Finding(
                "clipped at 0.01 or 0.1, lr times threshold 3.2: batch norm trains, plain does not",
                torch.stack(
                    [
                        clips["batch norm", clip].trained[3] & ~clips["plain", clip].trained[3]
                        for clip in CLIPS
                    ]
                ).all(0),
                at_least=4,
            ),
            Finding(
                "plain, clipped at 0.3, at its best rate: it ends lower than batch norm without clipping",
                lead > 1,
            ),
            Finding(
                "both clipped, each at its own best rate and threshold: less than half of that lead is left",
                ends["batch norm"] / ends["plain"] < 0.5 * lead,
            ),
        ],
        "And on the way?": [
            Finding(
                "norms free, lr 10: the loss rises above its start first", thrown.amax(0) > 1.5 * thrown[0]
            ),
            Finding(
                "plain, lr 0.1: after step 2, λ more than doubles", late.amax(0) > 2 * late[0], at_least=3
            ),
            Finding(
                "plain, lr 0.05, twice the steps: λ climbs as high within a factor of 2, and lr λ / 2 "
                "stays below 1",
                (climbed.log().abs().exp() < 2) & (found.slower.instability.amax((0, 1)) < 1),
                at_least=4,
            ),
        ],
    }


CLAIMS = {
    "shift": Claim(
        "Batch normalization reduces internal covariate shift, and this is why training is faster.",
        covariate_shift,
        judge_shift,
    ),
    "smoothness": Claim(
        "Batch normalization makes the loss smoother and its gradients more predictive.",
        smoothness,
        judge_smoothness,
    ),
    "rates": Claim(
        "Batch normalization allows much larger learning rates, because longer weights shorten the steps.",
        long_steps,
        judge_rates,
    ),
}
