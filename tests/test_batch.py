"""Grading a class: nothing is lost whatever happens on the way, and what people did stays.

The class needs no PyTorch; that checks are graded as by nbgrader's own command is for tests/test_same.py.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import fcntl
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

from graders.batch import run
from graders.batch.run import Report
from tests import batches, warm
from tests.batches import (
    STUDENTS,
    alive,
    assert_nothing_left,
    autograde,
    copied,
    ended,
    family,
    files,
    graded_now,
    make_class,
    started,
    wait_until,
    workers_of,
    zygotes_of,
)
from tests.courses import ROOT, answered, make_course, release, write_source

pytestmark = pytest.mark.skipif(not shutil.which("bwrap"), reason="no bubblewrap")

DAY = "numbers"
RIGHT = {
    "total": "def total(values):\n    return sum(values)",
    "mean": "def mean(values):\n    return sum(values) / len(values)",
}
WRONG = {
    "total": "def total(values):\n    return max(values)",
    "mean": "def mean(values):\n    return values[0]",
}
TESTS = {
    "total": "assert total([1, 2, 3]) == 6",
    "mean": "assert mean([1, 2, 6]) == 3",
}
dump = partial(batches.dump, DAY)


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course in which an assignment was handed in by all students, and nothing is graded yet."""
    folder = make_course(tmp_path_factory.mktemp("batch") / "course", [])
    write_source(folder, DAY, {name: (RIGHT[name], TESTS[name]) for name in RIGHT})
    make_class(folder, DAY, RIGHT, WRONG, "mean")
    return folder


@pytest.fixture(scope="module")
def graded(handed_in: Path) -> Path:
    """The same course after one undisturbed run."""
    course = copied(handed_in, handed_in.parent / "graded")
    autograde(course, DAY)
    return course


@pytest.fixture
def course(handed_in: Path, tmp_path: Path) -> Path:
    """A copy of the course that is not graded yet."""
    return copied(handed_in, tmp_path / "course")


# Nothing is lost

#: The command, with something done at the moment when a submission is recorded.
_DRIVEN = """
import errno, os, pathlib, signal, time
from graders.batch.gradebook import Course
from graders.cli import app

record, calls = Course.record, []

def recorded(self, *given):
    calls.append(given)
    moment(self, len(calls))
    return record(self, *given)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

{moment}
Course.record = recorded
app()
"""
#: It says with which submission it has come so far, and waits until it is told to go on.
STEP_BY_STEP = """
def moment(course, count):
    pathlib.Path(f"at-{count}").touch()
    while not pathlib.Path(f"on-{count}").exists():
        time.sleep(0.01)
"""
GETTING_READY = """
def moment(course, count):
    pass

Course.students = lambda *given: time.sleep(60)
"""
BEFORE_THE_FIRST = "def moment(course, count):\n    die()"
AFTER_TWO = "def moment(course, count):\n    if count == 3: die()"
BETWEEN_COMMIT_AND_RENAME = """
def moment(course, count):
    if count == 2:
        course.session.commit = lambda commit=course.session.commit: (commit(), die())
"""
BETWEEN_OLD_AND_COMMIT = """
def moment(course, count):
    if count == 2:
        course.session.commit = die
"""


def driven(course: Path, moment: str, *arguments: str) -> subprocess.Popen:
    return started(course, *(arguments or (DAY,)), program=("-c", _DRIVEN.format(moment=moment)))


def has_come_to(course: Path, count: int) -> None:
    """Wait until a run step by step is about to record so many submissions."""
    wait_until((course / f"at-{count}").exists)


def let_go(course: Path, *counts: int) -> None:
    for count in counts:
        (course / f"on-{count}").touch()


def test_killed_at_several_moments(course: Path, graded: Path) -> None:
    seen: list[int] = []
    process = driven(course, GETTING_READY)
    wait_until(lambda: zygotes_of(process.pid))
    seen += [process.pid, *family(process.pid)]
    process.kill()
    process.communicate()
    assert graded_now(course) == []
    for moment, count in (
        (BEFORE_THE_FIRST, 0),
        (AFTER_TWO, 2),
        (BETWEEN_COMMIT_AND_RENAME, 3),
    ):
        process = driven(course, moment)
        while process.poll() is None:
            seen = list({*seen, process.pid, *family(process.pid)})
            time.sleep(0.2)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert len(graded_now(course)) == count
    said, _ = autograde(course, DAY)
    assert f"{len(STUDENTS) - 3} graded, 3 graded before" in said
    assert dump(course) == dump(graded)
    assert files(course) == files(graded)
    assert_nothing_left(course, seen)


