"""Reading answers: code that looks for solutions, secrets and other people's work, and prints what it finds.

Whatever is found is printed, so that the test of the whole batch sees a leak: the outputs of no
submission may hold any of its secrets.
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
        f"""
{_FIND}
for place, folders, names in os.walk('/'):
    boring = ('proc', 'sys', 'site-packages', 'python3.11', 'share', 'include')
    folders[:] = [f for f in folders if f not in boring]
    for name in names:
        path = os.path.join(place, name)
        if name.endswith(('.ipynb', '.db', '.csv', '.html')) or 'references' in path or 'solution' in path:
            show(path)
""",
    ),
    _cheat(
        "site-packages searched",
        f"""
{_FIND}
import sys, glob
for place in sys.path:
    for path in glob.glob(place + '/*.pth') + glob.glob(place + '/__editable__*'):
        show(path)
        for line in open(path).read().splitlines():
            print(line, os.path.isdir(line) and os.listdir(line))
for name in ('graders.judging', 'graders.judging.references', 'graders.judging.judge', 'graders.batch'):
    try:
        module = __import__(name, fromlist=['x'])
        print('got', name, module.__file__)
        show(module.__file__)
    except ImportError as error:
        print(error)
""",
        never=("got graders",),
    ),
    _cheat(
        "package imported by path",
        f"""
{_FIND}
import graders
for path in graders.__path__:
    for place, _, names in os.walk(path):
        print(place, names)
        [show(os.path.join(place, n)) for n in names]
""",
    ),
    _cheat(
        "environment",
        """
import os
print(dict(os.environ))
""",
    ),
    _cheat(
        "environments of all processes",
        f"""
{_FIND}
for number in filter(str.isdigit, os.listdir('/proc')):
    for what in ('environ', 'cmdline', 'maps', 'mem', 'auxv', 'stack', 'io'):
        show(f'/proc/{{number}}/{{what}}', 2000)
    for what in ('cwd', 'root', 'exe'):
        try: print(os.listdir(f'/proc/{{number}}/{{what}}'))
        except OSError as error: print(error)
""",
    ),
    _cheat(
        "root through the first process",
        f"""
{_FIND}
for path in ('/proc/1/root', '/proc/self/root', '/proc/1/cwd', '..', '/proc/self/cwd/../..'):
    try:
        print(path, sorted(os.listdir(path)))
    except OSError as error:
        print(path, error)
for name in ('gradebook.db', 'solutions/day26/day26.ipynb', 'nbgrader_config.py'):
    for base in ('/proc/1/root', '/proc/1/cwd', '..', '../..', '../../..', '/'):
        show(f'{{base}}/{{name}}')
""",
    ),
    _cheat(
        "memory of the warm process",
        """
import os
for path in ('/proc/1/mem', '/proc/2/mem', f'/proc/{os.getppid()}/mem'):
    for mode in ('rb', 'r+b'):
        try:
            open(path, mode)
            print('opened', path, mode)
        except OSError as error:
            print(error)
""",
        never=("opened",),
    ),
    _cheat(
        "inherited file descriptors",
        """
import os
for number in range(3, 256):
    try:
        status = os.fstat(number)
        print(number, status.st_mode, os.readlink(f'/proc/self/fd/{number}'))
        os.lseek(number, 0, 0)
        print(os.read(number, 1 << 20).decode('utf-8', 'replace')[:5000])
    except OSError:
        pass
""",
    ),
    _cheat(
        "frames and their names",
        """
import sys
frame = sys._getframe()
while frame:
    print(frame.f_code.co_filename, str(frame.f_locals)[:20000])
    frame = frame.f_back
""",
        says="_getframe",
    ),
    _cheat(
        "all objects of the collector",
        """
import gc
for value in gc.get_objects():
    if isinstance(value, (str, bytes)) or type(value).__name__ in ('Answer', 'Mistake', 'Verdict'):
        print(str(value)[:500])
print([m for m in __import__('sys').modules if 'references' in m])
""",
        says="gc",
    ),
    _cheat(
        "strings in its own memory",
        """
import re
with open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb') as memory:
    total = 0
    for line in maps:
        if '[heap]' in line or line.split()[-1] == '0':
            low, high = (int(n, 16) for n in line.split()[0].split('-'))
            try:
                memory.seek(low)
                data = memory.read(min(high - low, 1 << 24))
            except (OSError, ValueError, OverflowError):
                continue
            for found in re.findall(rb'[ -~]{8,200}', data):
                if re.search(rb'gradebook|eps_outside|submitted/|secret', found): print(found.decode())
""",
    ),
    _cheat(
        "git history",
        f"""
{_FIND}
for place in ('.', '..', '/', '/grader', '/grader/..'):
    print(os.listdir(place))
    show(place + '/.git/config')
""",
    ),
    _cheat(
        "gradebook by database",
        """
import sqlite3, glob
for path in ('gradebook.db', '../gradebook.db', '/gradebook.db', '../../gradebook.db'):
    try:
        db = sqlite3.connect(f'file:{path}?mode=ro', uri=True)
        print(db.execute('select name from sqlite_master').fetchall())
    except sqlite3.Error as error:
        print(error)
""",
    ),
    _cheat(
        "system files",
        f"""
{_FIND}
folders = '/root', '/root/.ssh', '/home', '/var/lib', '/run'
files = '/etc/passwd', '/etc/shadow', '/proc/kcore', '/proc/kallsyms', '/dev/mem', '/dev/sda', '/dev/vda'
for path in folders + files:
    try:
        print(os.listdir(path))
    except OSError:
        show(path, 500)
""",
        never=("root:x:0",),
    ),
    _cheat(
        "network",
        """
import socket
try:
    s = socket.create_connection(('127.0.0.1', 22), timeout=1)
    print('connected')
except OSError as error:
    print(error)
import urllib.request
try:
    print('connected', urllib.request.urlopen('http://169.254.169.254/', timeout=1).read())
except OSError as error:
    print(error)
""",
        never=("connected",),
    ),
    _cheat(
        "what the one before left",
        """
import os
for place in ('/tmp', '/scratch', '/graded/student/submission', '/dev/shm', '/var/tmp', '.'):
    if os.path.isdir(place): print(place, [x for x in os.listdir(place)])
""",
    ),
)
