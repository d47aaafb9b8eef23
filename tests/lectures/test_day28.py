"""Day 28: what the lecture computes, says in numbers, and lets a student move."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course.experiments import day28 as experiments
from course.explorers import day28 as explorers
from course.figures import day28 as figures
from tests.lectures.common import Moves, check_picture

#: What test_explorers.py moves.
EXPLORERS = {
    "channel": Moves(
        explorers.channel_explorer,
        {
            "channel": range(4),
            "num_images": (2, 64),
            "axes": ((0,), (0, 2, 3)),
            "place": ((0, 0), (3, 4), (7, 7)),
        },
    ),
    "learning rate": Moves(
        explorers.learning_rate_explorer,
        {"index": (0, 3, 6), "shown": ("none", "before", "both")},
    ),
    "new data": Moves(
        explorers.new_data_explorer,
        {"contrast": (0.1, 2), "brightness": (-0.5, 1), "num_images": (2, 512)},
    ),
}
SEEDS = range(5)


# What is computed


@pytest.mark.parametrize("num_images", (2, 8, 32))
def test_channel_view_is_the_library(num_images):
    x = experiments.feature_maps(num_images)
    assert x.shape == (num_images, 4, 8, 8)
    expected = F.batch_norm(x, None, None, training=True)
    for channel in range(4):
        view = experiments.channel_view(channel, num_images, (0, 2, 3))
        torch.testing.assert_close(view.x_hat, expected[:, channel])
        assert view.values_per_mean == num_images * 64 and view.mean.numel() == 1
        assert experiments.histogram(view.x).sum() == view.x.numel()
        places = experiments.channel_view(channel, num_images, (0,))
        assert places.values_per_mean == num_images and places.mean.numel() == 64
        flat = F.batch_norm(x[:, channel].flatten(1), None, None, training=True)
        torch.testing.assert_close(places.x_hat.flatten(1), flat)


@pytest.mark.parametrize("kind", experiments.PLACES)
def test_networks_side_by_side_are_networks_one_by_one(kind):
    """One of the groups, trained again with PyTorch's own layers and optimizer."""
    lrs, seeds, steps = (0.1, 0.5), (3, 4), 12
    result = experiments.sweep(kind, lrs, seeds, steps=steps)
    nets = experiments._Nets(kind, 1, (4,))
    if kind == "once":
        nets.scale_once(experiments.split_digits(4).train_x[:256, None])
    layers, width = [], 1
    for number, channels in enumerate(experiments.CHANNELS):
        place = experiments.PLACES[kind][number]
        conv = nn.Conv2d(width, channels, 3, stride=1 + (number == 2), padding=1, bias=place == "none")
        conv.weight.data = nets.kernels[number].detach().clone()
        if place == "none":
            conv.bias.data = nets.shifts[number].detach().clone()
        norm = [nn.BatchNorm2d(channels)]
        layers += [conv, *(norm if place == "before" else []), nn.ReLU(), *(norm if place == "after" else [])]
        width = channels
    last = nn.Linear(experiments.LAST, 10)
    last.weight.data, last.bias.data = nets.last[0].detach().T.clone(), torch.zeros(10)
    model = nn.Sequential(*layers, nn.Flatten(), last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    digits = experiments.split_digits(4)
    order = torch.randperm(len(digits.train_x), generator=torch.Generator().manual_seed(4))
    losses = []
    for rows in order.split(64)[:steps]:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(digits.train_x[rows].view(-1, 1, 8, 8)), digits.train_y[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    torch.testing.assert_close(result.losses[1, 1], torch.tensor(losses), rtol=2e-3, atol=2e-3)
    with torch.no_grad():
        right = model.eval()(digits.test_x.view(-1, 1, 8, 8)).argmax(1) == digits.test_y
    assert result.accuracy[1, 1].item() == pytest.approx(100 * right.double().mean().item(), abs=1)


def test_scaled_once_has_mean_0_and_variance_1_in_each_channel():
    nets = experiments._Nets("once", 2, (0, 1))
    images = torch.stack([experiments.split_digits(seed).train_x[:256] for seed in (0, 1)], dim=1)
    nets.scale_once(images)
    x = nets._maps(images)
    for number in range(3):
        maps = nets._convolution(x, number)
        torch.testing.assert_close(maps.mean((0, 2, 3)), torch.zeros(32), atol=1e-4, rtol=0)
        torch.testing.assert_close(maps.var((0, 2, 3), correction=0), torch.ones(32), atol=1e-3, rtol=0)
        x = maps.relu()


def test_held_clipped_and_scaled_steps():
    nets = {name: experiments._Nets("none", 2, (0,)) for name in ("free", "held", "others", "clipped")}
    images = experiments.split_digits(0).train_x[:32, None]
    y = experiments.split_digits(0).train_y[:32, None]
    moved = {}
    for name, how in {
        "free": (None, None),
        "held": (0.1, None),
        "others": (None, None, 0.1),
        "clipped": (None, 0.5),
    }.items():
        net = nets[name]
        start = [p.detach().clone() for p in net.parameters]
        net.step(net.losses(net.logits(images, True), y), torch.tensor([0.05, 1.0]), *how)
        moved[name] = [p.detach() - q for p, q in zip(net.parameters, start, strict=True)]
    for free, held in zip(moved["free"][2:], moved["held"][2:], strict=True):
        torch.testing.assert_close(free, held)
    torch.testing.assert_close(moved["held"][0][0], moved["free"][0][0])
    torch.testing.assert_close(moved["held"][0][1], 0.1 * moved["free"][0][1])
    for free, held in zip(moved["free"][:2], moved["others"][:2], strict=True):
        torch.testing.assert_close(free, held)
    for free, held in zip(moved["free"][2:], moved["others"][2:], strict=True):
        torch.testing.assert_close(held.chunk(2)[0], free.chunk(2)[0])
        torch.testing.assert_close(held.chunk(2)[1], 0.1 * free.chunk(2)[1])
    for number, lr in enumerate((0.05, 1.0)):
        norm = torch.cat([m.reshape(2, -1)[number] for m in moved["clipped"]]).norm()
        assert norm.item() == pytest.approx(0.5 * lr, rel=1e-4)
    plain, gained = (experiments._Nets("none", 1, (0,), gain) for gain in (1.0, 2.0))
    torch.testing.assert_close(2 * plain.logits(images, False), gained.logits(images, False))
    once = experiments.sweep("none", (0.1,), (0,), steps=1, standardized=True)
    x = experiments.split_digits(0).train_x
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:64]
    shown = ((x - x.mean()) / x.std())[order, None]
    expected = plain.losses(plain.logits(shown, True), experiments.split_digits(0).train_y[order, None])
    torch.testing.assert_close(once.losses[0, 0], expected.detach(), rtol=1e-4, atol=1e-4)


def test_steps_of_adam_are_those_of_the_library():
    """Each network with its own rate; a parameter of two networks and its gradient, step by step."""
    nets, lrs = experiments._Nets("before", 2, (0,)), (0.01, 0.05)
    data = experiments.split_digits(0)
    twins = [[p.detach().chunk(2)[k].clone().requires_grad_() for p in nets.parameters] for k in (0, 1)]
    optimizers = [torch.optim.Adam(twin, lr=lr) for twin, lr in zip(twins, lrs, strict=True)]
    for rows in torch.arange(5 * 32).split(32):
        losses = nets.losses(nets.logits(data.train_x[rows, None], True), data.train_y[rows, None])
        gradients = torch.autograd.grad(losses.sum(), nets.parameters, retain_graph=True)
        nets.adam_step(losses, torch.tensor(lrs))
        for number, optimizer in enumerate(optimizers):
            for twin, gradient in zip(twins[number], gradients, strict=True):
                twin.grad = gradient.chunk(2)[number].clone()
            optimizer.step()
            for twin, parameter in zip(twins[number], nets.parameters, strict=True):
                torch.testing.assert_close(parameter.chunk(2)[number], twin, rtol=1e-5, atol=1e-6)


def test_a_sweep_by_adam_takes_its_steps():
    """Against PyTorch's own layers and optimizer, on the same batches."""
    result = experiments.sweep("none", (0.01, 0.02), (4,), steps=6, adam=True)
    nets, data = experiments._Nets("none", 1, (4,)), experiments.split_digits(4)
    optimizer = torch.optim.Adam(nets.parameters, lr=0.02)
    order = torch.randperm(len(data.train_x), generator=torch.Generator().manual_seed(4))
    losses = []
    for rows in order.split(64)[:6]:
        optimizer.zero_grad()
        loss = nets.losses(nets.logits(data.train_x[rows, None], True), data.train_y[rows, None])
        loss.sum().backward()
        optimizer.step()
        losses.append(loss.item())
    torch.testing.assert_close(result.losses[1, 0], torch.tensor(losses), rtol=1e-3, atol=1e-3)


def test_steps_to_a_loss():
    losses = torch.tensor([[[3.0, 2, 1, 0, 0, 0, 0]], [[3.0, 3, 3, 3, 3, 3, math.nan]]])
    blank = torch.zeros(2, 1)
    result = experiments.Sweep("none", torch.tensor([0.1, 1.0]), losses, blank, blank, blank)
    assert result.steps_to(1.25, window=4).tolist() == [[5], [math.inf]]
    steps, rate = result.best_steps(0.7)
    assert steps.tolist() == [6] and rate == pytest.approx(0.1)


def test_a_step_with_batch_norm_is_timed_against_one_without():
    ratio = experiments.step_ratio(rounds=2, repeat=1)
    assert ratio.shape == (2,) and (ratio > 0).all()


def test_residual_branches():
    zero = experiments.residual_sizes("zero", depth=3)
    assert (zero == zero[0]).all()
    norm, none = (experiments.residual_sizes(kind, depth=16) for kind in ("norm", "none"))
    assert none[-1] > 5 * norm[-1] > 5 * norm[0]
    with pytest.raises(ValueError, match="kind"):
        experiments.residual_sizes("all")


@pytest.mark.parametrize("bias", (False, True))
def test_folding_forward(bias):
    torch.manual_seed(0)
    norm, conv = nn.BatchNorm2d(3).double().eval(), nn.Conv2d(3, 4, 3, bias=bias).double()
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
        tensor.uniform_(0.5, 2)
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(experiments.fold_forward(norm, conv)(x), conv(norm(x)))
    conv.padding = (1, 1)
    wrong = (experiments.fold_forward(norm, conv)(x) - conv(norm(x))).abs().amax((0, 1))
    assert wrong[1:-1, 1:-1].max() < 1e-10 and wrong[0].max() > 0.01


def test_sweep_refuses_another_kind():
    with pytest.raises(ValueError, match="kind"):
        experiments.sweep("both", (0.1,), (0,))


def test_folding_keeps_the_function_and_the_network():
    trained = experiments.trained_net(0)
    folded = experiments.fold_net(trained.net)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded)
    assert isinstance(trained.net[1], nn.BatchNorm2d)
    conv, norm = trained.net[3], trained.net[4]
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    # The formula of the text, with no bias in the convolution.
    torch.testing.assert_close(folded[2].weight, scale[:, None, None, None] * conv.weight)
    torch.testing.assert_close(folded[2].bias, scale * (0 - norm.running_mean) + norm.bias)


