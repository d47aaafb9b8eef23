"""Inputs that several exercises share: batches and feature maps that tell normalizations apart.

A wrong place or size of eps shows only where a variance is about as large as eps; a wrong count only
where it is small and all sizes differ; cancellation only at a large offset; values that are cut off only
where one is far out. Each kind has a case whose sizes are drawn from a wide range, so that code for small
sizes alone does not get through.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from graders.probing.exercise import Draw


def batches(draw: Draw) -> Iterator[tuple[str, torch.Tensor, float | None]]:
    """Named batches (N, D), each with an eps; None means that the default, 1e-5, is to be used."""
    n, d = draw.sizes((5, 9), (3, 4))
    yield f"an ordinary batch, {n} × {d}", draw.batch(n, d), None

    x = draw.batch(n, d)
    x[:, 0] = draw.normal(n, std=0.003)
    yield "a feature with a variance near eps", x, None

    x = draw.batch(n, d)
    x[:, 1] = draw.normal(n, std=0.15)
    yield "eps = 0.02", x, 0.02

    x = draw.batch(n, d)
    x[:, 2] = 0.75
    yield "a constant feature", x, 1e-3
    yield "a batch of two", draw.batch(2, d), 1e-4
    yield "a batch of one", draw.batch(1, d), 1e-5
    yield "features at an offset of 10,000", draw.normal(n + 10, d, mean=1e4), 1e-5
    yield "many features, not contiguous in memory", draw.batch(draw.many(), n).t(), 1e-5
    x = draw.batch(draw.integer(2000, 5000), 2)
    x[1, 1] += 100  # for what cuts off values far out; what shifts the data by the first row is right
    yield "a batch of some thousands", x, 1e-5


def feature_maps(draw: Draw) -> Iterator[tuple[str, torch.Tensor, float | None]]:
    """Named feature maps (N, C, H, W), each with an eps; None: the default, 1e-5, is to be used.

    C is 6, and once a larger multiple of 12. No two of the sizes are the same, and every channel and every
    sample has a scale of its own, so that statistics over the wrong axes differ.
    """
    n, h, w = draw.sizes((2, 3), (4, 5), (7, 8))
    c = 6

    def maps(count: int = n, height: int = h, width: int = w, channels: int = c) -> torch.Tensor:
        scale = draw.uniform(count, channels, 1, 1, low=0.5, high=2.0)
        offset = draw.uniform(count, channels, 1, 1, low=-2.0, high=2.0)
        return draw.normal(count, channels, height, width) * scale + offset

    yield f"ordinary feature maps, {n} × {c} × {h} × {w}", maps(), None
    yield "maps with a variance near eps", draw.normal(n, c, h, w, std=0.003), None
    yield "eps = 0.02", draw.normal(n, c, h, w, std=0.15), 0.02
    x = maps()
    x[0] = 0.75
    x[:, 2] = 0.75
    yield "a constant channel and a constant sample", x, 1e-3
    yield "a single sample, of high maps", maps(1, height=draw.many()), 1e-4
    yield "maps at an offset of 10,000", draw.normal(n, c, h, w, mean=1e4), 1e-5
    yield "maps of a single, long row", maps(height=1, width=draw.many()), 1e-5
    larger = draw.sizes((9, 12), (5, 8), (5, 8))
    x = maps(*larger, channels=12 * draw.integer(2, 3))
    x[0, 0, 1, 1] += 100  # not the first pixel either
    yield "more and larger maps", x, 1e-5
