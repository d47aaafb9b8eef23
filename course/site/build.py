"""From notebooks to pages: lectures with their stored outputs, glossary, start page, exercises as released.

nbconvert walks through the notebooks with a template of ours (`template/`). Formulas become MathML, which
browsers show by themselves; explorers, study aids and the review are live, from what the notebooks store;
pictures and the data of explorers are files of their own, fetched when the reader comes near them. Nothing
asks the network, neither while the site is built nor while it is read, and it can be read from a disk.
"""

from __future__ import annotations

import base64
import html
import itertools
import json
import re
import shutil
import struct
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from posixpath import dirname, normpath
from typing import Any
from urllib.parse import quote, urlsplit

import nbformat
from latex2mathml.converter import convert as to_mathml
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from course.days import DAYS, Day, find_root
from course.explorers import modules
from course.explorers.pictures import MIME
from course.figures.shared import PIXEL_RATIO
from course.site.panels import panels
from course.study import parsons, review, startpage
from course.study.listen import parts as spoken_parts
from course.study.pages import asset
from course.study.texts import load

HERE = Path(__file__).parent
#: Cells that make no sense where nothing runs.
LEFT_OUT = {
    "index.ipynb": {"progress", "progress-table", "instructors", "map"},
    "review.ipynb": {"setup", "from-check", "in-python"},
}
OPENING = "open-anywhere"  # brings the course to where a notebook runs
SHORT = 24  # characters of a formula that fits into a phone's line with what stands around it
FORMULA_AND_SIGN = re.compile(r"<math\b[^>]*>(?:(?!</math>).)*</math>[.,;:!?)\]]+", re.DOTALL)
NAME = re.compile(r"[^\s:<>][^:<>]{0,22}: +")  # of a printed row, such as 'batches of 16: '
GAP = re.compile(r"( {2,})")  # between printed columns
NAMED = 24  # characters of a row that are its name at most: half a phone's width
CODE = re.compile(r"(<(?:code|pre)\b.*?</(?:code|pre)>)", re.DOTALL)
PERCENT = re.compile(r"(?<=\d) %")  # no line breaks there
SENTENCES = re.compile(r"^show\(", re.M)  # verdicts
#: Calls whose code says nothing to a reader of the page.
QUIET = re.compile(
    r"^(?:\w+_explorer|dialogue|summary|listen|flashcards|quiz|predict|review|show)\(.*\)$", re.DOTALL
)
#: In place of how a notebook is used.
HOW_TO_READ = (
    "Orange boxes ask for a prediction; what comes out appears when you commit to one. "
    "Explorers have sliders, which also follow the arrow keys; move them before you read on. "
    "What the code prints is stored; to change it, open the page as a notebook."
)
LISTEN = re.compile(r'^listen\("(day\d+)"\)$')
REVIEW = "from course.study.review import review\n\nreview()"
START = "from course.study.startpage import start\n\nstart()"
PARSONS = re.compile(r'^parsons\("(\w+)"\)$', re.M)
PARSONS_SCRIPT = "parsons.js"
#: What each gate brings along in a notebook, and a page of the site has once.
BY_ASSETS = re.compile(r"<style>.*?</style>|<script>.*?</script>", re.DOTALL)
KEPT_HERE = "Your reviews are kept in this browser, and nowhere else."


@dataclass
class Page:
    """A page of the site. source: its notebook, from the root; address: its place in the site."""

    source: str
    address: str
    name: str
    title: str = ""
    description: str = ""
    sections: list[tuple[str, str]] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    open: list[tuple[str, str]] = field(default_factory=list)
    texts: list[tuple[str, str, str]] = field(default_factory=list)  # anchor, heading, words
    used: set[str] = field(default_factory=set)  # modules of explorers
    reviews: bool = False
    starts: bool = False
    previous: Page | None = None
    next: Page | None = None
    theme: str = (HERE / "theme.js").read_text(encoding="utf-8").strip()

    @property
    def up(self) -> str:
        """The way from the page to the top of the site."""
        return "../" * self.address.count("/")

    @property
    def lecture(self) -> Day | None:
        """The day whose lecture it is, if it is one."""
        return next((day for day in DAYS if self.address == f"{day.name}.html"), None)


