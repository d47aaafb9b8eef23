"""How long does it take to collect a class from an LMS's zip, and does everybody get what is theirs?

    python benchmarks/lms.py [--students 1000] [--systems moodle canvas blackboard brightspace]

Each student hands in the solved notebook of a day, marked as theirs, and a data file; one in five has a
name that another one has too. `graders collect` is timed as a whole, its start included, and run again,
with nothing to do. Seconds are of wall time; where a machine is busy otherwise, those of the processor say
more. Prints a table against the aim.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests import lms  # noqa: E402
from tests.lms import DAY, HandedIn, Student  # noqa: E402

SECONDS_AIM = 20.0
SPARE = 10  # of so many, two share their names


def class_of(count: int) -> list[Student]:
    """Students with an id of each kind; some share their names, in pairs."""
    return [
        Student(
            f"s{number:05}",
            f"Given{number // SPARE if number % SPARE < 2 else number}",
            f"Family{0 if number % SPARE < 2 else number % 7 + 1}",
            f"user_{number}",
            100_000 + number,
            500_000 + number,
            f"u{number}@uni.edu",
        )
        for number in range(count)
    ]


def notebook_for(student: Student, solved: bytes) -> bytes:
    """The solved notebook with a cell that says whose it is."""
    notebook = json.loads(solved)
    cell = {"cell_type": "markdown", "id": "mine", "metadata": {}, "source": f"I am {student.number}."}
    notebook["cells"].append(cell)
    return json.dumps(notebook).encode()


def collected(course: Path) -> tuple[float, float]:
    """Run the command; returns the seconds that it took, and those of the processor."""
    command = [sys.executable, "-m", "graders", "collect", DAY, "in.zip", "--roster", "roster.csv"]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(command, cwd=course, capture_output=True, text=True)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if result.returncode:
        sys.exit(result.stdout + result.stderr)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def owners(course: Path, students: list[Student]) -> tuple[int, int]:
    """How many lost what they handed in, and how many got somebody else's."""
    lost = swapped = 0
    for one in students:
        path = course / "submitted" / one.number / DAY / f"{DAY}.ipynb"
        if not path.exists():
            lost += 1
        elif f"I am {one.number}." not in path.read_text(encoding="utf-8"):
            swapped += 1
    return lost, swapped


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--students", type=int, default=1000)
    parser.add_argument("--systems", nargs="+", choices=lms.SYSTEMS, default=lms.SYSTEMS)
    options = parser.parse_args()
    students = class_of(options.students)
    solved = (ROOT / "solutions" / DAY / f"{DAY}.ipynb").read_bytes()
    print(f"{options.students} students; the aim is {SECONDS_AIM:g} s, none lost, none swapped.")
    print(
        f"{'':12}{'zip, MB':>9}{'seconds':>9}{'CPU':>7}{'again':>9}{'CPU':>7}{'lost':>6}{'swapped':>9}   aim"
    )
    for system in options.systems:
        with tempfile.TemporaryDirectory() as folder:
            course = lms.course(Path(folder) / "course")
            handed_in = [
                HandedIn(one, {f"{DAY}.ipynb": notebook_for(one, solved), "data.csv": b"1,2\n" * 500})
                for one in students
            ]
            zip_file = lms.zipped(course / "in.zip", system, handed_in)
            (course / "roster.csv").write_text(lms.own_roster(students), encoding="utf-8")
            (seconds, used), (again, used_again) = collected(course), collected(course)
            lost, swapped = owners(course, students)
            reached = seconds <= SECONDS_AIM and not lost and not swapped
            print(
                f"{system:12}{zip_file.stat().st_size / 1e6:9.1f}{seconds:9.1f}{used:7.1f}"
                f"{again:9.1f}{used_again:7.1f}{lost:6}{swapped:9}   {'reached' if reached else 'missed'}",
                flush=True,
            )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"Most memory of a command: {peak:.0f} MB.")


if __name__ == "__main__":
    main()
