"""Day 33: what the lecture shows, and every number that it states."""

import itertools
import math

import pytest
import torch
from torch import nn

from course.experiments import day33 as experiments
from course.experiments.digits import split_digits
from course.explorers import day33 as explorers
from course.figures import day33 as figures
from tests.lectures.common import Moves, check_picture

EXPLORERS = {
    "a ball in a valley": Moves(
        explorers.valley_explorer,
        {
            "lr": (0.05, 1.5, 4),
            "beta": (0.1, 0.67, 0.99),
            "condition": (1, 25, 400),
            "nesterov": (False, True),
        },
    ),
    "the plane of rates": Moves(
        explorers.rate_plane_explorer,
        {"lr": (0.02, 1.5, 4), "beta": (0, 0.67, 0.99), "condition": (1, 400), "nesterov": (False, True)},
    ),
    "running averages": Moves(
        explorers.averages_explorer,
        {"beta": (0, 0.5, 0.99), "noise": (0, 1), "jump": (-1, 0, 2)},
    ),
    "a ball under noise": Moves(
        explorers.noise_explorer,
        {"length": (0.05, 0.5, 1.9), "beta": (0, 0.5, 0.99), "batch_size": (1, 16, 256)},
    ),
}
VALLEY = torch.tensor([0.01, 1.0], dtype=torch.float64)
START = torch.tensor([-9.0, 2.0], dtype=torch.float64)
RANDOM = torch.rand(9, generator=torch.Generator().manual_seed(33), dtype=torch.float64) + 0.05


def torch_path(eigenvalues, start, lr, beta, steps, nesterov=False):
    w = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([w], lr=lr, momentum=beta, nesterov=nesterov)
    path = [start]
    for _ in range(steps):
        optimizer.zero_grad()
        (0.5 * eigenvalues * w**2).sum().backward()
        optimizer.step()
        path.append(w.detach().clone())
    return torch.stack(path)


# Experiments against PyTorch and against matrices


@pytest.mark.parametrize(("lr", "beta", "nesterov"), ((0.3, 0.0, False), (0.7, 0.9, False), (0.7, 0.9, True)))
def test_paths_are_those_of_the_library(lr, beta, nesterov):
    path = experiments.descend(RANDOM, RANDOM.flip(0), lr, beta, 25, nesterov)
    torch.testing.assert_close(path.w, torch_path(RANDOM, RANDOM.flip(0), lr, beta, 25, nesterov))
    torch.testing.assert_close(path.loss, 0.5 * (RANDOM * path.w**2).sum(1))
    assert math.isclose(path.condition_number, (RANDOM.max() / RANDOM.min()).item())


def test_steps_needed_stay_needed():
    for lr, beta in ((3.3, 0.67), (1.9, 0.0), (2.1, 0.0), (1.0, 0.9)):
        path = experiments.descend(VALLEY, START, lr, beta, 150)
        needed = path.steps_needed
        below = (path.loss < 1e-6).tolist()
        if needed is None:
            assert not below[-1]
        else:
            assert all(below[needed:]) and not below[needed - 1]
    assert experiments.descend(VALLEY, 0 * START, 1, 0, 5).steps_needed == 0


@pytest.mark.parametrize("nesterov", (False, True))
def test_roots_are_eigenvalues_of_the_step(nesterov):
    for curvature in (0.02, 0.5, 1.0):
        for lr in (0.1, 1.0, 2.5, 3.9):
            for beta in (0.0, 0.3, 0.9):
                # One step as a matrix on (w, v).
                ahead = 1 + beta if nesterov else 1
                old = beta**2 if nesterov else beta
                step = torch.tensor(
                    [[1 - lr * curvature * ahead, -lr * old], [curvature, beta]], dtype=torch.float64
                )
                expected = torch.linalg.eigvals(step).abs().max().item()
                one = torch.tensor([curvature], dtype=torch.float64)
                assert math.isclose(experiments.rate(one, lr, beta, nesterov), expected, abs_tol=1e-7)


