"""The jail: a bubblewrap sandbox, its seccomp filters and its limits, as a command to start.

Inside there is the system and Python, read-only; a few small tmpfs; no network; no other process; and of this
package only what the student's side needs: neither references nor the judge.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from graders.sandbox import mounts
from graders.sandbox.mounts import PACKAGE

#: Where the student's side of this package stands in the jail, and where the notebook runs: some folders
#: deep, as in a course, for code that asks for the folder above the one above.
MOUNT = "/grader"
WORK = "/graded/student/submission"
SCRATCH = "/scratch"
#: Folders that can be written to besides; /tmp, mostly, is a link to one of these.
_WRITABLE = (WORK, SCRATCH, "/dev/shm")
INSTALL = (
    "Grading needs bubblewrap, which is not installed: on Debian and Ubuntu `sudo apt install bubblewrap`, "
    "on Fedora `sudo dnf install bubblewrap`. (`--sandbox none` grades without a wall; use it only for "
    "code you trust.)"
)
#: What of this package is seen inside, as (here, there): the student's side, and what stands in for the rest.
STUDENTS_SIDE = (
    ("probing", "graders/probing"),
    ("probing/process/inside.py", "graders/__init__.py"),
)
#: Files of PyTorch that hold answers and that nothing else needs: stood in for by a module without contents.
_ANSWERS = ("_decomp/decompositions_for_jvp.py", "testing/_internal/common_methods_invocations.py")
_MEGABYTE = 1 << 20


class NoSandbox(Exception):
    """The sandbox cannot be had here; the text says what to do."""


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    memory: bytes of address space above what the warm process has. files: bytes in each of the tmpfs.
    made: bytes of files that its code makes and that are kept. output: bytes that one cell may write.
    cell, notebook: seconds of wall time.
    """

    memory: int = 2048 * _MEGABYTE
    files: int = 128 * _MEGABYTE
    made: int = 8 * _MEGABYTE
    output: int = 2 * _MEGABYTE
    cell: float = 60.0
    notebook: float = 600.0
    threads: int = 64


def bubblewrap() -> str:
    """The path of bwrap. Raises NoSandbox with the sentence that says how to install it."""
    found = shutil.which("bwrap")
    if not found:
        raise NoSandbox(INSTALL)
    return found


def command(
    *,
    program: list[str],
    info: int,
    block: int,
    filters: int,
    gpu: bool,
    limits: Limits,
    hidden: Iterable[str] = (),
) -> list[str]:
    """The bwrap command line that runs `program` (arguments for Python) in the jail.

    info, block, filters: file descriptors for bwrap's report, for the permission to go on, and with the
    seccomp program. hidden: folders that must not be seen.
    """
    arguments = [*_with_folders(limits.files), bubblewrap()]
    arguments += ["--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent"]
    # bwrap's own process in the jail could be opened and changed by a student's; the warm one cannot.
    arguments += ["--as-pid-1", "--uid", "65534", "--gid", "65534", "--hostname", f"sandbox-{starter()}"]
    arguments += ["--cap-drop", "ALL", "--clearenv"]
    for name, value in environment().items():
        arguments += ["--setenv", name, value]
    arguments += ["--proc", "/proc", "--dev", "/dev"]
    closed = []
    for path in writable():
        arguments += _writable(path, limits.files)
        for folder in mounts.leading_from(path):  # nobody's to write to, and not emptied
            arguments += ["--tmpfs", folder]
            closed.append(folder)
    if "/tmp" not in writable():
        arguments += ["--symlink", SCRATCH, "/tmp"]
    seen, masked = mounts.arguments(hidden)
    arguments += seen
    arguments += ["--ro-bind-try", "/sys/devices/system/cpu", "/sys/devices/system/cpu"]
    if gpu:
        for path in _gpu_devices():
            arguments += ["--dev-bind", path, path]
    for here, there in STUDENTS_SIDE:
        arguments += ["--ro-bind", str(PACKAGE / here), f"{MOUNT}/{there}"]
    for path in _answers_on_disk():
        arguments += ["--ro-bind", str(PACKAGE / "probing" / "__init__.py"), str(path)]
    # Where root starts the jail, the system's own settings still belong to whoever is in it: /proc/sys.
    for path in ("/proc", "/dev", *closed, *masked, "/"):
        arguments += ["--remount-ro", path]
    arguments += ["--chdir", WORK, "--info-fd", str(info), "--block-fd", str(block)]
    arguments += ["--seccomp", str(filters)]
    return [*arguments, "--", sys.executable, *program]


