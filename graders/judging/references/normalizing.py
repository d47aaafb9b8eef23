"""What all the norms have in common: the definition with its knobs, and the mistakes they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations, product
from typing import Any

import torch
from torch import Tensor

from graders.judging.answer import ANY_TEXT, Mistake, both, mistake
from graders.probing.exercise import Candidate

Axes = int | tuple[int, ...]

#: What stands for eps in libraries, networks and papers.
EPS_OF_OTHERS = (1e-8, 1e-6, 1e-5, 1e-3, 1e-4, 1e-7, 1e-9, 1e-10, 1e-12)


def normalize(
    x: Tensor,
    axes: Axes,
    eps: float,
    *,
    mean: Callable[[Tensor, Axes], Any] = lambda x, axes: x.mean(axes, keepdim=True),
    variance: Callable[[Tensor, Axes], Tensor] = lambda x, axes: centred_squares(x, axes),
    deviation: Callable[[Tensor, float], Tensor] = lambda var, eps: (var + eps).sqrt(),
    eps_used: Callable[[float], float] = lambda eps: eps,
    over: Axes | None = None,
    lone: Callable[[Tensor], Tensor] | None = None,
    after: Callable[[Tensor, float], Tensor] = lambda x_hat, eps: x_hat,
) -> tuple[Tensor, Tensor]:
    """(x_hat, divisor) with one mean and one biased variance over `axes`; a knob for each step.

    over: other axes than the right ones. lone: what becomes of x where each value is alone in its mean.
    after: what becomes of x_hat once it is divided.
    """
    axes = axes if over is None else over
    divisor = deviation(variance(x, axes), eps_used(eps))
    if lone and divisor.numel() == x.numel():
        return lone(x), divisor
    return after((x - mean(x, axes)) / divisor, eps_used(eps)), divisor


def centred_squares(x: Tensor, axes: Axes) -> Tensor:
    """The biased variance: the mean squared distance from the mean, axes kept."""
    return (x - x.mean(axes, keepdim=True)).square().mean(axes, keepdim=True)


def statistics_mistakes(
    make: Callable[..., Candidate], count: str, alone: str, default_eps: float = 1e-5, note: str = ""
) -> tuple[Mistake, ...]:
    """The mistakes in eps and in the statistics, for a norm that `make` builds with these knobs turned.

    make: called with knobs of `normalize`, or with `default_eps`. count: the letters for how many values
    share a mean ("N", "C·H·W"). alone: what has only one value, so that one less is none.
    note: what the letters of `count` mean, where that has to be said.
    """
    share = count if count.isalnum() else f"({count})"
    others = [value for value in EPS_OF_OTHERS if value != default_eps]
    return (
        mistake(
            "eps_outside_root",
            """eps is added to the standard deviation, outside the root. It belongs to the variance, inside:
            the divisor is the root of (var + eps). The two agree while the variance is large; where it is
            near eps, your values come out too large.""",
            make(deviation=lambda var, eps: var.sqrt() + eps),
        ),
        mistake(
            "eps_missing",
            """eps is not used. On ordinary data nobody sees it, but where values are constant the variance
            is 0, and 0/0 is NaN; where the variance is near eps, your values come out too large. Where does
            eps go?""",
            make(deviation=lambda var, eps: var.sqrt()),
        ),
        mistake(
            "eps_as_floor",
            """Only a variance of 0, or nearly, is kept from giving NaN, by a lower limit or a case of its
            own. eps is added to every variance, large or small; where one is about as large as eps, your
            values come out too large.""",
            make(deviation=lambda var, eps: var.clamp_min(eps).sqrt()),
            make(deviation=lambda var, eps: var.sqrt().clamp_min(eps)),
        ),
        mistake(
            "eps_fixed",
            """The result does not change when eps changes: a fixed number stands in the code where the
            argument eps should be used.""",
            *(make(eps_used=lambda eps, value=value: value) for value in (default_eps, *others)),
        ),
        mistake(
            "eps_default",
            f"""Where eps is left out, another number stands in for it: the default is part of the
            contract, and here it is {default_eps:.0e}. (Other libraries and papers have others, which is why
            it is named.)""".replace("e-0", "e-"),
            *(make(default_eps=value) for value in (*others, 0.0)),
        ),
        mistake(
            "eps_subtracted",
            """eps is subtracted from the variance. It is added: it keeps the number under the root positive
            where values hardly vary. Yours gives NaN there.""",
            make(deviation=lambda var, eps: (var - eps).sqrt()),
        ),
        mistake(
            "eps_squared",
            """What is added under the root is a power of eps. It is eps itself that is added to the
            variance, so that values with a variance of eps are divided by the root of 2 eps.""",
            make(eps_used=lambda eps: eps**2),
            make(eps_used=lambda eps: eps**0.5),
        ),
        mistake(
            "eps_on_deviation",
            """The root is taken of (std + eps). The standard deviation stands where the variance belongs, so
            the root is taken twice, and the spread does not come out as 1.""",
            make(deviation=lambda var, eps: (var.sqrt() + eps).sqrt()),
        ),
        mistake(
            "eps_on_quotient",
            """eps is added to the quotient, after the division, where it shifts every value and guards
            nothing. It belongs in the divisor, under the root: (x − mean) / √(var + eps). Which brackets are
            missing?""",
            make(deviation=lambda var, eps: var.sqrt(), after=lambda x_hat, eps: x_hat + eps),
        ),
        mistake(
            "length_over_count",
            f"""The squared distances are summed, the root is taken, and that is divided by {count}. The mean
            is taken first, under the root; the other way round the divisor is too small by the factor
            √{share}.""",
            make(variance=squares_over_squared_count),
            make(variance=squares_over_squared_count, deviation=lambda var, eps: var.sqrt() + eps),
            make(variance=squares_over_squared_count, deviation=lambda var, eps: var.sqrt()),
        ),
        mistake(
            "unbiased_variance",
            f"""The variance is divided by {count} − 1. Normalizing takes the biased variance, divided by
            {count}: it describes these values and estimates nothing. One less makes the values too small by
            the factor √(({count} − 1)/{share}), and {alone} may give NaN. (torch.var divides by one less by
            default.) {note}""",
            make(variance=lambda x, axes: x.var(axes, keepdim=True)),
        ),
        mistake(
            "unbiased_and_eps_outside",
            f"""The divisor is torch.std plus eps, as in code that is often copied, and two things are off at
            once. torch.std divides by {count} − 1 unless told otherwise; what normalizes is divided by
            {count}. And eps belongs under the root, added to the variance. {note}""",
            make(
                variance=lambda x, axes: x.var(axes, keepdim=True),
                deviation=lambda var, eps: var.sqrt() + eps,
            ),
            make(
                variance=lambda x, axes: x.var(axes, keepdim=True),
                deviation=lambda var, eps: var.sqrt() + default_eps,
            ),
        ),
        mistake(
            "divided_by_variance",
            """The centred values are divided by the variance rather than by its root, so values with
            standard deviation σ come out with 1/σ instead of 1. Check the variance of your x_hat.""",
            make(deviation=lambda var, eps: var + eps),
            make(deviation=lambda var, eps: var),
        ),
        mistake(
            "multiplied_by_deviation",
            """The centred values are multiplied by the standard deviation, not divided by it, so their
            variance does not become 1. Whoever works out 1/√(var + eps) beforehand multiplies by that number:
            to divide by it turns it round again.""",
            make(deviation=lambda var, eps: (var + eps).rsqrt()),
        ),
        mistake(
            "variance_by_cancellation",
            """The variance is computed as E[x²] − E[x]². On paper that is the same. At an offset of 10,000
            both terms are near 10⁸ and float32 keeps seven digits, so their difference is noise. Centre
            first, then square.""",
            make(variance=difference_of_squares),
            make(variance=lambda x, axes: difference_of_squares(x, axes).clamp_min(0)),
            rounding=True,
        ),
        mistake(
            "not_centred",
            """The mean is not subtracted before dividing, so the values keep an offset of mean/std. x_hat
            has mean 0.""",
            make(mean=lambda x, axes: 0.0),
        ),
        mistake(
            "variance_about_zero",
            """The mean of x² stands where the variance belongs. The variance is the mean squared distance
            from the mean; the two agree only for values that are centred already.""",
            make(variance=lambda x, axes: x.square().mean(axes, keepdim=True)),
        ),
    )


def squares_over_squared_count(x: Tensor, axes: Axes) -> Tensor:
    """What stands under the root where it is taken of the sum, and the count divides outside."""
    var = centred_squares(x, axes)
    return var * (var.numel() / x.numel())


def difference_of_squares(x: Tensor, axes: Axes) -> Tensor:
    """The variance as E[x²] − E[x]², which loses its digits at an offset."""
    return x.square().mean(axes, keepdim=True) - x.mean(axes, keepdim=True).square()


def feature_mistakes(make: Callable[..., Candidate]) -> tuple[Mistake, ...]:
    """The mistakes in the axes, for a norm of (N, D) that has one mean for each feature."""
    return (
        mistake(
            "one_statistic_for_all",
            """What is taken over the whole array is one number for all features. Each feature has a mean and
            a variance of its own: the averages run over the batch, axis 0, and there are D of them.""",
            make(over=(0, 1)),
        ),
        mistake(
            "rows_normalized",
            """Each row is normalized by its own mean and variance, so the rows have mean 0 and the columns
            do not: that is layer normalization. A feature is a column. Its average runs over the batch, so
            that every sample depends on the others.""",
            make(over=1),
        ),
    )


def calling_mistakes(make: Callable[..., Candidate]) -> tuple[Mistake, ...]:
    """An axis left out in one call, or eps written in two places, for a norm of (N, D) that `make` builds."""
    return (
        mistake(
            "mean_of_all",
            """The mean is taken over the whole array, but the variance over the batch. Each feature has a
            mean of its own, over axis 0. Your columns do not have mean 0.""",
            make(mean=lambda x, axes: x.mean()),
        ),
        mistake(
            "variance_of_all",
            """The variance is taken over the whole array, but the mean over the batch. Each feature has a
            variance of its own, over axis 0. Yours leaves their different spreads as they are.""",
            make(variance=lambda x, axes: x.var(correction=0)),
            make(variance=lambda x, axes: x.var()),
            make(variance=lambda x, axes: x.var(), deviation=lambda var, eps: var.sqrt() + eps),
        ),
        mistake(
            "eps_twice",
            """eps is added twice, to the variance and once more to its root. It belongs under the root alone:
            the divisor is the root of (var + eps).""",
            make(deviation=lambda var, eps: (var + eps).sqrt() + eps),
        ),
    )


def in_single_precision(result: Any, like: Tensor) -> Any:
    """A result, or several, of which float32's digits are left, in the dtype of `like`."""
    if isinstance(result, tuple):
        return tuple(in_single_precision(one, like) for one in result)
    return result.float().to(like.dtype) if isinstance(result, Tensor) else result


