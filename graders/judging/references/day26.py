"""Day 26: the right answers, and what people get wrong, with the knobs that make it.

Sources of the mistakes: reports and fixes in public repositories and forums, and public course solutions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from graders.judging.answer import Answer, Basis, Mistake, both, mistake
from graders.judging.references.exposing import ALIKE, Asked, apart, exposing, hiding, variant
from graders.judging.references.normalizing import (
    EPS_OF_OTHERS,
    MIXED_SHARES,
    affine_mistakes,
    calling_mistakes,
    difference_of_squares,
    feature_mistakes,
    in_single_precision,
    lone_mistake,
    normalize,
    pairs,
    refused_mistake,
    single,
    single_eps_mistake,
    single_precision_mistake,
    statistics_mistakes,
)
from graders.judging.tolerance import GUARD
from graders.probing.days.day26 import AROUND, BACKWARD, STEP
from graders.probing.exercise import Inputs

EPS = 1e-5


# -- the forward pass --------------------------------------------------------------------------------


def library_forward(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = EPS) -> tuple[Tensor, Any]:
    """`F.batch_norm` in training mode, which refuses N = 1; there x - mean is 0 and y is beta."""
    if len(x) == 1:
        return beta + 0 * gamma * x, None
    return F.batch_norm(x, None, None, gamma, beta, training=True, eps=eps), None


def forward(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    eps: float = EPS,
    *,
    affine: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda x_hat, gamma, beta: gamma * x_hat + beta,
    **knobs: Any,
) -> tuple[Tensor, tuple]:
    """The definition, with the knobs of `normalize`. The cache serves every backward pass below."""
    x_hat, std = normalize(x, 0, eps, **knobs)
    return affine(x_hat, gamma, beta), (x, x_hat, gamma, std, eps)


def with_knobs(default_eps: float = EPS, **knobs: Any) -> Callable:
    """A `batch_norm_forward` with these knobs turned."""

    def batch_norm_forward(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = default_eps) -> tuple:
        return forward(x, gamma, beta, eps, **knobs)

    return batch_norm_forward


def summed_squares(x: Tensor, axes: Any) -> Tensor:
    return (x - x.mean(axes, keepdim=True)).square().sum(axes, keepdim=True)


FORWARD_MISTAKES = (
    *statistics_mistakes(with_knobs, "N", "one row alone"),
    *feature_mistakes(with_knobs),
    lone_mistake(
        with_knobs,
        "A single sample",
        lambda x, gamma, beta, eps=EPS: (x, None) if len(x) == 1 else forward(x, gamma, beta, eps),
    ),
    refused_mistake(with_knobs, "A single sample"),
    *affine_mistakes(with_knobs),
    *calling_mistakes(with_knobs),
    mistake(
        "sum_for_mean",
        """The squared distances are summed and not averaged. Then x_hat has length 1 where it should have
        variance 1, and on ordinary data your values are too small by the factor √N.""",
        *(
            with_knobs(variance=summed_squares, deviation=deviation)
            for deviation in (
                lambda var, eps: (var + eps).sqrt(),
                lambda var, eps: var.sqrt() + eps,
                lambda var, eps: var.sqrt().clamp_min(1e-12),
                lambda var, eps: var.sqrt().clamp_min(eps),
            )
        ),
    ),
    mistake(
        "brackets_missing",
        """Only the mean is divided, not the distance from it: x − mean / std. A division comes before a
        subtraction unless brackets say otherwise, so every feature keeps its old spread.""",
        lambda x, gamma, beta, eps=EPS: (gamma * (x - x.mean(0) / (biased(x) + eps).sqrt()) + beta, None),
        lambda x, gamma, beta, eps=EPS: (gamma * x - x.mean(0) / (biased(x) + eps).sqrt() + beta, None),
    ),
    single_eps_mistake(with_knobs(eps_used=single)),
    single_precision_mistake(
        lambda x, gamma, beta, eps=EPS: (in_single_precision(forward(x, gamma, beta, eps)[0], x), None)
    ),
)


@cache
def forward_pairs() -> tuple[Mistake, ...]:
    by_knobs = *statistics_mistakes(dict, "N", ""), *feature_mistakes(dict), *affine_mistakes(dict)
    return pairs(with_knobs, FORWARD_MISTAKES, by_knobs)


# -- the backward pass -------------------------------------------------------------------------------


def autograd_backward(dy: Tensor, cache: tuple) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients by autograd through `library_forward`."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in cache[:3]]
    y, _ = library_forward(*leaves, cache[3])
    return torch.autograd.grad(y, leaves, dy)


def caching_forward(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = EPS) -> tuple[Tensor, tuple]:
    """`library_forward` that keeps what `autograd_backward` needs."""
    return library_forward(x, gamma, beta, eps)[0], (x, gamma, beta, eps)


def through(forward_pass: Callable, x: Tensor, gamma: Tensor, beta: Tensor, *eps: float) -> Tensor:
    """y of any forward pass, tied to all its inputs, so that one that plays no part has a gradient of 0."""
    return forward_pass(x, gamma, beta, *eps)[0] + 0 * (x + gamma + beta)


def consistent(forward_pass: Callable) -> tuple[Callable, Callable]:
    """A forward pass, and a backward pass that is exactly its derivative, by autograd."""

    def batch_norm_forward(*given: Any) -> tuple[Tensor, tuple]:
        return forward_pass(*given)[0], given

    def batch_norm_backward(dy: Tensor, cache: tuple) -> tuple[Tensor, ...]:
        leaves = [tensor.detach().clone().requires_grad_() for tensor in cache[:3]]
        return torch.autograd.grad(through(forward_pass, *leaves, *cache[3:]), leaves, dy)

    return batch_norm_forward, batch_norm_backward


def in_all(mistakes: tuple[Mistake, ...], make: Callable) -> tuple[Mistake, ...]:
    """The same mistakes, with a candidate that `make` makes of each variant."""
    return tuple(replace(one, variants=tuple(map(make, one.variants))) for one in mistakes)


def input_gradient(
    dy: Tensor,
    cache: tuple,
    *,
    scaled: Callable[[Tensor, Tensor], Tensor] = lambda dy, gamma: dy * gamma,
    through_mean: float = 1.0,
    through_variance: float = 1.0,
    shares: Callable[[int], tuple[float, float]] = lambda n: (1.0, 1.0),
    along: Callable[[Tensor], Any] = lambda x_hat: 1.0,
    count: Callable[[Tensor], float] = lambda dy: dy.shape[0],
    deviation: Callable[[tuple], Tensor] = lambda cache: cache[3],
    slope: Callable[[tuple], Tensor] = lambda cache: cache[1],
    factor: Callable[[Tensor], Any] = lambda dx_hat: 1.0,
    total: Callable[[Tensor], Tensor] = lambda values: values.sum(0),
) -> Tensor:
    """dx, with a knob for each of the three paths by which x reaches y.

    slope: N times the derivative of the divisor for x. shares: of the two paths, by the size of the batch.
    along: what stands beside the mean. total: over what the two sums run.
    """
    _, x_hat, gamma, _, _ = cache
    dx_hat, n = scaled(dy, gamma), count(dy)
    direct = dx_hat
    first, second = shares(len(dy))
    by_mean = first * along(x_hat) * total(dx_hat) / n
    by_variance = second * slope(cache) * total(dx_hat * x_hat) / n
    return (
        factor(dx_hat) * (direct - through_mean * by_mean - through_variance * by_variance) / deviation(cache)
    )


def scale_gradient(dy: Tensor, cache: tuple) -> Tensor:
    return (dy * cache[1]).sum(0)


def shift_gradient(dy: Tensor, cache: tuple) -> Tensor:
    return dy.sum(0)


def backward(
    dy: Tensor,
    cache: tuple,
    *,
    dx: Callable = input_gradient,
    dgamma: Callable = scale_gradient,
    dbeta: Callable = shift_gradient,
) -> tuple[Tensor, Tensor, Tensor]:
    """The definition by the chain rule."""
    return dx(dy, cache), dgamma(dy, cache), dbeta(dy, cache)


def column_deviation(cache: tuple, change: Callable[[Tensor, float], Tensor]) -> Tensor:
    """A divisor computed anew from the batch instead of taken from the forward pass."""
    x, eps = cache[0], cache[4]
    return change(x.var(0, correction=0), eps)


def diagonal(
    dy: Tensor,
    cache: tuple,
    own: Callable[[int, Tensor], Any] = lambda n, x_hat: 1 - 1 / n - x_hat**2 / n,
) -> Tensor:
    """Only the effect of each sample on its own output. own: that of x on its x_hat, in units of 1/std."""
    _, x_hat, gamma, std, _ = cache
    return dy * gamma * own(dy.shape[0], x_hat) / std


def with_gamma(
    dy: Tensor,
    cache: tuple,
    *,
    powers: tuple[int, int, int],
    slope: Callable[[tuple], Tensor] = lambda cache: cache[1],
) -> Tensor:
    """dx with gamma to these powers in its terms: direct, through the mean, through the variance."""
    _, x_hat, gamma, std, _ = cache
    direct, by_mean, by_variance = (gamma**power * dy for power in powers)
    return (direct - by_mean.mean(0) - slope(cache) * (by_variance * x_hat).mean(0)) / std


def corrected(n: int) -> float:
    """The factor from dividing by N to dividing by N − 1; NaN for one sample, which stops nobody's code."""
    return n / (n - 1) if n > 1 else math.nan


def sums_over_all(
    dy: Tensor,
    cache: tuple,
    *,
    by_mean: bool = False,
    by_variance: bool = False,
    staged: bool = False,
    count: Callable[[Tensor], int] = len,
) -> Tensor:
    """dx, with one number for all features in place of these sums. count: by what that is divided.

    staged: as where the gradients for the mean and the variance are worked out first, so that the powers of
    the standard deviation stand inside of the sums.
    """
    _, x_hat, gamma, std, _ = cache
    dx_hat = dy * gamma

    def mean(values: Tensor, over_all: bool, power: int) -> Tensor:
        weight = std**power if staged else torch.ones_like(std)
        return weight * (values / weight).sum() / count(dy) if over_all else values.mean(0)

    return (dx_hat - mean(dx_hat, by_mean, 1) - x_hat * mean(dx_hat * x_hat, by_variance, 2)) / std


