"""Day 25: gradients through deep networks, and the bowl that features of unlike scale make.

All networks here are stacks of square layers without biases, `h = activation(h @ weight)`, optionally
with batch normalization (gamma 1, beta 0) before the activation, and a linear map to ten classes.
K of them run side by side: weights are (K, inputs, outputs), activations (K, N, width).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from course.experiments.digits import Digits, split_digits
from course.experiments.verdicts import Claim, Finding

WIDTH = 32
CLASSES = 10

#: What a layer does with its sums; "linear" leaves them as they are.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda z: z,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "ReLU": torch.relu,
}


def standardize(x: Tensor, eps: float = 1e-5, dim: int = 0) -> Tensor:
    """Every feature at mean 0 and (biased) variance 1 over the samples, which run along `dim`."""
    centred = x - x.mean(dim, keepdim=True)
    return centred * (centred.square().mean(dim, keepdim=True) + eps).rsqrt()


# -- deep networks


@cache
def digits_for(seed: int) -> Digits:
    """Digits in float64 with pixels standardized by the training part; a pixel that is nearly always
    blank stays small, because its standard deviation is not taken below 0.1."""
    digits = split_digits(seed, dtype=torch.float64)
    mean, std = digits.train_x.mean(0), digits.train_x.std(0, correction=0).clamp_min(0.1)
    return Digits((digits.train_x - mean) / std, digits.train_y, (digits.test_x - mean) / std, digits.test_y)


def _drawn(data: Sequence[Digits], orders: Sequence[torch.Generator], size: int) -> tuple[Tensor, Tensor]:
    """A batch of `size` training images (S, size, 64) and labels (S, size), each seed's by its own order."""
    picks = [
        torch.randint(len(d.train_x), (size,), generator=order) for d, order in zip(data, orders, strict=True)
    ]
    x = torch.stack([d.train_x[pick] for d, pick in zip(data, picks, strict=True)])
    return x, torch.stack([d.train_y[pick] for d, pick in zip(data, picks, strict=True)])


def deep_weights(depth: int, gains: Sequence[float], seeds: Sequence[int]) -> list[Tensor]:
    """Weights of len(gains) networks of `depth` layers, and of the linear map behind them.

    The entries of layer l have mean 0 and standard deviation gain / sqrt(inputs). The map behind has
    gain 1 in every network. Networks with the same seed differ in nothing but the gain.

    Returns:
        depth + 1 tensors, (K, 64, width), then (K, width, width), last (K, width, 10).
    """
    sizes = [64, *[WIDTH] * depth, CLASSES]
    networks = []
    for gain, seed in zip(gains, seeds, strict=True):
        generator = torch.Generator().manual_seed(seed)
        readout = torch.randn(WIDTH, CLASSES, generator=generator, dtype=torch.float64)
        layers = [
            gain / math.sqrt(rows) * torch.randn(rows, columns, generator=generator, dtype=torch.float64)
            for rows, columns in itertools.pairwise(sizes[:-1])
        ]
        networks.append([*layers, readout / math.sqrt(WIDTH)])
    return [torch.stack(layer) for layer in zip(*networks, strict=True)]


def run(
    weights: list[Tensor], x: Tensor, activation: str, normalized: bool, residual: bool = False
) -> tuple[Tensor, list[Tensor]]:
    """Logits (K, N, 10) and the output of each layer (K, N, width) for `x` (K, N, 64).

    With `residual`, each layer from the second on adds its input to its output (He et al. 2016).
    """
    function, outputs = ACTIVATIONS[activation], []
    for weight in weights[:-1]:
        z = x @ weight
        h = function(standardize(z, dim=1) if normalized else z)
        x = x + h if residual and outputs else h
        outputs.append(x)
    return x @ weights[-1], outputs


def cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """(K,): the mean cross-entropy of each network, for logits (K, N, 10) and labels (K, N)."""
    return F.cross_entropy(logits.movedim(-1, 1), labels, reduction="none").mean(1)


