"""Day 28: the right answers, and what people get wrong, with the knobs that make it.

Sources of the mistakes: reports and fixes in public repositories and forums, and public course solutions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from graders.judging.answer import Answer, Mistake, both, mistake
from graders.judging.references.exposing import ALIKE, Asked, apart, exposing, hiding, variant
from graders.judging.references.normalizing import (
    affine_mistakes,
    centred_squares,
    difference_of_squares,
    lone_mistake,
    normalize,
    over_other_axes,
    pairs,
    statistics_mistakes,
)

EPS = 1e-5
AXES = (0, 2, 3)


# -- the statistics ----------------------------------------------------------------------------------


def library_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    var, mean = torch.var_mean(x, AXES, correction=0)
    return mean, var


def statistics(
    x: Tensor,
    *,
    mean: Callable[[Tensor], Tensor] = lambda x: x.mean(AXES),
    var: Callable[[Tensor], Tensor] = lambda x: centred_squares(x, AXES).reshape(x.shape[1]),
) -> tuple[Tensor, Tensor]:
    """The definition: one mean and one biased variance for each channel."""
    return mean(x), var(x)


def statistics_over(axes: int | tuple[int, ...]) -> Callable:
    """The definition with other axes."""
    return partial(
        statistics,
        mean=lambda x: x.mean(axes),
        var=lambda x: x.var(axes, correction=0).reshape_as(x.mean(axes)),
    )


def count(x: Tensor) -> int:
    """How many values share one mean."""
    return x.numel() // x.shape[1]


def reshaped(x: Tensor) -> Tensor:
    """(N·H·W, C) by reshape alone, which mixes the channels."""
    return x.reshape(-1, x.shape[1])


STATISTICS_MISTAKES = (
    mistake(
        "per_pixel",
        """The averages run over the batch alone, so there are C · H · W means, one for each pixel of each
        channel. A convolution treats all places alike, and so does its batch norm. It takes one mean over N,
        H and W.""",
        statistics_over(0),
    ),
    mistake(
        "per_sample",
        """There is one mean for every channel of every sample, N · C of them: the averages run over H and W
        alone. That is instance normalization. Batch norm averages over the samples as well.""",
        statistics_over((2, 3)),
    ),
    mistake(
        "channels_averaged",
        """The averages run over the channels too. Each channel is the output of a filter of its own, with a
        scale and a mean of its own: C is the one axis that stays.""",
        statistics_over((1, 2, 3)),
        statistics_over((0, 1, 2, 3)),
        statistics_over(1),
        statistics_over((0, 1)),
    ),
    mistake(
        "channels_last",
        """These are statistics for each column of the image, W of them: the last axis is taken for the
        channels, as in N × H × W × C. In PyTorch the channels are axis 1, N × C × H × W.""",
        statistics_over((0, 1, 2)),
    ),
    mistake(
        "channels_mixed",
        """The shape is right and the channels are mixed. A reshape of N × C × H × W to rows of C takes
        the next C numbers in memory, and those are neighbours in one image row; it moves no axis.
        Transpose or permute first, or reduce over three axes and reshape nothing.""",
        lambda x: statistics(
            x,
            mean=lambda x: reshaped(x).mean(0),
            var=lambda x: reshaped(x).var(0, correction=0),
        ),
        lambda x: statistics(
            x,
            mean=lambda x: x.reshape(x.shape[1], -1).mean(1),
            var=lambda x: x.reshape(x.shape[1], -1).var(1, correction=0),
        ),
    ),
    mistake(
        "unbiased_variance",
        """The variance is divided by N · H · W − 1. Normalizing takes the biased one, divided by N · H · W;
        torch.var divides by one less unless told otherwise. Where a channel has a single value, that would
        be a division by 0.""",
        partial(statistics, var=lambda x: x.var(AXES)),
    ),
    mistake(
        "wrong_count",
        """The sums are divided by the wrong number. How many values share one mean? All of a channel's, in
        every sample and at every place: N · H · W, not N and not H · W.""",
        partial(
            statistics,
            mean=lambda x: x.sum(AXES) / x.shape[0],
            var=lambda x: centred_squares(x, AXES).reshape(-1) * (count(x) / x.shape[0]),
        ),
        partial(
            statistics,
            mean=lambda x: x.sum(AXES) / x[0, 0].numel(),
            var=lambda x: centred_squares(x, AXES).reshape(-1) * x.shape[0],
        ),
        partial(statistics, mean=lambda x: x.sum(AXES), var=lambda x: centred_sums(x, x.mean(AXES))),
        partial(statistics, var=lambda x: centred_sums(x, x.mean(AXES)) / x.shape[0]),
        partial(statistics, var=lambda x: centred_sums(x, x.mean(AXES)) / x[0, 0].numel()),
        partial(statistics, var=lambda x: centred_sums(x, x.sum(AXES) / x.shape[0]) / x.shape[0]),
    ),
    mistake(
        "bessel_with_batch_size",
        """The variance is corrected by a factor made of N alone, such as (N − 1)/N. Each channel has N · H ·
        W values, and the biased variance needs no correction, only the division by that number.""",
        partial(statistics, var=lambda x: x.var(AXES) * (x.shape[0] - 1) / x.shape[0]),
        partial(statistics, var=lambda x: centred_sums(x, x.mean(AXES)) / (x.shape[0] - 1) / x[0, 0].numel()),
    ),
    mistake(
        "variances_averaged",
        """Variances of parts are averaged: of the samples, the pixels, the rows or the columns. That leaves
        out how far the means of the parts lie apart. The variance of a channel is about the one mean of the
        whole channel.""",
        *(
            partial(
                statistics,
                var=lambda x, part=part, rest=rest, less=less: x.var(part, correction=less).mean(rest),
            )
            for part, rest in (((2, 3), 0), (0, (1, 2)), ((0, 2), 1), (3, (0, 2)))
            for less in (0, 1)
        ),
    ),
    mistake(
        "means_spread",
        """The variance is taken of averages: of the means of the samples, or of the mean image. Averaging
        takes most of the variation away; the variance is that of the values themselves.""",
        *(
            partial(
                statistics,
                var=lambda x, part=part, rest=rest, less=less: x.mean(part).var(rest, correction=less),
            )
            for part, rest in (((2, 3), 0), (0, (1, 2)))
            for less in (0, 1)
        ),
    ),
    mistake(
        "deviation_for_variance",
        """The second result is the standard deviation. We want the variance, its square.""",
        partial(statistics, var=lambda x: centred_squares(x, AXES).reshape(-1).sqrt()),
        partial(statistics, var=lambda x: x.std(AXES)),
    ),
    mistake(
        "variance_about_zero",
        """The mean of x² stands where the variance belongs. The variance is the mean squared distance from
        the mean; the two agree only for values that are centred already.""",
        partial(statistics, var=lambda x: x.square().mean(AXES)),
    ),
    mistake(
        "variance_by_cancellation",
        """The variance is computed as E[x²] − E[x]². On paper that is the same. At an offset of 10,000 both
        terms are near 10⁸ and float32 has seven digits, so their difference is noise. Centre first, then
        square.""",
        partial(statistics, var=lambda x: difference_of_squares(x, AXES).reshape(-1)),
        partial(statistics, var=lambda x: difference_of_squares(x, AXES).reshape(-1).clamp_min(0)),
        rounding=True,
    ),
    mistake(
        "swapped",
        "mean and variance are swapped: the mean comes first.",
        lambda x: statistics(x)[::-1],
    ),
)


@cache
def statistics_pairs() -> tuple[Mistake, ...]:
    """torch.var_mean as it comes: the variance first, and divided by one less."""
    named = {one.key: one for one in STATISTICS_MISTAKES}
    swapped, unbiased = named["swapped"], named["unbiased_variance"]
    return (both(swapped, unbiased, lambda x: statistics(x, var=lambda x: x.var(AXES))[::-1]),)


def centred_sums(x: Tensor, mean: Tensor) -> Tensor:
    """The sum of squared distances from a value for each channel."""
    return (x - mean.reshape(-1, 1, 1)).square().sum(AXES)


# -- the normalization -------------------------------------------------------------------------------


def library_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = EPS) -> Tensor:
    """`F.batch_norm` in training mode, which refuses one value a channel; there y is beta."""
    if count(x) == 1:
        return 0 * x + channelwise(beta)
    return F.batch_norm(x, None, None, gamma, beta, training=True, eps=eps)


def channelwise(values: Tensor) -> Tensor:
    """(C,) so that it meets axis 1 of N × C × H × W."""
    return values.reshape(-1, 1, 1)


def norm(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    eps: float = EPS,
    *,
    affine: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda x_hat, gamma, beta: gamma * x_hat + beta,
    shaped: Callable[[Tensor], Tensor] = channelwise,
    **knobs: Any,
) -> Tensor:
    """The definition, with the knobs of `normalize`."""
    x_hat, _ = normalize(x, AXES, eps, **knobs)
    return affine(x_hat, shaped(gamma), shaped(beta))


def with_knobs(default_eps: float = EPS, **knobs: Any) -> Callable:
    """A `batch_norm_2d` with these knobs turned."""

    def batch_norm_2d(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = default_eps) -> Tensor:
        return norm(x, gamma, beta, eps, **knobs)

    return batch_norm_2d


def by_reshaping(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = EPS, **knobs: Any) -> Tensor:
    """The routine for (N, D) on rows of C that a reshape alone has made."""
    x_hat, _ = normalize(reshaped(x), 0, eps, **knobs)
    return (gamma * x_hat + beta).reshape(x.shape)


def by_reshaping_back(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = EPS, **knobs: Any) -> Tensor:
    """The rows are right, and the way back is a reshape alone."""
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    x_hat, _ = normalize(rows, 0, eps, **knobs)
    return (gamma * x_hat + beta).reshape(x.shape)


def by_flattening(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = EPS) -> Tensor:
    """Axes C and N change places without a transpose."""
    x_hat, _ = normalize(x.reshape(x.shape[1], -1), 1, eps)
    return (gamma[:, None] * x_hat + beta[:, None]).reshape(x.shape)


def columns_for_rows(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = EPS) -> Tensor:
    """Rows of C, taken with W before H and put back with H before W."""
    n, c, h, w = x.shape
    return norm(x, gamma, beta, eps).permute(0, 3, 2, 1).reshape(n, h, w, c).permute(0, 3, 1, 2)


def rows_for_columns(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = EPS) -> Tensor:
    """The other way round."""
    n, c, h, w = x.shape
    return norm(x, gamma, beta, eps).permute(0, 2, 3, 1).reshape(n, w, h, c).permute(0, 3, 2, 1)


def uncorrected(factor: Callable[[Tensor], float]) -> Callable:
    """The variance times a factor that depends on the sizes."""
    return with_knobs(variance=lambda x, axes: centred_squares(x, axes) * factor(x))


NORM_MISTAKES = (
    *statistics_mistakes(with_knobs, "N·H·W", "one value alone"),
    mistake(
        "per_pixel",
        """Every pixel has a mean and a variance of its own, taken over the N samples: C · H · W of them. A
        convolution treats all places alike, and so does its batch norm: one mean for each channel, over N,
        H and W.""",
        with_knobs(over=0),
    ),
    mistake(
        "per_sample",
        """Every sample is normalized by its own statistics, over H and W: that is instance normalization.
        Batch norm takes one mean for each channel, over all samples of the batch too, so a sample's output
        depends on the others.""",
        with_knobs(over=(2, 3)),
    ),
    mistake(
        "layer_statistics",
        """Every sample is normalized over C, H and W: that is layer normalization. Batch norm treats
        each channel on its own and averages over the batch: axes N, H and W.""",
        with_knobs(over=(1, 2, 3)),
        with_knobs(over=1),
    ),
    mistake(
        "one_statistic_for_all",
        """One mean and one variance are taken over the whole array. Each channel has its own, over N, H and
        W; your channels do not have mean 0.""",
        with_knobs(over=(0, 1, 2, 3)),
    ),
    mistake(
        "channels_last",
        """The statistics belong to the columns of the image: the last axis is taken for the channels, as in
        N × H × W × C. In PyTorch the channels are axis 1, N × C × H × W.""",
        with_knobs(over=(0, 1, 2)),
        with_knobs(over=(0, 1, 3)),
    ),
    mistake(
        "channels_mixed",
        """The shape is right and the channels are mixed. A reshape of N × C × H × W to rows of C takes the
        next C numbers in memory, and those are neighbours in one image row. Axes change places by a
        transpose or permute: before the reshape, and again on the way back.""",
        by_reshaping,
        by_reshaping_back,
        by_flattening,
    ),
    mistake(
        "places_mixed",
        """Every channel holds the right values, at other places than before. H and W change places on the way
        to the rows, and not on the way back: the shape that the rows get has them in the other order.""",
        columns_for_rows,
        rows_for_columns,
    ),
    mistake(
        "broadcast_on_last_axis",
        """Something of shape (C,) meets the last axis, W: broadcasting lines shapes up from the right. Where
        W is not C, PyTorch stops; where the two happen to be equal, the numbers are silently wrong.
        The shape (C, 1, 1) lines up with axis 1.""",
        with_knobs(shaped=lambda values: values),
        with_knobs(shaped=lambda values: values, affine=lambda x_hat, gamma, beta: x_hat * gamma + beta),
        with_knobs(mean=lambda x, axes: x.mean(axes)),
    ),
    mistake(
        "wrong_count",
        """A sum is divided by the wrong number. How many values share one mean? All of a channel's,
        in every sample and at every place: N · H · W, not N and not H · W.""",
        uncorrected(lambda x: count(x) / x.shape[0]),
        uncorrected(lambda x: x.shape[0]),
        *(
            with_knobs(
                mean=lambda x, axes, share=share: x.sum(axes, keepdim=True) / share(x),
                variance=lambda x, axes, share=share: (
                    (x - x.sum(axes, keepdim=True) / share(x)).square().sum(axes, keepdim=True) / share(x)
                ),
            )
            for share in (len, lambda x: x.shape[2] * x.shape[3])
        ),
        uncorrected(count),
    ),
    mistake(
        "bessel_with_batch_size",
        """The variance is corrected by a factor made of N alone, such as (N − 1)/N. Each channel has N · H ·
        W values, and the biased variance needs no correction, only the division by that number.""",
        with_knobs(variance=lambda x, axes: x.var(axes, keepdim=True) * (len(x) - 1) / len(x)),
        with_knobs(variance=lambda x, axes: centred_squares(x, axes) * len(x) / (len(x) - 1 or torch.nan)),
    ),
    mistake(
        "variances_averaged",
        """The variances of the samples are averaged. That leaves out how far the means of the samples lie
        apart. The variance of a channel is about the one mean of the whole channel.""",
        with_knobs(variance=lambda x, axes: centred_squares(x, (2, 3)).mean(0, keepdim=True)),
        with_knobs(variance=lambda x, axes: x.var((2, 3), keepdim=True).mean(0, keepdim=True)),
    ),
    mistake(
        "means_spread",
        """The variance is that of the samples' means. Averaging over H and W first takes most of the
        variation away; the variance of a channel is that of all its values, about their one mean.""",
        with_knobs(variance=lambda x, axes: centred_squares(x.mean((2, 3), keepdim=True), 0)),
    ),
    lone_mistake(
        with_knobs,
        "A single value in each channel",
        lambda x, gamma, beta, eps=EPS: x if count(x) == 1 else norm(x, gamma, beta, eps),
    ),
    mistake(
        "single_sample_set_apart",
        """A batch of one sample is treated as a special case. Each channel of it still has H · W values, with
        a mean and a variance over them; only where H · W is 1 too is there nothing to normalize by.""",
        lambda x, gamma, beta, eps=EPS: (
            0 * x + channelwise(beta) if len(x) == 1 else norm(x, gamma, beta, eps)
        ),
        lambda x, gamma, beta, eps=EPS: x if len(x) == 1 else norm(x, gamma, beta, eps),
        lambda x, gamma, beta, eps=EPS: (
            channelwise(gamma) * x + channelwise(beta) if len(x) == 1 else norm(x, gamma, beta, eps)
        ),
    ),
    *affine_mistakes(with_knobs),
)


@cache
def norm_pairs() -> tuple[Mistake, ...]:
    by_knobs = *statistics_mistakes(dict, "N·H·W", ""), *affine_mistakes(dict)
    axes = {
        "per_pixel": {"over": 0},
        "per_sample": {"over": (2, 3)},
        "layer_statistics": {"over": (1, 2, 3)},
        "one_statistic_for_all": {"over": (0, 1, 2, 3)},
        "channels_last": {"over": (0, 1, 2)},
    }
    return (
        *pairs(with_knobs, NORM_MISTAKES, by_knobs),
        *over_other_axes(with_knobs, NORM_MISTAKES, axes),
        *(
            one
            for mixing in (by_reshaping, by_reshaping_back)
            for one in over_other_axes(partial(partial, mixing), NORM_MISTAKES, {"channels_mixed": {}})
        ),
    )


# -- the block ---------------------------------------------------------------------------------------


class WrittenNorm(nn.BatchNorm2d):
    """The library's layer with its formula in elementary operations."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            x_hat, _ = normalize(x, AXES, self.eps)
        else:
            x_hat = (x - channelwise(self.running_mean)) / (channelwise(self.running_var) + self.eps).sqrt()
        return channelwise(self.weight) * x_hat + channelwise(self.bias)


