"""Predictions on a page of the site, passed by."""

from playwright.sync_api import Page

# A real click, which tests/browser/test_predictions.py has, looks for its place on a long page each time.
# What the page does about its new size it does in the next frame.
PASS = """async () => {
  const shown = (each) => each.checkVisibility({ visibilityProperty: true });
  const closed = () => [...document.querySelectorAll(".predict-pass")].find(shown);
  for (let pass; (pass = closed()); ) pass.click();
  await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
  return !closed();
}"""


def open_gates(page: Page) -> None:
    """Press "Show me" on every prediction, so that nothing is hidden; the first ones show the next."""
    while not page.evaluate(PASS):
        pass
