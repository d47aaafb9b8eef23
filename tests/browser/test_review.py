"""The review in JupyterLab: what check has named comes first, keys are its own, Python keeps the reviews."""

import json

from lab import Notebook, index_of
from playwright.sync_api import expect

from course.progress import MIME
from course.study.review import FILE

REVIEW, EXERCISE = "course/review.ipynb", "exercises/day27/day27.ipynb"
VERDICT = {
    "exercise": "update_running_stats",
    "mistake": "biased",
    "message": "The stored variance is the biased one. Batch norm stores the unbiased variance.",
    "points": 1,
}


def test_a_mistake_is_reviewed_with_keys_and_kept(lab, page, open_notebook):
    path, kept = lab.folder / EXERCISE, lab.folder / FILE
    untouched = path.read_text(encoding="utf-8")
    notebook = json.loads(untouched)
    check = notebook["cells"][index_of(path, "check_update_running_stats")]
    data = {"text/plain": "1", MIME: VERDICT}
    check["outputs"] = [{"output_type": "execute_result", "execution_count": 1, "data": data, "metadata": {}}]
    path.write_text(json.dumps(notebook), encoding="utf-8")
    try:
        review = open_notebook(REVIEW)
        review.run_all()
        shown = review.panel.locator(".review")
        expect(shown.locator(".count")).to_have_text("1 card due today: 1 from check. 0 done.")
        assert not kept.exists()
        cells = review.cells.count()

        shown.locator(".card").focus()
        page.keyboard.press("Enter")
        expect(shown.locator(".back")).to_contain_text("Batch norm stores the unbiased variance.")
        shown.locator(".answer a").click()
        lecture = page.locator("#jp-main-dock-panel .lm-TabBar-tab.lm-mod-current")
        expect(lecture).to_contain_text("day27_")
        review.tab.click()
        shown.locator(".card").focus()
        # In JupyterLab's command mode, 4 would make a heading of the cell.
        page.keyboard.press("4")
        expect(shown.locator(".idle")).to_contain_text("Nothing more is due today, 1 done.")
        expect(shown.get_by_role("alert")).to_be_hidden()
        for _ in range(50):
            if kept.exists():
                break
            page.wait_for_timeout(100)
        (entry,) = json.loads(kept.read_text(encoding="utf-8"))["cards"].values()
        assert entry["reps"] == 1
        assert review.cells.count() == cells and review.panel.locator("h4").count() == 0

        # The exercise is mended; the card stays, and so does its review.
        path.write_text(untouched, encoding="utf-8")
        page.goto(lab.address(REVIEW))
        again = Notebook(page, lab.folder / REVIEW, review.artefacts)
        again.run_all()
        expect(again.panel.locator(".review .idle")).to_contain_text("Nothing more is due today, 1 done.")
        assert review.errors() == again.errors() == []
    finally:
        path.write_text(untouched, encoding="utf-8")
        kept.unlink(missing_ok=True)
