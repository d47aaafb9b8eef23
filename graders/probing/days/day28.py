"""Day 28, batch normalization in convolutional networks. Cases and probes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from graders.probing.cases import feature_maps
from graders.probing.exercise import BrokenContract, Candidate, Case, Draw, Exercise, Inputs, Part
from graders.probing.exposing import exposing
from graders.probing.observe import FORM, describe
from graders.probing.probes import Untouched, arguments, call, error_of, filled
from graders.probing.recorder import paused

NO_BARS: frozenset[str] = frozenset()
SAME = "as before"


# -- statistics and normalization of feature maps ----------------------------------------------------


def statistics_cases(draw: Draw) -> Iterator[Case]:
    for name, x, _ in feature_maps(draw):
        if "eps" not in name:
            yield Case(name, {"x": x})
    yield Case("one value for each channel", {"x": draw.normal(1, 4, 1, 1)})


def norm_cases(draw: Draw) -> Iterator[Case]:
    maps = [
        *feature_maps(draw),
        ("maps as wide as there are channels", draw.normal(2, 6, 4, 6, mean=0.5, std=1.5), 1e-5),
        ("one value for each channel", draw.normal(1, 6, 1, 1), 1e-4),
    ]
    for name, x, eps in maps:
        c = x.shape[1]
        yield Case(name, {"x": x, "gamma": draw.scale(c), "beta": draw.normal(c), "eps": eps})


# -- the block ---------------------------------------------------------------------------------------


def block_cases(draw: Draw) -> Iterator[Case]:
    """Odd kernels. The images have a frame of zeros, so that any way to pad gives the same values."""
    n, i, o = draw.sizes((2, 3), (2, 4), (5, 6))
    for name, channels, kernel in (
        ("the default kernel", (i, o), None),
        ("kernel_size = 3", (o, i), 3),
        ("kernel_size = 1", (i, o), 1),
        ("kernel_size = 5", (i, o), 5),
        ("as many channels out as in", (i, i), 3),
        ("kernel_size = 7", (1, o), 7),
    ):
        size = kernel or 3
        frame = size // 2 + 1
        x = nn.functional.pad(draw.normal(n, channels[0], 4, 3, mean=0.5), (frame,) * 4)
        weight = draw.normal(channels[1], channels[0], size, size, std=1 / (size * channels[0] ** 0.5))
        norm = norm_inputs(draw, channels[1], eps=0.02)
        norm["gamma"] = 4 * norm["gamma"]  # so that an activation with a ceiling shows
        yield Case(name, {"x": x, "kernel_size": kernel, "weight": weight, **norm})


def norm_inputs(
    draw: Draw, channels: int, eps: float, variance: float = 1.0, affine: bool = True
) -> dict[str, Any]:
    """What a batch-norm layer holds; gamma and beta are None for one without them."""
    return {
        "gamma": draw.scale(channels) if affine else None,
        "beta": draw.normal(channels) if affine else None,
        "running_mean": draw.normal(channels),
        "running_var": draw.uniform(channels, low=0.5 * variance, high=2 * variance),
        "eps": eps,
    }


def probe_block(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    x, weight = inputs["x"], inputs["weight"]
    given = (weight.shape[1], weight.shape[0], inputs["kernel_size"])
    block = candidate(*(value for value in given if value is not None))
    if not isinstance(block, nn.Sequential):
        raise BrokenContract(f"It should return an nn.Sequential, but it returns {describe(block)}.")
    block.to(x)
    if any(is_lazy(parameter) for parameter in block.parameters()):
        with torch.no_grad():
            block(x)
    convolution, norm = layers_of(block)
    yield "bias of the convolution", "none" if convolution.bias is None else "present"
    yield "what learns, apart from that bias", ", ".join(learning(convolution, norm))
    with torch.no_grad():
        place(convolution.weight, weight, "The weight of the convolution")
        if convolution.bias is not None:
            convolution.bias.zero_()
        load(norm, inputs, "The batch norm's")
        evaluated = block.eval()(x)
    yield "output in eval mode", evaluated
    with torch.no_grad():
        trained = block.train()(x)
    yield "output in training mode", trained


def layers_of(block: nn.Sequential) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """The convolution and the batch norm. Raises BrokenContract where there is not one of each."""
    convolutions = [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)]
    norms = [layer for layer in block.modules() if isinstance(layer, nn.BatchNorm2d)]
    if len(convolutions) != 1 or len(norms) != 1:
        held = [type(layer).__name__ for layer in block.modules() if not isinstance(layer, nn.Sequential)]
        raise BrokenContract(
            "The nn.Sequential should hold one nn.Conv2d and one nn.BatchNorm2d, "
            f"but it holds {', '.join(held) or 'nothing'}."
        )
    return convolutions[0], norms[0]


def learning(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> Iterator[str]:
    """The names of the parameters that are there and that train."""
    parameters = {"the kernel": convolution.weight, "gamma": norm.weight, "beta": norm.bias}
    for name, parameter in parameters.items():
        if parameter is not None and parameter.requires_grad:
            yield name


def load(norm: nn.Module, inputs: Inputs, whose: str) -> None:
    """Put gamma, beta and the running statistics into a batch-norm layer as far as it has them."""
    places = {"weight": "gamma", "bias": "beta", "running_mean": "running_mean", "running_var": "running_var"}
    for name, source in places.items():
        place(getattr(norm, name), inputs[source], f"{whose} {name}")
    norm.eps = inputs["eps"]


def place(tensor: torch.Tensor | None, values: torch.Tensor | None, what: str) -> None:
    """Copy values into a layer's tensor. Raises BrokenContract where the shape is another."""
    if tensor is None or values is None:
        return
    if tensor.shape != values.shape:
        shapes = f"{tuple(tensor.shape)} where it should be {tuple(values.shape)}"
        raise BrokenContract(f"{what} has the shape {shapes}.")
    tensor.copy_(values)


