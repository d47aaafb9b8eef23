"""Writing outside: code that changes the machine, the course, or what the next submission meets."""

from __future__ import annotations

from tests.cheats.table import MARK, SOME, Cheat, some


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
        f"""
{_WRITE}
own = '/graded/student/submission', '/scratch', '/dev/shm'
for place, folders, names in os.walk('/'):
    if place.startswith(('/proc', *own)) or len(place.split('/')) > 6:
        folders.clear()
        continue
    if place != '/tmp':  # a submission's own, as those are; but not what leads to Python in it
        write(os.path.join(place, '{MARK}'))
""",
        never=_WROTE,
    ),
    _cheat(
        "into the package and Python",
        f"""
{_WRITE}
import graders, torch, sys, site
for module in (graders, torch, os):
    write(module.__file__)
write(sys.prefix + '/{MARK}')
write(sys.executable)
for place in sys.path:
    write(place + '/{MARK}.pth')
""",
        never=_WROTE,
    ),
    _cheat(
        "system settings",
        f"""
{_WRITE}
for place, _, names in os.walk('/proc/sys'):
    for name in names:
        try:
            os.close(os.open(os.path.join(place, name), os.O_WRONLY))
            print('{MARK} wrote', place, name)
        except OSError:
            pass
""",
        never=_WROTE,
    ),
    _cheat(
        "modes of devices",
        """
import os
for name in ('null', 'zero', 'full', 'random', 'urandom', 'tty', 'ptmx'):
    try:
        os.chmod(f'/dev/{name}', 0)
        os.chown(f'/dev/{name}', 65534, 65534)
    except OSError:
        pass
print(oct(os.stat('/dev/null').st_mode))
""",
        prints="0o20666",
    ),
    _cheat(
        "control groups",
        f"""
{_WRITE}
for place, _, names in os.walk('/sys'):
    for name in names:
        write(os.path.join(place, name))
""",
        never=_WROTE,
    ),
    _cheat(
        "course folder by going up",
        f"""
{_WRITE}
for up in ('..', '../..', '../../..', '/work', '/root', '/home', '/srv', '/mnt'):
    write(up + '/{MARK}')
    write(up + '/gradebook.db')
""",
        never=_WROTE,
    ),
    _cheat(
        "files left behind",
        f"""
{_WRITE}
for place in ('/tmp', '/scratch', '/graded/student/submission', '/dev/shm', '.'):
    write(place + '/{MARK}')
    write(place + '/.{MARK}')
""",
        prints=f"{MARK} wrote",
    ),
    _cheat(
        "links left behind",
        f"""
import os
for place in ('/tmp', '/graded/student/submission', '/dev/shm'):
    os.symlink('/', place + '/{MARK}-root')
    os.symlink('/etc/passwd', place + '/day26.ipynb')
    os.symlink('loop', place + '/loop')
open('/graded/student/submission/{MARK}', 'w').close()
os.link('/graded/student/submission/{MARK}', '/graded/student/submission/{MARK}-2')
try:
    os.link('/usr/bin/env', '/scratch/{MARK}')
except OSError as error:
    print(error)
""",
    ),
    _cheat(
        "locked folders left behind",
        f"""
import os
for n in range(5):
    os.makedirs(f'/tmp/{MARK}{{n}}/in/side')
    open(f'/tmp/{MARK}{{n}}/in/file', 'w').close()
    os.chmod(f'/tmp/{MARK}{{n}}/in', 0)
    os.chmod(f'/tmp/{MARK}{{n}}', 0)
os.chmod('/tmp/', 0)
os.chmod('/graded/student/submission', 0)
""",
    ),
    _cheat(
        "deep folders left behind",
        f"""
import os
for n in range(1000):
    os.mkdir('{MARK}')
    os.chdir('{MARK}')
print('deep')
""",
        prints="deep",
    ),
    _cheat(
        "many files left behind",
        f"""
for n in range(20000):
    open(f'/tmp/{MARK}{{n}}', 'w').close()
""",
    ),
    _cheat(
        "odd names left behind",
        f"""
import os
for name in (b'{MARK}\\xff\\xfe', b'{MARK}\\n', b'-{MARK}', b' ', b'{MARK}' * 40):
    open(b'/tmp/' + name, 'w').close()
os.mkfifo('/tmp/{MARK}-pipe')
""",
    ),
    _cheat(
        "sockets and shared memory left behind",
        f"""
import os, mmap
from multiprocessing import shared_memory
try:
    m = shared_memory.SharedMemory(name='{MARK}', create=True, size=4096)
except OSError as error:
    print(error)
open('/dev/shm/{MARK}', 'w').close()
import ctypes
libc = ctypes.CDLL(None)
print(libc.shmget(1, 4096, 0o1777))
print(libc.mq_open(b'/{MARK}', 66, 511, None))
""",
        says="ctypes",
    ),
    _cheat(
        "own data files changed",
        """
import os
with open('data.csv', 'w') as file:
    file.write('changed')
os.chmod('data.csv', 0o777)
print('its own copy')
""",
        place=lambda folder: (folder / "data.csv").write_text("1,2\n"),
        prints="its own copy",
    ),
    _cheat(
        "libraries changed in memory for the next",
        """
import torch, numpy, builtins
torch.sqrt = None
numpy.sqrt = None
builtins.len = lambda x: 7
torch.set_default_dtype(torch.float64)
torch.manual_seed(1)
torch.set_grad_enabled(False)
""",
        answers={},
    ),
    _cheat(
        "defaults changed, work right",
        """
torch.set_default_dtype(torch.float64)
torch.set_num_threads(2)
torch.set_printoptions(precision=1)
""",
        answers=some(),
        points=SOME,
    ),
)
