"""Many advice problems of one plant solved at once: from requests to tensors, and from tensors to plans.

Shapes: B problems, R rows of history, C columns in plant order, N rows of the horizon, M blocks, U MVs, V DVs, Y CVs,
P = M * U changes [spans]. Engineering units.

What `fleet.py` does problem by problem on all cores, this does step by step for all problems, on cores or on a graphics
card (`batched_core.py`): encodings and past errors, forecasts, derivatives, programs. It does so for latent models with
setpoints, economic objectives, hard bounds, soft limits and constraint heads. What asks more of a plant (members,
scenarios, another model) is refused when it is made. A single problem that asks more (no sample of an MV, its own
resting values, limits of several ranks in conflict, iterations that did not converge) is handed to `Optimizer.plan`,
whose answer it then has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from procmodel.control.batched_core import BatchCore
from procmodel.control.batched_data import BatchProblem, BatchSolution, on_device
from procmodel.control.batched_given import beyond, limit_offsets, plant_of
from procmodel.control.batched_past import BatchObserver, filled_all
from procmodel.control.horizon import Bounds
from procmodel.control.limits import SoftLimits
from procmodel.control.observer import dvs_ahead, history_of, missing_in
from procmodel.control.optimizer import Optimizer
from procmodel.control.orders import TickOrders, orders_of
from procmodel.control.plan import Plan, Status
from procmodel.control.problem import Problem
from procmodel.control.report import Reporter
from procmodel.control.requests import Request
from procmodel.control.sensitivities import Now
from procmodel.control.watch import Watch
from procmodel.data.window import Columns, Scaler
from procmodel.errors import InputError
from procmodel.plant import Plant
from procmodel.world_model.correction import BiasFilter


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What came of a batch.

    Attributes:
        moves_BNU: Planned MV values.
        predicted_BNY: CVs under the plans, bias included.
        status_B: How each ended.
        merit_B: Cost and penalties, divided by the objective's size; NaN for those of `alone`.
        alone: Plans that `Optimizer.plan` made, by place.
    """

    moves_BNU: np.ndarray
    predicted_BNY: np.ndarray
    status_B: tuple[Status, ...]
    merit_B: np.ndarray
    alone: dict[int, Plan]


