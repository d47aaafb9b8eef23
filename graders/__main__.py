"""The command `graders`, which notices Ctrl+C from its first instruction on.

The process that workers are forked from starts before the command line is read, which takes as long.
"""

from __future__ import annotations

import sys

from graders.batch import interrupt


def main() -> None:
    interrupt.notice()
    from graders.batch import ahead

    ahead.begin(sys.argv[1:])
    from graders.cli import app  # it takes a while, and may be interrupted

    app()


if __name__ == "__main__":
    main()
