"""The report on a class: what is kept of each submission, who is put together, and what the page says."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

from graders.classroom import records, report
from graders.classroom.groups import alike, grouped
from graders.classroom.records import SAME_FOR_ALL, STOPPED, Before, Check, Part, Record
from graders.classroom.report_command import links_of
from graders.classroom.report_data import Classroom, Mark, NoReport, Student, read_class
from graders.classroom.report_names import Names
from graders.classroom.report_page import Links, as_page, checked_together
from graders.classroom.report_text import as_csv, as_text
from graders.classroom.similar import similar
from tests import classes, copies, ways
from tests.courses import ROOT, make_course, nbgrader, own_programs, release, run_graders, solution_code
from tests.judged import judged

DAY = classes.DAY
HOSTILE = "</pre><script>alert('x')</script>"
#: Who hands in what; the rest of it is the solution.
FORWARD = {
    "ada": classes.FORWARD_UNKNOWN["mean absolute deviation"][0],
    "bela": classes.FORWARD_UNKNOWN["mean absolute deviation"][1],
    "cleo": classes.FORWARD_UNKNOWN["mean absolute deviation"][2],
    "dora": classes.FORWARD_MISTAKES["eps_outside_root"],
    "emil": classes.FORWARD_MISTAKES["eps_outside_root"] + f"\n# Emil Oakes, {HOSTILE}",
    "falk": classes.SLIPS["batch_norm_forward"],
    "gita": solution_code(DAY)["batch_norm_forward"],
}


# Who is put together


def pairs(made: list[tuple[str, Mapping, int]]) -> tuple[float, float]:
    """Precision and recall of the pairs that are put together, of (mistake, behaviour, seed)."""
    groups = grouped([behaviour for _, behaviour, _ in made], [seed for *_, seed in made])
    group_of = {place: number for number, group in enumerate(groups) for place in group}
    together = same = both = 0
    for one, other in itertools.combinations(range(len(made)), 2):
        is_same, is_together = made[one][0] == made[other][0], group_of[one] == group_of[other]
        same, together, both = same + is_same, together + is_together, both + (is_same and is_together)
    return both / max(together, 1), both / max(same, 1)


@pytest.mark.parametrize("name", ways.UNKNOWN)
def test_who_makes_one_unknown_mistake_is_put_together(name, capsys):
    made_by, mistakes = ways.UNKNOWN[name]
    made = []
    for mistake, hand in itertools.product(mistakes, ways.HANDS):
        verdict = judged(name, made_by(mistake, hand), seed=SAME_FOR_ALL)
        assert verdict.behaviour, mistake  # nothing known explains it
        made.append((mistake.__name__, verdict.behaviour, SAME_FOR_ALL))
    precision, recall = pairs(made)
    with capsys.disabled():
        print(f" [{name}: precision {precision:.0%}, recall {recall:.0%}]", end="")
    assert min(precision, recall) >= 0.9


def test_on_other_inputs_one_mistake_is_nearer_than_another():
    """Coarser than on the same inputs: half of the pairs are seen, and nothing else is put to them."""
    made_by, mistakes = ways.UNKNOWN["batch_norm_forward"]
    seen = [
        judged("batch_norm_forward", made_by(mistake, ways.HANDS[0]), seed=seed)
        for mistake, seeds in ((mistakes[0], (1, 2, 3)), (mistakes[5], (4, 5, 6)))
        for seed in seeds
    ]
    near = alike([one.behaviour for one in seen], [one.seed for one in seen])
    assert near[:3, :3].sum() + near[3:, 3:].sum() >= 6 + 6
    assert not near[:3, 3:].any()


def test_what_a_known_mistake_explains_has_no_behaviour():
    found: dict = {}
    exec(f"import torch\n{FORWARD['dora']}", found)
    verdict = judged("batch_norm_forward", found["batch_norm_forward"], seed=1)
    assert verdict.mistakes == ("eps_outside_root",)
    assert verdict.behaviour == {}


# What is kept


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course in which seven students have handed in, graded by `graders autograde`."""
    if not shutil.which("bwrap"):
        pytest.skip("no bubblewrap")
    course = make_course(tmp_path_factory.mktemp("class") / "course", [])
    source = json.loads((ROOT / "solutions" / DAY / f"{DAY}.ipynb").read_text(encoding="utf-8"))
    ids = [cell["metadata"].get("nbgrader", {}).get("grade_id") for cell in source["cells"]]
    source["cells"] = source["cells"][: ids.index("check_batch_norm_forward") + 1]  # one exercise is enough
    (course / "solutions" / DAY).mkdir(parents=True)
    (course / "solutions" / DAY / f"{DAY}.ipynb").write_text(json.dumps(source))
    release(course, DAY)
    works = {student: solution_code(DAY) | {"batch_norm_forward": code} for student, code in FORWARD.items()}
    classes.hand_in(course, works, "2026-02-28 10:00:00 UTC")
    run_graders(course, "autograde", DAY)
    classes.named(course)
    return course


