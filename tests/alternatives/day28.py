"""Day 28 in other hands."""

from __future__ import annotations

import copy
from collections import OrderedDict

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_conv_bn_weights
from torch.optim.swa_utils import update_bn

# -- channel_statistics ------------------------------------------------------------------------------


def statistics_by_var(x):
    return x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), unbiased=False)


def statistics_by_rows(x):
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    mean = rows.mean(0)
    return mean, ((rows - mean) ** 2).mean(0)


def statistics_by_einsum(x):
    n, _, h, w = x.shape
    mean = torch.einsum("nchw->c", x) / (n * h * w)
    centred = x - mean[None, :, None, None]
    return mean, torch.einsum("nchw,nchw->c", centred, centred) / (n * h * w)


def statistics_by_channel(x):
    pairs = []
    for j in range(x.size(1)):
        channel = x[:, j].flatten()
        mean = channel.sum() / channel.numel()
        pairs.append((mean, torch.dot(channel - mean, channel - mean) / channel.numel()))
    means, variances = zip(*pairs, strict=True)
    return [torch.stack(means), torch.stack(variances)]


def statistics_within_and_between(x):
    """The law of total variance: within the samples, and between their means."""
    var, mean = torch.var_mean(x, (2, 3), correction=0)
    return mean.mean(0), var.mean(0) + mean.var(0, correction=0)


def statistics_in_double(x):
    wide = x.transpose(0, 1).flatten(1).double()
    return wide.mean(1).to(x.dtype), wide.var(1, correction=0).to(x.dtype)


def statistics_unbiased_repaired(x):
    count = x.numel() / x.shape[1]
    mean = x.mean(3).mean(2).mean(0)
    var = x.var((0, 2, 3)) * ((count - 1) / count) if count > 1 else torch.zeros_like(mean)
    return mean, var


# -- batch_norm_2d -----------------------------------------------------------------------------------


def norm_by_keepdim(x, gamma, beta, eps=1e-5):
    mean = x.mean((0, 2, 3), keepdim=True)
    var = x.var((0, 2, 3), correction=0, keepdim=True)
    return gamma.view(1, -1, 1, 1) * (x - mean) / torch.sqrt(var + eps) + beta.view(1, -1, 1, 1)


def norm_by_rows(x, gamma, beta, eps=1e-5):
    n, c, h, w = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(-1, c)
    centred = rows - rows.mean(0)
    y = gamma * centred * torch.rsqrt((centred**2).mean(0) + eps) + beta
    return y.reshape(n, h, w, c).permute(0, 3, 1, 2)


def norm_by_columns(x, gamma, beta, eps=1e-5):
    columns = x.transpose(0, 1).flatten(1)
    centred = columns - columns.mean(1, keepdim=True)
    scale = gamma / (centred.pow(2).sum(1) / centred.shape[1] + eps) ** 0.5
    y = torch.diag(scale) @ centred + beta[:, None]
    return y.unflatten(1, (x.shape[0], *x.shape[2:])).transpose(0, 1).contiguous()


def norm_by_channel(x, gamma, beta, eps=1e-5):
    y = torch.empty_like(x)
    for j in range(x.shape[1]):
        channel = x[:, j]
        deviation = channel - channel.mean()
        y[:, j] = deviation / (deviation.square().mean() + eps).sqrt() * gamma[j] + beta[j]
    return y


def norm_by_einsum(x, gamma, beta, eps=1e-5):
    mean, var = statistics_by_einsum(x)
    centred = x - mean.reshape(-1, 1, 1)
    return torch.einsum("nchw,c,c->nchw", centred, gamma, (var + eps) ** -0.5) + beta[:, None, None]


def norm_channels_last(x, gamma, beta, eps=1e-5):
    last = x.movedim(1, -1)
    var, mean = torch.var_mean(last, dim=(0, 1, 2), correction=0)
    return torch.addcmul(beta, (last - mean) / (var + eps).sqrt(), gamma).movedim(-1, 1)


def norm_as_scale_and_shift(x, gamma, beta, eps=1e-5):
    mean, var = statistics_by_var(x)
    scale = gamma / torch.sqrt(var + eps)
    shift = beta - mean * scale
    return x * scale[:, None, None] + shift[:, None, None]


def norm_in_double(x, gamma, beta, eps=1e-5):
    return norm_by_keepdim(x.double(), gamma.double(), beta.double(), eps).to(x.dtype)


