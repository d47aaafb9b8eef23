"""Day 27: what can be pulled at in the pictures follows the pointer, and the picture says whom it shows."""

import pytest

from course.explorers import day27
from tests.explorers.pointer import drag


def test_the_new_mean_is_dragged_up_and_down(show):
    shown = show(day27.running_statistics_explorer())
    start = shown.explorer.start
    assert drag(shown.page, 0, (0.8, 0.4), (0.6, 0.02)) == start | {"mean_after": 6}
    assert drag(shown.page, 0, (0.8, 0.4), (0.9, 0.98)) == start | {"mean_after": -2}
    # The axis goes from 10.5 down to -6.5 over 162 of the 190 pixels.
    settings = drag(shown.page, 0, (0.8, 0.1), (0.7, (6 + 162 * 7.5 / 17) / 190))
    assert settings["mean_after"] == pytest.approx(3, abs=0.13)
    assert shown.errors == []


def test_the_dots_of_any_digit_choose_the_batch(show):
    shown = show(day27.company_explorer())
    width = shown.page.locator(".explorer-plot svg").nth(1).bounding_box()["width"]

    def place(digit: int, batch: int) -> tuple[float, float]:
        """A dot as a part of the panel: the digits go from -0.6 to 9.6, the dots 0.36 to both sides."""
        x = digit - 0.36 + 0.72 * (batch - 1) / 39
        return (54 + (width - 70) * (x + 0.6) / 10.2) / width, 0.5

    for digit, batch in ((0, 40), (4, 17), (9, 1)):
        settings = drag(shown.page, 1, place(5, 20), place(digit, batch))
        assert settings == shown.explorer.start | {"shown": batch}
        state = shown.explorer.compute(**settings)
        heading = shown.page.locator(".heading").first.inner_text()
        assert f"in batch {batch}:" in heading
        assert heading.endswith(f"train() says {state['answers'][batch - 1]}")
    assert shown.errors == []


def test_the_table_says_what_its_state_says(show):
    shown = show(day27.layer_table_explorer())
    page = shown.page
    for switches in ({}, {"requires_grad": False}, {"training": False, "batches": 1}, {"batches": 0}):
        settings = shown.explorer.start | switches
        page.evaluate("(settings) => { page.explorer.set(settings); page.explorer.flush(); }", settings)
        state = shown.explorer.compute(**settings)
        for row, line in zip(state["rows"], page.locator("tbody tr").all(), strict=True):
            cells = [cell.inner_text() for cell in line.locator("td").all()]
            assert line.locator("code").inner_text() == row["name"]
            assert (cells[-1] == "–") == (not row["moved"])
            now = [float(text.replace("−", "-")) for text in cells[2].split()]
            assert now == pytest.approx(row["path"][-1].flatten().tolist(), abs=0.0051)
        total = f"{state['trainable']} trainable, {state['non_trainable']} non-trainable"
        assert page.locator("tfoot td").inner_text() == total
    assert shown.errors == []
