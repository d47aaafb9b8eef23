"""Is judging right, and is it quick? Prints a table of what is reached against what is asked for.

    python benchmarks/judging.py [--seeds 20] [--alternative-seeds 200]

Times of checks are CPU seconds of this machine, over the solutions, a candidate for every mistake, and wrong
implementations that no one mistake explains: judging runs in one thread, so on a quiet machine that is what a
student waits.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from tqdm import tqdm

import graders
from graders.judging import catalogue
from graders.judging.checking import devices
from graders.judging.verdict import Verdict
from tests import alternatives, solutions


def count(
    candidates: Iterable[tuple[str, Any]],
    seeds: int,
    good: Callable[[str, Verdict], bool],
    on: str = "cpu",
) -> tuple[int, int, list[str]]:
    """(how many verdicts are good, how many there are, the names of those that are not)."""
    right, total, bad = 0, 0, []
    for name, candidate in tqdm(list(candidates), leave=False):
        for seed in range(seeds):
            fine = good(name, graders.evaluate(name, candidate, device=on, seed=seed))
            right, total = right + fine, total + 1
            if not fine:
                bad.append(f"{name} {alternatives.label(candidate)} seed {seed}")
    return right, total, bad


def mistakes() -> list[tuple[str, str, Any]]:
    return [
        (name, one.key, variant)
        for name in catalogue.exercises()
        for one in catalogue.answer_of(name).mistakes
        for variant in one.variants
    ]


def import_times(repeats: int = 7) -> tuple[float, float]:
    """Seconds for `import torch`, and for `from graders import check` after it, in fresh processes."""
    code = (
        "import time; a = time.perf_counter(); import torch; b = time.perf_counter();"
        "from graders import check; print(b - a, time.perf_counter() - b)"
    )
    runs = [
        tuple(map(float, subprocess.check_output([sys.executable, "-c", code], text=True).split()))
        for _ in range(repeats)
    ]
    return statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs)


def check_times(candidates: Iterable[tuple[str, Any]], repeats: int = 3) -> list[tuple[str, float]]:
    """(exercise, CPU seconds of one check), the median over a few seeds, for each candidate."""
    times = []
    for name, candidate in tqdm(list(candidates), leave=False):
        graders.evaluate(name, candidate, seed=0)
        runs = []
        for seed in range(repeats):
            start = time.process_time()
            graders.evaluate(name, candidate, seed=seed)
            runs.append(time.process_time() - start)
        times.append((name, statistics.median(runs)))
    return times


def time_rows(what: str, times: list[tuple[str, float]], slowest: int) -> list[tuple[str, str, str]]:
    """The rows of the table about the checks of one kind of candidate. slowest: ms that one may take."""
    taken = [seconds * 1e3 for _, seconds in times]
    name, _ = max(times, key=lambda one: one[1])
    return [
        (f"one check of {what}, median", f"{statistics.median(taken):.0f} ms", "< 25 ms"),
        (f"one check of {what}, slowest ({name})", f"{max(taken):.0f} ms", f"< {slowest} ms"),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--alternative-seeds", type=int, default=200)
    options = parser.parse_args()
    table: list[tuple[str, str, str]] = []
    failures: list[str] = []

    for device in devices():
        right, total, bad = count(
            solutions.candidates("solutions"),
            options.seeds,
            lambda name, verdict: verdict.passed,
            device,
        )
        table.append((f"solutions with full points, {device}", f"{right} of {total}", "all"))
        failures += bad
    right, total, bad = count(
        solutions.candidates("exercises"), 1, lambda name, verdict: verdict.outcome == "unattempted"
    )
    table.append(("untouched stubs seen as such", f"{right} of {total}", "all"))
    failures += bad
    rejected = named = total = 0
    for name, key, variant in tqdm(mistakes(), leave=False):
        for seed in range(options.seeds):
            verdict = graders.evaluate(name, variant, seed=seed)
            total += 1
            rejected += not verdict.passed
            named += verdict.mistake == key
            if verdict.mistake != key:
                failures.append(f"{name} {key} seed {seed}: {verdict.outcome} {verdict.mistake}")
    table.append(("mistakes rejected", f"{rejected} of {total}", "all"))
    table.append(("mistakes named by their own message", f"{named} of {total}", "all"))
    right, total, bad = count(
        alternatives.right(), options.alternative_seeds, lambda name, verdict: verdict.passed
    )
    table.append(("correct alternatives accepted", f"{right} of {total}", "all"))
    failures += bad
    right, total, bad = count(alternatives.wrong(), options.seeds, lambda name, verdict: not verdict.passed)
    table.append(("wrong ones on no list rejected", f"{right} of {total}", "all"))
    failures += bad

    table += time_rows("a solution", check_times(solutions.candidates("solutions")), 150)
    each = check_times([(name, variant) for name, _, variant in mistakes()], repeats=1)
    unlisted = check_times(alternatives.wrong())
    table += time_rows("a mistake", each, 400)
    table += time_rows("a wrong one on no list", unlisted, 400)
    table += time_rows("a wrong one of any kind", each + unlisted, 400)
    torch_time, own_time = import_times()
    table.append(
        (
            f"import graders after torch ({torch_time * 1e3:.0f} ms)",
            f"{own_time * 1e3:.0f} ms",
            "< 50 ms",
        )
    )

    width = max(len(row[0]) for row in table)
    print(f"torch {torch.__version__}, {len(catalogue.exercises())} exercises, {len(mistakes())} mistakes")
    print(f"{'what':<{width}}  {'reached':>14}  asked for")
    for what, reached, asked in table:
        print(f"{what:<{width}}  {reached:>14}  {asked}")
    for failure in failures[:20]:
        print("not so:", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
