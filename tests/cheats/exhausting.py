"""Resource exhaustion and attacks on what holds the submission."""

from __future__ import annotations

import sys

from tests.cheats.table import NOTHING, SOME, Cheat, forward, some


def _cheat(name: str, code: str = "", **more: object) -> Cheat:
    return Cheat(name, "resource exhaustion", code, **more)


_SYSTEM_CALLS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(name, number, *arguments):
    ctypes.set_errno(0)
    answer = libc.syscall(number, *[ctypes.c_long(a) for a in arguments])
    print(name, 'refused' if answer == -1 else 'DONE')
"""

CHEATS = (
    _cheat(
        "memory by Python",
        """
kept = []
while True:
    kept.append(bytearray(1 << 26))
""",
        later="print('went on')",
        prints="MemoryError",
    ),
    _cheat("memory by PyTorch", "x = torch.ones(1 << 36)", prints="RuntimeError"),
    _cheat(
        "memory until nothing is left",
        """
kept = []
try:
    while True:
        kept.append(torch.ones(1 << 22))
except (MemoryError, RuntimeError):
    kept2 = []
    while True:
        kept2.append([0] * 100)
""",
    ),
    _cheat(
        "memory by mmap",
        """
import mmap
kept = []
while True:
    m = mmap.mmap(-1, 1 << 28)
    for i in range(0, 1 << 28, 4096): m[i] = 1
    kept.append(m)
""",
        answers=NOTHING,
    ),
    _cheat(
        "files until full",
        """
import errno
try:
    for n in range(100000):
        with open(f'/tmp/{n}', 'wb') as file: file.write(bytes(1 << 22))
except OSError as error:
    print(errno.errorcode[error.errno])
""",
        prints="ENOSPC",
    ),
    _cheat(
        "one sparse giant file",
        """
try:
    with open('big', 'wb') as file: file.truncate(1 << 40)
    print('made')
except OSError as error:
    print('refused', error)
""",
        prints="refused",
    ),
    _cheat(
        "files to be kept without end",
        """
for n in range(20_000):
    with open(f'{n}.txt', 'w') as file: file.write('x' * 2_000)
""",
        answers=some(),
        points=SOME,
        says="are not kept",
    ),
    _cheat(
        "folders in folders, and files that are none",
        """
import os
for path in ('link', 'folder'): os.symlink('/etc', path)
os.symlink('/etc/passwd', 'linked.txt')
os.mkfifo('pipe')
with open('unreadable.txt', 'w') as file: file.write('x')
os.link('unreadable.txt', 'again.txt')
os.chmod('unreadable.txt', 0)
for n in range(1_500):
    os.mkdir('d')
    os.chdir('d')
with open('deep.txt', 'w') as file: file.write('x')
""",
        answers=some(),
        points=SOME,
    ),
    _cheat(
        "a file in a folder's place",
        """
import os, shutil
with open('day26.ipynb', 'w') as file: file.write('{}')
with open('timestamp.txt', 'w') as file: file.write('2020-01-01 00:00:00 UTC')
with open('a', 'w') as file: file.write('x')
os.makedirs('b/day26.ipynb')
with open('b/day26.ipynb/a', 'w') as file: file.write('x')
""",
        answers=some(),
        points=SOME,
    ),
    _cheat(
        "full shared memory, then work",
        """
try:
    open('/dev/shm/full', 'wb').write(bytes(1 << 28))
except OSError as error:
    print(error)
""",
        answers=some(),
        points=SOME,
    ),
    _cheat(
        "processes by fork",
        """
import os
try:
    while True:
        os.fork()
        print('FORKED')
except OSError as error:
    print('refused', error)
""",
        prints="refused",
        never=("FORKED",),
    ),
    _cheat(
        "processes by clone",
        _SYSTEM_CALLS
        + """
call('clone', 56, 17, 0, 0, 0, 0)
call('vfork', 58)
call('clone3', 435, 0, 0)
""",
        never=("DONE",),
        says="ctypes",
    ),
    _cheat(
        "threads without end",
        """
import threading, time
try:
    while True:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
except RuntimeError as error:
    print('refused', error)
import os
print(len(os.listdir('/proc/self/task')))
""",
        prints="refused",
    ),
    _cheat(
        "loop in Python",
        """
while True:
    pass
""",
        answers=some(),
        points=SOME,
        slow=True,
        prints="CellTimeoutError",
    ),
    _cheat("loop in C", "sum(range(10 ** 13))", answers=some(), slow=True),
    _cheat(
        "loop that ignores the interrupt",
        """
import time
def stay():
    while True:
        try:
            time.sleep(1)
        except BaseException:
            stay()
stay()
""",
        answers=some(),
        slow=True,
        says="longer than",
    ),
    _cheat(
        "interrupt's handler replaced",
        """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
while True: pass
""",
        answers=some(),
        slow=True,
        says="longer than",
    ),
    _cheat(
        "loop in the candidate", answers=forward("while True: pass"), slow=True, prints="CellTimeoutError"
    ),
    _cheat(
        "regular expression without end",
        """
import re
re.match(r'(a+)+$', 'a' * 60 + 'b')
""",
        slow=True,
        answers=some(),
        points=SOME,
    ),
    _cheat(
        "candidate sleeps",
        answers=forward("""
