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


def test_what_is_predicted_is_what_is_measured():
    """On arrays with a known answer, and turned over where the arrays are."""
    sizes, one = torch.ones(2, 2, 1), torch.ones(1, 3)

    def shift(*medians):
        l2 = torch.tensor(medians, dtype=torch.float64).view(1, 1, -1, 1)
        return experiments.Shift(sizes, sizes, sizes, l2, l2)

    noise = {"drawn anew": shift(0.5), "no layer moved": shift(0.2), "frozen": shift(0.1)}
    shifts = {"plain": shift(1, 0.9, 1), "batch norm": shift(1, 0.3, 1)}
    verdict = experiments.ShiftVerdict(((1.0, 0.1),), shifts, {}, {}, noise)
    assert verdict.by_gradients == ["batch norm", "noisy batch norm", "plain"]
    assert verdict.without_a_step == pytest.approx(40)

    trusted = {"plain": torch.stack([2 * one[0], one[0]]), "batch norm": torch.stack([one[0], 2 * one[0]])}
    smooth = experiments.Smoothness((1.0, 2.0), trusted, {})
    assert (smooth.farther(1.0), smooth.farther(2.0)) == ("plain", "batch norm")

    def descents(*final, watched=()):
        losses = torch.stack([torch.ones(2, 3), torch.tensor(final)[:, None] * torch.tensor([1, 1, 1.01])])
        return experiments.Descents(torch.tensor([0.1, 1.0]), losses, watched, 2 * torch.ones(1, 2, 3))

    arms = {
        "plain": descents(0.02, 0.5),
        "batch norm": descents(0.5, 0.01),
        "batch norm, norms held": descents(0.05, 0.5),
    }
    arms["plain, clipped"] = descents(0.3, 0.2)
    clips = {
        ("plain", clip): descents(0.5, end) for clip, end in zip(experiments.CLIPS, (0.1, 0.4), strict=True)
    }
    watched = {"plain": descents(0.02, 0.5, watched=(0,))}
    steps = experiments.LongSteps(arms, {}, {}, {}, clips, {}, watched, watched["plain"])
    assert steps.best_clipped("plain")[:2] == (experiments.CLIPS[0], 1.0)
    assert arms["plain"].best_after(0)[0] == pytest.approx(0.1)  # all alike: the first
    assert arms["batch norm"].best_after(1)[0] == arms["batch norm"].best[0] == 1.0
    assert steps.longest_held == pytest.approx(0.1)
    assert steps.last_loss_at_own_rates == pytest.approx(0.5)
    assert steps.edge[0] == (0,) and steps.edge[1].tolist() == pytest.approx([0.1])


def test_what_becomes_of_a_network():
    assert experiments.fate("plain", 0.5) == "trains"
    assert experiments.fate("plain", 1e-4) == "stalls"
    assert experiments.fate("plain", 100.0) == "diverges"


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
    sharp = experiments.sharpness(weights, problem, kind, iterations=60)
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
    shift = experiments.measure_shift("batch norm", [seed], [(experiments.HE, lr)], depth=3, steps=1)
    problem = experiments.problem_for([seed])
    weights = experiments.deep_weights(3, [experiments.HE], [seed])
    _, grads = problem.gradients(weights, "batch norm")
    moved = [weights[0] - lr * grads[0], weights[1] - lr * grads[1], *weights[2:]]
    _, changed = problem.gradients(moved, "batch norm")
    l2, _ = references.library_shift([grads[2]], [changed[2]])
    assert shift.l2[0, 1, 0, 0].item() == pytest.approx((l2 / grads[2].norm()).item())
    assert shift.undivided[0, 1, 0, 0].item() == pytest.approx(l2.item())


@pytest.mark.parametrize("kind", TWO)
def test_networks_side_by_side_do_not_meet(kind):
    rates = torch.tensor([0.1, 0.3])
    both = experiments.descend(kind, rates, (0, 1), depth=2, steps=4, watch=(0, 4), held=True)
    alone = experiments.descend(kind, rates[1:], (1,), depth=2, steps=4, watch=(0, 4), held=True)
    torch.testing.assert_close(both.losses[:, 1, 1], alone.losses[:, 0, 0])
    torch.testing.assert_close(both.sharpness[:, 1, 1], alone.sharpness[:, 0, 0], rtol=1e-3, atol=0)


