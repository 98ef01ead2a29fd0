"""Sequential quadratic programming over the blocked changes, from forecasts and their derivatives.

Shapes: K plans tried at once, N rows of the horizon, M blocks, U MVs, R soft limits.

Each iteration linearises the forecast, solves one quadratic program, and tries several step lengths in one batched
rollout on the true cost with the true penalties; whatever is not better there is not taken. An iterate is only ever
replaced by a better one, so the loop may be stopped after any of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from procmodel.control.limits import Score
from procmodel.control.problem import Problem, Trial
from procmodel.control.qp import QuadraticSolver, Step
from procmodel.control.ranks import solve_by_rank
from procmodel.control.sensitivities import Sensitivity
from procmodel.control.subproblem import Subproblem, subproblem
from procmodel.control.watch import Watch

MOST_ITERATIONS = 5
STEP_LENGTHS = (1.0, 0.5, 0.2, 0.05)
# Each takes a program and a rollout and cuts the violation of a bending limit to about a tenth.
MOST_CORRECTIONS = 3
# A step that promises less than this is not worth making: relative to the cost, or to a typical cost where the
# objective has a large constant part, and per row of the horizon [-].
RELATIVE_GAIN, ROW_GAIN = 1e-4, 1e-8
# The linear forecast counts as exact below this share of a span [-]; one program then is the whole problem.
EXACT = 1e-5


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How the iterations ended.

    Attributes:
        trial: The best plan found.
        converged: No step promises more.
        iterations: Programs solved.
        why: How it ended, in words.
        sensitivity: Of the first linearisation; None where the time did not reach for it.
    """

    trial: Trial
    converged: bool
    iterations: int
    why: str
    sensitivity: Sensitivity | None


def minimise(problem: Problem, start: Trial, solver: QuadraticSolver, watch: Watch) -> Outcome:
    """Iterates from one evaluated plan until no step promises more, the deadline, or `MOST_ITERATIONS`."""
    trial, took = start, 0.0
    first: Sensitivity | None = None
    price_NR: np.ndarray | None = None
    for iteration in range(MOST_ITERATIONS):
        begun = watch.elapsed
        if not watch.has(took):
            return _ended(trial, iteration, f"the deadline came after {iteration} iterations", first)
        with watch.stage("sensitivities"):
            sensitivity = problem.forecaster.sensitivity(trial.forecast)
            first = first or sensitivity
        with watch.stage("qp"):
            sub = subproblem(problem, trial, sensitivity, price_NR)
            step = solve_by_rank(solver, sub.program, sub.rank_Q)
        if step is None:
            return _ended(trial, iteration, f"no solver could solve the program of iteration {iteration + 1}", first)
        price_NR = sub.prices(step)
        expected, enough = _expected(problem, trial, sensitivity, step), _enough(trial)
        if not expected.score.beats(trial.score, by=enough):
            return _ended(trial, iteration + 1, "no step promises more", first, converged=True)
        with watch.stage("line search"):
            tried = problem.evaluate(_steps(problem, trial, step))
        best = tried.only(tried.best())
        if tried.best() != 0:
            best = _corrected(problem, trial, tried.only(0), sub, step, solver, watch).better_of(best)
        if not best.score.beats(trial.score):
            small = not expected.score.beats(trial.score, by=10 * enough)
            why = f"no step length made iteration {iteration + 1} better"
            return _ended(trial, iteration + 1, why, first, converged=small)
        trial = best
        if tried.best() == 0 and _as_expected(problem, trial, expected, enough):
            return _ended(trial, iteration + 1, "the forecast is straight along the step", first, converged=True)
        took = watch.elapsed - begun
    return _ended(trial, MOST_ITERATIONS, f"{MOST_ITERATIONS} iterations are made and a further one may gain", first)


def _corrected(
    problem: Problem, trial: Trial, full: Trial, sub: Subproblem, step: Step, solver: QuadraticSolver, watch: Watch
) -> Trial:
    """The best plan after second-order corrections of a full step; the full step where there is none.

    Limits that bend make the full step violate what its program kept, and halving it halves the progress too. The same
    program with the violation that the full step really had takes the bend into account; so does the next one.
    """
    best = full
    for _ in range(MOST_CORRECTIONS):
        if not full.forecast.finite_K[0]:
            break
        bent_B = full.excess_KNR[0][sub.kept_NR] - sub.program.soft_BP @ step.change_P
        with watch.stage("qp"):
            corrected = solve_by_rank(solver, replace(sub.program, excess_B=bent_B), sub.rank_Q)
        if corrected is None:
            break
        with watch.stage("line search"):
            tried = problem.evaluate(_steps(problem, trial, corrected))
        best = tried.only(tried.best()).better_of(best)
        full, step = tried.only(0), corrected
        if tried.best() == 0:  # the full step holds: nothing is left to correct
            break
    return best


def _ended(
    trial: Trial, iterations: int, why: str, sensitivity: Sensitivity | None, *, converged: bool = False
) -> Outcome:
    return Outcome(trial=trial, converged=converged, iterations=iterations, why=why, sensitivity=sensitivity)


def _enough(trial: Trial) -> float:
    rows = int(trial.excess_KNR.shape[1])
    cost = abs(float(trial.cost_K[0]))
    return RELATIVE_GAIN * min(cost, rows) + ROW_GAIN * rows


@dataclass(frozen=True, kw_only=True)
class _Expected:
    """What the quadratic program promises."""

    score: Score
    excess_NR: np.ndarray
    y_NY: np.ndarray


def _expected(problem: Problem, trial: Trial, sensitivity: Sensitivity, step: Step) -> _Expected:
    change_P = step.change_P * problem.per_change(problem.cost.span_U)
    excess_NR = trial.excess_KNR[0] + problem.limits.gradient(sensitivity) @ change_P
    score = Score.of(float(trial.cost_K[0]) + step.cost, problem.limits.penalties(excess_NR[None])[0])
    y_NY = trial.forecast.y_KNY[0] + sensitivity.y_NYP @ change_P
    return _Expected(score=score, excess_NR=excess_NR, y_NY=y_NY)


def _as_expected(problem: Problem, better: Trial, expected: _Expected, enough: float) -> bool:
    """Whether the true forecast is the linear one, so that the program's optimum is the problem's."""
    off = np.abs(better.forecast.y_KNY[0] - expected.y_NY) / problem.cost.span_Y
    beyond = np.abs(better.excess_KNR[0] - expected.excess_NR)
    straight = off.max(initial=0.0) <= EXACT and beyond.max(initial=0.0) <= EXACT
    return straight and abs(better.score.merit - expected.score.merit) <= enough


def _steps(problem: Problem, trial: Trial, step: Step) -> np.ndarray:
    """Changes after steps of several lengths, [K, M, U]; the full one put exactly inside the hard bounds."""
    changes_MU = trial.changes_KMU[0]
    full_MU = changes_MU + step.change_P.reshape(changes_MU.shape)
    rows_NU = problem.forecaster.horizon.rows(problem.bounds, full_MU * problem.cost.span_U)
    full_MU = problem.as_changes(rows_NU)
    return np.array([changes_MU + length * (full_MU - changes_MU) for length in STEP_LENGTHS])
