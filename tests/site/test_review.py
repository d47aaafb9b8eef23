"""The review on the site: cards are learned with keys, come back when FSRS says so, and are kept."""

import csv
import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from course.explorers import modules
from course.study import review
from tests.accessible import violations
from tests.site.conftest import stop_clock
from tests.students import keep_in
from tests.test_review import MERGED

#: A Friday, and a time zone in which a day is not that of UTC in the evening.
FRIDAY, HOURS = "2026-11-27T09:00:00", 3600
KEY = "normalization-and-momentum.review"
#: FSRS asked directly: a new card at a time, then the grades, each when the card is due.
DIRECT = """async ([text, at, grades]) => {
  const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  const { Rating, createEmptyCard, fsrs } = await import(address);
  let card = createEmptyCard(new Date(at));
  return grades.map((grade) => {
    card = fsrs().next(card, card.due, Rating[grade]).card;
    return JSON.parse(JSON.stringify(card));
  });
}"""
#: The page's module, asked the same.
OURS = """([at, grades]) => {
  let entry, now = new Date(at);
  return grades.map((grade) => {
    entry = reviewing.reviewed(entry, grade, now);
    now = new Date(entry.due);
    return entry;
  });
}"""


def kept(page: Page) -> dict:
    """What the browser keeps."""
    return json.loads(page.evaluate(f"localStorage.getItem('{KEY}')"))


def learn(page: Page, key: str = "4", cards: int = 10) -> None:
    """Learn new cards, each graded with a key, by the keyboard alone."""
    button = page.get_by_role("button", name="Learn")
    button.focus()
    button.press("Enter")
    for _ in range(cards):
        page.keyboard.press("Space")
        page.keyboard.press(key)


def count(page: Page) -> str:
    return page.locator(".review .count").inner_text()


def idle(page: Page) -> str:
    return page.locator(".review .idle").inner_text()


def go(page: Page, time: str) -> None:
    """Read the page again at another time."""
    page.clock.pause_at(time)
    page.reload()


def test_cards_are_learned_with_keys_and_kept(read):
    page = read("review.html", at=FRIDAY)
    assert idle(page) == "Nothing is due today."
    learn(page, cards=3)
    assert count(page) == "7 cards due today: 7 new. 3 done."
    expect(page.locator(".review .heard")).to_have_text("Easy: again in 8 days. 7 cards left today.")
    assert page.get_by_role("progressbar").evaluate("(bar) => bar.value / bar.max") == pytest.approx(0.3)
    page.reload()
    assert count(page) == "7 cards due today: 7 new. 3 done."
    page.keyboard.press("Enter")  # whatever has the focus
    assert page.locator(".review .back").is_visible()
    first = review.flashcards()[3]
    assert page.locator(".review .front").inner_html() == first.front
    assert page.locator(".review .back").inner_html() == first.back
    link = page.locator(".review .answer a")
    assert (link.get_attribute("href"), first.day) == ("day25.html", 25)
    assert list(kept(page)["cards"]) == [card.id for card in review.flashcards()[:3]]


def test_what_is_due_is_due_by_the_day_and_new_cards_are_ten_a_day(read):
    page = read("review.html", at=FRIDAY)
    learn(page)
    assert idle(page) == (
        "Nothing more is due today, 10 done. The next card is due in 8 days, on Saturday 5 December. "
        "10 new cards a day are enough; more can be learned tomorrow."
    )
    assert page.get_by_role("button", name="Learn").is_hidden()
    go(page, "2026-11-28T03:59:00")  # still Friday's
    assert page.get_by_role("button", name="Learn").is_hidden()
    go(page, "2026-11-28T04:01:00")
    assert idle(page) == "Nothing is due today. The next card is due in 7 days, on Saturday 5 December."
    assert page.get_by_role("button", name="Learn ten new cards").is_visible()
    go(page, "2026-12-04T12:00:00")
    assert "The next card is due tomorrow." in idle(page)
    go(page, "2026-12-05T04:30:00")  # before the hour at which they were learned
    assert count(page) == "10 cards due today: 10 to repeat. 0 done."
    page.keyboard.press("Space")
    page.keyboard.press("3")
    assert count(page) == "9 cards due today: 9 to repeat. 1 done."