def test_recalibrated_is_the_plain_average():
    trained = experiments.trained_net(0)
    before = {name: tensor.clone() for name, tensor in trained.net.state_dict().items()}
    x = trained.train_x[:96]
    net = experiments.recalibrated(trained.net, x, 3)
    with torch.no_grad():
        seen = [trained.net[0](batch) for batch in x.chunk(3)]
    mean = torch.stack([batch.mean((0, 2, 3)) for batch in seen]).mean(0)
    var = torch.stack([batch.transpose(0, 1).flatten(1).var(1) for batch in seen]).mean(0)
    torch.testing.assert_close(net[1].running_mean, mean)
    torch.testing.assert_close(net[1].running_var, var)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.net.state_dict().items())
    for name, tensor in net.state_dict().items():
        assert "running" in name or "tracked" in name or torch.equal(tensor, before[name])


# What the lecture says in numbers


def test_the_bias_before_batch_norm_is_redundant():
    torch.manual_seed(0)
    x = torch.randn(8, 3, 6, 6, dtype=torch.float64)
    conv, norm = nn.Conv2d(3, 5, 3).double(), nn.BatchNorm2d(5).double()
    y = norm(conv(x))
    (y * torch.randn_like(y)).sum().backward()
    assert conv.bias.grad.abs().max() < 1e-12
    with torch.no_grad():
        conv.bias += 7
    torch.testing.assert_close(norm(conv(x)), y)
    with torch.no_grad():
        conv.bias -= 7
    # Between a ReLU and a batch norm it is not.
    conv.bias.grad = None
    (norm(conv(x).relu()) * torch.randn_like(y)).sum().backward()
    assert conv.bias.grad.abs().min() > 1e-3