#: Makes folders from which no program can be started or mapped, and goes on with the command that follows.
#: bubblewrap has no such folders to give, so they are made a namespace further out, where only it sees them.
_FOLDERS = """set -e
mount -t tmpfs -o mode=0755,nosuid,nodev,noexec,size=64k none /dev/shm
mkdir /dev/shm/submission /dev/shm/scratch /dev/shm/shm /dev/shm/tmp
for name in submission scratch shm tmp; do
    mount -t tmpfs -o "mode=0700,nosuid,nodev,noexec,size=$1" none /dev/shm/$name
done
shift
exec "$@"
"""


def _with_folders(size: int) -> list[str]:
    """What stands before bwrap's command, so that the folders are there: nothing, where it is not allowed."""
    if not forbids_programs():
        return []
    unshare, shell = shutil.which("unshare"), shutil.which("sh")
    return [str(unshare), "--user", "--map-root-user", "--mount", str(shell), "-c", _FOLDERS, "sh", str(size)]


def _writable(path: str, size: int) -> list[str]:
    """Arguments for a folder that can be written to, of `size` bytes."""
    if forbids_programs():
        return ["--bind", f"/dev/shm/{Path(path).name}", path]
    return ["--perms", "0700", "--size", str(size), "--tmpfs", path]


@cache
def forbids_programs() -> bool:
    """Whether what is written in the jail can be kept from being run: this account may mount folders."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _FOLDERS, "sh", "1m", "true"]
    try:
        return not subprocess.run(command, capture_output=True, timeout=10).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False


def _answers_on_disk() -> Iterator[Path]:
    """Those of _ANSWERS that are installed, where they are seen."""
    torch = importlib.util.find_spec("torch")
    for name in _ANSWERS if torch and torch.origin else ():
        if (path := Path(torch.origin).resolve().parent / name).is_file():
            yield from mounts.seen_as(path)


def writable() -> list[str]:
    """The folders that can be written to; each is emptied after every submission.

    /tmp is one of its own where Python, or a package of it, is installed below it.
    """
    return [*_WRITABLE, *(["/tmp"] if mounts.seen_below("/tmp") else [])]


def environment() -> dict[str, str]:
    """The whole environment of the jail: nothing of the instructor's."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return one | {
        "PATH": "/usr/bin:/bin",
        "HOME": WORK,
        "TMPDIR": SCRATCH,
        "USER": "student",
        "LANG": "C.UTF-8",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MPLCONFIGDIR": f"{SCRATCH}/.matplotlib",
        "IPYTHONDIR": f"{SCRATCH}/.ipython",
        "NBGRADER_EXECUTION": "autograde",
        "JOBLIB_MULTIPROCESSING": "0",  # `n_jobs=-1` is then one job: there are no other processes
        "TORCH_COMPILE_DISABLE": "1",  # it starts a compiler; without it functions do what they say
        **({"PYTHONUSERBASE": site.getuserbase()} if site.ENABLE_USER_SITE else {"PYTHONNOUSERSITE": "1"}),
    }


def _gpu_devices() -> list[str]:
    return sorted(str(path) for path in Path("/dev").glob("nvidia*"))


def students_side(folder: Path) -> None:
    """Copy the student's side of the package to a folder, for a run without a jail."""
    for here, there in STUDENTS_SIDE:
        source, target = PACKAGE / here, folder / there
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)


