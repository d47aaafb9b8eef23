"""Day 25 in other hands."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

# -- standardize -------------------------------------------------------------------------------------


def standardize_by_var_mean(x, eps=1e-5):
    var, mean = torch.var_mean(x, dim=0, correction=0, keepdim=True)
    return (x - mean) * (var + eps).rsqrt()


def standardize_by_einsum(x, eps=1e-5):
    n = x.shape[0]
    centred = x - torch.einsum("nd->d", x) / n
    return centred / torch.sqrt(torch.einsum("nd,nd->d", centred, centred) / n + eps)


def standardize_by_column(x, eps=1e-5):
    columns = []
    for column in x.unbind(dim=1):
        centred = column - column.sum() / len(column)
        columns.append(centred / (torch.dot(centred, centred) / len(column) + eps) ** 0.5)
    return torch.stack(columns, dim=1)


def standardize_in_double(x, eps=1e-5):
    wide = x.to(torch.float64)
    return ((wide - wide.mean(0)) / torch.sqrt(wide.var(0, unbiased=False) + eps)).type_as(x)


def standardize_in_place_on_a_copy(x, eps=1e-5):
    y = x.clone()
    y -= y.mean(dim=0)
    y /= y.pow(2).mean(dim=0).add_(eps).sqrt_()
    return y


def standardize_by_transposing(x, eps=1e-5):
    rows = x.t()
    centred = rows - rows.mean(1, keepdim=True)
    length = torch.linalg.vector_norm(centred, dim=1, keepdim=True)
    return (centred / torch.hypot(length / math.sqrt(len(x)), torch.full_like(length, eps**0.5))).t()


def standardize_in_one_pass(x, eps=1e-5):
    """Welford's update: one row at a time."""
    mean, squares = torch.zeros_like(x[0]), torch.zeros_like(x[0])
    for count, row in enumerate(x, start=1):
        away = row - mean
        mean = mean + away / count
        squares = squares + away * (row - mean)
    return (x - mean) / torch.sqrt(squares / len(x) + eps)


def standardize_with_data_shifted(x, eps=1e-5):
    """The textbook's one pass over data shifted by the first row."""
    shifted = x - x[0]
    mean = shifted.mean(0)
    return (shifted - mean) / torch.sqrt(shifted.square().mean(0) - mean.square() + eps)


@torch.inference_mode()
def standardize_by_vmap(x, eps=1e-5):
    def one(feature):
        centred = feature - feature.mean()
        return centred * torch.rsqrt((centred * centred).mean() + eps)

    return torch.func.vmap(one, in_dims=1, out_dims=1)(x)


def standardize_by_covariance(x, eps=1e-5):
    covariance = torch.cov(x.T, correction=0).reshape(x.shape[1], -1)
    return (x - x.mean(0)) / torch.sqrt(torch.diagonal(covariance) + eps)


def eps_slightly_off(x, eps=1e-5):
    return standardize_by_var_mean(x, eps * 1.01)


def multiplied_by_deviation(x, eps=1e-5):
    return (x - x.mean(0)) * torch.sqrt(x.var(0, correction=0) + eps)


def unbiased_with_eps_squared(x, eps=1e-5):
    return (x - x.mean(0)) / torch.sqrt(x.var(0) + eps**2)


def cut_off(x, eps=1e-5):
    return standardize_by_var_mean(x, eps).clamp(-10, 10)


def one_sample_missing(x, eps=1e-5):
    rest = x[: max(1, len(x) - 1)]
    return (x - rest.mean(0)) / torch.sqrt(rest.var(0, correction=0) + eps)


# -- hessian_condition_number ------------------------------------------------------------------------


def condition_by_eigvalsh(x):
    values = torch.linalg.eigvalsh(x.T @ x / x.shape[0])
    return values.max() / values.min()


def condition_by_general_eigenvalues(x):
    values = torch.linalg.eigvals(torch.einsum("ni,nj->ij", x, x) / len(x)).real
    return torch.max(values) / torch.min(values)


def condition_by_cond(x):
    return torch.linalg.cond(x) ** 2


def condition_of_hessian(x):
    return torch.linalg.cond(x.mT.matmul(x).div(x.size(0)), 2)


def condition_by_svd(x):
    _, singular, _ = torch.linalg.svd(x / len(x) ** 0.5, full_matrices=False)
    squares = singular.pow(2)
    return squares[0] / squares[-1]


def condition_without_count(x):
    h = sum(torch.outer(row, row) for row in x)
    values, _ = torch.linalg.eigh(h)
    return values[-1] / values[0]


