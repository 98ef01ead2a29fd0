"""Support: whether a planned latent lies where the record's latents lie.

Shapes: M latents of the record, N latents of a plan, D latent, K directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

# A plan may go so many times as far as 99.9 % of the record's own latents. An economic optimum lies in a corner that
# operators seldom visit: on the evaporator, advice at 1.001 times the oracle's cost came to rest at 2.7 times the
# quantile, and a limit of twice the quantile held it there, outside its rank-1 limit.
_QUANTILE, _ROOM = 0.999, 4.0
# Advice moves faster than operators do, so that its way leads through latents that no record shows, however well the
# plant is known: on the quadruple tank, 240 healthy plans went to 2.4 times the quantile and came to rest at 0.4 times.
_ON_THE_WAY = 0.5
# Directions with less than this share of the largest variance are rounding; whitening would blow them up.
_RANK = 1e-6


@dataclass(frozen=True, kw_only=True)
class Support:
    """Distance from the record's latents: root mean square over whitened directions, about 1 for a typical row.

    Attributes:
        centre_D, whiten_KD: Of the record.
        limit: Above it a latent counts as unknown ground.
    """

    centre_D: np.ndarray
    whiten_KD: np.ndarray
    limit: float

    @classmethod
    def of(cls, latents_MD: np.ndarray) -> Self:
        """From latents all over the record."""
        centre_D = latents_MD.mean(axis=0)
        centred = latents_MD - centre_D
        variance, axes = np.linalg.eigh(centred.T @ centred / len(centred))
        keep = variance > _RANK * variance.max()
        whiten_KD = (axes[:, keep] / np.sqrt(variance[keep])).T
        found = cls(centre_D=centre_D, whiten_KD=whiten_KD, limit=np.inf)
        return cls(
            centre_D=centre_D,
            whiten_KD=whiten_KD,
            limit=_ROOM * float(np.quantile(found.distances(latents_MD), _QUANTILE)),
        )

    def distances(self, latents_ND: np.ndarray) -> np.ndarray:
        """Of each latent, [N]; NaN where a number is not finite."""
        with np.errstate(over="ignore", invalid="ignore"):
            white_NK = (latents_ND - self.centre_D) @ self.whiten_KD.T
            return np.asarray(np.sqrt(np.mean(white_NK**2, axis=1)))

    def distance(self, latents_ND: np.ndarray) -> float:
        """The largest along a plan; on the way to where it comes to rest, in its last quarter, it counts half."""
        far_N = self.distances(latents_ND)
        far_N[: len(far_N) - max(1, len(far_N) // 4)] *= _ON_THE_WAY
        return float(np.max(far_N, initial=0.0))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; every float64 comes back exactly."""
        return {"centre": self.centre_D.tolist(), "whiten": self.whiten_KD.tolist(), "limit": self.limit}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back what `to_dict` gave."""
        return cls(centre_D=np.array(data["centre"]), whiten_KD=np.array(data["whiten"]), limit=float(data["limit"]))
