"""Models that judge advice and had no part in making it: other methods, other rows.

Advice that is judged by the model that made it looks good by construction. Here a linear state from rows that the
advising model has not learned from, which is consistent under feedback, and N4SID from the rows that it has, each
fitted twice on alternate pieces of them, so that the results also show how much a fit depends on its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch

from procmodel.control.bias import filled
from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.split import Parts
from procmodel.data.window import Columns, Scaler
from procmodel.data.windows import scaled_runs
from procmodel.errors import DatasetError
from procmodel.evaluation.baselines import LinearForecast
from procmodel.evaluation.linear_peers import LinearWorld
from procmodel.evaluation.open_loop import open_loop
from procmodel.evaluation.replay import Answer
from procmodel.plant import Plant
from procmodel.world_model.linear import LinearState, fit_linear_state
from procmodel.world_model.n4sid import fit_n4sid
from procmodel.world_model.protocol import WorldModel

Array = np.ndarray
METHODS = ("state space", "N4SID")
USELESS = 1.5
"""Free-running error at the horizon's end, over the CV's spread, from which on an evaluator is not asked [-]."""
_PIECE = 8  # windows that a piece of a stretch has to hold at least


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """A model that judges.

    Attributes:
        name: Method and rows, for people.
        method: One of `METHODS`.
        error: Free-running error at the horizon's end on rows that it was not fitted on, over the CVs' spread, mean
            over the CVs [-].
    """

    name: str
    method: str
    model: WorldModel
    scaler: Scaler
    error: float

    def follow(self, columns: Columns, before_RC: Array) -> Answer:
        """The recorded CVs and what the model makes of the difference in moves (`replay.py`)."""
        model, scaler = self.model, self.scaler
        with torch.no_grad():
            z_BD = model.encode(scaler.window(filled(before_RC)[-model.rows :])).repeat(2, 1)

        def row(recorded_C: Array, held_U: Array) -> Array:
            nonlocal z_BD  # under the recorded moves, and under the others
            u_BU = np.stack([recorded_C[list(columns.mv)], held_U])
            d_BV = np.repeat(recorded_C[None, list(columns.dv)], 2, axis=0)
            with torch.no_grad():
                u, d = (torch.as_tensor(scaler.scale(v, at)) for v, at in ((u_BU, columns.mv), (d_BV, columns.dv)))
                z_BD = model.step(z_BD, u, d)
                y_BY = scaler.unscale(model.read_out(z_BD).numpy(), columns.cv)
            out = recorded_C.copy()
            out[list(columns.mv)] = held_U
            out[list(columns.cv)] += y_BY[1] - y_BY[0]
            return out

        return row


def evaluators(
    dataset: Dataset, plant: Plant, parts: Parts, scaler: Scaler, *, rows: int, horizon: int
) -> tuple[list[Evaluator], list[str]]:
    """The evaluators that the record can carry, and why others are left out.

    Args:
        parts: Of the advising model's training.
        scaler: Any that fits the plant.
        rows: Of history that an evaluator reads.
        horizon: Rows over which it is asked to judge.
    """
    columns = Columns.of(plant)
    unseen = tuple(sorted(parts.validation + parts.test, key=lambda s: s.start))
    found: list[Evaluator] = []
    left_out: list[str] = []
    for method, stretches, where in (
        (METHODS[0], unseen, "rows kept back"),
        (METHODS[1], parts.train, "training rows"),
    ):
        for half, (fitted, judged) in enumerate(_halves(stretches, _PIECE * rows), 1):
            name = f"{method} on half {half} of the {where}"
            try:
                state = _fit(method, dataset, columns, scaler, fitted, rows)
                forecast = LinearForecast(state=state, scaler=scaler, columns=columns)
                error = _error(forecast, dataset, plant, judged or parts.validation, rows, horizon)
            except DatasetError as why:
                left_out.append(f"{name}: {why}")
                continue
            if not error < USELESS:
                left_out.append(f"{name}: its free run misses by {error:.2g} spreads after {horizon} rows")
                continue
            model = LinearWorld(state, columns)
            found.append(Evaluator(name=name, method=method, model=model, scaler=scaler, error=error))
    return found, left_out


def _halves(stretches: Sequence[Stretch], least: int) -> list[tuple[tuple[Stretch, ...], tuple[Stretch, ...]]]:
    """(fitted, judged) twice: alternate pieces of the stretches; a record too short for that in one, fitted whole."""
    pieces: list[Stretch] = []
    for stretch in stretches:
        count = max(1, min(6, stretch.rows // least))
        edges = np.linspace(stretch.start, stretch.stop, count + 1).astype(int).tolist()
        pieces += [replace(stretch, start=a, stop=b, began=None) for a, b in pairwise(edges)]
    odd, even = tuple(pieces[::2]), tuple(pieces[1::2])
    return [(odd, even), (even, odd)] if even else [(odd, ())]


def _fit(
    method: str, dataset: Dataset, columns: Columns, scaler: Scaler, stretches: Sequence[Stretch], rows: int
) -> LinearState:
    runs = scaled_runs(dataset, scaler, columns, stretches)
    lags = rows - 1
    if method == METHODS[1]:
        return fit_n4sid(runs, lags, blocks=min(15, max(2, rows)))
    return fit_linear_state(runs, lags, min(4 * len(columns.cv), 12, lags * len(columns.cv)))


def _error(
    forecast: LinearForecast, dataset: Dataset, plant: Plant, judged: Sequence[Stretch], rows: int, horizon: int
) -> float:
    result = open_loop(dataset, plant, {"evaluator": forecast}, judged, history=rows, ahead=horizon, starts=100)
    return float(np.nanmean(result.rms["evaluator"][-1] / result.spread))
