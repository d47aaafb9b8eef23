"""The notebooks' one normal form, and what authors do with notebooks.

    python -m graders.notebooks normalize FILE...     write files in normal form
    python -m graders.notebooks execute FILE...       run lectures, store their outputs
    python -m graders.notebooks trust FILE...         let JupyterLab show stored HTML
    python -m graders.notebooks release FOLDER        write FOLDER/dayNN from solutions/dayNN

In normal form a notebook differs from another only where its content does: no execution counts,
no versions, no editor or widget state, readable cell ids, one order of keys. Nothing that judges
imports this module; it is the only one of the package that needs Jupyter.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor

METADATA = {
    # Without `language`, nbgrader cannot choose the stub that takes a solution's place.
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# `deletable` and `editable` are how nbgrader locks the cells that a student must not lose. The last is how
# JupyterLab keeps a section folded until it is asked for.
CELL_METADATA = {"tags", "nbgrader", "deletable", "editable", "jp-MarkdownHeadingCollapsed"}
IMAGE_METADATA = {"width", "height"}
WIDGET = "application/vnd.jupyter.widget-view+json"

ROOT = Path(__file__).resolve().parent.parent
#: What the notebooks of each folder import.
NEEDS = {"course": "course", "solutions": "graders", "exercises": "graders"}
OPENING_ID = "open-anywhere"
OPENING = """\
# Where the course is not installed, as in Colab and on Kaggle, this brings it along.
from importlib.util import find_spec

if find_spec("{needs}") is None:
    where = "git+{address}@v{version}"
    %pip install --quiet "{name}[lectures] @ {{where}}\""""

READABLE_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
# What nbformat (8 hexadecimal digits) and JupyterLab (a UUID) make up.
RANDOM_ID = re.compile(r"(?=.*[0-9])[0-9a-f]{8}(-[0-9a-f]{4}){0,3}(-[0-9a-f]{12})?")
LONGEST_ID = 64  # nbformat's limit


# ---------------------------------------------------------------------------- the normal form


def normalize(notebook: NotebookNode, *, outputs: bool = True) -> NotebookNode:
    """Return a copy of `notebook` in normal form, with its outputs or without any."""
    kept = list(notebook.cells)
    while kept and _is_empty(kept[-1]):
        kept.pop()

    # A readable id stays; only then do the others get theirs, out of what is left.
    taken = {cell.get("id") for cell in kept if is_readable(cell.get("id"))}
    seen: set[str] = set()
    normal = []
    for number, cell in enumerate(kept, start=1):
        identifier = cell.get("id")
        if not is_readable(identifier) or identifier in seen:
            identifier = _free(_describe(cell) or f"cell-{number}", taken | seen)
        seen.add(identifier)
        normal.append(_cell(cell, identifier, outputs))
    return nbformat.from_dict({"cells": normal, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5})


