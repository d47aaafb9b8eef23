"""Where the course explains a mistake: the section of a lecture, and an explorer set to a case that shows it.

Each exercise has a section of its own, and a known mistake in it may have another, or an explorer. A section
is named once, by its heading; a test holds that the lectures have these headings, and the explorers these
settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

#: What may stand in an anchor beside letters, digits and `-._~` (RFC 3986).
_IN_AN_ANCHOR = "!$&'()*+,;=:@/?"
#: The notebooks of the lectures, in the folder `course`.
LECTURES = {
    25: "day25_the_problem_of_unstable_gradients",
    26: "day26_batch_normalization_the_algorithm",
    27: "day27_trainable_and_non_trainable_parameters",
    28: "day28_batch_normalization_in_convolutional_networks",
    29: "day29_the_nchw_axes",
    30: "day30_normalization_and_regularization",
    31: "day31_what_does_batch_normalization_change",
    32: "day32_small_batches_and_the_norms_that_came_after",
    33: "day33_momentum",
    34: "day34_momentum_versus_normalization",
}


@dataclass(frozen=True)
class Section:
    """A section of a day's lecture, by its heading as it stands there."""

    day: int
    heading: str

    @property
    def name(self) -> str:
        """The heading without its number."""
        return re.sub(r"^\d+\. ", "", self.heading)

    @property
    def words(self) -> str:
        return f"Day {self.day}, section «{self.name}»"

    @property
    def address(self) -> str:
        """The notebook in the folder of the lectures, and the heading's anchor, as JupyterLab makes it.

        JupyterLab compares an anchor as it stands in the address, so that only what may not stand there as it
        is, which no heading should have, is written otherwise.
        """
        anchor = re.sub(r"\s+", "-", self.heading)
        return f"{LECTURES[self.day]}.ipynb#{quote(anchor, safe=_IN_AN_ANCHOR)}"


@dataclass(frozen=True)
class View:
    """An explorer of a day at a case. function: it makes the explorer. shows: what is to be seen there."""

    section: Section
    function: str
    shows: str
    settings: tuple[tuple[str, Any], ...]

    @property
    def module(self) -> str:
        return f"course.explorers.day{self.section.day}"

    @property
    def code(self) -> str:
        """What opens it in a notebook, in two lines."""
        at = ", ".join(f"{name}={value!r}" for name, value in self.settings)
        return f"from {self.module} import {self.function}\n{self.function}().at({at})"


@dataclass(frozen=True)
class Passage:
    """What to read, and what to look at, where something shows it."""

    section: Section
    view: View | None = None


@dataclass(frozen=True)
class _Rule:
    """What is said of some mistakes: their keys, or patterns of them."""

    keys: tuple[str, ...]
    section: Section | None
    view: View | None

    def fits(self, key: str) -> bool:
        return any(fnmatchcase(key, pattern) for pattern in self.keys)


def passage(exercise: str, mistake: str | None = None) -> Passage | None:
    """The passage for a known mistake in an exercise, or for the exercise; None where there is none."""
    if exercise not in PASSAGES:
        return None
    section, rules = PASSAGES[exercise]
    for rule in rules:
        if mistake and rule.fits(mistake):
            return Passage(rule.section or section, rule.view)
    return Passage(section)


def _on(keys: str, section: Section | None = None, view: View | None = None) -> _Rule:
    return _Rule(tuple(keys.split()), section, view)


def _at(section: Section, function: str, shows: str, **settings: Any) -> View:
    return View(section, function, shows, tuple(settings.items()))


# -- the sections ------------------------------------------------------------------------------------

DEEP_PRODUCTS = Section(25, "1. Deep products")
SCALE_OF_WEIGHTS = Section(25, "2. The scale of the weights")
LAYERS = Section(25, "3. Explorer: depth, activation, initialization")
FEATURE_SCALING = Section(25, "4. Feature scaling and the shape of the loss")
BOWL = Section(25, "5. Explorer: an elongated bowl becomes round")
INNER_LAYERS = Section(25, "6. The inner layers")

FORMULA = Section(26, "1. The formula")
FIVE_STEPS = Section(26, "2. Five steps on real numbers")
WALK = Section(26, "3. Explorer: a batch through the five steps")
DRAG = Section(26, "4. Explorer: drag one sample")
AWKWARD = Section(26, "5. Awkward cases")
BACKWARD = Section(26, "6. The backward pass")
CLOSED_FORM = Section(26, "7. The closed form")
CHECKING = Section(26, "8. Checking a gradient")
UNDOING = Section(26, "9. What gamma and beta can undo")

