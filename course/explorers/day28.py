"""Day 28: one channel of feature maps, a learning rate to choose, data that look different."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from course.experiments import day28 as experiments
from course.explorers.explorer import Explorer, choice, index, slider

IMAGES = (2, 4, 8, 16, 32, 64)
NEW_IMAGES = (2, 4, 8, 16, 64, 256, 512)
TEST_IMAGES = 250  # half of them, since the page runs the network for each frame


def channel_explorer() -> Explorer:
    """Day 28: the values that share one mean, and what becomes of them."""
    names = list(experiments.FILTERS)

    def compute(
        channel: int, num_images: int, axes: tuple[int, ...], place: tuple[int, int]
    ) -> dict[str, Any]:
        view = experiments.channel_view(channel, num_images, axes)
        row, column = place
        return {
            "name": names[channel],
            "x": view.x,
            "x_hat": view.x_hat,
            "means": view.mean.flatten(),
            "values_per_mean": view.values_per_mean,
            "mean": view.mean.expand(1, *view.x.shape[1:])[0, row, column].item(),
            "before": experiments.histogram(view.x),
            "after": experiments.histogram(view.x_hat),
            "reached": view.values_per_mean == 2,
        }

    return Explorer(
        "day28_channel",
        title="Which values share a mean?",
        look_for=(
            "Batch norm for images takes one mean for all places of all images of a channel. What if every "
            "place had a mean of its own? Look at the digits below, and at the number of images. Press on a "
            "map: what shares its mean with that place is outlined."
        ),
        goal="leave as few different values in the lower picture as these sliders can.",
        controls={
            "channel": choice("channel", 0, [(name, channel) for channel, name in enumerate(names)]),
            "num_images": choice("images N", 8, IMAGES),
            "axes": choice("mean over", (0, 2, 3), [("N only", (0,)), ("N, H, W", (0, 2, 3))], "buttons"),
            "place": index("place", (3, 3), (8, 8), "hw", "or press on a map"),
        },
        compute=compute,
        data={
            "sixteenths": (16 * experiments.first_digits(max(IMAGES))).to(torch.uint8),
            "names": names,
            "filters": torch.tensor(list(experiments.FILTERS.values()), dtype=torch.float64),
            "eps": 1e-5,
            "bin": experiments.BIN,
            "bins": experiments.BINS,
        },
    )


def learning_rate_explorer() -> Explorer:
    """Day 28: the training curves at each learning rate of the sweep."""
    sweeps = [experiments.learning_rate_sweep(kind) for kind in experiments.KINDS]
    sweeps = {sweep.kind: replace(sweep, losses=sweep.losses.double()) for sweep in sweeps}

    def compute(index: int, shown: str) -> dict[str, Any]:
        final = {kind: sweep.final for kind, sweep in sweeps.items()}
        return {
            "kinds": list(sweeps) if shown == "both" else [shown],
            "rate": experiments.LEARNING_RATES[index],
            "final": final,
            "below": {kind: int((loss[index] < 1).sum()) for kind, loss in final.items()},
            "curves": {kind: sweep.losses[index] for kind, sweep in sweeps.items()},
            "reached": bool((final["none"][index] > 2).all() and (final["before"][index] < 1).all()),
        }

    return Explorer(
        "day28_learning_rate",
        title="Training at seven learning rates",
        look_for=(
            "Each rate was tried with five seeds; press on one in the first picture, or move the slider. Do "
            "the seeds of one kind always share their fate? Where does the choice of the rate matter, and "
            "where hardly?"
        ),
        goal="find a rate at which all seeds end below 1 with batch norm and none below 2 without.",
        controls={
            "index": choice(
                "learning rate", 2, [(f"{rate:g}", i) for i, rate in enumerate(experiments.LEARNING_RATES)]
            ),
            "shown": choice(
                "batch norm", "both", [("without", "none"), ("with", "before"), ("both", "both")], "buttons"
            ),
        },
        compute=compute,
        data={
            "rates": list(experiments.LEARNING_RATES),
            "losses": {kind: sweep.losses.float() for kind, sweep in sweeps.items()},
        },
    )


def new_data_explorer() -> Explorer:
    """Day 28: images of another contrast and brightness, and statistics estimated anew."""

    def compute(contrast: float, brightness: float, num_images: int) -> dict[str, Any]:
        state = experiments.new_data(contrast, brightness, num_images, num_tests=TEST_IMAGES)
        lost = state.accuracy_stored < 50
        return vars(state) | {"reached": lost and state.accuracy_new >= 95 and num_images <= 8}

    trained = experiments.trained_net(0)
    first, norm1, _, second, norm2, _, _, last = trained.net

    def norm(layer: torch.nn.BatchNorm2d) -> dict[str, Any]:
        names = ("weight", "bias", "running_mean", "running_var", "eps")
        return {name: getattr(layer, name) for name in names}

    return Explorer(
        "day28_new_data",
        title="The same digits from another camera",
        look_for=(
            "The weights never change. Orange is what is estimated anew, from images like the new ones; "
            "beside it stands what training stored. Drag the ends of the camera's line, or move the sliders."
        ),
        goal=(
            "lose more than half of the answers with the stored statistics, and bring at least 95% back "
            "with as few new images as you can."
        ),
        controls={
            "contrast": slider("contrast", 0.4, 0.1, 2, 0.1),
            "brightness": slider("brightness", 0.2, -0.5, 1, 0.1),
            "num_images": choice("new images", 64, NEW_IMAGES),
        },
        compute=compute,
        data={
            "train": (16 * trained.train_x[: max(NEW_IMAGES), 0]).to(torch.uint8),
            "test": (16 * trained.test_x[:TEST_IMAGES, 0]).to(torch.uint8),
            "digits": trained.test_y[:TEST_IMAGES].to(torch.uint8),
            "first": first.weight,
            "norm1": norm(norm1),
            "second": second.weight,
            "norm2": norm(norm2),
            "last": {"weight": last.weight, "bias": last.bias},
        },
    )
