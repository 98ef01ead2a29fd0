"""Open loop: how far a forecast strays from what was measured when it runs free over the recorded inputs.

One encoding, then no correction: an error after 30 rows is the error of the 30th free row, never of 30 one-row steps.

Shapes: T rows, S starts, L rows of history, C tags, H rows ahead, U MVs, V DVs, Y CVs. Engineering units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.window import Columns
from procmodel.errors import DatasetError
from procmodel.evaluation.baselines import Forecaster
from procmodel.evaluation.plain import plain
from procmodel.metrics import rmse
from procmodel.plant import Plant

Array = np.ndarray
STEPS = (1, 30, 120)
BAND = (0.05, 0.95)
"""Quantiles of the error that the forecast band spans."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenLoop:
    """Free-running errors of several forecasters over the same starts.

    Attributes:
        cvs, units: Names and units, [Y].
        step: Grid step [s].
        spread: Standard deviation of what was measured in the rows judged, [Y].
        rms: Root mean square error of each row ahead by forecaster, [H, Y]; NaN where nothing good was measured.
        band: Quantiles `BAND` of measured minus forecast of the first forecaster, [2, H, Y].
        starts: Row after the last one that a forecast has seen, [S].
        before: [K, L, Y] measured history of the K examples; NaN in gaps.
        measured, forecast: [K, H, Y] of the examples, by the first forecaster.
    """

    cvs: tuple[str, ...]
    units: tuple[str, ...]
    step: float
    spread: Array
    rms: dict[str, Array]
    band: Array
    starts: Array
    before: Array
    measured: Array
    forecast: Array

    @property
    def rows(self) -> int:
        """H."""
        return int(self.band.shape[1])

    def to_dict(self, steps: Sequence[int] = STEPS) -> dict[str, Any]:
        """Per CV and forecaster: error after so many rows [unit of the CV], and divided by the CV's spread."""
        return {
            cv: {
                "unit": unit,
                "std": float(self.spread[i]),
                "starts": len(self.starts),
                **{
                    name: {
                        str(k): {"error": plain(rms[k - 1, i]), "over_std": plain(rms[k - 1, i] / self.spread[i])}
                        for k in steps
                        if k <= self.rows
                    }
                    for name, rms in self.rms.items()
                },
            }
            for i, (cv, unit) in enumerate(zip(self.cvs, self.units, strict=True))
        }


def starts_in(values_TC: Array, inputs: Sequence[int], stretches: Sequence[Stretch], history: int, ahead: int) -> Array:
    """Rows at which a forecast may start: its history and its future lie in one stretch, no input ahead is missing.

    Args:
        values_TC: NaN in gaps.
        inputs: Columns of MVs and DVs.
        stretches: What may be used.
        history, ahead: L, H.
    """
    missing = np.concatenate([[0], np.cumsum(~np.isfinite(values_TC[:, list(inputs)]).all(axis=1))])
    found = []
    for stretch in stretches:
        at = np.arange(stretch.start + history, stretch.stop - ahead + 1)
        found.append(at[missing[at + ahead] == missing[at]])
    return np.concatenate([np.empty(0, dtype=int), *found])


def open_loop(
    dataset: Dataset,
    plant: Plant,
    forecasters: Mapping[str, Forecaster],
    stretches: Sequence[Stretch],
    *,
    history: int,
    ahead: int = max(STEPS),
    starts: int = 400,
    examples: int = 3,
    batch: int = 256,
) -> OpenLoop:
    """Run every forecaster free from the same evenly spaced starts.

    Args:
        dataset, plant: What was recorded, and of what.
        forecasters: By name; the first one gives the band and the examples.
        stretches: Rows held back for the test; nothing outside is read.
        history: Rows that a forecaster sees.
        ahead: Rows of a free run.
        starts: At most so many.

    Raises:
        DatasetError: No start has its whole future within the stretches without a missing input.
    """
    columns = Columns.of(plant)
    values, cv = dataset.values, list(columns.cv)
    possible = starts_in(values, [*columns.mv, *columns.dv], stretches, history, ahead)
    if not possible.size:
        rows = sum(s.stop - s.start for s in stretches)
        raise DatasetError(
            f"The {rows} test rows of {plant.name!r} hold no {history + ahead} rows in one stretch without a gap in "
            "the MVs and DVs ahead. Hold back more rows (split.test in the plant file) or judge fewer rows ahead."
        )
    chosen = possible[np.unique(np.linspace(0, len(possible) - 1, min(starts, len(possible))).round().astype(int))]
    future = chosen[:, None] + np.arange(ahead)
    measured = values[future][..., cv]
    forecasts = {
        name: _in_batches(f, values, columns, chosen, history, ahead, batch) for name, f in forecasters.items()
    }
    errors = measured - next(iter(forecasts.values()))
    show = _telling(measured, examples)
    judged = np.concatenate([values[s.start : s.stop, cv] for s in stretches])
    return OpenLoop(
        cvs=tuple(plant.cvs),
        units=tuple(plant.tags[name].unit for name in plant.cvs),
        step=dataset.step,
        spread=_spread(judged),
        rms={name: rmse(forecast, measured) for name, forecast in forecasts.items()},
        band=_quantiles(errors),
        starts=chosen,
        before=values[chosen[show][:, None] - history + np.arange(history)][..., cv],
        measured=measured[show],
        forecast=next(iter(forecasts.values()))[show],
    )


def _in_batches(
    forecaster: Forecaster, values: Array, columns: Columns, starts: Array, history: int, ahead: int, batch: int
) -> Array:
    parts = []
    for at in np.array_split(starts, range(batch, len(starts), batch)):
        rows = values[at[:, None] - history + np.arange(history)]
        future = values[at[:, None] + np.arange(ahead)]
        parts.append(forecaster(rows, future[..., list(columns.mv)], future[..., list(columns.dv)]))
    return np.concatenate(parts)


def _quantiles(errors_SHY: Array) -> Array:
    """[2, H, Y]; NaN where nothing was measured."""
    out = np.full((2, *errors_SHY.shape[1:]), np.nan)
    some = np.isfinite(errors_SHY).any(axis=0)
    out[:, some] = np.nanquantile(errors_SHY[:, some], BAND, axis=0)
    return out


def _spread(values_TY: Array) -> Array:
    """Standard deviation of the good rows, [Y]; 1 for a CV that never moved or was never seen."""
    spread = [np.std(v[np.isfinite(v)]) if np.isfinite(v).any() else 0.0 for v in values_TY.T]
    return np.array([s if s > 0 else 1.0 for s in spread])


def _telling(measured_SHY: Array, count: int) -> Array:
    """Starts to show: of `count` parts of the test, the one in each whose CVs move most; whole ones go first."""
    scale = _spread(measured_SHY.reshape(-1, measured_SHY.shape[-1]))
    whole = np.isfinite(measured_SHY).all(axis=(1, 2))
    filled = np.where(np.isfinite(measured_SHY), measured_SHY, 0.0)
    travel = np.where(whole, (np.abs(filled[:, -1] - filled[:, 0]) / scale).sum(axis=1), -1.0)
    parts = np.array_split(np.arange(len(travel)), min(count, len(travel)))
    return np.array([part[np.argmax(travel[part])] for part in parts])
