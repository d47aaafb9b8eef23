"""Day 33 in other hands."""

from __future__ import annotations

import cmath
import itertools
import math
from collections import defaultdict
from dataclasses import dataclass, field

import numpy
import torch

# -- gradient_descent --------------------------------------------------------------------------------


def descent_filling_rows(grad, w, lr, steps):
    path = w.new_empty((steps + 1, *w.shape))
    path[0] = w
    for k in range(steps):
        path[k + 1] = path[k] - lr * grad(path[k])
    return path


def descent_by_accumulate(grad, w, lr, steps):
    points = itertools.accumulate(range(steps), lambda at, _: at - lr * grad(at), initial=w)
    return torch.stack(tuple(points), dim=0)


def descent_by_sum_of_steps(grad, w, lr, steps):
    path = w.unsqueeze(0)
    total = torch.zeros_like(w)
    for _ in range(steps):
        total = total + grad(path[-1])
        path = torch.cat((path, (w - lr * total).unsqueeze(0)))
    return path


def descent_in_place_on_copies(grad, w, lr, steps):
    w = w.clone()
    path = [w.clone()]
    while len(path) <= steps:
        w.sub_(grad(w), alpha=lr)
        path.append(w.clone())
    return torch.vstack(path)


def descent_in_double(grad, w, lr, steps):
    point, rows = w.double(), [w.double()]
    for _ in range(steps):
        point = point - lr * grad(point.to(w.dtype)).double()
        rows.append(point)
    return torch.stack(rows).to(w.dtype)


# -- momentum_step -----------------------------------------------------------------------------------


def momentum_by_lerp(w, g, velocity, lr, beta):
    velocity = torch.add(g, velocity, alpha=beta)
    return torch.add(w, velocity, alpha=-lr), velocity


def momentum_by_copies(w, g, velocity, lr, beta):
    velocity = velocity.clone().mul_(beta).add_(g)
    return w.clone().sub_(lr * velocity), velocity


def momentum_by_two_moves(w, g, velocity, lr, beta):
    coasted = w - lr * beta * velocity
    return coasted - lr * g, beta * velocity + g


def momentum_by_matrix(w, g, velocity, lr, beta):
    """(w, v) and g as one linear map."""
    map_ = torch.tensor([[1.0, -lr * beta, -lr], [0.0, beta, 1.0]], dtype=w.dtype).to(w.device)
    state = torch.stack((w.flatten(), velocity.flatten(), g.flatten()))
    new = map_ @ state
    return [new[0].view(w.shape), new[1].view(w.shape)]


def momentum_by_moving_average(w, g, velocity, lr, beta):
    """The velocity as 1 / (1 - beta) times a moving average of the gradients."""
    average = (1 - beta) * velocity
    average = beta * average + (1 - beta) * g
    velocity = average / (1 - beta)
    return w - lr * velocity, velocity


def momentum_by_classical_units(w, g, velocity, lr, beta):
    """lr inside, converted on the way in and out."""
    step = -lr * velocity
    step = beta * step - lr * g
    return w + step, step / -lr


# -- nesterov_step -----------------------------------------------------------------------------------


def nesterov_expanded(w, g, velocity, lr, beta):
    return w - lr * ((1 + beta) * g + beta**2 * velocity), beta * velocity + g


def nesterov_by_difference(w, g, velocity, lr, beta):
    """CS231n's form with lr outside."""
    new = beta * velocity + g
    return w + lr * beta * velocity - lr * (1 + beta) * new, new


def nesterov_by_two_heavy_balls(w, g, velocity, lr, beta):
    """The step is that of a heavy ball which meets the same gradient twice."""
    _, velocity = momentum_by_lerp(w, g, velocity, lr, beta)
    ahead, _ = momentum_by_lerp(w, g, velocity, lr, beta)
    return ahead, velocity


def nesterov_in_place_on_copies(w, g, velocity, lr, beta):
    velocity = velocity.clone()
    velocity *= beta
    velocity += g
    w = w.clone()
    w -= lr * g.add(velocity, alpha=beta)
    return w, velocity


# -- exponential_moving_average ----------------------------------------------------------------------


def average_filling_rows(values, beta, bias_correction=False):
    averages = torch.zeros_like(values)
    for t in range(len(values)):
        averages[t] = (1 - beta) * values[t] + (beta * averages[t - 1] if t else 0)
    if bias_correction:
        for t in range(len(values)):
            averages[t] /= 1 - beta ** (t + 1)
    return averages


