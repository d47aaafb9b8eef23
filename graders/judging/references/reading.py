"""What goes wrong where a function is to read a model, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from graders.judging.answer import Mistake, mistake
from graders.probing.exercise import Candidate


def halve(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.data = parameter.data / 2


def reading_mistakes(read: Callable[..., Any], name: str = "model") -> tuple[Mistake, ...]:
    """A model that is another one when it has been read.

    read: the definition, whose first argument is a module or a list of them. name: what it is called.
    """

    def leaving(change: Callable[[nn.Module], Any]) -> Candidate:
        def candidate(first: nn.Module | Iterable[nn.Module], *others: Any) -> Any:
            modules = [first] if isinstance(first, nn.Module) else list(first)
            result = read(first, *others)
            for module in modules:
                change(module)
            return result

        return candidate

    return (
        mistake(
            "weights_changed",
            f"""The weights of the {name} are changed by the call, but the function should only read them.
            A method whose name ends in an underscore, an operator such as *= and whatever is put into .data
            write into the tensors themselves. Any further training would start from other weights.""",
            leaving(halve),
        ),
        mistake(
            "mode_or_freezing_changed",
            f"""The {name} can't train as it could before the call: the mode (train or eval) or some
            requires_grad is changed. A function that only reads leaves both alone.""",
            leaving(lambda module: module.requires_grad_(False)),
            leaving(lambda module: module.train(not module.training)),
        ),
    )
