"""Day 29 in other hands."""

from __future__ import annotations

import math

import torch

# -- normalized_axes ---------------------------------------------------------------------------------


def axes_by_branches(kind):
    if kind == "batch":
        return 0, 2, 3
    elif kind == "layer":
        return -3, -2, -1
    elif kind == "instance":
        return 3, 2
    else:
        raise ValueError("no such kind: " + kind)


def axes_by_dict(kind):
    try:
        return {"batch": (3, 0, 2), "layer": (1, 2, 3), "instance": (-2, -1)}[kind]
    except KeyError:
        raise ValueError(kind) from None


def axes_by_letters(kind):
    reduced = dict(zip(("batch", "layer", "instance"), ("NHW", "CHW", "HW"), strict=True)).get(kind)
    if reduced is None:
        raise UnknownKind(kind)
    return tuple(map("NCHW".index, reduced))


def axes_by_match(kind):
    match kind:
        case "batch":
            kept = {1}
        case "layer":
            kept = {0}
        case "instance":
            kept = {0, 1}
        case _:
            raise ValueError
    return (*sorted({0, 1, 2, 3} - kept),)


class UnknownKind(ValueError):
    pass


# -- statistics_count --------------------------------------------------------------------------------


def count_by_formula(kind, shape, num_groups=None):
    n, c, *_ = shape
    counts = {"batch": c, "layer": n, "instance": n * c, "group": n * (num_groups or 1)}
    if kind not in counts:
        raise ValueError(f"{kind!r}")
    return counts[kind]


def count_by_axes(kind, shape, num_groups=None):
    if kind == "group":
        return shape[0] * num_groups
    reduced = axes_by_dict(kind)
    return math.prod(size for axis, size in enumerate(shape) if axis not in {a % 4 for a in reduced})


def count_by_doing_it(kind, shape, num_groups=None):
    x = torch.zeros(shape, device="meta")  # which has a shape, and no values to wait for
    if kind == "group":
        return len(x.view(shape[0] * num_groups, -1).mean(1))
    return x.mean(axes_by_branches(kind)).numel()


def count_by_division(kind, shape, num_groups=None):
    n, c, h, w = shape
    if kind == "batch":
        share = n * h * w
    elif kind == "layer":
        share = c * h * w
    elif kind == "instance":
        share = h * w
    elif kind == "group":
        share = c // num_groups * h * w
    else:
        raise ValueError("kind")
    return torch.Size(shape).numel() // share


# -- layer_norm --------------------------------------------------------------------------------------


def layer_by_flattening(x, gamma, beta, eps=1e-5):
    flat = x.flatten(1)
    var, mean = torch.var_mean(flat, dim=1, correction=0, keepdim=True)
    y = (flat - mean) * torch.rsqrt(var + eps) * gamma.flatten() + beta.flatten()
    return y.reshape(x.shape)


def layer_by_sample(x, gamma, beta, eps=1e-5):
    samples = []
    for sample in x:
        centred = sample - sample.sum() / sample.numel()
        samples.append(torch.addcmul(beta, gamma, centred / ((centred**2).mean() + eps) ** 0.5))
    return torch.stack(samples)


def layer_by_einsum(x, gamma, beta, eps=1e-5):
    count = x[0].numel()
    centred = x - (torch.einsum("nchw->n", x) / count)[:, None, None, None]
    var = torch.einsum("nchw,nchw->n", centred, centred) / count
    return torch.einsum("nchw,chw,n->nchw", centred, gamma, (var + eps).pow(-0.5)) + beta


def layer_by_norm(x, gamma, beta, eps=1e-5):
    centred = x - x.mean(dim=[-1, -2, -3], keepdim=True)
    length = torch.linalg.vector_norm(centred, dim=(1, 2, 3), keepdim=True)
    divisor = torch.hypot(length / math.sqrt(x[0].numel()), torch.full_like(length, math.sqrt(eps)))
    return beta + gamma * centred / divisor


def layer_in_double(x, gamma, beta, eps=1e-5):
    wide = x.to(torch.float64)
    std = (wide.var((1, 2, 3), unbiased=False, keepdim=True) + eps).sqrt()
    return (gamma * (wide - wide.mean((1, 2, 3), keepdim=True)) / std + beta).type_as(x)


