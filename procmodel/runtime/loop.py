"""The receding loop: plan, guard, hand over; the same for a simulated plant and a live one.

Shapes: R rows of history, C tags in plant order.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import islice

import numpy as np

from procmodel.advice import Advice, Mode, Proposal, Sink, guard
from procmodel.advice.instruments import Fault, Instruments
from procmodel.control.by_hand import by_hand
from procmodel.control.plan import Plan
from procmodel.control.prepared import Prepared
from procmodel.control.requests import Planner as Planner
from procmodel.control.threads import on_one_core
from procmodel.data.window import Columns, Scaler
from procmodel.errors import ProcmodelError
from procmodel.plant import Plant, Status
from procmodel.plant.changes import changed_plant
from procmodel.runtime.memory import Memory
from procmodel.runtime.mode import Ceiling, actual_mode
from procmodel.runtime.proposals import proposal_of, rest_of
from procmodel.runtime.ticks import ORDINARY, Orders, Tick
from procmodel.world_model.gaps import expected_in_gaps
from procmodel.world_model.protocol import WorldModel
from procmodel.world_model.support import Support
from procmodel.world_model.surprise import evidence, surprise

# An MV that somebody moved is believed at once where what the CVs did is a thousand times as likely with the move as
# without it [nats].
BORNE_OUT = math.log(1000.0)
# A hand that is on it, as the CVs have shown in the rows before, is likely to move it again: ten times is enough then.
AGAIN = math.log(10.0)
# Planning may take 0.7 of the time between two advices, and a preparation takes no longer than a plan: after one that
# took half of that there is time left for it.
LEFT_TO_PREPARE = 0.5

_log = logging.getLogger("procmodel.runtime")


@dataclass(frozen=True, kw_only=True)
class Advisor:
    """Makes advice for one plant from one model.

    Attributes:
        surprise_limit: From the model's calibration; None where it has none, which the advice then notes.
        error_covariance_YY: From the model's calibration; the limit holds for a surprise that it weighs.
        support: What the model has seen; None: plans are not held against it.
        instruments: Doubts samples; None: only what is no number counts as missing.
        name: Of the model, shown with the advice.
        mode: The most that is asked for.
        ceilings: What is known of the model that allows less.
        deadline: Time that planning may take [s]; None: no bound.
    """

    plant: Plant
    planner: Planner
    model: WorldModel
    scaler: Scaler
    surprise_limit: float | None = None
    error_covariance_YY: np.ndarray | None = None
    support: Support | None = None
    instruments: Instruments | None = None
    name: str = ""
    mode: Mode = Mode.ADVISE
    ceilings: tuple[Ceiling, ...] = ()
    deadline: float | None = None

    @property
    def rows_wanted(self) -> int:
        """History rows that are of use."""
        return self.planner.rows_wanted

    @on_one_core
    def advise(
        self,
        rows_RC: np.ndarray,
        *,
        newest: datetime | None,
        now: datetime,
        setpoints: Mapping[str, float] | None = None,
        previous: Plan | None = None,
        measured: Mapping[str, float] | None = None,
        orders: Orders = ORDINARY,
        pending: Mapping[str, tuple[float, float]] | None = None,
        clock_step: float | None = None,
        prepared: Prepared | None = None,
    ) -> tuple[Advice, Plan | None]:
        """Guarded advice and the plan behind it; None where the planner found its input wrong, which is a hold.

        Args:
            pending: By MV, what earlier advice set it to and where it was measured then [unit].
            clock_step: By how much the clock was set since the last advice [s]; None where nobody can tell.
            prepared: For this advice, by `prepare`.
        """
        plan, plant, still, dropped = None, self.plant, frozenset[str](), frozenset[str]()
        faults: Mapping[str, Fault] = {}
        seen_RC = rows_RC
        try:
            plant = changed_plant(self.plant, limits=orders.limits, statuses=orders.statuses)
            still, dropped = _left_alone(plant, orders.out_of_service)
            rows_RC, faults = self._believed(plant, rows_RC, dropped)
            seen_RC = self._seen(rows_RC)
            asked = orders.but(setpoints=setpoints)
            plan = self.planner.plan(seen_RC, asked, previous=previous, deadline=self.deadline, prepared=prepared)
            proposal = replace(proposal_of(plan, setpoints), rest=rest_of(plan.targets, plant))
        except ProcmodelError as error:
            plan, proposal = None, Proposal(status="input refused", usable=False, reason=str(error))
        mode, why_mode = actual_mode(self.mode, self._ceilings())
        advice = guard(
            plant,
            proposal,
            measured=self._present(plant, rows_RC, measured, faults, dropped),
            newest=newest,
            now=now,
            surprise=surprise(self._seer, self.scaler, Columns.of(plant), rows_RC, self.error_covariance_YY, seen_RC),
            surprise_limit=self.surprise_limit,
            support=None if self.support is None or plan is None else self._support(plan),
            support_limit=None if self.support is None or plan is None else self.support.limit,
            mode=mode,
            requested=self.mode,
            why_mode=why_mode,
            model=self.name,
            faults=faults,
            still=still,
            dropped=dropped,
            pending=pending,
            clock_step=clock_step,
        )
        return advice, plan

    @on_one_core
    def prepare(
        self,
        rows_RC: np.ndarray,
        plan: Plan,
        *,
        setpoints: Mapping[str, float] | None = None,
        orders: Orders = ORDINARY,
    ) -> Prepared | None:
        """What can be known of the next advice before its tick; None where there is nothing, or no time.

        Nothing depends on it but how soon the next advice is there: what fails here is logged and left out.

        Args:
            plan: Of this advice; the others are those that it was made of.
        """
        if self.deadline is not None and plan.seconds.get("total", 0.0) > LEFT_TO_PREPARE * self.deadline:
            return None
        try:
            plant = changed_plant(self.plant, limits=orders.limits, statuses=orders.statuses)
            _, dropped = _left_alone(plant, orders.out_of_service)
            rows_RC, _ = self._believed(plant, rows_RC, dropped)
            return self.planner.prepare(self._seen(rows_RC), plan, orders.but(setpoints=setpoints))
        except Exception as error:
            _log.warning("The next advice is not prepared and takes longer: %s: %s", type(error).__name__, error)
            return None

    def _believed(
        self, plant: Plant, rows_RC: np.ndarray, dropped: frozenset[str]
    ) -> tuple[np.ndarray, Mapping[str, Fault]]:
        """The history without what the instruments show to be wrong, and what that is."""
        if self.instruments is None:
            return rows_RC, {}
        rows_RC, faults = replace(self.instruments, plant=plant).judge(rows_RC, ignored=dropped)
        return rows_RC, {name: fault for name, fault in faults.items() if not self._borne_out(rows_RC, fault)}

    @cached_property
    def _seer(self) -> WorldModel:
        return by_hand(self.model)

    def _seen(self, rows_RC: np.ndarray) -> np.ndarray:
        """The history as the model is shown it; the planner says what is wrong with one that is not the plant's."""
        if np.ndim(rows_RC) != 2 or np.shape(rows_RC)[1] != len(self.plant.columns):
            return rows_RC
        return expected_in_gaps(self._seer, self.scaler, Columns.of(self.plant), rows_RC)

    def _borne_out(self, rows_RC: np.ndarray, fault: Fault) -> bool:
        """Whether the CVs show that an MV was truly moved, and not only its signal."""
        if self.error_covariance_YY is None:
            return False
        wanted = itertools.chain([BORNE_OUT], itertools.repeat(AGAIN))
        return bool(fault.moved) and all(
            self._evidence_of_move(rows_RC, fault.tag, rows, before) > enough
            for (rows, before), enough in zip(fault.moved, wanted, strict=False)
        )

    def _evidence_of_move(self, rows_RC: np.ndarray, tag: str, rows: int, before: float) -> float:
        """How much better the CVs of the newest rows fit an MV as it was measured than one that stayed [nats]."""
        newest_RC = rows_RC[-(self._seer.rows + rows) :]
        stayed_RC = newest_RC.copy()
        stayed_RC[-rows:, self.plant.columns.index(tag)] = before
        columns, covariance_YY = Columns.of(self.plant), self.error_covariance_YY
        return evidence(self._seer, self.scaler, columns, newest_RC, stayed_RC, covariance_YY)

    def _ceilings(self) -> tuple[Ceiling, ...]:
        if self.surprise_limit is None:
            why = "this model has no calibrated surprise limit, so that nobody would notice where it is wrong"
            return (Ceiling(mode=Mode.SIMULATE, why=why), *self.ceilings)
        return self.ceilings

    def _support(self, plan: Plan) -> float | None:
        """Distance of a plan from known ground; a hold has no latents, and its own reason."""
        return self.support.distance(plan.latents) if self.support and plan.latents is not None else None

    def _present(
        self,
        plant: Plant,
        rows_RC: np.ndarray,
        measured: Mapping[str, float] | None,
        faults: Mapping[str, Fault],
        dropped: frozenset[str],
    ) -> dict[str, float]:
        """Values by tag for the guard: what is not believed is not known; a dropped MV is where it was seen last."""
        present = newest_row(plant, rows_RC) if measured is None else dict(measured)
        present |= dict.fromkeys(faults, math.nan)
        for name in dropped & set(plant.mvs):
            known = rows_RC[np.isfinite(rows_RC[:, plant.columns.index(name)]), plant.columns.index(name)]
            if len(known) and not math.isfinite(present.get(name, math.nan)):
                present[name] = float(known[-1])
        return present


