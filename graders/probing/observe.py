"""Runs a probe on a candidate and writes down what it does: values, exceptions, changed arguments.

This is the code on the student's side of the wall. It compares nothing and knows no answer.
"""

from __future__ import annotations

import contextlib
import io
import linecache
import sysconfig
import traceback
import types
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graders.probing.exercise import BrokenContract, Candidate, Case, Exercise, Inputs
from graders.probing.recorder import Recorder, inherited, without_compiler, written

#: The observation that lists the arguments which no longer hold what they were given with. Those that are
#: tensors are looked after here; of what a probe makes itself, a model, the probe says it.
ARGUMENTS = "arguments changed"
#: The observation that says in which form a result came, where the probe could look into it all the same.
FORM = "form of the result"
#: What takes a tensor to another device.
MOVES = frozenset({"to", "cpu", "cuda", "numpy", "type", "to_copy"})
#: What an error says by which the library refuses to give an answer, while that is closed.
CLOSED = "this is the library's own answer, which is closed while a check runs"


def refuse() -> None:
    assert False  # noqa: B011


#: The instructions of this function, with which one of the library's begins while it is closed.
RAISE = refuse.__code__.co_code
#: Whole numbers from here on are named, and not compared: they do not fit into a float, nor into a tensor.
INTEGER_LIMIT = 2**63
#: Of lists with more numbers in them, or deeper ones, it is not looked at what these are.
MOST_NUMBERS, DEEPEST = 100_000, 8
#: How much of what the candidate prints is kept, in characters.
PRINTED_LIMIT = 2_000


@dataclass(frozen=True)
class Raised:
    """An exception that left the candidate; `line` and `code` are where, in the student's own text."""

    type: str
    text: str
    line: int | None = field(default=None, compare=False)
    code: str | None = field(default=None, compare=False)
    unattempted: bool = field(default=False, compare=False)
    contract: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Foreign:
    """A value of a type that is no observation: an ndarray, a list, a generator.

    numbers: what it holds, as a tensor, where it is an array or a list of numbers.
    """

    type: str
    numbers: torch.Tensor | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Sight:
    """What one probe of one case saw: the observations in order, then what ended it early, if anything."""

    values: Mapping[str, Any]
    raised: Raised | None = None
    printed: str = ""


class Probing:
    """A probe of one candidate in one case, which can be taken up where it was left.

    Never raises for what the candidate does; KeyboardInterrupt passes. What the candidate writes to
    stdout is kept, up to a limit; warnings and stderr are dropped, because one line on stderr costs
    all points in a notebook graded by nbgrader. The global random state is the same at every start, and
    afterwards what it was before; what a cell before has left behind is put aside. A probe
    yields outside of contexts such as torch.no_grad(), which would stay in force while it is left.

    watched: whether it is looked at whether the arguments still hold what they were given with.
    """

    def __init__(self, exercise: Exercise, candidate: Candidate, case: Case, *, watched: bool = True) -> None:
        self.case, self.inputs, self.watched = case, copied(case.inputs), watched
        self._probe = _started(exercise, candidate, self.inputs)
        self._values: dict[str, Any] = {}
        self._changed: str | None = None
        self._raised: Raised | None = None
        self._printed = _Limited(PRINTED_LIMIT)
        self._random: torch.Tensor | None = None

    def until(self, last: str | None) -> Sight:
        """What is seen up to the observation `last`, or all; what was seen before is not done again."""
        if self._raised is None and not {last, ARGUMENTS} & self._values.keys():
            with contextlib.nullcontext() if _trusted else apart(self._printed):
                if self._random is None:
                    torch.default_generator.manual_seed(0)
                else:
                    torch.default_generator.set_state(self._random)
                if self._go_on(last):
                    self._random = torch.default_generator.get_state()
        return Sight(dict(self._values), self._raised, self._printed.getvalue())

    def _go_on(self, last: str | None) -> bool:
        """Whether there is more to come."""
        try:
            for name, value in self._probe:
                if name == ARGUMENTS:
                    self._changed = value
                    continue
                self._values[name] = _observation(value)
                if name == last:
                    return True
            changed = [self._changed, *(_changed(self.case.inputs, self.inputs) if self.watched else ())]
            self._values[ARGUMENTS] = ", ".join(filter(None, changed)) or None
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: a student's exit() ends the probe, not us
            self._raised = _raised(error)
        return False


#: Whether what is probed now is the judge's own.
_trusted = False


@contextlib.contextmanager
def trusted() -> Iterator[None]:
    """What is probed inside is the judge's own code: it is kept apart once, and not in each probe."""
    global _trusted
    before = _trusted
    with contextlib.nullcontext() if before else apart(_Limited(0)):
        _trusted = True
        try:
            yield
        finally:
            _trusted = before


