"""Day 29: what the lecture computes, says in numbers, and lets a student move."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course.experiments import day29 as experiments
from course.explorers import day29 as explorers
from course.figures import day29 as figures
from tests.lectures.common import Moves, check_picture

CELLS = ((0, 0, 0, 0), (1, 4, 1, 1), (3, 5, 1, 2))

#: What test_explorers.py moves.
EXPLORERS = {
    "block": Moves(
        explorers.norm_block_explorer,
        {"kind": experiments.KINDS, "num_groups": (1, 2, 3, 6), "cell": CELLS},
        # The groups matter for group norm only.
        frames=(3 + 4) * len(CELLS),
    ),
    "swap": Moves(
        explorers.swap_explorer,
        {"strength": (0, 0.5, 1), "what": ("mean", "std", "both"), "axes": ((2, 3), (1, 2, 3))},
    ),
}


@pytest.fixture
def block():
    return explorers.example_block()


def draw(seed, shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 + 3


def library(x, kind, num_groups, eps):
    return {
        "batch": lambda: F.batch_norm(x, None, None, training=True, eps=eps),
        "layer": lambda: F.layer_norm(x, x.shape[1:], eps=eps),
        "instance": lambda: F.instance_norm(x, eps=eps),
        "group": lambda: F.group_norm(x, num_groups, eps=eps),
    }[kind]()


def expected_count(kind, shape, num_groups):
    num_samples, channels = shape[:2]
    return {
        "batch": channels,
        "layer": num_samples,
        "instance": num_samples * channels,
        "group": num_samples * num_groups,
    }[kind]


# What is computed


@pytest.mark.parametrize("kind", experiments.KINDS)
@pytest.mark.parametrize(("shape", "num_groups"), (((4, 6, 2, 3), 3), ((1, 4, 3, 2), 2), ((3, 5, 4, 4), 5)))
@pytest.mark.parametrize("eps", (1e-5, 0.3))
def test_normalize_agrees_with_the_library(kind, shape, num_groups, eps):
    x = draw(0, shape)
    untouched = x.clone()
    torch.testing.assert_close(
        experiments.normalize(x, kind, num_groups, eps), library(x, kind, num_groups, eps), rtol=0, atol=1e-12
    )
    assert torch.equal(x, untouched)


@pytest.mark.parametrize("kind", experiments.KINDS)
@pytest.mark.parametrize("num_groups", (1, 2, 3, 6))
def test_sets_means_and_code(block, kind, num_groups):
    shared = experiments.shared_statistics(block, kind, num_groups, (1, 4, 1, 1))
    assert len(shared.means) == expected_count(kind, block.shape, num_groups)
    assert len(shared.means) * shared.set_size == block.numel() == 144
    assert shared.mask[1, 4, 1, 1]
    for number, mean in enumerate(shared.means):
        torch.testing.assert_close(block[shared.numbers == number].mean(), mean)
    # The line of code that is shown computes these means.
    written = eval(shared.code, {"x": block})
    torch.testing.assert_close(written.flatten(), shared.means)
    expected = (block[1, 4, 1, 1] - shared.means[shared.number]) / (shared.var + 1e-5) ** 0.5
    assert shared.x_hat == pytest.approx(expected.item())


@pytest.mark.parametrize("kind", experiments.KINDS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_hears_exactly_its_set(block, kind, cell):
    shared = experiments.shared_statistics(block, kind, 3, cell)
    assert torch.equal(experiments.influence(block, kind, 3, cell) != 0, shared.mask)
    samples = set(shared.mask.nonzero()[:, 0].tolist())
    assert samples == (set(range(4)) if kind == "batch" else {cell[0]})


def test_what_is_not_there_is_refused(block):
    with pytest.raises(ValueError, match="divide"):
        experiments.normalize(block, "group", 4)
    with pytest.raises(ValueError, match="kind"):
        experiments.normalize(block, "power")
    with pytest.raises(IndexError, match="no cell"):
        experiments.shared_statistics(block, "batch", 1, (4, 0, 0, 0))


@pytest.mark.parametrize("axes", ((2, 3), (1, 2, 3)))
def test_scale_and_shift_take_what_they_are_told_to(axes):
    content, style = draw(1, (2, 3, 6, 5)), draw(2, (2, 3, 4, 7)) * 0.5 - 4
    own, other = (experiments.mean_std(each, axes) for each in (content, style))
    for mean, std in itertools.product((True, False), repeat=2):
        scale, shift = experiments.scale_and_shift(content, style, mean=mean, std=std, axes=axes, eps=0.0)
        got = experiments.mean_std(scale * content + shift, axes)
        torch.testing.assert_close(got[0], (other if mean else own)[0])
        torch.testing.assert_close(got[1], (other if std else own)[1])
    # With both it is instance norm with the style's numbers as gamma and beta.
    if axes == (2, 3):
        scale, shift = experiments.scale_and_shift(content, style)
        style_mean, style_std = experiments.mean_std(style, eps=1e-5)
        torch.testing.assert_close(scale * content + shift, F.instance_norm(content) * style_std + style_mean)
    scale, shift = experiments.scale_and_shift(content, content, axes=axes)
    torch.testing.assert_close(scale, torch.ones_like(scale))
    torch.testing.assert_close(shift, torch.zeros_like(shift))


def test_swapping_is_linear_in_its_strength():
    images = experiments.photographs()
    assert images.shape[:2] == (2, 3)
    assert images.dtype == torch.uint8
    none, half, full = (experiments.swap_statistics(images, s, "both", (2, 3)) for s in (0, 0.5, 1))
    assert torch.equal(none.swapped, none.images) and torch.equal(none.images, images.double() / 255)
    torch.testing.assert_close(half.swapped, (none.swapped + full.swapped) / 2)
    mean, std = experiments.mean_std(full.swapped)
    wanted = experiments.mean_std(full.images.flip(0))
    torch.testing.assert_close(mean, wanted[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(std, wanted[1], rtol=0, atol=1e-3)


@pytest.mark.parametrize("axes", ((2, 3), (1, 2, 3)))
def test_what_becomes_of_a_level_makes_the_picture(axes):
    """The page paints by looking up each pixel's level."""
    explorer, images = explorers.swap_explorer(), experiments.photographs()
    state = explorer.compute(strength=0.5, what="both", axes=axes)
    swapped = experiments.swap_statistics(images, 0.5, "both", axes).swapped
    painted = state["levels"].flatten(2).gather(2, images.long().flatten(2)).view(images.shape)
    assert (painted - 255 * swapped.clamp(0, 1)).abs().max() < 0.5 + 1e-9
    ends = ((painted == 0) | (painted == 255)).double().mean((1, 2, 3))
    assert ((ends - state["cut"] / 100) >= 0).all() and state["cut"].min() > 1


