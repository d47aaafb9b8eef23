"""Day 27 in other hands."""

from __future__ import annotations

import copy
import types
from itertools import accumulate, pairwise

import torch
from torch import nn
from torch.nn import functional as F

# -- update_running_stats ----------------------------------------------------------------------------


def update_by_var(running_mean, running_var, x, momentum=0.1):
    return (
        (1 - momentum) * running_mean + momentum * x.mean(dim=0),
        (1 - momentum) * running_var + momentum * x.var(dim=0),
    )


def update_by_lerp(running_mean, running_var, x, momentum=0.1):
    var, mean = torch.var_mean(x, 0, correction=1)
    return torch.lerp(running_mean, mean, momentum), torch.lerp(running_var, var, momentum)


def update_by_difference(running_mean, running_var, x, momentum=0.1):
    n = x.shape[0]
    mean = torch.einsum("nd->d", x) / n
    centred = x - mean
    var = torch.einsum("nd,nd->d", centred, centred) / (n - 1)
    return running_mean + momentum * (mean - running_mean), running_var - momentum * (running_var - var)


def update_on_copies(running_mean, running_var, x, momentum=0.1):
    new_mean, new_var = running_mean.clone(), running_var.clone()
    n = len(x)
    new_mean.mul_(1 - momentum).add_(x.mean(0), alpha=momentum)
    new_var.mul_(1 - momentum).add_(x.var(0, unbiased=False), alpha=momentum * n / (n - 1))
    return [new_mean, new_var]


def update_by_pairs(running_mean, running_var, x, momentum=0.1):
    """The unbiased variance without a mean: half the mean squared distance of two samples."""
    n = len(x)
    pairs = (x[:, None] - x[None]).square().sum((0, 1))
    var = pairs / (2 * n * (n - 1))
    return (
        running_mean * (1 - momentum) + momentum * x.sum(0) / n,
        running_var * (1 - momentum) + momentum * var,
    )


def update_by_welford(running_mean, running_var, x, momentum=0.1):
    mean, squares = torch.zeros_like(x[0]), torch.zeros_like(x[0])
    for k, row in enumerate(x, 1):
        delta = row - mean
        mean = mean + delta / k
        squares = squares + delta * (row - mean)
    keep = 1 - momentum
    return keep * running_mean + momentum * mean, keep * running_var + momentum * squares / (len(x) - 1)


def update_in_double(running_mean, running_var, x, momentum=0.1):
    mean, var = update_by_var(running_mean.double(), running_var.double(), x.double(), momentum)
    return mean.to(x.dtype), var.to(x.dtype)


def update_number_by_number(running_mean, running_var, x, momentum=0.1):
    means, variances = running_mean.clone(), running_var.clone()
    for feature, column in enumerate(x.T.tolist()):
        mean = sum(column) / len(column)
        var = sum((value - mean) ** 2 for value in column) / (len(column) - 1)
        means[feature] = (1 - momentum) * running_mean[feature].item() + momentum * mean
        variances[feature] = (1 - momentum) * running_var[feature].item() + momentum * var
    return means, variances


def update_one_row_short(running_mean, running_var, x, momentum=0.1):
    return update_by_var(running_mean, running_var, x[:-1] if len(x) > 2 else x, momentum)


def update_reversed_and_biased(running_mean, running_var, x, momentum=0.1):
    keep = momentum
    return (
        keep * running_mean + (1 - keep) * x.mean(0),
        keep * running_var + (1 - keep) * x.var(0, correction=0),
    )


def update_in_place(running_mean, running_var, x, momentum=0.1):
    running_mean.mul_(1 - momentum).add_(momentum * x.mean(0))
    running_var.mul_(1 - momentum).add_(momentum * x.var(0))
    return running_mean, running_var


def update_mean_alone(running_mean, running_var, x, momentum=0.1):
    return update_by_var(running_mean, running_var, x, momentum)[0], running_var


def update_slightly_off(running_mean, running_var, x, momentum=0.1):
    return update_by_var(running_mean, running_var, x, momentum * 1.01)


