"""Day 31: the right answers, and what people get wrong, with the knobs that make it.

Sources of the mistakes: reports and fixes in public repositories and forums, and public course solutions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from graders.judging.answer import Answer, mistake
from graders.judging.references.exposing import ALIKE, Asked, apart, exposing, variant
from graders.judging.tolerance import GUARD

Loss = Callable[[Tensor], Tensor]


# -- two lists of gradients --------------------------------------------------------------------------


def flattened(tensors: Iterable[Tensor]) -> Tensor:
    """All entries of a list of tensors as one long vector."""
    return torch.cat([one.flatten() for one in tensors])


def library_shift(before: list[Tensor], after: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The library's distance and cosine of the long vectors."""
    a, b = flattened(before), flattened(after)
    return torch.dist(a, b), F.cosine_similarity(a, b, dim=0)


def length(vector: Tensor) -> Tensor:
    return vector.square().sum().sqrt()


def distance(a: Tensor, b: Tensor) -> Tensor:
    return length(a - b)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / (length(a) * length(b))


Between = Callable[[Tensor, Tensor], Tensor]


def shift(
    before: list[Tensor], after: list[Tensor], *, l2: Between = distance, cos: Between = cosine
) -> tuple[Tensor, Tensor]:
    """The definition, with a knob for each of the two numbers."""
    a, b = flattened(before), flattened(after)
    return l2(a, b), cos(a, b)


def layer_by_layer(
    before: list[Tensor],
    after: list[Tensor],
    *,
    l2: Callable[[Tensor], Tensor] | None = torch.mean,
    cos: Callable[[Tensor], Tensor] | None = torch.mean,
) -> tuple[Tensor, Tensor]:
    """Both numbers for each tensor by itself, then brought together; None where that is done right."""
    pairs = [(a.flatten(), b.flatten()) for a, b in zip(before, after, strict=True)]
    right = shift(before, after)
    return (
        l2(torch.stack([distance(a, b) for a, b in pairs])) if l2 else right[0],
        cos(torch.stack([F.cosine_similarity(a, b, dim=0) for a, b in pairs])) if cos else right[1],
    )


def row_by_row(before: list[Tensor], after: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The cosine along the last axis of each tensor, averaged."""
    pairs = zip(before, after, strict=True)
    cosines = [F.cosine_similarity(torch.atleast_1d(a), torch.atleast_1d(b), dim=-1).mean() for a, b in pairs]
    return shift(before, after)[0], torch.stack(cosines).mean()


def guarded_cosine(added: float) -> tuple[Between, ...]:
    """The cosine with a number added to the product of the lengths, or to each of them."""
    return (
        lambda a, b: (a * b).sum() / (length(a) * length(b) + added),
        lambda a, b: (a * b).sum() / ((length(a) + added) * (length(b) + added)),
    )


GUARDED_SHIFTS = tuple(partial(shift, cos=cos) for cos in guarded_cosine(GUARD))


def other_way_round(before: list[Tensor], after: list[Tensor]) -> tuple[Tensor, Tensor]:
    return shift(before, after)[::-1]


SHIFT_MISTAKES = (
    mistake(
        "layer_by_layer",
        """Each tensor is compared by itself, and the results are averaged or added up. The gradient is one
        vector with an entry for every parameter of the network. Join the tensors first, then compare: a small
        layer then counts little, and one without a gradient does no harm.""",
        layer_by_layer,
        partial(layer_by_layer, l2=torch.sum),
        partial(layer_by_layer, l2=None),
        partial(layer_by_layer, cos=None),
        partial(layer_by_layer, l2=torch.sum, cos=None),
        row_by_row,
    ),
    mistake(
        "squared_distance",
        "The distance is squared, or averaged over the entries. l2 is the root of the sum of squares.",
        partial(shift, l2=lambda a, b: (a - b).square().sum()),
        partial(shift, l2=lambda a, b: (a - b).square().mean()),
        partial(shift, l2=lambda a, b: (a - b).square().mean().sqrt()),
    ),
    mistake(
        "sum_of_absolutes",
        """The distance is the sum or mean of absolute differences. l2 is the root of the sum of squared
        differences.""",
        partial(shift, l2=lambda a, b: (a - b).abs().sum()),
        partial(shift, l2=lambda a, b: (a - b).abs().mean()),
    ),
    mistake(
        "relative_distance",
        """The distance is divided by the length of a gradient, as in the lecture. Here we want the plain
        distance. Only the cosine doesn't depend on lengths.""",
        *(
            partial(shift, l2=lambda a, b, added=added: distance(a, b) / (length(a) + added))
            for added in (0.0, 1e-12, 1e-8)
        ),
        partial(shift, l2=lambda a, b: distance(a, b) / length(b)),
    ),
    mistake(
        "difference_of_lengths",
        """The lengths of the two gradients are subtracted. Two gradients of the same length can point in
        opposite directions: subtract the vectors, then take the length.""",
        partial(shift, l2=lambda a, b: (length(a) - length(b)).abs()),
        partial(shift, l2=lambda a, b: length(b) - length(a)),
    ),
    mistake(
        "distance_by_cancellation",
        """The distance is computed from the lengths and the dot product. On paper that is the same. But if
        the two gradients are nearly the same, large numbers cancel and float32 keeps no digit. Subtract
        first, then square.""",
        partial(shift, l2=lambda a, b: ((a * a).sum() + (b * b).sum() - 2 * (a * b).sum()).sqrt()),
        partial(
            shift, l2=lambda a, b: ((a * a).sum() + (b * b).sum() - 2 * (a * b).sum()).clamp_min(0).sqrt()
        ),
        rounding=True,
    ),
    mistake(
        "eps_in_distance",
        """A small number is added to every difference, as F.pairwise_distance does by default. Two identical
        lists then have a distance, and small distances lose their digits.""",
        partial(shift, l2=lambda a, b: length(a - b + 1e-6)),
        partial(shift, l2=lambda a, b: length(a - b + 1e-8)),
        partial(shift, l2=lambda a, b: ((a - b).square().sum() + 1e-8).sqrt()),
    ),
    mistake(
        "number_added",
        """A small number is added to the lengths in the divisor, or to their product. The cosine then comes
        out too close to 0. The tensors of a list are never all zeros together, so no length is 0.""",
        *(
            partial(shift, cos=cos)
            for added in (1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5)
            for cos in guarded_cosine(added)
        ),
        *(
            partial(
                shift,
                cos=lambda a, b, added=added: (a * b).sum() / ((a * a).sum() * (b * b).sum() + added).sqrt(),
            )
            for added in (1e-8, 1e-6)
        ),
    ),
    mistake(
        "cosine_distance",
        """This is 1 minus the cosine. We want the cosine itself: 1 if both gradients point the same way, −1
        if they are opposite.""",
        partial(shift, cos=lambda a, b: 1 - cosine(a, b)),
    ),
    mistake(
        "angle_for_cosine",
        "This is the angle between the two gradients. We want its cosine.",
        partial(shift, cos=lambda a, b: cosine(a, b).clamp(-1, 1).acos()),
        partial(shift, cos=lambda a, b: torch.rad2deg(cosine(a, b).clamp(-1, 1).acos())),
    ),
    mistake(
        "cosine_not_normalized",
        """The dot product isn't divided by both lengths. A cosine compares directions only, and always lies
        between −1 and 1.""",
        partial(shift, cos=lambda a, b: (a * b).sum()),
        partial(shift, cos=lambda a, b: (a * b).mean()),
        partial(shift, cos=lambda a, b: (a * b).sum() / length(a)),
        partial(shift, cos=lambda a, b: (a * b).sum() / length(b)),
        partial(shift, cos=lambda a, b: (a * b).sum() / length(a).square()),
        partial(shift, cos=lambda a, b: (a * b).sum() / (length(a) * length(b)).square()),
        partial(shift, cos=lambda a, b: (a * b).sum() / (length(a) + length(b))),
    ),
    mistake(
        "correlation_for_cosine",
        """The mean is subtracted from each gradient first, which makes this a correlation. The direction of a
        gradient includes its mean.""",
        partial(shift, cos=lambda a, b: cosine(a - a.mean(), b - b.mean())),
    ),
    mistake(
        "cosine_without_sign",
        """The cosine has lost its sign, by an absolute value or a square. It is negative if the gradient has
        turned by more than a right angle. A step along the old one then leads uphill.""",
        partial(shift, cos=lambda a, b: cosine(a, b).abs()),
        partial(shift, cos=lambda a, b: cosine(a, b).square()),
    ),
    mistake(
        "lengths_by_layer",
        """The products of the two gradients are added up over the layers, and so are the products of their
        lengths. Divide by the lengths of the two whole vectors instead: those add up by Pythagoras.""",
        lambda before, after: (
            shift(before, after)[0],
            sum((a * b).sum() for a, b in zip(before, after, strict=True))
            / sum(length(a) * length(b) for a, b in zip(before, after, strict=True)),
        ),
    ),
    mistake(
        "swapped",
        "The two numbers are swapped: the distance comes first, the cosine second.",
        other_way_round,
    ),
)