def single_precision_mistake(*variants: Candidate) -> Mistake:
    """Something on the way is float32; each variant ends with `in_single_precision`."""
    return mistake(
        "single_precision_inside",
        """Near enough for float32, but inputs of float64 lose half of their digits. So it is where something
        on the way is float32. torch.tensor and torch.zeros make that unless a dtype is given, and to give the
        result its dtype at the end does not bring the digits back.""",
        *variants,
        rounding=True,
    )


def single_eps_mistake(*variants: Candidate) -> Mistake:
    """eps as a float32 number; each variant takes it through `single`."""
    return mistake(
        "eps_in_single_precision",
        """eps is rounded to float32 before it is added. torch.tensor makes float32 of a plain number unless a
        dtype is given. With inputs of float64 the last digits show it, most where the variance is near eps.
        Add the plain number.""",
        *variants,
    )


def single(eps: float) -> float:
    """A number as float32 holds it."""
    return float(torch.tensor(eps, dtype=torch.float32))


def lone_mistake(make: Callable[..., Candidate], lone: str, *more: Candidate) -> Mistake:
    """A special case where the formula needs none. lone: what is alone. more: other ways to make it."""
    return mistake(
        "lone_sample_passed_through",
        f"""{lone} comes back without being normalized. Its mean is the value itself, so x_hat is 0 whatever
        x is (and y is beta, where there is one): the formula gives that by itself, without a special
        case.""",
        make(lone=lambda x: x),
        *more,
    )


