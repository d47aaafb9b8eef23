"""Zips of learning management systems: everybody's work goes to them, or to nobody, and nothing is lost."""

from __future__ import annotations

import errno
import os
import random
import re
import stat
import unicodedata
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import Result
from typer.testing import CliRunner

from graders.batch.intake import timestamp_in
from graders.cli import app
from graders.lms import archive, forms, tables
from graders.lms.collect import CannotCollect, Collected, collect, folders, remembered
from graders.lms.roster import Roster, Unusable, read_rosters
from tests import lms
from tests.lms import DAY, NOON, SYSTEMS, HandedIn, Student

ANN = Student("s1", "Ann", "Ames", "aames", 101, 5001, "ann@uni.edu")
BOB = Student("s2", "Bob", "van der Berg", "bob_b", 102, 5002, "bob@uni.edu")
ZOE = Student("s3", "Zoë", "O'Brien-Ng", "zoe", 103, 5003, "zoe@uni.edu")
CLASS = (ANN, BOB, ZOE)


@pytest.fixture
def course(tmp_path: Path) -> Path:
    return lms.course(tmp_path / "course")


def roster_of(course: Path, *texts: str) -> Roster:
    paths = []
    for number, text in enumerate(texts):
        paths.append(course / f"roster{number}.csv")
        paths[-1].write_text(text, encoding="utf-8", newline="")
    return read_rosters(paths)


def gather(course: Path, zip_file: Path, roster: Roster | None = None, **options: object) -> Collected:
    roster = roster or roster_of(course, lms.own_roster(CLASS))
    return collect(folders(course, DAY), zip_file, roster, **options)  # type: ignore[arg-type]


def submitted(course: Path) -> dict[str, dict[str, bytes]]:
    """What lies in submitted/, by student and path, without times."""
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted((course / "submitted").glob(f"*/{DAY}/**/*")):
        student, _, *parts = path.relative_to(course / "submitted").parts
        if path.is_file() and parts != ["timestamp.txt"]:
            found.setdefault(student, {})["/".join(parts)] = path.read_bytes()
    return found


def a_zip(course: Path, *members: tuple[str, bytes], name: str = "in.zip") -> Path:
    with zipfile.ZipFile(course / name, "w") as out:
        for path, content in members:
            out.writestr(path, content)
    return course / name


# Whose it is and when


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_system_is_recognized_and_gives_to_whom_it_is(course: Path, system: str) -> None:
    handed_in = [HandedIn(one, {f"{DAY}.ipynb": one.number.encode(), "my data.csv": b"1"}) for one in CLASS]
    done = gather(course, lms.zipped(course / "in.zip", system, handed_in))
    assert (done.system, done.new, done.problems) == (system, ["s1", "s2", "s3"], [])
    assert submitted(course) == {
        one.number: {f"{DAY}.ipynb": one.number.encode(), "my data.csv": b"1"} for one in CLASS
    }


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_table_that_a_system_exports_is_a_roster(course: Path, system: str) -> None:
    """Nobody needs to write one: where it has no student_id, the first id of the table stands for it."""
    handed_in = [HandedIn(one, {"x.ipynb": one.number.encode()}) for one in CLASS]
    roster = roster_of(course, lms.TABLES[system](CLASS))
    done = gather(course, lms.zipped(course / "in.zip", system, handed_in), roster)
    called = {"moodle": "number"}.get(system, "username")
    assert {name: files["x.ipynb"].decode() for name, files in submitted(course).items()} == {
        getattr(one, called): one.number for one in CLASS
    }
    assert done.called_by in ("ID number", "SIS Login ID", "Username")


