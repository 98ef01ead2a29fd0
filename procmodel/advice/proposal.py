"""Proposal: what a planner would like to advise, in plain numbers, so that the guard need not know any planner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan

from procmodel.advice.advice import GivenUp, Rest


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """Not checked: whatever stands here, the guard decides.

    Attributes:
        status: How the planner ended. usable: whether that may be shown as a move. reason: in words.
        moves: Value to set now, by MV [unit].
        planned: Values over the horizon, by MV [unit].
        predicted, unmoved: Over the horizon with the moves and without, by CV and calculated value [unit].
        calculated: Calculated values from what was measured last [unit]; NaN where not known.
        margins: Lower bounds over the horizon, by constraint head [unit].
        setpoints: Targets it was made for, by CV, where they differ from the plant file's [unit].
        rest: Where the plant should come to rest; None where no target layer is asked.
    """

    status: str
    usable: bool
    reason: str = ""
    moves: Mapping[str, float] = field(default_factory=dict)
    planned: Mapping[str, Sequence[float]] = field(default_factory=dict)
    predicted: Mapping[str, Sequence[float]] = field(default_factory=dict)
    unmoved: Mapping[str, Sequence[float]] = field(default_factory=dict)
    calculated: Mapping[str, float] = field(default_factory=dict)
    margins: Mapping[str, Sequence[float]] = field(default_factory=dict)
    setpoints: Mapping[str, float] = field(default_factory=dict)
    give_ups: tuple[GivenUp, ...] = ()
    active: tuple[str, ...] = ()
    cost: float = nan
    cost_unmoved: float = nan
    rest: Rest | None = None
