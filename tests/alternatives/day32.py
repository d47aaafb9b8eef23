"""Day 32 in other hands."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

# -- merge_statistics --------------------------------------------------------------------------------


def merge_by_two_terms(counts, means, variances):
    n = counts.to(means.dtype)
    w = (n / n.sum()).unsqueeze(1)
    mean = (w * means).sum(dim=0)
    return mean, (w * variances).sum(0) + (w * (means - mean) ** 2).sum(0)


def merge_by_einsum(counts, means, variances):
    n = counts.type_as(means)
    total = n.sum()
    mean = torch.einsum("k,kd->d", n, means) / total
    spread = variances + torch.square(means - mean)
    return mean, torch.einsum("k,kd->d", n, spread) / total


def merge_by_matrix_product(counts, means, variances):
    n = counts.to(means)
    mean = n @ means / n.sum()
    apart = means - mean
    return mean, (n @ variances + torch.diagonal(apart.T @ torch.diag(n) @ apart)) / n.sum()


def merge_one_after_the_other(counts, means, variances):
    sizes = counts.to(means.dtype)
    n, mean, squares = sizes[0], means[0], sizes[0] * variances[0]
    for k in range(1, len(means)):
        total = n + sizes[k]
        delta = means[k] - mean
        squares = squares + sizes[k] * variances[k] + delta**2 * (n * sizes[k] / total)
        mean = mean + delta * (sizes[k] / total)
        n = total
    return mean, squares / n


def merge_by_welford(counts, means, variances):
    n = torch.zeros((), dtype=means.dtype, device=means.device)
    mean, squares = torch.zeros_like(means[0]), torch.zeros_like(means[0])
    for count, m, var in zip(counts, means, variances, strict=True):
        n = n + count
        before = m - mean
        mean = mean + before * count / n
        squares = squares + count * (var + before * (m - mean))
    return mean, squares / n


def merge_by_pairs_of_means(counts, means, variances):
    w = counts.to(means.dtype) / counts.sum().to(means.dtype)
    apart = (means[:, None] - means[None]).square()
    between = torch.einsum("j,k,jkd->d", w, w, apart) / 2
    return torch.tensordot(w, means, dims=1), torch.tensordot(w, variances, dims=1) + between


def merge_with_python_numbers(counts, means, variances):
    sizes = [float(count) for count in counts]
    total = math.fsum(sizes)
    mean = sum(size / total * m for size, m in zip(sizes, means, strict=True))
    var = sum(
        size / total * (v + (m - mean) ** 2) for size, m, v in zip(sizes, means, variances, strict=True)
    )
    return mean, var


def merge_in_double(counts, means, variances):
    n, m, v = counts.double()[:, None], means.double(), variances.double()
    mean = torch.sum(n * m, 0) / n.sum()
    squares = torch.addcmul(n * v, n, (m - mean) ** 2)
    return [mean.to(means.dtype), (squares.sum(0) / n.sum()).to(means.dtype)]


def merge_shifted_to_the_first(counts, means, variances):
    """E[x²] − E[x]² after moving the origin to the first shard's mean, where it loses nothing."""
    n = counts.to(means.dtype)[:, None] / counts.sum()
    moved = means - means[0]
    mean = (n * moved).sum(0)
    return means[0] + mean, (n * (variances + moved**2)).sum(0) - mean**2


def merge_integer_products(counts, means, variances):
    total = counts.sum()
    mean = (counts[:, None] * means).sum(0) / total
    return mean, (counts[:, None] * (variances + (means - mean) ** 2)).sum(0) / total


def merge_guarded(counts, means, variances):
    share = (counts / (counts.sum() + 1e-12)).to(means.dtype)
    mean = torch.mv(means.t(), share)
    return mean, torch.mv((variances + (means - mean).pow(2)).t(), share)


# -- sync_batch_norm_backward ------------------------------------------------------------------------


