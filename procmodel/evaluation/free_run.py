"""Free run over a whole campaign from its first rows, judged on the recorded stamps.

The protocol of the public benchmarks: the model sees the first samples, then nothing but the inputs.

Shapes: T grid rows, N recorded samples, C tags, Y CVs. Engineering units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.window import Columns
from procmodel.errors import DatasetError
from procmodel.evaluation.baselines import Forecaster, carried
from procmodel.evaluation.raw import RawSamples
from procmodel.plant import Plant

Array = np.ndarray
GIVEN = 50
"""Samples that the public protocol gives."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FreeRun:
    """One CV of one campaign.

    Attributes:
        campaign, cv, unit: What was run.
        times: Of the samples judged [s since the campaign's first sample], [N].
        recorded, predicted: [N].
        given: Samples that the model had seen.
    """

    campaign: str
    cv: str
    unit: str
    times: Array
    recorded: Array
    predicted: Array
    given: int

    @property
    def rmse(self) -> float:
        """Root mean square error over the judged samples [unit]."""
        return float(np.sqrt(np.mean((self.recorded - self.predicted) ** 2)))

    def to_dict(self) -> dict[str, Any]:
        return {"cv": self.cv, "unit": self.unit, "rmse": self.rmse, "samples": len(self.times), "given": self.given}


def free_run(forecaster: Forecaster, columns: Columns, rows_TC: Array, *, given: int, history: int) -> Array:
    """CVs of rows `given` to T, [T - given, Y], from the rows before and the inputs after.

    Args:
        rows_TC: One campaign, NaN in gaps; a missing input ahead holds its value before the gap.
        given: Rows that may be seen.
        history: Rows that the forecaster asks for; where fewer are given, the rows before are a gap.

    Raises:
        DatasetError: The campaign is not longer than the rows that may be seen.
    """
    if not 0 < given < len(rows_TC):
        raise DatasetError(
            f"A free run over {len(rows_TC)} rows cannot start from {given} given rows. "
            "Give at least one and fewer than the campaign has."
        )
    seen = rows_TC[max(0, given - history) : given]
    lead = np.full((max(0, history - len(seen)), rows_TC.shape[1]), np.nan)
    inputs = carried(rows_TC[None])[0][given:]
    window = np.concatenate([lead, seen])
    ahead = forecaster(window[None], inputs[None][..., list(columns.mv)], inputs[None][..., list(columns.dv)])
    return np.asarray(ahead[0])


def rows_given(first_stamps: Array, start: float, step: float) -> int:
    """Whole grid rows that end no later than the last of the given stamps [s]."""
    return int(np.floor((first_stamps[-1] - start) / step + 1e-9))


def at_stamps(cells_T: Array, start: float, step: float, stamps_N: Array) -> Array:
    """Cell averages [T] as values at stamps [N]: linear between the cells' centres, held beyond the last one.

    Args:
        start: Of cell 0 [s].
        step: Width of a cell [s].
        stamps_N: [s], same clock as `start`.
    """
    centres = start + (np.arange(len(cells_T)) + 0.5) * step
    good = np.isfinite(cells_T)
    if not good.any():
        raise DatasetError("No cell holds a number, so nothing stands at the stamps. Give cells with good samples.")
    return np.asarray(np.interp(stamps_N, centres[good], cells_T[good]))


def judge_free_run(
    forecaster: Forecaster,
    dataset: Dataset,
    plant: Plant,
    stretch: Stretch,
    raw: RawSamples,
    cv: str,
    *,
    history: int,
    given: int = GIVEN,
) -> FreeRun:
    """Free run over a campaign from its first `given` good samples, compared on the raw stamps of all later ones.

    Args:
        stretch: The campaign.
        raw: Samples of the CV; those outside the campaign are passed over.
        history: Rows that the forecaster asks for.
        given: Samples that may be seen.

    Raises:
        DatasetError: The campaign is too short, or the given samples fill no row.
    """
    columns, step = Columns.of(plant), dataset.step
    rows_TC, first = dataset.values[stretch.start : stretch.stop], dataset.times()[stretch.start]
    clock = (raw.time - first) / np.timedelta64(1, "s")
    inside = raw.good & (clock >= 0) & (clock < len(rows_TC) * step)
    stamps, recorded = clock[inside], raw.value[inside]
    if len(stamps) <= given:
        raise DatasetError(
            f"Campaign {stretch.name!r} has {len(stamps)} good samples of {cv!r}; more than the {given} given ones are "
            "needed. Name a longer campaign under split.test in the plant file."
        )
    seen = rows_given(stamps[:given], 0.0, step)
    at = plant.cvs.index(cv)
    predicted = free_run(forecaster, columns, rows_TC, given=seen, history=history)[:, at]
    # The last cells seen join on, so that stamps between two cells' centres are interpolated there too.
    known = carried(rows_TC[None, :seen])[0][:, columns.cv[at]]
    return FreeRun(
        campaign=stretch.name,
        cv=cv,
        unit=plant.tags[cv].unit,
        times=stamps[given:] - stamps[0],
        recorded=recorded[given:],
        predicted=at_stamps(np.concatenate([known, predicted]), 0.0, step, stamps[given:]),
        given=given,
    )
