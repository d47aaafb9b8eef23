"""The start page: the map of the days, and the points that saved notebooks show."""

import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from course import days
from course.days import DAYS, cells, course_map, exercise_minutes, find_root
from course.progress import MIME, Progress, progress, read_progress
from course.study import review, startpage
from tests.students import damaged, half_way, save_verdicts

ROOT = Path(__file__).resolve().parent.parent
DAY = DAYS[1]


def check(name: str, points: float, *given, other_outputs=()) -> dict:
    """A check cell as saved, with a verdict for each of `given`."""
    outputs = [
        {"output_type": "execute_result", "data": {"text/plain": "x", MIME: {"points": p}}} for p in given
    ]
    return {
        "cell_type": "code",
        "source": f"check({name})",
        "metadata": {"nbgrader": {"grade": True, "grade_id": f"check_{name}", "points": points}},
        "outputs": [*other_outputs, *outputs],
    }


@pytest.fixture
def save(tmp_path):
    """Saves an exercise notebook of DAY and returns its progress."""

    def save(content) -> Progress:
        path = tmp_path / "exercises" / DAY.name / f"{DAY.name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps({"cells": content}))
        return read_progress(DAY, tmp_path)

    return save


def test_mime_is_that_of_a_verdict():
    from graders.judging.verdict import MIME as STORED

    assert MIME == STORED


def test_a_real_verdict_is_read(save):
    from graders.judging.report import as_bundle
    from graders.judging.verdict import Verdict

    verdict = Verdict("f", 2.5, 4, "mistake", "m")
    cell = check("f", 4)
    cell["outputs"] = [{"output_type": "execute_result", "data": as_bundle(verdict)}]
    found = save([cell])
    assert (found.points, found.max_points, found.passed, found.tried, found.exercises) == (2.5, 4, 0, 1, 1)


def test_points_are_added_and_the_last_verdict_counts(save):
    error = {"output_type": "error", "ename": "E", "evalue": "", "traceback": []}
    found = save(
        [
            {"cell_type": "markdown", "source": "# Day", "metadata": {}},
            check("a", 4, 1, 4),
            check("b", 3, 3, 1.5),
            check("c", 2),
            check("d", 2, other_outputs=[error]),
        ]
    )
    assert found == Progress(DAY, 5.5, 11, passed=1, tried=2, exercises=4, left=("b", "c", "d"))


@pytest.mark.parametrize(
    "points", ["4", None, True, float("nan"), float("inf"), {"a": 1}], ids=lambda value: repr(value)
)
def test_a_broken_verdict_counts_as_none(save, points):
    assert save([check("a", 4, points)]) == Progress(DAY, 0, 4, passed=0, tried=0, exercises=1, left=("a",))


def test_points_stay_within_what_is_possible(save):
    found = save([check("a", 4, 99), check("b", 4, -1)])
    assert found.points == 4


@pytest.mark.parametrize(
    "odd",
    [
        [None, 3, "cell", []],
        [{}],
        [{"metadata": None}, {"metadata": {"nbgrader": None}}, {"metadata": {"nbgrader": {"grade": 1}}}],
        [{"metadata": {"nbgrader": {"grade": True, "points": "many"}}}],
    ],
    ids=repr,
)
def test_odd_cells_are_passed_over(save, odd):
    assert save([*odd, check("a", 4, 4)]).points == 4
    assert save(odd).problem == "The exercise notebook holds no checks."


@pytest.mark.parametrize("outputs", [None, 3, [None], [{"data": None}], [{"data": {MIME: None}}]], ids=repr)
def test_odd_outputs_are_passed_over(save, outputs):
    cell = check("a", 4)
    cell["outputs"] = outputs
    assert save([cell]) == Progress(DAY, 0, 4, passed=0, tried=0, exercises=1, left=("a",))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "damaged"),
        ('{"cells": [', "damaged"),
        ("[]", "no checks"),
        ("null", "no checks"),
        ('{"cells": 3}', "no checks"),
        ("{}", "no checks"),
    ],
)
def test_a_broken_notebook_is_said_in_a_sentence(save, content, problem):
    found = save(content)
    assert problem in found.problem and found.problem.endswith(".")
    assert (found.points, found.max_points) == (0, 0)


