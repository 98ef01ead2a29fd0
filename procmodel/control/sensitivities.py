"""Forecasts of candidate plans and their derivatives, both from one and the same rollout.

Shapes: K plans tried at once, N rows of the horizon, M blocks, P = M * U blocked changes (index block * U + MV),
D latent, U MVs, V DVs, Y CVs, G heads. Engineering units outside, scaled for the model, float64 throughout.

The rollout runs without a graph. All N stage Jacobians then come from one batched reverse pass over the N latents, and
are condensed onto the blocked changes by `S_n = A_n S_{n-1} + B_n dU_n/dx`, where blocks that have not begun stay zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from procmodel.control.horizon import Horizon
from procmodel.data.window import Columns, Scaler
from procmodel.world_model.protocol import WorldModel, rollout


class Head(Protocol):
    """A margin that no sensor measures, as the optimizer sees it; positive is safe.

    Attributes:
        name, unit: Of the margin.
        rank: 1 is given up last.
        allowance_H: Deducted from the predicted margin per horizon step [unit]; the last one holds beyond its end.
    """

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def rank(self) -> int: ...
    @property
    def allowance_H(self) -> np.ndarray: ...

    def margin(self, z_BD: Tensor) -> Tensor:
        """Predicted margin, [B] [unit]; differentiable."""
        ...


@runtime_checkable
class Linearises(Protocol):
    """A model that knows its own stage Jacobians, usually faster than differentiating `step`."""

    def linearise(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Next latent [B, D], dz+/dz [B, D, D] and dz+/du [B, D, U]."""
        ...


