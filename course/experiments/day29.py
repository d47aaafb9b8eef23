"""Day 29: four ways to cut one block, what each makes a network forget, and swapped statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from sklearn.datasets import load_sample_image
from torch import Tensor, nn
from torch.nn import functional as F

from course.experiments.digits import split_digits
from course.experiments.verdicts import Claim, Finding

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


def by_set_size(x: Tensor, num_groups: int) -> list[str]:
    """`KINDS`, the norm with the smallest sets of a block (N, C, H, W) first."""
    first = (0, 0, 0, 0)
    return sorted(KINDS, key=lambda kind: shared_statistics(x, kind, num_groups, first).set_size)


def influence(x: Tensor, kind: str, num_groups: int, cell: tuple[int, int, int, int]) -> Tensor:
    """(N, C, H, W): the derivative of one normalized cell in every cell of `x`, by autograd."""
    x = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(normalize(x, kind, num_groups)[cell], x)
    return gradient


# Which norm is this?

BOXES: dict[str, Callable[[Tensor], Tensor]] = {
    "batch norm, training": lambda x: normalize(x, "batch"),
    "batch norm, evaluation": lambda x: (x - 2) / 1.5,
    "layer norm over C, H, W": lambda x: normalize(x, "layer"),
    "layer norm over C, at each place": lambda x: F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]).permute(
        0, 3, 1, 2
    ),
    "instance norm": lambda x: normalize(x, "instance"),
    "group norm, 3 groups": lambda x: normalize(x, "group", 3),
    "RMS norm over C, H, W": lambda x: x / torch.sqrt((x**2).mean((1, 2, 3), keepdim=True) + 1e-5),
}


def black_boxes(seed: int) -> dict[str, str]:
    """Letters from A on, and which of `BOXES` is behind each."""
    names = list(BOXES)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    return {chr(ord("A") + k): names[place] for k, place in enumerate(order)}


def poke(name: str, x: Tensor, cell: tuple[int, int, int, int]) -> tuple[int, int, int]:
    """Add 1 to one cell of x (N, C, H, W): in how many samples, channels and places the output moves."""
    poked = x.clone()
    poked[cell] += 1
    moved = (BOXES[name](poked) - BOXES[name](x)).abs() > 1e-12
    places = moved.flatten(2).any(0).any(0)
    return int(moved.flatten(1).any(1).sum()), int(moved.any(0).flatten(1).any(1).sum()), int(places.sum())


def twins(x: Tensor, cell: tuple[int, int, int, int]) -> str:
    """The names of the `BOXES` that `poke` cannot tell from another one, joined by "and"."""
    found = {name: poke(name, x, cell) for name in BOXES}
    return " and ".join(name for name in BOXES if list(found.values()).count(found[name]) > 1)


def lift(name: str, x: Tensor) -> float:
    """Add 1 to all cells of the first sample: by how much its output moves at most."""
    lifted = x.clone()
    lifted[0] += 1
    return (BOXES[name](lifted) - BOXES[name](x))[0].abs().max().item()


# What a norm forgets


@dataclass(frozen=True, eq=False)
class Forgotten:
    """Changes of x and the norms that undo them.

    `moves` is (changes, kinds): the largest change of x_hat, with eps = 0.
    """

    changes: tuple[str, ...]
    kinds: tuple[str, ...]
    moves: Tensor

    @property
    def undone(self) -> list[tuple[str, str]]:
        """Of the additions: to whom a number was added, such as "every map", and a norm that undoes it."""
        return [
            (change.removeprefix("add a number for "), kind)
            for change, moves in zip(self.changes, self.moves, strict=True)
            for kind, moved in zip(self.kinds, moves, strict=True)
            if change.startswith("add") and moved < 1e-6
        ]


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
    """(2, 3, height, width), uint8: scikit-learn's two sample photographs, made smaller.

    Source: `load_sample_image`; the photographs are by danielbuechele ("china") and vultilion ("flower"),
    CC BY 2.0.
    """
    pictures = []
    for name in ("china.jpg", "flower.jpg"):
        pixels = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1).double()
        pictures.append(F.adaptive_avg_pool2d(pixels, (height, width)).round().to(torch.uint8))
    return torch.stack(pictures)


def scale_and_shift(
    content: Tensor,
    style: Tensor,
    *,
    mean: bool = True,
    std: bool = True,
    axes: tuple[int, ...] = (2, 3),
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """The scale and the shift that give `content` the mean, the standard deviation, or both, of `style`.

    Args:
        content: (N, C, H, W).
        style: (N, C, H', W').
        mean, std: which of the two are taken.
        axes: what shares a mean; (2, 3) is adaptive instance normalization.
        eps: added to both variances, inside the root.

    Returns:
        Two tensors to which `axes` has given length 1: scale * content + shift is what is asked for.

    Source: Huang & Belongie 2017, equation 8, where both are taken.
    """
    own_mean, own_std = mean_std(content, axes, eps)
    style_mean, style_std = mean_std(style, axes, eps)
    scale = style_std / own_std if std else torch.ones_like(own_std)
    return scale, (style_mean if mean else own_mean) - scale * own_mean


def mean_std(x: Tensor, axes: tuple[int, ...] = (2, 3), eps: float = 0.0) -> tuple[Tensor, Tensor]:
    """The mean and sqrt(var + eps) over `axes`, which are kept with length 1."""
    var, mean = torch.var_mean(x, dim=axes, correction=0, keepdim=True)
    return mean, torch.sqrt(var + eps)


@dataclass(frozen=True, eq=False)
class Swap:
    """Two images with values in [0, 1], (2, 3, H, W), and each with statistics of the other.

    `scale` and `shift`, (2, 3, 1, 1), make them what they become.
    """

    images: Tensor
    scale: Tensor
    shift: Tensor

    @property
    def swapped(self) -> Tensor:
        """(2, 3, H, W), not cut to [0, 1]."""
        return self.scale * self.images + self.shift


def swap_statistics(images: Tensor, strength: float, what: str, axes: tuple[int, ...]) -> Swap:
    """Let two images swap their statistics.

    Args:
        images: (2, 3, H, W), uint8; 255 is written as 1.
        strength: 0 leaves them as they are, 1 swaps fully; between, the two are mixed linearly, as in
            equation 14 of Huang & Belongie 2017.
        what: 'mean', 'std' or 'both'.
        axes: what shares a mean; (2, 3) or (1, 2, 3).
    """
    x = images.double() / 255
    scale, shift = scale_and_shift(x, x.flip(0), mean=what != "std", std=what != "mean", axes=axes)
    scale, shift = 1 + strength * (scale - 1), strength * shift
    return Swap(x, *(each.expand(2, 3, 1, 1) for each in (scale, shift)))


def colours(images: Tensor, axes: tuple[int, ...]) -> str:
    """What `swap_statistics` does to the colours of two images: "kept", "exchanged" or "mixed".

    The colours of an image are how its channels' means differ from their own mean, up to a positive factor.
    """
    swap = swap_statistics(images, 1, "both", axes)
    before, after = (
        F.normalize(x.mean((2, 3)) - x.mean((1, 2, 3))[:, None]) for x in (swap.images, swap.swapped)
    )
    wanted = {"kept": before, "exchanged": before.flip(0)}
    return next((name for name, tint in wanted.items() if torch.allclose(after, tint, atol=1e-6)), "mixed")


# The claims: what training with a norm makes a network ignore

CONTRASTS = (1.0, 0.5, 0.25, 0.125)
BRIGHTNESSES = (0.0, 0.25, 0.5, 1.0)
RATES = (0.01, 0.03)
HELD_OUT = 256  # training images that no net is trained on; they choose the rate


@dataclass(frozen=True)
class Net:
    """Two convolutions of 8 channels, each with a norm and a ReLU, and a linear layer.

    `norm`: one of `KINDS`; 'none', a scale alone; 'mean' and 'std', instance norm that only subtracts, or
    only divides. `padding`: 'zeros' or 'replicate' around the maps, which stay 8 x 8, with a bias in each
    convolution and in the last layer; '' for no padding and no bias. `standardized`: each image is brought
    to mean 0 and variance 1 first.
    """

    norm: str
    padding: str = ""
    standardized: bool = False


class SideBySide(nn.Module):
    """S networks of one kind, each with weights of its own; their channels lie beside one another.

    Args:
        net: what they are.
        seeds: S of them, which draw the weights.
        classes: outputs of each.
    """

    CHANNELS, GROUPS, EPS = 8, 2, 1e-5

    def __init__(self, net: Net, seeds: Sequence[int], classes: int = 10) -> None:
        super().__init__()
        self.net, self.runs = net, len(seeds)
        places = 64 if net.padding else 16
        shapes = {"first": (8, 1, 3, 3), "second": (8, 8, 3, 3), "last": (classes, 8 * places)}
        drawn = []
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            drawn.append([torch.randn(shape, generator=generator) for shape in shapes.values()])
        for k, name in enumerate(shapes):
            weight = torch.stack([row[k] for row in drawn])
            setattr(self, name, nn.Parameter(weight * (2 / weight[0, 0].numel()) ** 0.5))
        for k, fan_in in ((1, 9), (2, 72)):
            setattr(self, f"weight{k}", nn.Parameter(torch.ones(self.runs * self.CHANNELS)))
            setattr(self, f"bias{k}", nn.Parameter(torch.zeros(self.runs * self.CHANNELS)))
            # A convolution's own bias, drawn as PyTorch draws it.
            draws = [torch.rand(8, generator=torch.Generator().manual_seed(seed + k)) for seed in seeds]
            setattr(self, f"conv{k}", nn.Parameter((2 * torch.cat(draws) - 1) / fan_in**0.5))
            self.register_buffer(f"mean{k}", torch.zeros(self.runs * self.CHANNELS))
            self.register_buffer(f"var{k}", torch.ones(self.runs * self.CHANNELS))
        self.offset = nn.Parameter(torch.zeros(self.runs, 1, classes))

    def forward(self, x: Tensor) -> Tensor:
        """(S, N, classes). x is (S, N, 64)."""
        h = x.transpose(0, 1).unflatten(2, (8, 8))  # (N, S, 8, 8)
        if self.net.standardized:
            h = F.instance_norm(h, eps=self.EPS)
        for k, weight in enumerate((self.first, self.second), 1):
            if self.net.padding:
                mode = "constant" if self.net.padding == "zeros" else "replicate"
                h = F.pad(h, (1, 1, 1, 1), mode=mode)
            bias = getattr(self, f"conv{k}") if self.net.padding else None
            h = F.conv2d(h, weight.flatten(0, 1), bias, groups=self.runs)
            h = F.relu(self._normalized(h, k))
        h = h.unflatten(1, (self.runs, -1)).flatten(2).transpose(0, 1)
        y = torch.bmm(h, self.last.transpose(1, 2))
        return y + self.offset if self.net.padding else y

    def _normalized(self, h: Tensor, k: int) -> Tensor:
        weight, bias = getattr(self, f"weight{k}"), getattr(self, f"bias{k}")
        kind, width = self.net.norm, h.shape[1]
        if kind == "batch":
            mean, var = getattr(self, f"mean{k}"), getattr(self, f"var{k}")
            return F.batch_norm(h, mean, var, weight, bias, self.training, eps=self.EPS)
        groups = {"layer": self.runs, "group": self.runs * self.GROUPS, "instance": width}
        if kind in groups:
            return F.group_norm(h, groups[kind], weight, bias, eps=self.EPS)
        mean = h.mean((2, 3), keepdim=True)
        if kind == "mean":
            h = h - mean
        elif kind == "std":
            h = h / torch.sqrt(((h - mean) ** 2).mean((2, 3), keepdim=True) + self.EPS)
        h = h * weight.view(-1, 1, 1)
        return h if kind == "none" else h + bias.view(-1, 1, 1)

    def with_statistics_of(self, x: Tensor) -> Tensor:
        """(S, N, classes): in training mode, nothing stored; batch norm uses the statistics of x."""
        kept = {name: buffer.clone() for name, buffer in self.named_buffers()}
        self.train()
        y = self(x)
        self.eval()
        for name, buffer in self.named_buffers():
            buffer.copy_(kept[name])
        return y


def train_side_by_side(
    net: Net,
    x: Tensor,
    y: Tensor,
    seeds: Sequence[int],
    rate: float,
    epochs: int,
    classes: int = 10,
    batch_size: int = 64,
) -> SideBySide:
    """Train with Adam at a constant rate; the same batches for every net of a seed.

    Args:
        net: what is trained.
        x, y: (S, N, 64) and (S, N), for each seed its own.
        seeds: draw the weights and the batches.
        rate, epochs, batch_size: of Adam.
        classes: how many labels.
    """
    nets = SideBySide(net, seeds, classes)
    optimizer = torch.optim.Adam(nets.parameters(), lr=rate)
    generators = [torch.Generator().manual_seed(seed + 10_000) for seed in seeds]
    row = torch.arange(len(x))[:, None]
    for _ in range(epochs):
        orders = torch.stack([torch.randperm(x.shape[1], generator=each) for each in generators])
        for index in orders.split(batch_size, dim=1):
            optimizer.zero_grad()
            logits = nets(x[row, index])
            # A sum over the nets: each gets the gradient that it would have alone.
            loss = F.cross_entropy(logits.flatten(0, 1), y[row, index].flatten(), reduction="sum")
            (loss / index.shape[1]).backward()
            optimizer.step()
    return nets.eval()


def _right(logits: Tensor, y: Tensor) -> Tensor:
    """(S,): the share that is right, in percent."""
    return 100 * (logits.argmax(-1) == y).float().mean(1)


@dataclass(frozen=True, eq=False)
class Light:
    """Test accuracy in percent under lights that training did not have, at the best of `RATES`.

    `contrast` (S, A): the images a * x. `brightness` (S, B): x + b. `each` (S,): every image with a
    contrast of its own, log-uniform between 1/8 and 1. `renewed_contrast`, `renewed_each`: the same with
    the statistics of the test images, where these matter.
    """

    rate: float
    contrast: Tensor
    brightness: Tensor
    each: Tensor
    renewed_contrast: Tensor
    renewed_each: Tensor

    @property
    def by_division(self) -> tuple[Tensor, Tensor]:
        """(A,) and (A,): what the contrast is divided by, and the accuracy there, the median of the seeds."""
        return 1 / torch.tensor(CONTRASTS), self.contrast.median(0).values


#: The arms of the first claim.
LIGHT = {
    **{kind: Net(kind) for kind in ("none", *KINDS)},
    **{f"{kind}, padded": Net(kind, "zeros") for kind in ("none", *KINDS)},
    "instance, replicated": Net("instance", "replicate"),
    "mean only, padded": Net("mean", "zeros"),
    "std only, padded": Net("std", "zeros"),
    "standardized, batch": Net("batch", "zeros", True),
    "standardized, none": Net("none", "zeros", True),
}


def changed_light(
    seeds: Sequence[int], each: Callable[[Iterable], Iterable] = iter, epochs: int = 4
) -> dict[str, Light]:
    """Train all of `LIGHT` on digits as they are; test them on digits in another light.

    Each arm takes the rate with the best mean accuracy on held-out training images as they are. A seed draws
    the split, the weights, the batches and the contrasts.

    Source of the claim: Ulyanov, Vedaldi & Lempitsky 2016, section 2.
    """
    seeds = list(seeds)
    train_x, train_y, test_x, test_y = _stacked(seeds)
    (train_x, held_x), (train_y, held_y) = _held_out(train_x), _held_out(train_y)
    draws = [torch.rand(test_x.shape[1], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    own = 8.0 ** -torch.stack(draws)[:, :, None] * test_x
    results = {}
    for name in each(LIGHT):
        trained = [train_side_by_side(LIGHT[name], train_x, train_y, seeds, rate, epochs) for rate in RATES]
        with torch.no_grad():
            chosen_by = [_right(nets(held_x), held_y).mean().item() for nets in trained]
            best = max(range(len(RATES)), key=chosen_by.__getitem__)
            nets = trained[best]
            results[name] = Light(
                RATES[best],
                torch.stack([_right(nets(a * test_x), test_y) for a in CONTRASTS], 1),
                torch.stack([_right(nets(test_x + b), test_y) for b in BRIGHTNESSES], 1),
                _right(nets(own), test_y),
                torch.stack([_right(nets.with_statistics_of(a * test_x), test_y) for a in CONTRASTS], 1),
                _right(nets.with_statistics_of(own), test_y),
            )
    return results


def _stacked(seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images (S, N, 64) and labels (S, N), test images and labels."""
    digits = [split_digits(seed) for seed in seeds]
    return tuple(
        torch.stack([getattr(each, name) for each in digits])
        for name in ("train_x", "train_y", "test_x", "test_y")
    )