def dumps(notebook: NotebookNode) -> str:
    """Return the text of a notebook file: one order of keys, one newline at the end."""
    return nbformat.v4.writes(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def read(path: str | Path) -> NotebookNode:
    """Read a notebook, whatever its version, as version 4."""
    return nbformat.read(path, as_version=4)


def normal_text(path: str | Path) -> str:
    """Return what the file at `path` should hold."""
    return dumps(normalize(open_anywhere(read(path), path), outputs=keeps_outputs(path)))


def open_anywhere(notebook: NotebookNode, path: str | Path) -> NotebookNode:
    """Give a notebook of this project the first code cell with which it runs where nothing is installed.

    What it installs, at which version and from where stands in pyproject.toml. Other notebooks, and those
    without code, stay as they are.
    """
    place = Path(path).resolve()
    if ROOT not in place.parents or place.relative_to(ROOT).parts[0] not in NEEDS:
        return notebook
    kind = place.relative_to(ROOT).parts[0]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if not code:
        return notebook
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    source = OPENING.format(
        needs=NEEDS[kind],
        name=project["name"],
        address=project["urls"]["Repository"],
        version=project["version"],
    )
    if code[0].get("id") != OPENING_ID:
        opening = nbformat.v4.new_code_cell(id=OPENING_ID)
        if kind != "course":
            locked = {"grade": False, "locked": True, "schema_version": 3, "solution": False, "task": False}
            opening.metadata["nbgrader"] = {"grade_id": OPENING_ID} | locked
        notebook.cells.insert(notebook.cells.index(code[0]), opening)
        code.insert(0, opening)
    code[0].source = source
    return notebook


def keeps_outputs(path: str | Path) -> bool:
    """Lectures are stored with their outputs, solutions and exercises without."""
    return Path(path).absolute().parent.name == "course"


def is_readable(identifier: str | None) -> bool:
    """Whether a cell id says something: lowercase words with hyphens, not random digits."""
    return bool(
        identifier
        and len(identifier) <= LONGEST_ID
        and READABLE_ID.fullmatch(identifier)
        and not RANDOM_ID.fullmatch(identifier)
    )


def _is_empty(cell: NotebookNode) -> bool:
    return not (cell.source.strip() or cell.metadata.get("nbgrader") or cell.get("attachments"))


def _source(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip()


def _describe(cell: NotebookNode) -> str:
    """A readable id from what an author wrote: nbgrader's id, else the first words."""
    words = cell.metadata.get("nbgrader", {}).get("grade_id", "")
    if not words:
        lines = [line for line in cell.source.split("\n") if line.strip()]
        words = " ".join(re.findall(r"[A-Za-z0-9]+", lines[0])[:6]) if lines else ""
    slug = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[: LONGEST_ID - 8].strip("-")
    return slug if is_readable(slug) else ""


def _free(identifier: str, taken: set[str]) -> str:
    number, candidate = 1, identifier
    while candidate in taken:
        number += 1
        candidate = f"{identifier}-{number}"
    return candidate


def _cell(cell: NotebookNode, identifier: str, outputs: bool) -> dict:
    metadata = {key: value for key, value in cell.metadata.items() if key in CELL_METADATA}
    if cell.metadata.get("jupyter", {}).get("source_hidden"):  # on a page that is no place for code
        metadata["jupyter"] = {"source_hidden": True}
    if not metadata.get("tags", True):
        del metadata["tags"]
    normal = {
        "cell_type": cell.cell_type,
        "id": identifier,
        "metadata": metadata,
        "source": _source(cell.source),
    }
    if cell.get("attachments"):
        normal["attachments"] = cell.attachments
    if cell.cell_type == "code":
        normal["execution_count"] = None
        normal["outputs"] = _outputs(cell.outputs) if outputs else []
    return normal


def _outputs(outputs: list[NotebookNode]) -> list[dict]:
    kept: list[dict] = []
    for output in outputs:
        output = dict(output)
        if output["output_type"] == "stream":
            # How a stream is cut into messages depends on timing.
            if kept and kept[-1]["output_type"] == "stream" and kept[-1]["name"] == output["name"]:
                kept[-1]["text"] += output["text"]
                continue
        elif "data" in output:
            data = dict(output["data"])
            # Beside a widget's view, its text is a repr of its state: nobody reads that either.
            if data.pop(WIDGET, None) is not None and set(data) <= {"text/plain"}:
                continue
            output["data"] = data
            output["metadata"] = {
                mime: size
                for mime, values in output.get("metadata", {}).items()
                if mime in data
                and isinstance(values, dict)
                and (size := {k: v for k, v in values.items() if k in IMAGE_METADATA})
            }
        if "execution_count" in output:
            output["execution_count"] = None
        output.pop("transient", None)
        kept.append(output)
    return kept


# ---------------------------------------------------------------------------- in nbgrader


class NormalForm(NbGraderPreprocessor):
    """Puts what nbgrader releases into normal form (see nbgrader_config.py)."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Normalize a notebook on its way through nbconvert."""
        return normalize(nb, outputs=False), resources


def release(target: str | Path, root: str | Path = ".") -> list[Path]:
    """Write what students get from `root`/solutions to `target`, by nbgrader's own means.

    No gradebook is opened or left behind. Returns the written folders, one a day.
    """
    from nbgrader.converters import GenerateAssignment
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import PyFileConfigLoader

    root, target = Path(root).absolute(), Path(target).absolute()
    written = []
    with tempfile.TemporaryDirectory() as folder:
        config = PyFileConfigLoader("nbgrader_config.py", path=str(root)).load_config()
        config.CourseDirectory.root = folder
        # What `nbgrader generate_assignment --no-db` sets.
        config.SaveCells.enabled = False
        config.GenerateAssignment.no_database = True
        shutil.copytree(
            root / "solutions",
            Path(folder, "solutions"),
            ignore=shutil.ignore_patterns(".*", "__pycache__"),
        )
        for source in sorted(Path(folder, "solutions").iterdir()):
            config.CourseDirectory.assignment_id = source.name
            generate = GenerateAssignment(
                coursedir=CourseDirectory(config=config), config=config, log=_quiet()
            )
            generate.start()
            shutil.rmtree(target / source.name, ignore_errors=True)
            shutil.copytree(Path(folder, "exercises", source.name), target / source.name)
            written.append(target / source.name)
    return written


def _quiet():
    import logging

    log = logging.getLogger("graders.notebooks.release")
    log.setLevel(logging.WARNING)
    return log


# ---------------------------------------------------------------------------- what authors do


def execute(path: str | Path, timeout: int = 600) -> None:
    """Run a notebook in its folder and store it with its outputs, in normal form.

    Raises nbclient's CellExecutionError where a cell fails; the file is then as it was.
    """
    from nbclient import NotebookClient

    notebook = open_anywhere(read(path), path)
    NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        resources={"metadata": {"path": str(Path(path).absolute().parent)}},
    ).execute()
    _write(path, dumps(normalize(notebook)))


def trust(paths: list[str]) -> None:
    """Sign notebooks, so that JupyterLab shows the HTML that is stored in them."""
    from nbformat.sign import NotebookNotary

    notary = NotebookNotary()
    for path in paths:
        notary.sign(read(path))


def _write(path: str | Path, text: str) -> bool:
    """Write a file that would change; its time stays where nothing does."""
    path = Path(path)
    if path.read_text(encoding="utf-8") == text:
        return False
    path.write_text(text, encoding="utf-8", newline="\n")
    return True


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m graders.notebooks")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help_text in (
        ("normalize", "write notebooks in normal form"),
        ("execute", "run notebooks and store their outputs"),
        ("trust", "let JupyterLab show the HTML stored in notebooks"),
    ):
        command = commands.add_parser(name, help=help_text)
        command.add_argument("files", nargs="+", metavar="FILE")
    command = commands.add_parser("release", help="generate what students get from solutions/")
    command.add_argument("folder", metavar="FOLDER")
    options = parser.parse_args(arguments)

    if options.command == "release":
        for folder in release(options.folder):
            print(f"wrote {os.path.relpath(folder)}")
    elif options.command == "trust":
        trust(options.files)
    elif options.command == "normalize":
        for path in options.files:
            if _write(path, normal_text(path)):
                print(f"normalized {path}")
    else:
        from nbclient.exceptions import CellExecutionError

        for path in options.files:
            print(f"running {path}", flush=True)
            try:
                execute(path)
            except CellExecutionError as error:
                print(f"{path} is left as it was: a cell failed.\n{error}", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
