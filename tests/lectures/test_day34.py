"""Day 34: what the lecture shows, and every number that it states."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from course.experiments import day34 as experiments
from course.experiments.day33 import best_heavy_ball, descend, rate
from course.experiments.digits import cross_entropy
from course.explorers import day34 as explorers
from course.figures import day34 as figures
from tests.lectures.common import Moves, check_picture

EXPLORERS = {
    "the two by two": Moves(
        explorers.two_by_two_explorer,
        {"scale": (1, 5, 10), "correlation": (0.1, 0.5, 0.95), "whiten": (False, True)},
    ),
    "five rules for the step": Moves(
        explorers.step_rules_explorer,
        {
            "rule": tuple(experiments.RULES),
            "surface": ("raw", "standardized"),
            "correlation": (0.1, 0.5, 0.9),
            "lr": (0.02, 0.3, 0.6),
            "decay": (False, True),
        },
    ),
}


# Experiments against other ways


@pytest.mark.parametrize("whiten", (False, True))
@pytest.mark.parametrize(("scale", "correlation"), ((1, 0.9), (4, 0.0), (10, 0.7)))
def test_four_paths_are_those_of_the_library_on_features(scale, correlation, whiten):
    """Features with exactly this covariance, a linear model, `torch.optim.SGD`."""
    noise = torch.randn(50, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    noise = noise - noise.mean(0)
    noise = noise @ experiments.root_of(noise.T @ noise / len(noise), -0.5)
    raw = experiments.covariance(scale, correlation)
    x = noise @ experiments.root_of(raw)
    torch.testing.assert_close(x.T @ x / len(x), raw)
    state = experiments.two_by_two(scale, correlation, whiten)
    target = x @ -state.panels["plain"].path[0]
    for name, (_, normalized) in experiments.RUNS.items():
        panel = state.panels[name]
        change = experiments.root_of(raw, -0.5) if whiten else raw.diagonal().rsqrt().diag()
        features = x @ change if normalized else x
        torch.testing.assert_close(features.T @ features / len(x), panel.hessian, atol=1e-9, rtol=1e-7)
        # The path is the distance from the solution, which is at -path[0] from a start at 0.
        w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([w], lr=panel.lr, momentum=panel.beta)
        for step in range(12):
            torch.testing.assert_close(w.detach() + panel.path[0], panel.path[step], atol=1e-9, rtol=1e-6)
            optimizer.zero_grad()
            (0.5 * (features @ w - target) ** 2).mean().backward()
            optimizer.step()


def test_steps_of_a_panel_are_the_first_for_good():
    panel = experiments.two_by_two(5, 0.5, False).panels["momentum"]
    loss = 0.5 * ((panel.path @ panel.hessian) * panel.path).sum(1)
    below = (loss <= 1e-6 * loss[0]).tolist()
    assert all(below[panel.steps :]) and not below[panel.steps - 1]
    assert experiments.two_by_two(10, 0.95, False).panels["plain"].steps is None


@pytest.mark.parametrize("tolerance", (1e-9, 1e-3, 0.3))
def test_power_steps_by_counting(tolerance):
    for factor in (0.01, 0.5, 0.9, 0.99):
        k = experiments.power_steps(factor, tolerance)
        assert factor**k <= tolerance * (1 + 1e-9) and factor ** (k - 1) > tolerance * (1 - 1e-9)


def test_best_rates_are_spectral_radii():
    for condition in (2.0, 50.0):
        ends = torch.tensor([1 / condition, 1.0], dtype=torch.float64)
        plain = rate(ends, 2 / (1 + 1 / condition), 0.0)
        assert math.isclose(experiments.best_rate(condition, False), plain, rel_tol=1e-9)
        root = math.sqrt(condition)
        assert math.isclose(experiments.best_rate(condition, True), (root - 1) / (root + 1), rel_tol=1e-9)


def test_exact_steps_by_walking():
    """The heavy ball from rest at its best setting, on both ends of the spectrum."""
    for condition in (10, 100):
        for momentum in (False, True):
            ends = torch.tensor([1 / condition, 1.0], dtype=torch.float64)
            lr, beta = 2 / (1 + 1 / condition), 0.0
            if momentum:
                lr, beta = best_heavy_ball(1 / condition, 1)[:2]
            path = descend(ends, torch.ones(2, dtype=torch.float64), lr, beta, 800)
            above = (path.w.abs().amax(dim=1) > 1e-6 * (1 + 1e-6)).nonzero()[-1].item() + 1
            assert experiments.exact_steps(condition, momentum, 1e-6) == above


def test_no_diagonal_scaling_beats_the_bound():
    found = experiments.diagonal_scalings(4, range(3), steps=40)
    assert (found[:, 2] <= found[:, 1]).all() and (found[:, 1] <= 4 * found[:, 2]).all()
    # Scaling the rows of A beforehand changes what is standardized not at all.
    g = torch.Generator().manual_seed(0)
    a = torch.randn(4, 4, generator=g, dtype=torch.float64)
    correlations = torch.corrcoef(torch.cat([a, -a], dim=1))
    assert math.isclose(found[0, 1], experiments.condition_number(correlations), rel_tol=1e-6)


@pytest.mark.parametrize("rule", experiments.RULES)
def test_rules_of_a_step_are_those_of_the_library(rule):
    """As PyTorch would: SGD, Adam, a norm, a sign, a singular value decomposition."""
    lr, correlation = 0.05, 0.6
    state = experiments.rule_paths(rule, "raw", correlation, lr, decay=True, steps=12)
    torch.testing.assert_close(state.hessian, experiments.covariance(5.0, correlation))
    _, axes = torch.linalg.eigh(state.hessian)
    for beta, path in zip((0.0, 0.9), state.paths, strict=True):
        w = path[0].clone().requires_grad_()
        m = torch.zeros_like(w)
        optimizer = torch.optim.Adam([w], lr=lr, betas=(beta, 0.99), eps=1e-12)
        for step in range(12):
            torch.testing.assert_close(w.detach(), path[step], rtol=1e-9, atol=1e-9)
            w.grad = state.hessian @ w.detach()
            m = beta * m + (1 - beta) * w.grad
            now = lr * (1 - step / 12)
            if rule == "adam":
                optimizer.param_groups[0]["lr"] = now
                optimizer.step()
                continue
            if rule == "orthogonalized":
                left, _, right = torch.linalg.svd(axes @ (axes.T @ m).diag() @ axes.T)
                move = axes @ (axes.T @ (left @ right) @ axes).diagonal()
            else:
                move = {"gradient": m, "normalized": m / m.norm(), "sign": m.sign()}[rule]
            with torch.no_grad():
                w -= now * move


@pytest.mark.parametrize("surface", ("raw", "standardized"))
@pytest.mark.parametrize("rule", experiments.RULES)
def test_no_best_rate_of_a_rule_is_at_an_end_of_the_list(rule, surface):
    """The list of the table in section 8. At an end the best might lie beyond it."""
    lrs = [0.02 * 1.3**place for place in range(28)]
    runs = [experiments.rule_paths(rule, surface, 0.5, lr, True).losses for lr in lrs]
    for side in (0, 1):
        ends = [losses[side][-1].item() for losses in runs]
        assert 0 < ends.index(min(ends)) < len(lrs) - 1


def test_both_orders_give_the_few_rates_and_the_many(monkeypatch):
    monkeypatch.setattr(experiments, "SETTINGS", {"short": (16, 3)})
    found = experiments.both_orders([7, 8])
    assert list(found.losses["short"]) == list(experiments.ORDERS)
    again = experiments.normalized_steps([7, 8], ["short"], decay=True, orders=[experiments.LAST])
    assert torch.equal(found.losses["short"][experiments.LAST], again["short"][experiments.LAST])
    assert found.larger["short"].median() <= found.losses["short"][experiments.LAST].median()
    assert max(found.lrs["short"].values()) <= 1.6


def test_unknown_rules_are_refused():
    with pytest.raises(ValueError, match="unknown rule"):
        experiments.rule_paths("newton", "raw", 0.5, 0.1, False)
    with pytest.raises(ValueError, match="unknown surface"):
        experiments.rule_paths("sign", "white", 0.5, 0.1, False)
    with pytest.raises(ValueError, match="unknown rule"):
        experiments.direction("newton", [torch.ones(2, 2)], [torch.ones(2, 2)])


@pytest.mark.parametrize("shape", ((3, 6, 6), (8, 5), (4, 9)))
def test_newton_schulz_brings_singular_values_near_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    near = experiments.orthogonalize(matrix)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    # It keeps the singular vectors, and the order of Jordan et al. leaves values in about 0.7 to 1.2.
    values = left.mT @ near @ right.mT
    diagonal = values.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(values, torch.diag_embed(diagonal), atol=1e-3, rtol=0)
    assert diagonal.max() < 1.3 and diagonal.min() > 0.3


def test_directions_have_the_lengths_that_are_said():
    g = torch.Generator().manual_seed(0)
    parts = [torch.randn(2, 6, 3, generator=g), torch.randn(2, 1, 3, generator=g)]
    weights = [torch.randn(2, 6, 3, generator=g), torch.zeros(2, 1, 3)]
    for seed in range(2):
        flat = torch.cat([p[seed].flatten() for p in experiments.direction("normalized", parts, weights)])
        assert math.isclose(flat.norm(), 1, rel_tol=1e-5)
        matrix, vector = (p[seed] for p in experiments.direction("lars", parts, weights))
        assert math.isclose(matrix.norm(), weights[0][seed].norm(), rel_tol=1e-5)
        assert math.isclose(vector.norm(), 1, rel_tol=1e-5)
        vector = experiments.direction("orthogonalized", parts, weights)[1][seed]
        assert math.isclose((vector**2).mean(), 1, rel_tol=1e-5)


@pytest.mark.parametrize("normalize", ("", "batch", "layer", "weights"))
def test_the_network_is_the_library_s(normalize):
    weights = experiments.initial_weights([torch.Generator().manual_seed(s) for s in (0, 1)], 8, 2)
    x = torch.rand(2, 20, 64, generator=torch.Generator().manual_seed(2))
    y = torch.arange(20).remainder(10).expand(2, -1)
    out = experiments.network(weights, x, normalize)
    for seed in range(2):
        h = x[seed]
        for layer in range(2):
            matrix, gamma, shift = (weights[3 * layer + i][seed] for i in range(3))
            if normalize == "weights":
                deviation, mean = torch.std_mean(matrix, dim=0, correction=0)
                matrix = (matrix - mean) / deviation * math.sqrt(2 / len(matrix))
            h = h @ matrix
            if normalize == "batch":
                h = nn.functional.batch_norm(h, None, None, gamma[0], shift[0], training=True).relu()
            elif normalize == "layer":
                h = nn.functional.layer_norm(h, (8,), gamma[0], shift[0]).relu()
            else:
                h = (h + shift).relu()
        expected = h @ weights[-2][seed] + weights[-1][seed]
        torch.testing.assert_close(out[seed], expected, rtol=2e-3, atol=2e-4)
        loss = nn.functional.cross_entropy(expected, y[seed])
        torch.testing.assert_close(cross_entropy(out, y)[seed], loss, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize(
    ("arm", "make"),
    (
        (experiments.Arm((0.02, 0.1), beta=0.9), lambda w, lr: torch.optim.SGD(w, lr=lr, momentum=0.9)),
        (
            experiments.Arm((0.02, 0.1), "batch", decay=True),
            lambda w, lr: torch.optim.SGD(w, lr=lr),
        ),
        (
            experiments.Arm((0.02, 0.1), beta=0.9, nesterov=True),
            lambda w, lr: torch.optim.SGD(w, lr=lr, momentum=0.9, nesterov=True),
        ),
        (
            experiments.Arm((0.01,), rule="adam", beta=0.9),
            lambda w, lr: torch.optim.Adam(w, lr=lr),
        ),
    ),
)
def test_training_follows_the_library_s_optimizer(arm, make):
    steps = 6
    found = experiments.train(arm, [5], 64, steps, 1, width=8, depth=1)
    assert found.shape == (len(arm.lrs), 1, steps)
    data = experiments.split_digits(5)
    for place, lr in enumerate(arm.lrs):
        generator = torch.Generator().manual_seed(5)
        weights = [w.requires_grad_() for w in experiments.initial_weights([generator], 8, 1)]
        optimizer = make(weights, lr)

        def loss(x, y, weights=weights):
            return cross_entropy(experiments.network(weights, x[None], arm.normalize), y[None])[0]

        for step in range(steps):
            rows = torch.randint(len(data.train_x), (64,), generator=generator)
            optimizer.param_groups[0]["lr"] = lr * (1 - step / steps) if arm.decay else lr
            optimizer.zero_grad()
            loss(data.train_x[rows], data.train_y[rows]).backward()
            optimizer.step()
            expected = loss(data.train_x[:400], data.train_y[:400]).item()
            assert math.isclose(found[place, 0, step], expected, rel_tol=2e-3)


def test_groups_have_statistics_of_their_own():
    """One group of all is the batch; smaller groups are another training."""
    arm = experiments.Arm((0.3,), "batch")
    setting = {"seeds": [1, 2], "batch_size": 32, "steps": 3, "every": 3, "width": 8, "depth": 1}
    whole, one, small = (experiments.train(arm, group=g, **setting) for g in (None, 32, 8))
    assert torch.equal(whole, one) and not torch.allclose(whole, small, rtol=1e-3)


def test_company_is_normalized_and_not_judged():
    """One step by hand: the loss of the first eight images, normalized together with all forty."""
    arm, seed = experiments.Arm((0.3,), "batch"), 4
    found = experiments.train(arm, [seed], 8, 1, 1, company=40, width=8, depth=1)
    data, generator = experiments.split_digits(seed), torch.Generator().manual_seed(seed)
    weights = [w.requires_grad_() for w in experiments.initial_weights([generator], 8, 1)]
    rows = torch.randint(len(data.train_x), (40,), generator=generator)
    out = experiments.network(weights, data.train_x[rows][None], "batch")[:, :8]
    gradients = torch.autograd.grad(cross_entropy(out, data.train_y[rows[:8]][None])[0], weights)
    weights = [w - 0.3 * g for w, g in zip(weights, gradients, strict=True)]
    out = experiments.network(weights, data.train_x[None, :400], "batch")
    after = cross_entropy(out, data.train_y[None, :400])[0].item()
    assert math.isclose(found[0, 0, 0], after, rel_tol=1e-4)


def test_a_ramp_is_what_a_velocity_makes_of_one_gradient():
    """Under one gradient the velocity is (1 − 0.9^t) / (1 − 0.9) times it; a rule of signs has no other."""
    setting = {"seeds": [6], "batch_size": 64, "steps": 1, "every": 1, "width": 8, "depth": 1}
    ramp, tenth = (
        experiments.train(arm, **setting)
        for arm in (experiments.Arm((0.5,), ramp=True), experiments.Arm((0.05,)))
    )
    torch.testing.assert_close(ramp, tenth, rtol=1e-5, atol=0)
    setting |= {"steps": 3, "every": 3}
    ramp, none = (experiments.train(experiments.Arm((0.5,), ramp=on), **setting) for on in (True, False))
    assert not torch.allclose(ramp, none, rtol=1e-3)


def test_order_of_averaging_matters_for_directions_only():
    setting = {"seeds": [3], "batch_size": 16, "steps": 4, "every": 4, "width": 8, "depth": 1}
    first, last = (
        experiments.train(experiments.Arm((0.1,), rule="normalized", beta=0.9, momentum_first=m), **setting)
        for m in (True, False)
    )
    assert not torch.allclose(first, last, rtol=1e-3)
    # A gradient as it is: averaging "after" is the velocity times 1 − beta.
    sums, averages = (
        experiments.train(experiments.Arm((lr,), beta=0.9, momentum_first=m), **setting)
        for lr, m in ((0.01, True), (0.1, False))
    )
    torch.testing.assert_close(sums, averages, rtol=1e-3, atol=0)


def test_each_step_has_its_own_best_rate():
    loss = torch.tensor([[[3.0, 1.0], [3.0, 1.0], [9.0, 0.5]], [[2.0, 4.0], [2.0, 4.0], [2.0, math.inf]]])
    assert experiments.own_best(loss).tolist() == [[2.0, 1.0], [2.0, 1.0], [2.0, 0.5]]
    assert experiments.best_lr(loss, (0.1, 0.2)) == 0.1


def test_judges_and_pictures_on_made_up_numbers():
    ones = torch.ones(5, dtype=torch.float64)
    pair = {"normalization": ones[:, None].expand(5, 10), "both": 0.5 * ones[:, None].expand(5, 10)}
    little = {"normalization": pair["normalization"], "both": 0.9 * pair["normalization"]}
    floor = dict.fromkeys(experiments.RUNS, 20 * ones) | {"momentum": torch.inf * ones}
    losses = dict.fromkeys(experiments.WHEN, pair)
    ramped = {False: pair["normalization"], True: pair["both"]}
    run = experiments.When(
        torch.arange(5, 51, 5),
        losses,
        pair,
        pair,
        little,
        {False: ramped[False]} | {True: ramped[False]},
        {},
        floor,
    )
    held = [finding.held.all().item() for finding in experiments.judge_when(run)]
    assert held == [True, True, True, True, True, True, False, True, True]
    assert not experiments.judge_when(dataclasses.replace(run, grouped=little))[8].stands
    run = dataclasses.replace(
        run, ramped=ramped
    )  # a ramp that does all that momentum does, at one of the two
    assert not experiments.judge_when(run)[5].stands
    orders = dict(zip(experiments.ORDERS, (ones, 0.4 * ones, 0.5 * ones), strict=True))
    found = experiments.Orders(
        dict.fromkeys(experiments.SETTINGS, orders), {}, dict.fromkeys(experiments.SETTINGS, 0.3 * ones), {}
    )
    held = [finding.held.all().item() for finding in experiments.judge_normalized(found)]
    assert held == [True, True, True, True, False, False, False, False]
    lower, higher = ({experiments.NONE: ones, experiments.FIRST: part * ones} for part in (0.5, 2.0))
    pixels = dict(zip(experiments.SETTINGS, (higher, higher, lower), strict=True))
    assert [finding.stands for finding in experiments.judge_pixels(pixels)] == [True, True, True]
    pixels = dict(zip(experiments.SETTINGS, (lower, lower, higher), strict=True))
    assert [finding.stands for finding in experiments.judge_pixels(pixels)] == [False, False, False]
    levers = {name: (ones * (1 + (name == "nothing")), 0.9 * ones) for name in experiments.LEVERS}
    levers = dict.fromkeys(experiments.MAP_BATCHES, levers)
    held = [finding.held.all().item() for finding in experiments.judge_map(levers)]
    assert held == [True, True, False, True, True]
    kinds = dict(zip(experiments.MUON, (ones, 0.5 * ones, 0.4 * ones), strict=True))
    muon = dict.fromkeys(experiments.MUON_SETTINGS, kinds)
    held = [finding.stands for finding in experiments.judge_muon(muon)]
    assert held == [False, False, False, True, False]
    more = muon | {experiments.MUON_SETTINGS[-1]: kinds | {"beta 0.9": 20 * ones}}
    assert experiments.judge_muon(more)[2].stands
    for picture in (
        figures.draw_floor(floor),
        figures.draw_when(run),
        figures.draw_normalized(found.losses),
        figures.draw_normalized(found.losses, found.larger),
        figures.draw_map(levers),
    ):
        check_picture(picture)


# What the lecture says in numbers


def test_without_momentum_normalized_steps_do_not_bear_a_larger_rate():
    setting = next(iter(experiments.SETTINGS))
    ends = experiments._ends(experiments.NONE, (1.6, 3.2), range(5), setting, True)[..., -1]
    assert ends[0].max() < 0.5 and ends[1].median() > 1


def test_averaging_first_with_two_images_has_its_best_rate_inside_the_wider_list():
    *_, setting = experiments.SETTINGS
    ends = experiments._ends(experiments.FIRST, (0.05, 0.1), range(5), setting, True)[..., -1]
    assert ends[0].median() > 1.2 * ends[1].median()


def test_pixels_are_standardized_one_by_one():
    raw, labels = experiments._digits((3, 4))
    x, same = experiments._digits((3, 4), True)
    assert torch.equal(labels, same)
    assert x.mean(dim=1).abs().max() < 1e-5
    deviation, lit = x.std(dim=1, correction=0), raw.std(dim=1) > 0.2
    assert lit.sum() > 60 and (deviation[lit] > 0.95).all() and (deviation < 1).all()


def test_with_more_steps_on_standardized_pixels_momentum_pays_at_sixteen():
    none, first = (
        experiments.train(
            experiments.Arm(lrs, rule="normalized", decay=True, **experiments.ORDERS[order]),
            range(5),
            16,
            400,
            400,
            standardized=True,
        )
        for order, lrs in ((experiments.NONE, (0.4, 0.8, 1.6)), (experiments.FIRST, (0.1, 0.2, 0.4)))
    )
    assert (experiments.own_best(first) < experiments.own_best(none)).sum() >= 4


def test_standardized_pixels_take_a_part_of_the_lead_of_normalization():
    """Medians of steps to a loss of 0.3 at batch 64: plain 35, normalization 20, momentum 35."""
    found = {}
    for name in ("plain", "normalization", "momentum"):
        reached = experiments.train(experiments.FLOOR[name], range(5), 64, 50, 5, standardized=True) <= 0.3
        first = torch.where(reached.any(dim=-1), 5 * (1.0 + reached.int().argmax(dim=-1)), math.inf)
        found[name] = first.median(dim=1).values.min().item()
    assert found == {"plain": 35, "normalization": 20, "momentum": 35}


def test_directions_of_quiet_gradients_do_not_all_point_one_way(monkeypatch):
    """The average of ten directions in a row, batches of 256, normalize, then average."""
    seen, direction = [], experiments.direction

    def watched(rule, parts, weights):
        moves = direction(rule, parts, weights)
        seen.append(torch.cat([move.flatten(start_dim=2) for move in moves], dim=-1)[0])
        return moves

    monkeypatch.setattr(experiments, "direction", watched)
    experiments._ends(experiments.LAST, (3.2,), range(5), next(iter(experiments.SETTINGS)), True)
    tens = torch.stack(seen).unflatten(0, (-1, 10)).mean(dim=1).norm(dim=-1)
    assert 0.15 < tens.median() < 0.25


def test_three_troubles():
    found = {t.name: (t.raw, t.standardized, t.whitened) for t in experiments.troubles()}
    assert found["scale 10"] == pytest.approx((100, 1, 1))
    assert found["correlation 0.95"] == pytest.approx((39, 39, 1))
    raw, standardized, _ = found["offset 10"]
    assert raw > 10_000 and standardized == 1
    # The Hessian of a weight and a bias, from samples.
    x = torch.tensor([9.0, 11.0], dtype=torch.float64)
    rows = torch.stack([x, torch.ones_like(x)], dim=1)
    assert math.isclose(raw, experiments.condition_number(rows.T @ rows / 2), rel_tol=1e-6)


def test_what_was_to_be_seen_in_the_two_by_two():
    def steps(scale, correlation, whiten=False):
        return {n: p.steps for n, p in experiments.two_by_two(scale, correlation, whiten).panels.items()}

    scaled, correlated, white = steps(10, 0.0), steps(1, 0.95), steps(10, 0.95, True)
    assert scaled["normalization"] == scaled["both"] == 1 < scaled["momentum"] < scaled["plain"]
    assert correlated["normalization"] == correlated["plain"] > 3 * correlated["momentum"]
    assert correlated["both"] == correlated["momentum"]
    assert white["normalization"] == white["both"] == 1
    assert experiments.two_by_two(10, 0.95, True).panels["both"].beta < 1e-12


def test_standardizing_two_features_is_never_a_loss():
    for scale in (1, 2, 5):
        for correlation in (0.0, 0.5, 0.9):
            raw = experiments.condition_number(experiments.covariance(scale, correlation))
            after = experiments.condition_number(experiments.covariance(1, correlation))
            assert after <= raw * (1 + 1e-9)


def test_steps_go_as_kappa_and_about_as_its_root():
    for kappa, powers, exact in ((10, 22, 27), (100, 69, 95), (1000, 219, 321), (10_000, 691, 1074)):
        assert math.isclose(
            experiments.exact_steps(kappa, False, 1e-6), kappa / 2 * math.log(1e6), rel_tol=0.02
        )
        assert experiments.power_steps(experiments.best_rate(kappa, True), 1e-6) == powers
        assert experiments.exact_steps(kappa, True, 1e-6) == exact
        assert 1.2 < exact / powers < 1.6  # a quarter to a half more


def test_momentum_lengthens_a_weight_without_a_scale():
    plain = experiments.radial_parts(0.1, 0.0)
    same, matched = experiments.radial_parts(0.1, 0.9), experiments.radial_parts(0.01, 0.9)
    for radial in (plain, same, matched):
        assert radial.gradient.abs().max() < 1e-12
    assert plain.growth.max() < 1.3 and plain.growth.min() > 1.1  # a fifth or so
    assert same.growth.min() > 30
    assert matched.growth.min() > 3.5 and matched.growth.max() < 5.5  # about four to five times
    assert same.velocity.min() < -0.9 and same.velocity[1:].max() < 1e-12


def test_what_is_predicted_is_what_is_measured():
    found = experiments.troubles(scale=3, offset=2, correlation=0.5)
    assert experiments.cured(found) == [
        ("scale 3", "standardized"),
        ("scale 3", "whitened"),
        ("offset 2", "standardized"),
        ("offset 2", "whitened"),
        ("correlation 0.5", "whitened"),
    ]
    assert experiments.comes_to_rest(lrs=(0.2, 0.4, 0.8)) == ["gradient"]
    assert "gradient" not in experiments.comes_to_rest(lrs=(5.0,))  # it diverges

    def run(gains):
        loss = {
            size: {"normalization": torch.full((5, 10), gain), "both": torch.ones(5, 10)}
            for size, gain in gains.items()
        }
        return experiments.When(torch.arange(10), loss, {}, {}, {}, {}, {}, {})

    assert experiments.helps_most(run({16: 0.9, 64: 2.0, 256: 1.0})) == "64"
    assert experiments.helps_most(run({16: 3.0, 64: 2.0, 256: 1.0})) == "16"
    one = torch.ones(5)
    levers = {256: {"Adam": (one, 0.5 * one), "Muon": (one, 1.5 * one), "sign": (0.1 * one, 0.2 * one)}}
    assert experiments.loses_most(levers, 256) == "sign"


# What is moved


def test_goal_of_the_two_by_two_needs_a_correlation():
    explorer = explorers.two_by_two_explorer()
    assert not explorer.compute(**explorer.start)["reached"]
    settings = explorer.start | {"scale": 1, "correlation": 0.95}
    assert explorer.compute(**settings)["reached"]
    assert not explorer.compute(**settings | {"whiten": True})["reached"]


def test_goal_of_the_rules_needs_a_rate_that_falls():
    explorer = explorers.step_rules_explorer()

    def reached(**settings) -> bool:
        return explorer.compute(**explorer.start | {"rule": "sign"} | settings)["reached"]

    assert not any(reached(lr=lr) for lr in (0.04, 0.1, 0.3))
    assert reached(lr=0.1, decay=True)
    assert not reached(lr=0.1, decay=True, surface="standardized")


def test_adam_divides_what_the_lecture_says_it_divides():
    """Scaling a coordinate of the gradient leaves the steps of sign descent and Adam as they are."""
    for rule in ("sign", "adam"):
        paths = []
        for surface in ("raw", "standardized"):
            state = experiments.rule_paths(rule, surface, 0.0, 0.02, False)
            paths.append(state.paths[0][:3] - state.paths[0][0])
        torch.testing.assert_close(*paths, rtol=1e-3, atol=1e-3)