def record_in(course: Path, student: str) -> Record:
    (record,) = records.kept_in(course / "autograded" / student / DAY)
    return record


def forward_in(course: Path, student: str) -> Check:
    return record_in(course, student).checks[0]


def test_a_record_says_what_the_notebook_does(course):
    folder = course / "autograded" / "dora" / DAY
    record = record_in(course, "dora")
    check = record.checks[0]
    assert (check.exercise, check.outcome, check.passed) == ("batch_norm_forward", "mistake", False)
    assert list(check.mistakes) == ["eps_outside_root"]
    assert check.code == FORWARD["dora"].strip()
    assert record.when == "2026-02-28 10:00:00 UTC"
    notebook = json.loads((folder / f"{DAY}.ipynb").read_text())
    assert records.record_of(DAY, notebook, record.when).checks[0] == check


def test_the_code_of_a_check_is_that_of_its_exercise():
    def cell(source: str, **form) -> dict:
        return {"cell_type": "code", "source": source, "metadata": {"nbgrader": form}, "outputs": []}

    left, helper = "def step():\n    raise NotImplementedError", "def half(x):\n    return x / 2"
    answer = "def f(x):\n    return half(x)"
    cells = [cell(one, solution=True) for one in (left, helper, answer)]
    cells.append(cell("check(f)", grade=True, points=2, grade_id="check_f"))
    (found,) = records.record_of("n", {"cells": cells}).checks
    assert (found.exercise, found.outcome) == ("f", records.STOPPED)
    assert found.code == f"{answer}\n\n{helper}"


def test_unexplained_work_is_looked_at_on_the_same_inputs(course):
    checks = [forward_in(course, student) for student in ("ada", "bela", "cleo")]
    assert {check.seed for check in checks} == {SAME_FOR_ALL}
    assert grouped([check.behaviour for check in checks], [0, 0, 0]) == [[0, 1, 2]]


def test_an_answer_that_does_not_run_is_told_by_its_own_error(course):
    check = forward_in(course, "falk")
    assert check.outcome == records.STOPPED
    assert check.message.startswith("SyntaxError")


def test_a_record_that_cannot_be_read_gives_way_to_the_notebook(course, tmp_path):
    folder = shutil.copytree(course / "autograded" / "dora" / DAY, tmp_path / DAY)
    (kept,) = folder.glob(f"{records.FOLDER}/*{records.SUFFIX}")
    kept.chmod(0o644)
    for text in ("", "[1]", '{"version": 1, "notebook": 7}', "[" * 100_000, " " * (records.RECORD_LIMIT + 1)):
        kept.write_text(text)
        (read,) = records.records_in(folder)
        assert read.checks[0] == forward_in(course, "dora"), text[:20]


def test_judged_again_it_behaves_as_it_did(course):
    last = record_in(course, "ada")
    notebook = json.loads((course / "autograded" / "ada" / DAY / f"{DAY}.ipynb").read_text())
    assert records.record_of(DAY, notebook, last.when, last) == last
    assert records.record_of(DAY, notebook, last.when, last, {}).checks[0].seed != SAME_FOR_ALL
    other = replace(last, checks=(replace(last.checks[0], mistakes={"another": "one"}),))
    assert records.record_of(DAY, notebook, last.when, other).checks[0].seed != SAME_FOR_ALL


