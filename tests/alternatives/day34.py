"""Day 34 in other hands."""

from __future__ import annotations

import cmath
import itertools
import math
import statistics
from collections import OrderedDict
from functools import partial

import numpy as np
import torch

# -- convergence_rate --------------------------------------------------------------------------------


def rate_by_complex_roots(eigenvalues, lr, beta=0.0):
    largest = 0.0
    for eigenvalue in eigenvalues.tolist():
        b = 1 + beta - lr * eigenvalue
        root = cmath.sqrt(b * b - 4 * beta)
        largest = max(largest, abs(b + root) / 2, abs(b - root) / 2)
    return largest


def rate_by_block_matrix(eigenvalues, lr, beta=0.0):
    n = len(eigenvalues)
    one = torch.eye(n, dtype=eigenvalues.dtype, device=eigenvalues.device)
    top = torch.cat([(1 + beta) * one - lr * torch.diag(eigenvalues), -beta * one], dim=1)
    bottom = torch.cat([one, torch.zeros_like(one)], dim=1)
    return float(torch.linalg.eigvals(torch.cat([top, bottom])).abs().max())


def rate_by_companion_matrices(eigenvalues, lr, beta=0.0):
    def matrix(eigenvalue):
        return torch.tensor([[1 + beta - lr * eigenvalue, -beta], [1.0, 0.0]], dtype=torch.float64)

    every = [torch.linalg.eigvals(matrix(one)) for one in eigenvalues.tolist()]
    return max(abs(root) for roots in every for root in roots.tolist())


def rate_by_numpy_roots(eigenvalues, lr, beta=0.0):
    every = [np.roots([1.0, -(1 + beta - lr * one), beta]) for one in eigenvalues.double().cpu().numpy()]
    return float(np.abs(np.concatenate(every)).max())


def rate_by_extremes(eigenvalues, lr, beta=0.0):
    """The radius is smallest in the middle, so that the two ends decide."""
    worst = math.sqrt(beta)
    for end in (eigenvalues.min(), eigenvalues.max()):
        p = lr * end.item()
        if (1 - math.sqrt(beta)) ** 2 <= p <= (1 + math.sqrt(beta)) ** 2:
            continue
        b = abs(1 + beta - p)
        worst = max(worst, (b + math.sqrt(b**2 - 4 * beta)) / 2)
    return worst


def rate_by_branches(eigenvalues, lr, beta=0.0):
    if not beta:
        return (1 - lr * eigenvalues).abs().max().item()
    b = 1 + beta - lr * eigenvalues
    under = b.square() - 4 * beta
    real = 0.5 * (b.abs() + torch.sqrt(torch.relu(under)))
    return torch.where(under >= 0, real, torch.full_like(b, beta**0.5)).amax().item()


def rate_by_complex_tensor(eigenvalues, lr, beta=0.0):
    b = (1 + beta - lr * eigenvalues).to(torch.complex128)
    root = (b**2 - 4 * beta).sqrt()
    return torch.stack([b + root, b - root]).div(2).abs().max().item()


# -- steps_to_tolerance ------------------------------------------------------------------------------


def steps_by_loop(rate, tolerance):
    if tolerance < 1 and rate >= 1:
        raise ValueError("diverges")
    if tolerance < 0:
        raise ValueError("negative")
    error, k = 1.0, 0
    while error > tolerance:
        error *= rate
        k += 1
    return k


def steps_by_count(rate, tolerance):
    if tolerance >= 1:
        return 0
    if rate >= 1 or tolerance <= 0:
        raise ValueError(f"{rate} never comes to {tolerance}")
    return next(k for k in itertools.count() if rate**k <= tolerance)


def steps_by_log(rate, tolerance):
    if tolerance >= 1:
        return 0
    if rate == 0 and tolerance >= 0:
        return 1
    if tolerance <= 0 or rate >= 1:
        raise ValueError
    return math.ceil(math.log(tolerance, rate))


