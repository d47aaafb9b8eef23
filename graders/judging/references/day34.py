"""Day 34: the right answers, and what people get wrong, with the knobs that make it.

Sources of the mistakes: reports and fixes in public repositories and forums, and public course solutions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam as library_adam

from graders.judging.answer import Answer, Basis, Mistake, both, mistake
from graders.judging.references.exposing import ALIKE, Asked, apart, exposing, hiding, variant
from graders.probing.days.day34 import EndlessLoop

EPS = 1e-5
#: Weight decays that people write into the code, or leave as defaults.
USUAL_DECAYS = (0.01, 0.1, 1e-4)


# -- convergence_rate --------------------------------------------------------------------------------


def rate_by_matrices(eigenvalues: Tensor, lr: float, beta: float = 0.0) -> float:
    """The spectral radius of the 2 × 2 matrices that take (w, v) to the next (w, v)."""
    step = torch.zeros(len(eigenvalues), 2, 2, dtype=eigenvalues.dtype, device=eigenvalues.device)
    step[:, 0, 0], step[:, 0, 1] = 1 - lr * eigenvalues, -lr * beta
    step[:, 1, 0], step[:, 1, 1] = eigenvalues, beta
    return torch.linalg.eigvals(step).abs().max().item()


def root_size(
    real: Callable[[Tensor, Tensor], Tensor] = lambda trace, root: (trace.abs() + root) / 2,
    conjugate: Callable[[Tensor, Tensor], Tensor] = lambda trace, product: product.clamp_min(0).sqrt(),
) -> Callable[[Tensor, Tensor], Tensor]:
    """The larger |r| of r² − trace · r + product = 0, as a function of trace and product.

    real: from trace and the root of the discriminant, where the two roots are real. conjugate: from trace
    and product, where they are complex, each √product away from 0.
    """

    def radius(trace: Tensor, product: Tensor) -> Tensor:
        discriminant = trace * trace - 4 * product
        with_real_roots = real(trace, discriminant.clamp_min(0).sqrt())
        return torch.where(discriminant < 0, conjugate(trace, product), with_real_roots)

    return radius


LARGER_ROOT = root_size()


def rate(
    eigenvalues: Tensor,
    lr: float,
    beta: float = 0.0,
    *,
    chosen: Callable[[Tensor], Tensor] = lambda eigenvalues: eigenvalues,
    step: Callable[[float, float], float] = lambda lr, beta: lr,
    trace: Callable[[Tensor, Any], Tensor] = lambda p, beta: 1 + beta - p,
    product: Callable[[Tensor, Any], Tensor] = lambda p, beta: beta + 0 * p,
    radius: Callable[[Tensor, Tensor], Tensor] = LARGER_ROOT,
    worst: Callable[[Tensor], Tensor] = lambda radius: radius.max(),
) -> float:
    """The definition by the quadratic formula: w[t+1] = (1 + beta − p) w[t] − beta w[t−1], p = lr · λ."""
    p = step(lr, beta) * chosen(eigenvalues)
    return worst(radius(trace(p, beta), product(p, beta))).item()


def rate_at_best_step(eigenvalues: Tensor, lr: float, beta: float = 0.0) -> float:
    """What the condition number allows if lr and beta are tuned."""
    condition = eigenvalues.max() / eigenvalues.min()
    condition = condition.sqrt() if beta else condition
    return ((condition - 1) / (condition + 1)).item()


def rate_in_real_numbers(eigenvalues: Tensor, lr: float, beta: float = 0.0) -> float:
    """`math.sqrt`, which raises where the roots are complex."""
    traces = [1 + beta - lr * eigenvalue for eigenvalue in eigenvalues.tolist()]
    return max((abs(trace) + math.sqrt(trace**2 - 4 * beta)) / 2 for trace in traces)


def rate_in_float32(eigenvalues: Tensor, lr: float, beta: float = 0.0) -> float:
    return rate(eigenvalues.float(), lr, beta)


def formula_slip(
    four: float = 4.0, two: float = 2.0, complex_size: bool = False
) -> Callable[[Tensor, Tensor], Tensor]:
    """`root_size` with other numbers in the quadratic formula."""

    def radius(trace: Tensor, product: Tensor) -> Tensor:
        inner = trace * trace - four * product
        real = (trace.abs() + inner.clamp_min(0).sqrt()) / two
        by_modulus = (trace * trace - inner).clamp_min(0).sqrt() / two
        return torch.where(inner < 0, by_modulus if complex_size else product.clamp_min(0).sqrt(), real)

    return radius


RATE_MISTAKES = (
    mistake(
        "largest_eigenvalue_only",
        """Only the largest eigenvalue is looked at. Which direction is the slowest depends on lr: with small
        steps it is the one with the smallest eigenvalue. The rate is the worst over all of them.""",
        partial(rate, chosen=lambda eigenvalues: eigenvalues.max()),
    ),
    mistake(
        "smallest_eigenvalue_only",
        """Only the smallest eigenvalue is looked at. With large steps the steepest direction is the one
        that jumps back and forth, and the first to diverge. The rate is the worst over all of them.""",
        partial(rate, chosen=lambda eigenvalues: eigenvalues.min()),
    ),
    mistake(
        "ends_taken_for_extremes",
        """The first and the last eigenvalue are taken for the smallest and the largest. They come in any
        order here.""",
        partial(rate, chosen=lambda eigenvalues: eigenvalues[[0, -1]]),
        partial(rate, chosen=lambda eigenvalues: eigenvalues[-1]),
        partial(rate, chosen=lambda eigenvalues: eigenvalues[0]),
    ),
    mistake(
        "not_the_worst",
        """The eigenvalues are averaged over, or the best of them is taken. After many steps only the
        slowest direction is left of the error, so the rate is the largest over all eigenvalues.""",
        partial(rate, worst=lambda radius: radius.mean()),
        partial(rate, worst=lambda radius: radius.min()),
        partial(rate, chosen=lambda eigenvalues: eigenvalues.mean()),
    ),
    mistake(
        "momentum_ignored",
        """The result does not change with beta: this is |1 − lr · λ|, the rate of gradient descent. With
        momentum a step depends on the two before it, and there is a quadratic equation for each
        eigenvalue.""",
        partial(rate, radius=lambda trace, product: (trace - product).abs()),
    ),
    mistake(
        "diagonal_for_eigenvalues",
        """The larger of |1 − lr · λ| and beta is taken, as if a step scaled w by the one and v by the other.
        But v moves w, and w makes the gradient that moves v. So the entries beside the diagonal of their
        2 × 2 matrix count as well. There is a quadratic equation for each eigenvalue.""",
        partial(rate, radius=lambda trace, product: torch.maximum((trace - product).abs(), product)),
    ),
    mistake(
        "beta_added",
        """beta is added to the factor of gradient descent. The velocity is not a multiple of w, so it has no
        factor of its own: put w and v together in a 2 × 2 matrix, or write w[t+1] with w[t] and w[t−1],
        and solve for the root.""",
        partial(rate, radius=lambda trace, product: trace.abs()),
        partial(rate, radius=lambda trace, product: (trace - product).abs() + product),
        partial(rate, radius=lambda trace, product: (trace - product).abs() * product),
    ),
    mistake(
        "root_of_beta_always",
        """The rate with momentum is always √beta here. That is the size of complex roots, which an eigenvalue
        gives only for (1 − √beta)² < lr · λ < (1 + √beta)². Outside, the roots are real and the larger one
        is larger than √beta.""",
        lambda eigenvalues, lr, beta=0.0: beta**0.5 if beta else rate(eigenvalues, lr),
        lambda eigenvalues, lr, beta=0.0: beta**0.5,
    ),
    mistake(
        "beta_for_complex_roots",
        """Where the roots are complex you return beta. beta is the product of the two roots; as they are
        conjugate, each of them has the size √beta.""",
        partial(rate, radius=root_size(conjugate=lambda trace, product: product)),
    ),
    mistake(
        "real_part_only",
        """Where the roots are complex only their real part counts here. A complex root turns the error round
        while it shrinks it; how fast it shrinks is its absolute value, imaginary part included.""",
        partial(rate, radius=root_size(conjugate=lambda trace, product: trace.abs() / 2)),
        partial(
            rate, radius=root_size(lambda trace, root: (trace + root) / 2, lambda trace, product: trace / 2)
        ),
    ),
    mistake(
        "imaginary_part_as_real",
        """Where the number under the root is negative, its absolute value is taken. The two roots are complex
        then: the real and the imaginary part stand at right angles and are not added.""",
        partial(
            rate,
            radius=root_size(
                conjugate=lambda trace, product: (trace.abs() + (trace**2 - 4 * product).abs().sqrt()) / 2
            ),
        ),
    ),
    mistake(
        "root_of_a_negative_number",
        """The root of a negative number is NaN or an error in real arithmetic. With momentum the number under
        the root is negative over a whole range of eigenvalues: the roots are complex there, and their size
        is what you look for.""",
        partial(rate, radius=root_size(conjugate=lambda trace, product: math.nan * trace)),
        partial(
            rate,
            radius=root_size(conjugate=lambda trace, product: math.nan * trace),
            worst=lambda radius: radius.nan_to_num(0.0).max(),
        ),
        rate_in_real_numbers,
    ),
    mistake(
        "absolute_value_missing",
        """The absolute value is missing: the largest root is taken, not the largest in size. Where lr is
        large the factor is negative, the error changes sign at every step, and −1.2 diverges as 1.2 does.""",
        partial(rate, radius=root_size(lambda trace, root: (trace + root) / 2)),
        lambda eigenvalues, lr, beta=0.0: (
            rate(eigenvalues, lr, beta, radius=root_size(lambda trace, root: (trace + root) / 2))
            if beta
            else (1 - lr * eigenvalues).max().item()
        ),
        lambda eigenvalues, lr, beta=0.0: (
            rate(eigenvalues, lr, beta) if beta else (1 - lr * eigenvalues).max().item()
        ),
    ),
    mistake(
        "one_root_only",
        """Only one of the two roots is looked at. The one with the plus sign is the further from 0 while lr ·
        λ is below 1 + beta; beyond that it is the one with the minus sign.""",
        partial(rate, radius=root_size(lambda trace, root: (trace + root).abs() / 2)),
        partial(rate, radius=root_size(lambda trace, root: (trace - root).abs() / 2)),
    ),
    mistake(
        "quadratic_formula",
        """A number has slipped in the quadratic formula: the roots of r² − b r + c are half of (b ± the root
        of b² − 4c). Here b = 1 + beta − lr · λ, and c = beta.""",
        partial(rate, radius=formula_slip(four=1.0)),
        partial(rate, radius=formula_slip(four=1.0, complex_size=True)),
        partial(rate, radius=formula_slip(four=2.0)),
        partial(rate, radius=formula_slip(four=2.0, complex_size=True)),
        partial(rate, radius=formula_slip(two=1.0)),
        partial(rate, radius=formula_slip(two=1.0, complex_size=True)),
        partial(rate, trace=lambda p, beta: 1 - beta - p),
    ),
    mistake(
        "matrix_taken_for_symmetric",
        """The matrix of a step is taken for a symmetric one: eigvalsh and eigh read one half of it and make
        up the other. It is not symmetric, so its eigenvalues may be complex: take eigvals.""",
        partial(rate, radius=lambda trace, product: (trace.abs() + (trace**2 + 4).sqrt()) / 2),
        partial(rate, radius=lambda trace, product: (trace.abs() + (trace**2 + 4 * product**2).sqrt()) / 2),
    ),
    mistake(
        "old_velocity_moves_w",
        """This is the rate of steps along the old velocity, by which each gradient comes one step late. Here
        the velocity is updated first: w[t+1] = (1 + beta − lr · λ) w[t] − beta w[t−1].""",
        partial(rate, trace=lambda p, beta: 1 + beta + 0 * p, product=lambda p, beta: beta + p),
    ),
    mistake(
        "gradient_damped",
        """The gradient is multiplied by 1 − beta, as in an exponential average. The velocity here is
        PyTorch's, v ← beta · v + g, with the whole gradient; yours takes steps that are 1 − beta times
        as large.""",
        partial(rate, step=lambda lr, beta: lr * (1 - beta)),
    ),
    mistake(
        "beta_reversed",
        """beta and 1 − beta are swapped. The beta of an optimizer is the weight of the old velocity, so beta
        = 0 is gradient descent.""",
        partial(rate, trace=lambda p, beta: 2 - beta - p, product=lambda p, beta: 1 - beta + 0 * p),
        partial(rate, trace=lambda p, beta: 2 - beta - beta * p, product=lambda p, beta: 1 - beta + 0 * p),
    ),
    mistake(
        "nesterov",
        """This is the rate of Nesterov's momentum, which takes the gradient further ahead. The heavy ball
        takes it where it stands: w[t+1] = (1 + beta − lr · λ) w[t] − beta w[t−1].""",
        partial(rate, trace=lambda p, beta: (1 + beta) * (1 - p), product=lambda p, beta: beta * (1 - p)),
    ),
    mistake(
        "rate_of_the_best_step",
        """This is the rate that the condition number allows with the best lr and beta. What is asked is the
        rate with the lr and the beta that are given, which may be far from the best, or diverge.""",
        rate_at_best_step,
    ),
    mistake(
        "rate_of_the_loss",
        """This is the square of the rate: the loss of a quadratic shrinks with it, because it is the square
        of the distance. The spectral radius is the rate of the distance itself.""",
        lambda eigenvalues, lr, beta=0.0: rate(eigenvalues, lr, beta) ** 2,
    ),
    mistake(
        "cut_off_at_1",
        """The rate is never above 1 here. Above 1 the iteration diverges, and how fast is worth knowing: the
        spectral radius goes on beyond 1.""",
        lambda eigenvalues, lr, beta=0.0: min(1.0, rate(eigenvalues, lr, beta)),
    ),
    mistake(
        "computed_in_float32",
        """Right to seven digits of float64's sixteen. That is what is left where numbers pass through
        float32: torch.tensor and torch.zeros make that unless they are given another dtype.""",
        rate_in_float32,
        rounding=True,
    ),
)


# -- steps_to_tolerance ------------------------------------------------------------------------------


def steps_by_powers(rate: float, tolerance: float) -> int:
    """The row read aloud: try one k after the other."""
    rate, tolerance = float(rate), float(tolerance)
    if tolerance < 0 or (rate >= 1 and tolerance < 1):
        raise ValueError("rate ** k never comes down to the tolerance")
    k = 0
    while rate**k > tolerance:
        k += 1
    return k


def never_comes(rate: float, tolerance: float) -> bool:
    return tolerance < 0 or (tolerance == 0 and rate > 0) or (rate >= 1 and tolerance < 1)


def steps(
    rate: float,
    tolerance: float,
    *,
    never: Callable[[float, float], bool] = never_comes,
    at_once: Callable[[float, float], bool] = lambda rate, tolerance: tolerance >= 1,
    ratio: Callable[[Tensor, Tensor], Tensor] = lambda rate, tolerance: tolerance.log() / rate.log(),
    whole: Callable[[Tensor], Tensor] = torch.ceil,
    after: Callable[[int], Any] = lambda k: k,
    of_zero: int = 1,
) -> Any:
    """The definition by logarithms: the least whole k with k · log(rate) <= log(tolerance)."""
    rate, tolerance = float(rate), float(tolerance)
    if never(rate, tolerance):
        raise ValueError("rate ** k never comes down to the tolerance")
    if at_once(rate, tolerance):
        return after(0)
    if rate == 0:
        return after(of_zero)
    wide = [torch.tensor(one, dtype=torch.float64) for one in (rate, tolerance)]
    return after(int(whole(ratio(*wide))))


def unguarded_formula(rate: float, tolerance: float, clamp: bool = False) -> int:
    """`math.log` and nothing around it."""
    k = math.ceil(math.log(float(tolerance)) / math.log(float(rate)))
    return max(0, k) if clamp else k


def endless(rate: float, tolerance: float, by_powers: bool = False) -> int:
    """A loop that asks for the tolerance alone, and what becomes of it where that never comes."""
    rate, tolerance = float(rate), float(tolerance)
    if never_comes(rate, tolerance):
        if rate > 1 and by_powers:
            raise OverflowError
        raise EndlessLoop
    return steps_by_powers(rate, tolerance)


def instead_of_error(value: Any) -> Callable[[float, float], Any]:
    def steps_to_tolerance(rate: float, tolerance: float) -> Any:
        try:
            return steps(rate, tolerance)
        except ValueError:
            return value

    return steps_to_tolerance


def with_error(error: type[Exception]) -> Callable[[float, float], int]:
    def steps_to_tolerance(rate: float, tolerance: float) -> int:
        try:
            return steps(rate, tolerance)
        except ValueError:
            raise error from None

    return steps_to_tolerance


STEPS_MISTAKES = (
    mistake(
        "rounded_down",
        """The number of steps is rounded down, to the last step before the tolerance is reached. The error
        is still above it there; k is the first whole number with rate^k at or below it.""",
        partial(steps, whole=torch.floor),
        partial(steps, after=lambda k: max(0, k - 1)),
    ),
    mistake(
        "rounded_to_nearest",
        """The number of steps is rounded to the nearest whole number, which is one too few in about half of
        the cases. The tolerance has to be reached, so it is rounded up.""",
        partial(steps, whole=torch.round),
    ),
    mistake(
        "one_step_too_many",
        """One step too many: rate^(k − 1) is at or below the tolerance already. Rounding up and adding 1 do
        the same work twice; a loop that counts before it compares does too.""",
        partial(steps, after=lambda k: k + 1),
        partial(steps, whole=lambda ratio: ratio.ceil() + 1),
        partial(steps, whole=lambda ratio: ratio.ceil() + 1, of_zero=2),
    ),
    mistake(
        "starts_at_1",
        """k starts at 1 here. Where the tolerance is 1 or more, nothing is left to do: rate^0 = 1 is within
        it, and the answer is 0.""",
        partial(steps, after=lambda k: max(1, k)),
        partial(steps, after=lambda k: max(1, k), never=lambda rate, tolerance: tolerance <= 0 or rate >= 1),
    ),
    mistake(
        "negative_steps",
        """Where the tolerance is above 1 the quotient of the logarithms is negative, and no number of steps
        is. The least k that is allowed is 0, and rate^0 = 1 is within the tolerance there.""",
        partial(
            steps,
            never=lambda rate, tolerance: tolerance <= 0 or rate >= 1,
            at_once=lambda rate, tolerance: rate == 0 and tolerance >= 1,
        ),
        partial(steps, at_once=lambda rate, tolerance: rate == 0 and tolerance >= 1),
        partial(steps, at_once=lambda rate, tolerance: False),
    ),
    mistake(
        "rate_alone_decides",
        """ValueError is raised whenever the rate is 1 or more. A growing error is within a tolerance above 1
        at the start, so the answer is 0 there: the tolerance has a say too.""",
        partial(steps, never=lambda rate, tolerance: tolerance <= 0 or rate >= 1),
    ),
    mistake(
        "rate_of_0",
        """A rate of 0 is left to the logarithm, and log(0) is minus infinity. Such an iteration is done after
        a single step: 0^0 is 1, and 0^1 is 0.""",
        partial(steps, of_zero=0),
        lambda rate, tolerance: 0 if rate == 0 else steps(rate, tolerance),
        lambda rate, tolerance: (
            steps(rate, tolerance)
            if rate or never_comes(rate, tolerance) or tolerance >= 1
            else int(math.log(0.0))
        ),
        lambda rate, tolerance: (
            steps(rate, tolerance) if rate or never_comes(rate, tolerance) else int(math.log(0.0))
        ),
        partial(
            steps, never=lambda rate, tolerance: rate <= 0 or tolerance <= 0 or (rate >= 1 and tolerance < 1)
        ),
    ),
    mistake(
        "quotient_inverted",
        """The quotient of the logarithms is upside down. From k · log(rate) = log(tolerance) follows k =
        log(tolerance) / log(rate). A smaller tolerance takes more steps.""",
        partial(steps, ratio=lambda rate, tolerance: rate.log() / tolerance.log()),
    ),
    mistake(
        "logarithms_mixed",
        """The two logarithms have different bases, so all counts are off by one factor, about 2.3 for 10
        against e. Any base will do, but the same one for both.""",
        partial(steps, ratio=lambda rate, tolerance: tolerance.log10() / rate.log()),
        partial(steps, ratio=lambda rate, tolerance: tolerance.log() / rate.log10()),
        partial(steps, ratio=lambda rate, tolerance: tolerance.log2() / rate.log()),
        partial(steps, ratio=lambda rate, tolerance: tolerance.log() / rate.log2()),
    ),
    mistake(
        "sign_of_a_logarithm",
        """A minus sign is lost. Both logarithms are negative, the rate's and the tolerance's, so their
        quotient is positive as it stands.""",
        partial(steps, ratio=lambda rate, tolerance: -tolerance.log() / rate.log()),
    ),
    mistake(
        "logarithm_approximated",
        """1 − rate stands where −log(rate) belongs. The two agree for a rate near 1 only; for a rate of 0.5
        they are 0.5 and 0.69.""",
        partial(steps, ratio=lambda rate, tolerance: -tolerance.log() / (1 - rate)),
    ),
    mistake(
        "linear_decrease",
        """The error is taken to lose the same amount in every step. It loses the same share: the powers of
        the rate shrink by a factor.""",
        partial(steps, ratio=lambda rate, tolerance: (1 - tolerance) / (1 - rate)),
    ),
    mistake(
        "rate_squared",
        """These are the steps for the square of the rate, as if the loss and not the distance had to shrink.
        The condition is rate^k at or below the tolerance.""",
        partial(steps, ratio=lambda rate, tolerance: tolerance.log() / rate.log() / 2),
    ),
    mistake(
        "loop_without_end",
        """The loop waits for the error to come down to the tolerance, and there it never does: it runs for
        ever, or until the power is too large for a float. Before the loop, sort out the arguments for which
        the answer is never.""",
        endless,
        partial(endless, by_powers=True),
    ),
    mistake(
        "formula_without_conditions",
        """The quotient of logarithms is right where the error shrinks to a tolerance below 1. Everywhere else
        it gives a division by log(1) = 0, a negative number of steps, or the logarithm of 0. Which of these
        have an answer, and which ask for a ValueError?""",
        unguarded_formula,
        partial(unguarded_formula, clamp=True),
    ),
    mistake(
        "value_instead_of_exception",
        """Where the tolerance never comes, something is returned, and the caller would go on counting with
        it. There is no such number, and the row asks for a ValueError.""",
        *(instead_of_error(value) for value in (math.inf, None, -1, 0)),
    ),
    mistake(
        "another_exception",
        """An error is raised where the tolerance never comes, but not a ValueError. That is Python's word
        for an argument of the right type whose value makes no sense.""",
        *(
            with_error(error)
            for error in (
                *(RuntimeError, AssertionError, Exception, OverflowError, ArithmeticError),
                *(ZeroDivisionError, TypeError),
            )
        ),
    ),
    mistake(
        "negative_tolerance",
        """A negative tolerance is let through, and no power of the rate is ever below 0. It never comes: that
        asks for a ValueError too.""",
        lambda rate, tolerance: 0 if tolerance < 0 else steps(rate, tolerance),
        lambda rate, tolerance: endless(rate, tolerance) if tolerance < 0 else steps(rate, tolerance),
        lambda rate, tolerance: steps(rate, abs(tolerance)),
    ),
)


# -- whiten ------------------------------------------------------------------------------------------


def whiten_by_svd(x: Tensor, eps: float = EPS) -> Tensor:
    """ZCA from the singular values of the centred batch, which never forms a covariance."""
    u, s, vh = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    return (u * (s / (s.square() / len(x) + eps).sqrt())) @ vh


def covariance(centred: Tensor) -> Tensor:
    return centred.T @ centred / len(centred)


def powered(cov: Tensor, eps: float, power: Callable[[Tensor, float], Tensor]) -> Tensor:
    """The symmetric matrix with the eigenvectors of cov and eigenvalues power(eigenvalues, eps)."""
    values, vectors = torch.linalg.eigh(cov)
    return (vectors * power(values, eps)) @ vectors.T


def inverse_root(values: Tensor, eps: float) -> Tensor:
    return 1 / (values + eps).sqrt()


def whiten(
    x: Tensor,
    eps: float = EPS,
    *,
    mean: Callable[[Tensor], Any] = lambda x: x.mean(0),
    cov: Callable[[Tensor, Tensor], Tensor] = lambda x, centred: covariance(centred),
    eps_used: Callable[[float], float] = lambda eps: eps,
    power: Callable[[Tensor, float], Tensor] = inverse_root,
    matrix: Callable[..., Tensor] = powered,
    product: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda x, centred, w: centred @ w,
) -> Tensor:
    """The definition by the eigenvectors of the covariance, with a knob for each step."""
    centred = x - mean(x)
    return product(x, centred, matrix(cov(x, centred), eps_used(eps), power))


def with_default_eps(value: float) -> Callable:
    def with_default(x: Tensor, eps: float = value) -> Tensor:
        return whiten(x, eps)

    return with_default


def pca_matrix(cov: Tensor, eps: float, power: Callable[[Tensor, float], Tensor]) -> Tensor:
    values, vectors = torch.linalg.eigh(cov)
    return vectors * power(values, eps)


def pca_by_svd_of_cov(cov: Tensor, eps: float, power: Callable[[Tensor, float], Tensor]) -> Tensor:
    """The same from the largest eigenvalue down, each eigenvector with the sign that svd gives it."""
    vectors, values, _ = torch.linalg.svd(cov)
    return vectors * power(values, eps)


def pca_by_svd(x: Tensor, eps: float = EPS) -> Tensor:
    u, s, _ = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    y = u * (s / (s.square() / len(x) + eps).sqrt())
    return torch.nn.functional.pad(y, (0, x.shape[1] - y.shape[1]))


def cholesky_matrix(cov: Tensor, eps: float, power: Callable, *, of_inverse: bool, upper: bool) -> Tensor:
    """A triangular w with w wᵀ = the inverse of cov + eps I."""
    one = torch.eye(len(cov), dtype=cov.dtype, device=cov.device)
    full = cov + eps * one
    if of_inverse:
        w = torch.linalg.cholesky(torch.linalg.inv(full))
    else:
        w = torch.linalg.inv(torch.linalg.cholesky(full)).T
    return w.T if upper else w


def elementwise(cov: Tensor, eps: float, power: Callable[[Tensor, float], Tensor]) -> Tensor:
    return power(cov + eps * torch.eye(len(cov), dtype=cov.dtype, device=cov.device), 0.0)


def inverse_elementwise(cov: Tensor, eps: float, power: Callable) -> Tensor:
    return torch.linalg.inv(cov + eps * torch.eye(len(cov), dtype=cov.dtype, device=cov.device)).sqrt()


def whiten_with_eps_beside_singular_values(x: Tensor, eps: float = EPS) -> Tensor:
    """eps is added to the singular values of the batch, which are roots."""
    u, s, vh = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    return len(x) ** 0.5 * (u * (s / (s + eps))) @ vh


def rows_whitened(x: Tensor, eps: float = EPS) -> Tensor:
    """W x with the N × N matrix of how the rows vary together."""
    centred = x - x.mean(1, keepdim=True)
    return powered(centred @ centred.T / x.shape[1], eps, inverse_root) @ centred


def root_by_iteration(cov: Tensor, eps: float, power: Callable, count: int) -> Tensor:
    """The inverse root by Newton's iteration on the covariance at trace 1, as in iterative normalization."""
    full = cov + eps * torch.eye(len(cov), dtype=cov.dtype, device=cov.device)
    root = torch.eye(len(cov), dtype=cov.dtype, device=cov.device)
    for _ in range(count):
        root = 1.5 * root - 0.5 * root @ root @ root @ full / full.trace()
    return root / full.trace().sqrt()


