"""The cell of `GruModel`: one gated recurrent unit per row. Shapes as in `cell.py`."""

from __future__ import annotations

import numpy as np

from procmodel.control.cell import Adjoint, Tape, matrix
from procmodel.world_model.recurrent import GruModel


class GatedCell:
    """A gated recurrent unit whose hidden state is the latent.

    Args:
        state: Weights [D, 3 D] and biases [3 D] of the latent for reset gate, update gate and candidate.
        moves, drive: Weights of the MVs [U, 3 D]; of the DVs, with the inputs' bias in the last row, [V + 1, 3 D].
    """

    def __init__(self, *, state: tuple[np.ndarray, np.ndarray], moves: np.ndarray, drive: np.ndarray) -> None:
        (self._state, self._bias), self._moves, self._drive = state, moves, drive
        self._latent = len(self._state)
        self._state_T, self._moves_T = (np.ascontiguousarray(weight.T) for weight in (self._state, moves))
        # Gates see the latent and the MVs alike, so that one product serves both; the candidate's parts meet later.
        gates, at = 2 * self._latent, slice(0, 2 * self._latent)
        self._gates = np.concatenate([self._state[:, at], moves[:, at]])
        self._recall = np.ascontiguousarray(self._state[:, gates:])
        self._fresh = np.ascontiguousarray(moves[:, gates:])

    def roll(self, latent_D: np.ndarray, u_KNU: np.ndarray, d_NV: np.ndarray) -> Tape:
        plans, steps = u_KNU.shape[:2]
        size = self._latent
        driven_N = np.hstack([d_NV, np.ones((steps, 1))]) @ self._drive
        given = (u_KNU @ self._moves).transpose(1, 0, 2) + driven_N[:, None]
        z = np.empty((steps + 1, plans, size))
        z[0] = latent_D
        gates, recalled, fresh = (np.empty((steps, plans, width)) for width in (2 * size, size, size))
        for n in range(steps):
            seen = z[n] @ self._state
            seen += self._bias
            np.tanh(0.5 * (seen[:, : 2 * size] + given[n, :, : 2 * size]), out=gates[n])  # the logistic function, twice
            gates[n] += 1.0
            gates[n] *= 0.5
            recalled[n] = seen[:, 2 * size :]
            np.tanh(gates[n, :, :size] * recalled[n] + given[n, :, 2 * size :], out=fresh[n])
            np.add(fresh[n], gates[n, :, size:] * (z[n] - fresh[n]), out=z[n + 1])
        return Tape(
            latents_KND=np.ascontiguousarray(z[1:].transpose(1, 0, 2)), layers=(gates, recalled, fresh, z[:steps])
        )

    def tangents(
        self, tape: Tape, plan: int, push_NPU: np.ndarray, begun_N: np.ndarray, bends: tuple[np.ndarray, ...] = ()
    ) -> tuple[np.ndarray, np.ndarray | None]:
        steps, count, mvs = push_NPU.shape
        size = self._latent
        slope_N, keep_N, ease_N, mix_N, reset_N = self._slopes(tape, plan)
        fresh_NPD = push_NPU @ self._fresh
        x, gates = np.zeros((count, size + mvs)), np.empty((count, 2 * size))
        recall = np.empty((count, size))
        found_NPD = np.zeros((steps, count, size))
        for n in range(steps):
            p = begun_N[n]
            x[:p, size:] = push_NPU[n, :p]
            np.matmul(x[:p], self._gates, out=gates[:p])
            gates[:p] *= slope_N[n]
            candidate = np.matmul(x[:p, :size], self._recall, out=recall[:p])
            candidate *= reset_N[n]
            candidate += gates[:p, :size]
            candidate += fresh_NPD[n, :p]
            candidate *= ease_N[n]
            after = found_NPD[n, :p]
            np.multiply(x[:p, :size], keep_N[n], out=after)
            after += candidate
            after += np.multiply(gates[:p, size:], mix_N[n], out=candidate)
            x[:p, :size] = after
        return found_NPD, None

    def adjoint(self, tape: Tape, plan: int, seed_ND: np.ndarray) -> Adjoint:
        steps, size = len(seed_ND), self._latent
        slope_N, keep_N, ease_N, mix_N, reset_N = self._slopes(tape, plan)
        moves_NU, latents_ND = np.empty((steps, len(self._moves))), np.array(seed_ND)
        by_state, by_input = np.empty(3 * size), np.empty(3 * size)
        for n in range(steps - 1, -1, -1):
            pull = latents_ND[n]
            candidate = pull * ease_N[n]
            by_input[:size], by_input[size : 2 * size] = (
                candidate * slope_N[n, :size],
                pull * mix_N[n] * slope_N[n, size:],
            )
            by_input[2 * size :] = candidate
            by_state[:] = by_input
            by_state[2 * size :] *= reset_N[n]
            moves_NU[n] = by_input @ self._moves_T
            if n:
                latents_ND[n - 1] += by_state @ self._state_T + pull * keep_N[n]
        return Adjoint(moves_NU=moves_NU, latents_ND=latents_ND, bends=())

    def _slopes(self, tape: Tape, plan: int) -> tuple[np.ndarray, ...]:
        """Factors of each row: of the gates' inputs (the reset gate's times what it lets through), of the latent, of
        the candidate's input, of the update gate and of what is recalled."""
        size = self._latent
        gates, recalled, fresh, z = (layer[:, plan] for layer in tape.layers)
        slope = gates * (1.0 - gates)
        slope[:, :size] *= recalled
        reset, keep = gates[:, :size], gates[:, size:]
        return slope, keep, (1.0 - keep) * (1.0 - np.square(fresh)), z - fresh, reset


def gated_cell_of(model: GruModel) -> GatedCell:
    mvs = len(model.config.columns.mv)
    inputs = matrix(model.cell.weight_ih).T
    return GatedCell(
        state=(np.ascontiguousarray(matrix(model.cell.weight_hh).T), matrix(model.cell.bias_hh)),
        moves=np.ascontiguousarray(inputs[:mvs]),
        drive=np.concatenate([inputs[mvs:], matrix(model.cell.bias_ih)[None]]),
    )