def test_worksheet_joins_a_roster_that_has_no_numbers_of_participants(course: Path) -> None:
    twins = [Student(f"t{n}", "Kim", "Lee", f"kim{n}", 7 + n, 900 + n, f"kim{n}@uni.edu") for n in (1, 2)]
    handed_in = [HandedIn(one, {"x.ipynb": one.number.encode()}) for one in twins]
    path = lms.zipped(course / "in.zip", "moodle", handed_in)
    alone = gather(course, path, roster_of(course, lms.own_roster(twins, ids=False)))
    assert not alone.new and len(alone.problems) == 2
    both = roster_of(course, lms.own_roster(twins, ids=False), lms.worksheet(twins))
    assert gather(course, path, both).new == ["t1", "t2"]
    assert {name: files["x.ipynb"].decode() for name, files in submitted(course).items()} == {
        "t1": "t1",
        "t2": "t2",
    }


@pytest.mark.parametrize("system", ["blackboard", "brightspace"])
def test_time_is_the_systems_in_utc(course: Path, system: str) -> None:
    path = lms.zipped(course / "in.zip", system, [HandedIn(ANN, {"x.ipynb": b"1", "timestamp.txt": b"1999"})])
    done = gather(course, path, zone=ZoneInfo("America/New_York"))
    assert timestamp_in(course / "submitted" / "s1" / DAY) == datetime(2026, 5, 4, 16, 30)
    assert [why for _, why in done.problems] == [
        "it would say when it was handed in, which only the system can (s1)"
    ]


def test_times_of_moodle_stand_in_its_worksheet(course: Path) -> None:
    path = lms.zipped(course / "in.zip", "moodle", [HandedIn(ANN, {"x.ipynb": b"1"})])
    sheet = lms.worksheet(CLASS, handed_in="Monday, 4 May 2026, 9:05 PM")
    gather(course, path, roster_of(course, sheet), zone=UTC)
    assert timestamp_in(course / "submitted" / "s1" / DAY) == datetime(2026, 5, 4, 21, 5)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Sep 24, 2024 926 PM", (2024, 9, 24, 21, 26)),
        ("Wednesday, September 23, 2020, 12:00 AM", (2020, 9, 23, 0, 0)),
        ("Wednesday, 23 September 2020, 12:07 PM", (2020, 9, 23, 12, 7)),
        ("Sep 24, 2024 2126", (2024, 9, 24, 21, 26)),
        ("Sep 31, 2024 926 PM", None),
        ("24.9.2024", None),
    ],
)
def test_time_in_words(text: str, expected: tuple[int, ...] | None) -> None:
    assert forms.when_in(text) == (datetime(*expected) if expected else None)


@pytest.mark.parametrize("system", ["blackboard", "brightspace"])
def test_last_attempt_counts(course: Path, system: str) -> None:
    attempts = [
        HandedIn(ANN, {"x.ipynb": str(hour).encode()}, NOON + timedelta(hours=hour)) for hour in (3, 30, 9)
    ]
    gather(course, lms.zipped(course / "in.zip", system, attempts))
    assert submitted(course) == {"s1": {"x.ipynb": b"30"}}


@pytest.mark.parametrize("system", ["moodle", "canvas"])
def test_texts_are_no_submission(course: Path, system: str) -> None:
    handed_in = [HandedIn(ANN, {"x.ipynb": b"1"}, text=True), HandedIn(BOB, {}, text=True)]
    done = gather(course, lms.zipped(course / "in.zip", system, handed_in))
    assert submitted(course) == {"s1": {"x.ipynb": b"1"}}
    assert [why for _, why in done.problems] == ["s2 handed in a text, and no file"]


def test_lateness_that_canvas_has_no_time_of_is_said(course: Path) -> None:
    done = gather(
        course, lms.zipped(course / "in.zip", "canvas", [HandedIn(ANN, {"x.ipynb": b"1"}, late=True)])
    )
    assert done.new == ["s1"] and "late" in done.notes[0]
    assert not (course / "submitted" / "s1" / DAY / "timestamp.txt").exists()


