"""JupyterLab as `make lab` starts it, and a page in it as a student uses it."""

import contextlib
import html
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests import warm

# What `make lab` needs of the checkout; it is copied, so that no test changes a committed file.
COPIED = (
    "Makefile",
    "constraints.txt",
    "course",
    "exercises",
    "graders/notebooks.py",
    "jupyter-config",
    "nbgrader_config.py",
    "pyproject.toml",
    "solutions",
)
#: Where pictures of what tests have seen are put.
ARTEFACTS = Path(__file__).parent / "artefacts"
#: Whether a test failed, for what is done after it.
FAILED = pytest.StashKey[bool]()
STARTUP = 120  # seconds; a cold disk is slow
CELL = 60_000  # milliseconds; the first cell imports torch
#: What is live in a lecture: code that shows an explorer, or a study aid. Either needs the set-up alone.
EXPLORER = re.compile(r"_explorer\(")
AID = re.compile(r'^\w+\("day\d\d"\)$')


#: Has JupyterLab look for kernels in its own folder first, and not in that of the environment.
OWN_KERNELS = """
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_core.paths import jupyter_data_dir
from traitlets import default


class Kernels(KernelSpecManager):
    @default("kernel_dirs")
    def _own_first(self):
        return [f"{jupyter_data_dir()}/kernels", *self._kernel_dirs_default()]


c.ServerApp.kernel_spec_manager_class = Kernels
"""


