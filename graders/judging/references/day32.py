"""Day 32: the right answers, and what people get wrong, with the knobs that make it.

Sources of the mistakes: reports and fixes in public repositories and forums, and public course solutions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from graders.judging.answer import Answer, Mistake, both, mistake
from graders.judging.references.exposing import ALIKE, Asked, exposing, hiding, variant
from graders.judging.references.normalizing import (
    MIXED_SHARES,
    affine_mistakes,
    difference_of_squares,
    lone_mistake,
    normalize,
    pairs,
    refused_mistake,
    statistics_mistakes,
    variance_path_mistake,
)
from graders.judging.tolerance import GUARD
from graders.probing.exercise import Candidate

EPS = 1e-5
RMS_EPS = 1e-6


def cancelled_in_double(*variants: Candidate) -> Mistake:
    """A variance as a difference of squares in float64, which float32 alone does not notice."""
    return mistake(
        "variance_by_cancellation_in_double",
        """With inputs of float64 half of the digits are missing, as where the variance is computed as E[x²] −
        E[x]² in float64. Inputs of float32 come out right that way. At an offset of 10,000 both terms are
        near 10⁸, and half of float64's digits cancel. Subtract the mean first, then square.""",
        *variants,
        rounding=True,
    )


def difference_in_double(x: Tensor, axes: Any) -> Tensor:
    """E[x²] − E[x]² in float64."""
    return difference_of_squares(x.double(), axes).clamp_min(0).to(x.dtype)


# -- merging the statistics of shards ----------------------------------------------------------------


def merge(
    counts: Tensor,
    means: Tensor,
    variances: Tensor,
    *,
    weights: Callable[[Tensor], Tensor] = lambda n: n / n.sum(),
    weights_of_variance: Callable[[Tensor], Tensor] | None = None,
    mean: Callable[[Tensor, Tensor], Tensor] = lambda w, means: (w * means).sum(0),
    within: Callable[[Tensor, Tensor, Tensor], Any] = lambda w, variances, n: (w * variances).sum(0),
    between: Callable[[Tensor, Tensor, Tensor], Any] = lambda w, means, m: (w * (means - m).square()).sum(0),
    result: Callable[[Tensor], Tensor] = lambda var: var,
) -> tuple[Tensor, Tensor]:
    """The variance within the shards plus that between their means, with a knob for each step.

    n: the counts, w: the weights, both (K, 1); m: the merged mean (D,). weights_of_variance: other weights
    than the mean's for the variance.
    """
    n = counts.to(means.dtype)[:, None]
    w = weights(n)
    merged = mean(w, means)
    w = w if weights_of_variance is None else weights_of_variance(n)
    return merged, result(within(w, variances, n) + between(w, means, merged))


def merge_sums(counts: Tensor, means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """The definition, from the sums of the shards, with the count of all samples at the end.

    Rounding is measured on this way. At an offset it loses as many digits as merging one shard after the
    other does (Chan, Golub and LeVeque 1979), which is as right as `merge` and less exact.
    """
    n = counts.to(means.dtype)[:, None]
    sums = n * means
    mean = sums.sum(0) / n.sum()
    apart = sums / n - mean
    return mean, (n * (variances + apart.square())).sum(0) / n.sum()


def one_by_one(
    counts: Tensor,
    means: Tensor,
    variances: Tensor,
    *,
    share: Callable[[Tensor, Tensor], Any] = lambda n, new: new / (n + new),
    shift: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Any],
) -> tuple[Tensor, Tensor]:
    """The shards merged one after the other, with a knob for the new shard's share and for the shift.

    shift(n, new, old, mean, merged): what is added to the sum of squares because the means differ; n and
    old are the count and the mean so far, new and mean those of the shard that joins.
    """
    sizes = counts.to(means.dtype)
    n, old, squares = sizes[0], means[0], sizes[0] * variances[0]
    for new, mean, var in zip(sizes[1:], means[1:], variances[1:], strict=True):
        merged = old + (mean - old) * share(n, new)
        squares = squares + new * var + shift(n, new, old, mean, merged)
        n, old = n + new, merged
    return old, squares / n


def plain(n: Tensor) -> Tensor:
    """Every shard weighs the same."""
    return torch.ones_like(n) / len(n)


