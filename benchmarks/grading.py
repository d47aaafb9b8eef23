"""Is batch grading equal to nbgrader's, and how much faster? Prints a table against the aims.

    python benchmarks/grading.py [--small 40] [--large 400] [--stock 12] [--huge 0] [--rounds 3]
                                 [--days day26 day29 day33]

Submissions of day 26 are graded by stock `nbgrader autograde` and by `graders autograde` in turn, for so many
rounds, and by the floor: the same cells and checks in one warm process, without a wall. CPU time is that of
the whole process tree. `--huge 4000` also shows that cost and memory do not grow with the class.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from graders.judging import catalogue  # noqa: E402
from tests.courses import answered, make_course, nbgrader_command, recorded, solution_code  # noqa: E402

WORKERS = 2
KINDS = ("right", "wrong", "partial", "untouched", "raising")


def submissions(day: str) -> dict[str, dict[str, str]]:
    """Answer cells of one honest student of each kind."""
    right = solution_code(day)
    raising = {
        name: code + "\n\nraise ValueError('a slip outside of the functions')" for name, code in right.items()
    }
    wrong = {name: _wrong(name, code) for name, code in right.items()}
    partial = {name: code for position, (name, code) in enumerate(right.items()) if position % 2}
    return dict(zip(KINDS, (right, wrong, partial, {}, raising), strict=True))


def _wrong(name: str, code: str) -> str:
    """The solution, wrapped so that it returns a list of its result instead of the result."""
    wrapped = f"{name} = (lambda right: lambda *given: [right(*given)])({name})"
    return f"{code}\n\n{wrapped}\n{name}.__name__ = {name!r}"


@dataclass
class Run:
    """One command's cost. first: seconds until the first submission was graded. peak: bytes of the parent."""

    wall: float
    cpu: float
    first: float
    peak: int


def timed(command: list[str], course: Path, day: str, environment: dict[str, str] | None = None) -> Run:
    """Run a command in a course folder and measure it with everything that it starts."""
    shutil.rmtree(course / "autograded", ignore_errors=True)
    seen: dict[str, Any] = {"first": None, "peak": 0}
    _adopt_orphans()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile() as said:  # not a pipe, which what the command leaves behind holds open
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=course, env=environment, stdout=said, stderr=subprocess.STDOUT
        )
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.02):
                if seen["first"] is None and any((course / "autograded").glob(f"[!.]*/{day}/{day}.ipynb")):
                    seen["first"] = time.perf_counter() - started
                try:
                    status = Path(f"/proc/{process.pid}/status").read_text()
                    seen["peak"] = max(seen["peak"], int(status.split("VmHWM:")[1].split()[0]) * 1024)
                except (OSError, IndexError):
                    pass

        watcher = threading.Thread(target=watch)
        watcher.start()
        process.wait()
        wall = time.perf_counter() - started
        ended.set()
        watcher.join()
        _wait_for_orphans()
        if process.returncode:
            said.seek(0)
            words = said.read().decode()[-3000:]
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{words}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall, cpu, seen["first"] or wall, seen["peak"])


def _adopt_orphans() -> None:
    """Become the parent of what a command leaves behind, so that its CPU time is counted as well."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def _wait_for_orphans() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def floor(course: Path, day: str, count: int) -> float:
    """CPU seconds per submission of the same cells and checks in one warm process."""
    command = [sys.executable, __file__, "--floor", str(course), day, str(count)]
    return float(
        subprocess.run(command, cwd=course, check=True, capture_output=True, text=True).stdout.split()[-1]
    )


def run_floor(course: Path, day: str, count: int) -> float:
    """The floor itself, in this process: IPython's shell, graders.check, no wall."""
    from graders.batch.notebook import bound_exercise
    from graders.probing.process import runner

    shell = runner.make_shell()
    runner.warm_up(shell)
    runner.torch.set_num_threads(1)
    kept: list[Any] = []
    shell.sink.send = kept.append
    paths = sorted((course / "submitted").glob(f"*/{day}/{day}.ipynb"))[:count]

    def one(path: Path) -> None:
        shell.reset(new_session=True)
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] != "code":
                continue
            source = "".join(cell["source"])
            shell.sink.left = 1 << 21
            shell.run_cell(source)
            if bound_exercise(source) and not kept:
                raise SystemExit("a check gave nothing")
            shell.sink.flush()
            kept.clear()

    for path in paths[: len(KINDS)]:
        one(path)
    started = time.process_time()
    for path in paths:
        one(path)
    return (time.process_time() - started) / len(paths)


