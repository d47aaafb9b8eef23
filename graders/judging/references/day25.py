"""Day 25: the right answers, and what people get wrong, with the knobs that make it.

Sources of the mistakes: reports and fixes in public repositories and forums, and public course solutions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graders.judging.answer import Answer, Mistake, both, mistake
from graders.judging.references.exposing import Asked, apart, exposing, variant
from graders.judging.references.normalizing import (
    calling_mistakes,
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
from graders.judging.references.reading import reading_mistakes
from graders.judging.tolerance import GUARD

EPS = 1e-5


# -- standardizing -----------------------------------------------------------------------------------


def library_standardize(x: Tensor, eps: float = EPS) -> Tensor:
    """`F.batch_norm` without scale and shift; it refuses N = 1, where x - mean is 0."""
    if len(x) == 1:
        return torch.zeros_like(x)
    return F.batch_norm(x, None, None, training=True, eps=eps)


def with_knobs(default_eps: float = EPS, **knobs: Any) -> Callable:
    """A `standardize` with these knobs of `normalize` turned."""

    def standardize(x: Tensor, eps: float = default_eps) -> Tensor:
        return normalize(x, 0, eps, **knobs)[0]

    return standardize


def by_range(x: Tensor, eps: float = EPS, *, start: Callable[[Tensor], Tensor], spare: float) -> Tensor:
    """Every feature divided by the distance from its smallest to its largest value."""
    return (x - start(x)) / (x.amax(0) - x.amin(0) + spare * eps)


STANDARDIZE_MISTAKES = (
    *statistics_mistakes(with_knobs, "N", "one row alone"),
    *feature_mistakes(with_knobs),
    lone_mistake(with_knobs, "A single sample"),
    refused_mistake(with_knobs, "A single sample"),
    mistake(
        "median_for_mean",
        """The median is subtracted, as in robust scaling. It may lie far from the mean, and then the features
        don't have mean 0.""",
        with_knobs(mean=lambda x, axes: x.median(0).values),
        with_knobs(mean=lambda x, axes: x.quantile(0.5, dim=0)),
    ),
    mistake(
        "not_scaled",
        """The mean is subtracted and nothing is divided, so every feature still has its old
        standard deviation. The second half of standardizing brings it to 1.""",
        lambda x, eps=EPS: x - x.mean(0),
    ),
    mistake(
        "range_for_deviation",
        """The values are divided by the range, largest minus smallest. Then all of them lie within one
        unit, but their variance is not 1, and a single outlier decides about the others. Divide by the
        standard deviation.""",
        *(
            partial(by_range, start=start, spare=spare)
            for start in (lambda x: x.amin(0), lambda x: x.mean(0))
            for spare in (0.0, 1.0)
        ),
        *(
            lambda x, eps=EPS, spare=spare: 2 * by_range(x, eps, start=lambda x: x.amin(0), spare=spare) - 1
            for spare in (0.0, 1.0)
        ),
    ),
    mistake(
        "brackets_missing",
        """Only the mean is divided, not the distance from it: x − mean / std. A division comes before a
        subtraction unless brackets say otherwise, so every feature keeps its old spread.""",
        lambda x, eps=EPS: x - x.mean(0) / (x.var(0, correction=0) + eps).sqrt(),
        lambda x, eps=EPS: x - x.mean(0) / (x.var(0) + eps).sqrt(),
        lambda x, eps=EPS: x - x.mean(0) / (x.std(0) + eps),
    ),
    mistake(
        "norm_for_deviation",
        """The values are divided by the length of the centred column, the root of a sum of squares. The
        variance is the mean of the squares: yours is 1/N instead of 1.""",
        with_knobs(variance=lambda x, axes: (x - x.mean(0)).square().sum(0)),
        with_knobs(
            variance=lambda x, axes: (x - x.mean(0)).square().sum(0),
            deviation=lambda var, eps: var.sqrt() + eps,
        ),
        lambda x, eps=EPS: F.normalize(x - x.mean(0), dim=0),
    ),
    mistake(
        "mean_distance_for_deviation",
        """The values are divided by their mean distance from the mean. The standard deviation is the root
        of the mean squared distance, which gives large distances more weight.""",
        with_knobs(
            deviation=lambda var, eps: var + eps, variance=lambda x, axes: (x - x.mean(0)).abs().mean(0)
        ),
        with_knobs(deviation=lambda var, eps: var, variance=lambda x, axes: (x - x.mean(0)).abs().mean(0)),
    ),
    mistake(
        "clipped",
        """Values far from the mean are cut off. Standardizing moves and scales all of them alike, outliers
        too: what is cut off leaves a variance below 1.""",
        *(
            lambda x, eps=EPS, limit=limit: with_knobs()(x, eps).clamp(-limit, limit)
            for limit in (3.0, 5.0, 10.0)
        ),
    ),
    *calling_mistakes(with_knobs),
    single_eps_mistake(with_knobs(eps_used=single)),
    single_precision_mistake(lambda x, eps=EPS: in_single_precision(with_knobs()(x, eps), x)),
)


@cache
def standardize_pairs() -> tuple[Mistake, ...]:
    by_knobs = *statistics_mistakes(dict, "N", ""), *feature_mistakes(dict)
    return pairs(with_knobs, STANDARDIZE_MISTAKES, by_knobs)


# -- the condition number ----------------------------------------------------------------------------


def by_singular_values(x: Tensor) -> Tensor:
    """The eigenvalues of xᵀx are the squared singular values of x."""
    values = torch.linalg.svdvals(x)
    return (values[0] / values[-1]).square()


def condition_number(
    x: Tensor,
    *,
    prepared: Callable[[Tensor], Tensor] = lambda x: x,
    hessian: Callable[[Tensor], Tensor] = lambda x: x.T @ x / x.shape[0],
    result: Callable[[Tensor], Tensor] = lambda values: values[-1] / values[0],
) -> Tensor:
    """The definition, with a knob for each step; `result` gets the eigenvalues, smallest first."""
    return result(eigenvalues(hessian(prepared(x))))


def eigenvalues(h: Tensor) -> Tensor:
    """The eigenvalues of a symmetric matrix, smallest first, seen from other axes.

    A reflection changes none of them. It spreads the rounding noise over all entries of the matrix, as
    the library's algorithms do: without it, noise in a small entry would count as small.
    """
    axis = torch.arange(1.0, h.shape[0] + 1, dtype=h.dtype, device=h.device)
    axis = axis / torch.linalg.vector_norm(axis)
    mirror = torch.eye(h.shape[0], dtype=h.dtype, device=h.device) - 2 * torch.outer(axis, axis)
    return torch.linalg.eigvalsh(mirror @ h @ mirror)


def diagonal_only(h: Tensor) -> Tensor:
    return torch.diag(torch.diagonal(h))


def as_correlations(x: Tensor) -> Tensor:
    """The features standardized, as far as that can be done."""
    return (x - x.mean(0)) / (x - x.mean(0)).square().mean(0).sqrt()


