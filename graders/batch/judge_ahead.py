"""The judge and PyTorch, imported and looked through once in the process that workers are forked from."""

import contextlib
from pathlib import Path

from graders.batch.importing import much_is_imported

with much_is_imported():
    import torch.fx.experimental.symbolic_shapes  # for differentiation

    import graders.judging.judge
    import graders.judging.report
    import graders.probing.process.values  # noqa: F401
    from graders.probing.days import bars
    from graders.sandbox import closing

    with contextlib.suppress(closing.CannotClose, OSError):  # whose check needs it meets it again
        closing.read_ahead(Path(torch.__file__).parent / "lib", bars())
