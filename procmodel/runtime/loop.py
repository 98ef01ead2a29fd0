"""The receding loop: plan, guard, hand over; the same for a simulated plant and a live one.

Shapes: R rows of history, C tags in plant order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Protocol

import numpy as np

from procmodel.advice import Advice, GivenUp, Mode, Proposal, Sink, guard
from procmodel.control.plan import Plan
from procmodel.data.window import Columns, Scaler
from procmodel.errors import ProcmodelError
from procmodel.plant import Plant
from procmodel.world_model.protocol import WorldModel
from procmodel.world_model.surprise import surprise


class Planner(Protocol):
    """What the loop asks of an optimizer."""

    def plan(
        self,
        rows_RC: np.ndarray,
        *,
        setpoints: Mapping[str, float] | None = None,
        previous: Plan | None = None,
        deadline: float | None = None,
    ) -> Plan:
        """What to do from here, or a hold."""
        ...


@dataclass(frozen=True, kw_only=True)
class Tick:
    """What is known when advice is due.

    Attributes:
        rows_RC: History on the grid [unit], NaN in gaps, newest last.
        newest: Stamp of the newest sample, aware; None where there is none.
        now: The clock, aware.
        setpoints: By CV, in place of the plant file's.
        measured: Present values by tag; None: those of the newest row.
    """

    rows_RC: np.ndarray
    newest: datetime | None
    now: datetime
    setpoints: Mapping[str, float] | None = None
    measured: Mapping[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Advisor:
    """Makes advice for one plant from one model.

    Attributes:
        surprise_limit: From the model's calibration; None where it has none, which the advice then notes.
        error_covariance_YY: From the model's calibration; the limit holds for a surprise that it weighs.
        name: Of the model, shown with the advice.
        deadline: Time that planning may take [s]; None: no bound.
    """

    plant: Plant
    planner: Planner
    model: WorldModel
    scaler: Scaler
    surprise_limit: float | None = None
    error_covariance_YY: np.ndarray | None = None
    name: str = ""
    mode: Mode = Mode.ADVISE
    deadline: float | None = None

    def advise(
        self,
        rows_RC: np.ndarray,
        *,
        newest: datetime | None,
        now: datetime,
        setpoints: Mapping[str, float] | None = None,
        previous: Plan | None = None,
        measured: Mapping[str, float] | None = None,
    ) -> tuple[Advice, Plan | None]:
        """Guarded advice and the plan behind it; None where the planner found its input wrong, which is a hold."""
        try:
            plan = self.planner.plan(rows_RC, setpoints=setpoints, previous=previous, deadline=self.deadline)
            proposal = proposal_of(plan, setpoints)
        except ProcmodelError as error:
            plan, proposal = None, Proposal(status="input refused", usable=False, reason=str(error))
        advice = guard(
            self.plant,
            proposal,
            measured=newest_row(self.plant, rows_RC) if measured is None else measured,
            newest=newest,
            now=now,
            surprise=surprise(self.model, self.scaler, Columns.of(self.plant), rows_RC, self.error_covariance_YY),
            surprise_limit=self.surprise_limit,
            mode=self.mode,
            model=self.name,
        )
        return advice, plan


def newest_row(plant: Plant, rows_RC: np.ndarray) -> dict[str, float]:
    """Values of the newest row, by tag."""
    return dict(zip(plant.columns, rows_RC[-1].tolist(), strict=True)) if len(rows_RC) else {}


def proposal_of(plan: Plan, setpoints: Mapping[str, float] | None = None) -> Proposal:
    """A plan in plain numbers."""
    planned = dict(zip(plan.mvs, plan.moves.T.tolist(), strict=True))
    return Proposal(
        status=plan.status.value,
        usable=plan.status.usable,
        reason=plan.reason,
        moves={name: values[0] for name, values in planned.items() if values},
        planned=planned,
        predicted=dict(zip(plan.cvs, plan.predicted.T.tolist(), strict=True)),
        unmoved=dict(zip(plan.cvs, plan.unmoved.T.tolist(), strict=True)),
        margins=dict(zip(plan.heads, plan.margins.T.tolist(), strict=True)),
        setpoints=setpoints or {},
        give_ups=tuple(
            GivenUp(tag=g.tag, side=g.side, limit=g.limit, amount=g.amount, rank=g.rank) for g in plan.give_ups
        ),
        active=plan.active,
        cost=plan.cost,
        cost_unmoved=plan.cost_unmoved,
    )


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How a run of the loop went; `last` is None where there was no tick."""

    moves: int
    holds: int
    last: Advice | None

    @property
    def ticks(self) -> int:
        return self.moves + self.holds


def run(advisor: Advisor, source: Iterable[Tick], sink: Sink, ticks: int | None = None) -> Tally:
    """Advise at every tick until the source ends, or for so many ticks.

    The source hands over the next tick when it is due: a live one waits for the clock, a simulated plant steps on with
    whatever its sink was shown. A plan that became no move is forgotten, so that a failure is never warm-started from.
    """
    previous: Plan | None = None
    moves = holds = 0
    advice: Advice | None = None
    for tick in islice(source, ticks):
        advice, plan = advisor.advise(
            tick.rows_RC,
            newest=tick.newest,
            now=tick.now,
            setpoints=tick.setpoints,
            previous=previous,
            measured=tick.measured,
        )
        previous = plan if advice.is_move else None
        moves, holds = moves + advice.is_move, holds + (not advice.is_move)
        sink.show(advice)
    return Tally(moves=moves, holds=holds, last=advice)
