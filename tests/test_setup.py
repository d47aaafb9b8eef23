"""One set of packages in every file that names packages, and a set-up that is not done twice."""

import os
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests import pieces

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DEPENDENCIES = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
REQUIREMENTS = [
    pytest.param(Requirement(line), id=f"{extra}:{line}" if extra else line)
    for extra, lines in DEPENDENCIES.items()
    for line in lines
    if Requirement(line).name != PROJECT["name"]  # an extra that holds another one
]
CONSTRAINTS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
PINS = {canonicalize_name(pin.name): pin for pin in CONSTRAINTS}


def pinned(name: str) -> Version:
    (specifier,) = PINS[canonicalize_name(name)].specifier
    return Version(specifier.version)


@pytest.mark.parametrize("requirement", REQUIREMENTS)
def test_dependency_is_pinned_within_its_range(requirement):
    assert canonicalize_name(requirement.name) in PINS
    assert requirement.specifier.contains(pinned(requirement.name))


@pytest.mark.parametrize("pin", CONSTRAINTS, ids=str)
def test_pin_is_exact_and_is_what_is_installed(pin):
    assert [specifier.operator for specifier in pin.specifier] == ["=="]
    if pin.marker is None or pin.marker.evaluate():
        installed = Version(metadata.version(pin.name))
        assert installed.public == str(pinned(pin.name))


def test_no_package_is_pinned_twice():
    assert len(PINS) == len(CONSTRAINTS)


def test_everything_installed_for_the_course_is_pinned():
    found, left = set(), [Requirement(line) for lines in DEPENDENCIES.values() for line in lines]
    while left:
        requirement = left.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in found:
            continue
        found.add(key)
        for line in metadata.requires(requirement.name) or []:
            needed = Requirement(line)
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras):
                left.append(needed)
    # PyTorch pins what it brings for a GPU itself.
    for_gpu = ("nvidia-", "cuda-", "triton")
    missing = {name for name, _ in found if not name.startswith(for_gpu)} - PINS.keys() - {PROJECT["name"]}
    assert missing == set()


def test_environment_adds_nothing_but_python_and_pip():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, packages = environment["dependencies"]
    name, _, version = python.partition("=")
    assert (name, pip) == ("python", "pip")
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(version)
    extras = ",".join(extra for extra in PROJECT["optional-dependencies"] if extra != "lectures")
    assert packages == {"pip": ["-c constraints.txt", f"-e .[{extras}]"]}
    assert environment["channels"] == ["conda-forge", "nodefaults"]


def test_continuous_integration_runs_make_test_and_else_only_installs():
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert lines[-1] == "make test"
    # A line begins with what it does; what is not named here, a user may not have.
    known = ("#", "set -euo", "cd ", "missing=", "command -v", "python3 -c 'import", "if ", "fi")
    known += ("sudo=()", "[ ", '"${sudo[@]}" ', "apt-get install ", "make test")
    assert [line for line in lines if line.strip() and not line.strip().startswith(known)] == []
    installing = [line for line in lines if "apt-get install" in line or "pip install" in line]
    assert len(installing) == 1 and '"${missing[@]}"' in installing[0]


# ---------------------------------------------------------------------------- the Makefile


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A folder with what set-up reads."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def installed(folder: Path) -> Path:
    """Pretend that set-up was done."""
    stamp = folder / ".venv" / ".installed"
    stamp.parent.mkdir()
    stamp.write_text(f"{folder}/.venv\n")
    return stamp


def test_first_start_installs_with_the_constraints(checkout):
    planned = make(checkout, "-n", "lab").stdout
    assert "pip install" in planned
    assert "-c constraints.txt -e '.[course,test]'" in planned


def test_second_start_installs_nothing(checkout):
    installed(checkout)
    planned = make(checkout, "-n", "lab").stdout
    assert "jupyter-lab" in planned
    assert "pip install" not in planned


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_changed_packages_are_installed(checkout, name):
    stamp = installed(checkout)
    os.utime(stamp, (1, 1))
    os.utime(checkout / "pyproject.toml", (0, 0))
    os.utime(checkout / "constraints.txt", (0, 0))
    assert "pip install" not in make(checkout, "-n", "lab").stdout
    os.utime(checkout / name, (2, 2))
    assert "pip install" in make(checkout, "-n", "lab").stdout


def test_moved_folder_is_set_up_anew(checkout):
    installed(checkout).write_text("/elsewhere/.venv\n")
    assert "pip install" in make(checkout, "-n", "lab").stdout


