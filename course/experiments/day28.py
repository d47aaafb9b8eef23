"""Day 28: channels, a sweep of learning rates, folding, statistics estimated anew."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course.experiments.digits import split_digits
from course.experiments.verdicts import Claim, Finding

# -- one mean for each channel

#: Four 3 x 3 filters and their names: what goes dark or bright from left to right, from top to
#: bottom, the average, and the difference from the surroundings.
FILTERS = {
    "left to right": ((-1, 0, 1), (-1, 0, 1), (-1, 0, 1)),
    "top to bottom": ((-1, -1, -1), (0, 0, 0), (1, 1, 1)),
    "average": ((1 / 9,) * 3,) * 3,
    "spot": ((-1, -1, -1), (-1, 8, -1), (-1, -1, -1)),
}


def first_digits(num_images: int) -> Tensor:
    """(N, 8, 8): the first test images of scikit-learn's digits, with values in [0, 1], in float64."""
    return split_digits(0, dtype=torch.float64).test_x[:num_images].view(-1, 8, 8)


def feature_maps(num_images: int) -> Tensor:
    """(N, 4, 8, 8): the `first_digits` under the four `FILTERS`."""
    kernels = torch.tensor(list(FILTERS.values()), dtype=torch.float64)[:, None]
    return F.conv2d(first_digits(num_images)[:, None], kernels, padding=1)


@dataclass(frozen=True, eq=False)
class ChannelView:
    """One channel of feature maps before and after normalization.

    `x` and `x_hat` are (N, H, W), the maps of this channel. `mean` and `var` are the statistics that
    each value was normalized with, (1, 1, 1) for one pair, (1, H, W) for a pair for each place.
    """

    x: Tensor
    x_hat: Tensor
    mean: Tensor
    var: Tensor

    @property
    def values_per_mean(self) -> int:
        """How many values share one mean."""
        return self.x.numel() // self.mean.numel()

    @property
    def different(self) -> int:
        """How many different values `x_hat` holds, to one decimal."""
        return len((10 * self.x_hat).round().unique())


def channel_view(channel: int, num_images: int, axes: tuple[int, ...], eps: float = 1e-5) -> ChannelView:
    """Normalize the feature maps over `axes` of N x C x H x W and look at one channel.

    Args:
        channel: 0 to 3, in the order of `FILTERS`.
        num_images: N.
        axes: (0, 2, 3) is batch normalization for images; (0,) gives every place a mean of its own.
        eps: added to the variance, inside the root.
    """
    x = feature_maps(num_images)
    var, mean = torch.var_mean(x, dim=axes, correction=0, keepdim=True)
    x_hat = (x - mean) / torch.sqrt(var + eps)
    return ChannelView(*(t[:, channel] for t in (x, x_hat, mean, var)))


#: Bins of a histogram of maps: one around 0, and as many on either side. Pixels are sixteenths, so that
#: no value of a map lies on an edge.
BIN, BINS = 3 / 16, 49


def histogram(maps: Tensor) -> Tensor:
    """(BINS,), int64: how many values are in each bin; what lies beyond the outermost is counted in it."""
    numbers = torch.floor(maps.flatten() / BIN + 0.5).to(torch.int64) + BINS // 2
    return numbers.clamp(0, BINS - 1).bincount(minlength=BINS)


# -- many small networks at once

CHANNELS = (8, 8, 8)
LAST = CHANNELS[-1] * 4 * 4  # inputs of the linear layer: the last maps are 4 x 4
#: Where the batch norm of each of the three layers stands, by kind of network. "once" has none, but its
#: convolutions are centred and scaled before the first step.
PLACES = {
    "none": ("none", "none", "none"),
    "once": ("none", "none", "none"),
    "before": ("before", "before", "before"),
    "after": ("after", "after", "after"),
    "last after": ("before", "before", "after"),
    "last before": ("after", "after", "before"),
}
KINDS = ("none", "before")  # of the explorer


@dataclass(frozen=True, eq=False)
class Sweep:
    """Training of one kind of network at L learning rates and with S seeds.

    `kind` is one of `PLACES`. `lrs` is (L,). `losses` is (L, S, steps), the training loss of every
    step. `test_loss` and `accuracy` (percent) are (L, S), on the 500 test images in eval mode.
    `spread` is (L, S), the largest standard deviation of an output over these images: 0 where a
    network says the same of all. What diverged holds inf or nan.
    """

    kind: str
    lrs: Tensor
    losses: Tensor
    test_loss: Tensor
    accuracy: Tensor
    spread: Tensor

    @property
    def final(self) -> Tensor:
        """(L, S): the mean of the last ten training losses; inf where the run diverged."""
        return self.losses[..., -10:].mean(dim=-1).nan_to_num(nan=math.inf)

    def trains(self, loss: float = 1.0) -> Tensor:
        """(L,), bool: where the final loss of every seed is below `loss`."""
        return (self.final < loss).all(dim=1)

    def steps_to(self, loss: float = 0.5, window: int = 5) -> Tensor:
        """(L, S): after how many steps the mean of the last `window` losses is at most `loss`; or inf."""
        means = self.losses.nan_to_num(nan=math.inf).unfold(-1, window, 1).mean(dim=-1)
        below = means <= loss
        first = below.to(torch.int64).argmax(dim=-1).to(torch.float32) + window
        return torch.where(below.any(dim=-1), first, math.inf)

    def best_steps(self, loss: float = 0.5) -> tuple[Tensor, float]:
        """(S,) `steps_to` at the rate with the smallest worst seed, and that rate."""
        steps = self.steps_to(loss)
        place = int(steps.amax(dim=1).argmin())
        return steps[place], self.lrs[place].item()


