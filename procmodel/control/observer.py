"""What one model sees at a tick: where the plant is, how wrong the model has been of late, and what may come.

Shapes: R rows of history, C columns in plant order, N rows of the horizon, V DVs. Engineering units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from procmodel.control.bias import filled
from procmodel.control.by_hand import by_hand
from procmodel.control.horizon import Horizon
from procmodel.control.past import PastForecasts
from procmodel.control.sensitivities import Forecaster, Head, Now
from procmodel.control.watch import Watch
from procmodel.data.window import Columns, Scaler
from procmodel.errors import DatasetError
from procmodel.plant import Plant
from procmodel.world_model.correction import BiasFilter, correction
from procmodel.world_model.protocol import WorldModel
from procmodel.world_model.unrest import unrest_of


class Observer:
    """One model's forecaster and its memory of past forecasts."""

    def __init__(self, *, forecaster: Forecaster, past: PastForecasts, bias: BiasFilter) -> None:
        self.forecaster = forecaster
        self._past, self._bias = past, bias

    @classmethod
    def of(
        cls,
        plant: Plant,
        model: WorldModel,
        scaler: Scaler,
        heads: Sequence[Head],
        horizon: Horizon,
        bias: BiasFilter,
    ) -> Self:
        """For a plant."""
        columns = Columns.of(plant)
        forecaster = Forecaster(model=model, scaler=scaler, columns=columns, heads=heads, horizon=horizon)
        past = PastForecasts(
            model=by_hand(model),
            scaler=scaler,
            columns=columns,
            steps=horizon.steps,
            memory=bias.reach,
            most=horizon.interval,
            cell=forecaster.by_hand,
        )
        return cls(forecaster=forecaster, past=past, bias=bias)

    def now(self, rows_RC: np.ndarray, future_dv_HV: np.ndarray | None, watch: Watch) -> Now:
        """Where the plant stands by this model."""
        newest_C = filled(rows_RC)[-1]
        with watch.stage("encode"):
            past = self._past.at(rows_RC)
        with watch.stage("bias"):
            bias_NY = correction(past.errors_NmY, self._bias)
        columns = self.forecaster.columns
        return Now(
            latent_D=past.latent_D,
            start_U=newest_C[list(columns.mv)],
            dv_NV=dvs_ahead(newest_C[list(columns.dv)], future_dv_HV, self.forecaster.horizon.steps),
            bias_NY=bias_NY,
            unrest=unrest_of(past.errors_NmY, self._bias),
        )


def is_sound(now: Now) -> bool:
    """Whether all that a forecast starts from are numbers."""
    return bool(np.isfinite(now.bias_NY).all()) and bool(now.latent_D.isfinite().all())


def dvs_ahead(newest_V: np.ndarray, future_dv_HV: np.ndarray | None, steps: int) -> np.ndarray:
    """DVs over the horizon, [N, V]: announced from the next row on; a NaN, and all beyond, hold the value before."""
    dv_HV = newest_V[None]
    if future_dv_HV is not None:
        dv_HV = np.concatenate([dv_HV, np.asarray(future_dv_HV, dtype=float)])
    return np.asarray(filled(dv_HV)[np.minimum(np.arange(1, steps + 1), len(dv_HV) - 1)])


def history_of(plant: Plant, rows_RC: np.ndarray, least: int, most: int) -> np.ndarray:
    """The newest rows that can be of use, what is no number as NaN.

    Args:
        least, most: Rows that a model reads, and that are of use.

    Raises:
        DatasetError: They have not the plant's columns, or are too few.
    """
    rows_RC, count = np.asarray(rows_RC, dtype=float), len(plant.columns)
    if rows_RC.ndim != 2 or rows_RC.shape[1] != count:
        raise DatasetError(
            f"history: needs rows of {count} columns ({', '.join(plant.columns)}), got shape {rows_RC.shape}. "
            "Hand over the dataset's columns in plant order."
        )
    if len(rows_RC) < least:
        raise DatasetError(
            f"history: the model reads {least} rows, got {len(rows_RC)}. Ask the historian for at least "
            f"{least * plant.sample_time:g} s."
        )
    return np.where(np.isfinite(rows_RC), rows_RC, np.nan)[-most:]


def missing_in(plant: Plant, newest_C: np.ndarray, future_dv_HV: np.ndarray | None) -> str | None:
    """Why the moves cannot start from the newest good values, or None.

    Raises:
        DatasetError: The announced DVs have not the plant's.
    """
    known = dict(zip(plant.columns, np.isfinite(newest_C), strict=True))
    if names := [name for name in (*plant.mvs, *plant.dvs) if not known[name]]:
        return f"{', '.join(names)}: no good sample in the history"
    if future_dv_HV is not None and np.shape(future_dv_HV)[1:] != (len(plant.dvs),):
        raise DatasetError(
            f"future DVs: needs rows of {len(plant.dvs)} columns ({', '.join(plant.dvs) or 'none'}), "
            f"got shape {np.shape(future_dv_HV)}."
        )
    return None
