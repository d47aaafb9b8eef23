"""Runs the cells of one submission in a forked process, and looks at candidates when the judge asks.

A student's code shares this process and may change anything in it. So nothing that is said from here is
believed for its own sake: an answer to a check must hold values that the judge finds right, the library's own
answers are closed from outside meanwhile, and what an ordinary cell's end is worth is decided outside. What
tests rely on (an exception of a graded cell is an exception) stands in the body of `serve`, whose frame is
running before the first cell does, and uses what it took hold of before.
"""

from __future__ import annotations

import ast
import base64
import builtins
import contextlib
import importlib
import inspect
import io
import json
import linecache
import opcode
import operator
import os
import re
import signal
import socket
import sys
import threading
import traceback
import types
import unittest
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pygments.lexer
import stack_data
from IPython.core.compilerop import CachingCompiler
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.text import LSString, SList
from pygments.formatters.terminal256 import Terminal256Formatter
from traitlets import Type
from traitlets.config import Config

from graders.probing.process import protocol

_NO_PROGRAMS = "A notebook that is graded starts no other programs."
#: Events of Python's audit by which code starts another program, and what it calls for that.
_STARTS = frozenset({"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen"})
_STARTERS = ("<frozen os>", f"{os.sep}os.py", f"{os.sep}subprocess.py")
_NO_WINDOWS = "A notebook that is graded has no windows; its figures stand in it."
_NO_GPU = "There is no {device} here; tensors stay on the CPU."
#: Magics of Jupyter's kernel, for what stands around a notebook, and what they say here.
_OF_THE_KERNEL = (
    *("autosave", "connect_info", "ed", "edit", "qtconsole", "recall", "rep", "store", "subshell"),
    "python",  # with which a cell of Databricks says its language
)
#: Those that install packages, beside %pip; they look for the program before they ask for it.
_INSTALLERS = ("conda", "mamba", "micromamba")
_NO_TOOLS = "There is nothing around a notebook that is graded; this does nothing."
_ENOUGH = "\n… The output was cut here: it is longer than what is kept.\n"
#: What an output costs of the limit beside its text, so that a million empty ones have an end too.
_OVERHEAD = 200
#: The same of what takes outputs away, which progress bars do all the time.
_CLEAR = 10
#: How many exceptions are gone back along that led to one another; and the files that run cells.
_CAUSES = 5
_BELOW_THE_CELL = frozenset({inspect.getfile(InteractiveShell), __file__})
#: Modules whose functions tests rely on; they are as they were again when a graded cell runs. PyTorch's are
#: among them where the warm process has imported it.
_RESTORED = (
    *("builtins", "math", "operator", "unittest.case", "numpy", "numpy.testing", "numpy.linalg"),
    "numpy.testing._private.utils",
)
_RESTORED_TORCH = ("torch", "torch.testing", "torch.testing._comparison")
#: What compares nothing in them: notebooks set these so that they read older files. They stay as they are
#: unless a test names them.
_UNCOMPARED = frozenset({"load", "save"})
#: Words of a locked cell that runs more than its own text.
_UNSEEN = frozenset({"run", "exec", "eval", "compile"})
#: What imports, and the words of a text.
_IMPORTS = re.compile(r"^[ \t]*(?:from|import)\b.*$", re.MULTILINE)
_WORD = re.compile(r"[^\W\d]\w*")