def test_moodle_without_folders_and_a_zip_packed_anew(course: Path) -> None:
    flat = "Ann Ames_5001_assignsubmission_file_Bob van der Berg_5002_assignsubmission_file_x.ipynb"
    done = gather(course, a_zip(course, (flat, b"1")))
    assert done.new == ["s1"]
    assert list(submitted(course)["s1"]) == ["Bob van der Berg_5002_assignsubmission_file_x.ipynb"]
    members = [(f"day 26/{one.full}_{one.participant}_assignsubmission_file_/y.ipynb", b"2") for one in CLASS]
    members = [(path.replace("'", ""), content) for path, content in members]
    done = gather(course, a_zip(course, *members, ("__MACOSX/day 26/._x", b"")))
    assert (done.problems, len(done.new) + len(done.replaced)) == ([], 3)


def test_names_in_the_other_form_of_accents(course: Path) -> None:
    for number, form in enumerate(("NFC", "NFD")):
        path = unicodedata.normalize(form, f"Zoë OBrien-Ng_{number}_assignsubmission_file_/x.ipynb")
        done = gather(
            course, a_zip(course, (path, b"%d" % number)), roster_of(course, lms.own_roster(CLASS, ids=False))
        )
        assert done.problems == []
    assert submitted(course) == {"s3": {"x.ipynb": b"1"}}


def test_utf8_that_is_not_announced(course: Path) -> None:
    path = lms.zipped(course / "in.zip", "moodle", [HandedIn(ZOE, {"x.ipynb": b"1"})])
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):
        data[data.index(mark) + offset] &= ~0x08  # the flag that names are in UTF-8
    path.write_bytes(data)
    assert gather(course, path).new == ["s3"]


# Nobody's work goes to somebody else

NAMES = (
    *(("Ann", "Lee"), ("Ann", "Lee"), ("Anna", "Lee"), ("Lee", "Ann"), ("José", "Gil"), ("Jose", "Gil")),
    *((unicodedata.normalize("NFD", "José"), "Gil"), ("Mary_Ann", "O'Neil"), ("Mary Ann", "ONeil")),
    *(("_12_", "x_3_4_"), ("12", "345"), ("", "Prince"), ("Participant", "7"), ("LATE", "Ann"), ("Ü", "Ü")),
    *(("Straße", "Li"), ("STRASSE", "Li"), ("attempt", "2026-05-04-12-30-00"), ("Jo", "- Lee - May 4")),
    *(("李", "伟"), ("O", "'"), ("assignsubmission", "file"), ("Bob", "11_assignsubmission_file")),
)
USERS = ("a", "a_b", "b", "1", "11", "1_1", "111", "26_a", "x_attempt", "Ab", "é", "e", "_", "__")
FILES = (
    "x.ipynb",
    "day_1_2_3.ipynb",
    "Ann Lee_11_assignsubmission_file_x.ipynb",
    "Day_26_a_attempt_2026-05-04-12-30-00_x.ipynb",
    "111-777 - Ann Lee - May 4, 2026 1230 PM.ipynb",
    "leeann_11_12_x.ipynb",
)


def a_class(dice: random.Random) -> list[Student]:
    """Students with names and ids that are easily taken for each other's; a system's own ids are unique."""
    size = dice.randint(2, 9)
    users = dice.sample(USERS, size)
    ids = dice.sample([1, 11, 111, 12, 2, 21, 26, 3, 345, 4, 7, 9000, 9001], size)
    return [
        Student(
            f"n{ids[one]}",
            *dice.choice(NAMES),
            users[one],
            ids[one],
            10_000 - ids[one],
            f"{users[one]}@u.edu",
        )
        for one in range(size)
    ]


def naive(zip_file: Path, students: list[Student]) -> dict[str, set[bytes]]:
    """What a matcher would do that takes the first student whose name or id a path holds."""
    given: dict[str, set[bytes]] = {}
    with zipfile.ZipFile(zip_file) as opened:
        for info in opened.infolist():
            for one in students:
                names = (one.full, f"{one.last}{one.first}".lower(), one.username, str(one.lms_id))
                if any(name in info.filename for name in names):
                    given.setdefault(one.number, set()).add(opened.read(info))
                    break
    return given


