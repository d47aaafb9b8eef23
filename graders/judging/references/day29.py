"""Day 29: the right answers, and what people get wrong, with the knobs that make it.

Sources of the mistakes: reports and fixes in public repositories and forums, and public course solutions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn import functional as F

from graders.judging.answer import Answer, Mistake, both, mistake
from graders.judging.references.exposing import ALIKE, Asked, apart, exposing, hiding, variant
from graders.judging.references.normalizing import (
    MIXED_SHARES,
    Axes,
    affine_mistakes,
    difference_of_squares,
    normalize,
    over_other_axes,
    pairs,
    statistics_mistakes,
    variance_path_mistake,
)
from graders.probing.exercise import Candidate

EPS = 1e-5
KINDS = ("batch", "layer", "instance")


# -- another kind ------------------------------------------------------------------------------------


def refused(kind: str) -> NoReturn:
    raise ValueError(f"kind is one of {KINDS}, not {kind!r}")


def failing_with(error: type[Exception]) -> Callable[[str], NoReturn]:
    def fail(kind: str) -> NoReturn:
        raise error(kind)

    return fail


def kind_mistakes(make: Callable[..., Candidate]) -> tuple[Mistake, ...]:
    """The mistakes in refusing another kind; `make` takes the knobs `other(kind)` and `read(kind)`."""
    return (
        mistake(
            "another_kind_accepted",
            """Another kind gets an answer where it should get a ValueError. A function that returns None, or
            falls through to its last branch, hides the caller's slip until much later; an error raised at
            once names it. (Raised, not returned.)""",
            make(other=lambda kind: None),
        ),
        mistake(
            "another_exception",
            """Another kind ends with an error, but not with a ValueError. A dict without the name gives a
            KeyError, and a failed assert an AssertionError. ValueError is Python's word for an argument of
            the right type whose value makes no sense.""",
            *(
                make(other=failing_with(error))
                for error in (KeyError, AssertionError, UnboundLocalError, TypeError, Exception)
            ),
        ),
        mistake(
            "spelling_forgiven",
            """'Batch' is taken for 'batch'. Only the names exactly as listed are kinds. Anything else,
            another spelling included, is a ValueError.""",
            make(read=str.lower, other=refused),
        ),
        mistake(
            "empty_kind_accepted",
            """The empty string is taken for a kind. Do you test whether the kind is part of a string? '' is
            in every string. A kind has to be equal to one of the names.""",
            make(read=lambda kind: kind or "layer", other=refused),
        ),
    )


# -- the axes ----------------------------------------------------------------------------------------


def axes(
    kind: str,
    *,
    batch: tuple[int, ...] = (0, 2, 3),
    layer: tuple[int, ...] = (1, 2, 3),
    instance: tuple[int, ...] = (2, 3),
    other: Callable[[str], Any] = refused,
    read: Callable[[str], str] = lambda kind: kind,
) -> Any:
    """The definition, with a knob for every kind."""
    table = {"batch": batch, "layer": layer, "instance": instance}
    kind = read(kind)
    return table[kind] if kind in table else other(kind)


def axes_left_over(kind: str) -> tuple[int, ...]:
    """The same from the other end: every axis that does not tell one mean from the next."""
    kept = {"batch": "C", "layer": "N", "instance": "NC"}
    if kind not in kept:
        raise ValueError(kind)
    return tuple(position for position, letter in enumerate("NCHW") if letter not in kept[kind])


def axes_with(**knobs: Any) -> Callable:
    return partial(axes, **knobs)


AXES_MISTAKES = (
    mistake(
        "kept_axes",
        """These are the axes that are kept, with one mean for each position along them. We want the others:
        those that the mean runs over, and that are gone afterwards.""",
        axes_with(batch=(1,), layer=(0,), instance=(0, 1)),
    ),
    mistake(
        "pixels_left_out",
        """H and W are not among the axes, so every pixel has statistics of its own. A feature map is one
        feature seen at many places: all three norms average over H and W as well.""",
        axes_with(batch=(0,), layer=(1,), instance=()),
        axes_with(batch=(0,), layer=(1,), instance=(0,)),
        axes_with(batch=(0,), layer=(1,), instance=(1,)),
    ),
    mistake(
        "batch_and_layer_swapped",
        """Batch and layer normalization are swapped. Batch normalization averages over the samples,
        separately for each channel; layer normalization averages over all features of one sample.""",
        axes_with(batch=(1, 2, 3), layer=(0, 2, 3)),
    ),
    mistake(
        "instance_over_the_batch",
        """The axes for 'instance' are those of batch normalization. An instance is one sample: its channels
        are normalized by themselves, whatever else is in the batch.""",
        axes_with(instance=(0, 2, 3)),
    ),
    mistake(
        "instance_over_channels",
        """The axes for 'instance' are those of layer normalization. Instance normalization keeps the channels
        apart: one mean for each sample and each channel.""",
        axes_with(instance=(1, 2, 3)),
    ),
    mistake(
        "channels_kept_in_layer",
        """Layer normalization here averages over H and W alone; that is instance normalization. Its mean runs
        over all features of a sample, the channels too.""",
        axes_with(layer=(2, 3)),
        axes_with(layer=(3,)),
    ),
    mistake(
        "samples_kept_in_batch",
        """Batch normalization here does not average over the batch, axis 0. That average is what it is named
        after: one mean for each channel, shared by all samples.""",
        axes_with(batch=(2, 3)),
    ),
    mistake(
        "all_axes",
        """The mean runs over all four axes, so one number is left for the whole array. Each norm keeps
        something apart: the channels, the samples, or both.""",
        axes_with(
            batch=(0, 1, 2, 3),
            layer=(0, 1, 2, 3),
            instance=(0, 1, 2, 3),
        ),
    ),
    mistake(
        "channels_last",
        """These are the axes of an N×H×W×C array. In PyTorch's order the channels come second: N is axis 0,
        C is 1, H is 2, W is 3.""",
        axes_with(batch=(0, 1, 2), layer=(1, 2, 3), instance=(1, 2)),
    ),
    mistake(
        "counted_from_one",
        "The axes are counted from 1. Python and PyTorch count from 0: N is axis 0 and W is axis 3.",
        axes_with(batch=(1, 3, 4), layer=(2, 3, 4), instance=(3, 4)),
    ),
    mistake(
        "group_accepted",
        """'group' gets an answer. The mean of group normalization doesn't run over whole axes of N×C×H×W: it
        takes a part of the channels. So no tuple of these axes describes it, and you should raise a
        ValueError.""",
        lambda kind: (1, 2, 3) if kind == "group" else axes(kind),
    ),
    *kind_mistakes(axes_with),
)


# -- how many means ----------------------------------------------------------------------------------


def count(
    kind: str,
    shape: torch.Size,
    num_groups: int | None = None,
    *,
    batch: Callable[..., int] = lambda n, c, h, w: c,
    layer: Callable[..., int] = lambda n, c, h, w: n,
    instance: Callable[..., int] = lambda n, c, h, w: n * c,
    group: Callable[..., int] = lambda n, c, h, w, g: n * g,
    other: Callable[[str], Any] = refused,
    read: Callable[[str], str] = lambda kind: kind,
) -> Any:
    """The definition, with a knob for every kind."""
    kind = read(kind)
    if kind == "group":
        return group(*shape, num_groups)
    table = {"batch": batch, "layer": layer, "instance": instance}
    return table[kind](*shape) if kind in table else other(kind)


def counted(kind: str, shape: torch.Size, num_groups: int | None = None) -> int:
    """The means themselves, counted."""
    x = torch.empty(shape, device="meta")
    if kind == "group":
        x = x.reshape(shape[0], num_groups, -1)
        return x.mean(2).numel()
    return x.mean(axes_left_over(kind)).numel()


def count_with(**knobs: Any) -> Callable:
    return partial(count, **knobs)


COUNT_MISTAKES = (
    mistake(
        "values_per_mean",
        """This is how many values share one mean. We want the number of means; the product of the two is the
        number of elements.""",
        count_with(
            batch=lambda n, c, h, w: n * h * w,
            layer=lambda n, c, h, w: c * h * w,
            instance=lambda n, c, h, w: h * w,
            group=lambda n, c, h, w, g: c // g * h * w,
        ),
    ),
    mistake(
        "one_per_pixel",
        """Every pixel has a mean of its own here. All of these norms average over H and W, so the count does
        not depend on them.""",
        count_with(
            batch=lambda n, c, h, w: c * h * w,
            layer=lambda n, c, h, w: n * h * w,
            instance=lambda n, c, h, w: n * c * h * w,
            group=lambda n, c, h, w, g: n * g * h * w,
        ),
    ),
    mistake(
        "samples_not_counted",
        """The batch is missing from the count. Layer, instance and group normalization treat every sample by
        itself, so N samples have N times as many means as one.""",
        count_with(
            layer=lambda n, c, h, w: 1,
            instance=lambda n, c, h, w: c,
            group=lambda n, c, h, w, g: g,
        ),
    ),
    mistake(
        "samples_counted_in_batch",
        """Batch normalization has one mean for each channel, shared by the whole batch: its count is the same
        for every N.""",
        count_with(batch=lambda n, c, h, w: n * c),
    ),
    mistake(
        "one_for_all",
        """There is more than one mean for the whole array. Which axes does the mean keep apart, and how many
        positions do they have?""",
        count_with(batch=lambda n, c, h, w: 1, instance=lambda n, c, h, w: 1, group=lambda n, c, h, w, g: 1),
    ),
    mistake(
        "batch_and_layer_swapped",
        """The counts of batch and layer normalization are swapped: batch normalization has one mean for each
        channel, layer normalization one for each sample.""",
        count_with(batch=lambda n, c, h, w: n, layer=lambda n, c, h, w: c),
    ),
    mistake(
        "channels_counted_in_layer",
        """Layer normalization has no means for single channels: all features of a sample share one. With one
        for each sample and channel it would be instance normalization.""",
        count_with(layer=lambda n, c, h, w: n * c),
    ),
    mistake(
        "channels_not_counted_in_instance",
        "Instance normalization keeps the channels apart: each sample has one mean for each of them.",
        count_with(instance=lambda n, c, h, w: n),
    ),
    mistake(
        "group_size",
        """num_groups is how many groups there are, not how many channels are in one. Each group of a sample
        has one mean.""",
        count_with(group=lambda n, c, h, w, g: n * (c // g)),
        count_with(group=lambda n, c, h, w, g: c // g),
    ),
    mistake(
        "channels_counted_in_group",
        """The channels of a group share one mean, so the number of channels does not enter: each group of
        each sample counts once.""",
        count_with(group=lambda n, c, h, w, g: n * c),
        count_with(group=lambda n, c, h, w, g: n * c * g),
        count_with(group=lambda n, c, h, w, g: c * g),
    ),
    mistake(
        "groups_not_counted",
        "num_groups is not used: group normalization has one mean for each group of each sample.",
        count_with(group=lambda n, c, h, w, g: n),
    ),
    mistake(
        "mean_and_variance_counted",
        "The count is twice what it should be: count the means alone, without the variances.",
        count_with(
            batch=lambda n, c, h, w: 2 * c,
            layer=lambda n, c, h, w: 2 * n,
            instance=lambda n, c, h, w: 2 * n * c,
            group=lambda n, c, h, w, g: 2 * n * g,
        ),
    ),
    mistake(
        "channels_last",
        """The number of channels is read from the last axis. A shape here is (N, C, H, W): the channels come
        second.""",
        count_with(batch=lambda n, c, h, w: w, instance=lambda n, c, h, w: n * w),
    ),
    *kind_mistakes(count_with),
)


# -- layer, instance and group normalization ---------------------------------------------------------


def scaled_and_shifted(x_hat: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return gamma * x_hat + beta


def layer(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    eps: float = EPS,
    *,
    affine: Callable[[Tensor, Tensor, Tensor], Tensor] = scaled_and_shifted,
    **knobs: Any,
) -> Tensor:
    """The definition, with the knobs of `normalize`."""
    return affine(normalize(x, (1, 2, 3), eps, **knobs)[0], gamma, beta)


def library_layer(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = EPS) -> Tensor:
    return F.layer_norm(x, x.shape[1:], gamma, beta, eps)


def per_channel(parameter: Tensor) -> Tensor:
    """A (C,) parameter in the shape (C, 1, 1) that lines up with the channels."""
    return parameter.reshape(-1, 1, 1)


def instance(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    eps: float = EPS,
    *,
    affine: Callable[[Tensor, Tensor, Tensor], Tensor] = scaled_and_shifted,
    column: Callable[[Tensor], Tensor] = per_channel,
    **knobs: Any,
) -> Tensor:
    """The definition, with the knobs of `normalize` and one for the place of gamma and beta."""
    return affine(normalize(x, (2, 3), eps, **knobs)[0], column(gamma), column(beta))


def library_instance(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = EPS) -> Tensor:
    return F.instance_norm(x, weight=gamma, bias=beta, eps=eps)


def refuse_groups(channels: int, groups: int) -> None:
    if channels % groups:
        raise ValueError(f"{groups} groups of {channels} channels")


def assert_groups(channels: int, groups: int) -> None:
    assert channels % groups == 0


def group(
    x: Tensor,
    num_groups: int,
    gamma: Tensor,
    beta: Tensor,
    eps: float = EPS,
    *,
    refuse: Callable[[int, int], None] = refuse_groups,
    split: Callable[..., tuple[int, ...]] = lambda n, c, h, w, g: (n, g, c // g, h, w),
    along: Axes = (2, 3, 4),
    parameter: Callable[[Tensor, int], Tensor] = lambda parameter, groups: parameter,
    affine: Callable[[Tensor, Tensor, Tensor], Tensor] = scaled_and_shifted,
    column: Callable[[Tensor], Tensor] = per_channel,
    result: Callable[[Tensor, int], Tensor] = lambda y, groups: y,
    **knobs: Any,
) -> Tensor:
    """The definition, with the knobs of `normalize` and those of the groups."""
    refuse(x.shape[1], num_groups)
    x_hat = normalize(x.reshape(split(*x.shape, num_groups)), along, eps, **knobs)[0].reshape(x.shape)
    gamma, beta = (column(parameter(one, num_groups)) for one in (gamma, beta))
    return result(affine(x_hat, gamma, beta), num_groups)


def library_group(x: Tensor, num_groups: int, gamma: Tensor, beta: Tensor, eps: float = EPS) -> Tensor:
    refuse_groups(x.shape[1], num_groups)
    return F.group_norm(x, num_groups, gamma, beta, eps)


def layer_with(default_eps: float = EPS, **knobs: Any) -> Callable:
    """A `layer_norm` with these knobs turned."""

    def layer_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = default_eps) -> Tensor:
        return layer(x, gamma, beta, eps, **knobs)

    return layer_norm


def instance_with(default_eps: float = EPS, **knobs: Any) -> Callable:
    """An `instance_norm` with these knobs turned."""

    def instance_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = default_eps) -> Tensor:
        return instance(x, gamma, beta, eps, **knobs)

    return instance_norm


def group_with(default_eps: float = EPS, **knobs: Any) -> Callable:
    """A `group_norm` with these knobs turned."""

    def group_norm(
        x: Tensor, num_groups: int, gamma: Tensor, beta: Tensor, eps: float = default_eps
    ) -> Tensor:
        return group(x, num_groups, gamma, beta, eps, **knobs)

    return group_norm


def first_scaled(norm: Callable, column: Callable[[Tensor], Tensor]) -> Callable:
    """`norm` of gamma x + beta, with nothing left to do for gamma and beta afterwards."""

    def candidate(x: Tensor, *given: Any) -> Tensor:
        # group_norm's num_groups comes first, a missing eps last; the two tensors are gamma and beta.
        gamma, beta = (one for one in given if isinstance(one, Tensor))
        done = {id(gamma): torch.ones_like(gamma), id(beta): torch.zeros_like(beta)}
        return norm(column(gamma) * x + column(beta), *(done.get(id(one), one) for one in given))

    return candidate


def norm_mistakes(
    make: Callable[..., Candidate], norm: Callable, values: str, column: Callable[[Tensor], Tensor]
) -> tuple[Mistake, ...]:
    """What the three norms of the day have in common.

    make: builds the norm with knobs turned. values: the letters for how many values share a mean.
    column: brings gamma and beta into a shape that meets x where it should.
    """
    return (
        *statistics_mistakes(make, values, "a mean over a single value"),
        *affine_mistakes(make),
        mistake(
            "affine_first",
            """gamma and beta act on x before it is normalized, and normalizing takes away what they did. They
            come last, on x_hat.""",
            first_scaled(norm, column),
        ),
    )


LAYER_MISTAKES = (
    *norm_mistakes(layer_with, layer, "C·H·W", lambda parameter: parameter),
    mistake(
        "over_channels_only",
        """Each pixel is normalized over its channels alone, so there are N·H·W means. Some networks use that
        norm too, under the same name; here the mean of a sample runs over C, H and W together, and there are
        N of them.""",
        layer_with(over=1),
    ),
    mistake(
        "over_pixels_only",
        """Each channel of a sample is normalized by itself, over H and W: that is instance normalization,
        with N·C means. The mean of layer normalization runs over the channels too, and there are N.""",
        layer_with(over=(2, 3)),
    ),
    mistake(
        "over_last_axis",
        """An axis is missing: the mean runs over W alone, as it would for a sequence of vectors, or over the
        channels and one of H and W. A sample has a single mean, over C, H and W.""",
        layer_with(over=3),
        layer_with(over=(1, 3)),
        layer_with(over=(1, 2)),
    ),
    mistake(
        "over_the_batch_too",
        """The mean runs over the batch as well, so one mean serves all samples. Layer normalization treats
        every sample by itself: what comes out for it must not depend on the others.""",
        layer_with(over=(0, 1, 2, 3)),
    ),
    mistake(
        "batch_statistics",
        """The averages run over the samples, as in batch normalization. Layer normalization averages within
        a sample, over its C, H and W, and what comes out for it does not depend on the others.""",
        layer_with(over=(0, 2, 3)),
        layer_with(over=0),
    ),
    mistake(
        "affine_per_channel",
        """gamma and beta are used as if they held one number a channel. In layer normalization every element
        of a sample has its own: they are (C, H, W), as one sample is.""",
        layer_with(
            affine=lambda x_hat, gamma, beta: gamma[:, :1, :1] * x_hat + beta[:, :1, :1],
        ),
        layer_with(
            affine=lambda x_hat, gamma, beta: (
                gamma.mean((1, 2), keepdim=True) * x_hat + beta.mean((1, 2), keepdim=True)
            ),
        ),
    ),
    mistake(
        "affine_misaligned",
        """x_hat is right, but gamma and beta meet the wrong values. One of the two is flattened with the
        channels last, the other with the channels first. Entry (c, h, w) of gamma belongs to the value at
        (c, h, w) of every sample.""",
        layer_with(
            affine=lambda x_hat, gamma, beta: channels_last_order(gamma) * x_hat + channels_last_order(beta),
        ),
        layer_with(
            affine=lambda x_hat, gamma, beta: (
                channels_first_order(gamma) * x_hat + channels_first_order(beta)
            ),
        ),
    ),
)


def channels_last_order(parameter: Tensor) -> Tensor:
    """(C, H, W) numbers read as if they had been stored with the channels last."""
    c, h, w = parameter.shape
    return parameter.reshape(h, w, c).permute(2, 0, 1)


def channels_first_order(parameter: Tensor) -> Tensor:
    """The opposite: stored with the channels last and read as (C, H, W)."""
    return parameter.permute(1, 2, 0).reshape(parameter.shape)


def stops_on_last_axis(make: Callable[..., Candidate]) -> Mistake:
    """gamma of shape (C,) against (N, C, H, W); the text of torch's error depends on who stands first."""
    return mistake(
        "affine_on_another_axis",
        """gamma and beta do not line up with the channels, so torch stops. Broadcasting matches shapes from
        the last axis backwards: a (C,) tensor meets W, a (C, 1) tensor meets H. Which shape puts C where
        the channels are?""",
        *(
            make(column=column, affine=affine)
            for column in (lambda parameter: parameter, lambda parameter: parameter[:, None])
            for affine in (
                scaled_and_shifted,
                lambda x_hat, gamma, beta: x_hat * gamma + beta,
                lambda x_hat, gamma, beta: x_hat + beta,
                lambda x_hat, gamma, beta: beta + x_hat,
            )
        ),
    )


