"""Day 31: what can be pulled at in the pictures follows the pointer."""

from course.explorers import day31
from tests.explorers.pointer import drag


def test_the_learning_rate_is_dragged_on_its_logarithmic_axis(show):
    shown = show(day31.rates_explorer())
    start = shown.explorer.start
    assert drag(shown.page, 1, (0.3, 0.4), (0.99, 0.1)) == start | {"rate": 100}
    assert drag(shown.page, 1, (0.3, 0.4), (0.13, 0.9)) == start | {"rate": 0.01}
    assert shown.errors == []