# -- along the gradient ------------------------------------------------------------------------------


def gradient_at(loss_fn: Loss, w: Tensor) -> Tensor:
    """The gradient, with w itself left out of autograd."""
    leaf = w.detach().clone().requires_grad_()
    return torch.autograd.grad(loss_fn(leaf), leaf)[0]


def library_losses(loss_fn: Loss, w: Tensor, step_sizes: Sequence[float] | Tensor) -> Tensor:
    """The same by `torch.func`."""
    gradient = torch.func.grad(loss_fn)(w)
    return torch.stack([loss_fn(w - size * gradient) for size in step_sizes])


def library_changes(loss_fn: Loss, w: Tensor, step_sizes: Sequence[float] | Tensor) -> Tensor:
    """The same by `torch.func`."""
    derivative = torch.func.grad(loss_fn)
    gradient = derivative(w)
    return torch.stack([torch.dist(gradient, derivative(w - size * gradient)) for size in step_sizes])


def direct(w: Tensor, gradient: Tensor, step_sizes: Any, loss_fn: Loss) -> list[Tensor]:
    """The points to look at: all of them reached from w."""
    return [w - size * gradient for size in step_sizes]


def cumulative(w: Tensor, gradient: Tensor, step_sizes: Any, loss_fn: Loss) -> list[Tensor]:
    """Each step taken from the point where the last one ended, along the first gradient."""
    points = []
    for size in step_sizes:
        w = w - size * gradient
        points.append(w)
    return points


def descent(w: Tensor, gradient: Tensor, step_sizes: Any, loss_fn: Loss) -> list[Tensor]:
    """Gradient descent: a new gradient at every point."""
    points = []
    for size in step_sizes:
        w = w - size * gradient_at(loss_fn, w)
        points.append(w)
    return points


def in_single_precision(w: Tensor, gradient: Tensor, step_sizes: Any, loss_fn: Loss) -> list[Tensor]:
    """Step sizes that are numbers become a tensor of the default dtype."""
    return direct(w, gradient, torch.as_tensor(step_sizes, device=w.device), loss_fn)


def along(
    loss_fn: Loss,
    w: Tensor,
    step_sizes: Sequence[float] | Tensor,
    *,
    measure: Callable[[Loss, Tensor, Tensor, Tensor], Tensor],
    direction: Callable[[Tensor], Tensor] = lambda gradient: gradient,
    points: Callable[..., list[Tensor]] = direct,
    paired: Callable[[list[Tensor], Tensor], list[Tensor]] = lambda points, w: [w] * len(points),
    marked: bool = False,
    filled: bool = False,
) -> Tensor:
    """What `measure(loss_fn, start, gradient, point)` gives at each point, with a knob for each choice.

    paired: the start that goes with each point. marked: w is left with requires_grad. filled: with .grad.
    """
    gradient = gradient_at(loss_fn, w)
    reached = points(w, direction(gradient), step_sizes, loss_fn)
    starts = paired(reached, w)
    values = [measure(loss_fn, start, gradient, point) for start, point in zip(starts, reached, strict=True)]
    if filled:
        w.grad = gradient.clone()
    if marked:
        w.requires_grad_()
    return torch.stack(values)


def loss_there(loss_fn: Loss, start: Tensor, gradient: Tensor, point: Tensor) -> Tensor:
    return loss_fn(point)


losses = partial(along, measure=loss_there)


def change(
    loss_fn: Loss,
    start: Tensor,
    gradient: Tensor,
    point: Tensor,
    *,
    result: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda before, after, step: length(before - after),
) -> Tensor:
    """How much the gradient has changed; `result` gets both gradients and the step between."""
    return result(gradient_at(loss_fn, start), gradient_at(loss_fn, point), point - start)


changes = partial(along, measure=change)


def changes_by(result: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable:
    """`changes` with another way to compare the two gradients."""
    return partial(along, measure=partial(change, result=result))


def changes_added_up(loss_fn: Loss, w: Tensor, step_sizes: Sequence[float] | Tensor, *, kept: bool) -> Tensor:
    """One leaf for all points, whose .grad collects every backward pass.

    kept: the gradient at w is a copy, and not .grad itself.
    """
    leaf = w.detach().clone().requires_grad_()
    loss_fn(leaf).backward()
    gradient = leaf.grad.clone() if kept else leaf.grad
    start, found = leaf.grad.clone(), []
    for size in step_sizes:
        leaf.data.copy_(w - size * start)
        loss_fn(leaf).backward()
        found.append(length(gradient - leaf.grad))
    return torch.stack(found)


def changes_through_the_step(loss_fn: Loss, w: Tensor, step_sizes: Sequence[float] | Tensor) -> Tensor:
    """The gradient of loss_fn(w − s·∇loss(w)) for w itself, in which the step depends on w too."""
    leaf = w.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss_fn(leaf), leaf, create_graph=True)
    if not gradient.requires_grad:  # a loss without curvature
        gradient = gradient + 0 * leaf
    there = [loss_fn(leaf - size * gradient) for size in step_sizes]
    found = [torch.autograd.grad(loss, leaf, retain_graph=True)[0] for loss in there]
    return torch.stack([length(gradient - one) for one in found]).detach()


def unit(gradient: Tensor) -> Tensor:
    return gradient / length(gradient)


def path_mistakes(make: Callable[..., Tensor], what: str) -> tuple:
    """The mistakes in the way along the gradient, for an exercise that measures `what` there."""
    return (
        mistake(
            "uphill",
            f"""The steps go along the gradient, uphill. We want {what} at w − s·gradient, not at
            w + s·gradient.""",
            partial(make, direction=torch.neg),
        ),
        mistake(
            "steps_added_up",
            """Each step starts where the last one ended, so the later points are too far away (or this is a
            descent with new gradients). Every step starts at the same w and goes along the gradient at w.""",
            partial(make, points=cumulative),
            partial(make, points=descent),
        ),
        mistake(
            "direction_of_length_one",
            """The gradient is scaled to length 1 (or to its signs) before the steps. A step of size s moves w
            by s times the gradient as it is, so where the slope is steep the point is further away.""",
            partial(make, direction=unit),
            *(
                partial(make, direction=lambda gradient, added=added: gradient / (length(gradient) + added))
                for added in (1e-12, 1e-8, 1e-6)
            ),
            partial(make, direction=torch.sign),
        ),
        mistake(
            "single_precision_inside",
            """In float64 half of the digits are missing, as where something passes through float32:
            torch.tensor makes that of a list of Python numbers. Give every tensor that you make the dtype of
            w.""",
            partial(make, points=in_single_precision),
            lambda *given: make(*given).float().to(given[1].dtype),
            rounding=True,
        ),
        mistake(
            "w_drawn_into_autograd",
            """Afterwards w has requires_grad, or holds a gradient in .grad. It is the caller's tensor: take
            the gradient of a detached copy.""",
            partial(make, marked=True),
            partial(make, filled=True),
            partial(make, marked=True, filled=True),
        ),
    )


