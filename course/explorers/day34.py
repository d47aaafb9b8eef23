"""Day 34: four paths on two surfaces, and the rules of a step."""

from __future__ import annotations

from course.experiments import day34 as experiments
from course.explorers.shared import Explorer, Goal, choice_slider, float_slider
from course.figures import day34 as figures


def two_by_two_explorer() -> Explorer:
    """Day 34: least squares on two features, with momentum, normalization, neither and both."""

    def momentum_wins(state: experiments.TwoByTwo) -> bool:
        ball, normalized = state.panels["momentum"].steps, state.panels["normalization"].steps
        return not state.whitened and ball is not None and (normalized is None or 2 * ball < normalized)

    return Explorer(
        title="Four ways down, each with its best lr and beta",
        look_for=(
            "Left the raw surface, right the normalized one. Which of the two helps against a scale, which "
            "against a correlation?"
        ),
        goal=Goal(
            "with standardized features, let momentum alone take less than half the steps of normalization.",
            momentum_wins,
        ),
        controls={
            "scale": float_slider("scale of x[1]", 5, 1, 10, 0.25),
            "correlation": float_slider("correlation", 0.5, 0, 0.95, 0.05),
            "whiten": choice_slider("normalization", False, [("standardize", False), ("whiten", True)]),
        },
        compute=experiments.two_by_two,
        drawing=figures.TwoByTwoDrawing(),
    )


def step_rules_explorer() -> Explorer:
    """Day 34: one rule for the step, without and with momentum, on a raw or a standardized surface."""

    def both_arrive(state: experiments.RulePaths) -> bool:
        raw = state.hessian[1, 1].item() > 1
        return state.rule == "sign" and raw and all(loss[-1] < 1e-3 for loss in state.losses)

    return Explorer(
        title="One surface, five rules for the step",
        look_for=(
            "Both runs take the same rule and the same lr. Where does each point, how long is its step near "
            "the minimum, and what does standardizing the surface change for it?"
        ),
        goal=Goal(
            "with sign steps on the raw surface, end both runs below a thousandth of the first loss.",
            both_arrive,
        ),
        controls={
            "rule": choice_slider(
                "step", "gradient", [(label, name) for name, label in experiments.RULES.items()]
            ),
            "surface": choice_slider("surface", "raw", ["raw", "standardized"]),
            "correlation": float_slider("correlation", 0.5, 0, 0.9, 0.05),
            "lr": float_slider("lr", 0.06, 0.02, 0.6, 0.02),
            "decay": choice_slider("lr over time", False, [("constant", False), ("falls to 0", True)]),
        },
        compute=experiments.rule_paths,
        drawing=figures.RulePathsDrawing(),
    )
