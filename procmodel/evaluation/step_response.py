"""Step response: what a model says of each MV-CV pair, and what a reference plant truly does.

From several operating points all inputs are held, then one MV is stepped; the difference of the two free runs, per unit
of the step, is the pair's curve. On a reference plant the truth is the same difference of two noise-free simulations
over the same horizon, so that slow and integrating pairs are compared like with like.

Shapes: B operating points, H rows, U MVs, Y CVs, F step sizes, C tags, L rows of history. Engineering units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from procmodel.control.horizon import span
from procmodel.data.window import Columns
from procmodel.errors import DatasetError
from procmodel.evaluation.baselines import Forecaster, last_good
from procmodel.metrics import StepFigures, step_figures
from procmodel.plant import Plant
from procmodel.simulation import OperatedRun, ReferencePlant, Simulator

Array = np.ndarray
FRACTIONS = (-0.1, -0.05, 0.05, 0.1)
"""Sizes of the steps, as shares of the MV's travel [-]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StepResponse:
    """Answers of all CVs to a unit step of each MV.

    Attributes:
        plant: Whose tags these are.
        step: Grid step [s].
        curves: Mean over operating points and step sizes, [H, Y, U] [unit of the CV / unit of the MV].
        by_point: [B, H, Y, U], mean over the step sizes.
        source: Who answers, for people: "model", "truth".
    """

    plant: Plant
    step: float
    curves: Array
    by_point: Array
    source: str

    @property
    def rows(self) -> int:
        """H."""
        return int(self.curves.shape[0])

    @property
    def gain(self) -> Array:
        """Answer at the end of the horizon, [Y, U]; the steady-state gain where the curve has settled."""
        return np.asarray(self.curves[-max(1, self.rows // 20) :].mean(axis=0))

    def figures(self, mv: str, cv: str) -> StepFigures:
        """Gain, dead time, settling time, inverse response of one pair."""
        y, u = self.plant.cvs.index(cv), self.plant.mvs.index(mv)
        return step_figures(self.curves[:, y, u], 1.0, self.step)

    def agreement(self) -> Array:
        """Share of operating points at which the answer's end has the sign of the mean, [Y, U]."""
        ends = self.by_point[:, -1]
        return np.asarray((np.sign(ends) == np.sign(self.gain)).mean(axis=0))


Answer = Callable[[Array], Array]
"""`u_BHU -> y_BHY`: CVs of every operating point under the MVs held ahead."""


def model_response(
    forecaster: Forecaster, plant: Plant, rows_BLC: Array, spread_C: Array, horizon: int, source: str = "model"
) -> StepResponse:
    """Step responses of a forecaster from recorded operating points.

    Args:
        rows_BLC: History at each operating point; DVs and MVs are held at their last good values.
        spread_C: Of each tag; stands in for an MV without limits.
        horizon: H, long enough for the slowest pair to settle.

    Raises:
        DatasetError: No operating point has a good value of every MV and DV.
    """
    columns = Columns.of(plant)
    now = last_good(rows_BLC)
    whole = np.isfinite(now[:, [*columns.mv, *columns.dv]]).all(axis=1)
    if not whole.any():
        raise DatasetError(
            f"None of the {len(rows_BLC)} histories holds a good value of every MV and DV, so no step can start there. "
            "Choose operating points outside outages."
        )
    rows, now = rows_BLC[whole], now[whole]
    d_BHV = np.repeat(now[:, None, list(columns.dv)], horizon, axis=1)
    return _respond(
        plant, lambda u_BHU: forecaster(rows, u_BHU, d_BHV), now[:, list(columns.mv)], spread_C, horizon, source
    )


def true_response(reference: ReferencePlant, points: Sequence[tuple[Array, ...]], horizon: int) -> StepResponse:
    """Step responses of a reference plant, simulated without noise.

    Args:
        points: State x, MVs u and disturbances d, w at each operating point.
    """
    spread = np.ones(len(reference.plant.columns))
    start = np.array([u for _, u, _, _ in points], dtype=float)

    def answer(u_BHU: Array) -> Array:
        return np.array([_simulate(reference, point, u) for point, u in zip(points, u_BHU, strict=True)])

    return _respond(reference.plant, answer, start, spread, horizon, "truth")


def operating_points(run: OperatedRun, history: int, count: int) -> tuple[Array, list[tuple[Array, ...]]]:
    """Evenly spaced moments of a run: their histories [B, L, C], and the truth (x, u, d, w) from which each goes on."""
    ends = np.unique(np.linspace(history, len(run.rows) - 1, count).round().astype(int))
    rows = np.array([run.rows[end - history : end] for end in ends])
    return rows, [(run.x[end - 1], run.u[end - 1], run.d[end - 1], run.w[end - 1]) for end in ends]


def _simulate(reference: ReferencePlant, point: tuple[Array, ...], u_HU: Array) -> Array:
    x, before, d, w = point
    simulator = Simulator(reference, seed=0, noise=False, x0=x, u0=before)
    return np.array([simulator.tick(u, d, w).y for u in u_HU])


def _respond(plant: Plant, answer: Answer, start_BU: Array, spread_C: Array, horizon: int, source: str) -> StepResponse:
    steps = step_sizes(plant, start_BU, spread_C)
    held = np.repeat(start_BU[:, None], horizon, axis=1)
    base = answer(held)
    by_point = np.empty((*base.shape, len(plant.mvs)))
    for u in range(len(plant.mvs)):
        curves = []
        for size_B in steps[:, :, u]:
            moved = held.copy()
            moved[:, :, u] += size_B[:, None]
            curves.append((answer(moved) - base) / size_B[:, None, None])
        by_point[..., u] = np.mean(curves, axis=0)
    return StepResponse(
        plant=plant, step=plant.sample_time, curves=by_point.mean(axis=0), by_point=by_point, source=source
    )


def step_sizes(plant: Plant, start_BU: Array, spread_C: Array) -> Array:
    """Steps of each MV at each operating point, [F, B, U]; one that would leave the hard limits is turned round."""
    columns = Columns.of(plant)
    out = np.empty((len(FRACTIONS), *start_BU.shape))
    for u, name in enumerate(plant.mvs):
        limits = plant.tags[name].limits
        low = limits.low.at if limits.low else -np.inf
        high = limits.high.at if limits.high else np.inf
        travel = high - low
        if not np.isfinite(travel):
            travel = span(plant.tags[name], float(spread_C[columns.mv[u]]))
        for f, fraction in enumerate(FRACTIONS):
            size = np.full(len(start_BU), fraction * travel)
            beyond = (start_BU[:, u] + size > high) | (start_BU[:, u] + size < low)
            out[f, :, u] = np.where(beyond, -size, size)
    return out
