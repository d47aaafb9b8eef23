"""Do the lectures' verdicts hold again? Every claim from seeds that no lecture has seen.

    python benchmarks/verdicts.py [--days day33 day34] [--first-seed 100] [--seeds 5]

For each claim a table: what the lecture prints (from seeds 0 to 4 it is printed with "k of 5"), the seeds
that bear it out now, and whether that is enough. Ends with status 1 where a verdict does not hold.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time

from course.study.texts import days


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--days", nargs="*", default=days(), metavar="dayNN")
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    print(f"seeds {seeds[0]} to {seeds[-1]}")
    fallen = 0
    for day in arguments.days:
        for name, claim in importlib.import_module(f"course.experiments.{day}").CLAIMS.items():
            start = time.perf_counter()
            findings = claim.judge(claim.measure(seeds))
            print(f"\n{day}, {name}: {claim.says} ({time.perf_counter() - start:.0f} s)")
            for finding in findings:
                print(f"  {'holds' if finding.stands else 'FALLS':6s} {finding}")
                fallen += not finding.stands
            sys.stdout.flush()
    print(f"\n{fallen} of the verdicts' sentences do not hold" if fallen else "\nall hold")
    return 1 if fallen else 0


if __name__ == "__main__":
    sys.exit(main())
