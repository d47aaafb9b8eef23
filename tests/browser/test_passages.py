"""What the report of a check leads to, in JupyterLab: a section of the lecture, an explorer at a case."""

import re

import pytest
from lab import CELL, copy_into
from playwright.sync_api import expect

EXERCISE = "exercises/day26/day26.ipynb"
LECTURE = "course/day26_batch_normalization_the_algorithm.ipynb"
SETUP = 2  # its place
OUTSIDE = """def batch_norm_forward(x, gamma, beta, eps=1e-5):
    std = x.var(dim=0, correction=0).sqrt() + eps
    return gamma * (x - x.mean(dim=0)) / std + beta, None
"""

#: A heading with a comma: JupyterLab compares anchors as they are written.
AXES = """import graders
graders.evaluate("normalized_axes", lambda kind: ())
"""


@pytest.fixture
def exercise(lab, root, open_notebook):
    """The exercise notebook; what is saved of it is taken back."""
    yield open_notebook(EXERCISE)
    copy_into(root / EXERCISE, lab.folder / EXERCISE)


def test_a_named_mistake_leads_to_its_section_and_to_the_explorer_at_a_case(
    lab, page, exercise, open_notebook
):
    exercise.run(SETUP)
    exercise.write("batch_norm_forward", OUTSIDE)
    exercise.run("batch_norm_forward")
    checked = exercise.run("check_batch_norm_forward")
    report = checked.locator(".graders-verdict")
    expect(report).to_have_attribute("data-mistake", "eps_outside_root")

    opens = checked.get_by_role("button", name="Open the explorer at this case")
    opens.click()
    shows_the_case(checked)
    checked.get_by_role("button", name="Reset").click()
    expect(checked.get_by_role("slider", name="step")).to_have_attribute("aria-valuetext", "0  input")
    assert report.bounding_box()["y"] < opens.bounding_box()["y"]

    report.get_by_text("See in an explorer:").click()
    exercise.write("batch_norm_forward", report.locator("details pre").first.inner_text())
    shows_the_case(exercise.run("batch_norm_forward"))

    section = report.get_by_role("link", name="Awkward cases")
    expect(section).to_have_attribute("href", re.compile(rf"/{re.escape(LECTURE)}\?.*#5\.-Awkward-cases$"))

    exercise.write("batch_norm_forward", AXES)
    link = exercise.run("batch_norm_forward").get_by_role("link", name="One formula, one choice")
    link.click()
    heading = page.locator("css:light=h2").filter(has_text=re.compile("One formula, one choice"))
    heading.wait_for(timeout=CELL)  # the lecture was closed
    expect(heading).to_be_in_viewport(timeout=CELL)
    assert "day29_the_nchw_axes" in page.url
    exercise.tab.click()
    link.click()
    expect(heading).to_be_in_viewport()

    exercise.save()
    exercise.close()
    cell = open_notebook(EXERCISE).cell("check_batch_norm_forward")
    expect(cell.locator(".graders-verdict")).to_be_visible()
    dead = cell.locator(".jp-OutputArea-output").filter(has_text="Error displaying widget")
    expect(dead).to_have_count(1)
    expect(dead).to_be_hidden()


def shows_the_case(cell):
    """The cell shows the explorer at the settings that the report names."""
    cell.locator(".explorer").wait_for(timeout=CELL)  # it imports the explorers
    expect(cell.get_by_role("slider", name="eps")).to_have_attribute("aria-valuetext", "1")
    expect(cell.get_by_role("slider", name="step")).to_have_attribute("aria-valuetext", "4  normalize")
