"""Latents whose margin is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from procmodel.constraints import HeadSamples
from procmodel.plant import Constraint

# N labels, M unlabelled rows, D latent, H horizon steps

FOAMING = Constraint(labels="foaming.csv", confidence=0.9, rank=1, unit="mm")
STEPS, SIZE = 6, 24


@dataclass(frozen=True)
class World:
    """A latent of 24 mixed directions in which two carry the plant's variables and the margin follows those.

    Rolled-out latents drift off by noise that grows with the step.
    """

    bend: float = 0.0
    noise: float = 0.1
    drift: float = 0.15
    seed: int = 0

    def mix(self) -> np.ndarray:
        return np.random.default_rng(7).normal(size=(SIZE, SIZE)) / np.sqrt(SIZE)

    def true_margin(self, hidden: np.ndarray) -> np.ndarray:
        return 3.0 + 1.5 * hidden[..., 0] - hidden[..., 1] + self.bend * (hidden[..., 0] * hidden[..., 1])

    def draw(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Encoded [N, D], rolled [N, H, D], measured margin [N], guides [N, 2]."""
        hidden = rng.normal(size=(count, SIZE))
        steps = np.arange(1, STEPS + 1)[None, :, None]
        rolled = hidden[:, None] + self.drift * np.sqrt(steps) * rng.normal(size=(count, STEPS, SIZE))
        margin = self.true_margin(hidden) + self.noise * rng.normal(size=count)
        guides = hidden[:, :2] + 0.1 * rng.normal(size=(count, 2))
        return hidden @ self.mix(), rolled @ self.mix(), margin, guides

    def samples(self, count: int, seed: int = 0, guides: bool = True) -> HeadSamples:
        rng = np.random.default_rng([seed, self.seed])
        encoded_ND, rolled_NHD, margins_N, _ = self.draw(rng, count)
        background_MD, _, _, guides_MG = self.draw(rng, 800)
        return HeadSamples(
            margins_N=margins_N,
            encoded_ND=encoded_ND,
            rolled_NHD=rolled_NHD,
            background_MD=background_MD,
            guides_MG=guides_MG if guides else None,
        )
