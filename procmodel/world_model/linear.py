"""Linear models by least squares: ARX, and the innovations state that the latent model grows from.

One-step prediction error with enough history is consistent under feedback, multi-step error over recorded moves is
not (docs/closed-loop-data.md). So the part of the model that carries the gains is found here, in closed form.

Shapes: T rows, B batch, H horizon steps, P lags, Y CVs, V inputs held during a row (MVs then DVs), N states. Scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from procmodel.errors import DatasetError

Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class Arx:
    """`y[t] = bias + sum_i a[i] y[t-1-i] + sum_i b[i] v[t-i] + e[t]`.

    Attributes:
        a: [P, Y, Y]; b: [P, Y, V]; bias: [Y]; noise: [Y, Y] covariance of e; all scaled.
    """

    a: Array
    b: Array
    bias: Array
    noise: Array

    @property
    def lags(self) -> int:
        return int(self.a.shape[0])

    def forecast(self, y_BPY: Array, v_BPV: Array, v_BHV: Array) -> Array:
        """Free run over H rows, [B, H, Y], from at least P rows of history and the inputs of the rows ahead."""
        y, v = y_BPY[:, -self.lags :].copy(), np.concatenate([v_BPV[:, -self.lags :], v_BHV], axis=1)
        out = np.empty((y.shape[0], v_BHV.shape[1], y.shape[2]))
        b, a = self.b[::-1], self.a[::-1]  # oldest first, as the history is
        for h in range(v_BHV.shape[1]):
            recent = v[:, h + 1 : h + 1 + self.lags]
            out[:, h] = self.bias + np.einsum("bpy,pzy->bz", y, a) + np.einsum("bpv,pyv->by", recent, b)
            y = np.concatenate([y[:, 1:], out[:, h : h + 1]], axis=1)
        return out

    def steady_gain(self) -> Array:
        """[Y, V] answer at rest to a held unit input; meaningless where the model integrates."""
        return np.asarray(np.linalg.solve(np.eye(self.a.shape[1]) - self.a.sum(axis=0), self.b.sum(axis=0)))


def _regressors(y: Array, v: Array, lags: int) -> tuple[Array, Array]:
    """Lagged rows `[z_j, z_{j-1}, ...]` with `z_j = [v_j, y_{j-1}]`, and the row they predict."""
    rows = np.arange(lags, len(y))
    past = [np.concatenate([v[rows - i], y[rows - i - 1]], axis=1) for i in range(lags)]
    return np.concatenate(past, axis=1), y[rows]


def stacked(runs: Sequence[tuple[Array, Array]], lags: int) -> tuple[Array, Array]:
    """Lagged rows without a gap [T, P * (V + Y)], newest first, inputs before CVs, and the row each predicts [T, Y]."""
    pairs = [_regressors(y, v, lags) for y, v in runs if len(y) > lags]
    if not pairs:
        raise DatasetError(f"No stretch is longer than the {lags} rows of history asked for. Shorten training.window.")
    z, t = np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])
    good = np.isfinite(z).all(axis=1) & np.isfinite(t).all(axis=1)
    if good.sum() < 2 * z.shape[1]:
        raise DatasetError(
            f"Only {good.sum()} rows have a whole history of {lags} rows without a gap; at least {2 * z.shape[1]} are "
            "needed. Read a longer record, raise max_gap of the tags with gaps, or shorten training.window."
        )
    return z[good], t[good]


def fit_arx(runs: Sequence[tuple[Array, Array]], lags: int, ridge: float = 1e-6) -> Arx:
    """Least squares over all rows whose history has no gap.

    Args:
        runs: Per stretch, CVs [T, Y] and inputs [T, V], scaled, NaN in gaps.
        lags: P.
        ridge: Relative to the mean square of the regressors; keeps dead tags from dividing by zero.

    Raises:
        DatasetError: Too few whole rows.
    """
    z, target = stacked(runs, lags)
    mean_z, mean_t = z.mean(axis=0), target.mean(axis=0)
    zc, tc = z - mean_z, target - mean_t
    gram = zc.T @ zc
    gram += ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
    theta = np.linalg.solve(gram, zc.T @ tc)  # [P * (V + Y), Y]
    y_count, v_count = target.shape[1], z.shape[1] // lags - target.shape[1]
    blocks = theta.reshape(lags, v_count + y_count, y_count).transpose(0, 2, 1)
    residual = tc - zc @ theta
    return Arx(
        b=blocks[:, :, :v_count],
        a=blocks[:, :, v_count:],
        bias=mean_t - mean_z @ theta,
        noise=residual.T @ residual / max(len(residual) - len(theta), 1),
    )


@dataclass(frozen=True, kw_only=True)
class LinearState:
    """Innovations form with the state at the end of a row.

    `x[t+1|t] = A x[t] + B v[t+1] + bias`, `y = C x + offset`, `x[t+1] = x[t+1|t] + K (y[t+1] - C x[t+1|t] - offset)`;
    the state of a window is a linear map of its rows: `x[t] = encoder . rows + encoder_bias`.

    Attributes:
        A: [N, N]; B: [N, V]; C: [Y, N]; K: [N, Y]; bias: [N]; offset: [Y].
        encoder: [P + 1, V + Y, N], oldest row first, inputs before CVs; encoder_bias: [N].
        values: Singular values, largest first: how much each state carries.
        begin: Where a window's state is found by the filter along its rows, products included, the map from its first
            row to the state there, [V + Y, N], with `begin_bias` [N]; `encoder` then only comes near.
    """

    A: Array
    B: Array
    C: Array
    K: Array
    bias: Array
    offset: Array
    encoder: Array
    encoder_bias: Array
    values: Array
    begin: Array | None = None
    begin_bias: Array | None = None

    def steady_gain(self) -> Array:
        """[Y, V] answer at rest to a held unit input."""
        return np.asarray(self.C @ np.linalg.solve(np.eye(len(self.A)) - self.A, self.B))

    def answer(self, rows: int) -> Array:
        """[Y, V] answer after so many rows to a unit input held from now on."""
        x_NV = np.zeros_like(self.B)
        for _ in range(rows):
            x_NV = self.A @ x_NV + self.B
        return np.asarray(self.C @ x_NV)


def fit_linear_state(runs: Sequence[tuple[Array, Array]], lags: int, order: int, ridge: float = 1e-6) -> LinearState:
    """Predictor-based subspace identification (Chiuso 2007, Automatica 43(6); consistent under feedback).

    The ARX coefficients are the Markov parameters of the predictor; their block Hankel matrix times the past spans
    the state. A, B, C, K then follow by least squares on the state sequence.

    Args:
        runs, lags, ridge: As for `fit_arx`.
        order: N, at most `lags * Y`.

    Raises:
        DatasetError: Too few whole rows, or too few of them in a row.
    """
    arx = fit_arx(runs, lags, ridge)
    pieces = [piece for run in runs for piece in whole_runs(*run, lags)]
    if sum(len(y) - lags - 1 for y, _ in pieces) < 2 * (order + arx.b.shape[2] + arx.a.shape[1]):
        raise DatasetError(
            f"Gaps leave {len(pieces)} stretches of more than {lags + 2} whole rows, too few to see how one state "
            "follows from another. Read a longer record, raise max_gap of the tags with gaps, or shorten "
            "training.window."
        )
    past = [_regressors(y, v, lags)[0] for y, v in pieces]
    z = np.concatenate(past)
    (to_state, _, values), mean = strongest_states(_hankel(arx), z, order), z.mean(axis=0)
    states = [(p - mean) @ to_state.T for p in past]
    return _innovations_form(to_state, mean, values, *_pairs(states, pieces, lags), ridge)


def strongest_states(ahead: Array, z: Array, order: int) -> tuple[Array, Array, Array]:
    """The states that carry most of what lies ahead of the rows z [T, P * (V + Y)].

    Args:
        ahead: Map from the past to what lies ahead, [Q, P * (V + Y)].

    Returns:
        Map from the past to the states [N, P * (V + Y)], each of unit variance; from the states to what lies ahead
        [Q, N]; all singular values, largest first.
    """
    # The SVD of ahead @ Z through its small Gram matrix: T does not matter.
    squares, vectors = np.linalg.eigh(ahead @ np.cov(z.T) @ ahead.T)
    keep = np.argsort(squares)[::-1][:order]
    scale = np.sqrt(np.maximum(squares[keep], 1e-12))
    back = vectors[:, keep] * scale
    return (vectors[:, keep] / scale).T @ ahead, back, np.sqrt(np.maximum(np.sort(squares)[::-1], 0))


def _hankel(arx: Arx) -> Array:
    """Forecasts of the next P rows, were no more inputs to come, as a map of the past, [P * Y, P * (V + Y)]."""
    psi = np.concatenate([arx.b, arx.a], axis=2)  # [P, Y, V + Y], lag 0 first, of z_j = [v_j, y_{j-1}]
    lags, height, width = psi.shape
    hankel = np.zeros((lags * height, lags * width))
    for ahead in range(lags):
        for lag in range(lags - ahead):
            hankel[ahead * height : (ahead + 1) * height, lag * width : (lag + 1) * width] = psi[lag + ahead]
    return hankel


def _innovations_form(
    to_state: Array, mean: Array, values: Array, now: Array, ahead: Array, v_next: Array, y_now: Array, ridge: float
) -> LinearState:
    """A, B, C, K by least squares on pairs of following states, and the map from a window to the state at its end."""
    order, v_count = now.shape[1], v_next.shape[1]
    c, offset = affine(now, y_now, ridge)
    e_now = y_now - now @ c.T - offset
    theta, bias = affine(np.concatenate([now, v_next, e_now], axis=1), ahead, ridge)
    a, b, ak = np.split(theta, [order, order + v_count], axis=1)
    k = innovation_gain(a, c, ak, to_state.shape[1] // (v_count + c.shape[0]))
    # Predicted state of the row after a window is a map of z; correcting it by the window's own last row gives x[t].
    encoder, encoder_bias = window_map(to_state, mean, c, offset, k, v_count)
    return LinearState(
        A=a, B=b, C=c, K=k, bias=bias, offset=offset, encoder=encoder, encoder_bias=encoder_bias, values=values
    )


def innovation_gain(a: Array, c: Array, ak: Array, rows: int) -> Array:
    """K, [N, Y], from the product A K: the one whose forecasts of the next rows come closest to those of A K itself.

    More states than the plant has make A nearly singular. Inverting it loses what an innovation does to the CVs, or
    blows up what does nothing to them; only what reaches the CVs is asked for.
    """
    seen = [c]
    for _ in range(rows - 1):
        seen.append(seen[-1] @ a)
    outputs = np.concatenate(seen)
    return np.asarray(np.linalg.pinv(outputs @ a, rcond=1e-3) @ (outputs @ ak))


def whole_spans(table_TK: Array) -> list[tuple[int, int]]:
    """From and to of the runs of rows without a gap."""
    whole_T = np.isfinite(table_TK).all(axis=1).astype(np.int8)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], whole_T, [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def whole_runs(y: Array, v: Array, lags: int) -> list[tuple[Array, Array]]:
    """Runs of rows without a gap, longer than the history and one pair."""
    return [(y[a:b], v[a:b]) for a, b in whole_spans(np.concatenate([y, v], axis=1)) if b - a > lags + 2]


def _pairs(states: list[Array], pieces: list[tuple[Array, Array]], lags: int) -> tuple[Array, Array, Array, Array]:
    now = np.concatenate([s[:-1] for s in states])
    ahead = np.concatenate([s[1:] for s in states])
    v_next = np.concatenate([v[lags + 1 :] for _, v in pieces])
    y_now = np.concatenate([y[lags:-1] for y, _ in pieces])
    return now, ahead, v_next, y_now


def affine(x: Array, y: Array, ridge: float) -> tuple[Array, Array]:
    """Least squares `y = M x + m`."""
    mx, my = x.mean(axis=0), y.mean(axis=0)
    xc = x - mx
    gram = xc.T @ xc
    gram += ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
    m = np.linalg.solve(gram, xc.T @ (y - my)).T
    return m, my - m @ mx


def window_map(to_state: Array, mean: Array, c: Array, offset: Array, k: Array, v_count: int) -> tuple[Array, Array]:
    """`x[t] = X[t] + K (y[t] - C X[t] - offset)` as a map of the rows t-P..t, oldest first."""
    n, width = k.shape[0], v_count + k.shape[1]
    lags = to_state.shape[1] // width
    encoder = np.zeros((lags + 1, width, n))
    correct = np.eye(n) - k @ c
    weights = (correct @ to_state).reshape(n, lags, width)
    for lag in range(lags):  # z_{t-lag} = [v_{t-lag}, y_{t-lag-1}]
        encoder[lags - lag, :v_count] += weights[:, lag, :v_count].T
        encoder[lags - lag - 1, v_count:] += weights[:, lag, v_count:].T
    encoder[lags, v_count:] += k.T
    return encoder, -correct @ (to_state @ mean) - k @ offset