def steps_by_numpy(rate, tolerance):
    if tolerance >= 1.0:
        return 0
    if not (0 <= rate < 1 and tolerance > 0):
        raise ValueError("never")
    with np.errstate(divide="ignore"):
        return max(1, int(np.ceil(np.log10(tolerance) / np.log10(rate))))


def steps_by_float32_tensors(rate, tolerance):
    """Where the rate is next to 1, float32 has lost what the logarithm is about."""
    if tolerance >= 1:
        return 0
    if rate >= 1 or tolerance < 0:
        raise ValueError("never")
    if rate == 0:
        return 1
    return int(torch.ceil(torch.log(torch.tensor(tolerance)) / torch.log(torch.tensor(rate))).item())


def steps_by_halving(rate, tolerance):
    """Doubles k until it is enough, then looks for the first one between."""
    if rate**0 <= tolerance:
        return 0
    if not rate < 1 or tolerance < 0:
        raise ValueError("never")
    high = 1
    while rate**high > tolerance:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if rate**middle <= tolerance else (middle, high)
    return high


def steps_by_recursion(rate, tolerance):
    if tolerance >= 1:
        return 0
    if rate >= 1 or tolerance < 0:
        raise ValueError("the error does not shrink")
    if tolerance >= rate:
        return 1
    half = steps_by_recursion(rate, math.sqrt(tolerance))
    for k in (2 * half - 2, 2 * half - 1):
        if rate**k <= tolerance:
            return k
    return 2 * half


def steps_with_given_up(rate, tolerance):
    """Watches the error instead of asking beforehand."""
    error = 1.0
    for k in range(10**6):
        if error <= tolerance:
            return k
        if error * rate >= error:
            break
        error = error * rate
    raise ValueError("given up")


# -- whiten ------------------------------------------------------------------------------------------


def whiten_by_svd_of_covariance(x, eps=1e-5):
    x = x - x.mean(dim=0, keepdim=True)
    u, s, _ = torch.linalg.svd(x.T @ x / x.shape[0])
    return x @ u @ torch.diag((s + eps) ** -0.5) @ u.T


def whiten_by_cov(x, eps=1e-5):
    d = x.shape[1]
    cov = torch.cov(x.T, correction=0).reshape(d, d) + eps * torch.eye(d, dtype=x.dtype, device=x.device)
    values, vectors = torch.linalg.eigh(cov)
    root = vectors @ torch.diag(values.sqrt()) @ vectors.T
    return torch.linalg.solve(root, (x - x.mean(0)).T).T


def whiten_by_einsum(x, eps=1e-5):
    centred = x - torch.einsum("nd->d", x) / len(x)
    values, vectors = torch.linalg.eigh(torch.einsum("ni,nj->ij", centred, centred) / len(x))
    return torch.einsum("ni,ik,k,jk->nj", centred, vectors, torch.rsqrt(values + eps), vectors)


def whiten_by_newton(x, eps=1e-5):
    """Coupled Newton-Schulz iterations, as in IterNorm, no eigenvectors at all."""
    centred = (x - x.mean(0)).double()
    one = torch.eye(x.shape[1], dtype=torch.float64, device=x.device)
    cov = centred.T @ centred / len(x) + eps * one
    size = cov.trace()
    y, z = cov / size, one
    for _ in range(60):
        step = (3 * one - z @ y) / 2
        y, z = y @ step, step @ z
    return (centred @ z / size.sqrt()).to(x.dtype)


def whiten_by_loops(x, eps=1e-5):
    n, d = x.shape
    mean = sum(x[i] for i in range(n)) / n
    cov = torch.zeros(d, d, dtype=x.dtype, device=x.device)
    for i in range(n):
        cov += torch.outer(x[i] - mean, x[i] - mean) / n
    for j in range(d):
        cov[j, j] += eps
    values, vectors = torch.linalg.eigh(cov)
    w = sum(torch.outer(vectors[:, k], vectors[:, k]) / values[k].sqrt() for k in range(d))
    return torch.stack([w @ (row - mean) for row in x])


