"""The notebooks' normal form, and that exercises/ is what solutions/ generates."""

import json
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from graders.notebooks import (
    METADATA,
    WIDGET,
    dumps,
    is_readable,
    normal_text,
    normalize,
    read,
    release,
    trust,
)

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(
    path
    for pattern in ("course/*.ipynb", "solutions/*/*.ipynb", "exercises/*/*.ipynb")
    for path in ROOT.glob(pattern)
)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_is_in_normal_form(path):
    assert path.read_text(encoding="utf-8") == normal_text(path), "run: make format"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_cell_ids_are_readable_and_unique(path):
    ids = [cell["id"] for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    assert [identifier for identifier in ids if not is_readable(identifier)] == []
    assert len(ids) == len(set(ids))


def test_exercises_are_what_solutions_generate(tmp_path):
    release(tmp_path, ROOT)
    assert files(tmp_path) == files(ROOT / "exercises"), "run: make exercises"


def files(folder: Path) -> dict[str, bytes]:
    """What a folder holds, but for what Jupyter and Python leave in it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {".ipynb_checkpoints", "__pycache__"} & set(path.parts)
    }


# ------------------------------------------------------------------ the release, by a small course

SOLUTION = "def f(x):\n    ### BEGIN SOLUTION\n    return x\n    ### END SOLUTION"
TEST = "assert f(1) == 1\n\n### BEGIN HIDDEN TESTS\nassert f(2) == 2\n### END HIDDEN TESTS"


def graded(source: str, grade_id: str, **flags) -> nbformat.NotebookNode:
    flags = {"grade": False, "locked": False, "solution": False, "task": False} | flags
    metadata = {"nbgrader": {"grade_id": grade_id, "schema_version": 3} | flags}
    return new_code_cell(source, metadata=metadata)


@pytest.fixture
def small_course(tmp_path) -> Path:
    cells = [
        new_markdown_cell("# A day"),
        graded(SOLUTION, "f", solution=True),
        graded(TEST, "check_f", grade=True, locked=True, points=1),
    ]
    folder = tmp_path / "course" / "solutions" / "day1"
    folder.mkdir(parents=True)
    (folder / "day1.ipynb").write_text(dumps(normalize(new_notebook(cells=cells))))
    config = (ROOT / "nbgrader_config.py").read_text(encoding="utf-8")
    (tmp_path / "course" / "nbgrader_config.py").write_text(config)
    return tmp_path / "course"


def test_release_has_stubs_locks_and_valid_checksums(small_course, tmp_path):
    from nbgrader.utils import compute_checksum

    release(tmp_path / "out", small_course)
    path = tmp_path / "out" / "day1" / "day1.ipynb"
    _, solution, check = read(path).cells
    assert solution.source == "def f(x):\n    # YOUR CODE HERE\n    raise NotImplementedError()"
    assert check.source == "assert f(1) == 1"
    assert check.metadata.editable is False
    assert [cell.id for cell in (solution, check)] == ["f", "check-f"]
    for cell in (solution, check):
        assert cell.metadata.nbgrader.checksum == compute_checksum(cell)
    assert path.read_text(encoding="utf-8") == normal_text(path)
    assert not list(tmp_path.rglob("gradebook.db*"))


def test_stock_command_writes_the_same(small_course, tmp_path):
    import os
    import subprocess

    release(tmp_path / "out", small_course)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(
        [sys.executable, "-m", "nbgrader", "generate_assignment", "day1"],
        cwd=small_course,
        env=os.environ | {"PATH": path},
        check=True,
        capture_output=True,
    )
    assert files(small_course / "exercises") == files(tmp_path / "out")


# ---------------------------------------------------------------------------- normalize


def untidy() -> nbformat.NotebookNode:
    """A notebook as an editor leaves it."""
    widget = {WIDGET: {"model_id": "1"}, "text/plain": "IntSlider(value=3)"}
    picture = {"image/png": "aGk=", "text/plain": "<Figure>"}
    metadata = {"image/png": {"width": 3, "needs_background": "light"}, "text/plain": {"a": 1}}
    outputs = [
        new_output("stream", name="stdout", text="a"),
        new_output("stream", name="stdout", text="b"),
        new_output("stream", name="stderr", text="c"),
        new_output("display_data", data=widget),
        new_output("display_data", data=widget | {"text/html": "<b>"}),
        new_output("execute_result", data=picture, metadata=metadata, execution_count=4),
    ]
    code = new_code_cell("x = 1  \n\n", execution_count=4, outputs=outputs)
    code.metadata = {"tags": ["keep"], "execution": {"iopub": "now"}, "collapsed": True}
    title = new_markdown_cell("# A title, here", attachments={"a.png": {"image/png": "aGk="}})
    cells = [title, code, new_markdown_cell("# A title, here"), new_code_cell(" \n")]
    cells[1].id = "kept-id"
    extra = {
        "widgets": {"state": {}},
        "vscode": {},
        "kernelspec": {"name": "other", "display_name": "Mine"},
    }
    return new_notebook(cells=cells, metadata=extra)


def test_normalize_keeps_content_and_nothing_else():
    title, code, again = normalize(untidy()).cells
    assert (title.id, code.id, again.id) == ("a-title-here", "kept-id", "a-title-here-2")
    assert title.attachments == {"a.png": {"image/png": "aGk="}}
    assert code.source == "x = 1"
    assert code.execution_count is None
    assert code.metadata == {"tags": ["keep"]}
    stdout, stderr, html, picture = code.outputs
    assert (stdout.text, stderr.text) == ("ab", "c")
    assert set(html.data) == {"text/html", "text/plain"}
    assert picture.execution_count is None
    assert picture.metadata == {"image/png": {"width": 3}}
    assert normalize(untidy()).metadata == METADATA


def test_normalize_drops_outputs_where_asked():
    assert normalize(untidy(), outputs=False).cells[1].outputs == []


def test_normalize_leaves_its_argument_alone():
    notebook = untidy()
    before = json.dumps(notebook)
    normalize(notebook)
    assert json.dumps(notebook) == before


def test_normal_form_is_valid_and_stable_to_the_byte():
    once = dumps(normalize(untidy()))
    notebook = nbformat.reads(once, as_version=4)
    nbformat.validate(notebook)
    assert dumps(normalize(notebook)) == once
    assert once.endswith("}\n")


@pytest.mark.filterwarnings("ignore::nbformat.warnings.DuplicateCellId")
def test_repeated_ids_become_different_ones():
    cells = [new_markdown_cell("one", id="same"), new_markdown_cell("two", id="same")]
    ids = [cell.id for cell in normalize(new_notebook(cells=cells)).cells]
    assert ids == ["same", "two"]


@pytest.mark.parametrize("identifier", ["step-1", "title", "day-26-setup", "defaced"])
def test_readable(identifier):
    assert is_readable(identifier)


@pytest.mark.parametrize(
    "identifier", [None, "", "Upper", "a_b", "1b2c3d4e", "0f8fad5b-d9cb-469f-a165-70867728950e"]
)
def test_not_readable(identifier):
    assert not is_readable(identifier)


def test_trust_signs(tmp_path, monkeypatch):
    from nbformat.sign import NotebookNotary

    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    path = tmp_path / "a.ipynb"
    path.write_text(dumps(normalize(untidy())), encoding="utf-8")
    assert not NotebookNotary().check_signature(read(path))
    trust([str(path)])
    assert NotebookNotary().check_signature(read(path))
