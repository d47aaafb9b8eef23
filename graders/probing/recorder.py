"""Writes down which library operators a candidate uses, however they are reached.

Four views are needed. The function view sees what Python calls, composites such as `F.rms_norm`
included, through any alias, `getattr` or `torch.ops`. The dispatcher's view sees what arrives in the
kernels, also from TorchScript. The view of the library's Python sees what is written there in elementary
operations: decompositions, references, the functions that optimizers are made of. The view of the source sees
what is written but was not run this time.
"""

from __future__ import annotations

import dis
import importlib
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

LAYER = "torch.nn normalization layer"
OPTIMIZER = "torch.optim optimizer"
_AUTOGRAD = {
    torch.autograd.grad: "autograd.grad",
    torch.Tensor.backward: "autograd.backward",
    torch._make_dual: "autograd.grad",  # how every way of differentiating forwards begins
}
#: Where the library has answers in Python.
_IN_PYTHON = tuple(str(Path(torch.__file__).parent / name) for name in ("_refs", "_decomp", "optim"))
#: What the references of all normalization layers have in common.
_NORMALIZE = "_normalize"
_LAYER_MODULES = tuple(
    f"torch.nn.modules.{name}" for name in ("batchnorm", "normalization", "instancenorm", "dropout")
)
_paused = 0


@contextmanager
def paused() -> Iterator[None]:
    """What runs inside is a probe's own work and is not recorded."""
    global _paused
    _paused += 1
    try:
        yield
    finally:
        _paused -= 1


class Recorder:
    """A context in which operators are recorded.

    operators: their names, without overloads and leading underscores.
    made_on_cpu: the first operator that made a CPU tensor with at least one axis out of no tensor, or None.
    """

    def __init__(self) -> None:
        self.operators: set[str] = set()
        self.made_on_cpu: str | None = None
        self._stack = ExitStack()
        self._outside: types.FrameType | None = None

    def __enter__(self) -> Recorder:
        self._outside = sys._getframe(1)
        self._stack.enter_context(_FunctionView(self))
        self._stack.enter_context(_DispatcherView(self))
        self._stack.enter_context(_optimizers_noted(self))
        return self

    def __exit__(self, *details: object) -> None:
        self._outside = None
        self._stack.__exit__(*details)

    def note_python(self) -> None:
        """Note which functions of the library's own Python have led to the operator that runs now.

        They are found on the stack, however they were imported: whoever computes in them runs operators.
        """
        frame: types.FrameType | None = sys._getframe(1)
        while frame is not None and frame is not self._outside:
            if frame.f_code.co_filename.startswith(_IN_PYTHON):
                name = frame.f_code.co_name
                self.operators.add(LAYER if name == _NORMALIZE else name.lstrip("_"))
            frame = frame.f_back


class DispatchMode(TorchDispatchMode):
    """A dispatch mode that does not import torch._dynamo, which takes longer than many checks."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class _Compiler(types.ModuleType):
    """Stands in for torch._dynamo as far as operators on `meta` need it; the real one takes half a second.

    All that they ask is to be left alone by the compiler. Whatever else is asked brings the real one.
    """

    def __init__(self) -> None:
        super().__init__("torch._dynamo")
        self.asked: list[Any] = []

    def disable(self, function: Any, *details: Any, **more: Any) -> Any:
        self.asked.append(function)
        return function

    def __getattr__(self, name: str) -> Any:
        self.leave()
        return getattr(importlib.import_module(self.__name__), name)

    def leave(self) -> None:
        """Be gone, so that the next to import it gets the real one, and the operators ask that again."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        for function in self.asked:
            vars(function).pop("__dynamo_disable", None)
        self.asked.clear()


@contextmanager
def without_compiler() -> Iterator[None]:
    """A context in which operators on `meta` do not import PyTorch's compiler."""
    compiler = _Compiler()
    sys.modules.setdefault(compiler.__name__, compiler)
    try:
        yield
    finally:
        compiler.leave()


class _FunctionView(TorchFunctionMode):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if not _paused:
            name = _AUTOGRAD.get(func) or getattr(func, "__name__", "").split(".")[0].lstrip("_")
            self.recorder.operators.add(name)
        return func(*args, **(kwargs or {}))


