"""What the report of a check leads to, in JupyterLab: a section of the lecture, an explorer at a case."""

import re

from lab import Notebook
from playwright.sync_api import expect

EXERCISE = "exercises/day26/day26.ipynb"
LECTURE = "course/day26_batch_normalization_the_algorithm.ipynb"
SETUP = 2  # its place
OUTSIDE = """def batch_norm_forward(x, gamma, beta, eps=1e-5):
    std = x.var(dim=0, correction=0).sqrt() + eps
    return gamma * (x - x.mean(dim=0)) / std + beta, None
"""


def test_a_named_mistake_leads_to_its_section_and_to_the_explorer_at_a_case(lab, page, open_notebook):
    exercise = open_notebook(EXERCISE)
    exercise.run(SETUP)
    exercise.write("batch_norm_forward", OUTSIDE)
    exercise.run("batch_norm_forward")
    report = exercise.run("check_batch_norm_forward").locator(".graders-verdict")
    expect(report).to_have_attribute("data-mistake", "eps_outside_root")

    report.get_by_text("See in an explorer:").click()
    exercise.write("batch_norm_forward", report.locator("details pre").first.inner_text())
    cell = exercise.run("batch_norm_forward")
    expect(cell.locator(".explorer")).to_be_visible()
    expect(cell.get_by_role("slider", name="eps")).to_have_attribute("aria-valuetext", "1")
    expect(cell.get_by_role("slider", name="step")).to_have_attribute("aria-valuetext", "4  normalize")
    cell.get_by_role("button", name="Reset").click()
    expect(cell.get_by_role("slider", name="step")).to_have_attribute("aria-valuetext", "0  input")

    link = report.get_by_role("link", name="Awkward cases")
    link.click()
    lecture = Notebook(page, lab.folder / LECTURE, page)
    # JupyterLab shows a notebook that it opens from the top; one that is open, at the heading.
    exercise.tab.click()
    link.click()
    heading = lecture.panel.locator("h2").filter(has_text=re.compile("Awkward cases"))
    expect(heading).to_be_in_viewport()
    assert LECTURE in page.url
