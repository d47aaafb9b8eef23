"""Day 33, momentum: from gradient descent to an optimizer. Cases and probes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from graders.probing.exercise import (
    LIBRARY_ANSWERS,
    BrokenContract,
    Candidate,
    Case,
    Draw,
    Exercise,
    Inputs,
    Part,
)
from graders.probing.exposing import exposing
from graders.probing.observe import FORM, describe, plain
from graders.probing.probes import arguments, call, error_of, filled, kept, steps_with_velocity
from graders.probing.recorder import paused

#: PyTorch's optimizer is a class around functions, which are the answer too.
LIBRARY_STEPS = LIBRARY_ANSWERS | {"sgd", "single_tensor_sgd", "multi_tensor_sgd"}


# -- gradient_descent --------------------------------------------------------------------------------


def descent_cases(draw: Draw) -> Iterator[Case]:
    """Gradients of a quadratic and of functions that are none; every row of the matrix matters."""
    d = draw.integer(3, 4)

    def bowl(size: int) -> torch.Tensor:
        half = draw.normal(size, size)
        return half.T @ half / size + 0.3 * torch.eye(size, dtype=half.dtype, device=half.device)

    def case(name: str, size: int, grad: str, steps: int) -> Case:
        inputs = {"grad": grad, "matrix": bowl(size), "target": draw.normal(size)}
        return Case(
            name, {**inputs, "w": draw.normal(size, std=2.0), "lr": draw.number(0.12, 0.3), "steps": steps}
        )

    yield case("a quadratic, five steps", d, "quadratic", 5)
    yield case("a quadratic with its minimum elsewhere", d, "shifted", 4)
    yield case("no step at all", d, "quadratic", 0)
    yield case("a single step", d, "shifted", 1)
    yield case("a function that is no quadratic", d, "tanh", 7)
    yield case("another function that is no quadratic", d, "sin", 6)
    yield case("a single number to learn", 1, "shifted", 3)
    yield case("many numbers, each its own gradient", draw.many(), "same", 4)
    yield case("many steps", 2, "quadratic", draw.integer(15, 40))
    still = case("a start at the minimum", d, "shifted", 5)
    yield Case(still.name, {**still.inputs, "w": still.inputs["target"].clone()})


GRADIENTS: dict[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "quadratic": lambda w, matrix, target: matrix @ w,
    "shifted": lambda w, matrix, target: matrix @ (w - target),
    "tanh": lambda w, matrix, target: matrix.T @ torch.tanh(matrix @ w - target),
    "sin": lambda w, matrix, target: torch.sin(w) + 0.1 * w,
    "same": lambda w, matrix, target: w.clone(),  # a gradient is the student's to work in
}


def probe_descent(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    def grad(w: torch.Tensor) -> torch.Tensor:
        return GRADIENTS[inputs["grad"]](w, inputs["matrix"], inputs["target"])

    yield "path", candidate(grad, inputs["w"], inputs["lr"], inputs["steps"])


# -- momentum_step and nesterov_step -----------------------------------------------------------------


def step_cases(draw: Draw) -> Iterator[Case]:
    """Steps in a row, each with the gradient, the lr and the beta that the inputs list for it."""
    d, rows = draw.sizes((5, 6), (2, 2))

    def lrs(count: int) -> list[float]:
        return [draw.number(0.15, 0.6) for _ in range(count)]

    def betas(count: int) -> list[float]:
        return [draw.number(0.5, 0.85) for _ in range(count)]

    def case(name: str, w: torch.Tensor, velocity: torch.Tensor, lr: list[float], beta: list[float]) -> Case:
        gradients = [draw.normal(*w.shape, mean=0.3) for _ in lr]
        return Case(name, {"w": w, "velocity": velocity, "gradients": gradients, "lr": lr, "beta": beta})

    rest = torch.zeros_like(draw.normal(d))
    yield case("one step from rest", draw.normal(d), rest, lrs(1), betas(1))
    yield case("one step with a velocity", draw.normal(d), draw.normal(d), lrs(1), betas(1))
    yield case("three steps in a row", draw.normal(d), rest, lrs(1) * 3, betas(1) * 3)
    yield case("lr changes between the steps", draw.normal(d), draw.normal(d), lrs(3), betas(1) * 3)
    yield case("beta changes between the steps", draw.normal(d), draw.normal(d), lrs(1) * 3, betas(3))
    yield case("beta = 0 in the second step", draw.normal(d), draw.normal(d), lrs(2), [betas(1)[0], 0.0])
    coasting = case("no slope, only velocity", draw.normal(d), draw.normal(d), lrs(2), betas(2))
    flat = [torch.zeros_like(g) for g in coasting.inputs["gradients"]]
    yield Case(coasting.name, {**coasting.inputs, "gradients": flat})
    columns = draw.many()
    yield case("w is a matrix", draw.normal(columns, rows).t(), draw.normal(rows, columns), lrs(2), betas(2))


# -- exponential_moving_average ----------------------------------------------------------------------


def average_cases(draw: Draw) -> Iterator[Case]:
    """Series of one and of several axes, the first of them the time, without and with the correction."""
    t, d, k = draw.sizes((5, 6), (3, 4), (2, 2))

    def case(name: str, values: torch.Tensor, beta: float, bias_correction: bool | str | None) -> Case:
        return Case(name, {"values": values, "beta": beta, "bias_correction": bias_correction})

    def beta() -> float:
        return draw.number(0.55, 0.85)

    yield case(
        "a series of vectors, without and with correction", draw.normal(t, d, mean=1.0), beta(), "both"
    )
    yield case("a series of numbers", draw.normal(t, mean=1.0), beta(), None)
    yield case("a single value", draw.normal(1, mean=2.0), beta(), False)
    yield case("a series of matrices", draw.normal(t, d, k), beta(), False)
    long = draw.integer(25, 60)
    yield case("a long memory", draw.normal(long, d, mean=1.0), draw.number(0.96, 0.98), False)
    yield case("corrected: a series of numbers", draw.normal(t, mean=1.0), beta(), True)
    yield case("corrected: a series of matrices", draw.normal(t, d, k, mean=1.0), beta(), True)
    yield case("corrected: a constant series", draw.normal(1, d, mean=2.0).repeat(t, 1), beta(), True)
    yield case("corrected: a long memory", draw.normal(long, mean=1.0), draw.number(0.96, 0.98), True)
    yield case("corrected: a single value", draw.normal(1, d, mean=2.0), beta(), True)


def probe_averages(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    wanted, again = inputs["bias_correction"], kept(inputs["values"])
    for bias_correction in (None, True) if wanted == "both" else (wanted,):
        result = candidate(*arguments({**inputs, "bias_correction": bias_correction}))
        inputs = {**inputs, "values": again}  # whatever the first call has done to its own
        yield "corrected averages" if bias_correction else "averages", kept(result)


# -- optimal_heavy_ball ------------------------------------------------------------------------------


def heavy_ball_cases(draw: Draw) -> Iterator[Case]:
    smallest = draw.number(0.5, 2.0)
    pairs: tuple[tuple[str, float, float], ...] = (
        ("an ordinary valley", smallest, smallest * draw.number(5.0, 30.0)),
        ("whole numbers", draw.integer(1, 3), draw.integer(20, 90)),
        ("a narrow valley", draw.number(0.001, 0.003), draw.number(5.0, 9.0)),
        ("nearly round", smallest, smallest * draw.number(1.2, 1.6)),
        ("a flat landscape", draw.number(1e-4, 3e-4), draw.number(1e-3, 9e-3)),
        ("a steep landscape", draw.number(30.0, 60.0), draw.number(2e3, 5e3)),
    )
    for name, low, high in pairs:
        yield Case(name, {"smallest": low, "largest": high})


# -- SGD ---------------------------------------------------------------------------------------------

#: What the observations of a case are called by; each has its own part of the points.
PLAIN, MOMENTUM, NESTEROV, DECAY = "plain", "momentum", "Nesterov", "weight decay"
CLEARING, LOOP = "zero_grad", "training loop"
#: The optional arguments, in the order of the signature.
OPTIONS = ("momentum", "nesterov", "weight_decay")


def optimizer_cases(draw: Draw) -> Iterator[Case]:
    """Three parameters of different shapes; a gradient of None stands for a parameter that has none.

    Once there are many more, which are observed as one, and at times many steps.
    """
    rows, columns, d = draw.sizes((2, 2), (3, 3), (4, 5))
    three = ((rows, columns), (d,), ())

    def case(
        name: str, topic: str, steps: int, *, without: Sequence[int] = (), more: int = 0, **options: Any
    ) -> Case:
        """without: the steps, from 0, in which parameter 1 has no gradient. more: so many parameters more."""
        shapes = (*three, *[(2,)] * more)
        inputs = {
            "topic": topic,
            "parameters": [draw.normal(*shape) for shape in shapes],
            "gradients": [
                [
                    None if position == 1 and step in without else draw.normal(*shape, mean=0.3)
                    for position, shape in enumerate(shapes)
                ]
                for step in range(steps)
            ],
            "lr": draw.number(0.15, 0.6),
        }
        return Case(name, {**inputs, **options})

    def beta() -> float:
        return draw.number(0.5, 0.85)

    def decay() -> float:
        return draw.number(0.1, 0.4)

    beside = [draw.normal(*shape) for shape in three]
    default = {"weight_decay": 0.0}  # passed, so that another default costs once, where lr stands alone
    yield case(
        "momentum, and another optimizer beside it", MOMENTUM, 3, momentum=beta(), beside=beside, **default
    )
    many = draw.sizes((6, 12), (6, 12))
    yield case("lr alone, many parameters", PLAIN, 2, more=many[1])
    yield case("lr alone, many steps", PLAIN, many[0])
    often = draw.integer(7, 10)
    together = {"momentum": beta(), "without": (0, 2), **default}
    yield case("a parameter without a gradient at times", MOMENTUM, often, **together)
    together = {"momentum": beta(), "adds_up": True, **default}
    yield case("gradients that add up without zero_grad", MOMENTUM, 3, more=2, **together)
    together = {"nesterov": True, "adds_up": True, **default}
    yield case("Nesterov, gradients add up", NESTEROV, 3, momentum=beta(), **together)
    yield case("weight decay alone", DECAY, 3, without=(1,), momentum=0.0, weight_decay=decay())
    together = {"momentum": beta(), "nesterov": False, "weight_decay": decay(), "adds_up": True}
    yield case("weight decay with momentum, gradients add up", DECAY, 3, **together)
    everything = {"momentum": beta(), "nesterov": True, "weight_decay": decay()}
    yield case("every argument, by position", DECAY, often, without=(0,), by_position=True, **everything)
    yield case("zero_grad after a step", CLEARING, 1)
    inputs = {
        "topic": LOOP,
        "x": draw.batch(6, 3),
        "target": draw.normal(6, 2),
        "seed": draw.integer(0, 9999),
    }
    yield Case(
        "a training loop, with model.parameters()",
        {**inputs, "lr": draw.number(0.05, 0.2), "momentum": beta(), "nesterov": False, **default},
    )


def probe_optimizer(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    topic, options = inputs["topic"], {name: inputs[name] for name in OPTIONS if name in inputs}
    if topic == LOOP:
        yield from _training_loop(candidate, inputs, options)
        return
    parameters = [nn.Parameter(tensor.clone()) for tensor in inputs["parameters"]]
    if inputs.get("by_position"):
        optimizer = candidate(parameters, inputs["lr"], *options.values())
    else:
        optimizer = candidate(parameters, lr=inputs["lr"], **options)
    others = [nn.Parameter(tensor.clone()) for tensor in inputs.get("beside", ())]
    beside = candidate(others, lr=inputs["lr"] / 2, momentum=0.3) if others else None
    paths = [[kept(parameter)] for parameter in parameters]
    for gradients in inputs["gradients"]:
        for parameter, g in zip(parameters, gradients, strict=True):
            _hand(parameter, g, inputs.get("adds_up", False))
        optimizer.step()
        if beside:
            for other, g in zip(others, gradients, strict=True):
                _hand(other, 2 * g, False)
            beside.step()
        for path, parameter in zip(paths, parameters, strict=True):
            path.append(kept(parameter))
    if topic == CLEARING:
        yield from _clearing(optimizer, parameters, inputs["gradients"][-1])
    else:
        for position, path in enumerate(paths[:3]):
            yield f"{topic}: path of parameter {position}", torch.stack(path)
        if more := paths[3:]:
            yield f"{topic}: paths of the others", torch.stack([torch.stack(path) for path in more])


def _hand(parameter: torch.Tensor, g: torch.Tensor | None, adds_up: bool) -> None:
    """Do what backward does: leave a gradient, or add it to the one that is there still.

    Where nothing is to add up the old gradient is dropped here, so that a fault in the candidate's
    zero_grad does not spoil what its step is judged by.
    """
    if adds_up and parameter.grad is not None:
        parameter.grad.add_(g)
    else:
        parameter.grad = None if g is None else g.clone()


def _clearing(
    optimizer: Any, parameters: list[torch.Tensor], gradients: list[torch.Tensor]
) -> Iterator[tuple[str, Any]]:
    """What zero_grad leaves, where None counts as zero, and whether it stands a gradient of None."""
    for parameter, g in zip(parameters, gradients, strict=True):
        _hand(parameter, g, adds_up=False)
    optimizer.zero_grad()
    for position, parameter in enumerate(parameters):
        left = torch.zeros_like(parameter) if parameter.grad is None else kept(parameter.grad)
        yield f"{CLEARING}: gradient of parameter {position}", left
    parameters[1].grad = None
    yield f"{CLEARING} where a parameter has no gradient", error_of(optimizer.zero_grad)


def _training_loop(
    candidate: Candidate, inputs: Inputs, options: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Backward, step, zero_grad: the candidate's own zero_grad is all that clears the gradients."""
    model = filled(nn.Linear(3, 2), inputs["seed"], inputs["x"])
    optimizer = candidate(model.parameters(), lr=inputs["lr"], **options)
    paths = {name: [kept(parameter)] for name, parameter in model.named_parameters()}
    for _ in range(2):  # in the second, old gradients and the velocity have shown themselves
        with paused():
            (model(inputs["x"]) - inputs["target"]).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        for name, parameter in model.named_parameters():
            paths[name].append(kept(parameter))
    for name, path in paths.items():
        yield f"{LOOP}: path of {name}", torch.stack(path)


