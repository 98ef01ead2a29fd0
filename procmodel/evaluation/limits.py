"""The soft limits of a reference plant, and how far a trial truly exceeded them.

Shapes: T rows, Y CVs, G constraint heads, K soft limits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from procmodel.metrics import LimitTrace
from procmodel.simulation import ReferencePlant
from procmodel.simulation.reference import span

Array = np.ndarray

# Share of the span by which a limit must be exceeded to count [-]: below it neither a rounding nor a solver's
# tolerance is a violation.
TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class SoftLimit:
    """A limit of the plant file, or zero of a margin: `side * (value - at)` is to stay below zero.

    Attributes:
        name: For people.
        output: Place among the CVs followed by the margins.
        side: 1 for a high limit, -1 for a low one.
        at, span: [unit]; the span of a margin is what the published steady state keeps from its limit.
        rank: 1 is given up last.
    """

    name: str
    output: int
    side: float
    at: float
    span: float
    rank: int
    unit: str


def soft_limits(reference: ReferencePlant) -> tuple[SoftLimit, ...]:
    """CV limits, low before high, then the constraint margins."""
    plant, found = reference.plant, []
    for i, name in enumerate(plant.cvs):
        tag = plant.tags[name]
        for word, side, limit in (("low", -1.0, tag.limits.low), ("high", 1.0, tag.limits.high)):
            if limit is not None:
                found.append(
                    SoftLimit(
                        name=f"{name} {word} {limit.at:g}",
                        output=i,
                        side=side,
                        at=limit.at,
                        span=span(plant, name),
                        rank=limit.rank,
                        unit=tag.unit,
                    )
                )
    inputs = [a.tolist() for a in (reference.x0, reference.u0, reference.d0, reference.w0)]
    for i, (name, margin) in enumerate(reference.margins.items(), len(plant.cvs)):
        declared = plant.constraints.get(name)
        found.append(
            SoftLimit(
                name=name,
                output=i,
                side=-1.0,
                at=0.0,
                span=max(abs(float(margin(*inputs))), 1e-6),
                rank=declared.rank if declared else 2,
                unit=declared.unit if declared else "-",
            )
        )
    return tuple(found)


def traces(reference: ReferencePlant, y_TY: Array, margins_TG: Array) -> list[LimitTrace]:
    """How far each soft limit was exceeded; what lies within `TOLERANCE` counts as kept."""
    values = np.concatenate([y_TY, margins_TG], axis=1)
    found = []
    for limit in soft_limits(reference):
        over = limit.side * (values[:, limit.output] - limit.at)
        kept = over <= TOLERANCE * limit.span
        found.append(LimitTrace(rank=limit.rank, excess=np.where(kept, 0.0, over), span=limit.span))
    return found
