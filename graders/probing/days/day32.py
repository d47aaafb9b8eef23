"""Day 32, small batches and the norms that came after: batches over devices, ghost batches, RMS, weights.

And which norms let the future in. Cases and probes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from graders.probing.exercise import (
    AUTOGRAD,
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
from graders.probing.observe import ARGUMENTS, describe, unpacked
from graders.probing.probes import call, kept


def merge_cases(draw: Draw) -> Iterator[Case]:
    """Shards of unequal size whose means lie apart, so that every weight and every term shows."""
    k, d = draw.sizes((4, 6), (2, 3))

    def shards(count: int = k, features: int = d, mean: float = 0.0) -> dict[str, torch.Tensor]:
        return {
            "means": draw.normal(count, features, mean=mean, std=1.5),
            "variances": draw.uniform(count, features, low=0.3, high=2.0),
        }

    yield Case(f"{k} shards of {d} features", {"counts": whole(draw, k), **shards()})
    yield Case("the same with other counts", {"counts": whole(draw, k), **shards()})

    counts = whole(draw, k)
    counts[draw.integer(0, k - 1)] = draw.integer(200, 300)
    yield Case("one shard much larger than the others", {"counts": counts, **shards()})
    yield Case("a single shard", {"counts": whole(draw, 1), **shards(1)})

    counts, inputs = whole(draw, k), shards()
    counts[1], inputs["variances"][1] = 1, 0.0
    yield Case("a shard of one sample", {"counts": counts, **inputs})

    counts, inputs = torch.ones(k, dtype=torch.float64), shards()
    inputs["variances"] = torch.zeros_like(inputs["variances"])
    yield Case("every shard is one sample", {"counts": draw.tensor(counts), **inputs})

    counts = whole(draw, k)
    yield Case("means at an offset of 10,000", {"counts": counts, **shards(mean=1e4)})

    inputs = {name: value.t() for name, value in shards(draw.many(), k).items()}
    yield Case("many features, not contiguous in memory", {"counts": whole(draw, k), **inputs})
    many = draw.integer(30, 90)
    yield Case("many shards", {"counts": whole(draw, many), **shards(many, 2)})


def whole(draw: Draw, count: int) -> torch.Tensor:
    """(count,) whole numbers from 2 to 40, very unequal, in the draw's dtype."""
    values = torch.randint(2, 41, (count,), generator=draw.generator)
    if count > 1:
        values[0], values[-1] = draw.integer(2, 6), draw.integer(25, 40)
    return draw.tensor(values.double())


# -- the backward pass over several devices -----------------------------------------------------------

#: What one device has, or asks the others for.
Shared = Tensor | int | float
GRADIENTS = ("dx", "dgamma", "dbeta")


def sync_cases(draw: Draw) -> Iterator[Case]:
    """Shards of unequal size, data and gradients of which lie apart: no local sum stands for a global one."""
    few, some, d = draw.sizes((2, 3), (5, 8), (4, 4))

    def case(
        name: str, counts: Sequence[int], eps: float | None, d: int = d, std: float = 1.0, **given: Any
    ) -> Case:
        """constant: a feature that does not vary. offset: of all of x. silent: the device whose dy is 0."""
        share = draw.uniform(len(counts), d, low=-1.5, high=1.5).cpu().double()
        scale = draw.uniform(d, low=0.6, high=1.6).cpu().double()
        xs, dys = [], []
        for device, count in enumerate(counts):
            noise = draw.normal(count, d).cpu().double()
            xs.append(draw.tensor(std * scale * (noise + share[device]) + given.get("offset", 0.0)))
            dys.append(draw.normal(count, d, mean=0.3) + draw.tensor(share[device].roll(1)))
            if "constant" in given:
                xs[-1][:, given["constant"]] = 0.75
        if "silent" in given:
            dys[given["silent"]] = torch.zeros_like(dys[given["silent"]])
        var, mean = torch.var_mean(torch.cat(xs).cpu().double(), 0, correction=0)
        if given.get("columns"):
            xs, dys = ([one.t().contiguous().t() for one in several] for several in (xs, dys))
        shards = {
            f"{name} of device {device}": one
            for name, several in (("dy", dys), ("x", xs))
            for device, one in enumerate(several)
        }
        rest = {"mean": draw.tensor(mean), "var": draw.tensor(var), "gamma": draw.scale(d), "eps": eps}
        return Case(name, {"devices": len(counts), **shards, **rest})

    counts = [some, few, draw.integer(9, 12)]
    yield case(f"three devices with {counts[0]}, {counts[1]} and {counts[2]} samples", counts, None)
    yield case("features with a variance near eps", [some, few], None, std=0.003)
    yield case("eps = 0.02, and a device with one sample and a dy of 0", [some, 1], 0.02, std=0.15, silent=1)
    yield case(
        "a constant feature, and devices with the same number of samples", [some, some], 1e-3, constant=1
    )
    yield case("features at an offset of 10,000", [some, few + 6], 1e-5, offset=1e4)
    large = [draw.integer(30, 60), draw.integer(13, 20)]
    yield case(
        "many samples and features, not contiguous in memory", large, 1e-5, d=draw.many(), columns=True
    )