# -- conv_bn_relu ------------------------------------------------------------------------------------


def block_same(in_channels, out_channels, kernel_size=3):
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding="same", bias=False),
        nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.01),
        nn.ReLU(inplace=True),
    )


def block_named(in_channels, out_channels, kernel_size=3):
    layers = OrderedDict()
    layers["conv"] = nn.Conv2d(
        in_channels, out_channels, (kernel_size, kernel_size), padding=(kernel_size - 1) // 2, bias=False
    )
    layers["bn"] = nn.BatchNorm2d(num_features=out_channels)
    layers["act"] = nn.ReLU()
    return nn.Sequential(layers)


def block_padded_before(in_channels, out_channels, kernel_size=3):
    block = nn.Sequential()
    block.append(nn.ZeroPad2d(kernel_size // 2))
    block.append(nn.Conv2d(in_channels, out_channels, kernel_size, bias=False))
    block.append(nn.BatchNorm2d(out_channels)).append(nn.ReLU())
    return block


def block_nested(in_channels, out_channels, kernel_size=3):
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
    convolution.bias = None
    return nn.Sequential(nn.Sequential(convolution, nn.BatchNorm2d(out_channels)), nn.ReLU())


def block_lazy(in_channels, out_channels, kernel_size=3):
    convolution = nn.LazyConv2d(out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    return nn.Sequential(convolution, nn.LazyBatchNorm2d(), nn.ReLU())


def block_reflecting(in_channels, out_channels, kernel_size=3):
    return nn.Sequential(
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            padding=kernel_size // 2,
            padding_mode="reflect",
            bias=False,
        ),
        nn.BatchNorm2d(out_channels),
        nn.Threshold(0, 0),
    )


class Block(nn.Sequential):
    def __init__(self, into, out, size):
        super().__init__(
            nn.Conv2d(into, out, size, padding=size // 2, bias=False), nn.BatchNorm2d(out), nn.ReLU()
        )


def block_as_class(in_channels, out_channels, kernel_size=3):
    return Block(in_channels, out_channels, kernel_size)


# -- fold_batch_norm ---------------------------------------------------------------------------------


def fold_on_a_copy(conv, bn):
    folded = copy.deepcopy(conv)
    with torch.no_grad():
        scale = 1 / torch.sqrt(bn.running_var + bn.eps)
        if bn.affine:
            scale = scale * bn.weight
        bias = -bn.running_mean if conv.bias is None else conv.bias - bn.running_mean
        bias = bias * scale if bn.bias is None else bias * scale + bn.bias
        folded.weight.mul_(scale[:, None, None, None])
        folded.bias = nn.Parameter(bias)
    return folded


def fold_by_construction(conv, bn):
    folded = nn.Conv2d(
        in_channels=conv.in_channels,
        out_channels=conv.out_channels,
        kernel_size=conv.kernel_size,
        stride=conv.stride,
        padding=conv.padding,
        dilation=conv.dilation,
        groups=conv.groups,
        bias=True,
        padding_mode=conv.padding_mode,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )
    std = (bn.running_var + bn.eps) ** 0.5
    gamma = bn.weight if bn.affine else torch.ones_like(std)
    beta = bn.bias if bn.affine else torch.zeros_like(std)
    b = conv.bias if conv.bias is not None else 0.0
    folded.load_state_dict(
        {
            "weight": torch.einsum("o,oihw->oihw", gamma / std, conv.weight),
            "bias": gamma / std * (b - bn.running_mean) + beta,
        }
    )
    return folded


def fold_by_the_library(conv, bn):
    return fuse_conv_bn_eval(copy.deepcopy(conv).eval(), copy.deepcopy(bn).eval())


def fold_by_the_librarys_weights(conv, bn):
    folded = copy.deepcopy(conv)
    folded.weight, folded.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return folded


def fold_by_asking_the_layer(conv, bn):
    """An eval-mode batch norm is a straight line: what it does to 0 and to 1 says it all."""
    judge = copy.deepcopy(bn).eval()
    channels, like = bn.num_features, conv.weight
    with torch.no_grad():
        at_zero = judge(torch.zeros(1, channels, 1, 1, dtype=like.dtype, device=like.device)).flatten()
        at_one = judge(torch.ones(1, channels, 1, 1, dtype=like.dtype, device=like.device)).flatten()
        slope = at_one - at_zero
        folded = copy.deepcopy(conv).requires_grad_(False)
        folded.weight = nn.Parameter(conv.weight * slope.view(-1, 1, 1, 1))
        folded.bias = nn.Parameter(at_zero if conv.bias is None else at_zero + slope * conv.bias)
    return folded.eval()


def fold_into_one_group(conv, bn):
    """Groups are a dense kernel with zeros in it, and 'same' is a number for odd kernels."""
    grouped = fold_on_a_copy(conv, bn)
    if conv.groups == 1:
        return grouped
    into, out = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    padding = conv.padding
    if padding == "same":
        padding = tuple(d * (k - 1) // 2 for d, k in zip(conv.dilation, conv.kernel_size, strict=True))
    dense = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        padding,
        conv.dilation,
        padding_mode=conv.padding_mode,
    ).to(conv.weight)
    with torch.no_grad():
        dense.weight.zero_()
        for g in range(conv.groups):
            rows = slice(g * out, (g + 1) * out)
            dense.weight[rows, g * into : (g + 1) * into] = grouped.weight[rows]
        dense.bias.copy_(grouped.bias)
    return dense


def fold_in_double(conv, bn):
    state = {name: tensor.double() for name, tensor in bn.state_dict().items()}
    scale = state.get("weight", 1.0) / torch.sqrt(state["running_var"] + bn.eps)
    b = conv.bias.double() if conv.bias is not None else 0.0
    shift = scale * (b - state["running_mean"]) + state.get("bias", 0.0)
    folded = copy.deepcopy(conv)
    rows = scale.reshape(-1, 1) * conv.weight.detach().double().flatten(1)
    folded.weight.data = rows.reshape(conv.weight.shape).to(conv.weight.dtype)
    folded.register_parameter("bias", nn.Parameter(shift.to(conv.weight.dtype)))
    return folded


# -- recalibrate -------------------------------------------------------------------------------------


def norms(model):
    return [one for one in model.modules() if isinstance(one, nn.BatchNorm1d | nn.BatchNorm2d)]


def recalibrate_by_cumulative_average(model, batches):
    before = {layer: (layer.training, layer.momentum) for layer in norms(model)}
    for layer in before:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    with torch.no_grad():
        for batch in batches:
            model(batch)
    for layer, (training, momentum) in before.items():
        layer.train(training)
        layer.momentum = momentum


def recalibrate_by_falling_momentum(model, batches):
    layers = norms(model)
    flags, momenta = [one.training for one in layers], [one.momentum for one in layers]
    for k, batch in enumerate(batches, start=1):
        for layer in layers:
            layer.training, layer.momentum = True, 1 / k
        model(batch)  # with gradients, which nobody uses
    for layer, flag, momentum in zip(layers, flags, momenta, strict=True):
        layer.training, layer.momentum = flag, momentum


def recalibrate_by_hooks(model, batches):
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    seen = {layer: [] for layer in layers}
    state = {layer: (layer.training, layer.momentum) for layer in layers}

    def look(layer, inputs):
        x = inputs[0].detach().transpose(0, 1).flatten(1)
        seen[layer].append((x.mean(1), x.var(1)))

    handles = [layer.register_forward_pre_hook(look) for layer in layers]
    for layer in layers:
        layer.train()
        layer.momentum = 0.0
    with torch.inference_mode(False), torch.no_grad():
        for batch in batches:
            model(batch)
    for handle in handles:
        handle.remove()
    for layer, pairs in seen.items():
        means, variances = zip(*pairs, strict=True)
        layer.running_mean = torch.stack(means).mean(0)
        layer.running_var = torch.stack(variances).mean(0)
        layer.train(state[layer][0])
        layer.momentum = state[layer][1]


def recalibrate_by_reading_each_batch(model, batches):
    """With momentum 1 the running statistics are those of the last batch: read them every time."""
    state = [(layer, layer.training, layer.momentum) for layer in norms(model)]
    sums = {layer: [0.0, 0.0] for layer, _, _ in state}
    with torch.no_grad():
        for batch in batches:
            for layer in sums:
                layer.momentum = 1.0
                layer.train()
            model(batch)
            for layer, total in sums.items():
                total[0] = total[0] + layer.running_mean.double()
                total[1] = total[1] + layer.running_var.double()
        for layer, training, momentum in state:
            layer.running_mean.copy_(sums[layer][0] / len(batches))
            layer.running_var.copy_(sums[layer][1] / len(batches))
            layer.train(training)
            layer.momentum = momentum


@torch.no_grad()
def recalibrate_on_a_copy(model, batches):
    twin = copy.deepcopy(model)
    for layer in norms(twin):
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    for batch in batches:
        twin(batch)
    for own, other in zip(norms(model), norms(twin), strict=True):
        own.running_mean.copy_(other.running_mean)
        own.running_var.copy_(other.running_var)


# -- fold_forward ------------------------------------------------------------------------------------


def _pads(conv):
    if conv.padding_mode != "zeros":
        return False
    with torch.no_grad():
        return sum(conv._reversed_padding_repeated_twice) > 0


def _scale_and_shift(bn):
    scale = (bn.running_var + bn.eps) ** -0.5
    scale = scale * bn.weight if bn.affine else scale
    shift = -bn.running_mean * scale
    return scale, shift + bn.bias if bn.affine else shift


def forwards_on_a_copy(bn, conv):
    scale, shift = _scale_and_shift(bn)
    if _pads(conv) and shift.abs().max() > 0:
        raise ValueError("cannot be folded")
    folded = copy.deepcopy(conv)
    if folded.bias is None:
        folded.bias = nn.Parameter(torch.zeros(conv.out_channels).to(conv.weight))
    with torch.no_grad():
        for out in range(conv.out_channels):
            group = out // (conv.out_channels // conv.groups)
            for k in range(conv.weight.shape[1]):
                channel = group * conv.weight.shape[1] + k
                folded.weight[out, k] = conv.weight[out, k] * scale[channel]
                folded.bias[out] += conv.weight[out, k].sum() * shift[channel]
    return folded


def forwards_by_einsum(bn, conv):
    scale, shift = (one.detach().reshape(conv.groups, -1) for one in _scale_and_shift(bn))
    if any(_pads(conv) for _ in "1") and bool(shift.count_nonzero()):
        raise ValueError("zero padding")
    grouped = conv.weight.detach().unflatten(0, (conv.groups, -1))
    weight = torch.einsum("goihw,gi->goihw", grouped, scale).flatten(0, 1)
    bias = torch.einsum("goihw,gi->go", grouped, shift).flatten()
    new = nn.utils.skip_init(
        nn.Conv2d,
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        conv.padding,
        conv.dilation,
        conv.groups,
        True,
        conv.padding_mode,
    ).to(weight)
    new.weight.data = weight
    new.bias.data = bias if conv.bias is None else bias + conv.bias.data
    return new


def forwards_by_convolving_the_shift(bn, conv):
    """The bias is what the convolution itself makes of an image that is bn's shift everywhere."""
    scale, shift = _scale_and_shift(bn)
    if conv.padding_mode == "zeros" and bool((shift != 0).any()):
        padded = (
            conv.kernel_size != (1, 1) if conv.padding == "same" else conv.padding not in ("valid", (0, 0))
        )
        if padded:
            raise ValueError("the border would differ")
    each = conv.in_channels // conv.groups
    own = torch.arange(conv.out_channels, device=scale.device) // (conv.out_channels // conv.groups)
    index = own[:, None] * each + torch.arange(each, device=scale.device)
    folded = copy.deepcopy(conv)
    extent = [(k - 1) * d + 1 for k, d in zip(conv.kernel_size, conv.dilation, strict=True)]
    with torch.no_grad():
        image = shift.reshape(1, -1, 1, 1).expand(1, -1, *extent)
        bias = nn.functional.conv2d(
            image, conv.weight, conv.bias, dilation=conv.dilation, groups=conv.groups
        ).flatten()
        folded.weight *= scale[index][:, :, None, None]
        folded.bias = nn.Parameter(bias)
    return folded


# -- stale_statistics --------------------------------------------------------------------------------


def stale_by_copy(model, batches, tolerance=0.25):
    """A copy of the model measures anew, by momentum None, in the layers' own training mode."""
    fresh = copy.deepcopy(model)
    for layer in fresh.modules():
        if isinstance(layer, _BatchNorm):
            layer.reset_running_stats()
            layer.momentum = None
            layer.train()
    with torch.no_grad():
        for batch in batches:
            fresh(batch)
    names, anew = [], dict(fresh.named_modules())
    for name, layer in model.named_modules():
        if isinstance(layer, _BatchNorm) and layer.track_running_stats:
            std = anew[name].running_var.sqrt()
            means = (layer.running_mean - anew[name].running_mean) / std
            ratios = layer.running_var.sqrt() / std - 1
            if max(means.abs().max(), ratios.abs().max()) > tolerance:
                names.append(name)
    return names


def stale_by_hooks(model, batches, tolerance=0.25):
    """Everything that reaches a layer is kept and pooled; what a forward pass moves is put back."""
    kept, handles, before = {}, [], copy.deepcopy(model.state_dict())
    modes = [(module, module.training) for module in model.modules()]
    for name, layer in model.named_modules():
        if isinstance(layer, _BatchNorm):
            layer.training = True
            if layer.running_mean is not None:
                kept[name] = []
                hook = layer.register_forward_pre_hook(
                    lambda layer, given, name=name: kept[name].append(given[0].transpose(0, 1).flatten(1))
                )
                handles.append(hook)
    with torch.no_grad():
        [model(batch) for batch in batches]
    for handle in handles:
        handle.remove()
    for module, mode in modes:
        module.training = mode
    model.load_state_dict(before)
    found = []
    for name, values in kept.items():
        values, layer = torch.cat(values, 1), model.get_submodule(name)
        std, mean = torch.std_mean(values, 1, correction=0)
        if any(
            abs(m - r) > tolerance * s or abs(v**0.5 - s) > tolerance * s
            for m, r, s, v in zip(mean, layer.running_mean, std, layer.running_var, strict=True)
        ):
            found.append(name)
    return found


def stale_by_all_at_once(model, batches, tolerance=0.25):
    """One batch of all the data through a copy, momentum 1."""
    fresh = copy.deepcopy(model)
    layers = {n: m for n, m in fresh.named_modules() if isinstance(m, _BatchNorm) and m.track_running_stats}
    for module in fresh.modules():
        if isinstance(module, _BatchNorm):
            module.momentum, module.training = 1.0, True
    with torch.no_grad():
        fresh(torch.cat(tuple(batches)))
    old = dict(model.named_modules())

    def fits(name):
        new, was = layers[name], old[name]
        scale = new.running_var.sqrt() * tolerance
        return torch.all((was.running_mean - new.running_mean).abs() <= scale) and torch.all(
            (was.running_var.sqrt() - new.running_var.sqrt()).abs() <= scale
        )

    return [name for name in layers if not fits(name)]


def stale_in_units_of_the_stored(model, batches, tolerance=0.25):
    """Measured by the stored deviation, which is the one in doubt."""
    fresh = copy.deepcopy(model)
    update_bn(batches, fresh)
    anew = dict(fresh.named_modules())
    return [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm)
        and layer.track_running_stats
        and ((layer.running_mean - anew[name].running_mean).abs() > 0.3 * layer.running_var).any()
    ]


def stale_in_variances(model, batches, tolerance=0.25):
    """Differences are compared with a share of the variance, which is the deviation where that is 1."""
    measured = copy.deepcopy(model)
    for layer in norms(measured):
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    with torch.no_grad():
        for batch in batches:
            measured(batch)
    fresh = dict(measured.named_modules())
    return [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm)
        and layer.running_mean is not None
        and (
            ((layer.running_mean - fresh[name].running_mean).abs() > tolerance * fresh[name].running_var)
            | (
                (layer.running_var.sqrt() - fresh[name].running_var.sqrt()).abs()
                > tolerance * fresh[name].running_var
            )
        ).any()
    ]


def stale_but_the_last(model, batches, tolerance=0.25):
    return stale_by_copy(model, batches, tolerance)[:1]


def forwards_with_shift_on_the_outputs(bn, conv):
    folded = forwards_on_a_copy(bn, conv)
    folded.bias.data += bn.running_mean.sum()
    return folded


def forwards_with_padding_cut(bn, conv):
    """Where zeros are padded: folded all the same, without the padding."""
    try:
        return forwards_on_a_copy(bn, conv)
    except ValueError:
        return nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size)


