"""The reports of a class on a Jupyter server: beside the Formgrader's pages, and nowhere without it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from jinja2 import DictLoader, Environment
from nbgrader.api import Gradebook

from graders.classroom.records import FOLDER, SUFFIX, VERSION, Check, Record
from graders.classroom.server import ADDRESS, _enter

ROOT = Path(__file__).resolve().parent.parent
DAY, BASE, TOKEN = "day26", "/user/teacher", "test"
ODD = "a&b <i>day"
HOSTILE = "<script>alert(1)</script>"
FORMGRADER = "nbgrader.server_extensions.formgrader"
STARTUP = 120  # seconds

Answer = tuple[int, str, dict[str, str]]


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course below the server's folder, with graded work of two assignments and none of a third."""
    course = tmp_path_factory.mktemp("served") / "my course"
    (course / "course").mkdir(parents=True)
    (course / "course" / "index.ipynb").write_text("{}")
    shutil.copy(ROOT / "nbgrader_config.py", course)
    check = Check(
        "check_f", "f", "mistake", 1.0, 4.0, "m", {"key": f"{HOSTILE} is wrong."}, code=f"# {HOSTILE}"
    )
    with Gradebook(f"sqlite:///{course}/gradebook.db", "normalization-and-momentum") as book:
        book.add_student("ada", first_name="Ada", last_name="Lovelace")
        for name in (DAY, ODD, "day27"):
            book.add_assignment(name)
            book.add_notebook("nb", name)
            if name == "day27":
                continue
            book.add_submission(name, "ada")
            folder = course / "autograded" / "ada" / name
            (folder / FOLDER).mkdir(parents=True)
            (folder / "nb.ipynb").write_text("{}")
            record = {"version": VERSION, **asdict(Record("nb", "", "0", (check,)))}
            (folder / FOLDER / f"nb{SUFFIX}").write_text(json.dumps(record))
    outside = course.parent / "autograded" / "ada"
    outside.mkdir(parents=True)
    return course


@contextmanager
def server(course: Path, extensions: dict[str, bool]) -> Iterator[Callable[..., Answer]]:
    """A Jupyter server in the course's folder: `ask(path, token="test") -> status, text, headers`."""
    runtime = course.parent / f"runtime{len(list(course.parent.iterdir()))}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("JUPYTER")}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "JUPYTER_CONFIG_PATH": str(ROOT / "jupyter-config"),
        "JUPYTER_CONFIG_DIR": str(runtime / "config"),
        "JUPYTER_DATA_DIR": str(runtime / "data"),
        "JUPYTER_RUNTIME_DIR": str(runtime),
    }
    (runtime / "config").mkdir(parents=True)
    config = {"ServerApp": {"base_url": BASE, "jpserver_extensions": extensions}}
    (runtime / "config" / "jupyter_server_config.json").write_text(json.dumps(config))
    flags = [
        "--no-browser",
        "--ip=127.0.0.1",
        "--port=0",
        f"--IdentityProvider.token={TOKEN}",
        "--allow-root",
    ]
    log = runtime / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", *flags],
            cwd=course,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + STARTUP
        while True:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            with contextlib.suppress(OSError, ValueError, IndexError):
                found = next(iter(runtime.glob("jpserver-*.json")), None)
                if found and (address := json.loads(found.read_bytes())["url"].rstrip("/")):
                    urllib.request.urlopen(f"{address}/api", timeout=10).close()
                    break
            time.sleep(0.1)

        def ask(path: str, token: str = TOKEN) -> Answer:
            headers = {"Authorization": f"token {token}"} if token else {}
            try:
                answer = urllib.request.urlopen(
                    urllib.request.Request(f"{address}/{path}", headers=headers), timeout=60
                )
            except urllib.error.HTTPError as problem:
                answer = problem
            with answer:
                text = answer.read().decode()
                return answer.status, text, {key.lower(): value for key, value in answer.headers.items()}

        yield ask
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@pytest.fixture(scope="module")
def ask(course: Path) -> Iterator[Callable[..., Answer]]:
    with server(course, {}) as ask:
        yield ask


