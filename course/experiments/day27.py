"""Day 27: running statistics, what moves which tensor of a layer, and a forgotten eval()."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course.experiments.digits import Digits, split_digits
from course.experiments.verdicts import Claim, Finding

# -- running statistics


@dataclass(frozen=True, eq=False)
class RunningStatistics:
    """What a batch-norm layer stores while batches of one feature pass.

    `batch_mean`, `batch_var` (unbiased), `true_mean` and `true_var` are (T,); `running_mean` and
    `running_var` are (T + 1,), with what a new layer holds, 0 and 1, in front.

    shift_at: the batch before which the distribution changes. momentum: PyTorch's, None for the
    plain average. scatter: the standard deviation of the running mean around the true mean in the
    long run, for the distribution after the change. memory: batches until 95 % of a change has
    arrived.
    """

    momentum: float | None
    shift_at: int
    batch_mean: Tensor
    batch_var: Tensor
    true_mean: Tensor
    true_var: Tensor
    running_mean: Tensor
    running_var: Tensor
    scatter: float
    memory: int


def exponential_average(values: Tensor, start: float, momentum: float | None) -> Tensor:
    """(T + 1,): start, then (1 - momentum) * old + momentum * new for each of the T values.

    With `momentum` None the weight of value number k is 1 / k: the plain average.
    """
    averages = [start]
    for count, value in enumerate(values.tolist(), start=1):
        weight = 1 / count if momentum is None else momentum
        averages.append((1 - weight) * averages[-1] + weight * value)
    return values.new_tensor(averages)


def batch_weights(momentum: float | None, batches: int) -> Tensor:
    """(batches,): how much each batch counts in the running mean after the last of them, the oldest first.

    They are the factors that `exponential_average` has multiplied its values with; what is left to 1 is
    the share of the start.
    """
    if momentum is None:
        return torch.full((batches,), 1 / batches, dtype=torch.float64)
    age = torch.arange(batches - 1, -1, -1, dtype=torch.float64)
    return momentum * (1 - momentum) ** age


def batches_to_follow(momentum: float | None, before: int, share: float = 0.95) -> int:
    """How many batches it takes until a change has arrived in the running mean with this share.

    Args:
        momentum: the weight of the newest batch; None for the plain average of all batches.
        before: how many batches there were before the change; the plain average remembers them.
        share: between 0 and 1.
    """
    if momentum is None:
        return math.ceil(round(before * share / (1 - share), 6))
    if momentum >= 1:
        return 1
    return math.ceil(math.log(1 - share) / math.log(1 - momentum))


def long_run_scatter(momentum: float | None, std: float, batch_size: int, batches: int) -> float:
    """The standard deviation of the running mean, for batches that are drawn independently.

    A mean of `batch_size` samples scatters by std / sqrt(batch_size), and the average with constant
    momentum m by sqrt(m / (2 - m)) of that: the sum of the squared weights m (1 - m)^k. The plain
    average of `batches` means scatters by 1 / sqrt(batches) of it.
    """
    share = 1 / batches if momentum is None else momentum / (2 - momentum)
    return std / math.sqrt(batch_size) * math.sqrt(share)


def running_statistics(
    momentum: float | None,
    batch_size: int,
    mean_after: float,
    *,
    mean_before: float = 2.0,
    std: float = 2.0,
    batches: int = 200,
    shift_at: int = 100,
    seed: int = 27,
) -> RunningStatistics:
    """Batches of a normal feature whose mean changes once, and their running averages.

    Source of the update: PyTorch's documentation of `nn.BatchNorm1d`.
    """
    after = torch.arange(batches) >= shift_at
    mean = torch.where(after, mean_after, mean_before).double()
    generator = torch.Generator().manual_seed(seed)
    # 256 are drawn whatever the batch size is, so that a larger batch holds the smaller one.
    noise = torch.randn(batches, 256, generator=generator, dtype=torch.float64)[:, :batch_size]
    x = mean[:, None] + std * noise
    batch_mean, batch_var = x.mean(dim=1), x.var(dim=1)
    return RunningStatistics(
        momentum=momentum,
        shift_at=shift_at,
        batch_mean=batch_mean,
        batch_var=batch_var,
        true_mean=mean,
        true_var=torch.full_like(mean, std**2),
        running_mean=exponential_average(batch_mean, 0.0, momentum),
        running_var=exponential_average(batch_var, 1.0, momentum),
        scatter=long_run_scatter(momentum, std, batch_size, batches),
        memory=batches_to_follow(momentum, shift_at),
    )


# -- what moves which tensor

#: What changes each entry of the table's state dict.
MOVED_BY = {
    "0.weight": "gradient",
    "1.weight": "gradient",
    "1.bias": "gradient",
    "1.running_mean": "data",
    "1.running_var": "data",
    "1.num_batches_tracked": "data",
}


@dataclass(frozen=True, eq=False)
class Row:
    """One entry of a state dict: its name, its values, and how it is counted.

    kind: "parameter" or "buffer". path: (batches + 1, …), its values at the start and after each batch.
    trainable and non_trainable: elements as libraries count them; the counter counts in neither.
    """

    name: str
    kind: str
    path: Tensor
    trainable: int
    non_trainable: int

    @property
    def start(self) -> Tensor:
        """Its value before the first batch."""
        return self.path[0]

    @property
    def now(self) -> Tensor:
        """Its value after the last batch."""
        return self.path[-1]

    @property
    def moved(self) -> bool:
        """Whether any element is no longer what it was."""
        return not torch.equal(self.start, self.now)


@dataclass(frozen=True, eq=False)
class LayerTable:
    """A linear layer and a batch norm before and after some batches."""

    rows: tuple[Row, ...]
    batches: int
    training: bool

    @property
    def moved(self) -> tuple[str, ...]:
        """Names of the entries that moved."""
        return tuple(row.name for row in self.rows if row.moved)

    @property
    def counts(self) -> tuple[int, int]:
        """Trainable and non-trainable elements of the whole model."""
        return sum(row.trainable for row in self.rows), sum(row.non_trainable for row in self.rows)


def layer_table_draws(batches: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The weight (2, 2) with which a linear layer starts, and batches (batches, 16, 2), in float32."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(2, 2, generator=generator, dtype=torch.float32)
    return weight, 1 + torch.randn(batches, 16, 2, generator=generator, dtype=torch.float32)


def layer_table(
    batches: int,
    *,
    training: bool = True,
    requires_grad: bool = True,
    momentum: float | None = 0.1,
    learning: bool = True,
    lr: float = 0.1,
    seed: int = 0,
) -> LayerTable:
    """Show a model of two features some batches in float64, and look at its state dict before and after each.

    Args:
        batches: how many, of 16 samples each.
        training: the mode of the batch norm.
        requires_grad: whether gamma and beta want gradients.
        momentum: of the batch norm.
        learning: True takes a step of gradient descent with every batch; False only runs the model
            forward, under `torch.no_grad()`.
        lr: of gradient descent.
        seed: draws the model and the batches.
    """
    weight, inputs = layer_table_draws(batches, seed)
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2, momentum=momentum)).double()
    with torch.no_grad():
        model[0].weight.copy_(weight)
    model[1].train(training).requires_grad_(requires_grad)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=lr)
    paths = {name: [tensor.clone()] for name, tensor in model.state_dict().items()}
    for x in inputs.double():
        with torch.set_grad_enabled(learning):
            loss = F.mse_loss(model(x), 2 * x.flip(1) + 1)
        if learning:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        for name, tensor in model.state_dict().items():
            paths[name].append(tensor.clone())
    parameters = dict(model.named_parameters())
    rows = []
    for name, path in paths.items():
        size = path[0].numel()
        trainable = size if name in parameters and parameters[name].requires_grad else 0
        counted = 0 if name.endswith("num_batches_tracked") else size
        kind = "parameter" if name in parameters else "buffer"
        rows.append(Row(name, kind, torch.stack(path), trainable, counted - trainable))
    return LayerTable(tuple(rows), batches, training)


def not_frozen(attempts: Mapping[str, Mapping[str, Any]], batches: int = 10) -> list[tuple[str, str]]:
    """Pairs (name of an attempt to freeze, what it misses): "something in it moves" where gamma, beta or a
    running statistic does, "it uses the batch" where batches are normalized by their own statistics.

    Args:
        attempts: name -> arguments of `layer_table`.
    """
    missed = []
    for name, settings in attempts.items():
        table = layer_table(batches, **settings)
        if {"1.weight", "1.bias", "1.running_mean", "1.running_var"} & set(table.moved):
            missed.append((name, "something in it moves"))
        if table.training:
            missed.append((name, "it uses the batch"))
    return missed


def resnet50_batch_norm_features() -> int:
    """How many features all batch-norm layers of ResNet-50 have together.

    Source: He et al. 2016, table 1: a stem of 64, and four stages of bottleneck blocks of widths
    w, w, 4w, the first of each with a projection of width 4w.
    """
    stages = ((64, 3), (128, 4), (256, 6), (512, 3))
    return 64 + sum(blocks * 6 * width + 4 * width for width, blocks in stages)


# -- a forgotten eval()


def make_net(seed: int, momentum: float = 0.1) -> nn.Sequential:
    """64 pixels -> 32 features -> batch norm -> ReLU -> 10 digits; weights drawn by `seed`."""
    norm = nn.BatchNorm1d(32, momentum=momentum)
    net = nn.Sequential(nn.Linear(64, 32, bias=False), norm, nn.ReLU(), nn.Linear(32, 10))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        net[0].weight.normal_(0, 1 / 8, generator=generator)
        net[3].weight.normal_(0, 1 / math.sqrt(32), generator=generator)
        net[3].bias.zero_()
    return net


@lru_cache(maxsize=64)
def trained_net(seed: int, batch_size: int = 64, epochs: int = 6) -> tuple[nn.Sequential, Digits]:
    """A net trained on the digits of this seed, in eval mode, and the digits. Do not change it.

    SGD with momentum 0.9, learning rate 0.1, the incomplete last batch dropped.
    """
    digits = split_digits(seed)
    net = make_net(seed).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(len(digits.train_x), generator=generator)
        for rows in order.split(batch_size):
            if len(rows) == batch_size:
                optimizer.zero_grad()
                F.cross_entropy(net(digits.train_x[rows]), digits.train_y[rows]).backward()
                optimizer.step()
    return net.eval(), digits


@dataclass(frozen=True, eq=False)
class Company:
    """One image, seen alone by eval() and in many batches by train().

    `alone` is (10,), the probabilities in eval mode; `in_company` (companies, 10), those in train
    mode, each in another batch. `rows` (companies, batch_size) are the test images in these batches, this
    one first. All in float64.
    """

    label: int
    rows: Tensor
    alone: Tensor
    in_company: Tensor

    @property
    def wrong(self) -> int:
        """In how many batches another digit than the true one is the most probable."""
        return int((self.in_company.argmax(dim=1) != self.label).sum())

    @property
    def eval_is_right(self) -> bool:
        """Whether eval mode names the true digit."""
        return int(self.alone.argmax()) == self.label


#: The largest batch of `same_image_in_company`.
LARGEST_COMPANY = 128


def company_draws(companies: int, seed: int) -> Tensor:
    """(companies, 127) from 0 to 1, in float32: whom each of the batches draws from those who may come."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(companies, LARGEST_COMPANY - 1, generator=generator, dtype=torch.float32)


