"""What a student reads: every kind of candidate gets a sentence of its own."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable

import numpy
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import graders
from graders import check
from graders.judging import catalogue
from graders.judging.report import as_text
from graders.judging.verdict import MIME, Verdict
from tests.readability import grade, said_twice, words


def right(x, gamma, beta, eps=1e-5):
    x_hat = (x - x.mean(0)) / (x.var(0, correction=0) + eps).sqrt()
    return gamma * x_hat + beta, None


def judged(candidate: object, name: str = "batch_norm_forward") -> Verdict:
    return graders.evaluate(name, candidate, seed=0)


def named(candidate: Callable, name: str = "batch_norm_forward") -> Callable:
    candidate.__name__ = name
    return candidate


def test_unattempted() -> None:
    def batch_norm_forward(x, gamma, beta, eps=1e-5):
        raise NotImplementedError()

    verdict = check(batch_norm_forward)
    assert (verdict.outcome, verdict.points) == ("unattempted", 0)
    assert "not written yet" in verdict.message


def test_raises_with_the_students_own_line() -> None:
    def candidate(x, gamma, beta, eps=1e-5):
        mean = x.mena(0)
        return mean, None

    verdict = judged(candidate)
    assert verdict.outcome == "raised"
    assert "AttributeError" in verdict.message and "mena" in verdict.message
    assert "mean = x.mena(0)" in verdict.message
    assert "in every case" in verdict.message


def test_raises_inside_torch_points_at_the_students_line() -> None:
    def candidate(x, gamma, beta, eps=1e-5):
        return F.linear(x, gamma.reshape(1, -1)[:, 1:]), None

    assert "F.linear(x" in judged(candidate).message


def test_raises_in_one_case_only_names_it() -> None:
    def candidate(x, gamma, beta, eps=1e-5):
        if len(x) == 2:
            raise ValueError("two rows cannot be normalized")
        return right(x, gamma, beta, eps)

    verdict = judged(candidate)
    assert verdict.outcome == "raised"
    assert "«a batch of two" in verdict.message and "cannot be normalized" in verdict.message


@pytest.mark.parametrize(
    "candidate,outcome,text",
    [
        (lambda x, gamma, beta, eps=1e-5: None, "contract", "it returns nothing (None)"),
        (lambda x, gamma, beta, eps=1e-5: 3, "contract", "it returns an int"),
        (lambda x, gamma, beta, eps=1e-5: (None, None), "type", "Is a return missing?"),
        (
            lambda x, gamma, beta, eps=1e-5: (right(x, gamma, beta, eps)[0].tolist(), None),
            "type",
            "a list",
        ),
        (
            lambda x, gamma, beta, eps=1e-5: (right(x, gamma, beta, eps)[0].numpy(), None),
            "type",
            "a NumPy array",
        ),
        (
            lambda x, gamma, beta, eps=1e-5: right(x, gamma, beta, eps)[0],
            "type",
            "alone instead of the pair",
        ),
        (
            lambda x, gamma, beta, eps=1e-5: (right(x, gamma, beta, eps)[0].T, None),
            "shape",
            "right values",
        ),
        (
            lambda x, gamma, beta, eps=1e-5: (right(x, gamma, beta, eps)[0][None], None),
            "shape",
            "right values",
        ),
        (lambda x, gamma, beta, eps=1e-5: (x[:, :1], None), "shape", "where it should be"),
        (
            lambda x, gamma, beta, eps=1e-5: (right(x, gamma, beta, eps)[0].double(), None),
            "dtype",
            "float64",
        ),
        (
            lambda x, gamma, beta, eps=1e-5: (right(x, gamma, beta, eps)[0] + 0j, None),
            "dtype",
            "complex",
        ),
        (lambda x, gamma, beta, eps=1e-5: (x * float("nan"), None), "nan", "is nan"),
        (lambda x, gamma, beta, eps=1e-5: (x.to_sparse(), None), "type", "sparse"),
        (lambda x: x, "raised", "It is called as batch_norm_forward(x, gamma, beta, eps=1e-5)"),
        (lambda x, gamma, beta, eps=1e-5: exit(), "raised", "SystemExit"),
    ],
)
def test_odd_results(candidate: Callable, outcome: str, text: str) -> None:
    verdict = judged(candidate)
    assert verdict.outcome == outcome, str(verdict)
    assert text in verdict.message
    assert verdict.mistake is None and not verdict.passed


def test_right_values_in_another_form_keep_most_of_the_points() -> None:
    transposed = judged(lambda x, gamma, beta, eps=1e-5: (right(x, gamma, beta, eps)[0].T, None))
    alone = judged(lambda x, gamma, beta, eps=1e-5: right(x, gamma, beta, eps)[0])
    wrong = judged(lambda x, gamma, beta, eps=1e-5: (x.T, None))
    assert transposed.points == alone.points == 3
    assert wrong.points == 0


@pytest.mark.parametrize(
    "form,says",
    [
        (lambda y: y[None], "y has the shape (1, "),
        (lambda y: y.tolist(), "but it is a list."),
        (lambda y: y.numpy(), "but it is a NumPy array."),
    ],
)
def test_a_mistake_in_another_form_has_its_name_and_costs_both(form: Callable, says: str) -> None:
    def eps_outside(x, gamma, beta, eps=1e-5):
        return form(gamma * (x - x.mean(0)) / (x.var(0, correction=0).sqrt() + eps) + beta), None

    verdict = judged(eps_outside)
    assert verdict.mistakes == ("eps_outside_root",), str(verdict)
    assert verdict.points == 2.25  # three quarters of three quarters
    assert says in " ".join(verdict.notes)
    assert "right" not in " ".join(verdict.notes)


def test_a_number_in_place_of_a_tensor_has_its_mistake_named() -> None:
    def hessian_condition_number(x):
        singular = torch.linalg.svdvals(x)
        return float(singular.max() / singular.min())

    verdict = judged(hessian_condition_number, "hessian_condition_number")
    assert verdict.mistakes == ("condition_of_x",), str(verdict)


@pytest.mark.parametrize(
    "name,candidate",
    [
        ("batch_norm_forward", lambda x, gamma, beta, eps=1e-5: (10**400, None)),
        (
            "batch_norm_forward",
            lambda x, gamma, beta, eps=1e-5: (1 << 3_321_929, None),
        ),  # no text has so many
        ("batch_norm_forward", lambda x, gamma, beta, eps=1e-5: ([-(10**400)], None)),
        ("hessian_condition_number", lambda x: 10**400),
        ("convergence_rate", lambda eigenvalues, lr, beta=0.0: -(10**400)),
        ("count_parameters", lambda model: (10**400, 2**63)),
    ],
)
def test_a_whole_number_beyond_a_float_is_named(name: str, candidate: Callable) -> None:
    verdict = judged(candidate, name)
    assert (verdict.outcome, verdict.points) == ("type", 0), str(verdict)
    assert "it is a list" in verdict.message or "it is a very large int" in verdict.message


def test_changed_argument() -> None:
    def candidate(x, gamma, beta, eps=1e-5):
        x -= x.mean(0)
        x /= (x.pow(2).mean(0) + eps).sqrt()
        return gamma * x + beta, None

    verdict = judged(candidate)
    assert verdict.outcome == "changed"
    assert "changes in place what it is given: x." in verdict.message
    assert 0 < verdict.points < verdict.max_points


def test_wrong_device_is_seen_without_a_gpu() -> None:
    def makes_a_cpu_tensor(x, gamma, beta, eps=1e-5):
        y = torch.zeros(x.shape, dtype=x.dtype)
        y[:] = right(x, gamma, beta, eps)[0]
        return y, None

    def adds_a_cpu_tensor(x, gamma, beta, eps=1e-5):
        return right(x, gamma, beta, eps)[0] + torch.zeros(x.shape[1], dtype=x.dtype), None

    def names_the_device(x, gamma, beta, eps=1e-5):
        return right(x, gamma, beta, eps)[0] * torch.ones(x.shape[1], device="cpu", dtype=x.dtype), None

    for candidate in (makes_a_cpu_tensor, adds_a_cpu_tensor, names_the_device):
        verdict = judged(candidate)
        assert verdict.outcome == "device", str(verdict)
        assert verdict.points == 3
        assert "GPU" in verdict.message


def test_numbers_may_go_by_way_of_the_cpu() -> None:
    """A GPU's numbers may be copied into a tensor on the CPU, and what is worked out there be moved back."""

    def fills_by_column(x, gamma, beta, eps=1e-5):
        y = torch.empty(x.shape, dtype=x.dtype)
        for j in range(x.shape[1]):
            y[:, j] = right(x, gamma, beta, eps)[0][:, j]
        return y.to(x.device), None

    def copies(x, gamma, beta, eps=1e-5):
        y = torch.zeros(x.shape, dtype=x.dtype)
        return y.copy_(right(x, gamma, beta, eps)[0]).to(x.device), None

    def works_on_the_cpu(x, gamma, beta, eps=1e-5):
        order = torch.arange(x.shape[1])
        y = right(x.cpu()[:, order], gamma.cpu(), beta.cpu(), eps)[0]
        return y.to(x.device), None

    def leaves_it_there(x, gamma, beta, eps=1e-5):
        y = torch.empty(x.shape, dtype=x.dtype)
        y[:] = right(x, gamma, beta, eps)[0]
        return y, None

    for candidate in (fills_by_column, copies, works_on_the_cpu):
        assert judged(candidate).passed, str(judged(candidate))
    assert "y is on cpu while the inputs are on another device" in judged(leaves_it_there).message


