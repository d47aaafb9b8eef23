"""Day 33: what can be pulled at in the pictures follows the pointer."""

from course.explorers import day33
from tests.explorers.pointer import drag


def test_the_level_after_the_jump_is_pulled_up_and_down(show):
    shown = show(day33.averages_explorer())
    assert drag(shown.page, 0, (0.8, 0.5), (0.7, 0.02)) == shown.explorer.start | {"jump": 2}
    assert drag(shown.page, 0, (0.8, 0.5), (0.9, 0.8)) == shown.explorer.start | {"jump": -1}
    assert shown.errors == []


def test_the_cursor_is_dragged_in_the_plane_and_stays_in_it(show):
    shown = show(day33.rate_plane_explorer())
    start = shown.explorer.start
    assert drag(shown.page, 0, (0.5, 0.4), (0.99, 0.01)) == start | {"lr": 4, "beta": 0.99}
    assert drag(shown.page, 0, (0.5, 0.4), (0.05, 0.95)) == start | {"lr": 0.02, "beta": 0}
    assert shown.errors == []
