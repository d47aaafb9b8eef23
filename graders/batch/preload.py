"""What every worker of a pool needs, imported once in the process that they are forked from."""

import gc

gc.disable()  # it would look at all modules again and again while more are imported

import torch.fx.experimental.symbolic_shapes  # noqa: E402, F401  (for differentiation)
import typer  # noqa: E402, F401  (the command line, which each of them looks at once)

import graders.batch.notebook  # noqa: E402
import graders.sandbox.box  # noqa: E402, F401

gc.freeze()
gc.enable()