FOUR_VECTORS = Section(27, "1. Four vectors of two kinds")
RUNNING_UPDATE = Section(27, "2. The running update")
FOLLOWING = Section(27, "3. Explorer: running statistics follow the data")
TWO_MODES = Section(27, "4. Two modes")
WHAT_MOVES = Section(27, "5. Explorer: what moves?")
FREEZING = Section(27, "6. What freezing must stop")
COUNTING = Section(27, "7. The counting that libraries print")
COMPANY = Section(27, "8. Explorer: one image, forty batches")

CHANNELS = Section(28, "1. One mean for each channel")
SHARED_MEAN = Section(28, "2. Explorer: which values share a mean?")
BIAS = Section(28, "3. The bias that does nothing")
ORDER = Section(28, "5. Before or after the activation?")
FOLDING = Section(28, "7. Folding")
ANEW = Section(28, "8. Statistics estimated anew")

ONE_CHOICE = Section(29, "1. One formula, one choice")
FOUR_CUTS = Section(29, "2. Explorer: one block, four ways to cut it")
IN_CODE = Section(29, "3. In code")
FROM_THE_AXES = Section(29, "4. What follows from the axes")
WHICH_NORM = Section(29, "5. Which norm is this?")
FORGETTING = Section(29, "6. What a norm forgets")

PENALTY = Section(30, "1. A penalty on the weights")
DROPOUT = Section(30, "2. Noise on purpose: dropout")
FREE_NOISE = Section(30, "3. Noise for free: the statistics of a batch")
WITHOUT_SCALE = Section(30, "4. Weight decay on a weight without a scale")
GROWING_RATE = Section(30, "5. Decay is a growing learning rate")

SHIFT = Section(31, "1. What is internal covariate shift?")
ALONG = Section(31, "3. Along the gradient")
LONGEST_STEP = Section(31, "4. The longest stable step")
LARGER_RATES = Section(31, "5. Larger learning rates, and why")

TOGETHER = Section(32, "1. From the samples that are together")
DEVICES = Section(32, "2. From all devices")
ONE_TOKEN = Section(32, "5. From one token, and from nowhere")
FROM_WEIGHTS = Section(32, "7. From the weights")

VALLEY = Section(33, "1. A valley")
HEAVY_BALL = Section(33, "2. The heavy ball")
BALL_IN_VALLEY = Section(33, "3. Explorer: a ball in a valley")
TWO_ROOTS = Section(33, "4. The rate, from two roots")
PLANE = Section(33, "5. Explorer: the plane of rates")
LOOK_AHEAD = Section(33, "6. Nesterov: look ahead")
FOUR_WAYS = Section(33, "7. Four ways to write it down")
AVERAGES = Section(33, "8. Averages and bias correction")
OTHER_MOMENTUM = Section(33, "9. The other thing called momentum")

THREE_TROUBLES = Section(34, "2. Three troubles")
TWO_BY_TWO = Section(34, "3. Explorer: the two by two")
STEPS_NEEDED = Section(34, "4. Steps against the condition number")
EACH_LEAVES = Section(34, "6. Does one leave anything for the other?")
THIRD_LEVER = Section(34, "7. The third lever: the step")
FIVE_RULES = Section(34, "8. Explorer: five rules for the step")

# -- explorers at a case, where several exercises want it --------------------------------------------

_LARGE_EPS = _at(
    WALK,
    "five_steps_explorer",
    "an eps of 1 squeezes the feature with the smaller variance, and hardly the other",
    step=4,
    eps=1.0,
)
_CENTRED = _at(
    WALK, "five_steps_explorer", "after the second step each feature lies around 0, by its own mean", step=2
)
_STD_ONE = _at(
    WALK, "five_steps_explorer", "the division by the root of the variance leaves a spread of 1", step=4
)
_SCALED_THEN_SHIFTED = _at(
    WALK,
    "five_steps_explorer",
    "beta moves the whole feature by itself, whatever gamma has made of its width",
    step=5,
    gamma=3.0,
    beta=5.0,
)
_UNDONE = _at(
    WALK,
    "five_steps_explorer",
    "gamma sets the width and beta the centre; at one pair of values y is x again",
    step=5,
    gamma=2.0,
    beta=6.0,
)
_TIED = _at(
    DRAG,
    "moved_sample_explorer",
    "one sample is far off, and the outputs of all the others have moved with it",
    value=20.0,
    num_samples=4,
)
_AT_X_HAT = _at(
    CLOSED_FORM,
    "circle_explorer",
    "dy lies along x_hat, and the path through the variance takes nearly all of it away",
    third=2.0,
    degrees=139,
)
_PER_PIXEL = _at(
    SHARED_MEAN,
    "channel_explorer",
    "with a mean for each place, two images come out as each other's negative",
    num_images=2,
    axes=(0,),
)
_PER_CHANNEL = _at(SHARED_MEAN, "channel_explorer", "all places of all images share one mean", axes=(0, 2, 3))


