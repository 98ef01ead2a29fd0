"""The guard: checks a proposal again, from the measured values, with plain numbers, and sharing no code with a planner.

A move leaves here only if nothing speaks against it; whatever does is the one reason of the hold. The guard alters no
number: a value beyond a limit by more than rounding is a fault of the planner, which is reported and not repaired.
It is no safety function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from procmodel.advice.advice import Action, Advice, Mode, Move
from procmodel.advice.bounds import Reach, limits_of, span_of
from procmodel.advice.describe import as_numbers, current_moves, margins_of, number, outlooks_of, why
from procmodel.advice.instruments import Fault, needed
from procmodel.advice.proposal import Proposal
from procmodel.plant import Plant

# A clock that runs off by more than this between two advices has been set, not drifted [share of the sample time].
CLOCK_STEP = 1.0
# Of the span: by how much a plan may exceed a rank-1 limit that stands idle otherwise. A plan that rides on a limit
# exceeds it by a hair wherever its model is bent; 1 % is below what an instrument tells.
RANK_ONE_EXCESS = 0.01


@dataclass(frozen=True, kw_only=True)
class _Case:
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


def guard(
    plant: Plant,
    proposal: Proposal,
    *,
    measured: Mapping[str, float],
    newest: datetime | None,
    now: datetime,
    surprise: float | None = None,
    surprise_limit: float | None = None,
    support: float | None = None,
    support_limit: float | None = None,
    mode: Mode = Mode.ADVISE,
    requested: Mode | None = None,
    why_mode: str = "",
    model: str = "",
    faults: Mapping[str, Fault] | None = None,
    still: Collection[str] = (),
    dropped: Collection[str] = (),
    pending: Mapping[str, tuple[float, float]] | None = None,
    clock_step: float | None = None,
) -> Advice:
    """Advice from a proposal: a move inside limits and move sizes from the measured values, or a hold.

    Args:
        measured: Newest value by tag [unit]; NaN or absent where unknown.
        newest: Stamp of the newest sample, aware; None where there is none.
        now: The clock, aware.
        surprise, surprise_limit: How far the model was off in the last rows, and its calibrated limit [-].
        support, support_limit: How far the plan leaves what the model has seen, and its calibrated limit [-].
        mode: The actual one. requested: What was asked for, where that is more. why_mode: Why it is not granted.
        model: Name of the model, shown with the advice.
        faults: Tags whose newest samples are not believed, with what is wrong.
        still: MVs that must stay where they are: out of service, dropped, or for feed-forward only.
        dropped: Tags that advice can do without at this tick.
        pending: By MV, what earlier advice set it to and where it was measured then [unit]. As long as it is still
            measured there, nobody knows whether the advice was followed: a move has to be small enough from both.
        clock_step: By how much the clock was set since the last advice [s]; None where nobody can tell.

    Raises:
        ValueError: A stamp is naive.
    """
    if now.tzinfo is None or (newest is not None and newest.tzinfo is None):
        raise ValueError(f"the guard needs aware times, got now={now!r}, newest={newest!r}")
    case = _Case(
        plant=plant, proposal=proposal, measured=measured, newest=newest, now=now, surprise=surprise,
        surprise_limit=surprise_limit, support=support, support_limit=support_limit, mode=mode,
        faults=faults or {}, still=still, dropped=dropped, pending=pending or {}, clock_step=clock_step,
    )  # fmt: skip
    reason = next((found for check in CHECKS if (found := check(case))), None)
    moves = current_moves(plant, proposal, measured)
    if reason is None:
        moves = tuple(_made(move, case) for move in moves)
    expires = plant.advice.expires or plant.advice.every or plant.sample_time
    return Advice(
        action=Action.MOVE if reason is None else Action.HOLD,
        reason=reason or why(plant, proposal, moves),
        at=now,
        expires=now + timedelta(seconds=expires),
        plant=plant.name,
        model=model,
        mode=mode,
        requested=requested or mode,
        why_mode=why_mode,
        moves=moves,
        outlooks=outlooks_of(plant, proposal, measured),
        margins=margins_of(plant, proposal),
        give_ups=proposal.give_ups,
        active=proposal.active,
        solve=proposal.status,
        data_age=case.age,
        surprise=number(surprise),
        surprise_limit=number(surprise_limit),
        support=number(support),
        support_limit=number(support_limit),
        cost=number(proposal.cost),
        cost_unmoved=number(proposal.cost_unmoved),
        notes=_notes(case),
    )


def _made(move: Move, case: _Case) -> Move:
    """The recommended value, a solver's rounding taken back."""
    if move.tag in case.still:
        return Move(**{**vars(move), "recommended": move.current, "delta": 0.0, "clamp": "not moved by advice"})
    reach = Reach.of(case.plant.tags[move.tag])
    low, high = reach.window(move.current)
    value = min(max(number(case.proposal.moves[move.tag]), low), high)
    if abs(value - move.current) <= reach.rounding and low <= move.current <= high:
        value = move.current
    return Move(
        **{
            **vars(move),
            "recommended": value,
            "delta": value - move.current,
            "clamp": reach.touched(move.current, value),
        }
    )


def _switched_off(case: _Case) -> str | None:
    return "Advice is switched off." if case.mode is Mode.OFF else None


def _clock(case: _Case) -> str | None:
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


def _instruments(case: _Case) -> str | None:
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


def _solved(case: _Case) -> str | None:
    if case.proposal.usable:
        return None
    words = case.proposal.reason.rstrip(".") or "it gave no reason"
    return f"The optimizer ended {case.proposal.status!r}: {words}."


def _stands(case: _Case) -> str | None:
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


def _complete(case: _Case) -> str | None:
    """Each MV has a value and each CV a prediction, all finite, and nothing else is named."""
    plant, proposal = case.plant, case.proposal
    if unknown := sorted(str(name) for name in set(proposal.moves) - set(plant.mvs)):
        return f"The plan moves {', '.join(unknown)}, which is no MV of this plant."
    for name in plant.mvs:
        if name not in proposal.moves:
            return f"The plan has no value for {name}."
        if not math.isfinite(number(proposal.moves[name])):
            return f"The plan's value for {name} is not a finite number."
    for name in plant.cvs:
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


def _inside(case: _Case) -> str | None:
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


def _trusted(case: _Case) -> str | None:
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


def _keeps_rank_one(case: _Case) -> str | None:
    """No rank-1 limit is broken by the moves that would hold, or hold better, without them."""
    for name in case.plant.cvs:
        if name in case.dropped:
            continue
        tag = case.plant.tags[name]
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
CHECKS: Sequence[Callable[[_Case], str | None]] = (
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


def _notes(case: _Case) -> tuple[str, ...]:
    """What tempers the confidence, without being a reason to hold."""
    notes = [
        f"{name} has no good sample now; what is said of it rests on the model."
        for name in case.plant.cvs
        if not math.isfinite(number(case.measured.get(name))) and name not in case.dropped
    ]
    notes += [f"{fault.tag} is not believed now: {fault.why}." for fault in case.faults.values()]
    for name in case.plant.cvs:
        low, high = limits_of(case.plant.tags[name])
        value = number(case.measured.get(name))
        if value < low or value > high:
            notes.append(f"{name} is outside its limits now.")
    if case.surprise_limit is None:
        notes.append("This model has no calibrated surprise limit.")
    return tuple(notes)
