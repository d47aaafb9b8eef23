"""While a check runs in the sandbox no way leads to an answer of the library's; afterwards all do."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from graders.batch.notebook import _paper
from graders.judging import catalogue
from graders.judging.judge import judge
from graders.judging.verdict import Verdict
from graders.probing.days import bars
from graders.probing.process.places import beginnings
from graders.sandbox import closing
from graders.sandbox.box import Box, Session, Stopped, Unforeseen
from tests.cheats.tampering import CHEATS
from tests.courses import solution_code

pytestmark = pytest.mark.skipif(not shutil.which("bwrap"), reason="no bubblewrap")

#: What notebooks have at hand.
SETUP = """
import importlib, math, sys, threading
import numpy as np, torch
from torch import nn
from torch.nn import functional as F
aten = torch.ops.aten
"""
CALL = "(x, gamma, beta, None, None, True, 0.1, eps)"
FORWARD = "def batch_norm_forward(x, gamma, beta, eps=1e-5):\n    "
#: Ways to an answer of batch_norm_forward: code before it, and what it returns.
WAYS: dict[str, tuple[str, str]] = {
    "functional": ("", "F.batch_norm(x, None, None, gamma, beta, True, 0.1, eps)"),
    "layer": ("", "nn.BatchNorm1d(x.shape[1], eps, affine=False)(x) * gamma + beta"),
    "operator": ("", f"aten.native_batch_norm{CALL}[0]"),
    "legitimate operator": ("", "aten._native_batch_norm_legit(x, gamma, beta, True, 0.1, eps)[0]"),
    "redispatched to other keys": (
        """
keys = 'CPU', 'AutogradCPU', 'ADInplaceOrView', 'MkldnnCPU', 'QuantizedCPU', 'NestedTensorCPU'
def attempt(key, given):
    given = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key)), *given
    try:
        return aten.native_batch_norm.default.redispatch(*given)[0]
    except Exception:
        return None
""",
        f"next(filter(torch.is_tensor, (attempt(key, {CALL}) for key in keys)))",
    ),
    "kernel kept from before": (
        "kernel = torch.library.get_kernel('aten::native_batch_norm', 'CPU')\n"
        "keys = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)",
        f"kernel.call_boxed(keys, *{CALL})[0]",
    ),
    "nested tensor": (
        "",
        "torch.nested.to_padded_tensor(F.layer_norm(torch.nested.nested_tensor([x.t().contiguous()]), "
        "(len(x),), torch.ones(len(x)).to(x), torch.zeros(len(x)).to(x), eps), 0.0)[0].t() * gamma + beta",
    ),
    "vmap": (
        "",
        "torch.func.vmap(lambda c, g, b: F.layer_norm(c, c.shape, eps=eps) * g + b, (1, 0, 0), 1)"
        "(x, gamma, beta)",
    ),
    "forward-mode derivative": (
        "",
        "torch.func.jvp(lambda x: F.batch_norm(x, None, None, gamma, beta, True, 0.1, eps), (x,), (x,))[0]",
    ),
    "TorchScript": (
        "unit = torch.jit.CompilationUnit('def f(x, g, b, e: float):\\n"
        "    return torch.native_batch_norm(x, g, b, None, None, True, 0.1, e)[0]\\n')",
        "unit.f(x, gamma, beta, eps)",
    ),
    "traced before": (
        "traced = torch.jit.trace(nn.GroupNorm(3, 3, affine=False), torch.randn(1, 3, 4), check_trace=False)",
        "traced(x.t()[None])[0].t() * gamma + beta",
    ),
    "another thread": (
        "",
        """in_thread(lambda: F.batch_norm(x, None, None, gamma, beta, True, 0.1, eps))
def in_thread(work):
    got = []
    thread = threading.Thread(target=lambda: got.append(work()))
    thread.start(); thread.join()
    return got[0]""",
    ),
    "thread from before": (
        """
import queue
asked, told = queue.Queue(), queue.Queue()
def work():
    while True:
        try:
            told.put(F.batch_norm(*asked.get()))
        except BaseException as error:
            told.put(error)
