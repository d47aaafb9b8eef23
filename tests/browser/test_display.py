"""What students' notebooks show, on the pages that graders and students open: nothing of it acts.

One notebook holds all attacks. They are seen to act where it stands on the pages as it came, and to do
nothing once either command has graded it.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
from bs4 import BeautifulSoup
from lab import ARTEFACTS, Lab, clean_environment, screenshot
from nbconvert.exporters import HTMLExporter
from nbgrader.api import Gradebook
from nbgrader.server_extensions.formgrader.handlers import static_path, template_path
from playwright.sync_api import BrowserContext, Page, Request, expect

from graders.judging import catalogue
from graders.judging.verdict import MIME
from tests import warm
from tests.courses import ROOT, answered, nbgrader, recorded, release, release_of, solution_code

DAY = "day26"
#: Exercises of the day, each with a check of its own.
CHECKS = len(catalogue.days()[DAY])
PAGES = ("formgrader", "feedback")
#: By which command each student's notebook is graded. All but grace hand in the attacks.
GRADED_BY = {"eve": "graders", "mallory": "nbgrader", "trent": "graders", "grace": "graders"}
#: A picture beside the notebook, which pages may load.
OWN_PICTURE = "figures/my picture.svg"

# In all attacks RUN is JavaScript that says which one acts, HIT an address that says it when it is asked for.

CLICK = "document.querySelector('#check_batch_norm_forward').closest('.nbgrader_cell')"
CLICK = f"{CLICK}.querySelector('.full-credit').click()"
OVERLAY = "position:fixed;inset:0;z-index:99999;background:white"

HTML = {
    "script": "<script>RUN</script>",
    "script_src": '<script src="HIT"></script>',
    "module": '<script type="module">RUN</script>',
    "image": "<img src=data: onerror=RUN>",
    "svg_onload": "<svg/onload=RUN>",
    "svg_script": "<svg><script>RUN</script></svg>",
    "foreign_object": "<svg><foreignObject><img src=data: onerror=RUN></foreignObject></svg>",
    "animate": "<svg><animate onbegin=RUN attributeName=x dur=1s>",
    "animated_link": "<svg><a><animate attributeName=href values=javascript:RUN /><text>x</text></a></svg>",
    "svg_use": '<svg><image href="HIT"/></svg>',
    "toggle": "<details open ontoggle=RUN><summary>x</summary></details>",
    "focus": "<input autofocus onfocus=RUN>",
    "hover": "<b onmouseover=RUN>x</b>",
    "marquee": "<marquee onstart=RUN>x</marquee>",
    "media": "<video onerror=RUN><source src=data:></video>",
    "srcdoc": '<iframe srcdoc="<script>parent.RUN</script>"></iframe>',
    "frame": '<iframe src="HIT"></iframe>',
    "javascript_frame": '<iframe src="javascript:parent.RUN"></iframe>',
    "data_frame": '<iframe src="data:text/html,<script>RUN</script>"></iframe>',
    "object": '<object data="HIT"></object>',
    "embed": '<embed src="HIT">',
    "javascript_link": '<a href="java&#10;script:RUN">x</a>',
    "script_in_link": '<a href="javascript:RUN"><b>x</b></a>',
    "form_action": '<form><button formaction="javascript:RUN">x</button></form>',
    "image_button": '<form><input type="image" src="HIT"></form>',
    "style_background": '<div style="background: url(HIT)">x</div>',
    "escaped_url": r'<div style="background: u\72l(HIT)">x</div>',
    "image_set": "<div style=\"background: image-set('HIT' 1x)\">x</div>",
    "list_style": "<li style=\"list-style: url('HIT')\">x</li>",
    "style_sheet": "<style>body {background: url(HIT)}</style>",
    "import": "<style>@import 'HIT';</style>",
    "linked_sheet": '<link rel="stylesheet" href="HIT">',
    "prefetch": '<link rel="preload" as="image" href="HIT">',
    "remote_image": '<img src="HIT">',
    "srcset": '<img srcset="HIT 1x">',
    "picture": '<picture><source srcset="HIT"><img></picture>',
    "poster": '<video poster="HIT"></video>',
    "audio": '<audio src="HIT" autoplay></audio>',
    "table_background": '<table background="HIT"><tr><td>x</td></tr></table>',
    "noscript": '<noscript><p title="</noscript><img src=data: onerror=RUN>"></noscript>',
    "comment": "<!--><img src=data: onerror=RUN>-->",
    "mathml": "<math><mtext><table><mglyph><style><!--</style>"
    '<img title="--&gt;&lt;img src=data: onerror=RUN&gt;"><img src=data: onerror=RUN>',
    "annotation": '<math><annotation-xml encoding="text/html"><img src=data: onerror=RUN></annotation-xml>',
    "svg_style": '<svg></p><style><a id="</style><img src=data: onerror=RUN>">',
    "nested_forms": "<form><math><mtext></form><form><mglyph><style></math><img src=data: onerror=RUN>",
    "template": "<template shadowrootmode=open><img src=data: onerror=RUN></template>",
    "desc": "<svg><desc><svg><image/><style><a title='</style><img src=data: onerror=RUN>'></style>",
    "cdata": "<svg><![CDATA[><img src=data: onerror=RUN>]]></svg>",
    "title": "<title><a title='</title><img src=data: onerror=RUN>'></title>",
    "api": "<script>RUN; setTimeout(() => $.ajax({url: base_url + '/api/comments', method: 'GET', "
    "data: {submission_id, x: 'HIT'}}))</script>",
    "data_link": '<div data-toggle="tooltip" onmouseover=RUN data-link="x">x</div>',
}
MARKDOWN = {
    "markdown_image": "a <img src=data: onerror=RUN> b",
    "markdown_link": "[x](javascript:RUN)",
    "entity_link": "[x](&#106;avascript:RUN)",
    "reference": "[x]\n\n[x]: javascript:RUN",
    "autolink": "<javascript:RUN>",
    "markdown_remote": "![x](HIT)",
    "fence_language": "```x\"><img/src=data:/onerror='RUN'>\n1\n```",
    "mermaid": "```mermaid\n<img src=data: onerror=RUN>\n```",
    "block_in_formula": "$$\n<img src=data: onerror=RUN>\n$$",
    "href_command": r"$\href{javascript:RUN}{x}$",
    "href_in_environment": "\\begin{align}\\href{javascript:RUN}{x}\\end{align}",
    "style_command": r"$\style{background:url(HIT)}{x}$",
    "heading_script": "# a <svg/onload=RUN>",
    "in_table": "| a |\n|---|\n| <img src=data: onerror=RUN> |",
    "in_details": "<details open>\n\n<svg/onload=RUN>\n\n</details>",
}
#: Data and metadata of an output.
BUNDLES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "javascript": ({"application/javascript": "RUN"}, {}),
    "widget": (
        {"application/vnd.jupyter.widget-view+json": {"model_id": "</script><script>RUN</script>"}},
        {},
    ),
    "latex": ({"text/latex": r"$\href{javascript:RUN}{x}$"}, {}),
    "latex_html": ({"text/latex": "<img src=data: onerror=RUN>"}, {}),
    "svg_picture": ({"image/svg+xml": '<svg xmlns="http://www.w3.org/2000/svg" onload="RUN"/>'}, {}),
    "png_data": ({"image/png": '"><img src=data: onerror=RUN x="'}, {}),
    "png_width": ({"image/png": "AAAA"}, {"image/png": {"width": "1 onerror=RUN"}}),
    "png_width_of_output": ({"image/png": "AAAA"}, {"width": "1 onerror=RUN"}),
    "png_height": ({"image/jpeg": "AAAA"}, {"image/jpeg": {"height": "1 onerror=RUN"}}),
    "png_alt": ({"image/png": "AAAA"}, {"image/png": {"alt": '" onerror=RUN x="'}}),
    "file_name": ({"image/png": "AAAA"}, {"filenames": {"image/png": "HIT"}}),
    "isolated": ({"text/html": "<img src=HIT>"}, {"text/html": {"isolated": True}}),
    "markdown_output": ({"text/markdown": "[x](javascript:RUN) <img src=data: onerror=RUN>"}, {}),
    "plain": ({"text/plain": "<img src=data: onerror=RUN>"}, {}),
    "mermaid_output": ({"text/vnd.mermaid": "<img src=data: onerror=RUN>"}, {}),
    "json": ({"application/json": {"x": "<script>RUN</script>"}}, {}),
    "pdf": ({"application/pdf": "<script>RUN</script>"}, {}),
    "forged_verdict": ({MIME: {"points": 4}, "text/html": "<img src=data: onerror=RUN>"}, {}),
}
#: What a cell prints and raises.
SAID = {
    "stdout": "print('<img src=data: onerror=RUN>')",
    "stderr": "import sys; print('\\x1b[31m<img src=data: onerror=RUN>\\x1b]8;;HIT\\x07x', file=sys.stderr)",
    "error_value": "raise ValueError('<img src=data: onerror=RUN>')",
    "error_name": "raise type('<img src=data: onerror=RUN>', (Exception,), {})('\\x1b[1m<svg/onload=RUN>')",
    "result": "type('X', (), {'_repr_html_': lambda self: '<svg/onload=RUN>'})()",
}
#: Cells whose form is the attack.
CELLS: dict[str, dict[str, Any]] = {
    "raw_html": {
        "cell_type": "raw",
        "metadata": {"raw_mimetype": "text/html"},
        "source": "<img src=data: onerror=RUN>",
    },
    "raw": {"cell_type": "raw", "metadata": {}, "source": "<img src=data: onerror=RUN>"},
    "tags": {
        "cell_type": "markdown",
        "metadata": {"tags": ['"><img src=data: onerror=RUN>', "nbgrader_cell"]},
        "source": "x",
    },
    "cell_id": {"cell_type": "markdown", "metadata": {}, "id": "x><svg/onload=RUN>", "source": "x"},
    "attachment": {
        "cell_type": "markdown",
        "metadata": {},
        "attachments": {"a": {'image/png" onerror=RUN x="': "AAAA"}},
        "source": "![x](attachment:a)",
    },
    "attachment_data": {
        "cell_type": "markdown",
        "metadata": {},
        "attachments": {"a": {"image/png": '"><img src=data: onerror=RUN x="'}},
        "source": "![x](attachment:a)",
    },
    "magics_language": {
        "cell_type": "code",
        "metadata": {"magics_language": '"><svg/onload=RUN>'},
        "source": "x = 1",
        "execution_count": None,
        "outputs": [],
    },
}
#: What changes the page for everything else on it: seen acting on a page of its own. In Markdown cells.
ALONE = {
    "base": '<base href="HIT/"><img src="x">',
    "refresh": '<meta http-equiv="refresh" content="0;url=HIT">',
    "navigation": "<script>top.location = 'HIT'</script>",
    "form": '<form action="HIT"><button>x</button></form>',
    "link_away": '<a href="HIT">x</a>',
    "credit": "<script>const wait = setInterval(() => {"
    f"if (formgrader.grade_uis?.length !== {CHECKS}) return; "
    f"clearInterval(wait); RUN; {CLICK}}}, 20)</script>",
}
#: What covers, hides or disables the grader's controls; it runs nothing.
COVERS = {
    "overlay": f'<div style="{OVERLAY}">x</div>',
    "overlay_link": f'<a href="#" style="{OVERLAY}">x</a>',
    "margins": '<div style="position:relative;margin:-9000px 0;height:18000px;background:white">x</div>',
    "transform": '<div style="transform:scale(500);background:white">x</div>',
    "sheet": "<style>.full-credit, .score {display: none}</style>",
    "sheet_in_svg": "<svg><style>.full-credit {visibility: hidden}</style></svg>",
    "pointer": "<style>* {pointer-events: none}</style>",
    "id": '<h1 id="check_batch_norm_forward">x</h1>',
    "closing_tags": "</div>" * 20 + "<details>",
    "tall": "<div style='height:33554400px'>x</div>",
    "plaintext": "<plaintext>",
    "formula": r"$\style{position:fixed;inset:0;z-index:99999;background:white}{x}$",
}
#: What is said of the notebook as a whole.
METADATA = {
    "title": "</title><script>RUN</script>",
    "name": "<img src=data: onerror=RUN>",
    "authors": [{"name": "<img src=data: onerror=RUN>"}],
    "kernelspec": {"name": "python3", "display_name": "<img src=data: onerror=RUN>", "language": "python"},
    "language_info": {"name": '"><svg/onload=RUN>', "pygments_lexer": '"><svg/onload=RUN>'},
    "widgets": {
        "application/vnd.jupyter.widget-state+json": {"state": {"x": "</script><script>RUN</script>"}}
    },
}
DRAWING = """<svg xmlns="http://www.w3.org/2000/svg" width="120" height="40" onload="RUN">
<script>RUN</script><image href="HIT"/><circle cx="20" cy="20" r="15" fill="green"/></svg>"""


# The notebooks


def code_cell(source: str, outputs: Iterable[dict[str, Any]] = ()) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "metadata": {},
        "source": source,
        "execution_count": None,
        "outputs": list(outputs),
    }


def markdown_cell(source: str, **more: Any) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source, **more}


def display_cell(data: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A cell that displays this, with the output that it has when nothing cleans it."""
    shown = {"output_type": "display_data", "data": dict(data), "metadata": dict(metadata or {})}
    return code_cell(f"display({dict(data)!r}, metadata={dict(metadata or {})!r}, raw=True)", [shown])