RIGHT = {
    "channel_statistics": (
        statistics_by_var,
        statistics_by_rows,
        statistics_by_einsum,
        statistics_by_channel,
        statistics_within_and_between,
        statistics_in_double,
        statistics_unbiased_repaired,
    ),
    "batch_norm_2d": (
        norm_by_keepdim,
        norm_by_rows,
        norm_by_columns,
        norm_by_channel,
        norm_by_einsum,
        norm_channels_last,
        norm_as_scale_and_shift,
        norm_in_double,
    ),
    "conv_bn_relu": (
        block_same,
        block_named,
        block_padded_before,
        block_nested,
        block_lazy,
        block_reflecting,
        block_as_class,
    ),
    "fold_batch_norm": (
        fold_on_a_copy,
        fold_by_construction,
        fold_by_the_library,
        fold_by_the_librarys_weights,
        fold_by_asking_the_layer,
        fold_into_one_group,
        fold_in_double,
    ),
    "recalibrate": (
        recalibrate_by_cumulative_average,
        recalibrate_by_falling_momentum,
        recalibrate_by_hooks,
        recalibrate_by_reading_each_batch,
        recalibrate_on_a_copy,
    ),
    "fold_forward": (forwards_on_a_copy, forwards_by_einsum, forwards_by_convolving_the_shift),
    "stale_statistics": (stale_by_copy, stale_by_hooks, stale_by_all_at_once),
}


