"""Day 27: what the lecture computes, says in numbers, and lets a student move."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course.experiments import day27 as experiments
from course.explorers import day27 as explorers
from course.figures import day27 as figures
from tests.lectures.common import Moves, check_picture

#: What test_explorers.py moves.
EXPLORERS = {
    "running statistics": Moves(
        explorers.running_statistics_explorer,
        {
            "momentum": (0.1, 1.0, None),
            "batch_size": (2, 256),
            "mean_after": (-2, 6),
        },
    ),
    "layer table": Moves(
        explorers.layer_table_explorer,
        {
            "batches": (0, 20),
            "training": (False, True),
            "requires_grad": (False, True),
            "momentum": (0.0, 0.1),
            "learning": (False, True),
        },
        # Without batches momentum and learning do nothing; with eval() momentum does nothing.
        frames=4 + 8 + 4,
    ),
    "company": Moves(
        explorers.company_explorer,
        {
            "index": (0, 19),
            "batch_size": (2, 128),
            "kind": ("random", "own", "other"),
            "shown": (1, 40),
        },
    ),
}


@pytest.fixture(scope="module")
def statistics():
    """The experiment of the first claim with its controls, of two seeds."""
    return experiments.whose_statistics(range(2))


# What is computed


@pytest.mark.parametrize("momentum", (0.01, 0.1, 0.3, 1.0, None))
@pytest.mark.parametrize("batch_size", (2, 7, 64))
def test_running_statistics_are_those_of_the_library(momentum, batch_size):
    state = experiments.running_statistics(momentum, batch_size, 5.0)
    generator = torch.Generator().manual_seed(27)
    noise = torch.randn(200, 256, generator=generator, dtype=torch.float64)[:, :batch_size]
    x = torch.where(torch.arange(200)[:, None] < 100, 2 + 2 * noise, 5 + 2 * noise)
    layer = nn.BatchNorm1d(1, momentum=momentum).double()
    for count, batch in enumerate(x, start=1):
        layer(batch[:, None])
        torch.testing.assert_close(state.running_mean[count], layer.running_mean[0])
        torch.testing.assert_close(state.running_var[count], layer.running_var[0])
    assert state.running_mean[0] == 0 and state.running_var[0] == 1


@pytest.mark.parametrize("momentum", (0.01, 0.03, 0.1, 0.3))
def test_batches_to_follow_is_the_least_number(momentum):
    count = experiments.batches_to_follow(momentum, 100)
    averages = experiments.exponential_average(torch.ones(count, dtype=torch.float64), 0.0, momentum)
    assert averages[count] >= 0.95 > averages[count - 1]


def test_batches_to_follow_of_the_plain_average_and_of_momentum_1():
    assert experiments.batches_to_follow(1.0, 100) == 1
    count = experiments.batches_to_follow(None, 100)
    assert count == 1900
    values = torch.cat([torch.zeros(100), torch.ones(count)]).double()
    averages = experiments.exponential_average(values, 0.0, None)
    assert averages[-1].item() == pytest.approx(0.95)
    assert averages[-2] < 0.95


@pytest.mark.parametrize(("momentum", "batches"), ((0.1, 400), (0.3, 100), (1.0, 5), (None, 50)))
def test_long_run_scatter_is_measured(momentum, batches):
    """Many independent streams; their running means scatter as the formula says."""
    generator = torch.Generator().manual_seed(1)
    means = 2 / math.sqrt(8) * torch.randn(batches, 20_000, generator=generator, dtype=torch.float64)
    running = torch.zeros(20_000, dtype=torch.float64)
    for count, mean in enumerate(means, start=1):
        running = torch.lerp(running, mean, 1 / count if momentum is None else momentum)
    assert experiments.long_run_scatter(momentum, 2.0, 8, batches) == pytest.approx(
        running.std().item(), rel=0.03
    )


def test_layer_table_against_a_loop_with_other_means():
    """Gradients by hand, statistics by formula: the same numbers after each batch."""
    for batches in (1, 3):
        table = experiments.layer_table(batches)
        start = {row.name: row.start for row in table.rows}
        now = {row.name: row.now for row in table.rows}
        generator = torch.Generator().manual_seed(0)
        torch.testing.assert_close(start["0.weight"].float(), torch.randn(2, 2, generator=generator))
        inputs = 1 + torch.randn(batches, 16, 2, generator=generator)
        weight, gamma, beta = (start[f"{name}"] for name in ("0.weight", "1.weight", "1.bias"))
        mean, var = start["1.running_mean"], start["1.running_var"]
        for x in inputs.double():
            leaves = [t.detach().requires_grad_() for t in (weight, gamma, beta)]
            h = x @ leaves[0].T
            y = (h - h.mean(0)) / torch.sqrt(h.var(0, correction=0) + 1e-5) * leaves[1] + leaves[2]
            grads = torch.autograd.grad(((y - 2 * x.flip(1) - 1) ** 2).mean(), leaves)
            weight, gamma, beta = (t.detach() - 0.1 * g for t, g in zip(leaves, grads, strict=True))
            mean = 0.9 * mean + 0.1 * h.detach().mean(0)
            var = 0.9 * var + 0.1 * h.detach().var(0)
        for name, expected in (
            ("0.weight", weight),
            ("1.weight", gamma),
            ("1.bias", beta),
            ("1.running_mean", mean),
            ("1.running_var", var),
        ):
            torch.testing.assert_close(now[name], expected)
        assert now["1.num_batches_tracked"] == batches


def test_a_row_keeps_its_path():
    """More batches go on from fewer, and all draws of many begin with those of few."""
    few, many = (experiments.layer_table(batches) for batches in (2, 5))
    for short, long in zip(few.rows, many.rows, strict=True):
        assert len(short.path) == 3 and torch.equal(short.path, long.path[:3])
        assert torch.equal(long.start, long.path[0]) and torch.equal(long.now, long.path[5])


def test_company_is_what_the_modules_say():
    net, digits = experiments.trained_net(0)
    before = copy.deepcopy(net.state_dict())
    for kind in ("random", "own", "other"):
        state = experiments.same_image_in_company(3, 4, kind, companies=6)
        x, label = digits.test_x[3], digits.test_y[3]
        pool = torch.arange(500) != 3
        if kind != "random":
            pool &= digits.test_y == (label if kind == "own" else (label + 1) % 10)
        pool = pool.nonzero().flatten()
        assert state.label == label and state.rows.shape == (6, 4)
        assert set(state.rows[:, 1:].flatten().tolist()) <= set(pool.tolist())
        moved = copy.deepcopy(net).double().train()
        for row, seen in zip(state.rows, state.in_company, strict=True):
            assert row[0] == 3
            torch.testing.assert_close(
                moved(digits.test_x[row].double())[0].softmax(0), seen, rtol=1e-4, atol=1e-6
            )
        torch.testing.assert_close(net(x[None])[0].softmax(0).double(), state.alone, rtol=1e-4, atol=1e-6)
        larger = experiments.same_image_in_company(3, 128, kind, companies=6)
        assert torch.equal(larger.rows[:, :4], state.rows)
    with pytest.raises(ValueError, match="kind"):
        experiments.same_image_in_company(0, 4, "all")
    with pytest.raises(ValueError, match="batch_size"):
        experiments.same_image_in_company(0, 129, "own")
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_every_image_of_the_pool_can_come():
    """Each of the other 499 images is drawn, and about as often as any."""
    drawn = experiments.same_image_in_company(0, 128, "random", companies=500).rows[:, 1:]
    counts = drawn.flatten().bincount(minlength=500)
    assert counts[0] == 0 and counts[1:].min() > 0
    # 63,500 draws: 127 are expected of each, and a standard deviation of 11.
    assert (counts[1:] - 127).abs().max() < 6 * 11.3


@pytest.mark.parametrize("by_digit", (False, True))
def test_forgotten_eval_is_what_the_modules_say(statistics, by_digit):
    net, digits = experiments.trained_net(1)
    assert not net.training
    forgotten = statistics.forgotten
    found = forgotten.by_digit if by_digit else forgotten.shuffled
    with torch.no_grad():
        loss = F.cross_entropy(net(digits.test_x), digits.test_y).item()
        assert forgotten.with_eval[1].item() == pytest.approx(loss, rel=1e-4)
        order = digits.test_y.argsort(stable=True) if by_digit else torch.arange(500)
        moved = copy.deepcopy(net).train()
        logits = torch.cat([moved(batch) for batch in digits.test_x[order].split(10)])
    loss = F.cross_entropy(logits, digits.test_y[order]).item()
    assert found[1, experiments.SIZES.index(10)].item() == pytest.approx(loss, rel=1e-4)
    # One batch of everything: the order cannot matter.
    torch.testing.assert_close(forgotten.shuffled[:, -1], forgotten.by_digit[:, -1], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="batches of 7"):
        experiments.in_batches(digits, 7, by_digit)


@pytest.mark.parametrize("momentum", (0.01, 0.3))
def test_a_pass_is_what_the_module_does(momentum):
    net, digits = experiments.trained_net(0)
    batches = experiments.in_batches(digits, 20, by_digit=True)[0]
    expected = copy.deepcopy(net).train()
    expected[1].momentum = momentum
    with torch.no_grad():
        for batch in batches:
            expected(batch)
    found = experiments.after_a_pass(net, batches, momentum)
    torch.testing.assert_close(found[1].running_mean, expected[1].running_mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[1].running_var, expected[1].running_var, rtol=1e-4, atol=1e-5)
    assert not found.training


def test_one_statistic_at_a_time():
    """With both from one place it is a mode of the module; each alone is written out."""
    net, digits = experiments.trained_net(0)
    batches = experiments.in_batches(digits, 4, by_digit=True)[0]
    with torch.no_grad():
        torch.testing.assert_close(
            experiments.logits_by(net, batches, "stored", "stored"), net(batches.view(-1, 64)).view(-1, 4, 10)
        )
        hidden = net[0](batches[0])
        moved = copy.deepcopy(net)
        moved[1].running_mean = hidden.mean(0)
        mean_only = moved(batches[0])
    found = experiments.logits_by(net, batches[:1], "batch", "stored")[0]
    torch.testing.assert_close(found, mean_only, rtol=1e-4, atol=1e-5)


# What the lecture says in numbers


def table(**settings):
    return experiments.layer_table(10, **settings)


def test_what_the_switches_stop():
    gradient = {"1.weight", "1.bias"}
    statistics = {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    linear = {"0.weight"}
    for settings, moved in (
        ({}, linear | gradient | statistics),
        ({"requires_grad": False}, linear | statistics),
        ({"training": False}, linear | gradient),
        ({"momentum": 0.0}, linear | gradient | {"1.num_batches_tracked"}),
        ({"learning": False}, statistics),
        ({"requires_grad": False, "training": False}, linear),
        ({"requires_grad": False, "momentum": 0.0}, linear | {"1.num_batches_tracked"}),
    ):
        assert set(table(**settings).moved) == moved
    assert table().counts == (8, 4)
    assert table(requires_grad=False).counts == (4, 8)


def reached(explorer, **settings):
    """Whether the goal is reached with these settings and the others as at the start."""
    return explorer.compute(**explorer.start | settings)["reached"]


def test_goals_can_be_reached():
    explorer = explorers.running_statistics_explorer()
    assert not reached(explorer)
    assert not reached(explorer, batch_size=16)
    assert reached(explorer, batch_size=32)
    # At the batch size of the start, no momentum does it.
    for momentum in explorer.controls["momentum"].values:
        assert not reached(explorer, momentum=momentum)

    explorer = explorers.layer_table_explorer()
    assert not reached(explorer, requires_grad=False, momentum=0.0)
    assert not reached(explorer, requires_grad=False, momentum=0.0, training=False, batches=0)
    assert reached(explorer, requires_grad=False, momentum=0.0, training=False)

    explorer = explorers.company_explorer()
    assert not reached(explorer)
    assert not reached(explorer, kind="own", batch_size=16)
    assert reached(explorer, kind="own")


def test_numbers_of_the_running_update():
    assert [experiments.batches_to_follow(m, 100) for m in (0.01, 0.1, 0.3)] == [299, 29, 9]
    assert experiments.long_run_scatter(0.1, 2, 8, 200) == pytest.approx(0.162, abs=5e-4)
    # The share that is left of the start after 10, 22 and 44 batches.
    assert [round(0.9**k, 2) for k in (1, 10, 22, 44)] == [0.9, 0.35, 0.1, 0.01]
    # Keras' default 0.99 is PyTorch's 0.01, and PyTorch's default 0.1 is Keras' 0.9.
    assert math.isclose(1 - 0.99, 0.01)


def test_forms_of_the_running_update_agree():
    """new = old + momentum * (batch - old), and the sum of the weights with the share of the start."""
    values = torch.randn(30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for momentum in (0.1, 0.4):
        got = experiments.exponential_average(values, 3.0, momentum)[-1]
        weights = momentum * (1 - momentum) ** torch.arange(29, -1, -1, dtype=torch.float64)
        torch.testing.assert_close(got, (weights * values).sum() + (1 - momentum) ** 30 * 3)
        torch.testing.assert_close(weights, experiments.batch_weights(momentum, 30))
    plain = experiments.exponential_average(values, 3.0, None)[-1]
    torch.testing.assert_close(plain, (experiments.batch_weights(None, 30) * values).sum())


def test_counts_of_the_text():
    assert experiments.resnet50_batch_norm_features() == 26_560
    assert 4 * 26_560 == 106_240 and 2 * 26_560 == 53_120
    layer = nn.BatchNorm1d(32)
    assert sum(p.numel() for p in layer.parameters()) == 64
    assert sum(b.numel() for b in layer.buffers() if b.is_floating_point()) == 64


def test_which_company_is_worst():
    """Wrong answers over the twenty images of the explorer, 40 batches each."""

    def wrong(batch_size, kind):
        states = [experiments.same_image_in_company(index, batch_size, kind) for index in range(20)]
        assert all(state.eval_is_right for state in states)
        return sum(state.wrong for state in states)

    for size in (2, 8, 32):
        assert wrong(size, "own") > 0.9 * 800
        assert wrong(size, "own") > wrong(size, "other")
    assert wrong(2, "random") > 2 * wrong(8, "random") > 4 * wrong(32, "random")


def test_verdicts_are_judged_by_seeds(statistics):
    """Two seeds here; the lecture has five and the benchmark others."""
    trace = experiments.trace_of_a_pass(range(2), sizes=(2, 50), momenta=(0.01, 0.1))
    for findings in (experiments.judge_statistics(statistics), experiments.judge_trace(trace)):
        assert all(len(finding.held) == 2 and finding.held.all() for finding in findings)


def test_a_long_run_holds_each_image_of_a_digit_so_many_times_and_none_twice_in_a_row():
    _, digits = experiments.trained_net(0)
    batches = experiments.long_runs(digits, 2, 3)
    assert batches.shape == (750, 2, 64)
    assert not (batches[:, 0] == batches[:, 1]).all(dim=1).any()
    found = experiments.long_runs(digits, 500, 1)[0]
    assert torch.equal(found, experiments.in_batches(digits, 500, True)[0][0])
    with pytest.raises(ValueError, match="cannot be put"):
        experiments.long_runs(digits, 7, 1)


def test_noise_is_the_same_for_both_statistics_and_none_changes_nothing():
    found = experiments.other_noise([1], scale=0.0)
    light = experiments.other_light([1], (0.0,))
    for source, accuracy in (("stored", light.stored), ("batch", light.batch)):
        assert found.accuracy[source][0] == accuracy[0, 0]
    noisy = experiments.other_noise([1])
    assert noisy.accuracy["stored"][0] < found.accuracy["stored"][0]
    assert noisy.loss["stored"][0] > found.loss["stored"][0]


def test_the_same_light_cannot_change_what_a_batch_says_and_light_of_its_own_can():
    light = experiments.other_light(range(3), (0.0, 0.5))
    assert torch.equal(light.batch[:, 0], light.batch[:, 1])
    assert (light.mixed[:, 1] < light.mixed[:, 0]).all()
    assert (light.mixed[:, 1] > light.stored_mixed[:, 1]).all()


def test_the_loss_is_lower_with_the_batch_only_where_the_noise_is_strong():
    weak, strong = (experiments.other_noise(range(5), scale) for scale in (0.2, 0.5))
    assert (strong.loss["batch"] < 0.9 * strong.loss["stored"]).all()
    assert (weak.loss["batch"] > 0.95 * weak.loss["stored"]).sum() >= 4


def test_a_gradient_from_before_moves_gamma_until_it_is_cleared():
    def moved(set_to_none):
        generator = torch.Generator().manual_seed(0)
        model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
        model(torch.randn(8, 2, generator=generator)).pow(3).mean().backward()
        model[1].requires_grad_(False).eval()
        before = model[1].weight.clone()
        if set_to_none is not None:
            optimizer.zero_grad(set_to_none=set_to_none)
        model(torch.randn(8, 2, generator=generator)).pow(3).mean().backward()
        optimizer.step()
        return not torch.equal(model[1].weight, before)

    assert moved(None) and moved(False) and not moved(True)


def test_what_counts_is_the_batch_size_over_the_momentum():
    """Same N / m, same scatter and the same images to follow, as long as m is small."""
    pairs = ((8, 0.026), (32, 0.1))
    scatters = [experiments.long_run_scatter(m, 2.0, size, 200) for size, m in pairs]
    images = [size * experiments.batches_to_follow(m, 100) for size, m in pairs]
    assert scatters[0] == pytest.approx(scatters[1], rel=0.03)
    assert images[0] == pytest.approx(images[1], rel=0.03)


def test_figures_are_pictures(statistics):
    check_picture(figures.draw_forgotten_eval(statistics.forgotten))
    check_picture(figures.draw_controls(statistics))
    check_picture(figures.draw_trace(experiments.trace_of_a_pass(range(2), sizes=(2, 50))))


def test_the_last_sorted_images_are_nines_or_eights():
    """22 batches of two hold nine tenths of the weight; of those 44 images all are nines or eights."""
    assert 0.9**22 < 0.1 < 0.9**21
    for seed in range(5):
        _, digits = experiments.trained_net(seed)
        assert (digits.test_y.sort().values[-44:] >= 8).all()


# What the predictions are compared with


def test_what_an_attempt_to_freeze_misses_is_read_from_the_table():
    moves, mixes = "something in it moves", "it uses the batch"
    attempts = {
        "none": {},
        "gradient": {"requires_grad": False},
        "data": {"training": False},
        "stored": {"requires_grad": False, "momentum": 0.0},
        "frozen": {"requires_grad": False, "training": False},
    }
    assert experiments.not_frozen(attempts) == [
        ("none", moves),
        ("none", mixes),
        ("gradient", moves),
        ("gradient", mixes),
        ("data", moves),
        ("stored", mixes),
    ]


def test_the_worst_company_has_most_wrong_answers(monkeypatch):
    assert experiments.worst_company(batch_size=8, images=5) == "own"
    real = experiments.same_image_in_company
    swapped = {"own": "random", "random": "own", "other": "other"}
    monkeypatch.setattr(
        experiments, "same_image_in_company", lambda index, size, kind: real(index, size, swapped[kind])
    )
    assert experiments.worst_company(batch_size=8, images=5) == "random"


@pytest.mark.parametrize(("batch", "better"), ((97.0, "batch"), (90.5, "equal"), (80.0, "stored")))
def test_which_statistics_do_better_in_the_brightest_light(batch, better):
    stored = torch.tensor([[99.0, 90.0]] * 3, dtype=torch.float64)
    other = torch.tensor([[50.0, batch]] * 3, dtype=torch.float64)
    light = experiments.OtherLight(torch.tensor([0.0, 0.5]), stored, other, stored, other)
    assert light.better == better
