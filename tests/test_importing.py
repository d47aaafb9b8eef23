"""What the command leaves out of its imports, and that it is there for whoever asks for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ALONE = """
import json, sys
from graders.batch.importing import import_nbgrader

import_nbgrader()
import nbgrader
without = [name in sys.modules for name in ("jupyter_server", "nbgrader.server_extensions.formgrader")]
import nbgrader.server_extensions.formgrader as formgrader
formgrader.load_jupyter_server_extension = lambda app: without.append(app)
nbgrader.load_formgrader("the server")
print(json.dumps([*without, formgrader.__file__.endswith("formgrader/__init__.py")]))
"""
LATER = """
import json, pathlib, sys, zipfile
from graders.batch.importing import import_nbgrader

import_nbgrader()
without = [name in sys.modules for name in ("requests", "setuptools", "bs4")]
import nbgrader.utils
from nbgrader.auth import jupyterhub
with zipfile.ZipFile("day.zip", "w") as archive:
    archive.writestr("day.ipynb", "{}")
here = pathlib.Path.cwd()
nbgrader.utils.unzip(str(here / "day.zip"), str(here))
import requests
same = jupyterhub.requests.request is requests.request, jupyterhub.requests.HTTPError is requests.HTTPError
from graders.batch import display
from nbconvert.exporters import HTMLExporter
same += display._is_same("<b>a</b>", "<b >a</b>"), "bs4" in sys.modules
notebook = display.from_dict({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
same += ("<html" in HTMLExporter().from_notebook_node(notebook)[0],)
print(json.dumps([*without, pathlib.Path("day.ipynb").read_text(), *same]))
"""


def test_what_nbgrader_calls_later_is_there_then(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LATER]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(said.stdout) == [False, False, False, "{}", True, True, True, True, True]


def test_nbgrader_without_the_server_that_it_extends() -> None:
    said = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True)
    assert json.loads(said.stdout) == [False, False, "the server", True]
