"""The course as a student meets it: in a browser, from `make lab` on."""

import re
import subprocess
import sys

import pytest
from lab import ARTEFACTS, Notebook, index_of, source_of
from playwright.sync_api import expect

pytestmark = pytest.mark.usefixtures("last_view")

LECTURE = "course/day26_batch_normalization_the_algorithm.ipynb"
EXERCISE = "exercises/day26/day26.ipynb"
SOLUTION = "solutions/day26/day26.ipynb"

# The classic first attempt: x.var() divides by N - 1.
WRONG = """def batch_norm_forward(x, gamma, beta, eps=1e-5):
    return gamma * (x - x.mean(dim=0)) / (x.var(dim=0) + eps).sqrt() + beta, None
"""


@pytest.fixture(autouse=True)
def cold_kernels(lab):
    """A student's kernels import all by themselves."""
    with lab.cold_kernels():
        yield


@pytest.fixture(scope="module")
def index(lab, desk) -> tuple[Notebook, list[str]]:
    """The first page, and what it asks of the network."""
    asked = []
    desk.on("request", lambda request: asked.append(request.url))
    desk.goto(lab.first_page)
    return Notebook(desk, lab.folder / "course/index.ipynb", ARTEFACTS), asked


def test_first_page_is_the_index_and_asks_nothing(lab, desk, index):
    notebook, asked = index
    assert "/lab/tree/course" in desk.url
    expect(notebook.panel.locator("h1").first).to_be_visible()
    desk.wait_for_timeout(1000)  # a pop-up comes after the page
    expect(desk.locator(".jp-Dialog, .Toastify__toast")).to_have_count(0)
    assert not [url for url in asked if "/lab/api/news" in url or "/lab/api/update" in url]
    assert not [url for url in asked if not url.startswith((lab.url, "data:", "blob:"))]


def test_first_page_does_not_wait_until_jupyterlab_has_saved_its_workspace(lab, browser):
    command = ["make", "-o", f"{sys.prefix}/.installed", f"VENV={sys.prefix}", "WORKSPACES=again", "again"]
    subprocess.run(command, cwd=lab.folder, check=True)
    (first,) = (lab.folder / "again").iterdir()
    (workspace,) = lab.workspaces.glob(first.name)
    workspace.write_bytes(first.read_bytes())
    page = browser.new_page()
    page.route("**/lab/api/workspaces/**", hold_what_is_saved)
    page.goto(lab.first_page)
    page.locator("css:light=.jp-Notebook h1").first.wait_for(timeout=30_000)
    page.close()


def hold_what_is_saved(route):
    if route.request.method == "PUT":
        return  # is never answered
    route.continue_()


def test_index_leads_to_a_lecture_that_runs(lab, desk, index):
    notebook, _ = index
    notebook.panel.locator(f'a[href*="{LECTURE.split("/")[1]}"]').first.click()
    lecture = Notebook(desk, lab.folder / LECTURE, ARTEFACTS)
    lecture.run_all()
    assert lecture.errors() == []
    lecture.close()


@pytest.fixture(scope="module")
def exercise(lab, desk, index) -> Notebook:
    """The exercise notebook, opened from the first page as it is given."""
    notebook, _ = index
    notebook.tab.click()
    notebook.panel.locator('a[href*="day26.ipynb"]').first.click()
    return Notebook(desk, lab.folder / EXERCISE, ARTEFACTS)


def test_validate_button_agrees(lab, exercise):
    assert "failed" in exercise.validate().lower()
    for name in solution_cells(lab.folder / SOLUTION):
        exercise.write(name, source_of(lab.folder / SOLUTION, name))
    said = exercise.validate()
    assert "success" in said.lower(), said


def test_exercise_names_the_mistake_and_then_gives_full_points(lab, exercise):
    run_setup(exercise)
    exercise.write("batch_norm_forward", WRONG)
    exercise.run("batch_norm_forward")
    verdict = exercise.run("check_batch_norm_forward").locator(".graders-verdict")
    expect(verdict).to_have_attribute("data-exercise", "batch_norm_forward")
    expect(verdict).to_have_attribute("data-mistake", re.compile("."))
    assert points(verdict)[0] < points(verdict)[1]

    exercise.write("batch_norm_forward", source_of(lab.folder / SOLUTION, "batch_norm_forward"))
    exercise.run("batch_norm_forward")
    verdict = exercise.run("check_batch_norm_forward").locator(".graders-verdict")
    assert points(verdict)[0] == points(verdict)[1] > 0


def run_setup(notebook: Notebook) -> None:
    """Run the code cells before the first exercise."""
    first = index_of(notebook.path, "batch_norm_forward")
    for index in range(first):
        if notebook.cell(index).locator(".jp-InputPrompt").inner_text().startswith("["):
            notebook.run(index)


def points(verdict) -> tuple[float, float]:
    """Given and possible points, as the verdict's HTML says them."""
    return tuple(float(verdict.get_attribute(f"data-{name}")) for name in ("points", "max-points"))


def solution_cells(path) -> list[str]:
    """The nbgrader ids of the cells in which a student writes code, but for folded steps."""
    import json

    return [
        cell["metadata"]["nbgrader"]["grade_id"]
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code" and cell["metadata"].get("nbgrader", {}).get("solution")
        if not cell["metadata"]["nbgrader"]["grade_id"].startswith("path_")
    ]
