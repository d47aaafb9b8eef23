"""Does the report on a class put the right work together, and is it quick? Prints a table.

    python benchmarks/classes.py [--graded 60] [--of 1000] [--days day27 ...] [--only groups similar speed]

groups: twenty mistakes that the grader does not know, each written in five ways; then the catalogue's own, as
if they were unknown, on day 26, where the figures of `graders.classroom.groups` were chosen, and on other
days, where they were not. similar: independent right answers, and copies of them under other names. speed: a
class that is really graded, its records then multiplied to a large one; seconds and memory of the command.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import combinations, product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from graders.classroom.groups import alike, grouped
from graders.classroom.records import SAME_FOR_ALL
from graders.classroom.similar import similar
from tests import classes, copies, ways
from tests.courses import ROOT, make_course

#: A mistake, what it does, and the seed of the inputs.
Made = tuple[str, dict, int]
Row = tuple[str, str, str]


def unknown(seeds: Iterable[int]) -> dict[str, list[Made]]:
    """The twenty mistakes in five ways; the seeds go round."""
    from tests.judged import judged

    found: dict[str, list[Made]] = {}
    for name, (made_by, mistakes) in ways.UNKNOWN.items():
        for mistake in mistakes:
            for hand, seed in zip(ways.HANDS, seeds, strict=True):
                verdict = judged(name, made_by(mistake, hand), seed=seed)
                if verdict.behaviour:
                    found.setdefault(name, []).append((mistake.__name__, verdict.behaviour, seed))
    return found


def put_together(found: dict[str, list[Made]]) -> tuple[float, float, int]:
    """Precision and recall of the pairs, and how many pairs are to be found."""
    together = same = both = 0
    for made in found.values():
        groups = grouped([one for _, one, _ in made], [seed for *_, seed in made])
        group_of = {place: number for number, group in enumerate(groups) for place in group}
        for one, other in combinations(range(len(made)), 2):
            is_same = made[one][0] == made[other][0]
            is_together = group_of[one] == group_of[other]
            same, together, both = same + is_same, together + is_together, both + (is_same and is_together)
    return both / max(together, 1), both / max(same, 1), same


def catalogued(day: str, seeds: Iterable[int]) -> dict[str, list[Made]]:
    """What each known mistake's first variant does, as if no mistake were known."""
    from graders.judging import catalogue
    from graders.judging.behaviour import behaviour
    from graders.judging.question import Paper, settings
    from graders.judging.trial import Trial
    from graders.probing.observe import look

    found: dict[str, list[Made]] = {}
    for exercise, seed in product(catalogue.days()[day], seeds):
        answer = catalogue.answer_of(exercise.name)
        paper = Paper(exercise, answer, settings("cpu")[:1], seed)
        for mistake in answer.mistakes:
            sights, _ = look(exercise, mistake.variants[0], [one.case for one in paper.questions])
            tried = [
                Trial(question, answer.read(sight, question.case))
                for question, sight in zip(paper.questions, sights, strict=True)
            ]
            noted = behaviour(tried, {name for trial in tried for name in trial.failing})
            if noted:
                found.setdefault(exercise.name, []).append((mistake.key, noted, seed))
    return found


def shares(found: dict[str, list[Made]]) -> tuple[float, float]:
    """Of pairs of one mistake on two inputs, and of pairs of two mistakes, the shares that are alike."""
    one = [0, 0]
    two = [0, 0]
    for made in found.values():
        near = alike([noted for _, noted, _ in made], [seed for *_, seed in made])
        for first, second in combinations(range(len(made)), 2):
            place = one if made[first][0] == made[second][0] else two
            place[0] += bool(near[first, second])
            place[1] += 1
    return one[0] / max(one[1], 1), two[0] / max(two[1], 1)


def groups(days: list[str]) -> Iterator[Row]:
    for where, seeds in (("the same inputs", [SAME_FOR_ALL] * 5), ("five other inputs", list(range(1, 6)))):
        precision, recall, count = put_together(unknown(seeds))
        target = ">= 90%" if seeds[0] == SAME_FOR_ALL else ""
        yield f"unknown mistakes on {where}, precision", f"{precision:.1%}", target
        yield f"unknown mistakes on {where}, recall of {count} pairs", f"{recall:.1%}", target
    for day in ("day26", *days):
        _, wrong = shares(catalogued(day, [SAME_FOR_ALL]))
        yield f"{day}: pairs of two known mistakes taken for one, same inputs", f"{wrong:.2%}", ""
        right, wrong = shares(catalogued(day, [1, 2]))
        yield f"{day}: pairs of one known mistake seen as one, other inputs", f"{right:.1%}", ""
        yield f"{day}: pairs of two known mistakes taken for one, same or other inputs", f"{wrong:.2%}", ""