@dataclass(frozen=True, eq=False)
class LayerReport:
    """What K networks look like before any training, layer by layer.

    gradients: (K, depth), Euclidean norm of d loss / d weight. arriving: (K, depth), that of d loss / d h for
    the output h of each layer. activations: (K, depth), standard deviation of all numbers in the output of a
    layer.
    """

    gradients: Tensor
    arriving: Tensor
    activations: Tensor

    @property
    def ratio(self) -> Tensor:
        """(K,): the gradient of the first layer over that of the last."""
        return self.gradients[:, 0] / self.gradients[:, -1]

    @property
    def curves(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Of the first network: layers and norms, by what the norm is taken of."""
        norms = {"dL/dW": self.gradients[0], "dL/dh": self.arriving[0]}
        return {name: (torch.arange(1, len(values) + 1), values) for name, values in norms.items()}


def network_report(
    weights: Sequence[Tensor], x: Tensor, labels: Tensor, activation: str, normalized: bool
) -> LayerReport:
    """One batch x (K, N, 64), labels (K, N), forward and back through K networks of these weights.

    Raises:
        KeyError: no such activation.
    """
    weights = [weight.detach().requires_grad_() for weight in weights]
    logits, outputs = run(weights, x, activation, normalized)
    grads = torch.autograd.grad(cross_entropies(logits, labels).sum(), [*weights[:-1], *outputs])
    norms = torch.stack([grad.flatten(1).norm(dim=1) for grad in grads], dim=1)
    return LayerReport(
        norms[:, : len(outputs)],
        norms[:, len(outputs) :],
        torch.stack([output.detach().flatten(1).std(1, correction=0) for output in outputs], dim=1),
    )


def layer_report(
    depth: int,
    activation: str,
    gains: Sequence[float],
    seeds: Sequence[int],
    normalized: bool,
    batch_size: int = 64,
) -> LayerReport:
    """One batch of digits forward and back through len(gains) networks.

    Raises:
        KeyError: no such activation.
    """
    x = torch.stack([digits_for(seed).train_x[:batch_size] for seed in seeds])
    labels = torch.stack([digits_for(seed).train_y[:batch_size] for seed in seeds])
    return network_report(deep_weights(depth, gains, seeds), x, labels, activation, normalized)


@dataclass(frozen=True, eq=False)
class GainSweep:
    """The norm of the first layer's gradient before any training, (G, S), a row per gain and a column per
    seed, by activation."""

    depth: int
    gains: Tensor
    plain: dict[str, Tensor]
    normalized: dict[str, Tensor]

    @staticmethod
    def decades(norms: Tensor) -> Tensor:
        """(S,): how many powers of ten lie between the smallest and the largest of a seed's norms."""
        return (norms.amax(0) / norms.amin(0)).log10()


def gain_sweep(
    gains: Tensor, seeds: Sequence[int], depth: int = 30, activations: Sequence[str] = ("tanh", "ReLU")
) -> GainSweep:
    """`layer_report` for every gain and seed, plain and normalized."""
    pairs = [(gain, seed) for gain in gains.tolist() for seed in seeds]
    all_gains, all_seeds = zip(*pairs, strict=True)
    plain, normalized = (
        {
            name: layer_report(depth, name, all_gains, all_seeds, norm).gradients[:, 0].view(-1, len(seeds))
            for name in activations
        }
        for norm in (False, True)
    )
    return GainSweep(depth, gains, plain, normalized)


@dataclass(frozen=True, eq=False)
class Training:
    """Networks after training, for G gains, R learning rates and S seeds.

    gains: (G,). rates: (R,). losses: (G, R, S), the mean training loss of the last ten steps; infinite where
    it is not finite. accuracies: step -> (G, R, S), on the test images after so many steps.
    """

    gains: Tensor
    rates: Tensor
    losses: Tensor
    accuracies: dict[int, Tensor]

    @property
    def accuracy(self) -> Tensor:
        """(G, R, S): after the last step."""
        return self.accuracies[max(self.accuracies)]

    @property
    def best(self) -> Tensor:
        """(G,): for each gain the number of the rate at which the worst seed has the lowest training loss."""
        return self.losses.amax(2).argmin(1)

    def own(self, step: int | None = None) -> Tensor:
        """(G, S): accuracies, each gain at its best rate."""
        accuracy = self.accuracy if step is None else self.accuracies[step]
        return accuracy[torch.arange(len(self.gains)), self.best]

    def each_own(self, step: int | None = None) -> Tensor:
        """(G, S): accuracies, each gain and seed at the rate at which it ends with the lowest loss."""
        accuracy = self.accuracy if step is None else self.accuracies[step]
        return accuracy.gather(1, self.losses.argmin(1, keepdim=True))[:, 0]

    def at(self, rate: float) -> Tensor:
        """(G, S): accuracies at the rate that is nearest."""
        return self.accuracy[:, (self.rates / rate).log().abs().argmin()]


def train_deep(
    gains: Sequence[float],
    rates: Sequence[float],
    seeds: Sequence[int],
    *,
    normalized: bool,
    residual: bool = False,
    adam: bool = False,
    squared: bool = False,
    depth: int = 10,
    activation: str = "ReLU",
    steps: int = 60,
    batch_size: int = 64,
    read: Sequence[int] = (),
) -> Training:
    """Train on digits, all gains, rates and seeds side by side, in float32.

    The test batch is normalized by its own statistics; stored ones are the subject of day 27. A network
    whose outputs are not finite counts as a guess, an accuracy of 0.1.

    Args:
        gains: G of them.
        rates: R learning rates.
        seeds: S of them; each draws the split, the weights and the batches.
        normalized, residual: the network, as in `run`.
        adam: Adam with its usual constants (0.9, 0.999, 1e-8) in place of gradient descent.
        squared: the learning rate is rate · gain².
        read: steps after which test accuracies are taken, besides the last.
    """
    many = [
        (gain, rate * gain**2 if squared else rate, seed)
        for gain in gains
        for rate in rates
        for seed in seeds
    ]
    all_gains, all_rates, all_seeds = zip(*many, strict=True)
    settings, size = len(gains) * len(rates), (len(gains), len(rates), len(seeds))
    lr = torch.tensor(all_rates, dtype=torch.float32)[:, None, None]
    data = [digits_for(seed) for seed in seeds]
    test_x = torch.stack([d.test_x for d in data]).float().repeat(settings, 1, 1)
    test_y = torch.stack([d.test_y for d in data]).repeat(settings, 1)
    weights = [weight.float() for weight in deep_weights(depth, all_gains, all_seeds)]
    first, second = ([torch.zeros_like(weight) for weight in weights] for _ in range(2))
    orders = [torch.Generator().manual_seed(seed) for seed in seeds]
    losses, accuracies = [], {}
    for step in range(1, steps + 1):
        x, y = _drawn(data, orders, batch_size)
        weights = [weight.requires_grad_() for weight in weights]
        logits, _ = run(weights, x.float().repeat(settings, 1, 1), activation, normalized, residual)
        loss = cross_entropies(logits, y.repeat(settings, 1))
        losses.append(loss.detach())
        grads = torch.autograd.grad(loss.sum(), weights)
        if adam:
            first = [0.9 * m + 0.1 * grad for m, grad in zip(first, grads, strict=True)]
            second = [0.999 * v + 0.001 * grad.square() for v, grad in zip(second, grads, strict=True)]
            grads = [
                m / (1 - 0.9**step) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
                for m, v in zip(first, second, strict=True)
            ]
        weights = [weight.detach() - lr * grad for weight, grad in zip(weights, grads, strict=True)]
        if step in read or step == steps:
            logits, _ = run(weights, test_x, activation, normalized, residual)
            right = (logits.argmax(-1) == test_y).double().mean(1)
            right = torch.where(logits.isfinite().flatten(1).all(1), right, 1 / CLASSES)
            accuracies[step] = right.view(size)
    last = torch.stack(losses[-10:]).double().mean(0)
    last = torch.where(last.isfinite(), last, torch.inf).view(size)
    return Training(
        torch.tensor(gains, dtype=torch.float64), torch.tensor(rates, dtype=torch.float64), last, accuracies
    )


# -- inner layers


def centred(h: Tensor) -> Tensor:
    """(N, D) with the mean of every column taken away."""
    return h - h.mean(0)


#: What a layer makes of its sums (N, width), by name.
LAYERS: dict[str, Callable[[Tensor], Tensor]] = {
    "ReLU": torch.relu,
    "no ReLU": lambda z: z,
    "ReLU, centred": lambda z: centred(torch.relu(z)),
    "ReLU, then standardized": lambda z: standardize(torch.relu(z)),
    "batch norm, then ReLU": lambda z: torch.relu(standardize(z)),
}


#: Inputs for each unit of a layer that is narrower than what it is given.
NARROWER = 4


@dataclass(frozen=True, eq=False)
class InnerConditions:
    """Condition number of hᵀh / N for the features h that each layer is given, by name of `LAYERS`,
    (S, depth + 1); column 0 are the inputs of the network.

    random: with independent normal weights. orthogonal: with weights that are √2 times a random rotation.
    narrowing: (S,) for the features that layer 2 is given where layer 1 has `NARROWER` times as many inputs
    as units, with independent normal weights.
    """

    random: dict[str, Tensor]
    orthogonal: dict[str, Tensor]
    narrowing: dict[str, Tensor]

    @property
    def without_relu(self) -> str:
        """Layer 2 with random weights and no ReLU, in the median: "round", within twice the inputs' number,
        "longer" than with ReLU, or "between" the two."""
        alone, found = (self.random[name].median(0).values for name in ("no ReLU", "ReLU"))
        return "round" if alone[1] <= 2 * alone[0] else "longer" if alone[1] > found[1] else "between"


def inner_conditions(
    seeds: Sequence[int], depth: int = 4, width: int = 16, num_samples: int = 2000
) -> InnerConditions:
    """How round the bowl of a layer's weights is, layer by layer, in an untrained network.

    Inputs are independent standard normal numbers: as round as inputs can be. The random weights are He's,
    of standard deviation sqrt(2 / width).
    """
    found: tuple[dict, dict] = ({}, {})
    narrowing: dict[str, list[float]] = {}
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        inputs = torch.randn(num_samples, width, generator=generator, dtype=torch.float64)
        matrices = torch.randn(depth, width, width, generator=generator, dtype=torch.float64)
        kinds = math.sqrt(2 / width) * matrices, math.sqrt(2) * torch.linalg.qr(matrices)[0]
        for rows, weights in zip(found, kinds, strict=True):
            for name, layer in LAYERS.items():
                h = standardize(inputs)
                conditions = [condition_number(h)]
                for weight in weights:
                    h = layer(h @ weight)
                    conditions.append(condition_number(h))
                rows.setdefault(name, []).append(conditions)
        fan_in = NARROWER * width
        inputs = standardize(torch.randn(num_samples, fan_in, generator=generator, dtype=torch.float64))
        weight = torch.randn(fan_in, width, generator=generator, dtype=torch.float64)
        sums = inputs @ (math.sqrt(2 / fan_in) * weight)
        for name, layer in LAYERS.items():
            narrowing.setdefault(name, []).append(condition_number(layer(sums)))
    return InnerConditions(
        *(
            {name: torch.tensor(rows, dtype=torch.float64) for name, rows in kind.items()}
            for kind in (*found, narrowing)
        )
    )


def judge_inner(conditions: InnerConditions) -> list[Finding]:
    """What stands of the claim that ReLU spoils the inputs of the second layer."""
    random, orthogonal = (
        {name: values[:, 1] for name, values in kind.items()}
        for kind in (conditions.random, conditions.orthogonal)
    )
    deep = conditions.random["ReLU"][:, -1] / conditions.random["batch norm, then ReLU"][:, -1]
    narrow = conditions.narrowing
    return [
        Finding(
            "square random weights, ReLU: layer 2's bowl is ten times as long as the inputs' or more",
            random["ReLU"] >= 10 * conditions.random["ReLU"][:, 0],
        ),
        Finding("the same without ReLU: it is longer still", random["no ReLU"] > random["ReLU"]),
        Finding(
            f"random weights, {NARROWER} inputs for each unit: longer with ReLU than without",
            narrow["ReLU"] > narrow["no ReLU"],
        ),
        Finding(
            "the same, with ReLU, centred: less than half as long",
            narrow["ReLU, centred"] < 0.5 * narrow["ReLU"],
        ),
        Finding(
            "rotations, no ReLU: it is as round as the inputs'",
            (orthogonal["no ReLU"] / conditions.orthogonal["no ReLU"][:, 0] - 1).abs() < 1e-6,
        ),
        Finding("rotations, ReLU: between 5 and 20", (orthogonal["ReLU"] > 5) & (orthogonal["ReLU"] < 20)),
        Finding("rotations, ReLU, centred: below 2", orthogonal["ReLU, centred"] < 2),
        Finding(
            "random weights, batch norm before ReLU: layer 2 still above 20",
            random["batch norm, then ReLU"] > 20,
        ),
        Finding("random weights: at layer 5, plain is longer than with batch norm", deep > 1),
    ]


@dataclass(frozen=True, eq=False)
class Drift:
    """Standard deviation of each layer's output in training, (S, steps + 1, depth)."""

    stds: Tensor

    @property
    def change(self) -> Tensor:
        """(S, depth): the last over the first."""
        return self.stds[:, -1] / self.stds[:, 0]


def drift_of_scales(
    seeds: Sequence[int], *, depth: int = 5, lr: float = 0.1, steps: int = 150, batch_size: int = 64
) -> Drift:
    """Scale a tanh network's layers once so that every sum has standard deviation 1, then train it.

    The standard deviation is that of all sums of a layer (before tanh) on 256 training images that
    stay the same.
    """
    weights = deep_weights(depth, [1.0] * len(seeds), seeds)
    data = [digits_for(seed) for seed in seeds]
    probe = torch.stack([d.train_x[:256] for d in data])

    def scales() -> list[Tensor]:
        h, stds = probe, []
        for weight in weights[:-1]:
            z = h @ weight
            stds.append(z.flatten(1).std(1, correction=0))
            h = torch.tanh(z)
        return stds

    for layer in range(depth):
        weights[layer] = weights[layer] / scales()[layer][:, None, None]
    orders = [torch.Generator().manual_seed(seed) for seed in seeds]
    rows = [torch.stack(scales(), dim=1)]
    for _ in range(steps):
        x, labels = _drawn(data, orders, batch_size)
        weights = [weight.detach().requires_grad_() for weight in weights]
        logits, _ = run(weights, x, "tanh", normalized=False)
        grads = torch.autograd.grad(cross_entropies(logits, labels).sum(), weights)
        weights = [weight.detach() - lr * grad for weight, grad in zip(weights, grads, strict=True)]
        rows.append(torch.stack(scales(), dim=1))
    return Drift(torch.stack(rows, dim=1))


# -- the bowl of least squares


def hessian(x: Tensor) -> Tensor:
    """xᵀx / N, the Hessian of 1/(2N) Σ (x·w − t)² in w, for x (N, D); shape (D, D)."""
    return x.T @ x / len(x)


def condition_number(x: Tensor) -> float:
    """Largest over smallest eigenvalue of the Hessian of least squares on `x` (N, D)."""
    values = torch.linalg.svdvals(x)  # their squares are N times the eigenvalues
    return (values[0] / values[-1]).square().item()


def cloud(num_samples: int, correlation: float, seed: int = 25) -> Tensor:
    """(N, 2): two features of mean 0 and variance 1 with exactly this correlation, in the sample."""
    generator = torch.Generator().manual_seed(seed)
    raw = standardize(torch.randn(num_samples, 2, generator=generator, dtype=torch.float64), eps=0.0)
    white = torch.linalg.solve_triangular(
        torch.linalg.cholesky(hessian(raw)), raw.T.contiguous(), upper=False
    ).T
    first, second = white.unbind(1)
    return torch.stack([first, correlation * first + math.sqrt(1 - correlation**2) * second], dim=1)


@dataclass(frozen=True, eq=False)
class Bowl:
    """Two features, the level lines of their loss, and a descent into it.

    x: (N, 2). eigenvalues: (2,), smallest first. level: (P, 2), a level line round the minimum; its long
    half axis is 1. path: (steps + 1, 2), distances from the minimum in the same unit. losses:
    (steps + 1,), as a part of the first.
    """

    x: Tensor
    eigenvalues: Tensor
    level: Tensor
    path: Tensor
    losses: Tensor

    @property
    def condition_number(self) -> float:
        return (self.eigenvalues[1] / self.eigenvalues[0]).item()

    @property
    def steps_to(self) -> int:
        """Steps until the loss is 0.1% of the first; it may be more than the path has."""
        factor = ((self.condition_number - 1) / (self.condition_number + 1)) ** 2
        return 1 if factor <= 0.001 else math.ceil(math.log(0.001) / math.log(factor))

    @property
    def flat(self) -> str:
        """The weight along which the level line is longest, "w1" or "w2"."""
        return ("w1", "w2")[int(self.level.abs().amax(0).argmax())]


def bowl(x: Tensor, steps: int = 40, points: int = 120) -> Bowl:
    """The bowl of least squares on `x` (N, 2), and gradient descent with the best constant learning
    rate, 2 / (λ_max + λ_min). It starts on `level`, where both main directions hold half of the loss.
    """
    values, vectors = torch.linalg.eigh(hessian(x))
    if values[1] - values[0] < 1e-9 * values[1]:
        vectors = torch.eye(2, dtype=x.dtype)  # in a round bowl, every direction is a main one
    # An eigenvector has no sign of its own.
    vectors = vectors * torch.where(vectors[0] + 0.6 * vectors[1] < 0, -1.0, 1.0)
    lengths = (values[0] / values).sqrt()  # half axes of the level line
    angles = torch.linspace(0, 2 * math.pi, points, dtype=x.dtype)
    level = torch.stack([angles.cos(), angles.sin()], dim=1) * lengths @ vectors.T
    factors = 1 - 2 / values.sum() * values
    powers = factors ** torch.arange(steps + 1, dtype=x.dtype)[:, None]
    coordinates = lengths * math.sqrt(0.5) * powers
    losses = (coordinates.square() * values).sum(1)
    return Bowl(x, values, level, coordinates @ vectors.T, losses / losses[0])


def partly_standardized(x: Tensor, part: float) -> Tensor:
    """(1 − part) x + part x_hat: part 0 is x, part 1 is x standardized."""
    return (1 - part) * x + part * standardize(x, eps=0.0)


# -- the scale of the weights


GAINS = (0.5, 1.0, math.sqrt(2), 2.0, 2.8)
#: Name -> what is trained in `train_deep`, over `GAINS`.
ARMS: dict[str, Mapping[str, Any]] = {
    "plain": {"normalized": False, "rates": (0.0003, 0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)},
    "plain, Adam": {"normalized": False, "rates": (0.001, 0.003, 0.01, 0.03), "adam": True},
    "plain, residual": {
        "normalized": False,
        "rates": (0.0001, 0.001, 0.01, 0.03, 0.1, 0.3),
        "residual": True,
    },
    "batch norm": {"normalized": True, "rates": (0.03, 0.1, 0.3, 1.0, 3.0)},
    "batch norm, rate ∝ gain²": {"normalized": True, "rates": (0.3,), "squared": True},
}
BATCHES = (8, 64, 512)
DEPTHS = (5, 10, 20, 30)
LONG = 400  # steps
STARTED = (0, 1, 10, 100)  # steps after which the first gradient is compared with the last


def ratio_in_training(seeds: Sequence[int], held: bool, rate: float = 0.1, depth: int = 30) -> Tensor:
    """(len(STARTED), S): first over last gradient of ReLU layers with batch norm, after so many steps.

    Gradient descent on batches of 64, gain √2. The gradients are those of one batch, the same each time.
    held: the weights of each feature are brought back to their first length after each step.
    """
    data = [digits_for(seed) for seed in seeds]
    orders = [torch.Generator().manual_seed(seed) for seed in seeds]
    seen = torch.stack([d.train_x[:64] for d in data]), torch.stack([d.train_y[:64] for d in data])
    weights, rows = deep_weights(depth, [math.sqrt(2)] * len(seeds), seeds), []
    lengths = [weight.norm(dim=1, keepdim=True) for weight in weights[:-1]]
    for step in range(max(STARTED) + 1):
        if step in STARTED:
            rows.append(network_report(weights, *seen, "ReLU", True).ratio)
        x, y = _drawn(data, orders, 64)
        weights = [weight.detach().requires_grad_() for weight in weights]
        logits, _ = run(weights, x, "ReLU", normalized=True)
        grads = torch.autograd.grad(cross_entropies(logits, y).sum(), weights)
        weights = [weight.detach() - rate * grad for weight, grad in zip(weights, grads, strict=True)]
        if held:
            *hidden, last = weights
            pairs = zip(hidden, lengths, strict=True)
            weights = [weight * (length / weight.norm(dim=1, keepdim=True)) for weight, length in pairs]
            weights.append(last)
    return torch.stack(rows)


@dataclass(frozen=True, eq=False)
class Scale:
    """The experiment on the scale of the weights and its controls.

    sweep: before training. trained: name of `ARMS` -> after 60 steps. long: "plain" at gains of 1, √2 and 2,
    "batch norm" at √2, after `LONG` steps. batches: activation, normalized -> first over last gradient in 30
    layers, (len(BATCHES), S); depths: activation -> the same with batch norm and batches of 64,
    (len(DEPTHS), S). started: lengths of the weights held or not -> first over last
    gradient in training, (len(STARTED), S).
    """

    sweep: GainSweep
    trained: dict[str, Training]
    long: dict[str, Training]
    batches: dict[tuple[str, bool], Tensor]
    depths: dict[str, Tensor]
    started: dict[bool, Tensor]

    @property
    def at_one_rate(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Gains and median accuracies at a learning rate of 0.1: name -> (G,), (G,)."""
        arms = {name: self.trained[name] for name in ("batch norm", "plain")}
        return {name: (arm.gains, arm.at(0.1).median(1).values) for name, arm in arms.items()}

    def first_over_last(self, activation: str, batch: int) -> float:
        """With batch norm in 30 layers, the median of the seeds."""
        return self.batches[activation, True][BATCHES.index(batch)].median().item()


def scale_of_weights(seeds: Sequence[int], names: Callable[[Iterable[str]], Iterable[str]] = iter) -> Scale:
    """Gradients over the gains, trainings over gains and rates, and the first over the last gradient.

    Args:
        names: wraps the loop over `ARMS`, for a progress bar.
    """
    sweep = gain_sweep(torch.logspace(-0.5, 0.5, 9, dtype=torch.float64), seeds)
    trained = {name: train_deep(GAINS, seeds=seeds, **ARMS[name]) for name in names(ARMS)}
    long = {
        "plain": train_deep(
            GAINS[1:4], (0.01, 0.03, 0.1, 0.3), seeds, normalized=False, steps=LONG, read=(60, 200)
        ),
        "batch norm": train_deep(GAINS[2:3], (0.3, 1.0), seeds, normalized=True, steps=LONG, read=(60, 200)),
    }

    def ratio(activation: str, normalized: bool, depth: int, batch: int) -> Tensor:
        gain = math.sqrt(2) if activation == "ReLU" else 1.0  # suits the plain network
        return layer_report(depth, activation, [gain] * len(seeds), seeds, normalized, batch).ratio

    activations = ("linear", "tanh", "ReLU")
    batches = {
        (name, norm): torch.stack([ratio(name, norm, 30, batch) for batch in BATCHES])
        for name in activations
        for norm in (False, True)
    }
    depths = {name: torch.stack([ratio(name, True, depth, 64) for depth in DEPTHS]) for name in activations}
    return Scale(
        sweep,
        trained,
        long,
        batches,
        depths,
        {held: ratio_in_training(seeds, held) for held in (False, True)},
    )


def judge_scale(found: Scale) -> list[Finding]:
    """What stands of the claim that gradients depend less on the scale of the parameters."""
    sweep, own = found.sweep, {name: training.own() for name, training in found.trained.items()}
    plain, normalized = (
        torch.stack([sweep.decades(norms) for norms in kind.values()])
        for kind in (sweep.plain, sweep.normalized)
    )
    shared = found.trained["batch norm"].at(0.1)
    flat = own["batch norm, rate ∝ gain²"]
    learned = found.long["plain"].each_own()
    late, early = (
        found.long["batch norm"].each_own(step)[0] - found.long["plain"].each_own(step)[1]
        for step in (None, 60)
    )
    relu, tanh, linear = (found.batches[name, True] for name in ("ReLU", "tanh", "linear"))
    middle = BATCHES.index(64)
    free, held = found.started[False], found.started[True]
    return [
        Finding(
            "tanh and ReLU, plain: the gain moves the gradient by 15 decades or more", plain.amin(0) >= 15
        ),
        Finding("tanh and ReLU, batch norm: by less than 1.2 decades", normalized.amax(0) < 1.2, at_least=4),
        Finding(
            "batch norm at lr 0.1: accuracy is 0.3 lower at gain 2.8 than at 0.5",
            shared[0] - shared[-1] > 0.3,
        ),
        Finding(
            "batch norm, each gain at its own rate: at least 0.75 at all five gains",
            own["batch norm"].amin(0) >= 0.75,
        ),
        Finding("batch norm, rate ∝ gain²: at least 0.8 at all five gains", flat.amin(0) >= 0.8, at_least=3),
        Finding(
            "plain, at the rate of the list that is best for each gain and seed: still 0.1 lower or more",
            (own["batch norm"] - found.trained["plain"].accuracy.amax(1)).amin(0) >= 0.1,
        ),
        Finding("plain with Adam, gain 1.41: at least 0.7", own["plain, Adam"][2] >= 0.7),
        Finding(
            "plain with residual connections: at least 0.85 at gain 0.5, below 0.4 at gain 2.8",
            (own["plain, residual"][0] >= 0.85) & (own["plain, residual"][-1] < 0.4),
            at_least=4,
        ),
        Finding(
            f"gain 1.41: after {LONG} steps plain is less than half as far behind as after 60",
            late < 0.5 * early,
            at_least=4,
        ),
        Finding(
            f"plain, {LONG} steps, each seed at its own rate: at least 0.2 at gains of 1, 1.41 and 2",
            learned.amin(0) >= 0.2,
            at_least=4,
        ),
        Finding(
            "30 layers, ReLU, batch norm: first over last gradient above 100 at every batch size",
            relu.amin(0) > 100,
        ),
        Finding(
            "the same in batches of 64: below 5 with linear layers, and between the two with tanh",
            (linear[middle] < 5) & (tanh[middle] > linear[middle]) & (tanh[middle] < relu[middle]),
        ),
        Finding("30 layers, ReLU: more at batches of 8 than at 512", relu[0] > relu[-1]),
        Finding(
            "ten steps of training at lr 0.1, lengths of the weights held or not: less than a fifth of that",
            (free[2] < free[0] / 5) & (held[2] < held[0] / 5),
            at_least=4,
        ),
    ]


CLAIMS = {
    "inner": Claim(
        "One layer of ReLU is enough to spoil inputs as good as they can be.", inner_conditions, judge_inner
    ),
    "scale": Claim(
        "With batch normalization gradients depend less on the scale of the parameters, and one may be less "
        "careful about initialization.",
        scale_of_weights,
        judge_scale,
    ),
}