def _cut(kind: str, shows: str, num_groups: int = 2) -> View:
    """The block of day 29, cut as a norm cuts it."""
    return _at(FOUR_CUTS, "norm_block_explorer", shows, kind=kind, num_groups=num_groups)


_BATCH = _cut("batch", "in batch norm a channel of all samples shares one mean")
_LAYER = _cut("layer", "in layer norm all cells of a sample share one mean")
_INSTANCE = _cut("instance", "in instance norm only one map of one sample shares a mean")
_GROUP = _cut("group", "a group is some channels next to each other, in one sample", 3)

_BALL_SWINGS = _at(
    BALL_IN_VALLEY,
    "valley_explorer",
    "the velocity carries the ball along the floor and damps what alternates",
    lr=1.0,
    beta=0.8,
    condition=25,
    nesterov=False,
)
_NESTEROV = _at(
    BALL_IN_VALLEY,
    "valley_explorer",
    "Nesterov's step overshoots less; switch the method and compare the first steps",
    lr=1.0,
    beta=0.8,
    condition=25,
    nesterov=True,
)
_NO_CORRECTION = _at(
    AVERAGES,
    "averages_explorer",
    "without the correction the average starts near 0 and takes many steps to get away",
    beta=0.95,
    noise=0.0,
)
_LONG_MEMORY = _at(
    AVERAGES, "averages_explorer", "a larger beta remembers longer, and follows a jump later", beta=0.97
)

# -- mistakes that every norm can have ---------------------------------------------------------------

_EPS = (
    _on("eps_outside_root eps_on_deviation eps_missing eps_as_floor", AWKWARD, _LARGE_EPS),
    _on("eps_subtracted eps_squared", AWKWARD, _LARGE_EPS),
    _on("eps_outside_root_* eps_missing_* eps_against_*", AWKWARD, _LARGE_EPS),
)
_VARIANCE = (
    _on("unbiased_* variance_about_zero", FIVE_STEPS),
    _on("variance_by_cancellation variance_by_cancellation_in_double", AWKWARD),
    _on("divided_by_variance multiplied_by_deviation sum_for_mean", FIVE_STEPS, _STD_ONE),
    _on("not_centred", FIVE_STEPS, _CENTRED),
)
_AFFINE = (
    _on("affine_missing beta_missing gamma_missing gamma_and_beta_swapped", UNDOING, _SCALED_THEN_SHIFTED),
    _on("shift_before_scale affine_first gamma_plus_one", UNDOING, _SCALED_THEN_SHIFTED),
)
_ONE_FEATURE = (
    _on("one_statistic_for_all rows_normalized", FORMULA, _CENTRED),
    _on("lone_sample_passed_through lone_sample_refused", AWKWARD),
)
_PATHS = (
    _on("statistics_constant", BACKWARD, _TIED),
    _on("only_own_output", BACKWARD, _TIED),
    _on("variance_path_* y_for_x_hat", CLOSED_FORM, _AT_X_HAT),
    _on("mean_path_* path_sign sums_and_means_mixed x_hat_in_the_wrong_term", CLOSED_FORM),
    _on(
        "eps_missing* eps_outside_root* eps_in_one_place eps_fixed_in_backward constant_feature",
        AWKWARD,
        _LARGE_EPS,
    ),
    _on("wrong_count", FORMULA),
)
_AXES = (
    _on("layer_statistics", ONE_CHOICE, _LAYER),
    _on("batch_statistics over_the_batch_too", ONE_CHOICE, _BATCH),
    _on("over_channels_only over_pixels_only over_last_axis over_one_axis over_all_axes", ONE_CHOICE),
)
_COMPANY = _at(
    COMPANY,
    "company_explorer",
    "in training mode the same image is judged otherwise in each batch",
    batch_size=8,
    kind="own",
)
_MODES = (
    _on(
        "batch_*_in_eval stored_statistics_in_training mode_by_grad",
        TWO_MODES,
        _COMPANY,
    ),
    _on(
        "statistics_move_in_eval",
        TWO_MODES,
        _at(
            WHAT_MOVES,
            "layer_table_explorer",
            "in eval mode the running statistics stay as they are",
            training=False,
        ),
    ),
    _on("eval_* corrected_again eps_twice", TWO_MODES),
)
_RUNNING = (
    _on(
        "momentum_reversed old_value_* momentum_fixed momentum_default fresh_values_replaced",
        RUNNING_UPDATE,
        _at(
            FOLLOWING,
            "running_statistics_explorer",
            "a momentum near 1 keeps almost nothing of the past",
            momentum=0.7,
        ),
    ),
    _on(
        "none_as_a_number cumulative_* mean_of_the_last_two zero_taken_for_none",
        RUNNING_UPDATE,
        _at(
            FOLLOWING,
            "running_statistics_explorer",
            "with None every batch counts the same, however many there were",
            momentum=None,
        ),
    ),
    _on("biased_running_variance bessel_* eps_in_running_variance", RUNNING_UPDATE),
)
_VELOCITY = (
    _on("gradient_damped damped_* first_gradient_damped lr_in_velocity lr_twice", FOUR_WAYS),
    _on("beta_on_* never_fades velocity_ignored velocity_not_* momentum_ignored", HEAVY_BALL, _BALL_SWINGS),
    _on("nesterov_for_classical nesterov_always", LOOK_AHEAD, _NESTEROV),
)

