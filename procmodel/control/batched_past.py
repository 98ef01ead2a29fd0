"""Encodings and past errors of many histories at once, with the answers of `past.py` for each.

Shapes: B histories, R rows, C columns in plant order, L rows that the encoder reads, W windows (W = R - L + 1), N rows
of the horizon, m targets looked back at, D latent, U MVs, V DVs, Y CVs.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from procmodel.control.bias import filled
from procmodel.data.window import Columns, Scaler, Window
from procmodel.world_model.correction import BiasFilter, correction
from procmodel.world_model.latent_model import LatentModel
from procmodel.world_model.unrest import unrest_of

# Windows that are encoded in one go; their first layers are the largest tensors of all.
_MOST_WINDOWS = 16_384


@dataclass(frozen=True, kw_only=True)
class BatchObserver:
    """One model's memory of past forecasts.

    Attributes:
        model: On the device that is to be used.
        steps: N.
    """

    model: LatentModel
    scaler: Scaler
    columns: Columns
    steps: int
    bias: BiasFilter

    @classmethod
    def of(
        cls, model: LatentModel, scaler: Scaler, columns: Columns, steps: int, bias: BiasFilter, device: str
    ) -> Self:
        """With a copy of the model on a device."""
        there = deepcopy(model).to(device).requires_grad_(False)
        return cls(model=there, scaler=scaler, columns=columns, steps=steps, bias=bias)

    @property
    def rows(self) -> int:
        """Rows that each history must have."""
        return self.model.rows + self.steps + self.bias.reach - 1

    def at(self, rows_BRC: np.ndarray, filled_BRC: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        """Latents now, [B, D], on the device, the forecasts' correction, [B, N, Y] [unit], and the unrest, [B].

        Args:
            rows_BRC: NaN in gaps.
            filled_BRC: The same without gaps, as `filled` gives it.
        """
        most = max(1, _MOST_WINDOWS // (rows_BRC.shape[1] - self.model.rows + 1))
        found = [self._of_some(rows_BRC[i : i + most], filled_BRC[i : i + most]) for i in range(0, len(rows_BRC), most)]
        latents, corrections, unrests = zip(*found, strict=True)
        return torch.cat(latents), np.concatenate(corrections), np.concatenate(unrests)

    @torch.no_grad()
    def _of_some(self, rows_BRC: np.ndarray, filled_BRC: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        model, memory, batch = self.model, self.bias.reach, len(rows_BRC)
        device = model.A.device
        window = self.scaler.window(rows_BRC)
        values, mask = (
            part.to(device).unfold(1, model.rows, 1).transpose(2, 3).flatten(0, 1)
            for part in (window.values, window.mask)
        )
        z_BWD = model.encode(Window(values=values, mask=mask)).reshape(batch, -1, model.latent_size)
        latent_BD = z_BWD[:, -1].contiguous()
        moves, drives = self.columns.mv, self.columns.dv
        u_BRU = torch.from_numpy(self.scaler.scale(filled_BRC[:, :, list(moves)], moves)).to(device)
        d_BRV = torch.from_numpy(self.scaler.scale(filled_BRC[:, :, list(drives)], drives)).to(device)
        first, windows = model.rows - 1, z_BWD.shape[1]
        landed = [z_BWD[:, -memory:]]
        for k in range(1, self.steps + 1):
            # As in `landings`; what runs past the present is dropped.
            z_BWD = model.step(z_BWD[:, : windows - k], u_BRU[:, first + k :], d_BRV[:, first + k :])
            landed.append(z_BWD[:, -memory:])
        y_BNmY = self.scaler.unscale(model.read_out(torch.stack(landed, dim=1)).cpu().numpy(), self.columns.cv)
        errors = (rows_BRC[:, None, -memory:, list(self.columns.cv)] - y_BNmY)[:, :, ::-1]
        errors = np.where(np.isfinite(errors), errors, np.nan)
        unrest_B = np.array([unrest_of(each, self.bias) for each in errors])
        return latent_BD, correction(errors, self.bias), unrest_B


def filled_all(rows_BRC: np.ndarray) -> np.ndarray:
    """Each history without gaps, as `filled` gives one."""
    batch, rows, columns = rows_BRC.shape
    side_by_side = filled(rows_BRC.transpose(1, 0, 2).reshape(rows, batch * columns))
    return np.ascontiguousarray(side_by_side.reshape(rows, batch, columns).transpose(1, 0, 2))