def hidden_test_images(seed: int) -> Tensor:
    """(500, 32), float32: the test images in front of the batch norm of the trained net."""
    net, digits = trained_net(seed)
    with torch.no_grad():
        return net[0](digits.test_x)


def same_image_in_company(
    index: int, batch_size: int, kind: str, *, companies: int = 40, seed: int = 0
) -> Company:
    """What a trained net says of one test image, with a forgotten eval() and with eval().

    Args:
        index: of the test image.
        batch_size: how many images there are in a batch, this one included; a larger batch holds the
            smaller one.
        kind: who the others are: "random" test images, those of its "own" digit, or those of one
            "other" digit, the next one. They are drawn with replacement.
        companies: how many batches.
        seed: of the net, the digits and the draws.

    Raises:
        ValueError: another kind, or a batch of none or of more than `LARGEST_COMPANY`.
    """
    if not 1 <= batch_size <= LARGEST_COMPANY:
        raise ValueError(f"batch_size must be from 1 to {LARGEST_COMPANY}, not {batch_size}")
    net, digits = trained_net(seed)
    label = int(digits.test_y[index])
    others = torch.arange(len(digits.test_x)) != index
    if kind == "own":
        others &= digits.test_y == label
    elif kind == "other":
        others &= digits.test_y == (label + 1) % 10
    elif kind != "random":
        raise ValueError(f"kind must be 'random', 'own' or 'other', not {kind!r}")
    pool = others.nonzero().flatten()
    drawn = company_draws(companies, seed)[:, : batch_size - 1].double()
    own = torch.full((companies, 1), index)
    rows = torch.cat([own, pool[(drawn * len(pool)).long()]], dim=1)
    hidden = hidden_test_images(seed).double()
    behind = copy.deepcopy(net).double()
    in_company = _logits_of_hidden(behind, hidden[rows], "batch", "batch")[:, 0].softmax(dim=1)
    alone = _logits_of_hidden(behind, hidden[index, None], "stored", "stored")[0].softmax(dim=0)
    return Company(label, rows, alone, in_company)


