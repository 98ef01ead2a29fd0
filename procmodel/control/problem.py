"""The optimization of one tick: what is given, and what a plan would bring.

Shapes: K plans tried at once, N rows of the horizon, M blocks, U MVs, P = M * U, R soft limits.
Changes are in spans of their MV, so that the program's numbers are of one size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np

from procmodel.control.horizon import Bounds
from procmodel.control.limits import Score, SoftLimits
from procmodel.control.objective import StageCost
from procmodel.control.sensitivities import Forecast, Forecaster, Now
from procmodel.control.subproblem import Linearisation, Subproblem, linearised, subproblem


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Plans with what they cost.

    Attributes:
        changes_KMU: Changes of the blocks [spans].
        cost_K: Without penalties, divided by the objective's size.
        excess_KNR: Of the soft limits.
        scores: Of each plan.
        parts: In each scenario, where there are several; `forecast` is then that of the first one, and the rows of the
            excess are those of all scenarios, one after the other.
    """

    changes_KMU: np.ndarray
    forecast: Forecast
    cost_K: np.ndarray
    excess_KNR: np.ndarray
    scores: tuple[Score, ...]
    parts: tuple[Trial, ...] = ()

    @classmethod
    def scored(cls, limits: SoftLimits, **facts: Any) -> Self:
        """With the scores that follow from cost and excess."""
        scores = zip(facts["cost_K"], limits.penalties(facts["excess_KNR"]), strict=True)
        return cls(**facts, scores=tuple(Score.of(float(cost), penalty_I) for cost, penalty_I in scores))

    def only(self, plan: int) -> Trial:
        """One of the plans."""
        at = slice(plan, plan + 1)
        return Trial(
            changes_KMU=self.changes_KMU[at],
            forecast=self.forecast.only(plan),
            cost_K=self.cost_K[at],
            excess_KNR=self.excess_KNR[at],
            scores=self.scores[at],
            parts=tuple(part.only(plan) for part in self.parts),
        )

    def best(self) -> int:
        """Index of the best plan."""
        best = 0
        for plan in range(1, len(self.scores)):
            if self.scores[plan].beats(self.scores[best]):
                best = plan
        return best

    def better_of(self, other: Trial) -> Trial:
        """Of two single plans the better one; the other one where they are alike."""
        return self if self.score.beats(other.score) else other

    @property
    def score(self) -> Score:
        """Of the only plan."""
        return self.scores[0]

    @property
    def by_scenario(self) -> tuple[Trial, ...]:
        """The plans in each scenario; there may be but one."""
        return self.parts or (self,)

    @property
    def y_NY(self) -> np.ndarray:
        """CVs under the only plan, the rows of all scenarios one after the other."""
        parts = [part.forecast.y_KNY[0] for part in self.by_scenario]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @property
    def is_finite(self) -> bool:
        """Whether all that is forecast of the only plan are numbers."""
        return self.is_forecast and bool(np.isfinite(self.excess_KNR).all())

    @property
    def is_forecast(self) -> bool:
        """Whether what the model forecasts of the only plan are numbers, whatever is calculated from them."""
        return all(bool(part.forecast.finite_K[0]) for part in self.by_scenario)