def entries(held: Any, *place: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Everything in nested dictionaries, with where it stands."""
    if not isinstance(held, dict):
        yield place, held
        return
    for name, one in held.items():
        yield from entries(one, *place, name)


def ours(day: str) -> list[str]:
    return [sys.executable, "-m", "graders.cli", "autograde", day, "--workers", str(WORKERS)]


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path}


def equality(folder: Path, days: list[str]) -> tuple[int, list[str]]:
    """Grade the kinds of honest submissions of some days both ways; (entries compared, differences)."""
    course = make_course(folder / "equal", days)
    for day in days:
        for kind, code in submissions(day).items():
            answered(course, kind, day, code)
    books = []
    for stock in (True, False):
        copy = folder / f"equal-{'stock' if stock else 'graders'}"
        shutil.copytree(course, copy)
        for day in days:
            command = nbgrader_command("autograde", day, stock=True) if stock else ours(day)
            timed(command, copy, day, environment())
        books.append(dict(entries({day: recorded(copy, day) for day in days})))
    stocks, own = books
    places = sorted(stocks.keys() | own.keys())
    differences = [
        f"{' '.join(place)}: {stocks.get(place)} {own.get(place)}"
        for place in places
        if stocks.get(place) != own.get(place)
    ]
    return len(places), differences


def course_of(folder: Path, day: str, count: int) -> Path:
    """A course in which so many students of all kinds have handed in, and nothing is graded."""
    kinds = list(submissions(day).values())
    course = make_course(folder, [day])
    for number in range(count):
        answered(course, f"student{number:05}", day, kinds[number % len(kinds)])
    return course


def median(runs: list[Run]) -> Run:
    """The median of each of the costs."""
    return Run(*(statistics.median_low(costs) for costs in zip(*map(astuple, runs), strict=True)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", type=int, default=40)
    parser.add_argument("--large", type=int, default=400)
    parser.add_argument("--huge", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stock", type=int, default=12)
    parser.add_argument("--days", nargs="*", default=["day26", "day29", "day33"])
    parser.add_argument("--floor", nargs=3, metavar=("COURSE", "DAY", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.floor:
        print(run_floor(Path(options.floor[0]), options.floor[1], int(options.floor[2])))
        return 0
    day = "day26"
    table: list[tuple[str, str, str]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compared, differences = equality(folder, options.days)
        table.append(
            (
                f"entries that differ from stock, {', '.join(options.days)}",
                f"{len(differences)} of {compared}",
                "none",
            )
        )

        rounds = []
        for number in range(options.rounds):
            for_stock = course_of(folder / f"stock-{number}", day, options.stock)
            for_us = course_of(folder / f"small-{number}", day, options.small)
            command = nbgrader_command("autograde", day, stock=True)
            stock = timed(command, for_stock, day, environment())
            rounds.append((stock.wall / options.stock, timed(ours(day), for_us, day, environment())))
        small = median([own for _, own in rounds])
        runs = {options.small: small}
        for count in filter(None, (options.large, options.huge)):
            runs[count] = timed(ours(day), course_of(folder / str(count), day, count), day, environment())
        large = runs[options.large]
        least = floor(folder / "small-0", day, options.small)
        each = (large.cpu - small.cpu) / (options.large - options.small)
        table.append(("CPU per submission, the floor", f"{least * 1e3:.0f} ms", ""))
        table.append(("CPU per submission over the floor", f"{each / least:.2f} x", "<= 1.4 x"))
        per_stock = statistics.median(stock for stock, _ in rounds)
        table.append((f"stock, wall per submission ({options.stock})", f"{per_stock:.2f} s", ""))
        faster = sorted(stock / (own.wall / options.small) for stock, own in rounds)
        what = f"faster than stock, {options.small} submissions, start included"
        reached = f"{statistics.median(faster):.0f} x ({faster[0]:.0f} to {faster[-1]:.0f})"
        table.append((what, reached, ">= 25 x"))
        what = f"faster than stock, {options.large} submissions, start included"
        table.append((what, f"{per_stock / (large.wall / options.large):.0f} x", ""))
        table.append(("start to first submission graded", f"{small.first:.1f} s", "< 6 s"))
        if options.huge:
            huge = runs[options.huge]
            later = (huge.cpu - large.cpu) / (options.huge - options.large)
            table.append(
                (
                    f"cost of one more at {options.huge} against {options.large}",
                    f"{later / each:.2f} x",
                    "0.9 to 1.1 x",
                )
            )
            table.append((f"wall per submission at {options.huge}", f"{huge.wall / options.huge:.3f} s", ""))
        peaks = ", ".join(f"{run.peak >> 20} MB at {count}" for count, run in runs.items())
        table.append(("memory of the parent, peak", peaks, "flat"))

    width = max(len(row[0]) for row in table)
    print(f"{os.cpu_count()} cores, {WORKERS} workers, {len(catalogue.days()[day])} checks a submission")
    for what, reached, asked in table:
        print(f"{what:<{width}}  {reached:>20}  {asked}".rstrip())
    for difference in differences[:20]:
        print("differs:", difference)
    return 1 if differences else 0


if __name__ == "__main__":
    raise SystemExit(main())