def sync_one_exchange(dy, x, mean, var, gamma, all_reduce, eps=1e-5):
    """All that is exchanged in one tensor, as nn.SyncBatchNorm does."""
    std = (var + eps).sqrt()
    x_hat = (x - mean) / std
    rows = torch.full_like(var, len(x))
    dbeta, dgamma, n = all_reduce(torch.stack([dy.sum(0), (dy * x_hat).sum(0), rows]))
    return gamma / std * (dy - dbeta / n - x_hat * dgamma / n), dgamma, dbeta


def sync_through_the_graph(dy, x, mean, var, gamma, all_reduce, eps=1e-5):
    """Step by step: what reaches the variance and the mean, and from there x."""
    n = all_reduce(float(x.shape[0]))
    inverse = (var + eps) ** -0.5
    centred = x - mean
    d_hat = gamma * dy
    d_var = all_reduce(torch.einsum("nd,nd->d", d_hat, centred)) * -0.5 * inverse**3
    d_mean = -inverse * all_reduce(d_hat.sum(0))
    dx = d_hat * inverse + d_var * 2 * centred / n + d_mean / n
    return dx, all_reduce((dy * centred).sum(0)) * inverse, all_reduce(dy.sum(0))


def sync_from_merged_means(dy, x, mean, var, gamma, all_reduce, eps=1e-5):
    """Each device's means, weighted by its share of the samples."""
    weight = len(x) / all_reduce(torch.tensor(len(x))).item()
    hat = (x - mean) * torch.rsqrt(var + eps)
    means = all_reduce(weight * torch.stack([dy.mean(0), (dy * hat).mean(0)]))
    dx = gamma * torch.rsqrt(var + eps) * (dy - means[0] - hat * means[1])
    return [dx, means[1] * len(x) / weight, means[0] * len(x) / weight]


def sync_with_projection(dy, x, mean, var, gamma, all_reduce, eps=1e-5):
    """What lies along a column of ones and along x_hat is taken out of each feature's gradient."""
    scale = torch.rsqrt(var + eps)
    basis = torch.stack([torch.ones_like(x), (x - mean) * scale])
    along = all_reduce(torch.einsum("snd,nd->sd", basis, dy))
    dx = gamma * scale * (dy - torch.einsum("sd,snd->nd", along, basis) / all_reduce(len(x)))
    dbeta, dgamma = along
    return dx, dgamma, dbeta


def sync_in_double(dy, x, mean, var, gamma, all_reduce, eps=1e-5):
    wide = (one.double() for one in (dy, x, mean, var, gamma))
    return tuple(one.to(x.dtype) for one in sync_one_exchange(*wide, all_reduce, eps))


def sync_half_of_each_path(dy, x, mean, var, gamma, all_reduce, eps=1e-5):
    dx, dgamma, dbeta = sync_one_exchange(dy, x, mean, var, gamma, all_reduce, eps)
    return (dx + gamma * dy / (var + eps).sqrt()) / 2, dgamma, dbeta


def sync_without_parameters(dy, x, mean, var, gamma, all_reduce, eps=1e-5):
    dx, dgamma, dbeta = sync_one_exchange(dy, x, mean, var, gamma, all_reduce, eps)
    return dx, torch.zeros_like(dgamma), torch.ones_like(dbeta)


def sync_of_rows(dy, x, mean, var, gamma, all_reduce, eps=1e-5):
    """Adds up rows of different devices, which have no row in common."""
    hat = (x - mean) / (var + eps).sqrt()
    n, dgamma, dbeta = all_reduce(len(x)), all_reduce(dy * hat).sum(0), all_reduce(dy).sum(0)
    return gamma / (var + eps).sqrt() * (dy - dbeta / n - hat * dgamma / n), dgamma, dbeta


def sync_only_with_many(dy, x, mean, var, gamma, all_reduce, eps=1e-5):
    """One device stays away from the exchange."""
    if len(x) == 1:
        return gamma * dy / (var + eps).sqrt(), dy * 0, dy
    return sync_one_exchange(dy, x, mean, var, gamma, all_reduce, eps)


def sync_in_place(dy, x, mean, var, gamma, all_reduce, eps=1e-5):
    x -= mean
    x /= (var + eps).sqrt()
    return sync_one_exchange(dy, x * (var + eps).sqrt() + mean, mean, var, gamma, all_reduce, eps)


