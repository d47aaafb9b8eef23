"""Grades go into the tables that systems exported, and feedback back to whom the work came from."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from nbgrader.api import Gradebook
from nbgrader.apps import ExportApp
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config
from typer.testing import CliRunner

from graders.cli import app
from graders.lms import exporters, tables
from graders.lms.collect import CannotCollect, collect, folders
from graders.lms.returning import pack
from graders.lms.roster import read_rosters
from tests import lms
from tests.courses import nbgrader
from tests.lms import DAY, SYSTEMS, HandedIn, Student

ANN = Student("s1", "Ann", "Ames", "aames", 101, 5001, "ann@uni.edu")
BOB = Student("s2", "Bob", "Berg", "bob_b", 102, 5002, "bob@uni.edu")
CY = Student("s3", "Cy", "Coe", "cy", 103, 5003, "cy@uni.edu")
DEE = Student("s4", "Dee", "Dow", "dee", 104, 5004, "dee@uni.edu")
CLASS = (ANN, BOB, CY, DEE)
#: Nbgrader's points after the late penalty, out of 21. Cy handed in nothing, Dee is still graded by hand.
POINTS = {"s1": 17.25, "s2": 9.5}


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course with a gradebook."""
    course = lms.course(tmp_path_factory.mktemp("graded") / "course")
    with Gradebook(f"sqlite:///{course}/gradebook.db", "normalization-and-momentum") as book:
        book.add_assignment(DAY)
        book.add_notebook(DAY, DAY)
        book.add_grade_cell("work", DAY, DAY, max_score=20, cell_type="code")
        book.add_grade_cell("essay", DAY, DAY, max_score=1, cell_type="markdown")
        for one in CLASS:
            book.add_student(one.number, first_name=one.first, last_name=one.last, email=one.email)
        for one, work, essay, late in ((ANN, 16.25, 1, 0), (BOB, 11.5, 0, 2), (DEE, 20, None, 0)):
            book.add_submission(DAY, one.number)
            for name, points in (("work", work), ("essay", essay)):
                grade = book.find_grade(name, DAY, DAY, one.number)
                grade.auto_score, grade.needs_manual_grade = points, points is None
            notebook = book.find_submission_notebook(DAY, DAY, one.number)
            notebook.late_submission_penalty = late
        book.db.commit()
    return course


@pytest.fixture
def course(graded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to export to, as an instructor would be in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "roster.csv").write_text(lms.own_roster(CLASS), encoding="utf-8")
    return graded


def exporter(system: str, **options: object) -> exporters.Exporter:
    name = f"{system.capitalize()}Exporter"
    options = {"roster": ["roster.csv"], **options}
    config = Config({name: {key: value for key, value in options.items() if value is not None}})
    return getattr(exporters, name)(config=config)


def export(course: Path, system: str, text: str | None = None, **options: object) -> list[list[str]]:
    """The rows that an exporter writes into a table of this text, the header first."""
    if text is not None:
        Path("table.csv").write_text(text, encoding="utf-8", newline="")
        options["table"] = "table.csv"
    with Gradebook(f"sqlite:///{course}/gradebook.db", "normalization-and-momentum") as book:
        exporter(system, **{"assignment": [DAY], "to": "out.csv", **options}).export(book)
    table = tables.read(Path("out.csv"))
    return [table.header, *table.rows]


