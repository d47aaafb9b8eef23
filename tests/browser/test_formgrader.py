"""The Formgrader's autograde button grades behind the same wall as the command line."""

import json

from lab import CELL
from playwright.sync_api import expect

from graders.judging import catalogue
from graders.judging.verdict import MIME
from tests.courses import answered, release, run_graders, solution_code

DAY = "day26"


def test_autograde_button(lab, page):
    release(lab.folder, DAY)
    path = answered(lab.folder, "ada", DAY, solution_code(DAY))
    page.goto(f"{lab.url}/login?token={lab.token}")  # the Formgrader wants a cookie
    page.goto(f"{lab.url}/formgrader/manage_submissions/{DAY}")
    row = page.locator("tr", has_text="ada")
    row.locator(".autograde a").click()
    message = page.locator(".modal-dialog", has_text="Successfully autograded")
    message.wait_for(timeout=CELL)
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


def test_from_the_menu_to_the_report_and_on(lab, page):
    """JupyterLab, Nbgrader, Formgrader, Class Reports, day 26, and on to the lecture and a student."""
    release(lab.folder, DAY)
    swapped = (
        "def identity_parameters(x, eps=1e-5):\n    return x.mean(0), (x.var(0, correction=0) + eps).sqrt()"
    )
    answered(lab.folder, "boris", DAY, solution_code(DAY) | {"identity_parameters": swapped})
    run_graders(lab.folder, "autograde", DAY, "--workers", "1")
    page.goto(lab.first_page)
    idle = page.locator('css:light=.jp-Notebook-ExecutionIndicator[data-status="idle"]')
    idle.first.wait_for(state="attached", timeout=CELL)
    # JupyterLab may bring the notebook of its address to the front once more, however late.
    tab = page.locator("#jp-main-dock-panel .lm-TabBar-tab:not(.lm-mod-current)", has_text="Formgrader")
    page.add_locator_handler(tab, lambda behind: behind.click())
    page.locator(".lm-MenuBar-item").get_by_text("Nbgrader", exact=True).click()
    page.locator(".lm-Menu-item").get_by_text("Formgrader", exact=True).click()
    frame = page.frame_locator("#formgrader-iframe iframe")
    frame.get_by_role("link", name="Class Reports").click(timeout=CELL)
    # The page before has a link of this name as well.
    frame.get_by_role("row", name="without names").get_by_role("link", name=DAY, exact=True).click()
    teach = frame.get_by_label("What to teach next")
    expect(teach).to_contain_text("gamma and beta are swapped", timeout=CELL)
    frame.locator(".card, li").get_by_role("link", name="boris").first.click()
    expect(teach).to_have_count(0, timeout=CELL)
    expect(frame.locator("body")).to_contain_text("gamma and beta are swapped", timeout=CELL)
    frame.get_by_role("link", name=DAY, exact=True).last.click()
    frame.get_by_role("link", name=f"Report on {DAY}").click()
    teach.get_by_role("link").click()
    heading = frame.get_by_role("heading", name="What gamma and beta can undo")
    heading.wait_for(state="attached", timeout=2 * CELL)
