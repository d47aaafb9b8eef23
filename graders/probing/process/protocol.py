"""What crosses the wall: frames of JSON and bytes, and plain values with their tensors as safetensors.

Nothing that is read here is ever executed or unpickled. The trusted side reads what an attacker may have
written, so every length is checked before it is believed, and every malformed frame ends in `Broken`.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch

from graders.probing.observe import Foreign, Raised, Sight, Survey

_LENGTHS = struct.Struct("!II")
#: What the trusted side reads of one frame at most, in bytes: the header, and what follows it.
HEADER_LIMIT = 4 << 20
PAYLOAD_LIMIT = 64 << 20
#: Longer strings are cut, and larger whole numbers are named instead of sent.
TEXT_LIMIT = 20_000
INTEGER_LIMIT = 2**63
#: Events of Python's audit that the runner tells of: looks past what a student's code was given, and what
#: hides them. Of some, only what the runner's hook says.
NOTICED = (
    *("sys._getframe", "sys._current_frames", "gc.get_objects", "gc.get_referrers", "gc.get_referents"),
    *("ctypes.dlopen", "ctypes.dlsym", "ctypes.string_at", "ctypes.cdata", "ctypes.call_function"),
    *("object.__getattr__", "compile", "code.__new__", "marshal.loads", "open", "sys.addaudithook"),
)
#: Attributes that lead from an exception or a generator to the frames below it.
FRAMES = ("tb_frame", "gi_frame", "cr_frame", "ag_frame")
#: What takes long to import, by the name that a notebook has for it. The warm process imports it before the
#: first submission with that name.
LIBRARIES = {
    "matplotlib": "matplotlib.pyplot",
    "optim": "torch._dynamo",  # a step of PyTorch's optimizers imports it
    **{name: name for name in ("pandas", "scipy", "seaborn", "sklearn")},
}
#: How deep lists may stand in lists.
DEPTH = 8


class Broken(Exception):
    """The other side closed the connection, or wrote what is no frame."""


class Late(Exception):
    """The time for an answer is over."""


def frame(header: Mapping[str, Any], payload: bytes = b"") -> bytes:
    """What is written for a header and the bytes that follow it."""
    text = json.dumps(header).encode()
    return _LENGTHS.pack(len(text), len(payload)) + text + payload


def send(channel: socket.socket, header: Mapping[str, Any], payload: bytes = b"") -> None:
    """Write one frame. Raises Broken where the other side is gone, Late at the channel's timeout."""
    try:
        channel.sendall(frame(header, payload))
    except TimeoutError:
        raise Late from None
    except OSError as error:
        raise Broken(str(error)) from None


def receive(channel: socket.socket, deadline: float | None = None) -> tuple[dict[str, Any], bytes]:
    """Read one frame, until `deadline` on the monotonic clock. Raises Broken or Late."""
    head, payload = _LENGTHS.unpack(_exactly(channel, _LENGTHS.size, deadline))
    if head > HEADER_LIMIT or payload > PAYLOAD_LIMIT:
        raise Broken("a frame that is too large")
    try:
        header = json.loads(_exactly(channel, head, deadline))
    except (ValueError, RecursionError):
        raise Broken("a frame that is no JSON") from None
    if not isinstance(header, dict):
        raise Broken("a frame that is no JSON object")
    return header, _exactly(channel, payload, deadline)


def _exactly(channel: socket.socket, count: int, deadline: float | None) -> bytes:
    parts = []
    while count:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Late
            channel.settimeout(left)
        try:
            part = channel.recv(min(count, 1 << 20))
        except TimeoutError:
            raise Late from None
        except OSError as error:
            raise Broken(str(error)) from None
        if not part:
            raise Broken("the connection was closed")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def pack(value: Any) -> tuple[Any, bytes]:
    """A value made of tensors, numbers, strings, None, lists and mappings as JSON data and bytes."""
    tensors: dict[str, torch.Tensor] = {}
    tree = _packed(value, tensors, DEPTH)
    return tree, safetensors.torch.save(tensors) if tensors else b""


def _packed(value: Any, tensors: dict[str, torch.Tensor], depth: int) -> Any:
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
        return {"foreign": value.type[:TEXT_LIMIT]}
    if depth and isinstance(value, Mapping):
        return {"map": [[str(key), _packed(item, tensors, depth - 1)] for key, item in value.items()]}
    if depth and isinstance(value, list | tuple):
        items = [_packed(item, tensors, depth - 1) for item in value]
        return {"tuple": items} if isinstance(value, tuple) else items
    return {"foreign": type(value).__name__}


def _packed_tensor(value: torch.Tensor, tensors: dict[str, torch.Tensor]) -> Any:
    value = value.detach()
    if value.layout != torch.strided or value.is_complex() or value.device.type == "meta":
        kind = "complex" if value.is_complex() else "sparse" if value.device.type != "meta" else "meta"
        return {"foreign": f"{kind} tensor"}
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
        return Foreign(str(tree["foreign"]))
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
    seen = [[dict(sight.values), sight.raised, sight.printed] for sight in sights]
    return pack([seen, sorted(surveyed.operators)[:5000], surveyed.wrong_device])


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
