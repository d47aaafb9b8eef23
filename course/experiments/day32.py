"""Day 32: statistics of small batches, of many devices, of a sample alone, of weights, and of nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from course.experiments.digits import Digits, arm_by_arm, split_digits
from course.experiments.verdicts import Claim, Finding

BATCH_SIZES = (2, 4, 8, 16, 32, 64, 128, 256)


# One sample in many batches


@cache
def hidden_features(width: int = 32, seed: int = 0) -> Tensor:
    """(1297, width), float64: digits behind a random linear layer, before any norm."""
    images = split_digits(seed, dtype=torch.float64).train_x
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(images.shape[1], width, generator=generator, dtype=images.dtype)
    return images @ weight / math.sqrt(images.shape[1])


@dataclass(frozen=True, eq=False)
class Company:
    """One entry of one sample, normalized in many batches that differ in the other samples.

    `outputs` is (draws,): what batch norm gives; `population` what it gives with the statistics of all
    samples, as in evaluation; `group` what group norm gives, in any batch. `spreads` is the standard
    deviation of the outputs for every size in `BATCH_SIZES`.
    """

    batch_size: int
    outputs: Tensor
    population: float
    group: float
    spreads: Tensor

    @property
    def spread(self) -> float:
        """The standard deviation of the outputs over the draws."""
        return self.outputs.std(correction=0).item()


def others(num_samples: int, draws: int, seed: int = 0) -> Tensor:
    """(draws, 255): who shares a batch with one sample, drawn with replacement from all.

    A batch of N holds the first N − 1 of a row.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(num_samples, (draws, BATCH_SIZES[-1]), generator=generator)[:, 1:]


def company(
    features: Tensor,
    sample: int,
    feature: int,
    batch_size: int,
    num_groups: int = 4,
    draws: int = 300,
    seed: int = 0,
    eps: float = 1e-5,
) -> Company:
    """Normalize `features[sample, feature]` in random batches of `batch_size` that hold the sample.

    Args:
        features: (M, D), all samples.
        sample, feature: which entry.
        batch_size: at least 2; the other samples are those of `others`.
        num_groups: of group norm.
        draws: how many batches.
        seed: draws them; the same others come first at every batch size.
        eps: added to the variance, inside the root.

    Raises:
        ValueError: `batch_size` is below 2 or above the largest of `BATCH_SIZES`.
    """
    if not 2 <= batch_size <= BATCH_SIZES[-1]:
        raise ValueError(f"batch_size must be from 2 to {BATCH_SIZES[-1]}, not {batch_size}")
    column = features[:, feature]
    own = column[sample].expand(draws, 1)
    values = torch.cat([own, column[others(len(column), draws, seed)]], dim=1)

    def outputs(size: int) -> Tensor:
        var, mean = torch.var_mean(values[:, :size], dim=1, correction=0)
        return (column[sample] - mean) / torch.sqrt(var + eps)

    spreads = torch.stack([outputs(size).std(correction=0) for size in BATCH_SIZES])
    var, mean = torch.var_mean(column, correction=0)
    group = F.group_norm(features[sample][None], num_groups, eps=eps)[0, feature]
    population = (column[sample] - mean) / torch.sqrt(var + eps)
    return Company(batch_size, outputs(batch_size), population.item(), group.item(), spreads)


# Many devices


