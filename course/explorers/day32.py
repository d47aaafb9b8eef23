"""Day 32: one entry in the company of small and large batches, one batch on several devices."""

from __future__ import annotations

from course.experiments import day32 as experiments
from course.explorers.shared import Explorer, Goal, choice_slider, float_slider
from course.figures import day32 as figures

DRAWS = 300
LIMIT = 0.1


def batch_size_explorer() -> Explorer:
    """Day 32: what batch norm makes of one entry, in batches of 2 to 256; group norm beside it."""
    features = experiments.hidden_features()

    def compute(batch_size: int, sample: int) -> experiments.Company:
        return experiments.company(features, sample, 0, batch_size, draws=DRAWS)

    def smallest(state: experiments.Company) -> bool:
        enough = [
            size
            for size, spread in zip(experiments.BATCH_SIZES, state.spreads, strict=True)
            if spread < LIMIT
        ]
        return state.batch_size == min(enough, default=None)

    return Explorer(
        title="One entry in the company of small and large batches",
        look_for=(
            "Every blue dot is the same entry of the same image, normalized in another batch of N images. "
            "Watch what the size of the batch does to the dots, and what it does to group norm."
        ),
        goal=Goal(f"find the smallest batch in which the dots spread by less than {LIMIT}.", smallest),
        controls={
            "batch_size": choice_slider("batch size N", 8, list(experiments.BATCH_SIZES)),
            "sample": choice_slider("image", 0, list(range(10))),
        },
        compute=compute,
        drawing=figures.CompanyDrawing(DRAWS),
    )


def devices_explorer() -> Explorer:
    """Day 32: statistics of several devices, merged against averaged."""
    return Explorer(
        title="One batch on several devices",
        look_for=(
            "The last two rows are two ways to make one mean and one variance of those of the devices. With "
            "no shift, do they agree? Then move the devices apart, and make one of them larger."
        ),
        goal=Goal(
            "make the averaged variance less than a quarter of the true one.",
            lambda state: state.averaged_variance < state.variance / 4,
        ),
        controls={
            "num_devices": choice_slider("devices K", 4, [1, 2, 3, 4]),
            "shift": float_slider("shift", 1, 0, 3, 0.1),
            "unequal": choice_slider("shard sizes", False, [("all 8", False), ("last has 32", True)]),
        },
        compute=experiments.devices,
        drawing=figures.DevicesDrawing(),
    )