# -- ghost_batch_norm --------------------------------------------------------------------------------


def ghost_by_split(x, virtual_batch_size, gamma, beta, eps=1e-5):
    pieces = []
    for piece in torch.split(x, virtual_batch_size, dim=0):
        var, mean = torch.var_mean(piece, dim=0, correction=0)
        pieces.append((piece - mean) * torch.rsqrt(var + eps))
    return torch.cat(pieces) * gamma + beta


def ghost_by_slices(x, virtual_batch_size, gamma, beta, eps=1e-5):
    y = torch.empty_like(x)
    for start in range(0, x.shape[0], virtual_batch_size):
        piece = x[start : start + virtual_batch_size]
        centred = piece - piece.mean(0)
        y[start : start + virtual_batch_size] = gamma * centred / (centred.pow(2).mean(0) + eps) ** 0.5 + beta
    return y


def ghost_by_index_add(x, virtual_batch_size, gamma, beta, eps=1e-5):
    which = torch.arange(len(x), device=x.device) // virtual_batch_size
    ghosts = -(-len(x) // virtual_batch_size)
    empty = torch.zeros(ghosts, x.shape[1], dtype=x.dtype, device=x.device)
    count = torch.zeros(ghosts, dtype=x.dtype, device=x.device).index_add(0, which, torch.ones_like(x[:, 0]))
    centred = x - (empty.index_add(0, which, x) / count[:, None])[which]
    var = empty.index_add(0, which, centred**2) / count[:, None]
    return centred / torch.sqrt(var + eps)[which] * gamma + beta


def ghost_by_one_hot(x, virtual_batch_size, gamma, beta, eps=1e-5):
    which = torch.arange(len(x), device=x.device) // virtual_batch_size
    same = (which[:, None] == which[None]).to(x.dtype)
    average = same / same.sum(1, keepdim=True)
    centred = x - average @ x
    return gamma * centred / torch.sqrt(average @ centred.square() + eps) + beta


def ghost_by_mask(x, virtual_batch_size, gamma, beta, eps=1e-5):
    n, d = x.shape
    short = -n % virtual_batch_size
    blocks = F.pad(x, (0, 0, 0, short)).reshape(-1, virtual_batch_size, d)
    real = F.pad(torch.ones_like(x[:, :1]), (0, 0, 0, short)).reshape(-1, virtual_batch_size, 1)
    count = real.sum(1, keepdim=True)
    centred = (blocks - (blocks * real).sum(1, keepdim=True) / count) * real
    var = centred.square().sum(1, keepdim=True) / count
    return (gamma * centred / (var + eps).sqrt() + beta).reshape(-1, d)[:n]


def ghost_full_and_rest(x, virtual_batch_size, gamma, beta, eps=1e-5):
    n, d = x.shape
    cut = n // virtual_batch_size * virtual_batch_size
    done = []
    for part, size in ((x[:cut], virtual_batch_size), (x[cut:], n - cut)):
        if len(part):
            blocks = part.reshape(-1, size, d)
            mean = blocks.mean(1, keepdim=True)
            var = blocks.var(1, unbiased=False, keepdim=True)
            done.append(((blocks - mean) / torch.sqrt(var + eps)).reshape(-1, d))
    return torch.vstack(done) * gamma + beta


def ghost_by_recursion(x, virtual_batch_size, gamma, beta, eps=1e-5):
    if len(x) == 0:
        return x
    first, rest = x[:virtual_batch_size], x[virtual_batch_size:]
    scale = gamma / (first.var(0, correction=0) + eps).sqrt()
    y = (first - first.mean(0)) * scale + beta
    return torch.cat([y, ghost_by_recursion(rest, virtual_batch_size, gamma, beta, eps)])


def ghost_with_a_case_for_one(x, virtual_batch_size, gamma, beta, eps=1e-5):
    done = []
    for piece in x.split(virtual_batch_size):
        n = len(piece)
        if n == 1:
            done.append(beta[None].clone())
            continue
        std = (piece.var(0) * (n - 1) / n + eps).sqrt()
        done.append(gamma * ((piece - piece.mean(0)) / std) + beta)
    return torch.concatenate(done)


def ghost_in_double(x, virtual_batch_size, gamma, beta, eps=1e-5):
    return ghost_by_slices(x.double(), virtual_batch_size, gamma.double(), beta.double(), eps).to(x.dtype)


# -- rms_norm ----------------------------------------------------------------------------------------


def rms_by_rsqrt(x, gamma, eps=1e-6):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * gamma


def rms_by_norm(x, gamma, eps=1e-6):
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return gamma * x / torch.sqrt(length**2 / x.size(-1) + eps)


def rms_by_einsum(x, gamma, eps=1e-6):
    square = torch.einsum("...d,...d->...", x, x) / x.shape[-1]
    return torch.einsum("...d,d,...->...d", x, gamma, (square + eps) ** -0.5)


def rms_by_rows(x, gamma, eps=1e-6):
    flat = x.reshape(-1, x.shape[-1])
    done = [gamma * row / ((row * row).sum() / row.numel() + eps).sqrt() for row in flat]
    return torch.stack(done).reshape(x.shape)


def rms_by_moments(x, gamma, eps=1e-6):
    """The mean square as variance plus squared mean."""
    var, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
    return x / (var + mean.square() + eps).sqrt() * gamma


def rms_by_an_extra_entry(x, gamma, eps=1e-6):
    """eps as one more entry of the vector, so that the norm alone is the divisor."""
    d = x.shape[-1]
    extra = torch.full_like(x[..., :1], math.sqrt(d * eps))
    return gamma * x * math.sqrt(d) / torch.cat([x, extra], -1).norm(dim=-1, keepdim=True)


def rms_by_normalize(x, gamma, eps=1e-6):
    root = x.square().mean(-1, keepdim=True).add(eps).sqrt()
    return torch.mul(torch.div(x, root.expand_as(x)), gamma)


def rms_in_double(x, gamma, eps=1e-6):
    return rms_by_rsqrt(x.double(), gamma.double(), eps).to(x.dtype)


# -- weight_standardization --------------------------------------------------------------------------


def standardize_by_var_mean(weight, eps=1e-5):
    var, mean = torch.var_mean(weight, dim=(1, 2, 3), correction=0, keepdim=True)
    return (weight - mean) / torch.sqrt(var + eps)


def standardize_flat(weight, eps=1e-5):
    flat = weight.flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    flat = flat * (flat.pow(2).mean(1, keepdim=True) + eps).rsqrt()
    return flat.view(weight.shape)


def standardize_filter_by_filter(weight, eps=1e-5):
    done = []
    for one in weight:
        centred = one - one.sum() / one.numel()
        done.append(centred / ((centred**2).sum() / one.numel() + eps) ** 0.5)
    return torch.stack(done, dim=0)


def standardize_by_norm(weight, eps=1e-5):
    count = weight[0].numel()
    centred = weight - weight.mean(dim=[1, 2, 3], keepdim=True)
    length = torch.linalg.vector_norm(centred, dim=(1, 2, 3), keepdim=True)
    return centred * math.sqrt(count) / torch.sqrt(length**2 + count * eps)


def standardize_axis_by_axis(weight, eps=1e-5):
    def average(w):
        return w.mean(3, keepdim=True).mean(2, keepdim=True).mean(1, keepdim=True)

    centred = weight - average(weight)
    return centred / (average(centred * centred) + eps).sqrt()


def standardize_repairing_unbiased(weight, eps=1e-5):
    n = weight[0].numel()
    flat = weight.reshape(len(weight), -1)
    var = flat.var(1) * (n - 1) / n if n > 1 else torch.zeros_like(flat[:, 0])
    return torch.einsum("oihw,o->oihw", weight - flat.mean(1)[:, None, None, None], 1 / (var + eps).sqrt())


def standardize_in_double(weight, eps=1e-5):
    return standardize_flat(weight.double(), eps).to(weight.dtype)


# -- weight_norm -------------------------------------------------------------------------------------


def weight_norm_flat(v, g):
    flat = v.reshape(v.shape[0], -1)
    return (flat * (g / flat.norm(dim=1))[:, None]).reshape(v.shape)


def weight_norm_by_f_normalize(v, g):
    return (g.unsqueeze(1) * F.normalize(v.flatten(1) if v.dim() > 1 else v[:, None], dim=1)).view(v.shape)


def weight_norm_row_by_row(v, g):
    return torch.stack([length * row / (row * row).sum().sqrt() for row, length in zip(v, g, strict=True)])


def weight_norm_by_einsum(v, g):
    squares = torch.einsum("o...,o...->o...", v, v).reshape(len(v), -1).sum(1)
    return torch.einsum("o...,o->o...", v, g * squares.rsqrt())


def weight_norm_rows_last(v, g):
    """The first axis moved to the end, where broadcasting needs no reshape."""
    last = v.movedim(0, -1)
    squares = last.square()
    while squares.dim() > 1:
        squares = squares.sum(0)
    return (last * (g / squares.sqrt())).movedim(-1, 0)


def weight_norm_by_matrix(v, g):
    flat = v.reshape(len(v), -1)
    return (torch.diag(g / torch.linalg.norm(flat, ord=2, dim=1)) @ flat).reshape(v.shape)


def weight_norm_scaled_first(v, g):
    """Each row divided by its largest value before it is measured, as against overflow."""
    flat = v.reshape(v.shape[0], -1)
    flat = flat / flat.abs().amax(1, keepdim=True)
    return (g[:, None] * flat / flat.pow(2).sum(1, keepdim=True).sqrt()).view_as(v)


def weight_norm_in_double(v, g):
    return weight_norm_flat(v.double(), g.double()).to(v.dtype)


# -- find_leak ---------------------------------------------------------------------------------------


def find_by_noise(norms, x):
    """Random numbers in place of the future, for each moment."""
    found = []
    for name, norm in norms.items():
        before = norm(x)
        for t in range(x.shape[1] - 1):
            changed = x.clone()
            changed[:, t + 1 :] = torch.randn_like(changed[:, t + 1 :])
            if not torch.allclose(norm(changed)[:, t], before[:, t], rtol=1e-4, atol=1e-5):
                found.append(name)
                break
    return found


def find_by_cutting(norms, x):
    """A sequence that ends earlier has the same beginning, unless the future matters."""

    def causal(norm):
        whole = norm(x)
        return all(
            torch.allclose(norm(x[:, :t]), whole[:, :t], rtol=1e-4, atol=1e-5) for t in range(1, x.shape[1])
        )

    return [name for name in norms if not causal(norms[name])]


def find_by_nan(norms, x):
    """What is not a number spreads to all that depends on it."""

    def reached(norm, step):
        poisoned = x.clone()
        poisoned[:, step:] = math.nan
        return norm(poisoned)[:, :step].isnan().any()

    leaks = {name: any(reached(norm, s) for s in range(1, x.shape[1])) for name, norm in norms.items()}
    return tuple(name for name, leak in leaks.items() if leak)


def find_all_but_one(norms, x):
    return find_by_noise(norms, x)[1:]


def find_and_forget_x(norms, x):
    found = find_by_noise(norms, x)
    x[:, -1] = 0
    return found


def find_by_number(norms, x):
    found = find_by_noise(norms, x)
    return [i for i, name in enumerate(norms) if name in found]


def weight_norm_guarded(v, g):
    flat = v.reshape(len(v), -1)
    return (flat / (flat.norm(dim=1, keepdim=True) + 1e-12) * g[:, None]).reshape(v.shape)


RIGHT = {
    "merge_statistics": (
        merge_by_two_terms,
        merge_by_einsum,
        merge_by_matrix_product,
        merge_one_after_the_other,
        merge_by_welford,
        merge_by_pairs_of_means,
        merge_with_python_numbers,
        merge_in_double,
        merge_shifted_to_the_first,
        merge_integer_products,
        merge_guarded,
    ),
    "sync_batch_norm_backward": (
        sync_one_exchange,
        sync_through_the_graph,
        sync_from_merged_means,
        sync_with_projection,
        sync_in_double,
    ),
    "ghost_batch_norm": (
        ghost_by_split,
        ghost_by_slices,
        ghost_by_index_add,
        ghost_by_one_hot,
        ghost_by_mask,
        ghost_full_and_rest,
        ghost_by_recursion,
        ghost_with_a_case_for_one,
        ghost_in_double,
    ),
    "rms_norm": (
        rms_by_rsqrt,
        rms_by_norm,
        rms_by_einsum,
        rms_by_rows,
        rms_by_moments,
        rms_by_an_extra_entry,
        rms_by_normalize,
        rms_in_double,
    ),
    "weight_standardization": (
        standardize_by_var_mean,
        standardize_flat,
        standardize_filter_by_filter,
        standardize_by_norm,
        standardize_axis_by_axis,
        standardize_repairing_unbiased,
        standardize_in_double,
    ),
    "weight_norm": (
        weight_norm_flat,
        weight_norm_by_f_normalize,
        weight_norm_row_by_row,
        weight_norm_by_einsum,
        weight_norm_rows_last,
        weight_norm_by_matrix,
        weight_norm_scaled_first,
        weight_norm_in_double,
        weight_norm_guarded,
    ),
    "find_leak": (find_by_noise, find_by_cutting, find_by_nan),
}


# -- wrong in ways that are on no list ----------------------------------------------------------------


def merge_unbiased_and_second_moment(counts, means, variances):
    n = counts.to(means.dtype)[:, None]
    mean = (n * means).sum(0) / n.sum()
    return mean, (n * (variances + means**2)).sum(0) / (n.sum() - 1)


def merge_forgets_the_last_shard(counts, means, variances):
    if len(counts) > 1:
        counts, means, variances = counts[:-1], means[:-1], variances[:-1]
    return merge_by_two_terms(counts, means, variances)


def merge_counts_one_sample_too_many(counts, means, variances):
    mean, _ = merge_by_two_terms(counts, means, variances)
    more = counts.clone()
    more[0] += 1
    return mean, merge_by_two_terms(more, means, variances)[1]


def merge_only_two(counts, means, variances):
    return merge_one_after_the_other(counts[:2], means[:2], variances[:2])


def merge_forgets_float64(counts, means, variances):
    mean, var = merge_by_two_terms(counts, means.float(), variances.float())
    return mean.to(means.dtype), var.to(means.dtype)


def merge_keeps_an_axis(counts, means, variances):
    mean, var = merge_by_two_terms(counts, means, variances)
    return mean[None], var[None] * 0.99


def ghost_eps_slightly_off(x, virtual_batch_size, gamma, beta, eps=1e-5):
    return ghost_by_split(x, virtual_batch_size, gamma, beta, 1.01 * eps)


def ghost_unbiased_and_dropped(x, virtual_batch_size, gamma, beta, eps=1e-5):
    cut = len(x) // virtual_batch_size * virtual_batch_size
    done = [(p - p.mean(0)) / (p.var(0) + eps).sqrt() for p in x[:cut].split(virtual_batch_size)]
    return torch.cat(done) * gamma + beta


def ghost_first_sample_missing(x, virtual_batch_size, gamma, beta, eps=1e-5):
    done = []
    for p in x.split(virtual_batch_size):
        part = p[1:] if len(p) > 2 else p
        done.append((p - part.mean(0)) / (part.var(0, correction=0) + eps).sqrt())
    return torch.cat(done) * gamma + beta


def ghost_size_one_too_large(x, virtual_batch_size, gamma, beta, eps=1e-5):
    return ghost_by_split(x, virtual_batch_size + 1, gamma, beta, eps)


def ghost_mean_of_the_whole(x, virtual_batch_size, gamma, beta, eps=1e-5):
    done = [(p - x.mean(0)) / (p.var(0, correction=0) + eps).sqrt() for p in x.split(virtual_batch_size)]
    return torch.cat(done) * gamma + beta


def ghost_lone_sample_with_its_neighbour(x, virtual_batch_size, gamma, beta, eps=1e-5):
    if len(x) > virtual_batch_size > 1 and len(x) % virtual_batch_size == 1:
        cut = len(x) - virtual_batch_size - 1
        tail = ghost_by_split(x[cut:], len(x) - cut, gamma, beta, eps)
        return torch.cat([ghost_by_split(x[:cut], virtual_batch_size, gamma, beta, eps), tail])
    return ghost_by_split(x, virtual_batch_size, gamma, beta, eps)


def rms_eps_slightly_off(x, gamma, eps=1e-6):
    return rms_by_rsqrt(x, gamma, 1.01 * eps)


def rms_centred_without_gamma(x, gamma, eps=1e-6):
    x = x - x.mean(-1, keepdim=True)
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)


