"""What the jail sees of this machine: Python, its packages, and the libraries that these are linked to.

Nothing is bound for the folder around it: a prefix such as /usr or /opt holds other people's data as well,
nbgrader's exchange to begin with. What is needed is named piece by piece, from what Python says of itself and
from the loader's cache.
"""

from __future__ import annotations

import os
import re
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
#: What libraries read beside themselves: locales, time zones, fonts, what Debian's Matplotlib draws with.
_BESIDE = (
    *("/etc/ld.so.cache", "/usr/lib/locale", "/usr/share/zoneinfo", "/usr/share/fonts"),
    "/usr/share/matplotlib",
)
#: Folders of libraries that are bound as a whole, with the plugins below them; from others, libraries alone.
_LIBRARIES = re.compile(r"/(usr/)?lib\w*(/.*)?")


def arguments(hidden: Iterable[str] = ()) -> tuple[list[str], list[str]]:
    """bwrap's arguments for what is seen, and the folders among it that are masked.

    hidden: folders that must not be seen where they lie in one that is: exchange, course, what else the
    configuration names. What Python needs and lies below one of them is seen again.
    """
    private = [*_own(), Path.home(), Path.cwd(), *map(Path, hidden)]
    private = [folder.resolve() for folder in private if folder.is_dir()]
    found: list[str] = []
    for link, target in _links().items():
        found += ["--symlink", target, link]
    seen: dict[Path, bool] = {}  # and whether it is masked
    masked: list[str] = []
    for place in sorted(seen_places(), key=lambda path: len(path.parts)):
        above = next((one for one in place.parents if one in seen), None)
        if above and not seen[above]:
            continue
        seen[place] = False
        found += ["--ro-bind", str(place), str(place)]
        for folder in _inside(place, private):
            if folder not in seen:
                seen[folder] = True
                masked.append(str(folder))
                found += ["--tmpfs", str(folder)]
    return found, masked


def seen_places() -> tuple[Path, ...]:
    """The folders and files that are bound, each where it stands outside as well."""
    return _seen_from(Path.cwd())


@cache
def _seen_from(course: Path) -> tuple[Path, ...]:
    places = dict.fromkeys((*_python(), *_packages(course), *_libraries(), *map(Path, _BESIDE)))
    return tuple(place for place in places if place.exists())


def seen_as(path: Path) -> set[Path]:
    """Where a file is seen, which may be bound by a path that leads over links. path: its real one."""
    places = frozenset(seen_places())
    bound = [place for place in places if places.isdisjoint(place.parents)]
    return {found for place in bound for found in _inside(place, [path])}


def seen_below(folder: str) -> tuple[Path, ...]:
    """What stands below a folder of what is bound, and of the links that are made."""
    return _below(Path.cwd(), Path(folder))


@cache
def _below(course: Path, folder: Path) -> tuple[Path, ...]:
    places = (*_seen_from(course), *map(Path, _links()))
    return tuple(place for place in places if folder in place.parents)


def leading_from(folder: str) -> list[str]:
    """The folders right in a folder that only lead to what is seen; they hold nothing else."""
    below = seen_below(folder)
    first = {Path(folder, place.relative_to(folder).parts[0]) for place in below}
    return sorted(map(str, first.difference(below)))


def _own() -> list[Path]:
    """What of this package's distribution is nobody's to see: where it is installed, all of its packages."""
    folder = PACKAGE.parent
    return [PACKAGE, folder / "course"] if folder in _site_folders() else [folder]


def _inside(place: Path, private: Iterable[Path]) -> Iterator[Path]:
    """Where private folders stand below a place, whose path may lead over links."""
    real = place.resolve()
    for folder in private:
        if real in folder.parents:
            yield place / folder.relative_to(real)


