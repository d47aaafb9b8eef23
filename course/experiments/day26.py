"""Day 26: the five steps, their graph backwards, and the claim of scale invariance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import Tensor


@dataclass(frozen=True, eq=False)
class FiveSteps:
    """One batch on its way through batch normalization.

    `x`, `centred`, `x_hat` and `y` are (N, D); `mean` and `var` (biased) are (D,).
    """

    x: Tensor
    mean: Tensor
    centred: Tensor
    var: Tensor
    x_hat: Tensor
    y: Tensor

    @property
    def x_hat_std(self) -> Tensor:
        """(D,), the biased standard deviation of `x_hat`: below 1 where eps is not small."""
        return self.x_hat.std(dim=0, correction=0)

    @property
    def y_mean(self) -> Tensor:
        """(D,), the mean of `y`."""
        return self.y.mean(dim=0)

    @property
    def y_std(self) -> Tensor:
        """(D,), the biased standard deviation of `y`."""
        return self.y.std(dim=0, correction=0)


def five_steps(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> FiveSteps:
    """Every intermediate result of batch normalization in training mode.

    Args:
        x: (N, D), a batch of N samples with D features.
        gamma: (D,), the scale.
        beta: (D,), the shift.
        eps: added to the variance, inside the root.

    Raises:
        ValueError: `x` is not (N, D), or `gamma` or `beta` is not (D,).

    Source: Ioffe & Szegedy 2015, Algorithm 1.
    """
    if x.dim() != 2:
        raise ValueError(f"x must be (N, D), not of shape {tuple(x.shape)}")
    for name, parameter in (("gamma", gamma), ("beta", beta)):
        if parameter.shape != x.shape[1:]:
            raise ValueError(f"{name} must be (D,) = ({x.shape[1]},), not of shape {tuple(parameter.shape)}")
    mean = x.mean(dim=0)
    centred = x - mean
    var = (centred**2).mean(dim=0)
    x_hat = centred / torch.sqrt(var + eps)
    y = gamma * x_hat + beta
    return FiveSteps(x, mean, centred, var, x_hat, y)


@dataclass(frozen=True, eq=False)
class MovedSample:
    """The same batch of one feature before and after one sample was moved."""

    index: int
    before: FiveSteps
    after: FiveSteps

    @property
    def output(self) -> float:
        """The normalized output of the moved sample."""
        return self.after.y[self.index].item()

    @property
    def largest_move_of_others(self) -> float:
        """The largest distance that the output of a sample which was not touched has moved."""
        moves = (self.after.y - self.before.y).abs().flatten()
        others = torch.arange(len(moves)) != self.index
        return moves[others].max().item()

    @property
    def ceiling(self) -> float:
        """No normalized output of a batch of N samples is beyond sqrt(N - 1)."""
        return math.sqrt(len(self.after.x) - 1)


def move_sample(x: Tensor, index: int, value: float, eps: float = 1e-5) -> MovedSample:
    """Normalize a batch of one feature twice: as it is, and with one sample set to `value`.

    Args:
        x: (N, 1) with N >= 2; it is left as it is.
        index: the row of the sample that is moved.
        value: its new value, in the units of `x`.
        eps: added to the variance, inside the root; gamma is 1 and beta 0.

    Raises:
        ValueError: `x` is not (N, 1) or has fewer than two samples.
        IndexError: there is no row `index`.
    """
    if x.dim() != 2 or x.shape[1] != 1 or len(x) < 2:
        raise ValueError(f"x must be (N, 1) with N >= 2, not of shape {tuple(x.shape)}")
    gamma, beta = x.new_ones(1), x.new_zeros(1)
    moved = x.clone()
    moved[index] = value
    return MovedSample(index, five_steps(x, gamma, beta, eps), five_steps(moved, gamma, beta, eps))


@dataclass(frozen=True, eq=False)
class Node:
    """A variable of a computational graph: its value and the gradient of the loss in it."""

    value: Tensor
    grad: Tensor


@dataclass(frozen=True, eq=False)
class BackwardGraph:
    """The nodes of batch normalization's graph, named as in the lecture; `inv_std` is
    1 / sqrt(var + eps). Vectors over the batch are (N, D), all others (D,)."""

    x: Node
    mean: Node
    centred: Node
    var: Node
    inv_std: Node
    x_hat: Node
    gamma: Node
    beta: Node
    y: Node


def backward_graph(x: Tensor, gamma: Tensor, beta: Tensor, dy: Tensor, eps: float = 1e-5) -> BackwardGraph:
    """Values of every node and, by autograd, the gradients of sum(y * dy) in all of them.

    Args:
        x: (N, D).
        gamma: (D,).
        beta: (D,).
        dy: (N, D), the gradient that comes from the layer above.
        eps: added to the variance, inside the root.

    Source of the graph: Ioffe & Szegedy 2015, section 3; here `var` is computed from `centred`,
    so that each node has one meaning.
    """
    leaves = {
        name: tensor.detach().clone().requires_grad_()
        for name, tensor in (("x", x), ("gamma", gamma), ("beta", beta))
    }
    nodes = dict(leaves)
    nodes["mean"] = nodes["x"].mean(dim=0)
    nodes["centred"] = nodes["x"] - nodes["mean"]
    nodes["var"] = (nodes["centred"] ** 2).mean(dim=0)
    nodes["inv_std"] = (nodes["var"] + eps).rsqrt()
    nodes["x_hat"] = nodes["centred"] * nodes["inv_std"]
    nodes["y"] = nodes["gamma"] * nodes["x_hat"] + nodes["beta"]
    grads = torch.autograd.grad(nodes["y"], list(nodes.values()), grad_outputs=dy)
    return BackwardGraph(
        **{name: Node(value.detach(), grad) for (name, value), grad in zip(nodes.items(), grads, strict=True)}
    )


@dataclass(frozen=True, eq=False)
class BiasDescent:
    """Gradient descent on one bias: `bias` and `loss`, each (steps + 1,), start included."""

    bias: Tensor
    loss: Tensor


def bias_descent(
    u: Tensor,
    target: Tensor,
    *,
    lr: float,
    steps: int,
    constant_statistics: bool,
    eps: float = 1e-5,
) -> BiasDescent:
    """Train the bias b in x = u + b, x_hat = normalize(x), loss = mean((x_hat - target)^2).

    Args:
        u: (N,), the input of the layer.
        target: (N,).
        lr: learning rate.
        steps: number of gradient steps.
        constant_statistics: treat mean and var as constants in the backward pass.
        eps: added to the variance, inside the root.

    Source: the example in section 2 of Ioffe & Szegedy 2015.
    """
    bias = u.new_zeros((), requires_grad=True)
    biases, losses = [], []
    for _ in range(steps + 1):
        x = u + bias
        mean, var = x.mean(), x.var(correction=0)
        if constant_statistics:
            mean, var = mean.detach(), var.detach()
        loss = (((x - mean) / torch.sqrt(var + eps) - target) ** 2).mean()
        (grad,) = torch.autograd.grad(loss, bias)
        biases.append(bias.item())
        losses.append(loss.item())
        with torch.no_grad():
            bias -= lr * grad
    return BiasDescent(u.new_tensor(biases), u.new_tensor(losses))


@dataclass(frozen=True, eq=False)
class ScaleInvariance:
    """What happens to a batch-normalized layer when its weights are multiplied by a.

    `scales` is (A,); the other four are (S, A), a row per seed. The ratios are 1 and the errors 0
    where the claim of Ioffe & Szegedy holds exactly.
    """

    scales: Tensor
    output_ratio: Tensor
    output_error: Tensor
    gradient_ratio: Tensor
    gradient_error: Tensor


def scale_invariance(
    scales: Tensor, seeds: Sequence[int], eps: float = 1e-5, batch_size: int = 64, width: int = 100
) -> ScaleInvariance:
    """Compare BN((aW)u) with BN(Wu), and a * dBN((aW)u)/d(aW) with dBN(Wu)/dW.

    u is a batch of scikit-learn's digits (64 pixels in [0, 1]), W a random layer. A seed draws
    the batch, the weights and the gradient `dy` that comes from above. All in float64.

    Args:
        scales: (A,), the factors a.
        seeds: S of them.
        eps: added to the variance, inside the root.
        batch_size: images in a batch.
        width: outputs of the layer.

    Returns:
        Ratios of Euclidean norms and relative distances, as `ScaleInvariance` names them.

    Source of the claim: Ioffe & Szegedy 2015, section 3.3.
    """
    images = torch.from_numpy(load_digits().data) / 16
    gamma, beta = images.new_ones(width), images.new_zeros(width)

    rows = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        u = images[torch.randperm(len(images), generator=generator)[:batch_size]]
        weight = torch.randn(images.shape[1], width, generator=generator, dtype=u.dtype)
        weight /= math.sqrt(images.shape[1])
        dy = torch.randn(batch_size, width, generator=generator, dtype=u.dtype)

        def output_and_gradient(scaled: Tensor, u: Tensor = u, dy: Tensor = dy):
            scaled = scaled.clone().requires_grad_()
            y = five_steps(u @ scaled, gamma, beta, eps).y
            (grad,) = torch.autograd.grad(y, scaled, grad_outputs=dy)
            return y.detach(), grad

        y, grad = output_and_gradient(weight)
        row = []
        for scale in scales:
            scaled_y, scaled_grad = output_and_gradient(scale * weight)
            row.append(
                [
                    scaled_y.norm() / y.norm(),
                    (scaled_y - y).norm() / y.norm(),
                    scale * scaled_grad.norm() / grad.norm(),
                    (scale * scaled_grad - grad).norm() / grad.norm(),
                ]
            )
        rows.append(row)
    return ScaleInvariance(scales, *torch.tensor(rows, dtype=images.dtype).unbind(dim=-1))
