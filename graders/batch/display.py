"""Makes what a notebook shows harmless, wherever it is opened.

Instructors open `autograded/` in the Formgrader, a page with the power to change grades, and students get
the same cells back in `feedback/`. Both put HTML and rendered Markdown into the page as they find it. So
whatever is not the judge's own is written down as data: text, pictures, and HTML that nh3 has cleaned, with
its style sheets written into the elements that they meet, in a box that nothing leaves.

Cleaning is idempotent: what was cleaned once is not changed by doing it again.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from html import escape
from typing import Any
from urllib.parse import unquote

import css_inline
import nh3
import tinycss2
from bleach.css_sanitizer import ALLOWED_CSS_PROPERTIES
from bs4 import BeautifulSoup
from nbconvert.exporters import HTMLExporter
from nbformat.notebooknode import from_dict
from pygments.token import STANDARD_TYPES

from graders.judging.report import FOLLOW, as_html
from graders.judging.verdict import MIME, Verdict

#: The language of every notebook here, as a kernel writes it; a page picks its lexer by it.
LANGUAGE = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}
#: Longer HTML is not shown, and longer Markdown is shown as text, in characters.
HTML_LIMIT = 4 << 20
MARKDOWN_LIMIT = 100_000
#: Markdown with more of these openings is shown as text: for each, a renderer looks through all that follows.
SLOW_LIMIT = 500
_SLOW = ("\\begin{", "\\\\[", "\\\\(", "<!", "<?")
#: Rendered lines with more opening brackets times characters are shown as text: nbconvert looks for a link
#: through the rest of the line, from each of them.
BRACKETS_LIMIT = 2_000_000
#: How deep elements may stand in each other; browsers and parsers need a stack for it.
HTML_DEPTH = 200

#: A box that clips what is in it, and that `position: fixed` cannot leave. Browsers cannot place what stands
#: below some 30 million pixels, so that it has an end.
_OPEN, _CLOSE = '<div style="contain: content; max-height: 20000px; overflow: auto">', "</div>"
_TEXT_ALONE = re.compile(re.escape(f"{_OPEN}<pre>") + "[^<\n]*" + re.escape(f"</pre>{_CLOSE}"))
#: Elements that need no end, so that many of them may follow each other.
_ENDLESS = {
    *("br", "hr", "img", "col", "wbr", "source", "input", "meta", "link", "path", "use", "li", "td", "th"),
    *("tr", "p", "dt", "dd"),
}
_PICTURES = ("image/png", "image/jpeg")
_TAGS = nh3.ALLOWED_TAGS - {"map", "area"} | {"audio", "video", "source", "tfoot"}
_ATTRIBUTES: dict[str, set[str]] = {
    **{tag: set(names) for tag, names in nh3.ALLOWED_ATTRIBUTES.items()},
    "*": {"class", "style", "title", "dir", "lang", "align"},
    "a": {"href"},
    "details": {"open"},
    "audio": {"controls", "src"},
    "video": {"controls", "src", "width", "height"},
    "source": {"src", "type"},
    **{tag: {"id"} for tag in ("h1", "h2", "h3", "h4", "h5", "h6")},
}
_SWALLOWED = {
    "script",
    "style",
    "template",
    "iframe",
    "noscript",
    "title",
    "textarea",
    "select",
    "math",
    "svg",
}
#: What the pages' own style sheets know: pandas' tables and code. Their scripts know other names.
_CLASSES = {"dataframe", "highlight", "anchor-link", *filter(None, STANDARD_TYPES.values())}
_PROPERTIES = ALLOWED_CSS_PROPERTIES | {
    *("background", "border", "border-collapse", "border-radius", "border-spacing", "caption-side", "flex"),
    *("flex-direction", "flex-wrap", "gap", "justify-content", "align-items", "list-style-type", "margin"),
    *("max-height", "max-width", "min-height", "min-width", "opacity", "padding", "table-layout"),
    *(
        f"{kind}-{side}"
        for kind in ("border", "margin", "padding")
        for side in ("top", "right", "bottom", "left")
    ),
    *(
        "border-style",
        "border-width",
        "text-transform",
        "word-break",
        "word-wrap",
        "overflow-x",
        "overflow-y",
    ),
}
_FUNCTIONS = {"rgb", "rgba", "hsl", "hsla", "calc", "min", "max", "linear-gradient"}
_ALIGNMENT = frozenset({"text-align"})
#: Elements of the pages that their scripts find by id, beside those that are named after a released cell.
_PAGE_IDS = {"notebook", "notebook-container", "statusmessage", "help-dialog", "toc", "top"}
#: A picture beside the notebook: a plain relative path, which no server takes for one of its own pages.
_OWN_FILE = re.compile(r"(?:\w(?:[\w-]|%20| )*/)*\w(?:[\w.-]|%20| )*\.(?:png|jpe?g|gif|webp|svg)", re.I)
_MEDIA = re.compile(
    r"data:(?:image/(?:png|jpeg|gif|webp|svg\+xml)|(?:audio|video)/[\w.+-]+);base64,[A-Za-z0-9+/=\s]*"
)
#: Commands by which a formula reaches beyond itself. A word joiner after the backslash makes them no command.
_REACHING = re.compile(
    r"\\(?=(?:href|url|style|class|cssId|id|require|unicode|data|mmlToken|includegraphics)(?![A-Za-z]))"
)
_WORD_JOINER = "\\\u2060"
#: Commands by which a formula is drawn beside its place, over what stands there; in a box it is clipped.
_MOVING = re.compile(
    r"\\(?:bbox|[rR]ule|Space|raise|lower|moveleft|moveright|smash|(?:math)?[clr]lap|hspace|hskip|[hm]?kern"
    r"|mskip|mspace|enclose|[bx]?cancel|cancelto)(?![A-Za-z])|\\\\\s*\["
)
#: The judge's report, as it alone is written: its own style sheet, its own elements, and text.
_REPORT = re.compile(
    r'<div class="graders-verdict(?: passed)?"(?: data-[a-z-]+="[^"<>]*")*>'
    + re.escape(as_html(Verdict("", 0, 0, "", "")).partition("<style>")[2].partition("</style>")[0]).join(
        ("<style>", "</style>")
    )
    + r"(?P<body>(?:[^<>]|</?(?:h4|p|span|code|div|table|tr|th|td|pre|details|summary)"
    r'(?: open| class="?(?:diagnosis|good|bad|off|grids?|small)"?)?>)*)</div>'
)
#: A link of a report to a lecture, which leads there from the student's notebook alone.
_LECTURE = re.compile(r'<a href="[\w./-]*\.ipynb#[^"<>]*">([^<>]*)</a>')
_ELEMENT = re.compile(r"<(/?)([a-z0-9]+)")
#: Pictures that are larger are shown in their own size, in pixels.
SIZE_LIMIT = 10_000
_SVG = re.compile(r"<svg\b.*?</svg\s*>", re.I | re.S)
_BOXES = {
    '<input class="task-list-item-checkbox" type="checkbox" disabled/>': "☐ ",
    '<input class="task-list-item-checkbox" type="checkbox" disabled checked/>': "☑ ",
}
_FLAGS = ("collapsed", "deletable", "editable", "jp-MarkdownHeadingCollapsed", "scrolled")
_WORD = re.compile(r"[\w.:-]{1,100}")


def make_harmless(node: Any, released: frozenset[str] = frozenset()) -> None:
    """Clean all that an executed notebook (nbformat's node) shows, in place.

    released: the instructor's own Markdown, which stays as it is.
    """
    kernel = node.metadata.get("kernelspec")
    node.metadata = from_dict({"language_info": LANGUAGE})
    if isinstance(kernel, Mapping):
        node.metadata.kernelspec = from_dict({k: v for k, v in kernel.items() if isinstance(v, str)})
    taken = frozenset(_ids_of_the_page(node.cells))
    for cell in node.cells:
        cell.metadata = _cell_metadata(cell.metadata)
        if cell.cell_type == "code":
            cell.outputs = [from_dict(_output(one)) for one in cell.outputs]
        elif cell.cell_type == "markdown":
            if cell.source not in released or cell.get("attachments"):
                _clean_markdown_cell(cell, taken)
        else:
            cell.source = _held(_cleaned(cell.source, boxed=False) if "<" in cell.source else cell.source)
            cell.pop("attachments", None)


# Cells


def _ids_of_the_page(cells: Iterable[Any]) -> Iterable[str]:
    yield from _PAGE_IDS
    for cell in cells:
        name = cell.metadata.get("nbgrader", {})
        name = name.get("grade_id") if isinstance(name, Mapping) else None
        if isinstance(name, str):
            yield from (name, f"{name}-comment", f"{name}_extra_credit", f"comment-{name}")


def _cell_metadata(metadata: Mapping[str, Any]) -> Any:
    """What nbgrader needs, and tags that are a word: pages print them among their classes."""
    kept: dict[str, Any] = {name: metadata[name] for name in _FLAGS if isinstance(metadata.get(name), bool)}
    tags = metadata.get("tags")
    if isinstance(tags, list):
        kept["tags"] = [tag for tag in tags if isinstance(tag, str) and _WORD.fullmatch(tag)]
    form = metadata.get("nbgrader")
    if isinstance(form, Mapping) and _WORD.fullmatch(str(form.get("grade_id", ""))):
        kept["nbgrader"] = form
    return from_dict(kept)


def _clean_markdown_cell(cell: Any, taken: frozenset[str]) -> None:
    """Leave the source as it is where its rendering is harmless; else put the cleaned rendering there."""
    pictures = {
        str(name): {kind: data for kind, data in forms.items() if _is_picture(kind, data)}
        for name, forms in (cell.pop("attachments", None) or {}).items()
        if isinstance(forms, Mapping)
    }
    pictures = {name: forms for name, forms in pictures.items() if forms}
    if pictures:
        cell.attachments = from_dict(pictures)
        cell.source = _clean_markdown.__wrapped__(cell.source, taken, pictures)
    else:
        cell.source = _clean_markdown(cell.source, taken)


@lru_cache(maxsize=1024)
def _clean_markdown(source: str, taken: frozenset[str], pictures: Mapping[str, Any] | None = None) -> str:
    """The same for a text. It is remembered, since most cells of a class are the released ones."""
    if _TEXT_ALONE.fullmatch(source):
        return source
    rendered = _rendered(source, pictures)
    if rendered is None:
        return _as_block(_as_text(source))
    still = not _MOVING.search(source)
    if still and _is_same(_placed(rendered), _placed(_filtered(rendered, taken, _ALIGNMENT))):
        return source
    block = _as_block(_cleaned(rendered, taken))
    shown = _rendered(block)
    # What is written is rendered once more by the page; nothing may come of that but the block itself.
    return block if shown is not None and _is_same(shown, block) else _as_block(_as_text(source))


def _rendered(source: str, pictures: Mapping[str, Any] | None = None) -> str | None:
    """Markdown as the Formgrader and the feedback render it; None where they cannot."""
    if len(source) > MARKDOWN_LIMIT or sum(map(source.count, _SLOW)) > SLOW_LIMIT:
        return None
    context = {"cell": {"attachments": pictures or {}}, "resources": {}}
    try:
        html = str(_exporter().markdown2html(context, source)).strip()
    except Exception:  # an attachment that is not there, and whatever else a renderer stumbles over
        return None
    slow = any(line.count("[") * len(line) > BRACKETS_LIMIT for line in html.splitlines())
    return None if slow else html


@lru_cache(maxsize=1)
def _exporter() -> HTMLExporter:
    return HTMLExporter()


def _as_block(html: str) -> str:
    """HTML as one line that Markdown passes on as it is, formulas and brackets included."""
    for mark in ("\r", "\n", "$", "\\", "["):
        html = html.replace(mark, f"&#{ord(mark)};")
    return html


def _as_text(source: str) -> str:
    return f"{_OPEN}<pre>{escape(source)}</pre>{_CLOSE}"


def _placed(html: str) -> str:
    """HTML where a page has it: what closes more than it opens leaves its place."""
    return f"<html><body><main><div><div>{html}</div>.</div>.</main>.</body>.</html>"


def _is_same(one: str, other: str) -> bool:
    """Whether two pieces of HTML are the same elements with the same attributes and text."""
    try:
        return _parsed(one) == _parsed(other)
    except RecursionError:
        return False


def _parsed(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "html.parser")


# Outputs


def _output(output: Mapping[str, Any]) -> dict[str, Any]:
    """An output with the forms that a page may show."""
    output = dict(output)
    if "data" not in output:
        return output
    data = output["data"]
    if MIME in data:
        report = _LECTURE.sub(r"\1", str(data.get("text/html", "")).replace(FOLLOW, ""))
        shown = _held(report) if _is_report(report) else _cleaned(report)
        output["data"] = {"text/plain": str(data.get("text/plain", "")), "text/html": shown, MIME: data[MIME]}
        output["metadata"] = {}
        return output
    output["data"] = _forms(data)
    metadata = output.get("metadata")
    output["metadata"] = _picture_metadata(metadata if isinstance(metadata, Mapping) else {})
    return output


def _is_report(html: str) -> bool:
    """Whether HTML is the judge's report; in a file that was graded elsewhere it may only say so.

    Its elements are those of a report, and each ends in the one that it began in.
    """
    match = _REPORT.fullmatch(html)
    if not match:
        return False
    begun: list[str] = []
    for ends, name in _ELEMENT.findall(match["body"]):
        if not ends:
            begun.append(name)
        elif not begun or begun.pop() != name:
            return False
    return not begun


def _forms(data: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    if html := _html_of(data):
        kept["text/html"] = html
    latex = data.get("text/latex")
    if isinstance(latex, str) and not _MOVING.search(latex):
        kept["text/latex"] = _tamed(latex)
    elif isinstance(latex, str) and not html:
        kept["text/html"] = f"{_OPEN}{escape(_tamed(latex))}{_CLOSE}"
    if isinstance(data.get("image/svg+xml"), str):
        kept["image/svg+xml"] = data["image/svg+xml"]  # pages show it as a picture, which runs nothing
    kept |= {kind: data[kind] for kind in _PICTURES if _is_picture(kind, data.get(kind))}
    if isinstance(data.get("text/plain"), str):
        kept["text/plain"] = data["text/plain"]
    if not kept:
        kinds = ", ".join(sorted(kind[:80] for kind in data)) or "nothing"
        kept["text/plain"] = f"An output that is not shown here ({kinds})."
    return kept


def _html_of(data: Mapping[str, Any]) -> str | None:
    """The HTML that stands for an output's HTML or Markdown; None where nothing of it is left to see."""
    text = data.get("text/html")
    if not isinstance(text, str) or not text.strip():
        source = data.get("text/markdown")
        if not isinstance(source, str):
            return None
        text = _rendered(source)
        if text is None:
            return _as_text(source)
    html = _cleaned(text)
    return html if _has_content(html) else None


def _has_content(html: str) -> bool:
    soup = _parsed(html)
    return bool(soup.get_text().strip() or soup.find(["img", "audio", "video", "hr", "table"]))


def _is_picture(kind: Any, data: Any) -> bool:
    if not isinstance(kind, str) or not kind.startswith("image/") or not isinstance(data, str):
        return False
    try:
        base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _picture_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes and alternative texts of pictures; pages print them as attributes without quotes."""
    kept = {}
    for kind in (*_PICTURES, "image/svg+xml"):
        form = metadata.get(kind)
        if not isinstance(form, Mapping):
            continue
        numbers = {n: form[n] for n in ("width", "height") if type(form.get(n)) in (int, float)}
        sizes = {name: number for name, number in numbers.items() if 0 < number <= SIZE_LIMIT}
        texts = {"alt": form["alt"]} if isinstance(form.get("alt"), str) else {}
        kept[kind] = {**sizes, **texts, **({"unconfined": True} if form.get("unconfined") is True else {})}
    return kept


# HTML


def _cleaned(html: str, taken: frozenset[str] | None = None, *, boxed: bool = True) -> str:
    """HTML without what acts, loads or reaches beyond its place; `taken`: ids that headings may not have."""
    if html.startswith(_OPEN) and html.endswith(_CLOSE):
        html = html[len(_OPEN) : -len(_CLOSE)]
    if len(html) > HTML_LIMIT or _depth(html) > HTML_DEPTH:
        inner = "<pre>HTML that is too large to be shown.</pre>"
    else:
        inner = _filtered(_with_inline_styles(_SVG.sub(_as_picture, html)), taken, _PROPERTIES)
    return f"{_OPEN}{inner}{_CLOSE}" if boxed else inner


def _depth(html: str) -> int:
    """How deep elements may stand in each other, at most."""
    depth = deepest = 0
    for closes, name in re.findall(r"<(/?)([A-Za-z][A-Za-z0-9]*)", html):
        if name.lower() not in _ENDLESS:
            depth = max(depth - 1, 0) if closes else depth + 1
            deepest = max(deepest, depth)
    return deepest


def _as_picture(match: re.Match[str]) -> str:
    """A drawing inside HTML as a picture, which runs nothing."""
    svg = match[0]
    if "xmlns=" not in svg.split(">", 1)[0]:
        svg = '<svg xmlns="http://www.w3.org/2000/svg"' + svg[4:]
    return f'<img alt="" src="data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}">'


def _with_inline_styles(html: str) -> str:
    """HTML with its style sheets written into the elements, so that they style nothing else on the page."""
    if "<style" not in html.lower():
        return html
    inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_style_tags=False)
    try:
        return inliner.inline_fragment(html, "")
    except Exception:  # a style sheet that is none
        return html


def _filtered(html: str, taken: frozenset[str] | None, properties: Iterable[str]) -> str:
    for box, sign in _BOXES.items():
        html = html.replace(box, sign)
    cleaned = nh3.clean(
        html,
        tags=_TAGS,
        clean_content_tags=_SWALLOWED,
        attributes=_ATTRIBUTES,
        attribute_filter=_attribute_filter(taken, frozenset(properties)),
        url_schemes={"data"},
        link_rel=None,
    )
    return _tamed(cleaned)


def _attribute_filter(taken: frozenset[str] | None, properties: frozenset[str]) -> Callable[..., str | None]:
    def keep(tag: str, name: str, value: str) -> str | None:
        if name == "id":
            free = taken is not None and unquote(value) not in taken and value not in taken
            return value if free and not value.lower().startswith("mathjax") else None
        if name == "class":
            kept = [one for one in value.split() if one in _CLASSES or one.startswith("language-")]
            return " ".join(kept) or None
        if name == "style":
            return _style(value, properties) or None
        if name == "href":  # a link's click is the instructor's, with the instructor's rights
            return value if value.startswith("#") else None
        if name == "src":
            own = tag == "img" and _OWN_FILE.fullmatch(value)
            return value if own or _MEDIA.fullmatch(value) else None
        return None if name == "cite" else value

    return keep


def _style(text: str, properties: frozenset[str]) -> str:
    """The declarations of a style attribute that concern the look of the element alone."""
    kept = []
    for node in tinycss2.parse_blocks_contents(text, skip_comments=True, skip_whitespace=True):
        if node.type == "declaration" and node.lower_name in properties and not _loads(node.value):
            kept.append(f"{node.lower_name}:{tinycss2.serialize(node.value).strip()}")
    return "; ".join(kept)


def _loads(tokens: Iterable[Any]) -> bool:
    """Whether a value of a style has an address or a function that may have one."""
    for token in tokens:
        if token.type in ("url", "error", "{} block", "[] block"):
            return True
        if token.type == "function" and (token.lower_name not in _FUNCTIONS or _loads(token.arguments)):
            return True
    return False


def _tamed(text: str) -> str:
    """Text in which no formula can make links, name classes or load extensions."""
    return _REACHING.sub(lambda _: _WORD_JOINER, text)


def _held(text: str) -> str:
    """The same where no box can be, without formulas that leave their place."""
    return _MOVING.sub(lambda match: _WORD_JOINER + match[0][1:], _tamed(text))
