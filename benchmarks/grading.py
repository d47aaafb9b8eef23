"""Is batch grading equal to nbgrader's, and how much faster? Prints a table against the aims.

    python benchmarks/grading.py [--small 40] [--large 400] [--stock 12] [--huge 0] [--rounds 3]
                                 [--days day26 day29 day33]
    python benchmarks/grading.py --course numpy [--counts 7 40] [--rounds 3]

Submissions of day 26 are graded by stock `nbgrader autograde` and by `graders autograde` in turn, for so many
rounds, and by the floor: the same cells and checks in one warm process, without a wall. CPU time is that of
the whole process tree. `--huge 4000` also shows that cost and memory do not grow with the class.

`--course numpy` is another course: an assignment with NumPy, CSV and Matplotlib, tests by assert, hidden ones
among them, and no check of ours. Both commands grade the same number of submissions, one after the other.
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
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from graders.judging import catalogue  # noqa: E402
from tests.courses import (  # noqa: E402
    answered,
    make_course,
    nbgrader,
    nbgrader_command,
    recorded,
    solution_code,
)

WORKERS = 2
KINDS = ("right", "wrong", "partial", "untouched", "raising")
#: One more in the other course: what fails in a library's code, whose traceback parses that.
IN_A_LIBRARY = "in a library"
#: The other course's assignment, the data beside its notebook, and its cells: name, points, text. A cell that
#: defines what it is called is the student's.
WEATHER = "weather"
STATIONS = "station,month,degrees\n" + "".join(
    f"{station},{month},{base + month * step:.1f}\n"
    for station, base, step in (("Brocken", -4.0, 0.9), ("Freiburg", 2.5, 1.4), ("Kiel", 1.0, 1.2))
    for month in range(1, 13)
)
CELLS = (
    ("title", None, "# Measurements of three stations"),
    (
        "setup",
        None,
        """
import csv
import math
from collections import defaultdict

import matplotlib.pyplot as plt
import numpy as np
""",
    ),
    (
        "read_rows",
        None,
        """
def read_rows(path):
    with open(path, newline="") as file:
        return [(row["station"], int(row["month"]), float(row["degrees"])) for row in csv.DictReader(file)]
""",
    ),
    (
        "test_read_rows",
        2,
        """
rows = read_rows("stations.csv")
assert len(rows) == 36
assert rows[0] == ("Brocken", 1, -3.1)
""",
    ),
    (
        "mean_by_station",
        None,
        """
def mean_by_station(rows):
    groups = defaultdict(list)
    for station, _, degrees in rows:
        groups[station].append(degrees)
    return {station: sum(values) / len(values) for station, values in groups.items()}
""",
    ),
    (
        "test_mean_by_station",
        4,
        """
given = [("A", 1, 1.0), ("A", 2, 3.0), ("B", 1, 5.0)]
points = 0
if mean_by_station(given).keys() == {"A", "B"}:
    points += 1
if mean_by_station(given) == {"A": 2.0, "B": 5.0}:
    points += 2
if mean_by_station([]) == {}:
    points += 1
points
""",
    ),
    (
        "standardized",
        None,
        """
def standardized(values):
    values = np.asarray(values, dtype=float)
    return (values - values.mean(axis=0)) / values.std(axis=0)
""",
    ),
    (
        "test_standardized",
        3,
        """
values = np.random.default_rng(0).normal(3, 2, size=(200, 4))
np.testing.assert_allclose(standardized(values).mean(axis=0), 0, atol=1e-12)
### BEGIN HIDDEN TESTS
np.testing.assert_allclose(standardized(values).std(axis=0), 1)
assert standardized([[1], [3]]).tolist() == [[-1], [1]]
### END HIDDEN TESTS
""",
    ),
    (
        "moving_average",
        None,
        """
def moving_average(values, width):
    sums = np.cumsum(np.insert(np.asarray(values, dtype=float), 0, 0))
    return (sums[width:] - sums[:-width]) / width
""",
    ),
    (
        "test_moving_average",
        3,
        """
