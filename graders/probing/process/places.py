"""Says where the library's own answers stand in this process, for the other side to close them during checks.

It is asked before there is any code of a student's, and again when more libraries were imported.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import importlib
import re
import types
from pathlib import Path
from typing import Any

import torch

from graders.probing.exercise import LAYER, LIBRARY_ANSWERS, OPTIMIZER
from graders.probing.observe import RAISE, refuse

#: Files of libraries that hold answers written in Python: the end of the path, which functions, and what an
#: exercise bars with them. Where that is nothing, the operator in the function's name says it.
_WRITTEN = (
    (r"torch/nn/modules/(batchnorm|instancenorm|normalization|dropout)\.py", r".", LAYER),
    (r"torch/optim/(?!lr_scheduler|swa_utils)\w+\.py", r".", OPTIMIZER),
    (r"torch/_refs/.*\.py", r"_normalize$", LAYER),
    (r"torch/(_refs|_decomp|_prims|_inductor|_functorch|_numpy|_dynamo)/.*\.py", r".", ""),
    (r"torch/(ao|distributed|jit|masked|nn/utils|onnx|testing)/.*\.py", r".", ""),
    (r"sklearn/(preprocessing|decomposition)/.*\.py", r".", LAYER),
    (r"scipy/(stats|cluster)/\w+\.py", r"^(zscore|gzscore|zmap|whiten)$", LAYER),
)
_NAMED = re.compile("|".join(map(re.escape, LIBRARY_ANSWERS)))
#: Modules with such answers that PyTorch imports only when they are asked for.
_LAZY = ("torch._refs.nn.functional", "torch._decomp.decompositions")
#: Compiled libraries that the other side looks through, by the beginning of the file's name.
_COMPILED = ("libtorch", "libc10")
#: Where a type's function for calls stands in it (CPython's `tp_call`), in bytes.
_CALL = 128
_CODE = types.CodeType.__basicsize__


def told() -> dict[str, Any]:
    """libraries: path and address of each compiled one. functions: (what bars it, name, address, bytes) of
    those written in Python. node_call: the compiled function by which a node of a graph is called."""
    for name in _LAZY:
        importlib.import_module(name)
    return {"libraries": _compiled(), "functions": functions(), "node_call": _node_call()}


def _compiled() -> dict[str, int]:
    return beginnings(Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace"))


def beginnings(maps: str) -> dict[str, int]:
    """Where each compiled library begins: where its file's first byte stands. maps: as in /proc/PID/maps.

    No other part of a file is a measure of that: who packs a library into a wheel may add one at the file's
    end that stands far before it in memory, as in PyTorch's builds with CUDA.
    """
    found: dict[str, int] = {}
    for line in maps.splitlines():
        where, _, offset, _, _, *path = line.split(None, 5)
        if path and Path(path[0]).name.startswith(_COMPILED) and not int(offset, 16):
            found.setdefault(path[0], int(where.partition("-")[0], 16))
    return found


def _node_call() -> int:
    node = (torch.ones(1, requires_grad=True) * 2).grad_fn
    return ctypes.c_void_p.from_address(id(type(node)) + _CALL).value or 0


def functions() -> list[tuple[str, str, int, int]]:
    """Every function of those files, wherever a decorator has hidden it: what bars it, name, address, bytes.

    None where Python keeps instructions elsewhere than this knows, which the other side takes as an error.

    Their code gets a reference that nobody gives back: what stood in its place would be overwritten.
    """
    if ctypes.string_at(id(refuse.__code__) + _CODE, len(RAISE)) != RAISE:
        return []
    codes = {id(one.__code__): one.__code__ for one in gc.get_objects() if type(one) is types.FunctionType}
    found = []
    for address, code in codes.items():
        for named, kind in _of_file(code.co_filename):
            if named.search(code.co_name) and (kind or _NAMED.search(code.co_name)):
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(code))
                found.append((kind, code.co_qualname, address + _CODE, len(code.co_code)))
                break
    return found


@functools.cache
def _of_file(path: str) -> list[tuple[re.Pattern, str]]:
    return [
        (re.compile(functions), kind)
        for files, functions, kind in _WRITTEN
        if re.search(rf"/(?:{files})$", path)
    ]