def worst_company(batch_size: int, images: int = 20) -> str:
    """The kind of company, as in `same_image_in_company`, in which most answers of the first test images are
    wrong."""

    def wrong(kind: str) -> int:
        return sum(same_image_in_company(index, batch_size, kind).wrong for index in range(images))

    return max(("random", "own", "other"), key=wrong)


def logits_by(net: nn.Sequential, batches: Tensor, mean_from: str, var_from: str) -> Tensor:
    """(B, N, 10): what the net says of B batches (B, N, 64), each normalized as a batch of its own.

    Args:
        net: as `make_net` builds it; it is not changed.
        batches: (B, N, 64).
        mean_from, var_from: "batch" takes the statistic of the batch, as training mode does, "stored"
            the running one, as eval mode does.
    """
    with torch.no_grad():
        hidden = net[0](batches)
    return _logits_of_hidden(net, hidden, mean_from, var_from)


@torch.no_grad()
def _logits_of_hidden(net: nn.Sequential, hidden: Tensor, mean_from: str, var_from: str) -> Tensor:
    """(…, N, 10) from what lies before the batch norm, (…, N, 32); see `logits_by`."""
    _, norm, relu, last = net
    var, mean = torch.var_mean(hidden, dim=-2, correction=0, keepdim=True)
    mean = mean if mean_from == "batch" else norm.running_mean
    var = var if var_from == "batch" else norm.running_var
    return last(relu(norm.weight * (hidden - mean) / torch.sqrt(var + norm.eps) + norm.bias))