#: No process in the jail may do these. Most need a capability that nobody has there anyway.
_NEVER = (
    *("mount", "umount2", "pivot_root", "fsopen", "fsmount", "fsconfig", "fspick", "move_mount", "open_tree"),
    *("mount_setattr", "chroot", "unshare", "setns", "ptrace", "process_vm_readv", "process_vm_writev"),
    *("process_madvise", "kcmp", "pidfd_getfd", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup"),
    *("io_uring_enter", "io_uring_register", "keyctl", "add_key", "request_key", "kexec_load"),
    *("kexec_file_load", "init_module", "finit_module", "delete_module", "reboot", "swapon", "swapoff"),
    *("acct", "quotactl", "syslog", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex"),
    *("sethostname", "setdomainname", "iopl", "ioperm", "personality", "name_to_handle_at"),
    *("open_by_handle_at", "lookup_dcookie", "vhangup", "nfsservctl", "fanotify_init", "seccomp"),
)
#: A student's process neither makes processes nor signals any, nor leaves anything in the kernel.
_NOT_THE_STUDENT = (
    *("fork", "vfork", "execve", "execveat", "kill", "tkill", "tgkill", "rt_sigqueueinfo"),
    *("rt_tgsigqueueinfo", "pidfd_send_signal", "pidfd_open", "setsid", "setpgid", "socket", "connect"),
    *("bind", "listen", "shmget", "shmat", "shmctl", "msgget", "msgsnd", "msgctl", "semget", "semop"),
    *("semctl", "mq_open", "setpriority", "sched_setaffinity", "sched_setscheduler"),
    *("memfd_create", "memfd_secret"),  # memory that no limit on address space or files holds
    *("sched_setparam", "sched_setattr", "ioprio_set", "mlock", "mlock2", "mlockall", "inotify_init1"),
)
#: These do nothing and report success: where root starts the jail, the system's own /dev/null could be
#: changed by them, and honest code (shutil.copy) needs them to seem to work.
_PRETENDED = (
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat"),
    *("utime", "utimes", "utimensat", "futimesat"),
    *("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr"),
)
_PR_SET_DUMPABLE = 4
_CLONE_THREAD = 0x10000
_CLONE_NEW = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)


@cache
def jail_filter() -> bytes:
    """The seccomp program of the jail. clone3 is unknown there: its flags lie in memory, out of sight."""
    return _program(_NEVER, (), _CLONE_NEW, 0)


@cache
def student_filter() -> bytes:
    """The seccomp program that a forked student's process puts on itself on top."""
    return _program(("seccomp", *_NOT_THE_STUDENT), _PRETENDED, (), _CLONE_THREAD)


def _program(
    refused: tuple[str, ...], pretended: tuple[str, ...], refused_flags: tuple[int, ...], needed_flag: int
) -> bytes:
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError):
        raise NoSandbox(
            "Grading needs libseccomp, which is not installed: on Debian and Ubuntu "
            "`sudo apt install libseccomp2`, then `pip install pyseccomp`."
        ) from None
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for names, answer in ((refused, errno.EPERM), (pretended, 0)):
        for name in names:
            number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
            if number >= 0:  # an old library does not know a new call, nor does a new machine an old one
                rules.add_rule(pyseccomp.ERRNO(answer), number)
    for flag in refused_flags:
        rules.add_rule(
            pyseccomp.ERRNO(errno.EPERM), "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, flag, flag)
        )
    if needed_flag:
        rules.add_rule(pyseccomp.ERRNO(errno.EPERM), "prlimit64", pyseccomp.Arg(0, pyseccomp.NE, 0))
        rules.add_rule(  # it stays undumpable: its memory is not its own to open as a file
            pyseccomp.ERRNO(errno.EPERM),
            "prctl",
            pyseccomp.Arg(0, pyseccomp.EQ, _PR_SET_DUMPABLE),
            pyseccomp.Arg(1, pyseccomp.NE, 0),
        )
        rules.add_rule(
            pyseccomp.ERRNO(errno.EPERM), "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, needed_flag, 0)
        )
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def starter() -> str:
    """How this process is called where more than one of its PID namespaces is seen, such as a container's."""
    return f"{_namespace()}-{os.getpid()}"


