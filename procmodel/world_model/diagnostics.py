"""What a latent looks like, and whether a model cares for the moves. Shown to people, never used to tune.

Shapes: N samples, D latent, B batch, L rows of history, K steps, Y CVs. Scaled.
"""

from __future__ import annotations

import torch
from torch import Tensor

from procmodel.data.window import Window
from procmodel.world_model.latent_model import LatentModel, forward_fill
from procmodel.world_model.protocol import rollout


def effective_rank(z_ND: Tensor) -> Tensor:
    """exp of the entropy of the normalised singular values (Roy & Vetterli 2007), a scalar from 1 to D.

    0 where nothing varies, NaN where a latent is not finite: there are no singular values then.
    """
    if not bool(torch.isfinite(z_ND).all()):
        return torch.full((), torch.nan, dtype=z_ND.dtype, device=z_ND.device)
    values = torch.linalg.svdvals(z_ND - z_ND.mean(dim=0))
    share = values / values.sum().clamp_min(1e-12)
    rank = torch.exp(-(share * share.clamp_min(1e-12).log()).sum())
    return torch.where(values.sum() > 1e-9, rank, torch.zeros_like(rank))


def action_use(
    model: LatentModel, values_BTC: Tensor, mask_BTC: Tensor, generator: torch.Generator
) -> dict[str, float]:
    """CV error of free runs over the real moves, and over shuffled, shifted and held ones [-, scaled RMS].

    "shuffled" takes another window's moves, "shifted" turns them by half the horizon, "held" keeps the last ones seen.
    A model whose error does not rise when the moves are wrong has not learned what they do.
    """
    columns, rows = model.config.columns, model.rows
    filled = forward_fill(values_BTC, mask_BTC)
    u_BKU, d_BKV = filled[:, rows:, columns.mv], filled[:, rows:, columns.dv]
    target, good = filled[:, rows:, columns.cv], mask_BTC[:, rows:, columns.cv]
    order = torch.randperm(len(u_BKU), generator=generator)
    variants = {
        "real": u_BKU,
        "shuffled": u_BKU[order],
        "shifted": u_BKU.roll(u_BKU.shape[1] // 2, dims=1),
        "held": filled[:, rows - 1 : rows, columns.mv].expand_as(u_BKU),
    }
    with torch.no_grad():
        z_BD = model.encode(Window(values=values_BTC[:, :rows], mask=mask_BTC[:, :rows]))
        errors = {}
        for name, moves in variants.items():
            miss = (model.read_out(rollout(model, z_BD, moves, d_BKV)) - target) ** 2
            errors[name] = float(((miss * good).sum() / good.sum().clamp_min(1)).sqrt())
    return errors
