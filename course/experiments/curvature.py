"""The largest curvature of a loss, for networks side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def sharpness(
    losses: Callable[[list[Tensor]], Tensor], weights: Sequence[Tensor], iterations: int = 12
) -> Tensor:
    """(K,): the largest eigenvalue of the Hessian of each network's loss.

    Lanczos' method: as many products of the Hessian with a vector as there are iterations, and then the
    largest eigenvalue of the Hessian in the space that these vectors span. It is approached from below.

    Args:
        losses: weights -> (K,), a loss for each network that depends on its own weights only.
        weights: tensors of one dtype whose first axis are the K networks.
        iterations: how many products.
    """
    weights = [weight.detach().requires_grad_() for weight in weights]
    grads = torch.autograd.grad(losses(weights).sum(), weights, create_graph=True)
    sizes = [weight[0].numel() for weight in weights]

    def product(v: Tensor) -> Tensor:
        parts = [part.view_as(w) for part, w in zip(v.split(sizes, dim=1), weights, strict=True)]
        products = torch.autograd.grad(grads, weights, grad_outputs=parts, retain_graph=True)
        return torch.cat([part.flatten(1) for part in products], dim=1)

    networks = len(weights[0])
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(1, sum(sizes), generator=generator, dtype=weights[0].dtype).expand(networks, -1)
    basis = (v / v.norm(dim=1, keepdim=True))[:, None]  # (K, iterations, D), orthonormal rows
    inside = torch.zeros(networks, iterations, iterations, dtype=torch.float64)
    for k in range(iterations):
        u = product(basis[:, k])
        inside[:, k, k] = (u * basis[:, k]).sum(1)
        for _ in range(2):  # once would leave too much of the others in float32
            u = u - ((basis @ u[:, :, None]).mT @ basis).squeeze(1)
        length = u.norm(dim=1)
        if k + 1 < iterations:
            inside[:, k, k + 1] = inside[:, k + 1, k] = length.double()
            basis = torch.cat([basis, (u / length.clamp_min(1e-12)[:, None])[:, None]], dim=1)
    return torch.linalg.eigvalsh(inside.nan_to_num())[:, -1]
