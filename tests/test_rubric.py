"""What known mistakes leave of the points: the rubric that is shipped, and a course's own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

import graders
from graders.batch import worker
from graders.judging import catalogue, rubric
from graders.judging.report import as_html, as_text
from graders.judging.rubric import MalformedRubric, rubric_of
from graders.judging.verdict import Verdict
from tests import warm
from tests.courses import answered, make_course, nbgrader_command, recorded
from tests.test_carried import eps_outside
from tests.test_nbgrader import MISTAKEN

HALF = "[batch_norm_forward]\neps_outside_root = 0.5\n"


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a course, and the working directory a folder below it."""
    (tmp_path / rubric.BESIDE).touch()
    (tmp_path / "exercises").mkdir()
    monkeypatch.chdir(tmp_path / "exercises")
    return tmp_path


def near_miss() -> Verdict:
    return graders.evaluate("batch_norm_forward", eps_outside, seed=0)


def test_what_is_shipped_can_be_used_and_pays_no_mistake_in_full() -> None:
    (tables,) = rubric.SHIPPED.layers
    assert rubric_of(Path(rubric.__file__).with_name(rubric.FILE).read_text()).layers[0] == tables
    assert all(0 < share < 1 for shares in tables.values() for share in shares.values())


def test_a_near_miss_keeps_a_share_and_the_score_says_why() -> None:
    verdict = near_miss()
    assert (verdict.points, verdict.passed) == (
        4 * rubric.SHIPPED.share("batch_norm_forward", "eps_outside_root"),
        False,
    )
    for text in (as_text(verdict), as_html(verdict)):
        assert "3 of 4: eps is added to the standard deviation, outside the root." in " ".join(text.split())


