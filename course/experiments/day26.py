"""Day 26: the five steps, their graph backwards, what is left of a gradient, the scale of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from course.experiments.day25 import digits_for
from course.experiments.digits import cross_entropy, split_digits
from course.experiments.verdicts import Claim, Finding


@dataclass(frozen=True, eq=False)
class FiveSteps:
    """One batch on its way through batch normalization.

    `x`, `centred`, `x_hat` and `y` are (N, D); `mean` and `var` (biased) are (D,).
    """

    x: Tensor
    mean: Tensor
    centred: Tensor
    var: Tensor
    x_hat: Tensor
    y: Tensor

    @property
    def x_hat_std(self) -> Tensor:
        """(D,), the biased standard deviation of `x_hat`: below 1 where eps is not small."""
        return self.x_hat.std(dim=0, correction=0)

    @property
    def y_mean(self) -> Tensor:
        """(D,), the mean of `y`."""
        return self.y.mean(dim=0)

    @property
    def y_std(self) -> Tensor:
        """(D,), the biased standard deviation of `y`."""
        return self.y.std(dim=0, correction=0)


def five_steps(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> FiveSteps:
    """Every intermediate result of batch normalization in training mode.

    Args:
        x: (N, D), a batch of N samples with D features.
        gamma: (D,), the scale.
        beta: (D,), the shift.
        eps: added to the variance, inside the root.

    Raises:
        ValueError: `x` is not (N, D), or `gamma` or `beta` is not (D,).

    Source: Ioffe & Szegedy 2015, Algorithm 1.
    """
    if x.dim() != 2:
        raise ValueError(f"x must be (N, D), not of shape {tuple(x.shape)}")
    for name, parameter in (("gamma", gamma), ("beta", beta)):
        if parameter.shape != x.shape[1:]:
            raise ValueError(f"{name} must be (D,) = ({x.shape[1]},), not of shape {tuple(parameter.shape)}")
    mean = x.mean(dim=0)
    centred = x - mean
    var = (centred**2).mean(dim=0)
    x_hat = centred / torch.sqrt(var + eps)
    y = gamma * x_hat + beta
    return FiveSteps(x, mean, centred, var, x_hat, y)


@dataclass(frozen=True, eq=False)
class MovedSample:
    """The same batch of one feature before and after one sample was moved."""

    index: int
    before: FiveSteps
    after: FiveSteps

    @property
    def output(self) -> float:
        """The normalized output of the moved sample."""
        return self.after.y[self.index].item()

    @property
    def largest_move_of_others(self) -> float:
        """The largest distance that the output of a sample which was not touched has moved."""
        moves = (self.after.y - self.before.y).abs().flatten()
        others = torch.arange(len(moves)) != self.index
        return moves[others].max().item()

    @property
    def others(self) -> str:
        """What the outputs of the others do: "stay", "shift" with their distances kept within a tenth, or
        "crowd" together, or "spread"."""
        keep = torch.arange(len(self.after.y)) != self.index
        before, after = self.before.y[keep], self.after.y[keep]
        width = (after.std() / before.std()).item()
        if abs(width - 1) > 0.1:
            return "crowd" if width < 1 else "spread"
        return "shift" if self.largest_move_of_others > 0.1 else "stay"

    @property
    def ceiling(self) -> float:
        """No normalized output of a batch of N samples is beyond sqrt(N - 1)."""
        return math.sqrt(len(self.after.x) - 1)


def move_sample(x: Tensor, index: int, value: float, eps: float = 1e-5) -> MovedSample:
    """Normalize a batch of one feature twice: as it is, and with one sample set to `value`.

    Args:
        x: (N, 1) with N >= 2; it is left as it is.
        index: the row of the sample that is moved.
        value: its new value, in the units of `x`.
        eps: added to the variance, inside the root; gamma is 1 and beta 0.

    Raises:
        ValueError: `x` is not (N, 1) or has fewer than two samples.
        IndexError: there is no row `index`.
    """
    if x.dim() != 2 or x.shape[1] != 1 or len(x) < 2:
        raise ValueError(f"x must be (N, 1) with N >= 2, not of shape {tuple(x.shape)}")
    gamma, beta = x.new_ones(1), x.new_zeros(1)
    moved = x.clone()
    moved[index] = value
    return MovedSample(index, five_steps(x, gamma, beta, eps), five_steps(moved, gamma, beta, eps))


@dataclass(frozen=True, eq=False)
class Node:
    """A variable of a computational graph: its value and the gradient of the loss in it."""

    value: Tensor
    grad: Tensor


@dataclass(frozen=True, eq=False)
class BackwardGraph:
    """The nodes of batch normalization's graph, named as in the lecture; `inv_std` is
    1 / sqrt(var + eps). Vectors over the batch are (N, D), all others (D,)."""

    x: Node
    mean: Node
    centred: Node
    var: Node
    inv_std: Node
    x_hat: Node
    gamma: Node
    beta: Node
    y: Node


def backward_graph(x: Tensor, gamma: Tensor, beta: Tensor, dy: Tensor, eps: float = 1e-5) -> BackwardGraph:
    """Values of every node and, by autograd, the gradients of sum(y * dy) in all of them.

    Args:
        x: (N, D).
        gamma: (D,).
        beta: (D,).
        dy: (N, D), the gradient that comes from the layer above.
        eps: added to the variance, inside the root.

    Source of the graph: Ioffe & Szegedy 2015, section 3; here `var` is computed from `centred`,
    so that each node has one meaning.
    """
    leaves = {
        name: tensor.detach().clone().requires_grad_()
        for name, tensor in (("x", x), ("gamma", gamma), ("beta", beta))
    }
    nodes = dict(leaves)
    nodes["mean"] = nodes["x"].mean(dim=0)
    nodes["centred"] = nodes["x"] - nodes["mean"]
    nodes["var"] = (nodes["centred"] ** 2).mean(dim=0)
    nodes["inv_std"] = (nodes["var"] + eps).rsqrt()
    nodes["x_hat"] = nodes["centred"] * nodes["inv_std"]
    nodes["y"] = nodes["gamma"] * nodes["x_hat"] + nodes["beta"]
    grads = torch.autograd.grad(nodes["y"], list(nodes.values()), grad_outputs=dy)
    return BackwardGraph(
        **{name: Node(value.detach(), grad) for (name, value), grad in zip(nodes.items(), grads, strict=True)}
    )


@dataclass(frozen=True, eq=False)
class BiasDescent:
    """Gradient descent on one bias: `bias` and `loss`, each (steps + 1,), start included."""

    bias: Tensor
    loss: Tensor


def bias_descent(
    u: Tensor,
    target: Tensor,
    *,
    lr: float,
    steps: int,
    constant_statistics: bool,
    eps: float = 1e-5,
) -> BiasDescent:
    """Train the bias b in x = u + b, x_hat = normalize(x), loss = mean((x_hat - target)^2).

    Args:
        u: (N,), the input of the layer.
        target: (N,).
        lr: learning rate.
        steps: number of gradient steps.
        constant_statistics: treat mean and var as constants in the backward pass.
        eps: added to the variance, inside the root.

    Source: the example in section 2 of Ioffe & Szegedy 2015.
    """
    bias = u.new_zeros((), requires_grad=True)
    biases, losses = [], []
    for _ in range(steps + 1):
        x = u + bias
        mean, var = x.mean(), x.var(correction=0)
        if constant_statistics:
            mean, var = mean.detach(), var.detach()
        loss = (((x - mean) / torch.sqrt(var + eps) - target) ** 2).mean()
        (grad,) = torch.autograd.grad(loss, bias)
        biases.append(bias.item())
        losses.append(loss.item())
        with torch.no_grad():
            bias -= lr * grad
    return BiasDescent(u.new_tensor(biases), u.new_tensor(losses))


# -- three samples, drawn


@dataclass(frozen=True, eq=False)
class OnCircle:
    """Three samples of one feature, seen along the direction in which all move together.

    Each field is (2,), a place in the plane of the columns that sum to 0: `centred`, `x_hat` (on the circle
    of radius sqrt(3)), `dy` without what moves all samples together, and `dx` for gamma = 1.
    """

    centred: Tensor
    x_hat: Tensor
    dy: Tensor
    dx: Tensor

    @property
    def passed(self) -> float:
        """The length of dx · std over that of dy in the plane, between 0 and 1."""
        std = self.centred.norm() / math.sqrt(3)
        return (self.dx.norm() * std / self.dy.norm()).item()


#: Two columns of length 1 that sum to 0 and stand at a right angle: the axes of that plane. The third sample
#: moves along the first of them.
PLANE = torch.nn.functional.normalize(torch.tensor([[-1, -1, 2], [1, -1, 0]], dtype=torch.float64))


def on_circle(x: Tensor, degrees: float) -> OnCircle:
    """Where three samples x (3,) stand, and what becomes of a dy of length 1 that points along `degrees`.

    The gradient is that of batch normalization without eps, by autograd.
    """
    x = x.detach().clone().requires_grad_()
    centred = x - x.mean()
    x_hat = centred / centred.square().mean().sqrt()
    angle = math.radians(degrees)
    dy = torch.tensor([math.cos(angle), math.sin(angle)], dtype=x.dtype)
    (dx,) = torch.autograd.grad(x_hat, x, grad_outputs=dy @ PLANE)
    return OnCircle(PLANE @ centred.detach(), PLANE @ x_hat.detach(), dy, PLANE @ dx)


def turn_of_x_hat(far: float = 1e6, points: int = 1001) -> float:
    """By how many degrees x_hat turns on its circle while the third sample goes from −far to far and the
    other two stay at −1 and 1."""
    thirds = torch.linspace(-math.asinh(far), math.asinh(far), points, dtype=torch.float64).sinh()
    first = thirds.new_tensor([-1.0, 1.0])
    places = torch.stack([on_circle(torch.cat([first, third[None]]), 0).x_hat for third in thirds])
    steps = torch.atan2(places[:, 1], places[:, 0]).diff()
    return math.degrees(abs(torch.remainder(steps + math.pi, 2 * math.pi).sub(math.pi).sum().item()))


# -- what passes a ReLU


def share_that_passes(x: Tensor, gamma: float, beta: float) -> float:
    """The share of positive outputs of batch normalization with this scale and shift, for x (N, D)."""
    width = x.shape[1]
    return (
        (five_steps(x, x.new_full((width,), gamma), x.new_full((width,), beta)).y > 0).double().mean().item()
    )


# -- the scale of the weights


@dataclass(frozen=True, eq=False)
class ScaleInvariance:
    """What happens to a batch-normalized layer when its weights are multiplied by a.

    `scales` is (A,); the others are (S, A), a row per seed. The ratios are 1 and the errors 0 where the
    claim of Ioffe & Szegedy holds exactly; "gradient" is that in the weights, "input" that in u. `room` is
    a² · var / eps with the median of the variances of the features (infinite without eps).
    """

    scales: Tensor
    output_ratio: Tensor
    output_error: Tensor
    gradient_ratio: Tensor
    gradient_error: Tensor
    input_ratio: Tensor
    input_error: Tensor
    room: Tensor


def scale_invariance(
    scales: Tensor,
    seeds: Sequence[int],
    eps: float = 1e-5,
    batch_size: int = 64,
    width: int = 100,
    brightness: float = 1.0,
) -> ScaleInvariance:
    """Compare BN((aW)u) with BN(Wu), a · dBN((aW)u)/d(aW) with dBN(Wu)/dW, and dBN((aW)u)/du with dBN(Wu)/du.

    u is a batch of scikit-learn's digits (64 pixels in [0, 1], times `brightness`), W a random layer. A seed
    draws the batch, the weights and the gradient `dy` that comes from above. All in float64.

    Args:
        scales: (A,), the factors a.
        seeds: S of them.
        eps: added to the variance, inside the root.
        batch_size: images in a batch.
        width: outputs of the layer.
        brightness: multiplies the pixels.

    Returns:
        Ratios of Euclidean norms and relative distances, as `ScaleInvariance` names them.

    Source of the claim: Ioffe & Szegedy 2015, section 3.3.
    """
    images = torch.from_numpy(load_digits().data) / 16 * brightness
    gamma, beta = images.new_ones(width), images.new_zeros(width)

    rows = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        u = images[torch.randperm(len(images), generator=generator)[:batch_size]]
        weight = torch.randn(images.shape[1], width, generator=generator, dtype=u.dtype)
        weight /= math.sqrt(images.shape[1])
        dy = torch.randn(batch_size, width, generator=generator, dtype=u.dtype)

        def results(weight: Tensor, u: Tensor = u, dy: Tensor = dy) -> list[Tensor]:
            leaves = weight.clone().requires_grad_(), u.clone().requires_grad_()
            y = five_steps(leaves[1] @ leaves[0], gamma, beta, eps).y
            return [y.detach(), *torch.autograd.grad(y, leaves, grad_outputs=dy)]

        expected = results(weight)
        var = (u @ weight).var(dim=0, correction=0).median()
        row = []
        for scale in scales:
            y, in_weight, in_input = results(scale * weight)
            entries = []
            for found, exact in zip((y, scale * in_weight, in_input), expected, strict=True):
                entries += [found.norm() / exact.norm(), (found - exact).norm() / exact.norm()]
            row.append([*entries, scale**2 * var / eps if eps else math.inf])
        rows.append(row)
    return ScaleInvariance(scales, *torch.tensor(rows, dtype=images.dtype).unbind(dim=-1))


#: Learning rates of which each net takes the one that suits it best; the first and the last suit none.
RATES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True, eq=False)
class Growth:
    """Training with hidden weights that start a times as large: the last loss and the growth, (R, S) each.

    growth: the norm of the hidden weights at the end over that at the start. rates: (R,).
    """

    rates: Tensor
    loss: Tensor
    growth: Tensor

    @property
    def best(self) -> int:
        """The place of the rate with the lowest median loss."""
        return self.loss.nan_to_num(math.inf, math.inf).median(dim=1).values.argmin().item()

    def at(self, rate: float) -> tuple[Tensor, Tensor]:
        """(S,) each: the growth and the loss with this rate, one of `rates`."""
        place = (self.rates - rate).abs().argmin().item()
        return self.growth[place], self.loss[place]


def growth(
    seeds: Sequence[int],
    scale: float,
    normalized: bool,
    rates: Sequence[float] = RATES,
    *,
    square_rates: bool = False,
    standardized: bool = False,
    eps: float = 1e-5,
    steps: int = 300,
    width: int = 32,
    batch_size: int = 64,
) -> Growth:
    """Train 64 -> width -> ReLU -> 10 on digits by SGD, with batch normalization before the ReLU or without.

    The networks of all rates and seeds are trained side by side. A seed draws the split, the weights (of
    variance 2 / inputs, times a² in the hidden layer) and the batches.

    square_rates: the hidden layer's learning rate is multiplied by a². standardized: the pixels are, as on
    day 25. eps: of batch normalization.
    """
    data = [(digits_for if standardized else split_digits)(seed) for seed in seeds] * len(rates)
    x, labels = (torch.stack([getattr(one, name) for one in data]) for name in ("train_x", "train_y"))
    x = x.float()
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    hidden, last = (
        torch.stack([torch.randn(*shape, generator=g, dtype=torch.float32) for g in generators])
        * (2 / shape[0]) ** 0.5
        for shape in ((64, width), (width, 10))
    )
    hidden = hidden * scale
    hidden, last = (weight.repeat(len(rates), 1, 1) for weight in (hidden, last))
    start, count = hidden.flatten(1).norm(dim=1), len(seeds)
    lr = torch.tensor(rates, dtype=torch.float32).repeat_interleave(count)[:, None, None]
    for step in range(steps + 1):
        rows = torch.stack([torch.randint(x.shape[1], (batch_size,), generator=g) for g in generators])
        places = torch.arange(len(x))[:, None], rows.repeat(len(rates), 1)
        seen, wanted = (x, labels) if step == steps else (x[places], labels[places])
        leaves = [weight.detach().requires_grad_() for weight in (hidden, last)]
        z = seen @ leaves[0]
        if normalized:
            z = z - z.mean(dim=1, keepdim=True)
            z = z / torch.sqrt(z.square().mean(dim=1, keepdim=True) + eps)
        logits = torch.relu(z) @ leaves[1]
        loss = cross_entropy(logits, wanted)
        if step < steps:
            in_hidden, in_last = torch.autograd.grad(loss.sum(), leaves)
            hidden = hidden - lr * in_hidden * (scale**2 if square_rates else 1)
            last = last - lr * in_last
    grown = hidden.flatten(1).norm(dim=1) / start
    return Growth(
        torch.tensor(rates, dtype=torch.float64),
        *(values.detach().double().view(len(rates), count) for values in (loss, grown)),
    )


# -- verdicts

SCALES = torch.logspace(-4, 2, 13, dtype=torch.float64)
#: The nets whose growth is compared: name -> (scale a, normalized, rate times a²).
ARMS = {
    "plain, a = 1": (1.0, False, False),
    "batch norm, a = 1": (1.0, True, False),
    "plain, a = 0.01": (0.01, False, False),
    "batch norm, a = 0.01": (0.01, True, False),
    "batch norm, a = 0.01, rate · a²": (0.01, True, True),
}
#: The first two again, with standardized pixels: name -> normalized.
STANDARDIZED = {"plain, a = 1, standardized": False, "batch norm, a = 1, standardized": True}


@dataclass(frozen=True, eq=False)
class ScaleOfWeights:
    """The experiment of the claim: with eps and without, and with pixels 16 times as bright."""

    with_eps: ScaleInvariance
    without_eps: ScaleInvariance
    brighter: ScaleInvariance


def scale_of_weights(seeds: Sequence[int]) -> ScaleOfWeights:
    """The three equations, measured."""
    return ScaleOfWeights(
        scale_invariance(SCALES, seeds),
        scale_invariance(SCALES, seeds, eps=0.0),
        scale_invariance(SCALES, seeds, brightness=16.0),
    )


def judge_scale(measured: ScaleOfWeights) -> list[Finding]:
    """The sentences of the first verdict."""
    names = ("output_error", "gradient_error", "input_error")

    def errors(run: ScaleInvariance, chosen: Tensor) -> Tensor:
        return torch.stack([getattr(run, name)[:, chosen] for name in names]).amax((0, 2))

    def least(run: ScaleInvariance, chosen: Tensor) -> Tensor:
        return torch.stack([getattr(run, name)[:, chosen] for name in names]).amin((0, 2))

    everywhere, tenth = SCALES > 0, (SCALES - 0.1).abs() < 1e-9
    hundredth = (SCALES - 0.01).abs() < 1e-9
    return [
        Finding(
            "without eps all three equations hold to 1e-12, from a = 0.0001 to 100",
            errors(measured.without_eps, everywhere) < 1e-12,
        ),
        Finding(
            "with eps they hold to 0.02 % from a = 1 on", errors(measured.with_eps, SCALES > 0.99) < 2e-4
        ),
        Finding("and to 2 % at a = 0.1", errors(measured.with_eps, tenth) < 0.02),
        Finding(
            "at a = 0.01 all three are off by more than a third", least(measured.with_eps, hundredth) > 1 / 3
        ),
        Finding(
            "with pixels 16 times as bright, a = 0.01 is off by less than 1 %",
            errors(measured.brighter, hundredth) < 0.01,
        ),
    ]


def growth_of_weights(
    seeds: Sequence[int], each: Callable[[Iterable[str]], Iterable[str]] = iter
) -> dict[str, Growth]:
    """How far hidden weights grow in training, for each of `ARMS` and of `STANDARDIZED`."""
    runs = {}
    for name in each([*ARMS, *STANDARDIZED]):
        if name in STANDARDIZED:
            runs[name] = growth(seeds, 1.0, STANDARDIZED[name], standardized=True)
            continue
        scale, normalized, square_rates = ARMS[name]
        runs[name] = growth(seeds, scale, normalized, square_rates=square_rates)
    return runs


#: A rate at which all of them learn.
COMMON = 1.0


def by_growth(runs: dict[str, Growth]) -> list[str]:
    """The nets with one rate for all weights, the one whose hidden weights grow least at `COMMON` first."""
    arms = [name for name, (_, _, square_rates) in ARMS.items() if not square_rates]
    return sorted(arms, key=lambda name: runs[name].at(COMMON)[0].median().item())


def judge_growth(runs: dict[str, Growth]) -> list[Finding]:
    """The sentences of the second verdict."""
    at_one = {name: run.at(COMMON) for name, run in runs.items()}
    best = {name: run.growth[run.best] for name, run in runs.items()}
    plain, normal, tiny_plain, tiny, held = (at_one[name] for name in ARMS)
    plain_even, normal_even = (at_one[name] for name in STANDARDIZED)
    return [
        Finding(
            "a = 1, both at rate 1: weights grow less with batch norm, and the loss ends lower",
            ((normal[0] < plain[0]) & (normal[1] < plain[1])),
        ),
        Finding(
            "a = 1, both at rate 1, pixels standardized: they grow less with it, but the plain net's loss "
            "ends lower",
            (normal_even[0] < plain_even[0]) & (plain_even[1] < normal_even[1]),
        ),
        Finding(
            "a = 1, each at its own best rate: they grow more with it",
            best["batch norm, a = 1"] > best["plain, a = 1"],
        ),
        Finding("a = 0.01, both at rate 1: more than four times as far with it", tiny[0] > 4 * tiny_plain[0]),
        Finding(
            "a = 0.01, rate times a²: their growth is within 15 % of that from a = 1",
            (held[0] / normal[0] - 1).abs() < 0.15,
        ),
        Finding("and the loss ends at less than a quarter of what it was", held[1] < tiny[1] / 4),
    ]


CLAIMS = {
    "scale": Claim(
        "The scale of the weights does not matter to a layer with batch normalization.",
        scale_of_weights,
        judge_scale,
    ),
    "growth": Claim(
        "Batch normalization stabilizes the growth of the weights.", growth_of_weights, judge_growth
    ),
}
