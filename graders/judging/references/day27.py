"""Day 27: the right answers, and what people get wrong, with the knobs that make it.

Sources of the mistakes: reports and fixes in public repositories and forums, and public course solutions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import cache, partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from graders.judging.answer import Answer, Basis, Mistake, both, mistake
from graders.judging.references.exposing import ALIKE, Asked, apart, exposing, hiding, variant
from graders.judging.references.normalizing import (
    affine_mistakes,
    centred_squares,
    difference_of_squares,
    feature_mistakes,
    normalize,
    pairs,
    statistics_mistakes,
)
from graders.judging.references.reading import reading_mistakes

EPS = 1e-5
MOMENTUM = 0.1

# -- running statistics, one batch at a time -----------------------------------------------------------


def library_update(
    running_mean: Tensor, running_var: Tensor, x: Tensor, momentum: float = MOMENTUM
) -> tuple[Tensor, Tensor]:
    """What `F.batch_norm` leaves in its buffers after a training batch."""
    mean, var = running_mean.clone(), running_var.clone()
    F.batch_norm(x, mean, var, training=True, momentum=momentum)
    return mean, var


def unbiased(x: Tensor) -> Tensor:
    """(D,): the variance over the batch, divided by N − 1."""
    return centred_squares(x, 0)[0] * x.shape[0] / (x.shape[0] - 1)


def biased(x: Tensor) -> Tensor:
    return centred_squares(x, 0)[0]


def blend(old: Tensor, new: Tensor, momentum: float) -> Tensor:
    return (1 - momentum) * old + momentum * new


def update(
    running_mean: Tensor,
    running_var: Tensor,
    x: Tensor,
    momentum: float = MOMENTUM,
    *,
    mean: Callable[[Tensor], Tensor] = lambda x: x.mean(0),
    variance: Callable[[Tensor], Tensor] = unbiased,
    mixed: Callable[[Tensor, Tensor, float], Tensor] = blend,
    variances_mixed: Callable[[Tensor, Tensor, float], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """The definition: a share `momentum` of the new value, the rest of the old one."""
    return (
        mixed(running_mean, mean(x), momentum),
        (variances_mixed or mixed)(running_var, variance(x), momentum),
    )


def update_with_default(
    default: float, used: Callable[[float], float] = lambda momentum: momentum, **knobs: Any
) -> Callable:
    def with_default(
        running_mean: Tensor, running_var: Tensor, x: Tensor, momentum: float = default
    ) -> tuple[Tensor, Tensor]:
        return update(running_mean, running_var, x, used(momentum), **knobs)

    return with_default


def about_the_new_mean(
    running_mean: Tensor, running_var: Tensor, x: Tensor, momentum: float = MOMENTUM, *, less: int = 1
) -> tuple[Tensor, Tensor]:
    """The squares are taken about the running mean instead of the batch's own; divided by N − less."""
    mean = blend(running_mean, x.mean(0), momentum)
    return mean, blend(running_var, (x - mean).square().sum(0) / (len(x) - less), momentum)


def about_the_old_mean(
    running_mean: Tensor, running_var: Tensor, x: Tensor, momentum: float = MOMENTUM, *, less: int = 1
) -> tuple[Tensor, Tensor]:
    mean = blend(running_mean, x.mean(0), momentum)
    return mean, blend(running_var, (x - running_mean).square().sum(0) / (len(x) - less), momentum)


def replacing_fresh_values(variance: Callable[[Tensor], Tensor]) -> Callable:
    """The first batch is taken as it is, where the running mean is what a fresh layer has."""

    def by_the_mean(
        running_mean: Tensor, running_var: Tensor, x: Tensor, momentum: float = MOMENTUM
    ) -> tuple[Tensor, Tensor]:
        is_fresh = not running_mean.any()
        return update(running_mean, running_var, x, 1.0 if is_fresh else momentum, variance=variance)

    return by_the_mean


def correcting_the_old_value(
    running_mean: Tensor, running_var: Tensor, x: Tensor, momentum: float = MOMENTUM
) -> tuple[Tensor, Tensor]:
    """The biased variance is mixed in, and the factor comes after that."""
    mean, var = update(running_mean, running_var, x, momentum, variance=biased)
    return mean, var * len(x) / (len(x) - 1)


def corrected_twice(x: Tensor) -> Tensor:
    return unbiased(x) * len(x) / (len(x) - 1)


def corrected_by(count: Callable[[Tensor], int]) -> Callable[[Tensor], Tensor]:
    """The biased variance, made larger as for another count than N."""
    return lambda x: biased(x) * count(x) / (count(x) - 1)


BIASED_RUNNING_VARIANCE = """The running variance takes the biased variance of the batch, divided by N. What
    is stored is an estimate for data yet to come, so it takes the unbiased one, divided by N − 1. Normalizing
    the batch itself is where the biased one belongs. The smaller the batch, the more it shows."""
MOMENTUM_REVERSED = """The weights of old and new are swapped. Here momentum is the weight of the new
    value, as in PyTorch: with 0.1, nine tenths of the old one stay. (Keras, TensorFlow and many courses
    weight the old value, and write 0.9 for the same thing.)"""
EPS_STORED = """eps is added to the variance that is stored. The running variance holds the variance itself;
    eps joins only where you divide. Otherwise it counts twice at test time."""
DEVIATION_STORED = """Standard deviations are mixed into the running variance. It holds variances: decide
    which of the two is stored, and use the same when you divide later."""
MOMENTUM_IGNORED = """A running statistic does not change when momentum changes: a fixed number stands where
    the argument should be used."""
WRONG_MEAN = """The squares are taken about the running mean. The variance of a batch is measured about the
    batch's own mean; only the finished variance is mixed with the old one."""
NOT_UPDATED = """A running statistic comes out as it went in. Is the new value computed into a local
    variable and then dropped?"""
OLD_FORGOTTEN = """The old value of a running statistic does not matter in your result: what is stored is of
    this batch alone. A share of 1 − momentum of the old value stays."""
NEW_UNWEIGHTED = """The old value is multiplied by 1 − momentum, as it should be, and all of the new one is
    added. Its share is momentum: the two weights add up to 1."""
SQUARES_STORED = """The mean of x² is stored as the variance. A variance is the mean squared distance from the
    mean; the two agree only for values that are centred already."""
SUM_STORED = """A sum is stored that is not divided by how many samples there are, so it grows with the size
    of the batch. The mean is the sum over N; the variance that is stored, the sum of squares over N − 1."""
MOMENTUM_LEFT_OUT = "Where momentum is left out, another number stands in for it: the default is 0.1."
BESSEL_TWICE = """The factor N/(N − 1) is applied to a variance that was divided by N − 1 already.
    (torch.var divides by N − 1 unless told otherwise.)"""
FRESH_VALUES_REPLACED = """The first batch replaces the values of a fresh layer. They count as any old value
    does: a mean of 0 and a variance of 1 keep their share of 1 − momentum."""
CORRECTED_BY_ANOTHER_COUNT = """The factor N/(N − 1) is made with another count than N. How many values share
    one mean? Those of one feature in the batch, however many features there are."""
NO_DECAY = """The share of the new value is added, and all of the old one stays. Their weights add up to more
than 1, so the average grows with every batch."""

UPDATE_MISTAKES = (
    mistake(
        "momentum_reversed",
        MOMENTUM_REVERSED,
        partial(update, mixed=lambda old, new, momentum: momentum * old + (1 - momentum) * new),
        *(update_with_default(default, lambda momentum: 1 - momentum) for default in (0.9, 0.99)),
    ),
    mistake("biased_running_variance", BIASED_RUNNING_VARIANCE, partial(update, variance=biased)),
    mistake(
        "bessel_twice",
        BESSEL_TWICE,
        partial(update, variance=corrected_twice),
    ),
    mistake(
        "bessel_inverted",
        """The biased variance is multiplied by (N − 1)/N, which makes it smaller still. To go from dividing
        by N to dividing by N − 1 it has to grow.""",
        partial(update, variance=lambda x: biased(x) * (len(x) - 1) / len(x)),
    ),
    mistake(
        "wrong_count",
        CORRECTED_BY_ANOTHER_COUNT,
        partial(update, variance=corrected_by(torch.numel)),
        partial(update, variance=corrected_by(lambda x: x.shape[1])),
    ),
    mistake(
        "old_value_corrected",
        """N/(N − 1) multiplies the old value too. It makes an unbiased variance of the batch's biased one.
        What was stored has been corrected once, and would grow with every batch.""",
        correcting_the_old_value,
    ),
    mistake(
        "fresh_values_replaced",
        FRESH_VALUES_REPLACED,
        replacing_fresh_values(unbiased),
        replacing_fresh_values(biased),
    ),
    mistake(
        "eps_in_running_variance",
        EPS_STORED,
        partial(update, variance=lambda x: unbiased(x) + EPS),
        partial(update, variance=lambda x: biased(x) + EPS),
        partial(update, variances_mixed=lambda old, new, momentum: blend(old, new, momentum) + EPS),
    ),
    mistake(
        "deviation_stored",
        DEVIATION_STORED,
        partial(update, variance=lambda x: unbiased(x).sqrt()),
        partial(update, variance=lambda x: biased(x).sqrt()),
        partial(update, variance=lambda x: (biased(x) + EPS).sqrt()),
        partial(
            update,
            variances_mixed=lambda old, new, momentum: blend(old.sqrt(), new.sqrt(), momentum).square(),
        ),
    ),
    mistake("not_updated", NOT_UPDATED, partial(update, mixed=lambda old, new, momentum: old + 0 * new)),
    mistake("old_value_forgotten", OLD_FORGOTTEN, partial(update, mixed=lambda old, new, momentum: new)),
    mistake(
        "old_value_not_decayed",
        NO_DECAY,
        partial(update, mixed=lambda old, new, momentum: old + momentum * new),
    ),
    mistake(
        "new_value_unweighted",
        NEW_UNWEIGHTED,
        partial(update, mixed=lambda old, new, momentum: (1 - momentum) * old + new),
    ),
    mistake(
        "squares_stored",
        SQUARES_STORED,
        partial(update, variance=lambda x: x.square().mean(0)),
        partial(update, variance=lambda x: x.square().sum(0) / (len(x) - 1)),
    ),
    mistake(
        "sum_stored",
        SUM_STORED,
        partial(update, mean=lambda x: x.sum(0)),
        partial(update, variance=lambda x: biased(x) * len(x)),
        partial(update, mean=lambda x: x.sum(0), variance=lambda x: biased(x) * len(x)),
    ),
    mistake(
        "momentum_fixed",
        MOMENTUM_IGNORED,
        *(update_with_default(MOMENTUM, lambda _, value=value: value) for value in (0.1, 0.9, 0.01, 0.5)),
    ),
    mistake(
        "momentum_default",
        MOMENTUM_LEFT_OUT,
        *(update_with_default(value) for value in (0.9, 0.99, 0.01)),
    ),
    mistake("wrong_mean", WRONG_MEAN, about_the_new_mean, about_the_old_mean),
    mistake(
        "one_statistic_for_all",
        """A mean or a variance is taken over the whole array, one for all features. Each feature has its own:
        the averages run over the batch, axis 0.""",
        partial(
            update,
            mean=lambda x: x.mean().expand(x.shape[1]),
            variance=lambda x: x.var(correction=0).expand(x.shape[1]),
        ),
        partial(
            update,
            mean=lambda x: x.mean().expand(x.shape[1]),
            variance=lambda x: x.var().expand(x.shape[1]),
        ),
    ),
    mistake(
        "rows_averaged",
        """The averages run within the rows, so there are N of them, and they do not fit to the D running
        statistics. Each feature has its own: average over the batch, axis 0.""",
        partial(update, mean=lambda x: x.mean(1), variance=lambda x: x.var(1)),
        partial(
            update,
            mean=lambda x: x.mean(1),
            variance=lambda x: x.var(1),
            mixed=lambda old, new, momentum: momentum * new + (1 - momentum) * old,
        ),
    ),
    mistake(
        "variance_by_cancellation",
        """The variance is computed as E[x²] − E[x]². On paper that is the same; at an offset of 10,000 both
        terms are near 10⁸, float32 has seven digits, and the difference is noise. Centre first, then
        square.""",
        partial(update, variance=lambda x: difference_of_squares(x, 0)[0] * len(x) / (len(x) - 1)),
        partial(
            update,
            variance=lambda x: difference_of_squares(x, 0)[0].clamp_min(0) * len(x) / (len(x) - 1),
        ),
        rounding=True,
    ),
    mistake(
        "swapped",
        """The two results are swapped: the running mean comes first, the running variance
        second.""",
        lambda running_mean, running_var, x, momentum=MOMENTUM: update(
            running_mean, running_var, x, momentum
        )[::-1],
    ),
)