def with_eps(cache: tuple, eps: float) -> tuple:
    """The cache made anew, with another eps."""
    x, _, gamma, _, _ = cache
    x_hat, std = normalize(x, 0, eps)
    return x, x_hat, gamma, std, eps


def without_eps_below(cache: tuple, power: int) -> Tensor:
    """The slope where eps is left out of so many of the standard deviations in the path through it."""
    return cache[1] * (cache[3] / with_eps(cache, 0.0)[3]) ** power


def anew(eps_used: Callable[[float], float]) -> dict[str, Callable]:
    """Knobs of `backward`, which makes x_hat and the divisor anew with an eps of its own."""
    return {
        "dx": lambda dy, cache: input_gradient(dy, with_eps(cache, eps_used(cache[4]))),
        "dgamma": lambda dy, cache: scale_gradient(dy, with_eps(cache, eps_used(cache[4]))),
    }


#: What goes wrong in the gradients: key, message, and the knobs of `backward`.
GRADIENT_MISTAKES: tuple[tuple[str, str, tuple[dict[str, Callable], ...]], ...] = (
    (
        "statistics_constant",
        """The mean and the variance are treated as constants, so only the direct path from x to y is
        left. Both depend on every sample of the batch. The gradient of batch norm sums to 0 over the
        batch, because adding a constant to a feature changes nothing; the columns of your dx do not.""",
        ({"dx": partial(input_gradient, through_mean=0.0, through_variance=0.0)},),
    ),
    (
        "variance_path_missing",
        """The path through the variance is missing. The columns of dx should not only sum to 0, but also be
        at right angles to x_hat (up to eps), because stretching a feature changes nothing either. How does x
        reach y by way of the variance?""",
        ({"dx": partial(input_gradient, through_variance=0.0)},),
    ),
    (
        "mean_path_missing",
        """The path through the mean is missing, so the columns of your dx do not sum to 0. Every sample
        moves the mean, and the mean moves every output.""",
        ({"dx": partial(input_gradient, through_mean=0.0)},),
    ),
    (
        "variance_path_doubled",
        """The path through the variance counts twice, or half: the derivative of the square brings a 2,
        that of the root a 1/2. One of the two is lost.""",
        (
            {"dx": partial(input_gradient, through_variance=2.0)},
            {"dx": partial(input_gradient, through_variance=0.5)},
        ),
    ),
    (
        "variance_path_scaled",
        """The path through the variance is off by a power of σ, the standard deviation. Either x_hat stands
        in it where x − mean belongs, or the other way round; or the power of var + eps is another than −3/2.
        Where σ is 1 nobody sees it.""",
        tuple(
            {"dx": partial(input_gradient, slope=lambda cache, power=power: cache[1] * cache[3] ** power)}
            for power in (1, -1, 1.5, 2, -2, -3, 4, 6)  # 1.5: the power −3/2 taken of σ, not of σ²
        ),
    ),
    (
        "variance_path_sign",
        """The path through the variance enters with the wrong sign. A larger variance makes x_hat smaller, so
        what comes back through it is taken out of dx.""",
        ({"dx": partial(input_gradient, through_variance=-1.0)},),
    ),
    (
        "mean_path_sign",
        """The path through the mean enters with the wrong sign, so the columns of your dx do not sum to 0.
        The mean was subtracted on the way to y, and so is the mean of what comes back.""",
        ({"dx": partial(input_gradient, through_mean=-1.0)},),
    ),
    (
        "mean_path_doubled",
        """The path through the mean counts twice, so the columns of your dx do not sum to 0. What reaches the
        mean is collected from all samples once, and each x gets 1/N of it.""",
        ({"dx": partial(input_gradient, through_mean=2.0)},),
    ),
    (
        "sums_and_means_mixed",
        """Sums and means are mixed in dx: one term counts N times as much as the others. Either all terms are
        per sample, dx_hat and the two means, or all are N times that, and one division by N follows.""",
        tuple({"dx": partial(input_gradient, shares=shares)} for shares in MIXED_SHARES),
    ),
    (
        "x_hat_in_the_wrong_term",
        """x_hat stands in the wrong term of dx, or in none. What goes through the mean is the same for every
        sample. What goes through the variance grows with a sample's distance from the mean: there x_hat
        stands, beside the mean of dx_hat · x_hat.""",
        (
            {"dx": partial(input_gradient, slope=lambda cache: torch.ones_like(cache[1]))},
            {"dx": partial(input_gradient, along=lambda x_hat: x_hat)},
            {
                "dx": partial(
                    input_gradient,
                    slope=lambda cache: torch.ones_like(cache[1]),
                    along=lambda x_hat: x_hat,
                )
            },
        ),
    ),
    (
        "gamma_missing_in_dx",
        """dx is right only where gamma is 1. On the way from y back to x_hat the gradient is multiplied by
        gamma, so each term of dx holds it, and once. (dgamma and dbeta are sums of dy, without it.)""",
        (
            {"dx": partial(input_gradient, scaled=lambda dy, gamma: dy)},
            *(
                {"dx": partial(with_gamma, powers=powers)}
                for powers in ((1, 1, 0), (1, 0, 1), (1, 0, 0), (0, 1, 1), (2, 2, 1), (2, 1, 1))
            ),
        ),
    ),
    (
        "gamma_summed_over_features",
        """dy is multiplied by gamma as by a matrix, which adds up the features of a sample. gamma scales
        every feature by itself, so dy is multiplied entry by entry.""",
        ({"dx": partial(input_gradient, scaled=lambda dy, gamma: (dy * gamma).sum(1, keepdim=True))},),
    ),
    (
        "gamma_twice_in_dx",
        "gamma is multiplied into dx twice. It enters once, on the way from y back to x_hat.",
        ({"dx": partial(input_gradient, scaled=lambda dy, gamma: dy * gamma * gamma)},),
    ),
    (
        "wrong_count",
        """A sum in dx is divided by the wrong number, or runs over other axes. How many values share one
        mean? It is N, those of a feature in the batch, axis 0: not the number of features, not N − 1, and
        not the size of the array.""",
        (
            {"dx": partial(input_gradient, count=lambda dy: dy.shape[1])},
            {"dx": partial(input_gradient, count=lambda dy: dy.shape[0] - 1)},
            {"dx": partial(input_gradient, count=lambda dy: dy.numel())},
            {"dx": partial(input_gradient, count=lambda dy: 1)},
            *(
                {"dx": partial(input_gradient, total=lambda values: values.sum(1, keepdim=True), count=count)}
                for count in (lambda dy: dy.shape[1], lambda dy: dy.shape[0])
            ),
            *(
                {"dx": partial(input_gradient, total=lambda values: values.sum(), count=count)}
                for count in (lambda dy: dy.numel(), lambda dy: dy.shape[0])
            ),
            {"dx": partial(input_gradient, shares=lambda n: (1.0, corrected(n)))},
            {"dx": partial(input_gradient, shares=lambda n: (corrected(n), 1.0))},
            {"dx": partial(sums_over_all, by_variance=True)},
            {"dx": partial(sums_over_all, by_mean=True)},
            {"dx": partial(sums_over_all, by_variance=True, count=torch.numel)},
            {"dx": partial(sums_over_all, by_mean=True, count=torch.numel)},
            {"dx": partial(sums_over_all, by_variance=True, staged=True)},
            {"dx": partial(sums_over_all, by_mean=True, staged=True)},
            {"dx": partial(sums_over_all, by_mean=True, by_variance=True, staged=True)},
        ),
    ),
    (
        "eps_missing_in_backward",
        """eps is missing in the backward pass. Batch norm divides by the root of (var + eps), and so does its
        backward pass; without eps that shows where the variance is small. A divisor that is kept in the cache
        serves both.""",
        (
            {
                "dx": partial(
                    input_gradient,
                    deviation=lambda cache: column_deviation(cache, lambda var, eps: var.sqrt()),
                )
            },
            anew(lambda eps: 0.0),
            *(
                {"dx": partial(input_gradient, slope=partial(without_eps_below, power=power))}
                for power in (1, 3)
            ),
        ),
    ),
    (
        "eps_fixed_in_backward",
        """The backward pass does not follow the eps that the forward pass was given: it has a number of its
        own in its place. It goes back through the same divisor, so it takes the same eps. A divisor that is
        kept in the cache serves both.""",
        tuple(
            knobs
            for value in (1e-5, 1e-8, 1e-7, 1e-6, 1e-3, 1e-12)
            for knobs in (
                anew(lambda eps, value=value: value),
                {
                    "dx": partial(
                        input_gradient, deviation=lambda cache, value=value: with_eps(cache, value)[3]
                    )
                },
            )
        ),
    ),
    (
        "eps_outside_root_in_backward",
        """The divisor of the backward pass is std + eps. Batch norm divides by the root of (var + eps), and
        so does its backward pass; the two differ where the variance is near eps. A divisor that is kept in
        the cache serves both.""",
        (
            {
                "dx": partial(
                    input_gradient,
                    deviation=lambda cache: column_deviation(cache, lambda var, eps: var.sqrt() + eps),
                )
            },
        ),
    ),
    (
        "variance_for_deviation_in_backward",
        """dx is divided by the variance where it should be divided by the standard deviation, the root of
        (var + eps). x_hat was divided by that once, and so is the gradient on its way back.""",
        ({"dx": partial(input_gradient, deviation=lambda cache: cache[3] ** 2)},),
    ),
    (
        "division_forgotten_in_backward",
        """dx is not divided by the standard deviation, or is multiplied by it. In x_hat, x is divided by it,
        and so is the derivative.""",
        (
            {"dx": partial(input_gradient, deviation=lambda cache: torch.ones_like(cache[3]))},
            {"dx": partial(input_gradient, deviation=lambda cache: 1 / cache[3])},
        ),
    ),
    (
        "only_own_output",
        """Your dx holds only the effect of each sample on its own output. Every x moves the mean and the
        variance, and with them the outputs of the whole batch: sum over all of them.""",
        (
            {"dx": diagonal},
            *(
                {"dx": partial(diagonal, own=own)}
                for own in (
                    lambda n, x_hat: 1 - 1 / n,
                    lambda n, x_hat: 1 - x_hat**2 / n,
                    lambda n, x_hat: (1 - 1 / n) * (1 - x_hat**2 / n),
                    lambda n, x_hat: (1 - 1 / n) * (1 - x_hat**2),
                    lambda n, x_hat: 1 - 1 / n - x_hat**2,
                    lambda n, x_hat: 1 - x_hat**2,
                )
            ),
        ),
    ),
    (
        "extra_factor_in_dx",
        """The bracket is multiplied by dx_hat once more. It stands inside already; what is left outside
        is 1 over the standard deviation.""",
        ({"dx": partial(input_gradient, factor=lambda dx_hat: dx_hat)},),
    ),
    (
        "batch_average_in_dx",
        """dx is off by the factor N. Outside the bracket is one division by N too many, or it is missing
        where the bracket holds N times dx_hat and two sums.""",
        (
            {"dx": partial(input_gradient, factor=lambda dx_hat: 1 / dx_hat.shape[0])},
            {"dx": partial(input_gradient, factor=lambda dx_hat: dx_hat.shape[0])},
        ),
    ),
    (
        "x_for_x_hat",
        """dx and dgamma are computed with x, or with x − mean, where x_hat belongs. Is the cache taken apart
        in another order than it was put together? Both gradients need the normalized values.""",
        tuple(
            {
                "dx": lambda dy, cache, taken=taken: input_gradient(dy, (cache[0], taken(cache), *cache[2:])),
                "dgamma": lambda dy, cache, taken=taken: (dy * taken(cache)).sum(0),
            }
            for taken in (lambda cache: cache[0], lambda cache: cache[0] - cache[0].mean(0))
        ),
    ),
    (
        "dgamma_from_x",
        """dgamma is summed with x, or with x − mean, where x_hat belongs. What gamma multiplies is x_hat, so
        its gradient collects dy times that.""",
        (
            {"dgamma": lambda dy, cache: (dy * cache[0]).sum(0)},
            {"dgamma": lambda dy, cache: (dy * (cache[0] - cache[0].mean(0))).sum(0)},
        ),
    ),
    (
        "dgamma_with_gamma",
        """dgamma or dbeta is multiplied by gamma. y = gamma · x_hat + beta, so the derivative for gamma is
        x_hat alone, and that for beta is 1.""",
        (
            {"dgamma": lambda dy, cache: (dy * cache[1] * cache[2]).sum(0)},
            {"dbeta": lambda dy, cache: (dy * cache[2]).sum(0)},
            {
                "dgamma": lambda dy, cache: (dy * cache[1] * cache[2]).sum(0),
                "dbeta": lambda dy, cache: (dy * cache[2]).sum(0),
            },
        ),
    ),
    (
        "averaged_over_batch",
        """dgamma or dbeta is averaged over the batch and so too small by the factor N. One gamma acts on
        all N rows, and its gradient is the sum of what they ask for.""",
        (
            {
                "dgamma": lambda dy, cache: (dy * cache[1]).mean(0),
                "dbeta": lambda dy, cache: dy.mean(0),
            },
        ),
    ),
    (
        "not_summed_over_batch",
        """dgamma or dbeta still has N rows. gamma and beta have D entries each, and each collects from
        all N rows: sum over axis 0.""",
        ({"dgamma": lambda dy, cache: dy * cache[1], "dbeta": lambda dy, cache: dy},),
    ),
    (
        "summed_over_features",
        """dgamma or dbeta is summed over the features. Each feature has its own gamma and beta, which
        collect over the batch: axis 0.""",
        (
            {
                "dgamma": lambda dy, cache: (dy * cache[1]).sum(1),
                "dbeta": lambda dy, cache: dy.sum(1),
            },
            {
                "dgamma": lambda dy, cache: (dy * cache[1]).sum(),
                "dbeta": lambda dy, cache: dy.sum(),
            },
        ),
    ),
)


