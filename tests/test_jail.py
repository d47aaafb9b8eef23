"""What can be read in the jail: Python, its packages, libraries of the system, and nothing of anybody's.

And which jails are ended for want of whoever started them.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from graders.sandbox import jail, mounts
from graders.sandbox.box import Box
from tests.courses import ROOT

pytestmark = pytest.mark.skipif(not shutil.which("bwrap"), reason="no bubblewrap")

#: Finds every folder with a file that can be opened, but for the kernel's own, and prints how many there are.
#: A file that a link leads to stands in its own folder.
WALK = """
import json, os
readable = set()
for place, folders, names in os.walk('/'):
    if place == '/':
        folders[:] = [name for name in folders if name not in ('proc', 'sys', 'dev')]
    for name in names:
        path = os.path.join(place, name)
        try:
            with open(path, 'rb') as file:
                file.read(1)
        except OSError:
            continue
        readable.add(os.path.dirname(os.path.realpath(path)) if os.path.islink(path) else place)
        if place in readable:
            break
with open('/scratch/found.json', 'w') as file:
    json.dump(sorted(readable), file)
print(len(readable))
"""
#: Folders in which packages of the system lie, and nobody's data.
SYSTEM = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share", "/usr/local/lib", "/usr/local/cuda")
#: Where somebody's data may lie: nbgrader's exchange, what instructors keep, what the system keeps of people.
SOMEBODYS = (
    *(
        "/usr/local/share/nbgrader/exchange",
        "/srv/nbgrader/exchange",
        "/usr/share/nbgrader",
        "/opt",
        "/var/tmp",
    ),
    *("/etc", "/mnt", "/media", "/home", "/usr/local", "/usr/local/etc", "/usr/local/bin", "/tmp"),
)
#: Writes wherever it can, and replaces what it can; what it has written is in `wrote`.
WRITE = """
import json, os
wrote = []
for place, folders, names in os.walk('/'):
    if place == '/':
        folders[:] = [name for name in folders if name not in ('proc', 'sys')]
    for name in names:
        try:
            os.rename(os.path.join(place, name), os.path.join(place, 'own-mark-' + name))
            wrote.append(place)
        except OSError:
            pass
    try:
        with open(os.path.join(place, 'own-mark'), 'w') as file:
            file.write('left')
        wrote.append(place)
    except OSError:
        pass
print(json.dumps(wrote))
"""
FIND = "print([os.path.join(p, n) for p, f, names in os.walk('/') for n in (*f, *names) if 'own-mark' in n])"
#: Starts a jail, has these cells run in it by one submission each, and prints what they wrote.
EACH = """
import sys
from graders.sandbox import jail, mounts
from graders.sandbox.box import Box
with Box(libraries=()) as box:
    for code in sys.argv[1:]:
        with box.session({}) as session:
            outputs, answer = session.run(code)
            assert answer['status'] == 'ok', outputs
            print(''.join(one['text'] for one in outputs), end='')
"""


def folders_seen(box: Box) -> list[str]:
    with box.session({}) as session:
        outputs, answer = session.run(WALK)
        assert answer["status"] == "ok", outputs
        assert int(outputs[0]["text"]) > 1000
        outputs, _ = session.run("print(open('/scratch/found.json').read())")
    return json.loads("".join(one["text"] for one in outputs))


def test_every_readable_file_is_a_packages(tmp_path: Path) -> None:
    own = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    own |= {os.path.realpath(path) for path in own}
    interpreter = {Path(sys.executable).parent, Path(sys.executable).resolve().parent, Path(sys.prefix)}
    with Box(libraries=()) as box:
        seen = folders_seen(box)
    strange = [
        folder
        for folder in seen
        if not folder.startswith((*own, *SYSTEM, "/grader/graders", "/scratch", "/graded/student/submission"))
        and Path(folder) not in interpreter
        and folder not in (str(Path(sys.base_prefix) / "lib"), "/etc")
    ]
    assert not strange
    assert not [folder for folder in seen if folder.startswith("/grader/graders/judging")]


@pytest.fixture
def canaries() -> Iterator[list[Path]]:
    """Files in all places of that kind that this account can write to; they are removed afterwards."""
    mark = f"canary-{secrets.token_hex(4)}"
    planted: list[Path] = []
    made: list[Path] = []
    for folder in (
        *map(Path, SOMEBODYS),
        Path.home(),
        ROOT,
        ROOT / "solutions",
        ROOT / "graders",
        Path.cwd(),
    ):
        with contextlib.suppress(OSError):
            missing = [one for one in (folder, *folder.parents) if not one.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            made += missing
            (folder / mark).write_text("secret")
            planted.append(folder / mark)
    yield planted
    for path in planted:
        path.unlink(missing_ok=True)
    for folder in made:
        with contextlib.suppress(OSError):
            folder.rmdir()


def test_nobodys_files_can_be_read(canaries: list[Path], tmp_path: Path) -> None:
    """Wherever the configuration puts exchange and course, within a folder that is seen too."""
    seen = Path(sysconfig.get_path("purelib"))
    hidden = (seen if os.access(seen, os.W_OK) else tmp_path) / f"exchange-{secrets.token_hex(4)}"
    hidden.mkdir()
    (hidden / "canary").write_text("secret")
    try:
        with Box(hidden=[str(hidden)], libraries=()) as box, box.session({}) as session:
            paths = [str(path) for path in (*canaries, hidden / "canary", ROOT / "solutions" / "day26")]
            outputs, answer = session.run(f"import os\nprint([p for p in {paths} if os.path.exists(p)])")
            assert answer["status"] == "ok"
    finally:
        shutil.rmtree(hidden)
    assert outputs[0]["text"].strip() == "[]"
    assert len(canaries) > 3


def test_what_honest_code_reads_is_there() -> None:
    code = """
