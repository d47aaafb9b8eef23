"""Day 29: four ways to cut one block, what each makes a network forget, and swapped statistics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from sklearn.datasets import load_sample_image
from torch import Tensor, nn
from torch.nn import functional as F

from course.experiments.digits import split_digits

KINDS = ("batch", "layer", "instance", "group")


def split_shape(
    kind: str, shape: Sequence[int], num_groups: int = 1
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape in which a norm looks at x, and the axes of that shape that share a mean.

    Args:
        kind: one of `KINDS`.
        shape: (N, C, H, W).
        num_groups: G, for 'group' only.

    Returns:
        (N, C, H, W) itself and axes of it; for 'group', (N, G, C // G, H, W) and axes of that.

    Raises:
        ValueError: another `kind`, or `num_groups` does not divide C.

    Source: Wu & He 2018, section 3.1.
    """
    num_samples, channels, height, width = shape
    if kind == "group":
        if num_groups < 1 or channels % num_groups:
            raise ValueError(f"{num_groups} groups do not divide {channels} channels")
        return (num_samples, num_groups, channels // num_groups, height, width), (2, 3, 4)
    axes = {"batch": (0, 2, 3), "layer": (1, 2, 3), "instance": (2, 3)}
    if kind not in axes:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    return (num_samples, channels, height, width), axes[kind]


def mean_in_code(kind: str, shape: Sequence[int], num_groups: int = 1) -> str:
    """The line of PyTorch that computes all the means of a norm, for a tensor `x` of this shape."""
    split, axes = split_shape(kind, shape, num_groups)
    view = f".view{split}" if kind == "group" else ""
    return f"x{view}.mean({axes})"


def set_numbers(kind: str, shape: Sequence[int], num_groups: int = 1) -> Tensor:
    """(N, C, H, W), int64: cells with the same number share their statistics.

    The numbers run from 0, in the order in which the means lie in memory.
    """
    split, axes = split_shape(kind, shape, num_groups)
    kept = [1 if axis in axes else size for axis, size in enumerate(split)]
    numbers = torch.arange(torch.Size(kept).numel()).view(kept)
    return numbers.expand(split).reshape(*shape)


def normalize(x: Tensor, kind: str, num_groups: int = 1, eps: float = 1e-5) -> Tensor:
    """x_hat of shape (N, C, H, W): every cell less the mean of its set, over sqrt(var + eps)."""
    split, axes = split_shape(kind, x.shape, num_groups)
    cells = x.reshape(split)
    centred = cells - cells.mean(axes, keepdim=True)
    var = (centred**2).mean(axes, keepdim=True)
    return (centred / torch.sqrt(var + eps)).reshape(x.shape)


@dataclass(frozen=True, eq=False)
class SharedStatistics:
    """One cell of a block and all the cells with which it shares its mean and variance.

    `x` and `numbers` are (N, C, H, W), the latter as `set_numbers` gives it; `means` is (S,), the mean
    of every set in the order of their numbers.
    """

    kind: str
    num_groups: int
    cell: tuple[int, int, int, int]
    x: Tensor
    numbers: Tensor
    means: Tensor
    code: str

    @property
    def number(self) -> int:
        """The set of the chosen cell."""
        return int(self.numbers[self.cell])

    @property
    def mask(self) -> Tensor:
        """(N, C, H, W), bool: the cells of that set, the chosen one included."""
        return self.numbers == self.number

    @property
    def set_size(self) -> int:
        """How many cells share one mean."""
        return int(self.mask.sum())

    @property
    def var(self) -> float:
        """The biased variance of that set."""
        return self.x[self.mask].var(correction=0).item()

    @property
    def x_hat(self) -> float:
        """The chosen cell, normalized."""
        return normalize(self.x, self.kind, self.num_groups)[self.cell].item()


def shared_statistics(
    x: Tensor, kind: str, num_groups: int, cell: tuple[int, int, int, int]
) -> SharedStatistics:
    """Which cells of `x` (N, C, H, W) share their statistics with `cell`, an index (n, c, h, w).

    Raises:
        ValueError: see `split_shape`.
        IndexError: there is no such cell.
    """
    split, axes = split_shape(kind, x.shape, num_groups)
    if not all(0 <= index < size for index, size in zip(cell, x.shape, strict=True)):
        raise IndexError(f"no cell {cell} in a block of shape {tuple(x.shape)}")
    means = x.view(split).mean(axes).flatten()
    numbers = set_numbers(kind, x.shape, num_groups)
    return SharedStatistics(
        kind, num_groups, tuple(cell), x, numbers, means, mean_in_code(kind, x.shape, num_groups)
    )


def influence(x: Tensor, kind: str, num_groups: int, cell: tuple[int, int, int, int]) -> Tensor:
    """(N, C, H, W): the derivative of one normalized cell in every cell of `x`, by autograd."""
    x = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(normalize(x, kind, num_groups)[cell], x)
    return gradient


# What a norm forgets


@dataclass(frozen=True, eq=False)
class Forgotten:
    """Changes of x and the norms that undo them.

    `moves` is (changes, kinds): the largest change of x_hat, with eps = 0.
    """

    changes: tuple[str, ...]
    kinds: tuple[str, ...]
    moves: Tensor


def forgotten(x: Tensor, num_groups: int, seed: int) -> Forgotten:
    """Add a number, or multiply by a positive one, for every sample, channel, or both.

    Args:
        x: (N, C, H, W), float64.
        num_groups: G of group normalization.
        seed: draws the numbers.
    """
    num_samples, channels = x.shape[:2]
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "every sample": (num_samples, 1, 1, 1),
        "every channel": (1, channels, 1, 1),
        "every map": (num_samples, channels, 1, 1),
    }
    changed = {}
    for verb in ("add", "multiply"):
        for whom, shape in shapes.items():
            number = torch.rand(shape, generator=generator, dtype=x.dtype) + 0.5
            name = f"{verb} a number for {whom}" if verb == "add" else f"multiply {whom} by a number"
            changed[name] = x + number if verb == "add" else x * number
    moves = [
        [
            (normalize(other, kind, num_groups, eps=0.0) - normalize(x, kind, num_groups, eps=0.0))
            .abs()
            .max()
            for kind in KINDS
        ]
        for other in changed.values()
    ]
    return Forgotten(tuple(changed), KINDS, torch.tensor(moves))