class Sink:
    """Takes the outputs of a cell, joins neighbouring text, and sends what fits into the limit.

    left: what may still be sent, in bytes of JSON. Threads of a student's may write at any time, so that all
    of it is done by one at a time.
    """

    def __init__(self) -> None:
        self.send: Callable[[dict[str, Any]], None] = lambda output: None
        self.left = 0
        self._stream: tuple[str, list[str]] | None = None
        self._alone = threading.RLock()

    def write(self, name: str, text: str) -> None:
        with self._alone:
            if self._stream and self._stream[0] != name:
                self.flush()
            if self.left <= 0:
                return
            text = text[: self.left]
            cost = _cost(text)
            if cost > self.left:
                text = text[: self.left * len(text) // cost]
            self.left -= cost
            if self.left <= 0:
                text += _ENOUGH
            if self._stream:
                self._stream[1].append(text)
            else:
                self._stream = name, [text]

    def flush(self) -> None:
        with self._alone:
            if not self._stream:
                return
            name, parts = self._stream
            self._stream = None
            if 0 < self.left <= _OVERHEAD:
                parts.append(_ENOUGH)
            self.left -= _OVERHEAD
            self.send({"output_type": "stream", "name": name, "text": "".join(parts)})

    def emit(self, output: dict[str, Any]) -> None:
        with self._alone:
            self.flush()
            if self.left <= 0:
                return
            values = (output.get("data") or output).values()
            if sum(len(value) if isinstance(value, str) else 0 for value in values) < self.left:
                self.left -= _OVERHEAD + _cost(output)
            else:
                self.left = 0
            if self.left <= 0:
                output = {"output_type": "stream", "name": "stdout", "text": _ENOUGH}
            self.send(output)

    def clear(self) -> None:
        """Have what was shown until now taken away."""
        with self._alone:
            self.flush()
            if self.left > 0:
                self.left -= _CLEAR
                self.send({"output_type": "clear"})


def _cost(value: Any) -> int:
    """Bytes of a value in JSON."""
    if isinstance(value, str) and value.isascii() and value.isprintable():
        return len(value)
    return len(json.dumps(value))


class Stream(io.TextIOBase):
    """sys.stdout and sys.stderr of a cell."""

    def __init__(self, name: str, sink: Sink) -> None:
        self.name, self.sink = name, sink

    encoding = "utf-8"

    def write(self, text: str) -> int:
        self.sink.write(self.name, str(text))
        return len(text)

    def flush(self) -> None:
        return None

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        """As a kernel's streams have it, for `faulthandler.enable()`; what is written there is not kept."""
        return 2 if self.name == "stderr" else 1

    def writable(self) -> bool:
        return True


def _bundle(data: dict[str, Any]) -> dict[str, Any]:
    """A MIME bundle as JSON: bytes in base64, what is no JSON as text."""
    kept = {}
    for kind, value in data.items():
        if isinstance(value, bytes):
            value = base64.b64encode(value).decode()
        kept[str(kind)] = value if isinstance(value, str | dict | list) else str(value)
    return kept


class Publisher(DisplayPublisher):
    """display(…) and figures."""

    sink: Sink

    def publish(self, data: Any, metadata: Any = None, **details: Any) -> None:
        self.sink.emit({"output_type": "display_data", "data": _bundle(data), "metadata": metadata or {}})

    def clear_output(self, wait: bool = False) -> None:
        self.sink.clear()


class Hook(DisplayHook):
    """The value of a cell's last line."""

    sink: Sink

    def write_output_prompt(self) -> None:
        return None

    def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
        self.sink.emit(
            {"output_type": "execute_result", "data": _bundle(format_dict), "metadata": md_dict or {}}
        )

    def finish_displayhook(self) -> None:
        return None


class Compiler(CachingCompiler):
    """IPython's, which also says whose the code of a cell is.

    Otherwise every line of a traceback looks for it in the thousands of modules that are there.
    """

    def cache(self, *given: Any, **named: Any) -> str:
        name = super().cache(*given, **named)
        inspect.modulesbyfile[name] = inspect.modulesbyfile[os.path.abspath(name)] = "__main__"
        return name


class Shell(InteractiveShell):
    """IPython's shell, whose outputs go to a sink."""

    sink: Sink
    met: dict[str, None]
    compiler_class = Type(Compiler)

    def _get_exc_info(self, exc_tuple: Any = None) -> tuple[Any, Any, Any]:
        kind, error, trace = super()._get_exc_info(exc_tuple)
        _end_in_the_notebook(trace)
        self.met.update(_files_of(error))
        return kind, error, trace

    def _showtraceback(self, etype: Any, evalue: Any, stb: list[str]) -> None:
        self.sink.emit(
            {
                "output_type": "error",
                "ename": str(getattr(etype, "__name__", etype)),
                "evalue": str(evalue),
                "traceback": [str(line) for line in stb],
            }
        )

    def _format_exception_for_storage(self, *given: Any, **named: Any) -> dict[str, Any]:
        """Every error is formatted once already, to be shown; the history that wants it again is off."""
        return {}

    def system(self, cmd: str) -> None:
        print(_NO_PROGRAMS)

    def getoutput(self, cmd: str, split: bool = True, depth: int = 0) -> Any:
        """What `files = !ls` gets: lines, as from a program that says why it does nothing."""
        self.sink.programs = True
        return SList([_NO_PROGRAMS]) if split else LSString(_NO_PROGRAMS)

    def enable_gui(self, gui: Any = None) -> None:
        """There is no event loop to join."""

    def enable_matplotlib(self, gui: Any = None) -> Any:
        """Figures stand in the notebook, also for who wants them in a window or a widget."""
        return super().enable_matplotlib("inline")

    system_piped = system_raw = system


def make_shell() -> Shell:
    """The shell that every fork starts from."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.cache_size = 0
    config.InteractiveShell.autocall = 0
    shell = Shell.instance(config=config, display_pub_class=Publisher, displayhook_class=Hook)
    for names, says in ((_OF_THE_KERNEL, _NO_TOOLS), (_INSTALLERS, _NO_PROGRAMS)):
        for name in names:
            shell.register_magic_function(lambda line, says=says: print(says), magic_name=name)
    shell.met = {}
    sink = Sink()
    for one in (shell, shell.display_pub, shell.displayhook):
        object.__setattr__(one, "sink", sink)
    return shell


def warm_up(shell: Shell) -> None:
    """Do once what is slow the first time, so that no fork has to; `import_libraries` does the rest."""
    for name in _RESTORED:
        importlib.import_module(name)
    _remember_patterns()
    _remember_styles()


def import_libraries(shell: Shell, names: Sequence[str]) -> None:
    """Import libraries of `protocol.LIBRARIES`, as far as they are there and whole, for all forks to come.

    Raises whatever the import of PyTorch raises: no check can do without it.
    """
    if "torch" in names:
        _prepare_torch()
    for name in names:
        with contextlib.suppress(Exception):  # who imports it meets the error
            if name in ("matplotlib", "mathtext"):
                _list_fonts()
            with _texts_read_once():
                for module in protocol.LIBRARIES[name]:
                    importlib.import_module(module)
            if name == "matplotlib":
                _plot(shell)
                _stay_inline()
            if name == "mathtext":
                _set_formula()
    with _folders_resolved_once():
        shell.run_cell("1 / 0", store_history=False)  # its traceback looks through all modules that are new
    shell.met.clear()
    shell.reset(new_session=True)
    shell.execution_count = 1


def _prepare_torch() -> None:
    import safetensors.torch
    import torch

    torch.set_num_threads(1)
    _stay_on_the_cpu()
    _load_here()
    _allow_whole_graphs()
    for name in _RESTORED_TORCH:
        importlib.import_module(name)
    # What the first differentiation imports. It is not tried out: where PyTorch knows of a device beside the
    # CPU, that starts threads, and no process that is forked after it can differentiate.
    importlib.import_module("torch.fx.experimental.symbolic_shapes")
    x = torch.zeros(2, requires_grad=True)
    x * x
    safetensors.torch.save({"x": x.detach()})
    repr(x.sum())


def looking() -> tuple[Any, ...]:
    """What a look at candidates needs, for `serve` to take hold of; it brings PyTorch."""
    from graders.probing.days import exercises
    from graders.probing.exercise import Case
    from graders.probing.observe import describe, look, undisturbed
    from graders.probing.process.values import pack_sights, unpack

    return exercises(), Case, describe, look, pack_sights, unpack, undisturbed


@contextlib.contextmanager
def _texts_read_once() -> Iterator[None]:
    """Matplotlib writes docstrings of classes from those of methods, and reads each of these many times."""
    read = inspect.cleandoc
    inspect.cleandoc = cache(read)
    try:
        yield
    finally:
        inspect.cleandoc = read


@contextlib.contextmanager
def _folders_resolved_once() -> Iterator[None]:
    """Where links lead is asked for each file of each module, and most of them share their folder."""
    resolved, of_folder = os.path.realpath, cache(os.path.realpath)

    def realpath(path: Any, **how: Any) -> Any:
        folder, name = os.path.split(path)
        if how or name in ("", ".", "..") or os.path.islink(path):
            return resolved(path, **how)
        return os.path.join(of_folder(folder), name)

    os.path.realpath = realpath
    try:
        yield
    finally:
        os.path.realpath = resolved


def _list_fonts() -> None:
    """Have matplotlib list the fonts, as its import does, from what they are called alone.

    It reads AFM fonts to their end for that, with the widths of all letters and pairs of them, and forgets
    those: what writes in such a font reads it again.
    """
    from matplotlib import _afm

    unread = ("_parse_char_metrics", "_parse_optional")
    functions = {name: getattr(_afm, name) for name in unread if hasattr(_afm, name)}
    for name in functions:
        setattr(_afm, name, lambda file: ({}, {}))
    try:
        importlib.import_module("matplotlib.font_manager")
    finally:
        for name, function in functions.items():
            setattr(_afm, name, function)


def _plot(shell: Shell) -> None:
    """Draw a first figure, which looks for fonts."""
    import matplotlib.pyplot as plt

    shell.enable_matplotlib("inline")
    figure, axes = plt.subplots()
    axes.plot([0, 1])
    axes.set_title("x")
    figure.savefig(io.BytesIO(), format="png")
    plt.close("all")
    # A figure is drawn where it is shown; what draws it after every cell as well draws it for nobody.
    shell.events.unregister("post_execute", plt._draw_all_if_interactive)


def _set_formula() -> None:
    """Set a first formula, for which a grammar is made."""
    from matplotlib.mathtext import MathTextParser

    MathTextParser("agg").parse("$x$")


def _stay_inline() -> None:
    """Have `matplotlib.use("TkAgg")` and the like leave figures in the notebook, where there is no window."""
    import matplotlib.pyplot as plt

    switch = plt.switch_backend

    def switch_backend(newbackend: str) -> None:
        try:
            switch(newbackend)
        except ImportError:
            print(_NO_WINDOWS)

    plt.switch_backend = switch_backend


def _stay_on_the_cpu() -> None:
    """Have `torch.set_default_device("cuda")` cost nothing where there is none, or nothing could be made."""
    import torch

    set_device = torch.set_default_device
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}

    def set_default_device(device: Any) -> None:
        kind = None if device is None else torch.device(device).type
        if kind in there and not there[kind]():
            print(_NO_GPU.format(device=kind))
        else:
            set_device(device)

    torch.set_default_device = set_default_device


def _load_here() -> None:
    """Have a DataLoader that wants processes of its own read its batches itself: there are no others."""
    from torch.utils.data import dataloader

    def iterator(loader: Any) -> Any:
        asked = loader.num_workers, loader.timeout
        loader.num_workers = loader.timeout = 0
        try:
            return dataloader._SingleProcessDataLoaderIter(loader)
        finally:
            loader.num_workers, loader.timeout = asked

    dataloader._MultiProcessingDataLoaderIter = iterator


def _allow_whole_graphs() -> None:
    """Have `torch.compile(f, fullgraph=True)` give the function as it is written, as it does without it.

    Where nothing is compiled, PyTorch takes that for a graph that is not whole.
    """
    import torch

    compiled = torch.compile

    def compile(model: Any = None, *, fullgraph: bool = False, **how: Any) -> Any:
        return compiled(model, **how)

    torch.compile = compile


@dataclass(frozen=True)
class Pristine:
    """What is put back before a cell that carries points: contents as they were, beside where they are held.

    modules: those that tests rely on, by name. ours: what looks at candidates (modules and classes), by name.
    functions: of those, with the code that each had.
    """

    modules: tuple[tuple[str, Any, dict[str, Any]], ...]
    ours: tuple[tuple[str, Any, dict[str, Any]], ...]
    functions: tuple[tuple[types.FunctionType, types.CodeType], ...]


def pristine() -> Pristine:
    """As it is now, before there is any student's code."""
    ours = [module for name, module in sys.modules.items() if name.startswith("graders.")]
    own = [one for module in ours for one in vars(module).values()]
    own = [one for one in own if str(getattr(one, "__module__", "")).startswith("graders.")]
    classes = {id(one): one for one in own if isinstance(one, type)}.values()
    members = [*own, *(one for kind in classes for one in vars(kind).values())]
    functions = {id(one): one for one in members if isinstance(one, types.FunctionType)}.values()
    return Pristine(
        tuple(
            (name, sys.modules[name], dict(vars(sys.modules[name])))
            for name in (*_RESTORED, *_RESTORED_TORCH)
            if name in sys.modules
        ),
        tuple((one.__name__, one, dict(vars(one))) for one in (*ours, *classes)),
        tuple((one, one.__code__) for one in functions),
    )


def _remember_patterns() -> None:
    """Have Pygments work out its regular expressions for lists of words once.

    Every line of code in a traceback is coloured by a class of its own, which would do so again.
    """
    pygments.lexer.words.get = cache(pygments.lexer.words.get)


def _remember_styles() -> None:
    """Have the colours of tracebacks worked out once, which is most of what a traceback takes."""
    stack_data.style_with_executing_node = cache(stack_data.style_with_executing_node)
    set_up = Terminal256Formatter._setup_styles
    made: dict[tuple[Any, ...], tuple[dict, dict]] = {}

    def remembered(self: Terminal256Formatter) -> None:
        form = type(self), self.style, self.usebold, self.useunderline, self.useitalic
        if form not in made:
            set_up(self)
            made[form] = self.best_match, self.style_string
        self.best_match, self.style_string = map(dict, made[form])

    Terminal256Formatter._setup_styles = remembered


def read_sources(files: Sequence[str], left: int) -> int:
    """Parse files of libraries, as a traceback does that shows a line of one: most of what it takes.

    Only of modules that this process has imported itself; what else it is told of, it does not touch. left:
    lines that may be read, each of which takes some 2 KB. Returns how many may be after that.
    """
    own = {getattr(module, "__file__", None): vars(module) for module in list(sys.modules.values())}
    for file in files:
        if file in own and (count := len(linecache.getlines(file))) <= left:
            left -= count
            with contextlib.suppress(Exception):  # whose traceback needs it meets the error
                stack_data.Source.for_filename(file, own[file]).pieces  # noqa: B018
    return left


def _files_of(error: BaseException | None) -> Iterator[tuple[str, None]]:
    """The files in which an exception was raised and passed on, and those that it came from, as keys.

    Those are left out in which every error of a cell passes, and which no traceback shows.
    """
    for _ in range(_CAUSES):
        if error is None:
            return
        files = (frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__))
        yield from ((file, None) for file in files if file not in _BELOW_THE_CELL)
        error = error.__cause__ or error.__context__