def library_block(in_channels: int, out_channels: int, kernel_size: int = 3) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size, padding="same", bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU())


def block(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    *,
    norm: Callable[[int], nn.Module] = WrittenNorm,
    order: str = "conv norm relu",
    kernel: Callable[[int], int] = lambda size: size,
    padding: Callable[[int], int] = lambda size: size // 2,
    turned: bool = False,
    normalized: Callable[[int, int], int] = lambda into, out: out,
    activation: Callable[[], nn.Module] = nn.ReLU,
    **options: Any,
) -> nn.Sequential:
    """The definition, with a knob for each choice; options are those of the convolution."""
    size = kernel(kernel_size)
    channels = (out_channels, in_channels) if turned else (in_channels, out_channels)
    layers: dict[str, Callable[[], nn.Module]] = {
        "conv": lambda: nn.Conv2d(*channels, size, **{"padding": padding(size), "bias": False, **options}),
        "norm": lambda: norm(normalized(in_channels, out_channels)),
        "relu": activation,
    }
    return nn.Sequential(*(layers[name]() for name in order.split()))


def with_default(size: int) -> Callable:
    """The block with another default kernel."""

    def conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int = size) -> nn.Sequential:
        return block(in_channels, out_channels, kernel_size)

    return conv_bn_relu


