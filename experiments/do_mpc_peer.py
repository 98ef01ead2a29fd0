"""A tick's problem as do-mpc takes it, number for number, and its answer; do-mpc runs in an environment of its own.

Shapes: N rows, M blocks, U MVs, Y CVs, V DVs, R soft limits, Q segments.

do-mpc has one input per stage, no blocks and no slacks per segment. Both can be had as states: the increment that a
block makes in each of its rows, and the slack of a segment, are inputs where block and segment begin, and are carried
from row to row. What a stage may not decide is bounded to zero there, which IPOPT takes out of the program. do-mpc
looks at CVs at the beginning of a stage, so it gets one stage more than there are rows. The program has the same
unknowns, costs and limits as ours, and the same optimum.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from experiments.worker import Worker
from procmodel.control.export import read_out_function, step_function
from procmodel.control.limits import SLACK_CURVATURE, WEIGHT
from procmodel.control.problem import Problem

HOME = Path("runs/do_mpc")
WANTED = ("do-mpc==5.1.2", "casadi==3.8.2")


def planned(problem: Problem, start_MU: np.ndarray, ipopt: dict[str, Any], home: Path) -> dict[str, Any]:
    """do-mpc's answer from given changes [spans]: `changes` [M, U], `trace` of (CPU seconds, changes), and so on."""
    home.mkdir(parents=True, exist_ok=True)
    model = problem.forecaster.model
    files = {name: str((home / f"{name}.casadi").absolute()) for name in ("step", "read_out")}
    step_function(model).save(files["step"])
    read_out_function(model).save(files["read_out"])
    asked = {"files": files, "ipopt": ipopt, "start": start_MU.tolist(), **numbers(problem)}
    with Worker("do_mpc_worker.py", HOME, WANTED) as worker:
        return worker.ask(do="plan", **asked)


def numbers(problem: Problem) -> dict[str, Any]:
    """The tick in plain lists.

    Raises:
        ValueError: It has what do-mpc's worker was not told how to say.
    """
    cost, bounds, limits, now = problem.cost, problem.bounds, problem.limits, problem.now
    fc, hz = problem.forecaster, problem.forecaster.horizon
    extras = (cost.economic is not None, bool(fc.heads), hz.interval != 1)
    if any(extras) or np.isfinite(cost.rest_U).any() or np.isfinite(cost.end_Y).any():
        raise ValueError("do-mpc's worker knows setpoints, limits and moves in each row, and nothing else.")
    block_N, rows = hz.block_of_row, np.arange(hz.steps)
    begins_N = np.array([0, *hz.ends[:-1]])[block_N]
    segment_N = limits.segment_N
    begins_segment_N = np.concatenate([[True], np.diff(segment_N) > 0])
    scaler, columns = fc.scaler, fc.columns
    targets = np.flatnonzero(np.isfinite(problem.setpoint_Y))
    slope_R = np.array([limit.sign / limit.scale for limit in limits.limits])
    at_NR = np.stack([limit.backoff_N - limit.sign * limit.at for limit in limits.limits], axis=1)
    found = {
        "latent": now.latent_D.numpy(),
        "start_u": now.start_U,
        "span_u": cost.span_U,
        "scale_u": np.stack([scaler.centre[list(columns.mv)], scaler.spread[list(columns.mv)]]),
        "scale_y": np.stack([scaler.centre[list(columns.cv)], scaler.spread[list(columns.cv)]]),
        "d": scaler.scale(now.dv_NV, columns.dv),
        "bias": now.bias_NY,
        "begins": (rows == begins_N).astype(float),
        "holds": ((rows > begins_N)[:, None] & (rows[:, None] < begins_N[:, None] + hz.moves_MU[block_N])).astype(
            float
        ),
        "moves": hz.moves_MU,
        "least": bounds.down_MU / cost.span_U / hz.moves_MU,
        "most": bounds.up_MU / cost.span_U / hz.moves_MU,
        "ends": np.array(hz.ends),
        "low": bounds.low_NU[np.array(hz.ends) - 1],
        "high": bounds.high_NU[np.array(hz.ends) - 1],
        "segment_begins": begins_segment_N.astype(float),
        "segment_weight": WEIGHT * limits.advices_Q[segment_N] * begins_segment_N,
        "slack_curvature": SLACK_CURVATURE,
        "limit_column": np.array([limit.column for limit in limits.limits]),
        "limit_slope": slope_R,
        "limit_at": at_NR / np.array([limit.scale for limit in limits.limits]),
        "targets": targets,
        "setpoint": problem.setpoint_Y[targets],
        "weight": (cost.weight_Y / cost.span_Y**2)[targets],
        "move_weight": cost.move_weight,
    }
    return {name: np.asarray(value).tolist() for name, value in found.items()}
