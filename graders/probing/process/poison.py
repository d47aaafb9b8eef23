"""Where the library's own answers can be reached, for a check to stop them up while it looks.

The dispatcher is where every path to a compiled operator ends, whatever name, alias, thread or TorchScript
unit it was reached by. What the library computes in Python (optimizers, decompositions) has no such place;
there the code of the functions themselves is exchanged.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import CodeType, FunctionType
from typing import Any

import torch

from graders.probing.exercise import AUTOGRAD
from graders.probing.recorder import OPTIMIZER

#: Refuses any two arguments or more, and being built in, cannot be changed from Python.
REFUSAL = operator.index
#: What the refusal says, by which the judge recognizes it.
REFUSAL_TEXT = "index() takes exactly one argument"
#: The dispatcher's keys to be stopped up, by the device of a box: without a GPU in it there is only one.
KEYS = {"cpu": ("CPU",), "cuda": ("CPU", "CUDA")}


def _refused(*arguments: Any, **named: Any) -> Any:
    raise RuntimeError("index() takes exactly one argument: this is the library's own answer")


def operators(barred: Iterable[str]) -> list[str]:
    """The dispatcher's names, overloads included and without "aten::", of the operators barred."""
    barred = set(barred)
    found = []
    for full in torch._C._dispatch_get_all_op_names():
        namespace, name = full.split("::")
        if namespace == "aten" and _is_one_of(name.split(".")[0], barred):
            found.append(name)
    return found


def _is_one_of(name: str, barred: set[str]) -> bool:
    """Whether a function is a barred operator, or one of the library's helpers named after it."""
    return any(one in name for one in barred)


def close_side_doors() -> None:
    """Take away, for good, what would hand out an operator's kernel past the dispatcher."""
    for name in dir(torch._C):
        if name.startswith("_dispatch_get_") and "kernel" in name:
            delattr(torch._C, name)


def without_graph(barred: Iterable[str]) -> AbstractContextManager[Any]:
    """A context in which nothing is recorded for differentiation, where that is barred."""
    return torch._C._AutoDispatchBelowAutograd() if AUTOGRAD & set(barred) else nullcontext()


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
            if _is_one_of(name, barred):
                yield value
    if "batch_norm" in barred:
        yield torch._refs._normalize  # all that the references of the normalizations have in common
    if AUTOGRAD & barred:
        yield torch.autograd.graph._engine_run_backward
    if OPTIMIZER in barred:
        yield torch.optim.Optimizer.__init__
        for module in vars(torch.optim).values():
            if inspect.ismodule(module):
                for name, value in vars(module).items():
                    if name.startswith(("_single_tensor_", "_multi_tensor_", "_fused_")):
                        yield value
