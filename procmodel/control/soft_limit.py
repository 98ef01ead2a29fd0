"""One soft limit: what it is on, and how far the forecast has to stay away from it. Shapes: N rows of the horizon."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from procmodel.control.readings import Head
from procmodel.plant import Limits

# Two-sided margins for doubt may use up to this share of the room between the limits [-].
MOST_BACKOFF = 0.9


class Source(IntEnum):
    """What a limit is on."""

    CV = 0
    CALCULATED = 1
    HEAD = 2


@dataclass(frozen=True, kw_only=True)
class SoftLimit:
    """One side of a CV or of a calculated value, or the zero of a head's margin.

    Attributes:
        tag, unit, side, at, rank: As for a `GiveUp`.
        source: Which of the three.
        column: Index among those of its kind.
        scale: Violation that counts as one [unit].
        backoff_N: Distance kept for doubt [unit].
        most_backoff: Largest distance that leaves room between two limits [unit]; infinite for a lone one.
        funnel_N: By how much the limit still stands open [unit]; 0 where it has no funnel.
    """

    tag: str
    unit: str
    side: str
    at: float
    rank: int
    source: Source
    column: int
    scale: float
    backoff_N: np.ndarray
    most_backoff: float = np.inf
    funnel_N: np.ndarray | float = 0.0

    @property
    def is_head(self) -> bool:
        """Whether it is on a head's margin."""
        return self.source is Source.HEAD

    @property
    def sign(self) -> float:
        """+1 where a larger value is worse."""
        return 1.0 if self.side == "high" else -1.0

    def __str__(self) -> str:
        if self.is_head:
            return f"{self.tag} margin (rank {self.rank})"
        return f"{self.tag} {self.side} {self.at:g} {self.unit} (rank {self.rank})"


def sides_of(
    tag: str, unit: str, limits: Limits, source: Source, column: int, scale: float, backoff_N: np.ndarray
) -> list[SoftLimit]:
    """The limits there are of a CV or a calculated value."""
    low, high = limits.low, limits.high
    # Doubt never closes the room between the limits.
    most = 0.5 * MOST_BACKOFF * (high.at - low.at) if low and high else np.inf
    return [
        SoftLimit(
            tag=tag,
            unit=unit,
            side=side,
            at=limit.at,
            rank=limit.rank,
            source=source,
            column=column,
            scale=scale,
            backoff_N=np.minimum(backoff_N, most),
            most_backoff=most,
        )
        for side, limit in (("low", low), ("high", high))
        if limit
    ]


def limit_of_head(head: Head, column: int, steps: int) -> SoftLimit:
    """A head has no span; its allowance says what size of margin it can tell apart."""
    allowance = float(np.mean(np.abs(head.allowance_H))) if np.size(head.allowance_H) else 0.0
    return SoftLimit(
        tag=head.name,
        unit=head.unit,
        side="low",
        at=0.0,
        rank=head.rank,
        source=Source.HEAD,
        column=column,
        scale=allowance if allowance > 1e-6 else 1.0,
        backoff_N=np.zeros(steps),  # its allowance is deducted in the forecast
    )