def mixed_channels(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = EPS, *, late: bool = True) -> Tensor:
    """(N, H·W, C) made by reshape alone, which puts values of several channels into one column."""
    n, c, h, w = x.shape
    x_hat = normalize(x.reshape(n, h * w, c), 1, eps)[0]
    if late:
        return per_channel(gamma) * x_hat.reshape(x.shape) + per_channel(beta)
    return (gamma * x_hat + beta).reshape(x.shape)


INSTANCE_MISTAKES = (
    *norm_mistakes(instance_with, instance, "H·W", per_channel),
    mistake(
        "batch_statistics",
        """The averages run over the samples, as in batch normalization. Instance normalization takes every
        sample by itself, so there are N·C means, over H and W, and a sample's result does not depend on the
        others.""",
        instance_with(over=(0, 2, 3)),
        instance_with(over=0),
    ),
    mistake(
        "layer_statistics",
        """This is layer normalization's mean, over C, H and W. Instance normalization keeps the channels
        apart: one mean for each sample and each channel.""",
        instance_with(over=(1, 2, 3)),
    ),
    mistake(
        "over_one_axis",
        """The mean runs over H or over W alone, so every row or column of a map is normalized by itself. A
        whole map, H and W together, shares one mean.""",
        instance_with(over=3),
        instance_with(over=2),
    ),
    mistake(
        "over_channels_only",
        """Each pixel is normalized over its channels. Instance normalization does the opposite: the channels
        stay apart, and the mean runs over the pixels, H and W.""",
        instance_with(over=1),
    ),
    mistake(
        "over_all_axes",
        """One mean and one variance are taken over the whole array. Each sample and each channel has its own:
        N·C of them.""",
        instance_with(over=(0, 1, 2, 3)),
    ),
    mistake(
        "reshape_mixes_channels",
        """The array is reshaped to have the channels last. reshape keeps the order of the elements in memory
        and only cuts it elsewhere, so each column holds values of several channels. To move an axis, permute
        it.""",
        mixed_channels,
        partial(mixed_channels, late=False),
    ),
    stops_on_last_axis(instance_with),
)


