"""The judge and PyTorch, imported and looked through once in the process that workers are forked from."""

import gc

gc.disable()  # it would look at all modules again and again while more are imported

import contextlib  # noqa: E402
from pathlib import Path  # noqa: E402

import torch.fx.experimental.symbolic_shapes  # noqa: E402  (for differentiation)

import graders.judging.judge  # noqa: E402
import graders.judging.report  # noqa: E402
import graders.probing.process.values  # noqa: E402, F401
from graders.probing.days import bars  # noqa: E402
from graders.sandbox import closing  # noqa: E402

with contextlib.suppress(closing.CannotClose, OSError):  # whose check needs it meets it again
    closing.read_ahead(Path(torch.__file__).parent / "lib", bars())

gc.freeze()
gc.enable()
