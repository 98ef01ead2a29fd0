"""The guard's checks, each a plain question to one decision; the first that speaks is the reason of the hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from procmodel.advice.advice import Mode
from procmodel.advice.bounds import Reach, span_of
from procmodel.advice.describe import as_numbers, number
from procmodel.advice.instruments import Fault, needed
from procmodel.advice.proposal import Proposal
from procmodel.plant import Calculated, Plant, Tag

# A clock that runs off by more than this between two advices has been set, not drifted [share of the sample time].
CLOCK_STEP = 1.0
# Of the span: by how much a plan may exceed a rank-1 limit that stands idle otherwise. A plan that rides on a limit
# exceeds it by a hair wherever its model is bent; 1 % is below what an instrument tells.
RANK_ONE_EXCESS = 0.01


@dataclass(frozen=True, kw_only=True)
class Case:
    """All that one decision rests on."""

    plant: Plant
    proposal: Proposal
    measured: Mapping[str, float]
    newest: datetime | None
    now: datetime
    surprise: float | None
    surprise_limit: float | None
    support: float | None
    support_limit: float | None
    mode: Mode
    faults: Mapping[str, Fault]
    still: Collection[str]
    dropped: Collection[str]
    pending: Mapping[str, tuple[float, float]]
    clock_step: float | None

    @property
    def age(self) -> float:
        """Of the newest sample [s]."""
        return (self.now - self.newest).total_seconds() if self.newest else math.nan


def _switched_off(case: Case) -> str | None:
    return "Advice is switched off." if case.mode is Mode.OFF else None


def _clock(case: Case) -> str | None:
    if case.newest is None:
        return "There is no sample at all."
    if -case.age > case.plant.sample_time:
        return (
            f"The newest sample is stamped {-case.age:.0f} s ahead of the clock. "
            "Check the clocks and time zones of the historian and of this machine."
        )
    if case.age > case.plant.max_age:
        return f"The newest sample is {case.age:.0f} s old; at most {case.plant.max_age:.0f} s are allowed."
    if case.clock_step is not None and abs(case.clock_step) > CLOCK_STEP * case.plant.sample_time:
        way = "forward" if case.clock_step > 0 else "back"
        return (
            f"The clock of this machine was set {way} by {abs(case.clock_step):.0f} s since the last advice; "
            "how old the samples are is not known for certain. The next advice goes by the new time."
        )
    return None


def _instruments(case: Case) -> str | None:
    """The tags that matter have been seen, believably, not too long ago; an MV and a critical tag just now."""
    patience = case.plant.max_age
    for name in needed(case.plant, tuple(case.dropped)):
        fault = case.faults.get(name)
        if fault is None:
            continue
        age = fault.rows * case.plant.sample_time
        at_once = name in case.plant.mvs or case.plant.tags[name].is_critical
        if at_once or age > patience:
            return f"{name} is not to be believed for {fault.rows} rows ({age:.0f} s): {fault.why}."
    return None


def _solved(case: Case) -> str | None:
    if case.proposal.usable:
        return None
    words = case.proposal.reason.rstrip(".") or "it gave no reason"
    return f"The optimizer ended {case.proposal.status!r}: {words}."


def _stands(case: Case) -> str | None:
    """Where every MV stands now, and whether it can be brought inside its limits by one move."""
    for name in case.plant.mvs:
        tag, current = case.plant.tags[name], number(case.measured.get(name))
        if not math.isfinite(current):
            return f"The present value of {name} is not known."
        reach = Reach.of(tag)
        low, high = reach.window(current)
        if low > high and name not in case.still:
            return (
                f"{name} stands at {current:.4g} {tag.unit}, too far outside its limits "
                f"{reach.low:.4g} to {reach.high:.4g} to return in one move. Bring it back first."
            )
    return None


def _complete(case: Case) -> str | None:
    """Each MV has a value and each CV and calculated value a prediction, all finite, and nothing else is named."""
    plant, proposal = case.plant, case.proposal
    if unknown := sorted(str(name) for name in set(proposal.moves) - set(plant.mvs)):
        return f"The plan moves {', '.join(unknown)}, which is no MV of this plant."
    for name in plant.mvs:
        if name not in proposal.moves:
            return f"The plan has no value for {name}."
        if not math.isfinite(number(proposal.moves[name])):
            return f"The plan's value for {name} is not a finite number."
    for name in (*plant.cvs, *plant.advice.constraints):
        with_moves, without = as_numbers(proposal.predicted.get(name)), as_numbers(proposal.unmoved.get(name))
        if with_moves.size == 0 or with_moves.size != without.size:
            return f"The plan has no complete prediction for {name}."
        if not (np.isfinite(with_moves).all() and np.isfinite(without).all()):
            return f"The prediction for {name} is not finite."
    for name in plant.constraints:
        margin = as_numbers(proposal.margins.get(name))
        if margin.size == 0:
            return f"The plan has no margin for constraint {name!r}."
        if not np.isfinite(margin).all():
            return f"The margin of constraint {name!r} is not finite."
    return None


def _inside(case: Case) -> str | None:
    for name in case.plant.mvs:
        tag, reach = case.plant.tags[name], Reach.of(case.plant.tags[name])
        value, current = number(case.proposal.moves[name]), number(case.measured[name])
        if name in case.still:
            if abs(value - current) > max(reach.rounding, 1e-9 * abs(current)):
                return f"The plan sets {name} from {current:.6g} to {value:.6g} {tag.unit}, but it is not to be moved."
            continue
        last, then = case.pending.get(name, (math.nan, math.nan))
        last = last if current == then else math.nan
        for beyond, what in (
            (value - last - reach.up, f"more than {reach.up:.4g} above the last advice {last:.4g}, not seen so far"),
            (
                last - value - reach.down,
                f"more than {reach.down:.4g} below the last advice {last:.4g}, not seen so far",
            ),
            (value - reach.high, f"above its high limit {reach.high:.4g}"),
            (reach.low - value, f"below its low limit {reach.low:.4g}"),
            (value - current - reach.up, f"more than {reach.up:.4g} above the measured {current:.4g}"),
            (current - value - reach.down, f"more than {reach.down:.4g} below the measured {current:.4g}"),
        ):
            if beyond > reach.rounding:
                return f"The plan sets {name} to {value:.6g} {tag.unit}, {what}."
    return None


def _trusted(case: Case) -> str | None:
    """The model has lately been right, and the plan stays within what it has seen."""
    for what, value, limit, unknown in (
        ("The model is surprised by the plant", case.surprise, case.surprise_limit, "how well the model was lately"),
        (
            "The plan leaves what the plant has shown",
            case.support,
            case.support_limit,
            "whether the plan is known ground",
        ),
    ):
        if limit is None:
            continue
        if value is None or not math.isfinite(value) or not math.isfinite(limit):
            return f"Nobody can say {unknown}: too few good samples in the last rows."
        if value > limit:
            return f"{what}: {value:.3g}, limit {limit:.3g}."
    return None


def _keeps_rank_one(case: Case) -> str | None:
    """No rank-1 limit is broken by the moves that would hold, or hold better, without them."""
    limited: dict[str, Tag | Calculated] = {
        name: case.plant.tags[name] for name in case.plant.cvs if name not in case.dropped
    }
    for name, each in case.plant.advice.constraints.items():
        if not any(tag in each.expression for tag in case.dropped):
            limited[name] = each
    for name, tag in limited.items():
        with_moves, without = as_numbers(case.proposal.predicted[name]), as_numbers(case.proposal.unmoved[name])
        for side, limit, sign in (("low", tag.limits.low, -1.0), ("high", tag.limits.high, 1.0)):
            if limit is None or limit.rank != 1:
                continue
            worst, idle = (max(0.0, float(np.max(sign * (y - limit.at)))) for y in (with_moves, without))
            if worst - idle > RANK_ONE_EXCESS * span_of(tag):
                return (
                    f"The plan takes {name} {worst:.3g} {tag.unit} beyond its rank-1 {side} limit {limit.at:.4g}; "
                    f"without a move it would be {idle:.3g}."
                )
    return None


# In this order: the first that speaks gives the reason.
CHECKS: Sequence[Callable[[Case], str | None]] = (
    _switched_off,
    _clock,
    _instruments,
    _stands,
    _solved,
    _trusted,
    _complete,
    _inside,
    _keeps_rank_one,
)