def update_by_library(running_mean, running_var, x, momentum=0.1):
    mean, var = running_mean.clone(), running_var.clone()
    getattr(F, "batch_" + "norm")(x, mean, var, training=True, momentum=momentum)
    return mean, var


def update_returns_nothing(running_mean, running_var, x, momentum=0.1):
    update_by_var(running_mean, running_var, x, momentum)


# -- batch_norm_inference ------------------------------------------------------------------------------


def infer_by_rsqrt(x, running_mean, running_var, gamma, beta, eps=1e-5):
    return (x - running_mean) * torch.rsqrt(running_var + eps) * gamma + beta


def infer_as_one_line(x, running_mean, running_var, gamma, beta, eps=1e-5):
    """A straight line for each feature, about the running mean."""
    slope = gamma / (running_var + eps).sqrt()
    return torch.addcmul(beta, x - running_mean, slope)


def infer_folded(x, running_mean, running_var, gamma, beta, eps=1e-5):
    """Scale and offset computed beforehand, as for a layer that is folded into the one before."""
    scale = gamma / (running_var + eps).sqrt()
    return x * scale + (beta - running_mean * scale)


def infer_by_feature(x, running_mean, running_var, gamma, beta, eps=1e-5):
    columns = [
        gamma[j] * (x[:, j] - running_mean[j]) / (running_var[j] + eps) ** 0.5 + beta[j]
        for j in range(x.shape[1])
    ]
    return torch.stack(columns, dim=1)


def infer_by_matrix(x, running_mean, running_var, gamma, beta, eps=1e-5):
    return (
        torch.einsum("nd,de->ne", x - running_mean, torch.diag(gamma / torch.sqrt(running_var + eps))) + beta
    )


def infer_row_by_row(x, running_mean, running_var, gamma, beta, eps=1e-5):
    y = torch.empty_like(x)
    for i, row in enumerate(x):
        y[i] = (row - running_mean).div(running_var.add(eps).sqrt()).mul(gamma).add(beta)
    return y


def infer_in_double(x, running_mean, running_var, gamma, beta, eps=1e-5):
    wide = (one.double() for one in (x, running_mean, running_var, gamma, beta))
    return infer_by_rsqrt(*wide, eps=eps).to(x.dtype)


def infer_with_eps_off(x, running_mean, running_var, gamma, beta, eps=1e-5):
    return infer_by_rsqrt(x, running_mean, running_var, gamma, beta, eps * 1.01)


def infer_unless_large(x, running_mean, running_var, gamma, beta, eps=1e-5):
    if len(x) > 1:
        running_mean, running_var = x.mean(0), x.var(0)
    return infer_by_rsqrt(x, running_mean, running_var, gamma, beta, eps)


def infer_outside_and_no_shift(x, running_mean, running_var, gamma, beta, eps=1e-5):
    return gamma * (x - running_mean) / (running_var.sqrt() + eps)


def infer_in_place(x, running_mean, running_var, gamma, beta, eps=1e-5):
    x -= running_mean
    return gamma * x / (running_var + eps).sqrt() + beta


# -- BatchNorm1d ---------------------------------------------------------------------------------------


class LayerWithLerp(nn.Module):
    """Buffers changed in place under no_grad, mean and variance from one call."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.empty(num_features).fill_(1.0))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            var, mean = torch.var_mean(x, dim=0, correction=0)
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                factor = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
                n = x.shape[0]
                self.running_mean.lerp_(mean, factor)
                self.running_var.lerp_(var * n / (n - 1), factor)
        return (x - mean) * torch.rsqrt(var + self.eps) * self.weight + self.bias


class LayerByAssignment(nn.Module):
    """New tensors assigned to the buffers' names, other attribute names, a division by a tensor."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        super().__init__()
        self.register_parameter("weight", nn.Parameter(torch.ones(num_features)))
        self.register_parameter("bias", nn.Parameter(torch.zeros(num_features)))
        for name, value in (
            ("num_batches_tracked", torch.tensor(0)),
            ("running_var", torch.ones(num_features)),
            ("running_mean", torch.zeros(num_features)),
        ):
            self.register_buffer(name, value)
        self.small, self.rate = eps, momentum

    def remember(self, x):
        self.num_batches_tracked = self.num_batches_tracked + 1
        rate = 1 / self.num_batches_tracked if self.rate is None else self.rate
        x = x.data
        self.running_mean = (1 - rate) * self.running_mean + rate * x.mean(0)
        self.running_var = (1 - rate) * self.running_var + rate * x.var(0)

    def forward(self, x):
        if not self.training:
            return F.linear(
                (x - self.running_mean) / (self.running_var + self.small) ** 0.5,
                self.weight.diag(),
                self.bias,
            )
        self.remember(x)
        centred = x - x.mean(0, keepdim=True)
        return self.weight * centred / (centred.pow(2).mean(0) + self.small).sqrt() + self.bias


