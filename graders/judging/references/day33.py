"""Day 33: the right answers, and what people get wrong, with the knobs that make it.

Sources of the mistakes: reports and fixes in public repositories and forums, and public course solutions.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.sgd import sgd as library_sgd

from graders.judging import tolerance
from graders.judging.answer import Answer, Basis, Mistake, both, mistake
from graders.judging.references.exposing import ALIKE, Asked, apart, exposing, hiding, variant
from graders.probing.days.day33 import ACTIVATIONS, ENOUGH, MODE, NOTHING, starting_weights
from graders.probing.exercise import Candidate, Inputs

#: Numbers that people write into the code where an argument should be used.
USUAL_LRS = (0.01, 0.1, 0.001, 1.0)
USUAL_BETAS = (0.9, 0.99, 0.5)
USUAL_DECAYS = (0.01, 0.1, 1e-4, 5e-4)


# -- gradient descent --------------------------------------------------------------------------------


def descent(
    grad: Callable[[Tensor], Tensor],
    w: Tensor,
    lr: float,
    steps: int,
    *,
    rate: Callable[[float], float] = lambda lr: lr,
    more: int = 0,
    gradient: Callable[[Callable, list[Tensor]], Tensor] = lambda grad, path: grad(path[-1]),
    origin: Callable[[list[Tensor]], Tensor] = lambda path: path[-1],
    result: Callable[[list[Tensor]], Tensor] = torch.stack,
) -> Tensor:
    """The definition, with a knob for each choice. more: steps beyond those asked for."""
    path = [w]
    for _ in range(steps + more):
        path.append(origin(path) - rate(lr) * gradient(grad, path))
    return result(path)


def recursive_descent(grad: Callable, w: Tensor, lr: float, steps: int) -> Tensor:
    """The path as its start followed by the path from the next point."""
    if steps == 0:
        return w[None]
    return torch.cat([w[None], recursive_descent(grad, w.add(grad(w), alpha=-lr), lr, steps - 1)])


def in_place(*, copy_first: bool, copy_start: bool, copy_rows: bool) -> Callable:
    """Descent that updates one tensor and puts it, or copies of it, into the path."""

    def aliasing(grad: Callable, w: Tensor, lr: float, steps: int) -> Tensor:
        w = w.clone() if copy_first else w
        path = [w.clone() if copy_start else w]
        for _ in range(steps):
            w -= lr * grad(w)
            path.append(w.clone() if copy_rows else w)
        return torch.stack(path)

    return aliasing


def summed_gradients(grad: Callable, path: list[Tensor]) -> Tensor:
    """All gradients so far, which is what is left where old ones are not cleared."""
    return torch.stack([grad(w) for w in path]).sum(0)


def faded_gradients(grad: Callable, path: list[Tensor], *, beta: float, damped: bool) -> Tensor:
    """A velocity from rest. damped: an average, in which the new gradient has the weight 1 − beta."""
    velocity = torch.zeros_like(path[0])
    for w in path:
        velocity = beta * velocity + (1 - beta if damped else 1.0) * grad(w)
    return velocity


#: What people multiply lr by in a step, which is counted from 0.
SCHEDULES: tuple[Callable[[int], float], ...] = (
    lambda t: 1 / (1 + t),
    lambda t: 1 / math.sqrt(1 + t),
    *(lambda t, rate=rate: rate**t for rate in (0.9, 0.95, 0.99, 0.5)),
    *(lambda t, rate=rate: 1 / (1 + rate * t) for rate in (0.1, 0.01)),
)


def scaled_gradient(grad: Callable, path: list[Tensor], *, scale: Callable[[int], float]) -> Tensor:
    return scale(len(path) - 1) * grad(path[-1])


#: A gradient cut down to 1, in each entry or in its length.
CUTS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda g: g.clamp(-1, 1),
    lambda g: g / g.norm().clamp_min(1.0),
    lambda g: g * (1 / (g.norm() + 1e-6)).clamp_max(1.0),
)


def coordinate_descent(grad: Callable, w: Tensor, lr: float, steps: int) -> Tensor:
    """Each entry moves by a gradient of its own."""
    w = w.clone()
    path = [w.clone()]
    for _ in range(steps):
        for i in range(len(w)):
            w[i] = w[i] - lr * grad(w)[i]
        path.append(w.clone())
    return torch.stack(path)


def differentiated(grad: Callable, path: list[Tensor]) -> Tensor:
    """What autograd makes of the gradient, as if that were the loss."""
    w = path[-1].detach().requires_grad_()
    return torch.autograd.grad(grad(w).sum(), w)[0].detach()


def without_start(grad: Callable, w: Tensor, lr: float, steps: int) -> Tensor:
    """The points after each step; with no step there is nothing to stack."""
    path = []
    for _ in range(steps):
        w = w - lr * grad(w)
        path.append(w)
    return torch.stack(path)


def until_small(
    grad: Callable, w: Tensor, lr: float, steps: int, *, small: float, of_step: bool, kept: bool
) -> Tensor:
    """Stops at a small step, or slope. kept: the point that was reached then is in the path."""
    path = [w]
    for _ in range(steps):
        slope = grad(w)
        new = w - lr * slope
        stop = ((new - w) if of_step else slope).square().sum().sqrt() < small
        if kept or not stop:
            path.append(new)
        if stop:
            break
        w = new
    return torch.stack(path)


DESCENT_MISTAKES = (
    mistake(
        "start_missing",
        """The start is missing from the path. After all the steps there are steps + 1 points. The first row
        is the w that was given, and with no step at all it is the only one.""",
        partial(descent, result=lambda path: torch.stack(path)[1:]),
        partial(descent, result=lambda path: torch.stack([torch.zeros_like(path[0]), *path[1:]])),
        without_start,
        partial(descent, more=1, result=lambda path: torch.stack(path)[1:]),
    ),
    mistake(
        "count_of_steps",
        """The number of steps is off by one. The path has steps + 1 rows, the start and one more for each
        step.""",
        partial(descent, more=1),
        partial(descent, more=-1),
        partial(descent, more=-1, result=lambda path: torch.stack([path[0], *path])),
        partial(descent, result=lambda path: torch.stack([*path[:-1], torch.zeros_like(path[-1])])),
    ),
    mistake(
        "stops_early",
        """The path ends where a step or a slope is small. It has steps + 1 rows however small they get:
        whoever asked for that many wants to see that nothing moves any more.""",
        *(
            partial(until_small, small=small, of_step=of_step, kept=kept)
            for small in (1e-6, 1e-8)
            for of_step in (True, False)
            for kept in (True, False)
        ),
    ),
    mistake(
        "only_the_end",
        "Only the last point is returned. The path holds all of them, one row for each, the start included.",
        partial(descent, result=lambda path: path[-1]),
    ),
    mistake(
        "gradient_reused",
        """The gradient is computed once, at the start, and used for every step, so the path is a straight
        line with equal steps. The slope differs from point to point: compute it anew for each step.""",
        partial(descent, gradient=lambda grad, path: grad(path[0])),
    ),
    mistake(
        "gradient_of_the_point_before",
        """Every step uses the gradient of the point before the current one. The slope that counts is the
        one where you stand.""",
        partial(descent, gradient=lambda grad, path: grad(path[-2] if len(path) > 1 else path[-1])),
    ),
    mistake(
        "uphill",
        "The gradient is added. It points uphill, and the step goes the other way: your path climbs.",
        partial(descent, rate=lambda lr: -lr),
    ),
    mistake(
        "rows_alias",
        """The same tensor is in the path more than once: w is updated in place, and every row that refers to
        it changes with it, even the start. Make a new tensor in each step, or store copies.""",
        in_place(copy_first=False, copy_start=False, copy_rows=False),
        in_place(copy_first=True, copy_start=False, copy_rows=False),
        in_place(copy_first=True, copy_start=True, copy_rows=False),
        in_place(copy_first=False, copy_start=False, copy_rows=True),
        in_place(copy_first=True, copy_start=False, copy_rows=True),
    ),
    mistake(
        "start_changed",
        """The path is right, but the w that was given is changed in place: afterwards the caller finds the
        end of the path in it. Make a new tensor in each step, or begin with a copy.""",
        in_place(copy_first=False, copy_start=True, copy_rows=True),
    ),
    mistake(
        "starts_at_zero",
        "The path begins at 0. It begins at the w that was given.",
        lambda grad, w, lr, steps: descent(grad, torch.zeros_like(w), lr, steps),
    ),
    mistake(
        "gradient_differentiated",
        """What grad returns is differentiated again, as if it were the loss. It is the gradient already: call
        grad at the current point and use what it gives.""",
        partial(descent, gradient=differentiated),
    ),
    mistake(
        "lr_ignored",
        """Your path does not change when lr changes: a fixed number, or none, is used where the argument lr
        should be.""",
        *(partial(descent, rate=lambda lr, value=value: value) for value in USUAL_LRS),
    ),
    mistake(
        "lr_squared",
        "lr enters twice. Each step is lr times the gradient, and lr is multiplied in once.",
        partial(descent, rate=lambda lr: lr * lr),
    ),
    mistake(
        "lr_divides",
        "The gradient is divided by lr. A small lr means small steps: multiply by it.",
        partial(descent, rate=lambda lr: 1 / lr),
    ),
    mistake(
        "always_from_the_start",
        """Every step sets out from the start again. The next point is the current one less lr times the
        gradient there.""",
        partial(descent, origin=lambda path: path[0]),
    ),
    mistake(
        "gradients_accumulated",
        """Each step uses the sum of all gradients so far. That is a momentum that never fades, or old
        gradients that were not cleared. Plain descent uses only the gradient at the current point.""",
        partial(descent, gradient=summed_gradients),
    ),
    mistake(
        "momentum_added",
        """Each step uses older gradients too, which fade: that is momentum. Plain descent uses only the
        gradient at the current point.""",
        *(
            partial(descent, gradient=partial(faded_gradients, beta=beta, damped=damped))
            for beta in USUAL_BETAS
            for damped in (False, True)
        ),
    ),
    mistake(
        "lr_decays",
        """lr shrinks from step to step. That is a schedule, and nobody has asked for one: every step is lr
        times the gradient, the last as well as the first.""",
        *(partial(descent, gradient=partial(scaled_gradient, scale=scale)) for scale in SCHEDULES),
    ),
    mistake(
        "gradient_clipped",
        """Large gradients are cut down to a limit before the step. Plain descent takes the gradient as it is,
        also where the slope is steep.""",
        *(partial(descent, gradient=lambda grad, path, cut=cut: cut(grad(path[-1]))) for cut in CUTS),
    ),
    mistake(
        "one_entry_after_another",
        """The entries of w move one after the other, and later ones use a gradient at a point where the first
        have moved already. A step moves all of them at once, by the gradient at one point.""",
        coordinate_descent,
    ),
    mistake(
        "gradient_normalized",
        """The gradient is scaled to length 1 before the step, so every step is lr long. In gradient
        descent the steps shrink with the slope, which is how it comes to rest.""",
        *(
            partial(
                descent, gradient=lambda grad, path, eps=eps: grad(path[-1]) / (grad(path[-1]).norm() + eps)
            )
            for eps in (0.0, 1e-12, 1e-8, 1e-6)
        ),
    ),
)


# -- one step with momentum --------------------------------------------------------------------------

#: What is returned by a step: (w, velocity).
Pair = tuple[Tensor, Tensor]


def heavy_ball_direction(g: Tensor, old: Tensor, new: Tensor, beta: float) -> Tensor:
    """Where a heavy ball goes: along the new velocity."""
    return new


def nesterov_direction(g: Tensor, old: Tensor, new: Tensor, beta: float) -> Tensor:
    """Where PyTorch's Nesterov goes: the gradient, and the velocity as it will have faded a step later."""
    return g + beta * new


def step(
    w: Tensor,
    g: Tensor,
    velocity: Tensor,
    lr: float,
    beta: float,
    *,
    direction: Callable[[Tensor, Tensor, Tensor, float], Tensor],
    accumulate: Callable[[Tensor, Tensor, float], Tensor] = lambda velocity, g, beta: beta * velocity + g,
    move: Callable[[Tensor, float, Tensor], Tensor] = lambda w, lr, way: w - lr * way,
    lr_used: Callable[[float], float] = lambda lr: lr,
    beta_used: Callable[[float], float] = lambda beta: beta,
    result: Callable[[Tensor, Tensor, Tensor, Tensor], Pair] = lambda w, new, old, way: (w, new),
) -> Pair:
    """The definition of both steps, with a knob for each choice."""
    beta, lr = beta_used(beta), lr_used(lr)
    new = accumulate(velocity, g, beta)
    way = direction(g, velocity, new, beta)
    return result(move(w, lr, way), new, velocity, way)


momentum = partial(step, direction=heavy_ball_direction)
nesterov = partial(step, direction=nesterov_direction)


def library_step(looking_ahead: bool) -> Callable[..., Pair]:
    """One step by PyTorch's own functional SGD."""

    def with_library(w: Tensor, g: Tensor, velocity: Tensor, lr: float, beta: float) -> Pair:
        w, velocity = w.clone(), velocity.clone()
        settings = {"weight_decay": 0.0, "momentum": beta, "lr": lr, "dampening": 0.0, "maximize": False}
        library_sgd([w], [g], [velocity], foreach=False, nesterov=looking_ahead, **settings)
        # With a momentum of 0 the library leaves the velocity alone; by the formula it is the gradient.
        return w, velocity if beta else g.clone()

    return with_library