class Lab:
    """A JupyterLab server over a copy of the checkout; `stop` ends it."""

    def __init__(self, root: Path, folder: Path, warm_kernels: bool = False):
        self.folder = folder
        for name in COPIED:
            copy_into(root / name, folder / name)
        self._kernels = folder / ".jupyter" / "data" / "kernels"
        self.workspaces = folder / ".jupyter" / "lab" / "workspaces"
        if warm_kernels:
            config = folder / ".jupyter" / "config" / "jupyter_server_config.py"
            config.parent.mkdir(parents=True)
            config.write_text(OWN_KERNELS)
            self._warm_kernels()
        self.token = "test"
        port = free_port()
        flags = f"--no-browser --ip=127.0.0.1 --port={port} --ServerApp.port_retries=0"
        flags += f" --IdentityProvider.token={self.token}"
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            flags += " --allow-root"
        self.log = folder / "lab.log"
        # The packages are those of the running tests, whatever the times of the copied files.
        command = ["make", "-o", f"{sys.prefix}/.installed", "lab", f"VENV={sys.prefix}"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, f"LAB_FLAGS={flags}"],
                cwd=folder,
                env=clean_environment(root),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self.first_page = self._wait_for_first_page()
        except BaseException:
            self.stop()
            raise
        self.url = f"http://127.0.0.1:{port}"

    def _warm_kernels(self) -> None:
        """Have kernels forked from the tests' warm process: to start one cold takes seconds."""
        (self._kernels / "python3").mkdir(parents=True)
        (self._kernels / "python3" / "kernel.json").write_text(json.dumps(warm.kernel()))

    @contextlib.contextmanager
    def cold_kernels(self) -> Iterator[None]:
        """Have kernels started as a student's are."""
        shutil.rmtree(self._kernels)
        yield
        self._warm_kernels()

    def _wait_for_first_page(self) -> str:
        """The address that JupyterLab would have opened in the user's browser."""
        deadline = time.monotonic() + STARTUP
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            for file in (self.folder / ".jupyter" / "runtime").glob("jpserver-*-open.html"):
                if found := re.search(r'url=([^"]+)"', file.read_text()):
                    address = html.unescape(found[1])
                    if answers(address):
                        return address
            time.sleep(0.1)
        raise RuntimeError("make lab did not start JupyterLab:\n" + self.log.read_text())

    def stop(self) -> None:
        """End the server and its kernels."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def address(self, path: str) -> str:
        """The address of a notebook, opened beside nothing else."""
        return f"{self.url}/lab/tree/{path}?token={self.token}&reset"


class Notebook:
    """The notebook that is in front, in a page of JupyterLab.

    What takes its time to come is waited for with `wait_for`: as often as `expect` does not find it,
    Playwright writes down the whole page for its report, and of a long notebook that is most of the work.
    """

    def __init__(self, page: Page, path: Path, artefacts: Path):
        self.page, self.path, self.artefacts = page, path, artefacts
        # Until it has settled, JupyterLab may bring the page of its address to the front again.
        page.wait_for_load_state("networkidle")
        tabs = "css:light=#jp-main-dock-panel .lm-TabBar-tab"
        tab = page.locator(tabs).filter(has_text=path.name)
        tab.wait_for(timeout=CELL)
        tab.click()
        name = tab.get_attribute("data-id")
        self.tab = page.locator(f'{tabs}[data-id="{name}"]')
        self.panel = page.locator(f'css:light=[id="{name}"]')
        self.panel.wait_for(timeout=CELL)
        self.wait_for_kernel()

    # -- kernel and cells

    def wait_for_kernel(self) -> None:
        """Return when there is a kernel, and it has nothing to do.

        A notebook that has none yet is idle as well, and JupyterLab would ask which it is to have.
        """
        kernel = self.within(".jp-Toolbar-kernelName").filter(has_text="Python")
        idle = self.within('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
        for there in (kernel, idle):
            there.wait_for(state="attached", timeout=CELL)

    @property
    def cells(self) -> Locator:
        """All cells, in order; they are all attached, since windowing is off."""
        return self.within(".jp-Notebook-cell")

    def within(self, selector: str) -> Locator:
        """Elements in the notebook by CSS, which are in no shadow tree.

        Playwright looks for such trees first, and in a long notebook that takes longest.
        """
        return self.panel.locator(f"css:light={selector}")

    def cell(self, which: int | str) -> Locator:
        """A cell by its place or by its nbgrader id."""
        if isinstance(which, str):
            which = index_of(self.path, which)
        return self.cells.nth(which)

    def run_all(self) -> None:
        """Run > Run All Cells, to the end."""
        first = self.within(".jp-CodeCell .jp-InputPrompt").first
        for attempt in range(3):
            # A busy JupyterLab may bring another page to the front between tab and menu: then the
            # command went to that one, and nothing starts here.
            self.menu("Run", "runmenu:run-all")
            try:
                expect(first).not_to_have_text(re.compile(r"\[ \]"), timeout=20_000)
                break
            except AssertionError:
                if attempt == 2:
                    raise
        waiting = self.within(".jp-CodeCell .jp-InputPrompt").filter(has_text="[*]")
        last = self.within(".jp-CodeCell .jp-InputPrompt").last
        expect(last).to_have_text(re.compile(r"\[\d+\]"), timeout=3 * CELL)
        expect(waiting).to_have_count(0, timeout=CELL)
        self.wait_for_kernel()

    def open_gates(self) -> None:
        """Press "Show me" on every prediction, so that nothing is hidden.

        At once: a prediction that another test has made comes from the file, and its gate opens by itself.
        """
        # JupyterLab attaches one cell after the other, and each gate is drawn by a script of its own.
        cells = json.loads(self.path.read_text(encoding="utf-8"))["cells"]
        stored = sum("predict-gate" in json.dumps(cell.get("outputs", ())) for cell in cells)
        expect(self.within(".predict-card .predict-head")).to_have_count(stored, timeout=CELL)
        self.panel.evaluate(
            "panel => { for (let pass; (pass = panel.querySelector('.predict-pass')); ) pass.click(); }"
        )
        expect(self.within(".study-predict[data-closed]")).to_have_count(0)

    def run_live(self, *kinds: re.Pattern[str]) -> None:
        """Run the set-up of a lecture and what is live in it, and no other cell. kinds: EXPLORER, AID."""
        self.open_gates()
        for index, cell in enumerate(json.loads(self.path.read_text(encoding="utf-8"))["cells"]):
            source = "".join(cell["source"]) if cell["cell_type"] == "code" else ""
            if cell["id"] == "setup" or any(kind.search(source) for kind in kinds):
                self.run(index)

    def run(self, which: int | str) -> Locator:
        """Run one cell and return it."""
        cell = self.cell(which)
        prompt = cell.locator(".jp-InputPrompt")
        before = prompt.inner_text()
        cell.scroll_into_view_if_needed()
        for attempt in range(3):
            prompt.click()
            self.page.keyboard.press("Control+Enter")
            try:  # as in run_all, the key may go to another page
                expect(prompt).not_to_have_text(before or "never", timeout=20_000)
                break
            except AssertionError:
                if attempt == 2:
                    raise
        expect(prompt).to_have_text(re.compile(r"\[\d+\]"), timeout=CELL)
        self.wait_for_kernel()
        return cell

    def write(self, which: int | str, code: str) -> None:
        """Replace what a cell holds, from the keyboard."""
        editor = self.cell(which).locator(".cm-content")
        editor.scroll_into_view_if_needed()
        editor.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(code)

    def errors(self) -> list[str]:
        """The tracebacks that the notebook shows."""
        found = self.within('[data-mime-type="application/vnd.jupyter.error"]')
        return found.all_inner_texts()

    def save(self) -> None:
        """File > Save Notebook."""
        self.menu("File", "docmanager:save")
        expect(self.tab).not_to_have_class(re.compile("jp-mod-dirty"), timeout=15_000)

    def close(self) -> None:
        """File > Close and Shut Down Notebook: what was not saved is dropped, and the kernel ends."""
        self.menu("File", "filemenu:close-and-cleanup")
        self.page.locator("css:light=.jp-Dialog .jp-mod-accept").click()
        expect(self.tab).to_have_count(0, timeout=CELL)

    # -- what a student touches

    def menu(self, name: str, command: str) -> None:
        """Choose a menu's entry, for this notebook."""
        self.tab.click()
        expect(self.panel).to_be_visible()
        self.page.locator("css:light=.lm-MenuBar-item").get_by_text(name, exact=True).click()
        self.page.locator(f'css:light=.lm-Menu-item[data-command="{command}"]').first.click()

    def press_slider(self, slider: Locator, key: str, times: int = 1) -> None:
        """Focus a slider's handle and press an arrow key."""
        slider.scroll_into_view_if_needed()
        handle = slider.locator(".noUi-handle").first
        handle.focus()
        for _ in range(times):
            handle.press(key)

    def validate(self) -> str:
        """Press nbgrader's Validate, close its dialog and return what it said."""
        self.panel.get_by_role("button", name="Validate").click()
        dialog = self.page.locator("css:light=.jp-Dialog")
        dialog.wait_for(timeout=3 * CELL)
        text = dialog.inner_text()
        dialog.locator("button").last.click()
        expect(dialog).to_have_count(0)
        return text

    def screenshot(self, name: str) -> Path:
        """Keep what the page looks like in the artefacts folder."""
        return screenshot(self.page, self.artefacts, name)