def test_new_cards_that_were_left_are_spoken_of_until_they_are_learned(read):
    page = read("review.html", at=FRIDAY)
    learn(page, "4", cards=2)
    page.keyboard.press("Space")
    page.keyboard.press("3")
    assert count(page) == "8 cards due today: 1 to repeat, 7 new. 2 done."
    go(page, "2026-11-28T09:00:00")
    left = "You learned 3 new cards on Friday 27 November; you can go on with the next ones"
    assert count(page) == f"1 card due today: 1 to repeat. 0 done. {left} after these."
    page.keyboard.press("Space")
    page.keyboard.press("4")
    assert left + "." in idle(page)
    learn(page, cards=10)
    assert "You learned" not in idle(page)
    first = [card.id for card in review.flashcards()[:13]]
    assert list(kept(page)["cards"]) == first
    go(page, "2026-11-29T09:00:00")  # ten a day are all
    assert "You learned" not in idle(page)


def test_a_card_that_was_not_known_comes_back_at_once(read):
    page = read("review.html", at=FRIDAY)
    learn(page, "4", cards=7)
    unknown = page.locator(".review .front").inner_text()
    for key in ("1", "4", "4"):
        page.keyboard.press("Space")
        page.keyboard.press(key)
    assert count(page) == "1 card due today: 1 to repeat. 9 done."
    assert page.locator(".review .front").inner_text() == unknown
    page.keyboard.press("Space")
    page.keyboard.press("3")
    page.keyboard.press("Space")
    page.keyboard.press("3")
    assert idle(page).startswith("Nothing more is due today, 10 done. The next card is due tomorrow.")


def test_buttons_say_what_fsrs_says(read):
    page = read("review.html", at=FRIDAY)
    at = page.evaluate("new Date().toISOString()")
    scheduler = (Path(review.__file__).parent / "vendor" / "fsrs.js").read_text(encoding="utf-8")
    for grades in (
        ["Good", "Good", "Good", "Again", "Hard", "Easy"],
        ["Hard"] * 5,
        ["Easy", "Again", "Good"],
    ):
        direct = page.evaluate(DIRECT, [scheduler, at, grades])
        ours = page.evaluate(OURS, [at, grades])
        assert [entry | {"first": at} for entry in direct] == ours
        assert len({entry["due"] for entry in ours}) == len(grades)
    page.get_by_role("button", name="Learn").click()
    page.get_by_role("button", name="Show answer").click()
    for name in ("Again", "Hard", "Good", "Easy"):
        (entry,) = page.evaluate(DIRECT, [scheduler, at, [name]])
        wait = page.evaluate(
            "([due, at]) => reviewing.span(new Date(due) - new Date(at))", [entry["due"], at]
        )
        assert page.get_by_role("button", name=name).inner_text().split("\n") == [name, wait]


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (0, "1 min"),
        (1 / 6, "10 min"),
        (5, "5 h"),
        (24, "1 day"),
        (24 * 30, "30 days"),
        (24 * 76, "2.5 months"),
        (24 * 365.25 * 2, "2 years"),
    ],
)
def test_a_span_in_words(read, hours, words):
    assert read("review.html").evaluate("(ms) => reviewing.span(ms)", hours * HOURS * 1000) == words


