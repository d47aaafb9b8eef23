"""Honest oddities: what students do without meaning any harm, and must not lose points for."""

from __future__ import annotations

import copy
from typing import Any

from tests.cheats.table import FULL, Cheat, Notebook, cell_named, code_cell, form, right


def _cheat(name: str, code: str = "", **more: Any) -> Cheat:
    return Cheat(name, "honest oddities", code, **{"answers": right(), "points": FULL, **more})


def _copied_check(notebook: Notebook) -> None:
    """Ctrl-C, Ctrl-V on a check cell: the same nbgrader id twice."""
    cell = cell_named(notebook, "check_batch_norm_forward")
    again = copy.deepcopy(cell)
    again["id"] = "a-copy"
    notebook["cells"].insert(notebook["cells"].index(cell) + 1, again)


def _copied_answer(notebook: Notebook) -> None:
    cell = cell_named(notebook, "batch_norm_forward")
    again = copy.deepcopy(cell)
    again["id"] = "a-copy"
    cell["source"] = "raise NotImplementedError()"
    notebook["cells"].insert(notebook["cells"].index(cell) + 1, again)


def _checks_at_the_end(notebook: Notebook) -> None:
    checks = [cell for cell in notebook["cells"] if form(cell).get("grade")]
    notebook["cells"] = [cell for cell in notebook["cells"] if not form(cell).get("grade")] + checks


def _scratch(notebook: Notebook) -> None:
    notebook["cells"][3:3] = [code_cell(f"x{n} = {n}") for n in range(1500)]


def _without_ids(notebook: Notebook) -> None:
    for cell in notebook["cells"]:
        cell.pop("id", None)
    notebook["nbformat_minor"] = 4


_RENAMED = {
    **right(),
    "batch_norm_forward": right()["batch_norm_forward"].replace("def batch_norm_forward", "def my_norm")
    + "\nbatch_norm_forward = my_norm",
}
_DECORATED = {
    **right(),
    "batch_norm_forward": "import functools\ndef noted(f):\n    @functools.wraps(f)\n    def inner(*a, **k):\n        return f(*a, **k)\n    return inner\n@noted\n"
    + right()["batch_norm_forward"],
}
_LOUD = {
    **right(),
    "batch_norm_forward": "import sys, warnings\n"
    + right()["batch_norm_forward"].replace(
        "    centred",
        "    print('in'); print('err', file=sys.stderr); warnings.warn('careful')\n    centred",
        1,
    ),
}

