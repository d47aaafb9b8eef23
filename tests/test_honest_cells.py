"""Cells that run on a student's own computer, and run in the sandbox as well."""

from __future__ import annotations

import functools
import shutil
import socket
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import graders
from graders.batch.elsewhere import NO_PROGRAM, Elsewhere, compared
from graders.batch.notebook import Graded, execute
from graders.judging import catalogue
from graders.judging.verdict import MIME
from graders.probing.days import bars
from graders.probing.process import protocol
from graders.sandbox.box import Box
from graders.sandbox.jail import Limits
from tests.courses import solution_code

pytestmark = pytest.mark.skipif(not shutil.which("bwrap"), reason="no bubblewrap")


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with Box(limits=Limits(cell=20.0), libraries=("torch", "matplotlib"), bars=bars) as box:
        yield box


def code(source: str, name: str = "") -> dict[str, Any]:
    form = {"grade": True, "solution": False, "locked": True, "grade_id": name, "points": 1} if name else {}
    metadata = {"nbgrader": form} if form else {}
    return {"cell_type": "code", "metadata": metadata, "source": source, "outputs": []}


def locked(source: str) -> dict[str, Any]:
    """A cell of the instructor's that sets up."""
    cell = code(source)
    cell["metadata"] = {"nbgrader": {"locked": True, "grade": False, "solution": False, "grade_id": "s"}}
    return cell


