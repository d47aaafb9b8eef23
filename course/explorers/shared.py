"""The wiring of every explorer, and the sliders."""

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

from course.figures import shared as figures


@dataclass(frozen=True)
class Goal:
    """Something to reach with the sliders."""

    text: str
    reached: Callable[[Any], bool]


class Explorer:
    """Sliders, a picture that follows them, and what to look for.

    In a live notebook it displays as widgets. Next to them its MIME bundle holds the first
    picture as a PNG of the same size, for pages that run nothing.

    An exception in `compute` or in the drawing is written below the picture and raised again, so
    that neither a student nor a test run can overlook it.

    `state` is what `compute` returned last, `frame` the picture of it and `first_frame` the picture
    at the start, both as PNG.

    Args:
        title: one line that says what this is.
        look_for: one sentence above the sliders.
        controls: name -> slider; the names are the arguments of `compute`.
        compute: a pure function from the sliders' values to a state.
        drawing: has `figure` and `update(state)`; `update` only sets the data of artists.
        goal: something to reach, shown under `look_for`; or None.
    """

    def __init__(
        self,
        *,
        title: str,
        look_for: str,
        controls: dict[str, widgets.Widget],
        compute: Callable[..., Any],
        drawing: figures.Drawing,
        goal: Goal | None = None,
    ) -> None:
        self.title = title
        self.controls = controls
        self.goal = goal
        self.drawing = drawing
        self._compute = compute
        self._start = self.settings
        self._film = figures.Film(drawing.figure)

        width, height = figures.css_size(drawing.figure)
        self.image = widgets.Image(format="png", width=str(width), height=str(height))
        # Without this a flexible box may squeeze the picture in one direction only.
        self.image.layout.flex = "0 0 auto"
        self.reset_button = widgets.Button(
            description="Reset", tooltip="Put every slider back to where it started"
        )
        self.goal_line = widgets.HTML()
        self.error_line = widgets.HTML()
        self.view = widgets.VBox(
            [
                widgets.HTML(f"<b>{html.escape(title)}</b><br>{html.escape(look_for)}"),
                *([self.goal_line] if goal else []),
                widgets.Box(
                    [*controls.values(), self.reset_button],
                    layout={"flex_flow": "row wrap", "width": f"{width}px", "flex": "0 0 auto"},
                ),
                self.image,
                self.error_line,
            ]
        )

        self.refresh()
        self.first_frame = self.frame
        for control in controls.values():
            control.observe(self._on_change, names="value")
        self.reset_button.on_click(self.reset)

    @property
    def settings(self) -> dict[str, Any]:
        """The sliders' present values, by name."""
        return {name: control.value for name, control in self.controls.items()}

    def refresh(self) -> None:
        """Compute and draw the present settings."""
        try:
            self.state = self._compute(**self.settings)
            self.drawing.update(self.state)
            self.frame = self._film.frame()
            self.image.value = self.frame
            if self.goal:
                self.goal_line.value = _goal_html(self.goal, self.goal.reached(self.state))
        except Exception as error:
            problem = html.escape(f"{type(error).__name__}: {error}")
            self.error_line.value = f'<b style="color: {figures.VERMILLION}">{problem}</b>'
            raise
        self.error_line.value = ""

    def reset(self, _button: widgets.Button | None = None) -> None:
        """Put every slider back to where it started, and draw once."""
        for control in self.controls.values():
            control.unobserve(self._on_change, names="value")
        try:
            for name, value in self._start.items():
                self.controls[name].value = value
        finally:
            for control in self.controls.values():
                control.observe(self._on_change, names="value")
        self.refresh()

    def _on_change(self, _change: object) -> None:
        self.refresh()

    def __repr__(self) -> str:
        names = ", ".join(control.description for control in self.controls.values())
        return f"Explorer: {self.title}. Run this cell to move: {names}."

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        live = self.view._repr_mimebundle_()
        plain, metadata = figures.mime_bundle(self.drawing.figure, self.first_frame, repr(self))
        return {**live, **plain}, metadata


def _goal_html(goal: Goal, reached: bool) -> str:
    state = f'<b style="color: {figures.GREEN}">reached</b>' if reached else "<b>not yet</b>"
    return f"Goal ({state}): {html.escape(goal.text)}"


# Two sliders side by side, with room for the longest label and readout.
_STYLE = {"description_width": "100px"}
_LAYOUT = {"width": "380px"}


def float_slider(label: str, value: float, low: float, high: float, step: float) -> widgets.FloatSlider:
    """A slider for a number on a linear scale, shown with two decimals."""
    return widgets.FloatSlider(
        value=value,
        min=low,
        max=high,
        step=step,
        description=label,
        readout_format=".2f",
        continuous_update=True,
        style=_STYLE,
        layout=_LAYOUT,
    )


def log_slider(label: str, value: float, low: int, high: int) -> widgets.FloatLogSlider:
    """A slider for a positive number, from 10^low to 10^high in quarter decades."""
    return widgets.FloatLogSlider(
        value=value,
        base=10,
        min=low,
        max=high,
        step=0.25,
        description=label,
        readout_format=".1e",
        continuous_update=True,
        style=_STYLE,
        layout=_LAYOUT,
    )


def choice_slider(label: str, value: Any, options: list[Any]) -> widgets.SelectionSlider:
    """A slider over a few named or plain values, as `SelectionSlider` takes them."""
    return widgets.SelectionSlider(
        value=value,
        options=options,
        description=label,
        continuous_update=True,
        style=_STYLE,
        layout=_LAYOUT,
    )
