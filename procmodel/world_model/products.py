"""Products of states and inputs beside the linear state: what curves in a plant, found by least squares as well.

A network told to find curvature in an operators' record has to be held so near the linear state, where moves answer
CVs, that it finds none. A few dozen products do, in closed form: one row ahead, so consistent under feedback like the
linear state (docs/closed-loop-data.md), with as much ridge as rows that were left out ask for. Their coordinates are
bounded, so that far from the record the linear state decides and no free run grows without end.

Shapes: T rows, P lags, N states, V inputs held during a row, Q = N + V coordinates. Scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from procmodel.world_model.linear import LinearState, whole_runs

Array = np.ndarray
BOUND = 3.0
"""Where a coordinate levels off, in its standard deviations."""
LEADING = (3, 5, 12)
"""So many of the strongest states enter the products, beside all inputs; held-out rows choose."""
RIDGES = (0.03, 0.1, 0.3, 1.0)
"""On products of unit variance."""
BLOCKS = 6
"""Parts of the record, each left out once."""
MOST = 50_000
"""Rows that are fitted at most, evenly over the record: more fill the memory and change little."""
SURE = 2.0
"""So many standard errors over the blocks must products help at all, and so much help is given up for more ridge."""


@dataclass(frozen=True, kw_only=True)
class Products:
    """`h' quadratic h + slope h + rest` is added to the next state; `h = tanh(rate (w - centre))`, `w = [x, v]`.

    Attributes:
        centre, rate: [Q]; quadratic: [N, Q, Q], symmetric; slope: [N, Q]; rest: [N].
        gain: Share of the one-row error, in units of its own covariance, that they take off rows left out [-].
        leading, ridge: What was chosen.
    """

    centre: Array
    rate: Array
    quadratic: Array
    slope: Array
    rest: Array
    gain: float
    leading: int
    ridge: float

    def added(self, x_TN: Array, v_TV: Array) -> Array:
        """[T, N]."""
        h = np.tanh(self.rate * (np.concatenate([x_TN, v_TV], axis=1) - self.centre))
        return np.asarray(np.einsum("ti,kij,tj->tk", h, self.quadratic, h) + h @ self.slope.T + self.rest)


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """What is fitted: states and inputs with a one, bounded coordinates with a one, both [T, Q + 1], and what the
    linear state missed one row later [T, N], whitened."""

    seen: Array
    bounded: Array
    missed: Array
    whiten: Array


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """Products of some coordinates, less what the coordinates say by themselves [Q + 1, F], of unit variance; as
    features, less what states and inputs say: what is linear in the record was found, and is left as it is."""

    pairs: tuple[tuple[int, int], ...]
    plain: Array
    scale: Array
    features: Array


def fit_products(linear: LinearState, runs: Sequence[tuple[Array, Array]]) -> Products | None:
    """The products that rows left out of the fit ask for; None where they ask for none.

    Args:
        runs: Per stretch, CVs [T, Y] and inputs [T, V], scaled, NaN in gaps: those of the linear state.
    """
    now, v_next, ahead = following(linear, runs)
    seen = np.concatenate([now, v_next], axis=1)
    centre, rate = seen.mean(axis=0), 1.0 / (BOUND * np.maximum(seen.std(axis=0), 1e-6))
    missed = ahead - now @ linear.A.T - v_next @ linear.B.T - linear.bias
    # Directions in which next to nothing is missed are noise of the arithmetic.
    precision = np.linalg.pinv(np.cov(missed.T), rcond=1e-4, hermitian=True)
    whiten = np.linalg.cholesky(precision + 1e-12 * np.trace(precision) * np.eye(len(precision)))
    bounded = np.tanh(rate * (seen - centre))
    rows = _Rows(seen=_with_one(seen), bounded=_with_one(bounded), missed=missed @ whiten, whiten=whiten)
    states = len(linear.A)
    tried = [_tried(rows, states, leading) for leading in sorted({min(leading, states) for leading in LEADING})]
    help_FR = np.array([[gains.mean() for gains in each] for _, each in tried])
    best, ridge = np.unravel_index(np.argmax(help_FR), help_FR.shape)
    fit, gains = tried[best]
    error = gains[ridge].std() / np.sqrt(BLOCKS)
    if help_FR[best, ridge] <= SURE * error:
        return None
    ridge = np.flatnonzero(help_FR[best] >= help_FR[best, ridge] - SURE * error)[-1]
    weights = _solved(fit.features.T @ fit.features, fit.features.T @ rows.missed, len(seen), RIDGES[ridge])
    quadratic, slope, rest = _unfolded(fit, weights @ np.linalg.inv(whiten), seen.shape[1])
    return Products(
        centre=centre, rate=rate, quadratic=quadratic, slope=slope, rest=rest, gain=float(help_FR[best, ridge]),
        leading=sorted({min(leading, states) for leading in LEADING})[best], ridge=RIDGES[ridge],
    )  # fmt: skip


def window_state(linear: LinearState, products: Products | None, rows_BLC: Array) -> Array:
    """State at the end of windows of inputs and CVs, [B, N]: by the linear map, or by the filter along their rows."""
    if linear.begin is None:
        return np.asarray(np.einsum("blc,lcn->bn", rows_BLC, linear.encoder) + linear.encoder_bias)
    x, inputs = rows_BLC[:, 0] @ linear.begin + linear.begin_bias, linear.B.shape[1]
    for t in range(1, rows_BLC.shape[1]):
        v, y = rows_BLC[:, t, :inputs], rows_BLC[:, t, inputs:]
        x = next_state(linear, products, x, v)
        x = x + (y - x @ linear.C.T - linear.offset) @ linear.K.T
    return np.asarray(x)


def next_state(linear: LinearState, products: Products | None, x_BN: Array, v_BV: Array) -> Array:
    """The state one row later, [B, N], before its CVs are known."""
    added = products.added(x_BN, v_BV) if products is not None else 0.0
    return np.asarray(x_BN @ linear.A.T + v_BV @ linear.B.T + linear.bias + added)


def following(
    linear: LinearState, runs: Sequence[tuple[Array, Array]], products: Products | None = None
) -> tuple[Array, Array, Array]:
    """States of windows without a gap [T, N], the inputs of the next row [T, V], the states one row later [T, N]."""
    length = len(linear.encoder)
    pieces = [piece for run in runs for piece in whole_runs(*run, length - 1)]
    every = -(-sum(len(y) - length for y, _ in pieces) // MOST)
    now, v_next, ahead = [], [], []
    for y, v in pieces:
        windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([v, y], axis=1), length, axis=0)
        rows_BLC = windows.transpose(0, 2, 1)
        now.append(window_state(linear, products, rows_BLC[:-1:every]))
        ahead.append(window_state(linear, products, rows_BLC[1::every]))
        v_next.append(v[length::every])
    return np.concatenate(now), np.concatenate(v_next), np.concatenate(ahead)


def _tried(rows: _Rows, states: int, leading: int) -> tuple[_Fit, list[Array]]:
    """Per ridge, the share of the error that products take off each block when they are fitted to the others."""
    h, missed = rows.bounded, rows.missed
    chosen = [*range(leading), *range(states, h.shape[1] - 1)]
    pairs = tuple((i, j) for at, i in enumerate(chosen) for j in chosen[at:])
    products = np.stack([h[:, i] * h[:, j] for i, j in pairs], axis=1)
    plain = np.linalg.lstsq(h, products, rcond=None)[0]
    features = products - h @ plain
    scale = np.maximum(features.std(axis=0), 1e-9)
    features /= scale
    features -= rows.seen @ np.linalg.lstsq(rows.seen, features, rcond=None)[0]
    blocks = np.array_split(np.arange(len(h)), BLOCKS)
    grams = [features[at].T @ features[at] for at in blocks]
    crosses = [features[at].T @ missed[at] for at in blocks]
    gram, cross, whole = sum(grams), sum(crosses), (missed**2).mean(axis=0).sum()
    found = []
    for ridge in RIDGES:
        gains = np.empty(BLOCKS)
        for k, at in enumerate(blocks):
            weights = _solved(gram - grams[k], cross - crosses[k], len(h) - len(at), ridge)
            left = missed[at] - features[at] @ weights
            gains[k] = ((missed[at] ** 2).mean(axis=0).sum() - (left**2).mean(axis=0).sum()) / whole
        found.append(gains)
    return _Fit(pairs=pairs, plain=plain, scale=scale, features=features), found


def _with_one(values: Array) -> Array:
    return np.concatenate([values, np.ones((len(values), 1))], axis=1)


def _solved(gram: Array, cross: Array, count: int, ridge: float) -> Array:
    return np.asarray(np.linalg.solve(gram / count + ridge * np.eye(len(gram)), cross / count))


def _unfolded(fit: _Fit, weights_FN: Array, size: int) -> tuple[Array, Array, Array]:
    """Weights of the features as a quadratic form, a slope and a constant."""
    weights = weights_FN / fit.scale[:, None]
    quadratic = np.zeros((weights.shape[1], size, size))
    for (i, j), weight in zip(fit.pairs, weights, strict=True):
        quadratic[:, i, j] += weight / 2
        quadratic[:, j, i] += weight / 2
    plain = -(fit.plain @ weights).T
    return quadratic, plain[:, :-1], plain[:, -1]
