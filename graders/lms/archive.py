"""Reads the zip that a learning management system made: bounded, and none of its paths is believed."""

from __future__ import annotations

import re
import stat
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from graders.batch import bounds
from graders.batch.submission import TIMESTAMP, is_foreign, path_in_archive, shown

#: Bytes of a zip's own list: ten thousand students with a hundred files each.
CONTENTS_LIMIT = 256 << 20
#: Bytes and files of a submission, unpacked: what grading reads of it, notebooks and data.
SUBMISSION_LIMIT = bounds.NOTEBOOK_LIMIT + bounds.FILES_LIMIT
#: Bytes of a name in a folder.
NAME_LIMIT = 200
#: What marks the end of a zip, with its length, and the record of one that is large.
_END, _END_LENGTH, _LARGE = b"PK\x05\x06", 22, b"PK\x06\x06"
_CHUNK = 1 << 20


class NoArchive(Exception):
    """A file that is no zip of submissions; the text is a sentence that says why."""


class Damaged(Exception):
    """A file in a zip that cannot be read; the text says why, as the end of a sentence."""


@dataclass(frozen=True)
class Entry:
    """A file in a zip. path: as the zip says it, unless it is a name in another encoding."""

    path: str
    info: zipfile.ZipInfo

    @property
    def size(self) -> int:
        return self.info.file_size


class Archive:
    """An opened zip; the files in it that could be part of a submission, in their order."""

    def __init__(self, path: Path) -> None:
        """Raises NoArchive."""
        try:
            _require_modest(path)
            self._zip = zipfile.ZipFile(path)
        except OSError as error:
            raise NoArchive(f"{path} cannot be read: {error.strerror or error}.") from None
        except NoArchive:
            raise
        except Exception as error:  # a reader of malformed data fails in any way
            raise NoArchive(f"{path.name} is no zip, or a damaged one ({type(error).__name__}).") from None
        self.entries = [
            Entry(path_in_archive(info), info) for info in self._zip.infolist() if not info.is_dir()
        ]
        self.entries = [entry for entry in self.entries if not _is_clutter(entry.path)]
        _without_wrapper(self.entries)

    def close(self) -> None:
        self._zip.close()

    def pieces(self, entry: Entry) -> Iterator[bytes]:
        """The content of a file, no longer than the zip says that it is. Raises Damaged."""
        info = entry.info
        if info.flag_bits & 1:
            raise Damaged("is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Damaged("is compressed in a way that is not read")
        left = info.file_size
        try:
            with self._zip.open(info) as file:
                while left > 0 and (piece := file.read(min(_CHUNK, left))):
                    left -= len(piece)
                    yield piece
        except Exception as error:  # a reader of malformed data fails in any way
            raise Damaged(f"is damaged ({type(error).__name__})") from None

    def head(self, entry: Entry, size: int) -> bytes:
        """The first bytes of a file; nothing where it cannot be read."""
        try:
            return next(self.pieces(entry), b"")[:size]
        except Damaged:
            return b""


def _require_modest(path: Path) -> None:
    """Raises NoArchive where the zip's own list says that it is too long, before it is read."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - (1 << 16) - _END_LENGTH))
        tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or at + _END_LENGTH > len(tail):
        raise NoArchive(f"{path.name} is no zip, or was cut off; download it again.")
    length = int.from_bytes(tail[at + 12 : at + 16], "little")
    if length == 0xFFFFFFFF:  # it stands in the record of large archives
        at = tail.rfind(_LARGE, 0, at)
        length = int.from_bytes(tail[at + 40 : at + 48], "little") if at >= 0 else length
    if length > CONTENTS_LIMIT:
        raise NoArchive(f"{path.name} lists more files than a class hands in; it was not unpacked.")


def _is_clutter(path: str) -> bool:
    """Whether this is what macOS or Windows put into a zip on their own."""
    place = PurePosixPath(path)
    return is_foreign(place) or place.name in (".DS_Store", "Thumbs.db")


def _without_wrapper(entries: list[Entry]) -> None:
    """Leave out the one folder around everything that a zip has which was packed anew by hand."""
    tops = {entry.path.split("/")[0] for entry in entries if "/" in entry.path}
    if len(tops) == 1 and all(entry.path.count("/") > 1 for entry in entries) and len(entries) > 1:
        cut = len(tops.pop()) + 1
        inner = {entry.path[cut:].split("/")[0] for entry in entries}
        if len(inner) > 1:
            entries[:] = [Entry(entry.path[cut:], entry.info) for entry in entries]


def inside(path: str) -> PurePosixPath:
    """A path as one that stays in the folder into which it is written. Raises Damaged where it is none."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or any(re.match("[A-Za-z]:", part) for part in parts[:1]):
        raise Damaged("has a path that leads out of its folder")
    if not parts:
        raise Damaged("has no name")
    if any(shown(part) != part or len(part.encode()) > NAME_LIMIT for part in parts) or len(parts) > 20:
        raise Damaged("has a name that no file can have here")
    return PurePosixPath(*(unicodedata.normalize("NFC", part) for part in parts))


def is_link(entry: Entry) -> bool:
    """Whether this is no file: a symbolic link, a pipe or a device."""
    mode = entry.info.external_attr >> 16
    return bool(stat.S_IFMT(mode)) and not stat.S_ISREG(mode)


def is_timestamp(path: PurePosixPath) -> bool:
    """Whether a file would say when it was handed in; that is for the system to say."""
    return len(path.parts) == 1 and path.name.casefold() == TIMESTAMP
