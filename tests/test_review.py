"""The review's Python side: cards, a student's file of reviews, what `check` has named, Anki's file."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from course.progress import MIME
from course.study import review
from course.study.review import (
    FILE,
    FORM,
    Mistake,
    Review,
    Store,
    anki_text,
    empty,
    export_anki,
    flashcards,
    merge,
    mistakes,
)
from course.study.texts import days, load

ROOT = Path(__file__).resolve().parent.parent


def at(minute: int) -> str:
    return f"2026-11-27T09:{minute:02}:00.000Z"


def entry(minute: int, reps: int = 1) -> dict:
    """What is kept of a card that was last reviewed at this minute."""
    times = {"first": at(0), "last_review": at(minute), "due": at(minute + 1)}
    return {**times, "stability": 2.3, "difficulty": 5.1, "reps": reps, "state": 1}


def kept(cards: dict, left_out: tuple[list[int], str] = ([], "")) -> dict:
    """What is kept of a reader."""
    return {**empty(), "cards": cards, "left_out": {"days": left_out[0], "at": left_out[1]}}


#: What two places have kept, and what both know; the page is asked the same.
MERGED = [
    pytest.param(
        kept({"a": entry(1)}), kept({"b": entry(2)}), kept({"a": entry(1), "b": entry(2)}), id="both"
    ),
    pytest.param(
        kept({"a": entry(1)}), kept({"a": entry(2)}), kept({"a": entry(2)}), id="the other is later"
    ),
    pytest.param(
        kept({"a": entry(2)}), kept({"a": entry(1, 9)}), kept({"a": entry(2)}), id="the one is later"
    ),
    pytest.param(kept({"a": entry(2, 1)}), kept({"a": entry(2, 2)}), kept({"a": entry(2, 2)}), id="a tie"),
    pytest.param(
        kept({}, ([25], at(3))),
        kept({}, ([], "")),
        kept({}, ([25], at(3))),
        id="days stay where none were chosen",
    ),
    pytest.param(kept({}, ([25], at(3))), kept({}, ([34], at(4))), kept({}, ([34], at(4))), id="later days"),
]


# ---------------------------------------------------------------------------- cards


def test_every_flashcard_of_every_day_is_there_once():
    cards = flashcards()
    assert len(cards) == sum(len(load(day).cards) for day in days()) >= 80
    assert len({card.id for card in cards}) == len({card.front for card in cards}) == len(cards)
    assert [card.day for card in cards] == sorted(card.day for card in cards)
    assert not any(card.mistake for card in cards)


def test_a_card_stays_the_same_when_its_answer_is_mended(monkeypatch):
    before = {card.id for card in flashcards()}

    def mended(day):
        study = load(day)
        cards = tuple(type(card)(card.front, "Better.") for card in study.cards)
        return type(study)(study.day, study.summary, study.dialogue, cards, study.quiz)

    monkeypatch.setattr(review, "load", mended)
    assert {card.id for card in flashcards()} == before
    assert {card.back for card in flashcards()} == {"Better."}


# ---------------------------------------------------------------------------- what check has named


def saved(root: Path, day: str, *verdicts: list[dict]) -> None:
    """An exercise notebook as saved; a cell for each list of verdicts."""
    cells = [
        {
            "cell_type": "code",
            "source": "check(f)",
            "metadata": {},
            "outputs": [{"output_type": "execute_result", "data": {MIME: verdict}} for verdict in given],
        }
        for given in verdicts
    ]
    path = root / "exercises" / day / f"{day}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")


def verdict(exercise: str, mistake: str | None, message: str = "It is out. Look at `eps`.") -> dict:
    outcome = "mistake" if mistake else "passed"
    return {"exercise": exercise, "mistake": mistake, "message": message, "outcome": outcome, "points": 1}


def test_a_mistake_that_check_names_is_found(tmp_path):
    """By the judge itself: what `check` stores is what is read here."""
    import torch

    from graders import check

    def batch_norm_forward(x, gamma, beta, eps=1e-5):
        mean, var = x.mean(dim=0), x.var(dim=0, correction=0)
        x_hat = (x - mean) / (var.sqrt() + eps)
        return gamma * x_hat + beta, (x_hat, gamma, torch.sqrt(var + eps))

    found = check(batch_norm_forward)
    assert found.mistake is not None
    saved(tmp_path, "day26", [found._repr_mimebundle_()[MIME]])
    (mistake,) = mistakes(tmp_path)
    assert (mistake.day, mistake.exercise, mistake.key) == (26, "batch_norm_forward", found.mistake)
    card = mistake.card()
    assert card.mistake and card.day == 26
    assert card.front.startswith("In <code>batch_norm_forward</code>, check named: ")
    assert card.front.endswith(" What is the idea?")
    assert card.back == review.marked(" ".join(found.message.split()))


def test_all_that_a_verdict_names_has_a_card(tmp_path):
    import graders

    class SGD:
        def __init__(self, params, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
            self.params, self.lr, self.momentum, self.decay = list(params), lr, momentum, weight_decay
            self.nesterov = nesterov
            self.velocity = [0 * one.detach() for one in self.params]

        def zero_grad(self):
            pass

        def step(self):
            for place, one in enumerate(self.params):
                if one.grad is not None:
                    g = one.grad + self.decay * one.detach()
                    v = self.velocity[place] = self.momentum * self.velocity[place] + (1 - self.momentum) * g
                    one.data -= self.lr * (g + self.momentum * v if self.nesterov else v)

    found = graders.evaluate("SGD", SGD, seed=0)
    assert len(found.mistakes) > 1, str(found)
    saved(tmp_path, "day33", [found._repr_mimebundle_()[MIME]])
    cards = {one.key: one.message for one in mistakes(tmp_path)}
    from graders.judging import catalogue

    known = {one.key: one.message for one in catalogue.answer_of("SGD").mistakes}
    assert cards == {key: known[key] for key in found.mistakes}


def test_every_known_mistake_has_a_card_that_asks_something():
    """The front names it and keeps back what the idea is: a card that says all at once asks nothing."""
    from graders.judging import catalogue

    told = []
    for name in catalogue.exercises():
        for one in catalogue.answer_of(name).mistakes:
            card = Mistake(int(catalogue.day_of(name).removeprefix("day")), name, one.key, one.message).card()
            assert card.id == f"check-{name}-{one.key}"
            named = Mistake(26, name, one.key, one.message).in_short.rstrip(".?")
            kept_back = one.message.removeprefix(named)
            if card.back in card.front or kept_back == one.message or len(kept_back.split()) < 4:
                told.append((name, one.key))
    assert told == []


def test_what_is_wrong_with_the_form_of_an_input_is_no_idea_and_has_no_card(tmp_path):
    import torch

    import graders
    from graders.judging import catalogue

    shape = graders.evaluate("hide_momentum_reversed", lambda n, mean, var: torch.zeros(n, 1))
    assert shape.mistake in FORM
    saved(tmp_path, "day27", [shape._repr_mimebundle_()[MIME]])
    assert mistakes(tmp_path) == []
    shared = [{one.key for one in catalogue.answer_of(name).mistakes} for name in catalogue.exercises()]
    asks = [keys for keys in shared if keys & FORM]
    assert set.union(*asks) >= FORM
    # What all exercises that ask for an input refuse alike, and only these.
    assert set.intersection(*asks) == FORM - {"too_large"}


def test_the_last_verdict_on_an_exercise_counts(tmp_path):
    saved(
        tmp_path, "day26", [verdict("f", "a"), verdict("f", "b")], [verdict("g", "c")], [verdict("g", None)]
    )
    saved(tmp_path, "day27", [verdict("h", "a")], [])
    assert [(each.day, each.id) for each in mistakes(tmp_path)] == [(26, "check-f-b"), (27, "check-h-a")]


@pytest.mark.parametrize(
    "odd",
    [{}, {"exercise": "f"}, {"exercise": 3, "mistake": "a", "message": "m"}, verdict("f", "a", " ")],
    ids=repr,
)
def test_odd_verdicts_and_broken_notebooks_give_no_card(tmp_path, odd):
    saved(tmp_path, "day26", [odd])
    saved(tmp_path, "day27", [])
    (tmp_path / "exercises" / "day27" / "day27.ipynb").write_text('{"cells": [')
    assert mistakes(tmp_path) == []


def test_a_message_is_shown_as_it_is_written():
    card = Mistake(26, "f", "k", "Use `x < 1 & y`. Not <b>this</b>.").card()
    assert (
        card.front == "In <code>f</code>, check named: Use <code>x &lt; 1 &amp; y</code>. What is the idea?"
    )
    assert card.back == "Use <code>x &lt; 1 &amp; y</code>. Not &lt;b&gt;this&lt;/b&gt;."


# ---------------------------------------------------------------------------- the file


@pytest.mark.parametrize(("one", "other", "expected"), MERGED)
def test_of_each_card_the_later_review_wins(one, other, expected):
    assert merge(one, other) == expected


def test_what_is_added_is_read_again(tmp_path):
    path = tmp_path / FILE
    assert Store(path).kept == empty() and not path.exists()
    Store(path).add(kept({"a": entry(1)}, ([34], at(1))))
    again = Store(path)
    assert again.problem == ""
    assert again.kept == kept({"a": entry(1)}, ([34], at(1)))
    assert [each.name for each in tmp_path.iterdir()] == [FILE]


def test_two_that_write_lose_nothing(tmp_path):
    one, two = Store(tmp_path / FILE), Store(tmp_path / FILE)
    one.add(kept({"a": entry(1), "b": entry(5)}))
    two.add(kept({"b": entry(4), "c": entry(2)}))
    expected = {"a": entry(1), "b": entry(5), "c": entry(2)}
    assert two.kept["cards"] == Store(tmp_path / FILE).kept["cards"] == expected
    (tmp_path / FILE).unlink()
    one.add(kept({}))  # what it knows is written again
    assert Store(tmp_path / FILE).kept["cards"] == {"a": entry(1), "b": entry(5)}


BROKEN = {
    "cut": b'{"version": 1, "cards": {"a"',
    "empty": b"",
    "no text": b"\xff\xfe\x00",
    "a list": b"[]",
    "of another version": b'{"version": 2, "cards": {}}',
    "no cards": b'{"version": 1, "cards": 3}',
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_set_aside_with_a_sentence(tmp_path, content):
    path = tmp_path / FILE
    path.write_bytes(content)
    store = Store(path)
    (aside,) = tmp_path.glob(".review.broken-*.json")
    assert aside.read_bytes() == content
    assert f"set aside as {aside.name}" in store.problem
    store.add(kept({"a": entry(1)}))
    assert Store(path).kept["cards"] == {"a": entry(1)}
    assert Store(path).problem == ""


@pytest.mark.parametrize(
    "damage",
    [
        {"due": "tomorrow"},
        {"last_review": None},
        {"first": 3},
        {"stability": float("nan")},
        {"difficulty": "5"},
        {"reps": 1.5},
        {"state": 7},
    ],
    ids=repr,
)
def test_of_a_damaged_file_what_can_be_read_counts(tmp_path, damage):
    path = tmp_path / FILE
    path.write_text(json.dumps(kept({"a": entry(1), "b": entry(2) | damage})), encoding="utf-8")
    store = Store(path)
    assert store.kept["cards"] == {"a": entry(1)}
    assert "the reviews of 1 cards" in store.problem
    assert len(list(tmp_path.glob(".review.broken-*.json"))) == 1
    assert Store(path).kept["cards"] == {"a": entry(1)}


def test_a_file_that_breaks_while_it_is_in_use_costs_nothing(tmp_path):
    path = tmp_path / FILE
    store = Store(path)
    store.add(kept({"a": entry(1)}))
    path.write_text("{")
    store.add(kept({"b": entry(2)}))
    assert Store(path).kept["cards"] == {"a": entry(1), "b": entry(2)}


def test_a_write_that_fails_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / FILE
    store = Store(path)
    store.add(kept({"a": entry(1)}))
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(review.os, "replace", fail)
    store.add(kept({"b": entry(2)}))
    assert "cannot be written (No space left on device)" in store.problem
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [FILE]
    assert set(store.kept["cards"]) == {"a", "b"}


def test_what_cannot_be_read_is_not_written_over(tmp_path):
    path = tmp_path / FILE
    path.mkdir()  # no file, and so not to be read as one
    store = Store(path)
    assert "cannot be read" in store.problem
    store.add(kept({"a": entry(1)}))
    assert path.is_dir() and set(store.kept["cards"]) == {"a"}


# ---------------------------------------------------------------------------- the widget


def told(widget: Review, number: int, cards: dict) -> list[dict]:
    """What the widget answers when the page reports reviews."""
    answers = []
    widget.send = answers.append
    widget._hear(widget, {"number": number, "kept": kept(cards)}, [])
    return answers


def test_a_review_is_written_and_answered(tmp_path):
    widget = Review(tmp_path)
    assert widget.kept == empty() and widget.problem == ""
    assert told(widget, 7, {"a": entry(1)}) == [{"saved": 7}]
    assert json.loads((tmp_path / FILE).read_text(encoding="utf-8"))["cards"] == {"a": entry(1)}
    assert Review(tmp_path).kept["cards"] == widget.kept["cards"] == {"a": entry(1)}


def test_a_mistake_stays_once_it_was_reviewed(tmp_path):
    saved(tmp_path, "day26", [verdict("f", "a")], [verdict("g", "b")])
    widget = Review(tmp_path)
    assert {card["id"] for card in widget.cards if card["mistake"]} == {"check-f-a", "check-g-b"}
    told(widget, 1, {"check-f-a": entry(1)})
    saved(tmp_path, "day26", [verdict("f", None)], [verdict("g", None)])
    (card,) = (card for card in Review(tmp_path).cards if card["mistake"])
    assert (card["id"], card["day"]) == ("check-f-a", 26)
    assert card["back"] == "It is out. Look at <code>eps</code>."


def test_what_is_stored_says_what_to_do(tmp_path):
    data, _ = Review(tmp_path)._repr_mimebundle_()
    assert data["text/plain"] == "Review of the flashcards. To begin, run all cells."
    assert data["text/plain"] in data["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in data


def test_it_imports_neither_torch_nor_the_judge():
    code = "import sys, course.study.review; print({'torch', 'graders'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# ---------------------------------------------------------------------------- Anki


def parsed(text: str) -> tuple[dict[str, str], list[list[str]]]:
    """A text as Anki's manual says that it is read: headers first, then fields, quoted where need be."""
    lines = text.split("\n")
    headers = {}
    while lines[0].startswith("#"):
        name, _, value = lines.pop(0)[1:].partition(":")
        headers[name] = value
    separator = {"tab": "\t"}[headers["separator"]]
    return headers, list(csv.reader(lines[:-1], delimiter=separator))


def test_anki_gets_every_card_with_its_day():
    headers, rows = parsed(anki_text(flashcards()))
    assert headers == {
        "separator": "tab",
        "html": "true",
        "columns": "Front\tBack\tTags",
        "tags column": "3",
    }
    assert rows == [[card.front, card.back, f"day{card.day}"] for card in flashcards()]
    # Anki would take such a line for a comment.
    assert not any(row[0].startswith("#") for row in rows)


def test_anki_gets_marks_of_all_kinds_as_they_are():
    message = 'A "quoted" word, a\ttab. And <b>.'
    card = Mistake(27, "f", "k", message).card()
    _, ((front, back, tags),) = parsed(anki_text([card]))
    assert (front, back, tags) == (card.front, card.back, "day27 check")


def test_cards_are_written_to_a_file(tmp_path, monkeypatch):
    saved(tmp_path, "day26", [verdict("f", "a")])
    (tmp_path / "course").mkdir()
    monkeypatch.chdir(tmp_path / "course")
    assert export_anki("cards.txt") == len(flashcards()) + 1
    _, rows = parsed((tmp_path / "course" / "cards.txt").read_text(encoding="utf-8"))
    assert rows[-1][2] == "day26 check" and len(rows) == len(flashcards()) + 1
