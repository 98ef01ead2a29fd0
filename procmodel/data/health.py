"""Health: what a look at each tag's record says before any training. Shapes: T rows, C tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from procmodel.data.dataset import Dataset, Stretch
from procmodel.plant import Plant

_STUCK_ROWS = 60  # a linear tag that repeats itself to the last bit for so many rows is called stuck


@dataclass(frozen=True, kw_only=True)
class TagHealth:
    """One tag's record.

    Attributes:
        good: Share of time with a good value [-].
        gaps: Runs of rows without any; `longest_gap` of them [s].
        stuck: Row ranges in which a linear tag repeats itself exactly.
        low, high: Range seen [unit]; NaN without a good row.
        interval: Median time between good samples [s], where the dataset tells it.
    """

    name: str
    good: float
    gaps: int
    longest_gap: float
    stuck: tuple[tuple[int, int], ...]
    low: float
    high: float
    interval: float | None


def tag_health(dataset: Dataset, plant: Plant) -> list[TagHealth]:
    """Share of good time, gaps, stuck stretches, range and usual sampling of each tag, in column order."""
    sampling = dataset.manifest.get("sampling", {})
    found = []
    for c, name in enumerate(dataset.columns):
        values_T = dataset.values[:, c]
        missing_T = np.isnan(values_T)
        gaps = _runs(missing_T, dataset.stretches)
        repeats_T = np.concatenate([[False], values_T[1:] == values_T[:-1]])
        repeats_T[[s.start for s in dataset.stretches]] = False  # what came before is another campaign's
        stuck = [] if plant.tags[name].is_step else _runs(repeats_T, dataset.stretches)
        found.append(
            TagHealth(
                name=name,
                good=float(dataset.good_fraction[:, c].mean(dtype=np.float64)) if dataset.rows else 0.0,
                gaps=len(gaps),
                longest_gap=max((b - a for a, b in gaps), default=0) * dataset.step,
                # The row that is then repeated belongs to the run.
                stuck=tuple((a - 1, b) for a, b in stuck if b - a + 1 >= _STUCK_ROWS),
                low=float("nan") if missing_T.all() else float(np.nanmin(values_T)),
                high=float("nan") if missing_T.all() else float(np.nanmax(values_T)),
                interval=sampling.get(name, {}).get("median_interval_s"),
            )
        )
    return found


def _runs(flag_T: np.ndarray, stretches: Sequence[Stretch]) -> list[tuple[int, int]]:
    """Runs of True, `[start, stop)`, none across the border of a stretch."""
    runs = []
    for s in stretches:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], flag_T[s.start : s.stop].astype(np.int8), [0]])))
        runs += [(s.start + int(a), s.start + int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return runs