# What the lecture says in numbers


def test_what_is_forgotten_follows_from_the_sets(block):
    result = experiments.forgotten(block, num_groups=3, seed=0)
    gone = {
        change: {kind for kind, move in zip(result.kinds, moves, strict=True) if move < 1e-10}
        for change, moves in zip(result.changes, result.moves, strict=True)
    }
    sample, channel, every = {"layer", "instance", "group"}, {"batch", "instance"}, {"instance"}
    assert list(gone.values()) == [sample, channel, every] * 2
    # What is not forgotten shows.
    assert result.moves[result.moves >= 1e-10].min() > 0.1


def test_one_group_is_layer_norm_and_c_groups_are_instance_norm(block):
    for num_groups, kind in ((1, "layer"), (6, "instance")):
        assert torch.equal(
            experiments.set_numbers("group", block.shape, num_groups),
            experiments.set_numbers(kind, block.shape),
        )


def test_channels_last_layer_norm_is_another_norm(block):
    places = F.layer_norm(block.permute(0, 2, 3, 1), (6,)).permute(0, 3, 1, 2)
    assert (places - F.group_norm(block, 1)).abs().max() > 0.1
    assert places.mean(1).abs().max() < 1e-6


def test_parameters_and_modes_of_the_table(block):
    assert nn.GroupNorm(3, 6).weight.shape == (6,)
    assert nn.BatchNorm2d(6).weight.shape == (6,)
    assert nn.LayerNorm((6, 2, 3)).weight.shape == (6, 2, 3)
    assert nn.InstanceNorm2d(6).weight is None
    x = block.float()
    for layer, same in (
        (nn.BatchNorm2d(6), False),
        (nn.GroupNorm(3, 6), True),
        (nn.LayerNorm((6, 2, 3)), True),
        (nn.InstanceNorm2d(6), True),
        (nn.InstanceNorm2d(6, track_running_stats=True), False),
    ):
        assert torch.equal(layer.train()(x), layer.eval()(x)) == same
        assert bool(list(layer.buffers())) != same


