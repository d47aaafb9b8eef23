"""What ran where it was written, and fails here for reasons of the place, is for a person to look at."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from typing import Any

import pytest

from graders.batch import bounds, submission
from graders.batch.elsewhere import NO_PROGRAM, Elsewhere, compared
from graders.batch.recognition import Release, parsed, restore
from graders.judging.verdict import MIME
from tests.test_recognition import code, test

test.__test__ = False  # type: ignore[attr-defined]
NEWER = f"{sys.version_info.major}.{sys.version_info.minor + 1}.0"


def ran(source: str, kind: str = "", text: str = "", **form: Any) -> dict[str, Any]:
    """A cell as it was executed. kind, text: of the error that it ended in."""
    cell = code(
        source, **({"nbgrader": {"locked": True, "grade": True, "solution": False, **form}} if form else {})
    )
    if kind:
        cell["outputs"] = [{"output_type": "error", "ename": kind, "evalue": text, "traceback": []}]
    return cell


def lost(source: str = "check(f)", missing: str = "f") -> dict[str, Any]:
    return ran(source, "NameError", f"name '{missing}' is not defined", grade_id="t", points=2)


def in_environment(cell: dict[str, Any]) -> dict[str, Any]:
    """The same of a cell in whose error a variable of the environment was looked up."""
    cell["outputs"][-1]["traceback"] = ["KeyError", "File \x1b[32m<frozen os>:679\x1b[39m, in __getitem__"]
    return cell


def tagged(cell: dict[str, Any]) -> dict[str, Any]:
    cell["metadata"]["tags"] = ["skip-execution"]
    return cell


def failed(kind: str, text: str) -> dict[str, Any]:
    """A test that ended in an error of what it calls."""
    return ran("assert f(1) == 2", kind, text, grade_id="t", points=2)


def said(source: str, text: str = "", *, fails: bool = False) -> dict[str, Any]:
    """A cell that has shown this. fails: it is a test, and fails."""
    cell = failed("AssertionError", "") if fails else ran(source)
    cell["outputs"].insert(0, {"output_type": "stream", "name": "stdout", "text": text})
    return cell


ANSWER = "import einops\ndef f(x):\n    return x"


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (
            [ran(ANSWER, "ModuleNotFoundError", "No module named 'einops'"), lost()],
            "No module named 'einops'",
        ),
        ([ran(ANSWER, "CellTimeoutError", "It took too long."), lost()], "too long"),
        ([ran(ANSWER, "SyntaxError", "invalid syntax"), lost()], f"run by Python {NEWER}"),
        (
            [
                ran("g()\ndef f(x):\n    ...", "NameError", "name 'g' is not defined"),
                lost(),
                ran("def g(): ..."),
            ],
            "g",
        ),
        (
            [ran(ANSWER, "EOFError", "no input"), ran("def h(x):\n    return f(x)"), lost("check(h)", "h")],
            "no input",
        ),
        ([ran("import a\ny = 2", "ImportError", "a"), lost("assert y == 2", "y")], "ImportError"),
        ([ran("def f(x):\n    return g(x)"), lost("assert f(1)", "g"), ran("def g(x): ...")], "needs g"),
        ([ran("def f(x):\n    import einops"), failed("ModuleNotFoundError", "einops")], "einops"),
        ([ran("def f(x):\n    open('a.csv')"), failed("FileNotFoundError", "a.csv")], "a.csv"),
        ([ran("def f(x):\n    input()"), failed("EOFError", "no input")], "no input"),
        ([ran("def f(x):\n    Pool()"), failed("PermissionError", "not permitted")], "not permitted"),
        (
            [
                ran("model.cuda()\ndef f(x): ...", "AssertionError", "Torch not compiled with CUDA enabled"),
                lost(),
            ],
            "CUDA enabled",
        ),
        ([ran("from mine import f", "ModuleNotFoundError", "No module named 'mine'"), lost()], "'mine'"),
        ([ran("from mine import *", "ModuleNotFoundError", "No module named 'mine'"), lost()], "f may come"),
        ([ran("%run mine.py", "Exception", "File `'mine.py'` not found."), lost()], "f may come of a file"),
        (
            [
                ran("%run mine.py", "Exception", "File `'mine.py'` not found."),
                ran("f = g()", "NameError", "name 'g' is not defined"),
                lost(),
            ],
            "g may come of a file",
        ),
        (
            [
                ran("import math as m\nimport mine as n", "ModuleNotFoundError", "No module named 'mine'"),
                ran("def f(x):\n    return n(x)"),
                failed("NameError", "name 'n' is not defined"),
            ],
            "'mine'",
        ),
        (
            [
                ran("import pandas as pd", "ModuleNotFoundError", "No module named 'pandas'", grade=False),
                ran("def f(x):\n    return pd.DataFrame(x)"),
                failed("NameError", "name 'pd' is not defined"),
            ],
            "the locked cell None ended for a reason that lies in this place",
        ),
        (
            [ran("t = create_task(f())", "RuntimeError", "no running event loop"), lost("assert t", "t")],
            "loop",
        ),
        (
            [
                ran("def f(x):\n    breakpoint()"),
                failed("RuntimeError", "A notebook that is graded cannot trace its code."),
            ],
            "cannot trace",
        ),
        ([said("%%cython\ndef f(x): ...", "UsageError: Cell magic `%%cython` not found.\n"), lost()], "%%cy"),
        (
            [
                said("%memit 1\ndef f(x): ...", "UsageError: Line magic function `%memit` not found.\n"),
                lost(),
            ],
            "%memit",
        ),
        ([ran("%%timeit -n 1\ndef f(x): ..."), lost()], "begins with %%timeit, so that nothing it defines"),
        ([tagged(ran("def f(x): ...")), lost()], "has the tag skip-execution, by which it is not run"),
        (
            [ran(f"<<<<<<< local\n{ANSWER}\n=======\n{ANSWER}\n>>>>>>> remote", "SyntaxError"), lost()],
            "holds a merge that was left unfinished",
        ),
        ([ran("%%writefile f.py\ndef f(x): ..."), lost()], "begins with %%writefile, so that nothing it"),
        ([said("f = !which f", NO_PROGRAM), lost("assert f == 1")], "asks for another program"),
        ([said("def f(x): ..."), said("assert f(1)", NO_PROGRAM, fails=True)], "asks for another program"),
        ([ran("x = g(9)\ndef f(x): ...", "MemoryError"), lost()], "(MemoryError); with more of it"),
        ([ran("def f(x): ..."), failed("MemoryError", "Unable to allocate 7 GiB for an array")], "7 GiB"),
        (
            [ran("def f(x): ..."), failed("RuntimeError", "DefaultCPUAllocator: can't allocate memory: you")],
            "for want of memory",
        ),
        ([ran(ANSWER, "Error", "unsupported locale setting"), lost()], "unsupported locale setting"),
        ([in_environment(ran(ANSWER, "KeyError", "'USERPROFILE'")), lost()], "(KeyError: 'USERPROFILE')"),
        ([ran("def f(x): ..."), in_environment(failed("KeyError", "'APPDATA'"))], "(KeyError: 'APPDATA')"),
        (
            [ran("d = MNIST('.')\ndef f(x): ...", "RuntimeError", "Dataset not found. You can use"), lost()],
            "Dataset not found",
        ),
        (
            [ran("import turtle\ndef f(x): ...", "TclError", "Can't find a usable init.tcl"), lost()],
            "init.tcl",
        ),
        (
            [
                ran("%load a.py\ndef f(x): ...", "ValueError", "'a.py' was not found in history, as a file"),
                lost(),
            ],
            "'a.py'",
        ),
    ],
    ids=[
        "module",
        "time",
        "newer Python",
        "order",
        "by way of another",
        "a value",
        "a helper behind the test",
        "a module in a function",
        "a file in a function",
        "input in a function",
        "processes of its own",
        "a GPU",
        "imported from a file",
        "all of a file imported",
        "a file that is run",
        "by way of a file that is run",
        "a module by another name",
        "a module of a locked cell",
        "a loop that runs",
        "a debugger",
        "a magic for a cell",
        "a magic for a line",
        "a magic that has names of its own",
        "a tag",
        "a merge",
        "a magic that writes a file",
        "what a program says",
        "a program in a function",
        "memory",
        "memory for NumPy in a function",
        "memory for PyTorch in a function",
        "a language of the system's",
        "a variable of the environment",
        "a variable of the environment in a function",
        "data that had been loaded",
        "a window",
        "a file that is shown",
    ],
)
def test_points_that_the_place_may_have_cost_are_looked_at(cells: list[dict[str, Any]], says: str) -> None:
    notes, doubtful = compared({"cells": cells}, Elsewhere(python=NEWER))
    assert doubtful == {"t"} and len(notes) == 1 and says in notes[0]
    assert compared({"cells": cells}, Elsewhere(python=NEWER), known={"t"}) == ([], set())


@pytest.mark.parametrize(
    "cells",
    [
        [ran("def f(x): :", "SyntaxError", "invalid syntax"), lost()],
        [ran("raise NotImplementedError()", "NotImplementedError"), lost()],
        [ran("x = open('a.csv')", "FileNotFoundError", "a.csv"), ran("def f(x):\n    return x"), lost()],
        [ran(ANSWER, "ModuleNotFoundError", "einops"), ran("1", grade_id="t", points=2)],
        [ran("g()", "NameError", "name 'g' is not defined"), lost()],
        [ran("def g():\n    return 1"), ran("def f(x):\n    return x"), lost("assert f(1) == g()")],
        [ran("def f(x):\n    while True: ..."), failed("CellTimeoutError", "It took too long.")],
        [ran("def f(x):\n    return x.y"), failed("AttributeError", "y")],
        [
            ran("from math import sqrt\nimport einops", "ModuleNotFoundError", "No module named 'einops'"),
            ran("def f(x):\n    return sqrt(x)"),
            lost(),
        ],
        [ran(ANSWER, "ModuleNotFoundError", "einops"), ran("def f(x):\n    return 1"), failed("A", "")],
        [
            said("!pip install a\ndef f(x): ...", "A notebook that is graded starts no other programs."),
            lost(),
        ],
        [said("def f(x): ...", NO_PROGRAM), ran("1", grade_id="t", points=2)],
        [ran("d = {}\ndef f(x):\n    return d['HOME']"), failed("KeyError", "'HOME'")],
        [
            ran("%%writefile f.py\ndef f(x): ..."),
            ran("from f import f"),
            ran("assert f(1) == 2", "AssertionError", grade_id="t", points=2),
        ],
    ],
    ids=[
        *("no Python", "nothing done", "another cell's trouble", "earned", "never defined", "wrong"),
        *(
            "without end",
            "an exception",
            "imported before",
            "written anew",
            "installed",
            "passed all the same",
            "a key",
            "a file that is written and imported",
        ),
    ],
)
def test_nobody_is_asked_about_an_ordinary_mistake(cells: list[dict[str, Any]]) -> None:
    assert compared({"cells": cells}, Elsewhere(python=sys.version.split()[0])) == ([], set())


@pytest.mark.parametrize(
    "source",
    [
        """def f(x):\n    return f"{x["a"]:>{x['n']}} {{ {x != 'b'} {", ".join(x)!r}" """,
        """%matplotlib inline\nf = 1  # don't\nprint(f'{\n    f # a comment\n}', f'{f'{f'{1}'}'}')""",
        """f = rf"{"\\n"}" + f'\\''""",
        "type f = int | None",
        "type f[T] = list[T]",
        "def f[T: (int, str)](v: list[T]) -> T:\n    return v[0]",
        "class f[*Ts]: ...",
        "try:\n    f = 1\nexcept ValueError, json.JSONDecodeError:\n    pass",
    ],
)
def test_what_a_newer_python_reads_is_told_by_its_text(source: str) -> None:
    """Colab says nothing of its version, nor does a notebook whose metadata was taken off."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    cells = [ran(source, "SyntaxError", "…"), lost()]
    if parsed(source):  # this Python is new enough
        assert compared({"cells": cells}, Elsewhere()) == ([], set())
        return
    notes, doubtful = compared({"cells": cells}, Elsewhere())
    assert doubtful == {"t"}
    assert notes == [
        f"t: the cell of its answer is written for a newer Python than {here}, which cannot read it."
    ]


@pytest.mark.parametrize(
    "source",
    [
        *("f'{x", "f'{x'", "f'{}'", "f'{x y}'", "f'''{x}", "print('a'", "f'{x['a'}'", "f'{x['a']}' +"),
        *("f'{1 + }'", "type = = 3", "type T == 3", "def g[T(x): pass", "def g(x): :", "f'{' * 9", "f'{x:{'"),
        "try:\n    pass\nexcept ValueError, e:\n    pass",
    ],
)
def test_what_no_python_reads_is_an_ordinary_mistake(source: str) -> None:
    cells = [ran(f"def f(x): ...\n{source}", "SyntaxError", "…"), lost()]
    assert compared({"cells": cells}, Elsewhere()) == ([], set())


@pytest.mark.parametrize(
    "part", ["f'{", "f'{x[", "f\"{f'{", "type [", "def f[](x]", "except A, ", "except a.", "''' "]
)
def test_odd_code_is_looked_through_in_time(part: str) -> None:
    cells = [ran(part * (bounds.KEPT_LIMIT // len(part)), "SyntaxError", "…"), lost()]
    started = time.process_time()
    compared({"cells": cells}, Elsewhere())
    assert time.process_time() - started < 2


def ended(text: str = "The process that runs the notebook ended here.", **form: Any) -> dict[str, Any]:
    return ran("f(1)", "Stopped", text, **form)


@pytest.mark.parametrize(
    ("cells", "asked"),
    [
        ([ended(), ended(grade_id="t", points=2), ended(grade_id="u", points=2)], "tu"),
        ([ended(grade_id="t", points=2), ended(grade_id="u", points=2)], "u"),
        ([ran("assert f(1)", grade_id="t", points=2), ended(), ended(grade_id="u", points=2)], "u"),
        ([ended("The notebook took longer than the 600 seconds it has.", grade_id="t", points=2)], "t"),
        (
            [
                failed("CellTimeoutError", "The notebook took longer than the 600 seconds it has."),
                ended(grade_id="u", points=2),
            ],
            "tu",
        ),
        ([failed("CellTimeoutError", "The cell took longer than the 60 seconds it has.")], ""),
    ],
    ids=["an own cell", "a test", "after a test", "time", "time in a test", "a test without end"],
)
def test_what_was_not_reached_is_looked_at(cells: list[dict[str, Any]], asked: str) -> None:
    """Nobody knows whether it is right; of what ended in its own test, the report says so."""
    notes, doubtful = compared({"cells": cells}, Elsewhere())
    assert doubtful == set(asked)
    said = "the notebook ended before these had run, and nothing is known of what they test."
    assert notes == ([f"{', '.join(asked)}: {said}"] if asked else [])


def test_what_an_error_says_stands_in_one_line() -> None:
    notes, _ = compared({"cells": [ran("def f(x): ..."), failed("OSError", "a\n\tb.\n")]}, Elsewhere())
    assert notes == ["t: what it calls ended for a reason that lies in this place (OSError: a b)."]


def test_points_that_were_shown_and_are_not_earned_are_looked_at() -> None:
    before = Elsewhere(frozenset({"t"}))
    assert compared({"cells": [lost()]}, before)[1] == {"t"}
    assert not compared({"cells": [ran("check(f)", grade_id="t", points=2)]}, before)[1]


VERDICT = {"text/plain": "2", MIME: {"points": 2, "max_points": 2}}


@pytest.mark.parametrize(
    ("fields", "claimed"),
    [
        ({"execution_count": 3}, True),
        ({"execution_count": None}, False),
        ({"execution_count": 3, "outputs": [{"output_type": "execute_result", "data": VERDICT}]}, True),
        (
            {
                "execution_count": 3,
                "outputs": [{"output_type": "execute_result", "data": {"text/plain": ["1"]}}],
            },
            False,
        ),
        ({"execution_count": 3, "outputs": [{"output_type": "error", "ename": "A"}]}, False),
        ({"execution_count": 3, "outputs": "x"}, False),
        ({"execution_count": 3, "outputs": [5, {"output_type": "execute_result", "data": 5}]}, True),
        ({"execution_count": 3, "source": "assert True"}, False),
    ],
    ids=[
        "it ran",
        "it did not",
        "a verdict",
        "a part",
        "an error",
        "no outputs",
        "of no form",
        "another test",
    ],
)
def test_what_a_notebook_shows(fields: dict[str, Any], claimed: bool) -> None:
    cell = {**code("assert f(1) == 2", "id-t"), **fields}
    given = {"cells": [code("def f(x): ...", "id-f"), cell], "metadata": {}, "nbformat": 4}
    for hidden in ("", "\nassert f(2) == 4"):
        one = test("t", f"assert f(1) == 2{hidden}")
        release = Release({"t": replace(one, given="assert f(1) == 2")})
        match = restore(submission.read_from(json.dumps(given).encode(), "a.ipynb"), release)
        assert (match.claimed == {"t"}) == (claimed and not hidden), hidden