def test_failed_installation_is_not_taken_for_done(checkout):
    stamp = installed(checkout)
    (checkout / "constraints.txt").write_text("not a requirement\n")
    os.utime(stamp, (1, 1))
    python = checkout / "python"
    python.write_text(f'#!/bin/sh\ncase "$1" in -m) exit 1;; esac\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    assert make(checkout, "setup", f"PYTHON={python}").returncode != 0
    assert not stamp.exists()


@pytest.mark.parametrize("python", ["/nonexistent/python", "false"])
def test_missing_or_old_python_is_said_in_a_sentence(checkout, python):
    failed = make(checkout, "lab", f"PYTHON={python}")
    assert failed.returncode != 0
    assert "Python 3.11.5 or newer" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize(
    ("system", "says"),
    [
        (
            'platform.mac_ver = lambda: ("13.7", (), "")',
            "The course needs macOS 14 or newer, as PyTorch does.",
        ),
        (
            'platform.system, platform.machine = lambda: "Darwin", lambda: "x86_64"',
            "The course needs a Mac with Apple silicon",
        ),
    ],
    ids=["old", "Intel"],
)
def test_another_mac_is_said_in_a_sentence(checkout, system, says):
    python = checkout / "python"
    other = f"import platform; {system}; ".replace('"', '\\"')
    python.write_text(
        f'#!/bin/sh\ncase "$2" in *"import platform"*) exec {sys.executable} -c "{other}$2";; esac\n'
        f'exec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    failed = make(checkout, "lab", f"PYTHON={python}")
    assert failed.returncode != 0
    assert failed.stderr.startswith(says)


# ---------------------------------------------------------------------------- the processes of make test


def test_make_test_gives_a_file_to_one_process(checkout):
    installed(checkout)
    planned = make(checkout, "-n", "test", "WORKERS=2").stdout
    assert "-n 2 --dist loadscope --no-loadscope-reorder" in planned


@pytest.mark.parametrize(
    ("nodeid", "expected"),
    [
        ("tests/test_batch.py::test_scores", "tests/test_batch.py"),
        ("tests/browser/test_lab.py::test_validate", "tests/browser"),
        ("tests/browser/test_lectures.py::test_lecture[day28]", "tests/browser/test_lectures.py"),
        ("tests/site/test_start.py::test_it", "tests/site"),
        ("course/day26_x.ipynb::Cell 3", "course/day26_x.ipynb"),
        ("tests/explorers/test_explorers.py::test_it[day28 channel-360]", "tests of day28"),
        ("tests/lectures/test_day28.py::test_it", "tests of day28"),
        ("tests/test_judging.py::test_on_a_gpu[dropout-cuda]", "tests/test_judging.py dropout"),
        ("tests/test_judging.py::test_imports_run_one_way", "tests/test_judging.py"),
    ],
)
def test_what_shares_something_stays_together(nodeid, expected):
    assert pieces.piece(nodeid) == expected


def test_one_process_more_than_cores_runs_the_tests_up_to_some():
    assert [pieces.workers(cores) for cores in (1, 2, 4, 64)] == [0, 3, 4, 4]


def test_what_is_named_for_the_order_of_tests_is_there():
    named = (*pieces.LONGEST, *pieces.SPREAD, *pieces.OWN_LAB)
    assert [path for path in named if not (ROOT / path).exists()] == []


# ---------------------------------------------------------------------------- the workflows

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_is_well_formed(path):
    """What GitHub demands of a workflow, and what a careful one says: who may do what, and for how long."""
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow.keys() == {"name", True, "permissions", "concurrency", "jobs"}  # YAML reads `on` as true
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60
        assert job["runs-on"] == "${{ matrix.system }}" or job["runs-on"].endswith("-latest")
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step), step
            assert "@" in step.get("uses", "@")
            assert step.keys() <= {"id", "name", "uses", "with", "run", "if", "env", "shell"}


def test_workflows_run_on_every_system_and_python_that_is_resolved():
    jobs = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))["jobs"]
    matrix = jobs["tests"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert {system.partition("-")[0] for system in matrix["system"]} == {"ubuntu", "macos", "windows"}
    commands = " ".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    assert any(system.endswith("-arm") for system in matrix["system"])
    for needed in (".ci/run", "--nbval-lax", "make resolve", "ruff check", "--resolution lowest-direct"):
        assert needed in commands
    resolved = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "for system in linux aarch64-unknown-linux-gnu macos windows" in resolved
    assert "for python in 3.11.5 3.12 3.13 3.14" in resolved


# ---------------------------------------------------------------------------- what Jupyter writes


@pytest.mark.parametrize("folder", [".jupyter/config", ".jupyter/data", ".jupyter/runtime"])
def test_jupyter_writes_inside_the_folder(checkout, folder):
    assert f"{checkout}/{folder}" in make(checkout, "-pn", "help").stdout


def test_packages_of_another_active_environment_stay_out(checkout, monkeypatch):
    monkeypatch.setenv("VIRTUAL_ENV", "/elsewhere")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere/packages")
    (checkout / "shown.mk").write_text("include Makefile\nshown:\n\t@env\n")
    shown = make(checkout, "-f", "shown.mk", "shown").stdout.splitlines()
    assert f"VIRTUAL_ENV={checkout}/.venv" in shown
    assert not [line for line in shown if line.startswith("PYTHONPATH=")]
