"""Day 31: what the lecture computes, says in numbers, and lets a student move."""

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from course.experiments import day31 as experiments
from course.explorers import day31 as explorers
from course.figures import day31 as figures
from graders.judging.references import day31 as references
from tests.lectures.common import Moves, check_picture

#: What test_explorers.py moves.
EXPLORERS = {
    "along": Moves(
        explorers.along_explorer, {"at": (0, 40), "depth": (2, 5, 8), "gain": (1.0, experiments.HE, 2.0)}
    ),
    "rates": Moves(explorers.rates_explorer, {"rate": (0.01, 1, 100), "gain": (1.0, experiments.HE, 2.0)}),
}
TWO = ("plain", "batch norm")


def one_network(kind, depth=2, gain=1.4, seed=3):
    """A network as a vector of weights and a function of it, for the measures of the exercises."""
    weights = experiments.deep_weights(depth, [gain], [seed])
    problem = experiments.problem_for([seed], num_samples=40)
    shapes = [weight.shape for weight in weights]

    def loss(w):
        parts = w.split([shape.numel() for shape in shapes])
        return problem.losses([part.view(shape) for part, shape in zip(parts, shapes, strict=True)], kind)[0]

    return weights, problem, parameters_to_vector(weights), loss


# What is computed


@pytest.mark.parametrize("kind", TWO)
def test_along_the_gradient_as_the_exercises_measure_it(kind):
    weights, problem, w, loss = one_network(kind)
    sizes = torch.tensor([1e-3, 0.1, 1.0, 5.0], dtype=w.dtype)
    along = experiments.along_gradient(weights, problem, kind, sizes)
    torch.testing.assert_close(along.losses, references.library_losses(loss, w, sizes))
    torch.testing.assert_close(along.changes * along.norm, references.library_changes(loss, w, sizes))
    assert along.loss == pytest.approx(loss(w).item())
    good = [s.item() for s, change in zip(sizes, along.changes, strict=True) if change < 0.5]
    assert along.trusted == good[-1]


@pytest.mark.parametrize("kind", TWO)
def test_sharpness_is_the_largest_eigenvalue(kind):
    seeds = (3, 4)
    weights = [w[:, :6, :6] for w in experiments.deep_weights(2, [1.4] * 2, seeds)]
    weights[-1] = experiments.deep_weights(2, [1.4] * 2, seeds)[-1][:, :6]
    whole = experiments.problem_for(seeds, num_samples=40)
    problem = experiments.Problem(whole.x[:, :, 20:26], whole.labels)
    sharp = experiments.sharpness(weights, problem, kind, iterations=400)
    for seed in range(2):
        shapes = [w[0].shape for w in weights]

        def loss(w, seed=seed, shapes=shapes):
            parts = w.split([shape.numel() for shape in shapes])
            parts = [part.view(1, *shape) for part, shape in zip(parts, shapes, strict=True)]
            alone = experiments.Problem(problem.x[[seed]], problem.labels[[seed]])
            return alone.losses(parts, kind)[0]

        w = torch.cat([weight[seed].flatten() for weight in weights])
        values = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, w))
        assert sharp[seed].item() == pytest.approx(values[-1].item(), rel=1e-3)


def test_the_shift_of_one_layer_by_hand():
    seed, lr = 2, 0.1
    shift = experiments.measure_shift("batch norm", [seed], depth=3, lr=lr, steps=1)
    problem = experiments.problem_for([seed])
    weights = experiments.deep_weights(3, [experiments.HE], [seed])
    _, grads = problem.gradients(weights, "batch norm")
    moved = [weights[0] - lr * grads[0], weights[1] - lr * grads[1], *weights[2:]]
    _, changed = problem.gradients(moved, "batch norm")
    l2, cosine = references.library_shift([grads[2]], [changed[2]])
    assert shift.l2[0, 1, 0].item() == pytest.approx((l2 / grads[2].norm()).item())
    assert shift.cosine[0, 1, 0].item() == pytest.approx(cosine.item())


