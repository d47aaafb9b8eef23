"""Honest oddities: what students do without meaning any harm, and must not lose points for."""

from __future__ import annotations

import copy
from typing import Any

from tests.cheats.table import SOME, Cheat, Notebook, cell_named, code_cell, form, some


def _cheat(name: str, code: str = "", **more: Any) -> Cheat:
    return Cheat(name, "honest oddities", code, **{"answers": some(), "points": SOME, **more})


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
    **some(),
    "batch_norm_forward": some()["batch_norm_forward"].replace("def batch_norm_forward", "def my_norm")
    + """
batch_norm_forward = my_norm
""",
}
_DECORATED = {
    **some(),
    "batch_norm_forward": """
import functools
def noted(f):
    @functools.wraps(f)
    def inner(*a, **k):
        return f(*a, **k)
    return inner
@noted
"""
    + some()["batch_norm_forward"],
}
_LOUD = {
    **some(),
    "batch_norm_forward": """
import sys, warnings
"""
    + some()["batch_norm_forward"].replace(
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
    _cheat(
        "getpass",
        """
import getpass
getpass.getpass()
""",
    ),
    _cheat(
        "a call that blocks",
        """
import queue
queue.Queue().get()
""",
        slow=True,
        prints="CellTimeoutError",
    ),
    _cheat(
        "a long sleep",
        """
import time
time.sleep(100)
""",
        slow=True,
        prints="CellTimeoutError",
    ),
    _cheat(
        "os._exit at the end",
        later="""
import os
os._exit(0)
""",
        says="ended",
    ),
    _cheat(
        "sys.exit",
        """
import sys
sys.exit(1)
""",
    ),
    _cheat("exit() and quit()", "exit()", later="quit()"),
    _cheat(
        "a syntax error",
        """
def broken(:
    pass
""",
        prints="SyntaxError",
    ),
    _cheat("an exception", "1 / 0", prints="ZeroDivisionError"),
    _cheat("a null byte in a cell", "x = '\x00'"),
    _cheat("a Unicode surrogate printed", "print('\\ud800', '\\x00', '\\x1b[31m')"),
    _cheat(
        "warnings and stderr",
        """
import sys, warnings, logging
warnings.warn('careful')
print('oh', file=sys.stderr)
logging.error('log')
logging.basicConfig(level=10)
""",
        answers=_LOUD,
    ),
    _cheat(
        "plots",
        """
import matplotlib.pyplot as plt
plt.plot([1, 2, 3])
plt.show()
fig, ax = plt.subplots(); ax.imshow([[1, 2]])
""",
        prints="image/png",
    ),
    _cheat(
        "magics",
        """
%matplotlib inline
%time sum(range(10))
%timeit -n1 -r1 1 + 1
%load_ext autoreload
%autoreload 2
%config InlineBackend.figure_format = 'svg'
x = 3
x?
""",
        prints="Wall time",
    ),
    _cheat(
        "cell magics",
        """
%%time
import torch
y = torch.ones(3)
""",
        prints="Wall time",
    ),
    _cheat(
        "captured output",
        """
%%capture out
print('hidden')
""",
    ),
    _cheat(
        "a file by magic",
        """
%%writefile helper.py
value = 5
""",
        later="""
import helper
print('got', helper.value)
""",
        prints="got 5",
    ),
    _cheat(
        "a shell command",
        """
!ls
!pip install numpy
files = !ls
print('went on')
""",
        prints="went on",
    ),
    _cheat(
        "bash cell",
        """
%%bash
echo hello
""",
    ),
    _cheat(
        "top-level await",
        """
import asyncio
async def f():
    await asyncio.sleep(0.01)
    return 7
print('got', await f())
""",
        prints="got 7",
    ),
    _cheat(
        "asyncio.run",
        """
import asyncio
async def f():
    return 7
print('got', asyncio.run(f()))
""",
    ),
    _cheat(
        "tqdm",
        """
from tqdm.auto import tqdm
for n in tqdm(range(10)): pass
from tqdm import tqdm as t
for n in t(range(10)): pass
""",
    ),
    _cheat(
        "threads",
        """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool:
    print('sum', sum(pool.map(lambda n: n * n, range(10))))
""",
        prints="sum 285",
    ),
    _cheat(
        "two threads of PyTorch",
        """
torch.set_num_threads(2)
y = torch.randn(2000, 2000) @ torch.randn(2000, 2000)
""",
    ),
    _cheat(
        "data loader",
        """
from torch.utils.data import DataLoader, TensorDataset
for batch in DataLoader(TensorDataset(torch.ones(4, 2)), batch_size=2): print('batch', batch[0].shape)
""",
        prints="batch",
    ),
    _cheat(
        "own data file",
        """
print('read', open('data.csv').read())
import numpy as np
print(np.loadtxt('sub/more.csv', delimiter=','))
""",
        prints="read 1,2",
        place=lambda folder: [
            (folder / "sub").mkdir(),
            (folder / "data.csv").write_text("1,2\n"),
            (folder / "sub" / "more.csv").write_text("3,4\n"),
        ],
    ),
    _cheat(
        "own module",
        """
from helper import five
print('got', five())
""",
        prints="got 5",
        place=lambda folder: (folder / "helper.py").write_text("def five():\n    return 5\n"),
    ),
    _cheat(
        "a file written and read",
        """
import torch, pickle, tempfile, os
torch.save({'a': 1}, 'm.pt')
print('loaded', torch.load('m.pt'))
os.makedirs('out', exist_ok=True)
open('out/log.txt', 'w').write('hi')
with tempfile.TemporaryDirectory() as d: open(d + '/x', 'w').write('y')
""",
        prints="loaded",
    ),
    _cheat("work done under another name", answers=_RENAMED),
    _cheat("decorated", answers=_DECORATED),
    _cheat("loud candidates", answers=_LOUD),
    _cheat(
        "library for comparison, before",
        """
import torch.nn.functional as F
import torch.nn as nn
x = torch.randn(8, 3)
print('mean', F.batch_norm(x, None, None, training=True).mean().abs() < 1e-5, nn.BatchNorm1d(3)(x).shape)
""",
        prints="mean tensor(True)",
    ),
    _cheat(
        "library for comparison, in the answer cell",
        answers={
            **some(),
            "batch_norm_forward": some()["batch_norm_forward"]
            + """
x = torch.randn(8, 3)
y = torch.nn.functional.batch_norm(x, None, None, training=True)
print('near', torch.allclose(batch_norm_forward(x, torch.ones(3), torch.zeros(3))[0], y, atol=1e-5))
""",
        },
        prints="near True",
    ),
    _cheat(
        "library after the checks",
        later="""
x = torch.randn(8, 3, requires_grad=True)
layer = torch.nn.BatchNorm1d(3)
opt = torch.optim.SGD(layer.parameters(), lr=0.1)
layer(x).square().sum().backward()
opt.step()
print('stepped', x.grad.shape)
""",
        prints="stepped",
    ),
    _cheat(
        "check called by hand",
        later="""
print(check(batch_norm_forward))
result = check(batch_norm_forward, batch_norm_backward)
print('points', result.points, result.passed)
""",
        prints="points",
    ),
    _cheat(
        "variables of builtin names",
        """
sum = 3
list = [1]
id = input = print = None
str = 'text'
""",
    ),
    _cheat("everything deleted by %reset", later="%reset -f"),
    _cheat(
        "sympy",
        """
import sympy
x = sympy.Symbol('x')
sympy.diff(x ** 2, x)
""",
        prints="2*x",
    ),
    _cheat(
        "pandas-like reprs that raise",
        """
class R:
    def _repr_html_(self): raise ValueError('no')
    def __repr__(self): return 'R here'
R()
""",
        prints="R here",
    ),
    _cheat(
        "signal and timer of its own",
        """
import signal
signal.signal(signal.SIGALRM, lambda *a: None)
signal.alarm(1)
""",
    ),
    _cheat(
        "garbage collected",
        """
import gc, sys
gc.collect()
gc.disable()
sys.setrecursionlimit(5000)
""",
    ),
    _cheat(
        "random seeds",
        """
import random, numpy as np
random.seed(0); np.random.seed(0); torch.manual_seed(0)
""",
    ),
)
