"""The innovations state whose free runs are those of an ARX over the horizon: a realisation instead of a regression.

`linear.fit_linear_state` keeps the states that matter to one-row prediction and finds by regression how one follows
from another. Where a plant nearly integrates, the small error of each row piles up over a free run: on the drum boiler
to 1.6 times the error of the ARX that it came from. Here the kept states are those that matter to the free run itself,

    forecasts of rows t..t+H-1 = F z_t,    D F = U S W',    x_t = S^-1 U' D F z_t,

and A, B, C, K are read off F (Kung 1978, "A new identification and model reduction algorithm via singular value
decomposition", for the pulse responses of a plant; here those of its ARX predictor, inputs and innovations alike). D
divides each row by how far off its forecast is by the ARX's own noise, so that the first rows, which are foreseen best
and are what feedback lives on, are not given up for the last: unweighted, a steam valve had 1.4 times its effect on
power in the first row. As consistent under feedback as the ARX. Which of the two states serves a record better is for
rows held back to say.

Shapes: T rows, P lags, H rows ahead, Y CVs, V inputs, N states. Scaled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from procmodel.world_model.linear import (
    Arx,
    LinearState,
    fit_arx,
    innovation_gain,
    stacked,
    strongest_states,
    window_map,
)

Array = np.ndarray


def fit_realised_state(
    runs: Sequence[tuple[Array, Array]], lags: int, order: int, horizon: int, ridge: float = 1e-6
) -> LinearState:
    """The state of `order` whose free runs over `horizon` rows come closest to those of the ARX.

    Args:
        runs, lags, ridge: As for `fit_arx`.
        order: N, at most `horizon * Y`.
        horizon: H, at least 2.

    Raises:
        DatasetError: Too few whole rows.
    """
    arx = fit_arx(runs, lags, ridge)
    z, target = stacked(runs, lags)
    cvs, inputs = arx.a.shape[1], arx.b.shape[2]
    rows = free_runs(arx, horizon)
    weights = _how_surely(arx, rows, horizon)[:, None]
    to_state, seen, values = strongest_states(weights * rows, z, order)
    c = seen[:cvs] / weights[:cvs]
    a = np.linalg.lstsq(seen[:-cvs], weights[:-cvs] * (seen / weights)[cvs:], rcond=None)[0]
    # The newest input of z is that of the row forecast first, its newest CVs are those of the row before: what a pulse
    # of either does to the state stands in its own columns.
    b, ak = to_state[:, :inputs], to_state[:, inputs : inputs + cvs]
    k = innovation_gain(a, c, ak, lags)
    mean, offset = z.mean(axis=0), target.mean(axis=0)
    encoder, encoder_bias = window_map(to_state, mean, c, offset, k, inputs)
    return LinearState(
        A=a, B=b, C=c, K=k, bias=-b @ mean[:inputs], offset=offset, encoder=encoder, encoder_bias=encoder_bias,
        values=values,
    )  # fmt: skip


def free_runs(arx: Arx, horizon: int) -> Array:
    """Forecasts of the next H rows as a map of the past, [H * Y, P * (V + Y)], where no input follows the newest."""
    lags, cvs, inputs = arx.lags, arx.a.shape[1], arx.b.shape[2]
    past = np.concatenate([arx.b, arx.a], axis=2)  # [P, Y, V + Y], as the past is ordered
    rows = np.zeros((horizon, cvs, lags, inputs + cvs))
    for h in range(horizon):
        if h < lags:
            rows[h, :, : lags - h] = past[h:].transpose(1, 0, 2)
        for lag in range(min(h, lags)):
            rows[h] += np.einsum("yz,zpw->ypw", arx.a[lag], rows[h - 1 - lag])
    return rows.reshape(horizon * cvs, -1)


def _how_surely(arx: Arx, rows: Array, horizon: int) -> Array:
    """One over the standard deviation of each forecast, [H * Y], relative to that of its CV's last row."""
    cvs, inputs = arx.a.shape[1], arx.b.shape[2]
    # What an innovation does to its own row and, as the newest CVs of the past, to those that follow.
    pulse = rows[:, inputs : inputs + cvs].reshape(horizon, cvs, cvs)
    pulse = np.concatenate([np.eye(cvs)[None], pulse[:-1]])
    variance = np.cumsum(np.einsum("hyz,zx,hyx->hy", pulse, arx.noise, pulse), axis=0)
    variance = np.maximum(variance, 1e-12 * variance[-1] + 1e-300)  # a CV without noise is foreseen alike in all rows
    return np.asarray(np.sqrt(variance[-1] / variance)).ravel()