def lr_inside(
    keep: Callable[[Tensor, Tensor, float], Tensor],
    sign: float = 1.0,
    *,
    damped: bool = False,
    uphill: bool = False,
) -> Callable[..., Pair]:
    """The classical form: the velocity is a step, lr included. keep: how far w goes, from old and new."""

    def classical(w: Tensor, g: Tensor, velocity: Tensor, lr: float, beta: float) -> Pair:
        new = beta * velocity - sign * lr * (1 - beta if damped else 1.0) * g
        return w + (-sign if uphill else sign) * keep(velocity, new, beta), new

    return classical


def lr_in_result(right: Callable[..., Pair], direction: Callable[..., Tensor]) -> Callable[..., Pair]:
    """A step that hands back lr times a direction as the velocity."""

    def with_lr(w: Tensor, g: Tensor, velocity: Tensor, lr: float, beta: float) -> Pair:
        w, new = right(w, g, velocity, lr, beta)
        return w, lr * direction(g, velocity, new, beta)

    return with_lr


def step_mistakes(right: Callable[..., Pair], ahead: bool) -> tuple[Mistake, ...]:
    """What goes wrong in either step. ahead: Nesterov's."""
    direction = nesterov_direction if ahead else heavy_ball_direction
    if ahead:
        inside: tuple[Candidate, ...] = tuple(
            lr_inside(keep, sign)
            for keep in (
                lambda old, new, beta: (1 + beta) * new - beta * old,
                lambda old, new, beta: beta * new + (new - beta * old),
            )
            for sign in (1.0, -1.0)
        )
    else:
        inside = (lr_inside(lambda old, new, beta: new), lr_inside(lambda old, new, beta: new, -1.0))
    # Without the brackets around what lr multiplies.
    bracketless: tuple[Candidate, ...] = tuple(
        (
            lambda w, g, velocity, lr, beta, sign=sign: (
                (
                    w - lr * g + sign * beta * (beta * velocity + g),
                    beta * velocity + g,
                )
                if ahead
                else (w - lr * beta * velocity + sign * g, beta * velocity + g)
            )
        )
        for sign in (1.0, -1.0)
    )
    if not ahead:
        bracketless += (lambda w, g, velocity, lr, beta: (w - lr * g - beta * velocity, beta * velocity + g),)
    return (
        mistake(
            "gradient_damped",
            """The gradient enters the velocity with the factor 1 − beta: a moving average. Here the
            velocity is beta times the old one plus the whole gradient, as in PyTorch. At beta = 0.9 yours
            becomes ten times too small.""",
            partial(right, accumulate=lambda v, g, beta: beta * v + (1 - beta) * g),
            lambda w, g, velocity, lr, beta: right(w, (1 - beta) * g, velocity, lr, beta),
            partial(
                right,
                accumulate=lambda v, g, beta: torch.where((v == 0).all(), g, beta * v + (1 - beta) * g),
            ),
        ),
        mistake(
            "lr_twice",
            "lr enters twice, in the velocity and again when w moves. It belongs only to the second.",
            lambda w, g, velocity, lr, beta: right(w, lr * g, velocity, lr, beta),
        ),
        mistake(
            "lr_in_velocity",
            """lr is inside the velocity, as in the classical form. PyTorch's velocity is in units of the
            gradient, and lr multiplies it when w moves. While lr is constant both take the same path from
            rest. Once lr changes, a velocity with the old lr inside moves on at the old pace.""",
            *inside,
        ),
        mistake(
            "step_stored",
            """w is right after the first step, but the velocity that comes back is multiplied by lr, and the
            next step multiplies it again. The velocity is beta times the old one plus the gradient, without
            lr.""",
            lr_in_result(right, heavy_ball_direction),
            *([lr_in_result(right, nesterov_direction)] if ahead else []),
        ),
        mistake(
            "lr_on_one_part",
            """lr multiplies only a part of the step: are brackets missing around the sum? w moves by lr
            times all of it.""",
            *bracketless,
        ),
        mistake(
            "lr_and_beta_swapped",
            """lr and beta have changed places: lr comes first among the arguments. beta multiplies the old
            velocity, and lr multiplies the step of w.""",
            lambda w, g, velocity, lr, beta: right(w, g, velocity, beta, lr),
        ),
        mistake(
            "step_damped",
            """The velocity is right, but the step along it is multiplied by 1 − beta, as if it were an
            average. The gradient enters whole here, and lr alone says how far w moves along it.""",
            partial(right, direction=lambda g, old, new, beta: (1 - beta) * direction(g, old, new, beta)),
        ),
        mistake(
            "old_velocity_counted_twice",
            """The old velocity moves w twice: it is in the new one already, and w moves by beta times the old
            one besides."""
            + (" Nesterov's step adds beta times the new velocity to the gradient." if ahead else ""),
            partial(right, direction=lambda g, old, new, beta: new + beta * old),
        ),
        mistake(
            "fixed_weights",
            """Fixed numbers weigh the old velocity and the gradient, such as 0.9 and 0.1: the velocity does
            not change when beta changes. It is the argument beta times the old one plus the whole
            gradient.""",
            *(
                partial(
                    right,
                    beta_used=lambda beta, value=value: value,
                    accumulate=lambda v, g, beta: beta * v + (1 - beta) * g,
                )
                for value in USUAL_BETAS
            ),
        ),
        mistake(
            "lr_ignored",
            """w does not change when lr changes: a fixed number, or none, is used where the argument lr
            should be. (A step that is ten times too small is not always a matter of beta.)""",
            *(partial(right, lr_used=lambda lr, value=value: value) for value in USUAL_LRS),
        ),
        mistake(
            "beta_fixed",
            """The result does not change when beta changes: a fixed number is used where the argument beta
            should be.""",
            *(partial(right, beta_used=lambda beta, value=value: value) for value in USUAL_BETAS),
        ),
        mistake(
            "beta_on_gradient",
            """beta is in the wrong place. It belongs to the old velocity, and the whole gradient enters.""",
            partial(right, accumulate=lambda v, g, beta: (1 - beta) * v + beta * g),
            partial(right, accumulate=lambda v, g, beta: v + beta * g),
            partial(right, accumulate=lambda v, g, beta: (1 - beta) * v + g),
        ),
        mistake(
            "first_gradient_twice",
            """From rest the first gradient enters twice: the velocity starts as that gradient, and then it is
            added. From a velocity of 0 the new one is the gradient alone.""",
            partial(
                right,
                accumulate=lambda v, g, beta: torch.where((v == 0).all(), (1 + beta) * g, beta * v + g),
            ),
        ),
        mistake(
            "beta_on_both",
            """beta multiplies the sum of velocity and gradient. Only the old velocity fades, by the
            factor beta.""",
            partial(right, accumulate=lambda v, g, beta: beta * (v + g)),
        ),
        mistake(
            "never_fades",
            """The old velocity is added whole, so it never fades: beta is the part of it that is left
            after one step.""",
            partial(right, accumulate=lambda v, g, beta: v + g),
        ),
        mistake(
            "velocity_ignored",
            """The velocity that was given plays no part: the new one is the gradient alone, so there is
            no momentum. It is beta times the old velocity plus the gradient.""",
            partial(right, accumulate=lambda v, g, beta: g),
        ),
        mistake(
            "velocity_not_stored",
            """The velocity that comes back is the one that was given. w moves by the new velocity, and
            the caller needs that one for the next step.""",
            partial(right, result=lambda w, new, old, way: (w, old)),
        ),
        mistake(
            "w_and_velocity_swapped",
            "w and the velocity are swapped: w comes first.",
            partial(right, result=lambda w, new, old, way: (new, w)),
        ),
        mistake(
            "uphill",
            """The step is added to w. Gradients point uphill, and so does this velocity: w goes the other
            way.""",
            partial(right, move=lambda w, lr, way: w + lr * way),
        ),
        mistake(
            "only_the_step",
            """The step comes back without w, as a library's update that is added later. We want the point
            where w is after it.""",
            partial(right, move=lambda w, lr, way: -lr * way),
            partial(right, move=lambda w, lr, way: lr * way),
        ),
        mistake(
            "sign_taken",
            """w moves by the signs of the direction, every entry by lr. Here entries that have been pulled at
            for long move further than others.""",
            partial(right, move=lambda w, lr, way: w - lr * way.sign()),
        ),
        mistake(
            "weight_decay_added",
            """A share of w is in the gradient, or in the step: that is weight decay, with a number of your
            own. It is no part of this step, which gets no such argument.""",
            *(
                way
                for decay in USUAL_DECAYS
                for way in (
                    lambda w, g, velocity, lr, beta, decay=decay: right(w, g + decay * w, velocity, lr, beta),
                    lambda w, g, velocity, lr, beta, decay=decay: right(
                        w - lr * decay * w, g, velocity, lr, beta
                    ),
                )
            ),
        ),
        mistake(
            "gradient_clipped",
            """Large gradients are cut down to a limit. Here the whole gradient enters the velocity, however
            steep the slope is.""",
            *(lambda w, g, velocity, lr, beta, cut=cut: right(w, cut(g), velocity, lr, beta) for cut in CUTS),
        ),
        mistake(
            "gradient_subtracted",
            """The gradient is subtracted in the velocity. In this form the velocity is beta times the old one
            plus the gradient, and the only minus sign is where w moves.""",
            partial(right, accumulate=lambda v, g, beta: beta * v - g),
            lambda w, g, velocity, lr, beta: right(w, -g, velocity, -lr, beta),
            lambda w, g, velocity, lr, beta: right(w, -g, velocity, lr, beta),
        ),
    )


MOMENTUM_MISTAKES = (
    mistake(
        "nesterov_for_classical",
        """This is Nesterov's step: from rest it is 1 + beta times too long. The heavy ball moves along
        the new velocity itself.""",
        nesterov,
    ),
    mistake(
        "old_velocity_moves_w",
        """w moves along the old velocity, so each gradient comes one step late, and from rest nothing moves
        at all. Update the velocity first.""",
        partial(momentum, direction=lambda g, old, new, beta: old),
        partial(momentum, direction=lambda g, old, new, beta: beta * old),
    ),
    mistake(
        "gradient_counted_twice",
        """w moves along the velocity and along the gradient. But the gradient is in the new velocity
        already, and so it counts twice.""",
        partial(momentum, direction=lambda g, old, new, beta: new + g),
    ),
    mistake(
        "gradient_moves_w",
        """w moves along the gradient alone: the velocity is kept and never used. That is plain gradient
        descent.""",
        partial(momentum, direction=lambda g, old, new, beta: g),
    ),
    *step_mistakes(momentum, ahead=False),
)

NESTEROV_MISTAKES = (
    mistake(
        "classical_for_nesterov",
        """This is the classical step along the velocity. Nesterov's looks one step ahead: to the gradient it
        adds beta times the new velocity. (With the old velocity there, you get the classical step again.)""",
        momentum,
        partial(nesterov, direction=lambda g, old, new, beta: g + beta * old),
    ),
    mistake(
        "look_ahead_without_beta",
        """The whole velocity is added to the gradient. One step ahead it will have faded: multiply it by beta
        once more.""",
        partial(nesterov, direction=lambda g, old, new, beta: g + new),
    ),
    mistake(
        "gradient_missing_ahead",
        """The gradient is left out of the step: only beta times the new velocity is taken. Looking ahead
        means one more fading and one more gradient.""",
        partial(nesterov, direction=lambda g, old, new, beta: beta * new),
    ),
    mistake(
        "step_stretched",
        """The step along the new velocity is longer by the factor 1 + beta. To look ahead isn't to go further
        the same way: the velocity counts beta times, and this step's gradient once more, by itself.""",
        partial(nesterov, direction=lambda g, old, new, beta: (1 + beta) * new),
    ),
    mistake(
        "velocity_and_gradient_swapped",
        """Velocity and gradient are swapped: w moves along the gradient plus beta times the new velocity, but
        here beta multiplies the gradient.""",
        partial(nesterov, direction=lambda g, old, new, beta: new + beta * g),
    ),
    mistake(
        "look_ahead_stored",
        """w is right after the first step, but what comes back as the velocity is the direction in which w
        moved. The look-ahead is for this step only; the velocity is beta times the old one plus the
        gradient.""",
        partial(nesterov, result=lambda w, new, old, way: (w, way)),
    ),
    *step_mistakes(nesterov, ahead=True),
)


#: Directions and velocities that are mistakes, by their keys, and how far the classical form goes then.
DIRECTIONS: dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {
    "nesterov_for_classical": nesterov_direction,
    "gradient_counted_twice": lambda g, old, new, beta: new + g,
    "gradient_moves_w": lambda g, old, new, beta: g,
    "classical_for_nesterov": heavy_ball_direction,
    "look_ahead_without_beta": lambda g, old, new, beta: g + new,
    "gradient_missing_ahead": lambda g, old, new, beta: beta * new,
}
VELOCITIES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "gradient_damped": lambda v, g, beta: beta * v + (1 - beta) * g,
    "beta_on_gradient": lambda v, g, beta: (1 - beta) * v + beta * g,
    "never_fades": lambda v, g, beta: v + g,
}
CLASSICAL: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "nesterov_for_classical": lambda old, new, beta: (1 + beta) * new - beta * old,
    "gradient_counted_twice": lambda old, new, beta: 2 * new - beta * old,
    "classical_for_nesterov": lambda old, new, beta: new,
    "look_ahead_without_beta": lambda old, new, beta: 2 * new - beta * old,
    "gradient_missing_ahead": lambda old, new, beta: beta * new,
}