def _no_input(prompt: object = "") -> str:
    raise EOFError("A notebook that is graded has nobody to ask: input() cannot be used in it.")


def _no_exit(*code: object) -> None:
    raise RuntimeError("exit() cannot be used in a notebook; the cell stops here.")


def _end_in_the_notebook(trace: types.TracebackType | None) -> None:
    """Take what stands in for `input` and `exit` off a traceback, whose last line is then the student's."""
    while trace and trace.tb_next:
        if trace.tb_next.tb_frame.f_code in (_no_input.__code__, _no_exit.__code__):
            trace.tb_next = None
        else:
            trace = trace.tb_next


def _watch(tell: Callable[[str], None], sink: Sink) -> None:
    """Install an audit hook, which nothing can remove: tell of a look into the grader before it happens, and
    the sink of a program that is about to be started.

    Only what the student's own code does is told, not what the library does for it. Whose a frame is, its
    code's file name says; to make code with the name of a library's file is told as well. Tracing is refused:
    whoever traces a test can have it jump over its own lines.
    """
    library = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]), "<frozen")
    for_others = os.sep + "ctypes" + os.sep, os.sep + "inspect.py"  # whose caller is who looks
    told: set[str] = set()
    mine = threading.local()
    frame_of, noticed, frames = sys._getframe, protocol.NOTICED, protocol.FRAMES
    starts, starters = _STARTS, _STARTERS
    # Python 3.11 has two steps for a call, the first of which does both where it was taken often.
    pop_top, precall = (bytes([opcode.opmap.get(name, 0)]) for name in ("POP_TOP", "PRECALL"))

    def is_noticed(event: str, details: tuple[Any, ...]) -> bool:
        if event == "object.__getattr__":
            return details[1] in frames
        if event in ("compile", "code.__new__"):
            return isinstance(details[1], str) and details[1].startswith(library)
        if event == "open":
            return isinstance(details[0], str) and re.fullmatch(r"/proc/.*/mem", details[0]) is not None
        return True

    def is_thrown_away(frame: Any) -> bool:
        """Whether nobody looks at what the call in which a frame stands comes to, as with `!command`."""
        steps = frame.f_code.co_code[frame.f_lasti :: 2].replace(b"\0", b"").removeprefix(precall)
        return steps[1:2] == pop_top

    def hook(event: str, details: tuple[Any, ...]) -> None:
        if event == "sys.settrace":
            raise RuntimeError("A notebook that is graded cannot trace its code.")
        if event in starts and not hasattr(mine, "busy"):
            mine.busy = True
            caller = frame_of(1)
            while caller and caller.f_code.co_filename.endswith(starters):
                caller = caller.f_back
            students = caller and not caller.f_code.co_filename.startswith(library)
            if students and not (event == "os.system" and is_thrown_away(caller)):
                sink.programs = True
            del mine.busy
        if event in noticed and event not in told and not hasattr(mine, "busy"):
            mine.busy = True  # looking for the caller is such an event itself
            if is_noticed(event, details):
                caller = frame_of(1)
                while caller and any(name in caller.f_code.co_filename for name in for_others):
                    caller = caller.f_back
                if caller and not caller.f_code.co_filename.startswith(library):
                    told.add(event)
                    tell(event)
            del mine.busy

    set_trace = sys.settrace

    def settrace(function: Any) -> None:
        """`doctest` and debuggers take off what traces, which is nothing."""
        if function is not None:
            set_trace(function)

    sys.settrace = settrace
    sys.addaudithook(hook)


