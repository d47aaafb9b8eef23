"""Day 30 in other hands."""

from __future__ import annotations

import math

import torch

# -- parameter_groups ----------------------------------------------------------------------------------


def groups_by_comprehension(model, weight_decay):
    trained = [w for w in model.parameters() if w.requires_grad]
    return [
        {"params": [w for w in trained if w.ndim >= 2], "weight_decay": weight_decay},
        {"params": [w for w in trained if w.ndim < 2], "weight_decay": 0.0},
    ]


def groups_by_names(model, weight_decay):
    named = {name: w for name, w in model.named_parameters() if w.requires_grad}
    decayed = {name for name, w in named.items() if len(w.size()) > 1}
    return [
        {"params": [named[name] for name in sorted(decayed)], "weight_decay": weight_decay},
        {"params": [named[name] for name in sorted(named.keys() - decayed)], "weight_decay": 0},
    ]


def groups_by_generators(model, weight_decay):
    return [
        {
            "params": (w for w in model.parameters() if w.requires_grad and w.dim() > 1),
            "weight_decay": weight_decay,
        },
        {
            "weight_decay": 0.0,
            "params": filter(lambda w: w.requires_grad and w.dim() <= 1, model.parameters()),
        },
    ]


def groups_of_linear_layers(model, weight_decay):
    decayed = [m.weight for m in model.modules() if isinstance(m, torch.nn.Linear)]
    ids = {id(w) for w in decayed}
    others = [w for w in model.parameters() if id(w) not in ids and w.requires_grad]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def groups_of_the_first_weights(model, weight_decay):
    both = groups_by_comprehension(model, weight_decay)
    both[0]["params"] = both[0]["params"][:9]
    return both


def groups_that_freeze_the_rest(model, weight_decay):
    both = groups_by_comprehension(model, weight_decay)
    for w in both[1]["params"]:
        w.requires_grad = False
    return both


def groups_by_number_of_values(model, weight_decay):
    """A weight of shape (n, 1) has as many values as rows, and still two dimensions."""
    trained = [w for w in model.parameters() if w.requires_grad]
    decayed = [w for w in trained if w.dim() and w.numel() > len(w)]
    ids = {id(w) for w in decayed}
    others = [w for w in trained if id(w) not in ids]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


# -- kind_of_decay -------------------------------------------------------------------------------------


def decay_by_shares(step, w):
    """What is lost where no gradient pulls, of w and of twice w."""
    zero = torch.zeros_like(w)
    small, large = 1 - step(w, zero) / w, 1 - step(2 * w, zero) / (2 * w)
    if small.abs().max() < 1e-5:
        return "none"
    same = torch.allclose(small, small[0].expand_as(w), rtol=1e-3) and torch.allclose(small, large, rtol=1e-3)
    return "decay" if same else "penalty"


def decay_by_linearity(step, w):
    """A decay is a multiple of w: of a sum it is the sum, and of equal coordinates it is equal."""
    zero = torch.zeros_like(w)

    def lost(at):
        return at - step(at, zero)

    one, other = torch.ones_like(w), torch.arange(1, len(w) + 1).to(w)
    if not lost(one).abs().max() > 1e-5:
        return "none"
    linear = torch.allclose(lost(one + other), lost(one) + lost(other), atol=1e-5)
    equal = lost(one).max() - lost(one).min() < 1e-5
    return "decay" if linear and equal else "penalty"


def decay_under_two_gradients(step, w):
    """By what is lost beside the step from 0, under no gradient and under a large one."""
    found = []
    for size in (0.0, 5.0):
        g = torch.full_like(w, size)
        for at in (w, -3 * w):
            found += ((at - step(at, g) + step(0 * at, g)) / at).tolist()
    if max(map(abs, found)) < 1e-4:
        return "none"
    return "penalty" if max(found) - min(found) > 0.05 * max(found) else "decay"


def decay_by_equal_lengths(step, w):
    """A penalty is what takes the same length from all coordinates, as Adam's does."""
    lost = (w - step(w, torch.zeros_like(w))).abs()
    if lost.max() < 1e-6:
        return "none"
    return "penalty" if torch.allclose(lost, lost.mean().expand_as(lost), rtol=1e-3) else "decay"


