"""Inputs that show a mistake, or hide it, found in other ways; all days."""

from __future__ import annotations

import math

import torch

# -- day 26 ------------------------------------------------------------------------------------------


def scaled_random(n, d, eps):
    x = torch.randn(n, d, dtype=torch.float64)
    return (x - x.mean(0)) / x.std(0) * eps**0.5 / 2


def alternating(n, d, eps):
    signs = torch.tensor([(-1.0) ** i for i in range(n)])
    return (2 + eps * signs).double()[:, None] + torch.zeros(d)


def one_spike(n, d, eps):
    x = torch.full((n, d), 3.0, dtype=torch.float64)
    x[-1, -1] += eps**0.5
    return x


def ten_times_too_wide(n, d, eps):
    return scaled_random(n, d, eps) * 20


def by_search(d, share):
    n = max(n for n in range(2, 100) if 1 - math.sqrt((n - 1) / n) >= share)
    return torch.randn(n, d, dtype=torch.float64)


def by_trial(d, share):
    """Tries batches until the difference is too small."""
    for n in range(2, 100):
        x = torch.linspace(0, 9, n + 1, dtype=torch.float64)[:, None].expand(n + 1, d)
        right, wrong = x.var(0, correction=0).sqrt(), x.var(0).sqrt()
        if (1 - right / wrong).max() < share:
            return x[:n]


def one_feature_varies(d, share):
    x = torch.zeros(by_search(d, share).shape)
    x[0, 0] = 10.0
    return x


def by_the_variance(d, share):
    return torch.randn(int(1 / share), d)


def by_projection(n, d):
    x = torch.randn(n, d, dtype=torch.float64)
    columns = []
    for column in x.T:
        basis = torch.linalg.qr(torch.stack([torch.ones(n).double(), column], 1))[0]
        dy = torch.randn(n, dtype=torch.float64)
        columns.append(dy - basis @ (basis.T @ dy))
    return x, torch.stack(columns, 1)


def even_and_odd(n, d):
    t = torch.linspace(-1, 1, n, dtype=torch.float64)
    even = t**2 - (t**2).mean()
    return t[:, None].repeat(1, d), even[:, None].repeat(1, d)


def from_the_right_dx(n, d):
    """The right dx of any dy needs neither path any more, where eps does not matter."""
    x, dy = torch.randn(n, d) * 3, torch.randn(n, d)
    x_hat = (x - x.mean(0)) / x.std(0, correction=0)
    return x, dy - dy.mean(0) - x_hat * (dy * x_hat).mean(0)


def sums_of_rows(n, d):
    x, dy = torch.randn(n, d), torch.randn(n, d)
    return x, dy - dy.mean(1, keepdim=True)


# -- day 25 ------------------------------------------------------------------------------------------


def near_neighbours(n, d, largest):
    """Near each other among the numbers that float32 has just below largest."""
    line = torch.arange(n, dtype=torch.float32) * 128 * largest * 2.0**-23
    return (largest * 0.999 + line)[:, None].repeat(1, d)


def far_below_zero(n, d, largest):
    return -largest * (0.8 + 1e-4 * torch.rand(n, d, dtype=torch.float64))


def one_far_sample_each(n, d, largest):
    x = torch.full((n, d), 0.9 * largest)
    x[0] += 1e-3 * largest / n
    return x


def offset_of_ten(n, d, largest):
    return 10 + torch.randn(n, d)


def cosine_and_sine(n, kappa):
    """An ellipse at 45 degrees."""
    angle = torch.arange(n, dtype=torch.float64) / n * 2 * math.pi
    long, short = angle.cos(), angle.sin() / (1.2 * kappa) ** 0.5
    return torch.stack([long + short, long - short], 1)


def by_cholesky(n, kappa):
    """White columns given a correlation."""
    rho = 1 - 2 / (1.5 * kappa)
    white = torch.linalg.qr(torch.randn(n, 2, dtype=torch.float64))[0] * n**0.5
    return white @ torch.linalg.cholesky(torch.tensor([[1.0, rho], [rho, 1.0]]).double()).T


def opposite_columns(n, kappa):
    first = torch.ones(n, dtype=torch.float64)
    return torch.stack([first, -first + torch.linspace(-1, 1, n).double() / kappa**0.5], 1)


def correlated_a_little(n, kappa):
    x = torch.randn(n, 2)
    return torch.stack([x[:, 0], x[:, 0] + x[:, 1]], 1)


# -- day 27 ------------------------------------------------------------------------------------------


def any_batch_rescaled(n, mean, var):
    x = torch.rand(n, dtype=torch.float64)
    return (x - x.mean()) / x.std() * var**0.5 + mean


