"""The trusted side of the jail: starts it, has it fork for a submission, talks to the fork, and ends it.

A `Box` is one jail with its warm process. A `Session` is one submission's fork in it; there is one at a
time. Every answer has a deadline, and whoever misses it is killed from out here.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import re
import secrets
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graders.probing.process import protocol
from graders.sandbox import jail
from graders.sandbox.jail import Cgroup, Limits, NoSandbox

if TYPE_CHECKING:  # they import PyTorch, which a submission without checks has no need of
    from multiprocessing.connection import Connection

    from graders.probing.exercise import Exercise
    from graders.probing.observe import Sight, Survey
    from graders.sandbox.closing import Places

#: Seconds in which the warm process has to be ready, and in which it has to answer about a fork.
STARTUP = 120.0
ANSWER = 20.0
#: Seconds that a cell has to give in after an interrupt, before it is killed.
GRACE = 2.0
#: What an output counts for at least of what is kept, in bytes; and how many bytes a second are read of those
#: that are not kept.
SMALLEST = 50
THROWN_AWAY = 32 << 20
#: How long a path may be that a submission's process tells, in bytes of JSON.
_PATH = 1000
_THREADS = (
    "No process can be forked for a submission: one of the libraries that are imported for it runs threads "
    "here as soon as it is imported. PyTorch, NumPy and the others do not as pip installs them."
)


class _Ended(Exception):
    """outputs: what the cell had written until then."""

    def __init__(self, text: str, outputs: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__(text)
        self.outputs = outputs


class Stopped(_Ended):
    """A submission's process is no more. The text says why, as a sentence for the student."""


class Unusable(Exception):
    """The box itself failed; the submission may be tried again in another one."""


class Unforeseen(Exception):
    """A submission has imported libraries with answers that nobody knew of; it can be run again with these.

    libraries: their names in `protocol.LIBRARIES`.
    """

    def __init__(self, libraries: set[str]) -> None:
        super().__init__(", ".join(sorted(libraries)))
        self.libraries = libraries


class TimedOut(_Ended):
    """A cell took too long and was interrupted; the process is still there."""


class _Launcher:
    """One thread that lives as long as this process and starts every jail.

    `--die-with-parent` ends a jail with the *thread* that started it, so a thread of a pool is no parent.
    """

    def __init__(self) -> None:
        self._asked: queue.Queue[tuple[Callable[[], Any], queue.Queue]] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def call(self, action: Callable[[], Any]) -> Any:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, daemon=True, name="jail launcher")
                self._thread.start()
        answer: queue.Queue = queue.Queue()
        self._asked.put((action, answer))
        result, error = answer.get()
        if error:
            raise error
        return result

    def _run(self) -> None:
        while True:
            action, answer = self._asked.get()
            try:
                answer.put((action(), None))
            except BaseException as error:
                answer.put((None, error))


_launcher = _Launcher()