def step_pairs(mistakes: Sequence[Mistake]) -> tuple[Mistake, ...]:
    """Two mistakes at once: one in where w goes, one in the velocity."""
    named = {one.key: one for one in mistakes}
    found = [
        both(named[way], named[kind], partial(step, direction=direction, accumulate=accumulate))
        for way, direction in DIRECTIONS.items()
        for kind, accumulate in VELOCITIES.items()
        if way in named
    ]
    found += [
        both(named[way], named["lr_in_velocity"], lr_inside(keep), lr_inside(keep, -1.0))
        for way, keep in CLASSICAL.items()
        if way in named
    ]
    keep = CLASSICAL[
        "classical_for_nesterov" if "nesterov_for_classical" in named else "nesterov_for_classical"
    ]
    found += [
        both(named["lr_in_velocity"], named[key], *(lr_inside(keep, sign, **knobs) for sign in (1.0, -1.0)))
        for key, knobs in (("gradient_damped", {"damped": True}), ("uphill", {"uphill": True}))
    ]
    return tuple(found)


# -- the moving average ------------------------------------------------------------------------------


def moving_average(
    values: Tensor,
    beta: float,
    bias_correction: bool = False,
    *,
    start: Callable[[Tensor], Tensor] = lambda values: torch.zeros_like(values[0]),
    mix: Callable[[Tensor, Tensor, Any], Tensor] = lambda old, new, beta: beta * old + (1 - beta) * new,
    corrected: Callable[[bool], bool] = lambda bias_correction: bias_correction,
    divisor: Callable[[Any, int, int], Any] = lambda beta, t, steps: 1 - beta**t,
    fed_back: bool = False,
    beta_used: Callable[[Any], Any] = lambda beta: beta,
    first: int = 0,
    axis: int = 0,
    result: Callable[[list[Tensor]], Tensor] = torch.stack,
) -> Tensor:
    """The definition, with a knob for each choice. first: how many values the start stands for."""
    values = values.movedim(axis, 0)
    weight = beta_used(torch.full((), beta, dtype=values.dtype, device=values.device))
    average = start(values)
    averages = [average] * first
    for t, value in enumerate(values[first:], first + 1):
        average = mix(average, value, weight)
        shown = average / divisor(weight, t, len(values)) if corrected(bias_correction) else average
        averages.append(shown)
        average = shown if fed_back else average
    return result(averages).movedim(0, axis) if axis else result(averages)


def weighted_sums(values: Tensor, beta: float, bias_correction: bool = False) -> Tensor:
    """The same as one matrix product: value s has the weight (1 − beta)·beta^(t − s) in average t."""
    time = torch.arange(len(values), dtype=values.dtype, device=values.device)
    age = time[:, None] - time
    weights = torch.where(age >= 0, (1 - beta) * beta ** age.clamp_min(0), 0.0)
    if bias_correction:
        weights = weights / weights.sum(1, keepdim=True)  # a geometric series: 1 − beta^t
    return torch.tensordot(weights, values, dims=1)


def aliased_average(values: Tensor, beta: float, bias_correction: bool = False) -> Tensor:
    """One tensor updated in place and listed T times."""
    average, averages = torch.zeros_like(values[0]), []
    for value in values:
        average.mul_(beta).add_((1 - beta) * value)
        averages.append(average)
    divisors = [1 - beta**t if bias_correction else 1.0 for t in range(1, len(values) + 1)]
    return torch.stack([one / divisor for one, divisor in zip(averages, divisors, strict=True)])


AVERAGE_MISTAKES = (
    mistake(
        "started_at_first_value",
        """The average starts at the first value. Here it starts at zero, so the first average is 1 − beta
        times the first value. The correction removes the bias towards zero that this brings.""",
        *(
            partial(moving_average, start=lambda values: values[0], first=first, corrected=corrected)
            for first in (0, 1)
            for corrected in (lambda wanted: wanted, lambda wanted: False)
        ),
    ),
    mistake(
        "first_value_skipped",
        """The first value is left out: the first average is the 0 that it starts from, and the loop begins
        with the second value. After the first value the average is 1 − beta times that.""",
        *(
            partial(
                moving_average, start=lambda values: torch.zeros_like(values[0]), first=1, corrected=corrected
            )
            for corrected in (lambda wanted: wanted, lambda wanted: False)
        ),
    ),
    mistake(
        "squares_averaged",
        """The squares of the values are averaged, as for Adam's second moment. Here it is the values
        themselves.""",
        partial(moving_average, mix=lambda old, new, beta: beta * old + (1 - beta) * new * new),
    ),
    mistake(
        "weights_swapped",
        """The weights are swapped: beta belongs to the old average and 1 − beta to the new value. A beta near
        1 gives a long memory.""",
        partial(moving_average, mix=lambda old, new, beta: (1 - beta) * old + beta * new),
        partial(
            moving_average,
            mix=lambda old, new, beta: (1 - beta) * old + beta * new,
            divisor=lambda beta, t, steps: 1 - (1 - beta) ** t,
        ),
    ),
    mistake(
        "not_damped",
        """The new value enters whole: that is a velocity, which adds up, and not an average. The two
        weights of an average sum to 1.""",
        partial(moving_average, mix=lambda old, new, beta: beta * old + new),
    ),
    mistake(
        "beta_fixed",
        """The averages do not change when beta changes: a fixed number is used where the argument beta should
        be.""",
        *(partial(moving_average, beta_used=lambda beta, value=value: value) for value in USUAL_BETAS),
    ),
    mistake(
        "plain_mean",
        """This is the plain mean of all values so far. An exponential average forgets: each step
        multiplies the weight of every older value by beta.""",
        lambda values, beta, bias_correction=False: torch.stack(
            [values[: t + 1].mean(0) for t in range(len(values))]
        ),
    ),
    mistake(
        "correction_missing",
        """bias_correction changes nothing. With it, each average is divided by 1 − beta^t, the sum of the
        weights so far. Without it the first averages are far too small.""",
        partial(moving_average, corrected=lambda wanted: False),
    ),
    mistake(
        "correction_always",
        """The averages are corrected even where bias_correction is False, which is the default. Without it,
        what starts at zero stays too small at first.""",
        partial(moving_average, corrected=lambda wanted: True),
    ),
    mistake(
        "correction_default",
        "Right whenever bias_correction is passed, and wrong when it is left out: its default is False.",
        lambda values, beta, bias_correction=True: moving_average(values, beta, bias_correction),
    ),
    mistake(
        "correction_reversed",
        "bias_correction works the wrong way round: it corrects where it is False, and not where it is True.",
        partial(moving_average, corrected=lambda wanted: not wanted),
    ),
    mistake(
        "correction_count",
        """The exponent of the correction is off by one: t counts from 1. After the first value the divisor is
        1 − beta, which gives that value back. With t = 0 you would divide by 0.""",
        partial(moving_average, divisor=lambda beta, t, steps: 1 - beta ** (t - 1)),
        partial(moving_average, divisor=lambda beta, t, steps: 1 - beta ** (t + 1)),
    ),
    mistake(
        "correction_constant",
        """All averages are divided by one number. The bias is large at first and fades: the divisor 1 −
        beta^t grows with t, from 1 − beta up to nearly 1.""",
        partial(moving_average, divisor=lambda beta, t, steps: 1 - beta),
        partial(moving_average, divisor=lambda beta, t, steps: 1 - beta**steps),
    ),
    mistake(
        "correction_formula",
        """The divisor of the correction is another number than 1 − beta^t. Only beta is raised to the power
        t, and the power is subtracted from 1: that is the sum of the weights so far.""",
        partial(moving_average, divisor=lambda beta, t, steps: (1 - beta) ** t),
        partial(moving_average, divisor=lambda beta, t, steps: 1 - beta * t),
        partial(moving_average, divisor=lambda beta, t, steps: beta**t),
        partial(moving_average, divisor=lambda beta, t, steps: (1 - beta**t) ** 0.5),
    ),
    mistake(
        "correction_multiplied",
        "The averages are multiplied by 1 − beta^t. They are too small at first, so divide by it.",
        partial(moving_average, divisor=lambda beta, t, steps: 1 / (1 - beta**t)),
    ),
    mistake(
        "correction_fed_back",
        """The corrected average goes into the next step, so corrections pile up. Go on with the uncorrected
        one, and divide only what you hand out.""",
        partial(moving_average, fed_back=True),
    ),
    mistake(
        "last_axis",
        """The averages run along the last axis. Time is the first axis: each entry of a vector or a matrix is
        averaged over the T values on its own.""",
        partial(moving_average, axis=-1),
    ),
    mistake(
        "only_the_last",
        """Only the last average is returned. There is one after each of the T values, so the shape is
        that of values.""",
        partial(moving_average, result=lambda averages: averages[-1]),
    ),
    mistake(
        "start_included",
        """The zero from which the average starts is among the results. The first result is the average
        after the first value.""",
        partial(moving_average, result=lambda averages: torch.stack([0 * averages[0], *averages])),
        partial(moving_average, result=lambda averages: torch.stack([0 * averages[0], *averages[:-1]])),
    ),
    mistake(
        "rows_alias",
        """All averages are the last one: one tensor is updated in place and stored again and again. Make
        a new tensor in each step, or store copies.""",
        aliased_average,
    ),
)


@cache
def average_pairs() -> tuple[Mistake, ...]:
    """A start at the first value, and the weights swapped, as where beta is taken for pandas' alpha."""
    named = {one.key: one for one in AVERAGE_MISTAKES}
    return (
        both(
            named["started_at_first_value"],
            named["weights_swapped"],
            *(
                partial(
                    moving_average,
                    start=lambda values: values[0],
                    mix=lambda old, new, beta: (1 - beta) * old + beta * new,
                    corrected=corrected,
                )
                for corrected in (lambda wanted: wanted, lambda wanted: False)
            ),
        ),
    )


# -- the best heavy ball -----------------------------------------------------------------------------


def heavy_ball(
    smallest: float,
    largest: float,
    *,
    lr: Callable[[Tensor, Tensor], Tensor] = lambda low, high: 4 / (high.sqrt() + low.sqrt()) ** 2,
    beta: Callable[[Tensor], Tensor] = lambda kappa: ((kappa.sqrt() - 1) / (kappa.sqrt() + 1)) ** 2,
    result: Callable[[float, float], tuple[float, float]] = lambda lr, beta: (lr, beta),
) -> tuple[float, float]:
    """The definition, with a knob for each number. kappa is largest / smallest."""
    low = torch.full((), smallest, dtype=torch.float64)
    high = torch.full((), largest, dtype=torch.float64)
    return result(float(lr(low, high)), float(beta(high / low)))


def critically_damped(smallest: float, largest: float) -> tuple[float, float]:
    """The same from the condition for it: both extreme eigenvalues are critically damped.

    An eigenvalue h is when beta = (1 − √(lr·h))²; with the root positive for the smallest one and
    negative for the largest one, √lr·(√smallest + √largest) = 2.
    """
    root = 2 / (math.sqrt(smallest) + math.sqrt(largest))
    return root**2, (1 - root * math.sqrt(smallest)) ** 2