assert np.allclose(moving_average([1, 2, 3, 4], 2), [1.5, 2.5, 3.5])
assert math.isclose(moving_average(range(100), 100)[0], 49.5)
### BEGIN HIDDEN TESTS
assert moving_average(np.ones(10), 3).shape == (8,)
### END HIDDEN TESTS
""",
    ),
    (
        "plotted",
        None,
        """
def plotted(rows):
    figure, axes = plt.subplots()
    for station in sorted({one for one, _, _ in rows}):
        axes.plot([degrees for one, _, degrees in rows if one == station], label=station)
    axes.set_xlabel("month")
    axes.set_ylabel("degrees (°C)")
    axes.legend()
    return axes

axes = plotted([("A", 1, 1.0), ("A", 2, 3.0), ("B", 1, 5.0)])
""",
    ),
    (
        "test_plotted",
        2,
        """
assert len(axes.get_lines()) == 2
assert axes.get_xlabel() and axes.get_ylabel()
""",
    ),
)


#: Answers that fail in a library's code: in a test of NumPy's, and where Matplotlib refuses what it is given.
FAILING_IN_A_LIBRARY = {
    "standardized": "def standardized(values):\n    return np.asarray(values, dtype=float)",
    "plotted": """
def plotted(rows):
    figure, axes = plt.subplots()
    axes.plot([1, 2, 3], [degrees for _, _, degrees in rows][:2])
    return axes

axes = plotted([("A", 1, 1.0), ("A", 2, 3.0), ("B", 1, 5.0)])
""",
}


def weather() -> dict[str, Any]:
    """The other course's source notebook."""
    cells = []
    for name, points, source in CELLS:
        answer = f"def {name}(" in source
        text = source.strip()
        if answer:
            text = f"### BEGIN SOLUTION\n{text}\n### END SOLUTION"
        cell: dict[str, Any] = {"cell_type": "code", "id": name.replace("_", "-"), "source": text}
        cell |= {"outputs": [], "execution_count": None}
        form = {"grade": points is not None, "grade_id": name, "locked": not answer, "schema_version": 3}
        form |= {"solution": answer, "task": False, **({} if points is None else {"points": points})}
        cell["metadata"] = {"nbgrader": form}
        if name == "title":
            cell["cell_type"] = "markdown"
            del cell["outputs"], cell["execution_count"]
        cells.append(cell)
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def released(folder: Path, days: list[str]) -> Path:
    """A course folder in which these assignments are released."""
    course = make_course(folder, [day for day in days if day != WEATHER])
    if WEATHER in days:
        source = course / "solutions" / WEATHER
        source.mkdir(parents=True)
        (source / f"{WEATHER}.ipynb").write_text(json.dumps(weather()), encoding="utf-8")
        (source / "stations.csv").write_text(STATIONS)
        nbgrader(course, "generate_assignment", WEATHER)
    return course


def hand_in(course: Path, student: str, day: str, code: dict[str, str]) -> None:
    path = answered(course, student, day, code)
    if day == WEATHER:
        (path.parent / "stations.csv").write_text(STATIONS)


def submissions(day: str) -> dict[str, dict[str, str]]:
    """Answer cells of one honest student of each kind."""
    right = solution_code(day) if day != WEATHER else {n: s for n, _, s in CELLS if f"def {n}(" in s}
    raising = {
        name: code + "\n\nraise ValueError('a slip outside of the functions')" for name, code in right.items()
    }
    wrong = {name: _wrong(name, code) for name, code in right.items()}
    partial = {name: code for position, (name, code) in enumerate(right.items()) if position % 2}
    kinds = dict(zip(KINDS, (right, wrong, partial, {}, raising), strict=True))
    if day == WEATHER:
        kinds[IN_A_LIBRARY] = right | FAILING_IN_A_LIBRARY
    return kinds


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
    runner.import_libraries(shell, ["torch"])
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
    return [sys.executable, "-m", "graders", "autograde", day, "--workers", str(WORKERS)]


