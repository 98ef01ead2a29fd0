"""Steady-state target layer: where the plant should come to rest, as a ranked quadratic program on the model's gains.

    minimise  economic(y, u) + setpoints + FLIP |(u - before) / span|^2
    with      y = y0 + G (u - u0),  MV limits hard, CV limits soft and given up lowest rank first

The program is a CasADi expression of the plant's own objective, solved by IPOPT from the CasADi wheel; ranks are
settled one after the other, each with what was settled above it held. Anti-flip: a linear economic optimum sits in a
corner, and a gain that is a little off makes it jump to another. The target stays where it was unless leaving it earns
more than `WORTH_LEAVING` of the objective's typical size, and a small quadratic pull decides between targets that earn
the same.

Shapes: U MVs, V DVs, Y CVs. Engineering units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from procmodel.control.horizon import span
from procmodel.control.objective import Economic
from procmodel.control.plan import GiveUp
from procmodel.data.window import Columns, Scaler
from procmodel.plant import Plant

# Pull towards the last target, relative to the objective's typical size per squared span [-].
FLIP = 1e-2
# What another target has to earn, relative to the objective's typical size [-].
WORTH_LEAVING = 0.01
# Room above a settled slack, so that the next program has an inside [spans].
_ROOM = 1e-7
_QUIET: dict[str, Any] = {"print_time": False, "ipopt": {"print_level": 0, "sb": "yes", "tol": 1e-9}}


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Where the plant should rest.

    Attributes:
        u, y: By MV and CV [unit].
        cost: Of it, in the objective's own unit.
        give_ups: CV limits that no rest can keep, rank 1 first.
        stayed: Whether the last targets were kept because leaving them would earn too little.
    """

    u: dict[str, float]
    y: dict[str, float]
    cost: float
    give_ups: tuple[GiveUp, ...] = ()
    stayed: bool = False


class TargetLayer:
    """Targets of one plant."""

    def __init__(self, plant: Plant, scaler: Scaler) -> None:
        self._plant, self._economic = plant, Economic.of(plant, scaler)
        columns = Columns.of(plant)
        spread = [float(x) for x in scaler.spread]
        self._span_U, self._span_Y = (
            np.array([span(plant.tags[name], spread[i]) for name, i in zip(names, at, strict=True)])
            for names, at in ((plant.mvs, columns.mv), (plant.cvs, columns.cv))
        )
        self._size = self._economic.size if self._economic else 1.0

    def targets(
        self,
        gain_YU: np.ndarray,
        *,
        u_U: np.ndarray,
        y_Y: np.ndarray,
        d_V: np.ndarray,
        setpoint_Y: np.ndarray,
        frozen_U: np.ndarray | None = None,
        before: Targets | None = None,
    ) -> Targets | None:
        """The best rest, or None where the solver finds none.

        Args:
            gain_YU: Steady gains; a plan's `steady_gain`.
            u_U, y_Y: MVs now, and where the CVs come to rest if nothing is moved.
            setpoint_Y: NaN where there is none.
        """
        program = _Program(self, gain_YU, u_U, y_Y, d_V, setpoint_Y, frozen_U, before)
        found = program.solve()
        if found is None or before is None:
            return found
        stay = program.at(np.array([before.u[name] for name in self._plant.mvs]))
        kept = _worst(stay.give_ups) <= _worst(found.give_ups) + 1e-6
        if kept and program.inside(before) and stay.cost - found.cost < WORTH_LEAVING * self._size:
            return Targets(u=stay.u, y=stay.y, cost=stay.cost, give_ups=stay.give_ups, stayed=True)
        return found


def _worst(give_ups: tuple[GiveUp, ...]) -> float:
    return max((each.amount for each in give_ups), default=0.0)


