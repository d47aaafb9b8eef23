"""Day 25, the problem of unstable gradients: what scale does to layers. Cases and probes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from graders.probing.cases import batches
from graders.probing.exercise import Candidate, Case, Draw, Exercise, Inputs, Part
from graders.probing.exposing import exposing, log_uniform
from graders.probing.probes import Untouched, arguments, call
from graders.probing.recorder import paused


def standardize_cases(draw: Draw) -> Iterator[Case]:
    for name, x, eps in batches(draw):
        yield Case(name, {"x": x, "eps": eps})


# -- the condition number ----------------------------------------------------------------------------


def condition_cases(draw: Draw) -> Iterator[Case]:
    """Features that are unlike each other, but never so much that float32 cannot tell the answer."""
    n, d = draw.sizes((14, 18), (3, 4))
    scales = torch.linspace(0.5, 2.0, d, dtype=torch.float64)
    plain = draw.normal(n, d).cpu().double()
    yield Case(f"features of different scale, {n} × {d}", {"x": draw.tensor(plain * scales)})

    turn = torch.linalg.qr(draw.normal(d, d).cpu().double()).Q
    plain = draw.normal(n, d).cpu().double()
    yield Case("correlated features", {"x": draw.tensor((plain * scales) @ turn)})

    offset = draw.uniform(d, low=0.7, high=1.5)
    yield Case("features with an offset", {"x": draw.normal(n, d) + offset})

    first = draw.normal(n, 1)
    twin = first + draw.normal(n, 1, std=0.35)
    yield Case("two features that are nearly the same", {"x": torch.cat([first, twin], 1)})

    yield Case("a single feature", {"x": draw.normal(n, 1, mean=0.5)})

    even = torch.linalg.qr(draw.normal(n, d).cpu().double()).Q * draw.number(2.0, 4.0)
    yield Case("orthogonal features of one scale", {"x": draw.tensor(even)})

    yield Case("small values", {"x": draw.normal(n, d, mean=0.00007, std=0.0001)})
    wide = draw.integer(12, 24)
    plain = torch.linspace(1.0, 2.0, wide, dtype=torch.float64) * draw.normal(4 * wide, wide).cpu().double()
    yield Case("many features, not contiguous in memory", {"x": draw.tensor(plain.t().contiguous().t())})


# -- activations -------------------------------------------------------------------------------------

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "relu": nn.ReLU,
    "relu in place": lambda: nn.ReLU(inplace=True),
    "flatten": nn.Flatten,
    "identity": nn.Identity,
}
STATISTICS = "statistics"
STATISTICS_IN_PLACE = "statistics of layers that work in place"


def activation_cases(draw: Draw) -> Iterator[Case]:
    n, d, h, k = draw.sizes((6, 8), (4, 5), (9, 10), (2, 3))

    def case(name: str, x: Tensor, layers: list[str], *widths: int, offset: float = 0.0) -> Case:
        """A stack of these layers; the linear ones have these output widths."""
        weights, biases, fan_in = [], [], x[0].numel()
        for width in widths:
            weights.append(draw.normal(width, fan_in, std=1.3 / fan_in**0.5))
            biases.append(draw.normal(width, mean=offset, std=0.6))
            fan_in = width
        return Case(name, {"x": x, "layers": layers, "weights": weights, "biases": biases})

    x = draw.batch(n, d)
    yield case(
        "linear and tanh layers of one width", x, ["linear", "tanh", "linear", "tanh", "linear"], d, d, d
    )
    yield case("layers of different widths", x, ["linear", "relu", "linear"], h, k)
    in_turn = ["identity", "relu in place", "linear", "relu in place"]
    yield case("a layer that returns its input, then ReLU in place", x, in_turn, h)
    yield case("a first layer that works in place", x, ["relu in place", "linear", "relu in place"], d)
    yield case("outputs at an offset of 10,000", x, ["tanh", "sigmoid", "linear"], h, offset=1e4)
    yield case("one sample, one output", draw.normal(1, d), ["tanh", "linear", "sigmoid"], 1)
    maps = draw.normal(n, 2, k, d, mean=0.5)
    yield case("feature maps and a flattening layer", maps, ["sigmoid", "flatten", "linear"], k)
    deep = ["linear", *["tanh", "sigmoid"] * draw.integer(4, 8), "linear"]
    yield case("many layers, not contiguous in memory", draw.batch(draw.many(), n).t(), deep, d, d)


def probe_activations(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    parameters = iter(zip(inputs["weights"], inputs["biases"], strict=True))
    layers = [linear(*next(parameters)) if kind == "linear" else LAYERS[kind]() for kind in inputs["layers"]]
    in_place = "relu in place" in inputs["layers"]
    untouched = Untouched("the layers", layers)
    yield STATISTICS_IN_PLACE if in_place else STATISTICS, candidate(layers, inputs["x"])
    yield untouched.now()


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A linear layer with copies of these parameters."""
    with paused():
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight, layer.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
    return layer


