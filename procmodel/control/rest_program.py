"""The ranked program of a rest: give up as little as can be, lowest rank first, then let it cost as little as can be.

Shapes: U MVs, V DVs, Y CVs, D latent, R soft limits. Engineering units; slacks and MVs inside the program in spans.

    minimise  (economic(y, u, d) + setpoints) / size + FLIP |(u - last) / span|^2
    with      0 = gap(z, u, p),  y = y(z, u, p),  MV limits hard, CV limits soft

How CVs follow from MVs at rest is a `Ground`: a model's own equilibrium or given gains (`rest.py`). One CasADi program
serves all ranks and ticks, what changes from one to the next are its parameters and bounds; IPOPT solves it. Ranks are
settled one after the other, each with what was settled above it held; where every limit can be kept, that is known
from the present rest or from one program for all ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from procmodel.control.calculated import Calculated
from procmodel.control.objective import StageCost
from procmodel.control.soft_limit import SoftLimit, Source

# Pull towards the last target, relative to the objective's typical size per squared span [-].
FLIP = 1e-2
# Of it, what decides between rests that give up the same; and where nothing else is asked [-].
_FAINT, _ALONE = 1e-6, 1.0 / FLIP
# Room above a settled slack, so that the next program has an inside [spans].
_ROOM = 1e-7
# Where a limit is not in force, its row stands so far open [spans].
_OPEN = 1e3
_QUIET: dict[str, Any] = {
    "print_time": False,
    "error_on_fail": False,
    "ipopt": {"print_level": 0, "sb": "yes", "tol": 1e-9, "max_iter": 100},
}


@dataclass(frozen=True, kw_only=True)
class Ground:
    """How CVs follow from MVs at rest, as expressions.

    Attributes:
        z, u, d, p: Symbols: unknowns beside the MVs [D], MVs [U] and DVs [V], parameters.
        gap: Zero at rest [D].
        y: CVs [Y].
    """

    z: Any
    u: Any
    d: Any
    p: Any
    gap: Any
    y: Any


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What one tick asks of a rest.

    Attributes:
        start_U: MVs now.
        last_U: Where the last targets had them, else `start_U`.
        low_U, high_U: Hard limits in force; an MV that is not to be moved has both where it stands.
        limits: Limits of CVs and calculated values in force.
        setpoint_Y: NaN where a CV is not steered.
        d_V: DVs at rest.
    """

    start_U: np.ndarray
    last_U: np.ndarray
    low_U: np.ndarray
    high_U: np.ndarray
    limits: tuple[SoftLimit, ...]
    setpoint_Y: np.ndarray
    d_V: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where a program starts from: unknowns beside the MVs, parameters of its ground, and the CVs there."""

    z_D: np.ndarray
    p: np.ndarray
    y_Y: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Solved:
    """MVs of the best rest; how much each limit may give up for it [spans]; all unknowns."""

    u_U: np.ndarray
    most_R: np.ndarray
    x: np.ndarray


class RestProgram:
    """The program of one plant on one ground.

    Args:
        limits: All limits of the plant file on CVs and calculated values; those in force are among them.
        calculated: What some of the limits are on.
        options: Of IPOPT, on top of the usual ones.
    """

    def __init__(
        self,
        ground: Ground,
        cost: StageCost,
        limits: Sequence[SoftLimit],
        calculated: Calculated | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self._cost, self._calculated = cost, calculated
        self._keys = [(limit.tag, limit.side) for limit in limits]
        self._latent, self._mvs, count = ground.z.shape[0], ground.u.shape[0], len(limits)
        v, s = ca.MX.sym("v", self._mvs), ca.MX.sym("s", count)
        start, last = ca.MX.sym("start", self._mvs), ca.MX.sym("last", self._mvs)
        setpoint, weight = (ca.MX.sym(name, ground.y.shape[0]) for name in ("setpoint", "weight"))
        at, share = ca.MX.sym("at", count), ca.MX.sym("share", count)
        pays, draws = ca.MX.sym("pays"), ca.MX.sym("draws")
        u = start + ca.DM(cost.span_U) * v
        gap, y = ca.Function("ground", [ground.z, ground.u, ground.d, ground.p], [ground.gap, ground.y])(
            ground.z, u, ground.d, ground.p
        )
        pull = FLIP * ca.sumsqr((u - last) / ca.DM(cost.span_U))
        missed = ca.dot(weight, ((y - setpoint) / ca.DM(cost.span_Y)) ** 2)
        paid = cost.economic.expression(y, u, ground.d) / cost.size if cost.economic else 0.0
        seen = {Source.CV: y, Source.CALCULATED: calculated.expression(y, u, ground.d) if calculated else ca.MX(0, 1)}
        beyond = [
            limit.sign * (seen[limit.source][limit.column] - at[r]) / limit.scale - s[r]
            for r, limit in enumerate(limits)
        ]
        self._solver = ca.nlpsol(
            "rest",
            "ipopt",
            {
                "x": ca.vertcat(v, s, ground.z),
                "p": ca.vertcat(start, last, ground.d, setpoint, weight, at, share, pays, draws, ground.p),
                "f": pays * (paid + missed) + ca.dot(share, s) + draws * pull,
                "g": ca.vertcat(*beyond, gap),
            },
            {**_QUIET, "ipopt": {**_QUIET["ipopt"], **(options or {})}},
        )

    def solve(self, wanted: Wanted, start: Start) -> Solved | None:
        """The best rest; None where IPOPT finds none."""
        in_force = {(limit.tag, limit.side): limit for limit in wanted.limits}
        rank_R = np.array([in_force[key].rank if key in in_force else 0 for key in self._keys], dtype=int)
        most_R = np.where(rank_R > 0, np.inf, 0.0)
        at_x = self._first(wanted, start, in_force)
        found: np.ndarray | None = None
        if not at_x[self._slacks].any() or not self._left(wanted, start, at_x, rank_R > 0, most_R):
            none_R = np.where(rank_R > 0, _ROOM, 0.0)
            found = self._minimise(wanted, start, at_x, "cost", none_R)
            most_R = most_R if found is None else none_R
        if found is None:
            for rank in sorted(set(rank_R[rank_R > 0].tolist())):
                settled = self._minimise(wanted, start, at_x, rank_R == rank, most_R)
                if settled is None:
                    return None
                at_x = settled
                given_R = np.maximum(at_x[self._slacks], 0.0) + _ROOM
                most_R = np.where(rank_R == rank, given_R, most_R)
            found = self._minimise(wanted, start, at_x, "cost", most_R)
        return None if found is None else Solved(u_U=self._moves(wanted, found), most_R=most_R, x=found)

    def nearest(self, wanted: Wanted, start: Start, solved: Solved) -> np.ndarray | None:
        """MVs closest to the last targets that give up no more than the best rest; None where IPOPT finds none."""
        found = self._minimise(wanted, start, solved.x, "last", solved.most_R)
        return None if found is None else self._moves(wanted, found)

    def _moves(self, wanted: Wanted, x: np.ndarray) -> np.ndarray:
        u_U = wanted.start_U + self._cost.span_U * x[: self._mvs]
        return np.asarray(np.clip(u_U, wanted.low_U, wanted.high_U))

    @property
    def _slacks(self) -> slice:
        return slice(self._mvs, self._mvs + len(self._keys))

    def _first(self, wanted: Wanted, start: Start, in_force: dict[tuple[str, str], SoftLimit]) -> np.ndarray:
        """No move, as far as the hard limits allow, with the slacks that it needs."""
        v = (np.clip(wanted.start_U, wanted.low_U, wanted.high_U) - wanted.start_U) / self._cost.span_U
        s = np.zeros(len(self._keys))
        values = values_at(self._calculated, start.y_Y, wanted.start_U, wanted.d_V)
        for r, key in enumerate(self._keys):
            if (limit := in_force.get(key)) is not None:
                s[r] = max(0.0, limit.sign * (values[limit.source][limit.column] - _kept_at(limit)) / limit.scale)
        # A move that the hard limits ask for may need more than the present rest does.
        return np.concatenate([v, s + np.abs(v).max(initial=0.0) * np.array([key in in_force for key in self._keys]),
                               start.z_D])  # fmt: skip

    def _left(
        self, wanted: Wanted, start: Start, at_x: np.ndarray, counts_R: np.ndarray, most_R: np.ndarray
    ) -> bool:  # fmt: skip
        """Whether some limit has to be given up, whatever its rank."""
        found = self._minimise(wanted, start, at_x, counts_R, most_R)
        return found is None or bool(found[self._slacks].max(initial=0.0) > 10 * _ROOM)

    def _minimise(
        self, wanted: Wanted, start: Start, at_x: np.ndarray, goal: np.ndarray | str, most_R: np.ndarray
    ) -> np.ndarray | None:
        """Within the slacks settled so far: the "cost", the distance to the "last" targets, or some slacks [R]."""
        in_force = {(limit.tag, limit.side): limit for limit in wanted.limits}
        given = [in_force.get(key) for key in self._keys]
        steered = np.isfinite(wanted.setpoint_Y)
        share_R = np.zeros(len(given)) if isinstance(goal, str) else goal.astype(float)
        pays, draws = {"cost": (1.0, 1.0), "last": (0.0, _ALONE)}.get(str(goal), (0.0, _FAINT))
        span_U, latent, open_D = self._cost.span_U, np.zeros(self._latent), np.full(self._latent, np.inf)
        answer = self._solver(
            x0=at_x,
            p=np.concatenate([
                wanted.start_U, wanted.last_U, wanted.d_V, np.where(steered, wanted.setpoint_Y, 0.0),
                np.where(steered, self._cost.weight_Y, 0.0), [0.0 if one is None else _kept_at(one) for one in given],
                share_R, [pays, draws], start.p,
            ]),
            lbx=np.concatenate([(wanted.low_U - wanted.start_U) / span_U, np.zeros(len(given)), -open_D]),
            ubx=np.concatenate([(wanted.high_U - wanted.start_U) / span_U, most_R, open_D]),
            lbg=np.concatenate([np.full(len(given), -np.inf), latent]),
            ubg=np.concatenate([[_OPEN if one is None else 0.0 for one in given], latent]),
        )  # fmt: skip
        found = np.array(answer["x"])[:, 0]
        return found if self._solver.stats()["success"] and np.isfinite(found).all() else None


def _kept_at(limit: SoftLimit) -> float:
    """A limit with the distance that is kept for doubt at the end of the horizon [unit]."""
    return float(limit.at - limit.sign * limit.backoff_N[-1])


def values_at(
    calculated: Calculated | None, y_Y: np.ndarray, u_U: np.ndarray, d_V: np.ndarray
) -> dict[Source, np.ndarray]:
    """What limits are on, by its source, where the plant rests at these CVs, MVs and DVs."""
    none = np.empty(0)
    return {Source.CV: y_Y, Source.CALCULATED: none if calculated is None else calculated.of_row(y_Y, u_U, d_V)}