@cache
def update_pairs() -> tuple[Mistake, ...]:
    """Mistakes in the variance and mistakes in the mixing, by the knobs of `update`."""
    by_knobs = [
        Mistake(one.key, "", tuple(variant.keywords for variant in one.variants if hasattr(variant, "func")))
        for one in UPDATE_MISTAKES
        if not one.rounding
    ]
    named = {one.key: one for one in UPDATE_MISTAKES}
    is_biased = named["biased_running_variance"]
    # What has no knobs, with the variance that np.var and many a course divide by N.
    apart = {
        "momentum_reversed": [
            update_with_default(default, lambda momentum: 1 - momentum, variance=biased)
            for default in (0.9, 0.99)
        ],
        "momentum_fixed": [
            update_with_default(MOMENTUM, lambda _, value=value: value, variance=biased)
            for value in (0.1, 0.9)
        ],
        "momentum_default": [update_with_default(value, variance=biased) for value in (0.9, 0.99, 0.01)],
        "wrong_mean": [partial(about_the_new_mean, less=0), partial(about_the_old_mean, less=0)],
        "swapped": [lambda *given, **options: update(*given, **options, variance=biased)[::-1]],
    }

    def reversed_about(passes: Callable, less: int, default: float) -> Callable:
        return lambda mean, var, x, momentum=default: passes(mean, var, x, 1 - momentum, less=less)

    return (
        *pairs(partial(partial, update), UPDATE_MISTAKES, by_knobs),
        *(both(named[key], is_biased, *variants) for key, variants in apart.items()),
        both(
            named["momentum_reversed"],
            named["wrong_mean"],
            *(
                reversed_about(passes, less, default)
                for passes in (about_the_new_mean, about_the_old_mean)
                for less in (0, 1)
                for default in (MOMENTUM, 0.9, 0.99)
            ),
        ),
    )


# -- inference -----------------------------------------------------------------------------------------


def library_inference(
    x: Tensor, running_mean: Tensor, running_var: Tensor, gamma: Tensor, beta: Tensor, eps: float = EPS
) -> Tensor:
    return F.batch_norm(x, running_mean, running_var, gamma, beta, training=False, eps=eps)


def infer(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    gamma: Tensor,
    beta: Tensor,
    eps: float = EPS,
    *,
    affine: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda x_hat, gamma, beta: gamma * x_hat + beta,
    mean: Callable[[Tensor, Tensor], Any] = lambda x, running_mean: running_mean,
    variance: Callable[[Tensor, Tensor], Tensor] = lambda x, running_var: running_var,
    **knobs: Any,
) -> Tensor:
    """The definition, with the knobs of `normalize`; its statistics are the stored ones."""
    x_hat, _ = normalize(
        x,
        0,
        eps,
        mean=lambda x, axes: mean(x, running_mean),
        variance=lambda x, axes: variance(x, running_var),
        **knobs,
    )
    return affine(x_hat, gamma, beta)


def inference_with(default_eps: float = EPS, **knobs: Any) -> Callable:
    """A `batch_norm_inference` with these knobs turned."""

    def batch_norm_inference(
        x: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        gamma: Tensor,
        beta: Tensor,
        eps: float = default_eps,
    ) -> Tensor:
        return infer(x, running_mean, running_var, gamma, beta, eps, **knobs)

    return batch_norm_inference


def about_eps(make: Callable) -> tuple[Mistake, ...]:
    """The mistakes in eps alone: what is left of them where the statistics are given, and none is below eps.

    There a lower limit does nothing, and cannot be told from an eps that is left out.
    """
    found = {one.key: one for one in statistics_mistakes(make, "N", "") if one.key.startswith("eps_")}
    variants = (*found["eps_missing"].variants, *found.pop("eps_as_floor").variants)
    found["eps_missing"] = mistake(
        "eps_missing",
        """eps is not added to the variance: it is left out, or is only a lower limit. Where the variance is
        near eps, your values come out too large. Where does eps go?""",
        *variants,
    )
    return tuple(found.values())


BATCH_STATISTICS = """The values are normalized by their own mean and variance, those of the batch at hand. At
    test time the stored statistics are used, so that a sample gets the same output whatever stands beside it,
    and a single sample is no special case."""


def scaled_apart(
    of_values: Callable[[Tensor, Tensor], Any], of_mean: Callable[[Tensor, Tensor], Any]
) -> Callable:
    """The formula multiplied out, with factors made of gamma and 1 / deviation."""

    def batch_norm_inference(
        x: Tensor, running_mean: Tensor, running_var: Tensor, gamma: Tensor, beta: Tensor, eps: float = EPS
    ) -> Tensor:
        scale = (running_var + eps).rsqrt()
        return of_values(gamma, scale) * x - of_mean(gamma, scale) * running_mean + beta

    return batch_norm_inference


#: What is put in the place of a stored statistic, with the knobs for it.
IN_PLACE_OF_STORED = (
    mistake(
        "batch_statistics_in_eval",
        "",
        {"mean": lambda x, running_mean: x.mean(0), "variance": lambda x, running_var: biased(x)},
        {"mean": lambda x, running_mean: x.mean(0), "variance": lambda x, running_var: x.var(0)},
    ),
    mistake("batch_mean_in_eval", "", {"mean": lambda x, running_mean: x.mean(0)}),
    mistake(
        "batch_variance_in_eval",
        "",
        {"variance": lambda x, running_var: biased(x)},
        {"variance": lambda x, running_var: x.var(0)},
    ),
    mistake(
        "corrected_again",
        "",
        {"variance": lambda x, running_var: running_var * len(x) / max(len(x) - 1, 1)},
        {"variance": lambda x, running_var: running_var * (len(x) - 1) / len(x)},
    ),
    mistake("not_centred", "", {"mean": lambda x, running_mean: 0.0}),
    mistake("mean_added", "", {"mean": lambda x, running_mean: -running_mean}),
)
STORED = {one.key: [inference_with(**knobs) for knobs in one.variants] for one in IN_PLACE_OF_STORED}

INFERENCE_MISTAKES = (
    mistake(
        "batch_statistics_in_eval",
        BATCH_STATISTICS,
        *STORED["batch_statistics_in_eval"],
    ),
    mistake(
        "batch_mean_in_eval",
        """The mean of the batch at hand is subtracted, and only the variance is the stored one. Both come
        from storage.""",
        *STORED["batch_mean_in_eval"],
    ),
    mistake(
        "batch_variance_in_eval",
        """The stored mean is subtracted, but the divisor comes from the batch at hand. Both statistics come
        from storage.""",
        *STORED["batch_variance_in_eval"],
    ),
    *about_eps(inference_with),
    mistake(
        "eps_twice",
        """eps is added twice. The running variance is a plain variance; eps joins it once, under the
        root.""",
        inference_with(eps_used=lambda eps: 2 * eps),
    ),
    mistake(
        "divided_by_variance",
        """The centred values are divided by the running variance rather than by its root. What is stored is
        a variance, not a standard deviation; the divisor is the root of (running_var + eps).""",
        inference_with(deviation=lambda var, eps: var + eps),
        inference_with(deviation=lambda var, eps: (var.square() + eps).sqrt()),
        inference_with(deviation=lambda var, eps: var),
    ),
    mistake(
        "multiplied_by_deviation",
        """The centred values are multiplied by the stored standard deviation, not divided by it. Whoever
        works out 1/√(running_var + eps) beforehand multiplies by that number: to divide by it turns it round
        again.""",
        inference_with(deviation=lambda var, eps: (var + eps).rsqrt()),
    ),
    mistake(
        "corrected_again",
        """The running variance is multiplied by N/(N − 1), or its inverse. It was unbiased when it was
        stored, and the number of samples at test time has nothing to do with it.""",
        *STORED["corrected_again"],
    ),
    mistake(
        "not_centred",
        """The running mean is not subtracted before dividing. Inference is the formula of training with
        stored numbers: first centre, then scale.""",
        *STORED["not_centred"],
    ),
    mistake(
        "mean_added",
        """The running mean is added where it should be subtracted. Where the formula is multiplied out, the
        shift is beta − running_mean · gamma / √(running_var + eps).""",
        *STORED["mean_added"],
    ),
    mistake(
        "mean_scaled_otherwise",
        """The values and the running mean are not multiplied by one and the same factor. That is gamma /
        √(running_var + eps) for both, since their difference is what is scaled: it needs brackets, and where
        they are multiplied out, the mean takes all of the factor with it.""",
        scaled_apart(lambda gamma, scale: gamma * scale, lambda gamma, scale: 1.0),
        scaled_apart(lambda gamma, scale: gamma * scale, lambda gamma, scale: gamma),
        scaled_apart(lambda gamma, scale: gamma * scale, lambda gamma, scale: scale),
        scaled_apart(lambda gamma, scale: gamma, lambda gamma, scale: scale),
        scaled_apart(lambda gamma, scale: gamma, lambda gamma, scale: gamma * scale),
        scaled_apart(lambda gamma, scale: 1.0, lambda gamma, scale: gamma * scale),
    ),
    *affine_mistakes(inference_with),
)


