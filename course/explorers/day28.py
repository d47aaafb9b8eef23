"""Day 28: one channel of feature maps, a learning rate to choose, data that look different."""

from __future__ import annotations

from course.experiments import day28 as experiments
from course.explorers.shared import Explorer, Goal, choice_slider, float_slider
from course.figures import day28 as figures


def channel_explorer() -> Explorer:
    """Day 28: the values that share one mean, and what becomes of them."""
    return Explorer(
        title="Which values share a mean?",
        look_for=(
            "Batch norm for images takes one mean for all places of all images of a channel. What if every "
            "place had a mean of its own? Look at the digits below, and at the number of images."
        ),
        goal=Goal(
            "leave as few different values in the lower picture as these sliders can.",
            lambda state: state.values_per_mean == 2,
        ),
        controls={
            "channel": choice_slider("channel", 0, list(range(len(experiments.FILTERS)))),
            "num_images": choice_slider("images N", 8, [2, 4, 8, 16, 32, 64]),
            "axes": choice_slider("mean over", (0, 2, 3), [("N only", (0,)), ("N, H, W", (0, 2, 3))]),
        },
        compute=experiments.channel_view,
        drawing=figures.ChannelDrawing(),
    )


def learning_rate_explorer() -> Explorer:
    """Day 28: the training curves at each learning rate of the sweep."""
    sweeps = tuple(experiments.learning_rate_sweep(kind) for kind in experiments.KINDS)

    def compute(index: int, shown: str) -> figures.SweepFrame:
        kinds = experiments.KINDS if shown == "both" else (shown,)
        return figures.SweepFrame(sweeps, index, kinds)

    def only_with(state: figures.SweepFrame) -> bool:
        none, normalized = (sweep.final[state.index] for sweep in state.sweeps)
        # 2.3 is log(10), the loss of guessing.
        return ((none > 2) & (normalized < 1)).all().item()

    rates = [(f"{rate:g}", number) for number, rate in enumerate(experiments.LEARNING_RATES)]
    return Explorer(
        title="Training at seven learning rates",
        look_for=(
            "Each rate was tried with five seeds. Do the seeds of one kind always share their fate? Where "
            "does the choice of the rate matter, and where hardly?"
        ),
        goal=Goal(
            "find a rate at which all seeds end below 1 with batch norm and none below 2 without.", only_with
        ),
        controls={
            "index": choice_slider("learning rate", 2, rates),
            "shown": choice_slider(
                "batch norm", "both", [("without", "none"), ("with", "before"), ("both", "both")]
            ),
        },
        compute=compute,
        drawing=figures.SweepDrawing(sweeps),
    )


def new_data_explorer() -> Explorer:
    """Day 28: images of another contrast and brightness, and statistics estimated anew."""
    return Explorer(
        title="The same digits from another camera",
        look_for=(
            "The weights never change. Black are the statistics that training stored, orange those "
            "estimated anew from images like the new ones."
        ),
        goal=Goal(
            "lose more than half of the answers with the stored statistics, and bring at least 95 % back "
            "with as few new images as you can.",
            lambda state: state.accuracy_stored < 50 and state.accuracy_new >= 95 and state.num_images <= 8,
        ),
        controls={
            "contrast": float_slider("contrast", 0.4, 0.1, 2, 0.1),
            "brightness": float_slider("brightness", 0.2, -0.5, 1, 0.1),
            "num_images": choice_slider("new images", 64, [2, 4, 8, 16, 64, 256, 1024]),
        },
        compute=experiments.new_data,
        drawing=figures.NewDataDrawing(),
    )
