"""The quadratic program around a plan, from its forecast and from derivatives that were taken there or nearby.

Shapes: N rows of the horizon, M blocks, U MVs, P = M * U changes [spans of their MV], S = Y + U, R soft limits,
A level rows, B soft rows, Q slacks in use.

    minimise  g' p + 1/2 p' H p    with    excess(plan) + J p <= slack

The tangents J and the Hessian H are dear, the forecast and one adjoint are not. So a `Linearisation` is kept for
several programs: around each further plan the excess is that of its own rollout, and

    g = d cost/dx + (J_plan - J)' price

is exact, from one pass back through the horizon. A plan at which such a program promises nothing satisfies the
first-order conditions of the true problem, whatever J it was found with.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from procmodel.control.limits import WEIGHT
from procmodel.control.objective import convex
from procmodel.control.qp import QuadraticProgram, Step, in_use
from procmodel.control.sensitivities import Seeds, Sensitivity

if TYPE_CHECKING:
    from procmodel.control.problem import Problem, Trial

# Keeps the program strictly convex where nothing decides a change; relative to the largest curvature.
REGULARISATION = 1e-9


@dataclass(frozen=True, kw_only=True)
class Linearisation:
    """Derivatives at one plan, in the changes [spans].

    Attributes:
        changes_MU: Of the plan.
        sensitivity: As the forecaster gave it.
        outputs_NSP: d(y, u)/dx.
        soft_NRP: d(excess)/dx.
        hessian_PP: Of the cost, positive definite.
        parts: Of each scenario, where there are several.
        is_from_here: Whether the plan started from the state that this tick starts from.
    """

    changes_MU: np.ndarray
    sensitivity: Sensitivity
    outputs_NSP: np.ndarray
    soft_NRP: np.ndarray
    hessian_PP: np.ndarray
    parts: tuple[Linearisation, ...] = ()
    is_from_here: bool = True

    def is_at(self, trial: Trial) -> bool:
        """Whether they were taken at this plan."""
        changes_MU = trial.changes_KMU[0]
        same = self.changes_MU is changes_MU or np.array_equal(self.changes_MU, changes_MU)
        return same and self.is_from_here


@dataclass(frozen=True, kw_only=True)
class Subproblem:
    """A program, and what its rows stand for.

    Attributes:
        kept_NR: Soft limits that have a row in the program; the others cannot be reached by any allowed change.
        rank_Q: Rank of the limit that each slack belongs to.
        is_exact: Whether the gradient is the true one, so that a program without promise means an optimum.
    """

    program: QuadraticProgram
    kept_NR: np.ndarray
    rank_Q: np.ndarray
    is_exact: bool

    def prices(self, step: Step) -> np.ndarray:
        """Multipliers of all soft limits, [N, R]; none is worth more than the penalty it stands for."""
        price_NR = np.zeros(self.kept_NR.shape)
        price_NR[self.kept_NR] = np.minimum(step.price_B, self.program.price_Q[self.program.slack_B])
        return price_NR


def linearised(problem: Problem, trial: Trial, price_NR: np.ndarray | None, *, again: bool = False) -> Linearisation:
    """All derivatives at a plan.

    Setpoints do without the model's curvature, at half the price; where one linearisation was not enough for them,
    the next ones have it.

    Args:
        price_NR: Multipliers of the soft limits from the program before; None for zero.
        again: Whether this tick was linearised before.
    """
    cost, span_P = problem.cost, problem.per_change(problem.cost.span_U)
    forecast = trial.forecast
    y_NY, u_NU = forecast.y_KNY[0], forecast.moves_KNU[0]
    gradient_NS, hessian_NSS = cost.quadratic(y_NY, u_NU, problem.now.dv_NV, problem.setpoint_Y)
    bend = None
    if cost.economic or (again and problem.forecaster.is_by_hand):
        price_NR = np.zeros_like(trial.excess_KNR[0]) if price_NR is None else price_NR
        bend, _ = _seeds(problem, trial, gradient_NS, price_NR)
        hessian_NSS = hessian_NSS + problem.limits.bend(price_NR, forecast)
    sensitivity = problem.forecaster.sensitivity(forecast, bend)
    outputs_NSP = np.concatenate([sensitivity.y_NYP, sensitivity.moves_NUP], axis=1) * span_P
    flat_BP = outputs_NSP.reshape(-1, outputs_NSP.shape[2])
    hessian_PP = flat_BP.T @ (hessian_NSS @ outputs_NSP).reshape(flat_BP.shape)
    hessian_PP += np.diag((cost.move_hessian() * cost.span_U**2).ravel())
    if sensitivity.curvature_PP is not None:
        # The sum is made convex, not each stage of it: stages that curve up pay for those that curve down.
        bent_PP = sensitivity.curvature_PP * span_P * span_P[:, None]
        hessian_PP = convex(hessian_PP + bent_PP)
    ridge = REGULARISATION * max(float(np.abs(np.diag(hessian_PP)).max()), 1e-3)
    return Linearisation(
        changes_MU=trial.changes_KMU[0],
        sensitivity=sensitivity,
        outputs_NSP=outputs_NSP,
        soft_NRP=problem.limits.gradient(forecast, sensitivity) * span_P,
        hessian_PP=0.5 * (hessian_PP + hessian_PP.T) + ridge * np.eye(len(hessian_PP)),
    )


def subproblem(problem: Problem, lin: Linearisation, trial: Trial, price_NR: np.ndarray | None) -> Subproblem:
    """The program around a plan, with derivatives taken there or nearby; the gradient is exact where that is cheap.

    Args:
        price_NR: Multipliers of the soft limits from the program before; None for zero.
    """
    gradient_P, is_exact = _gradient(problem, lin, trial, price_NR)
    changes_MU = trial.changes_KMU[0]
    bounds, span_U = problem.bounds, problem.cost.span_U
    least_P = (bounds.down_MU / span_U - changes_MU).ravel()
    most_P = (bounds.up_MU / span_U - changes_MU).ravel()
    least_P, most_P = np.minimum(least_P, 0.0), np.maximum(most_P, 0.0)  # the plan is inside, but for rounding
    excess_NR = trial.excess_KNR[0]
    # A row that no allowed change can bring to its limit is left out.
    reach_NR = np.maximum(lin.soft_NRP * least_P, lin.soft_NRP * most_P).sum(axis=2)
    kept = excess_NR + reach_NR > 0.0
    row_N, limit_R = np.nonzero(kept)
    count = max(excess_NR.shape[1], 1)
    used, slack_B = in_use(problem.limits.segment_N[row_N] * count + limit_R, len(problem.limits.advices_Q) * count)
    levels, low, high = _levels(problem, changes_MU)
    program = QuadraticProgram(
        hessian_PP=lin.hessian_PP,
        gradient_P=gradient_P,
        least_P=least_P,
        most_P=most_P,
        levels_AP=levels,
        level_low_A=low,
        level_high_A=high,
        soft_BP=lin.soft_NRP[row_N, limit_R],
        excess_B=excess_NR[row_N, limit_R],
        slack_B=slack_B,
        price_Q=WEIGHT * problem.limits.advices_Q[used // count],
        slack_most_Q=np.full(len(used), np.inf),
        likely_B=None if price_NR is None else price_NR[row_N, limit_R] > 0.0,
    )
    return Subproblem(program=program, kept_NR=kept, rank_Q=problem.limits.rank_R[used % count], is_exact=is_exact)


def _gradient(
    problem: Problem, lin: Linearisation, trial: Trial, price_NR: np.ndarray | None
) -> tuple[np.ndarray, bool]:
    """The program's gradient, [P], and whether it is exact."""
    cost, forecast = problem.cost, trial.forecast
    y_NY = forecast.y_KNY[0]
    gradient_NS, _ = cost.quadratic(y_NY, forecast.moves_KNU[0], problem.now.dv_NV, problem.setpoint_Y)
    move_P = (cost.move_hessian() * cost.span_U**2 * trial.changes_KMU[0]).ravel()
    is_here = lin.is_at(trial)
    if is_here or not problem.forecaster.is_by_hand:
        return np.tensordot(gradient_NS, lin.outputs_NSP, axes=2) + move_P, is_here
    price_NR = np.zeros_like(trial.excess_KNR[0]) if price_NR is None else price_NR
    seeds, direct_NU = _seeds(problem, trial, gradient_NS, price_NR)
    through_P = problem.forecaster.gradient(forecast, seeds) * problem.per_change(cost.span_U)
    outputs = y_NY.shape[1]
    direct_P = np.tensordot(direct_NU, lin.outputs_NSP[:, outputs:], axes=2)
    return through_P + direct_P + move_P - np.tensordot(price_NR, lin.soft_NRP, axes=2), True


