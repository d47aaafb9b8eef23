"""Day 30: the right answers, and what people get wrong, with the knobs that make it.

Sources of the mistakes: reports and fixes in public repositories and forums, and public course solutions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from graders.judging.answer import Answer, Mistake, both, mistake
from graders.judging.references.exposing import ALIKE, Asked, apart, exposing, hiding, variant
from graders.judging.references.reading import reading_mistakes
from graders.judging.tolerance import GUARD

# -- the groups ----------------------------------------------------------------------------------------


def groups(
    model: nn.Module,
    weight_decay: float,
    *,
    decays: Callable[[str, Tensor], bool] = lambda name, w: w.dim() >= 2,
    trains: Callable[[Tensor], bool] = lambda w: w.requires_grad,
    left: Callable[[str], bool] = lambda name: True,
    values: Callable[[float], tuple[Any, Any]] = lambda decay: (decay, 0.0),
    result: Callable[[list[dict]], Any] = lambda groups: groups,
    listed: Callable[[nn.Module], Iterable[tuple[str, Tensor]]] = lambda model: model.named_parameters(),
) -> Any:
    """The definition, with a knob for each choice."""
    of_first, of_second = values(weight_decay)
    first: dict[str, Any] = {"params": []} | ({} if of_first is None else {"weight_decay": of_first})
    second: dict[str, Any] = {"params": []} | ({} if of_second is None else {"weight_decay": of_second})
    for name, w in listed(model):
        if not trains(w):
            continue
        if decays(name, w):
            first["params"].append(w)
        elif left(name):
            second["params"].append(w)
    return result([first, second])


def by_modules(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The own parameters of each module, a shared one as often as it is there."""
    for module in model.modules():
        yield from module.named_parameters(recurse=False)


def by_kinds_of_layers(
    model: nn.Module,
    weight_decay: float,
    *,
    kinds: tuple[type[nn.Module], ...],
    trains: Callable[[Tensor], bool] = lambda w: w.requires_grad,
) -> Any:
    """Only the weights of some kinds of layers decay."""
    weights = {id(layer.weight) for layer in model.modules() if isinstance(layer, kinds)}
    return groups(model, weight_decay, decays=lambda name, w: id(w) in weights, trains=trains)


#: Layers that lists of what decays are made of.
KINDS = (
    (nn.Linear,),
    (nn.Linear, nn.Conv2d),
    (nn.Linear, nn.Conv1d, nn.Conv2d),
    (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d),
    (nn.Linear, nn.Conv2d, nn.Embedding),
    (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Embedding),
)

GROUP_MISTAKES = (
    mistake(
        "gamma_decays",
        """The gammas of the normalization layers are in the group that decays. They are called weight too,
        but have one dimension, and pulling them to 0 pulls the outputs of the layer to 0.""",
        partial(groups, decays=lambda name, w: name.endswith("weight")),
        partial(groups, decays=lambda name, w: "bias" not in name),
    ),
    mistake(
        "everything_decays",
        """Biases, gammas and betas are in the group that decays. They have one dimension and belong in the
        second group.""",
        partial(groups, decays=lambda name, w: True),
    ),
    mistake(
        "only_matrices",
        """Only tensors with exactly two dimensions decay. The weight of a convolution has three or more, and
        should decay too.""",
        partial(groups, decays=lambda name, w: w.dim() == 2),
    ),
    mistake(
        "scalars_decay",
        """A parameter without dimensions is in the group that decays. Weights have two dimensions or more.
        Sparing only what has one lets through what has none.""",
        partial(groups, decays=lambda name, w: w.dim() != 1),
    ),
    mistake(
        "groups_swapped",
        "The groups are swapped: the weights that decay come first.",
        partial(groups, result=lambda both: both[::-1]),
    ),
    mistake(
        "decays_swapped",
        "The weight decays are swapped: the weights with two or more dimensions decay, the others get 0.",
        partial(groups, values=lambda decay: (0.0, decay)),
    ),
    mistake(
        "both_decay",
        """The second group decays too. It is there to be spared: its weight decay is 0, and it has to say so,
        or the optimizer uses its own default.""",
        partial(groups, values=lambda decay: (decay, decay)),
        partial(groups, values=lambda decay: (decay, None)),
    ),
    mistake(
        "decay_scaled",
        """The first group's weight decay is not the number that was passed. Hand on the argument as
        it is: what scales it is the optimizer's business.""",
        partial(groups, values=lambda decay: (2 * decay, 0.0)),
        partial(groups, values=lambda decay: (decay / 2, 0.0)),
        partial(groups, values=lambda decay: (None, 0.0)),
        partial(groups, values=lambda decay: (1e-2, 0.0)),
    ),
    mistake(
        "frozen_included",
        """A frozen parameter is in a group. Only what trains belongs there; requires_grad = False takes a
        parameter out of training on purpose.""",
        partial(groups, trains=lambda w: True),
    ),
    mistake(
        "others_lost",
        """Some parameters are in neither group and would never be trained. Whatever doesn't decay goes into
        the second group: biases, gammas and betas.""",
        partial(groups, left=lambda name: name.endswith("bias")),
        partial(groups, left=lambda name: name.endswith("weight")),
        partial(groups, left=lambda name: False),
        partial(groups, left=lambda name: not name.endswith("scale")),
    ),
    mistake(
        "some_numbers_of_dimensions",
        """Weights with some numbers of dimensions don't decay. For a convolution there are three over
        sequences, four over images and five over volumes. Two or more is one rule for them all.""",
        *(
            partial(groups, decays=lambda name, w, kinds=kinds: w.dim() in kinds)
            for kinds in ((2, 4), (2, 3, 4), (2, 4, 5), (2, 3))
        ),
        partial(groups, decays=lambda name, w: w.dim() > 2),
    ),
    mistake(
        "some_kinds_of_layers",
        """Only the weights of some kinds of layers decay, such as linear layers and convolutions. Others have
        weights with two or more dimensions too. The number of dimensions is one rule for all kinds.""",
        *(partial(by_kinds_of_layers, kinds=kinds) for kinds in KINDS),
    ),
    mistake(
        "in_both_groups",
        """What decays is in the second group too. An optimizer refuses a parameter that is in two groups: the
        second one holds all others, and nothing else.""",
        partial(
            groups,
            result=lambda both: [both[0], both[1] | {"params": [*both[0]["params"], *both[1]["params"]]}],
        ),
    ),
    mistake(
        "shared_twice",
        """A parameter that two modules share is listed twice. It is one tensor, and the optimizer should move
        it once. model.parameters() gives each only once; a walk over the modules has to leave out what it has
        met before.""",
        partial(groups, listed=by_modules),
    ),
    mistake(
        "empty_group_left_out",
        """A group without parameters is left out. The list always holds both dicts, the one that decays
        first: whoever reads it counts on their places.""",
        partial(groups, result=lambda both: [one for one in both if one["params"]]),
    ),
    *reading_mistakes(groups),
)


