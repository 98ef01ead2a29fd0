"""The training objective: predict the encoding of what comes, read the CVs out of the prediction, do not collapse.

Shapes: B batch, L rows of history, K free-running steps, C tags, D = N + S latent, S its learned part, Y CVs. Scaled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from procmodel.world_model.anti_collapse import TERMS, samples_of_all, sigreg_weight
from procmodel.world_model.latent_model import LatentModel, filled_windows, forward_fill
from procmodel.world_model.protocol import WorldModel, rollout


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What each term counts.

    Attributes:
        read_out: Of the CV error along the free run.
        latent: Of the prediction error in latent space.
        sigreg: Of the anti-collapse term, stated for `REFERENCE_BATCH` samples.
        discount: rho, weight of step k is rho^k.
        shrink: Of what the network adds to the linear answer; keeps it from fitting noise.
        anchor: Of the distance between the average answer to a move and that of the linear state.
        signs: Of answers to a move that contradict a declared sign.
        targets: Steps of the free run whose encoding is a target; all would cost K encodings for little.
    """

    read_out: float = 10.0
    latent: float = 0.1
    sigreg: float = 0.01
    discount: float = 1.0
    targets: int = 8
    shrink: float = 0.0
    anchor: float = 0.0
    signs: float = 0.0
    term: Literal["sigreg", "staircase", "subspaces", "vicreg"] = "sigreg"
    target: Literal["shared", "stop_gradient"] = "shared"
    compare: Literal["square", "contrast"] = "square"


RARE = ("anchor", "signs")
"""Terms of long free runs, left out of most batches."""


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Each term before weighting, and their weighted sum."""

    total: Tensor
    read_out: Tensor
    latent: Tensor
    sigreg: Tensor
    added: Tensor
    anchor: Tensor
    signs: Tensor

    def terms(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in ("total", "read_out", "latent", "sigreg", "added", *RARE)}


ANCHOR_BATCH = 32
"""Operating points over which the answer to a move is averaged."""
SIGN_BATCH = 16
"""Operating points at which the answer to a move is held to the declared signs."""
LEAST_ANSWER = 0.05
"""Below this, a declared answer counts as missing: spreads of the CV per spread of the MV."""


def objective(
    model: LatentModel,
    values_BTC: Tensor,
    mask_BTC: Tensor,
    weights: Weights,
    anchor_steps: int = 0,
    declared_UY: Tensor | None = None,
) -> Losses:
    """`read_out * mean_k |R(z^_k) - y_k|^2 + latent * mean_k |z^_k - z_k|^2 + sigreg * SIGReg(z)`, and what holds the
    network near the linear state; the means are over the K = T - L steps of a free run, step k weighing rho^k.

    The gradient runs through both branches of the latent term (target policy "shared"), which is why an
    anti-collapse term is always there. CV errors count on good samples only; what stands in a gap has no influence.

    Args:
        anchor_steps: Length of the free runs of the anchor and the signs; 0 leaves them out of this call.
        declared_UY: +1 or -1 where the sign of an answer is declared, else 0; None: nowhere.
    """
    columns, rows = model.config.columns, model.rows
    steps = values_BTC.shape[1] - rows
    filled = forward_fill(values_BTC, mask_BTC)  # a move or disturbance that was not recorded held its last value
    at_J = torch.unique(torch.linspace(0, steps - 1, min(weights.targets, steps)).long())
    encoded_BJD = encode_at(model, values_BTC, mask_BTC, torch.cat([torch.zeros_like(at_J[:1]), at_J + 1]))
    z0_BD, target_BJS = encoded_BJD[:, 0], encoded_BJD[:, 1:, model.config.state :]
    z_BKD, y_BKY, added = _free_run(model, z0_BD, filled[:, rows:, columns.mv], filled[:, rows:, columns.dv])
    rho_K = weights.discount ** torch.arange(steps, dtype=z_BKD.dtype, device=z_BKD.device)

    u_BU, d_BV = filled[:, rows - 1, columns.mv], filled[:, rows - 1, columns.dv]
    held = against = torch.zeros_like(added)
    if anchor_steps and weights.anchor:
        n = ANCHOR_BATCH
        held = anchor(model, z0_BD[:n], u_BU[:n], d_BV[:n], anchor_steps)
    if anchor_steps and weights.signs and declared_UY is not None:
        n = SIGN_BATCH
        asked = (model, z0_BD[:n], u_BU[:n], d_BV[:n], anchor_steps, declared_UY)
        with torch.no_grad():  # mostly there is none, and a graph of that long run costs twice the run
            against = contradiction(*asked)
        if against > 0:
            against = contradiction(*asked)
    return _weighed(
        weights,
        len(values_BTC),
        read_out=read_out_error(y_BKY - filled[:, rows:, columns.cv], mask_BTC[:, rows:, columns.cv], rho_K),
        latent=_latent_error(weights, z_BKD[:, at_J, model.config.state :], target_BJS, rho_K[at_J]),
        sigreg=torch.stack([TERMS[weights.term](target_BJS[:, j]) for j in range(0, len(at_J), 2)]).mean(),
        added=added,
        anchor=held,
        signs=against,
    )


def _weighed(weights: Weights, samples: int, **terms: Tensor) -> Losses:
    total = (
        weights.read_out * terms["read_out"]
        + weights.latent * terms["latent"]
        + sigreg_weight(weights.sigreg, samples_of_all(samples)) * terms["sigreg"]
        + weights.shrink * terms["added"]
        + weights.anchor * terms["anchor"]
        + weights.signs * terms["signs"]
    )
    return Losses(total=total, **terms)


class _Watched:
    """Steps of a latent model, with what the network added to the linear part of each written down, [B, N]."""

    def __init__(self, model: LatentModel) -> None:
        self.added: list[Tensor] = []
        self._model = model

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        z_BD, dx_BN = self._model.advance(z_BD, u_BU, d_BV)
        self.added.append(dx_BN)
        return z_BD


def _free_run(model: LatentModel, z_BD: Tensor, u_BKU: Tensor, d_BKV: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Latents [B, K, D] and CVs [B, K, Y] of a free run, and the mean square of what the network adds to the linear
    state on the way and to the CVs of the latents it starts its steps from."""
    watched = _Watched(model)
    z_BKD = rollout(watched, z_BD, u_BKU, d_BKV)
    bend_BKY = model.bend(torch.cat([z_BD[:, None], z_BKD], dim=1))  # before the first step, then after each
    added = (torch.stack(watched.added, dim=1) ** 2).mean() + (bend_BKY[:, :-1] ** 2).mean()
    return z_BKD, model.linear_read_out(z_BKD) + bend_BKY[:, 1:], added


