"""What does one submission cost the grader that is made to stop it? Prints a table against the aims.

    python benchmarks/hostile.py [--stock]

Each of these is handed in between two honest ones and graded by `graders autograde` in a run of its own: how
much memory the main process and the largest worker took at most, how long it took, and what was said.
`--stock`: by `nbgrader autograde` with the sandbox in its place instead.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.courses import answered, make_course, nbgrader_command, release_of, solution_code  # noqa: E402

DAY = "day26"
MEMORY_AIM = 400 << 20


def with_cells(*sources: str) -> Callable[[Path, dict[str, Any]], None]:
    """Hand in the release with these code cells behind its first."""

    def hand_in(path: Path, notebook: dict[str, Any]) -> None:
        cells = [
            {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": source}
            for source in sources
        ]
        notebook["cells"][1:1] = cells
        path.write_text(json.dumps(notebook), encoding="utf-8")

    return hand_in


def with_text(change: Callable[[str], str]) -> Callable[[Path, dict[str, Any]], None]:
    """Hand in the release with its file's text changed."""
    return lambda path, notebook: void(path.write_text(change(json.dumps(notebook)), encoding="utf-8"))


def void(*_: object) -> None:
    """Nothing."""


def metadata_of(text: str) -> Callable[[str], str]:
    return lambda notebook: notebook.replace('"metadata": {', f'"metadata": {{"x": [{text}], ', 1)


def sparse_timestamp(path: Path, notebook: dict[str, Any]) -> None:
    path.write_text(json.dumps(notebook), encoding="utf-8")
    with open(path.with_name("timestamp.txt"), "wb") as file:
        file.truncate(8 << 30)


def many_files(path: Path, notebook: dict[str, Any]) -> None:
    path.write_text(json.dumps(notebook), encoding="utf-8")
    for number in range(12_000):
        (path.parent / f"data{number}.txt").write_text("1")


def large_files(path: Path, notebook: dict[str, Any]) -> None:
    path.write_text(json.dumps(notebook), encoding="utf-8")
    for number in range(5):
        (path.parent / f"data{number}.bin").write_bytes(os.urandom(30 << 20))


def archive_of(count: int, size: int) -> Callable[[Path, dict[str, Any]], None]:
    """An archive in the notebook's place: so many notebooks, of so many bytes each when they are unpacked."""

    def hand_in(path: Path, notebook: dict[str, Any]) -> None:
        notebook["metadata"]["x"] = "x" * max(size - len(json.dumps(notebook)), 0)
        text = json.dumps(notebook)
        with zipfile.ZipFile(path.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for number in range(count):
                archive.writestr(f"{number}.ipynb", text)

    return hand_in


LARGE_ANSWER = """
import torch
def batch_norm_forward(x, gamma, beta, eps=1e-5):
    return torch.zeros(8_000_000, dtype=torch.float64), None
"""
SUBMISSIONS: dict[str, Callable[[Path, dict[str, Any]], None]] = {
    "150 cells that print 2 MB": with_cells(*["print('x' * 2_000_000)"] * 150),
    "150 cells that print a million lines": with_cells(*["print('\\n' * 1_000_000)"] * 150),
    "40 figures of 1 MB": with_cells(
        *["from IPython.display import HTML, display\ndisplay(HTML('<b>' * 350_000))"] * 40
    ),
    "30 MB of empty lists in metadata": with_text(metadata_of("[]," * 10_000_000 + "[]")),
    "30 MB of small mappings": with_text(metadata_of('{"a":1},' * 3_000_000 + "{}")),
    "30 MB of short strings": with_text(metadata_of('"a",' * 7_000_000 + '""')),
    "a cell of 12 MB": with_cells("# " + "x" * 12_000_000),
    "a cell of 400,000 names": with_cells("a," * 200_000),
    "cells of 50,000 names": with_cells(*["a," * 49_000] * 100),
    "a source of emoji, 30 MB": with_cells("# " + "😀" * 7_500_000),
    "4,000 cells": with_cells(*["1"] * 4_000),
    "200,000 cells": with_cells(*["1"] * 200_000),
    "an answer of 60 MB": with_cells(LARGE_ANSWER),
    "a timestamp of 8 GB": sparse_timestamp,
    "8 MB of files that its code makes": with_cells(
        "for n in range(15): open(f'{n}.bin', 'wb').write(bytes(500_000))"
    ),
    "an archive of 20 notebooks of 30 MB": archive_of(20, 30 << 20),
    "an archive of 2,000 small notebooks": archive_of(2_000, 0),
    "12,000 data files": many_files,
    "150 MB of data files": large_files,
}


def run(course: Path, stock: bool) -> tuple[float, int, int, str]:
    """Grade once: seconds, bytes of the main process and of the largest other one, and what was said."""
    command = [sys.executable, "-m", "graders", "autograde", DAY, "--json", "--force"]
    if stock:
        command = nbgrader_command("autograde", DAY, "--force")
    peaks: dict[int, int] = {}
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as warned:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=course, stdout=said, stderr=warned)
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.05):
                for pid in [process.pid, *_below(process.pid)]:
                    with contextlib.suppress(OSError, IndexError):
                        status = Path(f"/proc/{pid}/status").read_text()
                        peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
                        peaks[pid] = max(peak, peaks.get(pid, 0))

        watcher = threading.Thread(target=watch)
        watcher.start()
        process.wait()
        seconds = time.perf_counter() - started
        ended.set()
        watcher.join()
        said.seek(0)
        warned.seek(0)
        text = said.read().decode() or warned.read().decode()[-300:]
    others = [peak for pid, peak in peaks.items() if pid != process.pid]
    return seconds, peaks.get(process.pid, 0), max(others, default=0), text


def _below(pid: int) -> list[int]:
    """All processes that a process has started, and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *_below(child)]
    return found


def said_of(text: str) -> str:
    """What the run says of the hostile submission, and whether the honest ones have all their points."""
    try:
        results = {one["student"]: one for one in json.loads(text)["results"]}
    except ValueError:
        return " ".join(text.split())[-120:]
    honest = {results[name]["points"] for name in ("a-honest", "z-honest") if name in results}
    one = results["hostile"]
    told = [one["reason"] or "", *one["notes"], *one["flags"]]
    return f"{one['outcome']}, {one['points']}; honest {honest}; {' '.join(told)[:100]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--stock", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        course = make_course(Path(folder, "course"), [DAY])
        for name in ("a-honest", "z-honest"):
            answered(course, name, DAY, solution_code(DAY))
        aim = f"aim: main below {MEMORY_AIM >> 20} MB"
        print(f"{'submission':<38} {'seconds':>7} {'main MB':>8} {'other MB':>8}  {aim}")
        for name, hand_in in SUBMISSIONS.items():
            path = course / "submitted" / "hostile" / DAY / f"{DAY}.ipynb"
            shutil.rmtree(path.parent, ignore_errors=True)
            path.parent.mkdir(parents=True)
            hand_in(path, release_of(course, DAY))
            seconds, peak, other, text = run(course, options.stock)
            mark = " " if peak < MEMORY_AIM else "!"
            print(
                f"{name:<38} {seconds:>7.1f} {peak >> 20:>7}{mark} {other >> 20:>8}  {said_of(text)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
