"""Intervals for the mean of a series whose neighbours resemble each other: the circular block bootstrap.

Shapes: N values in order of time, M models that each give such a series, D draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True, kw_only=True)
class BlockInterval:
    """A mean with its interval.

    Attributes:
        mean: Of all values.
        low, high: Interval.
        confidence: Of it [-].
        block: Length of the blocks that were drawn, in values.
        count: N.
    """

    mean: float
    low: float
    high: float
    confidence: float
    block: int
    count: int


def block_length(values_N: np.ndarray) -> int:
    """Length of block from the series' own autocorrelation.

    Politis, D. N. and White, H. (2004). Automatic block-length selection for the dependent bootstrap. Econometric
    Reviews 23(1), 53-70, with the correction of Patton, Politis and White (2009), for the circular block bootstrap.
    """
    count = len(values_N)
    centred = values_N - values_N.mean()
    variance = float(centred @ centred) / count
    if count < 8 or variance <= 1e-24 * max(1.0, float(np.abs(values_N).max()) ** 2):
        return 1
    run = max(5, math.ceil(math.log10(count)))
    most = min(math.ceil(math.sqrt(count)) + run, count - 1)
    covariance = np.array([float(centred[k:] @ centred[: count - k]) / count for k in range(most + 1)])
    small = np.abs(covariance[1:] / variance) < 2.0 * math.sqrt(math.log10(count) / count)
    starts = [m for m in range(most - run + 1) if small[m : m + run].all()]
    reach = min(2 * max(starts[0], 1), most) if starts else most
    at = np.arange(1, reach + 1)
    weight = np.clip(2.0 * (1.0 - at / reach), 0.0, 1.0) if reach > 1 else np.ones(1)
    slope = 2.0 * float((weight * at * covariance[at]).sum())
    level = variance + 2.0 * float((weight * covariance[at]).sum())
    if level <= 0.0:
        return 1
    wanted = (1.5 * (slope / level) ** 2 * count) ** (1.0 / 3.0)  # (2 G^2 / D)^(1/3) N^(1/3) with D = 4/3 g(0)^2
    return int(np.clip(math.ceil(wanted), 1, math.ceil(min(3.0 * math.sqrt(count), count / 3.0))))


def block_interval(
    values_MN: np.ndarray, *, confidence: float = 0.95, draws: int = 4000, seed: int = 0, block: int | None = None
) -> BlockInterval:
    """Mean of a series with its interval; where several models give it, each draw also takes one of them at random.

    So the interval holds both how much the series' mean would differ in another stretch of time and how much the models
    differ. Few blocks make a percentile interval too short: the draws' distance from their model's mean is stretched by
    Student's quantile and `sqrt(B / (B - 1))`, with B the number of blocks that fit into the series.

    Args:
        values_MN: [M, N], or [N] of a single one.
        block: None takes it from the autocorrelation of the models' mean.

    Raises:
        ValueError: Fewer than two values.
    """
    values = np.atleast_2d(values_MN)
    models, count = values.shape
    if count < 2:
        raise ValueError(f"an interval needs at least two values, got {count}")
    length = min(block or block_length(values.mean(axis=0)), count)
    rng = np.random.default_rng(seed)
    pieces = math.ceil(count / length)
    at = (rng.integers(0, count, (draws, pieces))[:, :, None] + np.arange(length)).reshape(draws, -1)[:, :count] % count
    which = rng.integers(0, models, draws)
    own = values.mean(axis=1)[which]
    blocks = max(2.0, count / length)
    stretch = math.sqrt(blocks / (blocks - 1.0)) * _student_over_normal(blocks - 1.0, confidence)
    means = own + stretch * (values[which[:, None], at].mean(axis=1) - own)
    low, high = np.quantile(means, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return BlockInterval(
        mean=float(values.mean()), low=float(low), high=float(high), confidence=confidence, block=length, count=count
    )


def _student_over_normal(freedom: float, confidence: float) -> float:
    """Student's quantile over the normal one by the expansion of Abramowitz and Stegun 26.7.5; 3 at the most."""
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    terms = (
        (z**2 + 1.0) / 4.0,
        (5.0 * z**4 + 16.0 * z**2 + 3.0) / 96.0,
        (3.0 * z**6 + 19.0 * z**4 + 17.0 * z**2 - 15.0) / 384.0,
    )
    return min(3.0, 1.0 + sum(term / freedom ** (i + 1) for i, term in enumerate(terms)))
