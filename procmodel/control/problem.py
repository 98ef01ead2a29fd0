"""The optimization of one tick: what is given, and what a plan would bring.

Shapes: K plans tried at once, N rows of the horizon, M blocks, U MVs, P = M * U, R soft limits.
Changes are in spans of their MV, so that the program's numbers are of one size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from procmodel.control.horizon import Bounds
from procmodel.control.limits import Score, SoftLimits
from procmodel.control.objective import StageCost
from procmodel.control.sensitivities import Forecast, Forecaster, Now


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Plans with what they cost.

    Attributes:
        changes_KMU: Changes of the blocks [spans].
        cost_K: Without penalties, divided by the objective's size.
        excess_KNR: Of the soft limits.
        scores: Of each plan.
    """

    changes_KMU: np.ndarray
    forecast: Forecast
    cost_K: np.ndarray
    excess_KNR: np.ndarray
    scores: tuple[Score, ...]

    def only(self, plan: int) -> Trial:
        """One of the plans."""
        at = slice(plan, plan + 1)
        return Trial(
            changes_KMU=self.changes_KMU[at],
            forecast=self.forecast.only(plan),
            cost_K=self.cost_K[at],
            excess_KNR=self.excess_KNR[at],
            scores=self.scores[at],
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
        horizon, bounds = self.forecaster.horizon, self.bounds
        if moves_KNU is None:
            moves_KNU = np.array([horizon.rows(bounds, c_MU * self.cost.span_U) for c_MU in changes_KMU])
        forecast = self.forecaster.forecast(self.now, moves_KNU)
        excess_KNR = self.limits.excess(forecast)
        cost_K = self.cost.total(forecast.y_KNY, moves_KNU, self.now.dv_NV, bounds.start_U, self.setpoint_Y)
        cost_K = np.where(forecast.finite_K, cost_K, np.inf)
        scores = zip(cost_K, self.limits.penalties(excess_KNR), strict=True)
        return Trial(
            changes_KMU=changes_KMU,
            forecast=forecast,
            cost_K=cost_K,
            excess_KNR=excess_KNR,
            scores=tuple(Score.of(float(cost), penalty_I) for cost, penalty_I in scores),
        )

    def as_changes(self, moves_NU: np.ndarray) -> np.ndarray:
        """Blocked changes closest to given rows within the hard bounds, [M, U] [spans]."""
        return np.asarray(self.forecaster.horizon.changes(self.bounds, moves_NU) / self.cost.span_U)

    def per_change(self, values_U: np.ndarray) -> np.ndarray:
        """A value per MV, for each blocked change, [P]."""
        return np.tile(values_U, self.forecaster.horizon.blocks)
