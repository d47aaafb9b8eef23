"""Day 26, batch normalization: the algorithm, forward and backward. Cases and probes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from graders.probing.cases import batches
from graders.probing.exercise import (
    AUTOGRAD,
    LIBRARY_ANSWERS,
    Candidate,
    Case,
    Draw,
    Exercise,
    Inputs,
    Part,
)
from graders.probing.exposing import exposing, log_uniform
from graders.probing.observe import unpacked
from graders.probing.probes import arguments, call, first_of_pair


def forward_cases(draw: Draw) -> Iterator[Case]:
    for name, x, eps in batches(draw):
        d = x.shape[1]
        yield Case(name, {"x": x, "gamma": draw.scale(d), "beta": draw.normal(d), "eps": eps})


def probe_forward(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    yield from first_of_pair(candidate(*arguments(inputs)), ("y", "cache"))


def backward_cases(draw: Draw) -> Iterator[Case]:
    """The cases of the forward pass; in one, another batch goes forward before the first goes back."""
    for case in forward_cases(draw):
        shape = case.inputs["x"].shape
        inputs = {**case.inputs, "dy": draw.normal(*shape, mean=0.4)}
        if shape[0] == 2:
            name = f"{case.name}, and another one in between"
            yield Case(name, {**inputs, "in between": draw.normal(*shape, mean=1.5, std=3.0)})
        else:
            yield Case(case.name, inputs)


#: The arguments of the forward pass.
FORWARD = ("x", "gamma", "beta", "eps")


def probe_backward(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    forward, backward = candidate
    given = {name: inputs[name] for name in FORWARD}
    y, cache = unpacked_forward(forward(*arguments(given)))
    if "in between" in inputs:
        forward(*arguments({**given, "x": inputs["in between"]}))
    yield "y", y
    gradients = unpacked(backward(inputs["dy"], cache), ("dx", "dgamma", "dbeta"))
    yield from zip(("dx", "dgamma", "dbeta"), gradients, strict=True)


def unpacked_forward(result: Any) -> tuple[Any, Any]:
    """The student's (y, cache). Raises BrokenContract where batch_norm_forward gives something else."""
    try:
        y, cache = unpacked(result, ("y", "cache"))
    except Exception as problem:
        raise type(problem)(f"batch_norm_forward comes first. {problem}") from None
    return y, cache