@dataclass(frozen=True, kw_only=True)
class Given:
    """Problems as tensors, and what plans are told from besides."""

    problems: BatchProblem
    bounds: list[Bounds]
    limits: list[SoftLimits]
    dv_BNV: np.ndarray


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A request that the batch can take, checked."""

    request: Request
    rows_RC: np.ndarray
    orders: TickOrders


class BatchedOptimizer:
    """Plans for many requests at once, with the answers of `Optimizer` but for rounding and its tolerances.

    Args:
        heads: Constraint heads.
        members: Of an `Optimizer`; refused.
        backoff_HY, bias: As there.
        device: Of torch: "cpu" or "cuda".

    Raises:
        InputError: What the plant needs is beyond the batch.
    """

    def __init__(
        self,
        *,
        plant: Plant,
        model: Any,
        scaler: Scaler,
        heads: Sequence[Any] = (),
        members: Sequence[Any] = (),
        backoff_HY: np.ndarray | None = None,
        bias: BiasFilter | None = None,
        device: str = "cpu",
    ) -> None:
        if why := beyond(plant, model, heads, members=bool(members)):
            raise InputError(f"batched advice: {why}. Plan such requests with Fleet, which solves any problem.")
        self.alone = Optimizer(plant=plant, model=model, scaler=scaler, heads=heads, backoff_HY=backoff_HY, bias=bias)
        self._plant, self._scaler = plant, scaler
        self._columns, horizon = Columns.of(plant), self.alone.horizon
        self.shared = plant_of(self.alone, model, scaler)
        self._core = BatchCore(on_device(self.shared, device))
        self._past = BatchObserver.of(model, scaler, self._columns, horizon.steps, bias or BiasFilter(), device)
        self._report = Reporter(plant=plant, forecaster=self.alone.forecaster, cost=self.alone.cost)

    @property
    def has_ramps(self) -> bool:
        """Whether a limit goes on from where the plan before had it."""
        return any(tag.ramp is not None for tag in self._plant.tags.values())

    def plan(self, requests: Sequence[Request]) -> list[Plan]:
        """A plan for each request, in their order; errors are those of `Optimizer.plan`."""
        given, solved, places, plans = self._solved(requests)
        if given is not None and solved is not None:
            plans |= {i: self._told(given, solved, place) for place, i in enumerate(places) if i not in plans}
        return [plans[i] for i in range(len(requests))]

    def solve(self, requests: Sequence[Request]) -> Answers:
        """The moves for each request without the words around them, which take longer than the moves."""
        _, solved, places, alone = self._solved(requests)
        horizon = self.alone.horizon
        moves = np.empty((len(requests), horizon.steps, len(self._plant.mvs)))
        predicted = np.empty((len(requests), horizon.steps, len(self._plant.cvs)))
        merit = np.full(len(requests), np.nan)
        if solved is not None:
            moves[places], predicted[places] = solved.moves_BNU.numpy(), solved.y_BNY.numpy()[..., : predicted.shape[2]]
            merit[places] = solved.merit_B.numpy()
        for i, plan in alone.items():
            moves[i], predicted[i], merit[i] = plan.moves, plan.predicted, np.nan
        status = tuple(alone[i].status if i in alone else Status.CONVERGED for i in range(len(requests)))
        return Answers(moves_BNU=moves, predicted_BNY=predicted, status_B=status, merit_B=merit, alone=alone)

    def given(self, requests: Sequence[Request]) -> Given:
        """Requests as tensors on the processor.

        Raises:
            InputError: One of them is none that the batch solves.
        """
        asked = [self._asked(request) for request in requests]
        if None in asked:
            raise InputError(
                "batched advice: a request has a deadline, too few rows, or nothing to move. Leave it out."
            )
        return self._as_tensors([one for one in asked if one is not None])

    def solve_tensors(self, problems: BatchProblem) -> BatchSolution:
        """The solution of problems as tensors, piece by piece; both on the processor."""
        return self._core.solve_in_pieces(problems)

    def _solved(
        self, requests: Sequence[Request]
    ) -> tuple[Given | None, BatchSolution | None, list[int], dict[int, Plan]]:
        """The batch, its solution, which request each of its problems is, and the plans of all others."""
        asked = {i: one for i, request in enumerate(requests) if (one := self._asked(request)) is not None}
        places = list(asked)
        given = self._as_tensors(list(asked.values())) if asked else None
        solved = self.solve_tensors(given.problems) if given is not None else None
        sound = set()
        if solved is not None:
            is_sound = (solved.converged_B & ~solved.conflict_B).tolist()
            sound = {i for i, sure in zip(places, is_sound, strict=True) if sure}
        alone = {i: self._by_itself(request) for i, request in enumerate(requests) if i not in sound}
        return given, solved, places, alone

    def _asked(self, request: Request) -> _Asked | None:
        """A request with its rows and orders; None where it is one for `Optimizer.plan`."""
        asked = request.orders
        orders = orders_of(self._plant, asked.setpoints, asked.out_of_service, asked.limits, asked.statuses)
        rows_RC = history_of(self._plant, request.rows_RC, self._past.model.rows, self._past.rows)
        if asked.rest or asked.ends or asked.futures or request.deadline is not None:
            return None
        if len(rows_RC) < self._past.rows or orders.frozen_U.all():
            return None
        if missing_in(self._plant, np.fmax.reduce(rows_RC, axis=0), asked.future_dv_HV):
            return None
        return _Asked(request=request, rows_RC=rows_RC, orders=orders)

    def _by_itself(self, request: Request) -> Plan:
        return request.planned_by(self.alone)

    def _as_tensors(self, asked: Sequence[_Asked]) -> Given:
        horizon, columns, scaler = self.alone.horizon, self._columns, self._scaler
        rows_BRC = np.stack([one.rows_RC for one in asked])
        filled_BRC = filled_all(rows_BRC)
        latent_BD, bias_BNY, unrest_B = self._past.at(rows_BRC, filled_BRC)
        start_BU, dv_BV, y_BY = (filled_BRC[:, -1, list(part)] for part in (columns.mv, columns.dv, columns.cv))
        ahead = zip(asked, dv_BV, strict=True)
        dv_BNV = np.stack([dvs_ahead(dv_V, one.request.orders.future_dv_HV, horizon.steps) for one, dv_V in ahead])
        bounds = [one.orders.bounds(horizon, start_U) for one, start_U in zip(asked, start_BU, strict=True)]
        interval = horizon.interval * self._plant.sample_time
        soft = [
            one.orders.soft(self.alone.limits, y_Y, one.request.previous, interval).in_unrest(unrest, y_Y)
            for one, y_Y, unrest in zip(asked, y_BY, unrest_B.tolist(), strict=True)
        ]
        setpoint_BY = np.stack([one.orders.setpoint_Y for one in asked])
        allowance_NG = self.alone.forecaster.allowance_NG
        heads = allowance_NG.shape[1]
        bias_BNG = np.broadcast_to(-allowance_NG, (*bias_BNY.shape[:2], heads))
        arrays = {
            "latent_BD": latent_BD.cpu().numpy(),
            "start_BU": start_BU,
            "dv_BNV": scaler.scale(dv_BNV, columns.dv),
            "bias_BNY": np.concatenate([bias_BNY, bias_BNG], axis=2),
            "setpoint_BY": np.pad(setpoint_BY, ((0, 0), (0, heads)), constant_values=np.nan),
            "down_BMU": np.stack([each.down_MU for each in bounds]),
            "up_BMU": np.stack([each.up_MU for each in bounds]),
            "low_BNU": np.stack([each.low_NU for each in bounds]),
            "high_BNU": np.stack([each.high_NU for each in bounds]),
            "offset_BRN": np.stack([limit_offsets(self.alone.limits, limits) for limits in soft]),
            "starts_BKP": self._starts(asked, start_BU),
        }
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        return Given(problems=BatchProblem(**tensors), bounds=bounds, limits=soft, dv_BNV=dv_BNV)

    def _starts(self, asked: Sequence[_Asked], start_BU: np.ndarray) -> np.ndarray:
        """No move, and the previous plan one advice later where there is one, as changes, [B, K, P] [spans]."""
        horizon = self.alone.horizon
        levels_BMU = np.repeat(start_BU[:, None], horizon.blocks, axis=1)
        found = {b: one.request.previous for b, one in enumerate(asked) if self.alone.usable(one.request.previous)}
        for b, previous in found.items():
            levels_BMU[b] = horizon.shifted(previous.moves)[np.array(horizon.ends) - 1]
        changes_BMU = np.diff(levels_BMU, axis=1, prepend=start_BU[:, None]) / self.alone.cost.span_U
        starts = [np.zeros_like(changes_BMU)] + ([changes_BMU] if found else [])
        return np.stack(starts, axis=1).reshape(len(asked), len(starts), -1)

    def _told(self, given: Given, solved: BatchSolution, place: int) -> Plan:
        """All that `Optimizer.plan` says of a plan."""
        watch, problems, cvs = Watch(), given.problems, len(self._plant.cvs)
        problem = Problem(
            forecaster=self.alone.forecaster,
            cost=self.alone.cost,
            limits=given.limits[place],
            now=Now(
                latent_D=problems.latent_BD[place],
                start_U=problems.start_BU[place].numpy(),
                dv_NV=given.dv_BNV[place],
                bias_NY=problems.bias_BNY[place, :, :cvs].numpy(),
            ),
            bounds=given.bounds[place],
            setpoint_Y=problems.setpoint_BY[place, :cvs].numpy(),
        )
        horizon = self.alone.horizon
        changes_MU = solved.changes_BP[place].numpy().reshape(horizon.blocks, -1)
        still_NU = np.tile(problem.now.start_U, (horizon.steps, 1))
        tried = problem.evaluate(
            np.stack([np.zeros_like(changes_MU), changes_MU]), np.stack([still_NU, solved.moves_BNU[place].numpy()])
        )
        unmoved, trial = tried.only(0), tried.only(1)
        # Derivatives are only wanted in words where something is given up.
        first = problem.linearised(unmoved, None) if problem.limits.give_ups(trial.forecast) else None
        plan = self._report.plan(
            Status.CONVERGED,
            "no step promises more",
            watch,
            problem=problem,
            trial=trial,
            unmoved=unmoved,
            first=first,
            iterations=int(solved.iterations_B[place]),
        )
        return replace(plan, steady_gain=solved.gain_BYU[place, :cvs].numpy())
