"""What every worker of a pool needs, imported and looked up once in the process that they are forked from.

`graders.batch.judge_ahead` is the same for courses with checks of ours.
"""

import gc

gc.disable()  # it would look at all modules again and again while more are imported

import typer  # noqa: E402, F401  (the command line, which each of them looks at once)

import graders.batch.notebook  # noqa: E402
import graders.sandbox.box  # noqa: E402, F401
from graders.sandbox import jail  # noqa: E402

jail.forbids_programs()

gc.freeze()
gc.enable()