def refused_mistake(make: Callable[..., Candidate], lone: str) -> Mistake:
    """An exception where the formula has an answer. lone: what is alone."""

    def refusing(kind: type[Exception]) -> Candidate:
        def refuse(x: Tensor) -> Tensor:
            raise kind(ANY_TEXT)

        return make(lone=refuse)

    return mistake(
        "lone_sample_refused",
        f"""{lone} ends in an exception, as PyTorch's own layer has it in train mode. The formula has an
        answer all the same, and it is asked for here. The mean is the value itself, so x_hat is 0 whatever
        x is (and y is beta, where there is one).""",
        *map(refusing, (ValueError, RuntimeError, AssertionError)),
    )


def affine_mistakes(make: Callable[..., Candidate]) -> tuple[Mistake, ...]:
    """The mistakes in scale and shift; `make` takes the knob `affine(x_hat, gamma, beta)`."""
    return (
        mistake(
            "affine_missing",
            """gamma and beta are not used: what you return is x_hat. The last step scales and shifts it.""",
            make(affine=lambda x_hat, gamma, beta: x_hat),
        ),
        mistake(
            "beta_missing",
            """beta is not added (or is subtracted). Each entry of beta shifts what it belongs to by just as
            much, whatever the values are.""",
            make(affine=lambda x_hat, gamma, beta: gamma * x_hat),
            make(affine=lambda x_hat, gamma, beta: gamma * x_hat - beta),
        ),
        mistake(
            "gamma_missing",
            "gamma does not scale x_hat: your output varies just as x_hat does, whatever gamma is.",
            make(affine=lambda x_hat, gamma, beta: x_hat + beta),
        ),
        mistake(
            "gamma_and_beta_swapped",
            "gamma and beta are swapped: gamma scales x_hat, beta shifts it.",
            make(affine=lambda x_hat, gamma, beta: beta * x_hat + gamma),
        ),
        mistake(
            "shift_before_scale",
            """beta is added before the scaling, so it is scaled too. gamma scales x_hat alone; beta comes
            last.""",
            make(affine=lambda x_hat, gamma, beta: gamma * (x_hat + beta)),
        ),
        mistake(
            "gamma_plus_one",
            """x_hat is scaled by 1 + gamma. Some models store the scale that way; here gamma is the scale
            itself.""",
            make(affine=lambda x_hat, gamma, beta: (1 + gamma) * x_hat + beta),
        ),
    )