LOSS_MISTAKES = (
    *path_mistakes(losses, "the loss"),
    mistake(
        "change_of_loss",
        """These are differences from the loss at w, or ratios to it. We want the loss at each point, so a
        step size of 0 gives the loss at w.""",
        partial(along, measure=lambda loss_fn, w, gradient, point: loss_fn(point) - loss_fn(w)),
        partial(along, measure=lambda loss_fn, w, gradient, point: loss_fn(w) - loss_fn(point)),
        partial(along, measure=lambda loss_fn, w, gradient, point: (loss_fn(w) - loss_fn(point)).abs()),
        partial(along, measure=lambda loss_fn, w, gradient, point: loss_fn(point) / loss_fn(w)),
    ),
    mistake(
        "straight_line",
        """This is what the gradient promises: loss(w) − s·‖gradient‖², a straight line. We want to see how
        far the loss itself departs from it, so call loss_fn at each point.""",
        partial(
            along,
            measure=lambda loss_fn, w, gradient, point: loss_fn(w) + (gradient * (point - w)).sum(),
        ),
    ),
    mistake(
        "loss_of_step",
        """The loss is taken at the step itself, −s·gradient, or at the gradient. Start from w: the point is w
        − s·gradient.""",
        partial(along, measure=lambda loss_fn, w, gradient, point: loss_fn(point - w)),
        partial(along, measure=lambda loss_fn, w, gradient, point: loss_fn(w - point)),
    ),
    mistake(
        "start_left_behind",
        """Your values lag one step behind: the first is the loss at w itself, and the last step size isn't
        used. Take the step, then the loss.""",
        partial(
            along,
            points=lambda w, gradient, sizes, loss_fn: [w, *direct(w, gradient, sizes, loss_fn)[:-1]],
            measure=loss_there,
        ),
        partial(
            along,
            points=lambda w, gradient, sizes, loss_fn: [w, *cumulative(w, gradient, sizes, loss_fn)[:-1]],
            measure=loss_there,
        ),
        partial(
            along,
            points=lambda w, gradient, sizes, loss_fn: [w, *descent(w, gradient, sizes, loss_fn)[:-1]],
            measure=loss_there,
        ),
    ),
)

CHANGE_MISTAKES = (
    *path_mistakes(changes, "the gradient"),
    mistake(
        "previous_point",
        """Each gradient is compared with the one at the point before. The question is how far the gradient at
        w can be trusted, so compare all of them with that one.""",
        partial(changes, paired=lambda points, w: [w, *points[:-1]]),
    ),
    mistake(
        "difference_of_norms",
        """The norms of the two gradients are subtracted. A gradient can turn and keep its norm: subtract the
        vectors first, then take the norm.""",
        changes_by(lambda before, after, step: (length(before) - length(after)).abs()),
        changes_by(lambda before, after, step: length(before) - length(after)),
        changes_by(lambda before, after, step: length(after) - length(before)),
    ),
    mistake(
        "new_gradient_alone",
        """These are the norms of the gradients at the new points. Subtract the gradient at w first: a step of
        0 changes nothing, so it should give 0.""",
        changes_by(lambda before, after, step: length(after)),
    ),
    mistake(
        "squared_norm",
        "The norm is squared, or averaged over the entries. It is the root of the sum of squares.",
        changes_by(lambda before, after, step: (before - after).square().sum()),
        changes_by(lambda before, after, step: (before - after).square().mean()),
        changes_by(lambda before, after, step: (before - after).square().mean().sqrt()),
    ),
    mistake(
        "other_norm",
        """This is the sum of absolute values, or the largest of them. We want the Euclidean norm, the root of
        the sum of squares.""",
        changes_by(lambda before, after, step: (before - after).abs().sum()),
        changes_by(lambda before, after, step: (before - after).abs().amax()),
    ),
    mistake(
        "spectral_norm",
        """When w is a matrix, this is the largest singular value of the difference. The Euclidean norm takes
        all entries as one long vector. For a matrix, torch.linalg.norm with ord=2 doesn't.""",
        changes_by(lambda before, after, step: torch.linalg.norm(before - after, 2)),
    ),
    mistake(
        "change_per_distance",
        """The change is divided by the length of the step or by its size. That measures smoothness: how fast
        the gradient changes. We want the change itself, which grows with the step.""",
        changes_by(lambda before, after, step: length(before - after) / length(step)),
        changes_by(lambda before, after, step: length(before - after) * length(before) / length(step)),
    ),
    mistake(
        "relative_change",
        """The change is divided by the norm of a gradient, as in the lecture. Here we want the plain norm of
        the difference.""",
        *(
            changes_by(
                lambda before, after, step, added=added: length(before - after) / (length(before) + added)
            )
            for added in (0.0, 1e-12, 1e-8)
        ),
        changes_by(lambda before, after, step: length(before - after) / length(after)),
    ),
    mistake(
        "gradients_added_up",
        """.grad isn't cleared between the backward passes, so each one adds to it what was there before: your
        second gradient is a sum of several. Ask torch.autograd.grad for each, or start from a new copy.""",
        partial(changes_added_up, kept=True),
    ),
    mistake(
        "gradient_overwritten",
        """Every change is 0, because one tensor is subtracted from itself: .grad stays the same tensor from
        one backward pass to the next, so what you kept of the first changes with it. Keep a copy, or ask
        torch.autograd.grad for each gradient.""",
        partial(changes_added_up, kept=False),
    ),
    mistake(
        "step_differentiated",
        """The second gradient is taken for w through the step, which depends on w too: by the chain rule that
        multiplies it by 1 − s·Hessian. We want the gradient of the loss at the new point, as if nobody knew
        how we came there. Detach the point first.""",
        changes_through_the_step,
    ),
    mistake(
        "number_added",
        """A small number is added to every difference, as F.pairwise_distance does by default, or under the
        root. A step of 0 then changes something, and small changes lose their digits.""",
        *(
            changes_by(lambda before, after, step, added=added: length(before - after + added))
            for added in (1e-8, 1e-6)
        ),
        *(
            changes_by(
                lambda before, after, step, added=added: ((before - after).square().sum() + added).sqrt()
            )
            for added in (1e-12, 1e-10, 1e-8)
        ),
    ),
    mistake(
        "cosine_for_difference",
        """The two gradients are compared by their cosine. We want the length of their difference, which also
        shows when a gradient grows.""",
        changes_by(lambda before, after, step: cosine(before, after)),
        changes_by(lambda before, after, step: 1 - cosine(before, after)),
    ),
    mistake(
        "losses_compared",
        """Losses are compared, not gradients. We want to know how much the gradient has changed at the new
        point.""",
        partial(along, measure=lambda loss_fn, w, gradient, point: (loss_fn(w) - loss_fn(point)).abs()),
        partial(along, measure=lambda loss_fn, w, gradient, point: loss_fn(w) - loss_fn(point)),
        partial(along, measure=loss_there),
    ),
)


# -- the sharpest direction --------------------------------------------------------------------------

Product = Callable[[Tensor], Tensor]


def by_eigenvectors(hvp: Product, v: Tensor, iterations: int) -> Tensor:
    """The same without iterating: each eigenvector's share of v grows by its eigenvalue."""
    hessian = torch.stack([hvp(row) for row in torch.eye(len(v), dtype=v.dtype, device=v.device)])
    values, vectors = torch.linalg.eigh(hessian)
    scale = values.abs().max()
    shares = (vectors.T @ v).square() * (values / scale) ** (2 * iterations)
    return (shares * values).sum() / shares.sum()


def quotient(v: Tensor, hv: Tensor) -> Tensor:
    return (v * hv).sum() / (v * v).sum()


def power(
    hvp: Product,
    v: Tensor,
    iterations: int,
    *,
    count: Callable[[int], int] = lambda iterations: iterations,
    start: Callable[[Tensor], Tensor] = lambda v: v,
    rescaled: Callable[[Tensor], Tensor] = lambda v: v / length(v),
    result: Callable[[Tensor, Tensor], Tensor] = quotient,
) -> Tensor:
    """The definition, with a knob for each step; `result` gets the last v and its Hessian-vector product."""
    v = start(v)
    for _ in range(count(iterations)):
        v = rescaled(hvp(v))
    return result(v, hvp(v))


def guarded_unit(v: Tensor) -> Tensor:
    return v / (length(v) + GUARD)


GUARDED_POWERS = (
    partial(power, rescaled=guarded_unit, result=lambda v, hv: (v * hv).sum() / ((v * v).sum() + GUARD)),
    partial(power, start=guarded_unit, rescaled=guarded_unit, result=lambda v, hv: (v * hv).sum()),
    partial(
        power, start=lambda v: v / length(v), result=lambda v, hv: (v * hv).sum() / ((v * v).sum() + GUARD)
    ),
)


def until_settled(hvp: Product, v: Tensor, iterations: int, *, small: float, last: bool) -> Tensor:
    """Stops where an iteration hardly changes v any more. last: the newest v is the one that counts."""
    for _ in range(iterations):
        new = hvp(v) / length(hvp(v))
        settled = length(new - v) < small
        v = new if last or not settled else v
        if settled:
            break
    return quotient(v, hvp(v))


