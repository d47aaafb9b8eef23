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
        {"depth": (2, 17, 30), "activation": tuple(experiments.ACTIVATIONS), "gain": (0.3, 1.5, 3)},
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
    hidden = []
    h = x
    for layer in model:
        h = layer(h)
        if isinstance(layer, functions[activation]):
            hidden.append(h)
    arriving = torch.autograd.grad(F.cross_entropy(h, labels), hidden)
    torch.testing.assert_close(report.arriving[0], torch.stack([grad.norm() for grad in arriving]))
    stds = references.by_population(model, x)[:, 1]
    behind = [i for i, layer in enumerate(model) if isinstance(layer, functions[activation])]
    torch.testing.assert_close(report.activations[0], stds[behind].to(norms.dtype))


def test_networks_side_by_side_do_not_meet():
    alone = experiments.layer_report(3, "tanh", [1.0], [5], True)
    among = experiments.layer_report(3, "tanh", [2.0, 1.0], [4, 5], True)
    torch.testing.assert_close(alone.gradients[0], among.gradients[1])
    together = experiments.train_deep((1.0, 1.4), (0.1, 0.2), (0, 1), normalized=True, depth=3, steps=5)
    single = experiments.train_deep((1.4,), (0.2,), (1,), normalized=True, depth=3, steps=5)
    assert together.accuracy.shape == (2, 2, 2)
    torch.testing.assert_close(together.losses[1, 1, 1], single.losses[0, 0, 0], rtol=1e-4, atol=0)


