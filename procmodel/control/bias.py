"""Offset-free forecasts from any world model: past forecasts are held against what came of them.

Shapes: R rows of history, L rows that the encoder reads, W windows in it (W = R - L + 1), N rows of the horizon,
m remembered targets, C columns, D latent, U MVs, V DVs, Y CVs.

    b_k = sum_j w_j ( y[t-j] - y^[t-j | t-j-k] ) / sum_j w_j,    w_j = decay^j, j = 0..m-1, k = 1..N

is the error that forecasts issued k rows ago, along the moves actually made since, have now; the forecast k rows ahead
is corrected by it, as far as it may be believed (`procmodel/world_model/correction.py`). At rest with a wrong model or
an unmeasured disturbance every past forecast is wrong by the same amount as the present one, and such an error is
believed whole: the corrected forecast stays where the plant is and no offset remains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from procmodel.data.window import Columns, Scaler
from procmodel.world_model.protocol import WorldModel


@dataclass(frozen=True, kw_only=True)
class History:
    """The newest rows, ready for the model.

    Attributes:
        rows_RC: Engineering units, NaN in gaps, newest last.
        latents_WD: Of every window of L rows, oldest first; the last one is now.
    """

    rows_RC: np.ndarray
    latents_WD: Tensor


def encode_history(model: WorldModel, scaler: Scaler, rows_RC: np.ndarray) -> History:
    """All windows of the rows, in one batch."""
    window = scaler.window(rows_RC)
    # [W, C, L] views of one tensor; the encoder gets them as [W, L, C].
    values, mask = (
        part[0].unfold(0, model.rows, 1).transpose(1, 2).contiguous() for part in (window.values, window.mask)
    )
    with torch.no_grad():
        return History(rows_RC=rows_RC, latents_WD=model.encode(type(window)(values=values, mask=mask)))


def filled(rows_RC: np.ndarray) -> np.ndarray:
    """Gaps take the last good value before them, leading ones the first after; a column without any stays NaN."""
    good = np.isfinite(rows_RC)
    if good.all():  # as a rule, and asked several times in a tick
        return rows_RC
    rows = np.arange(len(rows_RC))[:, None]
    last = np.maximum.accumulate(np.where(good, rows, -1), axis=0)
    first = np.where(good, rows, len(rows_RC)).min(axis=0)
    at = np.clip(np.where(last >= 0, last, first), 0, len(rows_RC) - 1)
    return np.asarray(np.take_along_axis(rows_RC, at, axis=0))


def past_errors(
    model: WorldModel, scaler: Scaler, columns: Columns, history: History, steps: int, memory: int
) -> np.ndarray:
    """What forecasts issued k rows before missed the newest `memory` rows by, [N + 1, m, Y] [unit].

    Index 0 of the first axis is the error of the encoding itself, index k that of k steps ahead. The second axis runs
    from the newest row back. NaN where history is too short, the CV has a gap, or the model answered without a number.
    """
    landed = landings(model, scaler, columns, history, steps, memory)
    return missed(model, scaler, columns, history.rows_RC, landed, steps, memory)


def landings(
    model: WorldModel, scaler: Scaler, columns: Columns, history: History, steps: int, memory: int
) -> list[Tensor]:
    """Latents that forecasts issued 0..N rows before give for the newest rows, oldest row first, [up to m, D] each."""
    z_WD, values_RC = history.latents_WD, filled(history.rows_RC)
    u_RU, d_RV = (torch.from_numpy(scaler.scale(values_RC[:, list(at)], at)) for at in (columns.mv, columns.dv))
    first = model.rows - 1  # row at which the oldest window ends
    landed = [z_WD[-memory:]]
    z_BD = z_WD
    with torch.no_grad():
        for k in range(1, min(steps, len(z_WD) - 1) + 1):
            # Window w lands on row first + w + k; the newest have run past the present and are dropped.
            z_BD = model.step(z_BD[: len(z_WD) - k], u_RU[first + k :], d_RV[first + k :])
            landed.append(z_BD[-memory:])
    return landed


def missed(
    model: WorldModel,
    scaler: Scaler,
    columns: Columns,
    rows_RC: np.ndarray,
    landed: list[Tensor],
    steps: int,
    memory: int,
) -> np.ndarray:
    """What the landings are off by, as `past_errors` gives it."""
    with torch.no_grad():
        y_BY = scaler.unscale(model.read_out(torch.cat(landed)).numpy(), columns.cv)
    measured_RY = rows_RC[:, list(columns.cv)]
    errors = np.full((steps + 1, memory, len(columns.cv)), np.nan)
    at = 0
    for k, z in enumerate(landed):
        missed = measured_RY[-len(z) :] - y_BY[at : at + len(z)]
        errors[k, : len(z)] = missed[::-1]
        at += len(z)
    return np.where(np.isfinite(errors), errors, np.nan)
