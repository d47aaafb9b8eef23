"""What the tests of all lectures share."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from course.explorers.explorer import Explorer
from course.figures.shared import Picture


@dataclass(frozen=True)
class Moves:
    """An explorer and the settings over which it is tested.

    make: makes the explorer. grid: for each of its controls some values, at least two, from end to
    end. frames: how many different pictures the whole grid gives, where a control has no effect in
    some places; None where every setting gives a picture of its own. shows: what to set first, where the
    first picture does not show what every control does.
    """

    make: Callable[[], Explorer]
    grid: Mapping[str, Sequence[Any]]
    frames: int | None = None
    shows: Mapping[str, Any] = field(default_factory=dict)


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG in its own pixels."""
    assert png.startswith(b"\x89PNG\r\n")
    return struct.unpack(">II", png[16:24])


def check_picture(picture: Picture) -> None:
    """A picture has twice the pixels of its CSS size, and words for those who cannot see it."""
    data, metadata = picture._repr_mimebundle_()
    size = (metadata["image/png"]["width"], metadata["image/png"]["height"])
    assert png_size(base64.b64decode(data["image/png"])) == (2 * size[0], 2 * size[1])
    assert data["text/plain"] == repr(picture)
    assert len(picture.text) > 20
