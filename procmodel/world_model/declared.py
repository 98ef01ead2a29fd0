"""Declared signs, imposed on what least squares found by the smallest change that the record leaves room for.

A slow answer's end is the sum of hundreds of rows, each of them small, and one-row least squares may leave its sign
open. What the engineer declares then decides, and only there: of all changes of `A` and `B` that bring the declared
signs about, the one is taken that moves them least in units of their own doubt, so that it moves what the record does
not determine and leaves the rest. Where the record already agrees, nothing is changed.

Shapes: T rows, B operating points, N states, U MVs, V inputs held during a row (MVs then DVs), Q = N + V, Y CVs,
S declared pairs. Scaled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls

from procmodel.world_model.answers import LEAST_ANSWER, SETTLED
from procmodel.world_model.linear import LinearState
from procmodel.world_model.products import Products, following, next_state

Array = np.ndarray
POINTS = 32
"""Operating points over which answers are averaged, evenly over the record."""
ROUNDS = 12
"""Changes at most, each by the slope of the answers after the one before: one or two mend what is nearly right."""
LEAST_AGREEMENT = 0.9
"""Share of the points that must have the sign: that of the step-response gate."""
NEAR = 0.02
"""Share of the least answer by which it may be missed."""
SIZE = 0.5
"""Of the steps whose answers are looked at."""


def impose_signs(
    linear: LinearState,
    products: Products | None,
    runs: Sequence[tuple[Array, Array]],
    declared_UY: Array,
    rows: int = SETTLED,
) -> LinearState:
    """The linear state whose answers, products included, have the declared signs after so many rows; as it was where
    that cannot be had, and the step-response gate will say so.

    Args:
        runs: Per stretch, CVs [T, Y] and inputs [T, V], scaled, NaN in gaps: those of the linear state.
        declared_UY: +1 or -1 where a sign is declared, else 0.
    """
    pairs = [(int(u), int(y)) for u, y in np.argwhere(declared_UY)]
    if not pairs:
        return linear
    now, v_next, ahead = following(linear, runs, products)
    seen = np.concatenate([now, v_next], axis=1)
    centre = seen.mean(axis=0)
    missed = ahead - now @ linear.A.T - v_next @ linear.B.T - linear.bias
    # Of theta = [A, B]: cov(theta) = noise (x) inv(gram), by least squares of one state on that of the row before.
    noise = np.cov(missed.T) + 1e-9 * np.trace(np.cov(missed.T)) * np.eye(len(linear.A))
    gram = np.cov(seen.T) * len(seen)
    inverse = np.linalg.inv(gram + 1e-6 * np.trace(gram) / len(gram) * np.eye(len(gram)))
    some = np.linspace(0, len(now) - 1, POINTS).astype(int)
    sign_S = np.array([declared_UY[pair] for pair in pairs])
    found = linear
    for _ in range(ROUNDS):
        ends = _answers(found, products, now[some], v_next[some], declared_UY.shape[0], rows)
        # A change of the linear state moves all points about alike: it is asked for what all but one in ten lack.
        worst_S = np.quantile(sign_S[:, None] * np.array([ends[pair] for pair in pairs]), 1 - LEAST_AGREEMENT, axis=1)
        short_S = LEAST_ANSWER - worst_S
        if not np.isfinite(short_S).all():
            return linear
        if short_S.max() <= NEAR * LEAST_ANSWER:
            return found
        slopes = np.array([s * _slope(found, u, y, rows) for s, (u, y) in zip(sign_S, pairs, strict=True)])
        change = _least_change(slopes, short_S, noise, inverse)
        a, b = np.split(change, [len(linear.A)], axis=1)
        found = dataclasses.replace(found, A=found.A + a, B=found.B + b, bias=found.bias - change @ centre)
    return linear


def _answers(linear: LinearState, products: Products | None, x_BN: Array, v_BV: Array, mvs: int, rows: int) -> Array:
    """Answer of each CV to a held unit move of each MV at the end, at each point, [U, Y, B]."""
    moved = [v_BV + sign * SIZE * np.eye(v_BV.shape[1])[u] for u in range(mvs) for sign in (1.0, -1.0)]
    x, v = np.tile(x_BN, (2 * mvs, 1)), np.concatenate(moved)
    for _ in range(rows):
        x = next_state(linear, products, x, v)
    y_U2BY = (x @ linear.C.T).reshape(mvs, 2, len(x_BN), -1)
    return np.asarray(np.moveaxis(y_U2BY[:, 0] - y_U2BY[:, 1], 1, 2) / (2 * SIZE))


def _slope(linear: LinearState, u: int, y: int, rows: int) -> Array:
    """Derivative of the linear state's answer after so many rows by [A, B], [N, Q]."""
    size, inputs = linear.B.shape
    at, pulls, seen = np.zeros(size), [linear.C[y]], []
    for _ in range(rows):
        seen.append(np.concatenate([at, np.eye(inputs)[u]]))
        at = linear.A @ at + linear.B[:, u]
        pulls.append(pulls[-1] @ linear.A)
    return np.asarray(np.array(pulls[rows - 1 :: -1]).T @ np.array(seen))


def _least_change(slopes_SNQ: Array, short_S: Array, noise: Array, inverse: Array) -> Array:
    """Of all changes with `slope . change >= short` the one that is least in the metric of the fit, [N, Q]; by its
    dual, `min |R' w - inv(R) short|^2` over w >= 0, with `R R'` the covariance of the answers."""
    ways = np.einsum("nm,smq,qr->snr", noise, slopes_SNQ, inverse)
    doubt = np.einsum("snq,tnq->st", slopes_SNQ, ways)
    root = np.linalg.cholesky(doubt + 1e-10 * np.trace(doubt) * np.eye(len(doubt)))
    weights, _ = nnls(root.T, np.linalg.solve(root, short_S))
    return np.asarray(np.einsum("s,snq->nq", weights, ways))
