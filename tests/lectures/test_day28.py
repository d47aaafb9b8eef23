"""Day 28: what the lecture computes, says in numbers, and lets a student move."""

import math

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
        {"channel": range(4), "num_images": (2, 64), "axes": ((0,), (0, 2, 3))},
    ),
    "learning rate": Moves(
        explorers.learning_rate_explorer,
        {"index": (0, 3, 6), "shown": ("none", "before", "after", "all")},
    ),
    "new data": Moves(
        explorers.new_data_explorer,
        {"contrast": (0.1, 2), "brightness": (-0.5, 1), "num_images": (2, 1024)},
    ),
}
SEEDS = range(5)


@pytest.fixture(scope="module")
def sweeps():
    """The experiment of the claim, as the lecture runs it."""
    return {kind: experiments.learning_rate_sweep(kind) for kind in experiments.KINDS}


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
        places = experiments.channel_view(channel, num_images, (0,))
        assert places.values_per_mean == num_images and places.mean.numel() == 64
        flat = F.batch_norm(x[:, channel].flatten(1), None, None, training=True)
        torch.testing.assert_close(places.x_hat.flatten(1), flat)


@pytest.mark.parametrize("kind", experiments.KINDS)
def test_networks_side_by_side_are_networks_one_by_one(kind):
    """One of the groups, trained again with PyTorch's own layers and optimizer."""
    lrs, seeds, steps = (0.1, 0.5), (3, 4), 12
    result = experiments.sweep(kind, lrs, seeds, steps=steps)
    nets = experiments._Nets(kind, 1, (4,))
    layers, width = [], 1
    for number, channels in enumerate(experiments.CHANNELS):
        conv = nn.Conv2d(width, channels, 3, stride=1 + (number == 2), padding=1, bias=kind == "none")
        conv.weight.data = nets.kernels[number].detach().clone()
        if kind == "none":
            conv.bias.data.zero_()
        norm = [nn.BatchNorm2d(channels)]
        layers += [conv, *(norm if kind == "before" else []), nn.ReLU(), *(norm if kind == "after" else [])]
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


def test_the_claim_in_numbers(sweeps):
    """Learning rates that work, and the comparison at each of them, seed by seed."""
    rates = {kind: experiments.largest_rate(result) for kind, result in sweeps.items()}
    assert rates == pytest.approx({"none": 0.3, "before": 1.0, "after": 1.0})
    none, before, after = (sweeps[kind] for kind in experiments.KINDS)
    assert none.lrs.tolist() == pytest.approx(experiments.LEARNING_RATES)
    # At 1 guessing without it, below 0.2 with it; at 3 nothing trains.
    assert (none.final[5] > 2).all() and (before.final[5] < 0.2).all() and (after.final[5] < 0.2).all()
    assert (none.spread[5] < 1e-3).sum() >= 3 and (before.spread[5] > 1).all()
    assert not any(result.trains()[6] for result in sweeps.values())
    # At every rate up to 1, in every seed.
    assert (before.final[:6] < none.final[:6]).all()
    # The best mean loss with batch norm is less than half of the best without.
    assert before.final.mean(1).min() < 0.5 * none.final.mean(1).min()


def test_before_or_after_in_numbers(sweeps):
    _, before, after = (sweeps[kind] for kind in experiments.KINDS)
    assert (after.final[:4] < before.final[:4]).all()
    assert (after.final[:6].mean(1) < before.final[:6].mean(1)).all()
    # Test accuracy: within one point of each other at 0.6 and 1, on average.
    gap = (after.accuracy - before.accuracy).mean(1)
    assert (gap[4:6].abs() < 1).all()
    assert (gap[:2] > 3).all()


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
    assert (result.renewed > result.stored).all()
    assert (result.renewed - result.stored).mean(1).min() > 5


def test_new_data_in_numbers():
    same = experiments.new_data(1, 0, 1024)
    assert same.accuracy_stored > 95 and abs(same.accuracy_new - same.accuracy_stored) < 1
    for seed in SEEDS:
        state = experiments.new_data(1, 1, 64, seed=seed)
        assert state.accuracy_stored < 200 / 3 and state.accuracy_new > 90
        # Two images are often enough.
        assert experiments.new_data(0.5, 0.5, 2, seed=seed).accuracy_new > 90


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


def test_goals_can_be_reached():
    explorer = explorers.channel_explorer()
    assert not explorer.goal.reached(explorer.state)
    explorer.controls["axes"].value = (0,)
    assert not explorer.goal.reached(explorer.state)
    explorer.controls["num_images"].value = 2
    assert explorer.goal.reached(explorer.state)
    rounded = explorer.state.x_hat.abs()
    assert ((rounded > 0.95) | (rounded < 0.05)).double().mean() > 0.95

    explorer = explorers.learning_rate_explorer()
    reached = []
    for index in range(7):
        explorer.controls["index"].value = index
        reached.append(explorer.goal.reached(explorer.state))
    assert reached == [False] * 5 + [True, False]

    explorer = explorers.new_data_explorer()
    assert not explorer.goal.reached(explorer.state)
    explorer.controls["contrast"].value = 0.3
    explorer.controls["brightness"].value = 0.3
    explorer.controls["num_images"].value = 8
    assert explorer.goal.reached(explorer.state)


def test_log_10_is_the_loss_of_guessing():
    assert math.log(10) == pytest.approx(2.3, abs=0.01)


def test_figures_are_pictures(sweeps):
    check_picture(figures.draw_sweep(tuple(sweeps.values())))
    check_picture(figures.draw_folding(experiments.folding((1, 4), (0,), rounds=3, repeat=1)))
    check_picture(figures.draw_early_statistics(experiments.early_statistics((1, 2), (0, 1))))
