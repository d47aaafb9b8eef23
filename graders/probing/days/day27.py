"""Day 27, trainable and non-trainable parameters: a layer with two modes. Cases and probes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from graders.probing.exercise import BrokenContract, Candidate, Case, Draw, Exercise, Inputs, Part
from graders.probing.exposing import exposing
from graders.probing.observe import FORM, Raised, describe
from graders.probing.probes import Untouched, call, error_of, filled
from graders.probing.recorder import paused

# -- running statistics, one batch at a time -----------------------------------------------------------


def update_cases(draw: Draw) -> Iterator[Case]:
    n, d = draw.sizes((5, 9), (3, 4))

    def inputs(x: Tensor, momentum: float | None) -> dict[str, Any]:
        return {
            "running_mean": draw.normal(d),
            "running_var": draw.uniform(d, low=0.3, high=3.0),
            "x": x,
            "momentum": momentum,
        }

    yield Case(f"an ordinary batch, {n} × {d}", inputs(draw.batch(n, d), None))
    yield Case("momentum = 0.3", inputs(draw.batch(n, d), 0.3))
    yield Case("momentum = 0.85", inputs(draw.batch(n, d), 0.85))
    yield Case("a batch of two", inputs(draw.batch(2, d), 0.4))

    x = draw.batch(n, d)
    x[:, 0] = draw.normal(n, std=0.003)
    small = inputs(x, 0.6)
    small["running_var"][0] = draw.tensor(torch.tensor(3e-5))
    yield Case("a feature with a tiny variance", small)

    x = draw.batch(n, d)
    x[:, 1] = 0.75
    yield Case("a constant feature", inputs(x, 0.25))
    yield Case("features at an offset of 10,000", inputs(draw.normal(n + 10, d, mean=1e4), 0.7))
    many = draw.many()
    wide = {**inputs(draw.batch(many, n).t(), None), "running_mean": draw.normal(many)}
    wide["running_var"] = draw.uniform(many, low=0.3, high=3.0)
    yield Case("many features, not contiguous in memory", wide)
    fresh = inputs(draw.batch(n, d), 0.35)
    fresh["running_mean"], fresh["running_var"] = torch.zeros_like(x[0]), torch.ones_like(x[0])
    yield Case("the first batch of a fresh layer", fresh)


# -- inference -----------------------------------------------------------------------------------------


def inference_cases(draw: Draw) -> Iterator[Case]:
    n, d = draw.sizes((5, 9), (3, 4))

    def inputs(x: Tensor, eps: float | None, small: float | None = None) -> dict[str, Any]:
        d = x.shape[1]
        running_var = draw.uniform(d, low=0.3, high=3.0)
        if small is not None:
            running_var[0] = draw.tensor(torch.tensor(small))
        return {
            "x": x,
            "running_mean": draw.normal(d),
            "running_var": running_var,
            "gamma": draw.scale(d),
            "beta": draw.normal(d),
            "eps": eps,
        }

    yield Case(f"an ordinary batch, {n} × {d}", inputs(draw.batch(n, d), None))
    yield Case("a single sample", inputs(draw.batch(1, d), 1e-4))
    yield Case("a running variance near eps", inputs(draw.batch(n, d), None, 2e-5))
    yield Case("eps = 0.02", inputs(draw.batch(n, d), 0.02, 0.03))
    yield Case("a running variance of 0", inputs(draw.batch(n, d), 1e-3, 0.0))
    offset = inputs(draw.normal(n, d, mean=1e4), 1e-5)
    offset["running_mean"] = draw.normal(d, mean=1e4)
    yield Case("features at an offset of 10,000", offset)
    yield Case("many features, not contiguous in memory", inputs(draw.batch(draw.many(), n).t(), 1e-5))


# -- the layer -----------------------------------------------------------------------------------------

#: What a layer holds, and by which names a probe still finds it where the right one is missing.
HELD = {
    "gamma": ("weight", "gamma", "mults", "scale"),
    "beta": ("bias", "beta", "adds", "shift", "offset"),
    "running_mean": ("running_mean", "moving_mean", "means"),
    "running_var": ("running_var", "moving_var", "moving_variance", "running_variance", "vars"),
}
PARAMETERS, STATISTICS = ("gamma", "beta"), ("running_mean", "running_var")
LAST = "3 or later"
NO_GRADIENT = Raised("no gradient", "nothing flows back to it")


def layer_cases(draw: Draw) -> Iterator[Case]:
    n, d = draw.sizes((6, 8), (3, 4))

    def inputs(
        batches: list[Tensor], eps: float | None, momentum: float | str | None, small: float | None = None
    ) -> dict[str, Any]:
        d = batches[0].shape[1]
        running_var = draw.uniform(d, low=0.3, high=3.0)
        if small is not None:
            running_var[0] = draw.tensor(torch.tensor(small))
        return {
            "gamma": draw.scale(d),
            "beta": draw.normal(d),
            "running_mean": draw.normal(d),
            "running_var": running_var,
            "batches": batches,
            "dy": draw.normal(*batches[0].shape, mean=0.4),
            "eps": eps,
            "momentum": momentum,
        }

    def several(std: float | None = None) -> list[Tensor]:
        """Three batches of different sizes and statistics; `std`: of their first feature."""
        found = [draw.batch(size, d) for size in (n, n + 2, 2)]
        if std is not None:
            for x in found:
                x[:, 0] = draw.normal(len(x), std=std)
        return found

    yield Case("eps and momentum left out", inputs(several(), None, "left out"))
    yield Case("a variance near eps, momentum = 0.3", inputs(several(0.003)[:2], None, 0.3, 2e-5))
    beside = {"beside": draw.normal(n, d, mean=1.0, std=2.0)}
    two = inputs(several(0.15), 0.02, 0.85, 0.03)
    yield Case("eps = 0.02, momentum = 0.85, and another layer beside it", {**two, **beside})
    # Two batches, so that the weights 1 and 1/2 have no digits to lose, in whatever dtype they are computed.
    yield Case("momentum = None", inputs(several()[:2], 1e-4, None))

    many = draw.many()
    flat = [draw.batch(many, size).t() for size in (n, n + 1)]
    flat[1][:, 1] = 0.75
    yield Case("many features, one of them constant, momentum = 0", inputs(flat, 1e-3, 0.0))
    offset = [draw.normal(draw.many(), d, mean=1e4), draw.normal(n + 10, d, mean=1e4)]
    yield Case("many samples at an offset of 10,000", inputs(offset, 1e-5, 0.7))

    long = [draw.batch(3, d) for _ in range(draw.integer(8, 12))]
    yield Case("many batches in a row", {**inputs(long, None, 0.15), "state": "kept on"})

    state = inputs([draw.batch(n, d), draw.batch(n + 1, d)], 1e-5, None)
    yield Case("names, fresh values and state_dict", {**state, "state": "exchanged"})


def probe_layer(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    if "state" in inputs:
        yield from (probe_state if inputs["state"] == "exchanged" else probe_many)(candidate, inputs)
        return
    layer = made(candidate, inputs, "gamma", "beta")
    for number, batch in enumerate(inputs["batches"], 1):
        x = batch.detach().requires_grad_() if number == 1 else batch
        if number == 3:  # as after a look at the validation set
            layer.eval()
            layer.train()
        # Without gradients the layer still trains its statistics: no_grad is not eval.
        with torch.no_grad() if number == 2 else nullcontext():
            y = output(layer, x)
        if number == 1 and "beside" in inputs:
            output(made(candidate, {**inputs, "eps": None, "momentum": "left out"}), inputs["beside"])
        yield f"y of batch {('1', '2, under no_grad', LAST)[number - 1]}", y
        yield from statistics(layer, f"after batch {LAST if number == 3 else number}")
        if number == 1:
            yield "buffers that carry a graph", _listed(_with_a_graph(layer))
            yield from gradients(layer, y, x, inputs["dy"])

    layer = made(candidate, inputs, *HELD)
    layer.eval()
    x = inputs["batches"][0].detach().requires_grad_()
    y = output(layer, x)
    yield "y in eval mode", y
    yield from statistics(layer, "after eval mode")
    with torch.no_grad():
        single = output(layer, inputs["batches"][0][:1])
    yield "y in eval mode, a single sample", single
    yield from gradients(layer, y, x, inputs["dy"], " in eval mode")


def probe_many(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    """What becomes of a layer in the long run, in as few observations as will do."""
    layer = made(candidate, inputs, *PARAMETERS)
    yield f"y of batch {LAST}", torch.stack([output(layer, x) for x in inputs["batches"]])
    yield from statistics(layer, f"after batch {LAST}")


def probe_state(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    """Names and fresh values, what moves with the layer, and the exchange with nn.BatchNorm1d."""
    x, more = inputs["batches"]
    layer = made(candidate, inputs)
    yield "parameters", _listed(name for name, _ in layer.named_parameters())
    yield "buffers", _listed(name for name, _ in layer.named_buffers())
    yield "state_dict keys", _listed(layer.state_dict())
    for name in PARAMETERS:
        yield f"{HELD[name][0]} of a fresh layer", reading(layer, name)
    yield from statistics(layer, "of a fresh layer")
    yield "left behind by .to(device)", _listed(_left_behind(candidate(x.shape[1])))

    with paused():
        theirs, back = Library(x), Library(x)
        given = {HELD[name][0]: inputs[name] for name in HELD}
        theirs.load_state_dict({**given, "num_batches_tracked": torch.tensor(7)})
    yield (
        "loading a state_dict of nn.BatchNorm1d",
        error_of(lambda: layer.load_state_dict(theirs.state_dict())),
    )
    yield "nn.BatchNorm1d loading yours", error_of(lambda: back.load_state_dict(layer.state_dict()))
    for name in PARAMETERS:
        yield f"{HELD[name][0]} there and back", reading(back, name)
    yield from statistics(back, "there and back")

    # Compared with the original, so that a wrong formula costs nothing here.
    layer, copy = made(candidate, inputs, "gamma", "beta"), made(candidate, inputs)
    layer(x)
    yield "loading your own state_dict", error_of(lambda: copy.load_state_dict(layer.state_dict()))
    seen = [
        (output(one, more).detach(), *(value for _, value in statistics(one, ""))) for one in (layer, copy)
    ]
    yield "a copy by state_dict goes on like the original", all(map(_same, *seen))
    yield from later(made(candidate, inputs, *HELD), more)


def later(layer: nn.Module, x: Tensor) -> Iterator[tuple[str, Any]]:
    """What a layer that has seen three batches makes of one more: the fourth has the weight 1/4.

    Not from the first on, because 1/3 has digits to lose, in whatever dtype it is computed.
    """
    count = getattr(layer, "num_batches_tracked", None)
    if isinstance(count, Tensor):
        count.fill_(3)
    output(layer, x)
    for name, value in statistics(layer, "after batch 4"):
        if not name.startswith("num"):
            yield name, value


class Library(nn.Module):
    """What `nn.BatchNorm1d` stores, and how it loads; the layer itself is an answer, and closed meanwhile."""

    _version = 2  # from which on a state_dict has a count of batches

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        d = like.shape[1]
        self.weight, self.bias = nn.Parameter(torch.ones(d)), nn.Parameter(torch.zeros(d))
        self.register_buffer("running_mean", torch.zeros(d))
        self.register_buffer("running_var", torch.ones(d))
        self.register_buffer("num_batches_tracked", torch.tensor(0))
        self.to(like)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, metadata: Any, *details: Any) -> None:
        if metadata.get("version") is None or metadata["version"] < self._version:
            state_dict.setdefault(f"{prefix}num_batches_tracked", torch.tensor(0))
        super()._load_from_state_dict(state_dict, prefix, metadata, *details)


def made(candidate: Candidate, inputs: Inputs, *given: str) -> nn.Module:
    """A layer of the candidate's, on the device and in the dtype of the inputs, holding what is given.

    Raises BrokenContract where the candidate makes no module.
    """
    options = {name: inputs[name] for name in ("eps",) if inputs[name] is not None}
    if inputs["momentum"] != "left out":
        options["momentum"] = inputs["momentum"]
    like = inputs["gamma"]
    with paused():  # layers are made on the CPU and moved, as PyTorch's own are
        layer = candidate(like.shape[0], **options)
        if not isinstance(layer, nn.Module):
            raise BrokenContract(f"BatchNorm1d(…) should be a torch.nn.Module, but it is {describe(layer)}.")
        layer.to(device=like.device, dtype=like.dtype)
        for name in given:
            tensor = held(layer, name)[1]
            if tensor is not None:
                tensor.data.copy_(inputs[name].reshape(tensor.shape))
    return layer


def output(layer: nn.Module, x: Tensor) -> Tensor:
    """What the layer makes of x. Raises BrokenContract where that is no tensor."""
    y = layer(x)
    if not isinstance(y, Tensor):
        raise BrokenContract(f"Calling the layer should give a tensor, but it gives {describe(y)}.")
    return y


def held(layer: nn.Module, name: str) -> tuple[str, Tensor | None]:
    """The name and the tensor that a layer holds for gamma, beta or a running statistic; or None."""
    for key in HELD[name]:
        value = getattr(layer, key, None)
        if isinstance(value, Tensor):
            return key, value
    return HELD[name][0], None


def reading(layer: nn.Module, name: str) -> Tensor | Raised:
    """What the layer holds now, in memory of its own."""
    value = held(layer, name)[1]
    if value is None:
        return missing(HELD[name][0])
    return value.detach().clone()


def missing(name: str) -> Raised:
    return Raised("AttributeError", f"the layer has no tensor {name}")


def statistics(layer: nn.Module, when: str) -> Iterator[tuple[str, Any]]:
    """What the layer remembers of the batches: the running statistics and how many there were."""
    for name in STATISTICS:
        yield f"{name} {when}", reading(layer, name)
    count = getattr(layer, "num_batches_tracked", None)
    if count is None:
        count = Raised("AttributeError", "the layer has no num_batches_tracked")
    elif isinstance(count, Tensor) and count.numel() == 1 and count.device.type != "meta":
        count = int(count)
    yield f"num_batches_tracked {when}", count


def gradients(
    layer: nn.Module, y: Tensor, x: Tensor, dy: Tensor, when: str = ""
) -> Iterator[tuple[str, Any]]:
    """The gradients of sum(y · dy) for x, weight and bias."""
    leaves = {"x": x, **{HELD[name][0]: held(layer, name)[1] for name in PARAMETERS}}
    wanted = [leaf for leaf in leaves.values() if leaf is not None and leaf.requires_grad]
    found: dict[int, Any] = {}
    if y.requires_grad and y.shape == dy.shape:
        results = torch.autograd.grad(y, wanted, dy, allow_unused=True)
        found = {id(leaf): result for leaf, result in zip(wanted, results, strict=True)}
    for name, leaf in leaves.items():
        gradient = found.get(id(leaf), NO_GRADIENT)
        if leaf is None:
            gradient = missing(name)
        yield f"gradient of {name}{when}", NO_GRADIENT if gradient is None else gradient


def _with_a_graph(layer: nn.Module) -> Iterator[str]:
    for name in STATISTICS:
        key, value = held(layer, name)
        if value is not None and not value.is_leaf:
            yield key


def _left_behind(layer: nn.Module) -> Iterator[str]:
    """Which tensors do not follow the layer to another device; `meta` is one that every machine has."""
    layer.to("meta")
    for name in HELD:
        key, value = held(layer, name)
        if value is not None and value.device.type != "meta":
            yield key


def _same(one: Any, other: Any) -> bool:
    """Whether two observations agree but for rounding."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, equal_nan=True)
    return type(one) is type(other) and one == other


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"


