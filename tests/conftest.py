"""What all tests share: where the checkout is, and which tests this machine cannot run."""

import sys
from pathlib import Path

import pytest

from course.explorers.pictures import FLAGS, find_chromium

ROOT = Path(__file__).resolve().parent.parent
#: What grades a class, in a jail and with Linux's files and processes; macOS has files of that kind.
LINUX_ALONE = (
    *("batch", "bounds", "cheats", "closing", "hub", "intake", "jail"),
    *("lms_collect", "lms_export", "many", "recognition", "same", "sandbox"),
)
collect_ignore = [f"test_{name}.py" for name in LINUX_ALONE] if sys.platform == "win32" else []


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; tests that ask for it are marked `browser`."""
    return find_chromium() or pytest.skip("no Chromium")


@pytest.fixture(scope="session")
def browser(chromium: str):
    """A headless Chromium, one for all tests of a process: there can be no second Playwright in it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield browser
        browser.close()


def pytest_collection_modifyitems(config, items):
    """Skip what needs a device or a browser that is not here."""
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    if gpu and not _has_cuda():
        for item in gpu:
            item.add_marker(pytest.mark.skip(reason="no CUDA"))
    browser = [item for item in items if item.get_closest_marker("browser")]
    if browser and not find_chromium():
        for item in browser:
            item.add_marker(pytest.mark.skip(reason="no Chromium"))
        config.stash[SKIPPED] = [item.name for item in browser]


SKIPPED = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter, config):
    """Say in one line what was not looked at for want of a browser."""
    if names := config.stash.get(SKIPPED, []):
        terminalreporter.write_line(
            f"No Chromium found (on PATH or named by CHROMIUM): skipped {', '.join(names)}."
        )
