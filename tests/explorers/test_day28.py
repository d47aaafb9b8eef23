"""Day 28: what can be pressed or pulled at in the pictures follows the pointer."""

from course.explorers import day28
from tests.explorers.pointer import drag


def test_a_place_of_a_map_is_pressed(show):
    shown = show(day28.channel_explorer())
    box = shown.page.locator(".explorer-plot svg").first.bounding_box()
    unit = (box["width"] - 18) / 35  # a margin of 2 on the left, of 16 on the right; 35 pixels of maps

    def place(column: float, row: float) -> tuple[float, float]:
        return (2 + unit * column) / box["width"], (6 + unit * row) / box["height"]

    # In the sixth map, column 5 and row 2; then beside all maps.
    assert drag(shown.page, 0, place(3, 3), place(9 + 5.5, 9 + 2.5))["place"] == [2, 5]
    assert drag(shown.page, 2, place(3, 3), place(34.9, 16.9))["place"] == [7, 7]
    assert shown.errors == []


def test_a_rate_is_pressed(show):
    shown = show(day28.learning_rate_explorer())
    assert drag(shown.page, 0, (0.5, 0.5), (0.95, 0.5)) == shown.explorer.start | {"index": 6}
    assert drag(shown.page, 0, (0.5, 0.5), (0.16, 0.9)) == shown.explorer.start | {"index": 0}
    assert shown.errors == []


def test_both_ends_of_the_camera_are_pulled(show):
    shown = show(day28.new_data_explorer())
    start = shown.explorer.start
    lifted = drag(shown.page, 0, (0.2, 0.6), (0.9, 0.02))
    assert lifted == start | {"brightness": 1}, (
        "the end that was pressed is pulled, wherever the pointer goes"
    )
    lower = drag(shown.page, 0, (0.9, 0.4), (0.9, 0.98))
    assert lower == lifted | {"contrast": 0.1}
    assert shown.errors == []