def by_counting_squares(n, mean, var):
    x = torch.arange(n, dtype=torch.float64) - (n - 1) / 2
    return mean + x * (var * (n - 1) / x.square().sum()) ** 0.5


def one_against_all(n, mean, var):
    x = torch.full((n,), -1.0)
    x[0] = n - 1
    return mean + x * (var / n) ** 0.5


def the_mean_alone(n, mean, var):
    return mean + torch.tensor([-1.0, 1.0] + [0.0] * (n - 2))


def the_others_gathered(n, d):
    a = torch.linspace(-9, 9, n).unsqueeze(1).repeat(1, d)
    a[0] = 1.0
    return a, torch.cat([a[:1], a[1:].mean(0).expand(n - 1, d)])


def stretched_apart(n, d):
    a = torch.zeros(n, d, dtype=torch.float64)
    a[0], a[1] = 2.0, -2.0
    b = a.clone()
    b[1], b[2] = -8.0, 6.0
    return a, b


def one_feature_only(n, d):
    a, b = stretched_apart(n, d)
    b[:, 1:] = a[:, 1:]
    return a, b


def rows_in_another_order(n, d):
    a = torch.rand(n, d)
    return a, torch.cat([a[:1], a[1:].roll(1, 0)])


# -- day 28 ------------------------------------------------------------------------------------------


def bright_and_dark(n, c, h, w):
    x = torch.rand(n, c, h, w, dtype=torch.float64) - 0.5
    return x + torch.arange(n).view(n, 1, 1, 1) * 3


def only_one_differs(n, c, h, w):
    x = torch.zeros(n, c, h, w)
    x[-1] = 1
    return x


def brightness_for_each_channel(n, c, h, w):
    steps = torch.arange(n).view(n, 1) * (-1.0) ** torch.arange(c)
    return steps[:, :, None, None].repeat(1, 1, h, w)


def one_bright_pixel(n, c, h, w):
    x = torch.zeros(n, c, h, w)
    x[:, :, 0, 0] = 1
    return x


def upside_down(n, c, h, w):
    """Turned upside down and from left to right, in all combinations that n asks for."""
    image = torch.rand(c, h, w)
    ways = [image, image.flip(1), image.flip(2), image.flip(1, 2)]
    return torch.stack(ways[:n])


def shuffled_pixels(n, c, h, w):
    pixels = torch.randn(c, h * w, dtype=torch.float64)
    return torch.stack([pixels[:, torch.randperm(h * w)].view(c, h, w) for _ in range(n)])


def bright_pixel_wanders(n, c, h, w):
    x = torch.zeros(n, c, h * w)
    for i in range(n):
        x[i, :, i] = 5.0
    return x.view(n, c, h, w)


def brightness_changes(n, c, h, w):
    return upside_down(n, c, h, w) * torch.linspace(1, 2, n).view(n, 1, 1, 1)


# -- day 29 ------------------------------------------------------------------------------------------