@pytest.mark.parametrize("nesterov", (False, True))
def test_the_plane_holds_the_rates_of_all_curvatures_between(nesterov):
    lrs = torch.linspace(0.05, 4, 9, dtype=torch.float64)
    betas = torch.linspace(0, 0.98, 8, dtype=torch.float64)
    between = torch.linspace(0.04, 1, 50, dtype=torch.float64)
    plane = experiments.rate_plane(0.04, lrs, betas, nesterov)
    for row, beta in enumerate(betas.tolist()):
        for column, lr in enumerate(lrs.tolist()):
            expected = experiments.rate(between, lr, beta, nesterov)
            assert math.isclose(plane[row, column].item(), expected, abs_tol=1e-7)


@pytest.mark.parametrize("condition", (1.5, 25, 400))
def test_the_best_are_the_best_of_a_plane(condition):
    lrs = torch.linspace(0.01, 4, 400, dtype=torch.float64)
    betas = torch.linspace(0, 0.99, 397, dtype=torch.float64)
    plane = experiments.rate_plane(1 / condition, lrs, betas)
    lr, plain = experiments.best_gradient_descent(1 / condition, 1)
    assert plain <= plane[0].min() < plain + 0.01
    ends = torch.tensor([1 / condition, 1], dtype=torch.float64)
    assert math.isclose(experiments.rate(ends, lr, 0.0), plain, rel_tol=1e-9)
    lr, beta, ball = experiments.best_heavy_ball(1 / condition, 1)
    assert ball - 1e-9 <= plane.min() < ball + 0.02
    assert math.isclose(experiments.rate(ends, lr, beta), ball, rel_tol=1e-5)


def test_averages_against_their_weights():
    values = torch.arange(6.0, dtype=torch.float64) ** 2
    plain, corrected = experiments.moving_average(values, 0.8)
    for t in range(1, 7):
        weights = 0.2 * 0.8 ** torch.arange(t - 1, -1, -1, dtype=torch.float64)
        torch.testing.assert_close(plain[t - 1], (weights * values[:t]).sum())
        torch.testing.assert_close(corrected[t - 1], (weights * values[:t]).sum() / weights.sum())


@pytest.mark.parametrize(
    ("batch_size", "falls", "start"),
    (
        (16, False, "at the full rate"),
        (16, True, "at the full rate"),
        (None, False, "at the full rate"),
        (16, False, "with the ramp 1 − 0.9^t"),
        (16, True, "with 100 steps of warm-up"),
    ),
)
def test_digits_are_trained_as_the_library_would(batch_size, falls, start):
    """One of several runs side by side follows `torch.optim.SGD` on its own."""
    ramp = {"at the full rate": (1, 1, 1, 1), "with the ramp 1 − 0.9^t": (0.1, 0.19, 0.271, 0.3439)}
    parts = (*ramp.get(start, (0.01, 0.02, 0.03, 0.04)), 0)
    _, curves = experiments.train_digits(
        [2, 3],
        (0.3, 1.0),
        0.9,
        batch_size,
        steps=4,
        every=1,
        falls=falls,
        start=experiments.SLOW_STARTS.get(start, lambda step: 1.0),
    )
    assert curves.shape == (2, 2, 5)
    generator = torch.Generator().manual_seed(3)
    shapes = ((64, 32), 64), ((1, 32), 64), ((32, 10), 32), ((1, 10), 32)
    w = [
        ((2 * torch.rand(shape, generator=generator) - 1) / fan_in**0.5).requires_grad_()
        for shape, fan_in in shapes
    ]
    data = split_digits(3)
    optimizer = torch.optim.SGD(w, lr=0.1, momentum=0.9)

    def loss(x, y):
        return nn.functional.cross_entropy(torch.relu(x @ w[0] + w[1]) @ w[2] + w[3], y)

    for step in range(5):
        assert math.isclose(curves[1, 1, step], loss(data.train_x, data.train_y).item(), rel_tol=1e-4)
        rows = torch.arange(len(data.train_x))
        if batch_size is not None:
            rows = torch.randint(len(data.train_x), (batch_size,), generator=generator)
        optimizer.param_groups[0]["lr"] = 0.1 * parts[step] * ((1 - step / 5) if falls else 1)
        optimizer.zero_grad()
        loss(data.train_x[rows], data.train_y[rows]).backward()
        optimizer.step()


