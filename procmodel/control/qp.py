"""The quadratic program of one iteration.

Shapes: P changes, Q slacks in use, A level rows, B soft rows.

    minimise  1/2 p' H p + g' p + sum_q price_q (s_q + SLACK_CURVATURE / 2 s_q^2)
    over      least <= p <= most,  0 <= s <= slack_most,
    with      level_low <= L p <= level_high  and  excess_b + J_b p <= s_{slack(b)}.

Of hundreds of soft rows a few decide. The solver gets those that probably do, its answer is held against all others,
and the worst of each slack that is broken joins them until none is: the optimum is that of the whole program.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from procmodel.control.engines import Standard, engine, is_there
from procmodel.control.limits import SLACK_CURVATURE

# In order of preference; the next one is asked where one has no answer.
SOLVERS = ("piqp", "qpoases", "daqp")
# A solver's answer may leave the bounds by this, relative to 1 + the bound [-]; more is a failure whatever it says.
_FEASIBILITY = 1e-6
# A soft row that is broken by more joins the program [spans].
_BROKEN = 1e-8
# Rows this near to their limit are in it from the start [spans].
_NEAR = 1e-3
# So few rows are all handed over, and so often may more join before all do.
_FEW_ROWS, _MOST_ROUNDS = 48, 12


@dataclass(frozen=True, kw_only=True)
class QuadraticProgram:
    """One program; the sizes differ from iteration to iteration.

    Attributes:
        likely_B: Soft rows that decided a similar program; only a hint.
    """

    hessian_PP: np.ndarray
    gradient_P: np.ndarray
    least_P: np.ndarray
    most_P: np.ndarray
    levels_AP: np.ndarray
    level_low_A: np.ndarray
    level_high_A: np.ndarray
    soft_BP: np.ndarray
    excess_B: np.ndarray
    slack_B: np.ndarray
    price_Q: np.ndarray
    slack_most_Q: np.ndarray
    likely_B: np.ndarray | None = None

    def is_finite(self) -> bool:
        """Whether it may be handed to a solver."""
        parts = (self.hessian_PP, self.gradient_P, self.soft_BP, self.excess_B, self.least_P, self.most_P)
        return all(bool(np.isfinite(part).all()) for part in parts)

    def only(self, rows_B: np.ndarray) -> QuadraticProgram:
        """The same with some of its soft rows, and the slacks that these use."""
        used, slack_B = in_use(self.slack_B[rows_B], len(self.price_Q))
        return replace(
            self,
            soft_BP=self.soft_BP[rows_B],
            excess_B=self.excess_B[rows_B],
            slack_B=slack_B,
            price_Q=self.price_Q[used],
            slack_most_Q=self.slack_most_Q[used],
            likely_B=None,
        )


@dataclass(frozen=True, kw_only=True)
class Step:
    """Its solution.

    Attributes:
        change_P: Optimal p.
        slack_Q: The slacks it needs.
        price_B: Multipliers of the soft rows, not below zero.
        cost: p's part of the objective, without the slacks.
        solver: Who found it.
    """

    change_P: np.ndarray
    slack_Q: np.ndarray
    price_B: np.ndarray
    cost: float
    solver: str


def in_use(values_B: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of the numbers below `count` occur, rising, and where among them each value stands; `np.unique` sorts."""
    occurs = np.zeros(count, dtype=bool)
    occurs[values_B] = True
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[values_B]


class QuadraticSolver:
    """Solvers by name, the next one asked where one has no answer."""

    def __init__(self, solvers: tuple[str, ...] = SOLVERS) -> None:
        self._engines = {name: engine(name) for name in solvers if is_there(name)}

    def solve(self, program: QuadraticProgram) -> Step | None:
        """The first answer that holds what the program asks; None where no solver has one."""
        if not program.is_finite():
            return None
        rows = len(program.excess_B)
        if rows <= _FEW_ROWS:
            return self._solved(program)
        inside_B = program.excess_B > -_NEAR
        if program.likely_B is not None:
            inside_B |= program.likely_B
        for _ in range(_MOST_ROUNDS):
            at = np.flatnonzero(inside_B)
            step = self._solved(program.only(at))
            if step is None:
                return None
            more = _broken(program, at, step)
            if not len(more):
                price_B = np.zeros(rows)
                price_B[at] = step.price_B
                slack_Q = np.zeros(len(program.price_Q))
                np.maximum.at(slack_Q, program.slack_B, program.excess_B + program.soft_BP @ step.change_P)
                return replace(step, price_B=price_B, slack_Q=slack_Q)
            inside_B[more] = True
        return self._solved(program)

    def _solved(self, program: QuadraticProgram) -> Step | None:
        asked = standard(program)
        for name, one in self._engines.items():
            found = one.solve(asked)
            if found is not None and (step := _step(program, name, *found)) is not None:
                return step
        return None