def layer_with_channels_last(x, gamma, beta, eps=1e-5):
    moved = x.permute(0, 2, 3, 1)
    mean = moved.mean((1, 2, 3), keepdim=True)
    var = (moved - mean).square().mean((1, 2, 3), keepdim=True)
    y = (moved - mean) / torch.sqrt(var + eps) * gamma.permute(1, 2, 0) + beta.permute(1, 2, 0)
    return y.permute(0, 3, 1, 2)


# -- instance_norm -----------------------------------------------------------------------------------


def instance_by_var(x, gamma, beta, eps=1e-5):
    mean = x.mean([2, 3], keepdim=True)
    var = x.var([2, 3], correction=0, keepdim=True)
    return gamma[None, :, None, None] * ((x - mean) / torch.sqrt(var + eps)) + beta[None, :, None, None]


def instance_by_maps(x, gamma, beta, eps=1e-5):
    y = torch.empty_like(x)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            centred = x[n, c] - x[n, c].mean()
            y[n, c] = gamma[c] * centred / (centred.pow(2).mean() + eps).sqrt() + beta[c]
    return y


def instance_by_moving_axes(x, gamma, beta, eps=1e-5):
    n, c, h, w = x.shape
    pixels = x.movedim(1, -1).reshape(n, h * w, c)
    pixels = pixels - pixels.mean(1, keepdim=True)
    std = pixels.square().mean(1, keepdim=True).add(eps).sqrt()
    return (pixels / std * gamma + beta).reshape(n, h, w, c).movedim(-1, 1)


def instance_by_batch_rows(x, gamma, beta, eps=1e-5):
    n, c, h, w = x.shape
    rows = x.reshape(n * c, h * w)
    mean = rows @ torch.full((h * w, 1), 1 / (h * w), dtype=x.dtype, device=x.device)
    rows = rows - mean
    rows = rows - rows.mean(1, keepdim=True)
    var = (rows * rows).sum(1, keepdim=True) / (h * w)
    return (rows / (var + eps).sqrt() * gamma.repeat(n)[:, None] + beta.repeat(n)[:, None]).view(n, c, h, w)


def instance_in_double(x, gamma, beta, eps=1e-5):
    return instance_by_var(x.double(), gamma.double(), beta.double(), eps).to(x.dtype)


# -- group_norm --------------------------------------------------------------------------------------


def group_by_view(x, num_groups, gamma, beta, eps=1e-5):
    n, c, h, w = x.shape
    if c % num_groups != 0:
        raise ValueError("num_groups has to divide the number of channels")
    grouped = x.reshape(n, num_groups, -1)
    var, mean = torch.var_mean(grouped, -1, correction=0, keepdim=True)
    y = ((grouped - mean) / (var + eps).sqrt()).reshape(n, c, h, w)
    return y * gamma.view(1, c, 1, 1) + beta.view(1, c, 1, 1)


def group_by_slices(x, num_groups, gamma, beta, eps=1e-5):
    size, left = divmod(x.size(1), num_groups)
    if left:
        raise ValueError(f"{x.size(1)} channels do not make {num_groups} groups")
    parts = []
    for start in range(0, x.size(1), size):
        part = x[:, start : start + size]
        part = part - part.mean((1, 2, 3), keepdim=True)
        parts.append(part / torch.sqrt((part**2).mean((1, 2, 3), keepdim=True) + eps))
    return torch.cat(parts, dim=1) * gamma[:, None, None] + beta[:, None, None]


def group_by_einsum(x, num_groups, gamma, beta, eps=1e-5):
    if x.shape[1] / num_groups != x.shape[1] // num_groups:
        raise ValueError
    grouped = x.unflatten(1, (num_groups, -1))
    count = grouped[0, 0].numel()
    grouped = grouped - torch.einsum("ngchw->ng", grouped)[..., None, None, None] / count
    inverse = torch.rsqrt(torch.einsum("ngchw,ngchw->ng", grouped, grouped) / count + eps)
    y = torch.einsum("ngchw,ng,gc->ngchw", grouped, inverse, gamma.reshape(num_groups, -1))
    return y.flatten(1, 2) + beta.reshape(-1, 1, 1)


