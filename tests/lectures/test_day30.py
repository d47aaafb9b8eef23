"""Day 30: what the lecture shows, and every number that it states."""

import math

import pytest
import torch
from torch import nn

from course.experiments import day30 as experiments
from course.explorers import day30 as explorers
from course.figures import day30 as figures
from tests.lectures.common import Moves, check_picture

EXPLORERS = {
    "noise of a batch mean": Moves(
        explorers.mean_noise_explorer,
        {"size": (2, 16, 256), "kind": ("normal", "skewed", "pixel"), "order": ("shuffled", "sorted")},
    ),
    "a weight without a scale": Moves(
        explorers.decay_explorer,
        {"lr": (1e-3, 0.1, 10.0), "weight_decay": (1e-6, 1e-2, 0.1), "start": (0.1, 1.0, 10.0)},
    ),
}


@pytest.fixture(scope="module")
def digits():
    """The two runs of the claim, on right labels and on partly wrong ones."""
    return tuple(experiments.regularizers(range(5), wrong_labels=share) for share in (0.0, 0.2))


# Experiments against other ways


def test_batch_means_drop_the_rest():
    values = torch.tensor([1.0, 3.0, 2.0, 6.0, 9.0])
    assert experiments.batch_means(values, 2).tolist() == [2, 4]
    assert experiments.batch_means(values, 5).tolist() == pytest.approx([4.2])


def test_features_are_the_same_samples_in_two_orders():
    for kind in ("normal", "skewed", "pixel"):
        shuffled, ordered = (experiments.feature(kind, order) for order in ("shuffled", "sorted"))
        assert shuffled.shape == (65536,)
        torch.testing.assert_close(shuffled.sort().values, ordered.sort().values)
        state = experiments.mean_noise(8, kind, "shuffled")
        assert math.isclose(state.sigma, ordered.std(correction=0).item(), rel_tol=1e-9)
        assert math.isclose(state.measured[2], state.spread)
        torch.testing.assert_close(state.theory, state.sigma / state.sizes**0.5)


def test_noise_of_an_output_against_batch_norm():
    layer = nn.BatchNorm1d(1, eps=1e-30, affine=False, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 16, generator=generator, dtype=torch.float64)
    x[:, 0] = 1.5
    expected = torch.stack([layer(row[:, None])[0, 0] for row in x]).std().item()
    assert math.isclose(experiments.output_noise(1.5, 16, draws=300), expected, rel_tol=1e-9)


@pytest.mark.parametrize(("lr", "decay"), ((0.1, 1e-2), (0.5, 0.0), (1.0, 1e-3)))
def test_scale_free_steps_are_those_of_vectors(lr, decay):
    """Orthogonal gradients of length 1 / |w|, from random directions."""
    state = experiments.scale_free_steps(lr, decay, 2.0, steps=40)
    generator = torch.Generator().manual_seed(3)
    w = torch.randn(30, generator=generator, dtype=torch.float64)
    w = 2 * w / w.norm()
    for step in range(40):
        g = torch.randn(30, generator=generator, dtype=torch.float64)
        g = g - w * (g @ w) / (w @ w)
        g = g / g.norm() / w.norm()
        optimizer = torch.optim.SGD([w.clone().requires_grad_()], lr=lr, weight_decay=decay)
        (after,) = optimizer.param_groups[0]["params"]
        after.grad = g
        optimizer.step()
        after = after.detach()
        angle = torch.rad2deg(torch.arccos(torch.cosine_similarity(w, after, dim=0))).item()
        assert math.isclose(angle, state.angle[step], rel_tol=1e-6)
        w = after
        assert math.isclose(w.norm().item(), state.norm[step + 1], rel_tol=1e-9)
    assert (state.norm_end == math.inf) == (decay == 0)


@pytest.mark.parametrize("p", (0.1, 0.5, 0.8))
def test_variance_after_dropout_by_enumeration(p):
    x = torch.tensor([0.0, 1.0, 4.0], dtype=torch.float64)
    mean, var = x.mean().item(), x.var(correction=0).item()
    kept = x / (1 - p)
    expected = (1 - p) * (kept**2).mean().item() - mean**2
    assert math.isclose(experiments.variance_after_dropout(mean, var, p), expected)


def test_spoilt_labels():
    data = experiments.split_digits(0, 1000)
    spoilt = experiments.spoil(data, 0.2, 0)
    share = (spoilt.train_y != data.train_y).double().mean().item()
    assert 0.13 < share < 0.23  # a tenth of the drawn ones are right by chance
    assert torch.equal(experiments.spoil(data, 0.0, 0).train_y, data.train_y)
    assert torch.equal(spoilt.test_y, data.test_y)


def test_networks_of_the_methods():
    kinds = {
        method.name: [type(layer).__name__ for layer in experiments.build(method, 8, 0)]
        for method in experiments.METHODS
    }
    assert kinds["none"] == kinds["L2"] == ["Linear", "ReLU"] * 2 + ["Linear"]
    assert kinds["BN + dropout"] == ["Linear", "BatchNorm1d", "ReLU", "Dropout"] * 2 + ["Linear"]
    before = torch.random.get_rng_state()
    first, again = (experiments.build(experiments.METHODS[0], 8, 1)[0].weight for _ in range(2))
    assert torch.equal(first, again) and torch.equal(before, torch.random.get_rng_state())


# What the lecture says in numbers