@cache
def group_pairs() -> tuple[Mistake, ...]:
    """Layers told by their kind, and what is frozen among them."""
    named = {one.key: one for one in GROUP_MISTAKES}
    return (
        both(
            named["some_kinds_of_layers"],
            named["frozen_included"],
            *(partial(by_kinds_of_layers, kinds=kinds, trains=lambda w: True) for kinds in KINDS),
        ),
    )


# -- where the decay acts ------------------------------------------------------------------------------

#: One step of an optimizer, for a weight and a gradient.
Step = Callable[[Tensor, Tensor], Tensor]
KINDS = ("none", "decay", "penalty")


def kind_by_prediction(step: Step, w: Tensor) -> str:
    """A share measured in one place has to say what becomes of other weights under other gradients."""
    zero, other = torch.zeros_like(w), 3 * w.flip(0) - 0.2
    left = [(at, step(at, g) - step(zero, g)) for at in (w, other) for g in (zero, w, other)]
    if all(torch.allclose(rest, at, rtol=1e-4) for at, rest in left):
        return "none"
    share = left[0][1][0] / w[0]
    return "decay" if all(torch.allclose(rest, share * at, rtol=1e-4) for at, rest in left) else "penalty"


def kind(
    step: Step,
    w: Tensor,
    *,
    gradient: Callable[[Tensor], Tensor] = torch.zeros_like,
    sizes: tuple[float, ...] = (1.0, 2.0),
    coordinates: slice = slice(None),
    words: dict[str, Any] | None = None,
) -> Any:
    """The definition: which share of itself does each coordinate lose, for weights of several sizes?"""
    g = gradient(w)
    alone = step(torch.zeros_like(w), g)
    lost = [(size * w - step(size * w, g) + alone) / (size * w) for size in sizes]
    shares = torch.stack(lost)[:, coordinates]
    if shares.abs().amax() < 1e-4:
        found = "none"
    else:
        found = "decay" if (shares - shares.mean()).abs().amax() < 1e-2 * shares.mean().abs() else "penalty"
    return found if words is None else words.get(found, found)


def saying(word: str) -> Callable[..., str]:
    return lambda step, w: word


