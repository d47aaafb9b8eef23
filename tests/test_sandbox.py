"""The warm process in the sandbox: what it imports once, for all submissions."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
import torch

from graders.batch.notebook import libraries
from graders.probing.observe import Foreign
from graders.probing.process.protocol import FILES_READ, LIBRARIES, Broken
from graders.probing.process.values import pack, unpack
from graders.sandbox import box as boxes
from graders.sandbox.box import Box, Unusable
from graders.sandbox.jail import NoSandbox

pytestmark = pytest.mark.skipif(not shutil.which("bwrap"), reason="no bubblewrap")

PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3]);"
THREAD = """
import threading, sys
from graders.probing.process import zygote

zygote._ENDING = 1.0
threading.Timer(float(sys.argv[1]), lambda: None).start()
print(zygote._threads())
"""


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with Box() as box:
        yield box


def _code(*sources: str) -> dict:
    return {"cells": [{"cell_type": "code", "source": source} for source in sources]}


def _modules(session) -> set[str]:
    outputs, _ = session.run(f"import sys\nprint(*set(sys.modules) & {set(chain(*LIBRARIES.values()))})")
    return set(outputs[0]["text"].split())


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import numpy as np, matplotlib.pyplot as plt", {"matplotlib"}),
        ("def f():\n    from sklearn.datasets import load_digits", {"sklearn"}),
        ("%matplotlib inline\nimport pandas", {"pandas"}),
        ("from torch import nn, optim", {"torch", "optim"}),
        ("torch.optim.SGD([], 0.1)", {"optim"}),
        ("import matplotlib.pyplot as plt\nplt.title('$x^2$')", {"matplotlib", "mathtext"}),
        ("import matplotlib.pyplot as plt\nplt.loglog([1, 2])", {"matplotlib", "mathtext"}),
        ("print('$5')", set()),
        ("import antigravity", set()),
        ("import pandas as", set()),
    ],
)
def test_libraries_of_a_notebook(source: str, found: set[str]) -> None:
    assert libraries(_code("1 + 1", source), {}) == found


def test_libraries_of_what_a_notebook_imports() -> None:
    beside = {"helper.py": memoryview(b"import torch"), "helper.txt": b"import pandas", "bad.py": b"\xff(("}
    beside["not_imported.py"] = b"import sklearn"
    assert libraries(_code("from helper import f\nimport bad"), beside) == {"torch"}


def test_libraries_in_text_are_none() -> None:
    assert not libraries({"cells": [{"cell_type": "markdown", "source": "import pandas"}]}, {})


def test_libraries_are_imported_once_for_all(box: Box) -> None:
    with box.session({}) as session:
        before = _modules(session)
        plotted, _ = session.run(PLOT)
    with box.session({}, {"matplotlib"}) as session:
        assert "matplotlib.pyplot" in _modules(session)
        the_same, _ = session.run(PLOT)
    with box.session({}, set(LIBRARIES)) as session:  # which fails if that leaves the process with threads
        everything = _modules(session)
    with box.session({}) as session:
        assert _modules(session) == everything
    assert before <= {"torch", "sympy", "numpy.random"}  # what a box has from the start, and what that brings
    assert {"matplotlib.pyplot", "sklearn"} <= everything
    assert any("image/png" in one.get("data", {}) for one in plotted)
    assert [one["data"] for one in the_same] == [one["data"] for one in plotted]


def test_a_figure_with_a_formula_is_the_same(box: Box) -> None:
    code = f"{PLOT[:-1]}; plt.title(r'$\\frac{{x}}{{2}}$');"
    with box.session({}, {"matplotlib"}) as session:
        made_there, _ = session.run(code)
    with box.session({}, {"matplotlib", "mathtext"}) as session:
        made_before, _ = session.run(code)
    assert any("image/png" in one.get("data", {}) for one in made_before)
    assert [one["data"] for one in made_before] == [one["data"] for one in made_there]


#: Prints the files that Python's tracebacks have been read from.
READ = """
import os, stack_data
files = stack_data.Source._class_local("__source_cache_with_lines", {})
print(*{os.path.basename(name) for name, lines in files})
"""


def _read(session) -> set[str]:
    outputs, _ = session.run(READ)
    return {name for name in outputs[0]["text"].split() if name.endswith(".py")}


def test_files_that_errors_pass_are_read_once_for_all(box: Box) -> None:
    code = "import json, own\njson.loads('{')"
    with box.session({"own.py": b"import json\ndef fail(): json.loads('{')\n"}) as session:
        before = _read(session)
        first, _ = session.run(code)
        session.run_graded("own.fail()", "own.fail()", "")
        assert {"decoder.py", "own.py"} <= _read(session)
    with box.session({"own.py": b""}) as session:
        assert _read(session) - before == {"__init__.py", "decoder.py"}  # of json: not the student's own
        again, _ = session.run(code)
    assert "decoder.py" in str(first[0]["traceback"])
    assert again == first


def test_so_many_lines_are_read_at_most() -> None:
    """In a process of its own: what has been read stays."""
    lines = len(Path(json.__file__).read_text().splitlines())
    code = "import json, os\nfrom graders.probing.process.runner import read_sources\n"
    code += f"print(read_sources([os.__file__, json.__file__, json.decoder.__file__], {lines}))\n{READ}"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["0", Path(json.__file__).name]  # os is too long, and then none is left


def test_a_path_that_is_no_library_s_is_not_read(box: Box) -> None:
    """A submission may say what it likes: the warm process reads what it has imported itself, and no more."""
    unknown = os.__file__.replace("os.py", "antigravity.py")  # which nobody has imported
    paths = [unknown, "/etc/passwd", f"{'x' * 70_000}.py", f"{'é' * 900}.py", None, 1]
    with box.session({}) as session:
        before = _read(session)
        session.run(f"get_ipython().met.update(dict.fromkeys({paths!r}))")
    with box.session({}) as session:
        assert _read(session) == before
        for told in range(30):
            session.run(f"get_ipython().met.update({{f'/{told}-{{n}}.py': None for n in range(9)}})")
        assert len(session.met) == FILES_READ
    with box.session({}) as session:
        assert _read(session) == before


#: Prints the fonts that matplotlib finds, and how wide a letter of an AFM font is.
FONTS = """
import json
from pathlib import Path