class Waiting(BaseException):
    """Stops a device at an exchange whose result is not known yet; `asked` is what it brings along."""

    def __init__(self, asked: Shared) -> None:
        self.asked = asked


def on_devices(work: Callable[[int, Callable[[Shared], Shared]], Any], devices: int) -> list[Any]:
    """What `work(device, all_reduce)` returns on each of the devices, one after the other in one process.

    A device that asks for a sum is stopped until all have asked, and then all begin again, with the sums so
    far at hand. Raises BrokenContract where some ask and others do not.
    """
    sums: list[Shared] = []

    def run(device: int) -> Any:
        known = iter(sums)

        def all_reduce(value: Shared) -> Shared:
            total = next(known, None)
            if total is not None:
                return kept(total)
            if not isinstance(value, Tensor | int | float):
                raise BrokenContract(f"all_reduce takes a tensor or a number, but it got {describe(value)}.")
            raise Waiting(kept(value))

        return work(device, all_reduce)

    while True:
        asked, done = [], []
        for device in range(devices):
            try:
                done.append(run(device))
            except Waiting as one:
                asked.append(one.asked)
        if not asked:
            return done
        if done:
            raise BrokenContract(
                "Some devices call all_reduce and others don't. Those that do would wait forever. Every "
                "device must call it equally often, whatever is in its shard."
            )
        sums.append(total_of(asked))


def total_of(values: Sequence[Shared]) -> Shared:
    """The sum over the devices. Raises BrokenContract where the shapes differ."""
    shapes = [tuple(value.shape) if isinstance(value, Tensor) else () for value in values]
    if len(set(shapes)) > 1:
        one, other = list(dict.fromkeys(shapes))[:2]
        raise BrokenContract(
            f"all_reduce adds tensors of one shape, but the devices bring {one} and {other}. Shards differ "
            "in size, so exchange something with the same shape on every device."
        )
    return sum(values[1:], values[0])