def into_two(values: tuple) -> None:
    _, _ = values


def into_three(values: tuple) -> None:
    _, _, _ = values


def into_four(values: tuple) -> None:
    _, _, _, _ = values


def into_five(values: tuple) -> None:
    _, _, _, _, _ = values


#: Ways to take a tuple apart that stop, each with a number of values at which it does.
MISMATCHES = (
    *((into_two, 3), (into_three, 4), (into_four, 5), (into_five, 6)),
    *((into_three, 2), (into_four, 3), (into_five, 4), (into_five, 3)),
)


def with_other_layout(take_apart: Callable[[tuple], None], held: int) -> tuple[Callable, Callable]:
    """A forward pass that caches `held` values, and a backward pass that expects another number."""

    def batch_norm_backward(dy: Tensor, cache: tuple) -> None:
        take_apart((None,) * held)

    return forward, batch_norm_backward


def swapped(dy: Tensor, cache: tuple) -> tuple[Tensor, Tensor, Tensor]:
    dx, dgamma, dbeta = backward(dy, cache)
    return dx, dbeta, dgamma


def overwritten(change: Callable[[Tensor, Tensor], Tensor]) -> Callable:
    """A forward pass with the right y. x_hat was changed in place into y, or on the way to it, in its cache.

    change: what is in its place, of y and of gamma times x_hat.
    """

    def batch_norm_forward(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = EPS) -> tuple[Tensor, tuple]:
        y, (_, x_hat, _, std, _) = forward(x, gamma, beta, eps)
        return y, (x, change(y, gamma * x_hat), gamma, std, eps)

    return batch_norm_forward


OVERWRITTEN = overwritten(lambda y, scaled: y), overwritten(lambda y, scaled: scaled)
Y_FOR_X_HAT = """The gradients are made with y, or with gamma · x_hat, where x_hat belongs. Does forward keep
    x_hat and then change it in place? What is kept is the same tensor by whatever name, and changes too. dx
    and dgamma need the values before gamma and beta."""


def with_dgamma_from_y() -> tuple[Callable, Callable]:
    """Two passes that keep y beside the rest, for dgamma alone."""

    def batch_norm_forward(*given: Any) -> tuple[Tensor, tuple]:
        y, kept = forward(*given)
        return y, (kept, y)

    def batch_norm_backward(dy: Tensor, cache: tuple) -> tuple[Tensor, Tensor, Tensor]:
        return backward(dy, cache[0], dgamma=lambda dy, _: (dy * cache[1]).sum(0))

    return batch_norm_forward, batch_norm_backward


class Latest:
    """Two passes that keep what they share in one place for all calls, and not in the cache."""

    def __init__(self) -> None:
        self.kept: tuple = ()

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor, eps: float = EPS) -> tuple[Tensor, tuple]:
        y, self.kept = forward(x, gamma, beta, eps)
        return y, self.kept

    def backward(self, dy: Tensor, cache: tuple) -> tuple[Tensor, Tensor, Tensor]:
        return backward(dy, self.kept)


def of_the_latest_batch() -> tuple[Callable, Callable]:
    passes = Latest()
    return passes.forward, passes.backward


#: Mistakes in a forward pass by which its mean or its divisor has another derivative.
OF_ANOTHER_DERIVATIVE = (
    *("unbiased_variance", "eps_outside_root", "unbiased_and_eps_outside"),
    *("eps_on_deviation", "length_over_count", "divided_by_variance", "not_centred", "variance_about_zero"),
    *("one_statistic_for_all", "rows_normalized", "mean_of_all", "variance_of_all", "eps_twice"),
)


def other_forwards() -> Iterator[Callable]:
    """The forward passes that `OF_ANOTHER_DERIVATIVE` names."""
    for one in FORWARD_MISTAKES:
        if one.key in OF_ANOTHER_DERIVATIVE:
            yield from one.variants


NOT_TOGETHER = """The two passes do not belong together: one makes its mean or its divisor in another way
    than the other, and that has another derivative. Is y right? Then mend the backward pass. If not, mend
    the forward pass, and dx is right as well."""

BACKWARD_MISTAKES = (
    *(
        mistake(key, message, *((forward, partial(backward, **knobs)) for knobs in variants))
        for key, message, variants in GRADIENT_MISTAKES
    ),
    mistake(
        "backward_of_the_right_forward",
        NOT_TOGETHER,
        *((variant, backward) for variant in other_forwards()),
    ),
    mistake("y_for_x_hat", Y_FOR_X_HAT, *((one, backward) for one in OVERWRITTEN), with_dgamma_from_y()),
    mistake(
        "dgamma_and_dbeta_swapped",
        """dgamma is the sum of dy, and that is dbeta. gamma is multiplied by x_hat, so its gradient collects
        dy times x_hat. Or are the two only swapped? The order is dx, dgamma, dbeta.""",
        (forward, swapped),
    ),
    mistake(
        "cache_layout",
        """backward unpacks the cache into another number of values than forward has put in, so it stops at
        once. The two functions have to agree on what the cache holds, and in which order.""",
        *(with_other_layout(*one) for one in MISMATCHES),
    ),
    mistake(
        "kept_between_calls",
        """backward goes back through the batch that went forward last, whatever cache it is given. It looks
        for its values in one place for all calls, a global or an attribute of the function, where a second
        batch overwrites the first. The cache carries them, for each batch its own.""",
        of_the_latest_batch(),
    ),
)


# -- the numerical gradient --------------------------------------------------------------------------


def central_differences(f: Callable, x: Tensor, dy: Tensor, h: float = 1e-6) -> Tensor:
    """One element of x at a time, forwards and backwards, all in float64."""
    return differences(f, x, dy, h)