class Solvable(Protocol):
    """What `sqp.py` asks of an optimization: of one future (`Problem`) or of several (`scenarios.py`)."""

    @property
    def nominal(self) -> Problem:
        """The one that is shown."""
        ...

    @property
    def limits(self) -> SoftLimits: ...
    @property
    def span_Y(self) -> np.ndarray: ...
    @property
    def is_by_hand(self) -> bool: ...

    def keeping(self, backoff_NY: np.ndarray) -> Solvable:
        """The same with at least so much distance kept from the limits of CVs [unit]."""
        ...

    def evaluate(self, changes_KMU: np.ndarray, moves_KNU: np.ndarray | None = None) -> Trial:
        """Forecast and cost of plans."""
        ...

    def linearised(self, trial: Trial, price_NR: np.ndarray | None, *, again: bool = False) -> Linearisation:
        """All derivatives at a plan, as `subproblem.linearised` gives them."""
        ...

    def subproblem(self, lin: Linearisation, trial: Trial, price_NR: np.ndarray | None) -> Subproblem:
        """The program around a plan, as `subproblem.subproblem` gives it."""
        ...

    def rows(self, changes_MU: np.ndarray) -> np.ndarray:
        """MV values of every row [N, U]; of the first scenario, where there are several."""
        ...

    def as_changes(self, moves_NU: np.ndarray) -> np.ndarray:
        """Blocked changes closest to given rows within the hard bounds, [M, U] [spans]."""
        ...

    def inside(self, changes_MU: np.ndarray) -> np.ndarray:
        """Changes put exactly inside the hard bounds, [M, U] [spans]."""
        ...


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The optimization of one tick."""

    forecaster: Forecaster
    cost: StageCost
    limits: SoftLimits
    now: Now
    bounds: Bounds
    setpoint_Y: np.ndarray

    def evaluate(self, changes_KMU: np.ndarray, moves_KNU: np.ndarray | None = None) -> Trial:
        """Forecast and cost of plans given by their changes; `moves_KNU` where they are more than blocks can say."""
        bounds = self.bounds
        if moves_KNU is None:
            moves_KNU = np.array([self.rows(c_MU) for c_MU in changes_KMU])
        forecast = self.forecaster.forecast(self.now, moves_KNU)
        excess_KNR = self.limits.excess(forecast)
        cost_K = self.cost.total(forecast.y_KNY, moves_KNU, self.now.dv_NV, bounds.start_U, self.setpoint_Y)
        cost_K = np.where(forecast.finite_K, cost_K, np.inf)
        return Trial.scored(
            self.limits, changes_KMU=changes_KMU, forecast=forecast, cost_K=cost_K, excess_KNR=excess_KNR
        )

    @property
    def nominal(self) -> Problem:
        """The problem itself."""
        return self

    @property
    def span_Y(self) -> np.ndarray:
        """Spans of the CVs."""
        return self.cost.span_Y

    @property
    def is_by_hand(self) -> bool:
        """Whether the gradient at a further plan is cheap."""
        return self.forecaster.is_by_hand

    def keeping(self, backoff_NY: np.ndarray) -> Problem:
        """The same with at least so much distance kept from the limits of CVs [unit]."""
        return replace(self, limits=self.limits.keeping(backoff_NY))

    def linearised(self, trial: Trial, price_NR: np.ndarray | None, *, again: bool = False) -> Linearisation:
        """All derivatives at a plan."""
        return linearised(self, trial, price_NR, again=again)

    def subproblem(self, lin: Linearisation, trial: Trial, price_NR: np.ndarray | None) -> Subproblem:
        """The program around a plan."""
        return subproblem(self, lin, trial, price_NR)

    def rows(self, changes_MU: np.ndarray) -> np.ndarray:
        """MV values of every row, [N, U], from the blocks' changes [spans]."""
        return self.forecaster.horizon.rows(self.bounds, changes_MU * self.cost.span_U)

    def inside(self, changes_MU: np.ndarray) -> np.ndarray:
        """Changes put exactly inside the hard bounds, [M, U] [spans]."""
        return self.as_changes(self.rows(changes_MU))

    def as_changes(self, moves_NU: np.ndarray) -> np.ndarray:
        """Blocked changes closest to given rows within the hard bounds, [M, U] [spans]."""
        return np.asarray(self.forecaster.horizon.changes(self.bounds, moves_NU) / self.cost.span_U)

    def per_change(self, values_U: np.ndarray) -> np.ndarray:
        """A value per MV, for each blocked change, [P]."""
        return np.tile(values_U, self.forecaster.horizon.blocks)