def whiten_by_numpy(x, eps=1e-5):
    rows = x.double().cpu().numpy()
    rows = rows - rows.mean(0)
    values, vectors = np.linalg.eig(rows.T @ rows / len(rows) + eps * np.eye(rows.shape[1]))
    w = (vectors * values**-0.5) @ np.linalg.inv(vectors)
    return torch.from_numpy(rows @ w.real).to(x)


def whiten_by_gram_matrix(x, eps=1e-5):
    """Through the N × N matrix of inner products: the same singular vectors from the other side."""
    n, d = x.shape
    centred = (x - x.mean(0)).double()
    values, vectors = torch.linalg.eigh(centred @ centred.T / n)
    values, vectors = values[-d:].clamp_min(0), vectors[:, -d:]  # no more than d are not 0
    return ((vectors / (values + eps).sqrt()) @ vectors.T @ centred).to(x.dtype)


# -- train -------------------------------------------------------------------------------------------


def train_plainly(model, optimizer, batches, loss_fn):
    losses = []
    for x, y in batches:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def train_with_mode_put_back(model, optimizer, batches, loss_fn):
    was = model.training
    model.train()
    losses = []
    for batch in batches:
        x, y = batch
        output = model(x)
        loss = loss_fn(output, y)
        model.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss)
    model.train(was)
    return torch.stack(losses).detach()


def train_with_closure(model, optimizer, batches, loss_fn):
    def closure(x, y):
        optimizer.zero_grad(set_to_none=False)
        loss = loss_fn(model(x), y)
        loss.backward()
        return loss

    losses = []
    for batch in batches:
        losses.append(optimizer.step(partial(closure, *batch)).data)
    return torch.stack(losses, dim=0)


def train_into_a_tensor(model, optimizer, batches, loss_fn):
    pairs = list(batches)
    like = next(model.parameters())
    losses = torch.empty(len(pairs), dtype=like.dtype, device=like.device)
    for k, (x, y) in enumerate(pairs):
        for parameter in model.parameters():
            parameter.grad = None
        loss = loss_fn(model(x), y)
        loss.backward()
        with torch.no_grad():
            optimizer.step()
            losses[k] = loss
    return losses


def train_by_numbers(model, optimizer, batches, loss_fn):
    dtype, losses = None, []
    for x, y in batches:
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
        dtype, device = loss.dtype, loss.device
    return torch.tensor(losses, dtype=dtype, device=device)


def train_clearing_twice(model, optimizer, batches, loss_fn):
    losses = torch.zeros(0)
    optimizer.zero_grad()
    for x, y in batches:
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            losses = torch.cat([losses.to(loss), loss.reshape(1)])
    return losses


# -- compare -----------------------------------------------------------------------------------------


def compare_by_statistics(run, rates, seeds):
    results = {}
    for key in ("both", "normalization", "momentum", "plain"):
        best = None
        for rate in sorted(rates):
            losses = [
                run(
                    momentum=key in ("momentum", "both"),
                    normalization=key in ("normalization", "both"),
                    rate=rate,
                    seed=seed,
                )
                for seed in seeds
            ]
            median = statistics.median(math.inf if math.isnan(loss) else loss for loss in losses)
            if best is None or median < best[0]:
                best = median, rate, losses
        results[key] = (best[1], best[2], best[1] == min(rates) or best[1] == max(rates))
    return results


