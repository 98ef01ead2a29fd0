"""Conformal calibration: how much to deduct so that a bound holds as often as promised."""

from __future__ import annotations

import math

import numpy as np


def conformal_quantile(scores_N: np.ndarray, confidence: float) -> float:
    """Allowance q with P(new score <= q) >= confidence, for scores exchangeable with these [unit of the scores].

    The k-th smallest score with `k = ceil((n + 1) confidence)` (split conformal prediction; Vovk, Gammerman and Shafer
    2005; Lei et al., JASA 113, 2018): the + 1 is the new case itself. Infinite where n is too small for the
    confidence, which needs `n >= confidence / (1 - confidence)`: fewer cases can promise nothing.

    Args:
        scores_N: For a lower bound: predicted minus true. NaN does not count.
    """
    scores = np.sort(scores_N[np.isfinite(scores_N)])
    # (n + 1) * 0.9 may come out as 9.000000000000002, which must not ask for a tenth score.
    k = math.ceil((len(scores) + 1) * confidence - 1e-9)
    if k > len(scores):
        return math.inf
    return float(scores[max(k, 1) - 1])


def coverage(truth_N: np.ndarray, low_N: np.ndarray, high_N: np.ndarray | None = None) -> float:
    """Share of cases in which the truth is not below `low` (nor above `high`); NaN without a case."""
    known = np.isfinite(truth_N) & ~np.isnan(low_N)
    inside = truth_N >= low_N
    if high_N is not None:
        known &= ~np.isnan(high_N)
        inside &= truth_N <= high_N
    return float(inside[known].mean()) if known.any() else float("nan")
