"""How far a linear state and its products miss rows that no fit has seen: one row ahead, and over free runs.

Free runs over recorded moves are no judge of gains, since moves answer what is coming (docs/closed-loop-data.md): they
may only choose among what was found one row ahead.

Shapes: T rows, B windows, L rows of a window, H rows ahead, Y CVs, V inputs held during a row. Scaled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from procmodel.world_model.linear import LinearState
from procmodel.world_model.products import Products, next_state, window_state

Array = np.ndarray
APART = 10
"""Rows from one free run to the next."""
FEWEST = 10
"""Free runs below which their error says more of the few rows than of the model."""
WORTH = 0.02
"""Share of the error of free runs that what is added to the linear state must take off to be kept [-]."""


def free_run_error(
    linear: LinearState, products: Products | None, held: Sequence[tuple[Array, Array]], horizon: int
) -> float | None:
    """Mean square error of free runs over how far each CV moved in them [-]; None where too few can be made.

    What helps one row ahead may pile up over a horizon to more than it is worth.

    Args:
        held: Per stretch, CVs [T, Y] and inputs [T, V], scaled, NaN in gaps, that no fit has seen.
        horizon: H, rows of a free run.
    """
    found = _windows(linear, held, horizon, APART)
    if found is None or len(found[0]) < FEWEST:
        return None
    seen_BLC, v_BHV, y_BHY = found
    miss_BHY = _forecast(linear, products, seen_BLC, v_BHV) - y_BHY
    # Without it, the CV that wanders most decides.
    moved_Y = np.maximum(((y_BHY - seen_BLC[:, -1:, -y_BHY.shape[2] :]) ** 2).mean(axis=(0, 1)), 1e-6)
    return float(((miss_BHY**2).mean(axis=(0, 1)) / moved_Y).mean())


def one_row_error(linear: LinearState, products: Products | None, held: Sequence[tuple[Array, Array]]) -> float | None:
    """Log determinant of what is missed one row ahead, which feedback does not mislead; None where nothing can be
    missed. Arguments as for `free_run_error`."""
    found = _windows(linear, held, 1, 1)
    if found is None:
        return None
    seen_BLC, v_BHV, y_BHY = found
    miss_BY = (_forecast(linear, products, seen_BLC, v_BHV) - y_BHY)[:, 0]
    covariance = miss_BY.T @ miss_BY / len(miss_BY)
    return float(np.linalg.slogdet(covariance + 1e-12 * np.eye(len(covariance)))[1])


def _windows(
    linear: LinearState, held: Sequence[tuple[Array, Array]], horizon: int, apart: int
) -> tuple[Array, Array, Array] | None:
    """Whole windows [B, L, V + Y], with the inputs [B, H, V] and CVs [B, H, Y] that follow."""
    cvs, length = len(linear.C), len(linear.encoder)
    windows = [
        np.lib.stride_tricks.sliding_window_view(np.concatenate([v, y], axis=1), length + horizon, axis=0)[::apart]
        for y, v in held
        if len(y) >= length + horizon
    ]
    rows_BTC = np.concatenate([w.transpose(0, 2, 1) for w in windows]) if windows else np.empty((0, 1, 1))
    rows_BTC = rows_BTC[np.isfinite(rows_BTC).all(axis=(1, 2))]
    if not len(rows_BTC):
        return None
    return rows_BTC[:, :length], rows_BTC[:, length:, :-cvs], rows_BTC[:, length:, -cvs:]


def _forecast(linear: LinearState, products: Products | None, seen_BLC: Array, v_BHV: Array) -> Array:
    """CVs of a free run from each window, [B, H, Y]."""
    x = window_state(linear, products, seen_BLC)
    y_BHY = np.empty((*v_BHV.shape[:2], len(linear.C)))
    for h in range(v_BHV.shape[1]):
        x = next_state(linear, products, x, v_BHV[:, h])
        y_BHY[:, h] = x @ linear.C.T + linear.offset
    return y_BHY
