"""Day 34: what the lecture shows, and every number that it states."""

import math

import pytest
import torch
from torch import nn

from course.experiments import day34 as experiments
from course.experiments.day33 import rate
from course.explorers import day34 as explorers
from course.figures import day34 as figures
from tests.lectures.common import Moves, check_picture

EXPLORERS = {
    "the two by two": Moves(
        explorers.two_by_two_explorer,
        {"scale": (1, 5, 10), "correlation": (0.1, 0.5, 0.95), "whiten": (False, True)},
    ),
    "steps against the condition number": Moves(
        explorers.step_curves_explorer,
        {"before": (10.0, 1e2, 1e4), "power": (0, 0.25, 1), "tolerance": (1e-12, 1e-6, 0.1)},
    ),
}
LRS = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0]


# Experiments against other ways


@pytest.mark.parametrize("whiten", (False, True))
@pytest.mark.parametrize(("scale", "correlation"), ((1, 0.9), (4, 0.0), (10, 0.7)))
def test_four_paths_are_those_of_the_library_on_features(scale, correlation, whiten):
    """Features with exactly this covariance, a linear model, `torch.optim.SGD`."""
    noise = torch.randn(50, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    noise = noise - noise.mean(0)
    noise = noise @ experiments.root_of(noise.T @ noise / len(noise), -0.5)
    raw = experiments.covariance(scale, correlation)
    x = noise @ experiments.root_of(raw)
    torch.testing.assert_close(x.T @ x / len(x), raw)
    state = experiments.two_by_two(scale, correlation, whiten)
    target = x @ -state.panels["plain"].path[0]
    for name, (_, normalized) in experiments.RUNS.items():
        panel = state.panels[name]
        change = experiments.root_of(raw, -0.5) if whiten else raw.diagonal().rsqrt().diag()
        features = x @ change if normalized else x
        torch.testing.assert_close(features.T @ features / len(x), panel.hessian, atol=1e-9, rtol=1e-7)
        # The path is the distance from the solution, which is at -path[0] from a start at 0.
        w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([w], lr=panel.lr, momentum=panel.beta)
        for step in range(12):
            torch.testing.assert_close(w.detach() + panel.path[0], panel.path[step], atol=1e-9, rtol=1e-6)
            optimizer.zero_grad()
            (0.5 * (features @ w - target) ** 2).mean().backward()
            optimizer.step()


def test_steps_of_a_panel_are_the_first_for_good():
    panel = experiments.two_by_two(5, 0.5, False).panels["momentum"]
    loss = 0.5 * ((panel.path @ panel.hessian) * panel.path).sum(1)
    below = (loss <= 1e-6 * loss[0]).tolist()
    assert all(below[panel.steps :]) and not below[panel.steps - 1]
    assert experiments.two_by_two(10, 0.95, False).panels["plain"].steps is None


@pytest.mark.parametrize("tolerance", (1e-9, 1e-3, 0.3))
def test_steps_to_tolerance_by_counting(tolerance):
    for factor in (0.01, 0.5, 0.9, 0.99):
        k = experiments.steps_to_tolerance(factor, tolerance)
        assert factor**k <= tolerance * (1 + 1e-9) and factor ** (k - 1) > tolerance * (1 - 1e-9)


def test_best_rates_are_spectral_radii():
    for condition in (2.0, 50.0):
        ends = torch.tensor([1 / condition, 1.0], dtype=torch.float64)
        plain = rate(ends, 2 / (1 + 1 / condition), 0.0)
        assert math.isclose(experiments.best_rate(condition, False), plain, rel_tol=1e-9)
        root = math.sqrt(condition)
        assert math.isclose(experiments.best_rate(condition, True), (root - 1) / (root + 1), rel_tol=1e-9)


@pytest.mark.parametrize("normalized", (False, True))
def test_the_network_is_the_library_s(normalized):
    weights = experiments.initial_weights([torch.Generator().manual_seed(s) for s in (0, 1)], 8, 2)
    x = torch.rand(2, 20, 64, generator=torch.Generator().manual_seed(2))
    y = torch.arange(20).remainder(10).expand(2, -1)
    out = experiments.network(weights, x, normalized)
    for seed in range(2):
        h = x[seed]
        for layer in range(2):
            matrix, gamma, shift = (weights[3 * layer + i][seed] for i in range(3))
            h = h @ matrix
            if normalized:
                h = nn.functional.batch_norm(h, None, None, gamma[0], shift[0], training=True).relu()
            else:
                h = (h + shift).relu()
        expected = h @ weights[-2][seed] + weights[-1][seed]
        torch.testing.assert_close(out[seed], expected, rtol=1e-4, atol=1e-5)
        loss = nn.functional.cross_entropy(expected, y[seed])
        torch.testing.assert_close(experiments.cross_entropy(out, y)[seed], loss, rtol=1e-4, atol=1e-5)


def test_runs_follow_the_library_s_optimizer():
    run = experiments.digits_two_by_two([0.1], [5], steps=6, every=1, width=8, depth=1)
    data = experiments.split_digits(5)
    for name, (momentum, normalized) in experiments.RUNS.items():
        generator = torch.Generator().manual_seed(5)
        weights = [w.requires_grad_() for w in experiments.initial_weights([generator], 8, 1)]
        optimizer = torch.optim.SGD(weights, lr=0.1, momentum=0.9 * momentum)

        def loss(x, y, weights=weights, normalized=normalized):
            return experiments.cross_entropy(experiments.network(weights, x[None], normalized), y[None])[0]

        for step in range(7):
            expected = loss(data.train_x, data.train_y).item()
            assert math.isclose(run.loss[name][0, 0, step], expected, rel_tol=1e-3)
            rows = torch.randint(len(data.train_x), (64,), generator=generator)
            optimizer.zero_grad()
            loss(data.train_x[rows], data.train_y[rows]).backward()
            optimizer.step()


def test_first_steps_under_a_tolerance():
    loss = torch.tensor([[[2.0, 0.4, 0.2, 0.5], [2.0, 1.0, 1.0, math.inf]]])
    run = experiments.GridRun(torch.tensor([0.1]), torch.arange(0, 20, 5), {"plain": loss})
    assert run.steps_to("plain", 0.3).tolist() == [[10, math.inf]]


# What the lecture says in numbers


def test_three_troubles():
    found = {t.name: (t.raw, t.standardized, t.whitened) for t in experiments.troubles()}
    assert found["scale 10"] == pytest.approx((100, 1, 1))
    assert found["correlation 0.95"] == pytest.approx((39, 39, 1))
    raw, standardized, _ = found["offset 10"]
    assert raw > 10_000 and standardized == 1
    # The Hessian of a weight and a bias, from samples.
    x = torch.tensor([9.0, 11.0], dtype=torch.float64)
    rows = torch.stack([x, torch.ones_like(x)], dim=1)
    assert math.isclose(raw, experiments.condition_number(rows.T @ rows / 2), rel_tol=1e-6)


def test_what_was_to_be_seen_in_the_two_by_two():
    def steps(scale, correlation, whiten=False):
        return {n: p.steps for n, p in experiments.two_by_two(scale, correlation, whiten).panels.items()}

    scaled, correlated, white = steps(10, 0.0), steps(1, 0.95), steps(10, 0.95, True)
    assert scaled["normalization"] == scaled["both"] == 1 < scaled["momentum"] < scaled["plain"]
    assert correlated["normalization"] == correlated["plain"] > 3 * correlated["momentum"]
    assert correlated["both"] == correlated["momentum"]
    assert white["normalization"] == white["both"] == 1
    assert experiments.two_by_two(10, 0.95, True).panels["both"].beta < 1e-12


def test_standardizing_two_features_is_never_a_loss():
    for scale in (1, 2, 5):
        for correlation in (0.0, 0.5, 0.9):
            raw = experiments.condition_number(experiments.covariance(scale, correlation))
            after = experiments.condition_number(experiments.covariance(1, correlation))
            assert after <= raw * (1 + 1e-9)


def test_steps_go_as_kappa_and_its_root():
    for kappa in (100, 1000, 10_000):
        for momentum, size in ((False, kappa), (True, math.sqrt(kappa))):
            steps = experiments.steps_to_tolerance(experiments.best_rate(kappa, momentum), 1e-6)
            assert math.isclose(steps, size / 2 * math.log(1e6), rel_tol=0.02)


def test_power_one_half_makes_both_worth_the_same():
    for kappa in (100.0, 1e4):
        half = experiments.step_curves(kappa, 0.5, 1e-6).steps
        assert abs(half["momentum"] - half["normalization"]) <= 1
        nothing, perfect = (experiments.step_curves(kappa, p, 1e-6).steps for p in (1.0, 0.0))
        assert nothing["both"] == nothing["momentum"] and nothing["normalization"] == nothing["plain"]
        assert perfect["both"] == perfect["normalization"] == 1


def test_curves_hold_the_marks():
    state = experiments.step_curves(100.0, 0.25, 1e-6)
    for name, curve in (("plain", state.plain), ("momentum", state.momentum)):
        place = (state.condition - 100).abs().argmin()
        assert math.isclose(curve[place], state.steps[name], rel_tol=0.1)


def test_momentum_lengthens_a_weight_without_a_scale():
    plain = experiments.radial_parts(0.1, 0.0)
    same, matched = experiments.radial_parts(0.1, 0.9), experiments.radial_parts(0.01, 0.9)
    for radial in (plain, same, matched):
        assert radial.gradient.abs().max() < 1e-12
    assert plain.growth.max() < 1.3 and plain.growth.min() > 1.1  # a fifth or so
    assert same.growth.min() > 30
    assert matched.growth.min() > 3.5 and matched.growth.max() < 5.5  # about four to five times
    assert same.velocity.min() < -0.9 and same.velocity[1:].max() < 1e-12


def test_the_verdict_on_digits():
    run = experiments.digits_two_by_two(LRS, range(5))
    steps = {name: run.best_steps(name, 0.3) for name in experiments.RUNS}
    assert steps["momentum"].median() < steps["plain"].median()
    assert (2 * steps["normalization"] < steps["momentum"]).all()
    assert (2 * steps["both"] < steps["momentum"]).all()
    assert ((steps["both"] - steps["normalization"]).abs() <= 10).all()
    # More learning rates arrive at all.
    arrived = {name: run.steps_to(name, 0.3).median(1).values.isfinite().sum() for name in steps}
    assert arrived["normalization"] > arrived["plain"] and arrived["both"] > arrived["momentum"]
    check_picture(figures.draw_digits(run, 0.3))


def test_swinging_on_a_round_bowl():
    """The quiz: condition number 1, beta 0.9, lr as before."""
    one = torch.ones(1, dtype=torch.float64)
    assert math.isclose(rate(one, 1.0, 0.9), math.sqrt(0.9), rel_tol=1e-9)
    assert round(-1 / math.log10(math.sqrt(0.9))) == 44


# What is moved


def test_goal_of_the_two_by_two_needs_a_correlation():
    explorer = explorers.two_by_two_explorer()
    assert "not yet" in explorer.goal_line.value
    explorer.controls["scale"].value, explorer.controls["correlation"].value = 1, 0.95
    assert "reached" in explorer.goal_line.value
    explorer.controls["whiten"].value = True
    assert "not yet" in explorer.goal_line.value


def test_goal_of_the_curves_is_the_root():
    explorer = explorers.step_curves_explorer()
    reached = []
    for tenth in range(21):
        explorer.controls["power"].value = tenth / 20
        if "(<b style" in explorer.goal_line.value:
            reached.append(tenth / 20)
    assert reached == [0.5]