def _held_out(part: Tensor) -> tuple[Tensor, Tensor]:
    """What is trained on, and the last `HELD_OUT` images, which choose the rate. part: (S, N, ...)."""
    return part.split([part.shape[1] - HELD_OUT, HELD_OUT], dim=1)


#: The arms of the second claim: which light is the label, and the network.
PRICE = (
    *(
        (what, Net(norm, padding))
        for what in ("brightness", "contrast")
        for padding in ("", "zeros")
        for norm in ("none", "batch", "layer", "instance")
    ),
    ("brightness", Net("instance", "replicate")),
)


def light_as_label(
    seeds: Sequence[int], each: Callable[[Iterable], Iterable] = iter, epochs: int = 3
) -> dict[tuple[str, Net], Tensor]:
    """Test accuracy in percent, (S,), where the label says whether an image was made brighter, or paler.

    A coin of each image decides: x + 0.5 or x for 'brightness', x / 2 or x for 'contrast'. The better of
    `RATES` on held-out training images.
    """
    seeds = list(seeds)
    train_x, _, test_x, _ = _stacked(seeds)
    generators = [torch.Generator().manual_seed(seed + 20_000) for seed in seeds]
    train_y, test_y = (
        torch.stack([torch.randint(2, part.shape[1:2], generator=g) for g in generators])
        for part in (train_x, test_x)
    )

    def lit(x: Tensor, y: Tensor, what: str) -> Tensor:
        coin = y[:, :, None].float()
        return x + 0.5 * coin if what == "brightness" else x * (1 - 0.5 * coin)

    kept_y, held_y = _held_out(train_y)
    results = {}
    for what, net in each(PRICE):
        kept_x, held_x = _held_out(lit(train_x, train_y, what))
        tried = []
        for rate in RATES:
            nets = train_side_by_side(net, kept_x, kept_y, seeds, rate, epochs, classes=2)
            with torch.no_grad():
                chosen_by = _right(nets(held_x), held_y).mean().item()
                tried.append((chosen_by, _right(nets(lit(test_x, test_y, what)), test_y)))
        _, results[what, net] = max(tried, key=lambda each_rate: each_rate[0])
    return results