@dataclass(frozen=True, kw_only=True)
class Now:
    """Where the plant stands at this tick.

    Attributes:
        latent_D: Encoded history, scaled.
        start_U: Measured MV values.
        dv_NV: DVs over the horizon.
        bias_NY: Added to the model's CVs.
    """

    latent_D: Tensor
    start_U: np.ndarray
    dv_NV: np.ndarray
    bias_NY: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What comes of K plans.

    Attributes:
        moves_KNU: The plans.
        latents_KND: From one rollout; everything below is read out of it.
        y_KNY: CVs, bias included.
        margins_KNG: Margins, allowance deducted.
        finite_K: Whether all numbers of a plan are finite.
    """

    now: Now
    moves_KNU: np.ndarray
    latents_KND: Tensor
    y_KNY: np.ndarray
    margins_KNG: np.ndarray
    finite_K: np.ndarray

    def only(self, plan: int) -> Forecast:
        """The forecast of one of the plans."""
        at = slice(plan, plan + 1)
        return Forecast(
            now=self.now,
            moves_KNU=self.moves_KNU[at],
            latents_KND=self.latents_KND[at],
            y_KNY=self.y_KNY[at],
            margins_KNG=self.margins_KNG[at],
            finite_K=self.finite_K[at],
        )


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """First derivatives along a forecast.

    Attributes:
        y_NYP, margins_NGP: d/dx of CVs and margins, x being the blocks' changes [unit per MV unit].
        moves_NUP: d/dx of the MV rows [-].
        latents_NDP: dz_n/dx, scaled latent per MV unit.
        step_NDD: dz_n/dz_{n-1}.
        read_NYD, head_NGD: d/dz of the scaled CVs and of the margins.
    """

    y_NYP: np.ndarray
    margins_NGP: np.ndarray
    moves_NUP: np.ndarray
    latents_NDP: np.ndarray
    step_NDD: np.ndarray
    read_NYD: np.ndarray
    head_NGD: np.ndarray


class Forecaster:
    """Forecasts and derivatives of one model with its heads."""

    def __init__(
        self, *, model: WorldModel, scaler: Scaler, columns: Columns, heads: Sequence[Head], horizon: Horizon
    ) -> None:
        self.model, self.scaler, self.columns, self.heads, self.horizon = model, scaler, columns, tuple(heads), horizon
        self._spread_U = scaler.spread[list(columns.mv)]
        self._spread_Y = scaler.spread[list(columns.cv)]
        allowances = [_stretched(head.allowance_H, horizon.steps) for head in self.heads]
        self.allowance_NG = np.array(allowances).reshape(len(self.heads), horizon.steps).T

    def forecast(self, now: Now, moves_KNU: np.ndarray) -> Forecast:
        """All plans in one rollout."""
        plans, steps = moves_KNU.shape[:2]
        with torch.no_grad():
            z_KD = now.latent_D.expand(plans, -1)
            z_KND = rollout(self.model, z_KD, self._scaled(moves_KNU, self.columns.mv), self._dv(now, plans))
            z_BD = z_KND.reshape(plans * steps, -1)
            y_KNY = self.model.read_out(z_BD).reshape(plans, steps, -1).numpy()
            margins = [head.margin(z_BD).reshape(plans, steps).numpy() for head in self.heads]
        y_KNY = self.scaler.unscale(y_KNY, self.columns.cv) + now.bias_NY
        margins_KNG = np.array(margins).reshape(len(self.heads), plans, steps).transpose(1, 2, 0) - self.allowance_NG
        finite_K = np.isfinite(y_KNY).all(axis=(1, 2)) & np.isfinite(margins_KNG).all(axis=(1, 2))
        return Forecast(
            now=now,
            moves_KNU=moves_KNU,
            latents_KND=z_KND,
            y_KNY=y_KNY,
            margins_KNG=margins_KNG,
            finite_K=finite_K & torch.isfinite(z_KND).all(dim=2).all(dim=1).numpy(),
        )

    def sensitivity(self, forecast: Forecast) -> Sensitivity:
        """Derivatives along the (only) plan of a forecast, with respect to the blocks' changes."""
        z_ND, before_ND, u_NU, d_NV = self.stages(forecast)
        step_NDD, push_NDU = self._stage_jacobians(before_ND, u_NU, d_NV)
        (read_NYD,) = row_jacobians(self.model.read_out, z_ND)
        heads = [row_jacobians(_as_column(head.margin), z_ND)[0] for head in self.heads]
        head_NGD = torch.cat(heads, dim=1) if heads else z_ND.new_zeros(len(z_ND), 0, z_ND.shape[1])
        step, push, read, head = (part.numpy() for part in (step_NDD, push_NDU, read_NYD, head_NGD))
        latents_NDP = self._condensed(step, push)
        return Sensitivity(
            y_NYP=self._spread_Y[:, None] * (read @ latents_NDP),
            margins_NGP=head @ latents_NDP,
            moves_NUP=self._moves_NUP(),
            latents_NDP=latents_NDP,
            step_NDD=step,
            read_NYD=read,
            head_NGD=head,
        )

    def stages(self, forecast: Forecast) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Latents after [N, D] and before [N, D] each step, and the scaled MVs and DVs held during it."""
        now = forecast.now
        z_ND = forecast.latents_KND[0]
        before_ND = torch.cat([now.latent_D[None], z_ND[:-1]])
        return z_ND, before_ND, self._scaled(forecast.moves_KNU, self.columns.mv)[0], self._dv(now, 1)[0]

    def _stage_jacobians(self, z_ND: Tensor, u_NU: Tensor, d_NV: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(self.model, Linearises):
            with torch.no_grad():
                _, step_NDD, push_NDU = self.model.linearise(z_ND, u_NU, d_NV)
            return step_NDD, push_NDU
        step_NDD, push_NDU = row_jacobians(lambda z, u: self.model.step(z, u, d_NV), z_ND, u_NU)
        return step_NDD, push_NDU

    def _condensed(self, step_NDD: np.ndarray, push_NDU: np.ndarray) -> np.ndarray:
        """dz_n/dx, [N, D, P]."""
        steps, latent, mvs = push_NDU.shape
        share_NMU = self.horizon.share_NMU / self._spread_U
        latents_NDP = (push_NDU[:, :, None, :] * share_NMU[:, None]).reshape(steps, latent, -1)
        begun_N = (self.horizon.block_of_row + 1) * mvs
        for n in range(1, steps):
            latents_NDP[n, :, : begun_N[n]] += step_NDD[n] @ latents_NDP[n - 1, :, : begun_N[n]]
        return np.asarray(latents_NDP)

    def _moves_NUP(self) -> np.ndarray:
        share_NMU = self.horizon.share_NMU
        mvs = share_NMU.shape[2]
        return np.asarray((np.eye(mvs)[None, :, None, :] * share_NMU[:, None]).reshape(len(share_NMU), mvs, -1))

    def _scaled(self, values: np.ndarray, columns: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.scaler.scale(values, columns)))

    def _dv(self, now: Now, plans: int) -> Tensor:
        return self._scaled(now.dv_NV, self.columns.dv).expand(plans, -1, -1)


def row_jacobians(function: Callable[..., Tensor], *inputs_NQ: Tensor) -> list[Tensor]:
    """Jacobians of a function of rows by each of its inputs, row by row, [N, outputs, inputs].

    Rows do not mix, so one cotangent picks one output in all rows at once, and one batched reverse pass has them all.
    `torch.func` would do the same, and load the compiler on its first use: 1.6 s in the first tick.
    """
    with torch.enable_grad():
        inputs = [x.detach().requires_grad_() for x in inputs_NQ]
        outputs_NR = function(*inputs)
        rows, outputs = outputs_NR.shape
        unit_RNR = torch.eye(outputs, dtype=outputs_NR.dtype)[:, None, :].expand(-1, rows, -1)
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


def _as_column(margin: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda z_ND: margin(z_ND)[:, None]


def _stretched(values: Any, steps: int) -> np.ndarray:
    """Values per horizon step, [N]; the last one is repeated."""
    given = np.atleast_1d(np.asarray(values, dtype=float))
    return given[np.minimum(np.arange(steps), len(given) - 1)]