KIND_MISTAKES = (
    mistake(
        "drowned_by_the_gradient",
        """A pull on w is missed, because a gradient pulls at the same time. If an optimizer divides by the
        size of the gradient, or takes its sign, a large gradient hides a small penalty. With a gradient of 0
        nothing else moves w.""",
        partial(kind, gradient=lambda w: torch.full_like(w, 10.0)),
        partial(kind, gradient=lambda w: w),
        partial(kind, gradient=lambda w: -10 * w),
    ),
    mistake(
        "one_size_only",
        """Only weights of one size are looked at. An optimizer that scales the gradient to length 1 also
        takes equal shares from all coordinates. But from a weight twice as large it takes no more than
        before, so the share isn't fixed.""",
        partial(kind, sizes=(1.0,)),
        partial(kind, sizes=(2.0,)),
    ),
    mistake(
        "unequal_shares",
        """Coordinates lose different shares of themselves, and this is called decay. One coordinate alone
        doesn't show it, nor does the length of the whole. When each coordinate has a divisor of its own, a
        penalty holds some back more than others.""",
        partial(kind, coordinates=slice(1)),
        partial(kind, coordinates=slice(-1, None)),
    ),
    mistake(
        "any_pull_is_decay",
        """Every pull towards 0 is called a decay. With Adam a penalty pulls too, but moves large and small
        coordinates by about the same length. A decay takes the same share of each.""",
        partial(kind, words={"penalty": "decay"}),
    ),
    mistake(
        "decay_not_seen",
        """A fixed share is called a penalty. Two numbers that were rounded differently are never quite equal,
        so compare with a tolerance. In plain descent a penalty takes a fixed share too, so there the answer
        is 'decay'.""",
        partial(kind, words={"decay": "penalty"}),
    ),
    mistake(
        "names_swapped",
        """'decay' and 'penalty' are swapped. A penalty enters the gradient, and the optimizer divides it
        along with the gradient. A decay bypasses that and takes its share of w.""",
        partial(kind, words={"decay": "penalty", "penalty": "decay"}),
    ),
    mistake(
        "pull_without_decay",
        """A pull on w is seen where there is none. Leave out what the gradient alone does to w: with a
        gradient of 0, a step without decay leaves w where it is.""",
        partial(kind, words={"none": "decay"}),
        partial(kind, words={"none": "penalty"}),
    ),
    mistake(
        "decay_overlooked",
        "A pull on w passes for none. Even a share well below one per cent is far above rounding.",
        partial(kind, words={"decay": "none"}),
        partial(kind, words={"penalty": "none"}),
    ),
    mistake(
        "always_the_same",
        """The answer is the same for optimizers that differ, but all three kinds occur. To see what a step
        takes from w, set the gradient to 0, or subtract the gradient's own part.""",
        *(saying(word) for word in KINDS),
    ),
    mistake(
        "other_words",
        """The answer is none of the strings 'none', 'decay' and 'penalty', spelled exactly so. Without decay,
        return the word 'none', not None.""",
        partial(kind, words={"none": None}),
        partial(kind, words={"none": ""}),
        partial(kind, words={word: word.capitalize() for word in KINDS}),
    ),
)


# -- dropout -------------------------------------------------------------------------------------------


def dropped(
    x: Tensor,
    keep: Tensor,
    p: float,
    training: bool = True,
    *,
    mask: Callable[[Tensor], Tensor] = lambda keep: keep,
    scale: Callable[[Tensor, float, Tensor], Any] = lambda y, p, keep: y / (1 - p),
    all_dropped: Callable[[Tensor, Tensor, float], Tensor] = lambda x, keep, p: torch.zeros_like(x),
    evaluated: Callable[[Tensor, Tensor, float], Tensor] = lambda x, keep, p: x,
) -> Tensor:
    """Inverted dropout, with a knob for each choice."""
    keep = keep.to(x.dtype)
    if not training:
        return evaluated(x, keep, p)
    if p == 1:
        return all_dropped(x, keep, p)
    return scale(x * mask(keep), p, keep)


def always_training(x: Tensor, keep: Tensor, p: float, training: bool = True) -> Tensor:
    return dropped(x, keep, p)


def default_evaluating(x: Tensor, keep: Tensor, p: float, training: bool = False) -> Tensor:
    return dropped(x, keep, p, training)


def plain(x: Tensor, keep: Tensor, p: float) -> Tensor:
    return x * keep


def scaled_mask(
    x: Tensor, keep: Tensor, p: float, training: bool = True, *, by: Callable[[Tensor, float], Tensor]
) -> Tensor:
    """The mask is scaled, in a dtype of its own, before x is multiplied by it."""
    if not training or p == 1:
        return dropped(x, keep, p, training)
    return (x * by(keep, p)).to(x.dtype)


DROPOUT_MISTAKES = (
    mistake(
        "not_scaled",
        """What is kept isn't scaled up. With a share p dropped, the outputs shrink by the factor 1 − p on
        average, and at test time the next layer meets another scale. Inverted dropout makes up for that in
        training.""",
        partial(dropped, scale=lambda y, p, keep: y),
    ),
    mistake(
        "scaled_by_p",
        """What is kept is divided by p. But p is the probability of dropping: a share of 1 − p is kept, and
        the scale has to make up for that.""",
        partial(dropped, scale=lambda y, p, keep: y / p if p else y),
    ),
    mistake(
        "scaled_down",
        """What is kept is multiplied by 1 − p, so the output shrinks twice: once by dropping, once by the
        scale. Divide, and the average stays.""",
        partial(dropped, scale=lambda y, p, keep: y * (1 - p)),
    ),
    mistake(
        "evaluation_scaled_too",
        """The output is scaled when not training too. Dropout then does nothing: x comes back as it is. In
        inverted dropout all the scaling is done in training.""",
        partial(dropped, evaluated=lambda x, keep, p: x * (1 - p)),
        partial(dropped, evaluated=lambda x, keep, p: x / (1 - p)),
    ),
    mistake(
        "scaled_in_evaluation",
        """This is the older form of dropout, which scales nothing in training and everything by 1 − p at test
        time. Inverted dropout scales in training, so nothing is left to do afterwards.""",
        partial(dropped, scale=lambda y, p, keep: y, evaluated=lambda x, keep, p: x * (1 - p)),
    ),
    mistake(
        "mask_in_evaluation",
        "Values are dropped although training is False. Outside training x comes back as it is.",
        always_training,
        partial(dropped, evaluated=plain),
    ),
    mistake(
        "mask_inverted",
        "The mask is inverted. Where keep is 1 the value stays; where it is 0 the value is dropped.",
        partial(dropped, mask=lambda keep: 1 - keep),
    ),
    mistake(
        "share_of_the_mask",
        """The scale is taken from this mask: from how many values it happens to keep. The scale that keeps
        the average right over all masks is 1/(1 − p), the same at every step.""",
        partial(dropped, scale=lambda y, p, keep: y / keep.mean()),
        partial(dropped, scale=lambda y, p, keep: y / keep.float().mean()),
    ),
    mistake(
        "nan_where_all_is_dropped",
        """p = 1 gives 0/0. If everything is dropped, the output is 0, whatever the mask says.""",
        partial(dropped, all_dropped=lambda x, keep, p: x * keep / torch.zeros_like(x)),
        partial(dropped, all_dropped=lambda x, keep, p: x * 0 / torch.zeros_like(x)),
        partial(dropped, all_dropped=lambda x, keep, p: x * keep * (1 / (1 - p))),
        partial(dropped, all_dropped=lambda x, keep, p: x * keep * (1.0 / (1.0 - p))),
    ),
    mistake(
        "mask_in_float32",
        """Right to seven digits where the mask is of bools. A mask of bools divided by a number is float32,
        whatever x is. Multiply it with x first, or bring it to the dtype of x.""",
        partial(scaled_mask, by=lambda keep, p: keep / (1 - p)),
        partial(scaled_mask, by=lambda keep, p: keep * (1 / (1 - p))),
        partial(scaled_mask, by=lambda keep, p: keep.float() / (1 - p)),
    ),
    mistake(
        "p_of_one_not_dropped",
        "With p = 1 something is left. If everything is dropped the output is 0, whatever the mask says.",
        partial(dropped, all_dropped=plain),
        partial(dropped, all_dropped=lambda x, keep, p: x),
    ),
    mistake(
        "default_evaluating",
        "Left out, training counts as False, and nothing is dropped: its default is True.",
        default_evaluating,
    ),
)


