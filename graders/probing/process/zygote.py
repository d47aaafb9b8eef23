"""The warm process in the jail: imports what submissions import, once, and forks for each of them.

It runs no student's code itself, has one thread and knows no secret. A fork puts further limits and a
stricter seccomp filter on itself before it reads the first cell. When it has ended, the zygote empties
every folder that can be written to; where that fails it says so, and the box is thrown away.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import resource
import socket
import stat
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_SET_PDEATHSIG = 4, 22, 38, 1
_SECCOMP_MODE_FILTER = 2
_SIGKILL = 9
#: How deep folders may be nested in what a submission leaves behind, for the box to be kept.
_DEPTH = 40
#: Seconds that a thread has to end in that an import has started and told to.
_ENDING = 5.0
#: Lines of libraries that are read at most, since errors have passed them: some 100 MB.
_LINES = 60_000
#: When a submission's files were changed last, in nanoseconds, as long as its code has not changed them.
_GIVEN = 946_684_800_000_000_001


def main(control: int, libraries: list[str], writable: list[str]) -> None:
    """Serve forks on the control socket until it is closed.

    libraries: names in `protocol.LIBRARIES` that are imported before it says that it is ready. writable: the
    folders to be emptied.
    """
    channel = socket.socket(fileno=control)
    kept = frozenset((entry.path, entry.inode()) for folder in writable for entry in os.scandir(folder))
    told: dict[str, Any] | None = None
    looking, lines = None, _LINES
    with _importing():
        from graders.probing.process import runner

        shell = runner.make_shell()
        runner.warm_up(shell)
    _prctl(_PR_SET_DUMPABLE, 0)  # a fork cannot look into this process or change it

    def prepare(names: list[str]) -> None:
        """Import libraries, and say that it is done: with PyTorch, also where answers stand."""
        nonlocal told, looking
        with _importing():
            runner.import_libraries(shell, names)
            if "torch" in sys.modules:
                from graders.probing.process import places  # it imports PyTorch

                if told:
                    told["functions"] += places.functions()
                else:
                    gc.unfreeze()  # what other libraries brought before is to be looked through as well
                    looking, told = runner.looking(), places.told()
        _emptied(writable, kept)  # of what imports leave
        _answer(channel, {"ready": os.getpid(), "threads": _threads(), "places": told})

    prepare(libraries)
    pristine = runner.pristine()
    while True:
        data, handles, _, _ = socket.recv_fds(channel, 1 << 16, 3)
        if not data:
            os._exit(0)
        request = json.loads(data)
        if "libraries" in request:
            prepare(request["libraries"])
            pristine = runner.pristine()
            continue
        student, bundle, made = handles
        if request["sources"]:
            with _importing():
                lines = runner.read_sources(request["sources"], lines)
        child = os.fork()
        if child == 0:
            channel.close()
            os.close(made)
            with contextlib.suppress(BaseException):
                _become_student(student, bundle, request)
                theirs = socket.socket(fileno=student)
                runner.serve(theirs, shell, request["limits"]["output"], pristine, looking)
            os._exit(1)
        os.close(student)
        os.close(bundle)
        _, status = os.waitpid(child, 0)
        left_out = _hand_over(request["work"], made, request["limits"]["made"])
        clean = _emptied(writable, kept) and _alone()
        _answer(channel, {"ended": status, "clean": clean, "left_out": left_out})


def _threads() -> int:
    """How many threads there are, when those that are about to end have had their time to.

    Matplotlib sets a timer while it lists the fonts, and cancels it; on a busy machine the thread of that may
    be there long after.
    """
    end = time.monotonic() + _ENDING
    while (count := len(os.listdir("/proc/self/task"))) > 1 and time.monotonic() < end:
        time.sleep(0.002)
    return count


def _answer(channel: socket.socket, message: dict[str, Any]) -> None:
    channel.sendall(json.dumps(message).encode() + b"\n")


@contextlib.contextmanager
def _importing() -> Iterator[None]:
    """Without the collector, which would look at all modules again and again while more are imported."""
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


def _become_student(channel: int, bundle: int, request: dict[str, Any]) -> None:
    """Take on the limits of a student's process and lay out the submission's files."""
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    os.chdir(request["work"])
    sys.path.insert(0, "")  # as in a Jupyter kernel: a submission's own modules can be imported
    with os.fdopen(bundle, "rb") as files:
        _lay_out(files)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = request["limits"]
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, limits["files"])
    _limit(resource.RLIMIT_NOFILE, 256)
    _limit(resource.RLIMIT_MSGQUEUE, 0)
    _limit(resource.RLIMIT_CPU, int(limits["notebook"]) + 5)
    if os.getuid() and request["count_processes"]:
        _limit(resource.RLIMIT_NPROC, limits["threads"])
    if not request["gpu"]:  # CUDA reserves address space by the terabyte
        _limit(resource.RLIMIT_AS, used + limits["memory"])
    _prctl(_PR_SET_DUMPABLE, 1)  # the other side takes hold of its memory now
    if request["filter"]:
        _install(bytes.fromhex(request["filter"]))
    with socket.socket(fileno=os.dup(channel)) as greeting:
        # The kernel itself tells the other side which process this is, so that it can end it.
        credentials = struct.pack("3i", os.getpid(), os.getuid(), os.getgid())
        greeting.sendmsg([b"!"], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, credentials)])
        greeting.recv(1)
    _prctl(_PR_SET_DUMPABLE, 0)  # it cannot write into its own memory past Python


def _lay_out(bundle: BinaryIO) -> None:
    """Write the submission's own copies of its files where the notebook runs."""
    from graders.probing.process import protocol

    for name, content in protocol.read_bundle(bundle):
        path = Path(name)
        if path.is_absolute() or ".." in path.parts:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o644)
        os.utime(path, ns=(_GIVEN, _GIVEN))


