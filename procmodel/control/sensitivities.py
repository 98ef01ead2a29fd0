"""Forecasts of candidate plans and their derivatives, both from one and the same rollout.

Shapes: K plans tried at once, N rows of the horizon, M blocks, P = M * U blocked changes (index block * U + MV),
D latent, U MVs, V DVs, Y CVs, G heads. Engineering units outside, scaled for the model, float64 throughout.

A shipped architecture is taken apart into its matrices (`fused.py`), any other model is differentiated by torch
(`graph.py`). Either way one rollout carries a tangent per blocked change through the horizon, changes whose block has
not begun are left off, and the CVs and all margins are read out of the same latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from procmodel.control.cell import Adjoint, Cell, Tape
from procmodel.control.cells import cell_of
from procmodel.control.curvature import bent
from procmodel.control.graph import GraphCell
from procmodel.control.graph import Linearises as Linearises
from procmodel.control.horizon import Horizon
from procmodel.control.readings import Head as Head
from procmodel.control.readings import Margins, ReadOut, read_out_of
from procmodel.data.window import Columns, Scaler
from procmodel.world_model.protocol import WorldModel


@dataclass(frozen=True, kw_only=True)
class Now:
    """Where the plant stands at this tick.

    Attributes:
        latent_D: Encoded history, scaled.
        start_U: Measured MV values.
        dv_NV: DVs over the horizon.
        bias_NY: Added to the model's CVs.
        unrest: How far forecasts have missed of late, beyond what they usually do [-].
    """

    latent_D: Tensor
    start_U: np.ndarray
    dv_NV: np.ndarray
    bias_NY: np.ndarray
    unrest: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What comes of K plans.

    Attributes:
        moves_KNU: The plans.
        latents_KND: From one rollout; everything below is read out of it.
        read_KNY: CVs as the model reads them out, scaled.
        y_KNY: CVs, bias included.
        margins_KNG: Margins, allowance deducted.
        finite_K: Whether all numbers of a plan are finite.
        tape: What the rollout left for its derivatives.
        plan: Which of the tape's plans the first one here is.
    """

    now: Now
    moves_KNU: np.ndarray
    latents_KND: Tensor
    read_KNY: np.ndarray
    y_KNY: np.ndarray
    margins_KNG: np.ndarray
    finite_K: np.ndarray
    tape: Tape
    plan: int = 0

    def only(self, plan: int) -> Forecast:
        """The forecast of one of the plans."""
        at = slice(plan, plan + 1)
        return Forecast(
            now=self.now,
            moves_KNU=self.moves_KNU[at],
            latents_KND=self.latents_KND[at],
            read_KNY=self.read_KNY[at],
            y_KNY=self.y_KNY[at],
            margins_KNG=self.margins_KNG[at],
            finite_K=self.finite_K[at],
            tape=self.tape,
            plan=self.plan + plan,
        )


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """Derivatives along a forecast.

    Attributes:
        y_NYP, margins_NGP: d/dx of CVs and margins, x being the blocks' changes [unit per MV unit].
        moves_NUP: d/dx of the MV rows [-].
        curvature_PP: The model's part of the Lagrangian's Hessian in x, symmetric, of any sign; None where not asked.
    """

    y_NYP: np.ndarray
    margins_NGP: np.ndarray
    moves_NUP: np.ndarray
    curvature_PP: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """Derivative of a scalar by what is forecast.

    Attributes:
        y_NY, margins_NG: By each CV [1/unit] and margin [1/unit], per row.
    """

    y_NY: np.ndarray
    margins_NG: np.ndarray


