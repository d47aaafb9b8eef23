"""How much is read of what a submission holds, and of what it shows: decided before it is read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

#: Bytes of a notebook's file, of one that is read as it is, and of what is left of it without outputs and
#: foreign metadata, as JSON. Where a file is larger than the second, its outputs are cut out unread.
FILE_LIMIT = 64 << 20
NOTEBOOK_LIMIT = 32 << 20
CONTENT_LIMIT = 24 << 20
#: Bytes that Python's objects for a notebook may take.
OBJECTS_LIMIT = 160 << 20
CELLS_LIMIT = 5_000
#: Data files of a submission: bytes in all, their number, and how many notes there are on those left out.
FILES_LIMIT = 64 << 20
COUNT_LIMIT = 10_000
NOTES_LIMIT = 10
#: What all outputs of a notebook may cost: bytes as JSON, and for each line what an object costs, since a
#: notebook's file is written line by line.
OUTPUTS_LIMIT = 24 << 20
LINE_COST = 60
#: Characters of a cell that is run, of one that is looked through, and of one whose tree is kept meanwhile.
SOURCE_LIMIT = 500_000
PARSED_LIMIT = 100_000
KEPT_LIMIT = 20_000
#: Characters of a notebook that are looked through for cells that have lost their mark.
SEARCHED_LIMIT = 1_000_000
#: Notebooks that are looked at for one that is not there under its name, and bytes of an archive's own list.
CANDIDATES_LIMIT = 20
CONTENTS_LIMIT = 4 << 20

#: What objects cost at least, by the character that brings one: a list, a mapping, the next of their items.
_COSTS = {"[": 88, "{": 240, ",": 72, ":": 56}
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
#: So many strings with what stands before them: no more than that is held without its strings at once.
_PIECES = re.compile(r'(?:[^"]*+"[^"\\]*+(?:\\.[^"\\]*+)*+"){1,10000}+', re.DOTALL)
_CUT = "… What follows was cut: the outputs of a notebook may have {limit} MB in all.\n"


class TooLarge(Exception):
    """More than is read; the text is a sentence that says how much may be."""


def require_modest_json(text: str, name: str) -> None:
    """Raises TooLarge where the objects that JSON would become take more memory than they may."""
    if _cost(text) <= OBJECTS_LIMIT:
        return
    cost = end = 0
    while cost <= OBJECTS_LIMIT and (piece := _PIECES.match(text, end)):
        cost, end = cost + _cost(_STRING.sub('""', piece[0])), piece.end()
    if cost > OBJECTS_LIMIT or cost + _cost(text[end:]) > OBJECTS_LIMIT:
        raise TooLarge(f"{name} holds more lists and objects than a notebook; it may not be one.")


def _cost(text: str) -> int:
    return sum(text.count(character) * cost for character, cost in _COSTS.items())


def require_modest_content(cells: Sequence[Mapping[str, Any]], name: str) -> None:
    """Raises TooLarge where a notebook has too many cells, or too much in them without its outputs."""
    if len(cells) > CELLS_LIMIT:
        raise TooLarge(f"{name} has {len(cells)} cells; up to {CELLS_LIMIT} are graded.")
    size = sum(len(json.dumps([cell["source"], cell.get("attachments")])) for cell in cells)
    if size > CONTENT_LIMIT:
        raise TooLarge(
            f"{name} has {size >> 20} MB without its outputs; up to {CONTENT_LIMIT >> 20} MB are graded."
        )


class Outputs:
    """What is left of the room for a notebook's outputs."""

    def __init__(self) -> None:
        self.left = OUTPUTS_LIMIT

    def fitted(self, outputs: list[dict[str, Any]], *, keep: bool) -> list[dict[str, Any]]:
        """The outputs of the next cell, as far as there is room. keep: its results and errors stay anyway."""
        kept: list[dict[str, Any]] = []
        cut = False
        for output in outputs:
            cost = _cost_of(output)
            if cost <= self.left:
                self.left -= cost
                kept.append(output)
            else:
                cut = True
                if keep and output["output_type"] in ("execute_result", "error"):
                    kept.append(_shortened(output))
        if cut:
            text = _CUT.format(limit=OUTPUTS_LIMIT >> 20)
            kept.insert(0, {"output_type": "stream", "name": "stdout", "text": text})
        return kept


def _cost_of(output: Mapping[str, Any]) -> int:
    text = json.dumps(output)
    return len(text) + LINE_COST * text.count("\\n")


def _shortened(output: Mapping[str, Any]) -> dict[str, Any]:
    """A result or an error with nothing but what its points are told from."""
    if output["output_type"] == "error":
        return {**output, "evalue": output["evalue"][:1000], "traceback": []}
    return {**output, "data": {"text/plain": output["data"].get("text/plain", "")[:1000]}, "metadata": {}}
