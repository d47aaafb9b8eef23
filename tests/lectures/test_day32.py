"""Day 32: what the lecture computes, says in numbers, and lets a student move."""

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
    assert torch.equal(experiments.others(len(features), 4), others[:, 1:])


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
    # In double precision, whatever the counts are.
    torch.testing.assert_close(mean, torch.cat(shards).mean(0), rtol=1e-11, atol=0)
    torch.testing.assert_close(var, torch.cat(shards).var(0, correction=0), rtol=1e-11, atol=0)


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


@pytest.mark.parametrize(("r_max", "d_max"), ((1.0, 0.0), (3.0, 5.0), (1e9, 1e9)))
def test_batch_renorm_lies_between_the_batch_and_the_running_statistics(r_max, d_max):
    x = draw(11, 6, 3).requires_grad_()
    mean, var = draw(12, 3), draw(13, 3).abs() + 0.5
    y = experiments.batch_renorm(x, mean, var, r_max, d_max)
    if r_max == 1:
        torch.testing.assert_close(y, F.batch_norm(x, None, None, training=True))
    if r_max > 1e3:
        torch.testing.assert_close(y, F.batch_norm(x, mean, var))
        # The value is that of evaluation, the gradient still knows the batch: it sums to zero.
        (gradient,) = torch.autograd.grad((y * draw(14, 6, 3)).sum(), x)
        assert gradient.sum(0).abs().max() < 1e-12


def test_qk_norm_bounds_the_scores_and_tanh_its_values():
    q, k = draw(15, 8, 16), draw(16, 8, 16)
    scores = experiments.rms_norm(1e3 * q) @ experiments.rms_norm(1e3 * k).T / 16**0.5
    assert scores.abs().max() <= 16**0.5 + 1e-9
    torch.testing.assert_close(experiments.dynamic_tanh(q, 0.3), torch.tanh(0.3 * q))


# The claims


def parameters(net, runs):
    theta = experiments._draw(net.shapes, range(runs), 1)
    return theta + 0.1 * draw(17, *theta.shape).float()


def by_the_library(net, named, x, run):
    """One run of a SmallNet, out of modules, for batch norm over all images."""
    at = {name: value[run] for name, value in named.items()}
    if net.layers == "conv":
        h = x.view(-1, 1, 8, 8)
        first = at["first"].T.view(8, 1, 3, 3)
        second = at["second"].view(3, 3, 8, 8).permute(3, 2, 0, 1)
        steps = [lambda h: F.conv2d(h, first, stride=2, padding=1)]
        steps.append(lambda h: F.conv2d(h, second, stride=2, padding=1))
    else:
        h, steps = x, [lambda h: h @ at["first"], lambda h: h @ at["second"]]
    for k, step in enumerate(steps, 1):
        h = step(h)
        if net.norm == "group":
            h = F.group_norm(h, 4 if net.layers == "dense" else 2)
        else:
            shape = h.shape
            if net.norm == "place":
                h = h.flatten(1)
            h = torch.cat([F.batch_norm(part, None, None, training=True) for part in h.split(net.size)])
            h = h.view(shape)
        around = (1, -1, 1, 1)[: h.dim()]
        h = F.relu(h * at[f"gamma{k}.1"].view(around) + at[f"beta{k}.0"].view(around))
    if net.layers == "conv":
        h = h.flatten(2).transpose(1, 2).flatten(1)  # places first
    return h @ at["last.w"] + at["bias.0"]


