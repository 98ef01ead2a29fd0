"""The model's own answer to a held move, what holds it at the linear state's, and declared signs.

Shapes: B batch, H rows, D latent, N linear states, U MVs, V DVs, Y CVs. Scaled.
"""

from __future__ import annotations

import torch
from torch import Tensor

from procmodel.world_model.latent_model import LatentModel
from procmodel.world_model.protocol import Runs, WorldModel, rollout

LEAST_ANSWER = 0.02
"""Below this, a declared answer counts as missing: spreads of the CV per spread of the MV."""
SETTLED = 300
"""Rows after which an answer has the sign that people know it by: past swell, inverse response and dead time."""


def step_answers(model: Runs, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor, steps: int, size: float) -> Tensor:
    """Answer of each CV to a held unit move of each MV, [B, U, H, Y]: central difference of two free runs."""
    batch, mvs = u_BU.shape
    nudge = size * torch.eye(mvs, dtype=u_BU.dtype, device=u_BU.device)
    moves = torch.stack([u_BU[:, None] + nudge, u_BU[:, None] - nudge], dim=1).flatten(0, 2)  # [B * 2 * U, U]

    def for_each(x_BX: Tensor) -> Tensor:
        return x_BX[:, None].expand(-1, 2 * mvs, -1).flatten(0, 1)

    def held(x_BX: Tensor) -> Tensor:
        return x_BX[:, None].expand(-1, steps, -1)

    y = model.read_out(rollout(model, for_each(z_BD), held(moves), held(for_each(d_BV))))
    y_B2UHY = y.view(batch, 2, mvs, steps, -1)
    return (y_B2UHY[:, 0] - y_B2UHY[:, 1]) / (2 * size)


class Backbone:
    """A latent model without its network: what least squares found. Its latent is the state alone, [B, N]."""

    def __init__(self, model: LatentModel) -> None:
        self._model = model

    def step(self, x_BN: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        return self._model.state_step(x_BN, torch.cat([u_BU, d_BV], dim=-1))

    def read_out(self, x_BN: Tensor) -> Tensor:
        return self._model.linear_read_out(x_BN)


def anchor(model: LatentModel, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor, steps: int, size: float = 0.5) -> Tensor:
    """Mean square distance of the *average* answer to a move from that of what least squares found, a scalar.

    Least squares over one step is consistent under feedback, the network is not: so on average over operating
    points the answer is left to the former, and the network says how it differs between them.
    """
    with torch.no_grad():  # nothing in it learns; the state is a fixed map of the window
        found_BUHY = step_answers(Backbone(model), z_BD[:, : model.config.state], u_BU, d_BV, steps, size)
    gap_UHY = (step_answers(model, z_BD, u_BU, d_BV, steps, size) - found_BUHY).mean(dim=0)
    mean: Tensor = (gap_UHY**2).mean()
    return mean


def drift(model: LatentModel, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor, steps: int) -> Tensor:
    """Mean square distance of the *average* free run over held inputs from that of the linear state, a scalar.

    The anchor holds differences between two free runs, so what both do alike escapes it: trained on single rows, a
    small error of each adds up over a hundred (to three spreads of a CV on the drum boiler). On average over operating
    points the course of a free run is left to least squares as well.
    """

    def held(x_BX: Tensor) -> Tensor:
        return x_BX[:, None].expand(-1, steps, -1)

    y_BHY = model.read_out(rollout(model, z_BD, held(u_BU), held(d_BV)))
    with torch.no_grad():
        found, x_BN = Backbone(model), z_BD[:, : model.config.state]
        found_BHY = found.read_out(rollout(found, x_BN, held(u_BU), held(d_BV)))
    mean: Tensor = ((y_BHY - found_BHY).mean(dim=0) ** 2).mean()
    return mean


def contradiction(
    model: WorldModel, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor, steps: int, declared_UY: Tensor, size: float = 0.5
) -> Tensor:
    """Mean square shortfall of the answer's end in the declared direction, over the declared pairs, a scalar.

    Zero where every declared pair answers with its sign by at least `LEAST_ANSWER`.
    """
    end_BUY = step_answers(model, z_BD, u_BU, d_BV, steps, size)[:, :, -1]
    short_BUY = torch.relu(LEAST_ANSWER - declared_UY * end_BUY) * declared_UY.abs()
    mean: Tensor = (short_BUY**2).sum() / (len(z_BD) * declared_UY.abs().sum().clamp_min(1))
    return mean