def average_by_lerp(values, beta, bias_correction=False):
    average, kept, product = torch.zeros_like(values[0]), [], 1.0
    for value in values:
        average = torch.lerp(average, value, 1 - beta)
        product *= beta
        kept.append(average / (1 - product) if bias_correction else average)
    return torch.stack(kept)


def average_by_weighted_sum(values, beta, bias_correction=False):
    rows = []
    for t in range(1, len(values) + 1):
        weights = torch.tensor([(1 - beta) * beta ** (t - s) for s in range(1, t + 1)], dtype=values.dtype)
        weights = weights.to(values.device)
        if bias_correction:
            weights = weights / (1 - beta**t)
        rows.append((weights.reshape(-1, *[1] * (values.dim() - 1)) * values[:t]).sum(0))
    return torch.stack(rows)


def average_by_velocity(values, beta, bias_correction=False):
    velocity, rows = 0 * values[0], []
    for t, value in enumerate(values, start=1):
        velocity = beta * velocity + value
        rows.append(velocity * ((1 - beta) / (1 - beta**t) if bias_correction else 1 - beta))
    return torch.stack(rows, 0)


def average_by_running_weight(values, beta, bias_correction=False):
    """The correction by an average of ones; with it the recursion can run on corrected averages."""
    average, weight, rows = torch.zeros_like(values[0]), torch.zeros_like(values[0]), []
    for value in values.unbind(0):
        average = average + (1 - beta) * (value - average)
        weight = weight + (1 - beta) * (1 - weight)
        rows.append(average / weight if bias_correction else average.clone())
    return torch.stack(rows)


def average_vectorized_correction(values, beta, bias_correction=False):
    rows = list(
        itertools.accumulate(
            values, lambda a, x: beta * a + (1 - beta) * x, initial=torch.zeros_like(values[0])
        )
    )[1:]
    result = torch.stack(rows)
    if bias_correction:
        t = torch.arange(1, len(values) + 1, dtype=values.dtype, device=values.device)
        powers = torch.full_like(t, beta) ** t
        result = result / (1 - powers).view(-1, *(1,) * (values.dim() - 1))
    return result


# -- optimal_heavy_ball ------------------------------------------------------------------------------


def heavy_ball_from_kappa(smallest, largest):
    root = (largest / smallest) ** 0.5
    return ((2 / (root + 1)) ** 2 / smallest, ((root - 1) / (root + 1)) ** 2)


def heavy_ball_from_beta(smallest, largest):
    low, high = math.sqrt(smallest), math.sqrt(largest)
    beta = ((high - low) / (high + low)) ** 2
    return (1 + math.sqrt(beta)) ** 2 / largest, beta


def heavy_ball_from_lr(smallest, largest):
    lr = 4 / (smallest + largest + 2 * math.sqrt(smallest * largest))
    beta = max(abs(1 - math.sqrt(lr * smallest)), abs(1 - math.sqrt(lr * largest))) ** 2
    return [lr, beta]


def heavy_ball_by_numpy(smallest, largest):
    low, high = numpy.sqrt([smallest, largest])
    return (2 / (low + high)) ** 2, ((high - low) / (high + low)) ** 2


def heavy_ball_by_tensors(smallest, largest):
    low, high = torch.tensor([float(smallest), float(largest)]).sqrt()
    return (4 / (low + high) ** 2).item(), (((high - low) / (high + low)) ** 2).item()


# -- SGD ---------------------------------------------------------------------------------------------