def told(arms: dict[tuple[str, Net], Tensor], percent: float) -> list[tuple[str, str]]:
    """Which nets without padding tell which light, by an accuracy above this: ("no norm", "contrast")."""
    names = {"none": "no norm"} | {kind: f"{kind} norm" for kind in KINDS}
    return [
        (names[net.norm], what)
        for (what, net), accuracy in arms.items()
        if not net.padding and accuracy.median() > percent
    ]


def judge_light(arms: dict[str, Light]) -> list[Finding]:
    """The sentences of the first verdict."""

    def lost(values: Tensor) -> Tensor:
        """(S,): the largest loss against the first column, in points."""
        return (values[:, :1] - values).amax(1)

    batch, instance = arms["batch, padded"], arms["instance, padded"]
    means, stds = arms["mean only, padded"], arms["std only, padded"]
    plain = arms["standardized, none"]
    return [
        Finding(
            "a quarter of the contrast: batch norm loses 10 points or more, padded or not",
            (arms["batch"].contrast[:, 0] - arms["batch"].contrast[:, 2] >= 10)
            & (batch.contrast[:, 0] - batch.contrast[:, 2] >= 10),
            at_least=4,
        ),
        Finding(
            "neither padding nor bias: instance, layer, group norm and no norm lose less than 1 point",
            torch.stack(
                [lost(arms[kind].contrast) < 1 for kind in ("none", "layer", "instance", "group")]
            ).all(0),
        ),
        Finding("padding and bias: instance norm loses less than 1 point", lost(instance.contrast) < 1),
        Finding(
            "padding and bias, an eighth of the contrast: layer and no norm lose 5 points or more",
            torch.stack(
                [
                    arms[f"{kind}, padded"].contrast[:, 0] - arms[f"{kind}, padded"].contrast[:, 3] >= 5
                    for kind in ("layer", "none")
                ]
            ).all(0),
            at_least=4,
        ),
        Finding(
            "padding and bias: group norm loses more than instance norm",
            lost(arms["group, padded"].contrast) > lost(instance.contrast),
            at_least=4,
        ),
        Finding(
            "padding and bias, an eighth of the contrast: only dividing loses 3 points or more",
            stds.contrast[:, 0] - stds.contrast[:, 3] >= 3,
            at_least=4,
        ),
        Finding(
            "padding and bias: only subtracting loses more than instance norm",
            lost(means.contrast) > lost(instance.contrast),
            at_least=3,
        ),
        Finding(
            "one contrast for all: batch norm with the test images' statistics loses less than 2 points",
            lost(batch.renewed_contrast) < 2,
        ),
        Finding(
            "a contrast for each image: the same is behind instance norm",
            batch.renewed_each < instance.each,
            at_least=4,
        ),
        Finding(
            "brighter by 1: instance norm loses less than 1 point unpadded, 1 or more with zeros around",
            (lost(arms["instance"].brightness) < 1) & (lost(instance.brightness) >= 1),
            at_least=3,
        ),
        Finding(
            "with the border replicated instead of zeros: less than 1 point",
            lost(arms["instance, replicated"].brightness) < 1,
        ),
        Finding(
            "images standardized one by one, no norm in the net: less than 1 point in any light",
            (lost(plain.contrast) < 1) & (lost(plain.brightness) < 1),
        ),
    ]