def sweep(
    kind: str,
    lrs: Sequence[float],
    seeds: Sequence[int],
    steps: int = 60,
    batch: int = 64,
    *,
    standardized: bool = False,
    last_rate: float | None = None,
    others_rate: float | None = None,
    clip: float | None = None,
    gain: float = 1.0,
    centred: bool = False,
    adam: bool = False,
) -> Sweep:
    """Train three convolutions and a linear layer on the digits by plain gradient descent, or by Adam.

    A seed draws the split, the weights (He et al. 2015) and the order of the batches; every learning
    rate and every kind sees the same. All L * S networks are computed side by side as groups of one
    wide network: they share nothing, but it is several times faster than one after the other.

    Args:
        kind: one of `PLACES`. "once" centres and scales what each convolution gives, channel by
            channel, on 256 training images before the first step (compare Mishkin & Matas 2016).
        lrs, seeds: L and S of them.
        steps: of gradient descent.
        batch: images in a step.
        standardized: take the mean of all training pixels from the images, and divide by their standard
            deviation.
        last_rate: the learning rate of the linear layer is at most this.
        others_rate: that of all other layers is at most this.
        clip: the largest norm of the gradient of a whole network; longer ones are shortened to it.
        gain: what goes into the linear layer is multiplied by this.
        centred: from what goes into the linear layer the mean of each channel over the batch is taken away,
            in evaluation too.
        adam: steps of Adam in place of gradient descent; the held rates and `clip` are not used.

    Raises:
        ValueError: another kind.
    """
    if kind not in PLACES:
        raise ValueError(f"kind must be one of {tuple(PLACES)}, not {kind!r}")
    nets = _Nets(kind, len(lrs), seeds, gain, centred)
    data = [split_digits(seed) for seed in seeds]
    train_x, test_x = ([getattr(d, name) for d in data] for name in ("train_x", "test_x"))
    if standardized:
        moments = [(x.mean(), x.std()) for x in train_x]
        train_x, test_x = (
            [(x - mean) / std for x, (mean, std) in zip(group, moments, strict=True)]
            for group in (train_x, test_x)
        )
    if kind == "once":
        nets.scale_once(torch.stack([x[:256] for x in train_x], dim=1))
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    lr = torch.tensor(lrs).repeat_interleave(len(seeds))
    losses, orders = [], [torch.empty(0, dtype=torch.int64)] * len(seeds)
    for _ in range(steps):
        rows = []
        for number, generator in enumerate(generators):
            if len(orders[number]) < batch:
                orders[number] = torch.randperm(len(train_x[number]), generator=generator)
            rows.append(orders[number][:batch])
            orders[number] = orders[number][batch:]
        x = torch.stack([images[row] for images, row in zip(train_x, rows, strict=True)], dim=1)
        y = torch.stack([d.train_y[row] for d, row in zip(data, rows, strict=True)], dim=1)
        loss = nets.losses(nets.logits(x, training=True), y)
        losses.append(loss.detach())
        if adam:
            nets.adam_step(loss, lr)
        else:
            nets.step(loss, lr, last_rate, clip, others_rate)
    with torch.no_grad():
        x = torch.stack(test_x, dim=1)
        y = torch.stack([d.test_y for d in data], dim=1)
        logits = nets.logits(x, training=False)
        right = (logits.argmax(dim=2) == y.repeat(1, len(lrs))).double().mean(dim=0)
        test_loss = nets.losses(logits, y)
        spread = logits.std(dim=0).amax(dim=1)
    shape = (len(lrs), len(seeds))
    return Sweep(
        kind,
        torch.tensor(lrs),
        torch.stack(losses, dim=1).view(*shape, steps),
        test_loss.view(shape),
        100 * right.view(shape),
        spread.view(shape),
    )


