"""What the lectures compute: plain functions of tensors, no drawing and no widgets.

A module a day, and `digits` for the data that several days train on. Every function is
deterministic in its arguments. Results are small frozen dataclasses, so that a figure, a table and
a test read the same names.

They run in one thread: their tensors are small, and threads that share them out wait for each other far
longer than they compute as soon as anything else runs on the machine.
"""

import torch

torch.set_num_threads(1)
