"""Day 25: what the lecture computes, says in numbers, and lets a student move."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course.experiments import day25 as experiments
from course.explorers import day25 as explorers
from course.figures import day25 as figures
from graders.judging.references import day25 as references
from tests.lectures.common import Moves, check_picture

#: What test_explorers.py moves.
EXPLORERS = {
    "layers": Moves(
        explorers.layers_explorer,
        {"depth": (2, 30), "activation": tuple(experiments.ACTIVATIONS), "gain": (0.3, 3)},
    ),
    "bowl": Moves(
        explorers.bowl_explorer,
        {"scale": (0.2, 5), "offset": (0, 6), "correlation": (-0.9, 0, 0.8), "part": (0, 0.5, 1)},
        # Standardized features have forgotten their scale and their offset.
        frames=2 * 2 * 3 * 2 + 3,
    ),
}

GAINS = (0.3, 0.7, 1.0, 1.5, 2.0, 3.0)


# What is computed


@pytest.mark.parametrize("shape", ((2, 1), (5, 3), (64, 10)))
@pytest.mark.parametrize("offset", (0.0, 1e3))
def test_standardize_agrees_with_the_library(shape, offset):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + offset
    expected = F.batch_norm(x, None, None, training=True, eps=1e-5)
    torch.testing.assert_close(experiments.standardize(x), expected)


@pytest.mark.parametrize("activation", ("linear", "sigmoid", "tanh", "ReLU"))
@pytest.mark.parametrize("normalized", (False, True))
def test_a_report_agrees_with_a_network_of_the_library(activation, normalized):
    depth, seed, gain = 4, 3, 1.3
    report = experiments.layer_report(depth, activation, [gain, 0.5], [seed, 1], normalized)
    functions = {"linear": nn.Identity, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "ReLU": nn.ReLU}
    layers, linears = [], []
    for weight in experiments.deep_weights(depth, [gain], [seed]):
        linear = nn.Linear(*weight.shape[1:], bias=False, dtype=weight.dtype)
        linear.weight.data = weight[0].T
        linears.append(linear)
        layers.append(linear)
        if len(linears) <= depth:
            if normalized:
                layers.append(nn.BatchNorm1d(len(linear.weight), dtype=weight.dtype))
            layers.append(functions[activation]())
    model = nn.Sequential(*layers)
    digits = experiments.digits_for(seed)
    x, labels = digits.train_x[:64], digits.train_y[:64]
    grads = torch.autograd.grad(F.cross_entropy(model(x), labels), [linear.weight for linear in linears])
    norms = torch.stack([grad.norm() for grad in grads[:-1]])
    torch.testing.assert_close(report.gradients[0], norms)
    torch.testing.assert_close(report.ratio[0], norms[0] / norms[-1])
    stds = references.by_population(model, x)[:, 1]
    behind = [i for i, layer in enumerate(model) if isinstance(layer, functions[activation])]
    torch.testing.assert_close(report.activations[0], stds[behind].to(norms.dtype))


def test_networks_side_by_side_do_not_meet():
    alone = experiments.layer_report(3, "tanh", [1.0], [5], True)
    among = experiments.layer_report(3, "tanh", [2.0, 1.0], [4, 5], True)
    torch.testing.assert_close(alone.gradients[0], among.gradients[1])
    gains = torch.tensor([1.0, 1.4], dtype=torch.float64)
    together = experiments.train_deep(gains, (0, 1), depth=3, steps=5)
    single = experiments.train_deep(gains[1:], (1,), depth=3, steps=5)
    assert together.plain.shape == (2, 2)
    torch.testing.assert_close(together.plain[1, 1:], single.plain[0])
    torch.testing.assert_close(together.normalized[1, 1:], single.normalized[0])


def test_the_hessian_is_autograd_s():
    x = experiments.cloud(20, 0.3) + 1
    targets = x.sum(1).sin()
    hessian = torch.autograd.functional.hessian(
        lambda w: 0.5 * (x @ w - targets).square().mean(), torch.ones(2, dtype=x.dtype)
    )
    torch.testing.assert_close(experiments.hessian(x), hessian)
    assert experiments.condition_number(x) == pytest.approx(torch.linalg.cond(hessian).item())


@pytest.mark.parametrize("correlation", (-0.9, 0.0, 0.5))
def test_the_cloud_has_its_moments_exactly(correlation):
    x = experiments.cloud(80, correlation)
    expected = torch.tensor([[1, correlation], [correlation, 1]], dtype=x.dtype)
    torch.testing.assert_close(experiments.hessian(x), expected)
    torch.testing.assert_close(x.mean(0), torch.zeros(2, dtype=x.dtype))


@pytest.mark.parametrize("scale", (0.2, 1.0, 5.0))
@pytest.mark.parametrize("correlation", (-0.8, 0.0, 0.5))
def test_the_descent_into_the_bowl_is_gradient_descent(scale, correlation):
    x = experiments.cloud(40, correlation) * torch.tensor([1, scale], dtype=torch.float64) + 0.5
    bowl = experiments.bowl(x)
    hessian = experiments.hessian(x)
    level = 0.5 * (bowl.level @ hessian * bowl.level).sum(1)
    torch.testing.assert_close(level, level[0].expand_as(level))
    assert bowl.level.norm(dim=1).max().item() == pytest.approx(1, abs=1e-3)
    lr = 2 / bowl.eigenvalues.sum()
    w = bowl.path[0]
    start = 0.5 * w @ hessian @ w
    assert start.item() == pytest.approx(level[0].item())
    kappa = bowl.condition_number
    for step, place in enumerate(bowl.path):
        torch.testing.assert_close(w, place)
        loss = (0.5 * w @ hessian @ w / start).item()
        assert loss == pytest.approx(bowl.losses[step].item())
        assert loss == pytest.approx(((kappa - 1) / (kappa + 1)) ** (2 * step))
        w = w - lr * hessian @ w
    if bowl.steps_to < len(bowl.losses):
        assert bowl.losses[bowl.steps_to] <= 1e-3 < bowl.losses[bowl.steps_to - 1]


# What the lecture says in numbers


def test_the_products_of_the_text():
    assert round(0.8**30, 3) == 0.001
    assert round(1.25**30, -2) == 800
    z = torch.linspace(-30, 30, 6001, dtype=torch.float64, requires_grad=True)
    for function, most in ((torch.sigmoid, 0.25), (torch.tanh, 1.0)):
        (slope,) = torch.autograd.grad(function(z).sum(), z)
        assert slope.max().item() == pytest.approx(most)
        assert slope.argmax() == 3000  # at z = 0
        assert slope[0] < 1e-9


def test_the_gain_multiplies_the_variance():
    generator = torch.Generator().manual_seed(0)
    h = torch.rand(200, 50, generator=generator, dtype=torch.float64)
    weight = 1.3 / math.sqrt(50) * torch.randn(50, 20_000, generator=generator, dtype=torch.float64)
    assert (h @ weight).var().item() == pytest.approx(1.3**2 * h.square().mean().item(), rel=0.03)
    z = torch.randn(100_000, generator=generator, dtype=torch.float64)
    assert torch.relu(z).square().mean().item() == pytest.approx(0.5, rel=0.02)  # half of the mean square


def test_what_was_to_be_seen_in_the_layers():
    for gain in GAINS:
        assert experiments.layer_report(30, "sigmoid", [gain], [0], False).ratio < (1e-3 if gain < 3 else 1)
        relu = experiments.layer_report(30, "ReLU", [gain], [0], False).gradients[0]
        assert relu.max() / relu.min() < 10  # nearly flat
    small = experiments.layer_report(20, "tanh", [0.5], [0], False)
    assert (small.activations[0].diff() < 0).all()
    assert small.activations[0, -1] < 1e-5 and small.gradients[0, 0] < 1e-4
    large = experiments.layer_report(30, "tanh", [3.0], [0], False)
    assert large.ratio > 1000 and large.activations[0].min() > 0.8  # saturated, and exploding
    assert experiments.layer_report(30, "ReLU", [0.5], [0], False).gradients.max() < 0.5**30 * 1e-3
    normalized = experiments.layer_report(30, "ReLU", [1.0], [0], True)
    assert normalized.ratio > 200


def test_the_goal_of_a_stable_relu_network_is_within_reach():
    explorer = explorers.layers_explorer()
    explorer.controls["depth"].value = 30
    explorer.controls["activation"].value = "ReLU"
    assert "not yet" in explorer.goal_line.value
    explorer.controls["gain"].value = 1.5
    assert "reached" in explorer.goal_line.value


def test_the_goal_of_the_bowl_needs_standardizing():
    explorer = explorers.bowl_explorer()
    explorer.controls["correlation"].value = 0.8
    assert "not yet" in explorer.goal_line.value
    explorer.controls["part"].value = 1
    assert "reached" in explorer.goal_line.value
    assert explorer.state.condition_number == pytest.approx(9)


@pytest.mark.parametrize("rho", (0.0, 0.5, -0.8, 0.9))
def test_what_correlation_leaves(rho):
    x = experiments.cloud(80, rho)
    least = (1 + abs(rho)) / (1 - abs(rho))
    assert experiments.condition_number(x) == pytest.approx(least)
    for scale in (0.3, 0.9, 1.1, 4.0):
        scaled = x * torch.tensor([1, scale], dtype=x.dtype)
        assert experiments.condition_number(scaled) > least
        assert experiments.condition_number(experiments.standardize(scaled, eps=0.0)) == pytest.approx(least)


def test_the_small_feature_is_the_flat_direction():
    bowl = experiments.bowl(experiments.cloud(80, 0.0) * torch.tensor([1.0, 4.0], dtype=torch.float64))
    assert bowl.level[:, 0].abs().max() > 0.99 and bowl.level[:, 1].abs().max() == pytest.approx(
        0.25, abs=1e-3
    )
    assert experiments.bowl(experiments.cloud(80, 0.0)).steps_to == 1


def test_the_flats():
    flats = torch.tensor([[35, 1], [48, 2], [62, 2], [75, 3], [90, 3], [120, 5]], dtype=torch.float64)
    centred = flats - flats.mean(0)
    scaled = flats / flats.std(0, correction=0)
    whole = experiments.standardize(flats)
    kappas = [experiments.condition_number(x) for x in (flats, centred, scaled, whole)]
    assert kappas[0] > max(kappas[1:3]) and min(kappas[1:3]) > kappas[3] > 50
    assert torch.corrcoef(flats.T)[0, 1] > 0.9


def test_inner_layers_lose_what_the_inputs_had():
    conditions = experiments.inner_conditions(range(10))
    plain, better = conditions.plain.median(0).values, conditions.standardized.median(0).values
    assert (conditions.plain[:, 0] < 1.5).all()
    assert (plain.diff() > 0).all()
    assert plain[1] > 30 and plain[3] > 1000
    assert 10 < better[1] < plain[1] and better[3] < 50
    # One layer is enough, in every seed.
    assert (conditions.plain[:, 1] > 20).all()


def test_scales_leave_one_in_training():
    drift = experiments.drift_of_scales(range(5), depth=4)
    assert drift.stds.shape == (5, 151, 4)
    torch.testing.assert_close(drift.stds[:, 0], torch.ones(5, 4, dtype=torch.float64))
    assert (drift.change[:, :-1] < drift.change[:, -1:]).all()  # the last layer's most
    assert (drift.change[:, -1] > 4 / 3).all()
    assert (drift.change > 1.05).all()


def test_the_verdict_before_training():
    gains = torch.logspace(-0.5, 0.5, 9, dtype=torch.float64)
    assert gains[0].item() == pytest.approx(0.32, abs=0.005) and gains[-1] / gains[0] == pytest.approx(10)
    sweep = experiments.gain_sweep(gains, range(10), depth=30)
    for name, decades in (("tanh", 17), ("ReLU", 28)):
        plain, normalized = (
            (norms[name].amax(0) / norms[name].amin(0)).log10() for norms in (sweep.plain, sweep.normalized)
        )
        assert (plain > decades).all()
        assert (normalized - 1).abs().max() < 0.15
        # It is 1 / gain, but for eps.
        product = sweep.normalized[name] * gains[:, None]
        assert (product[2:] / product[-1]).sub(1).abs().max() < 0.2
    assert sweep.normalized_ratio["ReLU"].min() > 200
    assert sweep.normalized_ratio["tanh"].min() > 10


def test_without_eps_the_gradient_is_exactly_one_over_gain(monkeypatch):
    exact = experiments.standardize
    monkeypatch.setattr(experiments, "standardize", lambda x, eps=0.0, dim=0: exact(x, 0.0, dim))
    report = experiments.layer_report(10, "tanh", [0.4, 0.8], [0, 0], True)
    torch.testing.assert_close(report.gradients[0], 2 * report.gradients[1])


def test_the_verdict_in_training():
    gains = torch.tensor([0.5, 1.0, 1.4, 2.0, 2.8], dtype=torch.float64)
    training = experiments.train_deep(gains, range(5), depth=10, steps=60)
    plain, normalized = training.plain.median(1).values, training.normalized.median(1).values
    assert (plain > 0.2).tolist() == [False, False, True, False, False]
    assert (training.normalized > 0.2).all()
    assert (normalized > 0.8).tolist() == [True, True, False, False, False]
    assert (normalized.diff() < 0).all()
    assert normalized[0] == pytest.approx(0.9, abs=0.05) and normalized[-1] == pytest.approx(0.4, abs=0.08)


def test_the_factors_of_the_quiz():
    scaled = experiments.cloud(80, 0.0) * torch.tensor([1.0, 100.0], dtype=torch.float64)
    assert experiments.condition_number(scaled) == pytest.approx(10_000)
    assert torch.linalg.eigvalsh(torch.tensor([[1, 0.8], [0.8, 1]])).tolist() == pytest.approx([0.2, 1.8])


# What is drawn


def test_pictures():
    gains = torch.tensor([0.5, 2.0], dtype=torch.float64)
    sweep = experiments.gain_sweep(gains, range(2), depth=3)
    drift = experiments.drift_of_scales(range(2), depth=4, steps=2)
    training = experiments.train_deep(gains, range(2), depth=2, steps=2)
    for picture in (
        figures.draw_gain_sweep(sweep),
        figures.draw_inner(experiments.inner_conditions(range(2)), drift),
        figures.draw_training(training),
    ):
        check_picture(picture)


def test_powers_are_readable():
    assert [figures.power(x) for x in (0, 0.05, 2.34, 123.4, 4e12, 3e-7)] == [
        "0", "0.05", "2.3", "123", "4 · 10¹²", "3 · 10⁻⁷",
    ]  # fmt: skip
