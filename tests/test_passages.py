"""Where a report leads: the sections and the explorers that it names are there."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import ipywidgets
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import graders
from course.days import DAYS, cells, source
from graders.batch.display import make_harmless
from graders.judging import aside, catalogue, passages
from graders.judging.passages import LECTURES, PASSAGES, Section, View, passage
from graders.judging.report import as_bundle, as_html, as_text, lectures_from

ROOT = Path(__file__).resolve().parent.parent
MISTAKES = [(name, one.key) for name in catalogue.exercises() for one in catalogue.answer_of(name).mistakes]
RULES = {id(rule): rule for _, rules in PASSAGES.values() for rule in rules}.values()
SECTIONS = {one for one in vars(passages).values() if isinstance(one, Section)}
VIEWS = {rule.view for rule in RULES if rule.view}


def outside(x, gamma, beta, eps=1e-5):
    return gamma * (x - x.mean(0)) / (x.var(0, correction=0).sqrt() + eps) + beta, None


@pytest.fixture(scope="module")
def verdict():
    found = graders.evaluate("batch_norm_forward", outside, seed=0)
    assert found.mistake == "eps_outside_root"
    return found


def headings(day: int) -> list[str]:
    """The second-level headings of a lecture."""
    path = ROOT / "course" / f"{LECTURES[day]}.ipynb"
    texts = [source(cell) for cell in cells(path) if cell.get("cell_type") == "markdown"]
    return [found for text in texts for found in re.findall(r"^## (.+)$", text, re.M)]


def test_every_exercise_has_a_passage_and_no_other_has() -> None:
    assert PASSAGES.keys() == set(catalogue.exercises())
    assert passage("nothing_like_it") is None


def test_lectures_are_those_of_the_course() -> None:
    assert {day.number: day.lecture(ROOT).stem for day in DAYS} == LECTURES


@pytest.mark.parametrize("section", sorted(SECTIONS, key=str), ids=str)
def test_sections_stand_in_their_lectures(section: Section) -> None:
    assert section.heading in headings(section.day)
    notebook, _, anchor = section.address.partition("#")
    assert (ROOT / "course" / notebook).is_file()
    assert anchor == section.heading.replace(" ", "-")  # JupyterLab would not find it in another form


@pytest.mark.parametrize("view", sorted(VIEWS, key=str), ids=lambda view: view.shows[:40])
def test_explorers_have_the_settings(view: View) -> None:
    lecture = cells(ROOT / "course" / f"{LECTURES[view.section.day]}.ipynb")
    assert any(f"{view.function}()" in source(cell) for cell in lecture)
    first, second = view.code.splitlines()
    names: dict[str, Any] = {}
    exec(f"{first}\nopened = {second}", names)
    opened = names["opened"]
    assert opened.settings == dict(view.settings)
    for name, value in view.settings:
        assert value in opened.controls[name].values, (view.function, name, value)


def test_an_explorer_has_no_other_settings() -> None:
    from course.explorers.day26 import five_steps_explorer

    with pytest.raises(ValueError, match="no speed; it has step, gamma, beta, eps"):
        five_steps_explorer().at(speed=3)


def test_every_rule_is_of_use() -> None:
    """Each key or pattern says something of a known mistake, of which no rule before has spoken."""
    told = set()
    for name, key in MISTAKES:
        rule = next((one for one in PASSAGES[name][1] if one.fits(key)), None)
        if rule:
            told |= {(id(rule), pattern) for pattern in rule.keys if fnmatchcase(key, pattern)}
    silent = [
        (rule.keys, pattern) for rule in RULES for pattern in rule.keys if (id(rule), pattern) not in told
    ]
    assert not silent


def test_what_gamma_gives_back_is_explained_where_it_is_given_back() -> None:
    assert passage("identity_parameters", "eps_missing").section == passages.UNDOING
    assert passage("batch_norm_forward", "eps_missing").section == passages.AWKWARD


@pytest.mark.parametrize("name", catalogue.exercises())
def test_no_passage_lies_ahead_of_its_exercise(name: str) -> None:
    """Who works on a day has not read the next."""
    today = int(catalogue.day_of(name).removeprefix("day"))
    keys = [None, *(mistake.key for mistake in catalogue.answer_of(name).mistakes)]
    found = {key: passage(name, key) for key in keys}
    days = {key: max(one.section.day, one.view.section.day if one.view else 0) for key, one in found.items()}
    assert {key: day for key, day in days.items() if day > today} == {}


def test_an_explorer_speaks_of_what_its_exercise_normalizes() -> None:
    """Columns on days 25 to 27; channels come with day 28."""
    early = [name for name in catalogue.exercises() if catalogue.day_of(name) < "day28"]
    shown = {passage(name, key).view for name, key in MISTAKES if name in early} - {None}
    assert {view.section.day for view in shown} == {25, 26, 27}


def test_how_many_mistakes_an_explorer_shows() -> None:
    shown = [key for name, key in MISTAKES if passage(name, key).view]
    assert len(shown) > len(MISTAKES) / 4, f"{len(shown)} of {len(MISTAKES)}"


def test_a_report_names_the_passage(verdict) -> None:
    text, plain = as_text(verdict), as_html(verdict)
    assert "Read: Day 26, section «Awkward cases»." in text
    assert "  five_steps_explorer().at(step=4, eps=1.0)" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "Day 26, section «Awkward cases»" in plain and "<a " not in plain
    linked = as_html(verdict, "../../course")
    assert f'<a href="../../course/{LECTURES[26]}.ipynb#5.-Awkward-cases">' in linked


def test_links_are_made_where_the_lectures_are(verdict, monkeypatch, tmp_path) -> None:
    assert lectures_from(ROOT / "exercises" / "day26") == "../../course"
    assert lectures_from(tmp_path) == ""
    monkeypatch.chdir(ROOT / "exercises" / "day26")
    assert 'href="../../course/' in verdict._repr_mimebundle_()["text/html"]
    monkeypatch.chdir(tmp_path)
    assert "<a " not in verdict._repr_mimebundle_()["text/html"]


def test_nothing_to_read_where_nothing_is_misunderstood() -> None:
    def right(x, gamma, beta, eps=1e-5):
        return gamma * (x - x.mean(0)) / (x.var(0, correction=0) + eps).sqrt() + beta, None

    def unwritten(x, gamma, beta, eps=1e-5):
        raise NotImplementedError

    for candidate in (right, unwritten):
        assert "Read:" not in as_text(graders.evaluate("batch_norm_forward", candidate, seed=0))


@pytest.mark.parametrize("lectures", ["", "../../course"])
def test_where_instructors_look_the_words_stay_and_the_links_do_not(verdict, lectures: str) -> None:
    """A relative link leads nowhere from the Formgrader and from feedback."""
    from nbformat.v4 import new_code_cell, new_notebook, new_output

    data = json.loads(json.dumps(as_bundle(verdict, lectures)))
    node = new_notebook(cells=[new_code_cell("check()", outputs=[new_output("display_data", data=data)])])
    make_harmless(node)
    shown = node.cells[0].outputs[0]["data"]["text/html"]
    assert "Day 26, section «Awkward cases»" in shown and "five_steps_explorer().at(" in shown
    assert "<a " not in shown and shown == as_html(verdict)


@pytest.mark.parametrize("version", [7, 8])
def test_the_button_is_shown_by_old_and_new_widgets(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if version == 7 and hasattr(ipywidgets.Widget, "_repr_mimebundle_"):
        monkeypatch.delattr(ipywidgets.Widget, "_repr_mimebundle_")
    InteractiveShell.instance()
    try:
        with capture_output() as captured:
            aside._show(next(iter(VIEWS)))
    finally:
        InteractiveShell.clear_instance()
    (shown,) = captured.outputs
    assert aside.LABEL in shown.data["text/plain"] and shown.data[aside.VIEW]["model_id"]