@pytest.mark.parametrize("settings", [{}, {"residual": True}, {"adam": True}, {"squared": True}])
def test_training_as_the_library_does_it(settings):
    """Two layers and a readout, by torch.optim."""
    gain, rate, steps, seed = 1.2, 0.05, 4, 1
    found = experiments.train_deep(
        (gain,), (rate,), (seed,), normalized=False, depth=2, steps=steps, **settings
    )
    weights = [w[0].float().requires_grad_() for w in experiments.deep_weights(2, [gain], [seed])]
    kind = torch.optim.Adam if "adam" in settings else torch.optim.SGD
    optimizer = kind(weights, lr=rate * gain**2 if "squared" in settings else rate)
    data, order, losses = experiments.digits_for(seed), torch.Generator().manual_seed(seed), []

    def logits(x):
        h = torch.relu(x @ weights[0])
        h = torch.relu(h @ weights[1]) + (h if "residual" in settings else 0)
        return h @ weights[2]

    for _ in range(steps):
        pick = torch.randint(len(data.train_x), (64,), generator=order)
        loss = F.cross_entropy(logits(data.train_x[pick].float()), data.train_y[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert found.losses.item() == pytest.approx(sum(losses) / steps, rel=1e-4)
    right = (logits(data.test_x.float()).argmax(1) == data.test_y).double().mean()
    assert found.accuracy.item() == pytest.approx(right.item(), abs=0.005)


def test_own_rates_are_chosen_by_the_worst_seed():
    losses = torch.tensor([[[1.0, 1.0], [0.1, torch.inf], [0.9, 0.8]]])
    accuracy = torch.arange(6.0).view(1, 3, 2)
    training = experiments.Training(torch.ones(1), torch.tensor([0.1, 0.2, 0.3]), losses, {7: accuracy})
    assert training.best.tolist() == [2]
    assert training.own().tolist() == [[4, 5]] and training.at(0.19).tolist() == [[2, 3]]
    assert training.each_own().tolist() == [[2, 5]] == training.each_own(7).tolist()


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
    # Flat and tiny: dL/dh falls on its way back, h on its way forward, dL/dW is made from both.
    small = experiments.layer_report(30, "tanh", [0.5], [0], False)
    assert small.arriving[0, 0] < 1e-8 * small.arriving[0, -1] and 0.1 < small.ratio < 10
    assert small.gradients.max() < 1e-6
    large = experiments.layer_report(30, "tanh", [3.0], [0], False)
    assert large.ratio > 1000 and large.activations[0].min() > 0.8  # saturated, and exploding
    assert experiments.layer_report(30, "ReLU", [0.5], [0], False).gradients.max() < 0.5**30 * 1e-3
    normalized = experiments.layer_report(30, "ReLU", [1.0], [0], True)
    assert normalized.ratio > 200


def test_the_explorer_runs_the_network_of_the_lecture():
    """But for weights in single precision, a rounding of 1e-8 that 30 saturated layers raise to 1e-3."""
    explorer = explorers.layers_explorer()
    for depth, activation, gain in ((20, "tanh", 0.5), (30, "tanh", 3), (30, "ReLU", 1.5), (5, "sigmoid", 1)):
        state = explorer.compute(depth, activation, gain)
        for name, normalized in (("plain", False), ("normalized", True)):
            report = experiments.layer_report(depth, activation, [gain], [0], normalized)
            for what, numbers in state[name].items():
                torch.testing.assert_close(numbers, getattr(report, what)[0], rtol=0.01, atol=0)


def test_the_goal_of_a_stable_relu_network_is_within_reach():
    explorer = explorers.layers_explorer()
    assert explorer.compute(30, "ReLU", 1.5)["reached"]
    assert not explorer.compute(**explorer.start)["reached"]
    for depth, activation, gain in ((29, "ReLU", 1.5), (30, "linear", 1), (30, "ReLU", 1), (30, "ReLU", 2)):
        assert not explorer.compute(depth, activation, gain)["reached"]


def test_what_the_heading_calls_vanished_and_exploded():
    explorer = explorers.layers_explorer()
    for activation, gain, fate, low, high in (
        ("tanh", 0.5, "vanished", 0, 1e-3),
        ("ReLU", 1.5, "in bounds", 1e-3, 1e3),
        ("ReLU", 3, "exploded", 1e3, math.inf),
    ):
        state = explorer.compute(30, activation, gain)
        assert state["fates"] == [fate, "in bounds"]
        assert low < state["plain"]["gradients"][0] < high


def test_the_goal_of_the_bowl_needs_standardizing():
    explorer = explorers.bowl_explorer()
    correlated = explorer.start | {"correlation": 0.8}
    assert not explorer.compute(**correlated)["reached"]
    state = explorer.compute(**correlated | {"part": 1})
    assert state["reached"]
    assert state["condition_number"] == pytest.approx(9)
    assert torch.corrcoef(torch.stack(state["x"]))[0, 1].item() == pytest.approx(0.8)
    assert not explorer.compute(**explorer.start | {"part": 1})["reached"]


@pytest.mark.parametrize("rho", (0.0, 0.5, -0.8, 0.9))
def test_what_correlation_leaves(rho):
    x = experiments.cloud(80, rho)
    least = (1 + abs(rho)) / (1 - abs(rho))
    assert experiments.condition_number(x) == pytest.approx(least)
    for scale in (0.3, 0.9, 1.1, 4.0):
        scaled = x * torch.tensor([1, scale], dtype=x.dtype)
        assert experiments.condition_number(scaled) > least
        assert experiments.condition_number(experiments.standardize(scaled, eps=0.0)) == pytest.approx(least)


@pytest.mark.parametrize(("scale", "flat"), ((4.0, "w1"), (0.25, "w2")))
def test_the_flat_axis_of_the_prediction_is_that_of_the_smallest_curvature(scale, flat):
    bowl = experiments.bowl(experiments.cloud(80, 0.0) * torch.tensor([1.0, scale], dtype=torch.float64))
    assert bowl.flat == flat
    curvatures = experiments.hessian(bowl.x).diag()
    assert ("w1", "w2")[curvatures.argmin()] == flat


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


def test_inner_conditions_by_hand():
    found = experiments.inner_conditions([4], depth=1, width=5, num_samples=60)
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(60, 5, generator=generator, dtype=torch.float64)
    weight = torch.randn(1, 5, 5, generator=generator, dtype=torch.float64)[0] * math.sqrt(2 / 5)
    x = (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()
    h = torch.relu(x @ weight)
    norm = nn.BatchNorm1d(5, dtype=torch.float64)
    for name, features in (
        ("ReLU", h),
        ("no ReLU", x @ weight),
        ("ReLU, centred", h - h.mean(0)),
        ("ReLU, then standardized", norm(h).detach()),
        ("batch norm, then ReLU", torch.relu(norm(x @ weight)).detach()),
    ):
        assert found.random[name][0, 1].item() == pytest.approx(
            torch.linalg.cond(features.T @ features).item(), rel=1e-6
        )
    assert found.orthogonal["no ReLU"][0, 1].item() == pytest.approx(experiments.condition_number(x))
    wide = torch.randn(60, 20, generator=generator, dtype=torch.float64)
    wide = (wide - wide.mean(0)) / (wide.var(0, correction=0) + 1e-5).sqrt()
    sums = wide @ torch.randn(20, 5, generator=generator, dtype=torch.float64)
    assert found.narrowing["no ReLU"][0].item() == pytest.approx(experiments.condition_number(sums))
    assert found.narrowing["ReLU"][0].item() == pytest.approx(experiments.condition_number(torch.relu(sums)))


def test_the_verdict_on_inner_layers():
    assert all(f.stands for f in experiments.judge_inner(experiments.inner_conditions(range(5))))


def test_scales_leave_one_in_training():
    drift = experiments.drift_of_scales(range(5), depth=4)
    assert drift.stds.shape == (5, 151, 4)
    torch.testing.assert_close(drift.stds[:, 0], torch.ones(5, 4, dtype=torch.float64))
    assert (drift.change[:, :-1] < drift.change[:, -1:]).all()  # the last layer's most
    assert (drift.change[:, -1] > 4 / 3).all()
    assert (drift.change > 1.05).all()


def test_the_gradient_before_training():
    gains = torch.tensor([0.32, 1.0, 3.2], dtype=torch.float64)
    sweep = experiments.gain_sweep(gains, range(2), depth=30)
    for name, decades in (("tanh", 17), ("ReLU", 28)):
        assert (sweep.decades(sweep.plain[name]) > decades).all()
        assert (sweep.decades(sweep.normalized[name]) - 1).abs().max() < 0.15
        # It is 1 / gain, but for eps.
        product = sweep.normalized[name] * gains[:, None]
        assert (product[1:] / product[-1]).sub(1).abs().max() < 0.2


def test_without_eps_the_gradient_is_exactly_one_over_gain(monkeypatch):
    exact = experiments.standardize
    monkeypatch.setattr(experiments, "standardize", lambda x, eps=0.0, dim=0: exact(x, 0.0, dim))
    report = experiments.layer_report(10, "tanh", [0.4, 0.8], [0, 0], True)
    torch.testing.assert_close(report.gradients[0], 2 * report.gradients[1])


def test_the_factors_of_the_quiz():
    scaled = experiments.cloud(80, 0.0) * torch.tensor([1.0, 100.0], dtype=torch.float64)
    assert experiments.condition_number(scaled) == pytest.approx(10_000)
    assert torch.linalg.eigvalsh(torch.tensor([[1, 0.8], [0.8, 1]])).tolist() == pytest.approx([0.2, 1.8])


def test_ratio_in_training_begins_with_that_of_the_report_and_lengths_are_held(monkeypatch):
    monkeypatch.setattr(experiments, "STARTED", (0, 1, 3))
    free, held = (experiments.ratio_in_training([3, 4], held, depth=4) for held in (False, True))
    before = experiments.layer_report(4, "ReLU", [2**0.5] * 2, [3, 4], True).ratio
    torch.testing.assert_close(free[0], before)
    torch.testing.assert_close(held[0], before)
    # A weight's length is all that differs, and the gradient goes with 1 / length.
    assert not torch.allclose(free[1], held[1], rtol=1e-6)
    still = [experiments.ratio_in_training([3], held, rate=0.0, depth=4) for held in (False, True)]
    torch.testing.assert_close(*still)


# What is drawn


def test_pictures(monkeypatch):
    """From one seed, few steps and layers."""
    real, sweep = experiments.train_deep, experiments.gain_sweep
    shorter = lambda *args, **more: real(  # noqa: E731
        *args, **(more | {"steps": 61 if more.get("read") else 2, "depth": 2})
    )
    monkeypatch.setattr(experiments, "train_deep", shorter)
    monkeypatch.setattr(experiments, "gain_sweep", lambda gains, seeds: sweep(gains, seeds, depth=3))
    monkeypatch.setattr(experiments, "LONG", 61)
    monkeypatch.setattr(experiments, "STARTED", (0, 1, 2, 3))
    found = experiments.scale_of_weights(range(1))
    assert all(len(finding.held) == 1 for finding in experiments.judge_scale(found))
    conditions = experiments.inner_conditions(range(2))
    for picture in (
        figures.draw_conditions({"random weights": conditions.random}, "Condition numbers"),
        figures.draw_drift(experiments.drift_of_scales(range(2), depth=4, steps=2)),
        figures.draw_gain_sweep(found.sweep),
        figures.draw_training(found),
        figures.draw_own_rates(found),
        figures.draw_first_over_last(found),
    ):
        check_picture(picture)


# What the predictions are compared with


def test_the_curves_of_a_report_are_its_norms():
    report = experiments.layer_report(4, "tanh", [0.5, 2.0], [0, 1], False)
    curves = report.curves
    assert list(curves) == ["dL/dW", "dL/dh"]  # the first is what is asked for
    for (layers, norms), expected in zip(
        curves.values(), (report.gradients[0], report.arriving[0]), strict=True
    ):
        assert layers.tolist() == [1, 2, 3, 4]
        assert norms.tolist() == expected.tolist()


def test_what_leaving_out_the_relu_does_is_read_from_the_conditions():
    """Columns are the inputs and layer 2; each row a seed."""

    def found(no_relu: float) -> str:
        both = {"ReLU": torch.tensor([[1.3, 50.0]] * 3), "no ReLU": torch.tensor([[1.3, no_relu]] * 3)}
        return experiments.InnerConditions(both, {}, {}).without_relu

    assert [found(value) for value in (1.4, 30.0, 900.0)] == ["round", "between", "longer"]
    assert experiments.inner_conditions(range(3), depth=1).without_relu == "longer"
    measured = experiments.inner_conditions(range(3), depth=1)
    assert experiments.InnerConditions(measured.orthogonal, measured.random, {}).without_relu == "round"


def test_one_rate_and_the_ratio_are_medians_of_what_was_trained():
    trained = {
        name: experiments.train_deep((0.5, 2.8), (0.1, 1.0), (0, 1, 2), normalized=norm, depth=2, steps=3)
        for name, norm in (("plain", False), ("batch norm", True))
    }
    ratios = {("ReLU", True): torch.tensor([[9.0, 1.0, 5.0], [300.0, 100.0, 200.0], [7.0, 8.0, 6.0]])}
    found = experiments.Scale(None, trained, {}, ratios, {}, {})
    assert list(found.at_one_rate) == ["batch norm", "plain"]  # the first is what is asked for
    for name, (gains, accuracy) in found.at_one_rate.items():
        assert gains.tolist() == [0.5, 2.8]
        assert accuracy.tolist() == trained[name].accuracy[:, 0].median(1).values.tolist()
    assert [found.first_over_last("ReLU", batch) for batch in (8, 64, 512)] == [5, 200, 7]
