"""What axe-core says against a page."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

#: Level AA of WCAG 2.1.
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}


def violations(page: Page, *, within: str | None = None, every_rule: bool = False) -> str:
    """A report of all violations of WCAG 2.1 AA, empty where there is none.

    within: a selector, where only a part of the page is ours. every_rule: axe's best practices, too.
    """
    # What passes is not worked out in full, which takes longer than finding what does not.
    options = {"resultTypes": ["violations"], **({} if every_rule else WCAG)}
    results = Axe().run(page, context=within, options=options)
    return results.generate_report() if results.violations_count else ""
