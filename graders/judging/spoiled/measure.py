"""Measures what each known mistake spoils, and writes the tables that `graders.judging.spoiled` reads.

    python -m graders.judging.spoiled.measure [--seeds 8] [--days day26 ...]

A variant that has a place right for one seed and wrong for another is left out: it is run in every check. Run
this when cases, probes or mistakes of a day have changed: a test says so.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from graders.judging import catalogue
from graders.judging.question import Paper, Setting
from graders.judging.spoiled import Place, Table, plain

#: Not those that tests are made with.
FIRST_SEED = 10_000


def measured(names: Sequence[str], seeds: Sequence[int]) -> Table:
    """The table of these exercises."""
    table = {}
    for name in names:
        places: dict[Place, int] = {}
        by_seed = []
        for seed in seeds:
            spoils: dict[str, dict[int, int]] = {}
            for key, number, place, wrong in looks(name, seed):
                bit = 1 << places.setdefault(place, len(places))
                of_key = spoils.setdefault(key, {})
                of_key[number] = of_key.get(number, 0) | (bit if wrong else 0)
            by_seed.append(spoils)
        table[name] = (
            tuple(places),
            {
                key: tuple(
                    bits if all(one[key][n] == bits for one in by_seed) else None
                    for n, bits in of_key.items()
                )
                for key, of_key in by_seed[0].items()
            },
        )
    return table


def looks(name: str, seed: int) -> Iterator[tuple[str, int, Place, bool]]:
    """(key, number of the variant, place, whether it is wrong there), for mistakes that lose no digits."""
    exercise, answer = catalogue.find(name), catalogue.answer_of(name)
    for question in Paper(exercise, answer, [Setting(torch.float64)], seed, keep=True).questions:
        places = {
            observation: (plain(question.case.name), plain(observation)) for observation in question.exact
        }
        for one in answer.mistakes:
            for number, variant in enumerate(() if one.rounding else one.variants):
                sight = question.sight_of(variant, False)
                for observation, place in places.items():
                    wrong = question.is_wrong_itself(observation, variant, sight, False, 0)
                    yield one.key, number, place, wrong


def written(table: Table) -> str:
    """A table as the text of its module."""
    lines = ['"""Written by `python -m graders.judging.spoiled.measure`."""', "", "SPOILED = {"]
    for name, (places, by_key) in table.items():
        lines += [f"    {_quoted(name)}: (", "        ("]
        for place in places:
            line = f"            ({', '.join(map(_quoted, place))}),"
            parts = [
                "            (",
                *(f"                {_quoted(part)}," for part in place),
                "            ),",
            ]
            lines += [line] if len(line) <= 110 else parts
        lines += ["        ),", "        {"]
        for key, bits in by_key.items():
            numbers = ["None" if one is None else f"0x{one:X}" for one in bits]
            line = f"            {_quoted(key)}: ({', '.join(numbers)}{',' * (len(numbers) == 1)}),"
            parts = [
                f"            {_quoted(key)}: (",
                *(f"                {one}," for one in numbers),
                "            ),",
            ]
            lines += [line] if len(line) <= 110 else parts
        lines += ["        },", "    ),"]
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    return f'"{text}"' if '"' not in text else repr(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--days", nargs="*", default=list(catalogue.days()))
    options = parser.parse_args()
    torch.set_num_threads(1)
    for day in options.days:
        names = [one.name for one in catalogue.days()[day]]
        table = measured(names, range(FIRST_SEED, FIRST_SEED + options.seeds))
        (Path(__file__).parent / f"{day}.py").write_text(written(table))


if __name__ == "__main__":
    main()