def attacks(lab: Lab) -> dict[str, dict[str, Any]]:
    """The cell of every attack that leaves the others their page, by its name."""
    cells = {name: display_cell({"text/html": html, "text/plain": "x"}) for name, html in HTML.items()}
    cells |= {f"{name}_in_markdown": markdown_cell(html) for name, html in HTML.items()}
    cells |= {name: markdown_cell(source) for name, source in MARKDOWN.items()}
    cells |= {name: display_cell(*bundle) for name, bundle in BUNDLES.items()}
    cells |= {name: code_cell(source) for name, source in SAID.items()}
    cells |= CELLS
    return {name: aimed(cell, name, lab) for name, cell in cells.items()}


def breaking(lab: Lab) -> dict[str, dict[str, Any]]:
    """The same of those that do not; each as an output and in Markdown."""
    cells = {name: display_cell({"text/html": html}) for name, html in (ALONE | COVERS).items()}
    cells |= {f"{name}_in_markdown": markdown_cell(html) for name, html in (ALONE | COVERS).items()}
    return {name: aimed(cell, name, lab) for name, cell in cells.items()}


def aimed(value: Any, name: str, lab: Lab) -> Any:
    """A cell with its RUN and HIT filled in."""
    if isinstance(value, str):
        return value.replace("RUN", f"ran.{name}").replace("HIT", f"{lab.url}/hit/{name}")
    if isinstance(value, Mapping):
        return {aimed(key, name, lab): aimed(one, name, lab) for key, one in value.items()}
    return [aimed(one, name, lab) for one in value] if isinstance(value, list) else value