def screenshot(page: Page, artefacts: Path, name: str) -> Path:
    """Write artefacts/name.png."""
    artefacts.mkdir(parents=True, exist_ok=True)
    target = artefacts / f"{name}.png"
    page.screenshot(path=target)
    return target


def index_of(path: Path, grade_id: str) -> int:
    """The place of the cell with this nbgrader id."""
    for index, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        if cell["metadata"].get("nbgrader", {}).get("grade_id") == grade_id:
            return index
    raise LookupError(f"{path.name} has no cell {grade_id}")


def source_of(path: Path, grade_id: str) -> str:
    """The source of the cell with this nbgrader id."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "".join(cells[index_of(path, grade_id)]["source"])


def copy_into(source: Path, target: Path) -> None:
    """Copy a file or a folder, without what Jupyter and Python leave in it."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def clean_environment(root: Path) -> dict[str, str]:
    """The environment of a user: nothing of the `make test` that may run this test."""
    dropped = ("JUPYTER", "IPYTHON", "MAKE", "MFLAGS", "MPL", "PYTEST")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    # For a run outside of the environment that make sets up.
    environment["PYTHONPATH"] = str(root)
    return environment


def free_port() -> int:
    """A port on which nobody listens."""
    with contextlib.closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(address: str) -> bool:
    """Whether a server answers at the address."""
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(address, timeout=10) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False
