"""Day 27: a forgotten eval(), whose statistics do the harm, and the trace of a pass in training mode."""

from __future__ import annotations

import matplotlib

from course.experiments.day27 import ForgottenEval, Trace, WhoseStatistics
from course.figures.shared import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SKY,
    STYLE,
    VERMILLION,
    Picture,
    dots,
    new_figure,
    seed_lines,
)


def draw_forgotten_eval(result: ForgottenEval) -> Picture:
    """Test loss against the size of the test batches: eval(), train() shuffled, train() by digit."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(330, 560)
        ax = figure.subplots()
        figure.subplots_adjust(left=0.12, right=0.985, top=0.84, bottom=0.15)
        seeds = len(result.with_eval)
        ax.set_title(
            f"How test loss depends on the test batch\n{seeds} seeds as dots, line at the median", pad=10
        )
        sizes = result.batch_sizes
        for values, colour, label in (
            (result.by_digit, VERMILLION, "train(), sorted by digit"),
            (result.shuffled, ORANGE, "train(), shuffled"),
            (result.with_eval[:, None].expand(-1, len(sizes)), BLUE, "eval()"),
        ):
            seed_lines(ax, sizes, values, colour, label)
        ax.set(xscale="log", yscale="log", xlabel="test images in a batch, N")
        ax.set_xticks(sizes.tolist(), [str(size) for size in sizes.tolist()])
        ax.minorticks_off()
        ax.set_ylim(0.04, 60)
        ax.set_yticks((0.1, 1, 10), ("0.1", "1", "10"))
        ax.set_ylabel("cross entropy on the test images")
        ax.legend(loc="upper right", ncols=2)
    return Picture(
        figure,
        "test loss against batch size: low in eval mode; in train mode it falls towards that with "
        "large shuffled batches and is many times as high where a batch holds one digit only.",
    )


def draw_controls(measured: WhoseStatistics) -> Picture:
    """Accuracy by which statistic comes from the batch, by training batch size, and in other light."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(330)
        left, middle, right = figure.subplots(1, 3, sharey=True, width_ratios=(1.15, 1, 1.2))
        figure.subplots_adjust(left=0.075, right=0.985, top=0.8, bottom=0.2, wspace=0.08)
        dots(left, {name.replace("the ", ""): values for name, values in measured.sources.items()})
        left.set_title("taken from the batch\n(sorted, N = 4)")
        left.set_ylabel("accuracy on the test images, %")
        trained, colours = {}, {}
        for size, run in measured.trainings.items():
            trained |= {
                f"{size}, shuffled": run.accuracy_shuffled[:, 0],
                f"{size}, sorted": run.accuracy_by_digit[:, 0],
            }
            colours |= {f"{size}, shuffled": ORANGE, f"{size}, sorted": VERMILLION}
        dots(middle, trained, colours)
        middle.set_xticks([0.5 + 2 * place for place in range(len(measured.trainings))], measured.trainings)
        middle.set_title("trained in batches of …\n(N = 4)")
        middle.text(0.03, 0.62, "shuffled", color=ORANGE, transform=middle.transAxes)
        middle.text(0.03, 0.2, "sorted", color=VERMILLION, transform=middle.transAxes)
        light = measured.light
        for values, colour, style, label in (
            (light.stored, BLUE, "-", "stored"),
            (light.batch, ORANGE, "-", "of the batch"),
            (light.stored_mixed, BLUE, "--", "stored, each image its own"),
            (light.mixed, ORANGE, "--", "batch, each image its own"),
        ):
            seed_lines(right, light.brighter, values, colour, label, style=style)
        right.set_title("test images brighter\n(shuffled, N = 100)")
        right.set_xlabel("added to every pixel")
        right.legend(loc="lower left", title="statistics")
        right.set_ylim(0, 103)
    return Picture(
        figure,
        "accuracy in three controls: from a sorted batch the mean alone does harm; nets trained in batches "
        "of 8, 64, 256 suffer alike; on brighter images the batch's statistics do better than the stored.",
    )


def draw_trace(trace: Trace) -> Picture:
    """The loss after a pass in training mode over that before, against N / m."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(330)
        axes = figure.subplots(1, 2, sharey=True)
        figure.subplots_adjust(left=0.08, right=0.985, top=0.84, bottom=0.16, wspace=0.06)
        colours = (SKY, GREEN, ORANGE, VERMILLION)
        for ax, values, title in (
            (axes[0], trace.by_digit, "after a pass sorted by digit"),
            (axes[1], trace.shuffled, "after a shuffled pass"),
        ):
            ax.axhline(1, color=GREY, linewidth=1)
            for place, (momentum, colour) in enumerate(zip(trace.momenta.tolist(), colours, strict=True)):
                x, y = trace.remembered[:, place], values[:, :, place]
                seed_lines(ax, x, y, colour, f"m = {momentum:g}")
            ax.set(xscale="log", yscale="log", title=title, xlabel="N / m, images")
        axes[0].set_ylabel("eval() loss after / before the pass")
        axes[0].set_yticks((1, 2, 5, 10, 20), ("1", "2", "5", "10", "20"))
        axes[0].minorticks_off()
        axes[1].legend(loc="upper right", title="momentum of the pass")
    return Picture(
        figure,
        "how much a pass over the test images in training mode raises the loss with eval(), against N / m: "
        "the curves of four momenta fall onto one, from sixteen times to none.",
    )
