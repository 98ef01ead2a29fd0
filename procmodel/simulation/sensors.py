"""What each sensor said, scan by scan, while a reference plant was operated.

Shapes: T rows, S scans, C tags, Y CVs. Times are milliseconds from the start of the run, as the historian stamps them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from procmodel.simulation.operation import OperatedRun
from procmodel.simulation.reference import ReferencePlant
from procmodel.simulation.signals import stream


@dataclass(frozen=True, kw_only=True, eq=False)
class Scans:
    """Scans of one tag: `times` [S] in ms from the start of the run, rising; `values` [S] in the tag's unit."""

    times: np.ndarray
    values: np.ndarray


def scans(reference: ReferencePlant, run: OperatedRun, *, seed: int, per_row: int, jitter: float) -> dict[str, Scans]:
    """Irregular scans of every CV and DV, by tag; they average over each row to what the operator saw in `run.rows`.

    Args:
        per_row: Scans per row.
        jitter: Share of the scan interval over which a scan may come early or late, below 1 [-].
    """
    plant = reference.plant
    begin, middle, end = _curves(reference, run)
    found = {}
    for name in plant.columns:
        if name in plant.mvs:
            continue
        rng = stream(seed, "scans", name)
        times, row, share = _times(rng, len(run.rows), run.step, per_row, jitter)
        column = plant.columns.index(name)
        if name in plant.cvs:
            i = plant.cvs.index(name)
            b, m, e = begin[row, i], middle[row, i], end[row, i]
            true = b + share * (4.0 * m - 3.0 * b - e) + share**2 * (2.0 * b - 4.0 * m + 2.0 * e)
            error = run.rows[:, column] - run.y[:, i]
        else:
            i = plant.dvs.index(name)
            true = run.d[row, i]
            error = run.rows[:, column] - run.d[:, i]
        own = reference.noise[column] * np.sqrt(per_row) * rng.standard_normal((len(run.rows), per_row))
        noise = error[:, None] + own - own.mean(axis=1, keepdims=True)
        noise = np.concatenate([noise.ravel(), noise[-1, -1:]])
        found[name] = Scans(times=times, values=true + noise)
    return found


def _times(
    rng: np.random.Generator, rows: int, step: float, per_row: int, jitter: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stamps [S] in ms with the row [S] and the place within it [S]: one at the very start, one 1 ms before the end."""
    count = rows * per_row
    places = (np.arange(count) + 0.5 + jitter * (rng.uniform(size=count) - 0.5)) / per_row
    stamps = np.round(1000.0 * step * places).astype(np.int64)
    stamps[0] = 0
    stamps = np.append(stamps, round(1000.0 * step * rows) - 1)
    row = np.append(np.repeat(np.arange(rows), per_row), rows - 1)
    return stamps, row, stamps / (1000.0 * step) - row


def _curves(reference: ReferencePlant, run: OperatedRun) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True CVs [T, Y] at the begin, middle and end of each row under its inputs; their parabola averages to `y`."""
    states = np.vstack([run.x_before, run.x])

    def outputs(x: np.ndarray) -> np.ndarray:
        by_tag: Sequence[Any] = reference.outputs(x.T, run.u.T, run.d.T, run.w.T, sqrt=np.sqrt)
        return np.stack([np.asarray(values) for values in by_tag], axis=1)

    begin, end = outputs(states[:-1]), outputs(states[1:])
    return begin, (6.0 * run.y - begin - end) / 4.0, end
