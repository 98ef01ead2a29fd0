"""On which scale a CV is learned: its own, or the root of its distance from an end of its instrument's range.

What comes near an end of its range often bends there: the pressure lost at an orifice is the square of the flow, what
drains from a tank goes with the root of its level, and a product that is nearly pure gets purer the more slowly the
less is left in it. On the right scale such a plant is nearly linear, so that what its operators showed of it holds
further out as well. The root is halfway between a straight scale and a logarithm; the likelihood of each next row says
which of the two it shall be (Box and Cox 1964, J. R. Statist. Soc. B 26(2); steeper powers turn what levels off far
from the end into growth). It is asked only where the distance varies enough for a scale to matter.

Shapes: T rows, Y CVs, V inputs held during a row. Scaled, straight.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from procmodel.data.window import NEAREST, STEEPEST, bent
from procmodel.world_model.linear import fit_arx

Array = np.ndarray
VARIES = 2.5
"""Times by which the distance from an end has to vary within the record for a root to be tried [-]."""
WITHIN = (0.001, 0.999)
"""Quantiles between which it varies."""
LAGS = 6
"""Rows of history of the linear models that are compared, at most."""
GAIN = 0.005
"""Log likelihood per row that a root has to bring, and in all `IN_ALL`; what it brings by chance is less."""
IN_ALL = 10.0


def fit_scales(runs: Sequence[tuple[Array, Array]], ends_Y2: Array, lags: int) -> Array:
    """How the scale of each CV bends, [Y] as `Scaler.bend` has it; 0 where it stays straight.

    Args:
        runs: Per stretch, CVs [T, Y] and inputs [T, V], NaN in gaps.
        ends_Y2: Low and high end of each instrument's range, NaN where none is known.
        lags: Rows of history there are.

    Raises:
        DatasetError: Too few whole rows.
    """
    y_TY = np.concatenate([y for y, _ in runs])
    found_Y = np.zeros(y_TY.shape[1])
    tried = [(k, bend) for k in range(len(found_Y)) for bend in _worth_trying(y_TY[:, k], ends_Y2[k])]
    if not tried:
        return found_Y
    best = _likelihood(runs, found_Y, min(lags, LAGS))
    least = max(GAIN, IN_ALL / np.isfinite(y_TY).all(axis=1).sum())
    for k, bend in tried:
        other_Y = found_Y.copy()
        other_Y[k] = bend
        likelihood = _likelihood(runs, other_Y, min(lags, LAGS))
        if likelihood > best + (least if found_Y[k] == 0.0 else 0.0):
            found_Y, best = other_Y, likelihood
    return found_Y


def _worth_trying(y_T: Array, ends_2: Array) -> list[float]:
    """Bends of the roots from those ends that the CV comes near to."""
    known_T, found = y_T[np.isfinite(y_T)], list[float]()
    for end, way in zip(ends_2, (1.0, -1.0), strict=True):
        if not np.isfinite(end) or end * way >= 0.0 or not len(known_T):  # the mean is 0 and has to be inside
            continue
        near, far = np.quantile((known_T - end) * way, WITHIN)
        if far > VARIES * max(near, NEAREST * abs(end)):
            found.append(-0.5 / float(end))
    return found


def _likelihood(runs: Sequence[tuple[Array, Array]], bend_Y: Array, lags: int) -> float:
    """Log likelihood of the CVs' next rows by a linear model on these scales, per row, but for a constant."""
    on_scale = [(bent(y, bend_Y), v) for y, v in runs]
    steep_Y = np.nanmean(np.log(np.concatenate([_slopes(y, bend_Y) for y, _ in on_scale])), axis=0)
    return float(-0.5 * np.linalg.slogdet(fit_arx(on_scale, lags).noise)[1] - steep_Y.sum())


def _slopes(values_TY: Array, bend_Y: Array) -> Array:
    """Of the straight scale by the bent one."""
    return np.asarray(np.maximum(1.0 + bend_Y * values_TY, STEEPEST))
