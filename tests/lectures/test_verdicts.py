"""The method of the lectures: claim, experiment, what a sceptic would change, verdict."""

import importlib
import re
from pathlib import Path

import pytest
import torch

from course.days import cells, lecture_minutes, source
from course.experiments.verdicts import Finding, spread
from course.study import texts
from tests.courses import ROOT

LECTURES = {path.stem.split("_")[0]: path for path in sorted(ROOT.glob("course/day*.ipynb"))}
PARTS = ("claim", "experiment", "controls", "verdict")
AID = re.compile(r"^(predict|dialogue|quiz|flashcards|summary|listen)\(")
NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")


def numbers(text: str) -> set[float]:
    return {float(found.replace(",", "")) for found in NUMBER.findall(text)}


def shown(path: Path) -> str:
    """What a lecture says and prints, but for the study aids."""
    said = []
    for cell in cells(path):
        if AID.match(source(cell)):
            continue
        said.append(source(cell))
        for output in cell.get("outputs", []):
            said.append("".join(output.get("text", "")))
            said.append("".join(output.get("data", {}).get("text/plain", "")))
    return "\n".join(said)


@pytest.mark.parametrize("day", LECTURES)
def test_every_claim_goes_through_its_controls_to_a_verdict(day):
    parts = [part for cell in cells(LECTURES[day]) if (part := cell["id"].partition("-")[0]) in PARTS]
    order = [part for part, before in zip(parts, [None, *parts], strict=False) if part != before]
    assert order and len(order) % len(PARTS) == 0, order
    assert order == [*PARTS] * (len(order) // len(PARTS))


@pytest.mark.parametrize("day", LECTURES)
def test_a_lecture_says_how_long_it_takes(day):
    how = next(source(cell) for cell in cells(LECTURES[day]) if cell["id"] == "how-to-use")
    assert f"It takes about {lecture_minutes(LECTURES[day])} minutes." in how


@pytest.mark.parametrize("day", LECTURES)
def test_every_verdict_can_be_measured_again(day):
    claims = importlib.import_module(f"course.experiments.{day}").CLAIMS
    assert claims
    for name, claim in claims.items():
        assert name and claim.says.endswith("."), name


@pytest.mark.parametrize("day", LECTURES)
def test_study_texts_name_no_number_that_the_lecture_does_not(day):
    """Numbers above ten and decimals, wherever they stand: what is measured is said as it was measured."""
    there = numbers(shown(LECTURES[day]))
    study = texts.load(day)
    summary = study.summary
    said = [(summary.sentence, ""), (summary.paragraph, ""), (summary.page, "")]
    said += [(turn.says, "") for turn in study.dialogue]
    said += [(card.back, card.front) for card in study.cards]
    for question in study.quiz:
        given = " ".join([question.question, *(answer.text for answer in question.answers)])
        said += [(answer.feedback, given) for answer in question.answers]
    for asked in study.predictions:
        given = " ".join([asked.ask, *(item.text for item in asked.items)])
        said += [(text, given) for text in (*asked.says.values(), *(item.says for item in asked.items))]
    unknown = {
        (number, text[:80])
        for text, given in said
        for number in numbers(text) - there - numbers(given)
        if number > 10 or number % 1
    }
    assert not unknown


def test_a_finding_stands_where_enough_seeds_bear_it_out():
    held = torch.tensor([True, True, True, True, False])
    assert not Finding("it is so", held).stands
    assert Finding("it is so", held, at_least=4).stands
    assert str(Finding("it is so", held)) == "4 of 5 seeds: it is so"


def test_a_spread_is_median_and_range():
    assert spread(torch.tensor([3.0, 1.0, 2.0])) == "2 (1 to 3)"
    assert spread(torch.tensor([30.0, torch.inf, 10.0]), ".0f") == "30 (10 to never)"