class _Program:
    """The program of one tick."""

    def __init__(
        self, layer: TargetLayer, gain_YU: np.ndarray, u_U: np.ndarray, y_Y: np.ndarray, d_V: np.ndarray,
        setpoint_Y: np.ndarray, frozen_U: np.ndarray | None, before: Targets | None,
    ) -> None:  # fmt: skip
        plant = layer._plant
        self._layer, self._plant, self._start_U, self._y0_Y, self._gain = layer, plant, u_U, y_Y, gain_YU
        self._d, self._setpoint_Y = d_V, setpoint_Y
        frozen = np.zeros(len(u_U), dtype=bool) if frozen_U is None else frozen_U
        limits = [plant.tags[name].limits for name in plant.mvs]
        low_U = np.array([-np.inf if one.low is None else one.low.at for one in limits])
        high_U = np.array([np.inf if one.high is None else one.high.at for one in limits])
        self.low_U, self.high_U = np.where(frozen, u_U, low_U), np.where(frozen, u_U, high_U)
        self._last_U = u_U if before is None else np.array([before.u[name] for name in plant.mvs])
        self._soft = [
            (y, side, limit)
            for y, name in enumerate(plant.cvs)
            for side, limit in (("low", plant.tags[name].limits.low), ("high", plant.tags[name].limits.high))
            if limit is not None
        ]

    def inside(self, before: Targets) -> bool:
        """Whether the last targets may still be gone to."""
        last = np.array([before.u[name] for name in self._plant.mvs])
        return bool(((last >= self.low_U - 1e-9) & (last <= self.high_U + 1e-9)).all())

    def at(self, u_U: np.ndarray) -> Targets:
        """What resting there would bring."""
        y_Y = self._y0_Y + self._gain @ (u_U - self._start_U)
        give_ups = []
        for y, side, limit in self._soft:
            beyond = float(y_Y[y] - limit.at) * (1.0 if side == "high" else -1.0)
            if beyond > 1e-4 * float(self._layer._span_Y[y]):
                name = self._plant.cvs[y]
                give_ups.append(GiveUp(tag=name, side=side, limit=limit.at, amount=beyond, rank=limit.rank))
        return Targets(
            u=dict(zip(self._plant.mvs, u_U.tolist(), strict=True)),
            y=dict(zip(self._plant.cvs, y_Y.tolist(), strict=True)),
            cost=float(self._cost(ca.DM(y_Y), ca.DM(u_U))),
            give_ups=tuple(sorted(give_ups, key=lambda each: each.rank)),
        )

    def solve(self) -> Targets | None:
        """Rank by rank the least that has to be given up, then the least cost."""
        count = len(self._soft)
        u, s = ca.MX.sym("u", len(self._start_U)), ca.MX.sym("s", count)
        y = ca.DM(self._y0_Y) + ca.mtimes(ca.DM(self._gain), u - ca.DM(self._start_U))
        signs = [1.0 if side == "high" else -1.0 for _, side, _ in self._soft]
        beyond = [
            sign * (y[column] - limit.at) / self._layer._span_Y[column]
            for sign, (column, _, limit) in zip(signs, self._soft, strict=True)
        ]
        rows = ca.vertcat(*(b - s[i] for i, b in enumerate(beyond))) if count else ca.MX(0, 1)
        x, start = ca.vertcat(u, s), np.concatenate([np.clip(self._start_U, self.low_U, self.high_U), np.ones(count)])
        most = np.full(count, np.inf)
        pull = FLIP * ca.sumsqr((u - ca.DM(self._last_U)) / ca.DM(self._layer._span_U))
        goals = [(rank, ca.sum1(ca.vertcat(*(s[i] for i in self._of(rank)))) + 1e-6 * pull) for rank in self._ranks()]
        for rank, goal in [*goals, (None, self._cost(y, u) / self._layer._size + pull)]:
            found = self._minimise(x, goal, rows, start, most)
            if found is None:
                return None
            start = found
            if rank is not None:
                for i in self._of(rank):
                    most[i] = max(0.0, float(found[len(self._start_U) + i])) + _ROOM
        u_U = np.clip(start[: len(self._start_U)], self.low_U, self.high_U)
        return self.at(u_U)

    def _ranks(self) -> list[int]:
        return sorted({limit.rank for _, _, limit in self._soft})

    def _of(self, rank: int) -> list[int]:
        return [i for i, (_, _, limit) in enumerate(self._soft) if limit.rank == rank]

    def _minimise(self, x: Any, goal: Any, rows: Any, start: np.ndarray, most: np.ndarray) -> np.ndarray | None:
        solver = ca.nlpsol("targets", "ipopt", {"x": x, "f": goal, "g": rows}, _QUIET)
        lower = np.concatenate([self.low_U, np.zeros(len(most))])
        answer = solver(x0=start, lbx=lower, ubx=np.concatenate([self.high_U, most]), lbg=-np.inf, ubg=0.0)
        found = np.array(answer["x"])[:, 0]
        return found if solver.stats()["success"] and np.isfinite(found).all() else None

    def _cost(self, y: Any, u: Any) -> Any:
        """In the objective's own unit, setpoints included."""
        cost = self._layer._economic.expression(y, u, ca.DM(self._d)) if self._layer._economic else 0.0
        for column, at in enumerate(self._setpoint_Y.tolist()):
            if np.isfinite(at):
                weight = self._plant.tags[self._plant.cvs[column]].weight * self._layer._size
                cost = cost + weight * ((y[column] - at) / self._layer._span_Y[column]) ** 2
        return cost
