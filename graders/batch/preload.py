"""What every worker of a pool needs, imported and looked up once in the process that they are forked from."""

import gc

gc.disable()  # it would look at all modules again and again while more are imported

import contextlib  # noqa: E402
from pathlib import Path  # noqa: E402

import torch.fx.experimental.symbolic_shapes  # noqa: E402  (for differentiation)
import typer  # noqa: E402, F401  (the command line, which each of them looks at once)

import graders.batch.notebook  # noqa: E402
import graders.sandbox.box  # noqa: E402, F401
from graders.probing.days import exercises  # noqa: E402
from graders.sandbox import closing, jail  # noqa: E402

with contextlib.suppress(closing.CannotClose, OSError):  # whose check needs it meets it again
    closing.read_ahead(Path(torch.__file__).parent / "lib", {one.barred for one in exercises().values()})
jail.forbids_programs()

gc.freeze()
gc.enable()