@contextlib.contextmanager
def apart(printed: io.StringIO) -> Iterator[None]:
    """Whatever runs inside changes nothing outside of it; what it writes to stdout goes to `printed`."""
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
        torch.random.fork_rng(devices=[]),
        undisturbed(),
        _exact_convolutions(),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """PyTorch as it is at the start, whatever a cell before has left behind: gradients that are switched off,
    another default device or dtype.
    """
    device, dtype = _default_device(), torch.get_default_dtype()
    if device.type != "cpu":
        torch.set_default_device(None)
    if dtype != torch.float32:
        torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        if device.type != "cpu":
            torch.set_default_device(device)
        if dtype != torch.float32:
            torch.set_default_dtype(dtype)


def _default_device() -> torch.device:
    try:
        return torch.get_default_device()
    except AttributeError:  # PyTorch 2.6 does not find it again once it was set to None
        return torch.device("cpu")


def _started(exercise: Exercise, candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    """The probe, of which nothing runs before it is asked for the first observation."""
    yield from exercise.probe(candidate, inputs)


def observe(exercise: Exercise, candidate: Candidate, case: Case) -> Sight:
    """Run the exercise's probe on `candidate` in this case."""
    return Probing(exercise, candidate, case).until(None)


def _exact_convolutions() -> contextlib.AbstractContextManager[None]:
    """On a GPU, float32 convolutions in float32: unless told otherwise cuDNN rounds to TF32, three digits."""
    cudnn = torch.backends.cudnn
    if not cudnn.is_available():
        return contextlib.nullcontext()
    return cudnn.flags(enabled=cudnn.enabled, deterministic=True, allow_tf32=False)


@dataclass(frozen=True)
class Survey:
    """What the candidate used in the first case: library operators, and devices other than the inputs'."""

    operators: frozenset[str]
    wrong_device: str | None


def look(exercise: Exercise, candidate: Candidate, cases: Sequence[Case]) -> tuple[list[Sight], Survey]:
    """Probe a candidate in every case; what is observed is what is surveyed.

    The first case is observed with every operator recorded, and once more on the `meta` device. A meta
    tensor has a shape and a device and no data, so a tensor made on a hard-coded device cannot meet it. Code
    that asks a meta tensor for a value fails for a reason of its own; that is not held against it. A
    candidate that neither makes tensors out of nothing nor moves any is spared that, and so is one that is
    given none, whose device it could keep to.
    """
    first, *others = cases
    with Recorder() as recorder:
        sights = [observe(exercise, candidate, first)]
    sights += [observe(exercise, candidate, case) for case in others]
    operators = frozenset(recorder.operators | written(candidate) | inherited(candidate))
    has_device = any(True for _ in tensors(first.inputs))
    if not has_device or (recorder.made_on_cpu is None and not operators & MOVES):
        return sights, Survey(operators, None)
    meta = Case(first.name, moved(first.inputs, "meta"))
    with Recorder() as recorder, without_compiler():
        sight = observe(exercise, candidate, meta)
    return sights, Survey(operators, _wrong_device(sight, recorder))


def _wrong_device(sight: Sight, recorder: Recorder) -> str | None:
    stray = [
        name
        for name, value in sight.values.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point() and value.device.type != "meta"
    ]
    if stray:
        return f"{stray[0]} is on {sight.values[stray[0]].device} while the inputs are on another device"
    mixed = ("expected device", "same device")
    if sight.raised and recorder.made_on_cpu and any(text in sight.raised.text for text in mixed):
        where = f", near line {sight.raised.line}: {sight.raised.code}" if sight.raised.code else ""
        return (
            f"a tensor made with torch.{recorder.made_on_cpu} is on the CPU whatever the device of the "
            f"inputs{where}"
        )
    return None


def copied(inputs: Any) -> Any:
    """The same inputs in memory of their own, strides kept."""
    return _mapped(inputs, lambda tensor: (tensor.detach() if tensor.requires_grad else tensor).clone())


def moved(inputs: Any, device: str) -> Any:
    """The same inputs on another device."""
    return _mapped(inputs, lambda tensor: tensor.to(device))


def widened(inputs: Any) -> Any:
    """The same inputs on the CPU, floating-point tensors in float64: what a reference is given."""
    return _mapped(
        inputs,
        lambda tensor: tensor.detach().cpu().double() if tensor.is_floating_point() else tensor.cpu(),
    )


#: What most inputs are that are no tensors, told by the type alone: it takes longer to ask for a mapping.
_PLAIN = frozenset({float, int, bool, str, type(None)})


def _mapped(value: Any, change: Any) -> Any:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_mapped(item, change) for item in value)
    return value