def merge_statistics(counts: Tensor, means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the biased variance, each (D,), of the union of K shards.

    Args:
        counts: (K,), samples in each shard.
        means: (K, D).
        variances: (K, D), biased.

    Source: the parallel form in Chan, Golub & LeVeque 1983.
    """
    counts = counts.to(means.dtype)  # before dividing: whole numbers would give single precision
    weights = (counts / counts.sum())[:, None]
    mean = (weights * means).sum(0)
    return mean, (weights * (variances + (means - mean) ** 2)).sum(0)


@dataclass(frozen=True, eq=False)
class Devices:
    """One feature of a batch that lies on K devices.

    `shards`: K tensors (n_k,). `means`, `variances` (K,): their own, biased. `mean`, `variance`: of the
    union, merged from those. `averaged_mean`, `averaged_variance`: plain averages over the devices.
    """

    shards: tuple[Tensor, ...]
    means: Tensor
    variances: Tensor
    mean: float
    variance: float
    averaged_mean: float
    averaged_variance: float

    @property
    def within(self) -> float:
        """The part of the variance that is inside the shards."""
        return self.variance - self.between

    @property
    def between(self) -> float:
        """The part of the variance that is between the shards' means."""
        counts = self.means.new_tensor([len(shard) for shard in self.shards])
        return ((counts * (self.means - self.mean) ** 2).sum() / counts.sum()).item()


def devices(num_devices: int, shift: float, unequal: bool, per_device: int = 8, seed: int = 32) -> Devices:
    """Draw a feature on K devices whose data differ by `shift` from one device to the next.

    Args:
        num_devices: K.
        shift: distance of the true means of neighbouring devices, in standard deviations.
        unequal: the last device holds four times as many samples, as a device with short sequences may.
        per_device: samples on a device.
        seed: draws the samples.
    """
    generator = torch.Generator().manual_seed(seed)
    shards = []
    for device in range(num_devices):
        count = per_device * (4 if unequal and device == num_devices - 1 else 1)
        noise = torch.randn(4 * per_device, generator=generator, dtype=torch.float64)[:count]
        shards.append(noise + shift * (device - (num_devices - 1) / 2))
    means = torch.stack([shard.mean() for shard in shards])
    variances = torch.stack([shard.var(correction=0) for shard in shards])
    counts = torch.tensor([len(shard) for shard in shards])
    mean, variance = merge_statistics(counts, means[:, None], variances[:, None])
    return Devices(
        tuple(shards),
        means,
        variances,
        mean.item(),
        variance.item(),
        means.mean().item(),
        variances.mean().item(),
    )


# Norms that came after


def ghost_batch_norm(x: Tensor, virtual_batch_size: int, eps: float = 1e-5) -> Tensor:
    """(N, D): consecutive virtual batches, each normalized by itself; gamma 1, beta 0.

    Source: Hoffer, Hubara & Soudry 2017, algorithm 1.
    """
    return torch.cat(
        [
            (part - part.mean(0)) / torch.sqrt(part.var(0, correction=0) + eps)
            for part in x.split(virtual_batch_size)
        ]
    )


def rms_norm(x: Tensor, eps: float = 1e-6) -> Tensor:
    """x over its root mean square along the last axis. Source: Zhang & Sennrich 2019, equation 4."""
    return x / torch.sqrt((x**2).mean(-1, keepdim=True) + eps)


def layer_norm(x: Tensor, eps: float = 1e-6) -> Tensor:
    """Layer normalization along the last axis, gamma 1 and beta 0."""
    return rms_norm(x - x.mean(-1, keepdim=True), eps)


def weight_norm(v: Tensor, g: Tensor) -> Tensor:
    """Rows of v (O, I) rescaled to the norms g (O,). Source: Salimans & Kingma 2016, equation 2."""
    return g[:, None] * v / v.norm(dim=1, keepdim=True)


def weight_standardization(weight: Tensor, eps: float = 1e-5) -> Tensor:
    """(O, I, kH, kW), every filter at mean 0 and variance 1. Source: Qiao et al. 2019, section 2."""
    var, mean = torch.var_mean(weight, dim=(1, 2, 3), correction=0, keepdim=True)
    return (weight - mean) / torch.sqrt(var + eps)


def dynamic_tanh(x: Tensor, alpha: float | Tensor = 0.5) -> Tensor:
    """tanh(alpha x), gamma 1 and beta 0: no statistics at all. Source: Zhu et al. 2025, section 4."""
    return torch.tanh(alpha * x)


def batch_renorm(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    r_max: float = 3.0,
    d_max: float = 5.0,
    eps: float = 1e-5,
) -> Tensor:
    """x (N, D) with the batch's statistics, corrected towards the running ones; gamma 1 and beta 0.

    Args:
        x: (N, D).
        running_mean, running_var: (D,).
        r_max, d_max: bounds of the corrections; 1 and 0 give batch norm. No gradient goes through them.
        eps: added to both variances, inside the root.

    Source: Ioffe 2017, algorithm 1.
    """
    std, mean = torch.sqrt(x.var(0, correction=0) + eps), x.mean(0)
    running_std = torch.sqrt(running_var + eps)
    r = (std / running_std).detach().clamp(1 / r_max, r_max)
    d = ((mean - running_mean) / running_std).detach().clamp(-d_max, d_max)
    return (x - mean) / std * r + d


# Many small networks at once: R = rates x seeds, each run with its own weights


def _draw(shapes: dict[str, tuple[int, ...]], seeds: Sequence[int], copies: int) -> Tensor:
    """(R, P): the parameters of all runs, those of one seed the same for every rate.

    Weights are drawn as N(0, 2 / fan_in), those named `.1` as ones, `.0` as zeros, `.t` as 0.5, and as
    N(0, 1 / fan_in) where they are named `.w`.
    """
    rows = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        row = []
        for name, shape in shapes.items():
            kind = name.rpartition(".")[2]
            if kind in ("0", "1", "t"):
                row.append(torch.full(shape, {"0": 0.0, "1": 1.0, "t": 0.5}[kind]).flatten())
            else:
                scale = math.sqrt((1 if kind == "w" else 2) / shape[0])
                row.append((scale * torch.randn(shape, generator=generator)).flatten())
        rows.append(torch.cat(row))
    return torch.stack(rows).repeat(copies, 1)


def _named(theta: Tensor, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The parameters (R, *shape) by name, as views of theta (R, P)."""
    parts = theta.split([math.prod(shape) for shape in shapes.values()], dim=1)
    return {name: part.view(-1, *shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def _descend(
    theta: Tensor,
    loss: Callable[[Tensor, int], Tensor],
    rates: Tensor,
    steps: int,
    warm_up: int = 0,
) -> Tensor:
    """(R, P): after `steps` steps of Adam (betas 0.9 and 0.999), each run at its own rate (R,).

    Args:
        theta: (R, P), where it starts.
        loss: theta and the step, from 0 -> the sum of the runs' losses.
        rates: (R,).
        steps: how many.
        warm_up: over so many steps the rate grows linearly to its value.
    """
    mean, square = torch.zeros_like(theta), torch.zeros_like(theta)
    theta = theta.detach()
    for step in range(steps):
        theta = theta.requires_grad_()
        (gradient,) = torch.autograd.grad(loss(theta, step), theta)
        mean.mul_(0.9).add_(gradient, alpha=0.1)
        square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        scale = rates * min(1.0, (step + 1) / warm_up if warm_up else 1.0) / (1 - 0.9 ** (step + 1))
        root = (square / (1 - 0.999 ** (step + 1))).sqrt_().add_(1e-8)
        theta = theta.detach() - scale[:, None] * mean / root
    return theta


def _batches(seeds: Sequence[int], num_train: int, steps: int, batch_size: int) -> Tensor:
    """(steps, S, batch_size): which images; every seed shuffles its own epochs."""
    per_epoch = num_train // batch_size
    orders = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed + 10_000)
        epochs = [
            torch.randperm(num_train, generator=generator)[: per_epoch * batch_size].view(-1, batch_size)
            for _ in range(-(-steps // per_epoch))
        ]
        orders.append(torch.cat(epochs)[:steps])
    return torch.stack(orders, dim=1)


def _losses(logits: Tensor, target: Tensor) -> Tensor:
    """The sum over runs of the mean cross-entropy; logits (R, N, 10), target (R, N)."""
    return F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="sum") / target.shape[1]


def _wrong(logits: Tensor, target: Tensor) -> Tensor:
    """(R,): the share that is misjudged, in percent."""
    return 100 * (logits.argmax(-1) != target).float().mean(1)


# The first claim: error against the number of images that share statistics


@dataclass
class _Statistics:
    """The running statistics of one norm, (R, places or 1, C)."""

    mean: Tensor
    var: Tensor


def _patches(x: Tensor) -> Tensor:
    """(R, N, 16, 9): what the filters of 3 x 3, stride 2, padding 1 see of images (R, N, 64)."""
    padded = F.pad(x.unflatten(2, (8, 8)), (1, 1, 1, 1))
    return padded.unfold(2, 3, 2).unfold(3, 3, 2).flatten(4).flatten(2, 3)


@cache
def _taps() -> Tensor:
    """(64, 9), 0 or 1: which tap of the filter joins a place of 4 x 4 to a place of 2 x 2."""
    places = torch.arange(1.0, 17).view(1, 1, 4, 4)
    seen = F.unfold(places, 3, padding=1, stride=2)[0]  # (9, 4)
    return (seen == torch.arange(1.0, 17)[:, None, None]).float().transpose(1, 2).reshape(64, 9)


def _convolution(weight: Tensor) -> Tensor:
    """(R, 16 * I, 4 * O): filters (R, 9 * I, O) as the matrix that takes maps of 4 x 4 to maps of 2 x 2."""
    runs, inputs, outputs = weight.shape
    channels = inputs // 9
    joined = _taps() @ weight.view(runs, 9, channels * outputs)
    joined = joined.view(runs, 16, 4, channels, outputs).transpose(2, 3)
    return joined.reshape(runs, 16 * channels, 4 * outputs)


class SmallNet:
    """R networks for digits of 8 x 8 pixels with two norms, side by side.

    Args:
        layers: 'dense' for two linear layers of 32 features, or 'conv' for two convolutions of 3 x 3 with
            stride 2 and 8 channels, whose maps have 4 x 4 and 2 x 2 places. A linear layer follows.
        norm: 'batch'; 'frozen', batch norm, but the weights before the norms stay as they were drawn;
            'renorm', batch renormalization; 'place', batch norm with statistics for each place of a map; or
            'group', with 8 (dense) or 4 (conv) channels to a group.
        size: images that share batch statistics.
    """

    EPS, MOMENTUM = 1e-5, 0.1

    def __init__(self, layers: str, norm: str, size: int) -> None:
        self.layers, self.norm, self.size = layers, norm, size
        self.channels = 32 if layers == "dense" else 8
        first, second, places = (64, 32, 1) if layers == "dense" else (9, 72, 4)
        self.shapes = {
            "first": (first, self.channels),
            "gamma1.1": (self.channels,),
            "beta1.0": (self.channels,),
            "second": (second, self.channels),
            "gamma2.1": (self.channels,),
            "beta2.0": (self.channels,),
            "last.w": (places * self.channels, 10),
            "bias.0": (10,),
        }
        self.statistics: list[_Statistics] = []
        self.limits = (1.0, 0.0)  # of r and d

    def begin(self, runs: int) -> None:
        """Forget the running statistics."""
        places = ((16, 4) if self.norm == "place" else (1, 1)) if self.layers == "conv" else (1, 1)
        self.statistics = [
            _Statistics(torch.zeros(runs, p, self.channels), torch.ones(runs, p, self.channels))
            for p in places
        ]

    def __call__(self, theta: Tensor, x: Tensor, mode: str, size: int | None = None) -> Tensor:
        """(R, N, 10). x (R, N, 64); mode: 'train', 'eval', or 'renew', which replaces the statistics."""
        named = _named(theta, self.shapes)
        if self.norm == "frozen":
            named |= {name: named[name].detach() for name in ("first", "second")}
        if self.layers == "dense":
            h = torch.bmm(x, named["first"])[:, :, None]
        else:
            h = torch.bmm(_patches(x).flatten(1, 2), named["first"]).unflatten(1, (-1, 16))
        for k, name in enumerate(("gamma1.1", "gamma2.1")):
            if k:
                second = named["second"] if self.layers == "dense" else _convolution(named["second"])
                h = torch.bmm(h.flatten(2), second).unflatten(2, (-1, self.channels))
            h = self._normalized(h, k, mode, size or self.size)
            h = F.relu(h * named[name][:, None, None] + named[f"beta{k + 1}.0"][:, None, None])
        return torch.baddbmm(named["bias.0"][:, None], h.flatten(2), named["last.w"])

    def _normalized(self, h: Tensor, k: int, mode: str, size: int) -> Tensor:
        runs, num_images, places, channels = h.shape
        if self.norm == "group":
            groups = h.view(runs, num_images, places, 4 if channels == 32 else 2, -1)
            centred = groups - groups.mean((2, 4), keepdim=True)
            var = (centred * centred).mean((2, 4), keepdim=True)
            return (centred * torch.rsqrt(var + self.EPS)).view_as(h)
        running = self.statistics[k]
        if mode == "eval":
            return (h - running.mean[:, None]) / torch.sqrt(running.var[:, None] + self.EPS)
        if mode == "renew":
            size = num_images
        axes = 2 if self.norm == "place" else (2, 3)
        parts = h.view(runs, num_images // size, size, places, channels)
        mean = parts.mean(axes, keepdim=True)  # var_mean is slower by far over axes that are not the last
        centred = parts - mean
        var = (centred * centred).mean(axes, keepdim=True)
        std = torch.sqrt(var + self.EPS)
        y = centred / std
        if self.norm == "renorm":
            r_max, d_max = self.limits
            stored = torch.sqrt(running.var + self.EPS)[:, None, None]
            r = (std / stored).detach().clamp(1 / r_max, r_max)
            d = ((mean - running.mean[:, None, None]) / stored).detach().clamp(-d_max, d_max)
            y = y * r + d
        if mode in ("renew", "update"):
            count = size * (1 if self.norm == "place" else places)
            share = 1.0 if mode == "renew" else self.MOMENTUM
            with torch.no_grad():
                running.mean = torch.lerp(running.mean, mean.mean(1)[:, 0], share)
                running.var = torch.lerp(running.var, var.mean(1)[:, 0] * count / (count - 1), share)
        return y.view_as(h)


@dataclass(frozen=True, eq=False)
class Arm:
    """One network at several rates, after training; errors in percent, each (rates, S).

    `test` and `train`: with stored statistics, on test and training images. `company_test` and
    `company_train`: in training mode, in groups of the size that it was trained with; `pairs_train`: in
    groups of two. `renewed` and `renewed_train`: on test and on training images, with the statistics of all
    training images in place of the running averages.
    """

    rates: tuple[float, ...]
    test: Tensor
    train: Tensor
    company_test: Tensor
    company_train: Tensor
    pairs_train: Tensor
    renewed: Tensor
    renewed_train: Tensor

    @property
    def best(self) -> int:
        """The rate with the lowest mean test error; so every arm is flattered alike."""
        return int(self.test.mean(1).argmin())

    def at_best(self, what: str = "test") -> Tensor:
        """(S,), at that rate."""
        return getattr(self, what)[self.best]


def train_arm(
    layers: str,
    norm: str,
    size: int,
    seeds: Sequence[int],
    rates: Sequence[float],
    epochs: int = 20,
    batch_size: int = 64,
) -> Arm:
    """Train one arm with Adam in batches of 64, of which `size` images at a time share statistics.

    So the size of the statistics changes and nothing else: not the gradient's batch, not the number of
    steps. A seed draws the split, the first weights and the batches.

    Args:
        layers, norm, size: see `SmallNet`.
        seeds: S of them.
        rates: of Adam, constant.
        epochs: of 20 steps.
        batch_size: images in a step.
    """
    seeds = list(seeds)
    digits = [split_digits(seed) for seed in seeds]
    runs = len(rates) * len(seeds)
    net = SmallNet(layers, norm, size)
    net.begin(runs)
    train_x, train_y, test_x, test_y = _stacked(digits)
    steps = epochs * (train_x.shape[1] // batch_size)
    order = _batches(seeds, train_x.shape[1], steps, batch_size)
    row = torch.arange(len(seeds))[:, None]

    def loss(theta: Tensor, step: int) -> Tensor:
        # Batch renormalization begins as batch norm.
        net.limits = (3.0, 5.0) if step >= steps // 10 else (1.0, 0.0)
        x, y = train_x[row, order[step]], train_y[row, order[step]]
        logits = net(theta, x.repeat(len(rates), 1, 1), "update")
        return _losses(logits, y.repeat(len(rates), 1))

    theta = _draw(net.shapes, seeds, len(rates))
    theta = _descend(theta, loss, torch.tensor(rates).repeat_interleave(len(seeds)), steps)
    errors = []
    with torch.no_grad():
        for x, y, mode, company in (
            (test_x, test_y, "eval", size),
            (train_x, train_y, "eval", size),
            (test_x, test_y, "train", size),
            (train_x, train_y, "train", size),
            (train_x, train_y, "train", 2),
            (train_x, train_y, "renew", size),
            (test_x, test_y, "eval", size),
            (train_x, train_y, "eval", size),
        ):
            whole = x.shape[1] // company * company if mode == "train" else x.shape[1]
            x, y = (part[:, :whole].repeat(len(rates), *[1] * (part.dim() - 1)) for part in (x, y))
            logits = net(theta, x, mode, company)
            if mode != "renew":
                errors.append(_wrong(logits, y))
    return Arm(tuple(rates), *(each.view(len(rates), len(seeds)) for each in errors))


def _stacked(digits: Sequence[Digits]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images (S, N, 64) and labels (S, N), test images and labels."""
    return tuple(
        torch.stack([getattr(each, name) for each in digits])
        for name in ("train_x", "train_y", "test_x", "test_y")
    )


#: The arms of the first claim: layers, norm, and the images that share statistics.
SMALL_BATCHES = (
    ("dense", "batch", 2),
    ("dense", "batch", 4),
    ("dense", "batch", 64),
    ("dense", "group", 64),
    ("dense", "renorm", 2),
    ("dense", "frozen", 2),
    ("dense", "frozen", 64),
    ("conv", "batch", 2),
    ("conv", "batch", 64),
    ("conv", "group", 64),
    ("conv", "place", 2),
    ("conv", "place", 64),
)
SMALL_RATES = {"dense": (0.003, 0.01), "conv": (0.01, 0.03)}


def small_batches(
    seeds: Sequence[int], each: Callable[[Iterable], Iterable] = iter
) -> dict[tuple[str, str, int], Arm]:
    """Train all of `SMALL_BATCHES`; `each` may show how far it is.

    Source of the claim: Wu & He 2018, section 4.1; of the three errors: Wu & Johnson 2021, section 4.
    """
    return arm_by_arm(lambda arm: train_arm(*arm, seeds, SMALL_RATES[arm[0]]), SMALL_BATCHES, each)


def suffers_more(arms: dict[tuple[str, str, int], Arm]) -> str:
    """Whose median test error grows by the larger factor from 64 images to 2: "dense" or "conv"."""

    def growth(layers: str) -> float:
        two, many = (arms[layers, "batch", size].at_best().median().item() for size in (2, 64))
        return two / many

    return max(("dense", "conv"), key=growth)


def judge_small_batches(arms: dict[tuple[str, str, int], Arm]) -> list[Finding]:
    """The sentences of the first verdict."""
    best = {arm: result.at_best() for arm, result in arms.items()}
    two, large = arms["dense", "batch", 2], arms["dense", "batch", 64]
    dense, conv = best["dense", "batch", 2], best["conv", "batch", 2]
    most, most_conv = best["dense", "batch", 64], best["conv", "batch", 64]
    frozen = {size: arms["dense", "frozen", size].at_best("renewed_train") for size in (2, 64)}
    return [
        Finding("linear layers: at n = 2 at least four times the errors of n = 64", dense >= 4 * most),
        Finding("convolutions at n = 2: less than half the errors of the linear layers", conv < dense / 2),
        Finding(
            "convolutions with statistics for each place, n = 2: at least three times the errors",
            best["conv", "place", 2] >= 3 * conv,
        ),
        Finding(
            "the same at n = 64: within 3 points of batch norm over the map",
            (best["conv", "place", 64] - most_conv).abs() <= 3,
            at_least=4,
        ),
        Finding(
            "linear, n = 2, in training mode: above 40 % on its own training images; n = 64: below 2 %",
            (two.at_best("company_train") > 40) & (large.at_best("company_train") < 2),
        ),
        Finding(
            "but the net of n = 64, asked in pairs, is above 40 % on its own training images as well",
            large.at_best("pairs_train") > 40,
        ),
        Finding(
            "the statistics of all training images, on these images: n = 2 above 10 %, n = 64 below 2 %",
            (two.at_best("renewed_train") > 10) & (large.at_best("renewed_train") < 2),
        ),
        Finding(
            "the same statistics, on test images: n = 2 still has four times the errors of n = 64",
            two.at_best("renewed") >= 4 * most,
        ),
        Finding(
            "n = 2 with the weights before the norms frozen: less than 1.5 times its errors on these images",
            frozen[2] < 1.5 * two.at_best("renewed_train"),
        ),
        Finding(
            "n = 64 with them frozen: above 2 %, but less than half of the errors of n = 2",
            (frozen[64] > 2) & (frozen[64] < frozen[2] / 2),
        ),
        Finding(
            "linear, n = 2, batch renormalization: fewer errors than batch norm, but twice those of n = 64",
            (best["dense", "renorm", 2] < dense) & (best["dense", "renorm", 2] >= 2 * most),
        ),
        Finding(
            "linear: group norm and batch norm at n = 64 are within 3 points of each other",
            (best["dense", "group", 64] - most).abs() <= 3,
            at_least=3,
        ),
    ]


# The second claim: where the norm of a transformer stands

TOKENS, WIDTH, HEADS = 8, 16, 2


class Transformer:
    """R small transformers for digits, side by side: each row of 8 pixels is a token.

    Every block is attention with two heads, then two linear layers of 16 and 32 features; the tokens are
    averaged before the last layer. Gamma and beta are learned for each norm.

    Args:
        place: 'pre', norms before each sublayer and one at the end, or 'post', after each residual sum.
        norm: 'layer', 'tanh', `dynamic_tanh` with a learned alpha, 'slope', the same without the tanh, or
            'none', gamma and beta alone.
        depth: blocks.
        qk: QK-norm: queries and keys pass an RMS norm before they are compared (Henry et al. 2020).
    """

    def __init__(self, place: str, norm: str, depth: int, qk: bool = False) -> None:
        self.place, self.norm, self.depth, self.qk = place, norm, depth, qk
        self.shapes: dict[str, tuple[int, ...]] = {"embed.w": (8, WIDTH), "position.w": (TOKENS, WIDTH)}
        for block in range(depth):
            self.shapes |= {
                f"{block}.qkv.w": (WIDTH, 3 * WIDTH),
                f"{block}.out.w": (WIDTH, WIDTH),
                f"{block}.up": (WIDTH, 2 * WIDTH),
                f"{block}.down.w": (2 * WIDTH, WIDTH),
            } | {f"{block}.{k}.{kind}": (WIDTH,) if kind != "t" else (1,) for k in "ab" for kind in "10t"}
        self.shapes |= {"end.1": (WIDTH,), "end.0": (WIDTH,), "end.t": (1,), "last.w": (WIDTH, 10)}

    def __call__(self, theta: Tensor, x: Tensor) -> Tensor:
        """(R, N, 10). x is (R, N, 64)."""
        named = _named(theta, self.shapes)
        h = torch.bmm(x.reshape(len(x), -1, 8), named["embed.w"]).unflatten(1, (-1, TOKENS))
        h = (h + named["position.w"][:, None] * math.sqrt(TOKENS)).flatten(1, 2)
        for block in range(self.depth):
            for k, sublayer in (("a", self._attention), ("b", self._mlp)):
                if self.place == "pre":
                    h = h + sublayer(self._norm(h, named, f"{block}.{k}"), named, block)
                else:
                    h = self._norm(h + sublayer(h, named, block), named, f"{block}.{k}")
        if self.place == "pre":
            h = self._norm(h, named, "end")
        return torch.bmm(h.unflatten(1, (-1, TOKENS)).mean(2), named["last.w"])

    def _norm(self, h: Tensor, named: dict[str, Tensor], which: str) -> Tensor:
        y = h
        if self.norm == "tanh":
            y = dynamic_tanh(h, named[f"{which}.t"][:, None])
        elif self.norm == "slope":
            y = named[f"{which}.t"][:, None] * h
        elif self.norm == "layer":
            y = F.layer_norm(h, (WIDTH,))
        return y * named[f"{which}.1"][:, None] + named[f"{which}.0"][:, None]

    def _attention(self, h: Tensor, named: dict[str, Tensor], block: int) -> Tensor:
        runs, rows, _ = h.shape
        qkv = torch.bmm(h, named[f"{block}.qkv.w"])
        # (R * N * heads, tokens, features of a head)
        q, k, v = qkv.view(-1, TOKENS, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4).flatten(1, 2)
        if self.qk:
            q, k = rms_norm(q), rms_norm(k)
        weights = torch.softmax(torch.bmm(q, k.transpose(1, 2)) / math.sqrt(WIDTH // HEADS), dim=-1)
        mixed = torch.bmm(weights, v).unflatten(0, (-1, HEADS)).transpose(1, 2)
        return torch.bmm(mixed.reshape(runs, rows, WIDTH), named[f"{block}.out.w"])

    @staticmethod
    def _mlp(h: Tensor, named: dict[str, Tensor], block: int) -> Tensor:
        return torch.bmm(F.relu(torch.bmm(h, named[f"{block}.up"])), named[f"{block}.down.w"])


def train_transformer(
    place: str,
    norm: str,
    warm_up: int,
    seeds: Sequence[int],
    rates: Sequence[float],
    depth: int = 6,
    qk: bool = False,
    steps: int = 100,
    batch_size: int = 32,
    gamma: float = 1.0,
) -> Tensor:
    """(rates, S): test error in percent after `steps` steps of Adam.

    Args:
        place, norm, depth, qk: see `Transformer`.
        warm_up: over so many steps the rate grows linearly.
        seeds: S of them; a seed draws the split, the first weights and the batches.
        rates: of Adam, constant after the warm-up.
        steps: how many.
        batch_size: images in a step.
        gamma: where the gammas of the blocks begin; that of the norm at the end begins at 1.
    """
    seeds = list(seeds)
    train_x, train_y, test_x, test_y = _stacked([split_digits(seed) for seed in seeds])
    net = Transformer(place, norm, depth, qk)
    order = _batches(seeds, train_x.shape[1], steps, batch_size)
    row = torch.arange(len(seeds))[:, None]
    copies = len(rates)

    def loss(theta: Tensor, step: int) -> Tensor:
        x, y = train_x[row, order[step]], train_y[row, order[step]]
        return _losses(net(theta, x.repeat(copies, 1, 1)), y.repeat(copies, 1))

    theta = _draw(net.shapes, seeds, copies)
    for name, part in _named(theta, net.shapes).items():
        if name.endswith(".1") and name != "end.1":
            part.mul_(gamma)  # a view of theta
    theta = _descend(theta, loss, torch.tensor(rates).repeat_interleave(len(seeds)), steps, warm_up)
    with torch.no_grad():
        wrong = _wrong(net(theta, test_x.repeat(copies, 1, 1)), test_y.repeat(copies, 1))
    return wrong.view(copies, len(seeds))


@dataclass(frozen=True, eq=False)
class Placed:
    """Test errors in percent by rate, (rates, S)."""

    rates: tuple[float, ...]
    error: Tensor

    def at(self, rate: float) -> Tensor:
        """(S,)."""
        return self.error[self.rates.index(rate)]

    @property
    def best(self) -> int:
        """The rate with the lowest mean error."""
        return int(self.error.mean(1).argmin())

    def at_best(self) -> Tensor:
        """(S,)."""
        return self.error[self.best]


#: The arms of the second claim: place, norm, steps of warm-up, blocks.
PLACES = {
    "post-LN": ("post", "layer", 0, 6),
    "post-LN, warm-up": ("post", "layer", 40, 6),
    "pre-LN": ("pre", "layer", 0, 6),
    "pre-LN, warm-up": ("pre", "layer", 40, 6),
    "pre, DyT": ("pre", "tanh", 0, 6),
    "pre, DyT, no tanh": ("pre", "slope", 0, 6),
    "pre, no norm": ("pre", "none", 0, 6),
    "pre-LN, QK-norm": ("pre", "layer", 0, 6),
    "post-LN, 2 blocks": ("post", "layer", 0, 2),
    "pre-LN, 2 blocks": ("pre", "layer", 0, 2),
    "pre, no norm, gamma ½": ("pre", "none", 0, 6),
    "pre, DyT, gamma 2": ("pre", "tanh", 0, 6),
    "pre, DyT, no tanh, gamma 2": ("pre", "slope", 0, 6),
}
#: Where the gammas of the blocks begin, if not at 1. The alpha of DyT begins at ½, so that with a gamma of 2
#: the slope from a branch's input begins at 1.
GAMMAS = {"pre, no norm, gamma ½": 0.5, "pre, DyT, gamma 2": 2.0, "pre, DyT, no tanh, gamma 2": 2.0}

#: The rates of those that have their best one elsewhere than among 0.001, 0.003 and 0.01.
PLACE_RATES = {
    "post-LN": (0.001, 0.002, 0.003, 0.01),
    "post-LN, warm-up": (0.001, 0.002, 0.003, 0.01),
    "pre-LN": (0.002, 0.003, 0.01, 0.03),
    "pre-LN, warm-up": (0.002, 0.003, 0.01),
    "pre, DyT": (0.003, 0.01, 0.03),
    "pre-LN, QK-norm": (0.002, 0.003, 0.01, 0.03),
    "pre, no norm, gamma ½": (0.003, 0.01),
    "pre, DyT, gamma 2": (0.001, 0.003),
    "pre, DyT, no tanh, gamma 2": (0.001, 0.003),
}


def placed_norms(seeds: Sequence[int], each: Callable[[Iterable], Iterable] = iter) -> dict[str, Placed]:
    """Train all of `PLACES` at two to four rates each; `each` may show how far it is.

    Source of the claim: Xiong et al. 2020.
    """

    def train(name: str) -> Placed:
        place, norm, warm_up, depth = PLACES[name]
        qk = "QK-norm" in name
        rates, gamma = PLACE_RATES.get(name, (0.001, 0.003, 0.01)), GAMMAS.get(name, 1.0)
        error = train_transformer(place, norm, warm_up, seeds, rates, depth, qk, gamma=gamma)
        return Placed(rates, error)

    return arm_by_arm(train, PLACES, each)


def by_error(arms: dict[str, Placed], rate: float) -> list[str]:
    """Post-LN and pre-LN, with warm-up and without, at one rate: the fewest errors first, by the median."""
    return sorted(list(PLACES)[:4], key=lambda name: arms[name].at(rate).median().item())


def stands_by(arms: dict[str, Placed], name: str, others: Sequence[str]) -> str:
    """Which of the others has the median error, each at its best rate, that is nearest."""
    here = arms[name].at_best().median()
    return min(others, key=lambda other: (arms[other].at_best().median() - here).abs().item())


def judge_placed_norms(arms: dict[str, Placed]) -> list[Finding]:
    """The sentences of the second verdict."""
    post, warm, pre = arms["post-LN"], arms["post-LN, warm-up"], arms["pre-LN"]
    tanh, slope, none = arms["pre, DyT"], arms["pre, DyT, no tanh"], arms["pre, no norm"]
    shallow, qk = arms["post-LN, 2 blocks"], arms["pre-LN, QK-norm"]
    half, double, unbounded = (arms[name].at_best() for name in GAMMAS)
    return [
        Finding("post-LN, rate 0.01, no warm-up: above 70 %", post.at(0.01) > 70, at_least=3),
        Finding("the same with warm-up: fewer errors", warm.at(0.01) < post.at(0.01), at_least=3),
        Finding("pre-LN, rate 0.01, no warm-up: below 40 %", pre.at(0.01) < 40, at_least=3),
        Finding(
            "post-LN without warm-up at its own best rate: less than two thirds of its errors at 0.01",
            post.at_best() < post.at(0.01) * 2 / 3,
            at_least=4,
        ),
        Finding(
            "post-LN at its best: without warm-up less than 1.5 times the errors with it",
            post.at_best() < 1.5 * warm.at_best(),
            at_least=3,
        ),
        Finding(
            "pre-LN without warm-up: fewer errors than post-LN, with warm-up or without, each at its best",
            pre.at_best() < torch.minimum(post.at_best(), warm.at_best()),
            at_least=3,
        ),
        Finding("post-LN with 2 blocks, rate 0.01, no warm-up: below 40 %", shallow.at(0.01) < 40),
        Finding(
            "DyT: fewer errors than no norm, each at its best", tanh.at_best() < none.at_best(), at_least=4
        ),
        Finding(
            "DyT without its tanh: fewer errors than no norm too, each at its best",
            slope.at_best() < none.at_best(),
            at_least=4,
        ),
        Finding(
            "no norm, but gammas that begin at ½: fewer errors than from 1, each at its best",
            half < none.at_best(),
            at_least=4,
        ),
        Finding(
            "DyT with branches that do not begin small: fewer errors than without its tanh, each at its best",
            double < unbounded,
            at_least=3,
        ),
        Finding(
            "rate 0.03: at least 1.4 times the errors of its best, with QK-norm and without",
            torch.stack([arm.at(arm.rates[-1]) >= 1.4 * arm.at_best() for arm in (pre, qk)]).all(dim=0),
            at_least=4,
        ),
        Finding(
            "pre-LN with QK-norm and without, each at its best: within 12 points",
            (qk.at_best() - pre.at_best()).abs() <= 12,
            at_least=4,
        ),
    ]


CLAIMS = {
    "small": Claim(
        "The error of batch norm rises as fewer images share statistics, since these get inaccurate.",
        small_batches,
        judge_small_batches,
    ),
    "place": Claim(
        "With the norm before each sublayer, a transformer needs no warm-up of the rate.",
        placed_norms,
        judge_placed_norms,
    ),
}
