"""A reference plant under its operator: what truly happened, and what its instruments showed.

Shapes: T rows, C tags, U MVs, V DVs, W unmeasured disturbances, Y CVs, X states, G constraint heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from procmodel.errors import InputError
from procmodel.simulation.reference import ReferencePlant
from procmodel.simulation.simulator import Simulator

CLOCK_CHANGE = datetime(2025, 10, 26, 1, tzinfo=UTC)  # 03:00 CEST becomes 02:00 CET in Zurich


@dataclass(frozen=True, kw_only=True, eq=False)
class OperatedRun:
    """A run under the operator. Row t covers `[start + t * step, start + (t + 1) * step)`.

    Attributes:
        rows: [T, C] what the instruments showed, averages over each row with noise, no historian in between.
        x: [T, X] true state at the end of each row; x_before [X] at the start of the first.
        y: [T, Y] true CVs, averages over each row.
        margins: [T, G] true constraint margins at the end of each row.
        u, setpoints: [T, U], [T, Y] held MVs, and what was asked for (NaN where nothing was).
        d, w: [T, V], [T, W] true disturbances.
        start: Of row 0, aware, UTC.
        step: Grid step [s].
    """

    rows: np.ndarray
    x: np.ndarray
    x_before: np.ndarray
    y: np.ndarray
    margins: np.ndarray
    u: np.ndarray
    setpoints: np.ndarray
    d: np.ndarray
    w: np.ndarray
    start: datetime
    step: float


def record_start(rows: int, step: float) -> datetime:
    """Start of a run that meets the clock change of autumn 2025 after three days, or 40 % of its length if less."""
    before = min(3 * 86400.0, 0.4 * rows * step)
    unit = 3600.0 if before >= 7200.0 else step
    return CLOCK_CHANGE - timedelta(seconds=round(before / unit) * unit)


def operate(reference: ReferencePlant, *, rows: int, seed: int, noise: bool = True) -> OperatedRun:
    """Let the operator run the plant from its published steady state; the same seed gives the same run.

    Raises:
        InputError: No rows were asked for.
    """
    if rows < 1:
        raise InputError(f"A run of {rows} rows was asked of {reference.name!r}; at least 1 is needed.")
    surroundings = reference.disturbances(rows, seed)
    setpoints = reference.setpoints(rows, seed)
    operator = reference.operator(seed)
    simulator = Simulator(reference, seed=seed, noise=noise)
    x_before = simulator.state
    d_list, w_list = surroundings.d.tolist(), surroundings.w.tolist()
    row = simulator.look(d_list[0], w_list[0]).row
    readings = []
    for t in range(rows):
        reading = simulator.tick(operator.act(row, setpoints[t]), d_list[t], w_list[t])
        row = reading.row
        readings.append(reading)
    return OperatedRun(
        rows=np.stack([reading.row for reading in readings]),
        x=np.stack([reading.x for reading in readings]),
        x_before=x_before,
        y=np.stack([reading.y for reading in readings]),
        margins=np.stack([reading.margins for reading in readings]),
        u=np.stack([reading.u for reading in readings]),
        setpoints=setpoints,
        d=surroundings.d,
        w=surroundings.w,
        start=record_start(rows, reference.plant.sample_time),
        step=reference.plant.sample_time,
    )
