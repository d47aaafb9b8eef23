"""The start page in a browser: it shows the points of saved notebooks."""

import json

from playwright.sync_api import expect

INDEX = "course/index.ipynb"
MIME = "application/vnd.graders.verdict+json"


def test_progress_is_read_from_the_saved_notebook(lab, open_notebook):
    path = lab.folder / "exercises/day27/day27.ipynb"
    untouched = path.read_text(encoding="utf-8")
    notebook = json.loads(untouched)
    most = sum(cell["metadata"].get("nbgrader", {}).get("points", 0) for cell in notebook["cells"])
    for cell in notebook["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade_id") == "check_update_running_stats":
            data = {"text/plain": "2.5", MIME: {"points": 2.5, "max_points": 3}}
            cell["outputs"] = [
                {"output_type": "execute_result", "execution_count": 1, "data": data, "metadata": {}}
            ]
    path.write_text(json.dumps(notebook), encoding="utf-8")
    try:
        index = open_notebook(INDEX)
        table = index.panel.locator(".study-table").last
        row = table.locator("tr").filter(has_text="trainable and non-trainable")
        expect(row).to_contain_text(f"0 of {most}")
        index.run_all()
        expect(row).to_contain_text(f"2.5 of {most}")
        expect(row.locator(".study-track > div")).to_have_attribute("style", f"width: {250 / most:.0f}%")
        assert index.errors() == []
    finally:
        path.write_text(untouched, encoding="utf-8")


def test_map_leads_to_exercises_and_glossary(page, open_notebook):
    index = open_notebook(INDEX)
    index.panel.locator('a[href*="day27.ipynb"]').first.click()
    expect(page.locator("#jp-main-dock-panel .lm-TabBar-tab.lm-mod-current")).to_contain_text("day27.ipynb")
