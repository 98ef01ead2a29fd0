"""The stage map of any world model, differentiated by torch: what stands in where no matrices are known.

Shapes: K plans, N rows of the horizon, D latent, U MVs, V DVs, P tangents. Scaled, float64.

The rollout runs without a graph. All N stage Jacobians then come from one batched reverse pass over the N latents, and
are condensed by `T_n = T_{n-1} A_n' + E_n B_n'`, where unknowns that have not begun stay zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from procmodel.control.cell import Adjoint, Tape
from procmodel.world_model.protocol import WorldModel, rollout


@runtime_checkable
class Linearises(Protocol):
    """A model that knows its own stage Jacobians, usually faster than differentiating `step`."""

    def linearise(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Next latent [B, D], dz+/dz [B, D, D] and dz+/du [B, D, U]."""
        ...


class GraphCell:
    """One row of any world model."""

    def __init__(self, model: WorldModel) -> None:
        self._model = model
        self._known: tuple[Tape, int, np.ndarray, np.ndarray] | None = None

    def roll(self, latent_D: np.ndarray, u_KNU: np.ndarray, d_NV: np.ndarray) -> Tape:
        plans = len(u_KNU)
        u, d = torch.from_numpy(np.ascontiguousarray(u_KNU)), torch.from_numpy(np.ascontiguousarray(d_NV))
        z_KD = torch.from_numpy(np.ascontiguousarray(latent_D)).expand(plans, -1)
        with torch.no_grad():
            z_KND = rollout(self._model, z_KD, u, d.expand(plans, -1, -1)).numpy()
        before = np.concatenate([np.broadcast_to(latent_D, (plans, 1, len(latent_D))), z_KND[:, :-1]], axis=1)
        return Tape(latents_KND=z_KND, layers=(before, np.asarray(u_KNU), d_NV))

    def tangents(
        self, tape: Tape, plan: int, push_NPU: np.ndarray, begun_N: np.ndarray, bends: tuple[np.ndarray, ...] = ()
    ) -> tuple[np.ndarray, np.ndarray | None]:
        step_NDD, push_NDU = self._stages(tape, plan)
        found_NPD = push_NPU @ push_NDU.transpose(0, 2, 1)
        for n in range(1, len(found_NPD)):
            p = begun_N[n]
            found_NPD[n, :p] += found_NPD[n - 1, :p] @ step_NDD[n].T
        return found_NPD, None

    def adjoint(self, tape: Tape, plan: int, seed_ND: np.ndarray) -> Adjoint:
        step_NDD, push_NDU = self._stages(tape, plan)
        latents_ND = np.array(seed_ND)
        for n in range(len(latents_ND) - 1, 0, -1):
            latents_ND[n - 1] += step_NDD[n].T @ latents_ND[n]
        return Adjoint(moves_NU=np.einsum("nd,ndu->nu", latents_ND, push_NDU), latents_ND=latents_ND, bends=())

    def _stages(self, tape: Tape, plan: int) -> tuple[np.ndarray, np.ndarray]:
        """dz+/dz [N, D, D] and dz+/du [N, D, U]; those of the last tape are kept: tangents and adjoint need them."""
        if self._known is None or self._known[0] is not tape or self._known[1] != plan:
            before, u, d = tape.layers
            z_ND, u_NU = (torch.from_numpy(np.ascontiguousarray(part[plan])) for part in (before, u))
            step, push = self._stage_jacobians(z_ND, u_NU, torch.from_numpy(np.ascontiguousarray(d)))
            self._known = (tape, plan, step.numpy(), push.numpy())
        return self._known[2], self._known[3]

    def _stage_jacobians(self, z_ND: Tensor, u_NU: Tensor, d_NV: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(self._model, Linearises):
            with torch.no_grad():
                _, step_NDD, push_NDU = self._model.linearise(z_ND, u_NU, d_NV)
            return step_NDD, push_NDU
        step_NDD, push_NDU = row_jacobians(lambda z, u: self._model.step(z, u, d_NV), z_ND, u_NU)
        return step_NDD, push_NDU


def row_jacobians(function: Callable[..., Tensor], *inputs_NQ: Tensor) -> list[Tensor]:
    """Jacobians of a function of rows by each of its inputs, row by row, [N, outputs, inputs].

    Rows do not mix, so one cotangent picks one output in all rows at once, and one batched reverse pass has them all.
    `torch.func` would do the same, and load the compiler on its first use: 1.6 s in the first tick.
    """
    with torch.enable_grad():
        inputs = [x.detach().requires_grad_() for x in inputs_NQ]
        outputs_NR = function(*inputs)
        rows, outputs = outputs_NR.shape
        unit_RR = torch.eye(outputs, dtype=outputs_NR.dtype, device=outputs_NR.device)
        unit_RNR = unit_RR[:, None, :].expand(-1, rows, -1)
        return [part.movedim(0, 1) for part in pulled_back((outputs_NR,), inputs, (unit_RNR,))]


def pulled_back(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], cotangents: Sequence[Tensor], *, batched: bool = True
) -> list[Tensor]:
    """Derivatives by the inputs for a batch of cotangents; zero where an output does not depend on an input."""
    wanted = [(out, cotangent) for out, cotangent in zip(outputs, cotangents, strict=True) if out.requires_grad]
    count = [len(cotangents[0])] if batched else []
    found: Sequence[Tensor | None] = [None] * len(inputs)
    if wanted:
        found = torch.autograd.grad(
            [out for out, _ in wanted],
            inputs,
            [cotangent for _, cotangent in wanted],
            is_grads_batched=batched,
            create_graph=not batched,
            allow_unused=True,
        )
    return [x.new_zeros(*count, *x.shape) if part is None else part for x, part in zip(inputs, found, strict=True)]
