"""Past forecasts, carried from tick to tick instead of made anew.

Shapes as in `bias.py`.

Of the windows that a tick encodes and rolls up to the present all but the newest were there one tick ago, one row
short. So as long as the history is the one of the last tick with a few rows more, only those rows are encoded and only
the last step of each forecast is made: a sixtieth of the work. It is memory of what was computed, not of what was
decided: the answer depends on the rows alone, and any other history (a restart, a late sample, a gap that was filled
otherwise) is computed from the start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from procmodel.control.bias import encode_history, filled, landings, missed
from procmodel.control.cell import Cell
from procmodel.data.window import Columns, Scaler
from procmodel.world_model.protocol import WorldModel


@dataclass(frozen=True, kw_only=True)
class Past:
    """What the history says of the present.

    Attributes:
        latent_D: Encoded newest window.
        errors_NmY: As `past_errors` gives them.
    """

    latent_D: Tensor
    errors_NmY: np.ndarray


@dataclass(frozen=True, kw_only=True)
class _Known:
    """Of the last tick: rows, scaled moves and DVs without gaps [R, U + V], forecasts at the newest row [N + 1, D]."""

    rows_RC: np.ndarray
    inputs_RI: np.ndarray
    front_ND: Tensor
    past: Past


class PastForecasts:
    """Latent and past errors of one model.

    Args:
        steps, memory: N and m.
        most: Rows by which a history may be longer than the last one to be carried on.
        cell: The model's step by hand; without it forecasts are carried on by torch.

    Attributes:
        made_anew: How often a history was computed from the start.
    """

    def __init__(
        self,
        *,
        model: WorldModel,
        scaler: Scaler,
        columns: Columns,
        steps: int,
        memory: int,
        most: int,
        cell: Cell | None = None,
    ) -> None:
        self._model, self._scaler, self._columns, self._cell = model, scaler, columns, cell
        self._steps, self._memory, self._most = steps, memory, most
        self._known: _Known | None = None
        self.made_anew = 0

    def at(self, rows_RC: np.ndarray) -> Past:
        """Of a history, NaN in gaps, newest row last."""
        columns = (*self._columns.mv, *self._columns.dv)
        inputs_RI = self._scaler.scale(filled(rows_RC)[:, list(columns)], columns)
        more = self._more(rows_RC, inputs_RI)
        if more is None:
            self._known = self._anew(rows_RC, inputs_RI)
            self.made_anew += 1
        elif more:
            self._known = self._carried(rows_RC, inputs_RI, more)
        assert self._known is not None
        return self._known.past

    def _more(self, rows_RC: np.ndarray, inputs_RI: np.ndarray) -> int | None:
        """How many rows are new; None where the history is not the last one carried on."""
        known = self._known
        whole = self._model.rows + self._steps
        if known is None or len(rows_RC) != len(known.rows_RC) or len(rows_RC) < whole:
            return None
        for more in range(self._most + 1):
            end = len(rows_RC) - more
            same = np.array_equal(rows_RC[:end], known.rows_RC[more:], equal_nan=True)
            # Up to the end of the oldest window no forecast is driven; there a gap may be filled otherwise.
            at = self._model.rows
            if same and np.array_equal(inputs_RI[at:end], known.inputs_RI[at + more :], equal_nan=True):
                return more
        return None

    def _anew(self, rows_RC: np.ndarray, inputs_RI: np.ndarray) -> _Known:
        history = encode_history(self._model, self._scaler, rows_RC)
        landed = landings(self._model, self._scaler, self._columns, history, self._steps, self._memory)
        past = Past(
            latent_D=history.latents_WD[-1],
            errors_NmY=missed(self._model, self._scaler, self._columns, rows_RC, landed, self._steps, self._memory),
        )
        front_ND = torch.stack([z_BD[-1] for z_BD in landed])
        return _Known(rows_RC=rows_RC, inputs_RI=inputs_RI, front_ND=front_ND, past=past)

    def _carried(self, rows_RC: np.ndarray, inputs_RI: np.ndarray, more: int) -> _Known:
        known = self._known
        assert known is not None
        cv = list(self._columns.cv)
        newest_WD = encode_history(self._model, self._scaler, rows_RC[-(self._model.rows + more - 1) :]).latents_WD
        front_ND, errors_NmY = known.front_ND, known.past.errors_NmY
        for row in range(more):
            at = len(rows_RC) - more + row
            with torch.no_grad():
                front_ND = torch.cat([newest_WD[row : row + 1], self._step(front_ND[:-1], inputs_RI[at])])
                y_NY = self._scaler.unscale(self._model.read_out(front_ND).numpy(), self._columns.cv)
            off_NY = rows_RC[at, cv] - y_NY
            off_NY = np.where(np.isfinite(off_NY), off_NY, np.nan)
            errors_NmY = np.concatenate([off_NY[:, None], errors_NmY[:, : self._memory - 1]], axis=1)
        if len(rows_RC) < self._model.rows + self._steps + self._memory - 1:
            # A forecast issued before the history began is none of it, known as it may be.
            issued = np.arange(self._steps + 1)[:, None] + np.arange(self._memory)
            errors_NmY[issued > len(rows_RC) - self._model.rows] = np.nan
        past = Past(latent_D=newest_WD[-1], errors_NmY=errors_NmY)
        return _Known(rows_RC=rows_RC, inputs_RI=inputs_RI, front_ND=front_ND, past=past)

    def _step(self, z_ND: Tensor, inputs_I: np.ndarray) -> Tensor:
        """Latents one row later, [N, D], all under the same moves and DVs."""
        mvs = len(self._columns.mv)
        if self._cell is None:
            held = torch.from_numpy(inputs_I).expand(len(z_ND), -1)
            return self._model.step(z_ND, held[:, :mvs], held[:, mvs:])
        u_NU = np.broadcast_to(inputs_I[:mvs], (len(z_ND), 1, mvs))
        return torch.from_numpy(self._cell.roll(z_ND.numpy(), u_NU, inputs_I[None, mvs:]).latents_KND[:, 0])
