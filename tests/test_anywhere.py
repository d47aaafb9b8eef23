"""The course outside of this folder: as a wheel, in Colab and on Kaggle, in a container."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from packaging.requirements import Requirement

from course.explorers import modules
from graders.notebooks import open_anywhere

ROOT = Path(__file__).resolve().parent.parent
# What a place that has Jupyter of its own may lack.
ABSENT = (
    "jupyterlab",
    "nbgrader",
    "jupyter_server",
    "nbclient",
    "nbconvert",
    "nbformat",
    "typer",
    "playwright",
)
FROM_THE_WHEEL = f"""
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
sys.path.insert(0, sys.argv[1])
import torch
import course, graders
assert course.__file__.startswith(sys.argv[1]) and graders.__file__.startswith(sys.argv[1])
from course.explorers.day33 import valley_explorer
from course.study import dialogue, flashcards, listen, quiz, summary
from course.experiments import day26
from course.figures import day26 as figures
from graders import check, evaluate

assert len(valley_explorer()._esm) > 50_000
for aid in (dialogue, flashcards, listen, quiz, summary):
    assert repr(aid("day26"))

def standardize(x, eps=1e-5):
    return (x - x.mean(0)) / torch.sqrt(x.var(0, correction=0) + eps)

verdict = evaluate("standardize", standardize)
assert verdict.passed, verdict.message
print(repr(check(standardize)))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel that `make wheel` builds."""
    folder = tmp_path_factory.mktemp("dist")
    command = [
        "pip",
        "wheel",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--wheel-dir",
        str(folder),
    ]
    assert " ".join(command[:5]) in (ROOT / "Makefile").read_text(encoding="utf-8")
    subprocess.run([sys.executable, "-m", *command, str(ROOT)], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_all_that_modules_read(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    read = [path for path in modules.FOLDER.rglob("*") if path.suffix in (".js", ".css")]
    read += [
        path for path in (ROOT / "course" / "study").rglob("*") if path.suffix in (".js", ".css", ".toml")
    ]
    read += [path for path in (ROOT / "course" / "site").rglob("*") if path.suffix in (".js", ".css", ".j2")]
    read += [path for path in (ROOT / "graders").rglob("*") if path.suffix in (".toml", ".safetensors")]
    assert {path.relative_to(ROOT).as_posix() for path in read} <= names
    assert not any(name.startswith(("tests/", "solutions/", "exercises/", "benchmarks/")) for name in names)


def test_the_wheel_works_without_jupyterlab_and_nbgrader(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "unpacked")
    command = [sys.executable, "-c", FROM_THE_WHEEL, str(tmp_path / "unpacked")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\d\n", done.stdout)


# ---------------------------------------------------------------------------- the first cell of a notebook


def first_cells() -> list:
    """(path, the first code cell's source) of every notebook with code."""
    found = []
    for pattern in ("course/*.ipynb", "solutions/*/*.ipynb", "exercises/*/*.ipynb"):
        for path in sorted(ROOT.glob(pattern)):
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
            if code:
                found.append(pytest.param(path, code[0], id=path.relative_to(ROOT).as_posix()))
    return found


@pytest.fixture(scope="module")
def shell():
    """An IPython whose %pip writes down what it is asked for, with its variables filled in."""
    shell = InteractiveShell()
    shell.asked = []
    shell.register_magic_function(shell.asked.append, magic_name="pip")
    yield shell
    InteractiveShell.clear_instance()


def run(source: str, shell, monkeypatch, present: bool) -> list[str]:
    """What a cell asks of %pip, with the course installed or not."""
    shell.asked.clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if present else None)
    shell.run_cell(source).raise_error()
    return list(shell.asked)


@pytest.mark.parametrize(("path", "source"), first_cells())
def test_the_first_cell_brings_the_course_along_and_is_silent_elsewhere(path, source, shell, monkeypatch):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert run(source, shell, monkeypatch, present=True) == []
    (asked,) = run(source, shell, monkeypatch, present=False)
    command, _, what = asked.partition(' "')
    assert command == "install --quiet"
    requirement = Requirement(what.rstrip('"'))
    assert requirement.name == project["name"]
    assert requirement.extras == {"lectures"} <= project["optional-dependencies"].keys()
    assert requirement.url == f"git+{project['urls']['Repository']}@v{project['version']}"


def test_a_notebook_without_code_or_of_somebody_else_stays_as_it_is(tmp_path):
    notebook = new_notebook(cells=[new_code_cell("x = 1")])
    assert open_anywhere(notebook, tmp_path / "course" / "mine.ipynb").cells[0].source == "x = 1"
    words = new_notebook(cells=[new_markdown_cell("only words")])
    assert len(open_anywhere(words, ROOT / "course" / "glossary.ipynb").cells) == 1


# ---------------------------------------------------------------------------- containers


def test_container_files_name_what_is_there():
    docker = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "-c constraints.txt -e '.[course]'" in docker
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert not {"course", "graders", "solutions", "exercises", "constraints.txt", "pyproject.toml"} & set(
        ignored
    )
    text = (ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8")
    container = json.loads(re.sub(r"^//.*$", "", text, flags=re.M))
    assert container["onCreateCommand"].endswith("make setup")