def test_instance_norm_leaves_no_average_of_a_map(block):
    largest = {
        kind: experiments.normalize(block, kind, 3).mean((2, 3)).abs().max().item()
        for kind in experiments.KINDS
    }
    assert largest.pop("instance") < 1e-12
    assert min(largest.values()) > 0.3


def test_behind_a_relu_the_averages_differ(block):
    averages = F.relu(experiments.normalize(block, "instance")).mean((2, 3))
    assert averages.max() - averages.min() > 0.1


# Black boxes


def test_each_box_is_what_it_is_called(block):
    boxes = experiments.BOXES
    torch.testing.assert_close(boxes["instance norm"](block), F.instance_norm(block))
    torch.testing.assert_close(boxes["group norm, 3 groups"](block), F.group_norm(block, 3))
    torch.testing.assert_close(boxes["layer norm over C, H, W"](block), F.layer_norm(block, (6, 2, 3)))
    torch.testing.assert_close(
        boxes["batch norm, training"](block), F.batch_norm(block, None, None, training=True)
    )
    stored = torch.full((6,), 2.0, dtype=block.dtype), torch.full((6,), 2.25, dtype=block.dtype)
    torch.testing.assert_close(boxes["batch norm, evaluation"](block), F.batch_norm(block, *stored, eps=0.0))
    torch.testing.assert_close(boxes["RMS norm over C, H, W"](block), F.rms_norm(block, (6, 2, 3), eps=1e-5))
    places = boxes["layer norm over C, at each place"](block)
    torch.testing.assert_close(places[1, :, 0, 2], F.layer_norm(block[1, :, 0, 2], (6,)))


def test_the_two_probes_tell_all_boxes_apart(block):
    found = {name: experiments.poke(name, block, (1, 4, 1, 1)) for name in experiments.BOXES}
    assert found == {
        "batch norm, training": (4, 1, 6),
        "batch norm, evaluation": (1, 1, 1),
        "layer norm over C, H, W": (1, 6, 6),
        "layer norm over C, at each place": (1, 6, 1),
        "instance norm": (1, 1, 6),
        "group norm, 3 groups": (1, 2, 6),
        "RMS norm over C, H, W": (1, 6, 6),
    }
    assert experiments.lift("layer norm over C, H, W", block) < 1e-9
    assert experiments.lift("RMS norm over C, H, W", block) > 0.1
    assert sorted(experiments.black_boxes(3).values()) == sorted(experiments.BOXES)


# The claims


def by_the_library(nets, x, run):
    """One of the networks side by side, out of the functions of the library."""
    net, own = nets.net, slice(8 * run, 8 * run + 8)
    h = x.view(-1, 1, 8, 8)
    if net.standardized:
        h = F.instance_norm(h)
    for k, filters in enumerate((nets.first[run], nets.second[run]), 1):
        if net.padding:
            mode = "constant" if net.padding == "zeros" else "replicate"
            h = F.pad(h, (1, 1, 1, 1), mode=mode)
        h = F.conv2d(h, filters, getattr(nets, f"conv{k}")[own] if net.padding else None)
        weight, bias = getattr(nets, f"weight{k}")[own], getattr(nets, f"bias{k}")[own]
        if net.norm == "batch":
            h = F.batch_norm(h, None, None, weight, bias, training=True)
        elif net.norm == "none":
            h = h * weight.view(8, 1, 1)
        elif net.norm in ("mean", "std"):
            var, mean = torch.var_mean(h, (2, 3), correction=0, keepdim=True)
            h = h - mean if net.norm == "mean" else h / torch.sqrt(var + 1e-5)
            h = h * weight.view(8, 1, 1) + bias.view(8, 1, 1)
        else:
            h = F.group_norm(h, {"layer": 1, "instance": 8, "group": 2}[net.norm], weight, bias)
        h = F.relu(h)
    y = h.flatten(1) @ nets.last[run].T
    return y + nets.offset[run] if net.padding else y


