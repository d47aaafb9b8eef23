"""What a notebook shows after grading: nothing that acts, and everything that honest people show."""

from __future__ import annotations

import base64
import copy
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from bs4 import BeautifulSoup
from nbconvert.exporters import HTMLExporter
from nbformat.notebooknode import from_dict
from nbformat.v4 import new_markdown_cell, new_notebook

from graders.batch import display
from graders.judging.report import as_html
from graders.judging.verdict import MIME, Row, Score, Verdict

RUN = "window.__ran=1"
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()

#: HTML that acts when it is put into a page, by what it would do.
HTML = {
    "script": f"<script>{RUN}</script>",
    "handler": f"<img src=x onerror={RUN}>",
    "handler without space": f"<svg/onload={RUN}>",
    "nested in svg": f"<svg><foreignObject><img src=x onerror={RUN}></foreignObject></svg>",
    "mathml": f"<math><mtext><table><mglyph><style><img src=x onerror={RUN}></style></mglyph></table></math>",
    "noscript": f'<noscript><p title="</noscript><img src=x onerror={RUN}>"></noscript>',
    "comment": f"<!--><img src=x onerror={RUN}>-->",
    "javascript link": f'<a href="javascript:{RUN}">x</a>',
    "javascript link with a line break": f'<a href="java\nscript:{RUN}">x</a>',
    "link to the Formgrader": '<a href="/formgrader/?path=submitted/eve">x</a>',
    "link to an own page": '<a href="evil.html">x</a>',
    "data link": '<a href="data:text/html,x">x</a>',
    "iframe": f'<iframe srcdoc="<script>parent.{RUN}</script>"></iframe>',
    "object": '<object data="x.html"></object><embed src="x.html">',
    "form": '<form action="/x"><input name="submit"><button class="full-credit">x</button></form>',
    "base": '<base href="http://evil.test/">',
    "refresh": '<meta http-equiv="refresh" content="0;url=http://evil.test/">',
    "style sheet": '<link rel="stylesheet" href="http://evil.test/x.css">',
    "import": "<style>@import 'http://evil.test/x.css'; body {display: none}</style>",
    "background": '<div style="background: url(http://evil.test/x.png)">x</div>',
    "escaped url": r'<div style="background: u\72l(http://evil.test/x.png)">x</div>',
    "image set": "<div style=\"background: image-set('http://evil.test/x.png' 1x)\">x</div>",
    "overlay": '<div style="position: fixed; inset: 0; z-index: 9999">x</div>',
    "remote image": '<img src="http://evil.test/x.png"><img srcset="//evil.test/x.png 1x">',
    "remote video": '<video poster="http://evil.test/x.png" src="//evil.test/x.mp4" autoplay></video>',
    "server's page as image": '<img src="/logout"><img src="../x.png"><img src="%2e%2e/x.png">',
    "ids": '<img id="q1" name="formgrader"><div id="q1-comment">x</div>',
    "buttons by class": '<div class="nbgrader_cell"><span class="full-credit score">x</span></div>',
    "data attributes": '<div data-link="x" data-toggle="tooltip" data-dismiss="modal">x</div>',
    "formula": rf"$\href{{javascript:{RUN}}}{{x}}$ $\style{{position:fixed}}{{x}}$ $\require{{x}}$",
}
#: Browsers find elements in these where the parser of this test finds none.
ONLY_IN_A_BROWSER = ("noscript", "comment")
MARKDOWN = {
    **{f"{name} in Markdown": text for name, text in HTML.items()},
    "link": f"[x](javascript:{RUN})",
    "entity in a link": f"[x](&#106;avascript:{RUN})",
    "reference": f"[x]\n\n[x]: javascript:{RUN}",
    "image": "![x](http://evil.test/x.png)",
    "image's title": f'![x](x "\\" onerror={RUN}")',
    "heading that takes an id": "# q1",
    "language of a block": f'```x"><img/src=x/onerror={RUN}>\n1\n```',
    "mermaid": f"```mermaid\n<img src=x onerror={RUN}>\n```",
    "link to a page": "[x](/formgrader/?path=submitted/eve)",
    "block in a formula": f"$$\n<img src=x onerror={RUN}>\n$$",
    "attachment that is not there": "![x](attachment:none)",
}
#: Markdown that stays as it was written.
HONEST = {
    "code": "`a < b` and `<b>`\n\n```python\nx < 1\n```",
    "formula": "$a<b$ and\n\n$$\n\\begin{aligned}a &= b \\\\ c\\end{aligned}\n$$",
    "html": "a<br>b H<sub>2</sub>O <b>bold</b>\n\n<details><summary>more</summary>\n\ntext\n\n</details>",
    "table": "| a | b |\n|:-:|---|\n| 1 | 2 |",
    "structure": "# Title\n\n- one\n  - two\n\n> quoted **strong** *em* ~~no~~\n\n1. x",
    "picture": "![plot](figures/my%20plot.png)",
    "less than": "If a < b && c > d, then 1 & 2.",
    "heading link": "[above](#Title)",
}


