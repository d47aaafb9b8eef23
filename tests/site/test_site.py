"""The site: complete, offline, small, free of solutions, and readable by everybody."""

import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

from course.days import DAYS
from course.explorers.pictures import MIME
from course.site.build import build, pages, repository
from tests.accessible import violations
from tests.gates import open_gates

ROOT = Path(__file__).resolve().parent.parent.parent
FIRST_PAGE = 300_000  # bytes before pictures
ADDRESSES = [page.address for page in pages(ROOT)]
SCRIPTS = 150_000  # bytes of a page's JavaScript, compressed


class Held(HTMLParser):
    """What a page links to, what it loads, and the ids that it has."""

    def __init__(self, text: str):
        super().__init__()
        self.links, self.loaded, self.ids, self.scripts, self._script = [], [], set(), [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        held = dict(attributes)
        if "id" in held:
            self.ids.add(held["id"])
        if tag == "a" and "href" in held:
            self.links.append(held["href"])
        if tag == "link" and held.get("rel") != "icon":
            self.loaded.append(held["href"])
        if "src" in held:
            self.loaded.append(held["src"])
        self._script = tag == "script"

    def handle_data(self, data):
        if self._script:
            self.scripts.append(data)
            self._script = False


@pytest.fixture(scope="module")
def held(site):
    folder, every = site
    return {page.address: Held((folder / page.address).read_text(encoding="utf-8")) for page in every}


def target(address: str, link: str) -> tuple[str, str]:
    """The file from the top of the site that a link of a page leads to, and the fragment."""
    parts = urlsplit(link)
    path = (Path("/", address).parent / unquote(parts.path)).as_posix() if parts.path else f"/{address}"
    resolved = Path(path).resolve() if ".." in path else Path(path)
    return resolved.as_posix().lstrip("/"), unquote(parts.fragment)


def test_it_has_every_day_its_exercises_review_glossary_and_start_page(site):
    folder, every = site
    wanted = {"index.html", "review.html", "glossary.html"}
    wanted |= {f"{day.name}.html" for day in DAYS} | {f"exercises/{day.name}.html" for day in DAYS}
    assert {page.address for page in every} == wanted
    assert all((folder / address).is_file() for address in wanted)


def test_links_lead_somewhere(site, held):
    folder, _ = site
    project = repository(ROOT)
    for address, page in held.items():
        for link in page.links:
            if urlsplit(link).scheme:
                if link.startswith(f"{project}/blob/main/"):
                    assert (ROOT / link.removeprefix(f"{project}/blob/main/")).exists(), (address, link)
                continue
            path, fragment = target(address, link)
            assert (folder / path).is_file(), (address, link)
            if fragment and path in held:
                assert fragment in held[path].ids, (address, link)


def test_nothing_is_loaded_from_elsewhere(site, held):
    folder, _ = site
    for address, page in held.items():
        for loaded in page.loaded:
            assert not urlsplit(loaded).scheme and not loaded.startswith("//"), (address, loaded)
            assert (folder / target(address, loaded)[0]).is_file(), (address, loaded)


def test_every_stored_explorer_and_picture_is_there(site):
    folder, every = site
    for page in every:
        notebook = nbformat.read(ROOT / page.source, as_version=4)
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
        text = (folder / page.address).read_text(encoding="utf-8")
        explorers = [output for output in outputs if MIME in output.get("data", {})]
        places = re.findall(r'data-explorer="([^"]+)"', text)
        assert len(places) == len(explorers), page.address
        for name, output in zip(places, explorers, strict=True):
            script = (folder / "explorers" / f"{name}.js").read_text(encoding="utf-8")
            stored = json.loads(script.removeprefix(f'explorerData["{name}"] = ').rstrip(";\n"))
            assert stored == output["data"][MIME]
        shown = re.findall(r'<img [^>]*alt="[^"]', text)  # its parts, for a phone, say nothing
        assert len(shown) == sum("image/png" in output.get("data", {}) for output in outputs)


def test_no_solution_is_on_it(site):
    folder, _ = site
    texts = [
        path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.suffix in (".html", ".js")
    ]
    everything = re.sub(r"<[^>]+>", "", "\n".join(texts))
    seen = 0
    for path in sorted(ROOT.glob("solutions/*/*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            for solution in re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", cell.source, re.S):
                seen += 1
                assert solution.strip() not in everything, f"{path.name}: {cell.id}"
    assert seen > 50
    assert "BEGIN SOLUTION" not in everything


def test_pages_are_small(site, held):
    folder, every = site
    shared = [folder / "assets" / name for name in ("site.css", "kit.css", "site.js")]
    first = (folder / "index.html").stat().st_size + sum(path.stat().st_size for path in shared)
    assert first <= FIRST_PAGE
    for page in every:
        files = [
            folder / target(page.address, name)[0]
            for name in held[page.address].loaded
            if name.endswith(".js")
        ]
        size = sum(len(gzip.compress(path.read_bytes())) for path in files)
        inline = len(gzip.compress("".join(held[page.address].scripts).encode()))
        assert size + inline <= SCRIPTS, page.address


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(FileExistsError, match="no site"):
        build(tmp_path)
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_next_by_next_leads_through_all_of_the_course(site):
    folder, _ = site
    seen = ["index.html"]
    while found := re.findall(
        r'<a href="([^"]+)" rel="next"', (folder / seen[-1]).read_text(encoding="utf-8")
    ):
        seen.append(target(seen[-1], found[0])[0])
    assert seen == ADDRESSES


# ---------------------------------------------------------------------------- in a browser


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_phone_reads_it_and_its_explorers_wake(read, address):
    page = read(address, width=360)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    open_gates(page)
    for place in page.locator(".explorer-place").all():
        place.scroll_into_view_if_needed()
        place.locator(".explorer").wait_for()
        slider = place.get_by_role("slider").first
        before = slider.get_attribute("aria-valuetext")
        slider.press("ArrowRight")
        if slider.get_attribute("aria-valuetext") == before:
            slider.press("ArrowLeft")
        assert slider.get_attribute("aria-valuetext") != before
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("theme", ("light", "dark"))
@pytest.mark.parametrize(
    "address", ("index.html", "day26.html", "day29.html", "exercises/day26.html", "glossary.html")
)
def test_it_is_accessible(read, address, theme):
    page = read(address, theme=theme)
    # What changes is looked at as it comes; all else is looked at with what it changes into.
    changes = ".study-predict, .explorer-place"
    assert (page.locator(changes).count() > 0) == address.startswith("day")
    if address.startswith("day"):
        assert violations(page, within=changes) == ""
    open_gates(page)
    for place in page.locator(".explorer-place").all():
        place.scroll_into_view_if_needed()
        place.locator(".explorer").wait_for()
    assert violations(page) == ""


def test_search_finds_a_section_and_leads_there(read):
    page = read("day33.html")
    page.keyboard.press("/")
    page.keyboard.type("running statistics")
    first = page.locator("#found a").first
    first.wait_for()
    assert "Glossary" in first.inner_text()
    page.keyboard.press("Enter")
    page.wait_for_url("**/glossary.html#running-statistics")


def test_the_theme_is_kept(read):
    page = read("index.html")
    background = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(background)
    page.get_by_role("button", name="Light or dark").click()
    after = page.evaluate(background)
    assert after != before
    page.goto(page.url.replace("index.html", "glossary.html"))
    assert page.evaluate(background) == after


@pytest.mark.parametrize("address", ["index.html", "day26.html", "review.html"])
def test_nothing_is_asked_of_storage_before_the_browser_knows_the_page(read, address):
    """Else a page from the disk may see nothing of what is kept, and keep nothing (Chromium, under load)."""
    page = read("glossary.html")
    page.add_init_script("""
      window.asked = [];
      const { get } = Object.getOwnPropertyDescriptor(Document.prototype, "cookie");
      const cookie = { get() { asked.push("cookies"); return get.call(this); } };
      Object.defineProperty(Document.prototype, "cookie", cookie);
      const getItem = Storage.prototype.getItem;
      Storage.prototype.getItem = function (name) { asked.push(name); return getItem.call(this, name); };
    """)
    page.goto(page.url.replace("glossary.html", address))
    assert page.evaluate("asked.slice(0, 2)") == ["cookies", "theme"]


def test_study_aids_are_live(read):
    page = read("day26.html")
    card = page.locator(".study-cards .flip-container")
    card.scroll_into_view_if_needed()
    assert page.locator(".study-quiz .study-questions").is_visible()
    assert page.get_by_role("tab", name="In a sentence").is_visible()
    assert page.get_by_role("button", name="Listen").is_visible()


def test_no_line_breaks_between_a_formula_and_the_sign_behind_it(site):
    folder, every = site
    text = "".join((folder / page.address).read_text(encoding="utf-8") for page in every)
    found = re.findall(r"(<math\b(?:(?!</math>).)*</math>)[.,;:!?)\]]+(.{0,7})", text, re.DOTALL)
    assert found
    for formula, rest in found:
        assert rest == "</span>" or len(re.sub(r"<[^>]+>", "", formula)) > 20, formula


def test_the_search_leads_to_headings_and_knows_names_with_underscores(site, held):
    folder, _ = site
    text = (folder / "assets/search.js").read_text(encoding="utf-8")
    index = json.loads(text.removeprefix("searchIndex = ").rstrip().removesuffix(";"))
    assert [entry for entry in index if entry["anchor"] not in held[entry["address"]].ids] == []
    assert any("running_mean" in entry["text"] for entry in index)
    assert any("momentum_roots" in entry["heading"] for entry in index)


def test_formulas_have_no_marks_of_latex(site):
    folder, every = site
    for page in every:
        formulas = re.findall(
            r"<math.*?</math>", (folder / page.address).read_text(encoding="utf-8"), re.DOTALL
        )
        assert [formula for formula in formulas if "\\" in re.sub(r"<[^>]+>", "", formula)] == [], (
            page.address
        )


def test_what_jupyterlab_keeps_folded_is_folded(read):
    page = read("exercises/day26.html")
    heading = page.get_by_role("heading", name="Step by step")
    within = page.get_by_text("Each step is its own function.")
    behind = page.get_by_role("heading", name="All together")
    assert heading.is_visible() and behind.is_visible() and not within.is_visible()
    heading.click()
    assert within.is_visible()


def test_names_of_printed_rows_stay_in_sight_on_a_phone(read):
    """A table that is wider than a phone scrolls, and its numbers alone would say nothing."""
    page = read("day31.html", width=390)
    open_gates(page)
    table = page.locator("#cell-experiment-shift-numbers pre")
    before = [name.bounding_box() for name in table.locator("b").all()]
    assert len(before) == 3
    assert table.inner_text().splitlines()[1].startswith("plain ")
    table.evaluate("element => element.scrollLeft = 200")
    assert table.evaluate("element => element.scrollLeft") == 200
    assert [name.bounding_box() for name in table.locator("b").all()] == before