def test_two_tabs_lose_no_review(read):
    one = read("review.html", at=FRIDAY)
    two = read("review.html", at="2026-11-27T09:05:00", context=one.context)
    cards = [card.id for card in review.flashcards()]
    # Each has read before, and writes after the other.
    learn(one, cards=1)
    for page, seen in ((two, 2), (one, 3)):
        left = f"{11 - seen} cards due today: {11 - seen} new. {seen - 1} done."
        expect(page.locator(".review .count")).to_have_text(left)
        page.keyboard.press("Space")
        page.keyboard.press("4")
        assert set(kept(page)["cards"]) == set(cards[:seen])
    two.get_by_role("checkbox", name="34").uncheck()
    one.keyboard.press("Space")
    one.keyboard.press("4")
    assert set(kept(one)["cards"]) == set(cards[:4])
    assert kept(one)["left_out"]["days"] == [34]


@pytest.mark.parametrize(("one", "other", "expected"), MERGED)
def test_pages_merge_as_python_does(read, one, other, expected):
    both = read("review.html").evaluate("([one, other]) => reviewing.merge(one, other)", [one, other])
    assert both == {name: part for name, part in expected.items() if name != "mistakes"}


@pytest.mark.parametrize(
    "text", ("{", "[]", '{"version": 1, "cards": {"a": {"due": "soon"}}}', '{"version": 9}')
)
def test_what_is_damaged_is_set_aside(read, text):
    page = read("glossary.html", at=FRIDAY)  # which leaves the text alone
    keep_in(page, KEY, text)
    page.goto(page.url.replace("glossary", "review"))
    expect(page.get_by_role("alert")).to_contain_text("is damaged. It was set aside")
    learn(page, cards=1)
    assert len(kept(page)["cards"]) == 1
    aside = page.evaluate("Object.keys(localStorage).filter((name) => name.includes('broken'))")
    assert [page.evaluate("(name) => localStorage.getItem(name)", name) for name in aside] == [text]


def test_a_browser_that_keeps_nothing_says_so(read):
    page = read("review.html", at=FRIDAY)
    full = "throw new DOMException('full', 'QuotaExceededError');"
    page.evaluate(f"() => {{ Storage.prototype.setItem = () => {{ {full} }}; }}")
    learn(page, cards=2)
    expect(page.get_by_role("alert")).to_contain_text("keeps nothing for this page")
    assert count(page) == "8 cards due today: 8 new. 2 done."


def test_days_are_left_out_and_this_is_remembered(read):
    page = read("review.html", at=FRIDAY)
    page.get_by_role("checkbox", name="25").uncheck()
    page.reload()
    assert not page.get_by_role("checkbox", name="25").is_checked()
    learn(page, cards=0)
    assert page.locator(".review .from").inner_text() == "Day 26"
    for box in page.get_by_role("checkbox").all():
        box.uncheck()
    assert idle(page) == "All days are left out. Tick a day to review its cards."


def test_keys_in_the_search_field_are_words(read):
    page = read("review.html", at=FRIDAY)
    learn(page, cards=0)
    page.keyboard.press("Space")
    page.locator("#search").press_sequentially("1 2")
    assert page.locator("#search").input_value() == "1 2"
    assert page.locator(".review .back").is_visible()


def test_cards_are_saved_for_anki(read):
    page = read("review.html")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save all cards for Anki").click()
    assert download.value.suggested_filename == "normalization-and-momentum.txt"
    text = download.value.path().read_text(encoding="utf-8")
    assert text == review.anki_text(review.flashcards())
    assert len(list(csv.reader(text.splitlines()[4:], delimiter="\t"))) == len(review.flashcards())


@pytest.mark.parametrize("theme", ("light", "dark"))
def test_it_is_accessible_at_every_step(read, theme):
    page = read("review.html", width=360, theme=theme)
    steps = (lambda: None, lambda: learn(page, cards=0), lambda: page.keyboard.press("Space"))
    for step in steps:
        step()
        assert violations(page) == ""
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.evaluate("document.activeElement.blur()")
    page.get_by_role("button", name="Good").focus()
    page.keyboard.press("Enter")
    assert page.locator(".review .card").evaluate("(card) => card === document.activeElement")


# ---------------------------------------------------------------------------- as in a notebook

