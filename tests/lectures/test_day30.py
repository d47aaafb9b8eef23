"""Day 30: what the lecture shows, and every number that it states."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
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
        {
            "lr": (1e-3, 0.1, 10.0),
            "weight_decay": (1e-6, 1e-2, 0.1),
            "start": (0.1, 1.0, 10.0),
            "drop": (1.0, 1 / 3, 0.1),
        },
    ),
}


TINY = {"num_train": 60, "batch_size": 6, "width": 8}


def modules(seed: int, arm: experiments.Arm) -> nn.Sequential:
    """The network of an arm from library modules, with the same weights at the start."""
    layers: list[nn.Module] = []
    for weight in experiments.start(seed, 8):
        linear = nn.Linear(*weight.shape, dtype=torch.float32)
        with torch.no_grad():
            linear.weight.copy_(weight.T)
            linear.bias.zero_()
        layers.append(linear)
        if len(layers) < 6:
            layers += [nn.BatchNorm1d(8, dtype=torch.float32)] if arm.normalized else [nn.Identity()]
            layers += [nn.ReLU()]
    return nn.Sequential(*layers)


def alone(arm: experiments.Arm, seed: int, share: float, batches: torch.Tensor):
    """The data of a seed, and a network trained by itself with `torch.optim.SGD`, on batches (steps, N)."""
    data = experiments.spoil(experiments.split_digits(seed, 60), share, seed)
    model = modules(seed, arm)
    matrices = [p for p in model.parameters() if p.dim() > 1]
    groups = [
        {"params": matrices[:2], "weight_decay": arm.decay[0]},
        {"params": matrices[2:], "weight_decay": arm.decay[1]},
        {"params": [p for p in model.parameters() if p.dim() == 1]},
    ]
    optimizer = torch.optim.SGD(groups, lr=arm.lr, momentum=arm.momentum)
    for rows in batches:
        optimizer.zero_grad()
        F.cross_entropy(model(data.train_x[rows]), data.train_y[rows]).backward()
        optimizer.step()
    return data, model.eval()


def drawn(seeds: tuple[int, ...], steps: int) -> torch.Tensor:
    """(steps, seeds, 6): the batches that `experiments.train` takes with `TINY`."""
    generator = torch.Generator().manual_seed(1_000_003 * seeds[0] + 30)
    return torch.stack([torch.randint(60, (len(seeds), 6), generator=generator) for _ in range(steps)])


# Experiments against other ways


def test_batch_means_drop_the_rest():
    values = torch.tensor([1.0, 3.0, 2.0, 6.0, 9.0])
    assert experiments.batch_means(values, 2).tolist() == [2, 4]
    assert experiments.batch_means(values, 5).tolist() == pytest.approx([4.2])


def test_counts_are_those_of_a_histogram():
    means = torch.tensor([-5.0, 0.9, 1.0, 1.1, 2.4], dtype=torch.float64)
    state = experiments.MeanNoise(2, 2.0, 1.0, means, torch.empty(0), torch.empty(0))
    # In units of σ around the mean of all they are -3, -0.05, 0, 0.05 and 0.7.
    assert state.counts(1.0, 4).tolist() == [0, 1, 2, 1]


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


@pytest.mark.parametrize("normalized", (False, True))
def test_many_networks_train_as_modules_do(normalized):
    """Two arms and two seeds at once, against `torch.optim.SGD` on one network after the other."""
    arms = [
        experiments.Arm("a", normalized, lr=0.05),
        experiments.Arm("b", normalized, lr=0.02, momentum=0.5, decay=(0.1, 0.3)),
    ]
    seeds = (3, 4)
    runs = experiments.train(arms, seeds, 0.2, (4, 12), **TINY)
    assert runs.train_loss.shape == (2, 2, 2)
    batches = drawn(seeds, 12)
    for place, arm in enumerate(arms):
        for column, seed in enumerate(seeds):
            data, model = alone(arm, seed, 0.2, batches[:, column])
            with torch.no_grad():
                learned = F.cross_entropy(model(data.train_x), data.train_y).item()
                out = model(data.test_x[400:])
            assert math.isclose(learned, runs.train_loss[place, column, -1], rel_tol=1e-4)
            wrong = (out.argmax(1) != data.test_y[400:]).double().mean().item()
            assert abs(wrong - runs.test_error[place, column, -1]) < 2e-3
            assert math.isclose(model[0].weight.norm().item(), runs.norm[place, column, -1], rel_tol=1e-5)
    with pytest.raises(ValueError, match="agree"):
        experiments.train([experiments.Arm("a"), experiments.Arm("b", True)], (0,), 0.0, (1,), **TINY)


def test_the_long_arms_are_the_slow_ones_for_four_times_as_long(monkeypatch):
    """All of `measure_decay` with few steps; its long runs against one network after the other."""
    monkeypatch.setattr(experiments, "SPLIT_STEPS", (1, 2, 3))
    train = experiments.train
    monkeypatch.setattr(experiments, "train", lambda *args: train(*args, **TINY))
    twins = experiments.exponential_twins(steps=2, width=8)
    monkeypatch.setattr(experiments, "exponential_twins", lambda seed, steps: twins)
    seeds = (3, 4)
    split = experiments.measure_decay(seeds)
    names = [arm.name for arm in split.runs.arms]
    batches = drawn(seeds, 12)
    for where, decay in (("none", (0.0, 0.0)), ("hidden", (0.01, 0.0))):
        place = names.index(f"{where}, slow and long")
        slow = experiments.Arm("slow", True, lr=0.005, decay=decay)
        assert split.runs.arms[place] == replace(slow, name=f"{where}, slow and long")
        assert split.runs.arms[names.index(f"{where}, slow")] == replace(slow, name=f"{where}, slow")
        for column, seed in enumerate(seeds):
            for checkpoint, steps in enumerate((4, 8, 12)):
                data, model = alone(slow, seed, 0.0, batches[:steps, column])
                with torch.no_grad():
                    loss = F.cross_entropy(model(data.train_x), data.train_y).item()
                length = model[0].weight.norm().item()
                assert math.isclose(loss, split.runs.train_loss[place, column, checkpoint], rel_tol=1e-4)
                assert math.isclose(length, split.runs.norm[place, column, checkpoint], rel_tol=1e-6)
    assert len(experiments.long_arms()) == 2 and all("long" in arm.name for arm in experiments.long_arms())


def test_a_held_length_stays_and_whole_statistics_are_those_of_all_images():
    arms = [experiments.Arm("held", True, held=True, decay=(0.5, 0.0)), experiments.Arm("free", True)]
    runs = experiments.train(arms, (0,), 0.0, (5,), **TINY)
    length = experiments.start(0, 8)[0].norm()
    assert math.isclose(runs.norm[0, 0, 0], length, rel_tol=1e-5)
    assert not math.isclose(runs.norm[1, 0, 0], length, rel_tol=1e-5)
    net = experiments.Bundle(experiments.WHOLE, (0,), 8)
    x = torch.rand(1, 50, 64, dtype=torch.float32)
    collected = experiments._collected(net, x)
    hidden = x @ net.weights[0]
    torch.testing.assert_close(collected[0][0], hidden.mean(1, keepdim=True))
    net.running = collected
    torch.testing.assert_close(net(x), net(x, statistics="batch"))


def test_dropout_drops_its_share_and_keeps_the_mean():
    arms = [experiments.Arm("all", dropout=(0.999, 0.999)), experiments.Arm("none")]
    runs = experiments.train(arms, (0,), 0.0, (40,), **TINY)
    assert runs.train_loss[0, 0, 0] > runs.train_loss[1, 0, 0]  # hardly anything comes through


def test_batches_are_the_same_with_dropout_in_the_call_and_without():
    arms = (experiments.Arm("none"), experiments.Arm("dropped", dropout=(0.5, 0.5)))
    alone, both = (experiments.train(some, (0, 1), 0.2, (2, 4), **TINY) for some in (arms[:1], arms))
    torch.testing.assert_close(alone.train_loss[0], both.train_loss[0], rtol=1e-5, atol=0)
    assert not torch.allclose(both.train_loss[1], both.train_loss[0], rtol=1e-3)


def test_error_at_a_loss_is_read_between_checkpoints():
    losses = torch.tensor([[[2.0, 0.5, 0.1]], [[2.0, 1.5, 1.1]]], dtype=torch.float64)
    errors = torch.tensor([[[0.8, 0.4, 0.2]], [[0.5, 0.4, 0.3]]], dtype=torch.float64)
    arms = (experiments.Arm("a"), experiments.Arm("b"))
    runs = experiments.Runs(arms, torch.tensor([1, 2, 3]), losses, *[errors] * 6)
    assert math.isclose(experiments.error_at(1.0, runs, 0)[0], 0.6)  # half way, by the logarithm
    assert experiments.error_at(1.0, runs, 1)[0] == math.inf
    assert experiments.error_at(3.0, runs, 1)[0] == 0.5
    assert experiments.at_best(runs, ["a", "b"])[0] == 0.2
    assert experiments.at_best(runs, ["b"])[0] == 0.3


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


def test_decay_is_a_growing_rate():
    twins = experiments.exponential_twins(steps=40, width=8, weight_decay=0.5)
    torch.testing.assert_close(twins.losses[0], twins.losses[1], rtol=1e-9, atol=1e-10)
    assert twins.losses[0, -1] < twins.losses[0, 0]
    torch.testing.assert_close(twins.lengths[1] / twins.lengths[0], 0.95 ** -torch.arange(40.0).double())
    assert math.isclose(twins.rates[1, 39], 0.1 * 0.95**-79)
    assert round((experiments.exponential_rates(0.1, 0.1, 300)[-1] / 0.1).item()) == 412


def test_a_dropped_rate_takes_the_angle_to_a_tenth_and_back_to_a_third():
    state = experiments.scale_free_steps(1.0, 0.05, 1.0, steps=1500, drop_at=500, drop_to=0.1)
    before, at, end = (state.angle[step].item() for step in (499, 500, 1499))
    assert math.isclose(at / before, 0.1, rel_tol=0.06)
    assert math.isclose(end / before, 10**-0.5, rel_tol=0.02)
    whole = experiments.scale_free_steps(0.5, 0.05, 1.0, steps=30)
    same = experiments.scale_free_steps(1.0, 0.05, 1.0, steps=30, drop_at=0, drop_to=0.5)
    torch.testing.assert_close(whole.norm, same.norm)


@pytest.fixture(scope="module")
def few():
    """What the claims yield, from two seeds and a few steps."""
    steps = (1, 2, 3)
    groups = (experiments.PLAIN, experiments.NORMALIZED, experiments.WHOLE)
    runs = [
        tuple(experiments.train(arms, (0, 1), share, steps, **TINY) for share in (0.0, 0.2))
        for arms in groups
    ]
    return experiments.Needless(*runs, torch.rand(2, 2, 2))


def test_gates_are_given_what_was_measured(few):
    noise = experiments.mean_noise(64, "normal", "sorted")
    (sizes, measured), (_, promised) = noise.curves.values()
    place = sizes.tolist().index(64)
    assert math.isclose(measured[place] / promised[place], noise.ratio, rel_tol=1e-9)
    assert math.isclose(promised[place], 1 / 8)
    shuffled = experiments.mean_noise(64, "normal", "shuffled").curves["measured"][1]
    assert measured[place] > 4 * shuffled[place]
    dropped = experiments.scale_free_steps(1.0, 0.05, 1.0, steps=60, drop_at=50, drop_to=0.1)
    steps, angles = dropped.angles_from(40)
    assert steps.tolist() == [40, 50] and angles.equal(dropped.angle[[40, 50]])
    state = explorers.decay_explorer().compute(lr=1.0, weight_decay=0.05, start=1.0, drop=0.1)
    lecture = experiments.scale_free_steps(1.0, 0.05, 1.0, steps=1500, drop_at=500, drop_to=0.1)
    assert lecture.angles_from(400)[1].equal(state["angle"][400::10])

    def with_errors(plain, normalized):
        runs = [
            replace(part[1], test_error=torch.tensor(errors)[None, :, None].expand(len(part[1].arms), -1, 3))
            for part, errors in ((few.plain, plain), (few.normalized, normalized))
        ]
        return replace(few, plain=(few.plain[0], runs[0]), normalized=(few.normalized[0], runs[1]))

    for plain, normalized, name in (
        ((0.1, 0.2), (0.2, 0.3), "BN"),
        ((0.2, 0.3), (0.1, 0.2), "none"),
        ((0.1, 0.3), (0.2, 0.2), "neither"),
    ):
        assert with_errors(plain, normalized).worse(experiments.WRONG, 3) == name

    arms = (*experiments.split_arms(), *experiments.long_arms())
    losses = {"hidden": 3.0, "hidden, held": 1.1, "hidden, slow": 1.3, "hidden, slow and long": 2.0}
    column = torch.tensor([losses.get(arm.name, 1.0) for arm in arms])
    flat = column[:, None, None].expand(-1, 2, 7)
    split = experiments.Split(experiments.Runs(arms, torch.arange(7), *[flat] * 7), *[torch.zeros(2)] * 3)
    assert split.cured(1.2) == [("lengths held", "below 1.2 times")]
    assert split.cured(1.5)[1] == ("a quarter of the rate", "below 1.5 times")


def test_pictures(few):
    for picture in (
        figures.draw_wrong_labels(few),
        figures.draw_controls(few),
        figures.draw_best(few, experiments.FAMILIES),
        figures.draw_twins(experiments.exponential_twins(steps=5, width=8)),
    ):
        check_picture(picture)
    steps = experiments.SPLIT_STEPS[:3]
    runs = experiments.train(experiments.split_arms(), (0, 1), 0.0, [s // 100 for s in steps], **TINY)
    split = experiments.Split(runs, *[torch.zeros(2)] * 3)
    check_picture(figures.draw_split(split, [("", "free"), (", held", "held")], "train_loss"))
    assert split.ratio().shape == (2,)
    with pytest.raises(KeyError):
        few.runs(0, "nobody")


# What is moved


def reached(explorer, **settings):
    """Whether the goal is reached with these settings and the others as at the start."""
    return explorer.compute(**explorer.start | settings)["reached"]


def test_goal_of_the_noise_needs_sorted_samples():
    explorer = explorers.mean_noise_explorer()
    assert not reached(explorer)
    for size in experiments.SIZES:
        assert not reached(explorer, order="shuffled", size=size)
    assert reached(explorer, size=256)


def test_goal_of_the_decay_is_within_reach():
    explorer = explorers.decay_explorer()
    assert not reached(explorer)
    chosen = {"lr": 10**-1.25, "weight_decay": 10**-2.5, "start": 10**0.25}
    for name, value in chosen.items():
        assert value in explorer.controls[name].values
    assert reached(explorer, **chosen)
    assert not reached(explorer, **chosen | {"drop": 0.1})
