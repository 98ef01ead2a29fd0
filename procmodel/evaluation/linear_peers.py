"""Linear model predictive control as industry has it: other models in the same optimizer, so that only these differ.

Two models from the same record as the world model: a subspace state (N4SID, `procmodel.world_model.n4sid`), and step
responses (dynamic matrix control; Cutler, C. R. and Ramaker, B. L. (1980). Dynamic matrix control: a computer control
algorithm. Joint Automatic Control Conference, WP5-B). Past errors of each are believed and
limits are kept by its own held-back rows, as for the world model (`procmodel.world_model.doubt`).

Shapes: T rows, B batch, L rows of history, P rows that a step takes to settle, D states, U MVs, V inputs held during a
row (MVs then DVs), Y CVs. Scaled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from procmodel.data.window import Columns, Window
from procmodel.errors import DatasetError
from procmodel.world_model.latent_model import forward_fill
from procmodel.world_model.linear import LinearState

Array = np.ndarray
Runs = Sequence[tuple[Array, Array]]
"""Per stretch, CVs [T, Y] and inputs [T, V], scaled, NaN in gaps."""

SMOOTHNESS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Tried as the price of roughness of a step response, relative to the mean square of the moves."""


class LinearWorld:
    """A linear state as a world model; gaps are filled as for a `LatentModel`."""

    def __init__(self, state: LinearState, columns: Columns) -> None:
        self.rows, self.latent_size = len(state.encoder), len(state.A)
        self._at, self._moves = [*columns.mv, *columns.dv, *columns.cv], len(columns.mv)
        self._a, self._b, self._c = (torch.as_tensor(np.array(m)) for m in (state.A, state.B, state.C))
        self._bias, self._offset = torch.as_tensor(np.array(state.bias)), torch.as_tensor(np.array(state.offset))
        self._encoder = torch.as_tensor(np.array(state.encoder)).flatten(0, 1)
        self._encoder_bias = torch.as_tensor(np.array(state.encoder_bias))

    def encode(self, window: Window) -> Tensor:
        """State at the end of the window, [B, D]."""
        return forward_fill(window.values, window.mask)[:, :, self._at].flatten(1) @ self._encoder + self._encoder_bias

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        """State one row later, [B, D]."""
        return z_BD @ self._a.T + torch.cat([u_BU, d_BV], dim=1) @ self._b.T + self._bias

    def read_out(self, z_BD: Tensor) -> Tensor:
        """CVs, [B, Y]."""
        return z_BD @ self._c.T + self._offset

    def linearise(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """State one row later [B, D] and its derivatives by state [B, D, D] and MVs [B, D, U]."""
        count = len(z_BD)
        by_u = self._b[:, : self._moves]
        return self.step(z_BD, u_BU, d_BV), self._a.expand(count, -1, -1), by_u.expand(count, -1, -1)


def fit_step_response(runs: Runs, held: Runs, settle: int) -> LinearState:
    """Step responses from a record, `y[t+1] - y[t] = sum_i h[i] (v[t+1-i] - v[t-i])`, as a state.

    The price of roughness is the one with the least error on the held-back runs.

    Args:
        runs, held: To fit on, and to choose by.
        settle: P; a move does nothing more after so many rows.

    Raises:
        DatasetError: Too few rows without a gap.
    """
    (moves, changes), (moves_held, changes_held) = _increments(runs, settle), _increments(held, settle)
    inputs = runs[0][1].shape[1]
    if len(moves) < 2 * settle * inputs or not len(moves_held):
        raise DatasetError(
            f"Step responses: {len(moves)} rows have {settle + 1} rows before them without a gap, "
            f"{2 * settle * inputs} are needed, and some held back. Read a longer record."
        )
    gram, cross = moves.T @ moves, moves.T @ changes
    rough = np.kron(np.diff(np.eye(settle), n=2, axis=0).T @ np.diff(np.eye(settle), n=2, axis=0), np.eye(inputs))
    size, little = np.trace(gram) / len(gram), 1e-6 * np.eye(len(gram))
    found = [np.linalg.solve(gram + size * (price * rough + little), cross) for price in SMOOTHNESS]
    best = min(found, key=lambda h: float(np.mean((changes_held - moves_held @ h) ** 2)))
    return _step_state(best.reshape(settle, inputs, -1).transpose(0, 2, 1))


def _increments(runs: Runs, settle: int) -> tuple[Array, Array]:
    """Changes of the inputs in the last P rows, newest first [T, P * V], and of the CVs in the newest [T, Y]."""
    (_, y), (_, v) = ((len(part), part.shape[1]) for part in runs[0]) if runs else ((0, 1), (0, 1))
    moves, changes = [np.empty((0, settle * v))], [np.empty((0, y))]
    for y_TY, v_TV in runs:
        if len(y_TY) <= settle + 1:
            continue
        dv, dy = np.diff(v_TV, axis=0), np.diff(y_TY, axis=0)
        rows = np.arange(settle - 1, len(dv))
        z = np.concatenate([dv[rows - i] for i in range(settle)], axis=1)
        good = np.isfinite(z).all(axis=1) & np.isfinite(dy[rows]).all(axis=1)
        moves.append(z[good])
        changes.append(dy[rows][good])
    return np.concatenate(moves), np.concatenate(changes)


def _step_state(h: Array) -> LinearState:
    """The newest CVs and the last P inputs as a state; `h` [P, Y, V] is the CVs' change per row after a move."""
    settle, outputs, inputs = h.shape
    size = outputs + settle * inputs
    a, b, c = np.zeros((size, size)), np.zeros((size, inputs)), np.eye(outputs, size)
    a[:outputs, :outputs] = np.eye(outputs)
    for j in range(settle):
        later = h[j + 1] if j + 1 < settle else 0.0
        a[:outputs, outputs + j * inputs : outputs + (j + 1) * inputs] = later - h[j]
    a[outputs + inputs :, outputs:-inputs] = np.eye(size - outputs - inputs)
    b[:outputs], b[outputs : outputs + inputs] = h[0], np.eye(inputs)
    encoder = np.zeros((settle, inputs + outputs, size))
    encoder[-1, inputs:, :outputs] = np.eye(outputs)
    for j in range(settle):
        encoder[settle - 1 - j, :inputs, outputs + j * inputs : outputs + (j + 1) * inputs] = np.eye(inputs)
    return LinearState(
        A=a, B=b, C=c, K=np.eye(size, outputs), bias=np.zeros(size), offset=np.zeros(outputs), encoder=encoder,
        encoder_bias=np.zeros(size), values=np.linalg.svd(h.reshape(-1, inputs), compute_uv=False),
    )  # fmt: skip


__all__ = ["LinearWorld", "Runs", "fit_step_response"]
