"""Interventions: random steps of the MVs on a reference plant whose unmeasured disturbances are off.

In a record, moves answer the plant, and a model may take what they answer for what they do. Here they answer nothing,
so what a free run misses is the model's own. The plant's operator runs it between the interventions, so that
integrating and narrow plants stay where they are run.

Shapes: S starts, L rows of history, C tags, H rows ahead, U MVs, V DVs, Y CVs. Engineering units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from procmodel.data.window import Columns
from procmodel.evaluation.baselines import Forecaster
from procmodel.evaluation.step_response import FRACTIONS, step_sizes
from procmodel.simulation import ReferencePlant, Simulator

Array = np.ndarray
LARGEST = max(FRACTIONS)
"""Largest distance of an MV from where it began, as a share of its travel [-]."""
HOLD = (10, 60)
"""Rows that a level holds."""
REST = 200
"""Rows under the operator before each intervention, at least the history."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Interventions:
    """What was seen before, what was then held, and what the CVs truly did.

    Attributes:
        rows_SLC: As the instruments showed it, noise included.
        u_SHU, d_SHV: Held in the rows ahead.
        y_SHY: True CVs, without noise.
        spread_Y: Standard deviation of the true CVs over all rows, by which errors are divided.
    """

    rows_SLC: Array
    u_SHU: Array
    d_SHV: Array
    y_SHY: Array
    spread_Y: Array

    def error(self, forecaster: Forecaster, after: int | None = None) -> Array:
        """Root mean square error of the row so many rows ahead (None: the last one), over the CV's spread, [Y]."""
        miss_SY = (forecaster(self.rows_SLC, self.u_SHU, self.d_SHV) - self.y_SHY)[:, (after or 0) - 1]
        return np.asarray(np.sqrt((miss_SY**2).mean(axis=0)) / self.spread_Y)


def intervene(reference: ReferencePlant, *, seed: int, starts: int, history: int, ahead: int) -> Interventions:
    """Run the plant with its operator and let somebody step the MVs at random now and then."""
    plant, rest = reference.plant, max(REST, history)
    columns, count = Columns.of(plant), starts * (rest + ahead)
    weather, setpoints = reference.disturbances(count, seed), reference.setpoints(count, seed)
    simulator, rng = Simulator(reference, seed=seed), np.random.default_rng(seed)
    w = np.asarray(reference.w0, dtype=float)
    row = simulator.look(weather.d[0], w).row
    rows, y, u = (
        np.empty((count, columns.count)),
        np.empty((count, len(columns.cv))),
        np.empty((count, len(columns.mv))),
    )
    for start in range(starts):
        first = start * (rest + ahead)
        operator = reference.operator(seed + start)  # takes over from what it finds
        moves = None
        for t in range(first, first + rest + ahead):
            if t < first + rest:
                asked = operator.act(row, setpoints[t])
            else:
                moves = _moves(reference, simulator.held, ahead, rng) if moves is None else moves
                asked = moves[t - first - rest]
            reading = simulator.tick(asked, weather.d[t], w)
            row = rows[t] = reading.row
            y[t], u[t] = reading.y, reading.u
    begins = np.arange(starts) * (rest + ahead) + rest
    before, then = begins[:, None] - np.arange(history, 0, -1), begins[:, None] + np.arange(ahead)
    return Interventions(
        rows_SLC=rows[before], u_SHU=u[then], d_SHV=weather.d[then], y_SHY=y[then], spread_Y=y.std(axis=0)
    )


def _moves(reference: ReferencePlant, held: Array, ahead: int, rng: np.random.Generator) -> Array:
    """Random levels about the present one, each MV on its own, [H, U]; those beyond a limit are mirrored."""
    plant = reference.plant
    spread = np.ones(len(plant.columns))
    size_U = np.abs(step_sizes(plant, held[None], spread)[FRACTIONS.index(LARGEST), 0])
    out = np.empty((ahead, len(held)))
    for u, name in enumerate(plant.mvs):
        limits, at = plant.tags[name].limits, 0
        low = limits.low.at if limits.low else -np.inf
        high = limits.high.at if limits.high else np.inf
        while at < ahead:
            size = rng.uniform(-1.0, 1.0) * size_U[u]
            size = -size if not low <= held[u] + size <= high else size
            until = at + int(rng.integers(*HOLD))
            out[at:until, u], at = held[u] + size, until
    return out