#: A model as anywidget's, with what Python would do kept in its hands.
MODEL = """async ([text, traits]) => {
  const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  const { default: module } = await import(address);
  const heard = {};
  window.traits = { ...traits };
  window.model = {
    sent: [],
    get: (name) => traits[name],
    on: (name, hears) => { heard[name] = hears; },
    off: (name) => { delete heard[name]; },
    send: (message) => model.sent.push(JSON.parse(JSON.stringify(message))),
    answer: (kept, number) => {
      traits.kept = kept;
      heard["change:kept"]();
      heard["msg:custom"]({ saved: number });
    },
  };
  window.leave = module.render({ model, el: document.body });
}"""


@pytest.fixture
def notebook(browser):
    """A page in which the review stands as in a notebook, without a kernel; the clock stands."""
    context = browser.new_context()
    page = context.new_page()
    stop_clock(page, FRIDAY)
    mistake = review.Mistake(26, "batch_norm_forward", "eps", "eps stands outside the root.").card()
    traits = {
        "cards": [vars(card) for card in (*review.flashcards(), mistake)],
        "days": review.lectures({26: "day26_x.ipynb"}),
        "anki": "",
        "place": "",
        "kept": review.empty(),
        "problem": "",
    }
    page.evaluate(MODEL, [modules.alone(review.MODULE), traits])
    yield page
    context.close()


def test_what_check_has_named_comes_first(notebook):
    assert count(notebook) == "1 card due today: 1 from check. 0 done."
    assert "What is the idea?" in notebook.locator(".front").inner_text()
    notebook.get_by_role("button", name="Show answer").click()
    assert notebook.locator(".answer a").get_attribute("href") == "day26_x.ipynb"


def test_python_is_told_until_it_answers(notebook):
    def rate() -> dict:
        notebook.get_by_role("button", name="Show answer").click()
        notebook.keyboard.press("4")
        return notebook.evaluate("model.sent.at(-1)")

    first = rate()
    assert list(first["kept"]["cards"]) == ["check-batch_norm_forward-eps"]
    notebook.clock.run_for(4000)
    expect(notebook.get_by_role("alert")).to_be_hidden()
    notebook.clock.run_for(2000)
    expect(notebook.get_by_role("alert")).to_contain_text("The kernel does not answer")
    notebook.get_by_role("button", name="Learn").click()
    second = rate()
    assert len(second["kept"]["cards"]) == 2
    notebook.evaluate("([kept, number]) => model.answer(kept, number)", [second["kept"], second["number"]])
    expect(notebook.get_by_role("alert")).to_be_hidden()
    assert len(rate()["kept"]["cards"]) == 1
    notebook.evaluate("leave()")
    assert notebook.locator(".review").count() == 0


def test_what_a_restarted_kernel_has_not_heard_is_told_by_the_next_widget(notebook):
    notebook.evaluate("() => { model.send = () => { throw new Error('Cannot send'); }; }")
    notebook.get_by_role("button", name="Show answer").click()
    notebook.keyboard.press("4")
    expect(notebook.get_by_role("alert")).to_contain_text("restart the kernel and run all cells")
    assert "Nothing more is due today, 1 done." in idle(notebook)
    notebook.evaluate("leave()")
    notebook.evaluate(MODEL, [modules.alone(review.MODULE), notebook.evaluate("traits")])
    assert "Nothing more is due today, 1 done." in idle(notebook)
    (sent,) = notebook.evaluate("model.sent")
    assert list(sent["kept"]["cards"]) == ["check-batch_norm_forward-eps"]
    notebook.evaluate("([kept, number]) => model.answer(kept, number)", [sent["kept"], sent["number"]])
    expect(notebook.get_by_role("alert")).to_be_hidden()
    notebook.evaluate("leave()")
    notebook.evaluate(MODEL, [modules.alone(review.MODULE), notebook.evaluate("traits")])
    assert notebook.evaluate("model.sent") == []