def test_killed_while_an_old_folder_gives_way(graded: Path, tmp_path: Path) -> None:
    """Between the old folder and the new one the submission counts as not graded, whatever comes."""
    course = copied(graded, tmp_path / "course", ("right", "wrong"))
    process = driven(course, BETWEEN_OLD_AND_COMMIT, DAY, "--force")
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(graded_now(course)) == 1
    said, _ = autograde(course, DAY)
    assert "1 graded, 1 graded before" in said
    assert dump(course) == dump(graded)
    assert_nothing_left(course, [process.pid])


def test_a_worker_and_a_warm_process_are_killed(course: Path, graded: Path) -> None:
    process = driven(course, STEP_BY_STEP, DAY, "--workers", "1")
    seen, numbers = [], iter(range(1, len(STUDENTS) + 1))
    for find in (workers_of, zygotes_of, workers_of):
        for number in numbers:
            has_come_to(course, number)
            seen += family(process.pid)
            if found := find(process.pid):
                os.kill(found[0], signal.SIGKILL)
                break
            let_go(course, number)  # graded before its worker was killed: there is no other one yet
        else:
            pytest.fail("there was nothing to kill")
        let_go(course, number)
    let_go(course, *list(numbers)[:-1])
    has_come_to(course, len(STUDENTS))
    seen += family(process.pid)
    for worker in workers_of(process.pid):  # one that has nothing left to do
        os.kill(worker, signal.SIGKILL)
    let_go(course, len(STUDENTS))
    said, _ = ended(process)
    assert f"{len(STUDENTS)} graded" in said
    assert dump(course) == dump(graded)
    autograde(course, DAY)
    assert_nothing_left(course, seen)


def test_nothing_is_said_of_an_account_that_nobody_has_tried() -> None:
    """Where all was graded before, no jail was made."""
    held = {"memory", "pids", "programs"}
    graded, skipped = run.Result("a", "graded", 1, 1), run.Result("a", "skipped")
    said = [
        " ".join(run.in_force(Report(DAY, [result], limits), run.Options()))
        for result, limits in ((graded, held), (graded, set()), (skipped, set()))
    ]
    assert ["this account may not" in text for text in said] == [False, True, False]


def test_a_submission_that_ends_workers_costs_no_other(course: Path, graded: Path) -> None:
    """Here the worker is made to die of one submission; a jail would have to be left for that."""
    moment = """
from graders.batch import run, worker

def moment(course, count):
    pass

grade = worker.grade
worker.grade = fatal
"""
    (course / "fatal.py").write_text(
        "import os\nfrom graders.batch.worker import grade as real\n\n\n"
        "def grade(job):\n    if b'The words of right' in job:\n        os._exit(1)\n    return real(job)\n"
    )
    process = driven(course, "from fatal import grade as fatal\n" + moment)
    said, _ = ended(process, 1)
    assert "right" in said and "not graded: The worker that graded it ended, again and again." in said
    others = tuple(student for student in STUDENTS if student != "right")
    assert dump(course, others) == dump(graded, others)


def test_locked_gradebook(course: Path, graded: Path) -> None:
    with (course / "nbgrader_config.py").open("a") as file:
        file.write(f"c.CourseDirectory.db_url = 'sqlite:///{course}/gradebook.db?timeout=0.3'\n")
    other = sqlite3.connect(course / "gradebook.db", isolation_level=None, timeout=10)
    other.execute("BEGIN EXCLUSIVE")
    _, complained = autograde(course, DAY, status=2)
    assert complained == f"{LOCKED}\n"
    other.execute("ROLLBACK")
    process = driven(course, STEP_BY_STEP)
    let_go(course, 1, 2)
    has_come_to(course, 3)
    other.execute("BEGIN EXCLUSIVE")
    let_go(course, 3)
    _, complained = ended(process, 1)
    other.execute("ROLLBACK")
    other.close()
    assert complained.splitlines()[-1] == LOCKED
    done = tuple(graded_now(course))
    assert len(done) == 2
    assert dump(course) == dump(graded, done)
    autograde(course, DAY)
    assert dump(course) == dump(graded)
    assert files(course) == files(graded)