@cache
def inference_pairs() -> tuple[Mistake, ...]:
    by_knobs = *about_eps(dict), *IN_PLACE_OF_STORED, *affine_mistakes(dict)
    return pairs(inference_with, INFERENCE_MISTAKES, by_knobs)


def nothing(*_: Any) -> Any:
    """Stands for a step that is left out."""
    return ()


# -- the layer -----------------------------------------------------------------------------------------


class BatchNorm1d(nn.Module):
    """The definition. Every method is a knob: a mistake is this class with some of them exchanged."""

    default_eps: float = EPS
    default_momentum: float | None = MOMENTUM
    normal_knobs: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    eval_knobs: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, num_features: int, **options: Any) -> None:
        super().__init__()
        self.eps = options.pop("eps", self.default_eps)
        self.momentum = options.pop("momentum", self.default_momentum)
        if options:
            raise TypeError(f"no such argument: {options}")
        self.create(num_features)

    def create(self, size: int) -> None:
        self.trained("weight", torch.ones(size))
        self.trained("bias", torch.zeros(size))
        self.kept("running_mean", torch.zeros(size))
        self.kept("running_var", torch.ones(size))
        self.counted(torch.tensor(0))

    def trained(self, name: str, value: Tensor) -> None:
        setattr(self, name, nn.Parameter(value))

    def kept(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value)

    def counted(self, value: Tensor) -> None:
        self.register_buffer("num_batches_tracked", value)

    def uses_batch(self) -> bool:
        return self.training

    def follows_batch(self) -> bool:
        return self.training

    def forward(self, x: Tensor) -> Tensor:
        if self.follows_batch():
            self.follow(x)
        return self.from_batch(x) if self.uses_batch() else self.from_storage(x)

    def from_batch(self, x: Tensor) -> Tensor:
        return self.affine(normalize(x, 0, self.eps, **self.normal_knobs)[0])

    def from_storage(self, x: Tensor) -> Tensor:
        shared = {
            key: self.normal_knobs[key] for key in ("deviation", "eps_used") if key in self.normal_knobs
        }
        return self.affine_in_eval(
            infer(
                x,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                self.eps,
                affine=lambda x_hat, gamma, beta: x_hat,
                **shared | self.eval_knobs,
            )
        )

    def affine(self, x_hat: Tensor) -> Tensor:
        return self.weight * x_hat + self.bias

    def affine_in_eval(self, x_hat: Tensor) -> Tensor:
        return self.affine(x_hat)

    def follow(self, x: Tensor) -> None:
        """One more batch for the running statistics."""
        self.advance()
        momentum = self.share()
        x = self.watched(x)
        self.store(
            self.mixed(self.running_mean, x.mean(0), momentum),
            self.mixed(self.running_var, self.variance_to_store(x), momentum),
        )

    def watched(self, x: Tensor) -> Tensor:
        return x.detach()

    def advance(self) -> None:
        self.num_batches_tracked += 1

    def share(self) -> Any:
        """The weight of the new value."""
        return 1.0 / self.num_batches_tracked if self.momentum is None else self.momentum

    def mixed(self, old: Tensor, new: Tensor, momentum: Any) -> Tensor:
        return blend(old, new, momentum)

    def variance_to_store(self, x: Tensor) -> Tensor:
        return unbiased(x)

    def store(self, mean: Tensor, var: Tensor) -> None:
        self.running_mean = mean.to(self.running_mean.dtype)
        self.running_var = var.to(self.running_var.dtype)


def changed(default_eps: float = EPS, **members: Any) -> type[nn.Module]:
    """The definition with these members exchanged; what is none of a class is a knob of `normalize`."""
    of_class = [key for key, one in members.items() if hasattr(BatchNorm1d, key) or isinstance(one, property)]
    knobs = {key: members.pop(key) for key in tuple(members) if key not in of_class}
    return type("BatchNorm1d", (BatchNorm1d,), {"default_eps": default_eps, "normal_knobs": knobs, **members})


def layer_with(default_eps: float = EPS, **knobs: Any) -> type[nn.Module]:
    """For the shared mistakes: `affine(x_hat, gamma, beta)` as a knob becomes a method."""
    if "affine" in knobs:
        affine = knobs.pop("affine")
        knobs["affine"] = lambda self, x_hat: affine(x_hat, self.weight, self.bias)
    return changed(default_eps, **knobs)


def renamed(**names: str) -> Callable[[BatchNorm1d, int], None]:
    """A `create` that registers under other names and reads them by properties."""

    def create(self: BatchNorm1d, size: int) -> None:
        BatchNorm1d.create(self, size)
        for right, wrong in names.items():
            if right in self._parameters:
                self._parameters[wrong] = self._parameters.pop(right)
            else:
                self._buffers[wrong] = self._buffers.pop(right)

    return create


def alias(name: str) -> property:
    """Reads and writes a tensor that is registered under another name."""

    def write(self: nn.Module, value: Tensor) -> None:
        found = self._parameters if name in self._parameters else self._buffers
        found[name] = value

    return property(lambda self: getattr(self, name), write)


def plain(self: nn.Module, name: str, value: Tensor) -> None:
    self.__dict__[name] = value


def plain_store(self: nn.Module, mean: Tensor, var: Tensor) -> None:
    self.__dict__.update(running_mean=mean, running_var=var)


def stored_in_place(self: nn.Module, mean: Tensor, var: Tensor) -> None:
    with torch.no_grad():
        self.running_mean.copy_(mean)
        self.running_var.copy_(var)


def without_graph(name: str) -> Callable[..., None]:
    """A `store` that cuts off one of the two, and leaves the other its graph."""

    def store(self: BatchNorm1d, mean: Tensor, var: Tensor) -> None:
        new = {"mean": mean, "var": var}
        new[name] = new[name].detach()
        BatchNorm1d.store(self, **new)

    return store


def share_after_the_first(self: BatchNorm1d) -> Any:
    """The first batch replaces what a fresh layer holds, whatever momentum is."""
    return 1.0 if self.num_batches_tracked == 1 else BatchNorm1d.share(self)


def forgetting(name: str) -> Callable[..., None]:
    """An `__init__` that leaves an argument where it was, in a local variable."""

    def __init__(self: BatchNorm1d, num_features: int, **options: Any) -> None:
        BatchNorm1d.__init__(self, num_features, **options)
        delattr(self, name)

    return __init__


def sharing(*names: str) -> Callable[..., None]:
    """An `__init__` that keeps these arguments on the class."""

    def __init__(self: BatchNorm1d, num_features: int, **options: Any) -> None:
        BatchNorm1d.__init__(self, num_features, **options)
        for name in names:
            setattr(type(self), name, self.__dict__.pop(name))

    return __init__


def with_leading_axis(*names: str) -> Callable[[BatchNorm1d, int], None]:
    """A `create` that gives these tensors the shape (1, D)."""

    def create(self: BatchNorm1d, size: int) -> None:
        BatchNorm1d.create(self, size)
        for name in names:
            getattr(self, name).data = getattr(self, name).data[None]

    return create


def none_as_number(
    self: BatchNorm1d, old: Tensor, new: Tensor, wrong: Callable[[Any, Tensor], Any]
) -> Tensor:
    """The right mixture of old and new, begun by a computation that stops where momentum is None."""
    wrong(self.momentum, new)
    return blend(old, new, self.momentum)


def count_apart(self: nn.Module) -> None:
    self.__dict__["batches"] = self.__dict__.get("batches", 0) + 1


def share_by_own_count(self: nn.Module) -> float:
    return 1.0 / self.batches if self.momentum is None else self.momentum