threading.Thread(target=work, daemon=True).start()
""",
        "(asked.put((x, None, None, gamma, beta, True, 0.1, eps)), told.get(timeout=2))[1]",
    ),
    "encoder": (
        "",
        "nn.TransformerEncoderLayer(2, 1, 2, batch_first=True).eval()(x[None, :, :2])[0] * 0 + x",
    ),
    "references": (
        "import torch._refs as refs",
        "refs.native_layer_norm(x.t(), (len(x),), None, None, eps)[0].t() * gamma + beta",
    ),
    "helper without a name": (
        "import torch._refs as refs",
        "refs._normalize(x, (0,), eps)[0] * gamma + beta",
    ),
    "decomposition": (
        "import inspect, torch._decomp.decompositions as d\nf = inspect.unwrap(d.native_batch_norm_helper)",
        f"f{CALL[:-1]}, False)[0]",
    ),
    "code of a decomposition": (
        "import inspect, types, torch._decomp.decompositions as d\n"
        "f = inspect.unwrap(d.native_batch_norm_helper)\nf = types.FunctionType(f.__code__, f.__globals__)",
        f"f{CALL[:-1]}, False)[0]",
    ),
    "decomposition of another compiler": (
        "",
        "importlib.import_module('torch._inductor.decomposition').decompositions"
        f"[aten.native_batch_norm.default]{CALL}[0]",
    ),
    "scaler": (
        "from sklearn.preprocessing import StandardScaler",
        "torch.from_numpy(StandardScaler().fit_transform(x.numpy())) * gamma + beta",
    ),
}
if not hasattr(torch.library, "get_kernel"):  # an older PyTorch
    del WAYS["kernel kept from before"]
BACKWARD = """
def batch_norm_forward(x, gamma, beta, eps=1e-5):
    centred = x - x.mean(0)
    return gamma * centred / (centred.square().mean(0) + eps).sqrt() + beta, (x, gamma, beta, eps)
def leaves(cache):
    return [t.detach().requires_grad_() for t in cache[:3]]
def batch_norm_backward(dy, cache):
    x, gamma, beta = leaves(cache)
    f = lambda x, g, b: batch_norm_forward(x, g, b, cache[3])[0]
    return """
#: Ways to have the library differentiate.
DERIVATIVES = {
    "grad": "torch.autograd.grad(f(x, gamma, beta), (x, gamma, beta), dy)",
    "backward": "(f(x, gamma, beta).backward(dy), (x.grad, gamma.grad, beta.grad))[1]",
    "vjp": "torch.func.vjp(f, x.detach(), gamma.detach(), beta.detach())[1](dy)",
    "engine": "torch.autograd.Variable._execution_engine.run_backward("
    "(f(x, gamma, beta),), (dy,), False, False, (x, gamma, beta), False, accumulate_grad=False)",
    "jacobian": "torch.autograd.functional.jacobian(lambda *a: (f(*a) * dy).sum(), (x, gamma, beta))",
    "forward mode": "torch.func.jacfwd(lambda *a: (f(*a) * dy).sum(), (0, 1, 2))"
    "(x.detach(), gamma.detach(), beta.detach())",
    "node by node": "walk(f(x, gamma, beta).grad_fn, dy) or (x.grad, gamma.grad, beta.grad)\n"
    "def walk(node, gradient):\n"
    "    if node is not None:\n"
    "        out = node(gradient)\n"
    "        out = out if isinstance(out, tuple) else (out,)\n"
    "        for (following, _), part in zip(node.next_functions, out):\n"
    "            walk(following, part)",
    "operator": "aten.native_batch_norm_backward(dy, *cache[:2], None, None, cache[0].mean(0), "
    "(cache[0].var(0, correction=0) + cache[3]).rsqrt(), True, cache[3], [True] * 3)",
    "another thread": "in_thread(lambda: torch.autograd.grad(f(x, gamma, beta), (x, gamma, beta), dy))\n"
    "def in_thread(work):\n"
    "    got = []\n"
    "    thread = threading.Thread(target=lambda: got.append(work()))\n"
    "    thread.start(); thread.join()\n"
    "    return got[0]",
}
#: Answers of other days that the library has: the exercise, and code.
OTHERS = {
    "layer norm": (
        "layer_norm",
        "layer_norm = lambda x, g, b, eps=1e-5: F.layer_norm(x, x.shape[1:], g, b, eps)",
    ),
    "group norm": ("group_norm", "group_norm = lambda x, n, g, b, eps=1e-5: F.group_norm(x, n, g, b, eps)"),
    "instance norm": (
        "instance_norm",
        "instance_norm = lambda x, g, b, eps=1e-5: F.instance_norm(x, None, None, g, b, True, 0.1, eps)",
    ),
    "RMS norm": ("rms_norm", "rms_norm = lambda x, gamma, eps=1e-6: F.rms_norm(x, x.shape[-1:], gamma, eps)"),
    "weight norm": (
        "weight_norm",
        "weight_norm = lambda v, g: torch._weight_norm(v, g.view(-1, *[1] * (v.dim() - 1)))",
    ),
    "optimizer": ("SGD", "SGD = torch.optim.SGD"),
    "functional optimizer": (
        "momentum_step",
        """