HEAVY_BALL_MISTAKES = (
    mistake(
        "lr_of_gradient_descent",
        """lr is 2 / (smallest + largest), the best one for gradient descent without momentum. The heavy ball
        allows larger steps: its formula has the square roots of the eigenvalues.""",
        partial(heavy_ball, lr=lambda low, high: 2 / (low + high)),
        partial(heavy_ball, lr=lambda low, high: 2 / (low + high), beta=lambda kappa: 0 * kappa),
    ),
    mistake(
        "beta_not_squared",
        """Your beta is not squared. It is the square of (√kappa − 1) / (√kappa + 1). That number itself is
        the rate at which the error shrinks, and the beta of Nesterov's method.""",
        partial(heavy_ball, beta=lambda kappa: (kappa.sqrt() - 1) / (kappa.sqrt() + 1)),
    ),
    mistake(
        "beta_without_roots",
        """beta is computed from the condition number itself, where its square root belongs. That root is
        what momentum wins: the rate of gradient descent is (kappa − 1) / (kappa + 1).""",
        partial(heavy_ball, beta=lambda kappa: ((kappa - 1) / (kappa + 1)) ** 2),
        partial(heavy_ball, beta=lambda kappa: (kappa - 1) / (kappa + 1)),
    ),
    mistake(
        "lr_without_roots",
        """The denominator of lr holds the eigenvalues themselves. Add their roots, then square.""",
        partial(heavy_ball, lr=lambda low, high: 4 / (low + high) ** 2),
        partial(heavy_ball, lr=lambda low, high: 4 / (low + high)),
    ),
    mistake(
        "roots_forgotten",
        """Both numbers are computed from the eigenvalues themselves, where their square roots belong. That
        is what momentum gains: its rate goes by the root of the condition number.""",
        partial(
            heavy_ball,
            lr=lambda low, high: 4 / (low + high) ** 2,
            beta=lambda kappa: ((kappa - 1) / (kappa + 1)) ** 2,
        ),
    ),
    mistake(
        "half_for_root",
        """x ** 1/2 is half of x: the power comes before the division. The root is x ** (1/2), with
        brackets, or x ** 0.5.""",
        partial(
            heavy_ball,
            lr=lambda low, high: 4 / (high / 2 + low / 2) ** 2,
            beta=lambda kappa: ((kappa / 2 - 1) / (kappa / 2 + 1)) ** 2,
        ),
        partial(heavy_ball, lr=lambda low, high: 4 / (high / 2 + low / 2) ** 2),
        partial(heavy_ball, beta=lambda kappa: ((kappa / 2 - 1) / (kappa / 2 + 1)) ** 2),
    ),
    mistake(
        "brackets_missing",
        """Brackets are missing in a quotient: a division comes before + and −, so that only the number beside
        the / is divided, or divides. Put both sums in brackets.""",
        partial(
            heavy_ball,
            lr=lambda low, high: (2 / high.sqrt() + low.sqrt()) ** 2,
            beta=lambda kappa: (kappa.sqrt() - 1 / kappa.sqrt() + 1) ** 2,
        ),
        partial(heavy_ball, lr=lambda low, high: 2 / high.sqrt() + low.sqrt()),
        partial(heavy_ball, lr=lambda low, high: (2 / high.sqrt() + low.sqrt()) ** 2),
        partial(heavy_ball, lr=lambda low, high: 4 / high.sqrt() + low.sqrt()),
        partial(heavy_ball, beta=lambda kappa: (kappa.sqrt() - 1 / kappa.sqrt() + 1) ** 2),
        partial(heavy_ball, beta=lambda kappa: ((kappa.sqrt() - 1) / kappa.sqrt() + 1) ** 2),
    ),
    mistake(
        "beta_fixed",
        """beta is the same number in every landscape. The narrower the valley, the longer the ball has to
        remember: beta grows with the condition number.""",
        *(
            partial(heavy_ball, beta=lambda kappa, value=value: value + 0 * kappa)
            for value in (*USUAL_BETAS, 0.0)
        ),
    ),
    mistake(
        "beta_reversed",
        """beta and 1 − beta are swapped. beta is the share of the old velocity that stays, so it comes near 1
        in a narrow valley.""",
        partial(heavy_ball, beta=lambda kappa: 1 - ((kappa.sqrt() - 1) / (kappa.sqrt() + 1)) ** 2),
    ),
    mistake(
        "lr_not_squared",
        """lr is the square of 2 / (√largest + √smallest). Without it the units are wrong: a landscape
        that is four times as steep needs a quarter of the lr.""",
        partial(heavy_ball, lr=lambda low, high: 2 / (high.sqrt() + low.sqrt())),
        partial(heavy_ball, lr=lambda low, high: 4 / (high.sqrt() + low.sqrt())),
    ),
    mistake(
        "lr_factor",
        """lr is off by a constant factor. It is the square of 2 / (√largest + √smallest), and squaring
        gives 4.""",
        partial(heavy_ball, lr=lambda low, high: 2 / (high.sqrt() + low.sqrt()) ** 2),
        partial(heavy_ball, lr=lambda low, high: 1 / (high.sqrt() + low.sqrt()) ** 2),
    ),
    mistake(
        "lr_from_one_eigenvalue",
        """lr looks at one of the eigenvalues only. The best one is a compromise between the steepest and
        the flattest direction, so both enter.""",
        *(partial(heavy_ball, lr=lambda low, high, top=top: top / high) for top in (1.0, 2.0, 4.0)),
        partial(heavy_ball, lr=lambda low, high: 2 / low),
        partial(heavy_ball, lr=lambda low, high: 1 / low),
    ),
    mistake(
        "lr_at_the_limit",
        """lr is the largest with which the ball comes to rest at all, for this beta. Right at that limit it
        swings across the steepest direction without end. The fastest one is below it.""",
        lambda smallest, largest: (
            2 * (1 + heavy_ball(smallest, largest)[1]) / largest,
            heavy_ball(smallest, largest)[1],
        ),
    ),
    mistake(
        "lr_for_damped_gradients",
        """lr is divided by 1 − beta, as it would be for a velocity that takes in 1 − beta of the
        gradient. In this course the velocity takes in all of it.""",
        lambda smallest, largest: (
            heavy_ball(smallest, largest)[0] / (1 - heavy_ball(smallest, largest)[1]),
            heavy_ball(smallest, largest)[1],
        ),
    ),
    mistake(
        "parameters_of_nesterov",
        """These are the parameters for Nesterov's method, 1 / largest and a beta without the square. The
        heavy ball's are larger steps and a smaller beta.""",
        partial(
            heavy_ball,
            lr=lambda low, high: 1 / high,
            beta=lambda kappa: (kappa.sqrt() - 1) / (kappa.sqrt() + 1),
        ),
    ),
    mistake(
        "swapped",
        "lr and beta are swapped: lr comes first.",
        partial(heavy_ball, result=lambda lr, beta: (beta, lr)),
    ),
)


# -- the optimizer -----------------------------------------------------------------------------------