class LayerOfFunctions(nn.Module):
    """Built from the functions of the day, with a backward pass of its own."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight, self.bias = (nn.Parameter(torch.full((num_features,), value)) for value in (1.0, 0.0))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.int64))

    def forward(self, x):
        if not self.training:
            return infer_by_rsqrt(x, self.running_mean, self.running_var, self.weight, self.bias, self.eps)
        self.num_batches_tracked += 1
        momentum = self.momentum
        if momentum is None:
            momentum = 1.0 / float(self.num_batches_tracked)
        mean, var = update_by_lerp(self.running_mean, self.running_var, x.detach(), momentum)
        self.running_mean.copy_(mean)
        self.running_var.copy_(var)
        return OwnBackward.apply(x, self.weight, self.bias, self.eps)


class OwnBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps):
        centred = x - x.mean(0)
        std = (centred.square().mean(0) + eps).sqrt()
        ctx.save_for_backward(centred / std, gamma, std)
        return centred / std * gamma + beta

    @staticmethod
    def backward(ctx, dy):
        x_hat, gamma, std = ctx.saved_tensors
        dx = gamma / std * (dy - dy.mean(0) - x_hat * (dy * x_hat).mean(0))
        return dx, (dy * x_hat).sum(0), dy.sum(0), None


class LayerWithCumulativeSum(LayerWithLerp):
    """The cumulative average as (old · (k − 1) + new) / k."""

    def forward(self, x):
        if not self.training:
            return super().forward(x)
        mean = x.mean(0)
        var = ((x - mean) ** 2).sum(0)
        y = torch.addcmul(self.bias, self.weight / torch.sqrt(var / len(x) + self.eps), x - mean)
        mean, var = mean.detach(), var.detach() / (len(x) - 1)
        self.num_batches_tracked += 1
        k = int(self.num_batches_tracked) if x.device.type != "meta" else 1
        for buffer, new in ((self.running_mean, mean), (self.running_var, var)):
            if self.momentum is None:
                buffer.copy_((buffer * (k - 1) + new) / k)
            else:
                buffer.mul_(1 - self.momentum)
                buffer.add_(self.momentum * new)
        return y


def layer_made_by_a_function(num_features, eps=1e-5, momentum=0.1):
    """The mode read at call time from two methods exchanged by train()."""

    class Switching(LayerWithLerp):
        def train(self, mode=True):
            super().train(mode)
            return self

    return Switching(num_features, eps, momentum)


class LayerReversedInCumulative(LayerWithLerp):
    """The weights change places only where momentum is None."""

    def forward(self, x):
        if self.training and self.momentum is None:
            with torch.no_grad():
                self.num_batches_tracked += 1
                k = self.num_batches_tracked.item()
                self.running_mean.lerp_(x.mean(0), 1 - 1 / (k + 1))
                self.running_var.lerp_(x.var(0), 1 - 1 / (k + 1))
            centred = x - x.mean(0)
            return self.weight * centred / (centred.square().mean(0) + self.eps).sqrt() + self.bias
        return super().forward(x)


class LayerBiasedWithGradMode(LayerWithLerp):
    """Two mistakes: the biased variance is stored, and eval mode is read from is_grad_enabled."""

    def forward(self, x):
        if not torch.is_grad_enabled():
            return infer_by_rsqrt(x, self.running_mean, self.running_var, self.weight, self.bias, self.eps)
        var, mean = torch.var_mean(x, 0, correction=0)
        self.num_batches_tracked += 1
        factor = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.detach(), factor)
        self.running_var.lerp_(var.detach(), factor)
        return (x - mean) * torch.rsqrt(var + self.eps) * self.weight + self.bias


class LayerAsInABook(nn.Module):
    """Plain attributes, the old value weighted, gamma and beta by name, the mode from autograd."""

    def __init__(self, num_features, eps=1e-5, momentum=0.9):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, num_features))
        self.beta = nn.Parameter(torch.zeros(1, num_features))
        self.moving_mean, self.moving_var = torch.zeros(1, num_features), torch.ones(1, num_features)
        self.eps, self.momentum = eps, momentum

    def forward(self, x):
        if not torch.is_grad_enabled():
            x_hat = (x - self.moving_mean) / torch.sqrt(self.moving_var + self.eps)
        else:
            mean, var = x.mean(0), ((x - x.mean(0)) ** 2).mean(0)
            x_hat = (x - mean) / torch.sqrt(var + self.eps)
            self.moving_mean = self.momentum * self.moving_mean + (1.0 - self.momentum) * mean
            self.moving_var = self.momentum * self.moving_var + (1.0 - self.momentum) * var
        return self.gamma * x_hat + self.beta


class LayerOnlyInTraining(LayerWithLerp):
    def forward(self, x):
        if not self.training:
            raise RuntimeError("only for training")
        return super().forward(x)


class LayerOnTheCPU(LayerWithLerp):
    def forward(self, x):
        return super().forward(x) + torch.zeros(1, x.shape[1])


class LayerOverTheLibrary(LayerWithLerp):
    def forward(self, x):
        function = getattr(torch, "batch" + "_norm")
        if self.training:
            self.num_batches_tracked += 1
        factor = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        return function(
            x,
            self.weight,
            self.bias,
            self.running_mean,
            self.running_var,
            self.training,
            factor,
            self.eps,
            False,
        )


class LayerThatInherits(nn.BatchNorm1d):
    pass


class LayerWithOwnCount(LayerWithLerp):
    """Counts twice, and divides by the count that is not saved."""

    count = 0

    def forward(self, x):
        if self.training:
            self.count += 1
        momentum, self.momentum = self.momentum, self.momentum
        if momentum is None:
            self.momentum = 1 / max(self.count, 1)
        y = super().forward(x)
        self.momentum = momentum
        return y


# -- averaging_momenta --------------------------------------------------------------------------------


def momenta_by_a_running_sum(batch_sizes):
    seen, momenta = 0, []
    for size in batch_sizes:
        seen += size
        momenta.append(size / seen)
    return momenta


def momenta_by_accumulate(batch_sizes):
    return [size / seen for size, seen in zip(batch_sizes, accumulate(batch_sizes), strict=True)]


def momenta_as_a_tensor(batch_sizes):
    sizes = torch.tensor(batch_sizes, dtype=torch.float32)
    return sizes / torch.cumsum(sizes, 0)


def momenta_from_shares(batch_sizes):
    """Backwards: what is left for a batch after all later ones have taken theirs."""
    left, momenta = 1.0, []
    for size in batch_sizes[::-1]:
        share = size / sum(batch_sizes)
        momenta.insert(0, share / left)
        left -= share
    return tuple(momenta)


def momenta_by_what_stays(batch_sizes):
    """One minus the share of the samples that were there before."""
    return [1 - sum(batch_sizes[:k]) / sum(batch_sizes[: k + 1]) for k in range(len(batch_sizes))]


def momenta_with_the_start_as_a_batch(batch_sizes):
    return [1 / (count + 2) for count in range(len(batch_sizes))]


def momenta_of_the_last_three(batch_sizes):
    return [size / sum(batch_sizes[max(0, k - 2) : k + 1]) for k, size in enumerate(batch_sizes)]


def momenta_with_a_floor(batch_sizes):
    return [max(momentum, 0.1) for momentum in momenta_by_a_running_sum(batch_sizes)]


def momenta_of_all_but_one(batch_sizes):
    return momenta_by_a_running_sum(batch_sizes)[1:]


def momenta_as_one_number(batch_sizes):
    return batch_sizes[-1] / sum(batch_sizes)


# -- count_parameters ----------------------------------------------------------------------------------


def count_with_sets(model):
    parameters = set(model.parameters())
    trainable = sum(p.numel() for p in parameters if p.requires_grad)
    frozen = sum(p.numel() for p in parameters if not p.requires_grad)
    buffers = {
        buffer
        for name, buffer in model.named_buffers()
        if not name.endswith("num_batches_tracked") and buffer not in parameters
    }
    return trainable, frozen + sum(buffer.numel() for buffer in buffers)


def count_by_id(model):
    kept = {}
    for module in model.modules():
        for tensor in module.parameters(recurse=False):
            kept[id(tensor)] = (tensor.numel(), tensor.requires_grad)
        for name, tensor in module.named_buffers(recurse=False):
            if name != "num_batches_tracked":
                kept.setdefault(id(tensor), (tensor.numel(), False))
    return tuple(sum(size for size, learns in kept.values() if learns is want) for want in (True, False))


def count_by_recursion(model):
    seen = []

    def new(tensor):
        if tensor is None or any(tensor is other for other in seen):
            return False
        seen.append(tensor)
        return True

    def visit(module, learning):
        total = 0
        for tensor in module._parameters.values():
            if tensor is not None and tensor.requires_grad == learning and new(tensor):
                total += torch.tensor(tensor.shape).prod().item() if tensor.dim() else 1
        return total + sum(visit(child, learning) for child in module.children())

    trainable, frozen = visit(model, True), visit(model, False)
    for module in model.modules():
        for name, tensor in module._buffers.items():
            if name != "num_batches_tracked" and new(tensor):
                frozen += tensor.nelement()
    return [int(trainable), int(frozen)]


def count_buffers_alone(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad), sum(
        b.numel() for b in model.buffers()
    )


def count_as_tensors(model):
    trainable, frozen = count_with_sets(model)
    return torch.tensor(trainable), torch.tensor(frozen)


def count_the_state(model):
    state = model.state_dict()
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(tensor.numel() for name, tensor in state.items() if "num_batches" not in name)
    return trainable, total - trainable


def count_after_freezing(model):
    answer = count_with_sets(model)
    model.requires_grad_(False)
    return answer


# -- freeze_batch_norm ---------------------------------------------------------------------------------

KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def freeze_with_train_of_the_model(model):
    frozen = [module for module in model.modules() if isinstance(module, KINDS)]
    for module in frozen:
        for parameter in module.parameters():
            parameter.requires_grad = False
        module.eval()

    def train(self, mode=True):
        type(self).train(self, mode)
        for module in frozen:
            module.eval()
        return self

    model.train = types.MethodType(train, model)
    return model


def freeze_with_a_hook(model):
    """Before every forward pass the layer is put back into eval mode."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.register_forward_pre_hook(lambda module, _: module.eval() and None)
            module.requires_grad_(False)
    return model


