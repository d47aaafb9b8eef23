"""Day 34, momentum versus normalization: rates, whitening and a fair comparison. Cases and probes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from numbers import Integral
from typing import Any

import torch
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
from graders.probing.observe import FORM, describe, plain, unpacked
from graders.probing.probes import call, error_of, filled, given_back, kept, steps_with_velocity

# -- convergence_rate --------------------------------------------------------------------------------


def rate_cases(draw: Draw) -> Iterator[Case]:
    """Spectra for which another eigenvalue decides each time, never near a double root.

    With p = lr · eigenvalue the roots are complex for p between (1 − √beta)² and (1 + √beta)², and the
    iteration diverges from 2 (1 + beta) on.
    """

    def case(name: str, smallest: float, largest: float, beta: float | None, count: int = 0) -> Case:
        lr = draw.number(0.02, 0.5)
        eigenvalues = _spectrum(draw, lr, smallest, largest, count)
        return Case(name, {"eigenvalues": eigenvalues, "lr": lr, "beta": beta})

    def edges() -> tuple[float, float, float]:
        beta = draw.number(0.3, 0.7)
        return beta, (1 - beta**0.5) ** 2, (1 + beta**0.5) ** 2

    yield case("gradient descent, small steps", draw.number(0.05, 0.2), draw.number(0.5, 0.9), None)
    yield case("gradient descent, large steps", draw.number(0.5, 0.9), draw.number(1.6, 1.9), None)
    yield case("gradient descent that diverges", draw.number(0.1, 0.5), draw.number(2.4, 3.5), 0.0)
    beta, low, high = edges()
    inside = draw.number(0.15, 0.4), draw.number(0.6, 0.85)
    yield case("momentum, every root complex", *(low + share * (high - low) for share in inside), beta)
    beta, _, _ = edges()
    yield case("momentum, every step near 1 / eigenvalue", 1 - beta / 3, 1 + beta / 3, beta)
    beta, low, high = edges()
    yield case("momentum, real roots at the small end", draw.number(0.2, 0.6) * low, 1.0, beta)
    beta, low, high = edges()
    yield case("momentum, real roots at the large end", 1.0, high + draw.number(0.3, 0.8) * low, beta)
    beta, _, _ = edges()
    largest = 2 * (1 + beta) + draw.number(0.3, 1.0)
    yield case("momentum that diverges, many eigenvalues", 0.8, largest, beta, draw.many())
    beta, _, _ = edges()
    yield case("a flat direction: one eigenvalue is 0", 0.0, 1.2, beta)
    lr = draw.number(0.02, 0.5)
    one = {"eigenvalues": draw.uniform(1, low=1.5 / lr, high=1.8 / lr), "lr": lr, "beta": None}
    yield Case("a single eigenvalue, gradient descent", one)
    beta, low, high = edges()
    one = {
        "eigenvalues": draw.tensor(torch.tensor([(high + 0.5 * low) / lr], dtype=torch.float64)),
        "lr": lr,
        "beta": beta,
    }
    yield Case("a single eigenvalue, momentum", one)


def _spectrum(draw: Draw, lr: float, smallest: float, largest: float, count: int = 0) -> torch.Tensor:
    """Eigenvalues with these extreme values of lr · eigenvalue, neither of them first or last."""
    between = draw.uniform(count or draw.integer(3, 5), low=smallest, high=largest).double().cpu()
    ends = [smallest, largest] if draw.integer(0, 1) else [largest, smallest]
    products = [between[0], ends[0], *between[1:-1], ends[1], between[-1]]
    return draw.tensor(torch.tensor(products, dtype=torch.float64) / lr)


# -- steps_to_tolerance ------------------------------------------------------------------------------


def steps_cases(draw: Draw) -> Iterator[Case]:
    """The tolerance lies well between two powers of the rate, so that no rounding decides."""

    def reached(name: str, rate: float, before: float, after: int) -> Case:
        return Case(name, {"rate": rate, "tolerance": rate ** (after - before), "asks for": "steps"})

    def case(name: str, rate: float, tolerance: float, asks_for: str = "steps") -> Case:
        return Case(name, {"rate": rate, "tolerance": tolerance, "asks for": asks_for})

    low, high = (0.2, 0.4), (0.6, 0.8)
    yield reached(
        "an error that shrinks slowly",
        draw.number(0.98, 0.99),
        draw.number(*low),
        draw.integer(500, 900),
    )
    steps = draw.integer(11_000, 20_000)  # beyond the 10,000 at which people let a loop end
    yield reached("an error that hardly shrinks", 1 - draw.number(0.5, 1.5) / steps, draw.number(*low), steps)
    yield reached(
        "an error that shrinks fast",
        draw.number(0.1, 0.3),
        draw.number(*high),
        draw.integer(3, 5),
    )
    yield reached(
        "an error that about halves",
        draw.number(0.4, 0.6),
        draw.number(*high),
        draw.integer(12, 20),
    )
    yield reached("an ordinary rate", draw.number(0.8, 0.9), draw.number(*low), draw.integer(30, 60))
    yield reached("one step is enough", draw.number(0.6, 0.9), draw.number(*high), 1)
    rate = draw.number(0.5, 0.8)
    yield case("a tolerance above 1", rate, rate ** -draw.number(1.2, 2.8))
    yield case("a tolerance above 1, and the error grows", draw.number(1.1, 1.5), draw.number(2.0, 3.0))
    yield case("a rate of 0", 0.0, draw.number(0.01, 0.5))
    yield case("a rate of 0 and a tolerance above 1", 0.0, draw.number(1.2, 3.0))
    yield case("a rate of 1: the error stays", 1.0, draw.number(0.01, 0.9), "an exception")
    yield case(
        "a rate above 1: the error grows", draw.number(1.1, 1.5), draw.number(0.01, 0.9), "an exception"
    )
    yield case("a negative tolerance", draw.number(0.5, 0.9), -draw.number(0.01, 0.9), "an exception")


class EndlessLoop(Exception):
    """Raised inside a candidate that keeps comparing with the tolerance and never comes to an end."""


class Watched(float):
    """A tolerance that counts how often something is compared with it.

    A loop without an end would otherwise hang the check instead of being told so.
    """

    LIMIT = 1_100_000
    compared = 0

    def _count(self) -> None:
        self.compared += 1
        if self.compared > self.LIMIT:
            raise EndlessLoop(
                f"after {self.LIMIT:,} comparisons with the tolerance there is still no answer."
            )

    def __lt__(self, other: Any) -> Any:
        self._count()
        return super().__lt__(other)

    def __le__(self, other: Any) -> Any:
        self._count()
        return super().__le__(other)

    def __gt__(self, other: Any) -> Any:
        self._count()
        return super().__gt__(other)

    def __ge__(self, other: Any) -> Any:
        self._count()
        return super().__ge__(other)


def probe_steps(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    rate, tolerance = inputs["rate"], Watched(inputs["tolerance"])
    if inputs["asks for"] != "steps":
        yield "exception", error_of(lambda: candidate(rate, tolerance))
        return
    try:
        steps = plain(candidate(rate, tolerance))
    except ValueError as error:  # in one wording, whatever the candidate says of it
        raise ValueError("there is an answer here").with_traceback(error.__traceback__) from None
    foreign = isinstance(steps, Integral) and not isinstance(steps, int)
    yield "steps", int(steps) if foreign else steps
    yield FORM, f"{describe(steps)} instead of an int" if foreign else None


# -- whiten ------------------------------------------------------------------------------------------


def whiten_cases(draw: Draw) -> Iterator[Case]:
    n, d = draw.sizes((9, 12), (3, 4))

    def case(name: str, x: torch.Tensor, eps: float | None) -> Case:
        return Case(name, {"x": x, "eps": eps})

    yield case(f"an ordinary batch, {n} × {d}", _correlated(draw, n, d), None)
    yield case("variances near eps", _correlated(draw, n, d) * 0.004, None)
    yield case("eps = 0.02", _correlated(draw, n, d) * 0.2, 0.02)
    x = _correlated(draw, n, d)
    x[:, 1] = 0.75
    yield case("a constant feature", x, 1e-3)
    yield case("fewer samples than features", _correlated(draw, 4, 6), 0.01)
    yield case("more features", _correlated(draw, 60, draw.integer(9, 24)), 1e-4)
    yield case("a batch of one", _correlated(draw, 1, d), 1e-3)
    yield case("a single feature, many samples", draw.batch(2 * draw.many(), 1), 1e-4)
    yield case("features at an offset of 10,000", _correlated(draw, n + 10, d) + 1e4, 1e-5)
    yield case("a memory layout that is not contiguous", _correlated(draw, n, d).t().contiguous().t(), 1e-4)


def _correlated(draw: Draw, n: int, d: int) -> torch.Tensor:
    """(n, d): a batch of correlated features, its covariance well conditioned as far as n allows.

    Its standard deviations along the eigenvectors go from 2 to 0.5, well apart, so that a candidate is
    not judged by what rounding does to a nearly singular matrix.
    """
    rank = min(n - 1, d)
    raw = torch.randn((n, d), generator=draw.generator, dtype=torch.float64)
    mean = torch.rand(d, generator=draw.generator, dtype=torch.float64) + 0.5
    u, _, vh = torch.linalg.svd(raw - raw.mean(0), full_matrices=False)
    jitter = 1 + 0.1 * torch.rand(rank, generator=draw.generator, dtype=torch.float64)
    deviations = torch.linspace(2.0, 0.5, rank, dtype=torch.float64) * jitter
    return draw.tensor((u[:, :rank] * deviations * n**0.5) @ vh[:rank] + mean)


# -- train -------------------------------------------------------------------------------------------


CLASSES = 3


def train_cases(draw: Draw) -> Iterator[Case]:
    def case(
        name: str,
        *,
        model: str,
        loss: str,
        optimizer: str,
        steps: int,
        training: bool = True,
        stale: bool = False,
        generator: bool = False,
    ) -> Case:
        d = draw.integer(2, 3)
        inputs: dict[str, Any] = {"batches": [pair(n, d, loss) for n in draw.sizes(*[(4, 30)] * steps)]}
        inputs |= {"model": model, "loss": loss, "optimizer": optimizer, "training": training}
        inputs |= {"stale": stale, "generator": generator}
        return Case(name, {**inputs, "lr": draw.number(0.05, 0.2), "seed": draw.integer(0, 2**31)})

    def pair(n: int, d: int, loss: str) -> list[torch.Tensor]:
        if loss == "cross entropy":
            y = torch.randint(0, CLASSES, (n,), generator=draw.generator).to(draw.device)
        else:
            y = draw.normal(n, CLASSES)
        return [draw.batch(n, d), y]

    yield case(
        "a linear model, momentum, a list of batches",
        model="linear",
        loss="linex",
        optimizer="momentum",
        steps=draw.integer(6, 8),
    )
    yield case(
        "old gradients lie about",
        model="two layers",
        loss="linex",
        optimizer="plain",
        steps=2,
        stale=True,
    )
    yield case(
        "batch norm, batches from a generator",
        model="batch norm",
        loss="cross entropy",
        optimizer="momentum",
        steps=2,
        stale=True,
        generator=True,
    )
    yield case(
        "a model that comes in evaluation mode",
        model="linear",
        loss="cross entropy",
        optimizer="adam",
        steps=2,
        training=False,
        stale=True,
    )
    yield case(
        "a single batch",
        model="linear",
        loss="linex",
        optimizer="plain",
        steps=1,
        training=False,
        stale=True,
        generator=True,
    )


def built(kind: str, inputs: int, outputs: int) -> nn.Module:
    """A model of this kind; only "batch norm" depends on the mode."""
    if kind == "linear":
        return nn.Linear(inputs, outputs)
    if kind == "two layers":
        return nn.Sequential(nn.Linear(inputs, 4), nn.Tanh(), nn.Linear(4, outputs))
    return nn.Sequential(nn.Linear(inputs, 4, bias=False), nn.BatchNorm1d(4), nn.Linear(4, outputs))


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "plain": lambda parameters, lr: torch.optim.SGD(parameters, lr=lr),
    "momentum": lambda parameters, lr: torch.optim.SGD(parameters, lr=lr, momentum=0.8, weight_decay=0.1),
    "adam": lambda parameters, lr: torch.optim.Adam(parameters, lr=lr, eps=1e-3),
}
LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "cross entropy": F.cross_entropy,
    # Not symmetric, so that it matters which of the two comes first.
    "linex": lambda output, y: (torch.exp((output - y) / 2) - (output - y) / 2).mean(),
}


def probe_train(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    x = inputs["batches"][0][0]
    model = filled(built(inputs["model"], x.shape[1], CLASSES), inputs["seed"], x).train(inputs["training"])
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = OPTIMIZERS[inputs["optimizer"]](model.parameters(), inputs["lr"])
    if inputs["stale"]:
        for parameter in model.parameters():
            parameter.grad = torch.cos(3 * parameter.detach())
    pairs = [tuple(pair) for pair in inputs["batches"]]
    batches = (pair for pair in pairs) if inputs["generator"] else pairs
    result = candidate(model, optimizer, batches, LOSSES[inputs["loss"]])
    yield from _losses(result, x)
    yield "weights afterwards", torch.cat([one.detach().flatten() for one in model.parameters()])
    # Leaving the mode alone is worth something where the model was trained at all.
    modes = {"training" if module.training else "evaluation" for module in model.modules()}
    after = [parameter.detach() for parameter in model.parameters()]
    moved = not all(map(torch.equal, before, after))
    yield "mode afterwards", " and ".join(sorted(modes)) if moved else "not asked, no weight has moved"


def _losses(result: Any, like: torch.Tensor) -> Iterator[tuple[str, Any]]:
    """The losses and their form; a list of numbers is looked into all the same."""
    if isinstance(result, list | tuple) and result and all(map(_is_number, result)):
        values = [torch.as_tensor(one, dtype=like.dtype, device=like.device).reshape(()) for one in result]
        yield "losses", torch.stack(values)
        yield FORM, f"{describe(result)} instead of a tensor"
    else:
        yield "losses", result
        attached = isinstance(result, torch.Tensor) and result.requires_grad
        yield FORM, "losses that are still tied to the graph (requires_grad is True)" if attached else None


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, torch.Tensor) and value.numel() == 1)


# -- compare -----------------------------------------------------------------------------------------

KEYS = ("plain", "momentum", "normalization", "both")


def compare_cases(draw: Draw) -> Iterator[Case]:
    """Last losses of four arms at every rate and seed, an odd number of seeds.

    In every arm another rate is best. Beside it lie rates that only a part of the seeds speaks for: each case
    says how far they go. Rates come in any order.
    """

    def case(name: str, rates: int, seeds: int, change: Callable[..., None] | None = None) -> Case:
        values = [10.0 ** (draw.number(-0.1, 0.1) - place) for place in range(rates)]
        order = torch.randperm(rates, generator=draw.generator).tolist()
        best = torch.randperm(max(rates, len(KEYS)), generator=draw.generator).tolist()
        losses = []
        for place in range(len(KEYS)):
            arm = [[draw.number(1.0, 2.0) for _ in range(seeds)] for _ in range(rates)]
            arm[best[place] % rates] = [draw.number(0.3, 0.4) for _ in range(seeds)]
            if change:
                others = [rate for rate in range(rates) if rate != best[place] % rates]
                mixed = torch.randperm(len(others), generator=draw.generator).tolist()
                change(arm, best[place] % rates, *(others[one] for one in mixed))
            losses.append([arm[rate] for rate in order])
        names = [10 * count + draw.integer(1, 9) for count in range(1, seeds + 1)]
        return Case(name, {"rates": [values[rate] for rate in order], "seeds": names, "losses": losses})

    def lucky(arm: list[list[float]], best: int, first: int, second: int, *others: int) -> None:
        arm[first][0] = draw.number(0.1, 0.2)
        arm[second][draw.integer(1, len(arm[0]) - 1)] = draw.number(0.01, 0.05)

    def astray(arm: list[list[float]], best: int, steady: int, *others: int) -> None:
        """At the best rate one seed ends far above; at another all seeds are alike, and none is as low."""
        arm[steady] = [draw.number(0.5, 0.6) for _ in arm[steady]]
        arm[best][draw.integer(0, len(arm[0]) - 1)] = draw.number(20.0, 40.0)

    def worst_seed(arm: list[list[float]], best: int, steady: int, *others: int) -> None:
        """As `astray`, but so little that the mean does not tell the two rates apart."""
        arm[steady] = [draw.number(0.5, 0.6) for _ in arm[steady]]
        arm[best][draw.integer(0, len(arm[0]) - 1)] = draw.number(0.7, 0.75)

    def diverging(kind: float, left: tuple[float, float]) -> Callable[..., None]:
        """One run at the best rate and most at another, where those that are left end between these two."""

        def change(arm: list[list[float]], best: int, other: int, *others: int) -> None:
            arm[best][draw.integer(0, len(arm[0]) - 1)] = kind
            kept = draw.integer(0, len(arm[0]) - 1)
            arm[other] = [draw.number(*left) if one == kept else kind for one in range(len(arm[other]))]

        return change

    def tied(arm: list[list[float]], best: int, other: int, *others: int) -> None:
        middle = sorted(arm[best])[len(arm[best]) // 2]
        wider = {-1: 0.9, 0: 1.0, 1: 1.1}
        arm[other] = [loss * wider[(loss > middle) - (loss < middle)] for loss in arm[best]]

    def all_diverge(arm: list[list[float]], *rates: int) -> None:
        for rate in rates:
            arm[rate] = [math.nan] * len(arm[rate])

    yield case("every run converges", 4, 3)
    yield case("lucky seeds at other rates", 5, 5, lucky)
    yield case("one run goes astray at the best rate", 5, 5, astray)
    yield case("one run ends higher at the best rate", 4, 7, worst_seed)
    yield case("most runs end with nan at a rate", 5, 5, diverging(math.nan, (3.0, 4.0)))
    yield case("most runs end with nan at a rate, one very low", 5, 5, diverging(math.nan, (0.01, 0.05)))
    yield case("most runs end with inf at a rate, one very low", 5, 3, diverging(math.inf, (0.01, 0.05)))
    yield case("two rates with one median", 5, 5, tied)
    yield case("a single seed", 6, 1)
    yield case("a single rate", 1, 3)
    yield case("every run ends with nan", 3, 3, all_diverge)


def probe_compare(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    rates, seeds = list(inputs["rates"]), list(inputs["seeds"])
    last = {
        (arm in (1, 3), arm in (2, 3), rate, seed): loss
        for arm, table in enumerate(inputs["losses"])
        for rate, losses in zip(rates, table, strict=True)
        for seed, loss in zip(seeds, losses, strict=True)
    }
    calls: list[tuple[Any, Any, Any, Any]] = []

    def run(momentum: bool, normalization: bool, rate: float, seed: int) -> float:
        given = momentum, normalization, rate, seed
        calls.append(given)
        if given in last:
            return last[given]
        if rate in rates and seed in seeds:
            return last[bool(momentum), bool(normalization), rate, seed]
        raise BrokenContract(
            "run is called with a rate and a seed, in this order, out of the two lists that came with "
            f"the call. Here it got the rate {rate!r} and the seed {seed!r}."
        )

    returned = candidate(run, list(rates), list(seeds))
    if not isinstance(returned, Mapping):
        raise BrokenContract(
            f"It should return a dict with the keys {', '.join(map(repr, KEYS))}, but it returns "
            f"{describe(returned)}."
        )
    missing = [key for key in KEYS if key not in returned]
    if missing:
        raise BrokenContract(
            f"The dict has no {' and no '.join(map(repr, missing))}; its keys are "
            f"{', '.join(map(repr, returned)) or 'none at all'}."
        )
    yield "keys", ", ".join(sorted(map(str, returned)))
    forms = []
    for key in KEYS:
        value = returned[key]
        if not isinstance(value, tuple | list) or len(value) != 3:
            raise BrokenContract(
                f"Each value of the dict should be (rate, losses, edge), but that of {key!r} is "
                f"{describe(value)}."
            )
        rate, losses, edge = value
        yield f"rate of {key}", rate
        if not isinstance(losses, list):
            forms.append(f"{describe(losses)} instead of a list of losses")
        yield f"losses of {key}", _in_words(losses)
        yield f"edge of {key}", edge
    made = Counter(
        (bool(momentum), bool(normalization), *others) for momentum, normalization, *others in calls
    )
    most = max(made.values(), default=0)
    yield "calls of run", f"{len(made)} of {len(last)} runs, the most often made {most} times"
    if not all(isinstance(plain(switch), bool) for call in calls for switch in call[:2]):
        forms.append("results of a run that was called with something other than two bools")
    yield FORM, forms[0] if forms else None


def _in_words(losses: Any) -> str:
    """The losses as they are read: numbers of any kind, also in a tensor; other things by what they are."""
    if isinstance(losses, int | float):
        return f"one number, {losses:.6g}"
    try:
        return ", ".join(f"{float(loss):.6g}" for loss in losses)
    except (TypeError, ValueError, RuntimeError):
        return describe(losses)


# -- normalized_step ---------------------------------------------------------------------------------

#: What the new w is called where the gradient is 0, which has a part of the points of its own.
FLAT = "w where the gradient is 0"


def normalized_cases(draw: Draw) -> Iterator[Case]:
    """Gradients of every shape and length: eps shows where one is about as short as eps."""
    d, rows, columns = draw.sizes((6, 9), (3, 3), (4, 5))

    def case(name: str, g: torch.Tensor, eps: float | None = None, seen: str = "new w") -> Case:
        inputs = {"seen": seen, "w": draw.normal(*g.shape), "g": g, "lr": draw.number(0.15, 0.6)}
        return Case(name, {**inputs, "eps": eps})

    yield case("a long gradient", draw.normal(d, mean=0.5, std=4.0))
    yield case("a short gradient", draw.normal(d, std=1e-3))
    yield case("the gradient of a matrix", draw.normal(columns, rows, std=2.0).t())
    yield case("a gradient about as short as eps", draw.normal(d, std=1e-8))
    yield case("eps = 0.5", draw.normal(d), 0.5)
    yield case("the gradient of a single number, shorter than eps", draw.scale(), 3.0)
    yield case("the gradient of many filters", draw.normal(draw.many(), 2, 3, 3, std=0.1), 1e-3)
    yield case("a gradient of 0", torch.zeros_like(draw.normal(d)), None, FLAT)
    yield case("a gradient of 0, eps = 0.1", torch.zeros_like(draw.normal(rows, d)), 0.1, FLAT)


def probe_normalized(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    given = [inputs[name] for name in ("w", "g", "lr", "eps") if inputs[name] is not None]
    yield inputs["seen"], candidate(*given)


# -- sign_momentum_step ------------------------------------------------------------------------------


def sign_cases(draw: Draw) -> Iterator[Case]:
    """Steps in a row, each with a gradient, an lr and a beta of its own.

    Enough entries, and velocities about as large as gradients, that a sign goes the other way in some of them
    wherever a velocity is another one.
    """
    d, rows, columns = draw.sizes((20, 30), (4, 5), (6, 8))

    def lrs(count: int) -> list[float]:
        return [draw.number(0.15, 0.6) for _ in range(count)]

    def betas(count: int) -> list[float]:
        return [draw.number(0.55, 0.85) for _ in range(count)]

    def case(name: str, w: torch.Tensor, velocity: torch.Tensor, lr: list[float], beta: list[float]) -> Case:
        gradients = [draw.normal(*w.shape) for _ in lr]
        return Case(name, {"w": w, "velocity": velocity, "gradients": gradients, "lr": lr, "beta": beta})

    rest = torch.zeros_like(draw.normal(d))
    yield case("one step from rest", draw.normal(d), rest, lrs(1), betas(1))
    yield case("one step with a velocity", draw.normal(d), draw.normal(d, std=1.5), lrs(1), betas(1))
    yield case("three steps in a row", draw.normal(d), rest, lrs(1) * 3, betas(1) * 3)
    yield case("lr changes between the steps", draw.normal(d), draw.normal(d), lrs(3), betas(1) * 3)
    yield case("beta changes between the steps", draw.normal(d), draw.normal(d), lrs(1) * 3, betas(3))
    yield case("beta = 0 in the second step", draw.normal(d), draw.normal(d), lrs(2), [betas(1)[0], 0.0])
    still = case("entries that nothing has ever pulled at", draw.normal(d), draw.normal(d), lrs(2), betas(2))
    for tensor in (still.inputs["velocity"], *still.inputs["gradients"]):
        tensor[::3] = 0
    yield still
    big = draw.many()
    yield case("w is a matrix", draw.normal(big, rows).t(), draw.normal(rows, big), lrs(2), betas(2))
    yield case("filters of a convolution", draw.normal(columns, 2, 3, 3), draw.normal(columns, 2, 3, 3),
               lrs(1), betas(1))  # fmt: skip


# -- adam_step ---------------------------------------------------------------------------------------


def adam_cases(draw: Draw) -> Iterator[Case]:
    """One or more steps, the first of which has the number `first`; both moments come with the call."""
    d, rows = draw.sizes((5, 8), (3, 4))

    def case(
        name: str,
        *shape: int,
        first: int = 1,
        steps: int = 1,
        std: float = 1.0,
        betas: tuple[float, float] | None = (0.0, 0.0),
        eps: float | None = 0.05,
    ) -> Case:
        """betas of 0 stand for some that are drawn; None for the default, as for eps."""
        given = betas and [draw.number(0.55, 0.85), draw.number(0.9, 0.98)]
        like = draw.normal(*shape)
        inputs = {"w": draw.normal(*shape), "gradients": [draw.normal(*shape, std=std) for _ in range(steps)]}
        moments = (like * std / 3, (like * std).square() / 2 + (std / 3) ** 2)
        inputs |= dict(zip(("m", "v"), moments if first > 1 else [torch.zeros_like(like)] * 2, strict=True))
        return Case(
            name, {**inputs, "first": first, "lr": draw.number(0.15, 0.6), "betas": given, "eps": eps}
        )

    later = draw.integer(3, 6)
    yield case("the first step", d)
    yield case("three steps from rest", d, steps=3)
    yield case("a later step, with moments", d, first=later)
    yield case("gradients of another size", d, first=later, std=30.0, steps=2)
    yield case("betas and eps left to their defaults", d, steps=2, betas=None, eps=None)
    yield case("the default eps, gradients about as small", d, std=1e-8, steps=2, eps=None)
    yield case("a step after hundreds", d, first=draw.integer(200, 900), betas=None, eps=1e-3)
    yield case("a matrix with many columns", rows, draw.many(), steps=2)
    yield case("a single number", first=2, steps=2)
    flat = case("no gradient yet at some entries", d, steps=2, eps=None)
    for g in flat.inputs["gradients"]:
        g[::2] = 0
    yield flat


def probe_adam(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    w, m, v = inputs["w"], inputs["m"], inputs["v"]
    options: dict[str, Any] = {}
    if inputs["betas"] is not None:
        options["betas"] = tuple(inputs["betas"])
    if inputs["eps"] is not None:
        options["eps"] = inputs["eps"]
    for count, g in enumerate(inputs["gradients"]):
        result = candidate(w, g, m, v, inputs["first"] + count, inputs["lr"], **options)
        results = dict(zip("wmv", unpacked(result, ("w", "m", "v")), strict=True))
        for name in "mvw":
            yield f"{name} in call {count + 1}", kept(results[name])
        w, m, v = map(given_back, results.values())


# -- orthogonalized_step -----------------------------------------------------------------------------


def orthogonal_cases(draw: Draw) -> Iterator[Case]:
    """Gradients of full rank whose smallest singular value is a fiftieth of the largest at least."""
    k, more = draw.sizes((3, 4), (6, 8))

    def case(name: str, g: torch.Tensor, seen: str = "new w") -> Case:
        return Case(name, {"seen": seen, "w": draw.normal(*g.shape), "g": g, "lr": draw.number(0.15, 0.6)})

    yield case("a square gradient", _of_full_rank(draw, k, k, 4.0))
    yield case("a tall gradient", _of_full_rank(draw, more, k, 4.0))
    yield case("a wide gradient", _of_full_rank(draw, k, more, 4.0))
    yield case("a large gradient", 40 * _of_full_rank(draw, k, more, 3.0))
    yield case("a small gradient", 0.001 * _of_full_rank(draw, more, k, 3.0))
    yield case("singular values far apart", _of_full_rank(draw, more, k, 40.0))
    yield case("a gradient with many columns, not contiguous", _of_full_rank(draw, draw.many(), k, 8.0).t())
    yield case("a gradient of one row", draw.normal(1, more, mean=0.5))
    yield case("a gradient that is orthogonal but for its size", 3 * _of_full_rank(draw, k, k, 1.0))
    yield case("a gradient of 0", torch.zeros_like(draw.normal(k, more)), FLAT)


def _of_full_rank(draw: Draw, rows: int, columns: int, condition: float) -> torch.Tensor:
    """(rows, columns), with singular values from 1 down to 1 / condition, even in their logarithms."""
    raw = torch.randn((rows, columns), generator=draw.generator, dtype=torch.float64)
    u, s, vh = torch.linalg.svd(raw, full_matrices=False)
    return draw.tensor((u * condition ** -torch.linspace(0, 1, len(s), dtype=torch.float64)) @ vh)


def probe_orthogonal(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    yield inputs["seen"], candidate(inputs["w"], inputs["g"], inputs["lr"])


# -- inputs that show a mistake, or hide it ------------------------------------------------------------


def beta1_given(draw: Draw) -> dict[str, Any]:
    return {"beta1": round(draw.number(0.5, 0.93), 3)}


def turn_given(draw: Draw) -> dict[str, Any]:
    return {"steps": draw.integer(5, 12), "beta": round(draw.number(0.7, 0.95), 3)}


EXERCISES = (
    Exercise(
        name="convergence_rate",
        signature="convergence_rate(eigenvalues, lr, beta=0.0)",
        cases=rate_cases,
        probe=call("rate"),
        parts=(Part("the rate", 4, ("rate",)),),
    ),
    Exercise(
        name="steps_to_tolerance",
        signature="steps_to_tolerance(rate, tolerance)",
        cases=steps_cases,
        probe=probe_steps,
        parts=(
            Part("the number of steps", 2, ("steps",)),
            Part("ValueError where it never comes", 1, ("exception",)),
        ),
    ),
    Exercise(
        name="whiten",
        signature="whiten(x, eps=1e-5)",
        cases=whiten_cases,
        probe=call("whitened x"),
        parts=(Part("the whitened batch", 4),),
    ),
    Exercise(
        name="train",
        signature="train(model, optimizer, batches, loss_fn)",
        cases=train_cases,
        probe=probe_train,
        parts=(
            Part("the loss of every step", 2, ("losses",)),
            Part("the trained weights", 2, ("weights afterwards",)),
            Part("the mode of the model afterwards", 1, ("mode afterwards",)),
        ),
        barred=frozenset(),
    ),
    Exercise(
        name="compare",
        signature="compare(run, rates, seeds)",
        cases=compare_cases,
        probe=probe_compare,
        parts=(
            Part("the best rate of each arm", 2, ("rate of*",)),
            Part("its losses, seed by seed", 1, ("keys", "losses of*")),
            Part("whether it lies at the edge of the grid", 1, ("edge of*",)),
            Part("each run made once", 1, ("calls of run",)),
        ),
    ),
    Exercise(
        name="normalized_step",
        signature="normalized_step(w, g, lr, eps=1e-8)",
        cases=normalized_cases,
        probe=probe_normalized,
        parts=(Part("the step", 2, ("new w",)), Part("no step where the gradient is 0", 1, (FLAT,))),
    ),
    Exercise(
        name="sign_momentum_step",
        signature="sign_momentum_step(w, g, velocity, lr, beta)",
        cases=sign_cases,
        probe=steps_with_velocity,
        parts=(
            Part("the new velocity", 1, ("velocity after step*",)),
            Part("the new w", 2, ("w after step*",)),
        ),
    ),
    Exercise(
        name="adam_step",
        signature="adam_step(w, g, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8)",
        cases=adam_cases,
        probe=probe_adam,
        parts=(
            Part("the average of the gradients, m", 1, ("m in call*",)),
            Part("the average of their squares, v", 1, ("v in call*",)),
            Part("the new w", 3, ("w in call*",)),
        ),
        barred=LIBRARY_ANSWERS | {"adam"},
    ),
    Exercise(
        name="orthogonalized_step",
        signature="orthogonalized_step(w, g, lr)",
        cases=orthogonal_cases,
        probe=probe_orthogonal,
        parts=(Part("the step", 4, ("new w",)), Part("no step where the gradient is 0", 1, (FLAT,))),
        barred=LIBRARY_ANSWERS | {"muon", "zeropower_via_newtonschulz"},
    ),
    exposing("hide_missing_correction(beta1)", "beta2", beta1_given),
    exposing("expose_sign_of_gradient(steps, beta)", "gradients", turn_given),
)
