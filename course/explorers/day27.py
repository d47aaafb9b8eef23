"""Day 27: running statistics that follow a shift, the table of a layer, an image in company."""

from __future__ import annotations

from course.experiments import day27 as experiments
from course.explorers.shared import Explorer, Goal, choice_slider, float_slider
from course.figures import day27 as figures


def running_statistics_explorer() -> Explorer:
    """Day 27: what a layer stores while batches pass whose distribution shifts once."""

    def compute(momentum: float | str, **settings: float) -> experiments.RunningStatistics:
        # The slider cannot hold None.
        return experiments.running_statistics(None if momentum == "None" else momentum, **settings)

    momenta = [(f"{momentum:g}", momentum) for momentum in (0.01, 0.03, 0.1, 0.3, 1.0)]
    return Explorer(
        title="Running statistics follow the data",
        look_for="After batch 100 the data change. How soon does the line follow, and how calm is it then?",
        goal=Goal(
            "follow the change within 40 batches, and then tremble by no more than 0.10.",
            lambda state: state.memory <= 40 and state.scatter <= 0.1,
        ),
        controls={
            "momentum": choice_slider("momentum", 0.1, [*momenta, ("None", "None")]),
            "batch_size": choice_slider("batch size N", 8, [2, 4, 8, 16, 32, 64, 128, 256]),
            "mean_after": float_slider("mean after", 5, -2, 6, 0.25),
        },
        compute=compute,
        drawing=figures.RunningStatisticsDrawing(),
    )


def layer_table_explorer() -> Explorer:
    """Day 27: which entries of a state dict move as one trains, freezes, evaluates."""

    def frozen(state: experiments.LayerTable) -> bool:
        return state.batches > 0 and not state.training and state.moved == ("0.weight",)

    return Explorer(
        title="What moves in a linear layer and a batch norm",
        look_for="Blue rows were moved by a gradient, red rows by the data. Which switch stops which rows?",
        goal=Goal(
            "freeze the batch norm: the linear layer still learns, nothing else moves, and batches "
            "are normalized by the stored statistics.",
            frozen,
        ),
        controls={
            "batches": choice_slider("batches", 10, list(range(21))),
            "training": choice_slider("mode", True, [("eval()", False), ("train()", True)]),
            "requires_grad": choice_slider("requires_grad", True, [("False", False), ("True", True)]),
            "momentum": choice_slider("momentum", 0.1, [("0", 0.0), ("0.1", 0.1)]),
            "learning": choice_slider("each batch", True, [("no_grad", False), ("step", True)]),
        },
        compute=experiments.layer_table,
        drawing=figures.LayerTableDrawing(),
    )


def company_explorer() -> Explorer:
    """Day 27: one test image, seen alone by eval() and in forty batches by train()."""
    return Explorer(
        title="One image, forty batches",
        look_for=(
            "The black bars are what eval() says of the image. Each red dot is what train() says of "
            "the same image in another batch."
        ),
        goal=Goal(
            "make train() wrong in all 40 batches, on an image that eval() gets right, with no more "
            "than 8 images in a batch.",
            lambda state: state.wrong == 40 and state.eval_is_right and state.batch_size <= 8,
        ),
        controls={
            "index": choice_slider("test image", 0, list(range(20))),
            "batch_size": choice_slider("batch size N", 8, [2, 4, 8, 16, 32, 64, 128]),
            "kind": choice_slider(
                "the others",
                "random",
                [("random", "random"), ("its own digit", "own"), ("the next digit", "other")],
            ),
        },
        compute=experiments.same_image_in_company,
        drawing=figures.CompanyDrawing(),
    )
