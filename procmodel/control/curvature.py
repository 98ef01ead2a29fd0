"""Second derivatives of what an economic plan earns, along one forecast.

Shapes as in `sensitivities.py`.

With setpoints the Gauss-Newton Hessian is enough: the residuals shrink. An economic objective is often linear in the
CVs; its optimum between limits then comes from the model's own curvature, which Gauss-Newton cannot see. With adjoint
`lambda_n = dL/dz_n` the Hessian of the Lagrangian gains

    sum_n X_n' (lambda_n . step'') X_n + S_n' (g_n . read_out'') S_n,    X_n = d(z_{n-1}, u_n)/dx,  S_n = dz_n/dx;

both are products with the P tangents, taken in one batched pass over the N rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from procmodel.control.sensitivities import Forecast, Forecaster, Sensitivity, pulled_back


def model_curvature(
    forecaster: Forecaster, forecast: Forecast, sensitivity: Sensitivity, y_NY: np.ndarray, margins_NG: np.ndarray
) -> np.ndarray:
    """The model's part of the Lagrangian's Hessian in the blocks' changes, [P, P], symmetric, of any sign.

    Args:
        y_NY, margins_NG: Derivative of the Lagrangian by each CV [1/unit] and margin [1/unit], per row.
    """
    scaler, columns, model = forecaster.scaler, forecaster.columns, forecaster.model
    seed_NY = y_NY * scaler.spread[list(columns.cv)]
    adjoint_ND = torch.from_numpy(_adjoint(sensitivity, seed_NY, margins_NG))
    z_ND, before_ND, u_NU, d_NV = forecaster.stages(forecast)
    latents_NDP = sensitivity.latents_NDP
    spread_U1 = scaler.spread[list(columns.mv)][:, None]
    tangent_z = _tangents(np.concatenate([np.zeros_like(latents_NDP[:1]), latents_NDP[:-1]]))
    tangent_u = _tangents(sensitivity.moves_NUP / spread_U1)
    seed, margin_seed = torch.from_numpy(seed_NY), torch.from_numpy(margins_NG)

    def read(z: Tensor) -> Tensor:
        total = (seed * model.read_out(z)).sum()
        for g, head in enumerate(forecaster.heads):
            total = total + (margin_seed[:, g] * head.margin(z)).sum()
        return total

    bent_z, bent_u = _hessian_products(
        lambda z, u: (adjoint_ND * model.step(z, u, d_NV)).sum(), (before_ND, u_NU), (tangent_z, tangent_u)
    )
    (bent_read,) = _hessian_products(read, (z_ND,), (_tangents(latents_NDP),))
    hessian_PP = _condensed(tangent_z, bent_z) + _condensed(tangent_u, bent_u)
    hessian_PP = hessian_PP + _condensed(_tangents(latents_NDP), bent_read)
    return np.asarray(0.5 * (hessian_PP + hessian_PP.T))


def _hessian_products(
    function: Callable[..., Tensor], inputs_NQ: Sequence[Tensor], tangents_PNQ: Sequence[Tensor]
) -> list[Tensor]:
    """Second derivative of a scalar function times each of P tangents, by input, [P, N, Q]."""
    with torch.enable_grad():
        inputs = [x.detach().requires_grad_() for x in inputs_NQ]
        value = function(*inputs)
        slopes = pulled_back((value,), inputs, (torch.ones_like(value),), batched=False)
        return pulled_back(slopes, inputs, tangents_PNQ)


def _adjoint(sensitivity: Sensitivity, seed_NY: np.ndarray, margins_NG: np.ndarray) -> np.ndarray:
    """dL/dz_n through row n and all later ones, [N, D]."""
    adjoint_ND = np.einsum("ny,nyd->nd", seed_NY, sensitivity.read_NYD)
    adjoint_ND += np.einsum("ng,ngd->nd", margins_NG, sensitivity.head_NGD)
    for n in range(len(adjoint_ND) - 1, 0, -1):
        adjoint_ND[n - 1] += sensitivity.step_NDD[n].T @ adjoint_ND[n]
    return np.asarray(adjoint_ND)


def _tangents(values_NQP: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values_NQP.transpose(2, 0, 1)))


def _condensed(tangent_PNQ: Tensor, bent_PNQ: Tensor) -> np.ndarray:
    return (tangent_PNQ.flatten(1) @ bent_PNQ.flatten(1).T).numpy()
