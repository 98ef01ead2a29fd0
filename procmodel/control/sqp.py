"""Sequential quadratic programming over the blocked changes, from forecasts and their derivatives.

Shapes: K plans tried at once, N rows of the horizon, M blocks, U MVs, R soft limits.

A linearisation is dear: a tangent per blocked change through the whole horizon. A program, a rollout and an adjoint
are not. So several steps are made with one linearisation, each program with the excess and the gradient of the plan
that it starts from; they correct each other's errors to second order and more. A step that is no gain is first
corrected for what it violates, then tried at several lengths in one batched rollout; at last the plan is linearised
anew.

Every step is judged by the true cost with the true penalties. A plan is only ever replaced by a better one, so the loop
may be stopped after any step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from procmodel.control.limits import Score
from procmodel.control.problem import Solvable, Trial
from procmodel.control.qp import QuadraticSolver, Step
from procmodel.control.ranks import solve_by_rank
from procmodel.control.subproblem import Linearisation, Subproblem
from procmodel.control.watch import Watch

MOST_LINEARISATIONS = 10
# Steps per linearisation, and corrections of one that makes the plan worse; each takes a program and a rollout and cuts
# the violation of a bending limit to about a tenth. With 4 steps the evaporator's ticks have as many programs as with
# 8, and on a random network a plan ended 0.13 % above that of IPOPT.
MOST_STEPS, MOST_CORRECTIONS = 8, 3
SHORTER = (0.5, 0.2, 0.05)
# A step that promises less than this is not worth making: relative to the cost, or where the objective has a large
# constant part, to its typical size in each row; and what is rounding in any row [-].
RELATIVE_GAIN, TYPICAL_GAIN, ROW_GAIN = 1e-4, 1e-3, 1e-8
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
        first: Derivatives where the iterations began; None where the time did not reach for them.
    """

    trial: Trial
    converged: bool
    iterations: int
    why: str
    first: Linearisation | None


@dataclass(frozen=True, kw_only=True)
class _Descent:
    """What steps with one linearisation came to; `why` is empty where a new linearisation may help."""

    trial: Trial
    programs: int
    price_NR: np.ndarray | None
    why: str = ""
    converged: bool = False


def minimise(
    problem: Solvable,
    start: Trial,
    solver: QuadraticSolver,
    watch: Watch,
    prepared: Linearisation | None = None,
) -> Outcome:
    """Steps from one evaluated plan until none promises more, the deadline, or `MOST_LINEARISATIONS`.

    Args:
        prepared: Derivatives taken before the newest measurement was known, near where the plan starts.
    """
    trial, programs, took = start, 0, 0.0
    price_NR: np.ndarray | None = None
    lin = first = prepared
    for _ in range(MOST_LINEARISATIONS):
        begun = watch.elapsed
        if lin is None:
            if not watch.has(took):
                return _ended(trial, programs, f"the deadline came after {programs} iterations", first)
            with watch.stage("sensitivities"):
                lin = problem.linearised(trial, price_NR, again=first is not None)
            first = first or lin
        elif not watch.has(0.0):
            return _ended(trial, programs, "the deadline came before the first program", first)
        descent = _descend(problem, lin, trial, price_NR, solver, watch, programs)
        trial, price_NR, programs = descent.trial, descent.price_NR, descent.programs
        if descent.why:
            return _ended(trial, programs, descent.why, first, converged=descent.converged)
        lin, took = None, watch.elapsed - begun
    why = f"{MOST_LINEARISATIONS} linearisations are made and a further one may gain"
    return _ended(trial, programs, why, first)


def _descend(
    problem: Solvable,
    lin: Linearisation,
    start: Trial,
    price_NR: np.ndarray | None,
    solver: QuadraticSolver,
    watch: Watch,
    programs: int,
) -> _Descent:
    best, took = start, 0.0
    # The gradient at a further plan is cheap only where the model is taken apart by hand; without it a step is a guess.
    for count in range(MOST_STEPS if problem.is_by_hand else 1):
        begun = watch.elapsed
        if count and not watch.has(took):
            why = f"the deadline came after {programs} iterations"
            return _Descent(trial=best, programs=programs, price_NR=price_NR, why=why)
        with watch.stage("qp"):
            sub = problem.subproblem(lin, best, price_NR)
            step = solve_by_rank(solver, sub.program, sub.rank_Q)
        if step is None:
            why = f"no solver could solve the program of iteration {programs + 1}"
            return _Descent(trial=best, programs=programs, price_NR=price_NR, why="" if count else why)
        programs += 1
        promise, price_NR = _Step.of(problem, lin, best, sub, step), sub.prices(step)
        if not promise.score.beats(best.score, by=_enough(best)):
            if not sub.is_exact:
                break
            why = "no step promises more"
            return _Descent(trial=best, programs=programs, price_NR=price_NR, why=why, converged=True)
        with watch.stage("line search"):
            tried = problem.evaluate(_changes(problem, best, step, (1.0,)))
        if tried.score.beats(best.score):
            if sub.is_exact and promise.is_kept_by(problem, tried):
                why = "the forecast is straight along the step"
                return _Descent(trial=tried, programs=programs, price_NR=price_NR, why=why, converged=True)
        else:
            tried, corrections = _corrected(problem, best, tried, sub, step, solver, watch)
            programs += corrections
            if not tried.score.beats(best.score):
                return _shorter(problem, best, promise, watch, programs, price_NR, is_fresh=lin.is_at(best))
        best, took = tried, watch.elapsed - begun
    return _Descent(trial=best, programs=programs, price_NR=price_NR)


