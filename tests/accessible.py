"""What axe-core says against a page."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

#: Level AA of WCAG 2.1.
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
#: For each element axe reads the colours of all that lies below it anew, which on a page of formulas is a
#: third of its work. A text stands for one colour: what axe has made of it is kept.
READ_ONCE = """
(() => {
  const { prototype } = axe.commons.color.Color;
  const parse = prototype.parseString, known = new Map();
  prototype.parseString = function (text) {
    if (!known.has(text)) {
      const { r, g, b, alpha } = parse.call(this, text);
      known.set(text, { r, g, b, alpha });
    }
    return Object.assign(this, known.get(text));
  };
})();
"""
AXE = Axe(Axe().axe_script + READ_ONCE)


def violations(page: Page, *, within: str | None = None, every_rule: bool = False) -> str:
    """A report of all violations of WCAG 2.1 AA, empty where there is none.

    within: a selector, where only a part of the page is ours. every_rule: axe's best practices, too.
    """
    # What passes is not worked out in full, which takes longer than finding what does not.
    options = {"resultTypes": ["violations"], **({} if every_rule else WCAG)}
    results = AXE.run(page, context=within, options=options)
    return results.generate_report() if results.violations_count else ""
