"""The command `graders`, which notices Ctrl+C from its first instruction on."""

from __future__ import annotations

from graders.batch import interrupt


def main() -> None:
    interrupt.notice()
    from graders.cli import app  # it takes a while, and may be interrupted

    app()


if __name__ == "__main__":
    main()