def differences(
    f: Callable,
    x: Tensor,
    dy: Tensor,
    h: float = 1e-6,
    *,
    forth: float = 1.0,
    back: float = 1.0,
    divisor: float = 2.0,
    weighted: Callable[[Tensor, Tensor], Tensor] = lambda y, dy: (y * dy).sum(),
    dtype: torch.dtype | None = torch.float64,
    result: Callable[[Tensor, Tensor], Tensor] = lambda gradient, x: gradient.to(x.dtype),
    step: Callable[[Tensor], Tensor] = lambda unit: unit,
    restored: bool = True,
) -> Tensor:
    """The definition, with a knob for each choice."""
    wide = x.to(dtype or x.dtype)
    weights = dy.to(wide.dtype)
    entries = []
    for position in range(x.numel()):
        unit = torch.zeros(x.numel(), dtype=wide.dtype, device=x.device)
        unit[position] = h
        unit = step(unit.reshape(x.shape))
        ahead = weighted(f(wide + forth * unit), weights)
        behind = weighted(f(wide - back * unit), weights)
        entries.append((ahead - behind) / (divisor * h))
        if not restored:
            wide = wide - unit
    return result(torch.stack(entries).reshape(x.shape), x)


def fixed_step(value: float) -> Callable:
    """The definition with h written into the code."""

    def ignoring(f: Callable, x: Tensor, dy: Tensor, h: float = 1e-6) -> Tensor:
        return differences(f, x, dy, value)

    return ignoring


def fixed_step_summed_last(value: float) -> Callable:
    """The same with one sum, over the differences: a small step makes much of how sums are rounded."""

    def ignoring(f: Callable, x: Tensor, dy: Tensor, h: float = 1e-6) -> Tensor:
        wide, weights, entries = x.double(), dy.double(), []
        for position in range(x.numel()):
            unit = torch.zeros(x.numel(), dtype=wide.dtype, device=x.device)
            unit[position] = value
            unit = unit.reshape(x.shape)
            entries.append(((f(wide + unit) - f(wide - unit)) * weights).sum() / (2 * value))
        return torch.stack(entries).reshape(x.shape).to(x.dtype)

    return ignoring


def elementwise_only(f: Callable, x: Tensor, dy: Tensor, h: float = 1e-6) -> Tensor:
    """All elements moved at once, which is right only if each output depends on one input."""
    wide, weights = x.double(), dy.double()
    return ((f(wide + h) - f(wide - h)) * weights / (2 * h)).to(x.dtype)


def read_too_late(f: Callable, x: Tensor, dy: Tensor, h: float = 1e-6) -> Tensor:
    """One tensor that is changed in place, and results that are read when it has been changed again."""
    wide, weights = x.double().clone(memory_format=torch.contiguous_format), dy.double()
    flat, entries = wide.view(-1), []
    for position in range(x.numel()):
        flat[position] += h
        ahead = f(wide)
        flat[position] -= 2 * h
        entries.append(((ahead - f(wide)) * weights).sum() / (2 * h))
        flat[position] += h
    return torch.stack(entries).reshape(x.shape).to(x.dtype)


NUMERICAL_MISTAKES = (
    mistake(
        "one_sided",
        """The difference is one-sided: (f(x + h) − f(x)) / h is off by a term in h. Stepping to both
        sides and dividing by 2h leaves only h², which is what makes central differences trustworthy.""",
        partial(differences, back=0.0, divisor=1.0),
        partial(differences, forth=0.0, divisor=1.0),
    ),
    mistake(
        "factor_two",
        "Every entry is off by the factor 2. From x − h to x + h the distance is 2h: divide by that.",
        partial(differences, divisor=1.0),
        partial(differences, divisor=4.0),
    ),
    mistake(
        "half_a_difference",
        """The entries come out about half as large: the step goes to one side only, and the difference is
        divided by 2h. Is the second step meant to go back by 2h? A single entry taken out of a tensor is a
        view of it. It changes when the tensor does, and then it's no longer the old value.""",
        partial(differences, back=0.0, divisor=2.0),
        partial(differences, forth=0.0, divisor=2.0),
    ),
    mistake(
        "dy_ignored",
        """dy is not used: this is the gradient of sum(f(x)). We want that of sum(f(x) · dy), where dy is the
        gradient that reaches f from above.""",
        partial(differences, weighted=lambda y, dy: y.sum()),
    ),
    mistake(
        "mean_for_sum",
        """This is the gradient of a mean, but we want that of the sum of f(x) · dy. All entries are too small
        by one factor, the number of entries of f(x).""",
        partial(differences, weighted=lambda y, dy: (y * dy).mean()),
    ),
    mistake(
        "all_at_once",
        """All elements of x are moved at once. That gives the derivative only if every output depends on its
        own input alone. But f may mix them, as batch norm does. Move one element at a time.""",
        elementwise_only,
        partial(differences, step=lambda unit: torch.full_like(unit, float(unit.sum()))),
    ),
    mistake(
        "single_precision",
        """f is called in the dtype of x. In float32 with h = 1e-6, the difference of two nearly equal sums is
        nothing but rounding. Work in float64 and convert the result at the end.""",
        partial(differences, dtype=None),
        rounding=True,
    ),
    mistake(
        "step_fixed",
        "The result doesn't change when h does: there is a fixed step in place of the argument h.",
        *(fixed_step(value) for value in (1e-6, 1e-5, 1e-4, 1e-3)),
        *(fixed_step_summed_last(value) for value in (1e-6, 1e-5, 1e-4, 1e-3)),
    ),
    mistake(
        "not_restored",
        """An element is moved but not put back before the next one is moved. The later entries are then
        gradients at another point.""",
        partial(differences, restored=False),
    ),
    mistake(
        "result_shares_memory",
        """The result of f is read after x has been changed again. f may return x itself or a view of it. Then
        the first result changes too, and the difference is 0. Give f a tensor of its own for each call, or
        take the sum at once.""",
        read_too_late,
    ),
    mistake(
        "gradient_sign",
        "The sign is wrong: subtract the value at x − h from the one at x + h.",
        partial(differences, divisor=-2.0),
    ),
)


# -- the parameters that undo it ---------------------------------------------------------------------


def identity(
    x: Tensor,
    eps: float = EPS,
    *,
    gamma: Callable[[Tensor, float], Tensor] = lambda x, eps: (x.var(0, correction=0) + eps).sqrt(),
    beta: Callable[[Tensor, float], Tensor] = lambda x, eps: x.mean(0),
) -> tuple[Tensor, Tensor]:
    """The definition: the scale and the shift that normalization takes away."""
    return gamma(x, eps), beta(x, eps)


def written_out_identity(x: Tensor, eps: float = EPS) -> tuple[Tensor, Tensor]:
    """The same with the variance spelled out."""
    mean = x.mean(0)
    return (((x - mean) ** 2).mean(0) + eps).sqrt(), mean


def identity_with_default(value: float, **knobs: Callable) -> Callable:
    def with_default(x: Tensor, eps: float = value) -> tuple[Tensor, Tensor]:
        return identity(x, eps, **knobs)

    return with_default


def biased(x: Tensor) -> Tensor:
    return x.var(0, correction=0)