def compare_by_product(run, rates, seeds):
    every = {}
    for momentum, normalization, rate, seed in itertools.product((True, False), (True, False), rates, seeds):
        every[momentum, normalization, rate, seed] = run(momentum, normalization, rate, seed)
    names = {
        (False, False): "plain",
        (True, False): "momentum",
        (False, True): "normalization",
        (True, True): "both",
    }
    found = OrderedDict()
    for switches, name in names.items():

        def key(rate, switches=switches):
            losses = [every[(*switches, rate, seed)] for seed in seeds]
            ranked = sorted(loss for loss in losses if not math.isnan(loss))
            ranked += [math.inf] * (len(losses) - len(ranked))
            return ranked[len(losses) // 2], rate

        best = min(rates, key=key)
        smaller = any(rate < best for rate in rates)
        larger = any(rate > best for rate in rates)
        found[name] = [best, [every[(*switches, best, seed)] for seed in seeds], not (smaller and larger)]
    return found


def compare_by_numpy(run, rates, seeds):
    keys = ("plain", "momentum", "normalization", "both")
    order = np.argsort(rates, kind="stable")
    found = {}
    for i, key in enumerate(keys):
        table = [[run(bool(i & 1), bool(i & 2), rate, seed) for seed in seeds] for rate in rates]
        medians = np.median(np.nan_to_num(np.array(table), nan=np.inf, posinf=np.inf), axis=1)
        at = int(order[np.argmin(medians[order])])
        found[key] = rates[at], table[at], at in (int(order[0]), int(order[-1]))
    return found


def compare_with_bools_of_numpy(run, rates, seeds):
    """What NumPy hands out as it comes: its numbers, its True and False."""
    grid, found = np.sort(rates), {}
    for key, switches in zip(
        ("plain", "momentum", "normalization", "both"),
        np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=bool),
        strict=True,
    ):
        table = np.array([[run(*switches, rate, seed) for seed in seeds] for rate in grid])
        medians = np.median(np.where(np.isnan(table), np.inf, table), axis=1)
        best = np.argmin(medians)
        found[key] = grid[best], list(table[best]), (grid[best] == grid.min()) | (grid[best] == grid.max())
    return found