# -- gradients ---------------------------------------------------------------------------------------


class Residual(nn.Module):
    """Two linear layers in a block of their own, with a way round them."""

    def __init__(self, d: int, h: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(d, h), nn.Tanh(), nn.Linear(h, d))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Unused(nn.Module):
    """The second of three linear layers takes no part in the output."""

    def __init__(self, d: int, h: int, k: int) -> None:
        super().__init__()
        self.first, self.unused, self.last = nn.Linear(d, h), nn.Linear(h, h), nn.Linear(h, k)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x)))


class Repeated(nn.Module):
    """The middle layer is applied three times; a parameter without dimensions is its slope."""

    def __init__(self, d: int, h: int, k: int) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(d, h), nn.Linear(h, h), nn.Linear(h, k)
        self.slope = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for _ in range(3):
            x = torch.tanh(self.slope * self.middle(x))
        return self.last(x)


class Mixing(nn.Module):
    """A weight with two axes that belongs to no linear layer."""

    def __init__(self, h: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(h, h))

    def forward(self, x: Tensor) -> Tensor:
        return x + x @ self.weight


#: Models by name, for d inputs, a hidden width of h and k outputs.
MODELS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "plain": lambda d, h, k: nn.Sequential(
        nn.Linear(d, h), nn.Tanh(), nn.Linear(h, h), nn.Tanh(), nn.Linear(h, k)
    ),
    "unused": Unused,
    "nested": lambda d, h, k: nn.Sequential(
        Residual(d, h), nn.Sigmoid(), *(Residual(d, h) for _ in range(d)), nn.Linear(d, k)
    ),
    "repeated": Repeated,
    "other layers": lambda d, h, k: nn.Sequential(
        nn.Unflatten(1, (1, d)),
        nn.Conv1d(1, h, d),
        nn.Flatten(),
        nn.LayerNorm(h),
        nn.Linear(h, h, bias=False),
        Mixing(h),
        nn.Softplus(),
        nn.Linear(h, k),
    ),
    "one layer": lambda d, h, k: nn.Linear(d, k, bias=False),
}


def gradient_cases(draw: Draw) -> Iterator[Case]:
    n, d, h, k = draw.sizes((7, 9), (4, 5), (5, 6), (2, 3))

    def case(name: str, model: str, before: str, d: int = d) -> Case:
        """before: which parameters hold a gradient already: "none", "all" or "some"."""
        parameters, gradients = [], []
        for position, shape in enumerate(shapes(model, d, h, k)):
            fan_in = shape[1:].numel()
            parameters.append(draw.normal(*shape, mean=0.2, std=1 / fan_in**0.5))
            held = before == "all" or (before == "some" and position % 3 == 0)
            gradients.append(draw.normal(*shape) if held else None)
        return Case(
            name,
            {
                "model": model,
                "sizes": [d, h, k],
                "x": draw.normal(n, d, mean=0.3),
                "target": draw.normal(n, k, std=2.0),
                "parameters": parameters,
                "gradients": gradients,
            },
        )

    yield case("three linear layers", "plain", "none")
    yield case("every .grad holds something already", "plain", "all")
    yield case("some .grad hold something, others are None", "repeated", "some")
    yield case("a layer that the loss does not use", "unused", "some")
    yield case("many blocks within the model", "nested", "none")
    yield case("layers of other kinds among them", "other layers", "some")
    yield case("the model is one linear layer", "one layer", "none", draw.many())