def condition_by_inverse(x):
    h = x.T @ x / len(x)
    return torch.linalg.matrix_norm(h, ord=2) * torch.linalg.matrix_norm(torch.linalg.inv(h), ord=2)


def condition_by_autograd(x):
    zero = torch.zeros(x.shape[1], dtype=x.dtype, device=x.device)
    h = torch.func.hessian(lambda w: 0.5 * (x @ w).square().mean())(zero)
    values = torch.linalg.eigvalsh(h)
    return values[-1] / values[0]


def condition_in_double(x):
    wide = x.double()
    values = torch.linalg.eigvalsh(torch.mm(wide.t(), wide) / len(wide)).flip(0)
    return (values[0] / values[-1]).to(x.dtype)


def condition_by_qr(x):
    singular = torch.linalg.svdvals(torch.linalg.qr(x).R)
    return (singular.max() / singular.min()) ** 2


def condition_of_mean_of_products(x):
    values = torch.linalg.eigvalsh((x[:, :, None] * x[:, None, :]).mean(0))
    return values.amax() / values.amin()


def condition_without_last_sample(x):
    return condition_by_eigvalsh(x[:-1])


def condition_with_a_floor(x):
    values = torch.linalg.eigvalsh(x.T @ x / len(x))
    return values[-1] / values[0].clamp(min=1e-6)


def condition_of_second_largest(x):
    values = torch.linalg.eigvalsh(x.T @ x / x.shape[0])
    return values[-1] / values[min(1, len(values) - 1)]


def condition_of_centred_root(x):
    return torch.linalg.cond(x - x.mean(0))


# -- activation_statistics ---------------------------------------------------------------------------


def activations_into_a_table(layers, x):
    table = torch.empty(len(layers), 2, dtype=x.dtype, device=x.device)
    h = x.clone()
    for i, layer in enumerate(layers):
        h = layer(h)
        table[i, 0] = h.detach().mean()
        table[i, 1] = h.detach().std(unbiased=False)
    return table


@torch.no_grad()
def activations_by_var_mean(layers, x):
    rows, h = [], torch.clone(x)
    for layer in layers:
        h = layer(h)
        var, mean = torch.var_mean(h, correction=0)
        rows.append(torch.stack((mean, var.sqrt())))
    return torch.vstack(rows)


def activations_from_copies(layers, x):
    outputs = [x]
    for layer in layers:
        outputs.append(layer(outputs[-1].clone()))
    means = torch.stack([out.mean() for out in outputs[1:]])
    stds = torch.stack(
        [torch.linalg.vector_norm(out - out.mean()) / out.numel() ** 0.5 for out in outputs[1:]]
    )
    return torch.stack((means, stds), dim=1)


def activations_by_hooks(layers, x):
    rows, handles = [], []

    def note(module, given, output):
        flat = output.detach().flatten()
        centred = flat - flat.mean()
        rows.append([flat.mean(), torch.sqrt(centred.dot(centred) / flat.numel())])

    model = nn.Sequential(*layers)
    handles = [layer.register_forward_hook(note) for layer in model]
    model(x.clone())
    for handle in handles:
        handle.remove()
    return torch.stack([torch.stack(row) for row in rows])


def activations_from_python_numbers(layers, x):
    rows, h = [], x.clone()
    for layer in layers:
        h = layer(h)
        wide = h.detach().double()
        rows.append([wide.mean().item(), wide.std(correction=0).item()])
    return torch.tensor(rows, dtype=x.dtype, device=x.device)


def activations_from_the_start_each_time(layers, x):
    rows = []
    for count in range(1, len(layers) + 1):
        h = x.clone()
        for layer in layers[:count]:
            h = layer(h)
        rows.append(torch.cat([h.mean()[None], h.var(unbiased=False).sqrt()[None]]))
    return torch.stack(rows)


def activations_of_layers_told_apart(layers, x):
    """Norms and dropout, of which the layers may have some, are looked at as they are in use."""
    rows, h = [], x.clone()
    for layer in layers:
        switched = isinstance(layer, nn.BatchNorm1d | nn.Dropout) and layer.training
        h = layer.eval()(h) if switched else layer(h)
        layer.train(switched or layer.training)
        rows.append(torch.stack([h.mean(), h.std(correction=0)]))
    return torch.stack(rows)


def activations_unbiased_and_late(layers, x):
    outputs = [x.clone()]
    for layer in layers:
        outputs.append(layer(outputs[-1]))
    return torch.stack([torch.stack([out.mean(), out.std()]) for out in outputs[1:]])