def decay_under_a_gradient_of_chance(step, w):
    g = torch.randn_like(w)
    zero = torch.zeros_like(w)
    shares = torch.stack([(a * w - step(a * w, g) + step(zero, g)) / (a * w) for a in (1.0, 2.0)])
    if shares.abs().max() < 1e-4:
        return "none"
    return "decay" if (shares - shares.mean()).abs().max() < 1e-2 * shares.mean() else "penalty"


def decay_of_few_coordinates(step, w):
    return decay_by_shares(step, w) if len(w) < 12 else "decay"


def decay_as_a_number(step, w):
    return float((1 - step(w, torch.zeros_like(w)) / w).mean())


def decay_or_nothing(step, w):
    return decay_by_shares(step, w).replace("penalty", "none")


# -- dropout -------------------------------------------------------------------------------------------


def dropout_by_where(x, keep, p, training=True):
    if not training:
        return x
    if p >= 1:
        return torch.zeros_like(x)
    return torch.where(keep.bool(), x / (1 - p), torch.zeros_like(x))


def dropout_by_scale(x, keep, p, training=True):
    scale = 0.0 if p == 1 else 1 / (1 - p)
    return x * keep.to(x) * scale if training else x.clone()


def dropout_by_filling(x, keep, p, training=True):
    if training:
        y = x.clone()
        y[keep == 0] = 0
        return y * 0 if p == 1.0 else y / (1.0 - p)
    return x


def dropout_by_rows(x, keep, p, training=True):
    if not training:
        return x
    if p == 1:
        return x - x
    return torch.stack([row * mask / (1 - p) for row, mask in zip(x, keep, strict=True)])


def dropout_with_its_own_mask(x, keep, p, training=True):
    if not training or p == 1:
        return x if not training else torch.zeros_like(x)
    return x * (torch.rand_like(x) >= p) / (1 - p)


def dropout_with_a_slip_in_the_scale(x, keep, p, training=True):
    if not training or p == 1:
        return x if not training else torch.zeros_like(x)
    return x * keep / (1 - p + 1e-3)


# -- batch_mean_std ------------------------------------------------------------------------------------


def noise_by_loop(x, batch_size):
    means = []
    for start in range(0, len(x) - batch_size + 1, batch_size):
        means.append(x[start : start + batch_size].mean(0))
    means = torch.stack(means)
    return ((means - means.mean(0)) ** 2).mean(0) ** 0.5


def noise_by_view(x, batch_size):
    count = x.size(0) // batch_size
    means = x[: count * batch_size].reshape(count, batch_size, -1).sum(1) / batch_size
    return torch.sqrt(means.var(dim=0, unbiased=False))


def noise_by_matrix(x, batch_size):
    count = len(x) // batch_size
    pool = torch.zeros(count, len(x), dtype=x.dtype, device=x.device)
    for i in range(count):
        pool[i, i * batch_size : (i + 1) * batch_size] = 1 / batch_size
    means = pool @ x
    return torch.linalg.vector_norm(means - means.mean(0), dim=0) / count**0.5


def noise_around_the_mean_of_all(x, batch_size):
    count = len(x) // batch_size
    means = x[: count * batch_size].reshape(count, batch_size, -1).mean(1)
    return (means - x.mean(0)).square().mean(0).sqrt()


# -- effective_learning_rate ---------------------------------------------------------------------------


def rate_by_frobenius(lr, weight):
    return lr / torch.norm(weight) ** 2


def rate_by_inner_product(lr, weight):
    return lr / torch.dot(weight.flatten(), weight.flatten())


def rate_by_einsum(lr, weight):
    flat = weight.reshape(-1)
    return torch.as_tensor(lr, dtype=weight.dtype, device=weight.device) * torch.einsum(
        "i,i->", flat, flat
    ).pow(-1)


def rate_with_eps(lr, weight):
    return lr / (weight.square().sum() + 1e-5)


def equivalent_plainly(lr, weight_decay, scale):
    return lr * scale**2, weight_decay / scale**2


def equivalent_step_by_step(lr, weight_decay, scale):
    new = scale * scale * lr
    return [new, weight_decay * lr / new]


def equivalent_by_tensors(lr, weight_decay, scale):
    both = torch.tensor([lr, weight_decay], dtype=torch.float64)
    return tuple((both * torch.tensor([scale**2, scale**-2], dtype=torch.float64)).tolist())


# -- equilibrium_norm ----------------------------------------------------------------------------------


