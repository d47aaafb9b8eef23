"""What every worker of a pool needs, imported and looked up once in the process that they are forked from.

`graders.batch.judge_ahead` is the same for courses with checks of ours.
"""

import contextlib

from graders.batch.importing import much_is_imported

with much_is_imported():
    import graders.batch.notebook
    import graders.sandbox.box  # noqa: F401
    from graders.sandbox import jail, mounts

    jail.forbids_programs()
    with contextlib.suppress(jail.NoSandbox, OSError):  # the box that needs it meets it again
        jail.jail_filter()
        jail.student_filter()
        mounts.seen_places()
