"""The innovations state that foresees each next row best, found over the whole record in place of a window.

Least squares over lagged rows (`linear.py`) forgets what lies before its window. Where a CV is measured with much noise
and hardly settles, as a drum level is, the best forecast of its next row averages over more rows than that, and the
part that is cut off is put down to inputs. Here a state of few numbers runs along the record as a filter,

    x[t|t-1] = A x[t-1] + B v[t] + bias,    e[t] = y[t] - C x[t|t-1] - offset,    x[t] = x[t|t-1] + K e[t],

and A, B, C, K and both constants are those whose innovations e have the smallest log determinant of their covariance:
the prediction error method (Ljung 1999, "System Identification", 2nd ed., sections 7.2 and 13.4), consistent under
feedback as least squares on single rows is. By Gauss-Newton steps with the exact sensitivities of the filter, from the
state that least squares found. Innovations of missing CVs are zero; where an input is missing the filter begins anew.

Shapes: T rows, M pieces of the record side by side, L rows of a window, Y CVs, V inputs, N states, P parameters.
Scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from procmodel.errors import DatasetError
from procmodel.world_model.linear import LinearState, affine, whole_spans

Array = np.ndarray
BURN = 60
"""Rows in which the filter finds its state before its innovations count."""
PIECE = 400
"""Rows of a piece that count."""
STEPS = 12
"""Gauss-Newton steps at most."""
SMALL = 1e-5
"""A step that lowers the log determinant by less is the last."""
MOST = 60_000
"""Rows that are run along at most, in pieces evenly over the record: more take time and change little."""
WORK = 1e11
"""Multiplications of a Gauss-Newton step at most, about two seconds; with many CVs fewer rows are run along."""
LONGEST = 10_000
"""Rows over which a predictor's weights are summed at most."""
EVERY = 3
"""One window in so many is read for the map from windows to states: neighbours say nearly the same."""


@dataclass(frozen=True, kw_only=True)
class _Pieces:
    """The record cut into overlapping pieces: CVs [M, T, Y] (zero where missing), where they are good and where their
    innovations count [M, T, Y], and inputs [M, T, V]."""

    y: Array
    good: Array
    counts: Array
    v: Array


def fit_prediction_error_state(start: LinearState, runs: Sequence[tuple[Array, Array]]) -> LinearState:
    """The state of `start`'s order whose filter foresees the next row best.

    Args:
        start: Where the search begins, and the length of its windows.
        runs: Per stretch, CVs [T, Y] and inputs [T, V], scaled, NaN in gaps.

    Raises:
        DatasetError: Too few whole rows, or too few of them in a row.
    """
    numbers = sum(getattr(start, name).size for name in _NAMES)
    most = min(MOST, max(PIECE, int(WORK / (len(start.C) * numbers**2))))
    pieces, model, damping = _cut(runs, most), start, 1e-3
    rows = int(pieces.counts.all(axis=2).sum())
    if rows < 2 * numbers:
        raise DatasetError(
            f"Only {rows} rows with all tags follow {BURN} others without a gap in MVs and DVs: too few for a state of "
            f"{len(start.A)}. Read a longer record, or raise max_gap of the tags with gaps."
        )
    for _ in range(STEPS):
        e = innovations(model, pieces)
        weight = np.linalg.inv(_covariance(e, pieces))
        before = _cost(e * pieces.counts, weight)
        gram, slope = _normal(model, pieces, weight)
        model, after, damping = _lower(model, pieces, weight, gram, slope, before, damping)
        if before - after < SMALL * rows:
            break
    return _with_windows(model, runs)


def memory_beyond(linear: LinearState, rows: int) -> float:
    """Share of what a forecast of the next row takes from the CVs that it takes from before the last `rows` rows.

    By the sums of the predictor's absolute weights, of the CV that takes most [-]; 1 where it never forgets.
    """
    forget, pulse = linear.A - linear.A @ linear.K @ linear.C, linear.A @ linear.K
    slowest = float(np.abs(np.linalg.eigvals(forget)).max())
    if slowest >= 1.0:
        return 1.0
    last = rows + int(np.ceil(np.log(1e-6) / np.log(max(slowest, 1e-3))))
    weights = np.empty((min(last, rows + LONGEST), len(linear.C)))
    for i in range(len(weights)):
        weights[i] = np.abs(linear.C @ pulse).sum(axis=1)
        pulse = forget @ pulse
    return float((weights[rows:].sum(axis=0) / np.maximum(weights.sum(axis=0), 1e-12)).max())