# -- the noise of the batch mean -----------------------------------------------------------------------


def noise(
    x: Tensor,
    batch_size: int,
    *,
    cut: Callable[[Tensor, int], list[Tensor]] = lambda x, size: list(x[: len(x) // size * size].split(size)),
    statistic: Callable[[Tensor], Tensor] = lambda batch: batch.mean(0),
    spread: Callable[[Tensor], Tensor] = lambda means: (means - means.mean(0)).square().mean(0).sqrt(),
    result: Callable[[Tensor, Tensor, int], Tensor] = lambda std, x, size: std,
) -> Tensor:
    """The definition, with a knob for each step."""
    return result(spread(torch.stack([statistic(batch) for batch in cut(x, batch_size)])), x, batch_size)


def means_of(x: Tensor, batch_size: int) -> Tensor:
    """(B, D): the means of the complete batches."""
    return x[: len(x) // batch_size * batch_size].reshape(-1, batch_size, x.shape[1]).mean(1)


def noise_by_reshape(x: Tensor, batch_size: int) -> Tensor:
    """By one reshape and the library's standard deviation."""
    return means_of(x, batch_size).std(0, correction=0)


def less_the_square(means: Tensor) -> Tensor:
    """The variance, with all the digits lost that an offset takes."""
    return means.square().mean(0) - means.mean(0).square()


NOISE_MISTAKES = (
    mistake(
        "last_batch_kept",
        """The incomplete last batch is counted. Its mean is taken over fewer samples, so it is noisier than
        the others. Drop it, so that all means are of one kind.""",
        partial(noise, cut=lambda x, size: list(x.split(size))),
    ),
    mistake(
        "last_batch_dropped",
        """The last batch is dropped even where it is complete. Only a batch that lacks samples is left out;
        if batch_size divides N, all of them count.""",
        partial(noise, cut=lambda x, size: list(x.split(size)[:-1] or x.split(size))),
        partial(noise, cut=lambda x, size: list(x[: (len(x) - 1) // size * size].split(size))),
    ),
    mistake(
        "unbiased",
        """The standard deviation divides by the number of batches less one. We want the biased one, divided
        by the number of batches. With a single batch that is 0, where torch.std alone gives NaN.""",
        partial(noise, spread=lambda means: means.std(0)),
    ),
    mistake(
        "variance",
        "This is the variance of the batch means; the root is missing.",
        partial(noise, spread=lambda means: means.var(0, correction=0)),
    ),
    mistake(
        "spread_within_batches",
        """This is how much the samples vary inside the batches. We want how much the batch means differ from
        one batch to the next.""",
        partial(
            noise,
            statistic=lambda batch: batch.std(0, correction=0),
            spread=lambda stds: stds.mean(0),
        ),
        partial(noise, statistic=lambda batch: batch.std(0, correction=0)),
    ),
    mistake(
        "theory",
        """This is σ/√B from the textbook: the spread of the means, on average, for independent samples. We
        want the spread that these batches really have.""",
        partial(noise, result=lambda std, x, size: x.std(0, correction=0) / size**0.5),
        partial(noise, result=lambda std, x, size: x.std(0) / size**0.5),
    ),
    mistake(
        "all_features_together",
        "One number is taken over all features. Each of the D features has a mean and a spread of its own.",
        partial(noise, statistic=lambda batch: batch.mean().expand(batch.shape[1])),
        partial(noise, result=lambda std, x, size: std.mean().expand(x.shape[1])),
    ),
    mistake(
        "interleaved",
        """The batches are not consecutive: each takes samples at a fixed distance from one another. If the
        samples drift, that evens out the means.""",
        partial(
            noise,
            cut=lambda x, size: [
                x[: len(x) // size * size][start :: len(x) // size] for start in range(len(x) // size)
            ],
        ),
    ),
    mistake(
        "number_of_batches",
        "batch_size is taken for the number of batches. It is the number of samples in one.",
        partial(noise, cut=lambda x, size: list(x[: len(x) // size * size].split(len(x) // size))),
    ),
    mistake(
        "sums_for_means",
        """The sums of the batches are compared, not their means. The result is too large by the factor
        batch_size.""",
        partial(noise, statistic=lambda batch: batch.sum(0)),
    ),
    mistake(
        "around_the_mean_of_all",
        """The means are compared with the mean of all samples. The incomplete last batch is part of that one:
        a standard deviation is taken around the mean of the batch means themselves.""",
        partial(noise, result=lambda std, x, size: (means_of(x, size) - x.mean(0)).square().mean(0).sqrt()),
    ),
    mistake(
        "standard_error",
        """The spread of the batch means is divided by the root of how many there are. That says how well
        their mean is known. We want how far the means themselves lie apart.""",
        partial(noise, result=lambda std, x, size: std / (len(x) // size) ** 0.5),
    ),
    mistake(
        "overlapping_batches",
        """The batches overlap: each begins one sample after the one before it. Consecutive batches share no
        sample, and each begins where the last one ended.""",
        partial(noise, cut=lambda x, size: [x[i : i + size] for i in range(len(x) - size + 1)]),
        partial(noise, cut=lambda x, size: [x[i : i + size] for i in range(max(len(x) - size, 1))]),
    ),
    mistake(
        "deviation_by_cancellation",
        """The spread is computed as the root of E[m²] − E[m]². On paper that is the same. At an offset of
        10,000 both terms are near 10⁸, and their difference has lost its digits. Subtract the mean first,
        then square.""",
        partial(noise, spread=lambda means: less_the_square(means).clamp_min(0).sqrt()),
        partial(noise, spread=lambda means: less_the_square(means).abs().sqrt()),
        rounding=True,
    ),
)


@cache
def noise_pairs() -> tuple[Mistake, ...]:
    """Two mistakes at once, as where torch.std is taken of all that x.split gives."""
    named = {one.key: one for one in NOISE_MISTAKES}
    every = partial(noise, cut=lambda x, size: list(x.split(size)), spread=lambda means: means.std(0))
    return (both(named["last_batch_kept"], named["unbiased"], every),)


# -- the step that a scale-invariant weight feels --------------------------------------------------------


def rate(
    lr: float,
    weight: Tensor,
    *,
    size: Callable[[Tensor], Tensor] = lambda w: (w * w).sum(),
    combine: Callable[[float, Tensor], Tensor] = lambda lr, size: lr / size,
) -> Tensor:
    """The definition, with a knob for the norm and one for how it enters."""
    return combine(lr, size(weight))


def rate_by_norm(lr: float, weight: Tensor) -> Tensor:
    return lr / torch.linalg.vector_norm(weight).square()


RATE_MISTAKES = (
    mistake(
        "norm_not_squared",
        """The learning rate is divided by the norm only once. It counts twice: the gradient of a
        scale-invariant loss shrinks as 1/‖w‖, and so does the angle by which a step of a given length turns
        the weight.""",
        partial(rate, size=lambda w: (w * w).sum().sqrt()),
    ),
    mistake(
        "multiplied_by_norm",
        """The learning rate is multiplied by the norm, as in layer-wise scaling (LARS), which sets a step in
        proportion to the weight. Here nothing is set: the same step turns a longer weight by less.""",
        partial(rate, combine=lambda lr, size: lr * size.sqrt()),
    ),
    mistake(
        "multiplied",
        """The learning rate is multiplied by the squared norm. A step turns a longer weight by less, so the
        direction feels a smaller step.""",
        partial(rate, combine=lambda lr, size: lr * size),
        partial(rate, combine=lambda lr, size: size / lr),
    ),
    mistake(
        "mean_square",
        "The squares are averaged. The squared norm is their sum, over all entries.",
        partial(rate, size=lambda w: (w * w).mean()),
    ),
    mistake(
        "spectral_norm",
        """A matrix norm is used, such as the largest singular value. Scaling acts on all entries; the norm
        meant here is the root of the sum of all squares.""",
        partial(rate, size=lambda w: torch.linalg.svdvals(w.reshape(len(w), -1)).amax().square()),
        partial(rate, size=lambda w: torch.linalg.matrix_norm(w.reshape(len(w), -1), 1).square()),
    ),
    mistake(
        "absolute_values",
        "The norm is the sum of absolute values. We want the Euclidean norm, squared.",
        partial(rate, size=lambda w: w.abs().sum().square()),
        partial(rate, size=lambda w: w.abs().sum()),
    ),
    mistake(
        "quotient_squared",
        """All of the quotient is squared, lr too. Of the two only the norm counts twice: twice the learning
        rate is twice the step.""",
        partial(rate, combine=lambda lr, size: lr * lr / size),
    ),
    mistake(
        "number_added",
        """A small number is added to the norm. Only a weight of zeros could be divided by 0. All others get
        too small a rate, the more so the smaller they are.""",
        *(
            partial(rate, combine=lambda lr, size, added=added: lr / (size + added))
            for added in (1e-5, 1e-6, 1e-7, 1e-8, 1e-10)
        ),
        *(
            partial(rate, combine=lambda lr, size, added=added: lr / (size.sqrt() + added).square())
            for added in (1e-5, 1e-6, 1e-7, 1e-8, 1e-10)
        ),
    ),
    mistake(
        "one_per_row",
        "There is one number for each row. Here the weight is one vector, with one norm.",
        partial(rate, size=lambda w: (w * w).reshape(len(w), -1).sum(1)),
    ),
)


# -- another size of a scale-invariant weight ----------------------------------------------------------


def equivalent(
    lr: float,
    weight_decay: float,
    scale: float,
    *,
    for_lr: Callable[[Tensor], Any] = lambda a: a * a,
    for_decay: Callable[[Tensor], Any] = lambda a: 1 / (a * a),
    result: Callable[[float, float], tuple[float, float]] = lambda lr, decay: (lr, decay),
) -> tuple[float, float]:
    """The definition, with a knob for the factor of each number."""
    old_lr, old_decay, a = (torch.full((), one, dtype=torch.float64) for one in (lr, weight_decay, scale))
    return result(float(old_lr * for_lr(a)), float(old_decay * for_decay(a)))


def equivalent_by_rates(lr: float, weight_decay: float, scale: float) -> tuple[float, float]:
    """From what has to stay: lr / |w|^2, the rate of the direction, and lr times decay, that of the size."""
    new_lr = lr / (1.0 / scale) ** 2
    return float(new_lr), float(lr * weight_decay / new_lr)


EQUIVALENT_MISTAKES = (
    mistake(
        "decay_scaled_once",
        """The decay has the scale in it only once. It has to undo what happens to lr, which gets the scale
        twice, so that their product stays what it was.""",
        partial(equivalent, for_decay=lambda a: 1 / a),
    ),
    mistake(
        "scale_not_squared",
        """The scale enters once. A weight a times as large has a gradient a times smaller, and needs a step a
        times longer for the same angle. So lr grows by a².""",
        partial(equivalent, for_lr=lambda a: a, for_decay=lambda a: 1 / a),
        partial(equivalent, for_lr=lambda a: a),
    ),
    mistake(
        "scale_inverted",
        """The scale stands upside down. For the same angle a larger weight needs a larger lr: its gradient is
        smaller, and the same step turns it less. The decay has to fall by as much as lr grows.""",
        partial(equivalent, for_lr=lambda a: 1 / (a * a), for_decay=lambda a: a * a),
        partial(equivalent, for_lr=lambda a: 1 / a, for_decay=lambda a: a),
    ),
    mistake(
        "decay_unchanged",
        """Weight decay stays the same, but now it shrinks the weight at another pace. Each step takes away lr
        times the decay, and lr has changed.""",
        partial(equivalent, for_decay=lambda a: 1.0),
    ),
    mistake(
        "lr_unchanged",
        """lr stays the same. The size of the weight doesn't change the output, but it changes the gradient,
        and the angle by which a step turns the weight.""",
        partial(equivalent, for_lr=lambda a: 1.0),
    ),
    mistake(
        "nothing_changes",
        """Both come back as they were. Only the output of a scale-invariant weight is the same at every size.
        Its gradient isn't, so the steps aren't either.""",
        partial(equivalent, for_lr=lambda a: 1.0, for_decay=lambda a: 1.0),
    ),
    mistake(
        "decay_scaled_as_lr",
        """The decay grows together with lr. In a step the weight loses the share lr times decay. To keep that
        share, one must fall as the other grows.""",
        partial(equivalent, for_decay=lambda a: a * a),
    ),
    mistake(
        "decay_scaled_with_size",
        """The decay is divided by too high a power of the scale. The share that it takes in a step is lr
        times the decay, whatever the size of the weight.""",
        partial(equivalent, for_decay=lambda a: a**-3),
        partial(equivalent, for_decay=lambda a: a**-4),
    ),
    mistake(
        "swapped",
        "lr and weight decay are swapped: lr comes first.",
        partial(equivalent, result=lambda lr, decay: (decay, lr)),
    ),
)


# -- the norm at rest ----------------------------------------------------------------------------------


def rest_by_halving(lr: float, weight_decay: float, gradient_norm: float) -> float:
    """Where a step neither lengthens nor shortens the weight: by the step itself, halving an interval."""

    def grows(norm: float) -> bool:
        along, across = (1 - lr * weight_decay) * norm, lr * gradient_norm / norm
        return math.hypot(along, across) >= norm

    low, high = 1e-30, 1e30
    if grows(high):
        raise ValueError("the weight grows without end")
    for _ in range(120):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if grows(middle) else (low, middle)
    return middle


#: What the definition computes with: lr, weight decay, the gradient's norm.
Numbers = tuple[Tensor, Tensor, Tensor]


def rest(
    lr: float,
    weight_decay: float,
    gradient_norm: float,
    *,
    gained: Callable[[Numbers], Tensor] = lambda of: (of[0] * of[2]).square(),
    share: Callable[[Numbers], Tensor] = lambda of: of[0] * of[1],
    lost: Callable[[Tensor], Tensor] = lambda p: 1 - (1 - p).square(),
    roots: int = 2,
    refused: Callable[[float], bool] = lambda p: not 0 < p < 2,
) -> float:
    """The definition: (what the gradient adds / what the decay takes)^(1/4), with a knob for each choice.

    gained: over ‖w‖², what a step adds to ‖w‖². share, lost: how much of itself the weight loses in a step,
    and its square. roots: how many square roots are taken of ‖w‖⁴.
    """
    if refused(lr * weight_decay):
        raise ValueError("nothing rests")
    numbers = tuple(torch.full((), one, dtype=torch.float64) for one in (lr, weight_decay, gradient_norm))
    norm = gained(numbers) / lost(share(numbers))
    for _ in range(roots):
        norm = norm.sqrt()
    return float(norm)


def rest_with_division(lr: float, weight_decay: float, gradient_norm: float) -> float:
    """As Python divides: an error of its own where nothing decays."""
    if weight_decay == 0:
        raise ZeroDivisionError("float division by zero")
    return rest(lr, weight_decay, gradient_norm, refused=lambda p: False)


REST_MISTAKES = (
    mistake(
        "small_steps",
        """This is the balance for small steps, where ‖w‖² loses the share 2 · lr · weight_decay. We want the
        exact norm: a step multiplies ‖w‖² by (1 − lr · weight_decay)², and that contains the square of lr ·
        weight_decay too.""",
        partial(rest, lost=lambda p: 2 * p),
    ),
    mistake(
        "root_missing",
        """This is a power of the norm: ‖w‖² or ‖w‖⁴. The gradient has the length gradient_norm/‖w‖ and enters
        squared, so the balance gives you ‖w‖⁴. A gradient of the same length at every size would give
        ‖w‖².""",
        partial(rest, roots=1),
        partial(rest, roots=0),
    ),
    mistake(
        "two_missing",
        """The 2 is missing. The decay multiplies the norm by 1 − lr · weight_decay, and ‖w‖² by the square of
        that. So ‖w‖² loses about twice the share.""",
        partial(rest, lost=lambda p: p),
        partial(rest, lost=lambda p: p * (1 - p)),
    ),
    mistake(
        "sign_in_the_square",
        """A sign in the square is wrong. With p = lr · weight_decay, (1 − p)² is 1 − 2p + p², so ‖w‖² loses
        the share 2p − p².""",
        partial(rest, lost=lambda p: p * (2 + p)),
    ),
    mistake(
        "pulls_in_one_line",
        """Gradient and decay are balanced as if they pulled along one line. The gradient stands at right
        angles to the weight, so by Pythagoras the squares of the lengths add.""",
        partial(rest, lost=lambda p: p.square()),
    ),
    mistake(
        "gradient_of_one_length",
        """Decay is balanced with a gradient of one length: gradient_norm / weight_decay. But the gradient is
        gradient_norm / ‖w‖ long, and at right angles to w, so ‖w‖ enters on both sides, squared.""",
        partial(rest, gained=lambda of: of[2], share=lambda of: of[1], lost=lambda p: p, roots=0),
    ),
    mistake(
        "gradient_not_squared",
        """The gradient's norm enters once, or not at all. By Pythagoras, what is added to ‖w‖² is the square
        of the step.""",
        partial(rest, gained=lambda of: of[0].square() * of[2]),
        partial(rest, gained=lambda of: of[0].square()),
    ),
    mistake(
        "lr_not_squared",
        """lr is left out of what the gradient adds, or isn't squared. The step is lr times the gradient, and
        its square is added to ‖w‖².""",
        partial(rest, gained=lambda of: of[0] * of[2].square()),
        partial(rest, gained=lambda of: of[2].square()),
    ),
    mistake(
        "lr_and_decay_swapped",
        """lr and weight decay are swapped. Both enter the share that is lost, but what the gradient adds
        grows with lr alone. So a larger lr makes the weight longer, and more decay makes it shorter.""",
        partial(rest, gained=lambda of: (of[1] * of[2]).square()),
    ),
    mistake(
        "decay_without_lr",
        """Here the weight loses the share weight_decay in a step. It should be lr · weight_decay: the decay
        is added to the gradient, and lr multiplies both.""",
        partial(rest, share=lambda of: of[1]),
    ),
    mistake(
        "decay_twice",
        """The decay counts twice. weight_decay multiplies w itself. A factor of 2 belongs to a penalty,
        strength · ‖w‖², whose gradient is 2 · strength · w.""",
        partial(rest, share=lambda of: 2 * of[0] * of[1]),
    ),
    mistake(
        "no_rest_missed",
        """Where no norm stays put, a ValueError should be raised. Without decay the weight grows at every
        step. And if lr · weight_decay is 2 or more, the decay itself makes it no shorter.""",
        partial(rest, refused=lambda p: False),
        partial(rest, refused=lambda p: p == 0),
        partial(rest, refused=lambda p: p >= 2),
        rest_with_division,
    ),
    mistake(
        "too_much_refused",
        """A decay is refused under which the weight does come to rest. If lr · weight_decay is between 1 and
        2, the decay turns the weight round, but still shrinks it.""",
        partial(rest, refused=lambda p: not 0 < p < 1),
    ),
)


# -- inputs that show a mistake, or hide it ------------------------------------------------------------

textbook_noise = variant(NOISE_MISTAKES, "theory")
by_share_of_mask = variant(DROPOUT_MISTAKES, "share_of_the_mask")


def why_textbook_is_right(x: Tensor, n: int, batch_size: int) -> str:
    if not torch.isin(x, torch.tensor([0.0, 1.0], dtype=x.dtype)).all():
        return "not_zeros_and_ones"
    if x.min() == x.max():
        return "all_the_same"
    shows = noise_by_reshape(x, batch_size) >= 2 * textbook_noise(x, batch_size)
    return "" if shows else "batches_well_mixed"


NOISE_REASONS = (
    mistake(
        "batches_well_mixed",
        """Your input doesn't show it: the mini-batches are mixed as well as by shuffling, or better. On
        average σ/√B is right for samples in random order. In which order do the batch means lie farthest
        apart?""",
        lambda n, batch_size: (torch.rand(n, 1) < 0.5).float(),
        lambda n, batch_size: (torch.arange(n) % 2).unsqueeze(1),
    ),
    mistake(
        "not_zeros_and_ones",
        "x holds something besides 0 and 1. Here the point isn't how large the values are, but their order.",
        lambda n, batch_size: torch.randn(n, 1),
        lambda n, batch_size: torch.arange(n).unsqueeze(1) / n,
    ),
    mistake(
        "all_the_same",
        "All values are the same, so the means are too, and any formula gives 0. Both 0 and 1 have to occur.",
        lambda n, batch_size: torch.zeros(n, 1),
        lambda n, batch_size: torch.ones(n, 1),
    ),
)


def sorted_classes(n: int, batch_size: int) -> Tensor:
    """First all zeros, then all ones."""
    return (torch.arange(n) >= n // 2).unsqueeze(1)


def one_batch_of_ones(n: int, batch_size: int) -> Tensor:
    x = torch.zeros(n, 1)
    x[:batch_size] = 1
    return x


def why_share_is_seen(keep: Tensor, n: int, p: float) -> str:
    if not torch.isin(keep, torch.tensor([0.0, 1.0], dtype=keep.dtype)).all():
        return "not_a_mask"
    if not keep.any():
        return "nothing_kept"
    x = torch.linspace(1, 2, n, dtype=keep.dtype)
    if apart(dropped(x, keep, p), by_share_of_mask(x, keep, p)) <= ALIKE:
        return ""
    return "too_many_kept" if keep.mean() > 1 - p else "too_few_kept"


MASK_REASONS = (
    mistake(
        "too_many_kept",
        """It shows: the mask keeps more than the share 1 − p. So the code divides by too much, and its
        outputs are too small.""",
        lambda n, p: torch.ones(n),
        lambda n, p: torch.arange(n) > 0,
    ),
    mistake(
        "too_few_kept",
        """It shows: the mask keeps less than the share 1 − p. So the code divides by too little, and its
        outputs are too large.""",
        lambda n, p: torch.arange(n) == 0,
        lambda n, p: torch.arange(n) < round(n * (1 - p)) - 1,
    ),
    mistake(
        "nothing_kept",
        """Nothing is kept. The right output is then 0. But the code divides by the share that is kept and
        gets 0/0, so it shows in the worst way.""",
        lambda n, p: torch.zeros(n),
    ),
    mistake(
        "not_a_mask",
        "keep holds something besides 0 and 1. For each value a mask says whether it is kept.",
        lambda n, p: torch.rand(n),
        lambda n, p: torch.full((n,), 1 - p),
    ),
)


def first_kept(n: int, p: float) -> Tensor:
    return torch.arange(n) < round(n * (1 - p))


def random_ones_kept(n: int, p: float) -> Tensor:
    keep = torch.zeros(n)
    keep[torch.randperm(n)[: round(n * (1 - p))]] = 1
    return keep


ANSWERS = {
    "parameter_groups": Answer(groups, groups, GROUP_MISTAKES, pairs=group_pairs),
    "kind_of_decay": Answer(kind_by_prediction, kind, KIND_MISTAKES),
    "dropout": Answer(
        dropped,
        dropped,
        DROPOUT_MISTAKES,
        guarded=(partial(dropped, scale=lambda y, p, keep: y / (1 - p + GUARD)),),
    ),
    "batch_mean_std": Answer(noise_by_reshape, noise, NOISE_MISTAKES, pairs=noise_pairs),
    "effective_learning_rate": Answer(
        rate_by_norm,
        rate,
        RATE_MISTAKES,
        guarded=(
            partial(rate, combine=lambda lr, size: lr / (size + GUARD)),
            partial(rate, combine=lambda lr, size: lr / (size.sqrt() + GUARD).square()),
        ),
    ),
    "decay_equivalent": Answer(equivalent_by_rates, equivalent, EQUIVALENT_MISTAKES),
    "equilibrium_norm": Answer(rest_by_halving, rest, REST_MISTAKES),
    "expose_textbook_noise": exposing(
        Asked("x", "n, 1", None),  # whatever is neither 0 nor 1 has a reason of its own
        textbook_noise,
        why_textbook_is_right,
        NOISE_REASONS,
        (sorted_classes, one_batch_of_ones),
    ),
    "hide_share_of_mask": hiding(
        Asked("keep", "n", 1.0),
        by_share_of_mask,
        why_share_is_seen,
        MASK_REASONS,
        (first_kept, random_ones_kept),
    ),
}