@pytest.mark.parametrize("system", SYSTEMS)
def test_nobodys_work_goes_to_somebody_else(tmp_path: Path, system: str) -> None:
    """Random classes: whoever is listed and can be told apart gets all of theirs; nobody gets another's."""
    swapped_naively = given = 0
    for seed in range(60):
        dice = random.Random(f"{system} {seed}")
        students = a_class(dice)
        course = lms.course(tmp_path / str(seed))
        handed_in = [
            HandedIn(one, {name: f"{one.number}:{name}".encode() for name in dice.sample(FILES, 2)})
            for one in dice.sample(students, dice.randint(1, len(students)))
        ]
        zip_file = lms.zipped(course / "in.zip", system, handed_in)
        with_ids = dice.random() < 0.7
        listed = students if dice.random() < 0.6 else dice.sample(students, len(students) - 1)
        if dice.random() < 0.2:  # two rows with one id of the system's, or with one of nbgrader's
            double, other = dice.sample(students, 2)
            kinds = ("number", "username", "lms_id", "participant")
            same = {kind: getattr(other, kind) for kind in dice.sample(kinds, 1)}
            listed = [*listed, replace(double, **same)]
        roster = roster_of(course, lms.own_roster(listed, ids=with_ids))
        done = gather(course, zip_file, roster, system=system)
        found = submitted(course)
        for student, files in found.items():
            owners = {content.decode().partition(":")[0] for content in files.values()}
            assert owners == {student}, (seed, student, owners)
        count = sum(len(files) for files in found.values())
        handed = sum(len(one.files) for one in handed_in)
        lost = {content for one in handed_in for content in one.files.values()}
        lost -= {content for files in found.values() for content in files.values()}
        assert count + len(lost) == handed
        assert len([path for path, _ in done.problems if not path.endswith(".txt")]) == len(lost), seed
        given += count
        if with_ids and listed is students and system != "canvas":
            assert not lost, (seed, done.problems)
        other = naive(zip_file, students)
        swapped_naively += any(
            content.decode().partition(":")[0] != student
            for student, contents in other.items()
            for content in contents
            if b":" in content and b"\n" not in content
        )
    assert given > 100, "almost nothing was given to anybody"
    assert swapped_naively > 5, "the classes are too easy: a naive matcher swaps nothing"


def test_id_and_name_that_contradict_each_other_are_nobodys(course: Path) -> None:
    mixed = Student("s9", "Ann", "Ames", "aames", BOB.lms_id, BOB.participant)
    for system in ("moodle", "canvas", "brightspace"):
        done = gather(course, lms.zipped(course / "in.zip", system, [HandedIn(mixed, {"x.ipynb": b"1"})]))
        assert not done.new and "has another name" in done.problems[0][1]


def test_a_groups_name_before_a_students_is_none_of_theirs(course: Path) -> None:
    """Moodle writes it there where groups hand in, for each of their members; the number tells who it is."""
    marie = Student("s7", "Anne-Marie", "Ames", "ma", 107, 5007)
    groups = [replace(one, first=f"Team 7-A-{one.first}") for one in (ANN, marie)]
    strange = replace(ANN, first="Team 7-Eve")
    path = lms.zipped(course / "in.zip", "moodle", [HandedIn(one, {"x.ipynb": b"1"}) for one in groups])
    roster = roster_of(course, lms.own_roster([*CLASS, marie]))
    done = collect(folders(course, DAY), path, roster)
    assert (done.new, done.problems) == (["s1", "s7"], [])
    lms.zipped(path, "moodle", [HandedIn(strange, {"x.ipynb": b"2"})])
    assert collect(folders(course, DAY), path, roster).problems


def test_what_two_rows_of_the_roster_claim_is_nobodys(course: Path) -> None:
    path = lms.zipped(course / "in.zip", "canvas", [HandedIn(ANN, {"x.ipynb": b"1"})])
    done = gather(course, path, roster_of(course, "student_id,lms_id\ns1,101\ns2,101\n"))
    assert not done.new and "2 students of the roster have the id 101" in done.problems[0][1]


