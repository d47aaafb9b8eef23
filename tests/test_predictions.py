"""Prediction gates: what a day's file must hold, what was measured, what is read where no script runs."""

import json
import re
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest

import course.study
from course.days import DAYS, find_root
from course.study import gates, predict
from course.study.predict import compare, gap_in_words
from course.study.texts import FOLDER, StudyError, load

PREDICT = sys.modules["course.study.predict"]
CALL = re.compile(r'^predict\(\s*"(day\d\d)",\s*"([\w-]+)"')
HEADING = re.compile(r"#{1,3} ")
REST = (FOLDER / "day26.toml").read_text(encoding="utf-8").partition("[[predictions]]")[0]

ASKED = """
[[predictions]]
name = "factor"
kind = "value"
ask = "By what factor?"
low = 0.01
high = 100
log = true
close = 1.3
unit = " times"
says = { low = "Too low by {gap}.", close = "Close.", high = "You said {guess}; it is {measured}." }

[[predictions]]
name = "which"
kind = "choose"
ask = "Which moves *most*?"
items = [
  { key = "mean", text = "the mean", says = "It stays." },
  { key = "var", text = "the variance", says = "It grows." },
]

[[predictions]]
name = "order"
kind = "order"
ask = "In which order?"
items = [{ key = "a", text = "first" }, { key = "b", text = "second" }, { key = "c", text = "third" }]
says = { right = "So it is.", wrong = "The third leads." }

[[predictions]]
name = "trained"
kind = "cells"
ask = "What does the optimizer change?"
rows = ["gamma", "running mean"]
columns = ["in a step", "in a forward pass"]
says = { right = "Yes.", missed = "One is missing.", extra = "One too many." }

[[predictions]]
name = "decay"
kind = "curve"
ask = "Draw it."
x = [1, 5, 10]
x_label = "layer"
y_label = "gradient"
low = 1e-4
high = 1
log = true
close = 2
says = { close = "You know it.", shape = "Each layer takes a half.", level = "It is a half, no more." }
"""
LAYERS = np.arange(1, 11)
MEASURED = {
    "factor": 1 / 9,
    "which": "var",
    "order": ["c", "a", "b"],
    "trained": [("gamma", "in a step"), ("running mean", "in a forward pass")],
    "decay": {"plain": (LAYERS, 0.5**LAYERS), "batch norm": (LAYERS, 0.9**LAYERS)},
}


@pytest.fixture
def day(tmp_path, monkeypatch):
    """A day "day26" with one prediction of each kind; call it with other words to have those."""

    def write(asked: str = ASKED) -> None:
        (tmp_path / "day26.toml").write_text(REST + asked, encoding="utf-8")

    monkeypatch.setattr(PREDICT, "load", lambda name: load(name, tmp_path))
    write()
    return write


def gate(page) -> dict:
    """What the script is given."""
    return json.loads(re.search(r'type="application/json">(.*?)</script>', page.source, re.DOTALL)[1])


@pytest.mark.parametrize("name", MEASURED)
def test_a_gate_carries_what_was_measured_and_folds_it_where_no_script_runs(day, name):
    page = predict("day26", name, MEASURED[name])
    static = page.source.partition('<div class="study-live"')[0]
    question, _, answer = static.partition("<details>")
    shown = {
        "factor": "0.111 times",
        "which": "the variance. It grows.",
        "order": "third, first, second",
        "trained": "running mean, in a forward pass",
        "decay": "plain: 0.5 at 1, 0.0312 at 5, 0.000977 at 10",
    }[name]
    assert shown in answer and shown not in question
    assert gate(page)["id"] == f"day26:{name}"
    assert shown in page.plain


def test_numbers_are_those_that_were_measured(day):
    assert gate(predict("day26", "factor", 1 / 9))["measured"] == 0.111
    assert gate(predict("day26", "trained", MEASURED["trained"]))["measured"] == [[0, 0], [1, 1]]
    curve = gate(predict("day26", "decay", (LAYERS, np.where(LAYERS == 3, np.nan, 0.5**LAYERS))))["measured"]
    assert [x for x, _ in curve[0]["points"]] == [1, 2, 4, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize(
    ("name", "measured", "problem"),
    (
        ("factor", 1000, "between 0.01 and 100"),
        ("factor", "many", "could not convert"),
        ("which", "median", "none of mean, var"),
        ("order", ["a", "b"], "no order of a, b, c"),
        ("trained", [("beta", "in a step")], "'beta'"),
        ("decay", (LAYERS, [1.0]), "shape"),
        ("decay", ([1.0], [1.0]), "fewer than two"),
        ("nothing", 1, "no prediction 'nothing'; it has: factor, which"),
    ),
)
def test_what_does_not_fit_is_said(day, name, measured, problem):
    with pytest.raises(StudyError, match=re.escape(problem)):
        predict("day26", name, measured)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    (
        ('kind = "value"', 'kind = "guess"', "no kind that there is"),
        ('ask = "Draw it."', "", "has no 'ask'"),
        ("close = 1.3", 'close = "near"', "'close' of predictions 1 is not a number"),
        ("low = 0.01", "low = 0", "no scale"),
        ('says = "It stays."', 'why = "It stays."', "has no 'says'"),
        ('extra = "One too many."', 'more = "One too many."', "has no 'extra'"),
        ('name = "which"', 'name = "factor"', "the same name"),
    ),
)
def test_a_file_that_is_not_as_it_should_be_is_refused(day, old, new, problem):
    assert old in ASKED
    day(ASKED.replace(old, new, 1))
    with pytest.raises(StudyError, match=re.escape(problem)):
        predict("day26", "factor", 0.1)