def test_a_penalty_is_a_decay_of_twice_its_strength():
    generator = torch.Generator().manual_seed(0)
    start, slope = (torch.randn(3, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    ends = []
    for penalty, decay in ((0.3, 0.0), (0.0, 0.6)):
        w = start.clone().requires_grad_()
        optimizer = torch.optim.SGD([w], lr=0.1, weight_decay=decay)
        ((w * slope).sum() + penalty * w.square().sum()).backward()
        optimizer.step()
        ends.append(w.detach())
    torch.testing.assert_close(*ends)
    torch.testing.assert_close(ends[0], (1 - 2 * 0.1 * 0.3) * start - 0.1 * slope)


def test_relu_of_a_normal_feature():
    mean = 1 / math.sqrt(2 * math.pi)
    var = 0.5 - mean**2
    assert (round(mean, 1), round(var, 2)) == (0.4, 0.34)
    assert round(experiments.variance_after_dropout(mean, var, 0.5) / var, 2) == 2.47
    assert round(experiments.variance_after_dropout(mean, var, 0.1) / var, 2) == 1.16


def test_the_shape_hardly_matters_and_the_order_does():
    for kind in ("normal", "skewed", "pixel"):
        for size in (2, 4, 8, 16):
            assert abs(experiments.mean_noise(size, kind, "shuffled").ratio - 1) < 0.03
        for size in experiments.SIZES:
            assert abs(experiments.mean_noise(size, kind, "shuffled").ratio - 1) < 0.12
        state = experiments.mean_noise(64, kind, "sorted")
        assert state.ratio > 3
        assert state.measured[-1] > 0.8 * state.measured[4]  # no batch size helps


def test_noise_at_the_output():
    for value in (0.0, 1.0, 2.0):
        measured = experiments.output_noise(value, 128)
        assert math.isclose(measured, experiments.output_noise_theory(value, 128), rel_tol=0.07)
        assert 0.085 < measured < 0.155
    # Dropout at 0.5 on an activation of 1 gives 0 or 2.
    assert torch.tensor([0.0, 2.0]).std(correction=0) == 1


@pytest.mark.parametrize("scale", (0.1, 3.0, 20.0))
def test_scale_rate_and_decay_are_one(scale):
    reference, w = experiments.train_scaled(1.0, 0.5, 0.1)
    losses, end = experiments.train_scaled(scale, 0.5 * scale**2, 0.1 / scale**2)
    torch.testing.assert_close(losses, reference, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(end, scale * w, rtol=1e-7, atol=1e-9)
    others, _ = experiments.train_scaled(scale, 0.5, 0.1)
    assert (others - reference).abs().max() > 1e-3


def test_balance_of_length_and_angle():
    for lr, decay in ((0.1, 0.01), (1.0, 0.001), (0.1, 0.05)):
        ends = [experiments.scale_free_steps(lr, decay, start, 4000) for start in (0.5, 2.0)]
        for end in ends:
            assert math.isclose(end.norm[-1], (lr / (2 * decay)) ** 0.25, rel_tol=0.01)
            assert math.isclose(end.norm[-1], end.norm_end, rel_tol=0.01)
            assert math.isclose(end.angle[-1], math.degrees(math.sqrt(2 * lr * decay)), rel_tol=0.01)
    first, second = (experiments.scale_free_steps(*pair, 1.0, 4000) for pair in ((0.1, 0.01), (1.0, 0.001)))
    assert math.isclose(second.norm[-1] / first.norm[-1], math.sqrt(10), rel_tol=0.01)
    free = experiments.scale_free_steps(0.1, 1e-6, 1.0, 1500)
    assert (free.norm.diff() > 0).all() and (free.angle.diff() < 0).all()


def test_half_the_length_turns_four_times_as_far():
    long, short = (experiments.scale_free_steps(1e-4, 0.0, start, 1) for start in (2.0, 1.0))
    assert math.isclose(short.angle[0] / long.angle[0], 4, rel_tol=1e-6)


def test_the_verdict_on_dropout(digits):
    clean, spoilt = digits
    loss, error = (
        {m.name: getattr(clean, k)[i] for i, m in enumerate(clean.methods)}
        for k in ("test_loss", "test_error")
    )
    assert (error["BN"] < error["none"]).all()
    assert (loss["BN"] < loss["BN + dropout"]).all()
    assert min(loss, key=lambda name: loss[name].mean()) == "BN"
    assert not (error["BN + dropout"] < error["BN"]).all()
    error = {m.name: spoilt.test_error[i] for i, m in enumerate(spoilt.methods)}
    assert (error["BN"] > error["none"]).all()
    assert (error["BN + dropout"] < error["BN"]).all()
    assert not (spoilt.test_loss[spoilt.row("BN")] < spoilt.test_loss[spoilt.row("BN + dropout")]).all()


def test_bn_fits_best_and_decay_on_top_does_not_help(digits):
    for run in digits:
        means = run.train_loss.mean(1)
        assert means.argmin() == run.row("BN")
        assert run.test_error[run.row("BN + L2")].mean() > run.test_error[run.row("BN")].mean() - 0.01


def test_picture(digits):
    check_picture(figures.draw_regularizers(*digits, 0.2))


# What is moved


def test_goal_of_the_noise_needs_sorted_samples():
    explorer = explorers.mean_noise_explorer()
    for size in (2, 256):
        explorer.controls["size"].value = size
        assert "not yet" in explorer.goal_line.value
    explorer.controls["order"].value = "sorted"
    assert "reached" in explorer.goal_line.value


def test_goal_of_the_decay_is_within_reach():
    explorer = explorers.decay_explorer()
    assert "not yet" in explorer.goal_line.value
    for name, power in (("lr", -1.25), ("weight_decay", -2.5), ("start", 0.25)):
        explorer.controls[name].value = 10**power
    assert "reached" in explorer.goal_line.value
