"""The course's JavaScript: modules on their own, and as one text that needs no other file.

A module imports at its top, a line each, `import * as d3 from "./vendor/d3.js";` or
`import { html, svg } from "./kit.js";`, and ends with one `export { … };`. With that much agreed upon,
nobody who uses the course needs a bundler: anywidget and a page opened from a disk take one text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
KIT = "kit"
IMPORT = re.compile(
    r'^import (?:\* as (?P<all>\w+)|\{(?P<some>[\w\s,]+)\}) from "\./(?P<name>[\w/]+)\.js";$', re.M
)
EXPORT = re.compile(r"\bexport\s*\{(?P<names>[^{}]*)\};?\s*\Z")
LEFT = re.compile(r"^(?:import|export)\b", re.M)


def names() -> list[str]:
    """The modules that are explorers, such as 'day33_valley'."""
    return sorted(path.stem for path in FOLDER.glob("day*.js"))


@cache
def bundle(module: str) -> str:
    """One explorer as a text that needs no other file: its default export is what anywidget renders.

    It also exports `module`, with `compute`, `describe` and `draw`, and the `kit`.

    Raises:
        ValueError: a file does not import and export as agreed upon.
        OSError: there is no such module.
    """
    return (
        f"{_definitions([module, KIT])}\nconst module = modules['{module}'], kit = modules['{KIT}'];\n"
        "export default kit.widget(module);\nexport { kit, module };\n"
    )


def classic(chosen: Iterable[str]) -> str:
    """Some explorers for a page's plain <script>, which works where modules do not, from a disk too.

    It leaves `explorers` behind: {modules: {name: module}, kit}.
    """
    inside = f"{_definitions([*chosen, KIT])}\nreturn {{ modules, kit: modules['{KIT}'] }};"
    return f"const explorers = (() => {{\n{inside}\n}})();\n"


@cache
def alone(module: str) -> str:
    """A module that is no explorer, such as "../study/review", as a text that needs no other file.

    What it exports, `render` for anywidget among it, is the default export.
    """
    return f"{_definitions([module])}\nexport default modules['{module}'];\n"


def alone_classic(module: str, name: str) -> str:
    """The same for a page's plain <script>; it leaves a constant of this name behind."""
    return f"const {name} = (() => {{\n{_definitions([module])}\nreturn modules['{module}'];\n}})();\n"


def _definitions(chosen: Iterable[str]) -> str:
    """Statements that fill `modules`, each file once and after what it imports."""
    written: dict[str, str] = {}

    def add(name: str) -> None:
        if name not in written:
            imported, text = _wrapped(name)
            for other in imported:
                add(other)
            written[name] = f"modules['{name}'] = {text};"

    for name in chosen:
        add(name)
    return "\n".join(["const modules = {};", *written.values()])


def _wrapped(name: str) -> tuple[list[str], str]:
    """What a file imports, and the file as an expression whose value is what it exports."""
    text = (FOLDER / f"{name}.js").read_text(encoding="utf-8")

    def place(found: re.Match[str]) -> str:
        return os.path.normpath(Path(name).parent / found["name"]).replace(os.sep, "/")

    imported = [place(found) for found in IMPORT.finditer(text)]
    text = IMPORT.sub(
        lambda found: f"const {found['all'] or '{' + found['some'] + '}'} = modules['{place(found)}'];", text
    )
    end = EXPORT.search(text)
    if end is None:
        raise ValueError(f"{name}.js has to end with one line: export {{ … }};")
    body = text[: end.start()]
    if LEFT.search(body):
        raise ValueError(f"{name}.js imports or exports otherwise than course/explorers/modules.py says")
    pairs = (part.split(" as ") for part in end["names"].split(",") if part.strip())
    returned = ", ".join(f"{pair[-1].strip()}: {pair[0].strip()}" for pair in pairs)
    return imported, f"(() => {{\n{body}\nreturn {{ {returned} }};\n}})()"
