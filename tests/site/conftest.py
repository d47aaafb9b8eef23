"""The site, built once, and a browser that reads it from the disk."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from course.site.build import Page, build


def pytest_collection_modifyitems(items):
    """Whatever asks for a browser needs a Chromium."""
    for item in items:
        if Path(__file__).parent in item.path.parents and "browser" in item.fixturenames:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="package")
def site(tmp_path_factory) -> tuple[Path, list[Page]]:
    """The folder of the site, and its pages."""
    folder = tmp_path_factory.mktemp("made") / "site"
    return folder, build(folder)


def stop_clock(page, at: str) -> None:
    """The page's clock shows this time, and stands."""
    # It runs until it is stopped, and cannot be stopped at a time that is over.
    page.clock.install(time=(datetime.fromisoformat(at) - timedelta(hours=1)).isoformat())
    page.clock.pause_at(at)


@pytest.fixture
def read(site, browser):
    """Open a page of the site from the disk: `read("day26.html", width=…)`; nothing else may be asked.

    at: the time that the page's clock shows; it stands until the test moves it. context: of an earlier page.
    """
    with reading(site, browser) as read:
        yield read


@contextlib.contextmanager
def reading(site, browser) -> Iterator[Callable]:
    """The fixture `read`, for as long as the caller wants the pages."""
    folder, _ = site
    contexts, problems = [], []

    def read(address: str, width: int = 1280, theme: str = "light", at: str | None = None, context=None):
        shared = context is not None
        if not shared:
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
            contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: asked(request.url))
        if at and shared:  # the clock is the context's, and stands already
            page.clock.pause_at(at)
        elif at:
            stop_clock(page, at)
        page.goto((folder / address).as_uri())
        return page

    def asked(url: str) -> None:
        if not url.startswith(("file:", "data:", "blob:")):
            problems.append(url)

    yield read
    for context in contexts:
        context.close()
    assert problems == []
