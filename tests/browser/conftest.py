"""One JupyterLab and one browser for all tests of the pages that go to a process one after the other."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import ARTEFACTS, FAILED, Lab, Notebook, screenshot
from playwright.sync_api import Browser, Page


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Remember of a test that it failed, for what is done after it."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


def pytest_collection_modifyitems(items):
    """Every test in this folder needs a Chromium."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="package")
def lab(root, tmp_path_factory):
    """JupyterLab, started by `make lab` over a copy of the checkout with empty settings."""
    lab = Lab(root, tmp_path_factory.mktemp("lab"), warm_kernels=True)
    yield lab
    lab.stop()


@pytest.fixture(scope="module")
def desk(browser) -> Iterator[Page]:
    """A page of a new browser profile, for all tests of a file: JupyterLab takes seconds to load."""
    page = _new_page(browser)
    yield page
    page.context.close()


@pytest.fixture
def last_view(request, desk) -> Iterator[None]:
    """Where a test at the desk fails, its last view is kept as an artefact."""
    yield
    if FAILED in request.node.stash:
        screenshot(desk, ARTEFACTS, request.node.name)


@pytest.fixture
def page(browser, request):
    """A new page of a new browser profile; where a test fails, its last view is kept as an artefact."""
    page = _new_page(browser)
    yield page
    if FAILED in request.node.stash:
        screenshot(page, ARTEFACTS, request.node.name)
    page.context.close()


def _new_page(browser: Browser) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(30_000)
    return page


@pytest.fixture
def open_notebook(lab, page):
    """Open a notebook by its path in the checkout: `open_notebook(path) -> Notebook`."""

    def open_notebook(path: str) -> Notebook:
        page.goto(lab.address(path))
        return Notebook(page, lab.folder / path, ARTEFACTS)

    return open_notebook
