"""The study aids in a browser: quiz, flashcards, summary and reading aloud, with mouse and keys.

The lecture is opened once. What a test needs as it is stored, no test before it runs.
"""

import contextlib
import json
import re
from collections.abc import Iterator

import pytest
from lab import AID, ARTEFACTS, Notebook
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.usefixtures("last_view")

#: What shows the part that is read aloud.
LISTEN = re.compile(r"^listen\(")
LECTURE = "course/day26_batch_normalization_the_algorithm.ipynb"

# Two voices that read a sentence in a tenth of a second, and a record of what they were given.
VOICES = """
window.spoken = [];
const voices = ["one", "two"].map((name) => ({ name, lang: "en-GB", localService: true }));
window.SpeechSynthesisUtterance = class { constructor(text) { this.text = text; } };
let timer;
Object.defineProperty(window, "speechSynthesis", { configurable: true, value: {
  getVoices: () => voices,
  speak: (utterance) => {
    window.spoken.push([utterance.voice.name, utterance.text]);
    timer = setTimeout(() => utterance.onend(), window.pace ?? 100);
  },
  cancel: () => clearTimeout(timer),
} });
"""
SILENCE = "Object.defineProperty(window, 'speechSynthesis', { configurable: true, value: undefined });"
#: What the browser has of its own, kept and put back.
KEEP = """
window.ownSpeech = ["speechSynthesis", "SpeechSynthesisUtterance"].map((name) =>
  [name, Object.getOwnPropertyDescriptor(window, name)]);
"""
PUT_BACK = """
for (const [name, own] of window.ownSpeech) {
  if (own) Object.defineProperty(window, name, own);
  else delete window[name];
}
"""


@contextlib.contextmanager
def speech(page: Page, script: str) -> Iterator[None]:
    """Have a page with another speech than the browser's: a cell looks for it when it is run."""
    page.evaluate(KEEP)
    page.evaluate(script)
    try:
        yield
    finally:
        page.evaluate(PUT_BACK)


@pytest.fixture(scope="module")
def asked(desk) -> list[str]:
    """What is asked of the network, from the start on."""
    found: list[str] = []
    desk.on("request", lambda request: found.append(request.url))
    return found


@pytest.fixture(scope="module")
def lecture(lab, desk, asked) -> Notebook:
    desk.goto(lab.address(LECTURE))
    return Notebook(desk, lab.folder / LECTURE, ARTEFACTS)


def output(notebook: Notebook, identifier: str) -> Locator:
    """What a cell shows, by the cell's id."""
    cells = json.loads(notebook.path.read_text(encoding="utf-8"))["cells"]
    index = [cell["id"] for cell in cells].index(identifier)
    shown = notebook.cell(index).locator(".jp-OutputArea-output").last
    shown.scroll_into_view_if_needed()
    return shown


def play(notebook: Notebook) -> None:
    """What a student does with quiz, cards and summary."""
    notebook.open_gates()
    quiz = output(notebook, "quiz").locator(".study-live")
    first = quiz.locator(".Quiz").first
    first.get_by_text("It is 0, because nothing").click()
    expect(first.locator(".Feedback")).to_contain_text("takes the mean and the variance for constants")
    expect(first.locator(".Feedback")).to_have_class(re.compile(r"\bincorrect\b"))
    # On by the keyboard: an arrow chooses the next answer and shows what it says.
    said = first.locator(".Feedback").inner_text()
    first.get_by_text("In general it is not 0").click()
    expect(first.locator(".Feedback")).not_to_have_text(said)
    expect(first.locator(".Feedback")).to_have_class(re.compile(r"\bcorrect\b"))

    cards = output(notebook, "flashcards").locator(".study-live")
    deck = cards.locator(".flip-container")
    deck.click()
    expect(cards.locator('[aria-live="polite"]')).to_contain_text("Over N, the samples")
    cards.get_by_role("button", name="Next card").click()
    expect(cards.locator(".study-count")).to_have_text("Card 2 of 8")
    expect(deck).to_have_class("flip-container")  # the slide is over
    deck.focus()
    deck.press("Enter")
    expect(cards.locator('[aria-live="polite"]')).to_contain_text("divided by N")
    # Tab is not caught.
    deck.press("Tab")
    expect(cards.locator(".next")).to_be_focused()

    summary = output(notebook, "summary-levels").locator(".study-live")
    summary.get_by_role("tab", name="In a paragraph").click()
    expect(summary.get_by_role("tabpanel")).to_contain_text("The statistics belong to the batch")
    summary.get_by_role("tab", name="In a paragraph").press("ArrowRight")
    expect(summary.get_by_role("tab", name="On a page")).to_be_focused()
    expect(summary.get_by_role("tabpanel")).to_have_count(1)
    expect(summary.get_by_role("tabpanel")).to_contain_text("How to check it")


