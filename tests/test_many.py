"""Grading several assignments in one run, of a course that has no check of ours."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from graders.batch import worker
from graders.batch.ahead import expected, imported
from graders.batch.notebook import _paper
from graders.judging import catalogue
from graders.judging.judge import judge
from graders.probing.days import bars
from graders.sandbox.box import Box, Session, Unforeseen
from graders.sandbox.jail import Limits
from tests import warm
from tests.batches import family
from tests.courses import (
    ROOT,
    answered,
    cell_of,
    make_course,
    nbgrader_command,
    own_programs,
    recorded,
    release,
    run_graders,
    solution_code,
    write_source,
)

pytestmark = pytest.mark.skipif(not shutil.which("bwrap"), reason="no bubblewrap")

#: Assignments: what students write, the right text of it, and the test that comes with it.
ASSIGNMENTS = {
    "one": ("double", "def double(x):\n    return 2 * x", "assert double(2) == 4"),
    "two": ("mean", "def mean(values):\n    return np.mean(values)", "assert mean([1.0, 2.0]) == 1.5"),
}
#: Says which worker the process that runs it belongs to, by the name of its jail.
WHERE = "import socket\n\nprint(socket.gethostname())\n\n"


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course with two assignments that are released, and a third one that is only being written."""
    course = make_course(tmp_path_factory.mktemp("many") / "course", [])
    for name, (student, right, test) in {**ASSIGNMENTS, "draft": ASSIGNMENTS["one"]}.items():
        write_source(course, name, {student: (right, test)}, "import numpy as np")
    release(course, *ASSIGNMENTS)
    return course


@pytest.fixture
def course(released: Path, tmp_path: Path) -> Path:
    """A copy, in which a student has solved both assignments, and another one the first of them."""
    course = shutil.copytree(released, tmp_path / "course")
    for name, (student, right, _) in ASSIGNMENTS.items():
        answered(course, "able", name, {student: WHERE + right})
    answered(course, "half", "one", {"double": WHERE + ASSIGNMENTS["one"][1]})
    answered(course, "half", "two", {"mean": WHERE + "def mean(values):\n    return 0"})
    return course