#: Where a norm's backward mixes sums and means: the shares of the two means in dx, by the count.
MIXED_SHARES: tuple[Callable[[int], tuple[float, float]], ...] = (
    lambda count: (count, 1.0),
    lambda count: (1.0, count),
    lambda count: (1 / count, 1 / count),
    lambda count: (1 / count, 1.0),
    lambda count: (1.0, 1 / count),
)

#: What knobs are about, where that is not their name: two mistakes about one thing cannot be made at once.
ABOUT = {
    **dict.fromkeys(("deviation", "eps_used", "default_eps", "after"), "eps"),
    **dict.fromkeys(("slope", "through_variance"), "the path through the variance"),
}
#: It has the places of eps among its own variants.
ALONE = "length_over_count"
#: Those that can be, though both are about one thing, or of which every variant is taken: who copies one
#: copies the other, with whatever eps stands there.
TOGETHER = tuple(
    {place, number}
    for place in ("eps_outside_root", "unbiased_and_eps_outside", "unbiased_variance")
    for number in ("eps_fixed", "eps_default")
)


def variance_path_mistake(backward: Callable[..., Any]) -> Mistake:
    """The path through the variance, off by a factor of 2. backward: a backward pass with `by_variance`."""
    return mistake(
        "factor_in_variance_path",
        """The path through the variance has a factor of 2 too many or too few. The square of x less its mean
        brings a 2, and the power −1/2 of var + eps brings a 1/2: they cancel.""",
        partial(backward, by_variance=0.5),
        partial(backward, by_variance=2.0),
    )


def pairs(
    make: Callable[..., Candidate], known: Sequence[Mistake], by_knobs: Sequence[Mistake], ways: int = 2
) -> tuple[Mistake, ...]:
    """Every two mistakes that can be made at once.

    known: the mistakes as they are named. by_knobs: the same, with the knobs to turn for variants. ways: how
    many variants of each are taken.
    """
    named = {one.key: one for one in known}
    found = []
    of_two = [one for one in by_knobs if one.key in named and one.key != ALONE and not one.rounding]
    for first, second in combinations(of_two, 2):
        together = {first.key, second.key} in TOGETHER
        few = None if together else ways
        knobs = [
            one | other
            for one, other in product(first.variants[:few], second.variants[:few])
            if together
            or not {ABOUT.get(name, name) for name in one} & {ABOUT.get(name, name) for name in other}
        ]
        if knobs:
            found.append(both(named[first.key], named[second.key], *(make(**one) for one in knobs)))
    return tuple(found)


#: What is often done beside an average over other axes: torch.var and torch.std as they come, and eps.
BESIDE = (
    *("unbiased_variance", "unbiased_and_eps_outside"),
    *("eps_outside_root", "eps_missing", "eps_default"),
)


def over_other_axes(
    make: Callable[..., Candidate], known: Sequence[Mistake], axes: Mapping[str, dict[str, Any]]
) -> Iterator[Mistake]:
    """Two mistakes at once, one of them in the axes. axes: those, with the knobs to turn for them."""
    named = {one.key: one for one in known}
    for one in statistics_mistakes(dict, "", ""):
        if one.key in BESIDE:
            # Of an eps all values are taken, of what else can be written in several ways the commonest.
            variants = one.variants if one.key == "eps_default" else one.variants[:1]
            for key, knobs in axes.items():
                yield both(named[key], named[one.key], *(make(**knobs, **each) for each in variants))
