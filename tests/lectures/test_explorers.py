"""Every explorer of every day, over its grid of settings."""

import base64
import importlib
import itertools
import math
from pathlib import Path

import ipywidgets
import numpy as np
import pytest

from course import explorers
from course.explorers.shared import Explorer
from course.figures.shared import new_figure
from tests.lectures.common import Moves, png_size


def moves() -> list:
    """`EXPLORERS` of every test_dayNN.py beside this file."""
    found = []
    for path in sorted(Path(__file__).parent.glob("test_day*.py")):
        module = importlib.import_module(f"tests.lectures.{path.stem}")
        for name, moved in getattr(module, "EXPLORERS", {}).items():
            found.append(pytest.param(moved, id=f"{path.stem.removeprefix('test_')} {name}"))
    return found


@pytest.fixture(params=moves())
def moved(request) -> Moves:
    return request.param


@pytest.fixture
def explorer_and_grid(moved):
    return moved.make(), moved.grid


def test_every_explorer_has_a_grid():
    """Every `..._explorer` function of a day is in that day's `EXPLORERS`."""
    tested = {moved.values[0].make for moved in moves()}
    for path in sorted(Path(explorers.__file__).parent.glob("day*.py")):
        module = importlib.import_module(f"course.explorers.{path.stem}")
        made = {getattr(module, name) for name in vars(module) if name.endswith("_explorer")}
        assert made <= tested, f"tests/lectures/test_{path.stem}.py moves not all of them"


def test_explorer_over_its_grid(moved):
    explorer, grid = moved.make(), moved.grid
    assert grid.keys() == explorer.controls.keys()
    width, height = int(explorer.image.width), int(explorer.image.height)
    frames = set()
    for values in itertools.product(*grid.values()):
        for name, value in zip(grid, values, strict=True):
            explorer.controls[name].value = value
            assert explorer.controls[name].value == pytest.approx(value)
        assert bytes(explorer.image.value) == explorer.frame
        assert png_size(explorer.frame) == (2 * width, 2 * height)
        assert explorer.error_line.value == ""
        frames.add(explorer.frame)
    every = math.prod(map(len, grid.values()))
    assert len(frames) == (every if moved.frames is None else moved.frames)


def test_every_slider_changes_the_picture_and_reset_restores_it(moved):
    explorer, grid = moved.make(), moved.grid
    start, goal = explorer.settings, explorer.goal_line.value
    for name, values in grid.items():
        for shown, value in moved.shows.items():
            explorer.controls[shown].value = value
        frames = set()
        for value in values:
            explorer.controls[name].value = value
            frames.add(explorer.frame)
        assert len(frames) == len(values)
        explorer.reset_button.click()
        assert explorer.settings == start
        assert explorer.frame == bytes(explorer.image.value) == explorer.first_frame
        assert explorer.goal_line.value == goal
    # The sliders are connected again.
    for name, values in grid.items():
        explorer.controls[name].value = values[-1]
    assert explorer.frame != explorer.first_frame


def test_a_frame_has_the_pixels_of_drawing_everything(moved):
    explorer, whole = moved.make(), moved.make()
    for name, values in moved.grid.items():
        for value in (*values, explorer.settings[name]):
            explorer.controls[name].value = value
            whole.drawing.update(explorer.state)
            canvas = whole.drawing.figure.canvas
            canvas.draw()
            shown = explorer.drawing.figure.canvas.buffer_rgba()
            assert np.array_equal(shown, canvas.buffer_rgba()), (name, value)


def test_explorer_shows_widgets_and_a_plain_picture_of_one_size(explorer_and_grid):
    explorer, grid = explorer_and_grid
    for name, values in grid.items():
        explorer.controls[name].value = values[0]
    data, metadata = explorer._repr_mimebundle_()
    view = data["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == explorer.view.model_id
    assert base64.b64decode(data["image/png"]) == explorer.first_frame
    size = metadata["image/png"]
    assert (str(size["width"]), str(size["height"])) == (
        explorer.image.width,
        explorer.image.height,
    )
    assert data["text/plain"] == repr(explorer)
    assert all(control.description in repr(explorer) for control in explorer.controls.values())


def test_updates_make_no_artists(explorer_and_grid):
    explorer, grid = explorer_and_grid
    figure = explorer.drawing.figure

    def artists():
        return [set(figure.get_children()), *(set(axes.get_children()) for axes in figure.axes)]

    before = artists()
    for name, values in grid.items():
        explorer.controls[name].value = values[-1]
    assert artists() == before


class Nothing:
    """A drawing of nothing."""

    def __init__(self):
        self.figure = new_figure(40)

    def update(self, state):
        pass


def test_an_error_is_shown_and_raised():
    def compute(value):
        if value > 1:
            raise ArithmeticError("too <large>")
        return value

    explorer = Explorer(
        title="t",
        look_for="l",
        controls={"value": ipywidgets.FloatSlider(value=0, min=0, max=2, description="value")},
        compute=compute,
        drawing=Nothing(),
    )
    with pytest.raises(ArithmeticError):
        explorer.controls["value"].value = 2
    assert "ArithmeticError: too &lt;large&gt;" in explorer.error_line.value
    explorer.controls["value"].value = 1
    assert explorer.error_line.value == ""