def compare_by_seeds_first(run, rates, seeds):
    """Goes through the seeds first, and ranks a run by a pair: whether it diverged, and its loss."""
    found = {}
    for name, momentum, normalization in (
        ("normalization", False, True),
        ("plain", False, False),
        ("both", True, True),
        ("momentum", True, False),
    ):
        columns = {rate: [] for rate in rates}
        for seed in seeds:
            for rate in rates:
                columns[rate].append(run(momentum, normalization, rate, seed))
        rank = {
            rate: sorted(math.inf if loss != loss else loss for loss in losses)[(len(seeds) - 1) // 2]
            for rate, losses in columns.items()
        }
        lowest = min(rank.values())
        best = min(rate for rate in rates if rank[rate] == lowest)
        found[name] = (best, columns[best], best in {min(rates), max(rates)})
    return found


# -- steps that normalize ----------------------------------------------------------------------------


def normalized_by_division(w, g, lr, eps=1e-8):
    return w - (lr / (g.norm() + eps)) * g


def normalized_flattened(w, g, lr, eps=1e-8):
    flat = g.reshape(-1)
    return (w.reshape(-1) - lr * flat / (torch.dot(flat, flat).sqrt() + eps)).reshape(w.shape)


def normalized_in_float64(w, g, lr, eps=1e-8):
    wide = g.double()
    return (w.double() - lr * wide / (wide.pow(2).sum() ** 0.5 + eps)).to(w.dtype)


def normalized_in_place_of_copy(w, g, lr, eps=1e-8):
    size = sum(value**2 for value in g.flatten().tolist()) ** 0.5
    return w.clone().sub_(g, alpha=lr / (size + eps))


def sign_with_where(w, g, velocity, lr, beta):
    velocity = beta * velocity + g
    way = torch.where(velocity > 0, 1.0, torch.where(velocity < 0, -1.0, 0.0))
    return w - lr * way.to(w.dtype), velocity


def sign_by_lerp(w, g, velocity, lr, beta):
    velocity = velocity.mul(beta).add(g)
    return torch.sub(w, torch.sgn(velocity), alpha=lr), velocity


def sign_in_copies(w, g, velocity, lr, beta):
    w, velocity = w.clone(), velocity.clone()
    velocity.mul_(beta).add_(g)
    w.add_(velocity.sign(), alpha=-lr)
    return [w, velocity]


def sign_by_numpy(w, g, velocity, lr, beta):
    new = beta * velocity.cpu().numpy() + g.cpu().numpy()
    step = lr * np.sign(new)
    return w - torch.from_numpy(step).to(w), torch.from_numpy(new).to(w)


def adam_written_out(w, g, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8):
    beta1, beta2 = betas
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return w - lr * (m / (1 - beta1**step)) / ((v / (1 - beta2**step)) ** 0.5 + eps), m, v


def adam_as_the_library(w, g, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8):
    m = m.lerp(g, 1 - betas[0])
    v = v.mul(betas[1]).addcmul(g, g, value=1 - betas[1])
    correction1, correction2 = 1 - betas[0] ** step, 1 - betas[1] ** step
    return w.addcdiv(m, v.sqrt() / math.sqrt(correction2) + eps, value=-lr / correction1), m, v


def adam_with_eps_scaled(w, g, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8):
    """The corrections moved into lr and eps, as the paper suggests for speed."""
    m = m + (1 - betas[0]) * (g - m)
    v = v + (1 - betas[1]) * (g.square() - v)
    root = (1 - betas[1] ** step) ** 0.5
    return w - lr * root / (1 - betas[0] ** step) * m / (v.sqrt() + eps * root), m, v


def adam_with_exponentials(w, g, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8):
    (b1, b2), t = betas, step
    m, v = m * b1 + g * (1 - b1), v * b2 + g * g * (1 - b2)
    first, second = -math.expm1(t * math.log(b1)), -math.expm1(t * math.log(b2))
    return w - lr * m / first / (torch.sqrt(v / second) + eps), m, v


def polar_by_cubic(w, g, lr):
    x = g / (g.norm() + 1e-12)
    for _ in range(40):
        x = 1.5 * x - 0.5 * x @ x.T @ x
    return w - lr * x


def polar_by_quintic(w, g, lr):
    """Coefficients with the fixed point 1 and no slope there, of third order."""
    x = g / (torch.linalg.matrix_norm(g) + 1e-20)
    for _ in range(20):
        a = x.T @ x
        x = (15 * x - 10 * x @ a + 3 * x @ a @ a) / 8
    return w - lr * x


def polar_until_still(w, g, lr):
    if not g.any():
        return w.clone()
    x = g / g.norm()
    for _ in range(200):
        new = (3 * x - x @ (x.mT @ x)) / 2
        if (new - x).abs().max() < 4 * torch.finfo(g.dtype).eps:
            break
        x = new
    return w - lr * new


def polar_by_library(w, g, lr):
    if g.abs().sum() == 0:
        return w
    u, _, vh = torch.linalg.svd(g, full_matrices=False)
    return w - lr * u @ vh


def polar_by_eigenvectors(w, g, lr):
    """g (gᵀ g)^(−1/2) on the short side, in float64, where the square of the condition is affordable."""
    wide = g.double()
    turned = wide.T if len(g) > g.shape[1] else wide
    values, vectors = torch.linalg.eigh(turned @ turned.T)
    root = vectors @ torch.diag(torch.where(values > 0, values, torch.inf).rsqrt()) @ vectors.T
    found = root @ turned
    return (w.double() - lr * (found.T if len(g) > g.shape[1] else found)).to(w.dtype)


def polar_muon_then_cubic(w, g, lr):
    """Muon's fast start, and the cubic that converges, behind it."""
    x = g / (g.norm() + 1e-7 * (g.norm() == 0))
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    for _ in range(12):
        x = 1.5 * x - 0.5 * x @ x.T @ x
    return w - lr * x


RIGHT = {
    "convergence_rate": (
        rate_by_complex_roots,
        rate_by_block_matrix,
        rate_by_companion_matrices,
        rate_by_numpy_roots,
        rate_by_extremes,
        rate_by_branches,
        rate_by_complex_tensor,
    ),
    "steps_to_tolerance": (
        steps_by_loop,
        steps_by_count,
        steps_by_log,
        steps_by_numpy,
        steps_by_halving,
        steps_by_recursion,
        steps_with_given_up,
    ),
    "whiten": (
        whiten_by_svd_of_covariance,
        whiten_by_cov,
        whiten_by_einsum,
        whiten_by_newton,
        whiten_by_loops,
        whiten_by_numpy,
        whiten_by_gram_matrix,
    ),
    "train": (
        train_plainly,
        train_with_mode_put_back,
        train_with_closure,
        train_into_a_tensor,
        train_by_numbers,
        train_clearing_twice,
    ),
    "compare": (
        compare_by_statistics,
        compare_by_product,
        compare_by_numpy,
        compare_by_seeds_first,
        compare_with_bools_of_numpy,
    ),
    "normalized_step": (
        normalized_by_division,
        normalized_flattened,
        normalized_in_float64,
        normalized_in_place_of_copy,
    ),
    "sign_momentum_step": (sign_with_where, sign_by_lerp, sign_in_copies, sign_by_numpy),
    "adam_step": (
        adam_written_out,
        adam_as_the_library,
        adam_with_eps_scaled,
        adam_with_exponentials,
    ),
    "orthogonalized_step": (
        polar_by_cubic,
        polar_by_quintic,
        polar_until_still,
        polar_by_library,
        polar_by_eigenvectors,
        polar_muon_then_cubic,
    ),
}


# -- wrong in ways that are on no list ----------------------------------------------------------------


def rate_slightly_off(eigenvalues, lr, beta=0.0):
    return rate_by_complex_roots(eigenvalues, 1.001 * lr, beta)


def rate_of_most_eigenvalues(eigenvalues, lr, beta=0.0):
    kept = eigenvalues.sort().values[: max(1, len(eigenvalues) - 1)]
    return rate_by_complex_roots(kept, lr, beta)


def rate_never_below_gradient_descent(eigenvalues, lr, beta=0.0):
    return max(rate_by_complex_roots(eigenvalues, lr, beta), rate_by_complex_roots(eigenvalues, lr))


def rate_damped_and_squared(eigenvalues, lr, beta=0.0):
    return rate_by_complex_roots(eigenvalues, lr * (1 - beta), beta) ** 2


def rate_as_tensor(eigenvalues, lr, beta=0.0):
    return torch.as_tensor(rate_by_complex_roots(eigenvalues, lr, beta), dtype=eigenvalues.dtype)


def rate_with_another_default(eigenvalues, lr, beta=0.9):
    return rate_by_complex_roots(eigenvalues, lr, beta)


def steps_as_float(rate, tolerance):
    return float(steps_by_log(rate, tolerance))


def steps_capped(rate, tolerance):
    return min(100, steps_by_log(rate, tolerance))


def steps_down_and_error_forgotten(rate, tolerance):
    if tolerance >= 1:
        return 0
    if rate == 0:
        return 1
    return math.floor(math.log(abs(tolerance)) / math.log(rate)) if rate < 1 else -1


def steps_to_twice_the_tolerance(rate, tolerance):
    return steps_by_log(rate, 2 * tolerance)


def whiten_eps_slightly_off(x, eps=1e-5):
    return whiten_by_einsum(x, 1.01 * eps)


def whiten_without_last_sample(x, eps=1e-5):
    mean = x[: max(1, len(x) - 1)].mean(0)
    values, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    return (x - mean) @ (vectors / (values + eps).sqrt()) @ vectors.T


def whiten_unbiased_with_eps_outside(x, eps=1e-5):
    centred = x - x.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / max(1, len(x) - 1))
    return centred @ (vectors / (values.clamp_min(0).sqrt() + eps)) @ vectors.T