LAYER_MISTAKES = (
    # Eval mode alone.
    mistake(
        "batch_statistics_in_eval",
        BATCH_STATISTICS,
        changed(uses_batch=lambda self: True),
        changed(uses_batch=lambda self: True, follows_batch=lambda self: True),
    ),
    mistake(
        "statistics_move_in_eval",
        """The running statistics move in eval mode: looking at the validation set changes the layer. They
        follow the data in train mode only.""",
        changed(follows_batch=lambda self: True),
    ),
    mistake(
        "mode_by_grad",
        """The layer decides by whether gradients are on, not by its mode. They are two things: no_grad stops
        gradients and nothing else, so a layer in train mode still uses the batch and follows it; and in eval
        mode gradients may well be wanted. The mode is what train() and eval() set.""",
        changed(
            uses_batch=lambda self: torch.is_grad_enabled(),
            follows_batch=lambda self: torch.is_grad_enabled(),
        ),
        changed(uses_batch=lambda self: self.training and torch.is_grad_enabled()),
        changed(
            uses_batch=lambda self: self.training and torch.is_grad_enabled(),
            follows_batch=lambda self: self.training and torch.is_grad_enabled(),
        ),
    ),
    mistake(
        "eval_affine_missing",
        """In eval mode gamma and beta are forgotten: the output is x_hat of the stored statistics. Scale and
        shift belong to both modes.""",
        changed(affine_in_eval=lambda self, x_hat: x_hat),
    ),
    mistake(
        "eval_eps_outside_root",
        """In eval mode eps stands outside the root. It is the formula of train mode with other statistics:
        the divisor is the root of (running_var + eps).""",
        changed(eval_knobs={"deviation": lambda var, eps: var.sqrt() + eps}),
    ),
    mistake(
        "eval_eps_missing",
        """In eval mode eps is forgotten. It is the formula of train mode with other statistics: the divisor
        is the root of (running_var + eps).""",
        changed(eval_knobs={"deviation": lambda var, eps: var.sqrt()}),
    ),
    mistake(
        "eval_divided_by_variance",
        """In eval mode the values are divided by the running variance rather than by the root of it with
        eps. What is stored is a variance.""",
        changed(eval_knobs={"deviation": lambda var, eps: var + eps}),
        changed(eval_knobs={"deviation": lambda var, eps: (var.square() + eps).sqrt()}),
        changed(eval_knobs={"deviation": lambda var, eps: var}),
    ),
    mistake(
        "eval_without_gradient",
        """In eval mode nothing flows back. Eval changes which statistics are used and nothing else: gamma,
        beta and whatever stands before the layer still get their gradients.""",
        changed(from_storage=torch.no_grad()(BatchNorm1d.from_storage)),
    ),
    # Train mode.
    mistake(
        "stored_statistics_in_training",
        """In train mode the values are normalized by the running statistics. A batch in training is
        normalized by its own mean and variance; the running ones are only kept for later.""",
        changed(uses_batch=lambda self: False),
    ),
    *statistics_mistakes(layer_with, "N", "one row alone"),
    *feature_mistakes(layer_with),
    mistake(
        "affine_not_trained",
        """gamma and beta get no gradient. They are what this layer learns: parameters, used as they are,
        neither buffers nor detached.""",
        changed(affine=lambda self, x_hat: self.weight.detach() * x_hat + self.bias.detach()),
        changed(trained=lambda self, name, value: self.register_buffer(name, value)),
        changed(
            trained=lambda self, name, value: setattr(self, name, nn.Parameter(value, requires_grad=False))
        ),
    ),
    *affine_mistakes(layer_with),
    # The running statistics.
    mistake(
        "momentum_reversed",
        MOMENTUM_REVERSED,
        changed(
            mixed=lambda self, old, new, momentum: (
                blend(old, new, momentum) if self.momentum is None else blend(new, old, momentum)
            )
        ),
        *(
            changed(
                default_momentum=default, mixed=lambda self, old, new, momentum: blend(new, old, momentum)
            )
            for default in (MOMENTUM, 0.9, 0.99)
        ),
    ),
    mistake(
        "biased_running_variance",
        BIASED_RUNNING_VARIANCE,
        changed(variance_to_store=lambda self, x: biased(x)),
    ),
    mistake(
        "wrong_count",
        CORRECTED_BY_ANOTHER_COUNT,
        *(
            changed(variance_to_store=lambda self, x, store=store: store(x))
            for store in (corrected_by(torch.numel), corrected_by(lambda x: x.shape[1]))
        ),
    ),
    mistake(
        "eps_in_running_variance",
        EPS_STORED,
        changed(variance_to_store=lambda self, x: unbiased(x) + self.eps),
        changed(variance_to_store=lambda self, x: biased(x) + self.eps),
    ),
    mistake(
        "deviation_stored",
        DEVIATION_STORED,
        changed(variance_to_store=lambda self, x: unbiased(x).sqrt()),
        changed(variance_to_store=lambda self, x: biased(x).sqrt()),
        changed(variance_to_store=lambda self, x: (biased(x) + self.eps).sqrt()),
    ),
    mistake("bessel_twice", BESSEL_TWICE, changed(variance_to_store=lambda self, x: corrected_twice(x))),
    mistake(
        "fresh_values_replaced",
        FRESH_VALUES_REPLACED,
        changed(share=share_after_the_first),
        changed(share=share_after_the_first, variance_to_store=lambda self, x: biased(x)),
    ),
    mistake(
        "squares_stored",
        SQUARES_STORED,
        changed(variance_to_store=lambda self, x: x.square().mean(0)),
        changed(variance_to_store=lambda self, x: x.square().sum(0) / (len(x) - 1)),
    ),
    mistake("sum_stored", SUM_STORED, changed(variance_to_store=lambda self, x: biased(x) * len(x))),
    mistake(
        "not_updated",
        NOT_UPDATED,
        changed(store=lambda self, mean, var: None),
        changed(follow=lambda self, x: None),
    ),
    mistake("old_value_forgotten", OLD_FORGOTTEN, changed(mixed=lambda self, old, new, momentum: new)),
    mistake(
        "old_value_not_decayed",
        NO_DECAY,
        changed(mixed=lambda self, old, new, momentum: old + momentum * new),
    ),
    mistake(
        "new_value_unweighted",
        NEW_UNWEIGHTED,
        changed(mixed=lambda self, old, new, momentum: (1 - momentum) * old + new),
    ),
    mistake(
        "momentum_fixed",
        MOMENTUM_IGNORED,
        changed(share=lambda self: 1.0 / self.num_batches_tracked if self.momentum is None else MOMENTUM),
        changed(share=lambda self: MOMENTUM),
    ),
    mistake(
        "momentum_default",
        MOMENTUM_LEFT_OUT,
        *(changed(default_momentum=value) for value in (0.9, 0.99, 0.01, None)),
    ),
    mistake(
        "none_as_a_number",
        """momentum = None is treated as a fixed momentum. It asks for the plain average over all batches so
        far: the new value gets the weight 1/k at batch k, and the first batch replaces what was there.""",
        changed(share=lambda self: MOMENTUM if self.momentum is None else self.momentum),
        changed(share=lambda self: 0.0 if self.momentum is None else self.momentum),
    ),
    mistake(
        "cumulative_off_by_one",
        """The cumulative average starts with the wrong weight. At batch k the new value has the weight 1/k,
        the batch itself counted, so the first batch replaces what was there.""",
        changed(
            share=lambda self: (
                1.0 / (self.num_batches_tracked + 1) if self.momentum is None else self.momentum
            )
        ),
        # As a number of Python's, 1/3 has all the digits of float64.
        changed(
            share=lambda self: (
                1.0 / (int(self.num_batches_tracked) + 1) if self.momentum is None else self.momentum
            )
        ),
    ),
    mistake(
        "mean_of_the_last_two",
        """With momentum = None the old value and the new one are averaged, half and half. That is right for
        two batches; from the third on the last ones weigh most. The plain average gives batch k the weight
        1/k.""",
        changed(
            share=lambda self: (
                1.0 / self.num_batches_tracked.clamp(max=2) if self.momentum is None else self.momentum
            )
        ),
        changed(share=lambda self: 0.5 if self.momentum is None else self.momentum),
    ),
    mistake(
        "zero_taken_for_none",
        """momentum = 0 is treated as None. Zero means that the running statistics stay; None, the plain
        average over all batches. In Python 0.0 counts as false, so ask whether it is None.""",
        changed(share=lambda self: self.momentum if self.momentum else 1.0 / self.num_batches_tracked),
        changed(share=lambda self: self.momentum or MOMENTUM),
    ),
    mistake(
        "count_not_saved",
        """The cumulative average divides by a count that state_dict does not hold, so a loaded layer starts
        counting afresh and forgets what it knew at its next batch. num_batches_tracked is there for
        this.""",
        changed(
            advance=lambda self: (BatchNorm1d.advance(self), count_apart(self)), share=share_by_own_count
        ),
    ),
    mistake(
        "batches_not_counted",
        """num_batches_tracked does not count every batch seen in train mode. It goes up by one with each,
        whatever the momentum.""",
        changed(advance=lambda self: BatchNorm1d.advance(self) if self.momentum is None else None),
        changed(advance=count_apart, share=share_by_own_count),
    ),
    mistake(
        "wrong_mean",
        WRONG_MEAN,
        changed(variance_to_store=lambda self, x: (x - self.running_mean).square().sum(0) / (len(x) - 1)),
        changed(
            variance_to_store=lambda self, x: (
                (x - blend(self.running_mean, x.mean(0), self.share())).square().sum(0) / (len(x) - 1)
            )
        ),
    ),
    mistake(
        "graph_kept",
        """A running statistic carries a graph. It is computed from x with gradients on, so every batch hangs
        on to the one before it: memory grows, and a later backward may fail. The statistics are a record, not
        a path for gradients.""",
        changed(watched=lambda self, x: x),
        changed(watched=lambda self, x: x, store=without_graph("mean")),
        changed(watched=lambda self, x: x, store=without_graph("var")),
    ),
    mistake(
        "kept_by_the_class",
        """A second layer changes the first: eps or momentum is kept by the class, where all layers share it.
        Store it on self, so that each layer has its own.""",
        changed(__init__=sharing("eps")),
        changed(__init__=sharing("momentum")),
        changed(__init__=sharing("eps", "momentum")),
    ),
    # Parameters, buffers, state_dict.
    mistake(
        "argument_not_stored",
        """The layer reads an attribute that it never stored, so its first call fails. What __init__ is given
        is gone when it returns: what forward needs later, eps and momentum, is kept on self.""",
        changed(__init__=forgetting("momentum")),
        changed(__init__=forgetting("eps")),
    ),
    mistake(
        "none_fails",
        """momentum = None stops the layer: it is used as a number. It stands for the plain average of all
        batches so far, in which the newest has the share 1 / num_batches_tracked.""",
        *(
            changed(mixed=lambda self, old, new, momentum, wrong=wrong: none_as_number(self, old, new, wrong))
            for wrong in (
                lambda momentum, new: 1 - momentum,
                lambda momentum, new: 1.0 - momentum,
                lambda momentum, new: momentum * new,
                lambda momentum, new: new * momentum,
                lambda momentum, new: torch.lerp(new, new, momentum),
                lambda momentum, new: new.lerp(new, momentum),
                lambda momentum, new: new.clone().lerp_(new, momentum),
                lambda momentum, new: new.add(new, alpha=momentum),
                lambda momentum, new: new.clone().add_(new, alpha=momentum),
                lambda momentum, new: float(momentum),
            )
        ),
    ),
    mistake(
        "extra_axis",
        """Parameters or buffers have the shape (1, D). Broadcasting hides that in the outputs, but neither
        layer loads the state_dict of the other: gamma, beta and the running statistics are (D,).""",
        changed(create=with_leading_axis("weight", "bias", "running_mean", "running_var")),
        changed(create=with_leading_axis("weight", "bias")),
        changed(create=with_leading_axis("running_mean", "running_var")),
    ),
    mistake(
        "not_saved",
        """The running statistics are buffers that state_dict leaves out (persistent=False). A loaded layer
        starts its statistics afresh, and normalizes as if it had seen nothing.""",
        changed(kept=lambda self, name, value: self.register_buffer(name, value, persistent=False)),
    ),
    mistake(
        "plain_tensors",
        """The running statistics are plain attributes. The outputs do not show it on the CPU, but state_dict
        does not hold them, and they stay behind when the model moves to another device. State that is saved
        and moved but not trained is a buffer.""",
        changed(kept=plain, store=plain_store),
    ),
    mistake(
        "statistics_as_parameters",
        """The running statistics are registered as parameters. Nothing trains them by gradients: with or
        without requires_grad, what is saved and moved but not trained is a buffer.""",
        changed(
            kept=lambda self, name, value: setattr(self, name, nn.Parameter(value, requires_grad=False)),
            store=stored_in_place,
        ),
        changed(
            kept=lambda self, name, value: setattr(self, name, nn.Parameter(value)), store=stored_in_place
        ),
    ),
    mistake(
        "no_statistics",
        """The layer has no running_mean, running_var and num_batches_tracked. In these buffers it follows the
        batches in train mode, and in eval mode it uses what it has gathered. A layer that keeps nothing can
        only use the batch at hand.""",
        changed(
            kept=nothing,
            counted=nothing,
            follows_batch=lambda self: False,
            uses_batch=lambda self: True,
        ),
    ),
    mistake(
        "counter_missing",
        """num_batches_tracked is missing among the buffers. It counts the batches seen in train mode, is
        saved with the layer, and is what momentum = None divides by.""",
        changed(counted=nothing, advance=count_apart, share=share_by_own_count),
        changed(
            counted=lambda self, value: setattr(self, "num_batches_tracked", 0),
        ),
    ),
    mistake(
        "other_names",
        """The tensors have other names than those of nn.BatchNorm1d, so neither layer loads the state_dict of
        the other. It calls gamma weight, beta bias, and the buffers running_mean, running_var and
        num_batches_tracked.""",
        changed(create=renamed(weight="gamma", bias="beta"), weight=alias("gamma"), bias=alias("beta")),
        changed(create=renamed(weight="mults", bias="adds"), weight=alias("mults"), bias=alias("adds")),
        *(
            changed(
                create=renamed(running_mean=mean, running_var=var),
                running_mean=alias(mean),
                running_var=alias(var),
            )
            for mean, var in (
                ("moving_mean", "moving_var"),
                ("moving_mean", "moving_variance"),
                ("means", "vars"),
            )
        ),
    ),
    mistake(
        "fresh_values",
        """A fresh layer starts with other values than it should. Before it has learned anything it is the
        identity on normalized data: gamma 1, beta 0, running mean 0, running variance 1, no batch
        counted.""",
        *(
            changed(create=lambda self, size, name=name, value=value: started(self, size, name, value))
            for name, value in (
                ("bias", torch.ones),
                ("weight", torch.zeros),
                ("weight", torch.rand),
                ("running_var", torch.zeros),
            )
        ),
    ),
    # Gradients.
    mistake(
        "statistics_constant",
        """The mean and the variance of the batch are detached, so only the direct path from x to y is left.
        In training they depend on every sample, and the gradient flows through them. Its columns sum to 0,
        because adding a constant to a feature changes nothing; yours do not. Only the running statistics are
        cut off.""",
        changed(
            mean=lambda x, axes: x.detach().mean(axes, keepdim=True),
            variance=lambda x, axes: centred_squares(x.detach(), axes),
        ),
    ),
    mistake(
        "variance_constant",
        """The variance of the batch is detached, so its path is missing in the gradient of x. In training
        the gradient flows through the mean and through the variance, and so its columns are at right angles
        to x_hat (up to eps).""",
        changed(variance=lambda x, axes: centred_squares(x.detach(), axes)),
    ),
    mistake(
        "mean_constant",
        """The mean of the batch is detached, so its path is missing in the gradient of x. In training the
        gradient flows through the mean and through the variance, and so its columns sum to 0.""",
        changed(mean=lambda x, axes: x.detach().mean(axes, keepdim=True)),
    ),
)


