"""Day 26 in other hands."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

# -- batch_norm_forward ------------------------------------------------------------------------------


def forward_by_var(x, gamma, beta, eps=1e-5):
    mean = x.mean(dim=0, keepdim=True)
    var = x.var(dim=0, correction=0, keepdim=True)
    x_hat = (x - mean) * torch.rsqrt(var + eps)
    return x_hat * gamma + beta, {"x_hat": x_hat, "gamma": gamma, "std": (var + eps) ** 0.5}


def forward_by_einsum(x, gamma, beta, eps=1e-5):
    n = x.shape[0]
    centred = x - torch.einsum("nd->d", x) / n
    var = torch.einsum("nd,nd->d", centred, centred) / n
    return torch.einsum("nd,d,d->nd", centred, gamma, 1 / torch.sqrt(var + eps)) + beta, None


def forward_by_feature(x, gamma, beta, eps=1e-5):
    columns = []
    for j in range(x.shape[1]):
        column = x[:, j]
        mean = sum(column) / len(column) if len(column) < 100 else column.sum() / len(column)
        var = ((column - mean) ** 2).sum() / len(column)
        columns.append(gamma[j] * (column - mean) / (var + eps).sqrt() + beta[j])
    return torch.stack(columns, dim=1), "my cache"


def forward_by_rows(x, gamma, beta, eps=1e-5):
    total = torch.zeros_like(x[0])
    for row in x:
        total = total + row
    mean = total / len(x)
    squares = torch.zeros_like(mean)
    for row in x:
        squares = squares + (row - mean) ** 2
    std = torch.sqrt(squares / len(x) + eps)
    y = torch.empty_like(x)
    for i in range(len(x)):
        y[i] = gamma * (x[i] - mean) / std + beta
    return y, []


def forward_by_matrix(x, gamma, beta, eps=1e-5):
    n = len(x)
    centring = torch.eye(n, dtype=x.dtype, device=x.device) - 1.0 / n if n < 100 else None
    centred = centring @ x if centring is not None else x - x.mean(0)
    scale = gamma / (torch.linalg.vector_norm(centred, dim=0) ** 2 / n + eps).sqrt()
    return centred @ torch.diag(scale) + beta, ()


def forward_in_double(x, gamma, beta, eps=1e-5):
    wide = x.double()
    var, mean = torch.var_mean(wide, 0, unbiased=False)
    return ((wide - mean) / (var + eps).sqrt() * gamma + beta).to(x.dtype), None


def forward_by_unbiased_repaired(x, gamma, beta, eps=1e-5):
    n = len(x)
    var = x.var(0) * (n - 1) / n if n > 1 else torch.zeros_like(x[0])
    return gamma * ((x - x.mean(0)) / torch.sqrt(var + eps)) + beta, None


def forward_in_place_on_copies(x, gamma, beta, eps=1e-5):
    y = x.clone()
    y -= y.mean(0)
    y /= (y.pow(2).mean(0) + eps).sqrt_()
    y *= gamma
    y += beta
    return [y, None]


def forward_merged(x, gamma, beta, eps=1e-5):
    """One scale and one shift for each feature, made in float64."""
    wide = x.double()
    scale = gamma / torch.sqrt(wide.var(0, correction=0) + eps)
    return (wide * scale + (beta - wide.mean(0) * scale)).to(x.dtype), {"scale": scale}


def forward_in_numpy(x, gamma, beta, eps=1e-5):
    values = x.detach().cpu().numpy()
    x_hat = (values - values.mean(axis=0)) / (values.var(axis=0) + eps) ** 0.5
    y = gamma.cpu().numpy() * x_hat + beta.cpu().numpy()
    return torch.from_numpy(y).to(x), x_hat


def forward_by_addcmul(x, gamma, beta, eps=1e-5, *, dim=0):
    var, mean = torch.var_mean(x, dim, correction=0)
    return torch.addcmul(beta, gamma, (x - mean) * torch.rsqrt(var + eps)), None


# -- batch_norm_backward, each with a forward of its own ----------------------------------------------


def caching(x, gamma, beta, eps=1e-5):
    mean = x.mean(0)
    var = ((x - mean) ** 2).mean(0)
    return gamma * (x - mean) / torch.sqrt(var + eps) + beta, (x, mean, var, gamma, eps)


def backward_staged(dy, cache):
    x, mean, var, gamma, eps = cache
    n = dy.shape[0]
    centred, inverse = x - mean, 1 / torch.sqrt(var + eps)
    x_hat = centred * inverse
    dx_hat = dy * gamma
    dinverse = (dx_hat * centred).sum(0)
    dcentred = dx_hat * inverse
    dvar = dinverse * -0.5 * (var + eps) ** -1.5
    dcentred = dcentred + 2 / n * centred * dvar
    dmean = -dcentred.sum(0)
    return dcentred + dmean / n, (dy * x_hat).sum(0), dy.sum(0)


def backward_in_one_line(dy, cache):
    x, mean, var, gamma, eps = cache
    n, std = len(dy), torch.sqrt(var + eps)
    x_hat = (x - mean) / std
    dgamma, dbeta = torch.sum(dy * x_hat, dim=0), torch.sum(dy, dim=0)
    return gamma / (n * std) * (n * dy - dbeta - x_hat * dgamma), dgamma, dbeta


def backward_as_in_the_paper(dy, cache):
    x, mean, var, gamma, eps = cache
    n = dy.size(0)
    dx_hat = dy * gamma
    dvar = (dx_hat * (x - mean) * -0.5 * (var + eps).pow(-1.5)).sum(0)
    dmean = (-dx_hat / (var + eps).sqrt()).sum(0) + dvar * (-2 * (x - mean)).sum(0) / n
    dx = dx_hat / (var + eps).sqrt() + dvar * 2 * (x - mean) / n + dmean / n
    return dx, (dy * (x - mean) / (var + eps).sqrt()).sum(0), dy.sum(0)


def backward_by_jacobian(dy, cache):
    x, mean, var, gamma, eps = cache
    n = len(dy)
    x_hat = (x - mean) / (var + eps).sqrt()
    if n > 100:
        return backward_in_one_line(dy, cache)
    columns = []
    for j in range(dy.shape[1]):
        one = torch.eye(n, dtype=dy.dtype, device=dy.device)
        jacobian = (
            gamma[j] / (var[j] + eps).sqrt() * (one - 1 / n - torch.outer(x_hat[:, j], x_hat[:, j]) / n)
        )
        columns.append(jacobian.T @ dy[:, j])
    return torch.stack(columns, 1), torch.einsum("nd,nd->d", dy, x_hat), torch.einsum("nd->d", dy)


class Kept(NamedTuple):
    x_hat: torch.Tensor
    inverse: torch.Tensor
    gamma: torch.Tensor


def keeping(x, gamma, beta, eps=1e-5):
    inverse = torch.rsqrt(x.var(0, correction=0) + eps)
    x_hat = (x - x.mean(0)) * inverse
    return gamma * x_hat + beta, Kept(x_hat, inverse, gamma)


def backward_in_place_on_its_own(dy, cache):
    with torch.no_grad():
        dx = dy * cache.gamma
        through_mean, through_variance = dx.mean(0), (dx * cache.x_hat).mean(0)
        dx -= through_mean
        dx.addcmul_(cache.x_hat, through_variance.expand_as(dx), value=-1)
        dx *= cache.inverse
    return [dx, torch.einsum("nd,nd->d", dy, cache.x_hat), dy.sum(0)]


def backward_by_vmap(dy, cache):
    def one(dy, x_hat, inverse, gamma):
        return gamma * inverse * (dy - dy.mean() - x_hat * (dy @ x_hat) / len(dy))

    return torch.func.vmap(one, in_dims=(1, 1, 0, 0), out_dims=1)(dy, *(cache[i] for i in range(3))), *(
        ((dy * cache.x_hat).sum(0), dy.sum(0))
    )


def pulling_back(x, gamma, beta, eps=1e-5):
    """The cache is the backward pass itself."""
    y, kept = keeping(x, gamma, beta, eps)
    return y, lambda dy: backward_by_vmap(dy, kept)


def backward_called(dy, cache):
    return cache(dy)


# -- numerical_gradient ------------------------------------------------------------------------------


def numerical_by_basis(f, x, dy, h=1e-6):
    wide, weights = x.to(torch.float64), dy.to(torch.float64)
    basis = h * torch.eye(x.numel(), dtype=torch.float64, device=x.device)
    entries = [
        ((f(wide + e.reshape(x.shape)) * weights).sum() - (f(wide - e.reshape(x.shape)) * weights).sum())
        / 2
        / h
        for e in basis
    ]
    return torch.stack(entries).view(x.shape).type(x.dtype)


def numerical_by_restoring(f, x, dy, h=1e-6):
    wide = x.detach().clone().double().contiguous()
    flat, weights = wide.view(-1), dy.double()
    out = torch.empty_like(flat)
    for k in range(flat.numel()):
        old = flat[k].item()
        flat[k] = old + h
        ahead = torch.sum(f(wide.clone()) * weights)
        flat[k] = old - h
        behind = torch.sum(f(wide.clone()) * weights)
        flat[k] = old
        out[k] = (ahead - behind) / (2.0 * h)
    return out.view(x.shape).to(x.dtype)


def numerical_by_index(f, x, dy, h=1e-6):
    import itertools

    gradient = torch.zeros_like(x)
    for index in itertools.product(*map(range, x.shape)):
        ahead, behind = x.double().clone(), x.double().clone()
        ahead[index] += h
        behind[index] -= h
        gradient[index] = torch.dot(((f(ahead) - f(behind)) / (2 * h)).flatten(), dy.double().flatten())
    return gradient


# -- identity_parameters -----------------------------------------------------------------------------


def identity_by_var_mean(x, eps=1e-5):
    var, mean = torch.var_mean(x, dim=0, correction=0)
    return (var + eps).sqrt(), mean


def identity_by_norm(x, eps=1e-5):
    mean = x.sum(0) / len(x)
    return torch.sqrt(torch.linalg.vector_norm(x - mean, dim=0) ** 2 / len(x) + eps), mean


def identity_by_hypot(x, eps=1e-5):
    mean = torch.mean(x, 0)
    std = (x - mean).pow(2).mean(0).sqrt()
    return torch.hypot(std, torch.full_like(std, math.sqrt(eps))), mean


# -- BatchNormFunction -------------------------------------------------------------------------------


class FunctionOneLine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps):
        y, (x, mean, var, gamma, eps) = caching(x, gamma, beta, eps)
        ctx.save_for_backward(x, mean, var, gamma)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx, dy):
        return *backward_in_one_line(dy, (*ctx.saved_tensors, ctx.eps)), None


class FunctionStaged(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps):
        y, ctx.cache = caching(x, gamma, beta, eps)
        return y

    @staticmethod
    def backward(ctx, dy):
        dx, dgamma, dbeta = backward_staged(dy, ctx.cache)
        return dx, dgamma, dbeta, None


class FunctionWithContext(torch.autograd.Function):
    """Saves in `setup_context` and returns only the gradients that are asked for."""

    @staticmethod
    def forward(x, gamma, beta, eps):
        return forward_by_var(x, gamma, beta, eps)[0]

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, gamma, _, ctx.eps = inputs
        ctx.save_for_backward(x, gamma)

    @staticmethod
    def backward(ctx, dy):
        x, gamma = ctx.saved_tensors
        var, mean = torch.var_mean(x, 0, correction=0)
        gradients = backward_as_in_the_paper(dy, (x, mean, var, gamma, ctx.eps))
        return *(
            one if need else None for one, need in zip(gradients, ctx.needs_input_grad, strict=False)
        ), None


# -- missing_path ------------------------------------------------------------------------------------


def path_by_fit(dx, dy, x, gamma, eps=1e-5):
    """How much of each path has to be taken from the direct one to get dx: 0 or 1, by least squares."""
    mean, var = x.mean(0), ((x - x.mean(0)) ** 2).mean(0)
    std = (var + eps).sqrt()
    x_hat, direct = (x - mean) / std, dy * gamma / std
    through_mean = direct.mean(0).expand_as(x)
    through_variance = x_hat * (direct * x_hat).mean(0)
    paths = torch.stack([through_mean.reshape(-1), through_variance.reshape(-1)], 1)
    size = direct.abs().max()
    shares = torch.linalg.lstsq(paths / size, ((direct - dx) / size).reshape(-1, 1)).solution
    lacks_mean, lacks_variance = (shares.flatten() < 0.5).tolist()
    if lacks_mean and lacks_variance:
        return "both"
    return "mean" if lacks_mean else "variance" if lacks_variance else "none"


def path_by_four_formulas(dx, dy, x, gamma, eps=1e-5):
    std = torch.sqrt(x.var(0, correction=0) + eps)
    x_hat = (x - x.mean(0)) / std
    by_mean, by_variance = dy.mean(0), x_hat * (dy * x_hat).mean(0)
    found = {}
    for word, bracket in (
        ("none", dy - by_mean - by_variance),
        ("mean", dy - by_variance),
        ("variance", dy - by_mean),
        ("both", dy),
    ):
        found[word] = torch.linalg.vector_norm(gamma / std * bracket - dx).item()
    return min(found, key=found.get)


def path_by_autograd(dx, dy, x, gamma, eps=1e-5):
    for word in ("none", "mean", "variance", "both"):
        x = x.clone().requires_grad_()
        mean, var = x.mean(0), x.var(0, unbiased=False)
        if word in ("mean", "both"):
            mean = mean.detach()
        if word in ("variance", "both"):
            var = var.detach()
        (gamma * (x - mean) / (var + eps).sqrt()).backward(dy)
        if torch.linalg.norm(x.grad - dx) < 1e-3 * torch.linalg.norm(dx):
            return word
        x = x.detach()


def path_by_two_questions(dx, dy, x, gamma, eps=1e-5):
    """By the sums of the columns, and by what is left along x − mean."""
    n = len(x)
    centred = x - x.mean(0)
    var = centred.square().mean(0)
    scale = gamma / (var + eps).sqrt()
    all_of_it = scale * (dy * centred).sum(0)
    along = (dx * centred).sum(0)
    keeps_eps = all_of_it * eps / (var + eps)
    lacks_mean = (dx.sum(0) - 0).norm() > 0.01 * (scale * dy.mean(0) * n).norm()
    lacks_variance = (along - all_of_it).norm() < (along - keeps_eps).norm()
    return [["none", "variance"], ["mean", "both"]][int(lacks_mean)][int(lacks_variance)]


# -- outside_backward --------------------------------------------------------------------------------


def outside_in_stages(dy, x, gamma, eps=1e-3):
    n = dy.shape[0]
    mean = x.mean(0)
    centred = x - mean
    std = (centred**2).sum(0).div(n).sqrt()
    divisor = std + eps
    dx_hat = dy * gamma
    ddivisor = -(dx_hat * centred).sum(0) / divisor**2
    safe = torch.where(std == 0, torch.ones_like(std), std)
    dcentred = dx_hat / divisor + ddivisor * centred / (n * safe)
    return dcentred - dcentred.mean(0), (dy * centred / divisor).sum(0), dy.sum(0)


def outside_in_one_line(dy, x, gamma, eps=1e-3):
    var, mean = torch.var_mean(x, 0, correction=0)
    std = var.sqrt()
    x_hat = (x - mean) / (std + eps)
    unit = (x - mean) / std.clamp_min(torch.finfo(x.dtype).tiny)
    return (
        gamma / (std + eps) * (dy - dy.mean(0) - unit * (dy * x_hat).mean(0)),
        torch.einsum("nd,nd->d", dy, x_hat),
        torch.einsum("nd->d", dy),
    )


def outside_by_feature(dy, x, gamma, eps=1e-3):
    columns = []
    for j in range(x.shape[1]):
        c, g = x[:, j] - x[:, j].mean(), dy[:, j]
        s = torch.linalg.vector_norm(c) / len(c) ** 0.5
        column = (g - g.mean()) / (s + eps)
        if s > 0:
            column = column - c * (g * c).mean() / (s * (s + eps) ** 2)
        columns.append(gamma[j] * column)
    x_hat = (x - x.mean(0)) / (x.std(0, correction=0) + eps)
    return torch.stack(columns, 1), (dy * x_hat).sum(0), dy.sum(0)


def outside_guarded(dy, x, gamma, eps=1e-3):
    """A tiny number beside the deviation, so that a constant feature gives 0/1e-12."""
    centred = x - x.mean(0)
    std = centred.square().mean(0).sqrt()
    x_hat = centred / (std + eps)
    along = centred / (std + 1e-12) * (dy * x_hat).mean(0)
    return gamma / (std + eps) * (dy - dy.mean(0) - along), (dy * x_hat).sum(0), dy.sum(0)


def outside_by_product(dy, x, gamma, eps=1e-3):
    """x_hat = x_hat without eps times std / (std + eps): the product rule."""
    centred = x - x.mean(0)
    std = centred.square().mean(0).sqrt()
    unit = (centred / std).nan_to_num()
    shrunk = std / (std + eps)
    across = dy - dy.mean(0) - unit * (dy * unit).mean(0)  # times shrunk / std, which is 1 / (std + eps)
    along = unit * (dy * unit).mean(0) * eps / (std + eps)
    return gamma * (across + along) / (std + eps), (dy * unit * shrunk).sum(0), dy.sum(0)


RIGHT = {
    "batch_norm_forward": (
        forward_by_var,
        forward_by_einsum,
        forward_by_feature,
        forward_by_rows,
        forward_by_matrix,
        forward_in_double,
        forward_by_unbiased_repaired,
        forward_in_place_on_copies,
        forward_merged,
        forward_in_numpy,
        forward_by_addcmul,
    ),
    "batch_norm_backward": (
        (caching, backward_staged),
        (caching, backward_in_one_line),
        (caching, backward_as_in_the_paper),
        (caching, backward_by_jacobian),
        (keeping, backward_in_place_on_its_own),
        (keeping, backward_by_vmap),
        (pulling_back, backward_called),
    ),
    "numerical_gradient": (numerical_by_basis, numerical_by_restoring, numerical_by_index),
    "identity_parameters": (identity_by_var_mean, identity_by_norm, identity_by_hypot),
    "BatchNormFunction": (FunctionOneLine, FunctionStaged, FunctionWithContext),
    "missing_path": (path_by_fit, path_by_four_formulas, path_by_autograd, path_by_two_questions),
    "outside_backward": (
        outside_in_stages,
        outside_in_one_line,
        outside_by_feature,
        outside_by_product,
        outside_guarded,
    ),
}


# -- wrong in ways that are on no list ----------------------------------------------------------------


def two_mistakes_at_once(x, gamma, beta, eps=1e-5):
    return gamma * (x - x.mean(0)) / (x.std(0) + eps) + beta, None


def eps_slightly_off(x, gamma, beta, eps=1e-5):
    return gamma * (x - x.mean(0)) / torch.sqrt(x.var(0, correction=0) + 1.01 * eps) + beta, None


def right_for_float32_only(x, gamma, beta, eps=1e-5):
    y, cache = forward_by_var(x.float(), gamma.float(), beta.float(), eps)
    return y.to(x.dtype), cache


def swaps_two_rows(x, gamma, beta, eps=1e-5):
    return forward_by_var(x, gamma, beta, eps)[0].flip(0), None


def gradient_of_another_forward(dy, cache):
    dx, dgamma, dbeta = backward_in_one_line(dy, cache)
    return dx * 1.001, dgamma, dbeta


def ends_of_a_secant(f, x, dy, h=1e-6):
    return numerical_by_basis(f, x, dy, 2 * h)


def gamma_of_another_batch(x, eps=1e-5):
    gamma, beta = identity_by_var_mean(x[: max(1, len(x) - 1)], eps)
    return gamma, beta


class FunctionKeepsEpsAsTensor(torch.autograd.Function):
    """eps is put among the tensors that are saved, and so becomes float32."""

    @staticmethod
    def forward(ctx, x, gamma, beta, eps):
        y, (x, mean, var, gamma, eps) = caching(x, gamma, beta, eps)
        ctx.save_for_backward(x, mean, var, gamma, torch.tensor(eps))
        return y

    @staticmethod
    def backward(ctx, dy):
        return *backward_in_one_line(dy, ctx.saved_tensors), None


def variance_path_of_uncentred(dy, cache):
    x, mean, var, gamma, eps = cache
    inverse = (var + eps).rsqrt()
    dvar = (dy * gamma * x).sum(0) * -0.5 * inverse**3
    centred = x - mean
    dx = dy * gamma * inverse + 2 * centred * dvar / len(dy) - (dy * gamma * inverse).mean(0)
    return dx, (dy * centred * inverse).sum(0), dy.sum(0)


class FunctionForgetsItsInput(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps):
        y, ctx.cache = caching(x, gamma, beta, eps)
        return y

    @staticmethod
    def backward(ctx, dy):
        return dy, dy.sum(0), dy.sum(0), None


def path_by_length(dx, dy, x, gamma, eps=1e-5):
    """Each path takes something away, so that a shorter dx should have more of them."""
    share = (dx.norm() / (dy * gamma / (x.var(0, correction=0) + eps).sqrt()).norm()).item()
    return "none" if share < 0.7 else "mean" if share < 0.8 else "variance" if share < 0.95 else "both"


def path_by_sums_alone(dx, dy, x, gamma, eps=1e-5):
    return "none" if dx.sum(0).norm() < 1e-3 * dx.norm() else "both"


def eps_squared_in_backward(dy, x, gamma, eps=1e-3):
    return outside_in_one_line(dy, x, gamma, eps**2)


def roots_of_both(dy, x, gamma, eps=1e-3):
    return outside_in_one_line(dy, x, gamma, eps**0.5)


WRONG = {
    "batch_norm_forward": (
        two_mistakes_at_once,
        eps_slightly_off,
        right_for_float32_only,
        swaps_two_rows,
    ),
    "batch_norm_backward": (
        (caching, gradient_of_another_forward),
        (caching, variance_path_of_uncentred),
    ),
    "numerical_gradient": (ends_of_a_secant,),
    "identity_parameters": (gamma_of_another_batch,),
    "BatchNormFunction": (FunctionForgetsItsInput, FunctionKeepsEpsAsTensor),
    "missing_path": (path_by_length, path_by_sums_alone),
    "outside_backward": (eps_squared_in_backward, roots_of_both),
}
