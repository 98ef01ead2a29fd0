"""The quadratic program around a plan, from its forecast and the derivatives.

Shapes: N rows of the horizon, M blocks, U MVs, P = M * U changes [spans of their MV], S = Y + U, R soft limits,
A level rows, Q slacks in use.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from procmodel.control.curvature import model_curvature
from procmodel.control.limits import WEIGHT
from procmodel.control.objective import positive_part
from procmodel.control.problem import Problem, Trial
from procmodel.control.qp import QuadraticProgram, Step
from procmodel.control.sensitivities import Sensitivity

# Keeps the program strictly convex where nothing decides a change; relative to the largest curvature.
REGULARISATION = 1e-9


@dataclass(frozen=True, kw_only=True)
class Subproblem:
    """A program, and what its rows stand for.

    Attributes:
        kept_NR: Soft limits that have a row in the program; the others cannot be reached by any allowed change.
        rank_Q: Rank of the limit that each slack belongs to.
    """

    program: QuadraticProgram
    kept_NR: np.ndarray
    rank_Q: np.ndarray

    def prices(self, step: Step) -> np.ndarray:
        """Multipliers of all soft limits, [N, R]; none is worth more than the penalty it stands for."""
        price_NR = np.zeros(self.kept_NR.shape)
        price_NR[self.kept_NR] = np.minimum(step.price_B, self.program.price_Q[self.program.slack_B])
        return price_NR


def subproblem(problem: Problem, trial: Trial, sensitivity: Sensitivity, price_NR: np.ndarray | None) -> Subproblem:
    """The quadratic program around a plan.

    Args:
        price_NR: Multipliers of the soft limits from the program before; None for zero.
    """
    span_P = problem.per_change(problem.cost.span_U)
    hessian_PP, gradient_P = _cost_model(problem, trial, sensitivity, price_NR)
    changes_MU = trial.changes_KMU[0]
    bounds, span_U = problem.bounds, problem.cost.span_U
    least_P = (bounds.down_MU / span_U - changes_MU).ravel()
    most_P = (bounds.up_MU / span_U - changes_MU).ravel()
    least_P, most_P = np.minimum(least_P, 0.0), np.maximum(most_P, 0.0)  # the plan is inside, but for rounding
    gradient_NRP = problem.limits.gradient(sensitivity) * span_P
    excess_NR = trial.excess_KNR[0]
    # A row that no allowed change can bring to its limit is left out.
    reach_NR = np.maximum(gradient_NRP * least_P, gradient_NRP * most_P).sum(axis=2)
    kept = excess_NR + reach_NR > 0.0
    row_N, limit_R = np.nonzero(kept)
    count = max(excess_NR.shape[1], 1)
    used, slack_B = np.unique(problem.limits.segment_N[row_N] * count + limit_R, return_inverse=True)
    levels, low, high = _levels(problem, changes_MU)
    program = QuadraticProgram(
        hessian_PP=hessian_PP,
        gradient_P=gradient_P,
        least_P=least_P,
        most_P=most_P,
        levels_AP=levels,
        level_low_A=low,
        level_high_A=high,
        soft_BP=gradient_NRP[row_N, limit_R],
        excess_B=excess_NR[row_N, limit_R],
        slack_B=slack_B,
        price_Q=WEIGHT * problem.limits.advices_Q[used // count],
        slack_most_Q=np.full(len(used), np.inf),
    )
    return Subproblem(program=program, kept_NR=kept, rank_Q=problem.limits.rank_R[used % count])


def _cost_model(
    problem: Problem, trial: Trial, sensitivity: Sensitivity, price_NR: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Hessian [P, P], positive definite, and gradient [P] of the cost in the changes [spans]."""
    cost, span_P = problem.cost, problem.per_change(problem.cost.span_U)
    y_NY, u_NU = trial.forecast.y_KNY[0], trial.forecast.moves_KNU[0]
    gradient_NS, hessian_NSS = cost.quadratic(y_NY, u_NU, problem.now.dv_NV, problem.setpoint_Y)
    outputs_NSP = np.concatenate([sensitivity.y_NYP, sensitivity.moves_NUP], axis=1) * span_P
    move_MU = cost.move_hessian() * cost.span_U**2
    gradient_P = np.einsum("ns,nsp->p", gradient_NS, outputs_NSP) + (move_MU * trial.changes_KMU[0]).ravel()
    hessian_PP = np.einsum("nsp,nst,ntq->pq", outputs_NSP, hessian_NSS, outputs_NSP, optimize=True)
    hessian_PP += np.diag(move_MU.ravel())
    if cost.economic:
        prices = np.zeros_like(trial.excess_KNR[0]) if price_NR is None else price_NR
        price_NY, price_NG = problem.limits.by_output(prices, y_NY.shape[1], trial.forecast.margins_KNG.shape[2])
        by_cv = gradient_NS[:, : y_NY.shape[1]] + price_NY
        bent_PP = model_curvature(problem.forecaster, trial.forecast, sensitivity, by_cv, price_NG)
        # The sum is made convex, not each stage of it: stages that curve up pay for those that curve down.
        hessian_PP = positive_part((hessian_PP + bent_PP * span_P * span_P[:, None])[None])[0]
    ridge = REGULARISATION * max(float(np.abs(np.diag(hessian_PP)).max()), 1e-3)
    return 0.5 * (hessian_PP + hessian_PP.T) + ridge * np.eye(len(hessian_PP)), gradient_P


def _levels(problem: Problem, changes_MU: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows that keep the MVs inside their limits at the end of each block: matrix [A, P], low and high [A] [spans]."""
    bounds, span_U = problem.bounds, problem.cost.span_U
    blocks, mvs = changes_MU.shape
    at = np.array(problem.forecaster.horizon.ends) - 1
    level_MU = bounds.start_U / span_U + np.cumsum(changes_MU, axis=0)
    low_MU = np.minimum(bounds.low_NU[at] / span_U - level_MU, 0.0)
    high_MU = np.maximum(bounds.high_NU[at] / span_U - level_MU, 0.0)
    return np.kron(np.tril(np.ones((blocks, blocks))), np.eye(mvs)), low_MU.ravel(), high_MU.ravel()