def quiet_last_group(n, c, groups):
    x = torch.rand(n, c, 4, 4, dtype=torch.float64) - 0.5
    x = x - x.mean((2, 3), keepdim=True)
    x[:, : c // groups] /= 50
    return x


def one_loud_channel_among_faint(n, c, groups):
    x = torch.tensor([-1.0, 1.0]).repeat(8).view(4, 4).repeat(n, c, 1, 1) * 0.1
    x[:, : c // groups] *= 80
    return x


def powers_by_channel(n, c, groups):
    """Each channel is twice as loud as the one before, in whole groups of one loudness."""
    scale = 10 * 0.05 ** (torch.arange(c) // (c // groups)).double()
    return scale.view(1, c, 1, 1) * torch.linspace(-1, 1, 16).view(4, 4).expand(n, c, 4, 4)


def loud_by_turns(n, c, groups):
    """Every other channel is a little louder."""
    scale = 1 + 0.2 * (torch.arange(c) % 2)
    return scale.view(1, c, 1, 1) * torch.linspace(-1, 1, 4).expand(n, c, 4, 4)


def permutation(n):
    return torch.eye(n)[torch.randperm(n)]


def sums_of_places(n):
    i = torch.arange(n, dtype=torch.float64)
    return (i[:, None] + i) % n / n


def waves(n):
    i = torch.arange(n, dtype=torch.float64)
    return torch.cos(2 * math.pi * (i[:, None] - i) / n)


def symmetric(n):
    i = torch.arange(n, dtype=torch.float64)
    return i[:, None] * i / n


# -- day 30 ------------------------------------------------------------------------------------------


def last_batch_of_ones(n, batch_size):
    x = torch.zeros(n, 1, dtype=torch.float64)
    x[-batch_size:] = 1
    return x


def batches_by_turns(n, batch_size):
    return (torch.arange(n) // batch_size % 2).view(n, 1)


def random_then_sorted(n, batch_size):
    x = (torch.rand(n) < 0.5).float()
    x[0], x[1] = 0, 1
    return x.sort().values.unsqueeze(1)


def sorted_within_batches(n, batch_size):
    return (torch.arange(n) % batch_size < batch_size // 2).float().view(n, 1)


def last_ones_kept(n, p):
    return torch.arange(n) >= n - round(n * (1 - p))


def smallest_numbers_kept(n, p):
    order = torch.rand(n).argsort().argsort()
    return (order < round(n * (1 - p))).double()


def dropped_one_by_one(n, p):
    keep = torch.ones(n, dtype=torch.int64)
    for i in range(round(n * p)):
        keep[i] = 0
    return keep


def drawn_at_random(n, p):
    keep = torch.ones(n)
    keep[0] = 0
    return keep


# -- day 31 ------------------------------------------------------------------------------------------


def by_signs(low):
    """As where all pull against each other, one coordinate turned round."""
    signs = torch.tensor([1.0, -1.0, 1.0])
    return (torch.eye(3) * (low + 7) - 7) * torch.outer(signs, signs)


def from_eigenvalues(low):
    way = torch.nn.functional.normalize(torch.tensor([1.0, 1.05, 0.95], dtype=torch.float64), dim=0)
    return 14 * torch.eye(3, dtype=torch.float64) - 30.8 * torch.outer(way, way)


def on_a_larger_diagonal(low):
    return torch.full((3, 3), -15.0).fill_diagonal_(4.0)


def two_that_pull(low):
    a = torch.eye(3) * low
    a[0, 1] = a[1, 0] = -18.0
    return a


def first_layer_turns(d):
    before = torch.stack([torch.full((d,), 1e-3), torch.full((d,), 5.0)]).double()
    return before, torch.stack([-3 * before[0], before[1]])


def turned_by_right_angles(d):
    """The small layer goes round so far that the average is 0, the large one hardly moves."""
    large = torch.zeros(d)
    large[0], small = 10.0, torch.zeros(d)
    small[1] = 1e-2
    return torch.stack([large, small]), torch.stack([large, -small])


def grows_and_turns(d):
    x = torch.rand(2, d) + 0.5
    x[1] /= 20
    return x, x * torch.tensor([[2.0], [-1.0]])


def turns_but_a_little(d):
    x = torch.rand(2, d) + 0.5
    return x, x + 0.01


# -- day 32 ------------------------------------------------------------------------------------------


def across_the_pulls(counts):
    """The direction at right angles to the pulls and to (1, 1, 1)."""
    pulls = torch.tensor(counts, dtype=torch.float64) / sum(counts) - 1 / 3
    means = torch.linalg.cross(pulls, torch.ones(3, dtype=torch.float64))
    return means / means.abs().max() * 8


def solved_for_one(counts):
    pulls = [count / sum(counts) - 1 / 3 for count in counts]
    first = 4.0 if abs(pulls[0]) < abs(pulls[1]) else 4.0 * pulls[1] / pulls[0]
    second = -first * pulls[0] / pulls[1]
    return torch.tensor([first, second, 0.0])


def moved_by_an_offset(counts):
    return solved_for_one(counts) + 1


def in_order_of_size(counts):
    return torch.tensor(counts) / max(counts) * 9


def below_zero(n, d, factor):
    return -8.5 + 8 / factor * torch.linspace(-1, 1, d, dtype=torch.float64).expand(n, d)


def two_values(n, d, factor):
    x = torch.full((n, d), 5.0)
    x[:, 0] += 5 / factor
    return x


def random_rows_far_off(n, d, factor):
    x = torch.rand(n, d, dtype=torch.float64)
    x = (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)
    return 8 + x * 7.9 / factor


def mean_of_one(n, d, factor):
    return 1 + torch.rand(n, d)


# -- day 33 ------------------------------------------------------------------------------------------


def falls_after_three(steps, beta):
    return torch.tensor([1.0] * 3 + [0.1] * (steps - 3), dtype=torch.float64)


def falls_in_two_steps(steps, beta):
    return torch.tensor([1.0, 0.9] + [0.1] * (steps - 2))


def a_little_less(steps, beta):
    lrs = torch.full((steps,), 0.101)
    lrs[:2] = 0.999
    return lrs


def falls_by_half(steps, beta):
    lrs = torch.full((steps,), 0.5)
    lrs[:2] = 1
    return lrs


def from_the_gradient(d, beta):
    g = 0.3 * (torch.arange(d, dtype=torch.float64) + 1) / d
    return g / (1 - beta), g


def downwards(d, beta):
    velocity = -torch.full((d,), 8.0)
    return velocity, velocity - beta * velocity


def both_ways(d, beta):
    velocity = (torch.rand(d, dtype=torch.float64) + 1) * 4 * (-1.0) ** torch.arange(d)
    return velocity, (1 - beta) * velocity


def gradient_by_beta(d, beta):
    velocity = torch.ones(d)
    return velocity, beta / 2 * velocity


# -- day 34 ------------------------------------------------------------------------------------------


def by_halving(beta1):
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if (1 - beta1) / (1 - middle) ** 0.5 < 1 else (low, middle)
    return low


def as_a_tensor(beta1):
    return 1 - torch.tensor(1 - beta1).square()


def written_out(beta1):
    return 2 * beta1 - beta1 * beta1


def root_of_beta1(beta1):
    return beta1**0.5


def uphill_then_down(steps, beta):
    return torch.tensor([-3.0] * (steps - 1) + [3.0], dtype=torch.float64)


def growing(steps, beta):
    gradients = torch.linspace(0.9, 1.0, steps)
    gradients[-1] = -1.0
    return gradients


def three_before_the_turn(steps, beta):
    gradients = torch.zeros(steps)
    gradients[-5:] = torch.tensor([1.0, 1.0, 1.0, 1.0, -1.0])
    return gradients


def by_turns(steps, beta):
    return (-1.0) ** torch.arange(steps)


RIGHT = {
    "expose_cancellation": (near_neighbours, far_below_zero, one_far_sample_each),
    "expose_diagonal": (cosine_and_sine, by_cholesky, opposite_columns),
    "expose_eps_outside": (scaled_random, alternating, one_spike),
    "expose_unbiased": (by_search, by_trial, one_feature_varies),
    "hide_constant_statistics": (by_projection, even_and_odd, from_the_right_dx),
    "hide_momentum_reversed": (any_batch_rescaled, by_counting_squares, one_against_all),
    "expose_batch_statistics": (the_others_gathered, stretched_apart, one_feature_only),
    "expose_averaged_variances": (bright_and_dark, only_one_differs, brightness_for_each_channel),
    "hide_per_sample": (upside_down, shuffled_pixels, bright_pixel_wanders),
    "expose_interleaved_groups": (quiet_last_group, one_loud_channel_among_faint, powers_by_channel),
    "hide_rows_normalized": (permutation, sums_of_places, waves),
    "expose_textbook_noise": (last_batch_of_ones, batches_by_turns, random_then_sorted),
    "hide_share_of_mask": (last_ones_kept, smallest_numbers_kept, dropped_one_by_one),
    "expose_lost_sign": (by_signs, from_eigenvalues, on_a_larger_diagonal),
    "expose_layer_by_layer": (first_layer_turns, turned_by_right_angles, grows_and_turns),
    "hide_plain_mean": (across_the_pulls, solved_for_one, moved_by_an_offset),
    "expose_deviation_for_rms": (below_zero, two_values, random_rows_far_off),
    "expose_lr_in_velocity": (falls_after_three, falls_in_two_steps, a_little_less),
    "hide_nesterov": (from_the_gradient, downwards, both_ways),
    "hide_missing_correction": (by_halving, as_a_tensor, written_out),
    "expose_sign_of_gradient": (uphill_then_down, growing, three_before_the_turn),
}

WRONG = {
    "expose_cancellation": (offset_of_ten,),
    "expose_diagonal": (correlated_a_little,),
    "expose_eps_outside": (ten_times_too_wide,),
    "expose_unbiased": (by_the_variance,),
    "hide_constant_statistics": (sums_of_rows,),
    "hide_momentum_reversed": (the_mean_alone,),
    "expose_batch_statistics": (rows_in_another_order,),
    "expose_averaged_variances": (one_bright_pixel,),
    "hide_per_sample": (brightness_changes,),
    "expose_interleaved_groups": (loud_by_turns,),
    "hide_rows_normalized": (symmetric,),
    "expose_textbook_noise": (sorted_within_batches,),
    "hide_share_of_mask": (drawn_at_random,),
    "expose_lost_sign": (two_that_pull,),
    "expose_layer_by_layer": (turns_but_a_little,),
    "hide_plain_mean": (in_order_of_size,),
    "expose_deviation_for_rms": (mean_of_one,),
    "expose_lr_in_velocity": (falls_by_half,),
    "hide_nesterov": (gradient_by_beta,),
    "hide_missing_correction": (root_of_beta1,),
    "expose_sign_of_gradient": (by_turns,),
}
