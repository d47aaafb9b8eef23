"""What every worker of a pool needs, imported and looked up once in the process that they are forked from.

`graders.batch.judge_ahead` is the same for courses with checks of ours.
"""

import contextlib
import importlib.util
import threading

from graders.batch.importing import much_is_imported
from graders.sandbox import jail, mounts

_asking = threading.Thread(target=jail.forbids_programs)  # which waits for other programs
_asking.start()
for name in ("runner", "zygote"):  # of which Python keeps what it compiles; in a jail it cannot
    module = importlib.util.find_spec(f"graders.probing.process.{name}")
    if module and hasattr(module.loader, "get_code"):
        module.loader.get_code(module.name)
with much_is_imported():
    import graders.batch.notebook
    import graders.sandbox.box  # noqa: F401

    with contextlib.suppress(jail.NoSandbox, OSError):  # the box that needs it meets it again
        jail.jail_filter()
        jail.student_filter()
        for folder in jail.writable():
            mounts.leading_from(folder)
_asking.join()  # a process with threads cannot be forked
