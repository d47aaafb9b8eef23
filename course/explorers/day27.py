"""Day 27: running statistics that follow a shift, the table of a layer, an image in company."""

from __future__ import annotations

from typing import Any

import torch

from course.experiments import day27 as experiments
from course.explorers.explorer import Explorer, choice, slider

BATCH_SIZES = (2, 4, 8, 16, 32, 64, 128, 256)
MOMENTA = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)
BATCHES, SHIFT_AT, MEAN_BEFORE, STD = 200, 100, 2.0, 2.0
MOST_BATCHES = 20  # of the table
COMPANIES = 40


def running_statistics_explorer() -> Explorer:
    """Day 27: what a layer stores while batches pass whose distribution shifts once.

    The page is given mean and variance of standard normal batches, by batch size.
    """
    noise = [
        experiments.running_statistics(None, size, 0.0, mean_before=0.0, std=1.0, batches=BATCHES)
        for size in BATCH_SIZES
    ]

    def compute(momentum: float | None, batch_size: int, mean_after: float) -> dict[str, Any]:
        run = experiments.running_statistics(
            momentum,
            batch_size,
            mean_after,
            mean_before=MEAN_BEFORE,
            std=STD,
            batches=BATCHES,
            shift_at=SHIFT_AT,
        )
        return {
            "batch_mean": run.batch_mean,
            "batch_var": run.batch_var,
            "running_mean": run.running_mean,
            "running_var": run.running_var,
            "true_mean": [run.true_mean[0].item(), run.true_mean[-1].item()],
            "true_var": run.true_var[0].item(),
            "weights": experiments.batch_weights(momentum, BATCHES),
            "scatter": run.scatter,
            "memory": run.memory,
            "reached": run.memory <= 40 and run.scatter <= 0.1,
        }

    return Explorer(
        "day27_running_statistics",
        title="Running statistics follow the data",
        look_for=(
            "After batch 100 the data change. How soon does the thick line follow, and how calm is it then? "
            "The new mean can be dragged in the upper panel."
        ),
        goal="follow the change within 40 batches, and then tremble by no more than 0.10.",
        controls={
            "momentum": choice(
                "momentum", 0.1, [None, *((f"{momentum:g}", momentum) for momentum in MOMENTA)]
            ),
            "batch_size": choice("batch size N", 8, BATCH_SIZES),
            "mean_after": slider("mean after", 5, -2, 6, 0.25),
        },
        compute=compute,
        data={
            "sizes": list(BATCH_SIZES),
            "noise_mean": torch.stack([run.batch_mean for run in noise]),
            "noise_var": torch.stack([run.batch_var for run in noise]),
            "shift_at": SHIFT_AT,
            "mean_before": MEAN_BEFORE,
            "std": STD,
        },
    )


def layer_table_explorer() -> Explorer:
    """Day 27: which entries of a state dict move as one trains, freezes, evaluates."""
    weight, inputs = experiments.layer_table_draws(MOST_BATCHES)
    lr = 0.1

    def compute(batches: int, **switches: Any) -> dict[str, Any]:
        table = experiments.layer_table(batches, lr=lr, **switches)
        return {
            "rows": [
                {
                    "name": row.name,
                    "kind": row.kind,
                    "trainable": row.trainable,
                    "non_trainable": row.non_trainable,
                    "path": row.path,
                    "moved": row.moved,
                }
                for row in table.rows
            ],
            "trainable": table.counts[0],
            "non_trainable": table.counts[1],
            "reached": batches > 0 and not table.training and table.moved == ("0.weight",),
        }

    return Explorer(
        "day27_layer_table",
        title="What moves in a linear layer and a batch norm",
        look_for=(
            "Blue rows were moved by a gradient, orange rows by the data. Which switch stops which rows?"
        ),
        goal=(
            "freeze the batch norm: the linear layer still learns, nothing else moves, and batches "
            "are normalized by the stored statistics."
        ),
        controls={
            "batches": choice("batches", 10, range(MOST_BATCHES + 1)),
            "training": choice("mode", True, [("eval()", False), ("train()", True)], "buttons"),
            "requires_grad": choice("requires_grad", True, [("False", False), ("True", True)], "buttons"),
            "momentum": choice("momentum", 0.1, [("0", 0.0), ("0.1", 0.1)], "buttons"),
            "learning": choice("each batch", True, [("no_grad", False), ("step", True)], "buttons"),
        },
        compute=compute,
        data={
            "weight": weight,
            "inputs": inputs,
            "moved_by": list(experiments.MOVED_BY.items()),  # a stored notebook sorts names
            "lr": lr,
            "eps": torch.nn.BatchNorm1d(2).eps,
        },
    )


def company_explorer() -> Explorer:
    """Day 27: one test image, seen alone by eval() and in forty batches by train().

    The page is given the test images, what the linear layer makes of them in single precision, and the
    layers behind it.
    """
    net, digits = experiments.trained_net(0)
    _, norm, _, last = net

    def compute(index: int, batch_size: int, kind: str, shown: int) -> dict[str, Any]:
        company = experiments.same_image_in_company(index, batch_size, kind, companies=COMPANIES)
        return {
            "label": company.label,
            "alone": company.alone,
            "in_company": company.in_company,
            "answer": int(company.alone.argmax()),
            "answers": company.in_company.argmax(dim=1),
            "wrong": company.wrong,
            "rows": company.rows[shown - 1],
            "reached": company.wrong == COMPANIES and company.eval_is_right and batch_size <= 8,
        }

    return Explorer(
        "day27_company",
        title="One image, forty batches",
        look_for=(
            "The thick lines are what eval() says of the framed image. Each small dot is what train() says "
            "of the same image in another batch. Drag over the dots of a digit to see who is in a batch."
        ),
        goal=(
            "make train() wrong in all 40 batches, on an image that eval() gets right, with no more "
            "than 8 images in a batch."
        ),
        controls={
            "index": choice("test image", 0, range(20)),
            "batch_size": choice("batch size N", 8, BATCH_SIZES[:-1]),
            "kind": choice(
                "the others",
                "random",
                [("random", "random"), ("its own digit", "own"), ("the next digit", "other")],
                "buttons",
            ),
            "shown": choice("batch shown", 1, range(1, COMPANIES + 1)),
        },
        compute=compute,
        data={
            "sixteenths": (16 * digits.test_x).to(torch.uint8).view(-1, 8, 8),
            "labels": digits.test_y.to(torch.uint8),
            "hidden": experiments.hidden_test_images(0),
            "draws": experiments.company_draws(COMPANIES, 0),
            "norm": {
                "mean": norm.running_mean,
                "var": norm.running_var,
                "gamma": norm.weight,
                "beta": norm.bias,
                "eps": norm.eps,
            },
            "last": {"weight": last.weight, "bias": last.bias},
        },
    )