# What honest notebooks show

FRAME = """<div>
<style scoped>
    .dataframe tbody tr th:only-of-type {
        vertical-align: middle;
    }

    .dataframe tbody tr th {
        vertical-align: top;
    }

    .dataframe thead th {
        text-align: right;
    }
</style>
<table border="1" class="dataframe">
  <thead>
    <tr style="text-align: right;">
      <th></th>
      <th>loss</th>
      <th>accuracy</th>
    </tr>
  </thead>
  <tbody>
    <tr>
      <th>epoch one</th>
      <td>0.693</td>
      <td>0.51</td>
    </tr>
    <tr>
      <th>epoch two</th>
      <td>0.412</td>
      <td>0.83</td>
    </tr>
  </tbody>
</table>
</div>"""
STYLED = """<style type="text/css">
#T_1_row0_col0 {
  background-color: #fde725;
  color: #000000;
}
#T_1_row0_col1 {
  background-color: #440154;
  color: #f1f1f1;
}
</style>
<table id="T_1">
  <caption>Styled by momentum</caption>
  <thead>
    <tr>
      <th class="blank level0" >&nbsp;</th>
      <th id="T_1_level0_col0" class="col_heading level0 col0" >beta</th>
      <th id="T_1_level0_col1" class="col_heading level0 col1" >speed</th>
    </tr>
  </thead>
  <tbody>
    <tr>
      <th id="T_1_level0_row0" class="row_heading level0 row0" >0</th>
      <td id="T_1_row0_col0" class="data row0 col0" >0.900000</td>
      <td id="T_1_row0_col1" class="data row0 col1" >10.000000</td>
    </tr>
  </tbody>
</table>
"""
PLOT = """
import matplotlib
from matplotlib import pyplot as plt
from matplotlib_inline.backend_inline import set_matplotlib_formats

set_matplotlib_formats({kind!r})
plt.figure(figsize=(4, 2))
plt.plot([1, 3, 2])
plt.title("a plot as {kind}")
plt.show()
"""
PROGRESS = """
import sys

for done in (10, 55, 100):
    print(f"\\rtraining: {done}%|{'#' * (done // 10)}", end="")
print("\\n\\x1b[32mgreen words\\x1b[0m and \\x1b[1;31mred ones\\x1b[0m")
print("a warning to read", file=sys.stderr)
"""
TEXT = f"""## What I found

A line with <b>bold HTML</b>, H<sub>2</sub>O, `code < 1` and a formula $\\hat{{x}} = (x - \\mu) / \\sigma$.

| optimizer | steps |
|:----------|------:|
| momentum  |   120 |

<details open><summary>More of it</summary>

The text in the details.

</details>

![my own picture]({OWN_PICTURE.replace(" ", "%20")})
"""
GREY = (
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAEklEQVR4nGNsYEAFTAyjAtQTAABrJACQgEwsKAAAAABJRU5ErkJggg=="
)
HONEST = {
    "frame": display_cell({"text/html": FRAME, "text/plain": "a frame"}),
    "styled": display_cell({"text/html": STYLED, "text/plain": "a styled frame"}),
    "png": code_cell(PLOT.format(kind="png")),
    "svg": code_cell(PLOT.format(kind="svg")),
    "latex": code_cell(r"Latex(r'$\frac{\partial L}{\partial \gamma} = \sum_i dy_i\,\hat x_i$')"),
    "markdown": code_cell("Markdown('**Strong words** of an output, with $a^2$')"),
    "image": code_cell(f"import base64\nImage(data=base64.b64decode('{GREY}'), width=64, height=64)"),
    "progress": code_cell(PROGRESS),
    "error": code_cell("1 / 0"),
    "text": markdown_cell(TEXT),
    "attached": markdown_cell(
        "![attached](attachment:grey.png)", attachments={"grey.png": {"image/png": GREY}}
    ),
}
#: A piece of text of each, as it is to be read on the pages.
READ = (
    *("epoch one", "0.412", "Styled by momentum", "10.000000", "Strong words", "What I found", "bold HTML"),
    *(
        "momentum",
        "120",
        "The text in the details",
        "training: 100%",
        "green words",
        "red ones",
        "a warning to read",
    ),
    *("ZeroDivisionError", "4 of 4 points", r"\frac{\partial L}", r"\hat{x} = (x - \mu)"),
)
#: Colours that are part of what is shown, by the text they belong to.
COLOURS = {
    "0.900000": ("backgroundColor", "rgb(253, 231, 37)"),
    "10.000000": ("backgroundColor", "rgb(68, 1, 84)"),
}