def library_optimizer(
    params: Iterable[Tensor],
    lr: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> torch.optim.Optimizer:
    """PyTorch's own, whose arguments stand in another order."""
    return torch.optim.SGD(params, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)


def to_none(p: Tensor) -> None:
    p.grad = None


def to_zero(p: Tensor) -> None:
    if p.grad is not None:
        p.grad.zero_()


def updated_in_place(p: Tensor, lr: float, way: Tensor) -> Tensor:
    p.copy_(p - lr * way)
    return p


def optimizer_class(
    *,
    default_momentum: float = 0.0,
    default_nesterov: bool = False,
    default_decay: float = 0.0,
    lr_used: Callable[[float], float] = lambda lr: lr,
    beta_used: Callable[[float], float] = lambda beta: beta,
    nesterov_used: Callable[[bool], bool] = lambda nesterov: nesterov,
    kept: Callable[[Iterable[Tensor]], Any] = list,
    missing: Callable[[Tensor], Tensor | None] = lambda p: p.grad,
    stops: bool = False,
    decayed: Callable[[Tensor, Tensor, float, float], Tensor] = lambda g, p, decay, beta: g + decay * p,
    first: Callable[[Tensor, float], Tensor] = lambda g, beta: g,
    following: Callable[[Tensor, Tensor, float], Tensor] = lambda v, g, beta: beta * v + g,
    direction: Callable[[Tensor, Tensor, Tensor | None, Tensor, float, bool], Tensor] = (
        lambda raw, g, old, v, beta, nesterov: g + beta * v if nesterov else v
    ),
    stored: Callable[[Tensor, Tensor], Tensor | None] = lambda v, way: v,
    finished: Callable[[Tensor, Tensor, float, float], Tensor] = lambda way, p, decay, lr: way,
    update: Callable[[Tensor, float, Tensor], Tensor] = updated_in_place,
    zero: Callable[[Tensor], None] = to_none,
    clears: bool = False,
    graph: bool = False,
    forgets: bool = False,
    shared: tuple[str, ...] = (),
) -> type:
    """The definition as a class, with a knob for each choice.

    missing: the gradient to use. stops: at the first parameter without one. decayed: the gradient with
    weight decay. first, following: the velocity from the first gradient, and from each later one.
    direction: from the raw and the decayed gradient, the old and the new velocity. finished: what is
    done to the direction at the end. clears: step does what zero_grad is for. graph: step is recorded
    by autograd. forgets: a parameter without a gradient loses its velocity. shared: attributes that the class
    keeps for all its optimizers.
    """

    class SGD:
        def __init__(
            self,
            params: Iterable[Tensor],
            lr: float,
            momentum: float = default_momentum,
            nesterov: bool = default_nesterov,
            weight_decay: float = default_decay,
        ) -> None:
            self.params = kept(params)
            self.lr, self.beta = lr_used(lr), beta_used(momentum)
            self.nesterov, self.decay = nesterov_used(nesterov), weight_decay
            self.velocities: dict[int, Tensor] = {}
            for name in shared:
                setattr(type(self), name, self.__dict__.pop(name))

        def step(self) -> None:
            with torch.set_grad_enabled(graph):
                for i, p in enumerate(self.params):
                    raw = missing(p)
                    if raw is None and stops:
                        break
                    if raw is not None:
                        self._move(i, p, raw)
                    elif forgets:
                        self.velocities.pop(i, None)

        def _move(self, i: int, p: Tensor, raw: Tensor) -> None:
            g = decayed(raw, p, self.decay, self.beta)
            old = self.velocities.get(i)
            v = first(g, self.beta) if old is None else following(old, g, self.beta)
            way = direction(raw, g, old, v, self.beta, self.nesterov)
            kept_velocity = stored(v, way)
            if kept_velocity is not None:
                self.velocities[i] = kept_velocity
            moved = update(p, self.lr, finished(way, p, self.decay, self.lr))
            if moved is not p:
                self.params[i] = moved
            if clears:
                p.grad = None

        def zero_grad(self) -> None:
            for p in self.params:
                zero(p)

    return SGD


def with_lr_in_decay() -> type:
    class SGD(optimizer_class()):
        def __init__(
            self,
            params: Iterable[Tensor],
            lr: float,
            momentum: float = 0.0,
            nesterov: bool = False,
            weight_decay: float = 0.0,
        ) -> None:
            super().__init__(params, lr, momentum, nesterov, lr * weight_decay)

    return SGD


def rebinding(p: Tensor, lr: float, way: Tensor) -> Tensor:
    """A new tensor in the optimizer's list; the model's own stays as it was."""
    return (p - lr * way).requires_grad_()


def computed_only(p: Tensor, lr: float, way: Tensor) -> Tensor:
    """The new value under a local name, and then forgotten."""
    return p


def without_no_grad(p: Tensor, lr: float, way: Tensor) -> Tensor:
    p -= lr * way
    return p


def aliased_decay(g: Tensor, p: Tensor, decay: float, beta: float) -> Tensor:
    """Weight decay that makes a new tensor only where there is some."""
    return g + decay * p if decay else g


def ahead_in_place(
    raw: Tensor, g: Tensor, old: Tensor | None, v: Tensor, beta: float, nesterov: bool
) -> Tensor:
    """Nesterov's direction, added up in the gradient itself."""
    return raw.add_(g - raw + beta * v) if nesterov else v


def in_place_velocity(v: Tensor, g: Tensor, beta: float) -> Tensor:
    return v.mul_(beta).add_(g)


def or_zeros(p: Tensor) -> Tensor:
    return torch.zeros_like(p) if p.grad is None else p.grad


def walked(params: Iterable[Tensor]) -> Iterable[Tensor]:
    """The params as they came, walked through once already if they can be walked through only once."""
    for _ in params:
        pass
    return params


def ignoring_none(method: Callable[[Tensor], Any]) -> Callable[[Tensor], Tensor]:
    """The gradient after a first use of it that does not ask whether there is one."""

    def used(p: Tensor) -> Tensor:
        method(p)
        return p.grad

    return used


def in_the_order_of_torch() -> type:
    """The definition with its optional arguments as `torch.optim.SGD` has them, but for the dampening."""
    right = optimizer_class()

    class SGD(right):
        def __init__(
            self,
            params: Iterable[Tensor],
            lr: float,
            momentum: float = 0.0,
            weight_decay: float = 0.0,
            nesterov: bool = False,
        ) -> None:
            super().__init__(params, lr, momentum, nesterov, weight_decay)

    return SGD


def with_dampening(used: bool) -> type:
    """The definition with all optional arguments of `torch.optim.SGD`. used: the dampening does something."""

    class SGD:
        def __init__(
            self,
            params: Iterable[Tensor],
            lr: float,
            momentum: float = 0.0,
            dampening: float = 0.0,
            weight_decay: float = 0.0,
            nesterov: bool = False,
        ) -> None:
            share = 1 - float(dampening) if used else 1.0
            right = optimizer_class(following=lambda v, g, beta: beta * v + share * g)
            self.inner = right(params, lr, momentum, nesterov, weight_decay)

        def step(self) -> None:
            self.inner.step()

        def zero_grad(self) -> None:
            self.inner.zero_grad()

    return SGD


OPTIMIZER_MISTAKES = (
    mistake(
        "order_of_arguments",
        """Right when the arguments are passed by name, but wrong by position: the order is params, lr,
        momentum, nesterov, weight_decay. (torch.optim.SGD has another order.)""",
        in_the_order_of_torch(),
        with_dampening(used=False),
        with_dampening(used=True),
    ),
    mistake(
        "zero_grad_does_nothing",
        """After zero_grad the old gradients are still there, so the next backward adds to them. It sets
        every parameter's .grad to None or to zero.""",
        optimizer_class(zero=lambda p: None),
    ),
    mistake(
        "zero_grad_fails",
        """zero_grad fails where a parameter has no gradient yet; before the first backward, none has. Check
        whether there is one, or just set it to None.""",
        optimizer_class(zero=lambda p: p.grad.zero_()),
        optimizer_class(zero=lambda p: p.grad.fill_(0)),
    ),
    mistake(
        "generator_used_up",
        """Where params is a generator, as model.parameters() is, only the first loop over it finds anything.
        Turn it into a list when the optimizer is made.""",
        optimizer_class(kept=lambda params: params),
        optimizer_class(kept=walked),
    ),
    mistake(
        "momentum_default",
        "Right whenever momentum is passed, and wrong when it is left out: its default is 0.",
        *(optimizer_class(default_momentum=value) for value in USUAL_BETAS),
    ),
    mistake(
        "nesterov_default",
        "Right whenever nesterov is passed, and wrong when it is left out: its default is False.",
        optimizer_class(default_nesterov=True),
    ),
    mistake(
        "weight_decay_default",
        "Right whenever weight_decay is passed, and wrong when it is left out: its default is 0.",
        *(optimizer_class(default_decay=value) for value in (1e-2, 1e-4, 5e-4, 1e-3)),
    ),
    mistake(
        "gradient_damped",
        """The gradient enters the velocity with the factor 1 − momentum: a moving average, whose steps
        become ten times too small at 0.9. In PyTorch's SGD the velocity is momentum times the old one plus
        the whole gradient.""",
        optimizer_class(
            first=lambda g, beta: (1 - beta) * g, following=lambda v, g, beta: beta * v + (1 - beta) * g
        ),
    ),
    mistake(
        "damped_after_the_first",
        """From the second step on the gradient enters the velocity with the factor 1 − momentum. The
        gradient enters whole in every step, not only in the first.""",
        optimizer_class(following=lambda v, g, beta: beta * v + (1 - beta) * g),
    ),
    mistake(
        "first_gradient_damped",
        """The first velocity is damped. It is the first gradient itself, whole, and later ones are added
        to momentum times the old velocity.""",
        optimizer_class(first=lambda g, beta: (1 - beta) * g),
        optimizer_class(first=lambda g, beta: beta * g),
    ),
    mistake(
        "first_gradient_lost",
        """The first gradient is lost: the velocity is set to 0 in the first step, and the gradient enters
        from the second one on. The first velocity is the first gradient.""",
        optimizer_class(first=lambda g, beta: torch.zeros_like(g)),
        optimizer_class(first=lambda g, beta: torch.zeros_like(g) if beta else g),
    ),
    mistake(
        "momentum_on_gradient",
        """momentum is in the wrong place. It belongs to the old velocity, and the whole gradient enters.""",
        *(
            optimizer_class(first=first, following=following)
            for following in (
                lambda v, g, beta: v + beta * g,
                lambda v, g, beta: (1 - beta) * v + beta * g,
            )
            for first in (lambda g, beta: g, lambda g, beta: beta * g)
        ),
    ),
    mistake(
        "momentum_on_both",
        """momentum multiplies the sum of velocity and gradient. Only the old velocity fades, by the factor
        momentum.""",
        optimizer_class(following=lambda v, g, beta: beta * (v + g)),
        optimizer_class(first=lambda g, beta: beta * g, following=lambda v, g, beta: beta * (v + g)),
    ),
    mistake(
        "never_fades",
        """The old velocity is added whole, so it never fades: momentum is the part of it that is left after
        one step.""",
        optimizer_class(following=lambda v, g, beta: v + g),
    ),
    mistake(
        "old_velocity_moves",
        """The parameters move along the old velocity: in the first step nothing moves, and every gradient
        comes one step late. Update the velocity first.""",
        optimizer_class(
            direction=lambda raw, g, old, v, beta, nesterov: torch.zeros_like(g) if old is None else old
        ),
        optimizer_class(
            direction=lambda raw, g, old, v, beta, nesterov: (
                g if not beta else torch.zeros_like(g) if old is None else old
            )
        ),
    ),
    mistake(
        "velocity_is_the_gradient",
        """The stored velocity and a parameter's .grad are the same tensor: what zero_grad or the next
        backward does to the gradient, it does to the velocity too. Keep a copy, or compute into a new
        tensor.""",
        *(
            optimizer_class(decayed=aliased_decay, following=following, zero=zero)
            for following in (in_place_velocity, lambda v, g, beta: beta * v + g)
            for zero in (to_zero, to_none)
        ),
    ),
    mistake(
        "momentum_ignored",
        """momentum changes nothing: every step is one of plain gradient descent. The velocity is momentum
        times the old velocity plus the gradient, and the parameters move along it.""",
        optimizer_class(beta_used=lambda beta: 0.0),
    ),
    mistake(
        "velocity_not_kept",
        """Each step starts from rest: the velocity is not kept for the next one. A ball gathers speed
        only if its velocity is carried over, for every parameter by itself.""",
        optimizer_class(stored=lambda v, way: None),
    ),
    mistake(
        "velocity_kept_from_the_first",
        """The velocity stays what it was after the first step, and later gradients do not enter it. It is
        computed anew in every step, and stored again.""",
        optimizer_class(following=lambda v, g, beta: v),
    ),
    mistake(
        "momentum_fixed",
        """The path does not change when momentum changes. A fixed number is used where the argument should
        be, even where momentum is 0.""",
        *(optimizer_class(beta_used=lambda beta, value=value: value) for value in USUAL_BETAS),
        *(
            optimizer_class(beta_used=lambda beta, value=value: value if beta else 0.0)
            for value in USUAL_BETAS
        ),
    ),
    mistake(
        "lr_ignored",
        "The path does not change when lr changes: a fixed number is used where the argument should be.",
        *(optimizer_class(lr_used=lambda lr, value=value: value) for value in USUAL_LRS),
    ),
    mistake(
        "lr_twice",
        """lr enters twice, in the velocity and again when the parameters move. It belongs only to the
        second.""",
        optimizer_class(lr_used=lambda lr: lr * lr),
    ),
    mistake(
        "uphill",
        "The step is added to the parameters. Gradients point uphill, and the parameters go the other way.",
        optimizer_class(lr_used=lambda lr: -lr),
    ),
    mistake(
        "nesterov_ignored",
        """nesterov=True changes nothing: the step is the classical one. Nesterov's takes the gradient plus
        momentum times the new velocity. (With the old one it is the classical step again.)""",
        optimizer_class(nesterov_used=lambda nesterov: False),
    ),
    mistake(
        "nesterov_always",
        """Nesterov's step is taken even where nesterov is False, as it is by default. The classical step is
        along the velocity itself.""",
        optimizer_class(nesterov_used=lambda nesterov: True),
    ),
    mistake(
        "nesterov_without_factor",
        """Nesterov's step adds the whole velocity to the gradient. One step ahead it has faded: multiply it
        by momentum once more.""",
        optimizer_class(
            direction=lambda raw, g, old, v, beta, nesterov: g + v if nesterov else v,
        ),
    ),
    mistake(
        "nesterov_stretched",
        """Nesterov's step goes 1 + momentum times as far along the new velocity. To look ahead isn't to go
        further the same way: it is the gradient plus momentum times the new velocity.""",
        optimizer_class(
            direction=lambda raw, g, old, v, beta, nesterov: (1 + beta) * v if nesterov else v,
        ),
    ),
    mistake(
        "nesterov_without_gradient",
        """The gradient is left out of Nesterov's step: only momentum times the new velocity is taken. It is
        added once more by itself.""",
        optimizer_class(
            direction=lambda raw, g, old, v, beta, nesterov: beta * v if nesterov else v,
        ),
    ),
    mistake(
        "nesterov_old_velocity_twice",
        """With nesterov=True the old velocity moves the parameters twice: it is in the new one already, and
        momentum times the old one is added to that. Add momentum times the new one to the gradient.""",
        optimizer_class(
            direction=lambda raw, g, old, v, beta, nesterov: (
                v + beta * old if nesterov and old is not None else v
            ),
        ),
    ),
    mistake(
        "look_ahead_stored",
        """With nesterov=True the direction of the step is stored as the velocity. The look-ahead is for
        this step only; the velocity itself is momentum times the old one plus the gradient.""",
        optimizer_class(stored=lambda v, way: way),
    ),
    mistake(
        "decay_left_in_gradient",
        """The decay, or the look-ahead, is left in .grad. The next backward adds to what is there, so it
        counts again. .grad belongs to backward: compute into a tensor of your own.""",
        optimizer_class(decayed=lambda g, p, decay, beta: g.add_(decay * p) + 0.0),
        optimizer_class(direction=ahead_in_place),
    ),
    mistake(
        "kept_by_the_class",
        """A second optimizer changes the path of the first: the velocities, or the settings, are kept by the
        class, where all optimizers share them. Each keeps its own, on self.""",
        optimizer_class(shared=("velocities",)),
        optimizer_class(shared=("lr",)),
        optimizer_class(shared=("beta",)),
        optimizer_class(shared=("lr", "beta", "nesterov", "decay")),
    ),
    mistake(
        "weight_decay_missing",
        "weight_decay changes nothing. It adds weight_decay times the parameter to the gradient.",
        optimizer_class(decayed=lambda g, p, decay, beta: 1.0 * g),
    ),
    mistake(
        "weight_decay_after_momentum",
        """Weight decay comes in after the velocity. In SGD it joins the gradient first, and goes through the
        velocity with it. (Kept apart, as here, it is the decoupled weight decay of AdamW.)""",
        optimizer_class(
            decayed=lambda g, p, decay, beta: 1.0 * g, finished=lambda way, p, decay, lr: way + decay * p
        ),
        optimizer_class(
            decayed=lambda g, p, decay, beta: 1.0 * g,
            finished=lambda way, p, decay, lr: way + decay * (p - lr * way),
        ),
    ),
    mistake(
        "weight_decay_without_lr",
        """The parameters shrink by the factor 1 − weight_decay in each step, whatever lr is. Weight decay
        is added to the gradient, so it goes through the velocity and is multiplied by lr.""",
        optimizer_class(
            decayed=lambda g, p, decay, beta: 1.0 * g, finished=lambda way, p, decay, lr: way + decay / lr * p
        ),
        optimizer_class(
            decayed=lambda g, p, decay, beta: 1.0 * g,
            finished=lambda way, p, decay, lr: way + decay / lr * (p - lr * way),
        ),
    ),
    mistake(
        "weight_decay_of_matrices",
        """Weight decay acts on matrices only: parameters with fewer dimensions get none. Here, as in
        PyTorch's SGD, it acts on every parameter.""",
        optimizer_class(decayed=lambda g, p, decay, beta: g + decay * p if p.dim() > 1 else 1.0 * g),
    ),
    mistake(
        "weight_decay_of_the_penalty",
        """The penalty itself, or the size of the parameters, is added to the gradient. Its derivative belongs
        there: weight_decay times the parameter, sign and all.""",
        optimizer_class(decayed=lambda g, p, decay, beta: g + decay * p.square()),
        optimizer_class(decayed=lambda g, p, decay, beta: g + decay * p.abs()),
        optimizer_class(decayed=lambda g, p, decay, beta: g + decay * p.square().sum()),
        optimizer_class(decayed=lambda g, p, decay, beta: g + decay * p.norm()),
    ),
    mistake(
        "weight_decay_only_with_momentum",
        """Weight decay acts only where momentum is not 0. It joins the gradient before anything is asked
        about momentum.""",
        optimizer_class(decayed=lambda g, p, decay, beta: g + decay * p if beta else 1.0 * g),
    ),
    mistake(
        "weight_decay_only_without_momentum",
        "Weight decay acts only where momentum is 0. It joins the gradient first, with or without momentum.",
        optimizer_class(decayed=lambda g, p, decay, beta: 1.0 * g if beta else g + decay * p),
    ),
    mistake(
        "weight_decay_factor",
        """Weight decay is off by a factor of 2. In PyTorch weight_decay times the parameter joins the
        gradient: the derivative of weight_decay / 2 times the sum of squares.""",
        optimizer_class(decayed=lambda g, p, decay, beta: g + 2 * decay * p),
        optimizer_class(decayed=lambda g, p, decay, beta: g + 0.5 * decay * p),
    ),
    mistake(
        "lr_in_weight_decay",
        """lr multiplies the weight decay before it joins the gradient, and then the whole step: it counts
        twice. weight_decay times the parameter joins the gradient as it is.""",
        with_lr_in_decay(),
    ),
    mistake(
        "weight_decay_sign",
        "Weight decay makes the parameters grow: it is added to the gradient, which is subtracted later.",
        optimizer_class(decayed=lambda g, p, decay, beta: g - decay * p),
    ),
    mistake(
        "weight_decay_by_sign",
        """Weight decay pulls by a constant amount, the sign of the parameter. That is the L1 penalty;
        here it is in proportion to the parameter.""",
        optimizer_class(decayed=lambda g, p, decay, beta: g + decay * p.sign()),
    ),
    mistake(
        "look_ahead_without_decay",
        """With nesterov=True the velocity includes the weight decay, but the gradient that it is added to
        does not. Use the decayed gradient in both places.""",
        optimizer_class(
            direction=lambda raw, g, old, v, beta, nesterov: raw + beta * v if nesterov else v,
        ),
    ),
    mistake(
        "missing_gradient_stops",
        """The first parameter without a gradient ends the step, and the ones after it stay where they are.
        Skip only that one.""",
        optimizer_class(stops=True),
    ),
    mistake(
        "missing_gradient_as_zero",
        """A parameter without a gradient is treated as if its gradient were zero: its velocity or its
        weight decay still moves it. PyTorch skips it, and leaves its velocity as it is.""",
        optimizer_class(missing=or_zeros),
    ),
    mistake(
        "missing_gradient_forgets",
        """A parameter without a gradient loses its velocity, and starts from rest when the next gradient
        comes. PyTorch skips it, and leaves its velocity as it is.""",
        optimizer_class(forgets=True),
    ),
    mistake(
        "missing_gradient_fails",
        """A parameter whose .grad is None makes step fail. Not every parameter takes part in every loss;
        skip the ones without a gradient.""",
        *(
            optimizer_class(missing=ignoring_none(method))
            for method in (
                lambda p: p.grad + 0.5 * p,
                lambda p: 0.5 * p + p.grad,
                lambda p: p + p.grad,
                lambda p: 0.5 * p.grad,
                lambda p: p.grad * 0.5,
                lambda p: p.grad.clone(),
                lambda p: p.grad.detach(),
                lambda p: p.grad.data,
                lambda p: p.grad.add(p),
                lambda p: p - p.grad,
            )
        ),
    ),
    mistake(
        "parameters_replaced",
        """The parameters that were passed in do not move: the new values are put into new tensors. The model
        keeps the old ones, so change those in place.""",
        optimizer_class(update=rebinding),
        optimizer_class(update=computed_only),
    ),
    mistake(
        "recorded_by_autograd",
        """Autograd records the update, and it does not let you change a parameter in place while it records.
        Switch recording off for the step: torch.no_grad().""",
        optimizer_class(update=without_no_grad, graph=True),
    ),
    mistake(
        "step_clears_gradients",
        """step clears the gradients. That is what zero_grad is for: if you add up gradients over several
        backward passes, you still need them.""",
        optimizer_class(clears=True),
    ),
)


@cache
def optimizer_pairs() -> tuple[Mistake, ...]:
    """Two mistakes at once: a damped gradient, and one in a later part of the step."""
    named = {one.key: one for one in OPTIMIZER_MISTAKES}
    damped: dict[str, Callable[[Tensor, float], Tensor]] = {
        "gradient_damped": lambda g, beta: (1 - beta) * g,
        "damped_after_the_first": lambda g, beta: g,
    }
    later: dict[str, dict[str, Any]] = {
        "nesterov_ignored": {"nesterov_used": lambda nesterov: False},
        "nesterov_without_factor": {
            "direction": lambda raw, g, old, v, beta, nesterov: g + v if nesterov else v
        },
        "weight_decay_missing": {"decayed": lambda g, p, decay, beta: 1.0 * g},
        "weight_decay_factor": {"decayed": lambda g, p, decay, beta: g + 2 * decay * p},
        "weight_decay_after_momentum": {
            "decayed": lambda g, p, decay, beta: 1.0 * g,
            "finished": lambda way, p, decay, lr: way + decay * p,
        },
    }
    return tuple(
        both(
            named[one],
            named[other],
            optimizer_class(first=first, following=lambda v, g, beta: beta * v + (1 - beta) * g, **knobs),
        )
        for one, first in damped.items()
        for other, knobs in later.items()
    )


# -- momentum_roots ----------------------------------------------------------------------------------

#: The two roots.
Roots = tuple[complex, complex]


def roots_by_matrix(eigenvalue: float, lr: float, beta: float) -> Roots:
    """The eigenvalues of the 2 × 2 matrix that takes (w, v) to the next (w, v)."""
    step = torch.tensor([[1 - lr * eigenvalue, -lr * beta], [eigenvalue, beta]], dtype=torch.float64)
    first, second = torch.linalg.eigvals(step).tolist()
    return first, second


def by_formula(b: Tensor, inner: Tensor) -> Roots:
    """(b ± √inner) / 2, complex where inner is negative."""
    root = inner.abs().sqrt()
    if inner < 0:
        return complex(b / 2, root / 2), complex(b / 2, -root / 2)
    return complex((b + root) / 2), complex((b - root) / 2)


def roots(
    eigenvalue: float,
    lr: float,
    beta: float,
    *,
    product: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda eigenvalue, lr, beta: lr * eigenvalue,
    trace: Callable[[Tensor, Tensor], Tensor] = lambda p, beta: 1 + beta - p,
    last: Callable[[Tensor, Tensor], Tensor] = lambda p, beta: beta,
    four: float = 4.0,
    formula: Callable[[Tensor, Tensor], Roots] = by_formula,
    result: Callable[[complex, complex], Roots] = lambda first, second: (first, second),
) -> Roots:
    """The definition: r² − trace · r + last = 0, with a knob for each choice."""
    numbers = [torch.full((), one, dtype=torch.float64) for one in (eigenvalue, lr, beta)]
    p = product(*numbers)
    b = trace(p, numbers[2])
    return result(*formula(b, b * b - four * last(p, numbers[2])))


def real_parts(b: Tensor, inner: Tensor) -> Roots:
    root = inner.clamp_min(0).sqrt()
    return complex((b + root) / 2), complex((b - root) / 2)


def of_size(b: Tensor, inner: Tensor) -> Roots:
    root = inner.abs().sqrt()
    return complex((b + root) / 2), complex((b - root) / 2)


def not_halved(b: Tensor, inner: Tensor) -> Roots:
    first, second = by_formula(b, inner)
    return 2 * first, 2 * second


def only_b_halved(b: Tensor, inner: Tensor) -> Roots:
    return by_formula(b, 4 * inner)


def only_root_halved(b: Tensor, inner: Tensor) -> Roots:
    """b ± root / 2."""
    return by_formula(2 * b, inner)


def half_of_the_first(b: Tensor, inner: Tensor) -> Roots:
    """The brackets are there in the first root, and missing in the second."""
    return by_formula(b, inner)[0], by_formula(2 * b, inner)[1]


def parts_apart(first: complex, second: complex) -> Roots:
    """The real and the imaginary part of a complex root, as if they were the two."""
    return (complex(first.real), complex(first.imag)) if first.imag else (first, second)


def in_real_numbers(b: Tensor, inner: Tensor) -> Roots:
    root = math.sqrt(inner)
    return complex((b + root) / 2), complex((b - root) / 2)


def not_a_number(b: Tensor, inner: Tensor) -> Roots:
    root = inner.sqrt()
    return complex((b + root) / 2), complex((b - root) / 2)


ROOTS_MISTAKES = (
    mistake(
        "imaginary_part_dropped",
        """Where the number under the root is negative no imaginary part comes back. The roots are complex
        there, and the imaginary part is what makes the ball swing.""",
        partial(roots, formula=real_parts),
        partial(roots, result=lambda first, second: (complex(first.real), complex(second.real))),
    ),
    mistake(
        "parts_for_roots",
        """Where the roots are complex, the real and the imaginary part come back as if they were the two
        roots. They are one root, complex(real, imaginary); the other one is its conjugate.""",
        partial(roots, result=parts_apart),
    ),
    mistake(
        "imaginary_part_as_real",
        """Where the number under the root is negative, its absolute value is taken and added to the real
        part. The root of a negative number is imaginary.""",
        partial(roots, formula=of_size),
    ),
    mistake(
        "root_of_a_negative_number",
        """In real numbers the root of a negative number is NaN or an error. With momentum the number under
        the root is negative over a whole range of lr · eigenvalue: the two roots are complex there.""",
        partial(roots, formula=in_real_numbers),
        partial(roots, formula=not_a_number),
    ),
    mistake(
        "sizes_only",
        """These are the absolute values of the roots. They say how fast the error shrinks; sign and angle,
        which say how it swings, are lost.""",
        partial(roots, result=lambda first, second: (complex(abs(first)), complex(abs(second)))),
    ),
    mistake(
        "one_root_twice",
        """One root comes back twice. The quadratic equation has two, one with each sign of the root; complex
        ones are conjugate.""",
        partial(roots, result=lambda first, second: (first, first)),
        partial(roots, result=lambda first, second: (second, second)),
    ),
    mistake(
        "quadratic_formula",
        """Something is wrong in the quadratic formula: the roots of r² − b r + c are half of b ± the root of
        b² − 4c. Here b = 1 + beta − lr · eigenvalue, and c = beta.""",
        partial(roots, four=1.0),
        partial(roots, four=2.0),
        partial(roots, four=-4.0),
        partial(roots, formula=not_halved),
        partial(roots, formula=only_b_halved),
        partial(roots, formula=only_root_halved),
        partial(roots, formula=half_of_the_first),
    ),
    mistake(
        "signs_reversed",
        """Both roots have the wrong sign: the middle term of the equation is −(1 + beta − lr · eigenvalue) r.
        With an eigenvalue of 0 nothing pulls, and the roots are 1 and beta.""",
        partial(roots, trace=lambda p, beta: p - 1 - beta),
    ),
    mistake(
        "beta_missing_in_the_middle",
        """The middle term has lost beta. In w[t+1] = w[t] − lr · v[t+1], the velocity brings back beta times
        the last difference, w[t] − w[t−1]. So beta goes with both.""",
        partial(roots, trace=lambda p, beta: 1 - p),
        partial(roots, trace=lambda p, beta: beta - p),
    ),
    mistake(
        "beta_subtracted_in_the_middle",
        """beta has the wrong sign in the middle term, which is 1 + beta − lr · eigenvalue. With an eigenvalue
        of 0 nothing pulls, and the roots are 1 and beta.""",
        partial(roots, trace=lambda p, beta: 1 - beta - p),
    ),
    mistake(
        "step_subtracted_wrongly",
        """lr · eigenvalue is added in the middle term. The gradient pulls back to the minimum: it is
        subtracted.""",
        partial(roots, trace=lambda p, beta: 1 + beta + p),
    ),
    mistake(
        "gradient_damped",
        """The gradient is multiplied by 1 − beta, as in an exponential average. The velocity here is
        PyTorch's: the whole gradient enters.""",
        partial(roots, product=lambda eigenvalue, lr, beta: lr * eigenvalue * (1 - beta)),
    ),
    mistake(
        "beta_reversed",
        """beta and 1 − beta are swapped. beta is the weight of the old velocity: with beta = 0 the roots are
        0 and 1 − lr · eigenvalue.""",
        partial(roots, trace=lambda p, beta: 2 - beta - p, last=lambda p, beta: 1 - beta),
    ),
    mistake(
        "nesterov",
        """These are the roots of Nesterov's momentum, which takes the gradient further ahead. The heavy
        ball's equation has beta alone at its end, without lr.""",
        partial(roots, trace=lambda p, beta: (1 + beta) * (1 - p), last=lambda p, beta: beta * (1 - p)),
    ),
    mistake(
        "lr_missing",
        """The roots do not change with lr, or not as they should. What counts is lr · eigenvalue: how far one
        step goes, in units of the distance to the minimum.""",
        partial(roots, product=lambda eigenvalue, lr, beta: eigenvalue),
        partial(roots, product=lambda eigenvalue, lr, beta: lr),
        partial(roots, product=lambda eigenvalue, lr, beta: lr * lr * eigenvalue),
    ),
)


# -- convert_momentum --------------------------------------------------------------------------------


def betas_from_paths(lrs: Tensor, beta: float) -> Tensor:
    """From running the textbook's form with a gradient of 1: what PyTorch's velocity would have to do."""
    step, velocities = 0.0, []
    for lr in lrs.tolist():
        step = beta * step + lr
        velocities.append(step / lr)  # PyTorch's velocity times lr is the textbook's
    found = [beta] + [(new - 1) / old for old, new in itertools.pairwise(velocities)]
    return torch.tensor(found, dtype=lrs.dtype)


def converted(
    lrs: Tensor,
    beta: float,
    *,
    factor: Callable[[Tensor, Tensor], Tensor] = lambda before, now: before / now,
    before: Callable[[Tensor], Tensor] = lambda lrs: torch.cat([lrs[:1], lrs[:-1]]),
    weight: Callable[[Tensor, float], Tensor] = lambda factors, beta: beta * factors,
    result: Callable[[Tensor], Tensor] = lambda betas: betas,
) -> Tensor:
    """The definition: beta times the lr before over the lr now, with a knob for each choice."""
    return result(weight(factor(before(lrs), lrs), beta))


def overwriting(lrs: Tensor, beta: float) -> Tensor:
    """Each lr gives way to its beta, from which the next one is made."""
    found = lrs.clone()
    found[0] = beta
    for t in range(1, len(found)):
        found[t] = beta * found[t - 1] / found[t]
    return found


CONVERT_MISTAKES = (
    mistake(
        "ratio_inverted",
        """The ratio is upside down. The textbook's velocity holds the old lr, PyTorch's does not. If lr falls
        to a tenth, the old velocity must count ten times as much to move w as far.""",
        partial(converted, factor=lambda before, now: now / before),
    ),
    mistake(
        "beta_unchanged",
        """beta stays the same, and the two paths part as soon as lr changes. PyTorch multiplies the whole
        velocity by the new lr, even what was collected under the old one.""",
        partial(converted, factor=lambda before, now: torch.ones_like(now)),
    ),
    mistake(
        "ratio_to_the_first",
        """Every lr is compared with the first one, or each beta is made from the one before, which comes to
        the same: the ratios multiply up. A velocity is handed from one step to the next, so it is
        the lr of the step before that counts.""",
        partial(converted, before=lambda lrs: lrs[:1].expand_as(lrs)),
        partial(
            converted, before=lambda lrs: lrs[:1].expand_as(lrs), factor=lambda before, now: now / before
        ),
    ),
    mistake(
        "one_step_late",
        """The ratio is one step off: it compares with the lr of the step after, or comes a step late. The
        beta of a step takes over the velocity from the step before.""",
        partial(
            converted, before=lambda lrs: lrs, factor=lambda before, now: now / torch.cat([now[1:], now[-1:]])
        ),
        partial(converted, result=lambda betas: torch.cat([betas[:1], betas[:1], betas[1:-1]])[: len(betas)]),
        partial(
            converted, before=lambda lrs: lrs, factor=lambda before, now: torch.cat([now[1:], now[-1:]]) / now
        ),
    ),
    mistake(
        "first_step",
        """The first entry is not beta. Before the first step there is no other lr, and the velocity is 0, so
        beta stays as it is.""",
        partial(converted, result=lambda betas: torch.cat([0 * betas[:1], betas[1:]])),
        partial(converted, result=lambda betas: torch.cat([0 * betas[:1] + 1, betas[1:]])),
        partial(converted, before=lambda lrs: torch.roll(lrs, 1)),
    ),
    mistake(
        "first_left_out",
        """One value is missing: there are as many betas as steps, and that of the first is beta.""",
        partial(converted, result=lambda betas: betas[1:]),
    ),
    mistake(
        "beta_missing",
        "These are the ratios of lr alone. Multiply beta by them, since the velocity still has to fade.",
        partial(converted, weight=lambda factors, beta: factors),
    ),
    mistake(
        "difference_for_ratio",
        """lr before and lr now are subtracted or multiplied. One form's velocity is lr times the other's, so
        to change from one to the other you divide.""",
        partial(converted, factor=lambda before, now: 1 + before - now),
        partial(converted, factor=lambda before, now: before * now),
        partial(converted, factor=lambda before, now: before),
        partial(converted, factor=lambda before, now: now),
        partial(
            converted,
            factor=lambda before, now: before - now,
            weight=lambda factors, beta: beta + factors,
        ),
    ),
    mistake(
        "cut_off",
        """A beta of 1 or more is cut off. It is no mistake here: where lr falls, the old velocity has to
        count more than before, or w would move too little.""",
        *(
            partial(converted, result=lambda betas, top=top: betas.clamp_max(top))
            for top in (1.0, 0.999, 0.99)
        ),
    ),
    mistake(
        "corrections_pile_up",
        """Each beta is made from the one before, so the corrections pile up. Each should correct beta itself,
        by the ratio of two neighbours.""",
        partial(converted, weight=lambda factors, beta: (beta * factors).cumprod(0)),
        overwriting,
    ),
    mistake(
        "gradient_damped",
        """A factor 1 − beta has come in. In both forms the gradient enters whole, times lr or not; nothing is
        averaged.""",
        partial(converted, weight=lambda factors, beta: (1 - beta) * factors),
        partial(converted, weight=lambda factors, beta: beta * factors / (1 - beta)),
        partial(converted, weight=lambda factors, beta: beta * factors * (1 - beta)),
    ),
)


def among(mistakes: Sequence[Mistake], *keys: str) -> tuple[Mistake, ...]:
    return tuple(one for one in mistakes if one.key in keys)


def paths(topic: str) -> tuple[str, ...]:
    return tuple(f"{topic}: path of parameter {position}" for position in range(3))


def velocity_first(mistakes: Sequence[Mistake]) -> tuple[Basis, ...]:
    """w moves along the velocity, so that one mistake in that one costs once."""
    in_velocity = among(
        mistakes,
        *(
            "gradient_damped",
            "beta_fixed",
            "fixed_weights",
            "beta_on_gradient",
            "beta_on_both",
            "never_fades",
        ),
        *("gradient_subtracted", "lr_twice", "step_stored", "velocity_not_stored", "look_ahead_stored"),
    )
    names = tuple(f"velocity after step {count}" for count in (1, 2, 3))
    return (Basis(names, ("w after step *",), "velocity", in_velocity, "steps of w"),)


#: Later parts of an optimizer, which have what is before them in them.
LATER_PARTS = (
    Basis(
        paths("momentum"),
        ("Nesterov: *", "weight decay: *", "training loop: *"),
        "momentum",
        among(
            OPTIMIZER_MISTAKES,
            *("gradient_damped", "damped_after_the_first", "first_gradient_damped"),
            *("first_gradient_lost", "momentum_on_gradient", "momentum_on_both", "never_fades"),
            *("old_velocity_moves", "velocity_is_the_gradient", "step_clears_gradients"),
            *("missing_gradient_stops", "missing_gradient_as_zero", "missing_gradient_forgets"),
        ),
        "other paths",
    ),
    Basis(
        paths("Nesterov"),
        ("weight decay: *",),
        "Nesterov step",
        among(
            OPTIMIZER_MISTAKES,
            *("nesterov_ignored", "nesterov_without_factor", "look_ahead_stored", "nesterov_stretched"),
            *("nesterov_without_gradient", "nesterov_old_velocity_twice"),
        ),
        "paths with weight decay",
    ),
)

# -- steps_on_digits ---------------------------------------------------------------------------------

#: What moves parameters by their gradients, step after step.
Stepping = Callable[[list[Tensor]], None]
Rule = Callable[[list[nn.Parameter]], Stepping]

#: What is said of a candidate that has not moved a weight: counting nothing and leaving alone is no merit.
IDLE = "not asked, no weight has moved"
#: Weights that have moved by so many times their own length have been thrown about.
FAR = 3.0


def judged_steps(values: dict[str, Any], inputs: Inputs) -> dict[str, Any]:
    """What a training came to, in words: the loss is worked out here, from the weights alone."""
    weights, passes, late = (values.pop(name, None) for name in ("weights", "passes", "late passes"))
    returned, old_gradients = values.pop("returned", None), values.pop("old gradients", None)
    if not is_vector(weights) or not isinstance(passes, int) or not isinstance(late, int):
        return values
    start = torch.cat([one.flatten() for one in starting_weights(inputs)]).to(weights.dtype)
    idle = torch.equal(weights.cpu(), start)
    values["loss"] = loss_in_words(inputs, start, weights, passes, old_gradients is True)
    values["budget"] = "kept" if passes <= inputs["budget"] else "exceeded"
    spent = passes >= inputs["budget"]
    values["end"] = end_in_words(passes if inputs["asks"] == NOTHING else late, spent)
    values["count"] = count_in_words(returned, passes, inputs["budget"])
    if idle and inputs["asks"] != NOTHING:
        values |= dict.fromkeys(("end", "count", MODE), IDLE)
    return values


def is_vector(weights: Any) -> bool:
    """Whether it is a vector of numbers, which a student's process may have replaced by anything."""
    if not isinstance(weights, Tensor) or weights.layout != torch.strided or weights.is_meta:
        return False
    return weights.is_floating_point() and weights.dim() == 1


def loss_in_words(inputs: Inputs, start: Tensor, weights: Tensor, passes: int, old_gradients: bool) -> str:
    if inputs["asks"] == ENOUGH:
        return "not asked"
    loss = loss_at(inputs, weights)
    digits = tolerance.allowed(weights.dtype, inputs["x"].numel(), inputs["target"], None, None)
    if loss <= inputs["target"] + digits:
        return "at most the target"
    spent = passes >= inputs["budget"]
    if torch.equal(weights.cpu(), start):
        return "as at the start, the budget spent" if spent else "as at the start"
    if old_gradients:
        return "above the target, old gradients in the steps"
    complete = weights.numel() == start.numel()
    if complete and not (weights - start.to(weights)).norm() <= FAR * start.norm():
        return "above the target, the weights far away"
    if not loss <= loss_at(inputs, start):
        return "above that of the start"
    if spent:
        return "above the target, the budget spent"
    return f"above the target after {'one pass' if passes == 1 else 'a part of the budget'}"


def loss_at(inputs: Inputs, weights: Tensor) -> float:
    """Cross-entropy of the case's net on all of its images; weights: all of them in one vector, or nan."""
    shapes = [one.shape for one in starting_weights(inputs)]
    sizes = [math.prod(shape) for shape in shapes]
    if weights.numel() != sum(sizes):
        return math.nan
    pieces = weights.detach().cpu().double().split(sizes)
    layers = [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
    h = inputs["x"].detach().cpu().double()
    for place, (weight, bias) in enumerate(zip(layers[::2], layers[1::2], strict=True)):
        h = F.linear(ACTIVATIONS[inputs["activation"]](h) if place else h, weight, bias)
    return F.cross_entropy(h, inputs["y"].cpu()).item()


def end_in_words(late: int, spent: bool) -> str:
    if late > 1 and spent:
        return "when the budget is spent"
    return {0: "as soon as the target is met", 1: "one pass later"}.get(late, "passes later")


def count_in_words(returned: Any, passes: int, budget: int) -> str:
    if passes > budget:
        return "none, it was ended beyond the budget"
    if isinstance(returned, bool) or not isinstance(returned, int | float):
        return "no number"
    known = {budget: "the budget", passes + 1: "one too many", passes - 1: "one too few", passes: "right"}
    return known.get(returned, "another number")


def by_adam(model: nn.Module, x: Tensor, y: Tensor, target: float, budget: int) -> int:
    """The library's Adam, at one learning rate for all nets."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for taken in range(budget):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        if loss <= target:
            return taken
        loss.backward()
        optimizer.step()
    return budget


def normalized_momentum(parameters: list[nn.Parameter], lr: float = 0.2, beta: float = 0.9) -> Stepping:
    """v ← beta·v + g/‖g‖ over all entries of all parameters, w ← w − lr·v."""
    velocity: Any = 0.0

    def step(gradients: list[Tensor]) -> None:
        nonlocal velocity
        g = torch.cat([one.flatten() for one in gradients])
        velocity = beta * velocity + g / (g.square().sum().sqrt() + 1e-12)
        pieces = velocity.split([one.numel() for one in parameters])
        for parameter, piece in zip(parameters, pieces, strict=True):
            parameter.sub_(lr * piece.view_as(parameter))

    return step


def plain_descent(lr: float) -> Rule:
    """Plain gradient descent at one rate."""

    def rule(parameters: list[nn.Parameter]) -> Stepping:
        def step(gradients: list[Tensor]) -> None:
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(lr * gradient)

        return step

    return rule


def no_step(parameters: list[nn.Parameter]) -> Stepping:
    return lambda gradients: None


def asked_for(loss: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    return list(torch.autograd.grad(loss, parameters))


def added_up(loss: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    """backward adds to what is in .grad."""
    loss.backward()
    return [parameter.grad for parameter in parameters]


def steps_on_digits(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    target: float,
    budget: int,
    *,
    rule: Rule = normalized_momentum,
    trained: Callable[[nn.Module], nn.Module] = lambda model: model,
    images: Callable[[Tensor], Tensor] = lambda x: x,
    loss_of: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    met: Callable[[Tensor, float, int], bool] = lambda loss, target, taken: bool(loss <= target),
    most: Callable[[int], float] = lambda budget: budget,
    gradients: Callable[[Tensor, list[nn.Parameter]], list[Tensor]] = asked_for,
    result: Callable[[int, int, Tensor], Any] = lambda taken, budget, loss: taken,
    after: Callable[[nn.Module], Any] = lambda model: None,
) -> Any:
    """The definition: while the loss is above the target and passes are left, step.

    trained: the model that is trained. images: what it is shown. loss_of: what is made of the model's outputs
    and y. met: what ends it, from loss, target and steps taken. most: the steps that it may take. result:
    from the steps taken, the budget and the last loss.
    """
    own, shown = trained(model), images(x)
    parameters = list(own.parameters())
    step = rule(parameters)
    for taken in itertools.count():
        loss = loss_of(own(shown), y)
        if taken >= most(budget) or met(loss, target, taken):
            break
        found = gradients(loss, parameters)
        with torch.no_grad():
            step(found)
    after(model)
    return result(taken, budget, loss)


def backward_first(
    model: nn.Module, x: Tensor, y: Tensor, target: float, budget: int, counts: bool = True
) -> int:
    """Looks at the loss when its gradient is there. counts: the pass for nothing is counted."""
    parameters = list(model.parameters())
    step = normalized_momentum(parameters)
    for taken in range(budget):
        loss = F.cross_entropy(model(x), y)
        found = asked_for(loss, parameters)
        if loss <= target:
            return taken + counts
        with torch.no_grad():
            step(found)
    return budget


def with_parameters_replaced(model: nn.Module) -> nn.Module:
    """Each parameter of the model gives way to another tensor of the same values."""
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(parameter.detach().clone()))
    return model


def standardized(x: Tensor) -> Tensor:
    return (x - x.mean(0)) / (x.std(0) + 0.1)


#: Those that take few passes come first: a check goes through them until one is like the candidate.
DIGITS_MISTAKES = (
    mistake(
        "no_int_returned",
        """The number is right, but it comes back as a float or in a tensor. We want an int: passes are
        counted.""",
        partial(steps_on_digits, result=lambda taken, budget, loss: float(taken)),
        partial(steps_on_digits, result=lambda taken, budget, loss: torch.tensor(taken)),
    ),
    mistake(
        "steps_before_looking",
        """A target that is met at the start takes no step, but here it takes one. Look at the loss before the
        first step too.""",
        partial(steps_on_digits, met=lambda loss, target, taken: bool(taken and loss <= target)),
    ),
    mistake(
        "backward_before_looking",
        """The last backward pass is wasted: its gradient is computed before you look whether the target is
        met. A forward pass is enough to know the loss, and only backward counts.""",
        backward_first,
        partial(backward_first, counts=False),
    ),
    mistake(
        "returns_in_the_loop",
        """It returns after a single backward pass. Is return inside the loop, so that the first round ends
        it?""",
        partial(steps_on_digits, most=lambda budget: 1),
    ),
    mistake(
        "count_off_by_one",
        """The number that comes back is off by one. Count the backward passes: none where the target is met
        at the start, and as many as the budget has where the budget ends it.""",
        partial(steps_on_digits, result=lambda taken, budget, loss: taken + 1),
        partial(steps_on_digits, result=lambda taken, budget, loss: taken - 1),
        partial(steps_on_digits, result=lambda taken, budget, loss: max(taken - 1, 0)),
        partial(steps_on_digits, result=lambda taken, budget, loss: min(taken, budget - 1)),
    ),
    mistake(
        "budget_returned",
        """The budget comes back. We want the number of backward passes made, which is smaller when the target
        is met earlier.""",
        partial(steps_on_digits, result=lambda taken, budget, loss: budget),
    ),
    mistake(
        "other_number_returned",
        """The number that comes back is not how many backward passes it took. Is it the loss, what is left
        of the budget, or a count that begins anew?""",
        partial(steps_on_digits, result=lambda taken, budget, loss: loss.item()),
        partial(steps_on_digits, result=lambda taken, budget, loss: budget - taken - 2),
    ),
    mistake(
        "no_number_returned",
        "No number comes back. We want how many backward passes it took, as an int.",
        partial(steps_on_digits, result=lambda taken, budget, loss: None),
        partial(steps_on_digits, result=lambda taken, budget, loss: [taken]),
    ),
    mistake(
        "left_in_training_mode",
        """A model that came in evaluation mode is left in training mode. Leave the mode alone, or put back
        what `model.training` was.""",
        partial(steps_on_digits, after=lambda model: model.train()),
    ),
    mistake(
        "left_in_evaluation_mode",
        """A model that came in training mode is left in evaluation mode. Leave the mode alone, or put back
        what `model.training` was.""",
        partial(steps_on_digits, after=lambda model: model.eval()),
    ),
    mistake(
        "budget_exceeded",
        """It takes more backward passes than the budget allows where the target is out of reach. Two things
        end it: the loss, or the budget. How many passes may have been made before one more is made?""",
        partial(steps_on_digits, most=lambda budget: math.inf),
        partial(steps_on_digits, most=lambda budget: budget + 1),
        partial(steps_on_digits, most=lambda budget: 30),
    ),
    mistake(
        "stops_too_early",
        """It stops with passes to spare, but the cross-entropy of model on x and y is still above the target.
        So it looks at a different loss: on changed images, on a part of them, of a different kind, or with a
        different target.""",
        partial(steps_on_digits, met=lambda loss, target, taken: bool(loss <= 1.5 * target)),
        partial(steps_on_digits, met=lambda loss, target, taken: taken >= 2),
        partial(steps_on_digits, images=standardized),
    ),
    mistake(
        "other_weights_trained",
        """The weights of the model have not changed. Nothing was trained (is another loss than the
        cross-entropy at the target from the start?), or a copy, or new tensors have replaced its parameters.
        The caller holds the old ones: move those in place.""",
        partial(steps_on_digits, trained=copy.deepcopy),
        partial(steps_on_digits, trained=with_parameters_replaced),
    ),
    mistake(
        "images_changed",
        """x has changed. The loss is that of the images as they came, and the caller still needs them: write
        nothing into x.""",
        partial(steps_on_digits, images=lambda x: x.copy_(standardized(x))),
    ),
    mistake(
        "one_rate_for_all",
        """The budget is spent, and on some nets the loss is still above the target. Bright pixels make a long
        gradient, and a step along it jumps across; small ones make a short gradient and a short step. No rate
        suits both. Is the length of your step already free of the gradient's? Then change your rate.""",
        *(partial(steps_on_digits, rule=plain_descent(lr)) for lr in (1e-3, 0.03, 0.2, 1.0)),
    ),
    mistake(
        "rate_too_large",
        """The steps are too long: where the target isn't met, the weights end up more than three times their
        own length away from the start. Take a smaller rate. If then another net gets too slow, the length of
        your step still hangs on that of the gradient, and one rate can't suit all nets.""",
        partial(steps_on_digits, rule=plain_descent(4.0)),
    ),
    mistake(
        "stops_by_count",
        """It goes on until the budget is spent, even where the target was met long before. The budget is an
        upper limit; the loss should end it.""",
        partial(steps_on_digits, met=lambda loss, target, taken: False),
    ),
    mistake(
        "fixed_number_of_steps",
        """It takes a number of steps of its own, whatever loss and budget say. One net is there after five
        steps and another after fifteen: look at the loss before each, and count up to budget.""",
        partial(steps_on_digits, met=lambda loss, target, taken: False, most=lambda budget: 25),
        partial(steps_on_digits, met=lambda loss, target, taken: False, most=lambda budget: 100),
    ),
    mistake(
        "gradients_accumulated",
        """backward adds to what is in .grad, and nothing clears it. So the steps follow the sum of all
        gradients so far, and of what was there before the call. Clear before each backward.""",
        partial(steps_on_digits, gradients=added_up),
        partial(steps_on_digits, gradients=added_up, rule=plain_descent(0.1)),
    ),
    mistake(
        "weights_never_move",
        """The budget is spent and no weight has moved. What a rule returns has to get back into the
        parameters: p = p - step makes a new tensor and calls it p, but the model doesn't know about it.""",
        partial(steps_on_digits, rule=no_step),
    ),
    mistake(
        "diverged",
        """On every net the loss ends above where it began, or the weights are thrown far away. The steps are
        too long by far, or they go uphill: w moves against the gradient.""",
        partial(steps_on_digits, rule=plain_descent(-0.1)),
        partial(steps_on_digits, rule=partial(normalized_momentum, lr=-0.2)),
    ),
    mistake(
        "softmax_twice",
        """On some nets it goes on where the cross-entropy of model(x) has come to the target. Is there a
        softmax before the cross-entropy? F.cross_entropy takes the raw outputs and has a softmax of its own:
        with two, the loss of ten classes stays above 1.46 however well the net does.""",
        partial(steps_on_digits, loss_of=lambda z, y: F.cross_entropy(z.softmax(1), y)),
    ),
    mistake(
        "goes_on_at_the_target",
        """It goes on for a while where the cross-entropy of model on x and y has come to the target. What it
        looks at is another number: a sum over the images and not their mean, another kind of loss, or a
        smaller target.""",
        partial(steps_on_digits, loss_of=partial(F.cross_entropy, reduction="sum")),
        partial(steps_on_digits, met=lambda loss, target, taken: bool(loss <= 0.5 * target)),
        partial(steps_on_digits, loss_of=partial(F.cross_entropy, label_smoothing=0.1)),
    ),
)


