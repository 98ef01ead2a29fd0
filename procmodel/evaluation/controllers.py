"""Who may move the MVs in a closed-loop trial, all asked the same way.

Shapes: R rows so far, C tags, U MVs, V DVs, W unmeasured disturbances, Y CVs, X states. Engineering units.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np

from procmodel.control.plan import Plan
from procmodel.control.prepared import Prepared
from procmodel.evaluation.oracle import Oracle
from procmodel.runtime.loop import Advisor
from procmodel.simulation import ReferencePlant

Array = np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Observation:
    """What there is to see before a row begins.

    Attributes:
        t: The row that is about to begin, counted from the start of the trial.
        time: Start of that row, aware, UTC.
        rows: What the instruments showed so far, [R, C], the time before the trial included; newest last, read-only.
        setpoints: What is asked of each CV now, [Y]; NaN where nothing is.
        u_previous: MVs held so far, [U].
        x, d, w: True state now and disturbances of the row about to begin; only the oracle may look.
    """

    t: int
    time: datetime
    rows: Array
    setpoints: Array
    u_previous: Array
    x: Array
    d: Array
    w: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Decision:
    """What a controller decides.

    Attributes:
        u: MVs until the next decision, [U]; None leaves them to the plant's operator, row by row.
        hold: Why nothing was advised; None for a decision.
    """

    u: Array | None
    hold: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Episode:
    """One plant through one stretch of weather; the same for every controller.

    Attributes:
        seed: Of disturbances, sensors, setpoints and operator.
    """

    reference: ReferencePlant
    seed: int


class Controller(Protocol):
    """Asked once per control tick.

    Attributes:
        name: In results and figures.
        every_row: Asked in every row, as a PI loop is; otherwise once per advice interval of the plant file.
    """

    name: str
    every_row: bool

    def reset(self, episode: Episode) -> None:
        """A new episode begins."""
        ...

    def act(self, observation: Observation) -> Decision:
        """What to hold from now on."""
        ...


class HoldControl:
    """Leaves the MVs where they are."""

    name = "hold"
    every_row = False

    def reset(self, episode: Episode) -> None:
        """Nothing to forget."""

    def act(self, observation: Observation) -> Decision:
        return Decision(u=observation.u_previous)


class OperatorControl:
    """The plant's own operator goes on."""

    name = "operator"
    every_row = False

    def reset(self, episode: Episode) -> None:
        """Nothing to forget."""

    def act(self, observation: Observation) -> Decision:
        return Decision(u=None)


class OracleControl:
    """Nonlinear MPC that knows the equations, the state and today's disturbances."""

    name = "oracle"
    every_row = False

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    def reset(self, episode: Episode) -> None:
        self._oracle.reset()

    def act(self, observation: Observation) -> Decision:
        failures = self._oracle.failures
        u = self._oracle.act(observation.x, observation.d, observation.w, observation.u_previous, observation.setpoints)
        return Decision(u=u, hold="IPOPT ended without a solution" if self._oracle.failures > failures else None)


class AdviceControl:
    """Follows the advice of the loop that runs in the control room; a hold leaves the plant to its operator, if any.

    Args:
        advisor: With its model and optimizer.
        history: Newest rows that it is shown; None: all that are of use.
        prepares: Whether each advice is prepared after the one before, as the loop does; not worth its time in a trial,
            which waits for both.
    """

    every_row = False

    def __init__(
        self, advisor: Advisor, *, history: int | None = None, name: str = "advice", prepares: bool = False
    ) -> None:
        self.name, self._prepares = name, prepares
        self._advisor, self.history = advisor, history or advisor.rows_wanted
        self._previous: Plan | None = None
        self._prepared: Prepared | None = None

    def reset(self, episode: Episode) -> None:
        self._previous = self._prepared = None
        self._attended = episode.reference.attended

    def act(self, observation: Observation) -> Decision:
        plant = self._advisor.plant
        asked = zip(plant.cvs, observation.setpoints.tolist(), strict=True)
        setpoints = {name: value for name, value in asked if math.isfinite(value)}
        rows = observation.rows[-self.history :]
        advice, plan = self._advisor.advise(
            rows,
            newest=observation.time,
            now=observation.time,
            setpoints=setpoints,
            previous=self._previous,
            prepared=self._prepared,
        )
        self._previous = plan if advice.is_move else None
        self._prepared = None
        if self._prepares and self._previous is not None:
            self._prepared = self._advisor.prepare(rows, self._previous, setpoints=setpoints)
        if not advice.is_move:
            return Decision(u=None if self._attended else observation.u_previous, hold=advice.reason)
        return Decision(u=np.array([advice.setpoints[name] for name in plant.mvs]))


class FunctionControl:
    """Any function of what is measured, under a name of its own."""

    every_row = False

    def __init__(
        self, name: str, act: Callable[[Observation], Decision], reset: Callable[[], None] | None = None
    ) -> None:
        self.name = name
        self._act, self._reset = act, reset

    def reset(self, episode: Episode) -> None:
        if self._reset is not None:
            self._reset()

    def act(self, observation: Observation) -> Decision:
        return self._act(observation)
