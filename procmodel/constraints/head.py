"""Constraint head: a small map from the latent to a margin that no sensor measures, with a calibrated allowance.

Shapes: B batch, D latent, Q curved directions, H horizon steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import torch
from torch import Tensor

from procmodel.errors import ArtifactError

_ARRAYS = ("linear_D", "directions_QD", "centre_Q", "curvature_QQ", "allowance_H")
_NUMBERS = ("offset", "allowance_now", "confidence", "error", "skill")


@final
@dataclass(frozen=True, kw_only=True)
class ConstraintHead:
    """`margin(z) = offset + linear . z + p' curvature p`, with `p = directions z - centre`; positive is safe.

    Advice keeps the lower bound `margin - allowance` above zero. Each step of the horizon has its own allowance, since
    a rolled-out latent is harder to judge than an encoded one.

    Attributes:
        name, unit, rank: Of the constraint.
        linear_D, offset: Linear part. Q = 0 where a straight line was good enough.
        allowance_now: For an encoded latent [unit].
        allowance_H: For a latent predicted 1..H rows ahead, never falling [unit].
        confidence: Share of cases in which the true margin is to lie above the lower bound, per step [-].
        labels: Number of labelled samples behind it.
        error: Root mean square error on labels left out [unit].
        skill: Share of the labels' variance that is explained where they are left out [-].
        form: Which features the labels chose, in words.
        campaigns: That the labels come from. Of several, whole ones were left out; of one, neighbours in time.
    """

    name: str
    unit: str
    rank: int
    linear_D: np.ndarray
    offset: float
    directions_QD: np.ndarray
    centre_Q: np.ndarray
    curvature_QQ: np.ndarray
    allowance_now: float
    allowance_H: np.ndarray
    confidence: float
    labels: int
    error: float
    skill: float
    form: str
    campaigns: int = 1

    def margin(self, z_BD: Tensor) -> Tensor:
        """Margin [B] of latents; differentiable, in the precision and on the device of `z_BD`."""

        def as_z(values: np.ndarray) -> Tensor:
            return torch.as_tensor(values, dtype=z_BD.dtype, device=z_BD.device)

        margin_B = z_BD @ as_z(self.linear_D) + self.offset
        if self.centre_Q.size == 0:
            return margin_B
        p_BQ = z_BD @ as_z(self.directions_QD).T - as_z(self.centre_Q)
        return margin_B + ((p_BQ @ as_z(self.curvature_QQ)) * p_BQ).sum(dim=-1)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; every float64 comes back exactly."""
        return {
            "name": self.name,
            "unit": self.unit,
            "rank": self.rank,
            "labels": self.labels,
            "form": self.form,
            "campaigns": self.campaigns,
            **{key: getattr(self, key) for key in _NUMBERS},
            "latent_size": len(self.linear_D),
            **{key: getattr(self, key).tolist() for key in _ARRAYS},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back what `to_dict` gave.

        Raises:
            ArtifactError: A key is missing, a number is not finite, or shapes don't fit each other.
        """
        who = f"Constraint head {data.get('name', '?')!r} of the artifact"
        try:
            size = int(data["latent_size"])
            fields: dict[str, Any] = {"rank": int(data["rank"]), "labels": int(data["labels"])}
            fields["campaigns"] = int(data.get("campaigns", 1))  # 0.1 left neighbours in time out
            fields |= {key: str(data[key]) for key in ("name", "unit", "form")}
            fields |= {key: float(data[key]) for key in _NUMBERS}
            fields |= {key: np.array(data[key], dtype=np.float64) for key in _ARRAYS}
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{who} cannot be read ({error!r}). Train again.") from None
        if not fields["centre_Q"].size:  # empty lists have lost their second axis
            fields |= {"directions_QD": np.empty((0, size)), "curvature_QQ": np.empty((0, 0))}
        head = cls(**fields)
        head._check(who, size)
        return head

    def _check(self, who: str, size: int) -> None:
        q, steps = self.centre_Q.size, self.allowance_H.size
        shapes = {
            "linear_D": (size,),
            "directions_QD": (q, size),
            "centre_Q": (q,),
            "curvature_QQ": (q, q),
            "allowance_H": (steps,),
        }
        for key, shape in shapes.items():
            if getattr(self, key).shape != shape:
                raise ArtifactError(
                    f"{who}: {key} has shape {getattr(self, key).shape} and needs {shape}. Train again."
                )
        finite = all(np.isfinite(getattr(self, key)).all() for key in _ARRAYS)
        if not finite or not all(math.isfinite(getattr(self, key)) for key in _NUMBERS):
            raise ArtifactError(f"{who} holds a number that is not finite. Train again.")
        if (np.diff(self.allowance_H) < 0).any() or self.allowance_now < 0:
            raise ArtifactError(f"{who}: the allowance must not fall along the horizon. Train again.")