def judged(logits: Tensor, y: Tensor) -> tuple[float, float]:
    """Mean cross entropy, and accuracy in percent, of logits (…, 10) for labels (…)."""
    flat, labels = logits.reshape(-1, 10), y.reshape(-1)
    right = (flat.argmax(dim=1) == labels).double().mean().item()
    return F.cross_entropy(flat, labels).item(), 100 * right


def in_batches(digits: Digits, batch_size: int, by_digit: bool) -> tuple[Tensor, Tensor]:
    """The test images as (B, N, 64) and their labels (B, N), as they lie or sorted by digit.

    Raises:
        ValueError: the batch size does not divide the number of test images.
    """
    if len(digits.test_y) % batch_size:
        raise ValueError(f"{len(digits.test_y)} test images cannot be put into batches of {batch_size}")
    order = digits.test_y.argsort(stable=True) if by_digit else torch.arange(len(digits.test_y))
    return digits.test_x[order].view(-1, batch_size, 64), digits.test_y[order].view(-1, batch_size)


def long_runs(digits: Digits, batch_size: int, times: int) -> Tensor:
    """(B, N, 64): the test images sorted by digit, those of a digit so many times over before the next digit.

    Raises:
        ValueError: the batch size does not divide their number.
    """
    count = times * len(digits.test_y)
    if count % batch_size:
        raise ValueError(f"{count} images cannot be put into batches of {batch_size}")
    rows = [(digits.test_y == digit).nonzero().flatten().repeat(times) for digit in range(10)]
    return digits.test_x[torch.cat(rows)].view(-1, batch_size, 64)


#: Batch sizes of an evaluation; each divides the 500 test images.
SIZES = (2, 4, 10, 20, 50, 100, 250, 500)


@dataclass(frozen=True, eq=False)
class ForgottenEval:
    """Test loss and accuracy (in percent) with eval() and without, by seed and batch size.

    `batch_sizes` is (B,). `with_eval` is (S,); `shuffled` and `by_digit` are (S, B): in training mode,
    where a batch holds all digits and where the test images are sorted by digit.
    """

    batch_sizes: Tensor
    with_eval: Tensor
    shuffled: Tensor
    by_digit: Tensor
    accuracy_with_eval: Tensor
    accuracy_shuffled: Tensor
    accuracy_by_digit: Tensor


