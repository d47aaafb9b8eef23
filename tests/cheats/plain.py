"""Tampering with ordinary assert cells, as any nbgrader course has them; and the small assignment for it."""

from __future__ import annotations

from typing import Any

from tests.cheats.table import Cheat, Notebook, cell_named, code_cell, form

PLAIN_DAY = "plain"
SETUP = "setup"


def _cell(
    name: str, source: str, *, points: float | None = None, solution: bool = False, kind: str = "code"
) -> dict:
    cell = code_cell(source)
    cell["id"] = name.replace("_", "-")
    cell["metadata"]["nbgrader"] = {
        "grade": points is not None,
        "grade_id": name,
        "locked": not solution,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
    if points is not None:
        cell["metadata"]["nbgrader"]["points"] = points
    if kind != "code":
        cell["cell_type"] = kind
        del cell["outputs"], cell["execution_count"]
    return cell


def _hidden(code: str) -> str:
    lines = code.split("\n")
    return "\n".join([lines[0], "    ### BEGIN SOLUTION", *lines[1:], "    ### END SOLUTION"])


ADD = "def add(a, b):\n    return a + b"
MEAN = "def mean(values):\n    return sum(values) / len(values)"
RIGHT = {"add": ADD, "mean": MEAN}
#: Right in one of the two functions.
HALF = {"add": ADD, "mean": "def mean(values):\n    return sum(values)"}
WRONG = {"add": "def add(a, b):\n    return 0", "mean": "def mean(values):\n    return -1"}
FULL = 9
HALF_POINTS = 4


def source() -> Notebook:
    """The source notebook: two functions, tests of several kinds, an essay for a person to read."""
    cells = [
        _cell(SETUP, "import math\nimport unittest\n\nimport numpy as np\nimport torch"),
        _cell("add", _hidden(ADD), solution=True),
        _cell("test_add", "assert add(1, 2) == 3\nassert add(-1, 1) == 0", points=2),
        _cell("mean", _hidden(MEAN), solution=True),
        _cell(
            "test_mean",
            "np.testing.assert_allclose(mean([1.0, 2.0, 4.5]), 2.5)\nassert math.isclose(mean([3]), 3)",
            points=2,
        ),
        _cell(
            "test_types",
            "class Test(unittest.TestCase):\n    def test(self):\n        self.assertAlmostEqual(mean([1, 2]), 1.5)\n"
            "        self.assertIsInstance(mean([1, 2]), float)\n\nTest('test').debug()\n"
            "assert torch.allclose(torch.tensor(mean([0.5, 1.5])), torch.tensor(1.0))",
            points=1,
        ),
        _cell(
            "test_parts",
            "points = 0\nif add(2, 2) == 4:\n    points += 2\nif mean([2, 4]) == 3:\n    points += 2\npoints",
            points=4,
        ),
        _cell("essay", "Your answer.", points=5, solution=True, kind="markdown"),
    ]
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _cheat(name: str, code: str = "", answers: dict[str, str] | None = None, **more: Any) -> Cheat:
    return Cheat(name, "verdict tampering", code, answers=WRONG if answers is None else answers, **more)


def _add(body: str, before: str = "") -> dict[str, str]:
    lines = body.strip().replace("\n", "\n    ")
    return {**WRONG, "add": f"{before}\ndef add(a, b):\n    {lines}"}


def _tests_deleted(notebook: Notebook) -> None:
    for cell in notebook["cells"]:
        if form(cell).get("grade") and cell["cell_type"] == "code":
            cell["source"] = "pass"


def _edited_into_the_test(notebook: Notebook) -> None:
    cell = cell_named(notebook, "test_add")
    cell["source"] = "2"


_ALWAYS = "class Any_:\n    def __eq__(self, other): return True\n    __hash__ = None"
_CHANNEL = """
import os, sys, json, struct
def forge(**fields):
    frame = sys._getframe()
    while frame and 'request' not in frame.f_locals: frame = frame.f_back
    text = json.dumps({'request': frame.f_locals['request']['request'], 'status': 'ok', **fields}).encode()
    for name in os.listdir('/proc/self/fd'):
        try:
            if os.readlink('/proc/self/fd/' + name).startswith('socket:'):
                os.write(int(name), struct.pack('!II', len(text), 0) + text)
        except OSError: pass
"""

CHEATS = (
    _cheat(
        "assertions swallowed by a hook",
        "get_ipython().set_custom_exc((AssertionError,), lambda *a, **k: None)",
    ),
    _cheat(
        "AssertionError renamed",
        "import builtins\nbuiltins.AssertionError = AssertionError = type('E', (Exception,), {})",
    ),
    _cheat(
        "numpy's testing patched",
        "import numpy as np\nnp.testing.assert_allclose = lambda *a, **k: None\nnp.allclose = lambda *a, **k: True",
        says="changed",
    ),
    _cheat("math patched", "import math\nmath.isclose = lambda *a, **k: True", says="changed"),
    _cheat(
        "unittest patched",
        "import unittest\nfor n in dir(unittest.TestCase):\n    if n.startswith('assert'): setattr(unittest.TestCase, n, lambda *a, **k: None)\nunittest.TestCase.debug = lambda s: None",
    ),
    _cheat(
        "torch patched", "torch.allclose = lambda *a, **k: True\ntorch.tensor = lambda v: 1.0", says="changed"
    ),
    _cheat(
        "modules shadowed by name",
        "class np:\n    class testing:\n        assert_allclose = staticmethod(lambda *a, **k: None)\nclass math:\n    isclose = staticmethod(lambda *a: True)\n"
        "class torch:\n    allclose = tensor = staticmethod(lambda *a: True)",
    ),
    _cheat(
        "modules replaced in sys.modules",
        "import sys, types\nfor n in ('numpy', 'math', 'torch', 'unittest'):\n    sys.modules[n] = types.ModuleType(n)",
    ),
    _cheat(
        "exception hooks and display",
        "ip = get_ipython()\nip.showtraceback = ip._showtraceback = lambda *a, **k: None\nip.showsyntaxerror = lambda *a, **k: None",
    ),
    _cheat(
        "code run in another shell",
        "ip = get_ipython()\nip.run_cell = ip.run_code = ip.run_ast_nodes = lambda *a, **k: None\nimport builtins\nbuiltins.exec = builtins.compile = lambda *a, **k: None",
    ),
    _cheat(
        "a number that is an object",
        answers=_add(
            "return Points()",
            "class Points:\n    def __eq__(self, other):\n        return True\n    def __repr__(self): return '4'",
        ),
        says="__eq__",
        points=4,
        flagged="An assert that compares with == asks the student's own object; a class that defines __eq__ is shown to a person.",
    ),
    _cheat(
        "equal to everything",
        answers=_add("return Any_()", _ALWAYS),
        says="__eq__",
        points=4,
        flagged="The same: nothing tells an honest __eq__ from this one but reading it.",
    ),
    _cheat(
        "huge points",
        "import builtins",
        answers={
            **WRONG,
            "add": "class N(int):\n    def __eq__(s, o): return True\ndef add(a, b):\n    global points\n    points = 1000\n    return 0",
        },
    ),
    _cheat(
        "points object in the tests' own name",
        answers={
            **WRONG,
            "add": "class P:\n    def __iadd__(self, o): return self\n    def __repr__(self): return '4'\ndef add(a, b):\n    globals()['points'] = P()\n    return 0",
        },
        says="looks like a number",
    ),
    _cheat(
        "integer that calls itself 4",
        answers={
            **WRONG,
            "add": "class P(int):\n    def __repr__(self): return '4'\n    __str__ = __repr__\ndef add(a, b):\n    globals()['points'] = P(0)\n    return 0",
        },
        says="looks like a number",
    ),
    _cheat(
        "points set from within",
        answers={**WRONG, "add": "def add(a, b):\n    globals()['points'] = 4\n    return 0"},
        points=4,
        says="points",
        flagged="The test keeps its points in a name that the student's code can set; a person is told that it does.",
    ),
    _cheat(
        "negative points",
        answers={**WRONG, "add": "def add(a, b):\n    globals()['points'] = -100\n    return 0"},
    ),
    _cheat(
        "NaN points",
        answers={**WRONG, "add": "def add(a, b):\n    globals()['points'] = float('nan')\n    return 0"},
    ),
    _cheat(
        "infinite points",
        answers={**WRONG, "add": "def add(a, b):\n    globals()['points'] = float('inf')\n    return 0"},
    ),
    _cheat(
        "display hook shows 4",
        "ip = get_ipython()\nip.displayhook.__class__.__call__ = lambda self, value=None: self.sink.emit({'output_type': 'execute_result', 'data': {'text/plain': '4'}, 'metadata': {}})",
    ),
    _cheat(
        "result forged from within", answers=_add("ip = get_ipython()\nip.displayhook(2)\nprint(2)\nreturn 0")
    ),
    _cheat("exit from within", answers=_add("import os\nos._exit(0)"), says="ended"),
    _cheat("sys.exit from within", answers=_add("raise SystemExit(0)")),
    _cheat("KeyboardInterrupt from within", answers=_add("raise KeyboardInterrupt")),
    _cheat("GeneratorExit from within", answers=_add("raise GeneratorExit")),
    _cheat(
        "an exception whose type lies",
        answers=_add(
            "raise E",
            "class Meta(type):\n    __name__ = property(lambda s: 1 / 0)\nclass E(BaseException, metaclass=Meta):\n    def __str__(self): raise SystemExit",
        ),
    ),
    _cheat("tests deleted", edit=_tests_deleted, says="put back"),
    _cheat("test edited into a number", edit=_edited_into_the_test, says="put back"),
    _cheat(
        "tracing jumps over the asserts",
        answers=_add(
            "frame = sys._getframe().f_back\ndef trace(f, event, arg): return trace\nframe.f_trace = jump\nsys.settrace(trace)\nreturn 0",
            "import sys\ndef jump(frame, event, arg):\n    try: frame.f_lineno = frame.f_lineno + 1\n    except Exception: pass\n    return jump",
        ),
        says="settrace",
    ),
    _cheat(
        "answer forged, then gone",
        answers=_add("forge()\nimport os\nos._exit(0)", _CHANNEL),
        says="_getframe",
        points=2,
        flagged="Whoever reaches the frames of the runner can speak in its name; reaching for them is seen and shown to a person.",
    ),
    _cheat(
        "code of the test's helpers changed",
        "import numpy as np\nf = np.testing.assert_allclose\nf = getattr(f, '__wrapped__', f)\nf.__code__ = (lambda *a, **k: None).__code__.replace(co_name='f') if not f.__code__.co_freevars else f.__code__",
        says="__code__",
    ),
    _cheat(
        "pytest-like asserts rewritten",
        "import ast\nclass Drop(ast.NodeTransformer):\n    def visit_Assert(self, node): return ast.Pass()\nget_ipython().ast_transformers.append(Drop())",
    ),
    _cheat(
        "test text cut by a transformer",
        "get_ipython().input_transformers_post.append(lambda lines: ['pass\\n'])",
    ),
    _cheat(
        "stderr and warnings cost nothing",
        "import sys, warnings",
        answers={
            "add": "def add(a, b):\n    print('hm', file=sys.stderr); warnings.warn('w')\n    return a + b",
            "mean": MEAN,
        },
        points=FULL,
    ),
    _cheat(
        "a long honest print in a test",
        answers={"add": "def add(a, b):\n    print('x' * 5_000_000)\n    return a + b", "mean": MEAN},
        points=FULL,
    ),
    _cheat(
        "NumPy numbers as results",
        answers={
            "add": "def add(a, b):\n    return np.int64(a) + b",
            "mean": "def mean(values):\n    return float(np.mean(values))",
        },
        points=FULL,
    ),
    _cheat(
        "modules imported again",
        "import numpy as np\nimport math, unittest, torch\nfrom math import *",
        answers=RIGHT,
        points=FULL,
    ),
)