# -- wrong in ways that are on no list ----------------------------------------------------------------


def statistics_without_the_last_sample(x):
    return statistics_by_var(x[: max(1, len(x) - 1)])


def statistics_kept_in_shape(x):
    return x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)


def statistics_unbiased_and_by_sample(x):
    return x.mean((0, 2, 3)), x.var((2, 3)).mean(0)


def statistics_in_single(x):
    return statistics_by_var(x.float())


def norm_with_two_mistakes(x, gamma, beta, eps=1e-5):
    mean, std = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True)
    return gamma[:, None, None] * (x - mean) / (std + eps) + beta[:, None, None]


def norm_with_eps_slightly_off(x, gamma, beta, eps=1e-5):
    return norm_by_keepdim(x, gamma, beta, eps * 1.01)


def norm_with_gamma_by_sample(x, gamma, beta, eps=1e-5):
    y = norm_by_keepdim(x, torch.ones_like(gamma), torch.zeros_like(beta), eps)
    return y * gamma[: len(x), None, None, None] + beta[:, None, None]


def norm_by_rows_put_back(x, gamma, beta, eps=1e-5):
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    x_hat = (rows - rows.mean(0)) / (rows.var(0) + eps).sqrt()
    return (gamma * x_hat + beta).view(x.shape)