def group_by_membership(x, num_groups, gamma, beta, eps=1e-5):
    """Means of groups as a matrix product with who belongs to whom."""
    c = x.shape[1]
    if c % num_groups:
        raise ValueError("groups of different size")
    owner = torch.arange(c, device=x.device) // (c // num_groups)
    same = (owner[:, None] == owner[None, :]).to(x.dtype) * num_groups / c
    centred = x - (x.mean((2, 3)) @ same)[:, :, None, None]
    var = centred.square().mean((2, 3)) @ same
    scale = gamma / (var + eps).sqrt()
    return centred * scale[:, :, None, None] + beta.view(c, 1, 1)


def group_by_samples_in_double(x, num_groups, gamma, beta, eps=1e-5):
    if x.shape[1] % num_groups > 0:
        raise ValueError("no")
    y = torch.zeros_like(x)
    step = x.shape[1] // num_groups
    for n in range(len(x)):
        for g in range(num_groups):
            where = slice(g * step, (g + 1) * step)
            values = x[n, where].double()
            y[n, where] = ((values - values.mean()) / (values.var(correction=0) + eps).sqrt()).to(x.dtype)
    return y * gamma.reshape(1, -1, 1, 1) + beta.reshape(1, -1, 1, 1)


# -- diagnose_norm -----------------------------------------------------------------------------------


def diagnose_by_one_value(norm, x):
    """One value after the other, and a list of all that follow."""
    if len(x) < 2:
        x = torch.cat([x, torch.randn_like(x)])
    before = norm(x)
    following = set()
    for c in range(x.size(1)):
        changed = x.clone()
        changed[0, c, 0, 0] += 10 * x.std()
        moved = ~torch.isclose(norm(changed), before, rtol=1e-4, atol=1e-5)
        following |= {(n, abs(k - c), c, (i, j) != (0, 0)) for n, k, i, j in moved.nonzero().tolist()}
    if any(n > 0 for n, *_ in following):
        return "batch", None
    size = 1 + max(len({far for _, far, c, _ in following if c == one and far}) for one in range(x.size(1)))
    if 1 < size < x.size(1):
        return "group", x.size(1) // size
    if size > 1:
        return "layer", None
    return ("instance", None) if any(elsewhere for *_, elsewhere in following) else ("none", None)


def diagnose_by_gradient(norm, x):
    """From the other end: on which inputs does one output depend?"""
    x = torch.cat([x, x.flip(3).cos()]).detach().requires_grad_()
    y = norm(x)
    depends = []
    for c in range(x.shape[1]):
        slope = torch.autograd.grad(y[0, c, 0, 0], x, retain_graph=True)[0].abs()
        depends.append(slope > 1e-5 * slope.max())
    if any(one[1:].any() for one in depends):
        return "batch", None
    channels = max(int(one[0].flatten(1).any(1).sum()) for one in depends)
    if channels == x.shape[1]:
        return "layer", None
    if channels > 1:
        return "group", x.shape[1] // channels
    return ("instance" if max(int(one.sum()) for one in depends) > 1 else "none"), None