#: What an answer does while it is checked, for the judge's report to tell.
ANSWERS = {
    "batch_norm_forward": r"""
def batch_norm_forward(x, gamma, beta, eps=1e-5):
    raise ValueError(r"<img src=data: onerror=RUN> $\href{javascript:RUN}{x}$")
""",
    "numerical_gradient": """
def numerical_gradient(f, x, dy, h=1e-6):
    return type("<img src=data: onerror=RUN>", (), {"__repr__": lambda self: "<svg/onload=RUN>"})()
""",
    "batch_norm_backward": """
def batch_norm_backward(dy, cache):
    print("<img src=data: onerror=RUN>")
    return {"<svg/onload=RUN>": dy}
""",
    "identity_parameters": """
def identity_parameters(x, eps=1e-5):
    return "<img src=data: onerror=RUN>", x
identity_parameters.__name__ = identity_parameters.__qualname__ = "<svg/onload=RUN>"
""",
    "BatchNormFunction": """
class BatchNormFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps):
        raise type("<img src=data: onerror=RUN>", (Exception,), {})("<svg/onload=RUN>")
""",
}


def hand_in(lab: Lab, student: str) -> None:
    """Hand in the honest notebook, or the one with all attacks."""
    honest = student == "grace"
    answers = (
        solution_code(DAY) if honest else {name: aimed(code, name, lab) for name, code in ANSWERS.items()}
    )
    path = answered(lab.folder, student, DAY, answers)
    notebook = json.loads(path.read_text(encoding="utf-8"))
    shown = HONEST if honest else {**attacks(lab), **breaking(lab)}
    display = code_cell("from IPython.display import Image, Latex, Markdown, display")
    notebook["cells"] = with_ids(notebook["cells"], [display, *shown.values()])
    if not honest:
        notebook["metadata"] |= aimed(METADATA, "metadata", lab)
        (path.parent / "<img src=data: onerror=1>.png").write_bytes(b"")
    picture = path.parent / OWN_PICTURE
    picture.parent.mkdir()
    picture.write_text(aimed(DRAWING, "own_picture", lab), encoding="utf-8")
    path.write_text(json.dumps(notebook), encoding="utf-8")