CHEATS = (
    _cheat("check cell copied", edit=_copied_check, says="more than once"),
    _cheat("answer cell copied", edit=_copied_answer, says="more than once"),
    _cheat("checks at the end", edit=_checks_at_the_end),
    _cheat("1,500 scratch cells", edit=_scratch),
    _cheat("cells without ids", edit=_without_ids),
    _cheat("input()", "name = input('your name? ')", prints="input() cannot be used"),
    _cheat("getpass", "import getpass\ngetpass.getpass()"),
    _cheat("a call that blocks", "import queue\nqueue.Queue().get()", slow=True, prints="CellTimeoutError"),
    _cheat("a long sleep", "import time\ntime.sleep(100)", slow=True, prints="CellTimeoutError"),
    _cheat("os._exit at the end", later="import os\nos._exit(0)", says="ended"),
    _cheat("sys.exit", "import sys\nsys.exit(1)"),
    _cheat("exit() and quit()", "exit()", later="quit()"),
    _cheat("a syntax error", "def broken(:\n    pass", prints="SyntaxError"),
    _cheat("an exception", "1 / 0", prints="ZeroDivisionError"),
    _cheat("a null byte in a cell", "x = '\x00'"),
    _cheat("a Unicode surrogate printed", "print('\\ud800', '\\x00', '\\x1b[31m')"),
    _cheat(
        "warnings and stderr",
        "import sys, warnings, logging\nwarnings.warn('careful')\nprint('oh', file=sys.stderr)\nlogging.error('log')\nlogging.basicConfig(level=10)",
        answers=_LOUD,
    ),
    _cheat(
        "plots",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.show()\nfig, ax = plt.subplots(); ax.imshow([[1, 2]])",
        prints="image/png",
    ),
    _cheat(
        "magics",
        "%matplotlib inline\n%time sum(range(10))\n%timeit -n1 -r1 1 + 1\n%load_ext autoreload\n%autoreload 2\n%config InlineBackend.figure_format = 'svg'\nx = 3\nx?",
        prints="Wall time",
    ),
    _cheat("cell magics", "%%time\nimport torch\ny = torch.ones(3)", prints="Wall time"),
    _cheat("captured output", "%%capture out\nprint('hidden')"),
    _cheat(
        "a file by magic",
        "%%writefile helper.py\nvalue = 5",
        later="import helper\nprint('got', helper.value)",
        prints="got 5",
    ),
    _cheat("a shell command", "!ls\n!pip install numpy\nfiles = !ls\nprint('went on')", prints="went on"),
    _cheat("bash cell", "%%bash\necho hello"),
    _cheat(
        "top-level await",
        "import asyncio\nasync def f():\n    await asyncio.sleep(0.01)\n    return 7\nprint('got', await f())",
        prints="got 7",
    ),
    _cheat("asyncio.run", "import asyncio\nasync def f():\n    return 7\nprint('got', asyncio.run(f()))"),
    _cheat(
        "tqdm",
        "from tqdm.auto import tqdm\nfor n in tqdm(range(10)): pass\nfrom tqdm import tqdm as t\nfor n in t(range(10)): pass",
    ),
    _cheat(
        "threads",
        "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(4) as pool:\n    print('sum', sum(pool.map(lambda n: n * n, range(10))))",
        prints="sum 285",
    ),
    _cheat(
        "two threads of PyTorch",
        "torch.set_num_threads(2)\ny = torch.randn(2000, 2000) @ torch.randn(2000, 2000)",
    ),
    _cheat(
        "data loader",
        "from torch.utils.data import DataLoader, TensorDataset\nfor batch in DataLoader(TensorDataset(torch.ones(4, 2)), batch_size=2): print('batch', batch[0].shape)",
        prints="batch",
    ),
    _cheat(
        "own data file",
        "print('read', open('data.csv').read())\nimport numpy as np\nprint(np.loadtxt('sub/more.csv', delimiter=','))",
        prints="read 1,2",
        place=lambda folder: [
            (folder / "sub").mkdir(),
            (folder / "data.csv").write_text("1,2\n"),
            (folder / "sub" / "more.csv").write_text("3,4\n"),
        ],
    ),
    _cheat(
        "own module",
        "from helper import five\nprint('got', five())",
        prints="got 5",
        place=lambda folder: (folder / "helper.py").write_text("def five():\n    return 5\n"),
    ),
    _cheat(
        "a file written and read",
        "import torch, pickle, tempfile, os\ntorch.save({'a': 1}, 'm.pt')\nprint('loaded', torch.load('m.pt'))\nos.makedirs('out', exist_ok=True)\nopen('out/log.txt', 'w').write('hi')\nwith tempfile.TemporaryDirectory() as d: open(d + '/x', 'w').write('y')",
        prints="loaded",
    ),
    _cheat("work done under another name", answers=_RENAMED),
    _cheat("decorated", answers=_DECORATED),
    _cheat("loud candidates", answers=_LOUD),
    _cheat(
        "library for comparison, before",
        "import torch.nn.functional as F\nimport torch.nn as nn\nx = torch.randn(8, 3)\nprint('mean', F.batch_norm(x, None, None, training=True).mean().abs() < 1e-5, nn.BatchNorm1d(3)(x).shape)",
        prints="mean tensor(True)",
    ),
    _cheat(
        "library for comparison, in the answer cell",
        answers={
            **right(),
            "batch_norm_forward": right()["batch_norm_forward"]
            + "\nx = torch.randn(8, 3)\nprint('near', torch.allclose(batch_norm_forward(x, torch.ones(3), torch.zeros(3))[0], torch.nn.functional.batch_norm(x, None, None, training=True), atol=1e-5))",
        },
        prints="near True",
    ),
    _cheat(
        "library after the checks",
        later="x = torch.randn(8, 3, requires_grad=True)\nlayer = torch.nn.BatchNorm1d(3)\nopt = torch.optim.SGD(layer.parameters(), lr=0.1)\nlayer(x).square().sum().backward()\nopt.step()\nprint('stepped', x.grad.shape)",
        prints="stepped",
    ),
    _cheat(
        "check called by hand",
        later="print(check(batch_norm_forward))\nresult = check(batch_norm_forward, batch_norm_backward)\nprint('points', result.points, result.passed)",
        prints="points",
    ),
    _cheat("variables of builtin names", "sum = 3\nlist = [1]\nid = input = print = None\nstr = 'text'"),
    _cheat("everything deleted by %reset", later="%reset -f"),
    _cheat("sympy", "import sympy\nx = sympy.Symbol('x')\nsympy.diff(x ** 2, x)", prints="2*x"),
    _cheat(
        "pandas-like reprs that raise",
        "class R:\n    def _repr_html_(self): raise ValueError('no')\n    def __repr__(self): return 'R here'\nR()",
        prints="R here",
    ),
    _cheat(
        "signal and timer of its own",
        "import signal\nsignal.signal(signal.SIGALRM, lambda *a: None)\nsignal.alarm(1)",
    ),
    _cheat("garbage collected", "import gc, sys\ngc.collect()\ngc.disable()\nsys.setrecursionlimit(5000)"),
    _cheat(
        "random seeds", "import random, numpy as np\nrandom.seed(0); np.random.seed(0); torch.manual_seed(0)"
    ),
)
