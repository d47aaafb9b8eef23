"""Day 27: running statistics, what moves which tensor of a layer, and a forgotten eval()."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course.experiments.digits import Digits, split_digits

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
    std_after: float,
    *,
    mean_before: float = 2.0,
    std_before: float = 2.0,
    batches: int = 200,
    shift_at: int = 100,
    seed: int = 27,
) -> RunningStatistics:
    """Batches of a normal feature whose mean and spread change once, and their running averages.

    Source of the update: PyTorch's documentation of `nn.BatchNorm1d`.
    """
    after = torch.arange(batches) >= shift_at
    mean = torch.where(after, mean_after, mean_before).double()
    std = torch.where(after, std_after, std_before).double()
    generator = torch.Generator().manual_seed(seed)
    # 256 are drawn whatever the batch size is, so that a larger batch holds the smaller one.
    noise = torch.randn(batches, 256, generator=generator, dtype=torch.float64)[:, :batch_size]
    x = mean[:, None] + std[:, None] * noise
    batch_mean, batch_var = x.mean(dim=1), x.var(dim=1)
    return RunningStatistics(
        momentum=momentum,
        shift_at=shift_at,
        batch_mean=batch_mean,
        batch_var=batch_var,
        true_mean=mean,
        true_var=std**2,
        running_mean=exponential_average(batch_mean, 0.0, momentum),
        running_var=exponential_average(batch_var, 1.0, momentum),
        scatter=long_run_scatter(momentum, std_after, batch_size, batches),
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
    """One entry of a state dict: its name, start and present value, and how it is counted.

    kind: "parameter" or "buffer". trainable and non_trainable: elements as libraries count them;
    the counter counts in neither.
    """

    name: str
    kind: str
    start: Tensor
    now: Tensor
    trainable: int
    non_trainable: int

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
    """Show a model of two features some batches, and look at its state dict before and after.

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
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2, momentum=momentum))
    with torch.no_grad():
        model[0].weight.copy_(torch.randn(2, 2, generator=generator))
    model[1].train(training).requires_grad_(requires_grad)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=lr)
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    inputs = 1 + torch.randn(batches, 16, 2, generator=generator)
    for x in inputs:
        with torch.set_grad_enabled(learning):
            loss = F.mse_loss(model(x), 2 * x.flip(1) + 1)
        if learning:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    parameters = dict(model.named_parameters())
    rows = []
    for name, now in model.state_dict().items():
        trainable = now.numel() if name in parameters and parameters[name].requires_grad else 0
        counted = 0 if name.endswith("num_batches_tracked") else now.numel()
        kind = "parameter" if name in parameters else "buffer"
        rows.append(Row(name, kind, start[name], now.clone(), trainable, counted - trainable))
    return LayerTable(tuple(rows), batches, training)


def resnet50_batch_norm_features() -> int:
    """How many features all batch-norm layers of ResNet-50 have together.

    Source: He et al. 2016, table 1: a stem of 64, and four stages of bottleneck blocks of widths
    w, w, 4w, the first of each with a projection of width 4w.
    """
    stages = ((64, 3), (128, 4), (256, 6), (512, 3))
    return 64 + sum(blocks * 6 * width + 4 * width for width, blocks in stages)


# -- a forgotten eval()


