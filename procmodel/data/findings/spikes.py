"""Spikes: single samples that leave the signal and come back. Shapes: N samples of one tag."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

SPIKE = 15.0


def spikes(values_N: np.ndarray, bound: float = SPIKE) -> np.ndarray:
    """Indices of samples far from the median of the five around them, [M].

    `|x_i - median(x_{i-2} .. x_{i+2})| > bound * scale`, with `scale = 1.4826 * median` of all these distances (Hampel
    1974): a spike of one or two samples does not move the median, and a step or a ramp lies on it. Where more than half
    of the distances are 0 (a coarse or quiet sensor), the scale is the median of those that are not.

    Args:
        values_N: Good samples in order of time.
        bound: 15 scales. The largest distance in clean archived records of the reference plants is about 8 scales, and
            the smallest spike that harms a model (5 % of span) is commonly above 20.
    """
    if len(values_N) < 10:
        return np.empty(0, dtype=np.int64)
    windows_N5 = sliding_window_view(np.pad(values_N, 2, mode="edge"), 5)
    away_N = np.abs(values_N - np.median(windows_N5, axis=1))
    scale = float(np.median(away_N))
    if scale == 0.0:
        scale = float(np.median(away_N[away_N > 0])) if (away_N > 0).sum() >= 10 else 0.0
        floor = float(np.median(np.abs(np.diff(values_N))[np.diff(values_N) != 0])) if np.ptp(values_N) > 0 else 0.0
        scale = max(scale, floor)
    return np.flatnonzero(away_N > max(bound * 1.4826 * scale, 1e-9 * float(np.abs(values_N).max())))