def test_the_share_of_positives_is_that_of_the_quotient():
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(1))
    for gamma, beta in ((1, 1), (5, 1), (1, -1)):
        share = (gamma * x + beta > 0).double().mean().item()
        assert share == pytest.approx(torch.special.ndtr(torch.tensor(beta / gamma)).item(), abs=0.005)


@pytest.fixture(scope="module")
def few():
    """Both claims, from two seeds and a few steps."""
    sweeps = {
        name: experiments.sweep(kind, lrs, (0, 1), 12, **how)
        for name, (kind, lrs, how) in experiments.ARMS.items()
    }
    places = (
        {
            name: experiments.sweep(kind, rates, (0, 1), 12, **how)
            for name, (kind, how) in experiments.ORDERS.items()
        }
        for rates in (experiments.PLACE_RATES, experiments.FAST_RATES)
    )
    return experiments.Speed(sweeps, {}), experiments.Places(*places)


def test_claims_are_judged_from_what_was_measured(few):
    speed, places = few
    assert speed.at("none", 0.1).equal(speed.sweeps["none"].final[2])
    assert speed.steps("none", 0.1).equal(speed.sweeps["none"].steps_to()[2])
    assert places.ratio("before").unique().tolist() == places.best_ratio("before").unique().tolist() == [1]
    for findings in (experiments.judge_speed(speed), experiments.judge_places(places)):
        assert all(finding.held.shape == (2,) for finding in findings)


