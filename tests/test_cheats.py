"""Everything in `tests.cheats`, handed in by a class with honest neighbours and graded in one batch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from graders.judging.verdict import MIME
from tests import cheats
from tests.cheats import plain
from tests.cheats.table import DAY, FULL, MARK, PARTIAL, Cheat, cell_named, handed_in, mistaken, right
from tests.courses import ROOT, release

#: The cell with which the day ends here: cheats are about exercises that come before, and are quicker graded.
LAST = "check_identity_parameters"
#: Honest neighbours stand before, between and after the cheats, one set after so many of them.
BETWEEN = 60
#: Lists what can be written to, to see that nothing of the one before is there.
_LOOK_AROUND = """
import os
places = '/tmp', '/scratch', '/graded/student/submission', '/dev/shm'
found = [os.path.join(place, name) for place in places for name in os.listdir(place)]
print('LEFT:', sorted(path for path in found if os.access(path, os.W_OK)))
"""
#: Secrets of the course; no output of a submission may hold one.
_ENVIRONMENT = "secret-of-the-environment"
_NEIGHBOUR = "secret-of-a-neighbour"
_CONFIG = "secret-of-the-configuration"
_SECRETS = (
    _ENVIRONMENT,
    _NEIGHBOUR,
    _CONFIG,
    "Direct path, less what comes back through the mean",  # a comment in the solutions
    "batch norm divides by N when it normalizes",  # a sentence of the references
    "SQLite format 3",
)


@dataclass(frozen=True)
class Neighbour:
    """Honest work, and what it is worth."""

    name: str
    answers: Mapping[str, str]
    points: float


NEIGHBOURS = {
    DAY: (
        Neighbour("right", right(), FULL),
        Neighbour("wrong", {}, 0),
        Neighbour("partial", mistaken(), PARTIAL),
    ),
    plain.PLAIN_DAY: (
        Neighbour("right", plain.RIGHT, plain.FULL),
        Neighbour("wrong", plain.WRONG, 0),
        Neighbour("partial", plain.HALF, plain.HALF_POINTS),
    ),
}
TABLE = {DAY: cheats.COURSE, plain.PLAIN_DAY: cheats.PLAIN}
EVERY = [(day, cheat) for day, table in TABLE.items() for cheat in table]


@dataclass
class Batch:
    """A course in which everything was handed in and graded. said: what the runs wrote to stderr."""

    folder: Path
    students: dict[tuple[str, str], str] = field(default_factory=dict)
    honest: dict[str, tuple[str, Neighbour]] = field(default_factory=dict)
    results: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    said: str = ""

    def result(self, day: str, name: str) -> dict[str, Any]:
        return self.results[day, self.students[day, name]]

    def outputs(self, day: str, student: str) -> str:
        path = self.folder / "autograded" / student / day / f"{day}.ipynb"
        if not path.exists():
            return ""
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return json.dumps([cell.get("outputs", []) for cell in cells])


def _can_jail() -> str:
    """Why there can be no jail here, or nothing."""
    from graders.sandbox.box import Box
    from graders.sandbox.jail import NoSandbox

    try:
        with Box(libraries=()):
            return ""
    except NoSandbox as problem:
        return str(problem)


def grade(
    folder: Path, *arguments: str, python: Sequence[str] = (sys.executable,)
) -> tuple[dict[str, list[dict[str, Any]]], str, int]:
    """Run the command; returns its results by assignment, what it wrote to stderr, and its exit status."""
    run = subprocess.run(
        [*python, "-m", "graders", "autograde", "--json", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "GRADERS_SECRET": _ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.stdout, run.stderr
    reports = json.loads(run.stdout)
    reports = reports if isinstance(reports, list) else [reports]
    return {one["assignment"]: one["results"] for one in reports}, run.stderr, run.returncode


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """Everything handed in and graded: first what must run into a limit, then the rest."""
    if why := _can_jail():
        pytest.skip(why)
    made, slow = hand_in_everything(tmp_path_factory.mktemp("course"))
    before = _snapshot(made.folder)
    only_slow = [argument for student in slow for argument in ("--student", student)]
    for arguments in ([DAY, "--cell-timeout", "2", *only_slow], [*TABLE, "--cell-timeout", "60"]):
        graded, said, _ = grade(made.folder, "--memory", "1024", *arguments)
        made.results |= {
            (day, one["student"]): one
            for day, results in graded.items()
            for one in results
            if one["outcome"] != "skipped"
        }
        made.said += said
    assert _snapshot(made.folder) == before, "what was handed in or released was changed"
    return made


def hand_in_everything(folder: Path) -> tuple[Batch, list[str]]:
    """A course with every cheat and its honest neighbours handed in, and who must run into a limit."""
    config = (ROOT / "nbgrader_config.py").read_text(encoding="utf-8")
    (folder / "nbgrader_config.py").write_text(f"{config}\n# {_CONFIG}\n", encoding="utf-8")
    day = json.loads((ROOT / "solutions" / DAY / f"{DAY}.ipynb").read_text(encoding="utf-8"))
    del day["cells"][day["cells"].index(cell_named(day, LAST)) + 1 :]
    for name, source in ((DAY, day), (plain.PLAIN_DAY, plain.source())):
        (folder / "solutions" / name).mkdir(parents=True)
        (folder / "solutions" / name / f"{name}.ipynb").write_text(json.dumps(source), encoding="utf-8")
    made = Batch(folder)
    release(folder, *TABLE)
    slow = []
    for day, table in TABLE.items():
        released = (folder / "exercises" / day / f"{day}.ipynb").read_text(encoding="utf-8")
        for position, cheat in enumerate([*table, None]):
            if position % BETWEEN == 0 or cheat is None:
                for neighbour in NEIGHBOURS[day]:
                    student = f"{position:03d}-0-{neighbour.name}"
                    made.honest[f"{day} {student}"] = student, neighbour
                    honest = Cheat(
                        "",
                        "",
                        _LOOK_AROUND,
                        f"# {_NEIGHBOUR}\nsecret = '{_NEIGHBOUR}'",
                        answers=neighbour.answers,
                    )
                    _hand_in(folder, day, student, honest, released)
            if cheat:
                student = f"{position:03d}-1-{re.sub('[^a-z0-9]+', '-', cheat.name.lower())}"
                made.students[day, cheat.name] = student
                _hand_in(folder, day, student, cheat, released)
                slow += [student] if cheat.slow else []
    return made, slow


def _hand_in(folder: Path, day: str, student: str, cheat: Cheat, released: str) -> None:
    target = folder / "submitted" / student / day
    target.mkdir(parents=True)
    (target / f"{day}.ipynb").write_bytes(handed_in(cheat, released, "setup"))
    if cheat.place:
        cheat.place(target)


def _snapshot(folder: Path) -> dict[str, str]:
    """Digests of everything in the course that grading must leave alone."""
    found = {}
    for name in ("solutions", "exercises", "submitted", "nbgrader_config.py"):
        for path in [folder / name, *sorted((folder / name).rglob("*"))]:
            if path.is_symlink() or not path.is_file():
                found[str(path)] = str(path.lstat().st_mode)
            else:
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.mark.parametrize("day,cheat", EVERY, ids=[f"{cheat.family}: {cheat.name}" for _, cheat in EVERY])
def test_cheat(batch: Batch, day: str, cheat: Cheat) -> None:
    """It is worth what the honest work in it is worth, tells nothing, and ends in a sentence."""
    result = batch.result(day, cheat.name)
    told = " ".join([*result["flags"], *result["notes"], result["reason"] or ""])
    outputs = batch.outputs(day, batch.students[day, cheat.name])
    assert (result["outcome"], result["points"]) == (
        "failed" if cheat.points is None else "graded",
        cheat.points,
    ), told + outputs[-3000:]
    assert cheat.says in told, told
    assert cheat.prints in outputs, outputs[:3000]
    for text in (*cheat.never, *_SECRETS):
        assert text not in outputs
    if cheat.flagged:
        assert result["flags"]
    if cheat.points is None:
        assert re.fullmatch(r"[^\n]+\.", result["reason"])


def test_enough_of_every_family() -> None:
    families = {cheat.family for _, cheat in EVERY}
    assert len(EVERY) >= 90
    assert families == {
        "verdict tampering",
        "reading answers",
        "library in disguise",
        "writing outside",
        "resource exhaustion",
        "malformed files",
        "honest oddities",
    }
    for day, table in TABLE.items():
        assert len({cheat.name for cheat in table}) == len(table), day


def test_honest_neighbours(batch: Batch) -> None:
    """Whoever stands beside a cheat gets exactly what they would have got, and meets nothing that it left."""
    wrong = {}
    for key, (student, neighbour) in batch.honest.items():
        day = key.split()[0]
        result = batch.results[day, student]
        outputs = batch.outputs(day, student)
        left = re.search(r"LEFT: (\[.*?\])", outputs)
        if (result["points"], result["flags"], left and left[1]) != (neighbour.points, [], "[]"):
            wrong[key] = result, left and left[1]
    assert not wrong


def test_batch_ended_well(batch: Batch) -> None:
    """Everybody is in the report, in whole sentences, and nothing broke."""
    handed_in = set(batch.students.values()) | {student for student, _ in batch.honest.values()}
    assert {student for _, student in batch.results} == handed_in
    assert "Traceback" not in batch.said, batch.said[-3000:]
    for result in batch.results.values():
        for text in (*result["flags"], *result["notes"], *filter(None, [result["reason"]])):
            assert re.fullmatch(r"[^\n]+\.", text), text
            assert "Traceback" not in text


def test_reports_are_the_judges_own(batch: Batch) -> None:
    """Neither markup from a student's code nor a verdict that it made up gets into the result of a check."""
    for name in ("markup in what is printed and raised", "bundle displayed from within the candidate"):
        path = batch.folder / "autograded" / batch.students[DAY, name] / DAY / f"{DAY}.ipynb"
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            verdicts = [output for output in cell.get("outputs", []) if MIME in output.get("data", {})]
            if cell["metadata"].get("nbgrader", {}).get("grade"):
                assert len(cell["outputs"]) == 1
                assert "<script>alert" not in "".join(cell["outputs"][0].get("data", {}).get("text/html", ""))
            else:
                assert not verdicts