def test_values_may_be_asked_for_and_helpers_moved() -> None:
    def asks(x, gamma, beta, eps=1e-5):
        scale = 1.0 + 0 * x.sum().item()
        return right(x, gamma, beta, eps)[0] * scale, None

    def moves(x, gamma, beta, eps=1e-5):
        ones = torch.ones(x.shape[1]).to(x)
        return right(x, gamma, beta, eps)[0] * ones, None

    def by_numpy(x, gamma, beta, eps=1e-5):
        array = x.cpu().numpy()
        x_hat = (array - array.mean(0)) / numpy.sqrt(array.var(0) + eps)
        return gamma * torch.from_numpy(x_hat).to(x) + beta, None

    for candidate in (asks, moves, by_numpy):
        assert judged(candidate).passed, str(judged(candidate))


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()

    def forward(self, x, gamma, beta, eps):
        return getattr(F, "batch" + "_norm")(x, None, None, gamma, beta, True, 0.1, eps)


def _by_module(x, gamma, beta, eps):
    layer = nn.BatchNorm1d(x.shape[1], eps=eps).to(x)
    layer.weight.data, layer.bias.data = gamma, beta
    return layer(x)


@pytest.mark.parametrize(
    "library",
    [
        lambda x, gamma, beta, eps: F.batch_norm(x, None, None, gamma, beta, True, 0.1, eps),
        lambda x, gamma, beta, eps: torch.batch_norm(x, gamma, beta, None, None, True, 0.1, eps, False),
        lambda x, gamma, beta, eps: torch.ops.aten.native_batch_norm(
            x, gamma, beta, None, None, True, 0.1, eps
        )[0],
        lambda x, gamma, beta, eps: F.layer_norm(x.T, (len(x),), eps=eps).T * gamma + beta,
        lambda x, gamma, beta, eps: F.instance_norm(x.T[None], eps=eps)[0].T * gamma + beta,
        lambda x, gamma, beta, eps: F.group_norm(x.T[None], x.shape[1], eps=eps)[0].T * gamma + beta,
        lambda x, gamma, beta, eps: _Layer()(x, gamma, beta, eps),
        _by_module,
    ],
)
def test_library_operator_by_any_path(library: Callable) -> None:
    def candidate(x, gamma, beta, eps=1e-5):
        if len(x) == 1:
            return beta.expand_as(x).clone(), None
        return library(x, gamma, beta, eps), None

    verdict = judged(candidate)
    assert verdict.outcome == "library", str(verdict)
    assert verdict.points == 0
    assert "the answer itself" in verdict.message


