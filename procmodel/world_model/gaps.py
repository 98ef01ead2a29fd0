"""Gaps in the newest CVs, filled with what the model expects.

A held value in a gap reads as a plant that does not answer its moves: a model that takes its newest readings seriously
sees a disturbance in it. Shapes: R rows of history, C tags. Engineering units.
"""

from __future__ import annotations

import numpy as np

from procmodel.data.window import Columns, Scaler
from procmodel.world_model.protocol import WorldModel
from procmodel.world_model.surprise import expected_ahead


def expected_in_gaps(model: WorldModel, scaler: Scaler, columns: Columns, rows_RC: np.ndarray) -> np.ndarray:
    """The history, [R, C], with each CV that was not good as the model expects it one row ahead of the rows before it.

    Row after row, so that a long gap is a free run that the CVs which are measured correct. What is missing in the
    first `model.rows` rows stays missing, as do gaps of MVs and DVs, which hold.
    """
    cvs, filled_RC = list(columns.cv), np.array(rows_RC, dtype=np.float64)
    missing_RY = ~np.isfinite(filled_RC[:, cvs])
    for row in np.flatnonzero(missing_RY[model.rows :].any(axis=1)) + model.rows:
        expected_Y = expected_ahead(model, scaler, columns, filled_RC[row - model.rows : row + 1])[0]
        here_Y = missing_RY[row] & np.isfinite(expected_Y)
        filled_RC[row, np.array(cvs)[here_Y]] = scaler.unscale(expected_Y, columns.cv)[here_Y]
    return filled_RC
