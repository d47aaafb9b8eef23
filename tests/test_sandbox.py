"""The warm process in the sandbox: what it imports once, for all submissions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import chain

import pytest

from graders.batch.notebook import libraries
from graders.probing.process.protocol import LIBRARIES
from graders.sandbox.box import Box

pytestmark = pytest.mark.skipif(not shutil.which("bwrap"), reason="no bubblewrap")

PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3]);"


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with Box() as box:
        yield box


def _code(*sources: str) -> dict:
    return {"cells": [{"cell_type": "code", "source": source} for source in sources]}


def _modules(session) -> set[str]:
    outputs, _ = session.run(f"import sys\nprint(*set(sys.modules) & {set(chain(*LIBRARIES.values()))})")
    return set(outputs[0]["text"].split())


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import numpy as np, matplotlib.pyplot as plt", {"matplotlib"}),
        ("def f():\n    from sklearn.datasets import load_digits", {"sklearn"}),
        ("%matplotlib inline\nimport pandas", {"pandas"}),
        ("from torch import nn, optim", {"optim"}),
        ("torch.optim.SGD([], 0.1)", {"optim"}),
        ("import antigravity", set()),
        ("import pandas as", set()),
    ],
)
def test_libraries_of_a_notebook(source: str, found: set[str]) -> None:
    assert libraries(_code("1 + 1", source)) == found


def test_libraries_in_text_are_none() -> None:
    assert not libraries({"cells": [{"cell_type": "markdown", "source": "import pandas"}]})


def test_libraries_are_imported_once_for_all(box: Box) -> None:
    with box.session({}) as session:
        before = _modules(session)
        plotted, _ = session.run(PLOT)
    with box.session({}, {"matplotlib"}) as session:
        assert "matplotlib.pyplot" in _modules(session)
        the_same, _ = session.run(PLOT)
    with box.session({}, set(LIBRARIES)) as session:  # which fails if that leaves the process with threads
        everything = _modules(session)
    with box.session({}) as session:
        assert _modules(session) == everything
    assert not before
    assert {"matplotlib.pyplot", "sklearn"} <= everything
    assert any("image/png" in one.get("data", {}) for one in plotted)
    assert [one["data"] for one in the_same] == [one["data"] for one in plotted]