import matplotlib
from matplotlib import _afm
from matplotlib.font_manager import fontManager

fonts = [sorted(map(repr, map(vars, one))) for one in (fontManager.afmlist, fontManager.ttflist)]
with Path(matplotlib.get_data_path(), "fonts", "afm", "ptmr8a.afm").open("rb") as file:
    width = _afm.AFM(file).get_str_bbox_and_descent("m")
print(json.dumps([fonts, width]))
"""


def test_the_list_of_fonts_is_matplotlibs_own(tmp_path: Path) -> None:
    lists = []
    for number, first in enumerate(("", "from graders.probing.process import runner; runner._list_fonts()")):
        environment = {**os.environ, "MPLCONFIGDIR": str(tmp_path / str(number))}
        command = [sys.executable, "-c", f"{first}\n{FONTS}"]
        found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        lists.append(json.loads(found.stdout))
    (afm, ttf), width = lists[0]
    assert afm and ttf and width[2]
    assert lists[1] == lists[0]


#: Prints matplotlib's docstrings that it makes itself, and which module `inspect` finds in which file.
TEXTS = """
import inspect, json
import matplotlib.pyplot as plt
from matplotlib.artist import Artist

def kinds(kind):
    yield kind
    for one in kind.__subclasses__():
        yield from kinds(one)

shell = shell or runner.make_shell()
shell.sink.left = 1 << 20
shell.run_cell("1 / 0")
texts = {f"{kind.__module__}.{kind.__qualname__}": kind.set.__doc__ for kind in kinds(Artist)}
print(json.dumps([{**texts, "plot": plt.plot.__doc__}, inspect.modulesbyfile]))
"""
WARM = "shell = runner.make_shell(); runner.warm_up(shell); runner.import_libraries(shell, ['matplotlib'])"


def test_what_is_read_once_is_what_is_read_many_times(tmp_path: Path) -> None:
    found = []
    for first in ("shell = None", WARM):
        code = f"from graders.probing.process import runner\n{first}\n{TEXTS}"
        environment = {**os.environ, "MPLCONFIGDIR": str(tmp_path)}
        command = [sys.executable, "-c", code]
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.append(json.loads(said.stdout))
    for plain, warm in zip(*found, strict=True):
        shared = plain.keys() & warm.keys()
        assert len(shared) > 50
        assert {name: warm[name] for name in shared} == {name: plain[name] for name in shared}
    of_matplotlib = {file for file in found[0][1] if "matplotlib" in file}
    assert of_matplotlib and of_matplotlib <= found[1][1].keys()


#: Says how many threads there are once PyTorch is prepared, and differentiates in a fork; with a device that
#: PyTorch knows of beside the CPU, such as a GPU is.
FORKED = """
import os
import torch
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend
from graders.probing.process import runner