def repository(root: Path) -> str:
    """The address of the project's repository, from the one place where it stands: pyproject.toml."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Repository"].rstrip("/")


def pages(root: Path) -> list[Page]:
    """The pages in the order of reading: start page, lectures and their exercises, review, glossary."""
    found = [Page("course/index.ipynb", "index.html", "Start")]
    for day in DAYS:
        if lecture := day.lecture(root):
            path = lecture.relative_to(root).as_posix()
            found.append(Page(path, f"{day.name}.html", f"Day {day.number}: {day.title}"))
        if exercises := day.exercises(root):
            path = exercises.relative_to(root).as_posix()
            found.append(Page(path, f"exercises/{day.name}.html", f"Exercises of day {day.number}"))
    found.append(Page("course/review.ipynb", "review.html", "Review"))
    found.append(Page("course/glossary.ipynb", "glossary.html", "Glossary"))
    for before, after in itertools.pairwise(found):
        before.next, after.previous = after, before
    return found


def build(folder: Path, root: Path | None = None) -> list[Page]:
    """Write the site to `folder`, which is made anew.

    Raises:
        FileExistsError: `folder` holds something that is no site.
    """
    root = root or find_root()
    if folder.exists() and any(folder.iterdir()) and not (folder / "assets" / "site.css").is_file():
        raise FileExistsError(f"{folder} holds something that is no site; name another folder")
    every = pages(root)
    exporter = Exporter(every)
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    # A build that fails leaves the site that was there.
    with tempfile.TemporaryDirectory(dir=folder.absolute().parent) as place:
        new = Path(place, "site")
        (new / "assets").mkdir(parents=True)
        for page in every:
            text = exporter.page(page, root, new)
            target = new / page.address
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        _write_assets(new / "assets", every)
        if folder.exists():
            shutil.rmtree(folder)
        new.rename(folder)
    return every


def _write_assets(folder: Path, every: Sequence[Page]) -> None:
    light, dark = (HtmlFormatter(style=style).get_style_defs for style in ("default", "github-dark"))
    style = (HERE / "site.css").read_text(encoding="utf-8")
    sheets = ("study.css", "startpage.css", "predict.css", "panel.css", "review.css", "parsons.css")
    style += "\n".join(map(asset, sheets))
    style += f"\n{light('.code')}\n{dark('[data-theme=dark] .code')}\n"
    (folder / "site.css").write_text(style, encoding="utf-8")
    shutil.copyfile(modules.FOLDER / "kit.css", folder / "kit.css")
    script = (HERE / "site.js").read_text(encoding="utf-8")
    voice = asset("listen.js").replace("export default", "return")
    script += f"function gate(root, live) {{\n{asset('predict.js')}\n}}\n"
    script += f"const listening = (() => {{\n{voice}\n}})();\n"
    (folder / "site.js").write_text(script, encoding="utf-8")
    (folder / PARSONS_SCRIPT).write_text(modules.alone_classic(parsons.MODULE, "ordering"), encoding="utf-8")
    for page in every:
        if page.reviews:
            script = modules.alone_classic(review.MODULE, "reviewing")
            (folder / page.scripts[0]).write_text(script, encoding="utf-8")
        elif page.starts:
            script = modules.alone_classic(startpage.MODULE, "starting")
            (folder / page.scripts[0]).write_text(script, encoding="utf-8")
        elif page.used:
            days = [name for name in modules.names() if name in page.used]
            (folder / page.scripts[0]).write_text(modules.classic(days), encoding="utf-8")
    index = [
        {"address": page.address, "page": page.name, "anchor": anchor, "heading": heading, "text": words}
        for page in every
        for anchor, heading, words in page.texts
    ]
    (folder / "search.js").write_text(
        f"searchIndex = {json.dumps(index, ensure_ascii=False)};\n", encoding="utf-8"
    )


# ---------------------------------------------------------------------------- a notebook as a page


class Renderer(IPythonRenderer):
    """Markdown of a notebook: formulas as MathML, links to notebooks as links to pages."""

    def __init__(self, page: Page, addresses: dict[str, str], source_address: str, **options: Any) -> None:
        super().__init__(escape=False, exclude_anchor_links=True, **options)
        self._page, self._addresses, self._source_address = page, addresses, source_address

    def heading(self, text: str, level: int, **attributes: Any) -> str:
        """With an id that is the heading's words, as in JupyterLab."""
        words = html.unescape(re.sub(r"<[^>]+>", "", text))
        anchor = re.sub(r"\s+", "-", words.strip())
        if level == 2:
            self._page.sections.append((anchor, words))
        return f'<h{level} id="{html.escape(anchor)}">{text}</h{level}>\n'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        """A link of the site, where it leads to a notebook or another file of the project."""
        return super().link(text, self._address(url), title)

    def _address(self, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme or not parts.path:
            return url
        path = normpath(f"{dirname(self._page.source)}/{parts.path}")
        fragment = f"#{parts.fragment}" if parts.fragment else ""
        if path in self._addresses:
            return self._page.up + self._addresses[path] + fragment
        return f"{self._source_address}/blob/main/{path}{fragment}"

    def inline_math(self, body: str) -> str:
        """A formula in a line."""
        return _mathml(body, "inline")

    def block_math(self, body: str) -> str:
        """A formula that stands by itself."""
        return f'<div class="formula" tabindex="0">{_mathml(body.strip(), "block")}</div>'


def _rows(text: str) -> str:
    """What was printed, with the names of its rows marked: they stay in sight where a narrow page scrolls."""
    lines = ((_name(line), line) for line in text.split("\n"))
    marked = "\n".join(f"<b>{name}</b>{line[len(name) :]}" if name else line for name, line in lines)
    return f'<span class="rows">{marked}</span>'


def _name(line: str) -> str:
    """The front of a printed row up to a colon, or its first column and those behind it that hold words."""
    if found := NAME.match(line):
        return found[0]
    name = ""
    columns = GAP.split(line)
    for column, gap in zip(columns[::2], columns[1::2], strict=False):  # nothing lies behind the last one
        words = re.search(r"[^\W\d]", column) if name else column
        if not words or "<" in column or len(name + column) > NAMED:
            break
        name += column + gap
    return name[: NAMED + 2]


class Exporter(HTMLExporter):
    """nbconvert's exporter with our template, and with what a page needs beyond its notebook."""

    def __init__(self, every: Sequence[Page]) -> None:
        super().__init__(
            template_name="template",
            extra_template_basedirs=[str(HERE)],
            exclude_input_prompt=True,
            exclude_output_prompt=True,
        )
        self.register_filter("rows", _rows)
        self._every = every
        self._addresses = {page.source: page.address for page in every}

    def _markdown(self, source: str) -> str:
        renderer = Renderer(self._page, self._addresses, self._repository)
        text = MarkdownWithMath(renderer=renderer)(source)
        text = FORMULA_AND_SIGN.sub(_whole, text)
        parts = CODE.split(text)
        text = "".join(part if CODE.match(part) else PERCENT.sub("\u00a0%", part) for part in parts)
        # A table scrolls by itself where the page is narrow.
        text = text.replace("<table>", '<div class="wide" tabindex="0"><table>')
        return text.replace("</table>", "</table></div>")

    def page(self, page: Page, root: Path, folder: Path) -> str:
        """The text of a page; its pictures and data are written into `folder`."""
        self._page, self._repository = page, repository(root)
        notebook = nbformat.read(root / page.source, as_version=4)
        left_out = LEFT_OUT.get(Path(page.source).name, set()) | {OPENING}
        notebook.cells = [cell for cell in notebook.cells if cell.id not in left_out]
        for cell in notebook.cells:
            if cell.cell_type == "code":
                self._prepare(cell, page, folder)
            elif cell.id == "how-to-use":
                minutes = re.search(r"It takes about \d+ minutes\.", cell.source)
                cell.source = f"{minutes[0] if minutes else ''} {HOW_TO_READ}".strip()
        if page.used or page.reviews or page.starts:
            page.scripts.append(f"{Path(page.address).stem}.js")
        if page.address == "index.html":
            notebook.cells.append(nbformat.v4.new_markdown_cell(self._map(root), id="map"))
        title = re.search(r"^# (.+)$", notebook.cells[0].source, re.M)
        page.title = _plain(title[1]) if title else page.name
        page.description = _plain(notebook.cells[0].source.partition("\n\n")[2])[:160]
        if page.address != "index.html":
            page.open = _open(self._repository, page.source)
        # Its contents stand above the words, and are known when these have been gone through.
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.metadata["html"] = self._markdown(cell.source)
        _fold(notebook)
        page.texts = _texts(notebook)
        text, _ = self.from_notebook_node(notebook, resources={"page": page, "pages": self._every})
        return text

    def _prepare(self, cell: NotebookNode, page: Page, folder: Path) -> None:
        """Put pictures and data of a cell's outputs into files, and make its live parts known."""
        source = cell.source.strip()
        if QUIET.match(source):
            cell.metadata["hidden_source"] = True
        if cell.id == "setup":
            cell.metadata["folded"] = True
        cell.metadata["sentences"] = bool(SENTENCES.search(source))
        if found := LISTEN.match(source):
            cell.outputs = [_place("listen", spoken_parts(load(found[1])))]
            return
        if source.startswith("predict("):
            for output in cell.outputs:
                output.data["text/html"] = BY_ASSETS.sub("", output.data["text/html"])
            return
        if source == START:
            page.starts = cell.metadata["hidden_source"] = True
            cell.outputs = [_place("study study-start start-place", startpage.on_site(review.flashcards()))]
            return
        if source == REVIEW:
            page.reviews = True
            cell.outputs = [_place("review-place", self._review())]
            return
        if found := PARSONS.search(source):
            cell.metadata["hidden_source"] = True
            page.scripts = [PARSONS_SCRIPT]
            cell.outputs = [_place("parsons-place", parsons.load(found[1]).as_data())]
            return
        for number, output in enumerate(cell.get("outputs", ())):
            data = output.get("data", {})
            name = f"{Path(page.address).stem}-{cell.id}-{number}"
            if "image/png" in data:
                path = f"pictures/{name}.png"
                (folder / "pictures").mkdir(exist_ok=True)
                (folder / path).write_bytes(base64.b64decode(data["image/png"]))
                words = data.get("text/plain", "").removeprefix("Picture: ")
                output.metadata["site"] = {"picture": path, "words": words}
                if MIME not in data:
                    output.metadata["site"]["panels"] = _panels(base64.b64decode(data["image/png"]))
            if MIME in data:
                stored = data.pop(MIME)
                page.used.add(stored["module"])
                (folder / "explorers").mkdir(exist_ok=True)
                text = json.dumps(stored, ensure_ascii=False, separators=(",", ":"))
                (folder / "explorers" / f"{name}.js").write_text(
                    f"explorerData[{json.dumps(name)}] = {text};\n", encoding="utf-8"
                )
                picture = output.metadata.get("site", {}).get("picture", "")
                size = output.metadata.get("image/png", {"width": 820, "height": 600})
                output.data = {
                    "text/html": f'<div class="explorer-place" data-explorer="{name}">'
                    f'<img src="{page.up}{picture}" alt="{html.escape(data.get("text/plain", ""))}" '
                    f'width="{size["width"]}" height="{size["height"]}" loading="lazy"></div>'
                }

    def _review(self) -> dict[str, Any]:
        """What the review is given, as in a notebook but for what `check` has named."""
        cards = review.flashcards()
        found = {day.number: f"{day.name}.html" for day in DAYS}
        return {
            "cards": [asdict(card) for card in cards],
            "days": review.lectures({n: a for n, a in found.items() if a in self._addresses.values()}),
            "anki": review.anki_text(cards),
            "place": KEPT_HERE,
        }

    def _map(self, root: Path) -> str:
        """The days as a list of cards."""
        cards = []
        for page in self._every[1:]:
            if (day := page.lecture) is None:
                continue
            exercises = self._addresses.get(f"exercises/{day.name}/{day.name}.ipynb")
            needs = re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(day.needs))
            cards.append(
                f'<li><a class="lecture" href="{page.address}">'
                f"<b>{day.number}</b> {html.escape(day.title)}</a>"
                + (f'<a class="practice" href="{exercises}">exercises</a>' if exercises else "")
                + f"<small>needs {needs}</small></li>"
            )
        return '<ul class="map">\n' + "\n".join(cards) + "\n</ul>"