def until_eigenvalue_settles(
    hvp: Product, v: Tensor, iterations: int, *, small: float, relative: bool
) -> Tensor:
    """Stops where an iteration hardly changes the quotient any more."""
    value = quotient(v, hvp(v))
    for _ in range(iterations):
        before = value
        v = hvp(v) / length(hvp(v))
        value = quotient(v, hvp(v))
        if (value - before).abs() < small * (value.abs() if relative else 1):
            break
    return value


def length_and_more(v: Tensor, number: float) -> Tensor:
    return v / (length(v) + number)


def length_or_more(v: Tensor, number: float) -> Tensor:
    return v / length(v).clamp_min(number)


def last_length(hvp: Product, v: Tensor, iterations: int, *, signed: bool) -> Tensor:
    """What the last iteration divided by; the quotient where there was none. signed: with its sign."""
    value = quotient(v, hvp(v))
    for _ in range(iterations):
        hv = hvp(v / length(v))
        value = length(hv) * (torch.sign((v * hv).sum()) if signed else 1)
        v = hv
    return value


POWER_MISTAKES = (
    mistake(
        "one_iteration_off",
        """There is one iteration too many, or one too few. After no iteration the result is the Rayleigh
        quotient of v as it came. Every iteration multiplies by the Hessian once; the quotient takes one more
        product.""",
        partial(power, count=lambda iterations: iterations + 1),
        partial(power, count=lambda iterations: max(iterations - 1, 0)),
    ),
    mistake(
        "sign_lost",
        """The eigenvalue has lost its sign. The length of the product gives its size only. The Rayleigh
        quotient keeps the sign, and a negative one means that the loss bends down.""",
        partial(power, result=lambda v, hv: quotient(v, hv).abs()),
        partial(power, result=lambda v, hv: length(hv) / length(v)),
        partial(power, result=lambda v, hv: length(hv)),
        partial(last_length, signed=False),
    ),
    mistake(
        "length_with_sign",
        """The size is the length of the product Hv, and only the sign comes from the product of v with Hv.
        Until v is an eigenvector, that length is larger than the size of the Rayleigh quotient. Take the
        product of v with Hv for both.""",
        partial(power, result=lambda v, hv: length(hv) / length(v) * torch.sign((v * hv).sum())),
        partial(power, result=lambda v, hv: length(hv) * torch.sign((v * hv).sum())),
        partial(last_length, signed=True),
    ),
    mistake(
        "quotient_not_divided",
        """The product of v with Hv isn't divided by that of v with itself. It makes no difference when v has
        length 1. But v need not come that way, and after 0 iterations it still has its old length.""",
        partial(power, result=lambda v, hv: (v * hv).sum()),
        partial(power, result=lambda v, hv: (v * hv).sum() / length(v)),
    ),
    mistake(
        "never_rescaled",
        """v isn't scaled back to length 1 between the iterations. It grows or shrinks by the eigenvalue every
        time. After enough of them it is inf or 0, and the quotient is NaN.""",
        partial(power, rescaled=lambda v: v),
        partial(power, rescaled=lambda v: v, result=lambda v, hv: (v * hv).sum()),
    ),
    mistake(
        "entries_compared",
        """Entries of Hv and v are compared. That is right only once v is an eigenvector. The Rayleigh
        quotient uses all entries and gets much closer before that.""",
        partial(power, result=lambda v, hv: (hv / v).mean()),
        partial(power, result=lambda v, hv: hv.abs().amax() / v.abs().amax()),
        partial(power, result=lambda v, hv: (hv / v).abs().amax()),
        partial(power, result=lambda v, hv: hv.sum() / v.sum()),
        partial(power, result=lambda v, hv: hv[0] / v[0]),
    ),
    mistake(
        "eigenvalue_squared",
        """This is the quotient of the squared Hessian: the product of Hv with Hv. One of the two factors
        should be v itself.""",
        partial(power, result=lambda v, hv: (hv * hv).sum() / (v * v).sum()),
    ),
    mistake(
        "quotient_upside_down",
        "The quotient is upside down: divide the product of v with Hv by that of v with v.",
        partial(power, result=lambda v, hv: (v * v).sum() / (v * hv).sum()),
    ),
    mistake(
        "iterations_fixed",
        """The number of iterations doesn't follow the argument. Is there a fixed number in your code, or does
        it go on only until something settles?""",
        *(partial(power, count=lambda iterations, fixed=fixed: fixed) for fixed in (1, 10, 20, 60)),
        *(
            partial(until_settled, small=small, last=last)
            for small in (1e-6, 1e-5, 1e-4)
            for last in (True, False)
        ),
        *(
            partial(until_eigenvalue_settles, small=small, relative=relative)
            for small in (1e-8, 1e-6, 1e-4, 1e-3)
            for relative in (True, False)
        ),
    ),
    mistake(
        "number_added",
        """A small number is added to the length that v is divided by, so v doesn't have length 1. Then the
        product of v with Hv is too small. The quotient would make up for it: divide by the product of v with
        itself.""",
        *(
            partial(
                power,
                start=lambda v, added=added: v / (length(v) + added),
                rescaled=lambda v, added=added: v / (length(v) + added),
                result=lambda v, hv: (v * hv).sum(),
            )
            for added in (1e-10, 1e-8, 1e-7, 1e-6)
        ),
    ),
    mistake(
        "number_in_quotient",
        """A small number is added to the product of v with itself. That product is never 0, so the quotient
        needs no help; with the number it comes out too small.""",
        *(
            partial(
                power, start=start, result=lambda v, hv, added=added: (v * hv).sum() / ((v * v).sum() + added)
            )
            for added in (1e-10, 1e-8, 1e-6)
            for start in (lambda v: v, lambda v: v / length(v))
        ),
    ),
    mistake(
        "length_limited",
        """v is divided by its length plus a number, or by that number where the length is less. Eigenvalues
        can be smaller than the number. Then every iteration makes v shorter, until it is 0 and the quotient
        has no digits, or is 0/0. Divide by the length alone.""",
        *(
            partial(power, start=start, rescaled=partial(rescaled, number=number))
            for number in (1e-8, 1e-6, 1e-5)
            for rescaled in (length_and_more, length_or_more)
            for start in (lambda v: v, lambda v: v / length(v))
        ),
        *(
            partial(
                power,
                start=lambda v: v / length(v),
                rescaled=partial(length_or_more, number=number),
                result=lambda v, hv: (v * hv).sum(),
            )
            for number in (1e-8, 1e-6, 1e-5)
        ),
        rounding=True,
    ),
    mistake(
        "start_replaced",
        """The iterations don't start from v but from another vector. The caller chooses the start, and after
        few iterations it shows.""",
        partial(power, start=torch.ones_like),
        partial(power, start=lambda v: torch.ones_like(v).cumsum(0)),
    ),
)


# -- the largest step --------------------------------------------------------------------------------


def rate_by_bisection(eigenvalue: Any, beta: float) -> Any:
    """The step at which the spectral radius of the iteration passes 1, found by halving.

    The matrix takes (w, v) to (w − lr·(beta·v + λ·w), beta·v + λ·w). Its eigenvalues are the roots of
    z² − (1 + beta − s)·z + beta with s = lr·λ; s alone is looked for.
    """
    if eigenvalue <= 0:
        raise ValueError("the eigenvalue must be positive")

    def radius(s: float) -> float:
        matrix = torch.tensor([[1 - s, -beta], [s, beta]], dtype=torch.float64)
        return float(torch.linalg.eigvals(matrix).abs().max())

    low, high = 1e-3, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if radius(middle) < 1 else (low, middle)
    return low / eigenvalue


def rate(
    eigenvalue: Any,
    beta: float,
    *,
    factor: Callable[[float], float] = lambda beta: 2 * (1 + beta),
    quotient: Callable[[float, Tensor], Tensor] = lambda factor, value: factor / value,
    allowed: Callable[[Any], bool] = lambda eigenvalue: bool(eigenvalue > 0),
    otherwise: Callable[[], Any] | None = None,
) -> Any:
    """The definition, with a knob for each of its pieces.

    factor: what beta makes. quotient: of that and the eigenvalue. otherwise: what happens where the
    eigenvalue is not allowed.
    """
    if not allowed(eigenvalue):
        if otherwise is None:
            raise ValueError("the eigenvalue must be positive")
        return otherwise()
    if isinstance(eigenvalue, Tensor):
        return quotient(factor(beta), eigenvalue)
    return float(quotient(factor(beta), torch.tensor(eigenvalue, dtype=torch.float64)))