def forgotten_eval(
    seeds: Iterable[int], batch_sizes: Sequence[int] = SIZES, **training: int
) -> ForgottenEval:
    """Evaluate trained nets on their test images in both modes, shuffled and sorted by digit.

    `training` goes to `trained_net`.
    """
    rows = []
    for seed in seeds:
        net, digits = trained_net(seed, **training)
        whole = in_batches(digits, len(digits.test_y), by_digit=False)
        right = judged(logits_by(net, whole[0], "stored", "stored"), whole[1])
        row = []
        for size in batch_sizes:
            passes = (in_batches(digits, size, by_digit) for by_digit in (False, True))
            row.append((right, *(judged(logits_by(net, x, "batch", "batch"), y) for x, y in passes)))
        rows.append(row)
    values = torch.tensor(rows, dtype=torch.float64)  # (S, B, 3, 2)
    (right, *losses), (accuracy, *accuracies) = (values[..., k].unbind(dim=2) for k in (0, 1))
    sizes = torch.tensor(list(batch_sizes))
    return ForgottenEval(sizes, right[:, 0], *losses, accuracy[:, 0], *accuracies)


# -- what a sceptic would change

#: Which statistic comes from the batch: name -> (mean_from, var_from).
SOURCES = {
    "neither": ("stored", "stored"),
    "the variance": ("stored", "batch"),
    "the mean": ("batch", "stored"),
    "both": ("batch", "batch"),
}
#: How the nets of the second control were trained: batch size -> epochs.
TRAININGS = {8: 6, 64: 6, 256: 24}
#: What is added to every pixel of an image that lies in [0, 1].
BRIGHTER = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)


def one_statistic_at_a_time(seeds: Iterable[int], batch_size: int = 4) -> dict[str, Tensor]:
    """(S,) by name of `SOURCES`: accuracy in percent on test images sorted by digit."""
    found: dict[str, list[float]] = {name: [] for name in SOURCES}
    for seed in seeds:
        net, digits = trained_net(seed)
        x, y = in_batches(digits, batch_size, by_digit=True)
        for name, (mean_from, var_from) in SOURCES.items():
            found[name].append(judged(logits_by(net, x, mean_from, var_from), y)[1])
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in found.items()}


@dataclass(frozen=True, eq=False)
class OtherLight:
    """Accuracy in percent, (S, L), on test images made brighter by each of L amounts `brighter` (L,).

    stored: with eval(). batch: with the statistics of shuffled batches of 100. mixed: the same, where every
    image has an amount of its own, uniform between 0 and twice the amount.
    """

    brighter: Tensor
    stored: Tensor
    batch: Tensor
    mixed: Tensor
    stored_mixed: Tensor

    @property
    def better(self) -> str:
        """Where all images are as bright as can be: "stored" or "batch", whichever is right more often in the
        median, or "equal", within a point."""
        lead = (self.batch - self.stored)[:, -1].median().item()
        return "equal" if abs(lead) <= 1 else "batch" if lead > 0 else "stored"


def other_light(
    seeds: Iterable[int], brighter: Sequence[float] = BRIGHTER, batch_size: int = 100
) -> OtherLight:
    """Test images from another distribution than the training images: all brighter, or each its own.

    Source of the idea: Nado et al. 2020 and Schneider et al. 2020, who adapt batch norm to corrupted images
    by the statistics of the test batch.
    """
    rows = []
    for seed in seeds:
        net, digits = trained_net(seed)
        x, y = in_batches(digits, batch_size, by_digit=False)
        own = torch.rand(*x.shape[:2], 1, generator=torch.Generator().manual_seed(seed)) * 2
        row = []
        for amount in brighter:
            together, apart = x + amount, x + amount * own
            settings = (together, "stored"), (together, "batch"), (apart, "batch"), (apart, "stored")
            row.append([judged(logits_by(net, seen, source, source), y)[1] for seen, source in settings])
        rows.append(row)
    values = torch.tensor(rows, dtype=torch.float64)
    return OtherLight(torch.tensor(brighter, dtype=torch.float64), *values.unbind(dim=2))


@dataclass(frozen=True, eq=False)
class OtherNoise:
    """Loss and accuracy in percent, (S,) by "stored" and "batch", on test images with noise in each pixel."""

    loss: dict[str, Tensor]
    accuracy: dict[str, Tensor]


