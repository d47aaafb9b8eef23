"""What a process that judges again needs, imported once in the one that all of them are forked from."""

import gc

gc.disable()  # it would look at all modules again and again while more are imported

import graders.batch.notebook  # noqa: E402
import graders.classroom.regrade  # noqa: E402
import graders.judging.judge  # noqa: E402
import graders.judging.report  # noqa: E402
import graders.probing.process.values  # noqa: E402, F401
from graders.judging import catalogue  # noqa: E402

catalogue.exercises()

gc.freeze()
gc.enable()