def rate_by_default_dtype(eigenvalue: Any, beta: float) -> Any:
    """A Python number becomes a tensor of the default dtype, and a number again."""
    if isinstance(eigenvalue, Tensor):
        return rate(eigenvalue, beta)
    return float(rate(torch.tensor(eigenvalue, dtype=torch.float32), beta))


def with_error(error: type[Exception]) -> Callable:
    """The definition with another exception."""

    def raising() -> None:
        raise error("the eigenvalue must be positive")

    return partial(rate, otherwise=raising)


RATE_MISTAKES = (
    mistake(
        "momentum_ignored",
        """This is 2 over the eigenvalue, whatever beta is: the limit of plain gradient descent. Momentum
        changes the step at which the path begins to swing out. Which way?""",
        partial(rate, factor=lambda beta: 2.0),
    ),
    mistake(
        "smaller_with_momentum",
        """Your limit falls as beta grows. With momentum, steps along a slope add up. But across a valley they
        change sign each time, and the old velocity works against the new gradient. The limit is set there,
        and it rises.""",
        partial(rate, factor=lambda beta: 2 * (1 - beta)),
        partial(rate, factor=lambda beta: 2 / (1 + beta)),
        partial(rate, factor=lambda beta: 1 - beta),
        partial(rate, factor=lambda beta: 2 * (1 - beta) / (1 + beta)),
    ),
    mistake(
        "averaged_velocity",
        """This is the limit for a velocity that is an average, v ← beta·v + (1 − beta)·g, whose steps are
        shorter by 1 − beta. PyTorch adds the whole gradient: v ← beta·v + g.""",
        partial(rate, factor=lambda beta: 2 * (1 + beta) / (1 - beta)),
    ),
    mistake(
        "effective_step",
        """The step is stretched or shortened by 1 / (1 − beta), which fits a slope that never changes. At the
        limit the gradient changes its sign at every step, so the velocity can't add up.""",
        partial(rate, factor=lambda beta: 2 / (1 - beta)),
        partial(rate, factor=lambda beta: (1 + beta) / (1 - beta)),
    ),
    mistake(
        "fastest_not_largest",
        """That step converges quickly, but longer ones still converge. At the largest, one of the two roots
        of the iteration reaches −1.""",
        partial(rate, factor=lambda beta: (1 + math.sqrt(beta)) ** 2),
        partial(rate, factor=lambda beta: (1 - math.sqrt(beta)) ** 2),
        partial(rate, factor=lambda beta: 1 + beta),
        partial(rate, factor=lambda beta: 1.0),
    ),
    mistake(
        "limit_of_nesterov",
        """This is the limit of Nesterov's step, which adds the new gradient once more. A heavy ball converges
        up to a larger learning rate. Its limit grows with beta, and the other one falls.""",
        partial(rate, factor=lambda beta: 2 * (1 + beta) / (1 + 2 * beta)),
    ),
    mistake(
        "factor_two",
        """The factor in front is off. Look at beta = 0, where nothing else is left and the limit is that of
        plain gradient descent.""",
        partial(rate, factor=lambda beta: 4 * (1 + beta)),
        partial(rate, factor=lambda beta: (1 + beta) / 2),
    ),
    mistake(
        "other_formula",
        """beta enters in the wrong way. Each step is a linear recurrence in w, with a polynomial of second
        degree. At the limit −1 is one of its roots. Which learning rate makes it one?""",
        partial(rate, factor=lambda beta: 2 * (1 + beta**2)),
        partial(rate, factor=lambda beta: 2 * (1 + math.sqrt(beta))),
        partial(rate, factor=lambda beta: 2 * (1 + beta) ** 2),
        partial(rate, factor=lambda beta: 2 + beta),
        partial(rate, factor=lambda beta: 2 + 4 * beta),
    ),
    mistake(
        "eigenvalue_upside_down",
        """The limit grows with the eigenvalue. The sharper the valley, the shorter the step it allows: divide
        by the eigenvalue.""",
        partial(rate, quotient=lambda factor, value: factor * value),
        partial(rate, quotient=lambda factor, value: value / factor),
    ),
    mistake(
        "other_power",
        """The eigenvalue enters with another power, or something is added to it. In a step, lr and the
        eigenvalue appear only as a product. So half the eigenvalue allows twice the lr.""",
        partial(rate, quotient=lambda factor, value: factor / value.sqrt()),
        partial(rate, quotient=lambda factor, value: factor / value.square()),
        partial(rate, quotient=lambda factor, value: factor / (1 + value)),
        *(
            partial(rate, quotient=lambda factor, value, added=added: factor / (value + added))
            for added in (1e-10, 1e-8, 1e-7, 1e-6)
        ),
    ),
    mistake(
        "single_precision_inside",
        """Half of the digits are missing where the eigenvalue is a Python number, as where it passes through
        float32: torch.tensor makes that of it. A number needs no tensor here.""",
        rate_by_default_dtype,
        rounding=True,
    ),
    mistake(
        "error_missing",
        """No ValueError is raised when the eigenvalue isn't positive. There the loss is flat or bends down,
        so no learning rate is the largest stable one. A negative number or inf would mislead.""",
        partial(rate, allowed=lambda eigenvalue: True),
        lambda eigenvalue, beta: 2 * (1 + beta) / eigenvalue,
        *(partial(rate, otherwise=lambda value=value: value) for value in (math.inf, math.nan, 0.0, None)),
    ),
    mistake(
        "zero_let_through",
        """An eigenvalue of 0 gets through. It isn't positive: the loss is flat there, and any learning rate
        is as good as another.""",
        partial(rate, allowed=lambda eigenvalue: bool(eigenvalue >= 0)),
        lambda eigenvalue, beta: (2 if eigenvalue >= 0 else math.sqrt(-1)) * (1 + beta) / eigenvalue,
    ),
    mistake(
        "negative_let_through",
        """A negative eigenvalue gets through. Along its direction the loss bends down, and no positive step
        is stable there.""",
        partial(rate, allowed=lambda eigenvalue: bool(eigenvalue != 0)),
    ),
    mistake(
        "other_error",
        """An error is raised, but not a ValueError, which is what the caller expects. An assert can be
        switched off, and other kinds mean other things.""",
        *(with_error(error) for error in (AssertionError, RuntimeError, TypeError, ZeroDivisionError)),
    ),
)


# -- a step that keeps the norms ---------------------------------------------------------------------


def row_norms(w: Tensor, axes: tuple[int, ...] | None = None) -> Tensor:
    """(O, 1, …): the norm of each row, taken as one vector; axes: over others."""
    axes = tuple(range(1, w.dim())) if axes is None else axes
    return w.square().sum(axes, keepdim=True).sqrt()


def over_rows(w: Tensor, measure: Callable[[Tensor], Tensor]) -> Tensor:
    """(O, 1, …): this of each row, taken as one vector."""
    return measure(w.flatten(1)).reshape(-1, *(1,) * (w.dim() - 1))


def by_weight_norm(w: Tensor, g: Tensor, lr: float) -> Tensor:
    """`torch._weight_norm` gives the rows of the plain step the norms of w."""
    norms = torch.linalg.vector_norm(w, dim=tuple(range(1, w.dim())), keepdim=True)
    return torch._weight_norm((w - lr * g).contiguous(), norms, 0)


def frozen(
    w: Tensor,
    g: Tensor,
    lr: float,
    *,
    taken: Callable[[Tensor, Tensor], Tensor] = lambda w, g: g,
    norms: Callable[[Tensor], Tensor] = row_norms,
    result: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda new, before, after: new * (before / after),
) -> Tensor:
    """The definition: a plain step, and every row brought back to its norm.

    taken: the gradient that is used. norms: of what. result: from the step and the norms before and after.
    """
    new = w - lr * taken(w, g)
    return result(new, norms(w), norms(new))


GUARDED_ROWS = (
    partial(frozen, result=lambda new, before, after: new * (before / (after + GUARD))),
    partial(frozen, result=lambda new, before, after: new * (before / (after.square() + GUARD).sqrt())),
)


