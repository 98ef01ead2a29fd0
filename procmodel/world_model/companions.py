"""What stands beside a model while it is trained, and is thrown away afterwards: an encoder that follows the model's
own, heads that ask something of the latent, and their terms.

Target that follows: Grill et al. 2020, "Bootstrap your own latent" (arXiv 2006.07733), its average and its schedule.
Inverse dynamics: Pathak et al. 2017 (arXiv 1705.05363). Straightening: Henaff, Goris and Simoncelli 2019, "Perceptual
straightening of natural videos" (Nature Neuroscience 22), their curvature by its cosine. Decoder: the loss of
generative world models, for comparison.

Shapes: B batch, J windows, K steps, C tags, D = N + S latent, S its learned part, U MVs. Scaled.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from procmodel.world_model.latent_model import LatentModel, mlp

FIRST_MOMENTUM = 0.98
"""m at the start: an average over some 50 batches. BYOL's 0.996 is for a thousand times longer trainings."""


class Companions(nn.Module):
    """Companions of one model; those that nothing asks for are None, and draw no random numbers.

    Attributes:
        target: Follows the model's encoder, without a gradient.
        moves: The move between two latents that follow each other.
        sensors: All tags from a latent.
        hidden: Encoding of what a mask hides, from that of the rest and from where the mask is (`masking`).
    """

    def __init__(
        self, model: LatentModel, *, follows: bool = False, inverse: bool = False, decodes: bool = False,
        masked: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        config = model.config
        learned, width, tags = config.latent, config.hidden, config.columns.count
        self.target = copy.deepcopy(model.encoder).requires_grad_(False) if follows or masked else None
        self.moves = mlp(2 * learned, width, len(config.columns.mv), zero=False) if inverse else None
        self.sensors = mlp(model.latent_size, width, tags, zero=False) if decodes else None
        self.hidden = mlp(learned + config.rows + tags, width, learned, zero=False) if masked else None

    def follow(self, model: LatentModel, share: float) -> None:
        """Move the target towards the model's encoder, when this share of the training is done [-]."""
        if self.target is not None:
            move_towards(self.target, model.encoder, momentum(share))


def momentum(share: float) -> float:
    """m, from `FIRST_MOMENTUM` at the start along a cosine to 1 at the end of the training [-]."""
    return 1 - (1 - FIRST_MOMENTUM) * (math.cos(math.pi * share) + 1) / 2


@torch.no_grad()
def move_towards(target: nn.Module, online: nn.Module, m: float) -> None:
    """`target <- m target + (1 - m) online`, weight by weight."""
    for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
        slow.lerp_(fast, 1 - m)


def inverse_error(moves: nn.Module, before_BS: Tensor, after_BS: Tensor, u_BU: Tensor) -> Tensor:
    """`mean |u_t - I(s_t, s_{t+1})|^2`, a scalar: what a move does must show in the latent."""
    return F.mse_loss(moves(torch.cat([before_BS, after_BS], dim=-1)), u_BU)


def bend_of(s_BJS: Tensor) -> Tensor:
    """`mean 1 - cos(v_t, v_{t+1})` with `v_t = s_{t+1} - s_t`, a scalar from 0 (a straight path) to 2 (back and forth),
    over the steps of latents that follow each other, at least three."""
    v_BJS = s_BJS.diff(dim=1)
    return (1 - F.cosine_similarity(v_BJS[:, :-1], v_BJS[:, 1:], dim=-1)).mean()


def decoded_error(sensors: nn.Module, z_BKD: Tensor, values_BKC: Tensor, mask_BKC: Tensor) -> Tensor:
    """Mean square error of all tags from their latents, over good samples, a scalar."""
    square_BKC = torch.where(mask_BKC > 0, sensors(z_BKD) - values_BKC, 0.0) ** 2
    return square_BKC.sum() / mask_BKC.sum().clamp_min(1)
