"""For pytest over tests and notebooks alike: what goes to one process, and in which order."""

import gc
import os

import pytest

from tests import pieces, warm

# The collector would look at all modules and tests again and again while more are imported and collected.
gc.disable()

# As make test has it: tensors of a few numbers, shared out among threads, take longer.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes longest first, a piece at a time, and let nbval check outputs stored without counts.

    nbval takes a cell without an execution count for one that was never run, and its outputs for an error.
    """
    items.sort(key=lambda item: (pieces.place(item.nodeid), pieces.piece(item.nodeid)))
    for item in items:
        cell = getattr(item, "cell", None)  # only nbval's items have one
        if cell is not None and cell.get("execution_count") is None:
            cell.execution_count = 0


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was collected stays, and need not be looked at again."""
    gc.freeze()
    gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    """Have nbval start its kernels warm. Processes that share the tests share the warm one, too."""
    warm.wanted = True
    if config.getoption("numprocesses", None):
        warm.python()
    if config.pluginmanager.has_plugin("nbval"):
        from ipykernel import kernelspec

        kernelspec.get_kernel_dict = warm.kernel


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` stands for, here and in `make test`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return pieces.workers(cores)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """pytest-xdist's scheduler of scopes, with the pieces of tests/pieces.py."""
    from xdist.scheduler import LoadScopeScheduling

    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = pieces.piece
    return scheduler