def freeze_with_train_replaced(model):
    for module in model.modules():
        if "BatchNorm" in type(module).__name__:
            module.eval()
            module.train = lambda mode=True, module=module: module
            if module.affine:
                module.weight.requires_grad_(False)
                module.bias.requires_grad_(False)
    return model


def freeze_with_another_forward(model):
    for module in model.modules():
        if isinstance(module, KINDS):
            module.forward = types.MethodType(stored_forward, module)
    return model


def stored_forward(self, x):
    """gamma and beta are detached, so that they have no gradient though they ask for one."""
    weight = self.weight.detach() if self.affine else None
    bias = self.bias.detach() if self.affine else None
    if self.running_mean is None:
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=self.eps)
    return F.batch_norm(x, self.running_mean, self.running_var, weight, bias, eps=self.eps)


class Frozen(nn.Module):
    """A layer with four buffers and no parameter."""

    def __init__(self, layer):
        super().__init__()
        self.eps = layer.eps
        for name in ("weight", "bias", "running_mean", "running_var"):
            value = getattr(layer, name)
            self.register_buffer(name, None if value is None else value.detach().clone())

    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        shape = (1, -1, *[1] * (x.dim() - 2))
        if mean is None:
            over = [axis for axis in range(x.dim()) if axis != 1]
            var, mean = torch.var_mean(x, over, correction=0)
        y = (x - mean.view(shape)) / (var.view(shape) + self.eps).sqrt()
        return y if self.weight is None else y * self.weight.view(shape) + self.bias.view(shape)