BLOCK_MISTAKES = (
    mistake(
        "redundant_bias",
        """The convolution has a bias. Batch norm subtracts the mean of each channel right behind it, and a
        constant added to a channel goes with the mean: the output does not change and the gradient of that
        bias is 0. The shift that counts is beta.""",
        partial(block, bias=True),
    ),
    mistake(
        "not_padded",
        """The images shrink by kernel_size − 1: the convolution is not padded. To keep H and W, zeros are
        added on each side, as many as the kernel reaches beyond its centre.""",
        partial(block, padding=lambda size: 0),
    ),
    mistake(
        "padding_fixed",
        """H and W are kept for one kernel size only: the padding is a fixed number. How far a kernel reaches
        beyond its centre depends on its size.""",
        partial(block, padding=lambda size: 1),
        partial(block, padding=lambda size: 2),
    ),
    mistake(
        "padding_too_large",
        """The images change their size: the padding is not what the kernel reaches beyond its centre. A
        kernel of 3 reaches one pixel to each side, a kernel of 5 two.""",
        partial(block, padding=lambda size: size),
        partial(block, padding=lambda size: size - 1),
        partial(block, padding=lambda size: (size + 1) // 2),
    ),
    mistake(
        "strided",
        """The images come out smaller: the convolution moves by more than one pixel at a time. H and W should
        stay as they are.""",
        partial(block, stride=2),
    ),
    mistake(
        "relu_before_norm",
        """The ReLU stands before the batch norm. We want convolution, batch norm, ReLU: normalizing
        first centres each channel, so that the ReLU cuts about half of it and beta can move the cut.""",
        partial(block, order="conv relu norm"),
        partial(block, order="conv relu norm relu"),
    ),
    mistake(
        "norm_before_convolution",
        """The batch norm stands before the convolution, so it normalizes the input and not what the
        convolution gives. The order is convolution, batch norm, ReLU.""",
        partial(block, order="norm conv relu", normalized=lambda into, out: into),
        partial(block, order="norm relu conv", normalized=lambda into, out: into),
    ),
    mistake(
        "relu_missing",
        """The ReLU is missing: the output has negative values.""",
        partial(block, order="conv norm"),
    ),
    mistake(
        "another_activation",
        """Another function stands where the ReLU belongs. ReLU gives 0 for what is negative and leaves all
        else as it is.""",
        *(
            partial(block, activation=one)
            for one in (nn.LeakyReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.ELU, nn.Softplus, nn.Sigmoid, nn.Tanh)
        ),
        *(partial(block, activation=partial(nn.LeakyReLU, slope)) for slope in (0.1, 0.2)),
    ),
    mistake(
        "norm_over_input_channels",
        """The batch norm is made for in_channels. It stands behind the convolution, and what comes out of
        that has out_channels channels.""",
        partial(block, normalized=lambda into, out: into),
    ),
    mistake(
        "channels_turned_round",
        """in_channels and out_channels are swapped: nn.Conv2d takes the channels that come in first.""",
        partial(block, turned=True),
        partial(block, turned=True, normalized=lambda into, out: into),
    ),
    mistake(
        "kernel_fixed",
        """The kernel has the same size whatever kernel_size says: use the argument.""",
        partial(block, kernel=lambda size: 3),
        partial(block, kernel=lambda size: 1),
        partial(block, kernel=lambda size: 5),
    ),
    mistake(
        "kernel_default",
        "Where kernel_size is left out, another number stands in for it: the default is 3.",
        with_default(1),
        with_default(5),
        with_default(7),
    ),
    mistake(
        "affine_missing",
        """The batch norm has no gamma and no beta that learn. Here they are needed: beta is the shift that
        takes the place of the bias of the convolution.""",
        partial(block, norm=lambda channels: nn.BatchNorm2d(channels, affine=False)),
    ),
    mistake(
        "no_running_statistics",
        """In eval mode the block still normalizes with the statistics of the batch it is given: none are
        stored. The same image then gives another output in another batch.""",
        partial(block, norm=lambda channels: nn.BatchNorm2d(channels, track_running_stats=False)),
    ),
    mistake(
        "another_norm",
        """The normalization is not batch norm. Instance, group and layer normalization take the statistics
        of each sample by itself; batch norm takes those of each channel over the batch.""",
        partial(block, norm=nn.InstanceNorm2d),
        partial(block, norm=lambda channels: nn.GroupNorm(1, channels)),
        partial(block, norm=lambda channels: nn.LayerNorm(channels)),
    ),
    mistake(
        "norm_of_another_dimension",
        """nn.BatchNorm1d is for features, N × D, and nn.BatchNorm3d for volumes. Feature maps have two
        dimensions in space, N × C × H × W: nn.BatchNorm2d.""",
        partial(block, norm=nn.BatchNorm1d),
        partial(block, norm=nn.BatchNorm3d),
    ),
)


# -- folding -----------------------------------------------------------------------------------------


def library_folding(conv: nn.Conv2d, bn: nn.BatchNorm2d) -> nn.Conv2d:
    """PyTorch's own, on copies in eval mode: it asks for that mode and leaves it as it is."""
    return fuse_conv_bn_eval(copy.deepcopy(conv).eval(), copy.deepcopy(bn).eval())


Folder = Callable[..., nn.Conv2d]
SETTINGS = ("stride", "padding", "dilation", "groups", "padding_mode")


def folding(
    conv: nn.Conv2d,
    bn: nn.BatchNorm2d,
    *,
    divisor: Callable[[Tensor, float], Tensor] = lambda var, eps: (var + eps).sqrt(),
    gamma: Callable[[nn.BatchNorm2d], Tensor | float] = lambda bn: 1.0 if bn.weight is None else bn.weight,
    beta: Callable[[nn.BatchNorm2d], Tensor | float] = lambda bn: 0.0 if bn.bias is None else bn.bias,
    kernel: Callable[[Tensor, Tensor], Tensor] = lambda weight, scale: weight * scale.reshape(-1, 1, 1, 1),
    shift: Callable[..., Tensor] = lambda b, mean, scale, beta: (b - mean) * scale + beta,
    settings: tuple[str, ...] = SETTINGS,
    into: Callable[[nn.Conv2d, nn.Conv2d], nn.Conv2d] = lambda conv, new: new,
) -> nn.Conv2d:
    """The definition: scale = gamma / sqrt(running_var + eps), kernel · scale, (b − mean) · scale + beta.

    settings: those of the convolution that the new layer takes over. into: the layer that receives the
    result.
    """
    with torch.no_grad():
        scale = gamma(bn) / divisor(bn.running_var, bn.eps)
        bias = torch.zeros_like(bn.running_mean) if conv.bias is None else conv.bias
        weight = kernel(conv.weight, scale)
        shifted = shift(bias, bn.running_mean, scale, beta(bn))
        taken = {name: getattr(conv, name) for name in settings}
        folded = into(conv, nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, **taken))
        folded.weight = nn.Parameter(weight)
        folded.bias = nn.Parameter(shifted)
    return folded


def without(*names: str, **knobs: Any) -> Folder:
    """The definition with these settings left at their defaults."""
    return partial(folding, settings=tuple(name for name in SETTINGS if name not in names), **knobs)


def reshaped_to_fit(conv: nn.Conv2d, new: nn.Conv2d) -> nn.Conv2d:
    """The kernel in the shape of the new layer's, which stops where that has lost the groups."""
    conv.weight.reshape(new.weight.shape)
    return new


def copied_over(conv: nn.Conv2d, new: nn.Conv2d) -> nn.Conv2d:
    """The same with a copy into the new layer's kernel."""
    new.weight.data.copy_(conv.weight)
    return new


def folded_then(afterwards: Callable[[nn.Conv2d, nn.BatchNorm2d], Any], **knobs: Any) -> Folder:
    """The definition, with something done to the arguments."""

    def fold_batch_norm(conv: nn.Conv2d, bn: nn.BatchNorm2d) -> nn.Conv2d:
        folded = folding(conv, bn, **knobs)
        afterwards(conv, bn)
        return folded

    return fold_batch_norm


def asked_in_training_mode(conv: nn.Conv2d, bn: nn.BatchNorm2d) -> nn.Conv2d:
    """Scale and shift read off what a copy of bn makes of 0 and of 1, in the mode it happens to be in."""
    asked = copy.deepcopy(bn)
    with torch.no_grad():
        at_zero, at_one = (
            asked(torch.full_like(conv.weight[:1, :1, :1, :1], value).expand(2, len(bn.running_var), 1, 1))[
                0
            ].flatten()
            for value in (0.0, 1.0)
        )
    return folding(
        conv,
        bn,
        kernel=lambda weight, scale: weight * (at_one - at_zero).reshape(-1, 1, 1, 1),
        shift=lambda b, mean, scale, beta: b * (at_one - at_zero) + at_zero,
    )


def begun_by(computation: Callable[[nn.Conv2d, nn.BatchNorm2d], Any]) -> Folder:
    """The definition, begun by a computation that stops where something is None."""

    def fold_batch_norm(conv: nn.Conv2d, bn: nn.BatchNorm2d) -> nn.Conv2d:
        computation(conv, bn)
        return folding(conv, bn)

    return fold_batch_norm


def on_input_channels(weight: Tensor, scale: Tensor) -> Tensor:
    """The scale along the second axis, which stops where there are not as many channels in as out."""
    return weight * scale.reshape(1, -1, 1, 1)


