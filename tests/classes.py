"""A made-up class that hands in day 26: who writes what, by chance, but the same at every call.

Right answers in several hands, known mistakes, and wrong work that no known mistake explains, each of the
latter written in more than one way.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

from tests.courses import answered, solution_code

DAY = "day26"
NAMES = tuple(
    """
    Ada Aiko Amara Anders Aylin Bao Beatriz Boris Carmen Chidi Chloe Dalia Davit Diego Elif Emeka Esra
    Farid Fatou Finn Gaia Greta Hana Hugo Ines Ivan Jana Jiho Joao Kaito Karim Keiko Lara Leif Lin Lucia
    Malik Marta Mei Milan Nadia Nils Noor Olga Omar Paola Pavel Priya Quentin Rania Rosa Samir Sofia
    Tariq Thea Tomas Uma Viktor Wanja Yara
    """.split()  # noqa: SIM905 (a name a line would be a page)
)

#: What is written for batch_norm_forward, beside the solution, each with the mean and the divisor.
_FORWARD = """def batch_norm_forward(x, gamma, beta, eps=1e-5):
    mean = {mean}
    std = {std}
    x_hat = (x - mean) / std
    return {y}, (x_hat, gamma, std)
"""
_PARTS = {"mean": "x.mean(0)", "std": "torch.sqrt(x.var(0, correction=0) + eps)", "y": "gamma * x_hat + beta"}


def _forward(**parts: str) -> str:
    return _FORWARD.format(**_PARTS | parts)


#: Known mistakes, by their keys.
FORWARD_MISTAKES = {
    "eps_outside_root": _forward(std="x.std(0, correction=0) + eps"),
    "unbiased_variance": _forward(std="torch.sqrt(x.var(0) + eps)"),
    "rows_normalized": _forward(
        mean="x.mean(1, keepdim=True)", std="torch.sqrt(x.var(1, correction=0, keepdim=True) + eps)"
    ),
    "beta_missing": _forward(y="gamma * x_hat"),
    "variance_without_root": _forward(std="x.var(0, correction=0) + eps"),
}
#: Wrong work without a name, each in several hands.
FORWARD_UNKNOWN = {
    "mean absolute deviation": (
        _forward(std="(x - x.mean(0)).abs().mean(0) + eps"),
        """def batch_norm_forward(x, gamma, beta, eps=1e-5):
    columns = []
    for j in range(x.shape[1]):
        c = x[:, j] - x[:, j].sum() / len(x)
        columns.append(gamma[j] * c / (c.abs().sum() / len(x) + eps) + beta[j])
    return torch.stack(columns, 1), (x, gamma, beta)
""",
        """def batch_norm_forward(batch, gamma, beta, eps=1e-5):
    n = batch.shape[0]
    mu = torch.einsum("nd->d", batch) / n
    spread = torch.linalg.vector_norm(batch - mu, ord=1, dim=0) / n
    return beta + gamma * (batch - mu) / (spread + eps), mu
""",
    ),
    "range": (
        _forward(std="x.amax(0) - x.amin(0) + eps"),
        """def batch_norm_forward(x, gamma, beta, eps=1e-5):
    low, high = x.min(0).values, x.max(0).values
    scaled = (x - x.mean(0)) / (high - low + eps)
    return gamma * scaled + beta, (low, high)
""",
    ),
}
BACKWARD_MISTAKES = {
    "gradients not summed": """def batch_norm_backward(dy, cache):
    x_hat, gamma, std = cache
    dx = gamma / std * (dy - dy.mean(0) - x_hat * (dy * x_hat).mean(0))
    return dx, (dy * x_hat).mean(0), dy.mean(0)
""",
    "statistics constant": """def batch_norm_backward(dy, cache):
    x_hat, gamma, std = cache
    return gamma / std * dy, (dy * x_hat).sum(0), dy.sum(0)
""",
}
SLIPS = {
    "batch_norm_forward": "def batch_norm_forward(x, gamma, beta, eps=1e-5)\n    return x",
    "identity_parameters": "def identity_parameters(x, eps=1e-5):\n    return x.mean(0), x.var(0).sqrt()",
    "numerical_gradient": """def numerical_gradient(f, x, dy, h=1e-6):
    g = torch.zeros_like(x)
    for k in range(x.numel()):
        step = torch.zeros_like(x)
        step.view(-1)[k] = h
        g.view(-1)[k] = ((f(x + step) - f(x)) * dy).sum() / h
    return g
""",
}


def works(count: int = 60, seed: int = 26) -> dict[str, dict[str, str]]:
    """For each student the answer cells that are handed in; what is not there was left as released."""
    draw = random.Random(seed)
    right = solution_code(DAY)
    names = list(NAMES[:count]) + [f"student{number}" for number in range(len(NAMES), count)]
    return {name.lower(): _work(draw, right) for name in names}


def _work(draw: random.Random, right: Mapping[str, str]) -> dict[str, str]:
    able = draw.random()
    work = {name: code for name, code in right.items() if draw.random() < 0.55 + 0.45 * able}
    unknown = [code for ways in FORWARD_UNKNOWN.values() for code in ways]
    if draw.random() > 0.25 + 0.5 * able:
        kinds = [*FORWARD_MISTAKES.values(), FORWARD_MISTAKES["eps_outside_root"], *unknown]
        work["batch_norm_forward"] = draw.choice(kinds)
        if work["batch_norm_forward"] == FORWARD_MISTAKES["eps_outside_root"] and draw.random() < 0.8:
            work["identity_parameters"] = SLIPS["identity_parameters"]
    if draw.random() > 0.4 + 0.5 * able:
        work["batch_norm_backward"] = draw.choice(list(BACKWARD_MISTAKES.values()))
    for name, code in SLIPS.items():
        if draw.random() > 0.75 + 0.25 * able:
            work[name] = code
    return work


def hand_in(course: Path, handed_in: Mapping[str, Mapping[str, str]], when: str | None = None) -> None:
    """Lay these works into submitted/; when: the time in their timestamps, none if None."""
    for student, work in handed_in.items():
        path = answered(course, student, DAY, work)
        if when:
            (path.parent / "timestamp.txt").write_text(when)


def named(course: Path) -> None:
    """Give the students of a course first and last names in the gradebook."""
    import sqlite3

    with sqlite3.connect(course / "gradebook.db") as book:
        for (student,) in book.execute("SELECT id FROM student").fetchall():
            book.execute(
                "UPDATE student SET first_name = ?, last_name = ? WHERE id = ?",
                (student.capitalize(), f"{student[::-1].capitalize()}son", student),
            )