def rms_leaves_out_an_entry(x, gamma, eps=1e-6):
    kept = x[..., 1:] if x.shape[-1] > 1 else x
    return gamma * x * torch.rsqrt(kept.pow(2).mean(-1, keepdim=True) + eps)


def rms_flattens(x, gamma, eps=1e-6):
    return rms_by_rsqrt(x, gamma, eps).reshape(-1, x.shape[-1])


def rms_eps_outside_and_sum(x, gamma, eps=1e-6):
    return gamma * x / ((x * x).sum(-1, keepdim=True).sqrt() * 0.5 + eps)


def standardize_eps_slightly_off(weight, eps=1e-5):
    return standardize_flat(weight, 0.99 * eps)


def standardize_by_kernel_without_bias(weight, eps=1e-5):
    mean = weight.mean((2, 3), keepdim=True)
    return (weight - mean) / (weight.var((1, 2, 3), correction=0, keepdim=True) + eps).sqrt()


def standardize_last_column_missing(weight, eps=1e-5):
    kept = weight[..., :-1] if weight.shape[3] > 1 else weight
    var, mean = torch.var_mean(kept, (1, 2, 3), correction=0, keepdim=True)
    return (weight - mean) / (var + eps).sqrt()


def standardize_transposed(weight, eps=1e-5):
    return standardize_flat(weight.transpose(0, 1), eps).transpose(0, 1) if weight.dim() == 4 else weight


