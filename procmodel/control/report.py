"""From what the solver found to a `Plan` that people can read. Shapes as in `optimizer.py`; engineering units."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from procmodel.control.explain import cost_shares, with_reasons
from procmodel.control.limits import TOLERANCE
from procmodel.control.objective import StageCost
from procmodel.control.plan import Calculation, Plan, Status
from procmodel.control.problem import Problem, Solvable, Trial
from procmodel.control.scenarios import Scenarios
from procmodel.control.sensitivities import Forecast, Forecaster, Sensitivity
from procmodel.control.subproblem import Linearisation
from procmodel.control.told import over_scenarios
from procmodel.control.watch import Watch
from procmodel.plant import Plant


@dataclass(frozen=True, kw_only=True)
class Reporter:
    """Writes the plans of one plant."""

    plant: Plant
    forecaster: Forecaster
    cost: StageCost

    def plan(
        self,
        status: Status,
        why: str,
        watch: Watch,
        *,
        problem: Solvable,
        trial: Trial,
        unmoved: Trial,
        first: Linearisation | None = None,
        iterations: int = 0,
    ) -> Plan:
        """A plan to follow; without a linearisation its gains are not known. Of several scenarios it shows the first.

        What decides, what is given up and what it costs is told over all of them.
        """
        plan = self._of_one(
            status,
            why,
            watch,
            problem=problem.nominal,
            trial=trial.by_scenario[0],
            unmoved=unmoved.by_scenario[0],
            sensitivity=first.sensitivity if first else None,
            iterations=iterations,
        )
        if not isinstance(problem, Scenarios):
            return plan
        cost, still = (self.cost.per_advice(float(one.cost_K[0])) for one in (trial, unmoved))
        plan = replace(plan, cost=cost, cost_unmoved=still)
        return over_scenarios(plan, self.plant, problem, trial, first)

    def _of_one(
        self,
        status: Status,
        why: str,
        watch: Watch,
        *,
        problem: Problem,
        trial: Trial,
        unmoved: Trial,
        sensitivity: Sensitivity | None,
        iterations: int,
    ) -> Plan:
        forecast, limits = trial.forecast, problem.limits
        mvs = len(self.plant.mvs)
        steady_YU = np.full((len(self.plant.cvs), mvs), np.nan)
        if sensitivity is not None:  # the first block is one step, held to the end
            steady_YU = sensitivity.y_NYP[-1][:, :mvs]
        return Plan(
            **self._names(),
            status=status,
            reason=why,
            moves=forecast.moves_KNU[0],
            predicted=forecast.y_KNY[0],
            unmoved=unmoved.forecast.y_KNY[0],
            margins=forecast.margins_KNG[0],
            calculated=self._calculated(problem, forecast, unmoved.forecast),
            steady_gain=steady_YU,
            give_ups=with_reasons(limits.give_ups(forecast), self.plant, problem, trial, sensitivity),
            cost_shares=cost_shares(self.plant, problem, trial),
            active=(*self._hard_limits(problem, forecast.moves_KNU[0]), *limits.touched(forecast)),
            cost=self.cost.per_advice(float(trial.cost_K[0])),
            cost_unmoved=self.cost.per_advice(float(unmoved.cost_K[0])),
            seconds=watch.seconds | {"total": watch.elapsed},
            iterations=iterations,
            latents=forecast.latents_KND[0].numpy(),
            limits={(limit.tag, limit.side): limit.at for limit in limits.limits if not limit.is_head},
            funnels={
                (limit.tag, limit.side): np.asarray(limit.funnel_N)
                for limit in limits.limits
                if np.any(np.asarray(limit.funnel_N) > 0.0)
            },
        )

    def hold(
        self,
        why: str,
        watch: Watch,
        *,
        start_U: np.ndarray,
        problem: Problem | None = None,
        unmoved: Trial | None = None,
    ) -> Plan:
        """No move, with the forecast of it where there is one."""
        steps, outputs, mvs = self.forecaster.horizon.steps, len(self.plant.cvs), len(self.plant.mvs)
        predicted, margins = np.full((steps, outputs), np.nan), np.full((steps, len(self.forecaster.heads)), np.nan)
        cost, calculated = float("nan"), dict[str, Calculation]()
        if unmoved is not None and problem is not None:
            calculated = self._calculated(problem, unmoved.forecast, unmoved.forecast)
        if unmoved is not None:
            predicted, margins = unmoved.forecast.y_KNY[0], unmoved.forecast.margins_KNG[0]
            cost = self.cost.per_advice(float(unmoved.cost_K[0]))
        return Plan(
            **self._names(),
            status=Status.HOLD,
            reason=why,
            moves=np.tile(start_U, (steps, 1)),
            predicted=predicted,
            unmoved=predicted,
            margins=margins,
            calculated=calculated,
            steady_gain=np.full((outputs, mvs), np.nan),
            give_ups=problem.limits.give_ups(unmoved.forecast) if problem and unmoved else (),
            cost=cost,
            cost_unmoved=cost,
            seconds=watch.seconds | {"total": watch.elapsed},
        )

    def not_finite(self, problem: Solvable, unmoved: Trial) -> str:
        """Why there is no number to plan with, in words."""
        if not unmoved.is_forecast:
            return "the model's forecast without a move is not finite"
        wrong = ~np.isfinite(unmoved.excess_KNR[0]).all(axis=0)
        names = dict.fromkeys(
            limit.tag for limit, is_wrong in zip(problem.limits.limits, wrong, strict=True) if is_wrong
        )
        return (
            f"what is calculated for {' and '.join(map(repr, names))} is not finite without a move; see the arguments "
            "of sqrt, log and / in advice.constraints"
        )

    def _calculated(self, problem: Problem, forecast: Forecast, unmoved: Forecast) -> dict[str, Calculation]:
        """What is calculated along a plan, by name."""
        limits = problem.limits
        if limits.calculated is None:
            return {}
        with_moves, without = (limits.calculated.along(each)[0] for each in (forecast, unmoved))
        now_E = limits.now_E if limits.now_E.size else np.full(len(limits.calculated.names), np.nan)
        return {
            name: Calculation(
                unit=self.plant.advice.constraints[name].unit,
                now=float(now_E[e]),
                predicted=with_moves[:, e],
                unmoved=without[:, e],
            )
            for e, name in enumerate(limits.calculated.names)
        }

    def _names(self) -> dict[str, Any]:
        return {
            "mvs": tuple(self.plant.mvs),
            "cvs": tuple(self.plant.cvs),
            "heads": tuple(head.name for head in self.forecaster.heads),
        }

    def _hard_limits(self, problem: Problem, moves_NU: np.ndarray) -> list[str]:
        """MV limits that the plan reaches and largest moves that it makes now, in words."""
        horizon, words = self.forecaster.horizon, []
        for u, name in enumerate(self.plant.mvs):
            unit, near = self.plant.tags[name].unit, TOLERANCE * float(self.cost.span_U[u])
            change = float(moves_NU[0, u] - problem.now.start_U[u])
            if problem.bounds.up_MU[0, u] == 0.0 == problem.bounds.down_MU[0, u]:
                words.append(f"{name} out of service, held at {moves_NU[0, u]:.4g} {unit}")
                continue
            if (moves_NU[:, u] <= horizon.low_U[u] + near).any():
                words.append(f"{name} low limit {horizon.low_U[u]:.4g} {unit}")
            if (moves_NU[:, u] >= horizon.high_U[u] - near).any():
                words.append(f"{name} high limit {horizon.high_U[u]:.4g} {unit}")
            if change >= horizon.up_U[u] - near or -change >= horizon.down_U[u] - near:
                words.append(f"{name} at its largest move {abs(change):.4g} {unit}")
        return words