def test_path_with_two_readings_needs_a_name_that_agrees(course: Path) -> None:
    """A student who is not in the roster, and whose name looks like the numbers of one who is."""
    path = a_zip(course, ("ann_101_7_999_8_x.ipynb", b"1"))
    done = gather(course, path, roster_of(course, "student_id,lms_id\ns1,101\n"))
    assert not done.new and "several ways" in done.problems[0][1]
    assert gather(course, a_zip(course, ("amesann_101_7_day_26_1_x.ipynb", b"1"))).new == ["s1"]


def test_two_rows_for_one_folder_are_nobodys(course: Path) -> None:
    again = Student("S1", "Cy", "Dee", "cy", 109, 5009)
    handed_in = [HandedIn(one, {"x.ipynb": b"1"}) for one in (ANN, BOB, again)]
    done = gather(
        course,
        lms.zipped(course / "in.zip", "canvas", handed_in),
        roster_of(course, lms.own_roster([*CLASS, again])),
    )
    assert done.new == ["s2"] and len(done.problems) == 2
    assert all("would get the folder" in why for _, why in done.problems)


@pytest.mark.parametrize(
    "bad", ["", ".", "..", "a/b", "../x", "a\\b", ".git", "<b>", "a\u202eb", " x", "x" * 300]
)
def test_no_folder_leaves_submitted(course: Path, bad: str) -> None:
    odd = Student(bad, "Cy", "Dee", "cy", 109, 5009)
    handed_in = [HandedIn(odd, {"x.ipynb": b"1"}), HandedIn(ANN, {"x.ipynb": b"1"})]
    roster = roster_of(course, lms.own_roster([*CLASS, odd]))
    done = gather(course, lms.zipped(course / "in.zip", "canvas", handed_in), roster)
    stripped = bad.strip()
    assert done.new == (["s1"] if stripped != "x" else ["s1", "x"])
    assert {one.name for one in (course / "submitted").iterdir()} == set(done.new)


# Hostile and damaged zips


@pytest.mark.parametrize(
    "rest",
    [
        "../../s2/day26/x.ipynb",
        "/etc/x.ipynb",
        "..\\..\\x.ipynb",
        "C:/x.ipynb",
        "a/../../x",
        "a\nb",
        "x" * 300,
    ],
)
def test_no_path_leaves_the_submission(course: Path, rest: str) -> None:
    mark = "Ann Ames_5001_assignsubmission_file_"
    done = gather(course, a_zip(course, (f"{mark}/{rest}", b"1"), (f"{mark}/ok.ipynb", b"2")))
    assert submitted(course) == {"s1": {"ok.ipynb": b"2"}}
    assert len(done.problems) == 1 and "(s1)" in done.problems[0][1]


def test_links_and_devices_are_left_out(course: Path) -> None:
    path = course / "in.zip"
    with zipfile.ZipFile(path, "w") as out:
        for number, kind in enumerate((stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR)):
            info = zipfile.ZipInfo(f"Ann Ames_5001_assignsubmission_file_/{number}.ipynb")
            info.external_attr = (kind | 0o777) << 16
            out.writestr(info, "/etc/passwd")
    done = gather(course, path)
    assert submitted(course) == {} and len(done.problems) == 3


def test_bombs_are_not_unpacked(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "SUBMISSION_LIMIT", 1 << 20)
    mark = "Ann Ames_5001_assignsubmission_file_"
    path = course / "in.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr(f"{mark}/bomb.bin", bytes(50 << 20))
        out.writestr(f"{mark}/x.ipynb", b"1")
        out.writestr("Bob van der Berg_5002_assignsubmission_file_/x.ipynb", b"2")
    done = gather(course, path)
    assert submitted(course) == {"s1": {"x.ipynb": b"1"}, "s2": {"x.ipynb": b"2"}}
    assert "that are read of a submission" in done.problems[0][1]