def test_autograd_is_barred_where_the_row_says_so() -> None:
    def forward(x, gamma, beta, eps=1e-5):
        return right(x, gamma, beta, eps)[0], (x, gamma, beta, eps)

    def by_grad(dy, cache):
        leaves = [tensor.clone().requires_grad_() for tensor in cache[:3]]
        return torch.autograd.grad(right(*leaves, cache[3])[0], leaves, dy)

    def by_backward(dy, cache):
        leaves = [tensor.clone().requires_grad_() for tensor in cache[:3]]
        right(*leaves, cache[3])[0].backward(dy)
        return tuple(leaf.grad for leaf in leaves)

    for backward in (by_grad, by_backward):
        verdict = judged((forward, backward), "batch_norm_backward")
        assert verdict.outcome == "library" and "autograd" in verdict.message
        assert verdict.points == 0


def test_backward_with_a_wrong_forward_says_so() -> None:
    def forward(x, gamma, beta, eps=1e-5):
        std = x.std(0) + eps
        return gamma * (x - x.mean(0)) / std + beta, ((x - x.mean(0)) / std, gamma, std)

    def backward(dy, cache):
        x_hat, gamma, std = cache
        return (
            gamma / std * (dy - dy.mean(0) - x_hat * (dy * x_hat).mean(0)),
            (dy * x_hat).sum(0),
            dy.sum(0),
        )

    verdict = judged((forward, backward), "batch_norm_backward")
    assert not verdict.passed
    assert any("batch_norm_forward gives is not right yet" in note for note in verdict.notes)