CONDITION_MISTAKES = (
    mistake(
        "condition_of_x",
        """This is the condition number of x itself, a ratio of singular values. The Hessian is xᵀx / N,
        whose eigenvalues are their squares: you return the root of what we want.""",
        partial(condition_number, result=lambda values: (values[-1] / values[0]).sqrt()),
    ),
    mistake(
        "squared_twice",
        """This is the square of the ratio. The eigenvalues of xᵀx / N are the squared singular values of
        x already; a second square is one too many.""",
        partial(condition_number, result=lambda values: (values[-1] / values[0]).square()),
    ),
    mistake(
        "gram_of_samples",
        """The matrix is x xᵀ, N × N, with a row and a column for every sample. All its eigenvalues beyond the
        D-th are 0 but for rounding, and dividing by such a one gives a number without meaning. The Hessian is
        D × D, a row for every weight.""",
        partial(condition_number, hessian=lambda x: x @ x.T / x.shape[0]),
        partial(condition_number, hessian=lambda x: x @ x.T),
        rounding=True,
    ),
    mistake(
        "centred_features",
        """The features are centred first, so this is the covariance matrix. The Hessian of least squares
        takes x as it is, and that is why an offset in the features hurts: look at the case with one.""",
        partial(condition_number, prepared=lambda x: x - x.mean(0)),
    ),
    mistake(
        "standardized_features",
        """The features are standardized before the eigenvalues are taken. We want the Hessian of x as
        it comes; that standardizing makes its condition number smaller is what you will see with it.""",
        partial(condition_number, prepared=as_correlations),
        partial(condition_number, prepared=lambda x: x / x.square().mean(0).sqrt()),
    ),
    mistake(
        "ratio_upside_down",
        "The smallest eigenvalue is divided by the largest. A condition number is never below 1.",
        partial(condition_number, result=lambda values: values[0] / values[-1]),
    ),
    mistake(
        "diagonal_for_eigenvalues",
        """The features are compared one by one, by mean squares, as on the diagonal of xᵀx / N, or by
        variances or standard deviations. The diagonal holds the eigenvalues only where no two features are
        correlated. Otherwise the valley does not lie along an axis.""",
        partial(condition_number, hessian=lambda x: diagonal_only(x.T @ x / x.shape[0])),
        partial(
            condition_number,
            prepared=lambda x: x - x.mean(0),
            hessian=lambda x: diagonal_only(x.T @ x / x.shape[0]),
        ),
        partial(
            condition_number,
            prepared=lambda x: x - x.mean(0),
            hessian=lambda x: diagonal_only(x.T @ x / x.shape[0]),
            result=lambda values: (values[-1] / values[0]).sqrt(),
        ),
    ),
    mistake(
        "eigenvalues_unsorted",
        """The first and the last eigenvalue are taken as they come, but torch.linalg.eigvals returns them in
        no order. Take the largest and the smallest, or torch.linalg.eigvalsh, which sorts them.""",
        lambda x: (values := torch.linalg.eigvals(x.T @ x / x.shape[0]).real)[-1] / values[0],
        lambda x: (values := torch.linalg.eigvals(x.T @ x / x.shape[0]).real)[0] / values[-1],
    ),
    mistake(
        "column_of_ones",
        """A column of ones is appended to x, as for a bias. The Hessian is that of x as it comes: D × D, with
        a row for each of its features.""",
        partial(condition_number, prepared=lambda x: torch.cat([x, torch.ones_like(x[:, :1])], 1)),
    ),
    mistake(
        "largest_eigenvalue_only",
        """This is the largest eigenvalue, which says how steep the steepest direction is. The condition
        number compares it with the flattest one, so it does not change when x is multiplied by a
        constant; yours does.""",
        partial(condition_number, result=lambda values: values[-1]),
        partial(condition_number, hessian=lambda x: x.T @ x, result=lambda values: values[-1]),
        lambda x: eigenvalues(x.T @ x).sqrt()[-1],
    ),
    mistake(
        "difference_for_ratio",
        """The smallest eigenvalue is subtracted from the largest. What counts is how many times steeper
        one direction is than the other: the ratio.""",
        partial(condition_number, result=lambda values: values[-1] - values[0]),
    ),
    mistake(
        "logarithm",
        """This is the logarithm of the condition number: how many digits it costs, or its order of magnitude.
        We want the ratio itself.""",
        partial(condition_number, result=lambda values: (values[-1] / values[0]).log10()),
        partial(condition_number, result=lambda values: (values[-1] / values[0]).log()),
    ),
    mistake(
        "other_matrix_norm",
        """This is a condition number by another matrix norm. For the ratio of the extreme eigenvalues it
        has to be the 2-norm; the Frobenius norm, for example, mixes all eigenvalues.""",
        partial(
            condition_number,
            result=lambda values: (values.square().sum() * values.pow(-2).sum()).sqrt(),
        ),
        partial(condition_number, result=lambda values: values.sum() * (1 / values).sum()),
        lambda x: condition_by_sums(x.T @ x),
    ),
    mistake(
        "eigenvalues_shifted",
        """A small number is added to the eigenvalues or to the matrix, or is their lower limit. Here the
        features can be small, and then that number decides the answer; the cases never divide by 0.""",
        *(
            partial(
                condition_number,
                result=lambda values, eps=eps, top=top: (values[-1] + top * eps) / (values[0] + eps),
            )
            for eps in (1e-5, 1e-6, 1e-8, 1e-10)
            for top in (0.0, 1.0)
        ),
        *(
            partial(
                condition_number,
                result=lambda values, least=least: values[-1] / values[0].clamp_min(least),
            )
            for least in (1e-5, 1e-6, 1e-8)
        ),
    ),
    single_precision_mistake(lambda x: in_single_precision(condition_number(x), x)),
)


@cache
def condition_pairs() -> tuple[Mistake, ...]:
    """Features that are changed first, and another number than the ratio of their eigenvalues."""
    named = {one.key: one for one in CONDITION_MISTAKES}
    return tuple(
        both(
            named[prepared],
            named[result],
            *(
                partial(condition_number, **one.keywords, **named[result].variants[0].keywords)
                for one in named[prepared].variants
            ),
        )
        for prepared in ("centred_features", "standardized_features")
        for result in ("condition_of_x", "squared_twice", "ratio_upside_down", "largest_eigenvalue_only")
    )


def condition_by_sums(h: Tensor) -> Tensor:
    """The condition number by the largest sum of a row's absolute values."""
    return h.abs().sum(0).amax() * torch.linalg.inv(h).abs().sum(0).amax()


# -- activations -------------------------------------------------------------------------------------


def mean_and_deviation(output: Tensor) -> tuple[Tensor, Tensor]:
    mean = output.mean()
    return mean, (output - mean).square().mean().sqrt()


def statistics(
    layers: Iterable[nn.Module],
    x: Tensor,
    *,
    measured: Callable[[Tensor], tuple[Tensor, ...]] = mean_and_deviation,
    chained: bool = True,
    before: bool = False,
    late: bool = False,
    copied: bool = True,
    kept: Callable[[nn.Module], bool] = lambda layer: True,
    first: bool = False,
) -> Tensor:
    """The definition, with a knob for each choice.

    chained: each layer gets the output of the one before, not x. before: what goes into a layer is
    measured. late: nothing is measured until all layers have run. copied: the layers work on a copy of
    x. kept: which layers are measured. first: x is measured too.
    """
    start = x.clone() if copied else x
    seen, rows = [start] if first else [], []
    output = start
    for layer in layers:
        given = output if chained else x.clone()
        if before and kept(layer):
            rows.append(measured(given))
        output = layer(given)
        if not before and kept(layer):
            seen.append(output)
            rows += [] if late else [measured(seen[-1])]
    if first:
        rows.insert(0, measured(x))
    if late:
        rows = [measured(output) for output in seen]
    return torch.stack([torch.stack(row) for row in rows])