def test_a_size_that_is_a_lie_is_not_believed(course: Path) -> None:
    path = a_zip(course, ("Ann Ames_5001_assignsubmission_file_/x.ipynb", b"12345"))
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    for end in (20, 24):
        data[at + end : at + end + 4] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(data)
    done = gather(course, path)
    assert submitted(course) == {} and len(done.problems) == 1


def test_too_little_room_is_said_before_anything_is_unpacked(
    course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: os.terminal_size((0, 0)) and type("", (), {"free": 3}))
    path = lms.zipped(course / "in.zip", "moodle", [HandedIn(ANN, {"x.ipynb": b"12345"})])
    with pytest.raises(CannotCollect, match="the disk has"):
        gather(course, path)
    assert not (course / "submitted").exists()


@pytest.mark.parametrize("change", [lambda data: b"", lambda data: data[:-30], lambda data: b"x" * 400])
def test_what_is_no_zip_is_refused_in_a_sentence(course: Path, change) -> None:
    path = lms.zipped(course / "in.zip", "moodle", [HandedIn(ANN, {"x.ipynb": b"1"})])
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(archive.NoArchive, match=r"in\.zip .*\.$"):
        gather(course, path)


def test_damaged_and_encrypted_files_are_named_and_the_rest_is_given(course: Path) -> None:
    path = lms.zipped(course / "in.zip", "moodle", [HandedIn(one, {"x.ipynb": b"1" * 99}) for one in CLASS])
    data = bytearray(path.read_bytes())
    data[data.index(b"x.ipynb") + 8] ^= 0xFF  # the first file's content
    second = [found.start() for found in re.finditer(b"PK\x01\x02", data)][1]
    data[second + 8] |= 1  # encrypted
    path.write_bytes(data)
    done = gather(course, path)
    assert (done.new, len(done.problems)) == (["s3"], 2)


def test_two_files_of_one_name_are_both_kept(course: Path) -> None:
    members = [
        ("amesann_101_1_x.ipynb", b"1"),
        ("amesann_101_2_x.ipynb", b"2"),
        ("amesann_101_3_X.ipynb", b"3"),
    ]
    gather(course, a_zip(course, *members))
    assert sorted(submitted(course)["s1"].values()) == [b"1", b"2", b"3"]


# What is there already


def test_what_lay_there_is_set_aside(course: Path) -> None:
    for content in (b"1", b"2", b"2"):
        done = gather(course, lms.zipped(course / "in.zip", "moodle", [HandedIn(ANN, {"x.ipynb": content})]))
        if content == b"2" and done.replaced:
            aside = done.aside
    assert (done.unchanged, done.replaced, done.aside) == (["s1"], [], None)
    assert submitted(course) == {"s1": {"x.ipynb": b"2"}}
    assert aside and (aside / "s1" / "x.ipynb").read_bytes() == b"1"
    assert list((course / "downloaded" / DAY).glob(".incoming-*")) == []


def test_what_was_handed_in_later_stays(course: Path) -> None:
    for when, content in ((NOON, b"new"), (NOON - timedelta(days=1), b"old")):
        path = lms.zipped(course / "in.zip", "brightspace", [HandedIn(ANN, {"x.ipynb": content}, when)])
        done = gather(course, path)
    assert done.newer == ["s1"] and submitted(course) == {"s1": {"x.ipynb": b"new"}}


