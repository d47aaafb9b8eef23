"""Day 31 in other hands."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

# -- covariate_shift ---------------------------------------------------------------------------------


def shift_by_sums(before, after):
    pairs = list(zip(before, after, strict=True))
    squared = sum(((a - b) ** 2).sum() for a, b in pairs)
    dot = sum((a * b).sum() for a, b in pairs)
    first, second = sum((a * a).sum() for a in before), sum((b * b).sum() for b in after)
    return squared.sqrt(), dot / (first.sqrt() * second.sqrt())


def shift_by_unit_vectors(before, after):
    a = torch.cat([t.reshape(-1) for t in before])
    b = torch.hstack([t.ravel() for t in after])
    return torch.linalg.norm(a - b), F.normalize(a, dim=0) @ F.normalize(b, dim=0)


def shift_in_double(before, after):
    a, b = (torch.nn.utils.parameters_to_vector(list(side)).double() for side in (before, after))
    cosine = torch.dot(a, b) / a.norm() / b.norm()
    return torch.dist(a, b).to(before[0].dtype), cosine.clamp(-1, 1).to(before[0].dtype)


def shift_by_norms_of_norms(before, after):
    differences = torch.stack([torch.linalg.vector_norm(a - b) for a, b in zip(before, after, strict=True)])
    lengths = [torch.stack([t.norm() for t in side]).norm() for side in (before, after)]
    dot = torch.stack([torch.sum(a * b) for a, b in zip(before, after, strict=True)]).sum()
    return differences.norm(), dot / lengths[0] / lengths[1]


def shift_by_cosine_similarity(before, after):
    a, b = (torch.cat([t.contiguous().view(-1) for t in side])[None] for side in (before, after))
    return [F.pairwise_distance(a, b, eps=0.0)[0], torch.cosine_similarity(a, b)[0]]


def shift_guarded(before, after):
    a, b = (torch.cat([t.flatten() for t in side]) for side in (before, after))
    return (a - b).norm(), torch.dot(a, b) / (a.norm() * b.norm() + 1e-12)


def shift_guarded_under_the_root(before, after):
    a, b = (torch.hstack([t.ravel() for t in side]) for side in (before, after))
    return F.mse_loss(a, b, reduction="sum").sqrt(), a @ b / torch.sqrt((a @ a) * (b @ b) + 1e-12)


def shift_with_last_tensor_missing(before, after):
    return shift_by_sums(before[:-1] or before, after[:-1] or after)


def shift_squared_and_per_layer(before, after):
    cosines = [
        F.cosine_similarity(a.flatten(), b.flatten(), dim=0) for a, b in zip(before, after, strict=True)
    ]
    return shift_by_sums(before, after)[0] ** 2, torch.stack(cosines).mean()


def shift_with_distance_offset(before, after):
    a, b = (torch.cat([t.flatten() for t in side])[None] for side in (before, after))
    return F.pairwise_distance(a, b, eps=1e-3)[0], torch.cosine_similarity(a, b)[0]


# -- loss_along_gradient and gradient_predictiveness -------------------------------------------------


def losses_by_backward(loss_fn, w, step_sizes):
    leaf = w.clone().detach().requires_grad_(True)
    loss_fn(leaf).backward()
    with torch.no_grad():
        return torch.stack([loss_fn(w - s * leaf.grad) for s in step_sizes])


def losses_by_func(loss_fn, w, step_sizes):
    g, _ = torch.func.grad_and_value(loss_fn)(w)
    out = torch.empty(len(step_sizes), dtype=w.dtype, device=w.device)
    for i, s in enumerate(step_sizes):
        out[i] = loss_fn(torch.sub(w, g, alpha=float(s)))
    return out


def losses_by_vmap(loss_fn, w, step_sizes):
    g = torch.func.jacrev(loss_fn)(w)
    sizes = torch.as_tensor(step_sizes, dtype=w.dtype, device=w.device)
    points = w - sizes.reshape(-1, *[1] * w.dim()) * g
    return torch.func.vmap(loss_fn)(points)


def losses_into_a_list(loss_fn, w, step_sizes):
    """Marks w for the moment and tidies up."""
    w.requires_grad_()
    (g,) = torch.autograd.grad(loss_fn(w), w)
    w.requires_grad_(False)
    values = [loss_fn(w - float(s) * g).item() for s in step_sizes]
    return torch.tensor(values, dtype=w.dtype, device=w.device)


def losses_moving_back_and_forth(loss_fn, w, step_sizes):
    leaf = w.clone().requires_grad_()
    (g,) = torch.autograd.grad(loss_fn(leaf), leaf)
    values = []
    for s in step_sizes:
        point = w.clone()
        point -= g * s
        values.append(loss_fn(point)[None])
    return torch.cat(values)


def losses_of_steps_one_percent_long(loss_fn, w, step_sizes):
    return losses_by_backward(loss_fn, w, [1.01 * float(s) for s in step_sizes])


def losses_sorted(loss_fn, w, step_sizes):
    return losses_by_backward(loss_fn, w, step_sizes).sort().values


def losses_uphill_that_mark(loss_fn, w, step_sizes):
    w.requires_grad_()
    loss_fn(w).backward()
    return torch.stack([loss_fn(w + s * w.grad) for s in step_sizes])


def changes_by_func(loss_fn, w, step_sizes):
    derivative = torch.func.grad(loss_fn)
    g = derivative(w)
    return torch.stack([torch.linalg.vector_norm(g - derivative(w - s * g)) for s in step_sizes])


def changes_by_backward(loss_fn, w, step_sizes):
    def slope(at):
        leaf = at.detach().clone().requires_grad_(True)
        loss_fn(leaf).backward()
        return leaf.grad

    start = slope(w)
    return torch.stack([(slope(w - s * start) - start).pow(2).sum().sqrt() for s in step_sizes])


def changes_by_vmap(loss_fn, w, step_sizes):
    derivative = torch.func.grad(loss_fn)
    g = derivative(w)
    sizes = torch.as_tensor(step_sizes, dtype=w.dtype, device=w.device)
    there = torch.func.vmap(derivative)(w - torch.einsum("s,...->s...", sizes, g))
    return (there - g).flatten(1).norm(dim=1)


def changes_at_once(loss_fn, w, step_sizes):
    """One backward pass for all points: their losses do not depend on each other."""
    leaf = w.clone().requires_grad_()
    (g,) = torch.autograd.grad(loss_fn(leaf), leaf)
    points = [(w - s * g).requires_grad_() for s in step_sizes]
    there = torch.autograd.grad(sum(loss_fn(point) for point in points), points)
    return torch.stack([torch.dist(g, one, p=2) for one in there])


def changes_one_sample_short(loss_fn, w, step_sizes):
    return changes_by_func(loss_fn, w, step_sizes) * (w.numel() - 1) / w.numel()


def changes_without_first_entry(loss_fn, w, step_sizes):
    derivative = torch.func.grad(loss_fn)
    g = derivative(w)
    return torch.stack([(g - derivative(w - s * g)).flatten()[1:].norm() for s in step_sizes])


def changes_squared_uphill(loss_fn, w, step_sizes):
    derivative = torch.func.grad(loss_fn)
    g = derivative(w)
    return torch.stack([(g - derivative(w + s * g)).square().sum() for s in step_sizes])


# -- top_eigenvalue ----------------------------------------------------------------------------------


def power_normalized_first(hvp, v, iterations):
    v = v / v.norm()
    for _ in range(iterations):
        v = hvp(v)
        v = v / v.norm()
    return torch.dot(v, hvp(v))


def power_by_largest_entry(hvp, v, iterations):
    for _ in range(iterations):
        v = hvp(v)
        v = v / v.abs().max()
    return (v @ hvp(v)) / (v @ v)


def power_keeping_the_product(hvp, v, iterations):
    """One product an iteration: that of the quotient is the next vector."""
    product = hvp(v)
    for _ in range(iterations):
        v = F.normalize(product, dim=0)
        product = hvp(v)
    return torch.einsum("i,i->", v, product) / torch.einsum("i,i->", v, v)


def power_in_double(hvp, v, iterations):
    dtype = v.dtype
    for _ in range(iterations):
        v = hvp(v.to(dtype)).double()
        v /= torch.linalg.vector_norm(v)
    v = v.double()
    return (torch.sum(v * hvp(v.to(dtype)).double()) / v.square().sum()).to(dtype)


def power_recursively(hvp, v, iterations):
    if iterations == 0:
        unit = v / torch.linalg.norm(v)
        return (unit * hvp(unit)).sum()
    step = hvp(v)
    return power_recursively(hvp, step / step.norm(), iterations - 1)


def power_by_matrix(hvp, v, iterations):
    """The Hessian column by column, then its scaled power."""
    h = torch.stack([hvp(e) for e in torch.eye(len(v), dtype=v.dtype, device=v.device)], dim=1)
    scaled = h / torch.linalg.matrix_norm(h, 2)
    u = torch.linalg.matrix_power(scaled, iterations) @ v
    return u @ h @ u / (u @ u)


def power_converged(hvp, v, iterations):
    return power_normalized_first(hvp, v, 3 * iterations)


def power_from_shifted_start(hvp, v, iterations):
    return power_normalized_first(hvp, v + 0.001, iterations)


def power_size_one_off(hvp, v, iterations):
    return power_normalized_first(hvp, v, iterations + 1).abs()


# -- stable_learning_rate ----------------------------------------------------------------------------


def rate_by_plain(eigenvalue, beta):
    if not eigenvalue > 0:
        raise ValueError(f"{eigenvalue} is not positive")
    plain = 2 / eigenvalue
    return plain + beta * plain


def rate_by_root(eigenvalue, beta):
    """A root of z² − (1 + beta − s)z + beta is −1 where 1 + (1 + beta − s) + beta is 0."""
    if eigenvalue <= 0:
        raise ValueError
    s = 1 + (1 + beta) + beta
    return s * eigenvalue**-1


def rate_as_an_error_of_its_own(eigenvalue, beta):
    class NotConvex(ValueError):
        pass

    if float(eigenvalue) <= 0.0:
        raise NotConvex(eigenvalue)
    return (1 + beta) / (eigenvalue / 2)


def rate_by_kind(eigenvalue, beta):
    value = eigenvalue.item() if isinstance(eigenvalue, torch.Tensor) else eigenvalue
    if value <= 0 or math.isnan(value):
        raise ValueError("not positive")
    if isinstance(eigenvalue, torch.Tensor):
        return torch.div(2.0 + 2.0 * beta, eigenvalue)
    return (1 + beta) / (0.5 * eigenvalue)


def rate_slightly_safe(eigenvalue, beta):
    return 0.99 * rate_by_plain(eigenvalue, beta)


def rate_at_nine_tenths(eigenvalue, beta):
    return rate_by_plain(eigenvalue, 0.9)


def rate_for_whole_numbers(eigenvalue, beta):
    if eigenvalue <= 0:
        raise ValueError
    return 2 * (1 + beta) // eigenvalue if isinstance(eigenvalue, int) else 2 * (1 + beta) / eigenvalue


def rate_of_smallest(eigenvalue, beta):
    return 2 * (1 + beta) / max(eigenvalue, 1e-8)


# -- frozen_norm_step --------------------------------------------------------------------------------


def frozen_by_flattening(w, g, lr):
    new = torch.sub(w, g, alpha=lr).flatten(1)
    directions = new / new.norm(dim=1, keepdim=True)
    return (directions * w.flatten(1).norm(dim=1, keepdim=True)).reshape(w.shape)


def frozen_row_by_row(w, g, lr):
    rows = [before - lr * slope for before, slope in zip(w, g, strict=True)]
    return torch.stack([row * (torch.norm(old) / torch.norm(row)) for row, old in zip(rows, w, strict=True)])


def frozen_by_einsum(w, g, lr):
    new = w - lr * g
    letters = "abcdef"[: w.dim()]
    squares = [torch.einsum(f"{letters},{letters}->a", one, one) for one in (w, new)]
    return torch.einsum(f"{letters},a->{letters}", new, (squares[0] / squares[1]) ** 0.5)


def frozen_but_for_the_last(w, g, lr):
    new = frozen_by_flattening(w, g, lr)
    new[-1] = w[-1] - lr * g[-1]
    return new


def frozen_norm_of_the_gradient(w, g, lr):
    new = w - lr * g
    return new * (g.norm() / new.norm())


# -- training_regime ---------------------------------------------------------------------------------


def regime_by_limits(losses, sharpness, lr, margin=0.1):
    """The sharpness against 2 / lr, and one test for all that is not finite."""
    limit = 2 / lr
    if not torch.stack([losses, sharpness]).isfinite().all() or losses[-1] > losses[0]:
        return "diverging"
    if sharpness[0] > limit:
        return "catapult"
    last = len(losses) // 4
    swings = (losses[-last:].diff() > 0).any()
    hovers = sharpness[-last:].mean() > (1 - margin) * limit
    return "edge of stability" if swings and hovers else "stable"


def regime_step_by_step(losses, sharpness, lr, margin=0.1):
    """One loop over the steps, counted from the end."""
    steps = len(losses)
    begin = steps - steps // 4
    total, swings = 0.0, False
    for step in range(steps):
        loss, ratio = losses[step].item(), sharpness[step].item() * lr / 2
        if loss - loss != 0 or ratio - ratio != 0:
            return "diverging"
        if step >= begin:
            total += ratio
            swings = swings or (step > begin and loss > losses[step - 1].item())
    if losses[-1] > losses[0]:
        return "diverging"
    if sharpness[0] * lr > 2:
        return "catapult"
    return "edge of stability" if swings and total / (steps // 4) > 1 - margin else "stable"


def regime_in_numpy(losses, sharpness, lr, margin=0.1):
    loss, ratio = losses.cpu().double().numpy(), sharpness.cpu().double().numpy() * (lr / 2)
    bounded = bool((abs(loss) < math.inf).all() and (abs(ratio) < math.inf).all())
    tail = slice(-(loss.size // 4), None)
    monotone = bool((loss[tail][1:] <= loss[tail][:-1]).all())
    questions = {
        "diverging": not (bounded and loss[-1] <= loss[0]),
        "catapult": ratio[0] > 1,
        "edge of stability": not monotone and ratio[tail].mean() > 1 - margin,
        "stable": True,
    }
    return next(word for word, holds in questions.items() if holds)


def regime_with_the_shape_of_a_catapult(losses, sharpness, lr, margin=0.1):
    """A catapult has to rise above its start and to come below the limit, as all those that come down do."""
    if not (losses.sum() + sharpness.sum()).isfinite() or losses[0] < losses[-1]:
        return "diverging"
    ratio = sharpness.double() * lr / 2
    if ratio[0] > 1 and losses.max() > losses[0] and ratio.min() < 1:
        return "catapult"
    last = losses.shape[0] // 4
    falls = torch.equal(losses[-last:].cummin(0).values, losses[-last:])
    return "stable" if falls or ratio[-last:].sum() <= last * (1 - margin) else "edge of stability"


def regime_by_long_swings(losses, sharpness, lr, margin=0.1):
    """The edge asks for a swing of a tenth; right on most runs, and not the rule."""
    word = regime_by_limits(losses, sharpness, lr, margin)
    last = sharpness[-(len(sharpness) // 4) :]
    return "stable" if word == "edge of stability" and last.max() * lr / 2 < 1.2 else word


def regime_by_last_ten(losses, sharpness, lr, margin=0.1):
    """The mean of the last ten steps, however long the run."""
    word = regime_by_limits(losses, sharpness, lr, margin)
    hovers = sharpness[-10:].mean() * lr / 2 > 1 - margin
    return "stable" if word == "edge of stability" and not hovers else word


def regime_without_the_last_step(losses, sharpness, lr, margin=0.1):
    """The window of the last quarter ends one step early."""
    word = regime_by_limits(losses, sharpness, lr, margin)
    last = losses[-(len(losses) // 4) : -1]
    return "stable" if word == "edge of stability" and not (last.diff() > 0).any() else word


def regime_by_a_slice_from_minus_a_quarter(losses, sharpness, lr, margin=0.1):
    """-T // 4 is rounded down, which is away from 0."""
    word = regime_by_limits(losses, sharpness, lr, margin)
    hovers = sharpness[-len(sharpness) // 4 :].mean() * lr / 2 > 1 - margin
    return "stable" if word == "edge of stability" and not hovers else word


def regime_by_halves(losses, sharpness, lr, margin=0.1):
    """Whether the second half is better than the first decides about diverging."""
    half = len(losses) // 2
    if not losses.isfinite().all() or losses[half:].mean() > losses[:half].mean():
        return "diverging"
    return regime_by_limits(losses, sharpness, lr, margin)


def power_guarded(hvp, v, iterations):
    for step in range(iterations + 1):
        v = (v if step == 0 else hvp(v)) + 0
        v /= v.norm() + 1e-12
    return v @ hvp(v)


def power_with_a_guarded_quotient(hvp, v, iterations):
    v = v / v.norm()
    for _ in range(iterations):
        v = F.normalize(hvp(v), dim=0)
    return torch.dot(v, hvp(v)) / (torch.dot(v, v) + 1e-12)


def stable_guarded(eigenvalue, beta):
    if eigenvalue <= 0:
        raise ValueError("not positive")
    return (2 + 2 * beta) / (eigenvalue + 1e-14)


def frozen_guarded(w, g, lr):
    new = (w - lr * g).reshape(len(w), -1)
    unit = new / (new.norm(dim=1, keepdim=True) + 1e-12)
    return (unit * w.reshape(len(w), -1).norm(dim=1, keepdim=True)).reshape(w.shape)


RIGHT = {
    "covariate_shift": (
        shift_by_sums,
        shift_by_unit_vectors,
        shift_in_double,
        shift_by_norms_of_norms,
        shift_by_cosine_similarity,
        shift_guarded,
        shift_guarded_under_the_root,
    ),
    "loss_along_gradient": (
        losses_by_backward,
        losses_by_func,
        losses_by_vmap,
        losses_into_a_list,
        losses_moving_back_and_forth,
    ),
    "gradient_predictiveness": (changes_by_func, changes_by_backward, changes_by_vmap, changes_at_once),
    "top_eigenvalue": (
        power_normalized_first,
        power_by_largest_entry,
        power_keeping_the_product,
        power_in_double,
        power_recursively,
        power_by_matrix,
        power_guarded,
        power_with_a_guarded_quotient,
    ),
    "stable_learning_rate": (
        rate_by_plain,
        rate_by_root,
        rate_as_an_error_of_its_own,
        rate_by_kind,
        stable_guarded,
    ),
    "frozen_norm_step": (frozen_by_flattening, frozen_row_by_row, frozen_by_einsum, frozen_guarded),
    "training_regime": (
        regime_by_limits,
        regime_step_by_step,
        regime_in_numpy,
        regime_with_the_shape_of_a_catapult,
    ),
}

WRONG = {
    "covariate_shift": (
        shift_with_last_tensor_missing,
        shift_squared_and_per_layer,
        shift_with_distance_offset,
    ),
    "loss_along_gradient": (losses_of_steps_one_percent_long, losses_sorted, losses_uphill_that_mark),
    "gradient_predictiveness": (
        changes_one_sample_short,
        changes_without_first_entry,
        changes_squared_uphill,
    ),
    "top_eigenvalue": (power_converged, power_from_shifted_start, power_size_one_off),
    "stable_learning_rate": (
        rate_slightly_safe,
        rate_at_nine_tenths,
        rate_for_whole_numbers,
        rate_of_smallest,
    ),
    "frozen_norm_step": (frozen_but_for_the_last, frozen_norm_of_the_gradient),
    "training_regime": (
        regime_by_long_swings,
        regime_by_last_ten,
        regime_without_the_last_step,
        regime_by_a_slice_from_minus_a_quarter,
        regime_by_halves,
    ),
}