def probe_sync(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    """Each device works on copies, which are renewed where it changes them, as it begins more than once."""
    given = {name: kept(value) for name, value in inputs.items()}
    eps = [] if inputs["eps"] is None else [inputs["eps"]]
    changed: dict[str, None] = {}

    def work(device: int, all_reduce: Callable[[Shared], Shared]) -> Any:
        names = (f"dy of device {device}", f"x of device {device}", "mean", "var", "gamma")
        versions = {name: given[name]._version for name in names}
        try:
            return candidate(*(given[name] for name in names), all_reduce, *eps)
        finally:
            for name, version in versions.items():
                if given[name]._version != version:
                    changed[name], given[name] = None, kept(inputs[name])

    devices = range(inputs["devices"])
    results = [unpacked(result, GRADIENTS) for result in on_devices(work, len(devices))]
    for position, gradient in enumerate(GRADIENTS):
        for device in devices:
            yield f"{gradient} of device {device}", results[device][position]
    yield ARGUMENTS, ", ".join(changed) or None


# -- norms for small batches, and for none --------------------------------------------------------------


def ghost_cases(draw: Draw) -> Iterator[Case]:
    """Batches that divide evenly and ones that do not, virtual batches of one and of more than all."""
    v, d = draw.sizes((5, 7), (2, 4))
    n = 2 * v + draw.integer(2, v - 2)  # cut into pieces of equal size, it would be cut elsewhere

    def case(name: str, x: torch.Tensor, size: int, eps: float | None) -> Case:
        features = x.shape[1]
        gamma, beta = draw.scale(features), draw.normal(features)
        return Case(name, {"x": x, "virtual_batch_size": size, "gamma": gamma, "beta": beta, "eps": eps})

    yield case(f"{n} samples, virtual batches of {v}", draw.batch(n, d), v, None)

    x = draw.batch(n, d)
    x[:, 0] = draw.normal(n, std=0.003)
    yield case("a feature with a variance near eps", x, v, None)

    x = draw.batch(2 * v, d)
    x[:, 1] = draw.normal(2 * v, std=0.15)
    yield case("eps = 0.02, and the sizes divide evenly", x, v, 0.02)

    x = draw.batch(n, d)
    x[:, 1] = 0.75
    yield case("a constant feature", x, v, 1e-3)

    drift = draw.tensor(0.7 * torch.arange(n, dtype=torch.float64))
    x = (draw.batch(d, n) + drift).t()
    yield case("a batch that drifts, not contiguous in memory", x, v, 0.3)
    yield case("many features, a last virtual batch of one", draw.batch(2 * v + 1, draw.many()), v, 0.05)
    yield case("virtual batches of one sample", draw.batch(3, d + 2), 1, 1e-4)
    yield case("a virtual batch larger than the batch", draw.batch(v, d), v + 3, 1e-5)
    yield case("features at an offset of 10,000", draw.normal(2 * v + 9, d, mean=1e4), v + 6, 1e-5)
    size = draw.integer(70, 90)
    x = draw.batch(size * draw.integer(3, 7) + 30, 2)
    yield case(f"{len(x)} samples, virtual batches of {size}", x, size, 1e-5)


def rms_cases(draw: Draw) -> Iterator[Case]:
    """Inputs with one to four axes; the values do not average to 0, which layer norm would remove."""
    n, t, h, d = draw.sizes((2, 3), (4, 5), (6, 7), (8, 9))

    def values(*shape: int, std: float = 1.0) -> torch.Tensor:
        """Each vector along the last axis with a mean and a scale of its own, and each entry of it too."""
        scale = draw.uniform(*shape[:-1], 1, low=0.5, high=2.0)
        offset = draw.uniform(*shape[:-1], 1, low=0.4, high=1.2)
        profile = draw.uniform(shape[-1], low=0.6, high=1.6)
        return std * scale * profile * (draw.normal(*shape) + offset)

    def case(name: str, x: torch.Tensor, eps: float | None) -> Case:
        return Case(name, {"x": x, "gamma": draw.scale(x.shape[-1]), "eps": eps})

    yield case(f"a batch, {n} × {d}", values(n, d), None)
    yield case(f"sequences, {n} × {t} × {d}", values(n, t, d), 0.03)
    yield case("values of about the root of eps", values(t, d, std=1e-3), None)
    yield case("eps = 0.02", values(n, t, d, std=0.15), 0.02)
    yield case("one vector", values(d), 0.1)
    yield case(f"four axes, {n} × {h} × {t} × {d}", values(n, h, t, d), 0.05)

    x = values(t, d)
    x[1] = 0.0
    yield case("a row of zeros", x, 1e-3)
    yield case("a last axis of one", values(t, 1), 0.2)
    yield case("a memory layout that is not contiguous", values(d, t).t(), 0.4)
    yield case("many vectors of many features", values(draw.many() // 10, n, 4 * draw.many()), 1e-5)


def standardization_cases(draw: Draw) -> Iterator[Case]:
    """Weights (O, I, kH, kW) with no two sizes the same; filters and input channels with their own scale."""
    o, i, kh, kw = draw.sizes((5, 6), (3, 4), (2, 3), (4, 5))

    def weights(out: int = o, into: int = i, height: int = kh, width: int = kw) -> torch.Tensor:
        scale = draw.uniform(out, into, 1, 1, low=0.4, high=1.6)
        offset = draw.uniform(out, into, 1, 1, low=-1.5, high=1.5)
        return draw.normal(out, into, height, width) * scale + offset

    yield Case(f"filters, {o} × {i} × {kh} × {kw}", {"weight": weights(), "eps": None})
    yield Case("weights with a variance near eps", {"weight": 0.004 * weights(), "eps": None})
    yield Case("eps = 0.02", {"weight": 0.2 * weights(), "eps": 0.02})

    weight = weights()
    weight[1] = 0.75
    yield Case("a filter whose weights are all the same", {"weight": weight, "eps": 1e-3})
    yield Case("kernels of 1 × 1", {"weight": weights(3, 7, 1, 1), "eps": 0.1})
    yield Case("one input channel", {"weight": weights(4, 1, 3, 2), "eps": 0.3})
    yield Case("a single filter", {"weight": weights(1), "eps": 1e-4})
    yield Case("filters of one weight", {"weight": weights(3, 1, 1, 1), "eps": 1e-4})
    yield Case("weights at an offset of 10,000", {"weight": draw.normal(o, i, kh, kw, mean=1e4), "eps": 1e-5})
    yield Case("kernels of one row", {"weight": weights(height=1, width=draw.integer(11, 31)), "eps": 0.05})
    larger = draw.integer(12, 40), draw.integer(30, 90), 3, 5
    yield Case("larger filters", {"weight": weights(*larger), "eps": 1e-5})


def weight_norm_cases(draw: Draw) -> Iterator[Case]:
    """Weights with one to four axes; the rows have norms far from 1 and from each other."""
    o, i, kh, kw = draw.sizes((4, 5), (6, 7), (2, 2), (3, 3))

    def case(name: str, v: torch.Tensor) -> Case:
        return Case(name, {"v": v, "g": draw.uniform(v.shape[0], low=0.5, high=4.0)})

    def rows(*shape: int) -> torch.Tensor:
        scale = draw.uniform(shape[0], *(1,) * (len(shape) - 1), low=0.5, high=2.0)
        return scale * (draw.normal(*shape) + 0.4)

    yield case(f"a matrix, {o} × {i}", rows(o, i))
    yield case(f"filters, {o} × {i} × {kh} × {kw}", rows(o, i, kh, kw))
    yield case(f"three axes, {kw} × {i} × {o}", rows(kw, i, o))
    yield case("rows of one value", rows(o).sign() * draw.uniform(o, low=0.3, high=3.0))
    yield case("a single row", rows(1, i, kw))
    yield case("small weights", 1e-4 * rows(o, i, kw))
    yield case("large weights", 1e4 * rows(o, kh, i))
    yield case("many long rows", rows(draw.integer(12, 40), draw.integer(20, 60), 5, 3))


# -- what lets the future in -------------------------------------------------------------------------

#: Observations, so that the points can be split.
LEAKS, HIDDEN_LEAKS = "names of those that leak", "names of those that leak, where it is hard to see"
Norm = Callable[[Tensor], Tensor]


def normalized(x: Tensor, axes: tuple[int, ...], over: Tensor | None = None) -> Tensor:
    """x standardized by the statistics of `over`, which is x itself if it is left out."""
    over = x if over is None else over
    var, mean = torch.var_mean(over, axes, correction=0, keepdim=True)
    return (x - mean) / (var + 1e-5).sqrt()


def so_far(x: Tensor) -> Tensor:
    """Each step normalized by the statistics of all samples up to and including it."""
    count = len(x) * torch.arange(1, x.shape[1] + 1, device=x.device)[:, None]
    mean, square = (values.sum(0).cumsum(0) / count for values in (x, x.square()))
    return (x - mean) / (square - mean.square() + 0.01).sqrt()


def in_pairs(x: Tensor, first: int) -> Tensor:
    """The steps two by two, each pair divided by its own size; `first` steps stand before the first pair."""
    pieces = [x[:, :first]] if first else []
    pieces += [x[:, t : t + 2] for t in range(first, x.shape[1], 2)]
    return torch.cat(
        [piece / (piece.square().mean((1, 2), keepdim=True) + 1e-5).sqrt() for piece in pieces], 1
    )


def by_the_others(x: Tensor) -> Tensor:
    """Every sample by the statistics of the other samples, over all of time."""
    rest = [torch.cat([x[:n], x[n + 1 :]]) for n in range(x.shape[0])]
    return torch.cat([normalized(x[n : n + 1], (0, 1), rest[n]) for n in range(x.shape[0])])


def last_feature_over_time(x: Tensor) -> Tensor:
    """Every token by itself, but the last feature by its statistics over time."""
    return torch.cat([normalized(x[..., :-1], (2,)), normalized(x[..., -1:], (1,))], 2)


def constant_statistics(x: Tensor) -> Tensor:
    """Batch and time together, the statistics detached."""
    return normalized(x, (0, 1), x.detach())


NORMS: dict[str, Norm] = {
    "batch and time": lambda x: normalized(x, (0, 1)),
    "time and features": lambda x: normalized(x, (1, 2)),
    "time": lambda x: normalized(x, (1,)),
    "size over time": lambda x: x / (x.square().mean(1, keepdim=True) + 1e-5).sqrt(),
    "pairs": lambda x: in_pairs(x, 0),
    "pairs from the second step on": lambda x: in_pairs(x, 1),
    "the other samples": by_the_others,
    "last feature": last_feature_over_time,
    "constant statistics": constant_statistics,
    "token": lambda x: normalized(x, (2,)),
    "size of a token": lambda x: x / (x.square().mean(2, keepdim=True) + 1e-5).sqrt(),
    "batch": lambda x: normalized(x, (0,)),
    "so far": so_far,
    "from here on": lambda x: so_far(x.flip(1)).flip(1),
    "the step before": lambda x: torch.cat([x[:, :1], x[:, 1:] - x[:, :-1]], 1),
    "stored statistics": lambda x: (x - 0.3) / 1.7,
}


def leak_cases(draw: Draw) -> Iterator[Case]:
    """Some that leak and some that do not, named without a meaning and in an order of chance. T is odd."""
    n, t, d = draw.sizes((3, 4), (5, 5), (6, 7))

    def case(name: str, norms: str, hidden: bool = False, shape: tuple[int, ...] = (n, t, d)) -> Case:
        words = norms.split(", ")
        return Case(
            name,
            {
                "x": draw.normal(*shape, mean=0.4) * draw.uniform(*shape[:2], 1, low=0.5, high=2.0),
                "norms": [words[i] for i in torch.randperm(len(words), generator=draw.generator)],
                "names": [f"norm {i}" for i in (torch.randperm(20, generator=draw.generator) + 1).tolist()],
                "hidden": hidden,
            },
        )

    yield case("batch norm and layer norm", "batch and time, token")
    yield case("four over time, two by the token", "token, size of a token, " + ", ".join(list(NORMS)[:4]))
    yield case("statistics of the past", "so far, from here on, the step before")
    yield case("none of them leaks", "token, size of a token, so far, stored statistics")
    yield case("all of them leak", "time and features, batch and time, size over time")
    yield case("long sequences", "time, token, the step before", shape=(2, draw.integer(13, 16), 3))
    yield case("many features", "time and features, size of a token", shape=(n, 5, draw.many()))
    yield case("statistics of the batch at one step", "batch, time, token", hidden=True)
    yield case("two steps at a time", "pairs, pairs from the second step on, so far", hidden=True)
    yield case("the other samples", "the other samples, batch, token", hidden=True)
    yield case("one feature of many", "last feature, token", hidden=True)
    yield case("no gradient through the statistics", "constant statistics, stored statistics", hidden=True)
    yield case("a single sample", "time, size over time, token, so far", hidden=True, shape=(1, t, d))


def probe_leaks(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    norms = {name: NORMS[word] for name, word in zip(inputs["names"], inputs["norms"], strict=False)}
    found = candidate(dict(norms), inputs["x"])
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
        held = (
            next((one for one in found if not isinstance(one, str)), None)
            if isinstance(found, list)
            else None
        )
        what = describe(found) if held is None else f"a list that holds {describe(held)}"
        raise BrokenContract(f"It should return a list of names, but it returns {what}.")
    names = [*(name for name in norms if name in found), *(name for name in found if name not in norms)]
    yield HIDDEN_LEAKS if inputs["hidden"] else LEAKS, ", ".join(names) or "none"


# -- inputs that show a mistake, or hide it ------------------------------------------------------------


def counts_given(draw: Draw) -> dict[str, Any]:
    """Three shards of different sizes, none of about the average size."""
    while True:
        counts = [draw.integer(low, high) for low, high in ((2, 8), (10, 25), (30, 60))]
        order = torch.randperm(3, generator=draw.generator).tolist()
        if all(abs(3 * count / sum(counts) - 1) > 0.25 for count in counts):
            return {"counts": [counts[i] for i in order]}


def factor_given(draw: Draw) -> dict[str, Any]:
    n, d = draw.sizes((2, 5), (3, 9))
    return {"n": n, "d": d, "factor": draw.integer(8, 40)}


EXERCISES = (
    Exercise(
        name="merge_statistics",
        signature="merge_statistics(counts, means, variances)",
        cases=merge_cases,
        probe=call("mean", "var"),
        parts=(Part("the mean", 1, ("mean",)), Part("the variance", 3, ("var",))),
    ),
    Exercise(
        name="sync_batch_norm_backward",
        signature="sync_batch_norm_backward(dy, x, mean, var, gamma, all_reduce, eps=1e-5)",
        cases=sync_cases,
        probe=probe_sync,
        parts=(
            Part("dx", 3, ("dx of device *",)),
            Part("dgamma and dbeta", 1, ("dgamma of device *", "dbeta of device *")),
        ),
        barred=LIBRARY_ANSWERS | AUTOGRAD,
    ),
    Exercise(
        name="ghost_batch_norm",
        signature="ghost_batch_norm(x, virtual_batch_size, gamma, beta, eps=1e-5)",
        cases=ghost_cases,
        probe=call("y"),
        parts=(Part("the output y", 4),),
    ),
    Exercise(
        name="rms_norm",
        signature="rms_norm(x, gamma, eps=1e-6)",
        cases=rms_cases,
        probe=call("y"),
        parts=(Part("the output y", 3),),
    ),
    Exercise(
        name="weight_standardization",
        signature="weight_standardization(weight, eps=1e-5)",
        cases=standardization_cases,
        probe=call("the standardized weight"),
        parts=(Part("the standardized weight", 3),),
    ),
    Exercise(
        name="weight_norm",
        signature="weight_norm(v, g)",
        cases=weight_norm_cases,
        probe=call("w"),
        parts=(Part("the weight w", 2),),
    ),
    Exercise(
        name="find_leak",
        signature="find_leak(norms, x)",
        cases=leak_cases,
        probe=probe_leaks,
        parts=(
            Part("those that leak", 2, (LEAKS,)),
            Part("also where it is hard to see", 2, (HIDDEN_LEAKS,)),
        ),
        barred=frozenset(),
    ),
    exposing("hide_plain_mean(counts)", "means", counts_given),
    exposing("expose_deviation_for_rms(n, d, factor)", "x", factor_given),
)