def _cut(runs: Sequence[tuple[Array, Array]], most: int = MOST) -> _Pieces:
    cuts = [
        (y[first : first + BURN + PIECE], v[first : first + BURN + PIECE])
        for y, v in ((y[begin:stop], v[begin:stop]) for y, v in runs for begin, stop in whole_spans(v))
        for first in range(0, len(y) - BURN, PIECE)
    ]
    cuts = cuts[:: -(-len(cuts) * PIECE // most) or 1]
    cvs, inputs = runs[0][0].shape[1], runs[0][1].shape[1]
    y_MTY = np.full((len(cuts), BURN + PIECE, cvs), np.nan)
    v_MTV = np.zeros((len(cuts), BURN + PIECE, inputs))
    for m, (y, v) in enumerate(cuts):
        y_MTY[m, : len(y)], v_MTV[m, : len(v)] = y, v
    good = np.isfinite(y_MTY)
    counts = good & (np.arange(BURN + PIECE) >= BURN)[:, None]
    return _Pieces(y=np.where(good, y_MTY, 0.0), good=good, counts=counts, v=v_MTV)


def innovations(model: LinearState, pieces: _Pieces) -> Array:
    """What the filter misses in each row, [M, T, Y]; zero where a CV is missing."""
    return _filter(model, pieces.y, pieces.good, pieces.v)[1]


def _filter(model: LinearState, y_MTY: Array, good_MTY: Array, v_MTV: Array) -> tuple[Array, Array]:
    """States [M, T, N] and innovations [M, T, Y] of the filter along every piece."""
    x, e = np.empty((*y_MTY.shape[:2], len(model.A))), np.zeros_like(y_MTY)
    x[:, 0] = _first_state(model, y_MTY[:, 0])
    for t in range(1, y_MTY.shape[1]):
        ahead = x[:, t - 1] @ model.A.T + v_MTV[:, t] @ model.B.T + model.bias
        e[:, t] = np.where(good_MTY[:, t], y_MTY[:, t] - ahead @ model.C.T - model.offset, 0.0)
        x[:, t] = ahead + e[:, t] @ model.K.T
    return x, e


def _first_state(model: LinearState, y_MY: Array) -> Array:
    """The smallest state that explains the first row."""
    return np.asarray((y_MY - model.offset) @ np.linalg.pinv(model.C).T)


def _covariance(e: Array, pieces: _Pieces) -> Array:
    rows = e[pieces.counts.all(axis=2)]
    covariance = rows.T @ rows / max(len(rows), 1)
    return np.asarray(covariance + 1e-12 * max(np.trace(covariance), 1e-12) * np.eye(len(covariance)))


def _cost(e: Array, weight: Array) -> float:
    return float(np.einsum("mty,yz,mtz->", e, weight, e))


def _lower(
    model: LinearState, pieces: _Pieces, weight: Array, gram: Array, slope: Array, before: float, damping: float
) -> tuple[LinearState, float, float]:
    """A step that lowers the cost, its cost, and the damping to go on with; the model itself where none does."""
    for _ in range(6):
        step = -np.linalg.solve(gram + damping * np.diag(np.diag(gram) + 1e-9 * np.trace(gram) / len(gram)), slope)
        found = _moved(model, step)
        with np.errstate(over="ignore", invalid="ignore"):
            after = _cost(innovations(found, pieces) * pieces.counts, weight)
        if after < before:  # false too where it is no number
            return found, after, max(damping / 10, 1e-8)
        damping *= 10
    return model, before, damping


_NAMES = ("A", "B", "bias", "K", "C", "offset")


def _moved(model: LinearState, step: Array) -> LinearState:
    parts = [getattr(model, name) for name in _NAMES]
    cuts = np.cumsum([part.size for part in parts])[:-1]
    changes = [change.reshape(part.shape) for change, part in zip(np.split(step, cuts), parts, strict=True)]
    moved = {name: part + change for name, part, change in zip(_NAMES, parts, changes, strict=True)}
    return replace(model, **moved)


def _normal(model: LinearState, pieces: _Pieces, weight: Array) -> tuple[Array, Array]:
    """Gauss-Newton's matrix [P, P] and slope [P] of the weighted innovations, parameters as in `_NAMES`.

    The sensitivities of the state follow the filter row by row; single precision is enough for a direction.
    """
    (a, b, k, c), single = (model.A, model.B, model.K, model.C), np.float32
    n, v_count, cvs = len(a), b.shape[1], len(c)
    at_a, at_b, at_bias, at_k, at_c, at_offset = np.cumsum([0, n * n, n * v_count, n, n * cvs, cvs * n])
    size = at_offset + cvs
    gram, slope = np.zeros((size, size)), np.zeros(size)
    by_MPN = np.zeros((len(pieces.y), size, n), dtype=single)
    at, ct, kt, weight = a.T.astype(single), c.T.astype(single), k.T.astype(single), weight.astype(single)
    x = _first_state(model, pieces.y[:, 0])
    for t in range(1, pieces.y.shape[1]):
        v, good, counts = pieces.v[:, t], pieces.good[:, t], pieces.counts[:, t]
        ahead = x @ a.T + v @ b.T + model.bias
        e = np.where(good, pieces.y[:, t] - ahead @ c.T - model.offset, 0.0)
        by_MPN = by_MPN @ at
        for i in range(n):
            by_MPN[:, at_a + i * n : at_a + (i + 1) * n, i] += x
            by_MPN[:, at_b + i * v_count : at_b + (i + 1) * v_count, i] += v
            by_MPN[:, at_bias + i, i] += 1.0
        miss_MPY = -(by_MPN @ ct)
        for j in range(cvs):
            miss_MPY[:, at_c + j * n : at_c + (j + 1) * n, j] -= ahead
            miss_MPY[:, at_offset + j, j] -= 1.0
        miss_MPY *= good[:, None, :]
        if counts.any():
            counted = miss_MPY * counts[:, None, :]
            weighted = counted @ weight
            gram += np.tensordot(weighted, counted, axes=([0, 2], [0, 2]))
            slope += np.tensordot(weighted, (e * counts).astype(single), axes=([0, 2], [0, 1]))
        by_MPN += miss_MPY @ kt
        for i in range(n):
            by_MPN[:, at_k + i * cvs : at_k + (i + 1) * cvs, i] += e
        x = ahead + e @ k.T
    return gram, slope


def _with_windows(model: LinearState, runs: Sequence[tuple[Array, Array]]) -> LinearState:
    """The same model with the linear map from the rows of a window to the filter's state that misses it least.

    The window is too short for the filter itself: one that begins with it has not found its state by its end.
    """
    length, width = len(model.encoder), model.B.shape[1] + len(model.C)
    windows, states = [], []
    for y_run, v_run in runs:
        for begin, stop in whole_spans(v_run):
            if stop - begin < BURN + length:
                continue
            y, v = y_run[begin:stop], v_run[begin:stop]
            rows_TWL = np.lib.stride_tricks.sliding_window_view(np.concatenate([v, y], axis=1), length, axis=0)
            at = np.arange(BURN, len(rows_TWL), EVERY)
            at = at[np.isfinite(rows_TWL[at]).all(axis=(1, 2))]
            windows.append(rows_TWL[at].transpose(0, 2, 1).reshape(-1, length * width))
            states.append(filtered(model, y, v)[at + length - 1])
    if sum(map(len, windows)) < 2 * length * width:
        raise DatasetError(
            f"Gaps leave too few windows of {length} whole rows. Read a longer record, raise max_gap of the tags with "
            "gaps, or shorten training.window."
        )
    encoder, bias = affine(np.concatenate(windows), np.concatenate(states), 1e-6)
    return replace(model, encoder=encoder.T.reshape(length, width, -1), encoder_bias=bias)


def filtered(model: LinearState, y: Array, v: Array) -> Array:
    """The filter's state after each row of a run in which every input is known, [T, N]; CVs may be missing."""
    good = np.isfinite(y)
    x_MTN, _ = _filter(model, np.where(good, y, 0.0)[None], good[None], v[None])
    return np.asarray(x_MTN[0])
