"""What tells a margin from latents: one family of features with its weights, or several, each by its share.

Families that tell left-out labels about equally well can differ widely where a plant has not been before: there the one
that was chosen is the luck of the labels. So each speaks, by its root mean square error e on labels left out:

    share_i = e_i^-4 / sum_j e_j^-4

Shares by e^-2 are those of Bates and Granger (1969), The combination of forecasts, for errors without correlation.
Those of families on the same labels are correlated, and what one of them has learned from chance has to weigh less:
where the plant's own variables carry the margin exactly, e^-2 doubled to tripled the error of the family that does.

Shapes: N rows, D latent, H steps ahead, Q bent directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from procmodel.constraints.features import Features, Flat

_STEEP = 4.0
_NAMED = 0.05
"""Share from which on a family is named."""
_EXACT = 1e-9
"""Of the largest error: below, an error is rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Blend:
    """Families of features, with weights of each and their shares; these add up to one.

    All families that are bent are bent along the same directions.
    """

    families: tuple[Features, ...]
    flats: tuple[Flat, ...]
    shares: tuple[float, ...]

    @staticmethod
    def of_one(features: Features, flat: Flat) -> Blend:
        """One family alone."""
        return Blend(families=(features,), flats=(flat,), shares=(1.0,))

    @property
    def form(self) -> str:
        """In words: the family, or the larger shares."""
        if len(self.shares) == 1:
            return self.families[0].form
        by_share = sorted(zip(self.shares, self.families, strict=True), key=lambda each: -each[0])
        return "average of " + ", ".join(f"{each.form} {share:.0%}" for share, each in by_share if share >= _NAMED)

    def told(self, ahead_NHD: np.ndarray) -> np.ndarray:
        """Margin or score of latents, [N, 1 + H]."""
        flat_ND = ahead_NHD.reshape(-1, ahead_NHD.shape[2])
        parts = zip(self.families, self.flats, strict=True)
        scores = [flat.score(features.of(flat_ND)) for features, flat in parts]
        return np.asarray(np.tensordot(self.shares, scores, 1)).reshape(ahead_NHD.shape[:2])

    def collapse(self) -> tuple[np.ndarray, float, np.ndarray, np.ndarray, np.ndarray]:
        """Linear part [D], offset, bent directions [Q, D], their centre [Q] and curvature [Q, Q]."""
        bent = next((each for each in self.families if each.curved), self.families[0])
        linear_D, offset = np.zeros(bent.project_KD.shape[1]), 0.0
        curvature_QQ = np.zeros((bent.curved, bent.curved))
        for share, features, flat in zip(self.shares, self.families, self.flats, strict=True):
            mine_D, my_offset, my_curvature = features.collapse(flat.weights_F, flat.offset)
            linear_D, offset = linear_D + share * mine_D, offset + share * my_offset
            if features.curved:
                curvature_QQ += share * my_curvature
        return linear_D, offset, bent.project_KD[: bent.curved], bent.centre_K[: bent.curved], curvature_QQ


def shares_of(errors: Sequence[float]) -> tuple[float, ...]:
    """Shares by root mean square errors on labels left out."""
    weights = np.maximum(np.asarray(errors, dtype=float), _EXACT * max(errors)) ** -_STEEP
    return tuple((weights / weights.sum()).tolist())