@pytest.mark.parametrize("layers", ("dense", "conv"))
@pytest.mark.parametrize("norm", ("batch", "group", "place"))
def test_nets_side_by_side_are_those_of_the_library(layers, norm):
    net = experiments.SmallNet(layers, norm, 4)
    net.begin(2)
    theta, x = parameters(net, 2), draw(18, 2, 12, 64).float()
    named = experiments._named(theta, net.shapes)
    for run, logits in enumerate(net(theta, x, "train")):
        torch.testing.assert_close(logits, by_the_library(net, named, x[run], run), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layers", ("dense", "conv"))
def test_running_and_renewed_statistics(layers):
    net = experiments.SmallNet(layers, "batch", 4)
    net.begin(1)
    theta, x = parameters(net, 1), draw(19, 1, 12, 64).float()
    net(theta, x, "update")
    first = experiments._named(theta, net.shapes)["first"][0]
    if layers == "dense":
        h = x[0] @ first
        library = nn.BatchNorm1d(32)
        variances = []
        for part in h.split(4):
            library.reset_running_stats()
            library(part)
            variances.append(library.running_var.clone())
        torch.testing.assert_close(net.statistics[0].var[0, 0], torch.stack(variances).mean(0))
        torch.testing.assert_close(net.statistics[0].mean[0, 0], 0.1 * h.mean(0))
    # Renewed on one batch, evaluation is training mode with that batch, but for the unbiased variance.
    whole = net(theta, x, "renew")
    assert (net(theta, x, "eval") - whole).abs().max() < 0.2 * whole.abs().max()


def test_frozen_weights_stay_and_the_rest_learns_as_ever():
    theta, x = None, draw(23, 1, 12, 64).float()
    gradients = {}
    for norm in ("batch", "frozen"):
        net = experiments.SmallNet("dense", norm, 4)
        net.begin(1)
        theta = parameters(net, 1) if theta is None else theta.detach()
        theta.requires_grad_()
        loss = net(theta, x, "train").logsumexp(-1).sum()
        gradients[norm] = experiments._named(torch.autograd.grad(loss, theta)[0], net.shapes)
    for name, gradient in gradients["frozen"].items():
        if name in ("first", "second"):
            assert not gradient.any() and gradients["batch"][name].any()
        else:
            torch.testing.assert_close(gradient, gradients["batch"][name])


def test_without_eps_a_pair_lets_hardly_a_gradient_through():
    """Day 26's projection leaves N − 2 directions: of a pair none, but for eps."""
    sizes = {}
    for size in (2, 4):
        net = experiments.SmallNet("dense", "batch", size)
        net.EPS = 1e-12
        net.begin(1)
        theta, x = parameters(net, 1).double().requires_grad_(), draw(24, 1, 12, 64)
        (gradient,) = torch.autograd.grad(net(theta, x, "train").logsumexp(-1).sum(), theta)
        sizes[size] = experiments._named(gradient, net.shapes)["first"].norm()
    assert sizes[2] < 1e-6 * sizes[4]


def test_with_eps_the_few_nearly_equal_pairs_pass_a_larger_gradient_than_a_whole_batch():
    theta = None
    x, y, *_ = experiments._stacked([experiments.split_digits(seed) for seed in range(5)])
    x, y, sizes = x[:, :640], y[:, :640], {}
    for size in (2, 64):
        net = experiments.SmallNet("dense", "batch", size)
        net.begin(5)
        theta = experiments._draw(net.shapes, range(5), 1) if theta is None else theta
        norms = []
        for batch, labels in zip(x.split(64, 1), y.split(64, 1), strict=True):
            theta = theta.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(experiments._losses(net(theta, batch, "train"), labels), theta)
            norms.append(experiments._named(gradient, net.shapes)["first"].flatten(1).norm(dim=1))
        sizes[size] = torch.stack(norms).median(0).values
    assert (sizes[2] > 1.5 * sizes[64]).all()
    # The slope of a normalized pair in half its distance, and how much of its square lies with how few.
    pairs = torch.bmm(x, experiments._named(theta.detach(), net.shapes)["first"]).unflatten(1, (-1, 2))
    var = pairs.var(2, correction=0)
    slope = (net.EPS / (var + net.EPS) ** 1.5) ** 2
    near = var < 100 * net.EPS
    assert near.float().mean() < 0.1
    assert slope[near].sum() > 0.99 * slope.sum()


def test_in_pairs_the_layers_before_the_norms_learn_little_and_slowly():
    arms = {
        norm: experiments.train_arm("dense", norm, 2, range(5), (0.003, 0.01), epochs=60)
        for norm in ("batch", "frozen")
    }
    learned, frozen = (arms[norm].at_best("renewed_train") for norm in ("batch", "frozen"))
    assert (learned < frozen).all()
    assert (learned > 10).all()


def test_adam_side_by_side_is_that_of_the_library():
    start = draw(20, 2, 3)
    target = draw(21, 2, 3)
    rates = torch.tensor([0.1, 0.03], dtype=torch.float64)
    got = experiments._descend(start, lambda theta, _: ((theta - target) ** 4).sum(), rates, 7, warm_up=4)
    for run, rate in enumerate(rates.tolist()):
        weight = start[run].clone().requires_grad_()
        adam = torch.optim.Adam([weight], lr=rate)
        for step in range(7):
            adam.param_groups[0]["lr"] = rate * min(1, (step + 1) / 4)
            adam.zero_grad()
            ((weight - target[run]) ** 4).sum().backward()
            adam.step()
        torch.testing.assert_close(got[run], weight.detach())


@pytest.mark.parametrize("place", ("pre", "post"))
def test_the_transformer_is_that_of_the_library(place):
    net = experiments.Transformer(place, "layer", 1)
    theta, x = parameters(net, 1), draw(22, 1, 5, 64).float()
    at = {name: value[0] for name, value in experiments._named(theta, net.shapes).items()}
    layer = nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True, norm_first=place == "pre")
    with torch.no_grad():
        for wanted, name in (
            (layer.self_attn.in_proj_weight, "0.qkv.w"),
            (layer.self_attn.out_proj.weight, "0.out.w"),
            (layer.linear1.weight, "0.up"),
            (layer.linear2.weight, "0.down.w"),
        ):
            wanted.copy_(at[name].T)
        for bias in (layer.self_attn.in_proj_bias, layer.self_attn.out_proj.bias):
            bias.zero_()
        for linear in (layer.linear1, layer.linear2):
            linear.bias.zero_()
        for norm, name in ((layer.norm1, "0.a"), (layer.norm2, "0.b")):
            norm.weight.copy_(at[f"{name}.1"])
            norm.bias.copy_(at[f"{name}.0"])
        h = layer(x[0].view(5, 8, 8) @ at["embed.w"] + at["position.w"] * 8**0.5)
        if place == "pre":
            h = F.layer_norm(h, (16,), at["end.1"], at["end.0"])
        expected = h.mean(1) @ at["last.w"]
    torch.testing.assert_close(net(theta, x)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", ("tanh", "none"))
def test_what_stands_in_the_place_of_a_norm(norm):
    net = experiments.Transformer("pre", norm, 1)
    theta = parameters(net, 1)
    h = draw(23, 1, 4, 16).float()
    named = experiments._named(theta, net.shapes)
    y = torch.tanh(named["end.t"][0] * h) if norm == "tanh" else h
    torch.testing.assert_close(net._norm(h, named, "end"), y * named["end.1"][0] + named["end.0"][0])


def test_training_draws_from_its_seed_and_shares_it_among_rates():
    def run(seed):
        return experiments.train_arm("dense", "batch", 4, [seed], (0.01, 0.01), epochs=1).test

    before = torch.get_rng_state()
    first = run(0)
    assert torch.equal(before, torch.get_rng_state())
    assert first.shape == (2, 1)
    assert torch.equal(first, run(0))
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first, run(1))
    error = experiments.train_transformer("pre", "layer", 2, range(2), (0.01,), depth=1, steps=3)
    assert error.shape == (1, 2)