# -- momentum_roots ----------------------------------------------------------------------------------

#: What the observations of a case are called by; each has its own part of the points.
REAL, COMPLEX = "real roots", "complex roots"


def roots_cases(draw: Draw) -> Iterator[Case]:
    """With p = lr · eigenvalue the roots are complex for p between (1 − √beta)² and (1 + √beta)².

    Never near a double root, where rounding decides between real and complex.
    """

    def case(name: str, kind: str, p: Callable[[float, float], float], beta: float | None = None) -> Case:
        beta = draw.number(0.3, 0.8) if beta is None else beta
        low, high = (1 - beta**0.5) ** 2, (1 + beta**0.5) ** 2
        lr = draw.number(0.02, 0.5)
        return Case(name, {"kind": kind, "eigenvalue": p(low, high) / lr, "lr": lr, "beta": beta})

    yield case("a flat direction: two real roots", REAL, lambda low, high: draw.number(0.2, 0.6) * low)
    yield case("it swings: complex roots", COMPLEX, lambda low, high: low + 0.2 * (high - low))
    yield case("it swings fast", COMPLEX, lambda low, high: low + draw.number(0.6, 0.85) * (high - low))
    yield case("too large a step: two negative roots", REAL, lambda low, high: high + draw.number(0.3, 1.0))
    yield case("an eigenvalue of 0", REAL, lambda low, high: 0.0)
    yield case("beta = 0: gradient descent", REAL, lambda low, high: draw.number(0.2, 0.7), 0.0)
    yield case("the top of a hill: a negative eigenvalue", REAL, lambda low, high: -draw.number(0.2, 0.7))
    beta = draw.number(0.95, 0.99)
    yield case("beta near 1", COMPLEX, lambda low, high: draw.number(0.3, 0.9), beta)


