"""Prediction gates in a browser: on a page without Jupyter with all kinds, and in JupyterLab with a file."""

import html
import json
import random

import pytest
from playwright.sync_api import Page, expect

from course.days import DAYS
from course.site import build
from course.study import gates, predict
from course.study.predict import compare, gap_in_words
from course.study.texts import load, to_plain
from tests.accessible import violations
from tests.students import keep_in
from tests.test_predictions import MEASURED, day, lecture  # noqa: F401 (day is a fixture)

LECTURE = "course/day31_what_does_batch_normalization_change.ipynb"
THEME = (build.HERE / "theme.js").read_text(encoding="utf-8")  # which each page of the site begins with
#: Put an element into the middle and wait; a phone's page that is still being laid out goes back to its top.
CENTRED = """async (element) => {
    for (let tries = 0; tries < 20; tries++) {
        element.scrollIntoView({ block: "center" });
        const before = scrollY;
        await new Promise((done) => setTimeout(done, 200));
        if (scrollY === before && before) return;
    }
}"""
STYLE = (
    "<style>body { font: 15px system-ui; margin: 12px; background: white } [hidden] { display: none }</style>"
)


@pytest.fixture
def open_page(day, page, tmp_path):  # noqa: F811
    """Open a page with a gate of each kind, each in a section with something behind it."""
    sections = "".join(
        f'<section class="words"><h2 id="{name}">{name}</h2></section>'
        f'<div class="outputs">{predict("day26", name, measured).source}</div>'
        f'<section class="words" id="behind-{name}"><p>What {html.escape(name)} shows.</p></section>'
        for name, measured in MEASURED.items()
    )
    file = tmp_path / "page.html"
    meta = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    first = f"<title>Gates</title>{meta}<script>{THEME}</script>{STYLE}"
    text = f'<!doctype html><html lang="en">{first}<main>{sections}</main></html>'
    file.write_text(text, encoding="utf-8")
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))

    def open_page(width: int = 900, fragment: str = "") -> Page:
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(file.as_uri() + fragment)
        return page

    yield open_page
    assert problems == []


def card(page: Page, name: str):
    return page.locator(f'.study-predict[data-name="{name}"]')


def predict_all(page: Page) -> None:
    """Commit to something wrong everywhere."""
    card(page, "factor").get_by_role("slider").fill("150")
    card(page, "which").get_by_role("radio", name="the mean").check()
    card(page, "order").get_by_role("button", name="Move second up").click()
    card(page, "trained").get_by_role("button", name="gamma, in a forward pass").click()
    drawn = card(page, "decay").locator("svg")
    drawn.scroll_into_view_if_needed()
    box = drawn.bounding_box()
    page.mouse.move(box["x"] + 75, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 15, box["y"] + 60, steps=12)
    page.mouse.up()
    for name in MEASURED:
        card(page, name).get_by_role("button", name="This is my prediction").click()


SAYS = {
    "factor": "You said 10 times; it is 0.11 times.",
    "which": "It stays.",
    "order": "The third leads.",
    "trained": "One is missing.",
}


def test_what_is_behind_shows_when_something_was_predicted_and_is_remembered(open_page):
    page = open_page()
    for name in MEASURED:
        expect(page.locator(f"#behind-{name}")).to_be_hidden()
        expect(page.locator(f"#{name}")).to_be_visible()
    # Nothing was moved yet, so there is nothing to commit to; an order is one from the start.
    for name in MEASURED:
        button = card(page, name).get_by_role("button", name="This is my prediction")
        assert button.is_enabled() == (name == "order")
    predict_all(page)
    for _ in ("as predicted", "after a reload"):
        for name in MEASURED:
            expect(page.locator(f"#behind-{name}")).to_be_visible()
        for name, says in SAYS.items():
            expect(card(page, name).locator(".predict-says")).to_have_text(says)
        says = card(page, "decay").locator(".predict-says")
        expect(says).to_contain_text("Furthest off at 10: you drew")
        expect(says).to_contain_text("Each layer takes a half.")
        expect(card(page, "order").locator("li").first).to_contain_text("third")
        expect(card(page, "decay").get_by_text("your curve", exact=True)).to_be_visible()
        page.reload()