def test_noise_is_lent_at_the_lenders_weights():
    """Without momentum the lender is plain descent itself, and what it lends is its own noise."""
    lent = experiments.lend_noise([2, 3], a=0.5, beta=0.0, steps=100)
    _, curves = experiments.train_digits([2, 3], (0.5,), 0.0, 16, steps=100, every=50)
    torch.testing.assert_close(lent.loss, curves[0].mean(dim=1), rtol=1e-4, atol=0)
    other = experiments.lend_noise([2, 3], a=0.5, beta=0.9, steps=100)
    assert (other.loss - lent.loss).abs().min() > 1e-3


def test_halfway_is_where_the_lender_is_halfway():
    lent = experiments.lend_noise([2, 3], a=0.5, steps=100)
    whole, batches = experiments.halfway([2, 3], a=0.5, steps=50)
    torch.testing.assert_close(whole, lent.whole)
    torch.testing.assert_close(batches, lent.batches)


def test_clipped_gradients_make_steps_no_longer_than_the_threshold():
    """A step of plain descent from the start, clipped, against the same step made by hand."""
    images, labels, _, weights = experiments._begin([2])
    gradients = experiments._gradients(weights, images, labels)
    length = torch.cat([g.flatten() for g in gradients]).norm().item()
    for clip, part in ((length / 4, 0.25), (2 * length, 1.0)):
        _, loss = experiments.train_digits([2], (0.5,), 0.0, None, steps=1, every=1, clip=clip)
        moved = [w - 0.5 * part * g for w, g in zip(weights, gradients, strict=True)]
        expected = experiments._losses(moved, images, labels).double()
        torch.testing.assert_close(loss[0, :, 1], expected, rtol=1e-5, atol=0)


def test_the_steepness_of_a_network():
    seeds = [2, 3]
    images, labels, _, weights = experiments._begin(seeds)
    x, y = images[:, :40], labels[:, :40]
    found = experiments._sharpness(weights, x, y)
    for k in range(len(seeds)):
        shapes = [w[k].shape for w in weights]

        def loss(w, k=k, shapes=shapes):
            parts = [p.view(s) for p, s in zip(w.split([s.numel() for s in shapes]), shapes, strict=True)]
            return nn.functional.cross_entropy(
                torch.relu(x[k] @ parts[0] + parts[1]) @ parts[2] + parts[3], y[k]
            )

        w = torch.cat([weight[k].flatten() for weight in weights])
        values = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, w).double())
        assert found[k].item() == pytest.approx(values.max().item(), rel=0.02)


def test_a_rate_that_left_the_numbers_is_not_the_best():
    loss = torch.tensor([[[2.0, 2.0], [math.nan, math.nan]]] * 2)
    sweep = experiments.Sweep((0.1, 1.0), torch.arange(3), loss[..., None].expand(-1, -1, -1, 3))
    assert sweep.best_rates == (0.1, 0.1)
    assert [least.tolist() for least in sweep.least] == [[2, 2], [2, 2]]
    assert experiments.at_one_rate(sweep.last[0]).tolist() == [2, 2]


def test_a_sweep_finds_each_arms_best_rate():
    loss = torch.tensor([[[3.0, 3.0, 3.0], [1.0, 2.0, 9.0]], [[1.0, 1.0, 1.0], [0.0, 5.0, 5.0]]])
    sweep = experiments.Sweep((0.1, 1.0), torch.arange(3), loss[..., None].expand(-1, -1, -1, 3))
    assert sweep.best_rates == (1.0, 0.1)
    assert [best.tolist() for best in sweep.best] == [[1, 2, 9], [1, 1, 1]]
    assert [least.tolist() for least in sweep.least] == [[1, 2, 3], [0, 1, 1]]
    assert experiments.at_one_rate(sweep.last[0]).tolist() == [1, 2, 9]


# What the lecture says in numbers


def test_velocity_of_gradients_that_agree_or_alternate():
    v = w = 0.0
    for step in range(400):
        v, w = 0.9 * v + 1, 0.9 * w + (-1) ** step
    assert math.isclose(v, 1 / (1 - 0.9)) and math.isclose(abs(w), 1 / (1 + 0.9))