IDENTITY_MISTAKES = (
    mistake(
        "eps_missing",
        """gamma is the plain standard deviation. Batch norm divides by the root of (var + eps), so that
        is what gamma must give back; the difference shows where the variance is near eps.""",
        partial(identity, gamma=lambda x, eps: biased(x).sqrt()),
    ),
    mistake(
        "eps_subtracted",
        """eps is subtracted from the variance. Batch norm adds it, and gamma has to give back what was
        divided out; yours is NaN where the variance is smaller than eps.""",
        partial(identity, gamma=lambda x, eps: (biased(x) - eps).sqrt()),
    ),
    mistake(
        "eps_outside_root",
        "gamma is std + eps; batch norm divides by the root of (var + eps), with eps inside.",
        partial(identity, gamma=lambda x, eps: biased(x).sqrt() + eps),
    ),
    mistake(
        "eps_fixed",
        "gamma does not change when eps changes: use the argument.",
        *(
            partial(identity, gamma=lambda x, eps, value=value: (biased(x) + value).sqrt())
            for value in EPS_OF_OTHERS
        ),
    ),
    mistake(
        "eps_default",
        "Where eps is left out, another number stands in for it: the default is 1e-5.",
        *(identity_with_default(value) for value in EPS_OF_OTHERS if value != EPS),
    ),
    mistake(
        "unbiased_variance",
        """gamma is taken from the variance that divides by N − 1. Batch norm normalizes with the biased
        one, divided by N, and gamma has to undo exactly that.""",
        partial(identity, gamma=lambda x, eps: (x.var(0) + eps).sqrt()),
    ),
    mistake(
        "unbiased_and_eps_outside",
        """gamma is torch.std plus eps, and that is wrong twice. torch.std divides by N − 1 unless told
        otherwise, but batch norm divides by N. And eps belongs under the root, added to the variance.""",
        partial(identity, gamma=lambda x, eps: x.std(0) + eps),
    ),
    mistake(
        "one_statistic_for_all",
        """gamma or beta is taken from the whole array. Batch norm has a mean and a variance for each
        feature, over axis 0, so there are D gammas and D betas to undo them.""",
        *(
            partial(
                identity,
                gamma=lambda x, eps, shape=shape: (x.var(correction=0) + eps).sqrt().expand(shape(x)),
                beta=lambda x, eps, shape=shape: x.mean().expand(shape(x)),
            )
            for shape in (lambda x: x.shape[1:], lambda x: ())
        ),
    ),
    mistake(
        "statistics_of_rows",
        """gamma and beta are taken from the rows, so there are N of each. Batch norm has one mean and one
        variance for every feature: average over the batch, axis 0, and there are D.""",
        partial(
            identity,
            gamma=lambda x, eps: (x.var(1, correction=0) + eps).sqrt(),
            beta=lambda x, eps: x.mean(1),
        ),
    ),
    mistake(
        "variance_for_deviation",
        "gamma is the variance. Batch norm divides by its root, so a gamma that gives x back is that root.",
        partial(identity, gamma=lambda x, eps: biased(x) + eps),
        partial(identity, gamma=lambda x, eps: biased(x)),
    ),
    mistake(
        "inverse_scale",
        """gamma is 1 over the standard deviation: that would divide a second time. It should bring back
        the scale that was divided out.""",
        partial(identity, gamma=lambda x, eps: 1 / (biased(x) + eps).sqrt()),
    ),
    mistake(
        "swapped",
        "gamma and beta are swapped: the scale comes first, the shift second.",
        lambda x, eps=EPS: identity(x, eps)[::-1],
    ),
    mistake(
        "negative_shift",
        """beta has a minus sign. Normalizing has subtracted the mean already; beta adds it again, in the
        units of x.""",
        partial(identity, beta=lambda x, eps: -x.mean(0)),
        partial(identity, beta=lambda x, eps: -x.mean(0) / (biased(x) + eps).sqrt()),
    ),
    mistake(
        "shift_in_units_of_scale",
        """beta is measured in standard deviations (mean / std). It is added after gamma has scaled, so
        it is in the units of x: the mean itself.""",
        partial(identity, beta=lambda x, eps: x.mean(0) / (biased(x) + eps).sqrt()),
    ),
    mistake(
        "fresh_layer",
        """gamma is 1 or beta is 0, as in a fresh layer. A gamma of 1 does not give the old spread back, and a
        beta of 0 not the mean; a fresh layer returns x_hat.""",
        partial(
            identity,
            gamma=lambda x, eps: torch.ones_like(x[0]),
            beta=lambda x, eps: torch.zeros_like(x[0]),
        ),
    ),
    mistake(
        "eps_as_floor",
        """eps is only a lower limit here. Batch norm adds it to every variance, large or small, and gamma has
        to give back the root of that sum.""",
        partial(identity, gamma=lambda x, eps: biased(x).clamp_min(eps).sqrt()),
        partial(identity, gamma=lambda x, eps: biased(x).sqrt().clamp_min(eps)),
    ),
    mistake(
        "variance_about_zero",
        """gamma is taken from the mean of x². Batch norm divides by the spread about the mean, and beta
        brings the mean back; the two agree only for values that are centred already.""",
        partial(identity, gamma=lambda x, eps: (x.square().mean(0) + eps).sqrt()),
    ),
    mistake(
        "variance_by_cancellation",
        """The variance is computed as E[x²] − E[x]². On paper that is the same. At an offset of 10,000 both
        terms are near 10⁸ and float32 keeps seven digits, so their difference is noise. Centre first, then
        square.""",
        partial(identity, gamma=lambda x, eps: (difference_of_squares(x, 0)[0] + eps).sqrt()),
        partial(identity, gamma=lambda x, eps: (difference_of_squares(x, 0)[0].clamp_min(0) + eps).sqrt()),
        rounding=True,
    ),
    single_eps_mistake(partial(identity, gamma=lambda x, eps: (biased(x) + single(eps)).sqrt())),
    single_precision_mistake(lambda x, eps=EPS: in_single_precision(identity(x, eps), x)),
)


@cache
def identity_pairs() -> tuple[Mistake, ...]:
    """torch.std and torch.var as they come, and another eps than the one that is given."""
    named = {one.key: one for one in IDENTITY_MISTAKES}
    other_gammas = {
        "eps_outside_root": lambda x, eps: biased(x).sqrt() + eps,
        "unbiased_variance": lambda x, eps: (x.var(0) + eps).sqrt(),
        "unbiased_and_eps_outside": lambda x, eps: x.std(0) + eps,
    }

    def unbiased_and(key: str, *gammas: Callable) -> Mistake:
        variants = (partial(identity, gamma=gamma) for gamma in gammas)
        return both(named[key], named["unbiased_variance"], *variants)

    return (
        unbiased_and("eps_missing", lambda x, eps: x.std(0)),
        unbiased_and("variance_for_deviation", lambda x, eps: x.var(0) + eps, lambda x, eps: x.var(0)),
        unbiased_and(
            "inverse_scale",
            lambda x, eps: 1 / (x.var(0) + eps).sqrt(),
            lambda x, eps: 1 / (x.std(0) + eps),
        ),
        both(
            named["swapped"],
            named["unbiased_variance"],
            lambda x, eps=EPS: (x.mean(0), (x.var(0) + eps).sqrt()),
        ),
        *(
            both(
                named[key],
                named["eps_default"],
                *(identity_with_default(value, gamma=gamma) for value in EPS_OF_OTHERS if value != EPS),
            )
            for key, gamma in other_gammas.items()
        ),
        *(
            both(
                named[key],
                named["eps_fixed"],
                *(
                    partial(identity, gamma=lambda x, eps, gamma=gamma, value=value: gamma(x, value))
                    for value in EPS_OF_OTHERS
                ),
            )
            for key, gamma in other_gammas.items()
        ),
    )


# -- the autograd function ---------------------------------------------------------------------------