@cache
def layer_pairs() -> tuple[Mistake, ...]:
    """What is wrong in the mixing, with the variance that many a course and np.var divide by N."""
    named = {one.key: one for one in LAYER_MISTAKES}
    mixing: dict[str, list[dict[str, Any]]] = {
        "momentum_reversed": [
            {
                "default_momentum": default,
                "mixed": lambda self, old, new, momentum: (
                    blend(old, new, momentum) if self.momentum is None else blend(new, old, momentum)
                ),
            }
            for default in (MOMENTUM, 0.9, 0.99)
        ],
        "momentum_default": [{"default_momentum": value} for value in (0.9, 0.99, 0.01)],
        "momentum_fixed": [{"share": lambda self: MOMENTUM}],
        "none_as_a_number": [
            {"share": lambda self: MOMENTUM if self.momentum is None else self.momentum},
        ],
    }
    return tuple(
        both(
            named[key],
            named["biased_running_variance"],
            *(changed(**members, variance_to_store=lambda self, x: biased(x)) for members in several),
        )
        for key, several in mixing.items()
    )


def started(self: BatchNorm1d, size: int, name: str, value: Callable[[int], Tensor]) -> None:
    BatchNorm1d.create(self, size)
    getattr(self, name).data = value(size)


# -- momenta that average all samples ------------------------------------------------------------------


def momenta_from_the_end(batch_sizes: list[int]) -> list[float]:
    """From what each batch is to weigh in the end, its share of all samples, in exact fractions.

    What comes later leaves of a batch's momentum as much as its own share and those before it are.
    """
    left, found = Fraction(1), []
    for size in reversed(batch_sizes):
        momentum = Fraction(size, sum(batch_sizes)) / left
        found.append(float(momentum))
        left *= 1 - momentum
    return found[::-1]


def momenta(
    batch_sizes: list[int],
    *,
    weights: Callable[[Tensor], Tensor] = lambda sizes: sizes,
    total: Callable[[Tensor], Tensor] = lambda weights: weights.cumsum(0),
    result: Callable[[Tensor], Tensor] = lambda momenta: momenta,
) -> list[float]:
    """The definition: the weight of a batch over that of all batches up to and with it."""
    found = weights(torch.tensor(batch_sizes, dtype=torch.float64))
    return result(found / total(found)).tolist()


def first_replaced(value: float) -> Callable[[Tensor], Tensor]:
    return lambda momenta: torch.cat([torch.full_like(momenta[:1], value), momenta[1:]])


MOMENTA_MISTAKES = (
    mistake(
        "batches_unweighted",
        """Every batch counts the same, large or small. 1/k for the k-th batch is the plain average of the
        batches, as momentum=None takes it; we want that of the samples, and a larger batch has more of
        them.""",
        partial(momenta, weights=torch.ones_like),
    ),
    mistake(
        "constant",
        """The momentum stays the same from batch to batch. Then the newest batch weighs most, and older ones
        fade; and a part of what was there before the first batch is left.""",
        *(partial(momenta, result=lambda m, value=value: 0 * m + value) for value in (0.1, 0.9, 0.5)),
        partial(momenta, result=lambda m: torch.full_like(m, 1 / len(m))),
    ),
    mistake(
        "shares_for_momenta",
        """These are the shares of all samples: what a batch is to weigh in the end. A momentum is what it
        weighs when it comes in. Each later batch multiplies that by 1 − its own momentum, so earlier ones
        have to come in with more.""",
        partial(momenta, total=lambda weights: weights.sum()),
    ),
    mistake(
        "momentum_reversed",
        """These are the weights of the old value. Here momentum is the weight of the new one, as in PyTorch;
        Keras and TensorFlow write 1 minus that.""",
        partial(momenta, result=lambda m: 1 - m),
        partial(momenta, result=lambda m: first_replaced(1.0)(1 - m)),
    ),
    mistake(
        "start_counted",
        """What the running mean held before the first batch still has a weight, as if it stood for samples
        too. It stands for none: after the first batch nothing of it may be left.""",
        partial(momenta, total=lambda weights: weights.cumsum(0) + 1),
        partial(momenta, total=lambda weights: weights.cumsum(0) + weights[0]),
        *(partial(momenta, result=first_replaced(value)) for value in (0.1, 0.0, 0.5)),
    ),
    mistake(
        "batch_itself_left_out",
        """The batch is compared with the samples that came before it, without itself. The new mean is over
        both, old samples and new ones: that is the whole of which the batch is a part.""",
        partial(momenta, total=lambda weights: torch.cat([weights[:1], weights.cumsum(0)[:-1]])),
    ),
    mistake(
        "only_two_batches",
        """A batch is compared with the one before it alone. The running mean stands for all samples so far,
        not for the last batch.""",
        partial(momenta, total=lambda w: w + torch.cat([torch.zeros_like(w[:1]), w[:-1]])),
    ),
    mistake(
        "counted_from_the_end",
        """The sums run from the last batch backwards, so that the last one comes in with momentum 1 and wipes
        out all before it. The first one is to do so.""",
        partial(momenta, total=lambda weights: weights.flip(0).cumsum(0).flip(0)),
    ),
    mistake(
        "default_scaled",
        """The momentum goes with the size of the batch, but not with how many samples were seen before. The
        more there were, the less may a batch of the same size change their mean.""",
        partial(momenta, total=lambda weights: weights.amax()),
        partial(momenta, total=lambda weights: 10 * weights.amax()),
        partial(momenta, total=lambda weights: 10 * weights[0]),
        partial(momenta, total=lambda weights: 10 * weights.mean()),
    ),
    mistake(
        "roots_or_squares",
        """The batches are weighed by a power of their size. A mean over all samples gives each sample the
        same weight, and so a batch of twice as many just twice as much.""",
        partial(momenta, weights=torch.sqrt),
        partial(momenta, weights=torch.square),
    ),
)


# -- counting ------------------------------------------------------------------------------------------


def is_counter(name: str, value: Tensor) -> bool:
    return name.rsplit(".", 1)[-1] == "num_batches_tracked"


def count_by_walking(model: nn.Module) -> tuple[int, int]:
    """The modules one by one, looking into what each of them holds itself."""
    seen: set[int] = set()
    totals = [0, 0]
    for part in ("_parameters", "_buffers"):
        for module in model.modules():
            for name, tensor in vars(module)[part].items():
                if tensor is None or id(tensor) in seen or name == "num_batches_tracked":
                    continue
                seen.add(id(tensor))
                trainable = part == "_parameters" and tensor.requires_grad
                totals[0 if trainable else 1] += tensor.numel()
    return totals[0], totals[1]


def count(
    model: nn.Module,
    *,
    parameters: Callable[[nn.Module], Iterable[tuple[str, Tensor]]] = lambda model: model.named_parameters(),
    buffers: Callable[[nn.Module], Iterable[tuple[str, Tensor]]] = lambda model: model.named_buffers(),
    left_out: Callable[[str, Tensor], bool] = is_counter,
    size: Callable[[Tensor], int] = lambda tensor: tensor.numel(),
    learns: Callable[[Tensor], bool] = lambda parameter: parameter.requires_grad,
    across: bool = True,
) -> tuple[int, int]:
    """The definition. across: a tensor that is parameter and buffer counts once."""
    found = list(parameters(model))
    ids = {id(tensor) for _, tensor in found} if across else set()
    kept = [one for one in buffers(model) if not left_out(*one) and id(one[1]) not in ids]
    trainable = sum(size(tensor) for _, tensor in found if learns(tensor))
    frozen = sum(size(tensor) for _, tensor in found if not learns(tensor))
    return trainable, frozen + sum(size(tensor) for _, tensor in kept)


