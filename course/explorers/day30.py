"""Day 30: the noise of a batch mean, and a weight whose length nobody sees."""

from __future__ import annotations

from course.experiments import day30 as experiments
from course.explorers.shared import Explorer, Goal, choice_slider, log_slider
from course.figures import day30 as figures


def mean_noise_explorer() -> Explorer:
    """Day 30: means of mini-batches of one feature, and σ/√N."""
    return Explorer(
        title="How far off is the mean of a batch?",
        look_for=(
            "Each blue bar counts batches, and the line is the hill that σ/√N promises. They do not "
            "agree. Which slider makes them agree, and which of the others makes it worse?"
        ),
        goal=Goal(
            "make the mean of a batch at least five times as noisy as σ/√N says.",
            lambda state: state.ratio >= 5,
        ),
        controls={
            "size": choice_slider("batch size N", 16, list(experiments.SIZES)),
            "kind": choice_slider(
                "feature", "normal", [("normal", "normal"), ("skewed", "skewed"), ("a pixel", "pixel")]
            ),
            "order": choice_slider("order", "sorted", ["shuffled", "sorted"]),
        },
        compute=experiments.mean_noise,
        drawing=figures.MeanNoiseDrawing(),
    )


def decay_explorer() -> Explorer:
    """Day 30: the length of a weight before a normalization, and the angle of its steps."""

    def compute(lr: float, weight_decay: float, start: float, drop: float) -> experiments.Decay:
        return experiments.scale_free_steps(lr, weight_decay, start, steps=1500, drop_at=500, drop_to=drop)

    def rests_at_one_degree(state: experiments.Decay) -> bool:
        at_rest = abs(state.norm[-1].item() / state.norm_end - 1) < 0.05
        return at_rest and abs(state.angle[-1].item() - 1) < 0.1

    return Explorer(
        title="Weight decay on a weight that has no scale",
        look_for=(
            "The dashed lines are where the length and the angle should settle. Which sliders move them, and "
            "which only decide how long it takes? From step 500 on the rate may be another."
        ),
        goal=Goal("let w come to rest with steps of one degree, within a tenth.", rests_at_one_degree),
        controls={
            "lr": log_slider("lr", 0.1, -3, 1),
            "weight_decay": log_slider("weight decay", 1e-2, -6, -1),
            "start": log_slider("‖w‖ at start", 1, -1, 1),
            "drop": choice_slider(
                "lr from step 500 on, times", 1.0, [("1", 1.0), ("1/3", 1 / 3), ("1/10", 0.1)]
            ),
        },
        compute=compute,
        drawing=figures.DecayDrawing(),
    )