def test_gates_are_given_what_was_measured(few):
    speed, places = few
    rates, losses = speed.by_rate("none")
    assert rates.equal(speed.sweeps["none"].lrs) and losses.shape == rates.shape
    assert losses[2] == speed.at("none", 0.1).median()

    # Training losses (L = 2 rates, S = 2 seeds) that fall to 0 in the step given, at 0.03 and 0.1.
    def falls(*steps):
        losses = torch.where(torch.arange(1, 41) >= torch.tensor(steps).view(2, 2, 1), 0.0, 2.0)
        blank = torch.zeros(2, 2)
        return experiments.Sweep("none", torch.tensor([0.03, 0.1]), losses, blank, blank, blank)

    sweeps = {"batch norm": falls(35, 36, 10, 10), "scaled once": falls(33, 34, 34, 8)}
    made = experiments.Speed(sweeps | {"none": falls(40, 40, 22, 22)}, {})
    assert made.lower(0.03) == "scaled once" and made.lower(0.1) == "neither"
    assert replace(made, sweeps=sweeps | {"scaled once": falls(37, 38, 9, 9)}).lower(0.03) == "batch norm"
    # Four of the last five losses have to be 0 for a mean of 0.5: 3 steps after the fall.
    assert made.saved("batch norm", "none") == pytest.approx(100 * (1 - 13 / 25))

    def ratios(*values):
        losses = torch.tensor(values)[:, None, None].expand(2, 2, 20)
        blank = torch.zeros(2, 2)
        return experiments.Sweep("none", torch.tensor([0.1, 0.3]), losses, blank, blank, blank)

    sweeps = {"before": ratios(1.0, 1.0), "after": ratios(0.79, 0.81)}
    sweeps |= {"before, before, after": ratios(0.5, 0.7), "after, after, before": ratios(1.1, 0.9)}
    fast = {"before": ratios(2.0, 3.0), "after": ratios(0.4, 9.0)}
    made = experiments.Places(sweeps, fast)
    assert made.best("after")[0].tolist() == pytest.approx([0.4, 0.4])
    assert made.best_ratio("after").tolist() == pytest.approx([0.4, 0.4])
    assert made.lower_by(0.2) == [
        ("all three", "rate 0.1"),
        ("only the last", "rate 0.1"),
        ("only the last", "rate 0.3"),
    ]
    assert all(name in experiments.ORDERS for name in experiments.MOVED.values())
    assert isinstance(places.lower_by(0.2), list)
    assert experiments.channel_view(0, 2, (0,)).different == 3
    assert experiments.channel_view(0, 2, (0, 2, 3)).different > 10