def judge_price(arms: dict[tuple[str, Net], Tensor]) -> list[Finding]:
    """The sentences of the second verdict."""

    def guesses(what: str, norm: str, padding: str) -> Tensor:
        return (arms[what, Net(norm, padding)] - 50).abs() < 12

    def knows(what: str, norm: str, padding: str) -> Tensor:
        return arms[what, Net(norm, padding)] > 95

    return [
        Finding(
            "brightness is the label, no padding: instance norm guesses",
            guesses("brightness", "instance", ""),
        ),
        Finding(
            "batch and layer norm are above 95 %",
            knows("brightness", "batch", "") & knows("brightness", "layer", ""),
        ),
        Finding("no norm is above 95 %", knows("brightness", "none", ""), at_least=4),
        Finding("zeros around: instance norm is above 95 % too", knows("brightness", "instance", "zeros")),
        Finding("the border replicated: it guesses again", guesses("brightness", "instance", "replicate")),
        Finding(
            "contrast is the label: instance norm guesses, with and without padding and bias",
            guesses("contrast", "instance", "") & guesses("contrast", "instance", "zeros"),
        ),
        Finding(
            "layer norm and no norm guess without, and are above 95 % with them",
            torch.stack(
                [guesses("contrast", n, "") & knows("contrast", n, "zeros") for n in ("layer", "none")]
            ).all(0),
        ),
        Finding(
            "batch norm is above 95 %, padded or not",
            knows("contrast", "batch", "") & knows("contrast", "batch", "zeros"),
        ),
    ]


CLAIMS = {
    "light": Claim(
        "Instance norm in place of batch norm makes a network independent of an image's contrast.",
        changed_light,
        judge_light,
    ),
    "price": Claim(
        "Where brightness is the label, a network with instance norm can only guess.",
        light_as_label,
        judge_price,
    ),
}