def freeze_by_replacing(model):
    for name, child in model.named_children():
        if isinstance(child, KINDS):
            setattr(model, name, Frozen(child))
        else:
            freeze_by_replacing(child)
    return model


def freeze_by_class(model):
    def still(self, mode=True):
        return self

    for module in model.modules():
        if isinstance(module, KINDS):
            module.eval().requires_grad_(False)
            module.__class__ = type("Still", (type(module),), {"train": still})
    return model


def freeze_by_flag_and_tracking(model):
    """Never in training for itself: `training` is a property of the exchanged class."""
    for module in model.modules():
        if isinstance(module, KINDS):
            module.requires_grad_(False)
            del module.__dict__["training"]
            never = property(lambda self: False, lambda self, value: None)
            module.__class__ = type("Never", (type(module),), {"training": never})
    return model


def freeze_but_return_nothing(model):
    freeze_with_a_hook(model)


def freeze_a_copy(model):
    return freeze_with_a_hook(copy.deepcopy(model))


def freeze_top_model_only_in_train(model):
    """Only the later train() freezes; the first steps train as before."""
    return_mode = type(model).train

    def train(mode=True):
        return_mode(model, mode)
        for module in model.modules():
            if isinstance(module, KINDS):
                module.eval().requires_grad_(False)
        return model

    model.train = train
    return model