def test_folding_in_numbers():
    result = experiments.folding((1,), SEEDS, rounds=3, repeat=2)
    assert (result.difference < 1e-4).all()
    assert (result.size > 5).all()
    assert result.speedup.shape == (1, 3)
    # Numbers of the kernel, gamma, beta and stored statistics against those of one convolution.
    trained = experiments.trained_net(0).net
    assert sum(p.numel() for p in trained[:2].parameters()) == 88
    assert sum(p.numel() for p in experiments.fold_net(trained)[:1].parameters()) == 80


def test_early_statistics_in_numbers():
    result = experiments.early_statistics((5, 10), SEEDS)
    gap = result.renewed - result.stored
    assert (gap > 0).all() and gap.mean(1).min() > 5
    # With the 0 and 1 of the start taken out, most of the gap is gone.
    assert ((result.renewed - result.corrected).mean(1) < gap.mean(1) / 2).all()


def test_statistics_without_their_start_are_an_average_of_the_batches_alone():
    torch.manual_seed(0)
    net, batches = (
        nn.Sequential(nn.BatchNorm2d(3, momentum=0.01)).double(),
        2 + torch.randn(3, 8, 3, 4, 4).double(),
    )
    for batch in batches:
        net(batch)
    weights = 0.99 ** torch.arange(2, -1, -1, dtype=torch.float64)[:, None]
    corrected = experiments.without_start(net, 0.99**3)[0]
    for found, values in (
        (corrected.running_mean, batches.mean((1, 3, 4))),
        (corrected.running_var, batches.var((1, 3, 4))),
    ):
        torch.testing.assert_close(found, (weights * values).sum(0) / weights.sum())
    assert net[0].running_mean.max() < 0.1


def test_a_centred_input_of_the_classifier_has_mean_0_in_each_channel():
    """The logits of a centred net are those of the other less a number for each digit."""
    images = experiments.split_digits(0).train_x[:32, None]
    plain, centred = (experiments._Nets("before", 1, (0,), centred=which) for which in (False, True))
    difference = plain.logits(images, True) - centred.logits(images, True)
    torch.testing.assert_close(difference, difference[:1].expand_as(difference), rtol=1e-4, atol=1e-4)
    assert difference.abs().max() > 0.01
    assert centred.logits(images, True).mean(0).abs().max() < plain.logits(images, True).mean(0).abs().max()


