"""From a history and the orders of a tick to the optimization of that tick, over one future or several.

Shapes: R rows of history, C columns in plant order, V DVs, Y CVs, U MVs. Engineering units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from procmodel.control.bias import filled
from procmodel.control.horizon import Horizon
from procmodel.control.limits import SoftLimits
from procmodel.control.objective import StageCost
from procmodel.control.observer import Observer, dvs_ahead, history_of, is_sound, missing_in
from procmodel.control.orders import TickOrders, orders_of
from procmodel.control.plan import Plan
from procmodel.control.problem import Problem, Solvable
from procmodel.control.requests import Orders
from procmodel.control.scenarios import of_equal_weight
from procmodel.control.sensitivities import Head
from procmodel.control.spread import backoff_rows
from procmodel.control.watch import Watch
from procmodel.data.window import Columns, Scaler
from procmodel.errors import DatasetError, PlantFileError
from procmodel.plant import Plant
from procmodel.world_model.correction import BiasFilter
from procmodel.world_model.protocol import WorldModel


@dataclass(frozen=True, kw_only=True)
class TickProblem:
    """The optimization of one tick.

    Attributes:
        problem: Over all scenarios.
        members: Its first scenario as each further member sees it.
        is_still: Whether every MV is out of service.
    """

    problem: Solvable
    members: tuple[Problem, ...]
    is_still: bool


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """Why nobody can say where the moves would start; `start_U` has what is measured of it."""

    why: str
    start_U: np.ndarray


class Formulation:
    """Makes the problems of one plant; what is common to them is its own. Arguments as of `Optimizer`."""

    def __init__(
        self,
        *,
        plant: Plant,
        model: WorldModel,
        scaler: Scaler,
        heads: Sequence[Head],
        backoff_HY: np.ndarray | None,
        bias: BiasFilter,
        members: Sequence[WorldModel],
    ) -> None:
        self.plant, self.model, self._columns = plant, model, Columns.of(plant)
        mv = list(self._columns.mv)
        self.horizon = Horizon.of(plant, scaler.centre[mv], scaler.spread[mv])
        self.cost = StageCost.of(plant, scaler, self.horizon)
        backoff_NY = backoff_rows(plant, backoff_HY, self.horizon.steps)
        self.limits = SoftLimits.of(plant, scaler, heads, self.horizon, backoff_NY)
        self.observer = Observer.of(plant, model, scaler, heads, self.horizon, bias)
        self._others = tuple(Observer.of(plant, member, scaler, (), self.horizon, bias) for member in members)
        self._interval = self.horizon.interval * plant.sample_time
        self.rows_wanted = model.rows + self.horizon.steps + bias.reach - 1

    def tick(self, rows_RC: np.ndarray, orders: Orders, previous: Plan | None, watch: Watch) -> TickProblem | Unknown:
        """The problem of a tick; errors are those of `Optimizer.plan`."""
        rows_RC = history_of(self.plant, rows_RC, self.model.rows, self.rows_wanted)
        order = orders_of(self.plant, orders.setpoints, orders.out_of_service, orders.limits, orders.statuses)
        newest_C = filled(rows_RC)[-1]
        start_U = newest_C[list(self._columns.mv)]
        if missing := missing_in(self.plant, newest_C, orders.future_dv_HV):
            return Unknown(why=missing, start_U=start_U)
        now = self.observer.now(rows_RC, orders.future_dv_HV, watch)
        if not is_sound(now):
            return Unknown(why="the model's encoding of the history is not finite", start_U=start_U)
        cost = self.cost
        if orders.rest:
            cost = replace(cost, rest_U=self._rest(orders.rest))
        if orders.ends:
            cost = replace(cost, end_Y=self._ends(orders.ends, order))
        now_Y, now_U, now_V = (newest_C[list(part)] for part in (self._columns.cv, self._columns.mv, self._columns.dv))
        limits = order.soft(self.limits.measured(now_Y, now_U, now_V), now_Y, previous, self._interval)
        one = Problem(
            forecaster=self.observer.forecaster,
            cost=cost,
            limits=limits.in_unrest(now.unrest, now_Y),
            now=now,
            bounds=order.bounds(self.horizon, now.start_U),
            setpoint_Y=order.setpoint_Y,
        )
        members = tuple(self._seen_by(other, one, rows_RC, orders, watch) for other in self._others)
        return TickProblem(
            problem=self._over_scenarios(one, members, newest_C, orders.futures),
            members=members,
            is_still=bool(order.frozen_U.all()),
        )

    def _seen_by(self, other: Observer, problem: Problem, rows_RC: np.ndarray, orders: Orders, watch: Watch) -> Problem:
        """The problem with another member's eyes; the heads do not read its latents."""
        now = other.now(rows_RC, orders.future_dv_HV, watch)
        limits = problem.limits.without(frozenset(head.name for head in problem.forecaster.heads))
        return replace(problem, forecaster=other.forecaster, now=now, limits=limits)

    def _over_scenarios(
        self, problem: Problem, members: Sequence[Problem], newest_C: np.ndarray, futures: Mapping[str, np.ndarray]
    ) -> Solvable:
        """One doubt at a time: each further model with the DVs as expected, each other course with the first model."""
        found = {"expected": problem}
        if "members" in self.plant.advice.scenarios:
            found |= {f"member {number}": member for number, member in enumerate(members, start=2)}
        newest_V = newest_C[list(self._columns.dv)]
        for name, course_HV in futures.items():
            missing_in(self.plant, newest_C, course_HV)  # raises where it has not the plant's DVs
            if name in found:
                raise DatasetError(f"futures: {name!r} is the name of another scenario of this plan. Give it another.")
            dv_NV = dvs_ahead(newest_V, course_HV, self.horizon.steps)
            found[name] = replace(problem, now=replace(problem.now, dv_NV=dv_NV))
        shared = self.horizon.blocks if self.plant.advice.shared_moves == "all" else 1
        return of_equal_weight(found, shared) if len(found) > 1 else problem

    def _rest(self, rest: Mapping[str, float]) -> np.ndarray:
        return np.array([rest.get(name, self.cost.rest_U[u]) for u, name in enumerate(self.plant.mvs)])

    def _ends(self, ends: Mapping[str, float], order: TickOrders) -> np.ndarray:
        """Values at the end of the horizon; a CV that is left alone is not led anywhere."""
        if unknown := set(ends) - set(self.plant.cvs):
            raise PlantFileError(f"ends: {', '.join(sorted(unknown))} is no CV; known: {', '.join(self.plant.cvs)}.")
        return np.array([np.nan if name in order.out else ends.get(name, np.nan) for name in self.plant.cvs])