# -- the exercises -----------------------------------------------------------------------------------

PASSAGES: dict[str, tuple[Section, tuple[_Rule, ...]]] = {}


def _explain(exercise: str, section: Section, *rules: _Rule | Iterable[_Rule]) -> None:
    flat: list[_Rule] = []
    for rule in rules:
        flat += [rule] if isinstance(rule, _Rule) else rule
    PASSAGES[exercise] = section, tuple(flat)


# Day 25
_explain(
    "standardize",
    FEATURE_SCALING,
    _on(
        "not_scaled",
        None,
        _at(BOWL, "bowl_explorer", "with scales as they are the bowl stays a valley", scale=4.0, part=0.0),
    ),
)
_CORRELATED = _at(
    BOWL,
    "bowl_explorer",
    "both features have mean square 1, and the condition number is 19",
    scale=1.0,
    offset=0.0,
    correlation=0.9,
    part=0.0,
)
_explain(
    "hessian_condition_number",
    FEATURE_SCALING,
    _on(
        "centred_features",
        None,
        _at(
            BOWL,
            "bowl_explorer",
            "two features of one scale, and an offset alone makes the valley",
            scale=1.0,
            offset=6.0,
            part=0.0,
        ),
    ),
    _on(
        "standardized_features",
        None,
        _at(BOWL, "bowl_explorer", "the raw features give a far larger number", scale=4.0, part=0.0),
    ),
    _on(
        "diagonal_for_eigenvalues",
        None,
        _CORRELATED,
    ),
)
_explain(
    "activation_statistics",
    LAYERS,
    _on(
        "root_mean_square mean_of_sizes",
        INNER_LAYERS,
        _at(LAYERS, "layers_explorer", "the outputs of ReLU are all positive", activation="ReLU", gain=1.4),
    ),
    _on("unbiased_deviation", FEATURE_SCALING),
)
_VANISHING = _at(
    LAYERS,
    "layers_explorer",
    "the gradient gets smaller in each layer on its way back, and the first weights have least of it",
    depth=20,
    activation="sigmoid",
    gain=1.0,
)
_EXPLODING = _at(
    LAYERS,
    "layers_explorer",
    "the first gradient and the last are about alike, and all of them are huge",
    depth=20,
    activation="linear",
    gain=2.0,
)
_explain("gradient_norms", DEEP_PRODUCTS, _on("order_reversed", None, _VANISHING))
_explain(
    "gradient_verdict",
    DEEP_PRODUCTS,
    _on("ratio_upside_down extremes_compared", LAYERS, _VANISHING),
    _on("no_ratio", LAYERS, _EXPLODING),
)
_explain(
    "gradient_profile",
    DEEP_PRODUCTS,
    _on("ratio_upside_down extremes_compared size_alone", LAYERS, _VANISHING),
    _on("ratio_alone ratio_first one_norm_for_*", LAYERS, _EXPLODING),
)
_explain(
    "critical_gain",
    SCALE_OF_WEIGHTS,
    _on(
        "gain_from_a_table variance_for_mean_square upside_down root_missing mean_of_sizes bound_for_gain",
        None,
        _at(
            LAYERS,
            "layers_explorer",
            "at a gain of about 1.4 ReLU lets the signal through all 20 layers",
            depth=20,
            activation="ReLU",
            gain=1.4,
        ),
    ),
)