def single_precision_weights(
    counts: Tensor, means: Tensor, variances: Tensor, *, weights: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Weights that are computed before the counts are brought to the dtype of the rest."""
    w = weights(counts)[:, None].to(means.dtype)
    return merge(counts, means, variances, weights=lambda n: w)


def merge_in_double(counts: Tensor, means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """From the shards' second moments, in float64."""
    w = (counts.double() / counts.double().sum())[:, None]
    mean = (w * means.double()).sum(0)
    var = (w * (variances.double() + means.double().square())).sum(0) - mean.square()
    return mean.to(means.dtype), var.to(means.dtype)


def guarded_merge(added: float) -> Callable[..., tuple[Tensor, Tensor]]:
    """The definition with a number added to the count of all samples."""
    return partial(merge, weights=lambda n: n / (n.sum() + added))


def squares_less_square(w: Tensor, means: Tensor, m: Tensor) -> Tensor:
    """The variance of the means as E[m²] − E[m]², which loses its digits at an offset."""
    return (w * means.square()).sum(0) - m.square()


def swapped(counts: Tensor, means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    return merge(counts, means, variances)[::-1]


def none(*_: Tensor) -> float:
    return 0.0


MERGE_MISTAKES = (
    mistake(
        "between_missing",
        """The variance is only the average of the variances within the shards. The shards' means differ,
        and that spread belongs to the union too: between {0, 0} and {10, 10} there is variance, though each
        has none. This is why many micro-batches are not one large batch.""",
        partial(merge, between=none),
        partial(merge, between=lambda w, means, m: (w * (means - m)).sum(0)),
    ),
    mistake(
        "plain_averages",
        """The variance is a plain average of the shards' variances. Two things are lost: a shard of 40
        counts no more than one of 2, and the spread between the shards' means, which belongs to the union,
        does not count at all.""",
        partial(merge, weights=plain, between=none),
        partial(merge, weights_of_variance=plain, between=none),
    ),
    mistake(
        "distance_from_plain_mean",
        """The distances of the shards' means are taken from their plain average. The mean of the union is the
        weighted one, and a variance is the mean squared distance from that; from any other point it comes
        out too large.""",
        partial(merge, between=lambda w, means, m: (w * (means - means.mean(0)).square()).sum(0)),
    ),
    mistake(
        "unweighted",
        """Every shard counts the same. In the union every sample counts the same, so a shard of 40 weighs
        twenty times as much as a shard of 2: weight by the counts.""",
        partial(merge, weights=plain),
        partial(merge, weights=plain, weights_of_variance=lambda n: n / n.sum()),
        partial(merge, weights_of_variance=plain),
        partial(merge, weights=plain, between=lambda w, means, m: means.var(0) if len(means) > 1 else 0.0),
    ),
    mistake(
        "between_unweighted",
        """The variances within the shards are weighted by the counts, but the spread of the means is not:
        there a shard of 2 pulls as hard as a shard of 40. Both terms take the same weights, and the distance
        is the one from the merged mean.""",
        partial(merge, between=lambda w, means, m: (means - m).square().mean(0)),
        partial(merge, between=lambda w, means, m: means.var(0, correction=0)),
        partial(merge, between=lambda w, means, m: means.var(0) if len(means) > 1 else 0.0),
    ),
    mistake(
        "within_unweighted",
        """The spread of the means is weighted by the counts, but the variances within the shards are
        averaged plainly. Both terms take the same weights.""",
        partial(merge, within=lambda w, variances, n: variances.mean(0)),
    ),
    mistake(
        "within_missing",
        """The variance is only the spread of the shards' means. What varies inside the shards belongs to
        the union too; with a single shard, yours is 0.""",
        partial(merge, within=none),
        partial(merge, weights_of_variance=plain, within=none),
    ),
    mistake(
        "unbiased_variance",
        """A count is taken less one, as for an unbiased estimate. The variances that come in are biased,
        divided by their counts, and so is the one that goes out: the sum of squares of a shard is count
        times variance, and all of it is divided by all samples.""",
        partial(merge, weights_of_variance=lambda n: n / (n.sum() - 1)),
        partial(merge, within=lambda w, variances, n: ((n - 1) * variances).sum(0) / n.sum()),
        partial(merge, weights_of_variance=lambda n: (n - 1) / (n - 1).sum()),
        partial(merge, within=lambda w, variances, n: ((n - 1) * variances).sum(0) / (n.sum() - len(n))),
        partial(
            merge,
            weights_of_variance=lambda n: n / (n.sum() - 1),
            within=lambda w, variances, n: ((n - 1) * variances).sum(0) / (n.sum() - 1),
        ),
    ),
    mistake(
        "weights_not_normalized",
        """The weights do not sum to 1. Multiplied by counts, the sum has to be divided by all samples
        together: not by the number of shards, nor by the largest shard, and not left as it is. A single
        shard should come back as it went in.""",
        *(
            partial(merge, **{knob: lambda n, total=total: n / total(n)})
            for total in (lambda n: 1.0, lambda n: len(n), lambda n: n.max())
            for knob in ("weights", "weights_of_variance")
        ),
    ),
    mistake(
        "variance_by_cancellation",
        """The variance is computed as E[x²] − E[x]², here from the shards' second moments. On paper that is
        the same. At an offset of 10,000 both terms are near 10⁸ and float32 keeps seven digits, so their
        difference is noise. Take each shard's distance from the merged mean first, then square.""",
        partial(merge, between=squares_less_square),
        lambda counts, means, variances: merge(
            counts,
            means,
            variances + means.square(),
            between=none,
            mean=lambda w, m: (w * means).sum(0),
            result=lambda second: second - (counts[:, None] * means / counts.sum()).sum(0).square(),
        ),
        rounding=True,
    ),
    cancelled_in_double(merge_in_double),
    mistake(
        "number_added",
        """A small number is added to the count of all samples, so the weights sum to less than 1. There is
        always a sample, and nothing to guard against.""",
        *(guarded_merge(added) for added in (1e-8, 1e-7, 1e-6, 1e-5)),
    ),
    mistake(
        "second_moment",
        """This is the mean of x², not the variance: the squared mean of the union is still in it. The
        distance of each shard's mean is taken from the merged mean, not from 0.""",
        partial(merge, between=lambda w, means, m: (w * means.square()).sum(0)),
    ),
    mistake(
        "deviations_averaged",
        """The standard deviations are averaged and the result is squared. What adds up over samples is the
        squared distance, so it is the variances that are averaged.""",
        *(
            partial(
                merge,
                within=lambda w, variances, n: (w * variances.sqrt()).sum(0).square(),
                **knobs,
            )
            for knobs in ({}, {"between": none})
        ),
    ),
    mistake(
        "weights_squared",
        """The weights are squared in the variance. That is the variance of a weighted mean of independent
        values. We want the variance of all samples taken together, where each weight enters once.""",
        partial(merge, within=lambda w, variances, n: (w.square() * variances).sum(0)),
        partial(merge, within=lambda w, variances, n: (w.square() * variances).sum(0), between=none),
        partial(merge, weights_of_variance=lambda n: (n / n.sum()).square()),
        partial(merge, between=lambda w, means, m: (w * (means - m)).square().sum(0)),
    ),
    mistake(
        "distance_not_squared",
        """The distances of the shards' means from the merged mean enter as they are. A variance is made of
        squares.""",
        partial(merge, between=lambda w, means, m: (w * (means - m).abs()).sum(0)),
    ),
    mistake(
        "shift_of_one_side",
        """Shards are merged one after the other, and the term for the distance of their means is off. When
        two meet, both move to the new mean, so with counts a and b the squared distance counts ab/(a + b)
        times; b times the squared distance from the old mean is too much, from the new mean too little.""",
        partial(one_by_one, shift=lambda n, new, old, mean, merged: new * (mean - old).square()),
        partial(one_by_one, shift=lambda n, new, old, mean, merged: new * (mean - merged).square()),
    ),
    mistake(
        "halves_when_merging",
        """Shards are merged one after the other, and each new one gets the weight 1/2, whatever the counts.
        So the last one weighs as much as all before it.""",
        partial(
            one_by_one,
            share=lambda n, new: 0.5,
            shift=lambda n, new, old, mean, merged: (mean - old).square() * n * new / (n + new),
        ),
    ),
    mistake(
        "single_precision",
        """In float64 half of the digits are missing, as where something passes through float32, which is what
        float() gives. Compute in the dtype of the means.""",
        partial(single_precision_weights, weights=lambda counts: counts.float() / counts.sum().float()),
        lambda counts, means, variances: tuple(
            result.to(means.dtype) for result in merge(counts, means.float(), variances.float())
        ),
        rounding=True,
    ),
    mistake(
        "deviation_returned",
        "The second result is a standard deviation. We want the variance, so leave out the root.",
        partial(merge, result=lambda var: var.sqrt()),
    ),
    mistake(
        "swapped",
        "mean and variance are swapped: the mean comes first.",
        swapped,
    ),
)


@cache
def merge_pairs() -> tuple[Mistake, ...]:
    """The pooled variance of statistics, which estimates what the shards have in common."""
    named = {one.key: one for one in MERGE_MISTAKES}
    counts: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda n: (n - 1) / (n.sum() - len(n)),
        lambda n: (n - 1) / n.sum(),
        lambda n: n / (n.sum() - 1),
        lambda n: (n - 1) / (n.sum() - 1),
    )
    pooled = (partial(merge, weights_of_variance=one, between=none) for one in counts)
    return (both(named["between_missing"], named["unbiased_variance"], *pooled),)


# -- the backward pass over several devices -----------------------------------------------------------

#: The sum over all devices of what each of them brings.
Reduce = Callable[[Any], Any]
#: What a backward pass returns: dx, dgamma, dbeta.
Gradients = tuple[Tensor, Tensor, Tensor]


def sync_by_autograd(
    dy: Tensor, x: Tensor, mean: Tensor, var: Tensor, gamma: Tensor, all_reduce: Reduce, eps: float = EPS
) -> Gradients:
    """Autograd from y to the statistics, and from them to x; all devices' gradients meet in between."""
    x, mean, var, gamma, beta = (
        one.detach().clone().requires_grad_() for one in (x, mean, var, gamma, torch.zeros_like(gamma))
    )
    y = gamma * (x - mean) / (var + eps).sqrt() + beta
    straight, *local = torch.autograd.grad(y, (x, mean, var, gamma, beta), dy)
    *for_statistics, dgamma, dbeta, count = all_reduce(torch.stack([*local, torch.full_like(dy[0], len(x))]))
    own_share = x.sum(0) / count, (x - mean).square().sum(0) / count
    (roundabout,) = torch.autograd.grad(own_share, x, for_statistics)
    return straight + roundabout, dgamma, dbeta


class Sums:
    """Sums over a device's rows, what all devices come to, and the counts; made in one exchange.

    each: (N, D), what is summed. brought: to the exchange, of this device's sums and its number of rows.
    own: (S, D), over this device's rows. total: what the devices bring, added up. rows: samples of this
    device. count: of all. devices: how many there are.
    """

    def __init__(
        self, each: Sequence[Tensor], brought: Callable[[Tensor, int], Tensor], all_reduce: Reduce
    ) -> None:
        self.rows = len(each[0])
        local = each[0].new_empty(len(each) + 2, each[0].shape[1])
        for place, one in enumerate(each):
            local[place] = one.sum(0)
        local[-2], local[-1] = self.rows, 1
        summed = all_reduce(brought(local, self.rows))
        self.own, self.total, self.count, self.devices = local[:-2], summed[:-2], summed[-2], summed[-1]


#: From sums to what is needed of each.
Taken = Callable[[Sums], Tensor]


def over_all(sums: Sums) -> Tensor:
    """The means over all samples."""
    return sums.total / sums.count


def over_own(sums: Sums) -> Tensor:
    """The means over this device's samples."""
    return sums.own / sums.rows


def of_own(sums: Sums) -> Tensor:
    return sums.own


def over_devices(sums: Sums) -> Tensor:
    return sums.total / sums.devices


def as_means(local: Tensor, rows: int) -> Tensor:
    """The two sums for dx as means over this device's rows; the others as they are."""
    brought = local.clone()
    brought[:2] /= rows
    return brought


def sync(
    dy: Tensor,
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    gamma: Tensor,
    all_reduce: Reduce,
    eps: float = EPS,
    *,
    own_statistics: bool = False,
    correction: int = 0,
    spread: Callable[[Tensor, float], Tensor] = lambda var, eps: (var + eps).sqrt(),
    into: Callable[[Tensor, Tensor], Tensor] = lambda dy, gamma: dy * gamma,
    inside: Callable[[Tensor, Tensor], Tensor] = lambda dy, gamma: dy * gamma,
    brought: Callable[[Tensor, int], Tensor] = lambda local, rows: local,
    means: tuple[Taken, Taken] = (over_all, over_all),
    by_mean: float = 1.0,
    by_variance: float = 1.0,
    shares: Callable[[Tensor], tuple[Any, Any]] = lambda count: (1.0, 1.0),
    along: Callable[[Tensor], tuple[Any, Any]] = lambda x_hat: (1.0, x_hat),
    scaled: Callable[[Tensor], Any] = lambda std: 1.0,
    divided: Callable[[Tensor, Tensor], Tensor] = lambda paths, std: paths / std,
    collected: Taken = lambda sums: sums.total,
    beside: Callable[[Tensor, Tensor], Tensor] = lambda x, x_hat: x_hat,
    result: Callable[[Tensor, Tensor, Tensor], Gradients] = lambda dx, dgamma, dbeta: (dx, dgamma, dbeta),
) -> Gradients:
    """The definition: the chain rule of batch norm, whose two means run over the samples of all devices.

    into, inside: what reaches x_hat, in dx itself and in its two means. brought: to the exchange, of this
    device's sums. means: the two in dx. by_mean, by_variance: the shares of the two paths. shares: the same,
    by the number of all samples. along: what stands beside each of the two. scaled: by which power of the
    deviation the second is off. divided: the last step to dx. collected: the gradients of the parameters, of
    dy times what stands `beside` it.
    """
    if own_statistics:
        var, mean = torch.var_mean(x, 0, correction=0)
    if correction:
        count = all_reduce(len(x))
        var = var * count / (count - correction)
    std = spread(var, eps)
    x_hat = (x - mean) / std
    d = inside(dy, gamma)
    sums = Sums((d, d * x_hat, dy * beside(x, x_hat), dy), brought, all_reduce)
    ways, weights = along(x_hat), shares(sums.count[0])
    through_mean, through_variance = (
        ways[place] * weights[place] * means[place](sums)[place] for place in (0, 1)
    )
    paths = into(dy, gamma) - by_mean * through_mean - by_variance * scaled(std) * through_variance
    dx = divided(paths, std)
    return result(dx, *collected(sums)[2:])


def sync_own_distance(
    dy: Tensor, x: Tensor, mean: Tensor, var: Tensor, gamma: Tensor, all_reduce: Reduce, eps: float = EPS
) -> Gradients:
    """The sum of this device's distances from the mean, divided by the number of all samples."""
    share = len(x) / all_reduce(len(x))

    def along(x_hat: Tensor) -> tuple[Any, Any]:
        return 1.0, x_hat - share * x_hat.mean(0)

    return sync(dy, x, mean, var, gamma, all_reduce, eps, along=along)


def sync_with_default(value: float) -> Callable[..., Gradients]:
    def with_default(
        dy: Tensor,
        x: Tensor,
        mean: Tensor,
        var: Tensor,
        gamma: Tensor,
        all_reduce: Reduce,
        eps: float = value,
    ) -> Gradients:
        return sync(dy, x, mean, var, gamma, all_reduce, eps)

    return with_default


def without_gamma(dy: Tensor, gamma: Tensor) -> Tensor:
    return dy


SYNC_MISTAKES = (
    mistake(
        "own_sums_only",
        """The statistics are those of all devices, and the two means in dx are those of this device alone.
        A sample moves the shared mean and variance, and so every y on every device: what comes back through
        them has to be collected from all.""",
        partial(sync, means=(over_own, over_own)),
    ),
    mistake(
        "own_sums_over_all",
        """The sums in dx are over this device alone, and they are divided by the number of samples on all
        devices. What comes back through the shared mean and variance has to be collected from all: exchange
        the sums, not only the count.""",
        partial(sync, means=(lambda sums: sums.own / sums.count,) * 2),
    ),
    mistake(
        "one_sum_exchanged",
        """One of the two means in dx is taken over all devices, the other over this one alone. The mean and
        the variance are both shared, so two sums have to be exchanged.""",
        partial(sync, means=(over_all, over_own)),
        partial(sync, means=(over_own, over_all)),
    ),
    mistake(
        "devices_weighted_equally",
        """Each device takes the means of its own rows, and these are averaged over the devices. In the union
        every sample counts the same, so a device with more of them counts for more. The cases with equal
        shards come out right.""",
        partial(sync, brought=as_means, means=(over_devices, over_devices)),
    ),
    mistake(
        "equal_shards_assumed",
        """The sums are over all devices, and they are divided as if every device had as many samples as this
        one. Shards differ in size: the number of samples has to be exchanged too.""",
        partial(sync, means=(lambda sums: sums.total / (sums.rows * sums.devices),) * 2),
    ),
    mistake(
        "own_count",
        """The sums are over all devices and are divided by the number of samples on this one. Sum and count
        have to be of the same samples.""",
        partial(sync, means=(lambda sums: sums.total / sums.rows,) * 2),
    ),
    mistake(
        "means_summed",
        """The means of the devices are added up and not averaged. With two devices of one size each of the
        two terms comes out twice as large as it should be.""",
        partial(sync, brought=as_means, means=(lambda sums: sums.total,) * 2),
    ),
    mistake(
        "divided_by_devices",
        """The sums are divided by the number of devices. We want means over samples: divide by the number of
        samples on all devices together.""",
        partial(sync, means=(over_devices, over_devices)),
    ),
    mistake(
        "not_divided",
        "Sums stand in dx where means belong: they have to be divided by the number of all samples.",
        partial(sync, means=(lambda sums: sums.total,) * 2),
    ),
    mistake(
        "own_statistics",
        """You normalize with the mean and variance of this device. That is batch norm on every device by
        itself, and no longer the layer whose y was computed. The statistics of all are given.""",
        partial(sync, own_statistics=True),
        partial(sync, own_statistics=True, means=(over_own, over_own)),
        partial(sync, own_statistics=True, means=(over_own, over_own), collected=of_own),
    ),
    mistake(
        "statistics_constant",
        """dx goes straight through, as if mean and variance were constants. They are given as numbers here,
        but x went into them: over all devices together dx has to sum to 0.""",
        partial(sync, by_mean=0.0, by_variance=0.0),
    ),
    mistake(
        "mean_path_missing",
        """The path through the mean is missing: over all devices together dx does not sum to 0. Adding a
        constant to every sample changes nothing, and dx has to say so.""",
        partial(sync, by_mean=0.0),
    ),
    mistake(
        "variance_path_missing",
        """The path through the variance is missing. Stretching the whole batch hardly changes y, so dx is at
        right angles to x_hat over all devices together, up to eps; yours is not.""",
        partial(sync, by_variance=0.0),
    ),
    mistake(
        "path_sign",
        """A path has the wrong sign. What goes through the mean and what goes through the variance are both
        taken out of dx.""",
        partial(sync, by_variance=-1.0),
        partial(sync, by_mean=-1.0),
        partial(sync, by_mean=-1.0, by_variance=-1.0),
    ),
    variance_path_mistake(sync),
    mistake(
        "variance_path_scaled",
        """The path through the variance is off by a power of σ, the standard deviation. Either x_hat stands
        in it where x − mean belongs, or the other way round; or the power of var + eps is another than −3/2.
        Where σ is 1 nobody sees it.""",
        *(partial(sync, scaled=lambda std, power=power: std**power) for power in (1, -1, 1.5, 2, -2)),
    ),
    mistake(
        "division_missing_in_dx",
        """dx is not divided by σ, or is multiplied by it. x_hat is x less its mean over σ, so what comes back
        to x has 1/σ in all its terms.""",
        partial(sync, divided=lambda paths, std: paths),
        partial(sync, divided=lambda paths, std: paths * std),
    ),
    mistake(
        "own_mean_distance",
        """What goes from the variance to the mean is taken over this device alone. Over all devices the
        distances from the mean sum to 0, so that path adds nothing. Those of one device do not: leave the
        term out, or collect it from all.""",
        partial(sync, along=lambda x_hat: (1.0, x_hat - x_hat.mean(0))),
        sync_own_distance,
    ),
    mistake(
        "sums_and_means_mixed",
        """Sums and means are mixed in dx: one term counts as many times as there are samples on all devices.
        Either all terms are per sample, or all are that many times larger and one division follows.""",
        *(partial(sync, shares=shares) for shares in MIXED_SHARES),
    ),
    mistake(
        "x_hat_in_the_wrong_term",
        """x_hat stands in the wrong term of dx, or in none. What goes through the mean is the same for every
        sample, on every device. What goes through the variance grows with a sample's distance from the mean:
        there x_hat stands.""",
        partial(sync, along=lambda x_hat: (1.0, 1.0)),
        partial(sync, along=lambda x_hat: (x_hat, x_hat)),
        partial(sync, along=lambda x_hat: (x_hat, 1.0)),
    ),
    mistake(
        "gamma_missing_in_dx",
        """gamma is missing in dx. y is gamma times x_hat, so what reaches x_hat is dy times gamma.""",
        partial(sync, into=without_gamma, inside=without_gamma),
    ),
    mistake(
        "gamma_in_one_path",
        """gamma is multiplied into dy, and the two means are made of dy without it. All three terms of dx
        come from dy times gamma.""",
        partial(sync, inside=without_gamma),
    ),
    mistake(
        "parameters_of_this_device",
        """dgamma and dbeta are sums over this device alone. gamma and beta are the same on all devices, so
        their gradients collect from all. (nn.SyncBatchNorm returns these local sums too, and leaves it to
        DistributedDataParallel to put them together; here it is your part.)""",
        partial(sync, collected=of_own),
    ),
    mistake(
        "parameters_averaged",
        """dgamma and dbeta are averages, over the devices or over the samples. A gradient is a sum over all
        that a parameter has a part in. (An average over devices is what DistributedDataParallel makes, for a
        loss that is itself an average.)""",
        partial(sync, collected=over_devices),
        partial(sync, collected=over_all),
        partial(sync, collected=over_own),
    ),
    mistake(
        "reduced_twice",
        """dgamma and dbeta are summed over the devices twice: each comes out too large by the number of
        devices. What all_reduce has returned is the same everywhere already.""",
        partial(sync, collected=lambda sums: sums.total * sums.devices),
    ),
    mistake(
        "x_for_x_hat",
        "dgamma is made with x. gamma multiplies x_hat, the normalized values, and so its gradient does.",
        partial(sync, beside=lambda x, x_hat: x),
    ),
    mistake(
        "gradients_of_parameters_swapped",
        "dgamma and dbeta are swapped: dgamma comes first.",
        partial(sync, result=lambda dx, dgamma, dbeta: (dx, dbeta, dgamma)),
    ),
    mistake(
        "eps_outside_root",
        """eps is added to the standard deviation, outside the root. It belongs to the variance, under the
        root, in the backward pass as in the forward one.""",
        partial(sync, spread=lambda var, eps: var.sqrt() + eps),
    ),
    mistake(
        "eps_missing",
        """eps is not used. A constant feature gives 0/0, and where the variance is near eps the values are
        off.""",
        partial(sync, spread=lambda var, eps: var.sqrt()),
    ),
    mistake(
        "eps_default",
        "Right when eps is passed, but wrong when it is left out: its default is 1e-5.",
        *map(sync_with_default, (1e-3, 1e-6, 1e-8, 1e-12)),
    ),
    mistake(
        "single_precision_inside",
        """In float64 half of the digits are missing, as where something passes through float32. Compute and
        exchange in the dtype of x.""",
        partial(sync, brought=lambda local, rows: local.float().to(local.dtype)),
        partial(sync, spread=lambda var, eps: (var.float() + eps).sqrt().to(var.dtype)),
        rounding=True,
    ),
    mistake(
        "variance_for_deviation",
        """This divides by the variance where its root belongs. x_hat is x less its mean over σ, so its
        derivative for x has 1/σ in it.""",
        partial(sync, spread=lambda var, eps: var + eps),
    ),
    mistake(
        "unbiased_variance",
        """The variance is turned into the unbiased one, divided by the count less 1. What normalizes is the
        biased variance, as it is given.""",
        partial(sync, correction=1),
    ),
)


# -- ghost batch norm --------------------------------------------------------------------------------


def library_ghost(
    x: Tensor, virtual_batch_size: int, gamma: Tensor, beta: Tensor, eps: float = EPS
) -> Tensor:
    """`F.batch_norm` on one virtual batch after the other; it refuses a single sample, where y is beta."""
    done = []
    for ghost in x.split(virtual_batch_size):
        if len(ghost) == 1:
            done.append(beta + 0 * gamma * ghost)
        else:
            done.append(F.batch_norm(ghost, None, None, gamma, beta, training=True, eps=eps))
    return torch.cat(done)


def ghost(
    x: Tensor,
    virtual_batch_size: int,
    gamma: Tensor,
    beta: Tensor,
    eps: float = EPS,
    *,
    pieces: Callable[[Tensor, int], Any] = lambda x, size: x.split(size),
    affine: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda x_hat, gamma, beta: gamma * x_hat + beta,
    **knobs: Any,
) -> Tensor:
    """Cut, normalize every piece, join, scale and shift; a knob for each step, and those of `normalize`.

    pieces: how the batch is cut.
    """
    x_hat = torch.cat([normalize(piece, 0, eps, **knobs)[0] for piece in pieces(x, virtual_batch_size)])
    return affine(x_hat, gamma, beta)


def ghost_by_averages(
    x: Tensor, virtual_batch_size: int, gamma: Tensor, beta: Tensor, eps: float = EPS
) -> Tensor:
    """The definition, all virtual batches at once: a matrix that gives each row the mean of its own."""
    which = torch.arange(len(x), device=x.device) // virtual_batch_size
    together = (which[:, None] == which).to(x.dtype)
    average = together / together.sum(1, keepdim=True)
    centred = x - average @ x
    return gamma * centred / (average @ centred.square() + eps).sqrt() + beta


def ghost_with(default_eps: float = EPS, **knobs: Any) -> Callable:
    """A `ghost_batch_norm` with these knobs turned."""

    def ghost_batch_norm(
        x: Tensor, virtual_batch_size: int, gamma: Tensor, beta: Tensor, eps: float = default_eps
    ) -> Tensor:
        return ghost(x, virtual_batch_size, gamma, beta, eps, **knobs)

    return ghost_batch_norm


def full(x: Tensor, size: int) -> int:
    """How many samples the full virtual batches hold together."""
    return len(x) // size * size


def last_joined(x: Tensor, size: int) -> list[Tensor]:
    """The rest is added to the virtual batch before it."""
    whole = list(x.split(size))
    if len(whole) > 1 and len(whole[-1]) < size:
        whole[-2:] = [torch.cat(whole[-2:])]
    return whole


def rest_left(make: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable:
    """Full virtual batches are normalized; what is left over becomes `make(rest, gamma, beta)`."""

    def ghost_batch_norm(
        x: Tensor, virtual_batch_size: int, gamma: Tensor, beta: Tensor, eps: float = EPS
    ) -> Tensor:
        cut = full(x, virtual_batch_size)
        rest = make(x[cut:], gamma, beta)
        return torch.cat([ghost(x[:cut], virtual_batch_size, gamma, beta, eps), rest])

    return ghost_batch_norm


def padded(padding: Callable[[Tensor, int], Tensor]) -> Callable:
    """The last virtual batch is filled up before it is normalized."""

    def ghost_batch_norm(
        x: Tensor, virtual_batch_size: int, gamma: Tensor, beta: Tensor, eps: float = EPS
    ) -> Tensor:
        short = -len(x) % virtual_batch_size
        longer = torch.cat([x, padding(x, short)])
        return ghost(longer, virtual_batch_size, gamma, beta, eps)[: len(x)]

    return ghost_batch_norm


def interleaved(stride: Callable[[Tensor, int], int], back: bool = True) -> Callable:
    """Samples a fixed number of rows apart make a virtual batch. back: the rows return to their places."""

    def ghost_batch_norm(
        x: Tensor, virtual_batch_size: int, gamma: Tensor, beta: Tensor, eps: float = EPS
    ) -> Tensor:
        step = min(stride(x, virtual_batch_size), len(x))
        order = [torch.arange(first, len(x), step) for first in range(step)]
        y = ghost(x, virtual_batch_size, gamma, beta, eps, pieces=lambda x, _: [x[rows] for rows in order])
        return y[torch.cat(order).argsort()] if back else y

    return ghost_batch_norm


def shared(choose: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Callable:
    """Statistics of every virtual batch, out of which one pair is made that normalizes all samples."""

    def ghost_batch_norm(
        x: Tensor, virtual_batch_size: int, gamma: Tensor, beta: Tensor, eps: float = EPS
    ) -> Tensor:
        ghosts = x.split(virtual_batch_size)
        means = torch.stack([ghost.mean(0) for ghost in ghosts])
        variances = torch.stack([ghost.var(0, correction=0) for ghost in ghosts])
        mean, var = choose(means, variances)
        return gamma * (x - mean) / (var + eps).sqrt() + beta

    return ghost_batch_norm


def lone_sample(make: Callable[[Tensor], Tensor]) -> Callable:
    """A virtual batch of one sample becomes `make(it)`."""

    def ghost_batch_norm(
        x: Tensor, virtual_batch_size: int, gamma: Tensor, beta: Tensor, eps: float = EPS
    ) -> Tensor:
        pieces = x.split(virtual_batch_size)
        return torch.cat(
            [make(one) if len(one) == 1 else ghost(one, len(one), gamma, beta, eps) for one in pieces]
        )

    return ghost_batch_norm


GHOST_MISTAKES = (
    *statistics_mistakes(
        ghost_with,
        "n",
        "a virtual batch of one sample",
        note="(Here n is the size of the virtual batch.)",
    ),
    cancelled_in_double(ghost_with(variance=difference_in_double)),
    mistake(
        "whole_batch_statistics",
        """One mean and one variance of the whole batch normalize everything, as in ordinary batch
        normalization. A virtual batch sees only itself, as small batches do whose gradients are added up.
        Each has its own statistics; together they are not one large batch.""",
        ghost_with(pieces=lambda x, size: [x]),
    ),
    mistake(
        "statistics_shared",
        """All samples are normalized with one pair of statistics made from those of the virtual batches
        (an average, or the first one's). Each virtual batch is normalized with its own, so that each comes
        out with mean 0 before gamma and beta.""",
        shared(lambda means, variances: (means.mean(0), variances.mean(0))),
        shared(lambda means, variances: (means[0], variances[0])),
        shared(lambda means, variances: (means[-1], variances[-1])),
    ),
    mistake(
        "last_dropped",
        """The samples that do not fill a virtual batch are missing from the result, which has fewer rows
        than x. The last virtual batch may be smaller, and is normalized by its own statistics.""",
        ghost_with(pieces=lambda x, size: x[: full(x, size)].split(size)),
    ),
    mistake(
        "full_ones_only",
        """Your code stops where the last virtual batch isn't full. N need not be a multiple of
        virtual_batch_size, so no shape holds all the virtual batches at once. The last one may be smaller,
        and has its own statistics.""",
        ghost_with(pieces=lambda x, size: x.reshape(-1, size, x.shape[1])),
        ghost_with(pieces=lambda x, size: x.reshape(len(x) // size, size, x.shape[1])),
    ),
    mistake(
        "last_left_out",
        """The samples that don't fill a virtual batch are not normalized: they come back as they were, only
        scaled and shifted, or as constants. They make a smaller virtual batch of their own, with its own
        statistics.""",
        rest_left(lambda rest, gamma, beta: rest),
        rest_left(lambda rest, gamma, beta: torch.zeros_like(rest)),
        rest_left(lambda rest, gamma, beta: gamma * rest + beta),
        rest_left(lambda rest, gamma, beta: beta.expand_as(rest)),
    ),
    mistake(
        "last_padded",
        """The last virtual batch is filled up to the full size, and what it is filled with counts in its
        mean and variance. It may be smaller: normalize the samples that are there.""",
        padded(lambda x, short: x.new_zeros(short, x.shape[1])),
        padded(lambda x, short: x[-1:].expand(short, -1)),
        padded(lambda x, short: x[torch.arange(short) % len(x)]),
    ),
    mistake(
        "last_joined",
        """The samples that are left over are added to the virtual batch before them, which becomes larger
        than the others. They make a smaller one of their own.""",
        ghost_with(pieces=last_joined),
    ),
    mistake(
        "last_overlaps",
        """The last virtual batch is made full by taking samples of the one before it into its statistics.
        It may be smaller; each sample belongs to one virtual batch only.""",
        lambda x, virtual_batch_size, gamma, beta, eps=EPS: torch.cat(
            [
                *(
                    ghost(one, virtual_batch_size, gamma, beta, eps)
                    for one in x[: full(x, virtual_batch_size)].split(virtual_batch_size)
                ),
                ghost(x[-virtual_batch_size:], virtual_batch_size, gamma, beta, eps)[
                    virtual_batch_size - len(x) % virtual_batch_size if len(x) > virtual_batch_size else 0 :
                ],
            ]
        )[: len(x)],
    ),
    mistake(
        "number_for_size",
        """virtual_batch_size is taken for the number of virtual batches. It is how many samples each of
        them holds.""",
        ghost_with(pieces=lambda x, size: x.chunk(size)),
        ghost_with(pieces=lambda x, size: x.tensor_split(min(size, len(x)))),
    ),
    mistake(
        "cut_evenly",
        """The batch is cut into pieces of about equal size. Every virtual batch has virtual_batch_size
        samples, and only the last one may be smaller.""",
        ghost_with(pieces=lambda x, size: x.tensor_split(-(-len(x) // size))),
        ghost_with(pieces=lambda x, size: x.chunk(-(-len(x) // size))),
        ghost_with(pieces=lambda x, size: x.tensor_split(max(1, len(x) // size))),
        ghost_with(pieces=lambda x, size: x.chunk(max(1, len(x) // size))),
    ),
    mistake(
        "interleaved",
        """A virtual batch is made of samples that lie apart, every so many rows one. It is made of
        consecutive samples: the first virtual_batch_size rows, then the next.""",
        interleaved(lambda x, size: -(-len(x) // size)),
        interleaved(lambda x, size: size),
        interleaved(lambda x, size: -(-len(x) // size), back=False),
        interleaved(lambda x, size: max(1, len(x) // size)),
    ),
    lone_mistake(ghost_with, "A virtual batch of one sample", lone_sample(lambda one: one)),
    refused_mistake(ghost_with, "A virtual batch of one sample"),
    mistake(
        "lone_sample_without_beta",
        """A virtual batch of one sample gives 0. There x_hat is 0, and y is gamma·x_hat + beta: beta is left.
        The formula gives that by itself, without a special case.""",
        lone_sample(torch.zeros_like),
    ),
    mistake(
        "one_statistic_for_all",
        """Each virtual batch has one mean and one variance for all its features together. Each feature has
        its own: the averages run over the samples, axis 0, and there are D of them.""",
        ghost_with(over=(0, 1)),
    ),
    mistake(
        "rows_normalized",
        """Each row is normalized by its own mean and variance: that is layer normalization, for which the
        virtual batches make no difference. Batch normalization averages over samples.""",
        ghost_with(over=1),
    ),
    *affine_mistakes(ghost_with),
)


@cache
def ghost_pairs() -> tuple[Mistake, ...]:
    by_knobs = *statistics_mistakes(dict, "", ""), *affine_mistakes(dict)
    return pairs(ghost_with, GHOST_MISTAKES, by_knobs)


# -- RMS norm ----------------------------------------------------------------------------------------


def library_rms(x: Tensor, gamma: Tensor, eps: float = RMS_EPS) -> Tensor:
    """`F.rms_norm` over the last axis."""
    return F.rms_norm(x, x.shape[-1:], gamma, eps)


def rms(
    x: Tensor,
    gamma: Tensor,
    eps: float = RMS_EPS,
    *,
    axes: Callable[[Tensor], Any] = lambda x: -1,
    above: Callable[[Tensor, Any], Tensor] = lambda x, axes: x,
    mean_square: Callable[[Tensor, Any], Tensor] = lambda x, axes: x.square().mean(axes, keepdim=True),
    divisor: Callable[[Tensor, float], Any] = lambda square, eps: (square + eps).sqrt(),
    eps_used: Callable[[float], float] = lambda eps: eps,
    scaled: Callable[[Tensor, Tensor], Tensor] = lambda x_hat, gamma: gamma * x_hat,
) -> Tensor:
    """The definition, with a knob for each step. above: what stands above the fraction line."""
    over = axes(x)
    return scaled(above(x, over) / divisor(mean_square(x, over), eps_used(eps)), gamma)


def rms_with(default_eps: float = RMS_EPS, **knobs: Callable) -> Callable:
    """An `rms_norm` with these knobs turned."""

    def rms_norm(x: Tensor, gamma: Tensor, eps: float = default_eps) -> Tensor:
        return rms(x, gamma, eps, **knobs)

    return rms_norm


def centred(x: Tensor, axes: Any) -> Tensor:
    return x - x.mean(axes, keepdim=True)


def variance(x: Tensor, axes: Any) -> Tensor:
    return centred(x, axes).square().mean(axes, keepdim=True)


def single_precision_rms(x: Tensor, gamma: Tensor, eps: float = RMS_EPS) -> Tensor:
    return (gamma * rms(x.float(), torch.ones_like(gamma, dtype=torch.float32), eps)).to(x.dtype)


RMS_MISTAKES = (
    mistake(
        "mean_subtracted",
        """The mean is subtracted: that is layer normalization. RMS norm leaves the mean in and divides by
        the root of the mean square, so a vector of equal values comes out as ±gamma rather than 0.""",
        rms_with(above=centred, mean_square=variance),
        rms_with(above=centred),
        rms_with(
            above=centred, mean_square=lambda x, axes: x.var(axes, keepdim=True) if x.shape[-1] > 1 else 0 * x
        ),
    ),
    mistake(
        "divided_by_deviation",
        """The values are divided by their standard deviation, which measures the distance from the mean. The
        root mean square measures the distance from 0: square the values themselves.""",
        rms_with(mean_square=variance),
        rms_with(mean_square=lambda x, axes: x.var(axes, keepdim=True)),
        *(
            rms_with(
                mean_square=lambda x, axes, correction=correction: x.var(
                    axes, correction=correction, keepdim=True
                ),
                divisor=lambda square, eps: square.sqrt() + eps,
            )
            for correction in (0, 1)
        ),
    ),
    mistake(
        "sum_for_mean",
        """The squares are summed and not averaged, so each vector comes out with length 1. Its root mean
        square should be 1: yours is too small by √D, where D is the size of the last axis.""",
        rms_with(mean_square=lambda x, axes: x.square().sum(axes, keepdim=True)),
        rms_with(
            mean_square=lambda x, axes: x.square().sum(axes, keepdim=True),
            divisor=lambda square, eps: square.sqrt() + eps,
        ),
        rms_with(
            mean_square=lambda x, axes: x.square().sum(axes, keepdim=True),
            divisor=lambda square, eps: square.sqrt().clamp_min(eps),
        ),
    ),
    mistake(
        "length_over_count",
        """The length of the vector is divided by D, the size of the last axis, outside the root. The mean is
        taken of the squares, inside the root, so the length is divided by √D.""",
        rms_with(
            mean_square=lambda x, axes: x.square().sum(axes, keepdim=True) / x.shape[-1] ** 2,
        ),
        lambda x, gamma, eps=RMS_EPS: (
            gamma * x / ((x.square().sum(-1, keepdim=True) + eps).sqrt() / x.shape[-1])
        ),
        lambda x, gamma, eps=RMS_EPS: (
            gamma * x / (x.square().sum(-1, keepdim=True).sqrt() / x.shape[-1] + eps)
        ),
    ),
    mistake(
        "one_less",
        """The sum of squares is divided by D − 1. Nothing is estimated and no mean is subtracted here: it is
        the mean of D squares.""",
        rms_with(mean_square=lambda x, axes: x.square().sum(axes, keepdim=True) / (x.shape[-1] - 1)),
    ),
    mistake(
        "root_missing",
        """The values are divided by the mean square rather than by its root, so a vector twice as long comes
        out half as long. It should come out the same.""",
        rms_with(divisor=lambda square, eps: square + eps),
    ),
    mistake(
        "multiplied_by_root",
        """The values are multiplied by their root mean square, not divided by it. Whoever works out
        1/√(mean square + eps) beforehand multiplies by that number: to divide by it turns it round again.""",
        rms_with(divisor=lambda square, eps: (square + eps).rsqrt()),
    ),
    mistake(
        "absolute_values",
        """The mean of the absolute values stands where the root of the mean square belongs. They differ
        wherever the values differ in size.""",
        rms_with(
            mean_square=lambda x, axes: x.abs().mean(axes, keepdim=True),
            divisor=lambda size, eps: size + eps,
        ),
    ),
    mistake(
        "square_of_mean",
        """The mean is taken first and squared afterwards. Values of either sign cancel in it; the mean square
        takes each square first, then the mean.""",
        rms_with(mean_square=lambda x, axes: x.mean(axes, keepdim=True).square()),
    ),
    mistake(
        "over_all_values",
        """One root mean square is taken over several axes, so the vectors of a tensor depend on each other.
        Each vector along the last axis has its own, whatever the number of axes.""",
        rms_with(axes=lambda x: tuple(range(x.dim()))),
        rms_with(axes=lambda x: tuple(range(min(1, x.dim() - 1), x.dim()))),
        rms_with(axes=lambda x: tuple(range(max(0, x.dim() - 2), x.dim()))),
    ),
    mistake(
        "wrong_axis",
        """The mean square is taken along another axis than the last. What is as long as gamma is one vector,
        and each of these is divided by a size of its own.""",
        rms_with(axes=lambda x: 0),
        rms_with(axes=lambda x: min(1, x.dim() - 1)),
        rms_with(axes=lambda x: max(-2, -x.dim())),
        rms_with(axes=lambda x: tuple(range(max(1, x.dim() - 1)))),
    ),
    mistake(
        "gamma_missing",
        """gamma is not used: what you return has root mean square 1. The last step multiplies every entry of
        the vector by its own gamma.""",
        rms_with(scaled=lambda x_hat, gamma: x_hat),
    ),
    mistake(
        "gamma_plus_one",
        """The values are scaled by 1 + gamma. Some models store the scale that way; here gamma is the scale
        itself.""",
        rms_with(scaled=lambda x_hat, gamma: (1 + gamma) * x_hat),
    ),
    mistake(
        "gamma_added",
        "gamma is added. It is a scale: it multiplies, and RMS norm has no shift.",
        rms_with(scaled=lambda x_hat, gamma: x_hat + gamma),
    ),
    mistake(
        "gamma_before_norm",
        """gamma scales x before the root mean square is taken, so the norm takes part of it away again.
        Normalize first, then scale.""",
        lambda x, gamma, eps=RMS_EPS: rms(gamma * x, torch.ones_like(gamma), eps),
    ),
    mistake(
        "eps_outside_root",
        """eps is added outside the root. It belongs to the mean square, inside: the divisor is the root of
        (mean square + eps). Where the mean square is near eps, your values come out too large.""",
        rms_with(divisor=lambda square, eps: square.sqrt() + eps),
    ),
    mistake(
        "eps_missing",
        """eps is not used. A row of zeros gives 0/0, which is NaN, and where the mean square is near eps your
        values come out too large. Where does eps go?""",
        rms_with(divisor=lambda square, eps: square.sqrt()),
    ),
    mistake(
        "eps_as_floor",
        """A lower limit of the mean square or of its root stands where eps should be added (F.normalize has
        such a limit of its own). eps is added to the mean square, whether that is large or small; a limit
        changes nothing until the mean square falls below it.""",
        rms_with(divisor=lambda square, eps: square.clamp_min(eps).sqrt()),
        rms_with(divisor=lambda square, eps: square.sqrt().clamp_min(eps)),
        lambda x, gamma, eps=RMS_EPS: F.normalize(x, dim=-1) * x.shape[-1] ** 0.5 * gamma,
    ),
    mistake(
        "eps_fixed",
        """The result does not change when eps changes: a fixed number stands in the code where the argument
        eps should be used.""",
        *(rms_with(eps_used=lambda eps, value=value: value) for value in (1e-6, 1e-8, 1e-5, 1e-3)),
    ),
    mistake(
        "eps_default",
        """Right whenever eps is passed, and wrong when it is left out. The default is part of the contract.
        For rms_norm it is 1e-6, not the 1e-5 of batch norm.""",
        *(rms_with(default_eps=value) for value in (1e-5, 1e-8, 1e-3, 0.0, torch.finfo(torch.float32).eps)),
    ),
    mistake(
        "eps_subtracted",
        """eps is subtracted. It is added to the mean square, which keeps the divisor away from 0; yours gives
        NaN for small values.""",
        rms_with(divisor=lambda square, eps: (square - eps).sqrt()),
    ),
    mistake(
        "eps_squared",
        """What is added under the root is a power of eps. It is eps itself that is added to the mean
        square.""",
        rms_with(eps_used=lambda eps: eps**2),
        rms_with(eps_used=lambda eps: eps**0.5),
    ),
    mistake(
        "single_precision",
        """Right in float32, and in float64 half of the digits are missing, as where the values pass through
        float32, in code written for half precision. Compute in the dtype of x.""",
        single_precision_rms,
        rounding=True,
    ),
)


# -- weight standardization --------------------------------------------------------------------------


def library_standardization(weight: Tensor, eps: float = EPS) -> Tensor:
    """`F.layer_norm` over everything but the filters."""
    return F.layer_norm(weight, weight.shape[1:], eps=eps)


def standardized_with(default_eps: float = EPS, axes: tuple[int, ...] = (1, 2, 3), **knobs: Any) -> Callable:
    """The definition, with the knobs of `normalize`."""

    def weight_standardization(weight: Tensor, eps: float = default_eps) -> Tensor:
        return normalize(weight, axes, eps, **knobs)[0]

    return weight_standardization


def part_mean(x: Tensor, axes: Any, part: tuple[int, ...]) -> Tensor:
    """The mean over some axes of a filter."""
    return x.mean(part, keepdim=True)


def variance_about_part(x: Tensor, axes: tuple[int, ...], part: tuple[int, ...]) -> Tensor:
    """The mean squared distance from that."""
    return (x - part_mean(x, axes, part)).square().mean(axes, keepdim=True)


STANDARDIZATION_MISTAKES = (
    *statistics_mistakes(standardized_with, "I·kH·kW", "a filter of one weight"),
    cancelled_in_double(standardized_with(variance=difference_in_double)),
    mistake(
        "filters_last",
        """The averages run over the first three axes, as if the filters lay along the last one. That is the
        layout of TensorFlow, kH × kW × I × O. PyTorch's is O × I × kH × kW: a filter is weight[o].""",
        standardized_with(over=(0, 1, 2)),
    ),
    mistake(
        "per_kernel",
        """Each kernel of kH × kW is standardized by itself, one for every pair of output and input channel.
        An output filter is all of I × kH × kW: one mean and one variance for each of the O filters.""",
        standardized_with(over=(2, 3)),
    ),
    mistake(
        "whole_weight",
        """One mean and one variance are taken of the whole weight. Each output filter has its own: O of each,
        over I, kH and kW.""",
        standardized_with(over=(0, 1, 2, 3)),
    ),
    mistake(
        "per_input_channel",
        """The statistics run over the output channels and leave the input channels apart. A filter belongs to
        an output channel, the first axis; the average runs over the other three.""",
        standardized_with(over=(0, 2, 3)),
    ),
    mistake(
        "mean_over_some_axes",
        """The mean runs over other axes than the variance: it is subtracted kernel by kernel, or place by
        place, and then the whole filter is scaled. Both run over all of a filter, I × kH × kW.""",
        *(
            standardized_with(mean=partial(part_mean, part=part), **about)
            for part in ((2, 3), (1, 2), (1, 3), (1,))
            for about in ({}, {"variance": partial(variance_about_part, part=part)})
        ),
    ),
    mistake(
        "per_position",
        """The averages run over one or two axes only, so a filter has many means. Each filter has one mean
        and one variance, over I, kH and kW together.""",
        standardized_with(over=0),
        standardized_with(over=1),
        standardized_with(over=3),
        standardized_with(over=(1, 2)),
        standardized_with(over=(0, 1)),
    ),
    mistake(
        "only_centred",
        """The mean is subtracted and nothing is divided. Standardized weights have variance 1 as well as
        mean 0.""",
        standardized_with(deviation=lambda var, eps: 1.0),
    ),
    mistake(
        "length_one",
        """Each filter comes out with length 1: the squared distances are summed and not averaged, or the
        result is divided by the root of the number of weights. We want variance 1, so average the squares
        over I·kH·kW.""",
        standardized_with(
            variance=lambda w, axes: (w - w.mean(axes, keepdim=True)).square().sum(axes, keepdim=True)
        ),
        standardized_with(
            variance=lambda w, axes: (w - w.mean(axes, keepdim=True)).square().sum(axes, keepdim=True),
            deviation=lambda var, eps: var.clamp_min(eps).sqrt(),
        ),
        lambda weight, eps=EPS: standardized_with()(weight, eps) / weight[0].numel() ** 0.5,
    ),
)


@cache
def standardization_pairs() -> tuple[Mistake, ...]:
    return pairs(standardized_with, STANDARDIZATION_MISTAKES, statistics_mistakes(dict, "", ""))


# -- weight norm -------------------------------------------------------------------------------------


def library_weight_norm(v: Tensor, g: Tensor) -> Tensor:
    """PyTorch's own operator, the one behind `nn.utils.parametrizations.weight_norm`."""
    return torch._weight_norm(v, g.reshape(-1, *(1,) * (v.dim() - 1)), 0)


def rows(v: Tensor) -> tuple[int, ...]:
    """All axes but the first; none of them for a vector."""
    return tuple(range(1, v.dim()))


def over(values: Tensor, axes: tuple[int, ...], reduce: str = "sum") -> Tensor:
    """A reduction that keeps its axes, and leaves a tensor alone where there are none."""
    return getattr(values, reduce)(axes, keepdim=True) if axes else values


def rescaled(
    v: Tensor,
    g: Tensor,
    *,
    axes: Callable[[Tensor], tuple[int, ...]] = rows,
    size: Callable[[Tensor, tuple[int, ...]], Any] = lambda v, axes: over(v.square(), axes).sqrt(),
    direction: Callable[[Tensor, Any], Tensor] = lambda v, size: v / size,
    scale: Callable[[Tensor], Any] = lambda g: g,
) -> Tensor:
    """The definition, with a knob for each step. size: by what a row is measured."""
    norms = scale(g.reshape(-1, *(1,) * (v.dim() - 1)))
    return norms * direction(v, size(v, axes(v)))


GUARDED_ROWS = (
    partial(rescaled, direction=lambda v, size: v / (size + GUARD)),
    partial(rescaled, direction=lambda v, size: v / (size.square() + GUARD).sqrt()),
)


def less_mean(v: Tensor) -> Tensor:
    return v - over(v, rows(v), "mean")


def in_rows(v: Tensor, g: Tensor) -> Tensor:
    """The definition, begun by a computation that stops where v has one axis."""
    v.flatten(1)
    return rescaled(v, g)


WEIGHT_NORM_MISTAKES = (
    mistake(
        "not_normalized",
        """v is multiplied by g and not divided by its norm, so the rows have norm g·‖v‖. v gives the
        direction alone; g is the whole length.""",
        partial(rescaled, direction=lambda v, size: v),
    ),
    mistake(
        "norm_of_everything",
        """v is divided by the norm of the whole tensor. Each row has a norm of its own, so that each comes
        out exactly as long as its g says.""",
        partial(rescaled, axes=lambda v: tuple(range(v.dim()))),
    ),
    mistake(
        "numbers_misaligned",
        """What belongs to the rows, g or their norms, is lined up with the last axis of v: broadcasting
        starts from the right. Give it axes of length 1, so that it stands at axis 0.""",
        lambda v, g: g * v / v.square().sum().sqrt(),
        lambda v, g: v * g / v.square().sum().sqrt(),
        lambda v, g: g * (v / over(v.square(), rows(v)).sqrt()),
        lambda v, g: (v / over(v.square(), rows(v)).sqrt()) * g,
        lambda v, g: v / v.flatten(1).square().sum(1).sqrt() * g if v.dim() > 1 else v * g,
    ),
    mistake(
        "norm_over_axis_0",
        """The norm runs over axis 0, across the rows, as norms of columns. g has one entry for each row, and
        the norm runs within a row, over all axes but the first.""",
        partial(rescaled, axes=lambda v: (0,)),
        partial(rescaled, axes=lambda v: tuple(range(max(1, v.dim() - 1)))),
    ),
    mistake(
        "further_axes_expected",
        """Right where the rows have axes of their own. Where v has only one, your code stops, or all rows get
        one norm. A row is a single number there, and its norm is how far that lies from 0.""",
        in_rows,
        partial(rescaled, axes=lambda v: rows(v) or (0,)),
    ),
    mistake(
        "part_of_the_row",
        """Right for a matrix; where v has more axes, the norm runs over some of them only, so that the pieces
        of a row have norm g and the row is longer. A row is all that belongs to one index of axis 0.""",
        partial(rescaled, axes=lambda v: rows(v)[-1:]),
        partial(rescaled, axes=lambda v: rows(v)[:1]),
        partial(rescaled, axes=lambda v: rows(v)[-2:]),
        partial(rescaled, axes=lambda v: rows(v)[1:] or rows(v)),
    ),
    mistake(
        "squared_norm",
        """v is divided by the squared norm: the root is missing. A row of v twice as long comes out half as
        long, and it should come out the same.""",
        partial(rescaled, size=lambda v, axes: over(v.square(), axes)),
    ),
    mistake(
        "sum_of_absolute_values",
        """The rows are measured by the sum of the absolute values. The norm is the Euclidean one, the root of
        the sum of squares.""",
        partial(rescaled, size=lambda v, axes: over(v.abs(), axes)),
    ),
    mistake(
        "largest_value",
        """The rows are measured by their largest absolute value. The norm is the Euclidean one, the root of
        the sum of squares.""",
        partial(rescaled, size=lambda v, axes: over(v.abs(), axes, "amax")),
    ),
    mistake(
        "mean_square",
        """The squares are averaged and not summed, so every row comes out longer than its g by the root of
        the number of its values. A norm is the root of a sum.""",
        partial(rescaled, size=lambda v, axes: over(v.square(), axes, "mean").sqrt()),
    ),
    mistake(
        "standardized",
        """The mean of each row is subtracted: that belongs to weight standardization. Weight norm changes the
        length of a row and leaves its direction alone.""",
        lambda v, g: rescaled(less_mean(v), g),
        lambda v, g: rescaled(less_mean(v), g, size=lambda v, axes: over(v.square(), axes, "mean").sqrt()),
        partial(rescaled, size=lambda v, axes: over(less_mean(v).square(), axes, "mean").sqrt()),
    ),
    mistake(
        "eps_added",
        """Something is added to the norm or under its root. Weight norm has no eps: a row comes out with
        norm g exactly, however short v is.""",
        *(
            partial(rescaled, direction=lambda v, size, eps=eps: v / (size + eps))
            for eps in (1e-5, 1e-6, 1e-7, 1e-8, 1e-10)
        ),
        *(
            partial(rescaled, direction=lambda v, size, eps=eps: v / (size.square() + eps).sqrt())
            for eps in (1e-5, 1e-6, 1e-7, 1e-8, 1e-10)
        ),
    ),
    mistake(
        "g_missing",
        """g is not used: every row comes out with norm 1. Rescale it to the norm that g asks for.""",
        partial(rescaled, scale=lambda g: 1.0),
    ),
    mistake(
        "divided_by_g",
        """The rows are divided by g. g is the norm that a row should have in the end: a row of norm 1 is
        multiplied by it.""",
        partial(rescaled, scale=lambda g: 1 / g),
    ),
    mistake(
        "g_changed",
        """g enters as its square, its root or its exponential. The norm of a row is g itself. (The paper also
        tries to train the logarithm of g; here g is the norm.)""",
        partial(rescaled, scale=lambda g: g.exp()),
        partial(rescaled, scale=lambda g: g.square()),
        partial(rescaled, scale=lambda g: g.sqrt()),
    ),
    mistake(
        "multiplied_by_norm",
        """v is multiplied by its norm where it should be divided: first each row is brought to norm 1, then
        to norm g.""",
        partial(rescaled, direction=lambda v, size: v * size),
    ),
)


# -- what lets the future in -------------------------------------------------------------------------

Norms = dict[str, Callable[[Tensor], Tensor]]


def other(x: Tensor) -> Tensor:
    """Values that differ from x in mean, size and shape."""
    return 2 * (3 * x).cos() + 1 + x


def differs(one: Tensor, two: Tensor) -> bool:
    """Beyond rounding?"""
    return one.numel() > 0 and bool((one - two).abs().max() > 1e-4)


def find_step_by_step(norms: Norms, x: Tensor) -> list[str]:
    """One step at a time is changed, and what comes before it is looked at."""

    def leaks(norm: Callable[[Tensor], Tensor]) -> bool:
        y = norm(x)
        for step in range(1, x.shape[1]):
            z = x.clone()
            z[:, step] = other(x[:, step])
            if differs(norm(z)[:, :step], y[:, :step]):
                return True
        return False

    return [name for name, norm in norms.items() if leaks(norm)]


def leaking(
    norms: Norms,
    x: Tensor,
    *,
    cuts: Callable[[int], Iterable[int]] = lambda steps: range(1, steps),
    changed: Callable[[int], Any] = lambda cut: slice(cut, None),
    seen: Callable[[int], Any] = slice,
    samples: Callable[[int], Iterable[Any]] = lambda count: [slice(None)],
    seen_of: Callable[[Any], Any] = lambda sample: sample,
    features: slice = slice(None),
    named: bool = True,
) -> list[str]:
    """The definition: where all from a cut on is changed, nothing before the cut may change.

    changed, seen: the steps that are changed and looked at, of the samples and features that are.
    named: whether those are named that leak, or the others.
    """
    replaced = other(x)

    def leaks(norm: Callable[[Tensor], Tensor]) -> bool:
        y = norm(x)
        for cut in cuts(x.shape[1]):
            for sample in samples(len(x)):
                z, where = x.clone(), (sample, changed(cut))
                z[where] = replaced[where]
                place = seen_of(sample), seen(cut)
                if differs(norm(z)[place][..., features], y[place][..., features]):
                    return True
        return False

    return [name for name, norm in norms.items() if leaks(norm) == named]


def by_gradient(norms: Norms, x: Tensor) -> list[str]:
    """Those through which a gradient flows back in time."""
    found = []
    weight = other(x)
    for name, norm in norms.items():
        for step in range(x.shape[1] - 1):
            leaf = x.detach().clone().requires_grad_()
            total = (norm(leaf)[:, step] * weight[:, step]).sum()
            if torch.autograd.grad(total, leaf)[0][:, step + 1 :].abs().max() > 1e-5:
                found.append(name)
                break
    return found


def either_way(norms: Norms, x: Tensor) -> list[str]:
    """Those in which any time matters to another."""
    later = leaking(norms, x)
    earlier = leaking(norms, x, changed=slice, seen=lambda cut: slice(cut, None))
    return [name for name in norms if name in later or name in earlier]


def one_by_one(count: int) -> range:
    return range(count)


LEAK_MISTAKES = (
    mistake(
        "past_accused",
        """Norms that use only the past are accused. A causal model may use it: at time t the step before is
        known, and so are statistics of all that came so far. Only what comes later must not matter.""",
        either_way,
    ),
    mistake(
        "time_reversed",
        """The beginning is changed, and the outputs after it are compared. That direction is allowed. We want
        to know whether a change at a later time reaches an earlier output.""",
        partial(leaking, changed=slice, seen=lambda cut: slice(cut, None)),
    ),
    mistake(
        "own_step_changed",
        """Every norm is accused, even a layer norm of each token. The step you look at is among those you
        change, but an output may depend on its own input. Change only later steps.""",
        partial(leaking, seen=lambda cut: slice(cut + 1)),
        partial(leaking, seen=lambda cut: slice(None)),
        lambda norms, x: list(norms),
    ),
    mistake(
        "samples_accused",
        """A norm over the batch at a single time step is accused. It mixes samples, but it doesn't mix times,
        so nothing of the future gets in.""",
        partial(
            leaking,
            samples=one_by_one,
            changed=lambda cut: slice(None),
            seen_of=lambda sample: slice(sample + 1, None),
            seen=lambda cut: slice(None),
        ),
    ),
    mistake(
        "one_cut_only",
        """Only one moment is tried, such as the last step or the middle. A norm may leak within pairs of
        steps and nowhere else. So for every time, change all that comes later.""",
        partial(leaking, cuts=lambda steps: [steps - 1]),
        partial(leaking, cuts=lambda steps: [1]),
        partial(leaking, cuts=lambda steps: [steps // 2]),
    ),
    mistake(
        "own_sample_only",
        """Only the sample that was changed is looked at. The future can also come in through other samples,
        if a sample is normalized by statistics of the rest of the batch over all times.""",
        partial(leaking, samples=one_by_one),
    ),
    mistake(
        "some_features_only",
        """Only one feature is looked at. A leak in any feature is a leak, and the others may be normalized
        token by token.""",
        partial(leaking, features=slice(1)),
    ),
    mistake(
        "gradient_asked",
        """A gradient is used to look for a dependence. If statistics are detached, no gradient flows through
        them, but the output still depends on them. Change the input and compare.""",
        by_gradient,
    ),
    mistake(
        "sound_ones_named",
        "These are the norms that are causal. We want the others, which let the future in.",
        partial(leaking, named=False),
    ),
    mistake(
        "nothing_found",
        """No leak is found where there is one. Compare two outputs of the same norm: one for x, and one for
        an x that differs from some time on.""",
        lambda norms, x: [],
    ),
)


# -- inputs that show a mistake, or hide it ------------------------------------------------------------


def plain_mean(counts: list[int], means: Tensor) -> Tensor:
    """The mean of all samples, each shard counting the same."""
    unweighted = variant(MERGE_MISTAKES, "unweighted")
    return unweighted(torch.tensor(counts), means[:, None], torch.zeros_like(means)[:, None])[0][0]


def deviation_for_rms(x: Tensor, eps: float = RMS_EPS) -> Tensor:
    return variant(RMS_MISTAKES, "divided_by_deviation")(x, torch.ones_like(x[0]), eps)


def why_counts_matter(means: Tensor, counts: list[int]) -> str:
    if min(abs(means[i] - means[i - 1]) for i in range(3)) < 0.5:
        return "means_alike"
    right = merge(torch.tensor(counts), means[:, None], torch.zeros_like(means)[:, None])[0]
    off = abs(float(right - plain_mean(counts, means)))
    return "" if off <= ALIKE * float(means.abs().max()) else "a_large_shard_pulls"


COUNTS_REASONS = (
    mistake(
        "a_large_shard_pulls",
        """It shows: a large shard pulls the right mean towards its own, and the plain mean does not feel
        that. The pulls to one side and to the other have to cancel. Write the difference of the two means
        as a sum over the shards.""",
        lambda counts: torch.tensor([1.0, 2.0, 3.0]),
        lambda counts: torch.tensor([-9.0, 9.0, 0.0]),
        lambda counts: torch.tensor(counts) / 10,
    ),
    mistake(
        "means_alike",
        """Two shards have the same mean, or nearly. Where all are alike every average is right; here any two
        have to be 0.5 or more apart.""",
        lambda counts: torch.zeros(3),
        lambda counts: torch.ones(3),
        lambda counts: torch.tensor([1.0, 1.0, -2.0]),
    ),
)


def pulls_cancel(counts: list[int]) -> Tensor:
    """The first two shards at such distances from the third that their pulls cancel."""
    pulls = torch.tensor(counts, dtype=torch.float64) / sum(counts) - 1 / 3
    means = torch.stack([pulls[1], -pulls[0], torch.zeros_like(pulls[0])])
    return 9 * means / means.abs().max()


def solved_for_the_last(counts: list[int]) -> Tensor:
    """The shard that pulls most at 0, the others at opposite sides of it."""
    pulls = [3 * count - sum(counts) for count in counts]
    i, j, _ = sorted(range(3), key=lambda shard: abs(pulls[shard]))
    means = torch.zeros(3, dtype=torch.float64)
    means[i], means[j] = 5.0, -5.0 * pulls[i] / pulls[j]
    return means


def why_deviation_does(x: Tensor, n: int, d: int, factor: int) -> str:
    if x.std(1, correction=0).min() < 0.01:
        return "a_row_nearly_constant"
    right = library_rms(x, torch.ones_like(x[0]))
    ratio = deviation_for_rms(x).abs().amax(1) / right.abs().amax(1)
    return "" if ratio.min() >= factor else "mean_small_beside_the_spread"


RMS_REASONS = (
    mistake(
        "mean_small_beside_the_spread",
        """Your input does not show it enough: in some row the mean is not far above the standard deviation.
        In a row with mean 0 both are the same; the mean square is the variance plus the square of the
        mean.""",
        lambda n, d, factor: torch.randn(n, d),
        lambda n, d, factor: torch.linspace(-1, 1, d).repeat(n, 1),
        lambda n, d, factor: torch.linspace(0, 9, d).repeat(n, 1),
    ),
    mistake(
        "a_row_nearly_constant",
        """A row is constant, or nearly. That shows it whatever the code means to do; here each row has to
        vary, by a standard deviation of 0.01 or more.""",
        lambda n, d, factor: torch.ones(n, d),
        lambda n, d, factor: torch.zeros(n, d),
        lambda n, d, factor: 5 + 1e-4 * torch.rand(n, d),
    ),
)


def far_from_zero(n: int, d: int, factor: int) -> Tensor:
    return 8 + 8 / factor * torch.linspace(-1, 1, d).repeat(n, 1)


def one_value_off(n: int, d: int, factor: int) -> Tensor:
    """Rows of −9 but for one value, by as much as makes the deviation a little less than 9 / factor."""
    x = torch.full((n, d), -9.0)
    x[:, 0] += 0.9 * 9 / factor * d / (d - 1) ** 0.5
    return x


ANSWERS = {
    "merge_statistics": Answer(
        merge, merge_sums, MERGE_MISTAKES, pairs=merge_pairs, guarded=(guarded_merge(GUARD),)
    ),
    "sync_batch_norm_backward": Answer(sync_by_autograd, sync, SYNC_MISTAKES),
    "ghost_batch_norm": Answer(library_ghost, ghost_by_averages, GHOST_MISTAKES, pairs=ghost_pairs),
    "rms_norm": Answer(library_rms, rms, RMS_MISTAKES),
    "weight_standardization": Answer(
        library_standardization, standardized_with(), STANDARDIZATION_MISTAKES, pairs=standardization_pairs
    ),
    "weight_norm": Answer(library_weight_norm, rescaled, WEIGHT_NORM_MISTAKES, guarded=GUARDED_ROWS),
    "find_leak": Answer(find_step_by_step, leaking, LEAK_MISTAKES),
    "hide_plain_mean": hiding(
        Asked("means", "3"),
        plain_mean,
        why_counts_matter,
        COUNTS_REASONS,
        (pulls_cancel, solved_for_the_last),
    ),
    "expose_deviation_for_rms": exposing(
        Asked("x", "n, d"),
        deviation_for_rms,
        why_deviation_does,
        RMS_REASONS,
        (far_from_zero, one_value_off),
    ),
}
