"""Python that has imported what commands and kernels import, and forks for each that a test starts.

    with the arguments that Python would have: [*warm.python(), "-m", "nbgrader", "autograde", "day26"]

To import PyTorch, nbgrader and scikit-learn takes seconds, and a run of all tests starts a hundred such
processes. What a test starts in this way is a thin process, which hands its arguments, environment, folder
and standard streams to the warm one. That forks; the fork runs the module as `python -m` does, and the thin
process ends as the fork did. What is sent to it as a signal, the fork gets too.

Not for tests of how processes start, end or descend from each other: the fork is no child of the thin one.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
#: Where a warm process listens, once there is one; tests' processes that come from one another share it.
ADDRESS = "TESTS_WARM"
#: What is imported ahead. Nothing that looks at import for the kernel that it is in: no widgets, no pyplot.
IMPORTED = (
    *("graders.batch.preload", "graders.batch.judge_ahead", "graders.batch.run", "graders.batch.gradebook"),
    *("graders.batch.seam", "graders.cli", "nbgrader.apps.nbgraderapp", "nbgrader.converters"),
    *("ipykernel.kernelapp", "matplotlib.figure", "matplotlib.backends.backend_agg", "sklearn.datasets"),
)
#: Whether there is a warm process: pytest says so. A benchmark, which takes from the tests how a course is
#: made, starts its commands as people do.
wanted = False
_LENGTH = struct.Struct("!I")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def python() -> list[str]:
    """Python to begin a command with: the warm one's where there can be one."""
    if not wanted or not sys.platform.startswith("linux"):
        return [sys.executable]
    address = os.environ.get(ADDRESS) or _started()
    return [sys.executable, "-I", "-S", str(Path(__file__)), address]


def kernel() -> dict[str, Any]:
    """A kernel specification like that of ipykernel, for a kernel that is forked from the warm process."""
    command = [*python(), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    return {
        "argv": command,
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "metadata": {"debugger": True},
    }


def kernels(folder: Path) -> dict[str, str]:
    """What in the environment of a command has it start such kernels, which are laid into a folder."""
    place = folder / "kernels" / "python3"
    place.mkdir(parents=True, exist_ok=True)
    (place / "kernel.json").write_text(json.dumps(kernel()))
    return {"JUPYTER_PATH": str(folder)}


def _started() -> str:
    """Start the warm process, which ends with this one; returns its address."""
    # A socket's address may have some hundred characters.
    folder = tempfile.mkdtemp(prefix="warm-", dir="/tmp" if len(tempfile.gettempdir()) > 60 else None)
    os.environ[ADDRESS] = address = f"{folder}/socket"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    with listener:
        subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(listener.fileno()), str(os.getpid())],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),  # else it has threads
                "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            },
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    return address


# The thin process


def hand_over(address: str, arguments: list[str]) -> int:
    """Have a fork run what Python's arguments say; returns the status with which it ended."""
    channel = socket.socket(socket.AF_UNIX)
    channel.connect(address)
    request = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    text = json.dumps(request).encode("utf-8", "surrogateescape")
    socket.send_fds(channel, [_LENGTH.pack(len(text))], [0, 1, 2])
    channel.sendall(text)
    (pid,) = _LENGTH.unpack(_received(channel, _LENGTH.size))
    for number in _SIGNALS:
        signal.signal(number, lambda number, frame: os.kill(pid, number))
    (status,) = _LENGTH.unpack(_received(channel, _LENGTH.size))
    if os.WIFSIGNALED(status):
        signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    return os.WEXITSTATUS(status)