def test_a_count_is_a_whole_number(page):
    found = [output for each in DAYS for output, gate in gates.stored(lecture(each)) if gate.get("whole")]
    assert len(found) >= 5
    for output in found:
        page.set_content(output.data["text/html"])
        for part in (31, 77, 111, 150):
            page.get_by_role("slider").fill(str(part))
            said = page.get_by_role("slider").get_attribute("aria-valuetext")
            assert said and "." not in said


def test_a_right_prediction_is_told_so(open_page):
    page = open_page()
    card(page, "which").get_by_role("radio", name="the variance").check()
    for name in ("gamma, in a step", "running mean, in a forward pass"):
        card(page, "trained").get_by_role("button", name=name).click()
    card(page, "order").get_by_role("button", name="Move third up").click()
    card(page, "order").get_by_role("button", name="Move third up").click()
    for name in ("which", "trained", "order"):
        card(page, name).get_by_role("button", name="This is my prediction").click()
    expect(card(page, "which").locator(".predict-says")).to_have_text("It grows.")
    expect(card(page, "trained").locator(".predict-says")).to_have_text("Yes.")
    expect(card(page, "order").locator(".predict-says")).to_have_text("So it is.")


def test_whoever_wants_to_be_shown_is_and_may_predict_after_all(open_page):
    page = open_page()
    for name in MEASURED:
        card(page, name).get_by_role("button", name="Show me").click()
        expect(page.locator(f"#behind-{name}")).to_be_visible()
    expect(card(page, "factor").locator(".predict-says")).to_have_text("It is 0.11 times.")
    expect(card(page, "decay").locator(".predict-says")).to_have_text(
        "It falls: 0.5 at 1, 0.00098 at 10. Each layer takes a half."
    )
    card(page, "which").get_by_role("button", name="Predict again").click()
    expect(page.locator("#behind-which")).to_be_hidden()


def test_keys_are_enough(open_page):
    page = open_page()
    handle = card(page, "decay").get_by_role("slider", name="gradient at 5")
    handle.focus()
    before = handle.get_attribute("aria-valuetext")
    page.keyboard.press("PageDown")
    handle = card(page, "decay").get_by_role("slider", name="gradient at 5")
    expect(handle).to_be_focused()
    assert handle.get_attribute("aria-valuetext") != before
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(card(page, "decay").get_by_role("button", name="This is my prediction")).to_be_focused()
    page.keyboard.press("Enter")
    expect(card(page, "decay").locator(".predict-says")).to_be_focused()


def drawn_curves(seed: int):
    """Of each curve of the course: its id, its page, a curve that somebody may draw, and what Python says."""
    draw = random.Random(seed)
    curves = [one for each in DAYS for one in gates.stored(lecture(each)) if one[1]["kind"] == "curve"]
    for output, gate in curves:
        day_name, name = gate["id"].split(":")
        asked = load(day_name).prediction(name)
        points, (low, high) = gate["measured"][0]["points"], (asked.low, asked.high)
        parts = [draw.random() for _ in asked.x]
        guess = [low * (high / low) ** part if asked.log else low + part * (high - low) for part in parts]
        if draw.random() < 0.6:  # near the measured one
            right = {place.x: place.measured for place in compare(asked, points, guess).along}
            guess = [right[x] * draw.choice((1, 1.02, 1.15, 0.7)) for x in asked.x]
        compared = compare(asked, points, guess)
        says = f"{gap_in_words(asked, compared)} {to_plain(asked.says[compared.outcome])}"
        assert len(says.split()) <= 60, says
        yield gate["id"], output.data["text/html"], guess, says


@pytest.mark.parametrize("seed", range(4))
def test_a_drawn_curve_is_judged_as_python_judges_it(page, tmp_path, seed):
    names, sources, drawn, expected = zip(*drawn_curves(seed), strict=True)
    assert len(names) > 10
    kept = {name: {"answer": guess, "at": "2026-01-01"} for name, guess in zip(names, drawn, strict=True)}
    keep_in(page, "predictions", json.dumps({"version": 1, "gates": kept}))
    file = tmp_path / "curves.html"
    file.write_text(f"<!doctype html><title>Curves</title>{STYLE}<main>{''.join(sources)}</main>", "utf-8")
    page.goto(file.as_uri())
    says = page.locator(".predict-says")
    expect(says).to_have_count(len(names))
    assert says.all_text_contents() == list(expected)


