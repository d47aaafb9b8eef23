"""The study aids: every day's texts are complete, and each aid can be read where nothing runs."""

import importlib.resources
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from course.study import StudyError, dialogue, flashcards, listen, quiz, summary, texts
from course.study.listen import parts
from course.study.texts import load, sentences, to_plain, to_speech

ROOT = Path(__file__).resolve().parent.parent
LECTURES = sorted(ROOT.glob("course/day*.ipynb"))
AIDS = (dialogue, summary, listen, flashcards, quiz)

# What the texts are held to; the brief sentence, for example, is read aloud in one breath.
WORDS = {"sentence": (12, 45), "paragraph": (50, 130), "page": (180, 420)}


def lecture_day(path: Path) -> str:
    return path.stem.split("_")[0]


def words(markdown: str) -> int:
    return len(to_plain(markdown).split())


@pytest.fixture(params=texts.days())
def study(request):
    return load(request.param)


# ---------------------------------------------------------------------------- the texts of the days


@pytest.mark.parametrize("path", LECTURES, ids=lecture_day)
def test_every_lecture_has_texts_and_shows_them(path):
    day = lecture_day(path)
    assert day in texts.days()
    sources = ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    for aid in AIDS:
        assert f'{aid.__name__}("{day}")' in sources, f"no cell calls {aid.__name__}"


def test_lengths(study):
    for level, (least, most) in WORDS.items():
        assert least <= words(getattr(study.summary, level)) <= most, level
    assert len(sentences(to_plain(study.summary.sentence))) == 1
    assert len(study.dialogue) >= 6
    assert len(study.cards) >= 8
    assert len(study.quiz) >= 6
    for card in study.cards:
        # More is cut off by the edge of the card.
        assert len(to_plain(card.front)) <= 140 and len(to_plain(card.back)) <= 230, card.front


def test_dialogue_goes_to_and_fro(study):
    speakers = [turn.who for turn in study.dialogue]
    assert len(set(speakers)) == 2
    assert all(before != after for before, after in itertools.pairwise(speakers))


def test_questions_are_not_asked_twice_and_answers_differ(study):
    questions = [question.question for question in study.quiz]
    assert len(set(questions)) == len(questions)
    for question in study.quiz:
        assert len(question.answers) >= 3
        for name in ("text", "feedback"):
            assert len({getattr(choice, name) for choice in question.answers}) == len(question.answers)
        # A wrong answer is told what is wrong with it, not that it is wrong.
        assert all(words(choice.feedback) >= 4 for choice in question.answers)
    assert len({card.front for card in study.cards}) == len(study.cards)


def test_cards_and_quiz_hold_no_links(study):
    # JupyterLab does not see links that a script has made, and they would leave the page.
    shown = [text for card in study.cards for text in (card.front, card.back)]
    for question in study.quiz:
        shown += [
            question.question,
            *(c.text for c in question.answers),
            *(c.feedback for c in question.answers),
        ]
    assert [text for text in shown if "](" in text or "http" in text] == []


def test_what_is_spoken_are_words(study):
    for part in parts(study):
        assert part["lines"]
        for line in part["lines"]:
            # √, γ, _ and the like are left out or spelt by voices.
            assert re.findall(r"[^\w\s.,;:?'’\"()%\-–−]|_", line["spoken"]) == [], line["spoken"]
            assert re.search(r"\w", line["spoken"])


def test_what_is_spoken_is_the_text(study):
    conversation = parts(study)[0]["lines"]
    assert (
        " ".join(line["text"] for line in conversation).split()
        == " ".join(to_plain(turn.says) for turn in study.dialogue).split()
    )


# ---------------------------------------------------------------------------- what is shown