# -- inputs that show a mistake, or hide it ------------------------------------------------------------


def end_of_path(one_step: Callable[..., Pair], lrs: Tensor, beta: float) -> Tensor:
    """Where steps with these learning rates lead from 0 and from rest, against a gradient of 1."""
    w = velocity = torch.zeros_like(lrs[0])
    for lr in lrs:
        w, velocity = one_step(w, torch.ones_like(w), velocity, lr, beta)
    return w


lr_in_velocity = partial(end_of_path, variant(MOMENTUM_MISTAKES, "lr_in_velocity"))


def nesterov_for_classical(w: Tensor, g: Tensor, velocity: Tensor, lr: float, beta: float) -> Tensor:
    return variant(MOMENTUM_MISTAKES, "nesterov_for_classical")(w, g, velocity, lr, beta)[0]


def why_paths_agree(lrs: Tensor, steps: int, beta: float) -> str:
    if lrs.min() < 0.1 * (1 - ALIKE):
        return "below_a_tenth"
    if lrs.max() - lrs.min() < 1e-6:
        return "rate_constant"
    right, wrong = end_of_path(momentum, lrs, beta), lr_in_velocity(lrs, beta)
    if apart(right, wrong) >= 0.7:
        return ""
    return "rate_rises" if wrong > right else "rate_falls_too_little"