# -- counting ------------------------------------------------------------------------------------------


class Extras(nn.Module):
    """A network with what no layer has: parameters of its own, one without dimensions, and all buffers."""

    def __init__(self, a: int, b: int, c: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b))
        self.scale = nn.Parameter(torch.ones(c))
        self.slope = nn.Parameter(torch.tensor(1.0))
        self.register_buffer("positions", torch.arange(a * c))
        self.register_buffer("temperature", torch.tensor(0.7))
        self.register_buffer("mask", torch.ones(b, c), persistent=False)


class Tied(nn.Module):
    """An embedding and a decoder with one weight between them."""

    def __init__(self, a: int, b: int, c: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(a * c, b)
        self.norm = nn.BatchNorm1d(b)
        self.decoder = nn.Linear(b, a * c)
        self.decoder.weight = self.embedding.weight


def plain(a: int, b: int, c: int) -> nn.Module:
    return nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU(), nn.Linear(b, c))


def partly_frozen(a: int, b: int, c: int) -> nn.Module:
    model = plain(a, b, c)
    model[0].requires_grad_(False)
    model[1].bias.requires_grad_(False)
    return model


def nested(a: int, b: int, c: int) -> nn.Module:
    block = nn.Sequential(nn.Conv2d(a, b, 3, bias=False), nn.BatchNorm2d(b), nn.ReLU())
    return nn.Sequential(block, nn.Sequential(nn.Flatten(), nn.LayerNorm(b), nn.Linear(b, c)))