# Adaptive instance normalization


def photographs(height: int = 154, width: int = 234) -> Tensor:
    """(2, 3, height, width): scikit-learn's two sample photographs, with values in [0, 1].

    Source: `load_sample_image`; the photographs are by danielbuechele ("china") and vultilion ("flower"),
    CC BY 2.0.
    """
    pictures = []
    for name in ("china.jpg", "flower.jpg"):
        pixels = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1).float() / 255
        pictures.append(F.adaptive_avg_pool2d(pixels, (height, width)))
    return torch.stack(pictures)


def adaptive_instance_norm(
    content: Tensor,
    style: Tensor,
    *,
    mean: bool = True,
    std: bool = True,
    axes: tuple[int, ...] = (2, 3),
    eps: float = 1e-5,
) -> Tensor:
    """content (N, C, H, W) with the mean, the standard deviation, or both, taken from `style`.

    Args:
        content: (N, C, H, W).
        style: (N, C, H', W').
        mean, std: which of the two are taken.
        axes: what shares a mean; (2, 3) is adaptive instance normalization.
        eps: added to both variances, inside the root.

    Source: Huang & Belongie 2017, equation 8, where both are taken.
    """
    own_mean, own_std = mean_std(content, axes, eps)
    style_mean, style_std = mean_std(style, axes, eps)
    scaled = (content - own_mean) * (style_std / own_std if std else 1)
    return scaled + (style_mean if mean else own_mean)