def probe_roots(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    """The two roots in order: complex ones by their imaginary part, real ones by their size on the line."""
    result, kind = candidate(inputs["eigenvalue"], inputs["lr"], inputs["beta"]), inputs["kind"]
    try:
        first, second = result
    except (TypeError, ValueError):
        raise BrokenContract(f"It should return the two roots, but it returns {describe(result)}.") from None
    try:
        first, second = complex(first), complex(second)
    except (TypeError, ValueError):
        one = next(one for one in (first, second) if not isinstance(one, int | float | complex))
        raise BrokenContract(
            f"Each of the two roots should be a number, complex where it swings, but one is {describe(one)}."
        ) from None
    size = max(abs(first), abs(second))
    # What the arithmetic of complex numbers leaves of nothing is nothing.
    roots = [complex(one.real, one.imag if abs(one.imag) > 1e-5 * size else 0.0) for one in (first, second)]
    roots.sort(key=lambda one: one.imag if kind == COMPLEX else one.real)
    for place, one in zip(("first", "second"), roots, strict=True):
        yield f"{kind}: real part of the {place}", one.real
        yield f"{kind}: imaginary part of the {place}", one.imag


# -- convert_momentum --------------------------------------------------------------------------------


def schedule_cases(draw: Draw) -> Iterator[Case]:
    def case(name: str, lrs: torch.Tensor) -> Case:
        return Case(name, {"lrs": lrs, "beta": draw.number(0.5, 0.95)})

    t = draw.integer(5, 8)
    yield case("a schedule up and down", draw.uniform(t, low=0.05, high=0.5))
    step = draw.uniform(1, low=0.2, high=0.5).repeat(2 * t)
    step[t:] *= 0.1
    yield case("lr falls to a tenth once", step)
    yield case("a warm-up", draw.uniform(1, low=0.01, high=0.03) * torch.arange(1, t + 1).to(step))
    yield case("lr stays the same", draw.uniform(1, low=0.1, high=0.5).repeat(t))
    yield case("a single step", draw.uniform(1, low=0.1, high=0.5))
    yield case("many steps", draw.uniform(draw.many(), low=0.01, high=1.0))


def steps_exercise(name: str) -> Exercise:
    """momentum_step and nesterov_step are looked at in the same way."""
    return Exercise(
        name=name,
        signature=f"{name}(w, g, velocity, lr, beta)",
        cases=step_cases,
        probe=steps_with_velocity,
        parts=(
            Part("the new velocity", 1, ("velocity after step*",)),
            Part("the new w", 2, ("w after step*",)),
        ),
        barred=LIBRARY_STEPS,
    )


# -- steps_on_digits ---------------------------------------------------------------------------------

#: 200 images of handwritten digits, (200, 64) with pixels from 0 to 16, and what they show. The first of
#: scikit-learn's `load_digits`: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI
#: Machine Learning Repository, 1998, CC BY 4.0.
DIGITS = Path(__file__).with_name("digits.safetensors")
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"tanh": torch.tanh, "relu": torch.relu}
#: What a case asks for: training to the target; nothing, since it is met; an end where the budget ends.
TRAINING, NOTHING, ENOUGH = "training", "nothing", "the end of the budget"
MODE = "mode afterwards"


