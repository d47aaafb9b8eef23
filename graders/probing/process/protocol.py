"""What crosses the wall: frames of JSON and bytes. (`graders.probing.process.values` has values and tensors.)

Nothing that is read here is ever executed or unpickled. The trusted side reads what an attacker may have
written, so every length is checked before it is believed, and every malformed frame ends in `Broken`.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, BinaryIO

_LENGTHS = struct.Struct("!II")
#: What the trusted side reads of one frame at most, in bytes: the header, and what follows it.
HEADER_LIMIT = 4 << 20
PAYLOAD_LIMIT = 8 << 20
#: Folders in each other in which files are looked at; not every version of Python reaches what lies deeper.
DEEPEST = 64
#: How Broken says that the other side is gone, however that comes.
_CLOSED = "the connection was closed"
#: Longer strings are cut.
TEXT_LIMIT = 20_000
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
    "torch": ("torch",),
    "matplotlib": ("matplotlib.pyplot",),
    "mathtext": ("matplotlib.mathtext",),  # formulas in figures; a notebook has another name for it
    "random": ("numpy.random",),
    "optim": ("torch._dynamo",),  # a step of PyTorch's optimizers imports it
    "scipy": ("scipy", "scipy.stats", "scipy.cluster.vq"),
    "sklearn": ("sklearn", "sklearn.preprocessing", "sklearn.decomposition"),
    "statsmodels": ("statsmodels.api",),
    **{name: (name,) for name in ("networkx", "pandas", "PIL", "plotly", "seaborn", "sympy")},
}
#: Of those, the ones that hold answers: when they came by another way, nobody knows where these stand.
WITH_ANSWERS = ("torch", "scipy", "sklearn")
#: How many files of libraries are told of one cell's errors, and how many the warm process reads in all.
FILES_TOLD, FILES_READ = 10, 20
#: What a file that a submission has made costs of what is kept, beside its bytes.
FILE_COST = 1 << 10


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
    except OSError:
        raise Broken(_CLOSED) from None


def receive(channel: socket.socket, deadline: float | None = None) -> tuple[dict[str, Any], bytes]:
    """Read one frame, until `deadline` on the monotonic clock. Raises Broken or Late."""
    return _received(lambda count: _exactly(channel, count, deadline))


def read_frame(stream: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """Read one frame that was kept, as it would be received. Raises Broken."""

    def exactly(count: int) -> bytes:
        content = stream.read(count)
        if len(content) < count:
            raise Broken("a frame that is cut off")
        return content

    return _received(exactly)


def _received(exactly: Callable[[int], bytes]) -> tuple[dict[str, Any], bytes]:
    """A frame of which `exactly` gives the next bytes, as many as it is asked for."""
    head, payload = _LENGTHS.unpack(exactly(_LENGTHS.size))
    if head > HEADER_LIMIT or payload > PAYLOAD_LIMIT:
        raise Broken("a frame that is too large")
    try:
        header = json.loads(exactly(head))
    except (ValueError, RecursionError):
        raise Broken("a frame that is no JSON") from None
    if not isinstance(header, dict):
        raise Broken("a frame that is no JSON object")
    return header, exactly(payload)


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
        except OSError:
            raise Broken(_CLOSED) from None
        if not part:
            raise Broken(_CLOSED)
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
        deep = len(path.parts) > DEEPEST
        if name.isprintable() and not deep and not path.is_absolute() and ".." not in path.parts:
            found[name] = content
    return found


def is_deepest(folder: str, within: str) -> bool:
    """Whether what lies in the folders of a folder is too deep to be looked at. within: the outermost one."""
    return folder.count(os.sep) - within.count(os.sep) >= DEEPEST - 1


def read_bundle(bundle: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """The files in what `write_bundle` wrote, as path and content."""
    length, _ = _LENGTHS.unpack(bundle.read(_LENGTHS.size))
    for name, size in json.loads(bundle.read(length)):
        yield name, bundle.read(size)
