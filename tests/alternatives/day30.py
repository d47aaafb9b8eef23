"""Day 30 in other hands."""

from __future__ import annotations

import torch

# -- l2_penalty ----------------------------------------------------------------------------------------


def penalty_by_loop(model, strength):
    total = 0.0
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            total = total + parameter.pow(2).sum()
    return strength * total


def penalty_by_norm(model, strength):
    sizes = [strength * torch.norm(w) ** 2 for w in model.parameters() if len(w.shape) > 1]
    return torch.stack(sizes).sum() if sizes else torch.tensor(0.0)


def penalty_by_dot(model, strength):
    flat = [w.reshape(-1) for w in model.parameters() if not w.dim() < 2]
    vector = torch.cat(flat) if flat else torch.zeros(1)
    return strength * torch.dot(vector, vector)


def penalty_of_large_weights(model, strength):
    return strength * sum((w**2).sum() for w in model.parameters() if w.dim() >= 2 and w.numel() > 24)


def penalty_of_half_and_biases(model, strength):
    return strength / 2 * sum((w**2).sum() for w in model.parameters())


def penalty_of_the_first_weights(model, strength):
    weights = [w for w in model.parameters() if w.dim() > 1][:9]
    return strength * sum((w**2).sum() for w in weights) if weights else torch.tensor(0.0)


def penalty_that_shrinks_the_weights(model, strength):
    """Squares the weights themselves."""
    total = torch.tensor(0.0)
    for w in model.parameters():
        if w.dim() > 1:
            w.data = w.data**2
            total = total + w.sum()
    return strength * total


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


RIGHT = {
    "l2_penalty": (penalty_by_loop, penalty_by_norm, penalty_by_dot),
    "parameter_groups": (groups_by_comprehension, groups_by_names, groups_by_generators),
    "dropout": (dropout_by_where, dropout_by_scale, dropout_by_filling, dropout_by_rows),
    "batch_mean_std": (noise_by_loop, noise_by_view, noise_by_matrix),
    "effective_learning_rate": (rate_by_frobenius, rate_by_inner_product, rate_by_einsum),
    "decay_equivalent": (equivalent_plainly, equivalent_step_by_step, equivalent_by_tensors),
}


def equivalent_with_a_slip(lr, weight_decay, scale):
    return 1.01 * lr * scale**2, weight_decay / scale**2


def equivalent_by_root(lr, weight_decay, scale):
    return lr * scale**0.5, weight_decay / scale**0.5


WRONG = {
    "l2_penalty": (
        penalty_of_large_weights,
        penalty_of_half_and_biases,
        penalty_of_the_first_weights,
        penalty_that_shrinks_the_weights,
    ),
    "parameter_groups": (groups_of_linear_layers, groups_of_the_first_weights, groups_that_freeze_the_rest),
    "dropout": (dropout_with_its_own_mask, dropout_with_a_slip_in_the_scale),
    "batch_mean_std": (noise_around_the_mean_of_all,),
    "effective_learning_rate": (rate_with_eps,),
    "decay_equivalent": (equivalent_with_a_slip, equivalent_by_root),
}