def _seeds(problem: Problem, trial: Trial, gradient_NS: np.ndarray, price_NR: np.ndarray) -> tuple[Seeds, np.ndarray]:
    """Derivatives of cost and priced limits by the CVs and margins, and directly by the MVs, [N, U]."""
    outputs = trial.forecast.y_KNY.shape[2]
    price_NY, price_NG, price_NU = problem.limits.by_output(price_NR, trial.forecast)
    seeds = Seeds(y_NY=gradient_NS[:, :outputs] + price_NY, margins_NG=price_NG)
    return seeds, gradient_NS[:, outputs:] + price_NU


def _levels(problem: Problem, changes_MU: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows that keep the MVs inside their limits at the end of each block: matrix [A, P], low and high [A] [spans]."""
    bounds, span_U = problem.bounds, problem.cost.span_U
    blocks, mvs = changes_MU.shape
    at = np.array(problem.forecaster.horizon.ends) - 1
    level_MU = bounds.start_U / span_U + np.cumsum(changes_MU, axis=0)
    low_MU = np.minimum(bounds.low_NU[at] / span_U - level_MU, 0.0)
    high_MU = np.maximum(bounds.high_NU[at] / span_U - level_MU, 0.0)
    return _sums(blocks, mvs), low_MU.ravel(), high_MU.ravel()


@cache
def _sums(blocks: int, mvs: int) -> np.ndarray:
    """From changes to levels, [A, P]; not to be written to."""
    sums_AP = np.kron(np.tril(np.ones((blocks, blocks))), np.eye(mvs))
    sums_AP.flags.writeable = False
    return sums_AP
