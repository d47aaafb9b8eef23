"""A submitted notebook beside the released one: which cell is which, and what students are to define."""

from __future__ import annotations

import copy
import json
import struct
import textwrap
import zipfile
from collections.abc import Collection
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from graders.batch import bounds, intake, notebook
from graders.batch.recognition import Match, Release, ReleasedCell, asked_for, defined_in, restore
from graders.batch.submission import Submitted
from graders.sandbox.box import Stopped


def released(name: str, source: str, **more: Any) -> ReleasedCell:
    fields: dict[str, Any] = {"kind": "code", "locked": False, "checksum": "", "grade": False, "task": False}
    fields |= {"solution": not more.get("locked", False), "points": None, "id": f"id-{name}", **more}
    return ReleasedCell(name=name, source=source, **fields)


def test(name: str, source: str) -> ReleasedCell:
    return released(name, source, locked=True, grade=True, solution=False, points=2.0)


test.__test__ = False  # type: ignore[attr-defined]
STUB = "def f(x):\n    # YOUR CODE HERE\n    raise NotImplementedError()"
ESSAY = released("essay", "Your answer.", kind="markdown", grade=True, points=5.0)
RELEASE = Release(
    {
        one.name: one
        for one in (
            released("setup", "import math", locked=True, solution=False),
            released("f", STUB),
            test("test_f", "assert f(1) == 2"),
            released("g", "# YOUR CODE HERE\nraise NotImplementedError()"),
            test("test_g", "assert g(1) == 3"),
            ESSAY,
        )
    },
    text=frozenset({"# Read this"}),
)
F, G = "def f(x):\n    return 2 * x", "def g(x):\n    return 3 * x"


def code(source: str, name: str = "", **metadata: Any) -> dict[str, Any]:
    cell = {"cell_type": "code", "id": name or f"own-{len(source)}", "metadata": metadata, "source": source}
    return {**cell, "outputs": [], "execution_count": None}


def text(source: str, name: str = "") -> dict[str, Any]:
    return {"cell_type": "markdown", "id": name or "own-text", "metadata": {}, "source": source}