def norm_in_single(x, gamma, beta, eps=1e-5):
    return norm_by_keepdim(x.float(), gamma.float(), beta.float(), eps).to(x.dtype)


def norm_of_one_sample_by_itself(x, gamma, beta, eps=1e-5):
    """Pixel statistics for the mean, channel statistics for the variance."""
    var = x.var((0, 2, 3), correction=0, keepdim=True)
    return gamma[:, None, None] * (x - x.mean(0)) / (var + eps).sqrt() + beta[:, None, None]


def block_with_a_leak(in_channels, out_channels, kernel_size=3):
    return nn.Sequential(*list(block_same(in_channels, out_channels, kernel_size))[:2], nn.LeakyReLU(0.01))


def block_with_a_ceiling(in_channels, out_channels, kernel_size=3):
    return nn.Sequential(*list(block_same(in_channels, out_channels, kernel_size))[:2], nn.ReLU6())


def block_with_bias_and_no_padding(in_channels, out_channels, kernel_size=3):
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size), nn.BatchNorm2d(out_channels), nn.ReLU()
    )


def block_with_dropout(in_channels, out_channels, kernel_size=3):
    return nn.Sequential(block_same(in_channels, out_channels, kernel_size), nn.Dropout(0.1))


def block_as_list(in_channels, out_channels, kernel_size=3):
    return list(block_same(in_channels, out_channels, kernel_size))


