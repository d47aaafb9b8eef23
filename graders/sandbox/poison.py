"""Where the library's own answers can be reached, for a check to stop them up while it looks.

The dispatcher is where every path to a compiled operator ends, whatever name, alias, thread or TorchScript
unit it was reached by. What the library computes in Python (optimizers, decompositions) has no such place;
there the code of the functions themselves is exchanged.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType
from typing import Any

import torch

from graders.recorder import OPTIMIZER

#: Refuses any two arguments or more, and being built in, cannot be changed from Python.
REFUSAL = operator.index
#: What the refusal says, by which the judge recognizes it.
REFUSAL_TEXT = "index() takes exactly one argument"
KEYS = ("CPU", "CUDA")


def _refused(*arguments: Any, **named: Any) -> Any:
    raise RuntimeError("index() takes exactly one argument: this is the library's own answer")


def operators(barred: Iterable[str]) -> list[str]:
    """The dispatcher's names, overloads included and without "aten::", of the operators barred."""
    barred = set(barred)
    found = []
    for full in torch._C._dispatch_get_all_op_names():
        namespace, name = full.split("::")
        if namespace == "aten" and name.split(".")[0].lstrip("_") in barred:
            found.append(name)
    return found


def functions(barred: Iterable[str]) -> list[tuple[FunctionType, CodeType, CodeType]]:
    """The library's Python functions that compute what is barred, each with its code and a replacement."""
    barred = set(barred)
    found: dict[int, FunctionType] = {}
    for function in _python_answers(barred):
        function = inspect.unwrap(function)
        if isinstance(function, FunctionType) and not function.__closure__:
            found[id(function)] = function
    return [(one, one.__code__, _refused.__code__) for one in found.values()]


def _python_answers(barred: set[str]) -> Iterator[Any]:
    import torch._decomp.decompositions
    import torch._refs.nn.functional

    for module in (torch._decomp.decompositions, torch._refs, torch._refs.nn.functional):
        for name, value in vars(module).items():
            if name.lstrip("_") in barred:
                yield value
    if OPTIMIZER in barred:
        yield torch.optim.Optimizer.__init__
        for module in vars(torch.optim).values():
            if inspect.ismodule(module):
                for name, value in vars(module).items():
                    if name.startswith(("_single_tensor_", "_multi_tensor_", "_fused_")):
                        yield value
