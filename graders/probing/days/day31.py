"""Day 31, what batch normalization changes: measures of a loss landscape. Cases and probes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from graders.probing.exercise import Candidate, Case, Draw, Exercise, Inputs, Part
from graders.probing.probes import call, error_of

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

    def case(name: str, iterations: int, first: float, second: float, scale: float = 1.0, d: int = d) -> Case:
        """A Hessian whose two largest eigenvalues are about these, times a scale."""
        rest = [draw.number(-0.5, 0.5) for _ in range(d - 2)]
        values = [first * draw.number(0.9, 1.1), second * draw.number(0.9, 1.1), *rest]
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
)
