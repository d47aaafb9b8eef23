"""When processes are started to grade in, and how many."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path

import pytest

from graders.batch import worker
from graders.batch.run import Pool
from graders.batch.worker import Options

BEGUN = """
import sys
from multiprocessing import forkserver
from graders.batch import ahead

ahead.begin(sys.argv[1:])
print(forkserver._forkserver._forkserver_pid is not None)
"""


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    """Two processes at most, on a machine with two cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    pool = Pool(2, Options("none"))
    yield pool
    pool.close()


def processes(pool: Pool) -> int:
    """How many there are when there is something to do for many."""
    wait([pool.submit(worker.ready) for _ in range(4)])
    return len(pool._processes())


@pytest.mark.parametrize(("due", "count"), [(1, 1), (9, 1), (40, 2)])
def test_another_process_is_started_where_it_pays_off(pool: Pool, due: int, count: int) -> None:
    pool.warm_up(due)
    assert processes(pool) == count


def test_work_that_takes_long_gets_the_other_processes(pool: Pool) -> None:
    pool.warm_up(7)
    assert processes(pool) == 1
    pool._begun, pool._warm = 0.0, 1.0  # a start of one second, long ago
    pool.grow(7, 1_000_000_000, 0.0)
    assert processes(pool) == 1
    pool.grow(7, 0, 0.0)
    assert processes(pool) == 2


def test_who_still_warms_up_ends_with_the_run() -> None:
    pool = Pool(1, Options(libraries=("torch",)))
    pool.warm_up(1)
    while not (there := pool._processes()) or not there[0].pid:
        pass
    pool.close()
    assert [process.exitcode for process in there] == [0]


@pytest.mark.parametrize(
    ("line", "begun"),
    [
        ("autograde day99", True),
        ("autograde --all --force", True),
        ("autograde", False),
        ("autograde day99 --help", False),
        ("autograde day99 --scheduler=tcp://127.0.0.1:1", False),
        ("report day99", False),
        ("", False),
    ],
)
def test_what_workers_are_forked_from_starts_for_a_run_alone(line: str, begun: bool, tmp_path: Path) -> None:
    command = [sys.executable, "-c", BEGUN, *line.split()]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert said.stdout == f"{begun}\n"