def test_ranges_of_stable_learning_rates():
    one = torch.ones(1, dtype=torch.float64)
    for beta in (0.0, 0.3, 0.9):
        for nesterov, limit in ((False, 2 * (1 + beta)), (True, 2 * (1 + beta) / (1 + 2 * beta))):
            assert experiments.rate(one, limit - 1e-3, beta, nesterov) < 1
            assert experiments.rate(one, limit + 1e-3, beta, nesterov) > 1


def test_complex_roots_have_the_size_of_the_root_of_beta():
    for lr in (0.3, 1.0, 3.0):
        z = experiments.roots(RANDOM, lr, 0.8)
        torch.testing.assert_close(z.prod(-1).real, torch.full_like(RANDOM, 0.8))
        swinging = z.imag.abs().amax(-1) > 1e-9
        assert swinging.any()
        assert (z[swinging].abs() - 0.8**0.5).abs().max() < 1e-9
        assert experiments.rate(RANDOM, lr, 0.8) >= 0.8**0.5 - 1e-9


def test_the_best_pair_has_double_roots_at_both_ends():
    lr, beta, _ = experiments.best_heavy_ball(0.01, 1)
    z = experiments.roots(VALLEY, lr, beta)
    assert (z[:, 0] - z[:, 1]).abs().max() < 1e-6
    assert round(lr, 1) == 3.3 and round(beta, 2) == 0.67


def test_steps_for_a_digit():
    _, plain = experiments.best_gradient_descent(0.01, 1)
    _, _, ball = experiments.best_heavy_ball(0.01, 1)
    assert (plain, ball) == pytest.approx((99 / 101, 9 / 11))
    assert round(experiments.steps_per_digit(plain)) == 115
    assert round(experiments.steps_per_digit(ball), 1) == 11.5  # 12 in the opening
    assert experiments.steps_per_digit(1.0) == math.inf and experiments.steps_per_digit(0.0) == 0


def test_what_was_to_be_seen_in_the_valley():
    loss = {
        (lr, beta): experiments.descend(VALLEY, START, lr, beta, 100)
        for lr, beta in ((1.98, 0.0), (3.3, 0.67), (1.0, 0.99))
    }
    assert loss[1.98, 0.0].loss.min() > 1e-3
    assert loss[3.3, 0.67].steps_needed < 60
    assert loss[3.3, 0.67].loss[1] > loss[3.3, 0.67].loss[0]  # it rises first
    swing = loss[1.0, 0.99].w[-40:, 0]
    assert swing.max() > 1 and swing.min() < -1


@pytest.mark.parametrize("beta", (0.0, 0.5, 0.9))
def test_the_conversion_table(beta):
    start = torch.tensor([1.0, -2.0], dtype=torch.float64)

    def run(form, lr):
        return experiments.run_form(form, lambda w: VALLEY * w, start, [lr] * 15, beta)

    expected = torch_path(VALLEY, start, 0.2, beta, 15)
    for form, lr in (("pytorch", 0.2), ("textbook", 0.2), ("polyak", 0.2), ("average", 0.2 / (1 - beta))):
        torch.testing.assert_close(run(form, lr), expected)
    if beta:
        ahead = torch_path(VALLEY, start, 0.2, beta, 15, nesterov=True)
        for form in ("nesterov pytorch", "nesterov textbook"):
            torch.testing.assert_close(run(form, 0.2), ahead)
        assert (run("average", 0.2) - expected).abs().max() > 0.01
    with pytest.raises(ValueError, match="unknown form"):
        run("another", 0.1)


def test_a_learning_rate_that_falls():
    def last(form):
        start = torch.zeros(1, dtype=torch.float64)
        return experiments.run_form(form, torch.ones_like, start, [0.1, 0.1, 0.01], 0.9)[-1].item()

    assert round(last("pytorch"), 4) == -0.3171
    assert round(last("textbook"), 4) == round(last("polyak"), 4) == -0.471