def _corrected(
    problem: Solvable, base: Trial, full: Trial, sub: Subproblem, step: Step, solver: QuadraticSolver, watch: Watch
) -> tuple[Trial, int]:
    """The best plan after second-order corrections of a full step that is no gain, and the programs it took.

    Limits that bend make the full step violate what its program kept, and halving it halves the progress too. The same
    program with the violation that the full step really had takes the bend into account; so does the next one. A step
    that would be no gain without any violation has another fault, which no correction mends.
    """
    tried, took = full, 0.0
    for count in range(MOST_CORRECTIONS):
        begun = watch.elapsed
        if not tried.is_finite or tried.cost_K[0] >= base.score.merit or not watch.has(took):
            return tried, count
        bent_B = tried.excess_KNR[0][sub.kept_NR] - sub.program.soft_BP @ step.change_P
        with watch.stage("qp"):
            corrected = solve_by_rank(solver, replace(sub.program, excess_B=bent_B), sub.rank_Q)
        if corrected is None:
            return tried, count
        step = corrected
        with watch.stage("line search"):
            tried = problem.evaluate(_changes(problem, base, step, (1.0,)))
        if tried.score.beats(base.score):
            return tried, count + 1
        took = watch.elapsed - begun
    return tried, MOST_CORRECTIONS


def _shorter(
    problem: Solvable,
    start: Trial,
    opening: _Step,
    watch: Watch,
    programs: int,
    price_NR: np.ndarray | None,
    *,
    is_fresh: bool,
) -> _Descent:
    """The best of several lengths of a step, tried at once; where none is a gain, new derivatives may still be."""
    with watch.stage("line search"):
        tried = problem.evaluate(_changes(problem, start, opening.step, SHORTER))
    best = tried.only(tried.best())
    if best.score.beats(start.score):
        return _Descent(trial=best, programs=programs, price_NR=price_NR)
    if not is_fresh:
        return _Descent(trial=start, programs=programs, price_NR=price_NR)
    small = not opening.score.beats(start.score, by=10 * _enough(start))
    why = f"no step length made iteration {programs} better"
    return _Descent(trial=start, programs=programs, price_NR=price_NR, why=why, converged=small)


def _ended(trial: Trial, iterations: int, why: str, first: Linearisation | None, *, converged: bool = False) -> Outcome:
    return Outcome(trial=trial, converged=converged, iterations=iterations, why=why, first=first)


def _enough(trial: Trial) -> float:
    rows = int(trial.excess_KNR.shape[1])
    cost = abs(float(trial.cost_K[0]))
    return min(RELATIVE_GAIN * cost, TYPICAL_GAIN * rows) + ROW_GAIN * rows


@dataclass(frozen=True, kw_only=True)
class _Step:
    """A step, and what its program promises."""

    step: Step
    score: Score
    excess_NR: np.ndarray
    y_NY: np.ndarray
    enough: float

    @classmethod
    def of(cls, problem: Solvable, lin: Linearisation, at: Trial, sub: Subproblem, step: Step) -> _Step:
        excess_NR = at.excess_KNR[0] + lin.soft_NRP @ step.change_P
        score = Score.of(float(at.cost_K[0]) + step.cost, problem.limits.penalties(excess_NR[None])[0])
        here_NY = at.y_NY
        y_NY = here_NY + lin.outputs_NSP[:, : here_NY.shape[1]] @ step.change_P
        return cls(step=step, score=score, excess_NR=excess_NR, y_NY=y_NY, enough=_enough(at))

    def is_kept_by(self, problem: Solvable, better: Trial) -> bool:
        """Whether the true forecast is the linear one, so that the program's optimum is the problem's."""
        off = np.abs(better.y_NY - self.y_NY) / problem.span_Y
        beyond = np.abs(better.excess_KNR[0] - self.excess_NR)
        straight = off.max(initial=0.0) <= EXACT and beyond.max(initial=0.0) <= EXACT
        return straight and abs(better.score.merit - self.score.merit) <= self.enough


def _changes(problem: Solvable, trial: Trial, step: Step, lengths: tuple[float, ...]) -> np.ndarray:
    """Changes after steps of several lengths, [K, M, U]; the full one put exactly inside the hard bounds."""
    changes_MU = trial.changes_KMU[0]
    full_MU = problem.inside(changes_MU + step.change_P.reshape(changes_MU.shape))
    return np.array([changes_MU + length * (full_MU - changes_MU) for length in lengths])