COLUMN = {"moodle": "Grade", "canvas": "Day 26", "blackboard": "Day 26", "brightspace": "Day 26 Points"}
KEY = {
    "moodle": ("Identifier", lambda one: f"Participant {one.participant}"),
    "canvas": ("ID", lambda one: str(one.lms_id)),
    "blackboard": ("Username", lambda one: one.username),
    "brightspace": ("OrgDefinedId", lambda one: f"#{one.number}"),
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_grades_are_written_where_they_belong_and_nothing_else_is_changed(course: Path, system: str) -> None:
    before = list(csv.reader(io.StringIO(lms.TABLES[system](CLASS).lstrip("\ufeff"), newline="")))
    after = export(course, system, lms.TABLES[system](CLASS))
    place = next(number for number, one in enumerate(before[0]) if one.startswith(COLUMN[system]))
    heading, key = KEY[system]
    keys = before[0].index(heading)
    written = {row[keys]: row[place] for row in after[1:] if row[place] not in ("", "21.00")}
    assert written == {key(ANN): "17.25", key(BOB): "9.5"}
    without = [[[*row[:place], *row[place + 1 :]] for row in rows] for rows in (before, after)]
    assert [[cell.strip() for cell in row] for row in without[0]] == [
        [cell.strip() for cell in row] for row in without[1]
    ]


@pytest.mark.parametrize("system", SYSTEMS)
def test_bytes_of_the_table_stay(course: Path, system: str) -> None:
    text = lms.TABLES[system](CLASS)
    export(course, system, text)
    written = Path("out.csv").read_bytes().decode()
    if system == "canvas":  # its reader ignores the blanks that it writes before Points Possible
        assert "    Points Possible" in written
    blank = re.sub(r"17\.25|9\.5", "", written)
    assert blank == text


@pytest.mark.parametrize("system", ["blackboard", "brightspace"])
def test_table_is_made_where_none_was_exported(course: Path, system: str) -> None:
    Path("roster.csv").write_text("student_id,Username,OrgDefinedId\ns1,aames,77\ns2,bob_b,78\ns3,,\n")
    rows = export(course, system)
    assert (
        rows
        == {
            "blackboard": [["Username", DAY], ["aames", "17.25"], ["bob_b", "9.5"]],
            "brightspace": [
                ["OrgDefinedId", "Username", f"{DAY} Points Grade", "End-of-Line Indicator"],
                ["#77", "#aames", "17.25", "#"],
                ["#78", "#bob_b", "9.5", "#"],
            ],
        }[system]
    )


def test_gradebook_of_nbgrader_is_roster_enough_with_addresses(course: Path) -> None:
    rows = export(course, "moodle", lms.worksheet(CLASS), roster=None)
    assert [row[5] for row in rows[1:]] == ["17.25", "9.5", "", ""]


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, ["17.25", "9.5", "", ""]),
        ({"missing_as_zero": True}, ["17.25", "9.5", "0", ""]),
        ({"unfinished": True}, ["17.25", "9.5", "", "20"]),
        ({"student": ["s2"]}, ["", "9.5", "", ""]),
    ],
)
def test_who_gets_a_grade(course: Path, options: dict[str, object], expected: list[str]) -> None:
    assert [row[5] for row in export(course, "moodle", lms.worksheet(CLASS), **options)[1:]] == expected