class SGDWithLists:
    """Velocities from the start, one for each parameter, at zero."""

    def __init__(self, params, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
        self.params = [*params]
        self.velocities = [torch.zeros_like(p) for p in self.params]
        self.lr, self.momentum, self.nesterov, self.weight_decay = lr, momentum, nesterov, weight_decay

    def step(self):
        for p, v in zip(self.params, self.velocities, strict=True):
            if p.grad is None:
                continue
            g = p.grad.data + self.weight_decay * p.data
            v.data.mul_(self.momentum).add_(g)
            p.data -= self.lr * (g + self.momentum * v.data if self.nesterov else v.data)

    def zero_grad(self):
        for p in self.params:
            if p.grad is not None:
                p.grad.detach_()
                p.grad.zero_()


class SGDWithDictionary:
    """State by parameter, made when the first gradient comes."""

    def __init__(self, params, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
        self.params = tuple(params)
        self.options = {"lr": lr, "beta": momentum, "nesterov": nesterov, "decay": weight_decay}
        self.state = {}

    @torch.no_grad()
    def step(self):
        o = self.options
        for p in filter(lambda p: p.grad is not None, self.params):
            g = p.grad.clone()
            if o["decay"] != 0:
                g.add_(p, alpha=o["decay"])
            if o["beta"] != 0:
                if p not in self.state:
                    self.state[p] = g.clone()
                else:
                    self.state[p].mul_(o["beta"]).add_(g)
                g = g.add(self.state[p], alpha=o["beta"]) if o["nesterov"] else self.state[p]
            p.add_(g, alpha=-o["lr"])

    def zero_grad(self):
        for p in self.params:
            p.grad = None


class SGDWithLrInside:
    """The classical form; lr never changes, so the path is the same."""

    def __init__(self, params, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
        self.params, self.lr, self.mu = list(params), lr, momentum
        self.nesterov, self.weight_decay = nesterov, weight_decay
        self.v = defaultdict(float)

    def step(self):
        with torch.no_grad():
            for i, p in enumerate(self.params):
                if p.grad is not None:
                    before = self.v[i]
                    self.v[i] = self.mu * before - self.lr * (p.grad + self.weight_decay * p)
                    p += (1 + self.mu) * self.v[i] - self.mu * before if self.nesterov else self.v[i]

    def zero_grad(self):
        for p in self.params:
            p.grad = torch.zeros_like(p)


class SGDByForeach:
    def __init__(self, params, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
        self.__dict__.update(params=list(params), lr=lr, beta=momentum, ahead=nesterov, decay=weight_decay)
        self.velocity = torch._foreach_mul([p.detach() for p in self.params], 0.0)

    @torch.no_grad()
    def step(self):
        pairs = [(p, v) for p, v in zip(self.params, self.velocity, strict=True) if p.grad is not None]
        if not pairs:
            return
        params, velocity = (list(column) for column in zip(*pairs, strict=True))
        gradients = torch._foreach_add([p.grad for p in params], params, alpha=self.decay)
        torch._foreach_mul_(velocity, self.beta)
        torch._foreach_add_(velocity, gradients)
        way = torch._foreach_add(gradients, velocity, alpha=self.beta) if self.ahead else velocity
        torch._foreach_add_(params, way, alpha=-self.lr)

    def zero_grad(self):
        torch._foreach_zero_([p.grad for p in self.params if p.grad is not None])


@dataclass
class SGDAsDataclass:
    """Decay added to the gradient itself, where it is counted again if nobody clears that."""

    params: list
    lr: float
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    velocity: dict = field(default_factory=dict)

    def __post_init__(self):
        self.params = list(self.params)

    @torch.no_grad()
    def step(self):
        for p in self.params:
            if p.grad is None:
                continue
            p.grad.add_(self.weight_decay * p)
            v = self.velocity[id(p)] = self.momentum * self.velocity.get(id(p), 0.0) + p.grad
            p.copy_(p - self.lr * (p.grad + self.momentum * v if self.nesterov else v))

    def zero_grad(self):
        for p in self.params:
            p.grad = None


class SGDBySteps:
    """Built from a function for a single step, and data that is replaced."""

    def __init__(self, params, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
        step = nesterov_expanded if nesterov else momentum_by_two_moves
        self.one = lambda p, v: step(p.detach(), p.grad + weight_decay * p.detach(), v, lr, momentum)
        self.state = [[p, torch.zeros_like(p)] for p in params]

    def step(self):
        for entry in self.state:
            p, v = entry
            if p.grad is not None:
                p.data, entry[1] = self.one(p, v)

    def zero_grad(self):
        for p, _ in self.state:
            if p.grad is not None:
                p.grad *= 0


# -- momentum_roots and convert_momentum -------------------------------------------------------------


def roots_with_cmath(eigenvalue, lr, beta):
    b = 1 + beta - lr * eigenvalue
    root = cmath.sqrt(b * b - 4 * beta)
    return (b - root) / 2, (b + root) / 2


def roots_with_numpy(eigenvalue, lr, beta):
    return numpy.roots([1.0, -(1 + beta - lr * eigenvalue), beta])


def roots_with_branches(eigenvalue, lr, beta):
    half = (1 + beta - lr * eigenvalue) / 2
    under = half**2 - beta
    if under >= 0:
        return [half + under**0.5, half - under**0.5]
    return [complex(half, (-under) ** 0.5), complex(half, -((-under) ** 0.5))]


def roots_with_tensors(eigenvalue, lr, beta):
    b = torch.tensor(1 + beta - lr * eigenvalue, dtype=torch.complex64)
    root = (b**2 - 4 * beta).sqrt()
    return torch.stack([b + root, b - root]) / 2


def betas_by_loop(lrs, beta):
    betas = torch.full_like(lrs, beta)
    for t in range(1, len(lrs)):
        betas[t] = beta * lrs[t - 1] / lrs[t]
    return betas


def betas_by_slices(lrs, beta):
    return torch.cat([lrs.new_tensor([beta]), lrs[:-1] / lrs[1:] * beta])


def betas_by_logarithms(lrs, beta):
    logs = lrs.double().log()
    return (beta * torch.exp(-torch.diff(logs, prepend=logs[:1]))).to(lrs.dtype)


def betas_by_numbers(lrs, beta):
    values = lrs.tolist()
    return torch.tensor(
        [beta * a / b for a, b in zip(values[:1] + values, values, strict=False)],
        dtype=lrs.dtype,
        device=lrs.device,
    )


RIGHT = {
    "gradient_descent": (
        descent_filling_rows,
        descent_by_accumulate,
        descent_by_sum_of_steps,
        descent_in_place_on_copies,
        descent_in_double,
    ),
    "momentum_step": (
        momentum_by_lerp,
        momentum_by_copies,
        momentum_by_two_moves,
        momentum_by_matrix,
        momentum_by_moving_average,
        momentum_by_classical_units,
    ),
    "nesterov_step": (
        nesterov_expanded,
        nesterov_by_difference,
        nesterov_by_two_heavy_balls,
        nesterov_in_place_on_copies,
    ),
    "exponential_moving_average": (
        average_filling_rows,
        average_by_lerp,
        average_by_weighted_sum,
        average_by_velocity,
        average_by_running_weight,
        average_vectorized_correction,
    ),
    "optimal_heavy_ball": (
        heavy_ball_from_kappa,
        heavy_ball_from_beta,
        heavy_ball_from_lr,
        heavy_ball_by_numpy,
        heavy_ball_by_tensors,
    ),
    "SGD": (
        SGDWithLists,
        SGDWithDictionary,
        SGDWithLrInside,
        SGDByForeach,
        SGDBySteps,
    ),
    "momentum_roots": (roots_with_cmath, roots_with_numpy, roots_with_branches, roots_with_tensors),
    "convert_momentum": (betas_by_loop, betas_by_slices, betas_by_logarithms, betas_by_numbers),
}


# -- wrong in ways that are on no list ----------------------------------------------------------------


def descent_with_fading_lr(grad, w, lr, steps):
    path = [w]
    for k in range(steps):
        path.append(path[-1] - lr / (1 + 0.01 * k) * grad(path[-1]))
    return torch.stack(path)


def descent_uphill_and_without_start(grad, w, lr, steps):
    return descent_filling_rows(lambda at: -grad(at), w, lr, steps)[1:]


def descent_that_stops_early(grad, w, lr, steps):
    path = descent_filling_rows(grad, w, lr, steps)
    path[6:] = path[6:7] if steps > 6 else path[6:]
    return path


def momentum_damped_with_lr_inside(w, g, velocity, lr, beta):
    velocity = beta * velocity - (1 - beta) * lr * g
    return w + velocity, velocity


def momentum_slightly_off(w, g, velocity, lr, beta):
    return momentum_by_lerp(w, g, velocity, lr, 0.999 * beta)


def momentum_that_restarts(w, g, velocity, lr, beta):
    """Forgets the velocity where it points against the gradient."""
    keep = (velocity * g).sum() > 0
    return momentum_by_lerp(w, g, torch.where(keep, velocity, torch.zeros_like(velocity)), lr, beta)


def nesterov_of_the_old_velocity(w, g, velocity, lr, beta):
    new = beta * velocity + g
    return w - lr * (g + beta * beta * velocity), new


def nesterov_damped(w, g, velocity, lr, beta):
    new = beta * velocity + (1 - beta) * g
    return w - lr * ((1 - beta) * g + beta * new), new


def average_started_and_corrected(values, beta, bias_correction=False):
    """Starts at the first value and corrects a bias that is not there."""
    rows = [values[0]]
    for value in values[1:]:
        rows.append(beta * rows[-1] + (1 - beta) * value)
    return torch.stack([row / (1 - beta**t) if bias_correction else row for t, row in enumerate(rows, 1)])


def average_corrected_by_the_root(values, beta, bias_correction=False):
    result = average_filling_rows(values, beta)
    for t in range(len(result)):
        result[t] /= (1 - beta ** (t + 1)) ** 0.5 if bias_correction else 1
    return result


def average_of_single_precision(values, beta, bias_correction=False):
    return average_by_lerp(values.float(), beta, bias_correction).to(values.dtype)


def heavy_ball_one_percent_off(smallest, largest):
    lr, beta = heavy_ball_from_kappa(smallest, largest)
    return lr, 0.99 * beta


def heavy_ball_of_another_condition(smallest, largest):
    return heavy_ball_from_kappa(smallest, largest + smallest)


class SGDOfOneVelocity(SGDWithLists):
    """All parameters share the velocity of the last one with their shape's mean."""

    def step(self):
        for position, p in enumerate(self.params):
            if p.grad is not None:
                self.velocities[position] = self.momentum * self.velocities[0].mean() + p.grad
                p.data -= self.lr * self.velocities[position]


class SGDDampedAndDecoupled(SGDWithLists):
    def step(self):
        for p, v in zip(self.params, self.velocities, strict=True):
            if p.grad is not None:
                v.data.mul_(self.momentum).add_((1 - self.momentum) * p.grad)
                p.data.mul_(1 - self.lr * self.weight_decay).sub_(self.lr * v.data)


class SGDForgetsWhereNothingCame(SGDWithLists):
    """A parameter without a gradient loses its velocity."""

    def step(self):
        for p, v in zip(self.params, self.velocities, strict=True):
            if p.grad is None:
                v.data.zero_()
        super().step()


class SGDOfSharedState:
    """The velocities belong to the class."""

    velocities = {}  # noqa: RUF012

    def __init__(self, params, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
        self.params, self.options = list(params), (lr, momentum, nesterov, weight_decay)

    @torch.no_grad()
    def step(self):
        lr, momentum, nesterov, decay = self.options
        for position, p in enumerate(self.params):
            if p.grad is not None:
                old = self.velocities.get((position, p.shape), torch.zeros_like(p))
                g = p.grad + decay * p
                v = self.velocities[position, p.shape] = momentum * old + g
                p -= lr * (g + momentum * v if nesterov else v)

    zero_grad = SGDWithLists.zero_grad


class SGDClearsTheFirstOnly(SGDWithLists):
    def zero_grad(self):
        self.params[0].grad = None


def roots_slightly_off(eigenvalue, lr, beta):
    return roots_with_cmath(1.01 * eigenvalue, lr, beta)


def roots_as_one_number(eigenvalue, lr, beta):
    return roots_with_cmath(eigenvalue, lr, beta)[0]


def roots_of_the_larger_only(eigenvalue, lr, beta):
    first, second = roots_with_cmath(eigenvalue, lr, beta)
    return max(first, second, key=abs), 0


def betas_below_one(lrs, beta):
    return betas_by_loop(lrs, beta).clamp_max(0.999)


def betas_of_mean(lrs, beta):
    return beta * lrs.mean() / lrs


def betas_as_list(lrs, beta):
    return betas_by_loop(lrs, beta).tolist()


WRONG = {
    "gradient_descent": (
        descent_with_fading_lr,
        descent_uphill_and_without_start,
        descent_that_stops_early,
    ),
    "momentum_step": (
        momentum_damped_with_lr_inside,
        momentum_slightly_off,
        momentum_that_restarts,
    ),
    "nesterov_step": (nesterov_of_the_old_velocity, nesterov_damped),
    "exponential_moving_average": (
        average_started_and_corrected,
        average_corrected_by_the_root,
        average_of_single_precision,
    ),
    "optimal_heavy_ball": (heavy_ball_one_percent_off, heavy_ball_of_another_condition),
    "SGD": (
        SGDOfOneVelocity,
        SGDDampedAndDecoupled,
        SGDForgetsWhereNothingCame,
        SGDOfSharedState,
        SGDClearsTheFirstOnly,
        SGDAsDataclass,
    ),
    "momentum_roots": (roots_slightly_off, roots_as_one_number, roots_of_the_larger_only),
    "convert_momentum": (betas_below_one, betas_of_mean, betas_as_list),
}
