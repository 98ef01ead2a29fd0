"""A learned world model in bare matrices: what a tick asks of it in small batches, without torch between the products.

Shapes: B batch, L rows of history, C tags, D latent, U MVs, V DVs, Y CVs, H units of a layer. Scaled, float64.

A tick encodes a few windows, steps them on and reads them out; nearly all that this takes in torch is the time between
its products.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from procmodel.control.cell import matrix, stack_of
from procmodel.control.cells import cell_of
from procmodel.control.dense_cell import DenseCell
from procmodel.control.readings import read_out_of
from procmodel.control.rows import bend
from procmodel.data.window import Window
from procmodel.world_model.latent_model import LatentModel
from procmodel.world_model.linear import LinearState
from procmodel.world_model.products import Products, window_state
from procmodel.world_model.protocol import WorldModel


def by_hand(model: WorldModel) -> WorldModel:
    """The same model, taken apart where its form is known; as its weights are now, and without derivatives."""
    cell = cell_of(model)
    return ByHand(model, cell) if isinstance(model, LatentModel) and isinstance(cell, DenseCell) else model


class ByHand:
    """A latent model. A window with gaps is encoded by the model itself, which knows how they are filled."""

    def __init__(self, model: LatentModel, cell: DenseCell) -> None:
        config, columns = model.config, model.config.columns
        self.rows, self.latent_size = model.rows, model.latent_size
        self._model, self._cell, self._read_out = model, cell, read_out_of(model)
        (first, bias), *self._layers = stack_of(model.encoder)
        # The network reads [values | mask] of each row. Without gaps the mask is ones, which only adds to the bias.
        by_row = first.reshape(config.rows, 2, columns.count, -1)
        self._first = np.ascontiguousarray(by_row[:, 0].reshape(config.rows * columns.count, -1))
        self._first_bias = bias + by_row[:, 1].sum(axis=(0, 1))
        self._filter = _filter_of(model) if config.filtered else None
        self._tags = [*columns.mv, *columns.dv, *columns.cv]
        if not config.filtered:
            state = np.zeros((config.rows, columns.count, config.state))
            state[config.rows - config.lags - 1 :, self._tags] = matrix(model.to_state)
            self._state, self._state_bias = state.reshape(len(self._first), -1), matrix(model.state_bias)

    def encode(self, window: Window) -> Tensor:
        """Latent [B, D] at the end of the window."""
        if not window.mask.numpy().all():
            return self._model.encode(window)
        seen = window.values.numpy().reshape(len(window.values), -1)
        found = np.empty((len(seen), self.latent_size))
        states = self._model.config.state
        if self._filter is not None:
            found[:, :states] = window_state(*self._filter, window.values.numpy()[:, :, self._tags])
        else:
            found[:, :states] = seen @ self._state + self._state_bias
        below = _bent(seen @ self._first + self._first_bias)
        for weight, bias in self._layers[:-1]:
            below = _bent(below @ weight + bias)
        weight, bias = self._layers[-1]
        found[:, states:] = below @ weight + bias
        return torch.from_numpy(found)

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        """Latent one row later, [B, D]."""
        return torch.from_numpy(self._cell.step(z_BD.numpy(), u_BU.numpy(), d_BV.numpy()))

    def read_out(self, z_BD: Tensor) -> Tensor:
        """CVs [B, Y]."""
        return torch.from_numpy(self._read_out.values(z_BD.numpy()))


def _filter_of(model: LatentModel) -> tuple[LinearState, Products | None]:
    """The linear state and the products that follow it along a window."""
    names = ("A", "B", "C", "K", "bias", "offset")
    begin, begin_bias = matrix(model.to_state), matrix(model.state_bias)
    linear = LinearState(
        **{name: matrix(getattr(model, name)) for name in names}, encoder=begin, encoder_bias=begin_bias,
        begin=begin[0], begin_bias=begin_bias, values=np.ones(len(begin_bias)),
    )  # fmt: skip
    if not model.config.products:
        return linear, None
    parts = {name: matrix(getattr(model, name)) for name in ("centre", "rate", "quadratic", "slope", "rest")}
    return linear, Products(**parts, gain=0.0, leading=0, ridge=0.0)


def _bent(values_BH: np.ndarray) -> np.ndarray:
    bend(values_BH.reshape(-1))
    return values_BH