def test_stock_grading_leaves_the_same_record(course, tmp_path):
    other = shutil.copytree(course, tmp_path / "course", ignore=shutil.ignore_patterns("autograded"))
    for student in FORWARD.keys() - {"ada", "dora"}:
        shutil.rmtree(other / "submitted" / student)
    nbgrader(other, "autograde", DAY)
    for student in ("ada", "dora"):
        ours, theirs = record_in(course, student), record_in(other, student)
        assert [replace(check, seed=0, message="") for check in theirs.checks] == [
            replace(check, seed=0, message="") for check in ours.checks
        ]
    nbgrader(other, "generate_feedback", DAY)
    assert not list((other / "feedback").rglob(records.FOLDER))


def test_the_hand_in_before_is_kept_and_grading_again_is_none(course, tmp_path):
    other = shutil.copytree(course, tmp_path / "course")
    run_graders(other, "autograde", DAY, "--force", "--student", "dora")
    assert record_in(other, "dora").before is None
    classes.hand_in(other, {"dora": solution_code(DAY)}, "2026-03-01 10:00:00 UTC")
    for _ in range(2):
        run_graders(other, "autograde", DAY, "--force", "--student", "dora")
        before = record_in(other, "dora").before
        assert before and before.when == "2026-02-28 10:00:00 UTC"
        assert before.mistakes["batch_norm_forward"] == ["eps_outside_root"]
    assert "more points now: 1." in page_of(report.report(other, DAY))


# What the figures are


def student(name: str, *checks: Check, before: Before | None = None, marks: tuple[Mark, ...] = ()) -> Student:
    return Student(name, name.title(), [Record(DAY, "", "", tuple(checks), before)], list(marks))


def check(exercise: str, points: float, *mistakes: str, **more) -> Check:
    outcome = "passed" if points == 4 else "mistake"
    told = {one: f"The {one} is wrong. Think of it again." for one in mistakes}
    return Check(exercise, exercise, outcome, points, 4.0, "m", told, (Part("y", points, 4.0),), **more)


def figures(*students: Student) -> report.Report:
    return report.figures(Classroom(Path("/nowhere"), DAY, list(students)))


def page_of(found: report.Report, *, hidden: bool = False) -> str:
    return as_page(found, Names(found.classroom, hidden=hidden), Links("../course", "http://x/{}".format))


def test_facility_and_discrimination():
    """The point-biserial correlation with the rest, worked out by hand for a right-or-wrong item."""
    rest = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4]
    right = [0, 0, 0, 0, 1, 0, 1, 1, 1, 1]
    found = figures(
        *(
            student(f"s{n}", check("f", 4.0 * item), check("g", float(points)))
            for n, (item, points) in enumerate(zip(right, rest, strict=True))
        )
    )
    (item,) = found.exercises[0].items
    assert item.facility == pytest.approx(0.5)
    ones = [points for points, item in zip(rest, right, strict=True) if item]
    mean, deviation = 2.4, (sum((points - 2.4) ** 2 for points in rest) / 10) ** 0.5
    by_hand = (sum(ones) / 5 - mean) / deviation * (0.5 / 0.5) ** 0.5
    assert item.discrimination == pytest.approx(by_hand)
    few = figures(*(student(f"s{n}", check("f", 4.0 * item)) for n, item in enumerate(right[:9])))
    assert few.exercises[0].items[0].discrimination is None


def test_mistakes_that_come_together_are_more_than_chance():
    both = [student(f"b{n}", check("f", 0, "one"), check("g", 0, "two")) for n in range(6)]
    none = [student(f"n{n}", check("f", 4), check("g", 4)) for n in range(20)]
    (pair,) = figures(*both, *none).pairs
    assert (pair.both, pair.of, pair.lift) == (6, 26, pytest.approx(26 / 6))
    apart = [student(f"o{n}", check("f", 0, "one"), check("g", 4)) for n in range(20)]
    also = [student(f"t{n}", check("f", 4), check("g", 0, "two")) for n in range(5)]
    assert figures(*both, *apart, *also).pairs == []


