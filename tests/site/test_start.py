"""The start page on the site: what is due and what to do next, by what the browser keeps."""

import json
import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

from course.explorers import modules
from course.study import review, startpage
from tests.accessible import violations
from tests.students import entry, keep_in

KEY = "normalization-and-momentum.review"
PLACE = "normalization-and-momentum.place"
PLAN = """async ([text, cards, kept, now]) => {
  const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  const { plan } = (await import(address)).default;
  const { queue, mistakes, learned } = plan(cards, kept, new Date(now));
  return [mistakes, queue.length - mistakes - learned];
}"""


def keep(page: Page, key: str, data: object) -> None:
    """Put something into what the browser keeps, and open the page again."""
    keep_in(page, key, data if isinstance(data, str) else json.dumps(data))
    page.reload()


def reviews(now: datetime) -> dict:
    """Twelve cards that are due, of twenty that were learned."""
    kept = review.empty()
    for place, card in enumerate(review.flashcards()[:20]):
        kept["cards"][card.id] = entry(now + timedelta(days=-1 if place < 12 else place))
    return kept


def test_a_new_reader_is_told_where_to_begin(read):
    page = read("index.html")
    expect(page.locator(".start-next")).to_have_text("Next Begin with day 25.")
    expect(page.locator(".start-facts")).to_contain_text("none learned yet")
    page.locator(".start-next a").click()
    assert page.url.endswith("/day25.html")


def test_what_is_due_and_where_the_reader_is(read):
    page = read("index.html")
    gates = {"day25:a": {"answer": 1, "at": "2026-11-20"}, "day27:b": {"answer": 2, "at": "2026-11-26"}}
    keep(page, "predictions", {"version": 1, "gates": gates})
    keep(page, PLACE, {"lecture": 27, "anchor": "", "section": ""})
    expect(page.locator(".start-next")).to_have_text("Next Go on with day 27.")
    keep(page, KEY, reviews(datetime.now(UTC)))
    said = "Next Review the 12 cards due today, about 4 minutes, then go on with day 27."
    expect(page.locator(".start-next")).to_have_text(said)
    facts = page.locator(".start-facts dd b")
    assert facts.all_inner_texts() == ["12", "20", "2"]
    page.get_by_role("link", name="12 cards due today").click()
    expect(page.locator(".review .count")).to_contain_text("12 to repeat")


@pytest.mark.parametrize("width", [390, 1280])
def test_a_reader_goes_on_where_reading_has_stopped(read, width):
    page = read("day27.html", width=width)
    kept = f"() => JSON.parse(localStorage.getItem('{PLACE}'))"
    assert page.evaluate(kept) == {"lecture": 27, "anchor": "", "section": ""}
    place = page.locator(".contents a").nth(3)
    name, anchor = place.text_content(), place.evaluate("link => link.hash")
    page.locator("main h2").nth(3).evaluate("heading => heading.scrollIntoView()")
    page.wait_for_function(f"text => ({kept})().section === text", arg=name)
    page.goto(page.url)  # at its top again, which is nobody's choice
    page.locator("a.home").click()
    expect(page.locator(".start-next")).to_have_text(f"Next Go on with day 27, {name}.")
    page.locator(".start-next a").click()
    page.wait_for_url(f"**/day27.html{anchor}")
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_function(f"() => ({kept})().section === ''")


def test_damaged_reviews_cost_a_sentence_and_stay(read):
    page = read("index.html")
    keep(page, KEY, '{"version": 1, "cards": {')
    expect(page.locator(".start-problem")).to_contain_text("damaged")
    keep(page, "predictions", "[]")
    keep(page, PLACE, "{")
    expect(page.locator(".start-next")).to_have_text("Next Begin with day 25.")
    assert page.evaluate(f"localStorage.getItem('{KEY}')") == '{"version": 1, "cards": {'


def test_a_browser_that_keeps_nothing_reads_as_well(read):
    page = read("index.html")
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('kept from'); } })"
    )
    page.reload()
    page.locator(".start-next a").click()
    page.locator("button.theme").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    gate = page.locator(".predict-card").first
    gate.get_by_role("button", name="Show me").click()
    expect(gate.get_by_role("button", name="Predict again")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_anybody_can_read_it(read, theme, width):
    page = read("index.html", width=width, theme=theme)
    keep(page, KEY, reviews(datetime.now(UTC)))
    expect(page.locator(".start-next")).to_contain_text("12 cards due")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(page, within=".start-place", every_rule=True) == ""


def test_python_and_the_page_agree_on_what_is_due(browser, monkeypatch):
    """For cards of all kinds, around the hour at which a day begins, and in a time zone of its own."""
    zone = "Pacific/Auckland"
    monkeypatch.setenv("TZ", zone)
    __import__("time").tzset()
    page = browser.new_context(timezone_id=zone).new_page()
    page.set_content("<p>")
    draw = random.Random(5)
    seen = set()
    for hour in (0, 3, 4, 5, 23):
        now = datetime(2026, 11, 27, hour, 30, tzinfo=ZoneInfo(zone)).astimezone(UTC)
        cards = [review.Card(f"c{k}", draw.choice([25, 26, 27]), "", "", k % 4 == 0) for k in range(40)]
        kept = review.empty()
        kept["left_out"] = {"days": [27], "at": "2026-11-01T00:00:00.000Z"}
        for card in cards[::2] + cards[1:20:4]:
            state = draw.choice([1, 2, 2, 2, 3])
            kept["cards"][card.id] = entry(now + timedelta(hours=draw.randint(-40, 40)), state)
        ours = startpage.due(cards, kept, now)
        told = [{"id": card.id, "day": card.day, "mistake": card.mistake} for card in cards]
        theirs = page.evaluate(PLAN, [modules.alone(review.MODULE), told, kept, now.isoformat()])
        assert [ours.mistakes, ours.repeated] == theirs
        seen.add(tuple(theirs))
    assert len(seen) > 2
