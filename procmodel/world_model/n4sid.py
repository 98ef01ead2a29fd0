"""N4SID, the subspace method that industry knows: a peer for the state by `linear.fit_linear_state`.

Van Overschee, P. and De Moor, B. (1994). N4SID: subspace algorithms for the identification of combined
deterministic-stochastic systems. Automatica 30(1), 75-93; the combined algorithm with two oblique projections, no
weighting. It assumes that inputs ahead know nothing of the noise before, so under feedback it is not consistent: that
is what it is here to show.

Shapes: T rows, S rows with enough on both sides, I block rows, P lags, Y CVs, V inputs (MVs then DVs), N states;
scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from procmodel.errors import DatasetError
from procmodel.world_model.linear import LinearState

Array = np.ndarray
LARGEST_ORDER = 10
"""Largest order tried where none is given."""


def fit_n4sid(
    runs: Sequence[tuple[Array, Array]], lags: int, order: int | None = None, blocks: int = 15, ridge: float = 1e-9
) -> LinearState:
    """Innovations form from two oblique projections and the Kalman filter of what they leave over.

    An input held *during* a row acts on that row's CVs, so with inputs taken one row later the system has no direct
    feed-through: `s[k+1] = A s[k] + B v[k+1] + w`, `y[k] = C s[k] + e`.

    Args:
        runs: Per stretch, CVs [T, Y] and inputs [T, V], scaled, NaN in gaps.
        lags: P; a window has P + 1 rows, over which the encoder filters from the mean state on.
        order: N; None takes the states whose singular values, on a logarithmic scale, lie above the middle between the
            largest and the smallest, at most `LARGEST_ORDER`.
        blocks: I, rows of past and of future in the projections.
        ridge: Relative to the mean square of the regressors.

    Raises:
        DatasetError: Too few whole rows, or an order that the block rows cannot hold.
    """
    data = _Blocks.of(runs, blocks)
    height = data.now.shape[1]
    if order is not None and not 0 < order <= (blocks - 1) * height:
        raise DatasetError(f"N4SID: order {order} needs more block rows than {blocks} with {height} CVs. Lower it.")
    # [S, I * Y]: the future that the past alone would bring, and the same one row on with one row more of past.
    oblique, later = _projection(data.past, data.v_ahead, data.ahead, ridge), _projection(
        data.past_later, data.v_ahead_later, data.ahead[:, height:], ridge
    )  # fmt: skip
    values, vectors = np.linalg.eigh(oblique.T @ oblique / len(oblique))
    values, vectors = np.sqrt(np.maximum(values[::-1], 0.0)), vectors[:, ::-1]
    size = order if order is not None else _order(values[: (blocks - 1) * height])
    gamma = vectors[:, :size] * np.sqrt(values[:size])  # extended observability, [I * Y, N]
    x, x_next = oblique @ np.linalg.pinv(gamma).T, later @ np.linalg.pinv(gamma[:-height]).T
    return _innovations(x, x_next, data, values, lags, ridge)


@dataclass(frozen=True, kw_only=True)
class _Blocks:
    """Block rows of all stretches, centred; `mean_v`, `mean_y` are what was taken off.

    Attributes:
        past: [S, I * (V + Y)] rows k-I..k-1 of `[v one row later, y]`; past_later: one row more.
        ahead: [S, I * Y] CVs of rows k..k+I-1; v_ahead: [S, (I - 1) * V] inputs that act on rows k+1..k+I-1;
            v_ahead_later: those on rows k+2..k+I-1.
        now: [S, Y] CVs of row k; v_next: [S, V] inputs of row k+1.
    """

    past: Array
    past_later: Array
    ahead: Array
    v_ahead: Array
    v_ahead_later: Array
    now: Array
    v_next: Array
    mean_y: Array
    mean_v: Array

    @classmethod
    def of(cls, runs: Sequence[tuple[Array, Array]], blocks: int) -> _Blocks:
        """Raises DatasetError where too few rows have a whole past and future."""
        whole = [np.isfinite(y).all(axis=1) & np.isfinite(v).all(axis=1) for y, v in runs]
        rows = [_centres(good, blocks) for good in whole]
        count, (_, width_y), (_, width_v) = sum(map(len, rows)), runs[0][0].shape, runs[0][1].shape
        if count < 2 * blocks * (2 * width_y + 2 * width_v):
            raise DatasetError(
                f"N4SID: only {count} rows have {blocks} rows without a gap on both sides; "
                f"{2 * blocks * (2 * width_y + 2 * width_v)} are needed. Read a longer record or ask for fewer blocks."
            )
        mean_y = np.concatenate([y[good] for (y, _), good in zip(runs, whole, strict=True)]).mean(axis=0)
        mean_v = np.concatenate([v[good] for (_, v), good in zip(runs, whole, strict=True)]).mean(axis=0)
        y_at, v_at = (
            np.concatenate([(run[part] - mean)[at[:, None] + np.arange(-blocks, blocks)]
                            for run, at in zip(runs, rows, strict=True)])
            for part, mean in ((0, mean_y), (1, mean_v))
        )  # fmt: skip
        # y_at[:, i] is row k - I + i. Inputs act one row later: v_at[:, i + 1] belongs to y_at[:, i].
        both = np.concatenate([v_at[:, 1 : blocks + 2], y_at[:, : blocks + 1]], axis=2)
        flat = (len(y_at), -1)
        return cls(
            past=both[:, :blocks].reshape(flat), past_later=both.reshape(flat), ahead=y_at[:, blocks:].reshape(flat),
            v_ahead=v_at[:, blocks + 1 :].reshape(flat), v_ahead_later=v_at[:, blocks + 2 :].reshape(flat),
            now=y_at[:, blocks], v_next=v_at[:, blocks + 1], mean_y=mean_y, mean_v=mean_v,
        )  # fmt: skip


def _centres(good: Array, blocks: int) -> Array:
    """Rows k with good rows k-I..k+I-1."""
    before = np.concatenate([[0], np.cumsum(~good)])
    at = np.arange(blocks, len(good) - blocks + 1)
    return np.asarray(at[before[at + blocks] == before[at - blocks]])


def _projection(past: Array, inputs: Array, ahead: Array, ridge: float) -> Array:
    """Part of `ahead` that follows from `past`, along `inputs` (oblique projection), [S, A]."""
    z = np.concatenate([past, inputs], axis=1)
    return np.asarray(past @ _regress(z, ahead, ridge)[: past.shape[1]])


def _regress(x: Array, y: Array, ridge: float) -> Array:
    """Least squares `y = x M`."""
    gram = x.T @ x
    gram += ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
    return np.asarray(np.linalg.solve(gram, x.T @ y))


def _order(values: Array) -> int:
    """States above the middle of the logarithms."""
    logs = np.log(np.maximum(values, 1e-12 * values[0]))
    return int(np.clip((logs > (logs[0] + logs[-1]) / 2).sum(), 1, LARGEST_ORDER))


def _innovations(x: Array, x_next: Array, data: _Blocks, values: Array, lags: int, ridge: float) -> LinearState:
    """A, B, C by least squares; K from the covariance of what is left."""
    size, height = x.shape[1], data.now.shape[1]
    theta = _regress(np.concatenate([x, data.v_next], axis=1), x_next, ridge)
    a, b, c = theta[:size].T, theta[size:].T, _regress(x, data.now, ridge).T
    left = np.concatenate([x_next - x @ a.T - data.v_next @ b.T, data.now - x @ c.T], axis=1)
    noise = left.T @ left / len(left)
    q, s, r = noise[:size, :size], noise[:size, size:], noise[size:, size:]
    r = r + 1e-9 * np.trace(r) / height * np.eye(height)
    gains = _kalman_gains(a, c, q, s, r, x.T @ x / len(x), max(lags + 1, 500))
    correct = np.linalg.pinv(a, rcond=1e-6)  # the gain on the state at the row's end leads through A to that ahead
    bias, offset = -b @ data.mean_v, data.mean_y
    encoder, encoder_bias = _encoder(a, b, c, bias, offset, gains[: lags + 1], correct)
    return LinearState(
        A=a, B=b, C=c, K=correct @ gains[-1], bias=bias, offset=offset, encoder=encoder, encoder_bias=encoder_bias,
        values=values,
    )  # fmt: skip


def _kalman_gains(a: Array, c: Array, q: Array, s: Array, r: Array, prior: Array, count: int) -> list[Array]:
    """Gains of the one-row predictor from the prior covariance of the state on, each [N, Y]."""
    p, gains = prior, []
    for _ in range(count):
        k = np.linalg.solve(c @ p @ c.T + r, (a @ p @ c.T + s).T).T
        gains.append(k)
        p = a @ p @ a.T + q - k @ (c @ p @ c.T + r) @ k.T
        p = (p + p.T) / 2
    return gains


def _encoder(
    a: Array, b: Array, c: Array, bias: Array, offset: Array, gains: Sequence[Array], correct: Array
) -> tuple[Array, Array]:
    """The filter over a window from the mean state on, as a map of its rows: [P + 1, V + Y, N] and [N]."""
    (size, inputs), outputs = b.shape, len(c)
    weights, constant = np.zeros((len(gains), inputs + outputs, size)), np.zeros(size)
    for row, gain in enumerate(gains):
        if row:
            weights, constant = weights @ a.T, a @ constant + bias
            weights[row, :inputs] = b.T
        # What the gain adds to the next prediction, taken back through A to the end of this row.
        g = correct @ gain
        keep = np.eye(size) - g @ c
        weights, constant = weights @ keep.T, keep @ constant - g @ offset
        weights[row, inputs:] += g.T
    return weights, constant