def by_population(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """The library's mean and deviation."""
    rows, output = [], x.clone()
    for layer in layers:
        output = layer(output)
        rows.append(torch.stack([output.mean(), output.std(correction=0)]))
    return torch.stack(rows)


def about_mean(deviation: Callable[[Tensor], Tensor]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """`measured` with another second column."""
    return lambda output: (output.mean(), deviation(output))


def per_entry(output: Tensor, axes: tuple[int, ...], combined: Callable[[Tensor], Tensor]) -> Tensor:
    """Deviations along some of the axes, brought together."""
    return combined(output.std(axes, correction=0))


def trailing(output: Tensor) -> tuple[int, ...]:
    return tuple(range(1, output.dim()))


ACTIVATION_MISTAKES = (
    mistake(
        "unbiased_deviation",
        """The squares are divided by one less than their number. These statistics describe the outputs at
        hand and estimate nothing, so they take the biased standard deviation. (torch.std divides by one
        less unless told otherwise; for a single value that is 0/0.)""",
        partial(statistics, measured=about_mean(lambda output: output.std())),
    ),
    mistake(
        "variance_for_deviation",
        "The second column holds variances. We want the standard deviation, their root.",
        partial(statistics, measured=about_mean(lambda output: output.var(correction=0))),
        partial(statistics, measured=about_mean(lambda output: output.var())),
    ),
    mistake(
        "root_mean_square",
        """The second column is the root of the mean square, which is measured from 0. A standard deviation
        is measured from the mean; the two differ where the mean is not 0, as behind a ReLU.""",
        partial(statistics, measured=about_mean(lambda output: output.square().mean().sqrt())),
    ),
    mistake(
        "deviation_per_unit",
        """A standard deviation is taken for every unit or every sample, and then averaged. That leaves out
        how much the units differ from each other. There is one mean and one standard deviation for all
        numbers in a layer's output.""",
        *(
            partial(
                statistics,
                measured=about_mean(
                    lambda output, axes=axes, combined=combined: per_entry(output, axes(output), combined)
                ),
            )
            for axes in (lambda output: (0,), trailing)
            for combined in (lambda values: values.mean(), lambda values: values.square().mean().sqrt())
        ),
        partial(statistics, measured=about_mean(lambda output: output.std(0).mean())),
    ),
    mistake(
        "deviation_by_cancellation",
        """The variance is computed as the mean of the squares minus the square of the mean. On paper that
        is the same. At an offset of 10,000 both are near 10⁸ and float32 has seven digits, so their
        difference is noise. Centre first, then square.""",
        partial(
            statistics,
            measured=about_mean(lambda output: (output.square().mean() - output.mean().square()).sqrt()),
        ),
        partial(
            statistics,
            measured=about_mean(
                lambda output: (output.square().mean() - output.mean().square()).clamp_min(0).sqrt()
            ),
        ),
        rounding=True,
    ),
    mistake(
        "layers_not_chained",
        """Every layer is given x. The layers stand behind one another: each is given the output of the
        one before, which is how a scale grows or dies on its way.""",
        partial(statistics, chained=False),
    ),
    mistake(
        "inputs_for_outputs",
        """The statistics are those of what goes into each layer. We want those of what comes out. Every
        row is one layer late, and the last output is missing.""",
        partial(statistics, before=True),
    ),
    mistake(
        "input_included",
        """There is a row for x itself. The table has L rows, one for the output of each layer.""",
        partial(statistics, first=True),
    ),
    mistake(
        "some_layers_only",
        """Only some kinds of layers have a row. Every element of `layers` is one, linear layers and
        nonlinearities alike.""",
        partial(statistics, kept=lambda layer: isinstance(layer, nn.Linear)),
        partial(statistics, kept=lambda layer: not isinstance(layer, nn.Linear)),
    ),
    mistake(
        "read_too_late",
        """The outputs are collected first and measured at the end. A layer that works in place writes its
        result over what the layer before had returned, so two rows become the same. Measure each output
        before the next layer runs.""",
        partial(statistics, late=True),
    ),
    mistake(
        "x_overwritten",
        """The first layer may work in place, and then it writes its result into x itself, which the
        caller still needs. Hand a copy to it.""",
        partial(statistics, copied=False),
    ),
    mistake(
        "columns_swapped",
        "The columns are swapped: the mean comes first, the standard deviation second.",
        partial(statistics, measured=lambda output: mean_and_deviation(output)[::-1]),
    ),
    mistake(
        "mean_of_sizes",
        """The first column is the mean of absolute values. In the plain mean, values of both
        signs cancel.""",
        partial(statistics, measured=lambda output: (output.abs().mean(), mean_and_deviation(output)[1])),
    ),
    *reading_mistakes(statistics, "layers"),
    single_precision_mistake(
        lambda layers, x: in_single_precision(statistics(layers, x), x),
    ),
)


@cache
def activation_pairs() -> tuple[Mistake, ...]:
    """torch.std as it comes, beside what can go wrong with the order of things."""
    named = {one.key: one for one in ACTIVATION_MISTAKES}
    unbiased = about_mean(lambda output: output.std())
    others = "layers_not_chained", "inputs_for_outputs", "input_included", "some_layers_only", "read_too_late"
    of_columns = {
        "columns_swapped": lambda output: (output.std(), output.mean()),
        "mean_of_sizes": lambda output: (output.abs().mean(), output.std()),
    }
    return (
        *(
            both(
                named["unbiased_deviation"],
                named[key],
                *(partial(statistics, measured=unbiased, **one.keywords) for one in named[key].variants),
            )
            for key in others
        ),
        *(
            both(named["unbiased_deviation"], named[key], partial(statistics, measured=measured))
            for key, measured in of_columns.items()
        ),
    )


# -- gradients ---------------------------------------------------------------------------------------


def linear_weights(model: nn.Module) -> list[Tensor]:
    return [module.weight for module in model.modules() if isinstance(module, nn.Linear)]


def euclidean(gradient: Tensor) -> Tensor:
    return gradient.square().sum().sqrt()


def norms(
    model: nn.Module,
    loss: Tensor,
    *,
    weights: Callable[[nn.Module], list[Tensor]] = linear_weights,
    norm: Callable[[Tensor], Tensor] = euclidean,
    absent: Callable[[Tensor], list[Tensor]] = lambda weight: [torch.zeros_like(weight)],
    order: Callable[[list], list] = lambda entries: entries,
    **options: Any,
) -> Tensor:
    """The definition, with a knob for each choice.

    absent: what stands for the gradient of an unused weight; nothing, if it is skipped.
    """
    chosen = weights(model)
    gradients = torch.autograd.grad(loss, chosen, **(options or {"allow_unused": True}))
    found: list[Tensor] = []
    for weight, gradient in zip(chosen, gradients, strict=True):
        found += absent(weight) if gradient is None else [gradient]
    return torch.stack(order([norm(gradient) for gradient in found]))


def by_backward(
    model: nn.Module, loss: Tensor, *, cleared: bool = True, restored: bool = True, removed: bool = False
) -> Tensor:
    """The norms by way of `.grad`, which is set aside and put back: another way to the same.

    cleared: no old gradient is there when the new one is added. restored: the old ones come back.
    removed: no gradient is left at all.
    """
    before = {parameter: parameter.grad for parameter in model.parameters()}
    for parameter in model.parameters():
        old = before[parameter]
        parameter.grad = None if cleared or old is None else old.clone()
    loss.backward()
    found = [
        torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in linear_weights(model)
    ]
    result = torch.stack([torch.linalg.vector_norm(gradient) for gradient in found])
    for parameter in model.parameters():
        if removed:
            parameter.grad = None
        elif restored:
            parameter.grad = before[parameter]
    return result


def backward_and_read(model: nn.Module, loss: Tensor) -> Tensor:
    """What comes to mind first; it also stops where a weight is unused and has no .grad."""
    loss.backward()
    return torch.stack([weight.grad.norm() for weight in linear_weights(model)])


def with_bias(model: nn.Module, loss: Tensor) -> Tensor:
    """The norm over a layer's weight and bias together."""
    rows = []
    for module in model.modules():
        if isinstance(module, nn.Linear):
            pair = [one for one in (module.weight, module.bias) if one is not None]
            gradients = torch.autograd.grad(loss, pair, retain_graph=True, allow_unused=True)
            squares = [one.square().sum() for one in gradients if one is not None]
            rows.append(sum(squares, torch.zeros_like(loss)).sqrt())
    return torch.stack(rows)


def relative_norms(model: nn.Module, loss: Tensor) -> Tensor:
    sizes = torch.stack([euclidean(weight.detach()) for weight in linear_weights(model)])
    return norms(model, loss) / sizes


GRADIENT_MISTAKES = (
    mistake(
        "grad_overwritten",
        """Afterwards .grad holds something where the caller had something else or None: the gradients of your
        backward pass, or zeros. A function that only measures leaves no traces.""",
        partial(by_backward, restored=False),
    ),
    mistake(
        "grad_cleared",
        """What the caller had collected in .grad is lost: afterwards it is empty, or holds other numbers. A
        function that only measures leaves no traces.""",
        partial(by_backward, removed=True),
    ),
    mistake(
        "old_gradients_added",
        """A backward pass adds to what .grad holds already. Where it is not empty, your norms are those of
        the old gradient plus the new one. torch.autograd.grad returns the new one alone and leaves .grad
        as it is.""",
        partial(by_backward, cleared=False, restored=False),
        partial(by_backward, cleared=False, removed=True),
        partial(by_backward, cleared=False),
        backward_and_read,
    ),
    mistake(
        "unused_weight_fails",
        """A weight that the loss does not depend on has no gradient: autograd stops at it, or .grad is
        None, unless you allow for that. Its norm counts 0.""",
        partial(norms, materialize_grads=False),
    ),
    mistake(
        "unused_weight_skipped",
        """The linear layer that the loss does not use has no entry. There is one for every nn.Linear, so
        that the positions tell the layers; its norm counts 0.""",
        partial(norms, absent=lambda weight: []),
    ),
    mistake(
        "bias_included",
        """The gradient of the bias is counted in. We want the norm for the weight alone.""",
        with_bias,
    ),
    mistake(
        "other_parameters_included",
        """There are entries for parameters other than the weights of nn.Linear: biases, or the weights of
        layers of other kinds. Choose the modules by their type and take their weight.""",
        partial(norms, weights=lambda model: list(model.parameters())),
        partial(norms, weights=lambda model: [one for one in model.parameters() if one.dim() > 1]),
        partial(norms, weights=lambda model: [one for one in model.parameters() if one.dim() == 2]),
        partial(
            norms,
            weights=lambda model: [one for name, one in model.named_parameters() if name.endswith("weight")],
        ),
    ),
    mistake(
        "nested_layers_missed",
        """Only the direct children of the model are looked at. A linear layer can stand inside a block, or
        be the model itself: model.modules() visits them all.""",
        partial(
            norms,
            weights=lambda model: [one.weight for one in model.children() if isinstance(one, nn.Linear)],
        ),
    ),
    mistake(
        "weights_for_gradients",
        "These are the norms of the weights themselves. We want the norms of their gradients.",
        lambda model, loss: torch.stack([euclidean(weight) for weight in linear_weights(model)]),
    ),
    mistake(
        "squared_norm",
        "These are sums of squares. The Euclidean norm is their root.",
        partial(norms, norm=lambda gradient: gradient.square().sum()),
    ),
    mistake(
        "averaged_over_entries",
        """The gradient is averaged over its entries, by mean square, by standard deviation or by size. The
        Euclidean norm is the root of the sum of squares, and so it grows with the size of the layer.""",
        partial(norms, norm=lambda gradient: gradient.square().mean().sqrt()),
        partial(norms, norm=lambda gradient: gradient.std()),
        partial(norms, norm=lambda gradient: gradient.std(correction=0)),
        partial(norms, norm=lambda gradient: gradient.abs().mean()),
        partial(norms, norm=lambda gradient: euclidean(gradient) / gradient.numel()),
        partial(norms, norm=lambda gradient: gradient.square().mean()),
    ),
    mistake(
        "other_norm",
        """This is the sum of absolute values, or the largest of them. The Euclidean norm is the root of
        the sum of squares.""",
        partial(norms, norm=lambda gradient: gradient.abs().sum()),
        partial(norms, norm=lambda gradient: gradient.abs().amax()),
    ),
    mistake(
        "spectral_norm",
        """This is the 2-norm of the gradient as a matrix, its largest singular value, and so never more
        than the Euclidean norm. That one takes the entries as one long vector: torch.linalg.norm with
        ord=2 means the matrix norm when its argument has two axes.""",
        partial(norms, norm=lambda gradient: torch.linalg.matrix_norm(gradient, 2)),
    ),
    mistake(
        "norm_of_each_row",
        """Each row of the gradient has a norm of its own, and their mean is taken, or their sum. The gradient
        of a weight is one vector here: the root of the sum of all its squares.""",
        partial(norms, norm=lambda gradient: gradient.square().sum(1).sqrt().mean()),
        partial(norms, norm=lambda gradient: gradient.square().sum(1).sqrt().sum()),
        partial(norms, norm=lambda gradient: gradient.square().sum(0).sqrt().mean()),
    ),
    mistake(
        "relative_to_weight",
        """The norm of the gradient is divided by that of the weight, as one does to see how far a step moves
        it. We want the norm of the gradient alone.""",
        relative_norms,
    ),
    mistake(
        "order_reversed",
        """The last layer comes first. The backward pass meets the layers in that order; the entries stand
        in the order of the forward pass.""",
        partial(norms, order=lambda entries: entries[::-1]),
    ),
    *reading_mistakes(norms),
    single_precision_mistake(lambda model, loss: in_single_precision(norms(model, loss), loss)),
)


# -- the verdict -------------------------------------------------------------------------------------


def plain_verdict(norms: Tensor, low: float = 1e-3, high: float = 1e3) -> str:
    """The same in Python's own numbers."""
    values = norms.tolist()
    first, last = values[0], values[-1]
    if not all(map(math.isfinite, values)):
        return "exploding"
    if last == 0:
        return "exploding" if first > 0 else "stable"
    ratio = first / last
    return "vanishing" if ratio < low else "exploding" if ratio > high else "stable"


def verdict(
    norms: Tensor,
    low: float = 1e-3,
    high: float = 1e3,
    *,
    broken: Callable[[Tensor], Any] = lambda norms: not norms.isfinite().all(),
    ratio: Callable[[Tensor], Tensor] = lambda norms: norms[0] / norms[-1],
    ratio_for_high: Callable[[Tensor], Tensor] | None = None,
    ratio_first: bool = False,
    strict: bool = True,
    words: tuple[str, str] = ("vanishing", "exploding"),
) -> str:
    """The definition, with a knob for each rule."""
    falls, grows = ratio(norms), (ratio_for_high or ratio)(norms)
    if broken(norms) and not ratio_first:
        return "exploding"
    if falls < low or (not strict and falls == low):
        return words[0]
    if grows > high or (not strict and grows == high):
        return words[1]
    return "exploding" if broken(norms) else "stable"


def fixed_limits(low: float | None, high: float | None) -> Callable:
    """A verdict with limits written into the code; None where the argument is used."""

    def gradient_verdict(norms: Tensor, given_low: float = 1e-3, given_high: float = 1e3) -> str:
        return verdict(norms, given_low if low is None else low, given_high if high is None else high)

    return gradient_verdict


def default_limits(low: float = 1e-3, high: float = 1e3) -> Callable:
    """A verdict with other defaults."""

    def gradient_verdict(norms: Tensor, given_low: float = low, given_high: float = high) -> str:
        return verdict(norms, given_low, given_high)

    return gradient_verdict


def in_python_numbers(norms: Tensor, low: float = 1e-3, high: float = 1e3) -> str:
    """The definition with a ratio of two Python floats, which have no 1/0."""
    return verdict(norms, low, high, ratio=lambda norms: torch.tensor(norms[0].item() / norms[-1].item()))


def finite_before_dividing(norms: Tensor, low: float = 1e-3, high: float = 1e3) -> str:
    """The same with the finite check in front of the division."""
    return "exploding" if not norms.isfinite().all() else in_python_numbers(norms, low, high)


def in_words(vanishing: str, exploding: str, stable: str) -> Callable:
    """A verdict with other words."""
    words = {"vanishing": vanishing, "exploding": exploding, "stable": stable}

    def gradient_verdict(norms: Tensor, low: float = 1e-3, high: float = 1e3) -> str:
        return words[verdict(norms, low, high)]

    return gradient_verdict


def ratios_of_neighbours(norms: Tensor) -> Tensor:
    """Of each norm and the next; of a single one and itself."""
    return norms[:-1] / norms[1:] if len(norms) > 1 else norms / norms


VERDICT_MISTAKES = (
    mistake(
        "ratio_upside_down",
        """The last norm is divided by the first. Gradients travel from the last layer to the first, so
        they vanish where the first norm is the small one.""",
        partial(verdict, ratio=lambda norms: norms[-1] / norms[0]),
        partial(verdict, words=("exploding", "vanishing")),
    ),
    mistake(
        "finite_check_missing",
        """A norm of inf or NaN does not count as exploding. Comparisons with NaN are all false, so such
        norms pass every test by size and end up as 'stable'; ask first whether all are finite.""",
        partial(verdict, broken=lambda norms: False),
    ),
    mistake(
        "finite_check_last",
        """Whether all norms are finite is asked after the ratio. With an infinite last norm the ratio is
        0, and that looks like vanishing; not finite comes first.""",
        partial(verdict, ratio_first=True),
    ),
    mistake(
        "zero_over_zero",
        """Where the first and the last norm are both 0, the ratio is 0/0. Neither limit is crossed and
        both norms are finite, so the verdict is 'stable'.""",
        partial(
            verdict,
            broken=lambda norms: not norms.isfinite().all() or bool((norms[0] / norms[-1]).isnan()),
        ),
        partial(
            verdict,
            ratio=lambda norms: (norms[0] / norms[-1]).nan_to_num(nan=0.0, posinf=math.inf),
        ),
        *(
            partial(verdict, ratio=lambda norms, eps=eps: norms[0] / (norms[-1] + eps))
            for eps in (1e-12, 1e-8)
        ),
    ),
    mistake(
        "zero_always_stable",
        """Whenever the last norm is 0 the verdict is 'stable'. That holds for 0/0 only. Where the first norm
        is not 0 the ratio is infinite, and that is above any limit: 'exploding'.""",
        partial(
            verdict,
            ratio=lambda norms: (
                torch.where(norms[-1] == 0, torch.full_like(norms[0], math.nan), norms[0]) / norms[-1]
            ),
        ),
    ),
    mistake(
        "other_words",
        """The answers are not 'vanishing', 'exploding' and 'stable'. They are compared as strings, so spell
        them exactly like this.""",
        *(
            in_words(vanishing, exploding, stable)
            for vanishing, exploding, stable in (
                ("vanishing", "exploding", "healthy"),
                ("vanishing", "exploding", "ok"),
                ("vanishing", "exploding", "normal"),
                ("Vanishing", "Exploding", "Stable"),
                ("vanish", "explode", "stable"),
            )
        ),
    ),
    mistake(
        "always_the_same",
        "The verdict is the same for all norms. All three kinds occur.",
        *(lambda norms, *limits, word=word: word for word in ("stable", "vanishing", "exploding")),
    ),
    mistake(
        "neighbours_compared",
        """Norms of neighbouring layers are compared. A profile can fall a thousandfold with no large step
        between any two of them: the verdict goes by the first and the last.""",
        partial(
            verdict,
            ratio=lambda norms: ratios_of_neighbours(norms).min(),
            ratio_for_high=lambda norms: ratios_of_neighbours(norms).max(),
        ),
        partial(verdict, ratio=lambda norms: ratios_of_neighbours(norms)[0]),
    ),
    mistake(
        "finite_check_of_some",
        """Not every norm that is not finite is seen: a norm in the middle can be, and it can be inf or NaN.
        One of them anywhere is enough for 'exploding'.""",
        partial(verdict, broken=lambda norms: not (norms[0] / norms[-1]).isfinite()),
        partial(verdict, broken=lambda norms: not norms[[0, -1]].isfinite().all()),
        partial(verdict, broken=lambda norms: not norms[0].isfinite()),
        partial(verdict, broken=lambda norms: not norms[-1].isfinite()),
        partial(verdict, broken=lambda norms: norms.isnan().any()),
        partial(verdict, broken=lambda norms: norms.isinf().any()),
    ),
    mistake(
        "division_by_zero",
        """Python's own numbers raise an error where the last norm is 0; tensors give inf or NaN there.
        Keep the tensors, or treat a last norm of 0 apart.""",
        in_python_numbers,
        finite_before_dividing,
    ),
    mistake(
        "extremes_compared",
        """The smallest and the largest norm are compared. The verdict goes by the first and the last; one
        that is out of line between them does not change it.""",
        partial(
            verdict,
            ratio=lambda norms: norms.min() / norms.max(),
            ratio_for_high=lambda norms: norms.max() / norms.min(),
        ),
        partial(verdict, ratio=lambda norms: norms.min() / norms.max()),
        partial(verdict, ratio=lambda norms: norms.max() / norms.min()),
        partial(
            verdict,
            ratio=lambda norms: norms.min() / norms[-1],
            ratio_for_high=lambda norms: norms.max() / norms[-1],
        ),
    ),
    mistake(
        "no_ratio",
        """The norms themselves are compared with the limits. All of them scale with the loss; what tells is
        how the first compares with the last, their ratio.""",
        partial(verdict, ratio=lambda norms: norms[0]),
        partial(verdict, ratio=lambda norms: norms.min(), ratio_for_high=lambda norms: norms.max()),
        partial(verdict, ratio=lambda norms: norms.mean()),
    ),
    mistake(
        "limits_fixed",
        """The verdict does not change when low or high does: fixed numbers stand where the arguments should
        be used.""",
        fixed_limits(1e-3, 1e3),
        fixed_limits(1e-3, None),
        fixed_limits(None, 1e3),
    ),
    mistake(
        "limits_default",
        """Right when the limits are passed, but wrong when they are left out: their defaults are 1e-3 and
        1e3.""",
        *(
            default_limits(low, high)
            for low, high in ((1e-2, 1e2), (1e-1, 1e1), (1e-4, 1e4), (1e-5, 1e5), (1e-6, 1e6), (1e-8, 1e8))
        ),
    ),
    mistake(
        "limits_included",
        """A ratio that equals a limit counts as beyond it. 'vanishing' asks for a ratio below low,
        'exploding' for one above high.""",
        partial(verdict, strict=False),
    ),
)


# -- the critical gain -------------------------------------------------------------------------------

Activation = Callable[[Tensor], Tensor]


def gain_by_norm(activation: Activation, z: Tensor) -> Tensor:
    """The length of a vector of ones over that of the outputs."""
    output = activation(z.clone())
    return output.numel() ** 0.5 / torch.linalg.vector_norm(output)


def gain(
    activation: Activation,
    z: Tensor,
    *,
    sample: Callable[[Tensor], Tensor] = lambda z: z.clone(),
    measured: Callable[[Tensor], Tensor] = lambda output: output.square().mean(),
    result: Callable[[Tensor, Tensor], Tensor] = lambda measured, z: 1 / measured.sqrt(),
) -> Tensor:
    """The definition, with a knob for each step."""
    return result(measured(activation(sample(z))), z)


GUARDED_GAINS = (
    partial(gain, measured=lambda output: output.square().mean() + GUARD),
    partial(gain, result=lambda measured, z: 1 / (measured.sqrt() + GUARD)),
)


def gain_of_gradients(activation: Activation, z: Tensor) -> Tensor:
    """The gain that keeps the mean square of the gradients."""
    leaf = z.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(activation(leaf * 1).sum(), leaf)
    return 1 / slope.square().mean().sqrt()


def fixed_gain(value: float) -> Callable[[Activation, Tensor], Tensor]:
    def critical_gain(activation: Activation, z: Tensor) -> Tensor:
        return torch.full_like(z.flatten()[0], value)

    return critical_gain


GAIN_MISTAKES = (
    mistake(
        "variance_for_mean_square",
        """The variance of the outputs stands where their mean square belongs. The weights have mean 0, so the
        sums of the next layer have the variance g² times the mean of the squared outputs, whatever their
        mean is. Behind a ReLU the two differ a lot.""",
        *(partial(gain, measured=lambda output, n=n: output.var(correction=n)) for n in (0, 1)),
    ),
    mistake(
        "gain_of_gradients",
        """This gain preserves the size of the gradients in the backward pass: it depends on the slope of the
        activation. We want the one for the forward pass, which depends on its values. For ReLU the two agree,
        for tanh they do not.""",
        gain_of_gradients,
    ),
    mistake(
        "upside_down",
        """This is the root of the mean square itself, by which the outputs shrink. The gain has to undo that:
        one over it.""",
        partial(gain, result=lambda measured, z: measured.sqrt()),
    ),
    mistake(
        "mean_square_itself",
        """This is the mean square of the outputs, by which the activation changes a mean square of 1. The
        gain has to undo that, and it multiplies weights: one over the root.""",
        partial(gain, result=lambda measured, z: measured),
    ),
    mistake(
        "two_of_relu",
        """The gain comes out too large by the factor √2. The 2 of ReLU's √2 stands for the half of the mean
        square that it leaves. Your mean measures what is left, so no 2 is needed beside it.""",
        partial(gain, result=lambda measured, z: (2 / measured).sqrt()),
    ),
    mistake(
        "bound_for_gain",
        """The gain comes out too large by the factor √3. That one turns a standard deviation into the bound
        of a uniform distribution. The gain belongs to the standard deviation, however weights are drawn.""",
        partial(gain, result=lambda measured, z: (3 / measured).sqrt()),
    ),
    mistake(
        "count_of_one_axis",
        """The squares are divided by the length of one axis of z. But z can have any shape, and the mean is
        taken over all of its numbers.""",
        partial(gain, result=lambda measured, z: (z.shape[0] / (measured * z.numel())).sqrt()),
        partial(gain, result=lambda measured, z: (z.shape[-1] / (measured * z.numel())).sqrt()),
    ),
    mistake(
        "root_missing",
        """This is g², the factor in the variance of the weights. The gain is its root: a weight is multiplied
        by g, a variance by g².""",
        partial(gain, result=lambda measured, z: 1 / measured),
    ),
    mistake(
        "mean_of_sizes",
        """The mean is taken of the outputs, or of their absolute values, and not of their squares. Variances
        add where independent numbers do, means of sizes do not.""",
        partial(gain, measured=lambda output: output.abs().mean().square()),
        partial(gain, measured=lambda output: output.mean().square()),
        partial(gain, measured=lambda output: output.mean(), result=lambda measured, z: 1 / measured),
    ),
    mistake(
        "sum_for_mean",
        """The squares are added and not averaged, so that the gain falls with the size of the sample. A
        mean stays what it is when the sample grows.""",
        partial(gain, measured=lambda output: output.square().sum()),
        partial(gain, measured=lambda output: output.square().sum() / max(output.numel() - 1, 1)),
    ),
    mistake(
        "compared_with_sample",
        """The outputs are compared with the mean square of z as it happened to come out. z stands for numbers
        whose mean square is 1; to preserve that 1, divide by nothing else.""",
        partial(gain, result=lambda measured, z: (z.square().mean() / measured).sqrt()),
        partial(gain, result=lambda measured, z: (z.var(correction=0) / measured).sqrt()),
        partial(gain, result=lambda measured, z: (z.var() / measured).sqrt()),
    ),
    mistake(
        "other_sample",
        """The mean is taken over numbers that are not z. The sample is an argument, so that whoever calls
        decides how many there are, and gets the same answer twice.""",
        partial(gain, sample=torch.randn_like),
        partial(gain, sample=lambda z: torch.randn(10_000, dtype=z.dtype, device=z.device)),
        partial(gain, sample=lambda z: torch.linspace(-3, 3, 1001, dtype=z.dtype, device=z.device)),
        partial(gain, sample=lambda z: (z - z.mean()) / z.std(correction=0)),
        partial(gain, sample=lambda z: (z - z.mean()) / z.std()),
        partial(gain, sample=lambda z: z / z.square().mean().sqrt()),
        partial(gain, sample=lambda z: z.square()),
    ),
    mistake(
        "gain_from_a_table",
        """The result does not depend on the activation: one number for all of them. √2 is ReLU's, 1 that of
        no activation, 5/3 is said of tanh. Each has its own, which the sample tells.""",
        *(fixed_gain(value) for value in (math.sqrt(2.0), 1.0, 5 / 3, 2.0)),
        *(fixed_gain(single(value)) for value in (math.sqrt(2.0), 5 / 3)),
    ),
    mistake(
        "number_added",
        """A small number is added to the mean square. Nothing is divided by 0 here, and where the outputs are
        small that number decides the gain.""",
        *(
            partial(gain, measured=lambda output, eps=eps: output.square().mean() + eps)
            for eps in (1e-5, 1e-6, 1e-8, 1e-10)
        ),
        partial(gain, result=lambda measured, z: 1 / (measured.sqrt() + 1e-5)),
        partial(gain, result=lambda measured, z: 1 / (measured.sqrt() + 1e-8)),
    ),
    single_precision_mistake(lambda activation, z: in_single_precision(gain(activation, z), z)),
)


@cache
def gain_pairs() -> tuple[Mistake, ...]:
    """The standard deviation of z over that of the outputs."""
    named = {one.key: one for one in GAIN_MISTAKES}
    deviations = [
        partial(
            gain,
            measured=lambda output, n=n: output.var(correction=n),
            result=lambda measured, z, n=n: (z.var(correction=n) / measured).sqrt(),
        )
        for n in (0, 1)
    ]
    return (
        both(named["variance_for_mean_square"], named["compared_with_sample"], *deviations),
        both(
            named["variance_for_mean_square"],
            named["root_missing"],
            *(
                partial(
                    gain,
                    measured=lambda output, n=n: output.var(correction=n),
                    result=lambda measured, z: 1 / measured,
                )
                for n in (0, 1)
            ),
        ),
    )


# -- profiles of gradients ---------------------------------------------------------------------------

VANISHING, VANISHED, EXPLODING, HEALTHY = (
    "vanishing with depth",
    "vanished everywhere",
    "exploding",
    "healthy",
)
#: The defaults of low, high, tiny and huge.
LIMITS = (1e-3, 1e3, 1e-6, 1e6)


def plain_profile(
    norms: Tensor, low: float = 1e-3, high: float = 1e3, tiny: float = 1e-6, huge: float = 1e6
) -> str:
    """The same in Python's own numbers."""
    values = norms.tolist()
    if not all(map(math.isfinite, values)) or max(values) > huge:
        return EXPLODING
    if max(values) < tiny:
        return VANISHED
    first, last = values[0], values[-1]
    if first < low * last:
        return VANISHING
    return EXPLODING if first > high * last else HEALTHY


def profile(
    norms: Tensor,
    low: float = 1e-3,
    high: float = 1e3,
    tiny: float = 1e-6,
    huge: float = 1e6,
    *,
    broken: Callable[[Tensor], Any] = lambda norms: not norms.isfinite().all(),
    for_tiny: Callable[[Tensor], Tensor] = lambda norms: norms.max(),
    for_huge: Callable[[Tensor], Tensor] = lambda norms: norms.max(),
    ratio: Callable[[Tensor], Tensor] = lambda norms: norms[0] / norms[-1],
    order: str = "bigvf",
    beyond: Callable[[Any, Any], Any] = lambda more, less: more > less,
    words: dict[str, Any] | None = None,
) -> Any:
    """The definition, with a knob for each rule.

    order: which question comes when: b(roken), (b)i(g), g: all tiny, v(anishing by the ratio), and
    f: exploding by it.
    """
    share = ratio(norms)
    found = {
        "b": (broken(norms), EXPLODING),
        "i": (beyond(for_huge(norms), huge), EXPLODING),
        "g": (beyond(tiny, for_tiny(norms)), VANISHED),
        "v": (beyond(low, share), VANISHING),
        "f": (beyond(share, high), EXPLODING),
    }
    word = next((found[one][1] for one in order if bool(found[one][0])), HEALTHY)
    return (words or {}).get(word, word)


def with_limits(*fixed: float | None, defaults: tuple[float, ...] = LIMITS) -> Callable:
    """A profile with limits written into the code, or with other defaults; None: the argument is used."""

    def gradient_profile(norms: Tensor, *given: float) -> str:
        used = (*given, *defaults[len(given) :])
        return profile(norms, *(own if one is None else one for one, own in zip(fixed, used, strict=True)))

    return gradient_profile


#: Norms that stand for all of them.
ONE_NORM = (torch.min, lambda norms: norms[0], lambda norms: norms[-1], torch.median, torch.mean)

PROFILE_MISTAKES = (
    mistake(
        "ratio_alone",
        """Only the ratio of the first norm to the last decides, as in `gradient_verdict`. Where all norms are
        tiny, or all huge, their ratio is near 1 and nothing learns all the same. Size is a question of its
        own, and it comes first.""",
        partial(profile, order="bvf"),
        partial(profile, order="bivf"),
        partial(profile, order="bgvf"),
    ),
    mistake(
        "size_alone",
        """Only the size of the norms decides. Profiles with ordinary norms can fall or grow a thousandfold
        on the way to the input: the ratio of the first to the last tells.""",
        partial(profile, order="big"),
        partial(profile, order="bigv"),
        partial(profile, order="bigf"),
    ),
    mistake(
        "ratio_first",
        """The ratio is asked before the size. In a profile that is tiny throughout the ratio tells which of
        two noises is larger; in one that is huge at its end, falling is no comfort. Size first, then the
        ratio.""",
        partial(profile, order="bvfig"),
        partial(profile, order="bivfg"),
        partial(profile, order="bgvfi"),
        partial(profile, order="bivgf"),
        partial(profile, order="vfbig"),
        partial(profile, order="vbifg"),
    ),
    mistake(
        "one_norm_for_all",
        """'vanished everywhere' means that all norms are below tiny, so compare the largest with it. Here
        another norm is compared, or an average. A profile that falls to nothing only at its first layer has
        not vanished everywhere.""",
        *(partial(profile, for_tiny=one) for one in ONE_NORM),
    ),
    mistake(
        "one_norm_for_any",
        """One norm above huge is enough for 'exploding', in whatever layer, so compare the largest with it.
        Here another norm is compared, or an average.""",
        *(partial(profile, for_huge=one) for one in ONE_NORM),
    ),
    mistake(
        "ratio_upside_down",
        """The last norm is divided by the first. Gradients travel from the last layer to the first, so they
        vanish with depth where the first norm is the small one.""",
        partial(profile, ratio=lambda norms: norms[-1] / norms[0]),
    ),
    mistake(
        "extremes_compared",
        """The smallest norm is compared with the largest. The ratio is that of the first to the last; one
        that is out of line between them does not change it.""",
        partial(profile, ratio=lambda norms: norms.min() / norms.max()),
        partial(profile, ratio=lambda norms: norms.max() / norms.min()),
        partial(profile, ratio=lambda norms: norms.min() / norms[-1]),
    ),
    mistake(
        "finite_check_missing",
        """A NaN is not seen. It is neither above huge nor below tiny, all comparisons with it are false, and
        so it ends as 'healthy'. Ask first whether all norms are finite.""",
        partial(profile, broken=lambda norms: False),
        partial(profile, broken=lambda norms: norms.isinf().any()),
        partial(profile, broken=lambda norms: norms[-1].isnan()),
    ),
    mistake(
        "zeros_healthy",
        """A profile of zeros is called healthy. 0 is below tiny like any other small number, and 0/0 decides
        nothing.""",
        partial(
            profile, for_tiny=lambda norms: norms.max() if norms.max() > 0 else torch.ones_like(norms[0])
        ),
    ),
    mistake(
        "limits_fixed",
        """The answer does not change when the limits do: fixed numbers stand where the arguments should be
        used.""",
        with_limits(*LIMITS),
        with_limits(1e-3, 1e3, None, None),
        with_limits(None, None, 1e-6, 1e6),
    ),
    mistake(
        "limits_default",
        """Right when the limits are passed, but wrong when they are left out: their defaults are 1e-3, 1e3,
        1e-6 and 1e6.""",
        with_limits(None, None, None, None, defaults=(1e-6, 1e6, 1e-6, 1e6)),
        with_limits(None, None, None, None, defaults=(1e-2, 1e2, 1e-2, 1e2)),
        with_limits(None, None, None, None, defaults=(1e-3, 1e3, 1e-10, 1e10)),
    ),
    mistake(
        "limits_included",
        """A number that equals a limit counts as beyond it. The norms have to be below low or tiny, above
        high or huge.""",
        partial(profile, beyond=lambda more, less: more >= less),
    ),
    mistake(
        "always_the_same",
        """Profiles of different kinds get the same answer. All four kinds occur.""",
        *(lambda norms, *limits, word=word: word for word in (HEALTHY, VANISHING, VANISHED, EXPLODING)),
    ),
    mistake(
        "other_words",
        """The answers are not 'vanishing with depth', 'vanished everywhere', 'exploding' and 'healthy', or
        two of them are swapped. They are compared as strings, so spell them exactly like this.""",
        partial(profile, words={HEALTHY: "stable"}),
        partial(profile, words={VANISHING: "vanishing", VANISHED: "vanished"}),
        partial(profile, words={VANISHING: "vanishing"}),
        partial(profile, words={VANISHED: "vanishing"}),
        partial(profile, words={VANISHED: VANISHING}),
        partial(profile, words={VANISHING: VANISHED}),
        partial(profile, words={VANISHING: VANISHED, VANISHED: VANISHING}),
    ),
    mistake(
        "number_added",
        """A small number is added to the last norm before it divides. That moves the ratio: one that equals
        low counts as below it. A tensor divided by 0 gives inf, and nothing has to be added.""",
        *(
            partial(profile, ratio=lambda norms, eps=eps: norms[0] / (norms[-1] + eps))
            for eps in (1e-8, 1e-10, 1e-12)
        ),
    ),
)


@cache
def profile_pairs() -> tuple[Mistake, ...]:
    """One norm in the place of all, for both questions of size."""
    named = {one.key: one for one in PROFILE_MISTAKES}
    variants = (partial(profile, for_tiny=one, for_huge=one) for one in ONE_NORM)
    return (both(named["one_norm_for_all"], named["one_norm_for_any"], *variants),)


# -- inputs that show a mistake ------------------------------------------------------------------------

by_cancellation = variant(STANDARDIZE_MISTAKES, "variance_by_cancellation")
by_diagonal = variant(CONDITION_MISTAKES, "diagonal_for_eigenvalues")


def why_digits_are_left(x: Tensor, n: int, d: int, largest: int) -> str:
    x = x.float()
    if x.double().std(0, correction=0).min() < 1e-6 * largest:
        return "a_constant_feature"
    shows = apart(library_standardize(x.double()), by_cancellation(x).double()) >= 0.1
    return "" if shows else "offset_small_beside_the_spread"


CANCELLATION_REASONS = (
    mistake(
        "offset_small_beside_the_spread",
        """Your input does not show it: the mean is not far enough above the standard deviation. E[x²] is
        mean² + var, and float32 keeps about seven digits of that. How small must var be, compared with
        mean², to get lost?""",
        lambda n, d, largest: torch.randn(n, d),
        lambda n, d, largest: torch.rand(n, d) * largest,
        lambda n, d, largest: torch.rand(n, d) + 50,
    ),
    mistake(
        "a_constant_feature",
        """A feature is constant, or as good as that: then there is nothing to normalize. Each has to vary, by
        a standard deviation of a millionth of largest or more.""",
        lambda n, d, largest: torch.zeros(n, d),
        lambda n, d, largest: torch.full((n, d), float(largest)),
    ),
)


def far_and_narrow(n: int, d: int, largest: int) -> Tensor:
    return largest * (0.9 + 2e-4 * torch.linspace(-1, 1, n)).unsqueeze(1).repeat(1, d)


def far_and_random(n: int, d: int, largest: int) -> Tensor:
    return -0.99 * largest + 2e-4 * largest * torch.rand(n, d, dtype=torch.float64)


def why_diagonal_does(x: Tensor, n: int, kappa: int) -> str:
    if x.abs().amax(0).min() < 1e-6:
        return "a_column_of_zeros"
    if by_diagonal(x) > 2:
        return "columns_of_different_size"
    smallest, largest = torch.linalg.eigvalsh(x.T @ x / n)
    if smallest <= 1e-9 * largest:
        return "dependent_columns"
    return "" if largest >= kappa * smallest else "columns_hardly_correlated"


DIAGONAL_REASONS = (
    mistake(
        "columns_hardly_correlated",
        """Your input does not show it enough: the two columns are hardly correlated, so the entries beside
        the diagonal are small and the eigenvalues near those on it. When is x times (1, −1) much shorter than
        x times (1, 1)?""",
        lambda n, kappa: torch.randn(n, 2),
        lambda n, kappa: torch.eye(n)[:, :2],
        lambda n, kappa: torch.rand(n, 2),
    ),
    mistake(
        "columns_of_different_size",
        """The code notices this one: one column is larger than the other, and that shows on the diagonal. We
        want a valley that it misses, so its answer has to be 2 at most.""",
        lambda n, kappa: torch.randn(n, 2) * torch.tensor([2.0, 0.1]),
        lambda n, kappa: torch.stack([torch.ones(n), torch.linspace(-1, 1, n)], 1),
    ),
    mistake(
        "dependent_columns",
        """The columns are multiples of each other, up to rounding. Then the smallest eigenvalue is 0 and no
        condition number is right. Let them differ by a little.""",
        lambda n, kappa: torch.randn(n, 1).repeat(1, 2),
        lambda n, kappa: torch.ones(n, 2),
    ),
    mistake(
        "a_column_of_zeros",
        """A column is 0, so that its mean square is 0 too. A condition number divides by the smallest
        curvature, and that has to be above 0.""",
        lambda n, kappa: torch.zeros(n, 2),
    ),
)


def one_shared_part(n: int, kappa: int) -> Tensor:
    """Two columns with a large part in common, and a small one in which they are opposite."""
    own = torch.linspace(-1, 1, n) / kappa**0.5
    return torch.stack([1 + own, 1 - own], 1)


def turned_valley(n: int, kappa: int) -> Tensor:
    """A valley along an axis, turned by 45 degrees."""
    x = torch.linalg.qr(torch.randn(n, 2, dtype=torch.float64))[0] * torch.tensor([(1.5 * kappa) ** 0.5, 1.0])
    return x @ torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64) / 10


ANSWERS = {
    "standardize": Answer(library_standardize, with_knobs(), STANDARDIZE_MISTAKES, pairs=standardize_pairs),
    "hessian_condition_number": Answer(
        by_singular_values,
        condition_number,
        CONDITION_MISTAKES,
        pairs=condition_pairs,
        guarded=(partial(condition_number, result=lambda values: values[-1] / (values[0] + GUARD)),),
    ),
    "activation_statistics": Answer(by_population, statistics, ACTIVATION_MISTAKES, pairs=activation_pairs),
    "gradient_norms": Answer(by_backward, norms, GRADIENT_MISTAKES),
    "gradient_verdict": Answer(plain_verdict, verdict, VERDICT_MISTAKES),
    "critical_gain": Answer(gain_by_norm, gain, GAIN_MISTAKES, guarded=GUARDED_GAINS, pairs=gain_pairs),
    "gradient_profile": Answer(plain_profile, profile, PROFILE_MISTAKES, pairs=profile_pairs),
    "expose_cancellation": exposing(
        Asked("x", "n, d", "largest"),
        by_cancellation,
        why_digits_are_left,
        CANCELLATION_REASONS,
        (far_and_narrow, far_and_random),
    ),
    "expose_diagonal": exposing(
        Asked("x", "n, 2"),
        by_diagonal,
        why_diagonal_does,
        DIAGONAL_REASONS,
        (one_shared_part, turned_valley),
    ),
}