def alikeness() -> Iterator[Row]:
    false = pairs = found = count = 0
    for number in range(25, 35):
        codes = copies.independent(f"day{number}")
        false += len(similar(codes))
        pairs += len(codes) * (len(codes) - 1) // 2
        for student, code in codes.items():
            seen = similar({**codes, "copy": copies.disguised(code)})
            found += any({one.one, one.other} == {student, "copy"} for one in seen)
            count += 1
    yield "pairs of independent right answers called alike", f"{false} of {pairs}", "0"
    yield "copies under other names found", f"{found} of {count}", "all"


def graded(folder: Path, count: int) -> Path:
    """A course of which a class is graded in the sandbox."""
    course = make_course(folder / "course", [classes.DAY])
    classes.hand_in(course, classes.works(count), "2026-02-28 10:00:00 UTC")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "graders", "autograde", classes.DAY]
    subprocess.run(command, cwd=course, env=environment, check=True, capture_output=True)
    return course


def multiplied(course: Path, count: int) -> None:
    """Copies of graded students, until there are so many: their rows in the gradebook, and their records."""
    with contextlib.closing(sqlite3.connect(course / "gradebook.db")) as book, book:
        students = [one for (one,) in book.execute("SELECT id FROM student ORDER BY id")]
        for number in range(count - len(students)):
            model, student = students[number % len(students)], f"more{number}"
            book.execute("INSERT INTO student (id) VALUES (?)", (student,))
            handed_in, page = secrets.token_hex(16), secrets.token_hex(16)
            query = "SELECT id, assignment_id FROM submitted_assignment WHERE student_id = ?"
            of_model, assignment = book.execute(query, (model,)).fetchone()
            book.execute(
                "INSERT INTO submitted_assignment (id, assignment_id, student_id) VALUES (?, ?, ?)",
                (handed_in, assignment, student),
            )
            query = "SELECT id, notebook_id FROM submitted_notebook WHERE assignment_id = ?"
            of_page, notebook = book.execute(query, (of_model,)).fetchone()
            book.execute(
                "INSERT INTO submitted_notebook (id, assignment_id, notebook_id) VALUES (?, ?, ?)",
                (page, handed_in, notebook),
            )
            book.execute(
                "INSERT INTO grade (id, notebook_id, cell_id, auto_score, needs_manual_grade) "
                "SELECT lower(hex(randomblob(16))), ?, cell_id, auto_score, needs_manual_grade FROM grade "
                "WHERE notebook_id = ?",
                (page, of_page),
            )
            source = course / "autograded" / model
            shutil.copytree(source, course / "autograded" / student, copy_function=os.link)


def cost(course: Path, *options: str) -> tuple[float, float, float]:
    """Seconds of wall and of CPU time, and MB at most, of `graders report`."""
    command = [sys.executable, "-m", "graders", "report", classes.DAY, *options]
    code = (
        "import json, resource, subprocess, sys;"
        f"subprocess.run({command!r}, check=True, stdout=subprocess.DEVNULL);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))"
    )
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = subprocess.check_output([sys.executable, "-c", code], cwd=course, env=environment, text=True)
    return time.perf_counter() - started, *json.loads(said)


def median(course: Path, *options: str) -> str:
    """The same of three runs, in words."""
    runs = [cost(course, *options) for _ in range(3)]
    wall, cpu, memory = (statistics.median(column) for column in zip(*runs, strict=True))
    return f"{wall:.1f} s ({cpu:.1f} s CPU), {memory:.0f} MB"


def speed(count: int, of: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        course = graded(Path(folder), count)
        yield f"report on {count}, really graded", median(course), ""
        multiplied(course, of)
        yield f"report on {of}", median(course), "< 2 s, < 300 MB"
        page = course / "reports" / f"{classes.DAY}.html"
        yield f"page of {of}", f"{page.stat().st_size / 1e6:.1f} MB", ""
        yield f"report on {of} --similar", median(course, "--similar"), ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graded", type=int, default=60, help="students that are really graded")
    parser.add_argument("--of", type=int, default=1000, help="students in the large class")
    parser.add_argument("--days", nargs="*", default=["day27", "day29", "day33"], help="days beside day 26")
    parser.add_argument("--only", nargs="*", default=["groups", "similar", "speed"])
    options = parser.parse_args()
    made = {
        "groups": lambda: groups(options.days),
        "similar": alikeness,
        "speed": lambda: speed(options.graded, options.of),
    }
    for name in options.only:
        for label, reached, target in made[name]():
            print(f"{label:<78}  {reached:>32}  {target}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