# Day 26
_explain("batch_norm_forward", FORMULA, _EPS, _VARIANCE, _ONE_FEATURE, _AFFINE)
_explain("numerical_gradient", CHECKING, _on("all_at_once", None, _TIED))
_explain("batch_norm_backward", CLOSED_FORM, _PATHS)
_explain(
    "identity_parameters",
    UNDOING,
    _on("eps_*", None, _LARGE_EPS),
    _on("unbiased_*", FIVE_STEPS),
    _on("one_statistic_for_all statistics_of_rows", FORMULA, _CENTRED),
    _on("variance_for_deviation inverse_scale swapped negative_shift shift_in_* fresh_layer", None, _UNDONE),
)
_explain(
    "BatchNormFunction",
    CHECKING,
    _PATHS,
    _EPS,
    _VARIANCE,
    _ONE_FEATURE,
    _on("gamma_missing_in_dx", CLOSED_FORM),
    _AFFINE,
)
_explain(
    "missing_path",
    CLOSED_FORM,
    _on("right_angles_exactly", CLOSED_FORM, _AT_X_HAT),
    _on("paths_swapped both_overlooked", CLOSED_FORM, _AT_X_HAT),
)
_explain("outside_backward", CLOSED_FORM, _on("eps_inside_root", AWKWARD, _LARGE_EPS), _PATHS)

# Day 27
_explain("update_running_stats", RUNNING_UPDATE, _RUNNING)
_explain("batch_norm_inference", TWO_MODES, _MODES, _EPS, _AFFINE)
_explain(
    "BatchNorm1d",
    FOUR_VECTORS,
    _MODES,
    _RUNNING,
    _on("graph_kept deviation_stored not_updated wrong_mean", RUNNING_UPDATE),
    _on("statistics_constant variance_constant mean_constant", BACKWARD, _TIED),
    _EPS,
    _VARIANCE,
    _ONE_FEATURE,
    _AFFINE,
)
_explain("averaging_momenta", RUNNING_UPDATE, _RUNNING)
_explain("count_parameters", COUNTING, _on("parameter_and_buffer only_running_statistics", FOUR_VECTORS))
_explain(
    "freeze_batch_norm",
    FREEZING,
    _on(
        "parameters_only",
        None,
        _at(
            WHAT_MOVES,
            "layer_table_explorer",
            "gamma and beta stand still, and the running statistics move",
            training=True,
            requires_grad=False,
        ),
    ),
    _on(
        "momentum_zero",
        None,
        _at(
            WHAT_MOVES,
            "layer_table_explorer",
            "the running statistics stay, but the batch still normalizes itself",
            training=True,
            momentum=0.0,
        ),
    ),
    _on(
        "no_grad_for_eval",
        None,
        _at(
            WHAT_MOVES,
            "layer_table_explorer",
            "without any gradient the running statistics move all the same",
            training=True,
            learning=False,
        ),
    ),
    _on(
        "parameters_still_learn shift_still_learns",
        None,
        _at(
            WHAT_MOVES,
            "layer_table_explorer",
            "in eval mode gamma and beta still learn",
            training=False,
            requires_grad=True,
        ),
    ),
)
_explain(
    "diagnose_batch_norm",
    FREEZING,
    _on("none_for_zero small_for_zero momentum_of_the_old", RUNNING_UPDATE),
    _on("bias_*", FIVE_STEPS, _CENTRED),
    _on("flag_of_the_model all_norms_asked some_norms_only", TWO_MODES),
)

# Day 28
_IMAGE = (
    _on("per_pixel", CHANNELS, _PER_PIXEL),
    _on("per_sample layer_statistics channels_averaged one_statistic_for_all", CHANNELS, _PER_CHANNEL),
    _on("variances_averaged means_spread bessel_with_batch_size wrong_count", CHANNELS),
)
_explain("channel_statistics", CHANNELS, _IMAGE, _on("unbiased_variance variance_about_zero", FIVE_STEPS))
_explain("batch_norm_2d", CHANNELS, _IMAGE, _EPS, _VARIANCE, _AFFINE)
_explain("conv_bn_relu", BIAS, _on("relu_before_norm norm_before_convolution", ORDER))
_explain("fold_batch_norm", FOLDING, _EPS, _on("batch_statistics", TWO_MODES))
_explain("fold_forward", FOLDING, _EPS)
_ANOTHER_CAMERA = _at(
    ANEW,
    "new_data_explorer",
    "the stored statistics fit other images, and the answers suffer until they are measured anew",
    contrast=0.4,
    brightness=0.5,
    num_images=64,
)
_explain(
    "recalibrate",
    ANEW,
    _on("old_statistics_kept mode_not_switched nothing_measured layers_missed", None, _ANOTHER_CAMERA),
    _on("exponential_average", RUNNING_UPDATE),
)
_explain(
    "stale_statistics",
    ANEW,
    _on("measured_in_eval_mode means_only deviations_only", None, _ANOTHER_CAMERA),
)