def test_a_browser_without_a_voice_says_so(lecture):
    shown = output(lecture, "listen")
    expect(shown.get_by_text("To have this read aloud")).to_be_visible()
    lecture.run_live(LISTEN)
    shown = output(lecture, "listen")
    shown.get_by_role("button", name="Listen").click()
    expect(shown.get_by_role("status")).to_have_text(
        "This browser has no English voice, so nothing can be read aloud here. The text is on this page.",
        timeout=30_000,  # a browser may still be looking for voices
    )


def test_two_voices_read_and_a_pause_loses_one_sentence_at_most(lecture, desk):
    with speech(desk, VOICES):
        lecture.run_live(LISTEN)
        shown = output(lecture, "listen")
        button = {
            name: shown.get_by_role("button", name=name) for name in ("Listen", "Pause", "Stop", "Go on")
        }
        caption = shown.locator(".study-caption")

        desk.evaluate("window.pace = 1e6")
        button["Listen"].click()
        expect(caption).to_contain_text("Student. My backward pass is dx = dy * gamma / std.")
        button["Pause"].click()
        expect(button["Go on"]).to_be_focused()
        desk.evaluate("window.pace = 5")
        button["Go on"].press("Enter")
        expect(caption).to_be_hidden()  # all is read
        expect(button["Listen"]).to_be_enabled()

        spoken = desk.evaluate("window.spoken")
        assert spoken[0] == spoken[1]
        assert spoken[0][1].startswith("My backward pass is d y times gamma")
        assert [name for name, _ in spoken[1:4]] == ["one", "two", "two"]
        assert spoken[-1] == ["two", "Your formula is the first."]

        desk.evaluate("window.pace = 1e6")
        shown.get_by_label("What is read aloud").select_option("Summary: in a sentence")
        button["Listen"].click()
        expect(caption).to_contain_text("Batch normalization shifts and rescales")
        button["Stop"].click()
        expect(caption).to_be_hidden()
        assert len(desk.evaluate("window.spoken")) == len(spoken) + 1


def test_a_browser_without_speech_says_so(lecture, desk):
    with speech(desk, SILENCE):
        lecture.run_live(LISTEN)
        shown = output(lecture, "listen")
        shown.get_by_role("button", name="Listen").click()
        expect(shown.get_by_role("status")).to_contain_text("This browser has no speech")


def test_quiz_cards_and_summary_work_as_stored_and_as_run(lab, lecture, asked):
    play(lecture)
    lecture.run_live(AID)
    play(lecture)
    assert lecture.errors() == []
    # The packages would fetch a MathJax.
    assert [url for url in asked if not url.startswith((lab.url, "data:", "blob:"))] == []


def test_a_link_leads_to_its_word_in_the_glossary(lab, lecture, desk):
    link = lecture.panel.locator('a[href*="course/glossary.ipynb"][href$="#biased-variance"]').first
    link.click()
    glossary = Notebook(desk, lab.folder / "course/glossary.ipynb", lecture.artefacts)
    # JupyterLab shows a notebook that it opens from the top; one that is open, at the word.
    lecture.tab.click()
    link.click()
    heading = glossary.panel.locator("h3").filter(has_text=re.compile("^biased variance"))
    expect(heading).to_be_in_viewport()