def rest_by_formula(lr, weight_decay, gradient_norm):
    p = lr * weight_decay
    if p <= 0 or p >= 2:
        raise ValueError("no norm stays put")
    return (lr * gradient_norm**2 / (weight_decay * (2 - p))) ** 0.25


def rest_by_the_share_kept(lr, weight_decay, gradient_norm):
    kept = (1 - lr * weight_decay) ** 2
    if kept >= 1:
        raise ValueError(f"the decay keeps {kept} of the squared norm")
    return ((lr * gradient_norm) ** 2 / (1 - kept)) ** 0.5**2


def rest_by_tensors(lr, weight_decay, gradient_norm):
    kept = torch.tensor(1.0) - torch.tensor(lr) * weight_decay
    if kept.abs() >= 1:
        raise ValueError
    return torch.sqrt(lr * gradient_norm / torch.sqrt(1 - kept**2)).item()


def rest_by_steps(lr, weight_decay, gradient_norm):
    """The recurrence of the fourth power's root, damped, until it stands still."""
    kept = (1 - lr * weight_decay) ** 2
    if not kept < 1:
        raise ValueError("it never rests")
    squared = 1.0
    for _ in range(20_000):
        after = kept * squared + (lr * gradient_norm) ** 2 / squared
        squared = (squared + after) / 2
    return squared**0.5


def rest_of_small_steps_or_none(lr, weight_decay, gradient_norm):
    return (lr * gradient_norm**2 / (2 * weight_decay)) ** 0.25 if weight_decay else float("inf")


def rest_after_a_few_steps(lr, weight_decay, gradient_norm):
    if not 0 < lr * weight_decay < 2:
        raise ValueError
    norm = 1.0
    for _ in range(20):
        norm = math.hypot((1 - lr * weight_decay) * norm, lr * gradient_norm / norm)
    return norm


def rest_one_per_cent_off(lr, weight_decay, gradient_norm):
    return 1.01 * rest_by_formula(lr, weight_decay, gradient_norm)


def rest_without_the_quotient(lr, weight_decay, gradient_norm):
    """The effective learning rate for the norm."""
    return lr / rest_by_formula(lr, weight_decay, gradient_norm) ** 2


def rate_guarded(lr, weight):
    return lr / (weight.norm() ** 2 + 1e-12)


def dropout_guarded(x, keep, p, training=True):
    if not training:
        return x
    return x * (keep if p < 1 else 0) / (1 - p + 1e-13)


RIGHT = {
    "parameter_groups": (groups_by_comprehension, groups_by_names, groups_by_generators),
    "kind_of_decay": (decay_by_shares, decay_by_linearity, decay_under_two_gradients),
    "dropout": (dropout_by_where, dropout_by_scale, dropout_by_filling, dropout_by_rows, dropout_guarded),
    "batch_mean_std": (noise_by_loop, noise_by_view, noise_by_matrix),
    "effective_learning_rate": (rate_by_frobenius, rate_by_inner_product, rate_by_einsum, rate_guarded),
    "decay_equivalent": (equivalent_plainly, equivalent_step_by_step, equivalent_by_tensors),
    "equilibrium_norm": (rest_by_formula, rest_by_the_share_kept, rest_by_tensors, rest_by_steps),
}


def equivalent_with_a_slip(lr, weight_decay, scale):
    return 1.01 * lr * scale**2, weight_decay / scale**2


def equivalent_by_root(lr, weight_decay, scale):
    return lr * scale**0.5, weight_decay / scale**0.5


WRONG = {
    "parameter_groups": (
        groups_of_linear_layers,
        groups_of_the_first_weights,
        groups_that_freeze_the_rest,
        groups_by_number_of_values,
    ),
    "kind_of_decay": (
        decay_by_equal_lengths,
        decay_of_few_coordinates,
        decay_under_a_gradient_of_chance,
        decay_as_a_number,
        decay_or_nothing,
    ),
    "dropout": (dropout_with_its_own_mask, dropout_with_a_slip_in_the_scale),
    "batch_mean_std": (noise_around_the_mean_of_all,),
    "effective_learning_rate": (rate_with_eps,),
    "decay_equivalent": (equivalent_with_a_slip, equivalent_by_root),
    "equilibrium_norm": (
        rest_of_small_steps_or_none,
        rest_after_a_few_steps,
        rest_one_per_cent_off,
        rest_without_the_quotient,
    ),
}