def with_ids(cells: list[dict[str, Any]], added: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cells of a notebook with more of them before its first check, each with a name."""
    place = index_of(cells, "check_batch_norm_forward")
    return [
        {**cell, "id": f"cell{place}"} for place, cell in enumerate([*cells[:place], *added, *cells[place:]])
    ]


def index_of(cells: list[dict[str, Any]], name: str) -> int:
    return next(
        i for i, cell in enumerate(cells) if cell["metadata"].get("nbgrader", {}).get("grade_id") == name
    )


# The pages

#: Says which attack acts, in whichever frame it does.
RAN = """
const told = new Set();
window.ran = new Proxy({}, {get(_, name) { if (!told.has(name)) new Image().src = `URL/hit/${String(name)}`;
                                           told.add(name); return 1; }});
"""
#: What the pages use of MathJax, which they take from elsewhere, and what its commands would do.
MATHJAX = r"""
window.MathJax = {Hub: {Config() {}, Queue() {}, Startup: {signal: {Interest: (tell) => tell("End")}}}};
addEventListener("DOMContentLoaded", () => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode())
    if (!texts.currentNode.parentElement.closest("pre, code, script, style, textarea"))
      for (const [, command, value] of texts.currentNode.data.matchAll(/\\(href|style)\{([^}]*)\}/g))
        found.push([texts.currentNode.parentElement, command, value]);
  for (const [parent, command, value] of found) {
    const made = parent.appendChild(document.createElement(command === "href" ? "a" : "span"));
    made.setAttribute(command, value);
    made.append("x");
  }
});
"""
#: A curious person: the pointer over everything in the student's cells, a click on all that can be clicked.
TOUCH = """
async (left) => {
  const own = (one) => !one.closest('.panel-heading, .panel-footer, .help, nav');
  const all = [...document.querySelectorAll('#notebook-container *')]
    .filter((one) => own(one) && !left.includes(one.getAttribute('href')));
  for (const one of all) one.dispatchEvent(new MouseEvent('mouseover', {bubbles: true}));
  for (const one of all.filter((one) => one.matches('a, button, input, summary'))) {
    one.dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}));
    await new Promise((go) => setTimeout(go));  // the next click would take the place of a link's script
  }
}
"""
#: The grader's controls that are not what a click at their place meets, or that belong to no grade.
BURIED = """
() => {
  const controls = [...document.querySelectorAll('.score, .extra-credit, .full-credit, .no-credit')];
  const buried = controls.filter((one) => {
    one.scrollIntoView({block: 'center', behavior: 'instant'});
    const {x, y, width, height} = one.getBoundingClientRect();
    const top = document.elementFromPoint(x + width / 2, y + height / 2);
    return !one.contains(top);
  }).map((one) => `${one.id} ${one.className} is covered`);
  const loose = formgrader.grade_uis.filter(({$el, $score, model}) =>
    $el.length !== 1 || $score.attr('id') !== model.get('name')
  ).map(({model}) => `${model.get('name')} has no field`);
  return {count: controls.length, wrong: [...buried, ...loose]};
}
"""


class Visit:
    """A page that is opened, with what happens on it."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.asked: list[tuple[str, str]] = []
        page.on("request", self._note)
        page.goto(address)
        page.wait_for_load_state("networkidle")

    def _note(self, request: Request) -> None:
        if not request.url.startswith("data:"):
            self.asked.append((request.method, request.url))

    def touch(self, links: Iterable[str] = ()) -> None:
        """Do what a curious person does, and wait for what comes of it; these links lead away."""
        self.page.evaluate(TOUCH, list(links))
        self.page.wait_for_load_state("networkidle")

    @property
    def ran(self) -> set[str]:
        """The attacks that have acted."""
        return {re.split(r"[/?]", url.split("/hit/")[1])[0] for _, url in self.asked if "/hit/" in url}

    @property
    def requests(self) -> set[tuple[str, str]]:
        """All that the page has asked for, whosever submission it is."""
        return {
            (method, re.sub(r"[0-9a-f]{32}|\b(?:eve|mallory|trent|grace)\b", "X", url))
            for method, url in self.asked
        }

    @property
    def links(self) -> set[str]:
        """Where the cells' links lead out of the page."""
        found = self.page.eval_on_selector_all(
            "#notebook-container a[href]", "(all) => all.map((one) => one.getAttribute('href'))"
        )
        return {link for link in found if not link.startswith("#")}

    @property
    def buried(self) -> list[str]:
        """The grader's controls that a click does not reach, or that do nothing."""
        state = self.page.evaluate(BURIED)
        expected = 4 * CHECKS
        return state["wrong"] + ([f"{state['count']} controls"] if state["count"] != expected else [])