def test_noise_is_drawn_anew_and_as_the_text_says():
    generator = torch.Generator().manual_seed(0)
    first, second = (experiments.draw_noise(2, (1, 500, 8), generator) for _ in range(2))
    assert not torch.equal(first.shifts[0], second.shifts[0])
    assert first.shifts[0].abs().max() < 1 and first.scales[0].min() > 0.9
    assert first.shifts[0].mean(1).std() > 0.1  # a shift of the whole unit


@pytest.mark.parametrize("turned", [{}, {"clip": 0.3}, {"held": True}, {"readout": 0.1}, {"below": 0.1}])
def test_descents_as_the_library_takes_them(turned):
    steps, lr = 3, 0.5
    found = experiments.descend("plain", torch.tensor([lr]), [1], depth=2, steps=steps, **turned)
    problem = experiments.problem_for([1], dtype=torch.float32)
    weights = [w[0].float().requires_grad_() for w in experiments.deep_weights(2, [experiments.HE], [1])]
    lengths = [w.detach().norm(dim=0) for w in weights[:-1]]
    groups = [
        {"params": weights[:-1], "lr": turned.get("below", lr)},
        {"params": weights[-1:], "lr": turned.get("readout", lr)},
    ]
    optimizer, losses = torch.optim.SGD(groups, lr=lr), []
    for _ in range(steps + 1):
        first, second, last = weights
        logits = torch.relu(torch.relu(problem.x[0] @ first) @ second) @ last
        loss = torch.nn.functional.cross_entropy(logits, problem.labels[0])
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        if "clip" in turned:
            torch.nn.utils.clip_grad_norm_(weights, turned["clip"])
        optimizer.step()
        if "held" in turned:
            with torch.no_grad():
                for weight, length in zip(weights, lengths, strict=False):
                    weight *= length / weight.norm(dim=0)
    assert found.losses[:, 0, 0].tolist() == pytest.approx(losses, rel=1e-4)


@pytest.mark.parametrize(
    ("half", "of_the_sums"),
    [
        ("only subtracting", lambda z: z - z.mean(0)),
        ("only dividing", lambda z: torch.nn.functional.rms_norm(z.T, (len(z),), eps=1e-5).T),
        ("only dividing, by layer", lambda z: torch.nn.functional.rms_norm(z, z.shape, eps=1e-5)),
        ("only dividing, by image", lambda z: torch.nn.functional.rms_norm(z, z.shape[1:], eps=1e-5)),
    ],
)
def test_halves_of_batch_norm_each_alone(half, of_the_sums):
    weights, problem, _, _ = one_network(half)
    logits, sums = experiments.run(weights, problem.x, half)
    x = problem.x[0]
    for weight, found in zip(weights[:-1], sums, strict=True):
        z = of_the_sums(x @ weight[0])
        torch.testing.assert_close(found[0], z)
        x = torch.relu(z)
    torch.testing.assert_close(logits[0], x @ weights[-1][0])


def test_frozen_noise_does_not_move_what_has_not_moved():
    still = [(experiments.HE, 0.0)]
    for redraw in (True, False):
        shift = experiments.measure_shift(
            "noisy batch norm", [0], still, depth=2, steps=1, num_samples=40, redraw=redraw
        )
        assert (shift.first.item() > 0.3) == (shift.moved.max().item() > 0.1) == redraw


def test_the_noise_is_off_for_one_measurement():
    """The same weights: before any step the loss is that of batch norm, and the noisy one is not."""
    rates = torch.tensor([0.1, 1.0])
    noisy, quiet = (
        experiments.descend(kind, rates, (0, 1), steps=0) for kind in ("noisy batch norm", "batch norm")
    )
    torch.testing.assert_close(noisy.noise_off, quiet.final)
    assert (noisy.final - quiet.final).abs().min() > 1e-3
    assert quiet.noise_off is None
    noisy = experiments.descend("noisy batch norm", rates, (0, 1), steps=3)
    assert not torch.equal(noisy.noise_off[0], noisy.noise_off[1])  # of what the steps have made


