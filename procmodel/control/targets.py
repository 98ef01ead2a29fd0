"""Steady-state target layer: where the plant should come to rest, as a ranked program on the model's own equilibrium.

`rest_program.py` has the program, `rest.py` what a rest is. It takes what the optimizer takes at the same tick: limits
and statuses in force, setpoints, MVs out of service, DVs as they are expected at the end of the horizon. Where the
model has no equilibrium, or none is found, the gains that the horizon ends in stand in: `Targets.by_gains` says why.

Anti-flip: an economic optimum sits in a corner, and a model that is a little off makes it jump to another. The target
stays where it was, or as near as the limits now let it, unless leaving it earns more than `WORTH_LEAVING` of the
objective's typical size; without an objective there is nothing to hold it. A small quadratic pull decides between
targets that earn the same. What it was is for the caller to hand back: nothing is remembered here.

Shapes: N rows of the horizon, U MVs, V DVs, Y CVs, D latent. Engineering units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from procmodel.control.limits import TOLERANCE
from procmodel.control.objective import StageCost
from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import GiveUp, Targets
from procmodel.control.problem import Problem
from procmodel.control.rest import HORIZONS, Equilibrium, ground_of_gains
from procmodel.control.rest_program import RestProgram, Start, Wanted, values_at
from procmodel.control.sensitivities import Forecast
from procmodel.control.soft_limit import SoftLimit
from procmodel.errors import ArtifactError
from procmodel.plant import Plant

# What another target has to earn, relative to the objective's typical size [-].
WORTH_LEAVING = 0.01
# Of the time between two advices, what one program of the equilibrium may take [-].
SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class _Ground:
    """What a rest is at one tick: a program, where it starts, and the CVs [Y] of any MVs [U] (None: no rest)."""

    program: RestProgram
    start: Start
    answer: Callable[[np.ndarray], np.ndarray | None]


class TargetLayer:
    """Targets of one plant, by the model of its optimizer.

    Args:
        equilibrium: Of the model; None: written from the model itself, where its architecture is known.
    """

    def __init__(self, plant: Plant, optimizer: Optimizer, *, equilibrium: Equilibrium | None = None) -> None:
        self._plant, self._forecaster, self._cost = plant, optimizer.forecaster, optimizer.cost
        limits = [limit for limit in optimizer.limits.limits if not limit.is_head]
        self._calculated = optimizer.limits.calculated
        self._equilibrium, self._unwritten = equilibrium, ""
        if equilibrium is None:
            try:
                self._equilibrium = Equilibrium.of(self._forecaster)
            except ArtifactError:
                kind = type(self._forecaster.model).__name__
                self._unwritten = f"a {kind} cannot be written as an expression"
        within = {"max_wall_time": SHARE * optimizer.horizon.interval * plant.sample_time}
        self._by_rest = None
        if self._equilibrium is not None:
            self._by_rest = RestProgram(self._equilibrium.ground(), self._cost, limits, self._calculated, within)
        by_gains = ground_of_gains(len(plant.cvs), len(plant.mvs), len(plant.dvs))
        self._by_gains = RestProgram(by_gains, self._cost, limits, self._calculated)

    def targets(self, problem: Problem, before: Targets | None = None) -> Targets | None:
        """The best rest under the orders of one tick; None where no MV may be moved, or none is found.

        Args:
            problem: As `Optimizer.problem` gives it.
            before: The targets of one advice ago.
        """
        start_U, bounds = problem.now.start_U, problem.bounds
        is_still_U = (bounds.down_MU == 0.0).all(axis=0) & (bounds.up_MU == 0.0).all(axis=0)
        low_U, high_U = (np.where(is_still_U, start_U, rows_NU[-1]) for rows_NU in (bounds.low_NU, bounds.high_NU))
        still_NU = np.tile(start_U, (problem.forecaster.horizon.steps, 1))
        unmoved = problem.forecaster.forecast(problem.now, still_NU[None])
        if not unmoved.finite_K[0] or is_still_U.all():
            return None
        wanted = Wanted(
            start_U=start_U,
            last_U=start_U if before is None else self._of(before),
            low_U=low_U,
            high_U=high_U,
            limits=tuple(limit for limit in problem.limits.limits if not limit.is_head),
            setpoint_Y=problem.setpoint_Y,
            d_V=problem.now.dv_NV[-1],
        )
        why, ground = self._at_rest(wanted, unmoved)
        found = self._best(wanted, ground, before) if ground else None
        if ground and found is None:
            why = "no best rest of the model was found, or it would not last"
        if found is None:
            found = self._best(wanted, self._along(wanted, unmoved), before)
        if found is None:
            return None
        return replace(found, by_gains=why, before={} if before is None else before.u | before.y)

    def _at_rest(self, wanted: Wanted, unmoved: Forecast) -> tuple[str, _Ground | None]:
        """The model's own equilibrium; or why not."""
        rests = self._equilibrium
        if rests is None or self._by_rest is None:
            return self._unwritten, None
        end_D, y0_Y, start_U, d_V = unmoved.latents_KND[0, -1].numpy(), unmoved.y_KNY[0, -1], wanted.start_U, wanted.d_V
        z0_D = rests.rest(end_D, start_U, d_V)
        moving = self._moving(rests, end_D if z0_D is None else z0_D, start_U, d_V)
        if z0_D is None or moving:
            return moving or "the model has no equilibrium near where it ends if nothing is moved", None
        read_Y = rests.read(z0_D)

        def answer(u_U: np.ndarray) -> np.ndarray | None:
            z_D = rests.rest(z0_D, u_U, d_V)
            if z_D is None or self._moving(rests, z_D, u_U, d_V):
                return None
            return np.asarray(y0_Y + rests.read(z_D) - read_Y)

        start = Start(z_D=z0_D, p=np.concatenate([y0_Y, read_Y]), y_Y=y0_Y)
        return "", _Ground(program=self._by_rest, start=start, answer=answer)

    def _moving(self, rests: Equilibrium, z_D: np.ndarray, u_U: np.ndarray, d_V: np.ndarray) -> str:
        """Which CV does not come to rest, in words; "" where all do."""
        rows = HORIZONS * self._forecaster.horizon.steps
        found = rests.unsettled(z_D, u_U, d_V, rows, self._cost.span_Y, self._cost.span_U)
        if found is None:
            return ""
        cv, mv = self._plant.cvs[found[0]], self._plant.mvs[found[1]]
        return f"{HORIZONS} horizons after a move of {mv} the model has not brought {cv} to rest"

    def _along(self, wanted: Wanted, unmoved: Forecast) -> _Ground:
        """The gains that the horizon ends in if the first block is moved."""
        y0_Y, start_U = unmoved.y_KNY[0, -1], wanted.start_U
        gain_YU = self._forecaster.sensitivity(unmoved).y_NYP[-1][:, : len(start_U)]

        def answer(u_U: np.ndarray) -> np.ndarray:
            return np.asarray(y0_Y + gain_YU @ (u_U - start_U))

        p = np.concatenate([y0_Y, start_U, gain_YU.ravel()])
        return _Ground(program=self._by_gains, start=Start(z_D=np.empty(0), p=p, y_Y=y0_Y), answer=answer)

    def _best(self, wanted: Wanted, ground: _Ground, before: Targets | None) -> Targets | None:
        solved = ground.program.solve(wanted, ground.start)
        found = None if solved is None else self._resting(wanted, ground, solved.u_U)
        if solved is None or found is None or before is None:
            return found
        stay = self._resting(wanted, ground, self._of(before))
        if stay is None or not self._may_stay(stay, found, wanted):
            # The same corner, where it has moved to: limits that held at the last targets may hold next to them.
            near_U = ground.program.nearest(wanted, ground.start, solved)
            stay = None if near_U is None else self._resting(wanted, ground, near_U)
        # Setpoints alone make a bowl, which has no corners to jump between.
        worth = WORTH_LEAVING * self._cost.size if self._cost.economic else 0.0
        if stay is None or not stay.cost - found.cost < worth:
            return found
        return replace(stay, stayed=True)

    def _may_stay(self, stay: Targets, found: Targets, wanted: Wanted) -> bool:
        """Whether the last targets may still be gone to, and give up no more than the best ones."""
        last_U = self._of(stay)
        inside = bool(((last_U >= wanted.low_U - 1e-9) & (last_U <= wanted.high_U + 1e-9)).all())
        lost = zip(self._lost(stay, wanted), self._lost(found, wanted), strict=True)
        return inside and all(more <= least + TOLERANCE for more, least in lost)

    def _resting(self, wanted: Wanted, ground: _Ground, u_U: np.ndarray) -> Targets | None:
        """What resting there brings."""
        y_Y = ground.answer(u_U)
        if y_Y is None or not np.isfinite(y_Y).all():
            return None
        give_ups = [
            GiveUp(tag=limit.tag, side=limit.side, limit=limit.at, amount=beyond, rank=limit.rank)
            for limit, beyond in self._beyond(y_Y, u_U, wanted)
            if beyond > TOLERANCE * limit.scale
        ]
        return Targets(
            u=dict(zip(self._plant.mvs, u_U.tolist(), strict=True)),
            y=dict(zip(self._plant.cvs, y_Y.tolist(), strict=True)),
            cost=_cost_at(self._cost, y_Y, u_U, wanted),
            give_ups=tuple(sorted(give_ups, key=lambda each: each.rank)),
        )

    def _lost(self, targets: Targets, wanted: Wanted) -> list[float]:
        """What is given up by rank, the most important first [spans]."""
        y_Y = np.array([targets.y[name] for name in self._plant.cvs])
        lost = dict.fromkeys(sorted({limit.rank for limit in wanted.limits}), 0.0)
        for limit, beyond in self._beyond(y_Y, self._of(targets), wanted):
            lost[limit.rank] += max(0.0, beyond / limit.scale)
        return list(lost.values())

    def _beyond(self, y_Y: np.ndarray, u_U: np.ndarray, wanted: Wanted) -> list[tuple[SoftLimit, float]]:
        """How far a rest is beyond each limit in force [unit]; negative inside."""
        values = values_at(self._calculated, y_Y, u_U, wanted.d_V)
        return [(limit, limit.sign * (float(values[limit.source][limit.column]) - limit.at)) for limit in wanted.limits]

    def _of(self, targets: Targets) -> np.ndarray:
        return np.array([targets.u[name] for name in self._plant.mvs])


def _cost_at(cost: StageCost, y_Y: np.ndarray, u_U: np.ndarray, wanted: Wanted) -> float:
    """In the objective's own unit, setpoints included."""
    return float(cost.task(y_Y[None], u_U[None], wanted.d_V[None], wanted.setpoint_Y)[0])