PATH_REASONS = (
    mistake(
        "rate_constant",
        """Your input does not show it: the learning rate is constant, and then it makes no difference where
        it is multiplied in.""",
        lambda steps, beta: torch.ones(steps),
        lambda steps, beta: torch.full((steps,), 0.3),
    ),
    mistake(
        "rate_rises",
        """Your input does not show it enough: on the whole the learning rate rises, and then the code lags
        behind by less than half of the way. Which change of the rate leaves it with a velocity that is far
        too large?""",
        lambda steps, beta: torch.linspace(0.1, 1, steps),
        lambda steps, beta: torch.cat([torch.full((2,), 0.1), torch.ones(steps - 2)]),
    ),
    mistake(
        "rate_falls_too_little",
        """Your input shows it, but not enough. The rate may fall by too little, or too late for the old
        velocity to go far, or so early that there is hardly any velocity.""",
        lambda steps, beta: torch.linspace(1, 0.5, steps),
        lambda steps, beta: torch.cat([torch.ones(steps - 1), torch.full((1,), 0.1)]),
    ),
    mistake(
        "below_a_tenth",
        """A learning rate is below 0.1. All must lie between 0.1 and 1; with a rate of 0 it would be too
        easy.""",
        lambda steps, beta: torch.zeros(steps),
        lambda steps, beta: torch.cat([torch.ones(2), torch.full((steps - 2,), 0.01)]),
    ),
)