@pytest.mark.parametrize("kind", TWO)
def test_networks_side_by_side_do_not_meet(kind):
    rates = torch.tensor([0.1, 0.3], dtype=torch.float64)
    both = experiments.descend(kind, rates, (0, 1), depth=2, steps=4)
    alone = experiments.descend(kind, rates[1:], (1,), depth=2, steps=4)
    torch.testing.assert_close(both.losses[:, 1, 1], alone.losses[:, 0, 0])
    assert both.sharpness[1].item() == pytest.approx(alone.sharpness[0].item(), rel=1e-6)


def test_noise_is_drawn_anew_and_as_the_text_says():
    generator = torch.Generator().manual_seed(0)
    first, second = (experiments.draw_noise(2, (1, 500, 8), generator) for _ in range(2))
    assert not torch.equal(first.shifts[0], second.shifts[0])
    assert first.shifts[0].abs().max() < 1 and first.scales[0].min() > 0.9
    assert first.shifts[0].mean(1).std() > 0.1  # a shift of the whole unit


# What the lecture says in numbers


def test_the_verdict_on_shift():
    shifts = {kind: experiments.measure_shift(kind, range(5)) for kind in experiments.KINDS}
    l2 = {kind: shift.l2.mean(dim=(0, 1)) for kind, shift in shifts.items()}
    cosine = {kind: shift.cosine.mean(dim=(0, 1)) for kind, shift in shifts.items()}
    assert (l2["batch norm"] > l2["plain"]).all()
    assert (cosine["batch norm"] < cosine["plain"]).all()
    assert l2["noisy batch norm"].min() > l2["batch norm"].max() > 0.4
    moved = {kind: shift.moved.mean(1) for kind, shift in shifts.items()}
    assert moved["batch norm"].max() < 1e-12
    assert moved["plain"].min() > 1e-3
    assert moved["noisy batch norm"].min() > moved["plain"].max()
    assert 0.3 < moved["noisy batch norm"].mean() < 0.4  # about a third of a standard deviation
    # With nothing to cure, the plain network is the faster one.
    assert (shifts["plain"].losses[-1] < shifts["batch norm"].losses[-1]).all()


def test_the_verdict_on_shift_as_a_reason():
    last = {
        kind: experiments.measure_shift(kind, range(5), lr=2.0, every=60).losses[-1]
        for kind in experiments.KINDS
    }
    assert (last["batch norm"] < 0.1).all() and (last["noisy batch norm"] < 0.5).all()
    assert not (last["plain"] < 0.5).any()
    assert (last["batch norm"] < last["noisy batch norm"]).all()


def test_the_verdict_on_smoothness():
    sizes = torch.logspace(-3, 1.5, 16, dtype=torch.float64)
    trusted = {}
    for gain in (1.0, experiments.HE, 2.0):
        for kind in TWO:
            start = experiments.checkpoints(kind, 5, (gain,) * 5, tuple(range(5)), (0,))[0]
            trusted[gain, kind] = torch.tensor(
                [
                    experiments.along_gradient(
                        [w[[k]] for w in start], experiments.problem_for([k]), kind, sizes
                    ).trusted
                    for k in range(5)
                ]
            )
    assert (trusted[2.0, "batch norm"] > 20 * trusted[2.0, "plain"]).all()
    assert trusted[2.0, "batch norm"][0] > 100 * trusted[2.0, "plain"][0]  # the explorer's seed
    assert (trusted[1.0, "batch norm"] < trusted[1.0, "plain"]).all()
    he = trusted[experiments.HE, "batch norm"].median() / trusted[experiments.HE, "plain"].median()
    assert 1 / 3 < he < 3
    ratio = trusted[2.0, "batch norm"].median() / trusted[2.0, "plain"].median()
    assert 55 < ratio < 70  # some sixty times


