"""Day 25: what can be pulled at in the pictures follows the pointer."""

import numpy as np
import pytest

from course.explorers import day25
from tests.explorers.pointer import drag


def test_the_network_is_made_deeper_in_any_of_its_panels(show):
    shown = show(day25.layers_explorer())
    start = shown.explorer.start
    assert drag(shown.page, 0, (0.5, 0.4), (0.99, 0.1)) == start | {"depth": 30}
    assert drag(shown.page, 2, (0.5, 0.4), (0.1, 0.9)) == start | {"depth": 2}
    assert shown.errors == []


def test_the_cloud_is_pulled_by_its_mean_unless_that_is_standardized(show):
    shown = show(day25.bowl_explorer())
    page, start = shown.page, shown.explorer.start
    assert drag(page, 0, (0.5, 0.4), (0.7, 0.05)) == start | {"offset": 6}
    assert drag(page, 0, (0.5, 0.4), (0.2, 0.8)) == start | {"offset": 0}
    page.evaluate("() => { page.explorer.set({ part: 1, offset: 2 }); page.explorer.flush(); }")
    assert drag(page, 0, (0.5, 0.4), (0.7, 0.05)) == start | {"part": 1}
    assert shown.errors == []


@pytest.mark.parametrize("activation", ("linear", "sigmoid", "tanh", "ReLU"))
def test_gradients_that_vanish_are_right_for_their_size(show, activation):
    """What test_explorers.py compares with a tolerance of 1e-9 may be smaller than that here."""
    settings = {"depth": 30, "activation": activation, "gain": 0.3}
    shown = show(day25.layers_explorer())
    page, python = shown.states([settings])[0], shown.explorer.compute(**settings)
    assert python["plain"]["gradients"][0] < 1e-14
    for kind in ("plain", "normalized"):
        for what, numbers in python[kind].items():
            np.testing.assert_allclose(page[kind][what], numbers, rtol=1e-9)
