"""What the command leaves out of its imports, and that it is there for whoever asks for it."""

from __future__ import annotations

import json
import subprocess
import sys

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


def test_nbgrader_without_the_server_that_it_extends() -> None:
    said = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True)
    assert json.loads(said.stdout) == [False, False, "the server", True]