@pytest.fixture(scope="module")
def course(lab: Lab) -> Path:
    """The course of the JupyterLab, in which the students of GRADED_BY are graded."""
    release(lab.folder, DAY)
    for student in GRADED_BY:
        hand_in(lab, student)
    students = [
        word for name, command in GRADED_BY.items() if command == "graders" for word in ("--student", name)
    ]
    subprocess.run(
        [*warm.python(), "-m", "graders", "autograde", DAY, "--workers", "1", "--force", *students],
        cwd=lab.folder,
        env=clean_environment(ROOT),
        check=True,
        capture_output=True,
        timeout=300,
    )
    nbgrader(lab.folder, "autograde", DAY, "--student", "mallory", "--force")
    # As another configuration would have left it: only the pages clean it.
    path = stored(lab.folder, "trent")
    path.unlink()
    nbformat.write(uncleaned(lab, attacks(lab).values()), path)
    nbgrader(lab.folder, "generate_feedback", DAY, "--force")
    return lab.folder


@pytest.fixture(scope="module")
def context(browser: Any, lab: Lab) -> Iterator[BrowserContext]:
    """A browser profile that may grade. What the pages take from elsewhere has a stand-in."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.add_init_script(RAN.replace("URL", lab.url))
    context.route(re.compile("^https?://(?!127.0.0.1)"), lambda route: route.abort())
    context.route("https://cdnjs.cloudflare.com/**", lambda route: route.fulfill(body=MATHJAX))
    context.request.get(f"{lab.url}/login?token={lab.token}")
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A new page in that profile."""
    page = context.new_page()
    yield page
    page.unroute_all(behavior="ignoreErrors")
    page.close()


