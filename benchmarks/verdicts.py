"""Do the lectures' verdicts hold again? Every claim from seeds that no lecture has seen.

    python benchmarks/verdicts.py [--days day33 day34] [--first-seed 100] [--fives 1]

The lectures measure with five seeds, 0 to 4, and print a sentence of a verdict where all of them bear it out,
or as many as it asks. Here each claim is measured with other seeds, five at a time, since arms are tuned over
the five together. For each sentence: how many of all seeds bear it out. With several fives also in how many
of them it stands, and in what share of all sets of five that can be drawn from the seeds measured. Whoever
measures again with five seeds should find it in nineteen of twenty tries; below that it asks too much. Ends
with status 1 where a sentence does.
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
import time
from dataclasses import dataclass

from course.experiments.verdicts import Claim, Finding
from course.study.texts import days

SEEDS = 5
#: The share of sets of five in which a sentence has to stand.
ENOUGH = 0.95


@dataclass(frozen=True)
class Tally:
    """What became of one sentence, five after five."""

    findings: tuple[Finding, ...]

    @property
    def held(self) -> int:
        """The seeds that bear it out."""
        return sum(int(finding.held.sum()) for finding in self.findings)

    @property
    def stood(self) -> int:
        """The fives in which it stands."""
        return sum(finding.stands for finding in self.findings)

    @property
    def share(self) -> float:
        """The share of the sets of five seeds, drawn from all of them, in which it would stand."""
        total, needed = SEEDS * len(self.findings), self.findings[0].needed
        ways = (
            math.comb(self.held, number) * math.comb(total - self.held, SEEDS - number)
            for number in range(needed, SEEDS + 1)
        )
        return sum(ways) / math.comb(total, SEEDS)

    def __str__(self) -> str:
        first, fives = self.findings[0], len(self.findings)
        asked = "all" if first.needed == SEEDS else f"{first.needed} of {SEEDS}"
        text = f"{self.held} of {SEEDS * fives} seeds, asked of {asked}"
        if fives > 1:
            text += f", stands in {self.stood} of {fives} fives and {self.share:.0%} of all"
        return f"  {'holds' if self.share >= ENOUGH else 'FALLS'} {text}: {first.says}"


def measured(claim: Claim, first_seed: int, fives: int) -> list[Tally]:
    """The sentences of a claim's verdict, each with what became of it."""
    starts = range(first_seed, first_seed + SEEDS * fives, SEEDS)
    found = [claim.judge(claim.measure(range(start, start + SEEDS))) for start in starts]
    return [Tally(findings) for findings in zip(*found, strict=True)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--days", nargs="*", default=days(), metavar="dayNN")
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--fives", type=int, default=1, help="how often five seeds are measured")
    arguments = parser.parse_args()
    print(f"seeds {arguments.first_seed} to {arguments.first_seed + SEEDS * arguments.fives - 1}")
    fallen = 0
    for day in arguments.days:
        for name, claim in importlib.import_module(f"course.experiments.{day}").CLAIMS.items():
            start = time.perf_counter()
            tallies = measured(claim, arguments.first_seed, arguments.fives)
            print(f"\n{day}, {name}: {claim.says} ({time.perf_counter() - start:.0f} s)", *tallies, sep="\n")
            fallen += sum(tally.share < ENOUGH for tally in tallies)
            sys.stdout.flush()
    print(f"\n{fallen} of the verdicts' sentences do not hold" if fallen else "\nall hold")
    return 1 if fallen else 0


if __name__ == "__main__":
    sys.exit(main())