LOCKED = "The gradebook is locked by another program. Close it and run the same command again."
FULL = "The disk is full. Make room and run the same command again; it goes on where it stopped."


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", place], capture_output=True
    ).returncode:
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_full_disk(handed_in: Path, graded: Path, small_disk: Path) -> None:
    course = copied(handed_in, small_disk / "course")
    (course / "tmp").mkdir()
    free = os.statvfs(course)
    (course / "filling").write_bytes(bytes(free.f_bavail * free.f_frsize - (300 << 10)))
    _, complained = autograde(course, DAY, status=1)
    assert complained.splitlines()[-1] == FULL
    done = tuple(graded_now(course))
    assert 0 < len(done) < len(STUDENTS)
    (course / "filling").unlink()
    assert dump(course) == dump(graded, done)
    autograde(course, DAY)
    assert dump(course) == dump(graded)
    assert files(course) == files(graded)


def test_full_disk_as_the_system_says_it(course: Path, graded: Path) -> None:
    moment = """
def moment(course, count):
    if count == 3:
        raise_it()

from graders.batch import gradebook
def raise_it():
    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")
    gradebook.lay = full
"""
    _, complained = ended(driven(course, moment), 1)
    assert complained.splitlines()[-1] == FULL
    assert len(graded_now(course)) == 2
    assert dump(course) == dump(graded, tuple(graded_now(course)))
    assert list(course.glob("autograded/*/.graders-*")) == []