@pytest.fixture(scope="module")
def honest(context: BrowserContext, course: Path, lab: Lab) -> dict[str, Visit]:
    """Both pages of the honest student."""
    return {kind: Visit(context.new_page(), address(lab, "grace", kind)) for kind in PAGES}


def submission(course: Path, student: str) -> str:
    """The name of a student's notebook in the gradebook."""
    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        return str(book.find_submission_notebook(DAY, DAY, student).id)


def stored(course: Path, student: str) -> Path:
    return course / "autograded" / student / DAY / f"{DAY}.ipynb"


def address(lab: Lab, student: str, kind: str) -> str:
    if kind == "feedback":
        return (lab.folder / "feedback" / student / DAY / f"{DAY}.html").as_uri()
    return f"{lab.url}/formgrader/submissions/{submission(lab.folder, student)}/"


@cache
def exporter(kind: str) -> HTMLExporter:
    """What makes the page of a notebook, without a step that cleans it."""
    return HTMLExporter(
        template_name={"formgrader": "formgrade"}.get(kind, kind),
        extra_template_basedirs=[template_path],
        extra_template_paths=[f"{static_path}/node_modules/bootstrap/dist/css"],
    )


def rendered(node: Any, kind: str, name: str = "") -> str:
    """The page of a notebook as it is, for the submission of this name."""
    resources = {
        "assignment_id": DAY,
        "notebook_id": DAY,
        "submission_id": name,
        "index": 0,
        "total": 1,
        "base_url": "",
        "student": "x",
        "first_name": None,
        "last_name": None,
        "notebook_path": "x",
        "nbgrader": {"notebook": DAY, "score": 0, "max_score": 25, "late_penalty": 0},
    }
    return exporter(kind).from_notebook_node(node, resources=resources)[0]


def uncleaned(lab: Lab, cells: Iterable[dict[str, Any]]) -> Any:
    """The released notebook with these cells, as a student's browser would show it."""
    notebook = release_of(lab.folder, DAY)
    notebook["cells"] = with_ids(notebook["cells"], cells)
    for cell in notebook["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade"):
            cell["metadata"]["nbgrader"]["score"] = 0
    return nbformat.reads(json.dumps(notebook), 4)


# The tests


@pytest.mark.parametrize("kind", PAGES)
@pytest.mark.parametrize("student", ["eve", "mallory", "trent"])
def test_nothing_acts(
    student: str, kind: str, course: Path, lab: Lab, page: Page, honest: dict[str, Visit]
) -> None:
    check(Visit(page, address(lab, student, kind)), kind, lab, honest)
    assert page.locator(".graders-verdict").count() == (CHECKS if student != "trent" else 0)
    screenshot(page, ARTEFACTS, f"attacks_{student}_{kind}")