def run(box: Box, *cells: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Has cells executed; returns the errors in which they end, and what was found."""
    with box.session({}, {"matplotlib"}) as session:
        flags = execute({"cells": list(cells)}, session).flags
    outputs = [output for cell in cells for output in cell["outputs"]]
    return [f"{one['ename']}: {one['evalue']}" for one in outputs if one["output_type"] == "error"], flags


@pytest.mark.parametrize("name", catalogue.exercises())
def test_what_cells_leave_behind_is_put_aside_while_a_check_runs(name: str) -> None:
    """All at once: inference mode, a device on which there are no values, and numbers of few digits."""
    definition = catalogue.answer_of(name).definition
    torch.set_default_device("meta")
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.inference_mode():
            verdict = graders.evaluate(name, definition, seed=0)
        assert torch.get_default_device().type == "meta" and torch.get_default_dtype() == torch.bfloat16
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert verdict.passed, str(verdict)


@pytest.mark.parametrize(
    "before",
    [
        "torch.inference_mode().__enter__()",
        "torch.set_grad_enabled(False)",
        "torch.set_default_device('meta')",
        "torch.set_default_dtype(torch.bfloat16)",
    ],
)
def test_the_same_is_put_aside_in_the_batch(box: Box, before: str) -> None:
    """Inputs are made there, too: those of inference mode cannot be trained on."""
    test = code("check(train)", "t")
    cells = [code("import torch"), code(solution_code("day34")["train"]), code(before), test]
    assert run(box, *cells) == ([], [])
    assert test["outputs"][-1]["data"][MIME]["points"] == 5


PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"


@pytest.mark.parametrize(
    "before",
    [
        *("%matplotlib widget", "%matplotlib notebook", "%matplotlib qt", "%matplotlib tk", "%matplotlib"),
        *(
            "import matplotlib\nmatplotlib.use('TkAgg')",
            "import matplotlib\nmatplotlib.use('module://ipympl')",
        ),
        "import matplotlib.pyplot as plt\nplt.switch_backend('QtAgg')",
    ],
)
def test_figures_stand_in_the_notebook(box: Box, before: str) -> None:
    cell = code(f"{before}\n{PLOT}")
    assert run(box, cell) == ([], [])
    assert any("image/png" in output.get("data", {}) for output in cell["outputs"])


@pytest.mark.parametrize(
    "before",
    [
        "torch.set_default_device('cuda')",
        "torch.set_default_device(torch.device('mps'))",
        "torch.set_default_dtype(torch.float64)",
        "torch.set_default_dtype(torch.bfloat16)\ntorch.set_default_dtype(torch.float32)",
        "import builtins, functools\nbuiltins.print = functools.partial(print, flush=True)",
        "from rich import print",
        "import faulthandler\nfaulthandler.enable()",
        "import os, sys\nsys.stdout.flush()\nos.fsync(sys.stderr.fileno()) if False else sys.stdout.fileno()",
        "import importlib, math, numpy\nimportlib.reload(math)\nimportlib.reload(numpy)",
        "%pylab inline",
    ],
)
def test_habits_are_no_tampering_and_cost_nothing(box: Box, before: str) -> None:
    test = code("print(1)\nassert torch.zeros(2).sum() == 0", "t")
    assert run(box, locked("import torch"), code(before), test) == ([], [])


@pytest.mark.parametrize(
    "magic",
    [
        *("autosave 60", "connect_info", "qtconsole", "store", "store -r x", "edit", "recall 3"),
        "python",
        *("conda install -y numpy", "mamba install numpy", "pip install numpy"),
    ],
)
def test_magics_of_the_kernel_do_nothing(box: Box, magic: str) -> None:
    """One that is not there ends its cell, with all that stands behind it."""
    assert run(box, code(f"%{magic}\nimport math\nx = math.pi"), code("assert x > 3", "t")) == ([], [])


@pytest.mark.parametrize("how", ["", "(fullgraph=True)", "(fullgraph=True, mode='max-autotune')"])
def test_a_function_to_be_compiled_is_judged_as_it_is_written(box: Box, how: str) -> None:
    test = code("check(identity_parameters)", "t")
    answer = f"@torch.compile{how}\n{solution_code('day26')['identity_parameters'].strip()}"
    assert run(box, code("import torch"), code(answer), test) == ([], [])
    assert test["outputs"][-1]["data"][MIME]["points"] == 2


def test_a_process_that_is_gone_has_sent_nothing() -> None:
    """However the other end of the channel learns of it."""
    ours, theirs = socket.socketpair()
    protocol.send(ours, {})
    theirs.close()
    for ask in (protocol.receive, functools.partial(protocol.send, header={})):
        with pytest.raises(protocol.Broken, match=r"^the connection was closed$"):
            ask(ours)


@pytest.mark.parametrize("debugger", ["breakpoint()", "import pdb; pdb.set_trace()"])
def test_a_debugger_that_was_left_is_for_a_person(box: Box, debugger: str) -> None:
    """Where it was written, somebody told it to go on."""
    cells = code(f"def f(x):\n    {debugger}\n    return x"), code("assert f(1) == 1", "t")
    errors, flags = run(box, *cells)
    assert errors and not flags
    assert compared({"cells": list(cells)}, Elsewhere())[1] == {"t"}


LOADER = """
from torch.utils.data import DataLoader

loader = DataLoader(torch.arange(6), batch_size=4, num_workers=2, timeout=5, persistent_workers=True)
for _ in range(2):
    assert [len(one) for one in loader] == [4, 2]
assert loader.num_workers == 2
"""
PARALLEL = """
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

x = torch.randn(40, 2).numpy()
assert len(cross_val_score(LogisticRegression(), x, x[:, 0] > 0, cv=4, n_jobs=-1)) == 4
"""


@pytest.mark.parametrize("source", [LOADER, PARALLEL], ids=["DataLoader", "joblib"])
def test_work_for_other_processes_is_done_here(box: Box, source: str) -> None:
    assert run(box, code(f"import torch\n{source}"), code("assert True", "t")) == ([], [])


def test_names_that_are_gone_are_no_trick(box: Box) -> None:
    test = code("assert f(4) == math.sqrt(4)", "t")
    answer = "def f(x):\n    return x / 2"
    given = locked("import math")
    assert run(box, given, code(f"%reset -f\n{answer}"), test) == ([], [])
    assert run(box, given, code(f"del math\n{answer}"), test) == ([], [])
    errors, flags = run(box, given, code(f"math = None\n{answer}"), test)
    assert not errors and len(flags) == 1


@pytest.mark.parametrize("tested", ["assert f(4) == 2", "assert f(4) == 2 and np.ones(1) == 1"])
@pytest.mark.parametrize(
    "answer",
    [
        "import time\ndef f(x):\n    time.perf_counter()\n    return x / 2",
        "import datetime\ndef f(x):\n    datetime.datetime.now()\n    return x / 2",
        "class sqrt: pass\ndef f(x):\n    return x / 2 if isinstance(sqrt(), sqrt) else 0",
    ],
)
def test_a_name_that_no_test_uses_is_the_students(box: Box, answer: str, tested: str) -> None:
    """Where the notebook has `from time import time`, many import the module."""
    given = locked(
        "import numpy as np\nfrom time import time\nfrom math import (\n    pi,\n)\nfrom math import sqrt"
    )
    more = locked("from datetime import datetime")
    assert run(box, given, more, code(answer), code(tested, "t"), code(tested, "u")) == ([], [])


@pytest.mark.parametrize(
    "cells",
    [
        (locked("import math"), code("assert math.sqrt(4) == 2", "t"), code("assert math.sqrt(9) == 3", "u")),
        (
            locked("import math\ndef root(x):\n    return math.sqrt(x)"),
            *(code("assert root(4) == 2", "t"), code("assert root(9) == 3", "u")),
        ),
        (
            locked("import math"),
            *(code(f"exec('assert ma' + 'th.sqrt({n * n}) == {n}')", f"t{n}") for n in (2, 3)),
        ),
    ],
    ids=["in the test", "in a function of the notebook's", "in what it runs"],
)
def test_a_name_that_a_test_uses_is_put_back_for_each(box: Box, cells: tuple[dict[str, Any], ...]) -> None:
    """And in between it is what the student has it be."""
    given, *tests = cells
    fake = code("class math:\n    sqrt = float\n    pi = 4")
    first, second = tests
    errors, flags = run(box, given, fake, first, code("assert math.pi == 4"), second)
    assert errors == []
    assert [flag.partition(":")[0] for flag in flags if "(math)" in flag] == [
        one["metadata"]["nbgrader"]["grade_id"] for one in tests
    ]


OLDER = """
import functools
import numpy as np
torch.load = functools.partial(torch.load, weights_only=False)
np.load, np.bool = functools.partial(np.load, allow_pickle=True), bool
class Own: pass
torch.save(Own(), 'own.pt')
np.save('own.npy', np.array([None]))
def f():
    return bool(torch.load('own.pt')) and len(np.load('own.npy')) == 1
"""


def test_what_has_older_files_read_is_no_trick(box: Box) -> None:
    answer = code(OLDER)
    assert run(box, locked("import torch"), answer, code("assert f()", "t")) == ([], [])
    errors, flags = run(box, locked("import torch"), answer, code("assert torch.load('own.pt')", "t"))
    assert len(errors) == len(flags) == 1 and "torch.load" in flags[0]


def test_a_default_device_that_is_there_is_taken(box: Box) -> None:
    cells = code("import torch\ntorch.set_default_device('meta')"), code("assert torch.zeros(1).is_meta", "t")
    assert run(box, *cells) == ([], [])


TESTED = '''
def double(x):
    """Twice as much.

    >>> double(2)
    4
    """
    return 2 * x
'''
#: What tests of other courses are made of; each fails where `double` gives something else.
WAYS = {
    "doctest": "import doctest\nassert not doctest.testmod().failed",
    "a runner of doctest": """
import doctest
runner = doctest.DocTestRunner(verbose=False)
for one in doctest.DocTestFinder().find(double, globs={"double": double}):
    runner.run(one)
assert runner.tries and not runner.failures
""",
    "what it prints": "%%capture shown\nassert double(2) == 4",
    "how long it takes": "%%time\nassert double(2) == 4",
    "how long a line takes": "%time assert double(2) == 4",
    "a file of tests": "%run -i tests.py",
    "unittest": """
import unittest

class Test(unittest.TestCase):
    def test(self):
        self.assertEqual(double(2), 4)

assert unittest.main(argv=["", "Test"], exit=False).result.wasSuccessful()
""",
}


@pytest.mark.parametrize("way", WAYS)
def test_tests_of_other_courses_pass_and_fail_as_they_do_there(box: Box, way: str) -> None:
    for answer, passes in ((TESTED, True), (TESTED.replace("return 2", "return 3"), False)):
        test = code(WAYS[way], "t")
        with box.session({"tests.py": b"assert double(2) == 4"}, set()) as session:
            flags = execute({"cells": [code(answer), test]}, session).flags
        kinds = [output["output_type"] for output in test["outputs"]]
        assert not flags and ("error" not in kinds) == passes, test["outputs"]


@pytest.mark.parametrize("last", ["1 == 1", "1 == 2", "'shown'", "(1, 2)"])
def test_what_a_test_ends_in_is_shown(box: Box, last: str) -> None:
    test = code(f"assert True\n{last}", "t")
    assert run(box, test) == ([], [])
    assert [output["data"] for output in test["outputs"]] == [{"text/plain": repr(eval(last))}]


def test_an_error_that_an_answer_shows_is_none_of_its_test(box: Box) -> None:
    answer = code("def f():\n    get_ipython().run_cell('1 / 0')\n    return 1")
    test = code("assert f() == 1", "t")
    run(box, answer, test)
    assert [output["output_type"] for output in test["outputs"]] == ["stream"]


ASYNC = """
import asyncio

async def plus(x):
    await asyncio.sleep(0.001)
    return x + 1

async def numbers():
    yield 1
"""


@pytest.mark.parametrize(
    ("test", "error"),
    [
        ("assert await plus(1) == 2", None),
        ("assert await plus(1) == 3", "AssertionError: "),
        ("async with asyncio.timeout(1):\n    x = await plus(2)\nassert x == 3", None),
        ("assert [x async for x in numbers()] == [1]", None),
        ("await asyncio.gather(plus(1), plus('a'))", "TypeError: can only concatenate"),
        ("assert asyncio.run(plus(1)) == 2", None),
        ("await asyncio.sleep(100)", "CellTimeoutError: "),
    ],
)
def test_tests_may_await(box: Box, test: str, error: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a kernel, where a loop runs."""
    if "sleep" in test:  # so that nobody waits long for what must run into the limit
        monkeypatch.setattr(box, "limits", Limits(cell=4.0))
    errors, flags = run(box, code(ASYNC), code(test, "t"), code("assert await plus(1) == 2", "u"))
    assert not flags
    assert bool(errors) == bool(error)
    assert not error or errors[-1].startswith(error)


def test_a_test_that_awaits_gives_its_points(box: Box) -> None:
    test = code("points = 0.25 * await plus(1)\npoints", "t")
    assert run(box, code(ASYNC), test) == ([], [])
    assert test["outputs"][-1]["data"] == {"text/plain": "0.5"}


def test_a_loop_that_does_not_run_a_test_passes_none(box: Box) -> None:
    lazy = "import asyncio\nasyncio.BaseEventLoop.run_until_complete = lambda self, task: task.close()"
    errors, _ = run(box, code(f"{ASYNC}\n{lazy}"), code("assert await plus(1) == 3", "t"))
    assert errors == ["RuntimeError: The cell did not come to its end."]


#: What a function may do beside its work, and what the jail makes of it; the word stands in its line.
ELSEWHERE = {
    "a file outside": ("open('/etc/hostname').read()", "FileNotFoundError"),
    "a log beside the notebook's folder": ("open('../log.txt', 'a').write('called')", "Read-only"),
    "a file of a package": ("open(torch.__file__, 'a').write('called')", "Read-only"),
    "values kept by PyTorch": (
        "torch.save(x, '../x.pt')",
        "cannot be opened" if torch.__version__.startswith("2.6") else "Read-only",
    ),
    "a network": ("socket.create_connection(('127.0.0.1', 9))", "PermissionError"),
    "a name of the network": ("urllib.request.urlopen('http://example.org')", "URLError"),
    "a new process": ("os.fork()", "PermissionError"),
    "a module": ("import einops_of_my_own", "ModuleNotFoundError"),
    "a GPU": ("torch.zeros(1).cuda()", "CUDA" if torch.version.cuda is None else "NVIDIA driver"),
    "somebody to ask": ("input()", "EOFError"),
    "memory for PyTorch": ("torch.ones(1 << 40)", "for want of memory (RuntimeError"),
    "memory for NumPy": ("__import__('numpy').ones(1 << 40)", "for want of memory (MemoryError"),
    "memory for a list": ("[0] * (1 << 40)", "for want of memory (MemoryError)"),
}
#: How a function may ask for another program, so that nothing is raised; the words "is done" follow.
PROGRAMS = {
    "by its status": "done = os.system('true') == 0",
    "by what it says": "done = get_ipython().getoutput('echo yes') == ['yes']",
    "in a try": """
    try:
        done = subprocess.run(['true']).returncode == 0
    except OSError:
        done = False""",
    "by way of os": """
    try:
        done = os.popen('echo yes').read() == 'yes'
    except OSError:
        done = False""",
}
#: The same of ordinary mistakes, and of what works here as well.
ORDINARY = {
    "a name": ("nothing_of_this_name", 0),
    "a key": ("{}['gamma']", 0),
    "nothing": ("return None", 0),
    "a log beside the notebook": ("open('log.txt', 'a').write('called')", 2),
    "what fails and is caught": ("try: open('/etc/hostname')\n    except OSError: pass", 2),
}


def with_line(line: str) -> str:
    """A right answer that begins with a line of its own."""
    head, body = solution_code("day26")["identity_parameters"].split(":\n", 1)
    return f"import os, socket, torch, urllib.request\n{head}:\n    {line}\n{body}"


def looked_at(box: Box, line: str) -> tuple[Graded, dict[str, Any]]:
    test = code("check(identity_parameters)", "t")
    with box.session({}, {"torch"}) as session:
        done = execute({"cells": [code(with_line(line)), test]}, session)
    return done, test["outputs"][-1]["data"][MIME]


@pytest.mark.parametrize("what", ELSEWHERE)
def test_what_a_judged_function_asks_of_the_place_is_for_a_person(box: Box, what: str) -> None:
    line, says = ELSEWHERE[what]
    done, verdict = looked_at(box, line)
    assert verdict["points"] == 0 and f"`{line}`" in verdict["message"]
    assert done.suspects == {"t"} and not done.flags
    assert (
        len(done.words) == 1 and done.words[0].startswith("t: what it calls ended") and says in done.words[0]
    )


@pytest.mark.parametrize("what", PROGRAMS)
def test_what_a_judged_function_asks_of_another_program_is_for_a_person(box: Box, what: str) -> None:
    done, verdict = looked_at(box, f"import subprocess\n    {PROGRAMS[what].strip()}\n    assert done")
    assert verdict["points"] == 0 and not done.flags
    assert (done.suspects, done.words) == (
        {"t"},
        ["t: what it calls asks for another program, and none is started here."],
    )


@pytest.mark.parametrize("what", PROGRAMS)
def test_a_cell_that_asks_for_another_program_says_so(box: Box, what: str) -> None:
    """A person is asked about the tests of what it defines, and nobody about those that pass."""
    source = f"import os, subprocess\n{textwrap.dedent(PROGRAMS[what]).strip()}"
    inside = textwrap.indent(f"{source}\nreturn done", "    ")
    for answer, test in ((code(source), "assert done"), (code(f"def f():\n{inside}"), "assert f()")):
        cells = [answer, code(test, "t")]
        assert run(box, *cells) == (["AssertionError: "], [])
        notes, doubtful = compared({"cells": cells}, Elsewhere())
        assert doubtful == {"t"} and "another program" in notes[0]
        cells[1] = code(f"not ({test.removeprefix('assert ')})", "t")
        assert run(box, *cells) == ([], [])
        assert compared({"cells": cells}, Elsewhere()) == ([], set())


@pytest.mark.parametrize("call", ["os.system('pip install a')", "run('pip install a')", "!pip install a"])
def test_nobody_is_asked_where_no_answer_of_a_program_is_looked_at(box: Box, call: str) -> None:
    """What it was to bring along is missed where it is used."""
    helper = "import os\ndef run(command):\n    os.system(command)"
    for line, inside in ((call, "pass"), ("pass", call)):
        cells = [
            code(f"{helper}\n{line}\ndef f():\n    {inside}\n    return 1"),
            code("assert f() == 2", "t"),
        ]
        assert run(box, *cells) == (["AssertionError: "], [])
        assert compared({"cells": cells}, Elsewhere()) == ([], set())


@pytest.mark.parametrize(
    ("line", "asked"), [("os.system('pip install a')", False), ("x = x * (os.system('a') == 0)", True)]
)
def test_a_wrong_answer_is_looked_at_where_it_depends_on_a_program(box: Box, line: str, asked: bool) -> None:
    """It is called so often that Python takes its steps in another way."""
    done, verdict = looked_at(box, f"for _ in range(20): {line}\n    eps = eps + 1")
    assert verdict["points"] < 2 and done.suspects == ({"t"} if asked else set())


@pytest.mark.parametrize("source", ["import platform\nplatform.processor()", "!echo 1", "%pip install torch"])
def test_what_asks_for_no_programs_answer_is_not_told(box: Box, source: str) -> None:
    cell = code(source)
    assert run(box, cell) == ([], [])
    assert not any(NO_PROGRAM in str(output) for output in cell["outputs"])


@pytest.mark.parametrize("what", ORDINARY)
def test_nobody_is_asked_about_other_ends_of_a_judged_function(box: Box, what: str) -> None:
    line, points = ORDINARY[what]
    done, verdict = looked_at(box, line)
    assert verdict["points"] == points
    assert (done.suspects, done.flags, done.words) == (set(), [], [])