def test_parts_are_paid_by_themselves() -> None:
    def forward(x, gamma, beta, eps=1e-5):
        std = (x.var(0, correction=0) + eps).sqrt()
        return gamma * (x - x.mean(0)) / std + beta, ((x - x.mean(0)) / std, gamma, std)

    def backward(dy, cache):
        x_hat, gamma, std = cache
        return dy * gamma / std, (dy * x_hat).mean(0), dy.sum(0)

    verdict = judged((forward, backward), "batch_norm_backward")
    assert [score.points for score in verdict.scores] == [0, 0, 1]
    assert verdict.mistake == "statistics_constant"
    assert any("too small by the factor N" in note for note in verdict.notes)


def test_unknown_names_and_what_is_no_function() -> None:
    def batch_norm_foward(x):
        return x

    assert "Did you mean batch_norm_forward?" in check(batch_norm_foward).message
    assert "lambda" in check(lambda x: x).message
    assert "without calling it" in check(torch.zeros(3)).message
    assert "check needs the function" in check().message
    assert all(verdict.points == 0 for verdict in (check(), check(batch_norm_foward)))
    with pytest.raises(graders.UnknownExercise, match="no exercise called nothing_like_it"):
        graders.evaluate("nothing_like_it", right)


def test_backward_alone_says_how_to_check_it() -> None:
    verdict = check(named(lambda dy, cache: None, "batch_norm_backward"))
    assert "check(batch_norm_forward, batch_norm_backward)" in verdict.message
    with pytest.raises(TypeError, match="is checked with"):
        graders.evaluate("batch_norm_backward", right)


def test_what_a_notebook_shows_and_stores() -> None:
    verdict = check(named(lambda x, gamma, beta, eps=1e-5: right(x, gamma, beta, eps), "batch_norm_forward"))
    bundle = verdict._repr_mimebundle_()
    assert verdict.passed
    assert bundle["text/plain"] == repr(verdict) == "4"
    assert float(bundle["text/plain"]) == verdict.points
    assert 'data-points="4"' in bundle["text/html"] and 'data-outcome="passed"' in bundle["text/html"]
    stored = json.loads(json.dumps(bundle[MIME]))
    assert stored["points"] == stored["max_points"] == 4 and stored["passed"] is True


def test_a_report_escapes_what_the_student_wrote() -> None:
    def candidate(x, gamma, beta, eps=1e-5):
        raise ValueError("<script>alert(1)</script>")

    assert "<script>" not in judged(candidate)._repr_mimebundle_()["text/html"]


def test_text_report_has_the_cases_and_both_values() -> None:
    text = str(judged(lambda x, gamma, beta, eps=1e-5: (right(x, gamma, beta, eps)[0] + 0.5, None)))
    assert "batch_norm_forward: 0 of 4 points" in text
    assert "a constant feature" in text and "wrong" in text
    assert "yours" in text and "expected" in text
    assert "off by 0.5" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_place_is_told_once() -> None:
    unknown = str(judged(lambda v, g: 2 * v, "weight_norm"))
    assert unknown.count("In the case «") == 1 and "is the only case" not in unknown

    def no_diagnosis(hvp, v, iterations):
        return v.norm()

    assert str(judged(no_diagnosis, "top_eigenvalue")).count("In the case «") == 1