def by_cancellation(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    variance = (x * x).mean(0) - x.mean(0) ** 2
    return gamma * (x - x.mean(0)) / (variance + eps).sqrt() + beta, None


def test_right_on_paper_keeps_a_share() -> None:
    verdict = graders.evaluate("batch_norm_forward", by_cancellation, seed=0)
    assert (verdict.mistake, verdict.points) == ("variance_by_cancellation", 3)
    assert "offset of 10,000" in verdict.message


def test_what_shows_no_understanding_leaves_nothing() -> None:
    def unattempted(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
        raise NotImplementedError

    def unknown(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
        return 0.3 * x, None

    def library(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
        return torch.nn.functional.batch_norm(x, None, None, gamma, beta, True, eps=eps), None

    for candidate in (unattempted, unknown, library):
        assert graders.evaluate("batch_norm_forward", candidate, seed=0).points == 0


def test_the_gravest_of_several_mistakes_counts() -> None:
    mistakes = {one.key: one for one in catalogue.answer_of("BatchNorm1d").mistakes}
    near, far = mistakes["eps_outside_root"], mistakes["not_updated"]
    assert rubric.SHIPPED.least("BatchNorm1d", [near])[0] == 0.75
    assert rubric.SHIPPED.least("BatchNorm1d", [near, far])[0] == 0
    assert rubric.SHIPPED.least("BatchNorm1d", [near, None])[0] == 0
    assert rubric.SHIPPED.least("BatchNorm1d", []) == (1.0, "")


def both_wrong(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> tuple[Any, None]:
    """eps outside of the root, and beta not added."""
    return gamma * (x - x.mean(0)) / (x.std(0, correction=0) + eps), None


@pytest.mark.parametrize(
    "text,points",
    [
        ("", 0),  # the graver of the two
        ("[batch_norm_forward]\nbeta_missing = 0.5\n", 2),
        ('[batch_norm_forward]\n"eps_outside_root+beta_missing" = 0.25\n', 1),
        ('[default]\n"beta_missing+eps_outside_root" = 0.25\n', 1),
        ('[default]\n"beta_missing+eps_outside_root" = 0.25\nbeta_missing = 0.75\n', 1),
        ('[default]\n"beta_missing+eps_outside_root" = 0.25\n[batch_norm_forward]\n'
         '"eps_outside_root+beta_missing" = 0.5\n', 2),
        ('[default]\n"beta_missing+eps_missing" = 0.25\n', 0),
    ],
)  # fmt: skip
def test_two_mistakes_at_once(course: Path, text: str, points: float) -> None:
    (course / rubric.FILE).write_text(text)
    verdict = graders.evaluate("batch_norm_forward", both_wrong, seed=0)
    assert verdict.points == points, str(verdict)
    if points == 1:
        (score,) = verdict.scores
        assert "eps is added to the standard deviation" in score.why and "beta is not added" in score.why


def test_a_pair_beside_a_third_mistake() -> None:
    """The pair leaves its share and the third its own; the smaller of them counts."""
    mistakes = {one.key: one for one in catalogue.answer_of("BatchNorm1d").mistakes}
    three = [mistakes[key] for key in ("eps_outside_root", "momentum_reversed", "unbiased_variance")]
    given = rubric_of('[default]\n"momentum_reversed+eps_outside_root" = 0.875\n')
    assert given.least("BatchNorm1d", three[:2])[0] == 0.875
    assert given.least("BatchNorm1d", three)[0] == 0.75
    assert rubric.SHIPPED.least("BatchNorm1d", three)[0] == 0.5


def test_a_share_is_of_the_parts_that_the_mistake_spoils() -> None:
    verdict = graders.evaluate("BatchNorm1d", _variant("BatchNorm1d", "momentum_reversed"), seed=0)
    assert [score.points for score in verdict.scores] == [1, 0.5, 1, 1, 1], str(verdict)


def momentum_reversed_and_bessel_twice(
    running_mean: Any, running_var: Any, x: Any, momentum: float = 0.1
) -> tuple[Any, Any]:
    unbiased_twice = x.var(0) * len(x) / (len(x) - 1)
    return (
        momentum * running_mean + (1 - momentum) * x.mean(0),
        momentum * running_var + (1 - momentum) * unbiased_twice,
    )


def test_of_two_mistakes_at_once_a_part_loses_by_those_that_spoil_it() -> None:
    verdict = graders.evaluate("update_running_stats", momentum_reversed_and_bessel_twice, seed=0)
    assert verdict.mistakes == ("momentum_reversed", "bessel_twice")
    shares = [rubric.SHIPPED.share("update_running_stats", key) for key in verdict.mistakes]
    assert shares == [0.5, 0.0]
    mean, variance = verdict.scores
    assert (mean.points, variance.points) == (0.5, 0.0)
    assert (mean.why, variance.why) == (verdict.message.split(". ")[0] + ".", "")


def _variant(exercise: str, key: str) -> Any:
    return next(one.variants[-1] for one in catalogue.answer_of(exercise).mistakes if one.key == key)


@pytest.mark.parametrize(
    "text,points",
    [
        (HALF, 2),
        ("[default]\neps_outside_root = 0.25\n", 1),
        (f"[default]\neps_outside_root = 0\n{HALF}", 2),
        ("[standardize]\neps_outside_root = 0.5\n", 3),
        ("[batch_norm_forward]\neps_outside_root = 0.7\n", 2.75),  # down to a quarter
        ("[batch_norm_forward]\neps_outside_root = 1\n", 4),
        ("", 3),
    ],
)
def test_a_course_has_its_own(course: Path, text: str, points: float) -> None:
    (course / rubric.FILE).write_text(text)
    assert near_miss().points == points


def test_one_that_lies_in_no_course_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / rubric.FILE).write_text(HALF)
    monkeypatch.chdir(tmp_path)
    assert near_miss().points == 3


MALFORMED = {
    "no TOML": ("[batch_norm_forward\n", "line 1"),
    "outside of a table": ("eps_missing = 0.5\n", "eps_missing"),
    "no exercise": ("[batch_norm_foward]\neps_missing = 0.5\n", "write batch_norm_forward"),
    "no mistake": ("[batch_norm_forward]\neps_outsid_root = 0.5\n", "write eps_outside_root"),
    "no mistake of any": ("[default]\nzzz = 0.5\n", "[default] zzz"),
    "no mistake in a pair": ('[batch_norm_forward]\n"eps_missing+beta_mising" = 0.5\n', "write beta_missing"),
    "a mistake with itself": ('[default]\n"eps_missing+eps_missing" = 0.5\n', "no pair"),
    "three at once": (
        '[default]\n"eps_missing+beta_missing+gamma_missing" = 0.5\n',
        "no pair",
    ),
    "a pair in both orders": (
        '[default]\n"eps_missing+beta_missing" = 0.5\n"beta_missing+eps_missing" = 0.25\n',
        "in both orders",
    ),
    "too much for a pair": (
        '[default]\n"eps_missing+beta_missing" = 1.5\n',
        "eps_missing+beta_missing = 1.5",
    ),
    "too much": ("[default]\neps_missing = 1.5\n", "eps_missing = 1.5"),
    "less than nothing": ("[default]\neps_missing = -0.5\n", "eps_missing = -0.5"),
    "no number": ('[default]\neps_missing = "half"\n', "eps_missing = 'half'"),
    "a truth value": ("[default]\neps_missing = true\n", "eps_missing = True"),
    "not a number": ("[default]\neps_missing = nan\n", "eps_missing = nan"),
}


@pytest.mark.parametrize("text,says", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_one_ends_in_a_sentence(course: Path, text: str, says: str) -> None:
    (course / rubric.FILE).write_text(text)
    with pytest.raises(MalformedRubric) as problem:
        near_miss()
    sentence = str(problem.value)
    assert sentence.startswith(rubric.FILE) and says in sentence and sentence.endswith(".")
    with pytest.raises(MalformedRubric):
        worker.look_through_rubric(worker.Options(rubric=text))

    def batch_norm_forward(*given: Any) -> Any:
        return eps_outside(*given)

    verdict = graders.check(batch_norm_forward)
    assert (verdict.points, verdict.message) == (0, sentence)


def test_one_that_is_no_text_ends_in_a_sentence(course: Path) -> None:
    (course / rubric.FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MalformedRubric, match="save it as UTF-8"):
        near_miss()


@pytest.fixture
def handed_in(tmp_path: Path) -> Path:
    """A course with a near miss; with it, a rubric was handed in that gives full points."""
    folder = make_course(tmp_path / "course", ["day26"])
    code, *_ = MISTAKEN["batch_norm_forward"]
    path = answered(folder, "near", "day26", {"batch_norm_forward": code})
    (path.parent / rubric.BESIDE).touch()
    (path.parent / rubric.FILE).write_text("[default]\neps_outside_root = 1\n")
    return folder


def run(course: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=course, capture_output=True, text=True, timeout=300)


def test_both_commands_read_the_course_s_own(handed_in: Path) -> None:
    (handed_in / rubric.FILE).write_text(HALF)
    ours = [*warm.python(), "-m", "graders", "autograde", "day26", "--json"]
    done = run(handed_in, ours)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["results"][0]["points"] == 2
    assert run(handed_in, nbgrader_command("autograde", "day26", "--force")).returncode == 0
    assert recorded(handed_in, "day26")["near"]["score"] == 2

    (handed_in / rubric.FILE).write_text("[batch_norm_forward]\neps_outsid_root = 0.5\n")
    sentence = "rubric.toml: [batch_norm_forward] eps_outsid_root is no mistake of batch_norm_forward"
    for command, status in ((ours, 2), (nbgrader_command("autograde", "day26", "--force"), 1)):
        refused = run(handed_in, command)
        assert refused.returncode == status
        assert sentence in refused.stderr and "Traceback" not in refused.stderr, refused.stderr
    assert recorded(handed_in, "day26")["near"]["score"] == 2