def test_interrupted(course: Path, graded: Path) -> None:
    process = driven(course, STEP_BY_STEP)
    has_come_to(course, 1)
    seen = family(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    let_go(course, *range(1, len(STUDENTS) + 1))  # what is found at the same time is recorded as well
    _, complained = ended(process, 130)
    assert complained.splitlines()[-1].endswith(
        "Interrupted. Run the same command again; it goes on where it stopped."
    )
    assert_nothing_left(course, seen)
    autograde(course, DAY)
    assert dump(course) == dump(graded)
    assert files(course) == files(graded)


def test_one_run_at_a_time(course: Path) -> None:
    handle = os.open(course, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    _, complained = autograde(course, DAY, status=2)
    os.close(handle)
    assert complained == "Another `graders autograde` is at work in this course; wait until it has ended.\n"


# What people did stays


def test_grades_given_by_hand_survive(graded: Path, tmp_path: Path) -> None:
    course = copied(graded, tmp_path / "course", ("late", "right", "wrong"))
    for student, points, extra in (("right", 2.5, 1.0), ("late", 0.0, None)):
        with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
            grade = book.find_grade("essay", "warm_up", DAY, student)
            grade.manual_score, grade.extra_credit = points, extra
            grade.needs_manual_grade = False
            book.find_grade("double_of_2", "warm_up", DAY, student).manual_score = 1.0
            book.find_comment("essay", "warm_up", DAY, student).manual_comment = "Well put."
            book.db.commit()
    (course / "submitted" / "wrong" / DAY / "timestamp.txt").write_text("2026-02-28 11:00:00 UTC")
    answered(course, "wrong", DAY, RIGHT)
    said, _ = autograde(course, DAY)
    assert "1 graded, 2 graded before" in said
    assert "wrong  " in said
    held = dump(course)
    assert held["wrong"]["timestamp"] == datetime(2026, 2, 28, 11)
    assert held["wrong"]["notebooks"][DAY] == dump(graded)["right"]["notebooks"][DAY]
    said, _ = autograde(course, DAY, "--force", "--student", "right", "--student", "late")
    assert "2 graded;" in said
    held = dump(course)
    for student, points, extra in (("right", 2.5, 1.0), ("late", 0.0, None)):
        one = held[student]["notebooks"]["warm_up"]
        assert one["grades"]["essay"] == (None, points, extra, True)
        assert one["grades"]["double_of_2"] == (2, 1.0, None, True)
        assert one["comments"]["essay"] == (None, "Well put.")


def test_json(handed_in: Path, graded: Path, tmp_path: Path) -> None:
    course = copied(handed_in, tmp_path / "course", ("right", "wrong"))
    (course / "submitted" / "wrong" / DAY / f"{DAY}.ipynb").write_text("{")
    (course / "submitted" / "wrong" / DAY / "warm_up.ipynb").unlink()
    said, complained = autograde(
        course, DAY, "--json", "--student", "right", "--student", "wrong", "--student", "who", status=1
    )
    assert complained == ""
    report = json.loads(said)
    assert report.keys() == {field.name for field in dataclasses.fields(Report)}
    assert report["assignment"] == DAY and report["stopped"] is None and report["seconds"] > 0
    assert all(isinstance(text, str) for text in report["limits"])
    results = {one.pop("student"): one for one in report["results"]}
    points = sum(
        grade[0] or 0
        for one in dump(graded)["right"]["notebooks"].values()
        for grade in one["grades"].values()
    )
    assert results["right"].pop("most") > points
    assert results["right"] == {
        "outcome": "graded",
        "points": points,
        "flags": [],
        "notes": [],
        "reason": None,
    }
    assert results["wrong"]["outcome"] == results["who"]["outcome"] == "failed"
    assert "no valid JSON" in results["wrong"]["reason"]
    assert results["who"]["reason"] == "There is no submission of this student."


#: bubblewrap where /proc is masked, as in most containers: it names the process in the jail, and then fails.
MASKED = f"""#!{sys.executable}
import os, sys
said = sys.argv[sys.argv.index("--info-fd") + 1]
os.write(int(said), b'{{"child-pid": %d}}' % os.getpid())
sys.exit("bwrap: Can't mount proc on /newroot/proc: Operation not permitted")
"""


def test_refusals(handed_in: Path, tmp_path: Path) -> None:
    """Each is one sentence, with exit status 2, and changes nothing."""
    empty = tmp_path / "empty"
    empty.mkdir()
    dull = tmp_path / "bin"
    dull.mkdir()
    (dull / "bwrap").write_text("#!/bin/sh\necho No permissions to create a new namespace >&2\nexit 1\n")
    (dull / "bwrap").chmod(0o755)
    masked = tmp_path / "masked"
    masked.mkdir()
    (masked / "bwrap").write_text(MASKED)
    (masked / "bwrap").chmod(0o755)
    (tmp_path / "cloned" / "release" / DAY).mkdir(parents=True)
    before = (handed_in / "gradebook.db").read_bytes()
    for folder, arguments, path, says in (
        (handed_in, ("day99",), None, "The gradebook knows no assignment 'day99': run `nbgrader"),
        (empty, (DAY,), None, "There is no gradebook at sqlite:///"),
        (tmp_path / "cloned", (DAY,), None, f"after `nbgrader generate_assignment {DAY} --force`."),
        (handed_in, (DAY,), str(empty), "Grading needs bubblewrap, which is not installed: on Debian"),
        (handed_in, (DAY,), str(dull), "bubblewrap cannot make a sandbox here (No permissions"),
        (handed_in, (DAY,), str(masked), "bubblewrap cannot make a sandbox here (Can't mount proc on"),
        (handed_in, (DAY, "--scheduler", "tcp://127.0.0.1:9"), None, "There is no Dask scheduler at tcp"),
    ):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)} | ({"PATH": path} if path else {})
        # The warm process knows already what can be started by its own path.
        python = [sys.executable] if path else warm.python()
        result = subprocess.run(
            [*python, "-m", "graders", "autograde", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert result.returncode == 2, result
        assert result.stdout == ""
        assert says in result.stderr.splitlines()[-1], result.stderr
        assert "Traceback" not in result.stderr
    assert list(empty.iterdir()) == []
    assert (handed_in / "gradebook.db").read_bytes() == before


# Another gradebook, other machines


@pytest.fixture
def postgresql() -> Iterator[str]:
    """A PostgreSQL server of our own; yields the address of an empty database."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr/pgsql").glob("*/bin")]
    programs = shutil.which("initdb") or next(
        (str(path / "initdb") for path in found if (path / "initdb").exists()), None
    )
    if not programs:
        pytest.skip("no PostgreSQL server")
    pytest.importorskip("psycopg")
    bin = Path(programs).resolve().parent
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    account = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
    if account:
        os.chown(folder, 65534, 65534)
    run = {"cwd": folder, "check": True, "capture_output": True, **account}
    subprocess.run([bin / "initdb", "-D", folder / "data", "-U", "course", "-A", "trust", "--no-sync"], **run)
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    control = [bin / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log"]
    subprocess.run([*control, "-o", options, "start"], **run)
    try:
        yield f"postgresql+psycopg://course@/postgres?host={folder}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **run)
        shutil.rmtree(folder)


def test_postgresql(handed_in: Path, graded: Path, postgresql: str, tmp_path: Path) -> None:
    students = ("late", "missing", "wrong")
    course = copied(handed_in, tmp_path / "course", students)
    (course / "gradebook.db").unlink()
    with (course / "nbgrader_config.py").open("a") as file:
        file.write(f"c.CourseDirectory.db_url = {postgresql!r}\n")
    _, complained = autograde(course, DAY, status=2)
    assert complained.startswith("There is no gradebook at postgresql+psycopg://")
    release(course, DAY)
    with Gradebook(postgresql) as book:
        book.update_or_create_assignment(DAY, duedate=datetime(2026, 3, 1))
    autograde(course, DAY)
    assert dump(postgresql) == dump(graded, students)
    assert files(course, students) == files(graded, students)
    assert not (course / "gradebook.db").exists()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen], subprocess.Popen]]:
    """A Dask scheduler and two workers, as separate processes on this machine."""
    pytest.importorskip("distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    log = (tmp_path / "dask.log").open("w")

    def dask(*arguments: str) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard"]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)

    scheduler = dask("scheduler", "--host", "127.0.0.1", "--port", address.rsplit(":", 1)[1])
    workers = [
        dask(
            "worker",
            address,
            "--nthreads",
            "1",
            "--no-nanny",
            "--local-directory",
            str(tmp_path / f"w{number}"),
        )
        for number in range(2)
    ]
    try:
        from distributed import Client

        with Client(address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield address, workers, scheduler
    finally:
        for process in (*workers, scheduler):
            process.terminate()
        for process in (*workers, scheduler):
            process.wait(30)
        log.close()


def test_an_answer_that_dask_has_forgotten_is_told_from_an_error() -> None:
    cfexecutor = pytest.importorskip("distributed.cfexecutor")

    class Forgotten:
        status = "lost"

        async def _result(self, raiseit: bool) -> bytes:
            return b"an answer"

    async def told(future: concurrent.futures.Future) -> None:
        await cfexecutor._cascade_future(Forgotten(), future)

    future: concurrent.futures.Future = concurrent.futures.Future()
    # In a thread of its own: a browser of another test keeps this one's event loop running.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, told(future)).result()
    assert "unpack" in str(future.exception()) and run._was_forgotten(future.exception())
    assert not run._was_forgotten(ValueError("too many values to unpack (expected 3)"))


def test_dask(course: Path, graded: Path, cluster: tuple) -> None:
    address, workers, scheduler = cluster
    said, _ = autograde(
        course, DAY, "--scheduler", address, "--student", "right", "--student", "late", "--student", "wrong"
    )
    assert "3 graded" in said
    warm = {worker.pid: zygotes_of(worker.pid) for worker in workers}
    assert any(warm.values())
    process = driven(course, STEP_BY_STEP, DAY, "--scheduler", address)
    has_come_to(course, 1)
    lost = family(workers[0].pid)
    workers[0].kill()
    let_go(course, *range(1, len(STUDENTS) - 2))
    said, _ = ended(process)
    assert f"{len(STUDENTS) - 3} graded, 3 graded before" in said
    assert dump(course) == dump(graded)
    assert files(course) == files(graded)
    kept = zygotes_of(workers[1].pid)
    assert len(kept) == 1 and (not warm[workers[1].pid] or kept == warm[workers[1].pid])
    moment = (
        f"def moment(course, count):\n    if count == 2:\n        os.kill({scheduler.pid}, signal.SIGKILL)"
    )
    process = driven(course, moment, DAY, "--force", "--scheduler", address)
    _, complained = ended(process, 1)
    assert complained.splitlines()[-1].startswith("The workers cannot be reached any more.")
    workers[1].terminate()
    wait_until(lambda: not any(map(alive, [*lost, *kept])), 20)