@cache
def shapes(model: str, *sizes: int) -> tuple[torch.Size, ...]:
    """The shapes of a model's parameters, in order."""
    with torch.random.fork_rng(devices=[]):
        return tuple(parameter.shape for parameter in MODELS[model](*sizes).parameters())


def probe_gradients(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    with paused():
        model = MODELS[inputs["model"]](*inputs["sizes"])
        names = [name for name, _ in model.named_parameters()]
        given = [tensor.clone() for tensor in inputs["parameters"]]
        model.load_state_dict(dict(zip(names, given, strict=True)), assign=True)
        for parameter, gradient in zip(model.parameters(), inputs["gradients"], strict=True):
            parameter.grad = None if gradient is None else gradient.clone()
    loss = (model(inputs["x"]) - inputs["target"]).square().mean()
    untouched = Untouched("the model", [model])
    norms = candidate(model, loss)
    yield "norms", norms
    afterwards = untouched.now()
    if isinstance(norms, Tensor) and norms.device.type != "meta":  # what does nothing leaves no traces
        pairs = zip(model.parameters(), inputs["gradients"], strict=True)
        yield "every .grad left as it was", all(same(one.grad, before) for one, before in pairs)
    yield afterwards


def same(now: Tensor | None, before: Tensor | None) -> bool:
    """Whether two gradients hold the same values, or are both missing."""
    if now is None or before is None:
        return now is before
    return torch.equal(now, before)


# -- the verdict -------------------------------------------------------------------------------------

#: Observations, so that the points can be split.
BY_RATIO = "verdict"
NOT_FINITE = "verdict on norms that are not all finite"


def verdict_cases(draw: Draw) -> Iterator[Case]:
    def norms(ratio: float, count: int = 5) -> Tensor:
        """Norms of which the first is `ratio` times the last, with others in between."""
        values = torch.logspace(0, 1, count, base=ratio, dtype=torch.float64).flip(0)
        values[1:-1] *= draw.uniform(count - 2, low=0.8, high=1.25).cpu().double()
        return draw.tensor(values * draw.number(0.3, 3.0))

    def case(name: str, values: Tensor, low: float | None = None, high: float | None = None) -> Case:
        return Case(name, {"norms": values, "low": low, "high": high})

    def tenfold(low: float, high: float) -> float:
        return 10.0 ** draw.number(low, high)

    def replaced(values: Tensor, **positions: float) -> Tensor:
        for position, value in positions.items():
            values[{"first": 0, "middle": 2, "last": -1}[position]] = value
        return values

    infinity, nan = float("inf"), float("nan")
    yield case("norms of about one size, of many layers", norms(tenfold(-0.7, 0.7), draw.many()))
    yield case("norms that fall towards the input", norms(tenfold(-3.8, -3.2)))
    yield case("norms that grow towards the input", norms(tenfold(3.2, 3.8)))
    yield case("norms that fall, but not below low", norms(tenfold(-2.8, -2.2)))
    yield case("norms that grow, but not above high", norms(tenfold(2.2, 2.8)))
    yield case("a ratio of about 1/30, low = 0.1, high = 1e4", norms(tenfold(-1.8, -1.2)), 0.1, 1e4)
    yield case("a ratio of about 30, low = 1e-4, high = 10", norms(tenfold(1.2, 1.8)), 1e-4, 10.0)
    yield case("small norms of one size", norms(tenfold(-0.7, 0.7)) * 1e-6)
    yield case("large norms of one size", norms(tenfold(-0.7, 0.7)) * 1e6)
    yield case("a small norm in the middle", replaced(norms(tenfold(-0.7, 0.7)), middle=1e-6))
    yield case("a large norm in the middle", replaced(norms(tenfold(-0.7, 0.7)), middle=1e6))
    yield case("a ratio that equals low", replaced(norms(0.1), first=2.0**-9, last=0.5), 2.0**-8, 2.0**8)
    yield case("a ratio that equals high", replaced(norms(10.0), first=32.0, last=0.125), 2.0**-8, 2.0**8)
    yield case("one layer", draw.uniform(1, low=0.5, high=2.0) * 1e-4)
    yield case("a last norm of 0", replaced(norms(tenfold(-0.7, 0.7)), last=0.0))
    yield case("a first norm of 0", replaced(norms(tenfold(-0.7, 0.7)), first=0.0))
    yield case("a first and a last norm of 0", replaced(norms(tenfold(-0.7, 0.7)), first=0.0, last=0.0))
    yield case("an infinite first norm", replaced(norms(tenfold(-0.7, 0.7)), first=infinity))
    yield case("an infinite last norm", replaced(norms(tenfold(-0.7, 0.7)), last=infinity))
    yield case("infinite first and last norms", replaced(norms(0.1), first=infinity, last=infinity))
    long = norms(tenfold(-0.7, 0.7), draw.many())
    long[draw.integer(len(long) // 2, len(long) - 2)] = infinity
    yield case("an infinite norm among many", long)
    yield case("NaN in the middle of falling norms", replaced(norms(tenfold(-4.6, -3.4)), middle=nan))
    yield case("a last norm of NaN", replaced(norms(tenfold(-0.7, 0.7)), last=nan))


def probe_verdict(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    finite = inputs["norms"].device.type == "meta" or bool(inputs["norms"].isfinite().all())
    yield BY_RATIO if finite else NOT_FINITE, candidate(*arguments(inputs))


# -- the critical gain -------------------------------------------------------------------------------

#: Elementwise activations by name, each with two numbers of its own, so that none is in a table.
ACTIVATIONS: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "relu": lambda z, a, b: z.clamp_min(0),
    "relu in place": lambda z, a, b: z.clamp_min_(0),
    "leaky": lambda z, a, b: torch.where(z > 0, b * z, a * z),
    "tanh": lambda z, a, b: torch.tanh(a * z),
    "small tanh": lambda z, a, b: 1e-4 * b * torch.tanh(a * z),
    "sigmoid": lambda z, a, b: torch.sigmoid(a * z),
    "shifted": lambda z, a, b: z.abs() + 3 * b,
    "itself": lambda z, a, b: z,
}


def gain_cases(draw: Draw) -> Iterator[Case]:
    def case(name: str, activation: str, z: Tensor) -> Case:
        shape = [draw.number(0.2, 0.8), draw.number(1.2, 2.0)]
        return Case(name, {"activation": activation, "shape of it": shape, "z": z})

    n, d = draw.sizes((5, 7), (8, 10))
    yield case("ReLU", "relu", draw.normal(draw.integer(2000, 4000)))
    yield case("a tanh with a slope of its own", "tanh", draw.normal(draw.integer(2000, 4000)))
    yield case("two slopes, a small sample", "leaky", draw.normal(n))
    yield case("an activation that works in place", "relu in place", draw.normal(d))
    yield case("outputs that are all positive", "sigmoid", draw.normal(draw.many()))
    yield case("outputs far from 0", "shifted", draw.normal(d))
    yield case("outputs as small as 1e-4", "small tanh", draw.normal(draw.many()))
    yield case("no activation: it returns z itself", "itself", draw.normal(n))
    yield case("z has two axes, not contiguous in memory", "leaky", draw.normal(d, n).t())


def probe_gain(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    def activation(z: Tensor) -> Tensor:
        return ACTIVATIONS[inputs["activation"]](z, *inputs["shape of it"])

    yield "gain", candidate(activation, inputs["z"])


# -- profiles of gradients ---------------------------------------------------------------------------

PROFILE_BY_SIZE, PROFILE_BY_RATIO = "profile, told by its size", "profile, told by its ratio"


def profile_cases(draw: Draw) -> Iterator[Case]:
    """Profiles beyond the limits by a factor of two at least, but where they lie on one."""

    def tenfold(low: float, high: float) -> float:
        return 10.0 ** draw.number(low, high)

    def norms(first: float, last: float, count: int = 6) -> Tensor:
        """(L,): from the first norm to the last, evenly on a scale of powers, but for some chance."""
        ends = torch.tensor([first, last], dtype=torch.float64).log10()
        values = torch.logspace(float(ends[0]), float(ends[1]), count, dtype=torch.float64)
        values[1:-1] *= draw.uniform(count - 2, low=0.8, high=1.25).cpu().double()
        values[0], values[-1] = first, last
        return draw.tensor(values)

    def case(name: str, by_size: bool, values: Tensor, *limits: float, **positions: float) -> Case:
        for position, value in positions.items():
            values[{"first": 0, "middle": 2, "last": -1}[position]] = value
        given = dict(zip(("low", "high", "tiny", "huge"), (*limits, *[None] * 4), strict=False))
        return Case(name, {"norms": values, **given, "by size": by_size})

    def even() -> tuple[float, float]:
        """A first and a last norm of about one size."""
        return tenfold(-0.7, 0.7), tenfold(-0.7, 0.7)

    yield case("norms of about one size, of many layers", False, norms(*even(), draw.many()))
    yield case("norms that fall towards the input", False, norms(tenfold(-4.5, -3.5), tenfold(0.2, 0.8)))
    yield case("norms that grow towards the input", False, norms(tenfold(3.5, 4.5), tenfold(-0.8, -0.2)))
    yield case("norms that fall to 1e-9 at the input", False, norms(tenfold(-9.0, -8.5), tenfold(-0.7, 0.7)))
    yield case("norms that grow from 1e-9", False, norms(tenfold(-3.0, -2.0), tenfold(-9.0, -8.5)))
    yield case("norms that fall, but not below low", False, norms(tenfold(-2.3, -1.8), tenfold(0.1, 0.4)))
    yield case("norms that grow, but not above high", False, norms(tenfold(1.8, 2.3), tenfold(-0.4, -0.1)))
    one = norms(*even()) * 1e-8
    yield case("norms of one size, of about 1e-8", True, one)
    long = norms(*even(), draw.many()) * 1e-9
    yield case("norms of one size, of about 1e-9, of many layers", True, long)
    yield case("norms of one size, of about 1e8", True, norms(*even()) * 1e8)
    yield case("norms near 1e-9 that fall", True, norms(tenfold(-13.5, -13.0), tenfold(-9.2, -8.8)))
    yield case("norms near 1e-9 that grow", True, norms(tenfold(-9.2, -8.8), tenfold(-13.5, -13.0)))
    yield case("norms near 1e8 that fall", True, norms(tenfold(3.5, 4.0), tenfold(7.8, 8.2)))
    # Above huge, and their mean is not.
    yield case("norms of one size, one of 4e6 in the middle", True, norms(*even()), middle=tenfold(6.5, 6.7))
    yield case("norms of one size, one of 1e-9 in the middle", False, norms(*even()), middle=1e-9)
    small = norms(*even()) * 1e-9
    yield case("norms of about 1e-9, one of 0.1 in the middle", False, small, middle=0.1)
    yield case("all norms are 0", True, norms(*even()) * 0)
    yield case("a last norm of 0", False, norms(*even()), last=0.0)
    yield case("a first norm of 0", False, norms(*even()), first=0.0)
    yield case("one layer", False, norms(*even())[:1])
    yield case("NaN in the middle", True, norms(*even()), middle=float("nan"))
    yield case("NaN among norms that fall", True, norms(tenfold(-4.5, -3.5), 1.0), middle=float("nan"))
    yield case("an infinite last norm", True, norms(*even()), last=float("inf"))
    yield case("a last norm of NaN", True, norms(*even()), last=float("nan"))
    limits = 0.1, 10.0, 1e-2, 1e2
    given = "low = 0.1, high = 10, tiny = 0.01, huge = 100"
    yield case(f"norms that fall, {given}", False, norms(tenfold(-1.7, -1.4), tenfold(0.1, 0.4)), *limits)
    yield case(f"norms that grow, {given}", False, norms(tenfold(1.4, 1.7), tenfold(-0.2, 0.0)), *limits)
    yield case(f"small norms, {given}", True, norms(*even()) * 1e-3, *limits)
    yield case(f"large norms, {given}", True, norms(*even()) * 1e4, *limits)
    limits = 2.0**-8, 2.0**8, 2.0**-6, 2.0**6
    yield case("a ratio that equals low", False, norms(0.1, 1.0), *limits, first=2.0**-8, last=1.0)
    yield case("a ratio that equals high", False, norms(10.0, 1.0), *limits, first=2.0**4, last=2.0**-4)
    yield case("a largest norm that equals tiny", True, norms(0.01, 0.01), *limits, middle=2.0**-6)
    yield case("a largest norm that equals huge", True, norms(9.0, 9.0), *limits, middle=2.0**6)


def probe_profile(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    given = {name: inputs[name] for name in ("norms", "low", "high", "tiny", "huge")}
    yield PROFILE_BY_SIZE if inputs["by size"] else PROFILE_BY_RATIO, candidate(*arguments(given))


# -- inputs that show a mistake ------------------------------------------------------------------------


def offset_given(draw: Draw) -> dict[str, Any]:
    n, d = draw.sizes((5, 12), (2, 4))
    return {"n": n, "d": d, "largest": round(log_uniform(draw, 200, 5000))}


def kappa_given(draw: Draw) -> dict[str, Any]:
    return {"n": draw.integer(20, 40), "kappa": round(log_uniform(draw, 50, 1000))}


EXERCISES = (
    Exercise(
        name="standardize",
        signature="standardize(x, eps=1e-5)",
        cases=standardize_cases,
        probe=call("x_hat"),
        parts=(Part("the standardized batch", 3),),
    ),
    Exercise(
        name="hessian_condition_number",
        signature="hessian_condition_number(x)",
        cases=condition_cases,
        probe=call("condition number"),
        parts=(Part("the condition number", 3),),
    ),
    Exercise(
        name="activation_statistics",
        signature="activation_statistics(layers, x)",
        cases=activation_cases,
        probe=probe_activations,
        parts=(
            Part("the statistics of every layer", 3, (STATISTICS,)),
            Part("also where layers work in place", 1, (STATISTICS_IN_PLACE,)),
        ),
        barred=frozenset(),
    ),
    Exercise(
        name="gradient_norms",
        signature="gradient_norms(model, loss)",
        cases=gradient_cases,
        probe=probe_gradients,
        parts=(
            Part("the norms", 4, ("norms",)),
            Part("every .grad left as it was", 1, ("every .grad left as it was",)),
        ),
        barred=frozenset(),
    ),
    Exercise(
        name="gradient_verdict",
        signature="gradient_verdict(norms, low=1e-3, high=1e3)",
        cases=verdict_cases,
        probe=probe_verdict,
        parts=(
            Part("the verdict by the ratio", 2, (BY_RATIO,)),
            Part("the verdict on norms that are not finite", 1, (NOT_FINITE,)),
        ),
    ),
    Exercise(
        name="critical_gain",
        signature="critical_gain(activation, z)",
        cases=gain_cases,
        probe=probe_gain,
        parts=(Part("the gain", 3),),
    ),
    Exercise(
        name="gradient_profile",
        signature="gradient_profile(norms, low=1e-3, high=1e3, tiny=1e-6, huge=1e6)",
        cases=profile_cases,
        probe=probe_profile,
        parts=(
            Part("profiles told by their size", 2, (PROFILE_BY_SIZE,)),
            Part("profiles told by their ratio", 1, (PROFILE_BY_RATIO,)),
        ),
    ),
    exposing("expose_cancellation(n, d, largest)", "x", offset_given),
    exposing("expose_diagonal(n, kappa)", "x", kappa_given),
)