def environment() -> dict[str, str]:
    """That of both commands, which may keep what they compile, as for anybody who calls them."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**own, "PYTHONPATH": str(ROOT), "PATH": path}


def equality(folder: Path, days: list[str]) -> tuple[int, list[str]]:
    """Grade the kinds of honest submissions of some days both ways; (entries compared, differences)."""
    course = released(folder / "equal", days)
    for day in days:
        for kind, code in submissions(day).items():
            hand_in(course, kind, day, code)
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


def course_of(folder: Path, day: str, count: int, kinds: Sequence[str] = KINDS) -> Path:
    """A course in which so many students of these kinds have handed in, and nothing is graded."""
    given = submissions(day)
    course = released(folder, [day])
    for number in range(count):
        hand_in(course, f"student{number:05}", day, given[kinds[number % len(kinds)]])
    return course


def median(runs: list[Run]) -> Run:
    """The median of each of the costs."""
    return Run(*(statistics.median_low(costs) for costs in zip(*map(astuple, runs), strict=True)))


Table = list[tuple[str, str, str]]


def equal(folder: Path, days: list[str], table: Table) -> list[str]:
    """Compare the grades of both commands; returns the differences."""
    compared, differences = equality(folder, days)
    what = f"entries that differ from stock, {', '.join(days)}"
    table.append((what, f"{len(differences)} of {compared}", "none"))
    return differences


def other_course(folder: Path, counts: list[int], rounds: int, table: Table) -> None:
    """Both commands on the same submissions of the other course."""
    for count, kinds in (*((count, KINDS) for count in counts), (max(counts), ("right", IN_A_LIBRARY))):
        stocks, owns = [], []
        for number in range(rounds):
            course = course_of(folder / f"{count}-{len(kinds)}-{number}", WEATHER, count, kinds)
            copy = course.with_name(f"{course.name}-stock")
            shutil.copytree(course, copy)
            stock = nbgrader_command("autograde", WEATHER, stock=True)
            stocks.append(timed(stock, copy, WEATHER, environment()))
            owns.append(timed(ours(WEATHER), course, WEATHER, environment()))
        faster = sorted(stock.wall / own.wall for stock, own in zip(stocks, owns, strict=True))
        reached = f"{statistics.median(faster):.1f} x ({faster[0]:.1f} to {faster[-1]:.1f})"
        aims = {7: ">= 8 x", 40: ">= 20 x"} if kinds == KINDS else {}
        which = "" if kinds == KINDS else ", every second fails in a library"
        table.append((f"faster than stock, {count} submissions{which}", reached, aims.get(count, "")))
        stock, own = median(stocks), median(owns)
        table.append(("  wall, stock and ours", f"{stock.wall:.1f} s, {own.wall:.2f} s", ""))
        table.append(("  CPU, stock and ours", f"{stock.cpu:.1f} s, {own.cpu:.2f} s", ""))


def own_course(folder: Path, options: argparse.Namespace, table: Table) -> None:
    """Day 26 by stock, by us, and by the floor."""
    day = "day26"
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
    table.append(("checks a submission", f"{len(catalogue.days()[day])}", ""))
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", type=int, default=40)
    parser.add_argument("--large", type=int, default=400)
    parser.add_argument("--huge", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stock", type=int, default=12)
    parser.add_argument("--days", nargs="*", default=["day26", "day29", "day33"])
    parser.add_argument("--course", choices=["own", "numpy"], default="own")
    parser.add_argument("--counts", type=int, nargs="*", default=[7, 40])
    parser.add_argument("--floor", nargs=3, metavar=("COURSE", "DAY", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.floor:
        print(run_floor(Path(options.floor[0]), options.floor[1], int(options.floor[2])))
        return 0
    table: Table = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.course == "numpy":
            differences = equal(folder, [WEATHER], table)
            other_course(folder, options.counts, options.rounds, table)
        else:
            differences = equal(folder, options.days, table)
            own_course(folder, options, table)

    width = max(len(row[0]) for row in table)
    print(f"{os.cpu_count()} cores, {WORKERS} workers")
    for what, reached, asked in table:
        print(f"{what:<{width}}  {reached:>20}  {asked}".rstrip())
    for difference in differences[:20]:
        print("differs:", difference)
    return 1 if differences else 0


if __name__ == "__main__":
    raise SystemExit(main())