class Box:
    """A jail with a warm process in it.

    sandbox: "bwrap" or "none". gpu: whether the jail may use CUDA. hidden: folders that must not be seen in
    it. libraries: names in `protocol.LIBRARIES` that the warm process imports at once; without PyTorch there
    are no checks in it. bars: what checks may bar, asked for where there can be any. Raises NoSandbox where
    there is no sandbox to be had. Use it as a context, or `close` it.
    """

    def __init__(
        self,
        sandbox: str = "bwrap",
        *,
        gpu: bool = False,
        limits: Limits | None = None,
        hidden: Sequence[str] = (),
        libraries: Iterable[str] = ("torch",),
        bars: Callable[[], Iterable[frozenset[str]]] = frozenset,
    ) -> None:
        self.sandbox, self.gpu, self.limits, self.hidden = sandbox, gpu, limits or Limits(), hidden
        self.libraries, self.bars = frozenset(libraries) & protocol.LIBRARIES.keys(), bars
        self.process: subprocess.Popen | None = None
        self.first: int | None = None  # the first process in the jail, as this side counts
        self.folder: Path | None = None
        self.cgroup: Cgroup | None = None
        self._filter = jail.student_filter().hex() if sandbox == "bwrap" else ""
        self._reader = b""
        self._ready = self._made = False
        self._told: Mapping[str, Any] | None = None  # where the warm process says that answers stand
        self._known: Places | None = None
        self._imported: set[str] = set()  # of what `protocol.LIBRARIES` names
        self._met: set[str] = set()  # files of libraries that errors have passed
        self._read: set[str] = set()  # of these, what the warm process has been told to read
        self.failed = False  # whether the warm process was gone after the last session
        self._changing = threading.RLock()  # so that a box which is being started is closed whole

    def __enter__(self) -> Box:
        self.start()
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    # Starting and ending

    def start(self) -> None:
        """Start the jail; returns at once. The first session waits until it is ready."""
        self.control, theirs = socket.socketpair()
        self._ready, self._reader, self._imported = False, b"", set(self.libraries)
        self._made, self._read = False, set()
        begin = self._start_without_jail if self.sandbox == "none" else self._start_in_jail
        atexit.register(self.close)
        with theirs, self._changing:
            try:
                _launcher.call(lambda: begin(theirs))
            except BaseException:
                self.close()
                raise

    def _start_in_jail(self, theirs: socket.socket) -> None:
        jail.end_orphans()
        with tempfile.TemporaryFile() as filters:
            filters.write(jail.jail_filter())
            filters.flush()
            filters.seek(0)
            told, tell = os.pipe()
            wait, go = os.pipe()
            program = self._program(jail.MOUNT, theirs)
            try:
                self.process = subprocess.Popen(
                    jail.command(
                        program=program,
                        info=tell,
                        block=wait,
                        filters=filters.fileno(),
                        gpu=self.gpu,
                        limits=self.limits,
                        hidden=self.hidden,
                    ),
                    env={},
                    pass_fds=(theirs.fileno(), tell, wait, filters.fileno()),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
                os.close(tell)
                tell = -1
                self.first = _child_of(told, self.process)
                os.write(go, b"!")  # it imports meanwhile; no submission is there before this is done
                self.cgroup = Cgroup(f"{jail.starter()}-{secrets.token_hex(4)}", self.limits)
                self.cgroup.take(self.first)
            finally:
                for handle in (told, tell, wait, go):
                    if handle >= 0:
                        os.close(handle)

    def _start_without_jail(self, theirs: socket.socket) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="graders-"))
        jail.students_side(self.folder / "side")
        (self.folder / "work").mkdir()
        side = str(self.folder / "side")
        environment = {**jail.environment(), "PATH": os.environ.get("PATH", ""), "GRADERS_NO_JAIL": "1"}
        for name in ("HOME", "TMPDIR", "MPLCONFIGDIR", "IPYTHONDIR"):
            environment[name] = str(self.folder / "work")
        self.process = subprocess.Popen(
            [sys.executable, *self._program(side, theirs)],
            env=environment,
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def _program(self, side: str, theirs: socket.socket) -> list[str]:
        """Python's arguments for the warm process. side: where it finds the student's side of the package."""
        libraries = " ".join(sorted(self.libraries))
        return ["-P", "-B", "-c", _START, side, str(theirs.fileno()), libraries, *self._writable()]

    @property
    def holds(self) -> list[str]:
        """Limits that do not hold everywhere: control groups, and "programs", which cannot be written."""
        programs = ["programs"] if self.sandbox == "bwrap" and jail.forbids_programs() else []
        return [*(self.cgroup.holds if self.cgroup else ()), *programs]

    def _writable(self) -> list[str]:
        return [self._work] if self.folder else jail.writable()

    @property
    def _work(self) -> str:
        return str(self.folder / "work") if self.folder else jail.WORK

    def close(self) -> None:
        """End everything in the box and wait until it is gone."""
        with self._changing:
            process, self.process = self.process, None
        if process is None:
            return
        atexit.unregister(self.close)
        self.control.close()  # the warm process ends by itself at this, unless something holds it
        if not self.failed:
            _wait_for(process, GRACE)
        if self.first and process.poll() is None:  # with the first process of a PID namespace all of it ends
            _kill(self.first)
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()
        if self.cgroup:
            self.cgroup.remove()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    # One submission

    def warm(self, over: Connection) -> None:
        """Wait until the jail is ready for a session. Raises Unusable, and NoSandbox where there is none.

        over: closed at the other end when the box is not needed any more; it is then closed as well.
        """
        if self.control in select.select([self.control, over], [], [], STARTUP)[0]:
            self._wait_until_ready()
        else:
            self.failed = True  # it imports, and does not listen
            self.close()

    @contextmanager
    def session(
        self, files: Mapping[str, bytes], libraries: Iterable[str] = (), *, checks: bool = True
    ) -> Iterator[Session]:
        """A fork for one submission. files: its data by relative path; it has copies of its own.

        libraries: names in `protocol.LIBRARIES` that the warm process imports first, if it has not yet.
        checks: whether candidates may be looked at, for which this side imports PyTorch as well.
        Raises Unusable where the box cannot serve; the box is then closed.
        """
        self.failed = False
        self._wait_until_ready()
        if missing := set(libraries) - self._imported:
            with self._failing():
                self.control.sendall(json.dumps({"libraries": sorted(missing)}).encode())
            self._ready, self._imported = False, self._imported | missing
            self._wait_until_ready()
        places = self._places() if checks else None
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        limits = self.limits
        sources = sorted(self._met - self._read)[: protocol.FILES_READ - len(self._read)]
        self._read.update(sources)
        request = {
            "sources": sources,
            "work": self._work,
            "filter": self._filter,
            "gpu": self.gpu,
            "count_processes": self.sandbox == "bwrap",
            "limits": asdict(limits),
        }
        with tempfile.TemporaryFile() as made:
            with tempfile.TemporaryFile() as bundle, theirs:
                protocol.write_bundle(bundle, files)
                with self._failing():
                    handles = [theirs.fileno(), bundle.fileno(), made.fileno()]
                    socket.send_fds(self.control, [json.dumps(request).encode()], handles)
            session = None
            try:
                with self._failing():
                    unknown = frozenset(protocol.WITH_ANSWERS) - self._imported
                    session = Session(ours, limits, places, unknown, self.bars, gpu=self.gpu)
                yield session
            finally:
                ours.close()
                if session:
                    session.close()
                    if len(self._met) < protocol.FILES_READ:
                        self._met |= session.met
                left_out = self._collect()
                if session and left_out is not None:
                    with contextlib.suppress(protocol.Broken):
                        found = protocol.read_made(made, limits.made)
                        session.made = {name: one for name, one in found.items() if one != files.get(name)}
                        session.left_out = left_out

    def _collect(self) -> int | None:
        """Wait for the end of the fork; a box that is not clean afterwards is closed.

        Returns how many of the files that it has made are not kept; None where nobody can say.
        """
        if self.process is None:  # it failed before there was one, and is closed
            return None
        try:
            answer = self._heard(time.monotonic() + ANSWER)
        except Unusable:
            self.failed = True
            self.close()
            return None
        if answer.get("clean") is not True:
            self.close()
        left_out = answer.get("left_out")
        return left_out if isinstance(left_out, int) else None

    def _wait_until_ready(self) -> None:
        if self.process is None:
            self.start()
        if not self._ready:
            try:
                answer = self._heard(time.monotonic() + STARTUP)
            except Unusable as problem:  # bubblewrap names the jail's first process before all is made
                _, bubblewrap, reason = str(problem).partition("bwrap: ")
                if bubblewrap and not self._made:
                    raise _no_sandbox(reason) from None
                raise
            if answer.get("threads") != 1:
                self.close()
                raise Unusable(_THREADS) if self._made else NoSandbox(_THREADS)
            self._told, self._known = answer["places"], None
            self._ready = self._made = True

    def _places(self) -> Places | None:
        """Where answers stand, if the warm process has imported PyTorch."""
        if self._known is None and self._told is not None:
            from graders.sandbox import closing

            self._known = closing.Places(self._told)
        return self._known

    def _heard(self, deadline: float) -> dict[str, Any]:
        """The next line from the warm process."""
        while b"\n" not in self._reader:
            left = deadline - time.monotonic()
            self.control.settimeout(max(left, 0.001))
            try:
                part = self.control.recv(1 << 16)
            except OSError:
                part = b""
            if not part:
                said = self._last_words()
                self.close()
                raise Unusable(said)
            self._reader += part
        line, self._reader = self._reader.split(b"\n", 1)
        return json.loads(line)

    def _last_words(self) -> str:
        process = self.process
        if process is None or process.stderr is None:
            return "the sandbox ended"
        if process.poll() is None and not select.select([process.stderr], [], [], 0.5)[0]:
            return "the sandbox did not answer in time"
        os.set_blocking(process.stderr.fileno(), False)
        words = (process.stderr.read() or b"").decode(errors="replace").strip()
        return f"the sandbox ended: {words[-500:]}" if words else "the sandbox ended"

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, Stopped) as error:
            self.close()
            raise Unusable(str(error)) from None