def test_a_failure_on_the_way_loses_nothing(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = lms.zipped(course / "in.zip", "moodle", [HandedIn(one, {"x.ipynb": b"1"}) for one in CLASS])
    rename, calls = os.rename, []

    def failing(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        rename(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(CannotCollect, match="No space left"):
        gather(course, path)
    monkeypatch.undo()
    done = gather(course, path)
    assert (done.unchanged, done.new) == (["s1"], ["s2", "s3"])
    assert set(remembered(folders(course, DAY))["students"]) == {"s1", "s2", "s3"}


def test_submissions_may_lie_on_another_disk(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the folder of all submissions is a link to one."""
    rename, other = os.rename, course / "submitted"

    def renamed(source: Path, target: Path) -> None:
        if (other in Path(source).parents) != (other in Path(target).parents):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(os, "rename", renamed)
    for content in (b"1", b"2"):
        done = gather(
            course, lms.zipped(course / "in.zip", "moodle", [HandedIn(ANN, {"a/x.ipynb": content})])
        )
        assert submitted(course) == {"s1": {"a/x.ipynb": content}}
        assert [path.name for path in (other / "s1").iterdir()] == [DAY]
    assert done.replaced == ["s1"] and (done.aside / "s1" / "a" / "x.ipynb").read_bytes() == b"1"


def test_links_in_submitted_are_not_followed(course: Path, tmp_path: Path) -> None:
    (course / "submitted").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (course / "submitted" / "s1").symlink_to(tmp_path / "elsewhere")
    done = gather(course, lms.zipped(course / "in.zip", "moodle", [HandedIn(ANN, {"x.ipynb": b"1"})]))
    assert list((tmp_path / "elsewhere").iterdir()) == [] and len(done.problems) == 1


# Tables and the command


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_are_read_and_written_as_they_were(tmp_path: Path, encoding: str, delimiter: str) -> None:
    text = delimiter.join(["Name", "Grade"]) + "\r\n" + delimiter.join(["Zoë", '"1,5; 2"']) + "\r\n"
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode(encoding))
    table = tables.read(path)
    assert table.header == ["Name", "Grade"] and table.rows[0][0] == "Zoë"
    tables.write(path, table)
    assert path.read_bytes().decode(encoding).replace('"', "") == text.replace('"', "")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 workbook", b"\n\n"])
def test_no_table_is_said_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(tables.NoTable, match=r"t\.csv .*\.$"):
        read_rosters([tmp_path / "t.csv"])


def test_roster_without_any_id_is_refused(course: Path) -> None:
    with pytest.raises(Unusable, match="student_id"):
        roster_of(course, "Name,Points\nAnn,3\n")


def commanded(course: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    """What the command says in the course folder."""
    stranger = Student("s8", "Eve", "Ill", "eve", 108, 5008)
    lms.zipped(course / "in.zip", "moodle", [HandedIn(one, {"x.ipynb": b"1"}) for one in (ANN, stranger)])
    (course / "roster.csv").write_text(lms.own_roster(CLASS))
    monkeypatch.chdir(course)
    return CliRunner().invoke(app, ["collect", *arguments])


def test_command_says_what_became_of_the_zip(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = commanded(course, monkeypatch, DAY, "in.zip", "--roster", "roster.csv")
    assert (result.exit_code, result.stderr) == (1, "")
    assert "Eve Ill_5008_assignsubmission_file/x.ipynb: the roster has no 'Eve Ill'" in result.stdout
    assert "day26, from Moodle: 1 new, 1 files given to nobody." in result.stdout


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["day62", "in.zip"], "There is no assignment day62"),
        (["../x", "in.zip"], "There is no assignment ../x"),
        ([DAY, "none.zip", "--roster", "roster.csv"], "none.zip cannot be read"),
        ([DAY, "in.zip", "--roster", "none.csv"], "none.csv cannot be read"),
        ([DAY, "in.zip", "--roster", "roster.csv", "--timezone", "Mars"], "no time zone Mars"),
        ([DAY, "in.zip"], "The gradebook has no students yet"),
        ([DAY, "roster.csv", "--roster", "roster.csv"], "roster.csv is no zip"),
        ([DAY, ".", "--roster", "roster.csv"], "cannot be read"),
    ],
)
def test_command_refuses_in_one_sentence(
    course: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    result = commanded(course, monkeypatch, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr and len(result.stderr.strip().splitlines()) == 1