def test_bytes_that_are_no_text_are_said_too(save, tmp_path):
    save("{}")
    (tmp_path / "exercises" / DAY.name / f"{DAY.name}.ipynb").write_bytes(b"\xff\xfe\x00")
    assert "damaged" in read_progress(DAY, tmp_path).problem


def test_missing_notebooks_leave_a_table(tmp_path):
    shown = progress(tmp_path)
    assert repr(shown).count("There is no exercise notebook.") == len(DAYS)
    assert "All days: 0 of 0 points" in repr(shown)
    assert "<a " not in course_map(tmp_path).source


def test_the_table_shows_points_and_bars(save, tmp_path):
    save([check("a", 4, 4), check("b", 4, 2)])
    shown = progress(tmp_path)
    assert "Day 26: 6 of 8 points" in repr(shown)
    assert "<td>6 of 8</td><td>1 of 2</td><td>0</td>" in shown.source
    assert "width: 75%" in shown.source


def test_the_table_counts_predictions_by_day(save, tmp_path):
    save([check("a", 4, 4)])
    (tmp_path / "course").mkdir()
    gates = {name: {"answer": 1, "at": ""} for name in ("day26:a", "day26:b", "day27:a")}
    text = json.dumps({"version": 1, "gates": gates})
    (tmp_path / "course" / "predictions.json").write_text(text, encoding="utf-8")
    rows = re.findall(r"<tr>.*?</tr>", progress(tmp_path).source, re.S)
    counts = {row[8:10]: row[-15:] for row in rows if row[8:10].isdigit()}
    assert (counts["26"], counts["27"], counts["28"]) == tuple(f"<td>{n}</td></tr>"[-15:] for n in (2, 1, 0))


# ---------------------------------------------------------------------------- where a student is

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path):
    """A copy of what of the course a student's state is read from."""
    for day in DAYS:
        target = tmp_path / "exercises" / day.name
        target.mkdir(parents=True)
        shutil.copy2(day.exercises(ROOT), target)
    (tmp_path / "course").mkdir()
    return tmp_path


def test_a_new_student_begins(folder):
    state = startpage.read_state(folder, NOW)
    assert state.is_new and not state.problems and not state.misunderstood
    assert "Begin with the" in startpage.next_step(state) and "standardize" in startpage.next_step(state)
    assert "As saved" not in startpage.start(folder).source


def test_half_way(folder):
    half_way(folder, NOW)
    state = startpage.read_state(folder, NOW)
    assert (state.due.mistakes, state.due.repeated, state.predictions) == (3, 12, 5)
    first, second = state.misunderstood
    assert first.where == ("standardize", "batch_norm_forward") and first.days == (25, 26) and first.left == 2
    assert second.where == ("batch_norm_backward",)
    said = startpage.next_step(state)
    assert said.startswith("Review the ") and said.endswith("</a> of day 26.")
    assert "15 cards due today" in said and "batch_norm_forward" in said
    shown = startpage.start(folder)
    assert "still in 2" in shown.source and "still in 2" in repr(shown)


def test_without_cards_the_next_step_is_an_exercise(folder):
    save_verdicts(folder, dict.fromkeys(read_progress(DAYS[0], folder).left, (1, None, "")))
    said = startpage.next_step(startpage.read_state(folder, NOW))
    assert said.startswith("Read the ") and "lecture of day 26" in said and "batch_norm_forward" in said
    save_verdicts(folder, {"batch_norm_forward": (0.5, None, "")})
    assert startpage.next_step(startpage.read_state(folder, NOW)).startswith("Go on with ")
    save_verdicts(folder, {name: (1, None, "") for day in DAYS for name in read_progress(day, folder).left})
    assert startpage.next_step(startpage.read_state(folder, NOW)).startswith("All exercises are right")


