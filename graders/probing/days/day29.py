"""Day 29, the N×C×H×W axes: layer, instance and group normalization. Cases and probes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from graders.probing.cases import feature_maps
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
from graders.probing.observe import FORM, describe, plain, unpacked
from graders.probing.probes import arguments, call, error_of

KINDS = ("batch", "layer", "instance")
#: What is observed where a ValueError is asked for.
RAISES = "what it raises"


# -- bookkeeping: which axes, how many means ---------------------------------------------------------


def axes_cases(draw: Draw) -> Iterator[Case]:
    for kind in KINDS:
        yield Case(f"kind = '{kind}'", {"kind": kind})
    for kind in ("group", "Batch", "", "channel"):
        yield Case(f"another kind, '{kind}'", {"kind": kind})


def probe_axes(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    kind = inputs["kind"]
    if kind not in KINDS:
        require_an_answer(lambda kind: read_axes(candidate(kind), kind))
        yield RAISES, error_of(lambda: candidate(kind))
        return
    axes, form = read_axes(candidate(kind), kind)
    yield f"the tuple for '{kind}'", axes
    yield FORM, form


def require_an_answer(ask: Callable[[str], Any]) -> None:
    """Raises what the first kind ends with where every kind fails: refusing another is no merit then."""
    problems = []
    for kind in KINDS:
        try:
            ask(kind)
        except Exception as problem:
            problems.append(problem)
    if len(problems) == len(KINDS):
        raise problems[0]


def read_axes(result: Any, kind: str) -> tuple[str, str | None]:
    """The axes as text, sorted and counted from 0, and a word on the form if they are not in a tuple.

    Raises BrokenContract with a sentence where they are no axes at all.
    """
    form = None if isinstance(result, tuple) else f"{describe(result)} instead of a tuple"
    try:
        several = result if isinstance(result, Iterable) else (result,)
        axes = [operator.index(axis) for axis in several]
    except TypeError:
        shown = repr(result) if isinstance(result, tuple | list) else describe(result)
        raise BrokenContract(
            f"For '{kind}' it should return a tuple of whole numbers, the axes of N×C×H×W counted from 0, "
            f"but it returns {shown}."
        ) from None
    return str(tuple(sorted(axis + 4 if -4 <= axis < 0 else axis for axis in axes))), form


def count_cases(draw: Draw) -> Iterator[Case]:
    """Sizes of which no two products are the same, so that every wrong count shows."""
    small, large = ((13, 15), (17, 19)), ((70, 150), (160, 250))
    for title, samples, ranges in (
        ("", (5, 7, 11), small),
        (" for a single sample", (1,), small),
        (" for many samples", (53, 59, 61), large),
    ):
        n = samples[draw.integer(0, len(samples) - 1)]
        c, groups = ((6, 2), (6, 3), (8, 2), (12, 3), (12, 4))[draw.integer(0, 4)]
        times = draw.integer(3, 9) if ranges is large else 1
        shape = [n, times * c, *draw.sizes(*ranges)]
        size = " × ".join(map(str, shape))
        for kind in KINDS:
            yield Case(f"'{kind}'{title}, {size}", {"kind": kind, "shape": shape, "num_groups": None})
        yield Case(
            f"'group'{title}, {groups} groups, {size}",
            {"kind": "group", "shape": shape, "num_groups": groups},
        )
    for kind in ("Batch", "", "channel"):
        yield Case(f"another kind, '{kind}'", {"kind": kind, "shape": shape, "num_groups": None})


def probe_count(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    kind, shape = inputs["kind"], torch.Size(inputs["shape"])
    values = arguments({**inputs, "shape": shape})
    if kind not in (*KINDS, "group"):
        require_an_answer(lambda kind: read_count(candidate(kind, shape), kind))
        yield RAISES, error_of(lambda: candidate(*values))
        return
    count, form = read_count(candidate(*values), kind)
    yield f"the count for '{kind}'", count
    yield FORM, form


def read_count(result: Any, kind: str) -> tuple[Any, str | None]:
    """The count, and a word on the form if it is a whole number of another type.

    Raises BrokenContract with a sentence where nothing is returned.
    """
    if result is None:
        raise BrokenContract(
            f"For '{kind}' it should return an int, but it returns nothing (None). Is a return missing?"
        )
    result = plain(result)
    if not isinstance(result, int | float | torch.Tensor) and hasattr(result, "__index__"):
        return operator.index(result), f"{describe(result)} instead of an int"
    return result, None


# -- the norms ---------------------------------------------------------------------------------------


def layer_cases(draw: Draw) -> Iterator[Case]:
    for name, x, eps in feature_maps(draw):
        size = x.shape[1:]
        yield Case(name, {"x": x, "gamma": draw.scale(*size), "beta": draw.normal(*size), "eps": eps})


def instance_cases(draw: Draw) -> Iterator[Case]:
    for name, x, eps in feature_maps(draw):
        c = x.shape[1]
        yield Case(name, {"x": x, "gamma": draw.scale(c), "beta": draw.normal(c), "eps": eps})


def group_cases(draw: Draw) -> Iterator[Case]:
    """Two or three groups of the six channels where a mistake in them is to show, and the extremes."""
    few = draw.integer(2, 3)
    sizes = (few, 5 - few, few, 3, 2, 6, 1, 12)
    for position, ((name, x, eps), groups) in enumerate(zip(feature_maps(draw), sizes, strict=True)):
        label = f"{name}, {groups} group{'s' if groups > 1 else ''}"
        yield Case(label, group_inputs(draw, x, groups, eps))
        if position == 0:
            for groups in (draw.integer(4, 5), 2 * x.shape[1]):
                yield Case(f"{groups} groups of {x.shape[1]} channels", group_inputs(draw, x, groups, eps))


def group_inputs(draw: Draw, x: torch.Tensor, groups: int, eps: float | None) -> dict[str, Any]:
    c = x.shape[1]
    return {"x": x, "num_groups": groups, "gamma": draw.scale(c), "beta": draw.normal(c), "eps": eps}


def probe_group(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    if inputs["x"].shape[1] % inputs["num_groups"] == 0:
        yield "y", candidate(*arguments(inputs))
        return
    # Code that stops or returns nothing anyway is told so, and not that it refuses in the wrong way.
    if candidate(*arguments({**inputs, "num_groups": 2})) is None:
        raise BrokenContract("It should return y, but it returns nothing (None). Is a return missing?")
    yield RAISES, error_of(lambda: candidate(*arguments(inputs)))


# -- which norm is it? -------------------------------------------------------------------------------

#: Observations, so that the points can be split.
KIND, HIDDEN_KIND, NUMBER = "the kind", "the kind, where it is hard to see", "num_groups"


def norm_cases(draw: Draw) -> Iterator[Case]:
    """Norms of every kind, and what is none; gamma and beta hide what outputs would show by themselves."""
    n, h, w = draw.sizes((2, 3), (4, 5), (7, 8))

    def case(name: str, rule: str, groups: int = 0, c: int = 6, **given: Any) -> Case:
        """rule: by which statistics, as `black_box` reads it. groups: of a sample's channels.

        samples, height, std: of x. standard: whether each map comes in at mean 0, variance 1. silent:
        channels whose gamma is 0. affine: the shape of gamma and beta, () for none. hard: whether it is
        hard to see.
        """
        shape = given.get("samples", n), c, given.get("height", h), w
        scale = draw.uniform(*shape[:2], 1, 1, low=0.5, high=2.0)
        offset = draw.uniform(*shape[:2], 1, 1, low=-2.0, high=2.0)
        x = given.get("std", 1.0) * (draw.normal(*shape) * scale + offset)
        if given.get("standard"):
            var, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
            x = (x - mean) / var.sqrt()
        affine = given.get("affine", (c, 1, 1))
        gamma, beta = draw.scale(*affine), draw.normal(*affine)
        for channel in given.get("silent", ()):
            gamma[channel] = 0.0
        if not affine:
            gamma, beta = torch.ones_like(gamma), torch.zeros_like(beta)
        setup = {
            "rule": rule,
            "groups": groups,
            "gamma": gamma,
            "beta": beta,
            "hard": given.get("hard", False),
        }
        stored = {"mean": draw.normal(c, 1, 1), "var": draw.uniform(c, 1, 1, low=0.5, high=2.0)}
        return Case(name, {"x": x, **setup, **stored})

    few, tall = draw.integer(2, 3), draw.many()
    yield case("batch norm", "batch")
    yield case("layer norm, gamma and beta of every element", "groups", 1, affine=(6, h, w))
    yield case("instance norm without gamma and beta", "groups", 6, affine=())
    yield case(f"group norm, {few} groups of 6 channels", "groups", few)
    yield case("group norm, 2 groups of 8 channels", "groups", 2, 8)
    yield case("group norm, 4 groups of 8 channels, high maps", "groups", 4, 8, height=tall)
    yield case("a scale and a shift alone", "none")

    yield case("batch norm in eval mode", "stored", hard=True)
    yield case("layer norm of maps that are normalized already", "groups", 1, standard=True, hard=True)
    yield case("instance norm, gamma 0 in two channels", "groups", 6, silent=(0, 5), hard=True)
    yield case("group norm of pairs, gamma 0 in one channel", "groups", 3, silent=(1,), hard=True)
    yield case("batch norm, a single sample", "batch", samples=1, hard=True)
    yield case("instance norm, a single sample", "groups", 6, samples=1, hard=True)
    yield case("layer norm of values in the thousands", "groups", 1, std=2000.0, hard=True)
    yield case("instance norm, rounded differently with every x", "about the mean", 6, hard=True)


def black_box(inputs: Inputs) -> Callable[[torch.Tensor], torch.Tensor]:
    """The norm of a case, as a function of x (N, C, H, W)."""
    rule, groups, gamma, beta = (inputs[name] for name in ("rule", "groups", "gamma", "beta"))

    def norm(x: torch.Tensor) -> torch.Tensor:
        if rule == "none":
            return gamma * x + beta
        if rule == "stored":
            return gamma * (x - inputs["mean"]) / (inputs["var"] + 1e-5).sqrt() + beta
        if rule == "about the mean":  # which changes nothing but the last digits
            x = x - x.mean()
        together, axes = (x, (0, 2, 3)) if rule == "batch" else (x.reshape(len(x), groups, -1), (2,))
        var, mean = torch.var_mean(together, axes, correction=0, keepdim=True)
        return gamma * ((together - mean) / (var + 1e-5).sqrt()).reshape(x.shape) + beta

    return norm


def probe_norm(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    kind, groups = unpacked(candidate(black_box(inputs), inputs["x"]), ("kind", "num_groups"))
    yield HIDDEN_KIND if inputs["hard"] else KIND, kind
    yield NUMBER, groups


# -- statistics from elsewhere ------------------------------------------------------------------------


def adaptive_cases(draw: Draw) -> Iterator[Case]:
    """Content as for the other norms; a style of another size, with difficulties of its own."""
    height, width = draw.sizes((9, 10), (11, 12))
    for position, (name, content, eps) in enumerate(feature_maps(draw)):
        n, c = content.shape[:2]
        scale = draw.uniform(n, c, 1, 1, low=0.5, high=2.0)
        style = draw.normal(n, c, height, width) * scale + draw.uniform(n, c, 1, 1, low=-2.0, high=2.0)
        if position == 2:
            style = style * 0.1
        elif position == 3:
            style[:, 1] = 1.25
            name += ", and a constant channel in the style"
        elif position == 4:
            style = draw.normal(n, c, height, width, mean=1.0, std=0.01)
            name += ", and a style with a variance near eps"
        elif position == 6:
            style = draw.normal(n, c, height, width, mean=1e4)
            name += ", and a style at an offset of 10,000"
        elif position == 7:
            style = style[:, :, :4, :5].transpose(2, 3)
            name += ", and a smaller style"
        yield Case(name, {"content": content, "style": style, "eps": eps})


# -- layer_norm_backward -----------------------------------------------------------------------------


def layer_backward_cases(draw: Draw) -> Iterator[Case]:
    for name, x, eps in feature_maps(draw):
        gamma, dy = draw.scale(*x.shape[1:]), draw.normal(*x.shape, mean=0.3)
        yield Case(name, {"dy": dy, "x": x, "gamma": gamma, "eps": eps})


# -- inputs that show a mistake, or hide it ------------------------------------------------------------


def groups_given(draw: Draw) -> dict[str, Any]:
    groups = draw.integer(2, 4)
    return {"n": draw.integer(1, 3), "c": groups * draw.integer(2, 4), "groups": groups}


def square_given(draw: Draw) -> dict[str, Any]:
    return {"n": draw.integer(3, 12)}


EXERCISES = (
    Exercise(
        name="normalized_axes",
        signature="normalized_axes(kind)",
        cases=axes_cases,
        probe=probe_axes,
        parts=(
            Part("the axes of the three kinds", 1, ("the tuple for *",)),
            Part("ValueError for another kind", 1, (RAISES,)),
        ),
    ),
    Exercise(
        name="statistics_count",
        signature="statistics_count(kind, shape, num_groups=None)",
        cases=count_cases,
        probe=probe_count,
        parts=(
            Part("batch, layer and instance", 1, tuple(f"the count for '{kind}'" for kind in KINDS)),
            Part("group", 1, ("the count for 'group'",)),
            Part("ValueError for another kind", 1, (RAISES,)),
        ),
    ),
    Exercise(
        name="layer_norm",
        signature="layer_norm(x, gamma, beta, eps=1e-5)",
        cases=layer_cases,
        probe=call("y"),
        parts=(Part("the output y", 3),),
    ),
    Exercise(
        name="instance_norm",
        signature="instance_norm(x, gamma, beta, eps=1e-5)",
        cases=instance_cases,
        probe=call("y"),
        parts=(Part("the output y", 3),),
    ),
    Exercise(
        name="group_norm",
        signature="group_norm(x, num_groups, gamma, beta, eps=1e-5)",
        cases=group_cases,
        probe=probe_group,
        parts=(
            Part("the output y", 4, ("y",)),
            Part("ValueError where num_groups does not divide C", 1, (RAISES,)),
        ),
    ),
    Exercise(
        name="diagnose_norm",
        signature="diagnose_norm(norm, x)",
        cases=norm_cases,
        probe=probe_norm,
        parts=(
            Part("the kind", 2, (KIND,)),
            Part("also where it is hard to see", 1, (HIDDEN_KIND,)),
            Part("the number of groups", 1, (NUMBER,)),
        ),
        barred=frozenset(),
    ),
    Exercise(
        name="adaptive_instance_norm",
        signature="adaptive_instance_norm(content, style, eps=1e-5)",
        cases=adaptive_cases,
        probe=call("y"),
        parts=(Part("the output y", 4),),
    ),
    Exercise(
        name="layer_norm_backward",
        signature="layer_norm_backward(dy, x, gamma, eps=1e-5)",
        cases=layer_backward_cases,
        probe=call("dx", "dgamma", "dbeta"),
        parts=(
            Part("dx", 3, ("dx",)),
            Part("dgamma and dbeta", 1, ("dgamma", "dbeta")),
        ),
        barred=LIBRARY_ANSWERS | AUTOGRAD,
    ),
    exposing("expose_interleaved_groups(n, c, groups)", "x", groups_given),
    exposing("hide_rows_normalized(n)", "x", square_given),
)