def parameters_of_children(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What the modules right below the model hold themselves, and nothing from further down."""
    for module in model.children():
        yield from module.named_parameters(recurse=False)


def buffers_of_children(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for module in model.children():
        yield from module.named_buffers(recurse=False)


def parameters_of_every_module(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Each module asked for all its parameters, so that a block counts for every level above it."""
    for module in model.modules():
        yield from module.named_parameters()


def buffers_of_every_module(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for module in model.modules():
        yield from module.named_buffers()


def repeated_parameters(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return model.named_parameters(remove_duplicate=False)


def repeated_buffers(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return model.named_buffers(remove_duplicate=False)


def saved_buffers(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    saved = model.state_dict()
    return ((name, tensor) for name, tensor in model.named_buffers() if name in saved)


def parameters_of_each_alone(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Each module asked for its own, so that a tensor of two modules comes twice."""
    for module in model.modules():
        yield from module.named_parameters(recurse=False)


def count_by_state_dict(
    model: nn.Module, left_out: Callable[[str, Tensor], bool] = is_counter
) -> tuple[int, int]:
    """What state_dict lists and no gradient trains."""
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    saved = model.state_dict().items()
    return trainable, sum(tensor.numel() for name, tensor in saved if not left_out(name, tensor)) - trainable


def of_layers(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Only what is called weight or bias."""
    ends = ("weight", "bias")
    return (one for one in model.named_parameters() if one[0].rsplit(".", 1)[-1] in ends)


def remembering() -> Callable[[nn.Module], tuple[int, int]]:
    """A count of what no call before has seen."""
    known: list[Tensor] = []

    def new(model: nn.Module) -> tuple[int, int]:
        here = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        before = {id(tensor) for tensor in known}
        known.extend(here.values())
        return count(model, size=lambda tensor: 0 if id(tensor) in before else tensor.numel())

    return new


COUNT_MISTAKES = (
    mistake(
        "counters_counted",
        """The step counters num_batches_tracked are counted. They are bookkeeping, one number for each
        batch-norm layer, and belong to neither group here.""",
        partial(count, left_out=lambda name, tensor: False),
    ),
    mistake(
        "buffers_missing",
        """Buffers are not counted. Running statistics are part of the model, saved and loaded with it, and
        not trained: they are the non-trainable part of a batch-norm layer even if nothing is frozen.""",
        partial(count, buffers=lambda model: ()),
    ),
    mistake(
        "frozen_left_out",
        """Frozen parameters are missing among the non-trainable. A parameter with requires_grad = False is
        still part of the model.""",
        partial(
            count,
            parameters=lambda model: (one for one in model.named_parameters() if one[1].requires_grad),
            across=False,
        ),
        partial(
            count,
            parameters=lambda model: (one for one in model.named_parameters() if one[1].requires_grad),
            buffers=lambda model: (
                one
                for one in model.named_buffers()
                if id(one[1]) not in {id(parameter) for parameter in model.parameters()}
            ),
        ),
    ),
    mistake(
        "frozen_counted_as_trainable",
        """Every parameter counts as trainable here. A parameter with requires_grad = False is frozen and
        counts as non-trainable.""",
        partial(count, learns=lambda parameter: True),
    ),
    mistake(
        "everything_trainable",
        """Nothing counts as non-trainable, neither buffers nor frozen parameters. They are what training by
        gradients does not move.""",
        partial(count, buffers=lambda model: (), learns=lambda parameter: True),
    ),
    mistake(
        "shared_counted_twice",
        """A tensor that is reached by two ways is counted twice. A weight tied to another layer, or a block
        used in two places, exists once: count tensors, not names.""",
        partial(count, parameters=repeated_parameters, buffers=repeated_buffers, across=False),
        partial(count, parameters=repeated_parameters, buffers=repeated_buffers),
        partial(count, parameters=repeated_parameters),
        partial(count, parameters=parameters_of_each_alone),
    ),
    mistake(
        "state_dict_counted",
        """The entries of state_dict are counted. It lists a tensor once for each of its names and leaves out
        buffers that are not saved. What the model holds, each tensor once, is in parameters() and
        buffers().""",
        count_by_state_dict,
        partial(count_by_state_dict, left_out=lambda name, tensor: False),
        partial(count_by_state_dict, left_out=lambda name, tensor: not tensor.is_floating_point()),
    ),
    mistake(
        "nested_counted_twice",
        """Every module is asked for all the parameters below it, so what lies in a block counts once for each
        level above it. The parameters of the whole model are those of its root, or of each module alone.""",
        partial(count, parameters=parameters_of_every_module, buffers=buffers_of_every_module),
        partial(count, parameters=parameters_of_every_module, buffers=buffers_of_every_module, across=False),
        partial(count, parameters=parameters_of_every_module),
    ),
    mistake(
        "parameter_and_buffer",
        """A tensor that one module holds as a parameter and another as a buffer is counted twice. It exists
        once.""",
        partial(count, across=False),
    ),
    mistake(
        "only_real_buffers",
        """Buffers of whole numbers are left out. num_batches_tracked is the only one that does not count; a
        table of positions does, whatever its dtype.""",
        partial(count, left_out=lambda name, tensor: not tensor.is_floating_point()),
    ),
    mistake(
        "scalar_buffers_missing",
        """Buffers with a single element are left out. num_batches_tracked is the only one that does not
        count; any other scalar does.""",
        partial(count, left_out=lambda name, tensor: tensor.dim() == 0),
        partial(count, left_out=lambda name, tensor: tensor.numel() == 1),
    ),
    mistake(
        "unsaved_buffers_missing",
        """Buffers that state_dict leaves out are not counted. The model has a buffer whether it is saved or
        not.""",
        partial(count, buffers=saved_buffers),
    ),
    mistake(
        "only_running_statistics",
        """Of the buffers only the running statistics are counted. A model may register others, and they are
        non-trainable too.""",
        partial(
            count,
            left_out=lambda name, tensor: not name.endswith(("running_mean", "running_var")),
        ),
    ),
    mistake(
        "only_weight_and_bias",
        """Only parameters called weight or bias are counted. A module may hold parameters under any name.""",
        partial(count, parameters=of_layers),
    ),
    mistake(
        "scalars_missing",
        """Parameters without dimensions are left out, or make it fail. A scalar is one element, and learns as
        all others do.""",
        partial(count, size=lambda tensor: tensor.numel() if tensor.dim() else 0),
    ),
    mistake(
        "kept_between_calls",
        """Asked a second time about the same model, it finds nothing left to count: what has been seen is
        kept between calls, in a global or in a default argument, which is made once, when the function is
        defined. Each call starts with an empty set of its own.""",
        remembering(),
    ),
    mistake(
        "tensors_counted",
        """This counts tensors. We want the number of their elements: a weight of shape (3, 4) is 12.""",
        partial(count, size=lambda tensor: 1),
    ),
    mistake(
        "total_for_trainable",
        """The first number is the total. It should be the trainable part alone, so that the two add up to
        the total.""",
        lambda model: (sum(count(model)), count(model)[1]),
    ),
    mistake(
        "total_for_non_trainable",
        """The second number is a total, in which the trainable part is counted again. It should be the
        non-trainable part alone.""",
        lambda model: (count(model)[0], sum(count(model))),
        lambda model: (count(model)[0], sum(count(model, left_out=lambda name, tensor: False))),
        lambda model: (count(model)[0], sum(count(model, buffers=lambda model: ()))),
    ),
    mistake(
        "nested_missing",
        """What lies in a block is not counted: only the children of the model are looked at, and what each
        holds itself. Layers may lie at any depth.""",
        partial(count, parameters=parameters_of_children, buffers=buffers_of_children),
        partial(count, parameters=parameters_of_children),
    ),
    mistake(
        "swapped",
        "The two numbers are swapped: trainable comes first.",
        lambda model: count(model)[::-1],
    ),
    *reading_mistakes(count),
)


# -- freezing ------------------------------------------------------------------------------------------


@cache
def count_pairs() -> tuple[Mistake, ...]:
    """Mistakes in the buffers, by code that also counts what is parameter and buffer in both places."""
    named = {one.key: one for one in COUNT_MISTAKES}
    in_buffers = (
        "only_real_buffers",
        "scalar_buffers_missing",
        "unsaved_buffers_missing",
    )
    return tuple(
        both(
            named[key],
            named["parameter_and_buffer"],
            *(partial(one, across=False) for one in named[key].variants),
        )
        for key in in_buffers
    )


def freeze_by_train(model: nn.Module) -> nn.Module:
    """train() puts the rest of the model in its mode and batch norm back into eval mode."""
    original = model.train

    def train(mode: bool = True) -> nn.Module:
        original(mode)
        for layer in batch_norms(model):
            layer.eval()
        return model

    model.train = train
    for layer in batch_norms(model):
        layer.requires_grad_(False)
    return model.train(model.training)


def batch_norms(model: nn.Module, kinds: Any = _BatchNorm) -> Iterator[nn.Module]:
    return (module for module in model.modules() if isinstance(module, kinds))


def stays(layer: nn.Module) -> None:
    """From now on train() leaves this layer alone."""
    layer.train = lambda mode=True: layer


def freeze(
    model: nn.Module,
    *,
    layers: Callable[[nn.Module], Iterable[nn.Module]] = batch_norms,
    parameters: Callable[[nn.Module], Iterable[Tensor]] = lambda layer: layer.parameters(recurse=False),
    mode: Callable[[nn.Module], Any] = lambda layer: layer.eval(),
    lasting: Callable[[nn.Module], Any] = stays,
    rest: Callable[[nn.Module], Any] = lambda model: None,
) -> nn.Module:
    """The definition: three things for every batch-norm layer, and a knob for each."""
    for layer in layers(model):
        mode(layer)
        lasting(layer)
        for parameter in parameters(layer):
            parameter.requires_grad_(False)
    rest(model)
    return model


def weight_and_bias(layer: nn.Module) -> Iterable[Tensor]:
    """gamma and beta by name, which are None where a layer has none."""
    return layer.weight, layer.bias


def frozen_by_name(model: nn.Module) -> nn.Module:
    """The definition, with an assignment in place of a call."""
    for layer in batch_norms(model):
        layer.eval()
        stays(layer)
        layer.weight.requires_grad = False
        layer.bias.requires_grad = False
    return model


def zero_gradients(layer: nn.Module) -> Iterable[Tensor]:
    """Gradients of zero in place of none."""
    for parameter in layer.parameters():
        parameter.register_hook(torch.zeros_like)
    return ()


def momentum_zero(layer: nn.Module) -> None:
    layer.momentum = 0.0


def untracked(layer: nn.Module) -> None:
    layer.track_running_stats = False


def statistics_dropped(layer: nn.Module) -> None:
    layer.running_mean = layer.running_var = None


def cut(layer: nn.Module) -> None:
    layer.forward = torch.no_grad()(layer.forward)


def evaluated_for_ever(model: nn.Module) -> None:
    model.eval()
    model.train = lambda mode=True: model


def one_dimensional(model: nn.Module) -> None:
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.requires_grad_(False)


def frozen_copy(model: nn.Module) -> nn.Module:
    return freeze(copy.deepcopy(model))


def reset(layer: nn.Module) -> None:
    """Freezing at gamma 1 and beta 0."""
    layer.eval()
    layer.reset_parameters()


NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)

FREEZE_MISTAKES = (
    mistake(
        "undone_by_train",
        """It is frozen at first, and the next model.train() undoes it: train() puts every module below it
        into train mode, so the layers use and follow their batches again. Every training loop calls it, so
        the freezing has to outlast that call.""",
        partial(freeze, lasting=nothing),
    ),
    mistake(
        "parameters_only",
        """gamma and beta are fixed, but the layers still normalize with the batch and their running
        statistics still move: those are buffers, which requires_grad does not concern. What decides about
        them is the mode of the layer.""",
        partial(freeze, mode=nothing, lasting=nothing),
    ),
    mistake(
        "parameters_still_learn",
        """The running statistics are fixed, but gamma and beta still learn: eval mode changes which
        statistics are used and lets gradients flow as before. Parameters that should not learn must not get
        a gradient.""",
        partial(freeze, parameters=nothing),
        partial(freeze, parameters=nothing, lasting=nothing),
    ),
    mistake(
        "momentum_zero",
        """The running statistics no longer move, but the layers still normalize with the batch at hand.
        Momentum decides what is stored, not what is used; a frozen layer uses what it has stored.""",
        partial(freeze, mode=momentum_zero, lasting=nothing),
        partial(freeze, mode=untracked, lasting=nothing),
        partial(freeze, mode=statistics_dropped, lasting=nothing),
    ),
    mistake(
        "everything_in_eval",
        """The whole model is in eval mode, so dropout and its like are off as well. Only the batch-norm
        layers change mode; everything else goes on training as before.""",
        partial(freeze, rest=lambda model: model.eval()),
        partial(freeze, lasting=nothing, rest=lambda model: model.eval()),
        partial(freeze, lasting=nothing, rest=evaluated_for_ever),
    ),
    mistake(
        "everything_frozen",
        """No parameter of the model learns any more. Only gamma and beta of the batch-norm layers stop;
        weights elsewhere keep their gradients.""",
        partial(freeze, rest=lambda model: model.requires_grad_(False)),
        partial(freeze, lasting=nothing, rest=lambda model: model.requires_grad_(False)),
    ),
    mistake(
        "other_parameters_frozen",
        """More is frozen than batch norm: other norms, or biases, do not learn any more. What has one
        dimension, or the word norm in its name, need not be batch norm.""",
        partial(freeze, layers=partial(batch_norms, kinds=NORMS)),
        partial(freeze, layers=partial(batch_norms, kinds=_NormBase)),
        partial(freeze, rest=one_dimensional),
        partial(freeze, layers=partial(batch_norms, kinds=NORMS), lasting=nothing),
    ),
    mistake(
        "no_parameters_fails",
        """A batch norm without gamma and beta stops your code: where affine is False, weight and bias are
        None. Such a layer has running statistics to freeze all the same. Ask each layer for the parameters
        that it has.""",
        partial(freeze, parameters=weight_and_bias),
        frozen_by_name,
    ),
    mistake(
        "kinds_missing",
        """Some kinds of batch norm are not frozen. There is one each for features, images and volumes
        (BatchNorm1d, 2d, 3d), and they have a base in common.""",
        partial(freeze, layers=partial(batch_norms, kinds=nn.BatchNorm1d)),
        partial(freeze, layers=partial(batch_norms, kinds=nn.BatchNorm2d)),
        partial(freeze, layers=partial(batch_norms, kinds=(nn.BatchNorm1d, nn.BatchNorm2d))),
    ),
    mistake(
        "nested_missing",
        """Layers inside blocks are not frozen: only the direct children of the model are looked at.
        Batch norm may lie at any depth.""",
        partial(
            freeze,
            layers=lambda model: (one for one in model.children() if isinstance(one, _BatchNorm)),
        ),
    ),
    mistake(
        "gradients_zeroed",
        """gamma and beta get a gradient of zero instead of none. Weight decay adds its share to a gradient of
        zero, and momentum goes on by itself, so they still move. What has no gradient is left alone by an
        optimizer.""",
        partial(freeze, parameters=zero_gradients),
    ),
    mistake(
        "no_grad_for_eval",
        """The batch-norm layers run without gradients, and still normalize with the batch and follow it.
        no_grad stops gradients and nothing else: which statistics are used, and whether they move, is decided
        by the mode of the layer. What stands before the layers no longer learns either.""",
        partial(freeze, mode=nothing, parameters=nothing, lasting=cut),
    ),
    mistake(
        "gradient_cut",
        """The frozen layers let no gradient through, so nothing before them learns. Frozen means that their
        own parameters stay; what stands before them still trains, through them.""",
        partial(freeze, lasting=lambda layer: (stays(layer), cut(layer))),
    ),
    mistake(
        "shift_still_learns",
        """Only one of gamma and beta is frozen, and the other still learns. Both are parameters: each has
        to stop asking for a gradient.""",
        partial(freeze, parameters=lambda layer: [layer.weight] if layer.affine else []),
        partial(freeze, parameters=lambda layer: [layer.bias] if layer.affine else []),
    ),
    mistake(
        "affine_reset",
        """gamma and beta are back at 1 and 0. Freezing must not change what was learned.""",
        partial(freeze, mode=reset),
    ),
    mistake(
        "nothing_frozen",
        """The batch-norm layers train as before: they normalize with the batch, their running statistics
        follow it, and gamma and beta learn.""",
        lambda model: model,
        partial(freeze, layers=nothing),
    ),
    mistake(
        "copy_frozen",
        """A copy is frozen and returned, and the model that was given trains on as before. Freeze the model
        itself, and return that.""",
        frozen_copy,
    ),
)


# -- what is wrong with a set-up -----------------------------------------------------------------------

KINDS = ("training mode", "momentum", "bias", "shared", "one sample", "none")


def fault_by_walking(model: nn.Sequential, batches: list[Tensor]) -> str:
    """Layer by layer, with what came before in mind."""
    if min(map(len, batches)) == 1:
        return "one sample"
    seen: list[nn.Module] = []
    for layer in model:
        if isinstance(layer, _BatchNorm):
            if layer.training:
                return "training mode"
            if layer.momentum is not None and layer.momentum == 0:
                return "momentum"
            if any(layer is one for one in seen):
                return "shared"
            if seen and isinstance(seen[-1], nn.Linear) and seen[-1].bias is not None:
                return "bias"
        seen.append(layer)
    return "none"


def biased_norm(layers: list[nn.Module]) -> bool:
    return any(
        isinstance(one, nn.Linear) and one.bias is not None and isinstance(other, _BatchNorm)
        for one, other in pairwise(layers)
    )


def twice(layers: list[nn.Module]) -> bool:
    return len({id(layer) for layer in layers}) < len(layers)


def norms_in(layers: Iterable[nn.Module]) -> list[nn.Module]:
    return [layer for layer in layers if isinstance(layer, _BatchNorm)]


def fault(
    model: nn.Sequential,
    batches: list[Tensor],
    *,
    looked_at: slice = slice(None),
    training: Callable[[nn.Module, list[nn.Module]], bool] = lambda model, norms: any(
        norm.training for norm in norms
    ),
    still: Callable[[float | None], bool] = lambda momentum: momentum == 0,
    bias: Callable[[list[nn.Module]], bool] = biased_norm,
    shared: Callable[[list[nn.Module]], bool] = lambda layers: twice(norms_in(layers)),
    alone: Callable[[list[Tensor]], bool] = lambda batches: any(len(batch) == 1 for batch in batches),
    words: dict[str, Any] | None = None,
) -> Any:
    """The definition: five questions.

    looked_at: the norms asked for mode and momentum. words: what is said instead.
    """
    layers = list(model)
    norms = norms_in(layers)[looked_at]
    answers = (
        training(model, norms),
        any(still(norm.momentum) for norm in norms),
        bias(layers),
        shared(layers),
        alone(batches),
        True,
    )
    found = next(kind for kind, holds in zip(KINDS, answers, strict=True) if holds)
    return found if words is None else words.get(found, found)


def saying(word: str) -> Callable[..., str]:
    return lambda model, batches: word


def alike(layers: list[nn.Module]) -> bool:
    """Do two of the norms hold the same numbers?"""
    norms = norms_in(layers)
    return any(
        one.weight.shape == other.weight.shape and torch.equal(one.weight, other.weight)
        for i, one in enumerate(norms)
        for other in norms[:i]
    )


def bias_further_back(layers: list[nn.Module]) -> bool:
    """Has any layer with a bias a norm somewhere behind it?"""
    return any(
        isinstance(layer, nn.Linear) and layer.bias is not None and norms_in(layers[i:])
        for i, layer in enumerate(layers)
    )


FAULT_MISTAKES = (
    mistake(
        "flag_of_the_model",
        """The mode is read from the model or from other layers. Every module has a flag of its own, and
        model.training is only the outermost: a norm can differ from it both ways. What counts is the flag of
        each batch norm.""",
        partial(fault, training=lambda model, norms: model.training),
        partial(fault, training=lambda model, norms: any(layer.training for layer in model.modules())),
        partial(fault, training=lambda model, norms: all(layer.training for layer in model.modules())),
    ),
    mistake(
        "all_norms_asked",
        """'training mode' is reported only where all batch norms are in it. One is enough to make the output
        depend on the rest of the batch.""",
        partial(fault, training=lambda model, norms: bool(norms) and all(norm.training for norm in norms)),
    ),
    mistake(
        "some_norms_only",
        "Only one batch norm is checked for its mode and momentum. Any of them can have the fault.",
        partial(fault, looked_at=slice(1)),
        partial(fault, looked_at=slice(-1, None)),
    ),
    mistake(
        "none_for_zero",
        """A momentum of None is taken for 0. Both count as false in Python, but None stands for the
        cumulative average: there the statistics do follow the data.""",
        partial(fault, still=lambda momentum: not momentum),
    ),
    mistake(
        "small_for_zero",
        """A small momentum is called a fault. With 0.001 the statistics follow slowly, but they follow;
        only with 0 do they stay where they began.""",
        *(
            partial(fault, still=lambda momentum, limit=limit: momentum is not None and momentum < limit)
            for limit in (0.1, 0.05, 0.01)
        ),
    ),
    mistake(
        "momentum_of_the_old",
        """A momentum of 1 is taken for the one that stands still. In PyTorch momentum is the weight of the
        new batch: 1 forgets all that was, 0 learns nothing.""",
        partial(fault, still=lambda momentum: momentum == 1),
    ),
    mistake(
        "bias_anywhere",
        """Biases are blamed that do no harm. Redundant is only one that a batch norm follows directly, as
        subtracting the mean removes it; with a ReLU between, or no norm behind, it does its work.""",
        partial(
            fault,
            bias=lambda layers: any(isinstance(one, nn.Linear) and one.bias is not None for one in layers),
        ),
        partial(fault, bias=bias_further_back),
    ),
    mistake(
        "bias_behind_the_norm",
        """The bias is looked for in the linear layer behind the norm. That bias is added after the
        normalization and stays; the one in front of the norm is subtracted with the mean.""",
        partial(fault, bias=lambda layers: biased_norm(layers[::-1])),
    ),
    mistake(
        "shared_overlooked",
        """A batch norm at two places is never found. model.modules() gives every module once, however often
        it is used; the places are what you get by going through the nn.Sequential itself.""",
        partial(fault, shared=lambda layers: False),
    ),
    mistake(
        "any_layer_shared",
        """Any layer at two places is called a fault. A ReLU remembers nothing, and linear layers may be used
        twice; a batch norm has running statistics, and two places have different data.""",
        partial(fault, shared=twice),
    ),
    mistake(
        "alike_for_shared",
        """Two batch norms that are alike are taken for one. Shared means one and the same object, in two
        places; objects of their own may well have one size and one set of numbers.""",
        partial(fault, shared=alike),
        partial(fault, shared=lambda layers: len(norms_in(layers)) > 1),
        partial(
            fault,
            shared=lambda layers: len({n.num_features for n in norms_in(layers)}) < len(norms_in(layers)),
        ),
    ),
    mistake(
        "some_batches_only",
        "Only one of the batches is looked at. One of a single sample can be any of them.",
        *(partial(fault, alone=lambda batches, place=place: len(batches[place]) == 1) for place in (0, -1)),
    ),
    mistake(
        "small_batch_for_one",
        """A small batch is called a fault. With two samples the output still depends on the input; only with
        one is each feature its own mean, so that nothing but beta comes out.""",
        *(
            partial(fault, alone=lambda batches, limit=limit: any(len(batch) < limit for batch in batches))
            for limit in (3, 4, 8)
        ),
    ),
    mistake(
        "features_counted",
        """A batch of one sample is missed. A batch is (N, D), and N counts the samples: one feature is no
        fault, and neither is a single batch of many samples.""",
        partial(fault, alone=lambda batches: any(batch.shape[1] == 1 for batch in batches)),
        partial(fault, alone=lambda batches: any(batch.numel() == 1 for batch in batches)),
        partial(fault, alone=lambda batches: len(batches) == 1),
    ),
    mistake(
        "fault_overlooked",
        """At least one kind of fault is never found; the answer is then 'none'. Go through the five one by
        one: each has a question of its own.""",
        *(partial(fault, words={kind: "none"}) for kind in ("training mode", "momentum", "bias")),
    ),
    mistake(
        "always_the_same",
        "Models with different faults get the same answer. All five faults occur, and sound models too.",
        *(saying(kind) for kind in KINDS),
    ),
    mistake(
        "other_words",
        """The answer is none of 'training mode', 'momentum', 'bias', 'shared', 'one sample' and 'none', as
        strings and spelled so. A sound model also gets one: 'none' is a word, None is nothing.""",
        partial(fault, words={"none": None}),
        partial(fault, words={"none": ""}),
        partial(fault, words={kind: kind.capitalize() for kind in KINDS}),
        partial(fault, words={kind: kind.replace(" ", "_") for kind in KINDS}),
    ),
)


# -- inputs that show a mistake, or hide it ------------------------------------------------------------

reversed_update = variant(UPDATE_MISTAKES, "momentum_reversed")


def why_order_matters(x: Tensor, n: int, mean: float, var: float) -> str:
    stored = torch.tensor([[mean], [var]], dtype=torch.float64)
    right = torch.stack(library_update(*stored, x[:, None]))
    wrong = torch.stack(reversed_update(*stored, x[:, None]))
    if apart(right, wrong) <= ALIKE:
        return ""
    if abs(float(x.mean()) - mean) > ALIKE * max(abs(mean), var):
        return "another_mean"
    is_biased = abs(float(x.var(correction=0)) - var) <= 10 * ALIKE * var
    return "the_biased_variance" if is_biased else "another_variance"


ORDER_REASONS = (
    mistake(
        "another_mean",
        """It shows: the mean of your batch is not the running mean. Old and new value are mixed, and which of
        the two gets the larger share makes no difference only where they are the same.""",
        lambda n, mean, var: torch.randn(n),
        lambda n, mean, var: torch.zeros(n),
        lambda n, mean, var: torch.linspace(-1, 1, n) * var**0.5,
    ),
    mistake(
        "another_variance",
        """It shows in the running variance. The mean of your batch is right, and its variance is not the one
        that is stored: that has to be var.""",
        lambda n, mean, var: torch.full((n,), mean),
        lambda n, mean, var: mean + 0.1 * torch.linspace(-1, 1, n),
    ),
    mistake(
        "the_biased_variance",
        """It shows, if only a little. The biased variance of your batch is var, but what goes into the
        running variance is the unbiased one.""",
        lambda n, mean, var: mean + var**0.5 * standardized_line(n, correction=0),
    ),
)


def standardized_line(n: int, correction: int = 1) -> Tensor:
    """Equidistant numbers with mean 0 and variance 1."""
    line = torch.linspace(-1, 1, n, dtype=torch.float64)
    return line / line.std(correction=correction)


def scaled_line(n: int, mean: float, var: float) -> Tensor:
    return mean + var**0.5 * standardized_line(n)


def one_pair_beside_the_mean(n: int, mean: float, var: float) -> Tensor:
    """All values are the mean, but for two, on either side of it."""
    x = torch.full((n,), mean)
    far = ((n - 1) * var / 2) ** 0.5
    x[0], x[1] = mean + far, mean - far
    return x


def by_the_batch(x: Tensor, running_mean: Tensor, running_var: Tensor, eps: float = EPS) -> Tensor:
    """The output of eval mode with gamma 1 and beta 0, by the statistics of the batch at hand."""
    norm = variant(INFERENCE_MISTAKES, "batch_statistics_in_eval")
    return norm(x, running_mean, running_var, torch.ones_like(x[0]), torch.zeros_like(x[0]), eps)


def why_no_one_sees_the_batch(a: Tensor, b: Tensor, n: int, d: int) -> str:
    if (a[0] - b[0]).abs().max() > 1e-5:
        return "first_rows_differ"
    if (a.mean(0) - b.mean(0)).abs().max() > 1e-3:
        return "means_differ"
    stored = torch.zeros_like(a[0]), torch.ones_like(a[0])
    if (by_the_batch(a, *stored)[0] - by_the_batch(b, *stored)[0]).abs().max() >= 0.5:
        return ""
    ratio = (biased(a) + EPS) / (biased(b) + EPS)
    return "first_row_is_the_mean" if ratio.log().abs().max() > 1 else "variances_alike"


BATCH_REASONS = (
    mistake(
        "first_rows_differ",
        """The first rows of a and b are not the same, so that their outputs may differ for a good reason.
        We want one and the same sample in two batches.""",
        lambda n, d: (torch.randn(n, d), torch.randn(n, d)),
        lambda n, d: (torch.zeros(n, d), torch.ones(n, d)),
    ),
    mistake(
        "means_differ",
        """The means of a and b differ in a feature. That shows the mistake, but here the means should be the
        same, as after centring the data. What else of a batch is used?""",
        lambda n, d: (a := torch.randn(n, d), torch.cat([a[:1], torch.randn(n - 1, d)])),
        lambda n, d: (a := torch.ones(n, d), torch.cat([a[:1], torch.zeros(n - 1, d)])),
    ),
    mistake(
        "variances_alike",
        """The code gives the first row nearly the same output in both batches: it sees a batch by its mean
        and its variance, and both are alike in a and b. Another order of the rows, say, changes neither.""",
        lambda n, d: (a := torch.randn(n, d), a),
        lambda n, d: (a := torch.randn(n, d), torch.cat([a[:1], a[1:].flip(0)])),
        lambda n, d: (torch.zeros(n, d), torch.zeros(n, d)),
    ),
    mistake(
        "first_row_is_the_mean",
        """The variances differ, but the first row lies at the mean, and what is 0 stays 0 whatever it is
        divided by. Let the first row be one that varies.""",
        lambda n, d: at_the_mean(n, d),
    ),
)


def with_spread(n: int, d: int, spread: float) -> Tensor:
    """A batch of mean 0 whose first two rows are 1 and −1, the others so far from 0."""
    x = torch.zeros(n, d)
    x[0], x[1], x[2], x[3] = 1.0, -1.0, spread, -spread
    return x


def two_companies(n: int, d: int) -> tuple[Tensor, Tensor]:
    return with_spread(n, d, 0.0), with_spread(n, d, 9.0)


def another_spread_about_one_mean(n: int, d: int) -> tuple[Tensor, Tensor]:
    """All rows but the first, nearer to their own mean in one batch, farther from it in the other."""
    first, others = torch.full((1, d), 2.0), torch.rand(n - 1, d) * 4 - 2
    mean = others.mean(0)
    return tuple(torch.cat([first, mean + spread * (others - mean)]) for spread in (0.01, 2.0))


def at_the_mean(n: int, d: int) -> tuple[Tensor, Tensor]:
    """Two batches of different variance about their first row, which is 0."""
    a = torch.zeros(n, d)
    a[1], a[2] = 1.0, -1.0
    return a, 5 * a


ANSWERS = {
    "update_running_stats": Answer(library_update, update, UPDATE_MISTAKES, pairs=update_pairs),
    "batch_norm_inference": Answer(library_inference, infer, INFERENCE_MISTAKES, pairs=inference_pairs),
    "BatchNorm1d": Answer(
        nn.BatchNorm1d,
        BatchNorm1d,
        LAYER_MISTAKES,
        pairs=layer_pairs,
        bases=(
            *(
                Basis(
                    (y,),
                    tuple(f"gradient of {name}{mode}" for name in ("x", "weight", "bias")),
                    whose,
                    LAYER_MISTAKES,
                )
                for y, mode, whose in (
                    ("y of batch 1", "", "y in train mode"),
                    ("y in eval mode", " in eval mode", "y in eval mode"),
                )
            ),
            Basis(
                ("y of batch 1", "y of batch 2, under no_grad", "y of batch 3 or later"),
                ("y in eval mode*",),
                "formula of train mode",
                (*statistics_mistakes(layer_with, "N", ""), *affine_mistakes(layer_with)),
                "outputs in eval mode",
            ),
        ),
        # Whatever is not stored as nn.BatchNorm1d stores it fails in these, one way or another.
        consequences=frozenset(
            {
                "loading a state_dict of nn.BatchNorm1d",
                "nn.BatchNorm1d loading yours",
                "loading your own state_dict",
                "a copy by state_dict goes on like the original",
                *(f"{name} there and back" for name in ("weight", "bias", "running_mean", "running_var")),
                "num_batches_tracked there and back",
            }
        ),
    ),
    "averaging_momenta": Answer(momenta_from_the_end, momenta, MOMENTA_MISTAKES),
    "count_parameters": Answer(count_by_walking, count, COUNT_MISTAKES, pairs=count_pairs),
    "freeze_batch_norm": Answer(freeze_by_train, freeze, FREEZE_MISTAKES),
    "diagnose_batch_norm": Answer(fault_by_walking, fault, FAULT_MISTAKES),
    "hide_momentum_reversed": hiding(
        Asked("x", "n", 100.0),
        reversed_update,
        why_order_matters,
        ORDER_REASONS,
        (scaled_line, one_pair_beside_the_mean),
    ),
    "expose_batch_statistics": exposing(
        (Asked("a", "n, d"), Asked("b", "n, d")),
        by_the_batch,
        why_no_one_sees_the_batch,
        BATCH_REASONS,
        (two_companies, another_spread_about_one_mean),
    ),
}