# Day 29
_CUTS = (
    _on("batch_and_layer_swapped samples_kept_in_batch samples_counted_in_batch", None, _BATCH),
    _on("channels_kept_in_layer channels_counted_in_layer", None, _LAYER),
    _on("instance_over_* channels_not_counted_in_instance samples_not_counted", None, _INSTANCE),
    _on("group_size channels_counted_in_group groups_not_counted", None, _GROUP),
)
_explain("normalized_axes", ONE_CHOICE, _CUTS)
_explain("statistics_count", ONE_CHOICE, _CUTS)
_explain(
    "layer_norm",
    IN_CODE,
    _AXES,
    _on("affine_per_channel affine_misaligned", ONE_CHOICE),
    _EPS,
    _VARIANCE,
    _AFFINE,
)
_explain("instance_norm", IN_CODE, _AXES, _EPS, _VARIANCE, _AFFINE)
_explain(
    "group_norm",
    IN_CODE,
    _on("interleaved_groups reshape_mixes_channels group_size groups_not_undone across_groups", None, _GROUP),
    _AXES,
    _EPS,
    _VARIANCE,
    _AFFINE,
)
_explain(
    "diagnose_norm",
    WHICH_NORM,
    _on("batch_and_layer_swapped other_samples_overlooked single_sample", None, _BATCH),
    _on("layer_and_instance_swapped group_as_instance", None, _INSTANCE),
    _on("group_as_layer group_size extremes_as_groups", None, _GROUP),
)
_explain(
    "adaptive_instance_norm",
    FORGETTING,
    _on(
        "style_mean_missing",
        None,
        _at(FORGETTING, "swap_explorer", "only the spread is swapped; the light stays", what="std"),
    ),
    _on(
        "style_deviation_missing content_not_scaled",
        None,
        _at(FORGETTING, "swap_explorer", "only the mean is swapped; the contrast stays", what="mean"),
    ),
    _on(
        "layer_statistics",
        None,
        _at(
            FORGETTING,
            "swap_explorer",
            "with one mean for all channels the colours keep their differences",
            axes=(1, 2, 3),
        ),
    ),
    _on("batch_statistics", ONE_CHOICE, _INSTANCE),
    _EPS,
    _VARIANCE,
)
_explain(
    "layer_norm_backward",
    FROM_THE_AXES,
    _on("variance_path_*", CLOSED_FORM, _AT_X_HAT),
    _on("both_paths_missing mean_path_missing mean_path_sign", CLOSED_FORM),
    _on("factor_in_variance_path", CLOSED_FORM, _AT_X_HAT),
    _on("batch_norm_for_layer_norm means_over_the_batch", ONE_CHOICE, _LAYER),
    _on("parameters_*", ONE_CHOICE),
    _EPS,
)

# Day 30
_explain("parameter_groups", PENALTY)
_explain("kind_of_decay", PENALTY)
_explain("dropout", DROPOUT)
_SORTED = _at(
    FREE_NOISE,
    "mean_noise_explorer",
    "in sorted batches the means spread far more than the formula says",
    size=16,
    kind="pixel",
    order="sorted",
)
_explain(
    "batch_mean_std",
    FREE_NOISE,
    _on(
        "theory",
        None,
        _SORTED,
    ),
)
_ROOT_OF_RATE = _at(
    WITHOUT_SCALE,
    "decay_explorer",
    "whatever its length at the start, w settles where decay and growth are even",
    lr=1.0,
    weight_decay=0.01,
    start=10.0,
)
_explain("effective_learning_rate", WITHOUT_SCALE)
_explain("decay_equivalent", WITHOUT_SCALE)
_explain(
    "equilibrium_norm",
    WITHOUT_SCALE,
    _on("small_steps pulls_in_one_line decay_without_lr two_missing root_missing", None, _ROOT_OF_RATE),
)

# Day 31
_explain("covariate_shift", SHIFT)
_HOLDS_FOR_TINY_STEPS = _at(
    ALONG,
    "along_explorer",
    "the gradient holds for tiny steps only, and without batch norm for less than with it",
    at=0,
    depth=5,
    gain=2.0,
)
_explain("loss_along_gradient", ALONG, _on("straight_line", None, _HOLDS_FOR_TINY_STEPS))
_explain(
    "gradient_predictiveness",
    ALONG,
    _on("difference_of_norms new_gradient_alone losses_compared previous_point", None, _HOLDS_FOR_TINY_STEPS),
)
_explain("top_eigenvalue", LONGEST_STEP)
_explain("stable_learning_rate", LONGEST_STEP)
_explain("frozen_norm_step", LARGER_RATES)
_explain("training_regime", LARGER_RATES, _on("limit_half learning_rate_ignored", LONGEST_STEP))