def reassembled(cov: Tensor, eps: float, power: Callable, together: Callable) -> Tensor:
    """`powered` with the eigenvectors put together by `together(vectors, powers)`."""
    values, vectors = torch.linalg.eigh(cov)
    return together(vectors, power(values, eps))


WHITEN_MISTAKES = (
    mistake(
        "pca_whitening",
        """This is PCA whitening. The features have variance 1 and no correlation, but they lie along the
        eigenvectors, not along the axes of x. ZCA turns them back: the matrix is symmetric then, and each
        feature stays as near to what it was as can be.""",
        partial(whiten, matrix=pca_matrix),
        partial(whiten, matrix=lambda cov, eps, power: pca_matrix(cov, eps, power).flip(1)),
        partial(whiten, matrix=pca_by_svd_of_cov),
        pca_by_svd,
    ),
    mistake(
        "cholesky_whitening",
        """This whitens with a triangular matrix, from Cholesky's factors. The covariance comes out right, but
        the result depends on the order of the features: the first or the last is only rescaled. We want the
        symmetric inverse root.""",
        *(
            partial(whiten, matrix=partial(cholesky_matrix, of_inverse=of_inverse, upper=upper))
            for of_inverse in (True, False)
            for upper in (False, True)
        ),
    ),
    mistake(
        "standardized_only",
        """Every feature has variance 1, but they are still correlated: only the diagonal of the covariance
        is used. Whitening takes the inverse root of the whole matrix.""",
        partial(whiten, cov=lambda x, centred: covariance(centred).diagonal().diag()),
        partial(
            whiten,
            cov=lambda x, centred: covariance(centred).diagonal().diag(),
            power=lambda values, eps: 1 / (values.clamp_min(0).sqrt() + eps),
        ),
    ),
    mistake(
        "standardized_first",
        """Each feature is divided by its own standard deviation before the covariance is taken, so it is the
        correlations that are undone. The covariance of x as it is decides which symmetric matrix this is.""",
        lambda x, eps=EPS: whiten((x - x.mean(0)) / (x.var(0, correction=0) + eps).sqrt(), eps),
        lambda x, eps=EPS: whiten((x - x.mean(0)) / (x.std(0, correction=0) + eps), eps),
    ),
    mistake(
        "not_centred",
        """The mean of each feature is not subtracted. The covariance is taken of the centred batch, and it is
        the centred batch that is multiplied; the columns of the result have mean 0.""",
        partial(whiten, mean=lambda x: 0.0),
        partial(whiten, product=lambda x, centred, w: x @ w),
        partial(whiten, cov=lambda x, centred: covariance(x)),
    ),
    mistake(
        "mean_over_another_axis",
        """The mean is taken over the features, or over everything. Each feature has a mean of its own over
        the batch, axis 0, so that the columns come out with mean 0.""",
        partial(whiten, mean=lambda x: x.mean()),
        partial(whiten, mean=lambda x: x.mean(1, keepdim=True)),
    ),
    mistake(
        "covariance_of_rows",
        """The covariance is N × N here: that of the samples. Features are what is decorrelated, so it is
        D × D. (torch.cov takes its variables in rows, unlike a batch.)""",
        rows_whitened,
    ),
    mistake(
        "unbiased_covariance",
        """The covariance is divided by N − 1. Whitening, like normalizing, takes the biased one, divided by
        N; your values are too small by about √((N − 1)/N), and one sample alone gives NaN. (torch.cov
        divides by N − 1 unless told otherwise.)""",
        partial(whiten, cov=lambda x, centred: centred.T @ centred / (len(x) - 1)),
    ),
    mistake(
        "covariance_not_divided_by_n",
        """The sum of products, centredᵀ · centred, is divided by D, or not at all. The covariance is its mean
        over the batch: divide by N, or the result depends on how many samples there are.""",
        partial(whiten, cov=lambda x, centred: centred.T @ centred),
        partial(whiten, cov=lambda x, centred: centred.T @ centred / x.shape[1]),
    ),
    mistake(
        "covariance_by_cancellation",
        """The covariance is computed as E[xxᵀ] − E[x]E[x]ᵀ. On paper that is the same. At an offset of 10,000
        both terms are near 10⁸, and their difference has lost its digits. Centre first, then multiply.""",
        partial(whiten, cov=lambda x, centred: x.T @ x / len(x) - torch.outer(x.mean(0), x.mean(0))),
        partial(
            whiten,
            cov=lambda x, centred: x.T @ x / len(x) - torch.outer(x.mean(0), x.mean(0)),
            power=lambda values, eps: 1 / (values.clamp_min(0) + eps).sqrt(),
        ),
        rounding=True,
    ),
    mistake(
        "too_few_iterations",
        """The iteration for the inverse root stops too early: directions in which the batch varies little
        still have less than variance 1. Go on until nothing changes any more.""",
        *(
            partial(whiten, matrix=partial(root_by_iteration, count=count))
            for count in (3, 4, 5, 6, 7, 8, 10)
        ),
    ),
    mistake(
        "eps_missing",
        """eps is not used. Where features are constant, or there are fewer samples than features, the
        covariance has eigenvalues of 0 that cannot be inverted; where eigenvalues are near eps, your values
        come out too large.""",
        partial(whiten, eps_used=lambda eps: 0.0),
        partial(whiten, power=lambda values, eps: 1 / values.clamp_min(1e-30).sqrt()),
    ),
    mistake(
        "eps_outside_root",
        """eps is added to the root of the covariance. It belongs to the covariance itself, before the root:
        along an eigenvector the divisor is √(λ + eps), not √λ + eps. The two differ where λ is near eps.""",
        partial(whiten, power=lambda values, eps: 1 / (values.clamp_min(0).sqrt() + eps)),
        whiten_with_eps_beside_singular_values,
    ),
    mistake(
        "eps_subtracted",
        """eps is subtracted from the covariance. It is added: it lifts the eigenvalues off 0, so that each
        has an inverse root. Yours gives NaN where one is smaller than eps.""",
        partial(whiten, power=lambda values, eps: 1 / (values - eps).sqrt()),
    ),
    mistake(
        "eps_on_every_entry",
        """eps is added to every entry of the covariance. eps · I has it on the diagonal only; elsewhere it
        would pretend that the features hang together.""",
        partial(
            whiten,
            matrix=lambda cov, eps, power: powered(cov + eps, 0.0, power),
        ),
    ),
    mistake(
        "eps_as_floor",
        """eps replaces the eigenvalues that are smaller instead of being added to all. cov + eps · I has the
        eigenvalues λ + eps, the small ones and the large ones.""",
        partial(whiten, power=lambda values, eps: 1 / values.clamp_min(eps).sqrt()),
    ),
    mistake(
        "eps_fixed",
        """The result does not change when eps changes: a fixed number stands in the code where the argument
        eps should be used.""",
        *(partial(whiten, eps_used=lambda eps, value=value: value) for value in (1e-5, 1e-8, 1e-6, 1e-3)),
    ),
    mistake(
        "eps_default",
        "Right whenever eps is passed, and wrong when it is left out: the default is 1e-5.",
        *(with_default_eps(value) for value in (1e-8, 1e-6, 1e-3, 0.0)),
    ),
    mistake(
        "eps_in_float32",
        """Right to seven digits of eps: it passes through float32 on its way to the diagonal, whatever the
        dtype of x. torch.eye makes float32 unless told otherwise.""",
        partial(whiten, eps_used=lambda eps: torch.tensor(eps, dtype=torch.float32).double().item()),
    ),
    mistake(
        "root_missing",
        """The centred batch is multiplied by the inverse of the covariance. The variances are divided out
        twice that way: a direction with standard deviation σ comes out with 1/σ. It is the inverse of the
        root.""",
        partial(whiten, power=lambda values, eps: 1 / (values + eps)),
    ),
    mistake(
        "root_not_inverted",
        """The centred batch is multiplied by the root of the covariance, which stretches the long directions
        further. Whitening divides it out: the inverse root.""",
        partial(whiten, power=lambda values, eps: (values + eps).sqrt()),
    ),
    mistake(
        "root_of_every_entry",
        """The root of every entry is taken. But the root of a matrix is the matrix that gives it when
        multiplied by itself. It has the same eigenvectors, and its eigenvalues are the roots. Negative
        entries would give NaN.""",
        partial(whiten, matrix=elementwise),
        partial(whiten, matrix=inverse_elementwise),
    ),
    mistake(
        "eigenvectors_not_transposed",
        """The matrix is put together again with a transpose in the wrong place. With the eigenvectors in the
        columns of V it is V · diag · Vᵀ, and only that is symmetric.""",
        partial(whiten, matrix=partial(reassembled, together=lambda v, scale: v * scale @ v)),
        partial(whiten, matrix=partial(reassembled, together=lambda v, scale: v.T * scale @ v)),
    ),
    mistake(
        "matrix_returned",
        """What is returned is the D × D matrix that whitens. The last step is to multiply the centred batch
        by it, which gives (N, D).""",
        partial(whiten, product=lambda x, centred, w: w),
    ),
)


