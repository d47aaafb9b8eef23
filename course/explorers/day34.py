"""Day 34: four paths on two surfaces, and the rules of a step."""

from __future__ import annotations

from typing import Any

from course.experiments import day34 as experiments
from course.explorers.explorer import Explorer, choice, slider


def two_by_two_explorer() -> Explorer:
    """Day 34: least squares on two features, with momentum, normalization, neither and both."""

    def compute(scale: float, correlation: float, whiten: bool) -> dict[str, Any]:
        panels = experiments.two_by_two(scale, correlation, whiten).panels
        ball, normalized = panels["momentum"].steps, panels["normalization"].steps
        return {
            "panels": {name: told(panel) for name, panel in panels.items()},
            "reached": not whiten and ball is not None and (normalized is None or 2 * ball < normalized),
        }

    def told(panel: experiments.Panel) -> dict[str, Any]:
        loss = 0.5 * ((panel.path @ panel.hessian) * panel.path).sum(dim=1)
        return {
            "hessian": panel.hessian,
            "path": list(panel.path.T),
            "loss": loss / loss[0],
            "condition": panel.condition,
            "lr": panel.lr,
            "beta": panel.beta,
            "steps": panel.steps,
        }

    return Explorer(
        "day34_two_by_two",
        title="Four ways down, each with its best lr and beta",
        look_for=(
            "Two runs on the raw surface, two on the normalized one. Which helps against a scale, momentum "
            "or normalization, and which against a correlation?"
        ),
        goal="with standardized features, let momentum alone take less than half the steps of normalization.",
        controls={
            "scale": slider("scale of x[1]", 5, 1, 10, 0.25),
            "correlation": slider("correlation", 0.5, 0, 0.95, 0.05),
            "whiten": choice("normalization", False, [("standardize", False), ("whiten", True)], "buttons"),
        },
        compute=compute,
        data={
            "runs": experiments.RUNS,
            "longest": experiments.LONGEST,
            "tolerance": experiments.TOLERANCE,
            "slack": experiments.SLACK,
        },
    )


def step_rules_explorer() -> Explorer:
    """Day 34: one rule for the step, without and with momentum, on a raw or a standardized surface."""
    scale, steps, goal = 5, 60, 1e-3

    def compute(rule: str, surface: str, correlation: float, lr: float, decay: bool) -> dict[str, Any]:
        state = experiments.rule_paths(rule, surface, correlation, lr, decay, steps)
        arrived = all(loss[-1].item() < goal for loss in state.losses)
        return {
            "hessian": state.hessian,
            "condition": experiments.condition_number(state.hessian),
            "runs": [
                {"path": list(path.T), "loss": loss, "moves": path.diff(dim=0).norm(dim=1)}
                for path, loss in zip(state.paths, state.losses, strict=True)
            ],
            "reached": rule == "sign" and surface == "raw" and arrived,
        }

    return Explorer(
        "day34_step_rules",
        title="One surface, five rules for the step",
        look_for=(
            "Both runs take the same rule and the same lr. Where does each point, how long is its step near "
            "the minimum, and what does standardizing the surface change for it?"
        ),
        goal="with sign steps on the raw surface, end both runs below a thousandth of the first loss.",
        controls={
            "rule": choice(
                "step", "gradient", [(label, name) for name, label in experiments.RULES.items()], "buttons"
            ),
            "surface": choice("surface", "raw", ["raw", "standardized"], "buttons"),
            "decay": choice("lr over time", False, [("constant", False), ("falls to 0", True)], "buttons"),
            "correlation": slider("correlation", 0.5, 0, 0.9, 0.05),
            "lr": slider("lr", 0.06, 0.02, 0.6, 0.02),
        },
        compute=compute,
        data={"scale": scale, "betas": [0.0, experiments.BETA], "steps": steps, "goal": goal},
    )
