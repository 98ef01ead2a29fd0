"""What each tag usually does from one row to the next, learned from the record, so that a sample can be doubted.

Shapes: T rows, C tags in plant order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from procmodel.data.dataset import Stretch

# A change from row to row is usual up to so many times the one that 99.9 % of the record stay below. Three would doubt
# one row in a few thousand where noise is normal (its 99.9 % quantile is 3.3 spreads of the difference).
_JUMP, _QUANTILE = 4.0, 0.999
# Values may lie beyond those of the record by so many of its own spans: a plant may be taken somewhere new, but a level
# in mm where cm were recorded is ten spans away.
_BEYOND = 1.0
# A signal is taken for frozen after so many times its longest run without a change, and never before so many rows.
_STILL, _LEAST_STILL = 2.0, 10


@dataclass(frozen=True, kw_only=True)
class Normal:
    """One tag.

    Attributes:
        low, high: Between these a value is believable [unit].
        jump: Largest believable change from one row to the next [unit]; infinite where nothing is known.
        still: Rows without any change that are believable; infinite for a tag that steps or never moved.
    """

    low: float
    high: float
    jump: float
    still: float

    @classmethod
    def of(cls, values_T: np.ndarray, stretches: Sequence[Stretch], *, steps: bool) -> Self:
        """Of one column of the record; NaN in gaps."""
        known = values_T[np.isfinite(values_T)]
        if not len(known):
            return cls(low=-math.inf, high=math.inf, jump=math.inf, still=math.inf)
        changes = np.concatenate([np.abs(np.diff(values_T[s.start : s.stop])) for s in stretches])
        changes = changes[np.isfinite(changes)]
        low, high = float(known.min()), float(known.max())
        span = high - low
        moved = changes[changes > 0]
        if not len(moved):
            return cls(low=-math.inf, high=math.inf, jump=math.inf, still=math.inf)
        # An operator's move is as large as it is: rare and whole. Of a measurement the largest change may be a spike.
        jump = float(moved.max()) if steps else _JUMP * float(np.quantile(changes, _QUANTILE))
        longest = max((_longest_still(values_T[s.start : s.stop]) for s in stretches), default=0)
        return cls(
            low=low - _BEYOND * span,
            high=high + _BEYOND * span,
            jump=min(max(jump, float(np.median(moved))), span),
            still=math.inf if steps else max(_LEAST_STILL, math.ceil(_STILL * longest)),
        )

    def to_dict(self) -> dict[str, float | None]:
        """Plain JSON; None for infinite."""
        return {key: value if math.isfinite(value) else None for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back what `to_dict` gave."""
        absent = {"low": -math.inf, "high": math.inf, "jump": math.inf, "still": math.inf}
        return cls(**{key: absent[key] if data[key] is None else float(data[key]) for key in absent})


def normals_of(
    columns: Sequence[str], steps: Sequence[bool], values_TC: np.ndarray, stretches: Sequence[Stretch]
) -> dict[str, Normal]:
    """Of every tag; `steps` says which hold between samples."""
    return {
        name: Normal.of(values_TC[:, c], stretches, steps=step)
        for c, (name, step) in enumerate(zip(columns, steps, strict=True))
    }


def _longest_still(values_T: np.ndarray) -> int:
    """Longest run of rows that show the very same value; gaps end a run."""
    same = np.flatnonzero(~(np.diff(values_T) == 0.0))  # a NaN is equal to nothing
    edges = np.concatenate([[-1], same, [len(values_T) - 1]])
    return int(np.diff(edges).max(initial=0))