@lru_cache(maxsize=1)
def digits() -> dict[str, torch.Tensor]:
    return load_file(DIGITS)


def digits_cases(draw: Draw) -> Iterator[Case]:
    """Nets that want rates of their own: what gradient descent needs for one is far too much for another.

    The budget is twice what Adam takes at 0.02, and three times what it takes at 0.03.
    """

    def images(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = torch.randperm(len(digits()["labels"]), generator=draw.generator)[:count]
        return digits()["images"][chosen].double(), digits()["labels"][chosen].long().to(draw.device)

    def case(
        name: str,
        x: torch.Tensor,
        y: torch.Tensor,
        widths: tuple[int, ...],
        gains: tuple[float, ...],
        activation: str = "tanh",
        target: float | None = None,
        budget: int = 32,
        asks: str = TRAINING,
        stale: bool = False,
        training: bool = True,
    ) -> Case:
        inputs: dict[str, Any] = {"x": draw.tensor(x), "y": y, "widths": list(widths), "gains": list(gains)}
        inputs |= {"activation": activation, "target": target or draw.number(1.0, 1.1), "budget": budget}
        inputs |= {"asks": asks, "stale": stale, "training": training, "seed": draw.integer(0, 2**31)}
        return Case(name, inputs)

    x, y = images(30)
    scales = 10 ** (2 * torch.rand(64, generator=draw.generator, dtype=torch.float64) - 1)
    yield case("pixels on scales of their own", (x - x.mean(0)) / 8 * scales, y, (64, 12, 10), (0.3, 1.0))
    x, y = images(draw.integer(28, 34))
    net = {"widths": (64, 20, 10), "gains": (0.2, 1.0), "activation": "relu"}
    yield case("bright images, evaluation mode", x / 3, y, **net, stale=True, training=False)
    x, y = images(draw.integer(28, 34))
    deep = {"widths": (64, 10, 10, 10), "gains": (0.4, 0.5, 0.5)}
    yield case("a deeper net with small weights, dim images", x / 16, y, **deep, stale=True)
    x, y = images(20)
    shallow = {"widths": (64, 10), "gains": (0.3,)}
    met = {"target": draw.number(3.0, 4.0), "budget": 10, "asks": NOTHING}
    yield case("a target that is met already", (x - 8) / 8, y, **shallow, **met, training=False)
    x, y = images(20)
    short = {"target": 1e-3, "budget": draw.integer(4, 6), "asks": ENOUGH}
    yield case("a budget that is too small", x / 16, y, (64, 12, 10), (1.0, 1.0), **short, stale=True)


def starting_weights(inputs: Inputs) -> list[torch.Tensor]:
    """Weights and biases of the layers in turn, in float64 on the CPU."""
    generator = torch.Generator().manual_seed(inputs["seed"])
    found = []
    for (before, after), gain in zip(pairwise(inputs["widths"]), inputs["gains"], strict=True):
        found.append(
            gain / before**0.5 * torch.randn(after, before, generator=generator, dtype=torch.float64)
        )
        found.append(torch.zeros(after, dtype=torch.float64))
    return found


class Activation(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return ACTIVATIONS[self.kind](x)


def net_of(inputs: Inputs) -> nn.Sequential:
    widths, layers = inputs["widths"], []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), Activation(inputs["activation"])]
    model = nn.Sequential(*layers[:-1]).to(inputs["x"])
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), starting_weights(inputs), strict=True):
            parameter.copy_(value)
            if inputs["stale"]:
                parameter.grad = 100 * torch.cos(1 + torch.arange(value.numel()).view_as(value)).to(parameter)
    return model.train(inputs["training"])