@pytest.mark.parametrize("student", ["eve", "mallory"])
def test_nothing_acts_where_the_page_does_not_clean(
    student: str, course: Path, lab: Lab, page: Page, honest: dict[str, Visit]
) -> None:
    """A Formgrader that was started elsewhere shows what is stored as it is."""
    node = nbformat.read(stored(course, student), 4)
    check(open_as_it_is(page, lab, "formgrader", node, student), "formgrader", lab, honest)


def check(visit: Visit, kind: str, lab: Lab, honest: dict[str, Visit]) -> None:
    """Look for everything that an attack could have done on a page."""
    before = recorded(lab.folder, DAY)
    if kind == "formgrader":
        assert visit.buried == []
    assert visit.links <= links_in_the_release(lab)
    visit.touch(links_in_the_release(lab))
    assert visit.ran == set()
    assert visit.requests <= honest[kind].requests
    assert re.split("[?#]", visit.page.url)[0] == visit.address
    assert recorded(lab.folder, DAY) == before


@pytest.mark.parametrize("kind", PAGES)
def test_honest_displays_are_seen(kind: str, honest: dict[str, Visit]) -> None:
    page = honest[kind].page
    cells = page.locator("#notebook-container")
    for text in READ:
        expect(cells.get_by_text(text).locator("visible=true").first, text).to_be_visible()
    pictures = cells.locator("img").all()
    assert len(pictures) == 5
    for picture in pictures:
        picture.scroll_into_view_if_needed()
        expect(picture).to_be_visible()
        assert picture.evaluate("(one) => one.complete && one.naturalWidth > 0")
    for text, (name, colour) in COLOURS.items():
        seen = cells.locator(".output_area").get_by_text(text, exact=True).first
        assert seen.evaluate("(one, name) => getComputedStyle(one)[name]", name) == colour
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"honest_displays_{kind}.png", full_page=True)


@pytest.mark.parametrize("kind", PAGES)
def test_control_attacks_act_where_nothing_cleans_them(
    kind: str, course: Path, lab: Lab, page: Page, tmp_path: Path
) -> None:
    visit = open_as_it_is(page, lab, kind, uncleaned(lab, attacks(lab).values()), folder=tmp_path)
    if kind == "formgrader":
        visit.touch(links_in_the_release(lab))
    assert len(visit.ran) >= 70


@pytest.mark.parametrize("name", ALONE)
def test_control_attacks_on_the_page(name: str, course: Path, lab: Lab, page: Page, tmp_path: Path) -> None:
    visit = open_as_it_is(page, lab, "formgrader", uncleaned(lab, [breaking(lab)[name]]), folder=tmp_path)
    if name in ("form", "link_away"):
        page.locator(".output_html :is(button, a)").click()
    if name not in ("base", "credit"):
        page.wait_for_url("**/hit/**")
    assert visit.ran == {name}
    if name == "credit":
        assert recorded(course, DAY)["trent"]["notebooks"][DAY]["grades"]["check_batch_norm_forward"][1] == 4


@pytest.mark.parametrize("name", COVERS)
def test_control_what_covers(name: str, course: Path, lab: Lab, page: Page, tmp_path: Path) -> None:
    visit = open_as_it_is(page, lab, "formgrader", uncleaned(lab, [breaking(lab)[name]]), folder=tmp_path)
    assert visit.buried


def open_as_it_is(
    page: Page, lab: Lab, kind: str, node: Any, student: str = "trent", folder: Path = Path()
) -> Visit:
    """Open a student's page for this notebook, which nothing has cleaned on the way."""
    html = rendered(node, kind, submission(lab.folder, student))
    if kind == "feedback":
        (folder / "page.html").write_text(html, encoding="utf-8")
        return Visit(page, (folder / "page.html").as_uri())
    page.route(address(lab, student, kind), lambda route: route.fulfill(body=html, content_type="text/html"))
    return Visit(page, address(lab, student, kind))


@cache
def links_in_the_release(lab: Lab) -> set[str]:
    """Where the instructor's own links lead."""
    links = BeautifulSoup(rendered(uncleaned(lab, []), "formgrader"), "html.parser").select(".cell a[href]")
    return {str(link["href"]) for link in links if not link["href"].startswith("#")}