_setup_privateuseone_for_python_backend()
before = len(os.listdir("/proc/self/task"))
{first}
print(len(os.listdir("/proc/self/task")) - before, flush=True)
if os.fork() == 0:
    x = torch.ones(2, requires_grad=True)
    try:
        print((x * x).sum().backward() or x.grad.tolist(), flush=True)
    except RuntimeError as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
"""
DIFFERENTIATES = "torch.ones(2, requires_grad=True).sum().backward()"


@pytest.mark.skipif(
    not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this PyTorch cannot make up a device",
)
def test_forks_can_differentiate_where_there_is_a_device_beside_the_cpu() -> None:
    for first, threads, said in (
        ("runner._prepare_torch()", "0", "[2.0, 2.0]"),
        (DIFFERENTIATES, "1", "Unable to handle autograd's threading"),
    ):
        code = FORKED.format(first=first)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        count, answer = done.stdout.splitlines()[:2]
        assert count == threads and answer.startswith(said), (first, done.stdout)


def test_a_session_that_cannot_begin_can_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends as the box's failure, and not in an error of its closed socket, which would end a worker."""

    def fails(*given: object, **named: object) -> None:
        raise OSError(5, "Input/output error")

    with Box(sandbox="none", libraries=()) as box:
        with monkeypatch.context() as patched:
            patched.setattr(boxes, "Session", fails)
            with pytest.raises(Unusable, match="Input/output error"), box.session({}):
                pass
        with box.session({}) as session:
            assert session.run("print(1)")[0][0]["text"] == "1\n"


