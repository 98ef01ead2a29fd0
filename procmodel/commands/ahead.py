"""What a plan reckons with on its way, in words: limits that move, announced disturbances, and what moves do when.

Shapes: R rows of history, C columns, H rows ahead, V DVs, Y CVs, U MVs. Engineering units.
"""

from __future__ import annotations

import numpy as np

from procmodel.commands.judge import forecaster_of
from procmodel.control.bias import filled
from procmodel.control.plan import Plan
from procmodel.control.requests import Orders
from procmodel.data.window import Columns
from procmodel.evaluation.step_response import model_response
from procmodel.plant import Plant
from procmodel.plant.changes import changed_plant
from procmodel.plant.words import lasting
from procmodel.training.artifact import Artifact

# Changes of a DV that are told one by one, and moments at which answers to a step are told.
_CHANGES, _MOMENTS = 3, 4


def moving_limits(plant: Plant, plan: Plan, orders: Orders) -> list[str]:
    """Limits in a funnel or on a ramp: where they stand, and when they will be where."""
    lines = []
    wanted = changed_plant(plant, limits=orders.limits)
    for (name, side), at in plan.limits.items():
        tag = wanted.tags.get(name)
        if tag is None:
            continue
        limit = tag.limits.low if side == "low" else tag.limits.high
        if tag.ramp is not None and limit is not None and abs(limit.at - at) > 1e-9 * max(1.0, abs(at)):
            there = lasting(60.0 * abs(limit.at - at) / tag.ramp)
            lines.append(
                f"limit {name} {side} stands at {at:.4g} {tag.unit} on its way to {limit.at:.4g}, by {tag.ramp:.4g} "
                f"{tag.unit}/min: there in {there}"
            )
        if (open_H := plan.funnels.get((name, side))) is not None:
            first = at + float(open_H[0]) * (1.0 if side == "high" else -1.0)
            closed = np.flatnonzero(open_H == 0.0)
            end = f"closed after {lasting((closed[0] + 1) * plant.sample_time)}" if len(closed) else "open to the end"
            lines.append(
                f"limit {name} {side} {at:.4g} {tag.unit} is in its funnel: {first:.4g} after "
                f"{lasting(plant.sample_time)}, {end}"
            )
    return lines


def announced_changes(plant: Plant, rows_RC: np.ndarray, orders: Orders) -> list[str]:
    """DVs of which it is known what will come: which, when, and to what."""
    courses = {"is announced to go": orders.future_dv_HV}
    courses |= {f"may go ({name})": course for name, course in orders.futures.items()}
    newest_V = filled(rows_RC)[-1][list(Columns.of(plant).dv)]
    lines = []
    for words, future_HV in courses.items():
        if future_HV is None:
            continue
        ahead_HV = filled(np.concatenate([newest_V[None], np.asarray(future_HV, dtype=float)]))
        for v, name in enumerate(plant.dvs):
            rows = np.flatnonzero(np.diff(ahead_HV[:, v]) != 0.0)
            steps = [
                f"to {ahead_HV[row + 1, v]:.4g} {plant.tags[name].unit} {_when(row * plant.sample_time)}"
                for row in rows[:_CHANGES]
            ]
            more = f" and {len(rows) - _CHANGES} more" if len(rows) > _CHANGES else ""
            if steps:
                lines.append(f"{name} {words} from {newest_V[v]:.4g} {', '.join(steps)}{more}")
    return lines


def step_responses(plant: Plant, artifact: Artifact, rows_RC: np.ndarray, horizon: int) -> list[str]:
    """How each CV answers a held move of each MV by 1, at a few moments of the horizon."""
    response = model_response(
        forecaster_of(artifact, plant), plant, rows_RC[None], artifact.scaler.spread, horizon, "model"
    )
    rows = np.unique(np.geomspace(1, horizon, _MOMENTS).round().astype(int))
    moments = ", ".join(lasting(row * plant.sample_time) for row in rows)
    lines = []
    for y, cv in enumerate(plant.cvs):
        answers = [
            f"{mv} {', '.join(f'{value:+.3g}' for value in response.curves[rows - 1, y, u])}"
            for u, mv in enumerate(plant.mvs)
        ]
        lines.append(f"{cv} [{plant.tags[cv].unit}] after {moments} of a move by 1: {'; '.join(answers)}")
    return lines


def _when(seconds: float) -> str:
    return f"in {lasting(seconds)}" if seconds else "now"