def unbiased_cov(x: Tensor, centred: Tensor) -> Tensor:
    return centred.T @ centred / (len(x) - 1)


#: Two mistakes at once that are seen together: the keys, and the knobs of `whiten`.
WHITEN_PAIRS: tuple[tuple[str, str, tuple[dict[str, Any], ...]], ...] = (
    (
        "unbiased_covariance",
        "pca_whitening",
        tuple(
            {"cov": unbiased_cov, "matrix": matrix}
            for matrix in (
                pca_matrix,
                lambda cov, eps, power: pca_matrix(cov, eps, power).flip(1),
                pca_by_svd_of_cov,
            )
        ),
    ),
    (
        "unbiased_covariance",
        "not_centred",
        (
            {"cov": unbiased_cov, "product": lambda x, centred, w: x @ w},
            {"cov": unbiased_cov, "mean": lambda x: 0.0},
        ),
    ),
    (
        "unbiased_covariance",
        "eps_fixed",
        tuple(
            {"cov": unbiased_cov, "eps_used": lambda eps, value=value: value}
            for value in (1e-5, 1e-8, 1e-6, 1e-3)
        ),
    ),
    (
        "covariance_not_divided_by_n",
        "eps_missing",
        (
            {
                "cov": lambda x, centred: centred.T @ centred,
                "power": lambda values, eps: 1 / values.clamp_min(1e-30).sqrt(),
            },
        ),
    ),
    ("unbiased_covariance", "eps_missing", ({"cov": unbiased_cov, "eps_used": lambda eps: 0.0},)),
    (
        "unbiased_covariance",
        "eps_outside_root",
        ({"cov": unbiased_cov, "power": lambda values, eps: 1 / (values.clamp_min(0).sqrt() + eps)},),
    ),
    (
        "not_centred",
        "covariance_not_divided_by_n",
        (
            {"mean": lambda x: 0.0, "cov": lambda x, centred: x.T @ x},
            {"mean": lambda x: 0.0, "cov": lambda x, centred: x.T @ x / x.shape[1]},
        ),
    ),
    (
        "pca_whitening",
        "eps_missing",
        (
            {"matrix": pca_matrix, "eps_used": lambda eps: 0.0},
            {"matrix": pca_by_svd_of_cov, "eps_used": lambda eps: 0.0},
        ),
    ),
    (
        "pca_whitening",
        "not_centred",
        (
            {"matrix": pca_matrix, "mean": lambda x: 0.0},
            {"matrix": pca_by_svd_of_cov, "mean": lambda x: 0.0},
        ),
    ),
)


@cache
def whiten_pairs() -> tuple[Mistake, ...]:
    named = {one.key: one for one in WHITEN_MISTAKES}
    return tuple(
        both(named[first], named[second], *(partial(whiten, **knobs) for knobs in ways))
        for first, second, ways in WHITEN_PAIRS
    )


# -- train -------------------------------------------------------------------------------------------

Pairs = Iterable[tuple[Tensor, Tensor]]
Loss = Callable[[Tensor, Tensor], Tensor]


def train_by_grad(
    model: nn.Module, optimizer: torch.optim.Optimizer, batches: Pairs, loss_fn: Loss
) -> Tensor:
    """Each gradient asked for by name and put in place, so that nothing is there to be cleared."""
    losses = []
    for x, y in batches:
        loss = loss_fn(model(x), y)
        parameters = list(model.parameters())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Pairs,
    loss_fn: Loss,
    *,
    order: str = "clear forward backward step note",
    before: Callable[[nn.Module, torch.optim.Optimizer], Any] = lambda model, optimizer: None,
    after: Callable[[nn.Module, torch.optim.Optimizer], Any] = lambda model, optimizer: None,
    loss_of: Callable[[nn.Module, Tensor, Tensor, Loss], Tensor] = (
        lambda model, x, y, loss_fn: loss_fn(model(x), y)
    ),
    noted: Callable[[Tensor, Tensor], Tensor] = lambda loss, x: loss.detach(),
    result: Callable[[list[Tensor]], Any] = torch.stack,
    set_to_none: bool = True,
) -> Any:
    """The definition: clear, forward, backward, step, in the order that the knob `order` writes."""
    losses = []
    before(model, optimizer)
    for x, y in batches:
        loss = torch.zeros(())
        for action in order.split():
            if action == "clear":
                optimizer.zero_grad(set_to_none=set_to_none)
            elif action == "forward":
                loss = loss_of(model, x, y, loss_fn)
            elif action == "backward":
                loss.backward()
            elif action == "step":
                optimizer.step()
            elif action == "note":
                losses.append(noted(loss, x))
            elif action == "again":
                losses.append(noted(loss_of(model, x, y, loss_fn), x))
    after(model, optimizer)
    return result(losses)


