"""Day 28: channels, a sweep of learning rates, folding, statistics estimated anew."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course.experiments.digits import split_digits

# -- one mean for each channel

#: Four 3 x 3 filters and their names: what goes dark or bright from left to right, from top to
#: bottom, the average, and the difference from the surroundings.
FILTERS = {
    "left to right": ((-1, 0, 1), (-1, 0, 1), (-1, 0, 1)),
    "top to bottom": ((-1, -1, -1), (0, 0, 0), (1, 1, 1)),
    "average": ((1 / 9,) * 3,) * 3,
    "spot": ((-1, -1, -1), (-1, 8, -1), (-1, -1, -1)),
}


def feature_maps(num_images: int) -> Tensor:
    """(N, 4, 8, 8): the first digits of scikit-learn's data under the four `FILTERS`, in float64."""
    images = split_digits(0, dtype=torch.float64).test_x[:num_images].view(-1, 1, 8, 8)
    kernels = torch.tensor(list(FILTERS.values()), dtype=torch.float64)[:, None]
    return F.conv2d(images, kernels, padding=1)


@dataclass(frozen=True, eq=False)
class ChannelView:
    """One channel of feature maps before and after normalization.

    `x` and `x_hat` are (N, H, W), the maps of this channel. `mean` and `var` are the statistics that
    each value was normalized with, (1, 1, 1) for one pair, (1, H, W) for a pair for each place.
    """

    channel: int
    num_channels: int
    x: Tensor
    x_hat: Tensor
    mean: Tensor
    var: Tensor

    @property
    def values_per_mean(self) -> int:
        """How many values share one mean."""
        return self.x.numel() // self.mean.numel()


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
    return ChannelView(channel, x.shape[1], *(t[:, channel] for t in (x, x_hat, mean, var)))


# -- many small networks at once

CHANNELS = (8, 8, 8)
LAST = CHANNELS[-1] * 4 * 4  # inputs of the linear layer: the last maps are 4 x 4
KINDS = ("none", "before", "after")