class Session:
    """The fork that runs one submission: cells go in, outputs and sights come out.

    noticed: events of Python's audit by which the student's code looked past what it was given. met: files of
    libraries that its errors passed, as it says. made: files that its code made or changed, by path, and
    left_out, how many more there are, when the session is over.
    """

    def __init__(
        self,
        channel: socket.socket,
        limits: Limits,
        places: Places | None,
        unknown: frozenset[str] = frozenset(),
        bars: Callable[[], Iterable[frozenset[str]]] = frozenset,
        *,
        gpu: bool = False,
    ) -> None:
        self.channel, self.limits, self._places, self._unknown = channel, limits, places, unknown
        self.device = "cuda" if gpu else "cpu"
        self.noticed: set[str] = set()
        self.met: set[str] = set()
        self.made: dict[str, bytes] = {}
        self.left_out = 0
        self.pidfd: int | None
        self.pidfd, *handles = _greeted(channel)
        self._memory, self._maps, self._status = handles
        self._gone: str | None = None
        self._programs = self._size_of_programs()
        if places:
            self._learn(places, bars())
        self._end = time.monotonic() + limits.notebook

    def run(self, source: str, *, locked: bool = False) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Run a cell that carries no points; returns its outputs and the answer. Raises Stopped or TimedOut.

        locked: it is the instructor's; what it imports is there again when cells that carry points run.
        """
        outputs, answer, _ = self._ask({"cell": source, "locked": locked})
        return outputs, answer

    def run_graded(self, source: str, body: str, last: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Run a cell that carries points: statements, then an expression whose value is its result."""
        outputs, answer, _ = self._ask({"source": source, "body": body, "last": last})
        return outputs, answer

    def look(
        self, exercise: Exercise, packed: tuple[Any, bytes], devices: Sequence[str]
    ) -> tuple[dict[str, Any], list[Sight], Survey | None, bytes]:
        """Have the candidates of an exercise looked at in the cases that `packed` holds.

        packed: a list of (name, inputs) as `values.pack` gives it. devices: of each case.
        Returns the answer; where there was a candidate, what was seen; and the bytes in which that came,
        whose sense is in the answer. Raises Stopped or TimedOut, and Unforeseen where the candidate may have
        had answers that could not be closed.
        """
        if self._gone:
            raise Stopped(self._gone)
        places = self._places
        if places is None:
            raise Unforeseen({"torch"})
        from graders.probing.process import values
        from graders.sandbox import closing

        tree, payload = packed
        request = {"check": exercise.name, "cases": tree, "device": self.device}
        try:
            with closing.closed(places, exercise.barred, self._memory):
                _, answer, back = self._ask(request, payload)
            if exercise.barred:
                self._require_nothing_unforeseen(places)
        except closing.CannotClose as problem:
            raise NoSandbox(str(problem)) from None
        except closing.Vanished:
            self._gone = _how_it_ended(self, OSError())
            self.kill()
            raise Stopped(self._gone) from None
        except closing.Reopened:
            self.kill()
            self._gone = (
                "The process that runs the notebook was stopped: it changed or copied PyTorch's own code."
            )
            raise Stopped(self._gone) from None
        if "sights" not in answer:
            return answer, [], None, b""
        try:
            return answer, *values.unpack_sights(answer["sights"], back, list(devices)), back
        except protocol.Broken as error:
            self.kill()
            raise Stopped(f"What was seen of the candidate cannot be read: {error}.") from None

    def kill(self) -> None:
        """End the process, now."""
        if self.pidfd is not None:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            os.close(self.pidfd)
            self.pidfd = None

    def close(self) -> None:
        """End the process, and let go of its memory."""
        self.kill()
        for handle in (self._memory, self._maps, self._status):
            os.close(handle)

    def _learn(self, places: Places, bars: Iterable[frozenset[str]]) -> None:
        """Read where answers stand, as long as nothing has run here that could change them."""
        from graders.sandbox import closing

        try:
            places.learn(bars, self._memory)
        except closing.CannotClose as problem:
            raise NoSandbox(str(problem)) from None
        except closing.Vanished:
            raise Stopped(_how_it_ended(self, OSError())) from None

    def _size_of_programs(self) -> bytes:
        """How much of its memory is code of programs, as the kernel writes it; nothing where it has ended."""
        try:
            status = os.pread(self._status, 1 << 14, 0)
        except ProcessLookupError:
            return b""
        found = re.search(rb"VmLib:\s*(.*)", status)
        return found[1] if found else b""

    def _require_nothing_unforeseen(self, places: Places) -> None:
        """Look at programs that have been loaded since the process was made.

        Raises Unforeseen where they are a library with answers, Reopened where they are a copy of one whose
        answers are closed, and Vanished where the process has ended with its answer, so that nobody can look.
        """
        size = self._size_of_programs()
        if size == self._programs:
            return
        from graders.sandbox import closing

        loaded = b""
        with contextlib.suppress(ProcessLookupError):
            os.lseek(self._maps, 0, os.SEEK_SET)
            while part := os.read(self._maps, 1 << 20):
                loaded += part
        if not size or not self._size_of_programs():
            raise closing.Vanished
        if places.are_elsewhere_too(loaded):
            raise closing.Reopened
        if unforeseen := {name for name in self._unknown if f"/{name}/".encode() in loaded}:
            raise Unforeseen(unforeseen)
        self._programs = size

    def _ask(
        self, request: Mapping[str, Any], payload: bytes = b""
    ) -> tuple[list[dict[str, Any]], dict[str, Any], bytes]:
        if self._gone:
            raise Stopped(self._gone)
        now = time.monotonic()
        deadline = min(now + self.limits.cell, self._end)
        number = secrets.token_hex(8)
        outputs: list[dict[str, Any]] = []
        interrupted = False
        received = 0
        try:
            self.channel.settimeout(max(deadline - now, 0.001))
            protocol.send(self.channel, {**request, "request": number}, payload)
            while True:
                try:
                    header, back = protocol.receive(self.channel, deadline)
                except protocol.Late:
                    if interrupted or time.monotonic() >= self._end or self.pidfd is None:
                        raise
                    interrupted = True
                    signal.pidfd_send_signal(self.pidfd, signal.SIGINT)
                    deadline = time.monotonic() + GRACE
                    continue
                if "output" in header:
                    size = len(json.dumps(header["output"]))
                    received += max(size, SMALLEST)
                    if received <= 2 * self.limits.output:
                        outputs.append(header["output"])
                    else:  # it is cut in there already; whoever writes past that is read no faster than this
                        time.sleep(size / THROWN_AWAY)
                    continue
                if header.get("noticed") in protocol.NOTICED:
                    self.noticed.add(header["noticed"])
                    continue
                if header.get("request") != number:
                    raise protocol.Broken("an answer to no question")
                self.met.update(_paths_in(header.get("files"), protocol.FILES_READ - len(self.met)))
                if interrupted:
                    raise TimedOut(self._too_long(), outputs)
                return outputs, header, back
        except protocol.Late:
            self._gone = self._too_long()
        except (protocol.Broken, OSError) as error:
            self._gone = _how_it_ended(self, error)
        self.kill()
        raise Stopped(self._gone, outputs)

    def _too_long(self) -> str:
        if time.monotonic() >= self._end:
            return f"The notebook took longer than the {self.limits.notebook:g} seconds it has."
        return f"The cell took longer than the {self.limits.cell:g} seconds it has."