class Text(HTMLParser):
    """The text of a page outside of scripts and styles, and whether all tags are closed."""

    def __init__(self, source: str):
        super().__init__()
        self.open, self.shown, self.loaded = [], [], []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attributes):
        if tag not in ("br", "img", "input", "use"):
            self.open.append(tag)
        self.loaded += [value for name, value in attributes if name == "src"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.shown.append(data)


def bundle(shown) -> dict:
    data = shown._repr_mimebundle_()
    return data[0] if isinstance(data, tuple) else data


@pytest.mark.parametrize("aid", AIDS, ids=lambda aid: aid.__name__)
def test_can_be_read_where_nothing_runs(aid, study):
    data = bundle(aid(study.day))
    page = Text(data["text/html"])
    assert page.open == [] and page.loaded == []
    shown = " ".join("".join(page.shown).split())
    for text in expected(aid, study):
        assert " ".join(to_plain(text).split()) in shown
    assert data["text/plain"] == repr(aid(study.day))


def expected(aid, study):
    """Texts that a reader must find on the page."""
    turns = [turn.says for turn in study.dialogue]
    levels = [study.summary.sentence, study.summary.paragraph]
    return {
        "dialogue": turns,
        "summary": levels,
        "listen": turns + levels,
        "flashcards": [text for card in study.cards for text in (card.front, card.back)],
        "quiz": [question.question for question in study.quiz]
        + [choice.feedback for question in study.quiz for choice in question.answers],
    }[aid.__name__]


@pytest.mark.parametrize("aid", AIDS, ids=lambda aid: aid.__name__)
def test_a_stored_page_is_the_same_at_every_run(aid, study):
    assert bundle(aid(study.day))["text/html"] == bundle(aid(study.day))["text/html"]


def test_summary_takes_texts_too():
    shown = summary(sentence="One.", paragraph="Two `x`.", page="Three.\n\n- four")
    assert "<code>x</code>" in shown.source and "<li>four</li>" in shown.source
    with pytest.raises(StudyError, match="no page"):
        summary(sentence="One.", paragraph="Two.")


def test_raw_html_and_scripts_stay_text():
    shown = summary(sentence="a <b>b</b> < c", paragraph="</script><script>alert(1)</script>", page="x")
    assert "<b>" not in shown.source
    assert "<script>alert" not in shown.source


def test_the_packages_have_the_scripts_that_are_used():
    cards = importlib.resources.files("jupytercards").joinpath("flashcards.js").read_text(encoding="utf-8")
    for name in ("function createCards", "window.flipCard", "window.checkFlip"):
        assert name in cards
    scripts = importlib.resources.files("jupyterquiz").joinpath("js")
    quiz_js = "".join(
        file.read_text(encoding="utf-8") for file in scripts.iterdir() if file.name.endswith(".js")
    )
    assert "function show_questions(json, container)" in quiz_js


# ---------------------------------------------------------------------------- what is said of mistakes

GOOD = """
[summary]
sentence = "s"
paragraph = "p"
page = "g"
[[dialogue]]
who = "Student"
says = "x"
[[cards]]
front = "f"
back = "b"
[[quiz]]
question = "q"
answers = [{ text = "a", right = true, feedback = "c" }, { text = "d", feedback = "e" }]
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    (
        ("", "", None),
        ("[summary]", "[summary", "day99.toml is not valid TOML"),
        ('page = "g"', "", "day99.toml: summary has no 'page'."),
        ('page = "g"', 'page = ""', "day99.toml: 'page' of summary is not a text."),
        (
            'says = "x"',
            'says = "$x$"',
            "day99.toml: 'says' of dialogue 1 holds TeX, which cards and speech cannot show.",
        ),
        ('says = "x"', 'say = "x"', "day99.toml: dialogue 1 has no 'says'."),
        ('back = "b"', 'back = "b"\nhint = "h"', "day99.toml: cards 1 has 'hint', which nothing reads."),
        (
            "right = true",
            "right = false",
            "day99.toml: quiz 1 has 0 right answers instead of one, and is not marked many.",
        ),
        (
            'question = "q"',
            'question = "q"\nmany = true',
            "day99.toml: quiz 1 is marked many and has 1 right answers instead of two or more.",
        ),
        ('feedback = "e"', "feedback = 3", "day99.toml: 'feedback' of quiz 1, answers 2 is not a text."),
        ("right = true", 'right = "yes"', "day99.toml: 'right' of quiz 1, answers 1 is not true or false."),
    ),
)
def test_mistakes_in_a_file_are_said_in_a_sentence(tmp_path, old, new, message):
    (tmp_path / "day99.toml").write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    if message is None:
        assert load("day99", tmp_path).quiz[0].answers[0].right
        return
    with pytest.raises(StudyError) as error:
        load("day99", tmp_path)
    assert str(error.value).startswith(message)


def test_a_day_without_texts_is_said_in_a_sentence(tmp_path):
    (tmp_path / "day98.toml").touch()
    with pytest.raises(StudyError, match="no study texts for 'day99'; the days that have some: day98"):
        load("day99", tmp_path)


# ---------------------------------------------------------------------------- speech


@pytest.mark.parametrize(
    ("text", "spoken"),
    (
        ("Divide by √(var + eps).", "Divide by the square root of the variance plus eps."),
        ("`x_hat` is 0.", "x hat is 0."),
        ("γ and β, with λ = 0.1", "gamma and beta, with lambda equals 0.1"),
        ("lr · λ ≤ 2", "lr times lambda is at most 2"),
        ("N − 1, and −3", "N minus 1, and minus 3"),
        ("`dim=0`", "dim equals 0"),
        ("`nn.BatchNorm1d`", "n n dot BatchNorm1d"),
        ("`running_mean` of **batch** norm", "running mean of batch norm"),
        ("the sum of `dy * x_hat`", "the sum of d y times x hat"),
        ("‖w‖²", "the norm of w squared"),
    ),
)
def test_symbols_are_spoken_by_their_names(text, spoken):
    assert to_speech(text) == spoken


def test_sentences_end_where_a_reader_would_pause():
    assert sentences("One. Two? `x` three. It is 0.87 here. And e.g. this.") == [
        "One.",
        "Two?",
        "`x` three.",
        "It is 0.87 here.",
        "And e.g. this.",
    ]
