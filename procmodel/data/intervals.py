"""Histograms of the intervals between good samples: what is usual for a tag. Shapes: C tags, B bins of 2 to 3 %."""

from __future__ import annotations

import math

import numpy as np

from procmodel.data.kernels import BINS, PER_OCTAVE

_FEWEST = 5  # intervals without which none is usual


def edges() -> np.ndarray:
    """Edges of the bins [us], [B + 1]: each octave in parts of equal width."""
    octave, within = np.divmod(np.arange(BINS + 1), PER_OCTAVE)
    return np.ldexp(1.0 + within / PER_OCTAVE, octave)


def quantile(intervals_B: np.ndarray, share: float) -> int:
    """Upper edge of the bin with that order statistic of the intervals [us]; 0 without intervals.

    Rounded down: of fewer than 100 intervals the longest one, perhaps an outage, is never the 99th percentile.
    """
    total = int(intervals_B.sum())
    if total == 0:
        return 0
    at = int(np.searchsorted(np.cumsum(intervals_B), math.floor(share * (total - 1)), side="right"))
    octave, within = divmod(at, PER_OCTAVE)
    return math.ceil(math.ldexp(1.0 + (within + 1) / PER_OCTAVE, octave))


def longest_bridged(rules_C: np.ndarray, intervals_CB: np.ndarray) -> np.ndarray:
    """Longest bridged interval per tag, [C] [us], where tags without one go by their intervals.

    Args:
        rules_C: Of `procmodel.data.kernels.RULE`.
    """
    gaps_C: np.ndarray = rules_C["max_gap"].copy()
    for c in np.flatnonzero(rules_C["by_intervals"] & (intervals_CB.sum(axis=1) >= _FEWEST)):
        usual = max(6 * quantile(intervals_CB[c], 0.5), 2 * quantile(intervals_CB[c], 0.99))
        gaps_C[c] = max(gaps_C[c], usual)
    return gaps_C
