"""Models with known answers, for the tests of evaluation.

Shapes: B batch, L rows, C tags, D latent, U MVs, V DVs, Y CVs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from procmodel.data.window import Columns, Window
from procmodel.world_model.linear import LinearState


@dataclass(frozen=True)
class FirstOrderWorld:
    """Each CV of a window's last row goes to `gain . [u, d]` with its own factor per row; scaled, exact in closed form.

    Attributes:
        gain: [Y, U + V]; keep: [Y], what is left of a deviation after a row.
    """

    gain: Tensor
    keep: Tensor
    columns: Columns
    rows: int = 3

    @property
    def latent_size(self) -> int:
        return len(self.keep)

    def encode(self, window: Window) -> Tensor:
        return window.values[:, -1, list(self.columns.cv)]

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        return self.keep * z_BD + (1 - self.keep) * (torch.cat([u_BU, d_BV], dim=1) @ self.gain.T)

    def read_out(self, z_BD: Tensor) -> Tensor:
        return z_BD


@dataclass(frozen=True)
class LinearWorld:
    """A fitted linear innovations state as a world model."""

    state: LinearState
    columns: Columns

    @property
    def rows(self) -> int:
        return len(self.state.encoder)

    @property
    def latent_size(self) -> int:
        return len(self.state.A)

    def encode(self, window: Window) -> Tensor:
        at = [*self.columns.mv, *self.columns.dv, *self.columns.cv]
        rows = window.values[:, :, at]
        z = torch.einsum("blc,lcn->bn", rows, torch.from_numpy(self.state.encoder))
        return z + torch.from_numpy(self.state.encoder_bias)

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        a, b, bias = (torch.from_numpy(np.asarray(m)) for m in (self.state.A, self.state.B, self.state.bias))
        return z_BD @ a.T + torch.cat([u_BU, d_BV], dim=1) @ b.T + bias

    def read_out(self, z_BD: Tensor) -> Tensor:
        return z_BD @ torch.from_numpy(self.state.C).T + torch.from_numpy(self.state.offset)
