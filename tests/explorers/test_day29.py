"""Day 29: what can be pointed at in the pictures follows the pointer."""

import pytest

from course.explorers import day29
from tests.explorers.pointer import drag


def test_every_cell_can_be_pointed_at(show):
    """The middle of the top of each cell belongs to that cell and to no other."""
    shown = show(day29.norm_block_explorer())
    found = shown.page.evaluate(
        """() => [...document.querySelectorAll("[data-place]")].map((cell) => {
          const top = cell.querySelector("polygon").getBoundingClientRect();
          const at = document.elementFromPoint((top.left + top.right) / 2, (top.top + top.bottom) / 2);
          return [cell.dataset.place, at?.closest("[data-place]")?.dataset.place];
        })"""
    )
    assert len(found) == 144
    assert all(cell == pointed for cell, pointed in found)


def test_a_click_keeps_a_cell(show):
    shown = show(day29.norm_block_explorer())
    page = shown.page

    def chosen() -> list[int]:
        page.evaluate("() => page.explorer.flush()")
        return page.evaluate("() => page.explorer.settings.cell")

    def point(place: int) -> None:
        box = page.locator(f'[data-place="{place}"] polygon').first.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    point(0)
    assert chosen() == [0, 0, 0, 0]
    page.mouse.down()
    page.mouse.up()
    point(143)
    assert chosen() == [0, 0, 0, 0]
    point(0)
    page.mouse.down()
    page.mouse.up()
    point(143)
    assert chosen() == [3, 5, 1, 2]
    assert shown.errors == []


@pytest.mark.parametrize(("colour", "part"), ((0, 0.25), (3, 0.75), (2, 0.75)))
def test_a_letter_is_dragged_along_its_way(show, colour, part):
    """Also past the middle, where the colours of both photographs meet."""
    shown = show(day29.swap_explorer())
    state = shown.explorer.compute(**shown.explorer.start)
    box = shown.page.locator(".explorer-plot svg").first.bounding_box()

    def place(share: float) -> tuple[float, float]:
        """A point of the way from what the colour was to what it becomes, as a part of the plot."""
        mean, std = (
            (1 - share) * state[name].flatten()[colour].item()
            + share * state[f"full_{name}"].flatten()[colour].item()
            for name in ("mean", "std")
        )
        across, down = box["width"] - 54 - 16, box["height"] - 6 - 40
        return (54 + across * mean / 0.85) / box["width"], (6 + down * (1 - std / 0.53)) / box["height"]

    assert drag(shown.page, 0, place(1), place(part))["strength"] == part
    assert drag(shown.page, 0, place(part), place(1))["strength"] == 1
    assert shown.errors == []
