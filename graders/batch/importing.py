"""What makes a command's own imports quicker."""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

#: What nbformat's validator has for strings of forms that no notebook has (addresses, dates):
#: parsers that take long to import. Without them those forms go unchecked.
_PARSERS = (
    *("rfc3987_syntax", "rfc3986_validator", "rfc3339_validator", "isoduration", "fqdn", "webcolors"),
    "uri_template",
)
#: What nbgrader imports to be an extension of Jupyter's server, with that server, to unpack archives, and to
#: ask a JupyterHub; and nbconvert, to take HTML apart and to serve slides.
_UNCALLED = (
    *("nbgrader.server_extensions.assignment_list", "nbgrader.server_extensions.course_list"),
    *("nbgrader.server_extensions.formgrader", "nbgrader.server_extensions.validate_assignment"),
    *("setuptools.archive_util", "requests", "bs4", "nbconvert.postprocessors.serve"),
)


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
    """Import what of nbgrader is at the bottom of it, without what only the rest of its commands calls.

    That is imported when somebody calls for it.
    """
    stand_ins = {name: _StandIn(name) for name in _UNCALLED if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        for name in ("nbgrader", "nbgrader.utils", "nbgrader.auth", "nbgrader.apps", "graders.batch.display"):
            importlib.import_module(name)
    except ImportError:  # another nbgrader, which has these otherwise: it is imported as it is
        pass
    finally:
        for name, module in stand_ins.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


class _StandIn(ModuleType):
    """In the place of a module while others are imported; they get functions that call its own.

    Afterwards it has what the module has, which is then imported.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            return lambda *given, **named: getattr(self, name)(*given, **named)
        return getattr(importlib.import_module(self.__name__), name)
