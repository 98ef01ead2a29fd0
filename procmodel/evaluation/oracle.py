"""The oracle: nonlinear MPC that knows the equations, the true state and today's disturbances.

What no controller on a real plant can have, and so the mark to hold advice against: the same horizon, blocks, move
limits and cost, but no model error, no noise and nothing unmeasured. It does not know the future: disturbances are held
over the horizon as they stand now.

Multiple shooting with one element per row by the simulator's own Runge-Kutta steps and averages, or collocation over
longer elements for a stiff plant; exact derivatives by CasADi, IPOPT. Unknowns are the blocks' changes, the MVs and
states of each element, and a slack per soft limit and element.

Shapes: N rows of the horizon, E elements, M blocks, U MVs, V DVs, W unmeasured disturbances, Y CVs, X states, I inner
states of an element, K soft limits.
"""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np

from procmodel.control.horizon import Bounds, Horizon
from procmodel.evaluation.elements import element_of, row_function
from procmodel.evaluation.limits import soft_limits
from procmodel.simulation import ReferencePlant
from procmodel.simulation.reference import span

Array = np.ndarray

# Price of a full span beyond a limit for one row, in typical stage costs: far above what any limit's multiplier
# reaches on the reference plants (31 for the evaporator's product), so that a limit is given up only where it must be.
RANK_PRICE = 2000.0
RANK_RATIO = 5.0  # each lower rank is this much cheaper to give up
# The economic cost alone leaves the moves undecided where it is flat; this settles them without a price to speak of.
MOVE_PRICE = 1e-3
_COLD: dict[str, Any] = {
    "print_time": False,
    "ipopt.print_level": 0,
    "ipopt.sb": "yes",
    "ipopt.tol": 1e-5,
    "ipopt.acceptable_tol": 1e-4,
    "ipopt.max_iter": 300,
}
# Right next to the last plan. From far away a barrier this low is a wall: for a drum boiler whose level is beyond its
# limit, 94 iterations from held moves in place of 16 by IPOPT's own start.
_WARM: dict[str, Any] = {
    **_COLD,
    "ipopt.max_iter": 80,
    "ipopt.mu_init": 1e-4,
    "ipopt.warm_start_init_point": "yes",
    "ipopt.warm_start_bound_push": 1e-8,
    "ipopt.warm_start_slack_bound_push": 1e-8,
    "ipopt.warm_start_mult_bound_push": 1e-8,
}
_GOOD_ENDS = {"Solve_Succeeded", "Solved_To_Acceptable_Level"}


