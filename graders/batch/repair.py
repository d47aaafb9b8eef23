"""Reads JSON that a merge, an editor or a copy has damaged, where little else can have been meant.

What is mended is between the strings of a notebook's file, never in them: a comma too many or too few, what
stands behind the end, line ends that were not escaped. Of a merge that git could not make there are two
readings, one for each side.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

#: What stands around JSON, and what a disk that failed has put there.
_BLANK = "\0\ufeff \t\r\n"
#: How often a comma is put where one is missing.
_MISSING_LIMIT = 20
#: A string, or a comma that nothing follows.
_STRING_OR_COMMA = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|,(?=\s*+[\]}])', re.DOTALL)
#: Where outputs begin, and the state of widgets; how far they reach, brackets and strings tell.
_SHOWN = re.compile(rb'"(?:outputs|widgets)"\s*+:\s*+[\[{]')
_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]', re.DOTALL)
_PARTS_LIMIT, _SHOWN_COST = 1_500_000, 100
#: The lines that git writes around the sides of a conflict, by their first characters: where one may stand,
#: and what begins with it. With `diff3` the text that both sides had stands between the sides.
_MARKS = {
    "<<<<<<<": (("both",), "ours"),
    "|||||||": (("ours",), "neither"),
    "=======": (("ours", "neither"), "theirs"),
    ">>>>>>>": (("theirs",), "both"),
}


def readings(text: str, notes: list[str]) -> list[Any]:
    """The JSON data of a text; of one in which a merge was left unfinished, of either side that can be read.

    notes: what was mended is added to them. Raises ValueError where it is none, with the reason of the first
    try.
    """
    try:
        return [json.loads(text)]
    except ValueError as error:
        problem = error
    found: list[Any] = []
    mended: list[str] = []
    sides = _sides(text)
    for side in sides:
        with contextlib.suppress(ValueError):
            found += [one for one in _mended(side, mended) if one not in found]
    if not found:
        if len(sides) > 1:
            raise ValueError("it holds a merge that git has left unfinished") from problem
        raise problem
    if len(sides) > 1:
        mended.insert(0, "a merge that git has left unfinished")
    notes.append(f"The file was damaged and could be read all the same: {', '.join(dict.fromkeys(mended))}.")
    return found


def without_outputs(content: bytes) -> bytes:
    """A notebook's file without what its cells have shown, which nobody reads before it is run again.

    Of one with more lists and objects in it than `_PARTS_LIMIT`, not all is found.
    """
    kept: list[bytes] = []
    start, left = 0, _PARTS_LIMIT
    while left > 0 and (found := _SHOWN.search(content, start)):
        depth = end = 0
        for part in _STRING_OR_BRACKET.finditer(content, found.end() - 1):
            left -= 1
            depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(part[0], 0)
            end = part.end()
            if not depth or not left:
                break
        if depth:
            break
        left -= _SHOWN_COST
        kept += [content[start : found.end() - 1], b"[]" if found[0].endswith(b"[") else b"{}"]
        start = end
    return b"".join([*kept, content[start:]])


def _sides(text: str) -> list[str]:
    """Both sides of what git could not merge, or the text alone where its lines are none of a conflict."""
    kept: dict[str, list[str]] = {"ours": [], "theirs": [], "neither": []}
    now, conflicts = "both", 0
    for line in text.split("\n"):
        mark = line[:7]
        if mark in _MARKS and line[7:].strip("\r")[:1] in ("", " "):
            before, after = _MARKS[mark]
            if now not in before:
                return [text]
            conflicts += now == "both"
            now = after
        elif now == "both":
            kept["ours"].append(line)
            kept["theirs"].append(line)
        else:
            kept[now].append(line)
    if not conflicts or now != "both":
        return [text]
    return ["\n".join(kept[side]) for side in ("ours", "theirs")]


def _mended(text: str, mended: list[str]) -> list[Any]:
    """The data at the beginning of a text, and a notebook that follows it. Raises ValueError."""
    with contextlib.suppress(ValueError):
        return [json.loads(text)]
    decoder = json.JSONDecoder(strict=False)
    said: list[str] = []
    start, looked = text.lstrip(_BLANK), False
    for left in reversed(range(_MISSING_LIMIT + 1)):
        try:
            data, end = decoder.raw_decode(start)
            break
        except json.JSONDecodeError as error:
            fewer = start if looked else _STRING_OR_COMMA.sub(_without_comma, start)
            looked = True
            if fewer != start:
                said.append("a comma too many")
                start = fewer
            elif left and error.msg.startswith("Expecting ',' delimiter") and start[error.pos :][:1] == "{":
                said.append("a comma missing")
                start = f"{start[: error.pos]},{start[error.pos :]}"
            else:
                raise
    if "\0" in start[:end]:
        raise ValueError("there is nothing where text was")  # what it was, nobody can say
    found = [data]
    if rest := start[end:].strip():
        said.append("something behind its end")
        with contextlib.suppress(ValueError):
            after = json.loads(rest)
            found += [after] if isinstance(after, dict) and "cells" in after else []
    mended += said or ["characters that JSON writes in another way"]
    return found


def _without_comma(found: re.Match[str]) -> str:
    return "" if found[0] == "," else found[0]
