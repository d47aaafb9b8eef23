"""Day 32: statistics of small batches, of many devices, of a sample alone, and of weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course.experiments.digits import split_digits

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
        batch_size: at least 2; the other samples are drawn with replacement.
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
    generator = torch.Generator().manual_seed(seed)
    others = torch.randint(len(column), (draws, BATCH_SIZES[-1]), generator=generator)
    others[:, 0] = sample
    values = column[others]

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
    weights = (counts / counts.sum())[:, None].to(means.dtype)
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


# The claim: error against batch size


class GhostBatchNorm(nn.Module):
    """Batch norm of (N, C, ...) in virtual batches of `size` samples, as on N / size devices.

    In evaluation it uses running averages of the means and of the unbiased variances.
    """

    def __init__(self, channels: int, size: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.size, self.eps, self.momentum = size, eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        channels, rest = x.shape[1], x.shape[2:]
        copies = len(x) // self.size
        # The channels of a virtual batch stand beside those of the others: copies * C of them.
        parts = x.view(copies, self.size, channels, *rest).transpose(0, 1)
        mean, var = self.running_mean.repeat(copies), self.running_var.repeat(copies)
        y = F.batch_norm(
            parts.reshape(self.size, copies * channels, *rest),
            mean,
            var,
            self.weight.repeat(copies),
            self.bias.repeat(copies),
            training=True,
            momentum=self.momentum,
            eps=self.eps,
        )
        self.running_mean.copy_(mean.view(copies, channels).mean(0))
        self.running_var.copy_(var.view(copies, channels).mean(0))
        return y.view(self.size, copies, channels, *rest).transpose(0, 1).reshape(x.shape)


def small_net(layers: str, norm: str, size: int) -> nn.Sequential:
    """A network for digits of 8 x 8 pixels, (N, 1, 8, 8), with two norms.

    Args:
        layers: 'conv' for two convolutions, whose maps have 4 x 4 and 2 x 2 places, or 'dense' for two
            linear layers of 32 features.
        norm: 'batch', with statistics of `size` samples, or 'group', with 8 channels to a group.
        size: samples that share batch statistics.
    """
    channels = 16 if layers == "conv" else 32

    def norm_layer() -> nn.Module:
        return nn.GroupNorm(channels // 8, channels) if norm == "group" else GhostBatchNorm(channels, size)

    if layers == "conv":
        first = [nn.Conv2d(1, channels, 3, stride=2, padding=1, bias=False)]
        second = nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False)
        width = channels * 4
    else:
        first = [nn.Flatten(), nn.Linear(64, channels, bias=False)]
        second = nn.Linear(channels, channels, bias=False)
        width = channels
    return nn.Sequential(
        *first,
        norm_layer(),
        nn.ReLU(),
        second,
        norm_layer(),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(width, 10),
    )


@dataclass(frozen=True, eq=False)
class ErrorBySize:
    """Test error in evaluation mode; `batch` is (S, sizes), `group` (S,)."""

    layers: str
    sizes: tuple[int, ...]
    batch: Tensor
    group: Tensor


def error_by_size(
    layers: str,
    sizes: Sequence[int],
    seeds: Iterable[int],
    epochs: int = 6,
    batch_size: int = 64,
    lr: float = 0.01,
) -> ErrorBySize:
    """Train on digits with batches of 64, of which `size` images at a time share batch statistics.

    So the size of the statistics changes and nothing else: not the gradient's batch, not the number of
    steps, not the learning rate. A seed draws the split, the first weights and the batches. Adam.

    Source of the claim: Wu & He 2018, section 4.1; there 8 devices hold 2 to 32 images each.
    """
    batch, group = [], []
    for seed in seeds:
        batch.append([_error(layers, "batch", size, seed, epochs, batch_size, lr) for size in sizes])
        group.append(_error(layers, "group", batch_size, seed, epochs, batch_size, lr))
    return ErrorBySize(layers, tuple(sizes), torch.tensor(batch), torch.tensor(group))


def _error(layers: str, norm: str, size: int, seed: int, epochs: int, batch_size: int, lr: float) -> float:
    digits = split_digits(seed)
    x, y = digits.train_x.view(-1, 1, 8, 8), digits.train_y
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = small_net(layers, norm, size)
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        for index in order[: len(x) // batch_size * batch_size].split(batch_size):
            optimizer.zero_grad()
            F.cross_entropy(net(x[index]), y[index]).backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        return (net(digits.test_x.view(-1, 1, 8, 8)).argmax(1) != digits.test_y).float().mean().item()