class Oracle:
    """Plans anew at every call and makes the first move.

    Attributes:
        horizon: Rows, blocks and move limits, as the plant file has them.
        failures: Calls in which IPOPT ended without a solution; the MVs were then left as they were.
    """

    def __init__(self, reference: ReferencePlant) -> None:
        plant = reference.plant
        self.reference = reference
        self.failures = 0
        centre, spread = np.array(reference.u0, dtype=float), np.maximum(np.abs(reference.u0), 1.0)
        self.horizon = Horizon.of(plant, centre, spread)
        self._limits = soft_limits(reference)
        self._element = element_of(reference)
        self._elements = self.horizon.steps // self._element.rows
        self._simulate = None if self._element.inner else row_function(reference).mapaccum(self.horizon.steps)
        self._span_U = np.array([span(plant, name) for name in plant.mvs])
        self._size = _typical_cost(reference)
        self._problem = self._build()
        self._solver = ca.nlpsol("oracle", "ipopt", self._problem, _WARM)
        self._cold: Any = None  # made where it is needed: most episodes never do
        self._moves: Array | None = None
        self._states: Array | None = None
        self._multipliers: tuple[Any, Any] | None = None

    def reset(self) -> None:
        """Forget the last plan: a new episode begins."""
        self._moves, self._states, self._multipliers = None, None, None

    def act(self, x: Array, d: Array, w: Array, u_previous: Array, setpoints: Array) -> Array:
        """MVs to hold during the next row, [U].

        Args:
            x: True state now, [X].
            d, w: Disturbances of the next row, [V] and [W]; taken to stay.
            u_previous: MVs held so far, [U].
            setpoints: Of the CVs, [Y], NaN where there is none.
        """
        for cold in (False, True):  # a warm start can mislead; the second try starts from held moves
            moves, ended = self.plan(x, d, w, u_previous, setpoints, cold=cold)
            if ended in _GOOD_ENDS:
                return np.asarray(moves[0])
            self.reset()
        self.failures += 1
        return np.array(u_previous, dtype=float)

    def plan(
        self, x: Array, d: Array, w: Array, u_previous: Array, setpoints: Array, *, cold: bool = False
    ) -> tuple[Array, str]:
        """Planned MVs [N, U] and how IPOPT ended.

        Args:
            cold: Start from held moves as if nothing were known of the solution.
        """
        if cold:
            self.reset()
            self._cold = self._cold or ca.nlpsol("oracle", "ipopt", self._problem, _COLD)
        solver = self._cold if cold else self._solver
        horizon = self.horizon
        bounds = horizon.bounds(np.asarray(u_previous, dtype=float), np.zeros(len(u_previous), dtype=bool))
        held = np.repeat(np.asarray(u_previous, dtype=float)[None], horizon.steps, axis=0)
        guess = held if self._moves is None else horizon.shifted(self._moves)
        lower, upper, low_g, high_g = self._boxes(bounds)
        parameters = np.concatenate([x, d, w, u_previous, np.nan_to_num(setpoints), np.isfinite(setpoints)])
        warm = {}
        if self._multipliers is not None:
            warm = {"lam_x0": self._multipliers[0], "lam_g0": self._multipliers[1]}
        start = self._start(x, d, w, horizon.changes(bounds, guess), bounds)
        result = solver(x0=start, lbx=lower, ubx=upper, lbg=low_g, ubg=high_g, p=parameters, **warm)
        ended = str(solver.stats()["return_status"])
        changes = np.array(result["x"])[: horizon.blocks * len(held[0]), 0].reshape(horizon.blocks, -1)
        moves = horizon.rows(bounds, changes)
        self._moves, self._states = moves, self._states_of(np.array(result["x"])[:, 0])
        self._multipliers = (result["lam_x"], result["lam_g"])
        return moves, ended

    def _build(self) -> dict[str, Any]:
        """The NLP, scalar-expanded: its derivatives are then sparse and free of overhead."""
        reference, horizon = self.reference, self.horizon
        elements, length, count_u = self._elements, self._element.rows, len(self._span_U)
        count_x, count_y = len(reference.x0), len(reference.plant.cvs)
        changes = ca.SX.sym("changes", count_u, horizon.blocks)
        inputs = ca.SX.sym("inputs", count_u, elements)
        states = ca.SX.sym("states", count_x + self._element.inner, elements)
        slacks = ca.SX.sym("slacks", len(self._limits), elements)
        x, d, w = (ca.SX.sym(n, s) for n, s in (("x", count_x), ("d", len(reference.d0)), ("w", len(reference.w0))))
        before, target, wanted = ca.SX.sym("u", count_u), ca.SX.sym("r", count_y), ca.SX.sym("on", count_y)
        # On the changes, not on the rows: rows that share no term keep the Hessian block diagonal, three times cheaper.
        cost = MOVE_PRICE * ca.sumsqr(changes / ca.repmat(ca.DM(self._span_U), 1, horizon.blocks))
        ends, softs, last, begin = [], [], before, x
        for n in range(elements):
            made = [ca.dot(ca.DM(horizon.share_NMU[n * length, :, j]), changes[j, :].T) for j in range(count_u)]
            u, end, inner = inputs[:, n], states[:count_x, n], states[count_x:, n]
            ends.append(before + ca.vertcat(*made) - u)
            residual, seen = self._element.tie(begin, inner, end, u, d, w)
            ends.append(residual)
            cost += self._stage(seen[:count_y], u, last, target, wanted)
            for k, limit in enumerate(self._limits):
                softs.append(limit.side * (seen[limit.output] - limit.at) / limit.span - slacks[k, n])
                cost += length * RANK_PRICE / RANK_RATIO ** (limit.rank - 1) * (slacks[k, n] + slacks[k, n] ** 2)
            last, begin = u, end
        unknowns = ca.vertcat(ca.vec(changes), ca.vec(inputs), ca.vec(states), ca.vec(slacks))
        return {
            "x": unknowns,
            "p": ca.vertcat(x, d, w, before, target, wanted),
            "f": cost,
            "g": ca.vertcat(*ends, *softs),
        }

    def _stage(self, y: Any, u: Any, last: Any, target: Any, wanted: Any) -> Any:
        """Cost of the rows of one element in typical stage costs; the MVs move at its first row."""
        reference, plant, rows = self.reference, self.reference.plant, self._element.rows
        if reference.hourly_cost is not None:
            return rows * reference.hourly_cost(ca.vertsplit(y), ca.vertsplit(u)) / self._size
        weight = [plant.tags[name].weight / span(plant, name) ** 2 for name in plant.cvs]
        moved = ca.sumsqr((u - last) / ca.DM(self._span_U))
        tracking = ca.dot(ca.DM(weight) * wanted, (y - target) ** 2)
        return (rows * tracking + plant.advice.move_weight * moved) / self._size

    def _boxes(self, bounds: Bounds) -> tuple[Array, Array, Array, Array]:
        """Bounds of the unknowns and of the constraints."""
        length, elements = self._element.rows, self._elements
        states = np.full(elements * (len(self.reference.x0) + self._element.inner), np.inf)
        slack, low_EU, high_EU = elements * len(self._limits), bounds.low_NU[::length], bounds.high_NU[::length]
        lower = np.concatenate([bounds.down_MU.ravel(), low_EU.ravel(), -states, np.zeros(slack)])
        upper = np.concatenate([bounds.up_MU.ravel(), high_EU.ravel(), states, np.full(slack, np.inf)])
        equal = np.zeros(low_EU.size + states.size)
        low_g = np.concatenate([equal, np.full(slack, -np.inf)])
        high_g = np.concatenate([equal, np.zeros(slack)])
        return lower, upper, low_g, high_g

    def _states_of(self, unknowns: Array) -> Array:
        """States of all elements, ends before inner ones, [E, X + I]."""
        before = (self.horizon.blocks + self._elements) * len(self._span_U)
        width = len(self.reference.x0) + self._element.inner
        return unknowns[before : before + self._elements * width].reshape(self._elements, width)

    def _start(self, x: Array, d: Array, w: Array, changes: Array, bounds: Bounds) -> Array:
        """A start whose states follow from its moves and whose slacks cover what they exceed.

        Where states cannot simply be run through, they are those of the last plan, one element later.
        """
        rows = self.horizon.steps
        moves = self.horizon.rows(bounds, changes)
        if self._simulate is None:
            known = np.tile(x, (self._elements, 2)) if self._states is None else self._states
            states = np.concatenate([known[1:], known[-1:]])
            slacks = np.zeros(self._elements * len(self._limits))
            return np.concatenate([changes.ravel(), moves[:: self._element.rows].ravel(), states.ravel(), slacks])
        d_VN, w_WN = (np.repeat(np.asarray(v, dtype=float)[:, None], rows, axis=1) for v in (d, w))
        states, seen = (np.array(v) for v in self._simulate(x, moves.T, d_VN, w_WN))
        over = [limit.side * (seen[limit.output] - limit.at) / limit.span for limit in self._limits]
        slacks = np.maximum(np.array(over).reshape(len(over), rows), 0.0)
        return np.concatenate([changes.ravel(), moves.ravel(), states.T.ravel(), slacks.T.ravel()])


def _typical_cost(reference: ReferencePlant) -> float:
    """What a stage cost is measured in: 1 % of the economic cost at rest; for tracking, 3 % of a span squared."""
    if reference.hourly_cost is None:
        return 1e-3
    inputs = [a.tolist() for a in (reference.x0, reference.u0, reference.d0, reference.w0)]
    return max(abs(float(reference.hourly_cost(reference.outputs(*inputs), reference.u0.tolist()))) / 100.0, 1e-9)
