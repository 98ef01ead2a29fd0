"""The training objective: predict the encoding of what comes, read the CVs out of the prediction, do not collapse.

Shapes: B batch, L rows of history, K free-running steps, C tags, D = N + S latent, S its learned part, Y CVs. Scaled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from procmodel.world_model.answers import anchor, drift
from procmodel.world_model.anti_collapse import TERMS, samples_of_all, sigreg_weight
from procmodel.world_model.companions import Companions, bend_of, decoded_error, inverse_error
from procmodel.world_model.latent_model import LatentModel, encoder_input, filled_windows, forward_fill
from procmodel.world_model.masking import hide, masked_guess

AntiCollapseName = Literal["sigreg", "staircase", "subspaces", "vicreg", "coding_rate"]


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
        level: Of the distance between the average course of a free run over held inputs and that of the linear state.
        targets: Steps of the free run whose encoding is a target; all would cost K encodings for little.
        inverse: Of the error of the move guessed from the latents before and after it.
        straight: Of the bend of the path of latents.
        decode: Of the error of all tags decoded from the latents, which is what generative models are trained on.
        term: Which anti-collapse term.
        target: What the prediction is to meet: "shared", the encoder's own latents with their gradient;
            "stop_gradient", without; "ema", those of an encoder that follows it.
        compare: By mean square, or by contrast within the batch.
    """

    read_out: float = 10.0
    latent: float = 0.1
    sigreg: float = 0.01
    discount: float = 1.0
    targets: int = 8
    shrink: float = 0.0
    anchor: float = 0.0
    level: float = 0.0
    inverse: float = 0.0
    straight: float = 0.0
    decode: float = 0.0
    term: AntiCollapseName = "sigreg"
    target: Literal["shared", "stop_gradient", "ema"] = "shared"
    compare: Literal["square", "contrast"] = "square"

    @property
    def beyond(self) -> int:
        """Rows that a batch must hold beyond window and free run: a bend takes three windows that follow each other."""
        return 1 if self.straight else 0

    def companions(self, model: LatentModel, *, masked: bool = False) -> Companions:
        """What these terms need beside the model."""
        return Companions(
            model, follows=self.target == "ema", inverse=self.inverse > 0, decodes=self.decode > 0, masked=masked
        )