@pytest.mark.parametrize(
    ("at", "above", "draws"),
    ((5, 12, True), (1, 60, True), (10, 40, True), (5, 50, False)),
    ids=("a handle", "the first", "the last", "elsewhere"),
)
def test_a_finger_draws_from_a_handle_or_an_end_and_scrolls_elsewhere(open_page, browser, at, above, draws):
    source = open_page().url
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    phone = context.new_page()
    phone.goto(source)
    handle = card(phone, "decay").get_by_role("slider", name=f"gradient at {at}", exact=True)
    handle.evaluate(CENTRED)
    box, before = handle.bounding_box(), handle.get_attribute("aria-valuetext")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    scrolled = phone.evaluate("scrollY")
    assert scrolled > 100  # room for a page that follows the finger down
    finger = context.new_cdp_session(phone)
    places = [("touchStart", y - above), *(("touchMove", y - above + 6 * step) for step in range(1, 9))]
    for kind, place in places:
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": place}]})
        phone.wait_for_timeout(20)
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    if draws:
        expect(handle).not_to_have_attribute("aria-valuetext", before)
        moved = (
            card(phone, "decay").get_by_role("slider", name=f"gradient at {at}", exact=True).bounding_box()
        )
        assert moved["y"] + moved["height"] / 2 == pytest.approx(y - above + 48, abs=2)
        assert phone.evaluate("scrollY") == scrolled
    else:
        phone.wait_for_function("scrolled => scrollY < scrolled - 10", arg=scrolled)
    context.close()


def test_an_address_leads_behind_a_gate(open_page):
    page = open_page(fragment="#behind-which")
    expect(page.locator("#behind-which")).to_be_visible()
    expect(page.locator("#behind-order")).to_be_hidden()


@pytest.mark.parametrize(
    "damaged", ("{", '{"version": 2}', '{"version": 1, "gates": {"day26:order": {"answer": 7}}}')
)
def test_what_the_browser_kept_may_be_damaged(open_page, damaged):
    page = open_page()
    keep_in(page, "predictions", damaged)
    page.reload()
    expect(page.locator("#behind-order")).to_be_hidden()
    card(page, "order").get_by_role("button", name="This is my prediction").click()
    expect(page.locator("#behind-order")).to_be_visible()


@pytest.mark.parametrize("width", (360, 900))
def test_it_fits_and_is_accessible_open_and_closed(open_page, width):
    page = open_page(width)
    for _ in range(2):
        assert violations(page) == ""
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if card(page, "which").locator(".predict-says").count() == 0:
            predict_all(page)


def test_in_jupyterlab_it_is_kept_in_a_file_and_read_in_another_browser(lab, browser, open_notebook):
    (lab.folder / "course/predictions.json").unlink(missing_ok=True)  # of other tests
    notebook = open_notebook(LECTURE)
    gate = notebook.panel.locator('.study-predict[data-name="shift-order"]')
    expect(gate.get_by_role("button", name="This is my prediction")).to_be_visible()
    hidden = notebook.panel.locator(".predict-behind")
    expect(hidden).not_to_have_count(0)
    gate.get_by_role("button", name="This is my prediction").click()
    expect(gate.locator(".predict-says")).to_be_visible()

    file = notebook.path.parent / "predictions.json"
    notebook.page.wait_for_function("() => window.coursePredictions")
    notebook.page.evaluate("() => window.coursePredictions")
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert kept["gates"]["day31:shift-order"]["answer"]

    context = browser.new_context(viewport={"width": 1280, "height": 900})
    other = context.new_page()
    other.goto(lab.address(LECTURE))
    says = other.locator('css:light=.study-predict[data-name="shift-order"] .predict-says')
    says.wait_for(timeout=60_000)
    context.close()