def used_twice(a: int, b: int, c: int) -> nn.Module:
    block = nn.Sequential(nn.Linear(b, b), nn.BatchNorm1d(b))
    block[0].bias.requires_grad_(False)
    return nn.Sequential(nn.Linear(a, b), block, nn.ReLU(), block, nn.Linear(b, c))


def bare_norms(a: int, b: int, c: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(a, b),
        nn.BatchNorm1d(b, affine=False),
        nn.Linear(b, c),
        nn.BatchNorm1d(c, track_running_stats=False),
    )


def shared_buffers(a: int, b: int, c: int) -> nn.Module:
    """Two layers with one running mean, and a frozen weight that another module holds as a buffer."""
    model = nn.Sequential(nn.BatchNorm1d(a), nn.BatchNorm1d(a), nn.Linear(a, b), nn.Linear(b, c))
    model[2].weight.requires_grad_(False)
    return model


def share(model: nn.Module) -> None:
    """What has to be shared after the model has moved, because moving makes new buffers."""
    model[1].running_mean = model[0].running_mean
    model[3].register_buffer("teacher", model[2].weight)


COUNTED: dict[str, Callable[[int, int, int], nn.Module]] = {
    "a network with batch norm": plain,
    "frozen parameters": partly_frozen,
    "blocks in blocks, convolutional": nested,
    "a weight tied to another layer": Tied,
    "a block that is used twice": used_twice,
    "parameters and buffers of its own": Extras,
    "batch norm without parameters, without statistics": bare_norms,
    "a buffer in two places": shared_buffers,
    "no parameters at all": lambda a, b, c: nn.Sequential(nn.ReLU(), nn.Flatten()),
}