RARE = ("anchor",)
"""Terms of long free runs, left out of most batches."""


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Each term before weighting, and their weighted sum; `beside`: those that are only there when asked for."""

    total: Tensor
    read_out: Tensor
    latent: Tensor
    sigreg: Tensor
    added: Tensor
    anchor: Tensor
    beside: dict[str, Tensor] = field(default_factory=dict)

    def terms(self) -> dict[str, Tensor]:
        always = ("total", "read_out", "latent", "sigreg", "added", *RARE)
        return {**{name: getattr(self, name) for name in always}, **self.beside}


ANCHOR_BATCH = 32
"""Operating points over which the answer to a move is averaged."""


def objective(
    model: LatentModel,
    values_BTC: Tensor,
    mask_BTC: Tensor,
    weights: Weights,
    anchor_steps: int = 0,
    companions: Companions | None = None,
) -> Losses:
    """`read_out * mean_k |R(z^_k) - y_k|^2 + latent * mean_k |z^_k - z_k|^2 + sigreg * SIGReg(z)`, and what holds the
    network near the linear state; the means are over the K = T - L steps of a free run, step k weighing rho^k.

    With the target policy "shared" the gradient runs through both branches of the latent term, which is why an
    anti-collapse term is there then. CV errors count on good samples only; what stands in a gap has no influence.

    Args:
        anchor_steps: Length of the free runs of the anchor; 0 leaves it out of this call.
        companions: Those of `weights.companions(model)`; None where these weights need none.
    """
    rows, learned = model.rows, slice(model.config.state, None)
    steps = values_BTC.shape[1] - rows - weights.beyond
    ahead = slice(rows, rows + steps)
    filled = forward_fill(values_BTC, mask_BTC)  # a move or disturbance that was not recorded held its last value
    at_J = _evenly(steps, weights.targets, values_BTC.device)
    offsets = torch.cat([torch.zeros_like(at_J[:1]), at_J + 1])
    encoded_BJD = encode_at(model, values_BTC, mask_BTC, offsets)
    z0_BD, online_BJS = encoded_BJD[:, 0], encoded_BJD[:, 1:, learned]
    target_BJS = online_BJS
    if weights.target == "ema":
        assert companions is not None, "a target that follows stands among the companions"
        target_BJS = followed_at(companions, model, values_BTC, mask_BTC, at_J + 1)
    z_BKD, y_BKY, added = _free_run(
        model, z0_BD, *(filled[:, ahead].index_select(2, at) for at in (model.mv_at, model.dv_at))
    )
    rho_K = weights.discount ** torch.arange(steps, dtype=z_BKD.dtype, device=z_BKD.device)
    beside = _beside(model, weights, companions, values_BTC, mask_BTC, filled, encoded_BJD, z_BKD)
    u_BU, d_BV = _inputs(model, filled[:ANCHOR_BATCH, rows - 1])
    held = torch.zeros_like(z0_BD[0, 0])
    if anchor_steps and weights.anchor:
        held = anchor(model, z0_BD[:ANCHOR_BATCH], u_BU, d_BV, anchor_steps)
    if anchor_steps and weights.level:
        beside["level"] = drift(model, z0_BD[:ANCHOR_BATCH], u_BU, d_BV, anchor_steps)
    return _weighed(
        weights,
        len(values_BTC),
        beside,
        read_out=read_out_error(
            y_BKY - filled[:, ahead].index_select(2, model.cv_at),
            mask_BTC[:, ahead].index_select(2, model.cv_at),
            rho_K,
        ),
        latent=_latent_error(weights, z_BKD[:, at_J, learned], target_BJS, rho_K[at_J]),
        sigreg=torch.stack([TERMS[weights.term](online_BJS[:, j]) for j in range(0, len(at_J), 2)]).mean(),
        added=added,
        anchor=held,
    )


def _evenly(steps: int, count: int, device: torch.device) -> Tensor:
    """So many steps, or all of them where there are fewer, from the first to the last, [J]; made on the device."""
    count = min(count, steps)
    return torch.arange(count, device=device) * (steps - 1) // max(count - 1, 1)


def _inputs(model: LatentModel, rows_BC: Tensor) -> tuple[Tensor, Tensor]:
    """MVs [B, U] and DVs [B, V] of rows."""
    return rows_BC.index_select(1, model.mv_at), rows_BC.index_select(1, model.dv_at)


def _beside(
    model: LatentModel,
    weights: Weights,
    companions: Companions | None,
    values_BTC: Tensor,
    mask_BTC: Tensor,
    filled_BTC: Tensor,
    encoded_BJD: Tensor,
    z_BKD: Tensor,
) -> dict[str, Tensor]:
    """Terms that are only there when asked for. `encoded_BJD` begins with two windows that follow each other."""
    found: dict[str, Tensor] = {}
    rows, learned = model.rows, slice(model.config.state, None)
    if companions is not None and companions.moves is not None:
        u_BU, _ = _inputs(model, filled_BTC[:, rows])
        found["inverse"] = inverse_error(companions.moves, encoded_BJD[:, 0, learned], encoded_BJD[:, 1, learned], u_BU)
    if weights.straight:
        third_B1D = encode_at(model, values_BTC, mask_BTC, torch.full((1,), 2, device=values_BTC.device))
        found["straight"] = bend_of(torch.cat([encoded_BJD[:, :2], third_B1D], dim=1)[..., learned])
    if companions is not None and companions.sensors is not None:
        seen_BKD, now = torch.cat([encoded_BJD[:, :1], z_BKD], dim=1), slice(rows - 1, rows + z_BKD.shape[1])
        found["decode"] = decoded_error(companions.sensors, seen_BKD, values_BTC[:, now], mask_BTC[:, now])
    return found


def masked_objective(
    model: LatentModel, values_BTC: Tensor, mask_BTC: Tensor, weights: Weights, companions: Companions
) -> Losses:
    """`latent * |guess - target|^2 + sigreg * SIGReg(s)` of windows some cells of which are hidden: pretraining of the
    encoder, to which no move is told and of which no CV is read."""
    values_BLC, mask_BLC = values_BTC[:, : model.rows], mask_BTC[:, : model.rows]
    miss, s_BS = masked_guess(model, companions, values_BLC, mask_BLC, hide(*values_BLC.shape, like=values_BLC))
    none = torch.zeros_like(miss)
    return _weighed(
        weights, len(values_BTC), {}, read_out=none, latent=miss, sigreg=TERMS[weights.term](s_BS), added=none,
        anchor=none,
    )  # fmt: skip


def _weighed(weights: Weights, samples: int, beside: dict[str, Tensor], **terms: Tensor) -> Losses:
    total = (
        weights.read_out * terms["read_out"]
        + weights.latent * terms["latent"]
        + sigreg_weight(weights.sigreg, samples_of_all(samples)) * terms["sigreg"]
        + weights.shrink * terms["added"]
        + weights.anchor * terms["anchor"]
    )
    for name, value in beside.items():
        total = total + getattr(weights, name) * value
    return Losses(total=total, beside=beside, **terms)


def _free_run(model: LatentModel, z_BD: Tensor, u_BKU: Tensor, d_BKV: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Latents [B, K, D] and CVs [B, K, Y] of a free run, and the mean square of what the network adds to the linear
    state on the way and to the CVs of the latents it starts its steps from."""
    z_BKD, added_BKN = model.free_run(z_BD, u_BKU, d_BKV)
    bend_BKY = model.bend(torch.cat([z_BD[:, None], z_BKD], dim=1))  # before the first step, then after each
    added = (added_BKN**2).mean() + (bend_BKY[:, :-1] ** 2).mean()
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
    z_ND = model.encode_filled(*_windows_at(model, values_BTC, mask_BTC, offsets_J))
    return z_ND.view(len(values_BTC), len(offsets_J), -1)


@torch.no_grad()
def followed_at(
    companions: Companions, model: LatentModel, values_BTC: Tensor, mask_BTC: Tensor, offsets_J: Tensor
) -> Tensor:
    """Learned parts [B, J, S] of their latents, by the encoder that follows."""
    assert companions.target is not None
    s_NS: Tensor = companions.target(encoder_input(*_windows_at(model, values_BTC, mask_BTC, offsets_J)))
    return s_NS.view(len(values_BTC), len(offsets_J), -1)


def _windows_at(model: LatentModel, values_BTC: Tensor, mask_BTC: Tensor, offsets_J: Tensor) -> tuple[Tensor, Tensor]:
    """Windows with their gaps filled, and their masks, [B * J, L, C]."""
    filled_BJLC = filled_windows(values_BTC, mask_BTC, offsets_J, model.rows)
    mask_BJLC = mask_BTC[:, offsets_J[:, None] + torch.arange(model.rows, device=offsets_J.device)]
    return filled_BJLC.flatten(0, 1), mask_BJLC.flatten(0, 1)