def matched(*cells: dict[str, Any]) -> Match:
    return restore(
        Submitted({"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), RELEASE
    )


def order(match: Match) -> list[str]:
    """The cells by the names of the released ones, and what the student's own begin with."""
    return [
        cell["metadata"].get("nbgrader", {}).get("grade_id", cell["source"].split("\n")[0])
        for cell in match.notebook["cells"]
    ]


COMPLETE = ["setup", "f", "test_f", "def g(x):", "test_g", "essay"]


@pytest.mark.parametrize(
    "cells",
    [
        pytest.param(
            [
                code("import math", "id-setup"),
                code(F, "id-f"),
                code("", "id-test_f"),
                code(G),
                code("assert g(1) == 3  "),
                text("My words", "id-essay"),
            ],
            id="by id",
        ),
        pytest.param([code(F), code(G), text("My words")], id="by names"),
        pytest.param([code("import math\r\n"), code(F), code(G), text("My words")], id="by text"),
        pytest.param([code(F), code("assert f(1) == 2"), code(G), text("My words")], id="some tests"),
    ],
)
def test_cells_without_a_mark_are_recognized(cells: list[dict[str, Any]]) -> None:
    match = matched(*cells)
    assert order(match) == COMPLETE
    assert "recognized" in " ".join(match.notes)
    assert match.answers >= {"f", "essay"}


def test_a_guess_is_for_a_person_to_look_at() -> None:
    match = matched(text("# Read this"), code(F), code(G), text("My words"), text("More of them", "x"))
    assert match.doubtful == {"essay"}
    essay = next(
        cell
        for cell in match.notebook["cells"]
        if "nbgrader" in cell["metadata"] and cell["source"] == "My words"
    )
    assert essay["metadata"]["nbgrader"]["points"] == 5.0


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("left", ["", "1", "2", "3", "12", "13", "23", "123"])
def test_an_answer_stays_at_its_place_where_others_are_left_as_they_were(left: str, asked: bool) -> None:
    """All of them say "YOUR ANSWER HERE". asked: whether the questions are of the released cells."""
    given = "YOUR ANSWER HERE"
    locked = {"kind": "markdown", "locked": True, "solution": False}
    cells: dict[str, ReleasedCell] = {}
    for number in "123":
        if asked:
            cells[f"q{number}"] = released(f"q{number}", f"Question {number}", **locked)
        form = {"kind": "markdown", "grade": True, "points": 1.0}
        cells[f"e{number}"] = released(f"e{number}", given, **form)
    questions = frozenset(f"Question {number}" for number in "123")
    handed_in = [
        text(source, f"new-{number}-{place}")
        for number in "123"
        for place, source in enumerate((f"Question {number}", given if number in left else f"Mine {number}"))
    ]
    data = {"cells": handed_in, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    match = restore(Submitted(data), Release(cells, unmarked=frozenset() if asked else questions))
    there = {
        cell["metadata"]["nbgrader"]["grade_id"]: cell["source"]
        for cell in match.notebook["cells"]
        if "nbgrader" in cell["metadata"]
    }
    answers = {f"e{number}": given if number in left else f"Mine {number}" for number in "123"}
    assert {name: there[name] for name in answers} == answers
    assert match.doubtful == match.answers == {name for name, source in answers.items() if source != given}


def test_a_mark_counts_more_than_a_likeness() -> None:
    mine = code(F, "mine", nbgrader={"grade_id": "f", "solution": True})
    match = matched(mine, code("def f(x):\n    return 0", "later"))
    assert mine["metadata"]["nbgrader"]["grade_id"] == "f"
    assert order(match).count("f") == 1


def test_what_is_put_back_follows_what_it_asks_for() -> None:
    """Functions at the end of a notebook are there when their tests run."""
    match = matched(text("My words"), code("x = 1"), code(f"{F}\n\n\n{G}", "both"))
    places = order(match)
    assert places.index("f") < places.index("test_f") < places.index("test_g")


def test_every_id_is_there_once() -> None:
    cells = matched(code(F, "id-test_f"), code(G, "id-test_g")).notebook["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)


def test_an_empty_notebook_earns_what_an_untouched_one_does() -> None:
    match = matched()
    assert not match.answers and order(match) == ["setup", "test_f", "test_g", "essay"]


def test_setup_runs_before_what_it_was_released_before() -> None:
    """Whoever moves the imports has run them already."""
    match = matched(code(F), code("assert f(1) == 2"), code("x = 1", "own"), code("import math", "id-setup"))
    assert order(match)[:3] == ["setup", "f", "test_f"] and "x = 1" in order(match)
    assert "The locked cell setup stood behind cells that come after it" in " ".join(match.notes)


def test_setup_stays_where_it_is_before_all_that_follows_it() -> None:
    match = matched(code("x = 1", "own"), code("import math", "id-setup"), code(F), code(G))
    assert order(match)[:3] == ["x = 1", "setup", "f"]
    assert "stood behind" not in " ".join(match.notes)


FENCED = f"Here it is.\n\n```python\n{F}\n```\n\nand on it goes:\n\n````\ny = 1\n````"


@pytest.mark.parametrize(
    "cell",
    [
        *(text(FENCED, "id-f"), text(FENCED), code(FENCED, "id-f"), {**text(F, "x"), "cell_type": "raw"}),
        {**code(F, "id-f"), "cell_type": "raw"},
    ],
    ids=["text", "text without an id", "code", "raw without an id", "raw"],
)
def test_code_that_stands_in_a_text_is_run(cell: dict[str, Any]) -> None:
    is_fenced = "```" in cell["source"]
    match = matched(cell, code("assert f(1) == 2", "id-test_f"))
    answer = next(one for one in match.notebook["cells"] if one["metadata"]["nbgrader"]["grade_id"] == "f")
    assert answer["cell_type"] == "code"
    assert answer["source"] == (f"{F}\ny = 1" if is_fenced else F)
    assert match.doubtful == ({"test_f"} if is_fenced else set())


MOVED_IN = f"Here it is:\n\n{textwrap.indent(F, '    ')}\n\nAnd that is all."
IN_TILDES = f"Here it is.\n\n~~~ python\n{F}\n~~~"


@pytest.mark.parametrize(
    "cell",
    [
        *(text(FENCED), text(F), text(MOVED_IN), text(IN_TILDES)),
        *(code(textwrap.indent(F, "# ")), code(textwrap.indent(F, "    #"))),
    ],
    ids=["backticks", "as it is", "moved in", "tildes", "comments", "comments that are moved in"],
)
def test_code_in_a_text_of_ones_own_is_for_a_person_to_look_at(cell: dict[str, Any]) -> None:
    match = matched(code(STUB, "id-f"), cell, code("assert f(1) == 2", "id-test_f"))
    assert match.doubtful == {"test_f"}
    assert "f: a text or a comment has code for this, but no cell before test_f." in match.notes


@pytest.mark.parametrize("written", [MOVED_IN, IN_TILDES])
def test_code_is_taken_out_of_a_text_however_it_stands_there(written: str) -> None:
    match = matched(text(written, "id-f"), code("assert f(1) == 2", "id-test_f"))
    answer = next(one for one in match.notebook["cells"] if one["id"] == "id-f")
    assert (answer["cell_type"], answer["source"].strip("\n")) == ("code", F)
    assert match.doubtful == {"test_f"}


def test_quoted_code_is_no_answer() -> None:
    """In a text beside the answer, and in one that was released."""
    assert not matched(code(F, "id-f"), text(FENCED), code("assert f(1) == 2", "id-test_f")).doubtful
    released_text = Release(RELEASE.cells, unmarked=frozenset({FENCED}))
    given = {"cells": [code(STUB, "id-f"), text(FENCED)], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    assert not restore(Submitted(given), released_text).doubtful


def test_blanks_of_other_kinds_are_no_change() -> None:
    match = matched(
        code("import\u00a0math", "id-setup"), code(F), code("assert f(1)\u00a0== 2\u200b", "id-test_f")
    )
    assert "had been changed" not in " ".join(match.notes)


@pytest.mark.parametrize(
    ("cells", "telling"),
    [
        ([code("import math", "id-setup")], False),
        ([code("import math", "id-setup"), text("My words")], False),
        ([code(STUB)], True),
        ([code("assert g(1) == 3")], True),
    ],
    ids=["setup alone", "a guess", "an answer", "a test"],
)
def test_what_all_notebooks_have_in_common_tells_nothing(cells: list[dict[str, Any]], telling: bool) -> None:
    assert matched(*cells).telling == telling


def test_work_written_into_a_locked_cell_is_kept() -> None:
    """A function in the cell of its test is there for the test, whose own text is put back."""
    mark = {"grade_id": "test_f", "grade": True, "locked": True, "points": 2.0}
    match = matched(
        code("import math", "id-setup"), code(STUB, "id-f"), code(f"{F}\nassert f(1) == 2", nbgrader=mark)
    )
    assert order(match)[:4] == ["setup", "f", "def f(x):", "test_f"]
    assert "stands in a cell of its own before test_f" in " ".join(match.notes)


@pytest.mark.parametrize("more", ["import numpy as np", "from os import path as np", "from numpy import *"])
@pytest.mark.parametrize("name", ["setup", "test_f"])
def test_what_is_imported_in_a_locked_cell_is_kept(name: str, more: str) -> None:
    """Not every editor keeps students out of it, and their answers need what they import there."""
    written = f"{more}\n{RELEASE.cells[name].source}"
    match = matched(code(written, f"id-{name}"), code(F, "id-f"))
    places = order(match)
    assert places.index(more) < places.index(name) and places.count(name) == 1
    assert "stands in a cell of its own" in " ".join(match.notes)


def test_imports_in_another_order_are_no_work() -> None:
    match = matched(code("import math  # for roots", "id-setup"), code(F, "id-f"))
    assert order(match)[:2] == ["setup", "f"]


def test_cells_of_another_notebook_are_named_once() -> None:
    names = [*"uvwxyz", "x\ny"]
    match = matched(code(F), *(code("1", nbgrader={"grade_id": one, "solution": True}) for one in names))
    assert [note for note in match.notes if "have names" in note] == [
        "Cells have names that none of this notebook has: u, v, w, x, y and 2 more."
    ]
    assert match.strangers == [*"uvwxyz", "x\\ny"]


def test_a_changed_test_is_no_work() -> None:
    mark = {"grade_id": "test_f", "grade": True, "locked": True, "points": 2.0}
    assert order(matched(code(F, "id-f"), code("assert True", nbgrader=mark))) == [
        "setup",
        "f",
        "test_f",
        "test_g",
        "essay",
    ]


TESTS_F, TESTS_G = code("assert f(1) == 2", "id-test_f"), code("assert g(1) == 3", "id-test_g")
CALLS_F = "def g(x):\n    return f(x) + x"


@pytest.mark.parametrize(
    ("cells", "doubtful"),
    [
        ([code(STUB, "id-f"), code("assert f(1) == 2", "id-test_f"), code(F)], {"test_f"}),
        ([code(F), code(STUB, "id-f"), code("assert f(1) == 2", "id-test_f")], {"test_f"}),
        ([code("assert f(1) == 2", "id-test_f"), code(F, "id-f")], {"test_f"}),
        ([code(STUB, "id-f"), code(F), code("assert f(1) == 2", "id-test_f")], set()),
        ([code(F, "id-f"), code("assert f(1) == 2", "id-test_f"), code("def f(x):\n    ...", "x")], set()),
        ([code(STUB, "id-f"), code("assert f(1) == 2", "id-test_f"), code(STUB, "copy")], set()),
        ([code("assert g(1) == 3", "id-test_g"), code(G)], {"test_g"}),
        ([code(STUB, "id-f"), TESTS_F, code("from mine import f")], {"test_f"}),
        ([code(STUB, "id-f"), code("from mine import f"), TESTS_F], set()),
        ([code(STUB, "id-f"), TESTS_F, code(f"files = !ls\nf?\n{F}")], {"test_f"}),
        ([code(STUB, "id-f"), TESTS_F, code(textwrap.indent(F, "  "))], {"test_f"}),
        ([code(STUB, "id-f"), TESTS_F, code(CALLS_F), TESTS_G, code(F)], {"test_f", "test_g"}),
        ([code(F, "id-f"), TESTS_F, code(CALLS_F), TESTS_G, code(F)], set()),
    ],
    ids=[
        *("behind", "overridden", "moved", "between", "an attempt", "a copy", "nothing to fill in"),
        *("imported behind", "imported before", "with commands", "moved in", "what it calls", "it was there"),
    ],
)
def test_what_is_defined_in_another_order_is_looked_at(
    cells: list[dict[str, Any]], doubtful: set[str]
) -> None:
    assert matched(*copy.deepcopy(cells)).doubtful == doubtful


def test_what_only_students_can_define() -> None:
    setup = released("setup", "import math, numpy as np\nfrom a import b as c\nk = 1", locked=True)
    checks = test(
        "t", "def helper(n):\n    return [m for m in n]\nassert len(h(k)) == helper(math.pi) + c + np.x"
    )
    assert Release({"setup": setup, "q": released("q", STUB), "t": checks}).to_define == {"f", "h"}


QUESTION = released("question", "What did you learn?", kind="markdown", locked=True, solution=False)
WITH_A_QUESTION = Release(
    {
        one.name: one
        for one in (QUESTION, ESSAY, released("more", "More.", kind="markdown", grade=True, points=1.0))
    },
    unmarked=frozenset({"Read on."}),
)


@pytest.mark.parametrize(
    ("cells", "doubtful"),
    [
        ([text("What did you learn?", "id-question"), text("Your answer.", "id-essay")], set()),
        (
            [
                text("What did you learn?", "id-question"),
                text("A lot.", "id-essay"),
                text("Really.", "x"),
                text("More.", "id-more"),
            ],
            set(),
        ),
        ([text("What did you learn?\n\nA lot.", "id-question"), text("Your answer.", "id-essay")], {"essay"}),
        ([text("Your answer.", "id-essay"), text("A lot.", "x"), text("More.", "id-more")], {"essay"}),
        ([text("Your answer.", "id-essay"), text("Read on.", "x"), text("More.", "id-more")], set()),
        ([text("Your answer.", "id-essay"), code("1"), text("More.", "id-more"), text("Much.")], {"more"}),
    ],
    ids=["untouched", "answered", "in the question", "in a cell below", "released text", "the last"],
)
def test_an_answer_beside_the_place_for_it_is_looked_at(
    cells: list[dict[str, Any]], doubtful: set[str]
) -> None:
    given = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    assert restore(Submitted(given), WITH_A_QUESTION).doubtful == doubtful


PLOT = replace(ESSAY, name="plot", id="id-plot", kind="code", source="# YOUR CODE HERE")
#: A question without a mark, behind a test.
ASKED = Release(
    {one.name: one for one in (test("test_f", "assert f(1) == 2"), ESSAY, PLOT)},
    unmarked=frozenset({"## 2. Why?\n\nSay why.", "Plot it."}),
)
EMPTY, TESTED = text("Your answer.", "id-essay"), code("assert f(1) == 2", "id-test_f")
NEXT = [text("Plot it.", "more"), code("# YOUR CODE HERE", "id-plot")]
ALL = "Because they are all there are."
ASKS = text("## 2. Why?\n\nSay why.", "asks")


@pytest.mark.parametrize(
    ("cells", "doubtful"),
    [
        ([ASKS, EMPTY, code("Because they are all.")], True),
        ([ASKS, EMPTY, code("# Because they are\n# all.")], True),
        ([ASKS, EMPTY, code("print('Because they are all.')\n'All of them.'")], True),
        ([ASKS, EMPTY, code(f"from IPython.display import Markdown\ndisplay(Markdown('{ALL}'))")], True),
        ([ASKS, EMPTY, code(f"answer = '{ALL}'")], True),
        ([ASKS, EMPTY, code(f"%%markdown\n{ALL}")], True),
        ([ASKS, EMPTY, {**text("Because."), "cell_type": "raw"}], True),
        ([{**ASKS, "source": f"{ASKS['source']}\n\n**Because.**"}, EMPTY], True),
        ([ASKS, text("Because."), EMPTY], True),
        ([ASKS, EMPTY, code("x = f(1)\nprint(x)")], False),
        ([ASKS, EMPTY, code("# f(1)\n# f(2)")], False),
        ([ASKS, EMPTY, code("path = 'data.csv'\nprint('mean')")], False),
        ([ASKS, EMPTY, code("from math import sqrt")], False),
        ([text("My notes."), ASKS, EMPTY], False),
        ([ASKS, EMPTY], False),
    ],
    ids=[
        *("words in a cell of code", "comments", "printed", "displayed", "under a name", "by a magic"),
        *("raw", "in the question", "between them"),
        *("code", "code as comments", "names", "imports", "before the question", "nothing"),
    ],
)
def test_words_in_another_kind_of_cell_may_be_the_answer(cells: list[dict[str, Any]], doubtful: bool) -> None:
    given = {"cells": copy.deepcopy([TESTED, *cells, *NEXT]), "metadata": {}, "nbformat": 4}
    assert restore(Submitted(given), ASKED).doubtful == ({"essay"} if doubtful else set())


@pytest.mark.parametrize(
    ("cell", "doubtful"),
    [(text("```python\nplot(1)\n```"), {"plot"}), (text("See above."), set()), (code("plot(1)"), {"plot"})],
)
def test_code_for_a_person_may_stand_in_a_text(cell: dict[str, Any], doubtful: set[str]) -> None:
    cells = copy.deepcopy([TESTED, text("Why.", "id-essay"), *NEXT, cell])
    given = {"cells": cells, "metadata": {}, "nbformat": 4}
    assert restore(Submitted(given), ASKED).doubtful == doubtful


@pytest.mark.parametrize(
    ("texts", "counts", "which"),
    [
        (("Because.", "Your answer."), "Because.", "last one in which something was written"),
        (("Your answer.", "Because."), "Because.", "last one"),
        (("Because.", "So."), "So.", "last one"),
        (("Your answer.", "Your answer."), "Your answer.", "last one"),
    ],
)
def test_of_copies_of_an_essay_one_that_was_written_counts(
    texts: tuple[str, str], counts: str, which: str
) -> None:
    mark = {"nbgrader": {"grade_id": "essay", "grade": True, "solution": True, "points": 5.0}}
    cells = [{**text(one, f"e{place}"), "metadata": dict(mark)} for place, one in enumerate(texts)]
    match = matched(*cells)
    (essay,) = (
        one
        for one in match.notebook["cells"]
        if one["metadata"].get("nbgrader", {}).get("grade_id") == "essay"
    )
    assert essay["source"] == counts
    assert f"The cell essay is there more than once; the {which} counts." in match.notes


@pytest.mark.parametrize(
    "source",
    [
        *("if True:\n    {}", "try:\n    {}\nexcept ValueError:\n    pass", "with a:\n    {}"),
        *(
            "try:\n    pass\nexcept ValueError:\n    {}",
            "for i in a:\n    {}",
            "match a:\n    case 1:\n        {}",
        ),
    ],
)
def test_what_is_defined_inside_of_statements_is_defined(source: str) -> None:
    assert defined_in(source.format("f = lambda x: [y for y in x]")) == {"f"}
    assert not defined_in("def g():\n    f = 1\nclass A:\n    f = 1") & {"f"}


def test_hidden_tests_are_no_change() -> None:
    """The gradebook knows them, and what students got does not."""
    one = ReleasedCell(
        **{**vars(test("test_f", "assert f(1) == 2\nassert f(2) == 4")), "given": "assert f(1) == 2"}
    )
    release = Release({"test_f": one})
    given = {"cells": [code("assert f(1) == 2 ", "x")], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    match = restore(Submitted(given), release)
    assert match.notebook["cells"][0]["source"] == one.source
    assert not [note for note in match.notes if "changed" in note]


@pytest.mark.parametrize(
    ("stub", "said", "asked"),
    [
        ("def len(x):\n    raise NotImplementedError()", "", {"len"}),
        ("# YOUR CODE HERE", "Write `map(f, values)`.", {"map"}),
        ("# YOUR CODE HERE", "Write a function `filter`, without `list`.", {"filter", "list"}),
        ("def f(x):\n    ...", "You may use `len(x)`.", set()),
        ("# YOUR CODE HERE", "Say how long it is; len is of use.", set()),
        ("class Point:\n    ...", "Points are equal by `__eq__`.", {"__eq__"}),
    ],
)
def test_what_students_are_asked_to_define(stub: str, said: str, asked: set[str]) -> None:
    one = released("q", stub)
    assert asked_for({"q": one}, [text(said), code(stub, nbgrader={"grade_id": "q"})]) == asked


class Fine:
    """A session in which all goes well, until there is a check."""

    noticed: frozenset[str] = frozenset()

    def run(self, source: str, *, locked: bool = False) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        return [], {"status": "ok"}

    def run_graded(self, source: str, body: str, last: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        return [], {"status": "ok"}

    def look(self, *given: Any) -> Any:
        raise Stopped("It ended here.")


def flags(answer: str, tested: str, asked: Collection[str] = ()) -> list[str]:
    mark = {"grade": True, "solution": False, "locked": True, "grade_id": "t", "points": 1}
    given = {"cells": [code(answer), code(tested, nbgrader=mark)]}
    return notebook.execute(given, Fine(), asked=asked).flags  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "answer",
    [
        "def f(x):\n    sum = 0\n    for one in x:\n        sum += one\n    return sum",
        "loss = lambda x, y: F.mse_loss(x, y, reduction='sum')",
        "table.agg(['sum', 'max'])",
        "class A:\n    def __init__(self):\n        self.sum = 1\n    def sum(self):\n        return 2",
        "model.eval()\nmode = 'sum'",
    ],
)
def test_honest_use_of_a_built_in_name_is_not_flagged(answer: str) -> None:
    assert not flags(answer, "assert sum([1]) == 1")


@pytest.mark.parametrize(
    "answer",
    [
        "sum = lambda x: 1",
        "def sum(x):\n    return 1",
        "def f(x):\n    global sum\n    sum = x",
        "globals()['sum'] = f",
        "exec('sum = 1')\nname = 'sum'",
        "import __main__\n__main__.sum = f",
        "import sys\nvars(sys.modules['__main__'])['sum'] = f",
        "setattr(m, 'sum', f)",
    ],
)
def test_a_built_in_name_of_a_test_is_flagged(answer: str) -> None:
    assert flags(answer, "assert sum([1]) == 1")
    assert not flags(answer, "assert f([1]) == 1")


def test_equality_is_no_matter_where_nothing_is_asserted() -> None:
    own = "class A:\n    def __eq__(self, other):\n        return True"
    assert not flags(own, "check(batch_norm_forward)")
    assert flags(own, "check(batch_norm_forward) == 1")


def test_what_was_asked_for_is_not_flagged() -> None:
    assert not flags("def sum(x):\n    return 1", "assert sum([1]) == 1", asked={"sum"})
    assert flags("class A:\n    def __eq__(self, other):\n        return True", "assert A() == 1")
    assert not flags(
        "class A:\n    def __eq__(self, other):\n        return True", "assert A() == 1", asked={"__eq__"}
    )


HANDED_IN = json.dumps(
    {"cells": [code(F), code(G)], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
).encode()


def archived(**members: bytes) -> bytes:
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


def test_files_of_an_archive_come_with_its_notebook(tmp_path: Path) -> None:
    data = {"cells": [code(F), code(G)], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    members = {"work/hw.ipynb": json.dumps(data).encode(), "work/data/x.csv": b"1", "other.txt": b"2"}
    (tmp_path / "all.zip").write_bytes(archived(**members))
    found = intake.take_in("ada", tmp_path, {"hw": RELEASE}, [])
    assert found.notebooks["hw"]["cells"] and not found.doubtful
    assert found.files.keys() == {"all.zip", "data/x.csv"}


def test_an_archive_in_an_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "all.zip").write_bytes(archived(**{"work/hw.zip": archived(**{"hw.ipynb": b"0"})}))
    found = intake.take_in("ada", tmp_path, {"hw": RELEASE}, [])
    assert found.notes[0] == "all.zip/work/hw.zip is an archive in an archive, and not opened."


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("hw.html", b"<span>def</span> <span>f</span>(x)", True),
        ("hw.py", b"def f(x): return 2 * x", True),
        ("hw.rar", b"Rar!", True),
        ("helpers.py", b"import os", False),
        ("table.csv", b"f,g", False),
    ],
)
def test_work_in_a_form_that_is_not_run_is_no_zero(
    tmp_path: Path, name: str, content: bytes, named: bool
) -> None:
    """named: the reason says that the file may be the work."""
    (tmp_path / name).write_bytes(content)
    found = intake.take_in("ada", tmp_path, {"hw": RELEASE}, [])
    assert len(found.unreadable) == 1 and found.unreadable[0].endswith("it is not graded.")
    assert named == (name in found.unreadable[0])


def test_one_notebook_of_several_that_is_missing_counts_as_0(tmp_path: Path) -> None:
    more = Release(
        {one.name: one for one in (released("h", "def h():\n    ..."), test("test_h", "assert h()"))}
    )
    content = {"cells": [code(F), code(G)], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "hw.ipynb").write_text(json.dumps(content))
    found = intake.take_in("ada", tmp_path, {"hw": RELEASE, "more": more}, [])
    assert not found.unreadable and found.notes[-1] == "There is no more.ipynb; it counts as 0."


def test_an_archive_by_the_name_of_a_notebook_that_holds_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hw.ipynb").write_bytes(archived(**{"a.txt": b"1"}))
    found = intake.take_in("ada", tmp_path, {"hw": RELEASE}, [])
    assert found.unreadable == ["hw.ipynb is an archive in which there is no such notebook."]
    assert not found.files


def _encrypted(content: bytes) -> bytes:
    """The same with the mark of encryption, in both places."""
    for sign, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.index(sign) + at
        content = content[:place] + b"\x01\x00" + content[place + 2 :]
    return content


def _as_large(content: bytes, size: int | None = None) -> bytes:
    """The same with the end that archives have which may be large. size: of its list of files, as it says."""
    at = content.rindex(b"PK\x05\x06")
    count, length, start = struct.unpack("<HII", content[at + 10 : at + 20])
    sizes = count, count, length if size is None else size, start
    record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, *sizes)
    end = struct.pack("<4sIQI", b"PK\x06\x07", 0, at, 1) + b"PK\x05\x06" + bytes(4) + b"\xff" * 12 + bytes(2)
    return content[:at] + record + end


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (archived(**{"hw.ipynb": b"0"})[:-30], "cannot be opened"),
        (_as_large(archived(**{"hw.ipynb": b"0"}), 1 << 30), "cannot be opened, or of too many files"),
        (
            archived(**{"hw.ipynb": bytes(bounds.NOTEBOOK_LIMIT + 1)}),
            "cannot be read: all.zip/hw.ipynb has 32 MB",
        ),
        (archived(**{"hw.ipynb": bytes(bounds.FILE_LIMIT + 1)}), "nor a notebook like it"),
        (_encrypted(archived(**{"hw.ipynb": b"0"})), "cannot be read: all.zip/hw.ipynb is encrypted"),
        (b"PK\x03\x04" + bytes(1000), "cannot be opened"),
    ],
    ids=["cut off", "large", "with its outputs", "bomb", "encrypted", "none"],
)
def test_archives_that_cannot_be_read_end_in_a_note(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "all.zip").write_bytes(content)
    found = intake.take_in("ada", tmp_path, {"hw": RELEASE}, [])
    assert not found.notebooks and says in " ".join(found.notes + found.unreadable)


@pytest.mark.parametrize(
    "content",
    [
        _as_large(archived(**{"hw.ipynb": HANDED_IN})),
        archived(**{"../hw/hw.ipynb": HANDED_IN}),
        archived(**{"/home/ada/hw.ipynb": HANDED_IN}),
        archived(**{"hw.ipynb.txt": HANDED_IN.decode().encode("utf-16")}),
    ],
    ids=["of a system that makes large ones", "from the folder beside", "from the root", "as text"],
)
def test_archives_of_other_programs_are_opened(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "all.zip").write_bytes(content)
    found = intake.take_in("ada", tmp_path, {"hw": RELEASE}, [])
    assert found.notebooks and not found.doubtful and not found.unreadable


def test_two_notebooks_of_one_assignment_each_get_their_own(tmp_path: Path) -> None:
    other = Release(
        {one.name: one for one in (released("h", "def h():\n    ..."), test("test_h", "assert h()"))}
    )
    for number, sources in enumerate([(F, G), ("def h():\n    return 1",)]):
        data = {"cells": [code(one) for one in sources], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        (tmp_path / f"work {number}.ipynb").write_text(json.dumps(data))
    found = intake.take_in("ada", tmp_path, {"one": RELEASE, "two": other}, [])
    assert "def h" in json.dumps(found.notebooks["two"]) and "def f" in json.dumps(found.notebooks["one"])
    assert found.doubtful == {"one": RELEASE.with_points}  # of which only one function is there to tell it by