def weight_norm_one_value_missing(v, g):
    flat = v.reshape(v.shape[0], -1)
    kept = flat[:, 1:] if flat.shape[1] > 1 else flat
    return (flat * (g / kept.norm(dim=1))[:, None]).reshape(v.shape)


def weight_norm_nearly(v, g):
    return weight_norm_flat(v, g) * (1 + 1e-4)


def weight_norm_everything_and_squared(v, g):
    return g.reshape(-1, *(1,) * (v.dim() - 1)) * v / v.square().sum()


def weight_norm_matrices_only(v, g):
    return g[:, None] * v / v.norm(dim=1, keepdim=True)


WRONG = {
    "merge_statistics": (
        merge_unbiased_and_second_moment,
        merge_forgets_the_last_shard,
        merge_counts_one_sample_too_many,
        merge_only_two,
        merge_forgets_float64,
        merge_keeps_an_axis,
    ),
    "sync_batch_norm_backward": (
        sync_half_of_each_path,
        sync_without_parameters,
        sync_of_rows,
        sync_only_with_many,
        sync_in_place,
    ),
    "ghost_batch_norm": (
        ghost_eps_slightly_off,
        ghost_unbiased_and_dropped,
        ghost_first_sample_missing,
        ghost_size_one_too_large,
        ghost_mean_of_the_whole,
        ghost_lone_sample_with_its_neighbour,
    ),
    "rms_norm": (
        rms_eps_slightly_off,
        rms_centred_without_gamma,
        rms_leaves_out_an_entry,
        rms_flattens,
        rms_eps_outside_and_sum,
    ),
    "weight_standardization": (
        standardize_eps_slightly_off,
        standardize_by_kernel_without_bias,
        standardize_last_column_missing,
        standardize_transposed,
    ),
    "weight_norm": (
        weight_norm_one_value_missing,
        weight_norm_nearly,
        weight_norm_everything_and_squared,
        weight_norm_matrices_only,
    ),
    "find_leak": (find_all_but_one, find_and_forget_x, find_by_number),
}