def test_arrays_are_shown_rather_than_an_exception() -> None:
    def candidate(x, num_groups, gamma, beta, eps=1e-5):
        n, c, h, w = x.shape
        groups = x.reshape(n, c // num_groups, num_groups, h, w)
        centred = groups - groups.mean((1, 3, 4), keepdim=True)
        x_hat = centred / (centred.square().mean((1, 3, 4), keepdim=True) + eps).sqrt()
        return x_hat.reshape(x.shape) * gamma[:, None, None] + beta[:, None, None]

    for seed in range(5):
        verdict = graders.evaluate("group_norm", candidate, seed=seed)
        assert verdict.evidence and verdict.evidence.observation == "y", str(verdict)


def test_nothing_reaches_stderr_or_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    import sys

    def candidate(x, gamma, beta, eps=1e-5):
        print("looking at", x.shape)
        print("oops", file=sys.stderr)
        warnings.warn("careful", stacklevel=1)
        return right(x, gamma, beta, eps)[0] * 2, None

    verdict = judged(candidate)
    assert capfd.readouterr() == ("", "")
    assert verdict.printed.startswith("looking at")
    assert "looking at" in str(verdict)


def test_endless_printing_is_cut() -> None:
    def candidate(x, gamma, beta, eps=1e-5):
        for _ in range(1000):
            print("x" * 100)
        return x, None

    assert len(judged(candidate).printed) <= 2000


def test_global_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    judged(right)
    assert torch.equal(torch.rand(3), want)


@pytest.mark.parametrize("own", [numpy.ones(3), torch.ones(3), {"a": 1}, float("nan")])
def test_a_candidate_may_use_objects_of_its_notebook(own: object) -> None:
    """Whose `==` gives arrays, or anything else."""
    code = (
        "def batch_norm_forward(x, gamma, beta, eps=1e-5):\n"
        "    own\n"
        "    x_hat = (x - x.mean(0)) / (x.var(0, correction=0) + eps).sqrt()\n"
        "    return gamma * x_hat + beta, None\n"
    )
    names = {"own": own}
    exec(code, names)
    assert judged(names["batch_norm_forward"]).passed


# -- how they are written ----------------------------------------------------------------------------

MOST_WORDS = 60
HIGHEST_GRADE = 9.0
#: A call with arguments, or an argument that is set to a part of something else: code to type.
CODE = re.compile(r"\.\w+\([^)]+\)|\w=\w+\.\w")


def messages() -> dict[str, str]:
    """Every sentence of a known mistake that a student may read, and one mistake that has it."""
    found: dict[str, str] = {}
    for name in catalogue.exercises():
        answer = catalogue.answer_of(name)
        for one in (*answer.mistakes, *(one for basis in answer.bases for one in basis.mistakes)):
            found.setdefault(one.message, f"{name}: {one.key}")
    return found


MESSAGES = messages()


def test_messages_are_short() -> None:
    long = {whose: len(words(text)) for text, whose in MESSAGES.items() if len(words(text)) > MOST_WORDS}
    assert not long, long


def test_messages_are_easy_to_read() -> None:
    hard = {whose: round(grade(text), 1) for text, whose in MESSAGES.items() if grade(text) > HIGHEST_GRADE}
    assert not hard, hard


def test_messages_say_nothing_twice() -> None:
    twice = {whose: said for text, whose in MESSAGES.items() if (said := said_twice(text))}
    assert not twice, twice


def test_messages_point_at_the_idea_and_not_at_code() -> None:
    typed = {whose: text for text, whose in MESSAGES.items() if CODE.search(text)}
    assert not typed, typed


def test_what_is_hard_or_said_twice_is_seen() -> None:
    easy = "The variance is divided by its root. What is left has a spread of 1."
    hard = "Notwithstanding considerable implementational similarity, interchangeability remains illusory."
    assert grade(easy) < 3 < HIGHEST_GRADE < grade(hard)
    assert grade("The variance and the covariance.") < grade("The necessity and the opportunity.")
    assert said_twice("The last norm of this list is divided by the first. " * 2)
    assert said_twice(easy) is None
    assert CODE.search("Use x.var(0, correction=0) instead.") and not CODE.search("Call model.eval() before.")


@pytest.mark.parametrize("name", [found[-1].name for found in catalogue.days().values()])
def test_a_report_says_nothing_twice(name: str) -> None:
    """Message, notes and what the evidence shows, for one known mistake a day."""
    mistake = catalogue.answer_of(name).mistakes[-1]
    verdict = graders.evaluate(name, mistake.variants[0], seed=0)
    told = as_text(verdict).split("\nRead: ")[0].split("\n", 1)[1]
    assert not said_twice(" ".join(told.split())), told
