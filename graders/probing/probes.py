"""Probes that several exercises share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from graders.probing.exercise import Candidate, Inputs, Probe
from graders.probing.observe import ARGUMENTS, FORM, describe, numbers_in, unpacked
from graders.probing.recorder import paused


def call(*results: str) -> Probe:
    """Call the candidate with the inputs in order, and observe what it returns under these names.

    An input whose name is "eps" and whose value is None is left out, so that the default is used.
    """

    def probe(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
        result = candidate(*arguments(inputs))
        if len(results) == 1:
            yield results[0], result
        else:
            yield from zip(results, unpacked(result, results), strict=True)

    return probe


def arguments(inputs: Inputs) -> list[Any]:
    """The values to call with: trailing inputs that are None are left to their defaults."""
    values = list(inputs.values())
    while values and values[-1] is None:
        values.pop()
    return values


def first_of_pair(result: Any, names: tuple[str, str]) -> Iterator[tuple[str, Any]]:
    """Observe the first of a returned pair, and the form; a lone tensor is looked into all the same."""
    if isinstance(result, torch.Tensor):
        yield names[0], result
        yield FORM, f"{describe(result)} alone instead of the pair ({', '.join(names)})"
    else:
        yield names[0], unpacked(result, names)[0]
        yield FORM, None


def kept(value: Any) -> Any:
    """A copy of a tensor, which a later step may change in place; anything else as it is."""
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def given_back(value: Any) -> Any:
    """What a step returned as the next is given it: in place of an array, whose form is told, a tensor."""
    return numbers_in(value) if isinstance(value, np.ndarray) else value


def steps_with_velocity(candidate: Candidate, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    """A probe: a rule is called step after step with what it returned; w and velocity are observed."""
    w, velocity = inputs["w"], inputs["velocity"]
    steps = zip(inputs["gradients"], inputs["lr"], inputs["beta"], strict=True)
    for count, (g, lr, beta) in enumerate(steps, 1):
        results = unpacked(candidate(w, g, velocity, lr, beta), ("w", "velocity"))
        yield f"w after step {count}", kept(results[0])
        yield f"velocity after step {count}", kept(results[1])
        w, velocity = map(given_back, results)


#: What is seen where an exception is asked for and the candidate returns.
NO_ERROR = "no error"


def error_of(action: Callable[[], Any]) -> str:
    """The name of the exception that an action ends with, or NO_ERROR; a kind of ValueError is one.

    NotImplementedError passes: an exercise that is not written yet is no answer.
    """
    try:
        action()
    except NotImplementedError:
        raise
    except Exception as error:
        return "ValueError" if isinstance(error, ValueError) else type(error).__name__
    return NO_ERROR


class Untouched:
    """Remembers what modules hold, so that it can be told whether a candidate that reads them left it alone.

    name: what the student calls them: "the model".
    """

    def __init__(self, name: str, modules: Iterable[nn.Module]) -> None:
        self.name, self.modules = name, list(modules)
        self.values, self.flags = self._values(), self._flags()

    def _values(self) -> list[dict[str, torch.Tensor]]:
        with paused(), torch.no_grad():
            return [
                {name: tensor.clone() for name, tensor in (*one.named_parameters(), *one.named_buffers())}
                for one in self.modules
            ]

    def _flags(self) -> list[bool]:
        """The mode of every module and the requires_grad of every parameter."""
        return [
            *(part.training for one in self.modules for part in one.modules()),
            *(parameter.requires_grad for one in self.modules for parameter in one.parameters()),
        ]

    def now(self) -> tuple[str, str | None]:
        """The observation: in what the modules are no longer what they were."""
        changed = None
        if not all(map(_hold_the_same, self.values, self._values())):
            changed = f"what is in {self.name}"
        elif self._flags() != self.flags:
            changed = f"what trains in {self.name}"
        return ARGUMENTS, changed

    def restore(self) -> None:
        """Put the values back; autograd does not notice."""
        with paused():
            for one, values in zip(self.modules, self.values, strict=True):
                for name, tensor in (*one.named_parameters(), *one.named_buffers()):
                    if name in values and tensor.shape == values[name].shape:
                        tensor.data.copy_(values[name])


def _hold_the_same(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> bool:
    return before.keys() == after.keys() and all(
        one.is_meta or (one.shape == after[name].shape and torch.equal(one, after[name]))
        for name, one in before.items()
    )


def filled(model: nn.Module, seed: int, like: torch.Tensor) -> nn.Module:
    """The model with weights, biases and running statistics from a seed, in dtype and device like `like`.

    Drawn in float64, so that the float32 model is the float64 one rounded. Scales of normalization
    layers are far from 0 and 1, running variances positive, integer buffers untouched.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad(), paused():
        model.to(like.dtype)
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if not tensor.is_floating_point():
                continue
            values = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            if name.endswith("running_var"):
                values = values.square() + 0.5
            elif tensor.dim() == 1 and name.endswith("weight"):
                values = 1.5 + 0.5 * values.tanh()
            elif tensor.dim() > 1:
                values = values / tensor[0].numel() ** 0.5
            tensor.copy_(values)
        return model.to(like.device)
