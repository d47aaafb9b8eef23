"""The Formgrader's autograde button grades behind the same wall as the command line."""

import json

from lab import CELL
from playwright.sync_api import expect

from graders.judging import catalogue
from graders.judging.verdict import MIME
from tests.courses import answered, release, solution_code

DAY = "day26"


def test_autograde_button(lab, page):
    release(lab.folder, DAY)
    path = answered(lab.folder, "ada", DAY, solution_code(DAY))
    page.goto(f"{lab.url}/login?token={lab.token}")  # the Formgrader wants a cookie
    page.goto(f"{lab.url}/formgrader/manage_submissions/{DAY}")
    row = page.locator("tr", has_text="ada")
    row.locator(".autograde a").click()
    message = page.locator(".modal-dialog", has_text="Successfully autograded")
    expect(message).to_be_visible(timeout=CELL)
    total = sum(exercise.points for exercise in catalogue.days()[DAY])
    expect(row).to_contain_text(f"{total} / {total}")
    graded = lab.folder / "autograded" / "ada" / DAY / path.name
    cells = json.loads(graded.read_text(encoding="utf-8"))["cells"]
    verdicts = [
        output["data"][MIME]
        for cell in cells
        for output in cell.get("outputs", [])
        if MIME in output.get("data", {})
    ]
    assert len(verdicts) == len(catalogue.days()[DAY])
    assert all(verdict["passed"] for verdict in verdicts)