FOLDING_MISTAKES = (
    mistake(
        "eps_missing",
        """eps is left out. Batch norm divides by the root of (running_var + eps), also in eval mode; where a
        variance is near eps, your kernel comes out too large.""",
        partial(folding, divisor=lambda var, eps: var.sqrt()),
    ),
    mistake(
        "eps_outside_root",
        """eps is added to the standard deviation, outside the root. It belongs to the variance, inside, as
        in the layer that is folded.""",
        partial(folding, divisor=lambda var, eps: var.sqrt() + eps),
    ),
    mistake(
        "eps_subtracted",
        """eps is subtracted from the running variance. Batch norm adds it; yours gives NaN, or far too large
        a kernel, where a variance is near eps.""",
        partial(folding, divisor=lambda var, eps: (var - eps).sqrt()),
    ),
    mistake(
        "eps_fixed",
        """A fixed number stands where the eps of this layer belongs: every batch-norm layer carries its own,
        in bn.eps.""",
        *(
            partial(folding, divisor=lambda var, eps, value=value: (var + value).sqrt())
            for value in (1e-5, 1e-8, 1e-6, 1e-3)
        ),
    ),
    mistake(
        "divided_by_variance",
        """The kernel is scaled by gamma over the variance: the root is missing. running_var holds variances,
        and batch norm divides by standard deviations.""",
        partial(folding, divisor=lambda var, eps: var + eps),
        partial(folding, divisor=lambda var, eps: var),
    ),
    mistake(
        "multiplied_by_deviation",
        """The kernel is multiplied by the standard deviation, which batch norm divides by. The scale is gamma
        over the root of (running_var + eps).""",
        partial(folding, divisor=lambda var, eps: (var + eps).rsqrt()),
    ),
    mistake(
        "conv_bias_forgotten",
        """The bias of the convolution is lost. It is part of what batch norm gets to see: it is there before
        the mean is subtracted, and it is scaled with the rest.""",
        partial(folding, shift=lambda b, mean, scale, beta: beta - mean * scale),
    ),
    mistake(
        "conv_bias_unscaled",
        """The bias of the convolution is added as it is. Batch norm comes after it and scales everything
        that the convolution gives, its bias too.""",
        partial(folding, shift=lambda b, mean, scale, beta: b + beta - mean * scale),
    ),
    mistake(
        "mean_unscaled",
        """The running mean is subtracted as it is. It is subtracted before the scaling, so in the folded bias
        it stands multiplied by the scale.""",
        partial(folding, shift=lambda b, mean, scale, beta: b * scale + beta - mean),
        partial(folding, shift=lambda b, mean, scale, beta: b + beta - mean),
    ),
    mistake(
        "mean_scaled_by_gamma",
        """In the bias the running mean is multiplied by gamma alone. What multiplies the centred values is
        gamma divided by the root of (running_var + eps), for the mean as for the kernel.""",
        lambda conv, bn: folding(
            conv,
            bn,
            shift=lambda b, mean, scale, beta: (
                b * scale + beta - mean * (1 if bn.weight is None else bn.weight)
            ),
        ),
    ),
    mistake(
        "mean_forgotten",
        """The running mean is not in the bias: in eval mode batch norm subtracts it before it scales.""",
        partial(folding, shift=lambda b, mean, scale, beta: b * scale + beta),
        partial(folding, shift=lambda b, mean, scale, beta: b + beta),
    ),
    mistake(
        "mean_sign",
        "The running mean is added in the bias. Batch norm subtracts it.",
        partial(folding, shift=lambda b, mean, scale, beta: (b + mean) * scale + beta),
    ),
    mistake(
        "beta_forgotten",
        """beta is not in the bias. It is added last, after the scaling, and so it enters as it is.""",
        partial(folding, beta=lambda bn: 0.0),
    ),
    mistake(
        "beta_scaled",
        """beta is multiplied by the scale. It is added after the scaling, and so it enters as it is.""",
        partial(folding, shift=lambda b, mean, scale, beta: (b - mean + beta) * scale),
    ),
    mistake(
        "bias_not_folded",
        """The bias isn't folded: that of your layer is that of the convolution, or none. The running mean and
        beta shift every channel, and that shift is the new bias.""",
        partial(folding, shift=lambda b, mean, scale, beta: b + 0.0),
        partial(folding, shift=lambda b, mean, scale, beta: b * scale),
        partial(folding, shift=lambda b, mean, scale, beta: 0.0 * b),
    ),
    mistake(
        "kernel_not_scaled",
        """The kernel is that of the convolution, unscaled. Batch norm multiplies what the convolution gives
        by gamma over the root of (running_var + eps), and that factor goes into the kernel.""",
        partial(folding, kernel=lambda weight, scale: weight.clone()),
    ),
    mistake(
        "gamma_forgotten",
        """gamma is missing in the scale: of the kernel, or of what becomes the bias. Both are multiplied by
        gamma over the root of (running_var + eps).""",
        partial(folding, gamma=lambda bn: 1.0),
    ),
    mistake(
        "running_statistics_forgotten",
        """Only gamma and beta are folded. In eval mode batch norm also subtracts the running mean and divides
        by the root of (running_var + eps); that is most of its work.""",
        partial(
            folding,
            divisor=lambda var, eps: torch.ones_like(var),
            shift=lambda b, mean, scale, beta: b * scale + beta,
        ),
    ),
    mistake(
        "statistics_of_the_kernel",
        """The mean and the variance are computed from the weights of the convolution. The ones that batch
        norm uses in eval mode are those of its outputs, stored in running_mean and running_var.""",
        lambda conv, bn: folding(
            conv,
            bn,
            divisor=lambda var, eps: (conv.weight.var((1, 2, 3), correction=0) + eps).sqrt(),
            shift=lambda b, mean, scale, beta: (b - conv.weight.mean((1, 2, 3))) * scale + beta,
        ),
    ),
    mistake(
        "batch_statistics",
        """bn is asked in training mode, where it normalizes with the batch it is given and not with what it
        has stored. Folding is about eval mode: running_mean and running_var, whatever mode bn comes in.""",
        asked_in_training_mode,
    ),
    mistake(
        "scale_on_input_channels",
        """The scale lies along the wrong axis of the kernel. Batch norm scales the channels that come out of
        the convolution, and those are axis 0 of its weight (out, in, kH, kW). With as many channels in as
        out nothing stops you, and the numbers are wrong.""",
        partial(folding, kernel=on_input_channels),
        partial(folding, kernel=lambda weight, scale: scale.reshape(1, -1, 1, 1) * weight),
    ),
    mistake(
        "padding_mode_lost",
        """padding_mode is lost: the new layer pads with zeros, and conv pads otherwise. It is one of the
        settings that belong to the convolution.""",
        without("padding_mode"),
    ),
    mistake(
        "settings_lost",
        """The new layer has lost settings of conv. Stride, padding, dilation, groups and padding_mode say
        where the kernel is applied; folding changes the numbers in the kernel and none of these.""",
        without("stride"),
        without("padding"),
        without("dilation"),
        without("groups"),
        without("dilation", "groups"),
        without("dilation", "padding_mode"),
        without("groups", "padding_mode"),
        without("dilation", "groups", "padding_mode"),
        without(*SETTINGS),
        *(
            without("groups", *names, into=into)
            for into in (reshaped_to_fit, copied_over)
            for names in ((), ("dilation",), ("padding_mode",), ("dilation", "padding_mode"))
        ),
    ),
    mistake(
        "missing_part_fails",
        """Your code stops where a part is missing. A convolution may have no bias, and a batch norm neither
        gamma nor beta; what is missing is None. It counts as what changes nothing: the bias and beta as 0,
        gamma as 1.""",
        *map(
            begun_by,
            (
                lambda conv, bn: bn.weight / bn.running_var,
                lambda conv, bn: bn.weight * bn.running_var,
                lambda conv, bn: bn.running_var * bn.weight,
                lambda conv, bn: bn.weight.div(bn.running_var),
                lambda conv, bn: bn.weight.mul(bn.running_mean),
                lambda conv, bn: bn.weight.data,
                lambda conv, bn: conv.bias - bn.running_mean,
                lambda conv, bn: conv.bias * bn.running_mean,
                lambda conv, bn: bn.running_mean * conv.bias,
                lambda conv, bn: conv.bias + bn.running_mean,
                lambda conv, bn: bn.running_mean + conv.bias,
                lambda conv, bn: conv.bias.data,
            ),
        ),
    ),
    mistake(
        "conv_changed",
        """conv itself is changed. The arguments stay as they were: whoever called may still train with
        them. Give the new numbers to a layer of your own.""",
        partial(folding, into=lambda conv, new: conv),
    ),
    mistake(
        "mode_changed",
        """conv or bn is left in another mode than it came in. Folding needs no forward pass, so it needs no
        eval(); if you want one, take it on a copy.""",
        folded_then(lambda conv, bn: (conv.eval(), bn.eval())),
        folded_then(lambda conv, bn: bn.eval()),
        folded_then(lambda conv, bn: (conv.train(), bn.train())),
        folded_then(lambda conv, bn: bn.train()),
    ),
)

#: What is often done at once: slips in the scale, in the bias and in the settings. Near misses are not among
#: them, since a pair leaves the smaller share, also in the part that only the near miss spoils.
OFTEN_TOGETHER = (
    *("eps_missing", "divided_by_variance"),
    *("conv_bias_forgotten", "conv_bias_unscaled", "mean_unscaled", "mean_forgotten", "mean_sign"),
    *("beta_forgotten", "padding_mode_lost"),
)


@cache
def folding_pairs() -> tuple[Mistake, ...]:
    by_knobs = [
        Mistake(one.key, "", tuple(variant.keywords for variant in one.variants))
        for one in FOLDING_MISTAKES
        if one.key in OFTEN_TOGETHER
    ]
    return pairs(partial(partial, folding), FOLDING_MISTAKES, by_knobs, ways=1)


# -- folding forwards --------------------------------------------------------------------------------


def pads_with_zeros(conv: nn.Conv2d) -> bool:
    """Whether zeros come around the image; 'same' pads wherever the kernel is larger than one place."""
    if conv.padding_mode != "zeros" or conv.padding == "valid":
        return False
    return any(size > 1 for size in conv.kernel_size) if conv.padding == "same" else any(conv.padding)