def one_step_at_the_end(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Pairs,
    loss_fn: Loss,
    clear: bool = True,
    mean: bool = False,
) -> Tensor:
    losses = []
    if clear:
        optimizer.zero_grad()
    for x, y in batches:
        losses.append(loss_fn(model(x), y))
    total = torch.stack(losses).mean() if mean else torch.stack(losses).sum()
    total.backward()
    optimizer.step()
    return torch.stack(losses).detach()


def train_in_evaluation_mode(
    model: nn.Module, optimizer: torch.optim.Optimizer, batches: Pairs, loss_fn: Loss
) -> Tensor:
    was = model.training
    losses = train(model.eval(), optimizer, batches, loss_fn)
    model.train(was)
    return losses


def running_mean(losses: list[Tensor]) -> Tensor:
    values = torch.stack(losses)
    return values.cumsum(0) / torch.arange(1, len(values) + 1, device=values.device)


def clear_now(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()


TRAIN_MISTAKES = (
    mistake(
        "gradients_accumulated",
        """The gradients are not cleared: backward adds to what is there, so every step also takes those of
        the batches before. Clear them once per batch, before backward.""",
        partial(train, order="forward backward step note"),
        partial(train, order="forward backward step note", before=clear_now),
    ),
    mistake(
        "cleared_after_the_step",
        """The gradients are cleared at the end of each round, so the first backward adds to whatever lay
        there before. A function does not know what its caller did: clear before backward.""",
        partial(train, order="forward backward step clear note"),
    ),
    mistake(
        "weights_never_move",
        """The weights are the same afterwards as before: the optimizer finds no gradient when it steps, or
        never steps. In each round the order is clear, forward, backward, step.""",
        partial(train, order="forward backward clear step note"),
        partial(train, order="forward backward clear step note", set_to_none=False),
        partial(train, order="clear forward step backward note"),
        partial(train, order="clear forward backward note"),
        partial(train, order="clear forward step note"),
        partial(train, order="clear forward step note", set_to_none=False),
    ),
    mistake(
        "gradient_of_the_batch_before",
        """The optimizer steps before backward has run, so each step uses the gradients of the batch before,
        and the first one what lay there at the start. Backward comes first.""",
        partial(train, order="forward step clear backward note"),
        partial(train, order="step clear forward backward note"),
    ),
    mistake(
        "loss_after_the_step",
        """The losses are those after each step. What is asked is the loss that the step was taken from: the
        one that backward is called on. It costs no second forward pass.""",
        partial(train, order="clear forward backward step again"),
    ),
    mistake(
        "not_detached",
        """The values are right, but the losses still hang on the graph, which keeps the activations of every
        step in memory. Detach each loss when it is noted.""",
        partial(train, noted=lambda loss, x: loss),
    ),
    mistake(
        "averaged_or_summed_over_steps",
        """The losses of the steps are averaged or summed up. Every step has its own entry, (steps,) in all: a
        curve to draw, not one number.""",
        partial(train, result=lambda losses: torch.stack(losses).mean()),
        partial(train, result=lambda losses: torch.stack(losses).sum()),
        partial(train, result=lambda losses: torch.stack(losses).cumsum(0)),
        partial(train, result=running_mean),
        partial(train, result=lambda losses: torch.stack(losses) / len(losses)),
    ),
    mistake(
        "last_loss_only",
        "Only the loss of the last batch is returned. Note one at every step; (steps,) is what is asked.",
        partial(train, result=lambda losses: losses[-1]),
        partial(train, result=lambda losses: losses[-1].reshape(1)),
    ),
    mistake(
        "one_step_at_the_end",
        """All losses belong to the weights of the start, and the optimizer steps once at the end. One
        optimizer step for every batch: the second batch meets the weights that the first has moved.""",
        one_step_at_the_end,
        partial(one_step_at_the_end, mean=True),
        partial(one_step_at_the_end, clear=False),
    ),
    mistake(
        "left_in_training_mode",
        """A model that comes in evaluation mode goes out in training mode. Leave the mode alone, or put back
        what `model.training` was.""",
        partial(train, before=lambda model, optimizer: model.train()),
        partial(train, after=lambda model, optimizer: model.train()),
    ),
    mistake(
        "left_in_evaluation_mode",
        """A model that comes in training mode goes out in evaluation mode. Leave the mode alone, or put back
        what `model.training` was.""",
        partial(train, after=lambda model, optimizer: model.eval()),
        partial(
            train,
            before=lambda model, optimizer: model.train(),
            after=lambda model, optimizer: model.eval(),
        ),
    ),
    mistake(
        "trained_in_evaluation_mode",
        """A model in training mode is put in evaluation mode while it trains. Batch norm then takes its
        running statistics instead of those of the batch, and they never move.""",
        train_in_evaluation_mode,
        partial(train, before=lambda model, optimizer: model.eval()),
    ),
    mistake(
        "loss_arguments_swapped",
        "The arguments of loss_fn are swapped: the output of the model comes first, the target y second.",
        partial(train, loss_of=lambda model, x, y, loss_fn: loss_fn(y, model(x))),
    ),
    mistake(
        "weighted_by_batch_size",
        """Each loss is multiplied by the number of samples in its batch, as one does before averaging over an
        epoch. Asked is what loss_fn returns.""",
        partial(train, noted=lambda loss, x: loss.detach() * len(x)),
    ),
    mistake(
        "losses_in_float32",
        """Right to seven digits. That is what is left where the losses pass through Python numbers, of
        which torch.tensor makes float32 whatever the model's dtype. Keep the tensors and stack them.""",
        partial(train, result=lambda losses: torch.tensor([loss.item() for loss in losses])),
        rounding=True,
    ),
)


# -- compare -----------------------------------------------------------------------------------------

Run = Callable[[bool, bool, float, int], float]
#: Losses of one arm: at each rate, one for each seed.
Table = dict[float, list[float]]
Arms = dict[str, tuple[float, list[float], bool]]

SWITCHES = {
    "plain": (False, False),
    "momentum": (True, False),
    "normalization": (False, True),
    "both": (True, True),
}


def compare_by_quantile(run: Run, rates: list[float], seeds: list[int]) -> Arms:
    """All medians of an arm at once, by the library, from losses in which inf stands for nan."""
    grid = sorted(rates)
    found = {}
    for key, switches in SWITCHES.items():
        losses = [[run(*switches, rate, seed) for seed in seeds] for rate in grid]
        table = torch.tensor(losses, dtype=torch.float64).nan_to_num(nan=math.inf, posinf=math.inf)
        best = int(torch.median(table, 1).values.argmin())
        found[key] = grid[best], losses[best], best in (0, len(grid) - 1)
    return found


def nan_is_worst(loss: float) -> float:
    return math.inf if math.isnan(loss) else loss


def middle(losses: list[float]) -> float:
    """The median over seeds, of an odd number; a run that ends with nan is as bad as one with inf."""
    return sorted(map(nan_is_worst, losses))[len(losses) // 2]


def lowest(table: Table, score: Callable[[list[float]], float]) -> float:
    """The rate with the lowest score, of several the smallest."""
    return min(sorted(table), key=lambda rate: score(table[rate]))


def at_an_end(rate: float, rates: list[float]) -> bool:
    return rate in (min(rates), max(rates))


def compare(
    run: Run,
    rates: list[float],
    seeds: list[int],
    *,
    made: Callable[..., float] = lambda run, *given: run(*given),
    score: Callable[[list[float]], float] = middle,
    chosen: Callable[[Table, Callable], float] = lowest,
    best: Callable[[dict[str, Table], str, Callable[[Table], float]], float] = (
        lambda arms, key, chosen: chosen(arms[key])
    ),
    handed: Callable[[Table, float], Any] = lambda table, rate: table[rate],
    edge: Callable[[float, list[float]], Any] = at_an_end,
    **others: tuple[bool, bool],
) -> Arms:
    """The definition: a table of losses for every arm, and the best row of each.

    made: how a run is made. score: what a rate is judged by. chosen: the rate, from a table and the score.
    best: the rate of an arm, from all tables. handed: what is returned of the table. others: other switches
    for a key.
    """
    arms = {
        key: {rate: [made(run, *switches, rate, seed) for seed in seeds] for rate in rates}
        for key, switches in (SWITCHES | others).items()
    }
    found = {key: best(arms, key, lambda table: chosen(table, score)) for key in arms}
    return {key: (rate, handed(arms[key], rate), edge(rate, rates)) for key, rate in found.items()}


def pooled(arms: dict[str, Table], key: str, chosen: Callable[[Table], float]) -> float:
    """One rate for all arms, by all of their losses."""
    return chosen({rate: [loss for table in arms.values() for loss in table[rate]] for rate in arms[key]})


def run_again(run: Run, rates: list[float], seeds: list[int]) -> Arms:
    return {
        key: (rate, [run(*SWITCHES[key], rate, seed) for seed in seeds], edge)
        for key, (rate, _, edge) in compare(run, rates, seeds).items()
    }


def without_nan(losses: list[float]) -> list[float]:
    return [loss for loss in losses if not math.isnan(loss)]


def finite(losses: list[float]) -> list[float]:
    return [loss for loss in losses if math.isfinite(loss)]


def nan_if_any(losses: list[float]) -> float:
    """The median as NumPy has it, which is nan where one of the losses is."""
    return math.nan if any(map(math.isnan, losses)) else middle(losses)


def mean(losses: list[float]) -> float:
    return sum(losses) / len(losses)


COMPARE_MISTAKES = (
    mistake(
        "momentum_and_normalization_swapped",
        """The results of 'momentum' and 'normalization' are swapped. run takes momentum first and
        normalization second.""",
        partial(compare, momentum=(False, True), normalization=(True, False)),
    ),
    mistake(
        "switches_reversed",
        """True and False are swapped: 'plain' holds the runs with everything switched on. True switches
        something on.""",
        partial(compare, **{key: (not one, not other) for key, (one, other) in SWITCHES.items()}),
        partial(compare, plain=(True, True), both=(False, False)),
    ),
    mistake(
        "combination_repeated",
        """Two keys hold the same runs, and one of the four combinations of the two switches is missing. There
        are four: neither, the one, the other, and both.""",
        partial(compare, both=(True, False)),
        partial(compare, both=(False, True)),
        partial(compare, normalization=(True, True)),
        partial(compare, momentum=(True, True)),
    ),
    mistake(
        "one_rate_for_all",
        """All arms are run at one rate. Where that is the best of one of them, the others are compared at a
        handicap, and the verdict is about the rate, not about the method. Each arm has a best rate of its
        own.""",
        *(
            partial(compare, best=lambda arms, key, chosen, first=first: chosen(arms[first]))
            for first in SWITCHES
        ),
        partial(compare, best=pooled),
    ),
    mistake(
        "minimum_over_seeds",
        """A rate is judged by its best seed. The more seeds one tries the lower the minimum gets, whatever
        the rate is worth: that is luck. The median says what half of the runs reach.""",
        partial(compare, score=lambda losses: min(map(nan_is_worst, losses))),
    ),
    mistake(
        "maximum_over_seeds",
        """A rate is judged by its worst seed, so one run that went astray decides. The median says what half
        of the runs reach.""",
        partial(compare, score=lambda losses: max(map(nan_is_worst, losses))),
    ),
    mistake(
        "mean_over_seeds",
        """A rate is judged by its mean over the seeds. A single run that ends far above the others decides
        then, and one that ends with inf or nan makes the mean worthless. The median bears that.""",
        partial(compare, score=lambda losses: mean([*map(nan_is_worst, losses)])),
        partial(compare, score=lambda losses: nan_is_worst(mean(losses))),
    ),
    mistake(
        "one_seed_only",
        """The rate is chosen by a single seed: the first, the last, or the one in the middle of a list that
        is not sorted. Another seed would have chosen another rate; that is what the others are there for.""",
        *(
            partial(compare, score=lambda losses, place=place: nan_is_worst(losses[place(losses)]))
            for place in (lambda losses: 0, lambda losses: -1, lambda losses: len(losses) // 2)
        ),
    ),
    mistake(
        "diverged_runs_left_out",
        """Runs that end with nan or inf are left out before a rate is judged. The few that survive can look
        splendid. A run that diverges is the worst result that a rate can have, and it counts.""",
        partial(compare, score=lambda losses: middle(without_nan(losses) or [math.inf])),
        partial(compare, score=lambda losses: middle(finite(losses) or [math.inf])),
        partial(compare, score=lambda losses: mean(finite(losses) or [math.inf])),
        partial(compare, score=lambda losses: mean(without_nan(losses) or [math.inf])),
    ),
    mistake(
        "nan_is_best",
        """A run that ends with nan passes for a good one. Every comparison with nan is False, so sorting or a
        minimum puts it anywhere, also in front. Decide first that it is the worst.""",
        partial(
            compare,
            score=lambda losses: sorted(-math.inf if loss != loss else loss for loss in losses)[
                len(losses) // 2
            ],
        ),
        partial(
            compare,
            score=lambda losses: sorted(0.0 if loss != loss else loss for loss in losses)[len(losses) // 2],
        ),
        partial(compare, score=lambda losses: sorted(losses)[len(losses) // 2]),
        partial(
            compare,
            score=lambda losses: sorted(losses)[len(losses) // 2],
            chosen=lambda table, score: min(table, key=lambda rate: score(table[rate])),
        ),
    ),
    mistake(
        "nan_spreads",
        """A single run that ends with nan makes the median of its rate nan, as np.median and torch.median do,
        and where nan stands among medians a minimum goes by its place. One diverged run is only the worst of
        several: with inf in its place the median bears it.""",
        partial(compare, score=nan_if_any),
        partial(
            compare,
            score=nan_if_any,
            chosen=lambda table, score: min(table, key=lambda rate: score(table[rate])),
        ),
        partial(
            compare,
            score=lambda losses: -math.inf if math.isnan(nan_if_any(losses)) else middle(losses),
        ),
    ),
    mistake(
        "highest_loss",
        "The rate with the highest median is chosen. It is a loss: the lowest is the best.",
        partial(compare, score=lambda losses: -middle(losses)),
    ),
    mistake(
        "larger_rate_of_two",
        """Of two rates with the same median you return the larger one. We want the smaller one, wherever
        the two are in the list.""",
        partial(
            compare,
            chosen=lambda table, score: min(sorted(table, reverse=True), key=lambda rate: score(table[rate])),
        ),
        partial(compare, chosen=lambda table, score: min(table, key=lambda rate: score(table[rate]))),
        partial(
            compare, chosen=lambda table, score: min(reversed(table), key=lambda rate: score(table[rate]))
        ),
    ),
    mistake(
        "losses_not_by_seed",
        """The rates are right, and the losses beside them are not those of the seeds, one by one and in their
        order. Whoever reads them wants to see how many seeds agree, and needs them as they came: not sorted,
        not summed up, nan as nan.""",
        partial(compare, handed=lambda table, rate: sorted(table[rate])),
        partial(compare, handed=lambda table, rate: [*map(nan_is_worst, table[rate])]),
        partial(compare, handed=lambda table, rate: [middle(table[rate])]),
        partial(compare, handed=lambda table, rate: [mean(table[rate])]),
        partial(compare, handed=lambda table, rate: middle(table[rate])),
        partial(compare, handed=lambda table, rate: mean(table[rate])),
        partial(compare, handed=lambda table, rate: finite(table[rate])),
    ),
    mistake(
        "losses_of_rates",
        """The losses beside the rate run over the rates. We want what the best rate gives, one loss for each
        seed.""",
        partial(compare, handed=lambda table, rate: [middle(losses) for losses in table.values()]),
        partial(compare, handed=lambda table, rate: [losses[0] for losses in table.values()]),
        partial(compare, handed=lambda table, rate: [min(losses) for losses in table.values()]),
        partial(compare, handed=lambda table, rate: [*table.values()]),
    ),
    mistake(
        "edge_by_place",
        """Whether the rate lies at the edge is told by its place in the list. The list comes in any order:
        the edges are the smallest and the largest rate.""",
        partial(compare, edge=lambda rate, rates: rate in (rates[0], rates[-1])),
    ),
    mistake(
        "one_edge_only",
        """Only one end of the grid counts as its edge. Best at the smallest rate or best at the largest:
        either way the true best may lie outside.""",
        partial(compare, edge=lambda rate, rates: rate == max(rates)),
        partial(compare, edge=lambda rate, rates: rate == min(rates)),
    ),
    mistake(
        "edge_reversed",
        """True and False are swapped in the third entry. True says that the best rate lies at the edge, which
        is a warning.""",
        partial(compare, edge=lambda rate, rates: not at_an_end(rate, rates)),
    ),
    mistake(
        "edge_missing",
        """The third entry never changes. Where the best rate is the smallest or the largest of the grid it
        says True, and else False.""",
        partial(compare, edge=lambda rate, rates: False),
        partial(compare, edge=lambda rate, rates: True),
    ),
    mistake(
        "called_more_than_once",
        """The results are right, but some runs are made more than once. A run is a whole training, and a
        random one would give another result each time: call once and keep what comes back.""",
        run_again,
        partial(compare, made=lambda run, *given: (run(*given), run(*given))[0]),
    ),
    mistake(
        "numbers_for_bools",
        """run is called with 0 and 1. They act as switches often enough, but two bools is what it is
        promised: False and True.""",
        partial(
            compare,
            made=lambda run, momentum, normalization, *given: run(int(momentum), int(normalization), *given),
        ),
    ),
)


# -- normalized_step ---------------------------------------------------------------------------------


def norm_with_library(w: Tensor, g: Tensor, lr: float, eps: float = 1e-8) -> Tensor:
    return torch.add(w, g / (torch.linalg.vector_norm(g) + eps), alpha=-lr)


def length(g: Tensor) -> Tensor:
    return g.square().sum().sqrt()


def normalized(
    w: Tensor,
    g: Tensor,
    lr: float,
    eps: float = 1e-8,
    *,
    scaled: Callable[[Tensor, Tensor, float], Tensor] = lambda w, g, eps: g / (length(g) + eps),
    eps_used: Callable[[float], float] = lambda eps: eps,
    rate: Callable[[float], float] = lambda lr: lr,
    origin: Callable[[Tensor], Tensor] = lambda w: w,
) -> Tensor:
    """The definition. scaled: the direction of the step, from w, g and eps."""
    return origin(w) - rate(lr) * scaled(w, g, eps_used(eps))


def with_other_length(other: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return partial(normalized, scaled=lambda w, g, eps: g / (other(g) + eps))


def default_of_step(value: float) -> Callable[..., Tensor]:
    def with_default(w: Tensor, g: Tensor, lr: float, eps: float = value) -> Tensor:
        return normalized(w, g, lr, eps)

    return with_default


def singular_values(g: Tensor) -> Tensor:
    """Of a matrix, and of whatever has more axes, flattened to one; a vector has its length."""
    return torch.linalg.svdvals(g.flatten(1) if g.dim() > 1 else g.reshape(1, -1))


NORMALIZED_MISTAKES = (
    mistake(
        "eps_inside_root",
        """eps stands inside the root, with the sum of squares. Here it is added to the length itself. Under
        the root 1e-8 acts like a length of 1e-4, and short gradients are no longer normalized.""",
        partial(normalized, scaled=lambda w, g, eps: g / (g.square().sum() + eps).sqrt()),
        partial(normalized, scaled=lambda w, g, eps: g / (g.square().sum() + eps**2).sqrt()),
    ),
    mistake(
        "eps_as_lower_bound",
        """eps is only the least that the length may be. Here it is added to the length, so that a gradient as
        long as eps takes half a step.""",
        partial(normalized, scaled=lambda w, g, eps: g / length(g).clamp_min(eps)),
    ),
    mistake(
        "eps_missing",
        """eps is not added to the length. A gradient of 0 has the length 0, and 0/0 is NaN; one as short as
        eps takes only part of a step.""",
        partial(normalized, scaled=lambda w, g, eps: g / length(g)),
        partial(
            normalized,
            scaled=lambda w, g, eps: torch.where(length(g) > 0, g / length(g), torch.zeros_like(g)),
        ),
    ),
    mistake(
        "eps_default",
        "Right when eps is passed, but wrong when it is left out: its default is 1e-8.",
        *map(default_of_step, (1e-5, 1e-6, 1e-7, 1e-12)),
    ),
    mistake(
        "eps_fixed",
        """The result does not change when eps changes: a fixed number stands where the argument eps should be
        used.""",
        *(partial(normalized, eps_used=lambda eps, value=value: value) for value in (1e-8, 1e-12, 1e-5)),
    ),
    mistake(
        "length_squared",
        """The gradient is divided by its squared length: the root is missing. The steps are then the longer
        the shorter the gradient is, instead of all being lr long.""",
        with_other_length(lambda g: g.square().sum()),
    ),
    mistake(
        "mean_for_sum",
        """This divides by the root of the mean of squares. It grows with the root of the number of entries,
        and so do your steps: the length is the root of the sum.""",
        with_other_length(lambda g: g.square().mean().sqrt()),
    ),
    mistake(
        "another_norm",
        """Another norm is taken for the length: a sum of absolute values, or the largest of them. We want the
        Euclidean norm, the root of the sum of squares.""",
        with_other_length(lambda g: g.abs().sum()),
        with_other_length(lambda g: g.abs().max()),
    ),
    mistake(
        "norm_of_each_row",
        """Every row, or column, is scaled to length 1 on its own. The gradient of all of w is one vector,
        whatever its shape is, and has one length.""",
        with_other_length(lambda g: g.square().sum(-1, keepdim=True).sqrt() if g.dim() else g.abs()),
        with_other_length(lambda g: g.square().sum(0).sqrt() if g.dim() else g.abs()),
        with_other_length(
            lambda g: (
                g.square().sum(tuple(range(1, g.dim())), keepdim=True).sqrt() if g.dim() > 1 else length(g)
            )
        ),
        # As F.normalize does it, where eps is a lower bound besides.
        *(
            partial(
                normalized,
                scaled=lambda w, g, eps, axis=axis: (
                    nn.functional.normalize(g, dim=axis, eps=eps) if g.dim() else g / g.abs().clamp_min(eps)
                ),
            )
            for axis in (-1, 0)
        ),
    ),
    mistake(
        "spectral_norm",
        """The gradient of a matrix is divided by its largest singular value, or by the sum of them all. We
        want the length of all its entries as one vector, the Frobenius norm.""",
        with_other_length(lambda g: singular_values(g).amax()),
        with_other_length(lambda g: singular_values(g).sum()),
    ),
    mistake(
        "not_normalized",
        """This is plain gradient descent: the step is as long as the slope is steep. Here only the direction
        of the gradient counts, and the length is lr.""",
        partial(normalized, scaled=lambda w, g, eps: g),
    ),
    mistake(
        "clipped",
        """Long gradients are cut down and short ones stay short: that is clipping. Normalized steps are lr
        long also where the slope is nearly flat.""",
        partial(normalized, scaled=lambda w, g, eps: g / (length(g) + eps).clamp_min(1.0)),
        partial(normalized, scaled=lambda w, g, eps: g * (1 / (length(g) + eps)).clamp_max(1.0)),
        lambda w, g, lr, eps=1e-8: w - g * (lr / (length(g) + eps)).clamp_max(1.0),
    ),
    mistake(
        "each_entry_by_its_size",
        """Each entry is divided by its own absolute value. That is the step along the signs, and it turns the
        direction; one length for all entries keeps it.""",
        partial(normalized, scaled=lambda w, g, eps: g / (g.abs() + eps)),
        partial(normalized, scaled=lambda w, g, eps: g.sign()),
    ),
    mistake(
        "scaled_by_w",
        """The step is as long as w is, or in proportion to it: that is the trust ratio of LARS. Here it is lr
        long, wherever w is.""",
        partial(normalized, scaled=lambda w, g, eps: length(w) * g / (length(g) + eps)),
    ),
    mistake(
        "w_divided",
        """The length of w stands where the gradient's belongs, or w is divided by a length. It is the
        gradient that is normalized, by its own length.""",
        partial(normalized, scaled=lambda w, g, eps: g / (length(w) + eps)),
        partial(normalized, origin=lambda w: w / length(w)),
        lambda w, g, lr, eps=1e-8: (w - lr * g) / (length(w - lr * g) + eps),
    ),
    mistake(
        "uphill",
        "The step is added. The gradient points uphill, and w goes the other way.",
        partial(normalized, rate=lambda lr: -lr),
    ),
    mistake(
        "lr_ignored",
        """w does not change when lr changes: a fixed number, or none, stands where lr should be used. lr is
        the length of the step.""",
        *(partial(normalized, rate=lambda lr, value=value: value) for value in (1.0, 0.1, 0.01)),
    ),
    mistake(
        "only_the_step",
        "The step comes back without w. We want the point where w is after the step.",
        partial(normalized, origin=lambda w: torch.zeros_like(w)),
        partial(normalized, origin=lambda w: torch.zeros_like(w), rate=lambda lr: -lr),
    ),
)


# -- sign_momentum_step ------------------------------------------------------------------------------

Pair = tuple[Tensor, Tensor]


def sign_by_counting(w: Tensor, g: Tensor, velocity: Tensor, lr: float, beta: float) -> Pair:
    """The sign by comparing: how often the velocity is above 0 less how often below."""
    velocity = torch.add(g, velocity, alpha=beta)
    return w - lr * ((velocity > 0).to(w.dtype) - (velocity < 0).to(w.dtype)), velocity


def sign_step(
    w: Tensor,
    g: Tensor,
    velocity: Tensor,
    lr: float,
    beta: float,
    *,
    accumulate: Callable[[Tensor, Tensor, float], Tensor] = lambda velocity, g, beta: beta * velocity + g,
    direction: Callable[[Tensor, Tensor, Tensor, float], Tensor] = lambda g, old, new, beta: new.sign(),
    rate: Callable[[float], float] = lambda lr: lr,
    beta_used: Callable[[float], float] = lambda beta: beta,
    result: Callable[[Tensor, Tensor, Tensor, Tensor], Pair] = lambda w, new, old, way: (w, new),
) -> Pair:
    """The definition, with a knob for each choice."""
    beta = beta_used(beta)
    new = accumulate(velocity, g, beta)
    way = direction(g, velocity, new, beta)
    return result(w - rate(lr) * way, new, velocity, way)


SIGN_MISTAKES = (
    mistake(
        "sign_in_velocity",
        """The velocity collects signs of gradients. It collects the gradients themselves, large ones with
        more weight, and the sign is taken at the end, where w moves.""",
        partial(sign_step, accumulate=lambda v, g, beta: beta * v + g.sign()),
        partial(
            sign_step,
            accumulate=lambda v, g, beta: beta * v + g.sign(),
            direction=lambda g, old, new, beta: new,
        ),
        partial(sign_step, accumulate=lambda v, g, beta: beta * v + (1 - beta) * g.sign()),
    ),
    mistake(
        "sign_of_gradient_alone",
        """w moves along the sign of this gradient alone, and the velocity is kept for nothing. Its sign is
        the one that counts: what most of the recent gradients agree on.""",
        partial(sign_step, direction=lambda g, old, new, beta: g.sign()),
    ),
    mistake(
        "sign_stored",
        """What comes back as the velocity is its sign. The next step needs the velocity itself: how firmly an
        entry goes one way decides what it takes to turn it.""",
        partial(sign_step, result=lambda w, new, old, way: (w, way)),
        partial(sign_step, accumulate=lambda v, g, beta: (beta * v + g).sign()),
    ),
    mistake(
        "sign_missing",
        """w moves along the velocity itself: that is momentum without the sign. Here every entry moves by lr,
        whatever the size of its velocity.""",
        partial(sign_step, direction=lambda g, old, new, beta: new),
    ),
    mistake(
        "sign_of_zero",
        """An entry whose velocity is 0 moves. Its sign is 0, not 1 or −1: a weight that nothing has ever
        pulled at stays where it is.""",
        partial(sign_step, direction=lambda g, old, new, beta: torch.where(new > 0, 1.0, -1.0).to(new)),
        partial(sign_step, direction=lambda g, old, new, beta: torch.where(new >= 0, 1.0, -1.0).to(new)),
        partial(sign_step, direction=lambda g, old, new, beta: new / new.abs()),
    ),
    mistake(
        "sign_by_division",
        """The sign is made by a division by the absolute value plus a small number. That stays below 1 in
        size, the more so the smaller the velocity is; torch.sign gives −1, 0 or 1.""",
        *(
            partial(sign_step, direction=lambda g, old, new, beta, eps=eps: new / (new.abs() + eps))
            for eps in (1e-8, 1e-12, 1e-10, 1e-6)
        ),
    ),
    mistake(
        "normalized_by_length",
        """The velocity is divided by its length, one number for all entries. The sign is taken of each entry,
        so that small and large ones move equally far.""",
        partial(sign_step, direction=lambda g, old, new, beta: new / length(new)),
    ),
    mistake(
        "sign_with_size",
        """The signs are multiplied by a size, such as the mean of the absolute values. Here w moves by lr in
        every entry, and no size is left in the step.""",
        partial(sign_step, direction=lambda g, old, new, beta: new.sign() * new.abs().mean()),
        partial(sign_step, direction=lambda g, old, new, beta: new.sign() * g.abs().mean()),
        partial(sign_step, direction=lambda g, old, new, beta: new.sign() * length(g)),
        partial(sign_step, direction=lambda g, old, new, beta: new.sign() * g.abs()),
    ),
    mistake(
        "gradient_damped",
        """The gradient enters the velocity with the factor 1 − beta. From rest, while beta stays, the signs
        are the same; but the velocity here is PyTorch's, as on day 33: beta times the old one plus the whole
        gradient.""",
        partial(sign_step, accumulate=lambda v, g, beta: beta * v + (1 - beta) * g),
    ),
    mistake(
        "beta_on_gradient",
        """beta stands in the wrong place. It belongs to the old velocity, and the new gradient enters
        whole.""",
        partial(sign_step, accumulate=lambda v, g, beta: (1 - beta) * v + beta * g),
        partial(sign_step, accumulate=lambda v, g, beta: v + beta * g),
        partial(sign_step, accumulate=lambda v, g, beta: (1 - beta) * v + g),
        partial(sign_step, accumulate=lambda v, g, beta: beta * (v + g)),
    ),
    mistake(
        "never_fades",
        """The old velocity is added whole, so it never fades: beta is the part of it that is left after one
        step.""",
        partial(sign_step, accumulate=lambda v, g, beta: v + g),
    ),
    mistake(
        "beta_fixed",
        """The result does not change when beta changes: a fixed number stands in the code where the argument
        beta should be used.""",
        *(partial(sign_step, beta_used=lambda beta, value=value: value) for value in (0.9, 0.99, 0.5)),
    ),
    mistake(
        "velocity_ignored",
        """The velocity that was given plays no part: the new one is the gradient alone. It is beta times the
        old velocity plus the gradient.""",
        partial(sign_step, accumulate=lambda v, g, beta: g),
    ),
    mistake(
        "velocity_not_stored",
        """The velocity that comes back is the one that was given. w moves by the new one, and the caller
        needs that for the next step.""",
        partial(sign_step, result=lambda w, new, old, way: (w, old)),
    ),
    mistake(
        "old_velocity_moves_w",
        """w moves by the velocity from before this step, so the newest gradient comes one step late. Update
        the velocity first.""",
        partial(sign_step, direction=lambda g, old, new, beta: old.sign()),
    ),
    mistake(
        "nesterov",
        """This looks one step ahead: the sign of the gradient plus beta times the velocity. Here the sign is
        that of the velocity itself.""",
        partial(sign_step, direction=lambda g, old, new, beta: (g + beta * new).sign()),
    ),
    mistake(
        "lr_in_velocity",
        """lr stands inside the velocity. There it is lost in the sign, or does harm: the velocity is in units
        of the gradient, and lr multiplies the signs where w moves.""",
        lambda w, g, velocity, lr, beta: sign_step(w, lr * g, velocity, lr, beta),
        lambda w, g, velocity, lr, beta: sign_step(w, lr * g, velocity, 1.0, beta),
        lambda w, g, velocity, lr, beta: sign_step(w, -lr * g, velocity, -lr, beta),
        lambda w, g, velocity, lr, beta: sign_step(w, -lr * g, velocity, -1.0, beta),
    ),
    mistake(
        "lr_ignored",
        """w does not change when lr changes: a fixed number, or none, stands where lr should be used. lr is
        how far every entry moves.""",
        *(partial(sign_step, rate=lambda lr, value=value: value) for value in (1.0, 0.1, 0.01)),
    ),
    mistake(
        "uphill",
        "The step is added to w. Gradients point uphill, and so does this velocity: w goes the other way.",
        partial(sign_step, rate=lambda lr: -lr),
    ),
    mistake(
        "lion",
        """This is Lion, in which two weights are at work: one for what the sign is taken of, and a fixed one
        for what is kept. Here one velocity does both, beta times the old one plus the gradient.""",
        *(
            partial(
                sign_step,
                accumulate=lambda v, g, beta, kept=kept: kept * v + (1 - kept) * g,
                direction=lambda g, old, new, beta: (beta * old + (1 - beta) * g).sign(),
            )
            for kept in (0.99, 0.98, 0.999)
        ),
    ),
    mistake(
        "weight_decay_added",
        """A share of w is in the step besides: that is weight decay, with a number of your own. It is no part
        of this step, which gets no such argument.""",
        *(
            lambda w, g, velocity, lr, beta, decay=decay: sign_step(w - lr * decay * w, g, velocity, lr, beta)
            for decay in USUAL_DECAYS
        ),
    ),
    mistake(
        "gradient_subtracted",
        """The gradient is subtracted in the velocity. In this form it is added there, and the one minus sign
        stands where w moves.""",
        partial(sign_step, accumulate=lambda v, g, beta: beta * v - g),
        partial(sign_step, accumulate=lambda v, g, beta: beta * v - g, rate=lambda lr: -lr),
    ),
    mistake(
        "w_and_velocity_swapped",
        "w and the velocity are swapped: w comes first.",
        partial(sign_step, result=lambda w, new, old, way: (new, w)),
    ),
)


# -- adam_step ---------------------------------------------------------------------------------------

#: What Adam hands back: w, m and v.
Triple = tuple[Tensor, Tensor, Tensor]
BETAS = (0.9, 0.999)


def adam_of_library(
    w: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    step: int,
    lr: float,
    betas: tuple[float, float] = BETAS,
    eps: float = 1e-8,
) -> Triple:
    """One step by PyTorch's own functional Adam, which counts the step itself."""
    w, m, v = w.clone(), m.clone(), v.clone()
    settings = {"lr": lr, "beta1": betas[0], "beta2": betas[1], "eps": eps, "weight_decay": 0.0}
    counted = [torch.tensor(float(step - 1))]
    library_adam(
        [w], [g], [m], [v], [], counted, foreach=False, fused=False, amsgrad=False, maximize=False, **settings
    )
    return w, m, v


def adam(
    w: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    step: int,
    lr: float,
    betas: tuple[float, float] = BETAS,
    eps: float = 1e-8,
    *,
    betas_used: Callable[[tuple[float, float]], tuple[float, float]] = lambda betas: betas,
    average: Callable[[Tensor, Tensor, Any], Tensor] = lambda old, new, beta: beta * old + (1 - beta) * new,
    average_squares: Callable[[Tensor, Tensor, Any], Tensor] | None = None,
    square: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda g, old, new: g * g,
    divisors: Callable[[Any, Any, int], tuple[Any, Any]] = lambda b1, b2, t: (1 - b1**t, 1 - b2**t),
    divided: Callable[..., Tensor] = lambda m, v, eps, *more: m / (v.sqrt() + eps),
    eps_used: Callable[[float], float] = lambda eps: eps,
    rate: Callable[..., Any] = lambda lr, step: lr,
    first: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda old, new, g: new,
    result: Callable[..., Triple] = lambda w, m, v, m_hat, v_hat: (w, m, v),
) -> Triple:
    """The definition, with a knob for each choice.

    square: of the gradient, the old and the new m. divided: the direction from the corrected moments and eps,
    and from the moments themselves and the divisors. first: which moment moves w.
    """
    b1, b2 = (torch.full((), beta, dtype=w.dtype, device=w.device) for beta in betas_used(betas))
    new_m = average(m, g, b1)
    new_v = (average_squares or average)(v, square(g, m, new_m), b2)
    by_m, by_v = divisors(b1, b2, step)
    m_hat, v_hat = first(m, new_m, g) / by_m, new_v / by_v
    way = divided(m_hat, v_hat, eps_used(eps), new_m, new_v, by_m, by_v)
    return result(w - rate(lr, step) * way, new_m, new_v, m_hat, v_hat)


def adam_default_eps(value: float) -> Callable[..., Triple]:
    def with_default(
        w: Tensor,
        g: Tensor,
        m: Tensor,
        v: Tensor,
        step: int,
        lr: float,
        betas: Any = BETAS,
        eps: float = value,
    ) -> Triple:
        return adam(w, g, m, v, step, lr, betas, eps)

    return with_default


def adam_default_betas(*values: float) -> Callable[..., Triple]:
    def with_default(
        w: Tensor,
        g: Tensor,
        m: Tensor,
        v: Tensor,
        step: int,
        lr: float,
        betas: Any = values,
        eps: float = 1e-8,
    ) -> Triple:
        return adam(w, g, m, v, step, lr, betas, eps)

    return with_default


def by_old_averages(
    w: Tensor, g: Tensor, m: Tensor, v: Tensor, step: int, lr: float, betas: Any = BETAS, eps: float = 1e-8
) -> Triple:
    """w moves by the two averages that were given."""
    by_m, by_v = (1 - beta**step for beta in betas)
    return w - lr * (m / by_m) / ((v / by_v).sqrt() + eps), *adam(w, g, m, v, step, lr, betas, eps)[1:]


def nesterov_adam(
    w: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    step: int,
    lr: float,
    betas: Any = BETAS,
    eps: float = 1e-8,
    *,
    later: int,
) -> Triple:
    """NAdam. later: by how many steps m is corrected later than the gradient, 1 in the paper."""
    beta = betas[0]
    share = beta * (1 - beta**step) / (1 - beta ** (step + later))
    given = w, g, m, v, step, lr, betas, eps
    return adam(*given, first=lambda old, new, g: share * new + (1 - beta) * g)


def decayed_adam(
    w: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    step: int,
    lr: float,
    *,
    decay: float,
    decoupled: bool,
    **options: Any,
) -> Triple:
    if decoupled:
        return adam(w - lr * decay * w, g, m, v, step, lr, **options)
    return adam(w, g + decay * w, m, v, step, lr, **options)


ADAM_MISTAKES = (
    mistake(
        "correction_missing",
        """The bias is not corrected. Both averages start at 0 and are too small at first, v most of all, and
        the first steps come out several times too long. Each is divided by 1 − its beta to the power of
        step.""",
        partial(adam, divisors=lambda b1, b2, t: (1.0, 1.0)),
    ),
    mistake(
        "one_corrected",
        """Only one of the two averages is corrected. Both start at 0, so both are too small at first, and
        each has a divisor of its own.""",
        partial(adam, divisors=lambda b1, b2, t: (1 - b1**t, 1.0)),
        partial(adam, divisors=lambda b1, b2, t: (1.0, 1 - b2**t)),
    ),
    mistake(
        "one_divisor_for_both",
        """Both averages are corrected by the same number. Each has forgotten its start at its own pace: m is
        divided by 1 − beta1^step, v by 1 − beta2^step.""",
        partial(adam, divisors=lambda b1, b2, t: (1 - b1**t, 1 - b1**t)),
        partial(adam, divisors=lambda b1, b2, t: (1 - b2**t, 1 - b2**t)),
        partial(adam, divisors=lambda b1, b2, t: (1 - b2**t, 1 - b1**t)),
    ),
    mistake(
        "step_counted_from_0",
        """The exponent of the correction is off by one. step is the number of this step, from 1: after the
        first gradient the divisors are 1 − beta, and the corrected averages are that gradient and its
        square.""",
        partial(adam, divisors=lambda b1, b2, t: (1 - b1 ** (t - 1), 1 - b2 ** (t - 1))),
        partial(adam, divisors=lambda b1, b2, t: (1 - b1 ** (t + 1), 1 - b2 ** (t + 1))),
    ),
    mistake(
        "correction_constant",
        """The correction does not change from step to step. The bias is large at first and fades: the
        divisors grow with step, from 1 − beta up to nearly 1.""",
        partial(adam, divisors=lambda b1, b2, t: (1 - b1, 1 - b2)),
        *(
            partial(adam, divisors=lambda b1, b2, t, power=power: (1 - b1**power, 1 - b2**power))
            for power in (2, 3, 4)
        ),
    ),
    mistake(
        "correction_multiplied",
        """An average is multiplied by its correction. Both averages are too small at first, so each is
        divided by its own.""",
        partial(adam, divisors=lambda b1, b2, t: (1 / (1 - b1**t), 1 / (1 - b2**t))),
        partial(adam, divisors=lambda b1, b2, t: (1 / (1 - b1**t), 1.0)),
    ),
    mistake(
        "corrected_stored",
        """What comes back as m and v is corrected. The averages go on uncorrected, or the corrections pile
        up; what is divided serves this step alone.""",
        partial(adam, result=lambda w, m, v, m_hat, v_hat: (w, m_hat, v_hat)),
        partial(adam, result=lambda w, m, v, m_hat, v_hat: (w, m_hat, v)),
        partial(adam, result=lambda w, m, v, m_hat, v_hat: (w, m, v_hat)),
    ),
    mistake(
        "eps_inside_root",
        """eps stands inside the root, as in batch normalization. In Adam it is added to the root: under it,
        1e-8 would act like a gradient of 1e-4.""",
        partial(adam, divided=lambda m, v, eps, *more: m / (v + eps).sqrt()),
        partial(
            adam,
            divided=lambda m, v, eps, m0, v0, by_m, by_v: (
                m * torch.as_tensor(by_v).sqrt() / (v0 + eps).sqrt()
            ),
        ),
    ),
    mistake(
        "eps_before_correction",
        """eps is added to the root of v before v is corrected. PyTorch corrects first and adds eps then; in
        the first steps your eps counts many times as much.""",
        partial(
            adam,
            divided=lambda m, v, eps, m0, v0, by_m, by_v: (
                m0 / by_m * torch.as_tensor(by_v).sqrt() / (v0.sqrt() + eps)
            ),
        ),
    ),
    mistake(
        "root_before_correction",
        """The root of v is divided by 1 − beta2^step, or lr multiplied by it, where v itself should be
        divided. v is corrected first and the root taken then: the divisor belongs under the root too.""",
        partial(
            adam,
            divided=lambda m, v, eps, m0, v0, by_m, by_v: m / (v0.sqrt() / by_v + eps),
        ),
        partial(
            adam,
            divided=lambda m, v, eps, m0, v0, by_m, by_v: m * by_v / (v0.sqrt() + eps),
        ),
    ),
    mistake(
        "brackets_missing",
        """eps is added to the quotient: brackets are missing around the root and eps. It belongs to what the
        corrected m is divided by.""",
        partial(adam, divided=lambda m, v, eps, *more: m / v.sqrt() + eps),
        lambda w, g, m, v, step, lr, betas=BETAS, eps=1e-8: adam(
            w + eps, g, m, v, step, lr, betas, eps, divided=lambda m, v, eps, *more: m / v.sqrt()
        ),
    ),
    mistake(
        "correction_formula",
        """The divisors of the correction are other numbers than 1 − beta^step, such as (1 − beta)^step or 1 −
        beta · step. Only beta is raised to the power step, and that is subtracted from 1.""",
        partial(adam, divisors=lambda b1, b2, t: ((1 - b1) ** t, (1 - b2) ** t)),
        partial(adam, divisors=lambda b1, b2, t: (1 - b1 * t, 1 - b2 * t)),
    ),
    mistake(
        "eps_missing",
        """eps is not used. Where a weight has had no gradient yet, both averages are 0 and the step is
        0/0.""",
        partial(adam, divided=lambda m, v, eps, *more: m / v.sqrt()),
    ),
    mistake(
        "eps_default",
        "Right when eps is passed, but wrong when it is left out: its default is 1e-8.",
        *map(adam_default_eps, (1e-7, 1e-6, 1e-5, 1e-10)),
    ),
    mistake(
        "eps_fixed",
        """The result does not change when eps changes: a fixed number stands where the argument eps should be
        used.""",
        partial(adam, eps_used=lambda eps: 1e-8),
    ),
    mistake(
        "root_missing",
        """The corrected m is divided by v itself, where its root belongs. v is in units of the gradient
        squared; only over the root do units cancel, and the step is about lr long.""",
        partial(adam, divided=lambda m, v, eps, *more: m / (v + eps)),
    ),
    mistake(
        "not_divided",
        """The step is lr times the corrected m: that is momentum. Adam divides it by the root of v, so that
        every weight has a pace of its own.""",
        partial(adam, divided=lambda m, v, eps, *more: m),
    ),
    mistake(
        "gradient_moves_w",
        """The gradient itself is divided by the root of v, and m is kept for nothing: that is RMSProp. In
        Adam the corrected m moves w.""",
        partial(
            adam,
            first=lambda old, new, g: g,
            divisors=lambda b1, b2, t: (1.0, 1 - b2**t),
        ),
        partial(adam, first=lambda old, new, g: g),
        partial(adam, first=lambda old, new, g: g, divisors=lambda b1, b2, t: (1.0, 1.0)),
    ),
    mistake(
        "old_average_moves_w",
        """w moves by the m from before this step, so the newest gradient comes one step late, and the first
        step goes nowhere. Update the averages first.""",
        partial(adam, first=lambda old, new, g: old),
        by_old_averages,
    ),
    mistake(
        "nesterov",
        """w moves by one more share of the new gradient, as if it were one step ahead: that is NAdam. In Adam
        the corrected m moves w, and the gradient is in it once.""",
        partial(nesterov_adam, later=0),
        partial(nesterov_adam, later=1),
    ),
    mistake(
        "weight_decay_added",
        """A share of w is in the step besides, or in the gradient: that is weight decay, with a number of
        your own. It is no part of this step, which gets no such argument.""",
        *(
            partial(decayed_adam, decay=decay, decoupled=decoupled)
            for decay in USUAL_DECAYS
            for decoupled in (True, False)
        ),
    ),
    mistake(
        "gradients_not_averaged",
        """The gradient enters whole, as into PyTorch's velocity. m and v are averages: beta times the old one
        plus 1 − beta times the new value, or the corrections would not fit.""",
        partial(adam, average=lambda old, new, beta: beta * old + new),
        partial(
            adam,
            average=lambda old, new, beta: beta * old + new,
            average_squares=lambda old, new, beta: beta * old + (1 - beta) * new,
        ),
        partial(adam, average_squares=lambda old, new, beta: beta * old + new),
        partial(adam, average_squares=lambda old, new, beta: old + new),
    ),
    mistake(
        "weights_swapped",
        "The weights of an average are swapped: beta belongs to the old one, 1 − beta to the new value.",
        partial(adam, average=lambda old, new, beta: (1 - beta) * old + beta * new),
        partial(
            adam,
            average=lambda old, new, beta: (1 - beta) * old + beta * new,
            average_squares=lambda old, new, beta: beta * old + (1 - beta) * new,
        ),
        partial(adam, average_squares=lambda old, new, beta: (1 - beta) * old + beta * new),
    ),
    mistake(
        "betas_swapped",
        """The two betas are swapped. The first is for m, the average of gradients; the second, nearer to 1,
        is for v, the average of squares.""",
        partial(adam, betas_used=lambda betas: tuple(reversed(betas))),
    ),
    mistake(
        "one_beta_for_both",
        "Both averages fade with the same beta. betas holds two: the first is for m, the second for v.",
        partial(adam, betas_used=lambda betas: (betas[0], betas[0])),
        partial(adam, betas_used=lambda betas: (betas[1], betas[1])),
    ),
    mistake(
        "betas_fixed",
        """The result does not change when betas change: fixed numbers stand in the code where the argument
        betas should be used.""",
        partial(adam, betas_used=lambda betas: BETAS),
    ),
    mistake(
        "betas_default",
        "Right when betas are passed, but wrong when they are left out: the defaults are 0.9 and 0.999.",
        *(adam_default_betas(*betas) for betas in ((0.9, 0.99), (0.9, 0.95), (0.5, 0.999))),
    ),
    mistake(
        "not_squared",
        """v averages the gradients, or their absolute values. It is the average of their squares, of which
        the root is taken in the end.""",
        partial(adam, square=lambda g, old, new: g.abs()),
        partial(adam, square=lambda g, old, new: g),
    ),
    mistake(
        "square_of_the_average",
        """v averages the squares of m. It is the gradients that are squared, each of them: where they
        disagree, m is near 0 and v is not, and that is why Adam slows down there.""",
        partial(adam, square=lambda g, old, new: new * new),
        lambda w, g, m, v, step, lr, betas=BETAS, eps=1e-8: adam(
            w,
            g,
            m,
            v,
            step,
            lr,
            betas,
            eps,
            average_squares=lambda old, new, beta: adam(w, g, m, v, step, lr, betas, eps)[1].square(),
        ),
    ),
    mistake(
        "variance_for_square",
        """v averages how far gradients are from their mean: that is AdaBelief. In Adam nothing is subtracted
        before the square.""",
        partial(adam, square=lambda g, old, new: (g - new).square()),
        partial(adam, square=lambda g, old, new: (g - old).square()),
    ),
    mistake(
        "squares_over_all_entries",
        """One v for all entries: the squares are summed or averaged over the whole gradient. v has the shape
        of w, and every weight its own pace.""",
        partial(adam, square=lambda g, old, new: (g * g).mean().expand_as(g)),
        partial(adam, square=lambda g, old, new: (g * g).sum().expand_as(g)),
    ),
    mistake(
        "larger_v_kept",
        """v never falls: the larger of the old and the new one is kept, as AMSGrad does beside its v. Here v
        is the plain average of squares.""",
        partial(
            adam,
            average_squares=lambda old, new, beta: torch.maximum(old, beta * old + (1 - beta) * new),
        ),
    ),
    mistake(
        "lr_decays",
        """lr shrinks with step. The corrections are all that depends on step; a schedule of lr is the
        caller's business.""",
        partial(adam, rate=lambda lr, step: lr / step**0.5),
        partial(adam, rate=lambda lr, step: lr / step),
    ),
    mistake(
        "lr_ignored",
        """w does not change when lr changes: a fixed number, or none, stands where the argument lr should be
        used.""",
        *(partial(adam, rate=lambda lr, step, value=value: value) for value in (1.0, 0.1, 0.01, 0.001)),
    ),
    mistake(
        "uphill",
        "The step is added to w. Gradients point uphill, and so does m: w goes the other way.",
        partial(adam, rate=lambda lr, step: -lr),
    ),
    mistake(
        "moments_not_stored",
        """The averages that come back are those that were given. The caller needs the new ones, uncorrected,
        for the next step.""",
        lambda w, g, m, v, *more, **named: (adam(w, g, m, v, *more, **named)[0], m, v),
    ),
    mistake(
        "order_of_results",
        "The three results are in another order: w comes first, then m, then v.",
        partial(adam, result=lambda w, m, v, m_hat, v_hat: (w, v, m)),
        partial(adam, result=lambda w, m, v, m_hat, v_hat: (m, v, w)),
    ),
)


@cache
def adam_pairs() -> tuple[Mistake, ...]:
    """No correction and eps under the root, as where only the paper's last line is written down."""
    named = {one.key: one for one in ADAM_MISTAKES}
    return (
        both(
            named["correction_missing"],
            named["eps_inside_root"],
            partial(
                adam,
                divisors=lambda b1, b2, t: (1.0, 1.0),
                divided=lambda m, v, eps, *more: m / (v + eps).sqrt(),
            ),
        ),
    )


def bases_of(
    mistakes: tuple[Mistake, ...], names: tuple[str, ...], follow: str, *keys: str
) -> tuple[Basis, ...]:
    """What w moves by is kept beside it, so that a mistake in that costs once."""
    of = tuple(one for one in mistakes if one.key in keys)
    whose = " and ".join(dict.fromkeys(name.split()[0] for name in names))
    return (Basis(names, (follow,), whose, of, "steps of w"),)


# -- orthogonalized_step -----------------------------------------------------------------------------

MUON = (3.4445, -4.7750, 2.0315)
#: An iteration of the fifth degree that stays at 1.
FIFTH_DEGREE = (15 / 8, -10 / 8, 3 / 8)
#: What is added to the length so that it is not 0: as good as nothing, and as Muon has it.
ADDED = (1e-30, 1e-7)


def polar_by_svd(w: Tensor, g: Tensor, lr: float) -> Tensor:
    """The factor U Vᵀ of the singular value decomposition; where all singular values are 0, no step."""
    u, s, vh = torch.linalg.svd(g, full_matrices=False)
    return w - lr * (u * (s > 0)) @ vh


def newton_schulz(
    g: Tensor, count: int = 30, factors: tuple[float, ...] = (1.5, -0.5), added: float = 1e-30
) -> Tensor:
    """The iteration X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X from g at length 1, on the short side.

    added: to the length. It makes no difference at the end, but before that every digit depends on it.
    """
    x = g / (length(g) + added)
    wide = x if len(x) <= x.shape[1] else x.T
    for _ in range(count):
        gram, power, new = wide @ wide.T, wide, factors[0] * wide
        for factor in factors[1:]:
            power = gram @ power
            new = new + factor * power
        wide = new
    return wide if len(x) <= x.shape[1] else wide.T


def orthogonalized(
    w: Tensor,
    g: Tensor,
    lr: float,
    *,
    factor: Callable[[Tensor], Tensor] = newton_schulz,
    size: Callable[[Tensor], Any] = lambda g: 1.0,
    rate: Callable[[float], float] = lambda lr: lr,
) -> Tensor:
    """The definition. factor: the orthogonal factor of g. size: by what it is multiplied besides lr."""
    return w - rate(lr) * size(g) * factor(g)


def unscaled(g: Tensor) -> Tensor:
    x = g
    for _ in range(30):
        x = 1.5 * x - 0.5 * x @ x.T @ x
    return x


def svd_without_guard(g: Tensor) -> Tensor:
    u, _, vh = torch.linalg.svd(g, full_matrices=False)
    return u @ vh


def triangular(g: Tensor) -> Tensor:
    """Gram-Schmidt's factor instead of the polar one, signs so that the diagonal of the rest is positive."""
    q, r = torch.linalg.qr(g if len(g) >= g.shape[1] else g.T)
    q = q * r.diagonal().sign()
    return q if len(g) >= g.shape[1] else q.T


def unsigned_triangular(g: Tensor) -> Tensor:
    q, r = torch.linalg.qr(g if len(g) >= g.shape[1] else g.T)
    q = q * (r.diagonal() != 0)
    return q if len(g) >= g.shape[1] else q.T


def muon_in_bfloat16(g: Tensor, steps: int = 5, *, first: bool = True) -> Tensor:
    """Muon's iteration in the order in which it is usually written, since every digit depends on it.

    first: the coefficient multiplies a factor of (X Xᵀ)², and not the product.
    """
    a, b, c = MUON
    x = g.bfloat16()
    x = x.T if len(x) > x.shape[1] else x
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + (c * gram @ gram if first else c * (gram @ gram))) @ x
    return (x.T if len(g) > g.shape[1] else x).to(g.dtype)


#: One iteration of the third degree, as it can be written; in half precision every digit depends on it.
WRITTEN: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: 1.5 * x - 0.5 * (x @ x.T @ x),
    lambda x: 1.5 * x - 0.5 * x @ x.T @ x,
    lambda x: 1.5 * x - 0.5 * (x @ x.T) @ x,
    lambda x: 0.5 * (3 * x - x @ x.T @ x),
)


def in_bfloat16(g: Tensor, once: Callable[[Tensor], Tensor], count: int) -> Tensor:
    x = g.bfloat16()
    x = x.T if len(x) > x.shape[1] else x
    x = x / (x.norm() + 1e-7)
    for _ in range(count):
        x = once(x)
    return (x.T if len(g) > g.shape[1] else x).to(g.dtype)


def in_float32(g: Tensor) -> Tensor:
    return newton_schulz(g.float()).to(g.dtype)


#: Factors that make one learning rate fit layers of every shape.
SIZES_BY_SHAPE: tuple[Callable[[Tensor], float], ...] = (
    lambda g: max(1.0, g.shape[0] / g.shape[1]) ** 0.5,
    lambda g: (g.shape[0] / g.shape[1]) ** 0.5,
    lambda g: 0.2 * max(g.shape) ** 0.5,
    lambda g: min(g.shape) ** -0.5,
)

ORTHOGONAL_MISTAKES = (
    mistake(
        "too_few_iterations",
        """The iteration stops too early. Large singular values have come to 1 by then, small ones have not:
        far below 1 each step makes them 1.5 times as large. Go on until nothing changes any more.""",
        *(
            partial(orthogonalized, factor=partial(newton_schulz, count=count, added=added))
            for count in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
            for added in ADDED
        ),
        *(
            partial(
                orthogonalized,
                factor=partial(newton_schulz, count=count, factors=FIFTH_DEGREE, added=added),
            )
            for count in (3, 4, 5, 6)
            for added in ADDED
        ),
    ),
    mistake(
        "muon_coefficients",
        """These are Muon's coefficients. They come near 1 in five steps and then go to and fro between 0.7
        and 1.2, however long you go on. For 1 to stay at 1 the coefficients have to add up to 1.""",
        *(
            partial(orthogonalized, factor=partial(newton_schulz, count=count, factors=MUON, added=added))
            for count in (5, 6, 10, 30)
            for added in ADDED
        ),
        partial(orthogonalized, factor=muon_in_bfloat16),
        partial(orthogonalized, factor=partial(muon_in_bfloat16, first=False)),
    ),
    mistake(
        "not_scaled_first",
        """The iteration starts from the gradient as it is. It converges only where no singular value is above
        √3, and crawls where they are tiny: divide by the length first, which changes no singular vector.""",
        partial(orthogonalized, factor=unscaled),
    ),
    mistake(
        "normalized_only",
        """The gradient is divided by one number, its length or its largest singular value, and no more. Its
        singular values keep their ratios; orthogonalized they are all 1.""",
        *(
            partial(orthogonalized, factor=lambda g, added=added: g / (length(g) + added))
            for added in (1e-30, 1e-12, 1e-8, 1e-7)
        ),
        partial(orthogonalized, factor=lambda g: g / (torch.linalg.matrix_norm(g, 2) + 1e-30)),
    ),
    mistake(
        "rows_normalized",
        """Every row, or column, has length 1 now, and they are not at right angles to each other yet. What
        makes them so, and changes the gradient least, is U Vᵀ.""",
        *(
            partial(
                orthogonalized,
                factor=lambda g, axis=axis, added=added: (
                    g / (g.square().sum(axis, keepdim=True).sqrt() + added)
                ),
            )
            for axis in (1, 0)
            for added in (1e-30, 1e-12, 1e-8, 1e-7)
        ),
    ),
    mistake(
        "signs",
        """This is a step along the signs of the entries. Orthogonalizing does the same to singular
        values: they become 1, and what the entries become follows.""",
        partial(orthogonalized, factor=torch.sign),
    ),
    mistake(
        "triangular_factor",
        """This is the orthogonal factor of QR, by Gram and Schmidt. It depends on the order of the columns:
        the first keeps its direction and the others give way. U Vᵀ treats all of them alike, and is nearest
        to the gradient.""",
        partial(orthogonalized, factor=triangular),
        partial(orthogonalized, factor=unsigned_triangular),
    ),
    mistake(
        "singular_values_kept",
        """The singular values are in the step still: that is the gradient again. They are left out between U
        and Vᵀ.""",
        partial(orthogonalized, factor=lambda g: g),
    ),
    mistake(
        "root_missing",
        """The singular values are turned upside down: they are divided by their squares, where 1 is wanted.
        Between g and U Vᵀ stands the inverse root of gᵀg, and not its inverse.""",
        partial(orthogonalized, factor=lambda g: torch.linalg.pinv(g).T),
    ),
    mistake(
        "length_kept",
        """The directions are right, but the length is not: the step is multiplied by a norm of the gradient.
        All its singular values should be lr.""",
        partial(orthogonalized, size=length),
        partial(orthogonalized, size=lambda g: torch.linalg.matrix_norm(g, "nuc")),
        partial(orthogonalized, size=lambda g: torch.linalg.matrix_norm(g, 2)),
    ),
    mistake(
        "scaled_for_shape",
        """The step is multiplied by a number that depends on the shape, as libraries do to make one lr fit
        all layers. Here it is not: all singular values of the step are lr.""",
        *(partial(orthogonalized, size=size) for size in SIZES_BY_SHAPE),
    ),
    mistake(
        "zero_gradient_moves",
        """A gradient of 0 moves w. It has no direction, and the singular vectors that a library hands back
        for it are as good as any. No slope, no step.""",
        partial(orthogonalized, factor=svd_without_guard),
    ),
    mistake(
        "zero_gradient_nan",
        """A gradient of 0 makes NaN: its length is 0, and it is divided by it. No slope, no step.""",
        partial(orthogonalized, factor=lambda g: newton_schulz(g) * length(g) / length(g)),
    ),
    mistake(
        "computed_in_half_precision",
        """Right to two or three digits: the iteration runs in half precision, as Muon does for speed. Here it
        stays in the dtype of the gradient.""",
        *(
            partial(orthogonalized, factor=partial(in_bfloat16, once=once, count=count))
            for once in WRITTEN
            for count in (10, 15, 20, 30)
        ),
    ),
    mistake(
        "computed_in_float32",
        """Right to seven digits of float64's sixteen. That is what is left where numbers pass through
        float32. Compute in the dtype of the gradient.""",
        partial(orthogonalized, factor=in_float32),
        rounding=True,
    ),
    mistake(
        "uphill",
        """The step is added. The gradient points uphill, and so does its orthogonal factor: w goes the other
        way.""",
        partial(orthogonalized, rate=lambda lr: -lr),
    ),
    mistake(
        "lr_ignored",
        "w does not change when lr changes: a fixed number, or none, stands where lr should be used.",
        *(partial(orthogonalized, rate=lambda lr, value=value: value) for value in (1.0, 0.1, 0.01)),
    ),
)


@cache
def orthogonal_pairs() -> tuple[Mistake, ...]:
    """Muon as it is published: its coefficients, and a factor for the shape."""
    named = {one.key: one for one in ORTHOGONAL_MISTAKES}
    factors = (
        *(partial(newton_schulz, count=5, factors=MUON, added=added) for added in ADDED),
        muon_in_bfloat16,
        partial(muon_in_bfloat16, first=False),
    )
    return (
        both(
            named["muon_coefficients"],
            named["scaled_for_shape"],
            *(
                partial(orthogonalized, factor=factor, size=size)
                for factor in factors
                for size in SIZES_BY_SHAPE[:3]
            ),
        ),
    )


# -- inputs that show a mistake, or hide it ------------------------------------------------------------


def first_length(one_step: Callable[..., tuple], g: Tensor, lr: float, beta1: float, beta2: float) -> Tensor:
    """How far the first step of Adam goes, for a gradient g."""
    zero = torch.zeros_like(g)
    return one_step(zero, g, zero, zero, 1, lr, (beta1, beta2))[0].abs()


uncorrected_length = partial(first_length, variant(ADAM_MISTAKES, "correction_missing"))
sign_of_gradient = variant(SIGN_MISTAKES, "sign_of_gradient_alone")


def why_correction_shows(beta2: Tensor, beta1: float) -> str:
    if not 0 < beta2 < 1:
        return "no_share"
    given = torch.ones((), dtype=torch.float64), 0.1, beta1, float(beta2)
    right, wrong = first_length(adam, *given), uncorrected_length(*given)
    if apart(right, wrong) <= 10 * ALIKE:
        return ""
    return "first_step_too_long" if wrong > right else "first_step_too_short"


CORRECTION_REASONS = (
    mistake(
        "first_step_too_long",
        """It shows: the first step is too long. Without the correction m is too small by 1 − beta1, and v by
        1 − beta2. m is divided by the root of v, and with this beta2 that root is too small by more.""",
        lambda beta1: 0.999,
        lambda beta1: torch.tensor(0.9999),
    ),
    mistake(
        "first_step_too_short",
        """It shows: the first step is too short. Without the correction m is too small by 1 − beta1, and the
        root of v by the root of 1 − beta2. With this beta2 that is not enough to make up for it.""",
        lambda beta1: beta1,
        lambda beta1: beta1**2,
        lambda beta1: 0.1,
    ),
    mistake(
        "no_share",
        "A beta lies between 0 and 1, both left out: it is the share of the old value that stays.",
        lambda beta1: 0.0,
        lambda beta1: 1.0,
        lambda beta1: -0.5,
    ),
)


def as_one_minus_a_square(beta1: float) -> float:
    return 1 - (1 - beta1) ** 2


def as_a_product(beta1: float) -> Tensor:
    return torch.tensor(beta1 * (2 - beta1))


def why_gradient_decides(gradients: Tensor, steps: int, beta: float) -> str:
    if gradients[-1].abs() < gradients.abs().max() * (1 - 1e-6):
        return "last_not_the_largest"
    if gradients[-1] == 0:
        return "all_zero"
    w = velocity = torch.zeros_like(gradients[0])
    for g in gradients:
        w, velocity = sign_step(w, g, velocity, 1.0, beta)
    return "" if velocity * gradients[-1] < 0 else "velocity_agrees"


TURN_REASONS = (
    mistake(
        "velocity_agrees",
        """Your input does not show it: at the end the velocity has the sign of the last gradient (or is 0),
        so that both rules take the same step. The gradients before it have to have built up more than it can
        turn.""",
        lambda steps, beta: torch.ones(steps),
        lambda steps, beta: torch.arange(1, steps + 1) / steps * (-1) ** torch.arange(steps),
        lambda steps, beta: (torch.arange(steps) == steps - 1).double(),
    ),
    mistake(
        "last_not_the_largest",
        """The last gradient is smaller in size than one before it. It is no surprise that a small one doesn't
        turn the velocity, so here none may be larger than the last.""",
        lambda steps, beta: torch.linspace(1, -0.5, steps),
        lambda steps, beta: torch.eye(steps)[0],
    ),
    mistake(
        "all_zero",
        """All gradients are 0, so that nothing moves by any rule. A sign needs something to point at.""",
        lambda steps, beta: torch.zeros(steps),
    ),
)


def turns_at_the_end(steps: int, beta: float) -> Tensor:
    gradients = torch.ones(steps)
    gradients[-1] = -1
    return gradients


def last_a_little_larger(steps: int, beta: float) -> Tensor:
    gradients = -torch.ones(steps, dtype=torch.float64)
    gradients[-1] = 1.05
    return gradients


ANSWERS = {
    "convergence_rate": Answer(rate_by_matrices, rate, RATE_MISTAKES),
    "steps_to_tolerance": Answer(steps_by_powers, steps, STEPS_MISTAKES),
    "whiten": Answer(whiten_by_svd, whiten, WHITEN_MISTAKES, pairs=whiten_pairs),
    "train": Answer(train_by_grad, train, TRAIN_MISTAKES),
    "compare": Answer(compare_by_quantile, compare, COMPARE_MISTAKES),
    "normalized_step": Answer(norm_with_library, normalized, NORMALIZED_MISTAKES),
    "sign_momentum_step": Answer(
        sign_by_counting,
        sign_step,
        SIGN_MISTAKES,
        bases=bases_of(
            SIGN_MISTAKES,
            tuple(f"velocity after step {count}" for count in (1, 2, 3)),
            "w after step *",
            *("sign_in_velocity", "sign_stored", "gradient_damped", "beta_on_gradient", "never_fades"),
            *("beta_fixed", "velocity_not_stored"),
        ),
    ),
    "adam_step": Answer(
        adam_of_library,
        adam,
        ADAM_MISTAKES,
        pairs=adam_pairs,
        bases=bases_of(
            ADAM_MISTAKES,
            tuple(f"{name} in call {count}" for count in (1, 2, 3) for name in "mv"),
            "w in call *",
            *("corrected_stored", "gradients_not_averaged", "weights_swapped", "betas_swapped"),
            *(
                "one_beta_for_both",
                "betas_fixed",
                "betas_default",
                "variance_for_square",
                "moments_not_stored",
            ),
        ),
    ),
    "orthogonalized_step": Answer(polar_by_svd, orthogonalized, ORTHOGONAL_MISTAKES, pairs=orthogonal_pairs),
    "hide_missing_correction": hiding(
        Asked("beta2", "", 1.0),
        uncorrected_length,
        why_correction_shows,
        CORRECTION_REASONS,
        (as_one_minus_a_square, as_a_product),
    ),
    "expose_sign_of_gradient": exposing(
        Asked("gradients", "steps"),
        sign_of_gradient,
        why_gradient_decides,
        TURN_REASONS,
        (turns_at_the_end, last_a_little_larger),
    ),
}