def mean_std(x: Tensor, axes: tuple[int, ...] = (2, 3), eps: float = 0.0) -> tuple[Tensor, Tensor]:
    """The mean and sqrt(var + eps) over `axes`, which are kept with length 1."""
    var, mean = torch.var_mean(x, dim=axes, correction=0, keepdim=True)
    return mean, torch.sqrt(var + eps)


@dataclass(frozen=True, eq=False)
class Swap:
    """Two images, and each with statistics of the other.

    `images` and `swapped` are (2, 3, H, W), the latter not yet cut to [0, 1].
    """

    images: Tensor
    swapped: Tensor
    strength: float
    what: str
    axes: tuple[int, ...]


def swap_statistics(images: Tensor, strength: float, what: str, axes: tuple[int, ...]) -> Swap:
    """Let two images swap their statistics.

    Args:
        images: (2, 3, H, W).
        strength: 0 leaves them as they are, 1 swaps fully; between, the two are mixed linearly, as in
            equation 14 of Huang & Belongie 2017.
        what: 'mean', 'std' or 'both'.
        axes: what shares a mean; (2, 3) or (1, 2, 3).
    """
    other = adaptive_instance_norm(images, images.flip(0), mean=what != "std", std=what != "mean", axes=axes)
    return Swap(images, torch.lerp(images, other, strength), strength, what, axes)


# The claim: what training with a norm makes a network ignore


def norm_layer(kind: str, channels: int, num_groups: int = 2) -> nn.Module:
    """A layer of PyTorch with one gamma and one beta per channel, whatever the kind."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm({"layer": 1, "instance": channels, "group": num_groups}[kind], channels)


def small_net(kind: str, channels: int = 8) -> nn.Sequential:
    """Two convolutions without padding and a linear layer, for digits of 8 x 8 pixels."""
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, bias=False),
        norm_layer(kind, channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, bias=False),
        norm_layer(kind, channels),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(channels * 4 * 4, 10),
    )


@dataclass(frozen=True, eq=False)
class ChangedLight:
    """Test accuracy under contrasts and brightnesses that training did not have.

    `contrast` is (kinds, S, A) for the images a * x, `brightness` (kinds, S, B) for the images x + b.
    """

    kinds: tuple[str, ...]
    contrasts: tuple[float, ...]
    brightnesses: tuple[float, ...]
    contrast: Tensor
    brightness: Tensor


def changed_light(
    contrasts: Sequence[float],
    brightnesses: Sequence[float],
    seeds: Iterable[int],
    kinds: Sequence[str] = KINDS,
    epochs: int = 5,
) -> ChangedLight:
    """Train `small_net` with each norm on digits as they are; test it on digits in another light.

    A seed draws the split, the first weights and the batches of 64. Adam, lr 0.003.

    Source of the claim: Ulyanov, Vedaldi & Lempitsky 2016, section 2.
    """
    by_seed = []
    for seed in seeds:
        digits = split_digits(seed)
        train_x, test_x = (part.view(-1, 1, 8, 8) for part in (digits.train_x, digits.test_x))
        lights = [a * test_x for a in contrasts] + [test_x + b for b in brightnesses]
        row = []
        for kind in kinds:
            net = _trained(kind, train_x, digits.train_y, seed, epochs)
            with torch.no_grad():
                row.append([(net(x).argmax(1) == digits.test_y).float().mean() for x in lights])
        by_seed.append(row)
    accuracy = torch.tensor(by_seed).transpose(0, 1)  # (kinds, S, A + B)
    contrast, brightness = accuracy.split([len(contrasts), len(brightnesses)], dim=2)
    return ChangedLight(tuple(kinds), tuple(contrasts), tuple(brightnesses), contrast, brightness)


def _trained(kind: str, x: Tensor, y: Tensor, seed: int, epochs: int, batch_size: int = 64) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = small_net(kind)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(batch_size):
            optimizer.zero_grad()
            F.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
    return net.eval()
