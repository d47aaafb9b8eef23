"""Day 30: what can be pulled at in the pictures follows the pointer."""

import math

import pytest

from course.explorers import day30
from tests.explorers.pointer import drag


def test_the_batch_size_is_dragged_along_its_axis(show):
    shown = show(day30.mean_noise_explorer())
    width = shown.page.locator(".explorer-plot svg").nth(1).bounding_box()["width"]

    def place(size: int) -> tuple[float, float]:
        """A batch size as a part of the panel, whose axis is logarithmic."""
        along = math.log(size / 1.7) / math.log(300 / 1.7)
        return (54 + (width - 70) * along) / width, 0.5

    for size in (2, 32, 256):
        assert drag(shown.page, 1, place(16), place(size)) == shown.explorer.start | {"size": size}
    assert shown.errors == []


def test_the_length_at_the_start_is_dragged_up_and_down(show):
    shown = show(day30.decay_explorer())
    for height, length in ((0.02, 10), (0.84, 0.1)):
        settings = drag(shown.page, 0, (0.2, 0.5), (0.5, height))
        assert settings["start"] == pytest.approx(length)
        assert settings == shown.explorer.start | {"start": settings["start"]}
    assert shown.errors == []