class _DispatcherView(DispatchMode):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is torch.ops.aten.copy_.default and args[1].is_meta and not args[0].is_meta:
            result = args[0]  # numbers of a GPU may be copied into a tensor on the CPU; here there are none
        else:
            result = func(*args, **(kwargs or {}))
        if _paused:
            return result
        name = func._schema.name.split("::")[-1].lstrip("_")
        self.recorder.operators.add(name)
        self.recorder.note_python()
        if torch._C._current_graph_task_id() != -1:  # run by autograd's engine, however that was started
            self.recorder.operators.add("autograd.backward")
        if (
            self.recorder.made_on_cpu is None
            and isinstance(result, torch.Tensor)
            and result.device.type == "cpu"
            and result.dim() > 0
            and (name == "lift_fresh" or not any(isinstance(arg, torch.Tensor) for arg in args))
        ):
            self.recorder.made_on_cpu = "tensor" if name == "lift_fresh" else name
        return result


@contextmanager
def _optimizers_noted(recorder: Recorder) -> Iterator[None]:
    """An optimizer is no operator: its making is seen at the constructor."""
    original = torch.optim.Optimizer.__init__

    def noting(self: Any, *args: Any, **kwargs: Any) -> None:
        if not _paused:
            recorder.operators.add(OPTIMIZER)
        original(self, *args, **kwargs)

    torch.optim.Optimizer.__init__ = noting  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.optim.Optimizer.__init__ = original  # type: ignore[method-assign]


def written(candidate: Any) -> set[str]:
    """Library operators that the source of a candidate names, by following `F.batch_norm` to what it is.

    Names that lead to the student's own functions are followed into those; a name made up at run time is
    left to the views of what runs.
    """
    found: set[str] = set()
    for used in _used_by(_functions(candidate)):
        for thing in used:
            module = getattr(thing, "__module__", None) or ""
            name = getattr(thing, "__name__", "").split(".")[0].lstrip("_")
            if isinstance(thing, type) and module.startswith(_LAYER_MODULES):
                found.add(LAYER)
            elif isinstance(thing, type) and module.startswith("torch.optim"):
                found.add(OPTIMIZER)
            elif known := _differentiation(thing):
                found.add(known)
            elif module.startswith("torch") or isinstance(thing, types.BuiltinFunctionType):
                found.add(name)
    return found


def inherited(candidate: Any) -> set[str]:
    """Library classes that are the answer and that a candidate class is built on."""
    found = set()
    for part in candidate if isinstance(candidate, tuple) else (candidate,):
        for base in getattr(part, "__mro__", ())[1:]:
            if base.__module__.startswith(_LAYER_MODULES):
                found.add(LAYER)
            elif base.__module__.startswith("torch.optim"):
                found.add(OPTIMIZER)
    return found


def _differentiation(thing: Any) -> str | None:
    """The name of `thing`, if the library differentiates by it. By identity: an array answers `==` oddly."""
    return next((name for known, name in _AUTOGRAD.items() if known is thing), None)


def _functions(candidate: Any) -> Iterator[types.FunctionType]:
    """The Python functions a candidate consists of, methods included."""
    for part in candidate if isinstance(candidate, tuple) else (candidate,):
        if isinstance(part, types.FunctionType):
            yield part
        elif isinstance(part, type):
            for member in vars(part).values():
                member = getattr(member, "__func__", member)
                if isinstance(member, types.FunctionType):
                    yield member


def _used_by(functions: Iterable[types.FunctionType]) -> Iterator[list[Any]]:
    """For each of these functions, and of those of the same module that they use, the objects it uses."""
    found = list(functions)
    for function in found:  # grows meanwhile
        used = list(_globals_used(function.__code__, function.__globals__))
        yield used
        for thing in used:
            for helper in _functions(thing):
                if helper.__module__ == function.__module__ and helper not in found:
                    found.append(helper)


def _globals_used(code: types.CodeType, names: dict[str, Any]) -> Iterator[Any]:
    """The objects that dotted names in this code lead to: global, then attribute after attribute."""
    nothing = object()
    current: Any = nothing
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            current = names.get(step.argval, nothing)
        elif step.opname in ("LOAD_ATTR", "LOAD_METHOD") and isinstance(current, types.ModuleType | type):
            current = getattr(current, step.argval, nothing)
        elif step.opname != "CACHE":
            current = nothing
        if current is not nothing and not isinstance(current, types.ModuleType):
            yield current
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals_used(constant, names)