def standard(program: QuadraticProgram) -> Standard:
    """As solvers take it: the slacks behind the changes, the soft rows behind the levels."""
    changes, soft, slacks = len(program.gradient_P), len(program.excess_B), len(program.price_Q)
    levels, columns = len(program.level_low_A), changes + slacks
    h, a = np.zeros((columns, columns)), np.zeros((levels + soft, columns))
    h[:changes, :changes] = program.hessian_PP
    at = np.arange(changes, columns)
    h[at, at] = SLACK_CURVATURE * program.price_Q
    a[:levels, :changes] = program.levels_AP
    a[levels:, :changes] = program.soft_BP
    a[np.arange(levels, levels + soft), changes + program.slack_B] = -1.0
    return Standard(
        h=h,
        g=np.concatenate([program.gradient_P, program.price_Q]),
        a=a,
        lbx=np.concatenate([program.least_P, np.zeros(slacks)]),
        ubx=np.concatenate([program.most_P, program.slack_most_Q]),
        lba=np.concatenate([program.level_low_A, np.full(soft, -np.inf)]),
        uba=np.concatenate([program.level_high_A, -program.excess_B]),
    )


def _step(program: QuadraticProgram, solver: str, x: np.ndarray, price: np.ndarray) -> Step | None:
    """The solver's answer, put exactly inside the bounds; None where it is not an answer."""
    changes, levels = len(program.gradient_P), len(program.level_low_A)
    x, price_B = x[:changes], price[levels:]
    if not _is_answer(program, x, price_B):
        return None
    p = np.clip(x, program.least_P, program.most_P)
    cost = float(0.5 * p @ program.hessian_PP @ p + program.gradient_P @ p)
    slack_Q = np.zeros(len(program.price_Q))
    np.maximum.at(slack_Q, program.slack_B, program.excess_B + program.soft_BP @ p)
    return Step(change_P=p, slack_Q=slack_Q, price_B=np.maximum(price_B, 0.0), cost=cost, solver=solver)


def _is_answer(program: QuadraticProgram, x: np.ndarray, price_B: np.ndarray) -> bool:
    """Whether changes and multipliers are numbers and keep the hard bounds, but for rounding."""
    if not (np.isfinite(x).all() and np.isfinite(price_B).all()):
        return False
    p = np.clip(x, program.least_P, program.most_P)
    level_A = program.levels_AP @ p
    beyond = np.maximum(program.level_low_A - level_A, level_A - program.level_high_A)
    return bool(np.abs(p - x).max(initial=0.0) <= _FEASIBILITY and beyond.max(initial=0.0) <= _FEASIBILITY)


def _broken(program: QuadraticProgram, inside: np.ndarray, step: Step) -> np.ndarray:
    """Of each slack the row that is broken most by an answer to the program of some rows, if any is."""
    excess_B = program.excess_B + program.soft_BP @ step.change_P
    slack_Q = np.zeros(len(program.price_Q))
    np.maximum.at(slack_Q, program.slack_B[inside], excess_B[inside])
    beyond_B = excess_B - slack_Q[program.slack_B]
    beyond_B[inside] = 0.0
    broken = np.flatnonzero(beyond_B > _BROKEN)
    if not len(broken):
        return broken
    worst_first = broken[np.argsort(-beyond_B[broken], kind="stable")]
    _, first = np.unique(program.slack_B[worst_first], return_index=True)
    return np.asarray(worst_first[first])
