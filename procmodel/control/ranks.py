"""Which soft limits give way: the quadratic program, solved rank by rank where they cannot all hold.

Shapes: P changes, Q slacks in use, B soft rows.

First all limits count alike. If only the least important rank is exceeded, that is the answer: nothing above it is
given up. Otherwise each rank in turn, the most important first, gets the least penalty that is possible without adding
to what was settled before; the cost decides what is left. Every program is as well scaled as the first one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from procmodel.control.qp import QuadraticProgram, QuadraticSolver, Step

# Slack below this is rounding [spans].
NOTHING = 1e-7
# Room above a settled slack, so that the next program has an inside [spans].
_ROOM = 1e-6
# Curvature that makes a program without cost unique, relative to the penalties.
_CURVATURE = 1e-6


def solve_by_rank(solver: QuadraticSolver, program: QuadraticProgram, rank_Q: np.ndarray) -> Step | None:
    """The program's step with slacks given up lowest rank first; None where no solver has an answer."""
    step = solver.solve(program)
    ranks = np.unique(rank_Q)
    if step is None or len(ranks) < 2:
        return step
    exceeded = [rank for rank in ranks[:-1] if (step.slack_Q[rank_Q == rank] > NOTHING).any()]
    if not exceeded:
        return step
    most_Q = np.full(len(rank_Q), np.inf)
    most_Q[rank_Q < exceeded[0]] = _ROOM
    for rank in ranks[(ranks >= exceeded[0]) & (ranks < ranks[-1])]:
        least = solver.solve(_penalties_only(program, rank_Q, int(rank), most_Q))
        if least is None:
            return None
        slack_Q = np.zeros(len(rank_Q))
        slack_Q[rank_Q <= rank] = least.slack_Q
        most_Q = np.where(rank_Q == rank, slack_Q + _ROOM, most_Q)
    return solver.solve(replace(program, slack_most_Q=most_Q))


def _penalties_only(program: QuadraticProgram, rank_Q: np.ndarray, rank: int, most_Q: np.ndarray) -> QuadraticProgram:
    """Least penalty of one rank, with the ranks above it settled and those below it left out."""
    kept_Q = rank_Q <= rank
    kept_B = kept_Q[program.slack_B]
    return replace(
        program,
        hessian_PP=_CURVATURE * np.eye(len(program.gradient_P)),
        gradient_P=np.zeros_like(program.gradient_P),
        soft_BP=program.soft_BP[kept_B],
        excess_B=program.excess_B[kept_B],
        slack_B=(np.cumsum(kept_Q) - 1)[program.slack_B[kept_B]],
        price_Q=program.price_Q[kept_Q] / program.price_Q.max(),
        slack_most_Q=most_Q[kept_Q],
        likely_B=None if program.likely_B is None else program.likely_B[kept_B],
    )