def diagnose_by_regions(norm, x):
    """Another sample, another channel, another half of the map: three questions."""
    _, c, _, w = x.shape
    x = torch.cat([x, 2 * x.roll(1, 3) + 1])

    def reaches(change, look):
        z = x.clone()
        z[change] = x.abs().max() * torch.rand_like(z[change])
        return not torch.allclose(norm(z)[look], norm(x)[look], rtol=1e-3, atol=1e-4)

    if reaches(slice(1, None), 0):
        return ["batch", None]
    size = 1 + max(sum(reaches((0, a), (0, b)) for b in range(c) if b != a) for a in range(c))
    if size > 1:
        return ["layer", None] if size == c else ["group", c // size]
    left, right = slice(0, w // 2), slice(w // 2, w)
    mixed = any(reaches((0, k, slice(None), left), (0, k, slice(None), right)) for k in range(c))
    return ["instance" if mixed else "none", None]


def diagnose_by_what_does_not_change(norm, x):
    """A constant added to a map is subtracted again where its own mean is; else others get some of it."""
    x = torch.cat([x, -x])
    before, channels = norm(x), x.shape[1]
    largest, itself = 1, False
    for c in range(channels):
        moved = x.clone()
        moved[0, c] += 3 * x.abs().max()
        follows = ((norm(moved) - before).abs() > 1e-3).flatten(2).any(2)
        if follows[1:].any():
            return "batch", None
        itself = itself or bool(follows[0, c])
        follows[0, c] = True
        largest = max(largest, int(follows.sum()))
    if largest == 1:
        return ("none", None) if itself else ("instance", None)
    return ("layer", None) if largest == channels else ("group", channels // largest)


def diagnose_in_place(norm, x):
    before = diagnose_by_one_value(norm, x)
    x[0, 0, 0, 0] += 10
    return before


def diagnose_in_a_word(norm, x):
    return diagnose_by_one_value(norm, x)[0]


def diagnose_groups_as_pairs(norm, x):
    """Where a neighbour follows, that is all that is looked at."""
    kind, groups = diagnose_by_one_value(norm, x)
    return kind, x.shape[1] // 2 if groups else None


def diagnose_with_a_fraction(norm, x):
    kind, groups = diagnose_by_one_value(norm, x)
    return kind, groups and groups / 1


# -- adaptive_instance_norm --------------------------------------------------------------------------


def adaptive_by_statistics(content, style, eps=1e-5):
    def statistics(x):
        flat = x.flatten(2)
        std = (flat.var(2, correction=0) + eps).sqrt()
        return flat.mean(2)[..., None, None], std[..., None, None]

    content_mean, content_std = statistics(content)
    style_mean, style_std = statistics(style)
    return (content - content_mean) / content_std * style_std + style_mean


def adaptive_by_instance_norm(content, style, eps=1e-5):
    ones, zeros = torch.ones_like(content[0, :, 0, 0]), torch.zeros_like(content[0, :, 0, 0])
    var, mean = torch.var_mean(style, dim=(-2, -1), unbiased=False, keepdim=True)
    return instance_by_var(content, ones, zeros, eps).mul(torch.sqrt(var + eps)).add(mean)


def adaptive_by_maps(content, style, eps=1e-5):
    samples = []
    for one, other in zip(content, style, strict=True):
        maps = []
        for a, b in zip(one, other, strict=True):
            a, mean = a - a.mean(), b.mean()
            gain = (((b - mean) ** 2).mean() + eps).sqrt() / ((a**2).mean() + eps).sqrt()
            maps.append(gain * a + mean)
        samples.append(torch.stack(maps))
    return torch.stack(samples)


def adaptive_by_ratio(content, style, eps=1e-5):
    a = content - torch.einsum("nchw->nc", content)[:, :, None, None] / content[0, 0].numel()
    b = style.double()
    mean = b.mean((2, 3), keepdim=True)
    gain = ((b - mean).square().mean((2, 3), keepdim=True) + eps) / (
        a.square().mean((2, 3), keepdim=True) + eps
    )
    return (a * gain.sqrt() + mean).to(content.dtype)


def layer_backward_flat(dy, x, gamma, eps=1e-5):
    n = len(x)
    flat = x.reshape(n, -1)
    var, mean = torch.var_mean(flat, 1, correction=0, keepdim=True)
    std = torch.sqrt(var + eps)
    hat = (flat - mean) / std
    d = dy.reshape(n, -1)
    g = d * gamma.reshape(1, -1)
    dx = (g - g.mean(1, keepdim=True) - hat * (g * hat).mean(1, keepdim=True)) / std
    return dx.view(x.shape), (d * hat).sum(0).view(gamma.shape), d.sum(0).view(gamma.shape)


def layer_backward_by_graph(dy, x, gamma, eps=1e-5):
    """Step by step through the graph, the variance before the mean."""
    axes, m = (1, 2, 3), x[0].numel()
    centred = x - x.mean(axes, keepdim=True)
    inverse = (centred.pow(2).mean(axes, keepdim=True) + eps).rsqrt()
    d_hat = gamma * dy
    d_var = (d_hat * centred).sum(axes, keepdim=True) * -0.5 * inverse**3
    d_centred = d_hat * inverse + d_var * 2 * centred / m
    dx = d_centred - d_centred.mean(axes, keepdim=True)
    return dx, torch.einsum("nchw,nchw->chw", dy, centred * inverse), torch.einsum("nchw->chw", dy)


def layer_backward_by_sample(dy, x, gamma, eps=1e-5):
    dx, dgamma, dbeta = torch.empty_like(x), torch.zeros_like(gamma), torch.zeros_like(gamma)
    for i in range(len(x)):
        std = (x[i].var(correction=0) + eps) ** 0.5
        hat = (x[i] - x[i].mean()) / std
        g = dy[i] * gamma
        dx[i] = (g - g.mean() - hat * (g * hat).mean()) / std
        dgamma += dy[i] * hat
        dbeta += dy[i]
    return [dx, dgamma, dbeta]


def layer_backward_with_zero_undivided(dy, x, gamma, eps=1e-5):
    """Every path by itself. That from the variance to the mean is 0 on paper, so any divisor does."""
    axes = (1, 2, 3)
    centred = x - x.mean(axes, keepdim=True)
    root = (centred.square().mean(axes, keepdim=True) + eps).sqrt()
    for_hat = dy * gamma
    for_var = -(for_hat * centred).sum(axes, keepdim=True) / (2 * root**3)
    for_mean = -for_hat.sum(axes, keepdim=True) / root - 2 * for_var * centred.sum(axes, keepdim=True)
    dx = for_hat / root + (2 * for_var * centred + for_mean) / x[0].numel()
    return dx, (dy * centred / root).sum(0), dy.sum(0)


RIGHT = {
    "normalized_axes": (axes_by_branches, axes_by_dict, axes_by_letters, axes_by_match),
    "statistics_count": (count_by_formula, count_by_axes, count_by_doing_it, count_by_division),
    "layer_norm": (
        layer_by_flattening,
        layer_by_sample,
        layer_by_einsum,
        layer_by_norm,
        layer_in_double,
        layer_with_channels_last,
    ),
    "instance_norm": (
        instance_by_var,
        instance_by_maps,
        instance_by_moving_axes,
        instance_by_batch_rows,
        instance_in_double,
    ),
    "group_norm": (
        group_by_view,
        group_by_slices,
        group_by_einsum,
        group_by_membership,
        group_by_samples_in_double,
    ),
    "diagnose_norm": (
        diagnose_by_one_value,
        diagnose_by_gradient,
        diagnose_by_regions,
        diagnose_by_what_does_not_change,
    ),
    "adaptive_instance_norm": (
        adaptive_by_statistics,
        adaptive_by_instance_norm,
        adaptive_by_maps,
        adaptive_by_ratio,
    ),
    "layer_norm_backward": (
        layer_backward_flat,
        layer_backward_by_graph,
        layer_backward_by_sample,
        layer_backward_with_zero_undivided,
    ),
}


# -- wrong in ways that are on no list ----------------------------------------------------------------


def axes_twice(kind):
    return (*axes_by_dict(kind), 3)


def axes_as_a_list(kind):
    return list(axes_by_dict(kind))


def axes_of_five(kind):
    return tuple(axis + 1 if axis > 1 else axis for axis in axes_by_letters(kind))


def count_without_the_last_sample(kind, shape, num_groups=None):
    return count_by_formula(kind, (max(1, shape[0] - 1), *shape[1:]), num_groups)


def count_as_a_float(kind, shape, num_groups=None):
    return count_by_formula(kind, shape, num_groups) / 1


def layer_eps_slightly_off(x, gamma, beta, eps=1e-5):
    return layer_by_flattening(x, gamma, beta, 1.01 * eps)


def layer_of_the_first_sample(x, gamma, beta, eps=1e-5):
    var, mean = torch.var_mean(x[0], correction=0)
    return gamma * (x - mean) / (var + eps).sqrt() + beta


def layer_of_batch_without_eps(x, gamma, beta, eps=1e-5):
    return gamma * (x - x.mean((0, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True) + beta


def layer_with_the_last_pixel_missing(x, gamma, beta, eps=1e-5):
    flat = x.flatten(1)[:, :-1]
    var, mean = (one[:, None, None, None] for one in torch.var_mean(flat, 1, correction=0))
    return gamma * (x - mean) / (var + eps).sqrt() + beta


def instance_unbiased_without_beta(x, gamma, beta, eps=1e-5):
    return gamma[:, None, None] * (x - x.mean((2, 3), keepdim=True)) / (x.std((2, 3), keepdim=True) + eps)


def instance_of_a_border(x, gamma, beta, eps=1e-5):
    var, mean = torch.var_mean(x[:, :, 1:], (2, 3), correction=0, keepdim=True)
    return gamma[:, None, None] * (x - mean) / (var + eps).sqrt() + beta[:, None, None]


def group_for_even_groups(x, num_groups, gamma, beta, eps=1e-5):
    return group_by_view(x, max(1, num_groups - num_groups % 2), gamma, beta, eps)


def group_with_gamma_turned(x, num_groups, gamma, beta, eps=1e-5):
    turned = gamma.reshape(-1, num_groups).T.reshape(-1) if len(gamma) % num_groups == 0 else gamma
    return group_by_view(x, num_groups, turned, beta, eps)


def group_interleaved_with_eps_outside(x, num_groups, gamma, beta, eps=1e-5):
    n, c, h, w = x.shape
    if c % num_groups:
        raise ValueError
    grouped = x.reshape(n, c // num_groups, num_groups, h, w)
    grouped = grouped - grouped.mean((1, 3, 4), keepdim=True)
    grouped = grouped / (grouped.square().mean((1, 3, 4), keepdim=True).sqrt() + eps)
    return grouped.reshape(x.shape) * gamma[:, None, None] + beta[:, None, None]


def group_that_refuses_one_group(x, num_groups, gamma, beta, eps=1e-5):
    if num_groups == 1:
        raise ValueError("one group is no grouping")
    return group_by_view(x, num_groups, gamma, beta, eps)


def adaptive_half_way(content, style, eps=1e-5):
    return 0.01 * content + 0.99 * adaptive_by_statistics(content, style, eps)


def adaptive_unbiased_without_eps(content, style, eps=1e-5):
    mean, std = style.mean((2, 3), keepdim=True), style.std((2, 3), keepdim=True)
    return (content - content.mean((2, 3), keepdim=True)) / (
        content.std((2, 3), keepdim=True) + eps
    ) * std + mean


def layer_backward_without_parameters(dy, x, gamma, eps=1e-5):
    dx, dgamma, dbeta = layer_backward_flat(dy, x, gamma, eps)
    return dx, torch.zeros_like(dgamma), torch.ones_like(dbeta)


def layer_backward_half_of_each_path(dy, x, gamma, eps=1e-5):
    dx, dgamma, dbeta = layer_backward_flat(dy, x, gamma, eps)
    straight = dy * gamma / (x.var((1, 2, 3), correction=0, keepdim=True) + eps).sqrt()
    return (dx + straight) / 2, dgamma, dbeta


WRONG = {
    "normalized_axes": (axes_twice, axes_as_a_list, axes_of_five),
    "statistics_count": (count_without_the_last_sample, count_as_a_float),
    "layer_norm": (
        layer_eps_slightly_off,
        layer_of_the_first_sample,
        layer_of_batch_without_eps,
        layer_with_the_last_pixel_missing,
    ),
    "instance_norm": (instance_unbiased_without_beta, instance_of_a_border),
    "group_norm": (
        group_for_even_groups,
        group_with_gamma_turned,
        group_interleaved_with_eps_outside,
        group_that_refuses_one_group,
    ),
    "diagnose_norm": (
        diagnose_in_place,
        diagnose_in_a_word,
        diagnose_groups_as_pairs,
        diagnose_with_a_fraction,
    ),
    "adaptive_instance_norm": (adaptive_half_way, adaptive_unbiased_without_eps),
    "layer_norm_backward": (layer_backward_without_parameters, layer_backward_half_of_each_path),
}