# Day 32
_APART = _at(
    DEVICES,
    "devices_explorer",
    "the devices lie apart, so the average of their variances is far too small",
    shift=3.0,
    unequal=False,
)
_UNEQUAL = _at(
    DEVICES,
    "devices_explorer",
    "one device holds more samples, and the plain average of the means is off",
    shift=1.0,
    unequal=True,
)
_explain(
    "merge_statistics",
    DEVICES,
    _on("between_missing deviations_averaged", None, _APART),
    _on("plain_averages unweighted between_unweighted within_unweighted distance_from_*", None, _UNEQUAL),
    _on("halves_when_merging", None, _UNEQUAL),
)
_explain(
    "sync_batch_norm_backward",
    DEVICES,
    _on("devices_weighted_equally equal_shards_assumed", None, _UNEQUAL),
    _on("own_statistics own_sums_* own_mean_distance one_sum_exchanged", None, _APART),
    _on("factor_in_variance_path", CLOSED_FORM, _AT_X_HAT),
    _PATHS,
)
_explain(
    "ghost_batch_norm",
    DEVICES,
    _on(
        "whole_batch_statistics statistics_shared",
        TOGETHER,
        _at(
            TOGETHER,
            "batch_size_explorer",
            "the same entry gets another value in each small batch",
            batch_size=4,
        ),
    ),
    _EPS,
    _VARIANCE,
    _ONE_FEATURE,
    _AFFINE,
)
_explain("rms_norm", ONE_TOKEN)
_explain("weight_standardization", FROM_WEIGHTS, _EPS, _VARIANCE)
_explain("weight_norm", FROM_WEIGHTS)
_explain("find_leak", TOGETHER)

# Day 33
_UPHILL = _on("uphill gradient_subtracted", VALLEY)
_explain("gradient_descent", VALLEY, _on("momentum_added", HEAVY_BALL, _BALL_SWINGS))
_explain("momentum_step", HEAVY_BALL, _VELOCITY, _UPHILL)
_explain(
    "nesterov_step",
    LOOK_AHEAD,
    _on("classical_for_nesterov", None, _NESTEROV),
    _on("gradient_damped lr_in_velocity lr_twice", FOUR_WAYS),
    _on("velocity_ignored", None, _NESTEROV),
)
_explain(
    "exponential_moving_average",
    AVERAGES,
    _on("correction_* started_at_first_value", None, _NO_CORRECTION),
    _on("weights_swapped not_damped plain_mean beta_fixed", None, _LONG_MEMORY),
)
_explain(
    "optimal_heavy_ball",
    TWO_ROOTS,
    _on(
        "lr_of_gradient_descent beta_not_squared beta_without_roots parameters_of_nesterov lr_at_the_limit",
        None,
        _at(
            PLANE,
            "rate_plane_explorer",
            "the star marks the best lr and beta, and the cursor stands near it",
            lr=2.78,
            beta=0.44,
            condition=25,
            nesterov=False,
        ),
    ),
    _on("lr_for_damped_gradients", FOUR_WAYS),
)
_explain(
    "SGD",
    HEAVY_BALL,
    _on(
        "nesterov_ignored nesterov_default nesterov_without_* nesterov_stretched nesterov_old_* look_ahead_*",
        LOOK_AHEAD,
        _NESTEROV,
    ),
    _VELOCITY,
    _on("weight_decay_*", PENALTY),
)
_ROOTS_SWING = _at(
    PLANE,
    "rate_plane_explorer",
    "the roots are complex: both lie on one circle, and the ball swings",
    lr=1.0,
    beta=0.8,
    condition=25,
    nesterov=False,
)
_explain(
    "momentum_roots",
    TWO_ROOTS,
    _on("imaginary_part_* root_of_a_negative_number sizes_only one_root_twice", None, _ROOTS_SWING),
    _on("gradient_damped", FOUR_WAYS),
    _on("nesterov", LOOK_AHEAD, _NESTEROV),
)
_explain("convert_momentum", FOUR_WAYS)
_explain("steps_on_digits", HEAVY_BALL, _on("one_rate_for_all", FEATURE_SCALING))

