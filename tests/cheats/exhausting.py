"""Resource exhaustion and attacks on what holds the submission."""

from __future__ import annotations

from tests.cheats.table import NOTHING, Cheat, forward, right


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
        "kept = []\nwhile True:\n    kept.append(bytearray(1 << 26))",
        later="print('went on')",
        prints="MemoryError",
    ),
    _cheat("memory by PyTorch", "x = torch.ones(1 << 36)", prints="RuntimeError"),
    _cheat(
        "memory until nothing is left",
        "kept = []\ntry:\n    while True:\n        kept.append(torch.ones(1 << 22))\nexcept (MemoryError, RuntimeError):\n    kept2 = []\n    while True:\n        kept2.append([0] * 100)",
    ),
    _cheat(
        "memory by mmap",
        "import mmap\nkept = []\nwhile True:\n    m = mmap.mmap(-1, 1 << 28)\n    for i in range(0, 1 << 28, 4096): m[i] = 1\n    kept.append(m)",
        answers=NOTHING,
    ),
    _cheat(
        "files until full",
        "import errno\ntry:\n    for n in range(100000):\n        with open(f'/tmp/{n}', 'wb') as file: file.write(bytes(1 << 22))\nexcept OSError as error:\n    print(errno.errorcode[error.errno])",
        prints="ENOSPC",
    ),
    _cheat(
        "one sparse giant file",
        "try:\n    with open('big', 'wb') as file: file.truncate(1 << 40)\n    print('made')\nexcept OSError as error:\n    print('refused', error)",
        prints="refused",
    ),
    _cheat(
        "full shared memory, then work",
        "try:\n    open('/dev/shm/full', 'wb').write(bytes(1 << 28))\nexcept OSError as error:\n    print(error)\n",
        answers=right(),
        points=18,
    ),
    _cheat(
        "processes by fork",
        "import os\ntry:\n    while True:\n        os.fork()\n        print('FORKED')\nexcept OSError as error:\n    print('refused', error)",
        prints="refused",
        never=("FORKED",),
    ),
    _cheat(
        "processes by clone",
        _SYSTEM_CALLS + "call('clone', 56, 17, 0, 0, 0, 0)\ncall('vfork', 58)\ncall('clone3', 435, 0, 0)",
        never=("DONE",),
        says="ctypes",
    ),
    _cheat(
        "threads without end",
        "import threading, time\ntry:\n    while True:\n        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\nexcept RuntimeError as error:\n    print('refused', error)\nimport os\nprint(len(os.listdir('/proc/self/task')))",
        prints="refused",
    ),
    _cheat(
        "loop in Python",
        "while True:\n    pass",
        answers=right(),
        points=18,
        slow=True,
        prints="CellTimeoutError",
    ),
    _cheat("loop in C", "sum(range(10 ** 13))", answers=right(), slow=True),
    _cheat(
        "loop that ignores the interrupt",
        "while True:\n    try:\n        while True: pass\n    except BaseException:\n        pass",
        answers=right(),
        slow=True,
        says="longer than",
    ),
    _cheat(
        "interrupt's handler replaced",
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass",
        answers=right(),
        slow=True,
        says="longer than",
    ),
    _cheat(
        "loop in the candidate", answers=forward("while True: pass"), slow=True, prints="CellTimeoutError"
    ),
    _cheat(
        "regular expression without end",
        "import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')",
        slow=True,
        answers=right(),
        points=18,
    ),
    _cheat(
        "candidate sleeps",
        answers=forward("import time\ntime.sleep(1000)"),
        slow=True,
        prints="CellTimeoutError",
    ),
    _cheat("output without end", "while True:\n    print('x' * 1000)", slow=True, prints="cut here"),
    _cheat("one huge line", "print('x' * 200_000_000)", prints="cut here"),
    _cheat(
        "a million small writes",
        "import sys\nfor n in range(300_000):\n    print(n, end='', file=sys.stdout if n % 2 else sys.stderr)",
        prints="cut here",
    ),
    _cheat(
        "a huge display",
        "from IPython.display import display\ndisplay({'text/plain': 'x' * 50_000_000}, raw=True)",
        prints="cut here",
    ),
    _cheat(
        "displays without end",
        "from IPython.display import display\nfor n in range(200_000): display({'text/plain': 'x'}, raw=True)",
    ),
    _cheat(
        "clear_output without end",
        "from IPython.display import clear_output\nfor n in range(100_000): clear_output()",
        answers=right(),
        points=18,
    ),
    _cheat(
        "bundle nested deeply",
        "from IPython.display import display\nv = []\nfor n in range(900): v = [v]\ndisplay({'application/json': v, 'text/plain': ''}, raw=True)",
        answers=right(),
        points=18,
    ),
    _cheat("traceback without end", "def f(n): return f(n + 1)\nf(0)", prints="RecursionError"),
    _cheat("exception with a huge text", "raise ValueError('x' * 100_000_000)"),
    _cheat(
        "exception whose text raises",
        "class E(Exception):\n    def __str__(self): raise SystemExit('no')\n    __repr__ = __str__\nraise E",
        answers=right(),
        points=18,
    ),
    _cheat("candidate's exception has a huge text", answers=forward("raise ValueError('x' * 100_000_000)")),
    _cheat("huge tensor returned", answers=forward("return torch.ones(20_000, 20_000), None")),
    _cheat("expanded tensor returned", answers=forward("return torch.ones(1).expand(10 ** 12), None")),
    _cheat("many digits returned", answers=forward("return 10 ** 1_000_000, None")),
    _cheat("list that holds itself", answers=forward("v = []\nv.append(v)\nreturn v, v")),
    _cheat("sparse and complex tensors", answers=forward("return x.to_sparse(), None")),
    _cheat("recursion in the candidate", answers=forward("return batch_norm_forward(x, gamma, beta, eps)")),
    _cheat(
        "recursion limit lifted",
        "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(): return f()\nclass A:\n    def __getattr__(self, n): return getattr(self, n + 'x')\nf()",
    ),
    _cheat("segmentation fault", "import ctypes\nctypes.string_at(0)", says="ctypes"),
    _cheat("abort", "import os\nos.abort()", says="ended"),
    _cheat(
        "many open files",
        "kept = []\ntry:\n    while True: kept.append(open('/dev/null'))\nexcept OSError as error:\n    print(error)",
        answers=right(),
        points=18,
    ),
    _cheat("every descriptor closed", "import os\nos.closerange(0, 1024)", says="ended"),
    _cheat(
        "kills what is above it",
        "import os, signal\nfor number in (os.getppid(), 1, 2, -1, 0):\n    for s in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM):\n        try:\n            os.kill(number, s)\n            print('KILLED', number)\n        except OSError as error:\n            print(error)",
        never=("KILLED",),
    ),
    _cheat(
        "stops itself", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", answers=right(), points=18
    ),
    _cheat(
        "forbidden system calls",
        _SYSTEM_CALLS
        + "for name, number in {'ptrace': 101, 'unshare': 272, 'mount': 165, 'bpf': 321, 'keyctl': 250, 'io_uring_setup': 425, "
        "'setns': 308, 'userfaultfd': 323, 'perf_event_open': 298, 'execve': 59, 'socket': 41, 'pidfd_open': 434, 'memfd_secret': 447, 'process_vm_writev': 311, 'chroot': 161}.items():\n    call(name, number, 0, 0, 0, 0)",
        never=("DONE",),
        says="ctypes",
    ),
    _cheat(
        "limits raised again",
        "import resource\nfor kind in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_CPU):\n    try:\n        resource.setrlimit(kind, (-1, -1))\n        print('RAISED')\n    except (OSError, ValueError) as error:\n        print(error)",
        never=("RAISED",),
    ),
    _cheat(
        "programs by IPython",
        "!echo ran\nget_ipython().system('echo ran')\nprint(get_ipython().getoutput('echo ran'))",
        never=("\\nran",),
    ),
    _cheat("debugger waits", "import pdb\npdb.set_trace()", answers=right(), points=18),
)