def one_per_group(parameter: Tensor, groups: int, pick: Callable[[Tensor], Tensor]) -> Tensor:
    """`parameter` (C,) with one number in each group of channels."""
    grouped = parameter.reshape(groups, -1)
    return pick(grouped).expand_as(grouped).reshape(-1)


def by_chunks(x: Tensor, num_groups: int, gamma: Tensor, beta: Tensor, eps: float = EPS) -> Tensor:
    """`torch.chunk` makes as many groups as it can, and none of them need be what was asked for."""
    parts = [normalize(part, (1, 2, 3), eps)[0] for part in x.chunk(num_groups, 1)]
    return scaled_and_shifted(torch.cat(parts, 1), per_channel(gamma), per_channel(beta))


GROUP_MISTAKES = (
    *norm_mistakes(group_with, group, "(C/G)·H·W", per_channel),
    mistake(
        "interleaved_groups",
        """The groups are interleaved: channels 0, G, 2G, … share a mean. A group is a run of consecutive
        channels, the first C/G of them, then the next.""",
        group_with(split=lambda n, c, h, w, g: (n, c // g, g, h, w), along=(1, 3, 4)),
    ),
    mistake(
        "reshape_mixes_channels",
        """The array is reshaped as if its channels came last, so a group holds values of all channels.
        reshape does not move axes; the array is (N, C, H, W), and it is the axis C that is cut.""",
        group_with(split=lambda n, c, h, w, g: (n, h, w, g, c // g), along=(1, 2, 4)),
        group_with(split=lambda n, c, h, w, g: (n, h, w, c // g, g), along=(1, 2, 3)),
    ),
    mistake(
        "over_channels_only",
        """H and W are not averaged over: every pixel of a group has a mean of its own. There is one mean for
        each sample and group, N·G in all.""",
        group_with(along=2),
    ),
    mistake(
        "over_pixels_only",
        """Only H and W are averaged over, so each channel is normalized by itself: that is instance
        normalization, with N·C means. The channels of a group share one mean; there are N·G.""",
        group_with(along=(3, 4)),
    ),
    mistake(
        "layer_statistics",
        """All channels of a sample share one mean: that is layer normalization, or one single group. There is
        one mean for each sample and group, N·G in all.""",
        group_with(along=(1, 2, 3, 4)),
    ),
    mistake(
        "over_the_batch_too",
        """The mean of a group runs over the batch as well. Group normalization takes every sample by itself,
        which is why it does not mind small batches: N·G means, not G.""",
        group_with(along=(0, 2, 3, 4)),
    ),
    mistake(
        "batch_statistics",
        """The averages run over the samples, for each channel by itself: that is batch normalization. Group
        normalization takes every sample by itself, and the channels of a group together.""",
        group_with(along=(0, 3, 4)),
    ),
    mistake(
        "over_all_axes",
        """One mean and one variance are taken over the whole array. Each sample and each group has its own:
        N·G of them.""",
        group_with(along=(0, 1, 2, 3, 4)),
    ),
    mistake(
        "across_groups",
        """The mean runs over the axis of the groups, and not over that of the channels within a group, so it
        joins what the groups keep apart. With axes N, G, C/G, H, W it runs over the last three.""",
        group_with(along=(1, 3, 4)),
        group_with(along=1),
    ),
    mistake(
        "rows_averaged",
        """The mean runs over the N·G rows and not within one, so each place in a group has a mean of its own,
        over samples and groups. A row is one group of one sample, and has one mean over all its values.""",
        group_with(split=lambda n, c, h, w, g: (n * g, c // g * h * w), along=(0,)),
    ),
    mistake(
        "group_size",
        """num_groups is taken for the number of channels in a group. It is the number of groups; each holds
        C / num_groups channels.""",
        group_with(split=lambda n, c, h, w, g: (n, c // g, g, h, w)),
    ),
    mistake(
        "affine_per_group",
        """gamma and beta are used as if they held one number for each group. Only the statistics are shared
        in a group: scale and shift are per channel, C of them.""",
        *(
            group_with(parameter=parameter)
            for parameter in (
                partial(one_per_group, pick=lambda grouped: grouped[:, :1]),
                partial(one_per_group, pick=lambda grouped: grouped.mean(1, keepdim=True)),
                lambda parameter, groups: parameter[:groups].repeat_interleave(len(parameter) // groups),
                lambda parameter, groups: parameter[:groups].repeat(len(parameter) // groups),
            )
        ),
    ),
    mistake(
        "extra_axes",
        """The values are right, but there are axes of length 1 in front. Broadcasting brings them in, from a
        gamma of shape (1, 1, 1, C, 1, 1) or the like. The result should have the shape of x, (N, C, H,
        W).""",
        *(
            group_with(result=lambda y, groups, extra=extra: y.reshape(*(1,) * extra, *y.shape))
            for extra in (1, 2, 3)
        ),
    ),
    mistake(
        "groups_not_undone",
        """The values are right, but the channels are still cut into groups. The result should have the shape
        of x, (N, C, H, W).""",
        group_with(result=lambda y, groups: y.reshape(y.shape[0], groups, -1, *y.shape[2:])),
        group_with(result=lambda y, groups: y.reshape(y.shape[0], groups, -1)),
    ),
    mistake(
        "indivisible_groups",
        """Where num_groups does not divide C, groups of one size don't exist, and you should raise a
        ValueError. Yours ends in another way. Left to itself, reshape stops with a RuntimeError, or goes on
        where H and W happen to fit. A failed assert is an AssertionError. chunk or a slice goes on with
        groups that nobody wanted.""",
        group_with(refuse=lambda channels, groups: None),
        group_with(refuse=lambda channels, groups: None, split=lambda n, c, h, w, g: (n, g, -1), along=(2,)),
        group_with(refuse=assert_groups),
        by_chunks,
    ),
    stops_on_last_axis(group_with),
)


def norm_pairs(
    make: Callable[..., Candidate], known: tuple[Mistake, ...], axes: Mapping[str, tuple[str, dict[str, Any]]]
) -> tuple[Mistake, ...]:
    """Two of the mistakes at once that the three norms have in common, or one of those with other axes.

    axes: mistakes in these, with the letters for how many values share a mean there, and the knobs to turn.
    """
    in_common = *statistics_mistakes(dict, "", ""), *affine_mistakes(dict)
    at_once = [*pairs(make, known, in_common)]
    for key, (values, knobs) in axes.items():
        counted_there = statistics_mistakes(make, values, "a mean over a single value")
        at_once += over_other_axes(make, (*known, *counted_there), {key: knobs})
    return tuple(at_once)


@cache
def layer_pairs() -> tuple[Mistake, ...]:
    axes = {
        "over_channels_only": ("C", {"over": 1}),
        "over_pixels_only": ("H·W", {"over": (2, 3)}),
        "batch_statistics": ("N·H·W", {"over": (0, 2, 3)}),
    }
    return norm_pairs(layer_with, LAYER_MISTAKES, axes)


@cache
def instance_pairs() -> tuple[Mistake, ...]:
    axes = {
        "batch_statistics": ("N·H·W", {"over": (0, 2, 3)}),
        "layer_statistics": ("C·H·W", {"over": (1, 2, 3)}),
        "over_channels_only": ("C", {"over": 1}),
    }
    return norm_pairs(instance_with, INSTANCE_MISTAKES, axes)


@cache
def group_pairs() -> tuple[Mistake, ...]:
    axes = {
        "interleaved_groups": (
            "(C/G)·H·W",
            {"split": lambda n, c, h, w, g: (n, c // g, g, h, w), "along": (1, 3, 4)},
        ),
        "group_size": ("G·H·W", {"split": lambda n, c, h, w, g: (n, c // g, g, h, w)}),
        "over_pixels_only": ("H·W", {"along": (3, 4)}),
        "layer_statistics": ("C·H·W", {"along": (1, 2, 3, 4)}),
    }
    return norm_pairs(group_with, GROUP_MISTAKES, axes)


# -- which norm is it? -------------------------------------------------------------------------------

Norm = Callable[[Tensor], Tensor]
#: A kind, and the number of groups where it is 'group'.
Found = tuple[Any, Any]


def others(x: Tensor) -> Tensor:
    """Values of the size of x that differ from it in every respect."""
    return (3 * x).cos() * x.abs().max() + x.mean()


def with_another(x: Tensor) -> Tensor:
    """x, and a second sample where there is only one."""
    return torch.cat([x, others(x)]) if len(x) == 1 else x


def found(channels: int, together: int, across: bool, inside: bool) -> Found:
    """The kind by what affects what. together: how many channels of a sample do."""
    if across:
        return "batch", None
    if together == channels:
        return "layer", None
    if together > 1:
        return "group", channels // together
    return ("instance" if inside else "none"), None


def by_keeping(norm: Norm, x: Tensor) -> Found:
    """A part of x is kept and all else is changed: does the output there stay as it is?"""
    x = with_another(x)
    y, rest, channels = norm(x), others(x), x.shape[1]

    def stays(*part: Any) -> bool:
        z = rest.clone()
        z[part] = x[part]
        return not bool(((norm(z) - y)[part].abs() > 1e-4).any())

    if not stays(0):
        return found(channels, 1, True, True)
    sizes = [size for size in range(1, channels + 1) if channels % size == 0]
    for size in sizes:
        if all(stays(0, slice(start, start + size)) for start in range(0, channels, size)):
            inside = size == 1 and not all(stays(0, channel, 0, 0) for channel in range(channels))
            return found(channels, size, False, inside)
    raise AssertionError("all channels of a sample are kept, and its output is another")


#: A change of x for a channel: the changed x, and which part of it was changed.
Change = Callable[[Tensor, int], tuple[Tensor, Any]]


def with_part(x: Tensor, part: Any, values: Any) -> tuple[Tensor, Any]:
    z = x.clone()
    z[part] = values
    return z, part


def one_cell(x: Tensor, channel: int) -> tuple[Tensor, Any]:
    """One value, far from where it was."""
    return with_part(x, (0, channel, 0, 0), 2 * x.abs().max())


def by(amount: float) -> Change:
    """One value, moved by this amount."""
    return lambda x, channel: with_part(x, (0, channel, 0, 0), x[0, channel, 0, 0] + amount)


def replaced(part: Callable[[int], Any]) -> Change:
    """All values of a part."""
    return lambda x, channel: with_part(x, part(channel), others(x)[part(channel)])


def shifted(part: Callable[[int], Any]) -> Change:
    """All values of a part, by one amount."""
    return lambda x, channel: with_part(x, part(channel), x[part(channel)] + 5)


def which(
    norm: Norm,
    x: Tensor,
    *,
    second: Callable[[Tensor], Tensor] = with_another,
    channels: Callable[[int], Iterable[int]] = range,
    change: Change = one_cell,
    limit: float = 1e-4,
    told: Callable[[Found, int], Any] = lambda answer, channels: answer,
) -> Any:
    """The definition: a value is changed, in one channel after the other, and the outputs that follow say it.

    limit: how far an output has to move. told: what is made of the answer, by the number of channels.
    """
    x = second(x)
    y, count = norm(x), x.shape[1]
    across, together, inside = False, 1, False
    for channel in channels(count):
        z, part = change(x, channel)
        touched = (norm(z) - y).abs() > limit
        touched[part] = False
        maps = touched.flatten(2).any(2).tolist()
        if any(map(any, maps[1:])):
            across = True
            break
        inside |= maps[0][channel]
        maps[0][channel] = True
        together = max(together, sum(maps[0]))
    return told(found(count, together, across, inside), count)


def saying(answers: dict[str, Any]) -> Callable:
    """The definition with other answers for some kinds."""
    return partial(which, told=lambda answer, channels: answers.get(answer[0], answer))


def with_number(number: Callable[[str, int, Any], Any]) -> Callable:
    """The definition with another number, made of the kind, the channels and the right number."""
    return partial(which, told=lambda answer, channels: (answer[0], number(answer[0], channels, answer[1])))


def by_means(norm: Norm, x: Tensor) -> Found:
    """The axes along which the outputs average to 0."""
    y = norm(x)
    channels = x.shape[1]
    for size in (one for one in range(1, channels + 1) if channels % one == 0):
        if y.reshape(len(x), channels // size, -1).mean(2).abs().max() < 1e-3:
            return found(channels, size, False, True)
    return ("batch" if y.mean((0, 2, 3)).abs().max() < 1e-3 else "none"), None


def by_fitting(norm: Norm, x: Tensor) -> Found:
    """The kind whose output on x it is, up to a scale and a shift of each channel."""
    y, channels = norm(x), x.shape[1]

    def fits(guess: Tensor) -> bool:
        one, other = ((values - values.mean((0, 2, 3), keepdim=True)) for values in (guess, y))
        slope = (one * other).sum((0, 2, 3), keepdim=True) / one.square().sum((0, 2, 3), keepdim=True)
        return bool((other - slope * one).abs().max() < 1e-3 * (1 + other.abs().max()))

    if fits(x):
        return "none", None
    if fits(normalize(x, (0, 2, 3), EPS)[0]):
        return "batch", None
    for size in (one for one in range(1, channels + 1) if channels % one == 0):
        if fits(normalize(x.reshape(len(x), channels // size, -1), 2, EPS)[0].reshape(x.shape)):
            return found(channels, size, False, True)
    return "none", None


NORM_MISTAKES = (
    mistake(
        "outputs_averaged",
        """The test is whether the outputs average to 0 (or vary by 1) along some axes. They do so before
        gamma and beta, which then move them anywhere. What gamma and beta can't hide is which outputs follow
        when an input changes.""",
        by_means,
    ),
    mistake(
        "compared_on_one_x",
        """The outputs are compared with what the norms would give for this x. But different norms can agree
        on one x: all of them on maps that are normalized already, batch and instance norm on a single sample.
        Change x, and see which outputs follow.""",
        by_fitting,
    ),
    mistake(
        "other_samples_overlooked",
        """Batch norm is taken for another: only the sample that was changed is looked at. What makes it batch
        norm happens in the others.""",
        saying({"batch": ("instance", None)}),
    ),
    mistake(
        "single_sample",
        """Right except for a batch of one. Batch and instance norm do the same to a single sample. But you
        may call norm on more than x alone: what does it do to two samples?""",
        partial(which, second=lambda x: x),
    ),
    mistake(
        "one_channel_only",
        """Only one channel is changed. Its gamma, or that of its neighbour, may be 0. Then the outputs there
        stay as they are, whatever the statistics do. Give each channel its turn.""",
        partial(which, channels=lambda count: [0]),
        partial(which, channels=lambda count: [count - 1]),
    ),
    mistake(
        "group_as_layer",
        """Group norm is taken for layer norm: some other channel follows, and that is taken for all of them.
        How many follow?""",
        saying({"group": ("layer", None)}),
    ),
    mistake(
        "group_as_instance",
        """Group norm is taken for instance norm. A channel that is far away does not follow, but those of the
        same group do. Look at all of them.""",
        saying({"group": ("instance", None)}),
    ),
    mistake(
        "whole_map_changed",
        """Instance norm is taken for none. A whole map is changed and only the outside is looked at, or a
        constant is added, which is subtracted again with the mean. Instance norm mixes within one map: change
        a single value and look at the others.""",
        partial(which, change=replaced(lambda channel: (0, channel))),
        partial(which, change=shifted(lambda channel: (0, channel))),
    ),
    mistake(
        "whole_sample_changed",
        """A whole sample is changed at once. That shows batch norm, where other samples follow. But what is
        mixed within a sample doesn't show when all of it changes: change one value.""",
        partial(which, change=replaced(lambda channel: 0)),
        partial(which, change=shifted(lambda channel: 0)),
    ),
    mistake(
        "whole_channel_changed",
        """A channel is changed in all samples at once. Batch norm mixes within a channel, so it doesn't show
        that way, nor does instance norm. Change one value of one sample.""",
        partial(which, change=replaced(lambda channel: (slice(None), channel))),
        partial(which, change=shifted(lambda channel: (slice(None), channel))),
    ),
    mistake(
        "change_too_small",
        """The answer is 'none' for every norm. If x is changed at all, the change is too small: a mean of
        many values passes on only a small part of it, which is lost among the digits or under your tolerance.
        You are free to change a value by a lot.""",
        *(partial(which, change=by(amount)) for amount in (1e-8, 1e-6, 1e-4)),
    ),
    mistake(
        "size_of_x_forgotten",
        """The change has a fixed size. If the values are in the thousands it is too small to be seen, because
        a norm divides by the standard deviation. Measure the change by x.""",
        *(partial(which, change=by(amount)) for amount in (1.0, 3.0)),
    ),
    mistake(
        "rounding_for_dependence",
        """The last digits are taken for a dependence. Two results that should be equal can differ by
        rounding, about 1e-7 of their size in float32; what a norm passes on is far above that. Compare
        within a tolerance.""",
        partial(which, limit=0.0),
        partial(which, limit=1e-10),
        rounding=True,
    ),
    mistake(
        "own_cell_counted",
        """What is no norm is taken for one. The output in the place that was changed follows in any case. The
        question is whether others do. (In eval mode batch norm is only a scale and a shift: the statistics
        are stored, and no input affects them.)""",
        saying({"none": ("instance", None)}),
        saying({"none": ("batch", None)}),
    ),
    mistake(
        "batch_and_layer_swapped",
        """Batch and layer norm are swapped. In batch norm the other samples follow, in the same channel; in
        layer norm the other channels, in the same sample.""",
        saying({"batch": ("layer", None), "layer": ("batch", None)}),
    ),
    mistake(
        "layer_and_instance_swapped",
        """Layer and instance norm are swapped. If all channels of a sample follow, it is layer norm; if only
        one does, instance norm.""",
        saying({"layer": ("instance", None), "instance": ("layer", None)}),
    ),
    mistake(
        "group_size",
        "num_groups is the number of groups, not the number of channels in one. The product of the two is C.",
        with_number(lambda kind, channels, groups: groups and channels // groups),
    ),
    mistake(
        "extremes_as_groups",
        """One group of all channels is called 'layer' here, and as many groups as channels 'instance'.
        'group' is for what lies between.""",
        partial(
            which,
            told=lambda answer, channels: {
                "layer": ("group", 1),
                "instance": ("group", channels),
            }.get(answer[0], answer),
        ),
    ),
    mistake(
        "number_for_all",
        """There is a number where None belongs: num_groups goes with 'group' alone. (It is true that layer
        norm has one group and instance norm C of them; their names say that already.)""",
        with_number(
            lambda kind, channels, groups: {"layer": 1, "instance": channels}.get(kind, groups),
        ),
        with_number(
            lambda kind, channels, groups: {"batch": 1, "layer": 1, "instance": channels}.get(kind, groups),
        ),
        with_number(
            lambda kind, channels, groups: groups if kind == "group" else 1,
        ),
        with_number(lambda kind, channels, groups: groups or 0),
        with_number(
            lambda kind, channels, groups: {"layer": 1, "instance": channels, "group": groups}.get(kind, 0),
        ),
    ),
    mistake(
        "number_missing",
        "The number of groups is missing: with 'group' it is the second of the pair.",
        with_number(lambda kind, channels, groups: None),
    ),
    mistake(
        "always_the_same",
        "The answer is the same for every norm. But all four norms occur, and so does what is no norm.",
        *(lambda norm, x, kind=kind: (kind, None) for kind in ("batch", "layer", "instance")),
    ),
    mistake(
        "other_words",
        """The kind is none of the strings 'batch', 'layer', 'instance', 'group' and 'none', spelled exactly
        so. For what is no norm, return the word 'none', not None.""",
        saying({"none": (None, None)}),
        saying({"none": ("", None)}),
        saying({"none": ("affine", None)}),
        *(
            partial(which, told=lambda answer, channels, change=change: (change(answer[0]), answer[1]))
            for change in (str.capitalize, "{}_norm".format, "{} norm".format)
        ),
    ),
)


# -- adaptive instance normalization -----------------------------------------------------------------


def adaptive(
    content: Tensor,
    style: Tensor,
    eps: float = EPS,
    *,
    seen: Callable[[Tensor, Tensor], Tensor] = lambda content, style: style,
    of_content: dict[str, Any] | None = None,
    of_style: dict[str, Any] | None = None,
    mean: Callable[[Tensor, Tensor], Tensor] = lambda mean, std: mean,
    std: Callable[[Tensor, Tensor], Any] = lambda mean, std: std,
    combine: Callable[[Tensor, Any, Tensor], Tensor] = lambda x_hat, std, mean: std * x_hat + mean,
) -> Tensor:
    """The definition. seen: what the style's statistics are taken of. of_content, of_style: knobs of
    `normalize` for either. mean, std: what becomes of the style's two. combine: the last step.
    """
    x_hat = normalize(content, (2, 3), eps, **(of_content or {}))[0]
    style = seen(content, style)
    knobs = of_style or {}
    _, style_std = normalize(style, (2, 3), eps, **knobs)
    style_mean = style.mean(knobs.get("over", (2, 3)), keepdim=True)
    return combine(x_hat, std(style_mean, style_std), mean(style_mean, style_std))


def library_adaptive(content: Tensor, style: Tensor, eps: float = EPS) -> Tensor:
    """`F.instance_norm` of the content, then the style's own numbers."""
    var, mean = torch.var_mean(style, (2, 3), correction=0, keepdim=True)
    return F.instance_norm(content, eps=eps) * torch.sqrt(var + eps) + mean


def adaptive_with(default_eps: float = EPS, **knobs: Any) -> Callable:
    """An `adaptive_instance_norm` with these knobs turned."""

    def adaptive_instance_norm(content: Tensor, style: Tensor, eps: float = default_eps) -> Tensor:
        return adaptive(content, style, eps, **knobs)

    return adaptive_instance_norm


def in_content(default_eps: float = EPS, **knobs: Any) -> Callable:
    return adaptive_with(default_eps, of_content=knobs)


def in_style(default_eps: float = EPS, **knobs: Any) -> Callable:
    return adaptive_with(default_eps, of_style=knobs)


def in_both(default_eps: float = EPS, **knobs: Any) -> Callable:
    return adaptive_with(default_eps, of_content=knobs, of_style=knobs)


def content_mistakes() -> tuple[Mistake, ...]:
    """The shared mistakes, made for the content alone, and for both where the message fits that too."""
    alone = statistics_mistakes(in_content, "H·W", "a mean over a single value")
    for_both = {one.key: one for one in statistics_mistakes(in_both, "H·W", "")}
    only_alone = ("unbiased_variance", "not_centred", "divided_by_variance", "multiplied_by_deviation")
    return tuple(
        one
        if one.key in only_alone
        else Mistake(one.key, one.message, one.variants + for_both[one.key].variants, one.rounding)
        for one in alone
    )


def cropped(content: Tensor, style: Tensor) -> Tensor:
    return style[:, :, : content.shape[2], : content.shape[3]]


def statistics_exchanged(content: Tensor, style: Tensor, eps: float = EPS) -> Tensor:
    """The style's statistics taken away, and the content's own put in their place."""
    (_, own), (_, given) = (normalize(x, (2, 3), eps) for x in (content, style))
    means = (x.mean((2, 3), keepdim=True) for x in (style, content))
    return (content - next(means)) / given * own + next(means)


ADAPTIVE_MISTAKES = (
    *content_mistakes(),
    mistake(
        "unbiased_in_both",
        """Both variances are divided by H·W − 1, as in a widely copied implementation. We want the biased
        ones, divided by H·W. The two slips all but cancel if content and style are of one size, and only
        then.""",
        in_both(variance=lambda x, axes: x.var(axes, keepdim=True)),
    ),
    mistake(
        "unbiased_in_style",
        """The style's variance is divided by H·W − 1. It describes the values of the style and estimates
        nothing: divide by H·W, as for the content.""",
        in_style(variance=lambda x, axes: x.var(axes, keepdim=True)),
    ),
    mistake(
        "eps_missing_in_style",
        """The style's standard deviation is taken without eps. Here both are the root of (var + eps), so that
        a content that is its own style comes back unchanged. The difference shows where the style hardly
        varies.""",
        in_style(deviation=lambda var, eps: var.sqrt()),
    ),
    mistake(
        "eps_against_zero_only",
        """eps is only a guard against dividing by zero here: it is added to the content's standard deviation,
        but not to the style's, which divides nothing. Both should be the root of (var + eps).""",
        adaptive_with(
            of_content={"deviation": lambda var, eps: var.sqrt() + eps},
            of_style={"deviation": lambda var, eps: var.sqrt()},
        ),
    ),
    mistake(
        "eps_outside_root_in_style",
        """The style's standard deviation is std + eps. As for the content it is the root of (var + eps), with
        eps inside.""",
        in_style(deviation=lambda var, eps: var.sqrt() + eps),
    ),
    mistake(
        "variance_for_deviation_in_style",
        """x_hat is multiplied by the style's variance. It has standard deviation 1 and should get that of the
        style: multiply by the root of (var + eps).""",
        in_style(deviation=lambda var, eps: var + eps),
        in_style(deviation=lambda var, eps: var),
        in_both(deviation=lambda var, eps: var + eps),
    ),
    mistake(
        "style_by_cancellation",
        """The style's variance is computed as E[x²] − E[x]². At an offset of 10,000 both terms are near 10⁸
        and float32 keeps seven digits, so their difference is noise. Centre first, then square.""",
        in_style(variance=difference_of_squares),
        in_style(variance=lambda x, axes: difference_of_squares(x, axes).clamp_min(0)),
        rounding=True,
    ),
    mistake(
        "style_mean_missing",
        """The style's mean is not added, or is subtracted. Every map of your result should have the mean of
        the style's map.""",
        adaptive_with(mean=lambda mean, std: torch.zeros_like(mean)),
        adaptive_with(mean=lambda mean, std: -mean),
    ),
    mistake(
        "style_deviation_missing",
        """x_hat is not multiplied by the style's standard deviation, or is divided by it. It has a spread of
        1, and what you return should have that of the style.""",
        adaptive_with(std=lambda mean, std: 1.0),
        adaptive_with(std=lambda mean, std: 1.0 / std),
    ),
    mistake(
        "mean_and_deviation_swapped",
        "The style's mean scales and its standard deviation shifts: they are swapped.",
        adaptive_with(mean=lambda mean, std: std, std=lambda mean, std: mean),
    ),
    mistake(
        "shift_before_scale",
        """The style's mean is added before the scaling, so it is scaled too. The standard deviation scales
        x_hat alone; the mean comes last.""",
        adaptive_with(combine=lambda x_hat, std, mean: std * (x_hat + mean)),
    ),
    mistake(
        "content_not_normalized",
        """The content keeps its own statistics under those of the style. First take the content's mean and
        standard deviation away, then give it those of the style.""",
        lambda content, style, eps=EPS: adaptive(
            content, style, eps, combine=lambda x_hat, std, mean: std * content + mean
        ),
    ),
    mistake(
        "content_not_scaled",
        """The content is centred but not divided by its standard deviation. The output then has the product
        of both deviations, where the style's alone belongs.""",
        in_content(deviation=lambda var, eps: torch.ones_like(var)),
    ),
    mistake(
        "content_and_style_swapped",
        """Content and style are swapped: the result has the size of the style. Normalize the content, and
        give it the style's statistics.""",
        lambda content, style, eps=EPS: adaptive(style, content, eps),
    ),
    mistake(
        "statistics_exchanged",
        """The statistics have changed places: the content is normalized by those of the style, and gets its
        own afterwards. Its own are taken away first; those of the style come last.""",
        statistics_exchanged,
    ),
    mistake(
        "own_statistics",
        """The content gets its own mean and standard deviation back; the style is not looked at.""",
        adaptive_with(seen=lambda content, style: content),
    ),
    mistake(
        "batch_statistics",
        """Statistics are taken over the batch as well, so samples share them. Every sample has a style of its
        own, and each channel too: N·C means, over H and W.""",
        in_both(over=(0, 2, 3)),
        in_style(over=(0, 2, 3)),
        in_content(over=(0, 2, 3)),
        adaptive_with(seen=lambda content, style: style[:1]),
    ),
    mistake(
        "layer_statistics",
        """Statistics are taken over the channels as well. Every channel has its own: N·C means, over H and
        W.""",
        in_both(over=(1, 2, 3)),
        in_style(over=(1, 2, 3)),
        in_content(over=(1, 2, 3)),
    ),
    mistake(
        "style_cropped",
        """Only a part of the style is looked at, cut to the size of the content. A mean does not need equal
        sizes: take it over all of the style's H and W.""",
        adaptive_with(seen=cropped),
    ),
)


def unbiased(x: Tensor, axes: Any) -> Tensor:
    return x.var(axes, keepdim=True)


def without_eps(var: Tensor, eps: float) -> Tensor:
    return var.sqrt()


#: Two at once, as they are made where torch.std is called for both: the keys, and how.
ADAPTIVE_PAIRS: tuple[tuple[str, str, tuple[Candidate, ...]], ...] = (
    ("unbiased_in_both", "eps_missing", (in_both(variance=unbiased, deviation=without_eps),)),
    (
        "unbiased_in_both",
        "eps_against_zero_only",
        (
            adaptive_with(
                of_content={"variance": unbiased, "deviation": lambda var, eps: var.sqrt() + eps},
                of_style={"variance": unbiased, "deviation": without_eps},
            ),
        ),
    ),
    (
        "unbiased_in_both",
        "eps_missing_in_style",
        (
            adaptive_with(
                of_content={"variance": unbiased},
                of_style={"variance": unbiased, "deviation": without_eps},
            ),
        ),
    ),
    (
        "unbiased_in_both",
        "batch_statistics",
        (
            in_both(variance=unbiased, over=(0, 2, 3)),
            in_both(variance=unbiased, over=(0, 2, 3), deviation=without_eps),
            in_both(variance=unbiased, over=(0, 2, 3), deviation=lambda var, eps: var.sqrt() + eps),
            adaptive_with(
                of_content={"variance": unbiased}, of_style={"variance": unbiased, "over": (0, 2, 3)}
            ),
        ),
    ),
    (
        "unbiased_and_eps_outside",
        "batch_statistics",
        (
            adaptive_with(
                of_content={"variance": unbiased, "deviation": lambda var, eps: var.sqrt() + eps},
                of_style={"variance": unbiased, "deviation": without_eps, "over": (0, 2, 3)},
            ),
        ),
    ),
)


@cache
def adaptive_pairs() -> tuple[Mistake, ...]:
    named = {one.key: one for one in ADAPTIVE_MISTAKES}
    return tuple(both(named[first], named[second], *ways) for first, second, ways in ADAPTIVE_PAIRS)


# -- the backward pass of layer norm -----------------------------------------------------------------

#: What a backward pass returns: dx, dgamma, dbeta.
Gradients = tuple[Tensor, Tensor, Tensor]
SAMPLE = (1, 2, 3)


def layer_backward_by_autograd(dy: Tensor, x: Tensor, gamma: Tensor, eps: float = 1e-5) -> Gradients:
    leaves = [one.detach().clone().requires_grad_() for one in (x, gamma, torch.zeros_like(gamma))]
    y = torch.nn.functional.layer_norm(leaves[0], x.shape[1:], leaves[1], leaves[2], eps)
    return torch.autograd.grad(y, leaves, dy)


def layer_backward(
    dy: Tensor,
    x: Tensor,
    gamma: Tensor,
    eps: float = 1e-5,
    *,
    over: tuple[int, ...] = SAMPLE,
    sums_over: tuple[int, ...] = SAMPLE,
    correction: int = 0,
    spread: Callable[[Tensor, float], Tensor] = lambda var, eps: (var + eps).sqrt(),
    into: Callable[[Tensor, Tensor], Tensor] = lambda dy, gamma: dy * gamma,
    out_of: Callable[[Tensor, Tensor], Tensor] = lambda dx, gamma: dx,
    by_mean: float = 1.0,
    by_variance: Any = 1.0,
    shares: Callable[[int], tuple[float, float]] = lambda count: (1.0, 1.0),
    along: Callable[[Tensor], tuple[Any, Any]] = lambda x_hat: (1.0, x_hat),
    scaled: Callable[[Tensor], Any] = lambda std: 1.0,
    divided: Callable[[Tensor, Tensor], Tensor] = lambda paths, std: paths / std,
    arriving: Callable[[Tensor, Tensor], Tensor] = lambda dy, gamma: dy,
    collected: Callable[[Tensor], Tensor] = lambda each: each.sum(0),
    beside: Callable[[Tensor, Tensor], Tensor] = lambda x, x_hat: x_hat,
    result: Callable[[Tensor, Tensor, Tensor], Gradients] = lambda dx, dgamma, dbeta: (dx, dgamma, dbeta),
) -> Gradients:
    """The definition. over: the axes of the statistics. sums_over: of the two means in dx.

    by_mean, by_variance: the shares of the paths through the mean and the variance; shares: by the count.
    along: what stands beside the two means. scaled: by which power
    of the deviation the second is off. divided: the last step to dx. arriving: what reaches gamma and beta.
    collected: over which axes that is summed, times what stands `beside` it for gamma.
    """
    centred = x - x.mean(over, keepdim=True)
    count = math.prod(x.shape[axis] for axis in over)
    var = centred.square().sum(over, keepdim=True) / max(1, count - correction)
    std = spread(var, eps)
    x_hat = centred / std
    d_hat = into(dy, gamma)
    through_mean = d_hat.mean(sums_over, keepdim=True)
    # The variance's own path to the mean ends in the sum of x_hat, 0 on paper. Whoever writes it out may
    # divide it by anything and is right: rounding is measured with it undivided.
    nothing = x_hat.sum(over, keepdim=True)
    beside_mean, beside_product = along(x_hat - nothing)
    through_variance = beside_product * (d_hat * x_hat).mean(sums_over, keepdim=True)
    first, second = shares(count)
    by_mean, by_variance = first * by_mean * beside_mean, second * by_variance * scaled(std)
    dx = out_of(divided(d_hat - by_mean * through_mean - by_variance * through_variance, std), gamma)
    arrived = arriving(dy, gamma)
    return result(dx, collected(arrived * beside(x, x_hat)), collected(arrived))


def layer_backward_default_eps(value: float) -> Callable[..., Gradients]:
    def with_default(dy: Tensor, x: Tensor, gamma: Tensor, eps: float = value) -> Gradients:
        return layer_backward(dy, x, gamma, eps)

    return with_default


LAYER_BACKWARD_MISTAKES = (
    mistake(
        "both_paths_missing",
        """dx goes straight through, as if mean and variance were constants. Every value of a sample moves
        both, and so every y of it: dx has to sum to 0 over a sample, since adding a constant to x changes
        nothing.""",
        partial(layer_backward, by_mean=0.0, by_variance=0.0),
    ),
    mistake(
        "mean_path_missing",
        """The path through the mean is missing: dx does not sum to 0 over a sample. Adding a constant to a
        sample changes nothing, and dx has to say so.""",
        partial(layer_backward, by_mean=0.0),
    ),
    mistake(
        "variance_path_missing",
        """The path through the variance is missing. Stretching a sample hardly changes its y, so dx is at
        right angles to x_hat, up to eps; yours is not.""",
        partial(layer_backward, by_variance=0.0),
    ),
    mistake(
        "sums_and_means_mixed",
        """Sums and means are mixed in dx: one term counts C·H·W times as much. Either all terms are
        per value, or all are sums, and one division by C·H·W follows.""",
        *(partial(layer_backward, shares=shares) for shares in MIXED_SHARES),
    ),
    mistake(
        "x_hat_in_the_wrong_term",
        """x_hat stands in the wrong term of dx, or in none. What goes through the mean is the same for all of
        a sample. What goes through the variance grows with the distance from the mean: there is x_hat.""",
        partial(layer_backward, along=lambda x_hat: (1.0, 1.0)),
        partial(layer_backward, along=lambda x_hat: (x_hat, x_hat)),
        partial(layer_backward, along=lambda x_hat: (x_hat, 1.0)),
    ),
    mistake(
        "variance_path_sign",
        """The path through the variance has the wrong sign. What would stretch x_hat is taken out of dx, as
        the mean is.""",
        partial(layer_backward, by_variance=-1.0),
    ),
    mistake(
        "mean_path_sign",
        """The path through the mean has the wrong sign, so dx does not sum to 0 over a sample. What would
        shift all of x_hat is taken out of dx.""",
        partial(layer_backward, by_mean=-1.0),
    ),
    variance_path_mistake(layer_backward),
    mistake(
        "division_missing_in_dx",
        """dx is not divided by σ, or is multiplied by it. x_hat is x less its mean over σ, so what comes back
        to x has 1/σ in all its terms.""",
        partial(layer_backward, divided=lambda paths, std: paths),
        partial(layer_backward, divided=lambda paths, std: paths * std),
    ),
    mistake(
        "variance_path_scaled",
        """The path through the variance is off by a power of σ, the standard deviation. Either x_hat stands
        in it where x − mean belongs, or the other way round; or the power of var + eps is another than −3/2.
        Where σ is 1 nobody sees it.""",
        partial(layer_backward, scaled=lambda std: std),
        partial(layer_backward, scaled=lambda std: std**1.5),  # the power −3/2 taken of σ, not of σ²
        partial(layer_backward, scaled=lambda std: 1 / std),
        partial(layer_backward, scaled=lambda std: std**2),
        partial(layer_backward, scaled=lambda std: 1 / std**2),
    ),
    mistake(
        "gamma_missing_in_dx",
        """gamma is missing in dx. y is gamma times x_hat, so what reaches x_hat is dy times gamma.""",
        partial(layer_backward, into=lambda dy, gamma: dy),
    ),
    mistake(
        "gamma_after_the_means",
        """gamma is multiplied in at the end, as batch norm allows, where it is one number for all that share
        a mean. Here it differs within a sample: it belongs inside the means.""",
        partial(layer_backward, into=lambda dy, gamma: dy, out_of=lambda dx, gamma: dx * gamma),
    ),
    mistake(
        "means_over_the_batch",
        """The two means in dx run over the batch. In layer norm a sample has its own mean and variance, and
        so has its gradient: both run over C, H and W.""",
        partial(layer_backward, sums_over=(0, 2, 3)),
        partial(layer_backward, sums_over=(0,)),
    ),
    mistake(
        "batch_norm_for_layer_norm",
        """These are the statistics of batch norm: they run over the samples. Layer norm takes them over C, H
        and W, for each sample on its own.""",
        partial(layer_backward, over=(0, 2, 3), sums_over=(0, 2, 3)),
        partial(layer_backward, over=(0,), sums_over=(0,)),
    ),
    mistake(
        "one_channel_at_a_time",
        """Each channel of a sample is treated on its own, as in instance norm. All channels of a sample share
        one mean and one variance.""",
        partial(layer_backward, over=(2, 3), sums_over=(2, 3)),
        partial(layer_backward, sums_over=(2, 3)),
    ),
    mistake(
        "channels_alone",
        "The statistics are taken over the channels at each place. Here they are taken over C, H and W.",
        partial(layer_backward, over=(1,), sums_over=(1,)),
        partial(layer_backward, sums_over=(1,)),
    ),
    mistake(
        "parameters_per_channel",
        """dgamma and dbeta have one number for each channel. gamma and beta are (C, H, W) here: each of their
        entries collects from the N samples, and from nothing else.""",
        partial(layer_backward, collected=lambda each: each.sum((0, 2, 3))),
    ),
    mistake(
        "parameters_not_summed",
        """dgamma and dbeta have the shape of x, or are of one sample. Every sample uses the same gamma and
        beta, so their gradients are summed over the batch.""",
        partial(layer_backward, collected=lambda each: each),
        partial(layer_backward, collected=lambda each: each[0]),
    ),
    mistake(
        "parameters_per_sample",
        """dgamma and dbeta are summed over C, H and W, and have an entry for every sample. The statistics run
        over those axes; gamma and beta do not, so their gradients are summed over the batch.""",
        partial(layer_backward, collected=lambda each: each.flatten(1).sum(1)),
        partial(layer_backward, collected=lambda each: each.sum((1, 2, 3), keepdim=True)),
    ),
    mistake(
        "parameters_averaged",
        """dgamma and dbeta are means over the batch. A gradient is a sum over all that a parameter has a part
        in.""",
        partial(layer_backward, collected=lambda each: each.mean(0)),
    ),
    mistake(
        "parameters_with_gamma",
        """dgamma and dbeta have gamma in them. y is gamma · x_hat + beta: its derivative for gamma is x_hat,
        and for beta it is 1. dy times gamma is what reaches x_hat.""",
        partial(layer_backward, arriving=lambda dy, gamma: dy * gamma),
    ),
    mistake(
        "x_for_x_hat",
        "dgamma is made with x. gamma multiplies x_hat, the normalized values, and so its gradient does.",
        partial(layer_backward, beside=lambda x, x_hat: x),
        partial(layer_backward, beside=lambda x, x_hat: x - x.mean(SAMPLE, keepdim=True)),
    ),
    mistake(
        "gradients_of_parameters_swapped",
        "The gradients are in another order: dx comes first, then dgamma, then dbeta.",
        partial(layer_backward, result=lambda dx, dgamma, dbeta: (dx, dbeta, dgamma)),
        partial(layer_backward, result=lambda dx, dgamma, dbeta: (dgamma, dbeta, dx)),
    ),
    mistake(
        "eps_outside_root",
        """eps is added to the standard deviation, outside the root. It belongs to the variance, under the
        root, in the backward pass as in the forward one.""",
        partial(layer_backward, spread=lambda var, eps: var.sqrt() + eps),
    ),
    mistake(
        "eps_missing",
        """eps is not used. A constant sample gives 0/0, and where the variance is near eps the values are
        off.""",
        partial(layer_backward, spread=lambda var, eps: var.sqrt()),
    ),
    mistake(
        "eps_default",
        "Right when eps is passed, but wrong when it is left out. The default in the signature is 1e-5.",
        *map(layer_backward_default_eps, (1e-3, 1e-6, 1e-8, 1e-12)),
    ),
    mistake(
        "variance_for_deviation",
        """This divides by the variance where its root belongs. x_hat is x less its mean over σ, so its
        derivative for x has 1/σ in it.""",
        partial(layer_backward, spread=lambda var, eps: var + eps),
    ),
    mistake(
        "unbiased_variance",
        """The variance is the unbiased one, divided by the count less 1. What normalizes is the biased
        variance.""",
        partial(layer_backward, correction=1),
    ),
)


# -- inputs that show a mistake, or hide it ------------------------------------------------------------


def interleaved(x: Tensor, num_groups: int, eps: float = EPS) -> Tensor:
    """Group norm with gamma 1 and beta 0, its groups interleaved."""
    ones = torch.ones_like(x[0, :, 0, 0])
    return variant(GROUP_MISTAKES, "interleaved_groups")(x, num_groups, ones, 0 * ones, eps)


def why_groups_agree(x: Tensor, n: int, c: int, groups: int) -> str:
    if x.mean((2, 3)).abs().max() > 1e-3:
        return "means_of_channels"
    if x.square().mean((2, 3)).sqrt().max() < 0.1:
        return "nothing_in_it"
    return "" if apart(F.group_norm(x, groups), interleaved(x, groups)) >= 0.5 else "channels_of_one_scale"


GROUPS_REASONS = (
    mistake(
        "channels_of_one_scale",
        """Your input does not show it enough: with these scales it makes too little difference which channels
        share a variance. Which does the code put together, and which belong together? Let those differ in
        scale, and none be so small that eps outweighs its variance.""",
        lambda n, c, groups: (x := torch.randn(n, c, 4, 4)) - x.mean((2, 3), keepdim=True),
        lambda n, c, groups: torch.linspace(-1, 1, 4).expand(n, c, 4, 4),
    ),
    mistake(
        "means_of_channels",
        """A channel has a mean that isn't 0. Shifted channels show the mistake at once. Here each channel
        should have mean 0 over its pixels, so that only the scales can tell.""",
        lambda n, c, groups: torch.randn(n, c, 4, 4),
        lambda n, c, groups: torch.arange(1, c + 1).view(1, c, 1, 1).expand(n, c, 4, 4),
        lambda n, c, groups: torch.rand(n, c, 4, 4),
    ),
    mistake(
        "nothing_in_it",
        """No channel has a standard deviation of 0.1 or more. What is nearly 0 is normalized by eps, and in
        any group alike.""",
        lambda n, c, groups: torch.zeros(n, c, 4, 4),
    ),
)


def loud_first_group(n: int, c: int, groups: int) -> Tensor:
    """The first group of channels is far louder than the others."""
    scale = torch.full((c,), 0.1)
    scale[: c // groups] = 10.0
    return scale.view(1, c, 1, 1) * torch.linspace(-1, 1, 4).expand(n, c, 4, 4)


def louder_by_groups(n: int, c: int, groups: int) -> Tensor:
    """Every group is eight times as loud as the one before."""
    x = torch.rand(n, c, 4, 4, dtype=torch.float64)
    x = x - x.mean((2, 3), keepdim=True)
    return x * (8.0 ** (torch.arange(c) // (c // groups) - groups + 1)).view(1, c, 1, 1) * 10


def rows_normalized(x: Tensor, eps: float = EPS) -> Tensor:
    return normalize(x, 1, eps)[0]


def why_axes_differ(x: Tensor, n: int) -> str:
    if x.std(0, correction=0).min() < 0.1:
        return "a_constant_column"
    if apart(normalize(x, 0, EPS)[0], rows_normalized(x)) <= ALIKE:
        return ""
    means = torch.cat([x.mean(0), x.mean(1)])
    return "means_differ" if means.max() - means.min() > 1e-3 else "variances_differ"


ROWS_REASONS = (
    mistake(
        "means_differ",
        """It shows: rows and columns do not all have one mean. From each element the mean of its row is
        subtracted where that of its column should be. Every row meets every column, so all of these have to
        be equal.""",
        lambda n: torch.randn(n, n),
        lambda n: (x := torch.randn(n, n)) + x.T,
        lambda n: torch.arange(n * n).view(n, n) / n**2 * 10,
    ),
    mistake(
        "variances_differ",
        """It shows, if less: rows and columns all have one mean, but not yet one variance. What if each row
        holds the same numbers, and each column too?""",
        lambda n: (x := torch.randn(n, n) * 2) - x.mean(0) - x.mean(1, keepdim=True) + x.mean(),
    ),
    mistake(
        "a_constant_column",
        """A column hardly varies, and comes out near 0 by any statistics. Let each have a standard deviation
        of 0.1 or more.""",
        lambda n: torch.zeros(n, n),
        lambda n: torch.ones(n, n),
        lambda n: torch.linspace(-1, 1, n).repeat(n, 1),
    ),
)


def circulant(n: int) -> Tensor:
    """Each row is the one above, moved along by one."""
    line = torch.linspace(-1, 1, n)
    return torch.stack([line.roll(i) for i in range(n)])


def identity_matrix(n: int) -> Tensor:
    return torch.eye(n)


ANSWERS = {
    "normalized_axes": Answer(axes_left_over, axes, AXES_MISTAKES),
    "statistics_count": Answer(counted, count, COUNT_MISTAKES),
    "layer_norm": Answer(library_layer, layer, LAYER_MISTAKES, pairs=layer_pairs),
    "instance_norm": Answer(library_instance, instance, INSTANCE_MISTAKES, pairs=instance_pairs),
    "group_norm": Answer(library_group, group, GROUP_MISTAKES, pairs=group_pairs),
    "diagnose_norm": Answer(by_keeping, which, NORM_MISTAKES),
    "adaptive_instance_norm": Answer(library_adaptive, adaptive, ADAPTIVE_MISTAKES, pairs=adaptive_pairs),
    "layer_norm_backward": Answer(layer_backward_by_autograd, layer_backward, LAYER_BACKWARD_MISTAKES),
    "expose_interleaved_groups": exposing(
        Asked("x", "n, c, 4, 4"),
        interleaved,
        why_groups_agree,
        GROUPS_REASONS,
        (loud_first_group, louder_by_groups),
    ),
    "hide_rows_normalized": hiding(
        Asked("x", "n, n"),
        rows_normalized,
        why_axes_differ,
        ROWS_REASONS,
        (circulant, identity_matrix),
    ),
}