def test_gammas_of_the_blocks_begin_where_they_are_told(monkeypatch):
    begun = []
    monkeypatch.setattr(experiments, "_descend", lambda theta, *_: begun.append(theta) or theta)
    for gamma in (1.0, 0.5):
        experiments.train_transformer("pre", "none", 0, [0], (0.01,), depth=1, steps=1, gamma=gamma)
    shapes = experiments.Transformer("pre", "none", 1).shapes
    before, after = (experiments._named(theta, shapes) for theta in begun)
    for name in shapes:
        factor = 0.5 if name in ("0.a.1", "0.b.1") else 1
        torch.testing.assert_close(after[name], factor * before[name])


def test_qk_norm_bounds_every_score_whatever_the_weights():
    net = experiments.Transformer("pre", "layer", 1, qk=True)
    plain = experiments.Transformer("pre", "layer", 1)
    theta = experiments._draw(net.shapes, [0], 1)
    x = experiments.split_digits(0).train_x[None, :4]

    def moved(net, factor):
        longer = theta.clone()
        experiments._named(longer, net.shapes)["0.qkv.w"][..., : 2 * experiments.WIDTH] *= factor
        return (net(longer, x) - net(theta, x)).abs().max().item()

    assert moved(net, 10) < 1e-3 < 1e-2 < moved(plain, 10)