def test_more_layers_make_the_normalized_gradient_less_predictive():
    explorer = explorers.along_explorer()
    found = []
    for depth in (2, 5, 8):
        explorer.controls["depth"].value = depth
        found.append(explorer.state.normalized.trusted)
    assert found[0] > found[1] > found[2]


def test_sharpness_at_the_start():
    problem = experiments.problem_for(range(5))
    weights = experiments.deep_weights(5, [experiments.HE] * 5, range(5))
    plain, normalized = (experiments.sharpness(weights, problem, kind) for kind in TWO)
    assert (normalized < plain).all()
    assert 0.8 < (2 / normalized).max() < 0.9
    exact = experiments.sharpness(weights, problem, "batch norm", iterations=200)
    torch.testing.assert_close(normalized, exact, rtol=0.05, atol=0)


def test_the_verdict_on_learning_rates():
    rates = torch.logspace(-1, 1.5, 11, dtype=torch.float64)
    plain, normalized = (experiments.descend(kind, rates, range(5), steps=50) for kind in TWO)
    trained = [d.final < 0.1 * d.losses[0] for d in (plain, normalized)]
    assert rates[3].item() == pytest.approx(0.56, abs=0.01) and rates[9].item() == pytest.approx(
        17.8, abs=0.1
    )
    assert trained[0][3].all() and not trained[0][5:].any()
    assert trained[1][3:10].all()
    assert plain.final[3].median() < 0.01 and normalized.final.median(1).values.min() < 0.01
    limits = 2 / normalized.sharpness
    assert (rates[9] > 20 * limits).all()  # twenty times that rate and more
    # The plain network fails at a few times its limit: not at it, not at a hundred times.
    assert ((rates[5] / (2 / plain.sharpness)) < 25).all() and (rates[3] > 2 / plain.sharpness).all()


def test_at_a_rate_of_ten_the_loss_rises_first_and_ends_lower():
    descent = experiments.descend("batch norm", torch.tensor([0.1, 10.0]).double(), [0], steps=40)
    low, high = descent.losses[:, :, 0].unbind(1)
    assert high[1:10].max() > high[0] and high[-1] < 0.05 < low[-1]


def test_weights_grow_because_the_gradient_stands_at_a_right_angle():
    problem = experiments.problem_for(range(5))
    weights = experiments.deep_weights(5, [experiments.HE] * 5, range(5))
    _, grads = problem.gradients(weights, "batch norm")
    for weight, grad in zip(weights[:-1], grads[:-1], strict=True):
        cosine = (weight * grad).sum((1, 2)) / (weight.flatten(1).norm(dim=1) * grad.flatten(1).norm(dim=1))
        assert cosine.abs().max() < 1e-4
        longer = (weight - 2.0 * grad).square().sum((1, 2))
        squares = weight.square().sum((1, 2)) + 4.0 * grad.square().sum((1, 2))
        torch.testing.assert_close(longer, squares, rtol=1e-4, atol=0)
    assert (experiments.weight_growth("batch norm", 10.0, range(5)) > 2).all()
    assert (experiments.weight_growth("batch norm", 0.1, range(5)) - 1).abs().max() < 0.01


def test_goals_are_within_reach():
    along = explorers.along_explorer()
    assert "not yet" in along.goal_line.value
    along.controls["gain"].value = 1.0
    assert "reached" in along.goal_line.value
    rates = explorers.rates_explorer()
    assert "not yet" in rates.goal_line.value
    rates.controls["rate"].value = 10**0.5
    assert "reached" in rates.goal_line.value


# What is drawn


def test_pictures():
    shifts = {
        kind: experiments.measure_shift(kind, range(2), depth=2, steps=2, every=1)
        for kind in experiments.KINDS
    }
    rates = torch.tensor([0.1, 1.0], dtype=torch.float64)
    descents = [experiments.descend(kind, rates, range(2), depth=2, steps=2) for kind in TWO]
    for picture in (figures.draw_shift(shifts, shifts, 0.1, 2.0), figures.draw_longest(*descents)):
        check_picture(picture)