def tensors(inputs: Any, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor in the inputs with the name a student knows it by: "x", "batches[2]"."""
    if isinstance(inputs, torch.Tensor):
        yield prefix, inputs
    elif isinstance(inputs, Mapping):
        for key, item in inputs.items():
            if type(item) not in _PLAIN:
                yield from tensors(item, f"{prefix}.{key}" if prefix else key)
    elif isinstance(inputs, list | tuple):
        for position, item in enumerate(inputs):
            if type(item) not in _PLAIN:
                yield from tensors(item, f"{prefix}[{position}]")


def _changed(before: Inputs, after: Inputs) -> list[str]:
    now = dict(tensors(after))
    return [
        name
        for name, tensor in tensors(before)
        if not tensor.is_meta
        and not torch.equal(tensor, now[name])
        and not torch.equal(tensor.nan_to_num(), now[name].detach().nan_to_num())
    ]


def _observation(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        if value.is_nested or value.is_quantized:
            return Foreign(f"{'nested' if value.is_nested else 'quantized'} tensor")
        return value.detach()
    value = plain(value)
    if isinstance(value, int) and abs(value) >= INTEGER_LIMIT:
        return Foreign("very large int")
    if value is None or isinstance(value, bool | int | float | str | Raised):
        return value
    numbers = None
    # Of other things, in a ragged shape, or of numbers that are too large.
    with contextlib.suppress(TypeError, ValueError, RuntimeError, OverflowError):
        numbers = numbers_in(value)
    return Foreign(type(value).__name__, numbers)


def holds_numbers(value: Any) -> bool:
    """Whether an observation is no tensor and no number, and holds numbers: of an array, or a list."""
    return isinstance(value, Foreign) and value.numbers is not None


def numbers_in(value: Any) -> torch.Tensor:
    """The numbers of an array, or of a list of numbers, tensors and lists, as one tensor on the CPU.

    Raises TypeError, ValueError, RuntimeError or OverflowError where there are other things in it, very many
    or very large numbers, or the list is ragged.
    """
    value = plain(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return torch.from_numpy(np.ascontiguousarray(value).copy())
    if isinstance(value, torch.Tensor) and not value.is_meta:
        return value.detach().cpu().clone()
    if isinstance(value, int | float):
        return torch.tensor(value, dtype=torch.float64)
    count, first = 1, value
    for _ in range(DEEPEST):
        if isinstance(first, list | tuple) and first:
            count, first = count * len(first), first[0]
    if isinstance(value, list | tuple) and not isinstance(first, list | tuple) and count <= MOST_NUMBERS:
        if isinstance(first, torch.Tensor | np.ndarray):
            return torch.stack([numbers_in(item).double() for item in value])
        return torch.tensor(value, dtype=torch.float64)
    raise TypeError(type(value).__name__)


def plain(value: Any) -> Any:
    """A number, truth value or text of NumPy's, or of a class of the student's own such as a StrEnum, as
    Python's, than which it is no worse; all else as it is.
    """
    if isinstance(value, np.generic):
        for kind, python in ((np.bool_, bool), (np.integer, int), (np.floating, float)):
            if isinstance(value, kind):
                return python(value)
    for kind, exact in ((str, str.__str__), (int, int.__int__), (float, float.__float__)):
        if kind in type(value).__mro__[1:] and not isinstance(value, bool):
            return exact(value)
    return value


def _raised(error: BaseException) -> Raised:
    line, code = _own_line(error.__traceback__)
    return Raised(
        type=type(error).__name__,
        text=CLOSED if _was_closed(error) else str(error),
        line=line,
        code=code,
        unattempted=isinstance(error, NotImplementedError) and not str(error),
        contract=isinstance(error, BrokenContract),
    )


def _was_closed(error: BaseException) -> bool:
    """Whether it is from a function of the library that is closed."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    # All but the first instruction, which Python rewrites when it has run.
    return bool(trace) and trace.tb_frame.f_code._co_code_adaptive[2:].startswith(RAISE[2:])


_NOT_THE_STUDENTS = tuple(
    str(Path(folder).resolve())
    for folder in {
        Path(__file__).parent.parent,
        Path(torch.__file__).parent.parent,  # with all packages beside it
        sysconfig.get_path("purelib"),
        sysconfig.get_path("stdlib"),
    }
)


def _own_line(trace: types.TracebackType | None) -> tuple[int | None, str | None]:
    """The last line of the traceback that is neither ours, nor a package's, nor the standard library's."""
    for frame in reversed(traceback.extract_tb(trace)):
        if not frame.filename.startswith((*_NOT_THE_STUDENTS, "<frozen")):
            return frame.lineno, linecache.getline(frame.filename, frame.lineno or 0).strip() or None
    return None, None


class _Limited(io.StringIO):
    """Text that stops growing at a limit."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def write(self, text: str) -> int:
        room = self.limit - self.tell()
        if room > 0:
            super().write(text[:room])
        return len(text)


def describe(value: Any) -> str:
    """The kind of a value in a student's words: "a tensor of shape (3, 4)", "a list", "nothing (None)"."""
    if value is None:
        return "nothing (None)"
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)} values"
    name = value.type if isinstance(value, Foreign) else type(value).__name__
    name = "NumPy array" if name == "ndarray" else name
    article = "an" if name[0].lower() in "aeiou" else "a"
    return f"{article} {name}"


def unpacked(result: Any, names: Sequence[str]) -> Sequence[Any]:
    """`result` as the tuple (or list) that `names` describe.

    Raises BrokenContract with a sentence where it is something else.
    """
    if isinstance(result, tuple | list) and len(result) == len(names):
        return result
    raise BrokenContract(f"It should return ({', '.join(names)}), but it returns {describe(result)}.")