def gradient_cases(draw: Draw) -> Iterator[Case]:
    """Functions of every kind: elementwise, mixing a row, mixing the batch, changing the shape.

    Two return x itself and a view of it, which change where x is changed in place.
    """
    n, d, k = draw.sizes((4, 5), (2, 3), (6, 7))
    yield Case(  # the first case is looked at most closely, and each element costs two calls of f
        "f works on each element",
        {"x": draw.batch(2, d), "dy": draw.normal(2, d), "h": None, "f": "sin", "weight": draw.normal(1)},
    )
    x = draw.batch(n, d)
    yield Case(
        "f is a matrix product with another shape",
        {"x": x, "dy": draw.normal(n, k), "h": None, "f": "product", "weight": draw.normal(d, k)},
    )
    yield Case(
        "f mixes the whole batch, h = 0.05",
        {"x": x, "dy": draw.normal(n, d), "h": 0.05, "f": "centred cube", "weight": draw.normal(1)},
    )
    yield Case(
        "x has three axes, h = 0.2",
        {
            "x": draw.normal(2, d, 2),
            "dy": draw.normal(2, d, 2),
            "h": 0.2,
            "f": "cube",
            "weight": draw.normal(1),
        },
    )
    many = draw.integer(20, 40)
    yield Case(
        "x is a single, long vector, and f returns a view of it",
        {
            "x": draw.normal(many),
            "dy": draw.normal(many // 2),
            "h": 1e-4,
            "f": "half",
            "weight": draw.normal(1),
        },
    )
    yield Case(
        "f returns x itself",
        {"x": draw.normal(d, 1), "dy": draw.normal(d, 1), "h": 1e-3, "f": "same", "weight": draw.normal(1)},
    )


FUNCTIONS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "sin": lambda x, weight: torch.sin(x),
    "cube": lambda x, weight: x * x * x,
    "product": lambda x, weight: x @ weight,
    "half": lambda x, weight: x[: len(x) // 2],
    "same": lambda x, weight: x,
    "centred cube": lambda x, weight: (x - x.mean(0)) ** 3,
}


def probe_gradient(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    called_in = set()

    def f(x: torch.Tensor) -> torch.Tensor:
        called_in.add(str(x.dtype).removeprefix("torch."))
        return FUNCTIONS[inputs["f"]](x, inputs["weight"].to(x.dtype))

    values = [f, inputs["x"], inputs["dy"]]
    yield "gradient", candidate(*values) if inputs["h"] is None else candidate(*values, inputs["h"])
    yield "dtype in which f is called", ", ".join(sorted(called_in))


def identity_cases(draw: Draw) -> Iterator[Case]:
    for name, x, eps in batches(draw):
        yield Case(name, {"x": x, "eps": eps})


def function_cases(draw: Draw) -> Iterator[Case]:
    for case in backward_cases(draw):
        eps = 1e-5 if case.inputs["eps"] is None else case.inputs["eps"]
        yield Case(case.name, {**case.inputs, "eps": eps})
    inputs = {"x": draw.batch(3, 2), "gamma": draw.scale(2), "beta": draw.normal(2), "eps": 1e-3}
    yield Case("torch.autograd.gradcheck", {**inputs, "dy": None})


def probe_function(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    x, gamma, beta = (inputs[name].clone().requires_grad_() for name in ("x", "gamma", "beta"))
    if inputs["dy"] is None:
        yield from _gradcheck(candidate, x, gamma, beta, inputs["eps"])
        return
    y = candidate.apply(x, gamma, beta, inputs["eps"])
    if "in between" in inputs:
        candidate.apply(inputs["in between"], inputs["gamma"], inputs["beta"], inputs["eps"])
    yield "y", y
    y.backward(inputs["dy"])
    yield from (("dx", x.grad), ("dgamma", gamma.grad), ("dbeta", beta.grad))
    # As in a frozen layer: x alone asks for a gradient.
    alone = inputs["x"].clone().requires_grad_()
    candidate.apply(alone, inputs["gamma"], inputs["beta"], inputs["eps"]).backward(inputs["dy"])
    yield "dx where gamma and beta are frozen", alone.grad


#: How far inputs are moved to either side for a numerical derivative.
STEP = 1e-6
#: What the judge computes `torch.autograd.gradcheck`'s answer from: outputs around a point, and the gradients
#: for every unit vector of dy there.
AROUND, BACKWARD = "y around the point", "gradients at the point"


def _gradcheck(candidate: Candidate, *inputs: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """What it takes to compare gradients with differences, as values, in float64, which not every device has.

    Yields AROUND: (K, 2, N·D), y where each of the K input elements is larger and smaller by STEP; and
    BACKWARD: (K, N·D), the gradients for each element of y.
    """
    if inputs[0].device.type == "meta":
        return
    values, eps = [tensor.detach().cpu().double() for tensor in inputs[:3]], inputs[3]
    around = []
    for position, value in enumerate(values):
        for element in range(value.numel()):
            pair = []
            for step in (STEP, -STEP):
                moved = value.flatten().clone()
                moved[element] += step
                given = [*values[:position], moved.view_as(value), *values[position + 1 :]]
                pair.append(candidate.apply(*given, eps).detach().flatten())
            around.append(torch.stack(pair))
    yield AROUND, torch.stack(around)
    columns = []
    for unit in torch.eye(values[0].numel(), dtype=torch.float64):
        leaves = [value.clone().requires_grad_() for value in values]
        candidate.apply(*leaves, eps).backward(unit.view_as(values[0]))
        gradients = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]
        columns.append(torch.cat([gradient.flatten() for gradient in gradients]))
    yield BACKWARD, torch.stack(columns, 1)


# -- a gradient that lacks a path --------------------------------------------------------------------

#: Observations, so that the points can be split.
PATH, PATH_NEAR_EPS = "missing path", "missing path where eps matters"


def gradients(x: Tensor, gamma: Tensor, dy: Tensor, eps: float) -> dict[str, Tensor]:
    """dx of batch norm, and what is left of it where a path is missing; the library's in float64.

    In eval mode x reaches y directly and in no other way. What comes through the mean is one number for each
    feature, the mean of that.
    """

    def by_library(training: bool) -> Tensor:
        leaf = x.detach().cpu().double().requires_grad_()
        mean, var = leaf.detach().mean(0), leaf.detach().var(0, correction=0)
        y = F.batch_norm(leaf, mean, var, gamma.cpu().double(), None, training=training, eps=eps)
        return torch.autograd.grad(y, leaf, dy.cpu().double())[0]

    right, direct = by_library(True), by_library(False)
    through_mean = direct.mean(0)
    return {
        "none": right,
        "both": direct,
        "variance": direct - through_mean,
        "mean": right + through_mean,
    }


def path_cases(draw: Draw) -> Iterator[Case]:
    """Gradients of one batch and then of another, in an order of chance; both paths carry much of each."""
    kinds = ("mean", "variance", "both", "none")
    n, d = draw.sizes((7, 10), (3, 5))

    def upstream(x: Tensor) -> Tensor:
        """A dy of which much goes through the mean and much through the variance, in every feature."""
        n, d = x.shape
        x_hat = F.batch_norm(x.cpu().double(), None, None, training=True)
        slope = draw.scale(d).cpu().double() / 2
        return draw.tensor(draw.normal(n, d).cpu().double() + draw.scale(d).cpu().double() + slope * x_hat)

    def several(name: str, x: Tensor, eps: float | None, count: int, **given: Any) -> Iterator[Case]:
        """So many gradients of one batch, no two of one kind."""
        gamma, near_eps = given.get("gamma", draw.scale(x.shape[1])), given.get("near_eps", False)
        dy = upstream(x) * given.get("size", 1.0)
        found = gradients(x, gamma, dy, 1e-5 if eps is None else eps)
        order = [kinds[i] for i in torch.randperm(len(kinds), generator=draw.generator)]
        for number, kind in enumerate(order[:count], start=1):
            values = {"dx": draw.tensor(found[kind]), "dy": dy, "x": x, "gamma": gamma, "eps": eps}
            yield Case(f"{name}, gradient {number}", {**values, "near eps": near_eps})

    yield from several(f"a batch of {n} × {d}", draw.batch(n, d), None, 4)
    yield from several(
        "a variance near the default eps", draw.normal(n, d, std=0.003), None, 4, near_eps=True
    )
    # Three of the kinds, since eps shows in two of them only: so that it shows where eps is given.
    yield from several("a variance near eps = 0.1", draw.normal(n, d, std=0.3), 0.1, 3, near_eps=True)
    yield from several("gradients as small as 1e-10", draw.batch(n, d), 1e-5, 2, size=1e-10)
    gamma = draw.scale(d)
    gamma[:-1] = 0.0
    yield from several("gamma is 0 but for the last feature", draw.batch(n, d), 1e-5, 2, gamma=gamma)
    x = draw.batch(n, d)
    x[:, 0] = 0.75
    yield from several("a constant feature", x, 1e-3, 2)
    x = draw.batch(draw.many(), n).t()
    yield from several("many features, not contiguous in memory", x, 1e-5, 2, size=1e4)


def probe_path(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    given = {name: inputs[name] for name in ("dx", "dy", "x", "gamma", "eps")}
    yield PATH_NEAR_EPS if inputs["near eps"] else PATH, candidate(*arguments(given))


# -- another norm ------------------------------------------------------------------------------------


def outside_cases(draw: Draw) -> Iterator[Case]:
    for name, x, eps in batches(draw):
        values = {"dy": draw.normal(*x.shape, mean=0.4), "x": x, "gamma": draw.scale(x.shape[1]), "eps": eps}
        yield Case(name, values)


# -- inputs that show a mistake ------------------------------------------------------------------------


def eps_given(draw: Draw) -> dict[str, Any]:
    n, d = draw.sizes((4, 9), (2, 5))
    return {"n": n, "d": d, "eps": log_uniform(draw, 1e-5, 1e-2)}


def share_given(draw: Draw) -> dict[str, Any]:
    """A share between what dividing by N - 1 makes of N samples and of one more."""
    n = draw.integer(3, 30)
    shares = [1 - (1 - 1 / count) ** 0.5 for count in (n, n + 1)]
    return {"d": draw.integer(2, 5), "share": sum(shares) / 2}


def sizes_given(draw: Draw) -> dict[str, Any]:
    n, d = draw.sizes((4, 9), (2, 5))
    return {"n": n, "d": d}


EXERCISES = (
    Exercise(
        name="batch_norm_forward",
        signature="batch_norm_forward(x, gamma, beta, eps=1e-5)",
        cases=forward_cases,
        probe=probe_forward,
        parts=(Part("the output y", 4, ("y",)),),
    ),
    Exercise(
        name="numerical_gradient",
        signature="numerical_gradient(f, x, dy, h=1e-6)",
        cases=gradient_cases,
        probe=probe_gradient,
        parts=(Part("the gradient", 3),),
        barred=LIBRARY_ANSWERS | AUTOGRAD,
        arithmetic=torch.float64,
    ),
    Exercise(
        name="batch_norm_backward",
        signature="batch_norm_backward(dy, cache)",
        cases=backward_cases,
        probe=probe_backward,
        parts=(
            Part("dx, the gradient for the input", 3, ("dx",)),
            Part("dgamma, the gradient for the scale", 1, ("dgamma",)),
            Part("dbeta, the gradient for the shift", 1, ("dbeta",)),
        ),
        together=("batch_norm_forward", "batch_norm_backward"),
        barred=LIBRARY_ANSWERS | AUTOGRAD,
        context=frozenset({"y"}),
    ),
    Exercise(
        name="identity_parameters",
        signature="identity_parameters(x, eps=1e-5)",
        cases=identity_cases,
        probe=call("gamma", "beta"),
        parts=(Part("gamma", 1, ("gamma",)), Part("beta", 1, ("beta",))),
    ),
    Exercise(
        name="BatchNormFunction",
        signature="BatchNormFunction.apply(x, gamma, beta, eps)",
        cases=function_cases,
        probe=probe_function,
        parts=(
            Part("forward: y", 1, ("y",)),
            Part("backward: dx", 1, ("dx*",)),
            Part("backward: dgamma and dbeta", 1, ("dgamma", "dbeta")),
            Part("torch.autograd.gradcheck", 1, ("gradcheck",)),
        ),
    ),
    Exercise(
        name="missing_path",
        signature="missing_path(dx, dy, x, gamma, eps=1e-5)",
        cases=path_cases,
        probe=probe_path,
        parts=(
            Part("the missing path", 2, (PATH,)),
            Part("also where the variance is near eps", 1, (PATH_NEAR_EPS,)),
        ),
    ),
    Exercise(
        name="outside_backward",
        signature="outside_backward(dy, x, gamma, eps=1e-3)",
        cases=outside_cases,
        probe=call("dx", "dgamma", "dbeta"),
        parts=(
            Part("dx, the gradient for the input", 3, ("dx",)),
            Part("dgamma and dbeta", 1, ("dgamma", "dbeta")),
        ),
        barred=LIBRARY_ANSWERS | AUTOGRAD,
    ),
    exposing("expose_eps_outside(n, d, eps)", "x", eps_given),
    exposing("expose_unbiased(d, share)", "x", share_given),
    exposing("hide_constant_statistics(n, d)", "x, dy", sizes_given),
)
