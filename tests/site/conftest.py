"""The site, built once, and a browser that reads it from the disk."""

from pathlib import Path

import pytest

from course.site.build import Page, build
from tests.explorers.conftest import browser  # noqa: F401 - a fixture


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
