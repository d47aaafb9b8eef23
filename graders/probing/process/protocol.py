"""What crosses the wall: frames of JSON and bytes, and plain values with their tensors as safetensors.

Nothing that is read here is ever executed or unpickled. The trusted side reads what an attacker may have
written, so every length is checked before it is believed, and every malformed frame ends in `Broken`.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import safetensors.torch
import torch

from graders.probing.observe import Foreign, Raised, Sight, Survey

_LENGTHS = struct.Struct("!II")
#: What the trusted side reads of one frame at most, in bytes: the header, and what follows it.
HEADER_LIMIT = 4 << 20
PAYLOAD_LIMIT = 8 << 20
#: What a look at a candidate may hold: bytes of one tensor, and of all values together. A right one has some
#: hundred kilobytes.
TENSOR_LIMIT = 1 << 20
SIGHTS_LIMIT = 2 << 20
#: Bytes that a value costs of that beside its content.
_OVERHEAD = 50
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
    "matplotlib": ("matplotlib.pyplot",),
    "optim": ("torch._dynamo",),  # a step of PyTorch's optimizers imports it
    "scipy": ("scipy", "scipy.stats", "scipy.cluster.vq"),
    "sklearn": ("sklearn", "sklearn.preprocessing", "sklearn.decomposition"),
    **{name: (name,) for name in ("pandas", "seaborn")},
}
#: Of those, the ones that hold answers: when they came by another way, nobody knows where these stand.
WITH_ANSWERS = ("scipy", "sklearn")
#: What a file that a submission has made costs of what is kept, beside its bytes.
FILE_COST = 1 << 10
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


def write_bundle(bundle: BinaryIO, files: Mapping[str, bytes]) -> None:
    """Write files into one: their paths and sizes as JSON, with its length before it, then their contents."""
    listed = json.dumps([[name, len(content)] for name, content in files.items()]).encode()
    bundle.write(_LENGTHS.pack(len(listed), len(files)) + listed)
    for content in files.values():
        bundle.write(content)
    bundle.flush()
    bundle.seek(0)


def read_made(bundle: BinaryIO, limit: int) -> dict[str, bytes]:
    """The files that a submission has made, by path, from the beginning of a bundle.

    limit: bytes of all of them. Raises Broken where it is none, or holds more than that.
    """
    bundle.seek(0)
    try:
        length, _ = _LENGTHS.unpack(bundle.read(_LENGTHS.size))
        listed = json.loads(bundle.read(min(length, HEADER_LIMIT)))
        sizes = {str(name): int(size) for name, size in listed}
    except (struct.error, ValueError, TypeError, RecursionError):
        raise Broken("files that are none") from None
    if min(sizes.values(), default=0) < 0 or sum(sizes.values()) > limit:
        raise Broken("files that are too large")
    found = {}
    for name, size in sizes.items():
        content = bundle.read(size)
        path = PurePosixPath(name)
        if name.isprintable() and not path.is_absolute() and ".." not in path.parts:
            found[name] = content
    return found


def read_bundle(bundle: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """The files in what `write_bundle` wrote, as path and content."""
    length, _ = _LENGTHS.unpack(bundle.read(_LENGTHS.size))
    for name, size in json.loads(bundle.read(length)):
        yield name, bundle.read(size)


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
        return {"foreign": value.type[:TEXT_LIMIT]}
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
