"""Masked pretraining of the encoder: guess the encoding of what a mask hides from what it leaves to be seen.

I-JEPA (Assran et al. 2023, arXiv 2301.08243) and V-JEPA (Bardes et al. 2024, arXiv 2404.08471), on rows and tags in
place of patches. The encoder is frozen afterwards and a predictor of the moves' effect is trained on its latents, as in
V-JEPA 2-AC (Assran et al. 2025, arXiv 2506.09985) and DINO-WM (Zhou et al. 2024, arXiv 2411.04983).

Shapes: B batch, L rows of history, C tags, S learned part of the latent. Scaled.
"""

from __future__ import annotations

import torch
from torch import Tensor

from procmodel.world_model.companions import Companions
from procmodel.world_model.latent_model import LatentModel, encoder_input, forward_fill

SPAN = (0.25, 0.5)
"""Least and most share of the rows that are hidden in one span, over all tags."""
TAGS = 0.25
"""Chance of each tag to be hidden whole."""


def hide(batch: int, rows: int, tags: int, *, like: Tensor) -> Tensor:
    """What is hidden, [B, L, C], 1 or 0: in each window one span of rows over all tags, and some whole tags."""
    length_B1 = rows * (SPAN[0] + (SPAN[1] - SPAN[0]) * torch.rand(batch, 1, device=like.device))
    first_B1 = torch.rand(batch, 1, device=like.device) * (rows - length_B1)
    row_L = torch.arange(rows, device=like.device)
    span_BL = (row_L >= first_B1.round()) & (row_L < (first_B1 + length_B1).round())
    tag_BC = torch.rand(batch, tags, device=like.device) < TAGS
    return (span_BL[:, :, None] | tag_BC[:, None, :]).to(like.dtype)


def masked_guess(
    model: LatentModel, companions: Companions, values_BLC: Tensor, mask_BLC: Tensor, hidden_BLC: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean square error of the guess of what the target encoder makes of the hidden cells alone, a scalar; and the
    model's own encoding of the cells that are left, [B, S]. What is hidden has no influence on the latter."""
    assert companions.target is not None
    assert companions.hidden is not None, "masked pretraining needs its companions"
    s_BS = model.encoder(_seen(values_BLC, mask_BLC * (1 - hidden_BLC)))
    with torch.no_grad():
        target_BS = companions.target(_seen(values_BLC, mask_BLC * hidden_BLC))
    where = [hidden_BLC.mean(dim=2), hidden_BLC.mean(dim=1)]
    guess_BS = companions.hidden(torch.cat([s_BS, *where], dim=-1))
    return ((guess_BS - target_BS) ** 2).mean(), s_BS


def _seen(values_BLC: Tensor, mask_BLC: Tensor) -> Tensor:
    return encoder_input(forward_fill(values_BLC, mask_BLC), mask_BLC)