def block_frozen(in_channels, out_channels, kernel_size=3):
    block = block_same(in_channels, out_channels, kernel_size)
    block[1].requires_grad_(False)
    return block


def block_twice(in_channels, out_channels, kernel_size=3):
    return nn.Sequential(
        block_same(in_channels, out_channels, kernel_size), block_same(out_channels, out_channels)
    )


def fold_as_pair(conv, bn):
    return nn.Sequential(copy.deepcopy(conv), copy.deepcopy(bn)).eval()


def fold_with_a_hook(conv, bn):
    folded, norm = copy.deepcopy(conv), copy.deepcopy(bn).eval()
    folded.register_forward_hook(lambda layer, inputs, output: norm(output))
    return folded


def fold_with_eps_slightly_off(conv, bn):
    other = copy.deepcopy(bn)
    other.eps *= 1.01
    return fold_on_a_copy(conv, other)


def fold_with_positive_scale(conv, bn):
    other = copy.deepcopy(bn)
    if other.affine:
        other.weight.data.abs_()
    return fold_on_a_copy(conv, other)


def fold_without_eps_and_conv_bias(conv, bn):
    other = copy.deepcopy(bn)
    other.eps = 0.0
    folded = fold_on_a_copy(conv, other)
    if conv.bias is not None:
        folded.bias.data -= conv.bias * (folded.weight / conv.weight).mean((1, 2, 3))
    return folded


