"""What a proposal means for each tag, as lines of the advice; no decision is made here.

Numbers from a planner may be anything; what is none becomes NaN and is shown as unknown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from procmodel.advice.advice import Margin, Move, Outlook
from procmodel.advice.bounds import Reach, limits_of
from procmodel.advice.proposal import Proposal
from procmodel.plant import Calculated, Constraint, Plant, Tag


def number(value: Any) -> float:
    """A plain float; NaN for None and whatever is no number."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def as_numbers(values: Any) -> np.ndarray:
    """A plain array [H] of a sequence or an array; empty for None."""
    given = () if values is None else values
    try:
        numbers = np.array(given, dtype=np.float64)  # all at once: hundreds of them in every advice
    except (TypeError, ValueError, OverflowError):
        numbers = np.array([number(value) for value in given], dtype=np.float64)
    return numbers


def current_moves(plant: Plant, proposal: Proposal, measured: Mapping[str, float]) -> tuple[Move, ...]:
    """Per MV, where it stands; nothing recommended yet."""
    lines = []
    for name in plant.mvs:
        reach = Reach.of(plant.tags[name])
        lines.append(
            Move(
                tag=name,
                unit=plant.tags[name].unit,
                current=number(measured.get(name)),
                recommended=math.nan,
                delta=math.nan,
                low=reach.low,
                high=reach.high,
                up=reach.up,
                down=reach.down,
                planned=_trend(proposal.planned.get(name)),
            )
        )
    return tuple(lines)


def outlooks_of(plant: Plant, proposal: Proposal, measured: Mapping[str, float]) -> tuple[Outlook, ...]:
    """Per CV, where it stands and goes."""
    return tuple(
        _outlook(name, tag, proposal, number(measured.get(name)), number(proposal.setpoints.get(name, tag.setpoint)))
        for name, tag in ((name, plant.tags[name]) for name in plant.cvs)
    )


def calculated_of(plant: Plant, proposal: Proposal) -> tuple[Outlook, ...]:
    """Per calculated value that the plan knows of, where it stands and goes."""
    return tuple(
        _outlook(name, each, proposal, number(proposal.calculated.get(name)), math.nan)
        for name, each in plant.advice.constraints.items()
        if name in proposal.predicted
    )


def _outlook(name: str, of: Tag | Calculated, proposal: Proposal, now: float, setpoint: float) -> Outlook:
    low, high = limits_of(of)
    trend, unmoved = _trend(proposal.predicted.get(name)), _trend(proposal.unmoved.get(name))
    return Outlook(
        tag=name,
        unit=of.unit,
        measured=now,
        end=trend[-1] if trend else math.nan,
        least=min(trend, default=math.nan),
        most=max(trend, default=math.nan),
        unmoved_end=unmoved[-1] if unmoved else math.nan,
        low=low,
        high=high,
        setpoint=setpoint,
        status=limit_status(now, trend, low, high),
        predicted=trend,
        unmoved=unmoved,
    )


def unit_of(plant: Plant, name: str) -> str:
    """Of a tag, a calculated value or a learned margin; "" where there is no such thing."""
    named: Mapping[str, Tag | Calculated | Constraint] = {
        **plant.constraints,
        **plant.advice.constraints,
        **plant.tags,
    }
    return named[name].unit if name in named else ""


def limit_status(measured: float, trend: Sequence[float], low: float, high: float) -> str:
    """Where a CV stands and goes in relation to its limits, in words."""
    if not (math.isfinite(low) or math.isfinite(high)):
        return "no limits"
    if not trend or not all(math.isfinite(value) for value in trend):
        return "unknown"
    inside = [low <= value <= high for value in trend]
    if math.isfinite(measured) and not low <= measured <= high:
        return "outside, returns" if inside[-1] else "outside"
    if all(inside):
        return "inside"
    return "leaves, returns" if inside[-1] else "leaves"


def margins_of(plant: Plant, proposal: Proposal) -> tuple[Margin, ...]:
    """Per constraint of the plant that the plan knows of."""
    return tuple(
        Margin(
            name=name,
            unit=constraint.unit,
            rank=constraint.rank,
            least=min(_trend(proposal.margins[name]), default=math.nan),
        )
        for name, constraint in plant.constraints.items()
        if name in proposal.margins
    )


def why(plant: Plant, proposal: Proposal, moves: Sequence[Move]) -> str:
    """Reason of a move in one sentence."""
    if all(move.delta == 0 for move in moves):
        return "Nothing to gain: the plant is best left as it is."
    if proposal.give_ups:
        first = proposal.give_ups[0]
        unit = unit_of(plant, first.tag)
        words = f"{first.tag} {first.side} {first.limit:.4g} gives up {first.amount:.3g} {unit}".rstrip()
        words += f" in scenario {first.scenario}" if first.scenario else ""
        words += f" because {first.because}" if first.because else ""
        others = f" and {len(proposal.give_ups) - 1} more" if len(proposal.give_ups) > 1 else ""
        return f"Not every limit can be kept: {words}{others}."
    if proposal.active:
        return f"What decides: {'; '.join(proposal.active)}."
    return "Towards the setpoints and the least cost; no limit decides."


def _trend(values: Sequence[float] | None) -> tuple[float, ...]:
    return tuple(as_numbers(values).tolist())
