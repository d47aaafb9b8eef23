"""What becomes of a run that is interrupted at random moments? Prints a table of how the runs ended.

    python benchmarks/interrupts.py [--count 500] [--seed 0]

`graders autograde` is started on a small course and gets a Ctrl+C, with all of its process group as in a
terminal, after a time drawn between the command's first instruction and the end of a whole run. It has to end
with status 130, or with 0 where everything was graded; nothing may be left running; and the same command, run
again now and then, has to give the gradebook of an undisturbed run. Where all was graded, the next run begins
with a course in which nothing is.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tqdm import tqdm

from tests.courses import ROOT, answered, make_course, recorded, solution_code

DAY = "day26"
STUDENTS = ("ada", "emmy", "sofia")
#: After so many interrupted runs of a course one goes on to its end.
COMPLETED_EVERY = 10
#: What is said of a run that was over before its interrupt.
BEFORE = ", before the interrupt"
FINE = {"status 130", "status 0", f"status 0{BEFORE}"}
#: Seconds in which what a run has started must be gone after its end.
ENDING = 15.0
#: Seconds that Python itself takes to start in: before its first instruction no program can hear anything.
BOOT = 0.05


def started(course: Path) -> subprocess.Popen:
    """The command, in a process group of its own; what it starts can be known by its environment."""
    return subprocess.Popen(
        [sys.executable, "-m", "graders", "autograde", DAY],
        cwd=course,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(course / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def left_running(group: int) -> list[str]:
    """Command lines of processes that are still in the session of an ended run, after a while."""
    end = time.monotonic() + ENDING
    while found := _in_session(group):
        if time.monotonic() > end:
            break
        time.sleep(0.02)
    return found


def _in_session(group: int) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = path.read_text().rsplit(")", 1)[1].split()[:4]
            if int(session) == group and state != "Z":
                found.append((path.parent / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def interrupted(course: Path, moment: float) -> tuple[str, str]:
    """How a run ended that got a Ctrl+C after so many seconds, and what it said."""
    process = started(course)
    before = ""
    try:
        said, _ = process.communicate(timeout=moment)
        before = BEFORE
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=120)
    ended = f"status {process.returncode}" if process.returncode >= 0 else f"signal {-process.returncode}"
    ended += before
    if process.returncode == 0 and f"{DAY}: " not in said:
        ended = "status 0 without a summary"
    if "Traceback" in said:
        ended += " with a traceback"
    if left := left_running(process.pid):
        ended += f", left running: {left}"
    if left := [path.name for path in (course / "tmp").iterdir()]:
        ended += f", left in its temporary folder: {left}"
    return ended, said


def handed_in(folder: Path) -> Path:
    """A small course in which some students have handed in the solution."""
    course = make_course(folder / "course", [DAY])
    (course / "tmp").mkdir()
    for student in STUDENTS:
        answered(course, student, DAY, solution_code(DAY))
    return course


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    ends: Counter[str] = Counter()
    unequal = 0
    with tempfile.TemporaryDirectory() as folder:
        fresh = handed_in(Path(folder))
        undisturbed = Path(folder) / "undisturbed"
        for _ in range(2):  # the first reads everything from the disk
            shutil.rmtree(undisturbed, ignore_errors=True)
            shutil.copytree(fresh, undisturbed)
            begun = time.monotonic()
            started(undisturbed).communicate()
            whole = time.monotonic() - begun
        expected = recorded(undisturbed, DAY)
        course = Path(folder) / "interrupted"
        interrupts = 0  # of this course
        for number in tqdm(range(options.count), leave=False):
            if not interrupts:
                shutil.rmtree(course, ignore_errors=True)
                shutil.copytree(fresh, course)
            moment = draw.uniform(BOOT, whole)
            ended, said = interrupted(course, moment)
            ends[ended] += 1
            if ended not in FINE:
                tqdm.write(f"after {moment:.3f} s: {ended}\n{said[-2000:]}")
            interrupts += 1
            if "status 0" in ended or interrupts == COMPLETED_EVERY or number == options.count - 1:
                started(course).communicate()
                unequal += recorded(course, DAY) != expected
                interrupts = 0
    print(f"{options.count} interrupts within the {whole:.1f} s of a run, seed {options.seed}")
    for ended, count in ends.most_common():
        print(f"{count:>5}  {ended}")
    print(f"{unequal:>5}  gradebooks unlike that of an undisturbed run")
    return 0 if ends.keys() <= FINE and not unequal else 1


if __name__ == "__main__":
    raise SystemExit(main())