def _panels(png: bytes) -> list[dict[str, Any]]:
    """For a narrow page, each panel of a picture: its width in CSS pixels, and how its parts are cut out."""
    (width,) = struct.unpack(">I", png[16:20])
    return [
        {
            "width": sum(right - left for left, _, right, _ in boxes) / PIXEL_RATIO,
            "parts": [
                {
                    "width": right - left,
                    "height": bottom - top,
                    "whole": 100 * width / (right - left),
                    "left": -100 * left / (right - left),
                    "top": -100 * top / (bottom - top),
                }
                for left, top, right, bottom in boxes
            ],
        }
        for boxes in panels(png)
    ]


def _place(kind: str, data: Any) -> NotebookNode:
    """The output in which site.js puts something live of this kind, with the data that it is given."""
    text = json.dumps(data, ensure_ascii=False).replace("</", "<\\/")
    place = f'<div class="{kind}"><script type="application/json">{text}</script></div>'
    return nbformat.v4.new_output("display_data", data={"text/html": place})


def _open(address: str, source: str) -> list[tuple[str, str]]:
    """Where a notebook can be opened to run: names and addresses."""
    project = address.removeprefix("https://github.com/")
    path = quote(source)
    return [
        ("JupyterLab on Binder", f"https://mybinder.org/v2/gh/{project}/HEAD?urlpath=lab/tree/{path}"),
        ("Colab", f"https://colab.research.google.com/github/{project}/blob/main/{path}"),
        ("Codespaces", f"https://codespaces.new/{project}"),
    ]