def test_gradebook_says_the_same(batch: Batch) -> None:
    with sqlite3.connect(batch.folder / "gradebook.db") as book:
        rows = book.execute(
            "select assignment.name, submitted_assignment.student_id, sum(grade.auto_score) from grade "
            "join submitted_notebook on grade.notebook_id = submitted_notebook.id "
            "join submitted_assignment on submitted_notebook.assignment_id = submitted_assignment.id "
            "join assignment on submitted_assignment.assignment_id = assignment.id "
            "group by submitted_assignment.id"
        ).fetchall()
    recorded = {(day, student): score or 0 for day, student, score in rows}
    graded = {key: one["points"] for key, one in batch.results.items() if one["outcome"] == "graded"}
    assert recorded == graded


def test_nothing_outside_was_changed(batch: Batch) -> None:
    """What cheats would leave behind has a name of its own, and is nowhere."""
    places = {
        Path(place)
        for place in ("/", "/tmp", "/dev", "/dev/shm", "/usr", "/etc", "/root", "/home", "/var/tmp")
    }
    places |= {
        Path(sys.prefix),
        Path(sys.base_prefix),
        ROOT,
        ROOT / "graders",
        batch.folder,
        batch.folder.parent,
    }
    found = [
        place / name
        for place in places
        if os.access(place, os.R_OK)
        for name in os.listdir(place)
        if MARK in name
    ]
    assert not found
    assert oct(os.stat("/dev/null").st_mode & 0o777) == "0o666"


def test_nothing_is_left_running(batch: Batch) -> None:
    """No jail of this checkout outlives the command: each that is there belongs to a test that runs."""
    jail = f"{ROOT}/graders/probing/process/inside.py"
    assert not [pid for pid in _running() if jail in _command(pid) and not _belongs_to_a_test(pid)]


def _running() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    return ""


def _belongs_to_a_test(pid: int) -> bool:
    """Whether a process descends from pytest; one that was left behind descends from the first of all."""
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return True  # it has ended meanwhile
        if "pytest" in _command(pid):
            return True
    return False


def test_second_run_changes_nothing(batch: Batch) -> None:
    """What was graded is left as it is; what could not be read is said again."""
    kept = batch.folder / "autograded"
    before = {path: path.stat().st_mtime_ns for path in kept.rglob("*")}
    graded, said, status = grade(batch.folder, DAY)
    unreadable = {
        student for (day, student), one in batch.results.items() if day == DAY and one["outcome"] == "failed"
    }
    assert {one["student"] for one in graded[DAY] if one["outcome"] == "failed"} == unreadable
    assert {one["outcome"] for one in graded[DAY]} == {"skipped", "failed"}
    assert status == 1
    assert "Traceback" not in said
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("*")} == before
