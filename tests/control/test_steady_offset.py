"""No steady offset with trust from held-back rows: a wrong gain, a constant disturbance no larger than usual ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from control_fakes import TANKS, LinearModel, make_plant, unit_scaler

from procmodel.control.optimizer import Optimizer
from procmodel.world_model.correction import BiasFilter, Trust, trust_of

A = np.array([[0.9, 0.0], [0.05, 0.85]])
B = np.array([[0.30, 0.12], [0.10, 0.28]])
WRONG = 1.15
SETPOINTS = np.array([12.0, 9.0])
AHEAD = 24
PLANT = make_plant(TANKS, horizon="2 min")


def passing(rows: int, seed: int, noise: float) -> np.ndarray:
    """Unmeasured inflows [T, Y] that are over after a few rows."""
    rng = np.random.default_rng(seed)
    inflow = np.zeros((rows, 2))
    for t in range(1, rows):
        inflow[t] = 0.4 * inflow[t - 1] + noise * rng.normal(size=2)
    return inflow


def calibrated() -> Trust:
    """From a record of random moves, whose forecasts by the wrong model are made by hand."""
    rng, rows = np.random.default_rng(2), 6000
    u = np.repeat(rng.uniform(2.7, 3.3, (rows // 20, 2)), 20, axis=0)
    inflow, h = passing(rows, 3, 0.2), np.zeros((rows, 2))
    h[0] = np.linalg.solve(np.eye(2) - A, B @ [3.0, 3.0])
    for t in range(1, rows):
        h[t] = A @ h[t - 1] + B @ u[t] + inflow[t]
    read = h + rng.normal(0.0, 0.05, h.shape)
    missed, issued = np.zeros((rows - AHEAD, AHEAD, 2)), read[:-AHEAD]
    for k in range(AHEAD):
        ahead = slice(k + 1, rows - AHEAD + k + 1)
        issued = issued @ A.T + WRONG * u[ahead] @ B.T
        missed[:, k] = read[ahead] - issued
    missed -= missed.mean(axis=0)  # the record's own mean is in the trained model
    return trust_of([missed], BiasFilter())


def followed(trust: Trust, inflow: np.ndarray, noise: float, ticks: int = 260) -> np.ndarray:
    """True levels [T, Y] when every plan of the wrong model is followed."""
    plan_of = Optimizer(
        plant=PLANT, model=LinearModel(PLANT, A, WRONG * B), scaler=unit_scaler(PLANT), bias=BiasFilter(trust=trust)
    )
    more = 0 if trust.lasting is None else trust.lasting.memory - 4
    assert plan_of.rows_wanted == plan_of.rows_enough + more == 2 + AHEAD + 3 + more
    rng, u = np.random.default_rng(5), np.array([3.0, 3.0])
    h = np.linalg.solve(np.eye(2) - A, B @ u)
    history, levels = [np.concatenate([u, h])] * plan_of.rows_wanted, []
    plan = None
    for t in range(ticks):
        plan = plan_of.plan(np.array(history), previous=plan)
        u = plan.moves[0]
        h = A @ h + B @ u + inflow[t]
        levels.append(h)
        history = [*history[1:], np.concatenate([u, h + noise * rng.normal(size=2)])]
    return np.array(levels)


@pytest.fixture(scope="module")
def trust() -> Trust:
    return calibrated()


def settled_offset(trust: Trust, share: float, noise: float) -> float:
    """Largest mean distance from a setpoint over the last 60 rows, in usual errors at the end of the horizon."""
    # What a constant inflow adds to an error that far ahead.
    grown = sum(np.linalg.matrix_power(A, k) for k in range(AHEAD))
    inflow = np.linalg.solve(grown, share * trust.usual_HY[-1])
    levels = followed(trust, np.tile(inflow, (260, 1)), noise)
    return float((np.abs(levels[-60:].mean(axis=0) - SETPOINTS) / trust.usual_HY[-1]).max())


@pytest.mark.parametrize(("share", "noise"), [(1.0, 0.0), (1.0, 0.05), (-0.5, 0.05)])
def test_a_wrong_gain_and_a_constant_disturbance_leave_no_offset(trust: Trust, share: float, noise: float) -> None:
    assert settled_offset(trust, share, noise) < 0.05


def test_without_a_long_memory_an_offset_would_stay(trust: Trust) -> None:
    assert settled_offset(replace(trust, lasting=None), -0.5, 0.05) > 0.3
