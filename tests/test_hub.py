"""A class on a JupyterHub: fetched, checked, handed in, graded, fed back, each in a server of their own."""

from __future__ import annotations

import os
import sys
import time
import urllib.error
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests import hub as hubs
from tests.courses import ROOT, recorded, solution_code
from tests.hub import COURSE_ID, INSTRUCTOR, Hub
from tests.test_nbgrader import MISTAKEN

DAY, EXERCISE = "day26", "batch_norm_forward"
MISTAKEN_CODE, _, LEFT = MISTAKEN[EXERCISE]
ANSWERS = {"ann": solution_code(DAY)[EXERCISE], "bob": MISTAKEN_CODE}

pytestmark = [
    # It starts a hub and three servers, and waits for each: minutes, and longer on a busy machine.
    pytest.mark.skipif(not os.environ.get("TEST_HUB"), reason="only where TEST_HUB=1 asks for it"),
    pytest.mark.skipif(sys.platform != "linux", reason="the jail of a student's server is Linux's"),
    pytest.mark.skipif(sys.platform == "linux" and bool(why := hubs.missing()), reason=str(why)),
]


@pytest.fixture(scope="module", params=["a folder", "ngshare"])
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub whose exchange is a folder, or ngshare."""
    ngshare = hubs.ngshare() if request.param == "ngshare" else None
    if request.param == "ngshare" and not ngshare:
        pytest.skip("only where TEST_NGSHARE names an environment with ngshare")
    with hubs.hub(tmp_path_factory.mktemp("hub") / "hub", sorted(ANSWERS), ngshare) as started:
        course = started.home(INSTRUCTOR) / "course"
        (course / "solutions" / DAY).mkdir(parents=True)
        for path in ("nbgrader_config.py", f"solutions/{DAY}/{DAY}.ipynb"):
            (course / path).write_bytes((ROOT / path).read_bytes())
        started.start(INSTRUCTOR, *ANSWERS)
        yield started


def as_instructor(hub: Hub, *commands: str) -> str:
    """Run commands in the course folder, in the instructor's own server; returns what the last one said."""
    setup = (
        "import os, subprocess; os.chdir('course')\n"
        "def run(command):\n"
        "    done = subprocess.run(command, shell=True, capture_output=True, text=True)\n"
        "    print(done.returncode, done.stdout, done.stderr)"
    )
    _, *said = hub.run(INSTRUCTOR, [setup, *(f"run({command!r})" for command in commands)])
    for command, text in zip(commands, said, strict=True):
        assert text.startswith("0 "), (command, text)
    return said[-1]


def of_assignment(hub: Hub, student: str, what: str) -> object:
    """What nbgrader's page of assignments does in a student's server."""
    asked = urlencode({"course_id": COURSE_ID, "assignment_id": DAY})
    answer = hub.of(student, "POST", f"/assignments/{what}?{asked}")
    assert answer["success"], answer
    return answer["value"]


def _name_of(cell: dict[str, Any]) -> str | None:
    return cell["metadata"].get("nbgrader", {}).get("grade_id")


@pytest.fixture(scope="module")
def worked(hub: Hub) -> dict[str, str]:
    """What the check of the exercise showed each student, when the day was fetched and worked on."""
    as_instructor(hub, f"nbgrader generate_assignment {DAY}", f"nbgrader release_assignment {DAY}")
    shown = {}
    for student, code in ANSWERS.items():
        of_assignment(hub, student, "fetch")
        path = f"/api/contents/{DAY}/{DAY}.ipynb"
        notebook = hub.of(student, "GET", path)["content"]
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        (answer,) = [cell for cell in cells if _name_of(cell) == EXERCISE]
        (check,) = [cell for cell in cells if f"check({EXERCISE})" in cell["source"]]
        answer["source"] = code.strip()
        hub.of(student, "PUT", path, {"type": "notebook", "format": "json", "content": notebook})
        before = [cell["source"] for cell in cells[: cells.index(answer) + 1]]
        shown[student] = hub.run(student, [*before, f"print({check['source']})"])[-1]
    return shown


@pytest.fixture(scope="module")
def graded(hub: Hub, worked: dict[str, str]) -> Path:
    """The course folder, when all was handed in, graded and fed back."""
    for student in ANSWERS:
        of_assignment(hub, student, "submit")
    said = as_instructor(
        hub,
        f"nbgrader collect {DAY}",
        f"{sys.executable} -m graders autograde {DAY} --workers 1",
        f"nbgrader generate_feedback {DAY}",
        f"nbgrader release_feedback {DAY}",
    )
    assert said
    return hub.home(INSTRUCTOR) / "course"


def test_check_in_each_ones_server(worked: dict[str, str]) -> None:
    assert "4 of 4" in worked["ann"]
    assert "outside the root" in worked["bob"] and f"{LEFT:g} of 4" in worked["bob"]


def test_grades_are_each_ones(graded: Path) -> None:
    assert {student: one["score"] for student, one in recorded(graded, DAY).items()} == {
        "ann": 4,
        "bob": LEFT,
    }


def test_feedback_comes_back_to_whom_it_is_for(hub: Hub, graded: Path) -> None:
    pages = {}
    for student in ANSWERS:
        of_assignment(hub, student, "fetch_feedback")
        (page,) = hub.home(student).glob(f"{DAY}/feedback/*/{DAY}.html")
        pages[student] = unescape(page.read_text(encoding="utf-8"))
    told = "added to the standard deviation"
    assert told in pages["bob"] and told not in pages["ann"]
    lies_in_exchange = any((hub.folder / "exchange").iterdir())
    assert lies_in_exchange != (hub.folder / "ngshare").exists()


def test_nobody_reaches_anybody_elses_server_or_home(hub: Hub) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        hub.ask("GET", "/user/bob/api/contents", token=hub.tokens["ann"])
    assert refused.value.code in (403, 404)
    (seen,) = hub.run("ann", ["import os; print(sorted(os.listdir('..')))"])
    assert seen.strip() == "['ann']"


def test_student_in_a_container_has_the_name_that_the_hub_gives(hub: Hub) -> None:
    """Nbgrader asks the hub only where the system's user is called jovyan, as the image's is."""
    asked = "import os, pwd; from nbgrader.utils import get_username"
    said = hub.run("bob", [asked, "print(pwd.getpwuid(os.getuid()).pw_name, get_username())"])
    assert said[-1].strip() == "jovyan bob"
    assert "useradd --create-home --uid 1000 jovyan" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_nothing_is_left_of_a_hub_that_has_ended(tmp_path: Path) -> None:
    """Neither servers nor their kernels, in a jail or not."""
    with hubs.hub(tmp_path / "hub", ["ann"]) as hub:
        hub.start(INSTRUCTOR, "ann")
        for user in (INSTRUCTOR, "ann"):
            hub.of(user, "POST", "/api/kernels", {"name": "python3", "path": ""})
        at_work = list(hub.processes().values())
        for what in ("jupyterhub-singleuser", "ipykernel", "configurable-http-proxy", "bwrap"):
            assert any(what in one for one in at_work), (what, at_work)
        hub.end()
        assert hub.process.returncode == 0
        end = time.monotonic() + 30
        while (left := hub.processes()) and time.monotonic() < end:
            time.sleep(0.2)
        assert not left
