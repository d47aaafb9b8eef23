"""nbgrader's own commands on day 26, from the release to the exported grades, with four students."""

from __future__ import annotations

import csv
import json
import shutil
from html import unescape
from pathlib import Path

import pytest

from graders.judging import catalogue
from graders.judging.rubric import SHIPPED
from graders.judging.verdict import MIME
from tests.courses import answered, make_course, nbgrader, recorded, run_graders, solution_code

ROOT = Path(__file__).resolve().parent.parent
DAY = "day26"

#: One named mistake in each exercise: the code, the mistake's key and the points that are left.
MISTAKEN = {
    "batch_norm_forward": (
        """
def batch_norm_forward(x, gamma, beta, eps=1e-5):
    x_hat = (x - x.mean(0)) / (x.std(0, correction=0) + eps)
    return gamma * x_hat + beta, (x, gamma, eps)
""",
        "eps_outside_root",
        4 * SHIPPED.share("batch_norm_forward", "eps_outside_root"),
    ),
    "numerical_gradient": (
        """
def numerical_gradient(f, x, dy, h=1e-6):
    wide, weights = x.double(), dy.double()
    gradient = torch.zeros(x.numel(), dtype=torch.float64, device=x.device)
    for k in range(x.numel()):
        step = torch.zeros_like(gradient)
        step[k] = h
        gradient[k] = ((f(wide + step.view(x.shape)) - f(wide)) * weights).sum() / h
    return gradient.view(x.shape).to(x.dtype)
""",
        "one_sided",
        0,
    ),
    "batch_norm_backward": (
        """
def batch_norm_backward(dy, cache):
    x, gamma, eps = cache
    std = (x.var(0, correction=0) + eps).sqrt()
    x_hat = (x - x.mean(0)) / std
    return dy * gamma / std, (dy * x_hat).sum(0), dy.sum(0)
""",
        "statistics_constant",
        2,
    ),
    "identity_parameters": (
        """
def identity_parameters(x, eps=1e-5):
    return x.std(0, correction=0), x.mean(0)
""",
        "eps_missing",
        1,
    ),
    "BatchNormFunction": (
        """
class BatchNormFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps):
        std = (x.var(0, correction=0) + eps).sqrt()
        x_hat = (x - x.mean(0)) / std
        ctx.save_for_backward(x_hat, gamma, std)
        return gamma * x_hat + beta

    @staticmethod
    def backward(ctx, dy):
        x_hat, gamma, std = ctx.saved_tensors
        dbeta, dgamma = dy.sum(0), (dy * x_hat).sum(0)
        dx = gamma / std * (dy - dy.mean(0) - x_hat * (dy * x_hat).mean(0))
        return dx, dbeta, dgamma, None
""",
        "dgamma_and_dbeta_swapped",
        2,
    ),
}


#: A right answer that keeps a log where the sandbox has no place for it.
ELSEWHERE = """
def identity_parameters(x, eps=1e-5):
    with open("../calls.log", "a") as log:
        log.write(f"{x.shape}")
    return (x.var(0, correction=0) + eps).sqrt(), x.mean(0)
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course folder in which everything was released, handed in, graded, fed back and exported."""
    folder = make_course(tmp_path_factory.mktemp("course") / "course", [])
    for part in ("solutions", "exercises"):  # as in a checkout, whose gradebook knows nothing of them yet
        shutil.copytree(ROOT / part / DAY, folder / part / DAY)
    nbgrader(folder, "generate_assignment", DAY)
    answered(folder, "right", DAY, solution_code(DAY))
    answered(folder, "untouched", DAY, {})
    answered(folder, "mistaken", DAY, {name: code for name, (code, _, _) in MISTAKEN.items()})
    answered(folder, "elsewhere", DAY, {**solution_code(DAY), "identity_parameters": ELSEWHERE})
    nbgrader(folder, "autograde", DAY)
    nbgrader(folder, "generate_feedback", DAY)
    nbgrader(folder, "export")
    return folder


def verdicts(course: Path, student: str) -> dict[str, dict]:
    """The verdicts that are stored in a student's autograded notebook, by exercise."""
    path = course / "autograded" / student / DAY / f"{DAY}.ipynb"
    found = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            if MIME in output.get("data", {}):
                verdict = output["data"][MIME]
                found[verdict["exercise"]] = verdict
    return found


def test_release_is_what_is_committed(course: Path) -> None:
    written = (course / "exercises" / DAY / f"{DAY}.ipynb").read_bytes()
    assert written == (ROOT / "exercises" / DAY / f"{DAY}.ipynb").read_bytes()


def test_exported_grades(course: Path) -> None:
    with (course / "grades.csv").open(encoding="utf-8") as file:
        scores = {
            row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in csv.DictReader(file)
        }
    total = sum(exercise.points for exercise in catalogue.days()[DAY])
    left = sum(points for _, _, points in MISTAKEN.values())
    lost = catalogue.find("identity_parameters").points
    assert scores == {
        "right": (total, total),
        "untouched": (0, total),
        "mistaken": (left, total),
        "elsewhere": (total - lost, total),
    }


def test_a_judged_function_that_asks_something_of_the_place_is_looked_at(
    course: Path, tmp_path: Path
) -> None:
    """By nbgrader's own command, by ours, and after a regrading by what is stored."""
    by_ours = shutil.copytree(course, tmp_path / "course")
    summary = run_graders(by_ours, "autograde", DAY, "--student", "elsewhere", "--force")
    assert "what it calls ended for a reason that lies in this place" in summary
    again = shutil.copytree(by_ours, tmp_path / "again")
    (again / "rubric.toml").write_text("[identity_parameters]\neps_missing = 0.5\n", encoding="utf-8")
    run_graders(again, "regrade", DAY)
    for folder in (course, by_ours, again):
        grades = recorded(folder, DAY)["elsewhere"]["notebooks"][DAY]["grades"]
        doubtful = [name for name, (*_, by_hand) in grades.items() if by_hand]
        assert doubtful == ["check_identity_parameters"], folder


@pytest.mark.parametrize("name", MISTAKEN)
def test_partial_credit_and_mistake_of_each_exercise(course: Path, name: str) -> None:
    _, key, points = MISTAKEN[name]
    verdict = verdicts(course, "mistaken")[name]
    assert (verdict["mistake"], verdict["points"]) == (key, points)
    assert verdicts(course, "right")[name]["passed"]
    assert verdicts(course, "untouched")[name]["outcome"] == "unattempted"


def test_feedback_names_every_mistake(course: Path) -> None:
    """What the check said in the notebook is what the student is handed back."""
    page = unescape((course / "feedback" / "mistaken" / DAY / f"{DAY}.html").read_text(encoding="utf-8"))
    for name, (_, key, _) in MISTAKEN.items():
        message = next(one.message for one in catalogue.answer_of(name).mistakes if one.key == key)
        assert message.split("`")[0][:60] in page, f"{name}: {key}"
        assert f'data-exercise="{name}"' in page


def test_nothing_was_written_to_stderr(course: Path) -> None:
    """One line on stderr in a graded cell would cost all its points."""
    for student in ("right", "untouched", "mistaken"):
        path = course / "autograded" / student / DAY / f"{DAY}.ipynb"
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                assert output.get("name") != "stderr", output
                assert output["output_type"] != "error", output


@pytest.mark.parametrize("folder,says", [("solutions", "Success!"), ("exercises", "failed")])
def test_validate(course: Path, folder: str, says: str) -> None:
    said = nbgrader(course, "validate", f"{folder}/{DAY}/{DAY}.ipynb")
    assert says in said
