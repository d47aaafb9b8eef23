"""Writes down which operators run, however they were reached.

Two views are needed. The function view sees what Python calls, composites such as `F.rms_norm`
included, through any alias, `getattr` or `torch.ops`. The dispatcher's view sees what arrives in the
kernels, also from TorchScript.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

_AUTOGRAD = {torch.autograd.grad: "autograd.grad", torch.Tensor.backward: "autograd.backward"}


class Recorder:
    """A context in which operators are recorded.

    operators: their names, without overloads and leading underscores.
    made_on_cpu: the first operator that made a CPU tensor with at least one axis out of no tensor, or None.
    """

    def __init__(self) -> None:
        self.operators: set[str] = set()
        self.made_on_cpu: str | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Recorder:
        self._stack.enter_context(_FunctionView(self))
        self._stack.enter_context(_DispatcherView(self))
        return self

    def __exit__(self, *details: object) -> None:
        self._stack.__exit__(*details)


class _FunctionView(TorchFunctionMode):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        name = _AUTOGRAD.get(func) or getattr(func, "__name__", "").split(".")[0].lstrip("_")
        self.recorder.operators.add(name)
        return func(*args, **(kwargs or {}))


class _DispatcherView(TorchDispatchMode):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.split("::")[-1].lstrip("_")
        self.recorder.operators.add(name)
        if (
            self.recorder.made_on_cpu is None
            and isinstance(result, torch.Tensor)
            and result.device.type == "cpu"
            and result.dim() > 0
            and (name == "lift_fresh" or not any(isinstance(arg, torch.Tensor) for arg in args))
        ):
            self.recorder.made_on_cpu = "tensor" if name == "lift_fresh" else name
        return result
