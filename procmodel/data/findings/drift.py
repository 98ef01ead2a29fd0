"""Drift: a sensor slowly leaves what the other tags say it should show.

Shapes: T rows of the grid, C tags, N rows that are used, K blocks of them, F regressors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

LAGS = (0, 2, 5, 10, 20)
BLOCKS = 20
SURE = 10.0
LARGE = 0.5
EXPLAINED = 0.3
_ROWS = 20_000
_USABLE = 0.8


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The tag in column `column` drifted by `change` [its unit] from the first row to the last.

    Attributes:
        sure: The change over its standard error [-].
        explained: Share of the tag's variance that the other tags explain without it [-].
    """

    column: int
    change: float
    sure: float
    explained: float


def drifts(values_TC: np.ndarray) -> list[Drift]:
    """Tags whose difference from what the other tags say grows in a straight line over the record.

    A tag alone cannot tell drift from a process that changes. So each tag is regressed (least squares) on all others,
    now and 2, 5, 10 and 20 rows ago, and on a ramp from -1/2 to 1/2: the ramp's coefficient is the drift. Its standard
    error is taken from the means of the residual in 20 blocks, widened by their lag-1 autocorrelation r to
    `sqrt((1 + r) / (1 - r))`, since residuals wander with disturbances that nobody measures, and by what the other
    tags know of the ramp.

    A drift is named from 10 standard errors and half a standard deviation of the tag on, where the others explain at
    least 0.3 of it. On clean records of the reference plants the largest ratio of tags so explained was 7. A tag that
    nothing else explains, such as the weather, cannot be judged.

    Args:
        values_TC: One stretch on the grid, NaN in a gap. Tags good for less than 0.8 of the time are left out.
    """
    rows = len(values_TC)
    usable = np.flatnonzero(np.isfinite(values_TC).mean(axis=0) >= _USABLE) if rows else np.empty(0, dtype=int)
    spread = np.nanstd(values_TC[:, usable], axis=0) if len(usable) else np.empty(0)
    usable, spread = usable[spread > 0], spread[spread > 0]
    if len(usable) < 2 or rows < 10 * BLOCKS + max(LAGS):
        return []
    seen_TC = (values_TC[:, usable] - np.nanmean(values_TC[:, usable], axis=0)) / spread
    x_NF, block_N = _regressors(seen_TC)
    if len(x_NF) < 5 * x_NF.shape[1]:
        return []
    moments_FF = x_NF.T @ x_NF
    sizes_K = np.bincount(block_N, minlength=BLOCKS)
    means_KF = np.stack([np.bincount(block_N, weights=column, minlength=BLOCKS) for column in x_NF.T], axis=1)
    full = sizes_K > sizes_K.max() / 4
    means_KF = means_KF[full] / sizes_K[full, None]
    return list(_surest_first(usable, spread, moments_FF, means_KF, len(x_NF)))


def _surest_first(
    columns: np.ndarray, spread: np.ndarray, moments_FF: np.ndarray, means_KF: np.ndarray, rows: int
) -> Iterator[Drift]:
    """The surest drift, then what is left when that tag explains no other: a neighbour of a drifting tag seems to
    drift the other way."""
    left = list(range(len(columns)))
    while len(left) > 1:
        tried = {i: _drift(i, left, len(columns), moments_FF, means_KF, rows) for i in left}
        known = {i: each for i, each in tried.items() if each is not None}
        if not known:
            return
        i = max(known, key=lambda each: known[each][1])
        change, sure, explained = known[i]
        yield Drift(column=int(columns[i]), change=change * float(spread[i]), sure=sure, explained=explained)
        left.remove(i)


def _regressors(seen_TC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ramp, constant and every tag at every lag (lags outermost), [N, F], without rows with a gap; and blocks [N]."""
    rows = len(seen_TC)
    at = np.arange(max(LAGS), rows)
    at = at[:: max(1, len(at) // _ROWS)]
    ramp = np.stack([at / rows - 0.5, np.ones(len(at))], axis=1)
    x_NF = np.concatenate([ramp, *(seen_TC[at - lag] for lag in LAGS)], axis=1)
    whole = np.isfinite(x_NF).all(axis=1)
    return x_NF[whole], (at * BLOCKS // rows)[whole]


def _drift(
    i: int, among: list[int], count: int, moments_FF: np.ndarray, means_KF: np.ndarray, rows: int
) -> tuple[float, float, float] | None:
    """Change of tag `i` [spreads], its size over its standard error, and the variance that the tags `among` explain."""
    target = 2 + i
    others = np.array([1, *(2 + j + count * lag for lag in range(len(LAGS)) for j in among if j != i)])
    with_ramp = np.concatenate([[0], others])
    b_F = _solve(moments_FF, with_ramp, target, rows)
    plain_F = _solve(moments_FF, others, target, rows)
    total = moments_FF[target, target] - moments_FF[target, 1] ** 2 / rows
    left = moments_FF[target, target] - plain_F @ moments_FF[others, target]
    explained = 1.0 - float(left / total) if total > 0 else 0.0
    residual_K = means_KF[:, target] - means_KF[:, with_ramp] @ b_F
    if len(residual_K) < BLOCKS // 2:
        return None
    r = float((residual_K[1:] * residual_K[:-1]).sum() / max((residual_K**2).sum(), 1e-300))
    r = min(max(r, 0.0), 0.95)
    # What of the ramp the others do not know: its residual on them.
    ramp = moments_FF[0, 0] - _solve(moments_FF, others, 0, rows) @ moments_FF[others, 0]
    variance = residual_K.var() * (1 + r) / (1 - r) / len(residual_K) / max(ramp / rows, 1e-12)
    sure = abs(float(b_F[0])) / max(float(np.sqrt(variance)), 1e-300)
    if sure < SURE or abs(b_F[0]) < LARGE or explained < EXPLAINED:
        return None
    return float(b_F[0]), sure, explained


def _solve(moments_FF: np.ndarray, features: np.ndarray, target: int, rows: int) -> np.ndarray:
    """Least squares by a ridge of one millionth: tags that repeat each other share their coefficient."""
    a = moments_FF[np.ix_(features, features)] + 1e-6 * rows * np.eye(len(features))
    return np.asarray(np.linalg.solve(a, moments_FF[features, target]))