def read_out_error(miss_BKY: Tensor, good_BKY: Tensor, rho_K: Tensor) -> Tensor:
    """Mean over CVs of the weighted mean over steps of the mean square over good samples, a scalar."""
    square_KY = (miss_BKY**2 * good_BKY).sum(dim=0) / good_BKY.sum(dim=0).clamp_min(1)
    return (square_KY * (rho_K / rho_K.sum())[:, None]).sum(dim=0).mean()


def _latent_error(weights: Weights, found_BJS: Tensor, target_BJS: Tensor, rho_J: Tensor) -> Tensor:
    """Weighted mean over steps of the mean square, or of the contrast within the batch, a scalar."""
    if weights.target == "stop_gradient":
        target_BJS = target_BJS.detach()
    if weights.compare == "contrast":
        each_J = torch.stack([info_nce(found_BJS[:, j], target_BJS[:, j]) for j in range(found_BJS.shape[1])])
    else:
        each_J = ((found_BJS - target_BJS) ** 2).mean(dim=(0, 2))
    return (each_J * rho_J).sum() / rho_J.sum()


def info_nce(found_BS: Tensor, target_BS: Tensor, temperature: float = 0.1) -> Tensor:
    """`-mean_i log softmax_j(cos(found_i, target_j) / temperature)_i`, a scalar: each prediction is to find its own
    target among those of the batch (van den Oord, Li and Vinyals 2018, arXiv 1807.03748)."""
    likeness_BB = F.normalize(found_BS, dim=1) @ F.normalize(target_BS, dim=1).T / temperature
    return F.cross_entropy(likeness_BB, torch.arange(len(found_BS), device=found_BS.device))


def encode_at(model: LatentModel, values_BTC: Tensor, mask_BTC: Tensor, offsets_J: Tensor) -> Tensor:
    """Latents [B, J, D] of the windows that start `offsets_J` rows into the batch."""
    filled_BJLC = filled_windows(values_BTC, mask_BTC, offsets_J, model.rows)
    mask_BJLC = mask_BTC[:, offsets_J[:, None] + torch.arange(model.rows)]
    z_ND = model.encode_filled(filled_BJLC.flatten(0, 1), mask_BJLC.flatten(0, 1))
    return z_ND.view(len(values_BTC), len(offsets_J), -1)


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