class Forecaster:
    """Forecasts and derivatives of one model with its heads.

    Args:
        by_hand: Take shipped architectures apart; tests say no, to hold both ways against each other.

    Attributes:
        by_hand: The model's rows by hand; None where its form is not known.
    """

    def __init__(
        self,
        *,
        model: WorldModel,
        scaler: Scaler,
        columns: Columns,
        heads: Sequence[Head],
        horizon: Horizon,
        by_hand: bool = True,
    ) -> None:
        self.model, self.scaler, self.columns, self.heads, self.horizon = model, scaler, columns, tuple(heads), horizon
        cell = cell_of(model) if by_hand else None
        self.by_hand, self.is_by_hand = cell, cell is not None
        self._cell: Cell = cell if cell is not None else GraphCell(model)
        self._read_out: ReadOut = read_out_of(model, by_hand=self.is_by_hand)
        self._margins = Margins(self.heads)
        self._spread_U = scaler.spread[list(columns.mv)]
        allowances = [_stretched(head.allowance_H, horizon.steps) for head in self.heads]
        self.allowance_NG = np.array(allowances).reshape(len(self.heads), horizon.steps).T
        share_NMU, mvs = horizon.share_NMU, len(columns.mv)
        moves_NPU = (np.eye(mvs) * share_NMU[..., None]).reshape(horizon.steps, -1, mvs)
        self._moves_NUP = np.ascontiguousarray(moves_NPU.transpose(0, 2, 1))
        self._push_NPU = moves_NPU / self._spread_U
        self._begun_N = (horizon.block_of_row + 1) * mvs

    def forecast(self, now: Now, moves_KNU: np.ndarray) -> Forecast:
        """All plans in one rollout."""
        plans, steps = moves_KNU.shape[:2]
        dv_NV = self.scaler.scale(now.dv_NV, self.columns.dv)
        tape = self._cell.roll(now.latent_D.numpy(), self.scaler.scale(moves_KNU, self.columns.mv), dv_NV)
        z_BD = tape.latents_KND.reshape(plans * steps, -1)
        read_KNY = self._read_out.values(z_BD).reshape(plans, steps, -1)
        y_KNY = self.scaler.unscale(read_KNY, self.columns.cv) + now.bias_NY
        margins_KNG = self._margins.values(z_BD).reshape(plans, steps, -1) - self.allowance_NG
        finite_K = np.isfinite(y_KNY).all(axis=(1, 2)) & np.isfinite(margins_KNG).all(axis=(1, 2))
        return Forecast(
            now=now,
            moves_KNU=moves_KNU,
            latents_KND=torch.from_numpy(tape.latents_KND),
            read_KNY=read_KNY,
            y_KNY=y_KNY,
            margins_KNG=margins_KNG,
            finite_K=finite_K & np.isfinite(tape.latents_KND).all(axis=(1, 2)),
            tape=tape,
        )

    def sensitivity(self, forecast: Forecast, bend: Seeds | None = None) -> Sensitivity:
        """Derivatives along the (only) plan of a forecast, with respect to the blocks' changes.

        Args:
            bend: Derivative of the Lagrangian by what is forecast; with it, the model's curvature comes too.
        """
        tape, plan = forecast.tape, forecast.plan
        z_ND = tape.latents_KND[plan]
        units_NY = self.scaler.slope(forecast.read_KNY[0], self.columns.cv)
        slopes = self._read_out.jacobians(z_ND), self._margins.jacobians(z_ND)
        adjoint = self._adjoint(forecast, bend) if bend is not None else None
        bends = adjoint.bends if adjoint is not None else ()
        tangents_NPD, curvature_PP = self._cell.tangents(tape, plan, self._push_NPU, self._begun_N, bends)
        if bend is not None and adjoint is not None:
            if curvature_PP is None:
                curvature_PP = self._stage_curvature(forecast, adjoint, tangents_NPD)
            curvature_PP = curvature_PP + self._read_out.curvature(
                z_ND, bend.y_NY * units_NY, tangents_NPD, self._begun_N
            )
            curvature_PP = curvature_PP + self._scale_curvature(forecast, bend, slopes[0], tangents_NPD)
            curvature_PP = curvature_PP + self._margins.curvature(z_ND, bend.margins_NG, tangents_NPD)
            curvature_PP = 0.5 * (curvature_PP + curvature_PP.T)
        tangents_NDP = tangents_NPD.transpose(0, 2, 1)
        return Sensitivity(
            y_NYP=units_NY[..., None] * (slopes[0] @ tangents_NDP),
            margins_NGP=slopes[1] @ tangents_NDP,
            moves_NUP=self._moves_NUP,
            curvature_PP=curvature_PP,
        )

    def gradient(self, forecast: Forecast, seeds: Seeds) -> np.ndarray:
        """Derivative of a scalar by the blocks' changes along the (only) plan of a forecast, [P].

        One pass back through the horizon, about the price of a rollout: far below that of `sensitivity`.
        """
        moves_NU = self._adjoint(forecast, seeds).moves_NU
        return np.asarray(np.tensordot(self._push_NPU, moves_NU, axes=([0, 2], [0, 1])))

    def _adjoint(self, forecast: Forecast, seeds: Seeds) -> Adjoint:
        z_ND = forecast.tape.latents_KND[forecast.plan]
        units_NY = self.scaler.slope(forecast.read_KNY[0], self.columns.cv)
        seed_ND = self._read_out.pulled(z_ND, seeds.y_NY * units_NY) + self._margins.pulled(z_ND, seeds.margins_NG)
        return self._cell.adjoint(forecast.tape, forecast.plan, seed_ND)

    def _scale_curvature(
        self, forecast: Forecast, seeds: Seeds, slopes_NYD: np.ndarray, tangents_NPD: np.ndarray
    ) -> np.ndarray:
        """What bent scales add, `sum_ny seed_ny scale''_ny (ds_ny/dx)' (ds_ny/dx)` of the CVs s as read out, [P, P]."""
        if self.scaler.bend is None:
            return np.zeros((tangents_NPD.shape[1],) * 2)
        worth_NY = seeds.y_NY * self.scaler.curve(forecast.read_KNY[0], self.columns.cv)
        by_NPY = tangents_NPD @ slopes_NYD.transpose(0, 2, 1)
        return np.asarray(np.einsum("npy,ny,nqy->pq", by_NPY, worth_NY, by_NPY, optimize=True))

    def _stage_curvature(self, forecast: Forecast, adjoint: Adjoint, tangents_NPD: np.ndarray) -> np.ndarray:
        """`sum_n X_n (lambda_n . step'') X_n'` by torch."""
        z_ND = forecast.tape.latents_KND[forecast.plan]
        before_ND = np.concatenate([forecast.now.latent_D.numpy()[None], z_ND[:-1]])
        tangents_before = np.concatenate([np.zeros_like(tangents_NPD[:1]), tangents_NPD[:-1]])
        u_NU = self.scaler.scale(forecast.moves_KNU[0], self.columns.mv)
        adjoint_ND = torch.from_numpy(adjoint.latents_ND)
        d_NV = torch.from_numpy(np.ascontiguousarray(self.scaler.scale(forecast.now.dv_NV, self.columns.dv)))
        return bent(
            lambda z, u: (adjoint_ND * self.model.step(z, u, d_NV)).sum(),
            (before_ND, u_NU),
            (tangents_before, self._push_NPU),
        )


def _stretched(values: Any, steps: int) -> np.ndarray:
    """Values per horizon step, [N]; the last one is repeated."""
    given = np.atleast_1d(np.asarray(values, dtype=float))
    return given[np.minimum(np.arange(steps), len(given) - 1)]
