"""Closes the library's own answers in a submission's process while a check runs there, from outside of it.

Whatever stands in the process itself can be undone by what runs there: names, tables, kernels in the
dispatcher. So nothing is asked of it. This side writes into its memory (`/proc/PID/mem`, which the kernel
lets the one do who started it) where each of the library's answers begins, and puts back what stood there
when the answer to the check has come:

- the compiled functions that carry a barred operator's name, and the kernels below them: whatever name, key,
  thread, TorchScript unit or C++ function leads there, it meets a jump to PyTorch's own function for raising
  an error;
- the engine of differentiation, where that is barred, and the functions that nodes of its graph are;
- what the library writes in Python (layers, optimizers, decompositions, scikit-learn's scalers): the first
  instructions of each function become `raise AssertionError`.

The process tells where these stand (`graders.probing.process.places`) before it has run anything of a
student's.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import platform
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from graders.probing.exercise import AUTOGRAD, LAYER, OPTIMIZER
from graders.probing.observe import CLOSED, RAISE

#: Symbols of a library by which answers to barred differentiation are reached, as the linker writes them.
_ENGINE = (
    *(b"8autograd6Engine7execute", b"8autograd6Engine23execute_with_graph_task"),
    *(b"8autograd10DistEngine7execute", b"8autograd12AutogradMeta11set_fw_grad", b"_make_dual"),
    b"3jit13differentiate",
)
#: Whose compiled functions are looked through, by the beginning of a library's file name.
_COMPILED = ("libtorch_cpu", "libtorch_cuda")
_RAISES = b"_ZN3c106detail14torchCheckFailEPKcS2_jS2_"
_SYMBOL = np.dtype(
    [
        *(("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2")),
        *(("value", "<u8"), ("size", "<u8")),
    ]
)
_FUNCTION, _DATA = 2, 1
#: What a library of 64 bits begins with, in its file and in memory.
_ELF = b"\x7fELF\x02\x01"
_ELSEWHERE = "PyTorch's libraries do not stand where the grader looks for them."
#: How far the parts of a library may be from where its file says, in bytes: linkers leave pages between them.
_PAGES = 1 << 24
#: A kernel for vector units, to which a table of PyTorch's points.
_KERNEL = re.compile(rb"DispatchStub.*(7DEFAULT|4AVX2|6AVX512|4VSX|7ZVECTOR|6SVE256|3SVE\d*)E$")


class CannotClose(Exception):
    """The library's answers cannot be closed here; the text says why."""


class Vanished(Exception):
    """The process is gone, and its memory with it."""


class Library:
    """A compiled library's file: where its symbols stand.

    first: the place of its own first byte, as it counts. That is 0 but where who packed it has put something
    before its beginning, as in PyTorch's builds for 64-bit Arm.
    """

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            symbols, self._names = _dynamic_symbols(data)
            self.first = _first(data)
        symbols = symbols[symbols["value"] > 0]
        self._symbols = symbols[np.argsort(symbols["name"])]
        self._starts = np.ascontiguousarray(self._symbols["name"])

    def find(self, words: Iterable[bytes]) -> set[tuple[bytes, int, int, int]]:
        """Symbols whose name has one of these words in it: name, kind, place, size."""
        return set().union(*map(self._with, words))

    @cache  # noqa: B019 (libraries are few, and stay)
    def _with(self, word: bytes) -> frozenset[tuple[bytes, int, int, int]]:
        starts = set()
        place = self._names.find(word)
        while place >= 0:
            starts.add(self._names.rfind(b"\0", 0, place) + 1)
            place = self._names.find(word, place + 1)
        found = np.fromiter(sorted(starts), np.uint32, len(starts))
        first, last = (np.searchsorted(self._starts, found, side) for side in ("left", "right"))
        return frozenset(
            self._read(one) for i, j in zip(first, last, strict=True) for one in self._symbols[i:j]
        )

    def _read(self, symbol: np.void) -> tuple[bytes, int, int, int]:
        start = int(symbol["name"])
        name = self._names[start : self._names.index(b"\0", start)]
        return name, int(symbol["info"]) & 15, int(symbol["value"]), int(symbol["size"])


def _dynamic_symbols(data: mmap.mmap) -> tuple[np.ndarray, bytes]:
    """The table of an ELF file's dynamic symbols, and the text of their names."""
    if data[: len(_ELF)] != _ELF:
        raise CannotClose("PyTorch's libraries are in no format that the grader can read.")
    (headers,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    places = range(headers, headers + count * size, size)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, place) for place in places]
    table = next(section for section in sections if section[1] == 11)  # SHT_DYNSYM
    names = sections[table[6]]
    symbols = np.frombuffer(data[table[4] : table[4] + table[5]], _SYMBOL)
    return symbols, data[names[4] : names[4] + names[5]]