def _python() -> Iterator[Path]:
    """The interpreter, its standard library and its own shared library."""
    yield _interpreter()[0]
    yield Path(sys.prefix, "pyvenv.cfg")
    yield from (Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
    prefixes = {Path(sys.prefix), Path(sys.base_prefix)}
    for prefix in prefixes:
        if (prefix / "conda-meta").is_dir():  # all in there is from packages, and they need each other's
            yield prefix / "lib"
    # Where Python was moved, LIBDIR still names the folder of its builder, which need not be readable here.
    for folder in {*(prefix / "lib" for prefix in prefixes), Path(sysconfig.get_config_var("LIBDIR") or "/")}:
        if os.access(folder, os.R_OK | os.X_OK):
            yield from folder.glob("libpython*.so*")


def _interpreter() -> tuple[Path, dict[str, str]]:
    """Python's program, and the links by which its name leads there, as (link, what it says)."""
    links: dict[str, str] = {}
    path = Path(sys.executable)
    while path.is_symlink() and str(path) not in links:
        links[str(path)] = os.readlink(path)
        path = Path(os.path.normpath(path.parent / links[str(path)]))
    return path, links


def _links() -> dict[str, str]:
    """Symbolic links that are made anew: to Python, of the system's folders, and of Debian's alternatives."""
    links = dict(_interpreter()[1])
    system = [path for path in Path("/").glob("lib*") if path.is_symlink()]
    for path in (*system, *Path("/etc/alternatives").glob("lib*.so*")):
        links[str(path)] = os.readlink(path)
    return links


def _site_folders() -> list[Path]:
    """The folders of installed packages that Python looks through in the jail."""
    folders = list(site.getsitepackages())
    if sys.prefix != sys.base_prefix:
        folders += site.getsitepackages([sys.base_prefix])
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    return [Path(folder) for folder in dict.fromkeys(folders) if folder in sys.path]


def _packages(course: Path) -> Iterator[Path]:
    """Folders of packages, and what they say lies elsewhere; but nothing in this package or in the course."""
    private = [*(path.resolve() for path in _own()), course.resolve()]
    for folder in _site_folders():
        yield folder
        yield folder.resolve()  # where a link leads that lies in a folder that is bound
        for elsewhere in (*_linked_in(folder), *_named_in(folder)):
            if not any(elsewhere.is_relative_to(one) for one in (folder.resolve(), *private)):
                yield elsewhere


def _linked_in(folder: Path) -> Iterator[Path]:
    """Where symbolic links in a folder lead."""
    with os.scandir(folder) as entries:
        yield from (Path(entry.path).resolve() for entry in entries if entry.is_symlink())


def _named_in(folder: Path) -> Iterator[Path]:
    """What can be imported from the folders that a folder's .pth files add to Python's path."""
    for file in sorted(folder.glob("*.pth")):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            code_or_none = line.startswith(("import ", "import\t", "#")) or not line.strip()
            if not code_or_none and (place := Path(folder, line.strip()).resolve()).is_dir():
                yield from _importable(place)


def _importable(folder: Path) -> Iterator[Path]:
    """The modules and packages in a folder; whatever else lies beside them is somebody's."""
    for path in sorted(folder.iterdir()):
        if path.suffix in (".py", ".so") or (path / "__init__.py").is_file():
            yield path


def _libraries() -> Iterator[Path]:
    """Shared libraries that the loader knows, and the loader."""
    try:
        cached = Path("/etc/ld.so.cache").read_bytes()
    except OSError:  # another loader, which has none
        cached = b"/lib/x\0/usr/lib/x"
    files = {os.fsdecode(path) for path in re.findall(rb"/[^\0]+", cached)}
    whole = {folder for folder in map(os.path.dirname, files) if _LIBRARIES.fullmatch(folder)}
    yield from (Path(folder).resolve() for folder in sorted(whole))
    yield from (Path(file) for file in sorted(files) if os.path.dirname(file) not in whole)
    for loader in Path("/").glob("lib*/ld-*.so*"):
        yield loader.parent.resolve() / loader.name
