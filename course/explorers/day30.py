"""Day 30: the noise of a batch mean, and a weight whose length nobody sees."""

from __future__ import annotations

import math
from typing import Any

import torch

from course.experiments import day30 as experiments
from course.explorers.explorer import Explorer, choice, log_slider

KINDS = [("normal", "normal"), ("skewed", "skewed"), ("a pixel", "pixel")]
ORDERS = ["shuffled", "sorted"]
REACH = 2.6  # σ, to both sides, of the histogram
STEPS, DROP_AT = 1500, 500


def mean_noise_explorer() -> Explorer:
    """Day 30: means of mini-batches of one feature, and σ/√N.

    The page is given how many of the means lie in which bin, and their spread: the samples are too many.
    """
    counts: dict[str, dict[str, list[torch.Tensor]]] = {}
    spreads: dict[str, dict[str, torch.Tensor]] = {}
    for _, kind in KINDS:
        runs = {
            order: [experiments.mean_noise(size, kind, order) for size in experiments.SIZES]
            for order in ORDERS
        }
        counts[kind] = {order: [_counts(run) for run in by_size] for order, by_size in runs.items()}
        spreads[kind] = {order: run[0].measured / run[0].sigma for order, run in runs.items()}

    def compute(size: int, kind: str, order: str) -> dict[str, Any]:
        run = experiments.mean_noise(size, kind, order)
        inside = _counts(run)
        # Area 1, then in units of the bell's height, so that both keep one scale.
        density = inside.double() / (len(run.means) * 2 * REACH / len(inside))
        return {
            "heights": density * math.sqrt(2 * math.pi / size),
            "batches": len(run.means),
            "outside": len(run.means) - int(inside.sum()),
            "measured": run.measured / run.sigma,
            "spread": run.spread / run.sigma,
            "promised": 1 / math.sqrt(size),
            "ratio": run.ratio,
            "reached": run.ratio >= 5,
        }

    return Explorer(
        "day30_mean_noise",
        title="How far off is the mean of a batch?",
        look_for=(
            "Bars count batches, the curve is what σ/√N promises. They do not agree. Which control makes "
            "them agree, and which of the others makes it worse?"
        ),
        goal="make the mean of a batch at least five times as noisy as σ/√N says.",
        controls={
            "size": choice("batch size N", 16, experiments.SIZES),
            "kind": choice("feature", "normal", KINDS, "buttons"),
            "order": choice("order", "sorted", ORDERS, "buttons"),
        },
        compute=compute,
        data={
            "sizes": list(experiments.SIZES),
            "samples": len(experiments.feature("normal", "sorted")),
            "reach": REACH,
            "counts": counts,
            "spreads": spreads,
        },
    )


def _counts(run: experiments.MeanNoise) -> torch.Tensor:
    """The means by bins, int32; the bins are narrower where the hill is."""
    return run.counts(REACH, 65 if run.size <= 32 else 130).int()


def decay_explorer() -> Explorer:
    """Day 30: the length of a weight before a normalization, and the angle of its steps."""

    def compute(lr: float, weight_decay: float, start: float, drop: float) -> dict[str, Any]:
        run = experiments.scale_free_steps(lr, weight_decay, start, STEPS, DROP_AT, drop)
        before = experiments.rest(lr, weight_decay)
        share, angle = run.norm[-1].item() / run.norm_end, run.angle[-1].item()
        return {
            "norm": run.norm,
            "angle": run.angle,
            "norm_rest": [before[0], run.norm_end],
            "angle_rest": [before[1], run.angle_end],
            "share": share,
            "reached": abs(share - 1) < 0.05 and abs(angle - 1) < 0.1,
        }

    return Explorer(
        "day30_decay",
        title="Weight decay on a weight that has no scale",
        look_for=(
            "The dashed lines are where the length and the angle should settle. Which sliders move them, and "
            "which only decide how long it takes? From step 500 on the rate may be another."
        ),
        goal="let w come to rest with steps of one degree, within a tenth.",
        controls={
            "lr": log_slider("lr", 0.1, -3, 1),
            "weight_decay": log_slider("weight decay", 1e-2, -6, -1),
            "start": log_slider("‖w‖ at start", 1, -1, 1),
            "drop": choice(
                "lr from step 500 on, times", 1.0, [("1", 1.0), ("1/3", 1 / 3), ("1/10", 0.1)], "buttons"
            ),
        },
        compute=compute,
        data={"steps": STEPS, "drop_at": DROP_AT},
    )