def other_noise(seeds: Iterable[int], scale: float = 0.5, batch_size: int = 100) -> OtherNoise:
    """Test images with normal noise in each pixel, read with eval() and by shuffled batches."""
    found: dict[str, list[tuple[float, float]]] = {"stored": [], "batch": []}
    for seed in seeds:
        net, digits = trained_net(seed)
        x, y = in_batches(digits, batch_size, by_digit=False)
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
        for source, both in found.items():
            both.append(judged(logits_by(net, x + scale * noise, source, source), y))
    values = {source: torch.tensor(both, dtype=torch.float64) for source, both in found.items()}
    return OtherNoise(*({source: value[:, k] for source, value in values.items()} for k in range(2)))


# -- the trace of an evaluation in training mode

MOMENTA = (0.01, 0.03, 0.1, 0.3)
#: How many times over the images of a digit come before the next digit, in the control.
TIMES = 10
PASS_SIZES = (2, 4, 10, 20, 50)


@torch.no_grad()
def after_a_pass(net: nn.Sequential, batches: Tensor, momentum: float) -> nn.Sequential:
    """A copy of the net, in eval mode, that has seen the batches (B, N, 64) in training mode once.

    The running update, B times, in one sum: the old value keeps (1 - m)^B, batch k of B enters with
    m (1 - m)^(B - k).
    """
    moved = copy.deepcopy(net)
    norm, count = moved[1], len(batches)
    weights = momentum * (1 - momentum) ** torch.arange(count - 1, -1, -1, dtype=batches.dtype)
    var, mean = torch.var_mean(moved[0](batches), dim=1, correction=1)
    for buffer, values in ((norm.running_mean, mean), (norm.running_var, var)):
        buffer.copy_((1 - momentum) ** count * buffer + weights @ values)
    return moved


@dataclass(frozen=True, eq=False)
class Trace:
    """The loss with eval() after one pass over the test images in training mode, over that before.

    `sizes` (B,) and `momenta` (M,) of the pass; `by_digit` and `shuffled` are (S, B, M). `longer` (S, M) is
    by digit in batches of 2, each digit `TIMES` as long.
    """

    sizes: Tensor
    momenta: Tensor
    by_digit: Tensor
    shuffled: Tensor
    longer: Tensor

    @property
    def remembered(self) -> Tensor:
        """(B, M): N / m, about the number of images that the running statistics remember."""
        return self.sizes[:, None] / self.momenta

    def at(self, size: int, momentum: float) -> tuple[Tensor, Tensor]:
        """(S,) each: sorted by digit, and shuffled."""
        place = self.sizes.tolist().index(size), self.momenta.tolist().index(momentum)
        return self.by_digit[:, place[0], place[1]], self.shuffled[:, place[0], place[1]]


def trace_of_a_pass(
    seeds: Iterable[int], sizes: Sequence[int] = PASS_SIZES, momenta: Sequence[float] = MOMENTA
) -> Trace:
    """Run trained nets over their test images in training mode, then evaluate them with eval()."""
    rows, longer = [], []
    for seed in seeds:
        net, digits = trained_net(seed)
        before = judged(net(digits.test_x), digits.test_y)[0]

        def ratios(x: Tensor, net=net, digits=digits, before=before) -> list[float]:
            moved = (after_a_pass(net, x, momentum) for momentum in momenta)
            return [judged(each(digits.test_x), digits.test_y)[0] / before for each in moved]

        rows.append(
            [[ratios(in_batches(digits, size, by_digit)[0]) for size in sizes] for by_digit in (True, False)]
        )
        longer.append(ratios(long_runs(digits, 2, TIMES)))
    by_digit, shuffled = torch.tensor(rows, dtype=torch.float64).unbind(dim=1)
    return Trace(
        torch.tensor(sizes),
        torch.tensor(momenta, dtype=torch.float64),
        by_digit,
        shuffled,
        torch.tensor(longer, dtype=torch.float64),
    )


# -- verdicts


@dataclass(frozen=True, eq=False)
class WhoseStatistics:
    """The experiment and the controls of the first claim."""

    forgotten: ForgottenEval
    sources: dict[str, Tensor]
    trainings: dict[int, ForgottenEval]
    light: OtherLight
    light_in_fours: OtherLight
    noise: OtherNoise


