"""What instructors say to all who made a mistake: it reaches them once, and leaves alone people's words."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from nbgrader.api import Gradebook

import graders
from graders.batch import worker
from graders.classroom import comments
from graders.classroom.comments import Comments, changed, comments_of
from graders.judging.report import as_html, as_text
from graders.judging.rubric import MalformedRubric
from graders.judging.verdict import Remark
from tests.courses import nbgrader, recorded, run_graders
from tests.regraded import (
    CHECKED,
    HW,
    MISTAKE,
    STUDENTS,
    WRONG,
    grade,
    looked,
    make,
    regraded,
    report_of,
    told,
)
from tests.test_carried import eps_outside

EXERCISE = "batch_norm_forward"
TABLE, OTHERS = f"[{EXERCISE}.{MISTAKE}]\n", "[standardize.eps_missing]\npoints = -1\n"


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    course = make(tmp_path_factory.mktemp("graded") / "course")
    grade(course)
    yield course
    worker.close_boxes()


@pytest.fixture
def course(graded: Path, tmp_path: Path) -> Path:
    return shutil.copytree(graded, tmp_path / "course")


def say(course: Path, text: str, points: float = 0.0, *, key: str = MISTAKE) -> None:
    """What `graders comment` does to the file."""
    path = course / comments.FILE
    held = path.read_text() if path.exists() else ""
    remark = Remark(text, points) if text or points else None
    path.write_text(changed(held, EXERCISE, key, remark))


# In a report


def test_a_report_carries_it_and_its_points() -> None:
    verdict = graders.evaluate(EXERCISE, eps_outside, seed=0)
    said = Comments({EXERCISE: {MISTAKE: Remark("Nearly: see `F.batch_norm` & <b>page 3</b>.", 0.5)}})
    with_it = said.added_to(verdict)
    assert (verdict.points, with_it.points, with_it.max_points) == (3, 3.5, 4)
    assert with_it.as_dict()["remarks"] == ({"text": with_it.remarks[0].text, "points": 0.5},)
    page, text = as_html(with_it), as_text(with_it)
    assert "3.5 of 4 points" in page and "3.5 of 4 points" in text
    assert "<code>F.batch_norm</code> &amp; &lt;b&gt;page 3" in page
    assert "From your instructors: Nearly: see" in " ".join(text.split()) and "(0.5 points more)" in text


@pytest.mark.parametrize("points,left", [(5, 4), (-5, 0), (-0.25, 2.75), (0, 3)])
def test_points_stay_between_nothing_and_everything(points: float, left: float) -> None:
    verdict = graders.evaluate(EXERCISE, eps_outside, seed=0)
    assert Comments({EXERCISE: {MISTAKE: Remark("", points)}}).added_to(verdict).points == left


def test_it_is_said_to_nobody_else() -> None:
    verdict = graders.evaluate(EXERCISE, eps_outside, seed=0)
    for where in ({EXERCISE: {"eps_missing": Remark("x", 1)}}, {"standardize": {MISTAKE: Remark("x", 1)}}):
        assert Comments(where).added_to(verdict) == verdict


# The file


def test_the_file_is_changed_where_it_is_said_to_be() -> None:
    text = f'# Ours.\n{TABLE}comment = "old"  # from last year\npoints = 1\n\n{OTHERS}'
    now = changed(text, EXERCISE, MISTAKE, Remark('new "words"\nin two lines', 0.5))
    assert now.startswith("# Ours.\n") and OTHERS in now
    assert comments_of(now).on(EXERCISE, [MISTAKE]) == [Remark('new "words"\nin two lines', 0.5)]
    assert changed(now, EXERCISE, MISTAKE, Remark('new "words"\nin two lines', 0.5)) == now
    gone = changed(now, EXERCISE, MISTAKE, None)
    assert not comments_of(gone).on(EXERCISE, [MISTAKE]) and len(list(comments_of(gone))) == 1
    assert changed(gone, EXERCISE, MISTAKE, None) == gone


MALFORMED = {
    "no TOML": ("[x", "no TOML"),
    "outside of a table": ("points = 1\n", "outside of a table"),
    "no exercise": ("[batch_norm_forwards.eps_missing]\npoints = 1\n", "write batch_norm_forward"),
    "no mistake": (f"[{EXERCISE}.eps_missin]\npoints = 1\n", "write eps_missing"),
    "share": (f"[{EXERCISE}]\neps_missing = 0.5\n", "outside of a table"),
    "unknown field": (f"{TABLE}coment = 'x'\n", "write comment"),
    "no number": (f"{TABLE}points = 'x'\n", "no number"),
    "not finite": (f"{TABLE}points = nan\n", "no number"),
    "no words": (f"{TABLE}comment = 3\n", "no text"),
    "escape": (f'{TABLE}comment = "\\u001b[31m"\n', "no text"),
    "empty": (f"{TABLE}comment = ' '\n", "says nothing"),
    "too long": (f"{TABLE}comment = '{'x' * 2001}'\n", "2001 characters"),
    "too much": (f"{TABLE}points = 1000\n", "at most 100"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_file_is_told_in_a_sentence(kind: str) -> None:
    text, says = MALFORMED[kind]
    with pytest.raises(MalformedRubric, match=says):
        comments_of(text)
    with pytest.raises(MalformedRubric, match=r"^comments\.toml"):
        worker.look_through_rubric(worker.Options(comments=text))


# In a course


def by_hand(course: Path, student: str, change: Callable[[Any, Any], None]) -> None:
    """What the Formgrader does when a person writes or gives something."""
    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        change(
            book.find_grade(CHECKED, HW, HW, student),
            book.find_comment(EXERCISE, HW, HW, student),
        )
        book.db.commit()


def score_of(book: dict, student: str) -> tuple[Any, ...]:
    return book[student]["notebooks"][HW]["grades"][CHECKED]


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_people_s_words_stay_and_ours_are_there_once(course: Path, seed: int) -> None:
    """Grading, points and words by hand, comments, other words, their end, grading again, in any order."""
    chance = random.Random(seed)
    made = [student for student in STUDENTS if STUDENTS[student].get(EXERCISE) == WRONG[EXERCISE]]
    written: dict[str, dict[str, Any]] = {student: {} for student in STUDENTS}
    said: Remark | None = None
    older: set[str] = set()

    def write(student: str, **what: Any) -> None:
        written[student] |= what
        by_hand(
            course,
            student,
            lambda given, comment: [
                setattr(comment if name == "manual_comment" else given, name, value)
                for name, value in what.items()
            ],
        )

    for step in range(10):
        act = chance.choice(["say", "say", "remove", "words", "points", "credit", "regrade", "force"])
        student = chance.choice(list(STUDENTS))
        if act == "say":
            older |= {said.text} if said else set()
            said = Remark(f"Words {seed} {step}.", chance.choice([0.0, 0.5, -0.25, 2.0]))
            say(course, said.text, said.points)
            regraded(course)
        elif act == "remove":
            older |= {said.text} if said else set()
            said = None
            say(course, "")
            regraded(course)
        elif act == "words":
            write(student, manual_comment=f"To {student}: {step}.")
        elif act == "points":
            write(student, manual_score=float(step % 5))
        elif act == "credit":
            write(student, extra_credit=float(step % 3))
        elif act == "regrade":
            regraded(course)
        else:
            grade(course, student)
        book = recorded(course, HW)
        for one in STUDENTS:
            report = report_of(course, one)
            assert report.count("From your instructors") == (one in made and said is not None)
            assert not any(text in report for text in older)
            auto, manual, credit, _ = score_of(book, one)
            added = said.points if said and one in made else 0.0
            base = {"right": 4, "nothing": 0}.get(one, 3)
            assert auto == min(max(base + added, 0), 4)
            assert manual == written[one].get("manual_score")
            assert credit == written[one].get("extra_credit")
            words = book[one]["notebooks"][HW]["comments"][EXERCISE]
            assert words[1] == written[one].get("manual_comment")


def test_nobody_is_marked_as_graded_by_hand_by_it(course: Path) -> None:
    say(course, "Nearly.", 0.5)
    regraded(course)
    assert score_of(recorded(course, HW), "twin") == (3.5, None, None, False)


def test_the_command_says_whom_it_reaches_and_feedback_shows_both(course: Path) -> None:
    by_hand(course, "twin", lambda given, comment: setattr(comment, "manual_comment", "A word to you alone."))
    given = ("comment", HW, EXERCISE, MISTAKE)
    said = told(course, *given, "Nearly: which root?", "--points", "-0.5", "--dry-run")
    assert "points of 2 students change" in said and not (course / comments.FILE).exists()
    said = run_graders(course, *given, "Nearly: which root?", "--points", "-0.5")
    assert f"twin     {CHECKED}  3 → 2.5" in said
    assert score_of(recorded(course, HW), "twin")[0] == 2.5
    assert f"{EXERCISE} {MISTAKE} (-0.5): Nearly: which root?" in told(course, "comment", HW)

    nbgrader(course, "generate_feedback", HW)
    page = unescape((course / "feedback" / "twin" / HW / f"{HW}.html").read_text(encoding="utf-8"))
    assert page.count("From your instructors: Nearly: which root? (0.5 points less)") == 1
    assert page.count("A word to you alone.") == 1
    assert not list((course / "feedback").rglob("*.observations"))

    said = told(course, *given, "--remove")
    assert f"twin     {CHECKED}  2.5 → 3" in said
    assert score_of(recorded(course, HW), "twin")[0] == 3
    assert "From your instructors" not in report_of(course, "twin")


@pytest.mark.parametrize(
    "arguments,says",
    [
        ((EXERCISE, "eps_nowhere", "x"), "no mistake of"),
        ((EXERCISE, "eps_missing", "--remove"), "Nothing is said"),
        ((EXERCISE, "eps_missing"), "what to say, such as"),
        ((EXERCISE,), "what to say, such as"),
        (("standardize", "eps_missing", "x"), "has no check of standardize"),
        (("batch_norm", "eps_missing", "x"), "is no exercise"),
        ((EXERCISE, "eps_missing", "x", "--points", "1e9"), "too much"),
    ],
)
def test_what_cannot_be_said_is_refused_in_a_sentence(
    course: Path, arguments: tuple[str, ...], says: str
) -> None:
    assert says in told(course, "comment", HW, *arguments, status=2)
    assert not (course / comments.FILE).exists()


def test_nbgrader_s_own_command_says_it_too_and_stores_the_same(course: Path) -> None:
    say(course, "Nearly.", 0.5)
    nbgrader(course, "autograde", HW, "--force", "--student", "twin")
    assert score_of(recorded(course, HW), "twin")[0] == 3.5
    assert report_of(course, "twin").count("From your instructors: Nearly. (0.5 points more)") == 1
    regraded(course)
    with looked(course) as regrading:
        assert not regrading.outcome.changes and regrading.outcome.stored == set(STUDENTS)
    say(course, "Other words.")
    assert {one.student for one in regraded(course).changes} == {"wrong", "twin"}