def freeze_and_crash_without_affine(model):
    for module in model.modules():
        if isinstance(module, KINDS):
            module.eval()
            module.weight.requires_grad = False
            module.bias.requires_grad = False
    return model


def freeze_with_statistics_reset(model):
    for module in model.modules():
        if isinstance(module, KINDS):
            module.reset_running_stats()
    return freeze_with_a_hook(model)


def freeze_weights_of_everything_in_eval(model):
    freeze_with_a_hook(model)
    return model.eval()


# -- diagnose_batch_norm ------------------------------------------------------------------------------


def diagnose_by_questions(model, batches):
    norms = [layer for layer in model if isinstance(layer, nn.BatchNorm1d)]
    if any(norm.training for norm in norms):
        return "training mode"
    if 0 in [norm.momentum for norm in norms]:
        return "momentum"
    if len(set(norms)) != len(norms):
        return "shared"
    for before, layer in pairwise(model):
        if layer in norms and isinstance(before, nn.Linear) and before.bias is not None:
            return "bias"
    return "one sample" if any(batch.shape[0] == 1 for batch in batches) else "none"


def diagnose_by_names(model, batches):
    """By the names of parameters and modules, every place under its own."""
    places = dict(model.named_modules(remove_duplicate=False))
    norms = {name: one for name, one in places.items() if hasattr(one, "running_mean")}
    parameters = dict(model.named_parameters(remove_duplicate=False))
    found = "none"
    for name, norm in norms.items():
        before = places.get(str(int(name) - 1))
        if hasattr(before, "in_features") and f"{int(name) - 1}.bias" in parameters:
            found = "bias"
        if norm.training:
            found = "training mode"
        if isinstance(norm.momentum, float) and abs(norm.momentum) < 1e-9:
            found = "momentum"
        if [one is norm for one in norms.values()].count(True) > 1:
            found = "shared"
    return "one sample" if 1 in {len(batch) for batch in batches} else found