def started(
    course: Path, *arguments: str, python: tuple[str, ...] = (sys.executable,), **environment: str
) -> subprocess.Popen:
    return subprocess.Popen(
        [*python, "-m", "graders", "autograde", *arguments],
        cwd=course,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def autograde(course: Path, *arguments: str, status: int = 0) -> tuple[str, str]:
    process = started(course, *arguments, python=tuple(warm.python()))
    said, complained = process.communicate(timeout=120)
    assert process.returncode == status, said + complained
    assert "Traceback" not in said + complained, said + complained
    return said, complained


def test_the_folder_for_temporary_files_may_have_a_long_name(course: Path) -> None:
    """The workers' socket lies in it, whose address may have some hundred characters."""
    folder = course / ("tmp" * 30)
    folder.mkdir()
    said, complained = started(course, "one", TMPDIR=str(folder)).communicate(timeout=120)
    assert "one: 2 graded" in said, complained
    assert not list(folder.iterdir())


def scores(course: Path) -> dict[str, dict[str, float]]:
    return {
        name: {student: one["score"] for student, one in recorded(course, name).items()}
        for name in ASSIGNMENTS
    }


def graded(course: Path) -> set[str]:
    return {str(path.relative_to(course / "autograded")) for path in course.glob("autograded/[!.]*/*")}


def workers_of(course: Path) -> list[str]:
    """For each graded notebook, the worker that it says it ran in."""
    texts = [path.read_text() for path in sorted(course.glob("autograded/*/*/*.ipynb"))]
    return [found for text in texts for found in re.findall(r"sandbox-\d+-\d+", text)]


EVERYTHING = {"able/one", "able/two", "half/one", "half/two"}
SCORES = {"one": {"able": 2.0, "half": 2.0}, "two": {"able": 2.0, "half": 0.0}}


def test_several_share_their_workers(course: Path) -> None:
    said, _ = autograde(course, "one", "two", "--workers", "1")
    assert scores(course) == SCORES
    assert "one: 2 graded" in said and "two: 2 graded" in said
    assert len(workers_of(course)) == 4 and len(set(workers_of(course))) == 1


def test_the_same_as_one_after_the_other(course: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(course, tmp_path / "copy")
    autograde(course, "two", "one", "one")
    for name in ASSIGNMENTS:
        autograde(copy, name)
    assert all(recorded(course, name) == recorded(copy, name) for name in ASSIGNMENTS)


def test_all_are_those_that_are_released(course: Path) -> None:
    said, _ = autograde(course, "--all", "--json")
    assert [one["assignment"] for one in json.loads(said)] == ["one", "two"]
    assert scores(course) == SCORES


def test_json(course: Path) -> None:
    several = json.loads(autograde(course, "one", "two", "--json")[0])
    points = {one["assignment"]: {r["student"]: r["points"] for r in one["results"]} for one in several}
    assert points == SCORES
    one = json.loads(autograde(course, "one", "--json")[0])
    assert one["assignment"] == "one" and {r["outcome"] for r in one["results"]} == {"skipped"}


def test_the_worst_status_counts(course: Path) -> None:
    (course / "submitted" / "half" / "one" / "one.ipynb").write_text("{")
    said, _ = autograde(course, "one", "two", status=1)
    assert "half  not graded" in said and "two: 2 graded" in said
    assert graded(course) == EVERYTHING - {"half/one"}


@pytest.mark.parametrize("names", [("one", "three"), ("three", "one"), ("one", "draft")])
def test_an_unknown_name_stops_all(course: Path, names: tuple[str, str]) -> None:
    _, complained = autograde(course, *names, status=2)
    unknown = next(name for name in names if name != "one")
    assert f"knows no assignment {unknown!r}" in complained
    assert not graded(course)


@pytest.mark.parametrize("arguments", [(), ("--all", "one")])
def test_names_or_all(course: Path, arguments: tuple[str, ...]) -> None:
    assert "--all" in autograde(course, *arguments, status=2)[1]
    assert not graded(course)


def test_all_of_a_folder_without_a_course(tmp_path: Path) -> None:
    assert "no notebooks of an assignment" in autograde(tmp_path, "--all", status=2)[1]
    assert not list(tmp_path.glob("*.db"))


def test_interrupted_in_the_second(course: Path) -> None:
    slow = answered(course, "half", "two", {"mean": "import time\n\ntime.sleep(50)"})
    process = started(course, "one", "two", "--workers", "1")
    end = time.monotonic() + 60
    while not {"able/one", "half/one", "able/two"} <= graded(course) and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, complained = process.communicate(timeout=60)
    assert process.returncode == 130 and "Interrupted" in complained
    assert graded(course) == EVERYTHING - {"half/two"}
    before = {path: path.stat().st_mtime_ns for path in course.glob("autograded/*/*/*.ipynb")}
    slow.unlink()
    answered(course, "half", "two", {"mean": "def mean(values):\n    return 0"})
    autograde(course, "one", "two")
    assert scores(course) == SCORES
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_one_run_at_a_time(course: Path) -> None:
    handle = os.open(course, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for arguments in (("one", "two"), ("--all",)):
            assert "at work in this course" in autograde(course, *arguments, status=2)[1]
    finally:
        os.close(handle)
    assert not graded(course)


# What the warm process imports


def test_imports_of_released_notebooks_are_known(course: Path) -> None:
    folder = course / "exercises" / "one"
    (folder / "helper.py").write_text("import os\nif os.name:\n    from matplotlib import pyplot as plt\n")
    source = ["import numpy as np, pandas\n", "text = 'import seaborn'\n", "%matplotlib inline"]
    cells = [cell_of("more", "".join(source)), {"cell_type": "markdown", "source": "import sympy"}]
    (folder / "more.ipynb").write_text(json.dumps({"cells": cells}))
    (folder / "broken.ipynb").write_text("{")
    assert {"numpy", "pandas", "matplotlib"} <= set(imported(course, ["one"]))
    assert not {"seaborn", "sympy"} & set(imported(course, ["one"]))
    assert "pandas" not in imported(course, ["two"])
    write_source(course, "bare", {"one": ("one = 1", "assert one == 1")})
    assert imported(course, ["bare"]) == ()
    assert {"graders", "torch"} == set(imported(course, ["elsewhere"]))


def test_no_more_processes_get_ready_than_submissions_are_due(course: Path, tmp_path: Path) -> None:
    def due(*students: str, force: bool = False, names: tuple[str, ...] = ("one",)) -> int:
        return expected(course, names, students, force=force)

    assert due() == 2 and due(names=("one", "two")) == 4
    (course / "autograded" / "able" / "one").mkdir(parents=True)
    assert due() == 1 and due("able") == 0
    assert due(force=True) == 2 and due("able", force=True) == 1
    assert expected(tmp_path / "elsewhere", ["one"], (), force=False) > 1000  # it has folders of its own


def test_the_warm_process_has_what_it_is_told_to_have() -> None:
    with Box(libraries=["matplotlib", "antigravity"]) as box, box.session({}) as session:
        assert printed(session, "import sys\nprint('matplotlib.pyplot' in sys.modules)") == "True\n"
        assert printed(session, "print('antigravity' in sys.modules)") == "False\n"


def printed(session: Session, code: str) -> str:
    outputs, answer = session.run(code)
    assert answer["status"] == "ok", outputs
    return "".join(output.get("text", "") for output in outputs)


# Notebooks without PyTorch


IMPORTED = "import sys\nprint('torch' in sys.modules)"


def points_of(session: Session, name: str) -> float:
    """What a check of an exercise gives in a session."""
    paper, packed = _paper(name, ("cpu",))
    _, sights, surveyed, _ = session.look(catalogue.find(name), packed, ["cpu"] * len(paper.questions))
    assert surveyed
    return judge(paper, sights, surveyed).points


def test_no_process_imports_torch_for_other_notebooks(course: Path) -> None:
    answered(course, "able", "one", {"double": f"import time\n\n{IMPORTED}\ntime.sleep(3)"})
    process = started(course, "one", "--workers", "1", "--student", "able")
    seen, with_torch = set(), set()
    while process.poll() is None:
        for pid in family(process.pid):
            with contextlib.suppress(OSError):
                seen.add(pid)
                if "/libtorch" in Path(f"/proc/{pid}/maps").read_text():
                    with_torch.add(pid)
        time.sleep(0.05)
    process.communicate()
    assert len(seen) > 5 and not with_torch
    (path,) = course.glob("autograded/able/one/one.ipynb")
    assert '"False\\n"' in path.read_text()


def test_a_student_imports_torch_where_the_release_does_not(course: Path) -> None:
    code = "import torch\n\n\ndef mean(values):\n    return torch.tensor(values).mean().item()"
    answered(course, "half", "two", {"mean": code})
    autograde(course, "two")
    assert scores(course)["two"] == {"able": 2.0, "half": 2.0}


def test_no_check_without_torch_in_the_warm_process() -> None:
    asked = "import torch\nimport torch.nn.functional as F\nfrom graders import check\n\n"
    cheat = "batch_norm_forward = lambda x, g, b, eps=1e-5: (F.batch_norm(x, None, None, g, b, True), None)"
    room = Limits(memory=8 << 30)  # with CUDA, PyTorch takes more addresses than a submission has
    with Box(libraries=(), bars=bars, limits=room) as box:
        with box.session({}) as session:
            assert printed(session, IMPORTED) == "False\n"
            printed(session, asked + cheat)  # it brings PyTorch itself
            with pytest.raises(Unforeseen) as found:
                points_of(session, "batch_norm_forward")
        with box.session({}, found.value.libraries) as session:
            printed(session, asked + cheat)
            assert points_of(session, "batch_norm_forward") == 0
            printed(session, asked + solution_code("day26")["batch_norm_forward"])
            assert points_of(session, "batch_norm_forward") == 4
        with box.session({}, found.value.libraries, checks=False) as session, pytest.raises(Unforeseen):
            printed(session, asked + solution_code("day26")["batch_norm_forward"])
            points_of(session, "batch_norm_forward")  # nobody has looked where answers stand


def test_what_was_imported_before_torch_is_closed_as_well() -> None:
    cheat = """
import torch
from scipy.stats import zscore

refused = 0

def standardize(x, eps=1e-5):
    global refused
    try:
        return torch.from_numpy(zscore(x.numpy()))
    except AssertionError:
        refused += 1
        raise
"""
    with Box(libraries=["scipy"], bars=bars) as box:
        with box.session({}) as session:
            assert printed(session, IMPORTED) == "False\n"
        with box.session({}, ["torch"]) as session:
            printed(session, cheat)
            assert points_of(session, "standardize") == 0
            assert int(printed(session, "print(refused)")) > 0


def test_verdicts_do_not_depend_on_what_was_foreseen(tmp_path: Path) -> None:
    """Where nothing told of checks, a notebook with checks is graded as it is anywhere."""
    course = make_course(tmp_path / "own", ["day26"])
    path = answered(course, "one", "day26", dict(list(solution_code("day26").items())[::2]))
    answers = []
    for libraries in ((), ("graders", "torch", "matplotlib")):
        options = worker.Options(libraries=libraries)
        job = worker.pack_job({"day26": json.loads(path.read_text())}, {}, options)
        cells = worker.graded_here(job)[0]["notebooks"]["day26"]["notebook"]["cells"]
        outputs = [cell["outputs"] for cell in cells if cell["metadata"].get("nbgrader", {}).get("points")]
        answers.append([one["data"]["text/plain"] for output in outputs for one in output if "data" in one])
        worker.close_boxes()
    assert answers[0] == answers[1] and "0" in answers[0] and len(set(answers[0])) > 1


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """An assignment of two notebooks; one student's second cannot be read, and another's is missing."""
    course = make_course(tmp_path / "two", [])
    student, right, test = ASSIGNMENTS["one"]
    write_source(course, "hw", {student: (right, test)})
    source = course / "solutions" / "hw"
    shutil.copy(source / "hw.ipynb", source / "more.ipynb")
    release(course, "hw")
    for who in ("broken", "missing", "whole"):
        path = answered(course, who, "hw", {student: right})
        second = path.with_name("more.ipynb")
        if who != "missing":
            second.write_bytes(path.read_bytes() if who == "whole" else path.read_bytes()[:-40])
    return course


def test_a_broken_notebook_beside_others_is_told(two: Path) -> None:
    """It is tried again until it can be graded, as where it is the only one."""
    said, _ = autograde(two, "hw", status=1)
    assert "not graded: more.ipynb is no valid JSON" in said
    assert "hw: 3 graded, 1 of them only in part;" in said
    results = json.loads(autograde(two, "hw", "--json", status=1)[0])["results"]
    again = {one["student"]: one for one in results}
    assert again["broken"]["outcome"] == "graded" and "no valid JSON" in again["broken"]["reason"]
    assert again["whole"]["outcome"] == again["missing"]["outcome"] == "skipped"
    found = recorded(two, "hw")
    assert {who: one["score"] for who, one in found.items()} == {"broken": 2, "missing": 2, "whole": 4}
    asked = {who: one["notebooks"]["more"]["grades"]["test_double"][3] for who, one in found.items()}
    assert asked == {"broken": True, "missing": False, "whole": False}
    said = run_graders(two, "regrade", "hw")
    assert "Judged by what is stored: 3 submissions." in said and "Graded only in part: 1 submission;" in said
    folder = two / "submitted" / "broken" / "hw"
    shutil.copy(folder / "hw.ipynb", folder / "more.ipynb")
    said, _ = autograde(two, "hw")
    assert "hw: 1 graded, 2 graded before" in said
    assert recorded(two, "hw")["broken"]["score"] == 4


def test_nbgrader_tells_it_as_well(two: Path) -> None:
    done = subprocess.run(
        nbgrader_command("autograde", "hw"),
        cwd=two,
        env={**os.environ, **own_programs()},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert "Graded only in part: submitted/broken/hw. The log says why." in done.stderr
    assert {who: one["score"] for who, one in recorded(two, "hw").items()} == {
        "broken": 2,
        "missing": 2,
        "whole": 4,
    }