def test_what_was_predicted_is_read_from_the_file_of_jupyter(tmp_path):
    assert PREDICT.made(tmp_path) == {}
    entry = {"answer": ["a"], "at": "2026-01-01T00:00:00.000Z"}
    file = tmp_path / PREDICT.FILE
    file.write_text(json.dumps({"version": 1, "gates": {"day26:order": entry, "day26:broken": 3}}))
    assert PREDICT.made(tmp_path) == {"day26:order": entry}
    for damaged in ("", "[]", '{"version": 2, "gates": {}}', '{"version": 1}'):
        file.write_text(damaged)
        assert PREDICT.made(tmp_path) == {}


# ---------------------------------------------------------------------------- drawn curves


@pytest.fixture
def judged(day, tmp_path):
    """Judge a curve drawn at layers 1, 5 and 10 for the gate "decay": the outcome, and the gap in words."""
    asked = load("day26", tmp_path).prediction("decay")

    def judged(*guess: float, measured=0.5**LAYERS):
        compared = compare(asked, list(zip(LAYERS.tolist(), measured.tolist(), strict=True)), guess)
        return compared.outcome, gap_in_words(asked, compared)

    return judged


def test_a_curve_that_is_near_all_along_is_close(judged):
    assert judged(0.5, 0.5**5, 0.5**10) == ("close", "Close all along.")
    assert judged(0.6, 0.5**5, 0.0012) == ("close", "Close all along: at most 1.2 times off, at 10.")


def test_a_curve_is_judged_where_it_is_wrong_and_not_only_at_its_end(judged):
    outcome, says = judged(0.5, 0.0005, 0.5**10)
    assert outcome != "close"
    assert "Furthest off at 5: you drew 0.0005, it is 0.031, 62.5 times too low." in says
    outcome, says = judged(0.0005, 0.5**5, 0.5**10)
    assert "Furthest off at 1" in says and outcome == "shape"


def test_a_curve_may_have_the_right_shape_at_the_wrong_height(judged):
    outcome, says = judged(0.5, 0.2, 0.05)
    assert outcome == "level"
    assert says.endswith("The curves part at 5, by a factor of 6.9 on average. Both fall.")


def test_the_shapes_of_two_curves_are_named_where_they_differ(judged):
    outcome, says = judged(0.5, 0.001, 0.5)
    assert outcome == "shape"
    assert says.endswith("Yours falls, then rises; the measured one falls.")
    assert judged(0.01, 0.01, 0.01)[1].endswith("Yours hardly changes; the measured one falls.")
    level = np.full(10, 0.01)
    assert judged(0.001, 0.01, 1, measured=level)[1].endswith("Yours rises; the measured one hardly changes.")
    assert judged(1, 1, 1, measured=level)[1].endswith("Both hardly change.")


def test_a_curve_outside_of_the_drawing_is_met_at_its_edge(judged):
    outcome, says = judged(1e-4, 1e-4, 1e-4, measured=np.full(10, 1e-9))
    assert (outcome, says) == ("close", "Close all along.")
    assert judged(1e-4, 1e-4, 1e-4, measured=np.zeros(10))[0] == "close"


@pytest.mark.parametrize(
    ("value", "written"),
    (
        (0, "0"),
        (0.125, "0.13"),
        (-0.0048, "−0.0048"),
        (97.62, "97.6"),
        (1250, "1300"),
        (12.25, "12.3"),
        (9.96, "10"),
        (0.0000213, "2.1e−5"),
        (3_000_000, "3e6"),
    ),
)
def test_numbers_are_written_as_the_page_writes_them(value, written):
    assert PREDICT._number(value) == written


# ---------------------------------------------------------------------------- the gates of the lectures


def lecture(day):
    return nbformat.read(day.lecture(find_root()), as_version=4)


@pytest.mark.parametrize("day", DAYS, ids=lambda day: day.name)
def test_every_prediction_of_a_day_stands_in_its_lecture_once(day):
    asked = [found.groups() for cell in lecture(day).cells if (found := CALL.match(cell.source))]
    assert sorted(asked) == sorted((day.name, one.name) for one in load(day.name).predictions)
    assert len(asked) >= 3


@pytest.mark.parametrize("day", DAYS, ids=lambda day: day.name)
def test_whoever_asks_to_be_shown_an_order_is_not_told_that_they_were_right(day):
    orders = [one for one in load(day.name).predictions if one.kind == "order"]
    assert not [one.name for one in orders if re.match(r"(Yes|Right|Correct|Exactly)\b", one.says["right"])]


@pytest.mark.parametrize("day", DAYS, ids=lambda day: day.name)
def test_explorers_verdicts_and_experiments_stand_behind_a_gate(day):
    closed, open_ones = False, []
    for cell in lecture(day).cells:
        if cell.cell_type == "markdown" and HEADING.match(cell.source):
            closed = False
        elif CALL.match(cell.source):
            closed = True
        shown = cell.cell_type == "code" and any(
            output.output_type != "stream" or output.name == "stdout" for output in cell.outputs
        )
        kinds = ("explorer" in cell.id, cell.id.startswith("verdict-"), cell.id.startswith("experiment-"))
        if shown and any(kinds) and not closed and not CALL.match(cell.source):
            open_ones.append(cell.id)
    assert open_ones == []


@pytest.mark.parametrize("day", DAYS, ids=lambda day: day.name)
def test_stored_gates_and_aids_are_what_their_texts_script_and_style_make_today(day):
    """If this fails: `python -m course.study.gates course/day*.ipynb`, then `make format`."""
    found = list(gates.again(lecture(day)))
    assert len(found) == len(load(day.name).predictions) + 5
    assert [data["text/plain"] for output, data in found if dict(output.data) != data] == []


def test_there_is_one_name_for_the_call():
    assert course.study.predict is predict and Path(PREDICT.__file__).name == "predict.py"
