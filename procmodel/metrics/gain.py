"""Gains found against gains known. Shapes: Y CVs, U MVs; NaN where the truth is not known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ZERO_BELOW = 0.05  # of the CV's largest scaled gain: nothing that a controller could use
FOUND_ZERO_BELOW = 0.10
LEAST_LARGEST = 0.5  # a CV that nothing moves by half its own span has no gain of its own to compare with


@dataclass(frozen=True, kw_only=True)
class GainFigures:
    """How well steady-state gains were found.

    Attributes:
        zero: [Y, U] the true gain counts as zero.
        right: [Y, U] the sign is right, or the gain is rightly small; False where the truth is not known.
        relative_error: [Y, U] |found - true| / |true|; NaN for a zero or unknown pair.
        pairs: Pairs judged; `right_pairs` of them right, `nonzero_pairs` of them not zero.
        mean_relative_error: Over the pairs that are not zero; NaN without any.
    """

    zero: np.ndarray
    right: np.ndarray
    relative_error: np.ndarray
    pairs: int
    right_pairs: int
    nonzero_pairs: int
    mean_relative_error: float


def judge_gains(found_YU: np.ndarray, true_YU: np.ndarray, mv_span_U: np.ndarray, cv_span_Y: np.ndarray) -> GainFigures:
    """Compare steady-state gains [unit of the CV / unit of the MV].

    A pair whose true gain is below 5 % of the largest scaled gain of its CV counts as zero, and is right if the one
    found is below 10 % of that largest too; the largest counts as half a span per span at least, since a CV that a loop
    of the plant keeps in place has none to speak of. Every other pair is right if its sign is.

    Args:
        mv_span_U, cv_span_Y: What scales a gain: `scaled = gain * mv_span / cv_span` [-].
    """
    scale_YU = mv_span_U[None, :] / cv_span_Y[:, None]
    found, true = found_YU * scale_YU, true_YU * scale_YU
    known = np.isfinite(true)
    largest_Y1 = np.maximum(np.where(known, np.abs(true), 0.0).max(axis=1, keepdims=True), LEAST_LARGEST)
    zero = known & (np.abs(true) <= ZERO_BELOW * largest_Y1)
    rightly_small = np.abs(found) <= FOUND_ZERO_BELOW * largest_Y1
    right = known & np.where(zero, rightly_small, np.sign(found) == np.sign(true))  # a NaN found is never right
    judged = known & ~zero
    error = np.where(judged, np.abs(found - true) / np.where(judged, np.abs(true), 1.0), np.nan)
    return GainFigures(
        zero=zero,
        right=right,
        relative_error=error,
        pairs=int(known.sum()),
        right_pairs=int(right.sum()),
        nonzero_pairs=int(judged.sum()),
        mean_relative_error=float(error[judged].mean()) if judged.any() else float("nan"),
    )