def count_cases(draw: Draw) -> Iterator[Case]:
    """The network with frozen parameters is as large as the one without, so that sizes do not tell which."""
    for name in COUNTED:
        if name == "a weight tied to another layer":
            sizes = list(draw.sizes((16, 40), (70, 250), (41, 69)))
        elif name != "frozen parameters":
            sizes = list(draw.sizes((4, 9), (10, 15), (2, 3)))
        yield Case(name, {"model": name, "sizes": sizes, "like": draw.normal(1)})


def probe_count(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    with paused():
        model = COUNTED[inputs["model"]](*inputs["sizes"]).to(inputs["like"])
    if inputs["model"] == "a buffer in two places":
        share(model)
    untouched = Untouched("the model", [model])
    if inputs["model"] == "frozen parameters":
        candidate(model)  # asked a second time, it says the same
    yield from call("trainable", "non_trainable")(candidate, {"model": model})
    yield untouched.now()


# -- freezing ------------------------------------------------------------------------------------------


class TrainingOnly(nn.Module):
    """Stands for dropout and its like, without chance: doubles its input in train mode, else nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x if self.training else x


def flat_network(d: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(d, 5),
        nn.BatchNorm1d(5),
        TrainingOnly(),
        nn.Linear(5, 3),
        nn.LayerNorm(3),
    )


def image_network(d: int) -> nn.Module:
    block = nn.Sequential(
        nn.BatchNorm2d(4), nn.InstanceNorm2d(4, affine=True, track_running_stats=True), TrainingOnly()
    )
    return nn.Sequential(nn.Conv2d(d, 4, 2, bias=False), nn.Sequential(block), nn.Conv2d(4, 2, 2))


def volume_network(d: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(d, 12), nn.Unflatten(1, (3, 2, 2, 1)), nn.BatchNorm3d(3, momentum=None), nn.GroupNorm(1, 3)
    )


def bare_network(d: int) -> nn.Module:
    return nn.Sequential(
        nn.BatchNorm1d(d, affine=False),
        nn.Linear(d, 5),
        nn.BatchNorm1d(5, track_running_stats=False),
        nn.Linear(5, 2),
    )


FROZEN: dict[str, tuple[Callable[[int], nn.Module], tuple[int, ...]]] = {
    "a small network": (flat_network, ()),
    "blocks in blocks, convolutional": (image_network, (4, 3)),
    "batch norm in three dimensions, momentum = None": (volume_network, ()),
    "batch norm without parameters, without statistics": (bare_network, ()),
}


def freeze_cases(draw: Draw) -> Iterator[Case]:
    for name, (_, more) in FROZEN.items():
        n, d = draw.sizes((6, 9), (3, 4))
        yield Case(
            name,
            {
                "model": name,
                "seed": draw.integer(0, 10**6),
                "batches": [draw.normal(size, d, *more, mean=0.5, std=1.5) for size in (n, n + 1)],
                "lr": draw.number(0.05, 0.1),
                "weight_decay": draw.number(0.1, 0.2),
            },
        )


def probe_freeze(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    """Trains the model that was given for two steps, then in train mode anew for one more."""
    first, second = inputs["batches"]
    with paused():
        model = filled(FROZEN[inputs["model"]][0](first.shape[1]), inputs["seed"], first)
    result = candidate(model)
    train = Training(model, inputs["lr"], inputs["weight_decay"])
    yield "y in the first step", train.step(first)
    yield "y in the second step", train.step(second)
    model.eval()
    model.train()
    yield "y after model.train()", train.step(first)
    model.eval()
    with torch.no_grad():
        y = model(second)
    yield "y in eval mode at the end", y
    if result is model:
        yield FORM, None
    elif isinstance(result, nn.Module):
        yield FORM, "a different model from the one it was given"
    else:
        yield FORM, f"{describe(result)} instead of the model"


class Training:
    """SGD with momentum and weight decay; a parameter without a gradient is skipped."""

    def __init__(self, model: nn.Module, lr: float, weight_decay: float) -> None:
        self.model, self.lr, self.weight_decay = model, lr, weight_decay
        self.parameters = list(model.parameters())
        self.velocities: dict[int, Tensor] = {}

    def step(self, x: Tensor) -> Tensor:
        """One step towards outputs of 1. Returns the outputs from before it."""
        for parameter in self.parameters:
            parameter.grad = None
        y = self.model(x)
        if y.requires_grad:
            (y - 1).square().mean().backward()
            with torch.no_grad():
                for position, parameter in enumerate(self.parameters):
                    if parameter.grad is not None:
                        self._move(position, parameter)
        return y

    def _move(self, position: int, parameter: Tensor) -> None:
        velocity = parameter.grad.add(parameter, alpha=self.weight_decay)
        if position in self.velocities:
            velocity = velocity.add(self.velocities[position], alpha=0.9)
        self.velocities[position] = velocity
        parameter.sub_(velocity, alpha=self.lr)


# -- what is wrong with a set-up -----------------------------------------------------------------------

#: Observations, so that the points can be split.
FAULT, FAULT_TOGETHER = "fault of a layer or a batch", "fault in how layers stand together"


def setup_cases(draw: Draw) -> Iterator[Case]:
    """Models with one fault or none, in an order of chance; sound models resemble those with faults."""
    found = [*faults_of_one(draw), *faults_together(draw)]
    yield from (found[i] for i in torch.randperm(len(found), generator=draw.generator))


def setup_case(draw: Draw, name: str, layers: list[Any], sizes: tuple[int, ...] = (), **given: Any) -> Case:
    """layers: rows as `built` reads them. sizes: of the batches. training: what is in that mode, by place."""
    sizes = sizes or tuple(draw.integer(2, 9) for _ in range(draw.integer(2, 4)))
    width = next(row[1] for row in layers if row[0] == "linear")
    return Case(
        name,
        {
            "batches": [draw.normal(size, width) for size in sizes],
            "layers": layers,
            "training": given.get("training", []),
            "seed": given.get("seed", draw.integer(0, 10**6)),
            "together": given.get("together", False),
        },
    )


def network(widths: tuple[int, ...], *momenta: float | None, bias: int = -1) -> list[Any]:
    """Linear, batch norm, ReLU for each width after the first, and a linear layer with a bias at the end.

    bias: which of the linear layers before a batch norm has one too.
    """
    rows: list[Any] = []
    for number, (into, out) in enumerate(pairwise(widths)):
        momentum = momenta[number] if number < len(momenta) else 0.1
        rows += [["linear", into, out, number == bias], ["norm", out, momentum], ["relu"]]
    return [*rows, ["linear", widths[-1], 2, True]]


def faults_of_one(draw: Draw) -> Iterator[Case]:
    d, a, b, c = draw.sizes((2, 4), (3, 6), (3, 6), (5, 9))
    wide, three, two = (d, draw.many(), a), (d, a, b, c), (d, a, b)
    others = [-1, 0, 2, 3, 5, 6]  # all but the norms of a network with two of them

    def case(name: str, *given: Any, **options: Any) -> Case:
        return setup_case(draw, name, *given, **options)

    yield case("all of it in training mode", network(two), training=[*others, 1, 4])
    yield case("a norm in training mode, the model is not", network(three), training=[4])
    yield case("many features, the first norm in training mode", network(wide), training=[1])
    yield case("both norms in training mode, nothing else", network(two), training=[1, 4])
    yield case("the last norm in training mode", network(two), training=[4])
    yield case("the model in training mode, its norms are not", network(two), training=others)
    yield case("the first momentum is 0", network(two, 0.0, 0.2))
    yield case("the last momentum is 0, many features", network(wide, 0.3, 0.0))
    yield case("a momentum of None", network(two, 0.1, None))
    yield case("a momentum of 1", network(two, 1.0, 0.1))
    yield case("a momentum of 0.001", network(two, 0.001, 0.1))
    yield case("a last batch of one", network(two), (8, 8, 1))
    yield case("a first batch of one", network(two), (1, 6, 6))
    yield case("a batch of one among many", network(wide), (*(draw.integer(2, 9) for _ in range(20)), 1, 4))
    yield case("one feature, batches of two", network((1, a, b)), (2, 2, 2))
    yield case("a single batch, large", network(two), (draw.many(),))


def faults_together(draw: Draw) -> Iterator[Case]:
    d, a, b = draw.sizes((2, 4), (5, 6), (7, 9))
    many = draw.many()

    def case(name: str, layers: list[Any], **options: Any) -> Case:
        return setup_case(draw, name, layers, together=True, **options)

    def linear(into: int, out: int, bias: bool = False) -> list[Any]:
        return ["linear", into, out, bias]

    relu, norm, end = ["relu"], ["norm", a, 0.1], linear(a, 2, True)
    first, middle = [linear(d, a), norm, relu], [linear(a, a), norm, relu]
    yield case("a bias before the first norm", network((d, a, b), bias=0))
    yield case("a bias before the last norm", network((d, a, b), bias=1))
    yield case("a bias before a norm, many features", network((d, many, a), bias=0))
    apart = [linear(d, a, True), relu, norm, linear(a, b, True), relu, ["norm", b, 0.1], linear(b, 2, True)]
    yield case("biases, none of them before a norm", apart)
    yield case("no norm at all", [linear(d, a, True), relu, linear(a, 2, True)])
    yield case("a norm at two places", [*first, linear(a, a), ["again", 1], relu, end])
    yield case("a norm at two places, another between", [*first, *middle, linear(a, a), ["again", 1], end])
    shared = [linear(d, many), ["norm", many, 0.1], relu, linear(many, many), ["again", 1], linear(many, 2)]
    yield case("a norm at two places, many features", shared)
    yield case("two norms with the same numbers", [*first, *middle, end], seed=-1)
    yield case("a ReLU at two places", [*first, linear(a, a), norm, ["again", 2], end])
    yield case("a linear layer at two places", [*first, *middle, ["again", 3], norm, relu, end])


def built(rows: list[Any], seed: int, like: Tensor) -> nn.Sequential:
    """The model of these rows. "again" is the layer of another row; without a seed the numbers are fresh."""
    layers: list[nn.Module] = []
    for kind, *given in rows:
        if kind == "again":
            layers.append(layers[given[0]])
        elif kind == "linear":
            layers.append(nn.Linear(given[0], given[1], bias=given[2]))
        elif kind == "norm":
            layers.append(nn.BatchNorm1d(given[0], momentum=given[1]))
        else:
            layers.append(nn.ReLU())
    model = nn.Sequential(*layers)
    return model.to(like) if seed < 0 else filled(model, seed, like)


def probe_setup(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    with paused():
        model = built(inputs["layers"], inputs["seed"], inputs["batches"][0]).eval()
    for place in inputs["training"]:
        (model if place < 0 else model[place]).training = True
    untouched = Untouched("the model", [model])
    yield FAULT_TOGETHER if inputs["together"] else FAULT, candidate(model, inputs["batches"])
    yield untouched.now()


# -- momenta that average all samples ------------------------------------------------------------------

#: Observations, so that the points can be split.
ALIKE, UNLIKE = "running mean after batches of one size", "running mean after batches of several sizes"


def momenta_cases(draw: Draw) -> Iterator[Case]:
    """Batches that differ in their means, and a running mean that starts far from all of them."""
    d = draw.integer(2, 4)
    size, count = draw.integer(4, 9), draw.integer(3, 6)

    def case(name: str, *sizes: int) -> Case:
        means = draw.normal(len(sizes), d, std=2.0)
        return Case(name, {"batch_sizes": list(sizes), "means": means, "start": draw.normal(d, mean=20.0)})

    some = draw.sizes((2, 6), (7, 12), (13, 20), (21, 30))
    yield case("four batches, ever larger", *some)
    yield case("four batches, ever smaller", *some[::-1])
    yield case("a smaller last batch", *[3 * size] * count, draw.integer(1, size))
    yield case("batches of one size", *[size] * count)
    yield case("a single batch", size)
    yield case("two batches, the second much larger", size, 10 * size + 1)
    yield case("batches of one sample", *[1] * (count + 4))
    yield case("a large batch among small ones", 1, 2, draw.many(), 1, 3)
    yield case("many batches", *(draw.integer(1, 9) for _ in range(draw.integer(20, 30))))


def probe_momenta(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    """The running mean that a layer ends with, if each batch comes with the candidate's momentum."""
    sizes, running = inputs["batch_sizes"], inputs["start"]
    momenta = candidate(list(sizes))
    try:
        found = [float(one) for one in momenta]
    except (TypeError, ValueError):
        raise BrokenContract(
            f"It should return a list of numbers, but it returns {describe(momenta)}."
        ) from None
    if len(found) != len(sizes):
        raise BrokenContract(
            f"It should return one momentum for each batch: for {len(sizes)} batches it returns {len(found)}."
        )
    for momentum, mean in zip(found, inputs["means"], strict=True):
        running = (1 - momentum) * running + momentum * mean
    yield ALIKE if len(set(sizes)) == 1 else UNLIKE, running


# -- inputs that show a mistake, or hide it ------------------------------------------------------------


def statistics_given(draw: Draw) -> dict[str, Any]:
    sign = draw.integer(0, 1) * 2 - 1
    return {
        "n": draw.integer(3, 8),
        "mean": round(sign * draw.number(0.5, 3.0), 2),
        "var": round(draw.number(0.3, 4.0), 2),
    }


def batch_given(draw: Draw) -> dict[str, Any]:
    n, d = draw.sizes((4, 9), (2, 5))
    return {"n": n, "d": d}


EXERCISES = (
    Exercise(
        name="update_running_stats",
        signature="update_running_stats(running_mean, running_var, x, momentum=0.1)",
        cases=update_cases,
        probe=call("new_running_mean", "new_running_var"),
        parts=(
            Part("the running mean", 1, ("new_running_mean",)),
            Part("the running variance", 2, ("new_running_var",)),
        ),
    ),
    Exercise(
        name="batch_norm_inference",
        signature="batch_norm_inference(x, running_mean, running_var, gamma, beta, eps=1e-5)",
        cases=inference_cases,
        probe=call("y"),
        parts=(Part("the output y", 2, ("y",)),),
    ),
    Exercise(
        name="BatchNorm1d",
        signature="BatchNorm1d(num_features, eps=1e-5, momentum=0.1)",
        cases=layer_cases,
        probe=probe_layer,
        parts=(
            Part("train mode: y", 1, ("y of batch *",)),
            Part(
                "running statistics",
                1,
                (
                    "running_mean after batch *",
                    "running_var after batch *",
                    "num_batches_tracked after batch *",
                    "buffers that carry a graph",
                ),
            ),
            Part(
                "eval mode",
                1,
                (
                    "y in eval mode*",
                    "running_mean after eval mode",
                    "running_var after eval mode",
                    "num_batches_tracked after eval mode",
                ),
            ),
            Part(
                "parameters, buffers and state_dict",
                1,
                (
                    "parameters",
                    "buffers",
                    "state_dict keys",
                    *(
                        f"{name} {when}"
                        for name in ("weight", "bias", *STATISTICS, "num_batches_tracked")
                        for when in ("of a fresh layer", "there and back")
                    ),
                    "left behind by .to(device)",
                    "loading *",
                    "nn.BatchNorm1d loading yours",
                    "a copy by state_dict *",
                ),
            ),
            Part("gradients", 1, ("gradient of *",)),
        ),
    ),
    Exercise(
        name="averaging_momenta",
        signature="averaging_momenta(batch_sizes)",
        cases=momenta_cases,
        probe=probe_momenta,
        parts=(Part("batches of one size", 1, (ALIKE,)), Part("batches of several sizes", 2, (UNLIKE,))),
        arithmetic=torch.float32,  # plain numbers may pass through tensors of PyTorch's default dtype
    ),
    Exercise(
        name="count_parameters",
        signature="count_parameters(model)",
        cases=count_cases,
        probe=probe_count,
        parts=(
            Part("trainable", 1, ("trainable",)),
            Part("non-trainable", 2, ("non_trainable",)),
        ),
        barred=frozenset(),
    ),
    Exercise(
        name="freeze_batch_norm",
        signature="freeze_batch_norm(model)",
        cases=freeze_cases,
        probe=probe_freeze,
        parts=(
            Part("frozen at once", 2, ("y in the *",)),
            Part(
                "frozen after a later model.train()",
                2,
                ("y after model.train()", "y in eval mode at the end"),
            ),
        ),
        barred=frozenset(),
    ),
    Exercise(
        name="diagnose_batch_norm",
        signature="diagnose_batch_norm(model, batches)",
        cases=setup_cases,
        probe=probe_setup,
        parts=(
            Part("faults of one layer or one batch", 2, (FAULT,)),
            Part("faults in how layers stand together", 2, (FAULT_TOGETHER,)),
        ),
        barred=frozenset(),
    ),
    exposing("hide_momentum_reversed(n, mean, var)", "x", statistics_given),
    exposing("expose_batch_statistics(n, d)", "a, b", batch_given),
)