def test_by_chance_is_fishers_exact_test():
    """Fisher's tea: of 8 cups, 4 with milk first, all 4 found: 1 in 70; at least 3: 17 in 70."""
    assert report.by_chance(4, 4, 4, 8) == pytest.approx(1 / 70)
    assert report.by_chance(3, 4, 4, 8) == pytest.approx(17 / 70)


def test_what_changed_since_the_last_hand_in():
    before = Before("", {"f": 0.0}, {"f": ["one", "two"]})
    found = figures(student("a", check("f", 3, "two", "three"), before=before), student("b", check("f", 4)))
    assert [(one.key, one.gone, one.still, one.new) for one in found.changes] == [
        ("two", 0, 1, 0),
        ("one", 1, 0, 0),
        ("three", 0, 0, 1),
    ]
    assert [one.id for one in found.again] == [one.id for one in found.better] == ["a"]


def test_the_lesson_is_what_most_get_wrong_and_to_whom():
    found = figures(
        *(student(f"a{n}", check("f", 0, "one")) for n in range(3)),
        *(student(f"b{n}", check("f", 4), check("g", 0, "two")) for n in range(4)),
    )
    assert (found.lesson.exercise.name, found.lesson.mistake.key) == ("g", "two")
    assert "To 4 students: B0, B1, B2 and B3." in as_text(found, Names(found.classroom))
    assert figures(student("a", check("f", 4))).lesson is None


def test_states_and_cells_without_a_check():
    marks = (Mark("essay", 0.0, 3.0, True), Mark("sum", 1.0, 2.0, False))
    found = figures(student("a", check("f", 4), marks=marks), Student("b", "B"))
    assert [(one.name, len(one.done), len(one.partly), len(one.waiting)) for one in found.exercises] == [
        ("f", 1, 0, 0),
        ("essay", 0, 0, 1),
        ("sum", 0, 1, 0),
    ]
    assert [one.id for one in found.absent] == ["b"]