def fold_in_single(conv, bn):
    return fold_on_a_copy(copy.deepcopy(conv).float(), copy.deepcopy(bn).float())


def fold_into_the_default_dtype(conv, bn):
    right = fold_by_construction(conv, bn)
    options = {
        name: getattr(conv, name) for name in ("stride", "padding", "dilation", "groups", "padding_mode")
    }
    folded = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, **options)
    folded.load_state_dict(right.state_dict())
    return folded


def fold_nothing(conv, bn):
    return conv


def fold_and_forget_the_statistics(conv, bn):
    folded = fold_on_a_copy(conv, bn)
    bn.reset_running_stats()
    return folded


def recalibrate_by_the_library(model, batches):
    update_bn(batches, model)


def recalibrate_nothing(model, batches):
    pass


def recalibrate_without_the_last_batch(model, batches):
    recalibrate_on_a_copy(model, batches[:-1] or batches[:1])
    if len(batches) == 1:
        model.train(not model.training)


def recalibrate_twice_the_first(model, batches):
    recalibrate_on_a_copy(model, [batches[0], *batches])


def recalibrate_and_return(model, batches):
    recalibrate_on_a_copy(model, batches)
    return model


def recalibrate_a_copy_only(model, batches):
    recalibrate_on_a_copy(copy.deepcopy(model), batches)


def recalibrate_and_train(model, batches):
    recalibrate_on_a_copy(model, batches)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.999)


def recalibrate_on_normalized_batches(model, batches):
    recalibrate_on_a_copy(model, [batch - batch.mean() for batch in batches])


def recalibrate_all_in_training_mode_for_good(model, batches):
    model.train()
    for layer in norms(model):
        layer.momentum = 0.1
        layer.reset_running_stats()
    for batch in batches:
        model(batch)


WRONG = {
    "channel_statistics": (
        statistics_without_the_last_sample,
        statistics_kept_in_shape,
        statistics_unbiased_and_by_sample,
        statistics_in_single,
    ),
    "batch_norm_2d": (
        norm_with_two_mistakes,
        norm_with_eps_slightly_off,
        norm_with_gamma_by_sample,
        norm_by_rows_put_back,
        norm_in_single,
        norm_of_one_sample_by_itself,
    ),
    "conv_bn_relu": (
        block_with_a_leak,
        block_with_a_ceiling,
        block_with_bias_and_no_padding,
        block_with_dropout,
        block_as_list,
        block_frozen,
        block_twice,
    ),
    "fold_batch_norm": (
        fold_as_pair,
        fold_with_a_hook,
        fold_with_eps_slightly_off,
        fold_with_positive_scale,
        fold_without_eps_and_conv_bias,
        fold_in_single,
        fold_nothing,
        fold_into_the_default_dtype,
        fold_and_forget_the_statistics,
    ),
    "recalibrate": (
        recalibrate_by_the_library,
        recalibrate_nothing,
        recalibrate_without_the_last_batch,
        recalibrate_twice_the_first,
        recalibrate_and_return,
        recalibrate_a_copy_only,
        recalibrate_and_train,
        recalibrate_on_normalized_batches,
        recalibrate_all_in_training_mode_for_good,
    ),
    "fold_forward": (forwards_with_shift_on_the_outputs, forwards_with_padding_cut),
    "stale_statistics": (stale_in_units_of_the_stored, stale_but_the_last, stale_in_variances),
}