import time
time.sleep(1000)
"""),
        slow=True,
        prints="CellTimeoutError",
    ),
    _cheat(
        "output without end",
        """
while True:
    print('x' * 1000)
""",
        slow=True,
    ),
    _cheat("one huge line", "print('x' * 200_000_000)", prints="cut here"),
    _cheat(
        "a million small writes",
        """
import sys
for n in range(300_000):
    print(n, end='', file=sys.stdout if n % 2 else sys.stderr)
""",
    ),
    _cheat(
        "a huge display",
        """
from IPython.display import display
display({'text/plain': 'x' * 50_000_000}, raw=True)
""",
        prints="cut here",
    ),
    _cheat(
        "displays without end",
        """
from IPython.display import display
for n in range(200_000): display({'text/plain': 'x'}, raw=True)
""",
    ),
    _cheat(
        "clear_output without end",
        """
from IPython.display import clear_output
for n in range(100_000): clear_output()
""",
        answers=some(),
        points=SOME,
    ),
    _cheat(
        "bundle nested deeply",
        """
from IPython.display import display
v = []
for n in range(900): v = [v]
display({'application/json': v, 'text/plain': ''}, raw=True)
""",
        answers=some(),
        points=SOME,
    ),
    _cheat(
        "traceback without end",
        """
def f(n): return f(n + 1)
f(0)
""",
        prints="RecursionError",
    ),
    _cheat("exception with a huge text", "raise ValueError('x' * 100_000_000)"),
    _cheat(
        "exception whose text raises",
        """
class E(Exception):
    def __str__(self): raise SystemExit('no')
    __repr__ = __str__
raise E
""",
        answers=some(),
        points=SOME,
    ),
    _cheat("candidate's exception has a huge text", answers=forward("raise ValueError('x' * 10_000_000)")),
    _cheat("huge tensor returned", answers=forward("return torch.ones(10_000, 10_000), None")),
    _cheat("expanded tensor returned", answers=forward("return torch.ones(1).expand(10 ** 12), None")),
    _cheat("many digits returned", answers=forward("return 1 << 3_321_929, None")),
    _cheat(
        "list that holds itself",
        answers=forward("""
v = []
v.append(v)
return v, v
"""),
    ),
    _cheat("sparse and complex tensors", answers=forward("return x.to_sparse(), None")),
    _cheat("recursion in the candidate", answers=forward("return batch_norm_forward(x, gamma, beta, eps)")),
    _cheat(
        "recursion limit lifted",
        """
import sys
sys.setrecursionlimit(10 ** 9)
class Endless:
    def __getattr__(self, name):
        return getattr(self, name + 'x')
Endless().x
""",
        # Newer versions of Python count what is on the stack of C by themselves.
        says="ended" if sys.version_info < (3, 12) else "",
        prints="" if sys.version_info < (3, 12) else "RecursionError",
    ),
    _cheat(
        "segmentation fault",
        """
import ctypes
ctypes.string_at(0)
""",
        says="ctypes",
    ),
    _cheat(
        "abort",
        """
import os
os.abort()
""",
        says="ended",
    ),
    _cheat(
        "many open files",
        """
kept = []
try:
    while True: kept.append(open('/dev/null'))
except OSError as error:
    print(error)
kept.clear()
""",
        answers=some(),
        points=SOME,
    ),
    _cheat(
        "every descriptor closed",
        """
import os
os.closerange(0, 1024)
""",
        says="ended",
    ),
    _cheat(
        "kills what is above it",
        """
import os, signal
for number in (os.getppid(), 1, 2, -1, 0):
    for s in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM):
        try:
            os.kill(number, s)
            print('KILLED', number)
        except OSError as error:
            print(error)
""",
        never=("KILLED",),
    ),
    _cheat(
        "stops itself",
        """
import os, signal
os.kill(os.getpid(), signal.SIGSTOP)
""",
        answers=some(),
        points=SOME,
    ),
    _cheat(
        "forbidden system calls",
        _SYSTEM_CALLS
        + """
numbers = {
    'ptrace': 101, 'unshare': 272, 'mount': 165, 'bpf': 321, 'keyctl': 250, 'io_uring_setup': 425,
    'setns': 308, 'userfaultfd': 323, 'perf_event_open': 298, 'execve': 59, 'socket': 41, 'chroot': 161,
    'pidfd_open': 434, 'memfd_create': 319, 'memfd_secret': 447, 'process_vm_writev': 311,
}
for name, number in numbers.items():
    call(name, number, 0, 0, 0, 0)
""",
        never=("DONE",),
        says="ctypes",
    ),
    _cheat(
        "limits raised again",
        """
import resource
for kind in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_CPU):
    try:
        resource.setrlimit(kind, (-1, -1))
        print('RAISED')
    except (OSError, ValueError) as error:
        print(error)
""",
        never=("RAISED",),
    ),
    _cheat(
        "programs by IPython",
        """
!echo ran
get_ipython().system('echo ran')
print(get_ipython().getoutput('echo ran'))
""",
        never=("\\nran",),
    ),
    _cheat(
        "debugger waits",
        """
import pdb
pdb.set_trace()
""",
        answers=some(),
        points=SOME,
    ),
)