class _Nets:
    """L * S networks side by side; the seed runs fastest."""

    def __init__(
        self, kind: str, num_lrs: int, seeds: Sequence[int], gain: float = 1.0, centred: bool = False
    ) -> None:
        self.gain, self.centred = gain, centred
        self.places, self.copies, self.count = PLACES[kind], num_lrs, num_lrs * len(seeds)
        drawn: list[list[Tensor]] = []
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            sizes = [(o, i, 3, 3) for i, o in zip((1, *CHANNELS), CHANNELS, strict=False)]
            drawn.append(
                [
                    math.sqrt(2 / math.prod(size[1:])) * torch.randn(size, generator=generator)
                    for size in sizes
                ]
                + [math.sqrt(1 / LAST) * torch.randn(LAST, 10, generator=generator)]
            )
        *kernels, last = (
            torch.stack(tensors).repeat(num_lrs, 1, 1, *[1] * (tensors[0].dim() - 2))
            for tensors in zip(*drawn, strict=True)
        )
        self.kernels = [kernel.flatten(0, 1) for kernel in kernels]
        self.shifts = [torch.zeros(self.count * channels) for channels in CHANNELS]
        self.scales = [torch.ones(self.count * channels) for channels in CHANNELS]
        self.last, self.bias = last, torch.zeros(self.count, 10)
        self.stored = [(torch.zeros_like(s), torch.ones_like(s)) for s in self.shifts]
        self.parameters = [self.last, self.bias, *self.kernels, *self.shifts]
        if self.places[0] != "none":
            self.parameters += self.scales
        self.adam_steps = 0
        self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self.parameters]
        for parameter in self.parameters:
            parameter.requires_grad_()

    def _convolution(self, x: Tensor, number: int) -> Tensor:
        """Layer `number` before its norm. The shift is beta where there is one, else the bias here."""
        bias = self.shifts[number] if self.places[number] == "none" else None
        stride = 1 + (number == len(CHANNELS) - 1)
        return F.conv2d(x, self.kernels[number], bias, stride=stride, padding=1, groups=self.count)

    def _maps(self, images: Tensor) -> Tensor:
        """(B, L * S, 8, 8) from images (B, S, 64)."""
        return images.view(*images.shape[:2], 8, 8).repeat(1, self.copies, 1, 1)

    def logits(self, images: Tensor, training: bool) -> Tensor:
        """(B, L * S, 10) for images (B, S, 64)."""
        x = self._maps(images)
        for number, place in enumerate(self.places):
            norm = (*self.stored[number], self.scales[number], self.shifts[number], training)
            x = self._convolution(x, number)
            if place == "before":
                x = F.batch_norm(x, *norm)
            x = F.relu(x)
            if place == "after":
                x = F.batch_norm(x, *norm)
        if self.centred:
            x = x - x.mean((0, 2, 3), keepdim=True)
        x = self.gain * x.reshape(len(x), self.count, -1)
        return torch.einsum("brc,rco->bro", x, self.last) + self.bias

    @torch.no_grad()
    def scale_once(self, images: Tensor) -> None:
        """Set kernels and biases so that each channel has mean 0 and variance 1 over these images."""
        x = self._maps(images)
        for number, (kernel, shift) in enumerate(zip(self.kernels, self.shifts, strict=True)):
            var, mean = torch.var_mean(self._convolution(x, number), dim=(0, 2, 3), correction=0)
            kernel /= var.sqrt()[:, None, None, None]
            shift -= mean / var.sqrt()
            x = F.relu(self._convolution(x, number))

    def losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """(L * S,), the mean cross entropy of each network."""
        y = y.repeat(1, self.copies)
        return F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(y.shape).mean(0)

    def step(
        self,
        losses: Tensor,
        lr: Tensor,
        last_rate: float | None,
        clip: float | None,
        others_rate: float | None = None,
    ) -> None:
        """One step of gradient descent, each network with its own learning rate."""
        gradients = torch.autograd.grad(losses.sum(), self.parameters)
        factor = torch.ones_like(lr)
        if clip is not None:
            squares = [g.reshape(self.count, -1).square().sum(dim=1) for g in gradients]
            factor = (clip / torch.stack(squares).sum(dim=0).sqrt()).clamp(max=1)
        with torch.no_grad():
            for number, (parameter, gradient) in enumerate(zip(self.parameters, gradients, strict=True)):
                most = last_rate if number < 2 else others_rate
                rates = lr if most is None else lr.clamp(max=most)
                rates = (factor * rates).repeat_interleave(len(parameter) // self.count)
                parameter -= rates.view(-1, *[1] * (parameter.dim() - 1)) * gradient

    def adam_step(self, losses: Tensor, lr: Tensor) -> None:
        """One step of Adam with its usual constants (Kingma & Ba 2015), each network with its own rate."""
        gradients = torch.autograd.grad(losses.sum(), self.parameters)
        self.adam_steps += 1
        missing, missing_square = 1 - 0.9**self.adam_steps, 1 - 0.999**self.adam_steps
        with torch.no_grad():
            for parameter, gradient, (mean, square) in zip(
                self.parameters, gradients, self.moments, strict=True
            ):
                mean.lerp_(gradient, 0.1)
                square.lerp_(gradient.square(), 0.001)
                rates = lr.repeat_interleave(len(parameter) // self.count)
                move = (mean / missing) / ((square / missing_square).sqrt() + 1e-8)
                parameter -= rates.view(-1, *[1] * (parameter.dim() - 1)) * move


LEARNING_RATES = (0.01, 0.03, 0.1, 0.3, 0.6, 1.0, 3.0)
SEEDS = (0, 1, 2, 3, 4)


@lru_cache(maxsize=32)
def _kept(kind: str, lrs: tuple[float, ...], seeds: tuple[int, ...], steps: int = 50, **how: float) -> Sweep:
    """`sweep`; the second call with the same arguments is free."""
    return sweep(kind, lrs, seeds, steps, **how)


def learning_rate_sweep(kind: str, seeds: Sequence[int] = SEEDS) -> Sweep:
    """`sweep` at the learning rates of the lecture; the second call is free."""
    return _kept(kind, LEARNING_RATES, tuple(seeds))


def largest_rate(result: Sweep, loss: float = 1.0) -> float:
    """The largest learning rate of the sweep at which every seed trains below `loss`; 0 if none."""
    rates = result.lrs[result.trains(loss)]
    return rates.max().item() if len(rates) else 0.0


# -- the claims

ADAM_RATES = (0.005, 0.01, 0.02, 0.05)
#: The arms of the claim on speed: name -> kind, learning rates, and what else is set.
ARMS = {
    "none": ("none", LEARNING_RATES, {}),
    "standardized": ("none", (0.03, 0.1, 0.3, 0.6, 1.0), {"standardized": True}),
    "scaled once": ("once", LEARNING_RATES, {"standardized": True}),
    "clipped": ("none", (0.3, 0.6, 1.0), {"standardized": True, "clip": 1.0}),
    "clipped at 0.1": ("none", (3.0, 5.0, 10.0), {"standardized": True, "clip": 0.1}),
    "batch norm": ("before", LEARNING_RATES, {}),
    "BN, last held": ("before", (1.0, 3.0, 10.0), {"last_rate": 0.1}),
    "once, last held": ("once", (1.0, 3.0), {"standardized": True, "last_rate": 0.1}),
    "BN, others held": ("before", (1.0, 3.0), {"others_rate": 0.1}),
    "once, others held": ("once", (1.0, 3.0), {"standardized": True, "others_rate": 0.1}),
    "none, Adam": ("none", ADAM_RATES, {"adam": True}),
    "scaled once, Adam": ("once", ADAM_RATES, {"standardized": True, "adam": True}),
    "batch norm, Adam": ("before", ADAM_RATES, {"adam": True}),
}
LONG = 100  # steps


@dataclass(frozen=True, eq=False)
class Speed:
    """The sweeps of `ARMS`, by name, and test accuracies (S,) in percent after 100 steps at 0.3."""

    sweeps: dict[str, Sweep]
    long: dict[str, Tensor]

    def at(self, arm: str, lr: float) -> Tensor:
        """(S,): the final loss of an arm at this learning rate."""
        result = self.sweeps[arm]
        return result.final[(result.lrs - lr).abs().argmin()]

    def steps(self, arm: str, lr: float | None = None) -> Tensor:
        """(S,): steps to a loss of 0.5, at this learning rate or at the arm's best."""
        result = self.sweeps[arm]
        if lr is None:
            return result.best_steps()[0]
        return result.steps_to()[(result.lrs - lr).abs().argmin()]

    def by_rate(self, arm: str) -> tuple[Tensor, Tensor]:
        """(L,) and (L,): the learning rates of an arm, and its final loss at each, by the median."""
        result = self.sweeps[arm]
        return result.lrs, result.final.median(dim=1).values

    def lower(self, lr: float) -> str:
        """Which ends lower at this rate in every seed, "batch norm" or "scaled once"; or "neither"."""
        names = ("batch norm", "scaled once")
        normalized, once = (self.at(name, lr) for name in names)
        wins = ((normalized < once).all(), (once < normalized).all())
        return next((name for name, won in zip(names, wins, strict=True) if won), "neither")

    def saved(self, arm: str, than: str) -> float:
        """How many percent fewer steps to a loss of 0.5 an arm needs, each at its best rate, by medians."""
        fewer, more = (self.steps(name).median().item() for name in (arm, than))
        return 100 * (1 - fewer / more)


def measure_speed(seeds: Sequence[int], each: Callable[[Iterable], Iterable] = iter) -> Speed:
    """Train all of `ARMS`, and two of them longer. `each` may show a bar over the arms."""
    seeds, sweeps, long = tuple(seeds), {}, {}
    for name in each(list(ARMS)):
        kind, lrs, how = ARMS[name]
        sweeps[name] = _kept(kind, lrs, seeds, **how)
        if name in ("scaled once", "batch norm"):
            long[name] = _kept(kind, (0.3,), seeds, LONG, **how).accuracy[0]
    return Speed(sweeps, long)


def judge_speed(run: Speed) -> list[Finding]:
    """Rates, equal rates, and steps at the best rate, against ever better nets without batch norm."""
    plain, normalized = (run.sweeps[name] for name in ("none", "batch norm"))
    best = {name: run.steps(name) for name in ARMS}
    return [
        Finding(
            "raw pixels, rates of 0.3 to 1: batch norm ends with the lower loss",
            (normalized.final[3:6] < plain.final[3:6]).all(dim=0),
        ),
        Finding(
            "rate 0.03, the other net standardized and scaled once: batch norm ends with the higher loss",
            run.at("batch norm", 0.03) > run.at("scaled once", 0.03),
        ),
        Finding(
            "rate 1: batch norm ends below 1, scaled once alone does not",
            (run.at("batch norm", 1.0) < 1) & (run.at("scaled once", 1.0) > 1),
            at_least=3,
        ),
        Finding("rate 1, gradients clipped: no batch norm, and below 1", run.at("clipped", 1.0) < 1),
        Finding(
            "rates 3 and 10, gradients clipped at 0.1: no batch norm, and below 1",
            (run.at("clipped at 0.1", 3.0) < 1) & (run.at("clipped at 0.1", 10.0) < 1),
        ),
        Finding(
            "rate 3: batch norm fails, and ends below 1 where its last layer keeps to 0.1",
            (run.at("batch norm", 3.0) > 1) & (run.at("BN, last held", 3.0) < 1),
        ),
        Finding(
            "the last layer held at 0.1: scaled once ends below 1 at rate 1, and not at 3",
            (run.at("once, last held", 1.0) < 1) & ~(run.at("once, last held", 3.0) < 1),
            at_least=3,
        ),
        Finding(
            "rate 3, the others held at 0.1 and the last not: batch norm and scaled once end below 1",
            (run.at("BN, others held", 3.0) < 1) & (run.at("once, others held", 3.0) < 1),
        ),
        Finding(
            "each at its best rate: batch norm needs fewer steps than with standardized inputs",
            best["batch norm"] < best["standardized"],
            at_least=4,
        ),
        Finding(
            "each at its best rate: and fewer than the net scaled once",
            best["batch norm"] < best["scaled once"],
            at_least=3,
        ),
        Finding(
            "Adam, each at its best rate: batch norm needs more than half of the steps of raw pixels",
            best["batch norm, Adam"] > 0.5 * best["none, Adam"],
            at_least=3,
        ),
    ]


PLACE_RATES = (0.1, 0.3)
FAST_RATES = (0.6, 1.0, 1.5)
HALF = math.sqrt(0.5)
#: Name -> kind, and what is done to the input of the classifier.
ORDERS: dict[str, tuple[str, dict[str, float]]] = {
    "before": ("before", {}),
    "after": ("after", {}),
    "before, before, after": ("last after", {}),
    "after, after, before": ("last before", {}),
    "before, times √2": ("before", {"gain": 1 / HALF}),
    "after, over √2": ("after", {"gain": HALF}),
    "before, centred": ("before", {"centred": True}),
}
#: Which norms stand behind their ReLU -> the name in `ORDERS`.
MOVED = {
    "all three": "after",
    "only the last": "before, before, after",
    "only the first two": "after, after, before",
}


@dataclass(frozen=True, eq=False)
class Places:
    """The sweeps of `ORDERS`, by name: at `PLACE_RATES` and, in `fast`, at `FAST_RATES`."""

    sweeps: dict[str, Sweep]
    fast: dict[str, Sweep]

    def best(self, name: str) -> tuple[Tensor, float]:
        """(S,) the final loss at the rate of all with the lowest median over the seeds, and that rate."""
        runs = self.sweeps[name], self.fast[name]
        final = torch.cat([run.final for run in runs])
        row = int(final.median(dim=1).values.argmin())
        return final[row], torch.cat([run.lrs for run in runs])[row].item()

    def best_ratio(self, name: str) -> Tensor:
        """(S,): the final loss over that of "before", each at its best rate."""
        return self.best(name)[0] / self.best("before")[0]

    def ratio(self, name: str) -> Tensor:
        """(L, S): the final loss over that of "before"."""
        return self.sweeps[name].final / self.sweeps["before"].final

    def lower_by(self, share: float) -> list[tuple[str, str]]:
        """Which norms have moved, of `MOVED`, and at which rate the loss is lower by this share or more."""
        return [
            (moved, f"rate {lr:g}")
            for moved, name in MOVED.items()
            for lr, ratios in zip(PLACE_RATES, self.ratio(name), strict=True)
            if ratios.median() <= 1 - share
        ]


def measure_places(seeds: Sequence[int], each: Callable[[Iterable], Iterable] = iter) -> Places:
    """Train all of `ORDERS` at `PLACE_RATES` and `FAST_RATES`. `each` may show a bar over them."""
    seeds, sweeps, fast = tuple(seeds), {}, {}
    for name in each(list(ORDERS)):
        kind, how = ORDERS[name]
        sweeps[name] = _kept(kind, PLACE_RATES, seeds, **how)
        fast[name] = _kept(kind, FAST_RATES, seeds, **how)
    return Places(sweeps, fast)


def judge_places(run: Places) -> list[Finding]:
    """Which norm matters, and how much of that is the size, or the mean, of what the classifier gets."""
    after, last_after, last_before, doubled, centred = (
        run.ratio(name)
        for name in (
            "after",
            "before, before, after",
            "after, after, before",
            "before, times √2",
            "before, centred",
        )
    )
    tuned = {name: run.best_ratio(name) for name in ORDERS}
    return [
        Finding("all after: a lower loss than all before, at both rates", (after < 1).all(dim=0)),
        Finding(
            "only the last one after: a lower loss than all before, at both rates",
            (last_after < 1).all(dim=0),
        ),
        Finding(
            "only the last one before: less than half of the gain, at 0.1",
            (1 - last_before[0]) < 0.5 * (1 - after[0]),
        ),
        Finding(
            "all before, what the classifier gets times √2: more than half of the gain, at 0.1",
            (1 - doubled[0]) > 0.5 * (1 - after[0]),
            at_least=4,
        ),
        Finding(
            "all before, what the classifier gets centred: less than half of the gain, at 0.1",
            (1 - centred[0]) < 0.5 * (1 - after[0]),
        ),
        Finding(
            "each at its best rate: all after: a lower loss than all before",
            tuned["after"] < 1,
            at_least=3,
        ),
        Finding(
            "each at its best rate: all before, times √2: less than half of that gain",
            (1 - tuned["before, times √2"]) < 0.5 * (1 - tuned["after"]),
            at_least=3,
        ),
        Finding(
            "each at its best rate: all before, centred: a lower loss than all before",
            tuned["before, centred"] < 1,
            at_least=3,
        ),
    ]


CLAIMS = {
    "speed": Claim(
        "Batch norm allows larger learning rates and trains faster, by 20 % on CIFAR-10 as courses say.",
        measure_speed,
        judge_speed,
    ),
    "place": Claim("Batch norm does better after the activation.", measure_places, judge_places),
}


def step_ratio(rounds: int = 15, repeat: int = 10, seed: int = 0) -> Tensor:
    """(rounds,): time of a training step with batch norm over that of one without, measured in turn.

    The net of `sweep`, on batches of 64 images; of the steps of a round the fastest counts, in
    seconds of the processor, so that other programs disturb it little.
    """
    nets = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for normalized in (False, True):
            layers: list[nn.Module] = []
            for number, (width, channels) in enumerate(zip((1, *CHANNELS), CHANNELS, strict=False)):
                stride = 1 + (number == len(CHANNELS) - 1)
                layers.append(nn.Conv2d(width, channels, 3, stride, padding=1, bias=not normalized))
                layers += [nn.BatchNorm2d(channels)] * normalized + [nn.ReLU()]
            net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(LAST, 10))
            nets.append((net, torch.optim.SGD(net.parameters(), lr=0.01)))
        x, y = torch.randn(64, 1, 8, 8), torch.randint(10, (64,))
    times = torch.empty(2, rounds, dtype=torch.float64)
    for number in range(-1, rounds):  # round -1 warms up
        for row, (net, optimizer) in enumerate(nets):
            passes = []
            for _ in range(repeat):
                begin = time.process_time()
                optimizer.zero_grad()
                F.cross_entropy(net(x), y).backward()
                optimizer.step()
                passes.append(time.process_time() - begin)
            times[row, number] = min(passes)
    return times[1] / times[0]


@torch.no_grad()
def residual_sizes(kind: str, depth: int = 16, seed: int = 0) -> Tensor:
    """(depth + 1,): the standard deviation of x on its way through residual blocks x + branch(x).

    A branch is a norm, a ReLU and a convolution of 16 channels (pre-activation, He et al. 2016), and a norm
    behind it where gamma starts at 0.

    Args:
        kind: "none", "norm" (batch norm first in the branch) or "zero" (and one last, with gamma = 0).
        depth: blocks.
        seed: of weights and input.

    Raises:
        ValueError: another kind.
    """
    if kind not in ("none", "norm", "zero"):
        raise ValueError(f"kind must be 'none', 'norm' or 'zero', not {kind!r}")
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(16, 16, 8, 8, generator=generator)
    sizes = [x.std()]
    for _ in range(depth):
        branch = x if kind == "none" else F.batch_norm(x, None, None, training=True)
        kernel = math.sqrt(2 / 144) * torch.randn(16, 16, 3, 3, generator=generator)
        branch = F.conv2d(F.relu(branch), kernel, padding=1)
        if kind == "zero":
            branch = F.batch_norm(branch, None, None, torch.zeros(16), torch.zeros(16), training=True)
        x = x + branch
        sizes.append(x.std())
    return torch.stack(sizes)


@torch.no_grad()
def fold_forward(norm: nn.BatchNorm2d, conv: nn.Conv2d) -> nn.Conv2d:
    """The convolution that does what `norm` in eval mode and `conv` behind it do, if it has no padding."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    shift = norm.bias - scale * norm.running_mean
    folded = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        conv.padding,
        dtype=conv.weight.dtype,
    )
    folded.weight.copy_(conv.weight * scale[:, None, None])
    folded.bias.copy_(torch.einsum("oihw,i->o", conv.weight, shift) + (0 if conv.bias is None else conv.bias))
    return folded


def from_few_images(num_images: int, seeds: Sequence[int], draws: int = 10) -> Tensor:
    """(S, draws): test accuracy in percent at contrast 1 and brightness 1, with statistics of few images."""
    rows = []
    for seed in seeds:
        trained = trained_net(seed)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(draws):
            picked = torch.randperm(len(trained.train_x), generator=generator)[:num_images]
            net = recalibrated(trained.net, trained.train_x[picked] + 1)
            rows.append(accuracy(net, trained.test_x + 1, trained.test_y))
    return torch.tensor(rows, dtype=torch.float64).view(-1, draws)


# -- one network for folding and for new statistics


def make_net(seed: int) -> nn.Sequential:
    """Two blocks of convolution, batch norm, ReLU, and a linear layer, for digits (N, 1, 8, 8)."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, 10),
    )


