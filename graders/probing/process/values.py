"""Plain values with their tensors as safetensors, as they cross the wall in the frames of `protocol`.

What is read here is never executed or unpickled either, and whatever is malformed ends in `Broken`. These
imports bring PyTorch, which a notebook without checks may have no need of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch

from graders.probing.observe import INTEGER_LIMIT, Foreign, Raised, Sight, Survey
from graders.probing.process.protocol import PAYLOAD_LIMIT, TEXT_LIMIT, Broken

#: What a look at a candidate may hold: bytes of one tensor, and of all values together. A right one has some
#: hundred kilobytes.
TENSOR_LIMIT = 1 << 20
SIGHTS_LIMIT = 2 << 20
#: Bytes that a value costs of that beside its content.
_OVERHEAD = 50
#: How deep lists may stand in lists.
DEPTH = 8


class _Tensors(dict[str, torch.Tensor]):
    """The tensors of a packed value, and how many bytes more it may have."""

    def __init__(self, limit: int, tensor_limit: int) -> None:
        super().__init__()
        self.left, self.tensor_limit = limit, tensor_limit

    def has_room(self, size: int) -> bool:
        """Whether a value of this many bytes fits; it is counted then."""
        size += _OVERHEAD
        if size > self.left:
            return False
        self.left -= size
        return True


def pack(value: Any, limit: int = PAYLOAD_LIMIT, tensor_limit: int = PAYLOAD_LIMIT) -> tuple[Any, bytes]:
    """A value made of tensors, numbers, strings, None, lists and mappings as JSON data and bytes.

    limit, tensor_limit: bytes of all of it, and of one tensor; what is over is named instead of packed.
    """
    tensors = _Tensors(limit, tensor_limit)
    tree = _packed(value, tensors, DEPTH)
    return tree, safetensors.torch.save(tensors) if tensors else b""


def _packed(value: Any, tensors: _Tensors, depth: int) -> Any:
    size = 0
    if isinstance(value, str):
        size = min(len(value), TEXT_LIMIT)
    elif isinstance(value, Mapping | list | tuple):
        size = len(value) * _OVERHEAD
    if not tensors.has_room(size):
        return {"foreign": f"{type(value).__name__} beyond what is looked at"}
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < INTEGER_LIMIT else {"foreign": "very large int"}
    if isinstance(value, str):
        return str(value[:TEXT_LIMIT])
    if isinstance(value, torch.Tensor):
        return _packed_tensor(value, tensors)
    if isinstance(value, Raised):
        fields = [value.type, value.text, value.line, value.code, value.unattempted, value.contract]
        return {"raised": [_packed(one, tensors, 1) for one in fields]}
    if isinstance(value, Foreign):
        numbers = None if value.numbers is None else _packed_tensor(value.numbers, tensors)
        return {"foreign": value.type[:TEXT_LIMIT], "numbers": numbers}
    if depth and isinstance(value, Mapping):
        pairs = [[str(key)[:TEXT_LIMIT], _packed(item, tensors, depth - 1)] for key, item in value.items()]
        return {"map": pairs}
    if depth and isinstance(value, list | tuple):
        items = [_packed(item, tensors, depth - 1) for item in value]
        return {"tuple": items} if isinstance(value, tuple) else items
    return {"foreign": type(value).__name__}


def _packed_tensor(value: torch.Tensor, tensors: _Tensors) -> Any:
    value = value.detach()
    if value.layout != torch.strided or value.is_complex() or value.device.type == "meta":
        kind = "complex" if value.is_complex() else "sparse" if value.device.type != "meta" else "meta"
        return {"foreign": f"{kind} tensor"}
    size = value.numel() * value.element_size()
    if size > tensors.tensor_limit or not tensors.has_room(size):
        return {"foreign": f"tensor of {value.numel():,} values, which is more than is looked at"}
    name = str(len(tensors))
    tensors[name] = value.cpu().clone(memory_format=torch.contiguous_format)
    return {"tensor": name, "stride": list(value.stride()), "device": value.device.type}


def unpack(tree: Any, payload: bytes, device: str = "cpu") -> Any:
    """The value that `pack` packed. Raises Broken where it is nothing of the kind.

    Tensors that were on a device of the type of `device` are put there, all others on the CPU.
    """
    try:
        tensors = safetensors.torch.load(payload) if payload else {}
        return _unpacked(tree, tensors, device, DEPTH + 1)
    except Broken:
        raise
    except Exception as error:  # whatever a forged header makes a reader stumble over
        raise Broken(f"a value that cannot be read: {type(error).__name__}") from None


def _unpacked(tree: Any, tensors: dict[str, torch.Tensor], device: str, depth: int) -> Any:
    if isinstance(tree, int) and abs(tree) >= INTEGER_LIMIT:
        raise Broken("a number that nobody has sent")
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    if not depth:
        raise Broken("a value that is nested too deeply")
    if isinstance(tree, list):
        return [_unpacked(item, tensors, device, depth - 1) for item in tree]
    if not isinstance(tree, dict):
        raise Broken("a value of no known kind")
    if "tensor" in tree:
        return _strided(tensors[tree["tensor"]], tree["stride"], tree["device"], device)
    if "raised" in tree:
        kind, text, line, code, unattempted, contract = tree["raised"]
        return Raised(
            str(kind),
            str(text),
            line if isinstance(line, int) else None,
            None if code is None else str(code),
            unattempted is True,
            contract is True,
        )
    if "foreign" in tree:
        numbers = _unpacked(tree.get("numbers"), tensors, "cpu", 1)
        return Foreign(str(tree["foreign"]), numbers if isinstance(numbers, torch.Tensor) else None)
    if "map" in tree:
        return {str(key): _unpacked(item, tensors, device, depth - 1) for key, item in tree["map"]}
    return tuple(_unpacked(item, tensors, device, depth - 1) for item in tree["tuple"])


def _strided(values: torch.Tensor, stride: list[int], came_from: str, device: str) -> torch.Tensor:
    """The values, laid out in memory as they were, where that is a plain permutation of their axes."""
    if came_from == torch.device(device).type != "cpu":
        values = values.to(device)
    if len(stride) != values.dim() or list(values.stride()) == stride:
        return values
    order = sorted(range(values.dim()), key=lambda axis: -stride[axis])
    laid_out = values.permute(order).contiguous().permute([order.index(axis) for axis in range(len(order))])
    return laid_out


def pack_sights(sights: list[Sight], surveyed: Survey) -> tuple[Any, bytes]:
    """What was seen of a candidate, as `pack` gives it."""
    values, texts = _Tensors(SIGHTS_LIMIT, TENSOR_LIMIT), _Tensors(SIGHTS_LIMIT, 0)
    seen = [
        [
            {"map": [[name, _packed(value, values, DEPTH)] for name, value in sight.values.items()]},
            _packed(sight.raised, texts, DEPTH),
            sight.printed[:TEXT_LIMIT],
        ]
        for sight in sights
    ]
    tree = [seen, sorted(surveyed.operators)[:5000], surveyed.wrong_device]
    return tree, safetensors.torch.save(values) if values else b""


def unpack_sights(tree: Any, payload: bytes, devices: list[str]) -> tuple[list[Sight], Survey]:
    """What `pack_sights` packed, one sight for each of `devices`. Raises Broken where it is anything else."""
    if len(payload) > PAYLOAD_LIMIT or not isinstance(tree, list) or len(tree) != 3:
        raise Broken("no sights")
    seen, operators, wrong_device = (
        unpack(tree[0], payload, next((one for one in devices if one != "cpu"), "cpu")),
        tree[1],
        tree[2],
    )
    if not isinstance(seen, list) or len(seen) != len(devices):
        raise Broken("not a sight for every case")
    sights = []
    for one in seen:
        if not isinstance(one, list) or len(one) != 3:
            raise Broken("no sight")
        values, raised, printed = one
        if not isinstance(values, dict) or not (raised is None or isinstance(raised, Raised)):
            raise Broken("no sight")
        sights.append(Sight(values, raised, str(printed)))
    if not isinstance(operators, list) or not all(isinstance(name, str) for name in operators):
        raise Broken("no survey")
    return sights, Survey(frozenset(operators), None if wrong_device is None else str(wrong_device))