def _hand_over(work: str, made: int, limit: int) -> int:
    """Write the files that a submission has made or changed, up to so many bytes; returns how many are not.

    Notebooks are none of them, nor what is hidden: there lie the caches of libraries.
    """
    from graders.probing.process import protocol

    found: dict[str, bytes] = {}
    left_out = 0
    with os.fdopen(made, "wb") as bundle, contextlib.suppress(OSError, RecursionError):
        for place, folders, names in os.walk(work):
            folders[:] = [name for name in folders if name[0] != "." and name != "__pycache__"]
            if folders and protocol.is_deepest(place, work):
                left_out += len(folders)
                folders.clear()
            for name in names:
                path = os.path.join(place, name)
                status = os.lstat(path)
                if name[0] == "." or name.lower().endswith(".ipynb") or status.st_mtime_ns == _GIVEN:
                    continue
                own = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
                if own and status.st_size <= limit and path.isprintable() and os.access(path, os.R_OK):
                    found[os.path.relpath(path, work)] = Path(path).read_bytes()
                    limit -= status.st_size + protocol.FILE_COST
                else:
                    left_out += 1
        protocol.write_bundle(bundle, found)
    return left_out


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _prctl(*arguments: int) -> None:
    values = [*arguments, 0, 0, 0, 0][:5]
    if ctypes.CDLL(None, use_errno=True).prctl(*[ctypes.c_ulong(value) for value in values]):
        raise OSError(ctypes.get_errno(), "prctl")


def _install(program: bytes) -> None:
    """Put a seccomp program on this process, and with it on its threads."""

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]

    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    buffer = ctypes.create_string_buffer(program, len(program))
    loaded = Program(len(program) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(loaded), 0, 0]
    if libc.prctl(*[ctypes.c_ulong(value) for value in arguments]):
        raise OSError(ctypes.get_errno(), "seccomp")


def _emptied(folders: list[str], kept: frozenset[tuple[str, int]]) -> bool:
    """Remove everything in these folders but what leads to Python; False where anything else is there then.

    kept: path and inode of what leads to Python.
    """
    there = set()
    for folder in folders:
        with contextlib.suppress(OSError):
            os.chmod(folder, stat.S_IRWXU)
        try:
            for entry in os.scandir(folder):
                if (entry.path, entry.inode()) not in kept:
                    _removed(entry, _DEPTH)
            there |= {(entry.path, entry.inode()) for entry in os.scandir(folder)}
        except (OSError, RecursionError):
            return False
    return there == kept


def _removed(entry: os.DirEntry, depth: int) -> None:
    if not entry.is_dir(follow_symlinks=False):
        os.unlink(entry.path)
        return
    if not depth:
        raise OSError("too deep")
    os.chmod(entry.path, stat.S_IRWXU)
    with os.scandir(entry.path) as inner:
        for one in inner:
            _removed(one, depth - 1)
    os.rmdir(entry.path)


def _alone() -> bool:
    """Whether no process is left but this one."""
    if "GRADERS_NO_JAIL" in os.environ:
        return True
    return [name for name in os.listdir("/proc") if name.isdigit()] == [str(os.getpid())]


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2].split(), sys.argv[3:])