def test_a_name_of_cells_in_two_notebooks_is_two_cells(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", own_programs()["PATH"])
    with Gradebook(f"sqlite:///{tmp_path}/gradebook.db") as book:
        book.add_assignment("hw")
        for notebook in ("a", "b"):
            book.add_notebook(notebook, "hw")
            for cell in ("test", f"own_{notebook}"):
                book.add_grade_cell(cell, notebook, "hw", max_score=2, cell_type="code")
        book.add_student("ann")
        book.add_submission("hw", "ann")
        for notebook, cell, points in (
            ("a", "test", 2),
            ("b", "test", 0),
            ("a", "own_a", 1),
            ("b", "own_b", 2),
        ):
            grade = book.find_grade(cell, notebook, "hw", "ann")
            grade.auto_score, grade.needs_manual_grade = points, False
        book.db.commit()
    for notebook in ("a", "b"):
        path = tmp_path / "autograded" / "ann" / "hw" / f"{notebook}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"cells": []}')
    found = report.report(tmp_path, "hw")
    assert {(one.name, len(one.done), len(one.partly), len(one.not_done)) for one in found.exercises} == {
        ("a: test", 1, 0, 0),
        ("b: test", 0, 0, 1),
        ("own_a", 0, 1, 0),
        ("own_b", 1, 0, 0),
    }


# What the page says


def test_what_students_wrote_stays_text(course):
    page = page_of(report.report(course, DAY))
    assert HOSTILE not in page
    shown = page_of(
        figures(student(HOSTILE, replace(check("f", 0, HOSTILE), code=HOSTILE, message=HOSTILE), marks=()))
    )
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown


def test_without_names_there_is_none_in_any_file(course):
    found = report.report(course, DAY)
    names = Names(found.classroom, hidden=True)
    page = as_page(found, names, Links("", "http://x/{}".format))
    files = [page, as_csv(found, names), as_text(found, names)]
    words = {
        word.casefold()
        for one in found.classroom.students
        for word in (one.id, *one.name.split(), *one.pages.values())
    } | {"oakes"}
    for text in files:
        assert words & set(re.findall(r"\w+", text.casefold())) == set()
        assert re.search(r"\bS\d\b", text)


def test_numbers_are_the_same_all_through_a_file_and_not_to_be_worked_out():
    students = [Student(f"s{n:03}", "") for n in range(200)]
    classroom = Classroom(Path("/nowhere"), DAY, students)
    first, second = Names(classroom), Names(classroom)
    numbers = [first.number(one) for one in students]
    assert len(set(numbers)) == 200
    assert numbers != sorted(numbers)
    assert numbers != [second.number(one) for one in students]
    assert first.number(students[0]) == first.number(students[0])


def test_a_name_that_is_a_word_of_the_subject_stays_in_code():
    code = "def f(x):\n    return x.max() + oakes(x)"
    students = [student(name, replace(check("f", 0, "one"), code=code)) for name in ("max", "b", "c")]
    students[1].name = "Oakes"
    names = Names(Classroom(Path("/nowhere"), DAY, students), hidden=True)
    assert "x.max()" in names.code(code)
    assert names.code('def f(x):\n    """Mine."""\n    return x  # mine') == "def f(x):\n    return x"
    alone = [student("oakes", replace(check("f", 0, "one"), code=code))]
    assert "oakes" not in Names(Classroom(Path("/nowhere"), DAY, alone), hidden=True).code(code)


def test_names_are_hidden_in_either_form_of_accents():
    composed, decomposed = "Renée", unicodedata.normalize("NFD", "Renée")
    for called in (composed, decomposed):
        names = Names(Classroom(Path("/nowhere"), DAY, [Student(called, f"{called} Ng")]), hidden=True)
        for written in (composed, decomposed):
            assert names.text(f"as {written} says") == "as someone says"
            assert "ren" not in names.code(f"def f(x):\n    return {written.lower()}(x)")


def test_a_table_for_spreadsheets_holds_no_formula():
    found = figures(student("=1+1", check("f", 0, "one"), check("g", 4)))
    rows = list(csv.reader(io.StringIO(as_csv(found, Names(found.classroom)))))
    assert rows == [
        ["student", "exercise", "points", "of", "state", "mistakes", "group"],
        ["'=1+1", "f", "0", "4", "not done", "one", ""],
        ["'=1+1", "g", "4", "4", "done", "", ""],
    ]


def test_a_group_comes_with_a_mistake_to_be_written(course):
    page = page_of(report.report(course, DAY))
    assert "3 students</span>: wrong in one way" in page
    assert "Write a mistake for this" in page
    assert "1 student</span>" not in page  # a student alone is no group


def test_a_mistake_to_be_written_has_all_that_is_checked_together():
    released = {DAY: "x = 1\ncheck(f)\ncheck(f, g)"}
    odd = {"behaviour": {"0 y": ["values", 1.0, -0.5, 0.2, 0.4]}, "seed": 0}
    both = [
        student(
            name, replace(check("f", 4), code=f"def f(): {name}"), check("g", 0, code="def g(): 1", **odd)
        )
        for name in ("left", "right")
    ]
    page = as_page(
        found := report.figures(Classroom(Path("/nowhere"), DAY, both, released)),
        Names(found.classroom),
        Links(),
    )
    skeleton = page.split("Write a mistake for this")[1].split("</pre>")[0]
    assert "    (f, g),\n),\n" in skeleton
    assert skeleton.count("def f()") == 1 and skeleton.index("def f()") < skeleton.index("def g()")
    assert checked_together("f", released.values()) == ("f",)
    assert checked_together("h", released.values()) == ("h",)


def test_a_group_whose_mistake_has_a_name_too_says_so():
    odd = {"behaviour": {"0 y": ["values", 1.0, -0.5, 0.2, 0.4]}, "seed": 0}
    both = [student(name, check("f", 0, "root", **odd)) for name in "ab"]
    assert "All of them also make a mistake that has a name: «The root is wrong»." in page_of(figures(*both))
    one = figures(both[0], student("c", check("f", 0, **odd)))
    assert len(one.exercises[0].alike[0].students) == 2
    assert "All of them also" not in page_of(one)


def test_an_error_is_one_wherever_python_saw_it():
    errors = [f"SyntaxError: expected ':' (<ipython-input-{place}>, line 1)" for place in ("3-57", "4-61")]
    stopped = [Check("c", "f", STOPPED, 0.0, 4.0, error) for error in errors]
    (exercise,) = figures(*(student(name, one) for name, one in zip("ab", stopped, strict=True))).exercises
    assert {error: len(of) for error, of in exercise.stopped.items()} == {
        "SyntaxError: expected ':' (line 1)": 2
    }


# Who is unusually alike


@pytest.mark.parametrize("day", ("day26", "day33"))
def test_independent_right_answers_are_not_alike_and_a_copy_is(day):
    codes = copies.independent(day)
    assert similar(codes) == []
    for student, code in codes.items():
        (pair,) = similar({**codes, "zoe": copies.disguised(code)})
        assert {pair.one, pair.other} == {student, "zoe"}


def test_what_was_released_and_what_many_have_is_no_similarity():
    codes = copies.independent("day26")
    one, other, *_ = codes
    assert similar({one: codes[one], other: codes[one]}) != []
    assert similar({one: codes[one], other: codes[one]}, [codes[one]]) == []
    assert similar({f"s{n}": codes[one] for n in range(5)}) == []


# The command


def test_the_command_writes_a_page_and_a_table(course, tmp_path):
    page, table = tmp_path / "deep" / "page.html", tmp_path / "table.csv"
    said = run_graders(course, "report", DAY, "--html", str(page), "--csv", str(table))
    assert "7 of 7 students handed in." in said
    assert "Dora" in page.read_text() and 'id="names"' in page.read_text()
    assert len(table.read_text().splitlines()) == 1 + 7
    run_graders(course, "report", DAY, "--no-names")
    assert "Dora" not in (course / "reports" / f"{DAY}.html").read_text()


def test_names_lead_to_the_server_that_runs_in_the_course(course, tmp_path):
    runtime = tmp_path / ".jupyter" / "runtime"
    runtime.mkdir(parents=True)
    (runtime / "jpserver-1.json").write_text("{")
    about = {"pid": os.getpid(), "root_dir": str(tmp_path), "url": "http://here:8888/base/"}
    (runtime / "jpserver-2.json").write_text(json.dumps(about))
    links = links_of(tmp_path, tmp_path / "page.html", "")
    assert links.submission("x") == "http://here:8888/base/formgrader/submissions/x/?index=0"
    (runtime / "jpserver-2.json").write_text(json.dumps(about | {"root_dir": "/elsewhere"}))
    assert links_of(tmp_path, tmp_path / "page.html", "").submission is None
    (tmp_path / "course").mkdir()
    (tmp_path / "course" / "index.ipynb").write_text("")
    assert links_of(tmp_path, tmp_path / "reports" / "page.html", "").lectures == "../course"
    assert links_of(tmp_path, tmp_path / "page.html", "http://hub/").lectures == "http://hub/lab/tree/course"


def test_what_is_not_there_is_said_in_a_sentence(course, tmp_path):
    assert "no gradebook" in run_graders(tmp_path, "report", DAY, status=2)
    assert "check its name" in run_graders(course, "report", "day99", status=2)
    (tmp_path / "file").write_text("")
    assert "cannot be written" in run_graders(
        course, "report", DAY, "--html", str(tmp_path / "file" / "page.html"), status=2
    )
    with pytest.raises(NoReport, match="graders autograde"):
        read_class(shutil.copytree(course, tmp_path / "c", ignore=shutil.ignore_patterns("autograded")), DAY)


def test_a_report_needs_neither_torch_nor_nbgrader(course):
    code = (
        "import sys; from pathlib import Path;"
        "from graders.classroom import report, report_page, report_names;"
        f"found = report.report(Path('.'), '{DAY}');"
        "report_page.as_page(found, report_names.Names(found.classroom), report_page.Links());"
        "print(sorted({'torch', 'nbgrader'} & sys.modules.keys()))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=course,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "[]"
