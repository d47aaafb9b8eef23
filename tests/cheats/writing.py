"""Writing outside: code that changes the machine, the course, or what the next submission meets."""

from __future__ import annotations

from tests.cheats.table import MARK, Cheat, right


def _cheat(name: str, code: str, **more: object) -> Cheat:
    return Cheat(name, "writing outside", code, **more)


_WRITE = f"""
import os
def write(path):
    try:
        with open(path, 'a') as file:
            file.write('{MARK}')
        print('{MARK} wrote', path)
    except OSError as error:
        print(error)
"""
_WROTE = (f"{MARK} wrote",)

CHEATS = (
    _cheat(
        "into every folder",
        f"{_WRITE}\nfor place, folders, names in os.walk('/'):\n"
        "    if place.startswith(('/proc', '/submission', '/scratch', '/dev/shm')) or len(place.split('/')) > 6:\n        folders.clear()\n        continue\n"
        f"    write(os.path.join(place, '{MARK}'))",
        never=_WROTE,
    ),
    _cheat(
        "into the package and Python",
        f"{_WRITE}\nimport graders, torch, sys, site\nfor module in (graders, torch, os):\n    write(module.__file__)\n"
        f"write(sys.prefix + '/{MARK}')\nwrite(sys.executable)\nfor place in sys.path:\n    write(place + '/{MARK}.pth')",
        never=_WROTE,
    ),
    _cheat(
        "system settings",
        f"{_WRITE}\nfor place, _, names in os.walk('/proc/sys'):\n    for name in names:\n"
        "        try:\n            os.close(os.open(os.path.join(place, name), os.O_WRONLY))\n"
        f"            print('{MARK} wrote', place, name)\n        except OSError:\n            pass",
        never=_WROTE,
    ),
    _cheat(
        "modes of devices",
        "import os\nfor name in ('null', 'zero', 'full', 'random', 'urandom', 'tty', 'ptmx'):\n"
        "    try:\n        os.chmod(f'/dev/{name}', 0)\n        os.chown(f'/dev/{name}', 65534, 65534)\n    except OSError:\n        pass\n"
        "print(oct(os.stat('/dev/null').st_mode))",
        prints="0o20666",
    ),
    _cheat(
        "control groups",
        f"{_WRITE}\nfor place, _, names in os.walk('/sys'):\n    for name in names:\n        write(os.path.join(place, name))",
        never=_WROTE,
    ),
    _cheat(
        "course folder by going up",
        f"{_WRITE}\nfor up in ('..', '../..', '../../..', '/work', '/root', '/home', '/srv', '/mnt'):\n"
        f"    write(up + '/{MARK}')\n    write(up + '/gradebook.db')",
        never=_WROTE,
    ),
    _cheat(
        "files left behind",
        f"{_WRITE}\nfor place in ('/tmp', '/scratch', '/submission', '/dev/shm', '.'):\n    write(place + '/{MARK}')\n    write(place + '/.{MARK}')",
        prints=f"{MARK} wrote",
    ),
    _cheat(
        "links left behind",
        f"import os\nfor place in ('/tmp', '/submission', '/dev/shm'):\n    os.symlink('/', place + '/{MARK}-root')\n"
        f"    os.symlink('/etc/passwd', place + '/day26.ipynb')\n    os.symlink('loop', place + '/loop')\n"
        f"open('/submission/{MARK}', 'w').close()\nos.link('/submission/{MARK}', '/submission/{MARK}-2')\n"
        f"try:\n    os.link('/usr/bin/env', '/scratch/{MARK}')\nexcept OSError as error:\n    print(error)",
    ),
    _cheat(
        "locked folders left behind",
        f"import os\nfor n in range(5):\n    os.makedirs(f'/tmp/{MARK}{{n}}/in/side')\n    open(f'/tmp/{MARK}{{n}}/in/file', 'w').close()\n"
        f"    os.chmod(f'/tmp/{MARK}{{n}}/in', 0)\n    os.chmod(f'/tmp/{MARK}{{n}}', 0)\nos.chmod('/tmp/', 0)\nos.chmod('/submission', 0)",
    ),
    _cheat(
        "deep folders left behind",
        f"import os\nfor n in range(3000):\n    os.mkdir('{MARK}')\n    os.chdir('{MARK}')\nprint('deep')",
        prints="deep",
    ),
    _cheat("many files left behind", f"for n in range(20000):\n    open(f'/tmp/{MARK}{{n}}', 'w').close()"),
    _cheat(
        "odd names left behind",
        f"import os\nfor name in (b'{MARK}\\xff\\xfe', b'{MARK}\\n', b'-{MARK}', b' ', b'{MARK}' * 40):\n    open(b'/tmp/' + name, 'w').close()\nos.mkfifo('/tmp/{MARK}-pipe')",
    ),
    _cheat(
        "sockets and shared memory left behind",
        f"import os, mmap\nfrom multiprocessing import shared_memory\n"
        f"try:\n    m = shared_memory.SharedMemory(name='{MARK}', create=True, size=4096)\nexcept OSError as error:\n    print(error)\n"
        f"open('/dev/shm/{MARK}', 'w').close()\nimport ctypes\nlibc = ctypes.CDLL(None)\nprint(libc.shmget(1, 4096, 0o1777))\nprint(libc.mq_open(b'/{MARK}', 66, 511, None))",
        says="ctypes",
    ),
    _cheat(
        "own data files changed",
        "import os\ntry:\n    open('data.csv', 'w').write('changed')\n    print('changed')\nexcept OSError as error:\n    print('refused')\nos.chmod('data.csv', 0o777)",
        place=lambda folder: (folder / "data.csv").write_text("1,2\n"),
        prints="refused",
    ),
    _cheat(
        "libraries changed in memory for the next",
        "import torch, numpy, builtins\ntorch.sqrt = None\nnumpy.sqrt = None\nbuiltins.len = lambda x: 7\n"
        "torch.set_default_dtype(torch.float64)\ntorch.manual_seed(1)\ntorch.set_grad_enabled(False)",
        answers={},
    ),
    _cheat(
        "defaults changed, work right",
        "torch.set_default_dtype(torch.float64)\ntorch.set_num_threads(2)\ntorch.set_printoptions(precision=1)",
        answers=right(),
        points=18,
    ),
)
