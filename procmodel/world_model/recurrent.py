"""Gated recurrent world models: what sequence-to-sequence forecasters of plants usually are, behind the same protocol.

The latent is the hidden state of a gated recurrent unit. One unit reads the history with its mask, another is driven by
the moves; the CVs are linear in the latent. It is the second architecture that the optimizer has to be quick with, and,
with its older sister of long short-term memory (Hochreiter and Schmidhuber 1997), a baseline for the default.

Shapes: B batch, L rows of history, C tags, D latent, U MVs, V DVs, Y CVs. Scaled.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from procmodel.data.window import Columns, Window
from procmodel.world_model.latent_model import forward_fill


@dataclass(frozen=True, kw_only=True)
class GruConfig:
    """Sizes of a gated recurrent model.

    Attributes:
        rows: L, history rows the encoder reads.
        latent: D.
    """

    columns: Columns
    rows: int
    latent: int


class GruModel(nn.Module):
    """`encode`, `step` and `read_out` of `WorldModel`."""

    def __init__(self, config: GruConfig) -> None:
        super().__init__()
        columns = config.columns
        self.config = config
        self.rows, self.latent_size = config.rows, config.latent
        self.encoder = nn.GRU(2 * columns.count, config.latent, batch_first=True)
        self.cell = nn.GRUCell(len(columns.mv) + len(columns.dv), config.latent)
        self.readout = nn.Linear(config.latent, len(columns.cv))

    def encode(self, window: Window) -> Tensor:
        """Latent [B, D] at the end of the window."""
        filled_BLC = forward_fill(window.values, window.mask)
        _, last_1BD = self.encoder(torch.cat([filled_BLC, window.mask], dim=-1))
        latent_BD: Tensor = last_1BD[0]
        return latent_BD

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        """Latent one row later, [B, D]."""
        after_BD: Tensor = self.cell(torch.cat([u_BU, d_BV], dim=-1), z_BD)
        return after_BD

    def read_out(self, z_BD: Tensor) -> Tensor:
        """CVs [B, Y]."""
        y_BY: Tensor = self.readout(z_BD)
        return y_BY


class LstmModel(nn.Module):
    """The same with long short-term memory: the latent is the hidden state and the cell's, [B, D] with D = 2 hidden."""

    def __init__(self, config: GruConfig) -> None:
        super().__init__()
        columns, hidden = config.columns, config.latent
        self.config = config
        self.rows, self.latent_size = config.rows, 2 * hidden
        self.encoder = nn.LSTM(2 * columns.count, hidden, batch_first=True)
        self.cell = nn.LSTMCell(len(columns.mv) + len(columns.dv), hidden)
        self.readout = nn.Linear(hidden, len(columns.cv))

    def encode(self, window: Window) -> Tensor:
        """Latent [B, D] at the end of the window."""
        filled_BLC = forward_fill(window.values, window.mask)
        _, last = self.encoder(torch.cat([filled_BLC, window.mask], dim=-1))
        return torch.cat([part_1BH[0] for part_1BH in last], dim=-1)

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        """Latent one row later, [B, D]."""
        return torch.cat(self.cell(torch.cat([u_BU, d_BV], dim=-1), z_BD.chunk(2, dim=-1)), dim=-1)

    def read_out(self, z_BD: Tensor) -> Tensor:
        """CVs [B, Y]."""
        y_BY: Tensor = self.readout(z_BD.chunk(2, dim=-1)[0])
        return y_BY
