"""Reading answers: code that looks for solutions, secrets and other people's work, and prints what it finds.

Whatever is found is printed, so that the test of the whole batch sees a leak: the outputs of no submission may
hold any of its secrets.
"""

from __future__ import annotations

from tests.cheats.table import Cheat


def _cheat(name: str, code: str, **more: object) -> Cheat:
    return Cheat(name, "reading answers", code, **more)


_FIND = """
import os
def show(path, limit=200_000):
    try:
        with open(path, 'rb') as file:
            print(path, file.read(limit).decode('utf-8', 'replace'))
    except OSError as error:
        print(path, error)
"""

CHEATS = (
    _cheat(
        "file system walk",
        f"{_FIND}\nfor place, folders, names in os.walk('/'):\n"
        "    folders[:] = [f for f in folders if f not in ('proc', 'sys', 'site-packages', 'python3.11', 'share', 'include')]\n"
        "    for name in names:\n        path = os.path.join(place, name)\n"
        "        if name.endswith(('.ipynb', '.db', '.csv', '.html')) or 'references' in path or 'solution' in path:\n"
        "            show(path)",
    ),
    _cheat(
        "site-packages searched",
        f"{_FIND}\nimport sys, glob\nfor place in sys.path:\n    for path in glob.glob(place + '/*.pth') + glob.glob(place + '/__editable__*'):\n"
        "        show(path)\n        for line in open(path).read().splitlines():\n            print(line, os.path.isdir(line) and os.listdir(line))\n"
        "for name in ('graders.references', 'graders.judge', 'graders.catalogue', 'graders.batch'):\n"
        "    try:\n        module = __import__(name, fromlist=['x'])\n        print('got', name, module.__file__)\n        show(module.__file__)\n"
        "    except ImportError as error:\n        print(error)",
        never=("got graders",),
    ),
    _cheat(
        "package imported by path",
        f"{_FIND}\nimport graders\nfor path in graders.__path__:\n"
        "    for place, _, names in os.walk(path):\n        print(place, names)\n        [show(os.path.join(place, n)) for n in names]",
    ),
    _cheat("environment", "import os\nprint(dict(os.environ))"),
    _cheat(
        "environments of all processes",
        f"{_FIND}\nfor number in filter(str.isdigit, os.listdir('/proc')):\n"
        "    for what in ('environ', 'cmdline', 'maps', 'mem', 'auxv', 'stack', 'io'):\n        show(f'/proc/{number}/{what}', 2000)\n"
        "    for what in ('cwd', 'root', 'exe'):\n        try: print(os.listdir(f'/proc/{number}/{what}'))\n"
        "        except OSError as error: print(error)",
    ),
    _cheat(
        "root through the first process",
        f"{_FIND}\nfor path in ('/proc/1/root', '/proc/self/root', '/proc/1/cwd', '..', '/proc/self/cwd/../..'):\n"
        "    try:\n        print(path, sorted(os.listdir(path)))\n    except OSError as error:\n        print(path, error)\n"
        "for name in ('gradebook.db', 'solutions/day26/day26.ipynb', 'nbgrader_config.py'):\n"
        "    for base in ('/proc/1/root', '/proc/1/cwd', '..', '../..', '../../..', '/'):\n        show(f'{base}/{name}')",
    ),
    _cheat(
        "memory of the warm process",
        "import os\nfor path in ('/proc/1/mem', '/proc/2/mem', f'/proc/{os.getppid()}/mem'):\n"
        "    for mode in ('rb', 'r+b'):\n        try:\n            open(path, mode)\n            print('opened', path, mode)\n"
        "        except OSError as error:\n            print(error)",
        never=("opened",),
    ),
    _cheat(
        "inherited file descriptors",
        "import os\nfor number in range(3, 256):\n    try:\n        status = os.fstat(number)\n"
        "        print(number, status.st_mode, os.readlink(f'/proc/self/fd/{number}'))\n        os.lseek(number, 0, 0)\n"
        "        print(os.read(number, 1 << 20).decode('utf-8', 'replace')[:5000])\n    except OSError:\n        pass",
    ),
    _cheat(
        "frames and their names",
        "import sys\nframe = sys._getframe()\nwhile frame:\n    print(frame.f_code.co_filename, str(frame.f_locals)[:20000])\n    frame = frame.f_back",
        says="_getframe",
    ),
    _cheat(
        "all objects of the collector",
        "import gc\nfor value in gc.get_objects():\n    if isinstance(value, (str, bytes)) or type(value).__name__ in ('Answer', 'Mistake', 'Verdict'):\n"
        "        print(str(value)[:500])\nprint([m for m in __import__('sys').modules if 'references' in m])",
        says="gc",
    ),
    _cheat(
        "strings in its own memory",
        "import re\nwith open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb') as memory:\n    total = 0\n"
        "    for line in maps:\n        if '[heap]' in line or line.split()[-1] == '0':\n"
        "            low, high = (int(n, 16) for n in line.split()[0].split('-'))\n            try:\n                memory.seek(low)\n"
        "                data = memory.read(min(high - low, 1 << 24))\n            except (OSError, ValueError, OverflowError):\n                continue\n"
        "            for found in re.findall(rb'[ -~]{8,200}', data):\n"
        "                if re.search(rb'gradebook|eps_outside|submitted/|secret', found): print(found.decode())",
    ),
    _cheat(
        "git history",
        f"{_FIND}\nfor place in ('.', '..', '/', '/grader', '/grader/..'):\n    print(os.listdir(place))\n    show(place + '/.git/config')",
    ),
    _cheat(
        "gradebook by database",
        "import sqlite3, glob\nfor path in ('gradebook.db', '../gradebook.db', '/gradebook.db', '../../gradebook.db'):\n"
        "    try:\n        db = sqlite3.connect(f'file:{path}?mode=ro', uri=True)\n        print(db.execute('select name from sqlite_master').fetchall())\n"
        "    except sqlite3.Error as error:\n        print(error)",
    ),
    _cheat(
        "system files",
        f"{_FIND}\nfor path in ('/etc/passwd', '/etc/shadow', '/etc/hostname', '/root/.bashrc', '/root/.ssh', '/home', '/var/lib', '/run', '/proc/kcore', '/proc/kallsyms', '/dev/mem', '/dev/sda', '/dev/vda'):\n"
        "    try:\n        print(os.listdir(path))\n    except OSError:\n        show(path, 500)",
        never=("root:x:0",),
    ),
    _cheat(
        "network",
        "import socket\ntry:\n    s = socket.create_connection(('127.0.0.1', 22), timeout=1)\n    print('connected')\nexcept OSError as error:\n    print(error)\n"
        "import urllib.request\ntry:\n    print('connected', urllib.request.urlopen('http://169.254.169.254/', timeout=1).read())\nexcept OSError as error:\n    print(error)",
        never=("connected",),
    ),
    _cheat(
        "what the one before left",
        "import os\nfor place in ('/tmp', '/scratch', '/submission', '/dev/shm', '/var/tmp', '.'):\n"
        "    if os.path.isdir(place): print(place, [x for x in os.listdir(place)])",
    ),
)
