"""The guard: checks a proposal again, from the measured values, with plain numbers, and sharing no code with a planner.

A move leaves here only if nothing speaks against it; whatever does is the one reason of the hold. The guard alters no
number: a value beyond a limit by more than rounding is a fault of the planner, which is reported and not repaired.
It is no safety function.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from procmodel.advice.advice import Action, Advice, Mode, Move
from procmodel.advice.bounds import Reach, limits_of
from procmodel.advice.checks import CHECKS, Case
from procmodel.advice.describe import calculated_of, current_moves, margins_of, number, outlooks_of, why
from procmodel.advice.instruments import Fault
from procmodel.advice.proposal import Proposal
from procmodel.plant import Plant


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
    case = Case(
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
        calculated=calculated_of(plant, proposal),
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
        rest=proposal.rest,
        notes=_notes(case),
    )


def _made(move: Move, case: Case) -> Move:
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


def _notes(case: Case) -> tuple[str, ...]:
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
    for each in calculated_of(case.plant, case.proposal):
        if each.measured < each.low or each.measured > each.high:
            notes.append(f"{each.tag} is outside its limits now.")
    if case.surprise_limit is None:
        notes.append("This model has no calibrated surprise limit.")
    return tuple(notes)