def test_new_data_in_numbers():
    same = experiments.new_data(1, 0, 1024)
    assert same.accuracy_stored > 95 and abs(same.accuracy_new - same.accuracy_stored) < 1
    for seed in SEEDS:
        state = experiments.new_data(1, 1, 64, seed=seed)
        assert state.accuracy_stored < 200 / 3 and state.accuracy_new > 90
    assert (experiments.from_few_images(2, (0,), draws=4) >= 90).all()


def test_the_repair_is_complete_if_the_frame_changes_too():
    """With zeros around the image that change with the camera, statistics undo it completely."""
    trained = experiments.trained_net(0)
    first = nn.Conv2d(1, 8, 3, bias=False)
    first.weight = trained.net[0].weight
    net = nn.Sequential(first, *trained.net[1:])

    def framed(x, contrast, brightness):
        return contrast * F.pad(x, (1, 1, 1, 1)) + brightness

    accuracies = []
    for contrast, brightness in ((1, 0), (0.3, 1)):
        new = experiments.recalibrated(net, framed(trained.train_x[:64], contrast, brightness))
        shown = framed(trained.test_x, contrast, brightness)
        accuracies.append(experiments.accuracy(new, shown, trained.test_y))
    assert accuracies[0] == pytest.approx(accuracies[1], abs=1)
    assert experiments.new_data(0.3, 1, 64).accuracy_new < accuracies[1] - 5


def test_no_value_of_a_map_lies_on_the_edge_of_a_bin():
    """The page adds in another order; a histogram must not depend on the last digit."""
    edges = (torch.arange(experiments.BINS + 1, dtype=torch.float64) - experiments.BINS / 2) * experiments.BIN
    for channel in range(4):
        x = experiments.channel_view(channel, 64, (0,)).x.flatten()
        assert (x[:, None] - edges).abs().min() > 0.003
    one = torch.tensor([-9.0, -0.09, 0.09, 0.1, 9.0])
    counts = experiments.histogram(one)
    assert counts[[0, 24, 25, 48]].tolist() == [1, 2, 1, 1] and counts.sum() == 5


def test_goals_can_be_reached():
    explorer = explorers.channel_explorer()
    assert not explorer.compute(**explorer.start)["reached"]
    assert not explorer.compute(**explorer.start | {"axes": (0,)})["reached"]
    state = explorer.compute(**explorer.start | {"axes": (0,), "num_images": 2})
    assert state["reached"]
    rounded = state["x_hat"].abs()
    assert ((rounded > 0.95) | (rounded < 0.05)).double().mean() > 0.95

    explorer = explorers.learning_rate_explorer()
    reached = [explorer.compute(**explorer.start | {"index": i})["reached"] for i in range(7)]
    assert reached == [False] * 5 + [True, False]

    explorer = explorers.new_data_explorer()
    assert not explorer.compute(**explorer.start)["reached"]
    assert explorer.compute(contrast=0.3, brightness=0.3, num_images=8)["reached"]
    assert not explorer.compute(contrast=0.3, brightness=0.3, num_images=16)["reached"]


def test_what_the_text_says_of_new_data_the_explorer_shows():
    state = explorers.new_data_explorer().compute(contrast=1.0, brightness=1.0, num_images=64)
    assert 28 < state["accuracy_stored"] < 39 and state["accuracy_new"] > 90  # about a third
    tests = experiments.trained_net(0).test_y[:8]
    assert (state["answers_new"] == tests).sum() > (state["answers_stored"] == tests).sum()


def test_log_10_is_the_loss_of_guessing():
    assert math.log(10) == pytest.approx(2.3, abs=0.01)


def test_figures_are_pictures(few):
    speed, places = few
    check_picture(figures.draw_controls(speed))
    check_picture(figures.draw_steps(speed, 1.3))
    check_picture(figures.draw_places(places, ["after", "before, times √2"]))
    check_picture(figures.draw_folding(experiments.folding((1, 4), (0,), rounds=3, repeat=1)))
    check_picture(figures.draw_early_statistics(experiments.early_statistics((1, 2), (0, 1))))
