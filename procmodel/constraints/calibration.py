"""Conformal allowance of a constraint head: how far its margin may be too optimistic, per step of the horizon.

The margin of a labelled time is predicted k rows ahead, from an encoding k rows before it and over the recorded moves,
by heads that never saw that label nor its campaign (`blocks`). The allowance at step k is a quantile of those excesses.

Why left-out predictions of all labels and not one split: with 40 labels a split leaves some 20 to learn from and 20
whose third worst decides the allowance at 90 %; leaving blocks out in turn uses all 40 for both.

What that guarantees. One split: at least `confidence` for each step, over the draw of labels, where labels and the
future are exchangeable (Vovk 2005; Lei et al. 2018). Left-out predictions: proven down to 2 * confidence - 1 for the
CV+ form (Barber et al. 2021, theorem 4), and near `confidence` itself where leaving a few labels out hardly changes the
head (their theorem 5), which strong shrinkage is there for; the head in use also learns from a few labels more than
those it is judged by. Per step, not for all steps at once; over moves like the recorded ones.

Shapes: N labels, H horizon steps.
"""

from __future__ import annotations

import math

import numpy as np

from procmodel.errors import LabelError


def least_labels(confidence: float) -> int:
    """Labels without which the quantile does not exist: ceil(1 / alpha) - 1, so 9 at 90 %, 19 at 95 %, 99 at 99 %."""
    return math.ceil(round(1 / (1 - confidence), 9)) - 1


def require_labels(count: int, confidence: float, *, constraint: str, where: str = "") -> None:
    """Refuse to calibrate with fewer labels than the confidence needs.

    Raises:
        LabelError: Too few.
    """
    least = least_labels(confidence)
    if count < least:
        raise LabelError(
            f"Constraint {constraint!r}: a confidence of {confidence:.0%} needs at least {least} labelled samples"
            f"{where}, got {count}. Label {least - count} more, or lower its `confidence` in the plant file "
            f"({count} labels carry {_carried(count)})."
        )


def _carried(count: int) -> str:
    confidence = 1 - 1 / (count + 1)
    return f"{math.floor(round(confidence * 100, 6))} %" if confidence > 0.5 else "no confidence at all"


def upper_quantile(excess_N: np.ndarray, confidence: float) -> float:
    """The ceil(confidence * (N + 1))-th smallest of N: a further, exchangeable one stays below it that often."""
    rank = math.ceil(round(confidence * (len(excess_N) + 1), 9))
    return float(np.sort(excess_N)[rank - 1])


def allowances(excess_NH: np.ndarray, confidence: float, *, constraint: str, first: int = 1) -> np.ndarray:
    """Allowance per column [H] from prediction minus label, NaN where a label has too short a past for that column.

    Never below zero and never falling along the horizon: a longer forecast that happens to fit its few labels better is
    chance. Both only raise the coverage.

    Args:
        first: Rows ahead of column 0, for messages.

    Raises:
        LabelError: Too few labels at some step.
    """
    allowance = []
    for step, column in enumerate(excess_NH.T, start=first):
        known = column[np.isfinite(column)]
        where = f" with {step} rows of history before them" if step else ""
        require_labels(len(known), confidence, constraint=constraint, where=where)
        allowance.append(upper_quantile(known, confidence))
    return np.maximum.accumulate(np.maximum(allowance, 0.0))
