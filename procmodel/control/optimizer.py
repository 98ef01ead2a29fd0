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
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

import numpy as np

from procmodel.control.formulation import Formulation, Unknown
from procmodel.control.plan import Plan, Status
from procmodel.control.prepared import Prepared, expected
from procmodel.control.problem import Problem, Solvable, Trial
from procmodel.control.qp import QuadraticSolver
from procmodel.control.report import Reporter
from procmodel.control.requests import ORDINARY, Orders
from procmodel.control.sensitivities import Head
from procmodel.control.spread import kept_apart
from procmodel.control.sqp import Outcome, minimise
from procmodel.control.threads import on_one_core
from procmodel.control.watch import Watch
from procmodel.data.window import Scaler
from procmodel.errors import DatasetError
from procmodel.plant import Plant
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
        self._plant, self._model, self._clock, self._soon = plant, model, clock, soon
        self._bias = bias or BiasFilter()
        self.formulation = Formulation(
            plant=plant,
            model=model,
            scaler=scaler,
            heads=heads,
            backoff_HY=backoff_HY,
            bias=self._bias,
            members=members,
        )
        self.horizon, self.cost, self.limits = self.formulation.horizon, self.formulation.cost, self.formulation.limits
        self.forecaster = self.formulation.observer.forecaster
        self._solver = QuadraticSolver()
        self._report = Reporter(plant=plant, forecaster=self.forecaster, cost=self.cost)

    @property
    def rows_wanted(self) -> int:
        """History rows that are of use; `model.rows` are enough to plan."""
        return self.formulation.rows_wanted

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
        orders: Orders = ORDINARY,
        *,
        previous: Plan | None = None,
        deadline: float | None = None,
        prepared: Prepared | None = None,
        **asked: Any,
    ) -> Plan:
        """What to do from here.

        Args:
            rows_RC: History, NaN in gaps, newest last. The MVs' last good values are where the moves start.
            orders: What is different at this tick.
            previous: The plan of one advice ago.
            deadline: Time from now in which to end; none is started that would probably end later [s].
            prepared: Derivatives that `prepare` took between the ticks; left aside where they fit another problem.
            asked: Of the orders, by name: `plan(rows, setpoints={"L1": 12.0})`.

        Raises:
            PlantFileError: a name in the orders is unknown.
            DatasetError: `rows_RC` has not the plant's columns, or fewer rows than the model reads; or announced DVs
                have not the plant's.
        """
        watch = Watch(clock=self._clock, deadline=deadline)
        tick = self.formulation.tick(rows_RC, orders.but(**asked), previous, watch)
        if isinstance(tick, Unknown):
            return self._report.hold(tick.why, watch, start_U=tick.start_U)
        problem, one = tick.problem, tick.problem.nominal
        start_U = one.now.start_U
        with watch.stage("first rollout"):
            unmoved, kept, shifted = self._starts(problem, previous)
        if not unmoved.is_finite:
            return self._report.hold(self._report.not_finite(problem, unmoved), watch, start_U=start_U)
        if tick.is_still:
            why = "every MV is out of service"
            return self._report.hold(why, watch, start_U=start_U, problem=one, unmoved=unmoved)
        start = shifted if shifted and shifted.score.beats(kept.score) else kept
        known = prepared.fitting(problem) if prepared else None
        outcome = minimise(problem, start, self._solver, watch, known)
        if tick.members and self._plant.advice.member_spread and outcome.iterations:
            apart = kept_apart(problem, outcome.trial, tick.members, self._soon)
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
    def prepare(self, rows_RC: np.ndarray, previous: Plan, orders: Orders = ORDINARY, **asked: Any) -> Prepared | None:
        """Derivatives for the next advice, taken now: where the plan just made is expected to have led by then.

        Between two ticks there is time for what takes longest; the next `plan` then only reacts to what was measured.
        Its answer is as good: each of its programs has the true excess and the true gradient, whatever the
        derivatives. Arguments as handed to the `plan` that gave `previous`; None where there is nothing to prepare,
        as after a hold, or for a model that is not taken apart by hand.
        """
        if not self.usable(previous) or not self.forecaster.is_by_hand:
            return None
        tick = self.formulation.tick(rows_RC, orders.but(**asked), previous, Watch(clock=self._clock))
        if isinstance(tick, Unknown) or not tick.problem.is_by_hand or tick.is_still:
            return None
        later = expected(tick.problem, previous.moves)
        changes_MU = later.as_changes(self.horizon.shifted(previous.moves))
        trial = later.evaluate(changes_MU[None])
        return Prepared.of(later, trial) if trial.is_finite else None

    def problem(self, rows_RC: np.ndarray, orders: Orders = ORDINARY, **asked: Any) -> Problem:
        """The first scenario of what `plan` solves, for other solvers to solve too; arguments and errors as there.

        Raises:
            DatasetError: an MV or a DV has no good sample, so that there is nothing to solve.
        """
        return self.scenarios(rows_RC, orders, **asked).nominal

    def scenarios(self, rows_RC: np.ndarray, orders: Orders = ORDINARY, **asked: Any) -> Solvable:
        """What `plan` solves, over all scenarios; arguments and errors as of `problem`."""
        tick = self.formulation.tick(rows_RC, orders.but(**asked), None, Watch(clock=self._clock))
        if isinstance(tick, Unknown):
            raise DatasetError(f"history: {tick.why}. Hand over rows in which each MV and DV was measured once.")
        return tick.problem

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
        shape = (self.horizon.steps, len(self._plant.mvs))
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