def test_reading_ahead_leads_on_from_there(folder):
    path = folder / "course" / "predictions.json"

    def predicted(**days: str) -> str:
        gates = {f"{day}:gate": {"answer": 1, "at": f"2026-11-{at}"} for day, at in days.items()}
        path.write_text(json.dumps({"version": 1, "gates": gates}), encoding="utf-8")
        return re.sub(r"<[^>]+>", "", startpage.next_step(startpage.read_state(folder, NOW)))

    assert predicted(day27="20", day25="19").startswith("Go on with the lecture of day 27, then write ")
    assert predicted(day27="19", day25="20") == "Go on with the lecture of day 25, then write standardize."
    assert predicted(day99="20").startswith("Begin with the lecture of day 25")
    save_verdicts(folder, {"batch_norm_forward": (0.5, None, "")})
    assert predicted(day25="20").startswith("Go on with batch_norm_forward of day 26")
    assert predicted(day27="20").startswith("Go on with the lecture of day 27")


def test_what_was_put_right_comes_after_what_was_not(folder):
    half_way(folder, NOW)
    kept = json.loads((folder / review.FILE).read_text(encoding="utf-8"))
    old = {"day": 33, "exercise": "momentum_step", "key": "uphill", "message": "The sign is wrong. Why?"}
    kept["mistakes"] = {"check-momentum_step-uphill": old}
    (folder / review.FILE).write_text(json.dumps(kept), encoding="utf-8")
    found = startpage.read_state(folder, NOW).misunderstood
    assert [one.left for one in found] == [2, 1, 0]
    assert found[2].idea == "The sign is wrong."
    assert "put right" in startpage.start(folder).source


def test_damaged_files_cost_a_sentence_and_stay_as_they_are(folder):
    half_way(folder, NOW)
    damaged(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    state = startpage.read_state(folder, NOW)
    assert len(state.problems) == 2 and all(one.endswith(".") for one in state.problems)
    assert ".review.json is damaged" in state.problems[1] and "Day 27" in state.problems[0]
    assert "start-problem" in startpage.start(folder).source
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_what_students_wrote_is_escaped(folder):
    save_verdicts(folder, {"standardize": (0.5, "<b>", "<script>alert(1)</script> is wrong.")})
    assert "<script>alert" not in startpage.start(folder).source


# ---------------------------------------------------------------------------- the days as they are


@pytest.mark.parametrize("day", DAYS, ids=lambda day: day.name)
def test_each_day_has_exercises_that_say_how_long_they_take(day):
    path = day.exercises(ROOT)
    headers = [days.source(cell) for cell in cells(path) if days.source(cell).startswith("## ")]
    stated = [text for text in headers if re.search(r"about\s+\d+\s+minutes", text)]
    assert len(stated) == read_progress(day, ROOT).exercises >= 5
    assert 30 <= exercise_minutes(path) <= 150
    assert read_progress(day, ROOT).points == 0


def test_no_day_has_two_lectures_and_none_is_without_a_day():
    lectures = {path.name for path in (ROOT / "course").glob("day*.ipynb")}
    assert {path.name for day in DAYS if (path := day.lecture(ROOT))} == lectures


def test_the_stored_start_page_shows_what_is_there():
    stored = json.loads((ROOT / "course" / "index.ipynb").read_text(encoding="utf-8"))["cells"]
    (output,) = next(cell for cell in stored if cell["id"] == "map")["outputs"]
    assert "".join(output["data"]["text/html"]) == course_map(ROOT).source, "run: make lectures"
    (output,) = next(cell for cell in stored if cell["id"] == "start")["outputs"]
    assert "Begin with the lecture of day 25" in "".join(output["data"]["text/plain"])


def test_the_start_page_shows_no_code():
    stored = json.loads((ROOT / "course" / "index.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in stored if cell["cell_type"] == "code"]
    assert len(code) == 4 and all(cell["metadata"]["jupyter"]["source_hidden"] for cell in code)


def test_the_root_is_around_the_running_notebook(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_root() == ROOT
    for name in ("course", "exercises"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "course")
    assert find_root() == tmp_path


def test_the_start_page_imports_no_torch():
    code = "import sys, course.progress, course.study.startpage; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
