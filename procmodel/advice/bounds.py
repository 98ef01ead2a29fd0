"""Bounds of tags as the guard reads them from the plant file, on its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from procmodel.plant import Calculated, Tag

# Of the span: what a solver's rounding may put beyond a limit. It is taken back, never shown.
ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Where an MV may be set to.

    Attributes:
        low, high: Hard limits, narrowed to the instrument range [unit].
        up, down: Largest change from the measured value [unit].
    """

    low: float
    high: float
    up: float
    down: float

    @classmethod
    def of(cls, tag: Tag) -> Self:
        low, high = limits_of(tag)
        if tag.range is not None:
            low, high = max(low, tag.range[0]), min(high, tag.range[1])
        move = tag.max_move
        return cls(low=low, high=high, up=move.up if move else math.inf, down=move.down if move else math.inf)

    @property
    def rounding(self) -> float:
        """Largest excess that is a solver's rounding and not a breach [unit]."""
        scales = [s for s in (self.high - self.low, self.up, self.down) if math.isfinite(s) and s > 0]
        return ROUNDING * min(scales, default=0.0)

    def window(self, current: float) -> tuple[float, float]:
        """Lowest and highest value that can be set from `current`; crossed where there is none."""
        return max(self.low, current - self.down), min(self.high, current + self.up)

    def touched(self, current: float, value: float) -> str:
        """What a value rests against, in words."""
        near = self.rounding
        words = []
        if value >= self.high - near:
            words.append("at its high limit")
        if value <= self.low + near:
            words.append("at its low limit")
        if value - current >= self.up - near:
            words.append("largest move up")
        if current - value >= self.down - near:
            words.append("largest move down")
        return ", ".join(words)


def limits_of(tag: Tag | Calculated) -> tuple[float, float]:
    """Low and high limit [unit]; infinite where absent."""
    low, high = tag.limits.low, tag.limits.high
    return (low.at if low else -math.inf), (high.at if high else math.inf)


def span_of(tag: Tag | Calculated) -> float:
    """Size by which an excess is judged [unit]: a tag's range, else the distance of the limits, else their size."""
    if isinstance(tag, Tag) and tag.range is not None:
        return tag.range[1] - tag.range[0]
    low, high = limits_of(tag)
    if math.isfinite(high - low):
        return high - low
    sizes = [abs(value) for value in (low, high) if math.isfinite(value)]
    return max(sizes, default=0.0) or 1.0
