"""Why a plan is as it is: what stands in the way of a limit, and what its cost is made of.

Shapes: N rows of the horizon, U MVs, P = M * U blocked changes (index block * U + MV), Y CVs. Engineering units.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from procmodel.control.limits import TOLERANCE
from procmodel.control.objective import END_WEIGHT, REST_WEIGHT
from procmodel.control.plan import GiveUp
from procmodel.control.problem import Problem, Trial
from procmodel.control.sensitivities import Sensitivity
from procmodel.control.soft_limit import SoftLimit
from procmodel.plant import Plant

# An MV that could do less than this share of what the strongest one could is not named.
_WORTH_NAMING = 0.05


def with_reasons(
    give_ups: tuple[GiveUp, ...], plant: Plant, problem: Problem, trial: Trial, sensitivity: Sensitivity | None
) -> tuple[GiveUp, ...]:
    """Each limit that is given up, with what stands in the way; without derivatives nobody knows."""
    if sensitivity is None or not give_ups:
        return give_ups
    by_name = {(limit.tag, limit.side): r for r, limit in enumerate(problem.limits.limits)}
    gradient_NRP = problem.limits.gradient(trial.forecast, sensitivity)
    found = []
    for given in give_ups:
        r = by_name[given.tag, given.side]
        words = _in_the_way(plant, problem, trial, gradient_NRP[:, r], int(trial.excess_KNR[0, :, r].argmax()))
        found.append(replace(given, because=words or _others(problem.limits.limits, given, give_ups)))
    return tuple(found)


def _in_the_way(plant: Plant, problem: Problem, trial: Trial, gradient_NP: np.ndarray, worst: int) -> str:
    """MVs that would help at the worst row and cannot, the strongest first."""
    mvs = len(plant.mvs)
    push_MU = gradient_NP[worst].reshape(-1, mvs)
    help_U = -push_MU.sum(axis=0)  # which way each MV would have to go
    worth_U = np.abs(help_U) * problem.cost.span_U
    words = []
    for u in np.argsort(-worth_U):
        if worth_U[u] <= _WORTH_NAMING * worth_U.max() or worth_U[u] == 0.0:
            break
        if spent := _spent(plant, problem, trial, int(u), worst, up=bool(help_U[u] > 0)):
            words.append(spent)
    return " and ".join(words)


def _spent(plant: Plant, problem: Problem, trial: Trial, u: int, worst: int, *, up: bool) -> str:
    """Why an MV can go no further one way, in words; "" where it can."""
    name, bounds = plant.mvs[u], problem.bounds
    unit, near = plant.tags[name].unit, TOLERANCE * float(problem.cost.span_U[u])
    moves_N = trial.forecast.moves_KNU[0, :, u]
    least, most = -bounds.down_MU[0, u], bounds.up_MU[0, u]
    if most == 0.0 == least:
        return f"{name} is not to be moved"
    edge_N = bounds.high_NU[:, u] if up else bounds.low_NU[:, u]
    if abs(moves_N[worst] - edge_N[worst]) <= near:
        return f"{name} is at its {'high' if up else 'low'} limit {edge_N[worst]:.4g} {unit}"
    change, largest = moves_N[0] - bounds.start_U[u], most if up else least
    if (change if up else -change) >= largest - near:
        per = "an advice" if problem.forecaster.horizon.interval > 1 else "a row"
        return f"{name} is at its largest move {largest:.4g} {unit} {per}"
    return ""


def _others(limits: tuple[SoftLimit, ...], given: GiveUp, give_ups: tuple[GiveUp, ...]) -> str:
    above = [f"{o.tag} {o.side} {o.at:g} (rank {o.rank})" for o in limits if o.rank < given.rank]
    if above:
        return f"{' and '.join(above[:2])} counts more"
    if len(give_ups) > 1:
        return "it and the others of its rank cannot all be kept"
    return "no move reaches it soon enough"


def cost_shares(plant: Plant, problem: Problem, trial: Trial) -> dict[str, float]:
    """What the plan's cost is made of, per advice in the objective's own unit; the parts add up to the whole."""
    cost, now = problem.cost, problem.now
    y_NY, u_NU = trial.forecast.y_KNY[0], trial.forecast.moves_KNU[0]
    parts: dict[str, float] = {}
    interval = cost.horizon.interval
    off_Y = np.nansum(cost.weight_Y * ((y_NY - problem.setpoint_Y) / cost.span_Y) ** 2, axis=0) / interval
    rest_U = REST_WEIGHT * np.nansum(((u_NU - cost.rest_U) / cost.span_U) ** 2, axis=0) / interval
    end_Y = END_WEIGHT * np.nan_to_num(((y_NY[-1] - cost.end_Y) / cost.span_Y) ** 2)
    at_ticks = u_NU[cost.horizon.ticks]
    steps = np.diff(np.concatenate([problem.bounds.start_U[None], at_ticks]), axis=0)
    moved_U = cost.move_weight * np.sum((steps / cost.span_U) ** 2, axis=0)
    for y, name in enumerate(plant.cvs):
        parts[f"{name} off its setpoint"] = float(off_Y[y])
        parts[f"{name} off the end of the slow layer"] = float(end_Y[y])
    for u, name in enumerate(plant.mvs):
        parts[f"{name} moved"] = float(moved_U[u])
        parts[f"{name} off its resting value"] = float(rest_U[u])
    if cost.economic:
        paid = cost.economic.value(y_NY, u_NU, now.dv_NV).sum() / cost.size / interval
        parts["objective"] = float(paid)
    return {name: cost.per_advice(part) for name, part in parts.items() if part != 0.0}