import zoneinfo, locale, ssl, sqlite3
from matplotlib import font_manager
assert font_manager.findfont('DejaVu Sans')
assert zoneinfo.ZoneInfo('Europe/Berlin')
import sklearn.datasets
assert len(sklearn.datasets.load_digits().images) == 1797
"""
    with Box(libraries=["matplotlib"]) as box, box.session({}) as session:
        outputs, answer = session.run(code)
    assert answer["status"] == "ok", outputs


@contextlib.contextmanager
def python_below(place: str) -> Iterator[Path]:
    """A Python with our packages in an environment below a folder."""
    with tempfile.TemporaryDirectory(dir=place) as name:
        environment = Path(name, "deep", "environment")
        packages = environment / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
        packages.parent.mkdir(parents=True)
        packages.symlink_to(sysconfig.get_path("purelib"))
        (environment / "bin").mkdir()
        (environment / "bin" / "python").symlink_to(Path(sys.executable).resolve())
        (environment / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).resolve().parent}\n")
        yield environment / "bin" / "python"


def run_each(python: Path, *cells: str) -> list[str]:
    """What submissions of one cell each print in one jail of this Python."""
    run = subprocess.run(
        [python, "-P", "-c", EACH, *cells],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not run.returncode, run.stderr
    return run.stdout.splitlines()


@pytest.mark.parametrize("place", ["/tmp", "/var/tmp"])
def test_folders_that_lead_to_python_are_nobodys_to_write_to(place: str) -> None:
    """What one submission leaves in them the next would find, also where they are in the jail's own /tmp."""
    with python_below(place) as python:
        wrote, left, seen = run_each(python, WRITE, f"import os\n{FIND}", "import sys\nprint(sys.executable)")
    assert {"/tmp", *json.loads(wrote)} == {"/dev/shm", "/scratch", "/graded/student/submission", "/tmp"}
    assert left == "[]"
    assert seen == str(python)


def test_packages_are_seen_over_a_link_and_pytorchs_answers_are_not() -> None:
    code = """
import importlib.util, os
folder = os.path.dirname(importlib.util.find_spec('torch').origin)
print(open(folder + '/testing/_internal/common_methods_invocations.py').read().count('norm'))
"""
    with python_below("/var/tmp") as python:
        assert run_each(python, code) == ["0"]


def test_a_python_that_was_moved_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names a folder of its builder that cannot be looked into: here since none can have such a name."""
    monkeypatch.setattr(sysconfig, "get_config_var", {"LIBDIR": "/" + 300 * "x"}.get)
    assert Path(sysconfig.get_path("stdlib")) in list(mounts._python())


@pytest.mark.parametrize(
    ("namespace", "starter_runs", "ended"),
    [("this one", False, True), ("this one", True, False), ("a container's", False, False)],
)
def test_orphans_are_ended_and_nobody_elses_jail(namespace: str, starter_runs: bool, ended: bool) -> None:
    """A container's processes may be seen from outside, where their starters have other numbers."""
    own = jail.starter().partition("-")[0]
    pid = os.getpid() if starter_runs else _ended_process()
    host = f"sandbox-{own if namespace == 'this one' else int(own) + 1}-{pid}"
    command = ["/nowhere/bwrap", "-c", "import time; time.sleep(60)", f"{jail.MOUNT}/graders/__init__.py"]
    with subprocess.Popen([*command, "--hostname", host], executable=sys.executable) as waiting:
        try:
            while b"/nowhere/bwrap" not in Path(f"/proc/{waiting.pid}/cmdline").read_bytes():
                time.sleep(0.01)  # it is still this process, forked
            jail.end_orphans()
            if ended:
                assert waiting.wait(10) == -signal.SIGKILL
            else:
                with pytest.raises(subprocess.TimeoutExpired):
                    waiting.wait(0.5)
        finally:
            waiting.kill()


def _ended_process() -> int:
    with subprocess.Popen(["true"]) as process:
        return process.pid