def make_net(seed: int) -> nn.Sequential:
    """64 pixels -> 32 features -> batch norm -> ReLU -> 10 digits; weights drawn by `seed`."""
    net = nn.Sequential(nn.Linear(64, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        net[0].weight.normal_(0, 1 / 8, generator=generator)
        net[3].weight.normal_(0, 1 / math.sqrt(32), generator=generator)
        net[3].bias.zero_()
    return net


@lru_cache(maxsize=32)
def trained_net(seed: int, epochs: int = 6) -> tuple[nn.Sequential, Digits]:
    """A net trained on the digits of this seed, in eval mode, and the digits. Do not change it.

    SGD with momentum 0.9, learning rate 0.1, batches of 64, the incomplete last one dropped.
    """
    digits = split_digits(seed)
    net = make_net(seed).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(len(digits.train_x), generator=generator)
        for rows in order.split(64):
            if len(rows) == 64:
                optimizer.zero_grad()
                F.cross_entropy(net(digits.train_x[rows]), digits.train_y[rows]).backward()
                optimizer.step()
    return net.eval(), digits


@dataclass(frozen=True, eq=False)
class Company:
    """One image, seen alone by eval() and in many batches by train().

    `alone` is (10,), the probabilities in eval mode; `in_company` (companies, 10), those in train
    mode, each in another batch. `image` is (8, 8).
    """

    image: Tensor
    label: int
    batch_size: int
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


def same_image_in_company(
    index: int, batch_size: int, kind: str, *, companies: int = 40, seed: int = 0
) -> Company:
    """What a trained net says of one test image, with a forgotten eval() and with eval().

    Args:
        index: of the test image.
        batch_size: how many images there are in a batch, this one included.
        kind: who the others are: "random" test images, those of its "own" digit, or those of one
            "other" digit, the next one.
        companies: how many batches.
        seed: of the net, the digits and the draws.

    Raises:
        ValueError: another kind.
    """
    net, digits = trained_net(seed)
    x, label = digits.test_x[index], int(digits.test_y[index])
    others = torch.arange(len(digits.test_x)) != index
    if kind == "own":
        others &= digits.test_y == label
    elif kind == "other":
        others &= digits.test_y == (label + 1) % 10
    elif kind != "random":
        raise ValueError(f"kind must be 'random', 'own' or 'other', not {kind!r}")
    pool = others.nonzero().flatten()
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(pool), (companies, batch_size - 1), generator=generator)
    batches = torch.cat([x.expand(companies, 1, 64), digits.test_x[pool[rows]]], dim=1)
    with torch.no_grad():
        linear, norm, relu, last = net
        hidden = linear(batches)  # (companies, batch_size, 32)
        var, mean = torch.var_mean(hidden, dim=1, correction=0)
        x_hat = (hidden[:, 0] - mean) / torch.sqrt(var + norm.eps)
        in_company = last(relu(norm.weight * x_hat + norm.bias)).softmax(dim=1)
        alone = net(x[None])[0].softmax(dim=0)
    return Company(x.view(8, 8), label, batch_size, alone, in_company)


@dataclass(frozen=True, eq=False)
class ForgottenEval:
    """Test loss with eval() and without, per seed and batch size.

    `batch_sizes` is (B,). `with_eval` is (S,); `shuffled` and `by_digit` are (S, B): the loss in
    train mode, where a batch holds all digits and where the test images are sorted by digit.
    `after` is (S, B): the loss in eval mode, after the pass by digit has moved the running
    statistics. The accuracies are alike, in percent.
    """

    batch_sizes: Tensor
    with_eval: Tensor
    shuffled: Tensor
    by_digit: Tensor
    after: Tensor
    accuracy_with_eval: Tensor
    accuracy_shuffled: Tensor
    accuracy_by_digit: Tensor
    accuracy_after: Tensor


@torch.no_grad()
def loss_and_accuracy(net: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> tuple[float, float]:
    """Mean cross entropy and accuracy in percent over consecutive batches; the mode is left as it is."""
    logits = torch.cat([net(batch) for batch in x.split(batch_size)])
    return F.cross_entropy(logits, y).item(), 100 * (logits.argmax(dim=1) == y).double().mean().item()


def forgotten_eval(batch_sizes: Sequence[int], seeds: Iterable[int]) -> ForgottenEval:
    """Evaluate trained nets on their test images in both modes, shuffled and sorted by digit."""
    rows = []
    for seed in seeds:
        net, digits = trained_net(seed)
        x, y = digits.test_x, digits.test_y
        order = y.argsort(stable=True)
        right = loss_and_accuracy(net, x, y, len(x))
        row = []
        for size in batch_sizes:
            shuffled = loss_and_accuracy(copy.deepcopy(net).train(), x, y, size)
            moved = copy.deepcopy(net).train()
            by_digit = loss_and_accuracy(moved, x[order], y[order], size)
            after = loss_and_accuracy(moved.eval(), x, y, len(x))
            row.append((right, shuffled, by_digit, after))
        rows.append(row)
    values = torch.tensor(rows, dtype=torch.float64)  # (S, B, 4, 2)
    (right, *losses), (accuracy, *accuracies) = (values[..., k].unbind(dim=2) for k in (0, 1))
    sizes = torch.tensor(list(batch_sizes))
    return ForgottenEval(sizes, right[:, 0], *losses, accuracy[:, 0], *accuracies)
