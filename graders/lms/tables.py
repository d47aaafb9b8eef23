"""Tables as learning management systems write them: CSV of any delimiter and encoding, which are kept."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

#: Bytes of a table that are read.
LIMIT = 64 << 20
#: Marks at the beginning of a file, and the encodings that they stand for.
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
#: Bytes that stand for no character are written as they were read.
_AS_THEY_ARE = "surrogateescape"


class NoTable(Exception):
    """A file that cannot be read as a table; the text is a sentence that says why."""


@dataclass
class Table:
    """A header and rows of the same length, and how they were written."""

    header: list[str]
    rows: list[list[str]]
    encoding: str = "utf-8"
    delimiter: str = ","
    quoted: bool = False
    line_end: str = "\n"

    def column(self, *names: str) -> int | None:
        """The place of the column with one of these headings, however capitalized; the first goes first."""
        folded = [heading.casefold() for heading in self.header]
        return next((folded.index(name.casefold()) for name in names if name.casefold() in folded), None)


def read(path: Path) -> Table:
    """The table in a file. Raises NoTable."""
    try:
        if path.stat().st_size > LIMIT:
            raise NoTable(f"{path.name} has more than {LIMIT >> 20} MB; it is no table of a class.")
        data = path.read_bytes()
    except OSError as error:
        raise NoTable(f"{path} cannot be read: {error.strerror}.") from None
    if data.startswith(b"PK\x03\x04"):
        raise NoTable(f"{path.name} is a workbook; save it as CSV.")
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        if encoding != "utf-8":
            raise NoTable(f"{path.name} is not in the encoding that its first bytes announce.") from None
        encoding, text = "cp1252", data.decode("cp1252", _AS_THEY_ARE)
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise NoTable(f"{path.name} is no table of comma-separated values ({error}).") from None
    if not lines or not any(heading.strip() for heading in lines[0]):
        raise NoTable(f"{path.name} has no line with headings.")
    header = [heading.strip() for heading in lines[0]]
    rows = [(line + [""] * len(header))[: max(len(header), len(line))] for line in lines[1:] if any(line)]
    line_end = "\r\n" if first.endswith("\r") else "\n"
    return Table(header, rows, encoding, delimiter, first.startswith('"'), line_end)


def write(path: Path, table: Table) -> None:
    """Write a table as it was written when it was read; the file appears whole or not at all."""
    text = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if table.quoted else csv.QUOTE_MINIMAL
    writer = csv.writer(text, delimiter=table.delimiter, quoting=quoting, lineterminator=table.line_end)
    writer.writerows([table.header, *table.rows])
    put(path, [text.getvalue().encode(table.encoding, _AS_THEY_ARE)])


def put(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file in one step, in the place of what is there."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(pieces)
        os.chmod(name, 0o666 & ~_mask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _mask() -> int:
    """The permissions that new files of this process lack."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
