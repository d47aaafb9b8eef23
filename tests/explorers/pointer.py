"""A pointer that pulls at a picture."""

from playwright.sync_api import Page


def drag(page: Page, plot: int, start: tuple[float, float], end: tuple[float, float]) -> dict:
    """The settings after a drag in a plot; its ends in parts of the width and the height of the plot."""
    box = page.locator(".explorer-plot svg").nth(plot).bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=4)
    page.mouse.up()
    page.mouse.move(*places[0])  # a pointer that is not pressed moves nothing
    page.evaluate("() => page.explorer.flush()")
    return page.evaluate("() => page.explorer.settings")