from torch.optim._functional import sgd
def momentum_step(w, g, velocity, lr, beta):
    w, velocity = w.clone(), velocity.clone()
    options = dict(dampening=0, nesterov=False, maximize=False)
    sgd([w], [g], [velocity], weight_decay=0, momentum=beta, lr=lr, **options)
    return w, velocity
""",
    ),
    "subclass of the layer": ("BatchNorm1d", "class BatchNorm1d(nn.BatchNorm1d): pass"),
    "z-scores": (
        "standardize",
        "from scipy.stats import zscore\n"
        "standardize = lambda x, eps=1e-5: torch.from_numpy(zscore(x.numpy()))",
    ),
}
LIBRARIES = {"sklearn", "scipy"}


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with Box(bars=bars) as box:
        yield box
    torch.set_num_threads(threads)


def verdict_on(session: Session, name: str) -> tuple[Verdict, dict[str, Any]]:
    paper, packed = _paper(name, ("cpu",))
    answer, sights, surveyed, _ = session.look(catalogue.find(name), packed, ["cpu"] * len(paper.questions))
    assert surveyed, answer
    return judge(paper, sights, surveyed), answer


def run(session: Session, code: str) -> None:
    outputs, answer = session.run(SETUP + code)
    assert answer["status"] == "ok", outputs


def with_body(before: str, returned: str) -> str:
    """The answer that returns this expression; what follows its first line stands in front of it."""
    expression, _, helpers = returned.partition("\n")
    return f"{before}\n{helpers}\n{FORWARD}return {expression}, None"


@pytest.mark.parametrize("way", WAYS)
def test_no_way_leads_to_batch_norm(box: Box, way: str) -> None:
    with box.session({}, LIBRARIES) as session:
        run(session, with_body(*WAYS[way]))
        verdict, _ = verdict_on(session, "batch_norm_forward")
    assert verdict.points == 0, str(verdict)


@pytest.mark.parametrize("way", DERIVATIVES)
def test_no_way_leads_to_a_derivative(box: Box, way: str) -> None:
    expression, _, helpers = DERIVATIVES[way].partition("\n")
    with box.session({}) as session:
        run(session, f"{helpers}\n{BACKWARD}{expression}")
        verdict, _ = verdict_on(session, "batch_norm_backward")
    assert verdict.points == 0, str(verdict)


@pytest.mark.parametrize("way", OTHERS)
def test_no_way_leads_to_answers_of_other_days(box: Box, way: str) -> None:
    name, code = OTHERS[way]
    with box.session({}, LIBRARIES) as session:
        run(session, f"{code}\n{name}.__name__ = '{name}'")
        verdict, _ = verdict_on(session, name)
    assert verdict.points == 0, str(verdict)


def test_library_is_whole_before_and_after(box: Box) -> None:
    """In cells of their own, students compare with it; and every way above is one that works there."""
    code = """