def test_dampening_leaves_the_first_velocity_whole():
    w = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=1.0, momentum=0.9, dampening=0.9)
    w.sum().backward()
    optimizer.step()
    assert w.item() == -1  # ten times the 0.1 of the average form


def test_paths_of_the_quiz():
    one = torch.zeros(1, dtype=torch.float64)
    ends = {
        form: experiments.run_form(form, torch.ones_like, one, [0.1] * 3, beta)[-1].item()
        for form, beta in (("pytorch", 0.9), ("average", 0.9), ("nesterov pytorch", 0.9))
    }
    assert ends == pytest.approx({"pytorch": -0.561, "average": -0.0561, "nesterov pytorch": -0.8049})


def test_momentum_of_batch_normalization_weighs_the_new():
    x = torch.tensor([[4.0], [6.0]])
    for momentum, expected in ((0.1, 0.5), (0.9, 4.5)):
        layer = nn.BatchNorm1d(1, momentum=momentum)
        layer(x)
        assert math.isclose(layer.running_mean.item(), expected, rel_tol=1e-6)
    assert nn.BatchNorm1d(1).momentum == 0.1


def test_bias_below_one_percent():
    for beta, t in ((0.9, 44), (0.99, 459)):
        assert beta**t < 0.01 <= beta ** (t - 1)


@pytest.mark.parametrize("effective_lr", (0.05, 1.5))
def test_the_noise_of_the_weights_is_that_of_the_formula(effective_lr):
    noise = experiments.noise_floor([0.0, 0.5, 0.9], effective_lr, seeds=[7, 8])
    assert noise.floor.shape == noise.step_spread.shape == (3, 2)
    for i, beta in enumerate(noise.betas.tolist()):
        theory = experiments.stationary_variance(effective_lr * (1 - beta), beta)
        assert noise.floor[i].mean().item() == pytest.approx(theory, rel=0.05)
        # Independently: the variance that one step leaves as it is, P = A P Aᵀ + Q.
        lr = effective_lr * (1 - beta)
        step = torch.tensor([[1 - lr, -lr * beta], [1, beta]], dtype=torch.float64)
        kick = torch.tensor([[-lr], [1.0]], dtype=torch.float64)
        squared = torch.eye(4, dtype=torch.float64) - torch.kron(step, step)
        exact = torch.linalg.solve(squared, (kick @ kick.T).reshape(4))
        assert theory == pytest.approx(exact[0].item())


def test_the_noise_explorers_spreads():
    state = experiments.noisy_ball(1.5, 0.9, 4)
    assert state.plain_spread == pytest.approx(math.sqrt(3 / 4))
    assert state.spread == pytest.approx(math.sqrt(0.78082 / 4), rel=1e-4)
    assert state.plain.shape == state.ball.shape == (200,)


def test_critical_damping_is_where_the_roots_meet():
    for product in (0.01, 0.3, 1.0):
        curvature = torch.tensor([product], dtype=torch.float64)
        critical = experiments.critical_beta(product)
        z = experiments.roots(curvature, 1.0, critical)
        assert (z[0, 0] - z[0, 1]).abs() < 1e-6
        assert experiments.roots(curvature, 1.0, critical + 0.01).imag.abs().max() > 0.01
    assert math.isclose(experiments.critical_beta(0.01), 0.81)


def test_steps_at_the_best_point_are_counted():
    for condition, expected in ((25, 45), (100, 95), (400, 198), (10_000, 1074)):
        ends = torch.tensor([1 / condition, 1], dtype=torch.float64)
        lr, beta, ball = experiments.best_heavy_ball(1 / condition, 1)
        assert experiments.steps_to(ends, lr, beta) == expected
        path = experiments.descend(ends, torch.ones_like(ends), lr, beta, 60)
        t = torch.arange(61, dtype=torch.float64)
        exact = ball**t * (1 + t * (1 - lr / condition - ball) / ball)
        torch.testing.assert_close(path.w[:, 0], exact, rtol=1e-6, atol=1e-9)
        assert path.w[1, 1].abs() > 1  # along the steepest direction it grows first


