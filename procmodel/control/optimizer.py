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

import numpy as np

from procmodel.control.bias import BiasFilter, correction, filled
from procmodel.control.horizon import Horizon
from procmodel.control.limits import SoftLimits
from procmodel.control.objective import StageCost
from procmodel.control.orders import TickOrders, orders_of
from procmodel.control.past import PastForecasts
from procmodel.control.plan import Plan, Status
from procmodel.control.prepared import Prepared, expected_now
from procmodel.control.problem import Problem, Trial
from procmodel.control.qp import QuadraticSolver
from procmodel.control.report import Reporter
from procmodel.control.sensitivities import Forecaster, Head, Now
from procmodel.control.sqp import Outcome, minimise
from procmodel.control.watch import Watch
from procmodel.data.window import Columns, Scaler
from procmodel.errors import ArtifactError, DatasetError, PlantFileError
from procmodel.plant import Plant
from procmodel.plant import Status as TagStatus
from procmodel.plant.changes import LimitChanges
from procmodel.world_model.protocol import WorldModel


class Optimizer:
    """Plans the MVs of one plant with one model.

    Args:
        model: In float64; `model.double()` makes a trained one so.
        scaler: The model's.
        heads: Learned margins that the plan keeps above zero.
        backoff_HY: Distance kept from the CVs' soft limits for doubt, per horizon step, on both sides [unit]; the last
            row holds beyond its end.
        bias: How past errors correct the forecast.
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
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._plant, self._model, self._scaler, self._clock = plant, model, scaler, clock
        self._columns = Columns.of(plant)
        self._bias = bias or BiasFilter()
        mv = list(self._columns.mv)
        self.horizon = Horizon.of(plant, scaler.centre[mv], scaler.spread[mv])
        self.cost = StageCost.of(plant, scaler, self.horizon)
        self.limits = SoftLimits.of(plant, scaler, heads, self.horizon, self._backoff(backoff_HY))
        self.forecaster = Forecaster(
            model=model, scaler=scaler, columns=self._columns, heads=heads, horizon=self.horizon
        )
        self._interval = self.horizon.interval * plant.sample_time
        self._past = PastForecasts(
            model=model,
            scaler=scaler,
            columns=self._columns,
            steps=self.horizon.steps,
            memory=self._bias.memory,
            most=self.horizon.interval,
        )
        self._solver = QuadraticSolver()
        self._report = Reporter(plant=plant, forecaster=self.forecaster, cost=self.cost)

    @property
    def rows_wanted(self) -> int:
        """History rows with which every step of the horizon has its own correction; `model.rows` are enough to plan."""
        return self._model.rows + self.horizon.steps + self._bias.memory - 1

    @property
    def future_rows(self) -> int:
        """Rows ahead for which announced DVs are of use."""
        return self.horizon.steps

    def plan(
        self,
        rows_RC: np.ndarray,
        *,
        setpoints: Mapping[str, float] | None = None,
        future_dv_HV: np.ndarray | None = None,
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
            DatasetError: `rows_RC` has not the plant's columns, or fewer rows than the model reads.
        """
        watch = Watch(clock=self._clock, deadline=deadline)
        rows_RC = self._history(rows_RC)
        order = orders_of(self._plant, setpoints, out_of_service, limits, statuses)
        newest_C = filled(rows_RC)[-1]
        start_U = newest_C[list(self._columns.mv)]
        if missing := self._missing(newest_C, future_dv_HV):
            return self._report.hold(missing, watch, start_U=start_U)
        now = self._now(rows_RC, newest_C, future_dv_HV, watch)
        if not (np.isfinite(now.bias_NY).all() and bool(now.latent_D.isfinite().all())):
            return self._report.hold("the model's encoding of the history is not finite", watch, start_U=start_U)
        problem = self._problem(now, order, newest_C, previous, rest, ends)
        with watch.stage("first rollout"):
            unmoved, kept, shifted = self._starts(problem, previous)
        if not unmoved.forecast.finite_K[0]:
            return self._report.hold("the model's forecast without a move is not finite", watch, start_U=start_U)
        if order.frozen_U.all():
            why = "every MV is out of service"
            return self._report.hold(why, watch, start_U=start_U, problem=problem, unmoved=unmoved)
        start = shifted if shifted and shifted.score.beats(kept.score) else kept
        outcome = minimise(problem, start, self._solver, watch, prepared.fitting(problem) if prepared else None)
        if outcome.iterations == 0:
            return self._without_program(problem, outcome, unmoved, shifted, watch)
        return self._report.plan(
            Status.CONVERGED if outcome.converged else Status.FEASIBLE,
            outcome.why,
            watch,
            problem=problem,
            trial=outcome.trial,
            unmoved=unmoved,
            sensitivity=outcome.sensitivity,
            iterations=outcome.iterations,
        )

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
        derivatives. Arguments as handed to the `plan` that gave `previous`; None where there is nothing to prepare.
        """
        if not self._usable(previous) or not self.forecaster.is_by_hand:
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
    ) -> Problem:
        """What `plan` solves, for other solvers to solve too (`oracle.py`); arguments and errors as there.

        Raises:
            DatasetError: an MV or a DV has no good sample, so that there is nothing to solve.
        """
        rows_RC = self._history(rows_RC)
        order = orders_of(self._plant, setpoints, out_of_service, None, None)
        newest_C = filled(rows_RC)[-1]
        if missing := self._missing(newest_C, future_dv_HV):
            raise DatasetError(f"history: {missing}. Hand over rows in which each MV and DV was measured once.")
        now = self._now(rows_RC, newest_C, future_dv_HV, Watch(clock=self._clock))
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

    def _backoff(self, backoff_HY: np.ndarray | None) -> np.ndarray:
        """Distance for doubt per row, [N, Y]."""
        outputs = len(self._columns.cv)
        if backoff_HY is None:
            return np.zeros((self.horizon.steps, outputs))
        given = np.asarray(backoff_HY, dtype=float)
        if given.ndim != 2 or given.shape[1] != outputs or not len(given) or not (given >= 0.0).all():
            raise ArtifactError(
                f"backoff: needs one non-negative number per horizon step and CV, [H, {outputs}], got shape "
                f"{given.shape}. Calibrate it again with this plant's model."
            )
        return given[np.minimum(np.arange(self.horizon.steps), len(given) - 1)]

    def _history(self, rows_RC: np.ndarray) -> np.ndarray:
        """The newest rows that can be of use."""
        rows_RC = np.asarray(rows_RC, dtype=float)
        if rows_RC.ndim != 2 or rows_RC.shape[1] != self._columns.count:
            raise DatasetError(
                f"history: needs rows of {self._columns.count} columns ({', '.join(self._plant.columns)}), got shape "
                f"{rows_RC.shape}. Hand over the dataset's columns in plant order."
            )
        if len(rows_RC) < self._model.rows:
            raise DatasetError(
                f"history: the model reads {self._model.rows} rows, got {len(rows_RC)}. Ask the historian for at least "
                f"{self._model.rows * self._plant.sample_time:g} s."
            )
        return np.where(np.isfinite(rows_RC), rows_RC, np.nan)[-self.rows_wanted :]

    def _rest(self, rest: Mapping[str, float]) -> np.ndarray:
        return np.array([rest.get(name, self.cost.rest_U[u]) for u, name in enumerate(self._plant.mvs)])

    def _ends(self, ends: Mapping[str, float], order: TickOrders) -> np.ndarray:
        """Values at the end of the horizon; a CV that is left alone is not led anywhere."""
        if unknown := set(ends) - set(self._plant.cvs):
            raise PlantFileError(f"ends: {', '.join(sorted(unknown))} is no CV; known: {', '.join(self._plant.cvs)}.")
        return np.array([np.nan if name in order.out else ends.get(name, np.nan) for name in self._plant.cvs])

    def _missing(self, newest_C: np.ndarray, future_dv_HV: np.ndarray | None) -> str | None:
        """Why the moves cannot start, or None."""
        needed = [*self._columns.mv, *self._columns.dv]
        names = [self._plant.columns[i] for i in needed if not np.isfinite(newest_C[i])]
        if names:
            return f"{', '.join(names)}: no good sample in the history"
        if future_dv_HV is not None and np.shape(future_dv_HV)[1:] != (len(self._columns.dv),):
            raise DatasetError(
                f"future DVs: needs rows of {len(self._columns.dv)} columns ({', '.join(self._plant.dvs) or 'none'}), "
                f"got shape {np.shape(future_dv_HV)}."
            )
        return None

    def _now(self, rows_RC: np.ndarray, newest_C: np.ndarray, future_dv_HV: np.ndarray | None, watch: Watch) -> Now:
        steps = self.horizon.steps
        with watch.stage("encode"):
            past = self._past.at(rows_RC)
        with watch.stage("bias"):
            bias_NY = correction(past.errors_NmY, self._bias)
        dv_NV = newest_C[list(self._columns.dv)][None]
        if future_dv_HV is not None:
            dv_NV = np.concatenate([dv_NV, np.asarray(future_dv_HV, dtype=float)])
        dv_NV = filled(dv_NV)[np.minimum(np.arange(1, steps + 1), len(dv_NV) - 1)]
        return Now(
            latent_D=past.latent_D,
            start_U=newest_C[list(self._columns.mv)],
            dv_NV=dv_NV,
            bias_NY=bias_NY,
        )

    def _starts(self, problem: Problem, previous: Plan | None) -> tuple[Trial, Trial, Trial | None]:
        """No move at all, the closest to it that the hard limits allow, and the previous plan one advice later."""
        still_NU = np.tile(problem.now.start_U, (self.horizon.steps, 1))
        rows = [still_NU]
        if previous is not None and self._usable(previous):
            rows.append(self.horizon.shifted(previous.moves))
        changes_KMU = np.array([problem.as_changes(rows_NU) for rows_NU in (still_NU, *rows)])
        inside_KNU = [self.horizon.rows(problem.bounds, c_MU * self.cost.span_U) for c_MU in changes_KMU[1:]]
        if np.array_equal(inside_KNU[0], still_NU):  # as a rule: one rollout less
            trial = problem.evaluate(changes_KMU[1:], np.array(inside_KNU))
            return trial.only(0), trial.only(0), trial.only(1) if len(rows) > 1 else None
        trial = problem.evaluate(changes_KMU, np.array([still_NU, *inside_KNU]))
        return trial.only(0), trial.only(1), trial.only(2) if len(rows) > 1 else None

    def _usable(self, previous: Plan) -> bool:
        shape = (self.horizon.steps, len(self._columns.mv))
        fits = previous.mvs == tuple(self._plant.mvs) and previous.moves.shape == shape
        return previous.status.usable and fits and bool(np.isfinite(previous.moves).all())

    def _without_program(
        self, problem: Problem, outcome: Outcome, unmoved: Trial, shifted: Trial | None, watch: Watch
    ) -> Plan:
        """The previous plan where it still holds, else a hold."""
        if shifted is None:
            return self._report.hold(
                f"{outcome.why}, and there is no previous plan",
                watch,
                start_U=problem.now.start_U,
                problem=problem,
                unmoved=unmoved,
            )
        if unmoved.score.beats(shifted.score):
            why = f"{outcome.why}, and the previous plan would now be worse than no move"
            return self._report.hold(why, watch, start_U=problem.now.start_U, problem=problem, unmoved=unmoved)
        return self._report.plan(Status.SHIFTED, outcome.why, watch, problem=problem, trial=shifted, unmoved=unmoved)