def tangent(w: Tensor, g: Tensor) -> Tensor:
    """The gradient without its part along each row."""
    along = (w * g).flatten(1).sum(1).reshape(row_norms(w).shape)
    return g - w * (along / row_norms(w).square()).nan_to_num()


def unscaled(new: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return new


FROZEN_MISTAKES = (
    mistake(
        "not_rescaled",
        """This is the plain step, and it changes the norms of the rows. Scale each row back to the length it
        had: that is the whole point of the ablation.""",
        partial(frozen, result=unscaled),
    ),
    mistake(
        "tangent_only",
        """The part of the gradient along each row is taken out, and nothing else is done. By Pythagoras a
        step at right angles still makes the row longer, so it grows step by step.""",
        partial(frozen, taken=tangent, result=unscaled),
    ),
    mistake(
        "radial_part_removed",
        """The norms are right, but the directions aren't. The part of the gradient along the row is taken out
        before the step. We want the plain step, rescaled afterwards, so that only the norm is held.""",
        partial(frozen, taken=tangent),
    ),
    mistake(
        "columns_for_rows",
        """The norms are taken along the wrong axis. PyTorch lays weights out as (out, in, …). What belongs to
        one output is a row, w[o], and its norm runs over all axes but the first.""",
        partial(frozen, norms=lambda w: row_norms(w, (0,))),
    ),
    mistake(
        "one_norm_for_all",
        """One norm is kept, that of the whole tensor. Some rows can then grow while others shrink. Each row
        has a norm of its own.""",
        partial(frozen, norms=lambda w: w.norm()),
    ),
    mistake(
        "some_axes_only",
        """Right for matrices. But a kernel has more axes, and all numbers that belong to one output form one
        vector: the norm runs over all axes but the first.""",
        partial(frozen, norms=lambda w: row_norms(w, (1,))),
        partial(frozen, norms=lambda w: row_norms(w, (w.dim() - 1,))),
        partial(frozen, result=lambda new, before, after: F.normalize(new, dim=1) * before),
        partial(frozen, result=lambda new, before, after: F.normalize(new, dim=-1) * before),
    ),
    mistake(
        "norm_of_one",
        "The rows are scaled to length 1. We want the length that each had before the step.",
        partial(frozen, result=lambda new, before, after: new / after),
    ),
    mistake(
        "ratio_upside_down",
        """The rows are multiplied by the wrong factor. Multiply by the norm before the step and divide by the
        one after it.""",
        partial(frozen, result=lambda new, before, after: new * (after / before)),
        partial(frozen, result=lambda new, before, after: new * after),
        partial(frozen, result=lambda new, before, after: new * before),
    ),
    mistake(
        "squares_compared",
        """The ratio is one of squared norms: the root is missing. A row that is twice too long ends up half
        as long as it should be.""",
        partial(frozen, result=lambda new, before, after: new * (before / after).square()),
    ),
    mistake(
        "held_on_one_side",
        """The norms have a limit on one side only: a row that became longer is cut back and a shorter one
        stays so, or the other way round. Hold both, so that every row has the norm that it had.""",
        partial(frozen, result=lambda new, before, after: new * (before / after).clamp(max=1)),
        partial(frozen, result=lambda new, before, after: new * (before / after).clamp(min=1)),
    ),
    mistake(
        "other_norm",
        """What is held is the sum of absolute values, the largest of them or the standard deviation of a row.
        We want the Euclidean norm, the root of the sum of squares.""",
        partial(frozen, norms=lambda w: over_rows(w, lambda rows: rows.abs().sum(1))),
        partial(frozen, norms=lambda w: over_rows(w, lambda rows: rows.abs().amax(1))),
        partial(frozen, norms=lambda w: over_rows(w, lambda rows: rows.std(1, correction=0))),
        partial(frozen, norms=lambda w: over_rows(w, lambda rows: rows.std(1))),
    ),
    mistake(
        "gradient_normalized",
        """The gradient is rescaled, to length 1 or to that of the row. The ablation leaves the step as it is
        and holds the norm of the weights.""",
        partial(frozen, taken=lambda w, g: g / row_norms(g)),
        partial(frozen, taken=lambda w, g: g / row_norms(g), result=unscaled),
        partial(frozen, taken=lambda w, g: g / row_norms(g) * row_norms(w)),
        partial(frozen, taken=lambda w, g: g / row_norms(g) * row_norms(w), result=unscaled),
        partial(frozen, taken=lambda w, g: g / g.norm()),
    ),
    mistake(
        "uphill",
        "The step goes uphill: the gradient is added. Descent subtracts it.",
        partial(frozen, taken=lambda w, g: -g),
    ),
    mistake(
        "number_added",
        """A small number is added to a norm. Only a row of zeros could be divided by 0. All others come out
        too short, the more so the smaller the weights are.""",
        *(
            partial(frozen, result=lambda new, before, after, eps=eps: new * (before / (after + eps)))
            for eps in (1e-5, 1e-6, 1e-8, 1e-10)
        ),
        *(
            partial(frozen, result=lambda new, before, after, eps=eps: new * before / (after**2 + eps).sqrt())
            for eps in (1e-5, 1e-6, 1e-8, 1e-10)
        ),
    ),
)


# -- the regime of a run -----------------------------------------------------------------------------

DIVERGING, CATAPULT, EDGE, STABLE = "diverging", "catapult", "edge of stability", "stable"


def plain_regime(losses: Tensor, sharpness: Tensor, lr: float, margin: float = 0.1) -> str:
    """The same in Python's own numbers."""
    loss, ratio = losses.tolist(), [lr * one / 2 for one in sharpness.tolist()]
    if not all(map(math.isfinite, (*loss, *ratio))) or loss[-1] > loss[0]:
        return DIVERGING
    if ratio[0] > 1:
        return CATAPULT
    last = len(loss) // 4
    rises = any(after > before for before, after in pairwise(loss[-last:]))
    return EDGE if rises and math.fsum(ratio[-last:]) / last > 1 - margin else STABLE


def rises(losses: Tensor) -> Any:
    """Whether a loss is above the one before it."""
    return (losses.diff() > 0).any()


def quarter(series: Tensor) -> Tensor:
    """The last quarter of the steps."""
    return series[-(len(series) // 4) :]


def quarter_rounded_up(series: Tensor) -> Tensor:
    """As a slice from -T // 4 takes it, where the minus comes before the division."""
    return series[-len(series) // 4 :]


def all_finite(losses: Tensor, r: Tensor) -> Any:
    return losses.isfinite().all() and r.isfinite().all()


def regime(
    losses: Tensor,
    sharpness: Tensor,
    lr: float,
    margin: float = 0.1,
    *,
    ratio: Callable[[Tensor, float], Tensor] = lambda sharpness, lr: lr * sharpness / 2,
    finite: Callable[[Tensor, Tensor], Any] = all_finite,
    higher: Callable[[Tensor], Any] = lambda losses: losses[-1] > losses[0],
    start: Callable[[Tensor], Tensor] = lambda r: r[0],
    end: Callable[[Tensor], Tensor] = lambda r: quarter(r).mean(),
    near: Callable[[Tensor, float], Any] = lambda end, margin: end > 1 - margin,
    swings: Callable[[Tensor], Any] = lambda losses: rises(quarter(losses)),
    order: str = "dce",
    words: dict[str, Any] | None = None,
) -> Any:
    """The definition, with a knob for each rule.

    order: which question comes when: d(iverging), c(atapult), e(dge).
    """
    r = ratio(sharpness, lr)
    found = {
        "d": (not finite(losses, r) or higher(losses), DIVERGING),
        "c": (start(r) > 1, CATAPULT),
        "e": (near(end(r), margin) and swings(losses), EDGE),
    }
    word = next((found[one][1] for one in order if bool(found[one][0])), STABLE)
    return (words or {}).get(word, word)


def with_margin(default: float, fixed: bool) -> Callable:
    """A regime with another default, or with one margin whatever is given."""

    def training_regime(losses: Tensor, sharpness: Tensor, lr: float, margin: float = default) -> str:
        return regime(losses, sharpness, lr, default if fixed else margin)

    return training_regime


REGIME_MISTAKES = (
    mistake(
        "limit_half",
        """The limit is taken for 1 / sharpness. There a step lands at the bottom of the valley. A longer one
        lands on the other side but still comes nearer, as long as lr is below 2 / sharpness.""",
        partial(regime, ratio=lambda sharpness, lr: lr * sharpness),
    ),
    mistake(
        "learning_rate_ignored",
        """The sharpness is judged by itself. No valley is too sharp as such: what counts is the learning rate
        against 2 / sharpness.""",
        partial(regime, ratio=lambda sharpness, lr: sharpness / 2),
        partial(regime, ratio=lambda sharpness, lr: sharpness),
    ),
    mistake(
        "ratio_upside_down",
        """The limit is divided by the learning rate, so a short step counts as beyond it. Both a sharper
        valley and a longer step must make the ratio larger.""",
        partial(regime, ratio=lambda sharpness, lr: 2 / (lr * sharpness)),
    ),
    mistake(
        "any_rise_diverges",
        """A loss that rises is called diverging. At the edge it swings but falls all the same, and a catapult
        first throws it high up. Ask whether it ends above its start.""",
        partial(regime, higher=rises),
        partial(regime, higher=lambda losses: losses.max() > losses[0]),
    ),
    mistake(
        "beyond_limit_diverges",
        """A ratio above 1 is called diverging. That holds on a parabola, whose curvature stays. In a network
        the curvature may fall where the weights land, and then the loss comes down: look where it ends.""",
        partial(regime, words={CATAPULT: DIVERGING}),
        partial(regime, words={CATAPULT: DIVERGING, EDGE: DIVERGING}),
        partial(regime, finite=lambda losses, r: all_finite(losses, r) and r.max() <= 1),
        partial(regime, finite=lambda losses, r: all_finite(losses, r) and r[-1] <= 1),
    ),
    mistake(
        "end_not_compared",
        """Only inf and NaN count as diverging. A loss that ends a thousand times above its start diverges
        too, though it is still finite.""",
        partial(regime, higher=lambda losses: False),
    ),
    mistake(
        "compared_with_another",
        """The last loss is compared with the lowest, or with the one before, not with the first. A loss that
        swings is often above those.""",
        partial(regime, higher=lambda losses: losses[-1] > losses.min()),
        partial(regime, higher=lambda losses: losses[-1] > losses[-2]),
    ),
    mistake(
        "finite_check_missing",
        """A value that isn't finite gets through, inf or NaN. NaN is above nothing and below nothing, so the
        run ends up as something harmless. Ask first whether all losses and all sharpnesses are finite.""",
        partial(regime, finite=lambda losses, r: True),
        partial(regime, finite=lambda losses, r: losses[-1].isfinite()),
        partial(regime, finite=lambda losses, r: losses[-1].isfinite() and r[-1].isfinite()),
        partial(regime, finite=lambda losses, r: not losses.isinf().any()),
        partial(regime, finite=lambda losses, r: not (losses.isinf().any() or r.isinf().any())),
        partial(regime, finite=lambda losses, r: not (losses.isnan().any() or r.isnan().any())),
        partial(regime, finite=lambda losses, r: r.isfinite().all()),
    ),
    mistake(
        "sharpness_not_checked",
        """The losses are checked for finite values, but the sharpness isn't. It can overflow first: it is
        measured by products that grow with each iteration.""",
        partial(regime, finite=lambda losses, r: losses.isfinite().all()),
    ),
    mistake(
        "catapult_missed",
        """The start isn't looked at. A run that began beyond the limit and came down is a catapult, wherever
        it has landed.""",
        partial(regime, order="de"),
        partial(regime, start=lambda r: r[-1]),
        partial(regime, start=lambda r: quarter(r).mean()),
    ),
    mistake(
        "catapult_anywhere",
        """A ratio above 1 at any step is called a catapult. That word is for runs that start beyond the
        limit. Others climb to it, and that leads them to the edge.""",
        partial(regime, start=lambda r: r.max()),
    ),
    mistake(
        "edge_before_catapult",
        """The end is looked at before the start. A run that was thrown out can climb to the edge later. In
        the order of the table it is a catapult.""",
        partial(regime, order="dec"),
        partial(regime, order="edc"),
    ),
    mistake(
        "catapult_before_diverging",
        """The start is looked at before the end. A run that starts beyond the limit and ends above its first
        loss, or in NaN, has not come down again. In the order of the table it is diverging.""",
        partial(regime, order="cde"),
    ),
    mistake(
        "edge_missed",
        """The edge of stability is missed. Runs that start below the limit climb towards it: the first
        sharpness says where a run begins, and the last quarter where it ends.""",
        partial(regime, order="dc"),
        partial(regime, end=lambda r: r[0]),
    ),
    mistake(
        "one_step_for_the_mean",
        """One step decides about the edge: the last, the lowest or the median. At the edge the sharpness
        swings about the limit from step to step. Only its mean over the last quarter stands still.""",
        partial(regime, end=lambda r: r[-1]),
        partial(regime, end=lambda r: quarter(r).min()),
        partial(regime, end=lambda r: quarter(r).median()),
    ),
    mistake(
        "peak_for_the_mean",
        """The highest sharpness decides about the edge. A run that swings below the limit reaches up now and
        then, and one can climb over the edge and come back. The mean over the last quarter says where it
        stays.""",
        partial(regime, end=lambda r: r.max()),
        partial(regime, end=lambda r: r.max(), swings=rises),
        partial(regime, end=lambda r: quarter(r).max()),
    ),
    mistake(
        "another_window",
        """The average is over other steps than the last quarter: all of them, or the last half. They include
        the climb, so you miss a run that reaches the edge late.""",
        partial(regime, end=lambda r: r.mean()),
        partial(regime, end=lambda r: r[len(r) // 2 :].mean()),
        partial(regime, end=lambda r: r.mean(), swings=rises),
        partial(
            regime, end=lambda r: r[len(r) // 2 :].mean(), swings=lambda loss: rises(loss[len(loss) // 2 :])
        ),
    ),
    mistake(
        "quarter_rounded_up",
        """The last quarter has a step too many where the number of steps isn't a multiple of 4. T // 4 rounds
        down, so of 11 steps the last 2 count, not 3. With a minus before T it would round up.""",
        partial(regime, end=lambda r: quarter_rounded_up(r).mean()),
        partial(
            regime,
            end=lambda r: quarter_rounded_up(r).mean(),
            swings=lambda losses: rises(quarter_rounded_up(losses)),
        ),
    ),
    mistake(
        "rise_anywhere",
        """Any rise of the loss counts, not only one in the last quarter. A run can swing on its way and still
        end calm.""",
        partial(regime, swings=rises),
    ),
    mistake(
        "last_two_losses",
        """Only the last two losses are compared. A loss that swings falls at every other step. Any rise
        within the last quarter counts.""",
        partial(regime, swings=lambda losses: losses[-1] > losses[-2]),
    ),
    mistake(
        "ends_compared",
        """Only the two ends of the last quarter are compared. A loss that swings on its way down ends below
        where that quarter begins. Compare each loss with the one before it: one rise is enough.""",
        partial(regime, swings=lambda losses: quarter(losses)[-1] > quarter(losses)[0]),
    ),
    mistake(
        "loss_not_asked",
        """The sharpness alone decides about the edge. But if a run comes near the limit from below and its
        loss falls at every step, it is stable.""",
        partial(regime, swings=lambda losses: True),
    ),
    mistake(
        "sharpness_not_asked",
        """The loss alone decides about the edge. Late in training, rounding makes it tremble, even far below
        the limit. The sharpness in the last quarter tells the two apart.""",
        partial(regime, near=lambda end, margin: True),
        partial(regime, near=lambda end, margin: True, swings=rises),
    ),
    mistake(
        "standing_still_rises",
        "A loss that stays the same counts as a rise. It must be above the loss before it.",
        partial(regime, swings=lambda losses: (quarter(losses).diff() >= 0).any()),
    ),
    mistake(
        "limit_from_both_sides",
        """The edge has an upper end here. Sharpness hovers at the limit or above it, and how far above
        depends on the loss. All we ask is a mean above 1 − margin.""",
        partial(regime, near=lambda end, margin: abs(end - 1) < margin),
    ),
    mistake(
        "margin_unused",
        """The mean has to be above 1, or above 1 + margin. A measured sharpness is a little too small,
        because power iteration approaches the eigenvalue from below. So the limit is 1 − margin.""",
        partial(regime, near=lambda end, margin: end > 1),
        partial(regime, near=lambda end, margin: end > 1 + margin),
    ),
    mistake(
        "margin_fixed",
        "The answer doesn't change with the margin: your code has a number in place of the argument.",
        *(with_margin(value, fixed=True) for value in (0.1, 0.15)),
    ),
    mistake(
        "margin_default",
        "Right when the margin is passed, but wrong when it is left out. Its default is 0.1.",
        *(with_margin(value, fixed=False) for value in (0.0, 0.01, 0.3, 0.5)),
    ),
    mistake(
        "always_the_same",
        """Every run gets the same answer. All four kinds of runs occur.""",
        *(lambda *run, word=word: word for word in (STABLE, EDGE, CATAPULT, DIVERGING)),
    ),
    mistake(
        "other_words",
        """Your words aren't 'diverging', 'catapult', 'edge of stability' and 'stable', or two of them are
        swapped. They are compared as strings, so spell them exactly so.""",
        partial(regime, words={EDGE: "edge"}),
        partial(regime, words={EDGE: "edge of stability.", STABLE: "Stable"}),
        partial(regime, words={EDGE: "edge_of_stability"}),
        partial(regime, words={EDGE: "edge-of-stability"}),
        partial(regime, words={word: word.capitalize() for word in (DIVERGING, CATAPULT, EDGE, STABLE)}),
        partial(regime, words={word: word.title() for word in (DIVERGING, CATAPULT, EDGE, STABLE)}),
        partial(regime, words={word: word.upper() for word in (DIVERGING, CATAPULT, EDGE, STABLE)}),
        partial(regime, words={STABLE: "converging"}),
        partial(regime, words={DIVERGING: "diverged"}),
        partial(regime, words={DIVERGING: "unstable"}),
        partial(regime, words={CATAPULT: EDGE, EDGE: CATAPULT}),
        partial(regime, words={STABLE: EDGE, EDGE: STABLE}),
    ),
)


# -- inputs that show a mistake ------------------------------------------------------------------------

#: Where power iteration starts, and for how long it goes on.
START, ITERATIONS = torch.tensor([0.637, -0.318, 1.137], dtype=torch.float64), 40
lost_sign = variant(POWER_MISTAKES, "sign_lost", 1)


def mean_cosine(before: list[Tensor], after: list[Tensor]) -> Tensor:
    """The cosine of each layer by itself, averaged."""
    return layer_by_layer(before, after)[1]


def why_sign_is_kept(a: Tensor, low: float) -> str:
    if (a - a.T).abs().max() > 1e-6:
        return "not_symmetric"
    if a.diagonal().min() < low * (1 - ALIKE):
        return "small_on_the_diagonal"
    first, *_, last = torch.linalg.eigvalsh(a)
    if abs(first + last) < (last - first) / 21:  # the larger is less than 1.1 times the smaller
        return "largest_of_either_sign"
    given = partial(torch.mv, a), START, ITERATIONS
    shows = first + last < 0 and apart(power(*given), lost_sign(*given)) > 0.1
    return "" if shows else "largest_is_positive"


def tied(low: float) -> Tensor:
    """The eigenvalues are −6, 6 and 6, and the diagonal 2."""
    return 6 * torch.eye(3) - 4 * torch.ones(3, 3)


SIGN_REASONS = (
    mistake(
        "largest_is_positive",
        """Your matrix doesn't show it: the eigenvalue that is largest in size is positive, so there is no
        sign to lose. The diagonal fixes the sum of the eigenvalues. The entries beside it can still push one
        of them far below 0.""",
        lambda low: torch.eye(3) * low,
        lambda low: torch.full((3, 3), 5.0),
        lambda low: torch.diag(torch.tensor([3.0, 4.0, 5.0])) - 0.5,
    ),
    mistake(
        "small_on_the_diagonal",
        """An entry on the diagonal is below low. A negative one there would give the sign away. All three
        must be low or more.""",
        lambda low: -torch.eye(3),
        lambda low: torch.diag(torch.tensor([2.0, 2.0, -9.0])),
        lambda low: torch.zeros(3, 3),
    ),
    mistake(
        "not_symmetric",
        """The matrix isn't symmetric, but a Hessian is: the entries on either side of the diagonal are the
        same.""",
        lambda low: torch.randn(3, 3),
        lambda low: 5 * torch.ones(3, 3).triu() + torch.eye(3),
    ),
    mistake(
        "largest_of_either_sign",
        """The most negative eigenvalue and the most positive one are nearly the same in size, so power
        iteration can't tell which is larger. Make the negative one larger by a tenth or more.""",
        tied,
    ),
)


def all_opposed(low: float) -> Tensor:
    """Three directions that each pull the others back."""
    return torch.eye(3) * (low + 9) - 9


def turned(low: float) -> Tensor:
    """An eigenvalue of −9 along (1, −1, 1), and 8 at right angles to it."""
    way = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64) / 3**0.5
    return 8 * torch.eye(3) - 17 * torch.outer(way, way)


def why_layers_do(before: Tensor, after: Tensor, d: int) -> str:
    layers = list(before), list(after)
    if torch.cat([before, after]).norm(dim=1).min() < 1e-4:
        return "a_layer_of_zeros"
    if library_shift(*layers)[1] < 0.99:
        return "joined_gradient_turns"
    return "" if mean_cosine(*layers) <= 0.1 else "layers_agree"


LAYERS_REASONS = (
    mistake(
        "joined_gradient_turns",
        """The gradient as one long vector turns: its cosine is below 0.99. It should hardly turn, while the
        code thinks it does. How can a layer turn without turning the whole?""",
        lambda d: (torch.randn(2, d), torch.randn(2, d)),
        lambda d: (torch.ones(2, d), torch.tensor([[1.0], [-1.0]]).repeat(1, d)),
    ),
    mistake(
        "layers_agree",
        """The gradient doesn't turn, but the code hardly says otherwise: the mean of the layers' cosines is
        above 0.1. A right angle in one of them is not enough. One has to turn round, and count little.""",
        lambda d: (torch.ones(2, d), torch.ones(2, d)),
        lambda d: (x := torch.randn(2, d), 3 * x),
        lambda d: (torch.eye(2, d).flip(1), torch.eye(2, d).flip(1) + 0.01 * torch.eye(2, d)),
    ),
    mistake(
        "a_layer_of_zeros",
        """A layer has no gradient, or next to none, before or after. Without one its cosine is 0/0. Small is
        enough: its length must be 0.0001 or more.""",
        lambda d: (torch.zeros(2, d), torch.zeros(2, d)),
        lambda d: (torch.eye(2, d), torch.eye(2, d) * torch.tensor([[1.0], [0.0]])),
    ),
)


def small_layer_turns(d: int) -> tuple[Tensor, Tensor]:
    before = torch.ones(2, d)
    before[1] *= 0.01
    return before, before * torch.tensor([[1.0], [-1.0]])


def small_layer_turns_at_random(d: int) -> tuple[Tensor, Tensor]:
    large, small = torch.rand(d) + 1, (torch.rand(d) + 1) / 100
    return torch.stack([small, large]), torch.stack([-2 * small, large])


ANSWERS = {
    "covariate_shift": Answer(library_shift, shift, SHIFT_MISTAKES, guarded=GUARDED_SHIFTS),
    "loss_along_gradient": Answer(library_losses, losses, LOSS_MISTAKES),
    "gradient_predictiveness": Answer(library_changes, changes, CHANGE_MISTAKES),
    "top_eigenvalue": Answer(by_eigenvectors, power, POWER_MISTAKES, guarded=GUARDED_POWERS),
    "stable_learning_rate": Answer(
        rate_by_bisection,
        rate,
        RATE_MISTAKES,
        guarded=(partial(rate, quotient=lambda factor, value: factor / (value + GUARD)),),
    ),
    "frozen_norm_step": Answer(by_weight_norm, frozen, FROZEN_MISTAKES, guarded=GUARDED_ROWS),
    "training_regime": Answer(plain_regime, regime, REGIME_MISTAKES),
    "expose_lost_sign": exposing(
        Asked("a", "3, 3", 20.0),
        lost_sign,
        why_sign_is_kept,
        SIGN_REASONS,
        (all_opposed, turned),
    ),
    "expose_layer_by_layer": exposing(
        (Asked("before", "2, d"), Asked("after", "2, d")),
        mean_cosine,
        why_layers_do,
        LAYERS_REASONS,
        (small_layer_turns, small_layer_turns_at_random),
    ),
}