VERDICT = Verdict(
    *("batch_norm_forward", 1, 4, "values", "`eps` is **not** where it belongs: 1 < 2 & 'so' on."),
    scores=[Score("y", 1, 2, "eps_outside"), Score("dx", 0, 2)],
    rows=[Row("a case", {"float32": True, "float64": False})],
    printed="<b>printed</b>",
)


def notebook(*cells: dict[str, Any], **metadata: Any) -> Any:
    return from_dict({"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def released() -> dict[str, Any]:
    form = {"grade_id": "q1", "grade": True, "solution": True, "points": 1}
    return markdown("an answer", nbgrader=form)


def markdown(source: str, **metadata: Any) -> dict[str, Any]:
    name = f"m{len(source)}-{len(metadata)}"
    return {"cell_type": "markdown", "id": name, "metadata": metadata, "source": source}


def code(*outputs: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "id": "c",
        "metadata": metadata,
        "source": "x",
        "execution_count": 1,
        "outputs": list(outputs),
    }


def shown(data: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"output_type": "display_data", "data": data, "metadata": metadata}


def harmless(*cells: dict[str, Any], **metadata: Any) -> Any:
    node = notebook(released(), *cells, **metadata)
    display.make_harmless(node)
    again = copy.deepcopy(node)
    display.make_harmless(again)
    assert again == node, "cleaning twice is cleaning once"
    return node


@cache
def exporter() -> HTMLExporter:
    return HTMLExporter(template_name="classic")


def page(node: Any) -> BeautifulSoup:
    """The notebook's cells as the pages render them, without the frame of a page."""
    html, _ = exporter().from_notebook_node(node)
    return BeautifulSoup(html, "html.parser").select_one("#notebook-container")


def acts(element: BeautifulSoup) -> list[str]:
    """What in a page would run, load or be taken for a part of it."""
    found = [
        str(one)
        for one in element.select(
            "script, iframe, object, embed, form, input, button, base, meta, link, style, svg"
        )
    ]
    ours = ("cell-id=",)
    for one in element.find_all(True):
        for name, value in one.attrs.items():
            text = " ".join(value) if isinstance(value, list) else str(value)
            if name.startswith(("on", "data-")) or name in ("name", "srcset", "poster", "autoplay", "srcdoc"):
                found.append(f"{name}={text}")
            elif name == "href" and not text.startswith("#"):
                found.append(f"href={text}")
            elif name == "src" and not text.startswith("data:"):
                found.append(f"src={text}")
            elif name == "style" and any(word in text for word in ("url", "position", "image", "evil")):
                found.append(f"style={text}")
            elif (name == "id" and not text.startswith(ours) and one.name not in ("h1", "div")) or (
                name == "id" and text in ("q1", "q1-comment")
            ):
                found.append(f"id={text}")
            elif name == "class" and {"full-credit", "score", "nbgrader_cell", "tabbable"} & set(
                text.split()
            ):
                found.append(f"class={text}")
    texts = (node for node in element.find_all(string=True) if not node.find_parent(["pre", "code"]))
    found += [text for text in texts if any(f"\\{name}" in text for name in ("href", "style", "require"))]
    return found


@pytest.mark.parametrize("name", HTML)
def test_html_outputs(name: str) -> None:
    dangerous = page(notebook(released(), code(shown({"text/html": HTML[name]}))))
    assert acts(dangerous) or name in ONLY_IN_A_BROWSER, "the test sees nothing in it to begin with"
    assert acts(page(harmless(code(shown({"text/html": HTML[name], "text/plain": "x"}))))) == []


@pytest.mark.parametrize("name", MARKDOWN)
def test_markdown_cells_and_outputs(name: str) -> None:
    assert acts(page(harmless(markdown(MARKDOWN[name])))) == []
    assert acts(page(harmless(code(shown({"text/markdown": MARKDOWN[name]}))))) == []


@pytest.mark.parametrize("name", HONEST)
def test_honest_markdown_stays_as_it_was_written(name: str) -> None:
    assert harmless(markdown(HONEST[name])).cells[1].source == HONEST[name]


@pytest.mark.parametrize(
    "data",
    [
        {"application/javascript": RUN},
        {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}},
        {"text/vnd.mermaid": f"<img src=x onerror={RUN}>"},
        {"image/png": f'"><img src=x onerror={RUN}>'},
        {"image/svg+xml": f"<svg xmlns='http://www.w3.org/2000/svg' ><script>{RUN}</script></svg>"},
        {"text/latex": rf"$\href{{javascript:{RUN}}}{{x}}$"},
        {"text/plain": f"<img src=x onerror={RUN}>"},
        {"application/json": {"a": f"<script>{RUN}</script>"}},
    ],
    ids=lambda data: next(iter(data)),
)
def test_other_outputs(data: dict[str, Any]) -> None:
    assert acts(page(harmless(code(shown(data))))) == []


def test_metadata() -> None:
    hostile = {"width": f"1 onerror={RUN}", "height": {"a": 1}, "alt": "a"}
    node = harmless(
        code(
            shown(
                {"image/png": PIXEL},
                **{"image/png": hostile, "width": f"1 onerror={RUN}", "filenames": {"image/png": "x"}},
            ),
            shown({"text/html": "<p>x</p>"}, **{"text/html": {"isolated": True}}),
            tags=["fine", "x nbgrader_cell full-credit"],
            magics_language="x",
        ),
        title="</title><script>",
        language_info={"name": "x", "pygments_lexer": ["x"]},
        widgets={"application/vnd.jupyter.widget-state+json": {"state": {}}},
    )
    assert acts(page(node)) == []
    assert set(node.metadata) == {"language_info"}
    assert node.metadata.language_info.pygments_lexer == "ipython3"
    assert node.cells[1].metadata == {"tags": ["fine"]}


def test_raw_cells() -> None:
    raw = {"cell_type": "raw", "id": "r", "metadata": {"raw_mimetype": "text/html"}, "source": HTML["ids"]}
    assert acts(page(harmless(raw))) == []


def test_the_judges_report_stays() -> None:
    report = as_html(VERDICT)
    node = harmless(code(shown({"text/plain": "1", "text/html": report, MIME: {"points": 1}})))
    assert node.cells[1].outputs[0]["data"]["text/html"] == report


@pytest.mark.parametrize(
    "change",
    [
        ("</p>", f"</p><img src=x onerror={RUN}>"),
        ("</style>", "body {display: none}</style>"),
        ('class="diagnosis"', 'class="full-credit score"'),
        ("</p>", '</p><p id="q1">'),
        ('data-points="', f'data-points="" onclick="{RUN}'),
    ],
)
def test_what_only_says_that_it_is_a_report(change: tuple[str, str]) -> None:
    """A notebook that was graded elsewhere may hold one; other forms and metadata would go before it."""
    forged = as_html(VERDICT).replace(*change, 1)
    assert forged != as_html(VERDICT)
    data = {"text/html": forged, "image/png": f'"><img src=x onerror={RUN}>', MIME: {"points": 1}}
    assert acts(page(harmless(code(shown(data, **{"text/html": {"isolated": True}}))))) == []


@pytest.mark.parametrize("tags", ["x</div></div></div><details>", "x</main>", "</div></div>"])
def test_what_closes_more_than_it_opens_stays_in_its_place(tags: str) -> None:
    node = harmless(markdown(tags), markdown("the next cell"))
    last = page(node).find(string="the next cell")
    assert not last.find_parent("details")
    assert [one.name for one in last.parents][:4] == ["p", "div", "div", "div"]
    assert node.cells[1].source != tags


@pytest.mark.parametrize(
    "formula", [r"\smash{\rule{90em}{90em}}", r"\raise 90em x", r"\bbox[padding:900px]{x}", r"a\\[-90em]b"]
)
def test_formulas_that_leave_their_place_are_in_a_box(formula: str) -> None:
    box = '<div style="contain: content'
    node = harmless(markdown(f"$${formula}$$"), code(shown({"text/latex": f"$${formula}$$"})))
    assert node.cells[1].source.startswith(box)
    assert node.cells[2].outputs[0]["data"]["text/html"].startswith(box)


def test_reports_and_raw_cells_have_no_box_and_no_such_formulas() -> None:
    formula = r"$\lower 90em x$"
    report = as_html(replace(VERDICT, message=formula))
    raw = {"cell_type": "raw", "id": "r", "metadata": {}, "source": formula}
    node = harmless(code(shown({"text/plain": "1", "text/html": report, MIME: {"points": 1}})), raw)
    html = node.cells[1].outputs[0]["data"]["text/html"]
    assert "graders-verdict" in html and "lower" in html and "\\lower" not in html
    assert "lower" in node.cells[2].source and "\\lower" not in node.cells[2].source


def test_tables_with_styles_look_as_before() -> None:
    styled = (
        "<style type='text/css'>#T_1 td.col0 {background-color: #ff0000; color: white}</style>"
        "<table id='T_1' class='dataframe'><tr><td class='col0'>1</td><td>2</td></tr></table>"
    )
    table = page(harmless(code(shown({"text/html": styled}))))
    assert table.select_one("table.dataframe")
    assert table.find("td")["style"] == "background-color:#ff0000; color:white"


@pytest.mark.parametrize("kind", ["plotly", "widget"])
def test_what_is_only_script_falls_back_to_its_text(kind: str) -> None:
    data = {"text/html": f"<div id='p'></div><script>{RUN}</script>", "text/plain": f"<{kind}>"}
    assert harmless(code(shown(data))).cells[1].outputs[0]["data"] == {"text/plain": f"<{kind}>"}


def test_deep_and_long_content_is_shown_as_text() -> None:
    node = harmless(
        markdown("\\\\[" * 20_000), markdown("x" * 200_000), code(shown({"text/html": "<div>" * 100_000}))
    )
    assert "too large" in node.cells[3].outputs[0]["data"]["text/html"]
    assert acts(page(node)) == []


def test_the_released_text_stays_with_its_links() -> None:
    text = "See [the page](../../course/day26.ipynb) and [PyTorch](https://pytorch.org)."
    node = new_notebook(cells=[new_markdown_cell(source) for source in (text, f"{text}!")])
    display.make_harmless(node, frozenset({text}))
    assert node.cells[0].source == text
    assert "https" not in node.cells[1].source and "PyTorch" in node.cells[1].source
