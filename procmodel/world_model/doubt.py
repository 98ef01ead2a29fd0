"""What a model's forecasts missed on rows it was not fitted on, and what follows for its use: one way for every model.

Whatever is advised by, a world model or a linear one that it is compared to, has its past errors believed and its
limits kept apart by the same rules, so that a comparison compares models.

Shapes: T rows, W windows, L rows that the encoder reads, H rows ahead, C tags, D latent, Y CVs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from procmodel.data.window import Columns, Scaler, Window
from procmodel.data.windows import Windows
from procmodel.errors import DatasetError
from procmodel.world_model.correction import BiasFilter, Trust, corrected, doubt_of, reading_noise, trust_of
from procmodel.world_model.latent_model import forward_fill
from procmodel.world_model.protocol import WorldModel, rollout

_AT_ONCE = 2048


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """What held-back rows say of forecasts.

    Attributes:
        trust: How far past errors correct them.
        backoff_HY: Quantile of the corrected forecast's error k rows ahead, per CV, never falling [unit].
    """

    trust: Trust
    backoff_HY: np.ndarray

    @property
    def bias(self) -> BiasFilter:
        """The correction that the distance was judged with."""
        return BiasFilter(trust=self.trust)


def doubt_about(
    model: WorldModel,
    scaler: Scaler,
    columns: Columns,
    runs_TC: Sequence[np.ndarray],
    horizon: int,
    confidence: float,
) -> Doubt:
    """From held-back stretches; those no longer than window and horizon say nothing.

    Args:
        runs_TC: Engineering units, NaN in gaps.
        confidence: Of the backoff [-].

    Raises:
        DatasetError: None is long enough.
    """
    long = [rows for rows in runs_TC if len(rows) > model.rows + horizon]
    if not long:
        raise DatasetError(
            f"Doubt needs held-back rows of more than {model.rows + horizon} at a time (window and horizon). "
            "Read a longer record."
        )
    misses = [misses_of(model, scaler, columns, rows, horizon) for rows in long]
    trust = trust_of(misses, BiasFilter())
    left_WHY = np.concatenate([corrected(miss_WHY, BiasFilter(trust=trust)) for miss_WHY in misses])
    noise_Y = reading_noise([rows[:, columns.cv] for rows in long])
    return Doubt(trust=trust, backoff_HY=doubt_of(left_WHY, noise_Y, confidence))


def misses_of(model: WorldModel, scaler: Scaler, columns: Columns, rows_TC: np.ndarray, horizon: int) -> np.ndarray:
    """Errors of forecasts issued row after row along the recorded moves, [W, H, Y] [unit]; NaN in gaps."""
    length = model.rows + horizon
    windows = Windows(rows_TC, scaler, columns, dtype=torch.float64)
    starts = torch.arange(0, len(rows_TC) - length + 1)
    ahead = []
    with torch.no_grad():
        for first in range(0, len(starts), _AT_ONCE):
            window = windows.batch(starts[first : first + _AT_ONCE], length)
            filled = forward_fill(window.values, window.mask)[:, model.rows :]
            seen = Window(values=window.values[:, : model.rows], mask=window.mask[:, : model.rows])
            z_BHD = rollout(model, model.encode(seen), filled[..., columns.mv], filled[..., columns.dv])
            y_BY = model.read_out(z_BHD.flatten(0, 1))
            ahead.append(y_BY.reshape(len(z_BHD), horizon, -1).numpy())
    forecast_WHY = scaler.unscale(np.concatenate(ahead), columns.cv)
    at = np.arange(len(starts))[:, None] + model.rows + np.arange(horizon)
    return np.asarray(rows_TC[:, list(columns.cv)][at] - forecast_WHY)