x, gamma, beta, eps = torch.randn(5, 3), torch.rand(3), torch.rand(3), 1e-5
want = F.batch_norm(x, None, None, gamma, beta, True, 0.1, eps)
torch.testing.assert_close(batch_norm_forward(x, gamma, beta)[0], want)
x.requires_grad_()
torch.autograd.grad(nn.BatchNorm1d(3)(x).square().sum(), x)
torch.optim.SGD([x], lr=0.1).step()
torch.func.jvp(torch.sin, (want,), (want,))
"""
    with box.session({}) as session:
        run(session, solution_code("day26")["batch_norm_forward"] + code)
        verdict, _ = verdict_on(session, "batch_norm_forward")
        assert verdict.passed
        run(session, code)


@pytest.mark.parametrize(
    "way", ["functional", "TorchScript", "vmap", "references", "decomposition", "another thread", "scaler"]
)
def test_ways_lead_somewhere_when_nothing_is_closed(box: Box, way: str) -> None:
    """The control: the same code gives the right values in a cell."""
    check = (
        "\nx, g, b = torch.randn(6, 3), torch.rand(3), torch.rand(3)\ny = batch_norm_forward(x, g, b)[0]\n"
    )
    check += "torch.testing.assert_close(y, F.batch_norm(x, None, None, g, b, True), atol=1e-4, rtol=1e-4)"
    with box.session({}, LIBRARIES) as session:
        run(session, with_body(*WAYS[way]) + check)


def test_own_implementations_in_numpy_are_right(box: Box) -> None:
    code = FORWARD + (
        "a = x.numpy()\n"
        "    y = (a - a.mean(0)) / np.sqrt(a.var(0) + eps)\n"
        "    return torch.from_numpy(y).to(x.dtype) * gamma + beta, None"
    )
    with box.session({}) as session:
        run(session, code)
        verdict, _ = verdict_on(session, "batch_norm_forward")
    assert verdict.points > 0 and verdict.outcome in ("passed", "device")


def test_what_looks_at_candidates_is_put_back(box: Box) -> None:
    code = """
import graders.probing.observe as o, graders.probing.process.runner as r, graders.probing.recorder as rec
o.look = r.look = lambda *given: ([], None)
o.observe.__code__ = (lambda *given, **named: None).__code__
rec.Recorder.__enter__ = lambda self: self
rec.written = lambda candidate: set()
"""
    with box.session({}) as session:
        run(session, code + with_body(*WAYS["functional"]))
        verdict, answer = verdict_on(session, "batch_norm_forward")
    assert verdict.points == 0
    assert {"observe", "graders.probing.recorder.written"} <= set(answer["changed"])


def test_a_library_that_came_by_another_way_is_not_believed(box: Box) -> None:
    """Run again with it known, its answers are closed as well."""
    code = "p = importlib.import_module('skl' + 'earn.preprocessing')\n" + with_body(
        "", "torch.from_numpy(p.StandardScaler().fit_transform(x.numpy())) * gamma + beta"
    )
    with Box(bars=bars) as fresh, fresh.session({}) as session:
        run(session, code)
        with pytest.raises(Unforeseen, match="sklearn"):
            verdict_on(session, "batch_norm_forward")


def test_a_compiled_function_by_its_address_gives_nothing(box: Box) -> None:
    code = """
import ctypes, glob, os
lib = ctypes.CDLL(glob.glob(os.path.dirname(torch.__file__) + '/lib/libtorch_cpu.so')[0])
function = lib._ZN2at6native10batch_normERKNS_6TensorERKSt8optionalIS1_ES7_S7_S7_bddb
""" + with_body("", "function() or x")
    with box.session({}) as session:
        run(session, code)
        with pytest.raises(Stopped):
            verdict_on(session, "batch_norm_forward")


def test_writing_into_the_librarys_code_ends_the_notebook(box: Box) -> None:
    """What a system call by its number can do to the process's own memory is seen afterwards."""
    code = """
import ctypes, glob, os
c = ctypes.CDLL(None, use_errno=True)
lib = ctypes.CDLL(glob.glob(os.path.dirname(torch.__file__) + '/lib/libtorch_cpu.so')[0])
function = lib._ZN2at6native10batch_normERKNS_6TensorERKSt8optionalIS1_ES7_S7_S7_bddb
place = ctypes.cast(function, ctypes.c_void_p)
before = ctypes.string_at(place.value, 16)
def reopen():
    assert not c.mprotect(ctypes.c_void_p(place.value & ~4095), ctypes.c_size_t(8192), 7)
    ctypes.memmove(place.value, before, 16)
""" + with_body("", "(reopen(), x)[1]")
    with box.session({}) as session:
        run(session, code)
        with pytest.raises(Stopped, match="own code"):
            verdict_on(session, "batch_norm_forward")
        assert any(event.startswith("ctypes") for event in session.noticed)


