"""What makes a command's own imports quicker."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def much_is_imported() -> Iterator[None]:
    """For as long as whole libraries are imported; what is imported then stays."""
    gc.disable()  # it would look at all modules again and again while more are imported
    # nbformat's validator brings a parser of addresses that takes a second to import and that no notebook
    # needs; without it that one format goes unchecked.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    try:
        yield
    finally:
        gc.freeze()  # it need not be looked through again, not even at the end
        gc.enable()