def test_every_page_of_the_formgrader_leads_to_the_reports(ask):
    entry = f'<a href="{BASE}/{ADDRESS}">Class Reports</a>'
    for page in ("manage_assignments", "gradebook", "manage_students", f"gradebook/{DAY}"):
        status, text, _ = ask(f"formgrader/{page}")
        assert status == 200 and text.count(entry) == 1, page
        assert text.count("Manage Students</a>") == 1
    own = f'<a href="{BASE}/{ADDRESS}/{DAY}">Report on {DAY}</a>'
    for page in (f"manage_submissions/{DAY}", f"gradebook/{DAY}", f"gradebook/{DAY}/nb"):
        assert own in ask(f"formgrader/{page}")[1], page
    assert "Report on" not in ask("formgrader/gradebook")[1]
    hostile = ask("formgrader/manage_submissions/%3Cscript%3E%22")[1].split("Class Reports", 1)[1]
    assert "Report on &lt;script&gt;" in hostile and "%3Cscript%3E%22" in hostile


def test_the_list_has_what_is_graded(ask):
    status, text, _ = ask(ADDRESS)
    assert status == 200
    assert f'href="{BASE}/{ADDRESS}/{DAY}"' in text and f'href="{BASE}/{ADDRESS}/{DAY}?names=no"' in text
    assert "a&amp;b &lt;i&gt;day" in text and ODD not in text
    assert "day27" not in text
    assert 'class="active"' in text and "Manage Students</a>" in text


@pytest.mark.parametrize("path", (DAY, "a%26b%20%3Ci%3Eday"))
def test_a_report_is_made_when_it_is_asked_for(ask, path):
    status, text, headers = ask(f"{ADDRESS}/{path}")
    assert status == 200
    assert "Ada Lovelace" in text and f'href="{BASE}/{ADDRESS}"' in text
    assert "<script" not in text and "&lt;script&gt;" in text
    rules = headers["content-security-policy"].split("; ")
    assert "default-src 'none'" in rules and "frame-ancestors 'self'" in rules
    assert not any("script-src" in rule for rule in rules)
    status, text, _ = ask(f"{ADDRESS}/{path}?names=no")
    assert status == 200
    assert not any(word in text for word in ("Ada", "Lovelace", "ada<"))


def test_names_lead_to_this_servers_formgrader(ask, course):
    with Gradebook(f"sqlite:///{course}/gradebook.db", "normalization-and-momentum") as book:
        (notebook,) = book.find_submission(DAY, "ada").notebooks
        id = notebook.id
    assert f'href="{BASE}/formgrader/submissions/{id}/?index=0"' in ask(f"{ADDRESS}/{DAY}")[1]


@pytest.mark.parametrize(
    ("path", "said"),
    (
        ("day99", "knows no assignment"),
        ("..%2F..", "knows no assignment"),
        ("*", "knows no assignment"),
        ("day27", "no graded work of day27"),
        ("%3Cscript%3Ealert(1)%3C%2Fscript%3E", "knows no assignment"),
    ),
)
def test_what_is_not_there_is_said_in_a_sentence(ask, path, said):
    status, text, _ = ask(f"{ADDRESS}/{path}")
    assert status == 404
    assert said in text and "alert(1)</script>" not in text
    assert f"{ADDRESS}/{DAY}" in text, "the list stands below"


def test_who_is_not_logged_in_sees_nothing(ask):
    for path in (ADDRESS, f"{ADDRESS}/{DAY}", f"{ADDRESS}/day99"):
        status, text, _ = ask(path, token="wrong")
        assert "Ada" not in text and "Class Reports" not in text and "Password" in text, status


def test_without_a_formgrader_there_are_none(course):
    """As on a student's server."""
    with server(course, {FORMGRADER: False}) as ask:
        assert ask("api/status")[0] == 200
        for path in (ADDRESS, f"{ADDRESS}/{DAY}"):
            status, text, _ = ask(path)
            assert status == 404 and "Ada" not in text


def test_without_a_gradebook_a_sentence_says_so(tmp_path):
    (tmp_path / "empty").mkdir()
    with server(tmp_path / "empty", {}) as ask:
        status, text, _ = ask(ADDRESS)
        assert status == 200 and "There is no gradebook" in text
        status, text, _ = ask(f"{ADDRESS}/{DAY}")
        assert status == 404 and "There is no gradebook" in text
        assert not (tmp_path / "empty" / "gradebook.db").exists()


def test_templates_of_another_nbgrader_stay_as_they_are():
    settings = {
        "nbgrader_jinja2_env": Environment(loader=DictLoader({"a": "{% block other %}x{% endblock %}"}))
    }
    _enter(settings)
    assert settings["nbgrader_jinja2_env"].get_template("a").render() == "x"
    _enter({})
