"""Gaps in the newest CVs, filled with what the model expects.

A held value in a gap reads as a plant that does not answer its moves: a model that takes its newest readings seriously
sees a disturbance in it. Shapes: R rows of history, C tags. Engineering units.
"""

from __future__ import annotations

import numpy as np
import torch

from procmodel.data.window import Columns, Scaler, Window
from procmodel.world_model.latent_model import forward_fill
from procmodel.world_model.protocol import WorldModel


def expected_in_gaps(model: WorldModel, scaler: Scaler, columns: Columns, rows_RC: np.ndarray) -> np.ndarray:
    """The history, [R, C], with each CV that was not good as the model expects it one row ahead of the rows before it.

    Row after row, so that a long gap is a free run that the CVs which are measured correct. What is missing in the
    first `model.rows` rows stays missing, as do gaps of MVs and DVs, which hold.
    """
    cvs, filled_RC = list(columns.cv), np.array(rows_RC, dtype=np.float64)
    missing_RY = ~np.isfinite(filled_RC[:, cvs])
    with torch.no_grad():
        for row in np.flatnonzero(missing_RY[model.rows :].any(axis=1)) + model.rows:
            record = scaler.window(filled_RC[row - model.rows : row + 1])
            held_BC = forward_fill(record.values, record.mask)[:, -1]
            z_BD = model.encode(Window(values=record.values[:, :-1], mask=record.mask[:, :-1]))
            z_BD = model.step(z_BD, held_BC[:, columns.mv], held_BC[:, columns.dv])
            expected_Y = scaler.unscale(model.read_out(z_BD).numpy(), columns.cv)[0]
            here_Y = missing_RY[row] & np.isfinite(expected_Y)
            filled_RC[row, np.array(cvs)[here_Y]] = expected_Y[here_Y]
    return filled_RC