def diagnose_by_behaviour(model, batches):
    """On copies: does an output depend on the batch, do statistics move, does a bias matter?"""
    one_sample = min(batch.size(0) for batch in batches) < 2
    layers = list(model)
    for i, layer in enumerate(layers):
        if not isinstance(layer, nn.BatchNorm1d):
            continue
        x = torch.randn(5, layer.num_features).to(layer.weight)
        norm = copy.deepcopy(layer)
        if not torch.allclose(norm(x)[:2], norm(x[:2])):
            return "training mode"
        norm.train()
        before = norm.running_mean.clone()
        norm(x + 10)
        if torch.equal(before, norm.running_mean):
            return "momentum"
        if any(layer is other for other in layers[:i]):
            return "shared"
        if i and getattr(layers[i - 1], "in_features", 0) and layers[i - 1].bias is not None:
            return "bias"
    return "one sample" if one_sample else "none"


def diagnose_two_by_two(model, batches):
    """Two faults are mixed up, and one of them in part."""
    found = diagnose_by_questions(model, batches)
    return "shared" if found == "bias" and len(batches) > 2 else "bias" if found == "shared" else found


def diagnose_and_repair(model, batches):
    found = diagnose_by_questions(model, batches)
    model.eval()
    return found


def diagnose_below_a_hundredth(model, batches):
    layers = [one for one in model if isinstance(one, nn.BatchNorm1d)]
    slow = any(one.momentum is not None and one.momentum < 0.01 for one in layers)
    found = diagnose_by_questions(model, batches)
    return "momentum" if slow and found == "none" else found


def diagnose_at_length(model, batches):
    return [diagnose_by_questions(model, batches)]


RIGHT = {
    "update_running_stats": (
        update_by_var,
        update_by_lerp,
        update_by_difference,
        update_on_copies,
        update_by_pairs,
        update_by_welford,
        update_in_double,
        update_number_by_number,
    ),
    "batch_norm_inference": (
        infer_by_rsqrt,
        infer_as_one_line,
        infer_folded,
        infer_by_feature,
        infer_by_matrix,
        infer_row_by_row,
        infer_in_double,
    ),
    "BatchNorm1d": (
        LayerWithLerp,
        LayerByAssignment,
        LayerOfFunctions,
        LayerWithCumulativeSum,
        layer_made_by_a_function,
    ),
    "averaging_momenta": (
        momenta_by_a_running_sum,
        momenta_by_accumulate,
        momenta_as_a_tensor,
        momenta_from_shares,
        momenta_by_what_stays,
    ),
    "count_parameters": (count_with_sets, count_by_id, count_by_recursion),
    "freeze_batch_norm": (
        freeze_with_train_of_the_model,
        freeze_with_a_hook,
        freeze_with_train_replaced,
        freeze_with_another_forward,
        freeze_by_replacing,
        freeze_by_class,
        freeze_by_flag_and_tracking,
    ),
    "diagnose_batch_norm": (diagnose_by_questions, diagnose_by_names, diagnose_by_behaviour),
}

WRONG = {
    "update_running_stats": (
        update_one_row_short,
        update_reversed_and_biased,
        update_in_place,
        update_mean_alone,
        update_slightly_off,
        update_by_library,
        update_returns_nothing,
    ),
    "batch_norm_inference": (
        infer_with_eps_off,
        infer_unless_large,
        infer_outside_and_no_shift,
        infer_in_place,
    ),
    "BatchNorm1d": (
        LayerReversedInCumulative,
        LayerBiasedWithGradMode,
        LayerAsInABook,
        LayerOnlyInTraining,
        LayerOnTheCPU,
        LayerOverTheLibrary,
        LayerThatInherits,
        LayerWithOwnCount,
    ),
    "averaging_momenta": (
        momenta_with_the_start_as_a_batch,
        momenta_of_the_last_three,
        momenta_with_a_floor,
        momenta_of_all_but_one,
        momenta_as_one_number,
    ),
    "count_parameters": (count_buffers_alone, count_as_tensors, count_the_state, count_after_freezing),
    "freeze_batch_norm": (
        freeze_but_return_nothing,
        freeze_a_copy,
        freeze_top_model_only_in_train,
        freeze_and_crash_without_affine,
        freeze_with_statistics_reset,
        freeze_weights_of_everything_in_eval,
    ),
    "diagnose_batch_norm": (
        diagnose_two_by_two,
        diagnose_and_repair,
        diagnose_at_length,
        diagnose_below_a_hundredth,
    ),
}