class OverBudget(Exception):
    """Raised inside a candidate that begins a backward pass beyond its budget, which ends it there."""


class Passes:
    """Counts the backward passes through a model, whoever starts them and however.

    count: how many there were. late: how many of those began at a loss of the whole batch that was at the
    target already. old_gradients: whether backward has added to a gradient that lay there.
    """

    def __init__(self, model: nn.Module, y: torch.Tensor, target: float, budget: int) -> None:
        self.y, self.target, self.budget = y, target, budget
        self.count, self.late, self.old_gradients = 0, 0, False
        self._pass = -1
        self._looked_at = list(model.parameters())[-1]
        self._lay_there: torch.Tensor | None = None
        for parameter in model.parameters():
            parameter.register_hook(lambda gradient: self._note())
        # A function of its own: a copy of the model shares it, and with it this counter.
        model.register_forward_hook(lambda module, given, output: self._watch(output))

    def _watch(self, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.requires_grad:
            seen = output.detach() if len(output) == len(self.y) else None
            output.register_hook(lambda gradient: self._note(seen))

    def _note(self, output: torch.Tensor | None = None) -> None:
        """Called several times in a pass, once of them with the output of the model."""
        if torch._C._current_graph_task_id() != self._pass:
            self._pass = torch._C._current_graph_task_id()
            self.look_at_gradients()
            self.count += 1
            if self.count > self.budget:
                raise OverBudget(f"this is backward pass {self.count}, and the budget is {self.budget}.")
        if output is not None and not output.is_meta:
            with paused():
                self.late += bool(F.cross_entropy(output, self.y) <= self.target)

    def look_at_gradients(self) -> None:
        """Before a pass, and at the end: a gradient that lay there before has to be what it was."""
        with paused(), torch.no_grad():
            now = self._looked_at.grad
            if self._lay_there is not None and (now is None or not torch.equal(now, self._lay_there)):
                self.old_gradients = True
            self._lay_there = None if now is None or now.is_meta or not now.any() else now.clone()


def probe_digits(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    # On `meta`, where nothing trains, one pass shows on which device tensors are made.
    budget = 1 if inputs["x"].is_meta else inputs["budget"]
    with paused():
        model = net_of(inputs)
    parameters, passes = list(model.parameters()), Passes(model, inputs["y"], inputs["target"], budget)
    returned: Any = None
    with contextlib.suppress(OverBudget):
        returned = plain(candidate(model, inputs["x"], inputs["y"], inputs["target"], budget))
    passes.look_at_gradients()
    yield "passes", passes.count
    yield "late passes", passes.late
    yield "old gradients", passes.old_gradients
    whole = isinstance(returned, int) and not isinstance(returned, bool)
    of_numbers = isinstance(returned, float | torch.Tensor | np.ndarray)
    like_whole = of_numbers and torch.as_tensor(returned).numel() == 1
    yield "returned", float(returned) if like_whole else returned
    with paused():
        weights = torch.cat([parameter.detach().flatten() for parameter in parameters])
    yield "weights", weights
    modes = {"training" if module.training else "evaluation" for module in model.modules()}
    yield MODE, " and ".join(sorted(modes))
    yield FORM, f"{describe(returned)} instead of an int" if like_whole and not whole else None


# -- inputs that show a mistake, or hide it ------------------------------------------------------------


def steps_given(draw: Draw) -> dict[str, Any]:
    return {"steps": draw.integer(8, 12), "beta": round(draw.number(0.85, 0.95), 3)}


def velocity_given(draw: Draw) -> dict[str, Any]:
    return {"d": draw.integer(2, 9), "beta": round(draw.number(0.5, 0.95), 3)}


EXERCISES = (
    Exercise(
        name="gradient_descent",
        signature="gradient_descent(grad, w, lr, steps)",
        cases=descent_cases,
        probe=probe_descent,
        parts=(Part("the path", 2),),
    ),
    steps_exercise("momentum_step"),
    steps_exercise("nesterov_step"),
    Exercise(
        name="exponential_moving_average",
        signature="exponential_moving_average(values, beta, bias_correction=False)",
        cases=average_cases,
        probe=probe_averages,
        parts=(
            Part("the averages", 2, ("averages",)),
            Part("the averages with bias correction", 1, ("corrected averages",)),
        ),
    ),
    Exercise(
        name="optimal_heavy_ball",
        signature="optimal_heavy_ball(smallest, largest)",
        cases=heavy_ball_cases,
        probe=call("lr", "beta"),
        parts=(Part("lr", 1, ("lr",)), Part("beta", 1, ("beta",))),
        arithmetic=torch.float32,  # plain numbers may pass through tensors of PyTorch's default dtype
    ),
    Exercise(
        name="SGD",
        signature="SGD(params, lr, momentum=0.0, nesterov=False, weight_decay=0.0)",
        cases=optimizer_cases,
        probe=probe_optimizer,
        parts=(
            Part("plain gradient descent", 1, (f"{PLAIN}: *",)),
            Part("momentum", 1, (f"{MOMENTUM}: *",)),
            Part("Nesterov", 1, (f"{NESTEROV}: *",)),
            Part("weight decay", 1, (f"{DECAY}: *",)),
            Part("zero_grad, and a training loop", 1, (f"{CLEARING}*", f"{LOOP}: *")),
        ),
        barred=LIBRARY_STEPS,
    ),
    Exercise(
        name="momentum_roots",
        signature="momentum_roots(eigenvalue, lr, beta)",
        cases=roots_cases,
        probe=probe_roots,
        parts=(Part("two real roots", 1, (f"{REAL}: *",)), Part("two complex roots", 2, (f"{COMPLEX}: *",))),
        arithmetic=torch.float32,  # plain numbers may pass through tensors of PyTorch's default dtype
    ),
    Exercise(
        name="convert_momentum",
        signature="convert_momentum(lrs, beta)",
        cases=schedule_cases,
        probe=call("betas"),
        parts=(Part("the beta of every step", 3, ("betas",)),),
    ),
    Exercise(
        name="steps_on_digits",
        signature="steps_on_digits(model, x, y, target, budget)",
        cases=digits_cases,
        probe=probe_digits,
        parts=(
            Part("the target within the budget, on every net", 3, ("loss", "budget")),
            Part("an end as soon as it is met, and how many passes it took", 1, ("end", "count")),
            Part("the mode of the model afterwards", 1, (MODE,)),
        ),
        barred=LIBRARY_STEPS,
    ),
    exposing("expose_lr_in_velocity(steps, beta)", "lrs", steps_given),
    exposing("hide_nesterov(d, beta)", "velocity, g", velocity_given),
)
