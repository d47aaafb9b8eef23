"""Day 26: what can be pulled at in the pictures follows the pointer."""

import math

import pytest

from course.explorers import day26
from tests.explorers.pointer import drag


def test_the_sample_is_dragged_along_its_axis(show):
    shown = show(day26.moved_sample_explorer())
    assert drag(shown.page, 0, (0.5, 0.4), (0.99, 0.4))["value"] == 20
    settings = drag(shown.page, 0, (0.5, 0.4), (0.03, 0.6))
    assert -10 <= settings["value"] < -9
    assert settings["num_samples"] == shown.explorer.start["num_samples"]
    assert shown.errors == []


def test_the_third_sample_is_dragged_and_dy_is_turned(show):
    shown = show(day26.circle_explorer())
    page, start = shown.page, shown.explorer.start
    assert drag(page, 0, (0.5, 0.4), (0.99, 0.4)) == start | {"third": 5}
    page.evaluate("(settings) => { page.explorer.set(settings); page.explorer.flush(); }", start)

    def place(u: float, v: float) -> tuple[float, float]:
        """A point of the plane as a part of the panel: its domain is 10.4 wide and 5 high."""
        box = page.locator(".explorer-plot svg").nth(1).bounding_box()
        unit = (box["width"] - 18) / 10.4  # a margin of 2 on the left, of 16 on the right
        return (2 + unit * (u + 5.2)) / box["width"], (6 + unit * (1.95 - v)) / box["height"]

    state = shown.explorer.compute(**start)
    (u, v), dy = state["x_hat"].tolist(), state["dy"].tolist()
    tip, up, left = (u + 1.25 * dy[0], v + 1.25 * dy[1]), (u, v + 1.25), (u - 1, v)
    assert drag(page, 1, place(*tip), place(*up))["degrees"] == pytest.approx(90, abs=1)
    assert drag(page, 1, place(*up), place(*left))["degrees"] == pytest.approx(180, abs=1)
    turned = page.evaluate("() => page.explorer.settings")
    slid = drag(page, 1, place(*state["centred"].tolist()), place(-1, 0))
    assert slid["third"] == pytest.approx(-math.sqrt(6) / 2, abs=0.1)
    assert slid["degrees"] == turned["degrees"]
    assert shown.errors == []
