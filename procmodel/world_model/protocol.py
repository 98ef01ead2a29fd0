"""What the optimizer needs from a model, and all it may know about one.

Shapes: B batch, L rows of history, D latent, U MVs, V DVs, Y CVs. All values are scaled by the model's `Scaler`.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from procmodel.data.window import Window


class Steps(Protocol):
    """The part of a world model that a rollout needs."""

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        """Latent one grid row later, [B, D]; V may be 0."""
        ...


class Runs(Steps, Protocol):
    """The part of a world model that a free run of its CVs needs."""

    def read_out(self, z_BD: Tensor) -> Tensor:
        """CVs [B, Y]."""
        ...


class WorldModel(Runs, Protocol):
    """An action-conditioned model in latent space.

    Row t+1 of the grid is what `step` predicts: `u` and `d` are the MVs and DVs held *during* that row.

    Attributes:
        rows: L, the number of history rows that `encode` reads.
        latent_size: D.
    """

    rows: int
    latent_size: int

    def encode(self, window: Window) -> Tensor:
        """Latent [B, D] at the end of the window."""
        ...


@runtime_checkable
class RunsFreely(Protocol):
    """A model that has a faster way than row by row."""

    def free_run(self, z_BD: Tensor, u_BKU: Tensor, d_BKV: Tensor) -> tuple[Tensor, Tensor]:
        """Latents after each of K rows, [B, K, D]; and what its network added to its linear part, [B, K, N]."""
        ...


def rollout(model: Steps, z_BD: Tensor, u_BHU: Tensor, d_BHV: Tensor) -> Tensor:
    """Latents after each of H moves, [B, H, D]; serves training, evaluation and planning alike."""
    if isinstance(model, RunsFreely):
        return model.free_run(z_BD, u_BHU, d_BHV)[0]
    steps = []
    for u_BU, d_BV in zip(u_BHU.unbind(dim=1), d_BHV.unbind(dim=1), strict=True):
        z_BD = model.step(z_BD, u_BU, d_BV)
        steps.append(z_BD)
    return torch.stack(steps, dim=1)
