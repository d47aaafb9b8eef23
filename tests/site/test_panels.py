"""Pictures of several panels, cut for a narrow page."""

import base64
import io

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.image import imread

from course.figures.shared import STYLE, Picture, new_figure
from course.site.panels import panels

LINE = ([0, 1, 2], [1, 3, 2])


def draw(columns=2, rows=1, title="", key=False, height=320, share=False, **sizes):
    """The PNG of a figure in the style of the course, and its axes."""
    with rc_context(STYLE):
        figure = new_figure(height)
        axes = figure.subplots(rows, columns, squeeze=False, sharey=share, **sizes)
        figure.subplots_adjust(left=0.08, right=0.985, top=0.78, bottom=0.17, wspace=0.2, hspace=0.5)
        for ax in axes.flat:
            ax.plot(*LINE, label="a line")
            ax.set(title="of a panel", xlabel="step")
        axes[0, 0].set_ylabel("loss")
        if title:
            figure.text(0.012, 0.93, title, fontsize=11, fontweight="bold")
        if key:
            figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="upper center")
        data, _ = Picture(figure, "a line in each panel")._repr_mimebundle_()
    return base64.b64decode(data["image/png"])


def widths(found):
    return [sum(right - left for left, _, right, _ in boxes) // 2 for boxes in found]


@pytest.mark.parametrize("png", (draw(1), draw(1, title="One panel"), draw(1, rows=2, height=600)))
def test_what_does_not_get_larger_stays_whole(png):
    assert panels(png) == []


def test_panels_lose_no_ink():
    png = draw(3)
    found = panels(png)
    assert [len(boxes) for boxes in found] == [1, 1, 1]
    ink = imread(io.BytesIO(png))[..., :3].mean(-1) < 0.97
    seen = np.zeros_like(ink)
    for ((left, top, right, bottom),) in found:
        assert not seen[top:bottom, left:right].any()
        seen[top:bottom, left:right] = True
    assert not (ink & ~seen).any()


def test_a_title_over_all_panels_comes_first_and_once():
    found = panels(draw(title="What all of the panels of this figure are about, over both of them"))
    (title,), *rest = found
    assert len(rest) == 2
    assert title[3] - title[1] < 60 and title[0] < 30
    assert all(top >= title[3] - 12 for ((_, top, _, _),) in rest)


def test_a_short_title_is_over_all_panels_too():
    found = panels(draw(title="Short"))
    assert len(found) == 3 and widths(found)[0] < 60


def test_the_entries_of_a_key_stand_by_themselves():
    (key,), *rest = panels(draw(key=True))
    assert len(rest) == 2 and key[2] - key[0] < 250


def test_a_panel_without_numbers_takes_those_of_the_first():
    first, second = panels(draw(share=True))
    assert len(first) == 1 and len(second) == 2
    (numbers, panel) = second
    assert numbers[0] == 0 and numbers[2] < first[0][2] < panel[0]
    assert (numbers[1], numbers[3]) == (panel[1], panel[3])
    assert widths([first, second])[0] == pytest.approx(widths([first, second])[1], abs=30)


def test_rows_of_panels_are_read_from_left_to_right():
    found = panels(draw(2, rows=2, height=600))
    corners = [(boxes[0][1], boxes[0][0]) for boxes in found]
    assert len(found) == 4 and corners[0] < corners[1] and corners[2] < corners[3]
    assert max(corners[0][0], corners[1][0]) < min(corners[2][0], corners[3][0])


def test_a_broad_panel_beside_a_narrow_one_stays_where_it_is():
    assert panels(draw(width_ratios=(4, 1))) == []