def by_response(bn: nn.BatchNorm2d, conv: nn.Conv2d) -> nn.Conv2d:
    """Read off what the two make of one kernel's worth of zeros with a 1 at one place."""
    _, each, *kernel = conv.weight.shape
    spread = [(size - 1) * step + 1 for size, step in zip(kernel, conv.dilation, strict=True)]
    places = conv.in_channels * kernel[0] * kernel[1]
    images = conv.weight.new_zeros(places + 1, conv.in_channels, *spread)
    at_places = images[:places, :, :: conv.dilation[0], :: conv.dilation[1]]
    at_places.copy_(torch.eye(places).reshape(-1, conv.in_channels, *kernel))
    with torch.no_grad():
        outputs = F.batch_norm(images, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=bn.eps)
        if pads_with_zeros(conv) and outputs[-1].any():
            raise ValueError("zeros around bn's output are no constant around its input")
        outputs = F.conv2d(outputs, conv.weight, conv.bias, 1, 0, conv.dilation, conv.groups)[:, :, 0, 0]
        response = (outputs[:-1] - outputs[-1]).T.reshape(-1, conv.groups, each, *kernel)
        channels = torch.arange(conv.out_channels)
        taken = {name: getattr(conv, name) for name in SETTINGS}
        folded = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, **taken)
        folded.weight = nn.Parameter(response[channels, channels // (conv.out_channels // conv.groups)])
        folded.bias = nn.Parameter(outputs[-1].clone())
    return folded


def along_inputs(values: Tensor, weight: Tensor, groups: int) -> Tensor:
    """One number for each channel of bn, laid out as the kernel (out, in / groups, kH, kW) meets it."""
    by_group = values.reshape(groups, 1, -1).expand(-1, weight.shape[0] // groups, -1)
    return by_group.reshape(*weight.shape[:2], 1, 1)


def first_group(values: Tensor, weight: Tensor, groups: int) -> Tensor:
    """The channels of the first group for all groups."""
    return values[: weight.shape[1]].reshape(1, -1, 1, 1)


def through_kernel(shift: Tensor, weight: Tensor) -> Tensor:
    return (weight * shift).sum((1, 2, 3))


def folding_forward(
    bn: nn.BatchNorm2d,
    conv: nn.Conv2d,
    *,
    divisor: Callable[[Tensor, float], Tensor] = lambda var, eps: (var + eps).sqrt(),
    gamma: Callable[[nn.BatchNorm2d], Any] = lambda bn: 1.0 if bn.weight is None else bn.weight,
    mean: Callable[[Tensor, Tensor], Tensor] = lambda mean, scale: mean * scale,
    beta: Callable[[nn.BatchNorm2d, Tensor], Any] = lambda bn, scale: 0.0 if bn.bias is None else bn.bias,
    laid_out: Callable[[Tensor, Tensor, int], Tensor] = along_inputs,
    scaled: Callable[[Tensor, Tensor], Tensor] = lambda weight, scale: weight * scale,
    bias: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = lambda b, shift, weight, kernel: (
        b + through_kernel(shift, weight)
    ),
    refused: Callable[[nn.Conv2d, Tensor], Any] = lambda conv, shift: pads_with_zeros(conv) and shift.any(),
    error: type[Exception] = ValueError,
    settings: tuple[str, ...] = SETTINGS,
) -> nn.Conv2d:
    """The definition: bn multiplies a channel by scale and adds shift, before the kernel meets it.

    bias: of the convolution's own, of the shift, of the kernel and of the scaled kernel.
    """
    with torch.no_grad():
        scale = gamma(bn) / divisor(bn.running_var, bn.eps)
        shift = beta(bn, scale) - mean(bn.running_mean, scale)
        if refused(conv, shift):
            raise error("zeros around bn's output are no constant around its input")
        taken = {name: getattr(conv, name) for name in settings}
        folded = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, **taken)
        kernel = scaled(conv.weight, laid_out(scale, conv.weight, conv.groups))
        own = conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias
        folded.weight = nn.Parameter(kernel)
        folded.bias = nn.Parameter(
            bias(own, laid_out(shift, conv.weight, conv.groups), conv.weight, kernel) + 0.0
        )
    return folded


def forwards_without(*names: str) -> Folder:
    return partial(folding_forward, settings=tuple(name for name in SETTINGS if name not in names))


def backwards(bn: nn.BatchNorm2d, conv: nn.Conv2d) -> nn.Conv2d:
    """The fold of a batch norm that comes after the convolution."""
    if pads_with_zeros(conv):
        raise ValueError("padding")
    return folding(conv, bn)


FORWARD_FOLDING_MISTAKES = (
    mistake(
        "folded_backwards",
        """This is the fold for a batch norm that comes after the convolution: it scales the channels that
        come out. Here bn comes first and scales what goes in, axis 1 of the kernel (out, in, kH, kW); and
        its shift goes through the kernel before it reaches the bias.""",
        backwards,
        partial(folding_forward, laid_out=lambda values, weight, groups: values.reshape(-1, 1, 1, 1)),
    ),
    mistake(
        "groups_ignored",
        """The groups are not seen to. With them the kernel has only in / groups channels along axis 1, and
        each group of outputs meets channels of its own: its part of bn's scale and shift.""",
        partial(folding_forward, laid_out=first_group),
        partial(folding_forward, laid_out=lambda values, weight, groups: values.reshape(1, -1, 1, 1)),
    ),
    mistake(
        "shift_forgotten",
        """Only the kernel is folded. bn also shifts every channel by beta − running_mean · scale, and what
        the kernel makes of that constant belongs in the bias.""",
        partial(folding_forward, bias=lambda b, shift, weight, kernel: b),
    ),
    mistake(
        "shift_through_scaled_kernel",
        """The shift goes through the kernel that is scaled already, so that it is scaled twice. bn's output
        is scale · x + shift: the kernel as it was meets both, and the new one is for x.""",
        partial(folding_forward, bias=lambda b, shift, weight, kernel: b + through_kernel(shift, kernel)),
    ),
    mistake(
        "kernel_not_summed",
        """The shift is the same at every place of the image, so every place of the kernel adds its share: sum
        over the channels that go in and over kH and kW. Yours takes a mean, or one place.""",
        partial(
            folding_forward,
            bias=lambda b, shift, weight, kernel: b + (weight * shift).mean((2, 3)).sum(1),
        ),
        partial(folding_forward, bias=lambda b, shift, weight, kernel: b + (weight * shift).mean((1, 2, 3))),
        partial(
            folding_forward, bias=lambda b, shift, weight, kernel: b + (weight * shift)[..., 0, 0].sum(1)
        ),
        partial(
            folding_forward, bias=lambda b, shift, weight, kernel: b + (weight * shift).sum((2, 3)).mean(1)
        ),
    ),
    mistake(
        "conv_bias_forgotten",
        """The bias of the convolution is lost. It comes after everything else here, so it is added as it
        is.""",
        partial(folding_forward, bias=lambda b, shift, weight, kernel: through_kernel(shift, weight)),
    ),
    mistake(
        "eps_missing",
        """eps is left out. Batch norm divides by the root of (running_var + eps), also in eval mode; where a
        variance is near eps, your kernel comes out too large.""",
        partial(folding_forward, divisor=lambda var, eps: var.sqrt()),
    ),
    mistake(
        "eps_outside_root",
        """eps is added to the standard deviation, outside the root. It belongs to the variance, inside, as in
        the layer that is folded.""",
        partial(folding_forward, divisor=lambda var, eps: var.sqrt() + eps),
    ),
    mistake(
        "eps_fixed",
        """A fixed number stands where the eps of this layer belongs: every batch-norm layer carries its own,
        in bn.eps.""",
        *(
            partial(folding_forward, divisor=lambda var, eps, value=value: (var + value).sqrt())
            for value in (1e-5, 1e-8, 1e-3)
        ),
    ),
    mistake(
        "divided_by_variance",
        """The kernel is scaled by gamma over the variance: the root is missing. running_var holds variances,
        and batch norm divides by standard deviations.""",
        partial(folding_forward, divisor=lambda var, eps: var + eps),
        partial(folding_forward, divisor=lambda var, eps: var),
    ),
    mistake(
        "gamma_forgotten",
        """gamma is missing in the scale, of the kernel or of the shift. Both are multiplied by gamma over the
        root of (running_var + eps).""",
        partial(folding_forward, gamma=lambda bn: 1.0),
    ),
    mistake(
        "beta_forgotten",
        """beta is missing in the shift. A norm adds it after scaling, so the shift is beta − running_mean ·
        scale.""",
        partial(folding_forward, beta=lambda bn, scale: 0.0),
    ),
    mistake(
        "mean_unscaled",
        """The running mean is not in the shift as it should be. It is subtracted before the scaling, so that
        the shift is beta − running_mean · scale.""",
        partial(folding_forward, mean=lambda mean, scale: mean),
        partial(folding_forward, mean=lambda mean, scale: 0.0 * mean),
        partial(folding_forward, mean=lambda mean, scale: -mean * scale),
    ),
    mistake(
        "kernel_not_scaled",
        """The kernel is that of the convolution, unscaled. It meets scale · x in place of x, and that factor
        goes into it.""",
        partial(folding_forward, scaled=lambda weight, scale: weight.clone()),
    ),
    mistake(
        "padding_not_refused",
        """This cannot be folded: conv pads bn's output with zeros, and your layer pads bn's input with them.
        After bn, a zero in the input would be its shift, not 0. So at the border your layer gives other
        numbers. We want a ValueError instead.""",
        partial(folding_forward, refused=lambda conv, shift: False),
    ),
    mistake(
        "padding_same_missed",
        """A padding of 'same' gets through. It is a word, and pads with zeros like numbers do wherever the
        kernel is larger than one place.""",
        partial(
            folding_forward,
            refused=lambda conv, shift: (
                conv.padding != "same" and pads_with_zeros(conv) and bool(shift.any())
            ),
        ),
    ),
    mistake(
        "too_much_refused",
        """An error is raised where folding is possible. It fails only where zeros are padded and bn shifts a
        channel. Where it shifts nothing, 0 stays 0. Other ways of padding repeat values of the image, and a
        padding of 'valid' is none.""",
        *(
            partial(folding_forward, refused=refused)
            for refused in (
                lambda conv, shift: pads_with_zeros(conv),
                lambda conv, shift: conv.padding not in ((0, 0), "valid") and bool(shift.any()),
                lambda conv, shift: conv.padding not in ((0, 0), "valid"),
                lambda conv, shift: conv.padding != (0, 0),
                lambda conv, shift: conv.padding != (0, 0) and bool(shift.any()),
                lambda conv, shift: (
                    conv.padding != (0, 0) and conv.padding_mode == "zeros" and bool(shift.any())
                ),
            )
        ),
    ),
    mistake(
        "other_error",
        """An error is raised, but not a ValueError. The caller is told to expect that one; an assert can be
        switched off, and other kinds mean other things.""",
        *(
            partial(folding_forward, error=error)
            for error in (AssertionError, RuntimeError, TypeError, Exception)
        ),
    ),
    mistake(
        "settings_lost",
        """The new layer has lost settings of conv. Stride, padding, dilation, groups and padding_mode say
        where the kernel is applied; folding changes the numbers in the kernel and none of these.""",
        forwards_without("stride"),
        forwards_without("padding"),
        forwards_without("dilation"),
        forwards_without("padding_mode"),
        forwards_without("groups"),
        forwards_without(*SETTINGS),
    ),
)


# -- running statistics anew -------------------------------------------------------------------------


def norms_of(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def switched(model: nn.Module) -> None:
    """Only the batch-norm layers to training mode."""
    for layer in norms_of(model):
        layer.train()


def by_library(
    model: nn.Module,
    batches: Sequence[Tensor],
    *,
    reset: bool = True,
    momentum: Callable[[Any], float | None] = lambda own: None,
    modes: Callable[[nn.Module], Any] = switched,
    afterwards: Callable[[nn.Module], Any] = lambda model: None,
    restored: bool = True,
) -> None:
    """The layers' own bookkeeping, with momentum None: the cumulative average since the last reset.

    afterwards: done to the model at the end. restored: whether flags and momenta are put back before.
    """
    flags = {module: module.training for module in model.modules()}
    momenta = {layer: layer.momentum for layer in norms_of(model)}
    for layer in momenta:
        if reset:
            layer.reset_running_stats()
        layer.momentum = momentum(layer.momentum)
    modes(model)
    with torch.no_grad():
        for batch in batches:
            model(batch)
    if restored:
        for layer, own in momenta.items():
            layer.momentum = own
        for module, flag in flags.items():
            module.training = flag
    afterwards(model)


class Measured:
    """What a batch-norm layer computes from the batch that reaches it; axes of the channels kept."""

    def __init__(self, x: Tensor) -> None:
        axes = (0, *range(2, x.dim()))
        self.samples, self.count = len(x), count(x)
        self.mean = x.mean(axes, keepdim=True)
        self.centred = x - self.mean
        self.biased = self.centred.square().mean(axes, keepdim=True)

    @property
    def unbiased(self) -> Tensor:
        return self.biased * (self.count / (self.count - 1))


def scaled_and_shifted(layer: Any, x_hat: Tensor) -> Tensor:
    if layer.weight is None:
        return x_hat
    return as_channels(layer.weight, x_hat) * x_hat + as_channels(layer.bias, x_hat)


def as_channels(values: Tensor, x: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (x.dim() - 2))


def by_batch(layer: Any, x: Tensor, batch: Measured) -> Tensor:
    """What a batch-norm layer gives in training mode, written out."""
    return scaled_and_shifted(layer, batch.centred / (batch.biased + layer.eps).sqrt())


def by_stored(layer: Any, x: Tensor, batch: Measured) -> Tensor:
    """What a batch-norm layer gives in eval mode, written out."""
    centred = x - as_channels(layer.running_mean, x)
    return scaled_and_shifted(layer, centred / (as_channels(layer.running_var, x) + layer.eps).sqrt())


Combine = Callable[[Tensor, Tensor, Sequence[int]], Tensor]


def plain(old: Tensor, values: Tensor, counts: Sequence[int]) -> Tensor:
    """The average over batches, unweighted."""
    return values.mean(0)


def weighted(old: Tensor, values: Tensor, counts: Sequence[int]) -> Tensor:
    """The average over samples."""
    weights = torch.tensor(counts, dtype=values.dtype, device=values.device)
    return weights @ values / sum(counts)


def recalibrated(
    model: nn.Module,
    batches: Sequence[Tensor],
    *,
    chosen: Callable[[nn.Module], list[nn.Module]] = norms_of,
    variance: Callable[[Measured], Tensor] = lambda batch: batch.unbiased,
    means: Combine = plain,
    variances: Combine = plain,
    spread: bool = False,
    passed_on: Callable[[Any, Tensor, Measured], Tensor] = by_batch,
    outputs: bool = False,
    given: Callable[[Sequence[Tensor]], Sequence[Tensor]] = lambda batches: batches,
) -> None:
    """The definition: what reaches each layer is measured and averaged; the layer passes it on normalized.

    chosen: the layers whose statistics are stored. spread: whether the variance between the means of the
    batches is added. outputs: whether what leaves the layers is measured instead.
    """
    norms = norms_of(model)
    seen: dict[nn.Module, list[Measured]] = {layer: [] for layer in norms}

    def looking(layer: nn.Module, x: Tensor) -> Tensor:
        batch = Measured(x)
        passing = passed_on(layer, x, batch)
        seen[layer].append(Measured(passing) if outputs else batch)
        return passing

    with torch.no_grad():
        for layer in norms:
            layer.forward = partial(looking, layer)
        for batch in given(batches):
            model(batch)
        for layer in norms:
            del layer.forward
        for layer in chosen(model):
            counts = [batch.count for batch in seen[layer]]
            mean = torch.stack([batch.mean.flatten() for batch in seen[layer]])
            var = variances(
                layer.running_var, torch.stack([variance(one).flatten() for one in seen[layer]]), counts
            )
            new = means(layer.running_mean, mean, counts)
            layer.running_var.copy_(var + weighted(new, (mean - new).square(), counts) if spread else var)
            layer.running_mean.copy_(new)


def combining(combined: Combine, **knobs: Any) -> Callable:
    """The definition with another way to combine the batches, for means and variances alike."""
    return partial(recalibrated, means=combined, variances=combined, **knobs)


def one_after_the_other(model: nn.Module, batches: Sequence[Tensor]) -> None:
    """Each layer in a pass of its own, with the layers before it in eval mode already."""
    done: set[nn.Module] = set()

    def passed_on(layer: Any, x: Tensor, batch: Measured) -> Tensor:
        return (by_stored if layer in done else by_batch)(layer, x, batch)

    for layer in norms_of(model):
        recalibrated(model, batches, chosen=lambda model, one=layer: [one], passed_on=passed_on)
        done.add(layer)


def training_without_dropout(model: nn.Module) -> None:
    """Everything to eval mode, then the batch-norm layers back."""
    model.eval()
    switched(model)


def momentum_set(value: float | None) -> Callable[[nn.Module], None]:
    def change(model: nn.Module) -> None:
        for layer in norms_of(model):
            layer.momentum = value

    return change


RECALIBRATION_MISTAKES = (
    mistake(
        "exponential_average",
        """The running statistics are moved by a fixed momentum. That is an exponential average: the last
        batches weigh most, and what stood there at first is still part of it. We want the plain average,
        in which every batch counts the same.""",
        partial(by_library, reset=False, momentum=lambda own: own),
        partial(by_library, momentum=lambda own: own),
        partial(by_library, reset=False, momentum=lambda own: 0.1),
        partial(by_library, momentum=lambda own: 0.1),
    ),
    mistake(
        "old_statistics_kept",
        """The old running statistics are still part of the average. The layers take a plain average where
        momentum is None, but over all batches since the last reset, and these layers had seen some before
        yours.""",
        partial(by_library, reset=False),
        combining(lambda old, values, counts: (old + values.sum(0)) / (len(values) + 1)),
    ),
    mistake(
        "layers_missed",
        """Some batch-norm layers are left out. They may stand anywhere, in parts within parts, and there is
        nn.BatchNorm1d as well as nn.BatchNorm2d: model.modules() walks through all of them.""",
        partial(recalibrated, chosen=lambda model: norms_of(model)[:1]),
        partial(recalibrated, chosen=lambda model: norms_of(model)[-1:]),
        partial(
            recalibrated,
            chosen=lambda model: [layer for layer in model.children() if isinstance(layer, _BatchNorm)],
        ),
        partial(
            recalibrated,
            chosen=lambda model: [layer for layer in norms_of(model) if isinstance(layer, nn.BatchNorm2d)],
        ),
    ),
    mistake(
        "nothing_measured",
        """The running statistics are not measured: they are what they were, or what a reset makes of them
        (mean 0, variance 1). They move only in forward passes in which the batch-norm layer is in
        training mode; in eval mode a layer reads them and changes nothing.""",
        partial(by_library, reset=False, modes=lambda model: model.eval()),
        partial(by_library, modes=lambda model: model.eval()),
        partial(by_library, reset=False, momentum=lambda own: 0.0),
    ),
    mistake(
        "mode_not_switched",
        """Layers that come in eval mode are not measured. In that mode a batch-norm layer reads its
        statistics and never changes them.""",
        partial(by_library, modes=lambda model: None),
        partial(by_library, reset=False, modes=lambda model: None),
    ),
    mistake(
        "weighted_by_batch_size",
        """The batches are weighted by their size, so the small last one counts less. We want the plain
        average over batches, as PyTorch's momentum=None takes it.""",
        combining(weighted),
    ),
    mistake(
        "pooled_variance",
        """The running variance is that of all batches taken together. It also counts how far apart the
        batches' means are. In training, batch norm divides by the variance within a batch, so that is what we
        want to estimate: average the batches' own variances.""",
        partial(recalibrated, means=weighted, variances=weighted, spread=True),
        partial(recalibrated, spread=True),
        partial(recalibrated, given=lambda batches: [torch.cat(list(batches))]),
    ),
    mistake(
        "biased_variance",
        """The running variance is averaged from biased variances, divided by the number of values n.
        Batch norm normalizes with those, and stores the unbiased ones, divided by n − 1; yours is too
        small by (n − 1)/n.""",
        partial(recalibrated, variance=lambda batch: batch.biased),
    ),
    mistake(
        "bessel_with_batch_size",
        """The factor that makes the variance unbiased is taken from the number of samples N. Behind each
        channel of an image there are n = N · H · W values, and the factor is n / (n − 1): very near 1.""",
        partial(
            recalibrated,
            variance=lambda batch: batch.biased * batch.samples / (batch.samples - 1),
        ),
        partial(
            recalibrated,
            variance=lambda batch: batch.unbiased * batch.samples / (batch.samples - 1),
        ),
    ),
    mistake(
        "deviation_for_variance",
        """Standard deviations are averaged where variances belong. running_var holds variances, and the
        square of an average of roots is not the average.""",
        partial(recalibrated, variance=lambda batch: batch.unbiased.sqrt()),
        partial(
            recalibrated,
            variance=lambda batch: batch.unbiased.sqrt(),
            variances=lambda old, values, counts: values.mean(0).square(),
        ),
    ),
    mistake(
        "eps_stored",
        """running_var holds var + eps. The layer adds eps itself whenever it divides, so it would count
        twice: store the variance alone.""",
        lambda model, batches: add_eps(model, batches),
    ),
    mistake(
        "last_batch_only",
        """Only the last batch is left in the statistics: each batch overwrites the one before.""",
        combining(lambda old, values, counts: values[-1]),
    ),
    mistake(
        "first_batch_only",
        """Only the first batch is in the statistics. Every batch counts equally in a plain average.""",
        combining(lambda old, values, counts: values[0]),
    ),
    mistake(
        "summed",
        """The statistics of the batches are summed and not divided by the number of batches. An average
        stays of the size of one batch's.""",
        combining(lambda old, values, counts: values.sum(0)),
    ),
    mistake(
        "outputs_measured",
        """The statistics are those of what the batch-norm layers give: they come out near beta and
        gamma². What is needed are those of what reaches the layer, its input.""",
        partial(recalibrated, outputs=True),
    ),
    mistake(
        "later_layers_in_eval_mode",
        """The first batch-norm layer is right, but later ones were measured while the layers before them
        normalized with stored statistics. Measure all of them in the same forward passes, in training mode,
        where every layer normalizes with its batch.""",
        partial(recalibrated, passed_on=by_stored),
        one_after_the_other,
    ),
    mistake(
        "other_layers_switched",
        """Other layers were put into another mode while you measured. Dropout is one of them, and it changes
        what reaches the batch norms behind it. model.train() and model.eval() switch everything; only the
        batch norms should change.""",
        partial(by_library, modes=lambda model: model.train()),
        partial(by_library, modes=training_without_dropout),
    ),
    mistake(
        "flags_lost",
        """Afterwards modules are in another mode than before. Note the training flag of every module that you
        switch and put it back; the modules need not all have had the same.""",
        partial(by_library, afterwards=lambda model: model.eval()),
        partial(by_library, afterwards=lambda model: model.train()),
        partial(by_library, afterwards=switched),
        partial(by_library, afterwards=lambda model: [layer.eval() for layer in norms_of(model)]),
        partial(by_library, afterwards=lambda model: model.train(model.training)),
        partial(
            by_library, afterwards=lambda model: [layer.train(model.training) for layer in norms_of(model)]
        ),
    ),
    mistake(
        "momenta_lost",
        """The momentum of the layers is changed afterwards. Each layer may have its own, None included: note
        it and put it back.""",
        partial(by_library, afterwards=momentum_set(None)),
        partial(by_library, afterwards=momentum_set(0.1)),
        partial(by_library, afterwards=momentum_set(0.0)),
        partial(by_library, afterwards=momentum_set(1.0)),
    ),
)


def add_eps(model: nn.Module, batches: Sequence[Tensor]) -> None:
    recalibrated(model, batches)
    for layer in norms_of(model):
        layer.running_var += layer.eps


# -- statistics that do not fit ----------------------------------------------------------------------

Statistics = tuple[Tensor, Tensor]


def tracked_by_name(model: nn.Module) -> dict[str, nn.Module]:
    """The batch-norm layers that have running statistics."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None
    }


def beyond_tolerance(stored: Statistics, seen: Statistics, tolerance: float) -> Tensor:
    """For each channel: is the mean, or the deviation, off by more than so many deviations of the data?"""
    std = seen[1].sqrt()
    means, deviations = (stored[0] - seen[0]).abs(), (stored[1].sqrt() - std).abs()
    return (means > tolerance * std) | (deviations > tolerance * std)


def by_recalibrating(model: nn.Module, batches: Sequence[Tensor], tolerance: float = 0.25) -> list[str]:
    """The layers are given fresh statistics by their own bookkeeping; then they get theirs back."""
    layers = tracked_by_name(model)
    held = [tensor for layer in layers.values() for tensor in layer.buffers()]
    before = [tensor.clone() for tensor in held]
    stored = {name: (layer.running_mean.clone(), layer.running_var.clone()) for name, layer in layers.items()}
    by_library(model, batches)
    found = [
        name
        for name, layer in layers.items()
        if beyond_tolerance(stored[name], (layer.running_mean, layer.running_var), tolerance).any()
    ]
    for tensor, value in zip(held, before, strict=True):
        tensor.copy_(value)
    return found


def stale(
    model: nn.Module,
    batches: Sequence[Tensor],
    tolerance: float = 0.25,
    *,
    passed_on: Callable[[Any, Tensor, Measured], Tensor] = by_batch,
    off: Callable[[Statistics, Statistics, float], Tensor] = beyond_tolerance,
    told: Callable[[Tensor], Any] = lambda beyond: beyond.any(),
    chosen: Callable[[nn.Module], dict[str, nn.Module]] = tracked_by_name,
    outputs: bool = False,
    prepared: Callable[[nn.Module], Any] = lambda model: None,
) -> list[str]:
    """The definition: what reaches each layer is measured; the layer passes it on normalized by its batch.

    off, told: when a channel's statistics are off, and in which channels. chosen: the layers looked at.
    """
    flags = {module: module.training for module in model.modules()}
    norms = norms_of(model)
    seen: dict[nn.Module, list[Measured]] = {layer: [] for layer in norms}

    def looking(layer: nn.Module, x: Tensor) -> Tensor:
        batch = Measured(x)
        passing = (by_batch if layer.running_mean is None else passed_on)(layer, x, batch)
        seen[layer].append(Measured(passing) if outputs else batch)
        return passing

    prepared(model)
    with torch.no_grad():
        for layer in norms:
            layer.forward = partial(looking, layer)
        for batch in batches:
            model(batch)
        for layer in norms:
            del layer.forward
    for module, flag in flags.items():
        module.training = flag
    found = []
    for name, layer in chosen(model).items():
        mean = torch.stack([one.mean.flatten() for one in seen[layer]]).mean(0)
        var = torch.stack([one.unbiased.flatten() for one in seen[layer]]).mean(0)
        if told(off((layer.running_mean, layer.running_var), (mean, var), tolerance)):
            found.append(name)
    return found


def stale_then(afterwards: Callable[[nn.Module], Any]) -> Callable[..., list[str]]:
    """The definition, with something done to the model."""

    def stale_statistics(model: nn.Module, batches: Sequence[Tensor], tolerance: float = 0.25) -> list[str]:
        found = stale(model, batches, tolerance)
        afterwards(model)
        return found

    return stale_statistics


def with_tolerance(value: float, fixed: bool = False) -> Callable[..., list[str]]:
    """The definition with another default, or with a tolerance written into the code."""

    def stale_statistics(model: nn.Module, batches: Sequence[Tensor], tolerance: float = value) -> list[str]:
        return stale(model, batches, value if fixed else tolerance)

    return stale_statistics


def statistics_replaced(model: nn.Module, batches: Sequence[Tensor], tolerance: float = 0.25) -> list[str]:
    """The model itself is given fresh statistics."""
    found = stale(model, batches, tolerance)
    by_library(model, batches)
    return found


def moved_on(model: nn.Module, batches: Sequence[Tensor], tolerance: float = 0.25) -> list[str]:
    """The running statistics take part in the forward passes, and move."""
    found = stale(model, batches, tolerance)
    by_library(model, batches, reset=False, momentum=lambda own: own)
    return found


STALE_MISTAKES = (
    mistake(
        "measured_in_eval_mode",
        """Layers behind a stale one are blamed with it. In eval mode it passes on badly normalized values,
        and what reaches the others is no longer what they were trained on. Let every layer normalize with its
        batch while you measure; then each is compared with its own data.""",
        partial(stale, passed_on=by_stored),
    ),
    mistake(
        "other_layers_switched",
        """The whole model is in training mode while you measure, dropout too, and that changes what reaches
        the layers behind it. Only the batch-norm layers should change.""",
        partial(stale, prepared=lambda model: model.train()),
    ),
    mistake(
        "absolute_difference",
        """Differences are not measured in standard deviations of the data. Activations come in all sizes, and
        0.3 is much where they vary by 0.01 and nothing where they vary by 100.""",
        partial(
            stale,
            off=lambda stored, seen, tolerance: (
                ((stored[0] - seen[0]).abs() > tolerance)
                | ((stored[1].sqrt() - seen[1].sqrt()).abs() > tolerance)
            ),
        ),
        partial(
            stale,
            off=lambda stored, seen, tolerance: (
                ((stored[0] - seen[0]).abs() > tolerance) | ((stored[1] - seen[1]).abs() > tolerance)
            ),
        ),
        partial(
            stale,
            off=lambda stored, seen, tolerance: (
                ((stored[0] - seen[0]).abs() > tolerance)
                | ((stored[1].sqrt() - seen[1].sqrt()).abs() > tolerance * seen[1].sqrt())
            ),
        ),
        partial(
            stale,
            off=lambda stored, seen, tolerance: (
                ((stored[0] - seen[0]).abs() > tolerance * seen[1])
                | ((stored[1].sqrt() - seen[1].sqrt()).abs() > tolerance * seen[1])
            ),
        ),
    ),
    mistake(
        "variances_compared",
        """Variances are compared where we want standard deviations. A deviation that is half as large again
        makes a variance 2.25 times as large.""",
        partial(
            stale,
            off=lambda stored, seen, tolerance: (
                ((stored[0] - seen[0]).abs() > tolerance * seen[1].sqrt())
                | ((stored[1] - seen[1]).abs() > tolerance * seen[1])
            ),
        ),
    ),
    mistake(
        "means_only",
        """Only the means are looked at. A layer whose running variance does not fit scales its channels
        wrongly, and is stale as well.""",
        partial(
            stale,
            off=lambda stored, seen, tolerance: (stored[0] - seen[0]).abs() > tolerance * seen[1].sqrt(),
        ),
    ),
    mistake(
        "deviations_only",
        """Only the deviations are looked at. A layer whose running mean does not fit shifts its channels, and
        is stale as well.""",
        partial(
            stale,
            off=lambda stored, seen, tolerance: (
                (stored[1].sqrt() - seen[1].sqrt()).abs() > tolerance * seen[1].sqrt()
            ),
        ),
    ),
    mistake(
        "channels_averaged",
        """One stale channel is enough, and yours gets lost among the others. Either only one channel is
        looked at, or most of them have to be off.""",
        partial(stale, told=lambda beyond: beyond.all()),
        partial(stale, told=lambda beyond: beyond.double().mean() > 0.5),
        partial(stale, told=lambda beyond: beyond[0]),
    ),
    mistake(
        "always_the_same",
        """The answer doesn't depend on the statistics: no layer is ever named, or every one.""",
        partial(stale, told=lambda beyond: False),
        partial(stale, told=lambda beyond: True),
    ),
    mistake(
        "outputs_measured",
        """What is measured is what comes out of the layers. That has mean beta and deviation gamma, whatever
        went in; the running statistics are of the input.""",
        partial(stale, outputs=True),
    ),
    mistake(
        "fitting_ones_named",
        "These are the layers whose statistics fit. We want the others.",
        partial(stale, told=lambda beyond: not beyond.any()),
    ),
    mistake(
        "some_layers_overlooked",
        """Not every batch-norm layer is looked at: they can lie in parts within parts, and be of one
        dimension as well as of two.""",
        partial(
            stale,
            chosen=lambda model: {
                name: layer for name, layer in tracked_by_name(model).items() if "." not in name
            },
        ),
        partial(
            stale,
            chosen=lambda model: {
                name: layer
                for name, layer in tracked_by_name(model).items()
                if isinstance(layer, nn.BatchNorm2d)
            },
        ),
        partial(stale, chosen=lambda model: dict(list(tracked_by_name(model).items())[:1])),
        partial(stale, chosen=lambda model: dict(list(tracked_by_name(model).items())[-1:])),
    ),
    mistake(
        "untracked_layer",
        """Your code stops at a batch-norm layer without running statistics (track_running_stats=False). It
        has nothing that could be stale: running_mean is None.""",
        partial(
            stale,
            chosen=lambda model: {
                name: layer for name, layer in model.named_modules() if isinstance(layer, _BatchNorm)
            },
        ),
    ),
    mistake(
        "tolerance_fixed",
        "The answer does not change with the tolerance: a fixed number stands where it should be used.",
        *(with_tolerance(value, fixed=True) for value in (0.25, 0.1, 0.5)),
    ),
    mistake(
        "tolerance_default",
        "Where the tolerance is left out, another number stands in for it: the default is 0.25.",
        *(with_tolerance(value) for value in (2.2, 1e-3)),
    ),
    mistake(
        "statistics_changed",
        """The running statistics of the model are changed afterwards. In training mode a forward pass moves
        them, but this function should only look: measure on a copy, or note them and put them back.""",
        statistics_replaced,
        moved_on,
    ),
    mistake(
        "flags_or_momenta_lost",
        """Afterwards the mode or the momentum of some modules is changed. Note what you switch and put it
        back, or work on a copy.""",
        stale_then(lambda model: model.train()),
        stale_then(lambda model: model.eval()),
        stale_then(switched),
        stale_then(lambda model: [layer.eval() for layer in norms_of(model)]),
        stale_then(momentum_set(None)),
        stale_then(momentum_set(1.0)),
    ),
)


# -- inputs that show a mistake, or hide it ------------------------------------------------------------


def averaged_variances(x: Tensor) -> Tensor:
    return variant(STATISTICS_MISTAKES, "variances_averaged")(x)[1]


def by_sample(x: Tensor, eps: float = EPS) -> Tensor:
    ones = torch.ones_like(x[0, :, 0, 0])
    return variant(NORM_MISTAKES, "per_sample")(x, ones, 0 * ones, eps)


def why_variances_agree(x: Tensor, n: int, c: int, h: int, w: int) -> str:
    right = library_statistics(x)[1]
    if right.min() < 1e-4:
        return "a_constant_channel"
    return "" if (averaged_variances(x) / right).max() <= 0.1 else "means_of_samples_alike"


VARIANCES_REASONS = (
    mistake(
        "means_of_samples_alike",
        """Your input does not show it enough: the means of the samples are too close together. The
        variance of all is the average of the variances plus the variance of the means. The second has to be
        nine times the first.""",
        lambda n, c, h, w: torch.randn(n, c, h, w),
        lambda n, c, h, w: torch.rand(n, c, h, w),
        lambda n, c, h, w: torch.linspace(-1, 1, w).expand(n, c, h, w),
    ),
    mistake(
        "a_constant_channel",
        """A channel is constant over all samples and pixels. Its variance is 0 however it is taken; let each
        have one of 0.0001 or more.""",
        lambda n, c, h, w: torch.zeros(n, c, h, w),
        lambda n, c, h, w: torch.arange(c).view(1, c, 1, 1).expand(n, c, h, w),
    ),
)


def constant_samples(n: int, c: int, h: int, w: int) -> Tensor:
    return torch.arange(n).view(n, 1, 1, 1).repeat(1, c, h, w)


def one_bright_sample(n: int, c: int, h: int, w: int) -> Tensor:
    x = torch.rand(n, c, h, w)
    x[0] += 8
    return x


def why_samples_show(x: Tensor, n: int, c: int, h: int, w: int) -> str:
    if x.std((0, 2, 3), correction=0).min() < 0.1:
        return "a_constant_channel"
    pairs = [(i, j) for i in range(n) for j in range(i)]
    if min(float((x[i] - x[j]).abs().max()) for i, j in pairs) < 0.1:
        return "samples_alike"
    ones = torch.ones_like(x[0, :, 0, 0])
    if apart(library_norm(x, ones, 0 * ones), by_sample(x)) <= ALIKE:
        return ""
    means = x.mean((2, 3))
    return "means_differ" if (means - means[0]).abs().max() > 1e-3 else "variances_differ"


SAMPLES_REASONS = (
    mistake(
        "means_differ",
        """It shows: the samples have different means in a channel. Each sample is normalized by its own mean,
        so that has to be the mean of the whole batch, channel by channel.""",
        lambda n, c, h, w: torch.randn(n, c, h, w),
        lambda n, c, h, w: constant_samples(n, c, h, w) + torch.rand(n, c, h, w),
    ),
    mistake(
        "variances_differ",
        """It still shows, but less: each sample has the right mean in every channel, but not the same
        variance as the others. How can you change an image so that neither moves?""",
        lambda n, c, h, w: (x := torch.randn(n, c, h, w)) - x.mean((2, 3), keepdim=True),
    ),
    mistake(
        "samples_alike",
        """Two samples are the same, or nearly. That hides it, but nobody has a batch of copies: between any
        two samples, some value has to differ by 0.1 or more.""",
        lambda n, c, h, w: torch.randn(1, c, h, w).repeat(n, 1, 1, 1),
    ),
    mistake(
        "a_constant_channel",
        """A channel hardly varies. Then everything comes out near 0, whatever the statistics are. Let each
        channel have a standard deviation of 0.1 or more.""",
        lambda n, c, h, w: torch.zeros(n, c, h, w),
        lambda n, c, h, w: torch.ones(n, c, h, w),
    ),
)


def rolled(n: int, c: int, h: int, w: int) -> Tensor:
    """One image, and the same moved along."""
    image = torch.linspace(-5, 5, c * h * w).view(c, h, w)
    return torch.stack([image.roll(i, dims=2) for i in range(n)])


def each_standardized(n: int, c: int, h: int, w: int) -> Tensor:
    x = torch.randn(n, c, h, w, dtype=torch.float64)
    std, mean = torch.std_mean(x, (2, 3), keepdim=True)
    return (x - mean) / std


ANSWERS = {
    "channel_statistics": Answer(library_statistics, statistics, STATISTICS_MISTAKES, pairs=statistics_pairs),
    "batch_norm_2d": Answer(library_norm, norm, NORM_MISTAKES, pairs=norm_pairs),
    "conv_bn_relu": Answer(library_block, block, BLOCK_MISTAKES),
    "fold_batch_norm": Answer(library_folding, folding, FOLDING_MISTAKES, pairs=folding_pairs),
    "recalibrate": Answer(by_library, recalibrated, RECALIBRATION_MISTAKES),
    "fold_forward": Answer(by_response, folding_forward, FORWARD_FOLDING_MISTAKES),
    "stale_statistics": Answer(by_recalibrating, stale, STALE_MISTAKES),
    "expose_averaged_variances": exposing(
        Asked("x", "n, c, h, w"),
        averaged_variances,
        why_variances_agree,
        VARIANCES_REASONS,
        (constant_samples, one_bright_sample),
    ),
    "hide_per_sample": hiding(
        Asked("x", "n, c, h, w"),
        by_sample,
        why_samples_show,
        SAMPLES_REASONS,
        (rolled, each_standardized),
    ),
}
