"""What makes a command's own imports quicker."""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

#: What nbformat's validator has for strings of forms that no notebook has (addresses, dates):
#: parsers that take long to import. Without them those forms go unchecked.
_PARSERS = (
    *("rfc3987_syntax", "rfc3986_validator", "rfc3339_validator", "isoduration", "fqdn", "webcolors"),
    "uri_template",
)
#: What nbgrader imports to be an extension of Jupyter's server, and with it that server.
_EXTENSIONS = ("assignment_list", "course_list", "formgrader", "validate_assignment")


@contextlib.contextmanager
def much_is_imported() -> Iterator[None]:
    """For as long as whole libraries are imported; what is imported then stays."""
    gc.disable()  # it would look at all modules again and again while more are imported
    for name in _PARSERS:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    try:
        yield
    finally:
        gc.freeze()  # it need not be looked through again, not even at the end
        gc.enable()


def import_nbgrader() -> None:
    """Import nbgrader's package, without the server that it is an extension of.

    Its extensions are imported when somebody calls for one.
    """
    names = [f"nbgrader.server_extensions.{name}" for name in _EXTENSIONS]
    stand_ins = {name: _StandIn(name) for name in names if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        importlib.import_module("nbgrader")
    finally:
        for name, module in stand_ins.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


class _StandIn(ModuleType):
    """In the place of a module whose functions nobody calls; one that is called is the module's own."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *given, **named: getattr(importlib.import_module(self.__name__), name)(*given, **named)
