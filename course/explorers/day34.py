"""Day 34: four paths on two surfaces, and steps against the condition number."""

from __future__ import annotations

from course.experiments import day34 as experiments
from course.explorers.shared import Explorer, Goal, choice_slider, float_slider, log_slider
from course.figures import day34 as figures


def two_by_two_explorer() -> Explorer:
    """Day 34: least squares on two features, with momentum, normalization, neither and both."""

    def momentum_wins(state: experiments.TwoByTwo) -> bool:
        ball, normalized = state.panels["momentum"].steps, state.panels["normalization"].steps
        return not state.whitened and ball is not None and (normalized is None or 2 * ball < normalized)

    return Explorer(
        title="Four ways down, each with its best lr and beta",
        look_for=(
            "Left the raw surface, right the normalized one. Momentum changes the path, not the surface; "
            "normalization changes the surface. Which of the two helps against a scale, which against a "
            "correlation?"
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


def step_curves_explorer() -> Explorer:
    """Day 34: steps to a tolerance against the condition number, and what either method is worth."""

    def even(state: experiments.Curves) -> bool:
        ball, normalized = state.steps["momentum"], state.steps["normalization"]
        return state.before > 99 and abs(ball - normalized) <= 0.02 * ball

    return Explorer(
        title="Steps against the condition number",
        look_for=(
            "Momentum moves the grey dot straight down to the dashed line, normalization along the solid one "
            "to the left. The power says what normalization leaves: condition number ** power."
        ),
        goal=Goal(
            "for a condition number of 100 or more, make both worth the same, within 2 %. Which power is it?",
            even,
        ),
        controls={
            "before": log_slider("condition", 1e2, 0, 4),
            "power": float_slider("power", 0.25, 0, 1, 0.05),
            "tolerance": log_slider("tolerance", 1e-6, -12, -1),
        },
        compute=experiments.step_curves,
        drawing=figures.StepCurvesDrawing(),
    )
