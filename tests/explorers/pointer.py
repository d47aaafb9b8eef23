"""A pointer that pulls at a picture, and a finger."""

from playwright.sync_api import Page

#: Where an element is, once it has been there for some frames: on a busy machine the page may yet move, and a
#: finger may have flung it out of sight.
STILL = """async (element) => {
    for (let last, frames = 0; ; ) {
        await new Promise(requestAnimationFrame);
        const { x, y, width, height } = element.getBoundingClientRect();
        const now = [x, y, width, height].join();
        frames = now === last ? frames + 1 : 0;
        last = now;
        if (frames < 5) continue;
        if (y >= 0 && y + height <= innerHeight) return { x, y, width, height };
        element.scrollIntoView({ block: "center" });
        frames = 0;
    }
}"""


def drag(page: Page, plot: int, start: tuple[float, float], end: tuple[float, float]) -> dict:
    """The settings after a drag in a plot; its ends in parts of the width and the height of the plot."""
    box = page.locator(".explorer-plot svg").nth(plot).evaluate(STILL)
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=4)
    page.mouse.up()
    page.mouse.move(*places[0])  # a pointer that is not pressed moves nothing
    page.evaluate("() => page.explorer.flush()")
    return page.evaluate("() => page.explorer.settings")


def swipe(page: Page, plot: int, start: tuple[float, float], by: tuple[float, float]) -> dict:
    """The settings after a finger has moved `by` so many pixels; its start in parts of the plot's size."""
    box = page.locator(".explorer-plot svg").nth(plot).evaluate(STILL)
    x, y = box["x"] + start[0] * box["width"], box["y"] + start[1] * box["height"]
    finger = page.context.new_cdp_session(page)
    finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for part in (0.25, 0.5, 0.75, 1) if any(by) else ():
        point = {"x": x + part * by[0], "y": y + part * by[1]}
        finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.evaluate("() => page.explorer.flush()")
    return page.evaluate("() => page.explorer.settings")