def test_the_heavy_ball_circles_where_the_bowl_is_no_quadratic():
    path = experiments.lessard_path(3.3, 300)
    torch.testing.assert_close(path[-3:], path[-6:-3])
    assert path[-6:].abs().min() > 0.6
    assert experiments.lessard_path(3.0, 300)[-1].abs() < 1e-6


def test_a_schedule_is_converted():
    lrs = [0.1, 0.3, 0.03, 0.02]
    start = torch.tensor([1.0, -2.0], dtype=torch.float64)
    reference = experiments.run_form("pytorch", lambda w: VALLEY * w, start, lrs, 0.9)
    betas = experiments.corrected_betas(lrs, 0.9)
    torch.testing.assert_close(
        experiments.run_form("textbook", lambda w: VALLEY * w, start, lrs, betas), reference
    )
    back = [0.9] + [0.9 * before / lr for before, lr in itertools.pairwise(lrs)]
    torch.testing.assert_close(
        experiments.run_form("pytorch", lambda w: VALLEY * w, start, lrs, back),
        experiments.run_form("textbook", lambda w: VALLEY * w, start, lrs, 0.9),
    )


@pytest.mark.parametrize("nesterov", (False, True))
@pytest.mark.parametrize("beta", (0.0, 0.5, 0.9))
def test_the_largest_stable_rate_is_that_of_the_formula(beta, nesterov):
    exact = 2 * (1 + beta) / ((1 + 2 * beta) if nesterov else 1)
    assert experiments.largest_stable_lr(1.0, beta, nesterov) == pytest.approx(exact)
    assert experiments.largest_stable_lr(4.0, beta, nesterov) == pytest.approx(exact / 4)


@pytest.mark.parametrize("beta", (0.5, 0.9, 0.99))
def test_values_until_little_is_missing_are_counted(beta):
    weights, t = 0.0, 0
    while 1 - weights >= 0.01:
        weights, t = beta * weights + (1 - beta), t + 1
    assert experiments.values_until(0.01, beta) == t


@pytest.mark.parametrize("effective_lr", (0.05, 1.5))
def test_momentum_against_noise_is_that_of_a_long_path(effective_lr):
    bowl = experiments.noise_floor([0.0, 0.9], effective_lr, [0])
    measured = 100 * (bowl.floor[1] / bowl.floor[0]).item()
    assert experiments.floor_with_momentum(effective_lr, 0.9) == pytest.approx(measured, rel=0.1)


# What is drawn and moved


def test_pictures():
    steps, loss = torch.arange(4), torch.rand(2, 2, 2, 4, dtype=torch.float64)
    sweep = experiments.Sweep((0.1, 1.0), steps, loss)
    check_picture(figures.draw_two_lengths(sweep))
    check_picture(figures.draw_sweeps(dict.fromkeys(experiments.ARMS, sweep)))
    one = torch.ones(1, dtype=torch.float64)
    path = experiments.descend(0.01 * one, one, 1.0, 0.5, 10)
    check_picture(figures.draw_damping(0.01, [("a", path)] * 3))


@pytest.mark.parametrize("make", (explorers.valley_explorer, explorers.rate_plane_explorer))
def test_goals_ask_for_momentum(make):
    explorer = make()

    def reached(**settings) -> bool:
        return explorer.compute(**explorer.start | {"condition": 100} | settings)["reached"]

    assert not any(reached(beta=0, lr=lr) for lr in (0.5, 1.0, 1.9, 1.95))
    assert reached(beta=0.68, lr=3.3)
    assert not reached(beta=0.68, lr=3.3, condition=25)


def test_the_goal_of_the_averages_is_within_reach():
    explorer = explorers.averages_explorer()
    settings = explorer.start | {"noise": 1}
    assert not explorer.compute(**settings)["reached"]
    assert explorer.compute(**settings | {"beta": 0.95})["reached"]
    assert not explorer.compute(**settings | {"beta": 0.95, "noise": 0})["reached"]


def test_the_goal_under_noise_needs_momentum():
    explorer = explorers.noise_explorer()
    settings = explorer.start | {"length": 1.5, "batch_size": 4}
    assert not explorer.compute(**settings)["reached"]
    assert explorer.compute(**settings | {"beta": 0.9})["reached"]
