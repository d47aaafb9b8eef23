"""What does a student on a JupyterHub cost in memory and in waiting? Prints a table, and what a class needs.

    python benchmarks/hub.py [--students 4] [--class-size 100]

A hub is started with so many students. Each has a server; one after the other starts a kernel, imports
PyTorch and checks an answer, and all kernels stay. Memory is the proportional share (PSS): a page that
several processes map is divided among them, so that the shares add up to what the machine needs. That of
the first student alone is shown beside the mean of all at once. Seconds are of wall time, and of the
processor. At last the kernels are ended, as a culler does.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests import hub as hubs  # noqa: E402
from tests.courses import solution_code  # noqa: E402

DAY, EXERCISE = "day26", "batch_norm_forward"
TIMED = """
import time as _time
_wall, _cpu = _time.perf_counter(), _time.process_time()
{}
print(_time.perf_counter() - _wall, _time.process_time() - _cpu)
"""
STAGES = {
    "kernel": "pass",
    "import torch": "import torch; from torch import nn, Tensor",
    "from graders import check": "from graders import check",
    "first check": solution_code(DAY)[EXERCISE] + f"\nrepr(check({EXERCISE}))",
    "second check": f"repr(check({EXERCISE}))",
}


def share(process: int) -> float:
    """The proportional share of a process, in MB."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def mean_of(processes: Iterable[int]) -> float:
    return statistics.mean(share(one) for one in processes)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--students", type=int, default=4)
    parser.add_argument("--class-size", type=int, default=100)
    options = parser.parse_args()
    if why := hubs.missing():
        sys.exit(f"There can be no hub here: {why}.")
    students = [f"student{number}" for number in range(options.students)]
    with tempfile.TemporaryDirectory() as folder, hubs.hub(Path(folder) / "hub", students) as hub:
        start = time.perf_counter()
        hub.start(students[0])
        print(f"A server answers after {time.perf_counter() - start:.1f} s.")
        hub.start(*students[1:])
        kernels = {
            one: hub.of(one, "POST", "/api/kernels", {"name": "python3", "path": ""})["id"]
            for one in students
        }
        who = "import os; print(os.getpid(), os.getppid())"
        found = {one: hub.run_in(one, kernels[one], [who])[0].split() for one in students}
        kernel = {one: int(pids[0]) for one, pids in found.items()}
        server = {one: int(pids[1]) for one, pids in found.items()}
        print(f"\n{'':26}{'PSS of one, MB':>16}{f'of each of {len(students)}':>14}{'seconds':>10}{'CPU':>7}")
        print(f"{'server':26}{share(server[students[0]]):16.0f}{mean_of(server.values()):14.0f}")
        for stage, source in STAGES.items():
            first = 0.0
            seconds = []
            for one in students:
                (said,) = hub.run_in(one, kernels[one], [TIMED.format(source)])
                seconds.append([float(part) for part in said.split()[-2:]])
                first = first or share(kernel[one])
            wall, used = (statistics.median(column) for column in zip(*seconds, strict=True))
            print(
                f"{stage:26}{first:16.0f}{mean_of(kernel.values()):14.0f}{wall:10.2f}{used:7.2f}", flush=True
            )
        at_work = mean_of(server.values()) + mean_of(kernel.values())
        for one in students:
            hub.of(one, "DELETE", f"/api/kernels/{kernels[one]}")
        idle = mean_of(server.values())
        size = options.class_size
        print(
            f"\n{size} students with a kernel each: {at_work * size / 1024:.1f} GB ({at_work:.0f} MB each)."
        )
        print(f"The same after their kernels were ended: {idle * size / 1024:.1f} GB ({idle:.0f} MB each).")


if __name__ == "__main__":
    main()