def whose_statistics(seeds: Sequence[int]) -> WhoseStatistics:
    """Evaluations with the batch's statistics and with the stored ones, and their controls."""
    trainings = {
        size: forgotten_eval(seeds, (4, 500), batch_size=size, epochs=epochs)
        for size, epochs in TRAININGS.items()
    }
    return WhoseStatistics(
        forgotten_eval(seeds),
        one_statistic_at_a_time(seeds),
        trainings,
        other_light(seeds),
        other_light(seeds, (0.5,), 4),
        other_noise(seeds),
    )


def judge_statistics(measured: WhoseStatistics) -> list[Finding]:
    """The sentences of the first verdict."""
    forgotten, light, fours = measured.forgotten, measured.light, measured.light_in_fours
    noise = measured.noise
    right = forgotten.with_eval[:, None]
    others = [
        (run.by_digit[:, 0] > 10 * run.with_eval) & (run.shuffled[:, 0] > 2 * run.with_eval)
        for run in measured.trainings.values()
    ]
    strong = light.brighter >= 0.5
    return [
        Finding(
            "shuffled batches of 100 or more: accuracy within 2 points of eval()",
            ((forgotten.accuracy_shuffled - forgotten.accuracy_with_eval[:, None])[:, -3:].abs() <= 2).all(1),
        ),
        Finding(
            "shuffled batches of 4: at least four times the loss", forgotten.shuffled[:, 1] > 4 * right[:, 0]
        ),
        Finding(
            "batches sorted by digit, up to 50 images: at least 20 times the loss",
            (forgotten.by_digit[:, :5] > 20 * right).all(1),
        ),
        Finding(
            "nets trained in batches of 8, 64 and 256, asked in fours: sorted over 10, shuffled over 2 times",
            torch.stack(others).all(0),
        ),
        Finding(
            "the mean of a sorted batch does the harm alone (below 30 %), its variance does not (above 85 %)",
            (measured.sources["the mean"] < 30) & (measured.sources["the variance"] > 85),
        ),
        Finding(
            "images brighter by 0.5, all alike or each its own, batches of 100: the batch's statistics win",
            ((light.batch > light.stored) & (light.mixed > light.stored_mixed))[:, strong].all(1),
        ),
        Finding(
            "images all brighter by 0.5: batches of 4 are right 10 points less often than batches of 100",
            fours.batch[:, 0] <= light.batch[:, -1] - 10,
        ),
        Finding(
            "images with noise of 0.5, batches of 100: accuracies within 3 points of each other",
            (noise.accuracy["batch"] - noise.accuracy["stored"]).abs() <= 3,
            at_least=4,
        ),
        Finding(
            "the same by the loss: it is at least a tenth lower with the batch's statistics",
            noise.loss["batch"] <= 0.9 * noise.loss["stored"],
        ),
    ]


def judge_trace(trace: Trace) -> list[Finding]:
    """The sentences of the second verdict."""
    by_digit, shuffled = trace.at(2, 0.1)
    slow, _ = trace.at(2, 0.01)
    few = (trace.remembered <= 40).expand_as(trace.by_digit)
    many = (trace.remembered >= 1000).expand_as(trace.by_digit)
    return [
        Finding("sorted, batches of 2, momentum 0.1: at least four times the loss", by_digit >= 4),
        Finding("the same, shuffled: less than half of that", shuffled < by_digit / 2),
        Finding("the same, sorted, momentum 0.01: less than a third of that", slow < by_digit / 3),
        Finding(
            "sorted, N / m of 40 or less: at least doubled, whatever N and m",
            torch.where(few, trace.by_digit, math.inf).amin((1, 2)) >= 2,
        ),
        Finding(
            "sorted, N / m of 1000 or more: less than a quarter more, whatever N and m",
            torch.where(many, trace.by_digit, 0).amax((1, 2)) < 1.25,
        ),
        Finding(
            "sorted, batches of 2, momentum 0.01, each digit ten times as long: again at least four times",
            trace.longer[:, trace.momenta.tolist().index(0.01)] >= 4,
        ),
    ]


CLAIMS = {
    "statistics": Claim(
        "At test time the statistics of the batch are neither necessary nor desirable.",
        whose_statistics,
        judge_statistics,
    ),
    "trace": Claim("An evaluation in training mode changes the model.", trace_of_a_pass, judge_trace),
}