@dataclass(frozen=True, eq=False)
class Sweep:
    """Training of one kind of network at L learning rates and with S seeds.

    `kind` is one of `KINDS`: without batch norm, with it before the ReLU, or after. `lrs` is (L,).
    `losses` is (L, S, steps), the training loss of every step. `test_loss` and `accuracy` (percent)
    are (L, S), on the 500 test images in eval mode. `spread` is (L, S), the largest standard deviation
    of an output over these images: 0 where a network says the same of all. What diverged holds inf
    or nan.
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


def sweep(kind: str, lrs: Sequence[float], seeds: Sequence[int], steps: int = 60, batch: int = 64) -> Sweep:
    """Train three convolutions and a linear layer on the digits by plain gradient descent.

    A seed draws the split, the weights (He et al. 2015) and the order of the batches; every learning
    rate and every kind sees the same. All L * S networks are computed side by side as groups of one
    wide network: they share nothing, but it is several times faster than one after the other.

    Raises:
        ValueError: another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, not {kind!r}")
    nets = _Nets(kind, len(lrs), seeds)
    data = [split_digits(seed) for seed in seeds]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    lr = torch.tensor(lrs).repeat_interleave(len(seeds))
    losses, orders = [], [torch.empty(0, dtype=torch.int64)] * len(seeds)
    for _ in range(steps):
        rows = []
        for number, generator in enumerate(generators):
            if len(orders[number]) < batch:
                orders[number] = torch.randperm(len(data[number].train_x), generator=generator)
            rows.append(orders[number][:batch])
            orders[number] = orders[number][batch:]
        x = torch.stack([d.train_x[row] for d, row in zip(data, rows, strict=True)], dim=1)
        y = torch.stack([d.train_y[row] for d, row in zip(data, rows, strict=True)], dim=1)
        loss = nets.losses(nets.logits(x, training=True), y)
        losses.append(loss.detach())
        nets.step(loss, lr)
    with torch.no_grad():
        x = torch.stack([d.test_x for d in data], dim=1)
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

    def __init__(self, kind: str, num_lrs: int, seeds: Sequence[int]) -> None:
        self.kind, self.copies, self.count = kind, num_lrs, num_lrs * len(seeds)
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
        self.parameters = [*self.kernels, *self.shifts, self.last, self.bias]
        if kind != "none":
            self.parameters += self.scales
        for parameter in self.parameters:
            parameter.requires_grad_()

    def logits(self, images: Tensor, training: bool) -> Tensor:
        """(B, L * S, 10) for images (B, S, 64)."""
        x = images.view(*images.shape[:2], 8, 8).repeat(1, self.copies, 1, 1)
        layers = zip(self.kernels, self.scales, self.shifts, self.stored, strict=True)
        for number, (kernel, scale, shift, stored) in enumerate(layers):
            # The shift is beta where there is a batch norm, else the bias of the convolution.
            bias = shift if self.kind == "none" else None
            x = F.conv2d(x, kernel, bias, stride=1 + (number == 2), padding=1, groups=self.count)
            if self.kind == "before":
                x = F.batch_norm(x, *stored, scale, shift, training)
            x = F.relu(x)
            if self.kind == "after":
                x = F.batch_norm(x, *stored, scale, shift, training)
        return torch.einsum("brc,rco->bro", x.reshape(len(x), self.count, -1), self.last) + self.bias

    def losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """(L * S,), the mean cross entropy of each network."""
        y = y.repeat(1, self.copies)
        return F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(y.shape).mean(0)

    def step(self, losses: Tensor, lr: Tensor) -> None:
        """One step of gradient descent, each network with its own learning rate."""
        gradients = torch.autograd.grad(losses.sum(), self.parameters)
        with torch.no_grad():
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                rates = lr.repeat_interleave(len(parameter) // self.count)
                parameter -= rates.view(-1, *[1] * (parameter.dim() - 1)) * gradient


LEARNING_RATES = (0.01, 0.03, 0.1, 0.3, 0.6, 1.0, 3.0)
SEEDS = (0, 1, 2, 3, 4)


@lru_cache(maxsize=8)
def learning_rate_sweep(kind: str) -> Sweep:
    """`sweep` at the learning rates and with the seeds of the lecture; the second call is free."""
    return sweep(kind, LEARNING_RATES, SEEDS, steps=50)


def largest_rate(result: Sweep, loss: float = 1.0) -> float:
    """The largest learning rate of the sweep at which every seed trains below `loss`; 0 if none."""
    rates = result.lrs[result.trains(loss)]
    return rates.max().item() if len(rates) else 0.0


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
    """A trained network on images of another contrast and brightness.

    `images` is (8, 8, 8), some of them. The statistics are those of the eight channels in front of
    the first batch norm, each (8,): as stored, and as re-estimated. The accuracies are in percent.
    """

    contrast: float
    brightness: float
    num_images: int
    images: Tensor
    stored_mean: Tensor
    stored_std: Tensor
    new_mean: Tensor
    new_std: Tensor
    accuracy_stored: float
    accuracy_new: float


def new_data(contrast: float, brightness: float, num_images: int, *, seed: int = 0) -> NewData:
    """Test images are contrast * x + brightness; the statistics are estimated anew from others.

    Args:
        contrast: 1 is that of the training images.
        brightness: 0 is that of the training images, whose pixels are in [0, 1].
        num_images: training images, changed alike and without their digits, for the new statistics.
        seed: of the network.
    """
    trained = trained_net(seed)
    test_x = contrast * trained.test_x + brightness
    net = recalibrated(trained.net, contrast * trained.train_x[:num_images] + brightness)
    stored, new = (n[1] for n in (trained.net, net))
    return NewData(
        contrast,
        brightness,
        num_images,
        test_x[:8, 0],
        stored.running_mean,
        stored.running_var.sqrt(),
        new.running_mean,
        new.running_var.sqrt(),
        accuracy(trained.net, test_x, trained.test_y),
        accuracy(net, test_x, trained.test_y),
    )


@dataclass(frozen=True, eq=False)
class EarlyStatistics:
    """Test accuracy in percent during training, by stored and by re-estimated statistics.

    `steps` is (T,); `stored` and `renewed` are (T, S).
    """

    steps: Tensor
    stored: Tensor
    renewed: Tensor


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
                renewed = accuracy(recalibrated(net, train_x, 10), test_x, digits.test_y)
                row.append((accuracy(net.eval(), test_x, digits.test_y), renewed))
                net.train()
        rows.append(row)
    stored, renewed = torch.tensor(rows, dtype=torch.float64).permute(2, 1, 0)
    return EarlyStatistics(torch.tensor(list(steps)), stored, renewed)