def _whole(found: re.Match[str]) -> str:
    """A formula and the sign behind it: no line breaks between them, if a phone's line holds them."""
    short = len(html.unescape(re.sub(r"<[^>]+>", "", found[0]))) <= SHORT
    return f'<span class="whole">{found[0]}</span>' if short else found[0]


def _mathml(body: str, display: str) -> str:
    """A formula."""
    # The converter would print the backslash of a name's \_, and a bar that is made \big.
    body = re.sub(r"\\text\{[^{}]*\}", lambda found: found[0].replace(r"\_", "_"), body)
    return to_mathml(re.sub(r"\\big(?=\\[lr]Vert)", "", body), display=display)


def _plain(markdown: str) -> str:
    """Markdown as words on one line."""
    text = re.sub(r"<[^>]+>", " ", markdown)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"\s+", " ", re.sub(r"[*`$#|\\]", "", text)).strip()


def _fold(notebook: NotebookNode) -> None:
    """Say of each section that JupyterLab keeps folded where it begins, with which heading, and ends."""
    level = 0
    for cell in notebook.cells:
        heading = re.match(r"#+(?= )", cell.source) if cell.cell_type == "markdown" else None
        if level and heading and len(heading[0]) <= level:
            cell.metadata["ends_fold"], level = True, 0
        if heading and cell.metadata.get("jp-MarkdownHeadingCollapsed"):
            level = len(heading[0])
            above, end, cell.metadata["html"] = cell.metadata["html"].partition(f"</h{level}>")
            cell.metadata["fold"] = above + end


def _texts(notebook: NotebookNode) -> list[tuple[str, str, str]]:
    """The words of a notebook below each of its headings: anchor, heading, words."""
    found: list[tuple[str, str, str]] = []
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        for part in re.split(r"^(?=#{1,3} )", cell.source, flags=re.M):
            heading = re.match(r"#{1,3} (.+)", part)
            words = _plain(part[heading.end() :] if heading else part)
            if heading:
                name = _plain(heading[1])
                found.append((re.sub(r"\s+", "-", name), name, words))
            elif found and words:
                anchor, name, before = found[-1]
                found[-1] = (anchor, name, f"{before} {words}".strip())
    return found