def falls_early(steps: int, beta: float) -> Tensor:
    lrs = torch.full((steps,), 0.1)
    lrs[:2] = 1.0
    return lrs


def best_time_to_fall(steps: int, beta: float) -> Tensor:
    """Of all schedules that fall once, the one that shows most."""
    schedules = [torch.tensor([1.0] * count + [0.1] * (steps - count)) for count in range(1, steps)]
    return max(schedules, key=lambda lrs: apart(end_of_path(momentum, lrs, beta), lr_in_velocity(lrs, beta)))


def why_look_ahead_shows(velocity: Tensor, g: Tensor, d: int, beta: float) -> str:
    if torch.cat([velocity, g]).abs().min() < 0.01:
        return "nothing_moves"
    given = torch.zeros_like(g), g, velocity, 0.1, beta
    if apart(momentum(*given)[0], nesterov_for_classical(*given)) <= ALIKE:
        return ""
    return "pulls_against" if (velocity * g).min() < 0 else "speed_still_changes"


TERMINAL_REASONS = (
    mistake(
        "speed_still_changes",
        """The mistake shows: this gradient changes the velocity. Nesterov's step looks ahead to what the
        velocity will be. If the gradient adds exactly what beta takes away, there is nothing to look ahead
        to.""",
        lambda d, beta: (torch.ones(d), torch.ones(d)),
        lambda d, beta: (torch.full((d,), 0.05), torch.full((d,), 5.0)),
        lambda d, beta: (torch.rand(d) + 0.5, torch.rand(d) + 2),
    ),
    mistake(
        "pulls_against",
        """The mistake shows: a gradient pulls against its velocity, and then the velocity cannot stay as it
        is. In each entry the two need the same sign, and one fixed ratio.""",
        lambda d, beta: (torch.ones(d), -torch.ones(d)),
        lambda d, beta: (torch.ones(d), beta * torch.ones(d) - torch.arange(d)),
    ),
    mistake(
        "nothing_moves",
        """An entry of the velocity or of the gradient is 0, or nearly. Where nothing moves all rules agree,
        so each entry of both has to be 0.01 or more in size.""",
        lambda d, beta: (torch.zeros(d), torch.zeros(d)),
        lambda d, beta: (torch.ones(d), torch.zeros(d)),
    ),
)


def terminal_velocity(d: int, beta: float) -> tuple[Tensor, Tensor]:
    """What beta takes of the velocity, the gradient gives back."""
    velocity = torch.linspace(1, 9, d)
    return velocity, (1 - beta) * velocity


def after_many_steps(d: int, beta: float) -> tuple[Tensor, Tensor]:
    """The velocity that a constant gradient leads to."""
    g = (torch.rand(d, dtype=torch.float64) + 1) * 0.2 * (torch.arange(d) % 2 * 2 - 1)
    velocity = torch.zeros_like(g)
    for _ in range(400):
        velocity = beta * velocity + g
    return velocity, g


ANSWERS = {
    "gradient_descent": Answer(recursive_descent, descent, DESCENT_MISTAKES),
    "momentum_step": Answer(
        library_step(False),
        momentum,
        MOMENTUM_MISTAKES,
        bases=velocity_first(MOMENTUM_MISTAKES),
        pairs=cache(partial(step_pairs, MOMENTUM_MISTAKES)),
    ),
    "nesterov_step": Answer(
        library_step(True),
        nesterov,
        NESTEROV_MISTAKES,
        bases=velocity_first(NESTEROV_MISTAKES),
        pairs=cache(partial(step_pairs, NESTEROV_MISTAKES)),
    ),
    "exponential_moving_average": Answer(
        weighted_sums, moving_average, AVERAGE_MISTAKES, pairs=average_pairs
    ),
    "optimal_heavy_ball": Answer(critically_damped, heavy_ball, HEAVY_BALL_MISTAKES),
    "SGD": Answer(
        library_optimizer, optimizer_class(), OPTIMIZER_MISTAKES, bases=LATER_PARTS, pairs=optimizer_pairs
    ),
    "momentum_roots": Answer(roots_by_matrix, roots, ROOTS_MISTAKES),
    "convert_momentum": Answer(betas_from_paths, converted, CONVERT_MISTAKES),
    "steps_on_digits": Answer(by_adam, steps_on_digits, DIGITS_MISTAKES, judged_steps),
    "expose_lr_in_velocity": exposing(
        Asked("lrs", "steps", 1.0),
        lr_in_velocity,
        why_paths_agree,
        PATH_REASONS,
        (falls_early, best_time_to_fall),
    ),
    "hide_nesterov": hiding(
        (Asked("velocity", "d"), Asked("g", "d")),
        nesterov_for_classical,
        why_look_ahead_shows,
        TERMINAL_REASONS,
        (terminal_velocity, after_many_steps),
    ),
}
