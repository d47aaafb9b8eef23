"""Day 31, what batch normalization changes: measures of a loss landscape. Cases and probes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from graders.probing.exercise import Candidate, Case, Draw, Exercise, Inputs, Part
from graders.probing.exposing import exposing
from graders.probing.probes import arguments, call, error_of

# -- two lists of gradients --------------------------------------------------------------------------


def shift_cases(draw: Draw) -> Iterator[Case]:
    d, h, k = draw.sizes((3, 4), (5, 6), (2, 2))
    network = ((h, d), (h,), (k, h), (k,))

    def gradients(*shapes: tuple[int, ...]) -> list[Tensor]:
        """One tensor for each shape, each with a scale of its own."""
        return [draw.normal(*shape, mean=0.2, std=draw.number(0.3, 3.0)) for shape in shapes]

    def moved(before: list[Tensor], share: float, noise: float) -> list[Tensor]:
        """So much of the gradients as they were, and noise."""
        return [share * one + draw.normal(*one.shape, std=noise) for one in before]

    def case(name: str, before: list[Tensor], after: list[Tensor]) -> Case:
        return Case(name, {"before": before, "after": after})

    before = gradients(*network)
    yield case("the gradients of two layers", before, moved(before, 0.8, 0.7))
    before = gradients(*network * draw.integer(6, 20))
    yield case("gradients of many layers that turn round", before, moved(before, -0.6, 0.5))
    before = gradients((draw.many(), h))
    yield case("a single, large tensor", before, moved(before, 0.5, 0.8))
    before = gradients((d,), (), (k, d, h))
    yield case("tensors with three axes and with none", before, moved(before, 0.7, 0.6))
    before = gradients(*network)
    yield case("gradients that are nearly the same", before, moved(before, 1.0, 2e-4))
    before = gradients(*network)
    yield case("gradients that are the same", before, [one.clone() for one in before])
    before = gradients(*network)
    after = moved(before, 0.9, 0.5)
    before[2] = torch.zeros_like(before[2])
    yield case("a weight without a gradient before", before, after)


# -- along the gradient ------------------------------------------------------------------------------

#: Losses by name: functions of w and of tensors that come with the case.
LOSSES: dict[str, Callable[..., Tensor]] = {
    "quadratic": lambda w, a, b: 0.5 * w @ a @ w - b @ w,
    "logistic": lambda w, x, y: torch.log1p(torch.exp(-y * (x @ w))).mean() + 0.01 * w.square().sum(),
    "waves": lambda w, a, b: (torch.sin(a @ w) + 0.1 * b * w.square()).sum(),
    "least squares": lambda w, x, y: (x @ w - y).square().mean(),
    "an entry": lambda w: w[0],
}


def landscape_cases(draw: Draw) -> Iterator[Case]:
    """Losses with gradients that are far from length 1, and step sizes in no order."""
    n, d, k = draw.sizes((7, 9), (4, 5), (2, 3))

    def case(name: str, loss: str, data: list[Tensor], w: Tensor, steps: Any) -> Case:
        return Case(name, {"loss": loss, "data": data, "w": w, "step_sizes": steps})

    def steps(*sizes: float) -> list[float]:
        return [size * draw.number(0.8, 1.2) for size in sizes]

    root = draw.normal(d, d)
    bowl = [root @ root.T / d, draw.normal(d)]
    yield case("a quadratic", "quadratic", bowl, draw.normal(d, std=2.0), steps(0.1, 0.3, 0.7))
    logistic = [draw.normal(n, d, std=2.0), draw.normal(n).sign()]
    yield case("a logistic loss, long steps", "logistic", logistic, draw.normal(d), steps(8.0, 2.0, 0.5, 5.0))
    waves = [draw.normal(d, d), draw.uniform(d, low=0.5, high=1.5)]
    sizes = draw.tensor(torch.tensor(steps(0.2, 0.05, 0.4), dtype=torch.float64))
    yield case("a loss with waves, step sizes in a tensor", "waves", waves, draw.normal(d), sizes)
    fit = [draw.normal(n, d), draw.normal(n, k, std=3.0)]
    yield case("w is a matrix", "least squares", fit, draw.normal(d, k), steps(0.4, 0.9, 0.1, 0.2, 1.5))
    yield case("a step of 0 and a step back", "quadratic", bowl, draw.normal(d), [0.0, *steps(0.5, -0.3)])
    many = steps(*[draw.number(0.1, 2.0) for _ in range(draw.integer(12, 30))])
    yield case("many steps, the loss is a view of w: its first entry", "an entry", [], draw.normal(d), many)
    d = draw.many()
    fit = [draw.normal(n, d), draw.normal(n, k)]
    w = draw.normal(k, d).t()
    yield case("a single step size, w not contiguous in memory", "least squares", fit, w, steps(0.03))


def probe_landscape(result: str) -> Callable[[Candidate, Inputs], Iterator[tuple[str, Any]]]:
    """What is returned, under this name, and whether w has been drawn into autograd."""

    def probe(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
        def loss_fn(w: Tensor) -> Tensor:
            return LOSSES[inputs["loss"]](w, *inputs["data"])

        w = inputs["w"]
        values = candidate(loss_fn, w, inputs["step_sizes"])
        yield result, values
        if isinstance(values, Tensor):  # what does nothing leaves w alone
            yield "requires_grad of w", w.requires_grad
            yield "w has a .grad", w.grad is not None

    return probe


LEFT_ALONE = ("requires_grad of w", "w has a .grad")


# -- the sharpest direction --------------------------------------------------------------------------

EIGENVALUE = "eigenvalue"
EIGENVALUE_OF_START = "eigenvalue after 0 iterations"


def power_cases(draw: Draw) -> Iterator[Case]:
    d = draw.integer(4, 6)

    def case(
        name: str,
        iterations: int,
        first: float,
        second: float,
        scale: float = 1.0,
        d: int = d,
        spread: float = 0.1,
    ) -> Case:
        """A Hessian whose two largest eigenvalues are about these, times a scale."""
        rest = [draw.number(-0.5, 0.5) for _ in range(d - 2)]
        values = [one * draw.number(1 - spread, 1 + spread) for one in (first, second)] + rest
        turn = torch.linalg.qr(draw.normal(d, d).cpu().double()).Q
        hessian = turn @ torch.diag(torch.tensor(values, dtype=torch.float64) * scale) @ turn.T
        start = draw.normal(d, std=draw.number(2.0, 4.0))
        return Case(name, {"hessian": draw.tensor(hessian), "v": start, "iterations": iterations})

    yield case("three iterations", 3, 4.0, 2.5)
    yield case("a negative eigenvalue is the largest in size", 4, -5.0, 3.0)
    yield case("no iteration", 0, 3.0, -2.0)
    yield case("no iteration, eigenvalues mostly negative", 0, -3.0, -2.0)
    yield case("one iteration, a large Hessian", 1, 3.0, 2.0, d=draw.many() // 2)
    yield case("two eigenvalues of opposite sign and nearly one size", 6, -3.0, 2.9)
    yield case("large eigenvalues, 34 iterations", 34, 3.0, 2.7, 1e10)
    yield case("small eigenvalues, 35 iterations", 35, -0.9, 0.8, 1e-10)
    yield case("an eigenvalue far from the others, 60 iterations", 60, 3.0, 2.0)
    # Whoever stops where v hardly moves any more is further off than a guard in the divisor.
    yield case("eigenvalues of nearly one size, 200 iterations", 200, 3.0, 2.64, spread=0.01)


def probe_power(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    def hvp(v: Tensor) -> Tensor:
        return inputs["hessian"] @ v

    name = EIGENVALUE if inputs["iterations"] else EIGENVALUE_OF_START
    yield name, candidate(hvp, inputs["v"], inputs["iterations"])


# -- the largest step --------------------------------------------------------------------------------

RATE = "learning rate"
PLAIN_RATE = "learning rate with beta = 0"
ERROR = "error where the eigenvalue is not positive"


def rate_cases(draw: Draw) -> Iterator[Case]:
    """Eigenvalues as numbers and as tensors; with beta = 0 it is plain gradient descent."""

    def case(name: str, eigenvalue: Any, beta: float | None = None, seen: str = RATE) -> Case:
        beta = draw.number(0.3, 0.95) if beta is None else beta
        return Case(name, {"eigenvalue": eigenvalue, "beta": beta, "seen": seen})

    def scalar(low: float, high: float) -> Tensor:
        return draw.uniform(1, low=low, high=high).reshape(())

    yield case("a tensor", scalar(3.0, 9.0))
    yield case("a small tensor", scalar(0.01, 0.3))
    yield case("a number", draw.number(3.0, 9.0))
    yield case("a small number", draw.number(1e-4, 1e-3))
    yield case("a whole number", draw.integer(5, 15))
    yield case("beta = 0.99, a large tensor", scalar(50.0, 500.0), 0.99)
    yield case("beta = 0, a number", draw.number(3.0, 9.0), 0.0, PLAIN_RATE)
    yield case("beta = 0, a small tensor", scalar(0.01, 0.3), 0.0, PLAIN_RATE)
    yield case("a negative number", -draw.number(0.5, 3.0), seen=ERROR)
    yield case("the number 0", 0.0, seen=ERROR)
    yield case("a negative tensor", scalar(-3.0, -0.5), seen=ERROR)
    yield case("a tensor that is 0", scalar(0.0, 0.0), seen=ERROR)


def probe_rate(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    def asked() -> Any:
        return candidate(inputs["eigenvalue"], inputs["beta"])

    yield inputs["seen"], error_of(asked) if inputs["seen"] == ERROR else asked()


# -- a step that keeps the norms ---------------------------------------------------------------------


def frozen_norm_cases(draw: Draw) -> Iterator[Case]:
    """Weights (O, …) whose rows have norms of their own, and steps that change them by much."""

    def case(name: str, w: Tensor, g: Tensor, lr: float) -> Case:
        return Case(name, {"w": w, "g": g, "lr": lr})

    def rows(*shape: int, size: float = 1.0) -> Tensor:
        scale = draw.uniform(shape[0], *[1] * (len(shape) - 1), low=0.3, high=3.0)
        return draw.normal(*shape, mean=0.3) * scale * size

    o, i, k = draw.sizes((4, 5), (6, 8), (2, 3))
    lr = draw.number(0.1, 0.5)
    yield case(f"a linear layer, {o} × {i}", rows(o, i), draw.normal(o, i, mean=0.2), lr)
    yield case("as many rows as columns", rows(o, o), draw.normal(o, o), draw.number(0.1, 0.5))
    yield case("a kernel with four axes", rows(o, k, i, k), draw.normal(o, k, i, k), draw.number(0.1, 0.5))
    w = rows(o, i)
    away = w + 0.3 * draw.normal(o, i)
    yield case("a step beyond 0", w, away, draw.number(1.5, 2.5))
    yield case("a gradient along the weights alone", w, 0.7 * w, draw.number(0.1, 0.5))
    yield case("a learning rate of 0", rows(k, i), draw.normal(k, i), 0.0)
    small = rows(o, k, size=1e-4)
    yield case("weights as small as 1e-4", small, draw.normal(o, k, std=1e-4), draw.number(0.1, 0.5))
    w = rows(o, i)
    w[1] = 0.0
    yield case("a row of zeros", w, draw.normal(o, i), draw.number(0.1, 0.5))
    many = draw.many()
    w = rows(i, many).t().contiguous().t()
    yield case("many inputs, not contiguous in memory", w, draw.normal(i, many), draw.number(0.1, 0.5))


# -- the regime of a run -----------------------------------------------------------------------------

REGIME_BY_START = "regime, told by finite losses and the start"
REGIME_BY_END = "regime, told by the last quarter"

#: A curve through these points, linear between them: (fraction of the run, value).
Points = list[tuple[float, float]]


def at(points: Points, fraction: float) -> float:
    """The value of the curve at this fraction of the run."""
    for (left, before), (right, after) in pairwise(points):
        if fraction <= right:
            return before + (after - before) * (fraction - left) / (right - left)
    return points[-1][1]


def descent_on_a_product(ratio: float, side: float, steps: int, lr: float) -> tuple[list[float], list[float]]:
    """(losses, sharpness) of gradient descent on (a·b)² / 2, the smallest model that has a catapult.

    ratio: of lr·sharpness to 2 at the start. side: b / a there. It is the model of Lewkowycz et al. (2020)
    with a single hidden unit. Numbers that overflow become inf, and then NaN.
    """

    def sharpness(a: float, b: float) -> float:
        return (a * a + b * b) / 2 + math.hypot((a * a - b * b) / 2, 2 * a * b)

    size = math.sqrt(2 * ratio / lr / sharpness(1.0, side))
    a, b = size, size * side
    losses, sharpnesses = [], []
    for _ in range(steps):
        losses.append(a * b * a * b / 2)
        sharpnesses.append(sharpness(a, b))
        a, b = a - lr * a * b * b, b - lr * a * a * b
    return losses, sharpnesses


def regime_cases(draw: Draw) -> Iterator[Case]:
    """Runs of gradient descent, real ones on a product and on a parabola, and others drawn by points.

    Real runs at the edge are long; those here have its marks: a sharpness that climbs to 2 / lr and swings
    about it, and a loss that swings while it falls.
    """

    def rate() -> float:
        return 10.0 ** draw.number(-2.0, -0.5)

    def case(
        name: str,
        seen: str,
        losses: list[float],
        sharpness: list[float],
        lr: float,
        margin: float | None = None,
    ) -> Case:
        series = (draw.tensor(torch.tensor(one, dtype=torch.float64)) for one in (losses, sharpness))
        given = dict(zip(("losses", "sharpness"), series, strict=True))
        return Case(name, {**given, "lr": lr, "margin": margin, "seen": seen})

    def product(ratio: float, side: float, steps: int) -> tuple[list[float], list[float], float]:
        lr = rate()
        return *descent_on_a_product(ratio, side, steps, lr), lr

    def drawn(
        steps: int,
        ratio: Points,
        log_loss: Points,
        swings: tuple[float, float] = (2.0, 2.0),
        by: tuple[float, float] = (0.22, 0.25),
        lr: float | None = None,
        up: bool = False,
    ) -> tuple[list[float], list[float], float]:
        """A run by points. swings: from where to where it swings; by: how far, ratio and loss.

        up: whether the ratio swings up at the last step; the loss then swings down.
        """
        lr = lr or rate()
        first = draw.number(0.5, 5.0)
        losses, sharpness = [], []
        for step, share in enumerate(draw.uniform(steps, low=0.9, high=1.1).tolist()):
            fraction = step / (steps - 1)
            side = share * (-1) ** (steps - 1 - step + (not up)) * (swings[0] <= fraction <= swings[1])
            losses.append(first * math.exp(at(log_loss, fraction)) * (1 - by[1] * side))
            sharpness.append(2 / lr * (at(ratio, fraction) + by[0] * side))
        return losses, sharpness, lr

    def hovering(
        steps: int, about: float, lr: float | None = None, up: bool = False
    ) -> tuple[list[float], list[float], float]:
        """A run that climbs to the edge and swings about this ratio."""
        ratio = [(0.0, draw.number(0.2, 0.6)), (0.45, about), (1.0, about)]
        return drawn(steps, ratio, falling(), (0.45, 1.0), lr=lr, up=up)

    def in_time() -> tuple[list[float], list[float], float]:
        """A run that is far below the limit up to its last T // 4 steps, where T is no multiple of 4."""
        lr, last = rate(), draw.integer(2, 3)
        before = 3 * last + 3
        ratio = [*draw.uniform(before, low=0.15, high=0.25).tolist(), *[draw.number(1.0, 1.06)] * last]
        first = draw.number(0.5, 5.0)
        losses = [first * 0.8**step for step in range(before + last)]
        losses[-1] = losses[-2] * draw.number(1.1, 1.3)
        return losses, [2 / lr * one for one in ratio], lr

    def falling() -> Points:
        return [(0.0, 0.0), (1.0, -draw.number(1.5, 2.5))]

    def steps() -> int:
        return draw.integer(24, 48)

    yield case("a product, a short step", REGIME_BY_START, *product(draw.number(0.15, 0.4), 0.1, steps()))
    yield case(
        "a product, a step near the limit", REGIME_BY_START, *product(draw.number(0.6, 0.85), 0.1, steps())
    )
    ratio, side = draw.number(1.3, 1.6), draw.number(0.05, 0.15)
    yield case("a product, a step beyond the limit", REGIME_BY_START, *product(ratio, side, draw.many() + 60))
    yield case(
        "a product, a step far too long", REGIME_BY_START, *product(draw.number(2.6, 3.2), 0.1, steps())
    )
    lr, beyond, first = rate(), draw.number(1.05, 1.12), draw.number(0.5, 5.0)
    count = steps()
    growing = [first * (1 - 2 * beyond) ** (2 * step) for step in range(count)]
    yield case("a parabola, a step too long", REGIME_BY_START, growing, [2 * beyond / lr] * count, lr)

    losses, sharpness, lr = hovering(steps(), 1.03)
    losses[-1] = math.nan
    yield case("a last loss of NaN", REGIME_BY_START, losses, sharpness, lr)
    losses, sharpness, lr = product(draw.number(0.2, 0.4), 0.1, steps())
    losses[len(losses) // 2] = math.nan
    yield case("a loss of NaN in the middle", REGIME_BY_START, losses, sharpness, lr)
    losses, sharpness, lr = drawn(steps(), [(0.0, 0.2), (1.0, 0.6)], falling())
    sharpness[-3:] = [math.inf, math.nan, math.nan]
    yield case("a sharpness that overflows at the end", REGIME_BY_START, losses, sharpness, lr)
    losses, sharpness, lr = drawn(steps(), [(0.0, 0.2), (1.0, 0.6)], falling())
    sharpness[-1] = math.inf
    yield case("an infinite last sharpness", REGIME_BY_START, losses, sharpness, lr)
    losses, sharpness, lr = drawn(steps(), [(0.0, 0.3), (1.0, 0.7)], falling())
    losses[-1] = math.inf
    yield case("an infinite last loss", REGIME_BY_START, losses, sharpness, lr)
    rising = [(0.0, 0.0), (0.5, -2.0), (0.7, -2.0), (1.0, draw.number(0.5, 2.0))]
    losses, sharpness, lr = drawn(steps(), [(0.0, 0.4), (0.6, 1.1), (1.0, draw.number(1.5, 2.0))], rising)
    yield case("a loss that falls, then rises above its start", REGIME_BY_START, losses, sharpness, lr)
    thrown = [(0.0, 0.0), (0.1, draw.number(0.7, 1.5)), (0.3, -0.3), (1.0, -2.0)]
    falls = [(0.0, draw.number(1.3, 1.8)), (0.15, 0.6), (0.5, 1.03), (1.0, 1.03)]
    yield case("thrown out, then at the edge", REGIME_BY_START, *drawn(steps(), falls, thrown, (0.5, 1.0)))

    yield case("at the edge, many steps", REGIME_BY_END, *hovering(draw.many() + 20, draw.number(1.02, 1.06)))
    yield case("at the edge, swinging up at the end", REGIME_BY_END, *hovering(steps(), 1.02, up=True))
    yield case("at the edge, well above it", REGIME_BY_END, *hovering(steps(), draw.number(1.2, 1.3)))
    climb = [(0.0, draw.number(0.2, 0.6)), (0.45, 1.03), (1.0, 1.03)]
    gentle = drawn(steps(), climb, falling(), (0.45, 1.0), (0.05, 0.25))
    yield case("at the edge, small swings", REGIME_BY_END, *gentle)
    few = drawn(draw.integer(8, 11), climb, falling(), (0.45, 1.0), (0.22, 0.5))
    yield case("at the edge, few steps", REGIME_BY_END, *few)
    yield case("at the edge just in the last quarter", REGIME_BY_END, *in_time())
    spike = [(0.0, 0.0), (0.5, -1.0), (0.6, draw.number(1.2, 1.6)), (0.7, -1.0), (1.0, -2.0)]
    spiked = drawn(draw.many(), climb, spike, (0.45, 1.0))
    yield case("at the edge, a loss once above its start", REGIME_BY_END, *spiked)
    large = draw.number(3.0, 9.0)
    yield case("at the edge, a learning rate above 1", REGIME_BY_END, *hovering(steps(), 1.03, large))
    late = [(0.0, 0.05), (0.6, 0.3), (0.7, 1.03), (1.0, 1.03)]
    yield case("at the edge from late on", REGIME_BY_END, *drawn(steps(), late, falling(), (0.7, 1.0)))
    below = draw.number(0.96, 0.98)
    yield case("at the edge, a little below it", REGIME_BY_END, *hovering(draw.many(), below))
    dip = [*climb[:2], (0.9, 1.06), (0.93, draw.number(0.72, 0.76)), (1.0, 0.75)]
    dipping = drawn(draw.many() + 60, dip, falling(), (0.45, 1.0), (0.05, 0.25))
    yield case("at the edge, with a dip at the end", REGIME_BY_END, *dipping)
    near = [(0.0, draw.number(0.2, 0.5)), (0.5, 0.95), (1.0, 0.96)]
    yield case("near the edge, a loss that only falls", REGIME_BY_END, *drawn(steps(), near, falling()))
    losses, sharpness, lr = drawn(steps(), near, falling())
    rest = len(losses) * 3 // 5
    losses[rest:] = [losses[rest]] * (len(losses) - rest)
    yield case("near the edge, a loss that stands still", REGIME_BY_END, losses, sharpness, lr)
    back = [(0.0, 0.4), (0.25, 1.1), (0.5, 1.1), (0.65, draw.number(0.3, 0.5)), (1.0, 0.3)]
    left = drawn(draw.many() + 20, back, falling(), (0.25, 0.5))
    yield case("over the edge for a while, then far below", REGIME_BY_END, *left)
    back = [(0.0, 0.4), (0.25, 1.1), (0.5, 1.1), (0.6, 0.96), (1.0, 0.95)]
    left = drawn(draw.many() + 20, back, falling(), (0.25, 0.5))
    yield case("over the edge for a while, then a little below", REGIME_BY_END, *left)
    learned = [(0.0, 0.0), (0.4, -9.0), (1.0, -9.0)]
    calm = [(0.0, 0.5), (0.4, draw.number(0.75, 0.82)), (1.0, 0.78)]
    trembling = drawn(steps(), calm, learned, (0.4, 1.0), (0.0, 1e-3))
    yield case("a loss that is learned and trembles", REGIME_BY_END, *trembling)
    measured = hovering(steps(), draw.number(0.78, 0.82))
    yield case("margin = 0.35, swings about 0.8", REGIME_BY_END, *measured, 0.35)
    measured = hovering(steps(), draw.number(0.95, 0.965))
    yield case("margin = 0.01, swings about 0.95", REGIME_BY_END, *measured, 0.01)


def probe_regime(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    given = {name: inputs[name] for name in ("losses", "sharpness", "lr", "margin")}
    yield inputs["seen"], candidate(*arguments(given))


# -- inputs that show a mistake ------------------------------------------------------------------------


def diagonal_given(draw: Draw) -> dict[str, Any]:
    return {"low": round(draw.number(0.2, 2.0), 2)}


def layers_given(draw: Draw) -> dict[str, Any]:
    return {"d": draw.integer(2, 12)}


EXERCISES = (
    Exercise(
        name="covariate_shift",
        signature="covariate_shift(before, after)",
        cases=shift_cases,
        probe=call("l2", "cosine"),
        parts=(Part("the distance", 1, ("l2",)), Part("the cosine", 2, ("cosine",))),
    ),
    Exercise(
        name="loss_along_gradient",
        signature="loss_along_gradient(loss_fn, w, step_sizes)",
        cases=landscape_cases,
        probe=probe_landscape("losses"),
        parts=(Part("the losses", 3, ("losses",)), Part("w left out of autograd", 1, LEFT_ALONE)),
    ),
    Exercise(
        name="gradient_predictiveness",
        signature="gradient_predictiveness(loss_fn, w, step_sizes)",
        cases=landscape_cases,
        probe=probe_landscape("changes"),
        parts=(
            Part("the changes of the gradient", 3, ("changes",)),
            Part("w left out of autograd", 1, LEFT_ALONE),
        ),
    ),
    Exercise(
        name="top_eigenvalue",
        signature="top_eigenvalue(hvp, v, iterations)",
        cases=power_cases,
        probe=probe_power,
        parts=(
            Part("after power iterations", 3, (EIGENVALUE,)),
            Part("after none", 1, (EIGENVALUE_OF_START,)),
        ),
    ),
    Exercise(
        name="stable_learning_rate",
        signature="stable_learning_rate(eigenvalue, beta)",
        cases=rate_cases,
        probe=probe_rate,
        parts=(
            Part("the learning rate", 3, (RATE,)),
            Part("the learning rate of plain gradient descent", 1, (PLAIN_RATE,)),
            Part("ValueError where the eigenvalue is not positive", 1, (ERROR,)),
        ),
    ),
    Exercise(
        name="frozen_norm_step",
        signature="frozen_norm_step(w, g, lr)",
        cases=frozen_norm_cases,
        probe=call("w"),
        parts=(Part("the weights after the step", 3),),
    ),
    Exercise(
        name="training_regime",
        signature="training_regime(losses, sharpness, lr, margin=0.1)",
        cases=regime_cases,
        probe=probe_regime,
        parts=(
            Part("runs told by finite losses and their start", 2, (REGIME_BY_START,)),
            Part("runs told by their last quarter", 2, (REGIME_BY_END,)),
        ),
    ),
    exposing("expose_lost_sign(low)", "a", diagonal_given),
    exposing("expose_layer_by_layer(d)", "before, after", layers_given),
)
