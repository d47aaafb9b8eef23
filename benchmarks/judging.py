"""Is judging right, and is it quick? Prints a table of what is reached against what is asked for.

    python benchmarks/judging.py [--seeds 20] [--alternative-seeds 200] [--only NAME ...]
        [--slowest 0] [--sample 0]

Times of checks are CPU seconds of this machine, over the solutions, a candidate for every mistake, and wrong
implementations that no one mistake explains: judging runs in one thread, so on a quiet machine that is what a
student waits. A first check has new questions; the next is asked the same, as `check` asks what was wrong.
`--slowest 20` names the slowest of them. With no seeds, times are all that is measured, and with
`--sample 500` those of so many of each kind, drawn at random.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
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
from tests.judged import judged, paper_of, verdict_on


@dataclass(frozen=True)
class Candidate:
    """An implementation for an exercise. label: what it is called in a list of failures."""

    exercise: str
    label: str
    made: Any


def verdicts(
    candidates: Iterable[Candidate], seeds: int, on: str = "cpu"
) -> Iterator[tuple[Candidate, int, Verdict]]:
    """Every candidate judged for every seed; those of an exercise are asked the same questions."""
    of_exercise: dict[str, list[Candidate]] = {}
    for one in candidates:
        of_exercise.setdefault(one.exercise, []).append(one)
    for name, group in tqdm(of_exercise.items(), leave=False):
        for seed in range(seeds):
            for one in group:
                yield one, seed, judged(name, one.made, seed=seed, device=on)


def count(
    candidates: Iterable[Candidate], seeds: int, good: Callable[[Verdict], bool], on: str = "cpu"
) -> tuple[int, int, list[str]]:
    """(how many verdicts are good, how many there are, the names of those that are not)."""
    right, total, bad = 0, 0, []
    for one, seed, verdict in verdicts(candidates, seeds, on):
        fine = good(verdict)
        right, total = right + fine, total + 1
        if not fine:
            bad.append(f"{one.exercise} {one.label} seed {seed}")
    return right, total, bad


def in_notebooks(folder: str) -> list[Candidate]:
    """What the notebooks in `solutions` or `exercises` hand to the checks; what they print is dropped."""
    with contextlib.redirect_stdout(io.StringIO()):
        return [
            Candidate(one.name, folder, solutions.candidate(folder, day, one.name))
            for day, exercises in catalogue.days().items()
            for one in exercises
        ]


def labelled(found: Iterable[tuple[str, Any]]) -> list[Candidate]:
    return [Candidate(name, alternatives.label(one), one) for name, one in found]


def mistakes() -> list[Candidate]:
    return [
        Candidate(name, one.key, variant)
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


def sample(found: list[Candidate], count: int) -> list[Candidate]:
    """So many of them, the same ones at every call; 0: all."""
    return random.Random(0).sample(found, min(count, len(found))) if count else found


@dataclass(frozen=True)
class Timed:
    """CPU seconds of a candidate's first check, and of the next, which is asked the same."""

    candidate: Candidate
    first: float
    again: float


def check_times(candidates: Iterable[Candidate], repeats: int = 3) -> list[Timed]:
    """The median over a few seeds, for each candidate."""
    timed = []
    for one in tqdm(list(candidates), leave=False):
        graders.evaluate(one.exercise, one.made, seed=0)
        runs = [_check_twice(one, seed) for seed in range(1, repeats + 1)]
        timed.append(Timed(one, *(statistics.median(times) for times in zip(*runs, strict=True))))
    return timed


def _check_twice(one: Candidate, seed: int) -> list[float]:
    taken = []
    start = time.process_time()
    paper = paper_of(one.exercise, seed)
    for _ in range(2):
        verdict_on(paper, one.made)
        now = time.process_time()
        taken.append(now - start)
        start = now
    return taken


def time_rows(what: str, timed: list[Timed], slowest: int) -> list[tuple[str, str, str]]:
    """The rows of the table about the checks of one kind of candidate. slowest: ms that one may take."""
    rows = []
    for which, of in (("first", lambda one: one.first), ("next", lambda one: one.again)):
        taken = sorted(of(one) * 1e3 for one in timed)
        last = max(timed, key=of).candidate
        rows += [
            (f"{which} check of {what}, median", f"{statistics.median(taken):.0f} ms", "< 25 ms"),
            (f"{which} check of {what}, 95th percentile", f"{taken[int(0.95 * len(taken))]:.0f} ms", ""),
            (f"{which} check of {what}, slowest ({last.exercise})", f"{taken[-1]:.0f} ms", f"< {slowest} ms"),
        ]
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--alternative-seeds", type=int, default=200)
    parser.add_argument("--slowest", type=int, default=0, help="how many of the slowest checks are named")
    parser.add_argument("--sample", type=int, default=0, help="how many of each kind are timed; 0: all")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="only these exercises")
    options = parser.parse_args()
    torch.set_num_threads(1)  # as `check` does
    table: list[tuple[str, str, str]] = []
    failures: list[str] = []

    def asked(found: Iterable[Candidate]) -> list[Candidate]:
        return [one for one in found if not options.only or one.exercise in options.only]

    right_ones, wrong_ones = asked(labelled(alternatives.right())), asked(labelled(alternatives.wrong()))
    known = asked(mistakes())
    for device in devices() if options.seeds else ():
        right, total, bad = count(
            asked(in_notebooks("solutions")), options.seeds, lambda verdict: verdict.passed, device
        )
        table.append((f"solutions with full points, {device}", f"{right} of {total}", "all"))
        failures += bad
    if options.seeds:
        right, total, bad = count(
            asked(in_notebooks("exercises")), 1, lambda verdict: verdict.outcome == "unattempted"
        )
        table.append(("untouched stubs seen as such", f"{right} of {total}", "all"))
        failures += bad
        rejected = named = total = 0
        for one, seed, verdict in verdicts(known, options.seeds):
            total += 1
            rejected += not verdict.passed
            named += verdict.mistake == one.label
            if verdict.mistake != one.label:
                seen = f"{verdict.outcome} {verdict.mistake}"
                failures.append(f"{one.exercise} {one.label} seed {seed}: {seen}")
        table.append(("mistakes rejected", f"{rejected} of {total}", "all"))
        table.append(("mistakes named by their own message", f"{named} of {total}", "all"))
        right, total, bad = count(wrong_ones, options.seeds, lambda verdict: not verdict.passed)
        table.append(("wrong ones on no list rejected", f"{right} of {total}", "all"))
        failures += bad
    if options.alternative_seeds:
        right, total, bad = count(right_ones, options.alternative_seeds, lambda verdict: verdict.passed)
        table.append(("correct alternatives accepted", f"{right} of {total}", "all"))
        failures += bad

    table += time_rows("a solution", check_times(asked(in_notebooks("solutions"))), 150)
    each, unlisted = (check_times(sample(ones, options.sample)) for ones in (known, wrong_ones))
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
    print(f"torch {torch.__version__}, {len(catalogue.exercises())} exercises, {len(known)} mistakes")
    print(f"{'what':<{width}}  {'reached':>14}  asked for")
    for what, reached, asked in table:
        print(f"{what:<{width}}  {reached:>14}  {asked}")
    for one in sorted(each + unlisted, key=lambda one: -one.first)[: options.slowest]:
        print(
            f"{one.first * 1e3:4.0f} ms, then {one.again * 1e3:.0f}: "
            f"{one.candidate.exercise} {one.candidate.label}"
        )
    for failure in failures[:20]:
        print("not so:", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
