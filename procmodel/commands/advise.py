"""Advice for this moment: the newest history, the stored model, one tick of the loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from procmodel.advice import Advice
from procmodel.advisor import advisor_of, planner_of
from procmodel.commands.ahead import step_responses
from procmodel.commands.explain import explanation
from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Plan
from procmodel.data import condition
from procmodel.data.historians import open_historian
from procmodel.data.samples import Historian, utc_now
from procmodel.errors import DatasetError, HistorianError, PlantFileError
from procmodel.evaluation.gains import gain_gate
from procmodel.evaluation.step_response import model_response
from procmodel.plant import Plant, Status
from procmodel.plant.changes import LimitChanges, changed_plant
from procmodel.runtime.announced import future_dvs, other_courses, read_announced
from procmodel.runtime.ticks import Orders
from procmodel.training.artifact import Artifact


@dataclass(frozen=True, kw_only=True)
class Advised:
    """Advice, the plan behind it, and the history [R, C] it was made from."""

    advice: Advice
    plan: Plan | None
    rows: np.ndarray


def advise(
    plant: Plant, artifact: Artifact, *, at: datetime | None = None, newest: bool = False,
    setpoints: Mapping[str, float] | None = None, limits: LimitChanges | None = None,
    statuses: Mapping[str, Status] | None = None, explain: bool = False, slow: Artifact | None = None,
) -> Advised:  # fmt: skip
    """One tick.

    Args:
        at: The clock, aware; None: now.
        newest: Take the time of the newest sample for the clock, to see what would have been advised then.
        setpoints: By CV, in place of the plant file's.
        limits, statuses: By tag, in place of the plant file's.
        explain: Also say what the cost is made of, what limits cost and which are moving, what is announced, what moves
            do when, and where the plant should rest.
        slow: The slow model of a plant with a slow layer; without it the fast one plans alone.
    """
    changed_plant(plant, limits=limits, statuses=statuses)  # what is wrong is told before anything is read
    _known(plant, setpoints or {})
    historian, optimizer = open_historian(plant), planner_of(plant, artifact, slow)
    last = newest_stamp(historian, plant)
    now = at or (last if newest and last else utc_now())
    if last is not None and at is not None and last > now:
        last = now  # what came later is not known yet
    if last is None or (now - last).total_seconds() > plant.max_age:
        return Advised(advice=_stale(plant, now, last), plan=None, rows=np.full((1, len(plant.columns)), np.nan))
    try:
        rows, ended = _history(plant, historian, now, optimizer.rows_wanted)
    except (
        DatasetError,
        HistorianError,
    ) as error:  # the clock stands in an outage: that is no wrong input, and no time to advise
        condition(plant, open_historian(plant), end=now)  # raises where nothing lies before: that is wrong input
        reason = f"there is no history to advise from: {error}"
        return Advised(advice=_hold(plant, now, reason), plan=None, rows=np.full((1, len(plant.columns)), np.nan))
    future = future_dvs(plant, read_announced(plant), now, optimizer.future_rows)
    courses = other_courses(plant, now, optimizer.horizon.steps) if "futures" in plant.advice.scenarios else {}
    orders = Orders(limits=limits or {}, statuses=statuses or {}, future_dv_HV=future, futures=courses)
    advice, plan = advisor_of(plant, artifact, optimizer).advise(
        rows, newest=min(last, ended), now=now, setpoints=setpoints, orders=orders
    )
    if explain and plan is not None:
        asked = orders.but(setpoints=setpoints)
        if plan.above is not None:
            asked = asked.but(ends=plan.above.ends, rest={**plan.above.rest, **orders.rest})
        if plan.targets is not None:
            asked = asked.but(rest={**asked.rest, **plan.targets.u})
        alone = optimizer if isinstance(optimizer, Optimizer) else optimizer.fast
        lines = explanation(plant, alone, rows, plan, asked)
        if plan.status.usable:
            lines += tuple(step_responses(plant, artifact, rows, alone.horizon.steps))
        advice = dataclasses.replace(advice, explanation=lines)
    if advice.is_move and (reasons := _gate(plant, artifact, rows)):
        advice = dataclasses.replace(_hold(plant, now, f"the model's step responses are not trusted: {reasons[0]}"))
    return Advised(advice=advice, plan=plan, rows=rows)


def newest_stamp(historian: Historian, plant: Plant) -> datetime | None:
    """Time of the newest sample of the MV or CV that was heard of last."""
    batch = historian.latest([*plant.mvs, *plant.cvs])
    stamps = [stamp for stamp in batch.column("time").to_pylist() if stamp is not None]
    return max(stamps).astimezone(UTC) if stamps else None


def _history(plant: Plant, historian: Historian, now: datetime, rows: int) -> tuple[np.ndarray, datetime]:
    """The newest whole grid rows before `now`, [R, C], and the end of the last one that holds anything."""
    step = plant.sample_time
    whole = int(now.timestamp() // step)
    end = datetime.fromtimestamp(whole * step, UTC)
    dataset = condition(plant, historian, start=end - timedelta(seconds=rows * step), end=end)
    last = dataset.stretches[-1]
    began = last.began or dataset.start
    ended = began + timedelta(seconds=last.rows * step)
    # Rows that were not delivered any more are gaps up to now, not left out: the model must see how old its news is.
    missing = max(0, round((end - ended).total_seconds() / step))
    values = dataset.values[last.start : last.stop]
    return np.concatenate([values, np.full((missing, values.shape[1]), np.nan)])[-rows:], min(ended, now)


def _gate(plant: Plant, artifact: Artifact, rows: np.ndarray) -> tuple[str, ...]:
    """Declared signs and dead times, checked where the plant is now."""
    from procmodel.commands.judge import forecaster_of

    if not plant.gains:
        return ()
    response = model_response(forecaster_of(artifact, plant), plant, rows[None], artifact.scaler.spread, 300)
    return gain_gate(response).reasons


def _known(plant: Plant, setpoints: Mapping[str, float]) -> None:
    for name in setpoints:
        if name not in plant.cvs:
            raise PlantFileError(
                f"--setpoint: {name!r} is no CV of {plant.name!r}; its CVs are {', '.join(plant.cvs)}."
            )


def _stale(plant: Plant, now: datetime, last: datetime | None) -> Advice:
    if last is None:
        return _hold(plant, now, "the historian has no sample of any MV or CV")
    age = (now - last).total_seconds()
    return _hold(
        plant, now,
        f"the newest sample is {_ago(age)} old ({last.isoformat(timespec='seconds')}); the plant file allows "
        f"{plant.max_age:g} s",
    )  # fmt: skip


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _hold(plant: Plant, now: datetime, reason: str) -> Advice:
    expires = plant.advice.expires or plant.advice.every or plant.sample_time
    return Advice.hold(reason=reason, at=now, expires=now + timedelta(seconds=expires), plant=plant.name)


__all__ = [
    "Advised",
    "advise",
]
