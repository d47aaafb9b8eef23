"""A notebook's file that a merge, an editor or a copy has damaged is read where little else can be meant."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from graders.batch import bounds, repair, submission
from graders.batch.submission import Submitted, Unreadable

SOURCE = 'x = {"outputs": [1, 2,]}\n<<<<<<< not a merge\n'


def notebook(**fields: Any) -> dict[str, Any]:
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": SOURCE, "outputs": []}
    return {"cells": [{**cell, "execution_count": None, **fields}], "metadata": {}, "nbformat": 4}


TEXT = json.dumps(notebook(), indent=1)
COUNT = '   "execution_count": null'


def read(text: str) -> Submitted:
    return submission.read_from(text.encode(), "a.ipynb")


def conflict(ours: str, theirs: str, base: str | None = None) -> str:
    middle = "" if base is None else f"||||||| base\n{base}\n"
    return f"<<<<<<< HEAD\n{ours}\n{middle}=======\n{theirs}\n>>>>>>> 1a2b3c (second try)"


def line_of(source: str) -> str:
    return f'   "source": {json.dumps(source)},'


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (TEXT.replace("\n ],", ",\n ],"), "a comma too many"),
        (TEXT.replace("\n ],", "\n {}\n ],"), "a comma missing"),
        (TEXT + "\n" + TEXT[-40:], "something behind its end"),
        (TEXT + "\0" * 9, "something behind its end"),
        (TEXT + TEXT, "something behind its end"),
        (TEXT.replace(r"\n<<<<", "\n<<<<"), "characters that JSON writes in another way"),
        (TEXT.replace(COUNT, conflict(COUNT, COUNT.replace("null", "7"))), "a merge that git has left"),
        (TEXT.replace(COUNT, conflict(COUNT, COUNT, COUNT)).replace("\n", "\r\n"), "a merge that git"),
    ],
    ids=[
        "comma",
        "no comma",
        "old end",
        "nothing",
        "twice",
        "line end",
        "merge",
        "merge by diff3 on Windows",
    ],
)
def test_what_can_be_meant_one_way_is_read(text: str, what: str) -> None:
    found = read(text)
    assert found.notebook["cells"][0]["source"] == SOURCE and not found.others
    assert what in found.notes[0] and found.notes[0].endswith(".")


def test_both_sides_of_a_merge_are_read() -> None:
    line = line_of(SOURCE)
    assert line in TEXT
    found = read(TEXT.replace(line, conflict(line_of("mine"), line_of("theirs"))))
    assert [one.notebook["cells"][0]["source"] for one in (found, *found.others)] == ["mine", "theirs"]


def test_two_notebooks_in_one_file_are_two() -> None:
    found = read(TEXT + json.dumps(notebook(source="later")))
    assert [one.notebook["cells"][0]["source"] for one in (found, *found.others)] == [SOURCE, "later"]


@pytest.mark.parametrize(
    "text",
    [
        *(
            TEXT.replace("not a merge", "not\0a merge"),
            TEXT[:-20],
            TEXT.replace('"source": "', '"source": ""'),
            "",
            "[1,",
        ),
        *(conflict("{", "}"), f"=======\n{TEXT[:-1]}", f"<<<<<<< HEAD\n{TEXT}"),
    ],
)
def test_what_cannot_be_told_is_not_guessed(text: str) -> None:
    with pytest.raises(Unreadable, match=r"a\.ipynb is (no valid JSON|empty)"):
        read(text)


def test_a_merge_of_which_no_side_can_be_read_is_named() -> None:
    with pytest.raises(Unreadable, match="a merge that git has left unfinished"):
        read(TEXT.replace(COUNT, conflict("{", "{")))


def test_outputs_are_cut_out_where_they_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {"output_type": "stream", "name": "stdout", "text": '"]}' * 2000}
    content = json.dumps(
        {**notebook(outputs=[shown, [[1] * 9]]), "metadata": {"widgets": {"a": [1]}}}
    ).encode()
    monkeypatch.setattr(bounds, "NOTEBOOK_LIMIT", 2000)
    assert submission.read_from(content, "a.ipynb").notebook["cells"][0]["source"] == SOURCE
    assert json.loads(repair.without_outputs(content)) == {**notebook(), "metadata": {"widgets": {}}}


def test_too_many_numbers_in_outputs_are_no_reason_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"output_type": "display_data", "data": {"application/json": [[0.5] * 50] * 50}, "metadata": {}}
    monkeypatch.setattr(bounds, "OBJECTS_LIMIT", 20_000)
    assert not read(json.dumps(notebook(outputs=[table]))).notes
    with pytest.raises(Unreadable, match="more lists and objects"):
        read(json.dumps({**notebook(), "metadata": {"x": table}}))


@pytest.mark.parametrize("part", ['"outputs":[', "{}", '"outputs":[]', ",", "<<<<<<< a\n", "\0"])
def test_hostile_files_are_refused_in_time(part: str) -> None:
    started = time.process_time()
    with pytest.raises(Unreadable):
        read("{" + part * (bounds.NOTEBOOK_LIMIT // len(part) + 9))
    assert time.process_time() - started < 10