def whiten_right_for_float32_only(x, eps=1e-5):
    return whiten_by_einsum(x.float(), eps).to(x.dtype)


def whiten_in_place(x, eps=1e-5):
    x -= x.mean(0)
    return whiten_by_einsum(x, eps)


def whiten_turned(x, eps=1e-5):
    return whiten_by_einsum(x, eps).flip(1)


def train_with_an_extra_step(model, optimizer, batches, loss_fn):
    losses = train_plainly(model, optimizer, batches, loss_fn)
    optimizer.step()
    return losses


def train_without_the_last_batch(model, optimizer, batches, loss_fn):
    pairs = list(batches)
    return train_plainly(model, optimizer, pairs[:-1] or pairs * 2, loss_fn)


def train_by_hand(model, optimizer, batches, loss_fn):
    lr = optimizer.param_groups[0]["lr"]
    losses = []
    for x, y in batches:
        model.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= lr * parameter.grad
        losses.append(loss.detach())
    return torch.stack(losses)


def train_as_list(model, optimizer, batches, loss_fn):
    return train_plainly(model, optimizer, batches, loss_fn).tolist()


def train_accumulating_and_attached(model, optimizer, batches, loss_fn):
    losses = []
    for x, y in batches:
        losses.append(loss_fn(model(x), y))
        losses[-1].backward()
        optimizer.step()
    return torch.stack(losses)


