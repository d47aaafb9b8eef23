"""An explorer as Python sees it: words, controls, data for its module, and the twin of its `compute`."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets

from course.explorers import modules
from course.explorers.pictures import MIME


@dataclass(frozen=True)
class Control:
    """Something to move over a list of values.

    kind: "range", a slider; "buttons", a button for each value; "index", a field for each axis of a shape.
    values: what `compute` may be given. labels: how each of them is written. start: the place of the first.
    extra: what else its kind needs (see kit.js).
    """

    kind: str
    label: str
    values: Sequence[Any]
    labels: Sequence[str]
    start: int
    extra: Mapping[str, Any] | None = None

    def spec(self, name: str) -> dict[str, Any]:
        """What the module's side is told of it; the values of an index follow from its shape."""
        told = {"name": name, "kind": self.kind, "label": self.label, "start": self.start}
        if self.kind != "index":
            told |= {"values": list(self.values), "labels": list(self.labels)}
        return told | dict(self.extra or {})


def slider(label: str, value: float, low: float, high: float, step: float) -> Control:
    """A slider for a number on a linear scale, shown with two decimals."""
    count = round((high - low) / step)
    values = [round(low + step * i, 10) for i in range(count + 1)]
    return Control("range", label, values, [_decimals(v) for v in values], values.index(round(value, 10)))


def log_slider(label: str, value: float, low: int, high: int) -> Control:
    """A slider for a positive number, from 10^low to 10^high in quarter decades."""
    values = [10 ** (low + i / 4) for i in range(4 * (high - low) + 1)]
    start = min(range(len(values)), key=lambda place: abs(np.log(values[place] / value)))
    values[start] = value
    return Control("range", label, values, [_significant(v) for v in values], start)


def choice(label: str, value: Any, options: Sequence[Any], kind: str = "range") -> Control:
    """A slider, or buttons, over a few values; each is (label, value), or a value that is its own label."""
    pairs = [
        option if isinstance(option, tuple) and len(option) == 2 else (str(option), option)
        for option in options
    ]
    values = [value for _, value in pairs]
    return Control(kind, label, values, [text for text, _ in pairs], values.index(value))


def index(
    label: str, value: Sequence[int], shape: Sequence[int], axes: Sequence[str], hint: str = ""
) -> Control:
    """A number field for each axis of a shape."""
    values = list(itertools.product(*map(range, shape)))
    extra = {"shape": list(shape), "axes": list(axes), "hint": hint}
    return Control("index", label, values, [str(v) for v in values], values.index(tuple(value)), extra)


class Explorer(anywidget.AnyWidget):
    """Sliders, a picture that follows them, and what to look for; all of it moves in the page.

    The kernel hands over `data` once; no message passes while a slider moves. A stored notebook holds the
    same as `MIME`, for pages that run no kernel.

    Args:
        module: the name of its JavaScript module in this folder.
        title: one line that says what this is.
        look_for: one sentence above the sliders.
        controls: name -> control; the names are the arguments of `compute`.
        compute: the Python twin of the module's `compute`: settings -> dict of numbers, arrays, strings and
            truths. The tests compare the two; the page does not need it.
        data: numbers, strings, lists and tensors that the module's functions are given.
        goal: something to reach; `reached` in the state says whether it is. Or None.

    Source of what a widget is here: https://anywidget.dev
    """

    _css = Path(__file__).parent / "kit.css"
    spec = traitlets.Dict().tag(sync=True)
    data = traitlets.Dict().tag(sync=True)
    settings = traitlets.Dict(help="set it, and every view moves there").tag(sync=True)

    def __init__(
        self,
        module: str,
        *,
        title: str,
        look_for: str,
        controls: Mapping[str, Control],
        compute: Callable[..., dict[str, Any]],
        data: Mapping[str, Any] | None = None,
        goal: str | None = None,
    ) -> None:
        self._esm = modules.bundle(module)
        self.module, self.controls, self.compute = module, dict(controls), compute
        super().__init__(
            spec={
                "title": title,
                "look_for": look_for,
                "goal": goal,
                "controls": [control.spec(name) for name, control in controls.items()],
            },
            data=encode(data or {}),
            settings={},
        )

    @property
    def start(self) -> dict[str, Any]:
        """The settings at the start, by name."""
        return {name: control.values[control.start] for name, control in self.controls.items()}

    def at(self, **settings: Any) -> Explorer:
        """This explorer, opened at these values; Reset still leads to the start.

        Raises:
            ValueError: it has no control of such a name.
        """
        if unknown := settings.keys() - self.controls.keys():
            raise ValueError(
                f"This explorer has no {', '.join(sorted(unknown))}; it has {', '.join(self.controls)}."
            )
        self.settings = settings
        return self

    def __repr__(self) -> str:
        names = ", ".join(control.label for control in self.controls.values())
        return f"Explorer: {self.spec['title'].rstrip('.?')}. Run this cell to move: {names}."

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        live, metadata = super()._repr_mimebundle_()
        stored = {"module": self.module, "spec": self.spec, "data": self.data}
        return {**live, MIME: stored, "text/plain": repr(self)}, metadata


def encode(data: Any) -> Any:
    """Arrays as {dtype, shape, base64}, wherever they stand in `data`; the rest as it is.

    Raises:
        TypeError: a value that has no such form.
    """
    if isinstance(data, Mapping):
        return {str(name): encode(value) for name, value in data.items()}
    if isinstance(data, torch.Tensor):
        data = data.detach().numpy()
    if isinstance(data, np.ndarray):
        kinds = {"b": np.uint8, "u": np.uint8, "i": np.int32, "f": data.dtype}
        kind = np.dtype(kinds.get(data.dtype.kind, object))
        if kind not in (np.float64, np.float32, np.int32, np.uint8) or (data.astype(kind) != data).any():
            raise TypeError(f"an explorer cannot be given such an array of {data.dtype}")
        array = np.ascontiguousarray(data, kind)
        text = base64.b64encode(array.astype(kind.newbyteorder("<")).tobytes()).decode("ascii")
        return {"dtype": kind.name, "shape": list(array.shape), "base64": text}
    if isinstance(data, (list, tuple)):
        return [encode(value) for value in data]
    if data is None or isinstance(data, (str, bool, int, float)):
        return data
    raise TypeError(f"an explorer cannot be given a {type(data).__name__}")


def _decimals(number: float) -> str:
    return f"{number:.2f}".replace("-", "−")


def _significant(number: float) -> str:
    """Two significant digits, as kit.js writes them: 0.18, 10, 1e−5."""
    return f"{float(f'{number:.1e}'):g}".replace("e-0", "e−").replace("e+0", "e")