def _left_alone(plant: Plant, out_of_service: Collection[str]) -> tuple[frozenset[str], frozenset[str]]:
    """MVs that are not to be moved, and tags that advice does without."""
    still = {name for name in plant.mvs if plant.tags[name].status in (Status.DROP, Status.FEED_FORWARD)}
    dropped = {name for name, tag in plant.tags.items() if tag.status is Status.DROP}
    out = set(out_of_service)
    return frozenset(still | (out & set(plant.mvs))), frozenset(dropped | (out & set(plant.cvs)))


def newest_row(plant: Plant, rows_RC: np.ndarray) -> dict[str, float]:
    """Values of the newest row, by tag."""
    return dict(zip(plant.columns, rows_RC[-1].tolist(), strict=True)) if len(rows_RC) else {}


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
    Once an advice is shown, what can be known of the next one is prepared, so that it comes sooner after its samples.
    """
    memory = Memory()
    moves = holds = 0
    advice: Advice | None = None
    prepared: Prepared | None = None
    for number, tick in enumerate(islice(source, ticks), start=1):
        advice, plan = advisor.advise(
            tick.rows_RC,
            newest=tick.newest,
            now=tick.now,
            setpoints=tick.setpoints,
            previous=memory.previous,
            measured=tick.measured,
            orders=tick.orders,
            pending=memory.pending(),
            clock_step=memory.clock_step(tick),
            prepared=prepared,
        )
        memory.note(advice, plan)
        moves, holds = moves + advice.is_move, holds + (not advice.is_move)
        sink.show(advice)
        prepared = None
        if memory.previous is not None and number != ticks:
            prepared = advisor.prepare(tick.rows_RC, memory.previous, setpoints=tick.setpoints, orders=tick.orders)
    return Tally(moves=moves, holds=holds, last=advice)