def _first(data: mmap.mmap) -> int:
    """Where an ELF file's first byte is to stand, in the count of its symbols."""
    (headers,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for place in range(headers, headers + count * size, size):
        kind, _, offset, address = struct.unpack_from("<IIQQ", data, place)
        if kind == 1 and not offset:  # PT_LOAD
            return address
    raise CannotClose("PyTorch's libraries are not loaded from their beginning on, as the grader expects.")


@cache
def _library(path: str) -> Library:
    return Library(path)


def read_ahead(folder: Path, bars: Iterable[frozenset[str]]) -> None:
    """Look through PyTorch's libraries now, so that no submission has to wait for it.

    folder: where they lie. bars: what exercises bar.
    """
    words = {word for barred in bars for word in _symbols(barred)}
    for path in folder.resolve().iterdir():
        if path.name.startswith(_COMPILED):
            _library(str(path)).find(words)


class Places:
    """Where answers stand in the processes of one box, and what stood there at first.

    told: what `graders.probing.process.places.told` says of them.
    """

    def __init__(self, told: Mapping[str, Any]) -> None:
        self._libraries: dict[str, int] = told["libraries"]
        self._written: list[tuple[str, str, int, int]] = [tuple(one) for one in told["functions"]]
        self._node_call: int = told["node_call"]
        self._closed: dict[frozenset[str], tuple[tuple[int, bytes, bytes], ...]] = {}

    def learn(self, bars: Iterable[frozenset[str]], memory: int) -> None:
        """Read what stands where all of these are closed, if that is not known yet.

        memory: that of a process which has not run anything of a student's. One that has could say what it
        likes, and would have that written into the processes of those who come after it.
        """
        for barred in bars:
            if barred not in self._closed:
                self._closed[barred] = self._read(barred, memory)

    def of(self, barred: frozenset[str]) -> tuple[tuple[int, bytes, bytes], ...]:
        """(address, what is written there, what stands there) for all that this bars, once it is learned."""
        return self._closed[barred]

    def _read(self, barred: frozenset[str], memory: int) -> tuple[tuple[int, bytes, bytes], ...]:
        if not barred:
            return ()
        written = dict(self._compiled(barred, memory))
        written |= dict.fromkeys(self._python(barred), RAISE)
        return tuple(
            (address, code, _standing(memory, len(code), address))
            for address, code in sorted(written.items())
        )

    def are_elsewhere_too(self, maps: bytes) -> bool:
        """Whether a process has the code of one of the libraries a second time. maps: its /proc/PID/maps."""
        for line in maps.decode(errors="replace").splitlines():
            where, rights, offset, _, _, *path = line.split(None, 5)
            if path and "x" in rights and path[0] in self._libraries:
                start = int(where.partition("-")[0], 16) - int(offset, 16)
                if not 0 <= start - self._libraries[path[0]] < _PAGES:
                    return True
        return False

    def _compiled(self, barred: frozenset[str], memory: int) -> Iterator[tuple[int, bytes]]:
        if AUTOGRAD & barred:
            yield self._node_call, _code().nothing
        raises = self._address_of("libc10", _RAISES)
        for path, begins in self._libraries.items():
            if not Path(path).name.startswith(_COMPILED):
                continue
            if _standing(memory, len(_ELF), begins) != _ELF:
                raise CannotClose(_ELSEWHERE)
            base = self._base(path)
            sizes: dict[int, int] = {}
            for name, kind, place, size in _library(path).find(_symbols(barred)):
                if kind == _FUNCTION and (name.startswith(b"_ZN2at") or any(one in name for one in _ENGINE)):
                    sizes[base + place] = max(size, sizes.get(base + place, 0))
                elif kind == _DATA and _KERNEL.search(name):
                    sizes.setdefault(int.from_bytes(_standing(memory, 8, base + place), "little"), 0)
            sizes.pop(0, None)
            if not sizes:
                continue
            largest = max(sizes, key=sizes.__getitem__)
            for address, size in sizes.items():
                jump = _code().jump(address, largest)
                if not size or size >= len(jump):  # a smaller one only leads to another of them
                    yield address, jump
            yield largest, _code().throw(largest, raises)

    def _base(self, path: str) -> int:
        """The address from which a library counts its symbols."""
        return self._libraries[path] - _library(path).first

    def _python(self, barred: frozenset[str]) -> Iterator[int]:
        if not self._written:
            raise CannotClose("This Python keeps the instructions of its functions in an unknown place.")
        words = [word.decode() for word in _words(barred)]
        for kind, function, address, size in self._written:
            closed = kind in barred if kind else any(word in function for word in words)
            if closed and size >= len(RAISE):
                yield address

    def _address_of(self, library: str, symbol: bytes) -> int:
        for path in self._libraries:
            if Path(path).name.startswith(library):
                for name, _, place, _ in _library(path).find([symbol]):
                    if name == symbol:
                        return self._base(path) + place
        raise CannotClose("This PyTorch has no function that raises its errors by the name known here.")


def _standing(memory: int, size: int, address: int) -> bytes:
    """What stands in a process's memory at an address. Raises CannotClose where it has nothing there, and
    Vanished where it is gone.
    """
    try:
        found = os.pread(memory, size, address)
    except OSError:
        raise CannotClose(_ELSEWHERE) from None
    if len(found) != size:
        raise Vanished
    return found


def _words(barred: frozenset[str]) -> list[bytes]:
    """How the names of barred operators are written within other names: batch_norm, BatchNorm."""
    operators = barred - AUTOGRAD - {LAYER, OPTIMIZER}
    shortest = {name for name in operators if not any(other in name for other in operators - {name})}
    camel = {"".join(part.title() for part in name.split("_")) for name in shortest}
    return sorted(name.encode() for name in shortest | camel)


def _symbols(barred: frozenset[str]) -> tuple[bytes, ...]:
    """What compiled functions are looked for by."""
    return (*_words(barred), *(_ENGINE if AUTOGRAD & barred else ()))


@contextmanager
def closed(places: Places, barred: frozenset[str], memory: int) -> Iterator[None]:
    """A context in which a process has none of the answers that `barred` names.

    memory: /proc/PID/mem of the process, open for writing. Raises CannotClose where the answers cannot be
    closed, Vanished where there is no such process any more, and Reopened where the process has let go of
    their places, or at the end where they did not stay closed.
    """
    there = places.of(barred)
    for address, code, _ in there:
        try:
            written = os.pwrite(memory, code, address)
        except OSError as error:
            _found(memory, code, address)
            text = f"The memory of a submission's process cannot be written ({error.strerror})."
            raise CannotClose(text) from None
        if written != len(code):
            raise Vanished
    try:
        yield
        compiled = [one for one in there if one[1] is not RAISE]  # Python notes in its code that it has run
        if any(_found(memory, code, address) != code for address, code, _ in compiled):
            raise Reopened
    finally:
        with contextlib.suppress(OSError):  # it is gone
            for address, _, before in there:
                os.pwrite(memory, before, address)


def _found(memory: int, code: bytes, address: int) -> bytes:
    """What stands in the place of this code. Raises Vanished, and Reopened where there is no such place."""
    try:
        found = os.pread(memory, len(code), address)
    except OSError:
        raise Reopened from None
    if len(found) != len(code):
        raise Vanished
    return found


class Reopened(Exception):
    """What had been closed was not closed any more when the answer came."""


class _X86:
    """Machine code for x86-64."""

    #: Return 0, which tells CPython that there was an error.
    nothing = bytes.fromhex("31c0c3")

    def jump(self, at: int, to: int) -> bytes:
        return b"\xe9" + struct.pack("<i", to - at - 5)

    def throw(self, at: int, raises: int) -> bytes:
        """Call raises("", "", 0, CLOSED), which does not return, as if whoever called this had called it."""
        text = at + 54
        empty = text + len(CLOSED)
        code = b"\x48\xbf" + struct.pack("<Q", empty) + b"\x48\xbe" + struct.pack("<Q", empty)
        code += b"\xba" + struct.pack("<I", 0) + b"\x48\xb9" + struct.pack("<Q", text)
        code += b"\x48\xb8" + struct.pack("<Q", raises) + b"\xff\xe0"
        return code.ljust(54, b"\x90") + CLOSED.encode() + b"\0"


class _Arm64:
    """Machine code for 64-bit Arm."""

    nothing = bytes.fromhex("000080d2c0035fd6")

    def jump(self, at: int, to: int) -> bytes:
        """By way of x16, which is there for jumps that are too far for one instruction."""
        return struct.pack("<IIQ", 0x58000050, 0xD61F0200, to)

    def throw(self, at: int, raises: int) -> bytes:
        """The same as on x86-64; the addresses stand behind the six instructions, each loaded from there."""
        text = at + 24 + 5 * 8
        empty = text + len(CLOSED)
        words = [empty, empty, 0, text, raises]
        code = b""
        for position, register in enumerate((0, 1, 2, 3, 16)):
            distance = 24 + 8 * position - 4 * position
            code += struct.pack("<I", 0x58000000 | (distance // 4) << 5 | register)
        code += struct.pack("<I", 0xD61F0200)
        return code + struct.pack("<5Q", *words) + CLOSED.encode() + b"\0"


@cache
def _code() -> _X86 | _Arm64:
    kinds = {"x86_64": _X86, "amd64": _X86, "aarch64": _Arm64, "arm64": _Arm64}
    kind = kinds.get(platform.machine().lower())
    if not kind:
        raise CannotClose(
            f"Checks can be graded on x86-64 and 64-bit Arm; this machine is {platform.machine()}."
        )
    return kind()