def _paths_in(told: Any, most: int) -> list[str]:
    """Paths that a submission's process tells, so many at most; whatever else it may write is none."""
    return [
        one
        for one in (told if isinstance(told, list) else [])
        if isinstance(one, str) and len(json.dumps(one)) <= _PATH
    ][:most]


def _how_it_ended(session: Session, error: Exception) -> str:
    if str(error) in ("the connection was closed", "") or isinstance(error, OSError):
        return (
            "The process that runs the notebook ended here: it was told to, it crashed, or it used more "
            "memory than it may."
        )
    return f"The process that runs the notebook was stopped: it sent {error}."


_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from graders.probing.process.zygote import main;"
    "main(int(sys.argv[2]), sys.argv[3].split(), sys.argv[4:])"
)


def _child_of(told: int, process: subprocess.Popen) -> int:
    """The first process in the jail, from bwrap's report. Raises NoSandbox with what bwrap said instead."""
    text = b""
    while part := os.read(told, 1 << 12):
        text += part
        if text.rstrip().endswith(b"}"):
            break
    try:
        return int(json.loads(text)["child-pid"])
    except (ValueError, KeyError):
        process.kill()
        _, said = process.communicate()
        reason = said.decode(errors="replace").strip()
        raise _no_sandbox(reason) from None