def with_parameters(net, runs):
    nets = experiments.SideBySide(net, range(runs))
    with torch.no_grad():
        for k, parameter in enumerate(nets.parameters()):
            parameter.add_(0.1 * draw(20 + k, parameter.shape).float())
    return nets


@pytest.mark.parametrize("net", sorted(set(experiments.LIGHT.values()), key=str))
def test_nets_side_by_side_are_those_of_the_library(net):
    nets = with_parameters(net, 2)
    x = draw(5, (2, 7, 64)).float()
    for run, logits in enumerate(nets(x)):
        torch.testing.assert_close(logits, by_the_library(nets, x[run], run), rtol=1e-3, atol=1e-3)


def test_the_statistics_of_other_images_leave_nothing_behind():
    nets = with_parameters(experiments.Net("batch"), 2)
    x = draw(6, (2, 7, 64)).float()
    nets(x)
    nets.eval()
    before = {name: buffer.clone() for name, buffer in nets.named_buffers()}
    torch.testing.assert_close(
        nets.with_statistics_of(x)[1], by_the_library(nets, x[1], 1), rtol=1e-3, atol=1e-3
    )
    assert not nets.training
    assert all(torch.equal(buffer, before[name]) for name, buffer in nets.named_buffers())


@pytest.mark.parametrize("norm", ("none", "layer", "instance", "group"))
def test_without_padding_and_bias_contrast_is_ignored_before_any_training(norm):
    nets = experiments.SideBySide(experiments.Net(norm), range(2))
    x = draw(7, (2, 9, 64)).float()
    factor = 0.25 if norm == "none" else 1
    torch.testing.assert_close(nets(0.25 * x), factor * nets(x), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(("padding", "blind"), (("", True), ("zeros", False), ("replicate", True)))
def test_zeros_around_give_brightness_away_to_instance_norm(padding, blind):
    nets = with_parameters(experiments.Net("instance", padding), 2)
    x = draw(8, (2, 9, 64)).float()
    assert ((nets(x + 1) - nets(x)).abs().max() < 0.01) == blind


def test_a_bias_before_it_keeps_layer_norm_from_ignoring_contrast():
    x = draw(9, (2, 9, 64)).float()
    for norm, blind in (("layer", False), ("group", False), ("instance", True)):
        nets = with_parameters(experiments.Net(norm, "zeros"), 2)
        assert ((nets(0.25 * x) - nets(x)).abs().max() < 0.05) == blind


def test_zeros_around_alone_keep_no_norm_from_ignoring_contrast():
    x = draw(9, (2, 9, 64)).float()
    for norm in ("layer", "group"):
        nets = with_parameters(experiments.Net(norm, "zeros"), 2)
        with torch.no_grad():
            nets.conv1.zero_()
            nets.conv2.zero_()
        assert (nets(0.25 * x) - nets(x)).abs().max() < 0.01


def test_brightness_is_an_offset_for_each_channel_of_a_convolution():
    x, weight = draw(3, (2, 1, 8, 8)), draw(4, (5, 1, 3, 3))
    shift = F.conv2d(x + 0.5, weight) - F.conv2d(x, weight)
    expected = 0.5 * weight.sum((1, 2, 3)).view(1, 5, 1, 1).expand_as(shift)
    torch.testing.assert_close(shift, expected)


def test_training_draws_from_its_seed_and_alone():
    """A network learns the same beside others as alone."""
    digits = [draw(10 + seed, (64, 64)).float() for seed in range(2)]
    labels = torch.randint(10, (2, 64), generator=torch.Generator().manual_seed(0))

    def train(seeds):
        x, y = torch.stack([digits[seed] for seed in seeds]), labels[list(seeds)]
        return experiments.train_side_by_side(
            experiments.Net("layer", "zeros"), x, y, seeds, 0.01, 2, batch_size=32
        )

    before = torch.get_rng_state()
    both, alone = train((0, 1)), train((1,))
    assert torch.equal(before, torch.get_rng_state())
    torch.testing.assert_close(both.second[1], alone.second[0], rtol=1e-3, atol=1e-4)


# What the gates are given


def test_sets_from_small_to_large():
    """With more samples than channels the sets of batch norm are the largest."""
    assert experiments.by_set_size(draw(0, (4, 6, 2, 3)), 3) == ["instance", "group", "batch", "layer"]
    assert experiments.by_set_size(draw(0, (8, 6, 2, 3)), 3) == ["instance", "group", "layer", "batch"]


def test_twins_are_what_a_poke_cannot_tell_apart(block, monkeypatch):
    assert experiments.twins(block, (1, 4, 1, 1)) == "layer norm over C, H, W and RMS norm over C, H, W"
    boxes = {name: box for name, box in experiments.BOXES.items() if "RMS" not in name}
    monkeypatch.setattr(experiments, "BOXES", boxes)
    assert experiments.twins(block, (1, 4, 1, 1)) == ""


def test_what_is_undone_follows_from_the_sets(block):
    undone = set(experiments.forgotten(block, 3, seed=0).undone)
    expected = {("every sample", kind) for kind in ("layer", "instance", "group")}
    expected |= {("every channel", kind) for kind in ("batch", "instance")}
    assert undone == expected | {("every map", "instance")}
    # A group for each channel is instance norm.
    single = set(experiments.forgotten(block, 6, seed=0).undone)
    assert single - undone == {("every channel", "group"), ("every map", "group")}


def test_colours_stay_over_the_whole_image_and_are_exchanged_by_channel():
    images = experiments.photographs(20, 30)
    assert experiments.colours(images, (1, 2, 3)) == "kept"
    assert experiments.colours(images, (2, 3)) == "exchanged"


def test_lines_of_contrast_and_who_tells_the_light():
    accuracy = torch.tensor([[90.0, 80, 70, 10], [90, 60, 50, 20], [90, 50, 40, 30]])
    light = experiments.Light(0.01, accuracy, accuracy, accuracy[:, 0], accuracy, accuracy[:, 0])
    divided, shown = light.by_division
    assert divided.tolist() == [1, 2, 4, 8] and shown.tolist() == [90, 60, 50, 20]
    price = {arm: torch.tensor([50.0, 50, 99]) for arm in experiments.PRICE}
    assert experiments.told(price, 95) == []
    price["contrast", experiments.Net("none")] = torch.tensor([50.0, 96, 99])
    price["contrast", experiments.Net("layer", "zeros")] = torch.tensor([99.0, 99, 99])
    assert experiments.told(price, 95) == [("no norm", "contrast")]


# What is drawn and moved


def test_pictures(block):
    check_picture(figures.draw_forgotten(experiments.forgotten(block, 3, 0)))
    four, one = torch.linspace(20, 98, 20).view(5, 4), torch.linspace(60, 98, 5)
    arms = {name: experiments.Light(0.01, four, four, one, four, one) for name in experiments.LIGHT}
    price = dict.fromkeys(experiments.PRICE, one)
    check_picture(figures.draw_light(arms, experiments.KINDS, "Four norms"))
    check_picture(figures.draw_light(arms, list(arms)[:5], "Five nets", contrast=False))
    check_picture(figures.draw_each(arms))
    check_picture(figures.draw_price(price, "brightness", ["zeros", "replicate"]))
    assert len(experiments.judge_light(arms)) == 12
    assert len(experiments.judge_price(price)) == 8


def test_the_goal_of_the_block_has_one_solution():
    explorer = explorers.norm_block_explorer()
    reached = [
        (kind, num_groups)
        for kind, num_groups in itertools.product(experiments.KINDS, (1, 2, 3, 6))
        if explorer.compute(kind=kind, num_groups=num_groups, cell=(1, 4, 1, 1))["reached"]
    ]
    assert reached == [("group", 3)]
