"""The steps to the hard exercises: what each takes and returns, what is right, and what goes wrong in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graders.judging.answer import Answer, Mistake, mistake
from graders.judging.steps import Step
from graders.probing.days import exercises
from graders.probing.exercise import (
    AUTOGRAD,
    LIBRARY_ANSWERS,
    Candidate,
    Case,
    Draw,
    Exercise,
    Inputs,
    Part,
    Probe,
)
from graders.probing.probes import call, error_of, kept

Cases = Callable[[Draw], Iterator[Case]]


def step(
    title: str,
    signature: str,
    probe: Probe,
    cases: Cases,
    right: Candidate,
    *wrong: Mistake,
    of: str = "",
    definition: Candidate | None = None,
    barred: frozenset[str] = LIBRARY_ANSWERS,
) -> Step:
    """A step with a function of its own. of: keys of mistakes of the whole. definition: `right`, if None."""
    name = signature.partition("(")[0]
    written = Exercise(name, signature, cases, probe, (Part(title, 0),), barred=barred)
    return Step(title, written, Answer(right, definition or right, wrong), frozenset(of.split()))


def whole(title: str, name: str, of: str = "") -> Step:
    """A step that is an exercise of the table."""
    return Step(title, exercises()[name], mistakes=frozenset(of.split()))


# -- day 26: batch_norm_backward -----------------------------------------------------------------------


def backward_batches(draw: Draw) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
    """Name, a gradient (N, D), x_hat (N, D) and the divisor (D,) that made it."""
    for name, n, std, eps in (("an ordinary batch", 7, 1.5, 1e-5), ("a batch of two", 2, 1.0, 1e-4)):
        yield f"{name}, {n} × 3", *_normalized(draw, n, 3, std, eps)
    many = draw.many()
    yield "many samples, and eps as large as the variance", *_normalized(draw, many, 4, 0.2, 0.04)


def _normalized(draw: Draw, n: int, d: int, std: float, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    x = draw.normal(n, d, std=std)
    centred = x - x.mean(0)
    divisor = torch.sqrt(centred.square().mean(0) + eps)
    return draw.normal(n, d, mean=0.4), centred / divisor, divisor


def sum_cases(draw: Draw) -> Iterator[Case]:
    for name, dy, x_hat, _ in backward_batches(draw):
        yield Case(name, {"dy": dy, "x_hat": x_hat})


def scale_cases(draw: Draw) -> Iterator[Case]:
    for name, dy, _, _ in backward_batches(draw):
        yield Case(name, {"dy": dy, "gamma": draw.scale(dy.shape[1])})


def variance_cases(draw: Draw) -> Iterator[Case]:
    for name, dx_hat, x_hat, std in backward_batches(draw):
        yield Case(name, {"dx_hat": dx_hat, "x_hat": x_hat, "std": std})


def mean_cases(draw: Draw) -> Iterator[Case]:
    for name, dcentred, _, _ in backward_batches(draw):
        yield Case(name, {"dcentred": dcentred})


def parameter_gradients(dy: Tensor, x_hat: Tensor) -> tuple[Tensor, Tensor]:
    return (dy * x_hat).sum(0), dy.sum(0)


def through_variance(
    dx_hat: Tensor,
    x_hat: Tensor,
    std: Tensor,
    *,
    weight: float = 1.0,
    collect: Callable[[Tensor], Tensor] = lambda values: values.mean(0),
    divide: Callable[[Tensor, Tensor], Tensor] = torch.div,
) -> Tensor:
    return divide(dx_hat - weight * x_hat * collect(dx_hat * x_hat), std)


BACKWARD = (
    step(
        "The scale and the shift",
        "parameter_gradients(dy, x_hat)",
        call("dgamma", "dbeta"),
        sum_cases,
        parameter_gradients,
        mistake(
            "averaged_over_batch",
            "The gradients are averaged over the batch. One gamma acts on N rows, and a gradient adds up.",
            lambda dy, x_hat: ((dy * x_hat).mean(0), dy.mean(0)),
            lambda dy, x_hat: ((dy * x_hat).sum(0), dy.mean(0)),
            lambda dy, x_hat: ((dy * x_hat).mean(0), dy.sum(0)),
        ),
        mistake(
            "not_summed_over_batch",
            "The gradients still have N rows. gamma and beta have D entries each: add up over axis 0.",
            lambda dy, x_hat: (dy * x_hat, dy),
        ),
        mistake(
            "swapped",
            "The two are swapped: dgamma comes first, dbeta second.",
            lambda dy, x_hat: (dy.sum(0), (dy * x_hat).sum(0)),
        ),
        of="""dgamma_from_x dgamma_with_gamma averaged_over_batch not_summed_over_batch
        summed_over_features""",
        barred=LIBRARY_ANSWERS | AUTOGRAD,
    ),
    step(
        "Back through the scale",
        "through_scale(dy, gamma)",
        call("dx_hat"),
        scale_cases,
        torch.mul,
        mistake(
            "gamma_missing",
            "dx_hat is dy itself, without gamma. In y = gamma · x_hat + beta, a change of x_hat counts "
            "gamma times.",
            lambda dy, gamma: dy.clone(),
        ),
        mistake(
            "gamma_divides",
            "dy is divided by gamma. x_hat is multiplied by gamma on the way to y, and so is the gradient "
            "on the way back.",
            torch.div,
        ),
        of="gamma_missing_in_dx gamma_twice_in_dx gamma_summed_over_features",
        barred=LIBRARY_ANSWERS | AUTOGRAD,
    ),
    step(
        "Through the variance",
        "through_variance(dx_hat, x_hat, std)",
        call("dcentred"),
        variance_cases,
        through_variance,
        mistake(
            "variance_path_missing",
            "Only the direct path is there: std is treated as a constant. It depends on every centred value.",
            partial(through_variance, weight=0.0),
        ),
        mistake(
            "variance_path_doubled",
            "The path through the variance counts twice, or half: the square brings a 2, the root a 1/2.",
            partial(through_variance, weight=2.0),
            partial(through_variance, weight=0.5),
        ),
        mistake(
            "path_sign",
            "The path through the variance enters with the wrong sign. A larger std makes x_hat smaller.",
            partial(through_variance, weight=-1.0),
        ),
        mistake(
            "wrong_count",
            "The sum over the batch is divided by the wrong number. N values share one variance, so it is "
            "the mean over the batch.",
            partial(through_variance, collect=lambda values: values.sum(0)),
            partial(through_variance, collect=lambda values: values.sum(0) / max(len(values) - 1, 1)),
        ),
        mistake(
            "division_forgotten",
            "The result is not divided by std. x_hat is centred / std, so its derivative is divided as well.",
            partial(through_variance, divide=lambda values, std: values),
        ),
        of="""variance_path_missing variance_path_doubled variance_path_scaled variance_path_sign
        statistics_constant eps_missing_in_backward eps_fixed_in_backward eps_outside_root_in_backward
        variance_for_deviation_in_backward
        division_forgotten_in_backward x_for_x_hat x_hat_in_the_wrong_term only_own_output
        extra_factor_in_dx""",
        barred=LIBRARY_ANSWERS | AUTOGRAD,
    ),
    step(
        "Through the mean",
        "through_mean(dcentred)",
        call("dx"),
        mean_cases,
        lambda dcentred: dcentred - dcentred.mean(0),
        mistake(
            "mean_path_missing",
            "dx is dcentred itself: the mean is treated as a constant. It depends on every x of the batch.",
            lambda dcentred: dcentred.clone(),
        ),
        mistake(
            "path_sign",
            "The mean is added. It was subtracted on the way to centred, and so it is on the way back.",
            lambda dcentred: dcentred + dcentred.mean(0),
        ),
        mistake(
            "wrong_count",
            "The sum of the batch is subtracted. Each x makes up 1/N of the mean, so it is the mean.",
            lambda dcentred: dcentred - dcentred.sum(0),
        ),
        mistake(
            "wrong_axis",
            "The mean of each row is subtracted. The mean was taken over the batch, along axis 0.",
            lambda dcentred: dcentred - dcentred.mean(1, keepdim=True),
        ),
        of="""mean_path_missing mean_path_sign mean_path_doubled wrong_count sums_and_means_mixed
        batch_average_in_dx""",
        barred=LIBRARY_ANSWERS | AUTOGRAD,
    ),
    whole(
        "All together",
        "batch_norm_backward",
        "dgamma_and_dbeta_swapped cache_layout kept_between_calls backward_of_the_right_forward y_for_x_hat",
    ),
)


# -- day 27: BatchNorm1d -------------------------------------------------------------------------------


def state_cases(draw: Draw) -> Iterator[Case]:
    for d in draw.sizes((2, 4), (5, 9)):
        yield Case(f"{d} features", {"num_features": d, "like": draw.normal(1)})


def probe_state(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    layer = nn.Module()
    candidate(layer, inputs["num_features"])
    yield "parameters", ", ".join(sorted(name for name, _ in layer.named_parameters()))
    yield "buffers", ", ".join(sorted(name for name, _ in layer.named_buffers()))
    yield "state_dict keys", ", ".join(sorted(layer.state_dict()))
    layer.to(inputs["like"])
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        yield f"{name} of a fresh layer", kept(getattr(layer, name, "nothing of that name"))


def hold_state(
    layer: nn.Module,
    num_features: int,
    *,
    keep: Callable[[nn.Module, str, Tensor], Any] = nn.Module.register_buffer,
    var: Callable[[int], Tensor] = torch.ones,
    scale: Callable[[int], Tensor] = torch.ones,
    counted: bool = True,
) -> None:
    layer.weight = nn.Parameter(scale(num_features))
    layer.bias = nn.Parameter(torch.zeros(num_features))
    keep(layer, "running_mean", torch.zeros(num_features))
    keep(layer, "running_var", var(num_features))
    if counted:
        layer.register_buffer("num_batches_tracked", torch.tensor(0))


def hold_trained(layer: nn.Module, name: str, values: Tensor) -> None:
    setattr(layer, name, nn.Parameter(values))


def weight_cases(draw: Draw) -> Iterator[Case]:
    momentum = draw.number(0.2, 0.8)
    for name, given in (("a momentum", momentum), ("momentum = 0", 0.0), ("momentum = None", None)):
        for k in draw.sizes((1, 1), (2, 9)):
            yield Case(f"{name}, batch {k}", {"momentum": given, "num_batches_tracked": k})


def train_cases(draw: Draw) -> Iterator[Case]:
    for name, n, std, eps in (
        ("an ordinary batch", draw.integer(5, 9), 1.5, 1e-5),
        ("a batch of two", 2, 1.0, 1e-4),
        ("eps as large as the variance", 8, 0.2, 0.04),
    ):
        inputs = {"x": draw.normal(n, 3, mean=0.7, std=std), "weight": draw.scale(3), "bias": draw.normal(3)}
        yield Case(name, {**inputs, "eps": eps, "dy": draw.normal(n, 3, mean=0.4)})


def probe_train(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    x = inputs["x"].clone().requires_grad_()
    y = candidate(x, inputs["weight"], inputs["bias"], inputs["eps"])
    yield "y", y.detach()
    y.backward(inputs["dy"])
    yield "gradient of x", x.grad


def normalize_batch(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    statistic: Callable[[Tensor], Tensor] = lambda values: values,
    correction: int = 0,
    divisor: Callable[[Tensor, float], Tensor] = lambda var, eps: torch.sqrt(var + eps),
) -> Tensor:
    mean, var = statistic(x.mean(0)), statistic(x.var(0, correction=correction))
    return weight * (x - mean) / divisor(var, eps) + bias


LAYER = (
    step(
        "What the layer holds",
        "hold_state(layer, num_features)",
        probe_state,
        state_cases,
        hold_state,
        mistake(
            "plain_tensors",
            "The running statistics are plain attributes: saving and moving the layer leaves them behind. "
            "What is saved and not trained is registered as a buffer.",
            partial(hold_state, keep=setattr),
        ),
        mistake(
            "statistics_as_parameters",
            "The running statistics are parameters, so an optimizer would move them. They are buffers.",
            partial(hold_state, keep=hold_trained),
        ),
        mistake(
            "fresh_values",
            "A fresh layer starts with other values: weight and running_var are 1, bias and running_mean 0.",
            partial(hold_state, var=torch.zeros),
            partial(hold_state, scale=torch.zeros),
        ),
        mistake(
            "counter_missing",
            "num_batches_tracked is missing among the buffers: one whole number, 0 at first.",
            partial(hold_state, counted=False),
        ),
        of="""plain_tensors statistics_as_parameters no_statistics counter_missing other_names fresh_values
        not_saved extra_axis kept_by_the_class argument_not_stored count_not_saved""",
    ),
    step(
        "The weight of a new batch",
        "batch_weight(momentum, num_batches_tracked)",
        call("weight"),
        weight_cases,
        lambda momentum, k: 1 / k if momentum is None else momentum,
        mistake(
            "zero_taken_for_none",
            "momentum = 0 is treated as None. 0 is a momentum too: ask whether it is None.",
            lambda momentum, k: momentum or 1 / k,
        ),
        mistake(
            "cumulative_off_by_one",
            "With momentum = None the count is off by one. Batch k is counted already: its weight is 1/k.",
            lambda momentum, k: 1 / (k + 1) if momentum is None else momentum,
        ),
        mistake(
            "momentum_reversed",
            "This is the weight of the old value. momentum is the weight of the new one.",
            lambda momentum, k: 1 - (1 / k if momentum is None else momentum),
            lambda momentum, k: 1 / k if momentum is None else 1 - momentum,
        ),
        mistake(
            "none_as_a_number",
            "momentum = None is treated as a fixed momentum. It asks for the average of all batches so far.",
            lambda momentum, k: 0.1 if momentum is None else momentum,
        ),
        of="""none_as_a_number cumulative_off_by_one mean_of_the_last_two zero_taken_for_none momentum_default
        batches_not_counted momentum_fixed none_fails""",
    ),
    whole(
        "The running statistics",
        "update_running_stats",
        """momentum_reversed biased_running_variance wrong_count eps_in_running_variance deviation_stored
        not_updated old_value_forgotten old_value_not_decayed new_value_unweighted squares_stored sum_stored
        wrong_mean graph_kept bessel_twice fresh_values_replaced""",
    ),
    step(
        "Train mode: the batch's own statistics",
        "normalize_batch(x, weight, bias, eps)",
        probe_train,
        train_cases,
        lambda x, weight, bias, eps: F.batch_norm(x, None, None, weight, bias, training=True, eps=eps),
        mistake(
            "statistics_constant",
            "y is right, and the statistics are detached: the gradient of x goes the direct way only. The "
            "batch's own statistics stay in the graph.",
            partial(normalize_batch, statistic=Tensor.detach),
        ),
        mistake(
            "unbiased_variance",
            "The variance is divided by N − 1. What normalizes is the biased one, divided by N.",
            partial(normalize_batch, correction=1),
        ),
        mistake(
            "eps_outside_root",
            "eps is added to the standard deviation. It belongs inside the root, with the variance.",
            partial(normalize_batch, divisor=lambda var, eps: torch.sqrt(var) + eps),
        ),
        mistake(
            "eps_missing",
            "eps is not used. It is added to the variance, inside the root.",
            partial(normalize_batch, divisor=lambda var, eps: torch.sqrt(var)),
        ),
        of="""stored_statistics_in_training eps_outside_root eps_missing eps_as_floor eps_fixed eps_default
        eps_subtracted eps_squared eps_on_deviation eps_on_quotient length_over_count unbiased_variance
        unbiased_and_eps_outside divided_by_variance multiplied_by_deviation variance_by_cancellation
        not_centred variance_about_zero one_statistic_for_all
        rows_normalized affine_not_trained affine_missing beta_missing gamma_missing gamma_and_beta_swapped
        shift_before_scale gamma_plus_one statistics_constant variance_constant mean_constant""",
        definition=normalize_batch,
    ),
    whole(
        "Eval mode: the stored statistics",
        "batch_norm_inference",
        """batch_statistics_in_eval statistics_move_in_eval mode_by_grad eval_affine_missing
        eval_eps_outside_root eval_eps_missing eval_divided_by_variance eval_without_gradient""",
    ),
    whole("All together", "BatchNorm1d"),
)


# -- day 29: group_norm --------------------------------------------------------------------------------


def divided_cases(draw: Draw) -> Iterator[Case]:
    g, size = draw.sizes((2, 4), (5, 7))
    for channels, groups in ((g * size, g), (g * size + 1, g), (g, g), (g, 1), (g, g * size)):
        inputs = {"channels": channels, "num_groups": groups}
        yield Case(f"{channels} channels, {groups} group{'s' * (groups > 1)}", inputs)


def probe_divided(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    yield "what it raises", error_of(lambda: candidate(inputs["channels"], inputs["num_groups"]))


def require_groups(channels: int, num_groups: int) -> None:
    if channels % num_groups:
        raise ValueError(f"{num_groups} groups of {channels} channels")


def assert_groups(channels: int, num_groups: int) -> None:
    assert channels % num_groups == 0


def refuse_the_divisible(channels: int, num_groups: int) -> None:
    if channels % num_groups == 0:
        raise ValueError(f"{num_groups} groups of {channels} channels")


def refuse_too_many(channels: int, num_groups: int) -> None:
    if num_groups > channels:
        raise ValueError(f"{num_groups} groups of {channels} channels")


def grouped_cases(draw: Draw, *, affine: bool = False, eps: bool = False) -> Iterator[Case]:
    """Maps that are cut into groups: x (N, G, C // G, H, W)."""
    n, g, size, h, w = draw.sizes((2, 2), (3, 3), (4, 4), (5, 6), (7, 8))
    for name, shape in (
        (f"{g} groups of {size} channels", (n, g, size, h, w)),
        ("one group", (n, 1, size, h, w)),
        ("groups of one channel", (n, size, 1, h, w)),
        ("many pixels", (1, g, 2, draw.many(), 3)),
    ):
        inputs: dict[str, Any] = {"grouped": draw.normal(*shape, mean=0.5, std=0.3)}
        if affine:
            c = shape[1] * shape[2]
            inputs |= {"gamma": draw.scale(c), "beta": draw.normal(c)}
        yield Case(name, inputs | ({"eps": draw.number(0.02, 0.06)} if eps else {}))


def split_cases(draw: Draw) -> Iterator[Case]:
    for case in grouped_cases(draw):
        grouped = case.inputs["grouped"]
        yield Case(case.name, {"x": grouped.flatten(1, 2), "num_groups": grouped.shape[1]})


def split_groups(x: Tensor, num_groups: int) -> Tensor:
    n, c, h, w = x.shape
    return x.reshape(n, num_groups, c // num_groups, h, w)


def interleave(x: Tensor, num_groups: int) -> Tensor:
    n, c, h, w = x.shape
    return x.reshape(n, c // num_groups, num_groups, h, w).transpose(1, 2)


def split_by_size(x: Tensor, num_groups: int) -> Tensor:
    n, c, h, w = x.shape
    return x.reshape(n, c // num_groups, num_groups, h, w)


def normalize_groups(
    grouped: Tensor,
    eps: float,
    *,
    axes: tuple[int, ...] = (2, 3, 4),
    correction: int = 0,
    divisor: Callable[[Tensor, float], Tensor] = lambda var, eps: torch.sqrt(var + eps),
) -> Tensor:
    var, mean = torch.var_mean(grouped, axes, correction=correction, keepdim=True)
    return (grouped - mean) / divisor(var, eps)


def scale_channels(grouped: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return gamma[:, None, None] * grouped.flatten(1, 2) + beta[:, None, None]


def shift_first(grouped: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return gamma[:, None, None] * (grouped.flatten(1, 2) + beta[:, None, None])


def left_in_groups(grouped: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return scale_channels(grouped, gamma, beta).reshape(grouped.shape)


GROUPS = (
    step(
        "Can it be divided?",
        "require_groups(channels, num_groups)",
        probe_divided,
        divided_cases,
        require_groups,
        mistake(
            "nothing_raised",
            "Nothing is raised where num_groups does not divide the channels. Look at the remainder.",
            lambda channels, num_groups: None,
            refuse_too_many,
        ),
        mistake(
            "other_error",
            "Another kind of error is raised. Whoever calls it relies on a ValueError.",
            assert_groups,
        ),
        mistake(
            "condition_reversed",
            "The condition is turned round: the error comes where the channels can be divided.",
            refuse_the_divisible,
        ),
        of="indivisible_groups",
    ),
    step(
        "An axis for the groups",
        "split_groups(x, num_groups)",
        call("grouped"),
        split_cases,
        split_groups,
        mistake(
            "interleaved_groups",
            "The groups are interleaved: channels 0, G, 2G, … come together. A group is a run of channels "
            "that follow one another.",
            interleave,
        ),
        mistake(
            "group_size",
            "num_groups is taken for the number of channels in a group. It is the number of groups, the "
            "axis after N.",
            split_by_size,
        ),
        of="interleaved_groups reshape_mixes_channels group_size",
    ),
    step(
        "Normalize each group",
        "normalize_groups(grouped, eps)",
        call("x_hat"),
        partial(grouped_cases, eps=True),
        normalize_groups,
        mistake(
            "over_pixels_only",
            "Only H and W are averaged over, so every channel is normalized by itself. The channels of a "
            "group share one mean.",
            partial(normalize_groups, axes=(3, 4)),
        ),
        mistake(
            "over_channels_only",
            "H and W are not averaged over: every pixel of a group has a mean of its own.",
            partial(normalize_groups, axes=(2,)),
        ),
        mistake(
            "over_the_batch_too",
            "The mean of a group runs over the batch as well. Every sample is normalized by itself.",
            partial(normalize_groups, axes=(0, 2, 3, 4)),
        ),
        mistake(
            "layer_statistics",
            "All groups of a sample share one mean. Every group has its own.",
            partial(normalize_groups, axes=(1, 2, 3, 4)),
        ),
        mistake(
            "unbiased_variance",
            "The variance is divided by the count less 1. What normalizes is the biased one.",
            partial(normalize_groups, correction=1),
        ),
        mistake(
            "eps_outside_root",
            "eps is added to the standard deviation. It belongs inside the root, with the variance.",
            partial(normalize_groups, divisor=lambda var, eps: torch.sqrt(var) + eps),
        ),
        of="""eps_outside_root eps_missing eps_as_floor eps_fixed eps_default eps_subtracted eps_squared
        eps_on_deviation eps_on_quotient length_over_count unbiased_variance unbiased_and_eps_outside
        divided_by_variance multiplied_by_deviation variance_by_cancellation
        not_centred variance_about_zero over_channels_only
        over_pixels_only layer_statistics over_the_batch_too batch_statistics over_all_axes across_groups
        rows_averaged""",
    ),
    step(
        "Scale and shift each channel",
        "scale_channels(grouped, gamma, beta)",
        call("y"),
        partial(grouped_cases, affine=True),
        scale_channels,
        mistake(
            "groups_not_undone",
            "The values are right, but the channels are still cut into groups: y is (N, C, H, W).",
            left_in_groups,
        ),
        mistake(
            "shift_before_scale",
            "beta is added before the scaling, so it is scaled too. It comes last.",
            shift_first,
        ),
        of="""affine_missing beta_missing gamma_missing gamma_and_beta_swapped shift_before_scale
        gamma_plus_one affine_first affine_per_group extra_axes groups_not_undone affine_on_another_axis""",
    ),
    whole("All together", "group_norm"),
)


# -- day 33: SGD ---------------------------------------------------------------------------------------


def decay_cases(draw: Draw) -> Iterator[Case]:
    for name, decay, d in (("no decay", 0.0, 3), ("weight decay", 0.3, 4), ("many", 0.1, draw.many())):
        yield Case(name, {"w": draw.normal(d, mean=1.0), "grad": draw.normal(d), "weight_decay": decay})


def probe_decay(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    p = nn.Parameter(inputs["w"].clone())
    p.grad = inputs["grad"].clone()
    yield "g", kept(candidate(p, inputs["weight_decay"]))
    yield "p.grad afterwards", kept(p.grad)
    yield "p afterwards", kept(p)


def left_in_gradient(p: Tensor, weight_decay: float) -> Tensor:
    with torch.no_grad():
        p.grad += weight_decay * p
    return p.grad


def velocity_cases(draw: Draw) -> Iterator[Case]:
    for d in draw.sizes((2, 4), (40, 90)):
        g, momentum = draw.normal(d), draw.number(0.3, 0.9)
        yield Case(
            f"the first gradient, {d} values", {"velocity": None, "g": g.clone(), "momentum": momentum}
        )
        inputs = {"velocity": draw.normal(d), "g": g, "momentum": momentum}
        yield Case(f"a later gradient, {d} values", inputs)


def next_velocity(
    velocity: Tensor | None,
    g: Tensor,
    momentum: float,
    *,
    first: Callable[[Tensor, float], Tensor] = lambda g, momentum: g.clone(),
    later: Callable[[Tensor, float], Tensor] = lambda g, momentum: g,
    keep: Callable[[float], float] = lambda momentum: momentum,
) -> Tensor:
    return first(g, momentum) if velocity is None else keep(momentum) * velocity + later(g, momentum)


def damped(g: Tensor, momentum: float) -> Tensor:
    return (1 - momentum) * g


def direction_cases(draw: Draw) -> Iterator[Case]:
    for d in draw.sizes((2, 4), (40, 90)):
        inputs = {"g": draw.normal(d), "velocity": draw.normal(d), "momentum": draw.number(0.3, 0.8)}
        for name, nesterov in (("classical", False), ("Nesterov", True)):
            yield Case(f"{name}, {d} values", {**inputs, "nesterov": nesterov})


def direction(
    g: Tensor,
    velocity: Tensor,
    momentum: float,
    nesterov: bool,
    *,
    ahead: Callable = lambda g, velocity, momentum: g + momentum * velocity,
) -> Tensor:
    return ahead(g, velocity, momentum) if nesterov else velocity.clone()


def move_cases(draw: Draw) -> Iterator[Case]:
    for d in draw.sizes((2, 4), (40, 90)):
        inputs = {"w": draw.normal(d), "direction": draw.normal(d), "lr": draw.number(0.2, 0.6)}
        yield Case(f"{d} values", inputs)


def probe_move(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    p = nn.Parameter(inputs["w"].clone())
    candidate(p, inputs["direction"], inputs["lr"])
    yield "p", kept(p)


def move(p: Tensor, direction: Tensor, lr: float) -> None:
    with torch.no_grad():
        p -= lr * direction


def move_up(p: Tensor, direction: Tensor, lr: float) -> None:
    move(p, -direction, lr)


def move_recorded(p: Tensor, direction: Tensor, lr: float) -> None:
    p -= lr * direction


OPTIMIZER = (
    step(
        "The gradient with its decay",
        "with_decay(p, weight_decay)",
        probe_decay,
        decay_cases,
        lambda p, weight_decay: p.grad + weight_decay * p,
        mistake(
            "decay_left_in_gradient",
            "The decay is left in .grad, and the next backward adds to that. Put g into a new tensor.",
            left_in_gradient,
        ),
        mistake(
            "weight_decay_sign",
            "The decay is subtracted. The step subtracts g, so the decay is added to it: that pulls p to 0.",
            lambda p, weight_decay: p.grad - weight_decay * p,
        ),
        mistake(
            "weight_decay_missing",
            "g is the gradient alone. weight_decay times p is added to it.",
            lambda p, weight_decay: p.grad.clone(),
        ),
        mistake(
            "weight_decay_factor",
            "The decay is off by a factor of 2. Here it is weight_decay times p.",
            lambda p, weight_decay: p.grad + 2 * weight_decay * p,
        ),
        of="""weight_decay_missing weight_decay_after_momentum weight_decay_without_lr weight_decay_factor
        weight_decay_only_with_momentum weight_decay_only_without_momentum weight_decay_sign
        weight_decay_by_sign weight_decay_of_matrices weight_decay_of_the_penalty decay_left_in_gradient
        weight_decay_default lr_in_weight_decay""",
    ),
    step(
        "The velocity",
        "next_velocity(velocity, g, momentum)",
        call("velocity"),
        velocity_cases,
        next_velocity,
        mistake(
            "gradient_damped",
            "The gradient enters with the factor 1 − momentum, as into an average. Here it enters whole.",
            partial(next_velocity, first=damped, later=damped),
            partial(next_velocity, later=damped),
        ),
        mistake(
            "first_gradient_damped",
            "The first velocity is damped. It is the first gradient itself.",
            partial(next_velocity, first=damped),
        ),
        mistake(
            "momentum_reversed",
            "The old velocity is kept with 1 − momentum. momentum is the share of it that stays.",
            partial(next_velocity, keep=lambda momentum: 1 - momentum),
        ),
        mistake(
            "velocity_not_kept",
            "The old velocity does not enter: momentum times it is what carries on.",
            partial(next_velocity, keep=lambda momentum: 0.0),
        ),
        of="""gradient_damped damped_after_the_first first_gradient_damped velocity_is_the_gradient
        momentum_ignored velocity_not_kept velocity_kept_from_the_first momentum_fixed momentum_default
        momentum_on_gradient momentum_on_both never_fades first_gradient_lost lr_twice""",
    ),
    step(
        "The direction",
        "direction(g, velocity, momentum, nesterov)",
        call("direction"),
        direction_cases,
        direction,
        mistake(
            "nesterov_ignored",
            "nesterov changes nothing: where it is true, the direction is g plus momentum times velocity.",
            partial(direction, ahead=lambda g, velocity, momentum: velocity.clone()),
        ),
        mistake(
            "nesterov_always",
            "Nesterov's direction is taken always. Without it, p moves along the velocity itself.",
            lambda g, velocity, momentum, nesterov: g + momentum * velocity,
        ),
        mistake(
            "nesterov_without_factor",
            "The velocity is added to g whole. One step ahead it has faded, by the factor momentum.",
            partial(direction, ahead=lambda g, velocity, momentum: g + velocity),
        ),
        of="""nesterov_ignored nesterov_always nesterov_without_factor look_ahead_stored
        look_ahead_without_decay old_velocity_moves nesterov_default nesterov_old_velocity_twice
        nesterov_stretched nesterov_without_gradient""",
    ),
    step(
        "Moving in place",
        "move(p, direction, lr)",
        probe_move,
        move_cases,
        move,
        mistake(
            "uphill",
            "p moves along the direction. Descent goes against it: the step is subtracted.",
            move_up,
        ),
        mistake(
            "parameters_replaced",
            "The parameter that was handed in has not moved. The model holds on to that object: change it "
            "in place.",
            lambda p, direction, lr: None,
        ),
        mistake(
            "recorded_by_autograd",
            "Autograd records the move, and while it does it refuses to change a parameter in place. Nobody "
            "needs that record.",
            move_recorded,
        ),
        of="uphill parameters_replaced recorded_by_autograd lr_ignored",
    ),
    whole(
        "All together",
        "SGD",
        """generator_used_up missing_gradient_stops missing_gradient_as_zero missing_gradient_fails
        missing_gradient_forgets
        kept_by_the_class zero_grad_does_nothing zero_grad_fails step_clears_gradients order_of_arguments""",
    ),
)


# -- day 34: adam_step ---------------------------------------------------------------------------------


def average_cases(draw: Draw) -> Iterator[Case]:
    for d in draw.sizes((2, 4), (40, 90)):
        inputs = {"g": draw.normal(d), "m": draw.normal(d), "v": draw.uniform(d, low=0.2, high=2.0)}
        betas = [draw.number(0.3, 0.6), draw.number(0.7, 0.9)]
        yield Case(f"{d} values", {**inputs, "betas": betas})


def moving_averages(
    g: Tensor,
    m: Tensor,
    v: Tensor,
    betas: Any,
    *,
    square: Callable[[Tensor, Tensor], Tensor] = lambda g, m: g * g,
    new: Callable[[float], float] = lambda beta: 1 - beta,
    old: Callable[[float], float] = lambda beta: beta,
) -> tuple[Tensor, Tensor]:
    first, second = betas
    m = old(first) * m + new(first) * g
    return m, old(second) * v + new(second) * square(g, m)


def corrected_cases(draw: Draw) -> Iterator[Case]:
    for count in draw.sizes((1, 1), (2, 3), (5, 9)):
        inputs = {"average": draw.normal(3), "beta": draw.number(0.5, 0.9), "step": count}
        yield Case(f"step {count}", inputs)


def adam_direction_cases(draw: Draw) -> Iterator[Case]:
    for d, eps in zip(draw.sizes((2, 4), (40, 90)), (1e-8, 0.2), strict=True):
        inputs = {"m_hat": draw.normal(d), "v_hat": draw.uniform(d, low=0.01, high=2.0), "eps": eps}
        yield Case(f"{d} values, eps = {eps:g}", inputs)


ADAM = (
    step(
        "Two running averages",
        "moving_averages(g, m, v, betas)",
        call("m", "v"),
        average_cases,
        moving_averages,
        mistake(
            "gradients_not_averaged",
            "The new value enters whole. In an average the weights add up to 1: beta for the old value, "
            "1 − beta for the new one.",
            partial(moving_averages, new=lambda beta: 1.0),
        ),
        mistake(
            "weights_swapped",
            "The weights are swapped: beta belongs to the old value, 1 − beta to the new one.",
            partial(moving_averages, new=lambda beta: beta, old=lambda beta: 1 - beta),
        ),
        mistake(
            "not_squared",
            "v averages the gradients, or their sizes. It averages their squares.",
            partial(moving_averages, square=lambda g, m: g),
            partial(moving_averages, square=lambda g, m: g.abs()),
        ),
        mistake(
            "square_of_the_average",
            "v averages the squares of m. It averages the squares of the gradients themselves.",
            partial(moving_averages, square=lambda g, m: m * m),
        ),
        mistake(
            "betas_swapped",
            "The two betas are swapped: the first is for m, the second for v.",
            lambda g, m, v, betas: moving_averages(g, m, v, betas[::-1]),
        ),
        of="""gradients_not_averaged weights_swapped betas_swapped one_beta_for_both betas_fixed betas_default
        not_squared square_of_the_average variance_for_square squares_over_all_entries larger_v_kept""",
    ),
    step(
        "Corrected for the start",
        "corrected(average, beta, step)",
        call("corrected"),
        corrected_cases,
        lambda average, beta, step: average / (1 - beta**step),
        mistake(
            "correction_missing",
            "The average comes back as it was. After few steps its weights do not add up to 1.",
            lambda average, beta, step: average.clone(),
        ),
        mistake(
            "correction_constant",
            "The correction does not change from step to step: beta is raised to the number of the step.",
            lambda average, beta, step: average / (1 - beta),
        ),
        mistake(
            "step_counted_from_0",
            "The exponent is off by one. step counts from 1, and after the first gradient it is 1.",
            lambda average, beta, step: average / (1 - beta ** (step + 1)),
        ),
        mistake(
            "correction_multiplied",
            "The average is multiplied by 1 − beta^step. It is too small at first, and dividing enlarges it.",
            lambda average, beta, step: average * (1 - beta**step),
        ),
        of="""correction_missing one_corrected one_divisor_for_both step_counted_from_0 correction_constant
        correction_multiplied correction_formula root_before_correction""",
    ),
    step(
        "The direction",
        "adam_direction(m_hat, v_hat, eps)",
        call("direction"),
        adam_direction_cases,
        lambda m_hat, v_hat, eps: m_hat / (v_hat.sqrt() + eps),
        mistake(
            "eps_inside_root",
            "eps stands inside the root, as in batch normalization. Adam adds it after the root.",
            lambda m_hat, v_hat, eps: m_hat / (v_hat + eps).sqrt(),
        ),
        mistake(
            "root_missing",
            "m_hat is divided by v_hat itself, which is in squared units; its root is in those of m_hat.",
            lambda m_hat, v_hat, eps: m_hat / (v_hat + eps),
        ),
        mistake(
            "eps_missing",
            "eps is not used. It keeps the divisor from being 0.",
            lambda m_hat, v_hat, eps: m_hat / v_hat.sqrt(),
        ),
        mistake(
            "not_divided",
            "The direction is m_hat alone: that is momentum. Adam divides it by the root of v_hat.",
            lambda m_hat, v_hat, eps: m_hat.clone(),
        ),
        of="""eps_inside_root eps_before_correction eps_missing eps_default eps_fixed root_missing not_divided
        brackets_missing gradient_moves_w old_average_moves_w nesterov""",
    ),
    whole(
        "All together",
        "adam_step",
        "corrected_stored moments_not_stored order_of_results uphill lr_ignored lr_decays weight_decay_added",
    ),
)

PATHS = {
    "batch_norm_backward": BACKWARD,
    "BatchNorm1d": LAYER,
    "group_norm": GROUPS,
    "SGD": OPTIMIZER,
    "adam_step": ADAM,
}
