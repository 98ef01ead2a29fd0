"""The model's own answer to a held move, and the terms that hold it: at the linear state's, and at declared signs.

Shapes: B batch, H rows, D latent, N linear states, U MVs, V DVs, Y CVs. Scaled.
"""

from __future__ import annotations

import torch
from torch import Tensor

from procmodel.world_model.latent_model import LatentModel
from procmodel.world_model.protocol import WorldModel, rollout

LEAST_ANSWER = 0.05
"""Below this, a declared answer counts as missing: spreads of the CV per spread of the MV."""


def step_answers(model: WorldModel, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor, steps: int, size: float) -> Tensor:
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


def linear_answers(model: LatentModel, steps: int) -> Tensor:
    """The same of the linear state alone, [U, H, Y]."""
    mvs = len(model.config.columns.mv)
    x_NU, answers = torch.zeros_like(model.B[:, :mvs]), []
    for _ in range(steps):
        x_NU = model.A @ x_NU + model.B[:, :mvs]
        answers.append((model.C @ x_NU).T)
    return torch.stack(answers, dim=1)


def anchor(model: LatentModel, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor, steps: int, size: float = 0.5) -> Tensor:
    """Mean square distance of the *average* answer to a move from what least squares found, a scalar.

    Least squares over one step is consistent under feedback, the network is not: so on average over operating
    points the answer is left to the former, and the network says how it differs between them.
    """
    gap_UHY = step_answers(model, z_BD, u_BU, d_BV, steps, size).mean(dim=0) - linear_answers(model, steps)
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
    mean: Tensor = ((y_BHY - linear_run(model, z_BD, u_BU, d_BV, steps)).mean(dim=0) ** 2).mean()
    return mean


def linear_run(model: LatentModel, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor, steps: int) -> Tensor:
    """CVs [B, H, Y] of the linear state alone over held inputs."""
    x_BN, courses = z_BD[:, : model.config.state], []
    input_BN = torch.cat([u_BU, d_BV], dim=-1) @ model.B.T + model.bias
    for _ in range(steps):
        x_BN = x_BN @ model.A.T + input_BN
        courses.append(x_BN @ model.C.T + model.offset)
    return torch.stack(courses, dim=1)


def contradiction(
    model: WorldModel, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor, steps: int, declared_UY: Tensor, size: float = 0.5
) -> Tensor:
    """Mean square shortfall of the answer's end in the declared direction, over the declared pairs, a scalar.

    A hinge: zero, with its gradient, where every declared pair answers with its sign by at least `LEAST_ANSWER`.
    """
    end_BUY = step_answers(model, z_BD, u_BU, d_BV, steps, size)[:, :, -1]
    short_BUY = torch.relu(LEAST_ANSWER - declared_UY * end_BUY) * declared_UY.abs()
    mean: Tensor = (short_BUY**2).sum() / (len(z_BD) * declared_UY.abs().sum().clamp_min(1))
    return mean