def test_scores_grow_little_at_the_best_rate_and_much_where_no_bound_helps(monkeypatch):
    """The largest score of a block, over that before training; the median of seeds and heads."""
    seeds, softmax, largest = range(5), torch.softmax, []

    def listening(scores, dim):
        largest.append(scores.abs().amax((1, 2)).median())
        return softmax(scores, dim=dim)

    seen = {}
    images = torch.stack([experiments.split_digits(seed).test_x[:100] for seed in seeds])
    descend = experiments._descend
    for rate in (0.0, 0.003, 0.03):
        ends = []
        monkeypatch.setattr(experiments, "_descend", lambda *a, to=ends: to.append(descend(*a)) or to[0])
        experiments.train_transformer("pre", "layer", 0, seeds, (rate,))
        largest.clear()
        with monkeypatch.context() as patch, torch.no_grad():
            patch.setattr(torch, "softmax", listening)
            experiments.Transformer("pre", "layer", 6)(ends[0], images)
        seen[rate] = torch.stack(largest)
    assert len(seen[0.0]) == 6
    assert (seen[0.003] < 2 * seen[0.0]).all()
    assert (seen[0.03] > 4 * seen[0.0]).all()


def test_what_is_predicted_is_what_is_measured():
    def arm(*errors):
        every = torch.tensor([errors], dtype=torch.float64).T.expand(-1, 3)
        return experiments.Arm(tuple(range(len(errors))), *[every] * 7)

    small = {
        ("dense", "batch", 2): arm(20, 10),
        ("dense", "batch", 64): arm(2, 5),
        ("conv", "batch", 2): arm(4),
        ("conv", "batch", 64): arm(1),
    }
    assert experiments.suffers_more(small) == "dense"
    small["conv", "batch", 64] = arm(0.5)
    assert experiments.suffers_more(small) == "conv"

    def placed(*errors):
        return experiments.Placed((0.003, 0.01), torch.tensor(errors)[:, None].expand(-1, 3))

    arms = {name: placed(1.0, 90.0 - i) for i, name in enumerate(experiments.PLACES)}
    assert experiments.by_error(arms, 0.01) == list(experiments.PLACES)[:4][::-1]
    arms |= {"pre, DyT": placed(10.0, 60.0), "pre, no norm": placed(50.0, 90.0), "pre-LN": placed(90.0, 42.0)}
    assert experiments.stands_by(arms, "pre-LN", ("pre, DyT", "pre, no norm")) == "pre, no norm"


# What is drawn and moved


def test_pictures():
    errors = torch.linspace(1, 90, 10).view(2, 5)
    arms = {name: experiments.Arm((0.003, 0.01), *[errors] * 7) for name in experiments.SMALL_BATCHES}
    placed = {name: experiments.Placed((0.003, 0.01), errors) for name in experiments.PLACES}
    for draw_arms in (
        figures.draw_small_batches,
        figures.draw_three_errors,
        figures.draw_asked,
        figures.draw_mechanism,
    ):
        check_picture(draw_arms(arms))
    check_picture(figures.draw_placed_norms(placed, list(placed)[:4], "Four arms"))
    five = figures.draw_placed_norms(placed, list(placed)[:5], "Five arms")
    assert [text.get_text() for text in five.figure.axes[0].get_legend().get_texts()] == list(placed)[:5]
    assert (len(experiments.judge_small_batches(arms)), len(experiments.judge_placed_norms(placed))) == (
        12,
        13,
    )


def test_the_goal_of_the_batch_size_is_one_size_for_every_image():
    explorer = explorers.batch_size_explorer()
    for sample in (0, 4, 9):
        reached = [n for n in experiments.BATCH_SIZES if explorer.compute(n, sample)["reached"]]
        assert reached == [128]


def test_the_goal_of_the_devices_needs_a_shift():
    explorer = explorers.devices_explorer()
    apart = explorer.start | {"shift": 3}
    assert not explorer.compute(**explorer.start)["reached"]
    assert explorer.compute(**apart)["reached"]
    assert not explorer.compute(**apart | {"num_devices": 1})["reached"]
