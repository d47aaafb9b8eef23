"""Day 26: what the lecture computes, says in numbers, and lets a student move."""

import math

import pytest
import torch
import torch.nn.functional as F

from course.experiments import day26 as experiments
from course.experiments.digits import split_digits
from course.explorers import day26 as explorers
from course.figures import day26 as figures
from tests.lectures.common import Moves, check_picture

EPS = 1e-5
SHAPES = ((2, 1), (4, 3), (7, 5))

#: What test_explorers.py moves.
EXPLORERS = {
    "five steps": Moves(
        explorers.five_steps_explorer,
        {"step": range(6), "gamma": (0, 4), "beta": (-2, 7), "eps": (1e-8, 10)},
        # gamma, beta and eps show from the step on that uses them.
        frames=4 + 2 + 8,
        shows={"step": 5},
    ),
    "moved sample": Moves(
        explorers.moved_sample_explorer,
        {"value": (-10, 3, 20), "num_samples": (4, 8, 16, 32)},
    ),
    "circle": Moves(explorers.circle_explorer, {"third": (-5, 0.5, 5), "degrees": (0, 90, 200)}),
}


def batch(seed: int, shape: tuple[int, int], offset: float = 0.0, scale: float = 1.0):
    """x, gamma, beta, dy in float64."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*size):
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    num_features = shape[1]
    return draw(*shape) * scale + offset, draw(num_features), draw(num_features), draw(*shape)


def library(x, gamma, beta, eps):
    return F.batch_norm(x, None, None, weight=gamma, bias=beta, training=True, eps=eps)


@pytest.fixture
def lecture():
    """The small batch that the lecture of day 26 works with."""
    x = [[1.0, 10.0, 0.0], [2.0, 30.0, 0.1], [3.0, 10.0, 0.3], [4.0, 30.0, 0.4]]
    dy = [[1.0, 0.5, 0.0], [0.0, -1.0, 0.2], [0.0, 2.0, -0.4], [0.0, 1.0, 0.6]]
    return [
        torch.tensor(values, dtype=torch.float64) for values in (x, [2.0, 1.0, 0.5], [1.0, 0.0, -1.0], dy)
    ]


# What is computed


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("offset", (0.0, 1e4))
@pytest.mark.parametrize("scale", (1e-3, 1.0, 100.0))
@pytest.mark.parametrize("eps", (1e-5, 1e-1))
def test_five_steps_agree_with_the_library(shape, offset, scale, eps):
    x, gamma, beta, _ = batch(0, shape, offset, scale)
    untouched = x.clone()
    steps = experiments.five_steps(x, gamma, beta, eps)
    torch.testing.assert_close(steps.y, library(x, gamma, beta, eps), rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(steps.mean, x.mean(0))
    torch.testing.assert_close(steps.var, x.var(0, correction=0))
    torch.testing.assert_close(steps.x_hat_std, (steps.var / (steps.var + eps)).sqrt())
    torch.testing.assert_close(steps.y_mean, beta, rtol=0, atol=1e-6)
    torch.testing.assert_close(steps.y_std, gamma.abs() * steps.x_hat_std)
    torch.testing.assert_close(steps.x_hat * (steps.var + eps).sqrt(), x - x.mean(0))
    assert torch.equal(x, untouched)


@pytest.mark.parametrize(
    ("x", "gamma", "beta"),
    (
        (torch.zeros(4), torch.zeros(4), torch.zeros(4)),
        (torch.zeros(4, 3), torch.zeros(4), torch.zeros(3)),
        (torch.zeros(4, 3), torch.zeros(3), torch.zeros(1)),
    ),
)
def test_five_steps_refuses_other_shapes(x, gamma, beta):
    with pytest.raises(ValueError, match="shape"):
        experiments.five_steps(x, gamma, beta)


def test_move_sample_moves_one_input_and_every_output():
    x, *_ = batch(1, (6, 1))
    moved = experiments.move_sample(x, 2, 5.0)
    changed = (moved.after.x != moved.before.x).flatten()
    assert changed.tolist() == [False, False, True, False, False, False]
    assert moved.after.x[2].item() == 5.0
    assert (moved.after.y != moved.before.y).all()
    shifts = (moved.after.y - moved.before.y).abs().flatten()
    assert moved.largest_move_of_others == max(shifts[[0, 1, 3, 4, 5]].tolist())
    assert moved.output == moved.after.y[2].item()


def test_move_sample_refuses_what_it_cannot_move():
    with pytest.raises(ValueError, match="N >= 2"):
        experiments.move_sample(torch.zeros(1, 1), 0, 1.0)
    with pytest.raises(ValueError, match=r"\(N, 1\)"):
        experiments.move_sample(torch.zeros(3, 2), 0, 1.0)
    with pytest.raises(IndexError):
        experiments.move_sample(torch.zeros(3, 1), 3, 1.0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("eps", (1e-5, 1e-1))
def test_backward_graph_is_autograd_of_the_library(shape, eps):
    x, gamma, beta, dy = batch(2, shape, scale=0.5)
    graph = experiments.backward_graph(x, gamma, beta, dy, eps)
    leaves = [t.clone().requires_grad_() for t in (x, gamma, beta)]
    y = library(*leaves, eps)
    expected = torch.autograd.grad(y, leaves, grad_outputs=dy)
    for name, gradient in zip(("x", "gamma", "beta"), expected, strict=True):
        torch.testing.assert_close(getattr(graph, name).grad, gradient)
    torch.testing.assert_close(graph.y.value, y.detach())
    torch.testing.assert_close(graph.y.grad, dy)
    assert not x.requires_grad


# What the lecture says in numbers


def test_staged_backward_of_the_text(lecture):
    x, gamma, beta, dy = lecture
    graph = experiments.backward_graph(x, gamma, beta, dy, EPS)
    num_samples = len(x)
    inv_std, centred, x_hat = (getattr(graph, n).value for n in ("inv_std", "centred", "x_hat"))
    dx_hat = gamma * dy
    dinv_std = (dx_hat * centred).sum(0)
    dvar = -0.5 * inv_std**3 * dinv_std
    dcentred = dx_hat * inv_std + 2 / num_samples * centred * dvar
    dmean = -dcentred.sum(0)
    torch.testing.assert_close(graph.beta.grad, dy.sum(0))
    torch.testing.assert_close(graph.gamma.grad, (dy * x_hat).sum(0))
    torch.testing.assert_close(graph.inv_std.grad, dinv_std)
    torch.testing.assert_close(graph.var.grad, dvar)
    torch.testing.assert_close(graph.centred.grad, dcentred)
    torch.testing.assert_close(graph.mean.grad, dmean)
    torch.testing.assert_close(graph.mean.grad, -inv_std * dx_hat.sum(0))
    torch.testing.assert_close(graph.x.grad, dcentred + dmean / num_samples)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("eps", (0.0, 1e-5, 1e-1))
def test_closed_form_and_invariants_of_the_text(shape, eps):
    x, gamma, beta, dy = batch(3, shape, scale=0.3)
    graph = experiments.backward_graph(x, gamma, beta, dy, eps)
    var, x_hat, dx = graph.var.value, graph.x_hat.value, graph.x.grad
    num_samples, dbeta, dgamma = len(x), dy.sum(0), (dy * x_hat).sum(0)
    closed = gamma / (num_samples * (var + eps).sqrt())
    closed = closed * (num_samples * dy - dbeta - x_hat * dgamma)
    torch.testing.assert_close(dx, closed, rtol=1e-9, atol=1e-10)
    assert dx.sum(0).abs().max() < 1e-10
    torch.testing.assert_close(
        (dx * x_hat).sum(0), gamma * eps / (var + eps) ** 1.5 * dgamma, rtol=1e-9, atol=1e-10
    )
    torch.testing.assert_close((x_hat**2).sum(0), num_samples * var / (var + eps))


def test_only_the_first_dy_asks_and_all_dx_answer(lecture):
    graph = experiments.backward_graph(*lecture, EPS)
    assert graph.y.grad[:, 0].tolist() == [1, 0, 0, 0]
    assert (graph.x.grad[:, 0].abs() > 0.1).all()


def test_the_third_variance_is_the_least(lecture):
    steps = experiments.five_steps(*lecture[:3], EPS)
    assert math.isclose(steps.var.min().item(), steps.var[2].item())
    assert math.isclose(steps.var[2].item(), 0.025)


def test_no_output_is_beyond_the_ceiling():
    for num_samples in (2, 4, 8, 33):
        x, *_ = batch(4, (num_samples, 1))
        outputs = [experiments.move_sample(x, 0, v).output for v in (-1e6, -3.0, 0.0, 7.0, 1e6)]
        ceiling = math.sqrt(num_samples - 1)
        assert max(map(abs, outputs)) <= ceiling
        assert math.isclose(outputs[-1], ceiling, rel_tol=1e-6)


def test_float32_loses_the_variance_of_an_offset():
    noise, *_ = batch(5, (100, 1))
    sample = ((noise - noise.mean()) / noise.std(correction=0) + 1e4).float()
    assert torch.tensor(1e8).nextafter(torch.tensor(math.inf)) - 1e8 == 8
    assert ((sample**2).mean() - sample.mean() ** 2 - 1).abs() > 0.5
    assert (((sample - sample.mean()) ** 2).mean() - 1).abs() < 1e-3


def test_one_sample_gives_beta(lecture):
    x, gamma, beta, _ = lecture
    assert torch.equal(experiments.five_steps(x[:1], gamma, beta).y, beta[None])


def test_a_bias_drifts_only_where_the_statistics_are_constants():
    u = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    settings = {"lr": 0.1, "steps": 200}
    constant = experiments.bias_descent(u, u - 1, constant_statistics=True, **settings)
    true = experiments.bias_descent(u, u - 1, constant_statistics=False, **settings)
    assert constant.bias.shape == constant.loss.shape == (201,)
    assert (constant.bias.diff() > 0.2).all()
    assert true.bias.abs().max() < 1e-12
    for descent in (constant, true):
        assert (descent.loss - descent.loss[0]).abs().max() < 1e-9


def test_gamma_and_beta_restore_the_input(lecture):
    x = lecture[0]
    steps = experiments.five_steps(x, torch.ones(3), torch.zeros(3), EPS)
    restored = experiments.five_steps(x, torch.sqrt(steps.var + EPS), steps.mean, EPS)
    torch.testing.assert_close(restored.y, x, rtol=0, atol=1e-12)


def test_the_verdict_on_scale_invariance():
    measured = experiments.scale_of_weights(range(3))
    assert all(finding.stands for finding in experiments.judge_scale(measured))
    # The two brightnesses are one curve over a² var / eps: 16 times the pixels is 16 times the weights.
    scales = torch.tensor([0.16, 0.016], dtype=torch.float64)
    darker = experiments.scale_invariance(scales, [0])
    brighter = experiments.scale_invariance(scales / 16, [0], brightness=16.0)
    torch.testing.assert_close(darker.output_ratio, brighter.output_ratio, rtol=1e-3, atol=0)
    torch.testing.assert_close(darker.room, brighter.room)


@pytest.mark.parametrize("normalized", (False, True))
@pytest.mark.parametrize(("square_rates", "standardized"), ((False, False), (True, False), (False, True)))
def test_growth_is_that_of_modules(normalized, square_rates, standardized):
    turned = {"square_rates": square_rates, "standardized": standardized}
    found = experiments.growth([3, 4], 0.5, normalized, (0.1, 1.0), **turned, steps=3, width=5, batch_size=16)
    data, generator = split_digits(4), torch.Generator().manual_seed(4)
    pixels = data.train_x
    if standardized:
        pixels = (pixels - pixels.mean(0)) / pixels.std(0, correction=0).clamp_min(0.1)
    layers = [torch.nn.Linear(64, 5, bias=False), torch.nn.Linear(5, 10, bias=False)]
    layers[0].weight.data = (torch.randn(64, 5, generator=generator) * 0.5 * (2 / 64) ** 0.5).T.contiguous()
    layers[1].weight.data = (torch.randn(5, 10, generator=generator) * (2 / 5) ** 0.5).T.contiguous()
    norm = [torch.nn.BatchNorm1d(5, affine=False)] if normalized else []
    model = torch.nn.Sequential(layers[0], *norm, torch.nn.ReLU(), layers[1])
    rates = (0.25 if square_rates else 1.0, 1.0)
    groups = [{"params": layer.weight, "lr": rate} for layer, rate in zip(layers, rates, strict=True)]
    optimizer = torch.optim.SGD(groups)
    start = layers[0].weight.norm().item()
    for _ in range(3):
        rows = torch.randint(len(pixels), (16,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(model(pixels[rows]), data.train_y[rows]).backward()
        optimizer.step()
    assert found.growth[1, 1].item() == pytest.approx(layers[0].weight.norm().item() / start, rel=1e-3)
    with torch.no_grad():
        loss = F.cross_entropy(model(pixels), data.train_y).item()
    assert found.loss[1, 1].item() == pytest.approx(loss, rel=1e-3)


@pytest.mark.parametrize("third", (-5.0, 0.3, 5.0))
@pytest.mark.parametrize("degrees", (0.0, 75.0))
def test_three_samples_on_a_circle(third, degrees):
    x = torch.tensor([-1.0, 1.0, third], dtype=torch.float64)
    state = experiments.on_circle(x, degrees)
    assert state.x_hat.norm().item() == pytest.approx(math.sqrt(3))
    x_hat = state.x_hat / math.sqrt(3)
    std = x.std(correction=0)
    torch.testing.assert_close(state.dx * std, state.dy - x_hat * (x_hat @ state.dy))  # the projection
    assert state.passed == pytest.approx((state.dx * std).norm().item())


def test_what_passes_a_relu_is_the_normal_s_share():
    x = torch.randn(4000, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for gamma, beta in ((0.5, 1.0), (2.0, -1.0)):
        share = torch.special.ndtr(torch.tensor(beta / gamma)).item()
        assert experiments.share_that_passes(x, gamma, beta) == pytest.approx(share, abs=0.01)


def test_scale_invariance_draws_from_its_seed():
    scales = torch.tensor([0.01], dtype=torch.float64)
    first, second, again = (
        experiments.scale_invariance(scales, [seed]).output_error.item() for seed in (0, 1, 0)
    )
    assert first == again != second


def test_the_factors_of_the_quiz():
    assert round(math.sqrt(3 / 4), 2) == 0.87
    assert round(math.sqrt(4 / 3), 2) == 1.15
    assert round(math.sqrt(1e-6 + 1e-5), 4) == 0.0033
    assert math.isclose(math.sqrt(1e-6) + 1e-5, 0.00101)
    assert round(math.sqrt(1e-5), 4) == 0.0032


def test_without_eps_the_rate_times_a_squared_undoes_the_start():
    first, tiny = (
        experiments.growth(range(2), a, True, (1.0,), square_rates=True, eps=0.0, steps=40)
        for a in (1.0, 0.01)
    )
    torch.testing.assert_close(tiny.growth, first.growth, rtol=1e-4, atol=0)
    torch.testing.assert_close(tiny.loss, first.loss, rtol=1e-3, atol=0)


# What is drawn


def test_pictures(lecture):
    scales = torch.tensor([0.1, 1.0], dtype=torch.float64)
    invariance = experiments.scale_invariance(scales, range(2))
    measured = experiments.ScaleOfWeights(invariance, invariance, invariance)
    runs = {name: experiments.growth(range(2), 1.0, True, (0.1,), steps=1) for name in experiments.ARMS}
    for picture in (
        figures.draw_backward_graph(experiments.backward_graph(*lecture)),
        figures.draw_scale_invariance(invariance, invariance, EPS),
        figures.draw_room(measured),
        figures.draw_growth(runs),
    ):
        check_picture(picture)


def test_the_graph_shows_its_values_and_gradients(lecture):
    graph = experiments.backward_graph(*lecture, EPS)
    for feature in range(3):
        (axes,) = figures.draw_backward_graph(graph, feature).figure.axes
        shown = {text.get_text().replace("−", "-") for text in axes.texts}
        for name in ("x", "centred", "mean", "var", "inv_std", "x_hat", "gamma", "beta", "y"):
            node = getattr(graph, name)
            for number in (*node.value[..., feature].view(-1), *node.grad[..., feature].view(-1)):
                assert f"{round(number.item(), 2) + 0.0:.2f}" in shown
            assert name in shown


# What is moved: goals


def test_the_goal_of_the_five_steps_is_within_reach():
    explorer = explorers.five_steps_explorer()
    settings = explorer.start | {"step": 5}
    steps = explorer.compute(**settings)
    assert not steps["reached"]
    for name, target in (("gamma", (steps["var"][0] + EPS).sqrt()), ("beta", steps["mean"][0])):
        settings[name] = min(explorer.controls[name].values, key=lambda value: abs(value - target.item()))
    assert explorer.compute(**settings)["reached"]
    assert not explorer.compute(**settings | {"step": 4})["reached"]


def test_the_goal_of_the_moved_sample_needs_a_larger_batch():
    explorer = explorers.moved_sample_explorer()
    for value in (-10, 20):
        settings = explorer.start | {"value": value}
        assert not explorer.compute(**settings)["reached"]
        assert explorer.compute(**settings | {"num_samples": 16})["reached"]


def test_the_goal_of_the_circle_is_the_direction_of_x_hat():
    explorer = explorers.circle_explorer()
    state = explorer.compute(**explorer.start)
    assert not state["reached"]
    degrees = round(math.degrees(math.atan2(state["x_hat"][1], state["x_hat"][0]))) % 360
    assert explorer.compute(**explorer.start | {"degrees": degrees})["reached"]


def test_a_third_sample_far_away_takes_x_hat_to_the_ends_of_the_axis():
    compute = explorers.circle_explorer().compute
    assert compute(-5, 20)["x_hat"][0] < -1.6 and compute(5, 20)["x_hat"][0] > 1.6
    assert compute(5, 20)["centred"].tolist() == pytest.approx([10 / math.sqrt(6), -math.sqrt(2)])


# What the predictions are compared with


@pytest.mark.parametrize(
    ("value", "others"), ((0.0, "stay"), (0.9, "shift"), (100.0, "crowd"), (-100.0, "crowd"), (4.0, "spread"))
)
def test_what_the_others_do_depends_on_where_the_sample_goes(value, others):
    column = torch.arange(8, dtype=torch.float64)[:, None]
    moved = experiments.move_sample(column, 0, value)
    assert moved.others == others
    width = moved.after.y[1:].std() / moved.before.y[1:].std()
    assert {"crowd": width < 0.2, "spread": width > 1.1}.get(others, abs(width - 1) < 0.1)


def test_x_hat_turns_by_half_a_circle():
    def place(third):
        return experiments.on_circle(torch.tensor([-1.0, 1.0, third], dtype=torch.float64), 0).x_hat

    assert experiments.turn_of_x_hat() == pytest.approx(180, abs=0.01)
    assert experiments.turn_of_x_hat(far=1e-9) == pytest.approx(0, abs=1e-6)
    for far in (1.0, 30.0):
        ends = torch.stack([place(-far), place(far)])
        cosine = torch.nn.functional.cosine_similarity(*ends, dim=0)
        assert experiments.turn_of_x_hat(far) == pytest.approx(math.degrees(cosine.acos()), abs=1e-6)


def test_nets_are_ordered_by_their_growth_at_the_common_rate():
    rates = torch.tensor([0.1, 1.0], dtype=torch.float64)
    at_one = {name: 10.0 - place for place, name in enumerate(experiments.ARMS)}

    def run(middle):
        return experiments.Growth(rates, torch.ones(2, 3), torch.tensor([[50.0] * 3, [0, middle, 99]]))

    order = experiments.by_growth({name: run(middle) for name, middle in at_one.items()})
    assert order == [name for name in reversed(experiments.ARMS) if "rate · a²" not in name]
