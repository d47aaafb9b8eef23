"""The glossary: alphabetical, complete entries, and every link to it leads to a term."""

import json
import re
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parent.parent
GLOSSARY = ROOT / "course" / "glossary.ipynb"
LINK = re.compile(r"\]\((?:[\w./]*glossary\.ipynb)?#([^)\s]+)\)")
TO_GLOSSARY = re.compile(r"\]\([\w./]*glossary\.ipynb#([^)\s]+)\)")


def markdown(path: Path) -> str:
    stored = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in stored if cell["cell_type"] == "markdown")


ENTRIES = dict(re.findall(r"^### (.+)\n\n((?:.+\n?|\n(?!#))+)", markdown(GLOSSARY), flags=re.M))
ANCHORS = {term.replace(" ", "-") for term in ENTRIES}
LINKING = sorted(
    [
        path
        for pattern in ("course/*.ipynb", "solutions/*/*.ipynb", "course/study/days/*.toml")
        for path in ROOT.glob(pattern)
    ]
)


def test_alphabetical_and_not_too_many():
    terms = list(ENTRIES)
    assert terms == sorted(terms, key=str.lower)
    assert 40 <= len(terms) <= 75
    letters = re.findall(r"^## ([A-Z])$", markdown(GLOSSARY), flags=re.M)
    assert letters == sorted({term[0].upper() for term in terms})


@pytest.mark.parametrize("term", ENTRIES)
def test_entry_has_sentences_a_day_and_the_library_word(term):
    text, facts = ENTRIES[term].strip().split("\n\n")
    assert text.endswith(".") and 8 <= len(text.split()) <= 60
    (day,) = re.findall(r"\*Day (\d\d)\.\*", facts)
    assert 25 <= int(day) <= 34
    assert re.search(r"\*PyTorch:\* .+\.$", facts)


def test_by_day_names_every_term_once():
    table = re.findall(r"^\| \d\d \| (.+) \|$", markdown(GLOSSARY), flags=re.M)
    named = [name for row in table for name in re.findall(r"\[([^\]]+)\]", row)]
    assert sorted(named) == sorted(ENTRIES)
    assert {unquote(anchor) for anchor in LINK.findall("\n".join(table))} == ANCHORS


@pytest.mark.parametrize("path", LINKING, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_linked_term_exists(path):
    text = markdown(path) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
    if path.suffix == ".toml":
        tomllib.loads(text)
    assert {unquote(anchor) for anchor in TO_GLOSSARY.findall(text)} - ANCHORS == set()


def test_day_26_links_to_it():
    (lecture,) = ROOT.glob("course/day26_*.ipynb")
    assert len(TO_GLOSSARY.findall(markdown(lecture))) >= 5


def test_names_of_the_library_exist():
    import torch
    import torch.nn.functional as F
    import torch.nn.utils.fusion
    import torch.nn.utils.parametrizations
    import torch.optim.swa_utils
    from torch import nn

    known = {"torch": torch, "nn": nn, "F": F, "Tensor": torch.Tensor}
    for name in re.findall(r"`((?:torch|nn|F|Tensor)\.[\w.]+)", markdown(GLOSSARY)):
        first, *rest = name.split(".")
        found = known[first]
        for attribute in rest:
            found = getattr(found, attribute)
