"""Numbers for JSON, which has no NaN and no infinity."""

from __future__ import annotations

import math


def plain(value: float) -> float | None:
    """A plain float; None for what is not a finite number."""
    return float(value) if math.isfinite(value) else None