#: Where the library's batch norm begins, found past Python.
_PLACE = """
import ctypes, glob, os
c = ctypes.CDLL(None, use_errno=True)
lib = ctypes.CDLL(glob.glob(os.path.dirname(torch.__file__) + '/lib/libtorch_cpu.so')[0])
function = lib._ZN2at6native10batch_normERKNS_6TensorERKSt8optionalIS1_ES7_S7_S7_bddb
place = ctypes.cast(function, ctypes.c_void_p).value
"""


def test_what_one_writes_into_the_librarys_code_reaches_nobody_else() -> None:
    """The first check of a box finds the code of a library that a submission has spoiled before."""
    spoils = """
assert not c.mprotect(ctypes.c_void_p(place & ~4095), ctypes.c_size_t(8192), 7)
ctypes.memmove(place, b'\\x0f\\x0b' * 4, 8)
"""
    with Box(bars=bars) as box:
        with box.session({}) as session:
            run(session, _PLACE + spoils + with_body("", "x"))
            verdict_on(session, "batch_norm_forward")
        with box.session({}) as session:
            run(session, with_body(*WAYS["functional"]))
            verdict_on(session, "batch_norm_forward")
            run(session, "batch_norm_forward(torch.zeros(4, 2), torch.ones(2), torch.zeros(2))")


def test_letting_go_of_the_librarys_code_ends_the_notebook_and_no_other(box: Box) -> None:
    lets_go = "assert not c.munmap(ctypes.c_void_p(place & ~4095), ctypes.c_size_t(8192))"
    with box.session({}) as session:
        run(session, _PLACE + lets_go + with_body("", "x"))
        with pytest.raises(Stopped, match="own code"):
            verdict_on(session, "batch_norm_forward")
    with box.session({}) as session:
        run(session, solution_code("day26")["batch_norm_forward"])
        assert verdict_on(session, "batch_norm_forward")[0].passed


@pytest.mark.parametrize("before_it_is_opened", [False, True])
def test_who_ends_with_an_answer_has_given_none(
    box: Box, monkeypatch: pytest.MonkeyPatch, before_it_is_opened: bool
) -> None:
    """A process that answers for its candidate and is gone: what was loaded in it, nobody can look up."""

    @contextmanager
    def closed(places: closing.Places, barred: frozenset[str], memory: int) -> Iterator[None]:
        with closing_really(places, barred, memory):
            yield
            if before_it_is_opened:
                gone()
        gone()

    def gone() -> None:
        end = time.monotonic() + 20
        with contextlib.suppress(ProcessLookupError):
            while os.pread(session._status, 1, 0):
                assert time.monotonic() < end
                time.sleep(0.01)

    closing_really = closing.closed
    monkeypatch.setattr(closing, "closed", closed)
    (forged,) = (one for one in CHEATS if one.name == "forged sights with the number of the request")
    with box.session({}) as session:
        run(session, forged.answers["batch_norm_forward"])
        with pytest.raises(Stopped, match="ended here"):
            verdict_on(session, "batch_norm_forward")


def test_a_second_copy_of_the_library_is_seen(box: Box) -> None:
    code = """
import mmap, os
path = os.path.dirname(torch.__file__) + '/lib/libtorch_cpu.so'
size = os.path.getsize(path)
with open(path, 'rb') as file:
    kept = mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
""" + solution_code("day26")["batch_norm_forward"]
    with box.session({}) as session:
        run(session, code)
        with pytest.raises(Stopped, match="own code"):
            verdict_on(session, "batch_norm_forward")


def test_a_constant_does_not_pass_gradcheck(box: Box) -> None:
    code = """
class BatchNormFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps):
        ctx.shapes = x, gamma, beta
        return torch.zeros_like(x)
    @staticmethod
    def backward(ctx, dy):
        return (*(torch.zeros_like(one) for one in ctx.shapes), None)
torch.autograd.gradcheck = lambda *given, **named: True
"""
    with box.session({}) as session:
        run(session, code)
        verdict, _ = verdict_on(session, "BatchNormFunction")
    assert verdict.points == 0, str(verdict)


