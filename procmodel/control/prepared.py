"""The real-time iteration split: derivatives taken between two ticks, a reaction when the measurement is there.

Shapes: N rows of the horizon, D latent, U MVs, V DVs, Y CVs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from procmodel.control.problem import Problem, Trial
from procmodel.control.sensitivities import Forecast, Now
from procmodel.control.soft_limit import SoftLimit
from procmodel.control.subproblem import Linearisation, linearised


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Derivatives at the plan and the state that the next tick is expected to start from.

    Attributes:
        linearisation: With respect to that plan.
        limits: The soft limits that were in force.
        targets_Y: Which CVs had a setpoint.
    """

    linearisation: Linearisation
    limits: tuple[SoftLimit, ...]
    targets_Y: np.ndarray

    @classmethod
    def of(cls, problem: Problem, trial: Trial) -> Prepared:
        """At a plan of a problem."""
        return cls(
            linearisation=linearised(problem, trial, None),
            limits=problem.limits.limits,
            targets_Y=np.isfinite(problem.setpoint_Y),
        )

    def fitting(self, problem: Problem) -> Linearisation | None:
        """For a problem of the same limits and targets; None where these have changed since."""
        same = [limit.tag for limit in self.limits] == [limit.tag for limit in problem.limits.limits]
        same = same and np.array_equal(self.targets_Y, np.isfinite(problem.setpoint_Y))
        return self.linearisation if same else None


def expected_now(now: Now, forecast: Forecast, rows: int) -> Now:
    """Where the (only) plan of a forecast leads within so many rows; DVs and corrections go on as they were to."""
    later = np.minimum(np.arange(len(now.dv_NV)) + rows, len(now.dv_NV) - 1)
    return Now(
        latent_D=forecast.latents_KND[0, rows - 1].clone(),
        start_U=forecast.moves_KNU[0, rows - 1],
        dv_NV=now.dv_NV[later],
        bias_NY=now.bias_NY,
    )