#: As they were before there was any student's code.
_all, _map, _is = all, map, operator.is_


def _put_back(pristine: Pristine) -> list[str]:
    """What looks at candidates, as it was; returns the names of what had been changed."""
    changed = []
    for function, code in pristine.functions:
        if function.__code__ is not code:
            function.__code__ = code
            changed.append(function.__qualname__)
    for name, holder, before in pristine.ours:
        now = vars(holder)
        same_names = len(now) == len(before) and _all(_map(_is, now, before))
        if same_names and _all(_map(_is, now.values(), before.values())):
            continue  # in the order that they had, as it is where nothing was set anew
        for key, value in before.items():
            if now.get(key, pristine) is not value and not key.startswith("__"):
                setattr(holder, key, value)
                changed.append(f"{name}.{key}")
    return changed


def serve(
    channel: socket.socket,
    shell: Shell,
    output_limit: int,
    pristine: Pristine,
    looking: tuple[Any, ...] | None,
) -> None:
    """Answer requests until the channel is closed: run a cell, or look at a candidate.

    pristine, looking: what the functions of these names gave before there was any student's code. Without
    `looking`, a request for a look ends the process.
    """
    sink = shell.sink
    names = shell.user_ns
    builtins.input = _no_input
    names["exit"] = names["quit"] = builtins.exit = builtins.quit = _no_exit
    sys.stdout, sys.stderr = Stream("stdout", sink), Stream("stderr", sink)
    send, receive = protocol.send, protocol.receive
    table, case_of, described, look_at, pack_sights, unpack, undisturbed = looking or ({}, *[None] * 6)
    put_back, modules, contents = _put_back, pristine.modules, vars
    evaluate, compiled, stopped = eval, compile, RuntimeError
    awaits, is_coroutine, run_async = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, inspect.CO_COROUTINE, shell.loop_runner
    test_class, put, test_methods = unittest.TestCase, setattr, tuple(vars(unittest.TestCase).items())
    given: dict[str, Any] = {}  # modules and library functions that locked cells bound to names
    relied_on: set[str] = set()  # the words of locked cells, but for what they import
    words, without_imports = _WORD.findall, _IMPORTS.sub
    uncompared, unseen = _UNCOMPARED, _UNSEEN
    number_text = {int: int.__repr__, float: float.__repr__, bool: bool.__repr__}
    quietly = contextlib.suppress
    on_interrupt, ignored, set_handler = signal.default_int_handler, signal.SIG_IGN, signal.signal
    interrupt = signal.SIGINT
    get_type, module_of = type, sys.modules
    text_type, dict_get, module_type, built_in = str, dict.get, types.ModuleType, vars(builtins)

    set_handler(interrupt, ignored)
    one_at_a_time = threading.Lock()
    enough, met, most = protocol.TEXT_LIMIT, shell.met, protocol.FILES_TOLD
    notices = {event: protocol.frame({"noticed": event}) for event in protocol.NOTICED}
    write = channel.sendall

    def send_output(output: dict[str, Any]) -> None:
        with one_at_a_time:
            send(channel, {"output": output})

    def tell(event: str) -> None:
        with one_at_a_time:
            write(notices[event])

    sink.send = send_output
    _watch(tell, sink)
    while True:
        try:
            request, payload = receive(channel)
        except protocol.Broken:
            os._exit(0)
        sink.left, sink.programs = output_limit, False
        reply: dict[str, Any] = {"request": request["request"], "status": "ok"}
        back = b""
        if "cell" in request:
            # An answer, or a cell of the student's own.
            set_handler(interrupt, on_interrupt)
            try:
                result = shell.run_cell(request["cell"], store_history=True)
                if not result.success:
                    reply["status"] = "error"
                if request.get("locked"):
                    relied_on.update(words(without_imports("", request["cell"])))
                    for name, value in names.items():
                        home = None if name.startswith("_") else getattr(value, "__module__", None)
                        from_elsewhere = callable(value) and home in module_of and home != "__main__"
                        if get_type(value) is module_type or from_elsewhere:
                            given[name] = value
            except BaseException as error:
                reply["status"] = "error"
                reply["error"] = [get_type(error).__name__, text_type(error)[:enough]]
            set_handler(interrupt, ignored)
        elif "body" in request:
            # A cell that carries points: what tests rely on is put back, and its end is seen right here.
            changed = []
            relied_on.update(words(without_imports("", request["source"])))
            for name, module, before in modules:
                current = contents(module)
                for key, value in before.items():
                    now = dict_get(current, key, pristine)
                    if (
                        now is not value
                        and key
                        not in (
                            "input",
                            "exit",
                            "quit",
                            "_",
                            "__warningregistry__",
                            "Storage",  # which torch.set_default_dtype sets
                        )
                        and (key not in uncompared or key in relied_on)
                    ):
                        current[key] = value
                        # Honest notebooks set `print` as they like, and `importlib.reload` the others; for
                        # older libraries they have `numpy.bool` be Python's.
                        usual = key == "print" if name == "builtins" else key[0] == "_" or key == "test"
                        if not usual and not (key == "bool" and now is built_in.get(key)):
                            changed.append(f"{name}.{key}")
            for name, value in test_methods:
                if test_class.__dict__.get(name) is not value and not name.startswith("_class"):
                    put(test_class, name, value)
                    changed.append(f"unittest.TestCase.{name}")
            relies_on_all = not relied_on.isdisjoint(unseen)
            set_aside: dict[str, Any] = {}
            for name, value in given.items():
                needed = relies_on_all or name in relied_on or name not in names
                if needed and names.get(name) is not value:
                    # What is only gone, or the shell's own and made anew, is so after %reset; after %pylab
                    # the names of a module stand for `builtins` itself.
                    made_anew = name in ("get_ipython", "exit", "quit") or names.get(name) is built_in
                    if name in names and not made_anew:
                        changed.append(name)
                        set_aside[name] = names[name]
                    names[name] = value
            reply["changed"] = changed[:20]
            set_handler(interrupt, on_interrupt)
            try:
                file = shell.compile.cache(request["source"], shell.execution_count)
                shell.execution_count += 1
                value = None
                for text, mode in ((request["body"], "exec"), (request["last"], "eval")):
                    if not text and mode == "eval":
                        continue
                    code = compiled(text, file, mode, awaits, True)
                    value = evaluate(code, names)
                    if code.co_flags & is_coroutine:
                        ended: list[Any] = []

                        async def to_its_end(test: Any = value, ended: list[Any] = ended) -> None:
                            ended.append(await test)

                        run_async(to_its_end())
                        if not ended:
                            raise stopped("The cell did not come to its end.")
                        value = ended[0]
                if request["last"]:
                    kind = get_type(value)
                    if kind in number_text:
                        reply["number"] = number_text[kind](value)
                    elif value is not None:
                        shell.displayhook(value)
                        home = module_of.get(kind.__module__)
                        own = (
                            kind.__module__ == "__main__"
                            or vars(home or types).get(kind.__name__) is not kind
                        )
                        reply["own_type"] = bool(own)
                shell.events.trigger("post_execute")
            except BaseException as error:
                reply["status"] = "error"
                reply["error"] = [get_type(error).__name__, text_type(error)[:enough]]
                with quietly(BaseException):
                    # The first frames are this one's, which are nobody's business and slow to look up.
                    first = trace = error.__traceback__
                    while trace and trace.tb_frame.f_code.co_filename != file:
                        trace = trace.tb_next
                    trace = trace or (first and first.tb_next)
                    shell.showtraceback((get_type(error), error, trace), tb_offset=0)
            set_handler(interrupt, ignored)
            names.update(set_aside)  # the next test is told of them as well
        elif "check" in request:
            exercise = table[request["check"]]
            candidate: Any = []
            for name in exercise.candidates:
                if name not in names:
                    reply["missing"] = name
                    break
                if not callable(names[name]):
                    reply["not_callable"] = described(names[name])
                    break
                candidate.append(names[name])
            else:
                candidate = candidate[0] if len(candidate) == 1 else tuple(candidate)
                set_handler(interrupt, on_interrupt)
                try:
                    reply["changed"] = put_back(pristine)[:20]
                    with undisturbed():
                        tree = unpack(request["cases"], payload, request["device"])
                        cases = [case_of(name, inputs) for name, inputs in tree]
                        sights, surveyed = look_at(exercise, candidate, cases)
                        reply["sights"], back = pack_sights(sights, surveyed)
                except BaseException as error:
                    reply["status"] = "error"
                    reply["error"] = [get_type(error).__name__, text_type(error)[:enough]]
                set_handler(interrupt, ignored)
            shell.execution_count += 1
        if sink.programs:
            reply["programs"] = True
        if met:
            with quietly(BaseException):
                files = (one for one in met if get_type(one) is text_type and one.endswith(".py"))
                reply["files"] = [one for one, _ in zip(files, range(most), strict=False)]
            met.clear()
        sink.flush()
        try:
            with one_at_a_time:
                send(channel, reply, back)
        except protocol.Broken:
            os._exit(0)