def _received(channel: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = channel.recv(size - len(data))
        if not part:
            raise EOFError("the warm process has gone")
        data += part
    return data


# The warm process


def serve(listener: socket.socket, owner: int) -> tuple[list[int], dict] | None:
    """Fork for whoever asks, until the owner is gone; a fork gets the streams and what is asked for."""
    watch = os.pidfd_open(owner)
    poll = select.poll()
    for handle in (listener.fileno(), watch):
        poll.register(handle, select.POLLIN)
    asking: dict[
        int, tuple[socket.socket, int, int]
    ] = {}  # by either handle: the channel, the fork, its handle
    while True:
        for handle, _ in poll.poll():
            if handle == watch:
                for _, pid, _ in asking.values():
                    _end(pid)
                shutil.rmtree(os.getcwd(), ignore_errors=True)  # where the socket lies
                return None
            if handle == listener.fileno():
                channel, _ = listener.accept()
                pid = os.fork()
                if pid == 0:
                    os.setsid()
                    listener.close()
                    for other, _, one in set(asking.values()):
                        other.close()
                        os.close(one)
                    os.close(watch)
                    return _asked(channel)
                one = os.pidfd_open(pid)
                asking[channel.fileno()] = asking[one] = channel, pid, one
                for handle in (channel.fileno(), one):
                    poll.register(handle, select.POLLIN if handle == one else select.POLLHUP)
            elif handle in asking:
                channel, pid, one = asking[handle]
                if handle != one:  # the thin process was killed
                    _end(pid)
                _, status = os.waitpid(pid, 0)
                for handle in (channel.fileno(), one):
                    poll.unregister(handle)
                    del asking[handle]
                with contextlib.suppress(OSError):
                    channel.sendall(_LENGTH.pack(status))
                channel.close()
                os.close(one)


def _end(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(pid, signal.SIGKILL)


def _asked(channel: socket.socket) -> tuple[list[int], dict]:
    """In the fork: what the thin process asks for, and its streams."""
    head, streams, _, _ = socket.recv_fds(channel, _LENGTH.size, 3)
    head += _received(channel, _LENGTH.size - len(head))
    request = json.loads(_received(channel, _LENGTH.unpack(head)[0]).decode("utf-8", "surrogateescape"))
    channel.sendall(_LENGTH.pack(os.getpid()))
    channel.close()
    return streams, request


def become(streams: list[int], request: dict) -> str:
    """Take on the streams, the folder, the environment and the arguments; returns the module to run."""
    import multiprocessing.process

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None  # by the environment
    multiprocessing.process.ORIGINAL_DIR = os.getcwd()
    option, module, *arguments = request["arguments"]
    assert option == "-m", "the warm process runs modules alone"
    _fork_the_fork_server()
    sys.argv[:] = [module, *arguments]
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [os.getcwd(), *given, *(path for path in sys.path[1:] if path != str(ROOT))]
    return module


def _fork_the_fork_server() -> None:
    """Have the process from which a command's workers are forked be a fork as well: it has imported all."""
    from multiprocessing import util

    spawn = util.spawnv_passfds

    def spawned(path: bytes, arguments: list[str], handles: list[int]) -> int:
        if "multiprocessing.forkserver" not in arguments[-1]:
            return spawn(path, arguments, handles)
        pid = os.fork()
        if pid == 0:
            for handle in {int(name) for name in os.listdir("/proc/self/fd")} - {0, 1, 2, *handles}:
                with contextlib.suppress(OSError):  # by which they were listed
                    os.close(handle)
            try:
                exec(arguments[-1], {})
            finally:
                os._exit(0)
        return pid

    util.spawnv_passfds = spawned


_SERVE = """
import gc, importlib, os, runpy, socket, sys
from tests import warm

gc.disable()  # it would look at all modules again and again while more are imported
for name in warm.IMPORTED:
    importlib.import_module(name)
assert len(os.listdir("/proc/self/task")) == 1, "a process with threads cannot be forked"
gc.freeze()
gc.enable()
asked = warm.serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
if asked:
    runpy.run_module(warm.become(*asked), run_name="__main__", alter_sys=True)
"""

if __name__ == "__main__":
    sys.exit(hand_over(sys.argv[1], sys.argv[2:]))
