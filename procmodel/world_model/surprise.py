"""Surprise: how far what came was from what was expected one row ahead.

Shapes: R rows of history, L rows of the encoder, W windows, C tags, Y CVs. Scaled, so 1 is one spread of the CV.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from procmodel.data.window import Columns, Scaler, Window
from procmodel.world_model.latent_model import forward_fill
from procmodel.world_model.protocol import WorldModel

MEMORY = 5
"""Rows over which surprise is averaged: a single noisy row must not hold advice."""
PACE = 0.15
"""Share of a change in a row, expected and measured, that counts as a usual error. A plant in trouble moves many times
as fast as on any normal day, and a gain that is a little wrong is then off by many usual errors in a row. One that does
not move where it should, or moves where it should not, is as surprising as ever."""
SHRINK = 0.1
"""Share of the diagonal in a covariance."""
_AT_ONCE = 4096
"""Windows judged together: what is cut out of a long record has to fit into memory."""


def expected_ahead(model: WorldModel, scaler: Scaler, columns: Columns, rows_RC: np.ndarray) -> np.ndarray:
    """CVs as expected one row ahead, [R - L, Y], scaled; rows in engineering units.

    Row L + i is expected from the L rows before it, with the moves and disturbances of its own row.
    """
    record = scaler.window(rows_RC)
    values, mask = _windows(record, model.rows)
    held_WC = forward_fill(record.values, record.mask)[0, model.rows :]  # as in training: a gap holds the last move
    expected = np.empty((len(held_WC), len(columns.cv)))
    with torch.no_grad():
        for some in _pieces(len(held_WC)):
            z_WD = model.encode(Window(values=values[some], mask=mask[some]))
            z_WD = model.step(z_WD, held_WC[some][:, columns.mv], held_WC[some][:, columns.dv])
            expected[some] = model.read_out(z_WD).numpy()
    return expected


def errors_ahead(
    model: WorldModel, scaler: Scaler, columns: Columns, rows_RC: np.ndarray, seen_RC: np.ndarray | None = None
) -> np.ndarray:
    """CV errors one row ahead, [R - L, Y], scaled, NaN where a CV was not good; rows in engineering units.

    Args:
        seen_RC: What the model is shown of these rows, such as `expected_in_gaps`; None: the rows.
    """
    expected = expected_ahead(model, scaler, columns, rows_RC if seen_RC is None else seen_RC)
    return np.asarray(scaler.scale(rows_RC[model.rows :, list(columns.cv)], columns.cv) - expected)


def latents(model: WorldModel, scaler: Scaler, rows_RC: np.ndarray) -> np.ndarray:
    """Latents of all windows, [R - L + 1, D]: the first at the end of row L - 1, the last at that of the newest row."""
    values, mask = _windows(scaler.window(rows_RC), model.rows)
    out = np.empty((len(values), model.latent_size))
    with torch.no_grad():
        for some in _pieces(len(values)):
            out[some] = model.encode(Window(values=values[some], mask=mask[some])).numpy()
    return out


def _windows(record: Window, rows: int) -> tuple[Tensor, Tensor]:
    """All windows of a record as views, [W, L, C], and their masks."""
    values, mask = (part[0].unfold(0, rows, 1).transpose(1, 2) for part in (record.values, record.mask))
    return values, mask


def _pieces(count: int) -> list[slice]:
    return [slice(first, min(first + _AT_ONCE, count)) for first in range(0, count, _AT_ONCE)]


def error_covariance(errors_TY: np.ndarray) -> np.ndarray:
    """Mean square and mean product of CV errors on normal rows, [Y, Y]; NaN is left out, and a CV that was never
    measured counts as off by one spread. A tenth of its products is given up: few rows know them badly."""
    known = np.isfinite(errors_TY)
    errors, pairs = np.where(known, errors_TY, 0.0), known.T.astype(float) @ known
    full = np.where(pairs > 0, errors.T @ errors / np.maximum(pairs, 1), np.eye(errors.shape[1]))
    full = full + np.diag(np.maximum(1e-12, 1e-6 * full.diagonal()))
    shrunk = (1 - SHRINK) * full + SHRINK * np.diag(full.diagonal())
    # Pairs with gaps of their own may not fit together; a matrix of squares has no negative direction.
    values, vectors = np.linalg.eigh(shrunk)
    return np.asarray((vectors * np.maximum(values, 1e-3 * values.max() * (values.min() <= 0))) @ vectors.T)


def surprises(
    model: WorldModel,
    scaler: Scaler,
    columns: Columns,
    rows_RC: np.ndarray,
    covariance_YY: np.ndarray | None = None,
    seen_RC: np.ndarray | None = None,
    pace: float = 0.0,
) -> np.ndarray:
    """Mean square of the one-row-ahead CV error, [R - L], NaN where no CV was good; rows in engineering units.

    Args:
        covariance_YY: Of the errors on normal rows; with it the square is T2, about 1 per CV where all is normal: a
            CV that is predicted well counts by what it usually misses, and CVs that always miss together count once.
            None: each CV counts by its own spread.
        seen_RC: As for `errors_ahead`.
        pace: Share of each CV's change, the smaller one of expected and measured, that counts as a usual error beside
            the covariance, where one is given [-].
    """
    errors = errors_ahead(model, scaler, columns, rows_RC, seen_RC)
    seen = scaler.scale((rows_RC if seen_RC is None else seen_RC)[model.rows - 1 :, list(columns.cv)], columns.cv)
    measured = np.diff(seen, axis=0)
    allowed = pace * np.nan_to_num(np.minimum(np.abs(measured - errors), np.abs(measured)))  # NaN: nothing is judged
    weigh = covariance_YY
    if weigh is None:
        weigh, allowed = np.eye(len(columns.cv)), np.zeros_like(allowed)
    out = np.full(len(errors), np.nan)
    good = np.isfinite(errors)
    patterns = good[:1] if good.all() else np.unique(good, axis=0)  # as a rule in a tick, where sorting takes longest
    for pattern in patterns:
        if pattern.any():
            rows = (good == pattern).all(axis=1)
            some = errors[rows][:, pattern]
            each = weigh[np.ix_(pattern, pattern)] + np.eye(pattern.sum()) * allowed[rows][:, pattern, None] ** 2
            out[rows] = (some * np.linalg.solve(each, some[:, :, None])[:, :, 0]).mean(axis=1)
    return out


def evidence(
    model: WorldModel,
    scaler: Scaler,
    columns: Columns,
    rows_RC: np.ndarray,
    other_RC: np.ndarray,
    covariance_YY: np.ndarray | None = None,
) -> float:
    """How much better the CVs fit one history than another that differs in its newest rows [nats].

    Logarithm of the ratio of the two likelihoods, for errors one row ahead that are Gaussian with the covariance of
    those on normal rows. Above 0 the first fits better; 0 where no CV was good or the history is too short to tell.
    """
    if len(rows_RC) <= model.rows:
        return 0.0
    good = np.isfinite(rows_RC[model.rows :, list(columns.cv)]).sum(axis=1)
    fits, others = (surprises(model, scaler, columns, rows, covariance_YY) for rows in (rows_RC, other_RC))
    return float(np.nansum(good * (others - fits))) / 2


def surprise(
    model: WorldModel,
    scaler: Scaler,
    columns: Columns,
    rows_RC: np.ndarray,
    covariance_YY: np.ndarray | None = None,
    seen_RC: np.ndarray | None = None,
) -> float | None:
    """Surprise of the newest rows: mean over the last `MEMORY` that can be judged; None where none can."""
    newest = slice(-(model.rows + MEMORY), None)
    if len(rows_RC[newest]) <= model.rows:
        return None
    seen_RC = None if seen_RC is None else seen_RC[newest]
    values = surprises(model, scaler, columns, rows_RC[newest], covariance_YY, seen_RC, PACE)
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