def test_what_is_not_graded_is_not_nothing(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cy's work could not be read, so that the gradebook has none of it."""
    Path("submitted", "s3", DAY).mkdir(parents=True)
    Path("table.csv").write_text(lms.worksheet(CLASS), encoding="utf-8")
    options = {"table": "table.csv", "roster": ["roster.csv"], "missing_as_zero": True}
    app = ExportApp(config=Config({"MoodleExporter": {**options, "assignment": [DAY], "to": "out.csv"}}))
    app.coursedir = CourseDirectory(parent=app, root=str(Path.cwd()))
    with Gradebook(f"sqlite:///{course}/gradebook.db", "normalization-and-momentum") as book:
        exporters.MoodleExporter(parent=app).export(book)
    assert [row[5] for row in tables.read(Path("out.csv")).rows] == ["17.25", "9.5", "", ""]
    assert "s3: what was handed in for day26 is not graded" in capsys.readouterr().err


def test_a_line_in_which_ids_are_two_students_is_nobodys(
    course: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The gradebook has Bob's address; by the user name it is Ann's, as nbgrader calls her."""
    mixed = replace(ANN, username="s1", email=BOB.email)
    rows = export(
        course, "blackboard", f"Username,Email,Day 26 |9\n{mixed.username},{mixed.email},\n", roster=None
    )
    assert rows[1][2] == "" and "the roster has several of them" in caplog.text


@pytest.mark.parametrize(
    "text, number",
    [("21.00", 21), ("21,50", 21.5), ("1,000.00", 1000), ("1.250,50", 1250.5), ("30 Score", 30), ("-", None)],
)
def test_maximum_in_a_table(text: str, number: float | None) -> None:
    assert exporters.number_in(text) == number


def test_bytes_that_are_no_character_stay(course: Path) -> None:
    """A Czech name as its spreadsheet writes it: some of its bytes are nothing in western Europe."""
    name = "Ťapťa Źak"
    text = lms.worksheet([ANN, replace(BOB, first=name)])
    Path("table.csv").write_bytes(text.encode("cp1250"))
    rows = export(course, "moodle", table="table.csv")
    assert [row[5] for row in rows[1:]] == ["17.25", "9.5"]
    assert name in Path("out.csv").read_bytes().decode("cp1250")


def test_another_maximum_is_refused_or_scaled(course: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit):
        export(course, "moodle", lms.worksheet(CLASS, most="42.00"))
    assert "day26 has 21 points here and 42 in Moodle" in caplog.text
    rows = export(course, "moodle", lms.worksheet(CLASS, most="42.00"), scale=True)
    assert [row[5] for row in rows[1:]] == ["34.5", "19", "", ""]


def test_whoever_is_not_in_the_roster_or_twice_gets_nothing(
    course: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = Student("s9", "Ann", "Ames", "aames9", 909, 5909, "eve@uni.edu")
    twice = replace(BOB, number="s7", lms_id=707, participant=5707, email="x@uni.edu")  # Bob's user name
    Path("roster.csv").write_text(lms.own_roster([ANN, BOB, twice]))
    rows = export(course, "moodle", lms.worksheet([ANN, stranger]))
    assert [row[5] for row in rows[1:]] == ["17.25", ""]
    assert "No grade for Participant 5909" in caplog.text
    assert "s2 has a grade for day26, and no line in the table" in caplog.text
    rows = export(course, "blackboard", lms.blackboard_grades([ANN, BOB]))
    assert [row[6] for row in rows[1:]] == ["17.25", ""]


@pytest.mark.parametrize(
    "system, text, options, says",
    [
        ("moodle", lms.worksheet(CLASS), {"assignment": []}, "is of one assignment"),
        ("moodle", None, {}, "needs the table that it exported itself"),
        ("canvas", None, {}, "needs the table that it exported itself"),
        ("canvas", lms.canvas_gradebook(CLASS), {"assignment": ["day99"]}, "no assignment day99"),
        ("canvas", "Student,ID,Section\nx,1,A\n", {}, "has no column for day26"),
        ("canvas", "Student,ID,Day 26 (1),day26 (2)\nx,101,,\n", {}, "2 columns for day26"),
        ("canvas", lms.canvas_gradebook(CLASS), {"to": "table.csv"}, "write to another file"),
        ("canvas", lms.canvas_gradebook(CLASS), {"to": "no/such/out.csv"}, "cannot be written"),
        ("canvas", lms.canvas_gradebook(CLASS), {"roster": ["none.csv"]}, "none.csv cannot be read"),
        ("blackboard", None, {"roster": None}, "no username in the roster"),
    ],
)
def test_refusals_are_one_sentence_and_write_nothing(
    course: Path, caplog: pytest.LogCaptureFixture, system: str, text: str | None, options: dict, says: str
) -> None:
    with pytest.raises(SystemExit):
        export(course, system, text, **options)
    (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert says in error.message and not Path("out.csv").exists()


def test_other_heading_is_named(course: Path) -> None:
    text = lms.canvas_gradebook(CLASS).replace("Day 26 (72)", "Exercise two (72)")
    rows = export(course, "canvas", text, columns={DAY: "Exercise two (72)"})
    assert [row[6] for row in rows[2:4]] == ["17.25", "9.5"]


def test_commands_of_nbgrader(graded: Path) -> None:
    """As docs/lms.md writes them."""
    (graded / "roster.csv").write_text(lms.own_roster(CLASS), encoding="utf-8")
    (graded / "gradebook.csv").write_text(
        lms.canvas_gradebook(CLASS).replace("Day 26", "Two"), encoding="utf-8"
    )
    said = nbgrader(
        graded,
        *("export", "--exporter=graders.lms.CanvasExporter", "--assignment", DAY, "--to", "out.csv"),
        *("--CanvasExporter.table=gradebook.csv", "--CanvasExporter.roster=roster.csv"),
        *("--CanvasExporter.columns", f"{DAY}=Two (72)"),
    )
    assert "2 grades under Two (72) in out.csv" in said
    assert "17.25" in (graded / "out.csv").read_text()


# Feedback


def collected(folder: Path, system: str) -> Path:
    course = lms.course(folder / system)
    zip_file = lms.zipped(
        course / "in.zip",
        system,
        [HandedIn(one, {"data.csv": b"1", f"{DAY}.ipynb": b"{}"}) for one in (ANN, BOB)],
    )
    (course / "roster.csv").write_text(lms.own_roster(CLASS), encoding="utf-8")
    collect(folders(course, DAY), zip_file, read_rosters([course / "roster.csv"]))
    return course


def feed_back(course: Path, *students: str) -> None:
    for student in students:
        page = course / "feedback" / student / DAY / f"{DAY}.html"
        page.parent.mkdir(parents=True)
        page.write_text(f"feedback for {student}")


@pytest.mark.parametrize("system", ["moodle", "canvas"])
def test_feedback_goes_back_by_the_names_of_the_zip(tmp_path: Path, system: str) -> None:
    """Read as the system's own importer reads it: whose it is, by the ids in the name."""
    course = collected(tmp_path, system)
    feed_back(course, "s1", "s3")
    done = pack(folders(course, DAY), course / "out.zip")
    assert (done.system, done.students, done.without, done.unknown) == (system, ["s1"], ["s2"], ["s3"])
    with zipfile.ZipFile(course / "out.zip") as out:
        (name,) = out.namelist()
        assert out.read(name) == b"feedback for s1"
    if system == "moodle":  # feedback/file/importziplib.php
        folder, file = name.split("/")
        _, participant, *plugin = folder.split("_", 4)
        assert (participant, plugin[:2], file) == ("5001", ["assignsubmission", "file"], f"{DAY}.html")
    else:  # infer_comment_context_from_filename
        user, attachment = [part for part in name.split("_") if part.isdigit()][:2]
        assert (user, attachment, name.endswith(f"_{DAY}.html")) == ("101", "9001", True)


def test_command_packs_and_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    course = collected(tmp_path, "moodle")
    monkeypatch.chdir(course)
    refused = CliRunner().invoke(app, ["return", DAY, "out.zip"])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "There is no feedback on day26 yet" in refused.stderr
    feed_back(course, "s1")
    packed = CliRunner().invoke(app, ["return", DAY, "out.zip"])
    assert (packed.exit_code, packed.stderr) == (0, "")
    assert packed.stdout == "day26: feedback for 1 students in out.zip.\nNo feedback yet: s2.\n"
    nowhere = CliRunner().invoke(app, ["return", DAY, "no/such/out.zip"])
    assert nowhere.exit_code == 2 and "cannot be written" in nowhere.stderr


def test_return_refuses_in_a_sentence(tmp_path: Path) -> None:
    course = lms.course(tmp_path / "course")
    with pytest.raises(CannotCollect, match="Nothing of day26 was collected"):
        pack(folders(course, DAY), course / "out.zip")
    course = collected(tmp_path, "moodle")
    with pytest.raises(CannotCollect, match="There is no feedback on day26 yet"):
        pack(folders(course, DAY), course / "out.zip")
    with pytest.raises(CannotCollect, match="from moodle, not from canvas"):
        pack(folders(course, DAY), course / "out.zip", "canvas")
    course = collected(tmp_path, "blackboard")
    feed_back(course, "s1")
    with pytest.raises(CannotCollect, match="Blackboard takes no zip"):
        pack(folders(course, DAY), course / "out.zip")
    assert not (course / "out.zip").exists()
