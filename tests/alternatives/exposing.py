"""Inputs that show a mistake, or hide it, found in other ways; all days."""

from __future__ import annotations

import math

import torch

# -- day 26 ------------------------------------------------------------------------------------------


def scaled_random(n, d, eps):
    x = torch.randn(n, d, dtype=torch.float64)
    return (x - x.mean(0)) / x.std(0) * eps**0.5 / 2


def alternating(n, d, eps):
    signs = torch.tensor([(-1.0) ** i for i in range(n)])
    return (2 + eps * signs).double()[:, None] + torch.zeros(d)


def one_spike(n, d, eps):
    x = torch.full((n, d), 3.0, dtype=torch.float64)
    x[-1, -1] += eps**0.5
    return x


def ten_times_too_wide(n, d, eps):
    return scaled_random(n, d, eps) * 20


def by_search(d, share):
    n = max(n for n in range(2, 100) if 1 - math.sqrt((n - 1) / n) >= share)
    return torch.randn(n, d, dtype=torch.float64)


def by_trial(d, share):
    """Tries batches until the difference is too small."""
    for n in range(2, 100):
        x = torch.linspace(0, 9, n + 1, dtype=torch.float64)[:, None].expand(n + 1, d)
        right, wrong = x.var(0, correction=0).sqrt(), x.var(0).sqrt()
        if (1 - right / wrong).max() < share:
            return x[:n]


def one_feature_varies(d, share):
    x = torch.zeros(by_search(d, share).shape)
    x[0, 0] = 10.0
    return x


def by_the_variance(d, share):
    return torch.randn(int(1 / share), d)


def by_projection(n, d):
    x = torch.randn(n, d, dtype=torch.float64)
    columns = []
    for column in x.T:
        basis = torch.linalg.qr(torch.stack([torch.ones(n).double(), column], 1))[0]
        dy = torch.randn(n, dtype=torch.float64)
        columns.append(dy - basis @ (basis.T @ dy))
    return x, torch.stack(columns, 1)


def even_and_odd(n, d):
    t = torch.linspace(-1, 1, n, dtype=torch.float64)
    even = t**2 - (t**2).mean()
    return t[:, None].repeat(1, d), even[:, None].repeat(1, d)


def from_the_right_dx(n, d):
    """The right dx of any dy needs neither path any more, where eps does not matter."""
    x, dy = torch.randn(n, d) * 3, torch.randn(n, d)
    x_hat = (x - x.mean(0)) / x.std(0, correction=0)
    return x, dy - dy.mean(0) - x_hat * (dy * x_hat).mean(0)


def sums_of_rows(n, d):
    x, dy = torch.randn(n, d), torch.randn(n, d)
    return x, dy - dy.mean(1, keepdim=True)


RIGHT = {
    "expose_eps_outside": (scaled_random, alternating, one_spike),
    "expose_unbiased": (by_search, by_trial, one_feature_varies),
    "hide_constant_statistics": (by_projection, even_and_odd, from_the_right_dx),
}

WRONG = {
    "expose_eps_outside": (ten_times_too_wide,),
    "expose_unbiased": (by_the_variance,),
    "hide_constant_statistics": (sums_of_rows,),
}
