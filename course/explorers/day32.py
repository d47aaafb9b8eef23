"""Day 32: one entry in the company of small and large batches, one batch on several devices."""

from __future__ import annotations

from typing import Any

import torch

from course.experiments import day32 as experiments
from course.experiments.digits import split_digits
from course.explorers.explorer import Explorer, choice, slider

DRAWS = 300
LIMIT = 0.1
IMAGES = 10
GROUPS = 4
EPS = 1e-5


def batch_size_explorer() -> Explorer:
    """Day 32: what batch norm makes of one entry, in batches of 2 to 256; group norm beside it.

    The page is given mean and variance of the others in each batch, and merges them with the entry.
    """
    features = experiments.hidden_features()
    entries = features[:, 0]
    others = entries[experiments.others(len(entries), DRAWS)]
    alone = [torch.var_mean(others[:, : size - 1], dim=1, correction=0) for size in experiments.BATCH_SIZES]
    var, mean = torch.var_mean(entries, correction=0)
    digits = split_digits(0)

    def compute(batch_size: int, sample: int) -> dict[str, Any]:
        state = experiments.company(features, sample, 0, batch_size, GROUPS, DRAWS, eps=EPS)
        small = zip(experiments.BATCH_SIZES, state.spreads.tolist(), strict=True)
        return {
            "outputs": state.outputs,
            "lowest": state.outputs.min().item(),
            "highest": state.outputs.max().item(),
            "spreads": state.spreads,
            "spread": state.spread,
            "population": state.population,
            "group": state.group,
            "reached": batch_size == min((n for n, spread in small if spread < LIMIT), default=None),
        }

    return Explorer(
        "day32_batch_size",
        title="One entry in the company of small and large batches",
        look_for=(
            "Every blue dot is the same entry of the same image, normalized in another batch of N images. "
            "Watch what the size of the batch does to the dots, and what it does to group norm."
        ),
        goal=f"find the smallest batch in which the dots spread by less than {LIMIT}.",
        controls={
            "batch_size": choice("batch size N", 8, experiments.BATCH_SIZES),
            "sample": choice("image", 0, range(IMAGES)),
        },
        compute=compute,
        data={
            "sizes": list(experiments.BATCH_SIZES),
            "others": [{"mean": mean, "var": var} for var, mean in alone],
            "all": {"mean": mean.item(), "var": var.item()},
            "groups": features[:IMAGES, : features.shape[1] // GROUPS],  # the entry and those beside it
            "images": (16 * digits.train_x[:IMAGES]).round().byte(),
            "labels": digits.train_y[:IMAGES].tolist(),
            "eps": EPS,
            "limit": LIMIT,
        },
    )


def devices_explorer() -> Explorer:
    """Day 32: statistics of several devices, merged against averaged."""
    most = 4
    # Each in its turn as the last device, which may hold the most samples.
    noise = [experiments.devices(k + 1, 0, unequal=True).shards[-1] for k in range(most)]

    def compute(num_devices: int, shift: float, unequal: bool) -> dict[str, Any]:
        state = experiments.devices(num_devices, shift, unequal)
        return {
            "shards": list(state.shards),
            "means": state.means,
            "variances": state.variances,
            "mean": state.mean,
            "variance": state.variance,
            "within": state.within,
            "between": state.between,
            "averaged_mean": state.averaged_mean,
            "averaged_variance": state.averaged_variance,
            "reached": state.averaged_variance < state.variance / 4,
        }

    return Explorer(
        "day32_devices",
        title="One batch on several devices",
        look_for=(
            "The last two rows are two ways to make one mean and one variance of those of the devices. With "
            "no shift, do they agree? Then move the devices apart, with the slider or by pulling sideways, "
            "and make one of them larger."
        ),
        goal="make the averaged variance less than a quarter of the true one.",
        controls={
            "num_devices": choice("devices K", 4, range(1, most + 1)),
            "shift": slider("shift", 1, 0, 3, 0.1),
            "unequal": choice("shard sizes", False, [("all 8", False), ("last has 32", True)], "buttons"),
        },
        compute=compute,
        data={"noise": noise, "few": 8},
    )
