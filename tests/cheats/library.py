"""The library in disguise: answers that have PyTorch do what is to be written by hand."""

from __future__ import annotations

from tests.cheats.table import SOME, Cheat, forward, some


def _forward(name: str, body: str, before: str = "", **more: object) -> Cheat:
    return Cheat(name, "library in disguise", answers=forward(body, before), **more)


def _backward(name: str, code: str, **more: object) -> Cheat:
    """An answer for batch_norm_backward over a right forward pass, which is worth its 4 points."""
    answers = {"batch_norm_forward": _KEEPS_INPUTS, "batch_norm_backward": code}
    return Cheat(name, "library in disguise", answers=answers, **{"points": 4, **more})


_KEEPS_INPUTS = """
def batch_norm_forward(x, gamma, beta, eps=1e-5):
    centred = x - x.mean(0)
    y = gamma * centred / (centred.square().mean(0) + eps).sqrt() + beta
    return y, (x, gamma, beta, eps)
"""
_CALL = "(x, None, None, gamma, beta, True, 0.1, eps)"
_FULL_CALL = "(x, gamma, beta, None, None, True, 0.1, eps)"
_ATEN = "torch.ops.aten.native_batch_norm"

CHEATS = (
    _forward("plain F.batch_norm", f"return torch.nn.functional.batch_norm{_CALL}, None"),
    _forward("name made up", f"return getattr(torch.nn.functional, 'batch' + '_norm'){_CALL}, None"),
    _forward(
        "torch.batch_norm kept under another name",
        f"return keep{_FULL_CALL[:-1]}, False), None",
        "keep = getattr(torch, 'batch_norm')",
    ),
    _forward("torch.ops", f"return {_ATEN}{_FULL_CALL}[0], None"),
    _forward("torch.ops overload kept before", f"return op{_FULL_CALL}[0], None", f"op = {_ATEN}.default"),
    _forward("the handle's own call", f"return op._op{_FULL_CALL}[0], None", f"op = {_ATEN}.default"),
    _forward(
        "redispatched below",
        f"""
keys = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
return {_ATEN}.default.redispatch(keys, *{_FULL_CALL})[0], None
""",
    ),
    _forward("torch._C", f"return torch._C._VariableFunctions.batch_norm{_FULL_CALL[:-1]}, False), None"),
    _forward(
        "operator got by name",
        f"""
op, _ = torch._C._jit_get_operation('aten::native_batch_norm')
return op{_FULL_CALL}[0], None
""",
    ),
    _forward(
        "kernel kept from before",
        f"""
keys = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
return kernel.call_boxed(keys, *{_FULL_CALL})[0], None
""",
        "kernel = torch.library.get_kernel('aten::native_batch_norm', 'CPU')",
    ),
    _forward(
        "TorchScript function",
        "return unit(x, gamma, beta, eps), None",
        """
def plain(x, g, b, eps: float):
    return torch.nn.functional.batch_norm(x, None, None, g, b, True, 0.1, eps)
import linecache, sys
unit = torch.jit.CompilationUnit('''
def f(x, g, b, eps: float):
    return torch.batch_norm(x, g, b, None, None, True, 0.1, eps, False)
''').f
""",
    ),
    _forward(
        "TorchScript unit made inside",
        """
unit = torch.jit.CompilationUnit('''
def f(x, g, b, eps: float):
    return torch.native_layer_norm(x.t().contiguous(), [x.shape[0]], None, None, eps)[0].t() * g + b
''')
return unit.f(x, gamma, beta, eps), None
""",
    ),
    _forward(
        "traced module",
        "return traced(x) * gamma + beta, None",
        """
layer = torch.nn.BatchNorm1d(3, affine=False).train()
traced = torch.jit.trace(layer, torch.randn(4, 3), check_trace=False)
""",
    ),
    _forward(
        "subclass of the layer",
        "return Mine(x.shape[1], eps=eps, affine=False, dtype=x.dtype)(x) * gamma + beta, None",
        """
class Mine(torch.nn.BatchNorm1d):
    pass
""",
    ),
    _forward(
        "layer norm on its side",
        "return torch.nn.functional.layer_norm(x.t(), (x.shape[0],), eps=eps).t() * gamma + beta, None",
    ),
    _forward(
        "instance norm",
        "return torch.nn.functional.instance_norm(x.t()[None], eps=eps)[0].t() * gamma + beta, None",
    ),
    _forward(
        "group norm",
        "return torch.nn.functional.group_norm(x.t()[None], x.shape[1], eps=eps)[0].t() * gamma + beta, None",
    ),
    _forward(
        "another thread",
        f"""
got = []
import threading
t = threading.Thread(target=lambda: got.append(torch.nn.functional.batch_norm{_CALL}))
t.start(); t.join()
return got[0], None
""",
    ),
    _forward(
        "thread started before the check",
        """
asked.put((x, gamma, beta, eps))
return told.get(timeout=2), None
""",
        """
import queue, threading
asked, told = queue.Queue(), queue.Queue()
def work():
    while True:
        x, g, b, e = asked.get()
        try:
            told.put(torch.nn.functional.batch_norm(x, None, None, g, b, True, 0.1, e))
        except BaseException as error:
            told.put(error)
threading.Thread(target=work, daemon=True).start()
""",
    ),
    _forward(
        "torch.func",
        """
import torch.func
layer = torch.nn.BatchNorm1d(x.shape[1], eps=eps, affine=False, dtype=x.dtype)
return torch.func.functional_call(layer, {}, (x,)) * gamma + beta, None
""",
    ),
    _forward(
        "vmap",
        """
def one(c, g, b):
    return torch.nn.functional.batch_norm(c[:, None], None, None, g[None], b[None], True, 0.1, eps)[:, 0]
return torch.func.vmap(one, in_dims=(1, 0, 0), out_dims=1)(x, gamma, beta), None
""",
    ),
    _forward(
        "forward-mode derivative",
        """
import torch.func
return torch.func.jvp(lambda x: torch.nn.functional.batch_norm
"""
        + _CALL
        + ", (x,), (x,))[0], None",
    ),
    _forward(
        "torch.compile", f"return torch.compile(torch.nn.functional.batch_norm, backend='eager'){_CALL}, None"
    ),
    _forward(
        "Python reference",
        """
import torch._refs as r
return r.native_layer_norm(x.t(), (x.shape[0],), None, None, eps)[0].t() * gamma + beta, None
""",
    ),
    _forward(
        "helper of the Python reference",
        """
import torch._refs as r
return r._normalize(x, (0,), eps)[0] * gamma + beta, None
""",
    ),
    _forward(
        "decomposition",
        f"""
import torch._decomp.decompositions as d
return d.native_batch_norm{_FULL_CALL}[0], None
""",
    ),
    _forward(
        "helper of the decomposition",
        f"""
import torch._decomp.decompositions as d
return d.native_batch_norm_helper{_FULL_CALL[:-1]}, False)[0], None
""",
    ),
    _forward(
        "decomposition copied from before",
        f"return mine{_FULL_CALL}[0], None",
        """
import types, inspect
import torch._decomp.decompositions as d
f = inspect.unwrap(d.native_batch_norm_helper)
mine_ = types.FunctionType(f.__code__, f.__globals__)
mine = lambda *a: mine_(*a, False)
""",
    ),
    _forward(
        "decomposition copied byte by byte",
        f"return mine{_FULL_CALL[:-1]}, False)[0], None",
        """
import types, inspect
import torch._decomp.decompositions as d
f = inspect.unwrap(d.native_batch_norm_helper)
mine = types.FunctionType(f.__code__.replace(co_name='mine'), f.__globals__)
""",
        says="code.__new__",
        flagged="A copy of the library's own Python text is like any text that was copied; a person is told.",
        points=4,
    ),
    _forward(
        "decomposition table",
        f"""
from torch._decomp import decomposition_table as t
return t[{_ATEN}.default]{_FULL_CALL}[0], None
""",
    ),
    _forward(
        "another backend",
        """
mean, var = torch.zeros(x.shape[1]), torch.ones(x.shape[1])
given = x.float().to_mkldnn(), mean, var, gamma.float(), beta.float()
return torch.nn.functional.batch_norm(*given, True, 0.1, eps).to_dense().to(x.dtype), None
""",
    ),
    _forward(
        "own operator around it",
        "return torch.ops.mine.norm(x, gamma, beta, eps), None",
        """
lib = torch.library.Library('mine', 'DEF')
lib.define('norm(Tensor x, Tensor g, Tensor b, float eps) -> Tensor')
def norm(x, g, b, eps):
    return torch.ops.aten.native_batch_norm(x, g, b, None, None, True, 0.1, eps)[0]
lib.impl('norm', norm, 'CompositeExplicitAutograd')
""",
    ),
    _forward(
        "child process",
        """
import subprocess, sys
print(subprocess.run([sys.executable, '-c', 'print(1)'], capture_output=True))
return x, None
""",
    ),
    _forward(
        "forked child",
        f"""
import os
r, w = os.pipe()
if os.fork() == 0:
    os._exit(0)
return torch.nn.functional.batch_norm{_CALL}, None
""",
    ),
    _forward(
        "process pool",
        f"""
import concurrent.futures as c
with c.ProcessPoolExecutor(1) as pool:
    return pool.submit(torch.nn.functional.batch_norm, *{_CALL}).result(timeout=2), None
""",
    ),
    _forward(
        "the stop taken out again",
        f"""
lib = torch.library.Library('aten', 'IMPL', 'CPU')
try:
    keys = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
    lib.impl('native_batch_norm', lambda *a: kernel.call_boxed(keys, *a), 'CPU')
except Exception:
    pass
return torch.nn.functional.batch_norm{_CALL}, None
""",
        "kernel = torch.library.get_kernel('aten::native_batch_norm', 'CPU')",
    ),
    _forward(
        "stopped table emptied before",
        f"return torch.nn.functional.batch_norm{_CALL}, None",
        """
import graders.probing.process.places as p, graders.probing.process.runner as r
p.told = p.functions = lambda: {}
p._WRITTEN = ()
for held in vars(p).values():
    getattr(held, 'clear', int)()
""",
    ),
    _forward(
        "bars lifted in the exercise",
        f"return torch.nn.functional.batch_norm{_CALL}, None",
        """
from graders.probing.days import exercises
for e in exercises().values():
    object.__setattr__(e, 'barred', frozenset())
""",
    ),
    _forward(
        "lists of the stop emptied in place",
        f"return torch.nn.functional.batch_norm{_CALL}, None",
        """
import graders.probing.exercise as e, graders.probing.process.runner as r
e.LIBRARY_ANSWERS = e.AUTOGRAD = frozenset()
r.exercises.cache_clear()
for held in vars(r).values():
    if isinstance(held, (list, dict)) and held is not vars(r):
        held.clear()
""",
    ),
    _forward(
        "recorder and survey patched",
        f"return getattr(torch.nn.functional, name){_CALL}, None",
        """
import graders.probing.recorder as rec, graders.probing.observe as o, graders.probing.process.runner as r
name = 'batch_norm'
empty = o.Survey(frozenset(), None)
o.survey = r.survey = lambda *a: empty
rec.Recorder.__enter__ = lambda self: self
rec.Recorder.__exit__ = lambda self, *a: None
rec.written = lambda c: set()
""",
    ),
    _backward(
        "autograd.grad",
        """
def batch_norm_backward(dy, cache):
    x, gamma, beta, eps = (t.detach().requires_grad_() if torch.is_tensor(t) else t for t in cache)
    y = batch_norm_forward(x, gamma, beta, eps)[0]
    return torch.autograd.grad(y, (x, gamma, beta), dy)
""",
    ),
    _backward(
        "backward()",
        """
def batch_norm_backward(dy, cache):
    x, gamma, beta, eps = (t.detach().requires_grad_() if torch.is_tensor(t) else t for t in cache)
    batch_norm_forward(x, gamma, beta, eps)[0].backward(dy)
    return x.grad, gamma.grad, beta.grad
""",
    ),
    _backward(
        "torch.func.vjp",
        """
import torch.func
def batch_norm_backward(dy, cache):
    x, gamma, beta, eps = cache
    return torch.func.vjp(lambda x, g, b: batch_norm_forward(x, g, b, eps)[0], x, gamma, beta)[1](dy)
""",
    ),
    _backward(
        "the engine itself",
        """
def batch_norm_backward(dy, cache):
    x, gamma, beta, eps = (t.detach().requires_grad_() if torch.is_tensor(t) else t for t in cache)
    y = batch_norm_forward(x, gamma, beta, eps)[0]
    run = torch.autograd.Variable._execution_engine.run_backward
    return run((y,), (dy,), False, False, (x, gamma, beta), False, accumulate_grad=False)
""",
    ),
    _backward(
        "autograd when nobody looks",
        """
def batch_norm_backward(dy, cache):
    if torch._C._len_torch_function_stack():
        return dy, dy.sum(0), dy.sum(0)
    x, gamma, beta, eps = (t.detach().requires_grad_() if torch.is_tensor(t) else t for t in cache)
    return torch.autograd.grad(batch_norm_forward(x, gamma, beta, eps)[0], (x, gamma, beta), dy)
""",
    ),
    _backward(
        "Jacobian",
        """
def batch_norm_backward(dy, cache):
    x, gamma, beta, eps = cache
    f = lambda x, g, b: (batch_norm_forward(x, g, b, eps)[0] * dy).sum()
    return torch.autograd.functional.jacobian(f, (x, gamma, beta))
""",
    ),
    _backward(
        "library's backward operator",
        """
def batch_norm_backward(dy, cache):
    x, gamma, beta, eps = cache
    mean, rstd = x.mean(0), (x.var(0, correction=0) + eps).rsqrt()
    arguments = dy, x, gamma, None, None, mean, rstd, True, eps, [True] * 3
    return torch.ops.aten.native_batch_norm_backward(*arguments)
""",
    ),
    _backward(
        "graph walked by hand",
        """
def batch_norm_backward(dy, cache):
    x, gamma, beta, eps = (t.detach().requires_grad_() if torch.is_tensor(t) else t for t in cache)
    y = batch_norm_forward(x, gamma, beta, eps)[0]
    def walk(node, gradient):
        if node is None: return
        out = node(gradient)
        for (following, _), part in zip(node.next_functions, out if isinstance(out, tuple) else (out,)):
            walk(following, part)
    walk(y.grad_fn, dy)
    return x.grad, gamma.grad, beta.grad
""",
    ),
    Cheat(
        "library only beside the answer",
        "library in disguise",
        answers=some(),
        later="""
y = torch.nn.functional.batch_norm(x, None, None, gamma, beta, True)
print((batch_norm_forward(x, gamma, beta)[0] - y).abs().max() < 1e-5)
""",
        prints="tensor(True)",
        points=SOME,
    ),
)
