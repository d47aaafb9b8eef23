"""Day 30, normalization and regularization: weight decay, dropout, the noise of batches. Cases and probes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import zip_longest
from numbers import Real
from typing import Any

import torch
from torch import nn

from graders.probing.exercise import BrokenContract, Candidate, Case, Draw, Exercise, Inputs, Part
from graders.probing.exposing import exposing
from graders.probing.observe import FORM, Raised, describe, plain, unpacked
from graders.probing.probes import Untouched, arguments, call, error_of, filled
from graders.probing.recorder import paused

# -- models with weights of every number of dimensions ------------------------------------------------


class Scaled(nn.Module):
    """Multiplies by a parameter without dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * x


class Weighted(nn.Module):
    """A weight of this shape and a bias, as linear layers and convolutions have them, and quickly made."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(shape)), nn.Parameter(torch.empty(shape[0]))


def build(name: str, seed: int, like: torch.Tensor) -> nn.Module:
    """One of the models below, filled from the seed, in the dtype and on the device of `like`."""
    with paused():
        if name == "mlp":
            model: nn.Module = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
        elif name == "cnn":
            model = nn.Sequential(
                nn.Conv2d(2, 3, 3, bias=False), nn.GroupNorm(3, 3), nn.Flatten(), nn.Linear(12, 2)
            )
        elif name == "sequence":
            model = nn.Sequential(nn.Embedding(7, 5), nn.LayerNorm(5), nn.Conv1d(5, 4, 2), nn.PReLU())
        elif name == "nested":
            block = nn.Sequential(nn.Linear(3, 5), Scaled(), nn.LayerNorm(5))
            model = nn.Sequential(block, nn.Bilinear(5, 5, 2))
        elif name == "many":
            shapes = [
                (2, 3, 2, 1, 2),
                (3, 2, 2),
                (4, 1),
                *[(2, 2)] * (10 + seed % 9),
                (2, 1, 3, 2),
                (3, 1, 1, 2, 2),
            ]
            model = nn.Sequential(*map(Weighted, shapes))
        elif name == "no weights":
            model = nn.Sequential(nn.BatchNorm1d(4), nn.ReLU(), Scaled())
        elif name == "frozen":
            model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))
            model[1].requires_grad_(False)
            model[2].bias.requires_grad_(False)
        else:
            many = 70 + seed % 100
            model = nn.Sequential(nn.Linear(many, many), nn.Linear(many, many), nn.BatchNorm1d(many))
            model[1].weight = model[0].weight
    return filled(model, seed, like)


MODELS = ("mlp", "cnn", "sequence", "nested", "tied", "many")


def group_cases(draw: Draw) -> Iterator[Case]:
    like = draw.normal(1)
    for name in (*MODELS, "frozen", "no weights"):
        inputs = {"like": like, "model": name, "seed": draw.integer(0, 10**6)}
        yield Case(f"a model: {name}", {**inputs, "weight_decay": draw.number(0.01, 0.4)})


#: What is seen of a group that says nothing of its decay.
UNSAID = Raised("KeyError", "the group has no weight_decay")


def probe_groups(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    model = build(inputs["model"], inputs["seed"], inputs["like"])
    untouched = Untouched("the model", [model])
    groups = candidate(model, inputs["weight_decay"])
    afterwards = untouched.now()
    if not isinstance(groups, list | tuple) or not all(isinstance(group, dict) for group in groups):
        raise BrokenContract(f"It should return a list of two dicts, but it returns {describe(groups)}.")
    yield "number of groups", len(groups)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for position, group in zip_longest(("first", "second"), groups[:2]):
        if group is None:
            yield f"parameters in the {position} group", "no such group"
            yield f"weight_decay of the {position} group", math.nan
            continue
        if "params" not in group:
            raise BrokenContract("Each dict needs the key 'params', where optimizers look for tensors.")
        given = list(group["params"])
        if not all(isinstance(one, torch.Tensor) for one in given):
            raise BrokenContract("'params' should hold the parameters alone, as tensors and without names.")
        known = sorted(names.get(id(one), "a tensor that isn't a parameter of the model") for one in given)
        yield f"parameters in the {position} group", ", ".join(known)
        decay = group.get("weight_decay")
        yield f"weight_decay of the {position} group", UNSAID if decay is None else float(decay)
    yield FORM, None if isinstance(groups, list) else f"{describe(groups)} instead of a list"
    yield afterwards


# -- where the decay acts ------------------------------------------------------------------------------

#: Observations, so that the points can be split.
DECAY, HIDDEN_DECAY = "kind of decay", "kind of decay, where it is hard to see"


#: One step of an optimizer from rest, for a weight and a gradient: the new weight. All are (D,).
Step = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def stepping(
    direction: Callable[[torch.Tensor], torch.Tensor], lr: float, inside: float = 0.0, outside: float = 0.0
) -> Step:
    """inside: how much of w goes into the gradient; outside: how much of w is taken away beside it."""
    return lambda w, g: w - lr * (outside * w + direction(g + inside * w))


def unequal(g: torch.Tensor) -> torch.Tensor:
    """As Adam late in training: every coordinate divided by a size of its own."""
    return g / torch.linspace(0.5, 2.5, len(g), dtype=g.dtype, device=g.device)


DIRECTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "plain": lambda g: g,
    "adam": lambda g: g / (g.abs() + 1e-8),
    "sign": torch.sign,
    "length": lambda g: g / (torch.linalg.vector_norm(g) + 1e-8),
    "unequal": unequal,
    "same": lambda g: g / 1.7,
}


def decay_cases(draw: Draw) -> Iterator[Case]:
    """Optimizers by their direction and where the decay enters, in an order of chance."""
    d = draw.integer(3, 5)

    def case(
        name: str, direction: str, where: str, size: int = 0, hidden: bool = False, faint: bool = False
    ) -> Case:
        signs = draw.uniform(size or d) < 0.5
        signs[0], signs[1] = True, False
        w = draw.uniform(size or d, low=0.5, high=2.0)
        inputs = {"w": torch.where(signs, -w, w), "direction": direction, "where": where, "hidden": hidden}
        decay = (0.005, 0.02) if faint else (0.1, 0.4)
        return Case(name, {**inputs, "lr": draw.number(0.05, 0.3), "decay": draw.number(*decay)})

    found = [
        case("plain descent without decay", "plain", ""),
        case("plain descent with a penalty", "plain", "inside"),
        case("plain descent with decay", "plain", "outside"),
        case("Adam without decay", "adam", ""),
        case("Adam with a penalty", "adam", "inside"),
        case("Adam with decay", "adam", "outside"),
        case("the sign of the gradient, without decay", "sign", ""),
        # So faint that it turns the sign of no gradient of chance.
        case("the sign of the gradient, with a penalty", "sign", "inside", faint=True),
        case("the sign of the gradient, with decay", "sign", "outside"),
        case("many coordinates, with decay", "adam", "outside", draw.many()),
        case("many coordinates, with a penalty", "adam", "inside", draw.many()),
        case("a gradient of length 1, without decay", "length", "", hidden=True),
        case("a gradient of length 1, with a penalty", "length", "inside", hidden=True),
        case("a gradient of length 1, with decay", "length", "outside", hidden=True),
        case("coordinates of unequal steps, without decay", "unequal", "", hidden=True),
        case("coordinates of unequal steps, with a penalty", "unequal", "inside", hidden=True),
        case("coordinates of unequal steps, with decay", "unequal", "outside", hidden=True),
        case("all steps shorter, with a penalty", "same", "inside", hidden=True),
    ]
    yield from (found[i] for i in torch.randperm(len(found), generator=draw.generator))


def probe_decay(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    decay = {inputs["where"]: inputs["decay"]} if inputs["where"] else {}
    step = stepping(DIRECTIONS[inputs["direction"]], inputs["lr"], **decay)
    yield HIDDEN_DECAY if inputs["hidden"] else DECAY, candidate(step, inputs["w"])


# -- dropout ------------------------------------------------------------------------------------------


def dropout_cases(draw: Draw) -> Iterator[Case]:
    n, d = draw.sizes((5, 8), (3, 4))

    def mask(*shape: int, p: float) -> torch.Tensor:
        kept = draw.uniform(*shape) >= p
        kept.view(-1)[0], kept.view(-1)[-1] = True, False
        return kept.to(draw.dtype)

    for title in ("a batch", "another batch"):
        p = draw.number(0.1, 0.4) if title == "a batch" else draw.number(0.6, 0.9)
        inputs = {"x": draw.batch(n, d), "keep": mask(n, d, p=0.5), "p": p, "training": None}
        yield Case(f"{title}, p = {p:.2f}", inputs)
    x = draw.normal(2, 3, 4, 5)
    yield Case("feature maps", {"x": x, "keep": mask(2, 3, 4, 5, p=0.3), "p": 0.3, "training": True})
    many = draw.many()
    bools = mask(many, many // 4, p=0.5).bool()
    yield Case("a mask of bools", {"x": draw.batch(many, many // 4), "keep": bools, "p": 0.25})
    yield Case(
        "not training", {"x": draw.batch(n, d), "keep": mask(n, d, p=0.5), "p": 0.35, "training": False}
    )
    yield Case(
        "p = 0", {"x": draw.batch(n, d), "keep": mask(n, d, p=0.0) * 0 + 1, "p": 0.0, "training": True}
    )
    ones = {"x": draw.batch(n, d), "keep": mask(n, d, p=0.5), "p": 1.0, "training": True}
    yield Case("p = 1", ones)


def probe_dropout(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    result = candidate(*arguments(inputs))
    name = "y where not training" if inputs.get("training") is False else "y"
    yield "y where p = 1" if inputs["p"] == 1.0 else name, result


# -- the noise of batch statistics, and the step of a scale-invariant weight ----------------------------


def noise_cases(draw: Draw) -> Iterator[Case]:
    n, size, d = 4 * draw.integer(6, 7) + 3, 4, draw.integer(2, 3)
    many = draw.many()
    drift = draw.tensor(torch.linspace(0, 3, n, dtype=torch.float64))[:, None]
    yield Case(f"{n} samples, batches of {size}", {"x": draw.batch(n, d), "batch_size": size})
    yield Case("batches of 5, a last one of 3", {"x": draw.batch(28, d), "batch_size": 5})
    yield Case("samples that drift", {"x": draw.batch(n, d) + drift, "batch_size": size})
    yield Case("batches that divide evenly", {"x": draw.batch(30, d), "batch_size": 6})
    yield Case("batches of one", {"x": draw.batch(9, d), "batch_size": 1})
    yield Case("a single batch", {"x": draw.batch(11, d), "batch_size": 7})
    yield Case("features at an offset of 10,000", {"x": draw.normal(n, d, mean=1e4), "batch_size": size})
    yield Case("many features, large batches", {"x": draw.batch(4 * many, many), "batch_size": many // 2})


def step_cases(draw: Draw) -> Iterator[Case]:
    o, i, k = draw.sizes((4, 6), (2, 3), (7, 8))
    yield Case("a matrix", {"lr": draw.number(0.05, 0.5), "weight": draw.normal(o, i)})
    yield Case("a convolution's weight", {"lr": draw.number(0.05, 0.5), "weight": draw.normal(o, i, 3, 2)})
    yield Case("a vector", {"lr": draw.number(1.5, 3.0), "weight": draw.normal(k)})
    yield Case("small weights", {"lr": draw.number(0.05, 0.5), "weight": draw.normal(i, o, std=1e-3)})
    yield Case("large weights", {"lr": draw.number(0.05, 0.5), "weight": draw.normal(i, o, std=1e3)})
    yield Case("one long row", {"lr": draw.number(0.05, 0.5), "weight": draw.normal(1, k * draw.many())})


# -- plain numbers -----------------------------------------------------------------------------------


def in_form(number: Any) -> tuple[Any, str | None]:
    """A real number of another type, such as a fraction, as a float, and a word on the form if it is one."""
    number = plain(number)
    if isinstance(number, Real) and not isinstance(number, int | float):
        return float(number), f"{describe(number)} instead of a float"
    return number, None


# -- decay_equivalent --------------------------------------------------------------------------------


def equivalent_cases(draw: Draw) -> Iterator[Case]:
    def case(name: str, lr: float, weight_decay: float, scale: float) -> Case:
        return Case(name, {"lr": lr, "weight_decay": weight_decay, "scale": scale})

    yield case("a larger weight", draw.number(0.05, 0.5), draw.number(0.01, 0.1), draw.number(2.0, 6.0))
    yield case("a smaller weight", draw.number(0.05, 0.5), draw.number(0.01, 0.1), draw.number(0.1, 0.6))
    yield case("whole numbers", draw.integer(2, 9), draw.integer(2, 9), draw.integer(3, 9))
    yield case("no weight decay", draw.number(0.05, 0.5), 0.0, draw.number(2.0, 6.0))
    yield case("the same size", draw.number(0.05, 0.5), draw.number(0.01, 0.1), 1.0)
    yield case("a much larger weight", draw.number(1e-3, 1e-2), draw.number(1e-4, 1e-3), draw.number(50, 90))


def probe_equivalent(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    names = ("lr", "weight decay")
    forms = []
    for name, number in zip(names, unpacked(candidate(*arguments(inputs)), names), strict=True):
        value, form = in_form(number)
        yield name, value
        forms.append(form)
    yield FORM, next(filter(None, forms), None)


# -- equilibrium_norm --------------------------------------------------------------------------------


def rest_cases(draw: Draw) -> Iterator[Case]:
    """What decides is how much of the weight a step takes away, p = lr · weight_decay."""

    def case(name: str, p: float, lr: float, gradient_norm: float, rests: bool = True) -> Case:
        numbers = {"lr": lr, "weight_decay": p / lr, "gradient_norm": gradient_norm}
        return Case(name, {**numbers, "rests": rests})

    def lr() -> float:
        return draw.number(0.2, 0.6)

    yield case("a little decay", draw.number(0.01, 0.03), lr(), draw.number(1.5, 4.0))
    yield case("a small gradient", draw.number(0.05, 0.15), lr(), draw.number(0.01, 0.1))
    yield case("a large learning rate", draw.number(0.1, 0.3), draw.number(2.0, 5.0), draw.number(0.2, 0.6))
    yield case("a step takes half of the weight away", 0.5, lr(), draw.number(1.5, 4.0))
    yield case("a large gradient", draw.number(0.1, 0.3), lr(), draw.integer(20, 60))
    yield case("the decay turns the weight round", draw.number(1.2, 1.7), lr(), draw.number(1.5, 4.0))
    yield case("no weight decay", 0.0, lr(), draw.number(1.5, 4.0), False)
    yield case("a decay that blows the weight up", draw.number(2.5, 4.0), lr(), draw.number(1.5, 4.0), False)


def probe_rest(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    given = inputs["lr"], inputs["weight_decay"], inputs["gradient_norm"]
    if not inputs["rests"]:
        yield "exception where nothing rests", error_of(lambda: candidate(*given))
        return
    try:
        norm = candidate(*given)
    except ValueError as error:  # in one wording, whatever the candidate says of it
        raise ValueError("there is a norm at rest here").with_traceback(error.__traceback__) from None
    norm, form = in_form(norm)
    yield "norm", norm
    yield FORM, form


# -- inputs that show a mistake, or hide it ------------------------------------------------------------


def batches_given(draw: Draw) -> dict[str, Any]:
    batch_size = draw.integer(9, 16)
    return {"n": batch_size * draw.integer(4, 8), "batch_size": batch_size}


def probability_given(draw: Draw) -> dict[str, Any]:
    """A p by which a whole number of n values is dropped, and not half of them."""
    n = draw.integer(7, 30)
    dropped = draw.integer(2, (n - 1) // 2)
    return {"n": n, "p": (dropped if draw.integer(0, 1) else n - dropped) / n}


EXERCISES = (
    Exercise(
        name="parameter_groups",
        signature="parameter_groups(model, weight_decay)",
        cases=group_cases,
        probe=probe_groups,
        parts=(
            Part("which parameters", 2, ("number of groups", "parameters*")),
            Part("the two weight decays", 1, ("weight_decay*",)),
        ),
        barred=frozenset(),
    ),
    Exercise(
        name="kind_of_decay",
        signature="kind_of_decay(step, w)",
        cases=decay_cases,
        probe=probe_decay,
        parts=(
            Part("the kind of decay", 2, (DECAY,)),
            Part("also where it is hard to see", 2, (HIDDEN_DECAY,)),
        ),
    ),
    Exercise(
        name="dropout",
        signature="dropout(x, keep, p, training=True)",
        cases=dropout_cases,
        probe=probe_dropout,
        parts=(
            Part("training", 2, ("y",)),
            Part("not training", 1, ("y where not training",)),
            Part("p = 1", 1, ("y where p = 1",)),
        ),
    ),
    Exercise(
        name="batch_mean_std",
        signature="batch_mean_std(x, batch_size)",
        cases=noise_cases,
        probe=call("std"),
        parts=(Part("the standard deviation of the batch means", 3),),
    ),
    Exercise(
        name="effective_learning_rate",
        signature="effective_learning_rate(lr, weight)",
        cases=step_cases,
        probe=call("rate"),
        parts=(Part("the effective learning rate", 2),),
    ),
    Exercise(
        name="decay_equivalent",
        signature="decay_equivalent(lr, weight_decay, scale)",
        cases=equivalent_cases,
        probe=probe_equivalent,
        parts=(Part("lr", 1, ("lr",)), Part("weight decay", 1, ("weight decay",))),
        arithmetic=torch.float32,  # plain numbers may pass through tensors of PyTorch's default dtype
    ),
    Exercise(
        name="equilibrium_norm",
        signature="equilibrium_norm(lr, weight_decay, gradient_norm)",
        cases=rest_cases,
        probe=probe_rest,
        parts=(
            Part("the norm at rest", 3, ("norm",)),
            Part("ValueError where nothing rests", 1, ("exception where nothing rests",)),
        ),
        arithmetic=torch.float32,  # plain numbers may pass through tensors of PyTorch's default dtype
    ),
    exposing("expose_textbook_noise(n, batch_size)", "x", batches_given),
    exposing("hide_share_of_mask(n, p)", "keep", probability_given),
)
