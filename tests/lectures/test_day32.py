"""Day 32: what the lecture computes, says in numbers, and lets a student move."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course.experiments import day32 as experiments
from course.explorers import day32 as explorers
from course.figures import day32 as figures
from tests.lectures.common import Moves, check_picture

#: What test_explorers.py moves.
EXPLORERS = {
    "batch size": Moves(
        explorers.batch_size_explorer,
        {"batch_size": experiments.BATCH_SIZES, "sample": (0, 4, 9)},
    ),
    "devices": Moves(
        explorers.devices_explorer,
        {"num_devices": (1, 2, 4), "shift": (0, 1.5, 3), "unequal": (False, True)},
        # One device lies in the middle whatever the shift.
        frames=2 * (1 + 3 + 3),
    ),
}


def draw(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# One sample in many batches


@pytest.mark.parametrize("batch_size", (2, 16, 256))
def test_company_is_batch_norm_and_group_norm_of_the_library(batch_size):
    features = experiments.hidden_features()
    state = experiments.company(features, 3, 5, batch_size, draws=4)
    generator = torch.Generator().manual_seed(0)
    others = torch.randint(len(features), (4, 256), generator=generator)
    for output, row in zip(state.outputs, others, strict=True):
        batch = torch.cat([features[3:4], features[row[1:batch_size]]])
        expected = F.batch_norm(batch, None, None, training=True)[0, 5]
        torch.testing.assert_close(output, expected)
    expected = F.group_norm(features, 4)[3, 5]
    assert state.group == pytest.approx(expected.item())
    expected = F.batch_norm(features, None, None, training=True)[3, 5]
    assert state.population == pytest.approx(expected.item())
    assert state.spread == state.spreads[experiments.BATCH_SIZES.index(batch_size)]


def test_company_refuses_a_batch_of_one():
    with pytest.raises(ValueError, match="from 2 to 256"):
        experiments.company(experiments.hidden_features(), 0, 0, 1)


def test_four_times_the_batch_halves_the_spread():
    for sample in range(10):
        spreads = experiments.company(experiments.hidden_features(), sample, 0, 8).spreads
        by_size = dict(zip(experiments.BATCH_SIZES, spreads.tolist(), strict=True))
        for size in (16, 32, 64):
            assert 0.4 < by_size[4 * size] / by_size[size] < 0.6
        assert spreads[-1] < spreads[-2] < spreads[-3]


def test_in_a_batch_of_two_only_the_sign_is_left():
    for sample in range(10):
        outputs = experiments.company(experiments.hidden_features(), sample, 0, 2).outputs.abs()
        assert outputs.max() <= 1
        assert (outputs > 0.95).double().mean() > 0.9
    pair = F.batch_norm(torch.tensor([[1.0], [200.0]]), None, None, training=True, eps=1e-12)
    torch.testing.assert_close(pair.flatten(), torch.tensor([-1.0, 1.0]))


# Many devices


@pytest.mark.parametrize("counts", ((1, 1), (8, 8, 24), (5, 1, 9, 2)))
def test_merged_statistics_are_those_of_the_union(counts):
    shards = [draw(k, n, 3) * (k + 1) + 1e3 * k for k, n in enumerate(counts)]
    mean, var = experiments.merge_statistics(
        torch.tensor(counts),
        torch.stack([shard.mean(0) for shard in shards]),
        torch.stack([shard.var(0, correction=0) for shard in shards]),
    )
    torch.testing.assert_close(mean, torch.cat(shards).mean(0))
    torch.testing.assert_close(var, torch.cat(shards).var(0, correction=0))


@pytest.mark.parametrize("num_devices", (1, 2, 3, 4))
@pytest.mark.parametrize("shift", (0, 1, 3))
@pytest.mark.parametrize("unequal", (False, True))
def test_devices_within_and_between(num_devices, shift, unequal):
    state = experiments.devices(num_devices, shift, unequal)
    sizes = [len(shard) for shard in state.shards]
    assert sizes == [8] * (num_devices - 1) + [32 if unequal else 8]
    union = torch.cat(state.shards)
    assert state.mean == pytest.approx(union.mean().item())
    assert state.variance == pytest.approx(union.var(correction=0).item())
    weighted = sum(n * v for n, v in zip(sizes, state.variances.tolist(), strict=True)) / sum(sizes)
    assert state.within == pytest.approx(weighted)
    assert state.between >= 0
    if num_devices == 1:
        assert state.averaged_variance == pytest.approx(state.variance)
    elif not unequal:
        assert state.averaged_variance < state.variance
        assert state.averaged_mean == pytest.approx(state.mean)
    elif shift:
        assert state.averaged_mean < state.mean - 0.1


def test_the_part_between_grows_with_the_square_of_the_shift():
    near, far = (experiments.devices(4, shift, False) for shift in (10, 20))
    assert far.between / near.between == pytest.approx(4, rel=0.1)
    assert far.within == pytest.approx(near.within)


def test_the_variance_of_the_quiz():
    means = torch.tensor([[-3.0], [-1.0], [1.0], [3.0]])
    mean, var = experiments.merge_statistics(torch.full((4,), 8), means, torch.ones(4, 1))
    assert (mean.item(), var.item()) == (0, 6)


def test_accumulated_gradients_are_not_those_of_one_batch():
    x, target = draw(0, 8, 3), draw(1, 8, 2)

    def gradient(size, norm):
        weight = draw(2, 3, 2).requires_grad_()
        for part, wanted in zip(x.split(size), target.split(size), strict=True):
            (((norm(part @ weight) - wanted) ** 2).sum() / len(x)).backward()
        return weight.grad

    def batch_norm(y):
        return F.batch_norm(y, None, None, training=True)

    torch.testing.assert_close(gradient(8, F.tanh), gradient(2, F.tanh))
    assert (gradient(8, batch_norm) - gradient(2, batch_norm)).abs().max() > 0.01


# Norms that came after


@pytest.mark.parametrize("size", (3, 4, 5, 20))
def test_ghost_batch_norm_is_batch_norm_of_the_parts(size):
    x = draw(3, 12, 4) * 3 + 2
    expected = [F.batch_norm(part, None, None, training=True) for part in x.split(size)]
    torch.testing.assert_close(experiments.ghost_batch_norm(x, size), torch.cat(expected))


def test_rms_and_layer_norm_agree_with_the_library():
    x = draw(4, 3, 7)
    torch.testing.assert_close(experiments.rms_norm(x), F.rms_norm(x, (7,), eps=1e-6))
    torch.testing.assert_close(experiments.layer_norm(x), F.layer_norm(x, (7,), eps=1e-6))
    torch.testing.assert_close(experiments.rms_norm(10 * x), experiments.rms_norm(x), rtol=1e-4, atol=0)
    assert (experiments.rms_norm(x + 10) - experiments.rms_norm(x)).abs().max() > 0.3
    torch.testing.assert_close(experiments.layer_norm(x + 10), experiments.layer_norm(x))
    assert not hasattr(nn.RMSNorm(4), "bias") or nn.RMSNorm(4).bias is None


def test_a_word_looks_ahead_through_batch_norm_only():
    text = draw(5, 4, 8, 16)
    changed = text.clone()
    changed[0, -1] += 3

    def moved(norm):
        return (norm(changed) - norm(text)).abs()

    through = moved(lambda x: F.batch_norm(x.flatten(0, 1), None, None, training=True).view_as(x))
    assert through[0, 0].max() > 0.1
    assert through[1, 0].max() > 0.1
    assert moved(experiments.rms_norm)[:, 0].max() == 0


def test_weight_norm_agrees_with_the_library_and_its_gradient_is_orthogonal():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(5, 3).double())
    g, v = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    torch.testing.assert_close(experiments.weight_norm(v, g.flatten()), layer.weight)
    (gradient,) = torch.autograd.grad((layer.weight * draw(6, 3, 5)).sum(), v)
    assert (gradient * v).sum(1).abs().max() < 1e-12
    # What the quiz says of a doubled v.
    doubled = (2 * v).detach().requires_grad_()
    weight = experiments.weight_norm(doubled, g.detach().flatten())
    torch.testing.assert_close(weight, layer.weight)
    (halved,) = torch.autograd.grad((weight * draw(6, 3, 5)).sum(), doubled)
    torch.testing.assert_close(2 * halved, gradient)


def test_standardized_filters_do_not_see_a_flat_image():
    filters = draw(7, 4, 2, 3, 3) + 0.5
    standardized = experiments.weight_standardization(filters)
    for row in standardized.flatten(1):
        assert abs(row.mean().item()) < 1e-12
        assert row.var(correction=0).item() == pytest.approx(1, abs=1e-3)
    flat = torch.full((1, 2, 5, 5), 7.0, dtype=torch.float64)
    assert F.conv2d(flat, standardized).abs().max() < 1e-9
    expected = F.batch_norm(filters.flatten(1).T, None, None, training=True).T.view_as(filters)
    torch.testing.assert_close(standardized, expected)


# The claim


@pytest.mark.parametrize("shape", ((12, 5), (12, 5, 3, 2)))
@pytest.mark.parametrize("size", (2, 4, 12))
def test_ghost_layer_is_batch_norm_per_device(shape, size):
    x = draw(8, *shape).float() * 2 + 1
    layer = experiments.GhostBatchNorm(5, size)
    with torch.no_grad():
        layer.weight.copy_(draw(9, 5))
        layer.bias.copy_(draw(10, 5))
    y = layer(x)
    means, variances = [], []
    for part, got in zip(x.split(size), y.split(size), strict=True):
        library = nn.BatchNorm2d(5) if len(shape) == 4 else nn.BatchNorm1d(5)
        library.load_state_dict(layer.state_dict(), strict=False)
        library.reset_running_stats()
        torch.testing.assert_close(got, library(part))
        means.append(library.running_mean)
        variances.append(library.running_var)
    torch.testing.assert_close(layer.running_mean, torch.stack(means).mean(0))
    torch.testing.assert_close(layer.running_var, torch.stack(variances).mean(0))
    layer.eval()
    assert torch.allclose(layer(x)[:3], layer(x[:3]), atol=1e-6)


@pytest.mark.parametrize("layers", ("conv", "dense"))
def test_values_in_a_mean_of_the_titles(layers):
    net = experiments.small_net(layers, "batch", 2)
    places = []
    for module in net:
        if isinstance(module, experiments.GhostBatchNorm):
            module.register_forward_hook(lambda _module, _inputs, y: places.append(math.prod(y.shape[2:])))
    assert net(torch.rand(4, 1, 8, 8)).shape == (4, 10)
    assert places == ([16, 4] if layers == "conv" else [1, 1])
    groups = [m for m in experiments.small_net(layers, "group", 2) if isinstance(m, nn.GroupNorm)]
    assert all(m.num_channels // m.num_groups == 8 for m in groups)


def test_the_verdict_on_small_batches():
    dense = experiments.error_by_size("dense", (2, 8, 64), range(5))
    assert dense.batch.shape == (5, 3)
    assert dense.batch[:, 0].min() > 0.2
    assert dense.group.max() < 0.08
    assert (dense.group - dense.batch[:, 2]).mean() > 0.005
    assert (dense.batch[:, 1] - dense.batch[:, 2]).mean() < 0.04
    conv = experiments.error_by_size("conv", (2, 64), range(5))
    rise = (conv.batch[:, 0] - conv.batch[:, 1]).mean()
    assert 0 < rise < 0.02


def test_error_by_size_draws_from_its_seed():
    def run(seed):
        return experiments.error_by_size("dense", (4,), [seed], epochs=1).batch

    before = torch.get_rng_state()
    first = run(0)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, run(0))
    assert not torch.equal(first, run(1))


# What is drawn and moved


def test_pictures():
    results = [experiments.error_by_size(layers, (4, 64), range(2), epochs=1) for layers in ("dense", "conv")]
    check_picture(figures.draw_error_by_size(results))


def test_the_goal_of_the_batch_size_is_one_size_for_every_image():
    explorer = explorers.batch_size_explorer()
    for sample in (0, 4, 9):
        explorer.controls["sample"].value = sample
        reached = []
        for size in experiments.BATCH_SIZES:
            explorer.controls["batch_size"].value = size
            if "(<b style" in explorer.goal_line.value:
                reached.append(size)
        assert reached == [128]


def test_the_goal_of_the_devices_needs_a_shift():
    explorer = explorers.devices_explorer()
    assert "not yet" in explorer.goal_line.value
    explorer.controls["shift"].value = 3
    assert "reached" in explorer.goal_line.value
    explorer.controls["num_devices"].value = 1
    assert "not yet" in explorer.goal_line.value