@cache
def _namespace() -> int:
    """The number of this process's PID namespace; 0 where there are none."""
    with contextlib.suppress(OSError):
        return os.stat("/proc/self/ns/pid").st_ino
    return 0


def end_orphans() -> None:
    """End jails of ours whose starter was killed in the first milliseconds, before they could follow it.

    Such a bwrap waits for ever for its other half. Who started a jail stands in its host name.
    """
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            command = (folder / "cmdline").read_bytes().decode().split("\0")
            if not command[0].endswith("/bwrap") or f"{MOUNT}/graders/__init__.py" not in command:
                continue
            if _has_ended(command[command.index("--hostname") + 1].partition("-")[2]):
                os.kill(int(folder.name), signal.SIGKILL)


def _has_ended(one: str) -> bool:
    """Whether what `starter` has named so is gone; of another namespace, nobody can say."""
    namespace, _, pid = one.partition("-")
    return namespace == str(_namespace()) and pid.isdigit() and not _runs(pid)


def _runs(pid: str) -> bool:
    """Whether a process is there and has not ended; its entry may stay until somebody asks how it ended."""
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


#: What control groups hold: files of the limit in both versions of control groups.
_CONTROLLERS = {
    "memory": ("memory.max", "memory.limit_in_bytes"),
    "pids": ("pids.max", "pids.max"),
}


class Cgroup:
    """A control group for one box, where this process may make one; else it holds nothing."""

    def __init__(self, name: str, limits: Limits) -> None:
        self.folders: list[Path] = []
        self.holds: list[str] = []
        memory = str(limits.memory + 1024 * _MEGABYTE)  # the warm process itself, and its files
        values = {"memory": memory, "pids": str(limits.threads)}
        for controller, files in _CONTROLLERS.items():
            parent = _cgroup_of(controller)
            if parent is None:
                continue
            folder = parent / f"graders-{name}"
            _sweep(parent)
            try:
                folder.mkdir(exist_ok=True)
                if folder not in self.folders:
                    self.folders.append(folder)
                next(folder / file for file in files if (folder / file).exists()).write_text(
                    values[controller]
                )
            except (OSError, StopIteration):
                continue
            self.holds.append(controller)

    def take(self, pid: int) -> None:
        """Put a process into the group; its children follow."""
        for folder in self.folders:
            try:
                (folder / "cgroup.procs").write_text(str(pid))
            except OSError:
                self.holds.clear()

    def remove(self) -> None:
        """Remove the group as soon as the last process in it, which was killed, is gone."""
        for folder in self.folders:
            _remove(folder, 5.0)


def sweep_groups() -> None:
    """Remove the groups of workers that were killed, as soon as what they had started is gone."""
    for controller in _CONTROLLERS:
        if parent := _cgroup_of(controller):
            _sweep(parent, 5.0)


def _sweep(parent: Path, seconds: float = 0.0) -> None:
    """Remove the groups of processes that were killed before they could; the name begins with `starter`."""
    for folder in parent.glob("graders-*-*-*"):
        if _has_ended("-".join(folder.name.split("-")[1:3])):
            _remove(folder, seconds)


def _remove(folder: Path, seconds: float) -> None:
    """Remove a group; waits so long for processes in it to be gone."""
    end = time.monotonic() + seconds
    while folder.is_dir():
        try:
            folder.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() >= end:
                break
            time.sleep(0.01)


def _cgroup_of(controller: str) -> Path | None:
    """The folder of our own group in which groups for this controller can be made, if there is one."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            place = Path("/sys/fs/cgroup", controller)
            own = place / path.lstrip("/")
            place = own if own.is_dir() else place
        elif not names and Path("/sys/fs/cgroup/cgroup.controllers").exists():
            place = Path("/sys/fs/cgroup", path.lstrip("/"))
            try:
                if controller not in (place / "cgroup.subtree_control").read_text().split():
                    continue
            except OSError:
                continue
        else:
            continue
        if place.is_dir() and os.access(place, os.W_OK):
            return place
    return None