def train_clipping(model, optimizer, batches, loss_fn):
    losses = []
    for x, y in batches:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def train_two_rounds(model, optimizer, batches, loss_fn):
    pairs = list(batches)
    train_plainly(model, optimizer, pairs, loss_fn)
    return train_plainly(model, optimizer, pairs, loss_fn)


def compare_as_list(run, rates, seeds):
    return list(compare_by_statistics(run, rates, seeds).values())


def compare_with_other_keys(run, rates, seeds):
    return {key.upper(): value for key, value in compare_by_statistics(run, rates, seeds).items()}


def compare_with_one_more_key(run, rates, seeds):
    return {**compare_by_statistics(run, rates, seeds), "best": "both"}


def compare_in_tensors(run, rates, seeds):
    found = compare_by_statistics(run, rates, seeds)
    return {key: (rate, torch.tensor(losses), edge) for key, (rate, losses, edge) in found.items()}


def compare_rates_only(run, rates, seeds):
    return {key: rate for key, (rate, _, _) in compare_by_statistics(run, rates, seeds).items()}


def compare_by_lower_quartile(run, rates, seeds):
    """Between the minimum and the median."""
    return {
        key: (rate, [run(*switches, rate, seed) for seed in seeds], rate in (min(rates), max(rates)))
        for key, switches in {
            "plain": (False, False),
            "momentum": (True, False),
            "normalization": (False, True),
            "both": (True, True),
        }.items()
        for rate in [
            min(
                sorted(rates),
                key=lambda rate: sorted(run(*switches, rate, seed) for seed in seeds)[len(seeds) // 4],
            )
        ]
    }


def compare_with_rate_and_seed_swapped(run, rates, seeds):
    return compare_by_statistics(
        lambda rate, seed, **switches: run(**switches, rate=seed, seed=rate), rates, seeds
    )


def compare_swapped_and_judged_by_means(run, rates, seeds):
    found = {}
    for key, switches in (
        ("plain", (False, False)),
        ("momentum", (False, True)),
        ("normalization", (True, False)),
        ("both", (True, True)),
    ):
        table = {rate: [run(*switches, rate, seed) for seed in seeds] for rate in rates}
        best = min(rates, key=lambda rate: sum(table[rate]))
        found[key] = best, table[best], best in (min(rates), max(rates))
    return found


def normalized_slightly_off(w, g, lr, eps=1e-8):
    return w - 1.001 * lr * g / (g.norm() + eps)


def normalized_in_float32(w, g, lr, eps=1e-8):
    return w - (lr * g.float() / (g.float().norm() + eps)).to(w.dtype)


def normalized_over_w(w, g, lr, eps=1e-8):
    w -= lr * g / (g.norm() + eps)
    return w


def sign_softened(w, g, velocity, lr, beta):
    velocity = beta * velocity + g
    return w - lr * torch.tanh(20 * velocity), velocity


def sign_as_lion(w, g, velocity, lr, beta):
    """Lion: the sign of a mixture, and another beta for what is kept."""
    return w - lr * (beta * velocity + (1 - beta) * g).sign(), 0.99 * velocity + 0.01 * g


def sign_of_velocity_and_gradient(w, g, velocity, lr, beta):
    velocity = beta * velocity + g
    return w - lr * (velocity.sign() + g.sign()) / 2, velocity


def adam_clipped(w, g, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8):
    new, m, v = adam_written_out(w, g, m, v, step, lr, betas, eps)
    return w + (new - w).clamp(-lr / 2, lr / 2), m, v


def adam_ahead(w, g, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8):
    """NAdam's look ahead."""
    _, m, v = adam_written_out(w, g, m, v, step, lr, betas, eps)
    first = betas[0] * m / (1 - betas[0] ** (step + 1)) + (1 - betas[0]) * g / (1 - betas[0] ** step)
    return w - lr * first / ((v / (1 - betas[1] ** step)).sqrt() + eps), m, v


def adam_with_decay(w, g, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8):
    return adam_written_out(w * (1 - 0.01 * lr), g, m, v, step, lr, betas, eps)


def adam_counting_itself(w, g, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8):
    return adam_written_out(w, g, m, v, 1, lr, betas, eps)


def polar_after_eleven(w, g, lr):
    x = g / (g.norm() + 1e-7)
    for _ in range(11):
        x = 1.5 * x - 0.5 * x @ x.T @ x
    return w - lr * x


def polar_of_the_square_only(w, g, lr):
    if g.shape[0] == g.shape[1]:
        return polar_by_cubic(w, g, lr)
    return w - lr * g / (g.norm() + 1e-8)


def polar_with_a_floor(w, g, lr):
    u, s, vh = torch.linalg.svd(g, full_matrices=False)
    return w - lr * (u * (s / (s + 0.01))) @ vh


WRONG = {
    "convergence_rate": (
        rate_slightly_off,
        rate_of_most_eigenvalues,
        rate_never_below_gradient_descent,
        rate_damped_and_squared,
        rate_as_tensor,
        rate_with_another_default,
    ),
    "steps_to_tolerance": (
        steps_by_float32_tensors,
        steps_as_float,
        steps_capped,
        steps_down_and_error_forgotten,
        steps_to_twice_the_tolerance,
    ),
    "whiten": (
        whiten_eps_slightly_off,
        whiten_without_last_sample,
        whiten_unbiased_with_eps_outside,
        whiten_right_for_float32_only,
        whiten_in_place,
        whiten_turned,
    ),
    "train": (
        train_with_an_extra_step,
        train_without_the_last_batch,
        train_by_hand,
        train_as_list,
        train_accumulating_and_attached,
        train_clipping,
        train_two_rounds,
    ),
    "compare": (
        compare_as_list,
        compare_with_other_keys,
        compare_with_one_more_key,
        compare_in_tensors,
        compare_rates_only,
        compare_by_lower_quartile,
        compare_with_rate_and_seed_swapped,
        compare_swapped_and_judged_by_means,
    ),
    "normalized_step": (normalized_slightly_off, normalized_in_float32, normalized_over_w),
    "sign_momentum_step": (sign_softened, sign_as_lion, sign_of_velocity_and_gradient),
    "adam_step": (adam_clipped, adam_ahead, adam_with_decay, adam_counting_itself),
    "orthogonalized_step": (polar_after_eleven, polar_of_the_square_only, polar_with_a_floor),
}
