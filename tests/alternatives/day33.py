"""Day 33 in other hands."""

from __future__ import annotations

import cmath
import itertools
import math
from collections import defaultdict
from dataclasses import dataclass, field

import numpy
import torch
from torch.nn import functional as F

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


def descent_in_the_gradient(grad, w, lr, steps):
    path = [w]
    for _ in range(steps):
        way = grad(path[-1])
        way *= -lr
        path.append(path[-1] + way)
    return torch.stack(path)


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


def nesterov_by_change_of_variables(w, g, velocity, lr, beta):
    """Sutskever's parameters behind the ones that PyTorch holds, and back."""
    behind = w + lr * beta * velocity
    velocity = beta * velocity + g
    behind = behind - lr * velocity
    return behind - lr * beta * velocity, velocity


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


def average_corrected_by_recursion(values, beta, bias_correction=False):
    """The corrected average is one itself, of weights that begin at 1 and fall to 1 - beta."""
    rows = []
    for t, value in enumerate(values, 1):
        share = (1 - beta) / (1 - beta**t) if bias_correction else 1 - beta
        rows.append(rows[-1] + share * (value - rows[-1]) if rows else share * value)
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


class SGDOfOneVector:
    """One velocity for all parameters, laid end to end."""

    def __init__(self, params, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
        self.params, self.options = list(params), (lr, momentum, nesterov, weight_decay)
        self.velocity = torch.cat([torch.zeros_like(p).flatten() for p in self.params])

    @torch.no_grad()
    def step(self):
        lr, momentum, nesterov, decay = self.options
        for p, v in zip(self.params, self.velocity.split([p.numel() for p in self.params]), strict=True):
            if p.grad is not None:
                g = (p.grad + decay * p).flatten()
                v.mul_(momentum).add_(g)
                p.sub_((lr * (g + momentum * v if nesterov else v)).view_as(p))

    def zero_grad(self, set_to_none=True):
        for p in self.params:
            p.grad = None if set_to_none or p.grad is None else torch.zeros_like(p)


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


def roots_by_angle(eigenvalue, lr, beta):
    """Complex ones by size and angle; of real ones the larger by the formula, the other by the product."""
    b = 1 + beta - lr * eigenvalue
    if b * b < 4 * beta:
        angle = math.acos(b / (2 * math.sqrt(beta)))
        return cmath.rect(math.sqrt(beta), angle), cmath.rect(math.sqrt(beta), -angle)
    larger = (b + math.copysign(math.sqrt(b * b - 4 * beta), b)) / 2
    return larger, beta / larger


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


# -- steps_on_digits ---------------------------------------------------------------------------------


def digits_by_adam(model, x, y, target, budget):
    """Adam, written out."""
    state = {p: (torch.zeros_like(p), torch.zeros_like(p)) for p in model.parameters()}
    for taken in range(budget):
        loss = F.cross_entropy(model(x), y)
        if loss.item() <= target:
            return taken
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p, (m, v) in state.items():
                m.mul_(0.9).add_(p.grad, alpha=0.1)
                v.mul_(0.999).addcmul_(p.grad, p.grad, value=0.001)
                root = (v / (1 - 0.999 ** (taken + 1))).sqrt() + 1e-8
                p -= 0.03 * m / (1 - 0.9 ** (taken + 1)) / root
    return budget


def digits_by_signs_of_a_functional_model(model, x, y, target, budget):
    """Signs of a velocity; the gradients by `torch.func`, of tensors that are no parameters."""

    def loss_of(parameters):
        return F.cross_entropy(torch.func.functional_call(model, parameters, x), y)

    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    velocity = {name: torch.zeros_like(w) for name, w in weights.items()}
    taken = 0
    while taken < budget and loss_of(weights) > target:
        gradients = torch.func.grad(loss_of)(weights)
        taken += 1
        for name, g in gradients.items():
            velocity[name] = 0.9 * velocity[name] + g
            weights[name] = weights[name] - 0.02 * velocity[name].sign()
    for name, p in model.named_parameters():
        p.data = weights[name]
    return taken


def digits_layer_by_layer(model, x, y, target, budget):
    """Each tensor has a step of one length for its size, and a velocity."""
    was, velocities = model.training, [0.0 for _ in model.parameters()]
    model.train()
    taken = 0
    while True:
        with torch.no_grad():
            loss = F.cross_entropy(model(x), y)
        if not loss > target or taken == budget:
            model.train(was)
            return taken
        for p in model.parameters():
            p.grad = None
        torch.autograd.backward(F.cross_entropy(model(x), y))
        taken += 1
        for place, p in enumerate(model.parameters()):
            unit = p.grad / (p.grad.norm() + 1e-20)
            velocities[place] = 0.9 * velocities[place] + unit
            p.data.add_(velocities[place], alpha=-0.006 * p.numel() ** 0.5)


def digits_by_root_mean_squares(model, x, y, target, budget):
    parameters = list(model.parameters())
    squares = [torch.zeros_like(p) for p in parameters]
    taken = 0
    loss = F.cross_entropy(model(x), y)
    while loss > target and taken != budget:
        gradients = torch.autograd.grad(loss, parameters)
        taken += 1
        with torch.no_grad():
            for p, g, v in zip(parameters, gradients, squares, strict=True):
                v.mul_(0.9).addcmul_(g, g, value=0.1)
                p.subtract_(0.02 * g / ((v / (1 - 0.9**taken)).sqrt() + 1e-10))
        loss = F.cross_entropy(model(x), y)
    return taken


def digits_by_orthogonal_steps(model, x, y, target, budget):
    """Matrices as Muon moves them, biases by a normalized step, both with momentum."""
    parameters, velocities = list(model.parameters()), {}
    for taken in range(budget + 1):
        loss = F.cross_entropy(model(x), y)
        if loss <= target or taken == budget:
            break
        for p, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            velocities[p] = 0.8 * velocities.get(p, 0.0) + g
            if p.dim() > 1:
                u, _, vh = torch.linalg.svd(velocities[p], full_matrices=False)
                p.data = p.data - 0.15 * u @ vh
            else:
                p.data = p.data - 0.05 * velocities[p] / (velocities[p].norm() + 1e-12)
    return taken


def digits_by_line_search(model, x, y, target, budget):
    """Gradient descent that looks for a rate of its own at every step: forward passes cost nothing."""
    parameters = list(model.parameters())

    def loss_now():
        return F.cross_entropy(model(x), y)

    for taken in range(budget):
        loss = loss_now()
        if loss <= target:
            return taken
        gradients = torch.autograd.grad(loss, parameters)
        start = [p.detach().clone() for p in parameters]
        found = []
        with torch.no_grad():
            for rate in [2.0**k for k in range(-9, 5)]:
                for p, w, g in zip(parameters, start, gradients, strict=True):
                    p.copy_(w - rate * g)
                found.append((loss_now().item(), rate))
            _, rate = min(found)
            for p, w, g in zip(parameters, start, gradients, strict=True):
                p.copy_(w - rate * g)
    return budget


RIGHT = {
    "gradient_descent": (
        descent_filling_rows,
        descent_by_accumulate,
        descent_by_sum_of_steps,
        descent_in_place_on_copies,
        descent_in_the_gradient,
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
        nesterov_by_change_of_variables,
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
        average_corrected_by_recursion,
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
        SGDOfOneVector,
        SGDByForeach,
        SGDBySteps,
    ),
    "momentum_roots": (
        roots_by_angle,
        roots_with_cmath,
        roots_with_numpy,
        roots_with_branches,
        roots_with_tensors,
    ),
    "convert_momentum": (betas_by_loop, betas_by_slices, betas_by_logarithms, betas_by_numbers),
    "steps_on_digits": (
        digits_by_adam,
        digits_by_signs_of_a_functional_model,
        digits_layer_by_layer,
        digits_by_root_mean_squares,
        digits_by_orthogonal_steps,
        digits_by_line_search,
    ),
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


class SGDOfVelocitiesByShape:
    """Parameters of one shape share a velocity."""

    def __init__(self, params, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
        self.params, self.options = list(params), (lr, momentum, nesterov, weight_decay)
        self.velocities = {}

    zero_grad = SGDWithLists.zero_grad

    @torch.no_grad()
    def step(self):
        lr, momentum, nesterov, decay = self.options
        for p in self.params:
            if p.grad is not None:
                g = p.grad + decay * p
                v = self.velocities[p.shape] = momentum * self.velocities.get(p.shape, 0.0) + g
                p -= lr * (g + momentum * v if nesterov else v)


class SGDClearsTheFirstOnly(SGDWithLists):
    def zero_grad(self):
        self.params[0].grad = None


def roots_slightly_off(eigenvalue, lr, beta):
    return roots_with_cmath(1.01 * eigenvalue, lr, beta)


def roots_as_one_number(eigenvalue, lr, beta):
    return roots_with_cmath(eigenvalue, lr, beta)[0]


def roots_as_pairs_of_parts(eigenvalue, lr, beta):
    return [(root.real, root.imag) for root in roots_with_cmath(eigenvalue, lr, beta)]


def roots_of_the_larger_only(eigenvalue, lr, beta):
    first, second = roots_with_cmath(eigenvalue, lr, beta)
    return max(first, second, key=abs), 0


def betas_below_one(lrs, beta):
    return betas_by_loop(lrs, beta).clamp_max(0.999)


def betas_of_mean(lrs, beta):
    return beta * lrs.mean() / lrs


def betas_as_list(lrs, beta):
    return betas_by_loop(lrs, beta).tolist()


def digits_by_momentum_at_one_rate(model, x, y, target, budget):
    parameters = list(model.parameters())
    velocities = [torch.zeros_like(p) for p in parameters]
    for taken in range(budget):
        loss = F.cross_entropy(model(x), y)
        if loss <= target:
            return taken
        for p, g, v in zip(parameters, torch.autograd.grad(loss, parameters), velocities, strict=True):
            v.mul_(0.9).add_(g)
            p.data.sub_(v, alpha=0.03)
    return budget


def digits_by_the_library(model, x, y, target, budget):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for taken in range(budget):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        if loss <= target:
            return taken
        loss.backward()
        optimizer.step()
    return budget


def digits_on_half_of_the_images(model, x, y, target, budget):
    return digits_by_adam(model, x[::2], y[::2], target, budget)


def digits_to_the_squared_error(model, x, y, target, budget):
    """Another loss, with the same target."""
    parameters, wanted = list(model.parameters()), F.one_hot(y, 10).to(x)
    taken = 0
    loss = (model(x) - wanted).square().mean()
    while loss > target / 20 and taken < budget:
        taken += 1
        for p, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            p.data = p.data - 0.1 * g / (g.norm() + 1e-12)
        loss = (model(x) - wanted).square().mean()
    return taken


def digits_two_passes_a_step(model, x, y, target, budget):
    """Counts steps, and each of them takes two backward passes."""
    parameters, taken = list(model.parameters()), 0
    velocity = [0.0 for _ in parameters]
    while taken < budget // 2 and F.cross_entropy(model(x), y) > target:
        halves = [torch.autograd.grad(F.cross_entropy(model(x[k::2]), y[k::2]), parameters) for k in range(2)]
        length = sum((a + b).square().sum() for a, b in zip(*halves, strict=True)).sqrt()
        for place, (p, a, b) in enumerate(zip(parameters, *halves, strict=True)):
            velocity[place] = 0.9 * velocity[place] + (a + b) / length
            p.data -= 0.2 * velocity[place]
        taken += 1
    return taken


def digits_counting_themselves_out(model, x, y, target, budget):
    digits_by_adam(model, x, y, target, budget)
    return "done"


def digits_with_images_scaled_in_place(model, x, y, target, budget):
    x /= x.std()
    return digits_by_adam(model, x, y, target, budget)


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
        SGDOfVelocitiesByShape,
        SGDClearsTheFirstOnly,
        SGDAsDataclass,
    ),
    "momentum_roots": (
        roots_slightly_off,
        roots_as_one_number,
        roots_as_pairs_of_parts,
        roots_of_the_larger_only,
    ),
    "convert_momentum": (betas_below_one, betas_of_mean, betas_as_list),
    "steps_on_digits": (
        digits_by_momentum_at_one_rate,
        digits_by_the_library,
        digits_on_half_of_the_images,
        digits_to_the_squared_error,
        digits_two_passes_a_step,
        digits_counting_themselves_out,
        digits_with_images_scaled_in_place,
    ),
}