@dataclass(frozen=True, eq=False)
class TrainedNet:
    """A network in eval mode; images (N, 1, 8, 8) and digits (N,) for training and for tests."""

    net: nn.Sequential
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


@lru_cache(maxsize=16)
@torch.enable_grad()
def trained_net(seed: int, steps: int = 80) -> TrainedNet:
    """A network trained by gradient descent, learning rate 0.3, batches of 64. Do not change it.

    The state of PyTorch's own random numbers is left as it was.
    """
    digits = split_digits(seed)
    with torch.random.fork_rng(devices=[]):
        net = make_net(seed)
    train_x, test_x = (x.view(-1, 1, 8, 8) for x in (digits.train_x, digits.test_x))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(train_x), (64,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(net(train_x[rows]), digits.train_y[rows]).backward()
        optimizer.step()
    return TrainedNet(net.eval(), train_x, digits.train_y, test_x, digits.test_y)


def accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """In percent, in the mode in which the net is."""
    with torch.no_grad():
        return 100 * (net(x).argmax(dim=1) == y).double().mean().item()


def fold_net(net: nn.Sequential) -> nn.Sequential:
    """A copy in eval mode in which every convolution has taken in the batch norm behind it."""
    layers: list[nn.Module] = []
    for layer in copy.deepcopy(net).eval():
        if isinstance(layer, nn.BatchNorm2d):
            layers[-1] = nn.utils.fusion.fuse_conv_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    return nn.Sequential(*layers)


@dataclass(frozen=True, eq=False)
class Folding:
    """A network and its folded copy on the same images.

    `difference` is (S,), the largest difference of an output in each seed, and `size` (S,) the
    largest output. `batch_sizes` is (B,); `plain` and `folded` are (B, rounds), seconds for a
    forward pass, measured in turn; of the passes of a round the fastest counts.
    """

    batch_sizes: Tensor
    difference: Tensor
    size: Tensor
    plain: Tensor
    folded: Tensor

    @property
    def speedup(self) -> Tensor:
        """(B, rounds): how many times as fast the folded network is."""
        return self.plain / self.folded


@torch.no_grad()
def folding(batch_sizes: Sequence[int], seeds: Sequence[int], rounds: int = 15, repeat: int = 10) -> Folding:
    """Compare outputs over seeds, and times over rounds for the network of the first seed."""
    differences, sizes = [], []
    for seed in seeds:
        trained = trained_net(seed)
        expected = trained.net(trained.test_x)
        differences.append((fold_net(trained.net)(trained.test_x) - expected).abs().max())
        sizes.append(expected.abs().max())
    trained = trained_net(seeds[0])
    nets = (trained.net, fold_net(trained.net))
    times = torch.empty(2, len(batch_sizes), rounds, dtype=torch.float64)
    for column, size in enumerate(batch_sizes):
        x = trained.test_x.repeat(math.ceil(size / len(trained.test_x)), 1, 1, 1)[:size]
        for round_number in range(-1, rounds):  # round -1 warms up
            for row, net in enumerate(nets):
                passes = []
                for _ in range(repeat):
                    start = time.perf_counter()
                    net(x)
                    passes.append(time.perf_counter() - start)
                times[row, column, round_number] = min(passes)
    return Folding(torch.tensor(batch_sizes), torch.stack(differences), torch.stack(sizes), *times)


def recalibrated(net: nn.Module, x: Tensor, batches: int = 1) -> nn.Module:
    """A copy, in eval mode, whose running statistics are the plain average over batches of `x`."""
    net = copy.deepcopy(net)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None
    net.train()
    with torch.no_grad():
        for batch in x.chunk(batches):
            net(batch)
    return net.eval()


@dataclass(frozen=True, eq=False)
class NewData:
    """A trained network on images of another contrast and brightness, computed in float64.

    `images` is (8, 8, 8), some of them, and `answers_stored` and `answers_new`, each (8,), are the digits
    that the network takes them for. The statistics are those of the eight channels in front of the first
    batch norm, each (8,): as stored, and as re-estimated. The accuracies are in percent.
    """

    images: Tensor
    stored_mean: Tensor
    stored_std: Tensor
    new_mean: Tensor
    new_std: Tensor
    answers_stored: Tensor
    answers_new: Tensor
    accuracy_stored: float
    accuracy_new: float


@torch.no_grad()
def new_data(
    contrast: float, brightness: float, num_images: int, *, num_tests: int = 500, seed: int = 0
) -> NewData:
    """Test images are contrast * x + brightness; the statistics are estimated anew from others.

    Args:
        contrast: 1 is that of the training images.
        brightness: 0 is that of the training images, whose pixels are in [0, 1].
        num_images: training images, changed alike and without their digits, for the new statistics.
        num_tests: test images.
        seed: of the network.
    """
    trained = trained_net(seed)
    net = copy.deepcopy(trained.net).double()
    test_x, new_x = (
        contrast * x.double() + brightness for x in (trained.test_x[:num_tests], trained.train_x[:num_images])
    )
    test_y = trained.test_y[:num_tests]
    renewed = recalibrated(net, new_x)
    return NewData(
        test_x[:8, 0],
        net[1].running_mean,
        net[1].running_var.sqrt(),
        renewed[1].running_mean,
        renewed[1].running_var.sqrt(),
        net(test_x[:8]).argmax(dim=1),
        renewed(test_x[:8]).argmax(dim=1),
        accuracy(net, test_x, test_y),
        accuracy(renewed, test_x, test_y),
    )


@dataclass(frozen=True, eq=False)
class EarlyStatistics:
    """Test accuracy in percent during training, by stored and by re-estimated statistics.

    `steps` is (T,); `stored`, `renewed` and `corrected` are (T, S), the last by stored statistics from which
    the 0 and 1 that they started with have been taken out.
    """

    steps: Tensor
    stored: Tensor
    renewed: Tensor
    corrected: Tensor


@torch.no_grad()
def without_start(net: nn.Module, kept: float) -> nn.Module:
    """A copy in eval mode whose stored statistics have lost their start, of which a part `kept` was left.

    They started as mean 0 and variance 1, with all of the weight; the rest is scaled up to a weight of 1.
    """
    net = copy.deepcopy(net)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean /= 1 - kept
            layer.running_var.sub_(kept).div_(1 - kept)
    return net.eval()


def early_statistics(
    steps: Sequence[int], seeds: Sequence[int], momentum: float = 0.01, lr: float = 0.3
) -> EarlyStatistics:
    """Evaluate networks after a few steps, as they are and with statistics estimated anew.

    Args:
        steps: after how many steps, increasing.
        seeds: each draws the split, the weights and the batches.
        momentum: of the running statistics; 0.01 is what Keras writes as 0.99.
        lr: of gradient descent, batches of 64.

    The new statistics are the plain average over ten batches of all training images.
    """
    rows = []
    for seed in seeds:
        digits = split_digits(seed)
        train_x, test_x = (x.view(-1, 1, 8, 8) for x in (digits.train_x, digits.test_x))
        with torch.random.fork_rng(devices=[]):
            net = make_net(seed)
        for layer in net:
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = momentum
        optimizer = torch.optim.SGD(net.parameters(), lr=lr)
        generator = torch.Generator().manual_seed(seed)
        row = []
        for step in range(1, steps[-1] + 1):
            picked = torch.randint(len(train_x), (64,), generator=generator)
            optimizer.zero_grad()
            F.cross_entropy(net(train_x[picked]), digits.train_y[picked]).backward()
            optimizer.step()
            if step in steps:
                kinds = net, recalibrated(net, train_x, 10), without_start(net, (1 - momentum) ** step)
                row.append([accuracy(kind.eval(), test_x, digits.test_y) for kind in kinds])
                net.train()
        rows.append(row)
    return EarlyStatistics(
        torch.tensor(list(steps)), *torch.tensor(rows, dtype=torch.float64).permute(2, 1, 0)
    )