def test_what_is_written_cannot_be_mapped_as_a_program(box: Box) -> None:
    code = """
import mmap
for folder in ('.', '/scratch', '/dev/shm', '/tmp'):
    with open(f'{folder}/x.so', 'w+b') as file:
        file.write(bytes(4096)); file.flush()
        try:
            mmap.mmap(file.fileno(), 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
        except PermissionError:
            continue
    raise SystemExit(folder)
"""
    if "programs" not in box.holds:
        pytest.skip("this account may not mount folders")
    with box.session({}) as session:
        run(session, code)


#: Of a process with a library of which a part was added at its file's end, before others in memory: what
#: PyTorch's wheels with CUDA have; and one of which nothing was.
MAPS = """\
7f34935ed000-7f3494542000 r--p 00000000 00:1f 52 /v/torch/lib/libtorch_cpu.so
7f3494542000-7f34a5085000 r-xp 00f55000 00:1f 52 /v/torch/lib/libtorch_cpu.so
7f34a5085000-7f34a7a7f000 r--p 11a98000 00:1f 52 /v/torch/lib/libtorch_cpu.so
7f34a7e8d000-7f34a83f6000 rw-p 19cb3000 00:1f 52 /v/torch/lib/libtorch_cpu.so
7f3531695000-7f35316c3000 r-xp 00000000 00:1f 53 /v/torch/lib/libc10.so
7f35316c3000-7f35316c4000 rw-p 0002f000 00:1f 53 /v/torch/lib/libc10.so
7f35316c4000-7f35316c5000 rw-p 00000000 00:00 0
7f3536000000-7f3536001000 r-xp 00000000 00:1f 54 /lib/libm.so.6
"""


def test_a_library_begins_where_its_files_first_byte_stands() -> None:
    assert beginnings(MAPS) == {
        "/v/torch/lib/libtorch_cpu.so": 0x7F34935ED000,
        "/v/torch/lib/libc10.so": 0x7F3531695000,
    }


def test_symbols_are_counted_from_where_a_file_says_that_it_begins(tmp_path: Path) -> None:
    """PyTorch's builds for 64-bit Arm begin 4 MiB behind what their symbols are counted from."""
    path = next(name for name in beginnings(Path("/proc/self/maps").read_text()) if "libc10." in name)
    data = bytearray(Path(path).read_bytes())
    (headers,), (size, count) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<HH", data, 54)
    for place in range(headers, headers + count * size, size):
        kind, _, offset = struct.unpack_from("<IIQ", data, place)
        if (kind, offset) == (1, 0):
            (first,) = struct.unpack_from("<Q", data, place + 16)
            struct.pack_into("<Q", data, place + 16, first + 0x1000)
    moved = tmp_path / "libc10.so"
    moved.write_bytes(data)
    addresses = [
        closing.Places({"libraries": {str(one): 1 << 32}, "functions": [], "node_call": 0})._address_of(
            "libc10", closing._RAISES
        )
        for one in (path, moved)
    ]
    assert addresses[0] - addresses[1] == 0x1000


def test_nothing_is_written_where_no_library_begins() -> None:
    """Jumps that are written elsewhere would change any code."""
    with open("/proc/self/mem", "rb") as memory:
        ((path, base),) = (
            one
            for one in beginnings(Path("/proc/self/maps").read_text()).items()
            if Path(one[0]).name.startswith("libtorch_cpu")
        )
        told = {"libraries": {path: base + 4096, path.replace("torch_cpu", "c10"): 0}}
        with pytest.raises(closing.CannotClose, match="do not stand where"):
            closing.Places(told | {"functions": [], "node_call": 0}).learn(
                [frozenset({"batch_norm"})], memory.fileno()
            )
        nowhere = {"libraries": {path: 1 << 12}, "functions": [], "node_call": 0}
        with (
            mock.patch.object(closing.Places, "_address_of", return_value=0),
            pytest.raises(closing.CannotClose, match="do not stand where"),
        ):
            closing.Places(nowhere).learn([frozenset({"batch_norm"})], memory.fileno())