def test_libraries_that_run_threads_are_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be graded with them: the run ends, and none of the submissions is tried."""
    box = Box(sandbox="none", libraries=())
    monkeypatch.setattr(box, "_heard", lambda deadline: {"threads": 2, "places": None})
    with box, pytest.raises(NoSandbox, match="runs threads here"), box.session({}):
        pass


#: Prints what a notebook shows of two errors.
ERRORS = """
shell = runner.make_shell()
shell.sink.left, shown = 1 << 20, []
shell.sink.send = shown.append
shell.run_cell("def f(x):\\n    return 1 / x\\nf(0)")
shell.run_cell("f('0')")
print(json.dumps(shown))
"""


def test_remembered_colours_are_those_that_are_worked_out() -> None:
    shown = []
    for first in ("", "runner._remember_styles()"):
        code = f"import json\nfrom graders.probing.process import runner\n{first}\n{ERRORS}"
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        shown.append(json.loads(said.stdout))
    assert [one["ename"] for one in shown[0]] == ["ZeroDivisionError", "TypeError"]
    assert any("\x1b[" in line for one in shown[0] for line in one["traceback"])
    assert shown[1] == shown[0]


#: Looks past what a submission was given, however they are dressed up.
LOOKS = {
    "frame": "import sys; sys._getframe()",
    "frame by inspect": "import inspect; inspect.currentframe()",
    "stack by inspect": "import inspect; inspect.stack()",
    "frame of an exception": "try:\n    1 / 0\nexcept Exception as error:\n    error.__traceback__.tb_frame",
    "frame of a generator": "g = (i for i in [1]); g.gi_frame",
    "under a library's name": "import torch, sys\nexec(compile('sys._getframe()', torch.__file__, 'exec'))",
    "code renamed": "import torch\n(lambda: 0).__code__.replace(co_filename=torch.__file__)",
    "objects": "import gc; gc.get_objects()",
    "memory": "import ctypes; ctypes.CDLL(None)",
    "code out of bytes": "import marshal; marshal.loads(marshal.dumps(compile('1', 'x', 'eval')))",
}
#: What honest notebooks do, and libraries for them.
HONEST = {
    "named tuple": "from collections import namedtuple; namedtuple('P', 'x y')",
    "data class": "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int",
    "traceback": "import traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()",
    "warning": "import warnings; warnings.warn('careful')",
    "logging": "import logging; logging.warning('careful')",
    "the words alone": "gc = ctypes = 'settrace'",
    "own text": "exec(compile('x = 1', '<mine>', 'exec'))",
    "tables": "import pandas; pandas.DataFrame({'a': [1, 2]}).describe()",
}


@pytest.mark.parametrize("code", LOOKS.values(), ids=LOOKS)
def test_looks_are_noticed(box: Box, code: str) -> None:
    with box.session({}) as session:
        _, answer = session.run(code)
        assert answer["status"] == "ok"
    assert session.noticed


@pytest.mark.parametrize("code", HONEST.values(), ids=HONEST)
def test_honest_code_is_not_noticed(box: Box, code: str) -> None:
    with box.session({}) as session:
        session.run(code)
    assert not session.noticed


#: Cells of honest notebooks that ask for another program, and what they print where there is none.
WITHOUT_PROGRAMS = {
    "lines of a command": ("gpu = !nvidia-smi\nprint(len(gpu), gpu.n == gpu[0])", "1 True\n"),
    "compiled": (
        "@torch.compile\ndef f(x):\n    return 2 * x\nprint(f(torch.ones(2)).tolist())",
        "[2.0, 2.0]\n",
    ),
}


@pytest.mark.parametrize("code, printed", WITHOUT_PROGRAMS.values(), ids=WITHOUT_PROGRAMS)
def test_cells_that_ask_for_programs_go_on(box: Box, code: str, printed: str) -> None:
    with box.session({}) as session:
        outputs, answer = session.run(f"import torch\n{code}")
    assert answer["status"] == "ok" and outputs[0]["text"] == printed


#: Cells that carry points and fail, as statements and a last expression, and the line that their error shows.
FAILING = {
    "assert": ("x = 1\nassert x == 2", "", "assert x == 2"),
    "in a function": ("def f():\n    return 1 / 0\nf()", "", "return 1 / 0"),
    "in the result": ("", "[][1]", "[][1]"),
    "after another error": ("try:\n    1 / 0\nexcept ZeroDivisionError:\n    {}['x']", "", "{}['x']"),
    "awaited": ("async def f():\n    return 1 / 0\nawait f()", "", "return 1 / 0"),
    "no Python": ("x = = 1", "", "x = = 1"),
    "asks": ("def f():\n    return input('?')\nf()", "", "return input('?')"),
    "ends": ("exit(1)", "", "exit(1)"),
}


@pytest.mark.parametrize("body, last, shown", FAILING.values(), ids=FAILING)
def test_a_failing_test_shows_its_own_lines_alone(box: Box, body: str, last: str, shown: str) -> None:
    with box.session({}) as session:
        outputs, answer = session.run_graded(body or last, body, last)
    assert answer["status"] == "error" and outputs[-1]["output_type"] == "error"
    text = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(outputs[-1]["traceback"]))
    assert shown in text and "runner.py" not in text


@pytest.mark.parametrize("source", ["n = int(input('How many?'))", "exit()", "quit()"])
def test_a_cell_that_asks_or_ends_shows_its_own_lines_alone(box: Box, source: str) -> None:
    with box.session({}) as session:
        outputs, _ = session.run(source)
        assert not session.noticed
    text = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(outputs[-1]["traceback"]))
    assert source in text and "cannot be used in" in text and "runner.py" not in text


@pytest.mark.parametrize(("seconds", "threads"), [(0.2, 1), (3.0, 2)])
def test_a_thread_that_is_about_to_end_is_no_thread(seconds: float, threads: int) -> None:
    command = [sys.executable, "-c", THREAD, str(seconds)]
    assert int(subprocess.run(command, capture_output=True, check=True).stdout) == threads


def test_the_numbers_of_a_list_are_sent() -> None:
    tree, payload = pack({"y": Foreign("list", torch.tensor([1.0, 2.0])), "n": Foreign("generator")})
    values = unpack(json.loads(json.dumps(tree)), payload)
    assert values == {"y": Foreign("list"), "n": Foreign("generator")}
    assert values["y"].numbers.tolist() == [1.0, 2.0]
    assert values["n"].numbers is None


@pytest.mark.parametrize("forged", [[1.0], "text", {"foreign": "list", "numbers": None}])
def test_forged_numbers_are_none(forged: object) -> None:
    assert unpack({"foreign": "list", "numbers": forged}, b"").numbers is None


@pytest.mark.parametrize("forged", [2**63, -(10**400), [1, 2**64]], ids=["large", "negative", "in a list"])
def test_forged_whole_numbers_are_refused(forged: object) -> None:
    """They would stop whoever compares them."""
    with pytest.raises(Broken):
        unpack(forged, b"")
