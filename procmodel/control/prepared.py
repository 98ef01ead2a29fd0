"""The real-time iteration split: derivatives taken between two ticks, a reaction when the measurement is there.

Shapes: N rows of the horizon, D latent, U MVs, V DVs, Y CVs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from procmodel.control.problem import Problem, Solvable, Trial
from procmodel.control.scenarios import Scenarios
from procmodel.control.sensitivities import Forecast, Now
from procmodel.control.subproblem import Linearisation


@dataclass(frozen=True, kw_only=True)
class Structure:
    """What derivatives of a problem are derivatives of, whatever its numbers.

    Attributes:
        scenarios: Their names.
        limits: Soft limits by tag and side.
        steered, resting, ending: Per CV, MV and CV, whether it has a setpoint, a resting value and an end to reach.
    """

    scenarios: tuple[str, ...]
    limits: tuple[tuple[str, str], ...]
    steered: tuple[bool, ...]
    resting: tuple[bool, ...]
    ending: tuple[bool, ...]

    @classmethod
    def of(cls, problem: Solvable) -> Self:
        """Of a problem."""
        one = problem.nominal
        return cls(
            scenarios=tuple(each.name for each in problem.scenarios) if isinstance(problem, Scenarios) else (),
            limits=tuple((limit.tag, limit.side) for limit in one.limits.limits),
            steered=_given(one.setpoint_Y),
            resting=_given(one.cost.rest_U),
            ending=_given(one.cost.end_Y),
        )


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Derivatives at the plan and the state that the next tick is expected to start from."""

    linearisation: Linearisation
    structure: Structure

    @classmethod
    def of(cls, problem: Solvable, trial: Trial) -> Prepared:
        """At a plan of a problem."""
        lin = _from_elsewhere(problem.linearised(trial, None))
        return cls(linearisation=lin, structure=Structure.of(problem))

    def fitting(self, problem: Solvable) -> Linearisation | None:
        """For a problem of the same structure; None where that has changed since."""
        return self.linearisation if self.structure == Structure.of(problem) else None


def expected(problem: Solvable, moves_NU: np.ndarray) -> Solvable:
    """The problem one advice later, where the plant does in each scenario what the model forecasts of the moves."""
    trial = problem.evaluate(problem.as_changes(moves_NU)[None], moves_NU[None])
    if not isinstance(problem, Scenarios):
        assert isinstance(problem, Problem)
        return _later(problem, trial.forecast)
    each = zip(problem.scenarios, trial.parts, strict=True)
    return replace(problem, scenarios=tuple(replace(s, problem=_later(s.problem, part.forecast)) for s, part in each))


def _later(problem: Problem, forecast: Forecast) -> Problem:
    now = expected_now(problem.now, forecast, problem.forecaster.horizon.interval)
    return replace(problem, now=now, bounds=replace(problem.bounds, start_U=now.start_U))


def expected_now(now: Now, forecast: Forecast, rows: int) -> Now:
    """Where the (only) plan of a forecast leads within so many rows; DVs and corrections go on as they were to."""
    later = np.minimum(np.arange(len(now.dv_NV)) + rows, len(now.dv_NV) - 1)
    return Now(
        latent_D=forecast.latents_KND[0, rows - 1].clone(),
        start_U=forecast.moves_KNU[0, rows - 1],
        dv_NV=now.dv_NV[later],
        bias_NY=now.bias_NY,
    )


def _given(values: np.ndarray) -> tuple[bool, ...]:
    return tuple(np.isfinite(values).tolist())


def _from_elsewhere(lin: Linearisation) -> Linearisation:
    return replace(lin, is_from_here=False, parts=tuple(_from_elsewhere(part) for part in lin.parts))
