"""Day 32: what can be pulled at in the pictures follows the pointer."""

from course.explorers import day32
from tests.explorers.pointer import drag


def test_the_circle_is_pulled_along_the_batch_sizes(show):
    shown = show(day32.batch_size_explorer())
    start = shown.explorer.start
    assert drag(shown.page, 1, (0.5, 0.4), (0.95, 0.1)) == start | {"batch_size": 256}
    assert drag(shown.page, 1, (0.5, 0.4), (0.2, 0.9)) == start | {"batch_size": 2}
    assert shown.errors == []


def test_the_devices_are_pulled_apart_on_either_side(show):
    shown = show(day32.devices_explorer())
    page, start = shown.page, shown.explorer.start
    for far in (0.99, 0.1):
        assert drag(page, 0, (0.56, 0.4), (far, 0.5)) == start | {"shift": 3}
    assert drag(page, 0, (0.9, 0.4), (0.56, 0.5))["shift"] < 0.3
    page.evaluate("() => { page.explorer.set({ num_devices: 1, shift: 1 }); page.explorer.flush(); }")
    assert drag(page, 0, (0.56, 0.4), (0.9, 0.4)) == start | {"num_devices": 1}
    assert shown.errors == []
