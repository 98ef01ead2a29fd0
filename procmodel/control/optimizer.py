"""The receding-horizon optimizer: history in, a named plan out.

Shapes: R rows of history, C columns in plant order, N rows of the horizon, U MVs, V DVs, Y CVs. Engineering units.

A plan ends as one of

    converged                            no step promises more
    feasible at deadline                 the best plan so far: time, iterations or the solver ran out
    previous plan, shifted and verified  no program was solved, but the last plan still holds under a new forecast
    hold                                 anything else, with the reason

Every number shown was forecast from the moves shown, in one rollout. No decision is remembered from call to call: the
only warm start is the `previous` plan that the caller hands over, and only a usable one is taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TypeGuard

import numpy as np

from procmodel.control.bias import filled
from procmodel.control.horizon import Horizon
from procmodel.control.limits import SoftLimits
from procmodel.control.objective import StageCost
from procmodel.control.observer import Observer, dvs_ahead, history_of, is_sound, missing_in
from procmodel.control.orders import TickOrders, orders_of
from procmodel.control.plan import Plan, Status
from procmodel.control.prepared import Prepared, expected_now
from procmodel.control.problem import Problem, Solvable, Trial
from procmodel.control.qp import QuadraticSolver
from procmodel.control.report import Reporter
from procmodel.control.scenarios import of_equal_weight
from procmodel.control.sensitivities import Head, Now
from procmodel.control.spread import backoff_rows, kept_apart
from procmodel.control.sqp import Outcome, minimise
from procmodel.control.threads import on_one_core
from procmodel.control.watch import Watch
from procmodel.data.window import Columns, Scaler
from procmodel.errors import DatasetError, PlantFileError
from procmodel.plant import Plant
from procmodel.plant import Status as TagStatus
from procmodel.plant.changes import LimitChanges
from procmodel.world_model.correction import BiasFilter
from procmodel.world_model.protocol import WorldModel

_WORSE = ", and the previous plan would now be worse than no move"


class Optimizer:
    """Plans the MVs of one plant with one model.

    Args:
        model: In float64; `model.double()` makes a trained one so.
        scaler: The model's.
        heads: Learned margins that the plan keeps above zero.
        backoff_HY: Distance kept from the CVs' soft limits for doubt, per horizon step, on both sides [unit]; the last
            row holds beyond its end.
        bias: How past errors correct the forecast.
        members: Further models of the plant; `advice.scenarios` and `advice.member_spread` of the plant file say what
            for. The heads do not read their latents.
        soon: Row after which the members' spread is taken to grow no more.
        clock: Seconds, rising; tests bring their own.

    Raises:
        PlantFileError: the horizon, the objective or a price in the plant file cannot be used.
        ArtifactError: `backoff_HY` does not fit the plant.
    """

    def __init__(
        self,
        *,
        plant: Plant,
        model: WorldModel,
        scaler: Scaler,
        heads: Sequence[Head] = (),
        backoff_HY: np.ndarray | None = None,
        bias: BiasFilter | None = None,
        members: Sequence[WorldModel] = (),
        soon: int | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._plant, self._model, self._scaler, self._clock = plant, model, scaler, clock
        self._columns = Columns.of(plant)
        self._bias = bias or BiasFilter()
        mv = list(self._columns.mv)
        self.horizon = Horizon.of(plant, scaler.centre[mv], scaler.spread[mv])
        self.cost = StageCost.of(plant, scaler, self.horizon)
        backoff_NY = backoff_rows(plant, backoff_HY, self.horizon.steps)
        self.limits = SoftLimits.of(plant, scaler, heads, self.horizon, backoff_NY)
        self._observer = Observer.of(plant, model, scaler, heads, self.horizon, self._bias)
        self._others = tuple(Observer.of(plant, member, scaler, (), self.horizon, self._bias) for member in members)
        self._soon = soon
        self.forecaster = self._observer.forecaster
        self._interval = self.horizon.interval * plant.sample_time
        self._solver = QuadraticSolver()
        self._report = Reporter(plant=plant, forecaster=self.forecaster, cost=self.cost)

    @property
    def rows_wanted(self) -> int:
        """History rows that are of use; `model.rows` are enough to plan."""
        return self._model.rows + self.horizon.steps + self._bias.reach - 1

    @property
    def rows_enough(self) -> int:
        """History rows with which every step of the horizon has its own correction; more tell lasting errors."""
        return self._model.rows + self.horizon.steps + self._bias.memory - 1

    @property
    def future_rows(self) -> int:
        """Rows ahead for which announced DVs are of use."""
        return self.horizon.steps

    @on_one_core
    def plan(
        self,
        rows_RC: np.ndarray,
        *,
        setpoints: Mapping[str, float] | None = None,
        future_dv_HV: np.ndarray | None = None,
        futures: Mapping[str, np.ndarray] | None = None,
        previous: Plan | None = None,
        out_of_service: Collection[str] = (),
        limits: LimitChanges | None = None,
        statuses: Mapping[str, TagStatus] | None = None,
        rest: Mapping[str, float] | None = None,
        ends: Mapping[str, float] | None = None,
        deadline: float | None = None,
        prepared: Prepared | None = None,
    ) -> Plan:
        """What to do from here.

        Args:
            rows_RC: History, NaN in gaps, newest last. The MVs' last good values are where the moves start.
            setpoints: By CV, in place of the plant file's.
            future_dv_HV: Announced DVs from the next row on; a NaN, and all beyond the end, hold the value before.
            futures: Other courses that the DVs may take, by name; each is a further scenario (`scenarios.py`).
            previous: The plan of one advice ago.
            out_of_service: MVs that stay at their measured value, and CVs that are neither steered nor limited.
            limits: By tag and side, in place of the plant file's; a CV's are followed at its `ramp` from `previous`.
            statuses: By tag, in place of the plant file's.
            rest: Ideal resting values by MV, in place of the plant file's; those of a target layer.
            ends: By CV, where the horizon should end; those of a slower layer, which knows what is worth storing.
            deadline: Time from now in which to end; none is started that would probably end later [s].
            prepared: Derivatives that `prepare` took between the ticks; left aside where they fit another problem.

        Raises:
            PlantFileError: a name in `setpoints`, `out_of_service` or `ends` is unknown.
            DatasetError: `rows_RC` has not the plant's columns, or fewer rows than the model reads; or announced DVs
                have not the plant's.
        """
        watch = Watch(clock=self._clock, deadline=deadline)
        rows_RC = history_of(self._plant, rows_RC, self._model.rows, self.rows_wanted)
        order = orders_of(self._plant, setpoints, out_of_service, limits, statuses)
        newest_C = filled(rows_RC)[-1]
        start_U = newest_C[list(self._columns.mv)]
        if missing := missing_in(self._plant, newest_C, future_dv_HV):
            return self._report.hold(missing, watch, start_U=start_U)
        now = self._observer.now(rows_RC, future_dv_HV, watch)
        if not is_sound(now):
            return self._report.hold("the model's encoding of the history is not finite", watch, start_U=start_U)
        one = self._problem(now, order, newest_C, previous, rest, ends)
        members = [self._seen_by(other, one, rows_RC, future_dv_HV, watch) for other in self._others]
        problem = self._over_scenarios(one, members, rows_RC, futures or {})
        with watch.stage("first rollout"):
            unmoved, kept, shifted = self._starts(problem, previous)
        if not unmoved.is_finite:
            return self._report.hold("the model's forecast without a move is not finite", watch, start_U=start_U)
        if order.frozen_U.all():
            why = "every MV is out of service"
            return self._report.hold(why, watch, start_U=start_U, problem=one, unmoved=unmoved)
        start = shifted if shifted and shifted.score.beats(kept.score) else kept
        known = prepared.fitting(one) if prepared and problem is one else None
        outcome = minimise(problem, start, self._solver, watch, known)
        if members and self._plant.advice.member_spread and outcome.iterations:
            apart = kept_apart(problem, outcome.trial, members, self._soon)
            if apart is None:
                return self._report.hold("a member's forecast of the plan is not finite", watch, start_U=start_U)
            problem = apart
            # Where no time is left, the plan stands as it is, and is judged by the distance that it should keep.
            again = minimise(problem, problem.evaluate(outcome.trial.changes_KMU), self._solver, watch)
            made = outcome.iterations + again.iterations
            outcome = replace(again, iterations=made, first=again.first or outcome.first)
        if outcome.iterations == 0:
            return self._without_program(problem, outcome, unmoved, shifted, watch)
        return self._report.plan(
            Status.CONVERGED if outcome.converged else Status.FEASIBLE,
            outcome.why,
            watch,
            problem=problem,
            trial=outcome.trial,
            unmoved=unmoved,
            first=outcome.first,
            iterations=outcome.iterations,
        )

    @on_one_core
    def prepare(
        self,
        rows_RC: np.ndarray,
        previous: Plan,
        *,
        setpoints: Mapping[str, float] | None = None,
        future_dv_HV: np.ndarray | None = None,
        out_of_service: Collection[str] = (),
    ) -> Prepared | None:
        """Derivatives for the next advice, taken now: where the plan just made is expected to have led by then.

        Between two ticks there is time for what takes longest; the next `plan` then only reacts to what was measured.
        Its answer is as good: each of its programs has the true excess and the true gradient, whatever the
        derivatives. Arguments as handed to the `plan` that gave `previous`; None where there is nothing to prepare,
        as over several scenarios.
        """
        if not self.usable(previous) or not self.forecaster.is_by_hand or self._others:
            return None
        problem = self.problem(rows_RC, setpoints=setpoints, future_dv_HV=future_dv_HV, out_of_service=out_of_service)
        expected = problem.forecaster.forecast(problem.now, previous.moves[None])
        ahead = expected_now(problem.now, expected, self.horizon.interval)
        later = replace(problem, now=ahead, bounds=replace(problem.bounds, start_U=ahead.start_U))
        changes_MU = later.as_changes(self.horizon.shifted(previous.moves))
        trial = later.evaluate(changes_MU[None])
        return Prepared.of(later, trial) if trial.forecast.finite_K[0] else None

    def problem(
        self,
        rows_RC: np.ndarray,
        *,
        setpoints: Mapping[str, float] | None = None,
        future_dv_HV: np.ndarray | None = None,
        out_of_service: Collection[str] = (),
        limits: LimitChanges | None = None,
        statuses: Mapping[str, TagStatus] | None = None,
    ) -> Problem:
        """What `plan` solves, for others to solve too (`oracle.py`, `targets.py`); arguments and errors as there.

        Raises:
            DatasetError: an MV or a DV has no good sample, so that there is nothing to solve.
        """
        rows_RC = history_of(self._plant, rows_RC, self._model.rows, self.rows_wanted)
        order = orders_of(self._plant, setpoints, out_of_service, limits, statuses)
        newest_C = filled(rows_RC)[-1]
        if missing := missing_in(self._plant, newest_C, future_dv_HV):
            raise DatasetError(f"history: {missing}. Hand over rows in which each MV and DV was measured once.")
        now = self._observer.now(rows_RC, future_dv_HV, Watch(clock=self._clock))
        return self._problem(now, order, newest_C, None)

    def _problem(
        self,
        now: Now,
        order: TickOrders,
        newest_C: np.ndarray,
        previous: Plan | None,
        rest: Mapping[str, float] | None = None,
        ends: Mapping[str, float] | None = None,
    ) -> Problem:
        cost = self.cost if not rest else replace(self.cost, rest_U=self._rest(rest))
        return Problem(
            forecaster=self.forecaster,
            cost=cost if not ends else replace(cost, end_Y=self._ends(ends, order)),
            limits=order.soft(self.limits, newest_C[list(self._columns.cv)], previous, self._interval),
            now=now,
            bounds=order.bounds(self.horizon, now.start_U),
            setpoint_Y=order.setpoint_Y,
        )

    def scenarios(
        self,
        rows_RC: np.ndarray,
        *,
        future_dv_HV: np.ndarray | None = None,
        futures: Mapping[str, np.ndarray] | None = None,
    ) -> Solvable:
        """What `plan` solves over several scenarios, as `problem` gives that of one; errors as there."""
        one = self.problem(rows_RC, future_dv_HV=future_dv_HV)
        watch = Watch(clock=self._clock)
        rows_RC = history_of(self._plant, rows_RC, self._model.rows, self.rows_wanted)
        members = [self._seen_by(other, one, rows_RC, future_dv_HV, watch) for other in self._others]
        return self._over_scenarios(one, members, rows_RC, futures or {})

    def _seen_by(
        self,
        other: Observer,
        problem: Problem,
        rows_RC: np.ndarray,
        future_dv_HV: np.ndarray | None,
        watch: Watch,
    ) -> Problem:
        """The problem with another member's eyes; the heads do not read its latents."""
        now = other.now(rows_RC, future_dv_HV, watch)
        limits = problem.limits.without(frozenset(head.name for head in self.forecaster.heads))
        return replace(problem, forecaster=other.forecaster, now=now, limits=limits)

    def _over_scenarios(
        self, problem: Problem, members: Sequence[Problem], rows_RC: np.ndarray, futures: Mapping[str, np.ndarray]
    ) -> Solvable:
        """One doubt at a time: each further model with the DVs as expected, each other course with the first model."""
        found = {"expected": problem}
        if "members" in self._plant.advice.scenarios:
            found |= {f"member {number}": member for number, member in enumerate(members, start=2)}
        newest_C = filled(rows_RC)[-1]
        newest_V = newest_C[list(self._columns.dv)]
        for name, course_HV in futures.items():
            missing_in(self._plant, newest_C, course_HV)  # raises where it has not the plant's DVs
            if name in found:
                raise DatasetError(f"futures: {name!r} is the name of another scenario of this plan. Give it another.")
            dv_NV = dvs_ahead(newest_V, course_HV, self.horizon.steps)
            found[name] = replace(problem, now=replace(problem.now, dv_NV=dv_NV))
        shared = self.horizon.blocks if self._plant.advice.shared_moves == "all" else 1
        return of_equal_weight(found, shared) if len(found) > 1 else problem

    def _rest(self, rest: Mapping[str, float]) -> np.ndarray:
        return np.array([rest.get(name, self.cost.rest_U[u]) for u, name in enumerate(self._plant.mvs)])

    def _ends(self, ends: Mapping[str, float], order: TickOrders) -> np.ndarray:
        """Values at the end of the horizon; a CV that is left alone is not led anywhere."""
        if unknown := set(ends) - set(self._plant.cvs):
            raise PlantFileError(f"ends: {', '.join(sorted(unknown))} is no CV; known: {', '.join(self._plant.cvs)}.")
        return np.array([np.nan if name in order.out else ends.get(name, np.nan) for name in self._plant.cvs])

    def _starts(self, problem: Solvable, previous: Plan | None) -> tuple[Trial, Trial, Trial | None]:
        """No move at all, the closest to it that the hard limits allow, and the previous plan one advice later."""
        still_NU = np.tile(problem.nominal.now.start_U, (self.horizon.steps, 1))
        rows = [still_NU]
        if previous is not None and self.usable(previous):
            rows.append(self.horizon.shifted(previous.moves))
        changes_KMU = np.array([problem.as_changes(rows_NU) for rows_NU in (still_NU, *rows)])
        inside_KNU = [problem.rows(c_MU) for c_MU in changes_KMU[1:]]
        if np.array_equal(inside_KNU[0], still_NU):  # as a rule: one rollout less
            trial = problem.evaluate(changes_KMU[1:], np.array(inside_KNU))
            return trial.only(0), trial.only(0), trial.only(1) if len(rows) > 1 else None
        trial = problem.evaluate(changes_KMU, np.array([still_NU, *inside_KNU]))
        return trial.only(0), trial.only(1), trial.only(2) if len(rows) > 1 else None

    def usable(self, previous: Plan | None) -> TypeGuard[Plan]:
        """Whether a plan may be where iterations start."""
        if previous is None:
            return False
        shape = (self.horizon.steps, len(self._columns.mv))
        fits = previous.mvs == tuple(self._plant.mvs) and previous.moves.shape == shape
        return previous.status.usable and fits and bool(np.isfinite(previous.moves).all())

    def _without_program(
        self, problem: Solvable, outcome: Outcome, unmoved: Trial, shifted: Trial | None, watch: Watch
    ) -> Plan:
        """The previous plan where it still holds, else a hold."""
        why, one = outcome.why, problem.nominal
        if shifted is not None and not unmoved.score.beats(shifted.score):
            return self._report.plan(Status.SHIFTED, why, watch, problem=problem, trial=shifted, unmoved=unmoved)
        why += ", and there is no previous plan" if shifted is None else _WORSE
        return self._report.hold(why, watch, start_U=one.now.start_U, problem=one, unmoved=unmoved)
