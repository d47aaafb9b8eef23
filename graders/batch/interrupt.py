"""Ctrl+C: noticed at whatever moment it comes, acted on where nothing is half done.

A KeyboardInterrupt that is raised between any two instructions may strike in an import, a finalizer or a
callback. These swallow it, and the run goes on; or it ends the process in another way than the promised one.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Seconds after which a run that waits looks whether it was interrupted.
POLL = 0.1

_noticed = False


def notice() -> None:
    """From now on, keep in mind that there was a Ctrl+C. A second one raises wherever it comes."""
    signal.signal(signal.SIGINT, _handle)


def act() -> None:
    """Raise KeyboardInterrupt if there was a Ctrl+C. Called where nothing is half done."""
    if _noticed:
        raise KeyboardInterrupt


def ignore() -> None:
    """From now on, Ctrl+C changes nothing: the run is over, and its exit status stands."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def kept_from_children() -> Iterator[None]:
    """Processes started meanwhile inherit a mask: Ctrl+C reaches a whole group, and is not for them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _handle(number: int, frame: Any) -> None:
    global _noticed
    if _noticed:
        raise KeyboardInterrupt
    _noticed = True