class LibraryFunction:
    """`library_forward` in the place of an autograd function: its gradients are autograd's."""

    @staticmethod
    def apply(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
        return library_forward(x, gamma, beta, eps)[0] + 0 * x


def function_class(
    forward_pass: Callable = forward,
    slots: int = 1,
    order: tuple[int, ...] = (0, 1, 2),
    taken_apart: Callable[[], Any] = lambda: None,
    saved: Callable[..., tuple] = lambda x, x_hat, gamma, std, eps: (x, x_hat, gamma, std),
    **knobs: Callable,
) -> type[torch.autograd.Function]:
    """A `torch.autograd.Function` made of the definition's two passes.

    slots: how many None stand behind the gradients, one for eps if right. taken_apart: done first in
    backward. saved: what goes into save_for_backward.
    """

    class BatchNormFunction(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
            y, (x, x_hat, gamma, std, ctx.eps) = forward_pass(x, gamma, beta, eps)
            ctx.save_for_backward(*saved(x, x_hat, gamma, std, eps))
            return y

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> tuple:
            taken_apart()
            gradients = backward(dy, (*ctx.saved_tensors, ctx.eps), **knobs)
            return (*(gradients[i] for i in order), *(None,) * slots)

    return BatchNormFunction


def consistent_function(forward_pass: Callable) -> type:
    """Any forward pass in the place of an autograd function: its gradients are autograd's."""

    class BatchNormFunction:
        apply = staticmethod(partial(through, forward_pass))

    return BatchNormFunction


#: A default of eps is none of the function's.
MISTAKES_IN_Y = in_all(
    tuple(one for one in FORWARD_MISTAKES if one.key != "eps_default"), consistent_function
)


def kept_by_the_class() -> type[torch.autograd.Function]:
    """An autograd function that keeps what backward needs as an attribute of its own, and not of ctx."""

    class BatchNormFunction(torch.autograd.Function):
        kept: tuple = ()

        @staticmethod
        def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
            y, BatchNormFunction.kept = forward(x, gamma, beta, eps)
            return y

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> tuple:
            return *backward(dy, BatchNormFunction.kept), None

    return BatchNormFunction


def with_cache_of(forward_pass: Callable) -> Callable:
    """A forward pass with the right y, and with the cache of another."""
    return lambda *given: (forward(*given)[0], forward_pass(*given)[1])


def with_y_of(forward_pass: Callable) -> Callable:
    """A forward pass with the y of another, and with the right cache."""
    return lambda *given: (forward_pass(*given)[0], forward(*given)[1])


FUNCTION_MISTAKES = (
    *(
        mistake(key, message, *(function_class(**knobs) for knobs in variants))
        for key, message, variants in GRADIENT_MISTAKES
        if key != "not_summed_over_batch"  # autograd sums a broadcast argument's gradient itself
    ),
    mistake(
        "dgamma_and_dbeta_swapped",
        """dgamma is the sum of dy, and that is dbeta. gamma is multiplied by x_hat, so its gradient collects
        dy times x_hat. Or are the two only swapped? backward returns gradients in the order of forward's
        arguments.""",
        function_class(order=(0, 2, 1)),
    ),
    mistake(
        "gradient_slot_missing",
        """backward returns one value for every argument of forward, eps included. eps has no gradient,
        so its place holds None; without it autograd stops.""",
        function_class(slots=0),
    ),
    mistake(
        "values_unpacked",
        """forward is right, but backward stops. It unpacks a tuple into more or fewer values than it holds.
        ctx.saved_tensors holds what forward has saved, and ctx.needs_input_grad has one entry for every
        argument of forward, eps included.""",
        *(function_class(taken_apart=lambda one=one: one[0]((None,) * one[1])) for one in MISMATCHES),
    ),
    mistake(
        "eps_saved_as_tensor",
        """eps is passed to save_for_backward, which takes tensors only. Keep a plain number as an attribute
        of ctx.""",
        *(
            function_class(saved=lambda *values, count=count: (*values[:count], values[-1]))
            for count in range(1, 5)
        ),
    ),
    mistake(
        "eps_in_single_precision_in_backward",
        """eps is float32 in the backward pass: torch.tensor makes that of a plain number unless a dtype is
        given. With inputs of float64 the last digits of the gradients show it. Keep the plain number as an
        attribute of ctx.""",
        function_class(**anew(single)),
        function_class(dx=anew(single)["dx"]),
    ),
    mistake(
        "kept_between_calls",
        """backward goes back through the batch that went forward last. The class keeps its values in one
        place for all calls, where a second batch overwrites the first. Each call has a ctx of its own to keep
        them in.""",
        kept_by_the_class(),
    ),
    mistake(
        "backward_of_the_right_forward",
        NOT_TOGETHER,
        *(function_class(with_cache_of(variant)) for variant in other_forwards()),
    ),
    mistake("y_for_x_hat", Y_FOR_X_HAT, *(function_class(one) for one in OVERWRITTEN)),
    *(
        replace(one, variants=(*one.variants, *(function_class(with_y_of(each)) for each in own.variants)))
        for one, own in (
            (one, next(each for each in FORWARD_MISTAKES if each.key == one.key)) for one in MISTAKES_IN_Y
        )
    ),
)


def has_knobs(dx: Callable | None) -> bool:
    """Whether it is `input_gradient` with some of its knobs turned."""
    return getattr(dx, "func", None) is input_gradient


def gradient_pairs(make: Callable[..., Any], known: tuple[Mistake, ...]) -> tuple[Mistake, ...]:
    """Every two mistakes about different knobs of dx."""
    by_knobs = [
        Mistake(key, "", found)
        for key, _, variants in GRADIENT_MISTAKES
        if (found := tuple(one["dx"].keywords for one in variants if has_knobs(one.get("dx"))))
    ]
    return pairs(lambda **knobs: make(dx=partial(input_gradient, **knobs)), known, by_knobs, ways=4)


#: Mistakes in a forward pass that many make, beside which a backward pass may have one of its own.
COMMON_IN_FORWARD = ("unbiased_variance", "eps_outside_root", "unbiased_and_eps_outside")
#: Those. Not a wrong count: beside an unbiased variance a factor of N / (N − 1) is the right derivative.
BESIDE_ANOTHER_FORWARD = (
    *("statistics_constant", "variance_path_missing", "mean_path_missing", "variance_path_doubled"),
    *("variance_path_sign", "mean_path_sign", "gamma_missing_in_dx", "gamma_twice_in_dx"),
    "sums_and_means_mixed",
    *("division_forgotten_in_backward", "batch_average_in_dx"),
)


def beside_another_forward(make: Callable[..., Any], known: tuple[Mistake, ...]) -> Iterator[Mistake]:
    """A mistake in dx, in a backward pass that works with what another forward pass has kept."""
    named = {one.key: one for one in known}
    forwards = [variant(FORWARD_MISTAKES, key) for key in COMMON_IN_FORWARD]
    for key, _, knobs in GRADIENT_MISTAKES:
        if key in BESIDE_ANOTHER_FORWARD:
            candidates = (make(other, **one) for other in forwards for one in knobs)
            yield both(named["backward_of_the_right_forward"], named[key], *candidates)


def two_passes(forward_pass: Callable, **knobs: Callable) -> tuple[Callable, Callable]:
    return forward_pass, partial(backward, **knobs)


@cache
def backward_pairs() -> tuple[Mistake, ...]:
    """Two mistakes in dx, or one in it and one in the forward pass."""
    return (
        *gradient_pairs(partial(two_passes, forward), BACKWARD_MISTAKES),
        *beside_another_forward(two_passes, BACKWARD_MISTAKES),
    )


@cache
def function_pairs() -> tuple[Mistake, ...]:
    return (
        *gradient_pairs(function_class, FUNCTION_MISTAKES),
        *beside_another_forward(
            lambda other, **knobs: function_class(with_cache_of(other), **knobs), FUNCTION_MISTAKES
        ),
    )


def gradcheck(values: dict[str, Any], inputs: Inputs) -> dict[str, Any]:
    """Whether gradients agree with differences of y, within the tolerances of `torch.autograd.gradcheck`.

    A y that does not depend on its inputs agrees with gradients of 0, and is no batch normalization.
    """
    around, gradients = values.pop(AROUND, None), values.pop(BACKWARD, None)
    if around is None:
        return values
    values["gradcheck"] = False
    if isinstance(around, Tensor) and isinstance(gradients, Tensor) and around.dim() == 3:
        differences = (around[:, 0] - around[:, -1]).double() / (2 * STEP)
        if around.shape[1] == 2 and gradients.shape == differences.shape and differences.abs().amax() > 1e-3:
            near = torch.allclose(gradients.double(), differences, rtol=1e-3, atol=1e-5)
            values["gradcheck"] = near
    return values


# -- a gradient that lacks a path --------------------------------------------------------------------

#: What is said where a path is missing: the mean's (True or not), the variance's.
WORDS = {(False, False): "none", (True, False): "mean", (False, True): "variance", (True, True): "both"}


def nearest(dx: Tensor, dy: Tensor, x: Tensor, gamma: Tensor, eps: float = EPS) -> str:
    """The gradient by autograd, with the mean or the variance detached or not, that is nearest to dx."""

    def gradient(lacks_mean: bool, lacks_variance: bool) -> Tensor:
        leaf = x.detach().clone().requires_grad_()
        mean, var = leaf.mean(0), leaf.var(0, correction=0)
        centred = leaf - (mean.detach() if lacks_mean else mean)
        y = gamma * centred / ((var.detach() if lacks_variance else var) + eps).sqrt()
        return torch.autograd.grad(y, leaf, dy)[0]

    return min(WORDS.items(), key=lambda one: float((gradient(*one[0]) - dx).square().sum()))[1]


def share_of(values: Tensor, dx: Tensor) -> Tensor:
    """The sum of some values over the batch, compared with the sum of sizes in a column of dx."""
    return (values.sum(0) / dx.abs().sum(0)).nan_to_num()


def path(
    dx: Tensor,
    dy: Tensor,
    x: Tensor,
    gamma: Tensor,
    eps: float = EPS,
    *,
    axis: int = 0,
    size: Callable[[Tensor, Tensor], Tensor] = share_of,
    limit: float = 1e-4,
    told: Callable[[Tensor], Tensor] = lambda beyond: beyond.any(),
    remainder: bool = True,
    words: dict[tuple[bool, bool], Any] = WORDS,
) -> Any:
    """The definition: each column of dx sums to 0 where the path through the mean is there.

    And it is at right angles to x_hat, up to eps, where that through the variance is. remainder: whether
    what eps leaves is allowed for. size, limit, told: when a sum is not 0, and in how many columns.
    """
    x_hat, std = normalize(x, axis, eps)
    left = dy * gamma / std * x_hat * (1 - x_hat.square().mean(axis, keepdim=True))
    across = dx * x_hat - left if remainder else dx * x_hat
    lacks = (size(values if axis == 0 else values.T, dx if axis == 0 else dx.T) for values in (dx, across))
    lacks_mean, lacks_variance = (bool(told(one.abs() > limit)) for one in lacks)
    return words[lacks_mean, lacks_variance]


def with_path_default(value: float) -> Callable:
    def missing_path(dx: Tensor, dy: Tensor, x: Tensor, gamma: Tensor, eps: float = value) -> Any:
        return path(dx, dy, x, gamma, eps)

    return missing_path


def plain_sum(values: Tensor, dx: Tensor) -> Tensor:
    return values.sum(0)


PATH_MISTAKES = (
    mistake(
        "what_is_there",
        """The path that is there is named, not the one that is missing. If the columns of dx sum to 0, the
        path through the mean is there. If they are at right angles to x_hat, the path through the variance
        is.""",
        partial(path, words={(a, b): WORDS[not a, not b] for a, b in WORDS}),
    ),
    mistake(
        "paths_swapped",
        """'mean' and 'variance' are swapped. The gradient through the mean takes a constant from each column,
        so that it sums to 0; the one through the variance takes what lies along x_hat.""",
        partial(path, words={(a, b): WORDS[b, a] for a, b in WORDS}),
    ),
    mistake(
        "both_overlooked",
        """Where both paths are missing, only one is named: once the first question is answered with yes, the
        second isn't asked. The two are independent, so there are four answers.""",
        partial(path, words=WORDS | {(True, True): "mean"}),
        partial(path, words=WORDS | {(True, True): "variance"}),
    ),
    mistake(
        "right_one_accused",
        """A right dx is called wrong. Not every gradient lacks something: if both facts hold, the answer is
        'none'.""",
        *(partial(path, words=WORDS | {(False, False): word}) for word in ("mean", "variance", "both")),
    ),
    mistake(
        "right_angles_exactly",
        """Right where eps is negligible. A right dx is at right angles to x_hat only up to eps: the squares
        of x_hat have the mean var / (var + eps), which is not 1, and what is missing to 1 stays in the
        product. Where var is near eps, that is much.""",
        partial(path, remainder=False),
    ),
    mistake(
        "eps_default",
        "Right when eps is passed, but wrong when it is left out: the default is 1e-5.",
        with_path_default(1e-8),
        with_path_default(1e-3),
        with_path_default(0.0),
    ),
    mistake(
        "size_left_out",
        """Sums are called 0 if they are small in themselves. But a loss can be scaled, and gradients of 1e-10
        with it; then all sums are small. Compare them with the size of dx. (With 0, torch.allclose knows only
        an absolute limit, 1e-8.)""",
        *(partial(path, size=plain_sum, limit=limit) for limit in (1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)),
    ),
    mistake(
        "nothing_is_zero",
        """Both paths are found missing everywhere, even in a right dx. Either you ask whether a sum is
        exactly 0, which rounding never leaves. Or the sums run along the rows, but one feature is a column:
        axis 0.""",
        partial(path, size=plain_sum, limit=0.0),
        partial(path, axis=1),
        lambda dx, dy, x, gamma, eps=EPS: "both",
    ),
    mistake(
        "some_features_only",
        """Not every feature is looked at, or every one has to show the fault. A feature whose gamma is 0 has
        no gradient and shows nothing, and a constant one has no path through the variance. A path is missing
        if any feature says so.""",
        partial(path, told=lambda beyond: beyond[0]),
        partial(path, told=lambda beyond: beyond.all()),
        partial(path, size=lambda values, dx: share_of(values[:, :1], dx[:, :1])),
    ),
    mistake(
        "gamma_missing",
        """gamma is left out, so dx is compared with the gradient of another layer. On the way from y back to
        x_hat the gradient is multiplied by gamma.""",
        lambda dx, dy, x, gamma, eps=EPS: nearest(dx, dy, x, torch.ones_like(gamma), eps),
    ),
    mistake(
        "always_the_same",
        "The answer is the same for every dx. But all four answers occur.",
        *(lambda dx, *given, word=word, **named: word for word in ("none", "mean", "variance")),
    ),
    mistake(
        "other_words",
        """The answer is none of the strings 'mean', 'variance', 'both' and 'none', spelled exactly so. For a
        right dx, return the word 'none', not None.""",
        partial(path, words=WORDS | {(False, False): None}),
        partial(path, words=WORDS | {(False, False): ""}),
        partial(path, words=WORDS | {(False, False): "nothing"}),
        partial(path, words=WORDS | {(False, False): "neither"}),
        partial(path, words={key: word.capitalize() for key, word in WORDS.items()}),
        partial(path, words={key: word.replace("variance", "var") for key, word in WORDS.items()}),
        partial(path, words=WORDS | {(True, True): "mean and variance"}),
    ),
)


# -- another norm ------------------------------------------------------------------------------------

OUTSIDE_EPS = 1e-3


def outside_by_autograd(dy: Tensor, x: Tensor, gamma: Tensor, eps: float = OUTSIDE_EPS) -> tuple:
    """The gradients by autograd; where a feature is constant the root is not asked for its derivative."""
    x, gamma = (tensor.detach().clone().requires_grad_() for tensor in (x, gamma))
    centred = x - x.mean(0)
    var = centred.square().mean(0)
    varies = var > 0
    std = torch.where(varies, torch.where(varies, var, torch.ones_like(var)).sqrt(), torch.zeros_like(var))
    y = gamma * centred / (std + eps)
    return *torch.autograd.grad(y, (x, gamma), dy), dy.sum(0)


def outside_cache(x: Tensor, gamma: Tensor, eps: float) -> tuple:
    """What the gradients need, as `forward` has it, for the norm with eps outside."""
    centred = x - x.mean(0)
    divisor = deviation_of(x) + eps
    return x, centred / divisor, gamma, divisor, eps


def deviation_of(x: Tensor) -> Tensor:
    return (x - x.mean(0)).square().mean(0).sqrt()


def by_deviation(cache: tuple, constant: float = 0.0) -> Tensor:
    """The derivative of the root for x, times N; constant: what 0/0 gives, where a feature is constant."""
    return ((cache[0] - cache[0].mean(0)) / deviation_of(cache[0])).nan_to_num(constant)


OUTSIDE_DX = partial(input_gradient, slope=by_deviation)


def outside(
    dy: Tensor,
    x: Tensor,
    gamma: Tensor,
    eps: float = OUTSIDE_EPS,
    *,
    kept: Callable[[Tensor, Tensor, float], tuple] = outside_cache,
    dx: Callable = OUTSIDE_DX,
    **knobs: Callable,
) -> tuple[Tensor, Tensor, Tensor]:
    """The definition: as `backward`, but for the divisor and its derivative."""
    return backward(dy, kept(x, gamma, eps), dx=dx, **knobs)


def guarded(small: float) -> Callable:
    """The definition with a small number added to the deviation in the derivative of the root."""

    def slope(cache: tuple) -> Tensor:
        return (cache[0] - cache[0].mean(0)) / (deviation_of(cache[0]) + small)

    return partial(outside, dx=partial(input_gradient, slope=slope))


def outside_knobs(**knobs: Callable) -> Callable:
    """The definition with the knobs of `backward` turned, dx made of another divisor."""
    if getattr(knobs.get("dx"), "func", None) in (input_gradient, with_gamma):
        knobs["dx"] = partial(knobs["dx"], slope=by_deviation)
    return partial(outside, **knobs)


def with_second_eps(value: float) -> Callable:
    """The root of the variance and a small number, and eps beside it."""

    def kept(x: Tensor, gamma: Tensor, eps: float) -> tuple:
        std = ((x - x.mean(0)).square().mean(0) + value).sqrt()
        return x, (x - x.mean(0)) / (std + eps), gamma, std + eps, std

    def slope(cache: tuple) -> Tensor:
        return (cache[0] - cache[0].mean(0)) / cache[4]

    return partial(outside, kept=kept, dx=partial(input_gradient, slope=slope))


def with_outside_default(value: float) -> Callable:
    def outside_backward(dy: Tensor, x: Tensor, gamma: Tensor, eps: float = value) -> tuple:
        return outside(dy, x, gamma, eps)

    return outside_backward


def without_constant_features(dy: Tensor, x: Tensor, gamma: Tensor, eps: float = OUTSIDE_EPS) -> tuple:
    """The definition, with 0 for dx where a feature is constant."""
    dx, dgamma, dbeta = outside(dy, x, gamma, eps)
    return torch.where(deviation_of(x) > 0, dx, torch.zeros_like(dx)), dgamma, dbeta


def unbiased_deviation(x: Tensor, gamma: Tensor, eps: float) -> tuple:
    """The cache with the deviation that divides by N − 1, as torch.std has it."""
    divisor = x.std(0) + eps
    return x, (x - x.mean(0)) / divisor, gamma, divisor, eps


#: What is wrong in these is wrong with eps in any place.
IN_ANY_NORM = (
    *("statistics_constant", "variance_path_missing", "mean_path_missing", "variance_path_doubled"),
    *("variance_path_sign", "mean_path_sign", "gamma_missing_in_dx", "gamma_twice_in_dx"),
    *("wrong_count", "sums_and_means_mixed"),
    *("division_forgotten_in_backward", "extra_factor_in_dx", "batch_average_in_dx", "dgamma_from_x"),
    *("dgamma_with_gamma", "averaged_over_batch", "not_summed_over_batch", "summed_over_features"),
)

OUTSIDE_MISTAKES = (
    mistake(
        "borrowed_formula",
        """This is the formula for eps inside the root, with std + eps put in as the divisor. There the
        derivative of the divisor is x_hat / N. Here it is that of std alone: the root's own value stands
        below, without eps.""",
        partial(outside, dx=input_gradient),
    ),
    mistake(
        "eps_inside_root",
        """This is the backward pass of the norm with eps inside the root. Here eps is added to the standard
        deviation, beside the root; where the two are of one size the gradients differ by much.""",
        lambda dy, x, gamma, eps=OUTSIDE_EPS: backward(dy, forward(x, gamma, gamma, eps)[1]),
    ),
    mistake(
        "eps_missing",
        """eps is not used. Where the standard deviation is as small as eps the gradients come out too large,
        and where a feature is constant the divisor is eps alone: without it 0/0.""",
        lambda dy, x, gamma, eps=OUTSIDE_EPS: outside(dy, x, gamma, 0.0),
    ),
    mistake(
        "eps_in_one_place",
        """eps is in only one of the two divisors. x_hat is divided by std + eps, and so is the gradient on
        the way from x_hat to x. std alone stands only in the derivative of the root.""",
        partial(
            outside,
            dx=partial(input_gradient, slope=by_deviation, deviation=lambda cache: deviation_of(cache[0])),
        ),
        partial(
            outside,
            kept=lambda x, gamma, eps: (
                x,
                (x - x.mean(0)) / deviation_of(x),
                gamma,
                deviation_of(x) + eps,
                eps,
            ),
        ),
    ),
    mistake(
        "constant_feature",
        """Right except for a constant feature, where you divide 0 by 0: std is 0 and stands alone below, in
        the derivative of the root. There x − mean is 0 as well, and nothing comes back through the
        variance. The other two paths remain, divided by eps.""",
        partial(outside, dx=partial(input_gradient, slope=partial(by_deviation, constant=math.nan))),
        without_constant_features,
        lambda dy, x, gamma, eps=OUTSIDE_EPS: (
            *(
                one.nan_to_num()
                for one in outside(
                    dy,
                    x,
                    gamma,
                    eps,
                    dx=partial(input_gradient, slope=partial(by_deviation, constant=math.nan)),
                )
            ),
        ),
    ),
    mistake(
        "second_eps",
        """A second small number is added under the root, to save a constant feature. That changes the norm:
        where the variance is small, y and all gradients come out different. Only the one quotient that is
        0/0 needs care.""",
        *(with_second_eps(value) for value in (1e-12, 1e-10, 1e-8, 1e-6, 1e-5)),
        lambda dy, x, gamma, eps=OUTSIDE_EPS: with_second_eps(eps)(dy, x, gamma, eps),
    ),
    mistake(
        "large_guard",
        """A small number is added to the standard deviation in the derivative of the root. That keeps a
        constant feature from giving 0/0, but it changes dx everywhere, most where the standard deviation
        is small. Only the quotient that is 0/0 needs care.""",
        *(guarded(value) for value in (1e-5, 1e-6, 1e-7, 1e-8, 1e-10)),
    ),
    mistake(
        "deviation_left_out",
        """In the path through the variance x − mean stands alone. The derivative of the root has the root
        below: x − mean is divided by std there, without eps.""",
        partial(outside, dx=partial(input_gradient, slope=lambda cache: cache[0] - cache[0].mean(0))),
    ),
    mistake(
        "eps_default",
        "Right when eps is passed, but wrong when it is left out: the default of this norm is 1e-3.",
        with_outside_default(1e-5),
        with_outside_default(1e-8),
    ),
    mistake(
        "unbiased_deviation",
        """The standard deviation is the one that divides by N − 1, as torch.std does unless told otherwise.
        This norm takes the biased one, divided by N. For a single sample the other is NaN.""",
        partial(outside, kept=unbiased_deviation),
        partial(
            outside,
            kept=unbiased_deviation,
            dx=partial(input_gradient, slope=lambda cache: (cache[0] - cache[0].mean(0)) / cache[0].std(0)),
        ),
    ),
    *(
        mistake(key, message, *(outside_knobs(**knobs) for knobs in variants))
        for key, message, variants in GRADIENT_MISTAKES
        if key in IN_ANY_NORM
    ),
)


@cache
def outside_pairs() -> tuple[Mistake, ...]:
    """The formula for eps inside the root, and something else that is wrong; and both signs."""
    named = {one.key: one for one in OUTSIDE_MISTAKES}
    borrowed = named["borrowed_formula"]
    return (
        both(
            borrowed,
            named["unbiased_deviation"],
            partial(outside, kept=unbiased_deviation, dx=input_gradient),
        ),
        both(
            borrowed,
            named["gamma_missing_in_dx"],
            partial(outside, dx=partial(input_gradient, scaled=lambda dy, gamma: dy)),
        ),
        both(
            named["variance_path_sign"],
            named["mean_path_sign"],
            outside_knobs(dx=partial(input_gradient, through_mean=-1.0, through_variance=-1.0)),
        ),
    )


# -- inputs that show a mistake, or hide it ------------------------------------------------------------


def plain(norm: Callable, x: Tensor, eps: float = EPS) -> Tensor:
    """y of a forward pass with gamma 1 and beta 0."""
    return norm(x, torch.ones_like(x[0]), torch.zeros_like(x[0]), eps)[0]


eps_outside = partial(plain, variant(FORWARD_MISTAKES, "eps_outside_root"))
unbiased = partial(plain, variant(FORWARD_MISTAKES, "unbiased_variance"))


def why_no_eps_outside(x: Tensor, n: int, d: int, eps: float) -> str:
    if apart(plain(library_forward, x, eps), eps_outside(x, eps)) >= 0.1:
        return ""
    return "variance_large" if deviation_of(x).any() else "constant_everywhere"


EPS_OUTSIDE_REASONS = (
    mistake(
        "variance_large",
        """Your input does not show it, because its variance is large compared with eps: beside it eps makes
        no difference, inside the root or outside. How small must the variance be for the two divisors, the
        root of (var + eps) and the root of var plus eps, to differ by a tenth?""",
        lambda n, d, eps: torch.randn(n, d),
        lambda n, d, eps: torch.rand(n, d),
        lambda n, d, eps: torch.eye(max(n, d))[:n, :d],
    ),
    mistake(
        "constant_everywhere",
        """Your input does not show it, because every feature is constant. Then x − mean is 0, and 0 divided
        by anything is 0. The variance has to be small, but not 0.""",
        lambda n, d, eps: torch.zeros(n, d),
        lambda n, d, eps: torch.ones(n, d),
    ),
)


def near_eps(n: int, d: int, eps: float) -> Tensor:
    """Features with a variance of about eps."""
    return math.sqrt(eps) * torch.linspace(-1, 1, n).unsqueeze(1).expand(n, d)


def one_pair_near_eps(n: int, d: int, eps: float) -> Tensor:
    """One feature that varies, in two of its values, by the smallest amounts."""
    x = torch.zeros(n, d)
    x[0, 0], x[1, 0] = eps, -eps
    return x


def why_not_unbiased(x: Tensor, d: int, share: float) -> str:
    most = int(1 / (1 - (1 - share) ** 2))
    if len(x) == 1:
        return "one_sample"
    if len(x) != most:
        return "too_many_samples" if len(x) > most else "more_samples_would_do"
    right = plain(library_forward, x)
    return "" if apart(right, unbiased(x)) >= 0.999 * share else "hardly_any_variance"


UNBIASED_REASONS = (
    mistake(
        "too_many_samples",
        """With so many samples the mistake does not show enough. Dividing by N − 1 instead of N makes the
        output too small by the factor √((N − 1)/N), whatever the values are. For which N is that a difference
        of the given share?""",
        lambda d, share: torch.randn(64, d),
        lambda d, share: torch.randn(int(1 / (1 - (1 - share) ** 2)) + 1, d),
    ),
    mistake(
        "more_samples_would_do",
        """It shows, but it would show enough with more samples too. We want the largest batch on which the
        difference is the given share: beyond it nobody would see the mistake.""",
        lambda d, share: torch.randn(2, d),
        lambda d, share: torch.randn(int(1 / (1 - (1 - share) ** 2)) - 1, d),
    ),
    mistake(
        "one_sample",
        """One sample shows it, because 0/0 is NaN. But we want the largest batch on which the difference is
        the given share.""",
        lambda d, share: torch.randn(1, d),
    ),
    mistake(
        "hardly_any_variance",
        """The number of samples is right, but the variance is so small that eps outweighs it. Then nobody
        sees what it was divided by. Let the features vary by about 1.""",
        lambda d, share: torch.ones(int(1 / (1 - (1 - share) ** 2)), d),
        lambda d, share: torch.randn(int(1 / (1 - (1 - share) ** 2)), d) * 1e-3,
    ),
)


def largest_by_formula(d: int, share: float) -> Tensor:
    return torch.randn(math.floor(1 / (1 - (1 - share) ** 2)), d)


def largest_by_counting(d: int, share: float) -> Tensor:
    n = 2
    while 1 - math.sqrt(n / (n + 1)) >= share:
        n += 1
    return 3 * torch.linspace(-1, 1, n).unsqueeze(1).repeat(1, d)


STATISTICS_CONSTANT = next(knobs[0] for key, _, knobs in GRADIENT_MISTAKES if key == "statistics_constant")


def constant_statistics(dy: Tensor, x: Tensor, eps: float = EPS) -> Tensor:
    """dx with gamma 1, mean and variance taken as constants."""
    return backward(dy, forward(x, torch.ones_like(x[0]), x[0], eps)[1], **STATISTICS_CONSTANT)[0]


def why_not_hidden(x: Tensor, dy: Tensor, n: int, d: int) -> str:
    if deviation_of(x).min() < 0.1:
        return "x_hardly_varies"
    if dy.abs().amax(0).min() < 1e-3:
        return "dy_is_zero"
    ones = torch.ones_like(x[0])
    right = autograd_backward(dy, (x, ones, ones, EPS))[0]
    if apart(constant_statistics(dy, x), right) <= ALIKE:
        return ""
    share = dy.mean(0).abs() / dy.abs().amax(0)
    return "dy_has_a_mean" if share.max() > ALIKE else "dy_along_x"


HIDDEN_REASONS = (
    mistake(
        "dy_has_a_mean",
        """It shows: a column of dy has a mean that is not 0, and that is what comes back through the mean of
        x. Each column of dy has to sum to 0, as those of every right dx do.""",
        lambda n, d: (torch.randn(n, d), torch.randn(n, d)),
        lambda n, d: (torch.randn(n, d), torch.ones(n, d)),
        lambda n, d: (torch.randn(n, d), torch.rand(n, d)),
    ),
    mistake(
        "dy_along_x",
        """It shows: the columns of dy sum to 0, so nothing comes back through the mean, but something comes
        back through the variance. That takes what of dy lies along x_hat: the product of the two has to sum
        to 0 in each column.""",
        lambda n, d: (x := torch.randn(n, d), x - x.mean(0)),
        lambda n, d: (torch.randn(n, d), (dy := torch.randn(n, d)) - dy.mean(0)),
    ),
    mistake(
        "dy_is_zero",
        """A dy of 0 hides every mistake in a backward pass, so it tells nothing about this one. Each column
        of dy has to hold a number above 0.001 in size.""",
        lambda n, d: (torch.randn(n, d), torch.zeros(n, d)),
    ),
    mistake(
        "x_hardly_varies",
        """A feature of x hardly varies: where the variance is below eps, eps hides what comes back through
        it. Each feature of x needs a standard deviation of 0.1 or more.""",
        lambda n, d: (torch.ones(n, d), (dy := torch.randn(n, d)) - dy.mean(0)),
        lambda n, d: (torch.randn(n, d) * 1e-4, (dy := torch.randn(n, d)) - dy.mean(0)),
    ),
)


def at_right_angles(n: int, d: int) -> tuple[Tensor, Tensor]:
    """What is left of random numbers when their parts along 1 and along x are taken away."""
    x, dy = torch.randn(n, d), torch.randn(n, d)
    x_hat = (x - x.mean(0)) / x.std(0, correction=0)
    dy = dy - dy.mean(0)
    return x, dy - x_hat * (dy * x_hat).mean(0)


def two_pairs(n: int, d: int) -> tuple[Tensor, Tensor]:
    """x varies in two samples, dy in two others."""
    x, dy = torch.zeros(n, d), torch.zeros(n, d)
    x[0], x[1], dy[2], dy[3] = 1.0, -1.0, 1.0, -1.0
    return x, dy


GRADIENTS = ("dx*", "dgamma", "dbeta")

ANSWERS = {
    "batch_norm_forward": Answer(library_forward, forward, FORWARD_MISTAKES, pairs=forward_pairs),
    "numerical_gradient": Answer(central_differences, central_differences, NUMERICAL_MISTAKES),
    "batch_norm_backward": Answer(
        (caching_forward, autograd_backward),
        (forward, backward),
        BACKWARD_MISTAKES,
        bases=(Basis(("y",), GRADIENTS, "batch_norm_forward", in_all(FORWARD_MISTAKES, consistent)),),
        pairs=backward_pairs,
    ),
    "identity_parameters": Answer(identity, written_out_identity, IDENTITY_MISTAKES, pairs=identity_pairs),
    "BatchNormFunction": Answer(
        LibraryFunction,
        function_class(),
        FUNCTION_MISTAKES,
        gradcheck,
        bases=(Basis(("y",), GRADIENTS, "y", MISTAKES_IN_Y),),
        pairs=function_pairs,
        consequences=frozenset({"gradcheck"}),
    ),
    "missing_path": Answer(nearest, path, PATH_MISTAKES),
    "outside_backward": Answer(
        outside_by_autograd, outside, OUTSIDE_MISTAKES, pairs=outside_pairs, guarded=(guarded(GUARD),)
    ),
    "expose_eps_outside": exposing(
        Asked("x", "n, d"),
        eps_outside,
        why_no_eps_outside,
        EPS_OUTSIDE_REASONS,
        (near_eps, one_pair_near_eps),
    ),
    "expose_unbiased": exposing(
        Asked("x", "N, d"),
        unbiased,
        why_not_unbiased,
        UNBIASED_REASONS,
        (largest_by_formula, largest_by_counting),
    ),
    "hide_constant_statistics": hiding(
        (Asked("x", "n, d"), Asked("dy", "n, d")),
        constant_statistics,
        why_not_hidden,
        HIDDEN_REASONS,
        (at_right_angles, two_pairs),
    ),
}