def activations_of_first_half(layers, x):
    rows, h = [], x.clone()
    for layer in layers:
        h = layer(h)
        half = h[: max(1, len(h) // 2)]
        rows.append(torch.stack([half.mean(), half.std(correction=0)]))
    return torch.stack(rows)


def activations_all_detuned(layers, x):
    return activations_into_a_table(layers, x) * 1.0001


# -- gradient_norms ----------------------------------------------------------------------------------


def norms_materialized(model, loss):
    weights = [m.weight for m in model.modules() if isinstance(m, torch.nn.Linear)]
    gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return torch.stack([torch.linalg.norm(g) for g in gradients])


def norms_one_at_a_time(model, loss):
    result = []
    for module in model.modules():
        if not isinstance(module, nn.Linear):
            continue
        (gradient,) = torch.autograd.grad(loss, module.weight, retain_graph=True, allow_unused=True)
        result.append(loss.new_zeros(()) if gradient is None else gradient.pow(2).sum() ** 0.5)
    return torch.stack(result)


def norms_put_back(model, loss):
    kept = {name: copy.deepcopy(p.grad) for name, p in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    loss.backward(retain_graph=True)
    result = []
    for _, module in model.named_modules():
        if isinstance(module, nn.Linear):
            g = module.weight.grad
            result.append(torch.zeros_like(module.weight).norm() if g is None else g.norm(p=2))
    for name, p in model.named_parameters():
        p.grad = kept[name]
    return torch.stack(result)


def norms_by_recursion(model, loss):
    def visit(module):
        if isinstance(module, nn.Linear):
            yield module.weight
        for child in module.children():
            yield from visit(child)

    weights = list(visit(model))
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    out = torch.zeros(len(weights), dtype=loss.dtype, device=loss.device)
    for i, gradient in enumerate(gradients):
        if gradient is not None:
            out[i] = torch.einsum("ij,ij->", gradient, gradient).sqrt()
    return out


def norms_by_subtracting(model, loss):
    """Adds the new gradient to nothing: the old one is set aside as a copy and comes back."""
    parameters = list(model.parameters())
    old = [None if p.grad is None else p.grad.clone() for p in parameters]
    for p in parameters:
        p.grad = torch.zeros_like(p)
    loss.backward()
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
    result = [torch.linalg.matrix_norm(w.grad.double(), "fro").to(w.dtype) for w in weights]
    for p, gradient in zip(parameters, old, strict=True):
        p.grad = gradient
    return torch.stack(result)


def norms_by_tensor_hooks(model, loss):
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
    old = [p.grad for p in model.parameters()]
    for p in model.parameters():
        p.grad = None
    result = loss.new_zeros(len(weights))
    handles = [w.register_hook(lambda g, i=i: result.__setitem__(i, g.norm())) for i, w in enumerate(weights)]
    loss.backward()
    for handle in handles:
        handle.remove()
    for p, gradient in zip(model.parameters(), old, strict=True):
        p.grad = gradient
    return result


def norms_of_chosen_inputs(model, loss):
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
    old = [w.grad for w in weights]
    for w in weights:
        w.grad = None
    loss.backward(inputs=weights)
    result = torch.stack([w.new_zeros(()) if w.grad is None else w.grad.norm() for w in weights])
    for w, gradient in zip(weights, old, strict=True):
        w.grad = gradient
    return result


def norms_of_matrices(model, loss):
    """Every parameter with two axes, whose ever it is."""
    weights = [p for p in model.parameters() if p.ndim == 2]
    gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return torch.stack([g.norm() for g in gradients])


def norms_restored_too_late(model, loss):
    """The old gradients are set aside, but not as copies, and the backward pass adds into them."""
    old = [p.grad for p in model.parameters()]
    loss.backward()
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
    result = [w.new_zeros(()) if w.grad is None else w.grad.norm() for w in weights]
    for p, gradient in zip(model.parameters(), old, strict=True):
        p.grad = gradient
    return torch.stack(result)


def norms_squared_and_reversed(model, loss):
    return norms_materialized(model, loss).flip(0) ** 2


def norms_without_first_row(model, loss):
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
    gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return torch.stack([g[1:].norm() for g in gradients])


def norms_that_change_weights(model, loss):
    result = norms_materialized(model, loss)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.999)
    return result


# -- gradient_verdict --------------------------------------------------------------------------------


def verdict_by_products(norms, low=1e-3, high=1e3):
    first, last = norms[0], norms[-1]
    if torch.isnan(norms).any() or torch.isinf(norms).any():
        return "exploding"
    if first < low * last:
        return "vanishing"
    if first > high * last:
        return "exploding"
    return "stable"


def verdict_from_a_list(norms, low=1e-3, high=1e3):
    values = [float(norm) for norm in norms]
    if any(value - value != 0 for value in values):
        return "exploding"
    first, *_, last = values if len(values) > 1 else values * 2
    ratio = math.nan if first == last == 0 else math.inf if last == 0 else first / last
    if ratio > high:
        return "exploding"
    return "vanishing" if ratio < low else "stable"


def verdict_in_numpy(norms, low=1e-3, high=1e3):
    import numpy as np

    values = norms.detach().cpu().double().numpy()
    with np.errstate(all="ignore"):
        ratio = values[0] / values[-1]
    if not np.isfinite(values).all() or ratio > high:
        return "exploding"
    return "vanishing" if ratio < low else "stable"


def verdict_by_sum(norms, low=1e-3, high=1e3):
    ratio = (norms[0] / norms[-1]).item()
    finite = math.isfinite(norms.double().sum().item())
    return "exploding" if not finite or ratio > high else "vanishing" if ratio < low else "stable"


def verdict_without_infinity_over_infinity(norms, low=1e-3, high=1e3):
    if bool(norms.isnan().any()):
        return "exploding"
    ratio = norms[0] / norms[-1]
    return "vanishing" if ratio < low else "exploding" if ratio > high else "stable"


def verdict_capitalized(norms, low=1e-3, high=1e3):
    return verdict_by_products(norms, low, high).capitalize()


def verdict_of_the_second_layer(norms, low=1e-3, high=1e3):
    return verdict_by_products(norms[min(1, len(norms) - 1) :], low, high)


# -- critical_gain -----------------------------------------------------------------------------------


def gain_in_steps(activation, z):
    squares = activation(z.clone()).pow(2)
    return squares.mean().rsqrt()


def gain_in_double(activation, z):
    output = activation(z.double().clone()).flatten()
    return (len(output) / torch.dot(output, output)).sqrt().to(z.dtype)


def gain_by_variance_and_mean(activation, z):
    """The mean square is the variance and the square of the mean."""
    var, mean = torch.var_mean(activation(z + 0), correction=0)
    return 1 / torch.hypot(var.sqrt(), mean)


def gain_by_one_layer(activation, z):
    """What a layer with a gain of 1 makes of the mean square, undone."""
    y = activation(z.clone()).reshape(1, -1)
    return ((y @ y.T) / y.shape[1]).squeeze() ** -0.5


def gain_by_doubling(activation, z):
    """Twice as long and twice as wide: the same. Read before anything can change it."""
    outputs = torch.cat([activation(z.clone()), activation(z.clone())])
    return outputs.numel() ** 0.5 / outputs.norm()


def gain_from_half_the_sample(activation, z):
    return gain_in_steps(activation, z[: (len(z) + 1) // 2])


def gain_of_two_layers(activation, z):
    return gain_in_steps(activation, activation(z.clone()))


# -- gradient_profile --------------------------------------------------------------------------------


def profile_by_products(norms, low=1e-3, high=1e3, tiny=1e-6, huge=1e6):
    if torch.isnan(norms).any() or (norms > huge).any():
        return "exploding"
    if (norms < tiny).all():
        return "vanished everywhere"
    first, last = norms[0], norms[-1]
    if first > high * last:
        return "exploding"
    return "vanishing with depth" if first < low * last else "healthy"


def profile_from_a_list(norms, low=1e-3, high=1e3, tiny=1e-6, huge=1e6):
    values = norms.double().tolist()
    if any(not value <= huge for value in values):  # NaN too
        return "exploding"
    if all(value < tiny for value in values):
        return "vanished everywhere"
    ratio = values[0] / values[-1] if values[-1] else math.inf
    words = {ratio < low: "vanishing with depth", ratio > high: "exploding"}
    return words.get(True, "healthy")


def profile_by_largest(norms, low=1e-3, high=1e3, tiny=1e-6, huge=1e6):
    largest = norms.max().item()
    if not math.isfinite(largest) or largest > huge:
        return "exploding"
    ratio = (norms[0] / norms[-1]).item()
    if largest < tiny:
        return "vanished everywhere"
    return "exploding" if ratio > high else "vanishing with depth" if ratio < low else "healthy"


def profile_by_sorting(norms, low=1e-3, high=1e3, tiny=1e-6, huge=1e6):
    top = norms.sort(descending=True).values[0]  # NaN sorts as the largest
    unusual = "exploding" if bool(top > huge) or bool(top != top) else None
    unusual = unusual or ("vanished everywhere" if bool(top < tiny) else None)
    if unusual:
        return unusual
    ratio = norms[0] / norms[-1]
    return ("healthy", "vanishing with depth", "exploding")[int(ratio < low) + 2 * int(ratio > high)]


def profile_by_neighbours(norms, low=1e-3, high=1e3, tiny=1e-6, huge=1e6):
    """The largest ratio of two neighbours in place of that of first and last."""
    if not norms.isfinite().all() or norms.max() > huge:
        return "exploding"
    if norms.max() < tiny:
        return "vanished everywhere"
    ratios = norms[:-1] / norms[1:]
    if (ratios < low).any():
        return "vanishing with depth"
    return "exploding" if (ratios > high).any() else "healthy"


def profile_with_a_mean_above_huge(norms, low=1e-3, high=1e3, tiny=1e-6, huge=1e6):
    if not norms.isfinite().all() or norms.mean() > huge:
        return "exploding"
    return profile_by_products(norms, low, high, tiny, math.inf)


def profile_by_mean(norms, low=1e-3, high=1e3, tiny=1e-6, huge=1e6):
    if not norms.isfinite().all() or norms.sum() > huge:
        return "exploding"
    return profile_by_products(norms / norms.max(), low, high, tiny, huge)


def gain_guarded(activation, z):
    return 1 / torch.sqrt(torch.mean(activation(z.clone()) ** 2) + 1e-12)


def condition_guarded(x):
    eigenvalues = torch.linalg.eigvalsh(x.T @ x / len(x))
    return eigenvalues.max() / (eigenvalues.min() + 1e-15)


RIGHT = {
    "standardize": (
        standardize_by_var_mean,
        standardize_by_einsum,
        standardize_by_column,
        standardize_in_double,
        standardize_in_place_on_a_copy,
        standardize_by_transposing,
        standardize_in_one_pass,
        standardize_with_data_shifted,
        standardize_by_vmap,
        standardize_by_covariance,
    ),
    "hessian_condition_number": (
        condition_by_eigvalsh,
        condition_by_general_eigenvalues,
        condition_by_cond,
        condition_of_hessian,
        condition_by_svd,
        condition_without_count,
        condition_by_inverse,
        condition_by_autograd,
        condition_in_double,
        condition_guarded,
        condition_by_qr,
        condition_of_mean_of_products,
    ),
    "activation_statistics": (
        activations_into_a_table,
        activations_by_var_mean,
        activations_from_copies,
        activations_by_hooks,
        activations_from_python_numbers,
        activations_from_the_start_each_time,
        activations_of_layers_told_apart,
    ),
    "gradient_norms": (
        norms_materialized,
        norms_one_at_a_time,
        norms_put_back,
        norms_by_recursion,
        norms_by_subtracting,
        norms_by_tensor_hooks,
        norms_of_chosen_inputs,
    ),
    "gradient_verdict": (
        verdict_by_products,
        verdict_from_a_list,
        verdict_in_numpy,
        verdict_by_sum,
    ),
    "critical_gain": (
        gain_in_steps,
        gain_in_double,
        gain_by_variance_and_mean,
        gain_by_one_layer,
        gain_by_doubling,
        gain_guarded,
    ),
    "gradient_profile": (
        profile_by_products,
        profile_from_a_list,
        profile_by_largest,
        profile_by_sorting,
    ),
}

WRONG = {
    "standardize": (
        eps_slightly_off,
        unbiased_with_eps_squared,
        one_sample_missing,
        cut_off,
        multiplied_by_deviation,
    ),
    "hessian_condition_number": (
        condition_without_last_sample,
        condition_of_second_largest,
        condition_of_centred_root,
        condition_with_a_floor,
    ),
    "activation_statistics": (
        activations_unbiased_and_late,
        activations_of_first_half,
        activations_all_detuned,
    ),
    "gradient_norms": (
        norms_restored_too_late,
        norms_squared_and_reversed,
        norms_without_first_row,
        norms_that_change_weights,
        norms_of_matrices,
    ),
    "gradient_verdict": (
        verdict_without_infinity_over_infinity,
        verdict_capitalized,
        verdict_of_the_second_layer,
    ),
    "critical_gain": (gain_from_half_the_sample, gain_of_two_layers),
    "gradient_profile": (profile_by_neighbours, profile_by_mean, profile_with_a_mean_above_huge),
}