def _no_sandbox(reason: str) -> NoSandbox:
    return NoSandbox(
        f"bubblewrap cannot make a sandbox here ({reason or 'it gives no reason'}). Does this system allow "
        "unprivileged user namespaces? A container has to allow more (docs/grading.md). (`--sandbox none` "
        "grades without a wall; use it only for code you trust.)"
    )


def _greeted(channel: socket.socket) -> list[int]:
    """Handles of a fork, its memory, maps and status, by its first message, which the kernel signs.

    It waits for the answer before it runs anything. Raises Stopped.
    """
    channel.settimeout(ANSWER)
    try:
        data, extra, _, _ = channel.recvmsg(1, socket.CMSG_SPACE(struct.calcsize("3i")))
        for level, kind, value in extra:
            if data == b"!" and (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                pid = struct.unpack("3i", value[: struct.calcsize("3i")])[0]
                if pid:
                    channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
                    handles = [os.pidfd_open(pid), os.open(f"/proc/{pid}/mem", os.O_RDWR)]
                    handles += [os.open(f"/proc/{pid}/{name}", os.O_RDONLY) for name in ("maps", "status")]
                    channel.sendall(b"!")
                    return handles
    except OSError as error:
        raise Stopped(f"the fork did not come up: {error}") from None
    raise Stopped("the fork did not come up")


def _wait_for(process: subprocess.Popen, seconds: float) -> None:
    """Wait for the end of a process, so long at most; subprocess would look for it at growing intervals."""
    if not hasattr(os, "pidfd_open"):  # as on macOS
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return
    if process.poll() is not None:
        return
    ended = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        poll.poll(seconds * 1000)
    finally:
        os.close(ended)


def _kill(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)