# Day 34
_explain(
    "convergence_rate",
    TWO_ROOTS,
    _on("imaginary_part_* real_part_only root_of_* beta_for_complex_roots one_root_only", None, _ROOTS_SWING),
    _on(
        "largest_eigenvalue_only smallest_eigenvalue_only not_the_worst ends_taken_for_extremes",
        None,
        _at(
            PLANE,
            "rate_plane_explorer",
            "the flattest direction sets the rate here, not the steepest",
            lr=0.4,
            beta=0.3,
            condition=100,
            nesterov=False,
        ),
    ),
    _on("momentum_ignored", HEAVY_BALL, _BALL_SWINGS),
    _on("gradient_damped", FOUR_WAYS),
    _on("nesterov", LOOK_AHEAD, _NESTEROV),
)
_explain("steps_to_tolerance", STEPS_NEEDED)
_explain(
    "whiten",
    THREE_TROUBLES,
    _on(
        "standardized_only too_few_iterations",
        None,
        _at(
            TWO_BY_TWO,
            "two_by_two_explorer",
            "standardized features are still correlated, and the bowl is still a valley",
            scale=1.0,
            correlation=0.9,
            whiten=False,
        ),
    ),
    _on("eps_outside_root eps_missing eps_subtracted", AWKWARD),
    _on("unbiased_covariance", FIVE_STEPS),
)
_explain("train", EACH_LEAVES, _on("*_mode", TWO_MODES))
_explain("compare", EACH_LEAVES)


def _step(rule: str, shows: str, **settings: Any) -> View:
    """The surface of day 34 under a rule for the step."""
    return _at(FIVE_RULES, "step_rules_explorer", shows, rule=rule, **settings)


_LENGTHLESS = _step("normalized", "every step is equally long, near the minimum too", decay=False)
_explain(
    "normalized_step",
    THIRD_LEVER,
    _on("not_normalized clipped", None, _LENGTHLESS),
    _on("each_entry_by_its_size", None, _step("sign", "a sign step only ever goes along diagonals")),
)
_explain(
    "sign_momentum_step",
    THIRD_LEVER,
    _on(
        "sign_missing normalized_by_length sign_with_size lion",
        None,
        _step("sign", "every weight moves by lr"),
    ),
    _on("gradient_damped lr_in_velocity", FOUR_WAYS),
)
_explain(
    "adam_step",
    AVERAGES,
    _on("correction_* one_corrected step_counted_from_0 corrected_stored", None, _NO_CORRECTION),
    _on("weights_swapped betas_swapped gradients_not_averaged", None, _LONG_MEMORY),
    _on(
        "root_missing not_divided not_squared squares_over_all_entries variance_for_square",
        THIRD_LEVER,
        _step("adam", "each weight is divided by a size of its own, so steps are about lr long"),
    ),
    _on("eps_*", THIRD_LEVER),
    _on("nesterov", LOOK_AHEAD, _NESTEROV),
)
_explain(
    "orthogonalized_step",
    THIRD_LEVER,
    _on(
        "normalized_only singular_values_kept rows_normalized signs length_kept root_missing",
        None,
        _step("orthogonalized", "both singular values become 1, whatever they were", surface="raw"),
    ),
)

# Exercises that ask for an input: the section about what it shows or hides
_explain("expose_cancellation", FEATURE_SCALING)
_explain("expose_diagonal", FEATURE_SCALING, _on("columns_hardly_correlated", None, _CORRELATED))
_explain("expose_eps_outside", AWKWARD, _on("variance_large", None, _LARGE_EPS))
_explain("expose_unbiased", FIVE_STEPS)
_explain("hide_constant_statistics", CLOSED_FORM, _on("dy_along_x", None, _AT_X_HAT))
_explain("hide_momentum_reversed", RUNNING_UPDATE)
_explain("expose_batch_statistics", TWO_MODES, _on("variances_alike", None, _COMPANY))
_explain("expose_averaged_variances", CHANNELS)
_explain("hide_per_sample", CHANNELS, _on("means_differ", None, _PER_CHANNEL))
_explain("expose_interleaved_groups", IN_CODE, _on("channels_of_one_scale", None, _GROUP))
_explain("hide_rows_normalized", ONE_CHOICE, _on("means_differ", None, _BATCH))
_explain("expose_textbook_noise", FREE_NOISE, _on("batches_well_mixed", None, _SORTED))
_explain("hide_share_of_mask", DROPOUT)
_explain("expose_lost_sign", LONGEST_STEP)
_explain("expose_layer_by_layer", SHIFT)
_explain("hide_plain_mean", DEVICES, _on("a_large_shard_pulls", None, _UNEQUAL))
_explain("expose_deviation_for_rms", ONE_TOKEN)
_explain("expose_lr_in_velocity", FOUR_WAYS)
_explain("hide_nesterov", LOOK_AHEAD, _on("speed_still_changes", None, _NESTEROV))
_explain("hide_missing_correction", AVERAGES, _on("first_step_too_*", None, _NO_CORRECTION))
_explain("expose_sign_of_gradient", THIRD_LEVER)