# -- folding -----------------------------------------------------------------------------------------


def folding_cases(draw: Draw) -> Iterator[Case]:
    n, i, o, h, w = draw.sizes((2, 2), (3, 4), (5, 6), (7, 8), (9, 10))

    def case(name: str, channels: tuple[int, int], kernel: tuple[int, int], **options: Any) -> Case:
        into, out = channels
        groups = options.get("groups", 1)
        scale = 1 / (kernel[0] * kernel[1] * into / groups) ** 0.5
        norm = norm_inputs(
            draw, out, options.get("eps", 1e-5), options.get("variance", 1.0), options.get("affine", True)
        )
        return Case(
            name,
            {
                "x": draw.normal(n, into, h, w),
                "weight": draw.normal(out, into // groups, *kernel, std=scale),
                "bias": draw.normal(out, mean=0.5) if options.get("bias", True) else None,
                **norm,
                "stride": options.get("stride", 1),
                "padding": options.get("padding", 0),
                "dilation": options.get("dilation", 1),
                "groups": groups,
                "padding_mode": options.get("padding_mode", "zeros"),
                "training": options.get("training", True),
            },
        )

    yield case("a convolution without a bias", (i, o), (3, 3), padding=1, bias=False)
    yield case("a bias, stride and padding", (i, o), (3, 2), stride=[2, 1], padding=[1, 0], training=False)
    yield case("as many channels out as in", (i, i), (2, 3), padding=[0, 1])
    yield case("a variance near eps", (o, i), (1, 1), variance=1e-5)
    yield case("eps = 0.02", (i, o), (3, 3), variance=0.02, eps=0.02, bias=False, training=False)
    yield case("two groups, dilation, padding 'same'", (4, 6), (3, 3), groups=2, dilation=2, padding="same")
    yield case(
        "one group for each channel, circular padding",
        (o, o),
        (3, 3),
        groups=o,
        padding=[2, 1],
        padding_mode="circular",
    )
    yield case(
        "stride and reflected padding", (i, o), (3, 3), padding=2, padding_mode="reflect", stride=[1, 2]
    )
    yield case("a batch norm without gamma and beta", (i, o), (3, 3), padding=1, affine=False)


def probe_folding(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    x = inputs["x"]
    conv, bn = convolution_and_norm(inputs)
    before = {"conv": snapshot(conv), "bn": snapshot(bn)}
    folded = candidate(conv, bn)
    yield from what_folds(folded, x)
    # Leaving the arguments alone is worth something only where something was done.
    idle = "not looked at, as the kernel is that of conv" if same_kernel(folded, before["conv"]) else None
    for name, layer in (("conv", conv), ("bn", bn)):
        yield f"{name} afterwards", idle or difference(before[name], snapshot(layer))
    modes = [f"{name}.training" for name, layer in (("conv", conv), ("bn", bn)) if not kept(layer, inputs)]
    yield "training flags afterwards", f"changed: {', '.join(modes)}" if modes else SAME


def applied(folded: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """The folded layer's output by its class's own forward: what it carries along in hooks is not folded.

    Raises BrokenContract where it cannot be applied.
    """
    try:
        return nn.Conv2d.forward(folded, x)
    except RuntimeError as error:
        raise BrokenContract(f"The folded layer cannot take the x that conv takes: {error}") from None


def same_kernel(folded: nn.Conv2d, conv: dict[str, torch.Tensor]) -> bool:
    return folded.weight.shape == conv["weight"].shape and torch.equal(
        folded.weight.to(conv["weight"]), conv["weight"]
    )


def kept(layer: nn.Module, inputs: Inputs) -> bool:
    return layer.training == inputs["training"]


def convolution_and_norm(inputs: Inputs, channels: int | None = None) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """The two layers that the inputs describe, with their numbers, where x is.

    channels: of the batch norm, where they are not those that come out of the convolution.
    """
    out, into, *kernel = inputs["weight"].shape
    with torch.no_grad(), paused():
        conv = nn.Conv2d(
            into * inputs["groups"],
            out,
            tuple(kernel),
            stride=pair(inputs["stride"]),
            padding=pair(inputs["padding"]),
            dilation=pair(inputs["dilation"]),
            groups=inputs["groups"],
            bias=inputs["bias"] is not None,
            padding_mode=inputs["padding_mode"],
        ).to(inputs["x"])
        bn = nn.BatchNorm2d(channels or out, affine=inputs["gamma"] is not None).to(inputs["x"])
        place(conv.weight, inputs["weight"], "weight")
        place(conv.bias, inputs["bias"], "bias")
        load(bn, inputs, "bn's")
    return conv.train(inputs["training"]), bn.train(inputs["training"])


def pair(value: Any) -> Any:
    """Two numbers as the tuple that a layer wants; a single number or a word as it is."""
    return tuple(value) if isinstance(value, list) else value


def what_folds(folded: Any, x: torch.Tensor) -> Iterator[tuple[str, Any]]:
    """What a folded convolution does to `x`, its bias apart, in whichever dtype it has."""
    if not isinstance(folded, nn.Conv2d):
        raise BrokenContract(f"It should return one nn.Conv2d, but it returns {describe(folded)}.")
    own, conv_has = (str(dtype).removeprefix("torch.") for dtype in (folded.weight.dtype, x.dtype))
    yield "dtype of the folded layer", "that of conv" if own == conv_has else f"{own} instead of {conv_has}"
    with torch.no_grad():
        image = x.to(folded.weight)
        bias = applied(folded, torch.zeros_like(image[:1]))[0, :, 0, 0]
        output = applied(folded, image) - bias.reshape(-1, 1, 1)
    yield "bias", bias
    yield "output without the bias", output


def snapshot(layer: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of all that a layer holds."""
    return {name: tensor.detach().clone() for name, tensor in layer.state_dict().items()}


def difference(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> str:
    """Which tensors of a layer or model are not what they were, in words. Counters do not count."""
    changed = [
        name
        for name in {**before, **after}
        if not name.endswith("num_batches_tracked")
        and not (name in before and name in after and torch.equal(before[name], after[name]))
    ]
    return f"changed: {', '.join(changed)}" if changed else SAME


# -- folding forwards --------------------------------------------------------------------------------

REFUSED = "what cannot be folded"


def forward_folding_cases(draw: Draw) -> Iterator[Case]:
    n, i, o, h, w = draw.sizes((2, 2), (3, 4), (5, 6), (7, 8), (9, 10))

    def case(name: str, channels: tuple[int, int], kernel: tuple[int, int], **options: Any) -> Case:
        into, out = channels
        groups, eps, affine = options.get("groups", 1), options.get("eps", 1e-5), options.get("affine", True)
        norm = norm_inputs(draw, into, eps, options.get("variance", 1.0), affine)
        if not options.get("shifts", True):
            norm["running_mean"] = torch.zeros_like(norm["running_mean"])
            norm["beta"] = torch.zeros_like(norm["running_mean"]) if affine else None
        scale = 1 / (kernel[0] * kernel[1] * into / groups) ** 0.5
        return Case(
            name,
            {
                "x": draw.normal(n, into, h, w),
                "weight": draw.normal(out, into // groups, *kernel, mean=0.2 * scale, std=scale),
                "bias": draw.normal(out, mean=0.5) if options.get("bias", True) else None,
                **norm,
                "stride": options.get("stride", 1),
                "padding": options.get("padding", 0),
                "dilation": options.get("dilation", 1),
                "groups": groups,
                "padding_mode": options.get("padding_mode", "zeros"),
                "training": options.get("training", True),
                "refused": options.get("refused", False),
            },
        )

    yield case("a convolution without a bias", (i, o), (3, 3), bias=False)
    yield case("a bias and a stride", (i, o), (3, 2), stride=[2, 1], training=False)
    yield case("as many channels out as in", (i, i), (2, 3), padding="valid")
    yield case("a variance near eps", (o, i), (1, 1), variance=1e-5, padding="same")
    yield case("eps = 0.02", (i, o), (3, 3), variance=0.02, eps=0.02, bias=False, training=False)
    yield case("two groups, no gamma and beta", (4, 6), (3, 3), groups=2, dilation=2, affine=False)
    yield case("one group for each channel", (o, 2 * o), (3, 3), groups=o)
    circular = {"padding": [2, 1], "padding_mode": "circular"}
    yield case("circular padding", (i, o), (3, 3), **circular)
    yield case("reflected padding, stride", (i, o), (3, 3), padding=2, padding_mode="reflect", stride=[1, 2])
    yield case("zero padding, and a bn that shifts nothing", (i, o), (3, 3), padding=1, shifts=False)
    yield case(
        "padding 'same', a bn that shifts nothing", (i, o), (3, 3), padding="same", shifts=False, affine=False
    )
    yield case("zero padding", (i, o), (3, 3), padding=1, refused=True)
    yield case("zero padding on one side", (i, o), (2, 3), padding=[0, 1], refused=True, training=False)
    yield case("padding 'same'", (i, o), (3, 1), padding="same", refused=True)


def probe_forward_folding(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    x = inputs["x"]
    conv, bn = convolution_and_norm(inputs, inputs["weight"].shape[1] * inputs["groups"])
    untouched = Untouched("bn or conv", [bn, conv])
    if inputs["refused"]:
        yield REFUSED, error_of(lambda: candidate(bn, conv))
        return
    folded = candidate(bn, conv)
    yield from what_folds(folded, x)
    yield untouched.now()


# -- running statistics anew -------------------------------------------------------------------------


class EveryOther(nn.Module):
    """Dropout with nothing left to chance: in training mode every other channel is 0, the rest doubled."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        mask = torch.arange(x.shape[1], device=x.device).remainder(2).to(x.dtype)
        return 2 * x * mask.reshape(1, -1, *[1] * (x.dim() - 2))


class Residual(nn.Module):
    """A network with parts inside parts, and dropout between them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4, momentum=0.3))
        self.drop = EveryOther()
        self.body = nn.ModuleDict({"conv": nn.Conv2d(4, 4, 1), "bn": nn.BatchNorm2d(4, eps=0.02)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        return x + self.body["bn"](self.body["conv"](self.drop(x)))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "images": lambda: nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=False),
        nn.BatchNorm2d(3, momentum=0.2),
        nn.ReLU(),
        nn.Conv2d(3, 4, 2),
        nn.BatchNorm2d(4, eps=0.02),
    ),
    "dropout": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 2),
        nn.BatchNorm2d(4, momentum=0.05),
        EveryOther(),
        nn.Conv2d(4, 3, 3),
        nn.BatchNorm2d(3, momentum=0.3),
    ),
    "features": lambda: nn.Sequential(
        nn.Linear(2, 5),
        nn.BatchNorm1d(5, momentum=None),
        nn.Tanh(),
        nn.Linear(5, 4),
        nn.BatchNorm1d(4, momentum=0.4, affine=False),
    ),
    "nested": Residual,
}


def recalibration_cases(draw: Draw) -> Iterator[Case]:
    h, w = draw.sizes((4, 5), (6, 7))

    def case(name: str, model: str, mode: str, sizes: tuple[int, ...]) -> Case:
        shape = (h, w) if model != "features" else ()
        batches = []
        for size in sizes:
            offset = draw.uniform(1, 2, *[1] * len(shape), low=-2.0, high=2.0)
            spread = draw.uniform(1, 2, *[1] * len(shape), low=0.5, high=2.0)
            batches.append(draw.normal(size, 2, *shape) * spread + offset)
        return Case(
            name, {"batches": batches, "model": model, "mode": mode, "seed": draw.integer(0, 2**31 - 1)}
        )

    few, many = draw.sizes((2, 3), (4, 6))
    yield case("a model in training mode, the last batch smaller", "images", "training", (many, many, few))
    yield case("a model in eval mode, with dropout", "dropout", "eval", (many, few, many))
    yield case("parts within parts, one of them in eval mode", "nested", "stem in eval", (few, many))
    sizes = draw.sizes(*[(3, 20)] * draw.integer(4, 7))
    yield case("many batches of features, nn.BatchNorm1d", "features", "eval", sizes)
    yield case("a single batch", "images", "eval", (many,))


def probe_recalibration(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    model = prepared(inputs)
    norms = {name: layer for name, layer in model.named_modules() if isinstance(layer, _BatchNorm)}
    before, stored = parameters_of(model), statistics_of(norms)
    flags = {name: module.training for name, module in model.named_modules()}
    momenta = ", ".join(str(layer.momentum) for layer in norms.values())
    result = candidate(model, inputs["batches"])
    for number, layer in enumerate(norms.values(), start=1):
        yield f"running_mean of batch norm {number}", layer.running_mean
        yield f"running_var of batch norm {number}", layer.running_var
    yield FORM, None if result is None else f"{describe(result)} instead of nothing (None)"
    # Leaving all else alone is worth something only where something was done.
    idle = "not looked at, as no statistic has changed" if same(stored, statistics_of(norms)) else None
    now = ", ".join(str(layer.momentum) for layer in norms.values())
    yield "momenta afterwards", idle or (SAME if now == momenta else f"{now} instead of {momenta}")
    changed = [name for name, module in model.named_modules() if module.training != flags.get(name)]
    named = ", ".join(name or "the model itself" for name in changed)
    yield "training flags afterwards", f"changed: {named}" if changed else SAME
    yield "weights afterwards", difference(before, parameters_of(model))


def statistics_of(norms: dict[str, nn.Module]) -> list[torch.Tensor]:
    return [layer.running_mean.detach().clone() for layer in norms.values()]


def same(before: list[torch.Tensor], after: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def parameters_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def prepared(inputs: Inputs) -> nn.Module:
    """A model that has trained for a while: weights, running statistics and counters of other data."""
    with paused():
        model = filled(MODELS[inputs["model"]](), inputs["seed"], inputs["batches"][0])
        for name, buffer in model.named_buffers():
            if name.endswith("num_batches_tracked"):
                buffer.fill_(3)
    model.train(inputs["mode"] != "eval")
    if inputs["mode"] == "stem in eval":
        model.stem.eval()
    return model


# -- statistics that do not fit ----------------------------------------------------------------------

STALE = "names of the stale layers"

DEPLOYED: dict[str, Callable[[], nn.Module]] = {
    "images": lambda: nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(2, 4, 3),
            bn1=nn.BatchNorm2d(4, momentum=0.2),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(4, 3, 3, bias=False),
            bn2=nn.BatchNorm2d(3, eps=0.02, affine=False),
        )
    ),
    "features": MODELS["features"],
    "nested": Residual,
    "untracked": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.ReLU(),
        nn.Conv2d(4, 3, 2),
        nn.BatchNorm2d(3),
    ),
}


def stale_cases(draw: Draw) -> Iterator[Case]:
    """Statistics that fit, to a small part of the tolerance, and others that are off by twice as much."""

    def case(name: str, model: str, *wrong: tuple[int, str, float], **options: Any) -> Case:
        """wrong: which layer, in what, and by how many standard deviations of the data."""
        shape = (2,) if model == "features" else (2, 8, 8)
        sizes = [options.get("size", draw.integer(24, 40))] * draw.integer(2, 3)
        spread, offset = options.get("spread", 1.0), options.get("offset", 0.5)
        batches = [draw.normal(size, *shape, mean=offset, std=spread) for size in sizes]
        seed = draw.integer(0, 2**31 - 1)
        statistics = fitting(model, seed, torch.cat(batches).cpu().double())
        for layer, what, off in wrong:
            mean, var = statistics[layer]
            std, sign = var.sqrt(), draw.scale(len(var)).cpu().double().sign()
            if what == "mean":
                mean += sign * off * std
            elif what == "one mean":
                mean[-1] += sign[-1] * off * std[-1]
            else:
                var *= (1 + off) ** 2
        shifted = options.get("shifted")
        return Case(
            name,
            {
                "batches": [shifted[0] * batch + shifted[1] for batch in batches] if shifted else batches,
                "tolerance": options.get("tolerance"),
                "model": model,
                "mode": options.get("mode", "eval"),
                "seed": seed,
                "means": [draw.tensor(mean) for mean, _ in statistics],
                "vars": [draw.tensor(var) for _, var in statistics],
            },
        )

    sign = 1.0 if draw.integer(0, 1) else -1.0
    yield case("the first of two layers is stale", "images", (0, "mean", 3.0))
    near = {"spread": 0.01, "offset": 0.0, "mode": "training"}
    yield case("all layers fit, activations of size 0.01", "images", (0, "mean", 0.1), **near)
    yield case("a shift of the data since training", "images", shifted=(3.0, 2.0 * sign))
    yield case("both layers are stale, by their variance", "images", (0, "var", 3.0), (1, "var", -0.7))
    yield case("one channel of the last layer is stale", "images", (1, "one mean", 2.0), mode="training")
    yield case("activations of size 0.01", "images", (0, "mean", 2.0), spread=0.01, offset=0.0)
    yield case("parts within parts, dropout between them", "nested", (0, "var", 2.0))
    yield case("many features, nn.BatchNorm1d", "features", (1, "mean", 1.5), size=draw.integer(300, 500))
    yield case("a layer without running statistics", "untracked", (0, "mean", 2.0))
    off = (0, "var", 0.36), (1, "var", 1.2)
    yield case("deviations off by 0.36 and 1.2, tolerance = 0.5", "images", *off, tolerance=0.5, size=80)
    yield case("off by 1.2, tolerance = 3", "images", (1, "mean", 1.2), tolerance=3.0)


def fitting(model: str, seed: int, x: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(mean, var) of what reaches each batch-norm layer, of all data at once."""
    with paused(), torch.no_grad():
        one = filled(DEPLOYED[model](), seed, x).eval()
        for layer in tracked(one):
            layer.momentum = 1.0
            layer.train()
        one(x)
        return [(layer.running_mean, layer.running_var) for layer in tracked(one)]


def tracked(model: nn.Module) -> list[nn.Module]:
    """The batch-norm layers that have running statistics."""
    return [one for one in model.modules() if isinstance(one, _BatchNorm) and one.track_running_stats]


def probe_stale(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    with paused(), torch.no_grad():
        model = filled(DEPLOYED[inputs["model"]](), inputs["seed"], inputs["batches"][0])
        for layer, mean, var in zip(tracked(model), inputs["means"], inputs["vars"], strict=True):
            layer.running_mean.copy_(mean)
            layer.running_var.copy_(var)
            layer.num_batches_tracked.fill_(3)
    model.train(inputs["mode"] != "eval")
    flags = {name: module.training for name, module in model.named_modules()}
    momenta = [layer.momentum for layer in tracked(model)]
    before = snapshot(model)
    given = {"model": model, "batches": inputs["batches"], "tolerance": inputs["tolerance"]}
    names = candidate(*arguments(given))
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise BrokenContract(f"It should return a list of names, but it returns {described(names)}.")
    yield STALE, ", ".join(names) or "none"
    changed = [
        *(["training flags"] if any(m.training != flags.get(n) for n, m in model.named_modules()) else []),
        *(["momenta"] if momenta != [layer.momentum for layer in tracked(model)] else []),
    ]
    held = f"changed: {', '.join(changed)}" if changed else difference(before, snapshot(model))
    # Leaving the model alone is worth something only where something was found.
    yield "the model afterwards", held if names else "not looked at, as no layer is named"


def described(names: Any) -> str:
    """What was returned in place of a list of strings."""
    if isinstance(names, list | tuple) and names:
        strange = next(name for name in names if not isinstance(name, str))
        return f"a {type(names).__name__} that holds {describe(strange)}"
    return describe(names)


# -- inputs that show a mistake, or hide it ------------------------------------------------------------


def maps_given(draw: Draw) -> dict[str, Any]:
    n, c, h, w = draw.sizes((2, 4), (2, 3), (3, 6), (4, 8))
    return {"n": n, "c": c, "h": h, "w": w}


EXERCISES = (
    Exercise(
        name="channel_statistics",
        signature="channel_statistics(x)",
        cases=statistics_cases,
        probe=call("mean", "var"),
        parts=(Part("the means", 1, ("mean",)), Part("the variances", 1, ("var",))),
    ),
    Exercise(
        name="batch_norm_2d",
        signature="batch_norm_2d(x, gamma, beta, eps=1e-5)",
        cases=norm_cases,
        probe=call("y"),
        parts=(Part("the output y", 3),),
    ),
    Exercise(
        name="conv_bn_relu",
        signature="conv_bn_relu(in_channels, out_channels, kernel_size=3)",
        cases=block_cases,
        probe=probe_block,
        parts=(
            Part("the block: convolution, batch norm, ReLU", 2, ("output*", "what learns*")),
            Part("no redundant bias", 1, ("bias of the convolution",)),
        ),
        barred=NO_BARS,
    ),
    Exercise(
        name="fold_batch_norm",
        signature="fold_batch_norm(conv, bn)",
        cases=folding_cases,
        probe=probe_folding,
        parts=(
            Part("the kernel of the folded layer", 2, ("output*", "dtype*")),
            Part("its bias", 1, ("bias",)),
            Part("conv and bn left as they were", 1, ("conv*", "bn*", "training*")),
        ),
        barred=NO_BARS,
    ),
    Exercise(
        name="recalibrate",
        signature="recalibrate(model, batches)",
        cases=recalibration_cases,
        probe=probe_recalibration,
        parts=(
            Part("running means", 2, ("running_mean*",)),
            Part("running variances", 2, ("running_var*",)),
            Part("all else as before", 1, ("momenta*", "training*", "weights*")),
        ),
        barred=NO_BARS,
    ),
    Exercise(
        name="fold_forward",
        signature="fold_forward(bn, conv)",
        cases=forward_folding_cases,
        probe=probe_forward_folding,
        parts=(
            Part("the kernel of the folded layer", 2, ("output*", "dtype*")),
            Part("its bias", 1, ("bias",)),
            Part("what cannot be folded is refused", 1, (REFUSED,)),
        ),
        barred=NO_BARS,
    ),
    Exercise(
        name="stale_statistics",
        signature="stale_statistics(model, batches, tolerance=0.25)",
        cases=stale_cases,
        probe=probe_stale,
        parts=(
            Part("the names of the stale layers", 3, (STALE,)),
            Part("the model left as it was", 1, ("the model afterwards",)),
        ),
        barred=NO_BARS,
    ),
    exposing("expose_averaged_variances(n, c, h, w)", "x", maps_given),
    exposing("hide_per_sample(n, c, h, w)", "x", maps_given),
)