def test_each_seed_clipped_at_its_own_best():
    def descents(*final):
        losses = torch.tensor(final).expand(2, -1, -1)
        return experiments.Descents(torch.tensor([0.1, 1.0]), losses, (), torch.empty(0))

    ends = descents([0.5, 0.2], [0.3, 0.4]), descents([0.6, float("nan")], [0.9, 0.1])
    clips = {("plain", clip): end for clip, end in zip(experiments.CLIPS, ends, strict=True)}
    arms = {"plain, clipped": descents([0.7, 0.7], [0.25, 0.8])}
    steps = experiments.LongSteps(arms, {}, {}, {}, clips, {}, {}, arms["plain, clipped"])
    assert steps.own_clipped("plain").tolist() == pytest.approx([0.25, 0.1])


# What the lecture says in numbers


def test_sharpness_at_the_start():
    problem = experiments.problem_for(range(5))
    weights = experiments.deep_weights(5, [experiments.HE] * 5, range(5))
    plain, normalized = (experiments.sharpness(weights, problem, kind) for kind in TWO)
    assert (normalized < plain).all()
    assert round(10 / (2 / normalized)[0].item()) == 15  # as the prediction says, of seed 0
    exact = experiments.sharpness(weights, problem, "batch norm", iterations=40)
    torch.testing.assert_close(normalized, exact, rtol=0.05, atol=0)


def test_a_step_as_a_share_of_the_weights_is_free_of_the_gain():
    """With batch norm the readout alone is not: nearly the same share at every gain."""
    found = experiments.smoothness([0, 1])
    shares, steps = (values["batch norm"] for values in (found.relative, found.trusted))
    assert (shares.amax(0) < 2 * shares.amin(0)).all()
    assert (steps[2] > 2.9 * steps[0]).all()


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
    along, rates = explorers.along_explorer(), explorers.rates_explorer()
    for explorer, there in ((along, {"gain": experiments.HE}), (rates, {"rate": 10**0.5})):
        assert not explorer.compute(**explorer.start)["reached"]
        assert explorer.compute(**explorer.start | there)["reached"]


def test_explorers_show_what_is_measured_in_single_precision():
    state = explorers.along_explorer().compute(at=0, depth=2, gain=experiments.HE)
    weights, problem = experiments.deep_weights(2, [experiments.HE], [0]), experiments.problem_for([0])
    for name, kind in zip(("plain", "normalized"), TWO, strict=True):
        sizes = torch.logspace(-3, 1.5, 16, dtype=torch.float64)
        measured = experiments.along_gradient(weights, problem, kind, sizes)
        torch.testing.assert_close(state[name]["losses"], measured.losses, rtol=1e-6, atol=0)
        torch.testing.assert_close(state[name]["changes"], measured.changes, rtol=1e-6, atol=0)
        assert state[name]["trusted"] == measured.trusted
    state = explorers.rates_explorer().compute(rate=100, gain=experiments.HE)
    assert state["ends"][0] == torch.inf and state["out"] == [True, False]


# What is drawn


def test_pictures(monkeypatch):
    """From two seeds and few steps."""
    real = experiments.descend
    shorter = lambda *args, **more: real(*args, **(more | {"steps": max(more.get("watch") or [3])}))  # noqa: E731
    monkeypatch.setattr(experiments, "descend", shorter)
    monkeypatch.setattr(experiments, "SHORT", 2)
    shift, steps = experiments.covariate_shift(range(1)), experiments.long_steps(range(1))
    assert all(len(f.held) == 1 for f in experiments.judge_shift(shift) + experiments.judge_rates(steps))
    for picture in (
        figures.draw_shift(shift),
        figures.draw_shift_controls(shift),
        figures.draw_longest(steps),
        figures.draw_rates_controls(steps),
        figures.draw_edge(steps),
    ):
        check_picture(picture)
